// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_LASSO_H
#define FORECAST_LASSO_H

#include "base/arena.h"
#include "forecast/effort.h"

/* Least squares with absolute penalties on some of the unknowns, by an active set of signs: a Newton step on the
 * unknowns in use, cut at the first change of sign, then the most violated of the others is taken in. Exact to rounding
 * in a few Cholesky factors.
 * Source: Osborne, Presnell, Turlach 2000; docs/forecasting.md. */

/* min 0.5 x'Hx - c'x + weight sum |x_i|, i in from..to, over k unknowns, H positive definite; x is the start and the
 * answer. */
struct lasso {
    int k, from, to;
    double weight;
    double *h, *c, *x;
    double *sub, *right;   /* room: [k * k], [k] */
    int *active, *sign;    /* [k]; the rows in use and the signs they are held to */
    int *index;            /* [k] */
    struct effort *effort; /* counts each factor and bounds their number; may be NULL */
};

/* Room for k unknowns, all zero. Memory in `arena`. */
struct lasso lasso_new(int k, int from, int to, double weight, struct arena *arena);

/* Solves from p->x, in place, for p->h [k][k] (symmetric, both halves) and p->c [k]. Allocates nothing. */
void lasso_solve(struct lasso *p);

#endif
