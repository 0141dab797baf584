// SPDX-License-Identifier: Apache-2.0
/* The verbs: one row each, and nothing about a verb's call is written anywhere else. */
#include "app/verbs.h"

#define OPTIONS_END \
    { \
        NULL, 0, CLI_FLAG, NULL, NULL, NULL \
    }

const struct cli_verb cli_verbs[] = {
    {"completion", verb_completion, "print a completion script for the shell", "[SHELL]", NULL, 0,
     "SHELL is bash (the default): source <(shadowcast completion bash)"},
    {"manual", verb_manual, "print the reference of all verbs, as Markdown", "", NULL, 0, NULL},
    {"version", verb_version, "print the version", "", NULL, 0, NULL},
    {NULL, NULL, NULL, NULL, NULL, 0, NULL},
};
