// SPDX-License-Identifier: Apache-2.0
/* `shadowcast bench loop`: the closed loop on the real engine, policy beside policy, each several times in turn. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/read_file.h"
#include "app/verbs.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "bench/loop_runs.h"
#include "bench/row_loop.h"
#include "control/text.h"
#include "prm/backtest.h"

enum {
    FILE_BYTES_MAX = 64 << 20,
    BACKTEST_STEPS = 100000,
    POLICIES_MAX = 8,
    SETTING_MAX = 400,
    LEAD_S = 180,
    TRIES = 2, /* of a run that is dropped */
    REPEATS_MOST = 50
};

/* A run takes its stretch, and so long to start, to learn the days before and to end. */
#define RUN_SLACK_NS INT64_C(5000000000)

struct bench_call {
    struct replay_options options;
    struct trace trace;
    const char *policies[POLICIES_MAX];
    int policy_count;
    struct policy_params tuned[POLICIES_MAX];
    bool tune, ledger;
    const char *format;
    const char *file; /* where runs are kept; NULL: nowhere */
    char setting[SETTING_MAX];
    struct loop_runs runs;
    struct replay_calibration calibration;
    int32_t repeats;
    int64_t end_ns; /* no run begins that would not be over by then */
    struct clock clock;
};

static void show_progress(void *ctx, double share, const char *text)
{
    (void)ctx;
    IGNORE_RESULT(fprintf(stderr, "\r%-12s %3.0f %%   ", text, 100 * share)); /* may be lost */
}

static enum err read_policies(struct arena *arena, struct bench_call *call, const char *text,
                              struct err_info *info)
{
    static const char *const known[] = {"shadowcast", "predictive", "trend",
                                        "reactive",   "ds2",        "static-peak"};
    struct str rest = str_of(text);
    while (rest.ptr != NULL) {
        struct str name = str_cut(&rest, ',');
        bool found = false;
        for (ptrdiff_t i = 0; i < COUNT_OF(known); i++) {
            found = found || str_is(name, known[i]);
        }
        if (!found || call->policy_count == POLICIES_MAX) {
            return err_set(
                info, ERR_INVALID,
                "--policy: '%.*s' is none of shadowcast, predictive, trend, reactive, ds2, "
                "static-peak, at most %d of them",
                STR_ARG(name), POLICIES_MAX);
        }
        call->policies[call->policy_count++] = arena_dup(arena, name.ptr, name.len);
    }
    return ERR_OK;
}

static enum err read_repeats(const struct cli *cli, struct bench_call *call, struct err_info *info)
{
    call->clock = clock_real();
    call->repeats = (int32_t)cli_i64(cli, "repeats");
    call->file = cli_text(cli, "runs");
    call->end_ns = cli_given(cli, "within") ? clock_now_ns(&call->clock) + cli_i64(cli, "within")
                                            : CLOCK_NEVER;
    call->calibration.record_cost_s = cli_given(cli, "cost") ? cli_f64(cli, "cost") * 1e-6 : 0;
    if (call->repeats < 1 || call->repeats > REPEATS_MOST) {
        return err_set(info, ERR_INVALID, "--repeats is 1 to %d", REPEATS_MOST);
    }
    if (cli_given(cli, "cost") && !(call->calibration.record_cost_s > 1e-8)) {
        return err_set(info, ERR_INVALID,
                       "--cost is a record's CPU time in microseconds, above 0.01");
    }
    return ERR_OK;
}

static enum err read_call(const struct cli *cli, struct arena *arena, struct bench_call *call,
                          struct err_info *info)
{
    struct str text;
    const char *file = cli_text(cli, "trace");
    if (file == NULL) {
        return err_set(info, ERR_INVALID, "--trace FILE is wanted: the load to replay");
    }
    enum err err = read_file(arena, file, FILE_BYTES_MAX, &text, info);
    err = err == ERR_OK ? trace_parse(arena, file, text, &call->trace, info) : err;
    err = err == ERR_OK ? read_policies(arena, call, cli_text(cli, "policy"), info) : err;
    if (err != ERR_OK) {
        return err;
    }
    int64_t length_s = cli_i64(cli, "length") / 1000000000;
    call->tune = cli_flag(cli, "tune");
    call->ledger = cli_flag(cli, "ledger");
    call->format = cli_text(cli, "output");
    call->options = (struct replay_options){
        .trace = &call->trace,
        .from_s = cli_given(cli, "from") ? cli_i64(cli, "from") / 1000000000
                                         : replay_find_rise(&call->trace, length_s),
        .length_s = length_s,
        .lead_s = LEAD_S,
        .scale = cli_f64(cli, "scale"),
        .nodes = (int32_t)cli_i64(cli, "lanes"),
        .capacity = cli_f64(cli, "capacity"),
        .startup_ns = cli_i64(cli, "startup"),
        .shards = (int32_t)cli_i64(cli, "shards"),
        .partitions = (int32_t)cli_i64(cli, "partitions"),
        .reads = strcmp(cli_text(cli, "chain"), "read") == 0,
        .seed = 1,
        .progress = isatty(STDERR_FILENO) == 1 ? show_progress : NULL};
    if (!call->options.reads && strcmp(cli_text(cli, "chain"), "work") != 0) {
        return err_set(info, ERR_INVALID, "--chain is work or read");
    }
    if (!(call->options.capacity >= 0.01 && call->options.capacity <= 1)) {
        return err_set(info, ERR_INVALID, "--capacity is 0.01 to 1");
    }
    return read_repeats(cli, call, info);
}

/* Settings of a rival that cost least on the days before the stretch. */
static enum err tune(struct arena *arena, const struct bench_call *call, const char *policy,
                     struct policy_params *ret_params, struct err_info *info)
{
    const struct replay_options *o = &call->options;
    int64_t count = o->from_s * 1000 / call->trace.step_ms;
    struct backtest *backtest = NULL;
    enum policy_kind kind = POLICY_COUNT;
    for (int k = 0; k < POLICY_COUNT; k++) {
        kind = strcmp(policy, policy_name((enum policy_kind)k)) == 0 ? (enum policy_kind)k : kind;
    }
    struct backtest_options options = {.values = call->trace.values,
                                       .count = count,
                                       .step_s = (double)call->trace.step_ms / 1e3,
                                       .lanes = o->nodes,
                                       .startup_s = (double)o->startup_ns * 1e-9,
                                       .interval_s = 10,
                                       .objective_s = 1,
                                       .prices = {.node = 1, .late = 19}};
    enum err err = backtest_new(arena, &options, &kind, 1, &backtest, info);
    if (err != ERR_OK) {
        return err;
    }
    while (!backtest_step(backtest, BACKTEST_STEPS)) {
        if (o->progress != NULL) {
            o->progress(o->progress_ctx, backtest_progress(backtest), "tuning");
        }
    }
    *ret_params = backtest_results(backtest)[0].params;
    return ERR_OK;
}

static bool is_rival(const char *policy)
{
    return strcmp(policy, "trend") == 0 || strcmp(policy, "reactive") == 0 ||
           strcmp(policy, "ds2") == 0;
}

/* --- runs that are kept --- */

/* What runs must have in common to be compared. */
static void write_setting(struct bench_call *call, const char *trace)
{
    const struct replay_options *o = &call->options;
    const char *name = strrchr(trace, '/');
    IGNORE_RESULT(snprintf(
        call->setting, sizeof call->setting,
        "# %s from=%lld length=%lld scale=%g lanes=%d capacity=%g startup=%g shards=%d partitions=%d chain=%s",
        name != NULL ? name + 1 : trace, (long long)o->from_s, (long long)o->length_s, o->scale,
        o->nodes, o->capacity, (double)o->startup_ns * 1e-9, o->shards, o->partitions,
        o->reads ? "read" : "work")); /* cut is fine */
}

static enum err append(const struct bench_call *call, const char *first, const char *second,
                       struct err_info *info)
{
    FILE *to = call->file != NULL ? fopen(call->file, "ae") : NULL;
    if (call->file == NULL) {
        return ERR_OK;
    }
    bool written = to != NULL && fprintf(to, "%s\n", first) > 0 &&
                   (second == NULL || fprintf(to, "%s\n", second) > 0);
    written = to != NULL && fclose(to) == 0 && written;
    return written ? ERR_OK : err_set(info, ERR_IO, "%s cannot be written", call->file);
}

/* "... cost_us=4.9 yardstick_us=12" */
static enum err begin_file(struct bench_call *call, struct err_info *info)
{
    char first[SETTING_MAX + 80], header[LOOP_ROW_MAX];
    IGNORE_RESULT(snprintf(first, sizeof first, "%s cost_us=%.6g yardstick_us=%.6g", call->setting,
                           call->calibration.record_cost_s * 1e6,
                           call->calibration.yardstick_us)); /* fits */
    loop_run_header(header);
    return append(call, first, header, info);
}

static enum err read_first(struct bench_call *call, struct str line, struct err_info *info)
{
    double cost_us = 0, yardstick_us = 0;
    struct str setting = str_of(call->setting);
    bool same = str_starts_with(line, setting);
    char rest[80];
    ptrdiff_t len = same ? line.len - setting.len : 0;
    if (same && len < (ptrdiff_t)sizeof rest) {
        memcpy(rest, line.ptr + setting.len, (size_t)len);
        rest[len] = 0;
        // NOLINTNEXTLINE(cert-err34-c): both are checked below
        same = sscanf(rest, " cost_us=%lf yardstick_us=%lf", &cost_us, &yardstick_us) == 2;
    }
    if (!same || !(cost_us > 0)) {
        return err_set(info, ERR_CONFLICT, "%s has runs of another setting: %.*s", call->file,
                       (int)(line.len < 200 ? line.len : 200), line.ptr);
    }
    call->calibration = (struct replay_calibration){cost_us * 1e-6, yardstick_us};
    return ERR_OK;
}

/* The calibration and the runs of earlier sittings. False: there are none. */
static enum err read_runs(struct arena *arena, struct bench_call *call, bool *ret_there,
                          struct err_info *info)
{
    struct str text;
    *ret_there = call->file != NULL && access(call->file, F_OK) == 0;
    if (!*ret_there) {
        return ERR_OK;
    }
    enum err err = read_file(arena, call->file, FILE_BYTES_MAX, &text, info);
    err = err == ERR_OK ? read_first(call, str_cut(&text, '\n'), info) : err;
    IGNORE_RESULT(str_cut(&text, '\n')); /* names of the columns */
    while (err == ERR_OK && text.len > 0) {
        struct str line = str_cut(&text, '\n');
        if (line.len == 0) {
            continue;
        }
        if (call->runs.count == LOOP_RUNS_MAX) {
            return err_set(info, ERR_LIMIT, "%s has more than %d runs", call->file, LOOP_RUNS_MAX);
        }
        err = loop_run_read(line, &call->runs.all[call->runs.count++], info);
    }
    return err;
}

/* --- what is told --- */

static void print_range(double median, double least, double most, int digits, int width)
{
    char text[64];
    int len = snprintf(text, sizeof text, "%.*f (%.*f..%.*f)", digits, median, digits, least,
                       digits, most);
    printf(" %*s", len < width ? width : len, text);
}

#define PRINT_RANGE(s, name, digits, width) \
    print_range((s)->median.name, (s)->least.name, (s)->most.name, digits, width)

static void print_table(const struct bench_call *call)
{
    printf("%-11s %4s %21s %21s %19s %23s %14s %6s %5s %6s %9s %8s %9s\n", "policy", "runs",
           "late s", "p99 ms", "lane-hours", "cost", "changes", "splits", "moves", "nodes",
           "came true", "shadows", "hiccup ms");
    for (int i = 0; i < call->policy_count; i++) {
        struct loop_summary s = loop_summary_of(&call->runs, call->policies[i]);
        const struct loop_run *m = &s.median;
        printf("%-11s %2d/%-1d", call->policies[i], s.kept, s.kept + s.dropped);
        if (s.kept == 0) {
            printf("  all were dropped\n");
            continue;
        }
        PRINT_RANGE(&s, late_s, 0, 21);
        PRINT_RANGE(&s, p99_ms, 1, 21);
        PRINT_RANGE(&s, lane_hours, 2, 19);
        PRINT_RANGE(&s, cost, 0, 23);
        PRINT_RANGE(&s, changes, 0, 14);
        printf(" %6.0f %5.0f %6.0f %4.0f/%-4.0f %4.0f/%-3.0f %9.1f\n", m->splits, m->migrations,
               m->nodes_added + m->nodes_drained, m->came_true, m->plans, m->shadows_answered,
               m->shadows, m->hiccup_ms);
    }
}

static void print_csv(const struct bench_call *call)
{
    char text[LOOP_ROW_MAX];
    loop_run_header(text);
    printf("%s\n", text);
    for (int32_t i = 0; i < call->runs.count; i++) {
        loop_run_write(&call->runs.all[i], text);
        printf("%s\n", text);
    }
}

/* NaN is no number in JSON. */
static void print_number(const char *name, double value)
{
    if (isfinite(value)) {
        printf(",\"%s\":%.10g", name, value);
    } else {
        printf(",\"%s\":null", name);
    }
}

static void print_json(const struct bench_call *call, struct arena *arena)
{
    const struct replay_options *o = &call->options;
    printf(
        "{\"time_scale\":%g,\"from_seconds\":%lld,\"length_seconds\":%lld,\"startup_seconds\":%g,"
        "\"lanes\":%d,\"record_cost_us\":%.6g,\"yardstick_us\":%.6g,\"runs\":[",
        o->scale, (long long)o->from_s, (long long)o->length_s, (double)o->startup_ns * 1e-9,
        o->nodes, call->calibration.record_cost_s * 1e6, call->calibration.yardstick_us);
    for (int32_t i = 0; i < call->runs.count; i++) {
        const struct loop_run *run = &call->runs.all[i];
        struct text names; /* as a file of runs has them, which people may have written in */
        text_init(&names, arena);
        text_add(&names, STR("{\"policy\":"));
        text_json_str(&names, str_of(run->policy));
        text_printf(&names, ",\"repeat\":%d,\"dropped\":", (int)run->repeat);
        text_json_str(&names, str_of(run->spoilt));
        printf("%s%.*s", i > 0 ? ",\n" : "\n", STR_ARG(text_str(&names)));
#define X(name, text) print_number(text, run->name);
        LOOP_FIGURES(X)
#undef X
        printf("}");
    }
    printf("\n]}\n");
}

static void print_minutes(const struct replay_result *r)
{
    IGNORE_RESULT(
        fprintf(stderr, "  minute  records/s  lanes asked  hottest  nodes  lag ms  late s\n"));
    for (int32_t i = 0; i < r->minute_count; i++) {
        const struct replay_minute *m = &r->minutes[i];
        IGNORE_RESULT(fprintf(stderr, "  %6d %10.0f %12.2f %8.2f %6d %7.0f %7.0f\n", (int)i,
                              m->rate, m->demand, m->hottest, (int)m->nodes, 1e3 * m->lag_s,
                              m->late_s)); /* may be lost */
    }
}

/* To stderr: what stands on stdout stays a table. */
static void print_ledger(const struct replay_result *r)
{
    print_minutes(r);
    IGNORE_RESULT(fprintf(stderr, "  %lld shadows, %lld answered%s%s\n", (long long)r->shadows,
                          (long long)r->shadows_answered, r->limits[0] != 0 ? "; limited by " : "",
                          r->limits)); /* may be lost */
    IGNORE_RESULT(fprintf(
        stderr, "  work : read is %.1f : 1; %s\n", r->read_ratio > 0 ? 1 / r->read_ratio - 1 : 0,
        r->answer[0] != 0 ? r->answer : "nothing that no layout cures")); /* may be lost */
    for (int32_t i = 0; i < r->sentence_count; i++) {
        IGNORE_RESULT(fprintf(stderr, "  %c %s\n", r->changed[i] ? '*' : '-',
                              r->sentences[i])); /* may be lost */
    }
}

static void print_run(const struct loop_run *run)
{
    IGNORE_RESULT(
        fprintf(stderr,
                "%srepeat %d %-11s late %5.0f s, p99 %7.1f ms, %5.2f lane-hours, cost %7.0f, "
                "%3.0f changes; hiccup %.1f ms (longest %.0f), yardstick %.1f us, others "
                "%.2f cores%s%s\n",
                isatty(STDERR_FILENO) == 1 ? "\r" : "", (int)run->repeat + 1, run->policy,
                run->late_s, run->p99_ms, run->lane_hours, run->cost, run->changes, run->hiccup_ms,
                run->longest_ms, run->yardstick_us, run->others_cores,
                run->spoilt[0] != 0 ? "; dropped: " : "", run->spoilt)); /* may be lost */
}

/* --- the runs --- */

static bool has_time(const struct bench_call *call)
{
    double play_ns = (double)(call->options.length_s + LEAD_S) / call->options.scale * 1e9;
    return call->end_ns == CLOCK_NEVER ||
           clock_now_ns(&call->clock) + (int64_t)play_ns + RUN_SLACK_NS <= call->end_ns;
}

static enum err run_one(struct bench_call *call, int policy, int32_t repeat,
                        struct replay_result *result, struct err_info *info)
{
    char text[LOOP_ROW_MAX];
    struct loop_run *run = &call->runs.all[call->runs.count];
    bool tuned = call->tune && is_rival(call->policies[policy]);
    call->options.policy = call->policies[policy];
    call->options.rival_params = tuned ? &call->tuned[policy] : NULL;
    enum err err = replay_run(&call->options, result, info);
    if (err != ERR_OK) {
        return err;
    }
    *run = loop_run_of(&call->options, repeat, result, call->calibration.yardstick_us);
    call->runs.count++;
    print_run(run);
    if (call->ledger) {
        print_ledger(result);
    }
    loop_run_write(run, text);
    return append(call, text, NULL, info);
}

/* Policies in turn, each repeat beginning with another, so that what the machine does meanwhile meets them all. */
static enum err run_all(struct bench_call *call, struct replay_result *result,
                        struct err_info *info)
{
    enum err err = ERR_OK;
    for (int32_t repeat = 0; repeat < call->repeats; repeat++) {
        for (int i = 0; i < call->policy_count; i++) {
            int policy = (i + repeat) % call->policy_count;
            while (err == ERR_OK && call->runs.count < LOOP_RUNS_MAX && has_time(call) &&
                   !loop_runs_has(&call->runs, call->policies[policy], repeat, TRIES)) {
                err = run_one(call, policy, repeat, result, info);
            }
        }
    }
    return err;
}

static enum err calibrate(struct arena *arena, struct bench_call *call, struct err_info *info)
{
    bool there = false;
    enum err err = read_runs(arena, call, &there, info);
    if (err == ERR_OK && !(call->calibration.record_cost_s > 0)) {
        err = replay_calibrate(&call->options, &call->calibration, info);
    }
    call->options.record_cost_s = call->calibration.record_cost_s;
    return err == ERR_OK && !there ? begin_file(call, info) : err;
}

static enum err run_call(const struct cli *cli, struct arena *arena, struct err_info *info)
{
    struct bench_call *call = ARENA_NEW(arena, struct bench_call);
    struct replay_result *result = ARENA_NEW(arena, struct replay_result);
    enum err err = read_call(cli, arena, call, info);
    if (err == ERR_OK) {
        write_setting(call, cli_text(cli, "trace"));
        err = calibrate(arena, call, info);
    }
    for (int i = 0; i < call->policy_count && err == ERR_OK && call->tune; i++) {
        if (is_rival(call->policies[i])) {
            err = tune(arena, call, call->policies[i], &call->tuned[i], info);
        }
    }
    if (err != ERR_OK) {
        return err;
    }
    IGNORE_RESULT(
        fprintf(stderr,
                "time_scale %g; from %lld s, %lld s of the trace; a record costs %.2f us; "
                "start-up %g s; objective %g ms of the wall\n",
                call->options.scale, (long long)call->options.from_s,
                (long long)call->options.length_s, call->options.record_cost_s * 1e6,
                (double)call->options.startup_ns * 1e-9, replay_objective_ms(&call->options)));
    err = run_all(call, result, info);
    if (err == ERR_OK && strcmp(call->format, "json") == 0) {
        print_json(call, arena);
    } else if (err == ERR_OK && strcmp(call->format, "csv") == 0) {
        print_csv(call);
    } else if (err == ERR_OK) {
        print_table(call);
    }
    return err;
}

int verb_bench_loop(const struct cli *cli)
{
    struct arena arena;
    struct err_info info = {0};
    arena_init(&arena, (ptrdiff_t)4 << 30);
    enum err err = run_call(cli, &arena, &info);
    arena_release(&arena);
    if (err != ERR_OK) {
        IGNORE_RESULT(fprintf(stderr, "shadowcast: bench loop: %s\n", info.text));
    }
    return (int)exit_code_of(err);
}
