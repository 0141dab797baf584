// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Time as an interface, so that the simulator can own it. Everything that decides takes `now_ns` as an argument; only
 * the shells of loops read a clock. Implementations: base/real/clock_real.h, sim/world.h. */
struct clock {
    void *ctx;
    int64_t (*now_ns)(void *ctx); /* monotonic, from an arbitrary zero, >= 0 */
    int64_t (*wall_unix_ms)(
        void *ctx); /* wall time; may jump. Only for time stamps that leave the process */
    int64_t (*thread_cpu_ns)(
        void *ctx); /* CPU time of the calling thread; costs 750 ns: once a step, not a batch */
    bool steady;    /* now_ns is quicker, and moves as a running thread's CPU time does */
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

/* A thread's CPU time in pieces, at what now_ns costs. A piece that took longer than CLOCK_LAP_TRUSTED_NS may have been
 * interrupted: then the CPU clock is asked, and what shorter pieces were off by is made good. */
struct clock_lap {
    int64_t cpu_ns, now_ns; /* at the end of the piece before */
};

#define CLOCK_LAP_TRUSTED_NS INT64_C(200000)

static inline void clock_lap_begin(const struct clock *clock, struct clock_lap *lap)
{
    lap->cpu_ns = clock_thread_cpu_ns(clock);
    lap->now_ns = clock->steady ? clock_now_ns(clock) : 0;
}

/* CPU time since the piece before, >= 0. */
static inline int64_t clock_lap_ns(const struct clock *clock, struct clock_lap *lap)
{
    int64_t now_ns = clock->steady ? clock_now_ns(clock) : 0;
    int64_t ns = now_ns - lap->now_ns;
    if (!clock->steady || ns > CLOCK_LAP_TRUSTED_NS) {
        ns = clock_thread_cpu_ns(clock) - lap->cpu_ns;
        ns = ns > 0 ? ns : 0;
    }
    lap->cpu_ns += ns;
    lap->now_ns = now_ns;
    return ns;
}

#endif
