// SPDX-License-Identifier: Apache-2.0
#include "forecast/season.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/check.h"
#include "forecast/num.h"

enum { PROPOSALS_MAX = 24, PARTS_MAX = 60, VALUES_MIN = 8, CYCLES_MIN = 3 };

/* A proposal's least autocorrelation, and how far it must have been lower at a shorter lag; a season's least strength,
 * more by FEW_CYCLES / cycles, and agreement of its halves. A shorter season with this share of the best's strength is
 * taken in its place: every multiple of a season explains as much, a week explains its days too, and what it has beyond
 * them is found in what they leave. */
static const double CORRELATION_MIN = 0.05, STRENGTH_MIN = 0.1, AGREEMENT_MIN = 0.5,
                    SHORTER_SHARE = 0.65, DIP = 0.05, FEW_CYCLES = 1.6;

struct finder {
    int n, size;                   /* values, length of the transform */
    double *z;                     /* [n] without gaps; found seasons are taken off */
    double *real, *imaginary;      /* [size] */
    double *rest, *phase, *halves; /* [n], [n], [2 n] */
};

/* In place, radix 2 (Cooley, Tukey 1965). */
static void transform(double *re, double *im, int size)
{
    for (int i = 1, j = 0; i < size; i++) {
        int bit = size >> 1;
        for (; j & bit; bit >>= 1) {
            j ^= bit;
        }
        j ^= bit;
        if (i < j) {
            double a = re[i], b = im[i];
            re[i] = re[j], im[i] = im[j];
            re[j] = a, im[j] = b;
        }
    }
    for (int length = 2; length <= size; length *= 2) {
        double angle = -6.283185307179586 / length;
        for (int k = 0; k < length / 2; k++) {
            double c = cos(angle * k), s = sin(angle * k);
            for (int i = k; i < size; i += length) {
                int j = i + length / 2;
                double a = re[j] * c - im[j] * s, b = re[j] * s + im[j] * c;
                re[j] = re[i] - a, im[j] = im[i] - b;
                re[i] += a, im[i] += b;
            }
        }
    }
}

/* Autocorrelations of v[n] about its mean at all lags into s->real, each by its own number of pairs. */
static void correlate(struct finder *s, const double *v, int n)
{
    double mean = 0;
    for (int i = 0; i < n; i++) {
        mean += v[i] / n;
    }
    memset(s->real, 0, sizeof(double) * (size_t)s->size);
    memset(s->imaginary, 0, sizeof(double) * (size_t)s->size);
    for (int i = 0; i < n; i++) {
        s->real[i] = v[i] - mean;
    }
    transform(s->real, s->imaginary, s->size);
    for (int i = 0; i < s->size; i++) {
        s->real[i] = s->real[i] * s->real[i] + s->imaginary[i] * s->imaginary[i];
        s->imaginary[i] = 0;
    }
    transform(s->real, s->imaginary, s->size);
    double whole = s->real[0];
    for (int lag = 0; lag < n; lag++) {
        s->real[lag] = whole > 0 ? s->real[lag] / whole * n / (n - lag) : 0;
    }
}

/* Whether s->real is highest at this lag within an eighth of it. */
static bool is_peak(const struct finder *s, int lag)
{
    int reach = lag / 8 + 1, from = lag - reach, to = lag + reach;
    for (int i = from > 1 ? from : 1; i <= to && i < s->n; i++) {
        if (s->real[i] > s->real[lag]) {
            return false;
        }
    }
    return true;
}

/* Adds the highest peaks of s->real to the proposals; returns their new number. */
static int propose(const struct finder *s, int *proposals, int count, int most)
{
    double height[PROPOSALS_MAX];
    int from = count;
    double lowest = s->real[1];
    for (int lag = 2; lag * CYCLES_MIN <= s->n; lag++) {
        double r = s->real[lag];
        lowest = fmin(lowest, r);
        if (r < CORRELATION_MIN || r < lowest + DIP || !is_peak(s, lag)) {
            continue;
        }
        int at = count < most ? count++ : count;
        while (at > from && height[at - 1 - from] < r) {
            at--;
        }
        if (at >= most) {
            continue;
        }
        for (int i = count - 1; i > at; i--) {
            height[i - from] = height[i - 1 - from];
            proposals[i] = proposals[i - 1];
        }
        height[at - from] = r;
        proposals[at] = lag;
    }
    return count;
}

/* s->rest = z less its centred moving average of about m values; at the ends the nearest average. */
static void take_level(struct finder *s, int m)
{
    int n = s->n, half = m / 2;
    double sum = 0;
    for (int i = 0; i < m; i++) {
        sum += s->z[i];
    }
    for (int i = 0; i < n; i++) {
        /* an even season's average is that of two neighbours' */
        int from = i - half;
        if (from >= 1 && from + m <= n) {
            sum += s->z[from + m - 1] - s->z[from - 1];
        }
        bool inside = from >= 0 && from + m < n;
        double average = sum / m;
        if (m % 2 == 0 && inside) {
            average += (s->z[from + m] - s->z[from]) / m / 2;
        }
        s->rest[i] = s->z[i] - average;
    }
}

static double correlation(const double *a, const double *b, int n)
{
    double ma = 0, mb = 0, aa = 0, bb = 0, ab = 0;
    for (int i = 0; i < n; i++) {
        ma += a[i] / n;
        mb += b[i] / n;
    }
    for (int i = 0; i < n; i++) {
        aa += (a[i] - ma) * (a[i] - ma);
        bb += (b[i] - mb) * (b[i] - mb);
        ab += (a[i] - ma) * (b[i] - mb);
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

/* Strength of a season of m steps, its means by phase in s->phase; 0 if its halves do not agree. */
static double strength_of(struct finder *s, int m)
{
    int n = s->n, cycles = n / m, first = cycles / 2 * m;
    take_level(s, m);
    memset(s->halves, 0, sizeof(double) * 2 * (size_t)m);
    memset(s->phase, 0, sizeof(double) * (size_t)m);
    double whole = 0, left = 0, mean = 0;
    for (int i = 0; i < cycles * m; i++) {
        bool late = i >= first;
        s->halves[(late ? m : 0) + i % m] += s->rest[i] / (late ? cycles - cycles / 2 : cycles / 2);
        s->phase[i % m] += s->rest[i] / cycles;
        mean += s->rest[i] / (cycles * m);
    }
    for (int i = 0; i < cycles * m; i++) {
        double d = s->rest[i] - s->phase[i % m];
        whole += (s->rest[i] - mean) * (s->rest[i] - mean);
        left += d * d;
    }
    if (!(whole > 0) || correlation(s->halves, s->halves + m, m) < AGREEMENT_MIN) {
        return 0;
    }
    double freedom = (double)(cycles * m - 1) / (cycles * m - m);
    return fmax(0, 1 - left / whole * freedom);
}

/* The strongest length within 2 % of a proposal: the peak of a correlation is blunt. */
static struct season_found sharpen(struct finder *s, struct season_found found)
{
    enum { TRIES = 10 };
    int reach = found.steps / 50, step = reach / TRIES > 1 ? reach / TRIES : 1;
    for (; reach > 0 && step > 0; reach = step, step /= 2) {
        struct season_found best = found;
        for (int m = found.steps - reach; m <= found.steps + reach; m += step) {
            double strength = m >= 2 && m * CYCLES_MIN <= s->n ? strength_of(s, m) : 0;
            if (strength > best.strength) {
                best = (struct season_found){m, strength};
            }
        }
        found = best;
    }
    return found;
}

static bool is_enough(const struct finder *s, int m, double strength)
{
    return strength > STRENGTH_MIN + FEW_CYCLES * m / s->n;
}

/* The strongest season of z, or 0; the shortest of those about as strong. */
static struct season_found strongest(struct finder *s)
{
    int proposals[PROPOSALS_MAX] = {0}, count = 0;
    double strength[PROPOSALS_MAX] = {0}, best = 0;
    correlate(s, s->z, s->n);
    count = propose(s, proposals, count, PROPOSALS_MAX / 2);
    for (int i = 1; i < s->n; i++) {
        s->rest[i - 1] = s->z[i] - s->z[i - 1];
    }
    correlate(s, s->rest, s->n - 1);
    count = propose(s, proposals, count, PROPOSALS_MAX);
    for (int i = 0; i < count; i++) {
        strength[i] = strength_of(s, proposals[i]);
        best = fmax(best, strength[i]);
    }
    struct season_found found = {0};
    for (int i = 0; i < count; i++) {
        if (is_enough(s, proposals[i], strength[i]) && strength[i] >= SHORTER_SHARE * best &&
            (found.steps == 0 || proposals[i] < found.steps)) {
            found = (struct season_found){proposals[i], strength[i]};
        }
    }
    /* many multiples may have taken the proposals from the season itself */
    int whole = found.steps;
    for (int k = 2; k <= PARTS_MAX && 2 * k <= whole; k++) {
        int m = (whole + k / 2) / k;
        double part = strength_of(s, m);
        if (is_enough(s, m, part) && part >= SHORTER_SHARE * best) {
            found = (struct season_found){m, part};
        }
    }
    return found.steps > 0 ? sharpen(s, found) : found;
}

static void fill_gaps(const double *y, int n, double *z)
{
    int last = -1;
    for (int i = 0; i < n; i++) {
        if (!isfinite(y[i])) {
            continue;
        }
        for (int j = last + 1; j < i; j++) {
            z[j] = last < 0 ? y[i] : y[last] + (y[i] - y[last]) * (j - last) / (i - last);
        }
        z[i] = y[i];
        last = i;
    }
    for (int j = last + 1; j < n; j++) {
        z[j] = last >= 0 ? y[last] : 0;
    }
}

/* Brings single spikes back to six times the median size of a value about the median: they would drown the seasons. Scales
 * to the median size, so that no square overflows. */
static void tame(struct finder *s)
{
    int n = s->n;
    memcpy(s->rest, s->z, sizeof(double) * (size_t)n);
    double median = num_quantile(s->rest, n, 0.5), largest = 0;
    for (int i = 0; i < n; i++) {
        s->z[i] -= median;
        s->rest[i] = fabs(s->z[i]);
        largest = fmax(largest, s->rest[i]);
    }
    double size = num_quantile(s->rest, n, 0.5);
    size = size > 0 ? size : largest;
    for (int i = 0; i < n && size > 0; i++) {
        s->z[i] = fmax(-6, fmin(6, s->z[i] / size));
    }
}

int season_find(const double *y, int n, int most, struct arena *arena, struct season_found *ret)
{
    CHECK(most >= 1 && most <= SEASONS_FOUND_MAX);
    if (n < VALUES_MIN) {
        return 0;
    }
    struct arena_mark mark = arena_mark(arena);
    struct finder s = {.n = n, .size = 16};
    while (s.size < 2 * n) {
        s.size *= 2;
    }
    s.z = ARENA_NEW_ARRAY(arena, double, n);
    s.real = ARENA_NEW_ARRAY(arena, double, s.size);
    s.imaginary = ARENA_NEW_ARRAY(arena, double, s.size);
    s.rest = ARENA_NEW_ARRAY(arena, double, n);
    s.phase = ARENA_NEW_ARRAY(arena, double, n);
    s.halves = ARENA_NEW_ARRAY(arena, double, 2L * n);
    fill_gaps(y, n, s.z);
    tame(&s);
    int count = 0;
    while (count < most) {
        struct season_found found = strongest(&s);
        if (found.steps == 0) {
            break;
        }
        IGNORE_RESULT(strength_of(&s, found.steps)); /* for its means by phase */
        for (int i = 0; i < n; i++) {
            s.z[i] -= s.phase[i % found.steps];
        }
        int at = count;
        bool again = false;
        for (int i = 0; i < count; i++) {
            again = again || abs(ret[i].steps - found.steps) * 20 <= found.steps;
        }
        if (again) {
            break;
        }
        for (; at > 0 && ret[at - 1].steps > found.steps; at--) {
            ret[at] = ret[at - 1];
        }
        ret[at] = found;
        count++;
    }
    arena_rewind(arena, mark);
    return count;
}
