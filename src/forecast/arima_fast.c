// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <string.h>

#include "forecast/arima_priv.h"
#include "forecast/num.h"

/* The likelihood of a fit's inner loop: the differenced series without missing values is stationary, so the increments
 * of its filter's covariance have rank one (Chandrasekhar recursions) and a step costs O(r); once the gain has settled
 * the filter is the ARMA recursion itself and a step costs only the non-zero lags.
 *
 *   F' = F + M zw^2        zw = W_0
 *   K' = K + T W M zw
 *   M' = M + M^2 zw^2 / F
 *   W' = T W - K' zw / F'   from F = c_0, K = T c, W = K, M = -1/F with c the first column of the stationary covariance
 *
 * All columns (series and regressors) pass the same filter, so the regression coefficients are those of least squares
 * on the standardised errors. */

enum { LAGS_MAX = (ARIMA_ORDER_MAX + 1) * (ARIMA_SEASONAL_MAX + 1) };

/* Relative size of an increment that no longer changes the likelihood. */
static const double SETTLED = 1e-14;

struct lags {
    int count;
    int lag[LAGS_MAX];
    double c[LAGS_MAX];
};

struct filter {
    int p, q, r, rows, cols;
    const double *w;
    double *phi, *theta; /* [r] */
    double *gain_k;      /* K[r] */
    double *w_vec;       /* W[r] */
    double *a;           /* state [r + 1][cols], last row zero */
    double *errors;      /* [rows][cols] */
    double *normal;      /* [cols][cols] sums of products / F */
    double f, m;
    double sum_log;
    struct lags ar, ma;
};

static int longest(const struct arima_order *o)
{
    int p = o->p + o->m * o->P, q = o->q + o->m * o->Q;
    return p > q + 1 ? p : q + 1;
}

long arima_fast_room(const struct arima_order *order, int rows, int cols)
{
    long r = longest(order);
    return 4 * r + (r + 1) * cols + (long)rows * cols + 2L * cols * cols + 2L * cols +
           arima_stationary_room((int)r, (int)r, (int)r) + r;
}

/* The farthest first: the recursion waits for the nearest. */
static void collect(const double *c, int count, struct lags *lags)
{
    lags->count = 0;
    for (int i = count - 1; i >= 0; i--) {
        if (!num_is_zero(c[i]) && lags->count < LAGS_MAX) {
            lags->lag[lags->count] = i + 1;
            lags->c[lags->count++] = c[i];
        }
    }
}

/* Lays the filter out over fast->room; returns what is left of it. */
static double *lay_out(struct arima_fast *fast, const double *coef, struct filter *s)
{
    const struct arima_order *o = fast->order;
    s->p = o->p + o->m * o->P;
    s->q = o->q + o->m * o->Q;
    s->r = longest(o);
    s->rows = fast->rows;
    s->cols = fast->cols;
    s->w = fast->w;
    double *at = fast->room;
    s->phi = at, at += s->r;
    s->theta = at, at += s->r;
    s->gain_k = at, at += s->r;
    s->w_vec = at, at += s->r;
    s->a = at, at += (long)(s->r + 1) * s->cols;
    s->errors = at, at += (long)s->rows * s->cols;
    s->normal = at, at += (long)s->cols * s->cols;
    memset(fast->room, 0, sizeof(double) * (size_t)(4 * s->r + (s->r + 1) * s->cols));
    memset(s->normal, 0, sizeof(double) * (size_t)s->cols * (size_t)s->cols);
    const double *ma = coef + o->p, *sar = ma + o->q, *sma = sar + o->P;
    arima_expand(coef, o->p, sar, o->P, o->m, -1, s->phi);
    arima_expand(ma, o->q, sma, o->Q, o->m, 1, s->theta);
    collect(s->phi, s->p, &s->ar);
    collect(s->theta, s->q, &s->ma);
    s->sum_log = 0;
    return at;
}

/* Adds the errors of row t, divided by sqrt(F), to the normal equations. */
static void add_errors(struct filter *s, const double *v, double f)
{
    for (int i = 0; i < s->cols; i++) {
        double scaled = v[i] / f;
        for (int j = 0; j <= i; j++) {
            s->normal[(long)i * s->cols + j] += scaled * v[j];
        }
    }
}

/* Moves the state one step on with the errors v of this row. */
static void step_state(struct filter *s, const double *v)
{
    int cols = s->cols, r = s->r;
    for (int j = 0; j < cols; j++) {
        double a0 = s->a[j], g = v[j] / s->f;
        for (int i = 0; i < r; i++) {
            s->a[(long)i * cols + j] =
                s->phi[i] * a0 + s->a[(long)(i + 1) * cols + j] + s->gain_k[i] * g;
        }
    }
}

/* Moves F, K, M, W one step on; returns the relative size of the increment. */
static double step_gain(struct filter *s)
{
    int r = s->r;
    double zw = s->w_vec[0], mz = s->m * zw;
    double next_f = s->f + mz * zw, next_m = s->m + mz * mz / s->f;
    double ratio = zw / next_f, largest = 0;
    for (int i = 0; i < r; i++) {
        double tw = s->phi[i] * zw + (i + 1 < r ? s->w_vec[i + 1] : 0);
        s->gain_k[i] += tw * mz;
        s->w_vec[i] = tw - s->gain_k[i] * ratio;
        largest = fmax(largest, fabs(s->w_vec[i]));
    }
    s->f = next_f;
    s->m = next_m;
    return largest * largest * fabs(next_m) / next_f;
}

void arima_subtract_lagged(double *e, const double *x, int from, int rows, int lag, double c)
{
    for (int t = from; t < rows; t++) {
        e[t] -= c * x[t - lag];
    }
}

void arima_recurse(double *e, int from, int rows, const double *c, const int *lag, int count)
{
    if (count == 0 || from >= rows) {
        return;
    }
    bool near = lag[count - 1] == 1; /* what each row waits for stays in a register */
    int far = count - near;
    double nearest = near ? c[far] : 0, last = from > 0 ? e[from - 1] : 0;
    for (int t = from; t < rows; t++) {
        double v = e[t];
        for (int i = 0; i < far; i++) {
            v -= c[i] * e[t - lag[i]];
        }
        last = v - nearest * last;
        e[t] = last;
    }
}

/* Errors of rows from..rows once the gain has settled, one column alone: the common case. */
static void settled_series(struct filter *s, int from)
{
    double sum = 0, *e = s->errors;
    if (from < s->rows) {
        memcpy(e + from, s->w + from, sizeof(double) * (size_t)(s->rows - from));
    }
    for (int k = 0; k < s->ar.count; k++) {
        arima_subtract_lagged(e, s->w, from, s->rows, s->ar.lag[k], s->ar.c[k]);
    }
    arima_recurse(e, from, s->rows, s->ma.c, s->ma.lag, s->ma.count);
    for (int t = from; t < s->rows; t++) {
        sum += e[t] * e[t];
    }
    s->normal[0] += sum / s->f;
}

/* Adds the errors of rows from..rows, which have the same F, to the normal equations, four rows at a time. */
static void add_settled(struct filter *s, int from)
{
    int cols = s->cols, t = from;
    for (; t + 4 <= s->rows; t += 4) {
        const double *v = s->errors + (long)t * cols;
        for (int i = 0; i < cols; i++) {
            double *restrict normal = s->normal + (long)i * cols;
            double a = v[i] / s->f, b = v[cols + i] / s->f, c = v[2 * cols + i] / s->f,
                   d = v[3 * cols + i] / s->f;
            for (int j = 0; j <= i; j++) {
                normal[j] +=
                    a * v[j] + b * v[cols + j] + (c * v[2 * cols + j] + d * v[3 * cols + j]);
            }
        }
    }
    for (; t < s->rows; t++) {
        add_errors(s, s->errors + (long)t * cols, s->f);
    }
}

static void settled_columns(struct filter *s, int from)
{
    int cols = s->cols;
    for (int t = from; t < s->rows; t++) {
        double *v = s->errors + (long)t * cols;
        memcpy(v, s->w + (long)t * cols, sizeof(double) * (size_t)cols);
        for (int k = 0; k < s->ar.count; k++) {
            const double *back = s->w + (long)(t - s->ar.lag[k]) * cols;
            for (int j = 0; j < cols; j++) {
                v[j] -= s->ar.c[k] * back[j];
            }
        }
        for (int k = 0; k < s->ma.count; k++) {
            const double *back = s->errors + (long)(t - s->ma.lag[k]) * cols;
            for (int j = 0; j < cols; j++) {
                v[j] -= s->ma.c[k] * back[j];
            }
        }
    }
    add_settled(s, from);
}

static bool run_filter(struct filter *s, double *rest, struct effort *effort)
{
    double *c = rest;
    if (!arima_stationary(s->phi, s->p, s->theta, s->q, s->r, c, rest + s->r)) {
        return false;
    }
    s->f = c[0];
    for (int i = 0; i < s->r; i++) {
        s->gain_k[i] = s->phi[i] * c[0] + (i + 1 < s->r ? c[i + 1] : 0);
        s->w_vec[i] = s->gain_k[i];
    }
    s->m = -1 / s->f;
    int quiet = 0, t = 0;
    for (; t < s->rows && quiet <= s->r; t++) {
        double *v = s->errors + (long)t * s->cols;
        for (int j = 0; j < s->cols; j++) {
            v[j] = s->w[(long)t * s->cols + j] - s->a[j];
        }
        add_errors(s, v, s->f);
        s->sum_log += log(s->f);
        step_state(s, v);
        quiet = step_gain(s) < SETTLED ? quiet + 1 : 0;
        if (!(s->f > 0)) {
            return false;
        }
    }
    s->sum_log += (s->rows - t) * log(s->f);
    double lags = s->ar.count + s->ma.count, products = 1 + s->cols / 2.0;
    effort_spend(effort, 2.0 * s->r * s->r +
                             (double)t * (s->cols * (2.0 * s->r + products) + 3.0 * s->r) +
                             (double)(s->rows - t) * s->cols * (lags + products));
    if (s->cols == 1) {
        settled_series(s, t);
    } else {
        settled_columns(s, t);
    }
    return true;
}

/* Least squares of column 0 on the others from the normal equations; returns the residual sum of squares. */
static double profile_out(struct arima_fast *fast, const struct filter *s, double *rest)
{
    int k = s->cols - 1;
    double *matrix = rest, *right = rest + (long)k * k;
    double left = s->normal[0];
    for (int i = 0; i < k; i++) {
        for (int j = 0; j <= i; j++) {
            matrix[(long)i * k + j] = s->normal[(long)(i + 1) * s->cols + j + 1];
        }
        fast->b[i] = s->normal[(long)(i + 1) * s->cols];
        right[i] = fast->b[i];
    }
    if (!num_cholesky(matrix, k)) {
        return NUM_NAN;
    }
    num_cholesky_solve(matrix, fast->b, k);
    for (int i = 0; i < k; i++) {
        left -= fast->b[i] * right[i];
    }
    return left;
}

double arima_fast_objective(struct arima_fast *fast, const double *coef)
{
    struct filter s;
    double *rest = lay_out(fast, coef, &s);
    if (!run_filter(&s, rest, fast->effort)) {
        return NUM_INFINITY;
    }
    double squares = s.cols > 1 ? profile_out(fast, &s, rest) : s.normal[0];
    double value = 0.5 * (log(squares / s.rows) + s.sum_log / s.rows);
    return isfinite(value) ? value : NUM_INFINITY;
}

double arima_css_objective(struct arima_fast *fast, const double *coef)
{
    struct filter s;
    lay_out(fast, coef, &s);
    effort_spend(fast->effort, (double)s.rows * (s.ar.count + s.ma.count + 1));
    double sum = 0;
    for (int t = 0; t < s.rows; t++) {
        double v = s.w[(long)t * s.cols];
        if (t < s.p) {
            s.errors[t] = 0;
            continue;
        }
        for (int k = 0; k < s.ar.count; k++) {
            v -= s.ar.c[k] * s.w[(long)(t - s.ar.lag[k]) * s.cols];
        }
        for (int k = 0; k < s.ma.count; k++) {
            int from = t - s.ma.lag[k];
            v -= from >= 0 ? s.ma.c[k] * s.errors[from] : 0;
        }
        s.errors[t] = v;
        sum += v * v;
    }
    double value = 0.5 * log(sum / (s.rows - s.p));
    return isfinite(value) ? value : NUM_INFINITY;
}
