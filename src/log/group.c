// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/planted.h"
#include "log/embedded_priv.h"
#include "log/ranges.h"

/* What an op asks, checked against the catalog as all ops before it in the group have left it, and put into the next
 * frame. Nothing is undone: once an op has changed the catalog its frame is written, or the engine stops for good. */

enum { FLOORS_LEFT_MAX = 8 };

int64_t group_bound(const struct log_op *op)
{
    int64_t bound = 512;
    if (op->kind == LOG_OP_APPEND) {
        bound += op->u.append.bytes + BATCH_ENTRY;
    } else if (op->kind == LOG_OP_COMMIT) {
        for (int32_t i = 0; i < op->u.commit.batch_count; i++) {
            bound += op->u.commit.batches[i].len + 20;
        }
        bound += op->engine_word * BATCH_ENTRY;
    } else if (op->kind == LOG_OP_CONTROL_SET && op->u.control.len > 0) {
        bound += op->u.control.len;
    }
    return bound;
}

bool group_is_write(const struct log_op *op)
{
    switch (op->kind) {
    case LOG_OP_STREAM_GET:
    case LOG_OP_STREAM_LIST:
    case LOG_OP_SHARD_GET:
    case LOG_OP_READ:
    case LOG_OP_CONTROL_GET:
    case LOG_OP_CONTROL_LIST:
    case LOG_OP_RESTORE_OPEN:
    case LOG_OP_RESTORE_NEXT:
    case LOG_OP_RESTORE_CLOSE:
        return false;
    case LOG_OP_STREAM_CREATE:
    case LOG_OP_STREAM_ALTER:
    case LOG_OP_STREAM_DELETE:
    case LOG_OP_PRODUCER_INIT:
    case LOG_OP_APPEND:
    case LOG_OP_OWNER_INIT:
    case LOG_OP_OWNER_FENCE:
    case LOG_OP_RANGE_FENCE:
    case LOG_OP_COMMIT:
    case LOG_OP_CONTROL_SET:
    case LOG_OP_CHECKPOINT:
    case LOG_OP_FLOOR:
    case LOG_OP_TRIM:
    case LOG_OP_KIND_COUNT:
        break;
    }
    return true;
}

static void apply(struct embedded *engine, ptrdiff_t begun)
{
    catalog_apply_own(&engine->catalog, &engine->committer.entries, begun);
    engine->committer.entry_count++;
    engine->committer.must_write = true;
}

/* ---- Streams */

static bool text_ended(const char *text, size_t cap)
{
    return memchr(text, 0, cap) != NULL;
}

static void put_stream(struct embedded *engine, const struct stream_config *config, uint32_t id,
                       uint32_t first_shard)
{
    struct wire_out *out = &engine->committer.entries;
    ptrdiff_t begun = entry_begin(out, ENTRY_STREAM);
    wire_put_u32(out, id);
    wire_put_u32(out, config->flags);
    wire_put_u32(out, (uint32_t)config->shard_count);
    wire_put_u32(out, first_shard);
    wire_put_i64(out, config->retention_ms);
    wire_put_i64(out, config->retention_bytes);
    wire_put_str(out, str_of(config->name));
    apply(engine, begun);
}

static bool same_config(const struct stream_config *a, const struct stream_config *b)
{
    return a->flags == b->flags && a->shard_count == b->shard_count &&
           (a->retention_ms == b->retention_ms || (a->retention_ms < 0 && b->retention_ms < 0)) &&
           (a->retention_bytes == b->retention_bytes ||
            (a->retention_bytes < 0 && b->retention_bytes < 0));
}

static enum err stream_create(struct embedded *engine, struct log_stream_op *op,
                              struct err_info *info)
{
    struct catalog *catalog = &engine->catalog;
    const struct stream_config *config = &op->config;
    if (!text_ended(config->name, sizeof(config->name)) || !log_name_valid(str_of(config->name))) {
        return err_set(info, ERR_INVALID, "a stream's name is 1..%d of [a-zA-Z0-9._-]",
                       LOG_NAME_MAX);
    }
    if (config->shard_count < 1 || (config->flags & ~(uint32_t)7) != 0) {
        return err_set(info, ERR_INVALID, "stream %s cannot have %d shards and flags %u",
                       config->name, config->shard_count, config->flags);
    }
    struct stream_info *stream = catalog_stream(catalog, str_of(config->name));
    if (stream != NULL) {
        if (!same_config(&stream->config, config)) {
            return err_set(info, ERR_EXISTS, "stream %s exists with another configuration",
                           config->name);
        }
        op->ret_info = *stream;
        return ERR_OK;
    }
    if (config->shard_count > LOG_SHARDS_PER_STREAM_MAX ||
        catalog->stream_count >= LOG_STREAMS_MAX ||
        catalog->shard_count + config->shard_count > LOG_SHARDS_MAX ||
        (uint64_t)catalog->next_shard + (uint64_t)config->shard_count >=
            (uint64_t)SHARD_CHUNK * SHARD_CHUNK_COUNT) {
        return err_set(info, ERR_LIMIT, "stream %s of %d shards is over a limit of the log",
                       config->name, config->shard_count);
    }
    put_stream(engine, config, catalog->next_stream, catalog->next_shard);
    op->ret_info = *catalog_stream(catalog, str_of(config->name));
    return ERR_OK;
}

static enum err stream_find(struct embedded *engine, struct log_stream_op *op,
                            struct stream_info **ret_stream, struct err_info *info)
{
    if (!text_ended(op->config.name, sizeof(op->config.name))) {
        return err_set(info, ERR_INVALID, "a stream's name has at most %d bytes", LOG_NAME_MAX);
    }
    *ret_stream = catalog_stream(&engine->catalog, str_of(op->config.name));
    return *ret_stream != NULL ? ERR_OK
                               : err_set(info, ERR_NOT_FOUND, "no stream %.200s", op->config.name);
}

static enum err stream_alter(struct embedded *engine, struct log_stream_op *op,
                             struct err_info *info)
{
    struct stream_info *stream = NULL;
    enum err err = stream_find(engine, op, &stream, info);
    if (err != ERR_OK) {
        return err;
    }
    CHECK(stream != NULL);
    struct stream_config config = stream->config;
    config.retention_ms = op->config.retention_ms;
    config.retention_bytes = op->config.retention_bytes;
    if (!same_config(&config, &stream->config)) {
        put_stream(engine, &config, stream->id.v, stream->first_shard.v);
    }
    op->ret_info = *stream;
    return ERR_OK;
}

static enum err stream_get(struct embedded *engine, struct log_stream_op *op, struct err_info *info)
{
    struct stream_info *stream = NULL;
    enum err err = stream_find(engine, op, &stream, info);
    if (err == ERR_OK) {
        CHECK(stream != NULL);
        op->ret_info = *stream;
    }
    return err;
}

static enum err stream_delete(struct embedded *engine, struct log_stream_op *op,
                              struct err_info *info)
{
    struct stream_info *stream = NULL;
    enum err err = stream_find(engine, op, &stream, info);
    if (err == ERR_OK) {
        CHECK(stream != NULL);
        struct wire_out *out = &engine->committer.entries;
        ptrdiff_t begun = entry_begin(out, ENTRY_STREAM_DELETE);
        wire_put_u32(out, stream->id.v);
        apply(engine, begun);
    }
    return err;
}

static enum err stream_list(struct embedded *engine, struct log_list_op *op, struct err_info *info)
{
    const struct catalog *catalog = &engine->catalog;
    int32_t count = catalog->stream_count < op->cap ? catalog->stream_count : op->cap;
    count = count < 0 ? 0 : count;
    int32_t written = 0;
    for (int32_t i = 0; i < catalog->stream_count; i++) { /* insertion by name, cut at `count` */
        const struct stream_info *stream = catalog->streams[i];
        int32_t at = written;
        while (at > 0 && strcmp(op->infos[at - 1].config.name, stream->config.name) > 0) {
            at--;
        }
        if (at >= count) {
            continue;
        }
        written = written < count ? written + 1 : count;
        memmove(op->infos + at + 1, op->infos + at,
                (size_t)(written - at - 1) * sizeof(struct stream_info));
        op->infos[at] = *stream;
    }
    op->ret_count = written;
    return catalog->stream_count <= count
               ? ERR_OK
               : err_set(info, ERR_LIMIT, "%d streams do not fit %d places", catalog->stream_count,
                         op->cap);
}

static enum err live_shard(struct embedded *engine, struct shard_id id, struct shard **ret_shard,
                           struct err_info *info)
{
    *ret_shard = catalog_shard(&engine->catalog, id.v);
    return *ret_shard != NULL ? ERR_OK : err_set(info, ERR_NOT_FOUND, "no shard %u", id.v);
}

static enum err shard_info_get(struct embedded *engine, struct log_shard_op *op,
                               struct err_info *info)
{
    struct shard *shard = NULL;
    enum err err = live_shard(engine, op->shard, &shard, info);
    if (err == ERR_OK) {
        op->ret_info = (struct shard_info){.start_offset = atomic_load(&shard->start_offset),
                                           .end_offset = atomic_load(&shard->end_offset),
                                           .size_bytes = shard->size_bytes,
                                           .health = shard_health(shard)};
        if (op->ret_info.health != ERR_OK) {
            memcpy(op->ret_info.problem, shard->problem, sizeof(shard->problem));
        }
    }
    return err;
}

/* ---- Batches */

/* A shard that may be written to. */
static enum err writable(struct embedded *engine, struct shard_id id, struct shard **ret_shard,
                         struct err_info *info)
{
    enum err err = live_shard(engine, id, ret_shard, info);
    enum err health = err == ERR_OK ? shard_write_health(*ret_shard) : ERR_OK;
    if (health != ERR_OK) {
        return err_set(info, health, "shard %u: %s", id.v, (*ret_shard)->problem);
    }
    return err;
}

/* Gives one batch its offset and its place; it is copied into the frame later. */
static int64_t place_batch(struct embedded *engine, struct shard *shard, uint8_t *bytes,
                           ptrdiff_t len, bool of_producer)
{
    struct committer *c = &engine->committer;
    CHECK(c->pending_count < c->pending_cap);
    struct pending_batch *pending = &c->pending[c->pending_count++];
    struct record_batch_header header;
    ptrdiff_t total = 0;
    enum err err = record_batch_parse(bytes, len, &header, &total, NULL);
    CHECK(err == ERR_OK); /* checked when it was submitted */
    const int64_t base = shard->next_offset;
    const int32_t records = header.last_offset_delta + 1;
    *pending = (struct pending_batch){.shard = shard, .source = bytes};
    pending->place = shard_place(shard, total, records, engine->options.shard_segment_bytes,
                                 c->time_ms, c->now_ns);
    pending->entry = (struct batch_entry){.shard = shard->id,
                                          .flags = (pending->place.rolled ? BATCH_ROLLED : 0U) |
                                                   (of_producer ? BATCH_PRODUCER : 0U),
                                          .base_offset = base,
                                          .bytes = (uint32_t)total,
                                          .crc = header.crc,
                                          .records = (uint32_t)records};
    record_batch_set_base_offset(bytes, base);
    if (shard->group_tail == NULL) {
        shard->group_head = pending;
        shard->group_next = c->touched;
        c->touched = shard;
    } else {
        shard->group_tail->next = pending;
    }
    shard->group_tail = pending;
    if ((shard->flags & STREAM_SCRATCH) == 0) {
        c->must_write = true;
    }
    return base;
}

static enum err append(struct embedded *engine, struct log_append_op *op, struct err_info *info)
{
    struct shard *shard = NULL;
    struct record_batch_header header;
    ptrdiff_t total = 0;
    enum err err = writable(engine, op->shard, &shard, info);
    if (err == ERR_OK) {
        err = record_batch_parse(op->batch, op->bytes, &header, &total, info);
    }
    if (err != ERR_OK) {
        return err;
    }
    op->ret_duplicate = false;
    if (header.producer_id >= 0) {
        int64_t old = -1;
        err = producers_check(&engine->catalog.producers, shard->id, &header, &old, info);
        if (err != ERR_OK) {
            return err;
        }
        if (old >= 0 && !PLANTED(DUPLICATE_TAKEN)) {
            op->ret_base_offset = old;
            op->ret_duplicate = true;
            return ERR_OK;
        }
    }
    op->ret_base_offset = place_batch(engine, shard, op->batch, op->bytes, header.producer_id >= 0);
    if (header.producer_id >= 0) {
        producers_note(producers_find(&engine->catalog.producers, header.producer_id), shard->id,
                       &header, op->ret_base_offset, engine->committer.time_ms);
    }
    return ERR_OK;
}

static enum err owner_valid(const struct log_owner_op *op, struct err_info *info)
{
    ptrdiff_t len = (ptrdiff_t)strnlen(op->name, sizeof(op->name));
    bool good = len > 0 && len < (ptrdiff_t)sizeof(op->name);
    for (ptrdiff_t i = 0; good && i < len; i++) {
        char ch = op->name[i];
        good = (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '.' || ch == '-';
    }
    return good ? ERR_OK : err_set(info, ERR_INVALID, "an owner's name is 1..63 of [a-z0-9.-]");
}

static void put_owner(struct embedded *engine, uint32_t id, uint32_t incarnation, bool fenced,
                      const char *name)
{
    struct wire_out *out = &engine->committer.entries;
    ptrdiff_t begun = entry_begin(out, ENTRY_OWNER);
    wire_put_u32(out, id);
    wire_put_u32(out, incarnation);
    wire_put_u32(out, fenced ? 1 : 0);
    wire_put_i64(out, 0);
    wire_put_str(out, str_of(name));
    wire_put_u32(out, 0);
    apply(engine, begun);
}

static enum err owner_init(struct embedded *engine, struct log_owner_op *op, struct err_info *info)
{
    enum err err = owner_valid(op, info);
    if (err != ERR_OK) {
        return err;
    }
    const struct owner *owner = catalog_owner(&engine->catalog, str_of(op->name));
    if (owner == NULL && engine->catalog.owner_count >= OWNERS_MAX) {
        return err_set(info, ERR_LIMIT, "more than %d owners", OWNERS_MAX);
    }
    op->ret_id.v = owner != NULL ? owner->id : (uint32_t)engine->catalog.owner_count;
    op->ret_incarnation = owner != NULL ? owner->incarnation + 1 : 1;
    put_owner(engine, op->ret_id.v, op->ret_incarnation, false, op->name);
    return ERR_OK;
}

static enum err owner_fence(struct embedded *engine, struct log_owner_op *op, struct err_info *info)
{
    enum err err = owner_valid(op, info);
    if (err != ERR_OK) {
        return err;
    }
    const struct owner *owner = catalog_owner(&engine->catalog, str_of(op->name));
    if (owner == NULL) {
        return err_set(info, ERR_NOT_FOUND, "no owner %s", op->name);
    }
    op->ret_id.v = owner->id;
    op->ret_incarnation = owner->incarnation;
    if (!owner->fenced) {
        put_owner(engine, owner->id, owner->incarnation, true, op->name);
    }
    return ERR_OK;
}

/* A repeated try of the owner's last commit: the first one's offsets. */
static enum err commit_again(const struct owner *owner, struct log_commit_op *op,
                             struct err_info *info)
{
    if (owner->result_count != op->batch_count) {
        return err_set(info, ERR_SEQUENCE, "commit %lld of owner %s had %d batches, not %d",
                       (long long)op->sequence, owner->name, owner->result_count, op->batch_count);
    }
    for (int32_t i = 0; i < op->batch_count; i++) {
        if (owner->results[i].shard != op->batches[i].shard.v) {
            return err_set(info, ERR_SEQUENCE, "commit %lld of owner %s is repeated with others",
                           (long long)op->sequence, owner->name);
        }
        op->batches[i].ret_base_offset = owner->results[i].base;
        op->batches[i].ret_end_offset = owner->results[i].end;
    }
    return ERR_OK;
}

/* Everything that may refuse a commit. *ret_again: it took effect before. */
static enum err commit_check(struct embedded *engine, struct log_commit_op *op, bool *ret_again,
                             struct err_info *info)
{
    *ret_again = false;
    op->ret_fenced_claim = -1;
    if (op->owner.v >= (uint32_t)engine->catalog.owner_count) {
        return err_set(info, ERR_NOT_FOUND, "no owner %u", op->owner.v);
    }
    const struct owner *owner = engine->catalog.owners[op->owner.v];
    if (owner->incarnation != op->incarnation && !PLANTED(OLD_INCARNATION)) {
        return err_set(info, ERR_FENCED, "owner %s is at incarnation %u, the commit is of %u",
                       owner->name, owner->incarnation, op->incarnation);
    }
    if (op->sequence == owner->sequence && op->sequence > 0) {
        *ret_again = true;
        return commit_again(owner, op, info);
    }
    if (owner->fenced && !PLANTED(NO_FENCE)) {
        return err_set(info, ERR_FENCED, "owner %s is fenced", owner->name);
    }
    if (op->sequence != owner->sequence + 1) {
        return err_set(info, ERR_SEQUENCE, "owner %s sent commit %lld after %lld", owner->name,
                       (long long)op->sequence, (long long)owner->sequence);
    }
    for (int32_t i = 0; i < op->claim_count; i++) {
        const struct log_claim *claim = &op->claims[i];
        struct shard *shard = NULL;
        enum err err = live_shard(engine, claim->changelog, &shard, info);
        if (err != ERR_OK) {
            return err;
        }
        if (claim->group_lo >= claim->group_hi || claim->group_hi > KEY_GROUP_COUNT) {
            return err_set(info, ERR_INVALID, "a claim on key groups %u..%u", claim->group_lo,
                           claim->group_hi);
        }
        uint64_t epoch = range_epochs_highest(shard, claim->group_lo, claim->group_hi);
        if (epoch > claim->epoch && !PLANTED(OLD_EPOCH)) {
            op->ret_fenced_claim = i;
            return err_set(info, ERR_FENCED,
                           "key groups %u..%u are at epoch %llu, the claim at %llu",
                           claim->group_lo, claim->group_hi, (unsigned long long)epoch,
                           (unsigned long long)claim->epoch);
        }
    }
    for (int32_t i = 0; i < op->batch_count; i++) {
        struct shard *shard = NULL;
        enum err err = writable(engine, op->batches[i].shard, &shard, info);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

static enum err commit(struct embedded *engine, struct log_commit_op *op, struct err_info *info)
{
    bool again = false;
    enum err err = commit_check(engine, op, &again, info);
    if (err != ERR_OK || again) {
        return err;
    }
    for (int32_t i = 0; i < op->batch_count; i++) {
        struct log_batch *batch = &op->batches[i];
        struct shard *shard = shard_get(&engine->shards, batch->shard.v);
        uint8_t *at = batch->bytes;
        batch->ret_base_offset = shard->next_offset;
        for (ptrdiff_t left = batch->len; left > 0;) {
            place_batch(engine, shard, at, left, false);
            ptrdiff_t total =
                (ptrdiff_t)engine->committer.pending[engine->committer.pending_count - 1]
                    .entry.bytes;
            at += total;
            left -= total;
        }
        batch->ret_end_offset = shard->next_offset;
    }
    struct wire_out *out = &engine->committer.entries;
    ptrdiff_t begun = entry_begin(out, ENTRY_OWNER_COMMIT);
    wire_put_u32(out, op->owner.v);
    wire_put_i64(out, op->sequence);
    wire_put_u32(out, (uint32_t)op->batch_count);
    for (int32_t i = 0; i < op->batch_count; i++) {
        wire_put_u32(out, op->batches[i].shard.v);
        wire_put_i64(out, op->batches[i].ret_base_offset);
        wire_put_i64(out, op->batches[i].ret_end_offset);
    }
    apply(engine, begun);
    return ERR_OK;
}

/* ---- The rest */

static enum err producer_init(struct embedded *engine, struct log_producer_op *op,
                              struct err_info *info)
{
    if (engine->catalog.producers.count >= PRODUCERS_MAX) {
        return err_set(info, ERR_LIMIT, "more than %d producers are known", PRODUCERS_MAX);
    }
    op->ret_id = engine->catalog.next_producer;
    op->ret_epoch = 0;
    struct wire_out *out = &engine->committer.entries;
    ptrdiff_t begun = entry_begin(out, ENTRY_PRODUCER);
    wire_put_i64(out, op->ret_id);
    wire_put_u32(out, 0);
    wire_put_i64(out, engine->committer.time_ms);
    apply(engine, begun);
    return ERR_OK;
}

static enum err range_fence(struct embedded *engine, struct log_fence_op *op, struct err_info *info)
{
    struct shard *shard = NULL;
    enum err err = live_shard(engine, op->changelog, &shard, info);
    if (err != ERR_OK) {
        return err;
    }
    if (op->group_lo >= op->group_hi || op->group_hi > KEY_GROUP_COUNT) {
        return err_set(info, ERR_INVALID, "a fence on key groups %u..%u", op->group_lo,
                       op->group_hi);
    }
    struct wire_out *out = &engine->committer.entries;
    ptrdiff_t begun = entry_begin(out, ENTRY_RANGE_EPOCH);
    wire_put_u32(out, shard->id);
    wire_put_u32(out, op->group_lo);
    wire_put_u32(out, op->group_hi);
    wire_put_u64(out, op->epoch);
    apply(engine, begun);
    return ERR_OK;
}

static enum err control_set(struct embedded *engine, struct log_control_op *op,
                            struct err_info *info)
{
    struct catalog *catalog = &engine->catalog;
    if (op->key[0] == 0 || !text_ended(op->key, sizeof(op->key)) ||
        (op->len > 0 && op->value == NULL)) {
        return err_set(info, ERR_INVALID, "a control record's key has 1..127 bytes");
    }
    if (op->len > LOG_CONTROL_VALUE_MAX) {
        return err_set(info, ERR_LIMIT, "a control record of %td bytes (at most %d)", op->len,
                       LOG_CONTROL_VALUE_MAX);
    }
    const struct control *control = catalog_control(catalog, str_of(op->key));
    const int64_t present = control != NULL ? control->version : 0;
    if (op->expected_version != present) {
        op->ret_version = present;
        return err_set(info, ERR_PRECONDITION, "control record %s is at version %lld, not %lld",
                       op->key, (long long)present, (long long)op->expected_version);
    }
    if (op->len < 0 && control == NULL) {
        op->ret_version = 0;
        return ERR_OK;
    }
    if (control == NULL && catalog->control_count >= CONTROL_KEYS_MAX) {
        return err_set(info, ERR_LIMIT, "more than %d control records", CONTROL_KEYS_MAX);
    }
    int64_t version = control != NULL ? present + 1 : catalog->control_version_floor + 1;
    struct wire_out *out = &engine->committer.entries;
    ptrdiff_t begun = entry_begin(out, ENTRY_CONTROL);
    wire_put_i64(out, op->len < 0 ? -version : version);
    wire_put_str(out, str_of(op->key));
    wire_put_str(out, op->len > 0 ? (struct str){op->value, op->len} : (struct str){0});
    op->ret_version = op->len < 0 ? 0 : version;
    apply(engine, begun);
    return ERR_OK;
}

static enum err control_get(struct embedded *engine, struct log_control_op *op,
                            struct err_info *info)
{
    if (op->key[0] == 0 || !text_ended(op->key, sizeof(op->key))) {
        return err_set(info, ERR_INVALID, "a control record's key has 1..127 bytes");
    }
    const struct control *control = catalog_control(&engine->catalog, str_of(op->key));
    op->ret_version = control != NULL ? control->version : 0;
    op->ret_len = control != NULL ? control->len : 0;
    if (op->ret_len > op->len) {
        return err_set(info, ERR_LIMIT, "control record %s has %td bytes, the buffer %td", op->key,
                       op->ret_len, op->len);
    }
    if (op->ret_len > 0) {
        memcpy(op->value, control->value, (size_t)op->ret_len);
    }
    return ERR_OK;
}

static enum err control_list(struct embedded *engine, struct log_control_op *op,
                             struct err_info *info)
{
    if (!text_ended(op->key, sizeof(op->key))) {
        return err_set(info, ERR_INVALID, "a control record's key has 1..127 bytes");
    }
    const struct catalog *catalog = &engine->catalog;
    const struct str prefix = str_of(op->key);
    ptrdiff_t used = 0;
    for (int32_t i = catalog_control_index(catalog, prefix); i < catalog->control_count; i++) {
        const struct str key = str_of(catalog->controls[i]->key);
        if (!str_starts_with(key, prefix)) {
            break;
        }
        if (used + key.len + 1 <= op->len) {
            memcpy((char *)op->value + used, key.ptr, (size_t)key.len + 1);
        }
        used += key.len + 1;
    }
    op->ret_len = used;
    return used <= op->len
               ? ERR_OK
               : err_set(info, ERR_LIMIT, "the keys have %td bytes, the buffer %td", used, op->len);
}

/* Its file is durable; op->engine_word names it. */
static enum err checkpoint_done(struct embedded *engine, const struct log_op *log_op,
                                struct err_info *info)
{
    const struct log_checkpoint_op *op = &log_op->u.checkpoint;
    struct shard *shard = NULL;
    enum err err = live_shard(engine, op->changelog, &shard, info);
    bool older =
        err == ERR_OK && op->at < checkpoint_covers_highest(shard, op->group_lo, op->group_hi);
    if (err != ERR_OK || older) { /* an older one than there is changes nothing */
        catalog_add_garbage(&engine->catalog, GARBAGE_CHECKPOINT, 0, log_op->engine_word);
        return err;
    }
    struct wire_out *out = &engine->committer.entries;
    ptrdiff_t begun = entry_begin(out, ENTRY_CHECKPOINT);
    wire_put_u32(out, shard->id);
    wire_put_u32(out, op->group_lo);
    wire_put_u32(out, op->group_hi);
    wire_put_i64(out, op->at);
    wire_put_i64(out, log_op->engine_word);
    wire_put_i64(out, op->len);
    apply(engine, begun);
    return ERR_OK;
}

/* Waits for whatever frame comes next. */
static void put_floor(struct embedded *engine, const struct shard *shard, uint32_t reader,
                      int64_t offset)
{
    bool must_write = engine->committer.must_write;
    struct wire_out *out = &engine->committer.entries;
    ptrdiff_t begun = entry_begin(out, ENTRY_FLOOR);
    wire_put_u32(out, shard->id);
    wire_put_u32(out, reader);
    wire_put_i64(out, offset);
    apply(engine, begun);
    engine->committer.must_write = must_write;
}

static bool is_read(const struct log_floor_op *op, uint32_t shard)
{
    bool read = false;
    for (int32_t i = 0; i < op->read_count; i++) {
        read = read || op->reads[i].v == shard;
    }
    return read;
}

static bool has_floor(const struct shard *shard, uint32_t reader)
{
    bool has = false;
    for (int32_t i = 0; i < shard->floor_count; i++) {
        has = has || shard->floors[i].reader == reader;
    }
    return has;
}

/* FLOORS_LEFT_MAX at once: group_bound() has room for those. */
static void leave_others(struct embedded *engine, const struct log_floor_op *op)
{
    const struct catalog *catalog = &engine->catalog;
    int32_t room = FLOORS_LEFT_MAX;
    for (int32_t i = 0; op->read_count > 0 && i < catalog->stream_count; i++) {
        const struct stream_info *stream = catalog->streams[i];
        for (uint32_t s = 0; s < (uint32_t)stream->config.shard_count; s++) {
            const struct shard *shard = shard_get(catalog->shards, stream->first_shard.v + s);
            if (room > 0 && has_floor(shard, op->reader) && !is_read(op, shard->id)) {
                put_floor(engine, shard, op->reader, INT64_MAX);
                room--;
            }
        }
    }
}

/* Needs no frame of its own: "durable, at latest with the next commit". */
static enum err floor_set(struct embedded *engine, struct log_floor_op *op, struct err_info *info)
{
    struct shard *shard = NULL;
    enum err err = live_shard(engine, op->shard, &shard, info);
    if (err != ERR_OK) {
        return err;
    }
    if (op->offset < 0 || op->read_count < 0 || op->read_count > COUNT_OF(op->reads)) {
        return err_set(info, ERR_INVALID, "a floor at %lld of a reader of %d shards",
                       (long long)op->offset, op->read_count);
    }
    leave_others(engine, op);
    bool known = false;
    for (int32_t i = 0; i < shard->floor_count; i++) {
        known = known || shard->floors[i].reader == op->reader;
        if (shard->floors[i].reader == op->reader && shard->floors[i].offset >= op->offset) {
            return ERR_OK;
        }
    }
    if (!known && (shard->floor_count >= FLOORS_PER_SHARD_MAX || op->offset == INT64_MAX)) {
        return op->offset == INT64_MAX ? ERR_OK
                                       : err_set(info, ERR_LIMIT, "shard %u has %d readers",
                                                 shard->id, shard->floor_count);
    }
    put_floor(engine, shard, op->reader, op->offset);
    return ERR_OK;
}

static enum err trim(struct embedded *engine, struct log_trim_op *op, struct err_info *info)
{
    struct shard *shard = NULL;
    enum err err = live_shard(engine, op->shard, &shard, info);
    if (err != ERR_OK) {
        return err;
    }
    if (op->before_offset < 0) {
        return err_set(info, ERR_INVALID, "a trim before %lld", (long long)op->before_offset);
    }
    int64_t limit = shard_lowest_floor(shard);
    int64_t end = atomic_load(&shard->end_offset); /* a frame's batches stand behind its trims */
    limit = limit < end ? limit : end;
    for (const struct log_restore *restore = shard->restores; restore != NULL;
         restore = restore->next) {
        limit = restore->from < limit ? restore->from : limit;
    }
    if (retention_trim(engine, shard, op->before_offset < limit ? op->before_offset : limit,
                       true)) {
        engine->committer.must_write = true;
    }
    return ERR_OK;
}

static enum err prepare(struct embedded *engine, struct log_op *op)
{
    struct err_info *info = &op->info;
    switch (op->kind) {
    case LOG_OP_STREAM_CREATE:
        return stream_create(engine, &op->u.stream, info);
    case LOG_OP_STREAM_GET:
        return stream_get(engine, &op->u.stream, info);
    case LOG_OP_STREAM_LIST:
        return stream_list(engine, &op->u.list, info);
    case LOG_OP_STREAM_ALTER:
        return stream_alter(engine, &op->u.stream, info);
    case LOG_OP_STREAM_DELETE:
        return stream_delete(engine, &op->u.stream, info);
    case LOG_OP_SHARD_GET:
        return shard_info_get(engine, &op->u.shard, info);
    case LOG_OP_PRODUCER_INIT:
        return producer_init(engine, &op->u.producer, info);
    case LOG_OP_APPEND:
        return append(engine, &op->u.append, info);
    case LOG_OP_OWNER_INIT:
        return owner_init(engine, &op->u.owner, info);
    case LOG_OP_OWNER_FENCE:
        return owner_fence(engine, &op->u.owner, info);
    case LOG_OP_RANGE_FENCE:
        return range_fence(engine, &op->u.fence, info);
    case LOG_OP_COMMIT:
        return commit(engine, &op->u.commit, info);
    case LOG_OP_CONTROL_SET:
        return control_set(engine, &op->u.control, info);
    case LOG_OP_CONTROL_GET:
        return control_get(engine, &op->u.control, info);
    case LOG_OP_CONTROL_LIST:
        return control_list(engine, &op->u.control, info);
    case LOG_OP_CHECKPOINT:
        return checkpoint_done(engine, op, info);
    case LOG_OP_RESTORE_OPEN:
        return restore_open(engine, &op->u.restore, info);
    case LOG_OP_RESTORE_CLOSE:
        return restore_close(engine, &op->u.restore, info);
    case LOG_OP_FLOOR:
        return floor_set(engine, &op->u.floor, info);
    case LOG_OP_TRIM:
        return trim(engine, &op->u.trim, info);
    case LOG_OP_READ:
    case LOG_OP_RESTORE_NEXT:
    case LOG_OP_KIND_COUNT:
        break;
    }
    CHECK(false); /* these never reach the committer */
    return ERR_INTERNAL;
}

void group_prepare(struct embedded *engine, struct log_op *op)
{
    op->err = prepare(engine, op);
}
