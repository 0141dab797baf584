// SPDX-License-Identifier: Apache-2.0
#include "prm/shadow.h"

#include <math.h>
#include <stddef.h>

#include "base/check.h"
#include "base/names.h"

#define PAUSE_MAX_NS (60 * SHADOW_SECOND_NS)
enum { CALM_LOOKS = 10, MEMORY_PAUSES_MAX = 1 };
#define MEMORY_LOW 0.9
#define CALM_SHARE 0.8

/* --- names --- */

static const char *const state_names[] = {LIFE_STATES(NAMES_TEXT)};
static const char *const outcome_names[] = {LIFE_OUTCOMES(NAMES_TEXT)};
static const char *const outcome_helps[] = {LIFE_OUTCOMES(NAMES_HELP)};
static const char *const event_names[] = {LIFE_EVENTS(NAMES_TEXT)};
static const char *const cause_names[] = {LIFE_CAUSES(NAMES_TEXT)};
static const char *const cause_helps[] = {LIFE_CAUSES(NAMES_HELP)};

const char *life_state_name(enum life_state state)
{
    return NAMES_AT(state_names, state);
}

const char *life_outcome_name(enum life_outcome outcome)
{
    return NAMES_AT(outcome_names, outcome);
}

const char *life_outcome_help(enum life_outcome outcome)
{
    return NAMES_AT(outcome_helps, outcome);
}

const char *life_event_name(enum life_event event)
{
    return NAMES_AT(event_names, event);
}

const char *life_cause_name(enum life_cause cause)
{
    return NAMES_AT(cause_names, cause);
}

const char *life_cause_help(enum life_cause cause)
{
    return NAMES_AT(cause_helps, cause);
}

bool life_state_named(const char *name, enum life_state *ret_state)
{
    ptrdiff_t at = NAMES_FIND(state_names, name);
    if (at >= 0) {
        *ret_state = (enum life_state)at;
    }
    return at >= 0;
}

bool life_outcome_named(const char *name, enum life_outcome *ret_outcome)
{
    ptrdiff_t at = NAMES_FIND(outcome_names, name);
    if (at >= 0) {
        *ret_outcome = (enum life_outcome)at;
    }
    return at >= 0;
}

bool life_cause_named(const char *name, enum life_cause *ret_cause)
{
    ptrdiff_t at = NAMES_FIND(cause_names, name);
    if (at >= 0) {
        *ret_cause = (enum life_cause)at;
    }
    return at >= 0;
}

/* --- settings --- */

struct shadow_settings shadow_settings_default(void)
{
    return (struct shadow_settings){.automatic = true,
                                    .percent = 10,
                                    .threshold = 0.7,
                                    .sustain_ns = 60 * SHADOW_SECOND_NS,
                                    .duration_ns = 600 * SHADOW_SECOND_NS,
                                    .budget_share = 0.05,
                                    .budget_cores = 0.1};
}

enum err shadow_percent_check(double percent, struct err_info *info)
{
    if (!(percent >= SHADOW_PERCENT_MIN && percent <= SHADOW_PERCENT_MAX)) {
        return err_set(info, ERR_INVALID,
                       "a shadow takes %d to %d percent of the partition's records, not %g",
                       SHADOW_PERCENT_MIN, SHADOW_PERCENT_MAX, percent);
    }
    return ERR_OK;
}

enum err shadow_duration_check(int64_t duration_ns, struct err_info *info)
{
    if (duration_ns < SHADOW_DURATION_NS_MIN || duration_ns > SHADOW_DURATION_NS_MAX) {
        return err_set(info, ERR_INVALID, "a shadow lives 10 seconds to 24 hours, not %g seconds",
                       (double)duration_ns / SHADOW_SECOND_NS);
    }
    return ERR_OK;
}

enum err shadow_settings_check(const struct shadow_settings *settings, struct err_info *info)
{
    enum err err = shadow_percent_check(settings->percent, info);
    if (err == ERR_OK) {
        err = shadow_duration_check(settings->duration_ns, info);
    }
    if (err != ERR_OK) {
        return err;
    }
    if (!(settings->threshold >= 0.01 && settings->threshold <= 10)) {
        return err_set(info, ERR_INVALID, "the threshold is a utilisation of 0.01 to 10, not %g",
                       settings->threshold);
    }
    if (settings->sustain_ns < 0 || settings->sustain_ns > SHADOW_DURATION_NS_MAX) {
        return err_set(info, ERR_INVALID,
                       "a threshold is to be passed for 0 seconds to 24 hours, not %g seconds",
                       (double)settings->sustain_ns / SHADOW_SECOND_NS);
    }
    if (!(settings->budget_share >= 0.001 && settings->budget_share <= 1)) {
        return err_set(info, ERR_INVALID,
                       "shadows may use 0.001 to 1 of the pipeline's own CPU, not %g",
                       settings->budget_share);
    }
    if (!(settings->budget_cores >= 0.001 && settings->budget_cores <= 64)) {
        return err_set(info, ERR_INVALID,
                       "what shadows may always use is 0.001 to 64 cores, not %g",
                       settings->budget_cores);
    }
    return ERR_OK;
}

/* --- trigger --- */

void shadow_trigger_init(struct shadow_trigger *trigger)
{
    *trigger = (struct shadow_trigger){.quiet_until_ns = INT64_MIN};
    for (int i = 0; i < LIFE_CAUSE_COUNT; i++) {
        trigger->since_ns[i] = INT64_MAX;
    }
}

bool shadow_trigger_look(struct shadow_trigger *trigger, const struct shadow_settings *settings,
                         const struct shadow_load *load, int64_t now_ns, enum life_cause *ret_cause)
{
    const struct {
        enum life_cause cause;
        double value;
    } all[] = {{LIFE_CAUSE_LANE, load->lane},
               {LIFE_CAUSE_DEMAND, load->demand},
               {LIFE_CAUSE_MEMORY, load->memory},
               {LIFE_CAUSE_IO, load->io},
               {LIFE_CAUSE_FORECAST, load->forecast}};
    bool cast = false;
    for (ptrdiff_t i = 0; i < COUNT_OF(all); i++) {
        enum life_cause cause = all[i].cause;
        int64_t *since_ns = &trigger->since_ns[cause];
        bool first = *since_ns == INT64_MAX;
        if (!(all[i].value > settings->threshold)) { /* also what is not known */
            *since_ns = INT64_MAX;
            continue;
        }
        *since_ns = first ? now_ns : *since_ns;
        bool long_enough =
            cause == LIFE_CAUSE_FORECAST ? !first : now_ns - *since_ns >= settings->sustain_ns;
        if (long_enough && !cast) {
            cast = true;
            *ret_cause = cause;
        }
    }
    return cast && settings->automatic && now_ns >= trigger->quiet_until_ns;
}

void shadow_trigger_rest(struct shadow_trigger *trigger, int64_t now_ns, int64_t quiet_ns)
{
    shadow_trigger_init(trigger);
    trigger->quiet_until_ns = now_ns + quiet_ns;
}

/* --- guard --- */

static void forget_looks(struct shadow_guard *guard)
{
    *guard = (struct shadow_guard){.calm = guard->calm, .memory_low = guard->memory_low};
}

void shadow_guard_look(struct shadow_guard *guard, const struct live_look *look)
{
    CHECK(look->bound_ns > 0 && look->late >= 0 && look->late <= look->records);
    bool over = look->age_ns > look->bound_ns;
    guard->over[1] = guard->over[1] << 1 | guard->over[0] >> 63;
    guard->over[0] = guard->over[0] << 1 | (over ? 1 : 0);
    guard->record_sum += look->records - guard->records[guard->at];
    guard->late_sum += look->late - guard->late[guard->at];
    guard->records[guard->at] = look->records;
    guard->late[guard->at] = look->late;
    guard->at = (guard->at + 1) % SHADOW_GUARD_LOOKS;
    guard->memory_low = look->memory > MEMORY_LOW;
    bool calm = (double)look->age_ns <= CALM_SHARE * (double)look->bound_ns && look->late == 0 &&
                !guard->memory_low;
    guard->calm = !calm ? 0 : guard->calm < CALM_LOOKS ? guard->calm + 1 : CALM_LOOKS;
    if (guard->calm == CALM_LOOKS) { /* what was before has been answered by a pause */
        forget_looks(guard);
    }
}

bool shadow_guard_pressed(const struct shadow_guard *guard)
{
    int over = __builtin_popcountll(guard->over[0]) + __builtin_popcountll(guard->over[1]);
    return over * 100 > SHADOW_GUARD_LOOKS || guard->late_sum * 100 > guard->record_sum ||
           guard->memory_low;
}

bool shadow_guard_calm(const struct shadow_guard *guard)
{
    return guard->calm >= CALM_LOOKS;
}

/* --- one shadow --- */

struct transition {
    enum life_state from, to;
    enum life_event event;
    enum life_action action;
    enum life_outcome outcome; /* NONE: as it was, or as node says */
};

/* The machine. What a pause and its end do is in life_tick: they come from time, not from an event. */
static const struct transition transitions[] = {
    {LIFE_WANTED, LIFE_OPENING, LIFE_EVENT_BEGIN, LIFE_DO_OPEN, LIFE_END_NONE},
    {LIFE_WANTED, LIFE_ENDED, LIFE_EVENT_REFUSED, LIFE_DO_NOTHING, LIFE_END_REFUSED},
    {LIFE_WANTED, LIFE_ENDED, LIFE_EVENT_STOP, LIFE_DO_NOTHING, LIFE_END_REQUEST},
    {LIFE_WANTED, LIFE_ENDED, LIFE_EVENT_LAYOUT, LIFE_DO_NOTHING, LIFE_END_LAYOUT_CHANGED},
    {LIFE_OPENING, LIFE_WARMING, LIFE_EVENT_OPENED, LIFE_DO_NOTHING, LIFE_END_NONE},
    {LIFE_OPENING, LIFE_ENDED, LIFE_EVENT_FAILED, LIFE_DO_NOTHING, LIFE_END_FAILED},
    {LIFE_OPENING, LIFE_OPENING, LIFE_EVENT_STOP, LIFE_DO_NOTHING, LIFE_END_REQUEST},
    {LIFE_OPENING, LIFE_OPENING, LIFE_EVENT_LAYOUT, LIFE_DO_NOTHING, LIFE_END_LAYOUT_CHANGED},
    {LIFE_WARMING, LIFE_MEASURING, LIFE_EVENT_WARM, LIFE_DO_NOTHING, LIFE_END_NONE},
    {LIFE_WARMING, LIFE_ENDING, LIFE_EVENT_STOP, LIFE_DO_CLOSE, LIFE_END_REQUEST},
    {LIFE_WARMING, LIFE_ENDING, LIFE_EVENT_LAYOUT, LIFE_DO_CLOSE, LIFE_END_LAYOUT_CHANGED},
    {LIFE_WARMING, LIFE_ENDING, LIFE_EVENT_ANSWERED, LIFE_DO_CLOSE, LIFE_END_ANSWERED},
    {LIFE_WARMING, LIFE_ENDING, LIFE_EVENT_SHORT, LIFE_DO_CLOSE, LIFE_END_RESOURCES},
    {LIFE_WARMING, LIFE_ENDING, LIFE_EVENT_BROKEN, LIFE_DO_CLOSE, LIFE_END_FAILED},
    {LIFE_WARMING, LIFE_ENDED, LIFE_EVENT_LOST, LIFE_DO_NOTHING, LIFE_END_FAILED},
    {LIFE_MEASURING, LIFE_ENDING, LIFE_EVENT_STOP, LIFE_DO_CLOSE, LIFE_END_REQUEST},
    {LIFE_MEASURING, LIFE_ENDING, LIFE_EVENT_LAYOUT, LIFE_DO_CLOSE, LIFE_END_LAYOUT_CHANGED},
    {LIFE_MEASURING, LIFE_ENDING, LIFE_EVENT_ANSWERED, LIFE_DO_CLOSE, LIFE_END_ANSWERED},
    {LIFE_MEASURING, LIFE_ENDING, LIFE_EVENT_SHORT, LIFE_DO_CLOSE, LIFE_END_RESOURCES},
    {LIFE_MEASURING, LIFE_ENDING, LIFE_EVENT_BROKEN, LIFE_DO_CLOSE, LIFE_END_FAILED},
    {LIFE_MEASURING, LIFE_ENDED, LIFE_EVENT_LOST, LIFE_DO_NOTHING, LIFE_END_FAILED},
    {LIFE_PAUSED, LIFE_ENDING, LIFE_EVENT_STOP, LIFE_DO_CLOSE, LIFE_END_REQUEST},
    {LIFE_PAUSED, LIFE_ENDING, LIFE_EVENT_LAYOUT, LIFE_DO_CLOSE, LIFE_END_LAYOUT_CHANGED},
    {LIFE_PAUSED, LIFE_ENDING, LIFE_EVENT_ANSWERED, LIFE_DO_CLOSE, LIFE_END_ANSWERED},
    {LIFE_PAUSED, LIFE_ENDING, LIFE_EVENT_SHORT, LIFE_DO_CLOSE, LIFE_END_RESOURCES},
    {LIFE_PAUSED, LIFE_ENDING, LIFE_EVENT_BROKEN, LIFE_DO_CLOSE, LIFE_END_FAILED},
    {LIFE_PAUSED, LIFE_ENDED, LIFE_EVENT_LOST, LIFE_DO_NOTHING, LIFE_END_FAILED},
    {LIFE_ENDING, LIFE_ENDED, LIFE_EVENT_CLOSED, LIFE_DO_NOTHING, LIFE_END_NONE},
    {LIFE_ENDING, LIFE_ENDED, LIFE_EVENT_LOST, LIFE_DO_NOTHING, LIFE_END_NONE},
    {LIFE_WANTED, LIFE_ENDED, LIFE_EVENT_RESTART, LIFE_DO_NOTHING, LIFE_END_RESTART},
    {LIFE_OPENING, LIFE_ENDED, LIFE_EVENT_RESTART, LIFE_DO_NOTHING, LIFE_END_RESTART},
    {LIFE_WARMING, LIFE_ENDED, LIFE_EVENT_RESTART, LIFE_DO_NOTHING, LIFE_END_RESTART},
    {LIFE_MEASURING, LIFE_ENDED, LIFE_EVENT_RESTART, LIFE_DO_NOTHING, LIFE_END_RESTART},
    {LIFE_PAUSED, LIFE_ENDED, LIFE_EVENT_RESTART, LIFE_DO_NOTHING, LIFE_END_RESTART},
    {LIFE_ENDING, LIFE_ENDED, LIFE_EVENT_RESTART, LIFE_DO_NOTHING, LIFE_END_RESTART},
};

void life_init(struct shadow_life *shadow, int64_t duration_ns)
{
    CHECK(duration_ns > 0);
    *shadow = (struct shadow_life){
        .state = LIFE_WANTED, .duration_ns = duration_ns, .pause_max_ns = PAUSE_MAX_NS};
}

static const struct transition *find(const struct shadow_life *shadow, enum life_event event)
{
    for (ptrdiff_t i = 0; i < COUNT_OF(transitions); i++) {
        if (transitions[i].from == shadow->state && transitions[i].event == event) {
            return &transitions[i];
        }
    }
    return NULL;
}

static bool is_open(const struct shadow_life *shadow)
{
    return shadow->state == LIFE_WARMING || shadow->state == LIFE_MEASURING ||
           shadow->state == LIFE_PAUSED;
}

void life_check_state(const struct shadow_life *shadow)
{
    bool ended = shadow->state == LIFE_ENDED;
    CHECK((unsigned)shadow->state < LIFE_STATE_COUNT);
    CHECK(ended == (shadow->ended_ns != 0));                     /* S1 */
    CHECK(!ended || shadow->outcome != LIFE_END_NONE);           /* S1 */
    CHECK(!is_open(shadow) || shadow->opened_ns != 0);           /* S3 */
    CHECK(!is_open(shadow) || shadow->outcome == LIFE_END_NONE); /* S5 */
    CHECK(shadow->state != LIFE_ENDING || shadow->outcome != LIFE_END_NONE);
    CHECK((shadow->state == LIFE_PAUSED) == (shadow->paused_ns != 0)); /* S4 */
    CHECK(!shadow->partial || ended);                                  /* S6 */
}

static void enter(struct shadow_life *shadow, enum life_state state, int64_t now_ns)
{
    if (shadow->state == LIFE_PAUSED) {
        shadow->pauses_ns += now_ns - shadow->paused_ns;
        shadow->paused_ns = 0;
    }
    shadow->state = state;
    if (state == LIFE_ENDED) {
        shadow->ended_ns = now_ns != 0 ? now_ns : 1;
        shadow->partial =
            shadow->outcome != LIFE_END_ANSWERED && shadow->outcome != LIFE_END_DURATION;
    }
}

static void note_outcome(struct shadow_life *shadow, enum life_outcome outcome)
{
    if (shadow->outcome == LIFE_END_NONE) {
        shadow->outcome = outcome; /* S5 */
    }
}

bool life_takes(const struct shadow_life *shadow, enum life_event event)
{
    return find(shadow, event) != NULL;
}

enum life_action life_take(struct shadow_life *shadow, enum life_event event, int64_t now_ns)
{
    life_check_state(shadow);
    const struct transition *transition = find(shadow, event);
    if (transition == NULL) {
        return LIFE_DO_NOTHING;
    }
    enum life_action action = transition->action;
    if (transition->outcome != LIFE_END_NONE) {
        note_outcome(shadow, transition->outcome);
    }
    enter(shadow, transition->to, now_ns);
    if (event == LIFE_EVENT_OPENED) {
        shadow->opened_ns = now_ns != 0 ? now_ns : 1;
        if (shadow->outcome != LIFE_END_NONE) { /* it was asked to end meanwhile */
            enter(shadow, LIFE_ENDING, now_ns);
            action = LIFE_DO_CLOSE;
        }
    }
    life_check_state(shadow);
    return action;
}

int64_t life_due_ns(const struct shadow_life *shadow)
{
    return is_open(shadow) ? shadow->opened_ns + shadow->duration_ns : INT64_MAX;
}

static enum life_action end(struct shadow_life *shadow, enum life_outcome outcome, int64_t now_ns)
{
    note_outcome(shadow, outcome);
    enter(shadow, LIFE_ENDING, now_ns);
    return LIFE_DO_CLOSE;
}

static enum life_action pause_or_end(struct shadow_life *shadow, const struct shadow_guard *guard,
                                     int64_t now_ns)
{
    shadow->memory_pauses += guard->memory_low;
    if (shadow->memory_pauses > MEMORY_PAUSES_MAX) {
        return end(shadow, LIFE_END_RESOURCES, now_ns);
    }
    shadow->paused_from = shadow->state;
    enter(shadow, LIFE_PAUSED, now_ns);
    shadow->paused_ns = now_ns != 0 ? now_ns : 1;
    return LIFE_DO_PAUSE;
}

enum life_action life_tick(struct shadow_life *shadow, const struct shadow_guard *guard,
                           int64_t now_ns)
{
    enum life_action action = LIFE_DO_NOTHING;
    life_check_state(shadow);
    if (!is_open(shadow)) {
        return LIFE_DO_NOTHING;
    }
    if (now_ns >= life_due_ns(shadow)) {
        action = end(shadow, LIFE_END_DURATION, now_ns);
    } else if (shadow->state == LIFE_PAUSED) {
        if (now_ns - shadow->paused_ns >= shadow->pause_max_ns) {
            action = end(shadow, LIFE_END_RESOURCES, now_ns);
        } else if (shadow_guard_calm(guard)) {
            enter(shadow, shadow->paused_from, now_ns);
            action = LIFE_DO_RESUME;
        }
    } else if (shadow_guard_pressed(guard)) {
        action = pause_or_end(shadow, guard, now_ns);
    }
    life_check_state(shadow);
    return action;
}

/* --- budget --- */

double shadow_budget_cores(const struct shadow_settings *settings, double pipeline_cores)
{
    double share = settings->budget_share * (pipeline_cores > 0 ? pipeline_cores : 0);
    return share > settings->budget_cores ? share : settings->budget_cores;
}

enum err shadow_budget_admit(const struct shadow_settings *settings, double pipeline_cores,
                             int32_t running, double *ret_share_cores, struct err_info *info)
{
    double budget = shadow_budget_cores(settings, pipeline_cores);
    double share = budget / (running + 1);
    if (share < SHADOW_SHARE_MIN_CORES) {
        return err_set(
            info, ERR_LIMIT,
            "over budget: shadows of this pipeline may use %.3f cores together and %d run: "
            "%.3f for one more is less than %.2f; stop one, or raise the budget",
            budget, running, share, SHADOW_SHARE_MIN_CORES);
    }
    *ret_share_cores = share;
    return ERR_OK;
}
