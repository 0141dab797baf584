// SPDX-License-Identifier: Apache-2.0
/* Pages to the server and back: who may be sent, what an answer means for the breaker. */
#include <stdio.h>

#include "base/check.h"
#include "shadowstore/store_priv.h"

void store_key_of_page(const struct shadowstore *store, uint64_t incarnation, uint64_t shadow,
                       int32_t number, char ret_key[REMOTE_KEY_MAX])
{
    int n = snprintf(ret_key, REMOTE_KEY_MAX, "%s:%016llx:%llu:%d", store->prefix,
                     (unsigned long long)incarnation, (unsigned long long)shadow, number);
    CHECK(n > 0 && n < REMOTE_KEY_MAX);
}

static void enter_state(struct shadowstore *store, enum shadowstore_state state)
{
    if (store->status.state != state) {
        store->status.state = state;
        store->status.since_ns = store->now_ns;
    }
}

bool remote_judge(struct shadowstore *store, uint32_t generation, enum err err,
                  const struct err_info *info)
{
    bool well = err == ERR_OK || err == ERR_NOT_FOUND || err == ERR_LIMIT;
    store->asked = true;
    if (well) {
        breaker_succeeded(&store->breaker, generation);
        keeper_trusts(store);
    } else {
        store->keeper->doubtful = true;
        struct shadowstore_status *status = &store->status;
        IGNORE_RESULT(snprintf(status->problem, sizeof(status->problem), "%s",
                               info->text)); /* cut: it says the most at its beginning */
        status->problem_ns = store->now_ns;
        status->failures++;
        breaker_failed(&store->breaker, generation, store->now_ns);
    }
    enter_state(store, breaker_allows(&store->breaker) ? SHADOWSTORE_UP : SHADOWSTORE_DOWN);
    return well;
}

static struct flight *free_flight(struct shadowstore *store)
{
    for (int i = 0; i < WINDOW; i++) {
        if (store->flights[i].page == NULL) {
            return &store->flights[i];
        }
    }
    return NULL;
}

static void send_page(struct shadowstore *store, struct flight *flight, struct page *page)
{
    struct shadow *shadow = &store->shadows[page->slot];
    struct remote_op *op = &flight->op;
    shadow->in_flight++;
    shadow->pages[page->number].tried = true;
    shadow->sent_below = page->number >= shadow->sent_below ? page->number + 1 : shadow->sent_below;
    flight->page = page;
    flight->generation = store->breaker.generation;
    op->kind = REMOTE_SET;
    op->done = &store->answers;
    op->key_count = 1;
    store_key_of_page(store, store->options.incarnation, shadow->id, page->number, op->keys[0]);
    op->value = page->bytes;
    op->len = page->len;
    op->ttl_ms = store->options.ttl_ns / 1000000;
    remote_submit(store->remote, op);
}

/* Whether the registry names the page, so that it will be found whatever happens to this process. If not, it is asked to. */
static bool registered(struct shadowstore *store, const struct page *page)
{
    struct shadow *shadow = &store->shadows[page->slot];
    if (page->number < shadow->reserved) {
        return true;
    }
    if (page->number >= shadow->wanted) {
        int32_t wanted = page->number + RESERVE_PAGES;
        shadow->wanted = wanted < SHADOWSTORE_PAGES_MAX ? wanted : SHADOWSTORE_PAGES_MAX;
        store->keeper->dirty = true;
    }
    return false;
}

void remote_route(struct shadowstore *store)
{
    while (store->queue.first != NULL) {
        bool up = breaker_allows(&store->breaker);
        struct flight *flight = free_flight(store);
        if (up &&
            (flight == NULL || !store->keeper->loaded || !registered(store, store->queue.first))) {
            return;
        }
        if (!up && !store->asked) {
            return; /* the first probe is on its way: it is soon known where pages go */
        }
        struct page *page = page_list_pop(&store->queue);
        if (up) {
            send_page(store, flight, page);
        } else {
            page_settle_memory(store, page);
        }
    }
}

static void page_answered(struct shadowstore *store, struct flight *flight)
{
    struct page *page = flight->page;
    struct shadow *shadow = &store->shadows[page->slot];
    enum err err = flight->op.err;
    flight->page = NULL;
    shadow->in_flight--;
    bool well = remote_judge(store, flight->generation, err, &flight->op.info);
    if (shadow->state == SHADOW_CLOSING) {
        page_settle_lost(store, page); /* wherever it is: it is to be removed */
        if (shadow->in_flight == 0) {
            keeper_bury(store, shadow);
        }
    } else if (well && err == ERR_OK) {
        page_settle_stored(store, page);
    } else {
        page_settle_memory(store, page);
    }
}

void remote_answers(struct shadowstore *store)
{
    struct msg *msg = mailbox_take_all(&store->answers);
    while (msg != NULL) {
        struct remote_op *op = CONTAINER_OF(msg, struct remote_op, msg);
        msg = msg->next;
        if (op == &store->keeper->op) {
            keeper_answer(store);
        } else {
            page_answered(store, CONTAINER_OF(op, struct flight, op));
        }
    }
}
