// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <string.h>

#include "forecast/arima_priv.h"
#include "forecast/num.h"
#include "forecast/optim.h"

enum { TURNS_MAX = 20, ROWS_PER_LAG = 50 };

/* Step of the derivative of coefficients by parameters; the least curvature believed, in units of the likelihood per value. */
static const double JACOBIAN_STEP = 1e-6, CURVATURE_MIN = 1e-6;

/* A fit in progress. The unknowns are the unbounded parameters of the ARMA blocks only; the regression coefficients are
 * profiled out. Both AR and MA blocks go through partial autocorrelations, so every point tried is stationary and
 * invertible; the likelihood is the same at reflected MA roots, so nothing is lost. */
struct fit {
    const struct arima_data *data;
    const struct arima_order *order;
    struct arima_fast fast;
    double *coef;        /* of the point being evaluated */
    double *screen_room; /* of arima_screen */
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

/* The errors before the longest lag are unknown: where they are few, least squares that take them as zero, else the conditional
 * sum, which leaves them out. */
static void start_of_squares(struct fit *fit, const struct optim_problem *problem, const double *x,
                             double *u)
{
    const struct arima_order *o = fit->order;
    int p = o->p + o->m * o->P, q = o->q + o->m * o->Q, k = problem->k, rows = fit->fast.rows;
    if ((long)(p > q ? p : q) * ROWS_PER_LAG <= rows) {
        double coef[ARIMA_COEF_MAX] = {0};
        arima_screen(o, x, rows, coef, fit->screen_room, fit->fast.effort);
        to_unbounded(o, coef, u);
    } else {
        struct optim_problem css = *problem;
        css.iterations_max = 40;
        css.tolerance = 1e-6;
        fit->conditional = 1;
        optim_bfgs(&css, u, fit->arena);
        fit->conditional = 0;
    }
    for (int i = 0; i < k; i++) {
        u[i] = fmax(-2.5, fmin(2.5, u[i]));
    }
}

/* Starts: zero, that of least squares, the caller's. Leaves the best in u; x: the series less its regression. */
static void choose_start(struct fit *fit, const struct optim_problem *problem, const double *x,
                         const double *start, double *u)
{
    double trial[ARIMA_COEF_MAX] = {0};
    memset(u, 0, sizeof(double) * (size_t)problem->k);
    double best = fit_objective(fit, u, NULL);
    if (start != NULL) {
        to_unbounded(fit->order, start, trial);
    } else {
        start_of_squares(fit, problem, x, trial);
    }
    if (fit_objective(fit, trial, NULL) < best) {
        memcpy(u, trial, sizeof(double) * (size_t)problem->k);
    }
}

/* Row i: the derivative of the coefficients by u_i, which `coef` are those of. */
static void derive_coef(const struct arima_order *o, const double *u, const double *coef, int k,
                        double *jacobian)
{
    double moved[ARIMA_COEF_MAX];
    memcpy(moved, u, sizeof(double) * (size_t)k);
    for (int i = 0; i < k; i++) {
        double *row = jacobian + (long)i * k;
        moved[i] = u[i] + JACOBIAN_STEP;
        to_coef(o, moved, row);
        moved[i] = u[i];
        for (int j = 0; j < k; j++) {
            row[j] = (row[j] - coef[j]) / JACOBIAN_STEP;
        }
    }
}

/* a' M b of k x k. */
static double form(const double *a, const double *matrix, const double *b, int k)
{
    double sum = 0;
    for (int i = 0; i < k; i++) {
        for (int j = 0; j < k; j++) {
            sum += a[i] * matrix[(long)i * k + j] * b[j];
        }
    }
    return sum;
}

/* Inverse of the likelihood's Hessian by u, nearly: that of the sum of squares, carried over to u. False where it is
 * not positive. */
static bool inverse_hessian(struct fit *fit, const double *x, const double *u, int k,
                            double *inverse)
{
    enum { SQUARE = ARIMA_COEF_MAX * ARIMA_COEF_MAX };
    double coef[ARIMA_COEF_MAX], jacobian[SQUARE], by_coef[SQUARE], matrix[SQUARE];
    to_coef(fit->order, u, coef);
    derive_coef(fit->order, u, coef, k, jacobian);
    arima_curvature(fit->order, x, fit->fast.rows, coef, fit->screen_room, fit->fast.effort,
                    by_coef);
    for (int i = 0; i < k; i++) {
        for (int j = 0; j <= i; j++) {
            matrix[i * k + j] = form(jacobian + (long)i * k, by_coef, jacobian + (long)j * k, k);
        }
        matrix[i * k + i] += CURVATURE_MIN;
    }
    if (!num_cholesky(matrix, k)) {
        return false;
    }
    memset(inverse, 0, sizeof(double) * (size_t)k * (size_t)k);
    for (int i = 0; i < k; i++) {
        inverse[i * k + i] = 1;
        num_cholesky_solve(matrix, inverse + (long)i * k, k);
    }
    return true;
}

/* Quasi-Newton from u, with the curvature of x (the series less its regression) to begin with. */
static void climb(struct fit *fit, const struct optim_problem *problem, const double *x, double *u)
{
    double inverse[ARIMA_COEF_MAX * ARIMA_COEF_MAX];
    struct optim_problem near = *problem;
    if (inverse_hessian(fit, x, u, problem->k, inverse)) {
        near.inverse = inverse;
    }
    optim_bfgs(&near, u, fit->arena);
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
        climb(fit, problem, w, trial);
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

static void fit_exactly(struct fit *fit, const struct optim_problem *problem, const double *start,
                        double *u)
{
    int rows = fit->fast.rows, cols = fit->fast.cols;
    const double *x = fit->fast.w;
    fit->screen_room = ARENA_NEW_ARRAY(fit->arena, double, 5L * rows);
    if (cols > 1) {
        double *first = ARENA_NEW_ARRAY(fit->arena, double, rows);
        for (int t = 0; t < rows; t++) {
            first[t] = fit->fast.w[(long)t * cols];
        }
        x = first;
    }
    choose_start(fit, problem, x, start, u);
    if (cols > 1) {
        fit_in_turns(fit, problem, u);
    } else {
        climb(fit, problem, x, u);
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
        if (fit->conditional) {
            optim_bfgs(&problem, u, fit->arena);
        } else {
            fit_exactly(fit, &problem, start, u);
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
