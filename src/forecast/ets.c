// SPDX-License-Identifier: Apache-2.0
#include "forecast/ets.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "forecast/num.h"
#include "forecast/optim.h"

/* Bounds of the smoothing parameters and of the damping. */
static const double PARAMETER_LOW = 1e-4, PARAMETER_HIGH = 0.9999, PHI_LOW = 0.8, PHI_HIGH = 0.98;

double ets_update(struct ets *s, double y)
{
    int phase = s->seen % s->m;
    double q = s->level + s->phi * s->slope, season = s->season[phase];
    double f = s->form.season == 'A' ? q + season : (s->form.season == 'M' ? q * season : q);
    double value = isfinite(y) ? y : f;
    double plain =
        s->form.season == 'A' ? value - season : (s->form.season == 'M' ? value / season : value);
    double seasonal = s->form.season == 'A' ? value - q : value / q;
    s->level = q + s->alpha * (plain - q);
    s->slope = s->phi * s->slope + s->beta * (plain - q);
    if (s->form.season != 'N') {
        s->season[phase] = season + s->gamma * (seasonal - season);
    }
    s->seen++;
    return s->form.error == 'M' ? (value - f) / f : value - f;
}

static double next_mean(const struct ets *s)
{
    double q = s->level + s->phi * s->slope, season = s->season[s->seen % s->m];
    return s->form.season == 'A' ? q + season : (s->form.season == 'M' ? q * season : q);
}

static int parameter_count(const struct ets_form *form, int m)
{
    return 2 + 2 * (form->trend != 'N') + (form->damped != 0) + (form->season != 'N' ? m : 0);
}

static void set_start(struct ets *model)
{
    model->level = model->start[0];
    model->slope = model->start[1];
    memcpy(model->season, model->start + 2, sizeof model->season);
    model->seen = 0;
}

enum err ets_at(const double *y, int n, struct ets *model, struct err_info *info)
{
    double squares = 0, logs = 0;
    set_start(model);
    for (int t = 0; t < n; t++) {
        double f = next_mean(model);
        double e = ets_update(model, y[t]);
        squares += e * e;
        logs += model->form.error == 'M' ? log(fabs(f)) : 0;
    }
    int k = parameter_count(&model->form, model->m) + 1;
    double lik = n * log(fmax(squares, 1e-300)) + 2 * logs;
    if (!isfinite(lik)) {
        return err_set(info, ERR_INVALID, "the model's errors are not finite on this series");
    }
    model->loglik = -0.5 * lik;
    model->aic = lik + 2 * k;
    model->aicc = n - k - 1 > 0 ? model->aic + 2.0 * k * (k + 1) / (n - k - 1) : NUM_INFINITY;
    model->bic = lik + k * log(n);
    model->sigma2 = squares / fmax(1, n - (k - 1));
    return ERR_OK;
}

/* A fit in progress: unknowns are the logits of the smoothing parameters, then the free initial states in units. */
struct ets_problem {
    const double *y;
    int n;
    struct ets model; /* form, m */
    int smoothing;    /* number of smoothing unknowns */
    double unit;      /* of level, slope and additive season */
    double *trace;    /* [n][3] q, season, error for the way back */
    struct effort *effort;
};

/* The unknowns' logistic values, 0..1: each parameter is linear in its own. */
struct logits {
    double alpha, beta, gamma, phi;
};

static double logistic(double u)
{
    return 1 / (1 + exp(-u));
}

static void unpack(const struct ets_problem *p, const double *u, struct ets *model,
                   struct logits *l)
{
    const struct ets_form *form = &model->form;
    int at = 0;
    l->alpha = logistic(u[at++]);
    model->alpha = PARAMETER_LOW + (PARAMETER_HIGH - PARAMETER_LOW) * l->alpha;
    if (form->trend != 'N') {
        l->beta = logistic(u[at++]);
        model->beta = model->alpha * l->beta;
    }
    if (form->season != 'N') {
        l->gamma = logistic(u[at++]);
        model->gamma = (1 - model->alpha) * l->gamma;
    }
    model->phi = 1;
    if (form->damped) {
        l->phi = logistic(u[at++]);
        model->phi = PHI_LOW + (PHI_HIGH - PHI_LOW) * l->phi;
    }
    model->start[0] = u[at++] * p->unit;
    model->start[1] = form->trend != 'N' ? u[at++] * p->unit : 0;
    double sum = 0, scale = form->season == 'A' ? p->unit : 1;
    for (int i = 1; form->season != 'N' && i < model->m; i++) {
        model->start[2 + i] = u[at++] * scale;
        sum += model->start[2 + i];
    }
    model->start[2] = form->season == 'M' ? model->m - sum : -sum;
}

/* Derivatives of the objective by the state and the parameters. */
struct adjoint {
    double alpha, beta, gamma, phi;
    double level, slope;
    double season[STATE_SEASON_MAX];
};

/* One step backwards: from the adjoints of the state after row t to those before it. `q`, `season`, `e` of the row;
 * `factor` = d objective / d e / e. */
static void step_back(const struct ets_problem *p, const double *row, int t, double slope_before,
                      double factor, struct adjoint *g)
{
    const struct ets *s = &p->model;
    char kind = s->form.season;
    double q = row[0], season = row[1], e = row[2], y = p->y[t];
    int phase = t % s->m;
    double f = kind == 'A' ? q + season : (kind == 'M' ? q * season : q);
    double plain = kind == 'A' ? y - season : (kind == 'M' ? y / season : y);
    double by_f = s->form.error == 'M' ? -factor * e * y / (f * f) + 2 / f : -factor * e;
    double by_plain = s->alpha * g->level + s->beta * g->slope;
    double by_q =
        g->level * (1 - s->alpha) - s->beta * g->slope + by_f * (kind == 'M' ? season : 1);
    double by_season = kind == 'A' ? by_f : (kind == 'M' ? by_f * q : 0);
    g->alpha += g->level * (plain - q);
    g->beta += g->slope * (plain - q);
    g->phi += g->slope * slope_before;
    if (kind != 'N') {
        double seasonal = kind == 'A' ? y - q : y / q, by_seasonal = s->gamma * g->season[phase];
        g->gamma += g->season[phase] * (seasonal - season);
        by_season += g->season[phase] * (1 - s->gamma);
        by_q -= kind == 'A' ? by_seasonal : by_seasonal * y / (q * q);
        by_season -= kind == 'A' ? by_plain : by_plain * y / (season * season);
        g->season[phase] = by_season;
    }
    g->slope = s->phi * g->slope + s->phi * by_q;
    g->phi += by_q * slope_before;
    g->level = by_q;
}

static void pack_gradient(const struct ets_problem *p, const struct logits *l,
                          const struct adjoint *g, double *grad)
{
    const struct ets *s = &p->model;
    int at = 0;
    double by_alpha = g->alpha;
    by_alpha += s->form.trend != 'N' ? g->beta * l->beta : 0;
    by_alpha -= s->form.season != 'N' ? g->gamma * l->gamma : 0;
    grad[at++] = by_alpha * (PARAMETER_HIGH - PARAMETER_LOW) * l->alpha * (1 - l->alpha);
    if (s->form.trend != 'N') {
        grad[at++] = g->beta * s->alpha * l->beta * (1 - l->beta);
    }
    if (s->form.season != 'N') {
        grad[at++] = g->gamma * (1 - s->alpha) * l->gamma * (1 - l->gamma);
    }
    if (s->form.damped) {
        grad[at++] = g->phi * (PHI_HIGH - PHI_LOW) * l->phi * (1 - l->phi);
    }
    grad[at++] = g->level * p->unit;
    if (s->form.trend != 'N') {
        grad[at++] = g->slope * p->unit;
    }
    double scale = s->form.season == 'A' ? p->unit : 1;
    for (int i = 1; s->form.season != 'N' && i < s->m; i++) {
        grad[at++] = (g->season[i] - g->season[0]) * scale;
    }
}

/* Sum of logarithms of positive values by few of them: products within what a double holds. */
struct log_sum {
    double sum, product;
};

static inline void add_log(struct log_sum *s, double x)
{
    if (!(x > 1e-100 && x < 1e100)) {
        s->sum += log(x);
        return;
    }
    s->product *= x;
    if (!(s->product > 1e-200 && s->product < 1e200)) {
        s->sum += log(s->product);
        s->product = 1;
    }
}

/* Forward sweep without season: rows of q, -, error, slope before. Sum of squares; infinite where it is not defined. The
 * recursion is written by q and slope alone, so that a step waits for one product and one sum of the step before. */
static double sweep_plain(struct ets_problem *p, struct log_sum *logs)
{
    struct ets *s = &p->model;
    const double alpha = s->alpha, beta = s->beta, phi = s->phi;
    const double by_q = 1 - alpha - phi * beta, by_slope = phi * phi, by_y = alpha + phi * beta;
    double q = s->level + phi * s->slope, slope = s->slope, squares = 0;
    bool multiply = s->form.error == 'M';
    for (int t = 0; t < p->n; t++) {
        double *row = p->trace + 4L * t, y = p->y[t], e = y - q;
        if (multiply) {
            if (!(q > 0)) {
                return NUM_INFINITY;
            }
            e /= q;
            add_log(logs, q);
        }
        row[0] = q;
        row[2] = e;
        row[3] = slope;
        double next = by_q * q + (by_slope * slope + by_y * y);
        slope = (phi * slope + beta * y) - beta * q;
        q = next;
        squares += e * e;
    }
    return squares;
}

/* The same for any form. */
static double sweep(struct ets_problem *p, struct log_sum *logs)
{
    struct ets *s = &p->model;
    double squares = 0;
    for (int t = 0; t < p->n; t++) {
        double *row = p->trace + 4L * t;
        row[3] = s->slope;
        row[0] = s->level + s->phi * s->slope;
        row[1] = s->season[t % s->m];
        double f = next_mean(s);
        if ((s->form.error == 'M' && !(f > 0)) ||
            (s->form.season == 'M' && !(row[1] > 0 && row[0] > 0))) {
            return NUM_INFINITY;
        }
        row[2] = ets_update(s, p->y[t]);
        squares += row[2] * row[2];
        if (s->form.error == 'M') {
            add_log(logs, f);
        }
    }
    return squares;
}

/* Sweep back without season: step_back with all but level and slope left out, and the adjoint of the slope put into that of
 * the row before, for the same reason as in sweep_plain. */
static void back_plain(const struct ets_problem *p, double factor, struct adjoint *g)
{
    const struct ets *s = &p->model;
    const double alpha = s->alpha, beta = s->beta, phi = s->phi;
    const double by_level = 1 - alpha - phi * beta, by_slope = phi * beta;
    bool multiply = s->form.error == 'M';
    /* adjoints of level, of slope, of q of the row behind; `rest` = slope's part that is not by that q */
    double level = 0, slope = 0, rest = 0, by_alpha = 0, by_beta = 0, by_phi = 0;
    for (int t = p->n - 1; t >= 0; t--) {
        const double *row = p->trace + 4L * t;
        double q = row[0], d = p->y[t] - q, by_f = -factor * row[2];
        if (multiply) {
            double inverse = 1 / q;
            by_f = (by_f * p->y[t] * inverse + 2) * inverse;
        }
        /* (1 - alpha) level - beta slope with slope = phi (rest + level) */
        double by_q = by_level * level + (by_f - by_slope * rest);
        by_alpha += level * d;
        by_beta += slope * d;
        by_phi += (slope + by_q) * row[3];
        rest = slope;
        slope = phi * slope + phi * by_q;
        level = by_q;
    }
    *g = (struct adjoint){
        .alpha = by_alpha, .beta = by_beta, .phi = by_phi, .level = level, .slope = slope};
}

/* (n log sum e^2 + 2 sum log |f|) / n and its gradient by one sweep back. */
static double ets_objective(void *context, const double *u, double *ret_grad)
{
    struct ets_problem *p = context;
    struct ets *s = &p->model;
    struct logits l = {0};
    struct log_sum logs = {0, 1};
    effort_spend(p->effort, (double)p->n * (ret_grad != NULL ? 40 : 15));
    unpack(p, u, s, &l);
    set_start(s);
    bool plain = s->form.season == 'N';
    double squares = fmax(plain ? sweep_plain(p, &logs) : sweep(p, &logs), 1e-300);
    double value = (p->n * log(squares) + 2 * (logs.sum + log(logs.product))) / p->n;
    if (ret_grad == NULL || !isfinite(value)) {
        return value;
    }
    struct adjoint g = {0};
    if (plain) {
        back_plain(p, 2 * p->n / squares, &g);
    } else {
        for (int t = p->n - 1; t >= 0; t--) {
            step_back(p, p->trace + 4L * t, t, p->trace[4L * t + 3], 2 * p->n / squares, &g);
        }
    }
    pack_gradient(p, &l, &g, ret_grad);
    for (int i = 0; i < parameter_count(&s->form, s->m); i++) {
        ret_grad[i] /= p->n;
    }
    return value;
}

/* Straight line through the first values, seasons as means about it. */
static void start_states(struct ets_problem *p, double *u, int at)
{
    const struct ets *s = &p->model;
    int m = s->m, window = m > 1 ? (p->n / m < 3 ? p->n / m * m : 3 * m) : (p->n < 10 ? p->n : 10);
    double slope = 0, level = 0, season[STATE_SEASON_MAX] = {0};
    window = window < 2 ? p->n : window;
    if (m > 1 && window >= 2 * m) {
        for (int i = 0; i < m; i++) {
            slope += (p->y[window - m + i] - p->y[i]) / m / (window - m);
        }
    } else {
        double sx = (window - 1) / 2.0, sxx = 0;
        for (int i = 0; i < window; i++) {
            slope += (i - sx) * p->y[i];
            sxx += (i - sx) * (i - sx);
        }
        slope = sxx > 0 ? slope / sxx : 0;
    }
    slope = s->form.trend == 'N' && m == 1 ? 0 : slope;
    for (int i = 0; i < window; i++) {
        level += (p->y[i] - slope * (i + 1)) / window;
    }
    bool multiply = s->form.season == 'M';
    double sum = 0;
    int cycles = window / m;
    for (int i = 0; i < window; i++) {
        double line = level + slope * (i + 1);
        season[i % m] +=
            (multiply ? p->y[i] / fmax(line, 0.05 * fabs(level)) : p->y[i] - line) / cycles;
    }
    for (int i = 0; i < m; i++) {
        season[i] = multiply ? fmax(season[i], 0.02) : season[i];
        sum += season[i];
    }
    u[at++] = level / p->unit;
    if (s->form.trend != 'N') {
        u[at++] = slope / p->unit;
    }
    for (int i = 1; s->form.season != 'N' && i < m; i++) {
        u[at++] = multiply ? season[i] * m / sum : (season[i] - sum / m) / p->unit;
    }
}

enum { FIRST_ITERATIONS = 12 };

/* Logits the search starts from: {alpha, beta share, gamma share, phi}. */
static const double STARTS[3][4] = {
    {-1.5, -2.5, -2.5, 1.5}, {1.0, -3.0, -1.0, 1.5}, {-4.0, -1.0, -2.0, 2.5}};

/* Whether the form can be fitted to the values; the mean step between them. */
static enum err check_values(const double *y, int n, int m, const struct ets_form *form,
                             double *ret_step, struct err_info *info)
{
    if (form->season != 'N' && (m < 2 || m > STATE_SEASON_MAX)) {
        return err_set(info, ERR_LIMIT, "a season of %d steps; ETS takes 2 to %d", m,
                       STATE_SEASON_MAX);
    }
    int k = parameter_count(form, m);
    if (n < k + 2 || (m > 1 && n < 2 * m)) {
        return err_set(info, ERR_INVALID, "%d values are too few for %d parameters", n, k);
    }
    *ret_step = 0;
    for (int i = 0; i < n; i++) {
        if ((form->error == 'M' || form->season == 'M') && !(y[i] > 0)) {
            return err_set(info, ERR_INVALID, "value %d is not positive: no multiplicative part",
                           i + 1);
        }
        *ret_step += i > 0 ? fabs(y[i] - y[i - 1]) / (n - 1) : 0;
    }
    return ERR_OK;
}

/* Searches from each of the starts; the best point, in ret[k], its value, and its inverse Hessian in ret_inverse[k][k]. `u`:
 * [k] to work in. */
static double search(struct ets_problem *p, const struct optim_problem *problem, double *u,
                     double *ret, double *ret_inverse, struct arena *arena)
{
    const struct ets_form *form = &p->model.form;
    double best = NUM_INFINITY;
    int k = problem->k;
    for (int s = 0; s < 3; s++) {
        int at = 0;
        u[at++] = STARTS[s][0];
        for (int i = 1; i < 4; i++) {
            if (i == 1 ? form->trend != 'N' : (i == 2 ? form->season != 'N' : form->damped)) {
                u[at++] = STARTS[s][i];
            }
        }
        start_states(p, u, at);
        double value = optim_bfgs(problem, u, arena);
        if (value < best) {
            best = value;
            memcpy(ret, u, sizeof(double) * (size_t)k);
            memcpy(ret_inverse, problem->ret_inverse, sizeof(double) * (size_t)k * (size_t)k);
        }
    }
    return best;
}

enum err ets_fit(const struct ets_data *data, const struct ets_form *form, struct arena *arena,
                 struct ets *ret, struct err_info *info)
{
    const double *y = data->y;
    double unit = 0;
    int n = data->n, m = form->season == 'N' ? 1 : data->m;
    enum err err = check_values(y, n, m, form, &unit, info);
    if (err != ERR_OK) {
        return err;
    }
    int k = parameter_count(form, m);
    struct arena_mark mark = arena_mark(arena);
    struct ets_problem p = {
        .y = y, .n = n, .model = {.form = *form, .m = m}, .effort = data->effort};
    p.unit = unit > 0 ? unit : 1;
    p.trace = ARENA_NEW_ARRAY(arena, double, 4L * n);
    p.smoothing = 1 + (form->trend != 'N') + (form->season != 'N') + (form->damped != 0);
    double *u = ARENA_NEW_ARRAY(arena, double, 2L * k), *best_u = u + k, best;
    /* Without season from each start far enough to tell which is best, then that one to the end. */
    struct optim_problem problem = {.fn = ets_objective,
                                    .context = &p,
                                    .k = k,
                                    .has_gradient = 1,
                                    .iterations_max = form->season == 'N' ? FIRST_ITERATIONS : 300,
                                    .tolerance = 1e-9,
                                    .gradient_small = 1e-6,
                                    .ret_inverse = ARENA_NEW_ARRAY(arena, double, (long)k *k),
                                    .effort = data->effort};
    double *inverse = ARENA_NEW_ARRAY(arena, double, (long)k *k);
    best = search(&p, &problem, u, best_u, inverse, arena);
    if (isfinite(best) && form->season == 'N') {
        problem.iterations_max = 300;
        problem.inverse = inverse;
        best = optim_bfgs(&problem, best_u, arena);
    }
    struct logits l;
    *ret = p.model;
    if (isfinite(best)) {
        unpack(&p, best_u, ret, &l);
    }
    arena_rewind(arena, mark);
    if (!isfinite(best)) {
        return err_set(info, ERR_INVALID, "no start of the fit gives finite errors");
    }
    return ets_at(y, n, ret, info);
}

enum err ets_auto(const struct ets_data *data, struct arena *arena, struct ets *ret,
                  struct err_info *info)
{
    static const char errors[] = "AM", seasons[] = "NAM";
    struct ets trial = {0};
    double best = NUM_INFINITY;
    bool seasonal = data->m > 1 && data->m <= STATE_SEASON_MAX && data->n >= 2 * data->m + 6;
    bool any = false;
    for (int i = 0; i < 2 * 3 * 3 && (!any || effort_left(data->effort)); i++) {
        struct ets_form form = {errors[i % 2], i / 6 == 0 ? 'N' : 'A', seasons[i / 2 % 3],
                                i / 6 == 2};
        if ((form.season != 'N' && !seasonal) || (form.error == 'A' && form.season == 'M')) {
            continue;
        }
        struct err_info why;
        if (ets_fit(data, &form, arena, &trial, &why) != ERR_OK) {
            continue;
        }
        if (!any || trial.aicc < best) {
            *ret = trial;
            best = trial.aicc;
            any = true;
        }
    }
    return any ? ERR_OK
               : err_set(info, ERR_INVALID, "%d values are too few for any smoothing", data->n);
}

/* c_j: effect of an error on the forecast j steps later, additive classes. */
static double error_weight(const struct ets *s, int j)
{
    double damp = 0, power = 1;
    for (int i = 0; i < j; i++) {
        power *= s->phi;
        damp += power;
    }
    double c = s->alpha + s->beta * damp;
    return s->form.season == 'A' && j % s->m == 0 ? c + s->gamma : c;
}

/* Mean and variance of (M,*,M): the moments of the product of level part and season, which are moved as matrices.
 * With x = (l, b), z = season: x' = (F1 + G1 e) x, z' = (F2 + G2 e) z; M = E x z', V = Cov vec(x z').
 * vec(x z') is held as v[phase][part]. An error changes only the season in use, so that of every other phase is just
 * multiplied by (F1 + G1 e): V is moved block by block. */
struct moments {
    const struct ets *model;
    int m, parts; /* seasons, 1 or 2 parts of x */
    double *mean; /* [m * parts] */
    double *cov;  /* [m * parts][m * parts] */
    double f1[4], g1[4];
};

/* block[parts][parts] pieces of the step of phase `now`: A = (1 + gamma e)(F1 + G1 e) if the phase is in use, else
 * F1 + G1 e; as polynomials in e: A0 + A1 e + A2 e^2. */
static void step_matrix(const struct moments *s, int phase, int now, double a[3][4])
{
    int count = s->parts * s->parts;
    double gamma = phase == now ? s->model->gamma : 0;
    for (int i = 0; i < count; i++) {
        a[0][i] = s->f1[i];
        a[1][i] = s->g1[i] + gamma * s->f1[i];
        a[2][i] = gamma * s->g1[i];
    }
}

/* One element of a block's step: E (A v)_i (B w)_j, E e^2 = s2, E e^4 = 3 s2^2. `block` is the old one, [k][k]. */
static double step_element(double a[3][4], double b[3][4], const double *block, int k, int ij,
                           double s2)
{
    int i = ij / k, j = ij % k;
    double sum = 0;
    for (int uv = 0; uv < k * k; uv++) {
        int u = i * k + uv / k, v = j * k + uv % k;
        double weight = a[0][u] * b[0][v] +
                        s2 * (a[1][u] * b[1][v] + a[0][u] * b[2][v] + a[2][u] * b[0][v]) +
                        3 * s2 * s2 * a[2][u] * b[2][v];
        sum += weight * block[uv];
    }
    return sum;
}

/* Second moments S = E v v' move as E (A v)(A v)' with e independent of v. */
static void step_moments(struct moments *s, int now, double s2)
{
    int k = s->parts, size = s->m * k;
    double block[4], row[3][4], col[3][4];
    for (int ab = 0; ab < s->m * s->m; ab++) {
        int a = ab / s->m, b = ab % s->m;
        if (b < a) {
            continue;
        }
        step_matrix(s, a, now, row);
        step_matrix(s, b, now, col);
        for (int i = 0; i < k * k; i++) {
            block[i] = s->cov[(long)(a * k + i / k) * size + b * k + i % k];
        }
        for (int i = 0; i < k * k; i++) {
            double next = step_element(row, col, block, k, i, s2);
            s->cov[(long)(a * k + i / k) * size + b * k + i % k] = next;
            s->cov[(long)(b * k + i % k) * size + a * k + i / k] = next;
        }
    }
    for (int a = 0; a < s->m; a++) {
        double mean[2] = {0, 0};
        step_matrix(s, a, now, row);
        for (int iu = 0; iu < k * k; iu++) {
            mean[iu / k] += (row[0][iu] + s2 * row[2][iu]) * s->mean[a * k + iu % k];
        }
        memcpy(s->mean + (long)a * k, mean, sizeof(double) * (size_t)k);
    }
}

static void forecast_product(const struct ets *model, struct arena *arena, struct forecast *ret)
{
    struct arena_mark mark = arena_mark(arena);
    int parts = model->form.trend == 'N' ? 1 : 2, size = model->m * parts;
    struct moments s = {.model = model, .m = model->m, .parts = parts};
    s.mean = ARENA_NEW_ARRAY(arena, double, size);
    s.cov = ARENA_NEW_ARRAY(arena, double, (long)size *size);
    double phi = model->phi;
    if (parts == 1) {
        s.f1[0] = 1;
        s.g1[0] = model->alpha;
    } else {
        const double f1[4] = {1, phi, 0, phi};
        const double g1[4] = {model->alpha, model->alpha * phi, model->beta, model->beta * phi};
        memcpy(s.f1, f1, sizeof f1);
        memcpy(s.g1, g1, sizeof g1);
    }
    for (int i = 0; i < size; i++) {
        s.mean[i] = (i % parts == 0 ? model->level : model->slope) * model->season[i / parts];
    }
    for (int i = 0; i < size * size; i++) {
        s.cov[i] = s.mean[i / size] * s.mean[i % size];
    }
    for (int i = 0; i < ret->h; i++) {
        int now = (model->seen + i) % model->m, at = now * parts;
        double mu = s.mean[at], second = s.cov[(long)at * size + at];
        if (parts == 2) {
            mu += phi * s.mean[at + 1];
            second += 2 * phi * s.cov[(long)at * size + at + 1] +
                      phi * phi * s.cov[(long)(at + 1) * size + at + 1];
        }
        ret->mean[i] = ret->center[i] = mu;
        ret->sd[i] = sqrt(fmax(0, (1 + model->sigma2) * second - mu * mu));
        step_moments(&s, now, model->sigma2);
    }
    arena_rewind(arena, mark);
}

void ets_forecast(const struct ets *model, int h, struct arena *arena, struct forecast *ret)
{
    forecast_init(ret, h, arena);
    if (model->form.season == 'M') {
        forecast_product(model, arena, ret);
        return;
    }
    struct arena_mark mark = arena_mark(arena);
    double *theta = ARENA_NEW_ARRAY(arena, double, h), *weight = ARENA_NEW_ARRAY(arena, double, h);
    double damp = 0, power = 1, sum = 0, s2 = model->sigma2;
    for (int i = 0; i < h; i++) {
        power *= model->phi;
        damp += power;
        double q = model->level + damp * model->slope;
        double mu = model->form.season == 'A' ? q + model->season[(model->seen + i) % model->m] : q;
        weight[i] = i > 0 ? error_weight(model, i) : 0;
        sum += weight[i] * weight[i];
        double variance = s2 * (1 + sum);
        if (model->form.error == 'M') {
            theta[i] = mu * mu;
            for (int j = 1; j <= i; j++) {
                theta[i] += s2 * weight[j] * weight[j] * theta[i - j];
            }
            variance = (1 + s2) * theta[i] - mu * mu;
        }
        ret->mean[i] = ret->center[i] = mu;
        ret->sd[i] = sqrt(fmax(variance, 0));
    }
    arena_rewind(arena, mark);
}
