// SPDX-License-Identifier: Apache-2.0
// Keyed state as changelog entries: deltas, snapshots, restoring, hand-over, digest.

#include "base/check.h"
#include "base/mem.h"
#include "pipeline/state_priv.h"

void state_encode_head(char *out, uint32_t group, uint32_t space_id, int64_t time)
{
    uint64_t flipped = (uint64_t)time ^ UINT64_C(0x8000000000000000);
    out[0] = (char)(group >> 8);
    out[1] = (char)group;
    for (int i = 0; i < 4; i++) {
        out[2 + i] = (char)(space_id >> (24 - 8 * i));
    }
    for (int i = 0; i < 8; i++) {
        out[6 + i] = (char)(flipped >> (56 - 8 * i));
    }
}

static uint64_t read_be(const char *bytes, int count)
{
    uint64_t value = 0;
    for (int i = 0; i < count; i++) {
        value = value << 8 | (unsigned char)bytes[i];
    }
    return value;
}

static void buffer_reserve(char **buffer, ptrdiff_t *cap, ptrdiff_t want)
{
    if (want <= *cap) {
        return;
    }
    ptrdiff_t size = *cap == 0 ? 256 : *cap;
    while (size < want) {
        size *= 2;
    }
    *buffer = mem_resize(*buffer, size, 1);
    *cap = size;
}

/* --- delta --- */

void state_tell_removed(struct state_space *space, uint32_t group, const struct slot *slot)
{
    struct state *state = space->state;
    const struct table *table = space->tables[group - state->group_lo];
    struct str key = slot_key(&space->shape, table, slot);
    uint32_t len = (uint32_t)(STATE_ENTRY_HEAD_BYTES + key.len);
    buffer_reserve(&state->removed, &state->removed_cap,
                   state->removed_len + (ptrdiff_t)sizeof len + len);
    char *out = state->removed + state->removed_len;
    memcpy(out, &len, sizeof len);
    state_encode_head(out + sizeof len, group, space->id, slot->time);
    if (key.len != 0) {
        memcpy(out + sizeof len + STATE_ENTRY_HEAD_BYTES, key.ptr, (size_t)key.len);
    }
    state->removed_len += (ptrdiff_t)sizeof len + len;
    state->dirty_bytes += len;
}

/* Views of an entry as a changelog record; in the state's buffers. */
static void state_encode(struct state_space *space, uint32_t group, const struct slot *slot,
                         struct str *ret_key, struct str *ret_value)
{
    struct state *state = space->state;
    const struct table *table = space->tables[group - state->group_lo];
    struct str key = slot_key(&space->shape, table, slot);
    buffer_reserve(&state->key_buffer, &state->key_cap, STATE_ENTRY_HEAD_BYTES + key.len);
    state_encode_head(state->key_buffer, group, space->id, slot->time);
    if (key.len != 0) {
        memcpy(state->key_buffer + STATE_ENTRY_HEAD_BYTES, key.ptr, (size_t)key.len);
    }
    *ret_key = (struct str){.ptr = state->key_buffer, .len = STATE_ENTRY_HEAD_BYTES + key.len};
    struct str tail = slot_tail_view(&space->shape, slot);
    if (tail.len == 0) {
        *ret_value = (struct str){.ptr = slot_payload(slot), .len = space->payload_bytes};
        return;
    }
    buffer_reserve(&state->value_buffer, &state->value_cap, space->payload_bytes + tail.len);
    memcpy(state->value_buffer, slot_payload(slot), (size_t)space->payload_bytes);
    memcpy(state->value_buffer + space->payload_bytes, tail.ptr, (size_t)tail.len);
    *ret_value = (struct str){.ptr = state->value_buffer, .len = space->payload_bytes + tail.len};
}

static struct slot *state_dirty_slot(const struct state *state, uint64_t ref)
{
    const struct state_space *space = state->spaces[ref >> 44];
    uint32_t group = (uint32_t)(ref >> 32) & (KEY_GROUP_COUNT - 1);
    const struct table *table = space->tables[group - state->group_lo];
    uint32_t tag = (uint32_t)ref;
    uint32_t place = table_home(tag, table->mask);
    struct slot *slot = table_probe_tag(table, tag, &place);
    while (slot != NULL && (slot->flags & SLOT_DIRTY) == 0) {
        slot = table_probe_tag(table, tag, &place);
    }
    return slot;
}

bool state_delta_next(struct state *state, struct str *ret_key, struct str *ret_value)
{
    if (state->removed_next < state->removed_len) {
        uint32_t len;
        const char *at = state->removed + state->removed_next;
        memcpy(&len, at, sizeof len);
        *ret_key = (struct str){.ptr = at + sizeof len, .len = len};
        *ret_value = (struct str){0};
        state->removed_next += (ptrdiff_t)sizeof len + len;
        return true;
    }
    while (state->dirty_next < state->dirty_count) {
        uint64_t ref = state->dirty[state->dirty_next++];
        struct slot *slot = state_dirty_slot(state, ref);
        if (slot == NULL) {
            continue; // removed since, or handed out by way of another reference
        }
        slot->flags = (uint8_t)((slot->flags & ~SLOT_DIRTY) | SLOT_KEPT);
        uint32_t group = (uint32_t)(ref >> 32) & (KEY_GROUP_COUNT - 1);
        state_encode(state->spaces[ref >> 44], group, slot, ret_key, ret_value);
        return true;
    }
    return false;
}

void state_delta_end(struct state *state)
{
    CHECK(state->dirty_next == state->dirty_count && state->removed_next == state->removed_len);
    state->dirty_count = 0;
    state->dirty_next = 0;
    state->removed_len = 0;
    state->removed_next = 0;
    state->dirty_bytes = 0;
}

int64_t state_delta_bytes(const struct state *state)
{
    return state->dirty_bytes;
}

/* --- snapshot and restore --- */

bool state_dump_next(struct state *state, uint32_t group, uint64_t *cursor, struct str *ret_key,
                     struct str *ret_value)
{
    CHECK(group >= state->group_lo && group < state->group_hi);
    uint32_t place = (uint32_t)*cursor;
    for (uint32_t i = (uint32_t)(*cursor >> 32); i < (uint32_t)state->space_count; i++) {
        struct state_space *space = state->spaces[i];
        const struct table *table =
            space->tables != NULL ? space->tables[group - state->group_lo] : NULL;
        for (; table != NULL && place <= table->mask; place++) {
            const struct slot *slot = table_slot(table, place);
            if ((slot->flags & SLOT_USED) != 0) {
                state_encode(space, group, slot, ret_key, ret_value);
                *cursor = (uint64_t)i << 32 | (place + 1);
                return true;
            }
        }
        place = 0;
    }
    *cursor = (uint64_t)state->space_count << 32;
    return false;
}

bool state_entry_key(struct str key, uint32_t *ret_group, uint32_t *ret_space,
                     struct str *ret_record_key)
{
    if (key.len < STATE_ENTRY_HEAD_BYTES) {
        return false;
    }
    uint32_t group = (uint32_t)read_be(key.ptr, 2);
    uint32_t space = (uint32_t)read_be(key.ptr + 2, 4);
    struct str rest = {.ptr = key.ptr + STATE_ENTRY_HEAD_BYTES,
                       .len = key.len - STATE_ENTRY_HEAD_BYTES};
    if (group >= KEY_GROUP_COUNT) {
        return false;
    }
    if ((space & 0x80000000u) != 0) {
        ptrdiff_t len = rest.len >= 2 ? (ptrdiff_t)read_be(rest.ptr, 2) : PTRDIFF_MAX;
        if (rest.len < 2 || len > rest.len - 2) {
            return false;
        }
        rest = (struct str){.ptr = rest.ptr + 2, .len = len};
    }
    *ret_group = group;
    *ret_space = space;
    *ret_record_key = rest;
    return true;
}

static struct state_space *state_space_by_id(const struct state *state, uint32_t id)
{
    for (int32_t i = 0; i < state->space_count; i++) {
        if (state->spaces[i]->id == id) {
            return state->spaces[i];
        }
    }
    return NULL;
}

/* A changelog entry on its way into a table. */
struct apply {
    enum err err; /* OK: the rest holds */
    struct state_space *space;
    uint32_t group, tag;
    int64_t time;
    struct str key; /* the user's */
};

/* Reads and checks an entry, and fetches the slot where its search begins: tables that are being filled are in no cache,
 * and a miss for each entry in turn would take most of the time of a restore. */
static void apply_begin(const struct state *state, struct str key, struct str value,
                        struct apply *ret_apply)
{
    uint32_t group;
    uint32_t space_id;
    struct str record_key;
    ret_apply->err = ERR_CORRUPT;
    if (!state_entry_key(key, &group, &space_id, &record_key)) {
        return;
    }
    struct state_space *space = state_space_by_id(state, space_id);
    if (space == NULL || group < state->group_lo || group >= state->group_hi) {
        ret_apply->err = ERR_NOT_FOUND;
        return;
    }
    struct str user_key = {.ptr = key.ptr + STATE_ENTRY_HEAD_BYTES,
                           .len = key.len - STATE_ENTRY_HEAD_BYTES};
    ptrdiff_t tail_len = value.ptr != NULL ? value.len - space->payload_bytes : 0;
    uint64_t record_hash = hash64(record_key.ptr, record_key.len);
    if (key_group_of(record_hash) != group || user_key.len > STATE_KEY_MAX || tail_len < 0 ||
        tail_len > STATE_TAIL_MAX || (tail_len > 0 && space->shape.tail_offset == 0)) {
        return;
    }
    int64_t time = (int64_t)(read_be(key.ptr + 6, 8) ^ UINT64_C(0x8000000000000000));
    uint64_t hash = space->composite ? hash64(user_key.ptr, user_key.len) : record_hash;
    uint32_t tag = table_tag(hash, time);
    *ret_apply = (struct apply){
        .err = ERR_OK, .space = space, .group = group, .tag = tag, .time = time, .key = user_key};
    if (space->refs != NULL) {
        const struct table_ref *ref = &space->refs[group - state->group_lo];
        PREFETCH(ref->slots + (size_t)table_home(tag, ref->mask) * ref->stride_bytes);
    }
}

static void apply_put(struct state *state, const struct apply *apply, struct str value)
{
    struct state_space *space = apply->space;
    struct slot *slot = space_put(space, apply->group, apply->tag, apply->key, apply->time);
    slot->flags |= SLOT_KEPT;
    if (space->payload_bytes != 0) {
        memcpy(slot_payload(slot), value.ptr, (size_t)space->payload_bytes);
    }
    if (space->shape.tail_offset != 0) {
        struct table *table = space_table(space, apply->group);
        int64_t bytes_before = table->memory_bytes;
        ptrdiff_t tail_len = value.len - space->payload_bytes;
        char *tail = table_tail_resize(&space->shape, table, slot, (uint32_t)tail_len);
        if (tail_len != 0) {
            memcpy(tail, value.ptr + space->payload_bytes, (size_t)tail_len);
        }
        state->bytes_used += table->memory_bytes - bytes_before;
    }
}

static void apply_remove(const struct apply *apply)
{
    struct state_space *space = apply->space;
    struct table *table = space_table(space, apply->group);
    struct slot *slot = table_find(&space->shape, table, apply->tag, apply->key, apply->time);
    if (slot != NULL) {
        space_remove(space, apply->group, slot, false);
    }
}

void state_apply_many(struct state *state, const struct str *key, const struct str *value,
                      int32_t count, enum err *ret_err)
{
    ATTR_UNINITIALIZED struct apply applies[STATE_APPLY_MAX];
    CHECK(count <= STATE_APPLY_MAX);
    for (int32_t i = 0; i < count; i++) {
        apply_begin(state, key[i], value[i], &applies[i]);
        ret_err[i] = applies[i].err;
    }
    for (int32_t i = 0; i < count; i++) {
        if (applies[i].err == ERR_OK && value[i].ptr != NULL) {
            apply_put(state, &applies[i], value[i]);
        } else if (applies[i].err == ERR_OK) {
            apply_remove(&applies[i]);
        }
    }
}

enum err state_apply(struct state *state, struct str key, struct str value)
{
    enum err err;
    state_apply_many(state, &key, &value, 1, &err);
    return err;
}

/* --- hand-over --- */

struct state_group_item {
    uint32_t space_id;
    struct table_shape shape;
    struct table *table;
};

struct state_group {
    uint32_t group;
    int32_t count;
    struct state_group_item items[];
};

static int32_t tables_of(const struct state *state, uint32_t g)
{
    int32_t count = 0;
    for (int32_t i = 0; i < state->space_count; i++) {
        count += state->spaces[i]->tables != NULL && state->spaces[i]->tables[g] != NULL;
    }
    return count;
}

struct state_group *state_detach(struct state *state, uint32_t group)
{
    CHECK(group >= state->group_lo && group < state->group_hi);
    CHECK(state->dirty_count == 0 && state->removed_len == 0);
    uint32_t g = group - state->group_lo;
    int32_t count = tables_of(state, g);
    if (count == 0) {
        return NULL;
    }
    struct state_group *tables = mem_new(1, (ptrdiff_t)sizeof(struct state_group) +
                                                count * (ptrdiff_t)sizeof(struct state_group_item));
    tables->group = group;
    for (int32_t i = 0; i < state->space_count; i++) {
        struct state_space *space = state->spaces[i];
        if (space->tables == NULL || space->tables[g] == NULL) {
            continue;
        }
        tables->items[tables->count].space_id = space->id;
        tables->items[tables->count].shape = space->shape;
        tables->items[tables->count++].table = space->tables[g];
        state->bytes_used -= space->tables[g]->memory_bytes;
        state->entry_count -= space->tables[g]->count;
        space_forget_table(space, group);
    }
    return tables;
}

int64_t state_group_bytes(const struct state_group *tables)
{
    int64_t bytes = 0;
    for (int32_t i = 0; tables != NULL && i < tables->count; i++) {
        bytes += tables->items[i].table->memory_bytes;
    }
    return bytes;
}

static bool shapes_equal(const struct table_shape *a, const struct table_shape *b)
{
    return a->payload_bytes == b->payload_bytes && a->tail_offset == b->tail_offset &&
           a->key_offset == b->key_offset && a->timed == b->timed;
}

void state_attach(struct state *state, struct state_group *tables)
{
    if (tables == NULL) {
        return;
    }
    CHECK(tables->group >= state->group_lo && tables->group < state->group_hi);
    for (int32_t i = 0; i < tables->count; i++) {
        struct state_space *space = state_space_by_id(state, tables->items[i].space_id);
        CHECK(space != NULL);
        CHECK(shapes_equal(&space->shape, &tables->items[i].shape));
        space_adopt_table(space, tables->group, tables->items[i].table);
    }
    mem_free(tables);
}

void state_group_free(struct state_group *tables)
{
    for (int32_t i = 0; tables != NULL && i < tables->count; i++) {
        table_free(&tables->items[i].shape, tables->items[i].table);
    }
    mem_free(tables);
}

/* --- digest --- */

uint64_t state_digest(struct state *state)
{
    uint64_t sum = 0;
    for (uint32_t group = state->group_lo; group < state->group_hi; group++) {
        uint64_t cursor = 0;
        struct str key;
        struct str value;
        while (state_dump_next(state, group, &cursor, &key, &value)) {
            uint64_t pair[2] = {hash64(key.ptr, key.len), hash64(value.ptr, value.len)};
            sum += hash64(pair, (ptrdiff_t)sizeof pair);
        }
    }
    return sum;
}
