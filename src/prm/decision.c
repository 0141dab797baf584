// SPDX-License-Identifier: Apache-2.0
#include "prm/decision.h"

#include <math.h>

#include "base/names.h"

const char *decision_cause_name(enum decision_cause cause)
{
    static const char *const names[] = {DECISION_CAUSES(NAMES_TEXT)};
    return NAMES_AT(names, cause);
}

const char *decision_cause_text(enum decision_cause cause)
{
    static const char *const texts[] = {DECISION_CAUSES(NAMES_HELP)};
    return NAMES_AT(texts, cause);
}

const char *decision_state_name(enum decision_state state)
{
    static const char *const names[] = {DECISION_STATES(NAMES_TEXT)};
    return NAMES_AT(names, state);
}

bool decision_follows(enum decision_state from, enum decision_state to)
{
    switch (from) {
    case DECISION_STATE_RECOMMENDED:
        return to == DECISION_STATE_APPROVED || to == DECISION_STATE_EXPIRED;
    case DECISION_STATE_APPROVED:
        return to == DECISION_STATE_APPLYING || to == DECISION_STATE_DONE ||
               to == DECISION_STATE_FAILED;
    case DECISION_STATE_APPLYING:
        return to == DECISION_STATE_DONE || to == DECISION_STATE_FAILED;
    case DECISION_STATE_DONE:
        return to == DECISION_STATE_MEASURED || to == DECISION_STATE_EXPIRED;
    case DECISION_STATE_MEASURED:
        return to == DECISION_STATE_ROLLED_BACK;
    case DECISION_STATE_OBSERVED:
    case DECISION_STATE_FAILED:
    case DECISION_STATE_EXPIRED:
    case DECISION_STATE_ROLLED_BACK:
    case DECISION_STATE_COUNT:
        break;
    }
    return false;
}

bool decision_is_final(enum decision_state state)
{
    return state == DECISION_STATE_OBSERVED || state == DECISION_STATE_FAILED ||
           state == DECISION_STATE_EXPIRED || state == DECISION_STATE_MEASURED ||
           state == DECISION_STATE_ROLLED_BACK;
}

static const char *symptom_text(uint32_t symptoms)
{
    if ((symptoms & LOAD_SYMPTOM_ERRORS) != 0) {
        return "records fail";
    }
    return (symptoms & LOAD_SYMPTOM_SINK) != 0 ? "commits stall" : "state is at its memory limit";
}

static const char *seen(const struct decision *d, struct arena *arena)
{
    const struct decision_inputs *in = &d->inputs;
    const char *lag =
        in->lag_s > 0 ? arena_printf(arena, ", its oldest record %.1f s old", in->lag_s) : "";
    return arena_printf(arena, "%s: %.0f records/s ask for %.2f lanes of %d, %s is at %.0f %%%s",
                        in->pipeline, in->rate_per_s, in->demand, in->lanes, in->lane,
                        100 * in->utilisation, lag);
}

static const char *expected(const struct decision *d, struct arena *arena)
{
    const struct decision_forecast *f = &d->forecast;
    if (d->inputs.symptoms != 0) {
        return arena_printf(arena, "the cause is not the load: %s",
                            symptom_text(d->inputs.symptoms));
    }
    if (!f->there) {
        return "no forecast that beats none, so only what is measured counts (reactive)";
    }
    const char *passes = "";
    if (isfinite(f->passes_s)) {
        passes = arena_printf(arena, ", past the threshold in %.0f s", f->passes_s);
    }
    return arena_printf(
        arena,
        "the forecast (error %.2f of the naive one's) says %.2f lanes in %.0f s, %.2f at the "
        "%.0f %% quantile%s",
        f->error, f->demand, f->horizon_s, f->demand_high, 100 * f->quantile, passes);
}

/* The best of those that lost. */
static const struct decision_option *runner_up(const struct decision *d)
{
    const struct decision_option *best = NULL;
    for (int32_t i = 0; i < d->option_count; i++) {
        const struct decision_option *o = &d->options[i];
        if (i != d->chosen && (best == NULL || o->cost < best->cost)) {
            best = o;
        }
    }
    return best;
}

static const char *choice(const struct decision *d, struct arena *arena)
{
    if (d->option_count == 0) {
        return "no option was weighed";
    }
    const struct decision_option *o = &d->options[d->chosen], *other = runner_up(d);
    const char *against = "";
    if (other != NULL) {
        against = arena_printf(arena, "; not \"%s\" (%.0f): %s", other->text, other->cost,
                               plan_verdict_text(other->verdict));
    }
    bool open = d->state == DECISION_STATE_OBSERVED || d->state == DECISION_STATE_RECOMMENDED;
    return arena_printf(arena, "%s \"%s\" at a price of %.0f (%.0f late s)%s",
                        o->kind == PLAN_GIVEN ? "asked for is" : (open ? "best is" : "chosen is"),
                        o->text, o->cost, o->late_seconds, against);
}

static const char *came(const struct decision *d, struct arena *arena)
{
    const struct decision_outcome *o = &d->outcome;
    const char *freed = "";
    if (d->setting[0] != 0) {
        freed = arena_printf(arena, "; the setting freed %.2f lanes, %.2f were predicted",
                             o->freed_lanes, o->freed_predicted);
    }
    switch (d->state) {
    case DECISION_STATE_RECOMMENDED:
        return "recommended; nothing moves until it is applied";
    case DECISION_STATE_APPROVED:
    case DECISION_STATE_APPLYING:
        return arena_printf(arena, "being carried out for %s", d->who);
    case DECISION_STATE_DONE:
        return arena_printf(arena, "done for %s; not measured yet", d->who);
    case DECISION_STATE_FAILED:
    case DECISION_STATE_EXPIRED:
        return arena_printf(arena, "%s: %s", decision_state_name(d->state), d->reason);
    case DECISION_STATE_MEASURED:
    case DECISION_STATE_ROLLED_BACK:
        return arena_printf(
            arena,
            "measured: it cost %.0f where the old layout would have cost %.0f (%.0f was "
            "predicted to be saved, %.0f was)%s%s%s%s",
            o->cost_new, o->cost_old, o->predicted, o->benefit, freed,
            o->forecast_failed ? "; the forecast was wrong" : "",
            o->layout_failed ? "; the layout did not do what was predicted of it" : "",
            d->state == DECISION_STATE_ROLLED_BACK ? "; rolled back" : "");
    case DECISION_STATE_OBSERVED:
    case DECISION_STATE_COUNT:
        break;
    }
    return "nothing is changed";
}

const char *decision_sentence(const struct decision *d, struct arena *arena)
{
    const char *answer = d->answer[0] != 0 ? arena_printf(arena, " %s;", d->answer) : "";
    return arena_printf(arena, "%s (%s); %s;%s %s; %s.", seen(d, arena),
                        decision_cause_text(d->cause), expected(d, arena), answer, choice(d, arena),
                        came(d, arena));
}
