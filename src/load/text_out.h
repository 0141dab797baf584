// SPDX-License-Identifier: Apache-2.0
#ifndef LOAD_TEXT_OUT_H
#define LOAD_TEXT_OUT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Text written from left to right into a buffer that is known to be large enough: generators make records in less time than
 * printf takes for one. */
struct text_out {
    char *at;
};

static inline void text_put(struct text_out *out, const char *text, size_t len)
{
    memcpy(out->at, text, len);
    out->at += len;
}

#define TEXT_PUT(out, literal) text_put((out), (literal), sizeof(literal) - 1)

/* In decimal, with zeros before it up to `width` digits. */
static inline void text_put_u64(struct text_out *out, uint64_t value, int width)
{
    char digits[20];
    int count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0 || count < width);
    while (count > 0) {
        *out->at++ = digits[--count];
    }
}

static inline void text_put_i64(struct text_out *out, int64_t value)
{
    if (value < 0) {
        *out->at++ = '-';
    }
    text_put_u64(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 1);
}

static inline void text_put_hex(struct text_out *out, uint64_t value, int width)
{
    for (int i = width - 1; i >= 0; i--) {
        *out->at++ = "0123456789abcdef"[(value >> (4 * i)) & 15];
    }
}

#endif
