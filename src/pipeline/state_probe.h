// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_STATE_PROBE_H
#define PIPELINE_STATE_PROBE_H

#include "base/attr.h"
#include "pipeline/state_priv.h"

/* Looking entries up by the packed part of a table alone: what the lookups of one entry and of many share. */

/* Compares up to 40 bytes that lie in a slot without a call for the usual lengths. */
static ATTR_ALWAYS_INLINE bool short_equal(const char *a, const char *b, ptrdiff_t len)
{
    if (LIKELY(len >= 8)) {
        uint64_t x;
        uint64_t y;
        memcpy(&x, a, 8);
        memcpy(&y, b, 8);
        if (x != y || len == 8) {
            return x == y;
        }
        for (ptrdiff_t i = 0; i + 8 <= len; i += 8) {
            memcpy(&x, a + i, 8);
            memcpy(&y, b + i, 8);
            if (x != y) {
                return false;
            }
        }
        memcpy(&x, a + len - 8, 8);
        memcpy(&y, b + len - 8, 8);
        return x == y;
    }
    if (len >= 4) {
        uint32_t x[2];
        uint32_t y[2];
        memcpy(&x[0], a, 4);
        memcpy(&y[0], b, 4);
        memcpy(&x[1], a + len - 4, 4);
        memcpy(&y[1], b + len - 4, 4);
        return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
    }
    for (ptrdiff_t i = 0; i < len; i++) {
        if (a[i] != b[i]) {
            return false;
        }
    }
    return true;
}

/* The key of a slot in use. */
static ATTR_ALWAYS_INLINE struct str ref_key(const struct table_shape *shape,
                                             const struct table_ref *ref, const struct slot *slot)
{
    const char *ptr = (const char *)slot + shape->key_offset;
    if (slot->key_len > ref->key_room_bytes) {
        memcpy(&ptr, ptr, sizeof ptr);
    }
    return (struct str){.ptr = ptr, .len = slot->key_len};
}

static ATTR_ALWAYS_INLINE bool ref_key_is(const struct table_shape *shape,
                                          const struct table_ref *ref, const char *slot,
                                          struct str key)
{
    const char *bytes = slot + shape->key_offset;
    if (LIKELY(key.len <= (ptrdiff_t)ref->key_room_bytes)) {
        return short_equal(bytes, key.ptr, key.len);
    }
    memcpy(&bytes, bytes, sizeof bytes);
    return memcmp(bytes, key.ptr, (size_t)key.len) == 0;
}

/* What a slot's first 8 bytes are compared with: tag, key length and the used flag at once. */
static ATTR_ALWAYS_INLINE uint64_t probe_want(uint32_t tag, ptrdiff_t key_len)
{
    return tag | (uint64_t)key_len << 32 | (uint64_t)SLOT_USED << 48;
}

/* 0 if the slot is what is wanted; its other flags and what follows do not count. */
static ATTR_ALWAYS_INLINE uint64_t probe_load(const char *slot, uint64_t want)
{
    uint64_t head;
    memcpy(&head, slot, sizeof head);
    return (head ^ want) << 15;
}

/* The same, whatever its tag. */
static ATTR_ALWAYS_INLINE uint64_t probe_load_untagged(const char *slot, ptrdiff_t key_len)
{
    uint32_t head;
    memcpy(&head, slot + sizeof(uint32_t), sizeof head);
    return (head ^ (uint32_t)(probe_want(0, key_len) >> 32)) << 15;
}

/* The entry's slot; NULL if absent. Works on the packed part of the table alone. */
static ATTR_ALWAYS_INLINE struct slot *ref_find(const struct table_shape *shape,
                                                const struct table_ref *ref, uint32_t tag,
                                                struct str key, int64_t time)
{
    uint64_t want = probe_want(tag, key.len);
    for (uint32_t place = table_home(tag, ref->mask);; place = (place + 1) & ref->mask) {
        char *at = ref->slots + (size_t)place * ref->stride_bytes;
        struct slot *slot = (struct slot *)(void *)at;
        if (probe_load(at, want) == 0 && slot->time == time && ref_key_is(shape, ref, at, key)) {
            return slot;
        }
        if (UNLIKELY((slot->flags & SLOT_USED) == 0)) {
            return NULL;
        }
    }
}

#endif
