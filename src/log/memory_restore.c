// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "log/memory_priv.h"

/* Compaction as Kafka's cleaner does it: of each key the last entry stays, with its offset. In two walks, because
 * records of an inflated batch are gone when the next one is inflated: the first notes at which offset each key stands
 * last, the second copies those. */

enum {
    COMPACT_BYTES_MIN = 4 << 20, /* a changelog is left alone below this growth */
    RUN_BYTES_MAX = 1 << 20      /* of one batch of survivors */
};

struct last_entry {
    ptrdiff_t key_at; /* in key_bytes */
    ptrdiff_t key_len;
    int64_t offset; /* where the key was seen last; -1: slot is empty */
};

struct last_table {
    struct last_entry *slots; /* power of two, linear probing */
    ptrdiff_t slot_count, used;
    uint8_t *key_bytes;
    ptrdiff_t key_len, key_cap;
};

static void table_init(struct last_table *table, ptrdiff_t slot_count)
{
    table->slot_count = slot_count;
    table->slots = MEM_NEW_ARRAY(struct last_entry, slot_count);
    for (ptrdiff_t i = 0; i < slot_count; i++) {
        table->slots[i].offset = -1;
    }
}

static struct str entry_key(const struct last_table *table, const struct last_entry *entry)
{
    return (struct str){.ptr = (const char *)table->key_bytes + entry->key_at,
                        .len = entry->key_len};
}

static struct last_entry *table_find(const struct last_table *table, struct str key)
{
    ptrdiff_t mask = table->slot_count - 1;
    ptrdiff_t at = (ptrdiff_t)(hash64(key.ptr, key.len) & (uint64_t)mask);
    for (;; at = (at + 1) & mask) {
        struct last_entry *slot = &table->slots[at];
        if (slot->offset < 0 || str_equal(entry_key(table, slot), key)) {
            return slot;
        }
    }
}

static void table_grow(struct last_table *table)
{
    struct last_entry *old = table->slots;
    ptrdiff_t old_count = table->slot_count;
    table_init(table, 2 * old_count);
    for (ptrdiff_t i = 0; i < old_count; i++) {
        if (old[i].offset >= 0) {
            *table_find(table, entry_key(table, &old[i])) = old[i];
        }
    }
    mem_free(old);
}

static void table_note(struct last_table *table, struct str key, int64_t offset)
{
    struct last_entry *slot = table_find(table, key);
    if (slot->offset >= 0) {
        slot->offset = offset;
        return;
    }
    if (table->key_len + key.len > table->key_cap) {
        table->key_cap = 2 * table->key_cap + key.len + 1024;
        table->key_bytes = mem_resize(table->key_bytes, table->key_cap, 1);
    }
    if (key.len > 0) {
        memcpy(table->key_bytes + table->key_len, key.ptr, (size_t)key.len);
    }
    *slot = (struct last_entry){.key_at = table->key_len, .key_len = key.len, .offset = offset};
    table->key_len += key.len;
    table->used++;
    if (2 * table->used > table->slot_count) {
        table_grow(table);
    }
}

/* A walk over all records of a shard below an offset. */
struct walk {
    struct record_reader *reader;
    const struct memory_shard *shard;
    int64_t at;
    ptrdiff_t batch; /* next one */
    bool inside;
};

/* OK, NOT_FOUND at the end, or what is wrong with a batch. */
static enum err walk_next(struct walk *walk, struct record *ret_record)
{
    const struct memory_shard *shard = walk->shard;
    for (;;) {
        if (walk->inside) {
            enum err err = record_reader_next(walk->reader, ret_record, NULL);
            if (err != ERR_NOT_FOUND) {
                return err;
            }
            walk->inside = false;
        }
        if (walk->batch == shard->count ||
            shard->batches[shard->first + walk->batch].last_offset >= walk->at) {
            return ERR_NOT_FOUND;
        }
        const struct memory_batch *batch = &shard->batches[shard->first + walk->batch++];
        enum err err = record_reader_begin(walk->reader, batch->bytes, batch->len, NULL);
        if (err != ERR_OK) {
            return err;
        }
        walk->inside = true;
    }
}

static void emit_batch(struct record_builder *builder, int64_t base_offset,
                       struct log_restore *into)
{
    if (builder->count == 0) {
        return;
    }
    void *bytes;
    ptrdiff_t len;
    CHECK(record_builder_finish(builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) == ERR_OK);
    record_batch_set_base_offset(bytes, base_offset);
    if (into->len + len > into->cap) {
        into->cap = 2 * into->cap + len;
        into->bytes = mem_resize(into->bytes, into->cap, 1);
    }
    CHECK(into->bytes != NULL);
    memcpy(into->bytes + into->len, bytes, (size_t)len);
    into->len += len;
    record_builder_reset(builder);
}

/* Copies the survivors. Neighbours share a batch; a gap between offsets begins a new one. */
static enum err emit_survivors(struct walk walk, const struct last_table *table,
                               bool drop_tombstones, struct log_restore *into)
{
    struct record_builder builder;
    record_builder_init(&builder, RECORD_CODEC_NONE);
    struct record record;
    int64_t run_base = 0, last_offset = -2;
    enum err err;
    while ((err = walk_next(&walk, &record)) == ERR_OK) {
        bool survives =
            record.key.ptr == NULL || table_find(table, record.key)->offset == record.offset;
        if (!survives || (drop_tombstones && record.value.ptr == NULL)) {
            continue;
        }
        if (record.offset != last_offset + 1 || builder.len > RUN_BYTES_MAX ||
            record_builder_add(&builder, &record) != ERR_OK) {
            emit_batch(&builder, run_base, into);
            run_base = record.offset;
            CHECK(record_builder_add(&builder, &record) == ERR_OK); /* it came out of a batch */
        }
        last_offset = record.offset;
    }
    emit_batch(&builder, run_base, into);
    record_builder_release(&builder);
    return err;
}

bool memory_compact(struct memory_log *m, const struct memory_shard *shard, int64_t at,
                    bool drop_tombstones, struct log_restore *into)
{
    struct last_table table = {0};
    table_init(&table, 64);
    struct walk walk = {.reader = &m->record_reader, .shard = shard, .at = at};
    struct record record;
    enum err err;
    while ((err = walk_next(&walk, &record)) == ERR_OK) {
        if (record.key.ptr != NULL) {
            table_note(&table, record.key, record.offset);
        }
    }
    if (err == ERR_NOT_FOUND) {
        walk = (struct walk){.reader = &m->record_reader, .shard = shard, .at = at};
        err = emit_survivors(walk, &table, drop_tombstones, into);
    }
    mem_free(table.slots);
    mem_free(table.key_bytes);
    return err == ERR_NOT_FOUND;
}

void memory_compact_if_due(struct memory_log *m, struct memory_shard *shard, int64_t now_ns)
{
    if (shard->size_bytes < 2 * shard->compacted_bytes + COMPACT_BYTES_MIN) {
        return;
    }
    int64_t end_offset = memory_shard_end(shard);
    struct log_restore all = {0};
    if (memory_compact(m, shard, end_offset, true, &all)) {
        memory_shard_clear(shard);
        for (ptrdiff_t at = 0; at < all.len;) {
            struct record_batch_header header;
            ptrdiff_t len = 0;
            CHECK(record_batch_parse(all.bytes + at, all.len - at, &header, &len, NULL) == ERR_OK);
            memory_shard_store(shard, header.base_offset, all.bytes + at, &header, now_ns);
            at += len;
        }
        shard->compacted_to = end_offset;
        shard->compacted_bytes = (ptrdiff_t)shard->size_bytes;
    }
    mem_free(all.bytes);
}
