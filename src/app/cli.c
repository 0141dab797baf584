// SPDX-License-Identifier: Apache-2.0
#include "app/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

static const struct cli_option client_options[] = {
    {"data", 0, CLI_TEXT, "DIR", "./data",
     "data folder of the running process: its address and token are found there"},
    {"url", 0, CLI_TEXT, "URL", NULL, "address of the API instead, such as http://127.0.0.1:8080"},
    {"token-file", 0, CLI_TEXT, "FILE", NULL, "file with the token instead"},
    {"timeout", 0, CLI_DURATION, "TIME", "30s", "give up on an unanswered request after this"},
    {NULL, 0, CLI_FLAG, NULL, NULL, NULL},
};

static const struct cli_option output_options[] = {
    {"output", 'o', CLI_CHOICE, "table|json|csv", "table", "how to print"},
    {"no-color", 0, CLI_FLAG, NULL, NULL, "no colour, also on a terminal (as NO_COLOR does)"},
    {NULL, 0, CLI_FLAG, NULL, NULL, NULL},
};

enum exit_code exit_code_of(enum err err)
{
    switch (err) {
    case ERR_OK:
        return EXIT_CODE_OK;
    case ERR_NOT_FOUND:
        return EXIT_CODE_NOT_FOUND;
    case ERR_EXISTS:
    case ERR_CONFLICT:
    case ERR_PRECONDITION:
    case ERR_SEQUENCE:
    case ERR_FENCED:
    case ERR_BUSY:
        return EXIT_CODE_CONFLICT;
    case ERR_UNAUTHENTICATED:
    case ERR_DENIED:
        return EXIT_CODE_DENIED;
    case ERR_TIMEOUT:
        return EXIT_CODE_TIMEOUT;
    case ERR_NEEDS_OPERATOR:
    case ERR_CORRUPT:
        return EXIT_CODE_NEEDS_OPERATOR;
    case ERR_UNAVAILABLE:
        return EXIT_CODE_UNAVAILABLE;
    case ERR_INVALID: /* what was asked for can never be */
    case ERR_TYPE:
    case ERR_UNSUPPORTED:
    case ERR_OFFSET_RANGE:
        return EXIT_CODE_USAGE;
    case ERR_PARSE:
    case ERR_LIMIT:
    case ERR_AGAIN:
    case ERR_NO_SPACE:
    case ERR_CLOSED:
    case ERR_CANCELLED:
    case ERR_IO:
    case ERR_INTERNAL:
    case ERR_COUNT:
        break;
    }
    return EXIT_CODE_FAILURE;
}

const struct cli_option *cli_option_at(const struct cli_verb *verb, int index)
{
    const struct cli_option *const lists[] = {
        verb->options,
        (verb->common & CLI_CLIENT) != 0 ? client_options : NULL,
        (verb->common & CLI_OUTPUT) != 0 ? output_options : NULL,
    };
    for (int i = 0; i < (int)COUNT_OF(lists); i++) {
        for (const struct cli_option *option = lists[i]; option != NULL && option->name != NULL;
             option++) {
            if (index-- == 0) {
                return option;
            }
        }
    }
    return NULL;
}

/* --- values --- */

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit duration_units[] = {
    {"ns", 1},          {"us", 1000},         {"ms", 1000000},       {"s", 1000000000},
    {"m", 60000000000}, {"h", 3600000000000}, {"d", 86400000000000}, {NULL, 0},
};

static const struct unit size_units[] = {
    {"", 1},          {"B", 1},           {"KiB", 1 << 10}, {"MiB", 1 << 20},
    {"GiB", 1 << 30}, {"TiB", 1LL << 40}, {NULL, 0},
};

static enum err read_united(const struct cli_option *option, const char *text,
                            const struct unit *units, const char *example, int64_t *ret_value,
                            struct err_info *info)
{
    char *end = NULL;
    errno = 0;
    double number = strtod(text, &end);
    if (end == text || errno != 0 || !(number >= 0)) {
        return err_set(info, ERR_INVALID, "--%s: '%s' is not a %s", option->name, text, example);
    }
    for (const struct unit *unit = units; unit->name != NULL; unit++) {
        if (strcmp(unit->name, end) == 0) {
            double value = number * (double)unit->factor;
            if (value > 9.2e18) {
                return err_set(info, ERR_INVALID, "--%s: '%s' is too large", option->name, text);
            }
            *ret_value = (int64_t)value;
            return ERR_OK;
        }
    }
    return err_set(info, ERR_INVALID, "--%s: '%s' is not a %s", option->name, text, example);
}

static enum err read_choice(const struct cli_option *option, const char *text,
                            struct err_info *info)
{
    struct str rest = str_of(option->value);
    while (rest.ptr != NULL) {
        if (str_is(str_cut(&rest, '|'), text)) {
            return ERR_OK;
        }
    }
    return err_set(info, ERR_INVALID, "--%s: '%s' is none of %s", option->name, text,
                   option->value);
}

static enum err read_share(const struct cli_option *option, const char *text, double *ret_share,
                           struct err_info *info)
{
    char *end = NULL;
    errno = 0;
    double number = strtod(text, &end);
    bool percent = *end == '%';
    if (end == text || end[percent ? 1 : 0] != 0 || errno != 0 || !(number >= 0)) {
        return err_set(info, ERR_INVALID, "--%s: '%s' is not a share such as 0.7 or 70%%",
                       option->name, text);
    }
    *ret_share = percent ? number / 100 : number;
    return ERR_OK;
}

enum err cli_read_value(const struct cli_option *option, const char *text, int64_t *ret_i64,
                        double *ret_f64, struct err_info *info)
{
    char *end = NULL;
    errno = 0;
    switch (option->kind) {
    case CLI_FLAG:
    case CLI_TEXT:
    case CLI_TEXTS:
        return ERR_OK;
    case CLI_CHOICE:
        return read_choice(option, text, info);
    case CLI_I64: {
        long long value = strtoll(text, &end, 10);
        if (end == text || *end != 0 || errno != 0 || value < 0) {
            return err_set(info, ERR_INVALID, "--%s: '%s' is not a whole number from 0 on",
                           option->name, text);
        }
        *ret_i64 = value;
        return ERR_OK;
    }
    case CLI_F64: {
        double value = strtod(text, &end);
        if (end == text || *end != 0 || errno != 0 || !(value >= 0)) {
            return err_set(info, ERR_INVALID, "--%s: '%s' is not a number from 0 on", option->name,
                           text);
        }
        *ret_f64 = value;
        return ERR_OK;
    }
    case CLI_SHARE:
        return read_share(option, text, ret_f64, info);
    case CLI_DURATION:
        return read_united(option, text, duration_units, "duration such as 250ms, 30s or 1h",
                           ret_i64, info);
    case CLI_SIZE:
        return read_united(option, text, size_units, "size such as 512, 64KiB or 1GiB", ret_i64,
                           info);
    }
    return err_set(info, ERR_INTERNAL, "--%s has no kind", option->name);
}

static const struct cli_option *find_option(const struct cli_verb *verb, struct str name,
                                            char letter, int *ret_index)
{
    const struct cli_option *option = NULL;
    for (int i = 0; (option = cli_option_at(verb, i)) != NULL; i++) {
        if ((letter != 0 && option->letter == letter) ||
            (letter == 0 && str_is(name, option->name))) {
            *ret_index = i;
            return option;
        }
    }
    return NULL;
}

static const char *value_of(const struct cli *cli, const char *name,
                            const struct cli_option **ret_option)
{
    int index = 0;
    *ret_option = find_option(cli->verb, str_of(name), 0, &index);
    CHECK_MSG(*ret_option != NULL, "verb '%s' has no option '%s'", cli->verb->name, name);
    return cli->values[index];
}

bool cli_given(const struct cli *cli, const char *name)
{
    const struct cli_option *option = NULL;
    return value_of(cli, name, &option) != NULL;
}

bool cli_flag(const struct cli *cli, const char *name)
{
    return cli_given(cli, name);
}

const char *cli_text(const struct cli *cli, const char *name)
{
    const struct cli_option *option = NULL;
    const char *value = value_of(cli, name, &option);
    return value != NULL ? value : option->fallback;
}

int64_t cli_i64(const struct cli *cli, const char *name)
{
    const struct cli_option *option = NULL;
    const char *value = value_of(cli, name, &option);
    int64_t number = 0;
    double unused = 0;
    value = value != NULL ? value : option->fallback;
    CHECK(value != NULL && cli_read_value(option, value, &number, &unused, NULL) == ERR_OK);
    return number;
}

double cli_f64(const struct cli *cli, const char *name)
{
    const struct cli_option *option = NULL;
    const char *value = value_of(cli, name, &option);
    int64_t unused = 0;
    double number = 0;
    value = value != NULL ? value : option->fallback;
    CHECK(value != NULL && cli_read_value(option, value, &unused, &number, NULL) == ERR_OK);
    return number;
}

/* --- parsing --- */

/* How many words of argv name `verb`, 0 if they do not. */
static int verb_words(const struct cli_verb *verb, int argc, char **argv)
{
    struct str rest = str_of(verb->name);
    int words = 0;
    while (rest.ptr != NULL) {
        struct str word = str_cut(&rest, ' ');
        if (1 + words >= argc || !str_is(word, argv[1 + words])) {
            return 0;
        }
        words++;
    }
    return words;
}

static const struct cli_verb *find_verb(int argc, char **argv, int *ret_words)
{
    const struct cli_verb *best = NULL;
    *ret_words = 0;
    for (const struct cli_verb *verb = cli_verbs; verb->name != NULL; verb++) {
        int words = verb_words(verb, argc, argv);
        if (words > *ret_words) {
            best = verb;
            *ret_words = words;
        }
    }
    return best;
}

/* A noun alone ("stream") is answered with its verbs. */
static enum err unknown_verb(const char *word, struct err_info *info)
{
    char known[160] = "";
    struct str noun = str_of(word);
    for (const struct cli_verb *verb = cli_verbs; verb->name != NULL; verb++) {
        struct str rest = str_of(verb->name);
        if (str_equal(str_cut(&rest, ' '), noun) &&
            strlen(known) + strlen(verb->name) + 3 < sizeof(known)) {
            size_t used = strlen(known);
            IGNORE_RESULT(snprintf(known + used, sizeof(known) - used, "%s%s", used > 0 ? ", " : "",
                                   verb->name)); /* fits: checked */
        }
    }
    if (known[0] != 0) {
        return err_set(info, ERR_INVALID, "'%s' needs a verb: %s", word, known);
    }
    return err_set(info, ERR_INVALID, "no verb '%s'; 'shadowcast help' lists them", word);
}

static enum err take_option(struct cli *cli, int argc, char **argv, int *at, bool *ret_help,
                            struct err_info *info)
{
    const char *word = argv[*at];
    struct str rest = str_of(word + 2);
    bool is_long = word[1] == '-';
    struct str name = is_long ? str_cut(&rest, '=') : (struct str){word, 2};
    if (str_is(name, "help") || strcmp(word, "-h") == 0) {
        *ret_help = true;
        return ERR_OK;
    }
    int index = 0;
    const struct cli_option *option = find_option(cli->verb, name, is_long ? 0 : word[1], &index);
    if (option == NULL) {
        return err_set(info, ERR_INVALID, "'%s' has no option '%.*s%.*s'; see --help",
                       cli->verb->name, is_long ? 2 : 0, word, STR_ARG(name));
    }
    const char *value = NULL;
    if (is_long && rest.ptr != NULL) {
        value = rest.ptr;
    } else if (!is_long && word[2] != 0) {
        value = word + 2;
    }
    if (option->kind == CLI_FLAG) {
        if (value != NULL) {
            return err_set(info, ERR_INVALID, "--%s takes no value", option->name);
        }
        cli->values[index] = "";
        return ERR_OK;
    }
    if (value == NULL) {
        if (*at + 1 >= argc) {
            return err_set(info, ERR_INVALID, "--%s needs a value: %s", option->name,
                           option->value);
        }
        value = argv[++*at];
    }
    int64_t number = 0;
    double real = 0;
    enum err err = cli_read_value(option, value, &number, &real, info);
    cli->values[index] = err == ERR_OK ? value : NULL;
    if (option->kind == CLI_TEXTS && cli->text_count == CLI_TEXTS_MAX) {
        return err_set(info, ERR_INVALID, "--%s more than %d times", option->name, CLI_TEXTS_MAX);
    }
    if (option->kind == CLI_TEXTS) {
        cli->texts[cli->text_count++] = value;
    }
    return err;
}

static enum err check_arguments(const struct cli *cli, struct err_info *info)
{
    int required = 0;
    int most = 0;
    struct str rest = str_of(cli->verb->arguments);
    while (rest.ptr != NULL && rest.len > 0) {
        struct str word = str_cut(&rest, ' ');
        required += word.ptr[0] != '[';
        most = str_ends_with(word, STR("...")) || str_ends_with(word, STR("...]")) ? CLI_ARGS_MAX
                                                                                   : most + 1;
    }
    if (cli->arg_count < required || cli->arg_count > most) {
        return err_set(info, ERR_INVALID, "%s arguments: shadowcast %s %s; see --help",
                       cli->arg_count < required ? "missing" : "too many", cli->verb->name,
                       cli->verb->arguments);
    }
    return ERR_OK;
}

enum err cli_parse(int argc, char **argv, struct cli *ret_cli, bool *ret_help,
                   struct err_info *info)
{
    *ret_cli = (struct cli){.verb = NULL};
    *ret_help = false;
    if (argc < 2) {
        return err_set(info, ERR_INVALID, "which verb? 'shadowcast help' lists them");
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "-h") == 0) {
        int words = 0;
        *ret_help = true;
        if (argc > 2) {
            ret_cli->verb = find_verb(argc - 1, argv + 1, &words);
            return ret_cli->verb != NULL ? ERR_OK : unknown_verb(argv[2], info);
        }
        return ERR_OK;
    }
    int words = 0;
    static char version[] = "version";
    if (strcmp(argv[1], "--version") == 0) {
        argv[1] = version;
    }
    ret_cli->verb = find_verb(argc, argv, &words);
    if (ret_cli->verb == NULL) {
        return unknown_verb(argv[1], info);
    }
    bool only_arguments = false;
    for (int i = 1 + words; i < argc; i++) {
        const char *word = argv[i];
        if (!only_arguments && strcmp(word, "--") == 0) {
            only_arguments = true;
        } else if (!only_arguments && word[0] == '-' && word[1] != 0) {
            enum err err = take_option(ret_cli, argc, argv, &i, ret_help, info);
            if (err != ERR_OK || *ret_help) {
                return err;
            }
        } else if (ret_cli->arg_count == CLI_ARGS_MAX) {
            return err_set(info, ERR_INVALID, "more than %d arguments", CLI_ARGS_MAX);
        } else {
            ret_cli->args[ret_cli->arg_count++] = word;
        }
    }
    return check_arguments(ret_cli, info);
}
