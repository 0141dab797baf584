// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "forecast/lasso.h"
#include "forecast/num.h"
#include "forecast/prophet_priv.h"

/* Logistic growth. The reference writes the trend with a rate and an offset for each piece; the offsets are those that
 * keep the exponent continuous, so it is z(t) = k (t - m) + sum d_j max(t - s_j, 0), without their poles. With the noise
 * fixed, mu is linearised about the present unknowns and the lasso of the linear model gives the next ones (proximal
 * Gauss-Newton); a step is halved until the objective itself falls. The variance has its closed form in between. */

enum { STEPS_MAX = 400, HALVINGS_MAX = 30 };

struct growth {
    struct prophet *model;
    int n, k;                       /* rows, unknowns: k, m, changes, features */
    const double *y, *t, *features; /* [n] scaled, [n] scaled, [n][features] */
    double prior[PROPHET_FEATURES_MAX];
    int multiplicative[PROPHET_FEATURES_MAX];
    double *gram; /* [k + 1][k + 1] lower triangle, the target last */
    double *row;  /* [k + 1] */
    struct lasso lasso;
};

static void unknowns_of(const struct prophet *p, double *x)
{
    x[0] = p->k;
    x[1] = p->m;
    memcpy(x + 2, p->delta, sizeof(double) * (size_t)p->changes);
    memcpy(x + 2 + p->changes, p->beta, sizeof(double) * (size_t)p->features);
}

static void set_unknowns(struct prophet *p, const double *x)
{
    p->k = x[0];
    p->m = x[1];
    memcpy(p->delta, x + 2, sizeof(double) * (size_t)p->changes);
    memcpy(p->beta, x + 2 + p->changes, sizeof(double) * (size_t)p->features);
}

/* Scaled value of row i; the parts that the derivatives need where wanted. */
static double row_value(const struct growth *s, int i, double *ret_trend, double *ret_by_z)
{
    const struct prophet *p = s->model;
    const double *f = s->features + (long)i * p->features;
    double add = 0, factor = 1, slope, g = prophet_trend_at(p, s->t[i], &slope);
    for (int j = 0; j < p->features; j++) {
        *(s->multiplicative[j] ? &factor : &add) += f[j] * p->beta[j];
    }
    *ret_trend = g;
    *ret_by_z = slope * factor;
    return g * factor + add;
}

static double residual_squares(const struct growth *s)
{
    double sum = 0, g, by_z;
    effort_spend(s->lasso.effort, (double)s->n * (s->k + 20)); /* an exponential is some 20 */
    for (int i = 0; i < s->n; i++) {
        double e = s->y[i] - row_value(s, i, &g, &by_z);
        sum += e * e;
    }
    return sum;
}

/* Normal equations of the linearised model for the unknowns themselves: target = residual + J x. */
static void build(struct growth *s, const double *x)
{
    const struct prophet *p = s->model;
    int k = s->k, wide = k + 1;
    memset(s->gram, 0, sizeof(double) * (size_t)wide * (size_t)wide);
    effort_spend(s->lasso.effort, (double)s->n * wide * (wide / 2.0 + 2));
    for (int i = 0; i < s->n; i++) {
        const double *f = s->features + (long)i * p->features;
        double g, by_z, *row = s->row, target = s->y[i] - row_value(s, i, &g, &by_z);
        row[0] = by_z * (s->t[i] - p->m);
        row[1] = -by_z * p->k;
        for (int j = 0; j < p->changes; j++) {
            row[2 + j] = by_z * fmax(s->t[i] - p->change_at[j], 0);
        }
        for (int j = 0; j < p->features; j++) {
            row[2 + p->changes + j] = s->multiplicative[j] ? g * f[j] : f[j];
        }
        for (int j = 0; j < k; j++) {
            target += row[j] * x[j];
        }
        row[k] = target;
        for (int a = 0; a < wide; a++) {
            double v = row[a], *out = s->gram + (long)a * wide;
            for (int b = 0; b <= a; b++) {
                out[b] += v * row[b];
            }
        }
    }
}

static void set_lasso(struct growth *s, double s2)
{
    struct lasso *l = &s->lasso;
    int k = s->k, changes = s->model->changes;
    for (int i = 0; i < k; i++) {
        double ridge = i < 2 ? 1 / PROPHET_TREND_VARIANCE : 0;
        if (i >= 2 + changes) {
            ridge = 1 / (s->prior[i - 2 - changes] * s->prior[i - 2 - changes]);
        }
        for (int j = 0; j <= i; j++) {
            double v = s->gram[(long)i * (k + 1) + j] / s2 + (i == j ? ridge : 0);
            l->h[(long)i * k + j] = l->h[(long)j * k + i] = v;
        }
        l->c[i] = s->gram[(long)k * (k + 1) + i] / s2;
    }
}

/* One step at the model's noise; returns the residual sum of squares after it, or a negative number if none helps. */
static double step(struct growth *s, double *from, double *to)
{
    struct prophet *p = s->model;
    int k = s->k;
    double before = prophet_log_posterior_at(p, residual_squares(s), s->n);
    unknowns_of(p, from);
    build(s, from);
    set_lasso(s, p->sigma * p->sigma);
    memcpy(s->lasso.x, from, sizeof(double) * (size_t)k);
    lasso_solve(&s->lasso);
    double share = 1;
    for (int halving = 0; halving < HALVINGS_MAX && effort_left(s->lasso.effort); halving++) {
        for (int i = 0; i < k; i++) {
            to[i] = halving == 0 ? s->lasso.x[i] : from[i] + share * (s->lasso.x[i] - from[i]);
        }
        set_unknowns(p, to);
        double squares = residual_squares(s);
        if (prophet_log_posterior_at(p, squares, s->n) > before) {
            return squares;
        }
        share /= 2;
    }
    set_unknowns(p, from);
    return -1;
}

/* The reference's start: the curve through the first and the last value, kept off floor and cap. */
static void start(struct growth *s)
{
    struct prophet *p = s->model;
    double cap = (p->spec.cap - p->spec.floor) / p->y_scale, span = s->t[s->n - 1] - s->t[0];
    double first = cap / fmin(fmax(s->y[0], 0.01 * cap), 0.99 * cap);
    double last = cap / fmin(fmax(s->y[s->n - 1], 0.01 * cap), 0.99 * cap);
    first *= fabs(first - last) <= 0.01 ? 1.05 : 1;
    double a = log(first - 1), b = log(last - 1);
    p->m = a * span / (a - b);
    p->k = (a - b) / span;
    p->sigma = sqrt(prophet_best_variance(residual_squares(s), s->n));
}

static void iterate(struct growth *s, struct arena *arena)
{
    struct prophet *p = s->model;
    double *from = ARENA_NEW_ARRAY(arena, double, s->k), *to = ARENA_NEW_ARRAY(arena, double, s->k);
    double last = prophet_log_posterior_at(p, residual_squares(s), s->n);
    for (int round = 0; round < STEPS_MAX && effort_left(s->lasso.effort); round++) {
        double squares = step(s, from, to);
        if (squares < 0) {
            break;
        }
        p->sigma = sqrt(prophet_best_variance(squares, s->n));
        double next = prophet_log_posterior_at(p, squares, s->n);
        if (next - last < 1e-9) {
            break;
        }
        last = next;
    }
    p->log_posterior = prophet_log_posterior_at(p, residual_squares(s), s->n);
}

void prophet_fit_logistic(struct prophet *model, const double *time_s, const double *y, int n,
                          const double *x, struct effort *effort, struct arena *arena)
{
    struct arena_mark mark = arena_mark(arena);
    struct growth s = {.model = model, .k = 2 + model->changes + model->features};
    double *scaled = ARENA_NEW_ARRAY(arena, double, n), *t = ARENA_NEW_ARRAY(arena, double, n);
    double *features = ARENA_NEW_ARRAY(arena, double, (long)n * model->features + 1);
    prophet_feature_kinds(model, s.prior, s.multiplicative);
    for (int i = 0; i < n; i++) {
        if (isfinite(y[i])) {
            prophet_features_at(model, time_s[i],
                                x ? x + (long)i * model->spec.regressor_count : NULL,
                                features + (long)s.n * model->features);
            scaled[s.n] = (y[i] - model->spec.floor) / model->y_scale;
            t[s.n++] = (time_s[i] - model->start_s) / model->span_s;
        }
    }
    s.y = scaled;
    s.t = t;
    s.features = features;
    s.gram = ARENA_NEW_ARRAY(arena, double, (s.k + 1L) * (s.k + 1L));
    s.row = ARENA_NEW_ARRAY(arena, double, s.k + 1);
    s.lasso = lasso_new(s.k, 2, 2 + model->changes, 1 / model->spec.change_prior, arena);
    s.lasso.effort = effort;
    start(&s);
    iterate(&s, arena);
    arena_rewind(arena, mark);
}
