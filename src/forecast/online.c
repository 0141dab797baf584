// SPDX-License-Identifier: Apache-2.0
#include "forecast/online.h"

#include <string.h>

#include "base/check.h"
#include "forecast/num.h"
#include "forecast/online_priv.h"

enum { MEMBER_BYTES_MAX = 256 << 20, STRIDE_FROM = 64, FEW_PAIRS = 5 };

struct online_spec online_defaults(double step_s, int horizon)
{
    double day = 86400 / step_s;
    struct online_spec spec = {.step_s = step_s, .horizon = horizon, .level_count = 4};
    spec.level[0] = 0.1, spec.level[1] = 0.5, spec.level[2] = 0.9, spec.level[3] = 0.95;
    spec.history = (int)fmin(fmax(14 * day, 288), 4032);
    spec.search_every = (int)fmin(fmax(day, 24), 2016);
    spec.refit_every = spec.search_every / 4;
    spec.fit_work_max = 200000;
    return spec;
}

const char *online_basis_name(enum online_basis basis)
{
    static const char *const names[] = {"nothing", "few samples", "naive", "one model", "median"};
    return names[basis];
}

static enum err check_spec(const struct online_spec *spec, struct err_info *info)
{
    if (!(spec->step_s > 0) || !isfinite(spec->start_s) || !isfinite(spec->step_s)) {
        return err_set(info, ERR_INVALID, "a step of %g s from %g s", spec->step_s, spec->start_s);
    }
    if (spec->horizon < 1 || spec->horizon > ONLINE_HORIZON_MAX || spec->history < ONLINE_FEW ||
        spec->history > ONLINE_HISTORY_MAX || spec->season < 0 ||
        spec->season > spec->history / 2) {
        return err_set(info, ERR_LIMIT,
                       "horizon %d (1..%d), history %d (%d..%d), season %d (0..half the history)",
                       spec->horizon, ONLINE_HORIZON_MAX, spec->history, ONLINE_FEW,
                       ONLINE_HISTORY_MAX, spec->season);
    }
    if (spec->level_count < 1 || spec->level_count > ONLINE_LEVELS_MAX || spec->refit_every < 0 ||
        spec->search_every < 0 || spec->stagger < 0) {
        return err_set(info, ERR_LIMIT, "%d levels (1..%d), or a negative interval",
                       spec->level_count, ONLINE_LEVELS_MAX);
    }
    for (int j = 0; j < spec->level_count; j++) {
        if (!(spec->level[j] > 0 && spec->level[j] < 1) ||
            (j > 0 && spec->level[j] <= spec->level[j - 1])) {
            return err_set(info, ERR_INVALID, "level %d is %g: ascending, between 0 and 1", j,
                           spec->level[j]);
        }
    }
    return ERR_OK;
}

/* Points 1, 2, 4, ... and the horizon, or as many as there may be, evenly on a logarithm. */
static void set_points(struct online *online, struct arena *arena)
{
    int horizon = online->spec.horizon;
    double factor = fmax(2, pow(horizon, 1.0 / (ONLINE_POINTS_MAX - 1)));
    double at = 1;
    while (online->point_count < ONLINE_POINTS_MAX) {
        bool last = at * sqrt(factor) >= horizon || online->point_count == ONLINE_POINTS_MAX - 1;
        struct point *point = &online->point[online->point_count++];
        point->steps = last ? horizon : (int)at;
        point->stride = (point->steps + STRIDE_FROM - 1) / STRIDE_FROM;
        point->slot_count = point->steps / point->stride + 2;
        point->slot = ARENA_NEW_ARRAY(arena, struct issue, point->slot_count);
        for (int i = 0; i < point->slot_count; i++) {
            point->slot[i].target = -1;
        }
        if (last) {
            break;
        }
        at *= factor;
    }
}

enum err online_new(const struct online_spec *spec, struct arena *arena, struct online **ret,
                    struct err_info *info)
{
    enum err err = check_spec(spec, info);
    if (err != ERR_OK) {
        return err;
    }
    struct online *online = ARENA_NEW(arena, struct online);
    online->spec = *spec;
    online->history = ARENA_NEW_ARRAY(arena, double, spec->history);
    online->season = spec->season > 0 ? spec->season : 1;
    online->least = NUM_INFINITY;
    online->still = NUM_NAN;
    online->cursor = -1;
    online->suspect_at = online->shift_at = -1;
    arena_init(&online->store[0], MEMBER_BYTES_MAX);
    arena_init(&online->store[1], MEMBER_BYTES_MAX);
    set_points(online, arena);
    *ret = online;
    return ERR_OK;
}

void online_release(struct online *online)
{
    if (online != NULL) {
        arena_release(&online->store[0]);
        arena_release(&online->store[1]);
    }
}

double online_at(const struct online *online, long index)
{
    return online->history[index % online->spec.history];
}

long online_sight(const struct online *online)
{
    long oldest = online->seen - online->spec.history;
    return oldest > online->oldest ? oldest : online->oldest;
}

long online_first(const struct online *online)
{
    long first = online_sight(online);
    bool begun = online->begin > 0 && online->seen - online->begin >= BEGUN_LEAST;
    return begun && online->begin - 1 > first ? online->begin - 1 : first;
}

bool online_begins(const struct online *online)
{
    return online->begin > 1 && online->seen - online->begin == BEGUN_LEAST;
}

void online_keep(struct online *online, double y)
{
    bool known = isfinite(y) && fabs(y) <= ONLINE_VALUE_MAX;
    double least = known && y < online->least ? y : online->least;
    y = online_less_holidays(online, online->seen, y);
    if (known && online->begin == 0) {
        online->begin = fabs(y - online->still) > 0 ? online->seen : 0;
        online->still = y;
    }
    online->history[online->seen % online->spec.history] = known ? y : NUM_NAN;
    online->newest = online->seen++;
    online->missing += !known;
    online->least = least;
}

void online_sample(struct online *online, double y, struct arena *scratch)
{
    const struct online_spec *spec = &online->spec;
    online_keep(online, y);
    double kept = online_at(online, online->seen - 1);
    online_score(online, kept);
    for (int m = 0; m < online->member_count; m++) {
        if (online->member[m].there) {
            fitted_update(&online->member[m].fit, kept);
        }
    }
    struct arena_mark mark = arena_mark(scratch);
    if (online_watch_shift(online, scratch)) {
        online->refit_due = true;
        online_refit_cheap(online, scratch);
    }
    long at = online->seen;
    online->refit_due = online->refit_due || at == ONLINE_FEW ||
                        (spec->refit_every > 0 && at % spec->refit_every == spec->stagger);
    online->anew = online->anew || online_begins(online);
    online->search_due =
        online->search_due || at == ONLINE_FEW || online->anew ||
        (online->season > 1 && online->rehearsed == false && at == 2L * online->season + 1) ||
        (spec->search_every > 0 && at % spec->search_every == spec->stagger);
    if (at >= ONLINE_FEW) {
        online_issue(online, scratch);
    }
    arena_rewind(scratch, mark);
}

static int known_last(const struct online *online, double *ret_last)
{
    int known = 0;
    long first = online_sight(online);
    *ret_last = NUM_NAN;
    for (long i = online->seen - 1; i >= first; i--) {
        double y = online_at(online, i);
        if (isfinite(y)) {
            *ret_last = isfinite(*ret_last) ? *ret_last : y;
            known++;
        }
    }
    return known;
}

void online_few(const struct online *online, int steps, double *row, struct arena *scratch)
{
    struct arena_mark mark = arena_mark(scratch);
    double last, widen = 1;
    int known = known_last(online, &last), count = 0, lag = steps;
    long first = online_sight(online);
    double *change = ARENA_NEW_ARRAY(scratch, double, known + 1);
    for (;;) {
        count = 0;
        for (long i = first + lag; i < online->seen; i++) {
            change[count] = online_at(online, i) - online_at(online, i - lag);
            count += isfinite(change[count]) != 0;
        }
        if (count >= FEW_PAIRS || lag == 1) {
            break;
        }
        lag = lag > 2 ? lag / 2 : 1;
    }
    widen = sqrt((double)steps / lag);
    for (int j = 0; j < online->spec.level_count; j++) {
        double q = online->spec.level[j];
        row[j] =
            known < 2 ? NUM_NAN : last + (count > 0 ? widen * num_quantile(change, count, q) : 0);
    }
    arena_rewind(scratch, mark);
}

/* The move of level j for a step, linear between the points on either side. */
static double move_at(const struct online *online, int step, int j)
{
    const struct point *before = &online->point[0];
    CHECK(online->point_count > 0);
    for (int p = 0; p < online->point_count; p++) {
        const struct point *point = &online->point[p];
        if (point->steps >= step) {
            if (point == before || point->steps == step) {
                return point->move[j];
            }
            double share = (double)(step - before->steps) / (point->steps - before->steps);
            return before->move[j] + share * (point->move[j] - before->move[j]);
        }
        before = point;
    }
    return before->move[j];
}

/* Finite, in order, within what the series allows; what cannot be said otherwise is said by repeating. */
static void finish_row(const struct online *online, int step, double *row, struct arena *scratch)
{
    bool whole = true;
    for (int j = 0; j < online->spec.level_count; j++) {
        whole = whole && isfinite(row[j]);
    }
    if (!whole) {
        online_few(online, step, row, scratch);
    }
    for (int j = 0; j < online->spec.level_count; j++) {
        row[j] = online->least >= 0 && row[j] < 0 ? 0 : row[j];
    }
    if (isfinite(row[0])) {
        num_sort(row, online->spec.level_count);
    }
}

void online_forecast(const struct online *online, int h, double *out,
                     struct online_report *ret_report, struct arena *scratch)
{
    CHECK(h >= 1 && h <= online->spec.horizon);
    struct arena_mark mark = arena_mark(scratch);
    struct forecast *all = ARENA_NEW_ARRAY(scratch, struct forecast, MEMBERS_MAX);
    online_members(online, h, scratch, all);
    int p = 0, levels = online->spec.level_count;
    struct choice choice = online_choose(online, &online->point[0]);
    for (int i = 0; i < h; i++) {
        double *row = out + (long)i * levels;
        if (online->point[p].steps < i + 1 && p + 1 < online->point_count) {
            choice = online_choose(online, &online->point[++p]);
        }
        online_combine(online, &choice, all, i, row);
        for (int j = 0; j < levels; j++) {
            row[j] += move_at(online, i + 1, j);
        }
        finish_row(online, i + 1, row, scratch);
        for (int j = 0; j < levels; j++) {
            row[j] = online_with_holidays(online, online->seen + i, row[j]);
        }
    }
    if (ret_report != NULL) {
        online_look(online, ret_report);
    }
    arena_rewind(scratch, mark);
}

static bool any_member(const struct online *online)
{
    bool any = false;
    for (int m = 0; m < online->member_count; m++) {
        any = any || online->member[m].there;
    }
    return any;
}

static struct online_point look_at(const struct online *online, const struct point *point)
{
    struct choice choice = online_choose(online, point);
    struct online_point view = {.steps = point->steps,
                                .basis = choice.basis,
                                .members = choice.count,
                                .matured = point->matured,
                                .error = point->error.mean,
                                .error_naive = point->error_naive.mean,
                                .bias = point->bias.mean,
                                .loss = point->loss_out.mean,
                                .loss_naive = point->loss_naive.mean};
    double last;
    if (!any_member(online)) {
        view.basis = known_last(online, &last) < 2 ? ONLINE_NOTHING : ONLINE_FEW_SAMPLES;
    }
    view.model = MODEL_MEDIAN;
    if (view.basis == ONLINE_ONE || view.basis == ONLINE_NAIVE) {
        view.model = online->member[choice.member].fit.model;
    } else if (view.basis != ONLINE_MEDIAN) {
        view.model = MODEL_NAIVE;
    }
    for (int j = 0; j < online->spec.level_count; j++) {
        view.below[j] = point->below[j].mean;
        view.whole[j] = point->live > 0 ? point->live_below[j] / point->live : 0;
    }
    return view;
}

void online_look(const struct online *online, struct online_report *ret_report)
{
    struct online_report report = {.point_count = online->point_count,
                                   .season = online->season,
                                   .samples = (int)online->seen,
                                   .missing = online->missing,
                                   .outliers = online->outliers,
                                   .shifts = online->shifts,
                                   .since_shift = -1,
                                   .alarm = online->alarm,
                                   .fit_age = -1,
                                   .fits = online->fits,
                                   .fits_failed = online->fits_failed,
                                   .fits_shortened = online->fits_shortened,
                                   .work = online->work};
    for (int p = 0; p < online->point_count; p++) {
        report.point[p] = look_at(online, &online->point[p]);
        report.beats_naive =
            report.beats_naive ||
            (report.point[p].matured >= MATURED_MIN && report.point[p].basis != ONLINE_NAIVE &&
             report.point[p].loss < report.point[p].loss_naive);
    }
    for (int m = 0; m < online->member_count; m++) {
        int age = (int)(online->seen - online->member[m].fitted_at);
        if (online->member[m].there && age > report.fit_age) {
            report.fit_age = age;
        }
    }
    if (online->shift_at >= 0) {
        report.since_shift = (int)(online->seen - online->shift_at);
    }
    *ret_report = report;
}
