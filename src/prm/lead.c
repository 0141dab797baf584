// SPDX-License-Identifier: Apache-2.0
#include "prm/lead.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* What is so many steps old counts a third. */
#define MEMORY_STEPS 2000.0

/* Forecasts that must have come due before the leader counts, and by how much it must be better than nothing. */
enum { JUDGED_LEAST = 30 };
#define BETTER 0.9

struct lead *lead_new(struct arena *arena, int32_t lag)
{
    CHECK(lag >= 1 && lag <= LEAD_LAG_MAX);
    struct lead *lead = ARENA_NEW(arena, struct lead);
    lead->lag = lag;
    lead->leader = ARENA_NEW_ARRAY(arena, double, 2 * (ptrdiff_t)lag + 1);
    lead->follower = ARENA_NEW_ARRAY(arena, double, 2 * (ptrdiff_t)lag + 1);
    lead->made = ARENA_NEW_ARRAY(arena, double, lag);
    lead->residual = ARENA_NEW_ARRAY(arena, double, LEAD_RESIDUALS);
    return lead;
}

static double ago(const struct lead *lead, const double *ring, int64_t steps)
{
    return ring[(lead->seen - 1 - steps) % (2 * (int64_t)lead->lag + 1)];
}

/* What was forecast of this step, and what the leader had gained before it. */
static void learn(struct lead *lead, double follower)
{
    double keep = 1 - 1 / MEMORY_STEPS;
    int64_t lag = lead->lag;
    if (lead->seen > 2 * lag) {
        double x = ago(lead, lead->leader, lag) - ago(lead, lead->leader, 2 * lag);
        double y = follower - ago(lead, lead->follower, lag);
        double off = follower - lead->made[lead->seen % lag];
        lead->xx = keep * lead->xx + x * x;
        lead->xy = keep * lead->xy + x * y;
        lead->error = keep * lead->error + (1 - keep) * fabs(off);
        lead->error_naive = keep * lead->error_naive + (1 - keep) * fabs(y);
        int64_t every = lag / 8 + 1;
        lead->residual[lead->judged++ / every % LEAD_RESIDUALS] = off;
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double residual_at(const struct lead *lead, double quantile)
{
    double sorted[LEAD_RESIDUALS];
    int64_t count = (lead->judged - 1) / (lead->lag / 8 + 1) + 1;
    count = count < LEAD_RESIDUALS ? count : LEAD_RESIDUALS;
    memcpy(sorted, lead->residual, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, compare_doubles);
    int64_t at = (int64_t)ceil(quantile * (double)(count + 1)) - 1; /* conformal */
    return sorted[at < count ? (at < 0 ? 0 : at) : count - 1];
}

/* What was forecast of the steps to come, the last one now. */
static void find_top(const struct lead *lead, double follower, double above,
                     struct lead_forecast *forecast)
{
    int64_t lag = lead->lag, known = lead->seen - lag < lag ? lead->seen - lag : lag;
    forecast->top = forecast->high;
    forecast->top_steps = lead->lag;
    for (int64_t k = lag - known + 1; k < lag; k++) {
        forecast->top = fmax(forecast->top, lead->made[(lead->seen + k) % lag] + above);
    }
    double near = forecast->top - LEAD_TOP_NEAR * fmax(0, forecast->top - follower);
    for (int64_t k = lag - 1; k > lag - known; k--) {
        bool there = lead->made[(lead->seen + k) % lag] + above >= near;
        forecast->top_steps = there ? (int32_t)k : forecast->top_steps;
    }
}

struct lead_forecast lead_step(struct lead *lead, double leader, double follower, double quantile)
{
    struct lead_forecast forecast = {
        .error = NAN, .value = follower, .high = follower, .top = follower, .top_steps = lead->lag};
    int64_t lag = lead->lag;
    if (!isfinite(leader) || !isfinite(follower)) {
        lead->seen = 0; /* the slope and the errors stay */
        return forecast;
    }
    int64_t at = lead->seen++ % (2 * lag + 1);
    lead->leader[at] = leader;
    lead->follower[at] = follower;
    learn(lead, follower);
    if (lead->seen <= lag) {
        return forecast;
    }
    double slope = lead->xx > 0 ? lead->xy / lead->xx : 0;
    forecast.value = follower + slope * (leader - ago(lead, lead->leader, lag));
    lead->made[lead->seen % lag] = forecast.value;
    if (lead->judged >= JUDGED_LEAST && lead->error_naive > 0) {
        forecast.error = lead->error / lead->error_naive;
        forecast.usable = forecast.error < BETTER;
        double above = residual_at(lead, quantile);
        forecast.high = forecast.value + above;
        find_top(lead, follower, above, &forecast);
    }
    return forecast;
}
