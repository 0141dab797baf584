// SPDX-License-Identifier: Apache-2.0
#include "forecast/jumps.h"

#include <math.h>

enum { TERMS_MAX = 1024, HALF = FORECAST_KNOTS / 2 };

static const double PI = 3.14159265358979323846;

/* Characteristic function at (i + 1/2) step, in units of the standard deviation. */
struct spectrum {
    int count;
    double step;
    double value[TERMS_MAX];
};

static void fill(struct spectrum *s, double noise, double count, double scale)
{
    /* the sums repeat with a period of 2 pi / step: 40 standard deviations */
    s->step = 2 * PI / 40;
    for (s->count = 0; s->count < TERMS_MAX; s->count++) {
        double w = (s->count + 0.5) * s->step, a = scale * w;
        double value = exp(count * (atan(a) / a - 1) - 0.5 * noise * noise * w * w);
        if (value < 1e-10) {
            break;
        }
        s->value[s->count] = value;
    }
}

/* P(X <= x), and the density; the sines of half-odd multiples by recurrence. */
static double distribution(const struct spectrum *s, double x, double *ret_density)
{
    double angle = s->step * x, twice = 2 * cos(angle), sum = 0, density = 0;
    double sine = sin(angle / 2), sine_before = -sine;
    double cosine = cos(angle / 2), cosine_before = cosine;
    for (int i = 0; i < s->count; i++) {
        sum += sine * s->value[i] / (i + 0.5);
        density += cosine * s->value[i];
        double next_sine = twice * sine - sine_before, next_cosine = twice * cosine - cosine_before;
        sine_before = sine, sine = next_sine;
        cosine_before = cosine, cosine = next_cosine;
    }
    *ret_density = density * s->step / PI;
    return 0.5 + sum / PI;
}

/* Newton's steps inside a bracket that each value narrows. */
static double solve(const struct spectrum *s, double p, double low, double guess)
{
    double high = 19, x = guess;
    for (int i = 0; i < 60; i++) {
        double density, miss = distribution(s, x, &density) - p;
        if (miss < 0) {
            low = x;
        } else {
            high = x;
        }
        double next = density > 0 ? x - miss / density : high;
        if (!(next > low && next < high)) {
            next = (low + high) / 2;
        }
        if (fabs(next - x) < 1e-7) {
            return next;
        }
        x = next;
    }
    return x;
}

bool jump_law_knots(const struct jump_law *law, double knots[FORECAST_KNOTS])
{
    double a2 = law->scale * law->scale;
    double variance = law->noise_sd * law->noise_sd + 2 * law->count * a2 / 3;
    double fourth = 24 * law->count * a2 * a2 / 5;
    for (int k = 0; k < FORECAST_KNOTS; k++) {
        knots[k] = forecast_knot_score(k);
    }
    if (!(variance > 0) || !(fourth > 0.02 * variance * variance)) {
        return false;
    }
    struct spectrum s;
    double sd = sqrt(variance);
    /* a jump of certain size zero is no density: the least noise that the terms can resolve stands for none */
    fill(&s, fmax(law->noise_sd / sd, 0.04), law->count, law->scale / sd);
    double last = 0;
    for (int k = HALF + 1; k < FORECAST_KNOTS; k++) {
        double p = 0.5 * erfc(-knots[k] / sqrt(2));
        last = solve(&s, p, last, last + 0.2);
        knots[k] = last;
        knots[FORECAST_KNOTS - 1 - k] = -last;
    }
    return true;
}
