// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_ADAPTIVE_H
#define PRM_ADAPTIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "prm/looks.h"

/* Adaptive percentage: a stopping rule. A shadow was cast for a question; after each look that is due, the interval either
 * answers it (stop), or will at this percentage before the time is over (stay), or will not (raise), or the resources do
 * not carry the percentage (lower).
 *
 * Looking again and again and stopping at the first good interval would be wrong more often than the interval says. So the
 * chance of a false answer, `alpha`, is spent over the judgements: the k-th gets alpha / (k (k + 1)), which add up to alpha
 * however many there are (union bound). Judgements are made when the sample has grown by a half since the last one, so
 * that few are made and each costs little width.
 * Source: union bound over looks, as alpha spending, Lan and DeMets 1983.
 *
 *   A1  With alpha 0.05, a question is answered wrongly in at most 5 % of the runs, whatever the number of looks.
 *   A2  Within the resources the percentage only rises while the question is open; it never leaves 1 .. percent_max.
 *   A3  Every step has a reason; the last ADAPTIVE_STEPS_MAX are kept. */

enum { ADAPTIVE_STEPS_MAX = 32 };

#define ADAPTIVE_QUESTIONS(X) \
    X(NONE, "none", "measure for the whole time") \
    X(PROFILE, "profile", "which operator limits, and the cost of a record within `precision`") \
    X(COMPARE, "compare", "whether the candidate costs less, more, or the same within `margin`")

#define ADAPTIVE_REASONS(X) \
    X(STAY, "stay", "the interval narrows fast enough") \
    X(WIDE, "wide", "the interval is too wide to decide in the time that is left") \
    X(SHORT, "short", "records are dropped or the live path is pressed") \
    X(ANSWERED, "answered", "the interval answers the question") \
    X(TOP, "top", "the interval is too wide, and the percentage cannot rise")

#define ADAPTIVE_VERDICTS(X) \
    X(OPEN, "open", "not decided") \
    X(KNOWN, "known", "the interval is narrow enough") \
    X(BETTER, "better", "costs less, beyond the margin") \
    X(WORSE, "worse", "costs more, beyond the margin") \
    X(SAME, "same", "no difference beyond the margin")

enum adaptive_question {
#define X(name, text, help) ADAPTIVE_ASK_##name,
    ADAPTIVE_QUESTIONS(X)
#undef X
        ADAPTIVE_QUESTION_COUNT
};

enum adaptive_reason {
#define X(name, text, help) ADAPTIVE_##name,
    ADAPTIVE_REASONS(X)
#undef X
        ADAPTIVE_REASON_COUNT
};

enum adaptive_verdict {
#define X(name, text, help) VERDICT_##name,
    ADAPTIVE_VERDICTS(X)
#undef X
        ADAPTIVE_VERDICT_COUNT
};

const char *adaptive_question_name(enum adaptive_question question);
const char *adaptive_reason_name(enum adaptive_reason reason);
const char *adaptive_reason_help(enum adaptive_reason reason);
const char *adaptive_verdict_name(enum adaptive_verdict verdict);
const char *adaptive_verdict_help(enum adaptive_verdict verdict);

struct adaptive_settings {
    enum adaptive_question question;
    double alpha;       /* chance of a false answer, 0.05 */
    double precision;   /* PROFILE: half the interval / its value, 0.1 */
    double margin;      /* COMPARE: smallest difference that matters, 0.05 */
    double percent_max; /* 1..100; equal to the first percentage: it is not raised */
};

/* Defaults for a question. */
struct adaptive_settings adaptive_settings_default(enum adaptive_question question,
                                                   double percent_max);

struct adaptive_step {
    int64_t at_ns;
    double from, to; /* percent */
    enum adaptive_reason reason;
    double n;         /* records that it rested on */
    double low, high; /* of the interval that was judged; NaN: none was there */
};

struct adaptive {
    struct adaptive_settings settings;
    double percent;
    double judged_n;    /* records at the last judgement */
    int32_t judgements; /* made */
    int64_t began_ns;   /* of measuring at this percentage */
    double began_n;
    enum adaptive_verdict verdict;
    struct estimate interval; /* as last judged, at its own confidence */
    int32_t step_count;       /* ever; the last ADAPTIVE_STEPS_MAX are in steps[i % MAX] */
    struct adaptive_step steps[ADAPTIVE_STEPS_MAX];
};

/*   percent   to begin with; brought into 1 .. percent_max */
void adaptive_init(struct adaptive *adaptive, const struct adaptive_settings *settings,
                   double percent, int64_t now_ns);

/* Whether a judgement is due with a sample of `n` records; and at which confidence its interval has to be taken. */
bool adaptive_due(const struct adaptive *adaptive, double n, double *ret_confidence);

/* A judgement.
 *   interval   of the cost of a record (PROFILE) or of the ratio to the baseline (COMPARE), at the confidence asked for;
 *              n is the sample
 *   decided    PROFILE: which operator limits is clear at that confidence too
 *   due_ns     when the shadow's time is over
 * Returns the percentage from now on. `*ret_stop`: the question is answered. */
double adaptive_judge(struct adaptive *adaptive, const struct estimate *interval, bool decided,
                      int64_t due_ns, int64_t now_ns, bool *ret_stop);

/* Records were dropped, or the live path is pressed: halves the percentage, not below 1. Returns it. */
double adaptive_lower(struct adaptive *adaptive, double n, int64_t now_ns);

#endif
