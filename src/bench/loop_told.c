// SPDX-License-Identifier: Apache-2.0
#include "bench/loop_told.h"

#include <math.h>
#include <stdio.h>

#include "control/entity.h"
#include "pipeline/time_text.h"

/* Whether a time that control wrote is of the stretch, not of what led to it. */
static bool is_since(struct str time, int64_t begin_unix_ms)
{
    int64_t at_ms = 0;
    return time_parse_rfc3339(time, &at_ms) && at_ms >= begin_unix_ms;
}

void loop_count_operations(const struct control_rows *rows, int64_t begin_unix_ms,
                           struct replay_result *r)
{
    const struct operation_row *all = rows->rows;
    for (int32_t i = 0; i < rows->count; i++) {
        if (!str_is(all[i].state, "done") || !is_since(all[i].began, begin_unix_ms)) {
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

static void add_sentence(struct replay_result *r, const struct decision_row *row,
                         int64_t begin_unix_ms, double scale)
{
    int64_t at_ms = begin_unix_ms;
    IGNORE_RESULT(time_parse_rfc3339(row->time, &at_ms)); /* control wrote it */
    int seconds = (int)((double)(at_ms - begin_unix_ms) * 1e-3 * scale);
    int ahead = seconds < 0 ? -seconds : seconds;
    IGNORE_RESULT(snprintf(r->sentences[r->sentence_count++], REPLAY_SENTENCE_MAX,
                           "%c%02d:%02d %.*s", seconds < 0 ? '-' : '+', ahead / 60, ahead % 60,
                           STR_ARG(row->sentence))); /* cut is fine */
}

void loop_count_decisions(const struct control_rows *rows, int64_t begin_unix_ms, double scale,
                          struct replay_result *r)
{
    const struct decision_row *all = rows->rows;
    for (int32_t i = rows->count - 1; i >= 0; i--) {
        bool measured = str_is(all[i].state, "measured") || str_is(all[i].state, "rolled_back");
        bool changed = measured || str_is(all[i].state, "done") || str_is(all[i].state, "failed");
        bool counts = is_since(all[i].time, begin_unix_ms);
        r->decisions += counts;
        r->plans += counts && measured;
        r->came_true += counts && measured && all[i].benefit > 0;
        if (all[i].answer.len > 0 && r->answer[0] == 0) {
            IGNORE_RESULT(snprintf(r->answer, sizeof(r->answer), "%.*s",
                                   STR_ARG(all[i].answer))); /* cut is fine */
        }
        if (counts && changed && isnan(r->demand_at_change)) {
            r->demand_at_change = all[i].utilisation_ratio;
        }
        if (r->sentence_count < REPLAY_SENTENCES_MAX) {
            r->changed[r->sentence_count] = changed;
            add_sentence(r, &all[i], begin_unix_ms, scale);
        }
    }
}

/* The minute that a sample is of; -1: none of the stretch. */
static int64_t minute_of(const struct sample_row *row, int64_t begin_ms, int64_t length_s)
{
    int64_t at_ms = 0;
    bool known = time_parse_rfc3339(row->time, &at_ms);
    int64_t minute = (at_ms - begin_ms) / 60000;
    bool inside = known && at_ms >= begin_ms && minute * 60 < length_s;
    return inside && minute < REPLAY_MINUTES_MAX ? minute : -1;
}

/* Time of the first sample with arrivals; 0: there is none. */
static int64_t first_arrival(const struct control_rows *samples)
{
    const struct sample_row *rows = samples->rows;
    int64_t at_ms = 0;
    for (int32_t i = 0; i < samples->count && at_ms == 0; i++) {
        if (str_is(rows[i].kind, "pipeline") && rows[i].arrival_per_second > 0) {
            IGNORE_RESULT(time_parse_rfc3339(rows[i].time, &at_ms)); /* control wrote it */
        }
    }
    return at_ms;
}

static void add_to_minute(struct replay_minute *m, const struct sample_row *row)
{
    if (str_is(row->kind, "node")) {
        m->hottest = fmax(m->hottest, row->demand_ratio);
        m->nodes++;
    } else if (str_is(row->kind, "pipeline")) {
        m->rate += row->arrival_per_second;
        m->demand += row->demand_ratio;
        m->lag_s = fmax(m->lag_s, row->lag_seconds);
        m->samples++;
    }
}

void loop_fill_minutes(const struct control_rows *samples, int64_t lead_s, int64_t length_s,
                       struct replay_result *r)
{
    const struct sample_row *rows = samples->rows;
    int64_t begin_ms = first_arrival(samples);
    begin_ms += begin_ms > 0 ? lead_s * 1000 : 0;
    for (int32_t i = 0; begin_ms > 0 && i < samples->count; i++) {
        int64_t minute = minute_of(&rows[i], begin_ms, length_s);
        if (minute >= 0) {
            add_to_minute(&r->minutes[minute], &rows[i]);
            r->minute_count = minute >= r->minute_count ? (int32_t)minute + 1 : r->minute_count;
        }
    }
    for (int32_t i = 0; i < r->minute_count; i++) {
        struct replay_minute *m = &r->minutes[i];
        double count = m->samples > 0 ? m->samples : 1;
        m->rate /= count;
        m->demand /= count;
        m->nodes = (int32_t)lround(m->nodes / count);
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
    for (int32_t i = 0; i < samples->count; i++) {
        if (str_is(rows[i].kind, "pipeline") && at++ >= all / 2) {
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
