// SPDX-License-Identifier: Apache-2.0
#include "forecast/lasso.h"

#include <math.h>
#include <stdbool.h>

#include "forecast/num.h"

struct lasso lasso_new(int k, int from, int to, double weight, struct arena *arena)
{
    struct lasso p = {.k = k, .from = from, .to = to, .weight = weight};
    p.h = ARENA_NEW_ARRAY(arena, double, (long)k *k);
    p.sub = ARENA_NEW_ARRAY(arena, double, (long)k *k);
    p.c = ARENA_NEW_ARRAY(arena, double, k);
    p.x = ARENA_NEW_ARRAY(arena, double, k);
    p.right = ARENA_NEW_ARRAY(arena, double, k);
    p.active = ARENA_NEW_ARRAY(arena, int, k);
    p.sign = ARENA_NEW_ARRAY(arena, int, k);
    p.index = ARENA_NEW_ARRAY(arena, int, k);
    return p;
}

/* Minimum over the active unknowns at fixed signs; true if it was reached without a change of sign. */
static bool newton_step(struct lasso *p)
{
    int count = 0;
    for (int i = 0; i < p->k; i++) {
        if (p->active[i]) {
            p->index[count++] = i;
        }
    }
    for (int a = 0; a < count; a++) {
        int i = p->index[a];
        p->right[a] = p->c[i] - p->weight * p->sign[i];
        for (int b = 0; b <= a; b++) {
            p->sub[(long)a * count + b] = p->h[(long)i * p->k + p->index[b]];
        }
    }
    effort_spend(p->effort, (double)count * count * (count / 6.0 + 2));
    if (!num_cholesky(p->sub, count)) {
        return true;
    }
    num_cholesky_solve(p->sub, p->right, count);
    double step = 1;
    int hit = -1;
    for (int a = 0; a < count; a++) {
        int i = p->index[a];
        if (p->sign[i] != 0 && p->right[a] * p->sign[i] <= 0) {
            double reach = p->x[i] / (p->x[i] - p->right[a]);
            if (hit < 0 || reach < step) {
                step = fmax(0, fmin(1, reach));
                hit = i;
            }
        }
    }
    for (int a = 0; a < count; a++) {
        int i = p->index[a];
        p->x[i] += step * (p->right[a] - p->x[i]);
    }
    if (hit < 0) {
        return true;
    }
    p->x[hit] = 0;
    p->active[hit] = p->sign[hit] = 0;
    return false;
}

void lasso_solve(struct lasso *p)
{
    for (int i = 0; i < p->k; i++) {
        bool penalised = i >= p->from && i < p->to;
        p->sign[i] = penalised ? (p->x[i] > 0) - (p->x[i] < 0) : 0;
        p->active[i] = !penalised || p->sign[i] != 0;
    }
    for (int round = 0; round < 8 * (p->k + 1) && effort_left(p->effort); round++) {
        for (int i = 0; i <= p->k && !newton_step(p) && effort_left(p->effort); i++) {
        }
        double worst = p->weight * (1 + 1e-9);
        int add = -1;
        for (int i = p->from; i < p->to; i++) {
            if (p->active[i]) {
                continue;
            }
            double grad = -p->c[i];
            for (int j = 0; j < p->k; j++) {
                grad += p->h[(long)i * p->k + j] * p->x[j];
            }
            if (fabs(grad) > worst) {
                worst = fabs(grad);
                add = i;
                p->sign[i] = grad > 0 ? -1 : 1;
            }
        }
        for (int i = p->from; i < p->to; i++) {
            p->sign[i] = p->active[i] || i == add ? p->sign[i] : 0;
        }
        if (add < 0) {
            return;
        }
        p->active[add] = 1;
    }
}
