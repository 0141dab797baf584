// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_ROW_GROUPS_H
#define PIPELINE_ROW_GROUPS_H

#include "pipeline/batch.h"
#include "pipeline/state.h"

/* Rows of a batch put together by key and time, so that what is done to a key is done once a batch: streams have hot keys.
 * Where few rows meet another one of theirs it is not worth its cost; that is looked at with the first rows of a batch, and
 * of every batch only while it pays. */

enum { ROW_GROUP_PLACES = 2 * BATCH_ROWS_MAX };

struct row_groups {
    int32_t pass_over;           /* batches that are not looked at */
    uint16_t of[BATCH_ROWS_MAX]; /* [count] the group of sel[i]; groups are numbered as they come */
    uint16_t places[ROW_GROUP_PLACES];
};

/* Groups rows->sel[0..count), count <= BATCH_ROWS_MAX.
 *   groups      zero before the first batch; `of` is written if the result is not -1
 *   ret_first   [BATCH_ROWS_MAX] the first row of each group
 * Returns how many groups there are, or -1: not worth it. */
int32_t row_groups_find(struct row_groups *groups, const struct state_rows *rows,
                        int32_t *ret_first);

#endif
