// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <string.h>

#include "base/check.h"
#include "forecast/arima_priv.h"
#include "forecast/num.h"

/* Variance of the diffuse start, in units of sigma2, and the F above which a step is still part of that start. */
static const double DIFFUSE_VARIANCE = 1e6, DIFFUSE_LIMIT = 1e4;

int arima_expand(const double *c, int count, const double *seasonal, int seasonal_count, int m,
                 int sign, double *full)
{
    int length = count + m * seasonal_count;
    memset(full, 0, sizeof(double) * (size_t)length);
    memcpy(full, c, sizeof(double) * (size_t)count);
    for (int s = 0; s < seasonal_count; s++) {
        full[(s + 1) * m - 1] += seasonal[s];
        for (int j = 0; j < count; j++) {
            full[(s + 1) * m + j] += sign * c[j] * seasonal[s];
        }
    }
    return length;
}

void arima_from_partial(const double *u, int count, double *coef)
{
    double work[ARIMA_ORDER_MAX];
    for (int j = 0; j < count; j++) {
        double last = tanh(u[j]);
        for (int k = 0; k < j; k++) {
            work[k] = coef[k] - last * coef[j - 1 - k];
        }
        memcpy(coef, work, sizeof(double) * (size_t)j);
        coef[j] = last;
    }
}

bool arima_to_partial(const double *coef, int count, double *u)
{
    double c[ARIMA_ORDER_MAX], work[ARIMA_ORDER_MAX];
    bool inside = true;
    memcpy(c, coef, sizeof(double) * (size_t)count);
    for (int j = count - 1; j >= 0; j--) {
        double last = c[j];
        if (!(fabs(last) < 0.9999)) {
            inside = false;
            last = last > 0 ? 0.95 : -0.95;
        }
        u[j] = atanh(last);
        for (int k = 0; k < j; k++) {
            work[k] = (c[k] + last * c[j - 1 - k]) / (1 - last * last);
        }
        memcpy(c, work, sizeof(double) * (size_t)j);
    }
    return inside;
}

int arima_delta(const struct arima_order *order, double *delta)
{
    double poly[ARIMA_DIFF_MAX + 1] = {1};
    int length = 0;
    for (int i = 0; i < order->d + order->D; i++) {
        int lag = i < order->d ? 1 : order->m;
        length += lag;
        for (int j = length; j >= lag; j--) {
            poly[j] -= poly[j - lag];
        }
    }
    for (int j = 0; j < length; j++) {
        delta[j] = -poly[j + 1];
    }
    return length;
}

long arima_stationary_room(int p, int q, int r)
{
    long size = p + 1;
    return size * size + size + q + 1 + r;
}

bool arima_stationary(const double *phi, int p, const double *theta, int q, int r, double *c,
                      double *room)
{
    int size = p + 1;
    double *a = room, *gamma = a + (long)size * size, *psi = gamma + size;
    psi[0] = 1;
    for (int j = 1; j <= q; j++) {
        psi[j] = theta[j - 1];
        for (int i = 1; i <= p && i <= j; i++) {
            psi[j] += phi[i - 1] * psi[j - i];
        }
    }
    memset(a, 0, sizeof(double) * (size_t)size * (size_t)size);
    for (int k = 0; k < size; k++) {
        a[(long)k * size + k] += 1;
        for (int j = 1; j <= p; j++) {
            int lag = k > j ? k - j : j - k;
            a[(long)k * size + lag] -= phi[j - 1];
        }
        gamma[k] = k == 0 ? 1 : 0;
        for (int j = k > 0 ? k : 1; j <= q; j++) {
            gamma[k] += theta[j - 1] * psi[j - k];
        }
    }
    if (!num_solve(a, gamma, size) || !(gamma[0] > 0) || !isfinite(gamma[0])) {
        return false;
    }
    c[0] = gamma[0];
    for (int i = 1; i < r; i++) {
        c[i] = 0;
        for (int j = i + 1; j <= p; j++) {
            c[i] += phi[j - 1] * gamma[j - i];
        }
        for (int j = i; j <= q; j++) {
            c[i] += theta[j - 1] * psi[j - i];
        }
    }
    return true;
}

static int max_int(int a, int b)
{
    return a > b ? a : b;
}

enum err arima_check(const struct arima_data *data, const struct arima_order *order,
                     struct err_info *info)
{
    const struct arima_order *o = order;
    if (o->p < 0 || o->q < 0 || o->p > ARIMA_ORDER_MAX || o->q > ARIMA_ORDER_MAX || o->d < 0 ||
        o->d > 2) {
        return err_set(info, ERR_LIMIT, "ARIMA(%d,%d,%d): p and q go to %d, d to 2", o->p, o->d,
                       o->q, ARIMA_ORDER_MAX);
    }
    if (o->P < 0 || o->Q < 0 || o->P > ARIMA_SEASONAL_MAX || o->Q > ARIMA_SEASONAL_MAX ||
        o->D < 0 || o->D > 1) {
        return err_set(info, ERR_LIMIT, "seasonal ARIMA(%d,%d,%d): P and Q go to %d, D to 1", o->P,
                       o->D, o->Q, ARIMA_SEASONAL_MAX);
    }
    if (o->P + o->D + o->Q > 0 && (o->m < 2 || o->m > STATE_SEASON_MAX)) {
        return err_set(
            info, ERR_LIMIT,
            "a season of %d steps in the state; 2 to %d fit, longer ones as Fourier terms", o->m,
            STATE_SEASON_MAX);
    }
    if ((o->mean && o->d + o->D != 0) || (o->drift && o->d + o->D != 1)) {
        return err_set(info, ERR_INVALID,
                       "a mean needs d + D = 0 and a drift d + D = 1; here it is %d", o->d + o->D);
    }
    if (data->n < 1 || data->n > SERIES_MAX || data->k < 0 || data->k > REGRESSORS_MAX) {
        return err_set(info, ERR_LIMIT, "%d values, %d regressors; most are %d and %d", data->n,
                       data->k, SERIES_MAX, REGRESSORS_MAX);
    }
    int finite = 0;
    for (int i = 0; i < data->n; i++) {
        finite += isfinite(data->y[i]) != 0;
    }
    int parameters = o->p + o->q + o->P + o->Q + o->mean + o->drift + data->k;
    int lost = o->d + o->D * o->m;
    if (finite - lost < parameters + 2) {
        return err_set(info, ERR_INVALID,
                       "%d values after differencing are too few for %d parameters", finite - lost,
                       parameters);
    }
    return ERR_OK;
}

void arima_init(struct arima *model, const struct arima_data *data, const struct arima_order *order,
                struct arena *arena)
{
    *model = (struct arima){.order = *order,
                            .k = data->k,
                            .transformed = data->transformed,
                            .lambda = data->lambda,
                            .bias_adjust = data->bias_adjust};
    struct arima_order *o = &model->order;
    if (o->P + o->D + o->Q == 0) {
        o->m = 1;
    }
    model->arma_count = o->p + o->q + o->P + o->Q;
    model->b_count = o->mean + o->drift + data->k;
    model->p_full = o->p + o->m * o->P;
    model->q_full = o->q + o->m * o->Q;
    model->diff_count = o->d + o->m * o->D;
    model->r = max_int(model->p_full, model->q_full + 1);
    model->size = model->r + model->diff_count;
    long size = model->size;
    model->coef = ARENA_NEW_ARRAY(arena, double, model->arma_count + model->b_count + 1);
    model->phi = ARENA_NEW_ARRAY(arena, double, model->r + 1);
    model->theta = ARENA_NEW_ARRAY(arena, double, model->r + 1);
    model->delta = ARENA_NEW_ARRAY(arena, double, model->diff_count + 1);
    model->state = ARENA_NEW_ARRAY(arena, double, size);
    model->gain = ARENA_NEW_ARRAY(arena, double, size);
    model->cov = ARENA_NEW_ARRAY(arena, double, size *size);
    model->room = ARENA_NEW_ARRAY(arena, double, 2 * size * size);
    model->residuals = ARENA_NEW_ARRAY(arena, double, data->n);
    arima_delta(o, model->delta);
}

bool arima_start(struct arima *model, const double *coef, struct arena *arena)
{
    const struct arima_order *o = &model->order;
    int size = model->size, r = model->r;
    memmove(model->coef, coef, sizeof(double) * (size_t)(model->arma_count + model->b_count));
    const double *ar = coef, *ma = ar + o->p, *sar = ma + o->q, *sma = sar + o->P;
    memset(model->phi, 0, sizeof(double) * (size_t)r);
    memset(model->theta, 0, sizeof(double) * (size_t)r);
    arima_expand(ar, o->p, sar, o->P, o->m, -1, model->phi);
    arima_expand(ma, o->q, sma, o->Q, o->m, 1, model->theta);
    struct arena_mark mark = arena_mark(arena);
    double *c = ARENA_NEW_ARRAY(arena, double, r);
    long room = arima_stationary_room(model->p_full, model->q_full, r);
    bool ok = arima_stationary(model->phi, model->p_full, model->theta, model->q_full, r, c,
                               ARENA_NEW_ARRAY(arena, double, room));
    double *cov = model->cov;
    memset(cov, 0, sizeof(double) * (size_t)size * (size_t)size);
    for (int i = r - 1; ok && i >= 0; i--) {
        for (int j = i; j >= 0; j--) {
            double value = j == 0 ? c[i] : 0;
            if (j > 0) {
                double r_i = model->theta[i - 1], r_j = model->theta[j - 1];
                double down_i = i + 1 < r ? c[i + 1] : 0, down_j = j + 1 < r ? c[j + 1] : 0;
                double corner = i + 1 < r ? cov[(long)(i + 1) * size + j + 1] : 0;
                value = model->phi[i] * model->phi[j] * c[0] + model->phi[i] * down_j +
                        model->phi[j] * down_i + corner + r_i * r_j;
            }
            cov[(long)i * size + j] = cov[(long)j * size + i] = value;
        }
    }
    for (int i = r; i < size; i++) {
        cov[(long)i * size + i] = DIFFUSE_VARIANCE;
    }
    memset(model->state, 0, sizeof(double) * (size_t)size);
    memset(model->gain, 0, sizeof(double) * (size_t)size);
    model->seen = model->still = model->steady = 0;
    arena_rewind(arena, mark);
    return ok;
}

double arima_regression(const struct arima *model, int t, const double *x)
{
    const struct arima_order *o = &model->order;
    const double *b = model->coef + model->arma_count;
    double sum = 0;
    CHECK(model->k == 0 || x != NULL);
    if (o->mean) {
        sum += *b++;
    }
    if (o->drift) {
        sum += *b++ * (t + 1);
    }
    for (int j = 0; j < model->k; j++) {
        sum += b[j] * x[j];
    }
    return sum;
}

/* out = T in for `columns` columns of a matrix with `stride` elements a row. Rows of T: the ARMA companion, the row that
 * forms n_{t-1}, the shift of the older ones. */
static void apply_transition(const struct arima *model, const double *in, double *out, int columns)
{
    int r = model->r, size = model->size;
    for (int i = 0; i < r; i++) {
        double phi = model->phi[i];
        const double *next = in + (long)(i + 1) * columns;
        for (int j = 0; j < columns; j++) {
            out[(long)i * columns + j] = phi * in[j] + (i + 1 < r ? next[j] : 0);
        }
    }
    if (size == r) {
        return;
    }
    double *row = out + (long)r * columns;
    memcpy(row, in, sizeof(double) * (size_t)columns);
    for (int k = 0; k < model->diff_count; k++) {
        if (num_is_zero(model->delta[k])) {
            continue;
        }
        for (int j = 0; j < columns; j++) {
            row[j] += model->delta[k] * in[(long)(r + k) * columns + j];
        }
    }
    memcpy(row + columns, in + (long)r * columns,
           sizeof(double) * (size_t)columns * (size_t)(model->diff_count - 1));
}

/* cov = T cov T' + V: twice T on a transposed matrix. */
static void predict_covariance(const struct arima *model, double *cov)
{
    int size = model->size, r = model->r;
    double *half = model->room, *turned = model->room + (long)size * size;
    apply_transition(model, cov, half, size);
    for (int i = 0; i < size; i++) {
        for (int j = 0; j < size; j++) {
            turned[(long)j * size + i] = half[(long)i * size + j];
        }
    }
    apply_transition(model, turned, cov, size);
    for (int i = 0; i < r; i++) {
        double r_i = i == 0 ? 1 : model->theta[i - 1];
        for (int j = 0; j < r; j++) {
            cov[(long)i * size + j] += r_i * (j == 0 ? 1 : model->theta[j - 1]);
        }
    }
}

/* m = cov Z'; returns Z m. */
static double observe_covariance(const struct arima *model, const double *cov, double *m)
{
    int size = model->size, r = model->r;
    for (int i = 0; i < size; i++) {
        double sum = cov[(long)i * size];
        for (int k = 0; k < model->diff_count; k++) {
            sum += model->delta[k] * cov[(long)i * size + r + k];
        }
        m[i] = sum;
    }
    double f = m[0];
    for (int k = 0; k < model->diff_count; k++) {
        f += model->delta[k] * m[r + k];
    }
    return f;
}

static double observe_state(const struct arima *model, const double *a)
{
    double sum = a[0];
    for (int k = 0; k < model->diff_count; k++) {
        sum += model->delta[k] * a[model->r + k];
    }
    return sum;
}

/* The gain has not moved: after `size` such steps the covariance is left alone. */
static void watch_gain(struct arima *model, const double *m, double f)
{
    double moved = 0;
    for (int i = 0; i < model->size; i++) {
        double next = m[i] / f;
        double change = fabs(next - model->gain[i]);
        moved = change > moved ? change : moved;
        model->gain[i] = next;
    }
    model->still = moved < 1e-13 && f < DIFFUSE_LIMIT ? model->still + 1 : 0;
}

/* One value n_t (regression part taken off); returns v / sqrt(F), NaN if missing. model->last_f gets F. */
static double filter_step(struct arima *model, double value)
{
    int size = model->size;
    double *m = model->room;
    if (model->steady && !isfinite(value)) {
        model->steady =
            0; /* cov is the predicted one; the update that was left out is made up for below */
        double f = observe_covariance(model, model->cov, m);
        for (int i = 0; i < size; i++) {
            for (int j = 0; j < size; j++) {
                model->cov[(long)i * size + j] -= m[i] * m[j] / f;
            }
        }
    }
    if (model->seen > 0) {
        apply_transition(model, model->state, model->room + size, 1);
        memcpy(model->state, model->room + size, sizeof(double) * (size_t)size);
        if (!model->steady) {
            predict_covariance(model, model->cov);
        }
    }
    model->seen++;
    if (!isfinite(value)) {
        model->still = 0;
        return NUM_NAN;
    }
    double v = value - observe_state(model, model->state);
    if (!model->steady) {
        model->last_f = observe_covariance(model, model->cov, m);
        watch_gain(model, m, model->last_f);
        model->steady = model->still > size;
    }
    for (int i = 0; i < size; i++) {
        model->state[i] += model->gain[i] * v;
    }
    for (int i = 0; !model->steady && i < size; i++) {
        double g = m[i] / model->last_f;
        for (int j = 0; j < size; j++) {
            model->cov[(long)i * size + j] -= g * m[j];
        }
    }
    return v / sqrt(model->last_f);
}

static double data_value(const struct arima *model, double y)
{
    return model->transformed ? box_cox(y, model->lambda) : y;
}

void arima_filter(struct arima *model, const struct arima_data *data)
{
    double ssq = 0, sum_log = 0, all_squares = 0, last_f = 1, log_f = 0;
    int used = 0, known = 0;
    for (int t = 0; t < data->n; t++) {
        double y = data_value(model, data->y[t]);
        double e = filter_step(
            model, y - arima_regression(model, t, data->x ? data->x + (long)t * data->k : NULL));
        model->residuals[t] = e;
        if (!isfinite(e)) {
            continue;
        }
        known++;
        all_squares += e * e;
        if (model->last_f < DIFFUSE_LIMIT) {
            ssq += e * e;
            if (model->last_f < last_f || model->last_f > last_f) { /* once settled it stays */
                last_f = model->last_f;
                log_f = log(last_f);
            }
            sum_log += log_f;
            used++;
        }
    }
    double n_used = known - model->diff_count;
    double f = 0.5 * (log(ssq / used) + sum_log / used);
    double two_pi = 6.283185307179586;
    model->loglik = -0.5 * (2 * n_used * f + n_used + n_used * log(two_pi));
    int parameters = model->arma_count + model->b_count + 1;
    model->nobs = known - model->diff_count;
    double n_star = model->nobs;
    model->aic = -2 * model->loglik + 2 * parameters;
    model->aicc = n_star - parameters - 1 > 0
                      ? model->aic + 2 * parameters * (n_star / (n_star - parameters - 1) - 1)
                      : NUM_INFINITY;
    model->bic = model->aic + parameters * (log(n_star) - 2);
    model->sigma2 = all_squares / fmax(1, n_star - parameters + 1);
}

enum err arima_at(const struct arima_data *data, const struct arima_order *order,
                  const double *coef, struct arena *arena, struct arima *ret, struct err_info *info)
{
    enum err err = arima_check(data, order, info);
    if (err != ERR_OK) {
        return err;
    }
    arima_init(ret, data, order, arena);
    double u[ARIMA_ORDER_MAX];
    if (!arima_to_partial(coef, ret->order.p, u) ||
        !arima_to_partial(coef + ret->order.p + ret->order.q, ret->order.P, u) ||
        !arima_start(ret, coef, arena)) {
        return err_set(info, ERR_INVALID, "the AR part is not stationary");
    }
    arima_filter(ret, data);
    return ERR_OK;
}

double arima_update(struct arima *model, double y, const double *x)
{
    double value = data_value(model, y) - arima_regression(model, model->seen, x);
    return filter_step(model, value);
}

static double *copy_of(const double *from, long count, struct arena *arena)
{
    double *to = ARENA_NEW_ARRAY(arena, double, count);
    memcpy(to, from, sizeof(double) * (size_t)count);
    return to;
}

void arima_copy(const struct arima *from, struct arena *arena, struct arima *ret)
{
    long size = from->size;
    *ret = *from;
    ret->coef = copy_of(from->coef, from->arma_count + from->b_count + 1, arena);
    ret->phi = copy_of(from->phi, from->r + 1, arena);
    ret->theta = copy_of(from->theta, from->r + 1, arena);
    ret->delta = copy_of(from->delta, from->diff_count + 1, arena);
    ret->state = copy_of(from->state, size, arena);
    ret->gain = copy_of(from->gain, size, arena);
    ret->cov = copy_of(from->cov, size * size, arena);
    ret->room = ARENA_NEW_ARRAY(arena, double, 2 * size * size);
    ret->residuals = NULL;
}

enum err arima_forecast(const struct arima *model, int h, const double *x, struct arena *arena,
                        struct forecast *ret, struct err_info *info)
{
    if (h < 1 || h > HORIZON_MAX) {
        return err_set(info, ERR_LIMIT, "a horizon of %d steps; 1 to %d are allowed", h,
                       HORIZON_MAX);
    }
    forecast_init(ret, h, arena);
    struct arena_mark mark = arena_mark(arena);
    int size = model->size;
    double *a = ARENA_NEW_ARRAY(arena, double, 2L * size);
    double *cov = ARENA_NEW_ARRAY(arena, double, (long)size *size);
    double *m = ARENA_NEW_ARRAY(arena, double, size);
    struct arima scratch = *model;
    scratch.room = ARENA_NEW_ARRAY(arena, double, 2L * size * size);
    memcpy(a, model->state, sizeof(double) * (size_t)size);
    memcpy(cov, model->cov, sizeof(double) * (size_t)size * (size_t)size);
    for (int i = 0; i < h; i++) {
        apply_transition(model, a, a + size, 1);
        memcpy(a, a + size, sizeof(double) * (size_t)size);
        if (i > 0 || !model->steady) {
            predict_covariance(&scratch, cov);
        }
        ret->center[i] =
            observe_state(model, a) +
            arima_regression(model, model->seen + i, x ? x + (long)i * model->k : NULL);
        double variance = observe_covariance(model, cov, m) * model->sigma2;
        ret->sd[i] = sqrt(fmax(variance, 0));
        ret->mean[i] = ret->center[i];
        if (model->transformed) {
            ret->mean[i] = model->bias_adjust
                               ? box_cox_mean(ret->center[i], variance, model->lambda)
                               : box_cox_inverse(ret->center[i], model->lambda);
        }
    }
    ret->transformed = model->transformed;
    ret->lambda = model->lambda;
    arena_rewind(arena, mark);
    return ERR_OK;
}
