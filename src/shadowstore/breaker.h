// SPDX-License-Identifier: Apache-2.0
#ifndef SHADOWSTORE_BREAKER_H
#define SHADOWSTORE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

/* Circuit breaker: one failure is enough to leave a server alone; then a single probe at a time, at growing intervals,
 * finds out when it is back. Pure: time comes in, nothing is called.
 *
 *        first probe succeeds           a call failed               its time has come
 *   (start)                    CLOSED --------------------> OPEN ---------------------> PROBING
 *      |                         ^                           ^                           |   |
 *      |                         |                           +------ the probe failed ---+   |
 *      |                         +--------------------------------- the probe succeeded -----+
 *      +--> OPEN, due at once: nothing is sent to a server that has not been asked
 *
 * Invariants (check() restates them):
 *   B1  deadline_ns is CLOCK_NEVER but in OPEN, where it is when the next probe may go.
 *   B2  wait_ns is within [wait_min_ns, wait_max_ns]; it doubles with each probe that fails, and is the least again once
 *       one has succeeded.
 *   B3  Only a call that was begun in the present generation changes the state: what comes late from before does not. */

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_PROBING };

struct breaker { /* one thread's; embed by value */
    enum breaker_state state;
    uint32_t generation; /* counts changes of state */
    int64_t deadline_ns;
    int64_t wait_ns; /* before the next probe, should this one fail */
    int64_t wait_min_ns, wait_max_ns;
};

/* 0 < wait_min_ns <= wait_max_ns. */
void breaker_init(struct breaker *breaker, int64_t wait_min_ns, int64_t wait_max_ns,
                  int64_t now_ns);

/* Whether calls may go. */
bool breaker_allows(const struct breaker *breaker);

/* Whether the probe is due; if so its call is begun by this: true once a probe. */
bool breaker_takes_probe(struct breaker *breaker, int64_t now_ns);

/* How a call ended that was begun in `generation`. */
void breaker_succeeded(struct breaker *breaker, uint32_t generation);
void breaker_failed(struct breaker *breaker, uint32_t generation, int64_t now_ns);

#endif
