// SPDX-License-Identifier: Apache-2.0
// The n largest values of a window with some fields of their records.
//
// Payload: i64 entries, i64 the smallest of them once there are n. Section: entries in order of the result (value
// descending, then fields ascending), each: u32 its bytes (a multiple of 8), u32 0, i64 sortable value, then the fields:
// u8 null, and if not: 8 bytes big endian in order of size, or u32 length big endian and the bytes; zeros up to 8.

#include <string.h>

#include "base/check.h"
#include "pipeline/aggregate.h"

struct top_head {
    int64_t entries;
    int64_t worst;
};

struct top_entry {
    uint32_t bytes;
    uint32_t zero;
    int64_t value;
};

static struct top_head *top_head_of(const struct aggregate *item, const struct cell *cell)
{
    return (struct top_head *)(void *)(cell->payload + item->offset);
}

static struct top_entry entry_at(const char *at)
{
    struct top_entry entry;
    memcpy(&entry, at, sizeof entry);
    return entry;
}

/* < 0: `a` comes first in the result. */
static int entry_compare(const char *a, const char *b)
{
    struct top_entry x = entry_at(a);
    struct top_entry y = entry_at(b);
    if (x.value != y.value) {
        return x.value > y.value ? -1 : 1;
    }
    ptrdiff_t head = (ptrdiff_t)sizeof x;
    return str_compare((struct str){.ptr = a + head, .len = (ptrdiff_t)x.bytes - head},
                       (struct str){.ptr = b + head, .len = (ptrdiff_t)y.bytes - head});
}

static void put_be64(char *out, uint64_t value)
{
    value = __builtin_bswap64(value);
    memcpy(out, &value, sizeof value);
}

static ptrdiff_t field_bytes(const struct column *column, int32_t row)
{
    if (column_is_null(column, row)) {
        return 1;
    }
    return column->type == VALUE_STR ? 1 + 4 + COLUMN_STR(column)[row].len : 1 + 8;
}

static char *field_encode(char *out, const struct column *column, int32_t row)
{
    if (column_is_null(column, row)) {
        *out = 1;
        return out + 1;
    }
    *out++ = 0;
    const uint64_t sign = UINT64_C(1) << 63;
    switch (column->type) {
    case VALUE_STR: {
        struct str text = COLUMN_STR(column)[row];
        uint32_t len = __builtin_bswap32((uint32_t)text.len);
        memcpy(out, &len, sizeof len);
        if (text.len != 0) {
            memcpy(out + sizeof len, text.ptr, (size_t)text.len);
        }
        return out + sizeof len + text.len;
    }
    case VALUE_F64:
        put_be64(out, (uint64_t)f64_sortable(COLUMN_F64(column)[row]) ^ sign);
        break;
    case VALUE_BOOL:
        put_be64(out, COLUMN_BOOL(column)[row]);
        break;
    case VALUE_I64:
    case VALUE_TIME:
        put_be64(out, (uint64_t)COLUMN_I64(column)[row] ^ sign);
        break;
    case VALUE_TYPE_COUNT:
        CHECK(false);
    }
    return out + 8;
}

/* Whether an entry of this value can be left out without looking further. */
static bool top_hopeless(const struct aggregate *item, const struct top_head *head, int64_t value)
{
    return head->entries >= item->n && value < head->worst;
}

/* After an insertion: drops what is not among the n largest any more. */
static void top_prune(const struct aggregate_list *list, const struct aggregate *item,
                      struct cell *cell)
{
    struct top_head *head = top_head_of(item, cell);
    if (head->entries < item->n) {
        return;
    }
    ptrdiff_t len;
    const char *section = cell_section(list, cell, item->section, &len);
    ptrdiff_t at = 0;
    int64_t kept = 0;
    while (at < len) {
        struct top_entry entry = entry_at(section + at);
        if (kept >= item->n && (!item->ties_all || entry.value < head->worst)) {
            break;
        }
        kept++;
        if (kept == item->n) {
            head->worst = entry.value;
        }
        at += (ptrdiff_t)entry.bytes;
    }
    if (at < len) {
        cell_section_resize(list, cell, item->section, at);
    }
    head->entries = kept;
}

/* Makes room for `bytes` before the entry at `at`. */
static char *top_insert_room(const struct aggregate_list *list, const struct aggregate *item,
                             struct cell *cell, ptrdiff_t at, ptrdiff_t bytes)
{
    ptrdiff_t len;
    cell_section(list, cell, item->section, &len);
    char *section = cell_section_resize(list, cell, item->section, len + bytes);
    memmove(section + at + bytes, section + at, (size_t)(len - at));
    top_head_of(item, cell)->entries++;
    return section + at;
}

/* Where `entry` (encoded) belongs. */
static ptrdiff_t top_place(const struct aggregate_list *list, const struct aggregate *item,
                           const struct cell *cell, const char *entry)
{
    ptrdiff_t len;
    const char *section = cell_section(list, cell, item->section, &len);
    ptrdiff_t at = 0;
    while (at < len && entry_compare(section + at, entry) <= 0) {
        at += (ptrdiff_t)entry_at(section + at).bytes;
    }
    return at;
}

static void top_put(const struct aggregate_list *list, const struct aggregate *item,
                    struct cell *cell, const char *entry)
{
    struct top_entry head = entry_at(entry);
    if (top_hopeless(item, top_head_of(item, cell), head.value)) {
        return;
    }
    ptrdiff_t at = top_place(list, item, cell, entry);
    char *room = top_insert_room(list, item, cell, at, (ptrdiff_t)head.bytes);
    memcpy(room, entry, head.bytes);
    top_prune(list, item, cell);
}

void top_add(const struct aggregate_list *list, const struct aggregate *item,
             const struct aggregate_input *input, int32_t row, int64_t sortable, struct cell *cell)
{
    if (top_hopeless(item, top_head_of(item, cell), sortable)) {
        return;
    }
    ptrdiff_t bytes = (ptrdiff_t)sizeof(struct top_entry);
    for (int32_t i = 0; i < item->field_count; i++) {
        bytes += field_bytes(&input->fields[i], row);
    }
    bytes = (bytes + 7) & ~(ptrdiff_t)7;
    struct arena_mark mark = arena_mark(cell->arena);
    char *entry = arena_new(cell->arena, bytes, 1);
    struct top_entry head = {.bytes = (uint32_t)bytes, .value = sortable};
    memcpy(entry, &head, sizeof head);
    char *out = entry + sizeof head;
    for (int32_t i = 0; i < item->field_count; i++) {
        out = field_encode(out, &input->fields[i], row);
    }
    top_put(list, item, cell, entry);
    if (cell->space != NULL) {
        arena_rewind(cell->arena, mark); // a scratch cell's tail comes from the same arena
    }
}

int32_t top_idle(const struct aggregate *item, const struct column *of, const int32_t *sel,
                 int32_t count, const struct cell *cell)
{
    const struct top_head *head = top_head_of(item, cell);
    if (of->type == VALUE_F64 || head->entries < item->n) {
        return 0;
    }
    const int64_t *values = COLUMN_I64(of);
    int32_t i = 0;
    while (i < count && (column_is_null(of, sel[i]) || values[sel[i]] < head->worst)) {
        i++;
    }
    return i;
}

void top_merge(const struct aggregate_list *list, const struct aggregate *item, struct cell *into,
               const struct cell *from)
{
    ptrdiff_t len;
    const char *section = cell_section(list, from, item->section, &len);
    for (ptrdiff_t at = 0; at < len; at += (ptrdiff_t)entry_at(section + at).bytes) {
        top_put(list, item, into, section + at);
    }
}

int32_t top_count(const struct aggregate *item, const struct cell *cell)
{
    return (int32_t)top_head_of(item, cell)->entries;
}

static const char *field_decode(const char *at, struct column *column, int32_t row,
                                struct arena *arena)
{
    column->null[row] = (uint8_t)*at;
    if (*at++ != 0) {
        return at;
    }
    const uint64_t sign = UINT64_C(1) << 63;
    if (column->type == VALUE_STR) {
        uint32_t len;
        memcpy(&len, at, sizeof len);
        len = __builtin_bswap32(len);
        at += sizeof len;
        COLUMN_STR(column)[row] = (struct str){.ptr = arena_dup(arena, at, len), .len = len};
        return at + len;
    }
    uint64_t bits;
    memcpy(&bits, at, sizeof bits);
    bits = __builtin_bswap64(bits);
    switch (column->type) {
    case VALUE_F64:
        COLUMN_F64(column)[row] = f64_unsortable((int64_t)(bits ^ sign));
        break;
    case VALUE_BOOL:
        COLUMN_BOOL(column)[row] = (uint8_t)bits;
        break;
    case VALUE_I64:
    case VALUE_TIME:
        COLUMN_I64(column)[row] = (int64_t)(bits ^ sign);
        break;
    case VALUE_STR:
    case VALUE_TYPE_COUNT:
        CHECK(false);
    }
    return at + 8;
}

void top_emit(const struct aggregate_list *list, const struct aggregate *item,
              const struct cell *cell, int32_t first, int32_t count, struct batch *batch,
              int32_t at)
{
    ptrdiff_t len;
    const char *section = cell_section(list, cell, item->section, &len);
    struct column *columns = &batch->columns[item->out_column];
    int64_t rank = 0;
    int64_t last = 0;
    int32_t index = 0;
    for (ptrdiff_t pos = 0; pos < len && index < first + count; index++) {
        struct top_entry entry = entry_at(section + pos);
        if (index == 0 || entry.value != last) {
            rank = index + 1;
            last = entry.value;
        }
        if (index >= first) {
            int32_t row = at + index - first;
            if (item->of_type == VALUE_F64) {
                COLUMN_F64(&columns[0])[row] = f64_unsortable(entry.value);
            } else {
                COLUMN_I64(&columns[0])[row] = entry.value;
            }
            COLUMN_I64(&columns[1])[row] = item->ties_all ? rank : index + 1;
            const char *field = section + pos + sizeof entry;
            for (int32_t i = 0; i < item->field_count; i++) {
                field = field_decode(field, &columns[2 + i], row, batch->arena);
            }
        }
        pos += (ptrdiff_t)entry.bytes;
    }
}
