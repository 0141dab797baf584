// SPDX-License-Identifier: Apache-2.0
#include "bench/loop_machine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/hash.h"
#include "base/real/clock_real.h"

#define SLEEP_NS INT64_C(1000000)
#define TICK_NS  INT64_C(10000000) /* of /proc/stat */
#define WORK_NS  INT64_C(20000000) /* between two pieces of work */

enum { WORK_BYTES = 128 << 10 };

static const double hiccup_share = 0.25, longest_objectives = 10, others_most = 1.0,
                    stolen_most = 0.1, drift_most = 0.12;

/* CPU time that all processes together have used, and what other guests took, as the system tells it; 0: it does not.
 *   ret_stolen_ns   what other guests took */
static int64_t busy_ns(int64_t *ret_stolen_ns)
{
    char line[512], *at = line + 4;
    *ret_stolen_ns = 0;
    long long ticks[8] = {0}; /* user nice system idle iowait irq softirq steal */
    FILE *file = fopen("/proc/stat", "re");
    if (file == NULL) {
        return 0;
    }
    bool there = fgets(line, sizeof line, file) != NULL && strncmp(line, "cpu ", 4) == 0;
    IGNORE_RESULT(fclose(file)); /* only read */
    for (int i = 0; there && i < 8; i++) {
        ticks[i] = strtoll(at, &at, 10);
    }
    *ret_stolen_ns = ticks[7] * TICK_NS;
    return (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6] + ticks[7]) * TICK_NS;
}

void loop_machine_begin(struct loop_machine *machine, const struct clock *clock)
{
    *machine = (struct loop_machine){.clock = clock,
                                     .begin_ns = clock_now_ns(clock),
                                     .own_begin_ns = clock_real_process_cpu_ns()};
    machine->busy_begin_ns = busy_ns(&machine->stolen_begin_ns);
    waker_init(&machine->waker);
}

/* The same work each time: what it costs tells how much of a core a core is. */
static void work(struct loop_machine *machine)
{
    static const char bytes[WORK_BYTES] = {1};
    int64_t before_ns = clock_thread_cpu_ns(machine->clock);
    machine->sum += hash64(bytes, WORK_BYTES);
    histogram_add(&machine->work, clock_thread_cpu_ns(machine->clock) - before_ns, 1);
}

int64_t loop_machine_step(void *ctx, int64_t now_ns)
{
    struct loop_machine *machine = ctx;
    if (machine->due_ns > 0 && now_ns >= machine->due_ns) {
        histogram_add(&machine->late, now_ns - machine->due_ns, 1);
    }
    if (now_ns >= machine->work_due_ns) {
        machine->work_due_ns = now_ns + WORK_NS;
        work(machine);
        now_ns = clock_now_ns(machine->clock);
    }
    if (now_ns >= machine->due_ns) {
        machine->due_ns = now_ns + SLEEP_NS;
    }
    return machine->due_ns;
}

struct machine_figures loop_machine_end(const struct loop_machine *machine)
{
    double seconds = (double)(clock_now_ns(machine->clock) - machine->begin_ns);
    int64_t stolen_ns;
    double all = (double)(busy_ns(&stolen_ns) - machine->busy_begin_ns);
    double stolen = (double)(stolen_ns - machine->stolen_begin_ns);
    bool known = seconds > 0 && machine->busy_begin_ns > 0;
    double own = (double)(clock_real_process_cpu_ns() - machine->own_begin_ns);
    return (struct machine_figures){
        .hiccup_ms = (double)histogram_quantile(&machine->late, 0.99) * 1e-6,
        .longest_ms = (double)histogram_quantile(&machine->late, 1) * 1e-6,
        .yardstick_us = (double)histogram_quantile(&machine->work, 0.5) * 1e-3,
        .others_cores = known ? fmax(0, all - own) / seconds : 0,
        .stolen_cores = known ? fmax(0, stolen) / seconds : 0};
}

const char *machine_spoilt(const struct machine_figures *figures, double objective_ms,
                           double yardstick_us)
{
    if (figures->hiccup_ms > hiccup_share * objective_ms) {
        return "threads came late";
    }
    if (figures->longest_ms > longest_objectives * objective_ms) {
        return "the process stood still";
    }
    if (figures->others_cores > others_most) {
        return "others used the machine";
    }
    if (figures->stolen_cores > stolen_most) {
        return "the host took processors away";
    }
    bool drifted = yardstick_us > 0 && figures->yardstick_us > 0 &&
                   fabs(figures->yardstick_us / yardstick_us - 1) > drift_most;
    return drifted ? "the same work cost another amount" : NULL;
}
