// SPDX-License-Identifier: Apache-2.0
// Entries of many rows of a batch found or made at once.
//
// Some rows at a time go through three loops: where each search begins, whose slots are fetched; those whose entry is in
// the first two slots, nearly all; the others. The loops are short, so that many cache misses and page walks are under way
// together, and are compiled for what they can take for granted: that all tables of the space are laid out alike (they are
// when keys have one length, or lengths of one class), that all rows have one time (of a tumbling window they mostly do), that
// keys are integers.

#include <assert.h>
#include <immintrin.h>
#include <stddef.h>

#include "base/check.h"
#include "base/mem.h"
#include "pipeline/state_probe.h"

enum { PREFETCH_ROWS = 64 };

/* Key groups, counted from the state's first, whose slots have moved. */
struct moved_groups {
    bool any;
    uint64_t bits[KEY_GROUP_COUNT / 64]; /* undefined unless `any` */
};

/* Some rows on their way. */
struct upsert_piece {
    struct state_space *space;
    struct state_rows rows; /* count: at most PREFETCH_ROWS */
    void **payload;         /* [count]; before a row's is found: the slot where its search begins */
    uint8_t *created;       /* [count], zero; or NULL */
    struct moved_groups *moved;
    bool wide; /* the processor has AVX2 */
};

/* What a loop is compiled for. */
struct upsert_form {
    bool alike;    /* all tables have the space's stride and room for keys */
    bool one_time; /* rows->time is NULL */
    bool integers; /* all keys have 8 bytes */
};

/* Where the search of each row from `first` on begins. */
static ATTR_ALWAYS_INLINE void find_first(const struct upsert_piece *piece, struct upsert_form form,
                                          int32_t first)
{
    const struct state_space *space = piece->space;
    const struct state_rows rows = piece->rows;
    const struct table_ref *refs = space->refs;
    void **payload = piece->payload;
    uint32_t lo = space->state->group_lo;
    uint32_t groups = space->state->group_hi - lo;
    size_t stride = space->stride_bytes;
    uint32_t one_tag = table_tag(0, rows.at);
    for (int32_t i = first; i < rows.count; i++) {
        int32_t row = rows.sel[i];
        uint64_t hash = rows.hash[row];
        uint32_t g = key_group_of(hash) - lo;
        CHECK(g < groups);
        uint32_t tag = form.one_time ? (uint32_t)hash ^ one_tag : table_tag(hash, rows.time[row]);
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

static ATTR_ALWAYS_INLINE uint64_t load_8(const char *at)
{
    uint64_t x;
    memcpy(&x, at, sizeof x);
    return x;
}

/* The one or the other of two slots, whichever has the key; ret_differs is not 0 if that is not the entry either. */
static ATTR_ALWAYS_INLINE char *nearer(char *slot, size_t stride, size_t room, ptrdiff_t key_offset,
                                       uint32_t tag, struct str key, uint64_t *ret_differs)
{
    uint64_t want = probe_want(tag, key.len);
    slot += -(size_t)(probe_load(slot, want) != 0) & stride;
    uint64_t differs = probe_load(slot, want);
    if (LIKELY(key.len == 8)) {
        differs |= load_8(slot + key_offset) ^ load_8(key.ptr);
    } else {
        differs |= key_differs(slot + key_offset, room, key.ptr, key.len);
    }
    *ret_differs = differs;
    return slot;
}

/* The same for a key of 8 bytes, which says more than its tag: that need not be looked at. */
static ATTR_ALWAYS_INLINE char *nearer_integer(char *slot, size_t stride, ptrdiff_t key_offset,
                                               const char *key, uint64_t *ret_differs)
{
    uint64_t x = load_8(key);
    slot += -(size_t)(load_8(slot + key_offset) != x) & stride;
    *ret_differs = (load_8(slot + key_offset) ^ x) | probe_load_untagged(slot, 8);
    return slot;
}

/* From row `first` on, finds the rows whose entries are in the one or the other of the two slots where their search begins,
 * lists the rest. No branch depends on which, or on whether: nothing could foretell it. Returns how many are listed. */
static ATTR_ALWAYS_INLINE int32_t upsert_near(const struct upsert_piece *piece,
                                              struct upsert_form form, int32_t first, int32_t *far)
{
    const struct state_space *space = piece->space;
    const struct state_rows rows = piece->rows;
    void **payload = piece->payload;
    const struct table_ref *refs = space->refs;
    ptrdiff_t key_offset = space->shape.key_offset;
    uint32_t lo = space->state->group_lo;
    uint32_t one_tag = table_tag(0, rows.at);
    size_t stride = space->stride_bytes;
    size_t room = space->key_room_bytes;
    int32_t far_count = 0;
    for (int32_t i = first; i < rows.count; i++) {
        int32_t row = rows.sel[i];
        char *slot = payload[i];
        if (!form.alike) {
            const struct table_ref *ref = &refs[key_group_of(rows.hash[row]) - lo];
            stride = ref->stride_bytes;
            room = ref->key_room_bytes;
        }
        int64_t time = form.one_time ? rows.at : rows.time[row];
        uint64_t differs;
        if (form.integers) {
            slot = nearer_integer(slot, stride, key_offset, rows.key[row].ptr, &differs);
        } else {
            uint32_t tag = form.one_time ? (uint32_t)rows.hash[row] ^ one_tag
                                         : table_tag(rows.hash[row], time);
            slot = nearer(slot, stride, room, key_offset, tag, rows.key[row], &differs);
        }
        differs |= (uint64_t)((struct slot *)(void *)slot)->time ^ (uint64_t)time;
        payload[i] = slot + sizeof(struct slot);
        far[far_count] = i;
        far_count += differs != 0;
    }
    return far_count;
}

static ATTR_COLD void note_moved(struct moved_groups *moved, uint32_t g)
{
    if (!moved->any) {
        memset(moved->bits, 0, sizeof moved->bits);
        moved->any = true;
    }
    moved->bits[g / 64] |= UINT64_C(1) << g % 64;
}

/* Finds the rows whose search goes past its first two slots; lists those that have no entry yet, in place. Their next slots
 * are fetched together first, and of those that have none what making one takes. Returns how many these are. */
static int32_t find_far(const struct upsert_piece *piece, int32_t *far, int32_t far_count)
{
    const struct state_space *space = piece->space;
    const struct state_rows *rows = &piece->rows;
    for (int32_t k = 0; k < far_count; k++) {
        PREFETCH((char *)piece->payload[far[k]] + TABLE_LINE_BYTES / 2);
    }
    int32_t missing = 0;
    for (int32_t k = 0; k < far_count; k++) {
        int32_t row = rows->sel[far[k]];
        int64_t time = rows->time != NULL ? rows->time[row] : rows->at;
        CHECK(rows->key[row].len <= STATE_KEY_MAX);
        uint32_t g = key_group_of(rows->hash[row]) - space->state->group_lo;
        struct slot *slot = ref_find(&space->shape, &space->refs[g],
                                     table_tag(rows->hash[row], time), rows->key[row], time);
        if (LIKELY(slot != NULL)) {
            piece->payload[far[k]] = slot_payload(slot);
            continue;
        }
        PREFETCH(space->tables[g]);
        far[missing++] = far[k];
    }
    return missing;
}

/* Makes the entries of rows that have none, but for those of one that was made just now. */
static void add_missing(const struct upsert_piece *piece, const int32_t *far, int32_t count)
{
    struct state_space *space = piece->space;
    const struct state_rows *rows = &piece->rows;
    for (int32_t k = 0; k < count; k++) {
        int32_t row = rows->sel[far[k]];
        int64_t time = rows->time != NULL ? rows->time[row] : rows->at;
        uint32_t tag = table_tag(rows->hash[row], time);
        uint32_t group = key_group_of(rows->hash[row]);
        const struct table_ref *ref = &space->refs[group - space->state->group_lo];
        struct slot *slot = ref_find(&space->shape, ref, tag, rows->key[row], time);
        if (slot == NULL) {
            const char *slots = ref->slots;
            slot = space_add(space, group, tag, rows->key[row], time);
            if (slots != ref->slots) {
                note_moved(piece->moved, group - space->state->group_lo);
            }
            if (piece->created != NULL) {
                piece->created[far[k]] = true;
            }
        }
        piece->payload[far[k]] = slot_payload(slot);
    }
}

/* --- four rows side by side --- */

/* What the loops above do, for integer keys of one time in tables laid out alike. */

static ATTR_ALWAYS_INLINE int64_t load_signed(const void *at)
{
    return (int64_t)load_8(at);
}

static ATTR_ALWAYS_INLINE __m128i load_16(const void *at)
{
    return _mm_loadu_si128(at);
}

/* Low and high halves of four pieces of 16 bytes. */
struct halves {
    __m256i low, high;
};

ATTR_TARGET("avx2")
static inline struct halves four_halves(const void *a, const void *b, const void *c, const void *d)
{
    __m256i ac = _mm256_inserti128_si256(_mm256_castsi128_si256(load_16(a)), load_16(c), 1);
    __m256i bd = _mm256_inserti128_si256(_mm256_castsi128_si256(load_16(b)), load_16(d), 1);
    return (struct halves){_mm256_unpacklo_epi64(ac, bd), _mm256_unpackhi_epi64(ac, bd)};
}

/* Returns how many rows it did: all but three at most. */
ATTR_TARGET("avx2")
static int32_t find_first_fours(const struct upsert_piece *piece)
{
    static_assert(sizeof(struct table_ref) == 16 && offsetof(struct table_ref, mask) == 8,
                  "slots, then mask");
    const struct state_space *space = piece->space;
    const struct state_rows rows = piece->rows;
    const struct table_ref *refs = space->refs;
    void **payload = piece->payload;
    const __m256i lo = _mm256_set1_epi64x(space->state->group_lo);
    const __m256i last = _mm256_set1_epi64x(space->state->group_hi - space->state->group_lo - 1);
    const __m256i one_tag = _mm256_set1_epi64x(table_tag(0, rows.at));
    const __m256i even = _mm256_set1_epi64x(UINT32_MAX & ~1u);
    const __m256i stride = _mm256_set1_epi64x(space->stride_bytes);
    int32_t i = 0;
    for (; i + 4 <= rows.count; i += 4) {
        const int32_t *sel = rows.sel + i;
        __m256i hash = _mm256_setr_epi64x((int64_t)rows.hash[sel[0]], (int64_t)rows.hash[sel[1]],
                                          (int64_t)rows.hash[sel[2]], (int64_t)rows.hash[sel[3]]);
        __m256i g = _mm256_sub_epi64(_mm256_srli_epi64(hash, 64 - 12), lo);
        __m256i out = _mm256_or_si256(_mm256_cmpgt_epi64(g, last), g); // the sign of either
        CHECK(_mm256_movemask_pd(_mm256_castsi256_pd(out)) == 0);
        struct halves ref =
            four_halves(&refs[_mm256_extract_epi64(g, 0)], &refs[_mm256_extract_epi64(g, 1)],
                        &refs[_mm256_extract_epi64(g, 2)], &refs[_mm256_extract_epi64(g, 3)]);
        __m256i tag = _mm256_xor_si256(hash, one_tag);
        __m256i place = _mm256_and_si256(_mm256_and_si256(tag, ref.high), even);
        __m256i slot = _mm256_add_epi64(ref.low, _mm256_mul_epu32(place, stride));
        _mm256_storeu_si256((void *)&payload[i], slot);
        for (int k = 0; k < 4; k++) {
            PREFETCH(payload[i + k]);
        }
    }
    return i;
}

/* Which of four are listed, first ones first: `i` and what stands here at the four bits that tell. */
static const int32_t LISTED[16][4] = {
    {0, 0, 0, 0}, {0, 0, 0, 0}, {1, 0, 0, 0}, {0, 1, 0, 0}, {2, 0, 0, 0}, {0, 2, 0, 0},
    {1, 2, 0, 0}, {0, 1, 2, 0}, {3, 0, 0, 0}, {0, 3, 0, 0}, {1, 3, 0, 0}, {0, 1, 3, 0},
    {2, 3, 0, 0}, {0, 2, 3, 0}, {1, 2, 3, 0}, {0, 1, 2, 3},
};

/* As upsert_near, of the first `count` rows, a multiple of four; `far` has room for three more than are listed. */
ATTR_TARGET("avx2,popcnt")
static int32_t upsert_near_fours(const struct upsert_piece *piece, int32_t count, int32_t *far)
{
    const struct state_space *space = piece->space;
    const struct state_rows rows = piece->rows;
    char **payload = (char **)(void *)piece->payload;
    ptrdiff_t key_offset = space->shape.key_offset;
    const __m256i stride = _mm256_set1_epi64x(space->stride_bytes);
    const __m256i at = _mm256_set1_epi64x(rows.at);
    const __m256i want = _mm256_set1_epi64x((int64_t)probe_want(0, 8));
    const __m256i care = _mm256_set1_epi64x((int64_t)probe_want(0, UINT16_MAX));
    const __m256i head_bytes = _mm256_set1_epi64x(sizeof(struct slot));
    int32_t far_count = 0;
    for (int32_t i = 0; i < count; i += 4) {
        const int32_t *sel = rows.sel + i;
        __m256i key = _mm256_setr_epi64x(
            load_signed(rows.key[sel[0]].ptr), load_signed(rows.key[sel[1]].ptr),
            load_signed(rows.key[sel[2]].ptr), load_signed(rows.key[sel[3]].ptr));
        __m256i slot = _mm256_loadu_si256((const void *)&payload[i]);
        __m256i found = _mm256_setr_epi64x(
            load_signed(payload[i] + key_offset), load_signed(payload[i + 1] + key_offset),
            load_signed(payload[i + 2] + key_offset), load_signed(payload[i + 3] + key_offset));
        slot = _mm256_add_epi64(slot, _mm256_andnot_si256(_mm256_cmpeq_epi64(found, key), stride));
        _mm256_storeu_si256((void *)&payload[i], slot);
        const char *a = payload[i], *b = payload[i + 1], *c = payload[i + 2], *d = payload[i + 3];
        _mm256_storeu_si256((void *)&payload[i], _mm256_add_epi64(slot, head_bytes));
        found = _mm256_setr_epi64x(load_signed(a + key_offset), load_signed(b + key_offset),
                                   load_signed(c + key_offset), load_signed(d + key_offset));
        struct halves head = four_halves(a, b, c, d); // tag, length and flags; time
        __m256i differs = _mm256_and_si256(_mm256_xor_si256(head.low, want), care);
        differs = _mm256_or_si256(differs, _mm256_xor_si256(head.high, at));
        differs = _mm256_or_si256(differs, _mm256_xor_si256(found, key));
        __m256i same = _mm256_cmpeq_epi64(differs, _mm256_setzero_si256());
        int others = _mm256_movemask_pd(_mm256_castsi256_pd(same)) ^ 15;
        _mm_storeu_si128((void *)&far[far_count],
                         _mm_add_epi32(_mm_set1_epi32(i), load_16(LISTED[others])));
        far_count += __builtin_popcount((unsigned)others);
    }
    return far_count;
}

static ATTR_ALWAYS_INLINE void upsert_as(const struct upsert_piece *piece, struct upsert_form form)
{
    // Written before it is read: filling it with zeros first would cost as much as a row.
    ATTR_UNINITIALIZED int32_t far[PREFETCH_ROWS + 4];
    int32_t fours = 0;
    int32_t far_count = 0;
    if (form.alike && form.one_time && form.integers && piece->wide) {
        fours = find_first_fours(piece);
    }
    find_first(piece, form, fours);
    if (fours > 0) {
        far_count = upsert_near_fours(piece, fours, far);
    }
    far_count += upsert_near(piece, form, fours, far + far_count);
    if (far_count > 0) {
        int32_t missing = find_far(piece, far, far_count);
        add_missing(piece, far, missing);
    }
}

static void upsert_piece(const struct upsert_piece *piece)
{
    bool alike = piece->space->stride_bytes != 0;
    bool one_time = piece->rows.time == NULL;
    if (alike && piece->rows.key_bytes == 8) {
        if (one_time) {
            upsert_as(piece, (struct upsert_form){true, true, true});
        } else {
            upsert_as(piece, (struct upsert_form){true, false, true});
        }
    } else if (alike) {
        if (one_time) {
            upsert_as(piece, (struct upsert_form){true, true, false});
        } else {
            upsert_as(piece, (struct upsert_form){true, false, false});
        }
    } else if (one_time) {
        upsert_as(piece, (struct upsert_form){false, true, false});
    } else {
        upsert_as(piece, (struct upsert_form){false, false, false});
    }
}

/* Slots have moved while a batch was being put in: those of their groups are looked up again. */
static void find_again(const struct state_space *space, const struct state_rows *rows,
                       const struct moved_groups *moved, void **ret_payload)
{
    for (int32_t i = 0; i < rows->count; i++) {
        int32_t row = rows->sel[i];
        uint32_t g = key_group_of(rows->hash[row]) - space->state->group_lo;
        if (LIKELY((moved->bits[g / 64] >> g % 64 & 1) == 0)) {
            continue;
        }
        int64_t time = rows->time != NULL ? rows->time[row] : rows->at;
        struct slot *slot = ref_find(&space->shape, &space->refs[g],
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
    bool wide = __builtin_cpu_supports("avx2") != 0;
    ATTR_UNINITIALIZED struct moved_groups moved;
    moved.any = false;
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
                                     .created = ret_created != NULL ? ret_created + first : NULL,
                                     .moved = &moved,
                                     .wide = wide};
        piece.rows.sel += first;
        piece.rows.count = left < PREFETCH_ROWS ? left : PREFETCH_ROWS;
        upsert_piece(&piece);
    }
    if (UNLIKELY(moved.any)) {
        find_again(space, rows, &moved, ret_payload);
    }
    if (space->state->tracking) {
        mark_dirty(space, rows, ret_payload);
    }
}
