// SPDX-License-Identifier: Apache-2.0
/* The store itself: made, stepped, freed; what its users ask of it. */
#include "shadowstore/shadowstore.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "shadowstore/store_priv.h"

#define MS_NS     1000000LL
#define SECOND_NS 1000000000LL
#define DAY_NS    (86400LL * SECOND_NS)
#define MIB       (1LL << 20)
#define GIB       (1LL << 30)

enum { DATABASE_MAX = 1023, PORT_MAX = 65535 };

/* --- options --- */

static bool name_ok(struct str name)
{
    for (ptrdiff_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '_' && c != '-') {
            return false;
        }
    }
    return name.len > 0 && name.len <= SHADOWSTORE_NAME_MAX;
}

static enum err check_range(const char *what, int64_t value, int64_t min, int64_t max,
                            struct err_info *info)
{
    if (value < min || value > max) {
        return err_set(info, ERR_LIMIT, "a shadow store's %s is %lld: it must be %lld to %lld",
                       what, (long long)value, (long long)min, (long long)max);
    }
    return ERR_OK;
}

static enum err check_server(const struct shadowstore_options *o, struct err_info *info)
{
    if (o->host.len <= 0 || o->host.len > SHADOWSTORE_HOST_MAX ||
        memchr(o->host.ptr, 0, (size_t)o->host.len) != NULL) {
        return err_set(info, ERR_INVALID, "a shadow store's host is 1 to %d bytes",
                       SHADOWSTORE_HOST_MAX);
    }
    if (o->username.len > SHADOWSTORE_SECRET_MAX || o->password.len > SHADOWSTORE_SECRET_MAX) {
        return err_set(info, ERR_LIMIT, "a shadow store's user name or password is over %d bytes",
                       SHADOWSTORE_SECRET_MAX);
    }
    enum err err = check_range("port", o->port, 1, PORT_MAX, info);
    err = err == ERR_OK ? check_range("time-out to connect in ns", o->connect_timeout_ns,
                                      10 * MS_NS, 60 * SECOND_NS, info)
                        : err;
    err = err == ERR_OK
              ? check_range("time-out in ns", o->timeout_ns, 10 * MS_NS, 60 * SECOND_NS, info)
              : err;
    err = err == ERR_OK ? check_range("memory in bytes", o->memory_bytes, MIB, GIB, info) : err;
    return err == ERR_OK ? check_range("database", o->database, 0, DATABASE_MAX, info) : err;
}

static enum err check_options(const struct shadowstore_options *o, struct err_info *info)
{
    if (!name_ok(o->name) || !name_ok(o->name_space)) {
        return err_set(info, ERR_INVALID,
                       "a shadow store's name and name space are 1 to %d letters, digits, '_', '-'",
                       SHADOWSTORE_NAME_MAX);
    }
    bool memory = o->kind == SHADOWSTORE_MEMORY;
    if (!memory && o->kind != SHADOWSTORE_REDIS && o->kind != SHADOWSTORE_MEMCACHED) {
        return err_set(info, ERR_INVALID, "no such kind of shadow store: %d", (int)o->kind);
    }
    enum err err = check_range("time to live in ns", o->ttl_ns, 10 * SECOND_NS, 7 * DAY_NS, info);
    err = err == ERR_OK
              ? check_range("size in bytes", o->size_bytes, MIB, memory ? GIB : 64 * GIB, info)
              : err;
    return err == ERR_OK && !memory ? check_server(o, info) : err;
}

/* --- made and freed --- */

static void make_pages(struct shadowstore *store)
{
    bool memory = store->remote == NULL;
    const struct shadowstore_options *o = &store->options;
    store->memory_max =
        (int32_t)((memory ? o->size_bytes : o->memory_bytes) / SHADOWSTORE_PAGE_BYTES);
    int32_t count = store->memory_max + 2 * SHADOWSTORE_SHADOWS_MAX +
                    (memory ? 0 : (int32_t)QUEUE_PAGES + WINDOW);
    /* Large zeroed blocks: the kernel gives pages of them as they are first written. */
    store->slab = mem_new(count, SHADOWSTORE_PAGE_BYTES);
    store->pages = MEM_NEW_ARRAY(struct page, count);
    for (int32_t i = 0; i < count; i++) {
        store->pages[i].bytes = store->slab + (ptrdiff_t)i * SHADOWSTORE_PAGE_BYTES;
        page_list_push(&store->pool, &store->pages[i]);
    }
    store->shadows = MEM_NEW_ARRAY(struct shadow, SHADOWSTORE_SHADOWS_MAX);
    store->entries = MEM_NEW_ARRAY(struct page_entry,
                                   (ptrdiff_t)SHADOWSTORE_SHADOWS_MAX * SHADOWSTORE_PAGES_MAX);
    for (int32_t i = 0; i < SHADOWSTORE_SHADOWS_MAX; i++) {
        store->shadows[i].pages = store->entries + (ptrdiff_t)i * SHADOWSTORE_PAGES_MAX;
    }
    store->graves = MEM_NEW_ARRAY(struct grave, GRAVES_MAX);
    store->flights = MEM_NEW_ARRAY(struct flight, WINDOW);
    store->keeper = MEM_NEW(struct keeper);
    store->keeper->value = mem_new(SHADOWSTORE_PAGE_BYTES, 1);
    store->keeper->refresh_ns = CLOCK_NEVER;
    store->keeper->reads_end = &store->keeper->reads;
}

enum err shadowstore_new(const struct shadowstore_options *options, struct shadowstore **ret_store,
                         struct err_info *info)
{
    enum err err = check_options(options, info);
    if (err != ERR_OK) {
        return err;
    }
    struct shadowstore *store = MEM_NEW(struct shadowstore);
    waker_init(&store->waker);
    mailbox_init(&store->inbox, &store->waker);
    mailbox_init(&store->answers, &store->waker);
    if (options->kind != SHADOWSTORE_MEMORY) {
        err = remote_new(options, &store->waker, &store->remote, info);
    }
    if (err != ERR_OK) {
        mem_free(store);
        return err;
    }
    memcpy(store->name, options->name.ptr, (size_t)options->name.len);
    int n = snprintf(store->prefix, sizeof(store->prefix), "sc:%.*s:%.*s",
                     STR_ARG(options->name_space), STR_ARG(options->name));
    CHECK(n > 0 && n < (int)sizeof(store->prefix));
    store->options = *options;
    store->options.name = str_of(store->name);
    store->options.name_space = (struct str){NULL, 0};
    store->options.host = (struct str){NULL, 0};
    store->options.username = (struct str){NULL, 0};
    store->options.password = (struct str){NULL, 0};
    store->options.tls_options = (struct net_tls){.ca_file = NULL};
    store->status.state = store->remote != NULL ? SHADOWSTORE_STARTING : SHADOWSTORE_UP;
    make_pages(store);
    breaker_init(&store->breaker, PROBE_MIN_NS, PROBE_MAX_NS, 0);
    *ret_store = store;
    return ERR_OK;
}

static void cancel(struct shadowstore_op *op)
{
    while (op != NULL) {
        struct shadowstore_op *next = op->store_next;
        store_complete(op, err_set(&op->info, ERR_CANCELLED, "the store has ended"));
        op = next;
    }
}

void shadowstore_free(struct shadowstore *store)
{
    if (store == NULL) {
        return;
    }
    if (store->remote != NULL) {
        remote_free(store->remote);
    }
    struct msg *msg = mailbox_take_all(&store->inbox);
    while (msg != NULL) {
        struct shadowstore_op *op = CONTAINER_OF(msg, struct shadowstore_op, msg);
        msg = msg->next;
        op->store_next = NULL;
        cancel(op);
    }
    cancel(store->keeper->reads);
    for (int32_t i = 0; i < store->grave_count; i++) {
        cancel(store->graves[i].close);
    }
    for (int32_t i = 0; i < SHADOWSTORE_SHADOWS_MAX; i++) {
        struct shadow *shadow = &store->shadows[i];
        if (shadow->state != SHADOW_FREE) {
            cancel(shadow->waiting);
            cancel(shadow->close);
        }
    }
    mem_free(store->keeper->value);
    mem_free(store->keeper);
    mem_free(store->flights);
    mem_free(store->graves);
    mem_free(store->entries);
    mem_free(store->shadows);
    mem_free(store->pages);
    mem_free(store->slab);
    mem_free(store);
}

/* --- what is asked --- */

void store_complete(struct shadowstore_op *op, enum err err)
{
    op->err = err;
    op->store_next = NULL;
    mailbox_push(op->done, &op->msg);
}

struct shadow *store_find(struct shadowstore *store, uint64_t id)
{
    for (int32_t i = 0; i < SHADOWSTORE_SHADOWS_MAX; i++) {
        if (store->shadows[i].state == SHADOW_OPEN && store->shadows[i].id == id) {
            return &store->shadows[i];
        }
    }
    return NULL;
}

void store_counts_add(struct shadowstore_counts *sum, const struct shadowstore_counts *counts)
{
    sum->taken += counts->taken;
    sum->stored += counts->stored;
    sum->fallen_back += counts->fallen_back;
    sum->lost += counts->lost;
    sum->dropped_queue += counts->dropped_queue;
    sum->dropped_size += counts->dropped_size;
    sum->payloads_cut += counts->payloads_cut;
    sum->pages += counts->pages;
    sum->bytes += counts->bytes;
}

static void open_shadow(struct shadowstore *store, struct shadowstore_op *op)
{
    struct shadow *free_one = NULL;
    for (int32_t i = 0; i < SHADOWSTORE_SHADOWS_MAX; i++) {
        struct shadow *shadow = &store->shadows[i];
        if (shadow->state == SHADOW_FREE) {
            free_one = free_one == NULL ? shadow : free_one;
        } else if (shadow->id == op->shadow) {
            store_complete(op, err_set(&op->info, ERR_EXISTS, "shadow %llu is open already",
                                       (unsigned long long)op->shadow));
            return;
        }
    }
    if (free_one == NULL) {
        store_complete(op, err_set(&op->info, ERR_LIMIT,
                                   "store '%s' keeps %d shadows at a time, and has them",
                                   store->name, SHADOWSTORE_SHADOWS_MAX));
        return;
    }
    struct page_entry *pages = free_one->pages;
    *free_one =
        (struct shadow){.state = SHADOW_OPEN, .id = op->shadow, .flags = op->flags, .pages = pages};
    store_complete(op, ERR_OK);
}

static void flush(struct shadowstore *store, struct shadow *shadow, struct shadowstore_op *op)
{
    shadow_seal(store, shadow);
    if (shadow->settled_below >= shadow->page_count) {
        op->ret_counts = shadow->counts;
        op->ret_pages = shadow->page_count;
        store_complete(op, ERR_OK);
        return;
    }
    op->store_word = shadow->page_count;
    op->store_next = shadow->waiting;
    shadow->waiting = op;
}

static void read_page(struct shadowstore *store, struct shadow *shadow, struct shadowstore_op *op)
{
    if (op->page < 0 || op->page >= shadow->page_count) {
        store_complete(op, err_set(&op->info, ERR_INVALID, "shadow %llu has %d pages: no page %d",
                                   (unsigned long long)op->shadow, shadow->page_count, op->page));
        return;
    }
    const struct page_entry *entry = &shadow->pages[op->page];
    switch (entry->place) {
    case PAGE_ON_ITS_WAY:
        store_complete(op, err_set(&op->info, ERR_AGAIN,
                                   "page %d of shadow %llu is on its way: flush first", op->page,
                                   (unsigned long long)op->shadow));
        break;
    case PAGE_IN_MEMORY:
        memcpy(op->buf, entry->memory->bytes, (size_t)entry->len);
        op->ret_bytes = entry->len;
        store_complete(op, ERR_OK);
        break;
    case PAGE_STORED:
        keeper_read(store, op);
        break;
    case PAGE_LOST:
        store_complete(op, err_set(&op->info, ERR_NOT_FOUND, "page %d of shadow %llu is lost",
                                   op->page, (unsigned long long)op->shadow));
        break;
    }
}

static void close_shadow(struct shadowstore *store, struct shadow *shadow,
                         struct shadowstore_op *op)
{
    shadow->close = op;
    shadow->state = SHADOW_CLOSING;
    shadow_drop_pages(store, shadow);
    cancel(shadow->waiting);
    shadow->waiting = NULL;
    if (shadow->in_flight == 0) {
        keeper_bury(store, shadow);
    }
}

static void close_all(struct shadowstore *store, struct shadowstore_op *op)
{
    for (int32_t i = 0; i < SHADOWSTORE_SHADOWS_MAX; i++) {
        if (store->shadows[i].state == SHADOW_OPEN) {
            close_shadow(store, &store->shadows[i], NULL);
        }
    }
    store_complete(op, ERR_OK);
}

static void fill_status(const struct shadowstore *store, struct shadowstore_op *op)
{
    struct shadowstore_status *status = &op->ret_status;
    *status = store->status;
    status->cleanups_pending = store->grave_count;
    for (int32_t i = 0; i < SHADOWSTORE_SHADOWS_MAX; i++) {
        const struct shadow *shadow = &store->shadows[i];
        if (shadow->state != SHADOW_FREE) {
            status->open_shadows += shadow->state == SHADOW_OPEN;
            status->cleanups_pending += shadow->state == SHADOW_CLOSING;
            store_counts_add(&status->counts, &shadow->counts);
        }
    }
    int64_t in_flight = 0;
    for (int i = 0; i < WINDOW; i++) {
        in_flight += store->flights[i].page != NULL;
    }
    status->memory_bytes = (int64_t)store->memory_count * SHADOWSTORE_PAGE_BYTES;
    status->queue_bytes = (store->queue.count + in_flight) * SHADOWSTORE_PAGE_BYTES;
    store_complete(op, ERR_OK);
}

static void take_op_of_shadow(struct shadowstore *store, struct shadowstore_op *op)
{
    struct shadow *shadow = store_find(store, op->shadow);
    if (shadow == NULL) {
        store_complete(op, err_set(&op->info, ERR_NOT_FOUND, "no shadow %llu is open in store '%s'",
                                   (unsigned long long)op->shadow, store->name));
        return;
    }
    switch (op->kind) {
    case SHADOWSTORE_PUT:
        shadow_put(store, shadow, op);
        store_complete(op, ERR_OK);
        break;
    case SHADOWSTORE_FLUSH:
        flush(store, shadow, op);
        break;
    case SHADOWSTORE_READ:
        read_page(store, shadow, op);
        break;
    case SHADOWSTORE_COUNTS:
        op->ret_counts = shadow->counts;
        op->ret_pages = shadow->page_count;
        store_complete(op, ERR_OK);
        break;
    case SHADOWSTORE_CLOSE:
        close_shadow(store, shadow, op);
        break;
    case SHADOWSTORE_OPEN:
    case SHADOWSTORE_CLOSE_ALL:
    case SHADOWSTORE_STATUS:
    case SHADOWSTORE_OP_KIND_COUNT:
        CHECK(false); /* take_op() has had them */
    }
}

static void take_op(struct shadowstore *store, struct shadowstore_op *op)
{
    op->store_next = NULL;
    op->ret_taken = 0;
    op->ret_pages = 0;
    op->ret_bytes = 0;
    op->info = (struct err_info){.code = ERR_OK};
    if (op->kind == SHADOWSTORE_OPEN) {
        open_shadow(store, op);
    } else if (op->kind == SHADOWSTORE_CLOSE_ALL) {
        close_all(store, op);
    } else if (op->kind == SHADOWSTORE_STATUS) {
        fill_status(store, op);
    } else if (op->count < 0 || op->count > SHADOWSTORE_PUT_MAX) {
        store_complete(op, err_set(&op->info, ERR_INVALID, "%d results in one put: at most %d",
                                   op->count, SHADOWSTORE_PUT_MAX));
    } else {
        take_op_of_shadow(store, op);
    }
}

enum shadowstore_kind shadowstore_kind_of(const struct shadowstore *store)
{
    return store->options.kind;
}

void shadowstore_submit(struct shadowstore *store, struct shadowstore_op *op)
{
    mailbox_push(&store->inbox, &op->msg);
}

/* --- stepped --- */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t store_step(void *ctx, int64_t now_ns)
{
    struct shadowstore *store = ctx;
    store->now_ns = now_ns;
    if (store->remote != NULL) {
        remote_answers(store);
    }
    struct msg *msg = mailbox_take_all(&store->inbox);
    while (msg != NULL) {
        struct shadowstore_op *op = CONTAINER_OF(msg, struct shadowstore_op, msg);
        msg = msg->next;
        take_op(store, op);
    }
    int64_t next_ns = pages_tick(store);
    if (store->remote == NULL) {
        return next_ns;
    }
    keeper_step(store);
    remote_route(store);
    keeper_step(store); /* routing may have asked for the registry */
    next_ns = earlier(next_ns, keeper_deadline(store));
    return earlier(next_ns, remote_step(store->remote, now_ns));
}

int shadowstore_loops(struct shadowstore *store,
                      struct shadowstore_loop ret_loops[SHADOWSTORE_LOOPS_MAX])
{
    ret_loops[0] = (struct shadowstore_loop){
        .name = "shadowstore", .step = store_step, .ctx = store, .waker = &store->waker};
    return 1;
}

const char *shadowstore_kind_text(enum shadowstore_kind kind)
{
    static const char *const texts[] = {"memory", "redis", "memcached"};
    return texts[kind];
}

const char *shadowstore_state_text(enum shadowstore_state state)
{
    static const char *const texts[] = {"up", "down", "starting"};
    return texts[state];
}
