// SPDX-License-Identifier: Apache-2.0
#include "prm/tune.h"

#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "forecast/num.h"

/* A trial that could save less than this share of the work is not made. */
#define BOUND_LEAST 0.02

/* What is tried of a number: so many times as much, and as little. */
#define FACTOR 4.0

/* Chance that any trial of a round is promoted though it is of no use. */
#define LEVEL 0.05

enum { STRETCHES_MIN = 6, VALUES_MAX = 3 };

const char *tune_verdict_text(enum tune_verdict verdict)
{
    static const char *const texts[] = {
        "promoted: it is significantly cheaper", "refused: it makes no difference worth having",
        "refused: it is dearer", "refused: its output differs", "undecided: more must be measured"};
    return texts[verdict];
}

uint64_t tune_signature(const struct tune_knob *knob, double value)
{
    struct {
        uint64_t operator_name, name;
        int64_t value_milli;
    } words = {hash64(knob->operator_name.ptr, knob->operator_name.len),
               hash64(knob->name.ptr, knob->name.len), llround(value * 1000)};
    return hash64(&words, (ptrdiff_t)sizeof words);
}

/* --- which --- */

static int by_bound(const void *a, const void *b)
{
    const struct tune_trial *x = a;
    const struct tune_trial *y = b;
    if (x->bound < y->bound || x->bound > y->bound) {
        return x->bound > y->bound ? -1 : 1;
    }
    return x->knob != y->knob ? (x->knob < y->knob ? -1 : 1) : (x->value < y->value ? -1 : 1);
}

static bool is_useless(uint64_t signature, const uint64_t *useless, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        if (useless[i] == signature) {
            return true;
        }
    }
    return false;
}

/* Values of a knob that are worth a look; returns how many. */
static int32_t values_of(const struct tune_knob *knob, double values[VALUES_MAX])
{
    if (knob->kind == TUNE_SWITCH) {
        values[0] = knob->value > 0 ? 0 : 1;
        return 1;
    }
    if (knob->kind == TUNE_ORDER) {
        values[0] = 1; /* the order of tune_filter_order */
        return knob->value > 0 ? 0 : 1;
    }
    int32_t count = 0;
    double base = knob->value > 0 ? knob->value : 1;
    double up = fmin(round(base * FACTOR), knob->max);
    double down = fmax(round(base / FACTOR), knob->min);
    bool unusual =
        knob->usual >= knob->min && knob->usual <= knob->max && fabs(knob->usual - knob->value) > 0;
    if (unusual) {
        values[count++] = knob->usual;
    }
    if (unusual && (!(knob->value > 0) || fabs(knob->usual - up) <= 0)) {
        up = knob->value; /* the same twice; nothing is four times as much as nothing */
    }
    if (unusual && fabs(knob->usual - down) <= 0) {
        down = knob->value;
    }
    if (up > knob->value) {
        values[count++] = up;
    }
    if (down < knob->value) {
        values[count++] = down;
    }
    return count;
}

int32_t tune_trials(const struct tune_knob *knobs, int32_t count, const uint64_t *useless,
                    int32_t useless_count, struct tune_trial *ret_trials, int32_t cap)
{
    struct tune_trial all[VALUES_MAX * TUNE_KNOBS_MAX];
    int32_t n = 0;
    for (int32_t i = 0; i < count && i < TUNE_KNOBS_MAX; i++) {
        const struct tune_knob *knob = &knobs[i];
        double values[VALUES_MAX], hint = isfinite(knob->hint) ? knob->hint : 0.5;
        double bound = knob->operator_share * hint;
        int32_t k = bound >= BOUND_LEAST ? values_of(knob, values) : 0;
        for (int32_t v = 0; v < k; v++) {
            if (!is_useless(tune_signature(knob, values[v]), useless, useless_count)) {
                all[n++] = (struct tune_trial){.knob = i, .value = values[v], .bound = bound};
            }
        }
    }
    qsort(all, (size_t)n, sizeof *all, by_bound);
    n = n < cap ? n : cap;
    for (int32_t i = 0; i < n; i++) {
        ret_trials[i] = all[i];
    }
    return n;
}

/* --- whether --- */

static enum tune_verdict verdict_of(const struct tune_result *r, double least_gain)
{
    if (r->ratio_high < 1 - least_gain) {
        return TUNE_PROMOTE;
    }
    if (r->ratio_low > 1) {
        return TUNE_REFUSE_WORSE;
    }
    return r->ratio_low > 1 - least_gain ? TUNE_REFUSE_USELESS : TUNE_MORE;
}

struct tune_result tune_judge(const struct tune_reading *reading, double least_gain)
{
    struct tune_result r = {
        .verdict = TUNE_MORE, .ratio = NAN, .ratio_low = 0, .ratio_high = INFINITY};
    if (reading->compared && !reading->equal_output) {
        r.verdict = TUNE_REFUSE_OUTPUT;
        return r;
    }
    if (!(reading->low > 0 && reading->low <= reading->value && reading->value <= reading->high) ||
        !isfinite(reading->high) || reading->stretches < STRETCHES_MIN) {
        return r;
    }
    double level = LEVEL / (reading->tried > 1 ? reading->tried : 1);
    int df = reading->stretches - 1;
    double wider = num_t_quantile(1 - level / 2, df) / num_t_quantile(1 - LEVEL / 2, df);
    r.ratio = reading->value;
    r.ratio_low = reading->value * pow(reading->low / reading->value, wider);
    r.ratio_high = reading->value * pow(reading->high / reading->value, wider);
    r.verdict = reading->compared ? verdict_of(&r, least_gain) : TUNE_MORE;
    return r;
}
