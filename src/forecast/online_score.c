// SPDX-License-Identifier: Apache-2.0
// What has matured is scored; from the scores come the choice and the levels' moves.

#include <string.h>

#include "forecast/num.h"
#include "forecast/online_priv.h"

static const double DROP =
    1.5; /* members with this many times the best loss are left out of the median */
static const double DROP_SURE = 2; /* and that by so many standard errors */
static const double FAR =
    30; /* usual errors beyond which a sample counts as that far and no farther */
static const double MOVE_MIDDLE =
    0.02; /* step of a level's move, in units of the usual error, at the median */
static const double MOVE_TAIL = 0.15; /* and how much more towards 0 and 1 */
static const double MOVE_MOST = 20;   /* usual errors that a level is moved by at most */

static void recent_add(struct recent *recent, double value)
{
    recent->count++;
    double weight = recent->count < SCORE_WINDOW ? 1.0 / recent->count : 1.0 / SCORE_WINDOW;
    recent->mean += weight * (value - recent->mean);
}

static double loss_of(const struct online *online, double y, const float *levels)
{
    double sum = 0;
    for (int j = 0; j < online->spec.level_count; j++) {
        double u = y - (double)levels[j], q = online->spec.level[j];
        sum += fmax(q * u, (q - 1) * u);
    }
    return sum / online->spec.level_count;
}

/* What a level's moves are counted in: the usual error, or a share of how far the level stands off the middle where that is very
 * far. Models go on for days with the width of a time when errors were larger; steps of what is usual now would take as long. */
static double move_unit(const struct point *point, const struct issue *issue, int j, int middle)
{
    double off = fabs((double)issue->out[j] - (double)issue->out[middle]);
    return fmax(point->spread.mean, off / WIDE);
}

/* Moves each level towards where the share below it is the level: up by q units when the truth was above what was handed out,
 * else down by 1 - q. So far that it comes to the models' middle it may always be moved. */
static void move_levels(const struct online *online, struct point *point, double y,
                        const struct issue *issue)
{
    int middle = model_middle(online->spec.level, online->spec.level_count);
    double most = MOVE_MOST * point->spread.mean;
    for (int j = 0; j < online->spec.level_count; j++) {
        double q = online->spec.level[j];
        bool below = y <= (double)issue->out[j];
        recent_add(&point->below[j], below);
        point->live_below[j] += below;
        double unit = move_unit(point, issue, j, middle);
        double step = (MOVE_MIDDLE + MOVE_TAIL * fabs(2 * q - 1)) * unit;
        double in = (double)issue->base[middle] - (double)issue->base[j];
        double move = point->move[j] + step * (below ? q - 1 : q);
        point->move[j] = fmin(fmax(move, fmin(-most, in)), fmax(most, in));
    }
}

static void score_issue(struct online *online, struct point *point, const struct issue *issue,
                        double y)
{
    int middle = model_middle(online->spec.level, online->spec.level_count);
    double base = (double)issue->base[middle], usual = point->spread.mean;
    if (point->matured >= MATURED_MIN) {
        y = fmin(fmax(y, base - FAR * usual), base + FAR * usual);
    }
    double median = loss_of(online, y, issue->median);
    recent_add(&point->loss_median, median);
    recent_add(&point->loss_out, loss_of(online, y, issue->out));
    for (int m = 0; m < online->member_count; m++) {
        if (!issue->has[m]) {
            continue;
        }
        double loss = loss_of(online, y, issue->member[m]), gain = median - loss;
        recent_add(&point->loss[m], loss);
        recent_add(&point->gain[m], gain);
        recent_add(&point->gain_squares[m], gain * gain);
        if (online->member[m].fit.model == MODEL_NAIVE && !online->member[m].fit.log1p) {
            recent_add(&point->loss_naive, loss);
            recent_add(&point->error_naive, fabs(y - (double)issue->member[m][middle]));
        }
    }
    double error = y - (double)issue->out[middle];
    recent_add(&point->error, fabs(error));
    recent_add(&point->bias, error);
    if (point->error_at != NULL) {
        for (int j = 0; j < online->spec.level_count; j++) {
            point->error_at[point->live * online->spec.level_count + j] =
                y - (double)issue->base[j];
        }
    }
    double off = fabs(y - base);
    recent_add(&point->spread, point->matured >= MATURED_MIN ? fmin(off, FAR / 3 * usual) : off);
    point->matured++;
    point->live++;
    move_levels(online, point, y, issue);
}

void online_save_scores(struct online *online)
{
    memcpy(online->calm, online->point, sizeof online->calm);
}

void online_restore_scores(struct online *online, double factor)
{
    memcpy(online->point, online->calm, sizeof online->point);
    for (int p = 0; p < online->point_count; p++) {
        struct point *point = &online->point[p];
        point->spread.mean *= factor > 0 ? factor : 1;
        for (int j = 0; j < online->spec.level_count; j++) {
            point->move[j] *= factor > 0 ? factor : 1;
        }
        for (int i = 0; i < point->slot_count; i++) {
            point->slot[i].target = -1; /* made for the level that was left */
        }
    }
}

void online_score(struct online *online, double y)
{
    long now = online->seen - 1; /* index of y, already counted */
    for (int p = 0; p < online->point_count; p++) {
        struct point *point = &online->point[p];
        if (now % point->stride != 0) {
            continue;
        }
        struct issue *issue = &point->slot[now / point->stride % point->slot_count];
        if (issue->target == now && isfinite(y)) {
            score_issue(online, point, issue, y);
        }
        issue->target = -1;
    }
}

/* Standard error of a member's mean gain over the median, neighbours taken as one observation where their horizons overlap. */
static double gain_error(const struct point *point, int m)
{
    double mean = point->gain[m].mean;
    int count = point->gain[m].count < SCORE_WINDOW ? point->gain[m].count : SCORE_WINDOW;
    double independent = fmax(1.0, (double)count * point->stride / point->steps);
    return sqrt(fmax(0, point->gain_squares[m].mean - mean * mean) / independent);
}

/* How much better than the median a member must be on average before chance is out of it: two standard errors of the paired
 * difference. */
static bool surely_better(const struct point *point, int m)
{
    return point->gain[m].count >= MATURED_MIN && point->gain[m].mean > 2 * gain_error(point, m);
}

/* Whether a member does so much worse than the best one that the median is better without it, and not by chance: their
 * difference has at most the sum of both standard errors. */
static bool far_behind(const struct point *point, int m, int best)
{
    if (best < 0 || point->loss[m].count < MATURED_MIN) {
        return false;
    }
    double behind = point->loss[m].mean - point->loss[best].mean;
    return point->loss[m].mean > DROP * point->loss[best].mean &&
           behind > DROP_SURE * (gain_error(point, m) + gain_error(point, best));
}

struct choice online_choose(const struct online *online, const struct point *point)
{
    struct choice choice = {.basis = ONLINE_MEDIAN, .member = -1};
    int best = -1, naive = -1, best_kind = -1;
    for (int m = 0; m < online->member_count; m++) {
        if (!online->member[m].there) {
            continue;
        }
        bool scored = point->loss[m].count >= MATURED_MIN;
        naive = online->member[m].fit.model == MODEL_NAIVE ? m : naive;
        best = scored && (best < 0 || point->loss[m].mean < point->loss[best].mean) ? m : best;
        if (scored && online->member[m].kind &&
            (best_kind < 0 || point->loss[m].mean < point->loss[best_kind].mean)) {
            best_kind = m;
        }
    }
    for (int m = 0; m < online->member_count; m++) {
        choice.in[m] =
            online->member[m].there && online->member[m].kind && !far_behind(point, m, best_kind);
        choice.count += choice.in[m];
    }
    if (best >= 0 && surely_better(point, best)) {
        choice.basis = best == naive ? ONLINE_NAIVE : ONLINE_ONE;
        choice.member = best;
    } else if (choice.count == 0 && naive >= 0) {
        choice.basis = ONLINE_NAIVE;
        choice.member = naive;
    } else if (naive >= 0 && point->loss_naive.count >= MATURED_MIN &&
               point->loss_naive.mean <= point->loss_median.mean) {
        choice.basis = ONLINE_NAIVE;
        choice.member = naive;
    } else if (choice.count == 1 && best_kind >= 0) {
        choice.basis = best_kind == naive ? ONLINE_NAIVE : ONLINE_ONE;
        choice.member = best_kind;
    }
    return choice;
}

void online_combine(const struct online *online, const struct choice *choice,
                    const struct forecast *all, int step, double *row)
{
    for (int j = 0; j < online->spec.level_count; j++) {
        double v[MEMBERS_MAX], q = online->spec.level[j];
        int count = 0;
        for (int m = 0; m < online->member_count; m++) {
            bool in = choice->basis == ONLINE_MEDIAN ? choice->in[m] : m == choice->member;
            if (in && all[m].h > step) {
                double value = fitted_quantile(&online->member[m].fit, &all[m], step, q);
                v[count] = value;
                count += isfinite(value) != 0;
            }
        }
        row[j] = count > 0 ? num_quantile(v, count, 0.5) : NUM_NAN;
    }
}

void online_members(const struct online *online, int h, struct arena *scratch, struct forecast *all)
{
    for (int m = 0; m < online->member_count; m++) {
        all[m].h = 0;
        if (online->member[m].there &&
            fitted_forecast(&online->member[m].fit, h, scratch, &all[m], NULL) != ERR_OK) {
            all[m].h = 0;
        }
    }
}

/* What is handed out for an issue with the moves of now. */
static void hand_out(const struct point *point, struct issue *issue, int levels)
{
    for (int j = 0; j < levels; j++) {
        issue->out[j] = (float)((double)issue->base[j] + point->move[j]);
    }
}

void online_hand_out(const struct online *online, struct point *point)
{
    for (int i = 0; i < point->slot_count; i++) {
        hand_out(point, &point->slot[i], online->spec.level_count);
    }
}

static void fill_issue(const struct online *online, struct point *point, const struct forecast *all,
                       struct issue *issue)
{
    double row[ONLINE_LEVELS_MAX];
    int step = point->steps - 1;
    struct choice choice = online_choose(online, point), median = choice;
    median.basis = ONLINE_MEDIAN;
    for (int m = 0; m < online->member_count; m++) {
        issue->has[m] = all[m].h > step;
        for (int j = 0; j < online->spec.level_count && issue->has[m]; j++) {
            double value =
                fitted_quantile(&online->member[m].fit, &all[m], step, online->spec.level[j]);
            issue->member[m][j] = (float)value;
            issue->has[m] = isfinite(value) && fabs(value) < 1e30;
        }
    }
    online_combine(online, &median, all, step, row);
    bool whole = true;
    for (int j = 0; j < online->spec.level_count; j++) {
        issue->median[j] = (float)row[j];
    }
    online_combine(online, &choice, all, step, row);
    for (int j = 0; j < online->spec.level_count; j++) {
        issue->base[j] = (float)row[j];
        issue->median[j] = isfinite(issue->median[j]) ? issue->median[j] : issue->base[j];
        whole = whole && isfinite(issue->base[j]);
    }
    hand_out(point, issue, online->spec.level_count);
    issue->target = whole ? online->seen - 1 + point->steps : -1;
}

void online_issue(struct online *online, struct arena *scratch)
{
    int h = 0;
    for (int p = 0; p < online->point_count; p++) {
        const struct point *point = &online->point[p];
        h = (online->seen - 1 + point->steps) % point->stride == 0 ? point->steps : h;
    }
    if (h == 0) {
        return;
    }
    struct arena_mark mark = arena_mark(scratch);
    struct forecast *all = ARENA_NEW_ARRAY(scratch, struct forecast, MEMBERS_MAX);
    online_members(online, h, scratch, all);
    for (int p = 0; p < online->point_count; p++) {
        struct point *point = &online->point[p];
        long target = online->seen - 1 + point->steps;
        if (target % point->stride == 0 && point->steps <= h) {
            fill_issue(online, point, all,
                       &point->slot[target / point->stride % point->slot_count]);
        }
    }
    arena_rewind(scratch, mark);
}
