// SPDX-License-Identifier: Apache-2.0
#include "load/keys.h"

#include <math.h>
#include <stdlib.h>

#include "base/check.h"

/* log1p(x) / x and expm1(x) / x, also where x is next to 0 (series there). */
static double log1p_over(double x)
{
    return fabs(x) > 1e-8 ? log1p(x) / x : 1.0 - x * (0.5 - x * (1.0 / 3.0 - 0.25 * x));
}

static double expm1_over(double x)
{
    return fabs(x) > 1e-8 ? expm1(x) / x : 1.0 + x * 0.5 * (1.0 + x * (1.0 / 3.0));
}

/* Integral of x^-exponent, up to a constant, and its inverse. */
static double h_integral(double exponent, double x)
{
    double log_x = log(x);
    return expm1_over((1.0 - exponent) * log_x) * log_x;
}

static double h_integral_inverse(double exponent, double x)
{
    double t = x * (1.0 - exponent);
    t = t < -1.0 ? -1.0 : t; /* rounding may go past the limit */
    return exp(log1p_over(t) * x);
}

static double h(double exponent, double x)
{
    return exp(-exponent * log(x));
}

static void zipf_prepare(struct key_chooser *c)
{
    c->h_integral_x1 = h_integral(c->exponent, 1.5) - 1.0;
    c->h_integral_n = h_integral(c->exponent, (double)c->count + 0.5);
    c->s =
        2.0 - h_integral_inverse(c->exponent, h_integral(c->exponent, 2.5) - h(c->exponent, 2.0));
}

/* Rank 1..count. */
static int64_t zipf_draw(const struct key_chooser *c, struct rng *rng)
{
    for (;;) { /* ends: accepts with probability > 0.7 each time */
        double u = c->h_integral_n + rng_unit(rng) * (c->h_integral_x1 - c->h_integral_n);
        double x = h_integral_inverse(c->exponent, u);
        int64_t k = (int64_t)(x + 0.5);
        k = k < 1 ? 1 : k > c->count ? c->count : k;
        if ((double)k - x <= c->s ||
            u >= h_integral(c->exponent, (double)k + 0.5) - h(c->exponent, (double)k)) {
            return k;
        }
    }
}

int64_t key_chooser_draw(const struct key_chooser *chooser, struct rng *rng, int64_t time_ms)
{
    if (chooser->choice == KEYS_UNIFORM) {
        return (int64_t)rng_below(rng, (uint64_t)chooser->count);
    }
    int64_t key = zipf_draw(chooser, rng) - 1;
    if (chooser->choice == KEYS_DRIFT) {
        int64_t moved = time_ms / chooser->drift_ms % chooser->count;
        key = (key + moved + chooser->count) % chooser->count;
    }
    return key;
}

static bool number(struct str text, double min, double max, double *ret_value)
{
    char buf[32];
    if (text.len == 0 || text.len >= (ptrdiff_t)sizeof(buf)) {
        return false;
    }
    memcpy(buf, text.ptr, (size_t)text.len);
    buf[text.len] = 0;
    char *end = NULL;
    double value = strtod(buf, &end);
    *ret_value = value;
    return *end == 0 && value >= min && value <= max;
}

enum err key_chooser_parse(struct str text, struct key_chooser *ret_chooser, struct err_info *info)
{
    struct str rest = text;
    struct str kind = str_cut(&rest, ':');
    struct key_chooser c = {.exponent = 1.0, .drift_ms = 1};
    double count = 0.0;
    double seconds = 1.0;
    bool good = false;
    if (str_is(kind, "uniform")) {
        c.choice = KEYS_UNIFORM;
        good = number(rest, 1.0, KEYS_COUNT_MAX, &count);
    } else if (str_is(kind, "zipf") || str_is(kind, "drift")) {
        c.choice = str_is(kind, "zipf") ? KEYS_ZIPF : KEYS_DRIFT;
        good = number(str_cut(&rest, ':'), 0.01, 20.0, &c.exponent) &&
               number(str_cut(&rest, ':'), 1.0, KEYS_COUNT_MAX, &count) &&
               (c.choice == KEYS_DRIFT ? number(rest, 0.001, 1e9, &seconds) : rest.ptr == NULL);
    }
    if (!good) {
        return err_set(info, ERR_PARSE,
                       "'%.*s' names no keys; write uniform:COUNT, zipf:EXPONENT:COUNT or "
                       "drift:EXPONENT:COUNT:SECONDS (exponent 0.01..20, count 1..%d)",
                       (int)(text.len < 60 ? text.len : 60), text.ptr, KEYS_COUNT_MAX);
    }
    c.count = (int64_t)count;
    c.drift_ms = (int64_t)(seconds * 1000.0);
    c.drift_ms = c.drift_ms < 1 ? 1 : c.drift_ms;
    zipf_prepare(&c);
    *ret_chooser = c;
    return ERR_OK;
}
