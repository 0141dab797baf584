// SPDX-License-Identifier: Apache-2.0
#include "pipeline/encode_json.h"

#include <assert.h>
#include <math.h>

#include "base/check.h"
#include "pipeline/json.h"
#include "pipeline/number.h"

enum { ESCAPED_BYTES_MAX = 6 /* \u00XX */, COPY_BYTES = 16 };
static_assert((int)COPY_BYTES <= (int)JSON_PADDING, "what a copy writes too much is overwritten");

/* What stands before each value: {"name": and ,"name": , escaped once a batch. COPY_BYTES more can be read. */
struct prefix {
    char *ptr;
    ptrdiff_t len;
};

/* Length of the UTF-8 sequence at `p`, 0 if it is none (overlong, surrogate, cut). */
static int32_t utf8_sequence(const unsigned char *p, ptrdiff_t left)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    int32_t len = p[0] < 0x80    ? 1
                  : p[0] >= 0xF5 ? 0
                  : p[0] >= 0xF0 ? 4
                  : p[0] >= 0xE0 ? 3
                  : p[0] >= 0xC2 ? 2
                                 : 0;
    if (len <= 1 || len > left) {
        return len == 1 ? 1 : 0;
    }
    uint32_t point = p[0] & (0x7Fu >> len);
    for (int32_t i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
        point = point << 6 | (p[i] & 0x3Fu);
    }
    bool surrogate = point >= 0xD800 && point <= 0xDFFF;
    return point < least[len] || point > 0x10FFFF || surrogate ? 0 : len;
}

static char *put_bytes(char *out, struct str bytes)
{
    memcpy(out, bytes.ptr, (size_t)bytes.len);
    return out + bytes.len;
}

static char *put_escape(char *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char shorts[32] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    *out++ = '\\';
    if (c == '"' || c == '\\') {
        *out++ = (char)c;
        return out;
    }
    if (shorts[c] != 0) {
        *out++ = shorts[c];
        return out;
    }
    out = put_bytes(out, STR("u00"));
    *out++ = hex[c >> 4];
    *out++ = hex[c & 15];
    return out;
}

/* One byte (or sequence) that cannot just be copied. */
static char *put_special(char *out, const unsigned char *p, ptrdiff_t left, ptrdiff_t *ret_taken)
{
    *ret_taken = 1;
    if (p[0] < 0x80) {
        return put_escape(out, p[0]);
    }
    int32_t len = utf8_sequence(p, left);
    if (len == 0) {
        return put_bytes(out, STR("\xEF\xBF\xBD"));
    }
    memcpy(out, p, (size_t)len);
    *ret_taken = len;
    return out + len;
}

/* Any byte of the eight that is a control character, a quote, a backslash or not ASCII: each test leaves the top bit of
 * its byte set (a borrow may mark a byte too many, never one too few). */
static bool eight_are_plain(uint64_t w)
{
    const uint64_t ones = 0x0101010101010101ULL;
    const uint64_t tops = 0x8080808080808080ULL;
    uint64_t quote = w ^ (ones * '"');
    uint64_t slash = w ^ (ones * '\\');
    uint64_t found = (w - ones * 0x20) | (quote - ones) | (slash - ones) | w;
    return (found & tops) == 0;
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Copies whole pieces of COPY_BYTES: what that is too much is overwritten. */
static char *put_prefix(char *out, const struct prefix *prefix)
{
    for (ptrdiff_t at = 0; at < prefix->len; at += COPY_BYTES) {
        memcpy(out + at, prefix->ptr + at, COPY_BYTES);
    }
    return out + prefix->len;
}

static char *put_text(char *out, struct str text)
{
    const unsigned char *p = (const unsigned char *)text.ptr;
    ptrdiff_t left = text.len;
    *out++ = '"';
    while (left > 0) {
        uint64_t word;
        if (left >= 8 && (memcpy(&word, p, 8), eight_are_plain(word))) {
            memcpy(out, &word, 8);
            out += 8;
            p += 8;
            left -= 8;
            continue;
        }
        // The last eight: those of them that are out already stand as they are if all are plain.
        if (left < 8 && text.len >= 8 && (memcpy(&word, p + left - 8, 8), eight_are_plain(word))) {
            memcpy(out + left - 8, &word, 8);
            out += left;
            break;
        }
        ptrdiff_t taken = 1;
        if (is_plain(*p)) {
            *out++ = (char)*p;
        } else {
            out = put_special(out, p, left, &taken);
        }
        p += taken;
        left -= taken;
    }
    *out++ = '"';
    return out;
}

static char *put_value(char *out, const struct column *column, int32_t row)
{
    if (column_is_null(column, row)) {
        return put_bytes(out, STR("null"));
    }
    switch (column->type) {
    case VALUE_BOOL:
        return put_bytes(out, COLUMN_BOOL(column)[row] != 0 ? STR("true") : STR("false"));
    case VALUE_I64:
    case VALUE_TIME:
        return out + i64_write(COLUMN_I64(column)[row], out);
    case VALUE_F64:
        if (!isfinite(COLUMN_F64(column)[row])) {
            return put_bytes(out, STR("null"));
        }
        return out + f64_write(COLUMN_F64(column)[row], out);
    case VALUE_STR:
        return put_text(out, COLUMN_STR(column)[row]);
    case VALUE_TYPE_COUNT:
        break;
    }
    CHECK_MSG(false, "value type %d", (int)column->type);
    return out;
}

static void make_prefixes(const struct schema *schema, struct arena *arena, struct prefix *prefixes)
{
    for (int32_t c = 0; c < schema->count; c++) {
        struct str name = schema->names[c];
        char *text = arena_new_raw(arena, name.len * ESCAPED_BYTES_MAX + 4 + COPY_BYTES, 1);
        text[0] = c == 0 ? '{' : ',';
        char *end = put_text(text + 1, name);
        *end++ = ':';
        prefixes[c] = (struct prefix){text, end - text};
    }
}

static ptrdiff_t most_bytes(const struct batch *batch, const struct schema *schema,
                            const struct prefix *prefixes, int32_t row)
{
    ptrdiff_t bytes = 2;
    for (int32_t c = 0; c < schema->count; c++) {
        const struct column *column = &batch->columns[c];
        bytes += prefixes[c].len + 32; /* the longest scalar */
        if (column->type == VALUE_STR && !column_is_null(column, row)) {
            bytes += COLUMN_STR(column)[row].len * ESCAPED_BYTES_MAX;
        }
    }
    return bytes;
}

void encode_json_rows(const struct batch *batch, const struct schema *schema, struct arena *arena,
                      struct str *ret_value)
{
    CHECK(batch->column_count >= schema->count);
    struct prefix prefixes[BATCH_COLUMNS_MAX];
    make_prefixes(schema, arena, prefixes);
    enum { PIECE_BYTES = 64 << 10 };
    char *piece = NULL;
    char *piece_end = NULL;
    for (int32_t k = 0; k < batch->sel_count; k++) {
        int32_t row = batch->sel[k];
        ptrdiff_t most = most_bytes(batch, schema, prefixes, row) + JSON_PADDING;
        if (piece == NULL || piece_end - piece < most) {
            ptrdiff_t size = most > PIECE_BYTES ? most : PIECE_BYTES;
            piece = arena_new_raw(arena, size, 1);
            piece_end = piece + size;
        }
        char *out = piece;
        for (int32_t c = 0; c < schema->count; c++) {
            out = put_value(put_prefix(out, &prefixes[c]), &batch->columns[c], row);
        }
        if (schema->count == 0) {
            *out++ = '{';
        }
        *out++ = '}';
        ret_value[k] = (struct str){piece, out - piece};
        memset(out, 0, JSON_PADDING);
        piece = out; /* the next text is the padding of this one; the last one's is the zeros */
    }
}
