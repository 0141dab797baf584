// SPDX-License-Identifier: Apache-2.0
/* Stages: what they read, what they write, how they hang together. */
#include "base/check.h"
#include "base/clock.h"
#include "pipeline/config_priv.h"
#include "pipeline/hint.h"
#include "pipeline/operators.h"

enum { HINT_NAMES_MAX = 256 };

static int32_t find_stage(const struct pipeline_plan *pipeline, struct str name)
{
    for (int32_t i = 0; i < pipeline->stage_count; i++) {
        if (str_equal(pipeline->stages[i]->name, name)) {
            return i;
        }
    }
    return -1;
}

static enum err no_such_source(const struct loader *loader, const struct pipeline_plan *pipeline,
                               const struct yaml_node *node)
{
    struct str names[HINT_NAMES_MAX];
    int32_t count = 0;
    for (int32_t i = 0; i < pipeline->stage_count; i++) {
        names[count++] = pipeline->stages[i]->name;
    }
    for (int32_t i = 0; i < loader->config->stream_count && count < HINT_NAMES_MAX; i++) {
        if (!loader->config->streams[i]->internal) {
            names[count++] = loader->config->streams[i]->name;
        }
    }
    struct hint hint;
    hint_of_names(&hint, node->text, names, count);
    return yaml_fail(loader->info, node,
                     "there is no stream and no stage before this named '%.*s'%s",
                     STR_ARG(node->text), hint.text);
}

/* One input of `stage` by the name at `node`. */
static enum err read_input(const struct loader *loader, const struct pipeline_plan *pipeline,
                           struct stage_plan *stage, const struct yaml_node *node)
{
    struct str name;
    enum err err = yaml_text(node, &name, loader->info);
    if (err != ERR_OK) {
        return err;
    }
    struct stage_input *input = &stage->inputs[stage->input_count];
    int32_t from = find_stage(pipeline, name);
    const struct stream_spec *stream = config_stream(loader->config, name);
    if (from >= 0 && stream != NULL) {
        return yaml_fail(loader->info, node, "'%.*s' is a stage and a stream: rename one of them",
                         STR_ARG(name));
    }
    if (stream == NULL && str_equal(name, stage->name)) {
        return yaml_fail(loader->info, node, "a stage cannot read itself");
    }
    if (from < 0 && (stream == NULL || stream->internal)) {
        return no_such_source(loader, pipeline, node);
    }
    if (from >= 0 && !pipeline->stages[from]->key_by) {
        return yaml_fail(
            loader->info, node,
            "stage '%.*s' does not end with key_by: give it a 'to' and read that stream",
            STR_ARG(name));
    }
    input->kind = from >= 0 ? STAGE_SOURCE_STAGE : STAGE_SOURCE_STREAM;
    input->stage = from;
    input->stream = from >= 0 ? pipeline->stages[from]->output : stream;
    stage->input_count++;
    return ERR_OK;
}

static enum err read_from(const struct loader *loader, const struct pipeline_plan *pipeline,
                          struct stage_plan *stage, const struct yaml_node *node)
{
    const struct yaml_node *from = yaml_get(node, "from");
    if (from == NULL) {
        int32_t before = pipeline->stage_count - 1;
        if (before < 0) {
            return yaml_fail(loader->info, node, "the first stage has no 'from': name a stream");
        }
        if (!pipeline->stages[before]->key_by) {
            return yaml_fail(
                loader->info, node,
                "stage '%.*s' has no 'from', and the one before it does not end with key_by",
                STR_ARG(stage->name));
        }
        stage->inputs[0] =
            (struct stage_input){STAGE_SOURCE_STAGE, before, pipeline->stages[before]->output};
        stage->input_count = 1;
        return ERR_OK;
    }
    if (from->kind != YAML_LIST) {
        return read_input(loader, pipeline, stage, from);
    }
    if (from->count != 2) {
        return yaml_fail(loader->info, from,
                         "'from' is one stream or stage, or a list of two for a join");
    }
    enum err err = read_input(loader, pipeline, stage, from->items[0]);
    if (err == ERR_OK) {
        err = read_input(loader, pipeline, stage, from->items[1]);
    }
    if (err == ERR_OK && stage->inputs[0].stream == stage->inputs[1].stream) {
        return yaml_fail(loader->info, from, "both inputs are the same");
    }
    if (err == ERR_OK &&
        stage->inputs[0].stream->shard_count != stage->inputs[1].stream->shard_count) {
        return yaml_fail(loader->info, from,
                         "a join wants inputs with equal shards, these have %d and %d: re-key one",
                         stage->inputs[0].stream->shard_count,
                         stage->inputs[1].stream->shard_count);
    }
    return err;
}

/* A stream of the stage's own: "<pipeline>.<stage>.<what>", or the configured one of that name. */
static enum err side_stream(struct loader *loader, const struct yaml_node *node,
                            const struct stage_plan *stage, const char *what,
                            const struct stream_spec **ret_stream)
{
    struct stream_spec spec = {
        .name = str_of(arena_printf(loader->arena, "%.*s.%.*s.%s", STR_ARG(stage->pipeline),
                                    STR_ARG(stage->name), what)),
        .shard_count = 1,
        .idle_after_ns = 60000000000LL,
        .max_future_ms = INT64_MAX,
        .retention_ms = 7LL * 86400000,
        .retention_bytes = -1,
        .codec = STREAM_CODEC_LZ4,
    };
    const struct stream_spec *found = config_stream(loader->config, spec.name);
    if (found != NULL) {
        *ret_stream = found;
        return ERR_OK;
    }
    return config_add_stream(loader, node, &spec, ret_stream);
}

/* A setting of `stage` that names a configured stream; absent: `*ret_stream` is left alone. */
static enum err named_stream(const struct loader *loader, const struct yaml_node *node,
                             const char *key, const struct stream_spec **ret_stream)
{
    const struct yaml_node *name = yaml_get(node, key);
    if (name == NULL) {
        return ERR_OK;
    }
    struct stage_resources resources = {.config = loader->config};
    return stage_resources_stream(&resources, name, ret_stream, loader->info);
}

static enum err make_internal(struct loader *loader, const struct yaml_node *settings,
                              struct stage_plan *stage)
{
    int64_t shards = stage->inputs[0].stream->shard_count;
    const struct yaml_node *node = yaml_get(settings, "shards");
    enum err err =
        node != NULL ? yaml_i64(node, 1, STREAM_SHARDS_MAX, &shards, loader->info) : ERR_OK;
    if (err != ERR_OK) {
        return err;
    }
    struct stream_spec spec = {
        .name = str_of(arena_printf(loader->arena, "sc.%.*s.%.*s", STR_ARG(stage->pipeline),
                                    STR_ARG(stage->name))),
        .shard_count = (int32_t)shards,
        .idle_after_ns = CLOCK_NEVER,
        .max_future_ms = INT64_MAX,
        .retention_ms = -1,
        .retention_bytes = -1,
        .codec = STREAM_CODEC_LZ4,
        .internal = true,
    };
    const struct yaml_node *codec = yaml_get(settings, "codec");
    err = codec != NULL ? config_read_codec(loader, codec, &spec) : ERR_OK;
    stage->key_by = true;
    return err == ERR_OK ? config_add_stream(loader, settings, &spec, &stage->output) : err;
}

static enum err read_outputs(struct loader *loader, struct stage_plan *stage,
                             const struct yaml_node *node, const struct yaml_node *chain)
{
    const struct yaml_node *key_by = config_key_by_of(chain);
    const struct yaml_node *to = yaml_get(node, "to");
    enum err err = ERR_OK;
    if (key_by != NULL && to != NULL) {
        return yaml_fail(
            loader->info, to,
            "stage '%.*s' ends with key_by, which writes its own stream: take 'to' away",
            STR_ARG(stage->name));
    }
    err = key_by != NULL ? make_internal(loader, key_by, stage)
                         : named_stream(loader, node, "to", &stage->output);
    for (int32_t i = 0; i < stage->input_count && err == ERR_OK; i++) {
        if (to != NULL && stage->inputs[i].stream == stage->output) {
            return yaml_fail(loader->info, to, "stage '%.*s' writes the stream that it reads",
                             STR_ARG(stage->name));
        }
    }
    if (err == ERR_OK) {
        err = named_stream(loader, node, "dead_letter", &stage->dead_letter);
    }
    if (err == ERR_OK && stage->dead_letter == NULL) {
        err = side_stream(loader, node, stage, "dead", &stage->dead_letter);
    }
    return err;
}

/* Only stages that can find a record late have a stream for such. */
static enum err read_late(struct loader *loader, struct stage_plan *stage,
                          const struct yaml_node *node)
{
    bool timed = false;
    for (int32_t i = 0; i < stage->operator_count; i++) {
        timed = timed || stage->operators[i]->type->advance != NULL;
    }
    const struct yaml_node *late = yaml_get(node, "late");
    if (late != NULL && late->kind == YAML_SCALAR && str_is(late->text, "none")) {
        return ERR_OK;
    }
    enum err err = named_stream(loader, node, "late", &stage->late);
    if (err == ERR_OK && timed && stage->late == NULL) {
        err = side_stream(loader, node, stage, "late", &stage->late);
    }
    return err;
}

static enum err read_stage_name(const struct loader *loader, const struct pipeline_plan *pipeline,
                                const struct yaml_node *node, struct str *ret_name)
{
    const struct yaml_node *name = yaml_get(node, "name");
    if (name == NULL) {
        return yaml_fail(loader->info, node, "a stage has no 'name': state is found again by it");
    }
    enum err err = yaml_text(name, ret_name, loader->info);
    if (err == ERR_OK) {
        err = config_part_name(name, *ret_name, "a stage", loader->info);
    }
    if (err == ERR_OK && find_stage(pipeline, *ret_name) >= 0) {
        return yaml_fail(loader->info, name, "there is a stage '%.*s' already", STR_ARG(*ret_name));
    }
    return err;
}

static enum err read_stage(struct loader *loader, struct pipeline_plan *pipeline,
                           const struct yaml_node *node)
{
    static const char *const known[] = {"name",        "from", "partitions",     "chain", "to",
                                        "dead_letter", "late", "internal_bytes", NULL};
    struct err_info *info = loader->info;
    struct stage_plan *stage = ARENA_NEW(loader->arena, struct stage_plan);
    stage->index = pipeline->stage_count;
    stage->pipeline = pipeline->name;
    stage->partitions_per_shard = 1;
    stage->internal_bytes_max = 256LL << 20;
    enum err err = yaml_only_keys(node, known, info);
    if (err == ERR_OK) {
        err = read_stage_name(loader, pipeline, node, &stage->name);
    }
    if (err == ERR_OK) {
        err = read_from(loader, pipeline, stage, node);
    }
    const struct yaml_node *partitions = yaml_get(node, "partitions");
    if (err == ERR_OK && partitions != NULL) {
        int64_t count;
        err = yaml_i64(partitions, 1, PARTITIONS_PER_SHARD_MAX, &count, info);
        stage->partitions_per_shard = err == ERR_OK ? (int32_t)count : 1;
    }
    const struct yaml_node *bytes = yaml_get(node, "internal_bytes");
    if (err == ERR_OK && bytes != NULL) {
        err = yaml_size_bytes(bytes, 1 << 20, 1LL << 42, &stage->internal_bytes_max, info);
    }
    const struct yaml_node *chain = yaml_get(node, "chain");
    if (err == ERR_OK) {
        err = read_outputs(loader, stage, node, chain);
    }
    if (err == ERR_OK) {
        err = config_read_chain(loader, pipeline, stage, node);
    }
    if (err == ERR_OK) {
        err = read_late(loader, stage, node);
    }
    if (err == ERR_OK) {
        pipeline->stages[pipeline->stage_count++] = stage;
    }
    return err;
}

/* The only stage that reads what `stage` writes, and reads nothing else; NULL: there is none. */
static const struct stage_plan *only_reader(const struct pipeline_plan *pipeline,
                                            const struct stage_plan *stage)
{
    const struct stage_plan *found = NULL;
    int32_t readers = 0;
    for (int32_t i = 0; i < pipeline->stage_count; i++) {
        const struct stage_plan *reader = pipeline->stages[i];
        for (int32_t k = 0; k < reader->input_count; k++) {
            if (reader->inputs[k].stream == stage->output) {
                readers++;
                found = reader->input_count == 1 ? reader : NULL;
            }
        }
    }
    return readers == 1 ? found : NULL;
}

/* The first operator of a chain behind those that only read columns back. */
static const struct operator_plan *first_own_operator(const struct stage_plan *stage)
{
    for (int32_t i = 0; i < stage->operator_count; i++) {
        if (!str_starts_with(stage->operators[i]->name, STR("sc."))) {
            return stage->operators[i];
        }
    }
    return NULL;
}

/* A stage whose rows the next one only takes the best of need not write the others. */
static void set_contest(const struct loader *loader, const struct pipeline_plan *pipeline,
                        struct stage_plan *stage)
{
    const struct stage_plan *reader = stage->key_by ? only_reader(pipeline, stage) : NULL;
    const struct operator_plan *window = reader != NULL ? first_own_operator(reader) : NULL;
    struct contest contest;
    if (window == NULL || window == reader->operators[0] || !window_contest_of(window, &contest)) {
        return;
    }
    const struct schema *theirs = &reader->operators[0]->schema;
    for (int32_t i = 0; reader->operators[i] != window; i++) {
        theirs = &reader->operators[i]->schema;
    }
    /* Built here a moment ago; const only for those who come later. */
    struct operator_plan *key_by =
        (struct operator_plan *)(uintptr_t)stage->operators[stage->operator_count - 1];
    int32_t column = schema_find(&key_by->schema, theirs->names[contest.column]);
    if (column < 0 || key_by->schema.types[column] != theirs->types[contest.column]) {
        return;
    }
    struct contest *kept = ARENA_NEW(loader->arena, struct contest);
    *kept = contest;
    kept->column = column;
    int32_t key_column = key_by_set_contest(key_by, kept);
    if (stage->operator_count > 1 && key_column >= 0) {
        encode_set_contest(
            (struct operator_plan *)(uintptr_t)stage->operators[stage->operator_count - 2], kept,
            key_column);
    }
    config_follow_use(stage);
}

enum err config_read_stages(struct loader *loader, struct pipeline_plan *pipeline,
                            const struct yaml_node *node)
{
    if (node->count > STAGES_MAX) {
        return yaml_fail(loader->info, node, "a pipeline has at most %d stages, this has %d",
                         STAGES_MAX, node->count);
    }
    for (int32_t i = 0; i < node->count; i++) {
        enum err err = read_stage(loader, pipeline, node->items[i]);
        if (err != ERR_OK) {
            return err;
        }
    }
    for (int32_t i = 0; i < pipeline->stage_count; i++) {
        set_contest(loader, pipeline, (struct stage_plan *)(uintptr_t)pipeline->stages[i]);
    }
    return ERR_OK;
}

enum err stage_resources_stream(const struct stage_resources *resources,
                                const struct yaml_node *node, const struct stream_spec **ret_stream,
                                struct err_info *info)
{
    struct str name;
    enum err err = yaml_text(node, &name, info);
    if (err != ERR_OK) {
        return err;
    }
    const struct stream_spec *stream = config_stream(resources->config, name);
    if (stream == NULL || stream->internal) {
        struct str names[HINT_NAMES_MAX];
        int32_t count = 0;
        for (int32_t i = 0; i < resources->config->stream_count && count < HINT_NAMES_MAX; i++) {
            if (!resources->config->streams[i]->internal) {
                names[count++] = resources->config->streams[i]->name;
            }
        }
        struct hint hint;
        hint_of_names(&hint, name, names, count);
        return yaml_fail(info, node, "there is no stream '%.*s'%s", STR_ARG(name), hint.text);
    }
    *ret_stream = stream;
    return ERR_OK;
}

enum err stage_resources_add_lookup(struct stage_resources *resources, const struct yaml_node *node,
                                    const struct lookup_spec *spec, int32_t *ret_index,
                                    struct err_info *info)
{
    struct stage_plan *stage = resources->stage;
    if (stage->lookup_count == LOOKUP_TABLES_MAX) {
        return yaml_fail(info, node, "a stage has at most %d lookups", LOOKUP_TABLES_MAX);
    }
    *ret_index = stage->lookup_count;
    stage->lookups[stage->lookup_count++] = *spec;
    return ERR_OK;
}
