// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "base/mem.h"
#include "node/lane_priv.h"

/* Lookup tables as this lane's chains see them: one array a stage, whose entries are replaced between two batches. A
 * batch that waits for a dependency may still point into the old table: those go when nothing waits. */

struct lookup_table *const *lane_tables(struct lane *lane, int32_t stage)
{
    const struct stage *s = lane->options.stages[stage];
    int32_t count = s->plan->lookup_count;
    if (count == 0) {
        return NULL;
    }
    if (lane->tables == NULL) {
        lane->tables = MEM_NEW_ARRAY(struct lookup_table **, lane->options.stage_count);
    }
    if (lane->tables[stage] == NULL) {
        lane->tables[stage] = MEM_NEW_ARRAY(struct lookup_table *, count);
        for (int32_t i = 0; i < count; i++) {
            struct lookup_table *first = s->lookup_tables[i];
            lane->tables[stage][i] = first != NULL ? lookup_table_ref(first) : NULL;
        }
    }
    return lane->tables[stage];
}

void lane_take_table(struct lane *lane, struct lane_command *command)
{
    const struct lane_table *given = &command->u.table;
    CHECK(lane_tables(lane, given->stage) != NULL);
    struct lookup_table **place = &lane->tables[given->stage][given->index];
    if (*place != NULL) {
        if (lane->old_count == lane->old_cap) {
            lane->old_cap = lane->old_cap == 0 ? 4 : 2 * lane->old_cap;
            lane->old_tables = mem_resize(lane->old_tables, lane->old_cap,
                                          (ptrdiff_t)sizeof(struct lookup_table *));
        }
        lane->old_tables[lane->old_count++] = *place;
    }
    *place = given->table; /* with its reference */
    lane_answer(lane, command, ERR_OK, NULL);
}

void lane_drop_old_tables(struct lane *lane)
{
    if (lane->state_count[PARTITION_STALLED] > 0) {
        return;
    }
    while (lane->old_count > 0) {
        lookup_table_unref(lane->old_tables[--lane->old_count]);
    }
}

void lane_tables_free(struct lane *lane)
{
    /* Tables that were sent and not taken: their references came with them. */
    for (struct msg *msg = mailbox_take_all(&lane->commands); msg != NULL; msg = msg->next) {
        struct lane_command *command = (struct lane_command *)msg;
        if (command->kind == LANE_TABLE) {
            lookup_table_unref(command->u.table.table);
        }
    }
    while (lane->old_count > 0) {
        lookup_table_unref(lane->old_tables[--lane->old_count]);
    }
    for (int32_t stage = 0; lane->tables != NULL && stage < lane->options.stage_count; stage++) {
        int32_t count = lane->options.stages[stage]->plan->lookup_count;
        for (int32_t i = 0; lane->tables[stage] != NULL && i < count; i++) {
            if (lane->tables[stage][i] != NULL) {
                lookup_table_unref(lane->tables[stage][i]);
            }
        }
        mem_free(lane->tables[stage]);
    }
    mem_free(lane->tables);
    mem_free(lane->old_tables);
}
