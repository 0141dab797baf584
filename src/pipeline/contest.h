// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_CONTEST_H
#define PIPELINE_CONTEST_H

#include "pipeline/batch.h"
#include "pipeline/row_groups.h"

/* Where a stage ends with key_by and the next one keeps nothing of a key's window but the row with the largest (or least)
 * value, a row that another one of its key, window and batch surpasses need not be written: it could not count. Of q5's
 * counts per auction that is all but a few; what is not written is not read again either.
 *
 * Results are the same: rows that equal the best all go on, and rows of one batch are late together or not at all, unless
 * they carry stamps; then all of them go on. */

struct contest {
    int64_t
        grain_ms;   /* rows of one key within one such step of event time are in the same windows */
    int32_t column; /* whole numbers or times; null rows go on */
    bool least;
};

struct contest_rows {
    struct row_groups groups;
    int32_t first[BATCH_ROWS_MAX];
    int64_t best[BATCH_ROWS_MAX];
};

/* Takes the surpassed rows of a batch, whose keys and hashes are the new ones, out of its selection.
 *   rows   scratch, zero before the first batch */
void contest_decide(const struct contest *contest, struct contest_rows *rows, struct batch *batch);

/* The same for rows that have yet to get their keys, from a column of integers or times without nulls: if all have one and are
 * in one step of time, as the results of one window are. Else nothing happens. */
void contest_decide_one(const struct contest *contest, const struct column *key,
                        struct batch *batch);

#endif
