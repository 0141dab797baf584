// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "base/mem.h"
#include "node/handover.h"
#include "node/partition_priv.h"

/* Hand-over of a partition: what it is at a commit taken out of it, and put into another. The other half of opening, beside
 * the restore from the log: both end in partition_begin(). */

bool partition_may_move(const struct partition *part)
{
    return part->shadow == NULL && part->parked == NULL && part->second_day == NULL &&
           (part->state == PARTITION_RUNNING || part->state == PARTITION_STALLED);
}

struct handover *partition_export(struct partition *part)
{
    CHECK(!part->dirty && !part->claimed && !part->in_flight); /* all of it is committed */
    uint32_t lo = part->place.group_lo, hi = part->place.group_hi;
    struct handover *hand = handover_new(lo, hi, part->stage->plan->input_count);
    for (int32_t i = 0; i < hand->input_count; i++) {
        view_positions(&part->views[i], &hand->positions[i]);
    }
    hand->state_bytes = part->figures.state_bytes;
    hand->changelog_since = part->changelog_since;
    hand->figures = part->figures;
    hand->group_counts = partition_take_group_counts(part);
    hand->heavy = part->heavy;
    hand->heavy_seldom = part->heavy_seldom;
    part->heavy = NULL;
    if (part->state_kept != NULL) {
        hand->groups = MEM_NEW_ARRAY(struct state_group *, (ptrdiff_t)(hi - lo));
        for (uint32_t group = lo; group < hi; group++) {
            hand->groups[group - lo] = state_detach(part->state_kept, group);
        }
    }
    return hand;
}

enum err partition_adopt(struct partition *part, struct handover *hand, struct err_info *info)
{
    uint32_t lo = part->place.group_lo, hi = part->place.group_hi;
    CHECK(part->state == PARTITION_OPENING && hand->group_lo == lo && hand->group_hi == hi);
    if (hand->groups != NULL) {
        enum err err = partition_make_chain(part, info);
        if (err != ERR_OK) {
            return err;
        }
        for (uint32_t group = lo; group < hi; group++) {
            state_attach(part->state_kept, hand->groups[group - lo]);
            hand->groups[group - lo] = NULL;
        }
    }
    for (int32_t i = 0; i < hand->input_count; i++) {
        part->restored[i] = hand->positions[i];
        hand->positions[i] = (struct position_map){0};
    }
    int64_t counted = part->figures.state_bytes;
    part->figures = hand->figures;
    part->figures.state_bytes = counted; /* partition_begin brings it up to date */
    part->changelog_since = hand->changelog_since;
    mem_free(partition_take_group_counts(part));
    heavy_free(part->heavy);
    part->group_counts = hand->group_counts;
    part->heavy = hand->heavy;
    part->heavy_seldom = hand->heavy_seldom;
    hand->group_counts = NULL;
    hand->heavy = NULL;
    return ERR_OK;
}
