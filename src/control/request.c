// SPDX-License-Identifier: Apache-2.0
#include "control/request.h"

#include <math.h>

void control_args_init(struct control_args *args)
{
    *args = (struct control_args){
        .shard = -1,
        .limit = 100,
        .shards = 1,
        .retention_seconds = NAN,
        .retention_bytes = FIELD_I64_UNKNOWN,
        .producer_id = -1,
        .producer_epoch = -1,
        .producer_sequence = -1,
        .sample_kind = -1,
        .series = -1,
        .percent = NAN,
        .duration_seconds = NAN,
        .threshold = NAN,
        .sustain_seconds = NAN,
        .budget_ratio = NAN,
        .budget_cores = NAN,
        .automatic = -1,
    };
}
