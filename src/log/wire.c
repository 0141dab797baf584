// SPDX-License-Identifier: Apache-2.0
#include "log/wire.h"

#include "base/check.h"
#include "base/mem.h"

uint8_t *wire_grow(struct wire_out *out, ptrdiff_t more)
{
    CHECK(more >= 0 && more < PTRDIFF_MAX / 4);
    if (out->cap - out->len < more) {
        ptrdiff_t cap = out->cap < 256 ? 256 : out->cap;
        while (cap - out->len < more) {
            cap *= 2;
        }
        out->bytes = mem_resize(out->bytes, cap, 1);
        out->cap = cap;
    }
    uint8_t *at = out->bytes + out->len;
    out->len += more;
    return at;
}

void wire_release(struct wire_out *out)
{
    mem_free(out->bytes);
    *out = (struct wire_out){0};
}

void wire_put_u32(struct wire_out *out, uint32_t v)
{
    wire_store_u32(wire_grow(out, 4), v);
}

void wire_put_u64(struct wire_out *out, uint64_t v)
{
    wire_store_u64(wire_grow(out, 8), v);
}

void wire_put_i64(struct wire_out *out, int64_t v)
{
    wire_put_u64(out, (uint64_t)v);
}

void wire_put_str(struct wire_out *out, struct str s)
{
    CHECK(s.len >= 0 && s.len <= UINT32_MAX);
    wire_put_u32(out, (uint32_t)s.len);
    uint8_t *at = wire_grow(out, s.len);
    if (s.len > 0) {
        memcpy(at, s.ptr, (size_t)s.len);
    }
}

/* The next `len` bytes, or NULL. */
static const uint8_t *wire_take(struct wire_in *in, ptrdiff_t len)
{
    if (in->bad || in->end - in->at < len) {
        in->bad = true;
        return NULL;
    }
    const uint8_t *at = in->at;
    in->at += len;
    return at;
}

uint32_t wire_u32(struct wire_in *in)
{
    const uint8_t *at = wire_take(in, 4);
    return at != NULL ? wire_load_u32(at) : 0;
}

uint64_t wire_u64(struct wire_in *in)
{
    const uint8_t *at = wire_take(in, 8);
    return at != NULL ? wire_load_u64(at) : 0;
}

int64_t wire_i64(struct wire_in *in)
{
    return (int64_t)wire_u64(in);
}

struct str wire_str(struct wire_in *in)
{
    ptrdiff_t len = (ptrdiff_t)wire_u32(in);
    const uint8_t *at = wire_take(in, len);
    if (at == NULL) {
        return (struct str){0};
    }
    return (struct str){.ptr = (const char *)at, .len = len};
}
