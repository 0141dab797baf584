// SPDX-License-Identifier: Apache-2.0
#include "bench/bare_nexmark.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "bench/bare_walk.h"
#include "load/nexmark.h"
#include "log/record_batch.h"

enum { WINDOW_MS = 10000, SLIDE_MS = 2000, PANES = WINDOW_MS / SLIDE_MS, SECONDS = 10 };
enum { HOT_CATEGORY = 10, Q2_EVERY = 123, PERSON_WANTED = 1, PERSON_SEEN = 1, SELLER_SEEN = 2 };

/* An open table of integer keys, linear probing, at most half full. */
struct cell {
    int64_t key; /* 0: empty; ids begin at 1000 */
    int64_t n;
};

struct table {
    struct cell *cells;
    uint64_t mask;
};

/* An auction that waits for its seller. */
struct waiting {
    int64_t auction;
    int64_t next; /* 0: the last */
};

struct bare_nexmark {
    enum bare_query query;
    uint64_t sum;
    int64_t results;
    int64_t step;                   /* the present pane (q5) or window (q7, q8); -1: none yet */
    struct table tables[PANES];     /* q5: panes; q3: persons; q8: who was seen in the window */
    struct table merged;            /* q5 */
    int64_t highest, highest_count; /* q7 */
    struct waiting *waiting;        /* q3; 0 is not used */
    int64_t waiting_count;
};

static void table_init(struct table *table, int64_t keys)
{
    uint64_t cells = 64;
    while (cells < (uint64_t)keys * 2) {
        cells *= 2;
    }
    table->cells = MEM_NEW_ARRAY(struct cell, (ptrdiff_t)cells);
    table->mask = cells - 1;
}

static void table_clear(struct table *table)
{
    memset(table->cells, 0, (table->mask + 1) * sizeof *table->cells);
}

static ATTR_ALWAYS_INLINE struct cell *table_cell(const struct table *table, int64_t key)
{
    uint64_t hash = (uint64_t)key * UINT64_C(0xff51afd7ed558ccd);
    uint64_t place = (hash ^ (hash >> 33)) & table->mask;
    while (table->cells[place].key != key && table->cells[place].key != 0) {
        place = (place + 1) & table->mask;
    }
    table->cells[place].key = key;
    return &table->cells[place];
}

struct bare_nexmark *bare_nexmark_new(enum bare_query query, int64_t events, int64_t rate)
{
    struct bare_nexmark *bare = MEM_NEW(struct bare_nexmark);
    bare->query = query;
    bare->step = -1;
    int64_t of_seconds = rate * SECONDS < events ? rate * SECONDS : events;
    int64_t auctions = of_seconds / 16 + 1000; // 3 of 50 events, and those still in flight
    if (query == BARE_Q5) {
        for (int i = 0; i < PANES; i++) {
            table_init(&bare->tables[i], auctions / PANES + 1000);
        }
        table_init(&bare->merged, auctions);
    } else if (query == BARE_Q3) {
        table_init(&bare->tables[0], events / 50 + 2000);
        bare->waiting = MEM_NEW_ARRAY(struct waiting, events / 16 + 16);
    } else if (query == BARE_Q8) {
        table_init(&bare->tables[0], auctions);
    }
    return bare;
}

void bare_nexmark_free(struct bare_nexmark *bare)
{
    if (bare == NULL) {
        return;
    }
    for (int i = 0; i < PANES; i++) {
        mem_free(bare->tables[i].cells);
    }
    mem_free(bare->merged.cells);
    mem_free(bare->waiting);
    mem_free(bare);
}

/* --- what closes --- */

/* The window whose last pane is `pane`: the counts of its panes together, and who has the most. */
static void close_hot(struct bare_nexmark *bare, int64_t pane)
{
    int64_t most = 0;
    table_clear(&bare->merged);
    for (int i = 0; i < PANES; i++) {
        const struct table *table = &bare->tables[i];
        for (uint64_t k = 0; k <= table->mask; k++) {
            if (table->cells[k].key != 0) {
                struct cell *cell = table_cell(&bare->merged, table->cells[k].key);
                cell->n += table->cells[k].n;
                most = cell->n > most ? cell->n : most;
            }
        }
    }
    for (uint64_t k = 0; k <= bare->merged.mask && most > 0; k++) {
        const struct cell *cell = &bare->merged.cells[k];
        if (cell->n == most) {
            bare->results++;
            bare->sum += (uint64_t)(cell->key + cell->n + pane);
        }
    }
}

static void to_pane(struct bare_nexmark *bare, int64_t pane)
{
    while (bare->step >= 0 && bare->step < pane) {
        close_hot(bare, bare->step);
        bare->step++;
        table_clear(&bare->tables[bare->step % PANES]);
    }
    bare->step = pane;
}

static void close_window(struct bare_nexmark *bare)
{
    if (bare->query == BARE_Q7) {
        bare->results += bare->highest_count;
        bare->sum += (uint64_t)bare->highest;
        bare->highest = bare->highest_count = 0;
        return;
    }
    struct table *table = &bare->tables[0];
    for (uint64_t k = 0; k <= table->mask; k++) {
        if (table->cells[k].n == (PERSON_SEEN | SELLER_SEEN)) {
            bare->results++;
            bare->sum += (uint64_t)table->cells[k].key;
        }
    }
    table_clear(table);
}

static void to_window(struct bare_nexmark *bare, int64_t window)
{
    if (bare->step >= 0) {
        close_window(bare);
    }
    bare->step = window;
}

void bare_nexmark_finish(struct bare_nexmark *bare)
{
    if (bare->query == BARE_Q5 && bare->step >= 0) {
        to_pane(bare, bare->step + PANES);
    } else if (bare->query == BARE_Q7 || bare->query == BARE_Q8) {
        to_window(bare, -1);
    } else if (bare->query == BARE_Q3) {
        table_clear(&bare->tables[0]);
        bare->waiting_count = 0;
    }
    bare->step = -1;
}

int64_t bare_nexmark_results(const struct bare_nexmark *bare)
{
    return bare->results;
}

/* --- one event --- */

static ATTR_ALWAYS_INLINE void result(struct bare_nexmark *bare, int64_t of)
{
    bare->results++;
    bare->sum += (uint64_t)of;
}

static bool is_wanted_state(int64_t state)
{
    return state == ('O' | 'R' << 8) || state == ('I' | 'D' << 8) || state == ('C' | 'A' << 8);
}

static void q3(struct bare_nexmark *bare, const struct bare_event *e)
{
    if (e->kind == NEXMARK_PERSON && is_wanted_state(e->c)) {
        struct cell *cell = table_cell(&bare->tables[0], e->a);
        for (int64_t i = cell->n >> 1; i != 0; i = bare->waiting[i].next) {
            result(bare, bare->waiting[i].auction);
        }
        cell->n = PERSON_WANTED;
    } else if (e->kind == NEXMARK_AUCTION && e->c == HOT_CATEGORY) {
        struct cell *cell = table_cell(&bare->tables[0], e->b);
        if (cell->n == PERSON_WANTED) {
            result(bare, e->a);
            return;
        }
        int64_t i = ++bare->waiting_count;
        bare->waiting[i] = (struct waiting){.auction = e->a, .next = cell->n >> 1};
        cell->n = i << 1;
    }
}

static ATTR_ALWAYS_INLINE void q7(struct bare_nexmark *bare, const struct bare_event *e)
{
    int64_t window = e->time_ms / WINDOW_MS;
    if (UNLIKELY(window != bare->step)) {
        to_window(bare, window);
    }
    if (UNLIKELY(e->c >= bare->highest)) {
        bare->highest_count = e->c > bare->highest ? 1 : bare->highest_count + 1;
        bare->highest = e->c;
    }
}

static ATTR_ALWAYS_INLINE void q8(struct bare_nexmark *bare, const struct bare_event *e)
{
    int64_t window = e->time_ms / WINDOW_MS;
    if (UNLIKELY(window != bare->step)) {
        to_window(bare, window);
    }
    bool person = e->kind == NEXMARK_PERSON;
    table_cell(&bare->tables[0], person ? e->a : e->b)->n |= person ? PERSON_SEEN : SELLER_SEEN;
}

static ATTR_ALWAYS_INLINE void q5(struct bare_nexmark *bare, const struct bare_event *e)
{
    int64_t pane = e->time_ms / SLIDE_MS;
    if (UNLIKELY(pane != bare->step)) {
        to_pane(bare, pane);
    }
    table_cell(&bare->tables[pane % PANES], e->a)->n++;
}

static ATTR_ALWAYS_INLINE void bid(struct bare_nexmark *bare, enum bare_query query,
                                   const struct bare_event *e)
{
    switch (query) {
    case BARE_Q0:
        result(bare, e->time_ms + e->a + e->b + e->c);
        break;
    case BARE_Q1:
        result(bare, e->time_ms + e->a + e->b + e->c * 908);
        break;
    case BARE_Q2:
        if (e->a % Q2_EVERY == 0) {
            result(bare, e->a + e->c);
        }
        break;
    case BARE_Q5:
        q5(bare, e);
        break;
    case BARE_Q7:
        q7(bare, e);
        break;
    case BARE_Q3:
    case BARE_Q8:
        break;
    }
}

static ATTR_ALWAYS_INLINE void event(struct bare_nexmark *bare, enum bare_query query,
                                     const struct bare_event *e)
{
    if (LIKELY(e->kind == NEXMARK_BID)) {
        bid(bare, query, e);
    } else if (query == BARE_Q3) {
        q3(bare, e);
    } else if (query == BARE_Q8) {
        q8(bare, e);
    }
}

struct bare_event bare_event_of(const char *value)
{
    struct bare_event e = {.kind = value[0]};
    memcpy(&e.time_ms, value + 8, 4 * sizeof(int64_t));
    if (e.kind == NEXMARK_PERSON) {
        e.c = (unsigned char)value[72] | (unsigned char)value[73] << 8;
    }
    return e;
}

/* --- all of them --- */

static ATTR_ALWAYS_INLINE void walk(struct bare_nexmark *bare, enum bare_query query,
                                    struct bare_walk at)
{
    while (at.at < at.end) {
        int64_t bytes;
        struct bare_event e = bare_event_of(bare_walk_next(&at, &bytes));
        event(bare, query, &e);
    }
}

static ATTR_ALWAYS_INLINE void each(struct bare_nexmark *bare, enum bare_query query,
                                    const struct bare_event *events, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        event(bare, query, &events[i]);
    }
}

/* CALL with the query as a constant, so that each has a loop of its own. */
#define WITH_QUERY(CALL) \
    switch (bare->query) { \
    case BARE_Q0: \
        CALL(BARE_Q0); \
        break; \
    case BARE_Q1: \
        CALL(BARE_Q1); \
        break; \
    case BARE_Q2: \
        CALL(BARE_Q2); \
        break; \
    case BARE_Q3: \
        CALL(BARE_Q3); \
        break; \
    case BARE_Q5: \
        CALL(BARE_Q5); \
        break; \
    case BARE_Q7: \
        CALL(BARE_Q7); \
        break; \
    case BARE_Q8: \
        CALL(BARE_Q8); \
        break; \
    }

int64_t bare_nexmark_batch(struct bare_nexmark *bare, const char *bytes, int64_t len,
                           ptrdiff_t *ret_total)
{
    struct record_batch_header header;
    CHECK(record_batch_parse(bytes, len, &header, ret_total, NULL) == ERR_OK);
    CHECK(record_batch_verify(bytes, *ret_total, NULL) == ERR_OK);
    struct bare_walk at = {.at = (const uint8_t *)bytes + RECORD_BATCH_HEADER,
                           .end = (const uint8_t *)bytes + *ret_total};
#define WALK(QUERY) walk(bare, QUERY, at)
    WITH_QUERY(WALK)
    return header.record_count;
}

void bare_nexmark_events(struct bare_nexmark *bare, const struct bare_event *events, int32_t count)
{
#define EACH(QUERY) each(bare, QUERY, events, count)
    WITH_QUERY(EACH)
}
