// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/sketch.h"

/* An open-addressing table of twice the entries finds a hash. Counts only grow, so that an entry of the least count is found by
 * going on from where the last one was: only where none is left are all looked at, and the least count is found anew. With many
 * keys alike that is once for as many replacements as there are entries, and nothing is ever moved. Invariants:
 *   H1  least <= counts[i], and entries in front of `cursor` are above it
 *   H2  entries[i] is found by table[slot_of[i]] == i, and no other slot says i
 *   H3  from a hash's home slot to its own there is no empty slot (linear probing, deletion shifts back)
 * What is looked through stands together, apart from the keys: a sketch is asked now and then, by who has used the caches for
 * something else meanwhile. */

struct heavy {
    int32_t capacity;
    int32_t count;
    uint64_t total;
    uint64_t least;
    int32_t cursor;
    uint64_t *hashes, *counts;   /* [capacity] each */
    struct heavy_entry *entries; /* [capacity]; all but hash and count */
    int16_t *slot_of;            /* [capacity] */
    int16_t *table;              /* [table_mask + 1]; -1: empty */
    uint32_t table_mask;
};

/* Twice the capacity, up to the next power of two. */
static_assert(4 * HEAVY_CAPACITY_MAX <= INT16_MAX + 1, "slots and indexes are int16_t");

struct heavy *heavy_new(int32_t capacity)
{
    CHECK(capacity >= 1 && capacity <= HEAVY_CAPACITY_MAX);
    uint32_t slots = 4;
    while (slots < 2 * (uint32_t)capacity) {
        slots *= 2;
    }
    struct heavy *heavy = MEM_NEW(struct heavy);
    heavy->capacity = capacity;
    heavy->entries = MEM_NEW_ARRAY(struct heavy_entry, capacity);
    heavy->hashes = MEM_NEW_ARRAY(uint64_t, capacity);
    heavy->counts = MEM_NEW_ARRAY(uint64_t, capacity);
    heavy->slot_of = MEM_NEW_ARRAY(int16_t, capacity);
    heavy->table = MEM_NEW_ARRAY(int16_t, slots);
    heavy->table_mask = slots - 1;
    heavy_clear(heavy);
    return heavy;
}

void heavy_free(struct heavy *heavy)
{
    if (heavy != NULL) {
        mem_free(heavy->entries);
        mem_free(heavy->hashes);
        mem_free(heavy->counts);
        mem_free(heavy->slot_of);
        mem_free(heavy->table);
        mem_free(heavy);
    }
}

void heavy_clear(struct heavy *heavy)
{
    heavy->count = 0;
    heavy->total = 0;
    heavy->least = 0;
    heavy->cursor = 0;
    memset(heavy->table, 0xff, ((size_t)heavy->table_mask + 1) * sizeof heavy->table[0]);
}

uint64_t heavy_total(const struct heavy *heavy)
{
    return heavy->total;
}

/* The low bits are a table's. */
static uint32_t home_of(const struct heavy *heavy, uint64_t hash)
{
    return (uint32_t)hash & heavy->table_mask;
}

/* Slot of `hash`, or the empty one where it belongs. */
static uint32_t find_slot(const struct heavy *heavy, uint64_t hash)
{
    uint32_t slot = home_of(heavy, hash);
    while (heavy->table[slot] >= 0 && heavy->hashes[heavy->table[slot]] != hash) {
        slot = (slot + 1) & heavy->table_mask;
    }
    return slot;
}

static void link_slot(struct heavy *heavy, uint32_t slot, int32_t index)
{
    heavy->table[slot] = (int16_t)index;
    heavy->slot_of[index] = (int16_t)slot;
}

/* Empties a slot and shifts back what probing had pushed past it (H3). */
static void erase_slot(struct heavy *heavy, uint32_t hole)
{
    uint32_t mask = heavy->table_mask;
    for (uint32_t slot = (hole + 1) & mask; heavy->table[slot] >= 0; slot = (slot + 1) & mask) {
        int32_t index = heavy->table[slot];
        uint32_t home = home_of(heavy, heavy->hashes[index]);
        if (((slot - home) & mask) >= ((slot - hole) & mask)) {
            link_slot(heavy, hole, index);
            hole = slot;
        }
    }
    heavy->table[hole] = -1;
}

/* An entry of the least count; all places are taken. */
static int32_t find_least(struct heavy *heavy)
{
    for (int32_t i = heavy->cursor; i < heavy->count; i++) {
        if (heavy->counts[i] == heavy->least) {
            heavy->cursor = i;
            return i;
        }
    }
    int32_t at = 0;
    for (int32_t i = 1; i < heavy->count; i++) {
        at = heavy->counts[i] < heavy->counts[at] ? i : at;
    }
    heavy->least = heavy->counts[at];
    heavy->cursor = at; /* the first of them */
    return at;
}

static struct heavy_entry entry_of(const struct heavy *heavy, int32_t index)
{
    struct heavy_entry entry = heavy->entries[index];
    entry.hash = heavy->hashes[index];
    entry.count = heavy->counts[index];
    return entry;
}

/* Adds `fresh`, whose hash is no entry; there is room. */
static void insert(struct heavy *heavy, const struct heavy_entry *fresh)
{
    CHECK(heavy->count < heavy->capacity);
    int32_t index = heavy->count++;
    heavy->entries[index] = *fresh;
    heavy->hashes[index] = fresh->hash;
    heavy->counts[index] = fresh->count;
    link_slot(heavy, find_slot(heavy, fresh->hash), index);
}

/* The place of a new entry for `hash`: a free one, or the least entry's, whose count it inherits. */
static int32_t place_for(struct heavy *heavy, uint64_t hash)
{
    uint64_t inherited = 0;
    int32_t index = heavy->count;
    if (heavy->count < heavy->capacity) {
        heavy->count++;
    } else {
        index = find_least(heavy);
        inherited = heavy->counts[index];
        erase_slot(heavy, (uint32_t)heavy->slot_of[index]);
    }
    /* The slot is looked for while the old hash is out of the table, so the entry cannot be mistaken for it. */
    uint32_t slot = find_slot(heavy, hash);
    heavy->hashes[index] = hash;
    heavy->counts[index] = heavy->entries[index].error = inherited;
    link_slot(heavy, slot, index);
    return index;
}

void heavy_add(struct heavy *heavy, uint64_t hash, struct str key, uint64_t weight)
{
    heavy->total += weight;
    int32_t index = heavy->table[find_slot(heavy, hash)];
    if (index >= 0) {
        heavy->counts[index] += weight;
        return;
    }
    if (weight == 0) {
        return;
    }
    index = place_for(heavy, hash);
    heavy->counts[index] += weight;
    struct heavy_entry *entry = &heavy->entries[index];
    entry->key_len = (uint16_t)(key.len < UINT16_MAX ? key.len : UINT16_MAX);
    if (key.len > 0) {
        memcpy(entry->key, key.ptr,
               (size_t)(key.len < HEAVY_KEY_BYTES ? key.len : HEAVY_KEY_BYTES));
    }
}

static int heaviest_first(const void *a, const void *b)
{
    const struct heavy_entry *x = a;
    const struct heavy_entry *y = b;
    if (x->count != y->count) {
        return x->count < y->count ? 1 : -1;
    }
    return (x->hash > y->hash) - (x->hash < y->hash);
}

int32_t heavy_top(const struct heavy *heavy, struct heavy_entry *ret_entries, int32_t cap)
{
    if (heavy->count == 0 || cap <= 0) {
        return 0;
    }
    struct heavy_entry *sorted = MEM_NEW_ARRAY(struct heavy_entry, heavy->count);
    for (int32_t i = 0; i < heavy->count; i++) {
        sorted[i] = entry_of(heavy, i);
    }
    qsort(sorted, (size_t)heavy->count, sizeof(*sorted), heaviest_first);
    int32_t n = heavy->count < cap ? heavy->count : cap;
    memcpy(ret_entries, sorted, (size_t)n * sizeof(*sorted));
    mem_free(sorted);
    return n;
}

/* Keeps the heaviest `capacity` of `n` entries. */
static void rebuild(struct heavy *heavy, struct heavy_entry *entries, int32_t n, uint64_t total)
{
    qsort(entries, (size_t)n, sizeof(*entries), heaviest_first);
    heavy_clear(heavy);
    heavy->total = total;
    int32_t kept = n < heavy->capacity ? n : heavy->capacity;
    for (int32_t i = 0; i < kept; i++) {
        insert(heavy, &entries[i]);
    }
}

/* The most that a key which is no entry may weigh. */
static uint64_t floor_of(const struct heavy *heavy)
{
    uint64_t least = heavy->count == heavy->capacity ? heavy->counts[0] : 0;
    for (int32_t i = 1; i < heavy->count; i++) {
        least = heavy->counts[i] < least ? heavy->counts[i] : least;
    }
    return least;
}

void heavy_merge(struct heavy *into, const struct heavy *from)
{
    CHECK(into != from);
    struct heavy_entry *all =
        MEM_NEW_ARRAY(struct heavy_entry, (ptrdiff_t)into->count + from->count);
    uint64_t into_floor = floor_of(into);
    uint64_t from_floor = floor_of(from);
    int32_t n = 0;
    for (int32_t i = 0; i < into->count; i++) {
        struct heavy_entry entry = entry_of(into, i);
        int32_t other = from->table[find_slot(from, entry.hash)];
        entry.count += other >= 0 ? from->counts[other] : from_floor;
        entry.error += other >= 0 ? from->entries[other].error : from_floor;
        all[n++] = entry;
    }
    for (int32_t i = 0; i < from->count; i++) {
        struct heavy_entry entry = entry_of(from, i);
        if (into->table[find_slot(into, entry.hash)] < 0) {
            entry.count += into_floor;
            entry.error += into_floor;
            all[n++] = entry;
        }
    }
    rebuild(into, all, n, into->total + from->total);
    mem_free(all);
}

void heavy_halve(struct heavy *heavy)
{
    struct heavy_entry *kept = MEM_NEW_ARRAY(struct heavy_entry, heavy->count);
    int32_t n = 0;
    for (int32_t i = 0; i < heavy->count; i++) {
        struct heavy_entry entry = entry_of(heavy, i);
        entry.count /= 2;
        entry.error = entry.error / 2 < entry.count ? entry.error / 2 : entry.count;
        if (entry.count > 0) {
            kept[n++] = entry;
        }
    }
    rebuild(heavy, kept, n, heavy->total / 2);
    mem_free(kept);
}
