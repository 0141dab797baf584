// SPDX-License-Identifier: Apache-2.0
#include "forecast/optim.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "forecast/num.h"

/* Step of the forward differences: with values of order one, truncation and rounding are then both near 1e-7. */
static const double DIFFERENCE_STEP = 1e-6;

struct search {
    const struct optim_problem *problem;
    double *inverse; /* [k][k] approximation of the inverse Hessian */
    double *grad, *next_grad, *direction, *next_x, *change, *h_y;
};

static double evaluate(const struct optim_problem *problem, const double *x)
{
    double value = problem->fn(problem->context, x, NULL);
    return isfinite(value) ? value : NUM_INFINITY;
}

static double value_and_gradient(const struct optim_problem *problem, double *x, double *grad)
{
    if (problem->has_gradient) {
        double value = problem->fn(problem->context, x, grad);
        return isfinite(value) ? value : NUM_INFINITY;
    }
    double value = evaluate(problem, x);
    for (int i = 0; i < problem->k; i++) {
        double keep = x[i], step = DIFFERENCE_STEP * (1 + fabs(keep));
        x[i] = keep + step;
        double up = evaluate(problem, x);
        if (!isfinite(up)) {
            x[i] = keep - step;
            up = evaluate(problem, x);
            step = -step;
        }
        x[i] = keep;
        grad[i] = isfinite(up) ? (up - value) / step : 0;
    }
    return value;
}

static void reset_inverse(struct search *s)
{
    int k = s->problem->k;
    memset(s->inverse, 0, sizeof(double) * (size_t)k * (size_t)k);
    for (int i = 0; i < k; i++) {
        s->inverse[(long)i * k + i] = 1;
    }
}

/* Direction = -inverse * gradient; returns its slope (negative if it descends). */
static double set_direction(struct search *s)
{
    int k = s->problem->k;
    double slope = 0;
    for (int i = 0; i < k; i++) {
        double sum = 0;
        for (int j = 0; j < k; j++) {
            sum += s->inverse[(long)i * k + j] * s->grad[j];
        }
        s->direction[i] = -sum;
        slope -= sum * s->grad[i];
    }
    return slope;
}

/* BFGS update of the inverse with change = s, next_grad - grad = y. */
static void update_inverse(struct search *s, int first)
{
    int k = s->problem->k;
    double sy = 0, yy = 0, y_h_y = 0;
    for (int i = 0; i < k; i++) {
        double y = s->next_grad[i] - s->grad[i];
        sy += s->change[i] * y;
        yy += y * y;
    }
    if (!(sy > 1e-14 * sqrt(yy))) {
        return;
    }
    if (first) {
        for (int i = 0; i < k; i++) {
            s->inverse[(long)i * k + i] = sy / yy;
        }
    }
    for (int i = 0; i < k; i++) {
        double sum = 0;
        for (int j = 0; j < k; j++) {
            sum += s->inverse[(long)i * k + j] * (s->next_grad[j] - s->grad[j]);
        }
        s->h_y[i] = sum;
        y_h_y += sum * (s->next_grad[i] - s->grad[i]);
    }
    double scale = (1 + y_h_y / sy) / sy;
    for (int i = 0; i < k; i++) {
        for (int j = 0; j < k; j++) {
            s->inverse[(long)i * k + j] +=
                scale * s->change[i] * s->change[j] -
                (s->h_y[i] * s->change[j] + s->change[i] * s->h_y[j]) / sy;
        }
    }
}

/* Backtracks along the direction from `x` until the value falls enough; returns the value, or NUM_INFINITY. Where the problem
 * has its own gradient, next_grad is set with it: most first steps are taken, and the gradient shares the value's work. */
static double line_search(struct search *s, const double *x, double value, double slope,
                          double step)
{
    int k = s->problem->k;
    for (int tries = 0; tries < 40 && effort_left(s->problem->effort); tries++) {
        for (int i = 0; i < k; i++) {
            s->next_x[i] = x[i] + step * s->direction[i];
        }
        double next = s->problem->has_gradient
                          ? value_and_gradient(s->problem, s->next_x, s->next_grad)
                          : evaluate(s->problem, s->next_x);
        if (next <= value + 1e-4 * step * slope) {
            return next;
        }
        double shrink = 0.2;
        if (isfinite(next)) {
            double quadratic = -slope * step / (2 * (next - value - slope * step));
            shrink =
                quadratic > 0.1 && quadratic < 0.5 ? quadratic : (quadratic >= 0.5 ? 0.5 : 0.1);
        }
        step *= shrink;
    }
    return NUM_INFINITY;
}

static double largest(const double *v, int k)
{
    double max = 0;
    for (int i = 0; i < k; i++) {
        max = fabs(v[i]) > max ? fabs(v[i]) : max;
    }
    return max;
}

static double run(struct search *s, double *x)
{
    const struct optim_problem *problem = s->problem;
    int k = problem->k, quiet = 0, fresh = problem->inverse == NULL;
    double value = value_and_gradient(problem, x, s->grad);
    if (!isfinite(value)) {
        return value;
    }
    reset_inverse(s);
    if (!fresh) {
        memcpy(s->inverse, problem->inverse, sizeof(double) * (size_t)k * (size_t)k);
    }
    for (int iteration = 0; iteration < problem->iterations_max && effort_left(problem->effort);
         iteration++) {
        double slope = set_direction(s);
        if (largest(s->grad, k) < problem->gradient_small ||
            (problem->inverse != NULL && !fresh && fabs(slope) / 2 < problem->tolerance)) {
            break;
        }
        double longest = fresh ? 0.3 : iteration == 0 ? 1 : NUM_INFINITY;
        double step = fmin(1, longest / largest(s->direction, k));
        double next = slope < 0 ? line_search(s, x, value, slope, step) : NUM_INFINITY;
        if (!isfinite(next)) {
            if (fresh) {
                break;
            }
            reset_inverse(s);
            fresh = 1;
            continue;
        }
        if (!problem->has_gradient) {
            value_and_gradient(problem, s->next_x, s->next_grad);
        }
        for (int i = 0; i < k; i++) {
            s->change[i] = s->next_x[i] - x[i];
        }
        update_inverse(s, fresh);
        fresh = 0;
        memcpy(x, s->next_x, sizeof(double) * (size_t)k);
        memcpy(s->grad, s->next_grad, sizeof(double) * (size_t)k);
        quiet = value - next < problem->tolerance ? quiet + 1 : 0;
        value = next;
        if (quiet >= 2) {
            break;
        }
    }
    return value;
}

double optim_bfgs(const struct optim_problem *problem, double *x, struct arena *arena)
{
    int k = problem->k;
    CHECK(k >= 1 && k <= OPTIM_MAX);
    struct arena_mark mark = arena_mark(arena);
    struct search s = {.problem = problem, .inverse = ARENA_NEW_ARRAY(arena, double, (long)k *k)};
    double *block = ARENA_NEW_ARRAY(arena, double, 6L * k);
    s.grad = block;
    s.next_grad = block + k;
    s.direction = block + 2 * k;
    s.next_x = block + 3 * k;
    s.change = block + 4 * k;
    s.h_y = block + 5 * k;
    double value = run(&s, x);
    if (problem->ret_inverse != NULL) {
        memcpy(problem->ret_inverse, s.inverse, sizeof(double) * (size_t)k * (size_t)k);
    }
    arena_rewind(arena, mark);
    return value;
}
