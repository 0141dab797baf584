// SPDX-License-Identifier: Apache-2.0
// Entries of many rows of a batch found or made at once.
//
// Some rows at a time go through three loops: where each search begins, whose slots are fetched; those whose entry is in
// the first two slots, nearly all; the others. The loops are short, so that many cache misses and page walks are under way
// together, and are compiled for what they can take for granted: that all tables of the space are laid out alike (they are
// when keys have one length, or lengths of one class), that all rows have one time (of a tumbling window they mostly do).

#include "base/check.h"
#include "base/mem.h"
#include "pipeline/state_probe.h"

enum { PREFETCH_ROWS = 64 };

/* Some rows on their way. */
struct upsert_piece {
    struct state_space *space;
    struct state_rows rows; /* count: at most PREFETCH_ROWS */
    void **
        payload; /* [count]; before a row's is found: the slot where its search begins, then the one after it */
    uint8_t *created; /* [count], zero; or NULL */
};

/* What a loop is compiled for. */
struct upsert_form {
    bool alike;    /* all tables have the space's stride and room for keys */
    bool one_time; /* rows->time is NULL */
};

/* Where the search of each row begins, and for what, but for the key's length. */
static ATTR_ALWAYS_INLINE void find_first(const struct upsert_piece *piece, struct upsert_form form,
                                          uint64_t *want)
{
    const struct state_space *space = piece->space;
    const struct state_rows rows = piece->rows;
    const struct table_ref *refs = space->refs;
    void **payload = piece->payload;
    uint32_t lo = space->state->group_lo;
    uint32_t groups = space->state->group_hi - lo;
    size_t stride = space->stride_bytes;
    uint32_t one_tag = table_tag(0, rows.at);
    for (int32_t i = 0; i < rows.count; i++) {
        int32_t row = rows.sel[i];
        uint32_t g = key_group_of(rows.hash[row]) - lo;
        CHECK(g < groups);
        uint32_t tag = form.one_time ? (uint32_t)rows.hash[row] ^ one_tag
                                     : table_tag(rows.hash[row], rows.time[row]);
        want[i] = probe_want(tag, 0);
        size_t place = table_home(tag, refs[g].mask);
        payload[i] = refs[g].slots + place * (form.alike ? stride : refs[g].stride_bytes);
        PREFETCH(payload[i]);
    }
}

/* Not 0 if a key of another length than 8 differs from what stands in a slot's room for keys. */
static ATTR_NOINLINE uint64_t key_differs(const char *slot_key, size_t room, const char *key,
                                          ptrdiff_t len)
{
    // A slot with another key length may hold a pointer there, or nothing: only its bytes are looked at.
    return !(len <= (ptrdiff_t)room && short_equal(slot_key, key, len));
}

/* Finds the rows whose entries are in the one or the other of the two slots where their search begins, lists the rest.
 * No branch depends on which, or on whether: nothing could foretell it. Returns how many are listed. */
static ATTR_ALWAYS_INLINE int32_t upsert_near(const struct upsert_piece *piece,
                                              struct upsert_form form, const uint64_t *wants,
                                              int32_t *far)
{
    const struct state_space *space = piece->space;
    const struct state_rows rows = piece->rows;
    void **payload = piece->payload;
    const struct table_ref *refs = space->refs;
    ptrdiff_t key_offset = space->shape.key_offset;
    uint32_t lo = space->state->group_lo;
    size_t stride = space->stride_bytes;
    size_t room = space->key_room_bytes;
    int32_t far_count = 0;
    for (int32_t i = 0; i < rows.count; i++) {
        int32_t row = rows.sel[i];
        if (!form.alike) {
            const struct table_ref *ref = &refs[key_group_of(rows.hash[row]) - lo];
            stride = ref->stride_bytes;
            room = ref->key_room_bytes;
        }
        const char *key = rows.key[row].ptr;
        ptrdiff_t len = rows.key[row].len;
        uint64_t want = wants[i] | (uint64_t)len << 32;
        char *slot = payload[i];
        slot += -(size_t)(probe_load(slot, want) != 0) & stride;
        uint64_t differs = probe_load(slot, want);
        differs |= (uint64_t)((struct slot *)(void *)slot)->time ^
                   (uint64_t)(form.one_time ? rows.at : rows.time[row]);
        if (LIKELY(len == 8)) {
            uint64_t x;
            uint64_t y;
            memcpy(&x, slot + key_offset, sizeof x);
            memcpy(&y, key, sizeof y);
            differs |= x ^ y;
        } else {
            differs |= key_differs(slot + key_offset, room, key, len);
        }
        payload[i] = slot + sizeof(struct slot);
        far[far_count] = i;
        far_count += differs != 0;
    }
    return far_count;
}

/* The rows whose search goes past its first two slots, in order. Their next slots are fetched together first. Returns
 * whether entries have moved. */
static bool upsert_far(const struct upsert_piece *piece, const int32_t *far, int32_t far_count)
{
    struct state_space *space = piece->space;
    const struct state_rows *rows = &piece->rows;
    bool moved = false;
    for (int32_t k = 0; k < far_count; k++) {
        PREFETCH((char *)piece->payload[far[k]] + TABLE_LINE_BYTES / 2);
    }
    for (int32_t k = 0; k < far_count; k++) {
        int32_t row = rows->sel[far[k]];
        int64_t time = rows->time != NULL ? rows->time[row] : rows->at;
        CHECK(rows->key[row].len <= STATE_KEY_MAX);
        uint32_t tag = table_tag(rows->hash[row], time);
        uint32_t group = key_group_of(rows->hash[row]);
        const struct table_ref *ref = &space->refs[group - space->state->group_lo];
        struct slot *slot = ref_find(&space->shape, ref, tag, rows->key[row], time);
        if (UNLIKELY(slot == NULL)) {
            const char *slots = ref->slots;
            slot = space_add(space, group, tag, rows->key[row], time);
            moved = moved || slots != ref->slots;
            if (piece->created != NULL) {
                piece->created[far[k]] = true;
            }
        }
        piece->payload[far[k]] = slot_payload(slot);
    }
    return moved;
}

static ATTR_ALWAYS_INLINE bool upsert_as(const struct upsert_piece *piece, struct upsert_form form)
{
    // Written before they are read: filling them with zeros first would cost as much as two of the rows.
    ATTR_UNINITIALIZED uint64_t want[PREFETCH_ROWS];
    ATTR_UNINITIALIZED int32_t far[PREFETCH_ROWS + 1];
    find_first(piece, form, want);
    int32_t far_count = upsert_near(piece, form, want, far);
    return far_count > 0 && upsert_far(piece, far, far_count);
}

static bool upsert_piece(const struct upsert_piece *piece)
{
    bool alike = piece->space->stride_bytes != 0;
    if (piece->rows.time == NULL) {
        return alike ? upsert_as(piece, (struct upsert_form){.alike = true, .one_time = true})
                     : upsert_as(piece, (struct upsert_form){.one_time = true});
    }
    return alike ? upsert_as(piece, (struct upsert_form){.alike = true})
                 : upsert_as(piece, (struct upsert_form){.alike = false});
}

/* Slots have moved while a batch was being put in: look all of them up again. */
static ATTR_COLD void find_again(const struct state_space *space, const struct state_rows *rows,
                                 void **ret_payload)
{
    for (int32_t i = 0; i < rows->count; i++) {
        int32_t row = rows->sel[i];
        int64_t time = rows->time != NULL ? rows->time[row] : rows->at;
        uint32_t group = key_group_of(rows->hash[row]);
        struct slot *slot = ref_find(&space->shape, &space->refs[group - space->state->group_lo],
                                     table_tag(rows->hash[row], time), rows->key[row], time);
        ret_payload[i] = slot_payload(slot);
    }
}

/* Marks the entries of some rows as changed. */
static void mark_dirty(struct state_space *space, const struct state_rows *rows,
                       void *const *payload)
{
    for (int32_t i = 0; i < rows->count; i++) {
        struct slot *slot = slot_of_payload(payload[i]);
        if ((slot->flags & SLOT_DIRTY) == 0) {
            space_mark_dirty(space, key_group_of(rows->hash[rows->sel[i]]), slot);
        }
    }
}

void state_upsert_many(struct state_space *space, const struct state_rows *rows, void **ret_payload,
                       uint8_t *ret_created)
{
    bool moved = false;
    if (space->refs == NULL && rows->count > 0) {
        space_make_tables(space);
    }
    if (ret_created != NULL) {
        memset(ret_created, 0, (size_t)rows->count);
    }
    for (int32_t first = 0; first < rows->count; first += PREFETCH_ROWS) {
        int32_t left = rows->count - first;
        struct upsert_piece piece = {.space = space,
                                     .rows = *rows,
                                     .payload = ret_payload + first,
                                     .created = ret_created != NULL ? ret_created + first : NULL};
        piece.rows.sel += first;
        piece.rows.count = left < PREFETCH_ROWS ? left : PREFETCH_ROWS;
        moved = upsert_piece(&piece) || moved;
    }
    if (UNLIKELY(moved)) {
        find_again(space, rows, ret_payload);
    }
    if (space->state->tracking) {
        mark_dirty(space, rows, ret_payload);
    }
}
