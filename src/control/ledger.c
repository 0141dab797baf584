// SPDX-License-Identifier: Apache-2.0
#include "control/ledger.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "control/own_stream.h"
#include "control/row_read.h"
#include "pipeline/time_text.h"

enum { LEDGER_ARENA_MAX = 16 << 20 };

static const char *const limits[] = {"none", "reading", "key", "range"};

void ledger_init(struct ledger *ledger)
{
    arena_init(&ledger->arena, LEDGER_ARENA_MAX);
}

static void entry_free(struct ledger_entry *entry)
{
    mem_free(entry->steps);
    mem_free(entry);
}

void ledger_release(struct ledger *ledger)
{
    for (int32_t i = 0; i < ledger->count; i++) {
        entry_free(ledger->all[i]);
    }
    ledger->count = 0;
    arena_release(&ledger->arena);
}

struct ledger_entry *ledger_find(struct ledger *ledger, int64_t id)
{
    int32_t lo = 0, hi = ledger->count;
    while (lo < hi) {
        int32_t mid = lo + (hi - lo) / 2;
        if (ledger->all[mid]->decision.id < id) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < ledger->count && ledger->all[lo]->decision.id == id ? ledger->all[lo] : NULL;
}

static void set_steps(struct ledger_entry *entry, const struct plan_step *steps, int32_t count)
{
    mem_free(entry->steps);
    entry->steps = MEM_NEW_ARRAY(struct plan_step, count);
    if (count > 0) {
        memcpy(entry->steps, steps, (size_t)count * sizeof(*steps));
    }
    entry->decision.step_count = count;
}

struct ledger_entry *ledger_put(struct ledger *ledger, const struct decision *decision,
                                const struct plan_step *steps, int32_t step_count, int64_t now_ms)
{
    struct ledger_entry *entry = ledger_find(ledger, decision->id);
    if (entry == NULL) {
        if (decision->id <= ledger->last_id) {
            return NULL; /* it was forgotten */
        }
        if (ledger->count == LEDGER_KEPT_MAX) {
            entry_free(ledger->all[0]);
            memmove(&ledger->all[0], &ledger->all[1], (LEDGER_KEPT_MAX - 1) * sizeof(void *));
            ledger->count--;
        }
        entry = MEM_NEW(struct ledger_entry);
        entry->time_ms = now_ms;
        ledger->all[ledger->count++] = entry;
        ledger->last_id = decision->id;
    }
    int32_t had = entry->decision.step_count;
    entry->decision = *decision;
    entry->decision.step_count = had;
    entry->changed_ms = now_ms;
    if (steps != NULL) {
        set_steps(entry, steps, step_count);
    }
    return entry;
}

/* --- rows --- */

static struct str text_of(struct arena *arena, const char *text)
{
    ptrdiff_t len = (ptrdiff_t)strlen(text);
    return (struct str){arena_dup(arena, text, len), len};
}

static struct str time_of(struct arena *arena, int64_t ms)
{
    char text[TIME_TEXT_MAX];
    int32_t len = time_write_rfc3339(ms, text);
    return (struct str){arena_dup(arena, text, len), len};
}

static const struct decision_option *chosen(const struct decision *d)
{
    return d->chosen >= 0 && d->chosen < d->option_count ? &d->options[d->chosen] : NULL;
}

static void add_outcome(struct decision_row *row, const struct decision *d)
{
    bool measured = d->state == DECISION_STATE_MEASURED || d->state == DECISION_STATE_ROLLED_BACK;
    const struct decision_outcome *o = &d->outcome;
    row->benefit = measured ? o->benefit : (double)NAN;
    row->cost_new = measured ? o->cost_new : (double)NAN;
    row->cost_old = measured ? o->cost_old : (double)NAN;
    row->pause_seconds = measured ? o->pause_s : (double)NAN;
    row->work_ratio = measured ? o->work_ratio : (double)NAN;
    row->arrivals_ratio = measured ? o->arrivals_ratio : (double)NAN;
    row->freed_lanes = measured ? o->freed_lanes : (double)NAN;
    row->freed_predicted_lanes = measured ? o->freed_predicted : (double)NAN;
    row->layout_failed = measured && o->layout_failed;
    row->forecast_failed = measured && o->forecast_failed;
}

static void add_inputs(struct decision_row *row, const struct decision *d, struct arena *arena)
{
    const struct decision_inputs *in = &d->inputs;
    const struct decision_forecast *f = &d->forecast;
    row->partition = text_of(arena, in->partition);
    row->lane = text_of(arena, in->lane);
    row->rate_per_second = in->rate_per_s;
    row->cost_seconds = in->cost_s;
    row->read_ratio = in->read_ratio;
    row->demand_lanes = in->demand;
    row->utilisation_ratio = in->utilisation;
    row->lag_seconds = in->lag_s;
    row->slope_per_minute = in->slope_per_min;
    row->lanes = in->lanes;
    row->nodes = in->nodes;
    row->partitions = in->partitions;
    row->symptoms = in->symptoms;
    row->forecast = f->there;
    row->horizon_seconds = f->there ? f->horizon_s : (double)NAN;
    row->forecast_lanes = f->there ? f->demand : (double)NAN;
    row->forecast_high_lanes = f->there ? f->demand_high : (double)NAN;
    row->quantile = f->there ? f->quantile : (double)NAN;
    row->forecast_error_ratio = f->there ? f->error : (double)NAN;
    row->passes_seconds = f->there ? f->passes_s : (double)NAN;
}

struct decision_row decision_row_of(const struct ledger_entry *entry, struct arena *arena)
{
    const struct decision *d = &entry->decision;
    const struct decision_option *choice = chosen(d);
    struct decision_row row = {
        .id = d->id,
        .time = time_of(arena, entry->time_ms),
        .changed = time_of(arena, entry->changed_ms),
        .pipeline = text_of(arena, d->inputs.pipeline),
        .cause = str_of(decision_cause_name(d->cause)),
        .choice = choice != NULL ? str_of(plan_option_name(choice->kind)) : STR("nothing"),
        .state = str_of(decision_state_name(d->state)),
        .who = text_of(arena, d->who),
        .sentence = str_of(decision_sentence(d, arena)),
        .parent = d->parent,
        .limit = str_of(limits[(unsigned)d->limit < COUNT_OF(limits) ? d->limit : 0]),
        .answer = text_of(arena, d->answer),
        .benefit_predicted =
            choice != NULL && d->option_count > 0 ? d->options[0].cost - choice->cost : (double)NAN,
        .reason = text_of(arena, d->reason),
        .setting = text_of(arena, d->setting),
        .setting_back = text_of(arena, d->setting_back),
        .signature =
            d->signature != 0 ? str_of(arena_printf(arena, "%016" PRIx64, d->signature)) : STR(""),
    };
    add_inputs(&row, d, arena);
    add_outcome(&row, d);
    return row;
}

struct plan_row plan_row_of(const struct ledger_entry *entry, struct arena *arena)
{
    const struct decision *d = &entry->decision;
    const struct decision_option *choice = chosen(d);
    return (struct plan_row){
        .id = d->id,
        .time = time_of(arena, entry->time_ms),
        .pipeline = text_of(arena, d->inputs.pipeline),
        .state = str_of(decision_state_name(d->state)),
        .change = choice != NULL ? text_of(arena, choice->text) : STR("nothing"),
        .step_count = d->step_count,
        .steps_done = entry->steps_done,
        .operation = FIELD_I64_UNKNOWN,
        .cost = choice != NULL ? choice->cost : (double)NAN,
        .cost_nothing = d->option_count > 0 ? d->options[0].cost : (double)NAN,
        .utilisation_before_ratio = d->inputs.utilisation,
        .utilisation_after_ratio = choice != NULL ? choice->max_after : (double)NAN,
        .moved_bytes = choice != NULL ? choice->moved_bytes : 0,
        .who = text_of(arena, d->who),
        .reason = text_of(arena, d->reason),
    };
}

struct control_rows option_rows_of(const struct ledger_entry *entry, struct arena *arena)
{
    const struct decision *d = &entry->decision;
    struct option_row *rows = ARENA_NEW_ARRAY(arena, struct option_row, d->option_count);
    for (int32_t i = 0; i < d->option_count; i++) {
        const struct decision_option *o = &d->options[i];
        rows[i] = (struct option_row){.decision = d->id,
                                      .option = i,
                                      .kind = str_of(plan_option_name(o->kind)),
                                      .change = text_of(arena, o->text),
                                      .cost = o->cost,
                                      .lane_seconds = o->lane_seconds,
                                      .late_seconds = o->late_seconds,
                                      .moved_bytes = o->moved_bytes,
                                      .changes = o->changes,
                                      .utilisation_after_ratio = o->max_after,
                                      .verdict = str_of(plan_verdict_text(o->verdict))};
    }
    return (struct control_rows){.entity = &option_entity, .rows = rows, .count = d->option_count};
}

static const char *part_text(const struct control *control, const struct plan_step *step,
                             uint32_t lo, uint32_t hi, struct arena *arena)
{
    int32_t stage = SHARD_STAGE(step->shard);
    if (stage < 0 || stage >= node_runtime_stage_count(control->runtime)) {
        return arena_printf(arena, "a stage that is gone, shard %u, %u-%u",
                            SHARD_INDEX(step->shard), lo, hi);
    }
    char id[PARTITION_ID_MAX];
    const struct stage_plan *plan = node_runtime_stage(control->runtime, stage)->plan;
    partition_id_text(id, plan->pipeline, plan->name, SHARD_INDEX(step->shard), lo, hi);
    return arena_dup(arena, id, (ptrdiff_t)strlen(id));
}

const char *step_subject(const struct control *control, const struct plan_step *step,
                         struct arena *arena)
{
    switch (step->kind) {
    case PLAN_STEP_SPLIT:
    case PLAN_STEP_MIGRATE:
        return part_text(control, step, step->group_lo, step->group_hi, arena);
    case PLAN_STEP_MERGE:
        return part_text(control, step, step->group_lo, step->border, arena);
    case PLAN_STEP_NODE_ADD:
    case PLAN_STEP_NODE_DRAIN:
        return arena_printf(arena, "n%d", step->node);
    case PLAN_STEP_TUNE:
    case PLAN_STEP_KIND_COUNT:
        break;
    }
    return "an operator's settings";
}

static const char *step_target(const struct control *control, const struct plan_step *step,
                               struct arena *arena)
{
    int32_t lanes = control->config->nodes.lanes;
    switch (step->kind) {
    case PLAN_STEP_SPLIT:
        return arena_printf(arena, "at %u, upper half to n%d/%d", step->border, step->to / lanes,
                            step->to % lanes);
    case PLAN_STEP_MIGRATE:
        return arena_printf(arena, "n%d/%d", step->to / lanes, step->to % lanes);
    case PLAN_STEP_MERGE:
        return arena_printf(arena, "with %s, on n%d/%d",
                            part_text(control, step, step->border, step->group_hi, arena),
                            step->to / lanes, step->to % lanes);
    case PLAN_STEP_NODE_ADD:
    case PLAN_STEP_NODE_DRAIN:
    case PLAN_STEP_TUNE:
    case PLAN_STEP_KIND_COUNT:
        break;
    }
    return "";
}

/* "pipeline/stage: operator.key=value" in its two halves. */
static const char *setting_place(const struct ledger_entry *entry, struct arena *arena)
{
    struct str rest = str_of(entry->decision.setting);
    struct str place = str_trim(str_cut(&rest, ':'));
    return arena_dup(arena, place.ptr, place.len);
}

static const char *setting_words(const struct ledger_entry *entry, struct arena *arena)
{
    struct str rest = str_of(entry->decision.setting);
    IGNORE_RESULT(str_cut(&rest, ':')); /* what stands before it */
    struct str words = str_trim(rest.ptr != NULL ? rest : STR(""));
    return arena_dup(arena, words.ptr, words.len);
}

static const char *step_state(const struct ledger_entry *entry, int32_t index)
{
    enum decision_state state = entry->decision.state;
    if (index < entry->steps_done) {
        return "done";
    }
    if (state == DECISION_STATE_APPLYING) {
        return index == entry->steps_done ? "under way" : "waiting";
    }
    return state == DECISION_STATE_FAILED ? "not done" : "waiting";
}

struct control_rows step_rows_of(const struct control *control, const struct ledger_entry *entry,
                                 struct arena *arena)
{
    int32_t count = entry->decision.step_count;
    struct step_row *rows = ARENA_NEW_ARRAY(arena, struct step_row, count);
    for (int32_t i = 0; i < count; i++) {
        const struct plan_step *s = &entry->steps[i];
        rows[i] = (struct step_row){
            .decision = entry->decision.id,
            .step = i,
            .kind = str_of(plan_step_name(s->kind)),
            .subject = str_of(s->kind == PLAN_STEP_TUNE ? setting_place(entry, arena)
                                                        : step_subject(control, s, arena)),
            .target = str_of(s->kind == PLAN_STEP_TUNE ? setting_words(entry, arena)
                                                       : step_target(control, s, arena)),
            .state = str_of(step_state(entry, i)),
            .shard = s->shard,
            .group_lo = s->group_lo,
            .group_hi = s->group_hi,
            .border = s->border,
            .lane_from = s->from,
            .lane_to = s->to,
            .node = s->node,
            .moved_bytes = s->moved_bytes,
            .lower = s->lower};
    }
    return (struct control_rows){.entity = &step_entity, .rows = rows, .count = count};
}

/* --- the stream --- */

static int64_t add_rows(struct control *control, const struct control_rows *rows, int32_t count)
{
    struct text text;
    if (count == 0) {
        return 0;
    }
    text_init(&text, &control->scratch);
    text_json_table(&text, rows->entity, rows->rows, count);
    return own_stream_add(control->own[OWN_DECISIONS], text_str(&text));
}

void ledger_write(struct control *control, struct ledger_entry *entry)
{
    struct arena *arena = &control->scratch;
    struct control_rows options = option_rows_of(entry, arena);
    struct control_rows steps = step_rows_of(control, entry, arena);
    struct decision_row row = decision_row_of(entry, arena);
    struct control_rows decision = {.entity = &decision_entity, .rows = &row, .count = 1};
    /* The decision comes last: with it, what belongs to it is there, as they go in one batch. */
    IGNORE_RESULT(add_rows(control, &options, options.count));
    IGNORE_RESULT(add_rows(control, &steps, steps.count));
    entry->record = add_rows(control, &decision, 1);
    arena_reset(arena);
}

/* --- reading back --- */

static int word_of(struct str text, const char *(*name)(int index), int count)
{
    for (int i = 0; i < count; i++) {
        if (str_is(text, name(i))) {
            return i;
        }
    }
    return 0;
}

static const char *cause_word(int index)
{
    return decision_cause_name((enum decision_cause)index);
}

static const char *state_word(int index)
{
    return decision_state_name((enum decision_state)index);
}

static const char *option_word(int index)
{
    return plan_option_name((enum plan_option_kind)index);
}

static const char *step_word(int index)
{
    return plan_step_name((enum plan_step_kind)index);
}

static const char *verdict_word(int index)
{
    return plan_verdict_text((enum plan_verdict)index);
}

static const char *limit_word(int index)
{
    return limits[index];
}

static void put_text(char *buf, size_t cap, struct str text)
{
    IGNORE_RESULT(snprintf(buf, cap, "%.*s", STR_ARG(text))); /* cut is fine */
}

static void options_back(struct decision *d, const struct ledger *ledger)
{
    int32_t count =
        ledger->option_count < DECISION_OPTIONS_MAX ? ledger->option_count : DECISION_OPTIONS_MAX;
    for (int32_t i = 0; i < count && ledger->options[i].decision == d->id; i++) {
        const struct option_row *row = &ledger->options[i];
        struct decision_option *o = &d->options[d->option_count++];
        o->kind = (enum plan_option_kind)word_of(row->kind, option_word, PLAN_OPTION_KIND_COUNT);
        o->verdict = (enum plan_verdict)word_of(row->verdict, verdict_word, PLAN_VERDICT_COUNT);
        o->cost = row->cost;
        o->lane_seconds = row->lane_seconds;
        o->late_seconds = row->late_seconds;
        o->moved_bytes = row->moved_bytes;
        o->changes = row->changes;
        o->max_after = row->utilisation_after_ratio;
        put_text(o->text, sizeof(o->text), row->change);
        d->chosen = o->verdict == PLAN_VERDICT_CHOSEN ? d->option_count - 1 : d->chosen;
    }
}

static void inputs_back(struct decision *d, const struct decision_row *row)
{
    struct decision_inputs *in = &d->inputs;
    struct decision_forecast *f = &d->forecast;
    put_text(in->pipeline, sizeof(in->pipeline), row->pipeline);
    put_text(in->partition, sizeof(in->partition), row->partition);
    put_text(in->lane, sizeof(in->lane), row->lane);
    in->rate_per_s = row->rate_per_second;
    in->cost_s = row->cost_seconds;
    in->read_ratio = row->read_ratio;
    in->demand = row->demand_lanes;
    in->utilisation = row->utilisation_ratio;
    in->lag_s = row->lag_seconds;
    in->slope_per_min = row->slope_per_minute;
    in->lanes = (int32_t)row->lanes;
    in->nodes = (int32_t)row->nodes;
    in->partitions = (int32_t)row->partitions;
    in->symptoms = (uint32_t)row->symptoms & LEDGER_SYMPTOM_MAX;
    f->there = row->forecast;
    f->horizon_s = row->horizon_seconds;
    f->demand = row->forecast_lanes;
    f->demand_high = row->forecast_high_lanes;
    f->quantile = row->quantile;
    f->error = row->forecast_error_ratio;
    f->passes_s = row->passes_seconds;
}

static void outcome_back(struct decision *d, const struct decision_row *row)
{
    d->outcome = (struct decision_outcome){.cost_new = row->cost_new,
                                           .cost_old = row->cost_old,
                                           .benefit = row->benefit,
                                           .predicted = row->benefit_predicted,
                                           .pause_s = row->pause_seconds,
                                           .work_ratio = row->work_ratio,
                                           .arrivals_ratio = row->arrivals_ratio,
                                           .freed_lanes = row->freed_lanes,
                                           .freed_predicted = row->freed_predicted_lanes,
                                           .layout_failed = row->layout_failed,
                                           .forecast_failed = row->forecast_failed};
}

static struct plan_step *steps_back(const struct ledger *ledger, int64_t id, int32_t *ret_count)
{
    struct plan_step *steps = MEM_NEW_ARRAY(struct plan_step, ledger->step_count);
    int32_t count = 0;
    for (int32_t i = 0; i < ledger->step_count && ledger->steps[i].decision == id; i++) {
        const struct step_row *row = &ledger->steps[i];
        steps[count++] = (struct plan_step){
            .kind = (enum plan_step_kind)word_of(row->kind, step_word, PLAN_STEP_KIND_COUNT),
            .shard = row->shard,
            .group_lo = (uint32_t)row->group_lo,
            .group_hi = (uint32_t)row->group_hi,
            .border = (uint32_t)row->border,
            .from = (int32_t)row->lane_from,
            .to = (int32_t)row->lane_to,
            .node = (int32_t)row->node,
            .part = -1,
            .lower = row->lower,
            .moved_bytes = row->moved_bytes};
    }
    *ret_count = count;
    return steps;
}

static void take_decision(struct control *control, struct ledger *ledger,
                          const struct decision_row *row)
{
    struct decision *d = MEM_NEW(struct decision);
    int64_t time_ms = 0, changed_ms = 0;
    int32_t step_count = 0;
    char signature[17];
    (void)control;
    d->id = row->id;
    d->parent = row->parent;
    d->cause = (enum decision_cause)word_of(row->cause, cause_word, DECISION_CAUSE_COUNT);
    d->state = (enum decision_state)word_of(row->state, state_word, DECISION_STATE_COUNT);
    d->limit = (enum load_limit)word_of(row->limit, limit_word, (int)COUNT_OF(limits));
    put_text(d->who, sizeof(d->who), row->who);
    put_text(d->answer, sizeof(d->answer), row->answer);
    put_text(d->reason, sizeof(d->reason), row->reason);
    put_text(d->setting, sizeof(d->setting), row->setting);
    put_text(d->setting_back, sizeof(d->setting_back), row->setting_back);
    put_text(signature, sizeof(signature), row->signature);
    d->signature = strtoull(signature, NULL, 16); /* no number: 0, none */
    inputs_back(d, row);
    outcome_back(d, row);
    options_back(d, ledger);
    struct plan_step *steps = steps_back(ledger, row->id, &step_count);
    bool timed =
        time_parse_rfc3339(row->time, &time_ms) && time_parse_rfc3339(row->changed, &changed_ms);
    struct ledger_entry *entry =
        timed && d->id > 0 ? ledger_put(ledger, d, steps, step_count, changed_ms) : NULL;
    if (entry != NULL) {
        entry->time_ms = time_ms;
        entry->complete = true;
    } else {
        ledger->unreadable++;
    }
    mem_free(steps);
    mem_free(d);
}

void ledger_take(struct control *control, struct str value)
{
    struct ledger *ledger = control->ledger;
    struct control_rows rows;
    if (rows_read(value, &ledger->arena, &rows) != ERR_OK) {
        ledger->unreadable++;
        return;
    }
    if (rows.entity == &option_entity) {
        ledger->options = rows.rows;
        ledger->option_count = rows.count;
    } else if (rows.entity == &step_entity) {
        ledger->steps = rows.rows;
        ledger->step_count = rows.count;
    } else if (rows.entity == &mode_entity && rows.count == 1) {
        modes_take(&ledger->modes, rows.rows);
    } else if (rows.entity == &decision_entity && rows.count == 1) {
        take_decision(control, ledger, rows.rows);
        ledger->options = NULL;
        ledger->steps = NULL;
        ledger->option_count = ledger->step_count = 0;
        arena_reset(&ledger->arena);
    }
}
