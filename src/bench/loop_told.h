// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_LOOP_TOLD_H
#define BENCH_LOOP_TOLD_H

#include "bench/row_loop.h"
#include "control/control.h"

/* What the lists of the control plane tell of a replayed stretch. Rows as the API has them: decisions newest first, samples
 * oldest first. What came before `begin_unix_ms` (of the wall, when the stretch began) does not count. Pure. */

void loop_count_operations(const struct control_rows *rows, int64_t begin_unix_ms,
                           struct replay_result *r);
void loop_count_shadows(const struct control_rows *rows, struct replay_result *r);

/* `scale`: the load's seconds in one of the wall's. */
void loop_count_decisions(const struct control_rows *rows, int64_t begin_unix_ms, double scale,
                          struct replay_result *r);

/* What was measured, by minutes that begin `lead_s` after the first record; late seconds are not known here. */
void loop_fill_minutes(const struct control_rows *samples, int64_t lead_s, int64_t length_s,
                       struct replay_result *r);

/* Lanes that the load asked for, mean over the later half of the samples. */
double loop_mean_demand(const struct control_rows *samples);

/* CPU seconds of a record, of all intervals together; 0: there was none. */
double loop_record_cost(const struct control_rows *samples);

/* Share of reading in what records cost. */
double loop_read_ratio(const struct control_rows *samples);

#endif
