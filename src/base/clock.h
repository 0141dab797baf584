// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Time as an interface, so that the simulator can own it. Everything that decides takes `now_ns` as an argument; only
 * the shells of loops read a clock. Implementations: base/real/clock_real.h, sim/world.h. */
struct clock {
    void *ctx;
    int64_t (*now_ns)(void *ctx); /* monotonic, from an arbitrary zero, >= 0 */
    int64_t (*wall_unix_ms)(
        void *ctx); /* wall time; may jump. Only for time stamps that leave the process */
    int64_t (*thread_cpu_ns)(
        void *ctx); /* CPU time of the calling thread; costs 750 ns: once a batch, not a record */
};

/* A deadline that never comes. */
#define CLOCK_NEVER INT64_MAX

static inline int64_t clock_now_ns(const struct clock *clock)
{
    return clock->now_ns(clock->ctx);
}

static inline int64_t clock_wall_unix_ms(const struct clock *clock)
{
    return clock->wall_unix_ms(clock->ctx);
}

static inline int64_t clock_thread_cpu_ns(const struct clock *clock)
{
    return clock->thread_cpu_ns(clock->ctx);
}

#endif
