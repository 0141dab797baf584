// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "log/memory_priv.h"

enum { NS_PER_MS = 1000000 };

struct memory_shard *memory_shard_new(struct stream_id stream, uint32_t flags)
{
    struct memory_shard *shard = MEM_NEW(struct memory_shard);
    shard->stream = stream;
    shard->flags = flags;
    atomic_init(&shard->end_offset, 0);
    atomic_flag_clear(&shard->watch_busy);
    return shard;
}

static void drop_batches(struct memory_shard *shard, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        struct memory_batch *batch = &shard->batches[shard->first + i];
        shard->size_bytes -= batch->len;
        mem_free(batch->bytes);
    }
    shard->first += count;
    shard->count -= count;
}

void memory_shard_free(struct memory_shard *shard)
{
    drop_batches(shard, shard->count);
    mem_free(shard->batches);
    mem_free(shard->producers);
    mem_free(shard->floors);
    mem_free(shard->watchers);
    mem_free(shard);
}

int64_t memory_shard_end(const struct memory_shard *shard)
{
    return atomic_load_explicit(&shard->end_offset, memory_order_acquire);
}

static void set_end(struct memory_shard *shard, int64_t end_offset)
{
    atomic_store_explicit(&shard->end_offset, end_offset, memory_order_release);
}

void memory_shard_skip_offset(struct memory_shard *shard)
{
    set_end(shard, memory_shard_end(shard) + 1);
}

/* Room for one more batch: what was dropped in front is taken back before memory grows. */
static void reserve_batch(struct memory_shard *shard)
{
    if (shard->first + shard->count < shard->cap) {
        return;
    }
    if (shard->first >= shard->count && shard->first > 0) {
        memmove(shard->batches, shard->batches + shard->first,
                (size_t)shard->count * sizeof *shard->batches);
        shard->first = 0;
        return;
    }
    shard->cap = shard->cap > 0 ? 2 * shard->cap : 16;
    shard->batches = mem_resize(shard->batches, shard->cap, (ptrdiff_t)sizeof(struct memory_batch));
}

void memory_shard_store(struct memory_shard *shard, int64_t base_offset, const void *bytes,
                        const struct record_batch_header *header, int64_t now_ns)
{
    ptrdiff_t len = (ptrdiff_t)header->batch_length + RECORD_BATCH_OVERHEAD;
    reserve_batch(shard);
    struct memory_batch *batch = &shard->batches[shard->first + shard->count++];
    *batch = (struct memory_batch){
        .base_offset = base_offset,
        .last_offset = base_offset + header->last_offset_delta,
        .appended_ns = now_ns,
        .bytes = (uint8_t *)mem_dup(bytes, len),
        .len = len,
    };
    record_batch_set_base_offset(batch->bytes, base_offset);
    shard->size_bytes += len;
}

int64_t memory_shard_append(struct memory_shard *shard, const void *bytes,
                            const struct record_batch_header *header, int64_t now_ns)
{
    int64_t base_offset = memory_shard_end(shard);
    memory_shard_store(shard, base_offset, bytes, header, now_ns);
    set_end(shard, base_offset + header->last_offset_delta + 1);
    return base_offset;
}

void memory_shard_clear(struct memory_shard *shard)
{
    drop_batches(shard, shard->count);
}

/* Watchers. Held so shortly, and by so few, that spinning is all the waiting there is. */

static void watch_lock(struct memory_shard *shard)
{
    while (atomic_flag_test_and_set_explicit(&shard->watch_busy, memory_order_acquire)) {
        __builtin_ia32_pause();
    }
}

static void watch_unlock(struct memory_shard *shard)
{
    atomic_flag_clear_explicit(&shard->watch_busy, memory_order_release);
}

void memory_shard_wake(struct memory_shard *shard)
{
    watch_lock(shard);
    for (int32_t i = 0; i < shard->watcher_count; i++) {
        waker_wake(shard->watchers[i]);
    }
    watch_unlock(shard);
}

enum err memory_shard_watch(struct memory_shard *shard, struct waker *waker)
{
    watch_lock(shard);
    enum err err = ERR_LIMIT;
    if (shard->watcher_count < LOG_WATCHERS_PER_SHARD_MAX) {
        if (shard->watchers == NULL) {
            shard->watchers = MEM_NEW_ARRAY(struct waker *, LOG_WATCHERS_PER_SHARD_MAX);
        }
        shard->watchers[shard->watcher_count++] = waker;
        err = ERR_OK;
    }
    watch_unlock(shard);
    return err;
}

void memory_shard_unwatch(struct memory_shard *shard, struct waker *waker)
{
    watch_lock(shard);
    for (int32_t i = 0; i < shard->watcher_count; i++) {
        if (shard->watchers[i] == waker) {
            shard->watchers[i] = shard->watchers[--shard->watcher_count];
            break;
        }
    }
    watch_unlock(shard);
}

void memory_shard_drop_watchers(struct memory_shard *shard)
{
    watch_lock(shard);
    shard->watcher_count = 0;
    watch_unlock(shard);
}

/* Reading. */

ptrdiff_t memory_shard_find(const struct memory_shard *shard, int64_t offset)
{
    ptrdiff_t lo = 0, hi = shard->count;
    while (lo < hi) {
        ptrdiff_t mid = lo + (hi - lo) / 2;
        if (shard->batches[shard->first + mid].last_offset < offset) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

enum err memory_shard_read(const struct memory_shard *shard, struct log_op *op)
{
    struct log_read_op *read = &op->u.read;
    int64_t end_offset = memory_shard_end(shard);
    if (read->offset < shard->start_offset || read->offset > end_offset) {
        read->ret_start_offset = shard->start_offset;
        read->ret_end_offset = end_offset;
        return err_set(&op->info, ERR_OFFSET_RANGE, "offset %lld of shard %u is not in %lld..%lld",
                       (long long)read->offset, read->shard.v, (long long)shard->start_offset,
                       (long long)end_offset);
    }
    ptrdiff_t at = memory_shard_find(shard, read->offset), used = 0;
    for (; at < shard->count; at++) {
        const struct memory_batch *batch = &shard->batches[shard->first + at];
        if (batch->len > read->cap - used) {
            break;
        }
        memcpy((uint8_t *)read->buf + used, batch->bytes, (size_t)batch->len);
        used += batch->len;
    }
    if (used == 0 && at < shard->count) {
        return err_set(&op->info, ERR_LIMIT, "the batch at offset %lld needs %td bytes, given %td",
                       (long long)read->offset, shard->batches[shard->first + at].len, read->cap);
    }
    read->ret_bytes = used;
    read->ret_next_offset =
        at < shard->count ? shard->batches[shard->first + at].base_offset : end_offset;
    read->ret_end_offset = end_offset;
    read->ret_start_offset = shard->start_offset;
    return ERR_OK;
}

/* Idempotent producers. */

static int32_t sequence_add(int32_t sequence, int32_t n)
{
    return (int32_t)(((uint32_t)sequence + (uint32_t)n) & INT32_MAX);
}

static int32_t find_producer(const struct memory_shard *shard, int64_t id)
{
    int32_t lo = 0, hi = shard->producer_count;
    while (lo < hi) {
        int32_t mid = lo + (hi - lo) / 2;
        if (shard->producers[mid].id < id) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

enum err memory_shard_sequence(const struct memory_shard *shard,
                               const struct record_batch_header *header, int64_t *ret_duplicate_of,
                               struct err_info *info)
{
    int32_t first = header->base_sequence;
    int32_t last = sequence_add(first, header->last_offset_delta);
    int32_t expected = 0;
    int32_t at = find_producer(shard, header->producer_id);
    *ret_duplicate_of = -1;
    if (at < shard->producer_count && shard->producers[at].id == header->producer_id) {
        const struct memory_producer *producer = &shard->producers[at];
        for (int32_t i = 0; i < producer->count; i++) {
            if (producer->sent[i].first == first && producer->sent[i].last == last) {
                *ret_duplicate_of = producer->sent[i].base_offset;
                return ERR_OK;
            }
        }
        expected = sequence_add(producer->sent[producer->count - 1].last, 1);
    }
    if (first != expected) {
        return err_set(info, ERR_SEQUENCE, "producer %lld sends sequence %d, expected is %d",
                       (long long)header->producer_id, first, expected);
    }
    return ERR_OK;
}

void memory_shard_remember(struct memory_shard *shard, const struct record_batch_header *header,
                           int64_t base_offset)
{
    int32_t at = find_producer(shard, header->producer_id);
    if (at == shard->producer_count || shard->producers[at].id != header->producer_id) {
        if (shard->producer_count == shard->producer_cap) {
            shard->producer_cap = shard->producer_cap > 0 ? 2 * shard->producer_cap : 4;
            shard->producers = mem_resize(shard->producers, shard->producer_cap,
                                          (ptrdiff_t)sizeof(struct memory_producer));
        }
        memmove(&shard->producers[at + 1], &shard->producers[at],
                (size_t)(shard->producer_count - at) * sizeof *shard->producers);
        shard->producers[at] = (struct memory_producer){.id = header->producer_id};
        shard->producer_count++;
    }
    struct memory_producer *producer = &shard->producers[at];
    if (producer->count == MEMORY_PRODUCER_BATCHES) {
        memmove(&producer->sent[0], &producer->sent[1],
                (MEMORY_PRODUCER_BATCHES - 1) * sizeof producer->sent[0]);
        producer->count--;
    }
    producer->sent[producer->count++] = (struct memory_sent){
        .first = header->base_sequence,
        .last = sequence_add(header->base_sequence, header->last_offset_delta),
        .base_offset = base_offset,
    };
}

/* Floors, trimming, retention. */

void memory_shard_set_floor(struct memory_shard *shard, uint32_t reader, int64_t offset)
{
    int32_t at = 0;
    while (at < shard->floor_count && shard->floors[at].reader != reader) {
        at++;
    }
    if (offset == INT64_MAX) {
        if (at < shard->floor_count) {
            shard->floors[at] = shard->floors[--shard->floor_count];
        }
        return;
    }
    if (at < shard->floor_count) {
        int64_t present = shard->floors[at].offset;
        shard->floors[at].offset = offset > present ? offset : present;
        return;
    }
    if (shard->floor_count == shard->floor_cap) {
        shard->floor_cap = shard->floor_cap > 0 ? 2 * shard->floor_cap : 4;
        shard->floors =
            mem_resize(shard->floors, shard->floor_cap, (ptrdiff_t)sizeof(struct memory_floor));
    }
    shard->floors[shard->floor_count++] = (struct memory_floor){reader, offset};
}

int64_t memory_shard_floor(const struct memory_shard *shard)
{
    int64_t lowest = INT64_MAX;
    for (int32_t i = 0; i < shard->floor_count; i++) {
        lowest = shard->floors[i].offset < lowest ? shard->floors[i].offset : lowest;
    }
    return lowest;
}

void memory_shard_trim(struct memory_shard *shard, int64_t offset)
{
    int64_t floor = memory_shard_floor(shard), end_offset = memory_shard_end(shard);
    offset = offset < floor ? offset : floor;
    offset = offset < end_offset ? offset : end_offset;
    if (offset > shard->start_offset) {
        drop_batches(shard, memory_shard_find(shard, offset));
        shard->start_offset = offset;
    }
}

void memory_shard_retain(struct memory_shard *shard, const struct stream_config *config,
                         int64_t now_ns)
{
    if ((shard->flags & STREAM_CHANGELOG) != 0) {
        return; /* compacted instead */
    }
    int64_t floor = memory_shard_floor(shard), size_bytes = shard->size_bytes;
    ptrdiff_t drop = 0;
    for (; drop < shard->count; drop++) {
        const struct memory_batch *batch = &shard->batches[shard->first + drop];
        bool large = config->retention_bytes >= 0 && size_bytes > config->retention_bytes;
        bool old = config->retention_ms >= 0 &&
                   (now_ns - batch->appended_ns) / NS_PER_MS > config->retention_ms;
        if ((!large && !old) || batch->last_offset >= floor) {
            break;
        }
        size_bytes -= batch->len;
    }
    if (drop > 0) {
        memory_shard_trim(shard, shard->batches[shard->first + drop - 1].last_offset + 1);
    }
}
