// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_CHAIN_H
#define PIPELINE_CHAIN_H

#include "base/clock.h"
#include "base/err.h"
#include "pipeline/batch.h"
#include "pipeline/state.h"

/* A chain: the operators of one stage, instantiated for one partition (or shadow). Many run in one process with
 * different settings; nothing is shared between them but the stage's plan, which is read-only. Batch in, batch out: no
 * IO, no clock but the probe's. One thread at a time. */

struct stage_plan; /* pipeline/config.h: checked, compiled, read-only */
struct chain;
struct lookup_table;
struct probes; /* pipeline/probe.h */

enum output_kind {
    OUTPUT_MAIN,        /* to the stage's sink or internal stream */
    OUTPUT_DEAD_LETTER, /* rejected records, the reason in header "sc.reason" */
    OUTPUT_LATE         /* records that a window dropped as late */
};

/* Finished rows, ready to be put into record batches. Views may point into the batch that was handed in and into the
 * chain: take them before the batch's memory goes and before the chain is called again. */
struct output {
    enum output_kind kind;
    int32_t count;
    const struct str *key;
    const struct str *value;
    const int64_t *time_ms;
    const int64_t *stamp_ms;     /* NULL: none has one */
    const struct str *headers;   /* NULL: none */
    const int32_t *header_count; /* with headers */
};

enum { CHAIN_OUTPUTS_MAX = 4096 };

/* Rows of an output that still grows. Private to chain.c. */
struct output_rows {
    int32_t index; /* of the output, with cap > 0 */
    int32_t cap;
    struct str *key, *value, *headers;
    int64_t *time_ms;
    int32_t *header_count;
};

/* Where a chain leaves its outputs; the caller takes them after each call and resets. */
struct chain_out {
    struct arena *arena; /* the caller's; reset by chain_out_reset */
    int32_t count;
    struct output_rows dead, late;
    struct output outputs[CHAIN_OUTPUTS_MAX];
};

void chain_out_init(struct chain_out *out, struct arena *arena);
void chain_out_reset(struct chain_out *out);

struct chain_options {
    const struct stage_plan *plan;
    struct state *state; /* the partition's; outlives the chain */
    struct lookup_table *const
        *lookup_tables; /* [plan's count] filled and kept current by the caller; may be NULL */
    const struct clock *probe_clock; /* NULL: operators are not timed */
    struct probes
        *probes; /* of a shadow: outlives the chain, one for each operator; NULL: not measured */
    bool shadow; /* refuse operators with undeclared effects */
};

/* Errors: UNSUPPORTED (shadow and an operator with undeclared effects: names it), NOT_FOUND (plug-in cannot be loaded). */
ATTR_NODISCARD enum err chain_new(const struct chain_options *options, struct chain **ret_chain,
                                  struct err_info *info);
void chain_free(struct chain *chain);

/* Runs all operators on a batch that came from input `input` (0, or 1 for a join's second).
 * Row order is input order. ERR_AGAIN: a dependency is down; nothing behind the operator that said so has happened and
 * nothing before it will happen twice: keep the batch, call chain_resume later, and hand in nothing else until it is OK.
 * Other errors: the chain is of no use any more. */
ATTR_NODISCARD enum err chain_process(struct chain *chain, int input, struct batch *batch,
                                      struct chain_out *out, struct err_info *info);
ATTR_NODISCARD enum err chain_resume(struct chain *chain, struct chain_out *out,
                                     struct err_info *info);

/* Tells the chain that no unstamped record before `watermark_ms` will come: closes windows, expires buffers. Emits at
 * most what `out` takes; true if there is more to emit for this watermark (call again after taking the outputs). An operator
 * is told a watermark that is less by what those before it hold back (operator_plan.hold_ms). */
bool chain_advance(struct chain *chain, int64_t watermark_ms, struct chain_out *out);

/* True: an operator behind a window said AGAIN in chain_advance or chain_tick, whose rows wait; the next chain_advance
 * (or chain_resume) goes on with them. The caller backs off. */
bool chain_stalled(const struct chain *chain);

/* Early results of windows that want them ("also every T while open"), due at processing time `now_ns`; returns the next
 * time it wants to be called (CLOCK_NEVER: none). Outside the promise of identical output. */
int64_t chain_tick(struct chain *chain, int64_t now_ns, struct chain_out *out);

/* Always-on counters of one operator, since the chain was made. */
struct operator_stats {
    struct str name;
    const char *type;
    int64_t rows_in, rows_out, rejected, late;
    int64_t cpu_ns; /* with a probe clock: time between two looks at it, once a batch; else 0 */
};
struct operator_stats chain_operator_stats(const struct chain *chain, int index);

#endif
