// SPDX-License-Identifier: Apache-2.0
#include "node/shadow_sample.h"

#include <math.h>

#include "base/check.h"

/* Shares below this are noise of the sketch, and a hash sample takes them well. */
#define HEAVY_SHARE_MIN (1.0 / 512)

static uint32_t below_of(double share)
{
    double buckets = share * SAMPLE_BUCKETS;
    return buckets >= SAMPLE_BUCKETS ? SAMPLE_BUCKETS : buckets < 1 ? 1 : (uint32_t)lround(buckets);
}

void shadow_sample_choose(const struct heavy_entry *top, int32_t count, uint64_t sampled,
                          double percent, struct shadow_sample *ret_sample,
                          struct shadow_strata *ret_expected)
{
    CHECK(percent > 0 && percent <= 100);
    struct shadow_sample sample = {.by = SHADOW_BY_KEY, .below = SAMPLE_BUCKETS};
    struct shadow_strata strata = {.hashed = 1};
    double wanted = percent / 100, half = wanted / 2;
    bool room = true; /* for heavy keys that follow */
    for (int32_t i = 0; i < count && percent < 100; i++) {
        double share = (double)top[i].count / (double)sampled;
        double error = (double)top[i].error / (double)sampled;
        if (share - error < HEAVY_SHARE_MIN) {
            continue;
        }
        if (share > half && sample.left_count < SHADOW_HEAVY_MAX) {
            sample.left[sample.left_count++] = top[i].hash;
            strata.left += share;
            strata.left_error += error;
        } else if (room && strata.heavy + share <= half && sample.heavy_count < SHADOW_HEAVY_MAX) {
            sample.heavy[sample.heavy_count++] = top[i].hash;
            strata.heavy += share;
        } else {
            room = false;
        }
    }
    double others = 1 - strata.heavy - strata.left;
    if (percent < 100) {
        double share = others > 0 ? (wanted - strata.heavy) / others : 0;
        sample.below = below_of(share);
        strata.hashed = others > 0 ? others * sample.below / SAMPLE_BUCKETS : 0;
    }
    sample.requested = wanted;
    *ret_sample = sample;
    *ret_expected = strata;
}

void shadow_sample_by_groups(uint32_t group_lo, uint32_t group_hi, struct shadow_sample *sample)
{
    CHECK(group_lo < group_hi && group_hi <= KEY_GROUP_COUNT);
    double share = (double)sample->below / SAMPLE_BUCKETS;
    double least = (double)SHADOW_SAMPLE_GROUPS_MIN / (group_hi - group_lo);
    double groups = (share > least ? share : least) * KEY_GROUP_COUNT;
    sample->groups_below = 0;
    if (groups < KEY_GROUP_COUNT - 1 && sample->below > 0) {
        sample->groups_below = (uint32_t)ceil(groups);
        sample->below = below_of(share * KEY_GROUP_COUNT / sample->groups_below);
    }
}

void shadow_sample_records(double percent, struct shadow_sample *ret_sample)
{
    CHECK(percent > 0 && percent <= 100);
    *ret_sample = (struct shadow_sample){
        .by = SHADOW_BY_RECORD, .below = below_of(percent / 100), .requested = percent / 100};
}

static bool same_names(const uint64_t *a, const uint64_t *b, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        if (a[i] != b[i]) {
            return false;
        }
    }
    return true;
}

bool shadow_sample_equal(const struct shadow_sample *a, const struct shadow_sample *b)
{
    return a->by == b->by && a->below == b->below && a->groups_below == b->groups_below &&
           a->heavy_count == b->heavy_count && a->left_count == b->left_count &&
           same_names(a->heavy, b->heavy, a->heavy_count) &&
           same_names(a->left, b->left, a->left_count);
}

/* --- asking --- */

static void name(struct sampler *sampler, const uint64_t *hashes, int32_t count,
                 enum stratum stratum)
{
    for (int32_t i = 0; i < count; i++) {
        uint32_t at = (uint32_t)hashes[i] & (SAMPLER_SLOTS - 1);
        while (sampler->stratum[at] != STRATUM_NONE) {
            at = (at + 1) & (SAMPLER_SLOTS - 1);
        }
        sampler->hash[at] = hashes[i];
        sampler->stratum[at] = (uint8_t)stratum;
        sampler->named = true;
    }
}

void sampler_init(struct sampler *sampler, const struct shadow_sample *sample)
{
    CHECK(sample->heavy_count <= SHADOW_HEAVY_MAX && sample->left_count <= SHADOW_HEAVY_MAX);
    uint32_t groups = sample->groups_below > 0 ? sample->groups_below : KEY_GROUP_COUNT;
    *sampler = (struct sampler){.by = sample->by, .below = sample->below, .groups_below = groups};
    name(sampler, sample->heavy, sample->heavy_count, STRATUM_HEAVY);
    name(sampler, sample->left, sample->left_count, STRATUM_LEFT);
}

/* Multiples of the golden ratio, modulo 1: any run of consecutive ones is spread evenly (Steinhaus' three gaps). */
static uint32_t group_rank(uint64_t hash)
{
    return (key_group_of(hash) * 2531U) & (KEY_GROUP_COUNT - 1);
}

static enum stratum key_stratum(const struct sampler *sampler, uint64_t hash)
{
    for (uint32_t at = (uint32_t)hash & (SAMPLER_SLOTS - 1);
         sampler->named && sampler->stratum[at] != STRATUM_NONE;
         at = (at + 1) & (SAMPLER_SLOTS - 1)) {
        if (sampler->hash[at] == hash) {
            return (enum stratum)sampler->stratum[at];
        }
    }
    return group_rank(hash) < sampler->groups_below && sample_bucket_of(hash) < sampler->below
               ? STRATUM_HASHED
               : STRATUM_NONE;
}

/* Neighbouring offsets spread over all buckets: the finaliser of splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t spread(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

enum stratum sampler_stratum(const struct sampler *sampler, uint64_t hash, int64_t offset)
{
    if (sampler->by == SHADOW_BY_KEY) {
        return key_stratum(sampler, hash);
    }
    uint64_t of = spread((uint64_t)offset + UINT64_C(0x9e3779b97f4a7c15));
    return sample_bucket_of(of) < sampler->below ? STRATUM_HASHED : STRATUM_NONE;
}

bool sampler_keeps_key(const struct sampler *sampler, uint64_t hash)
{
    if (sampler->by != SHADOW_BY_KEY) {
        return false;
    }
    enum stratum stratum = key_stratum(sampler, hash);
    return stratum == STRATUM_HASHED || stratum == STRATUM_HEAVY;
}
