// SPDX-License-Identifier: Apache-2.0
#include "node/floors.h"

#include "base/check.h"
#include "base/mem.h"

struct floor_set *floor_set_new(int32_t slot_count, int32_t input_count)
{
    CHECK(slot_count >= 1 && input_count >= 1 && input_count <= FLOOR_INPUTS);
    ptrdiff_t count = (ptrdiff_t)slot_count * input_count;
    struct floor_set *set =
        mem_new(1, (ptrdiff_t)sizeof(struct floor_set) + count * (ptrdiff_t)sizeof(set->slots[0]));
    set->slot_count = slot_count;
    set->input_count = input_count;
    for (ptrdiff_t i = 0; i < count; i++) {
        atomic_store_explicit(&set->slots[i], -1, memory_order_relaxed);
    }
    atomic_store_explicit(&set->last_submit_ns, INT64_MIN, memory_order_release);
    return set;
}

void floor_set_free(struct floor_set *set)
{
    mem_free(set);
}

void floor_set_report(struct floor_set *set, int32_t slot, int32_t input, int64_t offset)
{
    CHECK(slot >= 0 && slot < set->slot_count && input >= 0 && input < set->input_count);
    atomic_store_explicit(&set->slots[slot * set->input_count + input], offset,
                          memory_order_release);
}

int64_t floor_set_lowest(const struct floor_set *set, int32_t input)
{
    int64_t lowest = INT64_MAX;
    for (int32_t slot = 0; slot < set->slot_count; slot++) {
        int64_t offset = atomic_load_explicit(&set->slots[slot * set->input_count + input],
                                              memory_order_acquire);
        lowest = offset < lowest ? offset : lowest;
    }
    return lowest;
}

bool floor_set_turn(struct floor_set *set, int64_t now_ns, int64_t interval_ns)
{
    int64_t last = atomic_load_explicit(&set->last_submit_ns, memory_order_relaxed);
    if (last != INT64_MIN && now_ns - last < interval_ns) {
        return false;
    }
    return atomic_compare_exchange_strong_explicit(&set->last_submit_ns, &last, now_ns,
                                                   memory_order_acq_rel, memory_order_relaxed);
}
