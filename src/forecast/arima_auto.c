// SPDX-License-Identifier: Apache-2.0
#include <complex.h>
#include <math.h>
#include <string.h>

#include "forecast/arima_priv.h"
#include "forecast/num.h"
#include "forecast/stl.h"

/* A root nearer to the unit circle than this makes a candidate unfit; a season stronger than that is differenced. */
static const double ROOT_MIN = 1.01, STRENGTH_LIMIT = 0.64, KPSS_LIMIT = 0.463;

double arima_root_modulus(const double *c, int k, int sign)
{
    while (k > 0 && fabs(c[k - 1]) < 1e-8) {
        k--;
    }
    if (k == 0) {
        return NUM_INFINITY;
    }
    /* Roots z of 1 + s c_1 z + .. are the inverses of those of w^k + s c_1 w^(k-1) + ..: Durand and Kerner's iteration. */
    double complex w[ARIMA_ORDER_MAX];
    double largest = 0;
    for (int i = 0; i < k; i++) {
        w[i] = cpow(CMPLX(0.4, 0.9), i);
    }
    for (int round = 0; round < 200; round++) {
        double moved = 0;
        for (int i = 0; i < k; i++) {
            double complex value = 1, divisor = 1;
            for (int j = 0; j < k; j++) {
                value = value * w[i] + sign * c[j];
                divisor *= j != i ? w[i] - w[j] : 1;
            }
            double complex step = cabs(divisor) > 0 ? value / divisor : 0;
            w[i] -= step;
            moved = fmax(moved, cabs(step));
        }
        if (moved < 1e-14) {
            break;
        }
    }
    for (int i = 0; i < k; i++) {
        largest = fmax(largest, cabs(w[i]));
    }
    return largest > 0 ? 1 / largest : NUM_INFINITY;
}

double arima_kpss(const double *y, int n)
{
    int lag = (int)(3 * sqrt(n) / 13);
    double mean = 0, squares = 0, partial = 0, long_run = 0;
    for (int i = 0; i < n; i++) {
        mean += y[i] / n;
    }
    for (int i = 0; i < n; i++) {
        partial += y[i] - mean;
        squares += partial * partial;
        long_run += (y[i] - mean) * (y[i] - mean) / n;
    }
    for (int l = 1; l <= lag; l++) {
        double sum = 0;
        for (int i = l; i < n; i++) {
            sum += (y[i] - mean) * (y[i - l] - mean);
        }
        long_run += 2 * (1 - l / (lag + 1.0)) * sum / n;
    }
    return squares / ((double)n * n) / long_run;
}

static bool is_constant(const double *y, int n)
{
    for (int i = 1; i < n; i++) {
        if (fabs(y[i] - y[0]) > 1e-12 * (fabs(y[0]) + 1e-300)) {
            return false;
        }
    }
    return true;
}

static int difference(double *y, int n, int lag)
{
    for (int i = 0; i + lag < n; i++) {
        y[i] = y[i + lag] - y[i];
    }
    return n > lag ? n - lag : 0;
}

int arima_ndiffs(const double *y, int n, int max, struct arena *arena)
{
    struct arena_mark mark = arena_mark(arena);
    double *v = ARENA_NEW_ARRAY(arena, double, n > 0 ? n : 1);
    int d = 0;
    memcpy(v, y, sizeof(double) * (size_t)n);
    while (d < max && n > 3 && !is_constant(v, n) && arima_kpss(v, n) > KPSS_LIMIT) {
        n = difference(v, n, 1);
        d++;
    }
    arena_rewind(arena, mark);
    return d;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* A search in progress. */
struct hunt {
    const struct arima_data *data;
    const struct arima_search *search;
    struct arena *arena;
    int constant_allowed, tried;
    int max_p, max_q, max_P, max_Q;
    bool seen[ARIMA_ORDER_MAX + 1][ARIMA_ORDER_MAX + 1][ARIMA_SEASONAL_MAX + 1]
             [ARIMA_SEASONAL_MAX + 1][2];
    struct arima_order best;
    double best_aicc;
    double best_coef[ARIMA_COEF_MAX + REGRESSORS_MAX + 2];
};

static bool roots_are_far(const struct arima *model)
{
    const struct arima_order *o = &model->order;
    const double *ar = model->coef, *ma = ar + o->p, *sar = ma + o->q, *sma = sar + o->P;
    double least = fmin(arima_root_modulus(ar, o->p, -1), arima_root_modulus(ma, o->q, 1));
    least = fmin(least, pow(arima_root_modulus(sar, o->P, -1), 1.0 / o->m));
    least = fmin(least, pow(arima_root_modulus(sma, o->Q, 1), 1.0 / o->m));
    return least >= ROOT_MIN;
}

/* Fits one candidate; true if it is the best so far. */
static bool try_order(struct hunt *hunt, struct arima_order order, int constant)
{
    if (order.p < 0 || order.q < 0 || order.P < 0 || order.Q < 0 || order.p > hunt->max_p ||
        order.q > hunt->max_q || order.P > hunt->max_P || order.Q > hunt->max_Q ||
        hunt->tried >= hunt->search->models_max || constant > hunt->constant_allowed) {
        return false;
    }
    bool *seen = &hunt->seen[order.p][order.q][order.P][order.Q][constant];
    if (*seen) {
        return false;
    }
    *seen = true;
    hunt->tried++;
    order.mean = constant && order.d + order.D == 0;
    order.drift = constant && order.d + order.D == 1;
    struct arena_mark mark = arena_mark(hunt->arena);
    struct arima model;
    bool better = false;
    if (arima_fit(hunt->data, &order, NULL, hunt->arena, &model, NULL) == ERR_OK &&
        model.aicc < hunt->best_aicc && roots_are_far(&model)) {
        better = true;
        hunt->best = order;
        hunt->best_aicc = model.aicc;
        memcpy(hunt->best_coef, model.coef,
               sizeof(double) * (size_t)(model.arma_count + model.b_count));
    }
    arena_rewind(hunt->arena, mark);
    return better;
}

static bool try_neighbours(struct hunt *hunt)
{
    static const int steps[16][4] = {{0, 0, -1, 0},  {0, 0, 0, -1}, {0, 0, 1, 0},  {0, 0, 0, 1},
                                     {0, 0, -1, -1}, {0, 0, -1, 1}, {0, 0, 1, -1}, {0, 0, 1, 1},
                                     {-1, 0, 0, 0},  {0, -1, 0, 0}, {1, 0, 0, 0},  {0, 1, 0, 0},
                                     {-1, -1, 0, 0}, {-1, 1, 0, 0}, {1, -1, 0, 0}, {1, 1, 0, 0}};
    int constant = hunt->best.mean + hunt->best.drift;
    for (int i = 0; i < 16; i++) {
        struct arima_order o = hunt->best;
        o.p += steps[i][0];
        o.q += steps[i][1];
        o.P += steps[i][2];
        o.Q += steps[i][3];
        if (try_order(hunt, o, constant)) {
            return true;
        }
    }
    return try_order(hunt, hunt->best, !constant);
}

static void search_stepwise(struct hunt *hunt, int d, int D, int m)
{
    static const int starts[8][4] = {{2, 2, 1, 1}, {0, 0, 0, 0}, {1, 0, 1, 0}, {0, 1, 0, 1},
                                     {1, 0, 0, 0}, {3, 0, 0, 0}, {3, 1, 0, 0}, {5, 0, 0, 0}};
    struct arima_order base = {.d = d, .D = D, .m = m};
    /* Two climbs: from the reference's starts, then from ours if one of them lies higher than where the first ended. */
    for (int i = 0; i < 8; i++) {
        struct arima_order o = base;
        o.p = smaller(starts[i][0], hunt->max_p);
        o.q = smaller(starts[i][1], hunt->max_q);
        o.P = smaller(starts[i][2], hunt->max_P);
        o.Q = smaller(starts[i][3], hunt->max_Q);
        try_order(hunt, o, hunt->constant_allowed);
        if (i == 3) {
            try_order(hunt, base, 0);
        }
        while (i % 4 == 3 && isfinite(hunt->best_aicc) && try_neighbours(hunt)) {
        }
    }
}

static void search_full(struct hunt *hunt, int d, int D, int m)
{
    int wide_q = hunt->max_q + 1, wide_P = hunt->max_P + 1, wide_Q = hunt->max_Q + 1;
    int all = (hunt->max_p + 1) * wide_q * wide_P * wide_Q;
    for (int i = 0; i < all; i++) {
        struct arima_order o = {.d = d, .D = D, .m = m};
        o.Q = i % wide_Q;
        o.P = i / wide_Q % wide_P;
        o.q = i / wide_Q / wide_P % wide_q;
        o.p = i / wide_Q / wide_P / wide_q;
        if (o.p + o.q + o.P + o.Q <= 5) {
            try_order(hunt, o, 0);
            try_order(hunt, o, 1);
        }
    }
}

struct arima_search arima_search_defaults(int m)
{
    return (struct arima_search){.max_p = 5,
                                 .max_q = 5,
                                 .max_P = 2,
                                 .max_Q = 2,
                                 .max_d = 2,
                                 .max_D = 1,
                                 .m = m,
                                 .d = -1,
                                 .D = -1,
                                 .models_max = 94};
}

/* The known values, with the regression taken off: what the unit root tests see. Returns their number. */
static int test_values(const struct arima_data *data, double *v, struct arena *arena)
{
    int count = 0, k = data->k + 1;
    double *x = ARENA_NEW_ARRAY(arena, double, (long)data->n *k);
    for (int i = 0; i < data->n; i++) {
        double y = data->transformed ? box_cox(data->y[i], data->lambda) : data->y[i];
        if (isfinite(y)) {
            x[(long)count * k] = 1;
            for (int j = 1; j < k; j++) {
                x[(long)count * k + j] = data->x[(long)i * data->k + j - 1];
            }
            v[count++] = y;
        }
    }
    if (k > 1 && count > k) {
        double *work = ARENA_NEW_ARRAY(arena, double, (long)count *k + count + k);
        double *y = work + (long)count * k, *coef = y + count;
        memcpy(work, x, sizeof(double) * (size_t)count * (size_t)k);
        memcpy(y, v, sizeof(double) * (size_t)count);
        num_least_squares(work, y, count, k, coef);
        for (int i = 0; i < count; i++) {
            for (int j = 0; j < k; j++) {
                v[i] -= coef[j] * x[(long)i * k + j];
            }
        }
    }
    return count;
}

enum err arima_auto(const struct arima_data *data, const struct arima_search *search,
                    struct arena *arena, struct arima *ret, int *ret_tried, struct err_info *info)
{
    struct arima_order plain = {.m = 1};
    enum err err = arima_check(data, &plain, info);
    if (err != ERR_OK) {
        return err;
    }
    int m = search->m >= 2 && search->m <= STATE_SEASON_MAX ? search->m : 1;
    struct arena_mark mark = arena_mark(arena);
    struct hunt *hunt = ARENA_NEW(arena, struct hunt);
    double *v = ARENA_NEW_ARRAY(arena, double, data->n);
    int n = test_values(data, v, arena), whole = n, d = search->d, D = search->D;
    if (D < 0) {
        D = m > 1 && n > 2 * m && search->max_D > 0 &&
            stl_strength(v, n, m, arena) > STRENGTH_LIMIT;
    }
    n = D > 0 ? difference(v, n, m) : n;
    d = d < 0 ? arima_ndiffs(v, n, search->max_d, arena) : d;
    for (int i = 0; i < d; i++) {
        n = difference(v, n, 1);
    }
    hunt->data = data;
    hunt->search = search;
    hunt->arena = arena;
    hunt->constant_allowed = d + D <= 1;
    hunt->best_aicc = NUM_INFINITY;
    hunt->max_p = smaller(smaller(search->max_p, ARIMA_ORDER_MAX), whole / 3);
    hunt->max_q = smaller(smaller(search->max_q, ARIMA_ORDER_MAX), whole / 3);
    hunt->max_P = m > 1 ? smaller(smaller(search->max_P, ARIMA_SEASONAL_MAX), whole / 3 / m) : 0;
    hunt->max_Q = m > 1 ? smaller(smaller(search->max_Q, ARIMA_SEASONAL_MAX), whole / 3 / m) : 0;
    hunt->max_p = hunt->max_P > 0 ? smaller(hunt->max_p, m - 1) : hunt->max_p;
    hunt->max_q = hunt->max_Q > 0 ? smaller(hunt->max_q, m - 1) : hunt->max_q;
    bool constant = is_constant(v, n);
    if (!constant && search->full) {
        search_full(hunt, d, D, m);
    } else if (!constant) {
        search_stepwise(hunt, d, D, m);
    }
    struct arima_order order = hunt->best;
    double coef[ARIMA_COEF_MAX + REGRESSORS_MAX + 2];
    memcpy(coef, hunt->best_coef, sizeof coef);
    bool found = isfinite(hunt->best_aicc);
    if (ret_tried != NULL) {
        *ret_tried = hunt->tried;
    }
    arena_rewind(arena, mark);
    if (found) {
        return arima_at(data, &order, coef, arena, ret, info);
    }
    order = (struct arima_order){.d = d, .D = D, .m = m, .mean = d + D == 0, .drift = d + D == 1};
    return arima_fit(data, &order, NULL, arena, ret, info);
}
