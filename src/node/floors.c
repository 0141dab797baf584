// SPDX-License-Identifier: Apache-2.0
#include "node/floors.h"

#include "base/check.h"
#include "base/mem.h"

struct floor_set *floor_set_new(int32_t input_count)
{
    CHECK(input_count >= 1 && input_count <= FLOOR_INPUTS);
    struct floor_set *set = MEM_NEW(struct floor_set);
    set->input_count = input_count;
    atomic_store_explicit(&set->last_submit_ns, INT64_MIN, memory_order_release);
    return set;
}

void floor_set_free(struct floor_set *set)
{
    for (int32_t i = 0; set != NULL && i < FLOOR_CHUNKS; i++) {
        mem_free(atomic_load_explicit(&set->chunks[i], memory_order_relaxed));
    }
    mem_free(set);
}

static _Atomic int64_t *slot_at(const struct floor_set *set, int32_t slot)
{
    struct floor_chunk *chunk =
        atomic_load_explicit(&set->chunks[slot / FLOOR_CHUNK_SLOTS], memory_order_acquire);
    return chunk->slots[slot % FLOOR_CHUNK_SLOTS];
}

static void set_slot(struct floor_set *set, int32_t slot, int64_t value)
{
    atomic_fetch_add_explicit(&set->generation, 1, memory_order_acq_rel);
    for (int32_t k = 0; k < FLOOR_INPUTS; k++) {
        atomic_store_explicit(&slot_at(set, slot)[k], value, memory_order_release);
    }
}

static void add_chunk(struct floor_set *set, int32_t index)
{
    struct floor_chunk *chunk = MEM_NEW(struct floor_chunk);
    for (int32_t i = 0; i < FLOOR_CHUNK_SLOTS; i++) {
        for (int32_t k = 0; k < FLOOR_INPUTS; k++) {
            atomic_store_explicit(&chunk->slots[i][k], INT64_MAX, memory_order_relaxed);
        }
    }
    atomic_store_explicit(&set->chunks[index], chunk, memory_order_release);
    atomic_store_explicit(&set->chunk_count, index + 1, memory_order_release);
}

int32_t floor_set_take(struct floor_set *set)
{
    for (int32_t slot = set->free_hint; slot < FLOOR_CHUNKS * FLOOR_CHUNK_SLOTS; slot++) {
        if (slot / FLOOR_CHUNK_SLOTS ==
            atomic_load_explicit(&set->chunk_count, memory_order_relaxed)) {
            add_chunk(set, slot / FLOOR_CHUNK_SLOTS);
        }
        if (atomic_load_explicit(&slot_at(set, slot)[0], memory_order_relaxed) == INT64_MAX) {
            set_slot(set, slot, -1);
            set->free_hint = slot + 1;
            return slot;
        }
    }
    return -1;
}

void floor_set_give(struct floor_set *set, int32_t slot)
{
    CHECK(slot >= 0 && slot / FLOOR_CHUNK_SLOTS < atomic_load(&set->chunk_count));
    set_slot(set, slot, INT64_MAX);
    set->free_hint = slot < set->free_hint ? slot : set->free_hint;
}

void floor_set_report(struct floor_set *set, int32_t slot, int32_t input, int64_t offset)
{
    CHECK(slot >= 0 && slot / FLOOR_CHUNK_SLOTS < atomic_load(&set->chunk_count) && input >= 0 &&
          input < set->input_count && offset < INT64_MAX);
    atomic_store_explicit(&slot_at(set, slot)[input], offset, memory_order_release);
}

int64_t floor_set_lowest(const struct floor_set *set, int32_t input)
{
    int64_t lowest = INT64_MAX;
    uint32_t generation = atomic_load_explicit(&set->generation, memory_order_acquire);
    int32_t chunks = atomic_load_explicit(&set->chunk_count, memory_order_acquire);
    for (int32_t slot = 0; slot < chunks * FLOOR_CHUNK_SLOTS; slot++) {
        int64_t offset = atomic_load_explicit(&slot_at(set, slot)[input], memory_order_acquire);
        lowest = offset < lowest ? offset : lowest;
    }
    bool same = generation == atomic_load_explicit(&set->generation, memory_order_acquire);
    return lowest == INT64_MAX || !same ? -1 : lowest;
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
