// SPDX-License-Identifier: Apache-2.0
#include "prm/skew.h"

#include <math.h>

#include "base/check.h"
#include "base/names.h"

/* From where on a side that keeps so much is no relief, and where reading is what costs. */
#define ONE_GROUP_SHARE 0.9
#define READING_SHARE   0.5
#define ABOUT_HALF      0.45 /* a key that is half is not missed for the sample's chance */

static const char *const verdict_names[] = {SPLIT_VERDICTS(NAMES_TEXT)};
static const char *const verdict_helps[] = {SPLIT_VERDICTS(NAMES_HELP)};

const char *split_verdict_name(enum split_verdict verdict)
{
    return NAMES_AT(verdict_names, verdict);
}

const char *split_verdict_help(enum split_verdict verdict)
{
    return NAMES_AT(verdict_helps, verdict);
}

static void find_peak(const struct skew_input *input, struct skew *skew)
{
    uint32_t width = input->group_hi - input->group_lo;
    uint32_t peak = 0;
    for (uint32_t g = 0; g < width; g++) {
        skew->records += input->groups[g];
        peak = input->groups[g] > input->groups[peak] ? g : peak;
    }
    skew->peak_group = input->group_lo + peak;
    skew->peak_ratio = skew->records > 0 ? input->groups[peak] * (double)width / skew->records : 0;
}

/* The border whose heavier side is lightest; of equal ones the first. */
static void find_border(const struct skew_input *input, struct skew *skew)
{
    uint32_t width = input->group_hi - input->group_lo;
    double below = 0, best = skew->records;
    for (uint32_t g = 0; g + 1 < width; g++) {
        below += input->groups[g];
        double above = skew->records - below;
        double heavier = below > above ? below : above;
        if (heavier < best) {
            best = heavier;
            skew->border = input->group_lo + g + 1;
        }
    }
    skew->heavier_share = skew->records > 0 ? best / skew->records : 1;
}

static enum split_verdict judge(const struct skew_input *input, const struct skew *skew)
{
    if (input->group_hi - input->group_lo < 2) {
        return SPLIT_NARROW;
    }
    if (skew->records < SKEW_RECORDS_MIN) {
        return SPLIT_UNKNOWN;
    }
    /* A key is never divided: however many splits, one partition keeps its share. */
    if (skew->top >= 0 && skew->top_share.high >= ABOUT_HALF) {
        return SPLIT_ONE_KEY;
    }
    if (skew->heavier_share >= ONE_GROUP_SHARE) {
        return SPLIT_ONE_GROUP;
    }
    return input->read_share > READING_SHARE ? SPLIT_READING : SPLIT_HELPS;
}

void skew_of(const struct skew_input *input, struct skew *ret_skew)
{
    struct skew skew = {.top = -1, .heavier_share = 1, .after_share = 1};
    CHECK(input->group_hi > input->group_lo);
    find_peak(input, &skew);
    find_border(input, &skew);
    if (input->heavy_count > 0 && input->heavy_sampled > 0) {
        const struct heavy_entry *top = &input->heavy[0];
        skew.top = 0;
        skew.top_share = share_estimate((double)top->count, (double)top->error,
                                        input->heavy_sampled, LOOKS_CONFIDENCE);
    }
    double read =
        input->read_share > 0 ? input->read_share : 0; /* not known: as if it cost nothing */
    skew.after_share = read + (1 - read) * skew.heavier_share;
    skew.verdict = judge(input, &skew);
    *ret_skew = skew;
}
