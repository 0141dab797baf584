// SPDX-License-Identifier: Apache-2.0
#include "shadowstore/breaker.h"

#include "base/check.h"
#include "base/clock.h"

static void check(const struct breaker *b)
{
    CHECK((b->deadline_ns != CLOCK_NEVER) == (b->state == BREAKER_OPEN)); /* B1 */
    CHECK(b->wait_ns >= b->wait_min_ns && b->wait_ns <= b->wait_max_ns);  /* B2 */
}

/* The only place where the state changes. */
static void enter(struct breaker *b, enum breaker_state state, int64_t deadline_ns)
{
    b->state = state;
    b->generation++;
    b->deadline_ns = deadline_ns;
    check(b);
}

void breaker_init(struct breaker *breaker, int64_t wait_min_ns, int64_t wait_max_ns, int64_t now_ns)
{
    CHECK(wait_min_ns > 0 && wait_min_ns <= wait_max_ns);
    *breaker = (struct breaker){
        .wait_ns = wait_min_ns, .wait_min_ns = wait_min_ns, .wait_max_ns = wait_max_ns};
    enter(breaker, BREAKER_OPEN, now_ns);
}

bool breaker_allows(const struct breaker *breaker)
{
    return breaker->state == BREAKER_CLOSED;
}

bool breaker_takes_probe(struct breaker *breaker, int64_t now_ns)
{
    if (breaker->state != BREAKER_OPEN || now_ns < breaker->deadline_ns) {
        return false;
    }
    enter(breaker, BREAKER_PROBING, CLOCK_NEVER);
    return true;
}

void breaker_succeeded(struct breaker *breaker, uint32_t generation)
{
    if (generation != breaker->generation) {
        return; /* B3 */
    }
    if (breaker->state == BREAKER_PROBING) {
        breaker->wait_ns = breaker->wait_min_ns;
        enter(breaker, BREAKER_CLOSED, CLOCK_NEVER);
    }
}

void breaker_failed(struct breaker *breaker, uint32_t generation, int64_t now_ns)
{
    if (generation != breaker->generation) {
        return; /* B3 */
    }
    CHECK(breaker->state != BREAKER_OPEN); /* nothing is begun in it */
    int64_t wait_ns = breaker->wait_ns;
    if (breaker->state == BREAKER_PROBING) {
        breaker->wait_ns = wait_ns > breaker->wait_max_ns / 2 ? breaker->wait_max_ns : wait_ns * 2;
    }
    enter(breaker, BREAKER_OPEN, now_ns + wait_ns);
}
