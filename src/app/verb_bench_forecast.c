// SPDX-License-Identifier: Apache-2.0
/* `shadowcast bench forecast`: how long fits, updates and forecasts of one series take. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/exit_code.h"
#include "app/read_file.h"
#include "app/verbs.h"
#include "base/check.h"
#include "base/real/clock_real.h"
#include "bench/forecast.h"
#include "load/trace.h"

enum { FILE_BYTES_MAX = 256 << 20, LENGTHS_MAX = 8 };

struct call {
    int lengths[LENGTHS_MAX], length_count;
    int repeats;
    const char *only;
    const char *format;
};

static enum err read_call(const struct cli *cli, struct call *call, struct err_info *info)
{
    const char *at = cli_text(cli, "values");
    while (*at != 0) {
        char *end;
        long n = strtol(at, &end, 10);
        if (end == at || n < 30 || n > 1000000 || call->length_count == LENGTHS_MAX ||
            (*end != ',' && *end != 0)) {
            return err_set(info, ERR_INVALID, "--values: up to %d numbers from 30 to 1000000",
                           LENGTHS_MAX);
        }
        call->lengths[call->length_count++] = (int)n;
        at = *end == ',' ? end + 1 : end;
    }
    int64_t repeats = cli_i64(cli, "repeats");
    if (repeats < 1 || repeats > FORECAST_REPEATS_MAX) {
        return err_set(info, ERR_INVALID, "--repeats: 1 to %d", FORECAST_REPEATS_MAX);
    }
    call->repeats = (int)repeats;
    call->only = cli_text(cli, "task");
    call->format = cli_text(cli, "output");
    bool known = call->only == NULL;
    for (int t = 0; t < forecast_task_count(); t++) {
        known = known || (call->only != NULL && strcmp(call->only, forecast_task_name(t)) == 0);
    }
    return known ? ERR_OK : err_set(info, ERR_INVALID, "--task %s: there is none", call->only);
}

static void print_timing(const struct call *call, const struct forecast_timing *t, bool first)
{
    if (strcmp(call->format, "json") == 0) {
        printf(
            "%s{\"task\":\"%s\",\"values\":%d,\"best_s\":%.6g,\"median_s\":%.6g,\"worst_s\":%.6g,"
            "\"bound_s\":%.6g}",
            first ? "{\"items\":[" : ",", t->name, t->n, t->best_s, t->median_s, t->worst_s,
            t->bound_s);
    } else if (strcmp(call->format, "csv") == 0) {
        printf("%s%s,%d,%.6g,%.6g,%.6g,%.6g\n",
               first ? "task,values,best_s,median_s,worst_s,bound_s\n" : "", t->name, t->n,
               t->best_s, t->median_s, t->worst_s, t->bound_s);
    } else {
        if (first) {
            printf(
                "task               values       best us     median us      worst us   bound us\n");
        }
        char bound[64] = "-";
        if (t->bound_s > 0) {
            IGNORE_RESULT(snprintf(bound, sizeof bound, "%g %s", t->bound_s * 1e6,
                                   t->median_s <= t->bound_s ? "ok" : "MISSED")); /* fits */
        }
        printf("%-18s %6d %13.6g %13.6g %13.6g   %s\n", t->name, t->n, t->best_s * 1e6,
               t->median_s * 1e6, t->worst_s * 1e6, bound);
    }
    IGNORE_RESULT(fflush(stdout)); /* rows can take seconds each */
}

static enum err run_call(const struct cli *cli, struct arena *arena, struct err_info *info)
{
    struct call call = {.format = "table"};
    struct str text;
    struct trace trace;
    struct clock clock = clock_real();
    enum err err = read_call(cli, &call, info);
    if (err == ERR_OK) {
        err = read_file(arena, cli->args[0], FILE_BYTES_MAX, &text, info);
    }
    if (err == ERR_OK) {
        err = trace_parse(arena, cli->args[0], text, &trace, info);
    }
    if (err != ERR_OK) {
        return err;
    }
    for (int i = 0; i < trace.count; i++) {
        trace.values[i] =
            isfinite(trace.values[i]) ? trace.values[i] : (i > 0 ? trace.values[i - 1] : 0);
    }
    bool first = true;
    for (int k = 0; k < forecast_task_count() * call.length_count; k++) {
        struct forecast_timing timing;
        int task = k / call.length_count, n = call.lengths[k % call.length_count];
        if (call.only != NULL && strcmp(call.only, forecast_task_name(task)) != 0) {
            continue;
        }
        if (forecast_time(task, trace.values, trace.count, n, (double)trace.start_ms / 1000,
                          (double)trace.step_ms / 1000, call.repeats, &clock, &timing,
                          info) != ERR_OK) {
            IGNORE_RESULT(fprintf(stderr, "shadowcast: left out: %s\n", info->text)); /* a note */
            continue;
        }
        print_timing(&call, &timing, first);
        first = false;
    }
    if (!first && strcmp(call.format, "json") == 0) {
        printf("]}\n");
    }
    return first ? ERR_INVALID : ERR_OK;
}

int verb_bench_forecast(const struct cli *cli)
{
    struct arena arena;
    struct err_info info = {0};
    arena_init(&arena, (ptrdiff_t)1 << 30);
    enum err err = run_call(cli, &arena, &info);
    arena_release(&arena);
    if (err != ERR_OK) {
        IGNORE_RESULT(fprintf(stderr, "shadowcast: bench forecast: %s\n", info.text));
    }
    return (int)exit_code_of(err);
}
