// SPDX-License-Identifier: Apache-2.0
#include "node/handover.h"

#include "base/check.h"
#include "base/mem.h"

struct handover *handover_new(uint32_t group_lo, uint32_t group_hi, int32_t input_count)
{
    CHECK(group_lo < group_hi && group_hi <= KEY_GROUP_COUNT);
    CHECK(input_count >= 1 && input_count <= HANDOVER_INPUTS);
    struct handover *hand = MEM_NEW(struct handover);
    hand->group_lo = group_lo;
    hand->group_hi = group_hi;
    hand->input_count = input_count;
    return hand;
}

void handover_free(struct handover *hand)
{
    if (hand == NULL) {
        return;
    }
    for (int32_t i = 0; i < HANDOVER_INPUTS; i++) {
        position_map_release(&hand->positions[i]);
    }
    for (uint32_t g = 0; hand->groups != NULL && g < hand->group_hi - hand->group_lo; g++) {
        state_group_free(hand->groups[g]);
    }
    mem_free(hand->groups);
    mem_free(hand->group_counts);
    heavy_free(hand->heavy);
    mem_free(hand);
}

static void copy_positions(struct position_map *to, const struct position_map *from)
{
    for (int32_t i = 0; i < from->count; i++) {
        const struct position_segment *segment = &from->segments[i];
        position_map_put(to, segment->group_lo, segment->group_hi,
                         position_copy(&segment->position));
    }
}

/* Counters of a partition say nothing about a half of it, or about two: they begin anew. */
static void forget_figures(struct handover *hand)
{
    heavy_free(hand->heavy);
    hand->heavy = NULL;
    hand->figures = (struct partition_figures){0};
}

struct handover *handover_split(struct handover *hand, uint32_t border)
{
    CHECK(border > hand->group_lo && border < hand->group_hi);
    struct handover *upper = handover_new(border, hand->group_hi, hand->input_count);
    ptrdiff_t low_count = border - hand->group_lo, high_count = hand->group_hi - border;
    for (int32_t i = 0; i < hand->input_count; i++) {
        copy_positions(&upper->positions[i], &hand->positions[i]);
        position_map_clip(&upper->positions[i], border, hand->group_hi);
        position_map_clip(&hand->positions[i], hand->group_lo, border);
    }
    if (hand->groups != NULL) {
        upper->groups = MEM_NEW_ARRAY(struct state_group *, high_count);
        for (ptrdiff_t g = 0; g < high_count; g++) {
            upper->groups[g] = hand->groups[low_count + g];
            hand->groups[low_count + g] = NULL;
            upper->state_bytes += state_group_bytes(upper->groups[g]);
        }
    }
    if (hand->group_counts != NULL) {
        upper->group_counts = MEM_NEW_ARRAY(uint32_t, high_count);
        memcpy(upper->group_counts, hand->group_counts + low_count,
               (size_t)high_count * sizeof(uint32_t));
    }
    hand->group_hi = border;
    hand->state_bytes -= upper->state_bytes;
    upper->changelog_since = hand->changelog_since / 2;
    hand->changelog_since -= upper->changelog_since;
    forget_figures(hand);
    return upper;
}

void handover_join(struct handover *hand, struct handover *upper)
{
    CHECK(hand->group_hi == upper->group_lo && hand->input_count == upper->input_count);
    ptrdiff_t low_count = hand->group_hi - hand->group_lo;
    ptrdiff_t high_count = upper->group_hi - upper->group_lo;
    for (int32_t i = 0; i < hand->input_count; i++) {
        copy_positions(&hand->positions[i], &upper->positions[i]);
    }
    if (hand->groups != NULL || upper->groups != NULL) {
        struct state_group **groups = MEM_NEW_ARRAY(struct state_group *, low_count + high_count);
        for (ptrdiff_t g = 0; g < low_count && hand->groups != NULL; g++) {
            groups[g] = hand->groups[g];
        }
        for (ptrdiff_t g = 0; g < high_count && upper->groups != NULL; g++) {
            groups[low_count + g] = upper->groups[g];
        }
        mem_free(hand->groups);
        mem_free(upper->groups);
        hand->groups = groups;
        upper->groups = NULL;
    }
    if (hand->group_counts != NULL || upper->group_counts != NULL) {
        uint32_t *counts = MEM_NEW_ARRAY(uint32_t, low_count + high_count);
        for (ptrdiff_t g = 0; g < low_count && hand->group_counts != NULL; g++) {
            counts[g] = hand->group_counts[g];
        }
        for (ptrdiff_t g = 0; g < high_count && upper->group_counts != NULL; g++) {
            counts[low_count + g] = upper->group_counts[g];
        }
        mem_free(hand->group_counts);
        hand->group_counts = counts;
    }
    hand->group_hi = upper->group_hi;
    hand->state_bytes += upper->state_bytes;
    hand->changelog_since += upper->changelog_since;
    forget_figures(hand);
    handover_free(upper);
}
