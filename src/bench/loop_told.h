// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_LOOP_TOLD_H
#define BENCH_LOOP_TOLD_H

#include "bench/row_loop.h"
#include "control/control.h"

/* What the lists of the control plane tell of a replayed stretch. Rows as the API has them, newest first. Pure. */

void loop_count_operations(const struct control_rows *rows, struct replay_result *r);
void loop_count_shadows(const struct control_rows *rows, struct replay_result *r);
void loop_count_decisions(const struct control_rows *rows, struct replay_result *r);

/* Lanes that the load asked for, mean over the later half of the samples. */
double loop_mean_demand(const struct control_rows *samples);

/* CPU seconds of a record, of all intervals together; 0: there was none. */
double loop_record_cost(const struct control_rows *samples);

/* Share of reading in what records cost. */
double loop_read_ratio(const struct control_rows *samples);

#endif
