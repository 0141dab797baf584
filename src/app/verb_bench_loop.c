// SPDX-License-Identifier: Apache-2.0
/* `shadowcast bench loop`: the closed loop on the real engine, policy beside policy. */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "app/read_file.h"
#include "app/verbs.h"
#include "base/check.h"
#include "base/mem.h"
#include "bench/row_loop.h"
#include "prm/backtest.h"

enum { FILE_BYTES_MAX = 64 << 20, BACKTEST_STEPS = 100000, POLICIES_MAX = 8 };

struct bench_call {
    struct replay_options options;
    struct trace trace;
    const char *policies[POLICIES_MAX];
    int policy_count;
    bool tune, ledger;
    const char *format;
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
        .scale = cli_f64(cli, "scale"),
        .nodes = (int32_t)cli_i64(cli, "lanes"),
        .capacity = cli_f64(cli, "capacity"),
        .startup_ns = cli_i64(cli, "startup"),
        .shards = (int32_t)cli_i64(cli, "shards"),
        .reads = strcmp(cli_text(cli, "chain"), "read") == 0,
        .seed = 1,
        .progress = isatty(STDERR_FILENO) == 1 ? show_progress : NULL};
    if (!call->options.reads && strcmp(cli_text(cli, "chain"), "work") != 0) {
        return err_set(info, ERR_INVALID, "--chain is work or read");
    }
    if (!(call->options.capacity >= 0.01 && call->options.capacity <= 1)) {
        return err_set(info, ERR_INVALID, "--capacity is 0.01 to 1");
    }
    return ERR_OK;
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

static void print_result(const struct bench_call *call, const char *policy,
                         const struct replay_result *r, bool first)
{
    const struct replay_options *o = &call->options;
    double cost = r->lane_hours * 3600 + 19 * r->late_s * o->nodes;
    if (strcmp(call->format, "json") == 0) {
        printf(
            "%s{\"policy\":\"%s\",\"time_scale\":%g,\"from_seconds\":%lld,\"length_seconds\":%lld,"
            "\"startup_seconds\":%g,\"records\":%lld,\"missing\":%lld,\"late_seconds\":%g,"
            "\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,\"lane_hours\":%.4f,\"cost\":%.1f,"
            "\"changes\":%lld,\"splits\":%lld,\"migrations\":%lld,\"nodes_added\":%lld,"
            "\"nodes_drained\":%lld,\"decisions\":%lld,\"plans_measured\":%lld,"
            "\"came_true\":%lld,\"shadows\":%lld,\"shadows_answered\":%lld,\"read_ratio\":%.4f,"
            "\"hiccup_p99_ms\":%.3f}\n",
            first ? "" : ",", policy, o->scale, (long long)o->from_s, (long long)o->length_s,
            (double)o->startup_ns * 1e-9, (long long)r->records, (long long)r->missing, r->late_s,
            r->p50_ms, r->p99_ms, r->max_ms, r->lane_hours, cost, (long long)r->changes,
            (long long)r->splits, (long long)r->migrations, (long long)r->nodes_added,
            (long long)r->nodes_drained, (long long)r->decisions, (long long)r->plans,
            (long long)r->came_true, (long long)r->shadows, (long long)r->shadows_answered,
            r->read_ratio, r->hiccup_ms);
    } else if (strcmp(call->format, "csv") == 0) {
        printf("%s%s,%.0f,%.1f,%.1f,%.3f,%.0f,%lld,%lld,%lld,%lld,%lld,%lld,%.2f\n",
               first
                   ? "policy,late_s,p99_ms,max_ms,lane_hours,cost,changes,splits,migrations,added,"
                     "drained,came_true,hiccup_ms\n"
                   : "",
               policy, r->late_s, r->p99_ms, r->max_ms, r->lane_hours, cost, (long long)r->changes,
               (long long)r->splits, (long long)r->migrations, (long long)r->nodes_added,
               (long long)r->nodes_drained, (long long)r->came_true, r->hiccup_ms);
    } else {
        printf(
            "%s%-12s %8.0f %9.1f %9.1f %11.3f %9.0f %8lld %7lld %8lld %6lld %7lld %10lld %10.2f\n",
            first ? "policy         late s    p99 ms    max ms  lane-hours      cost  changes  "
                    "splits  migrate  added drained came true  hiccup ms\n"
                  : "",
            policy, r->late_s, r->p99_ms, r->max_ms, r->lane_hours, cost, (long long)r->changes,
            (long long)r->splits, (long long)r->migrations, (long long)r->nodes_added,
            (long long)r->nodes_drained, (long long)r->came_true, r->hiccup_ms);
    }
    IGNORE_RESULT(fflush(stdout)); /* each takes minutes */
}

/* To stderr: what stands on stdout stays a table. */
static void print_ledger(const struct replay_result *r)
{
    IGNORE_RESULT(fprintf(stderr, "  %lld shadows, %lld answered%s%s\n", (long long)r->shadows,
                          (long long)r->shadows_answered, r->limits[0] != 0 ? "; limited by " : "",
                          r->limits)); /* may be lost */
    IGNORE_RESULT(fprintf(
        stderr, "  work : read is %.1f : 1; %s\n", r->read_ratio > 0 ? 1 / r->read_ratio - 1 : 0,
        r->answer[0] != 0 ? r->answer : "nothing that no layout cures")); /* may be lost */
    for (int32_t i = 0; i < r->sentence_count; i++) {
        IGNORE_RESULT(fprintf(stderr, "  - %s\n", r->sentences[i])); /* may be lost */
    }
}

static enum err run_call(const struct cli *cli, struct arena *arena, struct err_info *info)
{
    struct bench_call *call = ARENA_NEW(arena, struct bench_call);
    struct replay_result *result = ARENA_NEW(arena, struct replay_result);
    enum err err = read_call(cli, arena, call, info);
    err =
        err == ERR_OK ? replay_calibrate(&call->options, &call->options.record_cost_s, info) : err;
    if (err != ERR_OK) {
        return err;
    }
    IGNORE_RESULT(
        fprintf(stderr,
                "time_scale %g; from %lld s, %lld s of the trace; a record costs %.2f us; "
                "start-up %g s; objective %g ms of the wall\n",
                call->options.scale, (long long)call->options.from_s,
                (long long)call->options.length_s, call->options.record_cost_s * 1e6,
                (double)call->options.startup_ns * 1e-9, fmax(10, 1000 / call->options.scale)));
    bool json = strcmp(call->format, "json") == 0;
    printf("%s", json ? "[" : "");
    for (int i = 0; i < call->policy_count && err == ERR_OK; i++) {
        struct policy_params params;
        call->options.policy = call->policies[i];
        call->options.rival_params = NULL;
        if (call->tune && is_rival(call->policies[i])) {
            err = tune(arena, call, call->policies[i], &params, info);
            call->options.rival_params = &params;
        }
        err = err == ERR_OK ? replay_run(&call->options, result, info) : err;
        if (err == ERR_OK) {
            print_result(call, call->policies[i], result, i == 0);
        }
        if (err == ERR_OK && call->ledger) {
            print_ledger(result);
        }
    }
    printf("%s", json ? "]\n" : "");
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
