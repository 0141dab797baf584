// SPDX-License-Identifier: Apache-2.0
#ifndef TEST_SHADOWSTORE_CONFORMANCE_H
#define TEST_SHADOWSTORE_CONFORMANCE_H

#include "shadowstore/shadowstore.h"

/* The same tests for every store: in memory, Redis and Memcached; played and real. Whoever runs them brings a store that is
 * up and a way to run one op to its completion. */

struct subject {
    struct shadowstore *store;
    void *ctx;
    void (*run)(struct subject *subject,
                struct shadowstore_op *op); /* submits, returns when it is complete */
};

/* True if all held; what did not is reported as a failed test. Shadows below 1000 are theirs. */
bool conformance_all(struct subject *subject);

/* --- for other tests too --- */

/* Result `i` of a shadow, the same whenever asked. */
struct shadowstore_entry conformance_entry(uint64_t shadow, int64_t i);

enum err subject_open(struct subject *subject, uint64_t shadow, uint32_t flags);

/* Puts results [first, first + count) of a shadow; returns how many were taken. */
int64_t subject_put(struct subject *subject, uint64_t shadow, int64_t first, int64_t count);

/* Results may be NULL. */
enum err subject_flush(struct subject *subject, uint64_t shadow,
                       struct shadowstore_counts *ret_counts, int32_t *ret_pages);
enum err subject_close(struct subject *subject, uint64_t shadow,
                       struct shadowstore_counts *ret_counts);
struct shadowstore_status subject_status(struct subject *subject);

/* Reads all pages and looks at each result; returns how many were found and right, -1 if one was wrong. Pages that are
 * lost or cannot be reached are counted in `ret_missing` (may be NULL). */
int64_t subject_read_all(struct subject *subject, uint64_t shadow, int32_t pages,
                         int32_t *ret_missing);

#endif
