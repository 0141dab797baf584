// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "base/crashpoint.h"
#include "base/mem.h"
#include "node/change_priv.h"

/* The one write that makes a change (X1): the map of its stage, or the record of node states, by compare-and-set. One write
 * is in flight; changes of one stage that have come to it meanwhile share the next, so that hundreds a second are no
 * burden for a map of thousands of partitions. */

enum { MAP_RETRY_NS = 20000000 };

void change_map_push(struct change *change)
{
    struct runtime_changes *changes = &change->rt->changes;
    change->mapping_next = NULL;
    if (changes->waiting != NULL) {
        changes->waiting_last->mapping_next = change;
    } else {
        changes->waiting = change;
    }
    changes->waiting_last = change;
}

/* --- what is written --- */

static bool same_write(const struct change *a, const struct change *b)
{
    bool alone = a->spec.kind >= CHANGE_NODE || b->spec.kind >= CHANGE_NODE;
    return alone ? a == b : a->spec.stage == b->spec.stage;
}

/* Moves what can go with the first that waits from there to `flying`. */
static void gather(struct runtime_changes *changes)
{
    struct change *rest = changes->waiting, *first = rest;
    changes->waiting = changes->waiting_last = NULL;
    struct change **flying_end = &changes->flying;
    while (rest != NULL) {
        struct change *change = rest;
        rest = rest->mapping_next;
        change->mapping_next = NULL;
        if (!same_write(first, change)) {
            change_map_push(change);
            continue;
        }
        change->map_submitted = true;
        *flying_end = change;
        flying_end = &change->mapping_next;
    }
}

/* Makes `count` places at index `at` where there were `was`. */
static void make_room(struct runtime_changes *changes, int32_t at, int32_t was, int32_t count)
{
    struct partition_map *map = &changes->next_map;
    size_t behind = (size_t)(map->count - at - was);
    memmove(map->places + at + count, map->places + at + was, behind * sizeof(map->places[0]));
    memmove(changes->next_slots + at + count, changes->next_slots + at + was,
            behind * sizeof(changes->next_slots[0]));
    map->count += count - was;
}

static void apply(struct runtime_changes *changes, struct change *change)
{
    struct partition_map *map = &changes->next_map;
    int32_t at = partition_map_find(map, change->spec.shard, change->spec.group_lo);
    make_room(changes, at, change->close_count, change->open_count);
    for (int32_t i = 0; i < change->open_count; i++) {
        struct change_piece *piece = &change->opens[i];
        piece->place.epoch = map->version;
        map->places[at + i] = piece->place;
        changes->next_slots[at + i] = -1;
    }
}

static void encode_map(struct node_runtime *rt, struct runtime_stage *rs)
{
    struct runtime_changes *changes = &rt->changes;
    int32_t room = rs->map.count;
    for (const struct change *change = changes->flying; change != NULL;
         change = change->mapping_next) {
        room += change->open_count;
    }
    changes->next_map = rs->map;
    changes->next_map.version = rs->map.version + 1;
    changes->next_map.places = MEM_NEW_ARRAY(struct partition_place, room);
    memcpy(changes->next_map.places, rs->map.places,
           (size_t)rs->map.count * sizeof(rs->map.places[0]));
    changes->next_slots = MEM_NEW_ARRAY(int32_t, room);
    memcpy(changes->next_slots, rs->slot_of, (size_t)rs->map.count * sizeof(int32_t));
    for (struct change *change = changes->flying; change != NULL; change = change->mapping_next) {
        apply(changes, change);
    }
    struct err_info info = {0};
    enum err err = partition_map_check(&changes->next_map, rs->stage.shard_count, &info);
    CHECK_MSG(err == ERR_OK, "%s", info.text);
    ptrdiff_t len = partition_map_bytes(&changes->next_map);
    if (len > changes->cap) {
        changes->cap = len + len / 8;
        changes->buf = mem_resize(changes->buf, changes->cap, 1);
    }
    partition_map_encode(&changes->next_map, changes->buf);
    changes->op.u.control = (struct log_control_op){
        .expected_version = rs->control_version, .value = changes->buf, .len = len};
    runtime_map_key(rt, rs->stage.index, changes->op.u.control.key);
}

static void encode_nodes(struct node_runtime *rt, const struct change *change)
{
    struct runtime_changes *changes = &rt->changes;
    if (changes->cap < NODES_RECORD_BYTES) {
        changes->cap = NODES_RECORD_BYTES;
        changes->buf = mem_resize(changes->buf, changes->cap, 1);
    }
    ptrdiff_t len =
        runtime_nodes_encode(rt, change->spec.node, change->spec.node_state, changes->buf);
    changes->op.u.control = (struct log_control_op){
        .key = NODES_KEY, .expected_version = rt->nodes_version, .value = changes->buf, .len = len};
}

static void encode_text(struct node_runtime *rt, const struct change *change)
{
    struct runtime_changes *changes = &rt->changes;
    ptrdiff_t len = text_bytes(change);
    if (len > changes->cap) {
        changes->cap = len;
        changes->buf = mem_resize(changes->buf, changes->cap, 1);
    }
    text_encode(change, changes->buf);
    changes->op.u.control = (struct log_control_op){
        .expected_version = text_version(change), .value = changes->buf, .len = len};
    if (!runtime_text_key(change->spec.config->pipelines[change->spec.pipeline]->name,
                          changes->op.u.control.key)) {
        CHECK_MSG(false, "names of pipelines are checked when they are loaded");
    }
}

static void submit(struct node_runtime *rt)
{
    struct runtime_changes *changes = &rt->changes;
    CRASHPOINT("change.map.before");
    changes->op_busy = true;
    changes->retry_ns = CLOCK_NEVER;
    changes->op.kind = LOG_OP_CONTROL_SET;
    changes->op.done = &changes->done;
    changes->op.err = ERR_OK;
    log_submit(rt->options.log, &changes->op);
}

/* --- what follows --- */

/* New partitions report to floors of their own. They hold back all until they report, those of the old ones as long as
 * these go on. */
static void take_slots(struct runtime_stage *rs, struct change *change)
{
    for (int32_t i = 0; i < change->open_count; i++) {
        struct change_piece *piece = &change->opens[i];
        piece->slot = floor_set_take(rs->floors[piece->place.shard]);
        CHECK(piece->slot >= 0); /* at most one partition a key group, and those it replaces */
        int32_t at = partition_map_find(&rs->map, piece->place.shard, piece->place.group_lo);
        rs->slot_of[at] = piece->slot;
    }
}

void change_give_slots(const struct change *change)
{
    const struct runtime_stage *rs = &change->rt->stage_table[change->spec.stage];
    for (int32_t i = 0; i < change->close_count; i++) {
        const struct change_piece *piece = &change->closes[i];
        floor_set_give(rs->floors[piece->place.shard], piece->slot);
    }
}

static void map_written(struct node_runtime *rt, struct change *first)
{
    struct runtime_changes *changes = &rt->changes;
    struct runtime_stage *rs = &rt->stage_table[first->spec.stage];
    int32_t more = changes->next_map.count - rs->map.count;
    mem_free(rs->map.places);
    mem_free(rs->slot_of);
    rs->map = changes->next_map;
    rs->slot_of = changes->next_slots;
    rs->control_version = changes->op.u.control.ret_version;
    changes->next_map = (struct partition_map){0};
    changes->next_slots = NULL;
    atomic_fetch_add_explicit(&rt->partition_count, more, memory_order_acq_rel);
    for (struct change *change = first; change != NULL; change = change->mapping_next) {
        take_slots(rs, change);
    }
    for (struct change *change = first, *next; change != NULL; change = next) {
        next = change->mapping_next;
        change->map_version = rs->map.version;
        change->steps_done++;
        change_close_all(change);
    }
}

static void node_written(struct node_runtime *rt, struct change *change)
{
    rt->nodes_version = rt->changes.op.u.control.ret_version;
    rt->node_states[change->spec.node] = (uint8_t)change->spec.node_state;
    change->steps_done++;
    change_finish(change, CHANGE_DONE);
}

static void write_refused(struct runtime_changes *changes, struct change *first)
{
    struct err_info info = changes->op.info;
    enum err err = changes->op.err;
    mem_free(changes->next_map.places);
    mem_free(changes->next_slots);
    changes->next_map = (struct partition_map){0};
    changes->next_slots = NULL;
    for (struct change *change = first, *next; change != NULL; change = next) {
        next = change->mapping_next;
        change->map_submitted = false;
        change_undo(change, err, &info);
    }
}

static void write_done(struct node_runtime *rt)
{
    struct runtime_changes *changes = &rt->changes;
    changes->op_busy = false;
    if (err_may_retry(changes->op.err)) {
        changes->retry_ns = rt->now_ns + MAP_RETRY_NS;
        return;
    }
    CRASHPOINT("change.map.after");
    struct change *first = changes->flying;
    changes->flying = NULL;
    if (changes->op.err != ERR_OK) {
        write_refused(changes, first);
    } else if (first->spec.kind == CHANGE_NODE) {
        node_written(rt, first);
    } else if (first->spec.kind == CHANGE_PIPELINE) {
        first->steps_done++;
        text_written(first, changes->op.u.control.ret_version);
    } else {
        map_written(rt, first);
    }
}

/* Those that are not to be written, or not any more. */
static void drop_cancelled(struct node_runtime *rt)
{
    struct change *all = rt->changes.waiting;
    rt->changes.waiting = rt->changes.waiting_last = NULL;
    while (all != NULL) {
        struct change *change = all;
        all = all->mapping_next;
        if (change->state == CHANGE_MEASURING) { /* a dry run of what stops nothing */
            change_finish(change, CHANGE_CHECKED);
            continue;
        }
        if (!change->cancel_wanted && !change_stopping(rt)) {
            change_map_push(change);
            continue;
        }
        change_cancelled(change);
    }
}

int64_t change_map_step(struct node_runtime *rt)
{
    struct runtime_changes *changes = &rt->changes;
    if (mailbox_take_all(&changes->done) != NULL) {
        write_done(rt);
    }
    if (changes->retry_ns <= rt->now_ns) {
        submit(rt);
    }
    drop_cancelled(rt);
    if (!changes->op_busy && changes->flying == NULL && changes->waiting != NULL) {
        gather(changes);
        if (changes->flying->spec.kind == CHANGE_NODE) {
            encode_nodes(rt, changes->flying);
        } else if (changes->flying->spec.kind == CHANGE_PIPELINE) {
            encode_text(rt, changes->flying);
        } else {
            encode_map(rt, &rt->stage_table[changes->flying->spec.stage]);
        }
        submit(rt);
    }
    return changes->retry_ns;
}

/* --- the delta --- */

static bool piece_of(const struct change *change, const struct change_piece *pieces, int32_t count,
                     int32_t index, int32_t *ret_stage, struct partition_place *ret_place)
{
    if (!change_final(change) || change->map_version == 0 || index >= count) {
        return false;
    }
    *ret_stage = pieces[index].stage;
    *ret_place = pieces[index].place;
    return true;
}

bool change_gone(const struct change *change, int32_t index, int32_t *ret_stage,
                 struct partition_place *ret_place)
{
    return piece_of(change, change->closes, change->close_count, index, ret_stage, ret_place);
}

bool change_come(const struct change *change, int32_t index, int32_t *ret_stage,
                 struct partition_place *ret_place)
{
    return piece_of(change, change->opens, change->open_count, index, ret_stage, ret_place);
}
