// SPDX-License-Identifier: Apache-2.0
// Session windows: rows of a key that are less than a gap apart.

#include "base/check.h"
#include "pipeline/window.h"

struct session {
    int64_t start;
    int64_t last; /* largest event time in it */
};

static int64_t session_due(const struct operator_instance *op, const struct session *session)
{
    return session->last + 2 * op->window->gap_ms;
}

static int32_t session_count(struct str tail)
{
    return (int32_t)(tail.len / (ptrdiff_t)sizeof(struct session));
}

static struct session session_at(struct str tail, int32_t index)
{
    struct session session;
    memcpy(&session, tail.ptr + (ptrdiff_t)index * (ptrdiff_t)sizeof session, sizeof session);
    return session;
}

static bool session_touches(const struct operator_instance *op, const struct session *session,
                            int64_t time)
{
    return time < session->last + op->window->gap_ms && session->start < time + op->window->gap_ms;
}

/* The key's list of sessions, to be changed in place. */
struct session_list {
    struct operator_instance *op;
    struct str key;
    uint64_t hash;
    void *payload;
    struct str tail;
};

static struct session_list session_list_of(struct operator_instance *op, uint64_t hash,
                                           struct str key)
{
    struct session_list list = {.op = op, .key = key, .hash = hash};
    list.payload = state_upsert(op->spaces[WINDOW_EXTRA], hash, key, 0, NULL);
    list.tail = state_tail_at(op->spaces[WINDOW_EXTRA], list.payload);
    return list;
}

static void session_list_set(struct session_list *list, int32_t index, struct session session)
{
    memcpy((char *)(uintptr_t)list->tail.ptr + (ptrdiff_t)index * (ptrdiff_t)sizeof session,
           &session, sizeof session);
}

static void session_list_resize(struct session_list *list, int32_t count)
{
    ptrdiff_t len = (ptrdiff_t)count * (ptrdiff_t)sizeof(struct session);
    char *tail = state_tail_resize(list->op->spaces[WINDOW_EXTRA], list->hash, list->payload, len);
    CHECK(tail != NULL); // SESSIONS_PER_KEY_MAX
    list->tail = (struct str){.ptr = tail, .len = len};
}

static void session_list_remove(struct session_list *list, int32_t index)
{
    int32_t last = session_count(list->tail) - 1;
    session_list_set(list, index, session_at(list->tail, last));
    session_list_resize(list, last);
}

/* Moves the content of the cell at `from` into the one at `into`, which may not exist yet. */
static void move_cell(struct operator_instance *op, uint64_t hash, struct str key, int64_t from,
                      int64_t into)
{
    struct state_space *space = op->spaces[WINDOW_CELLS];
    arena_reset(&op->scratch);
    struct cell held = window_scratch_cell(op);
    const void *source = state_find(space, hash, key, from);
    CHECK(source != NULL);
    struct cell old = window_cell(op, space, hash, (void *)(uintptr_t)source, NULL);
    aggregate_list_merge(&op->window->aggregates, &held, &old);
    state_delete(space, hash, key, from);
    void *payload = state_upsert(space, hash, key, into, NULL);
    struct cell cell = window_cell(op, space, hash, payload, &op->scratch);
    aggregate_list_merge(&op->window->aggregates, &cell, &held);
}

static ptrdiff_t cell_tail_len(struct operator_instance *op, uint64_t hash, struct str key,
                               int64_t start)
{
    return op->window->aggregates.section_count == 0
               ? 0
               : state_tail(op->spaces[WINDOW_CELLS], hash, key, start).len;
}

/* Why the sessions that `time` touches cannot become one; NULL: they can. */
static const char *union_refusal(struct session_list *list, int64_t time)
{
    ptrdiff_t bytes = 0;
    int32_t touched = 0;
    int32_t count = session_count(list->tail);
    for (int32_t i = 0; i < count; i++) {
        struct session session = session_at(list->tail, i);
        if (session_touches(list->op, &session, time)) {
            touched++;
            bytes += cell_tail_len(list->op, list->hash, list->key, session.start);
        }
    }
    if (bytes > CELL_TAIL_BYTES_MAX) {
        return "the session holds too many values of one key";
    }
    return touched == 0 && count >= SESSIONS_PER_KEY_MAX ? "too many open sessions of one key"
                                                         : NULL;
}

/* Makes one session of all that `time` touches, and of `time`; returns its start. */
static int64_t session_union(struct session_list *list, int64_t time)
{
    struct operator_instance *op = list->op;
    struct session whole = {.start = time, .last = time};
    int32_t touched = 0;
    for (int32_t i = 0; i < session_count(list->tail); i++) {
        struct session session = session_at(list->tail, i);
        if (session_touches(op, &session, time)) {
            whole.start = session.start < whole.start ? session.start : whole.start;
            whole.last = session.last > whole.last ? session.last : whole.last;
            touched++;
        }
    }
    bool placed = false;
    for (int32_t i = session_count(list->tail) - 1; i >= 0; i--) {
        struct session session = session_at(list->tail, i);
        if (!session_touches(op, &session, time)) {
            continue;
        }
        if (session.start != whole.start) {
            move_cell(op, list->hash, list->key, session.start, whole.start);
        }
        if (touched == 1 || (!placed && session.start == whole.start)) {
            session_list_set(list, i, whole);
            placed = true;
        } else {
            session_list_remove(list, i);
        }
    }
    if (!placed) {
        session_list_resize(list, session_count(list->tail) + 1);
        session_list_set(list, session_count(list->tail) - 1, whole);
        if (touched == 0) {
            state_upsert(op->spaces[WINDOW_TIMERS], list->hash, list->key, session_due(op, &whole),
                         NULL);
        }
    }
    return whole.start;
}

void window_session_add(struct operator_instance *op, const struct batch *batch, int32_t row)
{
    struct session_list list = session_list_of(op, batch->hash[row], batch->key[row]);
    const char *reason = union_refusal(&list, batch->time_ms[row]);
    if (reason != NULL) {
        operator_reject(op->env, batch, row, reason);
        return;
    }
    int64_t start = session_union(&list, batch->time_ms[row]);
    struct state_space *space = op->spaces[WINDOW_CELLS];
    void *payload = state_upsert(space, batch->hash[row], batch->key[row], start, NULL);
    struct cell cell = window_cell(op, space, batch->hash[row], payload, batch->arena);
    reason = aggregate_list_add(&op->window->aggregates, &op->input, row, &cell);
    if (reason != NULL) {
        operator_reject(op->env, batch, row, reason);
    }
}

static void emit_session(struct operator_instance *op, const struct session_list *list,
                         const struct session *session, struct window_out *out)
{
    struct state_space *space = op->spaces[WINDOW_CELLS];
    const void *payload = state_find(space, list->hash, list->key, session->start);
    CHECK(payload != NULL);
    struct cell cell = window_cell(op, space, list->hash, (void *)(uintptr_t)payload, NULL);
    window_emit(out, list->key, list->hash, session->start, session->last + op->window->gap_ms,
                &cell);
}

/* Index of the due session that began first, or -1. */
static int32_t first_due(const struct session_list *list, int64_t *ret_next_due)
{
    int32_t found = -1;
    int64_t start = INT64_MAX;
    *ret_next_due = INT64_MAX;
    for (int32_t i = 0; i < session_count(list->tail); i++) {
        struct session session = session_at(list->tail, i);
        int64_t due = session_due(list->op, &session);
        if (due > list->op->watermark_ms) {
            *ret_next_due = due < *ret_next_due ? due : *ret_next_due;
        } else if (session.start < start) {
            start = session.start;
            found = i;
        }
    }
    return found;
}

static void fire_session(struct operator_instance *op, const struct state_entry *timer,
                         struct window_out *out)
{
    struct state_space *lists = op->spaces[WINDOW_EXTRA];
    if (state_find(lists, timer->hash, timer->key, 0) == NULL) {
        return; // another timer of the key closed the last one
    }
    struct session_list list = session_list_of(op, timer->hash, timer->key);
    int64_t next_due;
    int32_t index;
    while ((index = first_due(&list, &next_due)) >= 0) {
        struct session session = session_at(list.tail, index);
        emit_session(op, &list, &session, out);
        state_delete(op->spaces[WINDOW_CELLS], timer->hash, timer->key, session.start);
        session_list_remove(&list, index);
    }
    if (session_count(list.tail) == 0) {
        state_delete(lists, timer->hash, timer->key, 0);
    } else {
        state_upsert(op->spaces[WINDOW_TIMERS], timer->hash, timer->key, next_due, NULL);
    }
}

bool window_session_advance(struct operator_instance *op, struct window_out *out)
{
    for (;;) {
        int32_t count = state_take_due(op->spaces[WINDOW_TIMERS], op->watermark_ms,
                                       op->piece->entries, WINDOW_PIECE);
        if (count == 0) {
            return false;
        }
        out->expected = count;
        for (int32_t i = 0; i < count; i++) {
            fire_session(op, &op->piece->entries[i], out);
        }
        if (out->rows >= WINDOW_ROWS_PER_ADVANCE) {
            return true;
        }
    }
}

void window_session_early(struct operator_instance *op, struct window_out *out)
{
    struct state_entry entry;
    while (out->rows < WINDOW_ROWS_PER_ADVANCE &&
           state_next(op->spaces[WINDOW_EXTRA], &op->tick_cursor, &entry)) {
        struct session_list list = {
            .op = op, .key = entry.key, .hash = entry.hash, .tail = entry.tail};
        for (int32_t i = 0; i < session_count(list.tail); i++) {
            struct session session = session_at(list.tail, i);
            emit_session(op, &list, &session, out);
        }
    }
}
