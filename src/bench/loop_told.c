// SPDX-License-Identifier: Apache-2.0
#include "bench/loop_told.h"

#include <math.h>
#include <stdio.h>

#include "control/entity.h"

void loop_count_operations(const struct control_rows *rows, struct replay_result *r)
{
    const struct operation_row *all = rows->rows;
    for (int32_t i = 0; i < rows->count; i++) {
        if (!str_is(all[i].state, "done")) {
            continue;
        }
        r->changes++;
        r->splits += str_is(all[i].kind, "split");
        r->migrations += str_is(all[i].kind, "migrate");
        r->nodes_added += str_is(all[i].kind, "node_add");
        r->nodes_drained += str_is(all[i].kind, "node_drain");
    }
}

void loop_count_shadows(const struct control_rows *rows, struct replay_result *r)
{
    const struct shadow_row *all = rows->rows;
    r->shadows = rows->count;
    for (int32_t i = 0; i < rows->count; i++) {
        bool told = str_is(all[i].outcome, "answered") || str_is(all[i].outcome, "duration");
        r->shadows_answered += told;
        if (told && r->limits[0] == 0) {
            IGNORE_RESULT(snprintf(r->limits, sizeof(r->limits), "%.*s",
                                   STR_ARG(all[i].limits))); /* cut is fine */
            r->limits_share = all[i].limits_share_ratio;
        }
    }
}

void loop_count_decisions(const struct control_rows *rows, struct replay_result *r)
{
    const struct decision_row *all = rows->rows;
    r->decisions = rows->count;
    for (int32_t i = rows->count - 1; i >= 0; i--) {
        bool measured = str_is(all[i].state, "measured") || str_is(all[i].state, "rolled_back");
        r->plans += measured;
        r->came_true += measured && all[i].benefit > 0;
        if (all[i].answer.len > 0 && r->answer[0] == 0) {
            IGNORE_RESULT(snprintf(r->answer, sizeof(r->answer), "%.*s",
                                   STR_ARG(all[i].answer))); /* cut is fine */
        }
        bool changed = measured || str_is(all[i].state, "done") || str_is(all[i].state, "failed");
        if (changed && isnan(r->demand_at_change)) {
            r->demand_at_change = all[i].utilisation_ratio;
        }
        if (changed && r->sentence_count < REPLAY_SENTENCES_MAX) {
            IGNORE_RESULT(snprintf(r->sentences[r->sentence_count++], REPLAY_SENTENCE_MAX, "%.*s",
                                   STR_ARG(all[i].sentence))); /* cut is fine */
        }
    }
}

double loop_mean_demand(const struct control_rows *samples)
{
    const struct sample_row *rows = samples->rows;
    double sum = 0;
    int32_t count = 0, all = 0, at = 0;
    for (int32_t i = 0; i < samples->count; i++) {
        all += str_is(rows[i].kind, "pipeline");
    }
    for (int32_t i = 0; i < samples->count; i++) { /* the newest first */
        if (str_is(rows[i].kind, "pipeline") && at++ < all / 2) {
            sum += rows[i].demand_ratio;
            count++;
        }
    }
    return count > 0 ? sum / count : 0;
}

double loop_record_cost(const struct control_rows *samples)
{
    const struct sample_row *rows = samples->rows;
    double cpu_s = 0, records = 0;
    for (int32_t i = 0; i < samples->count; i++) {
        if (str_is(rows[i].kind, "pipeline")) {
            cpu_s += rows[i].read_per_second * rows[i].read_cost_seconds +
                     rows[i].arrival_per_second * rows[i].work_cost_seconds;
            records += rows[i].arrival_per_second;
        }
    }
    return records > 0 ? cpu_s / records : 0;
}

double loop_read_ratio(const struct control_rows *samples)
{
    const struct sample_row *rows = samples->rows;
    double read_s = 0, all_s = 0;
    for (int32_t i = 0; i < samples->count; i++) {
        if (str_is(rows[i].kind, "pipeline")) {
            double read = rows[i].read_per_second * rows[i].read_cost_seconds;
            read_s += read;
            all_s += read + rows[i].arrival_per_second * rows[i].work_cost_seconds;
        }
    }
    return all_s > 0 ? read_s / all_s : 0;
}
