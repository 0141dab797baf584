// SPDX-License-Identifier: Apache-2.0
/* What the manager goes by: the defaults, and what is allowed. */
#include <math.h>

#include "prm/manager.h"
#include "prm/manager_priv.h"

struct manager_options manager_defaults(void)
{
    return (struct manager_options){.interval_s = 10,
                                    .startup_s = 0,
                                    .threshold = 0.7,
                                    .threshold_now = 0.9,
                                    .sustain_s = 60,
                                    .confirm_s = 600,
                                    .cooldown_s = 60,
                                    .shadow_s = 600,
                                    .profile_age_s = 86400,
                                    .plan_age_s = 900,
                                    .pause_s = 0.1,
                                    .pause_factor = 3,
                                    .work_factor = 1.25,
                                    .failed_s = 86400,
                                    .risk = 1,
                                    .margin = 0.05,
                                    .target = 0.8,
                                    .prices = {.node = 1, .late = 19, .move = 1e-8, .change = 1},
                                    .budget_day = 48,
                                    .nodes_min = 1,
                                    .nodes_max = 1024,
                                    .nodes_step = 4,
                                    .lanes_per_node = 1,
                                    .moves_max = 512,
                                    .splits_max = 64,
                                    .shadows = true,
                                    .forecasts = true};
}

static bool windows_right(const struct manager_options *o)
{
    for (int32_t i = 0; i < o->window_count; i++) {
        const struct manager_window *w = &o->windows[i];
        if (w->begin_s < 0 || w->begin_s >= w->end_s || w->end_s > 604800) {
            return false;
        }
    }
    return isfinite(o->week_at_zero_s);
}

const char *manager_options_wrong(const struct manager_options *o, struct arena *arena)
{
    struct {
        const char *name;
        double value, min, max;
    } ranges[] = {{"interval", o->interval_s, 0.1, 3600},
                  {"start-up", o->startup_s, 0, 3600},
                  {"threshold", o->threshold, 0.01, 1},
                  {"second threshold", o->threshold_now, o->threshold, 1},
                  {"target", o->target, 0.05, o->threshold_now},
                  {"sustained time", o->sustain_s, 0, 86400},
                  {"confirmation", o->confirm_s, 0, 86400},
                  {"cool-down", o->cooldown_s, 0, 86400},
                  {"shadow's duration", o->shadow_s, 10, 86400},
                  {"age of a profile", o->profile_age_s, 0, 1e9},
                  {"age of a plan", o->plan_age_s, 1, 1e9},
                  {"pause", o->pause_s, 0, 3600},
                  {"pause factor", o->pause_factor, 1, 1000},
                  {"work factor", o->work_factor, 1, 1000},
                  {"memory of failures", o->failed_s, 0, 1e9},
                  {"risk", o->risk, 1e-6, 1e6},
                  {"margin", o->margin, 0, 0.99},
                  {"price of a lane-second", o->prices.node, 1e-9, 1e9},
                  {"price of a late second", o->prices.late, 1e-9, 1e9},
                  {"price of a moved byte", o->prices.move, 0, 1e9},
                  {"price of a change", o->prices.change, 0, 1e9},
                  {"changes a day", o->budget_day, 0, 1e6},
                  {"least nodes", o->nodes_min, 1, LOAD_LANES_MAX},
                  {"most nodes", o->nodes_max, o->nodes_min, LOAD_LANES_MAX},
                  {"nodes at once", o->nodes_step, 1, LOAD_LANES_MAX},
                  {"lanes of a node", o->lanes_per_node, 1, LOAD_LANES_MAX},
                  {"moves at once", o->moves_max, 0, 0.5 * PLAN_STEPS_MAX},
                  {"splits at once", o->splits_max, 0, 0.5 * PLAN_STEPS_MAX},
                  {"windows", o->window_count, 0, MANAGER_WINDOWS_MAX}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if (!(ranges[i].value >= ranges[i].min && ranges[i].value <= ranges[i].max)) {
            return arena_printf(arena, "%s is %g; %g to %g is allowed", ranges[i].name,
                                ranges[i].value, ranges[i].min, ranges[i].max);
        }
    }
    double steps = 86400 / o->interval_s;
    if (fabs(steps - round(steps)) > 1e-6) {
        return arena_printf(arena, "a day is no whole number of intervals of %g s", o->interval_s);
    }
    return windows_right(o) ? NULL : "a window does not begin before it ends, within a week";
}
