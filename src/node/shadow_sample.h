// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_SHADOW_SAMPLE_H
#define NODE_SHADOW_SAMPLE_H

#include "base/hash.h"
#include "base/sketch.h"

/* What a shadow sees of its primary's records. Pure. */

enum {
    SHADOW_HEAVY_MAX = 32, /* keys named in a sample, of each kind */
    SHADOW_SAMPLE_GROUPS_MIN = 64
};

enum shadow_sampling {
    SHADOW_BY_KEY,   /* all records of some keys: windows and joins stay whole */
    SHADOW_BY_RECORD /* some records of all keys, chosen by offset: stages without state only */
};

/* Keys come in three strata. *Heavy*: named, all of their records, weight 1. *Hashed*: of the others, in some of the key groups
 * (`groups_below`) those with sample_bucket_of(hash) < below. *Left out*: named, none of their records: a single one
 * would be more than the sample; described by the always-on figures, measured in bursts (records_max).
 * By record: `below` alone, of a hash of the offset. */
struct shadow_sample {
    enum shadow_sampling by;
    uint32_t below; /* 0..SAMPLE_BUCKETS; SAMPLE_BUCKETS, all groups and no names: everything */
    /* That many of the KEY_GROUP_COUNT key groups, spread evenly over any range of them. State is kept by key group: of whole
     * groups a sample's tables are as full as the primary's, of thinned ones each is a table for next to nothing. 0: all. */
    uint32_t groups_below;
    double requested; /* share of the records that it is meant to reach; told on, nothing more */
    int32_t heavy_count, left_count;
    uint64_t heavy[SHADOW_HEAVY_MAX], left[SHADOW_HEAVY_MAX]; /* hash64 of keys */
};

/* What a choice is expected to reach, as shares of the primary's records. */
struct shadow_strata {
    double heavy, hashed, left; /* heavy + hashed: the sample */
    double left_error;          /* `left` may be too high by this */
};

/* Chooses a sample by key of `percent` of the RECORDS from the always-on sketch of the partition: heavy keys, heaviest
 * first, while together they fill at most half of the percentage; keys that alone are more than that half are left out;
 * the others by hash, so many that the sum comes to the percentage. A key counts as heavy when its share less its error
 * bound is above 1/512. 100: everything.
 *   top[count]  heaviest first (heavy_top); `sampled`: the sketch's total, 0: nothing is known
 *   percent     0 < p <= 100
 * Pure. Any thread. */
void shadow_sample_choose(const struct heavy_entry *top, int32_t count, uint64_t sampled,
                          double percent, struct shadow_sample *ret_sample,
                          struct shadow_strata *ret_expected);

/* The same share of hashed keys out of as few key groups of the range [lo, hi) as will do, but not fewer than
 * SHADOW_SAMPLE_GROUPS_MIN. Pure. */
void shadow_sample_by_groups(uint32_t group_lo, uint32_t group_hi, struct shadow_sample *sample);

/* `percent` of the records, by record. */
void shadow_sample_records(double percent, struct shadow_sample *ret_sample);

bool shadow_sample_equal(const struct shadow_sample *a, const struct shadow_sample *b);

/* --- the sample, ready to be asked for each record --- */

enum stratum { STRATUM_NONE, STRATUM_HASHED, STRATUM_HEAVY, STRATUM_LEFT };

enum { SAMPLER_SLOTS = 256 /* a power of two, four times the keys that may be named */ };

struct sampler {
    enum shadow_sampling by;
    uint32_t below, groups_below;
    bool named; /* there are named keys */
    uint64_t hash[SAMPLER_SLOTS];
    uint8_t stratum[SAMPLER_SLOTS]; /* STRATUM_NONE: free */
};

void sampler_init(struct sampler *sampler, const struct shadow_sample *sample);

/* Where a record belongs; HASHED and HEAVY are the sample. */
enum stratum sampler_stratum(const struct sampler *sampler, uint64_t hash, int64_t offset);

/* Whether state of a key belongs to the sample; by record: no key's does. */
bool sampler_keeps_key(const struct sampler *sampler, uint64_t hash);

#endif
