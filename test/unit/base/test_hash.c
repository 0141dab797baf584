// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"

#include <string.h>

#include "base/rng.h"
#include "test.h"

TEST(murmur2_agrees_with_java_clients)
{
    static const struct {
        const char *key;
        uint32_t hash;
        uint32_t of_six;
    } vectors[] = {
        {"k", 0xa291e5e0U, 2},           {"user-1", 0x53b136ccU, 2}, {"user-2", 0xeca12be0U, 2},
        {"customer:42", 0xd7ceb2d1U, 5}, {"kafka", 0xd067cf64U, 4},  {"", 0x106e08d9U, 3},
    };
    for (int i = 0; i < COUNT_OF(vectors); i++) {
        uint32_t hash = murmur2_java(vectors[i].key, (ptrdiff_t)strlen(vectors[i].key));
        EXPECT_INT(hash, vectors[i].hash & 0x7fffffffU);
        EXPECT_INT(hash % 6, vectors[i].of_six);
    }
}

TEST(crc32c_has_its_check_value_and_continues)
{
    const char *text = "123456789";
    EXPECT_INT(crc32c(0, text, 9), 0xe3069283U);
    EXPECT_INT(crc32c(0, text, 0), 0);
    for (int cut = 0; cut <= 9; cut++) {
        EXPECT_INT(crc32c(crc32c(0, text, cut), text + cut, 9 - cut), 0xe3069283U);
    }
    unsigned char zeros[32] = {0};
    EXPECT_INT(crc32c(0, zeros, 32), 0x8a9136aaU); /* RFC 3720, B.4 */
}

/* The polynomial division itself, a bit at a time. */
static uint32_t crc32c_slow(const unsigned char *bytes, ptrdiff_t len)
{
    uint32_t crc = 0xffffffffU;
    for (ptrdiff_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0);
        }
    }
    return ~crc;
}

TEST(crc32c_equals_the_division_for_all_lengths_and_alignments)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    unsigned char bytes[700];
    for (int i = 0; i < COUNT_OF(bytes); i++) {
        bytes[i] = (unsigned char)rng_u64(&rng);
    }
    for (ptrdiff_t len = 0; len < 640; len++) {
        ptrdiff_t at = len % 16;
        EXPECT_INT(crc32c(0, bytes + at, len), crc32c_slow(bytes + at, len));
    }
}

TEST(hash64_is_xxh3_and_its_parts_share_no_bit)
{
    /* Reference values of XXH3_64bits with seed 0. */
    EXPECT(hash64("", 0) == 0x2d06800538d394c2ULL);
    EXPECT(hash64(NULL, 0) == hash64("", 0));
    EXPECT(hash64("a", 1) == 0xe6c632b61e964e1fULL);
    EXPECT(hash64("abc", 3) == 0x78af5f94892f3950ULL);
    uint64_t hash = 0xabc12345deadbeefULL;
    EXPECT_INT(key_group_of(hash), 0xabc);
    EXPECT_INT(sample_bucket_of(hash), 0x12345);
}

/* Lengths in runs, so that keys of 8 bytes stand alone, in fours and between others. */
TEST(many_texts_hash_as_one_by_one)
{
    enum { TEXTS = 64, TEXT_BYTES_MAX = 24 };
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int round = 0; round < 500; round++) {
        char bytes[TEXTS][TEXT_BYTES_MAX];
        struct str texts[TEXTS];
        uint64_t hash[TEXTS];
        int32_t count = (int32_t)rng_below(&rng, TEXTS + 1);
        ptrdiff_t len = 8;
        for (int32_t i = 0; i < count; i++) {
            if (rng_below(&rng, 6) == 0) {
                len = rng_below(&rng, 2) == 0 ? 8 : (ptrdiff_t)rng_below(&rng, TEXT_BYTES_MAX + 1);
            }
            if (round % 3 == 0) { // four such go side by side
                len = 4 + (ptrdiff_t)rng_below(&rng, 5);
            }
            for (ptrdiff_t k = 0; k < len; k++) {
                bytes[i][k] = (char)rng_u64(&rng);
            }
            texts[i] = (struct str){.ptr = len > 0 ? bytes[i] : NULL, .len = len};
        }
        hash64_many(texts, count, hash);
        for (int32_t i = 0; i < count; i++) {
            EXPECT(hash[i] == hash64(texts[i].ptr, texts[i].len));
        }
    }
}
