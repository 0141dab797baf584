// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_PARTITION_PRIV_H
#define NODE_PARTITION_PRIV_H

#include "node/partition.h"

/* Shared by partition.c and partition_step.c. */

ATTR_NODISCARD enum err partition_make_chain(struct partition *part, struct err_info *info);

/* Brings the pipeline's count of state bytes up to date. */
void partition_account(struct partition *part);

#endif
