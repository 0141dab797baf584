// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/check.h"
#include "base/loop.h"
#include "base/mem.h"

struct loop {
    struct loop_options options;
    pthread_t thread;
    char name[LOOP_NAME_MAX + 1]; /* the caller's may be gone when the thread begins */
    _Atomic bool stop;            /* set by the stopper, read by the thread */
};

/* Refusals are no reason to fail: containers forbid both calls, and without them the loop is merely less apart. */
static void take_place(const struct loop_options *options)
{
    if (options->class == LOOP_IDLE) {
        struct sched_param param = {.sched_priority = 0};
        IGNORE_RESULT(sched_setscheduler(0, SCHED_IDLE, &param));
    }
    if (options->cpu >= 0 && options->cpu < CPU_SETSIZE) {
        cpu_set_t cpus;
        CPU_ZERO(&cpus);
        CPU_SET((size_t)options->cpu, &cpus);
        IGNORE_RESULT(sched_setaffinity(0, sizeof(cpus), &cpus));
    }
    if (options->name != NULL) {
        CHECK(pthread_setname_np(pthread_self(), options->name) == 0);
    }
}

/* Polls for `spin_ns` before a sleep is worth its system calls. True if a wake-up or the deadline came. */
static bool spin(const struct loop_options *options, int64_t now_ns, int64_t deadline_ns)
{
    int64_t until_ns = now_ns + options->spin_ns;
    while (now_ns < until_ns) {
        if (atomic_load(&options->waker->state) != 0 || now_ns >= deadline_ns) {
            return true;
        }
        __builtin_ia32_pause();
        now_ns = clock_now_ns(options->clock);
    }
    return false;
}

static void *run(void *arg)
{
    struct loop *loop = arg;
    const struct loop_options *options = &loop->options;
    take_place(options);
    while (!atomic_load(&loop->stop)) {
        /* The mark goes before the step looks: what arrives during the step leaves a new one, and the sleep returns. */
        IGNORE_RESULT(waker_take(options->waker));
        int64_t deadline_ns = options->step(options->ctx, clock_now_ns(options->clock));
        int64_t now_ns = clock_now_ns(options->clock);
        if (deadline_ns <= now_ns || atomic_load(&loop->stop)) {
            continue;
        }
        if (options->spin_ns > 0 && spin(options, now_ns, deadline_ns)) {
            continue;
        }
        waker_sleep(options->waker,
                    deadline_ns == CLOCK_NEVER ? CLOCK_NEVER : deadline_ns - now_ns);
    }
    return NULL;
}

struct loop *loop_start(const struct loop_options *options)
{
    struct loop *loop = MEM_NEW(struct loop);
    loop->options = *options;
    if (options->name != NULL) {
        IGNORE_RESULT(snprintf(loop->name, sizeof(loop->name), "%s", options->name)); /* or cut */
        loop->options.name = loop->name;
    }
    sigset_t all, before;
    CHECK(sigfillset(&all) == 0);
    /* Signals are the main thread's. */
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    int rc = pthread_create(&loop->thread, NULL, run, loop);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    CHECK_MSG(rc == 0, "cannot start thread %s: error %d", options->name, rc);
    return loop;
}

void loop_stop(struct loop *loop)
{
    if (loop == NULL) {
        return;
    }
    atomic_store(&loop->stop, true);
    if (loop->options.class ==
        LOOP_IDLE) { /* on a busy machine its last step would be long in coming */
        struct sched_param param = {.sched_priority = 0};
        IGNORE_RESULT(pthread_setschedparam(loop->thread, SCHED_OTHER,
                                            &param)); /* not allowed: it takes its time */
    }
    waker_wake(loop->options.waker);
    CHECK(pthread_join(loop->thread, NULL) == 0);
    mem_free(loop);
}
