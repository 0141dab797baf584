// SPDX-License-Identifier: Apache-2.0
#include "app/shadow_stores.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/process.h"
#include "app/read_file.h"
#include "base/check.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "base/real/entropy.h"
#include "base/real/net_real.h"

enum { ID_HEX = 16, PATH_BYTES_MAX = 4096, SECRET_ARENA_MAX = 1 << 20 };
#define SETTLE_NS 2000000000LL
#define LOOK_NS   10000000LL

struct one_store {
    struct str name;
    struct net_real *net; /* NULL: memory */
    struct shadowstore *store;
    struct loop *loop;
};

struct shadow_stores {
    int32_t count;
    struct one_store stores[SHADOW_STORES_MAX];
    const struct clock *clock;
};

/* --- whose results they are --- */

/* The data folder's number, drawn at the first start: other folders' results in the same server are not ours. */
static enum err folder_id(const struct fs *fs, char id[ID_HEX + 1], struct err_info *info)
{
    struct fs_file file = {-1};
    ptrdiff_t len = 0;
    uint64_t number = 0;
    enum err err = fs_open(fs, "id", FS_O_READ, &file, info);
    if (err == ERR_OK) {
        err = fs_read(fs, file, id, ID_HEX, 0, &len, info);
        fs_close(fs, file);
        id[len] = 0;
        if (err == ERR_OK && (len != ID_HEX || strspn(id, "0123456789abcdef") != ID_HEX)) {
            err = err_set(info, ERR_INVALID,
                          "the file 'id' in the data folder holds no number: remove it, and the "
                          "next start writes a new one");
        }
        return err;
    }
    if (err != ERR_NOT_FOUND) {
        return err;
    }
    entropy_fill(&number, (ptrdiff_t)sizeof(number));
    int n = snprintf(id, ID_HEX + 1, "%016llx", (unsigned long long)number);
    CHECK(n == ID_HEX);
    return process_write_file(fs, "id", (struct str){id, ID_HEX}, info);
}

/* --- secrets --- */

/* `path` as it stands, or below `root` if it is relative. */
static const char *path_of(struct arena *arena, const char *root, struct str path)
{
    return path.ptr[0] == '/' ? path.ptr : arena_printf(arena, "%s/%s", root, path.ptr);
}

static enum err check_password(const struct shadow_store_spec *spec, struct str password,
                               struct str from, struct err_info *info)
{
    if (password.len == 0 || password.len > SHADOWSTORE_SECRET_MAX ||
        memchr(password.ptr, 0, (size_t)password.len) != NULL) {
        return err_set(info, ERR_INVALID,
                       "shadow store '%.*s': '%.*s' holds no password: 1 to %d bytes on its first "
                       "line",
                       STR_ARG(spec->name), STR_ARG(from), SHADOWSTORE_SECRET_MAX);
    }
    return ERR_OK;
}

static enum err read_password(struct arena *arena, const char *root,
                              const struct shadow_store_spec *spec, struct str *ret_password,
                              struct err_info *info)
{
    *ret_password = (struct str){NULL, 0};
    if (spec->password_env.len > 0) {
        // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing of ours sets variables
        *ret_password = str_of(getenv(spec->password_env.ptr));
        return check_password(spec, *ret_password, spec->password_env, info);
    }
    if (spec->password_file.len == 0) {
        return ERR_OK;
    }
    struct str text;
    struct err_info why;
    enum err err = read_file(arena, path_of(arena, root, spec->password_file),
                             SHADOWSTORE_SECRET_MAX + 2, &text, &why);
    if (err != ERR_OK) {
        return err_set(info, err, "shadow store '%.*s': its password: %s", STR_ARG(spec->name),
                       why.text);
    }
    struct str line = str_cut(&text, '\n');
    line.len -= line.len > 0 && line.ptr[line.len - 1] == '\r';
    *ret_password = line;
    return check_password(spec, line, spec->password_file, info);
}

/* --- start --- */

static enum shadowstore_kind kind_of(enum shadow_store_kind kind)
{
    return kind == SHADOW_STORE_MEMORY  ? SHADOWSTORE_MEMORY
           : kind == SHADOW_STORE_REDIS ? SHADOWSTORE_REDIS
                                        : SHADOWSTORE_MEMCACHED;
}

static void start_loop(struct one_store *one, const struct clock *clock)
{
    struct shadowstore_loop loops[SHADOWSTORE_LOOPS_MAX];
    int count = shadowstore_loops(one->store, loops);
    CHECK(count == 1);
    one->loop = loop_start(&(struct loop_options){.name = loops[0].name,
                                                  .clock = clock,
                                                  .waker = loops[0].waker,
                                                  .step = loops[0].step,
                                                  .ctx = loops[0].ctx,
                                                  .class = LOOP_IDLE,
                                                  .cpu = -1});
}

static enum err start_one(const struct shadow_stores_options *options,
                          const struct shadow_store_spec *spec, const char *id, struct arena *arena,
                          struct one_store *one, struct err_info *info)
{
    struct shadowstore_options o = {.kind = kind_of(spec->kind),
                                    .name = spec->name,
                                    .name_space = str_of(id),
                                    .incarnation = options->incarnation,
                                    .ttl_ns = spec->ttl_ns,
                                    .size_bytes = spec->size_bytes,
                                    .memory_bytes = spec->memory_bytes,
                                    .host = spec->host,
                                    .port = spec->port,
                                    .connect_timeout_ns = spec->connect_timeout_ns,
                                    .timeout_ns = spec->timeout_ns,
                                    .tls = spec->tls,
                                    .username = spec->username,
                                    .database = spec->database};
    enum err err = read_password(arena, options->root, spec, &o.password, info);
    if (err != ERR_OK) {
        return err;
    }
    o.tls_options = (struct net_tls){
        .ca_file = spec->tls_ca.len > 0 ? path_of(arena, options->root, spec->tls_ca) : NULL,
        .server_name = spec->tls_server_name.len > 0 ? spec->tls_server_name.ptr : NULL,
        .no_verify = !spec->tls_verify};
    one->name = spec->name;
    if (spec->kind != SHADOW_STORE_MEMORY) {
        err = net_real_start(&(struct net_real_options){.name = "shadownet", .class = LOOP_IDLE},
                             &one->net, info);
        o.net = err == ERR_OK ? net_real_net(one->net) : NULL;
    }
    err = err == ERR_OK ? shadowstore_new(&o, &one->store, info) : err;
    if (err == ERR_OK) {
        start_loop(one, options->clock);
    }
    return err;
}

enum err shadow_stores_start(const struct shadow_stores_options *options,
                             struct shadow_stores **ret_stores, struct err_info *info)
{
    struct shadow_stores *stores = MEM_NEW(struct shadow_stores);
    struct arena arena; /* paths and secrets, until they are copied */
    char id[ID_HEX + 1];
    arena_init(&arena, SECRET_ARENA_MAX);
    stores->clock = options->clock;
    enum err err = folder_id(options->fs, id, info);
    for (int32_t i = 0; err == ERR_OK && i < options->config->shadow_store_count; i++) {
        stores->count++;
        err = start_one(options, options->config->shadow_stores[i], id, &arena, &stores->stores[i],
                        info);
    }
    arena_release(&arena);
    if (err != ERR_OK) {
        shadow_stores_free(stores);
        return err;
    }
    *ret_stores = stores;
    return ERR_OK;
}

int32_t shadow_stores_count(const struct shadow_stores *stores)
{
    return stores->count;
}

struct str shadow_stores_name(const struct shadow_stores *stores, int32_t index)
{
    return stores->stores[index].name;
}

struct shadowstore *shadow_stores_get(const struct shadow_stores *stores, int32_t index)
{
    return stores->stores[index].store;
}

/* --- end --- */

/* One op of kind CLOSE_ALL or STATUS: a store's loop answers both without waiting for anybody. */
static void ask(const struct one_store *one, enum shadowstore_op_kind kind,
                struct shadowstore_op *op)
{
    struct waker waker;
    struct mailbox done;
    waker_init(&waker);
    mailbox_init(&done, &waker);
    *op = (struct shadowstore_op){.kind = kind, .done = &done};
    shadowstore_submit(one->store, op);
    while (mailbox_take_all(&done) == NULL) {
        waker_sleep(&waker, LOOK_NS);
    }
}

/* The shadows end with the process. */
static void remove_all(const struct shadow_stores *stores, const struct one_store *one,
                       int64_t end_ns)
{
    struct shadowstore_op op;
    ask(one, SHADOWSTORE_CLOSE_ALL, &op);
    ask(one, SHADOWSTORE_STATUS, &op);
    while (op.ret_status.state == SHADOWSTORE_UP && op.ret_status.cleanups_pending > 0 &&
           clock_now_ns(stores->clock) < end_ns) {
        clock_real_sleep(LOOK_NS);
        ask(one, SHADOWSTORE_STATUS, &op);
    }
}

void shadow_stores_stop(struct shadow_stores *stores)
{
    if (stores == NULL) {
        return;
    }
    int64_t end_ns = clock_now_ns(stores->clock) + SETTLE_NS;
    for (int32_t i = 0; i < stores->count; i++) {
        struct one_store *one = &stores->stores[i];
        if (one->loop != NULL) {
            remove_all(stores, one, end_ns);
        }
        loop_stop(one->loop);
        one->loop = NULL;
        net_real_stop(one->net);
        one->net = NULL;
    }
}

void shadow_stores_free(struct shadow_stores *stores)
{
    if (stores == NULL) {
        return;
    }
    shadow_stores_stop(stores);
    for (int32_t i = 0; i < stores->count; i++) {
        shadowstore_free(stores->stores[i].store);
    }
    mem_free(stores);
}
