// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mailbox.h"

/* The waker's word:
 *
 *     IDLE --wake--> WOKEN --take--> IDLE          IDLE --sleep--> ASLEEP --wake (and the system call)--> WOKEN
 *
 *   W1  Only the loop's own thread leaves WOKEN or enters ASLEEP; anybody may enter WOKEN.
 *   W2  A push that finds WOKEN may stop there: pushes, marks and their taking are sequentially consistent, so the loop,
 *       which takes the mark before it looks into its mailboxes, sees that push.
 *   W3  waker_sleep gives the word back as IDLE. */
enum { WAKER_IDLE = 0, WAKER_WOKEN = 1, WAKER_ASLEEP = 2 };

enum { NS_PER_S = 1000000000 };

void waker_init(struct waker *waker)
{
    atomic_init(&waker->state, WAKER_IDLE);
}

void waker_wake(struct waker *waker)
{
    if (atomic_load(&waker->state) == WAKER_WOKEN) {
        return; /* W2 */
    }
    if (atomic_exchange(&waker->state, WAKER_WOKEN) == WAKER_ASLEEP) {
        IGNORE_RESULT(syscall(SYS_futex, &waker->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL,
                              0)); /* fails only on a bad address */
    }
}

bool waker_take(struct waker *waker)
{
    if (atomic_load(&waker->state) == WAKER_IDLE) {
        return false;
    }
    return atomic_exchange(&waker->state, WAKER_IDLE) == WAKER_WOKEN;
}

static int64_t monotonic_ns(void)
{
    struct timespec ts;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

void waker_sleep(struct waker *waker, int64_t timeout_ns)
{
    uint32_t expected = WAKER_IDLE;
    if (timeout_ns > 0 && atomic_compare_exchange_strong(&waker->state, &expected, WAKER_ASLEEP)) {
        int64_t now_ns = monotonic_ns();
        bool forever = timeout_ns > CLOCK_NEVER - now_ns;
        int64_t end_ns = forever ? CLOCK_NEVER : now_ns + timeout_ns;
        /* Absolute, so that a signal or a spurious return does not start the wait anew. */
        struct timespec end = {.tv_sec = end_ns / NS_PER_S, .tv_nsec = end_ns % NS_PER_S};
        while (atomic_load(&waker->state) == WAKER_ASLEEP) {
            long rc = syscall(SYS_futex, &waker->state, FUTEX_WAIT_BITSET_PRIVATE, WAKER_ASLEEP,
                              forever ? NULL : &end, NULL, FUTEX_BITSET_MATCH_ANY);
            if (rc != 0 && errno == ETIMEDOUT) {
                break;
            }
            CHECK(rc == 0 || errno == EAGAIN || errno == EINTR);
        }
    }
    atomic_store(&waker->state, WAKER_IDLE); /* W3 */
}
