// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_PROFILE_H
#define PRM_PROFILE_H

#include "base/sketch.h"
#include "prm/looks.h"

/* What a shadow's measures say: per operator and as a whole, with intervals. Absolute service times are the primary's, by its
 * own per-batch timing: a sample's working set is a tenth of the primary's, its cost is not. A shadow says how that cost
 * divides over operators, and what twins cost against each other. */

enum { PROFILE_OPERATORS_MAX = 64, PROFILE_NAME_MAX = 64, PROFILE_QUANTILES = 4 };

/* Quantiles of latency that a profile tells. */
extern const double profile_quantiles[PROFILE_QUANTILES]; /* 0.5, 0.9, 0.99, 0.999 */

/* Counters of one operator since the figures began, as node counts them. */
struct operator_counters {
    int64_t rows_in, rows_out;
    const struct histogram *latency; /* ns of a call, weighted by rows; NULL: not measured */
};

/* Counters of the whole, at the same time. */
struct profile_counters {
    int64_t rows_in, bytes_in, rows_out, bytes_out; /* of the sample */
    int32_t operator_count;
    const struct operator_counters *operators;
};

/* A batch of the sample: what came of one stretch of the input. Twins on the same sample have the same stretches. */
struct profile_group {
    double rows, rows_out, work_ns, read_ns;
    const double *operator_rows, *operator_ns; /* [operator_count] */
};

/* What the primary has gained between two looks at its always-on counters. */
struct profile_primary {
    int64_t rows, work_ns, read_ns;
};

/* Batches of the sample, and looks at the primary. Points into the owner's memory. */
struct profile_looks {
    struct looks sample, kept, primary; /* kept: of samples before the present one */
    int32_t operator_count;
    bool begun;
    struct profile_primary last;
};

/* Numbers that an owner must have for it. */
int32_t profile_numbers(int32_t operator_count);

/*   memory   [profile_numbers(operator_count)], outlives it */
void profile_looks_init(struct profile_looks *looks, double *memory, int32_t operator_count);

/* The groups of the present sample come anew, all of them, as node tells them again and again: begin, then add each that is
 * whole. Before another sample takes its place, keep() makes them stay. */
void profile_begin_sample(struct profile_looks *looks);
void profile_add_group(struct profile_looks *looks, const struct profile_group *group);
void profile_keep(struct profile_looks *looks);

/* Records of the sample that the figures rest on. */
double profile_rows(const struct profile_looks *looks);

/* Adds what the primary's counters have gained since the last call; the first call, and one in which a counter has fallen
 * (it was opened again), only say where they stand. */
void profile_look_primary(struct profile_looks *looks, const struct profile_primary *now);

/* What the stopping rule asks, at a confidence: CPU of a record, and whether it is clear which operator limits. */
void profile_question(const struct profile_looks *looks, double confidence,
                      struct estimate *ret_cost, bool *ret_clear);

struct operator_profile {
    struct estimate cost_ns;                       /* CPU of a record that the partition takes in */
    struct estimate service_ns;                    /* CPU of a row that it takes itself */
    struct estimate share;                         /* of the chain's CPU */
    struct estimate selectivity;                   /* rows out / rows in */
    struct estimate latency_ns[PROFILE_QUANTILES]; /* of a call; n: calls */
};

struct profile {
    int32_t operator_count;
    struct operator_profile operators[PROFILE_OPERATORS_MAX];
    int32_t limits;            /* index of the operator that costs most; -1: none does anything */
    struct estimate limits_by; /* its share less the next one's; clear if low > 0 */
    bool limits_clear;
    double without_ratio;    /* how many times faster the partition were without it: its ceiling */
    struct estimate work_ns; /* CPU of the shadow's chain and outputs, a record */
    struct estimate bytes_in, bytes_out, rows_out; /* a record */
    struct estimate primary_work_ns;               /* the same of the primary */
    struct estimate primary_read_ns;               /* reading, per record of its own */
    struct estimate read_share;                    /* reading / all of the primary's CPU */
    struct estimate rate_max; /* records/s of its own that the primary can do on its lane */
};

/*   counters   as last looked at: latency comes from them
 *   capacity   of the primary's lane, cores > 0 */
void profile_of(const struct profile_looks *looks, const struct profile_counters *counters,
                double capacity, struct profile *ret_profile);

/* What one of two twins took for a stretch of input. Where windows of all keys close together, as many closings fall into a
 * stretch as chance has it (of a window of a minute in five: four to six), so they are told apart: what they cost a record is
 * what one of them took, times as many as belong to the event time that passed. */
struct twin_side {
    double rows, cpu_ns;
    double close_ns; /* of cpu_ns: closing such windows */
    double
        closed_ms; /* event time that these closings stand for: their number times a hop; 0: there are none */
    double time_ms; /* event time that passed */
};

/* Columns of twins' looks: the subject's, then the baseline's. */
enum twin_column {
    TWIN_ROWS,
    TWIN_CPU,
    TWIN_CLOSE,
    TWIN_CLOSED,
    TWIN_TIME,
    TWIN_BASELINE,
    TWIN_COLUMNS = 2 * TWIN_BASELINE
};

/* The same sample through two chains, in pairs of groups. Not to be copied: its looks point into it. */
struct twin_looks {
    struct looks looks, kept; /* by twin_column; kept: of samples before the present one */
    double memory[2][(LOOKS_BATCHES_MAX + 1) * TWIN_COLUMNS];
};

void twin_init(struct twin_looks *looks);

/* The pairs of the present sample come anew, all of them, as those of profile_begin_sample() do; keep() makes them stay. */
void twin_begin(struct twin_looks *looks);
void twin_keep(struct twin_looks *looks);
void twin_add(struct twin_looks *looks, const struct twin_side *subject,
              const struct twin_side *baseline);

/* CPU of a record of one side, from sums of its columns [TWIN_BASELINE]; NaN: it has had none. */
double twin_cost_of(const double *sums);

/* The same with its interval. */
struct estimate twin_cost(const struct twin_looks *looks, enum twin_column side, double confidence);

/* CPU of a record against the baseline's: 1 is the same, 0.8 a fifth less. */
struct estimate twin_ratio(const struct twin_looks *looks, double confidence);

#endif
