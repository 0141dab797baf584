// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_BARE_WALK_H
#define BENCH_BARE_WALK_H

#include <stdint.h>

#include "base/attr.h"

/* Records of an uncompressed record batch, as a hand-written loop walks them: nothing but where the value is. */
struct bare_walk {
    const uint8_t *at, *end;
};

static ATTR_ALWAYS_INLINE uint64_t bare_number(const uint8_t **at)
{
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return value;
        }
    }
}

/* The next record's value and its bytes. The records are well formed, keys and values present. */
static ATTR_ALWAYS_INLINE const char *bare_walk_next(struct bare_walk *walk, int64_t *ret_bytes)
{
    const uint8_t *at = walk->at;
    uint64_t whole = bare_number(&at) >> 1;
    walk->at = at + whole;
    at++;             // attributes
    bare_number(&at); // time
    bare_number(&at); // offset
    uint64_t key = bare_number(&at) >> 1;
    at += key;
    *ret_bytes = (int64_t)(bare_number(&at) >> 1);
    return (const char *)at;
}

#endif
