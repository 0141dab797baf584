// SPDX-License-Identifier: Apache-2.0
#include "log/catalog.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "log/ranges.h"

void catalog_init(struct catalog *catalog, struct shard_table *shards)
{
    *catalog = (struct catalog){.shards = shards,
                                .next_stream = 1,
                                .next_shard = 1,
                                .next_producer = 1,
                                .next_checkpoint = 1};
}

static void control_free(struct control *control)
{
    mem_free(control->value);
    mem_free(control);
}

void catalog_release(struct catalog *catalog)
{
    for (int32_t i = 0; i < catalog->stream_count; i++) {
        mem_free(catalog->streams[i]);
    }
    for (int32_t i = 0; i < catalog->owner_count; i++) {
        mem_free(catalog->owners[i]->results);
        mem_free(catalog->owners[i]);
    }
    for (int32_t i = 0; i < catalog->control_count; i++) {
        control_free(catalog->controls[i]);
    }
    mem_free(catalog->streams);
    mem_free(catalog->owners);
    mem_free(catalog->controls);
    mem_free(catalog->garbage);
    producers_release(&catalog->producers);
    *catalog = (struct catalog){0};
}

struct stream_info *catalog_stream(const struct catalog *catalog, struct str name)
{
    for (int32_t i = 0; i < catalog->stream_count; i++) {
        if (str_is(name, catalog->streams[i]->config.name)) {
            return catalog->streams[i];
        }
    }
    return NULL;
}

struct stream_info *catalog_stream_by_id(const struct catalog *catalog, uint32_t id)
{
    for (int32_t i = 0; i < catalog->stream_count; i++) {
        if (catalog->streams[i]->id.v == id) {
            return catalog->streams[i];
        }
    }
    return NULL;
}

struct owner *catalog_owner(const struct catalog *catalog, struct str name)
{
    for (int32_t i = 0; i < catalog->owner_count; i++) {
        if (str_is(name, catalog->owners[i]->name)) {
            return catalog->owners[i];
        }
    }
    return NULL;
}

int32_t catalog_control_index(const struct catalog *catalog, struct str key)
{
    int32_t lo = 0, hi = catalog->control_count;
    while (lo < hi) {
        int32_t mid = lo + (hi - lo) / 2;
        if (str_compare(str_of(catalog->controls[mid]->key), key) < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

struct control *catalog_control(const struct catalog *catalog, struct str key)
{
    int32_t at = catalog_control_index(catalog, key);
    return at < catalog->control_count && str_is(key, catalog->controls[at]->key)
               ? catalog->controls[at]
               : NULL;
}

struct shard *catalog_shard(const struct catalog *catalog, uint32_t id)
{
    struct shard *shard = shard_get(catalog->shards, id);
    return shard != NULL && shard_health(shard) != ERR_NOT_FOUND ? shard : NULL;
}

void catalog_add_garbage(struct catalog *catalog, enum garbage_kind kind, uint32_t shard,
                         int64_t number)
{
    if (catalog->garbage_count == catalog->garbage_cap) {
        catalog->garbage_cap = catalog->garbage_cap == 0 ? 16 : catalog->garbage_cap * 2;
        catalog->garbage = mem_resize(catalog->garbage, catalog->garbage_cap,
                                      (ptrdiff_t)sizeof(*catalog->garbage));
    }
    catalog->garbage[catalog->garbage_count++] =
        (struct garbage){.kind = kind, .shard = shard, .number = number};
}

static void checkpoint_drop(void *ctx, struct checkpoint *checkpoint)
{
    struct catalog *catalog = ctx;
    catalog_add_garbage(catalog, GARBAGE_CHECKPOINT, 0, checkpoint->number);
    mem_free(checkpoint);
}

void catalog_checkpoint_unref(struct catalog *catalog, struct checkpoint *checkpoint)
{
    if (--checkpoint->refs == 0) {
        checkpoint_drop(catalog, checkpoint);
    }
}

/* ---- Applying, one function a kind. False: malformed or not fitting. */

/* What is kept as a string of C. */
static bool is_text(struct str text)
{
    return text.len > 0 && memchr(text.ptr, 0, (size_t)text.len) == NULL;
}

static bool apply_counters(struct catalog *catalog, struct wire_in *in)
{
    uint32_t stream = wire_u32(in), shard = wire_u32(in);
    int64_t producer = wire_i64(in), checkpoint = wire_i64(in), version = wire_i64(in);
    if (stream < catalog->next_stream || shard < catalog->next_shard ||
        producer < catalog->next_producer || checkpoint < catalog->next_checkpoint ||
        version < catalog->control_version_floor ||
        shard > (uint32_t)SHARD_CHUNK * SHARD_CHUNK_COUNT) {
        return false; /* numbers are never given out again */
    }
    catalog->next_stream = stream;
    catalog->next_shard = shard;
    catalog->next_producer = producer;
    catalog->next_checkpoint = checkpoint;
    catalog->control_version_floor = version;
    return true;
}

static bool apply_stream(struct catalog *catalog, struct wire_in *in)
{
    uint32_t id = wire_u32(in), flags = wire_u32(in), count = wire_u32(in), first = wire_u32(in);
    int64_t retention_ms = wire_i64(in), retention_bytes = wire_i64(in);
    struct str name = wire_str(in);
    if (in->bad || id == UINT32_MAX || !log_name_valid(name) || count < 1 ||
        count > LOG_SHARDS_PER_STREAM_MAX ||
        (uint64_t)first + count > (uint64_t)SHARD_CHUNK * SHARD_CHUNK_COUNT) {
        return false;
    }
    struct stream_info *stream = catalog_stream_by_id(catalog, id);
    if (stream == NULL) {
        for (uint32_t i = 0; i < count; i++) {
            if (shard_get(catalog->shards, first + i) != NULL) {
                return false;
            }
        }
        stream = MEM_NEW(struct stream_info);
        stream->id.v = id;
        stream->first_shard.v = first;
        stream->config.flags = flags;
        stream->config.shard_count = (int32_t)count;
        memcpy(stream->config.name, name.ptr, (size_t)name.len);
        if (catalog->stream_count == catalog->stream_cap) {
            catalog->stream_cap = catalog->stream_cap == 0 ? 16 : catalog->stream_cap * 2;
            catalog->streams = mem_resize(catalog->streams, catalog->stream_cap,
                                          (ptrdiff_t)sizeof(struct stream_info *));
        }
        catalog->streams[catalog->stream_count++] = stream;
        catalog->shard_count += (int32_t)count;
        for (uint32_t i = 0; i < count; i++) {
            IGNORE_RESULT(shard_new(catalog->shards, first + i, id, flags)); /* found by id */
        }
    }
    stream->config.retention_ms = retention_ms;
    stream->config.retention_bytes = retention_bytes;
    catalog->next_stream = id >= catalog->next_stream ? id + 1 : catalog->next_stream;
    catalog->next_shard = first + count > catalog->next_shard ? first + count : catalog->next_shard;
    return true;
}

static void drop_floors(struct shard *shard, uint32_t first, uint32_t count)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < shard->floor_count; i++) {
        if (shard->floors[i].reader - first >= count) {
            shard->floors[kept++] = shard->floors[i];
        }
    }
    shard->floor_count = kept;
}

/* Shards [first, first + count) are gone as readers of others. */
static void drop_readers(struct catalog *catalog, uint32_t first, uint32_t count)
{
    for (int32_t i = 0; i < catalog->stream_count; i++) {
        const struct stream_info *stream = catalog->streams[i];
        for (uint32_t s = 0; s < (uint32_t)stream->config.shard_count; s++) {
            drop_floors(shard_get(catalog->shards, stream->first_shard.v + s), first, count);
        }
    }
}

static bool apply_stream_delete(struct catalog *catalog, struct wire_in *in)
{
    uint32_t id = wire_u32(in);
    int32_t at = 0;
    while (at < catalog->stream_count && catalog->streams[at]->id.v != id) {
        at++;
    }
    if (in->bad || at == catalog->stream_count) {
        return false;
    }
    struct stream_info *stream = catalog->streams[at];
    for (uint32_t i = 0; i < (uint32_t)stream->config.shard_count; i++) {
        struct shard *shard = shard_get(catalog->shards, stream->first_shard.v + i);
        int32_t count = atomic_load(&shard->segments.count);
        for (int32_t s = atomic_load(&shard->segments.first); s < count; s++) {
            catalog_add_garbage(catalog, GARBAGE_SEGMENT, shard->id,
                                segment_at(&shard->segments, s)->base_offset);
        }
        catalog_add_garbage(catalog, GARBAGE_FOLDER, shard->id, 0);
        for (int32_t c = 0; c < shard->cover_count; c++) {
            catalog_checkpoint_unref(catalog, shard->covers[c].checkpoint);
        }
        shard->cover_count = 0;
        /* Whatever its state was: a deleted shard is not there. */
        atomic_store(&shard->problem_state, 0);
        shard_set_problem(shard, INT64_MAX, ERR_NOT_FOUND, "the stream was deleted");
    }
    catalog->shard_count -= stream->config.shard_count;
    if ((stream->config.flags & STREAM_CHANGELOG) != 0) {
        drop_readers(catalog, stream->first_shard.v, (uint32_t)stream->config.shard_count);
    }
    mem_free(stream);
    catalog->streams[at] = catalog->streams[--catalog->stream_count];
    return true;
}

static bool apply_shard(struct catalog *catalog, struct wire_in *in)
{
    struct shard *shard = shard_get(catalog->shards, wire_u32(in));
    int64_t start = wire_i64(in), end = wire_i64(in), before = 0;
    uint32_t count = wire_u32(in);
    if (shard == NULL || in->bad || start < 0 || end < start || count > (1U << 26)) {
        return false;
    }
    shard_clear_segments(shard);
    for (uint32_t i = 0; i < count; i++) {
        int64_t base = wire_i64(in), bytes = wire_i64(in), last_ms = wire_i64(in);
        if (in->bad || base < before || base > end || bytes < 0 ||
            bytes > INT64_MAX - shard->size_bytes) {
            return false; /* S1 */
        }
        before = base;
        shard_add_segment(shard, base, last_ms, catalog->now_ns);
        segment_at(&shard->segments, (int32_t)i)->bytes = bytes;
        shard->size_bytes += bytes;
        shard->index_window = bytes / (256 << 10);
    }
    atomic_store(&shard->start_offset, start);
    atomic_store(&shard->end_offset, end);
    shard->next_offset = end;
    return true;
}

static bool apply_producer(struct catalog *catalog, struct wire_in *in)
{
    int64_t id = wire_i64(in);
    uint32_t epoch = wire_u32(in);
    int64_t last_ms = wire_i64(in);
    if (in->bad || id < 0 || id == INT64_MAX) {
        return false;
    }
    struct producer *producer = producers_put(&catalog->producers, id);
    producer->epoch = (int16_t)epoch;
    producer->last_ms = last_ms;
    catalog->next_producer = id >= catalog->next_producer ? id + 1 : catalog->next_producer;
    return true;
}

static bool apply_producer_shard(struct catalog *catalog, struct wire_in *in)
{
    struct producer *producer = producers_find(&catalog->producers, wire_i64(in));
    uint32_t shard = wire_u32(in), count = wire_u32(in);
    if (producer == NULL || in->bad || count > PRODUCER_BATCHES) {
        return false;
    }
    struct producer_shard *state = producer_shard_put(producer, shard);
    state->count = (int32_t)count;
    for (uint32_t i = 0; i < count; i++) {
        int32_t first = (int32_t)wire_u32(in), last = (int32_t)wire_u32(in);
        state->batches[i] =
            (struct producer_batch){.first = first, .last = last, .offset = wire_i64(in)};
    }
    return true;
}

static bool read_results(struct owner *owner, struct wire_in *in)
{
    uint32_t count = wire_u32(in);
    if (in->bad || (ptrdiff_t)count * 20 > in->end - in->at) {
        return false;
    }
    owner->results = mem_resize(owner->results, (ptrdiff_t)count + 1, sizeof(*owner->results));
    owner->result_count = (int32_t)count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t shard = wire_u32(in);
        int64_t base = wire_i64(in), end = wire_i64(in);
        owner->results[i] = (struct owner_result){.shard = shard, .base = base, .end = end};
    }
    return true;
}

static bool apply_owner(struct catalog *catalog, struct wire_in *in)
{
    uint32_t id = wire_u32(in), incarnation = wire_u32(in), fenced = wire_u32(in);
    int64_t sequence = wire_i64(in);
    struct str name = wire_str(in);
    if (in->bad || !is_text(name) || name.len > 63 || id > (uint32_t)catalog->owner_count ||
        id >= OWNERS_MAX) {
        return false;
    }
    if (id == (uint32_t)catalog->owner_count) {
        if (catalog->owner_count == catalog->owner_cap) {
            catalog->owner_cap = catalog->owner_cap == 0 ? 16 : catalog->owner_cap * 2;
            catalog->owners =
                mem_resize(catalog->owners, catalog->owner_cap, (ptrdiff_t)sizeof(struct owner *));
        }
        catalog->owners[catalog->owner_count] = MEM_NEW(struct owner);
        memcpy(catalog->owners[catalog->owner_count]->name, name.ptr, (size_t)name.len);
        catalog->owner_count++;
    }
    struct owner *owner = catalog->owners[id];
    owner->id = id;
    owner->incarnation = incarnation;
    owner->fenced = fenced != 0;
    owner->sequence = sequence;
    return read_results(owner, in);
}

static bool apply_owner_commit(struct catalog *catalog, struct wire_in *in)
{
    uint32_t id = wire_u32(in);
    int64_t sequence = wire_i64(in);
    if (in->bad || id >= (uint32_t)catalog->owner_count) {
        return false;
    }
    catalog->owners[id]->sequence = sequence;
    return read_results(catalog->owners[id], in);
}

static bool apply_range_epoch(struct catalog *catalog, struct wire_in *in)
{
    struct shard *shard = shard_get(catalog->shards, wire_u32(in));
    uint32_t lo = wire_u32(in), hi = wire_u32(in);
    uint64_t epoch = wire_u64(in);
    if (shard == NULL || in->bad || lo >= hi || hi > KEY_GROUP_COUNT) {
        return false;
    }
    range_epochs_raise(shard, lo, hi, epoch);
    return true;
}

static void control_remove(struct catalog *catalog, int32_t at)
{
    control_free(catalog->controls[at]);
    catalog->control_count--;
    memmove(catalog->controls + at, catalog->controls + at + 1,
            (size_t)(catalog->control_count - at) * sizeof(struct control *));
}

static bool apply_control(struct catalog *catalog, struct wire_in *in)
{
    int64_t version = wire_i64(in);
    struct str key = wire_str(in), value = wire_str(in);
    if (in->bad || !is_text(key) || key.len > 127 || version == 0 || version == INT64_MIN) {
        return false;
    }
    int32_t at = catalog_control_index(catalog, key);
    bool there = at < catalog->control_count && str_is(key, catalog->controls[at]->key);
    if (version < 0) {
        catalog->control_version_floor =
            -version > catalog->control_version_floor ? -version : catalog->control_version_floor;
        if (there) {
            control_remove(catalog, at);
        }
        return there;
    }
    if (!there) {
        if (catalog->control_count == catalog->control_cap) {
            catalog->control_cap = catalog->control_cap == 0 ? 16 : catalog->control_cap * 2;
            catalog->controls = mem_resize(catalog->controls, catalog->control_cap,
                                           (ptrdiff_t)sizeof(struct control *));
        }
        memmove(catalog->controls + at + 1, catalog->controls + at,
                (size_t)(catalog->control_count - at) * sizeof(struct control *));
        catalog->controls[at] = MEM_NEW(struct control);
        memcpy(catalog->controls[at]->key, key.ptr, (size_t)key.len);
        catalog->control_count++;
    }
    struct control *control = catalog->controls[at];
    mem_free(control->value);
    control->value = (uint8_t *)mem_dup(value.ptr, value.len);
    control->len = value.len;
    control->version = version;
    return true;
}

static bool apply_floor(struct catalog *catalog, struct wire_in *in)
{
    struct shard *shard = shard_get(catalog->shards, wire_u32(in));
    uint32_t reader = wire_u32(in);
    int64_t offset = wire_i64(in);
    if (shard == NULL || in->bad || offset < 0) {
        return false;
    }
    int32_t at = 0;
    while (at < shard->floor_count && shard->floors[at].reader != reader) {
        at++;
    }
    if (offset == INT64_MAX) {
        if (at < shard->floor_count) {
            shard->floors[at] = shard->floors[--shard->floor_count];
        }
        return true;
    }
    if (at == shard->floor_count) {
        shard->floors = mem_resize(shard->floors, at + 1, (ptrdiff_t)sizeof(*shard->floors));
        shard->floors[at] = (struct shard_floor){.reader = reader, .offset = offset};
        shard->floor_count++;
    }
    if (offset > shard->floors[at].offset) {
        shard->floors[at].offset = offset;
    }
    return true;
}

/* Segments wholly below `start` become garbage. */
static bool apply_trim(struct catalog *catalog, struct wire_in *in)
{
    struct shard *shard = shard_get(catalog->shards, wire_u32(in));
    int64_t start = wire_i64(in);
    if (shard == NULL || in->bad || start < 0) {
        return false;
    }
    if (start > shard->next_offset) {
        return (shard->flags & STREAM_SCRATCH) != 0; /* replayed: its records are gone */
    }
    int32_t first = atomic_load(&shard->segments.first),
            count = atomic_load(&shard->segments.count);
    while (first < count) {
        int64_t end = first + 1 < count ? segment_at(&shard->segments, first + 1)->base_offset
                                        : INT64_MAX; /* the last one stays: it is written to */
        if (end > start) {
            break;
        }
        struct segment *segment = segment_at(&shard->segments, first);
        catalog_add_garbage(catalog, GARBAGE_SEGMENT, shard->id, segment->base_offset);
        shard->size_bytes -= segment->bytes;
        first++;
    }
    if (start > atomic_load(&shard->start_offset)) {
        atomic_store(&shard->start_offset, start); /* before the list: readers check it last */
    }
    atomic_store(&shard->segments.first, first);
    return true;
}

static bool apply_checkpoint(struct catalog *catalog, struct wire_in *in)
{
    struct shard *shard = shard_get(catalog->shards, wire_u32(in));
    struct checkpoint read = {.lo = wire_u32(in)};
    read.hi = wire_u32(in);
    read.at = wire_i64(in);
    read.number = wire_i64(in);
    read.bytes = wire_i64(in);
    if (shard == NULL || in->bad || read.lo >= read.hi || read.hi > KEY_GROUP_COUNT ||
        read.number < 0 || read.number == INT64_MAX) {
        return false;
    }
    read.order = catalog->checkpoints_applied++;
    struct checkpoint *checkpoint = MEM_NEW(struct checkpoint);
    *checkpoint = read;
    checkpoint_covers_put(shard, checkpoint, checkpoint_drop, catalog);
    catalog->next_checkpoint =
        read.number >= catalog->next_checkpoint ? read.number + 1 : catalog->next_checkpoint;
    return true;
}

typedef bool (*apply_fn)(struct catalog *catalog, struct wire_in *in);

static const apply_fn apply_table[ENTRY_KIND_END] = {
    [ENTRY_COUNTERS] = apply_counters,
    [ENTRY_STREAM] = apply_stream,
    [ENTRY_STREAM_DELETE] = apply_stream_delete,
    [ENTRY_SHARD] = apply_shard,
    [ENTRY_PRODUCER] = apply_producer,
    [ENTRY_PRODUCER_SHARD] = apply_producer_shard,
    [ENTRY_OWNER] = apply_owner,
    [ENTRY_OWNER_COMMIT] = apply_owner_commit,
    [ENTRY_RANGE_EPOCH] = apply_range_epoch,
    [ENTRY_CONTROL] = apply_control,
    [ENTRY_FLOOR] = apply_floor,
    [ENTRY_TRIM] = apply_trim,
    [ENTRY_CHECKPOINT] = apply_checkpoint,
};

enum err catalog_apply(struct catalog *catalog, uint32_t kind, struct wire_in body)
{
    if (kind >= ENTRY_KIND_END || apply_table[kind] == NULL || !apply_table[kind](catalog, &body) ||
        body.bad || body.at != body.end) {
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

ptrdiff_t entry_begin(struct wire_out *out, enum entry_kind kind)
{
    ptrdiff_t begun = out->len;
    wire_put_u32(out, (uint32_t)kind);
    wire_put_u32(out, 0);
    return begun;
}

void entry_end(struct wire_out *out, ptrdiff_t begun)
{
    wire_store_u32(out->bytes + begun + 4, (uint32_t)(out->len - begun - ENTRY_HEADER));
}

bool entry_next(struct wire_in *in, uint32_t *ret_kind, struct wire_in *ret_body)
{
    if (in->at == in->end || in->bad) {
        return false;
    }
    *ret_kind = wire_u32(in);
    struct str body = wire_str(in);
    const uint8_t *at = in->at - body.len;
    *ret_body = (struct wire_in){.at = at, .end = in->at};
    return !in->bad;
}

void catalog_apply_own(struct catalog *catalog, struct wire_out *out, ptrdiff_t begun)
{
    entry_end(out, begun);
    enum err err = catalog_apply(
        catalog, wire_load_u32(out->bytes + begun),
        (struct wire_in){.at = out->bytes + begun + ENTRY_HEADER, .end = out->bytes + out->len});
    CHECK_MSG(err == ERR_OK, "entry kind %u", wire_load_u32(out->bytes + begun));
}

void batch_entry_put(struct wire_out *out, const struct batch_entry *entry)
{
    uint8_t *at = wire_grow(out, BATCH_ENTRY);
    wire_store_u32(at, ENTRY_BATCH);
    wire_store_u32(at + 4, BATCH_ENTRY - ENTRY_HEADER);
    wire_store_u32(at + 8, entry->shard);
    wire_store_u32(at + 12, entry->flags);
    wire_store_u64(at + 16, (uint64_t)entry->base_offset);
    wire_store_u32(at + 24, entry->bytes);
    wire_store_u32(at + 28, entry->crc);
    wire_store_u32(at + 32, entry->records);
}

enum err batch_entry_get(struct wire_in body, struct batch_entry *ret_entry)
{
    ret_entry->shard = wire_u32(&body);
    ret_entry->flags = wire_u32(&body);
    ret_entry->base_offset = wire_i64(&body);
    ret_entry->bytes = wire_u32(&body);
    ret_entry->crc = wire_u32(&body);
    ret_entry->records = wire_u32(&body);
    return body.bad || body.at != body.end ? ERR_CORRUPT : ERR_OK;
}

enum err catalog_apply_batch(struct catalog *catalog, const struct batch_entry *entry,
                             const uint8_t *bytes, int64_t time_ms, struct shard **ret_shard,
                             struct place *ret_place)
{
    struct shard *shard = catalog_shard(catalog, entry->shard);
    *ret_shard = shard;
    if (shard == NULL) {
        return ERR_OK;
    }
    if (entry->base_offset != shard->next_offset) {
        return ERR_CORRUPT;
    }
    *ret_place =
        shard_place(shard, (ptrdiff_t)entry->bytes, (int32_t)entry->records,
                    (entry->flags & BATCH_ROLLED) != 0 ? 0 : INT64_MAX, time_ms, catalog->now_ns);
    if ((entry->flags & BATCH_PRODUCER) != 0) {
        struct record_batch_header header;
        ptrdiff_t total = 0;
        enum err err = record_batch_parse(bytes, (ptrdiff_t)entry->bytes, &header, &total, NULL);
        struct producer *producer =
            err == ERR_OK ? producers_find(&catalog->producers, header.producer_id) : NULL;
        if (producer != NULL) {
            producers_note(producer, entry->shard, &header, entry->base_offset, time_ms);
        }
    }
    return ERR_OK;
}

bool catalog_check_frame(const struct frame_header *header, const uint8_t *entries,
                         const uint8_t *data)
{
    struct wire_in in = {.at = entries, .end = entries + header->entries_bytes}, body;
    uint32_t kind = 0, count = 0;
    int64_t used = 0;
    while (entry_next(&in, &kind, &body)) {
        count++;
        if (kind != ENTRY_BATCH) {
            continue;
        }
        struct batch_entry entry;
        struct record_batch_header batch;
        ptrdiff_t total = 0;
        if (batch_entry_get(body, &entry) != ERR_OK ||
            header->data_bytes - used < (int64_t)entry.bytes ||
            record_batch_parse(data + used, (ptrdiff_t)entry.bytes, &batch, &total, NULL) !=
                ERR_OK ||
            total != (ptrdiff_t)entry.bytes || batch.base_offset != entry.base_offset ||
            batch.crc != entry.crc || record_batch_verify(data + used, total, NULL) != ERR_OK) {
            return false;
        }
        used += total;
    }
    return !in.bad && count == header->entry_count && used == header->data_bytes;
}
