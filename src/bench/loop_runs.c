// SPDX-License-Identifier: Apache-2.0
#include "bench/loop_runs.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* p_late : p_node of the comparison. */
#define LATE_PRICE 19.0

static const struct {
    const char *text;
    size_t at;
} figures[] = {
#define X(name, text) {text, offsetof(struct loop_run, name)},
    LOOP_FIGURES(X)
#undef X
};

static double *figure(struct loop_run *run, int32_t index)
{
    return (double *)((char *)run + figures[index].at); // NOLINT(bugprone-casting-through-void)
}

static double figure_of(const struct loop_run *run, int32_t index)
{
    double value = 0;
    memcpy(&value, (const char *)run + figures[index].at, sizeof value);
    return value;
}

struct loop_run loop_run_of(const struct replay_options *options, int32_t repeat,
                            const struct replay_result *r, double yardstick_us)
{
    struct loop_run run = {
        .repeat = repeat,
        .late_s = r->late_s,
        .p50_ms = r->p50_ms,
        .p99_ms = r->p99_ms,
        .max_ms = r->max_ms,
        .lane_hours = r->lane_hours,
        .cost = r->lane_hours * 3600 + LATE_PRICE * r->late_s * options->nodes,
        .changes = (double)r->changes,
        .splits = (double)r->splits,
        .migrations = (double)r->migrations,
        .nodes_added = (double)r->nodes_added,
        .nodes_drained = (double)r->nodes_drained,
        .decisions = (double)r->decisions,
        .plans = (double)r->plans,
        .came_true = (double)r->came_true,
        .shadows = (double)r->shadows,
        .shadows_answered = (double)r->shadows_answered,
        .records = (double)r->records,
        .missing = (double)r->missing,
        .read_ratio = r->read_ratio,
        .demand_at_change = r->demand_at_change,
        .hiccup_ms = r->machine.hiccup_ms,
        .longest_ms = r->machine.longest_ms,
        .yardstick_us = r->machine.yardstick_us,
        .others_cores = r->machine.others_cores,
    };
    const char *spoilt = machine_spoilt(&r->machine, replay_objective_ms(options), yardstick_us);
    IGNORE_RESULT(snprintf(run.policy, sizeof run.policy, "%s", options->policy)); /* fits */
    IGNORE_RESULT(
        snprintf(run.spoilt, sizeof run.spoilt, "%s", spoilt != NULL ? spoilt : "")); /* fits */
    return run;
}

/* --- many --- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void summarise(double *values, int32_t count, int32_t index, struct loop_summary *s)
{
    double median = (double)NAN, least = median, most = median;
    if (count > 0) {
        qsort(values, (size_t)count, sizeof *values, compare_doubles);
        least = values[0];
        most = values[count - 1];
        median = (values[(count - 1) / 2] + values[count / 2]) / 2;
    }
    *figure(&s->median, index) = median;
    *figure(&s->least, index) = least;
    *figure(&s->most, index) = most;
}

struct loop_summary loop_summary_of(const struct loop_runs *runs, const char *policy)
{
    struct loop_summary s = {.kept = 0};
    double values[LOOP_RUNS_MAX];
    for (int32_t f = 0; f < (int32_t)COUNT_OF(figures); f++) {
        int32_t count = 0;
        s.kept = s.dropped = 0;
        for (int32_t i = 0; i < runs->count; i++) {
            const struct loop_run *run = &runs->all[i];
            bool own = strcmp(run->policy, policy) == 0, kept = own && run->spoilt[0] == 0;
            s.kept += kept;
            s.dropped += own && !kept;
            if (kept && isfinite(figure_of(run, f))) {
                values[count++] = figure_of(run, f);
            }
        }
        summarise(values, count, f, &s);
    }
    return s;
}

bool loop_runs_has(const struct loop_runs *runs, const char *policy, int32_t repeat, int32_t tries)
{
    int32_t dropped = 0;
    for (int32_t i = 0; i < runs->count; i++) {
        const struct loop_run *run = &runs->all[i];
        if (run->repeat == repeat && strcmp(run->policy, policy) == 0) {
            if (run->spoilt[0] == 0) {
                return true;
            }
            dropped++;
        }
    }
    return dropped >= tries;
}

/* --- as text --- */

void loop_run_header(char ret_text[LOOP_ROW_MAX])
{
    size_t used = (size_t)snprintf(ret_text, LOOP_ROW_MAX, "policy,repeat");
    for (int32_t f = 0; f < (int32_t)COUNT_OF(figures); f++) {
        used += (size_t)snprintf(ret_text + used, LOOP_ROW_MAX - used, ",%s", figures[f].text);
        CHECK(used < LOOP_ROW_MAX);
    }
    IGNORE_RESULT(snprintf(ret_text + used, LOOP_ROW_MAX - used, ",dropped")); /* fits */
}

void loop_run_write(const struct loop_run *run, char ret_text[LOOP_ROW_MAX])
{
    size_t used = (size_t)snprintf(ret_text, LOOP_ROW_MAX, "%s,%d", run->policy, (int)run->repeat);
    for (int32_t f = 0; f < (int32_t)COUNT_OF(figures); f++) {
        double value = figure_of(run, f);
        int more = isfinite(value) ? snprintf(ret_text + used, LOOP_ROW_MAX - used, ",%.10g", value)
                                   : snprintf(ret_text + used, LOOP_ROW_MAX - used, ",");
        used += (size_t)more;
        CHECK(used < LOOP_ROW_MAX);
    }
    IGNORE_RESULT(snprintf(ret_text + used, LOOP_ROW_MAX - used, ",%s", run->spoilt)); /* fits */
}

/* A number, or nothing at all, which is NaN. */
static bool read_number(struct str cell, double *ret_value)
{
    char text[64], *end = text;
    *ret_value = (double)NAN;
    size_t len = cell.len > 0 ? (size_t)cell.len : 0;
    if (len >= sizeof text) {
        return false;
    }
    memcpy(text, len > 0 ? cell.ptr : "", len);
    text[len] = 0;
    if (len > 0) {
        *ret_value = strtod(text, &end);
    }
    return *end == 0;
}

static bool copy_cell(struct str cell, char *to, ptrdiff_t size)
{
    size_t len = cell.len > 0 ? (size_t)cell.len : 0;
    if (len >= (size_t)size) {
        return false;
    }
    memcpy(to, len > 0 ? cell.ptr : "", len);
    to[len] = 0;
    return true;
}

enum err loop_run_read(struct str line, struct loop_run *ret_run, struct err_info *info)
{
    struct str rest = line;
    struct loop_run run = {.repeat = 0};
    double repeat = 0;
    bool right = copy_cell(str_cut(&rest, ','), run.policy, (ptrdiff_t)sizeof run.policy) &&
                 rest.ptr != NULL && read_number(str_cut(&rest, ','), &repeat) && repeat >= 0 &&
                 repeat < LOOP_RUNS_MAX;
    for (int32_t f = 0; right && f < (int32_t)COUNT_OF(figures); f++) {
        right = rest.ptr != NULL && read_number(str_cut(&rest, ','), figure(&run, f));
    }
    right = right && rest.ptr != NULL && copy_cell(rest, run.spoilt, (ptrdiff_t)sizeof run.spoilt);
    if (!right) {
        return err_set(info, ERR_PARSE, "a run of a loop has %d columns; this is none: %.*s",
                       (int)COUNT_OF(figures) + 3, (int)(line.len < 60 ? line.len : 60), line.ptr);
    }
    run.repeat = (int32_t)repeat;
    *ret_run = run;
    return ERR_OK;
}
