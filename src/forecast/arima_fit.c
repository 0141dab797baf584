// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <string.h>

#include "forecast/arima_priv.h"
#include "forecast/num.h"
#include "forecast/optim.h"

enum { TURNS_MAX = 20 };

/* A fit in progress. The unknowns are the unbounded parameters of the ARMA blocks only; the regression coefficients are
 * profiled out. Both AR and MA blocks go through partial autocorrelations, so every point tried is stationary and
 * invertible; the likelihood is the same at reflected MA roots, so nothing is lost. */
struct fit {
    const struct arima_data *data;
    const struct arima_order *order;
    struct arima_fast fast;
    double *coef;        /* of the point being evaluated */
    double *b_start;     /* [b_count] least squares on the differenced series, taken off column 0 */
    struct arima *model; /* with missing values: the exact filter in place of the fast one */
    struct arena *arena;
    int b_count;
    int conditional;          /* 1: conditional sum of squares */
    struct arima_fast *alone; /* not NULL: the series less the regression as last profiled out */
};

static void to_coef(const struct arima_order *o, const double *u, double *coef)
{
    const int counts[4] = {o->p, o->q, o->P, o->Q};
    int at = 0;
    for (int block = 0; block < 4; block++) {
        arima_from_partial(u + at, counts[block], coef + at);
        for (int i = at; block % 2 == 1 && i < at + counts[block]; i++) {
            coef[i] = -coef[i];
        }
        at += counts[block];
    }
}

static void to_unbounded(const struct arima_order *o, const double *coef, double *u)
{
    const int counts[4] = {o->p, o->q, o->P, o->Q};
    int at = 0;
    for (int block = 0; block < 4; block++) {
        double c[ARIMA_ORDER_MAX] = {0};
        for (int i = 0; i < counts[block]; i++) {
            c[i] = block % 2 == 1 ? -coef[at + i] : coef[at + i];
        }
        arima_to_partial(c, counts[block], u + at);
        at += counts[block];
    }
}

// NOLINTNEXTLINE(readability-non-const-parameter): the optimiser's type
static double fit_objective(void *context, const double *u, double *ret_grad)
{
    struct fit *fit = context;
    (void)ret_grad;
    to_coef(fit->order, u, fit->coef);
    if (fit->conditional) {
        return arima_css_objective(&fit->fast, fit->coef);
    }
    return arima_fast_objective(fit->alone != NULL ? fit->alone : &fit->fast, fit->coef);
}

/* The same with missing values: the exact filter runs with the regression of the last evaluation; the regression
 * coefficients are unknowns behind the ARMA ones, in units of their start's scale. */
// NOLINTNEXTLINE(readability-non-const-parameter): the optimiser's type
static double missing_objective(void *context, const double *u, double *ret_grad)
{
    struct fit *fit = context;
    struct arima *model = fit->model;
    (void)ret_grad;
    to_coef(fit->order, u, fit->coef);
    int arma = model->arma_count;
    for (int i = 0; i < fit->b_count; i++) {
        fit->coef[arma + i] = fit->b_start[i] + u[arma + i] * fit->fast.b[i];
    }
    if (!arima_start(model, fit->coef, fit->arena)) {
        return NUM_INFINITY;
    }
    arima_filter(model, fit->data);
    effort_spend(fit->data->effort, (double)fit->data->n * model->size * model->size);
    return -model->loglik / fit->data->n;
}

static double column(const struct fit *fit, int t, int j)
{
    const struct arima_data *data = fit->data;
    if (j == 0) {
        return data->transformed ? box_cox(data->y[t], data->lambda) : data->y[t];
    }
    j--;
    if (fit->order->mean + fit->order->drift > 0) {
        if (j == 0) {
            return fit->order->mean ? 1 : t + 1;
        }
        j--;
    }
    return data->x[(long)t * data->k + j];
}

/* Differences the columns, takes least squares off the series; false if the regressors depend on each other. */
static bool build_rows(struct fit *fit, struct arena *arena)
{
    const struct arima_order *o = fit->order;
    int n = fit->data->n, cols = 1 + fit->b_count;
    double delta[ARIMA_DIFF_MAX];
    int lost = arima_delta(o, delta), rows = n - lost;
    double *w = ARENA_NEW_ARRAY(arena, double, (long)rows *cols);
    fit->b_start = ARENA_NEW_ARRAY(arena, double, cols);
    for (int t = 0; t < rows; t++) {
        for (int j = 0; j < cols; j++) {
            double v = column(fit, t + lost, j);
            for (int k = 0; k < lost; k++) {
                v -= num_is_zero(delta[k]) ? 0 : delta[k] * column(fit, t + lost - k - 1, j);
            }
            w[(long)t * cols + j] = v;
        }
    }
    fit->fast = (struct arima_fast){
        .order = o, .rows = rows, .cols = cols, .w = w, .effort = fit->data->effort};
    fit->fast.b = ARENA_NEW_ARRAY(arena, double, cols);
    if (cols == 1) {
        return true;
    }
    int k = cols - 1, known = 0;
    struct arena_mark mark = arena_mark(arena);
    double *x = ARENA_NEW_ARRAY(arena, double, (long)rows *k);
    double *y = ARENA_NEW_ARRAY(arena, double, rows);
    for (int t = 0; t < rows; t++) {
        if (isfinite(w[(long)t * cols])) {
            y[known] = w[(long)t * cols];
            memcpy(x + (long)known * k, w + (long)t * cols + 1, sizeof(double) * (size_t)k);
            known++;
        }
    }
    bool full = known > k && num_least_squares(x, y, known, k, fit->b_start) == k;
    arena_rewind(arena, mark);
    for (int t = 0; t < rows; t++) {
        for (int j = 0; j < k; j++) {
            w[(long)t * cols] -= fit->b_start[j] * w[(long)t * cols + j + 1];
        }
    }
    return full;
}

static bool any_missing(const struct arima_data *data)
{
    for (int i = 0; i < data->n; i++) {
        if (!isfinite(
                column(&(struct fit){.data = data, .order = &(struct arima_order){0}}, i, 0))) {
            return true;
        }
    }
    return false;
}

/* All of column 0 (almost) zero after the regression: nothing to estimate. */
static bool no_variation(const struct fit *fit)
{
    double sum = 0, scale = 0;
    for (int t = 0; t < fit->fast.rows; t++) {
        double v = fit->fast.w[(long)t * fit->fast.cols];
        sum += isfinite(v) ? v * v : 0;
    }
    for (int t = 0; t < fit->data->n; t++) {
        double v = column(fit, t, 0);
        scale += isfinite(v) ? v * v : 0;
    }
    return !(sum > 1e-24 * scale);
}

/* Starts: zero, the conditional fit, the caller's. Leaves the best in u. */
static void choose_start(struct fit *fit, const double *start, struct optim_problem *problem,
                         double *u)
{
    int k = problem->k;
    double *trial = ARENA_NEW_ARRAY(fit->arena, double, k);
    memset(u, 0, sizeof(double) * (size_t)k);
    double best = problem->fn(fit, u, NULL);
    if (start != NULL) {
        to_unbounded(fit->order, start, trial);
        double value = problem->fn(fit, trial, NULL);
        if (value < best) {
            memcpy(u, trial, sizeof(double) * (size_t)k);
        }
        return;
    }
    struct optim_problem css = *problem;
    css.fn = fit_objective;
    css.iterations_max = 40;
    css.tolerance = 1e-6;
    memset(trial, 0, sizeof(double) * (size_t)k);
    fit->conditional = 1;
    optim_bfgs(&css, trial, fit->arena);
    fit->conditional = 0;
    for (int i = 0; i < k; i++) {
        trial[i] = fmax(-2.5, fmin(2.5, trial[i]));
    }
    if (problem->fn(fit, trial, NULL) < best) {
        memcpy(u, trial, sizeof(double) * (size_t)k);
    }
}

/* Fit by the exact filter with missing values. */
static void fit_missing(struct fit *fit, const double *start, double *coef)
{
    int arma = fit->model->arma_count, k = arma + fit->b_count;
    double spread = 0;
    int known = 0, cols = fit->fast.cols;
    for (int t = 0; t < fit->fast.rows; t++) {
        double v = fit->fast.w[(long)t * cols];
        spread += isfinite(v) ? v * v : 0;
        known += isfinite(v) != 0;
    }
    for (int j = 0; j < fit->b_count; j++) {
        double squares = 0;
        for (int t = 0; t < fit->fast.rows; t++) {
            squares += pow(fit->fast.w[(long)t * cols + j + 1], 2);
        }
        fit->fast.b[j] = squares > 0 ? sqrt(spread / fmax(1, known) * fit->fast.rows / squares) : 1;
    }
    double *u = ARENA_NEW_ARRAY(fit->arena, double, k + 1);
    struct optim_problem problem = {.fn = missing_objective,
                                    .context = fit,
                                    .k = k,
                                    .iterations_max = 200,
                                    .tolerance = 1e-11,
                                    .gradient_small = 1e-8,
                                    .effort = fit->data->effort};
    if (start != NULL) {
        to_unbounded(fit->order, start, u);
    }
    if (k > 0) {
        optim_bfgs(&problem, u, fit->arena);
    }
    to_coef(fit->order, u, coef);
    for (int j = 0; j < fit->b_count; j++) {
        coef[arma + j] = fit->b_start[j] + u[arma + j] * fit->fast.b[j];
    }
}

/* Likelihood and regression in turns: the regression is profiled out over all columns, then the series less it is fitted as
 * one column, which is cheap. Information on the two is nearly orthogonal, so few rounds do; ends where a round no longer
 * lowers the likelihood of all columns. */
static void fit_in_turns(struct fit *fit, const struct optim_problem *problem, double *u)
{
    const struct arima_fast *all = &fit->fast;
    int rows = all->rows, cols = all->cols, k = problem->k;
    double *w = ARENA_NEW_ARRAY(fit->arena, double, rows);
    double *trial = ARENA_NEW_ARRAY(fit->arena, double, k);
    struct arima_fast alone = {
        .order = all->order, .rows = rows, .cols = 1, .w = w, .effort = all->effort};
    alone.room = ARENA_NEW_ARRAY(fit->arena, double, arima_fast_room(all->order, rows, 1));
    double best = fit_objective(fit, u, NULL);
    for (int round = 0; round < TURNS_MAX && isfinite(best) && effort_left(all->effort); round++) {
        for (int t = 0; t < rows; t++) {
            w[t] = all->w[(long)t * cols];
            for (int j = 1; j < cols; j++) {
                w[t] -= all->b[j - 1] * all->w[(long)t * cols + j];
            }
        }
        memcpy(trial, u, sizeof(double) * (size_t)k);
        fit->alone = &alone;
        optim_bfgs(problem, trial, fit->arena);
        fit->alone = NULL;
        double value = fit_objective(fit, trial, NULL), gained = best - value;
        if (!(gained > 0)) {
            break;
        }
        best = value;
        memcpy(u, trial, sizeof(double) * (size_t)k);
        if (gained < problem->tolerance) {
            break;
        }
    }
}

static void fit_complete(struct fit *fit, const double *start, int arma, double *coef)
{
    double *u = ARENA_NEW_ARRAY(fit->arena, double, arma + 1);
    long room = arima_fast_room(fit->order, fit->fast.rows, fit->fast.cols);
    fit->fast.room = ARENA_NEW_ARRAY(fit->arena, double, room);
    struct optim_problem problem = {.fn = fit_objective,
                                    .context = fit,
                                    .k = arma,
                                    .iterations_max = 200,
                                    .tolerance = 1e-11,
                                    .gradient_small = 1e-8,
                                    .effort = fit->data->effort};
    if (arma > 0 && !no_variation(fit)) {
        if (!fit->conditional) {
            choose_start(fit, start, &problem, u);
        }
        if (fit->fast.cols > 1 && !fit->conditional) {
            fit_in_turns(fit, &problem, u);
        } else {
            optim_bfgs(&problem, u, fit->arena);
        }
    }
    fit_objective(fit, u, NULL);
    memcpy(coef, fit->coef, sizeof(double) * (size_t)arma);
    for (int j = 0; j < fit->b_count; j++) {
        coef[arma + j] = fit->b_start[j] + (isfinite(fit->fast.b[j]) ? fit->fast.b[j] : 0);
    }
}

static struct fit new_fit(const struct arima_data *data, const struct arima *model,
                          struct arena *arena)
{
    struct fit fit = {.data = data, .order = &model->order, .arena = arena};
    fit.b_count = model->b_count;
    fit.coef = ARENA_NEW_ARRAY(arena, double, ARIMA_COEF_MAX + model->b_count);
    return fit;
}

bool arima_rows(const struct arima_data *data, const struct arima_order *order, int b_count,
                struct arena *arena, struct arima_fast *ret)
{
    struct fit fit = {.data = data, .order = order, .arena = arena, .b_count = b_count};
    bool full = build_rows(&fit, arena);
    *ret = fit.fast;
    return full;
}

enum err arima_fit(const struct arima_data *data, const struct arima_order *order,
                   const double *start, struct arena *arena, struct arima *ret,
                   struct err_info *info)
{
    enum err err = arima_check(data, order, info);
    if (err != ERR_OK) {
        return err;
    }
    arima_init(ret, data, order, arena);
    struct arena_mark mark = arena_mark(arena);
    struct fit fit = new_fit(data, ret, arena);
    double *coef = ARENA_NEW_ARRAY(arena, double, ret->arma_count + ret->b_count + 1);
    if (!build_rows(&fit, arena)) {
        return err_set(info, ERR_INVALID, "the regressors depend on each other");
    }
    if (any_missing(data)) {
        fit.model = ret;
        fit_missing(&fit, start, coef);
    } else {
        fit_complete(&fit, start, ret->arma_count, coef);
    }
    bool ok = arima_start(ret, coef, arena);
    arena_rewind(arena, mark);
    if (!ok) {
        return err_set(info, ERR_INVALID, "the fit ended on the edge of stationarity");
    }
    effort_spend(data->effort, (double)data->n * 4 * ret->size);
    arima_filter(ret, data);
    return ERR_OK;
}

enum err arima_fit_css(const struct arima_data *data, const struct arima_order *order,
                       struct arena *arena, struct arima *ret, struct err_info *info)
{
    enum err err = arima_check(data, order, info);
    if (err != ERR_OK) {
        return err;
    }
    if (any_missing(data)) {
        return err_set(info, ERR_INVALID, "conditional least squares takes no missing values");
    }
    arima_init(ret, data, order, arena);
    struct arena_mark mark = arena_mark(arena);
    struct fit fit = new_fit(data, ret, arena);
    double *coef = ARENA_NEW_ARRAY(arena, double, ret->arma_count + ret->b_count + 1);
    if (!build_rows(&fit, arena)) {
        return err_set(info, ERR_INVALID, "the regressors depend on each other");
    }
    fit.conditional = 1;
    fit_complete(&fit, NULL, ret->arma_count, coef);
    double f = arima_css_objective(&fit.fast, coef);
    int rows = fit.fast.rows, counted = rows - ret->p_full;
    bool ok = arima_start(ret, coef, arena);
    arena_rewind(arena, mark);
    if (!ok) {
        return err_set(info, ERR_INVALID, "the fit ended on the edge of stationarity");
    }
    arima_filter(ret, data);
    int parameters = ret->arma_count + ret->b_count + 1;
    ret->loglik = -0.5 * (2 * rows * f + rows + rows * log(6.283185307179586));
    ret->sigma2 = exp(2 * f) * counted / (rows - parameters + 1);
    ret->aic = ret->aicc = ret->bic = NUM_NAN;
    return ERR_OK;
}
