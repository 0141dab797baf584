// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_TUNE_H
#define PRM_TUNE_H

#include "prm/plan.h"

/* The tuner: which settings to try on candidates, and which of those tried to promote. Pure decisions on profiles. */

enum { TUNE_KNOBS_MAX = 64, TUNE_TRIALS_MAX = 256 };

enum tune_kind {
    TUNE_NUMBER, /* a number, stepped by factors */
    TUNE_SWITCH, /* off or on */
    TUNE_ORDER,  /* of commuting filters: a permutation, cheapest rejecter first */
};

/* A setting that an operator (or the stage) declares. */
struct tune_knob {
    struct str operator_name; /* "": the stage's own, as batch size or compression */
    struct str name;
    enum tune_kind kind;
    double value, min, max; /* NUMBER: integer steps between; SWITCH: 0 or 1 */
    double usual;           /* NUMBER: what it is where nobody sets it; NaN: not known */
    double operator_share;  /* of the partition's work cost, by the last profile; 0..1 */
    double
        hint; /* what the profile says about it, 0..1: misses of a cache, share of equal keys in a batch, ...; NaN: nothing */
};

/* Settings to try: one knob at another value. */
struct tune_trial {
    int32_t knob;
    double value;
    double bound; /* most that it can save: the share of work of what it touches */
};

enum tune_verdict {
    TUNE_PROMOTE,
    TUNE_REFUSE_USELESS,
    TUNE_REFUSE_WORSE,
    TUNE_REFUSE_OUTPUT,
    TUNE_MORE
};

struct tune_result {
    enum tune_verdict verdict;
    double ratio, ratio_low, ratio_high; /* cost with / without, and its interval */
};

/* Trials worth making, most promising first: knobs of the operators that limit, by what they could save at most; of a number
 * the usual value, four times and a quarter of what it is; settings remembered as useless are left out.
 *   useless   [useless_count] signatures of trials refused before
 * Returns how many, <= cap. Never one outside the knob's range, nor the value that is set. */
int32_t tune_trials(const struct tune_knob *knobs, int32_t count, const uint64_t *useless,
                    int32_t useless_count, struct tune_trial *ret_trials, int32_t cap);

/* What a shadow has told of a candidate beside its baseline: the ratio of their costs on the same sample with its interval of
 * 95 % (prm/profile.h, twin_ratio). */
struct tune_reading {
    double value, low, high;
    int32_t stretches; /* of the input, that the interval was made on */
    bool compared;     /* results were; false: MORE, whatever the ratio says */
    bool equal_output;
    int32_t
        tried; /* how many trials were made in this round: the interval is widened for them, >= 1 */
};

/* Whether a candidate is promoted: only if the ratio's upper end lies below 1 - least_gain at the level divided by the number of
 * trials. A ratio that is not low <= value <= high, > 0: MORE. */
struct tune_result tune_judge(const struct tune_reading *reading, double least_gain);

uint64_t tune_signature(const struct tune_knob *knob, double value);
const char *tune_verdict_text(enum tune_verdict verdict);

#endif
