// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_STAGE_H
#define NODE_STAGE_H

#include <stdatomic.h>

#include "log/log.h"
#include "log/record_batch.h"
#include "pipeline/chain.h"
#include "pipeline/config.h"

/* A stage as lanes see it: its plan, and where its streams are in the log. Made by the runtime before any partition is
 * opened, read-only afterwards but for the atomics. Another text of a chain makes another one with another plan, which
 * partitions opened from then on take; streams, shards and lookups stay the same. */

/* Shared by all partitions of one pipeline. */
struct pipeline_env {
    const struct pipeline_plan
        *_Atomic plan;           /* its settings; replaced by another text (node/change.h) */
    _Atomic int64_t state_bytes; /* of all its partitions */
};

struct stage_stream {
    const struct stream_spec *spec;
    struct stream_info info;
    _Atomic int64_t largest_shard_bytes; /* internal outputs: as last polled */
};

struct stage {
    const struct stage_plan *plan;
    struct pipeline_env *pipeline;
    int32_t index; /* among all stages of the runtime */
    struct stage_stream *inputs[2];
    int32_t source_shards[2];    /* internal inputs: shards of the writing stage's input 0 */
    struct stage_stream *output; /* NULL: results are dropped */
    struct stage_stream *dead_letter;
    struct stage_stream *late; /* NULL: only counted */
    struct stage_stream *changelog;
    int32_t shard_count; /* of its input 0: of its changelog, too */
    bool drop_state;     /* "the second day": forget state that the chain cannot continue */
    struct lookup_table **lookup_tables; /* [plan->lookup_count], as of the start */
};

/* The shard numbered `index` of a stream. */
static inline struct shard_id stage_shard(const struct stage_stream *stream, uint32_t index)
{
    return (struct shard_id){stream->info.first_shard.v + index};
}

/* How what is written to it is compressed. */
static inline enum record_codec stage_codec(const struct stage_stream *stream)
{
    switch (stream->spec->codec) {
    case STREAM_CODEC_LZ4:
        return RECORD_CODEC_LZ4;
    case STREAM_CODEC_ZSTD:
        return RECORD_CODEC_ZSTD;
    case STREAM_CODEC_NONE:
        break;
    }
    return RECORD_CODEC_NONE;
}

#endif
