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
    char name[PROFILE_NAME_MAX + 1];
    char type[PROFILE_NAME_MAX + 1];
    int64_t rows_in, rows_out, bytes_in, bytes_out, cpu_ns, errors, late;
    int64_t state_bytes, state_entries; /* now */
    const struct histogram *latency;    /* ns of a call; NULL: not measured */
};

struct profile_counters {
    int64_t rows_in, bytes_in, rows_out, bytes_out;
    int64_t work_cpu_ns, read_cpu_ns;
    int32_t operator_count;
    const struct operator_counters *operators;
    /* of the primary, at the same time */
    int64_t primary_rows, primary_read, primary_work_cpu_ns, primary_read_cpu_ns;
};

/* The looks at one shadow. */
struct profile_looks {
    struct looks looks;
    int32_t operator_count;
    bool begun;
    double *last;   /* [columns] */
    double *memory; /* heap of the owner: profile_numbers() */
};

int32_t profile_numbers(int32_t operator_count);

/*   memory   [profile_numbers(operator_count)], outlives it */
void profile_looks_init(struct profile_looks *looks, double *memory, int32_t operator_count);

/* Adds what the counters have gained since the last call; the first call, and one in which a counter has fallen (the
 * shadow was opened again, or its primary), only say where they stand. */
void profile_look(struct profile_looks *looks, const struct profile_counters *counters);

/* Where they stand is not known any more: the next look only says so. After a pause. */
void profile_skip(struct profile_looks *looks);

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

/* The same sample through two chains, looked at together. Not to be copied: its looks point into it. */
struct twin_looks {
    struct looks looks; /* columns: rows and CPU of either */
    bool begun;
    double last[4];
    double memory[(LOOKS_BATCHES_MAX + 1) * 4];
};

void twin_looks_init(struct twin_looks *looks);
void twin_look(struct twin_looks *looks, int64_t rows, int64_t cpu_ns, int64_t baseline_rows,
               int64_t baseline_cpu_ns);
void twin_skip(struct twin_looks *looks);

/* CPU of a record against the baseline's: 1 is the same, 0.8 a fifth less. */
struct estimate twin_ratio(const struct twin_looks *looks, double confidence);

#endif
