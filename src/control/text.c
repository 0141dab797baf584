// SPDX-License-Identifier: Apache-2.0
#include "control/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "pipeline/json.h"
#include "pipeline/number.h"

enum { TEXT_FIRST_BYTES = 512 };

void text_init(struct text *text, struct arena *arena)
{
    *text = (struct text){.arena = arena};
}

/* Room for `more` bytes; false once the arena's limit is met. */
static bool text_reserve(struct text *text, ptrdiff_t more)
{
    if (text->cut) {
        return false;
    }
    if (text->len + more <= text->cap) {
        return true;
    }
    ptrdiff_t cap = text->cap > 0 ? text->cap * 2 : TEXT_FIRST_BYTES;
    while (cap < text->len + more) {
        cap *= 2;
    }
    char *ptr = arena_try_new(text->arena, cap, 1);
    if (ptr == NULL) {
        text->cut = true;
        return false;
    }
    if (text->len > 0) {
        memcpy(ptr, text->ptr, (size_t)text->len);
    }
    text->ptr = ptr;
    text->cap = cap;
    return true;
}

void text_add(struct text *text, struct str bytes)
{
    if (bytes.len > 0 && text_reserve(text, bytes.len)) {
        memcpy(text->ptr + text->len, bytes.ptr, (size_t)bytes.len);
        text->len += bytes.len;
    }
}

void text_printf(struct text *text, const char *fmt, ...)
{
    char small[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(small, sizeof(small), fmt, args);
    va_end(args);
    CHECK(n >= 0);
    if (n < (int)sizeof(small)) {
        text_add(text, (struct str){small, n});
    } else if (text_reserve(text, n + 1)) {
        va_start(args, fmt);
        IGNORE_RESULT(vsnprintf(text->ptr + text->len, (size_t)n + 1, fmt, args)); /* as before */
        va_end(args);
        text->len += n;
    }
}

struct str text_str(const struct text *text)
{
    return (struct str){text->ptr, text->len};
}

ptrdiff_t text_utf8_length(struct str at)
{
    if (at.len == 0) {
        return 0;
    }
    const unsigned char *b = (const unsigned char *)at.ptr;
    if (b[0] < 0x80) {
        return 1;
    }
    ptrdiff_t len = b[0] >= 0xf0 ? 4 : b[0] >= 0xe0 ? 3 : 2;
    if (b[0] < 0xc2 || b[0] > 0xf4 || at.len < len) {
        return 0;
    }
    for (ptrdiff_t i = 1; i < len; i++) {
        if ((b[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool bad = (b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xed && b[1] > 0x9f) ||
               (b[0] == 0xf0 && b[1] < 0x90) || (b[0] == 0xf4 && b[1] > 0x8f);
    return bad ? 0 : len;
}

bool text_utf8_valid(struct str text)
{
    while (text.len > 0) {
        ptrdiff_t len = text_utf8_length(text);
        if (len == 0) {
            return false;
        }
        text.ptr += len;
        text.len -= len;
    }
    return true;
}

/* The escape of a character that may not stand in a JSON string as it is; NULL if it may. */
static const char *json_escape(unsigned char c, char buf[8])
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        break;
    }
    if (c >= 0x20 && c != 0x7f) {
        return NULL;
    }
    IGNORE_RESULT(snprintf(buf, 8, "\\u%04x", c)); /* fits */
    return buf;
}

void text_json_str(struct text *text, struct str value)
{
    text_add(text, STR("\""));
    ptrdiff_t from = 0;
    ptrdiff_t at = 0;
    while (at < value.len) {
        char buf[8];
        ptrdiff_t len = text_utf8_length((struct str){value.ptr + at, value.len - at});
        const char *escape = len == 1   ? json_escape((unsigned char)value.ptr[at], buf)
                             : len == 0 ? "\xef\xbf\xbd"
                                        : NULL;
        if (escape == NULL) {
            at += len;
            continue;
        }
        text_add(text, (struct str){value.ptr + from, at - from});
        text_add(text, str_of(escape));
        at++;
        from = at;
    }
    text_add(text, (struct str){value.ptr + from, at - from});
    text_add(text, STR("\""));
}

void text_json_base64(struct text *text, struct str value)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *b = (const unsigned char *)value.ptr;
    text_add(text, STR("\""));
    for (ptrdiff_t i = 0; i < value.len; i += 3) {
        ptrdiff_t left = value.len - i;
        uint32_t bits = (uint32_t)b[i] << 16 | (left > 1 ? (uint32_t)b[i + 1] << 8 : 0) |
                        (left > 2 ? (uint32_t)b[i + 2] : 0);
        char quad[4] = {digits[bits >> 18], digits[bits >> 12 & 63],
                        left > 1 ? digits[bits >> 6 & 63] : '=',
                        left > 2 ? digits[bits & 63] : '='};
        text_add(text, (struct str){quad, 4});
    }
    text_add(text, STR("\""));
}

void text_json_i64(struct text *text, int64_t value)
{
    char buf[24];
    text_add(text, (struct str){buf, i64_write(value, buf)});
}

void text_json_f64(struct text *text, double value)
{
    if (!isfinite(value)) {
        text_add(text, STR("null"));
        return;
    }
    char buf[32];
    /* A count reads as one: 1000000, not 1e+06. */
    bool count = fabs(value) < 1e15 && !islessgreater(value, trunc(value)) && !signbit(value);
    text_add(text,
             (struct str){buf, count ? i64_write((int64_t)value, buf) : f64_write(value, buf)});
}

static void text_json_field(struct text *text, const struct field *field, const void *row)
{
    if (!field_known(field, row)) {
        text_add(text, STR("null"));
        return;
    }
    switch (field->type) {
    case FIELD_TEXT:
        text_json_str(text, field_text(field, row));
        break;
    case FIELD_I64:
        text_json_i64(text, field_i64(field, row));
        break;
    case FIELD_F64:
        text_json_f64(text, field_f64(field, row));
        break;
    case FIELD_BOOL:
        text_add(text, field_i64(field, row) != 0 ? STR("true") : STR("false"));
        break;
    }
}

void text_json_row(struct text *text, const struct entity *entity, const void *row)
{
    text_add(text, STR("{"));
    for (int i = 0; i < entity->field_count; i++) {
        text_printf(text, "%s\"%s\":", i > 0 ? "," : "", entity->fields[i].name);
        text_json_field(text, &entity->fields[i], row);
    }
    text_add(text, STR("}"));
}

void text_json_table(struct text *text, const struct entity *entity, const void *rows,
                     int32_t count)
{
    text_printf(text, "{\"entity\":\"%s\",\"fields\":[", entity->name);
    for (int i = 0; i < entity->field_count; i++) {
        text_printf(text, "%s\"%s\"", i > 0 ? "," : "", entity->fields[i].name);
    }
    text_add(text, STR("],\"rows\":["));
    for (int32_t r = 0; r < count; r++) {
        const char *row = (const char *)rows + (size_t)r * entity->row_bytes;
        text_add(text, r > 0 ? STR(",\n[") : STR("["));
        for (int i = 0; i < entity->field_count; i++) {
            text_add(text, i > 0 ? STR(",") : STR(""));
            text_json_field(text, &entity->fields[i], row);
        }
        text_add(text, STR("]"));
    }
    text_add(text, STR("]}"));
}
