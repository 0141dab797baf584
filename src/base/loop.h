// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include "base/clock.h"
#include "base/mailbox.h"

/* The small thread shell round every step function: step, sleep until the deadline it returned or until woken, again.
 * In the simulator no loop exists: the world calls the steps itself. */

/* Advances what `ctx` is by what has arrived and what is due; never blocks. Returns when it wants to be called again
 * if nothing wakes it: `now_ns` or before = at once, CLOCK_NEVER = only when woken. */
typedef int64_t (*loop_step)(void *ctx, int64_t now_ns);

enum loop_class { LOOP_NORMAL, LOOP_IDLE /* SCHED_IDLE: shadows */ };

enum { LOOP_NAME_MAX = 15 };

struct loop_options {
    const char *
        name; /* shown by ps; what is over LOOP_NAME_MAX bytes is cut. Copied. NULL: the process' */
    const struct clock *clock;
    struct waker *waker; /* the caller's; outlives the loop */
    loop_step step;
    void *ctx;
    enum loop_class class;
    int cpu;         /* core to run on, or -1 */
    int64_t spin_ns; /* how long to poll before sleeping; 0: not at all */
};

struct loop;

/* Starts a thread. NULL never: failing to start one is a failed CHECK. */
struct loop *loop_start(const struct loop_options *options);

/* Asks the thread to end after its present step, waits for it, frees. NULL is fine. */
void loop_stop(struct loop *loop);

#endif
