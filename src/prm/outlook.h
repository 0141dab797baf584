// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_OUTLOOK_H
#define PRM_OUTLOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

/* What the next seconds to minutes may bring, as sample paths: demand in lanes, sampled at equal steps, in; a set of
 * equally likely paths over a window out.
 *
 *   centre   per lead, a ridge regression kept as normal equations that forget (days), solved now and then: last slopes
 *            over 10 s to 10 min, distance from the last means, what the same time yesterday, last week and on an average
 *            day brought. All in units of a running scale, so that a busy hour does not drown a quiet one; residuals
 *            beyond four scales weigh less (Huber 1964).
 *   paths    the centre plus the residual paths of earlier windows, scaled to now: whole paths, so leads stay dependent
 *            (a block bootstrap). No distribution is assumed; what never happened within memory is not foreseen.
 *
 * A sample that is not finite is a gap: the last one stands in, and the window after it is not learned from.
 * Pure: memory from the arena at init, then none. One thread. */

enum {
    OUTLOOK_LEADS_MAX = 8,
    OUTLOOK_PATHS_MAX = 768, /* residual paths remembered */
    OUTLOOK_FEATURES = 12,
    OUTLOOK_STEPS_MAX = 512, /* longest window, in steps */
};

struct outlook;

/* What a policy sees. load[lead * stride + path] in lanes, >= 0; peak[path] = the path's highest load. Valid until the
 * next step. path_count 0: too little is known, no forecast. */
struct outlook_view {
    int lead_count, path_count, stride;
    double
        lead_s[OUTLOOK_LEADS_MAX]; /* seconds from now, ascending; the last is the window's end */
    const double *load;
    const double *peak;
    double peak_max;
};

/*   step_s     seconds between samples, > 0; a day is a whole number of steps
 *   window_s   what is looked ahead, step_s .. OUTLOOK_STEPS_MAX steps */
struct outlook *outlook_new(struct arena *arena, double step_s, double window_s);

/* Takes the demand of the step that has just ended and writes what may follow. Cost: O(leads x features^2 + paths x leads). */
void outlook_step(struct outlook *outlook, double demand, struct outlook_view *ret_view);

/* Mean absolute error of the window's end, over that of "stays as it is", of matured forecasts (forgetting, days); 1
 * where nothing matured. Above 1 the forecast is worse than none. */
double outlook_error(const struct outlook *outlook);

#endif
