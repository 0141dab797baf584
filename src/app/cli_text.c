// SPDX-License-Identifier: Apache-2.0
/* Texts that are generated from the table of verbs: help, the manual, completion. */
#include <string.h>

#include "app/cli.h"
#include "base/check.h"
#include "base/str.h"

/* Results of printing are not looked at here: main() flushes stdout and judges that. */
#define PRINT(...) IGNORE_RESULT(fprintf(__VA_ARGS__))

static void print_option_name(FILE *to, const struct cli_option *option, int width)
{
    char text[256];
    char letter[8] = "    ";
    if (option->letter != 0) {
        IGNORE_RESULT(snprintf(letter, sizeof(letter), "-%c, ", option->letter)); /* fits */
    }
    IGNORE_RESULT(snprintf(text, sizeof(text), "%s--%s%s%s", letter, option->name,
                           option->kind == CLI_FLAG ? "" : " ",
                           option->kind == CLI_FLAG ? "" : option->value)); /* fits: table */
    PRINT(to, "  %-*s", width, text);
    if (strlen(text) >= (size_t)width) { /* its help begins below, where the others' does */
        PRINT(to, "\n  %*s", width, "");
    }
}

static void print_verb_help(FILE *to, const struct cli_verb *verb)
{
    bool any = cli_option_at(verb, 0) != NULL;
    PRINT(to, "shadowcast %s%s%s%s: %s\n", verb->name, verb->arguments[0] != 0 ? " " : "",
          verb->arguments, any ? " [options]" : "", verb->summary);
    if (verb->help != NULL) {
        PRINT(to, "\n%s\n", verb->help);
    }
    const struct cli_option *option = NULL;
    for (int i = 0; (option = cli_option_at(verb, i)) != NULL; i++) {
        PRINT(to, "%s", i == 0 ? "\nOptions:\n" : "");
        print_option_name(to, option, 34);
        PRINT(to, "%s", option->help);
        if (option->fallback != NULL) {
            PRINT(to, " (default %s)", option->fallback);
        }
        PRINT(to, "\n");
    }
}

void cli_print_help(FILE *to, const struct cli_verb *verb)
{
    if (verb != NULL) {
        print_verb_help(to, verb);
        return;
    }
    PRINT(to, "shadowcast: a partitioned stream processor that forecasts its own load\n\n"
              "Usage: shadowcast VERB [arguments] [options]\n\n");
    for (verb = cli_verbs; verb->name != NULL; verb++) {
        char call[80];
        IGNORE_RESULT(snprintf(call, sizeof(call), "%s %s", verb->name, verb->arguments)); /* cut */
        PRINT(to, "  %-30s %s\n", call, verb->summary);
    }
    PRINT(to, "\n'shadowcast help VERB' tells more. Exit codes:");
#define X(name, value, text) PRINT(to, "\n  %2d  %s", value, text);
    EXIT_CODE_LIST(X)
#undef X
    PRINT(to, "\n");
}

/* A table cell: '|' would end it. */
static void print_cell(FILE *to, const char *text)
{
    for (const char *c = text; *c != 0; c++) {
        PRINT(to, *c == '|' ? "\\%c" : "%c", *c);
    }
}

static void print_manual_options(FILE *to, const struct cli_verb *verb)
{
    const struct cli_option *option = NULL;
    for (int i = 0; (option = cli_option_at(verb, i)) != NULL; i++) {
        PRINT(to, "%s", i == 0 ? "\n| option | default | what |\n|---|---|---|\n" : "");
        PRINT(to, "| `--%s%s", option->name, option->kind == CLI_FLAG ? "" : " ");
        print_cell(to, option->kind == CLI_FLAG ? "" : option->value);
        PRINT(to, "`");
        if (option->letter != 0) {
            PRINT(to, ", `-%c`", option->letter);
        }
        PRINT(to, " | %s | ", option->fallback != NULL ? option->fallback : "");
        print_cell(to, option->help);
        PRINT(to, " |\n");
    }
}

static void print_manual_codes(FILE *to)
{
    PRINT(to, "| exit code | meaning |\n|---|---|\n");
#define X(name, value, text) PRINT(to, "| %d | %s |\n", value, text);
    EXIT_CODE_LIST(X)
#undef X
}

void cli_print_manual(FILE *to)
{
    PRINT(to, "# Command line\n\n"
              "Printed by `shadowcast manual` from the table of verbs; `make check` compares.\n\n"
              "Data goes to stdout, messages and progress to stderr. Verbs that look at a running "
              "system are\nclients of its API: they find its address and token in the data "
              "folder.\n\n");
    print_manual_codes(to);
    for (const struct cli_verb *verb = cli_verbs; verb->name != NULL; verb++) {
        PRINT(to, "\n## %s\n\n`shadowcast %s%s%s`: %s.\n", verb->name, verb->name,
              verb->arguments[0] != 0 ? " " : "", verb->arguments, verb->summary);
        if (verb->help != NULL) {
            PRINT(to, "\n%s\n", verb->help);
        }
        print_manual_options(to, verb);
    }
}

enum err cli_print_completion(FILE *to, const char *shell, struct err_info *info)
{
    if (strcmp(shell, "bash") != 0) {
        return err_set(info, ERR_UNSUPPORTED, "no completion for '%s', only for bash", shell);
    }
    PRINT(to,
          "# source <(shadowcast completion bash)\n"
          "_shadowcast() {\n"
          "    local line=\"${COMP_WORDS[*]:1:COMP_CWORD-1}\" cur=\"${COMP_WORDS[COMP_CWORD]}\"\n"
          "    local words=\"\"\n"
          "    case \"$line\" in\n");
    for (const struct cli_verb *verb = cli_verbs; verb->name != NULL; verb++) {
        PRINT(to, "    \"%s\"*) words=\"", verb->name);
        const struct cli_option *option = NULL;
        for (int i = 0; (option = cli_option_at(verb, i)) != NULL; i++) {
            PRINT(to, "--%s ", option->name);
        }
        PRINT(to, "--help\" ;;\n");
    }
    PRINT(to, "    esac\n    if [ -z \"$words\" ]; then\n        words=$(printf '%%s\\n'");
    for (const struct cli_verb *verb = cli_verbs; verb->name != NULL; verb++) {
        PRINT(to, " '%s'", verb->name);
    }
    PRINT(
        to,
        " | awk -v p=\"${line:+$line }\" 'index($0, p) == 1 { split(substr($0, length(p) + 1), w, \" \"); print w[1] }')\n"
        "    fi\n"
        "    [[ $cur == -* || $words != --* ]] && mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
        "    [ ${#COMPREPLY[@]} -gt 0 ] || mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
        "}\n"
        "complete -F _shadowcast shadowcast\n");
    return ERR_OK;
}
