// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "node/shadow_priv.h"

/* One shadow: its machine (node/shadow.h) and what carries it out on the lane's partitions.
 *
 *   from                to         by
 *   OPENING             WARMING    its partitions run
 *   OPENING             ENDED      they cannot: the same error as often as SHADOW_REOPENS_MAX, or one that will not pass
 *   WARMING             MEASURING  where the primary was is reached, windows are full (of a candidate that dropped state)
 *                                  and warm_batches more are through
 *   WARMING, MEASURING  PAUSED     asked; back when asked again
 *   any but ENDED       OPENING    shadow_reopen: another sample, too far behind, what it wanted was trimmed
 *   any but ENDED       ENDED      shadow_finish
 *
 * Of a queue, the filling half opens first; the reading half then opens from the same commit. */

enum { SKIP_PAUSE_S = 10, BACKLOG_WAIT_S = 2, OPENING_LOOK_NS = 5000000 };
#define SECOND_NS INT64_C(1000000000)

const char *shadow_state_name(enum shadow_state state)
{
    static const char *const names[] = {"opening", "warming", "measuring", "paused", "ended"};
    static_assert(COUNT_OF(names) == SHADOW_STATE_COUNT, "a name for each state");
    return names[state];
}

const char *shadow_end_name(enum shadow_end end)
{
    static const char *const names[] = {"none", "done", "memory", "failed"};
    static_assert(COUNT_OF(names) == SHADOW_END_COUNT, "a name for each end");
    return names[end];
}

void shadow_answer(struct shadow_command *command, enum err err, const struct err_info *info)
{
    command->err = err;
    if (info != NULL) {
        command->info = *info;
    }
    mailbox_push(command->reply, &command->msg);
}

static void set_state(struct shadow *shadow, enum shadow_state state)
{
    shadow->state = state;
    shadow_lane_changed(shadow->lane);
}

static void answer_opening(struct shadow *shadow, enum err err, const struct err_info *info)
{
    if (shadow->opening != NULL) {
        shadow_answer(shadow->opening, err, info);
        shadow->opening = NULL;
    }
}

/* --- what partitions ask --- */

int32_t shadow_batch_rows(const struct shadow *shadow)
{
    return shadow->spec.batch_rows;
}

const struct sampler *shadow_sampler(const struct shadow *shadow)
{
    return &shadow->sampler;
}

bool shadow_restores(struct shadow *shadow, struct str raw_key, struct str value)
{
    struct str key;
    uint32_t group, space;
    if (!state_entry_key(raw_key, &group, &space, &key) ||
        !sampler_keeps_key(&shadow->sampler, hash64(key.ptr, key.len))) {
        return false;
    }
    shadow->meter->m.restored_entries++;
    shadow->meter->m.restored_bytes += raw_key.len + value.len;
    return true;
}

void shadow_part_gone(struct shadow *shadow, const struct partition *part)
{
    shadow->part = shadow->part == part ? NULL : shadow->part;
    shadow->filler = shadow->filler == part ? NULL : shadow->filler;
}

/* --- life --- */

struct shadow *shadow_new(struct shadow_lane *lane, const struct shadow_spec *spec,
                          struct stage *stage, int32_t slot)
{
    struct shadow *shadow = MEM_NEW(struct shadow);
    shadow->lane = lane;
    shadow->spec = *spec;
    shadow->stage = stage;
    shadow->slot = slot;
    shadow->skipped_from = -1;
    shadow->budget = shadow_budget_of(lane, stage->pipeline);
    arena_init(&shadow->scratch, 64 << 20);
    commit_init(&shadow->written);
    sampler_init(&shadow->sampler, &spec->sample);
    shadow_meter_init(shadow);
    shadow_meter_begin(shadow);
    shadow_sink_init(&shadow->sink, spec, &lane->store_done);
    if (spec->transport == SHADOW_QUEUE) {
        shadow->feed = MEM_NEW(struct shadow_queue);
        shadow_feed_init(shadow->feed, shadow);
    }
    return shadow;
}

void shadow_free(struct shadow *shadow)
{
    CHECK(shadow_still(shadow) && shadow->pair == NULL);
    shadow_meter_release(shadow);
    shadow_sink_release(&shadow->sink);
    if (shadow->feed != NULL) {
        shadow_feed_release(shadow->feed);
        mem_free(shadow->feed);
    }
    arena_release(&shadow->scratch);
    commit_release(&shadow->written);
    mem_free(shadow);
}

bool shadow_still(const struct shadow *shadow)
{
    return shadow->part == NULL && shadow->filler == NULL &&
           (shadow->feed == NULL || shadow_feed_still(shadow->feed)) &&
           shadow_sink_still(&shadow->sink);
}

/* --- partitions --- */

static struct partition *add_part(struct shadow *shadow, struct stage *stage, int64_t restore_at)
{
    const struct lane_options *options = &shadow->lane->lane->options;
    struct partition_place place = {.shard = shadow->spec.shard,
                                    .group_lo = shadow->spec.group_lo,
                                    .group_hi = shadow->spec.group_hi,
                                    .node = options->node,
                                    .lane = options->lane};
    struct partition *part = partition_new(stage, &place);
    part->shadow = shadow;
    part->restore_at = restore_at;
    return part;
}

static void drop_parts(struct shadow *shadow)
{
    shadow->dropping = true;
    if (shadow->part != NULL) {
        lane_drop_shadow(shadow->lane->lane, shadow->part);
    }
    if (shadow->filler != NULL) {
        lane_drop_shadow(shadow->lane->lane, shadow->filler);
    }
}

/* The commit to open from: a partner's, or the last one. */
static int64_t wanted_commit(const struct shadow *shadow)
{
    const struct shadow *partner =
        shadow->spec.partner != 0 ? shadow_find(shadow->lane, shadow->spec.partner) : NULL;
    return partner != NULL ? partner->meter->m.commit_at : LOG_AT_LAST;
}

/* Whether the partner, if there is one, has opened already. */
static bool partner_ready(const struct shadow *shadow)
{
    const struct shadow *partner =
        shadow->spec.partner != 0 ? shadow_find(shadow->lane, shadow->spec.partner) : NULL;
    return partner == NULL || partner->state != SHADOW_OPENING;
}

static void open_whole(struct shadow *shadow)
{
    if (shadow->part == NULL && partner_ready(shadow)) {
        shadow->part = add_part(shadow, shadow->stage, wanted_commit(shadow));
        lane_add_shadow(shadow->lane->lane, shadow->part);
    }
}

static void open_halves(struct shadow *shadow)
{
    if (!shadow_feed_streams(shadow->feed) || !partner_ready(shadow)) {
        return;
    }
    if (shadow->filler == NULL) {
        shadow_feed_begin(shadow->feed);
        shadow->filler = add_part(shadow, shadow->stage, wanted_commit(shadow));
        shadow->filler->feed = shadow->feed;
        lane_add_shadow(shadow->lane->lane, shadow->filler);
        return;
    }
    if (shadow->part == NULL && shadow->filler->state == PARTITION_RUNNING) {
        shadow->part = add_part(shadow, &shadow->feed->stage, shadow->filler->restore_at);
        shadow->part->queued = true;
        lane_add_shadow(shadow->lane->lane, shadow->part);
    }
}

/* Cold: its operators keep state, there were records before the commit, and none of the sampled keys has any. */
static bool is_cold(const struct shadow *shadow)
{
    const struct stage_plan *plan = shadow->stage->plan;
    bool keeps = false;
    for (int32_t i = 0; i < plan->operator_count; i++) {
        keeps = keeps || plan->operators[i]->space_count > 0;
    }
    const struct shadow_measures *m = &shadow->meter->m;
    return keeps && m->restored_entries == 0 && m->begin_offset[0] > 0;
}

/* Event time until its windows are full, if it is one that waits for that. */
static int64_t span_to_fill(const struct shadow *shadow)
{
    int64_t span_ms = stage_plan_span_ms(shadow->stage->plan);
    bool waits = partition_dropped_state(shadow->part) && span_ms <= shadow->spec.warm_span_ms_max;
    return waits ? span_ms : 0;
}

/* Its partitions run: it is WARMING, or PAUSED if that was asked for meanwhile. */
static void opened(struct shadow *shadow, int64_t now_ns)
{
    struct shadow_measures *m = &shadow->meter->m;
    const struct partition *source = shadow->filler != NULL ? shadow->filler : shadow->part;
    m->opened_ns = now_ns;
    m->commit_at = shadow->part->restore_at;
    m->restore_ns = now_ns - shadow->meter->begun_ns;
    for (int32_t i = 0; i < shadow->stage->plan->input_count; i++) {
        m->begin_offset[i] = source->views[i].position.next_offset;
        int64_t end = lane_shard_end(source->shards[i]);
        int64_t asked = m->generation == 1 ? shadow->spec.warm_until[i] : -1;
        shadow->warm_until[i] = asked >= 0 && asked < end ? asked : end;
    }
    if (shadow->skipped_from >= 0) {
        int64_t skipped = m->begin_offset[0] - shadow->skipped_from;
        m->records_dropped += skipped > 0 ? skipped : 0;
        shadow->skipped_from = -1;
    }
    m->cold = is_cold(shadow);
    shadow->caught_up = shadow->warm = shadow->gathering = false;
    shadow->warm_left =
        shadow->spec.warm_batches > 0 ? shadow->spec.warm_batches : SHADOW_WARM_BATCHES;
    shadow->warm_span_ms = span_to_fill(shadow);
    shadow->warm_from_ms = TIME_NONE;
    shadow->reopens = 0;
    shadow->measuring = false;
    set_state(shadow, shadow->paused ? SHADOW_PAUSED : SHADOW_WARMING);
    answer_opening(shadow, ERR_OK, NULL);
}

/* Its results can be compared no more. */
static void leave_pair(struct shadow *shadow)
{
    if (shadow->pair != NULL) {
        shadow_pair_leave(shadow->pair, shadow);
        shadow->pair = NULL;
    }
}

struct shadow *shadow_partner(const struct shadow *shadow)
{
    for (struct shadow *other = shadow->lane->shadows; other != NULL; other = other->next) {
        bool partners = other->spec.partner == shadow->spec.id ||
                        (shadow->spec.partner != 0 && shadow->spec.partner == other->spec.id);
        if (partners && !other->closing && other->state != SHADOW_ENDED) {
            return other;
        }
    }
    return NULL;
}

static void reopen_one(struct shadow *shadow)
{
    drop_parts(shadow);
    shadow_meter_begin(shadow);
    shadow->meter->begun_ns = shadow->lane->now_ns;
    sampler_init(&shadow->sampler, &shadow->spec.sample);
    set_state(shadow, SHADOW_OPENING);
}

/* Results of two are compared from where both begin: what was found so far is kept, what waited for a match is not. */
static void begin_pair_anew(struct shadow *shadow, struct shadow *partner)
{
    struct shadow *first = shadow->pair->sides[0].shadow;
    struct shadow *second = first == shadow ? partner : shadow;
    struct shadow_comparison before;
    shadow_pair_compare(shadow->pair, second, &before);
    leave_pair(first);
    leave_pair(second);
    first->pair = second->pair = shadow_pair_new(first);
    shadow_pair_join(first->pair, second);
    shadow_pair_go_on(first->pair, &before);
}

void shadow_reopen(struct shadow *shadow)
{
    struct shadow *partner = shadow_partner(shadow);
    CHECK(shadow->state != SHADOW_ENDED);
    if (partner == NULL) {
        leave_pair(shadow); /* its results begin elsewhere now */
    } else if (shadow->pair != NULL && shadow->pair == partner->pair) {
        begin_pair_anew(shadow, partner);
    }
    reopen_one(shadow);
    if (partner != NULL) {
        partner->spec.sample = shadow->spec.sample;
        reopen_one(partner);
    }
}

void shadow_finish(struct shadow *shadow, enum shadow_end end, const char *problem)
{
    if (shadow->state == SHADOW_ENDED) {
        return;
    }
    IGNORE_RESULT(
        snprintf(shadow->problem, sizeof(shadow->problem), "%s", problem)); /* may be cut */
    shadow_meter_keep(shadow, shadow->lane->now_ns);
    shadow->end = end;
    drop_parts(shadow);
    leave_pair(shadow);
    set_state(shadow, SHADOW_ENDED);
}

static void failed(struct shadow *shadow, enum err err, const char *text)
{
    struct err_info info = {0};
    IGNORE_RESULT(err_set(&info, err, "%s", text)); /* told below */
    shadow_finish(shadow, SHADOW_END_FAILED, text);
    answer_opening(shadow, err, &info);
}

/* --- pausing --- */

static void hold(struct shadow *shadow, struct partition *part, bool held)
{
    if (part == NULL || part->held == held) {
        return;
    }
    part->held = held;
    if (!held) {
        lane_ready(shadow->lane->lane, part);
    }
}

void shadow_pause(struct shadow *shadow, bool paused, int64_t now_ns)
{
    if (shadow->paused == paused || shadow->state == SHADOW_ENDED) {
        return;
    }
    struct shadow_meter *meter = shadow->meter;
    shadow->paused = paused;
    if (paused) {
        meter->paused_since_ns = now_ns;
    } else {
        meter->m.paused_ns += now_ns - meter->paused_since_ns;
        meter->paused_since_ns = 0;
    }
    if (paused && shadow->state != SHADOW_OPENING) {
        shadow->measuring = shadow->state == SHADOW_MEASURING;
        set_state(shadow, SHADOW_PAUSED);
    } else if (!paused && shadow->state == SHADOW_PAUSED) {
        set_state(shadow, shadow->measuring ? SHADOW_MEASURING : SHADOW_WARMING);
    }
}

/* --- moving on --- */

static int64_t lag_of(const struct shadow *shadow)
{
    const struct partition *source = shadow->filler != NULL ? shadow->filler : shadow->part;
    return lane_shard_end(source->shards[0]) - source->views[0].position.next_offset;
}

/* BACKLOG: whether it gathers still. */
static bool gathers(struct shadow *shadow, int64_t now_ns, int64_t *next_ns)
{
    const struct shadow_spec *spec = &shadow->spec;
    if (spec->feed != SHADOW_BACKLOG || shadow->state != SHADOW_MEASURING) {
        return false;
    }
    int64_t wanted = spec->backlog_records > 0 ? spec->backlog_records : SHADOW_BACKLOG_RECORDS;
    int64_t wait = spec->backlog_wait_ns > 0 ? spec->backlog_wait_ns : BACKLOG_WAIT_S * SECOND_NS;
    int64_t lag = lag_of(shadow);
    if (!shadow->gathering && lag <= 0) {
        shadow->gathering = true;
        shadow->gather_until_ns = now_ns + wait;
    } else if (shadow->gathering && (lag >= wanted || (now_ns >= shadow->gather_until_ns))) {
        shadow->gathering = false;
    }
    if (shadow->gathering && shadow->gather_until_ns < *next_ns) {
        *next_ns = shadow->gather_until_ns;
    }
    return shadow->gathering;
}

/* Far behind, or what it wants to read is gone: from the primary's last commit again. */
static bool must_skip(struct shadow *shadow, int64_t now_ns)
{
    const struct shadow_spec *spec = &shadow->spec;
    const struct partition *source = shadow->filler != NULL ? shadow->filler : shadow->part;
    int64_t most = spec->lag_records_max > 0 ? spec->lag_records_max : SHADOW_LAG_RECORDS;
    bool behind = source->behind || shadow->part->behind;
    bool far = lag_of(shadow) > most && now_ns >= shadow->skip_not_before_ns &&
               shadow->state != SHADOW_PAUSED;
    if (!behind && !far) {
        return false;
    }
    shadow->skip_not_before_ns = now_ns + SKIP_PAUSE_S * SECOND_NS;
    shadow->skipped_from = source->views[0].position.next_offset;
    return true;
}

static bool has_failed(const struct partition *part)
{
    return part != NULL && part->state == PARTITION_FAILED;
}

/* Of partitions that were being opened: the commit is no longer to be had, say. */
static void opening_failed(struct shadow *shadow, const struct partition *part)
{
    bool passes = part->failed_with == ERR_OFFSET_RANGE && shadow->spec.partner == 0;
    if (passes && ++shadow->reopens < SHADOW_REOPENS_MAX) {
        drop_parts(shadow);
        return;
    }
    failed(shadow, part->failed_with, part->problem);
}

static void advance_opening(struct shadow *shadow, int64_t now_ns)
{
    if (shadow->dropping) {
        if (shadow->part != NULL || shadow->filler != NULL ||
            (shadow->feed != NULL && !shadow_feed_still(shadow->feed))) {
            return;
        }
        shadow->dropping = false;
    }
    if (has_failed(shadow->filler) || has_failed(shadow->part)) {
        opening_failed(shadow, has_failed(shadow->filler) ? shadow->filler : shadow->part);
        return;
    }
    if (shadow->feed != NULL && shadow->feed->err != ERR_OK) {
        failed(shadow, shadow->feed->err, shadow->feed->problem.text);
        return;
    }
    if (shadow->feed != NULL) {
        open_halves(shadow);
    } else {
        open_whole(shadow);
    }
    if (shadow->part != NULL && shadow->part->state == PARTITION_RUNNING) {
        opened(shadow, now_ns);
    }
}

static void advance_running(struct shadow *shadow, int64_t now_ns, int64_t *next_ns)
{
    struct partition *bad = has_failed(shadow->filler) ? shadow->filler
                            : has_failed(shadow->part) ? shadow->part
                                                       : NULL;
    if (bad != NULL) {
        failed(shadow, ERR_INTERNAL, bad->problem);
        return;
    }
    if (shadow->feed != NULL && shadow->feed->err != ERR_OK) {
        failed(shadow, shadow->feed->err, shadow->feed->problem.text);
        return;
    }
    if (must_skip(shadow, now_ns)) {
        shadow_reopen(shadow);
        return;
    }
    if (shadow->burst_done) {
        shadow_finish(shadow, SHADOW_END_DONE, "");
        return;
    }
    if (shadow->warm && shadow->state == SHADOW_WARMING) {
        shadow_meter_start(shadow, now_ns);
        set_state(shadow, SHADOW_MEASURING);
    }
    bool paused = shadow->paused;
    bool gathering = gathers(shadow, now_ns, next_ns);
    bool waits = shadow->pair != NULL && shadow_pair_full(shadow->pair, shadow);
    if (now_ns < shadow->budget->may_run_ns) {
        waits = true;
        *next_ns = shadow->budget->may_run_ns < *next_ns ? shadow->budget->may_run_ns : *next_ns;
    }
    /* A queue gathers in front of its filling half, so that draining it is one go for both. */
    hold(shadow, shadow->part, paused || gathering || waits);
    if (shadow->filler != NULL) {
        hold(shadow, shadow->filler,
             paused || gathering || now_ns < shadow->budget->may_run_ns ||
                 !shadow_feed_room(shadow->feed));
    }
}

int64_t shadow_advance(struct shadow *shadow, int64_t now_ns)
{
    int64_t next_ns = CLOCK_NEVER;
    switch (shadow->state) {
    case SHADOW_OPENING:
        if (!shadow->closing) {
            advance_opening(shadow, now_ns);
        }
        break;
    case SHADOW_WARMING:
    case SHADOW_MEASURING:
    case SHADOW_PAUSED:
        if (!shadow->closing) {
            advance_running(shadow, now_ns, &next_ns);
        }
        break;
    case SHADOW_ENDED:
    case SHADOW_STATE_COUNT:
        break;
    }
    if (shadow->state == SHADOW_OPENING) { /* nothing wakes it when its old partitions are gone */
        next_ns = now_ns + OPENING_LOOK_NS;
    }
    return next_ns;
}
