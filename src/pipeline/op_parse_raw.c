// SPDX-License-Identifier: Apache-2.0
/* Fields at fixed offsets of a binary value, a field at a time: each is one short loop over all rows. */
#include <math.h>

#include "pipeline/op_parse.h"

/* The rows that are read, and where what is wrong with them goes. */
struct raw_rows {
    const struct str *value;
    const int32_t *rows;
    int32_t count;
    int32_t row_count;    /* of the batch */
    const char **reasons; /* zeroed when the first row is bad */
    int32_t bad;
};

static ATTR_COLD void mark_bad(struct raw_rows *of, int32_t row, const char *reason)
{
    if (of->bad == 0) {
        memset(of->reasons, 0, (size_t)of->row_count * sizeof *of->reasons);
    }
    of->bad += of->reasons[row] == NULL;
    of->reasons[row] = of->reasons[row] == NULL ? reason : of->reasons[row];
}

/* The number that the lowest bytes of `word` are, as they were stored; 64 - `shift` bits of them. */
static ATTR_ALWAYS_INLINE int64_t number_of(uint64_t word, int shift, bool big_endian,
                                            bool with_sign)
{
    uint64_t top = big_endian ? __builtin_bswap64(word) : word << shift;
    return with_sign ? (int64_t)top >> shift : (int64_t)(top >> shift);
}

/* A loop for each width, so that the bytes are loaded at once. */
static ATTR_ALWAYS_INLINE void read_width(const struct parse_field *field,
                                          const struct raw_rows *of, int64_t *to, int bytes)
{
    bool with_sign = field->raw_type <= RAW_I64;
    bool big_endian = field->raw_big_endian;
    for (int32_t k = 0; k < of->count; k++) {
        int32_t row = of->rows[k];
        uint64_t word = 0;
        memcpy(&word, of->value[row].ptr + field->raw_offset, (size_t)bytes);
        to[row] = number_of(word, 64 - 8 * bytes, big_endian, with_sign);
    }
}

static void read_ints(const struct parse_field *field, const struct raw_rows *of, int64_t *to)
{
    switch (field->raw_bytes) {
    case 1:
        read_width(field, of, to, 1);
        break;
    case 2:
        read_width(field, of, to, 2);
        break;
    case 4:
        read_width(field, of, to, 4);
        break;
    default:
        read_width(field, of, to, 8);
        break;
    }
}

/* Whether the condition BAD of the bits that were read holds for any row, and then for which. */
#define REFUSE(BAD) \
    do { \
        bool any_ = false; \
        for (int32_t k = 0; k < of->count; k++) { \
            int64_t n = bits[of->rows[k]]; \
            any_ |= (BAD); \
        } \
        for (int32_t k = 0; any_ && k < of->count; k++) { \
            int64_t n = bits[of->rows[k]]; \
            if (BAD) { \
                mark_bad(of, of->rows[k], field->reason); \
            } \
        } \
    } while (0)

/* Infinite, or no number: all bits of the exponent are set. */
static bool is_special(int64_t bits)
{
    const int64_t exponent = INT64_C(0x7ff) << 52;
    return (bits & exponent) == exponent;
}

static void widen_floats(const struct raw_rows *of, const int64_t *bits, double *to)
{
    for (int32_t k = 0; k < of->count; k++) {
        uint32_t half = (uint32_t)bits[of->rows[k]];
        float value;
        memcpy(&value, &half, sizeof value);
        to[of->rows[k]] = (double)value;
    }
}

static void refuse_special(const struct parse_field *field, struct raw_rows *of,
                           const int64_t *bits)
{
    REFUSE(is_special(n));
}

static void refuse_negative(const struct parse_field *field, struct raw_rows *of,
                            const int64_t *bits)
{
    REFUSE(n < 0);
}

static void read_number(const struct parse_field *field, struct raw_rows *of, struct column *column)
{
    int64_t *bits = COLUMN_I64(column); // doubles, too, are eight bytes there
    read_ints(field, of, bits);
    if (field->raw_type == RAW_F32) {
        widen_floats(of, bits, COLUMN_F64(column));
    }
    if (field->type == VALUE_F64) {
        refuse_special(field, of, bits);
    } else if (field->raw_type == RAW_U64) {
        refuse_negative(field, of, bits);
    }
}

static void read_bools(const struct parse_field *field, struct raw_rows *of, struct column *column)
{
    uint8_t *to = COLUMN_BOOL(column);
    for (int32_t k = 0; k < of->count; k++) {
        int32_t row = of->rows[k];
        to[row] = (uint8_t)of->value[row].ptr[field->raw_offset];
        if (to[row] > 1) {
            mark_bad(of, row, field->reason);
        }
    }
}

/* Any of eight bytes is 0 or not ASCII; a borrow may say so of a byte too many, never of one too few. */
static bool eight_are_odd(uint64_t w)
{
    const uint64_t tops = UINT64_C(0x8080808080808080);
    return (((w - UINT64_C(0x0101010101010101)) | w) & tops) != 0;
}

/* Whether all bytes are ASCII and none is 0: then there is nothing to look for. */
static bool is_plain(const char *at, int32_t bytes)
{
    bool odd = bytes < 8;
    uint64_t w;
    for (int32_t i = 0; i + 8 <= bytes; i += 8) {
        memcpy(&w, at + i, sizeof w);
        odd |= eight_are_odd(w);
    }
    if (bytes >= 8) {
        memcpy(&w, at + bytes - 8, sizeof w);
        odd |= eight_are_odd(w);
    }
    return !odd;
}

/* Up to the first NUL: fixed places are filled up with them. */
static void read_texts(const struct parse_field *field, struct raw_rows *of, struct column *column)
{
    ptrdiff_t offset = field->raw_offset;
    int32_t bytes = field->raw_bytes;
    struct str *to = COLUMN_STR(column);
    for (int32_t k = 0; k < of->count; k++) {
        int32_t row = of->rows[k];
        const char *at = of->value[row].ptr + offset;
        to[row] = (struct str){at, bytes};
        if (is_plain(at, bytes)) {
            continue;
        }
        const char *end = memchr(at, 0, (size_t)bytes);
        to[row].len = end != NULL ? end - at : bytes;
        if (!utf8_valid(to[row])) {
            mark_bad(of, row, field->reason);
        }
    }
}

/* Leaves out the rows that are too short for what is read of them. */
static ATTR_COLD void drop_short(struct raw_rows *of, ptrdiff_t bytes, int32_t *rows)
{
    int32_t kept = 0;
    for (int32_t k = 0; k < of->count; k++) {
        int32_t row = of->rows[k];
        const struct str *value = &of->value[row];
        if (value->ptr == NULL || value->len < bytes) {
            mark_bad(of, row, value->ptr == NULL ? "no value" : "raw: the value is too short");
        } else {
            rows[kept++] = row;
        }
    }
    of->rows = rows;
    of->count = kept;
}

/* Whether all rows have so many bytes. What is absent has none. */
static bool all_have(const struct raw_rows *of, ptrdiff_t bytes)
{
    ptrdiff_t left = 0; // its sign: that of any row's bytes less those
    bool absent = false;
    for (int32_t k = 0; k < of->count; k++) {
        left |= of->value[of->rows[k]].len - bytes;
    }
    for (int32_t k = 0; bytes == 0 && k < of->count; k++) {
        absent |= of->value[of->rows[k]].ptr == NULL;
    }
    return left >= 0 && !absent;
}

int32_t parse_raw_rows(const struct parse_plan *plan, uint64_t used, const struct batch *batch,
                       struct column *columns, const char **reasons)
{
    struct raw_rows of = {
        .value = batch->value,
        .rows = batch->sel,
        .count = batch->sel_count,
        .row_count = batch->count,
        .reasons = reasons,
    };
    ptrdiff_t bytes = 0;
    for (int32_t f = 0; f < plan->field_count; f++) {
        const struct parse_field *field = &plan->fields[f];
        ptrdiff_t end = (ptrdiff_t)field->raw_offset + field->raw_bytes;
        bytes = ((used >> f & 1) != 0 || plan->strict) && end > bytes ? end : bytes;
    }
    if (UNLIKELY(!all_have(&of, bytes))) {
        drop_short(&of, bytes,
                   arena_new_raw(batch->arena, batch->count, (ptrdiff_t)sizeof(int32_t)));
    }
    for (int32_t f = 0; f < plan->field_count; f++) {
        const struct parse_field *field = &plan->fields[f];
        if ((used >> f & 1) == 0) {
            continue;
        }
        if (field->raw_type == RAW_STR) {
            read_texts(field, &of, &columns[f]);
        } else if (field->raw_type == RAW_BOOL) {
            read_bools(field, &of, &columns[f]);
        } else {
            read_number(field, &of, &columns[f]);
        }
    }
    return of.bad;
}
