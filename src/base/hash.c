// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"

#include <immintrin.h>
#include <isa-l/crc.h>

/* Inlined: keys are short, and the call costs as much as the hash. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdbool.h>

#include "base/attr.h"
#include "base/check.h"

enum { MURMUR2_M = 0x5bd1e995, MURMUR2_R = 24, CRC_CHUNK_BYTES = 1 << 30 };
static const uint32_t MURMUR2_SEED = 0x9747b28c;

uint64_t hash64(const void *bytes, ptrdiff_t len)
{
    return XXH3_64bits(len > 0 ? bytes : "", (size_t)len);
}

static ATTR_ALWAYS_INLINE uint64_t hash_short(struct str text)
{
    if (LIKELY(text.len == 8)) { // integers
        return XXH3_len_4to8_64b((const uint8_t *)text.ptr, 8, XXH3_kSecret, 0);
    }
    if (LIKELY(text.len > 0 && text.len <= 16)) { // the part of XXH3_64bits for such, no call
        return XXH3_len_0to16_64b((const uint8_t *)text.ptr, (size_t)text.len, XXH3_kSecret, 0);
    }
    return hash64(text.ptr, text.len);
}

/* Keys of 4 to 8 bytes, four at a time: what XXH3 does with such (its XXH3_len_4to8_64b and XXH3_rrmxmx), side by side. */

ATTR_TARGET("avx2") static inline __m256i multiply_four(__m256i x, uint64_t by)
{
    const __m256i low = _mm256_set1_epi64x((int64_t)(by & UINT32_MAX));
    const __m256i high = _mm256_set1_epi64x((int64_t)(by >> 32));
    __m256i crossed = _mm256_add_epi64(_mm256_mul_epu32(x, high),
                                       _mm256_mul_epu32(_mm256_srli_epi64(x, 32), low));
    return _mm256_add_epi64(_mm256_mul_epu32(x, low), _mm256_slli_epi64(crossed, 32));
}

/* Of keys as XXH3 has them: the last four bytes, above them the first four. */
ATTR_TARGET("avx2") static inline __m256i hash_four(__m256i keys, __m256i lens)
{
    static const uint64_t RRMXMX = 0x9FB21C651E98DF25u;
    const __m256i left_24 = _mm256_setr_epi8(5, 6, 7, 0, 1, 2, 3, 4, 13, 14, 15, 8, 9, 10, 11, 12,
                                             5, 6, 7, 0, 1, 2, 3, 4, 13, 14, 15, 8, 9, 10, 11, 12);
    const __m256i flip = _mm256_set1_epi64x(
        (int64_t)(XXH_readLE64(XXH3_kSecret + 8) ^ XXH_readLE64(XXH3_kSecret + 16)));
    __m256i h = _mm256_xor_si256(keys, flip);
    __m256i left_49 = _mm256_xor_si256(_mm256_slli_epi64(h, 49), _mm256_srli_epi64(h, 64 - 49));
    h = _mm256_xor_si256(_mm256_xor_si256(h, left_49), _mm256_shuffle_epi8(h, left_24));
    h = multiply_four(h, RRMXMX);
    __m256i more = _mm256_add_epi64(_mm256_srli_epi64(h, 35), lens);
    h = multiply_four(_mm256_xor_si256(h, more), RRMXMX);
    return _mm256_xor_si256(h, _mm256_srli_epi64(h, 28));
}

static ATTR_ALWAYS_INLINE int64_t key_load(const struct str *text)
{
    int64_t key;
    memcpy(&key, text->ptr, sizeof key);
    return key;
}

/* Four keys of 8 bytes. */
ATTR_TARGET("avx2") static inline __m256i hash_integers(const struct str t[4])
{
    __m256i keys =
        _mm256_setr_epi64x(key_load(&t[0]), key_load(&t[1]), key_load(&t[2]), key_load(&t[3]));
    return hash_four(_mm256_shuffle_epi32(keys, _MM_SHUFFLE(2, 3, 0, 1)), _mm256_set1_epi64x(8));
}

static ATTR_ALWAYS_INLINE int64_t ends_load(const struct str *text)
{
    uint32_t first;
    uint32_t last;
    memcpy(&first, text->ptr, sizeof first);
    memcpy(&last, text->ptr + text->len - sizeof last, sizeof last);
    return (int64_t)((uint64_t)first << 32 | last);
}

/* Four keys of 4 to 8 bytes. */
ATTR_TARGET("avx2") static inline __m256i hash_texts(const struct str t[4])
{
    __m256i keys =
        _mm256_setr_epi64x(ends_load(&t[0]), ends_load(&t[1]), ends_load(&t[2]), ends_load(&t[3]));
    return hash_four(keys, _mm256_setr_epi64x(t[0].len, t[1].len, t[2].len, t[3].len));
}

static ATTR_ALWAYS_INLINE bool all_have_8(const struct str t[4])
{
    return ((t[0].len ^ 8) | (t[1].len ^ 8) | (t[2].len ^ 8) | (t[3].len ^ 8)) == 0;
}

/* Negative if a length is not from 4 to 8. */
static ATTR_ALWAYS_INLINE ptrdiff_t from_4_to_8(ptrdiff_t len)
{
    return (len - 4) | (8 - len);
}

static ATTR_ALWAYS_INLINE bool all_have_4_to_8(const struct str t[4])
{
    return (from_4_to_8(t[0].len) | from_4_to_8(t[1].len) | from_4_to_8(t[2].len) |
            from_4_to_8(t[3].len)) >= 0;
}

/* The first of the texts, as long as four in a row have 4 to 8 bytes. Returns how many. */
ATTR_TARGET("avx2")
static int32_t hash_fours(const struct str *texts, int32_t count, uint64_t *ret_hash)
{
    int32_t i = 0;
    for (; i + 4 <= count && all_have_8(&texts[i]); i += 4) {
        _mm256_storeu_si256((__m256i *)(void *)&ret_hash[i], hash_integers(&texts[i]));
    }
    for (; i + 4 <= count && all_have_4_to_8(&texts[i]); i += 4) {
        _mm256_storeu_si256((__m256i *)(void *)&ret_hash[i], hash_texts(&texts[i]));
    }
    return i;
}

void hash64_many(const struct str *texts, int32_t count, uint64_t *ret_hash)
{
    enum { OTHERS = 16 }; // texts hashed one by one before four are tried again
    bool wide = __builtin_cpu_supports("avx2") != 0;
    for (int32_t i = 0; i < count;) {
        i += wide ? hash_fours(texts + i, count - i, ret_hash + i) : 0;
        for (int32_t end = i + OTHERS; i < count && i < end; i++) {
            ret_hash[i] = hash_short(texts[i]);
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

/* ISA-L's loops for AVX leave the upper halves of the vector registers in use. From then on every instruction that does
 * not know of them costs some hundred cycles beside one that does, and the C library's copies do: measured 2700 cycles
 * against 135 for a copy of 24 bytes. */
ATTR_TARGET("avx") static ATTR_NOINLINE void clear_upper_halves(void)
{
    __builtin_ia32_vzeroupper();
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
    if (__builtin_cpu_supports("avx")) {
        clear_upper_halves();
    }
    return ~crc;
}
