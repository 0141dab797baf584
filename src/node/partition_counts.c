// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "node/partition_priv.h"

/* The always-on figures that are taken of each record, or of a sample of records: how many each key group has, and which keys are
 * heavy. The key groups' counts are exact. Each record touches one byte of 4 KiB, which stay in the first-level cache beside what
 * the chain works on as the 16 KiB of the counts do not; a byte that is full goes into its count. */

enum { REST_FULL = UINT8_MAX + 1 };

/* Views of the counters: a byte may alias anything, so the partition's own pointers would be loaded again for each record. */
struct counters {
    uint32_t *counts;
    uint8_t *rest;
    uint32_t lo;
};

static ATTR_ALWAYS_INLINE void count_group(struct counters to, uint64_t hash)
{
    uint32_t group = key_group_of(hash) - to.lo;
    if (UNLIKELY(++to.rest[group] == 0)) {
        to.counts[group] += REST_FULL;
    }
}

static void count_groups(const struct partition *part, const struct batch *batch)
{
    const struct counters to = {
        .counts = part->group_counts, .rest = part->group_rest, .lo = part->place.group_lo};
    const uint64_t *hash = batch->hash;
    const int32_t count = batch->sel_count;
    if (count == batch->count) { /* all, as mostly */
        for (int32_t row = 0; row < count; row++) {
            count_group(to, hash[row]);
        }
        return;
    }
    for (int32_t i = 0; i < count; i++) {
        count_group(to, hash[batch->sel[i]]);
    }
}

/* Of the span's 2^shift offsets, that one: Fibonacci hashing, Knuth 6.4. */
static int64_t sampled_offset(int64_t span, int shift)
{
    uint64_t mixed = (uint64_t)span * UINT64_C(0x9e3779b97f4a7c15);
    return (span << shift) + (int64_t)(mixed >> (64 - shift));
}

static void look_at(struct partition *part, uint64_t hash, struct str key)
{
    heavy_add(part->heavy, hash, key, 1);
    if (heavy_total(part->heavy) < HEAVY_LOOKS) {
        return;
    }
    const int halvings = part->heavy_seldom ? 1 : HEAVY_SELDOM_SHIFT - HEAVY_OFTEN_SHIFT;
    for (int i = 0; i < halvings; i++) {
        heavy_halve(part->heavy);
    }
    part->heavy_seldom = true;
}

/* Sampled by offset, not by key: one row of every span of so many offsets, each time another, or a stream whose keys take
 * turns would show only some of them. */
static void sample_heavy(struct partition *part, const struct rows *rows, int64_t first_offset,
                         int64_t next_offset)
{
    const int shift = part->heavy_seldom ? HEAVY_SELDOM_SHIFT : HEAVY_OFTEN_SHIFT;
    for (int64_t span = first_offset >> shift; span << shift < next_offset; span++) {
        int64_t offset = sampled_offset(span, shift);
        if (offset < first_offset || offset >= next_offset) {
            continue;
        }
        int32_t row = rows_from(rows, offset);
        if (row >= rows->count) {
            break;
        }
        uint32_t group = key_group_of(rows->hash[row]);
        if (rows->offset[row] == offset && group >= part->place.group_lo &&
            group < part->place.group_hi && (rows->kind == NULL || rows->kind[row] == ROW_DATA)) {
            look_at(part, rows->hash[row], rows->key[row]);
        }
    }
}

void partition_count_rows(struct partition *part, const struct batch *batch,
                          const struct rows *rows, int64_t first_offset)
{
    const ptrdiff_t groups = part->place.group_hi - part->place.group_lo;
    if (part->group_counts == NULL) {
        part->group_counts = MEM_NEW_ARRAY(uint32_t, groups);
    }
    if (part->group_rest == NULL) { /* went into the counts when they were handed over */
        part->group_rest = MEM_NEW_ARRAY(uint8_t, groups);
    }
    if (part->heavy == NULL) { /* a split or merge begins it anew */
        part->heavy = heavy_new(64);
        part->heavy_seldom = false;
    }
    count_groups(part, batch);
    sample_heavy(part, rows, first_offset, part->views[0].position.next_offset);
}

void partition_put_group_counts(const struct partition *part, uint32_t *ret_counts)
{
    const uint32_t lo = part->place.group_lo;
    for (uint32_t group = lo; part->group_counts != NULL && group < part->place.group_hi; group++) {
        ret_counts[group] = part->group_counts[group - lo] +
                            (part->group_rest != NULL ? part->group_rest[group - lo] : 0);
    }
}

uint32_t *partition_take_group_counts(struct partition *part)
{
    uint32_t *counts = part->group_counts;
    for (uint32_t i = 0;
         part->group_rest != NULL && i < part->place.group_hi - part->place.group_lo; i++) {
        counts[i] += part->group_rest[i];
    }
    mem_free(part->group_rest);
    part->group_counts = NULL;
    part->group_rest = NULL;
    return counts;
}
