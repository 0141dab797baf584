// SPDX-License-Identifier: Apache-2.0
#include "prm/outlook.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "forecast/num.h"

enum {
    F = OUTLOOK_FEATURES,
    SOLVE_EVERY = 60, /* steps between solutions of the normal equations */
    PATH_EVERY =
        29,     /* steps between remembered residual paths: no divisor of a usual sampling step */
    BINS = 288, /* of the average day */
    LEARN_FIRST = 1200, /* samples of a lead before its forecast counts */
    PATHS_FIRST = 64,   /* paths before there is a view */
};

#define FORGET (1 - 1.0 / 26000) /* per step: three days at 10 s */
#define RIDGE  3.0

struct lead {
    int steps;
    double gram[F * F], moment[F], theta[F];
    double weight;
};

struct outlook {
    double step_s;
    int64_t count;   /* samples taken */
    int day, week;   /* steps */
    int ring;        /* length of y and sum */
    double *y, *sum; /* samples and their running sum, by count % ring */
    int64_t gap_at;  /* count at the last gap */
    double vol_fast, vol_slow, level, top;
    double bins[BINS], bin_sum;
    int bin_count, bin_at;
    int lead_count, window;
    struct lead leads[OUTLOOK_LEADS_MAX];
    /* the last `window` + 1 origins, by count % (window + 1) */
    double *features; /* [window + 1][leads][F] */
    double *centre;   /* [window + 1][leads], in lanes */
    double *scale;    /* [window + 1] */
    double *origin;   /* [window + 1] */
    double error, error_naive;
    /* residual paths, newest overwrite oldest: [leads][OUTLOOK_PATHS_MAX] */
    double *residual, *load, *peak;
    int path_count, path_at;
};

struct outlook *outlook_new(struct arena *arena, double step_s, double window_s)
{
    struct outlook *o = ARENA_NEW(arena, struct outlook);
    o->step_s = step_s;
    o->window = (int)lround(window_s / step_s);
    CHECK(step_s > 0 && o->window >= 1 && o->window <= OUTLOOK_STEPS_MAX);
    o->day = (int)lround(86400 / step_s);
    o->week = 7 * o->day;
    o->ring = o->week + OUTLOOK_STEPS_MAX;
    o->y = ARENA_NEW_ARRAY(arena, double, o->ring);
    o->sum = ARENA_NEW_ARRAY(arena, double, o->ring);
    o->gap_at = -1;
    o->lead_count = o->window < OUTLOOK_LEADS_MAX ? o->window : OUTLOOK_LEADS_MAX;
    for (int j = 0; j < o->lead_count; j++) {
        o->leads[j].steps = (int)lround((double)o->window * (j + 1) / o->lead_count);
    }
    long origins = o->window + 1;
    o->features = ARENA_NEW_ARRAY(arena, double, origins * o->lead_count * F);
    o->centre = ARENA_NEW_ARRAY(arena, double, origins * o->lead_count);
    o->scale = ARENA_NEW_ARRAY(arena, double, origins);
    o->origin = ARENA_NEW_ARRAY(arena, double, origins);
    long cells = (long)OUTLOOK_PATHS_MAX * o->lead_count;
    o->residual = ARENA_NEW_ARRAY(arena, double, cells);
    o->load = ARENA_NEW_ARRAY(arena, double, cells);
    o->peak = ARENA_NEW_ARRAY(arena, double, OUTLOOK_PATHS_MAX);
    for (int i = 0; i < BINS; i++) {
        o->bins[i] = NUM_NAN;
    }
    return o;
}

/* Sample `back` steps before the newest; the oldest that is there if it lies before all. */
static double sample(const struct outlook *o, int64_t back)
{
    int64_t oldest = o->count - 1 < o->ring - 1 ? o->count - 1 : o->ring - 1;
    return o->y[(o->count - 1 - (back < oldest ? back : oldest)) % o->ring];
}

/* Mean of the n samples that end `back` steps before the newest. */
static double mean(const struct outlook *o, int64_t back, int64_t n)
{
    int64_t oldest = o->count - 1 < o->ring - 1 ? o->count - 1 : o->ring - 1;
    int64_t begin = back + n < oldest ? back + n : oldest;
    if (begin <= back) {
        return sample(o, back);
    }
    double a = o->sum[(o->count - 1 - begin) % o->ring];
    return (o->sum[(o->count - 1 - back) % o->ring] - a) / (double)(begin - back);
}

/* The average day at `ahead` steps from now, between bins in a straight line; NaN before the first day is over. */
static double average_day(const struct outlook *o, int ahead)
{
    double at = (double)((o->count - 1 + ahead) % o->day) / o->day * BINS - 0.5;
    at = at < 0 ? at + BINS : at;
    int i = (int)at % BINS;
    double part = at - floor(at);
    return o->bins[i] * (1 - part) + o->bins[(i + 1) % BINS] * part;
}

static void learn_average_day(struct outlook *o, double demand)
{
    int bin = (int)((double)((o->count - 1) % o->day) / o->day * BINS);
    if (bin != o->bin_at && o->bin_count > 0) {
        double value = o->bin_sum / o->bin_count, *old = &o->bins[o->bin_at];
        *old = isnan(*old) ? value : *old + 0.3 * (value - *old);
        o->bin_sum = 0;
        o->bin_count = 0;
    }
    o->bin_at = bin;
    o->bin_sum += demand;
    o->bin_count++;
}

static double clamp(double x, double limit)
{
    return x > limit ? limit : (x < -limit ? -limit : x);
}

/* Features of a lead, in units of `scale`. What is not known is 0. */
static void write_features(const struct outlook *o, const struct lead *lead, double scale,
                           double *x)
{
    int m = lead->steps, smooth = o->day / BINS;
    double y0 = sample(o, 0), short_mean = mean(o, 0, 30);
    x[0] = 1;
    x[1] = m * (y0 - sample(o, 1));
    x[2] = m * (y0 - sample(o, 6)) / 6;
    x[3] = m * (y0 - sample(o, 30)) / 30;
    x[4] = y0 - sample(o, 60);
    x[5] = y0 - short_mean;
    x[6] = y0 - mean(o, 0, 180);
    for (int i = 0; i < 2; i++) {
        int64_t back = i == 0 ? o->day : o->week;
        bool known = o->count > back + smooth;
        double then = known ? mean(o, back - smooth / 2, smooth) : 0;
        x[7 + 2 * i] = known ? mean(o, back - m - smooth / 2, smooth) - then : 0;
        x[8 + 2 * i] = known ? then - short_mean : 0;
    }
    double rise = average_day(o, m) - average_day(o, 0);
    x[11] = isnan(rise) ? 0 : rise;
    for (int i = 1; i < F; i++) {
        x[i] = clamp(x[i] / scale, 20);
    }
}

static double dot(const double *a, const double *b)
{
    double sum = 0;
    for (int i = 0; i < F; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* What came `lead` steps after the origin, into the lead's equations. */
static void learn_lead(struct outlook *o, struct lead *lead, int j, double demand)
{
    int64_t at = (o->count - 1 - lead->steps) % (o->window + 1);
    const double *x = o->features + (at * o->lead_count + j) * F;
    double target = clamp((demand - o->origin[at]) / o->scale[at], 50);
    double off = fabs(target - dot(lead->theta, x));
    double weight = off > 4 ? 4 / off : 1;
    lead->weight = lead->weight * FORGET + 1;
    for (int i = 0; i < F; i++) {
        for (int k = 0; k <= i; k++) {
            lead->gram[i * F + k] = lead->gram[i * F + k] * FORGET + weight * x[i] * x[k];
        }
        lead->moment[i] = lead->moment[i] * FORGET + weight * x[i] * target;
    }
}

/* Ridge towards "stays as it is", strong while little is known: the unknown is not extrapolated. */
static void solve_lead(struct lead *lead)
{
    double a[F * F], b[F];
    memcpy(a, lead->gram, sizeof a);
    memcpy(b, lead->moment, sizeof b);
    for (int i = 0; i < F; i++) {
        a[i * F + i] += RIDGE + 0.001 * lead->gram[i * F + i];
        for (int k = 0; k < i; k++) {
            a[k * F + i] = a[i * F + k];
        }
    }
    if (num_cholesky(a, F)) {
        num_cholesky_solve(a, b, F);
        memcpy(lead->theta, b, sizeof b);
    }
}

/* The window that has just ended: its residual path, and how good its end was. */
static void learn_window(struct outlook *o)
{
    int64_t at = (o->count - 1 - o->window) % (o->window + 1);
    double end = sample(o, 0);
    o->error = o->error * FORGET + fabs(end - o->centre[at * o->lead_count + o->lead_count - 1]);
    o->error_naive = o->error_naive * FORGET + fabs(end - o->origin[at]);
    if (o->count % PATH_EVERY != 0 || o->count < LEARN_FIRST) {
        return;
    }
    for (int j = 0; j < o->lead_count; j++) {
        double then = sample(o, o->window - o->leads[j].steps);
        o->residual[(long)j * OUTLOOK_PATHS_MAX + o->path_at] =
            (then - o->centre[at * o->lead_count + j]) / o->scale[at];
    }
    o->path_at = (o->path_at + 1) % OUTLOOK_PATHS_MAX;
    o->path_count += o->path_count < OUTLOOK_PATHS_MAX;
}

static void learn(struct outlook *o, double demand)
{
    learn_average_day(o, demand);
    for (int j = 0; j < o->lead_count; j++) {
        if (o->count - 1 - o->leads[j].steps > o->gap_at) {
            learn_lead(o, &o->leads[j], j, demand);
        }
        if (o->count % SOLVE_EVERY == 0) {
            solve_lead(&o->leads[j]);
        }
    }
    if (o->count - 1 - o->window > o->gap_at) {
        learn_window(o);
    }
}

static double scale_of(struct outlook *o, double demand)
{
    double change = fabs(demand - sample(o, 60)), fast = 1.0 / 180, slow = 1.0 / o->day;
    slow = o->count < o->day ? 1.0 / (double)o->count : slow;
    o->vol_fast += fast * (change - o->vol_fast);
    o->vol_slow += slow * (change - o->vol_slow);
    o->level += fast * (demand - o->level);
    o->top = demand > o->top ? demand : o->top * (1 - 0.1 / o->day);
    return 0.05 * (demand > o->level ? demand : o->level) + 0.5 * o->vol_fast + 0.5 * o->vol_slow +
           0.002 * o->top + 1e-9;
}

static void write_view(struct outlook *o, const double *centre, double scale,
                       struct outlook_view *view)
{
    *view = (struct outlook_view){.lead_count = o->lead_count,
                                  .path_count = o->path_count >= PATHS_FIRST ? o->path_count : 0,
                                  .stride = OUTLOOK_PATHS_MAX,
                                  .load = o->load,
                                  .peak = o->peak};
    for (int k = 0; k < view->path_count; k++) {
        o->peak[k] = 0;
    }
    for (int j = 0; j < o->lead_count; j++) {
        view->lead_s[j] = o->leads[j].steps * o->step_s;
        const double *residual = o->residual + (long)j * OUTLOOK_PATHS_MAX;
        double *load = o->load + (long)j * OUTLOOK_PATHS_MAX;
        for (int k = 0; k < view->path_count; k++) {
            double v = centre[j] + scale * residual[k];
            load[k] = v > 0 ? v : 0;
            o->peak[k] = load[k] > o->peak[k] ? load[k] : o->peak[k];
        }
    }
    for (int k = 0; k < view->path_count; k++) {
        view->peak_max = o->peak[k] > view->peak_max ? o->peak[k] : view->peak_max;
    }
}

void outlook_step(struct outlook *o, double demand, struct outlook_view *ret_view)
{
    bool gap = !(isfinite(demand) && demand >= 0);
    if (gap) {
        demand = o->count > 0 ? sample(o, 0) : 0;
        o->gap_at = o->count;
    }
    double before = o->count > 0 ? o->sum[(o->count - 1) % o->ring] : 0;
    o->y[o->count % o->ring] = demand;
    o->sum[o->count % o->ring] = before + demand;
    o->count++;
    learn(o, demand);
    double scale = scale_of(o, demand);
    int64_t at = (o->count - 1) % (o->window + 1);
    o->scale[at] = scale;
    o->origin[at] = demand;
    for (int j = 0; j < o->lead_count; j++) {
        double *x = o->features + (at * o->lead_count + j) * F;
        write_features(o, &o->leads[j], scale, x);
        double rise = o->count > LEARN_FIRST ? dot(o->leads[j].theta, x) : 0;
        double centre = demand + scale * clamp(rise, 50);
        o->centre[at * o->lead_count + j] = centre > 0 ? centre : 0;
    }
    write_view(o, o->centre + at * o->lead_count, scale, ret_view);
}

double outlook_error(const struct outlook *o)
{
    return o->error_naive > 0 ? o->error / o->error_naive : 1;
}
