// SPDX-License-Identifier: Apache-2.0
// Keyed state: spaces, lookups, timed entries. Tables are in state_table.c, what goes to and comes from changelogs in
// state_delta.c.

#include "pipeline/state.h"

#include "base/check.h"
#include "base/mem.h"
#include "pipeline/state_probe.h"

enum {
    TAKEN_ARENA_BYTES = 1 << 30,
    TAKEN_BYTES_MAX = 16 << 20, /* handed out by one call, one entry's tail more or less */
    SPACE_ID_RESERVED = 16
};

/* Where the lookups of groups without a table end: two slots that are never used, of any space's size. */
enum { SLOT_BYTES_MAX = 2 * STATE_PAYLOAD_MAX };
static const char NO_SLOTS[2 * SLOT_BYTES_MAX] ATTR_ALIGNED(8);

struct state *state_new(uint32_t group_lo, uint32_t group_hi)
{
    CHECK(group_lo < group_hi && group_hi <= KEY_GROUP_COUNT);
    struct state *state = MEM_NEW(struct state);
    state->group_lo = group_lo;
    state->group_hi = group_hi;
    state->tracking = true;
    return state;
}

static uint32_t state_group_count(const struct state *state)
{
    return state->group_hi - state->group_lo;
}

static void space_free(struct state_space *space)
{
    if (space->tables != NULL) {
        for (uint32_t g = 0; g < state_group_count(space->state); g++) {
            table_free(&space->shape, space->tables[g]);
        }
    }
    mem_free(space->tables);
    mem_free(space->refs);
    mem_free(space->group_min);
    mem_free(space->group_loose);
    mem_free((char *)(uintptr_t)space->name.ptr);
    due_list_release(&space->due);
    mem_free(space->due_shown);
    ref_list_release(space);
    arena_release(&space->taken);
    mem_free(space);
}

void state_free(struct state *state)
{
    if (state == NULL) {
        return;
    }
    for (int32_t i = 0; i < state->space_count; i++) {
        space_free(state->spaces[i]);
    }
    mem_free(state->dirty);
    mem_free(state->removed);
    mem_free(state->key_buffer);
    mem_free(state->value_buffer);
    mem_free(state);
}

static int32_t round_up_8(int32_t bytes)
{
    return (bytes + 7) & ~7;
}

struct state_space *state_space_open(struct state *state, const struct state_space_options *options)
{
    CHECK(options->payload_bytes >= 0 && options->payload_bytes <= STATE_PAYLOAD_MAX);
    CHECK(state->space_count < STATE_SPACES_MAX);
    struct state_space *space = MEM_NEW(struct state_space);
    space->state = state;
    space->id = (uint32_t)hash64(options->name.ptr, options->name.len) & 0x7fffffffu;
    space->id |= options->composite ? 0x80000000u : 0;
    CHECK((space->id & 0x7fffffffu) >= SPACE_ID_RESERVED);
    for (int32_t i = 0; i < state->space_count; i++) {
        CHECK_MSG(state->spaces[i]->id != space->id, "spaces %.*s and %.*s",
                  STR_ARG(state->spaces[i]->name), STR_ARG(options->name));
    }
    space->name = (struct str){.ptr = mem_dup(options->name.ptr, options->name.len),
                               .len = options->name.len};
    space->payload_bytes = options->payload_bytes;
    space->composite = options->composite;
    CHECK(!(options->timed && options->listed));
    space->listed = options->listed;
    int32_t end = (int32_t)sizeof(struct slot) + round_up_8(options->payload_bytes);
    space->shape = (struct table_shape){.payload_bytes = round_up_8(options->payload_bytes),
                                        .tail_offset = options->tails ? end : 0,
                                        .timed = options->timed};
    space->shape.key_offset = end + (options->tails ? (int32_t)sizeof(struct slot_tail) : 0);
    space->min_time = INT64_MAX;
    arena_init(&space->taken, TAKEN_ARENA_BYTES);
    space->index = (uint32_t)state->space_count;
    state->spaces[state->space_count++] = space;
    return space;
}

/* --- tables --- */

static const struct table_ref NO_TABLE = {.slots = (char *)(uintptr_t)NO_SLOTS};

/* Keeps account of which layouts of slots there are: of one alone, lookups need not ask each table. */
static void space_set_ref(struct state_space *space, uint32_t g, struct table_ref ref)
{
    struct table_ref before = space->refs[g];
    space->refs[g] = ref;
    if (before.key_room_bytes == ref.key_room_bytes) {
        return;
    }
    space->room_tables[before.key_room_bytes / TABLE_KEY_ROOM_MIN]--;
    space->room_tables[ref.key_room_bytes / TABLE_KEY_ROOM_MIN]++;
    int32_t layouts = 0;
    for (uint32_t i = 1; i < COUNT_OF(space->room_tables); i++) {
        if (space->room_tables[i] != 0) {
            layouts++;
            space->key_room_bytes = i * TABLE_KEY_ROOM_MIN;
        }
    }
    space->stride_bytes =
        layouts == 1 ? (uint32_t)space->shape.key_offset + space->key_room_bytes : 0;
}

void space_make_tables(struct state_space *space)
{
    uint32_t count = state_group_count(space->state);
    space->tables = MEM_NEW_ARRAY(struct table *, count);
    space->refs = MEM_NEW_ARRAY(struct table_ref, count);
    space->room_tables[0] = (int32_t)count;
    int64_t bytes = (int64_t)count * (int64_t)(sizeof(struct table *) + sizeof(struct table_ref));
    for (uint32_t g = 0; g < count; g++) {
        space->refs[g] = NO_TABLE;
    }
    if (space->shape.timed) {
        space->group_min = MEM_NEW_ARRAY(int64_t, count);
        space->group_loose = MEM_NEW_ARRAY(uint8_t, count);
        for (uint32_t g = 0; g < count; g++) {
            space->group_min[g] = INT64_MAX;
        }
        bytes += (int64_t)count * (int64_t)(sizeof(int64_t) + 1);
    }
    space->state->bytes_used += bytes;
}

/* A number that differs from group to group and is the same for one group everywhere. */
static uint32_t group_spread(uint32_t group)
{
    return (group * 2654435761u) >> 24;
}

struct table *space_table(struct state_space *space, uint32_t group)
{
    if (space->tables == NULL) {
        space_make_tables(space);
    }
    uint32_t g = group - space->state->group_lo;
    if (space->tables[g] == NULL) {
        space->tables[g] = table_new(&space->shape, group_spread(group));
        space_table_changed(space, group, 0);
    }
    return space->tables[g];
}

void space_table_changed(struct state_space *space, uint32_t group, int64_t bytes_before)
{
    uint32_t g = group - space->state->group_lo;
    CHECK(space->tables != NULL && space->refs != NULL);
    const struct table *table = space->tables[g];
    space_set_ref(space, g,
                  (struct table_ref){.slots = table->slots,
                                     .mask = table->mask,
                                     .stride_bytes = (uint16_t)table->stride_bytes,
                                     .key_room_bytes = (uint16_t)table->key_room_bytes});
    space->state->bytes_used += table->memory_bytes - bytes_before;
}

void space_forget_table(struct state_space *space, uint32_t group)
{
    uint32_t g = group - space->state->group_lo;
    space->tables[g] = NULL;
    space_set_ref(space, g, NO_TABLE);
    if (space->shape.timed) {
        space->group_min[g] = INT64_MAX;
        space->group_loose[g] = 0;
        space->min_loose = true;
    }
}

void space_adopt_table(struct state_space *space, uint32_t group, struct table *table)
{
    if (space->tables == NULL) {
        space_make_tables(space);
    }
    uint32_t g = group - space->state->group_lo;
    CHECK(space->tables[g] == NULL || space->tables[g]->count == 0);
    if (space->tables[g] != NULL) {
        space->state->bytes_used -= space->tables[g]->memory_bytes;
        table_free(&space->shape, space->tables[g]);
    }
    space->tables[g] = table;
    space_table_changed(space, group, 0);
    space->state->entry_count += table->count;
    if (space->listed) {
        ref_list_add_table(space, group, table);
    }
    if (space->shape.timed) {
        space->group_min[g] = table_min_time(table);
        space->group_loose[g] = 0;
        /* A bound, not only loose: an upsert of a later time must not pass for the smallest. */
        space->min_time =
            space->group_min[g] < space->min_time ? space->group_min[g] : space->min_time;
    }
}

static bool state_owns(const struct state *state, uint32_t group)
{
    return group >= state->group_lo && group < state->group_hi;
}

static uint32_t group_checked(const struct state_space *space, uint64_t hash)
{
    uint32_t group = key_group_of(hash);
    CHECK_MSG(state_owns(space->state, group), "group %u of [%u, %u)", group,
              space->state->group_lo, space->state->group_hi);
    return group;
}

/* --- lookups --- */

static struct slot *space_find(const struct state_space *space, uint64_t hash, struct str key,
                               int64_t time)
{
    uint32_t group = group_checked(space, hash);
    CHECK(key.len <= STATE_KEY_MAX);
    if (space->refs == NULL) {
        return NULL;
    }
    return ref_find(&space->shape, &space->refs[group - space->state->group_lo],
                    table_tag(hash, time), key, time);
}

static void space_note_time(struct state_space *space, uint32_t group, int64_t time)
{
    uint32_t g = group - space->state->group_lo;
    if (time < space->group_min[g]) {
        space->group_min[g] = time;
        space->group_loose[g] = 0;
    }
    if (time < space->min_time) {
        space->min_time = time;
        space->min_loose = false;
    }
}

ATTR_COLD struct slot *space_add(struct state_space *space, uint32_t group, uint32_t tag,
                                 struct str key, int64_t time)
{
    struct table *table = space_table(space, group);
    int64_t bytes_before = table->memory_bytes;
    struct slot *slot = table_add(&space->shape, table, tag, key, time);
    if (space->shape.timed) {
        table_index_time(table, tag, time);
        space_note_time(space, group, time);
    } else if (space->listed) {
        ref_list_add(space, group, tag, time);
    }
    space_table_changed(space, group, bytes_before);
    space->state->entry_count++;
    return slot;
}

struct slot *space_put(struct state_space *space, uint32_t group, uint32_t tag, struct str key,
                       int64_t time)
{
    struct slot *slot = NULL;
    if (space->refs != NULL) {
        slot =
            ref_find(&space->shape, &space->refs[group - space->state->group_lo], tag, key, time);
    }
    return slot != NULL ? slot : space_add(space, group, tag, key, time);
}

static ATTR_COLD void state_grow_dirty(struct state *state)
{
    state->dirty_cap = state->dirty_cap == 0 ? 256 : state->dirty_cap * 2;
    state->dirty = mem_resize(state->dirty, state->dirty_cap, (ptrdiff_t)sizeof *state->dirty);
}

void space_mark_dirty(struct state_space *space, uint32_t group, struct slot *slot)
{
    struct state *state = space->state;
    if ((slot->flags & SLOT_DIRTY) != 0 || !state->tracking) {
        return;
    }
    slot->flags |= SLOT_DIRTY;
    if (state->dirty_count == state->dirty_cap) {
        state_grow_dirty(state);
    }
    state->dirty[state->dirty_count++] =
        (uint64_t)space->index << 44 | (uint64_t)group << 32 | slot->tag;
    state->dirty_bytes +=
        STATE_ENTRY_HEAD_BYTES + slot->key_len + space->payload_bytes +
        (space->shape.tail_offset != 0 ? (int64_t)slot_tail_of(&space->shape, slot)->len : 0);
}

void *state_upsert(struct state_space *space, uint64_t hash, struct str key, int64_t time,
                   bool *ret_created)
{
    uint32_t group = group_checked(space, hash);
    CHECK(key.len <= STATE_KEY_MAX);
    int64_t entries = space->state->entry_count;
    struct slot *slot = space_put(space, group, table_tag(hash, time), key, time);
    space_mark_dirty(space, group, slot);
    if (ret_created != NULL) {
        *ret_created = space->state->entry_count != entries;
    }
    return slot_payload(slot);
}

const void *state_find(struct state_space *space, uint64_t hash, struct str key, int64_t time)
{
    struct slot *slot = space_find(space, hash, key, time);
    return slot != NULL ? slot_payload(slot) : NULL;
}

struct str state_tail(struct state_space *space, uint64_t hash, struct str key, int64_t time)
{
    struct slot *slot = space_find(space, hash, key, time);
    return slot != NULL ? slot_tail_view(&space->shape, slot) : (struct str){0};
}

struct str state_tail_at(const struct state_space *space, const void *payload)
{
    return slot_tail_view(&space->shape, slot_of_payload(payload));
}

char *state_tail_resize(struct state_space *space, uint64_t hash, void *payload, ptrdiff_t len)
{
    CHECK(space->shape.tail_offset != 0);
    if (len > STATE_TAIL_MAX) {
        return NULL;
    }
    uint32_t group = group_checked(space, hash);
    struct slot *slot = slot_of_payload(payload);
    struct table *table = space->tables[group - space->state->group_lo];
    DCHECK((slot->flags & SLOT_DIRTY) != 0 || !space->state->tracking);
    int64_t bytes_before = table->memory_bytes;
    space->state->dirty_bytes += len - (ptrdiff_t)slot_tail_of(&space->shape, slot)->len;
    char *tail = table_tail_resize(&space->shape, table, slot, (uint32_t)len);
    space->state->bytes_used += table->memory_bytes - bytes_before;
    return tail;
}

struct str state_composite_key(char *buffer, uint64_t key_hash, struct str key, struct str more,
                               uint64_t *ret_hash)
{
    CHECK(key.len <= UINT16_MAX);
    buffer[0] = (char)(key.len >> 8);
    buffer[1] = (char)key.len;
    if (key.len != 0) {
        memcpy(buffer + 2, key.ptr, (size_t)key.len);
    }
    if (more.len != 0) {
        memcpy(buffer + 2 + key.len, more.ptr, (size_t)more.len);
    }
    struct str whole = {.ptr = buffer, .len = 2 + key.len + more.len};
    uint64_t group_bits = UINT64_C(0xfff) << 52;
    *ret_hash = (key_hash & group_bits) | (hash64(whole.ptr, whole.len) & ~group_bits);
    return whole;
}

/* --- removal --- */

void space_remove(struct state_space *space, uint32_t group, struct slot *slot, bool tell)
{
    struct state *state = space->state;
    uint32_t g = group - state->group_lo;
    struct table *table = space->tables[g];
    if (tell && state->tracking && (slot->flags & SLOT_KEPT) != 0) {
        state_tell_removed(space, group, slot);
    }
    if (space->shape.timed && slot->time == space->group_min[g]) {
        space->group_loose[g] = 1;
        space->min_loose = space->min_loose || slot->time == space->min_time;
    }
    int64_t bytes_before = table->memory_bytes;
    table_remove(&space->shape, table, slot);
    if (table->count == 0) {
        table_settle(&space->shape, table);
    }
    space_table_changed(space, group, bytes_before);
    state->entry_count--;
}

bool state_delete(struct state_space *space, uint64_t hash, struct str key, int64_t time)
{
    struct slot *slot = space_find(space, hash, key, time);
    if (slot == NULL) {
        return false;
    }
    space_remove(space, key_group_of(hash), slot, true);
    return true;
}

/* --- time --- */

static void space_tighten_group(struct state_space *space, uint32_t g)
{
    if (space->group_loose[g] != 0) {
        space->group_min[g] = table_min_time(space->tables[g]);
        space->group_loose[g] = 0;
    }
}

int64_t state_min_time(struct state_space *space)
{
    CHECK(space->shape.timed);
    if (!space->min_loose || space->tables == NULL) {
        return space->min_time;
    }
    int64_t min = INT64_MAX;
    for (uint32_t g = 0; g < state_group_count(space->state); g++) {
        if (space->group_min[g] < min) {
            space_tighten_group(space, g);
            min = space->group_min[g] < min ? space->group_min[g] : min;
        }
    }
    space->min_time = min;
    space->min_loose = false;
    return min;
}

static struct str dup_str(struct arena *arena, struct str text)
{
    if (text.len == 0) {
        return (struct str){0};
    }
    char *copy = arena_new_raw(arena, text.len, 1);
    memcpy(copy, text.ptr, (size_t)text.len);
    return (struct str){.ptr = copy, .len = text.len};
}

/* Copies out the first of the collected entries, tells their removal, returns how many. */
static int32_t space_copy_due(struct state_space *space, uint32_t group,
                              struct state_entry *entries, int32_t cap)
{
    const struct table_shape *shape = &space->shape;
    const struct table *table = space->tables[group - space->state->group_lo];
    int32_t count = 0;
    while (count < cap && count < space->due.count && space->taken.used_bytes < TAKEN_BYTES_MAX) {
        const struct slot *slot = space->due.items[count].slot;
        struct state_entry *entry = &entries[count];
        entry->key = dup_str(&space->taken, slot_key(shape, table, slot));
        uint64_t low = hash64(entry->key.ptr, entry->key.len) & ~(UINT64_C(0xfff) << 52);
        entry->hash = (uint64_t)group << 52 | low;
        entry->time = slot->time;
        entry->payload = arena_new_raw(&space->taken, shape->payload_bytes + 1, 1);
        memcpy(entry->payload, slot_payload(slot), (size_t)shape->payload_bytes);
        entry->tail = dup_str(&space->taken, slot_tail_view(shape, slot));
        if (space->state->tracking && (slot->flags & SLOT_KEPT) != 0) {
            state_tell_removed(space, group, slot);
        }
        count++;
    }
    return count;
}

int32_t state_take_due(struct state_space *space, int64_t until, struct state_entry *entries,
                       int32_t cap)
{
    arena_reset(&space->taken);
    int32_t taken = 0;
    if (space->tables == NULL || state_min_time(space) > until) {
        return 0;
    }
    for (uint32_t g = 0; g < state_group_count(space->state) && taken < cap; g++) {
        while (space->group_min[g] <= until && space->group_min[g] != INT64_MAX && taken < cap &&
               space->taken.used_bytes < TAKEN_BYTES_MAX) {
            uint32_t group = space->state->group_lo + g;
            struct table *table = space->tables[g];
            int64_t bytes_before = table->memory_bytes;
            table_collect_due(&space->shape, table, until, cap - taken, &space->due);
            int32_t count = space_copy_due(space, group, entries + taken, cap - taken);
            table_remove_due(&space->shape, table, until, &space->due, count);
            space->group_min[g] = table_min_time(table);
            space->group_loose[g] = 0;
            space->min_loose = true;
            space->state->entry_count -= count;
            space_table_changed(space, group, bytes_before);
            taken += count;
        }
    }
    return taken;
}

/* --- the whole --- */

bool state_next(struct state_space *space, uint64_t *cursor, struct state_entry *ret_entry)
{
    if (space->tables == NULL) {
        return false;
    }
    uint32_t place = (uint32_t)*cursor;
    for (uint32_t g = (uint32_t)(*cursor >> 32); g < state_group_count(space->state); g++) {
        const struct table *table = space->tables[g];
        for (; table != NULL && place <= table->mask; place++) {
            const struct slot *slot = table_slot(table, place);
            if ((slot->flags & SLOT_USED) == 0) {
                continue;
            }
            struct str key = slot_key(&space->shape, table, slot);
            uint64_t low = hash64(key.ptr, key.len) & ~(UINT64_C(0xfff) << 52);
            *ret_entry = (struct state_entry){
                .key = key,
                .hash = (uint64_t)(space->state->group_lo + g) << 52 | low,
                .time = slot->time,
                .payload = slot_payload(slot),
                .tail = slot_tail_view(&space->shape, slot),
            };
            *cursor = (uint64_t)g << 32 | (place + 1);
            return true;
        }
        place = 0;
    }
    *cursor = (uint64_t)state_group_count(space->state) << 32;
    return false;
}

int64_t state_bytes_used(const struct state *state)
{
    return state->bytes_used;
}

int64_t state_entry_count(const struct state *state)
{
    return state->entry_count;
}

void state_space_usage(const struct state *state, struct str name, int64_t *ret_bytes,
                       int64_t *ret_entries)
{
    int64_t bytes = 0, entries = 0;
    for (int32_t i = 0; state != NULL && i < state->space_count; i++) {
        const struct state_space *space = state->spaces[i];
        if (!str_equal(space->name, name) || space->tables == NULL) {
            continue;
        }
        bytes += space->list.memory_bytes;
        for (uint32_t g = 0; g < state_group_count(state); g++) {
            bytes += space->tables[g] != NULL ? space->tables[g]->memory_bytes : 0;
            entries += space->tables[g] != NULL ? space->tables[g]->count : 0;
        }
    }
    *ret_bytes = bytes;
    *ret_entries = entries;
}

void state_set_tracking(struct state *state, bool on)
{
    state->tracking = on;
}
