// SPDX-License-Identifier: Apache-2.0
/* The file as a whole: its sections, the nodes, the pipelines' own settings. */
#include "pipeline/config.h"

#include <arpa/inet.h>

#include "base/check.h"
#include "base/clock.h"
#include "pipeline/config_priv.h"
#include "pipeline/json.h"

#define SECOND_NS 1000000000LL
#define MS_NS     1000000LL
#define HOUR_NS   (3600LL * SECOND_NS)
#define DAY_NS    (86400LL * SECOND_NS)

enum { DEFAULT_PORT = 8080, PORT_MAX = 65535 };

/* What a start will bind to: "127.0.0.1", "::1"; no names, which mean nothing before they are looked up. */
static bool is_address(struct str text)
{
    char address[INET6_ADDRSTRLEN];
    unsigned char bytes[sizeof(struct in6_addr)];
    if (text.len >= (ptrdiff_t)sizeof(address)) {
        return false;
    }
    memcpy(address, text.ptr, (size_t)text.len);
    address[text.len] = 0;
    return inet_pton(AF_INET, address, bytes) == 1 || inet_pton(AF_INET6, address, bytes) == 1;
}

static enum err read_listen(struct loader *loader, const struct yaml_node *node)
{
    struct listen_spec *listen = &loader->config->listen;
    struct str text;
    enum err err = yaml_text(node, &text, loader->info);
    if (err != ERR_OK) {
        return err;
    }
    ptrdiff_t colon = -1;
    for (ptrdiff_t i = 0; i < text.len; i++) {
        colon = text.ptr[i] == ':' ? i : colon;
    }
    int64_t port = 0;
    bool digits = colon >= 0 && colon + 1 < text.len && text.len - colon <= 6;
    for (ptrdiff_t i = colon + 1; digits && i < text.len; i++) {
        digits = text.ptr[i] >= '0' && text.ptr[i] <= '9';
        port = port * 10 + (text.ptr[i] - '0');
    }
    struct str address = {text.ptr, colon > 0 ? colon : 0};
    if (address.len > 2 && address.ptr[0] == '[' && address.ptr[address.len - 1] == ']') {
        address = (struct str){address.ptr + 1, address.len - 2};
    }
    if (!digits || port > PORT_MAX || !is_address(address)) {
        return yaml_fail(loader->info, node,
                         "'%.*s' is no address to listen on: write an IP address and a port, as "
                         "127.0.0.1:8080 or [::1]:8080",
                         STR_ARG(text));
    }
    listen->address = address;
    listen->port = (int32_t)port;
    return ERR_OK;
}

static enum err read_sync(struct loader *loader, const struct yaml_node *node)
{
    int64_t ns = 0;
    enum err err = config_duration_or(node, "always", 0, 60 * SECOND_NS, &ns, loader->info);
    if (err != ERR_OK) {
        return err;
    }
    if (ns != 0 && ns < MS_NS) {
        return yaml_fail(loader->info, node,
                         "'sync' is always, or a time from 1ms on between syncs");
    }
    loader->config->sync = ns == 0 ? CONFIG_SYNC : CONFIG_UNSYNCED;
    loader->config->unsynced_interval_ns = ns;
    return ERR_OK;
}

static enum err read_i32(const struct yaml_node *map, const char *key, int32_t min, int32_t max,
                         int32_t *value, struct err_info *info)
{
    const struct yaml_node *node = yaml_get(map, key);
    int64_t wide = *value;
    enum err err = node != NULL ? yaml_i64(node, min, max, &wide, info) : ERR_OK;
    *value = err == ERR_OK ? (int32_t)wide : *value;
    return err;
}

static enum err read_nodes(struct loader *loader, const struct yaml_node *node)
{
    static const char *const known[] = {"count", "max", "lanes", "capacity", "startup", NULL};
    struct nodes_spec *nodes = &loader->config->nodes;
    struct err_info *info = loader->info;
    enum err err = yaml_only_keys(node, known, info);
    if (err == ERR_OK) {
        err = read_i32(node, "count", 1, NODES_MAX, &nodes->count, info);
    }
    nodes->max = nodes->count;
    if (err == ERR_OK) {
        err = read_i32(node, "max", 1, NODES_MAX, &nodes->max, info);
    }
    if (err == ERR_OK && nodes->max < nodes->count) {
        return yaml_fail(info, yaml_get(node, "max"), "'max' is %d, less than 'count', which is %d",
                         nodes->max, nodes->count);
    }
    if (err == ERR_OK) {
        err = read_i32(node, "lanes", 1, LANES_PER_NODE_MAX, &nodes->lanes, info);
    }
    const struct yaml_node *capacity = yaml_get(node, "capacity");
    if (err == ERR_OK && capacity != NULL) {
        err = yaml_ratio(capacity, 0.01, 1, &nodes->capacity, info);
    }
    const struct yaml_node *startup = yaml_get(node, "startup");
    if (err == ERR_OK && startup != NULL) {
        err = yaml_duration_ns(startup, 0, HOUR_NS, &nodes->startup_ns, info);
    }
    return err;
}

static enum err read_shadowing(struct loader *loader, const struct yaml_node *node,
                               struct shadowing_spec *spec)
{
    static const char *const known[] = {"automatic",    "percent",  "threshold",
                                        "sustain",      "duration", "budget",
                                        "budget_cores", "store",    NULL};
    struct err_info *info = loader->info;
    enum err err = yaml_only_keys(node, known, info);
    if (err == ERR_OK) {
        err = read_i32(node, "percent", 1, 100, &spec->percent, info);
    }
    const struct yaml_node *threshold = yaml_get(node, "threshold");
    if (err == ERR_OK && threshold != NULL) {
        err = yaml_ratio(threshold, 0.01, 10, &spec->threshold, info);
    }
    const struct yaml_node *sustain = yaml_get(node, "sustain");
    if (err == ERR_OK && sustain != NULL) {
        err = yaml_duration_ns(sustain, 0, DAY_NS, &spec->sustain_ns, info);
    }
    const struct yaml_node *duration = yaml_get(node, "duration");
    if (err == ERR_OK && duration != NULL) {
        err = yaml_duration_ns(duration, 10 * SECOND_NS, DAY_NS, &spec->duration_ns, info);
    }
    const struct yaml_node *automatic = yaml_get(node, "automatic");
    if (err == ERR_OK && automatic != NULL) {
        err = yaml_bool(automatic, &spec->automatic, info);
    }
    const struct yaml_node *budget = yaml_get(node, "budget");
    if (err == ERR_OK && budget != NULL) {
        err = yaml_ratio(budget, 0.001, 1, &spec->budget_share, info);
    }
    const struct yaml_node *cores = yaml_get(node, "budget_cores");
    if (err == ERR_OK && cores != NULL) {
        err = yaml_f64(cores, 0.001, 64, &spec->budget_cores, info);
    }
    const struct yaml_node *store = yaml_get(node, "store");
    return err == ERR_OK && store != NULL ? config_store_named(loader, store, &spec->store) : err;
}

static enum err read_commit(struct loader *loader, const struct yaml_node *node,
                            struct pipeline_plan *pipeline)
{
    int64_t ns = pipeline->commit_ns;
    enum err err = config_duration_or(node, "eager", -1, SECOND_NS, &ns, loader->info);
    if (err != ERR_OK) {
        return err;
    }
    pipeline->commit_eager = ns < 0;
    if (ns >= 0 && ns < MS_NS) {
        return yaml_fail(loader->info, node, "'commit' is 1ms to 1s, or eager");
    }
    pipeline->commit_ns = ns < 0 ? pipeline->commit_ns : ns;
    return ERR_OK;
}

static enum err read_pipeline(struct loader *loader, const struct yaml_node *key,
                              const struct yaml_node *node)
{
    static const char *const known[] = {"objective", "memory",    "commit", "mode",
                                        "stages",    "shadowing", NULL};
    struct err_info *info = loader->info;
    enum err err = config_part_name(key, key->text, "a pipeline", info);
    if (err == ERR_OK) {
        err = yaml_only_keys(node, known, info);
    }
    if (err != ERR_OK) {
        return err;
    }
    struct pipeline_plan *pipeline = ARENA_NEW(loader->arena, struct pipeline_plan);
    *pipeline = (struct pipeline_plan){
        .name = key->text,
        .objective_ns = 2 * SECOND_NS,
        .memory_bytes = 512LL << 20,
        .commit_ns = 100 * MS_NS,
        .mode = loader->config->manager.mode,
        .shadowing = {.percent = 10,
                      .threshold = 0.7,
                      .sustain_ns = 60 * SECOND_NS,
                      .duration_ns = 600 * SECOND_NS,
                      .automatic = true,
                      .budget_share = 0.05,
                      .budget_cores = 0.1,
                      .store = STR("memory")},
    };
    const struct yaml_node *objective = yaml_get(node, "objective");
    if (objective != NULL) {
        err = yaml_duration_ns(objective, MS_NS, DAY_NS, &pipeline->objective_ns, info);
    }
    const struct yaml_node *memory = yaml_get(node, "memory");
    if (err == ERR_OK && memory != NULL) {
        err = yaml_size_bytes(memory, 1 << 20, 1LL << 42, &pipeline->memory_bytes, info);
    }
    const struct yaml_node *commit = yaml_get(node, "commit");
    if (err == ERR_OK && commit != NULL) {
        err = read_commit(loader, commit, pipeline);
    }
    const struct yaml_node *mode = yaml_get(node, "mode");
    if (err == ERR_OK && mode != NULL) {
        err = config_read_mode(mode, &pipeline->mode, info);
    }
    const struct yaml_node *shadowing = yaml_get(node, "shadowing");
    if (err == ERR_OK && shadowing != NULL) {
        err = read_shadowing(loader, shadowing, &pipeline->shadowing);
    }
    const struct yaml_node *stages = yaml_get(node, "stages");
    if (err == ERR_OK && (stages == NULL || stages->kind != YAML_LIST || stages->count == 0)) {
        return yaml_fail(info, stages != NULL ? stages : key,
                         "pipeline '%.*s' wants 'stages', a list of one or more",
                         STR_ARG(key->text));
    }
    if (err == ERR_OK) {
        err = config_read_stages(loader, pipeline, stages);
    }
    if (err == ERR_OK) {
        loader->config->pipelines[loader->config->pipeline_count++] = pipeline;
    }
    return err;
}

static enum err read_pipelines(struct loader *loader, const struct yaml_node *node)
{
    if (node->kind != YAML_MAP || node->count > PIPELINES_MAX) {
        return yaml_fail(loader->info, node,
                         "'pipelines' is a map of at most %d: {name: {stages: ...}}",
                         PIPELINES_MAX);
    }
    for (int32_t i = 0; i < node->count; i++) {
        enum err err = read_pipeline(loader, node->keys[i], node->items[i]);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

static enum err read_version(struct loader *loader, const struct yaml_node *root)
{
    const struct yaml_node *version = yaml_get(root, "version");
    if (version == NULL) {
        return yaml_fail(loader->info, root,
                         "'version' is missing: the file begins with 'version: 1'");
    }
    int64_t number;
    enum err err = yaml_i64(version, INT64_MIN, INT64_MAX, &number, loader->info);
    if (err == ERR_OK && number != 1) {
        return yaml_fail(loader->info, version,
                         "version %lld is not known here: this program reads 1", (long long)number);
    }
    return err;
}

static enum err read_folder(struct loader *loader, const struct yaml_node *root, const char *key,
                            struct str *folder)
{
    const struct yaml_node *node = yaml_get(root, key);
    enum err err = node != NULL ? yaml_text(node, folder, loader->info) : ERR_OK;
    if (err == ERR_OK && node != NULL && folder->len == 0) {
        return yaml_fail(loader->info, node, "'%s' is empty: it names a folder", key);
    }
    return err;
}

static enum err read_root(struct loader *loader, const struct yaml_node *root)
{
    static const char *const known[] = {"version",       "data",      "sync",    "listen",
                                        "plugins",       "nodes",     "manager", "streams",
                                        "shadow_stores", "pipelines", NULL};
    enum err err = yaml_only_keys(root, known, loader->info);
    if (err == ERR_OK) {
        err = read_version(loader, root);
    }
    if (err == ERR_OK) {
        err = read_folder(loader, root, "data", &loader->config->data);
    }
    if (err == ERR_OK) {
        err = read_folder(loader, root, "plugins", &loader->config->plugins);
    }
    typedef enum err (*section_fn)(struct loader * loader, const struct yaml_node *node);
    static const struct {
        const char *key;
        section_fn read;
    } sections[] = {{"sync", read_sync},
                    {"listen", read_listen},
                    {"nodes", read_nodes},
                    {"manager", config_read_manager},
                    {"streams", config_read_streams},
                    {"shadow_stores", config_read_stores}};
    for (ptrdiff_t i = 0; i < COUNT_OF(sections) && err == ERR_OK; i++) {
        const struct yaml_node *node = yaml_get(root, sections[i].key);
        err = node != NULL ? sections[i].read(loader, node) : ERR_OK;
    }
    err = err == ERR_OK ? config_add_memory_store(loader, root) : err;
    const struct yaml_node *pipelines = yaml_get(root, "pipelines");
    return err == ERR_OK && pipelines != NULL ? read_pipelines(loader, pipelines) : err;
}

static enum err apply_set(struct arena *arena, struct str set, const struct yaml_node **root,
                          struct err_info *info)
{
    struct str value = set;
    struct str path = str_trim(str_cut(&value, '='));
    if (value.ptr == NULL || path.len == 0) {
        return err_set(info, ERR_INVALID, "--set is NAME=VALUE, such as nodes.count=2, not '%.*s'",
                       STR_ARG(set));
    }
    const struct yaml_node *node = NULL;
    const char *place = arena_printf(arena, "--set %.*s", STR_ARG(path));
    /* As the only item of a list, so that a scalar alone is a text, too. */
    const char *list = arena_printf(arena, "- %.*s", STR_ARG(value));
    enum err err = yaml_parse(arena, place, str_of(list), &node, info);
    if (err == ERR_OK && (node->kind != YAML_LIST || node->count != 1)) {
        err = yaml_fail(info, node, "one value is wanted");
    }
    return err == ERR_OK ? yaml_set(arena, *root, path, node->items[0], root, info) : err;
}

enum err config_load(struct arena *arena, const char *file, struct str text,
                     const struct config **ret_config, struct err_info *info)
{
    return config_load_set(arena, file, text, NULL, 0, ret_config, info);
}

enum err config_load_set(struct arena *arena, const char *file, struct str text,
                         const struct str *sets, int32_t set_count,
                         const struct config **ret_config, struct err_info *info)
{
    const struct yaml_node *root = NULL;
    enum err err = yaml_parse(arena, file, text, &root, info);
    for (int32_t i = 0; err == ERR_OK && i < set_count; i++) {
        err = apply_set(arena, sets[i], &root, info);
    }
    if (err != ERR_OK) {
        return err;
    }
    struct config *config = ARENA_NEW(arena, struct config);
    config->data = STR("./data");
    config->sync = CONFIG_SYNC;
    config->listen = (struct listen_spec){STR("127.0.0.1"), DEFAULT_PORT};
    config->nodes = (struct nodes_spec){.count = 1, .max = 1, .lanes = 1, .capacity = 1};
    config->manager = config_manager_defaults();
    /* What is kept, compared and changed is the text, so the settings have to be in it. */
    config->text = set_count > 0 ? config_written_text(arena, root)
                                 : (struct str){arena_dup(arena, text.ptr, text.len), text.len};
    struct loader loader = {.arena = arena, .config = config, .info = info};
    err = read_root(&loader, root);
    if (err != ERR_OK) {
        return err;
    }
    *ret_config = config;
    return ERR_OK;
}

int32_t config_pipeline_index(const struct config *config, struct str name)
{
    for (int32_t i = 0; i < config->pipeline_count; i++) {
        if (str_equal(config->pipelines[i]->name, name)) {
            return i;
        }
    }
    return -1;
}

const struct pipeline_plan *config_pipeline(const struct config *config, struct str name)
{
    int32_t index = config_pipeline_index(config, name);
    return index >= 0 ? config->pipelines[index] : NULL;
}

const struct stream_spec *config_stream(const struct config *config, struct str name)
{
    for (int32_t i = 0; i < config->stream_count; i++) {
        if (str_equal(config->streams[i]->name, name)) {
            return config->streams[i];
        }
    }
    return NULL;
}

enum err config_duration_or(const struct yaml_node *node, const char *word, int64_t word_value,
                            int64_t max_ns, int64_t *ret_ns, struct err_info *info)
{
    if (node->kind == YAML_SCALAR && str_is(node->text, word)) {
        *ret_ns = word_value;
        return ERR_OK;
    }
    return yaml_duration_ns(node, 0, max_ns, ret_ns, info);
}
