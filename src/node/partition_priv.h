// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_PARTITION_PRIV_H
#define NODE_PARTITION_PRIV_H

#include "node/partition.h"

/* Shared by partition.c and partition_step.c. */

ATTR_NODISCARD enum err partition_make_chain(struct partition *part, struct err_info *info);

/* The always-on figures of a batch's own rows; `rows`: the input's rows that it is of, from first_offset on. */
void partition_count_rows(struct partition *part, const struct batch *batch,
                          const struct rows *rows, int64_t first_offset);

/* The counts so far, which become the caller's; NULL: there are none. They begin anew. */
uint32_t *partition_take_group_counts(struct partition *part);

/* Brings the pipeline's count of state bytes up to date. */
void partition_account(struct partition *part);

#endif
