// SPDX-License-Identifier: Apache-2.0
#include "pipeline/number.h"

int32_t i64_write(int64_t value, char out[24])
{
    char text[24];
    int32_t n = 0;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        text[n++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    int32_t len = 0;
    if (value < 0) {
        out[len++] = '-';
    }
    while (n > 0) {
        out[len++] = text[--n];
    }
    return len;
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
