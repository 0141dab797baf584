// SPDX-License-Identifier: Apache-2.0
// The aggregates that keep sets in a section of the cell: distinct values, and counts by bucket for quantiles.

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "pipeline/aggregate.h"

/* --- distinct: an open table of hashes (0: empty slot), its count in the payload --- */

enum { DISTINCT_SLOTS_MIN = 8 };

static int64_t *distinct_count(const struct aggregate *item, const struct cell *cell)
{
    return (int64_t *)(void *)(cell->payload + item->offset);
}

/* True if it was not there. There is an empty slot. */
static bool slots_insert(uint64_t *slots, ptrdiff_t count, uint64_t hash)
{
    ptrdiff_t mask = count - 1;
    ptrdiff_t place = (ptrdiff_t)(hash & (uint64_t)mask);
    while (slots[place] != 0) {
        if (slots[place] == hash) {
            return false;
        }
        place = (place + 1) & mask;
    }
    slots[place] = hash;
    return true;
}

/* Doubles the table. */
static uint64_t *slots_grow(const struct aggregate_list *list, const struct aggregate *item,
                            struct cell *cell, ptrdiff_t count)
{
    ptrdiff_t wanted = count == 0 ? DISTINCT_SLOTS_MIN : count * 2;
    // Twice the room for a moment: the old table stands in the upper part while the lower one is filled.
    ptrdiff_t bytes = (ptrdiff_t)sizeof(uint64_t);
    char *section = cell_section_resize(list, cell, item->section, (wanted + count) * bytes);
    uint64_t *slots = (uint64_t *)(void *)section;
    memmove(slots + wanted, slots, (size_t)(count * bytes));
    memset(slots, 0, (size_t)(wanted * bytes));
    for (ptrdiff_t i = 0; i < count; i++) {
        if (slots[wanted + i] != 0) {
            slots_insert(slots, wanted, slots[wanted + i]);
        }
    }
    section = cell_section_resize(list, cell, item->section, wanted * bytes);
    return (uint64_t *)(void *)section;
}

static void distinct_put(const struct aggregate_list *list, const struct aggregate *item,
                         struct cell *cell, uint64_t hash)
{
    ptrdiff_t len;
    uint64_t *slots = (uint64_t *)(void *)cell_section(list, cell, item->section, &len);
    ptrdiff_t slot_count = len / (ptrdiff_t)sizeof *slots;
    int64_t *count = distinct_count(item, cell);
    if ((*count + 1) * 4 > slot_count * 3) {
        slots = slots_grow(list, item, cell, slot_count);
        slot_count = slot_count == 0 ? DISTINCT_SLOTS_MIN : slot_count * 2;
    }
    *count += slots_insert(slots, slot_count, hash);
}

const char *distinct_refusal(const struct aggregate *item, const struct cell *cell)
{
    return *distinct_count(item, cell) >= DISTINCT_VALUES_MAX
               ? "distinct: too many values in one window"
               : NULL;
}

void distinct_add(const struct aggregate_list *list, const struct aggregate *item,
                  struct cell *cell, uint64_t hash)
{
    distinct_put(list, item, cell, hash == 0 ? 1 : hash);
}

void distinct_merge(const struct aggregate_list *list, const struct aggregate *item,
                    struct cell *into, const struct cell *from)
{
    ptrdiff_t len;
    const char *section = cell_section(list, from, item->section, &len);
    for (ptrdiff_t at = 0; at < len; at += (ptrdiff_t)sizeof(uint64_t)) {
        uint64_t hash;
        memcpy(&hash, section + at, sizeof hash);
        if (hash != 0) {
            distinct_put(list, item, into, hash);
        }
    }
}

/* --- quantile: (bucket, count) pairs ascending by bucket, the sum of counts in the payload --- */

enum {
    QUANTILE_SHIFT = 46
}; /* sign, exponent and 6 bits of mantissa are left: 64 buckets an octave */

struct quantile_bucket {
    int64_t bucket;
    int64_t count;
};

static int64_t *quantile_count(const struct aggregate *item, const struct cell *cell)
{
    return (int64_t *)(void *)(cell->payload + item->offset);
}

static void quantile_put(const struct aggregate_list *list, const struct aggregate *item,
                         struct cell *cell, int64_t bucket, int64_t count)
{
    ptrdiff_t len;
    struct quantile_bucket *pairs = (void *)cell_section(list, cell, item->section, &len);
    ptrdiff_t size = (ptrdiff_t)sizeof *pairs;
    ptrdiff_t lo = 0;
    ptrdiff_t hi = len / size;
    while (lo < hi) {
        ptrdiff_t mid = lo + (hi - lo) / 2;
        if (pairs[mid].bucket < bucket) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (lo == len / size || pairs[lo].bucket != bucket) {
        pairs = (void *)cell_section_resize(list, cell, item->section, len + size);
        memmove(&pairs[lo + 1], &pairs[lo], (size_t)(len - lo * size));
        pairs[lo] = (struct quantile_bucket){.bucket = bucket};
    }
    pairs[lo].count += count;
    *quantile_count(item, cell) += count;
}

void quantile_add(const struct aggregate_list *list, const struct aggregate *item,
                  struct cell *cell, double value)
{
    quantile_put(list, item, cell, f64_sortable(value) >> QUANTILE_SHIFT, 1);
}

void quantile_merge(const struct aggregate_list *list, const struct aggregate *item,
                    struct cell *into, const struct cell *from)
{
    ptrdiff_t len;
    const char *section = cell_section(list, from, item->section, &len);
    for (ptrdiff_t at = 0; at < len; at += (ptrdiff_t)sizeof(struct quantile_bucket)) {
        struct quantile_bucket pair;
        memcpy(&pair, section + at, sizeof pair);
        quantile_put(list, item, into, pair.bucket, pair.count);
    }
}

/* What stands for the values of a bucket: its middle; of integers, the middle of those in it. */
static double bucket_value(const struct aggregate *item, int64_t bucket)
{
    if (bucket == 0 || bucket == -1) {
        return 0.0; // zero and what is smaller than any normal number
    }
    int64_t first = (int64_t)((uint64_t)bucket << QUANTILE_SHIFT);
    int64_t last = first + (INT64_C(1) << QUANTILE_SHIFT) - 1;
    double low = f64_unsortable(first);
    double high = f64_unsortable(last);
    if (item->of_type == VALUE_I64) {
        return (ceil(low) + floor(high)) / 2;
    }
    return low + (high - low) / 2;
}

bool quantile_read(const struct aggregate_list *list, const struct aggregate *item,
                   const struct cell *cell, double *ret_value)
{
    int64_t total = *quantile_count(item, cell);
    if (total == 0) {
        return false;
    }
    double wanted = ceil(item->q * (double)total);
    int64_t rank = wanted < 1.0 ? 1 : (int64_t)wanted;
    rank = rank > total ? total : rank;
    ptrdiff_t len;
    const char *section = cell_section(list, cell, item->section, &len);
    int64_t seen = 0;
    for (ptrdiff_t at = 0; at < len; at += (ptrdiff_t)sizeof(struct quantile_bucket)) {
        struct quantile_bucket pair;
        memcpy(&pair, section + at, sizeof pair);
        seen += pair.count;
        if (seen >= rank) {
            *ret_value = bucket_value(item, pair.bucket);
            return true;
        }
    }
    CHECK(false);
    return false;
}
