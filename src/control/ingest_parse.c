// SPDX-License-Identifier: Apache-2.0
/* From a body to record batches, one or more a shard, in the request's arena. */
#include <stdio.h>

#include "base/check.h"
#include "control/control_priv.h"

enum { BUILDER_KEEP_BYTES = 1 << 20 };

/* One call being parsed. */
struct parse {
    struct control *control;
    const struct control_request *request;
    struct ingest_job *ingest;
    int64_t now_ms;
    int32_t sticky_shard; /* of keyless records */
    struct json_shape shape;
    int32_t batch_cap;
    int64_t line; /* 1.. */
};

static enum record_codec codec_of(const struct stream_spec *spec)
{
    if (spec == NULL || spec->codec == STREAM_CODEC_NONE) {
        return RECORD_CODEC_NONE;
    }
    return spec->codec == STREAM_CODEC_LZ4 ? RECORD_CODEC_LZ4 : RECORD_CODEC_ZSTD;
}

/* Keyless records of a call stay together: on the better of two shards drawn by lot, the one with fewer records. */
static int32_t draw_shard(struct control *control, const struct stream_info *info)
{
    uint64_t count = (uint64_t)info->config.shard_count;
    uint32_t a = (uint32_t)rng_below(&control->rng, count);
    uint32_t b = (uint32_t)rng_below(&control->rng, count);
    int64_t end_a = log_end_offset(control->log, (struct shard_id){info->first_shard.v + a});
    int64_t end_b = log_end_offset(control->log, (struct shard_id){info->first_shard.v + b});
    return (int32_t)(end_b < end_a ? b : a);
}

/* Moves a full builder's batch into the arena. */
static enum err flush(struct parse *parse, int32_t shard, struct err_info *info)
{
    struct record_builder *builder = &parse->control->builders[shard];
    struct ingest_job *ingest = parse->ingest;
    void *bytes = NULL;
    ptrdiff_t len = 0;
    enum err err = record_builder_finish(builder, RECORD_PRODUCER_NONE, &bytes, &len, info);
    if (err == ERR_OK && ingest->batch_count == parse->batch_cap) {
        err = err_set(info, ERR_LIMIT, "the call makes more than %d batches: send fewer records",
                      parse->batch_cap);
    }
    void *copy = err == ERR_OK ? arena_try_new(parse->request->arena, len, 1) : NULL;
    if (err == ERR_OK && (copy == NULL || ingest->bytes + len > LOG_COMMIT_BYTES_MAX)) {
        err = err_set(info, ERR_LIMIT, "the call is too large: send fewer records at once");
    }
    if (err == ERR_OK && bytes != NULL && copy != NULL) {
        memcpy(copy, bytes, (size_t)len);
        ingest->bytes += len;
        ingest->batches[ingest->batch_count++] = (struct log_batch){
            .shard = {ingest->info.first_shard.v + (uint32_t)shard}, .bytes = copy, .len = len};
    }
    record_builder_reset(builder);
    return err;
}

static enum err add(struct parse *parse, const struct record *record, struct err_info *info)
{
    const struct control_args *args = &parse->request->args;
    int32_t shard = args->shard >= 0 ? (int32_t)args->shard
                    : record->key.ptr != NULL
                        ? log_shard_of_key(record->key, parse->ingest->info.config.shard_count)
                        : parse->sticky_shard;
    struct record_builder *builder = &parse->control->builders[shard];
    enum err err = record_builder_add(builder, record);
    if (err == ERR_LIMIT && builder->count > 0) {
        err = flush(parse, shard, info);
        err = err == ERR_OK ? record_builder_add(builder, record) : err;
    }
    if (err != ERR_OK) {
        return err_set(info, err, "line %lld: the record does not fit into a batch",
                       (long long)parse->line);
    }
    parse->ingest->records++;
    return ERR_OK;
}

static void refuse(struct parse *parse, const char *reason)
{
    struct ingest_job *ingest = parse->ingest;
    if (ingest->rejected++ == 0) {
        IGNORE_RESULT(snprintf(ingest->reason, sizeof(ingest->reason), "line %lld: %s",
                               (long long)parse->line, reason)); /* cut is fine */
    }
}

/* The key that stands in the record's field: text as it reads, numbers and booleans as they are written, null none.
 * NULL, or why it cannot be had. `*ret_key` lives in control's scratch. */
static const char *read_key(struct parse *parse, struct str line, struct str *ret_key)
{
    struct control *control = parse->control;
    struct arena *scratch = &control->scratch;
    struct column column = {.type = VALUE_STR,
                            .data = ARENA_NEW(scratch, struct str),
                            .null = ARENA_NEW(scratch, uint8_t)};
    int32_t row = 0;
    const char *reason = NULL;
    if (json_read_rows(control->key_json, &parse->shape, false, &line, &row, 1, &column, scratch,
                       &reason) != 0) {
        return reason;
    }
    struct str text = *COLUMN_STR(&column);
    if (column_is_null(&column, 0) || str_is(text, "null")) {
        *ret_key = (struct str){NULL, 0};
        return NULL;
    }
    if (text.len > 0 && (text.ptr[0] == '{' || text.ptr[0] == '[')) {
        return "the key field is neither text nor a number";
    }
    if (text.len == 0 || text.ptr[0] != '"') {
        *ret_key = text;
        return NULL;
    }
    char *padded = arena_new(scratch, text.len + JSON_PADDING, 1);
    memcpy(padded, text.ptr, (size_t)text.len);
    if (!json_read_scalar(control->json, (struct str){padded, text.len}, &column, 0, scratch)) {
        return "the key field is no valid text";
    }
    *ret_key = *COLUMN_STR(&column);
    return NULL;
}

/* Reads what the record's line says of itself; NULL, or why it is refused. */
static const char *read_line(struct parse *parse, struct str line, struct record *record)
{
    const struct control_args *args = &parse->request->args;
    const struct stream_spec *spec = parse->ingest->spec;
    record->value = line;
    record->timestamp_ms = parse->now_ms;
    record->key = args->has_record_key ? str_of(args->record_key) : (struct str){NULL, 0};
    if (args->format != INGEST_LINES && args->key_field[0] != 0) {
        const char *reason = read_key(parse, line, &record->key);
        if (reason != NULL) {
            return reason;
        }
    }
    if (spec != NULL && spec->time_ingest_field.len > 0) {
        const char *reason = json_read_time(parse->control->json, line, spec->time_ingest_field,
                                            &record->timestamp_ms);
        if (reason != NULL) {
            return reason;
        }
    }
    if (spec != NULL && spec->max_future_ms != INT64_MAX &&
        record->timestamp_ms - spec->max_future_ms > parse->now_ms) {
        return "its time is further in the future than max_future allows";
    }
    return NULL;
}

static enum err take_line(struct parse *parse, struct str line, struct err_info *info)
{
    struct record record = {.offset = 0};
    struct arena_mark mark = arena_mark(&parse->control->scratch);
    parse->ingest->keys++;
    if (parse->ingest->keys > CONTROL_INGEST_RECORDS_MAX) {
        return err_set(info, ERR_LIMIT, "more than %d records in one call",
                       CONTROL_INGEST_RECORDS_MAX);
    }
    const char *reason = read_line(parse, line, &record);
    enum err err = ERR_OK;
    if (reason != NULL) {
        refuse(parse, reason);
    } else {
        err = add(parse, &record, info);
    }
    arena_rewind(&parse->control->scratch, mark);
    return err;
}

static enum err take_lines(struct parse *parse, struct err_info *info)
{
    struct str rest = parse->request->body;
    enum err err = ERR_OK;
    if (parse->request->args.format == INGEST_RAW) {
        parse->line = 1;
        return take_line(parse, rest, info);
    }
    while (err == ERR_OK && rest.ptr != NULL && rest.len > 0) {
        struct str line = str_cut(&rest, '\n');
        parse->line++;
        if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
            line.len--;
        }
        if (str_trim(line).len > 0) {
            err = take_line(parse, line, info);
        }
    }
    return err;
}

static void prepare_shape(struct parse *parse)
{
    struct control *control = parse->control;
    const char *field = parse->request->args.key_field;
    struct json_shape *shape = &parse->shape;
    if (control->key_json == NULL || strcmp(control->key_json_field, field) != 0) {
        json_reader_free(control->key_json);
        control->key_json = json_reader_new();
        memcpy(control->key_json_field, field, sizeof(control->key_json_field));
    }
    shape->count = 2;
    shape->nodes[0] = (struct json_shape_node){.child_first = 1, .child_count = 1};
    shape->nodes[1] =
        (struct json_shape_node){.key = str_of(field),
                                 .type = VALUE_STR,
                                 .raw_json = true,
                                 .wrong_type = "the key field is neither text nor a number"};
}

enum err ingest_parse(struct control *control, struct control_request *request,
                      struct ingest_job *ingest, struct err_info *info)
{
    struct arena_mark mark = arena_mark(&control->scratch);
    struct parse *parse = ARENA_NEW(&control->scratch, struct parse);
    int32_t shard_count = ingest->info.config.shard_count;
    parse->control = control;
    parse->request = request;
    parse->ingest = ingest;
    parse->now_ms = wall_ms(control);
    parse->batch_cap = shard_count + 16;
    parse->sticky_shard = draw_shard(control, &ingest->info);
    ingest->batches = ARENA_NEW_ARRAY(request->arena, struct log_batch, parse->batch_cap);
    prepare_shape(parse);
    for (int32_t i = 0; i < shard_count; i++) {
        record_builder_reset(&control->builders[i]);
        control->builders[i].codec = codec_of(ingest->spec);
    }
    enum err err = take_lines(parse, info);
    for (int32_t i = 0; i < shard_count; i++) {
        struct record_builder *builder = &control->builders[i];
        if (err == ERR_OK && builder->count > 0) {
            err = flush(parse, i, info);
        }
        if (builder->cap > BUILDER_KEEP_BYTES) {
            record_builder_release(builder);
            record_builder_init(builder, RECORD_CODEC_NONE);
        }
    }
    arena_rewind(&control->scratch, mark);
    if (err == ERR_OK && ingest->records == 0) {
        err = ingest->rejected > 0
                  ? err_set(info, ERR_INVALID, CONTROL_NO_RECORD_TEXT "%s", ingest->reason)
                  : err_set(info, ERR_INVALID, "the body holds no record");
    }
    return err;
}
