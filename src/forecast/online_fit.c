// SPDX-License-Identifier: Apache-2.0
// Which models there are, their fits within a bound of work, and the rehearsal over the end of a history.

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "forecast/num.h"
#include "forecast/online_priv.h"
#include "forecast/season.h"

enum {
    REHEARSAL_MAX = 400,
    REHEARSAL_MIN = 24,
    DAY_S = 86400,
    SEARCH_LEAST = 4,
    NEAR = 20,
    DAYS = 7
};

static const double WEEK_LEADS =
    1.5; /* times the variance of what differs, as a member that leaves the median has times the loss */

static bool is_level_model(enum model model)
{
    return model == MODEL_ETS || model == MODEL_THETA || model == MODEL_ARIMA;
}

static struct member *add_member(struct online *online, enum model model, bool kind, bool log1p)
{
    struct member *member = &online->member[online->member_count++];
    CHECK(online->member_count <= MEMBERS_MAX);
    *member = (struct member){.fit = {.model = model, .log1p = log1p},
                              .kind = kind,
                              .season = is_level_model(model) ? 1 : online->season};
    return member;
}

static bool has_week(const struct online *online, long end)
{
    bool day = fabs(online->season * online->spec.step_s - DAY_S) < 1e-6 * DAY_S;
    return day && end - online_first(online) > 2L * DAYS * online->season;
}

/* Beside a day, the week where it fits twice. */
static void add_week(struct online *online, long end, bool logs)
{
    int week = DAYS * online->season;
    if (!has_week(online, end)) {
        return;
    }
    add_member(online, MODEL_SEASONAL, online->week_leads, false)->season = week;
    add_member(online, MODEL_STL, true, false)->season = week;
    if (logs) {
        add_member(online, MODEL_STL, true, true)->season = week;
    }
}

static bool mostly_zero(const struct online *online)
{
    int zero = 0, known = 0;
    for (long i = online_first(online); i < online->seen; i++) {
        double y = online_at(online, i);
        known += isfinite(y) != 0;
        zero += num_is_zero(y);
    }
    return 2 * zero > known;
}

/* Models of different kinds for the median, and simple ones that may be chosen alone; `logs`: those that gain by it on the
 * logarithm, too. */
static void set_members(struct online *online, bool seasonal, long end, bool logs)
{
    static const enum model season_kinds[] = {MODEL_SEASONAL, MODEL_STL, MODEL_FOURIER,
                                              MODEL_PROPHET_AR, MODEL_ETS};
    static const enum model plain_kinds[] = {MODEL_THETA, MODEL_ARIMA, MODEL_ETS};
    const enum model *kinds = seasonal ? season_kinds : plain_kinds;
    int count = seasonal ? COUNT_OF(season_kinds) : COUNT_OF(plain_kinds);
    online->member_count = 0;
    add_member(online, MODEL_NAIVE, !seasonal, false);
    add_member(online, MODEL_TREND, false, false);
    add_member(online, MODEL_REGRESSION, false, false);
    if (online->least >= 0 && mostly_zero(online)) {
        add_member(online, MODEL_TSB, false, false);
    }
    if (seasonal) {
        add_member(online, MODEL_THETA, false, false);
    }
    for (int i = 0; i < count; i++) {
        bool days = kinds[i] == MODEL_SEASONAL || kinds[i] == MODEL_STL;
        bool kind = !(days && online->week_leads && has_week(online, end));
        add_member(online, kinds[i], kind, false);
        if (logs && kinds[i] != MODEL_SEASONAL && kinds[i] != MODEL_THETA) {
            add_member(online, kinds[i], kind, true);
        }
    }
    if (seasonal) {
        add_week(online, end, logs);
    }
    for (int p = 0; p < online->point_count; p++) {
        struct point *point = &online->point[p];
        struct point fresh = {.steps = point->steps,
                              .stride = point->stride,
                              .slot_count = point->slot_count,
                              .slot = point->slot};
        *point = fresh;
        for (int i = 0; i < point->slot_count; i++) {
            point->slot[i].target = -1;
        }
    }
}

/* Copies of the samples first..end, and the series they are; cleaned for a fit. */
static struct series series_of(struct online *online, long first, long end, int season,
                               struct arena *scratch)
{
    int n = (int)(end - first);
    double *y = ARENA_NEW_ARRAY(scratch, double, n);
    for (int i = 0; i < n; i++) {
        y[i] = online_at(online, first + i);
    }
    online->outliers = online_clean(y, n, online->season, scratch);
    return (struct series){.y = y,
                           .n = n,
                           .season = season,
                           .start_s = online_time(online, first),
                           .step_s = online->spec.step_s};
}

/* Moves all members' memory to the other arena, the new fit among them. */
static void install(struct online *online, int m, const struct fitted *fit)
{
    struct arena *to = &online->store[1 - online->active];
    for (int i = 0; i < online->member_count; i++) {
        struct member *member = &online->member[i];
        if (i == m) {
            fitted_copy(fit, to, &member->fit);
            member->there = true;
            member->fitted_at = (int)online->seen;
        } else if (member->there) {
            struct fitted moved;
            fitted_copy(&member->fit, to, &moved);
            member->fit = moved;
        }
    }
    arena_reset(&online->store[online->active]);
    online->active = 1 - online->active;
}

/* A model may be used when its forecast is finite all the way. */
static bool sane(const struct fitted *fit, int h, struct arena *scratch)
{
    struct forecast f;
    if (fitted_forecast(fit, h, scratch, &f, NULL) != ERR_OK) {
        return false;
    }
    bool finite = true;
    for (int i = 0; i < h; i++) {
        double low = fitted_quantile(fit, &f, i, 0.01), high = fitted_quantile(fit, &f, i, 0.99);
        finite = finite && isfinite(low) && isfinite(high) && fabs(high) < 1e30 && fabs(low) < 1e30;
    }
    return finite;
}

/* How member m would be fitted: what it costs in `ret_work`, from where in `ret_first`. False if it cannot be within the
 * bound. */
static bool plan_fit(struct online *online, int m, long end, struct fit_how *how, long *ret_first,
                     double *ret_work)
{
    const struct member *member = &online->member[m];
    double most = online->spec.fit_work_max > 0 ? online->spec.fit_work_max : NUM_INFINITY;
    long first = online_first(online);
    int season = online->season, n = (int)(end - first);
    *ret_work = fitted_work(member->fit.model, n, season, how);
    if (*ret_work > most && member->there) {
        how->like = &member->fit;
        *ret_work = fitted_work(member->fit.model, n, season, how);
    }
    if (*ret_work > most) {
        /* the first few orders of the search are tried before history is given up */
        how->models_max = SEARCH_LEAST;
        *ret_work = fitted_work(member->fit.model, n, season, how);
    }
    int least = season > 1 ? 2 * season + 1 : ONLINE_FEW;
    while (*ret_work > most && n / 2 >= least) {
        n /= 2;
        *ret_work = fitted_work(member->fit.model, n, season, how);
    }
    online->fits_shortened += n < end - first;
    *ret_first = end - n;
    return *ret_work <= most;
}

/* Fits member m to the samples before `end`; the last good fit stays where this one fails. Returns its work. */
static double fit_member(struct online *online, int m, long end, bool search, struct arena *scratch)
{
    struct member *member = &online->member[m];
    struct fit_how how = {.log1p = member->fit.log1p, .horizon = online->spec.horizon};
    how.like = search || !member->there ? NULL : &member->fit;
    struct effort effort = {.most = online->spec.fit_work_max};
    how.effort = &effort;
    long first;
    double work;
    if (!plan_fit(online, m, end, &how, &first, &work)) {
        online->fits_failed++;
        return 0;
    }
    struct arena_mark mark = arena_mark(scratch);
    struct series series = series_of(online, first, end, member->season, scratch);
    struct fitted *fit = ARENA_NEW(scratch, struct fitted);
    enum err err = fitted_fit(member->fit.model, &series, &how, scratch, fit, NULL);
    if (err == ERR_OK && sane(fit, online->spec.horizon, scratch)) {
        install(online, m, fit);
        online->fits++;
    } else {
        online->fits_failed++;
    }
    online->work += effort.used;
    arena_rewind(scratch, mark);
    return effort.used;
}

/* A season that was found within a few per cent of a day or a week is that: the peak of a correlation is blunt. A week has its
 * day, and the week's models come with it. */
static int calendar_season(int found, const int *candidates, int count)
{
    for (int i = 0; i < count; i++) {
        if (found > 1 && abs(found - candidates[i]) * NEAR <= candidates[i]) {
            return candidates[0] >= 4 ? candidates[0] : candidates[i];
        }
    }
    return found;
}

/* The season: given, or found, a day and a week first; a day where nothing can be told: load has one, noise or not. */
static int find_season(const struct online *online, struct arena *scratch)
{
    if (online->spec.season > 0) {
        return online->spec.season;
    }
    long first = online_first(online);
    int n = (int)(online->seen - first), candidates[2], count = 0;
    const double lengths[2] = {DAY_S / online->spec.step_s, 7 * DAY_S / online->spec.step_s};
    for (int i = 0; i < 2; i++) {
        bool whole = fabs(lengths[i] - floor(lengths[i] + 0.5)) < 1e-9 * lengths[i];
        if (whole && lengths[i] >= 2 && 2 * lengths[i] <= n) {
            candidates[count++] = (int)floor(lengths[i] + 0.5);
        }
    }
    struct arena_mark mark = arena_mark(scratch);
    double *y = ARENA_NEW_ARRAY(scratch, double, n);
    for (int i = 0; i < n; i++) {
        y[i] = online_at(online, first + i);
    }
    struct season_found found = {.steps = model_season(y, n, candidates, count)};
    if (found.steps == 1 && season_find(y, n, 1, scratch, &found) == 0) {
        found.steps = count > 0 && candidates[0] >= 4 ? candidates[0] : 1;
    }
    arena_rewind(scratch, mark);
    return calendar_season(found.steps, candidates, count);
}

/* Whether the days of the week differ so much that models of a day alone are no equals of those of the week: what the series
 * before `end` does in a quarter of a day is that much more like what it did a week before than a day before. (From one step to
 * the next it is noise that moves it.) Else both are in the median. */
static bool week_leads(const struct online *online, long end, struct arena *scratch)
{
    long first = online_first(online);
    int n = (int)(end - first), day = online->season, gap = (day + 3) / 4;
    if (!has_week(online, end)) {
        return false;
    }
    struct arena_mark mark = arena_mark(scratch);
    double *y = ARENA_NEW_ARRAY(scratch, double, n);
    for (int i = 0; i < n; i++) {
        y[i] = online_at(online, first + i);
    }
    double apart_day = 1 - model_likeness(y, n, day, gap);
    double apart_week = 1 - model_likeness(y, n, DAYS * day, gap);
    bool leads = apart_day > WEEK_LEADS * apart_week;
    arena_rewind(scratch, mark);
    return leads;
}

static bool has_season(const struct online *online, long end)
{
    return online->season >= 4 && end - online_first(online) > 2L * online->season;
}

static bool is_seasonal(const struct online *online)
{
    return online->member_count > 0 && online->member[0].kind == false;
}

/* Members that stay, or come with another season, are on the scale that their model was on: the rehearsal chose it, and there is
 * none while samples come in. Of several with the same model the one of the same season tells. */
static void keep_scales(struct online *online, const struct member *before, int count)
{
    for (int m = 0; m < online->member_count && online->least >= 0; m++) {
        struct member *member = &online->member[m];
        int like = -1;
        for (int k = 0; k < count; k++) {
            bool same = before[k].fit.model == member->fit.model;
            like = same && (like < 0 || before[k].season == member->season) ? k : like;
        }
        member->fit.log1p = like >= 0 && before[like].fit.log1p;
    }
}

/* While a shift is suspected: the scores that it puts back are those of now. */
static void resave_scores(struct online *online)
{
    if (online->suspect_at >= 0) {
        online_save_scores(online);
    }
}

/* At a search: another season, or the first time that it fits twice, asks for other members. */
static void search_season(struct online *online, struct arena *scratch)
{
    int season = find_season(online, scratch);
    bool other = season != online->season;
    online->season = season;
    if (other) {
        online->shift_pairs = 0;
        online->suspect_at = -1;
        online->rise = online->fall = 0;
        online->alarm = false;
    }
    if (other || online->anew || online->member_count == 0 ||
        has_season(online, online->seen) != is_seasonal(online)) {
        struct arena_mark mark = arena_mark(scratch);
        struct member *before = ARENA_NEW_ARRAY(scratch, struct member, MEMBERS_MAX);
        int count = online->member_count;
        memcpy(before, online->member, sizeof online->member);
        set_members(online, has_season(online, online->seen), online->seen, false);
        keep_scales(online, before, count);
        arena_rewind(scratch, mark);
        resave_scores(online); /* those saved were of other members */
    }
    online->anew = false;
}

enum online_refit_state online_refit(struct online *online, double work, struct arena *scratch)
{
    if (online->cursor < 0 && !online->refit_due && !online->search_due) {
        return ONLINE_REFIT_NONE;
    }
    if (online->seen < ONLINE_FEW) {
        online->refit_due = online->search_due = false;
        return ONLINE_REFIT_NONE;
    }
    if (online->cursor < 0) {
        online->cursor = 0;
        online->searching = online->search_due;
        online->refit_due = online->search_due = false;
        if (online->searching) {
            online_learn_holidays(online, scratch);
            search_season(online, scratch);
        }
    }
    double left = work;
    while (online->cursor < online->member_count) {
        struct member *member = &online->member[online->cursor];
        struct fit_how how = {.like = online->searching || !member->there ? NULL : &member->fit,
                              .horizon = online->spec.horizon};
        double next = fitted_work(member->fit.model, (int)(online->seen - online_first(online)),
                                  online->season, &how);
        if (next > left && left < work) {
            return ONLINE_REFIT_MORE; /* a later call begins with it */
        }
        left -= fit_member(online, online->cursor, online->seen, online->searching, scratch);
        online->cursor++;
    }
    online->cursor = -1;
    return ONLINE_REFIT_DONE;
}

void online_refit_cheap(struct online *online, struct arena *scratch)
{
    for (int m = 0; m < online->member_count; m++) {
        enum model model = online->member[m].fit.model;
        if (model == MODEL_NAIVE || model == MODEL_SEASONAL || model == MODEL_TREND) {
            IGNORE_RESULT(
                fit_member(online, m, online->seen, false, scratch)); /* next to nothing */
        }
    }
}

/* Plays the samples from `cut` on as if they came now, from fits that ended there. */
static void play(struct online *online, long cut, struct arena *scratch)
{
    long end = online->seen;
    online->seen = cut;
    online_issue(online, scratch);
    for (long i = cut; i < end; i++) {
        online->seen = i + 1;
        double y = online_at(online, i);
        online_score(online, y);
        for (int m = 0; m < online->member_count; m++) {
            if (online->member[m].there) {
                fitted_update(&online->member[m].fit, y);
            }
        }
        online_issue(online, scratch);
    }
}

/* Loss of a member over all points, in units of the naive model's; infinite where it has none. */
static double whole_loss(const struct online *online, int m)
{
    double sum = 0;
    for (int p = 0; p < online->point_count; p++) {
        const struct point *point = &online->point[p];
        if (point->matured > 0 && point->loss[m].count == 0) {
            return NUM_INFINITY;
        }
        sum += point->loss_naive.mean > 0 ? point->loss[m].mean / point->loss_naive.mean : 0;
    }
    return online->member[m].there ? sum : NUM_INFINITY;
}

/* Of each model that is there on both scales the worse one goes; the others as they were at the cut, in `start`. */
static void keep_better_scales(struct online *online, const struct member *start, long cut,
                               struct arena *scratch)
{
    struct member *kept = ARENA_NEW_ARRAY(scratch, struct member, MEMBERS_MAX);
    int count = 0;
    for (int m = 0; m < online->member_count; m++) {
        int twin = -1;
        for (int k = 0; k < online->member_count; k++) {
            bool same =
                start[k].fit.model == start[m].fit.model && start[k].season == start[m].season;
            twin = k != m && same ? k : twin;
        }
        double own = whole_loss(online, m), other = twin >= 0 ? whole_loss(online, twin) : 0;
        if (twin < 0 || own < other || (!(other < own) && m < twin)) {
            kept[count++] = start[m];
        }
    }
    bool seasonal = is_seasonal(online);
    set_members(online, seasonal, cut, false);
    CHECK(count == online->member_count);
    memcpy(online->member, kept, sizeof(struct member) * (size_t)count);
}

/* What so few independent errors can carry. Of a correction of the middle by `move`: the share left beside its standard
 * error (James and Stein 1961). Of a narrowing at a level with `beyond` of the truth outside: the share when two more
 * errors are thought to stand out there, since where hardly any did nothing tells how far they go. */
static double shrink_middle(double move, double spread, double independent)
{
    double error2 = 1.57 * spread * spread / independent;
    return move * move > error2 ? 1 - error2 / (move * move) : 0;
}

static double shrink_narrowing(double beyond, double independent)
{
    return independent * beyond / (2 + independent * beyond);
}

enum { UNSEEN = 4 };

/* Where a level above the middle starts, by its errors e[count] (they are sorted): at the quantile of a level farther out, as if
 * UNSEEN more of the misses that it is allowed among so few independent errors were still to be seen, but no farther for that than
 * WIDE usual errors. A bound too low costs most where nothing was learned yet; from there it comes in as errors mature. */
static double careful_start(const struct point *point, double *e, int count, double q,
                            double middle, double independent)
{
    double misses = independent * (1 - q), outer = 1 - (1 - q) * misses / (UNSEEN + misses);
    double far = middle + WIDE * point->spread.mean;
    return fmax(num_quantile(e, count, q), fmin(num_quantile(e, count, outer), far));
}

/* Sets a point's moves from the rehearsal's errors, err[count][levels]: those that would have made the levels hold, as far
 * as so many errors can tell. */
static void settle_moves(const struct online *online, struct point *point, struct arena *scratch)
{
    int levels = online->spec.level_count, count = point->live;
    int middle = model_middle(online->spec.level, levels);
    struct arena_mark mark = arena_mark(scratch);
    double *e = ARENA_NEW_ARRAY(scratch, double, count), wanted[ONLINE_LEVELS_MAX], spread = 0;
    double independent = fmax(1, (double)count * point->stride / point->steps);
    for (int j = 0; j < levels; j++) {
        for (int i = 0; i < count; i++) {
            e[i] = point->error_at[i * levels + j];
        }
        double q = online->spec.level[j];
        wanted[j] = j > middle ? careful_start(point, e, count, q, wanted[middle], independent)
                               : num_quantile(e, count, q);
    }
    for (int i = 0; i < count; i++) {
        e[i] = fabs(point->error_at[i * levels + middle] - wanted[middle]);
    }
    spread = 1.4826 * num_quantile(e, count, 0.5);
    double center = wanted[middle] * shrink_middle(wanted[middle], spread, independent);
    for (int j = 0; j < levels; j++) {
        double q = online->spec.level[j], rest = wanted[j] - wanted[middle];
        bool narrows = (q - 0.5) * rest < 0;
        double share = narrows ? shrink_narrowing(fmin(q, 1 - q), independent) : 1;
        point->move[j] = center + rest * share;
    }
    arena_rewind(scratch, mark);
}

/* The rehearsal is over: its errors give the moves, and are not live ones. */
static void end_rehearsal(struct online *online, struct arena *scratch)
{
    for (int p = 0; p < online->point_count; p++) {
        struct point *point = &online->point[p];
        if (point->live >= MATURED_MIN) {
            settle_moves(online, point, scratch);
            online_hand_out(online, point);
        }
        point->error_at = NULL;
        point->live = 0;
        memset(point->live_below, 0, sizeof point->live_below);
    }
}

/* Fits to all but the last `back` samples, plays those, keeps the better scale of each model, and plays them again for the
 * scores and the levels. */
static void rehearse(struct online *online, int back, struct arena *scratch)
{
    long end = online->seen, cut = end - back;
    struct arena_mark mark = arena_mark(scratch);
    set_members(online, has_season(online, cut), cut, online->least >= 0);
    for (int m = 0; m < online->member_count; m++) {
        IGNORE_RESULT(fit_member(online, m, cut, true, scratch)); /* counted inside */
    }
    struct member *start = ARENA_NEW_ARRAY(scratch, struct member, MEMBERS_MAX);
    for (int m = 0; m < online->member_count; m++) {
        start[m] = online->member[m];
        if (start[m].there) {
            fitted_copy(&online->member[m].fit, scratch, &start[m].fit);
        }
    }
    play(online, cut, scratch);
    keep_better_scales(online, start, cut, scratch);
    for (int p = 0; p < online->point_count; p++) {
        online->point[p].error_at =
            ARENA_NEW_ARRAY(scratch, double, (long)back * online->spec.level_count);
    }
    play(online, cut, scratch);
    install(online, -1, NULL); /* out of the scratch */
    end_rehearsal(online, scratch);
    online->rehearsed = true;
    for (int m = 0; m < online->member_count; m++) {
        IGNORE_RESULT(fit_member(online, m, end, false, scratch)); /* counted inside */
    }
    arena_rewind(scratch, mark);
}

void online_load(struct online *online, const double *y, int n, struct arena *scratch)
{
    CHECK(online->seen == 0 && n >= 0);
    int skip = n > online->spec.history ? n - online->spec.history : 0;
    online->oldest = online->seen = skip;
    for (int i = skip; i < n; i++) {
        online_keep(online, y[i]);
    }
    online_learn_holidays(online, scratch);
    online->oldest = online_first(online);
    online->season = n - skip >= ONLINE_FEW ? find_season(online, scratch) : online->season;
    for (long i = online->oldest; i < n; i++) {
        online->seen = i + 1;
        IGNORE_RESULT(online_watch_shift(online, scratch)); /* the fits come below */
    }
    long sight = online->seen - online_first(online);
    if (sight < ONLINE_FEW) {
        return;
    }
    long back = sight / 4 < REHEARSAL_MAX ? sight / 4 : REHEARSAL_MAX;
    long season = 2L * online->season + 1;
    if (sight > season && sight - back < season) {
        back = sight - season;
    }
    online->week_leads = week_leads(online, online->seen - back, scratch);
    if (back >= REHEARSAL_MIN && sight - back >= ONLINE_FEW) {
        rehearse(online, (int)back, scratch);
    } else {
        set_members(online, has_season(online, online->seen), online->seen, false);
        for (int m = 0; m < online->member_count; m++) {
            IGNORE_RESULT(fit_member(online, m, online->seen, true, scratch)); /* counted inside */
        }
    }
    resave_scores(online); /* those saved were of before the rehearsal */
    online_issue(online, scratch);
}
