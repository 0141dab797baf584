// SPDX-License-Identifier: Apache-2.0
/* Shadow stores as people see them: each is asked now and then how it is; lists and metrics show its last answer, and a store
 * that goes down or comes back is an event. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "control/control_priv.h"
#include "shadowstore/shadowstore.h"

#define LOOK_EVERY_NS 1000000000LL

struct store_view {
    struct shadowstore_op op; /* first: STATUS */
    bool out;
    bool known; /* `status` is an answer */
    struct shadowstore_status status;
};

void stores_init(struct control *control)
{
    control->store_views = MEM_NEW_ARRAY(struct store_view, control->store_count);
    mailbox_init(&control->store_done, control->waker);
}

void stores_free(struct control *control)
{
    mem_free(control->store_views); /* what was out is back: stores are freed before control */
}

static void take(struct control *control, struct store_view *view)
{
    const struct shadowstore_status *now = &view->op.ret_status;
    bool changed = view->known ? now->state != view->status.state
                               : now->state == SHADOWSTORE_DOWN; /* up is what is expected */
    view->out = false;
    if (view->op.err != ERR_OK) {
        return;
    }
    view->status = *now;
    view->known = true;
    if (changed && now->state != SHADOWSTORE_STARTING) {
        char name[SHADOWSTORE_NAME_MAX + 1];
        struct str own = control->stores[view - control->store_views].name;
        memcpy(name, own.ptr, (size_t)own.len);
        name[own.len] = 0;
        event_add(control, "store", name, shadowstore_state_text(now->state), 0,
                  now->state == SHADOWSTORE_DOWN ? now->problem : "");
    }
}

int64_t stores_step(struct control *control)
{
    struct msg *msg = mailbox_take_all(&control->store_done);
    while (msg != NULL) {
        struct store_view *view = CONTAINER_OF(msg, struct store_view, op.msg);
        msg = msg->next;
        take(control, view);
    }
    if (control->store_count == 0 || control->now_ns < control->store_look_ns) {
        return control->store_count == 0 ? CLOCK_NEVER : control->store_look_ns;
    }
    for (int32_t i = 0; i < control->store_count; i++) {
        struct store_view *view = &control->store_views[i];
        if (!view->out) {
            view->out = true;
            view->op =
                (struct shadowstore_op){.kind = SHADOWSTORE_STATUS, .done = &control->store_done};
            shadowstore_submit(control->stores[i].store, &view->op);
        }
    }
    control->store_look_ns = control->now_ns + LOOK_EVERY_NS;
    return control->store_look_ns;
}

static struct store_row row_of(const struct control *control, int32_t index, struct arena *arena)
{
    const struct store_view *view = &control->store_views[index];
    const struct shadowstore_status *s = &view->status;
    const struct shadowstore_counts *c = &s->counts;
    double since = (double)(control->now_ns - s->since_ns) / 1e9;
    ptrdiff_t len = (ptrdiff_t)strlen(s->problem);
    return (struct store_row){
        .name = control->stores[index].name,
        .type = str_of(shadowstore_kind_text(shadowstore_kind_of(control->stores[index].store))),
        .state = str_of(shadowstore_state_text(view->known ? s->state : SHADOWSTORE_STARTING)),
        .up = view->known && s->state == SHADOWSTORE_UP,
        .state_seconds = view->known && s->since_ns > 0 ? since : 0,
        .failures = s->failures,
        .shadows = s->open_shadows,
        .cleanups_pending = s->cleanups_pending,
        .cleaned = s->cleaned,
        .leftovers = s->leftovers,
        .left_to_ttl = s->left_to_ttl,
        .results_taken = c->taken,
        .results_stored = c->stored,
        .results_fallen_back = c->fallen_back,
        .results_lost = c->lost,
        .results_dropped = c->dropped_queue + c->dropped_size,
        .kept_bytes = c->bytes,
        .memory_bytes = s->memory_bytes,
        .queue_bytes = s->queue_bytes,
        .problem = {arena_dup(arena, s->problem, len), len}};
}

struct control_rows store_rows(struct control *control, struct control_request *request)
{
    struct store_row *rows =
        ARENA_NEW_ARRAY(request->arena, struct store_row, control->store_count);
    for (int32_t i = 0; i < control->store_count; i++) {
        rows[i] = row_of(control, i, request->arena);
    }
    return (struct control_rows){
        .entity = &store_entity, .rows = rows, .count = control->store_count};
}

void store_list_begin(struct job *job)
{
    job->request->rows = store_rows(job->control, job->request);
    job_answer(job);
}
