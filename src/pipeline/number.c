// SPDX-License-Identifier: Apache-2.0
#include "pipeline/number.h"

#include "base/attr.h"

/* "00" to "99". */
static const char pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

/* Decimal digits of a number, 1..20: by its bits (log10(2) is 1233 / 4096), then by comparing. */
static int32_t digits_of(uint64_t value)
{
    static const uint64_t tens[] = {0,
                                    10,
                                    100,
                                    1000,
                                    10000,
                                    100000,
                                    1000000,
                                    10000000,
                                    100000000,
                                    1000000000,
                                    10000000000,
                                    100000000000,
                                    1000000000000,
                                    10000000000000,
                                    100000000000000,
                                    1000000000000000,
                                    10000000000000000,
                                    100000000000000000,
                                    1000000000000000000,
                                    10000000000000000000u};
    int32_t least = (64 - __builtin_clzll(value | 1)) * 1233 >> 12;
    return least + (value >= tens[least] ? 1 : 0);
}

int32_t i64_write(int64_t value, char out[24])
{
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    int32_t len = digits_of(rest) + (value < 0 ? 1 : 0);
    int32_t at = len; /* from the right, two digits at once */
    out[0] = '-';     /* if there is room left for it */
    while (rest >= 100) {
        at -= 2;
        memcpy(out + at, pairs + 2 * (rest % 100), 2);
        rest /= 100;
    }
    if (rest >= 10) {
        memcpy(out + at - 2, pairs + 2 * rest, 2);
    } else {
        out[at - 1] = (char)('0' + rest);
    }
    return len;
}

/* 4 to 8 digits at once: from two halves of four bytes, which overlap, beginning with zeros. False: one is none. */
static ATTR_ALWAYS_INLINE bool read_short(const char *digits, ptrdiff_t count, int64_t *ret_value)
{
    const uint64_t zeros = UINT64_C(0x3030303030303030);
    uint32_t first;
    uint32_t last;
    memcpy(&first, digits, 4);
    memcpy(&last, digits + count - 4, 4);
    int left = 8 * (8 - (int)count); // bits before the first one
    uint64_t word =
        ((uint64_t)last << 32 | (uint64_t)first << left) | (zeros & ((UINT64_C(1) << left) - 1));
    uint64_t odd = (word ^ zeros) | ((word ^ zeros) + UINT64_C(0x0606060606060606));
    if ((odd & UINT64_C(0xf0f0f0f0f0f0f0f0)) != 0) {
        return false;
    }
    word ^= zeros;
    word =
        word * 10 + (word >> 8); // pairs, then fours, then all: the upper ones count ten times each
    word = (((word & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x000f424000000064)) +
            ((word >> 16 & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x0000271000000001))) >>
           32;
    *ret_value = (int64_t)(uint32_t)word;
    return true;
}

bool i64_read(struct str text, int64_t *ret_value)
{
    enum { DIGITS_IN_RANGE = 18 }; // that many cannot be too large a number
    bool negative = text.len > 0 && text.ptr[0] == '-';
    ptrdiff_t i = negative ? 1 : 0;
    int64_t value = 0;
    if (text.len - i >= 4 && text.len - i <= 8) {
        bool good = read_short(text.ptr + i, text.len - i, &value);
        *ret_value = negative ? -value : value;
        return good;
    }
    if (LIKELY(i < text.len && text.len - i <= DIGITS_IN_RANGE)) {
        for (; i < text.len; i++) {
            uint8_t digit = (uint8_t)(text.ptr[i] - '0');
            if (digit > 9) {
                return false;
            }
            value = value * 10 + digit;
        }
        *ret_value = negative ? -value : value;
        return true;
    }
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
