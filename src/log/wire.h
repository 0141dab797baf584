// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_WIRE_H
#define LOG_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"

/* Little-endian numbers into and out of bytes, for the engine's own formats (journal, catalog, index, checkpoints). */

static inline void wire_store_u32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(v >> (8 * i));
    }
}

static inline void wire_store_u64(uint8_t *at, uint64_t v)
{
    for (int i = 0; i < 8; i++) {
        at[i] = (uint8_t)(v >> (8 * i));
    }
}

static inline uint32_t wire_load_u32(const uint8_t *at)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        v |= (uint32_t)at[i] << (8 * i);
    }
    return v;
}

static inline uint64_t wire_load_u64(const uint8_t *at)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++) {
        v |= (uint64_t)at[i] << (8 * i);
    }
    return v;
}

/* A buffer that grows; kept over resets (len = 0). Zeroed struct = empty. */
struct wire_out {
    uint8_t *bytes;
    ptrdiff_t len, cap;
};

/* Room for `more` bytes behind len; returns where they go and counts them in. */
uint8_t *wire_grow(struct wire_out *out, ptrdiff_t more);
void wire_release(struct wire_out *out);
void wire_put_u32(struct wire_out *out, uint32_t v);
void wire_put_u64(struct wire_out *out, uint64_t v);
void wire_put_i64(struct wire_out *out, int64_t v);
/* u32 length, then the bytes. */
void wire_put_str(struct wire_out *out, struct str s);

/* Reads what wire_out wrote; a read past the end gives 0 and sets `bad`, so that one check at the end is enough. */
struct wire_in {
    const uint8_t *at, *end;
    bool bad;
};

uint32_t wire_u32(struct wire_in *in);
uint64_t wire_u64(struct wire_in *in);
int64_t wire_i64(struct wire_in *in);
/* A view into the input. */
struct str wire_str(struct wire_in *in);

#endif
