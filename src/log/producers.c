// SPDX-License-Identifier: Apache-2.0
#include "log/producers.h"

#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

static void producer_free(struct producer *producer)
{
    mem_free(producer->shards);
    mem_free(producer);
}

void producers_release(struct producers *producers)
{
    for (int32_t i = 0; i < producers->slot_count; i++) {
        if (producers->slots[i] != NULL) {
            producer_free(producers->slots[i]);
        }
    }
    mem_free(producers->slots);
    *producers = (struct producers){0};
}

static int32_t slot_of(const struct producers *producers, int64_t id)
{
    const uint32_t mask = (uint32_t)producers->slot_count - 1;
    uint32_t slot = (uint32_t)hash64(&id, sizeof(id)) & mask;
    while (producers->slots[slot] != NULL && producers->slots[slot]->id != id) {
        slot = (slot + 1) & mask;
    }
    return (int32_t)slot;
}

struct producer *producers_find(const struct producers *producers, int64_t id)
{
    return producers->slot_count == 0 ? NULL : producers->slots[slot_of(producers, id)];
}

/* Moves all that were heard of at or after `before_ms` into a table of `slot_count` slots. */
static void rebuild(struct producers *producers, int32_t slot_count, int64_t before_ms)
{
    struct producers fresh = {.slots = MEM_NEW_ARRAY(struct producer *, slot_count),
                              .slot_count = slot_count};
    for (int32_t i = 0; i < producers->slot_count; i++) {
        struct producer *producer = producers->slots[i];
        if (producer == NULL) {
            continue;
        }
        if (producer->last_ms < before_ms) {
            producer_free(producer);
            continue;
        }
        fresh.slots[slot_of(&fresh, producer->id)] = producer;
        fresh.count++;
    }
    mem_free(producers->slots);
    *producers = fresh;
}

struct producer *producers_put(struct producers *producers, int64_t id)
{
    if (producers->count * 2 >= producers->slot_count) {
        rebuild(producers, producers->slot_count == 0 ? 64 : producers->slot_count * 2, INT64_MIN);
    }
    int32_t slot = slot_of(producers, id);
    if (producers->slots[slot] == NULL) {
        producers->slots[slot] = MEM_NEW(struct producer);
        producers->slots[slot]->id = id;
        producers->count++;
    }
    return producers->slots[slot];
}

int32_t producers_expire(struct producers *producers, int64_t before_ms)
{
    int32_t old = 0;
    for (int32_t i = 0; i < producers->slot_count; i++) {
        old += producers->slots[i] != NULL && producers->slots[i]->last_ms < before_ms ? 1 : 0;
    }
    if (old > 0) {
        rebuild(producers, producers->slot_count, before_ms);
    }
    return old;
}

/* Index of the first state whose shard is >= `shard`. */
static int32_t shard_index(const struct producer *producer, uint32_t shard)
{
    int32_t lo = 0, hi = producer->shard_count;
    while (lo < hi) {
        int32_t mid = lo + (hi - lo) / 2;
        if (producer->shards[mid].shard < shard) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

struct producer_shard *producer_shard_put(struct producer *producer, uint32_t shard)
{
    int32_t at = shard_index(producer, shard);
    if (at < producer->shard_count && producer->shards[at].shard == shard) {
        return &producer->shards[at];
    }
    if (producer->shard_count == producer->shard_cap) {
        producer->shard_cap = producer->shard_cap == 0 ? 2 : producer->shard_cap * 2;
        producer->shards =
            mem_resize(producer->shards, producer->shard_cap, (ptrdiff_t)sizeof(*producer->shards));
    }
    memmove(producer->shards + at + 1, producer->shards + at,
            (size_t)(producer->shard_count - at) * sizeof(*producer->shards));
    producer->shard_count++;
    producer->shards[at] = (struct producer_shard){.shard = shard};
    return &producer->shards[at];
}

static int32_t sequence_last(const struct record_batch_header *header)
{
    return (int32_t)(((int64_t)header->base_sequence + header->record_count - 1) & INT32_MAX);
}

enum err producers_check(const struct producers *producers, uint32_t shard,
                         const struct record_batch_header *header, int64_t *ret_offset,
                         struct err_info *info)
{
    const struct producer *producer = producers_find(producers, header->producer_id);
    if (producer == NULL) {
        return err_set(info, ERR_FENCED, "producer id %lld was never given out, or has expired",
                       (long long)header->producer_id);
    }
    if (producer->epoch != header->producer_epoch) {
        return err_set(info, ERR_FENCED, "producer %lld has epoch %d, the batch %d",
                       (long long)producer->id, producer->epoch, header->producer_epoch);
    }
    int32_t at = shard_index(producer, shard);
    const struct producer_shard *state =
        at < producer->shard_count && producer->shards[at].shard == shard ? &producer->shards[at]
                                                                          : NULL;
    int32_t expected = 0;
    if (state != NULL && state->count > 0) {
        for (int32_t i = 0; i < state->count; i++) {
            if (state->batches[i].first == header->base_sequence &&
                state->batches[i].last == sequence_last(header)) {
                *ret_offset = state->batches[i].offset;
                return ERR_OK;
            }
        }
        expected = (int32_t)(((int64_t)state->batches[state->count - 1].last + 1) & INT32_MAX);
    }
    if (header->base_sequence != expected) {
        return err_set(info, ERR_SEQUENCE, "producer %lld sent sequence %d, expected is %d",
                       (long long)producer->id, header->base_sequence, expected);
    }
    *ret_offset = -1;
    return ERR_OK;
}

void producers_note(struct producer *producer, uint32_t shard,
                    const struct record_batch_header *header, int64_t base_offset, int64_t time_ms)
{
    struct producer_shard *state = producer_shard_put(producer, shard);
    if (state->count == PRODUCER_BATCHES) {
        memmove(state->batches, state->batches + 1,
                (PRODUCER_BATCHES - 1) * sizeof(state->batches[0]));
        state->count--;
    }
    state->batches[state->count++] = (struct producer_batch){
        .first = header->base_sequence, .last = sequence_last(header), .offset = base_offset};
    producer->last_ms = time_ms > producer->last_ms ? time_ms : producer->last_ms;
}
