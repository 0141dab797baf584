// SPDX-License-Identifier: Apache-2.0
/* Forecasts that the shell brings: of hours by the models, or what a leader's rise says of its follower. Such a one is a height
 * that is reached at its horizon; plans are made for it as for the core's own. */
#include <math.h>
#include <string.h>

#include "prm/manager_priv.h"

bool manager_hours(const struct manager *m, int32_t pipeline, double *ret_left_s)
{
    const struct pipe *pipe = &m->pipes[pipeline];
    double age_s = (double)(m->now_ns - pipe->hours_at_ns) * 1e-9;
    *ret_left_s = pipe->hours_horizon_s - age_s;
    return m->options.forecasts && pipe->hours_usable && pipe->hours_error < 1 && *ret_left_s > 0 &&
           pipe->rate > 0;
}

/* In a straight line from now to the height. */
static double height_at(const struct pipe *pipe, double left_s, double lead_s)
{
    double share = lead_s < left_s ? lead_s / left_s : 1;
    return pipe->rate + (pipe->hours_high - pipe->rate) * share;
}

/* Leads and paths as all outlooks have them, so that pipelines are priced together; none yet: one path over `window_s`. */
static struct outlook_view frame_of(const struct manager *m, double window_s)
{
    for (int32_t c = 0; c < m->load.pipeline_count; c++) {
        if (m->pipes[c].near.path_count > 0) {
            return m->pipes[c].near;
        }
    }
    return (struct outlook_view){
        .lead_count = 2, .path_count = 1, .stride = 1, .lead_s = {window_s / 2, window_s}};
}

const struct outlook_view *manager_planned(const struct manager *m, int32_t pipeline)
{
    const struct pipe *pipe = &m->pipes[pipeline];
    const struct outlook_view *own = manager_trusts(m, pipeline) ? &pipe->near : NULL;
    double left_s = 0;
    if (!manager_hours(m, pipeline, &left_s) || !(pipe->hours_high > pipe->rate)) {
        return own;
    }
    const struct manager_options *o = &m->options;
    struct outlook_view *view = ARENA_NEW(m->scratch, struct outlook_view);
    *view = own != NULL ? *own : frame_of(m, fmax(2 * o->startup_s, 12 * o->interval_s));
    double *load = ARENA_NEW_ARRAY(m->scratch, double, (ptrdiff_t)view->lead_count * view->stride);
    double *peak = ARENA_NEW_ARRAY(m->scratch, double, view->path_count);
    view->peak_max = 0;
    for (int j = 0; j < view->lead_count; j++) {
        double height = height_at(pipe, left_s, view->lead_s[j]);
        for (int k = 0; k < view->path_count; k++) {
            ptrdiff_t at = (ptrdiff_t)j * view->stride + k;
            load[at] = own != NULL ? fmax(own->load[at], height) : height;
            peak[k] = fmax(peak[k], load[at]);
            view->peak_max = fmax(view->peak_max, peak[k]);
        }
    }
    view->load = load;
    view->peak = peak;
    return view;
}
