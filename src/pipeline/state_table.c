// SPDX-License-Identifier: Apache-2.0
// One table of keyed state: slots, growth, removal. Its memory for long keys and tails is at the top; its index of times
// is in state_times.c.

#include "pipeline/state_table.h"

#include "base/check.h"
#include "base/mem.h"

enum { SLAB_PIECE_MIN_BYTES = 16, SLAB_CHUNK_FIRST_BYTES = 256, SLAB_CHUNK_MAX_BYTES = 64 << 10 };

static const uint32_t KEY_ROOMS[] = {TABLE_KEY_ROOM_MIN, 16, 24, TABLE_KEY_ROOM_MAX};

/* --- slab --- */

struct slab_chunk {
    void *next;
    ptrdiff_t size_bytes;
};

static int slab_class(uint32_t size_bytes)
{
    if (size_bytes <= SLAB_PIECE_MIN_BYTES) {
        return 0;
    }
    return 28 - __builtin_clz(size_bytes - 1);
}

static uint32_t slab_piece_bytes(uint32_t size_bytes)
{
    int class = slab_class(size_bytes);
    return (uint32_t)SLAB_PIECE_MIN_BYTES << class;
}

static void *slab_take(struct table *table, uint32_t size_bytes)
{
    struct slab *slab = &table->slab;
    int class = slab_class(size_bytes);
    ptrdiff_t piece = slab_piece_bytes(size_bytes);
    if (class >= TABLE_SLAB_CLASSES) {
        table->memory_bytes += piece;
        return mem_resize(NULL, piece, 1);
    }
    void *found = slab->free_list[class];
    if (found != NULL) {
        memcpy(&slab->free_list[class], found, sizeof(void *));
        return found;
    }
    if (slab->cut_left_bytes < piece) {
        ptrdiff_t size = slab->chunk_next_bytes;
        while (size < piece + (ptrdiff_t)sizeof(struct slab_chunk)) {
            size *= 2;
        }
        struct slab_chunk *chunk = mem_resize(NULL, size, 1);
        *chunk = (struct slab_chunk){.next = slab->chunks, .size_bytes = size};
        slab->chunks = chunk;
        slab->cut = (char *)(chunk + 1);
        slab->cut_left_bytes = size - (ptrdiff_t)sizeof *chunk;
        slab->chunk_next_bytes = size < SLAB_CHUNK_MAX_BYTES ? size * 2 : SLAB_CHUNK_MAX_BYTES;
        table->memory_bytes += size;
    }
    found = slab->cut;
    slab->cut += piece;
    slab->cut_left_bytes -= piece;
    return found;
}

static void slab_give(struct table *table, void *piece, uint32_t size_bytes)
{
    struct slab *slab = &table->slab;
    int class = slab_class(size_bytes);
    if (class >= TABLE_SLAB_CLASSES) {
        table->memory_bytes -= slab_piece_bytes(size_bytes);
        mem_free(piece);
        return;
    }
    memcpy(piece, &slab->free_list[class], sizeof(void *));
    slab->free_list[class] = piece;
}

/* All pieces at once; heap pieces have been given back before. */
static void slab_release(struct table *table)
{
    struct slab_chunk *chunk = table->slab.chunks;
    while (chunk != NULL) {
        struct slab_chunk *next = chunk->next;
        table->memory_bytes -= chunk->size_bytes;
        mem_free(chunk);
        chunk = next;
    }
    table->slab = (struct slab){.chunk_next_bytes = SLAB_CHUNK_FIRST_BYTES};
}

/* --- slots --- */

static char *slot_key_room(const struct table_shape *shape, const struct slot *slot)
{
    return (char *)(uintptr_t)slot + shape->key_offset;
}

struct str slot_key(const struct table_shape *shape, const struct table *table,
                    const struct slot *slot)
{
    const char *ptr = slot_key_room(shape, slot);
    if (slot->key_len > table->key_room_bytes) {
        memcpy(&ptr, ptr, sizeof ptr);
    }
    return (struct str){.ptr = ptr, .len = slot->key_len};
}

struct str slot_tail_view(const struct table_shape *shape, const struct slot *slot)
{
    if (shape->tail_offset == 0) {
        return (struct str){0};
    }
    const struct slot_tail *tail = slot_tail_of(shape, slot);
    return (struct str){.ptr = tail->len != 0 ? tail->ptr : NULL, .len = tail->len};
}

static void slot_set_key(const struct table_shape *shape, struct table *table, struct slot *slot,
                         struct str key)
{
    char *room = slot_key_room(shape, slot);
    if ((uint32_t)key.len > table->key_room_bytes) {
        char *piece = slab_take(table, (uint32_t)key.len);
        memcpy(piece, key.ptr, (size_t)key.len);
        memcpy(room, &piece, sizeof piece);
    } else if (key.len != 0) {
        memcpy(room, key.ptr, (size_t)key.len);
    }
}

static void slot_drop_pieces(const struct table_shape *shape, struct table *table,
                             struct slot *slot)
{
    if (slot->key_len > table->key_room_bytes) {
        char *piece;
        memcpy(&piece, slot_key_room(shape, slot), sizeof piece);
        slab_give(table, piece, slot->key_len);
    }
    if (shape->tail_offset != 0) {
        struct slot_tail *tail = slot_tail_of(shape, slot);
        if (tail->cap != 0) {
            slab_give(table, tail->ptr, tail->cap);
        }
    }
}

static void table_set_capacity(struct table *table, uint32_t capacity)
{
    table->mask = capacity - 1;
    if (capacity < 64) {
        table->grow_at = capacity - capacity * 3 / 8;
        return;
    }
    // From 7/16 to 11/16, so that tables which fill alike do not grow together.
    uint64_t sixteenths = 7 * 256 + 4 * (uint64_t)table->spread;
    table->grow_at = (uint32_t)(capacity * sixteenths / (16 * 256));
}

static void table_take_slots(const struct table_shape *shape, struct table *table,
                             uint32_t capacity, uint32_t key_room_bytes)
{
    table->key_room_bytes = key_room_bytes;
    table->stride_bytes = (uint32_t)shape->key_offset + key_room_bytes;
    table_set_capacity(table, capacity);
    ptrdiff_t size = (ptrdiff_t)capacity * table->stride_bytes;
    table->slots = mem_new_aligned(size, TABLE_LINE_BYTES);
    table->memory_bytes += size;
}

struct table *table_new(const struct table_shape *shape, uint32_t spread)
{
    struct table *table = MEM_NEW(struct table);
    table->spread = spread;
    table->memory_bytes = (int64_t)sizeof *table;
    table->slab.chunk_next_bytes = SLAB_CHUNK_FIRST_BYTES;
    table->times.least = INT64_MAX;
    table_take_slots(shape, table, TABLE_SLOTS_MIN, KEY_ROOMS[0]);
    return table;
}

void table_free(const struct table_shape *shape, struct table *table)
{
    if (table == NULL) {
        return;
    }
    for (uint32_t i = 0; table->count != 0 && i <= table->mask; i++) {
        struct slot *slot = table_slot(table, i);
        if ((slot->flags & SLOT_USED) != 0) {
            slot_drop_pieces(shape, table, slot);
        }
    }
    slab_release(table);
    for (int32_t i = 0; i < table->times.cap; i++) {
        mem_free(table->times.buckets[i].tags);
    }
    mem_free(table->times.buckets);
    mem_free(table->slots);
    mem_free(table);
}

struct slot *table_find(const struct table_shape *shape, const struct table *table, uint32_t tag,
                        struct str key, int64_t time)
{
    for (uint32_t place = table_home(tag, table->mask);; place = (place + 1) & table->mask) {
        struct slot *slot = table_slot(table, place);
        if ((slot->flags & SLOT_USED) == 0) {
            return NULL;
        }
        if (slot->tag == tag && slot->time == time && slot->key_len == key.len &&
            str_equal(slot_key(shape, table, slot), key)) {
            return slot;
        }
    }
}

struct slot *table_probe_tag(const struct table *table, uint32_t tag, uint32_t *place)
{
    for (;; *place = (*place + 1) & table->mask) {
        struct slot *slot = table_slot(table, *place);
        if ((slot->flags & SLOT_USED) == 0) {
            return NULL;
        }
        if (slot->tag == tag) {
            *place = (*place + 1) & table->mask;
            return slot;
        }
    }
}

static struct slot *table_empty_slot(const struct table *table, uint32_t tag)
{
    uint32_t place = table_home(tag, table->mask);
    while ((table_slot(table, place)->flags & SLOT_USED) != 0) {
        place = (place + 1) & table->mask;
    }
    return table_slot(table, place);
}

/* Moves all entries to new slots: more of them, or with more room for keys. */
static void table_rebuild(const struct table_shape *shape, struct table *table, uint32_t capacity,
                          uint32_t key_room_bytes)
{
    struct table old = *table;
    table_take_slots(shape, table, capacity, key_room_bytes);
    for (uint32_t i = 0; i <= old.mask; i++) {
        struct slot *from = table_slot(&old, i);
        if ((from->flags & SLOT_USED) == 0) {
            continue;
        }
        struct slot *to = table_empty_slot(table, from->tag);
        memcpy(to, from, (size_t)shape->key_offset);
        char *old_room = slot_key_room(shape, from);
        if (from->key_len <= old.key_room_bytes) {
            memcpy(slot_key_room(shape, to), old_room, old.key_room_bytes);
        } else if (from->key_len <= key_room_bytes) {
            char *piece;
            memcpy(&piece, old_room, sizeof piece);
            memcpy(slot_key_room(shape, to), piece, from->key_len);
            slab_give(table, piece, from->key_len);
        } else {
            memcpy(slot_key_room(shape, to), old_room, KEY_ROOMS[0]); // the pointer
        }
    }
    table->memory_bytes -= (int64_t)(old.mask + 1) * old.stride_bytes;
    mem_free(old.slots);
}

static uint32_t key_room_for(const struct table *table, ptrdiff_t key_len)
{
    for (size_t i = 0; i < sizeof KEY_ROOMS / sizeof KEY_ROOMS[0]; i++) {
        if (key_len <= (ptrdiff_t)KEY_ROOMS[i]) {
            return KEY_ROOMS[i] > table->key_room_bytes ? KEY_ROOMS[i] : table->key_room_bytes;
        }
    }
    return table->key_room_bytes;
}

struct slot *table_add(const struct table_shape *shape, struct table *table, uint32_t tag,
                       struct str key, int64_t time)
{
    uint32_t room = key_room_for(table, key.len);
    if (table->count >= table->grow_at) {
        table_rebuild(shape, table, (table->mask + 1) * 2, room);
    } else if (room != table->key_room_bytes) {
        table_rebuild(shape, table, table->mask + 1, room);
    }
    struct slot *slot = table_empty_slot(table, tag);
    memset(slot, 0, (size_t)shape->key_offset);
    slot->tag = tag;
    slot->key_len = (uint16_t)key.len;
    slot->flags = SLOT_USED;
    slot->time = time;
    slot_set_key(shape, table, slot, key);
    table->count++;
    if (table->count > table->peak_count) {
        table->peak_count = table->count;
    }
    return slot;
}

void table_remove(const struct table_shape *shape, struct table *table, struct slot *slot)
{
    slot_drop_pieces(shape, table, slot);
    uint32_t hole = (uint32_t)(((char *)slot - table->slots) / table->stride_bytes);
    for (uint32_t place = hole;;) {
        place = (place + 1) & table->mask;
        struct slot *next = table_slot(table, place);
        if ((next->flags & SLOT_USED) == 0) {
            break;
        }
        // An entry may fill the hole if the hole lies on its way from its first place.
        if (((place - table_home(next->tag, table->mask)) & table->mask) >=
            ((place - hole) & table->mask)) {
            memcpy(table_slot(table, hole), next, table->stride_bytes);
            hole = place;
        }
    }
    table_slot(table, hole)->flags = 0;
    table->count--;
    if (shape->timed) { // else it has no times, and they are a cache line of their own
        table->times.least_loose = true;
    }
}

char *table_tail_resize(const struct table_shape *shape, struct table *table, struct slot *slot,
                        uint32_t len)
{
    struct slot_tail *tail = slot_tail_of(shape, slot);
    if (len > tail->cap) {
        uint32_t cap = slab_piece_bytes(len);
        char *piece = slab_take(table, cap);
        if (tail->cap != 0) {
            memcpy(piece, tail->ptr, tail->len);
            slab_give(table, tail->ptr, tail->cap);
        }
        tail->ptr = piece;
        tail->cap = cap;
    }
    if (len > tail->len) {
        memset(tail->ptr + tail->len, 0, len - tail->len);
    }
    tail->len = len;
    return tail->ptr;
}

void table_clear(const struct table_shape *shape, struct table *table)
{
    for (uint32_t place = 0; place <= table->mask; place++) {
        struct slot *slot = table_slot(table, place);
        if ((slot->flags & SLOT_USED) != 0) {
            slot_drop_pieces(shape, table, slot);
            slot->flags = 0;
        }
    }
    table->count = 0;
    table_settle(shape, table);
}

void table_settle(const struct table_shape *shape, struct table *table)
{
    CHECK(table->count == 0);
    uint32_t capacity = table->mask + 1;
    if (capacity > TABLE_SLOTS_MIN && table->peak_count < capacity / 4) {
        slab_release(table);
        table_rebuild(shape, table, capacity / 2, table->key_room_bytes);
    }
    table->peak_count = 0;
}
