// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"

#include <isa-l/crc.h>

/* Inlined: keys are short, and the call costs as much as the hash. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/attr.h"
#include "base/check.h"

enum { MURMUR2_M = 0x5bd1e995, MURMUR2_R = 24, CRC_CHUNK_BYTES = 1 << 30 };
static const uint32_t MURMUR2_SEED = 0x9747b28c;

uint64_t hash64(const void *bytes, ptrdiff_t len)
{
    return XXH3_64bits(len > 0 ? bytes : "", (size_t)len);
}

void hash64_many(const struct str *texts, int32_t count, uint64_t *ret_hash)
{
    for (int32_t i = 0; i < count; i++) {
        ptrdiff_t len = texts[i].len;
        if (LIKELY(len == 8)) { // integers
            ret_hash[i] = XXH3_len_4to8_64b((const uint8_t *)texts[i].ptr, 8, XXH3_kSecret, 0);
        } else if (LIKELY(len > 0 &&
                          len <= 16)) { // the part of XXH3_64bits for such, without a call
            ret_hash[i] =
                XXH3_len_0to16_64b((const uint8_t *)texts[i].ptr, (size_t)len, XXH3_kSecret, 0);
        } else {
            ret_hash[i] = hash64(texts[i].ptr, len);
        }
    }
}

uint32_t murmur2_java(const void *bytes, ptrdiff_t len)
{
    CHECK(len >= 0 && len <= INT32_MAX);
    const uint8_t *p = bytes;
    uint32_t h = MURMUR2_SEED ^ (uint32_t)len;
    ptrdiff_t left = len;
    for (; left >= 4; left -= 4, p += 4) {
        uint32_t k = 0;
        memcpy(&k, p, 4); /* little endian, as the build's target is */
        k *= MURMUR2_M;
        k ^= k >> MURMUR2_R;
        k *= MURMUR2_M;
        h = (h * MURMUR2_M) ^ k;
    }
    if (left == 3) {
        h ^= (uint32_t)p[2] << 16;
    }
    if (left >= 2) {
        h ^= (uint32_t)p[1] << 8;
    }
    if (left >= 1) {
        h = (h ^ p[0]) * MURMUR2_M;
    }
    h ^= h >> 13;
    h *= MURMUR2_M;
    h ^= h >> 15;
    return h & 0x7fffffffU;
}

uint32_t crc32c(uint32_t seed, const void *bytes, ptrdiff_t len)
{
    CHECK(len >= 0);
    /* ISA-L works on the inverted register and leaves both inversions to the caller. It takes a pointer to non-const
     * and an int, changes nothing. */
    uint32_t crc = ~seed;
    uintptr_t at = (uintptr_t)bytes;
    while (len > 0) {
        int chunk = len < CRC_CHUNK_BYTES ? (int)len : CRC_CHUNK_BYTES;
        crc = crc32_iscsi((unsigned char *)at, chunk, crc);
        at += (uintptr_t)chunk;
        len -= chunk;
    }
    return ~crc;
}
