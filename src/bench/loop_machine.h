// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_LOOP_MACHINE_H
#define BENCH_LOOP_MACHINE_H

#include "base/clock.h"
#include "base/mailbox.h"
#include "base/sketch.h"

/* What the machine was like while a run went on: whether threads came to run in time, whether others used it, and whether a
 * piece of work cost what it cost when the load was calibrated. A run on a machine that was not ours tells nothing. */

struct machine_figures {
    double hiccup_ms;    /* a thread that sleeps 1 ms: 99 % of its sleeps are longer by less */
    double longest_ms;   /* the longest of them, more than asked for */
    double yardstick_us; /* CPU of a fixed piece of work, median; 0: not measured */
    double others_cores; /* what others used, mean; 0 where the system does not tell */
    double stolen_cores; /* of it, other guests of the host */
};

struct loop_machine {
    struct waker waker; /* of loop_machine_step */
    const struct clock *clock;
    int64_t due_ns, work_due_ns;
    struct histogram late, work;
    uint64_t sum; /* of the work's results: else it would be left out */
    int64_t begin_ns, busy_begin_ns, stolen_begin_ns, own_begin_ns;
};

/* Begins to measure. The clock must outlive it. */
void loop_machine_begin(struct loop_machine *machine, const struct clock *clock);

/* A loop's step; ctx: the machine. */
int64_t loop_machine_step(void *ctx, int64_t now_ns);

/* What was since the begin, read when the loop has stopped. */
struct machine_figures loop_machine_end(const struct loop_machine *machine);

/* NULL, or why a run is dropped: threads were late by more than a quarter of the objective (99 %) or stopped for ten
 * objectives, others used more than a core, the host took a tenth of one, or the same work cost 12 % more or less than when the load was
 * calibrated (`yardstick_us`; 0: not known).
 *   objective_ms   of the wall, > 0 */
const char *machine_spoilt(const struct machine_figures *figures, double objective_ms,
                           double yardstick_us);

#endif
