// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_AGGREGATE_CELLS_H
#define PIPELINE_AGGREGATE_CELLS_H

#include <stdint.h>

/* What aggregates keep in a cell's payload. Counts are of values that are not null. */

enum { CELL_SUM_PARTS = 3 };

struct cell_sum_i64 {
    int64_t count;
    uint64_t low; /* of a 128-bit integer */
    int64_t high;
};

struct cell_sum_f64 {
    int64_t count;
    int32_t part_count; /* those over CELL_SUM_PARTS are in the section */
    int32_t zero;
    double parts[CELL_SUM_PARTS];
};

struct cell_extreme {
    int64_t count;
    int64_t sortable; /* the value, or f64_sortable of it */
};

#endif
