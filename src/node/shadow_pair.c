// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "base/mem.h"
#include "node/shadow_priv.h"

/* Results of two shadows that were opened from the same commit with the same sample, matched as they come: the oldest
 * result of an identity (kind, key, event time) on one side with the oldest of the other; order per key is kept by both, so
 * equal chains match one to one. What has matched is forgotten; what waits is bounded, and the side that is ahead waits
 * for the other one (shadow_pair_full).
 *
 * Missing or extra is what still waits although the other side has passed the place in the input where it was made.
 *
 * Invariants: R1 the results of one identity that wait are all of one side. R2 side.pending counts its waiting results. */

enum { SLOTS_FIRST = 1024, RESULTS_FIRST = 256, NONE = -1 };

struct shadow_pair *shadow_pair_new(struct shadow *first)
{
    struct shadow_pair *pair = MEM_NEW(struct shadow_pair);
    pair->users = 1;
    pair->sides[0].shadow = first;
    pair->free = NONE;
    return pair;
}

void shadow_pair_join(struct shadow_pair *pair, struct shadow *second)
{
    CHECK(pair->users == 1 && pair->sides[1].shadow == NULL);
    pair->users = 2;
    pair->sides[1].shadow = second;
}

void shadow_pair_go_on(struct shadow_pair *pair, const struct shadow_comparison *before)
{
    pair->equal = before->equal;
    pair->differing = before->differing;
    pair->missing_before = before->missing;
    pair->extra_before = before->extra;
    pair->dropped_before = before->dropped + before->pending;
    pair->example_count = before->example_count;
    memcpy(pair->examples, before->examples, sizeof(pair->examples));
}

static int side_of(const struct shadow_pair *pair, const struct shadow *shadow)
{
    CHECK(pair->sides[0].shadow == shadow || pair->sides[1].shadow == shadow);
    return pair->sides[0].shadow == shadow ? 0 : 1;
}

void shadow_pair_leave(struct shadow_pair *pair, const struct shadow *shadow)
{
    pair->sides[side_of(pair, shadow)].shadow = NULL;
    if (--pair->users == 0) {
        mem_free(pair->results);
        mem_free(pair->slots);
        mem_free(pair);
    }
}

/* --- the table: linear probing over first results; deletions shift back --- */

static int32_t home_of(const struct shadow_pair *pair, uint64_t identity)
{
    return (int32_t)(identity & (uint64_t)(pair->slot_cap - 1));
}

/* The slot of the identity, or the free one where it belongs. */
static int32_t slot_find(const struct shadow_pair *pair, uint64_t identity)
{
    int32_t at = home_of(pair, identity);
    while (pair->slots[at] != NONE && pair->results[pair->slots[at]].identity != identity) {
        at = (at + 1) & (pair->slot_cap - 1);
    }
    return at;
}

static void slots_grow(struct shadow_pair *pair)
{
    int32_t *old = pair->slots;
    int32_t old_cap = pair->slot_cap;
    pair->slot_cap = old_cap == 0 ? SLOTS_FIRST : 2 * old_cap;
    pair->slots = MEM_NEW_ARRAY(int32_t, pair->slot_cap);
    memset(pair->slots, 0xff, (size_t)pair->slot_cap * sizeof(int32_t)); /* NONE */
    for (int32_t i = 0; i < old_cap; i++) {
        if (old[i] != NONE) {
            pair->slots[slot_find(pair, pair->results[old[i]].identity)] = old[i];
        }
    }
    mem_free(old);
}

static void slot_remove(struct shadow_pair *pair, int32_t at)
{
    int32_t mask = pair->slot_cap - 1;
    for (int32_t next = (at + 1) & mask; pair->slots[next] != NONE; next = (next + 1) & mask) {
        int32_t home = home_of(pair, pair->results[pair->slots[next]].identity);
        /* It may move to `at` unless its home lies behind that. */
        if (((next - home) & mask) >= ((next - at) & mask)) {
            pair->slots[at] = pair->slots[next];
            at = next;
        }
    }
    pair->slots[at] = NONE;
    pair->slot_count--;
}

static int32_t result_new(struct shadow_pair *pair)
{
    if (pair->free != NONE) {
        int32_t at = pair->free;
        pair->free = pair->results[at].next;
        return at;
    }
    if (pair->used == pair->cap) {
        pair->cap = pair->cap == 0 ? RESULTS_FIRST : 2 * pair->cap;
        pair->results = mem_resize(pair->results, pair->cap, (ptrdiff_t)sizeof(struct pair_result));
    }
    return pair->used++;
}

/* --- matching --- */

static void fill_example(struct shadow_example *example, const struct pair_result *own,
                         const struct pair_result *partner)
{
    const struct pair_result *any = own != NULL ? own : partner;
    *example = (struct shadow_example){.output = any->kind, .time_ms = any->time_ms};
    memcpy(example->key, any->key, sizeof(example->key));
    if (own != NULL) {
        memcpy(example->own, own->value, sizeof(example->own));
    }
    if (partner != NULL) {
        memcpy(example->partner, partner->value, sizeof(example->partner));
    }
    example->kind = own == NULL       ? SHADOW_MISSING
                    : partner == NULL ? SHADOW_EXTRA
                                      : SHADOW_DIFFERING;
}

static void match(struct shadow_pair *pair, int32_t slot, int side, const struct pair_result *fresh)
{
    int32_t at = pair->slots[slot];
    struct pair_result *waiting = &pair->results[at];
    if (waiting->digest == fresh->digest) {
        pair->equal++;
    } else {
        pair->differing++;
        if (pair->example_count < SHADOW_EXAMPLES_MAX) {
            fill_example(&pair->examples[pair->example_count++], side == 1 ? fresh : waiting,
                         side == 1 ? waiting : fresh);
        }
    }
    pair->sides[waiting->side].pending--;
    if (waiting->next != NONE) {
        pair->slots[slot] = waiting->next;
    } else {
        slot_remove(pair, slot);
    }
    waiting->next = pair->free;
    waiting->waits = false;
    pair->free = at;
}

static void wait_for_match(struct shadow_pair *pair, int32_t slot, int side,
                           const struct pair_result *fresh)
{
    int32_t at = result_new(pair);
    struct pair_result *kept = &pair->results[at];
    *kept = *fresh;
    kept->side = (uint8_t)side;
    kept->waits = true;
    kept->next = NONE;
    pair->sides[side].pending++;
    if (pair->slots[slot] == NONE) {
        pair->slots[slot] = at;
        pair->slot_count++;
        return;
    }
    int32_t last = pair->slots[slot];
    while (pair->results[last].next != NONE) {
        last = pair->results[last].next;
    }
    pair->results[last].next = at;
}

void shadow_pair_add(struct shadow_pair *pair, struct shadow *shadow,
                     const struct pair_result *result)
{
    int side = side_of(pair, shadow);
    if (2 * (pair->slot_count + 1) > pair->slot_cap) {
        slots_grow(pair);
    }
    int32_t slot = slot_find(pair, result->identity);
    if (pair->slots[slot] != NONE && pair->results[pair->slots[slot]].side != side) {
        match(pair, slot, side, result);
    } else if (pair->sides[side].pending >= PAIR_RESULTS_MAX) {
        pair->sides[side].dropped++;
    } else {
        wait_for_match(pair, slot, side, result);
    }
}

bool shadow_pair_full(const struct shadow_pair *pair, const struct shadow *shadow)
{
    int side = side_of(pair, shadow);
    const struct shadow *other = pair->sides[1 - side].shadow;
    return pair->sides[side].pending >= PAIR_RESULTS_MAX / 2 && other != NULL && !other->paused &&
           (other->state == SHADOW_WARMING || other->state == SHADOW_MEASURING);
}

/* Whether `shadow` has passed the place where the other side made the result. */
static bool has_passed(const struct shadow *shadow, const struct pair_result *result)
{
    if (shadow == NULL || shadow->part == NULL || shadow->part->advancing ||
        shadow->part->parked != NULL) {
        return false;
    }
    const struct partition *part = shadow->part;
    for (int32_t i = 0; i < part->stage->plan->input_count; i++) {
        if (part->views[i].position.next_offset < result->at[i]) {
            return false;
        }
    }
    return true;
}

void shadow_pair_compare(const struct shadow_pair *pair, const struct shadow *own,
                         struct shadow_comparison *ret_comparison)
{
    int side = side_of(pair, own);
    struct shadow_comparison c = {.equal = pair->equal,
                                  .differing = pair->differing,
                                  .missing = side == 1 ? pair->missing_before : pair->extra_before,
                                  .extra = side == 1 ? pair->extra_before : pair->missing_before,
                                  .dropped = pair->sides[0].dropped + pair->sides[1].dropped +
                                             pair->dropped_before};
    for (int32_t i = 0; i < pair->example_count; i++) {
        struct shadow_example *example = &c.examples[c.example_count++];
        *example = pair->examples[i];
        if (side == 0) { /* kept as side 1 sees it */
            memcpy(example->own, pair->examples[i].partner, sizeof(example->own));
            memcpy(example->partner, pair->examples[i].own, sizeof(example->partner));
        }
    }
    for (int32_t i = 0; i < pair->used; i++) {
        const struct pair_result *result = &pair->results[i];
        if (!result->waits) {
            continue;
        }
        bool mine = result->side == side;
        if (!has_passed(pair->sides[1 - result->side].shadow, result)) {
            c.pending++;
            continue;
        }
        c.extra += mine;
        c.missing += !mine;
        if (c.example_count < SHADOW_EXAMPLES_MAX) {
            fill_example(&c.examples[c.example_count++], mine ? result : NULL,
                         mine ? NULL : result);
        }
    }
    *ret_comparison = c;
}
