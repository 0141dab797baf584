// SPDX-License-Identifier: Apache-2.0
/* What a look at a shadow leads to: its sides were measured together and are judged together. */
#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "control/shadows_priv.h"

#define RECORD_NS     (30 * 1000000000LL)
#define DROPPED_RATIO 0.02 /* of a look's records: more is too much for the budget */

void shadow_choose_sample(struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    const struct partition_detail *detail = &run->primary.detail;
    if (entry->order.by == SHADOW_BY_RECORD) {
        shadow_sample_records(entry->percent, &run->sample);
        run->strata = (struct shadow_strata){.hashed = entry->percent / 100};
        return;
    }
    shadow_sample_choose(detail->heavy, detail->heavy_count, detail->heavy_sampled, entry->percent,
                         &run->sample, &run->strata);
    shadow_sample_by_groups(run->place.group_lo, run->place.group_hi, &run->sample);
}

/* The sides have ended on the lane by themselves. */
static void look_at_end(struct control *control, struct shadow_entry *entry,
                        const struct shadow_measures *measures)
{
    if (measures->state != SHADOW_ENDED) {
        return;
    }
    shadow_note(entry, measures->problem);
    shadow_tell(control, entry,
                measures->end == SHADOW_END_DONE     ? LIFE_EVENT_ANSWERED
                : measures->end == SHADOW_END_MEMORY ? LIFE_EVENT_SHORT
                                                     : LIFE_EVENT_BROKEN);
}

static void change_percent(struct control *control, struct shadow_entry *entry, double percent)
{
    struct shadow_run *run = entry->run;
    if (entry->percent >= percent && entry->percent <= percent) {
        return;
    }
    entry->percent = percent;
    shadow_choose_sample(entry);
    run->want_resample = true;
    char detail[ERR_TEXT_MAX];
    IGNORE_RESULT(snprintf(detail, sizeof(detail), "%s %" PRId64 ": now %.3g %% of the records",
                           entry->order.candidate ? "candidate" : "shadow", entry->id,
                           percent)); /* fits */
    event_add(control, "shadow", entry->partition, "percent", 0, detail);
}

/* Whether results were compared, where they are to be. */
static bool has_compared(const struct shadow_run *run)
{
    const struct shadow_comparison *c = run->comparison;
    return c == NULL || c->equal + c->differing + c->missing + c->extra > 0;
}

/* A cost may be known at the first look, before any results were compared: without them nobody would know whether the candidate
 * does the same work, so it goes on until they are, or its time is over. */
static void answer(struct control *control, struct shadow_entry *entry)
{
    if (has_compared(entry->run)) {
        shadow_tell(control, entry, LIFE_EVENT_ANSWERED);
    }
}

static void judge(struct control *control, struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    struct adaptive *adaptive = &run->adaptive;
    double confidence = 0;
    bool stop = false, clear = true;
    bool compare = adaptive->settings.question == ADAPTIVE_ASK_COMPARE;
    struct estimate interval = {.n = profile_rows(&run->looks)};
    int64_t dropped = entry->dropped - run->dropped_seen;
    if ((double)dropped > DROPPED_RATIO * (double)(entry->records + dropped)) {
        run->dropped_seen = entry->dropped;
        change_percent(control, entry, adaptive_lower(adaptive, interval.n, control->now_ns));
        return;
    }
    if (adaptive->verdict != VERDICT_OPEN) {
        answer(control, entry);
        return;
    }
    if (!adaptive_due(adaptive, interval.n, &confidence)) {
        return;
    }
    if (compare) {
        double n = interval.n;
        interval = profile_ratio(run, confidence);
        interval.n = n;
    } else {
        profile_question(&run->looks, confidence, &interval, &clear);
    }
    double percent = adaptive_judge(adaptive, &interval, clear, life_due_ns(&entry->life),
                                    control->now_ns, &stop);
    entry->verdict = adaptive->verdict;
    if (stop) {
        answer(control, entry);
    } else {
        change_percent(control, entry, percent);
    }
}

/* All sides were measured. */
static void looked(struct control *control, struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    bool measuring = true;
    for (int i = 0; i < run->side_count; i++) {
        look_at_end(control, entry, run->sides[i].measures);
        measuring = measuring && run->sides[i].measures->state == SHADOW_MEASURING;
    }
    if (measuring) {
        shadow_tell(control, entry, LIFE_EVENT_WARM);
    }
    profile_update(control, entry);
    if (entry->life.state == LIFE_MEASURING && measuring) {
        judge(control, entry);
    }
    run->compare_turn = run->comparison != NULL;
    if (control->now_ns - run->recorded_ns >= RECORD_NS && entry->life.state == LIFE_MEASURING) {
        shadow_keep_profile(control, entry);
        shadow_record(control, entry);
    }
}

void shadow_measured(struct control *control, struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    for (int i = 0; i < run->side_count; i++) {
        if (run->sides[i].look_wanted || !run->sides[i].measured) {
            return;
        }
    }
    for (int i = 0; i < run->side_count; i++) {
        run->sides[i].measured = false;
    }
    run->asked_ns = 0;
    looked(control, entry);
}
