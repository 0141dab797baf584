// SPDX-License-Identifier: Apache-2.0
#ifndef SHADOWSTORE_SHADOWSTORE_H
#define SHADOWSTORE_SHADOWSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/mailbox.h"
#include "base/net.h"
#include "base/str.h"

/* Where shadows put their results: a throwaway store that nothing of the live path reads, in memory, in Redis or in
 * Memcached. What is kept of a result is its identity (hash of the key, sequence), its digest and its size; its bytes only
 * if the shadow was opened so.
 *
 * Results are gathered in pages (shadowstore/page.h) of one shadow; a page is one value of the store, under a key that
 * begins with the shadow's own prefix and has a time to live:
 *
 *     sc:<namespace>:<store>:<incarnation>:<shadow>:<page>
 *
 * Submit, then completion, as in log/log.h: the caller owns an op again when `op.msg` arrives in `op.done`, which may
 * happen before shadowstore_submit() returns. Any thread may submit; ops of one thread take effect in its order.
 *
 * What is promised:
 *   S1  A put completes when its results are taken or dropped, never later: a store that is slow, down or full costs its
 *       users nothing but results, and each one that is dropped is counted with its reason.
 *   S2  Memory is bounded by what the options say, whatever the store and the users do.
 *   S3  A store that fails once is left alone (shadowstore/breaker.h) and pages go to memory; a probe that writes finds out
 *       when it is back. Status tells since when and why.
 *   S4  After a shadow is closed its pages are removed, also if the store is down meanwhile or the process was restarted;
 *       if the store stays away for longer than their time to live, that has removed them.
 *   S5  A page read back is the page that was put, or it is told lost: it has a checksum, and names its shadow and number.
 *
 * Errors of every op: INVALID (an argument that cannot be), NOT_FOUND (no such shadow is open), CANCELLED (the store is
 * being freed). Results are written on OK only, unless said otherwise. */

struct shadowstore;

enum shadowstore_kind { SHADOWSTORE_MEMORY, SHADOWSTORE_REDIS, SHADOWSTORE_MEMCACHED };

enum {
    SHADOWSTORE_PAGE_BYTES = 64 << 10,  /* most a page takes: one value of the store */
    SHADOWSTORE_PUT_MAX = 4096,         /* results in one put */
    SHADOWSTORE_PAYLOAD_MAX = 32 << 10, /* longer ones are kept as digest and size, and counted */
    SHADOWSTORE_SHADOWS_MAX = 32,       /* open at a time */
    SHADOWSTORE_PAGES_MAX = 16384,      /* of one shadow */
    SHADOWSTORE_NAME_MAX = 64,          /* of a store, of a namespace: letters, digits, '_', '-' */
    SHADOWSTORE_HOST_MAX = 253,
    SHADOWSTORE_SECRET_MAX = 512,
    SHADOWSTORE_PROBLEM_MAX = ERR_TEXT_MAX
};

/* Ranges are checked by shadowstore_new(); the file's are the same (pipeline/config.h). Texts and secrets are copied. */
struct shadowstore_options {
    enum shadowstore_kind kind;
    struct str name; /* 1..SHADOWSTORE_NAME_MAX */
    struct str
        name_space; /* whose shadows these are: the same over restarts, another for another data folder */
    uint64_t incarnation; /* another at each start of the process */
    int64_t ttl_ns;       /* of a page: 10 s..7 d */
    int64_t size_bytes;   /* of all pages of this store: 1 MiB..64 GiB; memory: ..1 GiB */
    int64_t memory_bytes; /* redis, memcached: of pages that had to go to memory: 1 MiB..1 GiB */
    /* redis, memcached */
    struct str host;
    int32_t port;
    int64_t connect_timeout_ns; /* 10 ms..60 s, name lookup included */
    int64_t timeout_ns;         /* of one op: 10 ms..60 s */
    const struct net *net;      /* stopped before the store is freed */
    bool tls;
    struct net_tls tls_options; /* with `tls` */
    struct str username;        /* empty: none. Memcached: of a server started with -Y */
    struct str password; /* empty: none. Overwritten in the store's memory when it is freed */
    int32_t database;    /* redis: 0..1023 */
};

/* One result of a shadow. */
struct shadowstore_entry {
    uint64_t key_hash;   /* XXH3-64 of the key */
    uint64_t seq;        /* of the result among those of its shadow with this key; the user's */
    uint64_t digest;     /* of the whole result */
    uint32_t size_bytes; /* of the whole result */
    struct str payload;  /* its bytes, or empty: kept only if the shadow was opened with payloads */
};

/* What became of a shadow's results, or of all of a store's. Each result that came is in exactly one of them:
 * taken = in pages of the store + in pages in memory + lost + still on their way. */
struct shadowstore_counts {
    int64_t taken;  /* results put into a page */
    int64_t stored; /* in the store (kind memory: in memory) */
    int64_t
        fallen_back; /* in memory because the store was down, slow to come back, or refused the page */
    int64_t
        lost; /* taken, then lost: no memory left for them, expired, evicted (as far as reads found out) */
    int64_t dropped_queue; /* not taken: the store is too slow, the queue is full */
    int64_t
        dropped_size; /* not taken: the store's size or the shadow's number of pages is used up */
    int64_t payloads_cut; /* payloads over SHADOWSTORE_PAYLOAD_MAX, kept as digest and size */
    int64_t pages;        /* sealed */
    int64_t bytes;        /* of pages that are kept */
};

/* Enough to tell a person how the store is. */
enum shadowstore_state {
    SHADOWSTORE_UP,      /* pages go to it */
    SHADOWSTORE_DOWN,    /* it failed: pages go to memory, it is probed now and then */
    SHADOWSTORE_STARTING /* not asked yet */
};

struct shadowstore_status {
    enum shadowstore_state state;
    char
        problem[SHADOWSTORE_PROBLEM_MAX]; /* the last failure, in words; empty if it never failed */
    int64_t problem_ns;                   /* when; 0: never */
    int64_t since_ns;                     /* of `state` */
    int64_t failures;                     /* of the store, probes included */
    int32_t open_shadows;
    int32_t cleanups_pending;         /* closed shadows of which something may still be there */
    int64_t cleaned;                  /* shadows removed */
    int64_t leftovers;                /* shadows of earlier processes found, to be removed */
    int64_t left_to_ttl;              /* clean-ups given up: their time to live has removed them */
    int64_t memory_bytes;             /* of pages in memory */
    int64_t queue_bytes;              /* of pages on their way */
    struct shadowstore_counts counts; /* of all shadows, the closed ones included */
};

enum shadowstore_flags { SHADOWSTORE_PAYLOADS = 1 };

enum shadowstore_op_kind {
    SHADOWSTORE_OPEN, /* shadow, flags. EXISTS; LIMIT: too many are open */
    SHADOWSTORE_PUT, /* shadow, entries, count -> ret_taken; OK also if some, or all, were dropped */
    SHADOWSTORE_FLUSH, /* shadow: completes when all that was taken is stored, in memory or lost -> ret_counts, ret_pages */
    SHADOWSTORE_READ, /* shadow, page, buf[SHADOWSTORE_PAGE_BYTES] -> ret_bytes, for shadowstore_page_next();
                         * after a flush. UNAVAILABLE: the store is down; GONE pages: CORRUPT or NOT_FOUND, counted as lost */
    SHADOWSTORE_COUNTS, /* shadow -> ret_counts, ret_pages */
    SHADOWSTORE_CLOSE, /* shadow: it is not open any more at once; completes when its pages are gone -> ret_counts.
                         * UNAVAILABLE: its time to live had to do it */
    SHADOWSTORE_CLOSE_ALL, /* every open shadow: the process ends. Completes at once; status tells what is pending */
    SHADOWSTORE_STATUS, /* -> ret_status */
    SHADOWSTORE_OP_KIND_COUNT
};

struct shadowstore_op {
    struct msg msg; /* first */
    enum shadowstore_op_kind kind;
    struct mailbox *done;
    uint64_t shadow; /* never given twice in one incarnation */
    uint32_t flags;
    const struct shadowstore_entry
        *entries;  /* [count]; entries and payloads valid until completion */
    int32_t count; /* 0..SHADOWSTORE_PUT_MAX */
    int32_t page;  /* 0..ret_pages - 1 */
    void *buf;
    /* results */
    enum err err;
    struct err_info info;
    int32_t ret_taken;
    int32_t ret_pages;
    ptrdiff_t ret_bytes;
    struct shadowstore_counts ret_counts;
    struct shadowstore_status ret_status;
    struct shadowstore_op *store_next; /* the store's while in flight */
    int64_t store_word;
};

/* Makes a store; asks nothing of a server yet. On failure nothing is left behind.
 * Errors: INVALID, LIMIT (an option out of its range). */
ATTR_NODISCARD enum err shadowstore_new(const struct shadowstore_options *options,
                                        struct shadowstore **ret_store, struct err_info *info);

/* Any thread. */
enum shadowstore_kind shadowstore_kind_of(const struct shadowstore *store);

/* Hands `op` over. Any thread. */
void shadowstore_submit(struct shadowstore *store, struct shadowstore_op *op);

/* What is to be stepped (in threads of the idle class, or by the simulator's world); each by one thread. */
struct shadowstore_loop {
    const char *name;
    loop_step step;
    void *ctx;
    struct waker *waker;
};

enum { SHADOWSTORE_LOOPS_MAX = 1 };
int shadowstore_loops(struct shadowstore *store,
                      struct shadowstore_loop ret_loops[SHADOWSTORE_LOOPS_MAX]);

/* After its loops and its net have stopped: completes what is in flight as CANCELLED, frees. NULL is fine. What shadows left in the
 * server is found at the next start, or goes with its time to live. */
void shadowstore_free(struct shadowstore *store);

const char *shadowstore_kind_text(enum shadowstore_kind kind);
const char *shadowstore_state_text(enum shadowstore_state state);

/* --- reading a page --- */

struct shadowstore_page_reader {
    const uint8_t *bytes;
    ptrdiff_t len, at;
};

void shadowstore_page_open(struct shadowstore_page_reader *reader, const void *buf,
                           ptrdiff_t bytes);

/* The next result; its payload points into the buffer. False at the end. */
bool shadowstore_page_next(struct shadowstore_page_reader *reader,
                           struct shadowstore_entry *ret_entry);

#endif
