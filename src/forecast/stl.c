// SPDX-License-Identifier: Apache-2.0
#include "forecast/stl.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/check.h"
#include "forecast/ets.h"
#include "forecast/num.h"
#include "forecast/stl_priv.h"

/* A loess smoother: window in points, degree 0 or 1, every `jump`-th point is fitted, those between are interpolated. */
struct loess {
    int window, degree, jump;
};

struct stl_work {
    int n, m;
    struct loess season, trend, low;
    const double *robust; /* [n] or NULL */
    double *cycle;        /* [n + 2 m] smoothed cycle subseries */
    double *a, *b, *c;    /* [n + 2 m] room */
    double *weights;      /* [n + 2 m] room of the local fit */
};

static int next_odd(double x)
{
    int v = (int)ceil(x - 1e-9);
    return v % 2 == 0 ? v + 1 : v;
}

/* Local fit at `at` (1-based, may lie outside 1..n) from the points left..right; false if all weights vanish. */
// NOLINTNEXTLINE(readability-function-size): all eight are the call, none a pair
static bool fit_point(const double *y, int n, const struct loess *loess, double at, int left,
                      int right, double *w, const double *robust, double *ret)
{
    double h = fmax(at - left, right - at), total = 0;
    if (loess->window > n) {
        h +=
            (loess->window - n) / 2; // NOLINT(bugprone-integer-division): the method's own rounding
    }
    for (int j = left; j <= right; j++) {
        double r = fabs(j - at);
        w[j - 1] = 0;
        if (r <= 0.999 * h) {
            double x = r / h, cube = 1 - x * x * x;
            w[j - 1] = r <= 0.001 * h ? 1 : cube * cube * cube;
            w[j - 1] *= robust != NULL ? robust[j - 1] : 1;
            total += w[j - 1];
        }
    }
    if (!(total > 0)) {
        return false;
    }
    double center = 0, spread = 0, sum = 0;
    for (int j = left; j <= right; j++) {
        w[j - 1] /= total;
        center += w[j - 1] * j;
    }
    if (h > 0 && loess->degree > 0) {
        for (int j = left; j <= right; j++) {
            spread += w[j - 1] * (j - center) * (j - center);
        }
        if (sqrt(spread) > 0.001 * (n - 1)) {
            double slope = (at - center) / spread;
            for (int j = left; j <= right; j++) {
                w[j - 1] *= slope * (j - center) + 1;
            }
        }
    }
    for (int j = left; j <= right; j++) {
        sum += w[j - 1] * y[j - 1];
    }
    *ret = sum;
    return true;
}

static void interpolate(double *out, int from, int to)
{
    double step = (out[to - 1] - out[from - 1]) / (to - from);
    for (int j = from + 1; j < to; j++) {
        out[j - 1] = out[from - 1] + step * (j - from);
    }
}

/* Smooths y[n] into out[n]. */
static void smooth(const double *y, int n, const struct loess *loess, const double *robust,
                   double *w, double *out)
{
    if (n < 2) {
        out[0] = y[0];
        return;
    }
    int window = loess->window, jump = loess->jump < n - 1 ? loess->jump : n - 1;
    int half = (window + 1) / 2, left = 1, right = window < n ? window : n;
    int last = 1;
    for (int i = 1; i <= n; i += jump) {
        if (window < n) {
            left = i < half ? 1 : (i >= n - half + 1 ? n - window + 1 : i - half + 1);
            right = left + window - 1;
        }
        if (!fit_point(y, n, loess, i, left, right, w, robust, &out[i - 1])) {
            out[i - 1] = y[i - 1];
        }
        if (i > 1) {
            interpolate(out, i - jump, i);
        }
        last = i;
    }
    if (last != n) {
        if (!fit_point(y, n, loess, n, left, right, w, robust, &out[n - 1])) {
            out[n - 1] = y[n - 1];
        }
        interpolate(out, last, n);
    }
}

/* Smooths the subseries of each phase, one point beyond both ends, into work->cycle[n + 2 m]. */
static void smooth_cycles(struct stl_work *s, const double *y)
{
    double *sub = s->b, *robust = s->weights + s->n + 2 * s->m, *out = s->c;
    const double *r = s->robust != NULL ? robust : NULL;
    int window = s->season.window;
    for (int phase = 0; phase < s->m; phase++) {
        int k = (s->n - phase - 1) / s->m + 1;
        for (int i = 0; i < k; i++) {
            sub[i] = y[i * s->m + phase];
            robust[i] = s->robust != NULL ? s->robust[i * s->m + phase] : 1;
        }
        smooth(sub, k, &s->season, r, s->weights, out + 1);
        int right = window < k ? window : k, left = k - window + 1 > 1 ? k - window + 1 : 1;
        if (!fit_point(sub, k, &s->season, 0, 1, right, s->weights, r, &out[0])) {
            out[0] = out[1];
        }
        if (!fit_point(sub, k, &s->season, k + 1, left, k, s->weights, r, &out[k + 1])) {
            out[k + 1] = out[k];
        }
        for (int i = 0; i < k + 2; i++) {
            s->cycle[i * s->m + phase] = out[i];
        }
    }
}

/* Moving average of `length` values; out may be in. Returns the number of values left. */
static int moving_average(const double *in, int n, int length, double *out)
{
    double sum = 0;
    int count = n - length + 1;
    for (int i = 0; i < length; i++) {
        sum += in[i];
    }
    for (int i = 0; i < count; i++) {
        double old = in[i];
        out[i] = sum / length;
        if (i + 1 < count) {
            sum += in[i + length] - old;
        }
    }
    return count;
}

static void inner_loop(struct stl_work *s, const double *y, double *season, double *trend,
                       int rounds)
{
    int n = s->n, m = s->m;
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < n; i++) {
            s->a[i] = y[i] - trend[i];
        }
        smooth_cycles(s, s->a);
        int left = moving_average(s->cycle, n + 2 * m, m, s->a);
        left = moving_average(s->a, left, m, s->b);
        moving_average(s->b, left, 3, s->a);
        smooth(s->a, n, &s->low, NULL, s->weights, s->b);
        for (int i = 0; i < n; i++) {
            season[i] = s->cycle[m + i] - s->b[i];
            s->a[i] = y[i] - season[i];
        }
        smooth(s->a, n, &s->trend, s->robust, s->weights, trend);
    }
}

/* Bisquare weights from the residuals against six times their median size. */
static void robustness(const double *y, const struct stl *split, const int ranks[2], double *room)
{
    int n = split->n;
    for (int i = 0; i < n; i++) {
        room[i] = fabs(y[i] - split->season[i] - split->trend[i]);
        split->weights[i] = room[i];
    }
    num_sort(room, n);
    double limit = 3 * (room[ranks[0]] + room[ranks[1]]);
    for (int i = 0; i < n; i++) {
        double r = split->weights[i], x = r / limit;
        split->weights[i] =
            r <= 0.001 * limit ? 1 : (r <= 0.999 * limit ? (1 - x * x) * (1 - x * x) : 0);
    }
}

static void average_cycles(struct stl *ret, int m)
{
    for (int phase = 0; phase < m; phase++) {
        double sum = 0;
        int count = 0;
        for (int i = phase; i < ret->n; i += m) {
            sum += ret->season[i];
            count++;
        }
        for (int i = phase; i < ret->n; i += m) {
            ret->season[i] = sum / count;
        }
    }
}

// NOLINTNEXTLINE(readability-function-size): all eight are the call, none a pair
enum err stl_split(const double *y, int n, int m, int season_window, int robust,
                   struct arena *arena, struct stl *ret, struct err_info *info)
{
    int ranks[STL_ROBUST_ROUNDS][2];
    for (int round = 0; round < STL_ROBUST_ROUNDS; round++) {
        ranks[round][0] = n / 2;
        ranks[round][1] = n - n / 2 - 1;
    }
    return stl_split_ranked(y, n, m, season_window, robust ? ranks : NULL, arena, ret, info);
}

// NOLINTNEXTLINE(readability-function-size): all eight are the call, none a pair
enum err stl_split_ranked(const double *y, int n, int m, int season_window, int (*ranks)[2],
                          struct arena *arena, struct stl *ret, struct err_info *info)
{
    bool robust = ranks != NULL;
    if (m < 2 || n < 2 * m || n > SERIES_MAX) {
        return err_set(info, ERR_INVALID, "a season of %d steps needs 2 or more in the %d values",
                       m, n);
    }
    ret->n = n;
    ret->season = ARENA_NEW_ARRAY(arena, double, n);
    ret->trend = ARENA_NEW_ARRAY(arena, double, n);
    ret->rest = ARENA_NEW_ARRAY(arena, double, n);
    ret->weights = ARENA_NEW_ARRAY(arena, double, n);
    struct arena_mark mark = arena_mark(arena);
    long long_n = n + 2L * m;
    double *room = ARENA_NEW_ARRAY(arena, double, 6 * long_n);
    int s_window = season_window == STL_PERIODIC ? 10 * n + 1 : season_window;
    s_window = s_window < 3 ? 3 : s_window;
    int t_window = next_odd(1.5 * m / (1 - 1.5 / s_window)), l_window = next_odd(m);
    struct stl_work s = {.n = n,
                         .m = m,
                         .season = {s_window, 0, (s_window + 9) / 10},
                         .trend = {t_window, 1, (t_window + 9) / 10},
                         .low = {l_window, 1, (l_window + 9) / 10},
                         .cycle = room,
                         .a = room + long_n,
                         .b = room + 2 * long_n,
                         .c = room + 3 * long_n,
                         .weights = room + 4 * long_n};
    for (int round = 0; round <= (robust ? STL_ROBUST_ROUNDS : 0); round++) {
        inner_loop(&s, y, ret->season, ret->trend, robust ? 1 : 2);
        if (robust && round < STL_ROBUST_ROUNDS) {
            robustness(y, ret, ranks[round], s.a);
            s.robust = ret->weights;
        }
    }
    if (season_window == STL_PERIODIC) {
        average_cycles(ret, m);
    }
    for (int i = 0; i < n; i++) {
        ret->rest[i] = y[i] - ret->season[i] - ret->trend[i];
        ret->weights[i] = robust ? ret->weights[i] : 1;
    }
    arena_rewind(arena, mark);
    return ERR_OK;
}

enum err mstl_split(const double *y, int n, const int *m, int count, struct arena *arena,
                    struct mstl *ret, struct err_info *info)
{
    *ret = (struct mstl){.n = n};
    for (int i = 0; i < count && ret->count < STL_SEASONS_MAX; i++) {
        if (m[i] >= 2 && 2L * m[i] <= n) {
            ret->m[ret->count] = m[i];
            ret->season[ret->count++] = ARENA_NEW_ARRAY(arena, double, n);
        }
    }
    if (ret->count == 0) {
        return err_set(info, ERR_INVALID, "no season fits twice into %d values", n);
    }
    ret->trend = ARENA_NEW_ARRAY(arena, double, n);
    ret->rest = ARENA_NEW_ARRAY(arena, double, n);
    memcpy(ret->rest, y, sizeof(double) * (size_t)n);
    for (int sweep = 0; sweep < (ret->count > 1 ? 2 : 1); sweep++) {
        for (int j = 0; j < ret->count; j++) {
            struct arena_mark mark = arena_mark(arena);
            struct stl split = {0};
            for (int i = 0; i < n; i++) {
                ret->rest[i] += ret->season[j][i];
            }
            enum err err = stl_split(ret->rest, n, ret->m[j], 11 + 4 * j, 0, arena, &split, info);
            if (err != ERR_OK) {
                return err;
            }
            CHECK(ret->season[j] != NULL && split.season != NULL);
            for (int i = 0; i < n; i++) {
                ret->season[j][i] = split.season[i];
                ret->rest[i] -= split.season[i];
                ret->trend[i] = split.trend[i];
            }
            arena_rewind(arena, mark);
        }
    }
    for (int i = 0; i < n; i++) {
        ret->rest[i] -= ret->trend[i];
    }
    return ERR_OK;
}

static double variance(const double *a, const double *b, int n)
{
    double mean = 0, sum = 0;
    for (int i = 0; i < n; i++) {
        mean += (a[i] + (b != NULL ? b[i] : 0)) / n;
    }
    for (int i = 0; i < n; i++) {
        double d = a[i] + (b != NULL ? b[i] : 0) - mean;
        sum += d * d;
    }
    return sum / (n - 1);
}

double stl_strength(const double *y, int n, int m, struct arena *arena)
{
    struct arena_mark mark = arena_mark(arena);
    struct mstl split;
    double strength = 0;
    if (mstl_split(y, n, &m, 1, arena, &split, NULL) == ERR_OK) {
        double whole = variance(split.rest, split.season[0], n);
        strength = whole > 0 ? 1 - variance(split.rest, NULL, n) / whole : 0;
    }
    arena_rewind(arena, mark);
    return fmax(0, fmin(1, strength));
}

// NOLINTNEXTLINE(readability-function-size): all eight are the call, none a pair
enum err stl_fit(const double *y, int n, const int *m, int count, const struct stl_how *how,
                 struct arena *arena, struct stl_ets *ret, struct err_info *info)
{
    struct mstl split = {0};
    enum err err = mstl_split(y, n, m, count, arena, &split, info);
    if (err != ERR_OK) {
        return err;
    }
    CHECK(split.trend != NULL && split.rest != NULL);
    double *level = ARENA_NEW_ARRAY(arena, double, n);
    for (int i = 0; i < n; i++) {
        level[i] = split.trend[i] + split.rest[i];
    }
    struct stl_ets model = {.count = split.count};
    struct ets_data rest = {.y = level, .n = n, .m = 1, .effort = how->effort};
    effort_spend(how->effort,
                 200.0 * n * split.count); /* the loess: so much, whatever the values */
    err = how->like != NULL ? ets_fit(&rest, how->like, arena, &model.rest, info)
                            : ets_auto(&rest, arena, &model.rest, info);
    if (err != ERR_OK) {
        return err;
    }
    for (int j = 0; j < split.count; j++) {
        model.m[j] = split.m[j];
        model.shape[j] = split.season[j] + n - split.m[j];
    }
    *ret = model;
    return ERR_OK;
}

/* What the seasons add `ahead` steps behind the last value. */
static double season_at(const struct stl_ets *model, int ahead)
{
    double sum = 0;
    for (int j = 0; j < model->count; j++) {
        sum += model->shape[j][(model->seen + ahead) % model->m[j]];
    }
    return sum;
}

void stl_predict(const struct stl_ets *model, int h, struct arena *arena, struct forecast *ret)
{
    ets_forecast(&model->rest, h, arena, ret);
    for (int i = 0; i < h; i++) {
        double season = season_at(model, i);
        ret->mean[i] += season;
        ret->center[i] += season;
    }
}

void stl_update(struct stl_ets *model, double y)
{
    ets_update(&model->rest, y - season_at(model, 0));
    model->seen++;
}

// NOLINTNEXTLINE(readability-function-size): all eight are the call, none a pair
enum err stl_forecast(const double *y, int n, const int *m, int count, int h, struct arena *arena,
                      struct forecast *ret, struct err_info *info)
{
    struct stl_ets model;
    enum err err = stl_fit(y, n, m, count, &(struct stl_how){0}, arena, &model, info);
    if (err == ERR_OK) {
        stl_predict(&model, h, arena, ret);
    }
    return err;
}
