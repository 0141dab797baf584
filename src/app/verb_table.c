// SPDX-License-Identifier: Apache-2.0
/* The verbs: one row each, and nothing about a verb's call is written anywhere else. */
#include "app/verbs.h"

#define OPTIONS_END \
    { \
        NULL, 0, CLI_FLAG, NULL, NULL, NULL \
    }

static const struct cli_option generate_options[] = {
    {"trace", 't', CLI_TEXT, "FILE", NULL,
     "trace to play: CSV `timestamp,value`; - is standard input"},
    {"keys", 'k', CLI_TEXT, "KEYS", "zipf:1.1:10000",
     "uniform:N, zipf:EXPONENT:N or drift:EXPONENT:N:SECONDS"},
    {"shape", 0, CLI_CHOICE, "click|order", "click", "what the records look like"},
    {"rate-scale", 0, CLI_F64, "X", "1", "records are the trace's value times this"},
    {"per-second", 0, CLI_FLAG, NULL, NULL,
     "the trace's values are rates a second, not counts a step"},
    {"speed", 0, CLI_F64, "X", NULL, "play at X times real time (left out: as fast as possible)"},
    {"until", 0, CLI_DURATION, "DURATION", NULL, "stop after this much of the trace"},
    {"jitter", 0, CLI_DURATION, "DURATION", "0s",
     "event times lie up to this far back: out of order"},
    {"seed", 0, CLI_I64, "N", "1", "same seed, same records"},
    {"format", 0, CLI_CHOICE, "value|tab", "value", "the value alone, or key, tab, value"},
    OPTIONS_END,
};

const struct cli_verb cli_verbs[] = {
    {"completion", verb_completion, "print a completion script for the shell", "[SHELL]", NULL, 0,
     "SHELL is bash (the default): source <(shadowcast completion bash)"},
    {"generate", verb_generate, "play a recorded load as records, one JSON a line", "",
     generate_options, 0,
     "shadowcast generate --trace load.csv --speed 60 | shadowcast produce clicks --key-field user"},
    {"manual", verb_manual, "print the reference of all verbs, as Markdown", "", NULL, 0, NULL},
    {"version", verb_version, "print the version", "", NULL, 0, NULL},
    {NULL, NULL, NULL, NULL, NULL, 0, NULL},
};
