// SPDX-License-Identifier: Apache-2.0
#ifndef APP_CLI_H
#define APP_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "app/exit_code.h"
#include "base/err.h"

/* The command line. One table of verbs (app/verb_table.c), one row a verb; parsing, help, completion and docs/cli.md all
 * come from it. A verb gets its call checked and typed: it never looks at argv. */

enum { CLI_OPTIONS_MAX = 32, CLI_ARGS_MAX = 64, CLI_TEXTS_MAX = 32 };

enum cli_kind {
    CLI_FLAG, /* there or not */
    CLI_TEXT,
    CLI_CHOICE,   /* one of the words in `value`, "a|b|c" */
    CLI_I64,      /* whole number >= 0 */
    CLI_F64,      /* number >= 0 */
    CLI_SHARE,    /* 0.7 or 70% -> 0.7 */
    CLI_DURATION, /* 250ms, 30s, 5m, 1h, 7d -> ns */
    CLI_SIZE,     /* 512, 64KiB, 16MiB, 1GiB -> bytes */
    CLI_TEXTS     /* may be given more than once: cli_texts */
};

struct cli_option {
    const char *name; /* without dashes; NULL ends a list */
    char letter;      /* short form; 0: none */
    enum cli_kind kind;
    const char *value;    /* what stands for the value in help; CLI_CHOICE: the words */
    const char *fallback; /* default as it would be written; NULL: none */
    const char *help;     /* one line */
};

/* Options that many verbs share. */
enum cli_common {
    CLI_CLIENT = 1, /* --data --url --token-file --timeout: verbs that ask a running process */
    CLI_OUTPUT = 2  /* -o table|json|csv, --no-color */
};

struct cli;

struct cli_verb {
    const char *name; /* one or two words: "run", "stream list" */
    int (*run)(const struct cli *cli);
    const char *summary;              /* one line, lower case, no full stop */
    const char *arguments;            /* "FILE", "STREAM [SHARD]", "NAME..." (one or more) or "" */
    const struct cli_option *options; /* ended by a NULL name; may be NULL */
    uint32_t common;                  /* bits of enum cli_common */
    const char *help;                 /* more lines for --help and the manual; may be NULL */
};

/* A checked call. */
struct cli {
    const struct cli_verb *verb;
    int arg_count;
    const char *args[CLI_ARGS_MAX];
    const char *values[CLI_OPTIONS_MAX]; /* by position in cli_option_at; NULL: not given */
    int text_count;                      /* of the one CLI_TEXTS option that a verb may have */
    const char *texts[CLI_TEXTS_MAX];
};

/* The table; ended by a row with a NULL name. */
extern const struct cli_verb cli_verbs[];

/* Option number `index` of a verb, own ones first, then shared ones; NULL behind the last. */
const struct cli_option *cli_option_at(const struct cli_verb *verb, int index);

/* Finds the verb in argv[1..] and checks the rest against its row.
 * Errors: INVALID, with a text that says what is wrong and what would be right. `*ret_cli` has its verb set as soon as it
 * is known, also on failure. A call for help is no error: ret_cli->verb is NULL, or `*ret_help` is true. */
ATTR_NODISCARD enum err cli_parse(int argc, char **argv, struct cli *ret_cli, bool *ret_help,
                                  struct err_info *info);

/* Values by option name. Asking for a name that the verb's row does not have is a bug. */
bool cli_flag(const struct cli *cli, const char *name);
bool cli_given(const struct cli *cli, const char *name);
const char *cli_text(const struct cli *cli,
                     const char *name); /* fallback if not given; may be NULL */
int64_t cli_i64(const struct cli *cli,
                const char *name); /* CLI_I64, CLI_DURATION (ns), CLI_SIZE (bytes) */
double cli_f64(const struct cli *cli, const char *name);

/* Reads a value as `option` wants it. Errors: INVALID. For CLI_F64 and CLI_SHARE `*ret_f64`, for the whole numbers `*ret_i64`. */
ATTR_NODISCARD enum err cli_read_value(const struct cli_option *option, const char *text,
                                       int64_t *ret_i64, double *ret_f64, struct err_info *info);

/* Help and what is generated from the table. `verb` NULL: the overview. */
void cli_print_help(FILE *to, const struct cli_verb *verb);
void cli_print_manual(FILE *to); /* docs/cli.md */
ATTR_NODISCARD enum err cli_print_completion(FILE *to, const char *shell, struct err_info *info);

#endif
