// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/mem.h"
#include "base/planted.h"
#include "log/catalog.h"

/* The snapshot: entries that make an empty catalog equal to this one. Order matters where one refers to another. */

static void put_streams(const struct catalog *catalog, struct wire_out *out, uint32_t *count)
{
    for (int32_t i = 0; i < catalog->stream_count; i++) {
        const struct stream_info *stream = catalog->streams[i];
        ptrdiff_t begun = entry_begin(out, ENTRY_STREAM);
        wire_put_u32(out, stream->id.v);
        wire_put_u32(out, stream->config.flags);
        wire_put_u32(out, (uint32_t)stream->config.shard_count);
        wire_put_u32(out, stream->first_shard.v);
        wire_put_i64(out, stream->config.retention_ms);
        wire_put_i64(out, stream->config.retention_bytes);
        wire_put_str(out, str_of(stream->config.name));
        entry_end(out, begun);
        (*count)++;
    }
}

static void put_segments(const struct shard *shard, struct wire_out *out, uint32_t *count)
{
    int32_t first = atomic_load(&shard->segments.first), end = atomic_load(&shard->segments.count);
    if (first == end && shard->next_offset == 0) {
        return;
    }
    ptrdiff_t begun = entry_begin(out, ENTRY_SHARD);
    wire_put_u32(out, shard->id);
    wire_put_i64(out, atomic_load(&shard->start_offset));
    wire_put_i64(out, shard->next_offset);
    wire_put_u32(out, (uint32_t)(end - first));
    for (int32_t i = first; i < end; i++) {
        const struct segment *segment = segment_at(&shard->segments, i);
        wire_put_i64(out, segment->base_offset);
        wire_put_i64(out, segment->bytes);
        wire_put_i64(out, segment->last_append_ms);
    }
    entry_end(out, begun);
    (*count)++;
}

static void put_ranges(const struct shard *shard, struct wire_out *out, uint32_t *count)
{
    for (int32_t i = 0; i < shard->epoch_count; i++, (*count)++) {
        ptrdiff_t begun = entry_begin(out, ENTRY_RANGE_EPOCH);
        wire_put_u32(out, shard->id);
        wire_put_u32(out, shard->epochs[i].lo);
        wire_put_u32(out, shard->epochs[i].hi);
        wire_put_u64(out, shard->epochs[i].epoch);
        entry_end(out, begun);
    }
    for (int32_t i = 0; i < shard->floor_count; i++, (*count)++) {
        ptrdiff_t begun = entry_begin(out, ENTRY_FLOOR);
        wire_put_u32(out, shard->id);
        wire_put_u32(out, shard->floors[i].reader);
        wire_put_i64(out, shard->floors[i].offset);
        entry_end(out, begun);
    }
}

static int by_order(const void *a, const void *b)
{
    const struct checkpoint *x = *(const struct checkpoint *const *)a;
    const struct checkpoint *y = *(const struct checkpoint *const *)b;
    return (x->order > y->order) - (x->order < y->order);
}

/* In the order they came, so that newer ones cover older ones again. */
static void put_checkpoints(const struct shard *shard, struct wire_out *out, uint32_t *count)
{
    if (shard->cover_count == 0) {
        return;
    }
    const struct checkpoint **all = MEM_NEW_ARRAY(const struct checkpoint *, shard->cover_count);
    for (int32_t i = 0; i < shard->cover_count; i++) {
        all[i] = shard->covers[i].checkpoint;
    }
    qsort(all, (size_t)shard->cover_count, sizeof(struct checkpoint *), by_order);
    for (int32_t i = 0; i < shard->cover_count; i++) {
        if (i > 0 && all[i] == all[i - 1]) {
            continue;
        }
        ptrdiff_t begun = entry_begin(out, ENTRY_CHECKPOINT);
        wire_put_u32(out, shard->id);
        wire_put_u32(out, all[i]->lo);
        wire_put_u32(out, all[i]->hi);
        wire_put_i64(out, all[i]->at);
        wire_put_i64(out, all[i]->number);
        wire_put_i64(out, all[i]->bytes);
        entry_end(out, begun);
        (*count)++;
    }
    mem_free(all);
}

static void put_producers(const struct catalog *catalog, struct wire_out *out, uint32_t *count)
{
    for (int32_t i = 0; i < catalog->producers.slot_count; i++) {
        const struct producer *producer = catalog->producers.slots[i];
        if (producer == NULL) {
            continue;
        }
        ptrdiff_t begun = entry_begin(out, ENTRY_PRODUCER);
        wire_put_i64(out, producer->id);
        wire_put_u32(out, (uint32_t)producer->epoch);
        wire_put_i64(out, producer->last_ms);
        entry_end(out, begun);
        (*count)++;
        for (int32_t s = 0; s < (PLANTED(DEDUPE_FORGOTTEN) ? 0 : producer->shard_count);
             s++, (*count)++) {
            const struct producer_shard *state = &producer->shards[s];
            begun = entry_begin(out, ENTRY_PRODUCER_SHARD);
            wire_put_i64(out, producer->id);
            wire_put_u32(out, state->shard);
            wire_put_u32(out, (uint32_t)state->count);
            for (int32_t b = 0; b < state->count; b++) {
                wire_put_u32(out, (uint32_t)state->batches[b].first);
                wire_put_u32(out, (uint32_t)state->batches[b].last);
                wire_put_i64(out, state->batches[b].offset);
            }
            entry_end(out, begun);
        }
    }
}

static void put_owners(const struct catalog *catalog, struct wire_out *out, uint32_t *count)
{
    for (int32_t i = 0; i < catalog->owner_count; i++, (*count)++) {
        const struct owner *owner = catalog->owners[i];
        ptrdiff_t begun = entry_begin(out, ENTRY_OWNER);
        wire_put_u32(out, owner->id);
        wire_put_u32(out, owner->incarnation);
        wire_put_u32(out, owner->fenced ? 1 : 0);
        wire_put_i64(out, owner->sequence);
        wire_put_str(out, str_of(owner->name));
        wire_put_u32(out, (uint32_t)owner->result_count);
        for (int32_t r = 0; r < owner->result_count; r++) {
            wire_put_u32(out, owner->results[r].shard);
            wire_put_i64(out, owner->results[r].base);
            wire_put_i64(out, owner->results[r].end);
        }
        entry_end(out, begun);
    }
}

uint32_t catalog_snapshot(const struct catalog *catalog, struct wire_out *out)
{
    uint32_t count = 1;
    ptrdiff_t begun = entry_begin(out, ENTRY_COUNTERS);
    wire_put_u32(out, catalog->next_stream);
    wire_put_u32(out, catalog->next_shard);
    wire_put_i64(out, catalog->next_producer);
    wire_put_i64(out, catalog->next_checkpoint);
    wire_put_i64(out, catalog->control_version_floor);
    entry_end(out, begun);
    put_streams(catalog, out, &count);
    for (int32_t i = 0; i < catalog->stream_count; i++) {
        const struct stream_info *stream = catalog->streams[i];
        if ((stream->config.flags & STREAM_SCRATCH) != 0) {
            continue; /* its shards are gone at the next start */
        }
        for (uint32_t s = 0; s < (uint32_t)stream->config.shard_count; s++) {
            const struct shard *shard = shard_get(catalog->shards, stream->first_shard.v + s);
            put_segments(shard, out, &count);
            put_ranges(shard, out, &count);
            put_checkpoints(shard, out, &count);
        }
    }
    put_producers(catalog, out, &count);
    put_owners(catalog, out, &count);
    for (int32_t i = 0; i < catalog->control_count; i++, count++) {
        const struct control *control = catalog->controls[i];
        begun = entry_begin(out, ENTRY_CONTROL);
        wire_put_i64(out, control->version);
        wire_put_str(out, str_of(control->key));
        wire_put_str(out, (struct str){(const char *)control->value, control->len});
        entry_end(out, begun);
    }
    return count;
}
