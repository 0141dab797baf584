// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_ARIMA_H
#define FORECAST_ARIMA_H

#include <stdbool.h>

#include "forecast/effort.h"
#include "forecast/forecast.h"

/* Seasonal ARIMA with regressors, by exact Gaussian likelihood:
 *   n_t = y_t - x_t'b,  phi(B) Phi(B^m) (1-B)^d (1-B^m)^D n_t = theta(B) Theta(B^m) e_t,
 *   phi(B) = 1 - phi_1 B - ...,  theta(B) = 1 + theta_1 B + ...
 * b holds the mean, then the drift (regressor 1..n), then the caller's regressors.
 * Source: Gardner, Harvey, Phillips 1980 (state space); R stats::arima 4.2.2 for the diffuse start and the counting of
 * parameters, so that the numbers compare; Morf, Sidhu, Kailath 1974 for the fast filter of the fit. */

enum {
    ARIMA_ORDER_MAX = 8,    /* largest p, q */
    ARIMA_SEASONAL_MAX = 2, /* largest P, Q */
    ARIMA_COEF_MAX = 2 * (ARIMA_ORDER_MAX + ARIMA_SEASONAL_MAX),
    ARIMA_LAG_MAX = ARIMA_ORDER_MAX + ARIMA_SEASONAL_MAX * STATE_SEASON_MAX,
    ARIMA_DIFF_MAX = 2 + STATE_SEASON_MAX,
};

struct arima_order {
    int p, d, q; /* 0..ARIMA_ORDER_MAX, d 0..2 */
    int P, D, Q; /* 0..ARIMA_SEASONAL_MAX, D 0..1 */
    int m;       /* season in steps, 1..STATE_SEASON_MAX if P, D or Q > 0 */
    int mean;    /* 1: estimate a mean; only with d + D = 0 */
    int drift;   /* 1: estimate a drift; only with d + D = 1 */
};

/* What is fitted: y[n], NaN = missing; x[n][k] regressors or NULL with k = 0, all finite. */
struct arima_data {
    const double *y;
    int n;
    const double *x;
    int k;
    int transformed; /* 1: y is Box-Cox transformed with `lambda` first */
    double lambda;
    int bias_adjust; /* 1: the forecast's mean is the mean, not the median, on the original scale */
    struct effort *effort; /* counts the fit's or the search's work and bounds it; NULL: neither */
};

/* A fitted model with its filter's state after the last value. Memory in the arena of the call that made it. */
struct arima {
    struct arima_order order;
    int k;                   /* the caller's regressors */
    int arma_count, b_count; /* coef[0..arma_count) = ar, ma, sar, sma; then b_count of b */
    double *coef;
    int p_full, q_full, diff_count; /* lengths of phi, theta, delta */
    double *phi;                    /* expanded AR polynomial */
    double *theta;                  /* expanded MA polynomial */
    double *delta;                  /* expanded differencing polynomial */
    int r, size;                    /* ARMA part and whole length of the state */
    double *state;                  /* a[size], filtered */
    double *cov;                    /* P[size][size], filtered; predicted once `steady` */
    double *gain;                   /* last M / F, [size] */
    double *room;                   /* scratch, [2 * size * size] */
    double last_f;                  /* last F, in units of sigma2 */
    int still;                      /* steps since the gain last changed */
    int steady;                     /* 1: covariance no longer changes and is left alone */
    int seen;                       /* values filtered so far, missing ones included */
    int transformed, bias_adjust;
    double lambda;
    double sigma2, loglik, aic, aicc, bic;
    int nobs;          /* values that count, R's nstar */
    double *residuals; /* [n] standardised one-step errors x sqrt(sigma2 unit); NaN where missing */
};

/* Orders, lengths and regressors: the checks that all calls share.
 * Errors: INVALID, LIMIT. */
enum err arima_check(const struct arima_data *data, const struct arima_order *order,
                     struct err_info *info) ATTR_NODISCARD;

/* The model at given coefficients coef[arma_count + b_count]: likelihood, residuals, state.
 * Errors: as arima_check; INVALID (the AR part is not stationary). Cost: O(n size^2), O(n size) once steady. */
enum err arima_at(const struct arima_data *data, const struct arima_order *order,
                  const double *coef, struct arena *arena, struct arima *ret,
                  struct err_info *info) ATTR_NODISCARD;

/* Fits by exact maximum likelihood. `start` (arma_count values) or NULL: where to begin besides zero.
 * Errors: as arima_check; INVALID (too few values for the parameters, regressors that depend on each other). */
enum err arima_fit(const struct arima_data *data, const struct arima_order *order,
                   const double *start, struct arena *arena, struct arima *ret,
                   struct err_info *info) ATTR_NODISCARD;

/* Fits by conditional sum of squares; aic, aicc and bic are NaN. No missing values. */
enum err arima_fit_css(const struct arima_data *data, const struct arima_order *order,
                       struct arena *arena, struct arima *ret,
                       struct err_info *info) ATTR_NODISCARD;

/* Forecast of h steps behind the last value; x[h][k] the regressors there. */
enum err arima_forecast(const struct arima *model, int h, const double *x, struct arena *arena,
                        struct forecast *ret, struct err_info *info) ATTR_NODISCARD;

/* One more value (NaN: missing) with its regressors x[k], without refit; returns its standardised error, NaN if
 * missing. Cost: O(size^2), O(size) once steady. Allocates nothing. */
double arima_update(struct arima *model, double y, const double *x);

/* The same model with its memory in `arena`, residuals left out (NULL). */
void arima_copy(const struct arima *from, struct arena *arena, struct arima *ret);

struct arima_search {
    int max_p, max_q, max_P, max_Q; /* bounds of the search; 5, 5, 2, 2 */
    int max_d, max_D;               /* 2, 1 */
    int m;                          /* season in steps, 1 for none */
    int d, D;                       /* >= 0: given; -1: by tests */
    int full;       /* 1: all orders with p + q + P + Q <= 5 in place of the stepwise search */
    int models_max; /* most models tried; 94 */
};

/* The defaults of above for season `m`. */
struct arima_search arima_search_defaults(int m);

/* Best order by AICc: stepwise search of Hyndman and Khandakar (2008), from some more starts than R's, every candidate by
 * exact likelihood. `ret_tried` (may be NULL) gets the number of models fitted.
 * Errors: as arima_fit. */
enum err arima_auto(const struct arima_data *data, const struct arima_search *search,
                    struct arena *arena, struct arima *ret, int *ret_tried,
                    struct err_info *info) ATTR_NODISCARD;

/* KPSS statistic for a level, lag trunc(3 sqrt(n) / 13); y[n] without missing values, n >= 2. */
double arima_kpss(const double *y, int n);

/* Number of first differences (0..max) after which KPSS no longer rejects a level at 5 %; y[n] without missing values. */
int arima_ndiffs(const double *y, int n, int max, struct arena *arena);

/* Smallest modulus of a root of 1 - c_1 z - ... - c_k z^k (sign -1) or 1 + c_1 z + ... (sign 1), k <= ARIMA_ORDER_MAX;
 * INFINITY without roots. */
double arima_root_modulus(const double *c, int k, int sign);

#endif
