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
        w[i] = cpow(0.4 + 0.9 * (double complex)I, i);
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

/* From this many differenced rows on, candidates are screened by least squares and one exact likelihood each; the best of
 * them are fitted exactly, those within this much of the best AICc. */
enum { SCREEN_ROWS_MIN = 300, FINALISTS_MAX = 3, COEF_ALL = ARIMA_COEF_MAX + REGRESSORS_MAX + 2 };
static const double FINALIST_AICC = 1, SECOND_TURN_AICC = 6;

struct finalist {
    struct arima_order order;
    double aicc, coef[ARIMA_COEF_MAX];
};

/* What screening shares between candidates: rows without and with the constant. */
struct screening {
    struct arima_fast fast[2];
    bool full[2];                            /* regressors independent */
    double *x;                               /* [rows] series less regression */
    double *room;                            /* [5 rows] */
    struct finalist finalist[FINALISTS_MAX]; /* by AICc */
    int finalists;
};

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
    double best_coef[COEF_ALL];
    struct screening *screening; /* NULL: every candidate is fitted exactly */
};

static bool roots_are_far(const struct arima_order *o, const double *coef)
{
    const double *ar = coef, *ma = ar + o->p, *sar = ma + o->q, *sma = sar + o->P;
    double least = fmin(arima_root_modulus(ar, o->p, -1), arima_root_modulus(ma, o->q, 1));
    least = fmin(least, pow(arima_root_modulus(sar, o->P, -1), 1.0 / o->m));
    least = fmin(least, pow(arima_root_modulus(sma, o->Q, 1), 1.0 / o->m));
    return least >= ROOT_MIN;
}

/* The best order's coefficients, cut or filled up with zeros to another order. */
static void start_near(const struct hunt *hunt, const struct arima_order *o, double *coef)
{
    const int from[4] = {hunt->best.p, hunt->best.q, hunt->best.P, hunt->best.Q};
    const int to[4] = {o->p, o->q, o->P, o->Q};
    const double *best = hunt->best_coef;
    for (int block = 0; block < 4; block++) {
        for (int i = 0; i < to[block]; i++) {
            *coef++ = isfinite(hunt->best_aicc) && i < from[block] ? best[i] : 0;
        }
        best += from[block];
    }
}

static void add_finalist(struct screening *s, const struct arima_order *order, double aicc,
                         const double *coef)
{
    int at = s->finalists;
    while (at > 0 && s->finalist[at - 1].aicc > aicc) {
        at--;
    }
    if (at >= FINALISTS_MAX) {
        return;
    }
    s->finalists = smaller(s->finalists + 1, FINALISTS_MAX);
    for (int i = s->finalists - 1; i > at; i--) {
        s->finalist[i] = s->finalist[i - 1];
    }
    s->finalist[at] = (struct finalist){.order = *order, .aicc = aicc};
    memcpy(s->finalist[at].coef, coef, sizeof s->finalist[at].coef);
}

/* AICc of the whole likelihood `value` of screened rows with k parameters. */
static double screened_aicc(double value, int rows, int k)
{
    double loglik = -0.5 * (2 * rows * value + rows + rows * log(6.283185307179586));
    return isfinite(value) && rows - k - 1 > 0 ? -2 * loglik + 2.0 * k * rows / (rows - k - 1.0)
                                               : NUM_INFINITY;
}

/* AICc of a candidate from its least squares fit and the exact likelihood there; infinite if it is unfit. Series and
 * regression in turns: with regressors a second time, unless the first is far off the best. */
static double screen_order(struct hunt *hunt, const struct arima_order *order, double *coef)
{
    struct screening *s = hunt->screening;
    int constant = order->mean + order->drift;
    struct arima_fast fast = s->fast[constant];
    if (!s->full[constant]) {
        return NUM_INFINITY;
    }
    int cols = fast.cols, rows = fast.rows;
    int k = order->p + order->q + order->P + order->Q + cols;
    double aicc = NUM_INFINITY;
    fast.order = order;
    memset(fast.b, 0, sizeof(double) * (size_t)cols);
    for (int turn = 0; turn < (cols > 1 ? 2 : 1); turn++) {
        for (int t = 0; t < rows; t++) {
            double v = fast.w[(long)t * cols];
            for (int j = 1; j < cols; j++) {
                v -= fast.b[j - 1] * fast.w[(long)t * cols + j];
            }
            s->x[t] = v;
        }
        arima_screen(order, s->x, rows, coef, s->room, hunt->data->effort);
        aicc = screened_aicc(arima_fast_objective(&fast, coef), rows, k);
        if (!(aicc < hunt->best_aicc + SECOND_TURN_AICC)) {
            break;
        }
    }
    return roots_are_far(order, coef) ? aicc : NUM_INFINITY;
}

/* Screens one candidate; true if it is the best so far. */
static bool try_screened(struct hunt *hunt, const struct arima_order *order)
{
    double coef[ARIMA_COEF_MAX] = {0};
    start_near(hunt, order, coef);
    double aicc = screen_order(hunt, order, coef);
    if (!isfinite(aicc)) {
        return false;
    }
    add_finalist(hunt->screening, order, aicc, coef);
    if (aicc < hunt->best_aicc) {
        hunt->best = *order;
        hunt->best_aicc = aicc;
        memcpy(hunt->best_coef, coef, sizeof coef);
        return true;
    }
    return false;
}

/* Rows for the orders d, D; no screening (NULL) of short series or over missing values. */
static struct screening *start_screening(const struct hunt *hunt, int d, int D, int m)
{
    const struct arima_data *data = hunt->data;
    for (int i = 0; i < data->n; i++) {
        if (!isfinite(data->transformed ? box_cox(data->y[i], data->lambda) : data->y[i])) {
            return NULL;
        }
    }
    int rows = data->n - d - m * D;
    if (rows < SCREEN_ROWS_MIN) {
        return NULL;
    }
    struct screening *s = ARENA_NEW(hunt->arena, struct screening);
    struct arima_order longest = {.p = hunt->max_p,
                                  .q = hunt->max_q,
                                  .P = hunt->max_P,
                                  .Q = hunt->max_Q,
                                  .d = d,
                                  .D = D,
                                  .m = m};
    for (int constant = 0; constant <= hunt->constant_allowed; constant++) {
        struct arima_order order = {.d = d, .D = D, .m = m};
        order.mean = constant && d + D == 0;
        order.drift = constant && d + D == 1;
        s->full[constant] =
            arima_rows(data, &order, data->k + constant, hunt->arena, &s->fast[constant]);
        s->fast[constant].room = ARENA_NEW_ARRAY(
            hunt->arena, double, arima_fast_room(&longest, rows, s->fast[constant].cols));
    }
    s->x = ARENA_NEW_ARRAY(hunt->arena, double, rows);
    s->room = ARENA_NEW_ARRAY(hunt->arena, double, 5L * rows);
    return s;
}

/* Exact fits of the finalists; the best becomes the hunt's. */
static void fit_finalists(struct hunt *hunt)
{
    const struct screening *s = hunt->screening;
    double screened = hunt->best_aicc;
    hunt->best_aicc = NUM_INFINITY;
    for (int i = 0; i < s->finalists; i++) {
        const struct finalist *f = &s->finalist[i];
        if (isfinite(hunt->best_aicc) && f->aicc > screened + FINALIST_AICC) {
            break;
        }
        struct arena_mark mark = arena_mark(hunt->arena);
        struct arima model;
        if (arima_fit(hunt->data, &f->order, f->coef, hunt->arena, &model, NULL) == ERR_OK &&
            model.aicc < hunt->best_aicc) {
            hunt->best = f->order;
            hunt->best_aicc = model.aicc;
            memcpy(hunt->best_coef, model.coef,
                   sizeof(double) * (size_t)(model.arma_count + model.b_count));
        }
        arena_rewind(hunt->arena, mark);
    }
}

/* Fits one candidate; true if it is the best so far. */
static bool try_order(struct hunt *hunt, struct arima_order order, int constant)
{
    if (order.p < 0 || order.q < 0 || order.P < 0 || order.Q < 0 || order.p > hunt->max_p ||
        order.q > hunt->max_q || order.P > hunt->max_P || order.Q > hunt->max_Q ||
        hunt->tried >= hunt->search->models_max || constant > hunt->constant_allowed ||
        !effort_left(hunt->data->effort)) {
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
    if (hunt->screening != NULL) {
        return try_screened(hunt, &order);
    }
    struct arena_mark mark = arena_mark(hunt->arena);
    struct arima model;
    bool better = false;
    if (arima_fit(hunt->data, &order, NULL, hunt->arena, &model, NULL) == ERR_OK &&
        model.aicc < hunt->best_aicc && roots_are_far(&model.order, model.coef)) {
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

/* Screened candidates are cheap: all small non-seasonal orders with the best's seasonal part, then on from the best. */
static void search_wide(struct hunt *hunt)
{
    for (int i = 0; i < 36 && isfinite(hunt->best_aicc); i++) {
        struct arima_order o = hunt->best;
        o.p = i % 6;
        o.q = i / 6;
        if (o.p + o.q <= 5) {
            try_order(hunt, o, hunt->best.mean + hunt->best.drift);
        }
    }
    while (isfinite(hunt->best_aicc) && try_neighbours(hunt)) {
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
    hunt->screening = constant ? NULL : start_screening(hunt, d, D, m);
    if (!constant && search->full) {
        search_full(hunt, d, D, m);
    } else if (!constant) {
        search_stepwise(hunt, d, D, m);
    }
    if (hunt->screening != NULL) {
        search_wide(hunt);
        fit_finalists(hunt);
    }
    struct arima_order order = hunt->best;
    double coef[COEF_ALL];
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
