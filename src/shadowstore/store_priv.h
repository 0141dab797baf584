// SPDX-License-Identifier: Apache-2.0
#ifndef SHADOWSTORE_STORE_PRIV_H
#define SHADOWSTORE_STORE_PRIV_H

#include "shadowstore/breaker.h"
#include "shadowstore/page.h"
#include "shadowstore/remote.h"
#include "shadowstore/shadowstore.h"

/* What the store's files share. One thread owns all of it (the loop "shadowstore") but the inbox.
 *
 * A page's way:
 *
 *     filling --full, 10 s old, asked for--> sealed: memory store ------------------------> in memory
 *                                            others: in the queue --breaker open----------> in memory, or lost: no room
 *                                                          |--sent, stored----------------> in the store
 *                                                          +--sent, failed or refused-----> in memory, or lost
 *     in the store, in memory --time to live--> lost          all --shadow closed--> removed
 *
 * Nothing is allocated after shadowstore_new() but by the client libraries: pages come from a pool, shadows and graves
 * from tables, so the thread takes no allocator's lock that a live one may wait for. */

enum {
    QUEUE_PAGES = 16, /* sealed, not sent; over it new results are dropped */
    WINDOW = 4,       /* pages sent and not answered */
    GRAVES_MAX = 256,
    RESERVE_PAGES = 64, /* by which the registry runs ahead of the pages */
    PREFIX_MAX = 160
};
#define SEAL_NS      10000000000LL /* a page is sent when it is so old, full or not */
#define PROBE_MIN_NS 500000000LL   /* from a failure to the probe */
#define PROBE_MAX_NS 8000000000LL  /* between probes of a server that stays away */

struct page {
    struct page *next; /* in the pool, the queue */
    uint8_t *bytes;    /* [SHADOWSTORE_PAGE_BYTES] */
    int32_t slot;      /* of its shadow */
    int32_t number;
    int32_t len;
    int32_t count;
};

struct page_list {
    struct page *first, *last;
    int32_t count;
};

enum page_place { PAGE_ON_ITS_WAY, PAGE_STORED, PAGE_IN_MEMORY, PAGE_LOST };

/* What is known of a sealed page. */
struct page_entry {
    enum page_place place;
    int32_t count;
    int32_t len;
    bool tried;          /* was sent: the server may have it, whatever it said */
    int64_t expires_ns;  /* of one that is kept */
    struct page *memory; /* PAGE_IN_MEMORY */
};

enum shadow_state { SHADOW_FREE, SHADOW_OPEN, SHADOW_CLOSING /* waits for its pages in flight */ };

struct shadow {
    enum shadow_state state;
    uint64_t id;
    uint32_t flags;
    struct page *filling;    /* NULL: none */
    struct page_draft draft; /* of `filling` */
    int64_t filling_since_ns;
    int32_t page_count;    /* sealed */
    int32_t settled_below; /* pages with lower numbers are on their way no more */
    int32_t expired_below; /* pages with lower numbers are not kept any more */
    int32_t in_flight;
    int32_t sent_below;       /* one past the highest number that was ever sent */
    int32_t wanted;           /* pages the registry is to name */
    int32_t reserved;         /* pages it names */
    struct page_entry *pages; /* [SHADOWSTORE_PAGES_MAX] */
    struct shadowstore_counts counts;
    struct shadowstore_op
        *waiting; /* flushes, by store_next; store_word = settled_below to wait for */
    struct shadowstore_op *close; /* to be completed; NULL: nobody waits */
};

/* A closed shadow of which the server may have pages; of this process or an earlier one. */
struct grave {
    uint64_t incarnation;
    uint64_t shadow;
    int32_t next;                 /* page to be deleted next */
    int32_t pages;                /* those that may be there have lower numbers */
    int64_t deadline_ns;          /* then their time to live has removed them */
    struct shadowstore_op *close; /* to be completed; NULL: nobody waits */
};

/* The one op at a time that is not a page on its way (store_keeper.c). */
enum keeper_state {
    KEEPER_IDLE,
    KEEPER_PROBING,  /* writes a value that lives a second */
    KEEPER_LOADING,  /* reads the registry: what did the processes before leave? */
    KEEPER_SAVING,   /* writes it, or deletes it when it is empty */
    KEEPER_READING,  /* a page for a user */
    KEEPER_DELETING, /* pages of a grave */
    KEEPER_STATES
};

struct keeper {
    enum keeper_state state;
    bool loaded;        /* the registry was read, once in this process */
    bool dirty;         /* it must be written */
    int64_t refresh_ns; /* it must be written then, for its own time to live */
    bool doubtful;      /* an op failed, and none has been answered well since */
    int64_t settled_ns; /* nothing is removed before (K4) */
    int32_t saving[SHADOWSTORE_SHADOWS_MAX]; /* `wanted` as being written */
    uint64_t saving_id[SHADOWSTORE_SHADOWS_MAX];
    int32_t deleting; /* keys in the delete in flight */
    uint32_t generation;
    struct remote_op op;
    uint8_t *value;                            /* [SHADOWSTORE_PAGE_BYTES]: registry, probe */
    struct shadowstore_op *reads, **reads_end; /* waiting, by store_next */
};

struct flight {        /* a page sent */
    struct page *page; /* NULL: none */
    uint32_t generation;
    struct remote_op op;
};

struct shadowstore {
    struct shadowstore_options options; /* texts: of this struct; no secrets */
    char name[SHADOWSTORE_NAME_MAX + 1];
    char prefix[PREFIX_MAX]; /* "sc:<namespace>:<store>" */
    struct waker waker;
    struct mailbox inbox;   /* any thread pushes */
    struct mailbox answers; /* of the client */
    struct remote *remote;  /* NULL: kind memory */
    int64_t now_ns;         /* of this step */

    struct shadow *shadows; /* [SHADOWSTORE_SHADOWS_MAX] */
    struct page_entry
        *entries; /* of all of them, one block: the kernel gives zeroed pages as they are written */
    struct grave *graves; /* [GRAVES_MAX], oldest first */
    int32_t grave_count;
    struct page_list pool, queue;
    struct page *pages;   /* all of them */
    uint8_t *slab;        /* their bytes */
    int32_t memory_count; /* pages in memory */
    int32_t memory_max;
    int64_t kept_bytes;     /* of pages stored, in memory or on their way */
    struct flight *flights; /* [WINDOW] */
    struct keeper *keeper;

    struct breaker breaker;
    bool asked;                       /* an answer has come, or an end of waiting for one */
    struct shadowstore_status status; /* counts: of closed shadows */
};

/* --- store_pages.c: pages and what is known of them --- */

/* Puts what fits of `op` into pages of `shadow`. */
void shadow_put(struct shadowstore *store, struct shadow *shadow, struct shadowstore_op *op);

/* Seals the page being filled, if it holds anything, and sends it on its way. */
void shadow_seal(struct shadowstore *store, struct shadow *shadow);

/* A page on its way has come to its place. `page` is the store's again, or kept in memory. */
void page_settle_stored(struct shadowstore *store, struct page *page);
void page_settle_memory(struct shadowstore *store, struct page *page); /* lost, if memory is full */
void page_settle_lost(struct shadowstore *store, struct page *page);

/* A page that was thought kept is not there. */
void page_gone(struct shadowstore *store, struct shadow *shadow, int32_t number);

/* Seals pages that are old, drops those whose time has come; the next time at which there is something to do. */
int64_t pages_tick(struct shadowstore *store);

/* Frees what memory holds of a shadow, pages in the queue included. */
void shadow_drop_pages(struct shadowstore *store, struct shadow *shadow);

void page_list_push(struct page_list *list, struct page *page);
struct page *page_list_pop(struct page_list *list);

/* --- store_remote.c: pages to the server and back --- */

/* Sends what may be sent, moves to memory what may not. */
void remote_route(struct shadowstore *store);

/* Takes answers. */
void remote_answers(struct shadowstore *store);

/* An answer of the server, for the breaker and the status: `err` as remote.h says. True if the server is well. */
bool remote_judge(struct shadowstore *store, uint32_t generation, enum err err,
                  const struct err_info *info);

void store_key_of_page(const struct shadowstore *store, uint64_t incarnation, uint64_t shadow,
                       int32_t number, char ret_key[REMOTE_KEY_MAX]);

/* --- store_keeper.c: probes, the registry, clean-up, reading --- */

void keeper_step(struct shadowstore *store);
void keeper_answer(struct shadowstore *store);
void keeper_trusts(struct shadowstore *store); /* an op was answered well */
int64_t keeper_deadline(const struct shadowstore *store);
void keeper_read(struct shadowstore *store, struct shadowstore_op *op);

/* A closed shadow whose pages are no longer in flight becomes a grave, or is done if the server never got anything. */
void keeper_bury(struct shadowstore *store, struct shadow *shadow);

/* --- shadowstore.c --- */

struct shadow *store_find(struct shadowstore *store, uint64_t id);
void store_complete(struct shadowstore_op *op, enum err err);
void store_counts_add(struct shadowstore_counts *sum, const struct shadowstore_counts *counts);

#endif
