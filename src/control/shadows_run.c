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

enum { PROFILE_ARENA_MAX = 8 << 20, CANDIDATE_ARENA_MAX = 64 << 20, RECORD_ARENA_MAX = 2 << 20 };
#define DETAIL_EVERY  4 /* looks between two at the primary's keys */
#define LOOK_NS       1000000000LL
#define ANSWER_NS     (3 * 1000000000LL) /* an order is answered by then, open or not */
#define RECORD_NS     (30 * 1000000000LL)
#define QUIET_NS      (600 * 1000000000LL) /* between two automatic shadows of a partition */
#define DROPPED_RATIO 0.02 /* of a look's records: more is too much for the budget */

static struct shadow_lane *lane_of(const struct control *control)
{
    return node_runtime_shadow_lane(control->runtime);
}

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
    for (int i = 0; i < SHADOW_SIDES; i++) {
        run->sides[i].control = control;
        run->sides[i].entry = entry;
    }
    return entry;
}

void shadow_run_free(struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    for (int i = 0; i < SHADOW_SIDES; i++) {
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
    mem_free(run->profile);
    mem_free(run->comparison);
    mem_free(run);
    entry->run = NULL;
}

void shadow_record(struct control *control, struct shadow_entry *entry)
{
    struct arena arena;
    arena_init(&arena, RECORD_ARENA_MAX);
    int64_t number =
        own_stream_add(control->own[OWN_SHADOWS], shadow_write(entry, control->now_ns, &arena));
    if (entry->run != NULL) {
        entry->run->recorded_ns = control->now_ns;
        entry->run->record = number; /* 0: lost; the stream counts it */
    }
    arena_release(&arena);
}

static void tell_event(struct control *control, const struct shadow_entry *entry)
{
    char detail[ERR_TEXT_MAX];
    const char *outcome = life_outcome_name(entry->life.outcome);
    IGNORE_RESULT(snprintf(detail, sizeof(detail), "%s %" PRId64 "%s%s%s%.150s",
                           entry->order.candidate ? "candidate" : "shadow", entry->id,
                           outcome[0] != 0 ? ", " : "", outcome, entry->reason[0] != 0 ? ": " : "",
                           entry->reason)); /* cut is fine */
    event_add(control, entry->order.candidate ? "candidate" : "shadow", entry->partition,
              life_state_name(entry->life.state), 0, detail);
}

static bool sides_are_closed(const struct shadow_run *run)
{
    for (int i = 0; i < run->side_count; i++) {
        if (run->sides[i].open || run->sides[i].out) {
            return false;
        }
    }
    return !run->primary.out;
}

/* The profile so far becomes the entry's. */
static void keep_profile(struct control *control, struct shadow_entry *entry)
{
    struct arena arena;
    struct text text;
    if (entry->run->profile == NULL) {
        return;
    }
    arena_init(&arena, PROFILE_ARENA_MAX);
    text_init(&text, &arena);
    profile_write(control, entry, &text);
    struct str json = text_str(&text);
    if (!text.cut && json.len <= SHADOW_PROFILE_MAX) {
        mem_free(entry->profile);
        entry->profile = mem_new(json.len + 1, 1);
        memcpy(entry->profile, json.ptr, (size_t)json.len);
        entry->profile[json.len] = 0;
    }
    arena_release(&arena);
}

/* Its figures go into the stream as rows of their own, so that the local view can be asked for them over time. */
static void keep_figures(struct control *control, const struct shadow_entry *entry)
{
    struct arena arena;
    struct text text;
    arena_init(&arena, PROFILE_ARENA_MAX);
    text_init(&text, &arena);
    profile_write_figures(entry, &text);
    if (!text.cut && entry->records > 0) {
        IGNORE_RESULT(own_stream_add(control->own[OWN_SHADOWS], text_str(&text))); /* counted */
    }
    arena_release(&arena);
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
    CHECK(sides_are_closed(entry->run)); /* C1 */
    keep_profile(control, entry);
    entry->ended_ms = wall_ms(control);
    entry->age_s = entry->life.opened_ns != 0
                       ? (double)(entry->life.ended_ns - entry->life.opened_ns) / 1e9
                       : 0;
    if (shadowing != NULL) {
        shadowing->ended[entry->life.outcome]++;
    }
    answer_order(control, entry);
    keep_figures(control, entry);
    shadow_run_free(entry);
    shadow_record(control, entry); /* C2 */
    tell_event(control, entry);
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
        tell_event(control, entry);
    }
}

static void note(struct shadow_entry *entry, const char *reason)
{
    if (entry->reason[0] == 0) {
        IGNORE_RESULT(snprintf(entry->reason, sizeof(entry->reason), "%s", reason)); /* cut */
    }
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

static void ask_primary(struct control *control, struct shadow_entry *entry)
{
    struct primary_detail *primary = &entry->run->primary;
    const struct partition_place *place = &entry->run->place;
    if (primary->out) {
        return;
    }
    primary->out = true;
    primary->detail.group_counts = primary->group_counts;
    primary->command =
        (struct lane_command){.kind = LANE_SNAPSHOT, .reply = &control->shadow_details};
    primary->command.u.snapshot = (struct lane_snapshot){.detail = &primary->detail,
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

/* --- commands --- */

static void prepare_side(struct shadow_side *side, int32_t operators)
{
    if (side->measures == NULL) {
        side->operator_cap = operators > 0 ? operators : 1;
        side->measures = MEM_NEW(struct shadow_measures);
        side->operators = MEM_NEW_ARRAY(struct shadow_operator, side->operator_cap);
        side->next_measures = MEM_NEW(struct shadow_measures);
        side->next_operators = MEM_NEW_ARRAY(struct shadow_operator, side->operator_cap);
    }
}

static uint64_t id_on_lane(const struct shadow_entry *entry, int side)
{
    return (uint64_t)entry->id * SHADOW_SIDES + (uint64_t)side;
}

static void submit(struct shadow_side *side, enum shadow_command_kind kind)
{
    side->command.kind = kind;
    side->command.reply = &side->control->shadow_replies;
    side->command.err = ERR_OK;
    side->out = true;
    shadow_lane_send(lane_of(side->control), &side->command);
}

static void send_open(struct control *control, struct shadow_entry *entry, int index)
{
    struct shadow_run *run = entry->run;
    struct shadow_side *side = &run->sides[index];
    const struct shadow_order *order = &entry->order;
    bool subject = index == SHADOW_SUBJECT;
    bool with_twin = run->side_count == SHADOW_SIDES;
    const struct stage_plan *plan =
        subject && run->candidate != NULL ? run->candidate->plan : run->plan;
    prepare_side(side, plan->operator_count);
    side->command = (struct shadow_command){.kind = SHADOW_OPEN};
    side->command.u.open = (struct shadow_spec){
        .id = id_on_lane(entry, index),
        .stage = run->stage,
        .candidate = subject ? run->candidate : NULL,
        .shard = run->place.shard,
        .group_lo = run->place.group_lo,
        .group_hi = run->place.group_hi,
        .sample = run->sample,
        .transport = order->transport,
        .feed = order->feed,
        .flags = with_twin ? SHADOW_KEEP_RESULTS : 0,
        .partner = subject && with_twin ? id_on_lane(entry, SHADOW_BASELINE) : 0,
        .warm_until = {run->reported ? run->report.next_offset[0] : -1,
                       run->reported ? run->report.next_offset[1] : -1},
        .store = shadow_store_of(control, order->store),
    };
    submit(side, SHADOW_OPEN);
}

static void send_measure(struct shadow_entry *entry, int index, enum shadow_command_kind kind)
{
    struct shadow_side *side = &entry->run->sides[index];
    struct shadow_measure measure = {.id = id_on_lane(entry, index),
                                     .measures = side->next_measures,
                                     .operators = side->next_operators,
                                     .operator_cap = side->operator_cap};
    side->command = (struct shadow_command){.kind = kind};
    if (kind == SHADOW_RESAMPLE) {
        side->command.u.resample.last = measure;
        side->command.u.resample.sample = entry->run->sample;
    } else {
        side->command.u.measure = measure;
    }
    side->filling = true;
    submit(side, kind);
}

static void send_plain(struct shadow_entry *entry, int index, enum shadow_command_kind kind)
{
    struct shadow_side *side = &entry->run->sides[index];
    side->command = (struct shadow_command){.kind = kind};
    side->command.u.id = id_on_lane(entry, index);
    submit(side, kind);
}

static void send_compare(struct shadow_entry *entry)
{
    struct shadow_side *side = &entry->run->sides[SHADOW_SUBJECT];
    side->command = (struct shadow_command){.kind = SHADOW_COMPARE};
    side->command.u.compare.id = id_on_lane(entry, SHADOW_SUBJECT);
    side->command.u.compare.comparison = entry->run->comparison;
    submit(side, SHADOW_COMPARE);
}

/* What a side is to be told next, if anything. */
static void advance_side(struct control *control, struct shadow_entry *entry, int index)
{
    struct shadow_run *run = entry->run;
    struct shadow_side *side = &run->sides[index];
    bool before =
        index == SHADOW_BASELINE || run->side_count == 1 || run->sides[SHADOW_BASELINE].open;
    if (side->out) {
        return;
    }
    if (!side->open) {
        if (entry->life.state == LIFE_OPENING && !run->want_close && !run->failing && before) {
            send_open(control, entry, index);
        }
        return;
    }
    if (run->want_close || run->failing) {
        send_measure(entry, index, SHADOW_CLOSE);
    } else if (side->paused != run->want_pause) {
        side->paused = run->want_pause;
        send_plain(entry, index, side->paused ? SHADOW_PAUSE : SHADOW_RESUME);
    } else if (run->want_resample && index == SHADOW_SUBJECT) {
        run->want_resample = false;
        send_measure(entry, index, SHADOW_RESAMPLE);
    } else if (side->look_wanted) {
        side->look_wanted = false;
        send_measure(entry, index, SHADOW_MEASURE);
    } else if (run->compare_turn && index == SHADOW_SUBJECT) {
        run->compare_turn = false;
        send_compare(entry);
    }
}

/* --- what comes back --- */

static void opened(struct control *control, struct shadow_entry *entry, struct shadow_side *side)
{
    struct shadow_run *run = entry->run;
    if (side->command.err != ERR_OK) {
        note(entry, side->command.info.text);
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

/* The sides have ended on the lane by themselves. */
static void look_at_end(struct control *control, struct shadow_entry *entry,
                        const struct shadow_measures *measures)
{
    if (measures->state != SHADOW_ENDED) {
        return;
    }
    note(entry, measures->problem);
    shadow_tell(control, entry,
                measures->end == SHADOW_END_DONE     ? LIFE_EVENT_ANSWERED
                : measures->end == SHADOW_END_MEMORY ? LIFE_EVENT_SHORT
                                                     : LIFE_EVENT_BROKEN);
}

static void change_percent(struct control *control, struct shadow_entry *entry, double percent)
{
    struct shadow_run *run = entry->run;
    if (entry->percent >= percent && entry->percent <= percent) {
        return;
    }
    entry->percent = percent;
    shadow_sample_of(&entry->order, &run->primary.detail, percent, &run->sample, &run->strata);
    run->want_resample = true;
    char detail[ERR_TEXT_MAX];
    IGNORE_RESULT(snprintf(detail, sizeof(detail), "%s %" PRId64 ": now %.3g %% of the records",
                           entry->order.candidate ? "candidate" : "shadow", entry->id,
                           percent)); /* fits */
    event_add(control, "shadow", entry->partition, "percent", 0, detail);
}

static void judge(struct control *control, struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    struct adaptive *adaptive = &run->adaptive;
    double confidence = 0;
    bool stop = false, clear = true;
    bool compare = adaptive->settings.question == ADAPTIVE_ASK_COMPARE;
    struct estimate interval = {.n = profile_rows(&run->looks)};
    int64_t dropped = entry->dropped - run->dropped_seen;
    if (run->side_count == 1 &&
        (double)dropped > DROPPED_RATIO * (double)(entry->records + dropped)) {
        run->dropped_seen = entry->dropped;
        change_percent(control, entry, adaptive_lower(adaptive, interval.n, control->now_ns));
        return;
    }
    if (!adaptive_due(adaptive, interval.n, &confidence)) {
        return;
    }
    if (compare) {
        double n = interval.n;
        interval = twin_ratio(run->twins, confidence);
        interval.n = n;
    } else {
        profile_question(&run->looks, confidence, &interval, &clear);
    }
    double percent = adaptive_judge(adaptive, &interval, clear, life_due_ns(&entry->life),
                                    control->now_ns, &stop);
    entry->verdict = adaptive->verdict;
    if (stop) {
        shadow_tell(control, entry, LIFE_EVENT_ANSWERED);
    } else {
        change_percent(control, entry, percent);
    }
}

/* All sides were measured. */
static void looked(struct control *control, struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    bool measuring = true;
    for (int i = 0; i < run->side_count; i++) {
        look_at_end(control, entry, run->sides[i].measures);
        measuring = measuring && run->sides[i].measures->state == SHADOW_MEASURING;
    }
    if (measuring) {
        shadow_tell(control, entry, LIFE_EVENT_WARM);
    }
    profile_update(control, entry);
    if (entry->life.state == LIFE_MEASURING && measuring) {
        judge(control, entry);
    }
    run->compare_turn = run->comparison != NULL;
    if (control->now_ns - run->recorded_ns >= RECORD_NS && entry->life.state == LIFE_MEASURING) {
        keep_profile(control, entry);
        shadow_record(control, entry);
    }
}

static void measured(struct control *control, struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    for (int i = 0; i < run->side_count; i++) {
        if (run->sides[i].look_wanted || !run->sides[i].measured) {
            return;
        }
    }
    for (int i = 0; i < run->side_count; i++) {
        run->sides[i].measured = false;
    }
    looked(control, entry);
}

static void take_measures(struct shadow_side *side)
{
    if (side->filling && side->command.err == ERR_OK) {
        struct shadow_measures *measures = side->measures;
        struct shadow_operator *operators = side->operators;
        side->measures = side->next_measures;
        side->operators = side->next_operators;
        side->next_measures = measures;
        side->next_operators = operators;
    }
    side->filling = false;
}

static void side_reply(struct control *control, struct shadow_side *side)
{
    struct shadow_entry *entry = side->entry;
    struct shadow_run *run = entry->run;
    CHECK(side->out);
    side->out = false;
    take_measures(side);
    switch (side->command.kind) {
    case SHADOW_OPEN:
        opened(control, entry, side);
        break;
    case SHADOW_CLOSE:
        side->open = false;
        if (side->command.err == ERR_OK) {
            side->measured = true;
        }
        break;
    case SHADOW_MEASURE:
        if (side->command.err == ERR_OK) {
            side->measured = true;
            measured(control, entry);
        } else {
            side->open = false; /* NOT_FOUND: it is gone */
            note(entry, side->command.info.text);
            run->failing = true;
        }
        break;
    case SHADOW_RESAMPLE:
        if (side->command.err != ERR_OK) {
            note(entry, side->command.info.text);
            shadow_tell(control, entry, LIFE_EVENT_BROKEN);
        } else {
            profile_keep_sample(entry);
        }
        break;
    case SHADOW_PAUSE:
    case SHADOW_RESUME:
    case SHADOW_COMPARE:
        break;
    case SHADOW_LIST:
    case SHADOW_LIMITS:
    case SHADOW_STOP:
        CHECK_MSG(false, "no side sends that");
    }
}

/* --- the sample, once the primary's keys are known --- */

void shadow_sample_of(const struct shadow_order *order, const struct partition_detail *detail,
                      double percent, struct shadow_sample *ret_sample,
                      struct shadow_strata *ret_strata)
{
    if (order->by == SHADOW_BY_RECORD) {
        shadow_sample_records(percent, ret_sample);
        *ret_strata = (struct shadow_strata){.hashed = percent / 100};
        return;
    }
    shadow_sample_choose(detail->heavy, detail->heavy_count, detail->heavy_sampled, percent,
                         ret_sample, ret_strata);
}

static void detail_reply(struct control *control, struct primary_detail *primary)
{
    struct shadow_entry *entry = primary->entry;
    primary->out = false;
    if (primary->command.err != ERR_OK) {
        note(entry, primary->command.info.text);
        shadow_tell(control, entry,
                    entry->life.state == LIFE_WANTED ? LIFE_EVENT_REFUSED : LIFE_EVENT_LAYOUT);
        return;
    }
    primary->known = true;
}

void shadow_begin(struct control *control, struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    const struct stage_plan *plan = run->candidate != NULL ? run->candidate->plan : run->plan;
    struct adaptive_settings settings = adaptive_settings_default(
        !entry->order.adaptive   ? ADAPTIVE_ASK_NONE
        : entry->order.candidate ? ADAPTIVE_ASK_COMPARE
                                 : ADAPTIVE_ASK_PROFILE,
        entry->order.adaptive && !entry->order.twin ? SHADOW_PERCENT_MAX : entry->percent);
    run->side_count = entry->order.twin ? SHADOW_SIDES : 1;
    run->looks_memory = MEM_NEW_ARRAY(double, profile_numbers(plan->operator_count));
    profile_looks_init(&run->looks, run->looks_memory, plan->operator_count);
    run->profile = MEM_NEW(struct profile);
    adaptive_init(&run->adaptive, &settings, entry->percent, control->now_ns);
    if (entry->order.twin) {
        run->twins = MEM_NEW(struct twin_looks);
        twin_begin(run->twins);
        run->comparison = MEM_NEW(struct shadow_comparison);
    }
    run->answer_ns = control->now_ns + ANSWER_NS;
    shadows_add(&control->shadows, entry);
    struct shadowing *shadowing = shadowing_of(control, str_of(entry->pipeline));
    shadowing->begun++;
    shadow_record(control, entry); /* C2 */
    tell_event(control, entry);
    if (run->record == 0) {
        note(entry, "it could not be recorded: too much waits to be written");
        shadow_tell(control, entry, LIFE_EVENT_REFUSED);
        return;
    }
    ask_primary(control, entry);
}

/* --- steps --- */

/* Its first record is durable and its primary's keys are known: it begins (C2). */
static void begin_when_ready(struct control *control, struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    if (entry->life.state != LIFE_WANTED || !run->primary.known ||
        !own_stream_is_durable(control->own[OWN_SHADOWS], run->record)) {
        return;
    }
    shadow_sample_of(&entry->order, &run->primary.detail, entry->percent, &run->sample,
                     &run->strata);
    shadow_tell(control, entry, LIFE_EVENT_BEGIN);
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
            tell_event(control, entry);
        }
    }
    bool open = entry->life.state == LIFE_WARMING || entry->life.state == LIFE_MEASURING;
    if (open && control->now_ns >= run->look_ns) {
        const struct partition_report *report = shadow_primary_report(control, run);
        if (report != NULL) {
            run->report = *report;
            run->reported = true;
        }
        for (int i = 0; i < run->side_count; i++) {
            run->sides[i].look_wanted = true;
        }
        run->look_ns = control->now_ns + LOOK_NS;
        if (run->look_count++ % DETAIL_EVERY == 0) {
            ask_primary(control, entry);
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
    if (run->failing && sides_are_closed(run)) {
        shadow_tell(control, entry,
                    entry->life.state == LIFE_OPENING ? LIFE_EVENT_FAILED : LIFE_EVENT_LOST);
    } else if (entry->life.state == LIFE_ENDING && sides_are_closed(run)) {
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

static void take_replies(struct control *control)
{
    struct msg *next = NULL;
    for (struct msg *msg = mailbox_take_all(&control->shadow_replies); msg != NULL; msg = next) {
        struct shadow_command *command = CONTAINER_OF(msg, struct shadow_command, msg);
        next = msg->next;
        if (command == &control->shadow_limits) {
            control->shadow_limits_out = false;
        } else {
            side_reply(control, CONTAINER_OF(command, struct shadow_side, command));
        }
    }
    for (struct msg *msg = mailbox_take_all(&control->shadow_details); msg != NULL; msg = next) {
        next = msg->next;
        detail_reply(control, CONTAINER_OF(msg, struct primary_detail, command.msg));
    }
}

/* All shadows of all pipelines that have one share the lane's budget. */
static void set_budget(struct control *control)
{
    double cores = 0;
    for (int32_t i = 0; i < control->watch.count; i++) {
        const struct shadowing *shadowing = &control->watch.all[i];
        char pipeline[CONTROL_NAME_MAX + 1];
        IGNORE_RESULT(snprintf(pipeline, sizeof(pipeline), "%.*s", STR_ARG(shadowing->pipeline)));
        if (shadows_active(&control->shadows, pipeline) > 0) {
            cores += shadow_budget_cores(&shadowing->settings, shadowing->cores);
        }
    }
    cores = cores < 1 ? cores : 1; /* one thread */
    double change = fabs(cores - control->shadow_budget);
    if (!(cores > 0) || control->shadow_limits_out || change < 0.05 * cores) {
        return;
    }
    control->shadow_budget = cores;
    control->shadow_limits =
        (struct shadow_command){.kind = SHADOW_LIMITS, .reply = &control->shadow_replies};
    control->shadow_limits.u.limits.budget = cores;
    control->shadow_limits_out = true;
    shadow_lane_send(lane_of(control), &control->shadow_limits);
}

static void resolve(struct control *control);

int64_t shadows_step(struct control *control)
{
    int64_t next_ns = CLOCK_NEVER;
    if (!control_serving(control)) {
        return CLOCK_NEVER;
    }
    resolve(control);
    take_replies(control);
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
                advance_side(control, entry, s);
            }
        }
        finish(control, entry);
    }
    set_budget(control);
    return next_ns;
}

/* --- start and end --- */

/* A record of `sc.shadows`; a later one of the same takes its place. */
void shadows_take_record(struct control *control, struct str value)
{
    struct shadow_entry *entry = MEM_NEW(struct shadow_entry);
    if (str_starts_with(value, STR("{\"entity\":\"figure\""))) { /* the local view's */
        mem_free(entry);
        return;
    }
    if (shadow_read(value, entry, NULL) != ERR_OK) {
        control->shadows_unreadable++; /* told by an event: history is not worth a refused start */
        mem_free(entry);
        return;
    }
    struct shadow_entry *known = shadows_find(&control->shadows, entry->id);
    if (known != NULL) {
        mem_free(known->profile);
        *known = *entry;
        mem_free(entry);
    } else if (entry->id > control->shadows.last_id) {
        shadows_add(&control->shadows, entry);
    } else {
        mem_free(entry->profile); /* its first record was trimmed, or it was forgotten */
        mem_free(entry);
    }
}

/* Once: what ran when the last process ended has ended with it. */
static void resolve(struct control *control)
{
    if (control->shadows_resolved) {
        return;
    }
    control->shadows_resolved = true;
    for (int32_t i = 0; i < control->shadows.count; i++) {
        struct shadow_entry *entry = control->shadows.all[i];
        if (entry->life.state == LIFE_ENDED) {
            continue;
        }
        IGNORE_RESULT(life_take(&entry->life, LIFE_EVENT_RESTART, control->now_ns)); /* ends it */
        entry->ended_ms = wall_ms(control);
        note(entry, life_outcome_help(LIFE_END_RESTART));
        shadow_record(control, entry);
        tell_event(control, entry);
    }
    if (control->shadows_unreadable > 0) {
        event_add(control, "shadow", "", "unreadable", 0,
                  "records of " SHADOWS_STREAM " that are no shadows were passed over");
    }
}

void shadows_free(struct control *control)
{
    for (int32_t i = 0; i < control->shadows.count; i++) {
        if (control->shadows.all[i]->run != NULL) {
            shadow_run_free(control->shadows.all[i]);
        }
    }
    shadows_release(&control->shadows);
    shadows_watch_free(control);
}
