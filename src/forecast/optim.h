// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_OPTIM_H
#define FORECAST_OPTIM_H

#include "base/arena.h"
#include "forecast/effort.h"

/* Function to minimise: its value at x[k], infinite or NaN where it is not defined. With `ret_grad` not NULL it also
 * writes the gradient, unless the problem says that it has none. */
typedef double (*optim_fn)(void *context, const double *x, double *ret_grad);

struct optim_problem {
    optim_fn fn;
    void *context;
    int k;                 /* unknowns, 1..OPTIM_MAX */
    int has_gradient;      /* else forward differences are taken */
    int iterations_max;    /* steps of the quasi-Newton method */
    double tolerance;      /* stop when a step lowers the value by less than this, twice */
    double gradient_small; /* stop when every component of the gradient is below */
    /* [k][k] inverse Hessian to begin with: then it also stops before a step that promises less than the tolerance. NULL:
     * the unit matrix, scaled at the first step. */
    const double *inverse;
    double *ret_inverse; /* [k][k] its last approximation; may be NULL */
    /* What `fn` counts into; the search ends where it is once nothing is left; may be NULL. */
    const struct effort *effort;
};

enum { OPTIM_MAX = 128 };

/* Minimises from x[k], in place, by BFGS with backtracking; returns the value reached (never above the start's).
 * Deterministic. Scratch from `arena`, given back before the return.
 * Source: Nocedal and Wright, Numerical Optimization, chapter 6. */
double optim_bfgs(const struct optim_problem *problem, double *x, struct arena *arena);

#endif
