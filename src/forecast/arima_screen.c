// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <string.h>

#include "base/attr.h"
#include "forecast/arima_priv.h"
#include "forecast/num.h"

/* Candidates of an order search on long series: least squares of the errors from a start of zeros by Levenberg and Marquardt,
 * then one exact likelihood there. The derivatives are lags of one filtered series for each of the four factors:
 *   d e(t) / d phi_j = -a(t - j), a = e / phi(B);  d e(t) / d theta_j = -b(t - j), b = e / theta(B)
 * and the same with seasonal lags. The two optima differ by O(1/n) in the coefficients, so by O(1/n) in loglik. */

enum { STEPS_MAX = 20, TERMS_MAX = ARIMA_COEF_MAX };

static const double SMALL_STEP = 1e-7, DAMPING_MAX = 1e6;

struct block {
    int count, lag, sign; /* coefficients, their lag, -1 for AR, 1 for MA */
    double *filtered;     /* [rows] */
};

struct screen {
    const struct arima_order *order;
    int rows, k;
    const double *x; /* [rows] the series */
    double *errors;  /* [rows] */
    struct block block[4];
    int term_lag[TERMS_MAX]; /* of each coefficient */
    const double *term[TERMS_MAX];
};

/* Sum of a[t - i] b[t - j] over the rows where both are there. */
static double lagged_product(const double *a, int i, const double *b, int j, int rows)
{
    int from = i > j ? i : j;
    const double *x = a + from - i, *y = b + from - j;
    double sum[4] = {0};
    int n = rows - from, t = 0;
    for (; t + 4 <= n; t += 4) {
        for (int k = 0; k < 4; k++) {
            sum[k] += x[t + k] * y[t + k];
        }
    }
    for (; t < n; t++) {
        sum[0] += x[t] * y[t];
    }
    return sum[0] + sum[1] + sum[2] + sum[3];
}

/* The rows before the longest lag, with zeros before the first. */
static void begin_recursion(struct screen *s, const double *c, const int *lag, int count)
{
    int whole = count == 0 ? 0 : lag[0] < s->rows ? lag[0] : s->rows;
    for (int t = 0; t < whole; t++) {
        for (int i = 0; i < count; i++) {
            s->errors[t] -= t >= lag[i] ? c[i] * s->errors[t - lag[i]] : 0;
        }
    }
}

/* Errors at coef, with zeros before the first; their sum of squares. */
static double errors_at(struct screen *s, const double *coef)
{
    const struct arima_order *o = s->order;
    double phi[ARIMA_LAG_MAX], theta[ARIMA_LAG_MAX], c[2][ARIMA_LAG_MAX];
    int lag[2][ARIMA_LAG_MAX], count[2] = {0, 0};
    const double *ma = coef + o->p, *sar = ma + o->q, *sma = sar + o->P;
    int p = arima_expand(coef, o->p, sar, o->P, o->m, -1, phi);
    int q = arima_expand(ma, o->q, sma, o->Q, o->m, 1, theta);
    int reach = p > q ? p : q;
    for (int i = reach - 1; i >= 0; i--) { /* the nearest last: only it waits for the step before */
        for (int b = 0; b < 2; b++) {
            double v = b == 0 ? (i < p ? phi[i] : 0) : (i < q ? theta[i] : 0);
            if (!num_is_zero(v)) {
                lag[b][count[b]] = i + 1;
                c[b][count[b]++] = v;
            }
        }
    }
    memcpy(s->errors, s->x, sizeof(double) * (size_t)s->rows);
    for (int i = 0; i < count[0]; i++) {
        arima_subtract_lagged(s->errors, s->x, lag[0][i], s->rows, lag[0][i], c[0][i]);
    }
    begin_recursion(s, c[1], lag[1], count[1]);
    arima_recurse(s->errors, count[1] > 0 ? lag[1][0] : 0, s->rows, c[1], lag[1], count[1]);
    return lagged_product(s->errors, 0, s->errors, 0, s->rows);
}

/* A seasonal factor. */
static void filter_block(const struct screen *s, const struct block *b, const double *coef)
{
    double *f = b->filtered;
    if (b->count == 0) {
        return;
    }
    int whole = b->count * b->lag < s->rows ? b->count * b->lag : s->rows;
    for (int t = 0; t < s->rows; t++) {
        double v = s->errors[t];
        int reach = t >= whole ? b->count : t / b->lag;
        const double *back = f + t - (long)reach * b->lag;
        for (int j = reach; j >= 1; j--, back += b->lag) { /* the nearest last */
            v -= b->sign * coef[j - 1] * *back;
        }
        f[t] = v;
    }
}

/* One lane for each of the two factors. */
typedef double pair ATTR_VECTOR(16);

/* The sweep with `count` coefficients; the caller hands in a constant, so that the values before stay in registers. */
static inline void sweep_pair(const struct screen *s, const pair *c, int count)
{
    pair before[ARIMA_ORDER_MAX] = {{0}};
    double *ar = s->block[0].filtered, *ma = s->block[1].filtered;
    for (int t = 0; t < s->rows; t++) {
        pair v = {s->errors[t], s->errors[t]};
        for (int j = count - 1; j >= 0; j--) { /* the nearest last */
            v -= c[j] * before[j];
        }
        for (int j = count - 1; j > 0; j--) {
            before[j] = before[j - 1];
        }
        before[0] = v;
        ar[t] = v[0];
        ma[t] = v[1];
    }
}

/* The two factors without season at once: each row of either waits for the row before, neither for the other. */
static void filter_pair(const struct screen *s, const double *coef)
{
    int p = s->order->p, q = s->order->q, count = p > q ? p : q;
    pair c[ARIMA_ORDER_MAX] = {{0}};
    for (int j = 0; j < count; j++) {
        c[j] = (pair){j < p ? -coef[j] : 0, j < q ? coef[p + j] : 0};
    }
    switch (count) {
    case 0:
        break;
    case 1:
        sweep_pair(s, c, 1);
        break;
    case 2:
        sweep_pair(s, c, 2);
        break;
    case 3:
        sweep_pair(s, c, 3);
        break;
    case 4:
        sweep_pair(s, c, 4);
        break;
    case 5:
        sweep_pair(s, c, 5);
        break;
    default:
        sweep_pair(s, c, count);
        break;
    }
}

/* J'J and -J'e for J = -terms: normal[k][k], both halves, and right[k]. Products along a diagonal within a pair of
 * non-seasonal blocks differ by one row. */
static void normal_equations(const struct screen *s, double *normal, double *right)
{
    int k = s->k;
    for (int i = 0; i < k; i++) {
        right[i] = lagged_product(s->errors, 0, s->term[i], s->term_lag[i], s->rows);
        for (int j = 0; j <= i; j++) {
            double v;
            int a = s->term_lag[i], b = s->term_lag[j];
            if (i > 0 && j > 0 && s->term[i] == s->term[i - 1] && s->term[j] == s->term[j - 1] &&
                s->term_lag[i - 1] == a - 1 && s->term_lag[j - 1] == b - 1 && s->rows > a + b) {
                v = normal[(i - 1) * k + j - 1] - s->term[i][s->rows - a] * s->term[j][s->rows - b];
            } else {
                v = lagged_product(s->term[i], a, s->term[j], b, s->rows);
            }
            normal[i * k + j] = normal[j * k + i] = v;
        }
    }
}

static bool is_inside(const struct arima_order *o, const double *coef)
{
    const int counts[4] = {o->p, o->q, o->P, o->Q};
    for (int block = 0; block < 4; block++) {
        double c[ARIMA_ORDER_MAX] = {0}, u[ARIMA_ORDER_MAX];
        for (int i = 0; i < counts[block]; i++) {
            c[i] = block % 2 == 1 ? -coef[i] : coef[i];
        }
        if (!arima_to_partial(c, counts[block], u)) {
            return false;
        }
        coef += counts[block];
    }
    return true;
}

// NOLINTNEXTLINE(readability-non-const-parameter): the screen writes to it
static void lay_out(struct screen *s, const struct arima_order *o, int rows, double *room)
{
    const int counts[4] = {o->p, o->q, o->P, o->Q};
    *s = (struct screen){.order = o, .rows = rows, .errors = room};
    for (int block = 0; block < 4; block++) {
        struct block *b = &s->block[block];
        *b = (struct block){counts[block], block < 2 ? 1 : o->m, block % 2 == 0 ? -1 : 1,
                            room + (block + 1L) * rows};
        for (int j = 1; j <= b->count; j++) {
            s->term[s->k] = b->filtered;
            s->term_lag[s->k++] = j * b->lag;
        }
    }
}

/* Normal equations at coef, where the errors are. */
static void linearise(const struct screen *s, const double *coef, double *normal, double *right)
{
    int p = s->order->p, q = s->order->q;
    filter_pair(s, coef);
    filter_block(s, &s->block[2], coef + p + q);
    filter_block(s, &s->block[3], coef + p + q + s->order->P);
    normal_equations(s, normal, right);
}

/* One accepted step from coef with sum of squares `before`, or none: returns the new sum. */
static double try_step(struct screen *s, double *coef, double before, double *damping)
{
    double normal[TERMS_MAX * TERMS_MAX], right[TERMS_MAX], work[TERMS_MAX * TERMS_MAX],
        step[TERMS_MAX], next[TERMS_MAX] = {0};
    int k = s->k;
    linearise(s, coef, normal, right);
    // NOLINTNEXTLINE(cert-flp30-c): powers of ten, a dozen at most; the last is the caller's
    for (; *damping < DAMPING_MAX; *damping *= 10) {
        memcpy(work, normal, sizeof(double) * (size_t)(k * k));
        for (int i = 0; i < k; i++) {
            work[i * k + i] = work[i * k + i] * (1 + *damping) + 1e-12 * before;
            step[i] = right[i];
        }
        if (!num_cholesky(work, k)) {
            continue;
        }
        num_cholesky_solve(work, step, k);
        for (int i = 0; i < k; i++) {
            next[i] = coef[i] + step[i];
        }
        if (!is_inside(s->order, next)) {
            continue;
        }
        double after = errors_at(s, next);
        if (after < before) {
            memcpy(coef, next, sizeof(double) * (size_t)k);
            *damping = fmax(*damping / 10, 1e-9);
            return after;
        }
    }
    return before;
}

void arima_screen(const struct arima_order *order, const double *x, int rows, double *coef,
                  double *room, struct effort *effort)
{
    struct screen s;
    lay_out(&s, order, rows, room);
    s.x = x;
    if (s.k == 0) {
        return;
    }
    double damping = 1e-3, least = lagged_product(x, 0, x, 0, rows), sum = errors_at(&s, coef);
    if (!is_inside(order, coef) || !(sum < least)) {
        memset(coef, 0, sizeof(double) * (size_t)s.k);
        sum = errors_at(&s, coef);
    }
    double gained = NUM_INFINITY;
    for (int step = 0; step < STEPS_MAX && effort_left(effort); step++) {
        /* four filters, the products of their lags, the errors at the next point */
        effort_spend(effort, (double)rows * (3 * s.k + 8));
        double next = try_step(&s, coef, sum, &damping), gain = sum - next;
        double expected =
            gain * gain / gained; /* of the next step, where they shrink by the same factor */
        sum = next;
        gained = gain;
        if (!(gain > SMALL_STEP * sum) || (step > 0 && expected < SMALL_STEP * sum)) {
            break;
        }
    }
}

void arima_curvature(const struct arima_order *order, const double *x, int rows, const double *coef,
                     double *room, struct effort *effort, double *hessian)
{
    struct screen s;
    double right[TERMS_MAX];
    lay_out(&s, order, rows, room);
    s.x = x;
    double squares = errors_at(&s, coef);
    linearise(&s, coef, hessian, right);
    effort_spend(effort, (double)rows * (3 * s.k + 8));
    for (int i = 0; i < s.k * s.k; i++) {
        hessian[i] /= squares;
    }
}
