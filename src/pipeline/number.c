// SPDX-License-Identifier: Apache-2.0
#include "pipeline/number.h"

/* "00" to "99". */
static const char pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

int32_t i64_write(int64_t value, char out[24])
{
    char text[24];
    int32_t at = 24; /* from the right, two digits at once */
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    while (rest >= 100) {
        at -= 2;
        memcpy(text + at, pairs + 2 * (rest % 100), 2);
        rest /= 100;
    }
    if (rest >= 10) {
        at -= 2;
        memcpy(text + at, pairs + 2 * rest, 2);
    } else {
        text[--at] = (char)('0' + rest);
    }
    if (value < 0) {
        text[--at] = '-';
    }
    memcpy(out, text + at, (size_t)(24 - at));
    return 24 - at;
}

bool i64_read(struct str text, int64_t *ret_value)
{
    bool negative = text.len > 0 && text.ptr[0] == '-';
    ptrdiff_t i = negative ? 1 : 0;
    int64_t value = 0;
    bool over = i == text.len;
    for (; i < text.len; i++) {
        char c = text.ptr[i];
        if (c < '0' || c > '9') {
            return false;
        }
        over = over || __builtin_mul_overflow(value, (int64_t)10, &value) ||
               __builtin_sub_overflow(value, (int64_t)(c - '0'), &value);
    }
    over = over || (!negative && __builtin_sub_overflow((int64_t)0, value, &value));
    *ret_value = over ? 0 : value;
    return !over;
}
