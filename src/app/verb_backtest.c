// SPDX-License-Identifier: Apache-2.0
/* `shadowcast backtest`: a recorded load against policies. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/backtest_history.h"
#include "app/backtest_plot.h"
#include "app/backtest_synthetic.h"
#include "app/exit_code.h"
#include "app/read_file.h"
#include "app/verbs.h"
#include "load/trace.h"
#include "prm/backtest.h"

enum { FILE_BYTES_MAX = 256 << 20 };

struct call {
    enum policy_kind kinds[POLICY_COUNT];
    int kind_count;
    struct trace trace;
    struct backtest_options options;
};

static enum err read_policies(const char *text, struct call *call, struct err_info *info)
{
    bool taken[POLICY_COUNT] = {false};
    for (const char *at = text; *at != 0;) {
        size_t len = strcspn(at, ",");
        int kind = 0;
        while (kind < POLICY_COUNT &&
               (strlen(policy_name((enum policy_kind)kind)) != len ||
                strncmp(policy_name((enum policy_kind)kind), at, len) != 0)) {
            kind++;
        }
        if (kind == POLICY_COUNT || taken[kind]) {
            return err_set(info, ERR_INVALID,
                           "--policy %.*s: each once, of shadowcast, predictive, trend, reactive, "
                           "ds2, static-peak, static-mean, perfect, oracle",
                           (int)(len < 40 ? len : 40), at);
        }
        taken[kind] = true;
        call->kinds[call->kind_count++] = (enum policy_kind)kind;
        at += len;
        at += *at == ',';
    }
    return call->kind_count > 0 ? ERR_OK : err_set(info, ERR_INVALID, "--policy names none");
}

/* The load: of a file, or what a process has measured. */
static enum err read_load(const struct cli *cli, struct arena *arena, struct call *call,
                          struct err_info *info)
{
    const char *file = cli_text(cli, "trace"), *history = cli_text(cli, "history");
    struct str text;
    int64_t missing = 0;
    if ((file == NULL) == (history == NULL)) {
        return err_set(info, ERR_INVALID,
                       "one of --trace FILE (CSV `timestamp,value`), --history DB (history.db of a "
                       "data folder) and --synthetic PxN is wanted");
    }
    if (file == NULL) {
        enum err err = backtest_history(arena, history, cli_text(cli, "pipeline"), &call->trace,
                                        &missing, info);
        if (err == ERR_OK && missing > 0) {
            IGNORE_RESULT(
                fprintf(stderr,
                        "shadowcast: %lld of %d steps of five minutes are missing: straight "
                        "lines stand for them\n",
                        (long long)missing, call->trace.count)); /* nobody left to tell */
        }
        return err;
    }
    enum err err = read_file(arena, file, FILE_BYTES_MAX, &text, info);
    return err == ERR_OK ? trace_parse(arena, file, text, &call->trace, info) : err;
}

static enum err read_call(const struct cli *cli, struct arena *arena, struct call *call,
                          struct err_info *info)
{
    enum err err = read_policies(cli_text(cli, "policy"), call, info);
    if (err == ERR_OK) {
        err = read_load(cli, arena, call, info);
    }
    if (err != ERR_OK) {
        return err;
    }
    int64_t lanes = cli_i64(cli, "lanes");
    call->options =
        (struct backtest_options){.values = call->trace.values,
                                  .count = call->trace.count,
                                  .step_s = (double)call->trace.step_ms / 1000,
                                  .lanes = lanes <= BACKTEST_LANES_MAX ? (int)lanes : 0,
                                  .startup_s = (double)cli_i64(cli, "startup") / 1e9,
                                  .interval_s = (double)cli_i64(cli, "interval") / 1e9,
                                  .objective_s = (double)cli_i64(cli, "objective") / 1e9,
                                  .prices = {.node = 1, .late = cli_f64(cli, "late-price")}};
    return ERR_OK;
}

static void print_json_row(const struct backtest_result *r, const char *percent, bool first)
{
    const struct policy_params *p = &r->params;
    printf("%s{\"policy\":\"%s\",\"cost\":%.1f,\"cost_percent\":%s,\"lane_hours\":%.4f,"
           "\"shadow_hours\":%.4f,\"late_s\":%.1f,\"pause_late_s\":%.1f,\"changes\":%lld,"
           "\"lag_p99_s\":%.0f,\"lag_max_s\":%.1f,\"target\":%g,\"up_s\":%g,\"down_s\":%g,"
           "\"cooldown_s\":%g,\"slope_s\":%g,\"risk\":%g}",
           first ? "" : ",", policy_name(r->kind), r->cost, percent, r->lane_hours, r->shadow_hours,
           r->late_s, r->pause_late_s, (long long)r->changes, r->lag_p99_s, r->lag_max_s, p->target,
           p->up_s, p->down_s, p->cooldown_s, p->slope_s, p->risk);
}

static void print_csv_row(const struct backtest_result *r, const char *percent)
{
    const struct policy_params *p = &r->params;
    printf("%s,%.1f,%s,%.4f,%.4f,%.1f,%.1f,%lld,%.0f,%.1f,%g,%g,%g,%g,%g,%g\n",
           policy_name(r->kind), r->cost, percent, r->lane_hours, r->shadow_hours, r->late_s,
           r->pause_late_s, (long long)r->changes, r->lag_p99_s, r->lag_max_s, p->target, p->up_s,
           p->down_s, p->cooldown_s, p->slope_s, p->risk);
}

/* One line, and the settings that this policy has. */
static void print_row(const struct backtest_result *r, const char *percent)
{
    const struct policy_params *p = &r->params;
    printf("%-12s %9s %11.1f %8.2f %9.0f %8lld %10.0f %10.0f  ", policy_name(r->kind), percent,
           r->lane_hours, r->shadow_hours, r->late_s, (long long)r->changes, r->lag_p99_s,
           r->lag_max_s);
    switch (r->kind) {
    case POLICY_SHADOWCAST:
    case POLICY_PREDICTIVE:
        printf("risk %g down %gs\n", p->risk, p->down_s);
        break;
    case POLICY_TREND:
        printf("target %g slope %gs down %gs\n", p->target, p->slope_s, p->down_s);
        break;
    case POLICY_REACTIVE:
        printf("target %g window %gs down %gs\n", p->target, p->up_s, p->down_s);
        break;
    case POLICY_DS2:
        printf("target %g window %gs cool-down %gs\n", p->target, p->up_s, p->cooldown_s);
        break;
    case POLICY_STATIC_PEAK:
    case POLICY_STATIC_MEAN:
    case POLICY_PERFECT:
    case POLICY_ORACLE:
    case POLICY_COUNT:
        printf("-\n");
    }
}

static void print_results(const struct call *call, const struct backtest_result *results,
                          const char *format)
{
    bool json = strcmp(format, "json") == 0, csv = strcmp(format, "csv") == 0;
    double oracle = 0;
    for (int i = 0; i < call->kind_count; i++) {
        oracle = results[i].kind == POLICY_ORACLE ? results[i].cost : oracle;
    }
    if (json) {
        printf("{\"lanes\":%d,\"startup_s\":%g,\"interval_s\":%g,\"objective_s\":%g,\"days\":%.4f,"
               "\"items\":[",
               call->options.lanes, call->options.startup_s, call->options.interval_s,
               call->options.objective_s, results[0].days);
    } else {
        printf("%s\n",
               csv ? "policy,cost,cost_percent,lane_hours,shadow_hours,late_s,pause_late_s,"
                     "changes,lag_p99_s,lag_max_s,target,up_s,down_s,cooldown_s,slope_s,risk"
                   : "policy          cost %  lane-hours  shadows    late s  changes  "
                     "p99 lag s  max lag s  settings chosen by history");
    }
    for (int i = 0; i < call->kind_count; i++) {
        char percent[32] = "-";
        if (oracle > 0) {
            IGNORE_RESULT(snprintf(percent, sizeof percent, "%.2f",
                                   100 * results[i].cost / oracle)); /* fits */
        }
        if (json) {
            print_json_row(&results[i], oracle > 0 ? percent : "null", i == 0);
        } else if (csv) {
            print_csv_row(&results[i], oracle > 0 ? percent : "");
        } else {
            print_row(&results[i], percent);
        }
    }
    printf("%s", json ? "]}\n" : "");
}

static enum err run_call(const struct cli *cli, struct arena *arena, struct call *call,
                         struct err_info *info)
{
    struct backtest *backtest = NULL;
    enum err err = read_call(cli, arena, call, info);
    if (err == ERR_OK) {
        err = backtest_new(arena, &call->options, call->kinds, call->kind_count, &backtest, info);
    }
    if (err != ERR_OK) {
        return err;
    }
    bool show = isatty(STDERR_FILENO) == 1;
    while (!backtest_step(backtest, 4096)) {
        if (show) {
            IGNORE_RESULT(fprintf(stderr, "\rshadowcast: backtest %3.0f %%",
                                  100 * backtest_progress(backtest))); /* progress only */
        }
    }
    if (show) {
        IGNORE_RESULT(fprintf(stderr, "\r%30s\r", "")); /* progress only */
    }
    const struct backtest_result *results = backtest_results(backtest);
    print_results(call, results, cli_text(cli, "output"));
    if (cli_given(cli, "plot")) {
        int64_t end_ms = call->trace.start_ms + (call->trace.count - 1) * call->trace.step_ms;
        err = backtest_plot(cli_text(cli, "plot"), end_ms, backtest_plot_load(backtest), results,
                            call->kind_count, info);
    }
    return err;
}

int verb_backtest(const struct cli *cli)
{
    struct arena arena;
    struct err_info info;
    struct call call = {.kind_count = 0};
    arena_init(&arena, (ptrdiff_t)2 << 30);
    enum err err = ERR_OK;
    if (cli_given(cli, "synthetic") && cli_given(cli, "trace")) {
        err = err_set(&info, ERR_INVALID, "--trace or --synthetic, not both");
    } else if (cli_given(cli, "synthetic")) {
        err = backtest_synthetic(cli, &info);
    } else {
        err = run_call(cli, &arena, &call, &info);
    }
    arena_release(&arena);
    if (err != ERR_OK) {
        IGNORE_RESULT(fprintf(stderr, "shadowcast: %s\n", info.text)); /* nobody left to tell */
        return info.code == ERR_INVALID || info.code == ERR_LIMIT ? EXIT_CODE_USAGE
                                                                  : (int)exit_code_of(info.code);
    }
    return EXIT_CODE_OK;
}
