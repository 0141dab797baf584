// SPDX-License-Identifier: Apache-2.0
/* Shadows, carried out: life_take() and life_tick() say what is to be done, the shadow lane does it, one command of a side
 * at a time. A look: all sides are measured, then judged together. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "control/own_stream.h"
#include "control/shadows_priv.h"

#define DETAIL_EVERY 4 /* looks between two at the primary's keys */
#define LOOK_NS      1000000000LL
#define SILENT_NS    (3 * LOOK_NS)      /* an answer is not expected sooner */
#define ANSWER_NS    (3 * 1000000000LL) /* an order is answered by then, open or not */

/* --- life --- */

struct shadow_entry *shadow_entry_new(struct control *control, struct job *job)
{
    struct shadow_entry *entry = MEM_NEW(struct shadow_entry);
    struct shadow_run *run = MEM_NEW(struct shadow_run);
    entry->run = run;
    entry->began_ms = wall_ms(control);
    entry->reached = entry->completeness = (double)NAN;
    entry->limits_share = entry->ratio =
        (struct estimate){.value = (double)NAN, .low = (double)NAN, .high = (double)NAN};
    run->job = job;
    run->primary.control = control;
    run->primary.entry = entry;
    for (int i = 0; i < SHADOW_SIDES_ALL; i++) {
        run->sides[i].control = control;
        run->sides[i].entry = entry;
    }
    return entry;
}

void shadow_run_free(struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    for (int i = 0; i < SHADOW_SIDES_ALL; i++) {
        mem_free(run->sides[i].measures);
        mem_free(run->sides[i].operators);
        mem_free(run->sides[i].next_measures);
        mem_free(run->sides[i].next_operators);
    }
    if (run->has_arena) {
        arena_release(&run->arena);
    }
    mem_free(run->candidate);
    mem_free(run->looks_memory);
    mem_free(run->twins);
    mem_free(run->burst.twins);
    mem_free(run->profile);
    mem_free(run->comparison);
    mem_free(run->next_comparison);
    mem_free(run);
    entry->run = NULL;
}

static void answer_order(struct control *control, struct shadow_entry *entry)
{
    struct job *job = entry->run->job;
    if (job == NULL) {
        return;
    }
    entry->run->job = NULL;
    if (entry->life.state == LIFE_ENDED &&
        (entry->life.outcome == LIFE_END_FAILED || entry->life.outcome == LIFE_END_REFUSED)) {
        job_failf(job, ERR_CONFLICT, "shadow %" PRId64 " could not be opened: %.180s", entry->id,
                  entry->reason);
        return;
    }
    struct control_request *request = job->request;
    struct shadow_row *row = ARENA_NEW(request->arena, struct shadow_row);
    struct shadow_entry *copy = ARENA_NEW(request->arena, struct shadow_entry);
    *copy = *entry; /* texts outlive the entry */
    *row = shadow_row_of(copy, control->now_ns, request->arena);
    request->rows = (struct control_rows){.entity = &shadow_entity, .rows = row, .count = 1};
    job_answer(job);
}

/* ENDED: its last record, and the run goes. */
static void end(struct control *control, struct shadow_entry *entry)
{
    struct shadowing *shadowing = shadowing_of(control, str_of(entry->pipeline));
    CHECK(shadow_sides_closed(entry->run)); /* C1 */
    shadow_keep_profile(control, entry);
    entry->ended_ms = wall_ms(control);
    entry->age_s = entry->life.opened_ns != 0
                       ? (double)(entry->life.ended_ns - entry->life.opened_ns) / 1e9
                       : 0;
    if (shadowing != NULL) {
        shadowing->ended[entry->life.outcome]++;
    }
    answer_order(control, entry);
    shadow_keep_figures(control, entry);
    shadow_run_free(entry);
    shadow_record(control, entry); /* C2 */
    shadow_tell_event(control, entry);
}

static void act(struct shadow_entry *entry, enum life_action action)
{
    struct shadow_run *run = entry->run;
    switch (action) {
    case LIFE_DO_CLOSE:
        run->want_close = true;
        break;
    case LIFE_DO_PAUSE:
        run->want_pause = true;
        break;
    case LIFE_DO_RESUME:
        run->want_pause = false;
        break;
    case LIFE_DO_OPEN:
    case LIFE_DO_NOTHING:
        break;
    }
}

void shadow_tell(struct control *control, struct shadow_entry *entry, enum life_event event)
{
    enum life_state before = entry->life.state;
    act(entry, life_take(&entry->life, event, control->now_ns));
    if (entry->life.state != before && entry->life.state != LIFE_ENDED) {
        shadow_tell_event(control, entry);
    }
}

void shadow_opened(struct control *control, struct shadow_entry *entry, struct shadow_side *side)
{
    struct shadow_run *run = entry->run;
    if (side->command.err != ERR_OK) {
        shadow_note(entry, side->command.info.text);
        run->failing = true;
        return;
    }
    side->open = true;
    for (int i = 0; i < run->side_count; i++) {
        if (!run->sides[i].open) {
            return;
        }
    }
    shadow_tell(control, entry, LIFE_EVENT_OPENED);
    run->look_ns = control->now_ns;
    answer_order(control, entry);
}

/* --- the primary: its report from the last snapshot, its keys from its lane --- */

const struct partition_report *shadow_primary_report(const struct control *control,
                                                     const struct shadow_run *run)
{
    for (int32_t l = 0; l < control->lane_count; l++) {
        const struct lane_view *view = &control->lanes[l];
        for (int32_t p = 0; p < view->report_count; p++) {
            const struct partition_report *report = &view->reports[p];
            if (report->stage == run->stage && report->shard == run->place.shard &&
                report->group_lo == run->place.group_lo) {
                return report;
            }
        }
    }
    return NULL;
}

void shadow_ask_primary(struct control *control, struct shadow_entry *entry)
{
    struct primary_detail *primary = &entry->run->primary;
    const struct partition_place *place = &entry->run->place;
    if (primary->out) {
        return;
    }
    primary->out = true;
    primary->fresh.group_counts = primary->fresh_counts;
    primary->command =
        (struct lane_command){.kind = LANE_SNAPSHOT, .reply = &control->shadow_details};
    primary->command.u.snapshot = (struct lane_snapshot){.detail = &primary->fresh,
                                                         .detail_stage = entry->run->stage,
                                                         .detail_shard = place->shard,
                                                         .detail_group_lo = place->group_lo};
    int32_t lane = place->node * control->config->nodes.lanes + place->lane;
    lane_send(node_runtime_lane(control->runtime, lane), &primary->command);
}

static bool layout_is_same(const struct control *control, const struct shadow_run *run)
{
    if (node_runtime_state(control->runtime) != RUNTIME_RUNNING ||
        node_runtime_stage(control->runtime, run->stage)->plan != run->plan) {
        return false;
    }
    const struct partition_map *map = node_runtime_map(control->runtime, run->stage);
    const struct partition_place *place =
        &map->places[partition_map_find(map, run->place.shard, run->place.group_lo)];
    return place->group_lo == run->place.group_lo && place->group_hi == run->place.group_hi &&
           place->epoch == run->place.epoch;
}

void shadow_begin(struct control *control, struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    const struct stage_plan *plan = run->candidate != NULL ? run->candidate->plan : run->plan;
    struct adaptive_settings settings =
        adaptive_settings_default(!entry->order.adaptive   ? ADAPTIVE_ASK_NONE
                                  : entry->order.candidate ? ADAPTIVE_ASK_COMPARE
                                                           : ADAPTIVE_ASK_PROFILE,
                                  entry->order.adaptive ? SHADOW_PERCENT_MAX : entry->percent);
    run->side_count = entry->order.twin ? SHADOW_SIDES : 1;
    run->looks_memory = MEM_NEW_ARRAY(double, profile_numbers(plan->operator_count));
    profile_looks_init(&run->looks, run->looks_memory, plan->operator_count);
    profile_begin(control, run);
    adaptive_init(&run->adaptive, &settings, entry->percent, control->now_ns);
    run->burst.twins = MEM_NEW(struct twin_looks);
    twin_init(run->burst.twins);
    if (entry->order.twin) {
        run->twins = MEM_NEW(struct twin_looks);
        twin_init(run->twins);
    }
    /* One that is fed from backlog is beside its baseline in time only now and then. */
    if (entry->order.twin && (entry->order.candidate || entry->order.feed == SHADOW_FOLLOW)) {
        run->comparison = MEM_NEW(struct shadow_comparison);
        run->next_comparison = MEM_NEW(struct shadow_comparison);
    }
    run->answer_ns = control->now_ns + ANSWER_NS;
    shadows_add(&control->shadows, entry);
    struct shadowing *shadowing = shadowing_of(control, str_of(entry->pipeline));
    shadowing->begun++;
    shadow_record(control, entry); /* C2 */
    shadow_tell_event(control, entry);
    if (run->record == 0) {
        shadow_note(entry, "it could not be recorded: too much waits to be written");
        shadow_tell(control, entry, LIFE_EVENT_REFUSED);
        return;
    }
    shadow_ask_primary(control, entry);
}

/* --- steps --- */

static void take_report(const struct control *control, struct shadow_run *run)
{
    const struct partition_report *report = shadow_primary_report(control, run);
    if (report != NULL) {
        run->report = *report;
        run->reported = true;
    }
}

/* Its first record is durable and its primary's keys are known: it begins (C2). */
static void begin_when_ready(struct control *control, struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    if (entry->life.state != LIFE_WANTED || !run->primary.known ||
        !own_stream_is_durable(control->own[OWN_SHADOWS], run->record)) {
        return;
    }
    take_report(control,
                run); /* where the primary is now: its shadow is warm when it has come so far */
    shadow_choose_sample(entry);
    shadow_tell(control, entry, LIFE_EVENT_BEGIN);
}

/* What its lane says of it; and a lane that does not answer at all has been without a processor since it was asked. */
static void note_starving(const struct control *control, struct shadow_entry *entry)
{
    const struct shadow_run *run = entry->run;
    const struct shadow_measures *m = run->sides[SHADOW_SUBJECT].measures;
    /* Of the same time: one that opened late for want of a processor has been wanting since it was asked for. */
    int64_t since_ns = m != NULL ? control->now_ns - m->asked_ns : 0;
    if (entry->life.opened_ns == 0 || m == NULL || m->asked_ns == 0 || since_ns < SILENT_NS) {
        return;
    }
    int64_t silent_ns = run->asked_ns != 0 ? control->now_ns - run->asked_ns : 0;
    int64_t starved_ns = m->starved_ns + (silent_ns > SILENT_NS ? silent_ns : 0);
    double share = (double)starved_ns / (double)since_ns;
    entry->starved = share < 1 ? share : 1;
}

/* Looks at the layout, the time, the guard; asks for a look when one is due. */
static int64_t watch(struct control *control, struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    if (run->job != NULL && control->now_ns >= run->answer_ns) {
        answer_order(control, entry); /* a busy machine: it will open when there is time */
    }
    const struct shadowing *shadowing = shadowing_of(control, str_of(entry->pipeline));
    if (!layout_is_same(control, run)) {
        shadow_tell(control, entry, LIFE_EVENT_LAYOUT);
    }
    begin_when_ready(control, entry);
    act(entry, life_tick(&entry->life, &shadowing->guard, control->now_ns));
    if (run->told != entry->life.state) {
        run->told = entry->life.state;
        if (run->told == LIFE_PAUSED || run->told == LIFE_ENDING) {
            shadow_tell_event(control, entry);
        }
    }
    note_starving(control, entry);
    bool open = entry->life.state == LIFE_WARMING || entry->life.state == LIFE_MEASURING;
    if (open && control->now_ns >= run->look_ns) {
        take_report(control, run);
        for (int i = 0; i < run->side_count; i++) {
            run->sides[i].look_wanted = true;
        }
        run->asked_ns = run->asked_ns == 0 ? control->now_ns : run->asked_ns;
        run->look_ns = control->now_ns + LOOK_NS;
        if (run->look_count++ % DETAIL_EVERY == 0) {
            shadow_ask_primary(control, entry);
        }
    }
    int64_t due_ns = run->job != NULL ? run->answer_ns : life_due_ns(&entry->life);
    return open && run->look_ns < due_ns ? run->look_ns : due_ns;
}

/* Whether it is over: all that was open is closed. */
static void finish(struct control *control, struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    if (entry->life.state == LIFE_ENDED && run->primary.out) {
        return;
    }
    if (run->failing && shadow_sides_closed(run)) {
        shadow_tell(control, entry,
                    entry->life.state == LIFE_OPENING ? LIFE_EVENT_FAILED : LIFE_EVENT_LOST);
    } else if (entry->life.state == LIFE_ENDING && shadow_sides_closed(run)) {
        bool all = true;
        for (int i = 0; i < run->side_count; i++) {
            all = all && run->sides[i].measured;
        }
        if (all) {
            profile_update(control, entry); /* the last measures came with the close */
        }
        shadow_tell(control, entry, LIFE_EVENT_CLOSED);
    }
    if (entry->life.state == LIFE_ENDED) {
        end(control, entry);
    }
}

int64_t shadows_step(struct control *control)
{
    int64_t next_ns = CLOCK_NEVER;
    if (!control_serving(control)) {
        return CLOCK_NEVER;
    }
    shadows_resolve(control);
    shadow_sides_take_replies(control);
    if (node_runtime_state(control->runtime) != RUNTIME_RUNNING) {
        return CLOCK_NEVER; /* the shadow lane ends with the lanes; what ran is found by the next start */
    }
    next_ns = shadows_watch(control);
    for (int32_t i = 0; i < control->shadows.count; i++) {
        struct shadow_entry *entry = control->shadows.all[i];
        if (entry->run == NULL) {
            continue;
        }
        int64_t due_ns = watch(control, entry);
        next_ns = due_ns < next_ns ? due_ns : next_ns;
        for (int s = SHADOW_SIDES - 1; s >= 0; s--) {
            if (s < entry->run->side_count) {
                shadow_side_advance(control, entry, s);
            }
        }
        due_ns = shadow_burst_step(control, entry);
        next_ns = due_ns < next_ns ? due_ns : next_ns;
        finish(control, entry);
    }
    shadows_set_budgets(control);
    return next_ns;
}
