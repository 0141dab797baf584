// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_DEDUPE_H
#define CONTROL_DEDUPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* What ingest remembers of calls that may be sent twice. Pure: a table in memory; its owner writes each change into the
 * changelog in the same commit as the records, and fills the table from there at start.
 *
 * Keys: "p/<producer id>/<stream>" and "k/<stream>/<idempotency key>". Entries are kept in the order of their last
 * change; the oldest go when they expire, or when the table is full. */

enum { DEDUPE_KEY_MAX = 512, DEDUPE_ENTRIES_MAX = 200000, DEDUPE_VALUE_BYTES = 59 };

struct dedupe_entry {
    int16_t epoch;         /* producers */
    int64_t next;          /* producers: sequence that must come next */
    uint64_t body_hash;    /* idempotency keys: of the body */
    int64_t changed_ms;    /* wall time */
    int64_t records;       /* the answer to the last call: how many were stored, */
    int64_t rejected;      /* how many refused, */
    int64_t shard, offset; /* where the first one is; FIELD_I64_UNKNOWN: several shards */
    bool pending;          /* not yet committed */
};

struct dedupe;

struct dedupe *dedupe_new(int32_t entries_max);
void dedupe_free(struct dedupe *dedupe);

/* The entry of `key`; NULL if there is none. Valid until the next call that changes the table. */
struct dedupe_entry *dedupe_find(struct dedupe *dedupe, struct str key);

/* Sets an entry, the youngest now. */
void dedupe_put(struct dedupe *dedupe, struct str key, const struct dedupe_entry *entry);
void dedupe_remove(struct dedupe *dedupe, struct str key);

/* Removes what was last changed before `before_ms`, at most `max` entries. */
void dedupe_expire(struct dedupe *dedupe, int64_t before_ms, int32_t max);
int32_t dedupe_count(const struct dedupe *dedupe);

/* Walks all entries, oldest first: index 0 on; false at the end. Walk without changing the table. */
struct dedupe_cursor {
    int32_t at;
    bool begun;
};
bool dedupe_next(const struct dedupe *dedupe, struct dedupe_cursor *cursor, struct str *ret_key,
                 struct dedupe_entry *ret_entry);

/* Encoding: u8 format (1), i16 epoch, i64 next, u64 body hash, i64 changed, i64 records, i64 rejected, i64 shard,
 * i64 offset, all big endian: DEDUPE_VALUE_BYTES. CORRUPT if it is none. */
void dedupe_encode(const struct dedupe_entry *entry, char ret_value[DEDUPE_VALUE_BYTES]);
ATTR_NODISCARD enum err dedupe_decode(struct str value, struct dedupe_entry *ret_entry);

/* --- judging a call against what is remembered --- */

enum dedupe_verdict {
    DEDUPE_NEW,       /* carry it out */
    DEDUPE_DONE,      /* stored before: answer as then */
    DEDUPE_PENDING,   /* an earlier try is being carried out */
    DEDUPE_GAP,       /* sequence is not the next one */
    DEDUPE_STALE,     /* older epoch of the producer */
    DEDUPE_OTHER_BODY /* the key was used for another body */
};

/* Producers: a call with `count` records from `sequence` on. */
enum dedupe_verdict dedupe_judge_producer(const struct dedupe_entry *entry, int64_t epoch,
                                          int64_t sequence, int64_t count);
/* Idempotency keys. */
enum dedupe_verdict dedupe_judge_key(const struct dedupe_entry *entry, uint64_t body_hash,
                                     int64_t now_ms, int64_t lifetime_ms);

#endif
