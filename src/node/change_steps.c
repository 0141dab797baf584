// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "base/crashpoint.h"
#include "base/mem.h"
#include "node/change_priv.h"

/* The machine of node/change.h: what is sent to lanes, and what follows when all of them have answered. */

/* A stop costs, one behind the other: the partition's last commit there and its first one here. */
enum { PAUSE_COMMITS = 2, PAUSE_UNKNOWN_NS = 10000000 };

/* --- life --- */

static void piece_release(struct change_piece *piece)
{
    handover_free(piece->hand);
    if (piece->command.kind == LANE_OPEN || piece->command.kind == LANE_CLOSE) {
        handover_free(piece->command.u.open.hand);
    }
    mem_free(piece->group_counts);
}

static void change_free(struct change *change)
{
    for (int32_t i = 0; i < change->close_count; i++) {
        piece_release(&change->closes[i]);
    }
    for (int32_t i = 0; i < change->open_count; i++) {
        piece_release(&change->opens[i]);
    }
    mem_free(change->closes);
    mem_free(change->opens);
    mem_free(change);
}

bool change_final(const struct change *change)
{
    return change->state >= CHANGE_CHECKED;
}

bool change_stopping(const struct node_runtime *rt)
{
    return node_runtime_state(rt) != RUNTIME_RUNNING;
}

void change_enter(struct change *change, enum change_state state)
{
    CHECK(change_follows(change->state, state));
    change->state = state;
}

static void unlink_change(struct change *change)
{
    struct change **at = &change->rt->changes.first;
    while (*at != change) {
        at = &(*at)->next;
    }
    *at = change->next;
    change->next = NULL;
}

void change_finish(struct change *change, enum change_state state)
{
    struct node_runtime *rt = change->rt;
    CHECK(change->waiting_for == 0); /* X4 */
    change_enter(change, state);
    change->ended_ns = rt->now_ns;
    unlink_change(change);
    rt->changes.count--;
    atomic_fetch_add_explicit(&rt->changes_begun, 1, memory_order_acq_rel);
    atomic_store_explicit(&rt->changing, rt->changes.count, memory_order_release);
    for (int32_t i = 0; i < change->close_count; i++) { /* nobody took it over */
        handover_free(change->closes[i].hand);
        change->closes[i].hand = NULL;
    }
    if (change->released) {
        change_free(change);
    } else if (change->done != NULL) {
        mailbox_push(change->done, &change->msg);
    }
}

/* --- sending --- */

static struct lane *lane_of(const struct change_piece *piece)
{
    const struct node_runtime *rt = piece->change->rt;
    int32_t at = piece->place.node * rt->options.config->nodes.lanes + piece->place.lane;
    CHECK(at < rt->lane_count);
    return rt->lanes[at];
}

static void send(struct change_piece *piece)
{
    piece->command.reply = &piece->change->rt->changes.replies;
    piece->command.err = ERR_OK;
    piece->change->waiting_for++;
    lane_send(lane_of(piece), &piece->command);
}

static void send_measure(struct change_piece *piece)
{
    if (piece->change->spec.kind == CHANGE_SPLIT) {
        piece->group_counts = MEM_NEW_ARRAY(uint32_t, KEY_GROUP_COUNT);
    }
    piece->command = (struct lane_command){
        .kind = LANE_MEASURE,
        .u.measure = {.stage = piece->stage,
                      .shard = piece->place.shard,
                      .group_lo = piece->place.group_lo,
                      .group_counts = piece->group_counts,
                      .report = &piece->report},
    };
    send(piece);
}

/* The halves of a merge are brought to where the one ahead was measured, so that the fused partition has next to nothing to
 * pass over. */
static void send_close(struct change_piece *piece)
{
    const struct change *change = piece->change;
    piece->command = (struct lane_command){
        .kind = LANE_CLOSE,
        .u.open = {.stage = piece->stage, .place = piece->place, .want_hand = true}};
    for (int32_t i = 0; change->spec.kind == CHANGE_MERGE && i < 2; i++) {
        int64_t a = change->closes[0].report.next_offset[i];
        int64_t b = change->closes[1].report.next_offset[i];
        piece->command.u.open.until[i] = a > b ? a : b;
    }
    send(piece);
}

static void send_open(struct change_piece *piece)
{
    struct node_runtime *rt = piece->change->rt;
    piece->command = (struct lane_command){
        .kind = LANE_OPEN,
        .u.open = {.stage = piece->stage,
                   .place = piece->place,
                   .floors = rt->stage_table[piece->stage].floors[piece->place.shard],
                   .floor_slot = piece->slot,
                   .hand = piece->hand}};
    piece->hand = NULL; /* the message's */
    send(piece);
}

/* --- MEASURING --- */

static int64_t gap_between(const struct change *change)
{
    int64_t most = 0;
    const struct partition_report *a = &change->closes[0].report, *b = &change->closes[1].report;
    for (int32_t i = 0; i < 2; i++) {
        int64_t gap = a->next_offset[i] - b->next_offset[i];
        gap = gap < 0 ? -gap : gap;
        most = gap > most ? gap : most;
    }
    return most;
}

/* The border at which the records that each side has had differ least; the middle if there were none. */
static void choose_border(struct change *change)
{
    const struct change_piece *piece = &change->closes[0];
    uint32_t lo = piece->place.group_lo, hi = piece->place.group_hi;
    uint64_t total = 0, below = 0, least = UINT64_MAX;
    for (uint32_t group = lo; group < hi; group++) {
        total += piece->group_counts[group];
    }
    uint32_t border = lo + (hi - lo) / 2;
    uint64_t at_border = 0;
    for (uint32_t group = lo; group < hi; group++) {
        bool wanted =
            change->spec.border != 0 ? group == change->spec.border : group > lo && total > 0;
        uint64_t off = 2 * below > total ? 2 * below - total : total - 2 * below;
        if (wanted && (change->spec.border != 0 || off < least)) {
            least = off;
            border = group;
        }
        at_border = border == group ? below : at_border;
        below += piece->group_counts[group];
    }
    change->upper_share = total > 0 ? (double)(total - at_border) / (double)total : 0.5;
    change_set_border(change, border);
}

static void estimate(struct change *change)
{
    int64_t commit_ns = 0;
    for (int32_t i = 0; i < change->close_count; i++) {
        const struct change_piece *piece = &change->closes[i];
        change->state_bytes += piece->report.figures.state_bytes;
        commit_ns = piece->commit_ns > commit_ns ? piece->commit_ns : commit_ns;
    }
    change->partitions = change->close_count;
    change->expected_pause_ns = commit_ns > 0 ? PAUSE_COMMITS * commit_ns : PAUSE_UNKNOWN_NS;
    if (change->spec.kind == CHANGE_SPLIT) {
        choose_border(change);
    } else if (change->spec.kind == CHANGE_MERGE) {
        change->gap_records = gap_between(change);
    }
}

void change_undo(struct change *change, enum err err, const struct err_info *info)
{
    change->err = err;
    change->info = *info;
    change_finish(change, CHANGE_UNDONE);
}

void change_cancelled(struct change *change)
{
    const char *why = change->cancel_wanted ? "cancelled" : "the pipelines are being stopped";
    struct err_info info = {0};
    change_undo(change, err_set(&info, ERR_CANCELLED, "%s; the layout is as it was", why), &info);
}

static enum err gap_refused(struct change *change, struct err_info *info)
{
    if (change->spec.kind != CHANGE_MERGE || change->gap_records <= CHANGE_GAP_RECORDS_MAX) {
        return ERR_OK;
    }
    return err_set(info, ERR_UNAVAILABLE,
                   "the two are %lld records apart, more than %d: the one ahead would wait for the "
                   "other; try again when both have caught up",
                   (long long)change->gap_records, CHANGE_GAP_RECORDS_MAX);
}

static void measured(struct change *change)
{
    CRASHPOINT("change.measured");
    estimate(change);
    if (change->cancel_wanted || change_stopping(change->rt)) {
        change_cancelled(change);
        return;
    }
    struct err_info info = {0};
    enum err err = gap_refused(change, &info);
    if (err != ERR_OK) {
        change_undo(change, err, &info);
        return;
    }
    if ((change->spec.flags & CHANGE_DRY_RUN) != 0) {
        change_finish(change, CHANGE_CHECKED);
        return;
    }
    change_enter(change, CHANGE_MAPPING);
    change_map_push(change);
}

/* --- CLOSING --- */

static void open_all(struct change *change);

static void closed(struct change *change)
{
    CRASHPOINT("change.closed");
    if (change->spec.kind == CHANGE_PIPELINE) {
        text_take_force(change);
    } else {
        change_give_slots(change);
    }
    open_all(change);
}

void change_close_all(struct change *change)
{
    if (change_stopping(change->rt)) { /* the next start opens them */
        change_finish(change, CHANGE_DONE);
        return;
    }
    change_enter(change, CHANGE_CLOSING);
    for (int32_t i = 0; i < change->close_count; i++) {
        send_close(&change->closes[i]);
    }
    if (change->close_count == 0) {
        closed(change);
    }
}

/* --- OPENING --- */

static const struct change_piece *first_failed(const struct change_piece *pieces, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        if (pieces[i].command.kind == LANE_OPEN && pieces[i].command.err != ERR_OK) {
            return &pieces[i];
        }
    }
    return NULL;
}

static bool same_owner(const struct change_piece *a, const struct change_piece *b)
{
    return a->place.node == b->place.node && a->place.lane == b->place.lane;
}

/* What was left, cut and put together as the new ranges want it. A part that is missing: both are restored. */
static void share_out(struct change *change)
{
    struct change_piece *closes = change->closes, *opens = change->opens;
    if (change->spec.kind == CHANGE_SPLIT && closes[0].hand != NULL) {
        opens[1].hand = handover_split(closes[0].hand, change->border);
        opens[0].hand = closes[0].hand;
    } else if (change->spec.kind == CHANGE_MERGE && closes[0].hand != NULL &&
               closes[1].hand != NULL) {
        bool from_low = !same_owner(&closes[0], &opens[0]);
        bool from_high = !same_owner(&closes[1], &opens[0]);
        change->moved_bytes += from_low ? closes[0].hand->state_bytes : 0;
        change->moved_bytes += from_high ? closes[1].hand->state_bytes : 0;
        handover_join(closes[0].hand, closes[1].hand);
        opens[0].hand = closes[0].hand;
        closes[1].hand = NULL;
    } else if (change->spec.kind == CHANGE_MIGRATE) {
        opens[0].hand = closes[0].hand;
    } else if (change->spec.kind == CHANGE_PIPELINE) {
        for (int32_t i = 0; i < change->open_count; i++) {
            bool moves = text_keeps_state(change, opens[i].stage);
            opens[i].hand = moves ? closes[i].hand : NULL;
            closes[i].hand = moves ? NULL : closes[i].hand;
        }
        return;
    }
    if (opens[0].hand != NULL) {
        closes[0].hand = NULL;
    }
}

static void open_all(struct change *change)
{
    share_out(change);
    for (int32_t i = 0; i < change->open_count; i++) {
        struct change_piece *piece = &change->opens[i];
        if (piece->hand == NULL) {
            change->restored++;
        } else if (change->spec.kind != CHANGE_MERGE && change->spec.kind != CHANGE_PIPELINE &&
                   !same_owner(piece, &change->closes[0])) {
            change->moved_bytes += piece->hand->state_bytes;
        }
    }
    if (change_stopping(change->rt) || change->open_count == 0) { /* the next start opens them */
        for (int32_t i = 0; i < change->open_count; i++) {
            handover_free(change->opens[i].hand);
            change->opens[i].hand = NULL;
        }
        change_finish(change, CHANGE_DONE);
        return;
    }
    change_enter(change, CHANGE_OPENING);
    for (int32_t i = 0; i < change->open_count; i++) {
        send_open(&change->opens[i]);
    }
}

static void opened(struct change *change)
{
    CRASHPOINT("change.opened");
    int64_t stop_ns = INT64_MAX, run_ns = 0;
    for (int32_t i = 0; i < change->close_count; i++) {
        int64_t at = change->closes[i].command.u.open.ret_ns;
        stop_ns = at > 0 && at < stop_ns ? at : stop_ns;
    }
    for (int32_t i = 0; i < change->open_count; i++) {
        int64_t at = change->opens[i].command.u.open.ret_ns;
        run_ns = at > run_ns ? at : run_ns;
    }
    change->stopped_ns = stop_ns < INT64_MAX ? stop_ns : 0;
    change->running_ns = run_ns;
    change->pause_ns = run_ns > stop_ns ? run_ns - stop_ns : 0;
    const struct change_piece *failed = first_failed(change->opens, change->open_count);
    if (failed != NULL && !change_stopping(change->rt)) {
        change->err = failed->command.err;
        change->info = failed->command.info;
        change_finish(change, CHANGE_NEEDS_OPERATOR);
        return;
    }
    change_finish(change, CHANGE_DONE);
}

/* --- answers --- */

static void take_answer(struct change_piece *piece)
{
    struct change *change = piece->change;
    struct lane_command *command = &piece->command;
    change->waiting_for--;
    change->steps_done++;
    switch (command->kind) {
    case LANE_MEASURE:
        piece->commit_ns = command->u.measure.ret_commit_ns;
        return;
    case LANE_CLOSE:
        piece->hand = command->u.open.hand;
        command->u.open.hand = NULL;
        return;
    case LANE_OPEN: /* not taken over if it could not open */
        handover_free(command->u.open.hand);
        command->u.open.hand = NULL;
        return;
    case LANE_SNAPSHOT:
    case LANE_TABLE:
    case LANE_STOP:
        CHECK_MSG(false, "a change sends no command of kind %d", (int)command->kind);
    }
}

static void advance(struct change *change)
{
    switch (change->state) {
    case CHANGE_MEASURING:
        measured(change);
        return;
    case CHANGE_CLOSING:
        closed(change);
        return;
    case CHANGE_OPENING:
        opened(change);
        return;
    case CHANGE_MAPPING:
    case CHANGE_CHECKED:
    case CHANGE_DONE:
    case CHANGE_UNDONE:
    case CHANGE_NEEDS_OPERATOR:
    case CHANGE_STATE_COUNT:
        break;
    }
    CHECK_MSG(false, "a change in state %s waits for no lane", change_state_name(change->state));
}

int64_t changes_step(struct node_runtime *rt)
{
    for (struct msg *msg = mailbox_take_all(&rt->changes.replies), *next; msg != NULL; msg = next) {
        next = msg->next;
        struct change_piece *piece = (struct change_piece *)msg;
        take_answer(piece);
        if (piece->change->waiting_for == 0) {
            advance(piece->change);
        }
    }
    return change_map_step(rt);
}

/* --- what the caller asks --- */

static void begin(struct change *change)
{
    change->steps = 2 * change->close_count + 1 + change->open_count;
    if (change->close_count == 0) { /* nothing to measure, nothing to stop */
        bool dry = (change->spec.flags & CHANGE_DRY_RUN) != 0;
        change->state = dry ? CHANGE_MEASURING : CHANGE_MAPPING;
        change_map_push(change);
        return;
    }
    for (int32_t i = 0; i < change->close_count; i++) {
        send_measure(&change->closes[i]);
    }
}

enum err change_start(struct node_runtime *rt, const struct change_spec *spec, struct mailbox *done,
                      struct change **ret_change, uint64_t *ret_conflict, struct err_info *info)
{
    struct change *change = MEM_NEW(struct change);
    change->spec = *spec;
    change->rt = rt;
    change->done = done;
    change->began_ns = rt->now_ns;
    enum err err = change_check(rt, change, ret_conflict, info);
    if (err != ERR_OK) {
        change_free(change);
        return err;
    }
    change->id = ++rt->changes.last_id;
    change->next = rt->changes.first;
    rt->changes.first = change;
    rt->changes.count++;
    atomic_store_explicit(&rt->changing, rt->changes.count, memory_order_release);
    atomic_fetch_add_explicit(&rt->changes_begun, 1, memory_order_acq_rel);
    begin(change);
    waker_wake(&rt->waker);
    *ret_change = change;
    return ERR_OK;
}

enum err change_cancel(struct change *change, struct err_info *info)
{
    bool late = change->state > CHANGE_MAPPING || change->map_submitted;
    if (change_final(change) || late) {
        return err_set(info, ERR_CONFLICT, "the change is %s, past where it can be undone",
                       change_state_name(change->state));
    }
    change->cancel_wanted = true;
    waker_wake(&change->rt->waker);
    return ERR_OK;
}

void change_release(struct change *change)
{
    if (change_final(change)) {
        change_free(change);
    } else {
        change->released = true;
        change->done = NULL;
    }
}

void changes_init(struct node_runtime *rt)
{
    mailbox_init(&rt->changes.replies, &rt->waker);
    mailbox_init(&rt->changes.done, &rt->waker);
    rt->changes.retry_ns = CLOCK_NEVER;
}

void changes_free(struct node_runtime *rt)
{
    while (rt->changes.first != NULL) {
        struct change *change = rt->changes.first;
        rt->changes.first = change->next;
        change_free(change);
    }
    mem_free(rt->changes.next_map.places);
    mem_free(rt->changes.next_slots);
    mem_free(rt->changes.buf);
}

int32_t node_runtime_changing(const struct node_runtime *rt)
{
    return rt->changes.count;
}

int32_t node_runtime_node_max(const struct node_runtime *rt)
{
    return rt->node_max;
}

enum node_state node_runtime_node_state(const struct node_runtime *rt, int32_t node)
{
    CHECK(node >= 0 && node < rt->node_max);
    return (enum node_state)rt->node_states[node];
}
