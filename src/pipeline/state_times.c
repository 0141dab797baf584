// SPDX-License-Identifier: Apache-2.0
// The index of times of one table of keyed state.

#include <immintrin.h>

#include "base/check.h"
#include "base/mem.h"
#include "pipeline/state_table.h"

static int64_t bucket_first_time(const struct time_index *times, const struct time_bucket *bucket)
{
    return (int64_t)((uint64_t)bucket->id << times->shift);
}

static int64_t bucket_last_time(const struct time_index *times, const struct time_bucket *bucket)
{
    return bucket_first_time(times, bucket) + (int64_t)((UINT64_C(1) << times->shift) - 1);
}

static void bucket_push(struct table *table, struct time_bucket *bucket, uint32_t tag)
{
    if (bucket->count == bucket->cap) {
        uint32_t cap = bucket->cap == 0 ? 4 : bucket->cap * 2;
        bucket->tags = mem_resize(bucket->tags, cap, (ptrdiff_t)sizeof *bucket->tags);
        table->memory_bytes += (int64_t)(cap - bucket->cap) * (int64_t)sizeof *bucket->tags;
        bucket->cap = cap;
    }
    bucket->tags[bucket->count++] = tag;
}

/* Takes bucket `index` out. Its memory goes to the end of the array, for the next bucket to come. */
static void bucket_drop(struct time_index *times, int32_t index)
{
    struct time_bucket dropped = times->buckets[index];
    times->ref_count -= dropped.count;
    memmove(&times->buckets[index], &times->buckets[index + 1],
            (size_t)(times->count - index - 1) * sizeof dropped);
    dropped.count = 0;
    times->buckets[--times->count] = dropped;
    times->last = 0;
}

/* Index of the first bucket with an id >= `id`. */
static int32_t bucket_search(const struct time_index *times, int64_t id)
{
    int32_t lo = 0;
    int32_t hi = times->count;
    while (lo < hi) {
        int32_t mid = lo + (hi - lo) / 2;
        if (times->buckets[mid].id < id) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

/* Room in the array for one more; what stands behind `count` are empty buckets whose memory is kept. */
static void bucket_reserve(struct table *table)
{
    struct time_index *times = &table->times;
    if (times->count < times->cap) {
        return;
    }
    int32_t cap = times->cap == 0 ? 2 : times->cap * 2;
    times->buckets = mem_resize(times->buckets, cap, (ptrdiff_t)sizeof *times->buckets);
    memset(times->buckets + times->cap, 0, (size_t)(cap - times->cap) * sizeof *times->buckets);
    table->memory_bytes += (int64_t)(cap - times->cap) * (int64_t)sizeof *times->buckets;
    times->cap = cap;
}

/* Doubles the width of all buckets: neighbours that now are one are put together. */
static void buckets_halve(struct table *table)
{
    struct time_index *times = &table->times;
    int32_t kept = 0;
    times->shift++;
    for (int32_t i = 0; i < times->count; i++) {
        struct time_bucket *bucket = &times->buckets[i];
        struct time_bucket *into = kept > 0 ? &times->buckets[kept - 1] : NULL;
        bucket->id >>= 1;
        if (into != NULL && into->id == bucket->id) {
            for (uint32_t k = 0; k < bucket->count; k++) {
                bucket_push(table, into, bucket->tags[k]);
            }
            bucket->count = 0;
            continue;
        }
        struct time_bucket swap = times->buckets[kept];
        times->buckets[kept] = *bucket;
        if (kept != i) {
            *bucket = swap;
        }
        kept++;
    }
    times->count = kept;
}

/* Makes buckets wider until there are at most half as many as there may be. */
static void buckets_widen(struct table *table)
{
    while (table->times.count > TIME_BUCKETS_MAX / 2) {
        buckets_halve(table);
    }
    table->times.last = 0;
}

static bool slot_in_bucket(const struct time_index *times, const struct time_bucket *bucket,
                           const struct slot *slot)
{
    return slot->time >> times->shift == bucket->id;
}

/* Drops references to entries that are gone. */
static void bucket_clean(struct table *table, struct time_bucket *bucket)
{
    struct time_index *times = &table->times;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < bucket->count; i++) {
        uint32_t tag = bucket->tags[i];
        uint32_t place = table_home(tag, table->mask);
        struct slot *slot = table_probe_tag(table, tag, &place);
        while (slot != NULL && !slot_in_bucket(times, bucket, slot)) {
            slot = table_probe_tag(table, tag, &place);
        }
        if (slot != NULL) {
            bucket->tags[kept++] = tag;
        }
    }
    times->ref_count -= bucket->count - kept;
    bucket->count = kept;
}

static void buckets_clean(struct table *table)
{
    struct time_index *times = &table->times;
    for (int32_t i = times->count - 1; i >= 0; i--) {
        bucket_clean(table, &times->buckets[i]);
        if (times->buckets[i].count == 0) {
            bucket_drop(times, i);
        }
    }
    if (times->ref_count <= table->count) {
        return;
    }
    // Removed and made again, an entry has several references that all find it: begin anew.
    for (int32_t i = 0; i < times->count; i++) {
        times->buckets[i].count = 0;
    }
    times->ref_count = 0;
    for (uint32_t place = 0; place <= table->mask; place++) {
        struct slot *slot = table_slot(table, place);
        if ((slot->flags & SLOT_USED) != 0) {
            int32_t index = bucket_search(times, slot->time >> times->shift);
            bucket_push(table, &times->buckets[index], slot->tag);
            times->ref_count++;
        }
    }
}

/* Puts a reference to an entry into its bucket. */
static void refer(struct table *table, uint32_t tag, int64_t time)
{
    struct time_index *times = &table->times;
    int64_t id = time >> times->shift;
    int32_t index = times->last;
    if (index >= times->count || times->buckets[index].id != id) {
        index = bucket_search(times, id);
        if (index == times->count || times->buckets[index].id != id) {
            if (times->count == TIME_BUCKETS_MAX) {
                buckets_widen(table);
                refer(table, tag, time);
                return;
            }
            bucket_reserve(table);
            struct time_bucket fresh = times->buckets[times->count];
            memmove(&times->buckets[index + 1], &times->buckets[index],
                    (size_t)(times->count - index) * sizeof fresh);
            fresh.id = id;
            times->buckets[index] = fresh;
            times->count++;
        }
        times->last = index;
    }
    bucket_push(table, &times->buckets[index], tag);
    times->ref_count++;
    if (times->ref_count > 2 * table->count + 64) {
        buckets_clean(table);
    }
}

void table_index_time(struct table *table, uint32_t tag, int64_t time)
{
    struct time_index *times = &table->times;
    if (times->made) {
        refer(table, tag, time);
    } else if (time < times->least) {
        times->least = time;
        times->least_loose = false;
    }
}

static void make_index(struct table *table)
{
    struct time_index *times = &table->times;
    if (times->made) {
        return;
    }
    times->made = true;
    for (uint32_t place = 0; place <= table->mask; place++) {
        const struct slot *slot = table_slot(table, place);
        if ((slot->flags & SLOT_USED) != 0) {
            refer(table, slot->tag, slot->time);
        }
    }
}

void table_forget_times(struct table *table)
{
    struct time_index *times = &table->times;
    CHECK(table->count == 0);
    while (times->count > 0) {
        bucket_drop(times, times->count - 1);
    }
    times->shift = 0;
    times->made = false;
    times->least_loose = false;
    times->least = INT64_MAX;
}

static int64_t bucket_min_time(const struct table *table, const struct time_bucket *bucket)
{
    int64_t min = INT64_MAX;
    for (uint32_t i = 0; i < bucket->count; i++) {
        uint32_t place = table_home(bucket->tags[i], table->mask);
        struct slot *slot;
        while ((slot = table_probe_tag(table, bucket->tags[i], &place)) != NULL) {
            bool in = slot_in_bucket(&table->times, bucket, slot);
            min = in && slot->time < min ? slot->time : min;
        }
    }
    return min;
}

int64_t table_min_time(struct table *table)
{
    struct time_index *times = &table->times;
    if (table->count == 0) {
        table_forget_times(table);
    }
    if (!times->made && !times->least_loose) {
        return times->least;
    }
    make_index(table);
    for (;;) {
        CHECK(times->count > 0); // every entry is referred to

        struct time_bucket *bucket = &times->buckets[0];
        bucket_clean(table, bucket);
        if (bucket->count == 0) {
            bucket_drop(times, 0);
            continue;
        }
        if (times->shift == 0) {
            return bucket->id;
        }
        return bucket_min_time(table, bucket);
    }
}

/* --- due entries --- */

void due_list_release(struct due_list *list)
{
    mem_free(list->items);
    mem_free(list->spare);
    *list = (struct due_list){0};
}

static void due_list_reserve(struct due_list *list, int32_t cap)
{
    if (cap > list->cap) {
        list->cap = list->cap * 2 > cap ? list->cap * 2 : cap;
        list->items = mem_resize(list->items, list->cap, (ptrdiff_t)sizeof *list->items);
        list->spare = mem_resize(list->spare, list->cap, (ptrdiff_t)sizeof *list->spare);
    }
}

static void due_list_push(struct due_list *list, struct due_ref ref)
{
    enum { FIRST_CAP = 64 };
    due_list_reserve(list, list->count < FIRST_CAP ? FIRST_CAP : list->count + 1);
    list->items[list->count++] = ref;
}

/* The first 8 bytes of a slot's key, big endian, zeros behind a shorter one. Where the key stands, 8 bytes can be read. */
static uint64_t key_prefix(struct str key)
{
    uint64_t bytes;
    memcpy(&bytes, key.ptr, sizeof bytes);
    uint64_t prefix = __builtin_bswap64(bytes);
    if (key.len >= (ptrdiff_t)sizeof bytes) {
        return prefix;
    }
    return key.len == 0 ? 0 : prefix & ~UINT64_C(0) << (64 - 8 * (int)key.len);
}

struct due_order {
    const struct table_shape *shape;
    const struct table *table;
};

static bool due_before(const struct due_order *order, const struct due_ref *a,
                       const struct due_ref *b)
{
    if (a->time != b->time) {
        return a->time < b->time;
    }
    if (a->prefix != b->prefix) {
        return a->prefix < b->prefix;
    }
    return str_compare(slot_key(order->shape, order->table, a->slot),
                       slot_key(order->shape, order->table, b->slot)) < 0;
}

static void due_list_swap(struct due_list *list)
{
    struct due_ref *swap = list->items;
    list->items = list->spare;
    list->spare = swap;
}

/* How many of `count` numbers are below `than`; there is an odd number's neighbour, which is not. */
static uint32_t count_below(const uint64_t *numbers, int32_t count, uint64_t than)
{
    const __m128i sign = _mm_set1_epi64x(INT64_MIN); // without it they compare as unsigned
    __m128i limit = _mm_xor_si128(_mm_set1_epi64x((int64_t)than), sign);
    __m128i below = _mm_setzero_si128();
    for (int32_t i = 0; i < count; i += 2) {
        __m128i two = _mm_xor_si128(_mm_loadu_si128((const void *)&numbers[i]), sign);
        below = _mm_sub_epi64(below, _mm_cmpgt_epi64(limit, two)); // -1 for each
    }
    return (uint32_t)(_mm_cvtsi128_si64(below) + _mm_extract_epi64(below, 1));
}

/* Sorts a list of a few entries of one time by how many come before each: a square of comparisons, but no branch that nothing
 * could foretell. False, and nothing has changed, if these are not such, or if two of them differ only behind their prefix. */
static bool due_list_sort_few(struct due_list *list)
{
    enum { FEW = 48 };
    uint64_t prefix[FEW + 1];
    uint32_t before[FEW];
    int32_t count = list->count;
    uint64_t other_time = 0;
    if (count > FEW) {
        return false;
    }
    for (int32_t i = 0; i < count; i++) {
        prefix[i] = list->items[i].prefix;
        other_time |= (uint64_t)list->items[i].time ^ (uint64_t)list->items[0].time;
    }
    prefix[count] = UINT64_MAX; // before none: an even number of them is compared, two at a time
    uint32_t sum = 0;
    for (int32_t i = 0; i < count; i++) {
        before[i] = count_below(prefix, count, prefix[i]);
        sum += before[i];
    }
    if (other_time != 0 || sum != (uint32_t)(count * (count - 1) / 2)) {
        return false;
    }
    for (int32_t i = 0; i < count; i++) {
        list->spare[before[i]] = list->items[i];
    }
    due_list_swap(list);
    return true;
}

/* Bottom-up merge sort: no allocation, no bad case. */
static void due_list_sort(const struct due_order *order, struct due_list *list)
{
    if (due_list_sort_few(list)) {
        return;
    }
    for (int32_t width = 1; width < list->count; width *= 2) {
        for (int32_t lo = 0; lo < list->count; lo += 2 * width) {
            int32_t mid = lo + width < list->count ? lo + width : list->count;
            int32_t hi = mid + width < list->count ? mid + width : list->count;
            int32_t a = lo;
            int32_t b = mid;
            for (int32_t k = lo; k < hi; k++) {
                bool right =
                    a == mid || (b < hi && due_before(order, &list->items[b], &list->items[a]));
                list->spare[k] = right ? list->items[b++] : list->items[a++];
            }
        }
        due_list_swap(list);
    }
}

/* Marks and lists the entries of a tag that are due and in the bucket. */
static void pick_due(const struct table_shape *shape, const struct table *table,
                     const struct time_bucket *bucket, uint32_t tag, int64_t until,
                     struct due_list *list)
{
    uint32_t place = table_home(tag, table->mask);
    struct slot *slot;
    while ((slot = table_probe_tag(table, tag, &place)) != NULL) {
        if ((slot->flags & SLOT_PICKED) == 0 && slot->time <= until &&
            slot_in_bucket(&table->times, bucket, slot)) {
            slot->flags |= SLOT_PICKED;
            due_list_push(list, (struct due_ref){.time = slot->time,
                                                 .prefix = key_prefix(slot_key(shape, table, slot)),
                                                 .slot = slot});
        }
    }
}

void table_collect_due(const struct table_shape *shape, struct table *table, int64_t until,
                       int32_t want, struct due_list *list)
{
    struct time_index *times = &table->times;
    make_index(table);
    list->count = 0;
    list->bucket_count = 0;
    for (int32_t i = 0; i < times->count && list->count < want; i++) {
        struct time_bucket *bucket = &times->buckets[i];
        if (bucket_first_time(times, bucket) > until) {
            break;
        }
        list->bucket_count++;
        for (uint32_t k = 0; k < bucket->count; k++) {
            pick_due(shape, table, bucket, bucket->tags[k], until, list);
        }
    }
    due_list_sort(&(struct due_order){.shape = shape, .table = table}, list);
}

static void remove_all(const struct table_shape *shape, struct table *table)
{
    table_clear(shape, table);
    table_forget_times(table);
}

/* Removes the first `count` of the list, which are SLOT_PICKED. Their references stay. */
static void remove_picked(const struct table_shape *shape, struct table *table,
                          struct due_list *list, int32_t count)
{
    for (int32_t i = 0; i < count; i++) { // tags first: removing moves slots
        list->items[i].prefix = list->items[i].slot->tag;
    }
    for (int32_t i = 0; i < count; i++) {
        uint32_t tag = (uint32_t)list->items[i].prefix;
        uint32_t place = table_home(tag, table->mask);
        struct slot *slot = table_probe_tag(table, tag, &place);
        while (slot != NULL && (slot->flags & SLOT_PICKED) == 0) {
            slot = table_probe_tag(table, tag, &place);
        }
        CHECK(slot != NULL);
        table_remove(shape, table, slot);
    }
}

void table_remove_due(const struct table_shape *shape, struct table *table, int64_t until,
                      struct due_list *list, int32_t count)
{
    struct time_index *times = &table->times;
    bool all = count == list->count;
    for (int32_t i = count; i < list->count; i++) {
        list->items[i].slot->flags &= (uint8_t)~SLOT_PICKED;
    }
    if ((uint32_t)count == table->count) {
        remove_all(shape, table);
        return;
    }
    remove_picked(shape, table, list, count);
    int32_t index = 0;
    for (int32_t i = 0; i < list->bucket_count; i++) {
        struct time_bucket *bucket = &times->buckets[index];
        if (!all || bucket_last_time(times, bucket) > until) {
            bucket_clean(table, bucket);
        } else {
            times->ref_count -= bucket->count;
            bucket->count = 0;
        }
        if (bucket->count == 0) {
            bucket_drop(times, index);
        } else {
            index++;
        }
    }
}

/* --- due entries that stay --- */

/* Whether looking at every slot is cheaper than finding `due` of them by their references. */
static bool scan_is_worth(const struct table *table, uint32_t due)
{
    enum { FEW_SLOTS = 16, SLOTS_PER_REF = 8 };
    uint32_t slots = table->mask + 1;
    return slots <= FEW_SLOTS || due >= slots / SLOTS_PER_REF;
}

/* The same of the entries that are due at `until`, as far as is known without looking. */
static bool scan_is_cheap(const struct table *table, int64_t until)
{
    const struct time_index *times = &table->times;
    if (!times->made) {
        return true;
    }
    uint32_t refs = 0;
    for (int32_t i = 0; i < times->count && bucket_first_time(times, &times->buckets[i]) <= until;
         i++) {
        refs += times->buckets[i].count;
    }
    return scan_is_worth(table, refs);
}

static void list_by_scan(const struct table_shape *shape, const struct table *table, int64_t until,
                         struct due_list *list)
{
    int64_t rest_time = INT64_MAX;
    int32_t count = 0;
    due_list_reserve(list, (int32_t)table->count);
    const char *end = table->slots + ((size_t)table->mask + 1) * table->stride_bytes;
    for (char *at = table->slots; at < end; at += table->stride_bytes) {
        struct slot *slot = (struct slot *)(void *)at;
        if ((slot->flags & SLOT_USED) == 0) {
            continue;
        }
        if (slot->time > until) {
            rest_time = slot->time < rest_time ? slot->time : rest_time;
            continue;
        }
        list->items[count++] = (struct due_ref){.time = slot->time, .slot = slot};
    }
    list->rest_time = rest_time;
    list->rest_loose = false;
    list->count = count;
    if (count > 1) {
        for (int32_t i = 0; i < count; i++) {
            list->items[i].prefix = key_prefix(slot_key(shape, table, list->items[i].slot));
        }
        due_list_sort(&(struct due_order){.shape = shape, .table = table}, list);
    }
}

void table_list_due(const struct table_shape *shape, struct table *table, int64_t until,
                    struct due_list *list)
{
    list->count = 0;
    if (scan_is_cheap(table, until)) {
        list_by_scan(shape, table, until, list);
        if (!scan_is_worth(table, (uint32_t)list->count)) {
            make_index(table); // next time
        }
        return;
    }
    table_collect_due(shape, table, until, INT32_MAX, list);
    for (int32_t i = 0; i < list->count; i++) {
        list->items[i].slot->flags &= (uint8_t)~SLOT_PICKED;
    }
    list->rest_time = until == INT64_MAX ? until : until + 1;
    list->rest_loose = true;
}

void table_remove_listed(const struct table_shape *shape, struct table *table,
                         struct due_list *list)
{
    int32_t count = 0;
    int64_t kept_ms = list->rest_time;
    for (int32_t i = 0; i < list->count; i++) {
        struct due_ref ref = list->items[i];
        if ((ref.slot->flags & SLOT_PICKED) != 0) {
            list->items[count++] = ref;
        } else {
            kept_ms = ref.time < kept_ms ? ref.time : kept_ms;
        }
    }
    if ((uint32_t)count == table->count) {
        remove_all(shape, table);
        return;
    }
    remove_picked(shape, table, list, count);
    struct time_index *times = &table->times;
    if (!times->made) {
        times->least = kept_ms; // it was a scan: nothing that it left out is loose
        times->least_loose = false;
    }
    while (times->count > 0 && bucket_last_time(times, &times->buckets[0]) < kept_ms) {
        bucket_drop(times, 0);
    }
}
