// SPDX-License-Identifier: Apache-2.0
#include "pipeline/row_codec.h"

#include "base/check.h"

static ptrdiff_t fixed_bytes(enum value_type type)
{
    return type == VALUE_BOOL ? 1 : 8;
}

ptrdiff_t row_bytes(const struct column *columns, int32_t count, int32_t row)
{
    ptrdiff_t bytes = 0;
    for (int32_t c = 0; c < count; c++) {
        bytes++;
        if (!column_is_null(&columns[c], row)) {
            bytes += columns[c].type == VALUE_STR
                         ? (ptrdiff_t)sizeof(uint32_t) + COLUMN_STR(&columns[c])[row].len
                         : fixed_bytes(columns[c].type);
        }
    }
    return bytes;
}

char *row_encode(char *out, const struct column *columns, int32_t count, int32_t row)
{
    for (int32_t c = 0; c < count; c++) {
        const struct column *column = &columns[c];
        bool null = column_is_null(column, row);
        *out++ = null;
        if (null) {
            continue;
        }
        if (column->type == VALUE_STR) {
            struct str text = COLUMN_STR(column)[row];
            uint32_t len = (uint32_t)text.len;
            memcpy(out, &len, sizeof len);
            out += sizeof len;
            if (text.len != 0) {
                memcpy(out, text.ptr, (size_t)text.len);
            }
            out += text.len;
        } else if (column->type == VALUE_F64) {
            double value = COLUMN_F64(column)[row] + 0.0;
            memcpy(out, &value, sizeof value);
            out += sizeof value;
        } else {
            ptrdiff_t bytes = fixed_bytes(column->type);
            memcpy(out, (const char *)column->data + row * bytes, (size_t)bytes);
            out += bytes;
        }
    }
    return out;
}

bool row_decode(struct str bytes, struct column *columns, int32_t count, int32_t row,
                struct arena *arena)
{
    const char *at = bytes.ptr;
    const char *end = bytes.ptr + bytes.len;
    for (int32_t c = 0; c < count; c++) {
        struct column *column = &columns[c];
        if (at == end) {
            return false;
        }
        column->null[row] = *at != 0;
        if (*at++ != 0) {
            continue;
        }
        if (column->type == VALUE_STR) {
            uint32_t len;
            if (end - at < (ptrdiff_t)sizeof len) {
                return false;
            }
            memcpy(&len, at, sizeof len);
            at += sizeof len;
            if (end - at < (ptrdiff_t)len) {
                return false;
            }
            COLUMN_STR(column)[row] = (struct str){.ptr = arena_dup(arena, at, len), .len = len};
            at += len;
        } else {
            ptrdiff_t size = fixed_bytes(column->type);
            if (end - at < size) {
                return false;
            }
            memcpy((char *)column->data + row * size, at, (size_t)size);
            at += size;
        }
    }
    return at == end;
}
