// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_NUM_H
#define FORECAST_NUM_H

#include <math.h>
#include <stdbool.h>

/* Small numerics for models of a few dozen unknowns. Matrices are dense, row major, a[i * n + j]. Nothing here
 * allocates, keeps or prints anything; any thread. */

/* As doubles: the library's macros are floats, which do not mix quietly. */
#define NUM_INFINITY ((double)INFINITY)
#define NUM_NAN      ((double)NAN)

/* Standard normal quantile (AS 241, PPND16, Wichura 1988), relative error about 1e-16. p in (0, 1). */
double num_normal_quantile(double p);

/* Student t quantile with `df` > 0 degrees of freedom; p in (0, 1). Bisection on the incomplete beta function. */
double num_t_quantile(double p, double df);

/* Cholesky factor in the lower triangle of `a` (n x n), in place; false if `a` is not positive definite. */
bool num_cholesky(double *a, int n);

/* Solves L L' x = b in place of `b` (n), given the factor of num_cholesky. */
void num_cholesky_solve(const double *factor, double *b, int n);

/* Solves a x = b by elimination with row pivots, in place of `b` (n); destroys `a` (n x n); false if singular. */
bool num_solve(double *a, double *b, int n);

/* Least squares by Householder QR.
 *   x[n][k]   destroyed; n >= k
 *   y[n]      destroyed; afterwards the sum of squares of y[k..n) is the residual sum of squares
 *   coef[k]   solution; a column without independent content gets 0
 * Returns the rank. */
int num_least_squares(double *x, double *y, int n, int k, double *coef);

/* Minimum of a function of one variable on [lo, hi] by Brent's golden section and parabola (Brent 1973, fmin). */
double num_minimum(double (*f)(void *context, double x), void *context, double lo, double hi,
                   double tolerance);

/* Value at fraction `q` of v[0..n), linear between order statistics (type 7). `v` is sorted in place; n >= 1. */
double num_quantile(double *v, int n, double q);

/* Sorts v[0..n) upwards. */
void num_sort(double *v, int n);

/* True for exactly zero (without tripping over comparing floats). */
static inline bool num_is_zero(double x)
{
    return !(x > 0) && !(x < 0);
}

#endif
