// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_DECISION_H
#define BENCH_DECISION_H

#include "base/clock.h"
#include "prm/synthetic.h"

/* How long a decision takes on a synthetic cluster (prm/synthetic.h), and how good its plan is. CPU time of one thread. */

enum { DECISION_ROUNDS_MAX = 101 };

struct decision_options {
    int32_t parts, nodes;
    int32_t rounds; /* 1..DECISION_ROUNDS_MAX, each full and incremental */
    uint64_t seed;
};

struct decision_figures {
    double full_ms,
        full_max_ms; /* median and slowest: all figures in, a forecast step each, options, prices, choice */
    double some_ms, some_max_ms;        /* ... after one partition in a hundred has changed */
    double max_before, mean, max_after; /* utilisation */
    int32_t moves,
        least_moves;    /* of the option that only moves; fewest that any plan needs for its max */
    int32_t hot;        /* lanes above 1.10 times the mean before */
    const char *chosen; /* in words, the arena's */
};

/* Errors: those of synthetic_new. Memory: about 600 bytes a partition, and the plans'. */
ATTR_NODISCARD enum err decision_measure(const struct decision_options *options,
                                         const struct clock *clock, struct arena *arena,
                                         struct decision_figures *ret_figures,
                                         struct err_info *info);

#endif
