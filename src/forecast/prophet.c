// SPDX-License-Identifier: Apache-2.0
#include "forecast/prophet.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/check.h"
#include "forecast/jumps.h"
#include "forecast/lasso.h"
#include "forecast/num.h"
#include "forecast/prophet_priv.h"

static const double DAY_S = 86400, SIGMA_VARIANCE = 0.25;

enum { ROUNDS_MAX = 4000 };

struct prophet_spec prophet_defaults(double span_s, double step_s)
{
    struct prophet_spec spec = {.changes = 25, .change_range = 0.8, .change_prior = 0.05};
    if (span_s >= 730 * DAY_S) {
        spec.season[spec.season_count++] = (struct prophet_season){365.25, 10, 10, 0};
    }
    if (span_s >= 14 * DAY_S && step_s < 7 * DAY_S) {
        spec.season[spec.season_count++] = (struct prophet_season){7, 3, 10, 0};
    }
    if (span_s >= 2 * DAY_S && step_s < DAY_S) {
        spec.season[spec.season_count++] = (struct prophet_season){1, 4, 10, 0};
    }
    return spec;
}

/* Round half to even, as the reference places its changepoints. */
static int round_even(double x)
{
    double down = floor(x), rest = x - down;
    bool up = rest > 0.5 || (rest >= 0.5 && fmod(down, 2) > 0.5);
    return (int)(up ? down + 1 : down);
}

void prophet_features_at(const struct prophet *p, double time_s, const double *x, double *row)
{
    int at = 0;
    CHECK(p->spec.regressor_count == 0 || x != NULL);
    for (int s = 0; s < p->spec.season_count; s++) {
        const struct prophet_season *season = &p->spec.season[s];
        for (int i = 1; i <= season->order; i++) {
            double angle = 6.283185307179586 * i * (time_s / DAY_S) / season->period_days;
            row[at++] = sin(angle);
            row[at++] = cos(angle);
        }
    }
    for (int j = 0; j < p->spec.regressor_count; j++) {
        row[at++] = x[j];
    }
}

void prophet_feature_kinds(const struct prophet *p, double *prior, int *multiplicative)
{
    int at = 0;
    for (int s = 0; s < p->spec.season_count; s++) {
        for (int i = 0; i < 2 * p->spec.season[s].order; i++) {
            prior[at] = p->spec.season[s].prior;
            multiplicative[at++] = p->spec.season[s].multiplicative;
        }
    }
    for (int j = 0; j < p->spec.regressor_count; j++) {
        prior[at] = p->spec.regressor_prior[j];
        multiplicative[at++] = p->spec.regressor_multiplicative[j];
    }
}

double prophet_trend_at(const struct prophet *p, double t, double *ret_slope)
{
    bool logistic = p->spec.logistic != 0;
    double z = logistic ? p->k * (t - p->m) : p->k * t + p->m;
    for (int j = 0; j < p->changes; j++) {
        z += p->delta[j] * fmax(t - p->change_at[j], 0);
    }
    *ret_slope = 1;
    if (logistic) {
        double cap = (p->spec.cap - p->spec.floor) / p->y_scale, share = 1 / (1 + exp(-z));
        *ret_slope = cap * share * (1 - share);
        z = cap * share;
    }
    return z;
}

/* Scaled value at one time; what a change of the trend is multiplied by in `ret_factor` if wanted. */
static double value_at(const struct prophet *p, double time_s, const double *x, double *ret_factor)
{
    double row[PROPHET_FEATURES_MAX] = {0}, prior[PROPHET_FEATURES_MAX] = {0}, add = 0, factor = 1;
    int multiplicative[PROPHET_FEATURES_MAX] = {0};
    prophet_features_at(p, time_s, x, row);
    prophet_feature_kinds(p, prior, multiplicative);
    for (int i = 0; i < p->features; i++) {
        *(multiplicative[i] ? &factor : &add) += row[i] * p->beta[i];
    }
    double slope, g = prophet_trend_at(p, (time_s - p->start_s) / p->span_s, &slope);
    if (ret_factor != NULL) {
        *ret_factor = factor * slope;
    }
    return g * factor + add;
}

/* Priors' part of the log posterior. */
static double log_prior(const struct prophet *p)
{
    double prior[PROPHET_FEATURES_MAX] = {0}, sum = 0;
    int multiplicative[PROPHET_FEATURES_MAX] = {0};
    prophet_feature_kinds(p, prior, multiplicative);
    sum -= (p->k * p->k + p->m * p->m) / (2 * PROPHET_TREND_VARIANCE);
    for (int j = 0; j < p->changes; j++) {
        sum -= fabs(p->delta[j]) / p->spec.change_prior;
    }
    for (int i = 0; i < p->features; i++) {
        sum -= 0.5 * p->beta[i] * p->beta[i] / (prior[i] * prior[i]);
    }
    return sum - p->sigma * p->sigma / (2 * SIGMA_VARIANCE);
}

double prophet_log_posterior_at(const struct prophet *p, double squares, int n)
{
    return -squares / (2 * p->sigma * p->sigma) - n * log(p->sigma) + log_prior(p);
}

double prophet_log_posterior(const struct prophet *model, const double *time_s, const double *y,
                             int n, const double *x)
{
    double squares = 0;
    int known = 0;
    for (int i = 0; i < n; i++) {
        if (isfinite(y[i])) {
            double e = (y[i] - model->spec.floor) / model->y_scale -
                       value_at(model, time_s[i],
                                x ? x + (long)i * model->spec.regressor_count : NULL, NULL);
            squares += e * e;
            known++;
        }
    }
    return prophet_log_posterior_at(model, squares, known);
}

enum err prophet_prepare(const double *time_s, const double *y, int n,
                         const struct prophet_spec *spec, struct arena *arena, struct prophet *ret,
                         struct err_info *info)
{
    struct arena_mark mark = arena_mark(arena);
    double *known = ARENA_NEW_ARRAY(arena, double, n > 0 ? n : 1);
    int count = 0;
    *ret = (struct prophet){.spec = *spec};
    ret->spec.effort = NULL;
    for (int i = 0; i < n; i++) {
        if (isfinite(y[i])) {
            known[count++] = time_s[i];
            ret->y_scale = fmax(ret->y_scale, fabs(y[i] - spec->floor));
        }
    }
    ret->features = spec->regressor_count;
    for (int s = 0; s < spec->season_count; s++) {
        ret->features += 2 * spec->season[s].order;
    }
    if (ret->features > PROPHET_FEATURES_MAX || spec->changes > PROPHET_CHANGES_MAX) {
        arena_rewind(arena, mark);
        return err_set(info, ERR_LIMIT, "%d features and %d changepoints; most are %d and %d",
                       ret->features, spec->changes, PROPHET_FEATURES_MAX, PROPHET_CHANGES_MAX);
    }
    if (spec->logistic &&
        (spec->flat || !(spec->cap > spec->floor) || !isfinite(spec->cap - spec->floor))) {
        arena_rewind(arena, mark);
        return err_set(info, ERR_INVALID, "logistic growth needs a cap above its floor: %g, %g",
                       spec->cap, spec->floor);
    }
    if (count < 2 || !(known[count - 1] > known[0])) {
        arena_rewind(arena, mark);
        return err_set(info, ERR_INVALID, "the series has %d values; the model needs 2", count);
    }
    ret->y_scale = ret->y_scale > 0 ? ret->y_scale : 1;
    ret->start_s = known[0];
    ret->span_s = known[count - 1] - known[0];
    int history = (int)floor(count * spec->change_range);
    int wanted = spec->changes < history - 1 ? spec->changes : history - 1;
    ret->changes = wanted > 0 && !spec->flat ? wanted : 0;
    for (int j = 0; j < ret->changes; j++) {
        double at = 1 + (double)(history - 1) * (j + 1) / ret->changes;
        ret->change_at[j] = (known[round_even(at) - 1] - ret->start_s) / ret->span_s;
    }
    arena_rewind(arena, mark);
    return ERR_OK;
}

/* A fit in progress. Linear block: k (unless flat), m, the changes, then the additive features. */
struct prophet_fit_state {
    struct prophet *model;
    int n, linear, trend, added, multiplied;
    const double *y; /* [n] scaled */
    double *base;    /* [n][trend] trend's columns */
    double *add;     /* [n][added] */
    double *mult;    /* [n][multiplied] */
    double *row;     /* [linear] */
    double *gram;    /* [linear + 1][linear + 1] */
    double prior_add[PROPHET_FEATURES_MAX], prior_mult[PROPHET_FEATURES_MAX];
    int index_add[PROPHET_FEATURES_MAX], index_mult[PROPHET_FEATURES_MAX];
    double *beta_mult; /* [multiplied] */
    struct lasso lasso;
};

/* Adds row[k], y to gram[k + 1][k + 1] (lower triangle, y last). */
static void add_row(double *gram, const double *row, int k, double y)
{
    for (int i = 0; i < k; i++) {
        double v = row[i], *out = gram + (long)i * (k + 1);
        for (int j = 0; j <= i; j++) {
            out[j] += v * row[j];
        }
    }
    double *last = gram + (long)k * (k + 1);
    for (int j = 0; j < k; j++) {
        last[j] += y * row[j];
    }
    last[k] += y * y;
}

static double dot(const double *a, const double *b, int k)
{
    double sum = 0;
    for (int i = 0; i < k; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

static void build_gram(struct prophet_fit_state *s)
{
    int k = s->linear;
    memset(s->gram, 0, sizeof(double) * (size_t)(k + 1) * (size_t)(k + 1));
    for (int i = 0; i < s->n; i++) {
        double w = 1 + dot(s->mult + (long)i * s->multiplied, s->beta_mult, s->multiplied);
        for (int j = 0; j < s->trend; j++) {
            s->row[j] = w * s->base[(long)i * s->trend + j];
        }
        memcpy(s->row + s->trend, s->add + (long)i * s->added, sizeof(double) * (size_t)s->added);
        add_row(s->gram, s->row, k, s->y[i]);
    }
}

/* Solves the linear block at noise variance s2 from the Gram matrix; returns the residual sum of squares. */
static double solve_linear(struct prophet_fit_state *s, double s2)
{
    struct lasso *p = &s->lasso;
    int k = s->linear, head = s->model->spec.flat ? 1 : 2;
    for (int i = 0; i < k; i++) {
        double ridge = i < head ? 1 / PROPHET_TREND_VARIANCE : 0;
        if (i >= s->trend) {
            ridge = 1 / (s->prior_add[i - s->trend] * s->prior_add[i - s->trend]);
        }
        for (int j = 0; j <= i; j++) {
            double v = s->gram[(long)i * (k + 1) + j] / s2 + (i == j ? ridge : 0);
            p->h[(long)i * k + j] = p->h[(long)j * k + i] = v;
        }
        p->c[i] = s->gram[(long)k * (k + 1) + i] / s2;
    }
    lasso_solve(p);
    double squares = s->gram[(long)k * (k + 1) + k];
    for (int i = 0; i < k; i++) {
        double sum = 0;
        for (int j = 0; j < k; j++) {
            sum += s->gram[(long)(i > j ? i : j) * (k + 1) + (i > j ? j : i)] * p->x[j];
        }
        squares += p->x[i] * (sum - 2 * s->gram[(long)k * (k + 1) + i]);
    }
    return fmax(squares, 0);
}

/* d/ds of -squares / 2 s^2 - n log s - 2 s^2 is zero at this s^2. */
double prophet_best_variance(double squares, int n)
{
    return fmax((-n + sqrt((double)n * n + 16 * squares)) / 8, 1e-18);
}

/* Ridge of the multiplied features given the trend; returns the residual sum of squares. */
static double solve_multiplied(struct prophet_fit_state *s, double s2)
{
    int k = s->multiplied;
    double *gram = s->lasso.sub, *row = s->row;
    memset(gram, 0, sizeof(double) * (size_t)(k + 1) * (size_t)(k + 1));
    for (int i = 0; i < s->n; i++) {
        double g = dot(s->base + (long)i * s->trend, s->lasso.x, s->trend);
        double rest =
            s->y[i] - g - dot(s->add + (long)i * s->added, s->lasso.x + s->trend, s->added);
        for (int j = 0; j < k; j++) {
            row[j] = g * s->mult[(long)i * k + j];
        }
        add_row(gram, row, k, rest);
    }
    double *h = s->lasso.h, *c = s->lasso.c, squares = gram[(long)k * (k + 1) + k];
    for (int i = 0; i < k; i++) {
        for (int j = 0; j <= i; j++) {
            h[(long)i * k + j] = gram[(long)i * (k + 1) + j] / s2;
        }
        h[(long)i * k + i] += 1 / (s->prior_mult[i] * s->prior_mult[i]);
        c[i] = gram[(long)k * (k + 1) + i] / s2;
    }
    if (!num_cholesky(h, k)) {
        return squares;
    }
    num_cholesky_solve(h, c, k);
    memcpy(s->beta_mult, c, sizeof(double) * (size_t)k);
    for (int i = 0; i < k; i++) {
        double sum = 0;
        for (int j = 0; j < k; j++) {
            sum += gram[(long)(i > j ? i : j) * (k + 1) + (i > j ? j : i)] * c[j];
        }
        squares += c[i] * (sum - 2 * gram[(long)k * (k + 1) + i]);
    }
    return fmax(squares, 0);
}

static void store(struct prophet_fit_state *s, double s2)
{
    struct prophet *m = s->model;
    const double *x = s->lasso.x;
    int head = m->spec.flat ? 1 : 2;
    m->k = m->spec.flat ? 0 : x[0];
    m->m = x[head - 1];
    memcpy(m->delta, x + head, sizeof(double) * (size_t)m->changes);
    for (int i = 0; i < s->added; i++) {
        m->beta[s->index_add[i]] = x[s->trend + i];
    }
    for (int i = 0; i < s->multiplied; i++) {
        m->beta[s->index_mult[i]] = s->beta_mult[i];
    }
    m->sigma = sqrt(s2);
}

static void iterate(struct prophet_fit_state *s)
{
    double s2 = fmax(dot(s->y, s->y, s->n) / s->n, 1e-12), last = -NUM_INFINITY;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        if (round > 0 && !effort_left(s->lasso.effort)) {
            break;
        }
        if (round == 0 || s->multiplied > 0) {
            build_gram(s);
            effort_spend(s->lasso.effort,
                         (double)s->n * (s->linear * (s->linear / 2.0 + 1) +
                                         s->multiplied * (s->multiplied / 2.0 + 2)));
        }
        double squares = solve_linear(s, s2);
        if (s->multiplied > 0) {
            squares = solve_multiplied(s, s2);
        }
        double next = prophet_best_variance(squares, s->n);
        bool still = fabs(next - s2) < 1e-13 * s2;
        s2 = next;
        store(s, s2);
        s->model->log_posterior = prophet_log_posterior_at(s->model, squares, s->n);
        if (s->multiplied > 0 ? fabs(s->model->log_posterior - last) < 1e-9 : still) {
            break;
        }
        last = s->model->log_posterior;
    }
}

static void fill_rows(struct prophet_fit_state *s, const double *time_s, const double *y, int n,
                      const double *x, double *scaled)
{
    struct prophet *m = s->model;
    double row[PROPHET_FEATURES_MAX];
    int at = 0, head = m->spec.flat ? 1 : 2;
    for (int i = 0; i < n; i++) {
        if (!isfinite(y[i])) {
            continue;
        }
        double t = (time_s[i] - m->start_s) / m->span_s, *base = s->base + (long)at * s->trend;
        if (!m->spec.flat) {
            base[0] = t;
        }
        base[head - 1] = 1;
        for (int j = 0; j < m->changes; j++) {
            base[head + j] = fmax(t - m->change_at[j], 0);
        }
        prophet_features_at(m, time_s[i], x ? x + (long)i * m->spec.regressor_count : NULL, row);
        for (int j = 0; j < s->added; j++) {
            s->add[(long)at * s->added + j] = row[s->index_add[j]];
        }
        for (int j = 0; j < s->multiplied; j++) {
            s->mult[(long)at * s->multiplied + j] = row[s->index_mult[j]];
        }
        scaled[at++] = (y[i] - m->spec.floor) / m->y_scale;
    }
}

// NOLINTNEXTLINE(readability-function-size): all eight are the call, none a pair
enum err prophet_fit(const double *time_s, const double *y, int n, const double *x,
                     const struct prophet_spec *spec, struct arena *arena, struct prophet *ret,
                     struct err_info *info)
{
    enum err err = prophet_prepare(time_s, y, n, spec, arena, ret, info);
    if (err != ERR_OK) {
        return err;
    }
    if (spec->logistic) {
        prophet_fit_logistic(ret, time_s, y, n, x, spec->effort, arena);
        return ERR_OK;
    }
    struct arena_mark mark = arena_mark(arena);
    struct prophet_fit_state s = {.model = ret};
    double prior[PROPHET_FEATURES_MAX] = {0};
    int multiplicative[PROPHET_FEATURES_MAX] = {0};
    prophet_feature_kinds(ret, prior, multiplicative);
    for (int i = 0; i < ret->features; i++) {
        if (multiplicative[i]) {
            s.prior_mult[s.multiplied] = prior[i];
            s.index_mult[s.multiplied++] = i;
        } else {
            s.prior_add[s.added] = prior[i];
            s.index_add[s.added++] = i;
        }
    }
    for (int i = 0; i < n; i++) {
        s.n += isfinite(y[i]) != 0;
    }
    s.trend = (spec->flat ? 1 : 2) + ret->changes;
    s.linear = s.trend + s.added;
    long size = (s.linear > s.multiplied ? s.linear : s.multiplied) + 1;
    double *scaled = ARENA_NEW_ARRAY(arena, double, s.n);
    s.y = scaled;
    s.base = ARENA_NEW_ARRAY(arena, double, (long)s.n *s.trend);
    s.add = ARENA_NEW_ARRAY(arena, double, (long)s.n *s.added + 1);
    s.mult = ARENA_NEW_ARRAY(arena, double, (long)s.n *s.multiplied + 1);
    s.row = ARENA_NEW_ARRAY(arena, double, size);
    s.gram = ARENA_NEW_ARRAY(arena, double, size *size);
    s.beta_mult = ARENA_NEW_ARRAY(arena, double, s.multiplied + 1);
    int head = spec->flat ? 1 : 2;
    /* with the size of the multiplied block if that is larger: it borrows h, c and sub */
    s.lasso = lasso_new((int)size, head, head + ret->changes, 1 / spec->change_prior, arena);
    s.lasso.k = s.linear;
    s.lasso.effort = spec->effort;
    fill_rows(&s, time_s, y, n, x, scaled);
    iterate(&s);
    arena_rewind(arena, mark);
    return ERR_OK;
}

double prophet_value(const struct prophet *model, double time_s, const double *x)
{
    return value_at(model, time_s, x, NULL) * model->y_scale + model->spec.floor;
}

/* Quantiles of changes of trend and noise at up to ANCHORS steps, from the nearest to the farthest; between them the
 * standardised ones change smoothly. `sd` is that of noise and changes together. */
static void jump_knots(const struct prophet *model, const double *time_s, double lambda,
                       const double *factor, struct forecast *ret, struct arena *arena)
{
    enum { ANCHORS = 8 };
    int h = ret->h, anchors = h < ANCHORS ? h : ANCHORS, place[ANCHORS];
    double shape[ANCHORS][FORECAST_KNOTS], mean_factor = 0;
    bool normal = true;
    for (int i = 0; i < h; i++) {
        mean_factor += fabs(factor[i]) / h;
    }
    for (int a = 0; a < anchors; a++) {
        place[a] = anchors > 1 ? (int)((long)a * (h - 1) / (anchors - 1)) : 0;
        double ahead = fmax((time_s[place[a]] - model->start_s) / model->span_s - 1, 0);
        struct jump_law law = {.noise_sd = model->sigma,
                               .count = model->changes * ahead,
                               .scale = lambda * ahead * mean_factor};
        normal = !jump_law_knots(&law, shape[a]) && normal;
    }
    if (normal) {
        return;
    }
    ret->knots = ARENA_NEW_ARRAY(arena, double, (long)h *FORECAST_KNOTS);
    for (int i = 0, a = 0; i < h; i++) {
        a += a + 1 < anchors && i >= place[a + 1];
        int next = a + 1 < anchors ? a + 1 : a;
        double w = next > a ? (double)(i - place[a]) / (place[next] - place[a]) : 0;
        for (int k = 0; k < FORECAST_KNOTS; k++) {
            double score = (1 - w) * shape[a][k] + w * shape[next][k];
            ret->knots[(long)i * FORECAST_KNOTS + k] = ret->center[i] + ret->sd[i] * score;
        }
    }
}

void prophet_forecast(const struct prophet *model, const double *time_s, int h, const double *x,
                      struct arena *arena, struct forecast *ret)
{
    double lambda = 1e-8;
    for (int j = 0; j < model->changes; j++) {
        lambda += fabs(model->delta[j]) / model->changes;
    }
    forecast_init(ret, h, arena);
    double *factor = ARENA_NEW_ARRAY(arena, double, h);
    for (int i = 0; i < h; i++) {
        double t = (time_s[i] - model->start_s) / model->span_s;
        double value = value_at(model, time_s[i],
                                x ? x + (long)i * model->spec.regressor_count : NULL, &factor[i]);
        double ahead = fmax(t - 1, 0);
        double changes = 2 * model->changes * lambda * lambda * ahead * ahead * ahead / 3;
        ret->mean[i] = ret->center[i] = value * model->y_scale + model->spec.floor;
        ret->sd[i] =
            model->y_scale * sqrt(model->sigma * model->sigma + changes * factor[i] * factor[i]);
    }
    jump_knots(model, time_s, lambda, factor, ret, arena);
}
