// SPDX-License-Identifier: Apache-2.0
#include "prm/adaptive.h"

#include <math.h>

#include "base/check.h"
#include "base/names.h"
#include "forecast/num.h"

/* The sample grows by this between judgements; the first one needs so many records. */
#define GROWTH  1.5
#define FIRST_N 1000

/* No step up is larger: what a percentage costs is seen before it is doubled again. */
#define RAISE_MAX 2.0

static const char *const question_names[] = {ADAPTIVE_QUESTIONS(NAMES_TEXT)};
static const char *const reason_names[] = {ADAPTIVE_REASONS(NAMES_TEXT)};
static const char *const reason_helps[] = {ADAPTIVE_REASONS(NAMES_HELP)};
static const char *const verdict_names[] = {ADAPTIVE_VERDICTS(NAMES_TEXT)};
static const char *const verdict_helps[] = {ADAPTIVE_VERDICTS(NAMES_HELP)};

const char *adaptive_question_name(enum adaptive_question question)
{
    return NAMES_AT(question_names, question);
}

const char *adaptive_reason_name(enum adaptive_reason reason)
{
    return NAMES_AT(reason_names, reason);
}

const char *adaptive_reason_help(enum adaptive_reason reason)
{
    return NAMES_AT(reason_helps, reason);
}

const char *adaptive_verdict_name(enum adaptive_verdict verdict)
{
    return NAMES_AT(verdict_names, verdict);
}

const char *adaptive_verdict_help(enum adaptive_verdict verdict)
{
    return NAMES_AT(verdict_helps, verdict);
}

struct adaptive_settings adaptive_settings_default(enum adaptive_question question,
                                                   double percent_max)
{
    return (struct adaptive_settings){.question = question,
                                      .alpha = 0.05,
                                      .precision = 0.1,
                                      .margin = 0.05,
                                      .percent_max = percent_max};
}

static double within(const struct adaptive *adaptive, double percent)
{
    percent = percent > 1 ? percent : 1;
    return percent < adaptive->settings.percent_max ? percent : adaptive->settings.percent_max;
}

void adaptive_init(struct adaptive *adaptive, const struct adaptive_settings *settings,
                   double percent, int64_t now_ns)
{
    CHECK(settings->alpha > 0 && settings->alpha < 1 && settings->percent_max >= 1 &&
          settings->percent_max <= 100);
    *adaptive = (struct adaptive){
        .settings = *settings,
        .began_ns = now_ns,
        .interval = {.value = NUM_NAN, .low = NUM_NAN, .high = NUM_NAN},
    };
    adaptive->percent = within(adaptive, percent);
}

bool adaptive_due(const struct adaptive *adaptive, double n, double *ret_confidence)
{
    double least = adaptive->judgements == 0 ? FIRST_N : adaptive->judged_n * GROWTH;
    if (adaptive->settings.question == ADAPTIVE_ASK_NONE || adaptive->verdict != VERDICT_OPEN ||
        n < least) {
        return false;
    }
    double k = adaptive->judgements + 1;
    *ret_confidence = 1 - adaptive->settings.alpha / (k * (k + 1)); /* A1 */
    return true;
}

static void step(struct adaptive *adaptive, enum adaptive_reason reason, double to, double n,
                 int64_t now_ns)
{
    adaptive->steps[adaptive->step_count++ % ADAPTIVE_STEPS_MAX] =
        (struct adaptive_step){.at_ns = now_ns,
                               .from = adaptive->percent,
                               .to = to,
                               .reason = reason,
                               .n = n,
                               .low = adaptive->interval.low,
                               .high = adaptive->interval.high}; /* A3 */
    if (to > adaptive->percent || to < adaptive->percent) {
        adaptive->percent = to;
        adaptive->began_ns = now_ns;
        adaptive->began_n = n;
    }
}

static enum adaptive_verdict verdict_of(const struct adaptive *adaptive,
                                        const struct estimate *interval, bool decided)
{
    double margin = adaptive->settings.margin;
    if (!isfinite(interval->low) || !isfinite(interval->high)) {
        return VERDICT_OPEN;
    }
    if (adaptive->settings.question == ADAPTIVE_ASK_PROFILE) {
        bool narrow = interval->high - interval->low <=
                      2 * adaptive->settings.precision * fabs(interval->value);
        return narrow && decided ? VERDICT_KNOWN : VERDICT_OPEN;
    }
    if (interval->high < 1 - margin) {
        return VERDICT_BETTER;
    }
    if (interval->low > 1 + margin) {
        return VERDICT_WORSE;
    }
    bool inside = interval->low >= 1 - margin && interval->high <= 1 + margin;
    return inside ? VERDICT_SAME : VERDICT_OPEN;
}

/* How many times as many records the question wants, as widths fall with the root of their number. */
static double wanted(const struct adaptive *adaptive, const struct estimate *interval)
{
    if (!isfinite(interval->low) || !isfinite(interval->high)) {
        return NUM_INFINITY;
    }
    double width = interval->high - interval->low;
    double enough = 2 * adaptive->settings.precision * fabs(interval->value);
    if (adaptive->settings.question == ADAPTIVE_ASK_COMPARE) {
        double margin = adaptive->settings.margin;
        double to_low = fabs(interval->value - (1 - margin));
        double to_high = fabs(interval->value - (1 + margin));
        enough = 2 * (to_low < to_high ? to_low : to_high);
    }
    return enough > 0 ? (width / enough) * (width / enough) : NUM_INFINITY;
}

/* How many times as many records there will be when the time is over, at this percentage. */
static double coming(const struct adaptive *adaptive, double n, int64_t due_ns, int64_t now_ns)
{
    double gone = (double)(now_ns - adaptive->began_ns);
    double left = (double)(due_ns - now_ns);
    double rate = gone > 0 ? (n - adaptive->began_n) / gone : 0;
    return 1 + rate * (left > 0 ? left : 0) / n;
}

double adaptive_judge(struct adaptive *adaptive, const struct estimate *interval, bool decided,
                      int64_t due_ns, int64_t now_ns, bool *ret_stop)
{
    double n = interval->n;
    double percent = adaptive->percent;
    adaptive->judgements++;
    adaptive->judged_n = n;
    adaptive->interval = *interval;
    adaptive->verdict = verdict_of(adaptive, interval, decided);
    *ret_stop = adaptive->verdict != VERDICT_OPEN;
    if (*ret_stop) {
        step(adaptive, ADAPTIVE_ANSWERED, percent, n, now_ns);
        return percent;
    }
    double short_by = wanted(adaptive, interval) / coming(adaptive, n, due_ns, now_ns);
    if (!(short_by > 1)) {
        step(adaptive, ADAPTIVE_STAY, percent, n, now_ns);
        return percent;
    }
    double more = within(adaptive, percent * (short_by < RAISE_MAX ? short_by : RAISE_MAX));
    step(adaptive, more > percent ? ADAPTIVE_WIDE : ADAPTIVE_TOP, more, n, now_ns); /* A2 */
    return adaptive->percent;
}

double adaptive_lower(struct adaptive *adaptive, double n, int64_t now_ns)
{
    double percent = adaptive->percent / 2 > 1 ? adaptive->percent / 2 : 1;
    if (percent < adaptive->percent) {
        adaptive->settings.percent_max = percent; /* what was too much is not tried again */
        step(adaptive, ADAPTIVE_SHORT, percent, n, now_ns);
    }
    return adaptive->percent;
}
