// SPDX-License-Identifier: Apache-2.0
#include "base/planted.h"
#include "log/embedded_priv.h"
#include "log/ranges.h"

/* What may go: by time, by size, by floors, by checkpoints. Never past a floor, never what an open restore will read,
 * never on wall time alone: a segment must also have been known for a while on the monotonic clock. */

/* Lowest offset that somebody still needs. */
int64_t retention_limit(const struct shard *shard)
{
    int64_t limit = PLANTED(TRIM_PASSES_FLOOR) ? INT64_MAX : shard_lowest_floor(shard);
    int64_t end = atomic_load(&shard->end_offset); /* a frame's batches stand behind its trims */
    limit = limit < end ? limit : end;
    if ((shard->flags & STREAM_CHANGELOG) != 0) {
        int64_t needed = checkpoint_covers_lowest(shard, 0, 4096);
        limit = needed < limit ? needed : limit;
    }
    for (const struct log_restore *restore = shard->restores; restore != NULL;
         restore = restore->next) {
        limit = restore->from < limit ? restore->from : limit;
    }
    return limit;
}

bool retention_trim(struct embedded *engine, struct shard *shard, int64_t offset, bool exact)
{
    int32_t first = atomic_load(&shard->segments.first),
            count = atomic_load(&shard->segments.count);
    int64_t start = atomic_load(&shard->start_offset);
    if (!exact) { /* to the border of a segment */
        int64_t border = start;
        for (int32_t i = first; i < count; i++) {
            int64_t base = segment_at(&shard->segments, i)->base_offset;
            border = base <= offset && base > border ? base : border;
        }
        offset = border;
    }
    bool frees =
        first + 1 < count && segment_at(&shard->segments, first + 1)->base_offset <= offset;
    if (offset <= start || (exact && !frees && offset - start < 1)) {
        return false;
    }
    struct committer *c = &engine->committer;
    ptrdiff_t begun = entry_begin(&c->entries, ENTRY_TRIM);
    wire_put_u32(&c->entries, shard->id);
    wire_put_i64(&c->entries, offset);
    catalog_apply_own(&engine->catalog, &c->entries, begun);
    c->entry_count++;
    CRASHPOINT("log.retention.trimmed");
    return true;
}

/* End offset of segment `index`, which is not the last. */
static int64_t segment_end(const struct shard *shard, int32_t index)
{
    return segment_at(&shard->segments, index + 1)->base_offset;
}

/* Where age and size want the shard to begin. */
static int64_t wanted_start(const struct embedded *engine, const struct shard *shard,
                            const struct stream_config *config)
{
    const struct committer *c = &engine->committer;
    int32_t first = atomic_load(&shard->segments.first),
            count = atomic_load(&shard->segments.count);
    int64_t wanted = 0, size = shard->size_bytes;
    for (int32_t i = first; i + 1 < count; i++) {
        const struct segment *segment = segment_at(&shard->segments, i);
        int64_t age_min_ms = config->retention_ms < RETENTION_MIN_AGE_MS ? config->retention_ms
                                                                         : RETENTION_MIN_AGE_MS;
        bool old = config->retention_ms >= 0 &&
                   segment->last_append_ms < c->time_ms - config->retention_ms &&
                   c->now_ns - segment->seen_ns >= age_min_ms * 1000000;
        bool much =
            config->retention_bytes >= 0 && size - segment->bytes >= config->retention_bytes;
        if (!old && !much) {
            break;
        }
        size -= segment->bytes;
        wanted = segment_end(shard, i);
    }
    return wanted;
}

static bool retain_shard(struct embedded *engine, struct shard *shard,
                         const struct stream_config *config)
{
    int32_t first = atomic_load(&shard->segments.first),
            count = atomic_load(&shard->segments.count);
    if (count - first < 2) {
        return false; /* the last segment stays */
    }
    int64_t limit = retention_limit(shard);
    bool floored = shard->floor_count > 0;
    bool internal = (config->flags & STREAM_INTERNAL) != 0;
    if ((config->flags & STREAM_CHANGELOG) != 0) {
        return retention_trim(engine, shard, limit, false);
    }
    if (internal && floored) {
        return retention_trim(engine, shard, limit, false);
    }
    int64_t wanted = wanted_start(engine, shard, config);
    return wanted > 0 && retention_trim(engine, shard, wanted < limit ? wanted : limit, false);
}

bool retention_run(struct embedded *engine)
{
    struct catalog *catalog = &engine->catalog;
    bool any = false;
    for (int32_t i = 0; i < catalog->stream_count; i++) {
        const struct stream_info *stream = catalog->streams[i];
        for (uint32_t s = 0; s < (uint32_t)stream->config.shard_count; s++) {
            struct shard *shard = shard_get(&engine->shards, stream->first_shard.v + s);
            any = retain_shard(engine, shard, &stream->config) || any;
        }
    }
    if (engine->options.producer_expiry_ms > 0) {
        IGNORE_RESULT(producers_expire(
            &catalog->producers,
            engine->committer.time_ms -
                engine->options.producer_expiry_ms)); /* the next snapshot leaves them out */
    }
    return any;
}
