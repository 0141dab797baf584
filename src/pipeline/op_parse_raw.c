// SPDX-License-Identifier: Apache-2.0
/* Fields at fixed offsets of a binary value. */
#include <math.h>

#include "pipeline/op_parse.h"

/* `bytes` (1..8) bytes as an unsigned number. */
static uint64_t load(const unsigned char *p, int32_t bytes, bool big_endian)
{
    uint64_t value = 0;
    for (int32_t i = 0; i < bytes; i++) {
        value = value << 8 | p[big_endian ? i : bytes - 1 - i];
    }
    return value;
}

static int64_t sign_extend(uint64_t value, int32_t bytes)
{
    int32_t shift = 64 - 8 * bytes;
    return (int64_t)(value << shift) >> shift;
}

static bool read_number(const struct parse_field *field, uint64_t bits, struct column *column,
                        int32_t row)
{
    switch (field->raw_type) {
    case RAW_I8:
    case RAW_I16:
    case RAW_I32:
    case RAW_I64:
    case RAW_TIME:
        COLUMN_I64(column)[row] = sign_extend(bits, field->raw_bytes);
        return true;
    case RAW_U8:
    case RAW_U16:
    case RAW_U32:
    case RAW_U64:
        COLUMN_I64(column)[row] = (int64_t)bits;
        return bits <= INT64_MAX;
    case RAW_F32: {
        uint32_t half = (uint32_t)bits;
        float value;
        memcpy(&value, &half, sizeof(value));
        COLUMN_F64(column)[row] = (double)value;
        return isfinite(value);
    }
    case RAW_F64: {
        double value;
        memcpy(&value, &bits, sizeof(value));
        COLUMN_F64(column)[row] = value;
        return isfinite(value);
    }
    case RAW_BOOL:
        COLUMN_BOOL(column)[row] = (uint8_t)bits;
        return bits <= 1;
    case RAW_STR:
    case RAW_TYPE_COUNT:
        break;
    }
    return false;
}

/* Up to the first NUL: fixed places are filled up with them. */
static bool read_text(const char *p, int32_t bytes, struct column *column, int32_t row)
{
    const char *end = memchr(p, 0, (size_t)bytes);
    struct str text = {p, end != NULL ? end - p : bytes};
    COLUMN_STR(column)[row] = text;
    return utf8_valid(text);
}

const char *parse_raw_row(const struct parse_plan *plan, uint64_t used, struct str value,
                          struct column *columns, int32_t row, struct arena *arena)
{
    IGNORE_RESULT(arena); /* nothing is copied */
    if (value.ptr == NULL) {
        return "no value";
    }
    for (int32_t f = 0; f < plan->field_count; f++) {
        const struct parse_field *field = &plan->fields[f];
        bool is_used = (used >> f & 1) != 0;
        if ((is_used || plan->strict) && value.len < field->raw_offset + field->raw_bytes) {
            return "raw: the value is too short";
        }
        if (!is_used) {
            continue;
        }
        const char *p = value.ptr + field->raw_offset;
        bool good = field->raw_type == RAW_STR
                        ? read_text(p, field->raw_bytes, &columns[f], row)
                        : read_number(field,
                                      load((const unsigned char *)p, field->raw_bytes,
                                           field->raw_big_endian),
                                      &columns[f], row);
        if (!good) {
            return field->reason;
        }
        columns[f].null[row] = 0;
    }
    return NULL;
}
