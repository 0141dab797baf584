// SPDX-License-Identifier: Apache-2.0
// Outliers and level shifts in the history.

#include <string.h>

#include "forecast/num.h"
#include "forecast/online_priv.h"

enum { AROUND = 12, RUN_MAX = 3, PAIRS_MIN = 48, AGAIN = 10 };

static const double OUTLIER = 6; /* robust deviations off its surroundings */
static const double SHIFT_DRIFT = 0.75, SHIFT_ALARM = 8, SHIFT_SURE = 3;

/* Median of the known values of y[from..to), NaN if there are none. */
static double median_of(const double *y, int from, int to)
{
    double v[4 * AROUND];
    int count = 0;
    for (int i = from; i < to && count < COUNT_OF(v); i++) {
        v[count] = y[i];
        count += isfinite(y[i]) != 0;
    }
    return count > 0 ? num_quantile(v, count, 0.5) : NUM_NAN;
}

/* Values far from the median of those around, in short runs, whose like was not there a season before or after either. A run
 * that reaches the end is left: what it begins is not known yet. */
int online_clean(double *y, int n, int season, struct arena *scratch)
{
    struct arena_mark mark = arena_mark(scratch);
    double *off = ARENA_NEW_ARRAY(scratch, double, n),
           *sorted = ARENA_NEW_ARRAY(scratch, double, n);
    int known = 0, removed = 0, run = 0;
    for (int i = 0; i < n; i++) {
        int from = i > AROUND ? i - AROUND : 0, to = i + AROUND < n ? i + AROUND : n;
        off[i] = y[i] - median_of(y, from, to);
        sorted[known] = fabs(off[i]);
        known += isfinite(off[i]) != 0;
    }
    double bound = known > 0 ? OUTLIER * 1.4826 * num_quantile(sorted, known, 0.5) : 0;
    for (int i = 0; i < n - 1 && bound > 0; i++) {
        bool far = fabs(off[i]) > bound;
        for (int k = -1; k <= 1 && far && season > 1; k += 2) {
            int j = i + k * season;
            far = j < 0 || j >= n || !(off[j] * off[i] > 0 && fabs(off[j]) > bound / 2);
        }
        run = far ? run + 1 : 0;
        if (run > RUN_MAX) {
            continue;
        }
        bool back = fabs(off[i + 1]) <= bound;
        bool ends = back || (i + 1 < n - RUN_MAX && !isfinite(off[i + 1]));
        for (int k = 0; k < run && ends; k++) {
            y[i - k] = NUM_NAN;
            removed++;
        }
    }
    arena_rewind(scratch, mark);
    return removed;
}

/* What a sample is held against: of the samples one, two and seven seasons before (three, for a Monday, where seven were
 * not seen) the nearest, so that neither the other days of a week nor something odd a season ago look like a shift;
 * without a season the median of some samples before the suspect. NaN where there is none. */
static double reference(const struct online *online, long index)
{
    long first = online_first(online), m = online->season;
    if (m > 1) {
        static const int seasons[] = {1, 2, 7, 3};
        double y = online_at(online, index), best = NUM_NAN;
        int count = COUNT_OF(seasons) - (index - 7 * m >= first);
        for (int k = 0; k < count; k++) {
            long at = index - (long)seasons[k] * m;
            double before = at >= first ? online_at(online, at) : NUM_NAN;
            if (isfinite(before) && !(fabs(y - before) >= fabs(y - best))) {
                best = before;
            }
        }
        return best;
    }
    double v[AROUND];
    long from = online->suspect_at >= 0 ? online->suspect_at : index;
    int count = 0;
    for (int k = 1; k <= AROUND; k++) {
        double before = from - k >= first ? online_at(online, from - k) : NUM_NAN;
        v[count] = before;
        count += isfinite(before) != 0;
    }
    return count > 2 ? num_quantile(v, count, 0.5) : NUM_NAN;
}

/* Adds `shift` to, or multiplies by `factor`, all samples before the suspect. */
static void adjust_history(struct online *online, double shift, double factor)
{
    for (long i = online_first(online); i < online->suspect_at; i++) {
        double *y = &online->history[i % online->spec.history];
        *y = factor > 0 ? *y * factor : *y + shift;
    }
}

/* Median over the samples from..to of the series, or of what they are held against. */
static double level_over(const struct online *online, long from, long to, bool held_against)
{
    double v[4 * AROUND];
    int count = 0;
    for (long i = from < 0 ? 0 : from; i < to && count < COUNT_OF(v); i++) {
        v[count] = held_against ? reference(online, i) : online_at(online, i);
        count += isfinite(v[count]) != 0;
    }
    return count > 2 ? num_quantile(v, count, 0.5) : NUM_NAN;
}

/* Whether it was the series that moved when the suspect came, not what it is held against: a season after an outage, the
 * outage's end looks like a rise. Of the two changes at that point one is the season's, which is taken for the smaller one. */
static bool moved_itself(const struct online *online)
{
    long at = online->suspect_at, first = at - AROUND;
    if (online->season <= 1 || first < online_first(online)) {
        return true;
    }
    double own = level_over(online, at, online->seen, false) - level_over(online, first, at, false);
    double other = level_over(online, at, online->seen, true) - level_over(online, first, at, true);
    return !(fabs(own) < fabs(other));
}

/* Whether a history, over the seven seasons after the suspect, is mostly as it was before and now and then as it was since: a
 * weekend, no level that was left. An outage comes once; it is two shifts, which bring it to the level around it. */
static bool came_back(const struct online *online)
{
    int as_before = 0, as_since = 0;
    for (long i = online->suspect_at; online->season > 1 && i < online->seen; i++) {
        double since = online_at(online, i), before = reference(online, i);
        for (long k = 1; k <= 7 && i + k * online->season <= online->newest; k++) {
            double later = online_at(online, i + k * online->season);
            as_before += fabs(later - before) < fabs(later - since);
            as_since += fabs(later - since) <= fabs(later - before);
        }
    }
    return as_before > as_since && AGAIN * as_since > as_before;
}

/* Judges the suspect: the median of the differences since, against the usual ones. */
static bool judge(struct online *online, struct arena *scratch)
{
    long count = online->seen - online->suspect_at;
    struct arena_mark mark = arena_mark(scratch);
    double *d = ARENA_NEW_ARRAY(scratch, double, count);
    double *ratio = ARENA_NEW_ARRAY(scratch, double, count);
    int known = 0, up = 0, positive = 0;
    for (long i = online->suspect_at; i < online->seen; i++) {
        double y = online_at(online, i), before = reference(online, i);
        if (isfinite(y - before)) {
            d[known] = y - before;
            ratio[known] = before > 0 && y > 0 ? y / before : 0;
            up += y > before;
            positive += before > 0 && y > 0;
            known++;
        }
    }
    bool sure = false;
    if (known >= SHIFT_WAIT / 2) {
        double shift = num_quantile(d, known, 0.5);
        double factor =
            positive == known && online->least >= 0 ? num_quantile(ratio, known, 0.5) : 0;
        factor = factor >= 1e-3 && factor <= 1e3 ? factor : 0;
        bool one_way = up >= 0.8 * known || up <= 0.2 * known;
        sure = one_way && fabs(shift) > SHIFT_SURE * online->shift_spread && moved_itself(online) &&
               !came_back(online);
        if (sure) {
            adjust_history(online, shift, factor);
            online_restore_scores(online, factor);
            online->shift_spread *= factor > 0 ? factor : 1;
        }
    }
    arena_rewind(scratch, mark);
    return sure;
}

static void calm_down(struct online *online)
{
    online->rise = online->fall = 0;
    online->suspect_at = -1;
    online->alarm = false;
}

bool online_watch_shift(struct online *online, struct arena *scratch)
{
    long now = online->seen - 1;
    if (online_begins(online)) {
        /* what was usual before the series began is not now */
        calm_down(online);
        online->shift_pairs = 0;
    }
    double d = online_at(online, now) - reference(online, now);
    if (!isfinite(d)) {
        return false;
    }
    if (online->shift_pairs < PAIRS_MIN) {
        online->shift_pairs++;
        online->shift_spread += (fabs(d) - online->shift_spread) / online->shift_pairs;
        return false;
    }
    double unit = 1.25 * online->shift_spread;
    double z = unit > 0 ? fmin(fmax(d / unit, -3), 3) : (d > 0 ? 3 : (d < 0 ? -3 : 0));
    online->rise = fmax(0, online->rise + z - SHIFT_DRIFT);
    online->fall = fmax(0, online->fall - z - SHIFT_DRIFT);
    bool out = online->rise > 0 || online->fall > 0;
    if (!out) {
        calm_down(online);
    } else if (online->suspect_at < 0) {
        online->suspect_at = now;
        online_save_scores(online);
    }
    online->alarm = online->alarm || online->rise > SHIFT_ALARM || online->fall > SHIFT_ALARM;
    double clipped = fmin(fabs(d), 3 * online->shift_spread);
    if (!online->alarm) {
        online->shift_spread += ((unit > 0 ? clipped : fabs(d)) - online->shift_spread) / 288;
        return false;
    }
    if (online->seen - online->suspect_at < SHIFT_WAIT) {
        return false;
    }
    bool sure = judge(online, scratch);
    if (sure) {
        online->shifts++;
        online->shift_at = online->suspect_at;
    } else {
        /* noisier than thought: say so to the spread, or the alarm would come again at once */
        online->shift_spread *= 1.1;
    }
    calm_down(online);
    return sure;
}
