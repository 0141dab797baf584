// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* XXH3-64 (libxxhash, seed 0) of bytes; of the empty string for an absent key. */
uint64_t hash64(const void *bytes, ptrdiff_t len);

/* The same of each of many. */
void hash64_many(const struct str *texts, int32_t count, uint64_t *ret_hash);

/* A key's hash in three parts that share no bit: top 12 bits its key group, next 20 its place in samples, low 32 its
 * place in tables. */
enum { KEY_GROUP_COUNT = 4096, SAMPLE_BUCKETS = 1 << 20 };

static inline uint32_t key_group_of(uint64_t hash)
{
    return (uint32_t)(hash >> 52);
}

static inline uint32_t sample_bucket_of(uint64_t hash)
{
    return (uint32_t)(hash >> 32) & (SAMPLE_BUCKETS - 1);
}

/* murmur2 as Java's Kafka clients compute it (seed 0x9747b28c), masked to 31 bits: only for choosing a shard. */
uint32_t murmur2_java(const void *bytes, ptrdiff_t len);

/* CRC32C (Castagnoli) as Kafka and iSCSI use it; `seed` is 0, or the result of the bytes before. */
uint32_t crc32c(uint32_t seed, const void *bytes, ptrdiff_t len);

#endif
