// SPDX-License-Identifier: Apache-2.0
/* The keeper: whatever the store asks of its server besides writing pages, one op at a time.
 *
 *   state      begun when                                  answered well                       failed
 *   PROBING    the breaker says so                         the breaker closes                  the breaker waits longer
 *   LOADING    the registry was not read yet               leftovers become graves             later again
 *   SAVING     shadows or graves changed, or it gets old   pages below `wanted` may be sent    later again
 *   READING    a user wants a page                         he has it, or it is lost            he is told UNAVAILABLE
 *   DELETING   there is a grave                            it is shorter, or gone              later again, same keys
 *
 * All go from IDLE and back to IDLE with the answer; but for PROBING none begins while the breaker is not closed. The order
 * of the rows is their precedence.
 *
 * Invariants:
 *   K1  A page is sent only when a registry that names it was written, and nothing is written before it was read once: so
 *       what a process leaves behind is found by the next.
 *   K2  A grave is forgotten only when all its pages were deleted, or their time to live has passed.
 *   K3  A delete that failed is made again from the same page: deleting twice does no harm.
 *   K4  What was sent on a connection that broke may be carried out behind what is sent on the next (memcached has several
 *       threads). So after a failure nothing is removed before the server has answered well for SETTLE_NS. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "shadowstore/registry.h"
#include "shadowstore/store_priv.h"

#define PROBE_TTL_MS 1000
#define REFRESH_NS   10000000000LL
#define SETTLE_NS    1000000000LL

static void begin(struct shadowstore *store, enum keeper_state state, enum remote_kind kind,
                  const char *name)
{
    struct keeper *keeper = store->keeper;
    keeper->state = state;
    keeper->generation = store->breaker.generation;
    keeper->op.kind = kind;
    keeper->op.done = &store->answers;
    if (name != NULL) {
        int n = snprintf(keeper->op.keys[0], REMOTE_KEY_MAX, "%s:%s", store->prefix, name);
        CHECK(n > 0 && n < REMOTE_KEY_MAX);
        keeper->op.key_count = 1;
    }
    remote_submit(store->remote, &keeper->op);
}

/* --- probing, loading --- */

static void begin_probe(struct shadowstore *store)
{
    struct remote_op *op = &store->keeper->op;
    op->value = "1";
    op->len = 1;
    op->ttl_ms = PROBE_TTL_MS;
    begin(store, KEEPER_PROBING, REMOTE_SET, "probe");
}

static void begin_load(struct shadowstore *store)
{
    struct keeper *keeper = store->keeper;
    keeper->op.buf = keeper->value;
    keeper->op.cap = SHADOWSTORE_PAGE_BYTES;
    begin(store, KEEPER_LOADING, REMOTE_GET, "registry");
}

static void add_grave(struct shadowstore *store, const struct grave *grave);

static void loaded(struct shadowstore *store, enum err err)
{
    struct keeper *keeper = store->keeper;
    struct str rest = {(const char *)keeper->value, err == ERR_OK ? keeper->op.ret_len : 0};
    struct registry_entry entry;
    bool first = true;
    keeper->loaded = true;
    while (registry_next(&rest, &first, &entry)) {
        if (entry.incarnation != store->options.incarnation) {
            struct grave grave = {.incarnation = entry.incarnation,
                                  .shadow = entry.shadow,
                                  .pages = entry.pages,
                                  .deadline_ns = store->now_ns + store->options.ttl_ns};
            store->status.leftovers++;
            add_grave(store, &grave);
        }
    }
    if (rest.len > 0 || err == ERR_LIMIT) {
        struct shadowstore_status *status = &store->status;
        IGNORE_RESULT(snprintf(
            status->problem, sizeof(status->problem),
            "the registry of shadows was overwritten: what earlier processes left goes with its "
            "time to live")); /* fits */
        status->problem_ns = store->now_ns;
        keeper->dirty = true;
    }
}

/* --- the registry --- */

static bool has_nothing_to_name(const struct shadowstore *store)
{
    bool any = store->grave_count > 0;
    for (int32_t i = 0; i < SHADOWSTORE_SHADOWS_MAX; i++) {
        any = any || (store->shadows[i].state != SHADOW_FREE && store->shadows[i].wanted > 0);
    }
    return !any;
}

static void begin_save(struct shadowstore *store)
{
    struct keeper *keeper = store->keeper;
    ptrdiff_t len = 0;
    bool fits = true;
    keeper->dirty = false;
    for (int32_t i = 0; i < store->grave_count; i++) {
        const struct grave *grave = &store->graves[i];
        struct registry_entry entry = {grave->incarnation, grave->shadow, grave->pages};
        fits = fits && registry_add((char *)keeper->value, SHADOWSTORE_PAGE_BYTES, &len, &entry);
    }
    for (int32_t i = 0; i < SHADOWSTORE_SHADOWS_MAX; i++) {
        const struct shadow *shadow = &store->shadows[i];
        keeper->saving[i] = 0;
        if (shadow->state != SHADOW_FREE && shadow->wanted > 0) {
            struct registry_entry entry = {store->options.incarnation, shadow->id, shadow->wanted};
            keeper->saving[i] = shadow->wanted;
            keeper->saving_id[i] = shadow->id;
            fits =
                fits && registry_add((char *)keeper->value, SHADOWSTORE_PAGE_BYTES, &len, &entry);
        }
    }
    CHECK(fits); /* (GRAVES_MAX + SHADOWSTORE_SHADOWS_MAX) lines are far less */
    /* It outlives every page it names: those are sent before the next refresh. Refreshed often, it is the last that a
     * server evicts, and back soon if it was flushed. */
    keeper->op.value = keeper->value;
    keeper->op.len = len;
    keeper->op.ttl_ms = 2 * store->options.ttl_ns / 1000000;
    keeper->refresh_ns = len > 0 ? store->now_ns + REFRESH_NS : CLOCK_NEVER;
    begin(store, KEEPER_SAVING, len > 0 ? REMOTE_SET : REMOTE_DELETE, "registry");
}

static_assert((GRAVES_MAX + SHADOWSTORE_SHADOWS_MAX + 1) * REGISTRY_LINE_MAX <
                  SHADOWSTORE_PAGE_BYTES,
              "the registry fits a page");

static void saved(struct shadowstore *store)
{
    const struct keeper *keeper = store->keeper;
    for (int32_t i = 0; i < SHADOWSTORE_SHADOWS_MAX; i++) {
        struct shadow *shadow = &store->shadows[i];
        if (keeper->saving[i] > shadow->reserved && shadow->state != SHADOW_FREE &&
            shadow->id == keeper->saving_id[i]) {
            shadow->reserved = keeper->saving[i];
        }
    }
}

/* --- reading --- */

static struct shadowstore_op *pop_read(struct keeper *keeper)
{
    struct shadowstore_op *op = keeper->reads;
    keeper->reads = op->store_next;
    keeper->reads_end = keeper->reads != NULL ? keeper->reads_end : &keeper->reads;
    return op;
}

void keeper_read(struct shadowstore *store, struct shadowstore_op *op)
{
    struct keeper *keeper = store->keeper;
    op->store_next = NULL;
    *keeper->reads_end = op;
    keeper->reads_end = &op->store_next;
}

static void begin_read(struct shadowstore *store)
{
    struct keeper *keeper = store->keeper;
    struct shadowstore_op *read = keeper->reads;
    struct remote_op *op = &keeper->op;
    store_key_of_page(store, store->options.incarnation, read->shadow, read->page, op->keys[0]);
    op->key_count = 1;
    op->buf = read->buf;
    op->cap = SHADOWSTORE_PAGE_BYTES;
    begin(store, KEEPER_READING, REMOTE_GET, NULL);
}

static void was_read(struct shadowstore *store, enum err err)
{
    struct shadowstore_op *read = pop_read(store->keeper);
    struct shadow *shadow = store_find(store, read->shadow);
    if (err == ERR_OK) {
        err =
            page_check(read->buf, store->keeper->op.ret_len, read->shadow, read->page, &read->info);
    } else if (err == ERR_NOT_FOUND) {
        err = err_set(&read->info, ERR_NOT_FOUND,
                      "page %d of shadow %llu is not in the store any more: evicted, flushed, or "
                      "the store was restarted",
                      read->page, (unsigned long long)read->shadow);
    } else if (err == ERR_LIMIT) {
        err = err_set(&read->info, ERR_CORRUPT,
                      "page %d of shadow %llu: a value larger than a page is in its place",
                      read->page, (unsigned long long)read->shadow);
    }
    if (shadow != NULL && err != ERR_OK) {
        page_gone(store, shadow, read->page);
    }
    read->ret_bytes = err == ERR_OK ? store->keeper->op.ret_len : 0;
    store_complete(read, err);
}

static void fail_reads(struct shadowstore *store)
{
    struct keeper *keeper = store->keeper;
    while (keeper->reads != NULL) {
        struct shadowstore_op *read = pop_read(keeper);
        store_complete(read, err_set(&read->info, ERR_UNAVAILABLE, "the store is down: %s",
                                     store->status.problem));
    }
}

/* --- graves --- */

static void end_grave(struct shadowstore *store, int32_t index, enum err err)
{
    struct grave *grave = &store->graves[index];
    if (err == ERR_OK) {
        store->status.cleaned++;
    } else {
        store->status.left_to_ttl++;
    }
    if (grave->close != NULL) {
        if (err != ERR_OK) {
            err = err_set(&grave->close->info, err,
                          "shadow %llu could not be removed in time: its time to live does it (%s)",
                          (unsigned long long)grave->shadow, store->status.problem);
        }
        store_complete(grave->close, err);
    }
    store->grave_count--;
    memmove(grave, grave + 1, (size_t)(store->grave_count - index) * sizeof(*grave));
    store->keeper->dirty = true;
}

static void add_grave(struct shadowstore *store, const struct grave *grave)
{
    if (store->grave_count == GRAVES_MAX) {
        /* The oldest gives way, but not the one a delete in flight speaks of. */
        end_grave(store, store->keeper->state == KEEPER_DELETING ? 1 : 0, ERR_UNAVAILABLE);
    }
    store->graves[store->grave_count++] = *grave;
}

void keeper_bury(struct shadowstore *store, struct shadow *shadow)
{
    CHECK(shadow->state == SHADOW_CLOSING && shadow->in_flight == 0);
    struct shadowstore_op *close = shadow->close;
    if (close != NULL) {
        close->ret_counts = shadow->counts;
        close->ret_pages = shadow->page_count;
    }
    store_counts_add(&store->status.counts, &shadow->counts);
    if (shadow->sent_below > 0) {
        struct grave grave = {.incarnation = store->options.incarnation,
                              .shadow = shadow->id,
                              .pages = shadow->sent_below,
                              .deadline_ns = store->now_ns + store->options.ttl_ns,
                              .close = close};
        add_grave(store, &grave);
    } else {
        store->status.cleaned++;
        if (close != NULL) {
            store_complete(close, ERR_OK);
        }
    }
    if (store->remote != NULL && shadow->wanted > 0) {
        store->keeper->dirty = true;
    }
    shadow->state = SHADOW_FREE;
}

static void begin_delete(struct shadowstore *store)
{
    const struct grave *grave = &store->graves[0];
    struct keeper *keeper = store->keeper;
    int32_t left = grave->pages - grave->next;
    keeper->deleting = left < REMOTE_KEYS_MAX ? left : REMOTE_KEYS_MAX;
    for (int32_t i = 0; i < keeper->deleting; i++) {
        store_key_of_page(store, grave->incarnation, grave->shadow, grave->next + i,
                          keeper->op.keys[i]);
    }
    keeper->op.key_count = keeper->deleting;
    begin(store, KEEPER_DELETING, REMOTE_DELETE, NULL);
}

static void deleted(struct shadowstore *store)
{
    struct grave *grave = &store->graves[0];
    grave->next += store->keeper->deleting;
    if (grave->next >= grave->pages) {
        end_grave(store, 0, ERR_OK); /* K2 */
    }
}

static void expire_graves(struct shadowstore *store)
{
    int32_t i = store->keeper->state == KEEPER_DELETING ? 1 : 0;
    while (i < store->grave_count) {
        if (store->graves[i].deadline_ns <= store->now_ns) {
            end_grave(store, i, ERR_UNAVAILABLE);
        } else {
            i++;
        }
    }
}

/* --- the machine --- */

static bool may_remove(const struct shadowstore *store)
{
    return store->now_ns >= store->keeper->settled_ns; /* K4 */
}

static bool wants_to_save(const struct shadowstore *store)
{
    const struct keeper *keeper = store->keeper;
    return (keeper->dirty || keeper->refresh_ns <= store->now_ns) &&
           (may_remove(store) || !has_nothing_to_name(store));
}

void keeper_trusts(struct shadowstore *store)
{
    struct keeper *keeper = store->keeper;
    if (keeper->doubtful) {
        keeper->doubtful = false;
        keeper->settled_ns = store->now_ns + SETTLE_NS;
    }
}

static void begin_next(struct shadowstore *store)
{
    struct keeper *keeper = store->keeper;
    if (breaker_takes_probe(&store->breaker, store->now_ns)) {
        begin_probe(store);
    } else if (!breaker_allows(&store->breaker)) {
        if (store->asked) {
            fail_reads(store);
        }
    } else if (!keeper->loaded) {
        begin_load(store);
    } else if (wants_to_save(store)) {
        begin_save(store);
    } else if (keeper->reads != NULL) {
        begin_read(store);
    } else if (store->grave_count > 0 && may_remove(store)) {
        begin_delete(store);
    }
}

void keeper_step(struct shadowstore *store)
{
    expire_graves(store);
    if (store->keeper->state == KEEPER_IDLE) {
        begin_next(store);
    }
}

void keeper_answer(struct shadowstore *store)
{
    struct keeper *keeper = store->keeper;
    enum keeper_state state = keeper->state;
    enum err err = keeper->op.err;
    if (err == ERR_LIMIT && keeper->op.kind != REMOTE_GET) {
        err = ERR_NO_SPACE; /* a server that takes no small value is of no use */
    }
    bool well = remote_judge(store, keeper->generation, err, &keeper->op.info);
    keeper->state = KEEPER_IDLE;
    switch (state) {
    case KEEPER_PROBING:
        /* The server may have come back empty: what it is to remember is written again. */
        keeper->dirty = keeper->dirty || (well && keeper->refresh_ns != CLOCK_NEVER);
        break;
    case KEEPER_LOADING:
        if (well) {
            loaded(store, err);
        }
        break;
    case KEEPER_SAVING:
        if (well) {
            saved(store);
        } else {
            keeper->dirty = true;
        }
        break;
    case KEEPER_READING:
        if (well) {
            was_read(store, err);
        } else {
            fail_reads(store);
        }
        break;
    case KEEPER_DELETING:
        if (well) {
            deleted(store);
        }
        break;
    case KEEPER_IDLE:
    case KEEPER_STATES:
        CHECK(false); /* no answer without a question */
    }
}

int64_t keeper_deadline(const struct shadowstore *store)
{
    const struct keeper *keeper = store->keeper;
    int64_t next_ns = keeper->state == KEEPER_IDLE ? store->breaker.deadline_ns : CLOCK_NEVER;
    if (keeper->state == KEEPER_IDLE && breaker_allows(&store->breaker)) {
        bool removes = store->grave_count > 0 || keeper->dirty;
        bool work = !keeper->loaded || wants_to_save(store) || keeper->reads != NULL ||
                    (store->grave_count > 0 && may_remove(store));
        next_ns = work ? store->now_ns : removes ? keeper->settled_ns : keeper->refresh_ns;
    }
    for (int32_t i = keeper->state == KEEPER_DELETING ? 1 : 0; i < store->grave_count; i++) {
        int64_t at_ns = store->graves[i].deadline_ns;
        next_ns = at_ns < next_ns ? at_ns : next_ns;
    }
    return next_ns;
}
