// SPDX-License-Identifier: Apache-2.0
#include "control/tuner.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "control/manager_priv.h"
#include "control/shadows_priv.h"

enum { TUNER_ARENA_MAX = 256 << 20 };

/* A setting has to save so much of the work of a record. */
static const double least_gain = 0.03;

/* A shadow tells no interval on fewer stretches of its input; how many more there were it does not tell. */
static const int32_t stretches_least = 8;

static const int64_t useless_ns = 86400 * INT64_C(1000000000);
#define GIVE_UP_S 120.0 /* of the load's time: refused for so long, a cast is not to be had */

bool tuner_follows(enum tuner_state from, enum tuner_state to)
{
#define TO(state) (1u << TUNER_##state)
    static const uint32_t table[TUNER_STATE_COUNT] = {[TUNER_IDLE] = TO(TRYING),
                                                      [TUNER_TRYING] = TO(WAITING) | TO(IDLE),
                                                      [TUNER_WAITING] = TO(TRYING)};
#undef TO
    return (table[from] & 1u << to) != 0;
}

static void enter(struct tuner *tuner, enum tuner_state state)
{
    CHECK_MSG(tuner_follows(tuner->state, state), "tuner: %d to %d", (int)tuner->state, (int)state);
    tuner->state = state;
}

void tuner_init(struct tuner *tuner)
{
    arena_init(&tuner->arena, TUNER_ARENA_MAX);
}

void tuner_release(struct tuner *tuner)
{
    arena_release(&tuner->arena);
}

/* --- what there is to try --- */

static uint64_t stage_hash(const struct stage_plan *plan)
{
    uint64_t words[2] = {hash64(plan->pipeline.ptr, plan->pipeline.len),
                         hash64(plan->name.ptr, plan->name.len)};
    return hash64(words, (ptrdiff_t)sizeof(words));
}

/* Useless ones of this stage, as tune_trials() knows settings. */
static int32_t useless_of(const struct tuner *tuner, uint64_t stage, int64_t now_ns,
                          uint64_t ret_list[TUNER_USELESS_MAX])
{
    int32_t count = 0;
    for (int32_t i = 0; i < TUNER_USELESS_MAX; i++) {
        if (tuner->useless[i].until_ns > now_ns) {
            ret_list[count++] = tuner->useless[i].signature ^ stage;
        }
    }
    return count;
}

/* Share of the chain's CPU that an operator has had in the shadow; NaN: it is not in the profile. */
static double share_of(const json_t *profile, struct str name)
{
    const json_t *operators = json_object_get(profile, "operators");
    for (size_t i = 0; i < json_array_size(operators); i++) {
        const json_t *row = json_array_get(operators, i);
        const char *own = json_string_value(json_object_get(row, "name"));
        const json_t *share = json_object_get(row, "share_ratio");
        if (own != NULL && str_is(name, own)) {
            return json_is_number(share) ? json_number_value(share) : (double)NAN;
        }
    }
    return (double)NAN;
}

static int32_t knobs_of(const struct stage_plan *plan, const json_t *profile,
                        struct tune_knob ret_knobs[TUNE_KNOBS_MAX])
{
    int32_t count = 0;
    for (int32_t o = 0; o < plan->operator_count; o++) {
        const struct operator_plan *op = plan->operators[o];
        double share = share_of(profile, op->name);
        for (int k = 0; k < op->knob_count && count < TUNE_KNOBS_MAX && share > 0; k++) {
            const struct knob *knob = &op->knobs[k];
            ret_knobs[count++] = (struct tune_knob){.operator_name = op->name,
                                                    .name = knob->name,
                                                    .kind = TUNE_NUMBER,
                                                    .value = (double)knob->value,
                                                    .min = (double)knob->min,
                                                    .max = (double)knob->max,
                                                    .usual = (double)knob->usual,
                                                    .operator_share = share,
                                                    .hint = (double)NAN};
        }
    }
    return count;
}

static const struct operator_plan *operator_named(const struct stage_plan *plan, struct str name)
{
    for (int32_t o = 0; o < plan->operator_count; o++) {
        if (str_equal(plan->operators[o]->name, name)) {
            return plan->operators[o];
        }
    }
    return NULL;
}

/* "l.cache=4096"; the knobs of a plug-in stand among its settings. */
static void write_setting(const struct stage_plan *plan, const struct tune_knob *knob, double value,
                          char to[TUNER_SETTING_MAX])
{
    const struct operator_plan *op = operator_named(plan, knob->operator_name);
    bool plugin = op != NULL && strcmp(op->type->name, "plugin") == 0;
    IGNORE_RESULT(snprintf(to, TUNER_SETTING_MAX, "%.*s.%s%.*s=%.0f", STR_ARG(knob->operator_name),
                           plugin ? "settings." : "", STR_ARG(knob->name), value)); /* fits */
}

static int32_t find_trials(struct control *control, struct tuner *tuner, const json_t *profile)
{
    struct tune_knob knobs[TUNE_KNOBS_MAX];
    struct tune_trial found[TUNER_TRIALS_MAX];
    uint64_t useless[TUNER_USELESS_MAX];
    uint64_t stage = stage_hash(tuner->plan);
    int32_t useless_count = useless_of(tuner, stage, core_now_ns(control), useless);
    int32_t knob_count = knobs_of(tuner->plan, profile, knobs);
    int32_t count = tune_trials(knobs, knob_count, useless, useless_count, found, TUNER_TRIALS_MAX);
    for (int32_t i = 0; i < count; i++) {
        const struct tune_knob *knob = &knobs[found[i].knob];
        struct tuner_trial *trial = &tuner->trials[i];
        trial->knob = found[i].knob;
        trial->attempts = 0;
        trial->signature = tune_signature(knob, found[i].value) ^ stage;
        write_setting(tuner->plan, knob, found[i].value, trial->setting);
    }
    return count;
}

/* --- which shadow begins a round --- */

/* The partition of a shadow, if it is still there. */
static bool find_partition(const struct control *control, const struct shadow_entry *entry,
                           struct tuner *tuner)
{
    struct str pipeline, stage;
    uint32_t shard, lo, hi;
    if (!partition_id_parse(str_of(entry->partition), &pipeline, &stage, &shard, &lo, &hi)) {
        return false;
    }
    for (int32_t s = 0; s < node_runtime_stage_count(control->runtime); s++) {
        const struct stage_plan *plan = node_runtime_stage(control->runtime, s)->plan;
        const struct partition_map *map = node_runtime_map(control->runtime, s);
        if (!str_equal(plan->pipeline, pipeline) || !str_equal(plan->name, stage)) {
            continue;
        }
        const struct partition_place *place = &map->places[partition_map_find(map, shard, lo)];
        tuner->stage = s;
        tuner->plan = plan;
        tuner->place = *place;
        return place->group_lo == lo && place->group_hi == hi;
    }
    return false;
}

static bool is_answer(const struct shadow_entry *entry)
{
    return !entry->order.candidate && entry->run == NULL && entry->profile != NULL &&
           entry->order.cause != LIFE_CAUSE_PERSON &&
           (entry->life.outcome == LIFE_END_ANSWERED || entry->life.outcome == LIFE_END_DURATION);
}

static void begin_round(struct control *control, struct tuner *tuner,
                        const struct shadow_entry *entry)
{
    int32_t pipeline = config_pipeline_index(control->config, str_of(entry->pipeline));
    if (pipeline < 0 || control->manager->modes[pipeline] == CONFIG_OBSERVE ||
        !find_partition(control, entry, tuner)) {
        return;
    }
    json_t *profile = json_loads(entry->profile, 0, NULL);
    tuner->trial_count = find_trials(control, tuner, profile);
    json_decref(profile);
    if (tuner->trial_count == 0) {
        return;
    }
    tuner->at = 0;
    tuner->give_up_ns = control->now_ns + shadow_duration_wall_ns(control, GIVE_UP_S);
    enter(tuner, TUNER_TRYING);
}

static void look_for_answers(struct control *control, struct tuner *tuner)
{
    const struct shadows *shadows = &control->shadows;
    for (int32_t i = 0; i < shadows->count && tuner->state == TUNER_IDLE; i++) {
        const struct shadow_entry *entry = shadows->all[i];
        if (entry->id > tuner->seen && is_answer(entry)) {
            tuner->seen = entry->id;
            begin_round(control, tuner, entry);
        }
    }
}

/* --- a trial --- */

static bool partition_is_same(const struct control *control, const struct tuner *tuner)
{
    const struct partition_map *map = node_runtime_map(control->runtime, tuner->stage);
    const struct partition_place *place =
        &map->places[partition_map_find(map, tuner->place.shard, tuner->place.group_lo)];
    return node_runtime_stage(control->runtime, tuner->stage)->plan == tuner->plan &&
           place->group_lo == tuner->place.group_lo && place->group_hi == tuner->place.group_hi;
}

static struct str place_text(const struct stage_plan *plan, struct arena *arena)
{
    return str_of(arena_printf(arena, "%.*s/%.*s", STR_ARG(plan->pipeline), STR_ARG(plan->name)));
}

static void tell(struct control *control, struct tuner *tuner, const char *state,
                 const char *detail)
{
    struct str place = place_text(tuner->plan, &tuner->arena);
    event_add(control, "tuning", place.ptr, state, 0, detail);
    arena_reset(&tuner->arena);
}

static void remember(struct control *control, struct tuner *tuner, uint64_t signature)
{
    tuner->useless[tuner->useless_next].signature = signature;
    tuner->useless[tuner->useless_next].until_ns = core_now_ns(control) + useless_ns;
    tuner->useless_next = (tuner->useless_next + 1) % TUNER_USELESS_MAX;
}

static void begin_trial(struct control *control, struct tuner *tuner)
{
    const struct tuner_trial *trial = &tuner->trials[tuner->at];
    const struct shadowing *shadowing = shadowing_of(control, tuner->plan->pipeline);
    struct err_info info;
    double duration_s = (double)shadowing->settings.duration_ns * 1e-9 * (1 << trial->attempts);
    struct shadow_order order = {.candidate = true,
                                 .cause = LIFE_CAUSE_MANAGER,
                                 .percent = shadowing->settings.percent,
                                 .duration_ns = shadow_duration_wall_ns(control, duration_s),
                                 .twin = true,
                                 .adaptive = true};
    IGNORE_RESULT(snprintf(order.store, sizeof(order.store), "%s", shadowing->store)); /* fits */
    IGNORE_RESULT(
        snprintf(order.settings, sizeof(order.settings), "%s", trial->setting)); /* fits */
    enum err err =
        shadows_cast(control, tuner->stage, &tuner->place, &order, &tuner->candidate, &info);
    bool later = err == ERR_CONFLICT || err == ERR_LIMIT || err == ERR_BUSY;
    if (err == ERR_OK) {
        enter(tuner, TUNER_WAITING);
    } else if (!later) { /* such a setting cannot be */
        remember(control, tuner, trial->signature);
        tell(control, tuner, "refused", info.text);
        tuner->best[tuner->at++] = (struct tune_result){.verdict = TUNE_REFUSE_WORSE};
    } else if (control->now_ns > tuner->give_up_ns) {
        tell(control, tuner, "given up", info.text);
        tuner->trial_count = tuner->at;
    }
}

static void judge(struct control *control, struct tuner *tuner, const struct shadow_entry *entry)
{
    struct tuner_trial *trial = &tuner->trials[tuner->at];
    struct tune_reading reading = {.value = entry->ratio.value,
                                   .low = entry->ratio.low,
                                   .high = entry->ratio.high,
                                   .stretches = stretches_least,
                                   .compared = entry->compared,
                                   .equal_output = entry->same,
                                   .tried = tuner->trial_count};
    struct tune_result result = tune_judge(&reading, least_gain);
    char text[ERR_TEXT_MAX];
    bool refused = result.verdict == TUNE_REFUSE_OUTPUT || result.verdict == TUNE_REFUSE_USELESS ||
                   result.verdict == TUNE_REFUSE_WORSE;
    if (refused) {
        remember(control, tuner, trial->signature); /* T2 */
    }
    IGNORE_RESULT(
        snprintf(text, sizeof(text),
                 "%.100s: %s; a record costs %.3f (%.3f to %.3f) times as much, candidate "
                 "%" PRId64,
                 trial->setting, tune_verdict_text(result.verdict), result.ratio, result.ratio_low,
                 result.ratio_high, entry->id)); /* cut is fine */
    tell(control, tuner,
         result.verdict == TUNE_PROMOTE ? "better"
         : refused                      ? "refused"
                                        : "undecided",
         text);
    if (result.verdict == TUNE_MORE && ++trial->attempts < TUNER_ATTEMPTS_MAX) {
        return; /* T4 */
    }
    tuner->best[tuner->at++] = result;
}

static void wait_for_candidate(struct control *control, struct tuner *tuner)
{
    const struct shadow_entry *entry = shadows_find(&control->shadows, tuner->candidate);
    if (entry != NULL && entry->run != NULL) {
        return;
    }
    tuner->candidate = 0;
    tuner->give_up_ns = control->now_ns + shadow_duration_wall_ns(control, GIVE_UP_S);
    if (entry != NULL) {
        judge(control, tuner, entry);
    } else {
        tuner->best[tuner->at++] = (struct tune_result){.verdict = TUNE_MORE};
    }
    enter(tuner, TUNER_TRYING);
}

/* --- the end of a round --- */

/* Of two good values of one knob the better one. */
static bool is_best(const struct tuner *tuner, int32_t trial)
{
    for (int32_t i = 0; i < tuner->at; i++) {
        if (i != trial && tuner->trials[i].knob == tuner->trials[trial].knob &&
            tuner->best[i].verdict == TUNE_PROMOTE &&
            tuner->best[i].ratio_high < tuner->best[trial].ratio_high) {
            return false;
        }
    }
    return tuner->best[trial].verdict == TUNE_PROMOTE;
}

static void end_round(struct control *control, struct tuner *tuner)
{
    struct plan_tuning tunings[TUNER_TRIALS_MAX];
    struct str place = place_text(tuner->plan, &tuner->arena);
    struct candidate_place of = {config_in_force(control, tuner->plan->pipeline)->text,
                                 tuner->plan->pipeline, tuner->plan->name};
    int32_t count = 0;
    for (int32_t i = 0; i < tuner->at; i++) {
        const struct tuner_trial *trial = &tuner->trials[i];
        struct str back;
        struct err_info info;
        if (!is_best(tuner, i) ||
            candidate_settings_back(&tuner->arena, &of, trial->setting, &back, &info) != ERR_OK) {
            continue;
        }
        const char *text = arena_printf(&tuner->arena, "%.*s: %s", STR_ARG(place), trial->setting);
        const char *undo = arena_printf(&tuner->arena, "%.*s: %.*s", STR_ARG(place), STR_ARG(back));
        tunings[count++] = (struct plan_tuning){
            .pipeline = config_pipeline_index(control->config, tuner->plan->pipeline),
            .text = str_of(text),
            .back = str_of(undo),
            .work_ratio = fmin(1, tuner->best[i].ratio_high),
            .signature = trial->signature};
    }
    if (count > 0) {
        core_event(control, &(struct manager_event){.kind = MANAGER_EVENT_TUNINGS,
                                                    .tunings = {tunings, count}});
    }
    arena_reset(&tuner->arena);
    enter(tuner, TUNER_IDLE);
}

void tuner_step(struct control *control, struct tuner *tuner)
{
    if (!tuner->started) { /* what ended before this process began is of another layout */
        tuner->started = true;
        tuner->seen = control->shadows.last_id;
    }
    if (tuner->state == TUNER_IDLE) {
        look_for_answers(control, tuner);
    }
    if (tuner->state == TUNER_WAITING) {
        wait_for_candidate(control, tuner);
    }
    if (tuner->state != TUNER_TRYING) {
        return;
    }
    if (tuner->at < tuner->trial_count && partition_is_same(control, tuner)) {
        begin_trial(control, tuner);
    } else {
        end_round(control, tuner);
    }
}
