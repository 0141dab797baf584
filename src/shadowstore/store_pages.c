// SPDX-License-Identifier: Apache-2.0
/* Pages: filled, sealed, settled, expired. What becomes of each result is counted here and nowhere else. */
#include "base/check.h"
#include "shadowstore/store_priv.h"

void page_list_push(struct page_list *list, struct page *page)
{
    page->next = NULL;
    if (list->last != NULL) {
        list->last->next = page;
    } else {
        list->first = page;
    }
    list->last = page;
    list->count++;
}

struct page *page_list_pop(struct page_list *list)
{
    struct page *page = list->first;
    if (page != NULL) {
        list->first = page->next;
        list->last = list->first != NULL ? list->last : NULL;
        list->count--;
    }
    return page;
}

static struct shadow *shadow_of(const struct shadowstore *store, const struct page *page)
{
    return &store->shadows[page->slot];
}

/* --- filling --- */

/* A page to fill, or NULL: `ret_dropped` is then the counter that tells why. */
static struct page *take_page(struct shadowstore *store, struct shadow *shadow,
                              int64_t **ret_dropped)
{
    bool queue_full = store->remote != NULL && store->queue.count >= QUEUE_PAGES;
    *ret_dropped = queue_full ? &shadow->counts.dropped_queue : &shadow->counts.dropped_size;
    if (queue_full || shadow->page_count == SHADOWSTORE_PAGES_MAX ||
        store->kept_bytes + SHADOWSTORE_PAGE_BYTES > store->options.size_bytes) {
        return NULL;
    }
    struct page *page = page_list_pop(&store->pool);
    if (page != NULL) {
        page->slot = (int32_t)(shadow - store->shadows);
        store->kept_bytes += SHADOWSTORE_PAGE_BYTES; /* corrected when it is sealed */
    }
    return page;
}

static void give_page(struct shadowstore *store, struct page *page)
{
    page_list_push(&store->pool, page);
}

static bool put_one(struct shadowstore *store, struct shadow *shadow,
                    const struct shadowstore_entry *entry)
{
    bool wanted = (shadow->flags & SHADOWSTORE_PAYLOADS) != 0 && entry->payload.len > 0;
    bool payload = wanted && entry->payload.len <= SHADOWSTORE_PAYLOAD_MAX;
    if (shadow->filling != NULL && !page_add(&shadow->draft, entry, payload)) {
        shadow_seal(store, shadow);
    } else if (shadow->filling != NULL) {
        shadow->counts.payloads_cut += wanted && !payload;
        return true;
    }
    int64_t *dropped = NULL;
    struct page *page = take_page(store, shadow, &dropped);
    if (page == NULL) {
        *dropped += 1;
        return false;
    }
    shadow->filling = page;
    shadow->filling_since_ns = store->now_ns;
    page_begin(&shadow->draft, page->bytes);
    CHECK(page_add(&shadow->draft, entry, payload)); /* an empty page takes any */
    shadow->counts.payloads_cut += wanted && !payload;
    return true;
}

void shadow_put(struct shadowstore *store, struct shadow *shadow, struct shadowstore_op *op)
{
    for (int32_t i = 0; i < op->count; i++) {
        op->ret_taken += put_one(store, shadow, &op->entries[i]);
    }
    shadow->counts.taken += op->ret_taken;
}

/* --- settling --- */

/* Pages below it have come to their place: whoever waited for that is told. */
static void move_border(struct shadow *shadow)
{
    while (shadow->settled_below < shadow->page_count &&
           shadow->pages[shadow->settled_below].place != PAGE_ON_ITS_WAY) {
        shadow->settled_below++;
    }
    struct shadowstore_op **at = &shadow->waiting;
    while (*at != NULL) {
        struct shadowstore_op *op = *at;
        if (op->store_word > shadow->settled_below) {
            at = &op->store_next;
            continue;
        }
        *at = op->store_next;
        op->ret_counts = shadow->counts;
        op->ret_pages = shadow->page_count;
        store_complete(op, ERR_OK);
    }
}

static void settle(struct shadowstore *store, struct page *page, enum page_place place)
{
    struct shadow *shadow = shadow_of(store, page);
    struct page_entry *entry = &shadow->pages[page->number];
    CHECK(entry->place == PAGE_ON_ITS_WAY && place != PAGE_ON_ITS_WAY);
    entry->place = place;
    entry->expires_ns = store->now_ns + store->options.ttl_ns;
    if (place == PAGE_LOST) {
        shadow->counts.lost += entry->count;
        shadow->counts.bytes -= entry->len;
        store->kept_bytes -= entry->len;
    } else if (place == PAGE_STORED || store->remote == NULL) {
        shadow->counts.stored += entry->count;
    } else {
        shadow->counts.fallen_back += entry->count;
    }
    if (place == PAGE_IN_MEMORY) {
        entry->memory = page;
        store->memory_count++;
    } else {
        give_page(store, page);
    }
    move_border(shadow);
}

void page_settle_stored(struct shadowstore *store, struct page *page)
{
    settle(store, page, PAGE_STORED);
}

void page_settle_memory(struct shadowstore *store, struct page *page)
{
    settle(store, page, store->memory_count < store->memory_max ? PAGE_IN_MEMORY : PAGE_LOST);
}

void page_settle_lost(struct shadowstore *store, struct page *page)
{
    settle(store, page, PAGE_LOST);
}

void shadow_seal(struct shadowstore *store, struct shadow *shadow)
{
    struct page *page = shadow->filling;
    if (page == NULL) {
        return;
    }
    page->number = shadow->page_count++;
    page_seal(&shadow->draft, shadow->id, page->number);
    page->len = shadow->draft.len;
    page->count = shadow->draft.count;
    shadow->filling = NULL;
    shadow->pages[page->number] =
        (struct page_entry){.place = PAGE_ON_ITS_WAY, .count = page->count, .len = page->len};
    shadow->counts.pages++;
    shadow->counts.bytes += page->len;
    store->kept_bytes -= SHADOWSTORE_PAGE_BYTES - page->len;
    if (store->remote == NULL) {
        page_settle_memory(store, page);
    } else {
        page_list_push(&store->queue, page);
    }
}

/* --- ends --- */

static void free_memory(struct shadowstore *store, struct page_entry *entry)
{
    give_page(store, entry->memory);
    entry->memory = NULL;
    store->memory_count--;
}

void page_gone(struct shadowstore *store, struct shadow *shadow, int32_t number)
{
    struct page_entry *entry = &shadow->pages[number];
    if (entry->place == PAGE_LOST) {
        return;
    }
    bool stored = entry->place == PAGE_STORED || store->remote == NULL;
    CHECK(entry->place != PAGE_ON_ITS_WAY);
    *(stored ? &shadow->counts.stored : &shadow->counts.fallen_back) -= entry->count;
    shadow->counts.lost += entry->count;
    shadow->counts.bytes -= entry->len;
    store->kept_bytes -= entry->len;
    if (entry->place == PAGE_IN_MEMORY) {
        free_memory(store, entry);
    }
    entry->place = PAGE_LOST;
}

/* Drops what has lived long enough; the next time at which something will have. */
static int64_t expire(struct shadowstore *store, struct shadow *shadow)
{
    while (shadow->expired_below < shadow->settled_below) {
        const struct page_entry *entry = &shadow->pages[shadow->expired_below];
        if (entry->place != PAGE_LOST && entry->expires_ns > store->now_ns) {
            return entry->expires_ns;
        }
        page_gone(store, shadow, shadow->expired_below++);
    }
    return CLOCK_NEVER;
}

int64_t pages_tick(struct shadowstore *store)
{
    int64_t next_ns = CLOCK_NEVER;
    for (int32_t i = 0; i < SHADOWSTORE_SHADOWS_MAX; i++) {
        struct shadow *shadow = &store->shadows[i];
        if (shadow->state != SHADOW_OPEN) {
            continue;
        }
        /* In memory a page that is not full gains nothing by being sealed. */
        bool ages =
            shadow->filling != NULL && breaker_allows(&store->breaker) && store->remote != NULL;
        int64_t seal_ns = ages ? shadow->filling_since_ns + SEAL_NS : CLOCK_NEVER;
        if (seal_ns <= store->now_ns) {
            shadow_seal(store, shadow);
            seal_ns = CLOCK_NEVER;
        }
        int64_t expire_ns = expire(store, shadow);
        next_ns = seal_ns < next_ns ? seal_ns : next_ns;
        next_ns = expire_ns < next_ns ? expire_ns : next_ns;
    }
    return next_ns;
}

/* Pages of the shadow that wait in the queue are lost: the shadow is over. */
static void drop_queued(struct shadowstore *store, struct shadow *shadow)
{
    struct page_list kept = {.first = NULL};
    struct page *page;
    while ((page = page_list_pop(&store->queue)) != NULL) {
        if (shadow_of(store, page) == shadow) {
            settle(store, page, PAGE_LOST);
        } else {
            page_list_push(&kept, page);
        }
    }
    store->queue = kept;
}

void shadow_drop_pages(struct shadowstore *store, struct shadow *shadow)
{
    if (shadow->filling != NULL) {
        shadow->counts.lost += shadow->draft.count;
        store->kept_bytes -= SHADOWSTORE_PAGE_BYTES;
        give_page(store, shadow->filling);
        shadow->filling = NULL;
    }
    drop_queued(store, shadow);
    for (int32_t i = shadow->expired_below; i < shadow->page_count; i++) {
        struct page_entry *entry = &shadow->pages[i];
        if (entry->place == PAGE_IN_MEMORY) {
            free_memory(store, entry);
        }
        if (entry->place == PAGE_IN_MEMORY || entry->place == PAGE_STORED) {
            store->kept_bytes -= entry->len;
        }
        entry->place = entry->place == PAGE_ON_ITS_WAY ? PAGE_ON_ITS_WAY : PAGE_LOST;
    }
}
