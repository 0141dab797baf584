// SPDX-License-Identifier: Apache-2.0
/* `streams:` and the rules for names. */
#include "base/clock.h"
#include "pipeline/config_priv.h"

#define MS_NS  1000000LL
#define DAY_NS (86400LL * 1000 * MS_NS)

static bool is_name_char(char c, bool dots)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || (dots && c == '.');
}

enum err config_stream_name(const struct yaml_node *node, struct err_info *info)
{
    struct str name = node->text;
    if (name.len == 0 || name.len > STREAM_NAME_MAX) {
        return yaml_fail(info, node, "a stream's name has 1 to %d bytes, this has %td",
                         STREAM_NAME_MAX, name.len);
    }
    for (ptrdiff_t i = 0; i < name.len; i++) {
        if (!is_name_char(name.ptr[i], true)) {
            return yaml_fail(
                info, node, "'%.*s' is no name of a stream: letters, digits, '.', '_' and '-' only",
                STR_ARG(name));
        }
    }
    if (str_is(name, ".") || str_is(name, "..")) {
        return yaml_fail(info, node, "'%.*s' is no name of a stream", STR_ARG(name));
    }
    if (str_starts_with(name, STR("sc."))) {
        return yaml_fail(info, node,
                         "'%.*s': names that begin with 'sc.' are reserved, take another",
                         STR_ARG(name));
    }
    return ERR_OK;
}

enum err config_part_name(const struct yaml_node *node, struct str name, const char *what,
                          struct err_info *info)
{
    bool good = name.len > 0 && name.len <= STAGE_NAME_MAX && !str_is(name, "sc");
    for (ptrdiff_t i = 0; i < name.len; i++) {
        good = good && is_name_char(name.ptr[i], false);
    }
    if (!good) {
        return yaml_fail(
            info, node,
            "'%.*s' is no name of %s: 1 to %d letters, digits, '_' and '-', and not 'sc'",
            (int)(name.len < 80 ? name.len : 80), name.ptr, what, STAGE_NAME_MAX);
    }
    return ERR_OK;
}

static enum err read_time(struct loader *loader, const struct yaml_node *node,
                          struct stream_spec *spec)
{
    static const char *const known[] = {"field",      "ingest_field", "out_of_order",
                                        "idle_after", "max_future",   NULL};
    struct err_info *info = loader->info;
    enum err err = yaml_only_keys(node, known, info);
    const struct yaml_node *field = yaml_get(node, "field");
    const struct yaml_node *ingest = yaml_get(node, "ingest_field");
    if (err == ERR_OK && field != NULL && ingest != NULL) {
        return yaml_fail(info, ingest,
                         "'field' and 'ingest_field' exclude each other: where is the time read?");
    }
    if (err == ERR_OK && field != NULL) {
        err = yaml_text(field, &spec->time_field, info);
    }
    if (err == ERR_OK && ingest != NULL) {
        err = yaml_text(ingest, &spec->time_ingest_field, info);
    }
    int64_t ns = 0;
    const struct yaml_node *out_of_order = yaml_get(node, "out_of_order");
    if (err == ERR_OK && out_of_order != NULL) {
        err = yaml_duration_ns(out_of_order, 0, 366 * DAY_NS, &ns, info);
        spec->out_of_order_ms = ns / MS_NS;
    }
    const struct yaml_node *idle = yaml_get(node, "idle_after");
    if (err == ERR_OK && idle != NULL) {
        err = config_duration_or(idle, "never", CLOCK_NEVER, 366 * DAY_NS, &spec->idle_after_ns,
                                 info);
    }
    if (err == ERR_OK && spec->idle_after_ns < MS_NS) {
        return yaml_fail(info, idle, "'idle_after' is 1ms or more, or never");
    }
    const struct yaml_node *future = yaml_get(node, "max_future");
    if (err == ERR_OK && future != NULL) {
        err = config_duration_or(future, "any", INT64_MAX, 36500 * DAY_NS, &ns, info);
        spec->max_future_ms = ns == INT64_MAX ? INT64_MAX : ns / MS_NS;
    }
    return err;
}

static enum err read_retention(struct loader *loader, const struct yaml_node *node,
                               struct stream_spec *spec)
{
    static const char *const known[] = {"age", "size", NULL};
    struct err_info *info = loader->info;
    enum err err = yaml_only_keys(node, known, info);
    const struct yaml_node *age = yaml_get(node, "age");
    int64_t ns = 0;
    if (err == ERR_OK && age != NULL) {
        err = config_duration_or(age, "forever", -1, 36500 * DAY_NS, &ns, info);
        spec->retention_ms = ns < 0 ? -1 : ns / MS_NS;
    }
    const struct yaml_node *size = yaml_get(node, "size");
    if (err == ERR_OK && size != NULL) {
        err = yaml_size_bytes(size, 1 << 20, 1LL << 50, &spec->retention_bytes, info);
    }
    return err;
}

enum err config_read_codec(struct loader *loader, const struct yaml_node *node,
                           struct stream_spec *spec)
{
    static const char *const words[] = {"none", "lz4", "zstd"};
    struct str word;
    enum err err = yaml_text(node, &word, loader->info);
    if (err != ERR_OK) {
        return err;
    }
    for (int i = 0; i < 3; i++) {
        if (str_is(word, words[i])) {
            spec->codec = (enum stream_codec)i;
            return ERR_OK;
        }
    }
    return yaml_fail(loader->info, node, "'%.*s' is no codec: none, lz4 or zstd", STR_ARG(word));
}

static enum err read_stream(struct loader *loader, const struct yaml_node *key,
                            const struct yaml_node *node)
{
    static const char *const known[] = {"shards", "time", "retention", "codec", NULL};
    struct err_info *info = loader->info;
    struct stream_spec spec = {
        .name = key->text,
        .shard_count = 1,
        .idle_after_ns = 60000 * MS_NS,
        .max_future_ms = DAY_NS / MS_NS,
        .retention_ms = 7 * DAY_NS / MS_NS,
        .retention_bytes = -1,
        .codec = STREAM_CODEC_LZ4,
    };
    bool empty = node->kind == YAML_SCALAR && !node->quoted && node->text.len == 0;
    enum err err = config_stream_name(key, info);
    if (err == ERR_OK && !empty) {
        err = yaml_only_keys(node, known, info);
    }
    const struct yaml_node *map = empty ? NULL : node;
    const struct yaml_node *shards = yaml_get(map, "shards");
    if (err == ERR_OK && shards != NULL) {
        int64_t count;
        err = yaml_i64(shards, 1, STREAM_SHARDS_MAX, &count, info);
        spec.shard_count = err == ERR_OK ? (int32_t)count : 1;
    }
    const struct yaml_node *time = yaml_get(map, "time");
    if (err == ERR_OK && time != NULL) {
        err = read_time(loader, time, &spec);
    }
    const struct yaml_node *retention = yaml_get(map, "retention");
    if (err == ERR_OK && retention != NULL) {
        err = read_retention(loader, retention, &spec);
    }
    const struct yaml_node *codec = yaml_get(map, "codec");
    if (err == ERR_OK && codec != NULL) {
        err = config_read_codec(loader, codec, &spec);
    }
    const struct stream_spec *added;
    return err == ERR_OK ? config_add_stream(loader, key, &spec, &added) : err;
}

enum err config_read_streams(struct loader *loader, const struct yaml_node *node)
{
    if (node->kind != YAML_MAP) {
        return yaml_fail(loader->info, node, "'streams' is a map: {name: {shards: 4}}");
    }
    for (int32_t i = 0; i < node->count; i++) {
        enum err err = read_stream(loader, node->keys[i], node->items[i]);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

enum err config_add_stream(struct loader *loader, const struct yaml_node *node,
                           const struct stream_spec *spec, const struct stream_spec **ret_spec)
{
    struct config *config = loader->config;
    if (config->stream_count == STREAMS_MAX) {
        return yaml_fail(loader->info, node,
                         "there are more than %d streams, those of stages included: merge some",
                         STREAMS_MAX);
    }
    struct stream_spec *copy = ARENA_NEW(loader->arena, struct stream_spec);
    *copy = *spec;
    config->streams[config->stream_count++] = copy;
    *ret_spec = copy;
    return ERR_OK;
}
