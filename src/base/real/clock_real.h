// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_REAL_CLOCK_REAL_H
#define BASE_REAL_CLOCK_REAL_H

#include "base/clock.h"

/* The machine's clocks. The struct may be copied; it has no context. */
struct clock clock_real(void);

/* CPU time of all threads of this process so far. */
int64_t clock_real_process_cpu_ns(void);

/* Blocks the calling thread for `ns` (<= 0: not at all), through interruptions. For the command line's own thread only:
 * nothing that runs in a loop sleeps. */
void clock_real_sleep(int64_t ns);

#endif
