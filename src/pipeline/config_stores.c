// SPDX-License-Identifier: Apache-2.0
/* `shadow_stores:` and the stores that `shadowing:` names. */
#include "base/hash.h"
#include "pipeline/config_priv.h"

#define MS_NS     1000000LL
#define SECOND_NS 1000000000LL
#define DAY_NS    (86400LL * SECOND_NS)
#define MIB       (1LL << 20)
#define GIB       (1LL << 30)

enum { REDIS_PORT = 6379, MEMCACHED_PORT = 11211, PORT_MAX = 65535, DATABASE_MAX = 1023 };
enum { HOST_MAX = 253, USERNAME_MAX = 512 };

static struct shadow_store_spec defaults(struct str name)
{
    return (struct shadow_store_spec){.name = name,
                                      .kind = SHADOW_STORE_MEMORY,
                                      .tls_verify = true,
                                      .ttl_ns = 3600 * SECOND_NS,
                                      .size_bytes = 64 * MIB,
                                      .memory_bytes = 16 * MIB,
                                      .connect_timeout_ns = 500 * MS_NS,
                                      .timeout_ns = 500 * MS_NS};
}

/* --- addresses --- */

static bool is_host(struct str host)
{
    for (ptrdiff_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        if (c <= ' ' || c > '~' || c == '/' || c == '@' || c == '?' || c == '#') {
            return false;
        }
    }
    return host.len > 0 && host.len <= HOST_MAX;
}

static bool read_port(struct str text, int32_t *ret_port)
{
    int32_t port = 0;
    for (ptrdiff_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || i > 4) {
            return false;
        }
        port = port * 10 + (text.ptr[i] - '0');
    }
    *ret_port = port;
    return port >= 1 && port <= PORT_MAX;
}

/* host, host:port, [v6] or [v6]:port. */
static bool split_address(struct str text, int32_t default_port, struct shadow_store_spec *spec)
{
    struct str host, port;
    if (text.len > 0 && text.ptr[0] == '[') {
        struct str rest = {text.ptr + 1, text.len - 1};
        host = str_cut(&rest, ']');
        if (rest.ptr == NULL || (rest.len > 0 && rest.ptr[0] != ':')) {
            return false;
        }
        port = rest.len > 0 ? (struct str){rest.ptr + 1, rest.len - 1} : rest;
        spec->port = rest.len > 0 ? 0 : default_port;
    } else {
        struct str rest = text;
        host = str_cut(&rest, ':');
        port = rest;
        spec->port = rest.ptr == NULL ? default_port : 0;
    }
    spec->host = host;
    return is_host(host) && (spec->port != 0 || read_port(port, &spec->port));
}

static enum err read_address(struct loader *loader, const struct yaml_node *node,
                             struct shadow_store_spec *spec)
{
    struct str text;
    enum err err = yaml_text(node, &text, loader->info);
    bool redis = spec->kind == SHADOW_STORE_REDIS;
    if (err == ERR_OK && !split_address(text, redis ? REDIS_PORT : MEMCACHED_PORT, spec)) {
        return yaml_fail(loader->info, node,
                         "this is no address of a server: write host:port, as 127.0.0.1:%d or "
                         "[::1]:%d, without a scheme, user or password",
                         redis ? REDIS_PORT : MEMCACHED_PORT, redis ? REDIS_PORT : MEMCACHED_PORT);
    }
    /* The client libraries want texts that end. */
    spec->host.ptr =
        err == ERR_OK ? arena_dup(loader->arena, spec->host.ptr, spec->host.len) : NULL;
    return err;
}

/* --- settings --- */

static enum err read_kind(struct loader *loader, const struct yaml_node *place,
                          const struct yaml_node *node, struct shadow_store_spec *spec)
{
    static const char *const words[] = {"memory", "redis", "memcached"};
    struct str word;
    if (node == NULL) {
        return yaml_fail(loader->info, place, "'type' is missing: memory, redis or memcached");
    }
    enum err err = yaml_text(node, &word, loader->info);
    for (int i = 0; err == ERR_OK && i < 3; i++) {
        if (str_is(word, words[i])) {
            spec->kind = (enum shadow_store_kind)i;
            return ERR_OK;
        }
    }
    return err != ERR_OK
               ? err
               : yaml_fail(loader->info, node,
                           "'%.*s' is no type of store: memory, redis or memcached", STR_ARG(word));
}

/* A text that the outside reads as ended by 0: none inside, and not empty. */
static enum err read_ended(struct loader *loader, const struct yaml_node *map, const char *key,
                           ptrdiff_t max, struct str *value)
{
    const struct yaml_node *node = yaml_get(map, key);
    if (node == NULL) {
        return ERR_OK;
    }
    struct str text;
    enum err err = yaml_text(node, &text, loader->info);
    if (err != ERR_OK) {
        return err;
    }
    if (text.len == 0 || text.len > max || memchr(text.ptr, 0, (size_t)text.len) != NULL) {
        return yaml_fail(loader->info, node, "'%s' is 1 to %td bytes, none of them 0", key, max);
    }
    *value = (struct str){arena_dup(loader->arena, text.ptr, text.len), text.len};
    return ERR_OK;
}

static enum err read_tls(struct loader *loader, const struct yaml_node *node,
                         struct shadow_store_spec *spec)
{
    static const char *const known[] = {"ca", "server_name", "verify", NULL};
    if (node->kind == YAML_SCALAR) {
        return yaml_bool(node, &spec->tls, loader->info);
    }
    enum err err = yaml_only_keys(node, known, loader->info);
    err = err == ERR_OK ? read_ended(loader, node, "ca", 1023, &spec->tls_ca) : err;
    err = err == ERR_OK ? read_ended(loader, node, "server_name", HOST_MAX, &spec->tls_server_name)
                        : err;
    const struct yaml_node *verify = yaml_get(node, "verify");
    if (err == ERR_OK && verify != NULL) {
        err = yaml_bool(verify, &spec->tls_verify, loader->info);
    }
    spec->tls = err == ERR_OK;
    return err;
}

static enum err read_secrets(struct loader *loader, const struct yaml_node *node,
                             struct shadow_store_spec *spec)
{
    const struct yaml_node *env = yaml_get(node, "password_env");
    enum err err = read_ended(loader, node, "username", USERNAME_MAX, &spec->username);
    err =
        err == ERR_OK ? read_ended(loader, node, "password_file", 1023, &spec->password_file) : err;
    err = err == ERR_OK ? read_ended(loader, node, "password_env", 255, &spec->password_env) : err;
    if (err == ERR_OK && env != NULL && spec->password_file.len > 0) {
        return yaml_fail(loader->info, env,
                         "'password_file' and 'password_env' exclude each other: where is the "
                         "password?");
    }
    bool password = spec->password_file.len > 0 || env != NULL;
    if (err == ERR_OK && password && spec->username.len == 0 &&
        spec->kind == SHADOW_STORE_MEMCACHED) {
        return yaml_fail(loader->info, node, "a password for memcached wants a 'username' with it");
    }
    if (err == ERR_OK && spec->username.len > 0 && !password) {
        return yaml_fail(loader->info, yaml_get(node, "username"),
                         "'username' wants a password: name a password_file or a password_env");
    }
    return err;
}

static enum err read_duration(struct loader *loader, const struct yaml_node *map, const char *key,
                              int64_t min_ns, int64_t max_ns, int64_t *value_ns)
{
    const struct yaml_node *node = yaml_get(map, key);
    return node != NULL ? yaml_duration_ns(node, min_ns, max_ns, value_ns, loader->info) : ERR_OK;
}

static enum err read_size(struct loader *loader, const struct yaml_node *map, const char *key,
                          int64_t max, int64_t *value)
{
    const struct yaml_node *node = yaml_get(map, key);
    return node != NULL ? yaml_size_bytes(node, MIB, max, value, loader->info) : ERR_OK;
}

/* What every store has. */
static enum err read_bounds(struct loader *loader, const struct yaml_node *node,
                            struct shadow_store_spec *spec)
{
    bool memory = spec->kind == SHADOW_STORE_MEMORY;
    const struct yaml_node *payloads = yaml_get(node, "payloads");
    enum err err = read_duration(loader, node, "ttl", 10 * SECOND_NS, 7 * DAY_NS, &spec->ttl_ns);
    err = err == ERR_OK
              ? read_size(loader, node, "size", memory ? GIB : 64 * GIB, &spec->size_bytes)
              : err;
    return err == ERR_OK && payloads != NULL ? yaml_bool(payloads, &spec->payloads, loader->info)
                                             : err;
}

static enum err read_server(struct loader *loader, const struct yaml_node *key,
                            const struct yaml_node *node, struct shadow_store_spec *spec)
{
    const struct yaml_node *address = yaml_get(node, "address");
    const struct yaml_node *tls = yaml_get(node, "tls");
    const struct yaml_node *database = yaml_get(node, "database");
    if (address == NULL) {
        return yaml_fail(loader->info, key, "store '%.*s' wants an 'address', as 127.0.0.1:%d",
                         STR_ARG(spec->name),
                         spec->kind == SHADOW_STORE_REDIS ? REDIS_PORT : MEMCACHED_PORT);
    }
    enum err err = read_address(loader, address, spec);
    err = err == ERR_OK && tls != NULL ? read_tls(loader, tls, spec) : err;
    err = err == ERR_OK ? read_secrets(loader, node, spec) : err;
    if (err == ERR_OK && database != NULL) {
        int64_t number = 0;
        err = yaml_i64(database, 0, DATABASE_MAX, &number, loader->info);
        spec->database = (int32_t)number;
    }
    err = err == ERR_OK ? read_size(loader, node, "memory", GIB, &spec->memory_bytes) : err;
    err = err == ERR_OK ? read_duration(loader, node, "connect_timeout", 10 * MS_NS, 60 * SECOND_NS,
                                        &spec->connect_timeout_ns)
                        : err;
    return err == ERR_OK ? read_duration(loader, node, "timeout", 10 * MS_NS, 60 * SECOND_NS,
                                         &spec->timeout_ns)
                         : err;
}

/* Which settings each kind has: one that it lacks is an error, not ignored. */
static enum err check_keys(struct loader *loader, const struct yaml_node *node,
                           const struct shadow_store_spec *spec)
{
    static const char *const memory[] = {"type", "ttl", "size", "payloads", NULL};
    static const char *const memcached[] = {
        "type",         "address",  "tls",  "username", "password_file",
        "password_env", "ttl",      "size", "memory",   "connect_timeout",
        "timeout",      "payloads", NULL};
    static const char *const redis[] = {
        "type", "address", "tls",    "username",        "password_file", "password_env", "database",
        "ttl",  "size",    "memory", "connect_timeout", "timeout",       "payloads",     NULL};
    const char *const *const sets[] = {memory, redis, memcached};
    const struct yaml_node *password = yaml_get(node, "password");
    if (password != NULL) {
        return yaml_fail(loader->info, password,
                         "a password does not belong in this file: write password_file: PATH or "
                         "password_env: VARIABLE");
    }
    return yaml_only_keys(node, sets[spec->kind], loader->info);
}

static enum err add_store(struct loader *loader, const struct yaml_node *node,
                          const struct shadow_store_spec *spec)
{
    struct config *config = loader->config;
    if (config->shadow_store_count == SHADOW_STORES_MAX) {
        return yaml_fail(loader->info, node, "over %d shadow stores", SHADOW_STORES_MAX);
    }
    struct shadow_store_spec *kept = ARENA_NEW(loader->arena, struct shadow_store_spec);
    *kept = *spec;
    config->shadow_stores[config->shadow_store_count++] = kept;
    return ERR_OK;
}

static enum err read_store(struct loader *loader, const struct yaml_node *key,
                           const struct yaml_node *node)
{
    struct shadow_store_spec spec = defaults(key->text);
    enum err err = config_part_name(key, key->text, "a shadow store", loader->info);
    if (err == ERR_OK && node->kind != YAML_MAP) {
        return yaml_fail(loader->info, node,
                         "a shadow store is a map: {type: redis, address: 127.0.0.1:%d}",
                         REDIS_PORT);
    }
    err = err == ERR_OK ? read_kind(loader, key, yaml_get(node, "type"), &spec) : err;
    err = err == ERR_OK ? check_keys(loader, node, &spec) : err;
    err = err == ERR_OK ? read_bounds(loader, node, &spec) : err;
    if (err == ERR_OK && spec.kind != SHADOW_STORE_MEMORY) {
        err = read_server(loader, key, node, &spec);
    }
    if (err == ERR_OK && str_is(spec.name, "memory") && spec.kind != SHADOW_STORE_MEMORY) {
        return yaml_fail(loader->info, key, "the store 'memory' is of type memory");
    }
    return err == ERR_OK ? add_store(loader, key, &spec) : err;
}

enum err config_read_stores(struct loader *loader, const struct yaml_node *node)
{
    if (node->kind != YAML_MAP) {
        return yaml_fail(loader->info, node,
                         "'shadow_stores' is a map: {name: {type: redis, address: ...}}");
    }
    for (int32_t i = 0; i < node->count; i++) {
        enum err err = read_store(loader, node->keys[i], node->items[i]);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

/* --- stores by name --- */

const struct shadow_store_spec *config_shadow_store(const struct config *config, struct str name)
{
    for (int32_t i = 0; i < config->shadow_store_count; i++) {
        if (str_equal(config->shadow_stores[i]->name, name)) {
            return config->shadow_stores[i];
        }
    }
    return NULL;
}

/* A name for the store of an address that stands in the place of one: "redis-127-0-0-1-6379". Another address may have that
 * name too, as bytes that names lack become '-', and long ones are cut; `apart` gives one by a hash of the whole. */
static struct str name_of_address(struct loader *loader, const struct shadow_store_spec *spec,
                                  bool apart)
{
    char *name = arena_printf(loader->arena, "%s-%.*s-%d",
                              spec->kind == SHADOW_STORE_REDIS ? "redis" : "memcached",
                              STR_ARG(spec->host), spec->port);
    ptrdiff_t len = (ptrdiff_t)strlen(name);
    uint32_t hash = (uint32_t)hash64(name, len);
    for (ptrdiff_t i = 0; i < len; i++) {
        bool word = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') ||
                    (name[i] >= '0' && name[i] <= '9');
        name[i] = word ? name[i] : '-';
    }
    if (apart) {
        enum { HASH_LEN = 9 };
        name = arena_printf(loader->arena, "%.*s-%08x", STAGE_NAME_MAX - HASH_LEN, name, hash);
        len = (ptrdiff_t)strlen(name);
    }
    return (struct str){name, len > STAGE_NAME_MAX ? STAGE_NAME_MAX : len};
}

static bool same_server(const struct shadow_store_spec *a, const struct shadow_store_spec *b)
{
    return a->kind == b->kind && a->port == b->port && str_equal(a->host, b->host);
}

static enum err store_of_address(struct loader *loader, const struct yaml_node *node,
                                 enum shadow_store_kind kind, struct str address, struct str *name)
{
    struct shadow_store_spec spec = defaults((struct str){NULL, 0});
    spec.kind = kind;
    if (!split_address(address, kind == SHADOW_STORE_REDIS ? REDIS_PORT : MEMCACHED_PORT, &spec)) {
        return yaml_fail(loader->info, node,
                         "'store' is a name of shadow_stores, redis://host:port or "
                         "memcached://host:port; what needs a password or TLS goes into "
                         "shadow_stores");
    }
    spec.host.ptr = arena_dup(loader->arena, spec.host.ptr, spec.host.len);
    spec.name = name_of_address(loader, &spec, false);
    const struct shadow_store_spec *known = config_shadow_store(loader->config, spec.name);
    if (known != NULL && !same_server(known, &spec)) {
        spec.name = name_of_address(loader, &spec, true);
        known = config_shadow_store(loader->config, spec.name);
    }
    if (known != NULL && !same_server(known, &spec)) {
        return yaml_fail(loader->info, node,
                         "the store '%.*s' is of another address: give this one a name in "
                         "shadow_stores",
                         STR_ARG(spec.name));
    }
    *name = spec.name;
    return known != NULL ? ERR_OK : add_store(loader, node, &spec);
}

enum err config_store_named(struct loader *loader, const struct yaml_node *node, struct str *name)
{
    const struct str redis = STR("redis://"), memcached = STR("memcached://");
    struct str text;
    enum err err = yaml_text(node, &text, loader->info);
    if (err != ERR_OK) {
        return err;
    }
    if (str_starts_with(text, redis)) {
        return store_of_address(loader, node, SHADOW_STORE_REDIS,
                                (struct str){text.ptr + redis.len, text.len - redis.len}, name);
    }
    if (str_starts_with(text, memcached)) {
        return store_of_address(loader, node, SHADOW_STORE_MEMCACHED,
                                (struct str){text.ptr + memcached.len, text.len - memcached.len},
                                name);
    }
    if (config_shadow_store(loader->config, text) == NULL) {
        bool address = str_find(text, STR("//")) >= 0; /* it may hold a password: not repeated */
        return yaml_fail(loader->info, node,
                         "there is no shadow store '%.*s': 'store' is memory, a name of "
                         "shadow_stores, redis://host:port or memcached://host:port",
                         address         ? 3
                         : text.len < 64 ? (int)text.len
                                         : 64,
                         address ? "..." : text.ptr);
    }
    *name = text;
    return ERR_OK;
}

enum err config_add_memory_store(struct loader *loader, const struct yaml_node *root)
{
    struct shadow_store_spec spec = defaults(STR("memory"));
    return config_shadow_store(loader->config, spec.name) != NULL ? ERR_OK
                                                                  : add_store(loader, root, &spec);
}
