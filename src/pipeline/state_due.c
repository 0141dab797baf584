// SPDX-License-Identifier: Apache-2.0
// Due entries of a timed space, a key group at a time, looked at and removed where they stand.
//
// Where a group holds many entries that go together, as of a window that closes, they are read in one go and its table is
// emptied at once.

#include <stddef.h>

#include "base/attr.h"
#include "base/check.h"
#include "base/mem.h"
#include "pipeline/state_priv.h"

/* Fetches what a look at group `g` will need: tables are visited in an order that no cache foresees. */
static void fetch_ahead(const struct state_space *space, uint32_t g, int64_t until)
{
    enum { AHEAD = 8, LINES_MAX = 10 };
    uint32_t ahead = g + AHEAD;
    if (ahead >= space->state->group_hi - space->state->group_lo ||
        space->group_min[ahead] > until) {
        return;
    }
    const struct table *table = space->tables[ahead];
    const struct table_ref *ref = &space->refs[ahead];
    PREFETCH(table);
    PREFETCH((const char *)table + offsetof(struct table, times));
    ptrdiff_t bytes = ((ptrdiff_t)ref->mask + 1) * ref->stride_bytes;
    for (ptrdiff_t at = 0; at < bytes && at < LINES_MAX * TABLE_LINE_BYTES;
         at += TABLE_LINE_BYTES) {
        PREFETCH(ref->slots + at);
    }
}

/* Lists what group `g` has and shows it. */
static int32_t show_group(struct state_space *space, uint32_t g, int64_t until)
{
    struct table *table = space->tables[g];
    struct due_list *due = &space->due;
    table_list_due(&space->shape, table, until, due);
    if (due->count > space->due_shown_cap) {
        space->due_shown_cap = due->cap;
        space->due_shown = mem_resize(space->due_shown, space->due_shown_cap,
                                      (ptrdiff_t)sizeof space->due_shown[0]);
    }
    for (int32_t i = 0; i < due->count; i++) {
        const struct slot *slot = due->items[i].slot;
        space->due_shown[i] = (struct state_due){.key = slot_key(&space->shape, table, slot),
                                                 .time = slot->time,
                                                 .group = space->state->group_lo + g,
                                                 .tag = slot->tag,
                                                 .payload = slot_payload(slot),
                                                 .verdict = STATE_LEAVE};
    }
    return due->count;
}

int32_t state_due_begin(struct state_space *space, int64_t until, uint32_t *group,
                        struct state_due **ret_entries)
{
    CHECK(space->shape.timed);
    const struct state *state = space->state;
    if (space->tables == NULL) {
        return 0;
    }
    *group = *group > state->group_lo ? *group : state->group_lo;
    while (*group < state->group_hi) {
        uint32_t g = (*group)++ - state->group_lo;
        fetch_ahead(space, g, until);
        if (space->group_min[g] > until || space->group_min[g] == INT64_MAX) {
            continue;
        }
        int32_t count = show_group(space, g, until);
        if (count > 0) {
            space->due_shown_group = state->group_lo + g;
            *ret_entries = space->due_shown;
            return count;
        }
        space->group_min[g] = space->due.rest_time; // the smallest was removed since
        space->group_loose[g] = space->due.rest_loose;
    }
    return 0;
}

void state_due_end(struct state_space *space)
{
    struct due_list *due = &space->due;
    uint32_t group = space->due_shown_group;
    uint32_t g = group - space->state->group_lo;
    struct table *table = space->tables[g];
    int64_t min = due->rest_time;
    bool loose = due->rest_loose;
    int32_t removed = 0;
    for (int32_t i = 0; i < due->count; i++) {
        struct slot *slot = due->items[i].slot;
        if (space->due_shown[i].verdict != STATE_REMOVE) {
            if (space->due_shown[i].verdict == STATE_CHANGED) {
                space_mark_dirty(space, group, slot);
            }
            min = slot->time < min ? slot->time : min;
            loose = false;
            continue;
        }
        if (space->state->tracking && (slot->flags & SLOT_KEPT) != 0) {
            state_tell_removed(space, group, slot);
        }
        slot->flags |= SLOT_PICKED;
        removed++;
    }
    space->min_loose = space->min_loose || min != space->group_min[g];
    space->group_min[g] = min;
    space->group_loose[g] = loose;
    if (removed > 0) {
        int64_t bytes_before = table->memory_bytes;
        table_remove_listed(&space->shape, table, due);
        space->state->entry_count -= removed;
        space_table_changed(space, group, bytes_before);
    }
}
