// SPDX-License-Identifier: Apache-2.0
#include "base/real/clock_real.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>

#include "base/check.h"

static int64_t read_ns(clockid_t id)
{
    struct timespec ts;
    CHECK(clock_gettime(id, &ts) == 0);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t now_ns(void *ctx)
{
    (void)ctx;
    return read_ns(CLOCK_MONOTONIC);
}

static int64_t wall_unix_ms(void *ctx)
{
    (void)ctx;
    return read_ns(CLOCK_REALTIME) / 1000000;
}

static int64_t thread_cpu_ns(void *ctx)
{
    (void)ctx;
    return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

struct clock clock_real(void)
{
    return (struct clock){.ctx = NULL,
                          .now_ns = now_ns,
                          .wall_unix_ms = wall_unix_ms,
                          .thread_cpu_ns = thread_cpu_ns,
                          .steady = true};
}

int64_t clock_real_process_cpu_ns(void)
{
    return read_ns(CLOCK_PROCESS_CPUTIME_ID);
}

void clock_real_sleep(int64_t ns)
{
    if (ns <= 0) {
        return;
    }
    struct timespec left = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR) {
    }
}
