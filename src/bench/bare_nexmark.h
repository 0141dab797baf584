// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_BARE_NEXMARK_H
#define BENCH_BARE_NEXMARK_H

#include <stddef.h>
#include <stdint.h>

/* Nexmark's queries as somebody would write them by hand for this one purpose: over the same record batches that the engine
 * reads (checksum held, records walked), or over a plain array of the events. Events come in order of event time. Results
 * are counted and summed, not written. One thread. */

enum bare_query { BARE_Q0, BARE_Q1, BARE_Q2, BARE_Q3, BARE_Q5, BARE_Q7, BARE_Q8 };

/* kind as enum nexmark_kind; bid: auction, bidder, price; auction: id, seller, category; person: id, -, state (its two
 * letters as a number). */
struct bare_event {
    int64_t kind, time_ms, a, b, c;
};

struct bare_nexmark;

/*   events   of the input, at most
 *   rate     a second of event time: how many keys a window can hold */
struct bare_nexmark *bare_nexmark_new(enum bare_query query, int64_t events, int64_t rate);
void bare_nexmark_free(struct bare_nexmark *bare);

/* One record batch of the input, which has `len` bytes left; returns its records.
 *   ret_total   its bytes */
int64_t bare_nexmark_batch(struct bare_nexmark *bare, const char *bytes, int64_t len,
                           ptrdiff_t *ret_total);

void bare_nexmark_events(struct bare_nexmark *bare, const struct bare_event *events, int32_t count);

/* The input has ended: what is open closes, and nothing is remembered. */
void bare_nexmark_finish(struct bare_nexmark *bare);

/* Results so far. */
int64_t bare_nexmark_results(const struct bare_nexmark *bare);

/* What the plain array holds for a record's value. */
struct bare_event bare_event_of(const char *value);

#endif
