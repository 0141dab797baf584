// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_DECODE_H
#define NODE_DECODE_H

#include "log/record_batch.h"
#include "node/view.h"
#include "pipeline/json.h"

/* A lane's cache of decoded batches: what one read of the log gave, decoded once, for all views near it. Bounded by
 * bytes; the least lately used goes first. One thread.
 *
 * A read is an entry, which holds what one window of rows takes (DECODE_ROWS_MAX of them, of DECODE_INFLATED_MAX compressed
 * batches) and is decoded once. Of a batch of more records a window is decoded at a time, so that one of very many very small
 * records costs no more memory than others. */

enum { DECODE_ROWS_MAX = 16384, DECODE_INFLATED_MAX = 64, DECODE_PADDING = 64 };

/* How the records of a shard are to be understood. */
struct decode_rules {
    bool internal;         /* stamps and markers count */
    struct str time_field; /* payload field with the event time; empty: the record's timestamp */
};

struct decoded;

struct decode_cache {
    int64_t limit_bytes, used_bytes;
    struct decoded *newest, *oldest; /* by last use */
    struct decoded *spare;           /* entries in no list of a shard, buffers kept */
    struct record_reader reader;     /* inflating contexts */
    struct json_reader *json;        /* made when first wanted */
    int64_t hits, misses;
};

/* The entries of one shard. */
struct decode_shard {
    struct decoded *first;
};

void decode_cache_init(struct decode_cache *cache, int64_t limit_bytes);

/* All entries must have been given back (decode_forget) or the cache's shards be gone, too. */
void decode_cache_release(struct decode_cache *cache);

/* An entry to read `read_bytes` into: `*ret_buf` has that much room and DECODE_PADDING behind. It belongs to the caller
 * until decode_put or decode_drop. */
struct decoded *decode_begin(struct decode_cache *cache, int64_t read_bytes, void **ret_buf);
void decode_drop(struct decode_cache *cache, struct decoded *entry);

/* The read is done: `bytes` of record batches, whole, checked by the log, that stand for offsets [first, next). The entry
 * is in the shard's list from now on, with as many of them as a window takes, one at least. CORRUPT if a batch's header makes
 * no sense (the entry is dropped). */
ATTR_NODISCARD enum err decode_put(struct decode_cache *cache, struct decode_shard *shard,
                                   struct decoded *entry, ptrdiff_t bytes, int64_t first_offset,
                                   int64_t next_offset, struct err_info *info);

/* How many bytes the read behind `entry` should ask for, where `usual` are asked for at first: as many batches of the size of
 * its largest as fit those and a window, two at least. A read gives whole batches: what it reads of the next one is read again. */
int64_t decode_next_read_bytes(const struct decoded *entry, int64_t usual);

/* Rows that hold `offset`, or NULL if it must be read first. They stay until the next call of decode_begin,
 * decode_rows (of any shard) or decode_keep.
 *   ret_decoded  whether this call decoded them (read cost)
 * Errors: CORRUPT. */
ATTR_NODISCARD enum err decode_rows(struct decode_cache *cache, struct decode_shard *shard,
                                    const struct decode_rules *rules, int64_t offset,
                                    const struct rows **ret_rows, struct err_info *info);

/* Takes the entry that `rows` belong to out of the cache: it stays as it is until decode_drop. For a batch that must be
 * tried again later. */
struct decoded *decode_keep(struct decode_cache *cache, struct decode_shard *shard,
                            const struct rows *rows);

/* Gives the entries back that end at or before `offset`, which nobody will want again: the next read then goes into memory
 * that is still in the processor's caches. */
void decode_passed(struct decode_cache *cache, struct decode_shard *shard, int64_t offset);

/* Gives all entries of a shard back. */
void decode_forget(struct decode_cache *cache, struct decode_shard *shard);

#endif
