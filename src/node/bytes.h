// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_BYTES_H
#define NODE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* Big-endian numbers in the node's own encodings. Private to node. */

static inline uint8_t *put_u8(uint8_t *at, uint8_t v)
{
    *at = v;
    return at + 1;
}

static inline uint8_t *put_u16(uint8_t *at, uint16_t v)
{
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
    return at + 2;
}

static inline uint8_t *put_u32(uint8_t *at, uint32_t v)
{
    return put_u16(put_u16(at, (uint16_t)(v >> 16)), (uint16_t)v);
}

static inline uint8_t *put_u64(uint8_t *at, uint64_t v)
{
    return put_u32(put_u32(at, (uint32_t)(v >> 32)), (uint32_t)v);
}

/* Reads from the front of `rest`; false, and 0, if it is too short. */
static inline bool take_bytes(struct str *rest, ptrdiff_t len, struct str *ret)
{
    if (len < 0 || rest->len < len) {
        *ret = (struct str){NULL, 0};
        return false;
    }
    *ret = (struct str){rest->ptr, len};
    rest->ptr += len;
    rest->len -= len;
    return true;
}

static inline bool take_uint(struct str *rest, int bytes, uint64_t *ret)
{
    struct str part;
    *ret = 0;
    if (!take_bytes(rest, bytes, &part)) {
        return false;
    }
    for (int i = 0; i < bytes; i++) {
        *ret = *ret << 8 | (uint8_t)part.ptr[i];
    }
    return true;
}

static inline bool take_u8(struct str *rest, uint8_t *ret)
{
    uint64_t v;
    bool ok = take_uint(rest, 1, &v);
    *ret = (uint8_t)v;
    return ok;
}

static inline bool take_u16(struct str *rest, uint16_t *ret)
{
    uint64_t v;
    bool ok = take_uint(rest, 2, &v);
    *ret = (uint16_t)v;
    return ok;
}

static inline bool take_u32(struct str *rest, uint32_t *ret)
{
    uint64_t v;
    bool ok = take_uint(rest, 4, &v);
    *ret = (uint32_t)v;
    return ok;
}

static inline bool take_u64(struct str *rest, uint64_t *ret)
{
    return take_uint(rest, 8, ret);
}

static inline bool take_i64(struct str *rest, int64_t *ret)
{
    uint64_t v;
    bool ok = take_uint(rest, 8, &v);
    *ret = (int64_t)v;
    return ok;
}

/* Ends of ranges of key groups in two bytes: 0 stands for 4096. */
static inline uint16_t group_end_encode(uint32_t group_hi)
{
    return (uint16_t)(group_hi & 4095);
}

static inline uint32_t group_end_decode(uint16_t v)
{
    return v == 0 ? 4096 : v;
}

#endif
