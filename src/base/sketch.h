// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_SKETCH_H
#define BASE_SKETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* Small summaries of long streams: who is heavy, how values spread, how fast things come, how much CPU may be used.
 * All are pure: time comes in as an argument. One thread at a time. */

/* ---- Heavy hitters: space-saving (Metwally, Agrawal, El Abbadi 2005), weighted; an add that replaces takes O(k) at worst, and
 * O(1) where many keys are alike.
 *
 * Promises, with W the total weight added and k the capacity:
 *   S1  For each entry, count - error <= true weight <= count.
 *   S2  A key of true weight > W / k is among the entries.
 *   S3  The counts sum to W (merging and halving keep S1, and S2 for what they stand for). */

enum { HEAVY_CAPACITY_MAX = 4096, HEAVY_KEY_BYTES = 48 };

struct heavy_entry {
    uint64_t hash;
    uint64_t count;
    uint64_t error;            /* the count may be too high by this */
    uint16_t key_len;          /* of the key itself; key[] holds its first HEAVY_KEY_BYTES */
    char key[HEAVY_KEY_BYTES]; /* for people; keys are told apart by `hash` */
};

struct heavy;

/* capacity: k, 1..HEAVY_CAPACITY_MAX. */
struct heavy *heavy_new(int32_t capacity);
void heavy_free(struct heavy *heavy);

/* Counts `weight` for the key. `key` is looked at only when it becomes an entry; it may be empty. */
void heavy_add(struct heavy *heavy, uint64_t hash, struct str key, uint64_t weight);

/* Adds what `from` saw to `into` (Agarwal et al. 2012, mergeable summaries). */
void heavy_merge(struct heavy *into, const struct heavy *from);

/* Halves all counts: called at even intervals, old weight is forgotten by halves. Entries that reach 0 leave. */
void heavy_halve(struct heavy *heavy);

void heavy_clear(struct heavy *heavy);

/* Total weight added (halved by heavy_halve). */
uint64_t heavy_total(const struct heavy *heavy);

/* The heaviest entries, heaviest first, equal ones by hash. Returns how many were written, <= cap. */
int32_t heavy_top(const struct heavy *heavy, struct heavy_entry *ret_entries, int32_t cap);

/* ---- Histogram: log-linear, 32 buckets an octave, so a quantile is off by at most 1/64 of itself. Any value >= 0. */

enum {
    HISTOGRAM_SUB_BITS = 5,
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_SUB_BITS) << HISTOGRAM_SUB_BITS
};

struct histogram { /* all zeros = empty */
    uint64_t count;
    uint64_t sum;     /* of values; wraps */
    int64_t min, max; /* of values; valid if count > 0 */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* Adds `value` (negative counts as 0) `times` times. */
void histogram_add(struct histogram *histogram, int64_t value, uint64_t times);

void histogram_merge(struct histogram *into, const struct histogram *from);

/* What came between two readings of one histogram: later minus earlier. min and max are those of the buckets. */
void histogram_diff(const struct histogram *later, const struct histogram *earlier,
                    struct histogram *ret_diff);

/* Value below which a share `q` (0..1) of the values lies; 0 if empty. */
int64_t histogram_quantile(const struct histogram *histogram, double q);

double histogram_mean(const struct histogram *histogram);

/* ---- Rate of irregular events: exponentially weighted, without the low start such averages usually have. */

struct ewma { /* by ewma_init */
    double tau_s;
    double weighted; /* sum of amount x exp(-age / tau), as of last_ns */
    int64_t start_ns, last_ns;
};

/* half_life_ns > 0: after it, old amounts weigh half. `now_ns`: from when on events are counted. */
void ewma_init(struct ewma *ewma, int64_t half_life_ns, int64_t now_ns);

/* `now_ns` not before the last one given. */
void ewma_add(struct ewma *ewma, double amount, int64_t now_ns);

/* Amount per second as of `now_ns`; 0 at the start. */
double ewma_per_s(const struct ewma *ewma, int64_t now_ns);

/* ---- Capacity of a lane: token bucket on CPU time.
 *
 *   T1  Over any span of wall time t, allowed CPU time <= capacity x t + burst + the last piece (a piece runs whole and
 *       is paid for afterwards).
 *   T2  Unused capacity is kept up to the burst only. */

enum { CPU_BUCKET_BURST_NS_MAX = 2000000, CPU_BUCKET_WHOLE_PPM = 1000000 };

struct cpu_bucket { /* by cpu_bucket_init */
    int64_t tokens; /* CPU ns x 10^6; below 0: owed */
    int64_t burst;  /* the same unit */
    int64_t capacity_ppm;
    int64_t last_ns;
};

/* capacity_ppm: share of a core in millionths, 1..CPU_BUCKET_WHOLE_PPM; burst_ns: 1..CPU_BUCKET_BURST_NS_MAX. Full. */
void cpu_bucket_init(struct cpu_bucket *bucket, int64_t capacity_ppm, int64_t burst_ns,
                     int64_t now_ns);

/* Changes the capacity; what is owed stays owed. */
void cpu_bucket_set(struct cpu_bucket *bucket, int64_t capacity_ppm, int64_t now_ns);

/* Pays `cpu_ns` >= 0 that were used up to `now_ns` and returns when the next piece may begin: `now_ns` if at once. */
int64_t cpu_bucket_take(struct cpu_bucket *bucket, int64_t now_ns, int64_t cpu_ns);

#endif
