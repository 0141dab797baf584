// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_PROBE_H
#define PIPELINE_PROBE_H

#include "base/clock.h"
#include "base/sketch.h"
#include "pipeline/batch.h"

/* Deep instrumentation of a chain: on in shadows, absent in primaries (one branch on a NULL pointer for each operator and
 * batch). Times are thread CPU time, taken once between two operators; what reading the clock costs is measured once and
 * taken off. */

/* Sums over batches: enough for a ratio of sums (cost per row) and its variance by the delta method. */
struct probe_moments {
    int64_t batches; /* with at least one row in */
    int64_t rows_in, rows_out;
    int64_t bytes_in, bytes_out;      /* of keys, values and columns */
    int64_t cpu_ns;                   /* closing windows included */
    double ns_ns, rows_rows, ns_rows; /* sums of squares and products over batches */
};

struct probe {
    struct probe_moments moments;
    struct histogram
        batch_ns;            /* latency: what every row of a batch spends in it; weighted by rows */
    struct histogram row_ps; /* service time of a row, in ps: batch / rows; weighted by rows */
    int64_t again;           /* times it had to wait for a dependency */
};

struct probes {
    const struct clock *clock;
    int64_t cost_ns;      /* of reading the clock once */
    int64_t spent_ns;     /* by the probes themselves: readings and counting, about */
    struct clock_lap lap; /* at the last reading */
    int32_t count;
    struct probe *probes; /* [count], by operator */
};

/* Measures the clock's cost. `count` operators. */
void probes_init(struct probes *probes, const struct clock *clock, int32_t count);
void probes_release(struct probes *probes);

/* Forgets what was measured. */
void probes_clear(struct probes *probes);

/* Probing begins: what came before is no probe's. */
void probes_enter(struct probes *probes);

/* What was done since the last reading was probing itself: spent. */
void probes_spend(struct probes *probes);

/* CPU time since the last reading, the reading's own cost taken off. */
int64_t probes_lap(struct probes *probes);

/* Takes in a batch of `rows` rows that took `ns`; 0 rows: time alone (timers). */
void probe_add(struct probe *probe, int64_t rows, int64_t ns);

/* The moments' part of it. */
void probe_moments_add(struct probe_moments *moments, int64_t rows, int64_t ns);

/* Bytes of the selected rows: keys, columns that are not null, and, where rows still are records, values. */
int64_t probe_batch_bytes(const struct batch *batch, bool value_intact);

#endif
