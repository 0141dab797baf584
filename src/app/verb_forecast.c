// SPDX-License-Identifier: Apache-2.0
/* `shadowcast forecast file`: a series in, its forecast with quantiles out. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/exit_code.h"
#include "app/forecast_plot.h"
#include "app/read_file.h"
#include "app/verbs.h"
#include "forecast/models.h"
#include "load/trace.h"

enum { FILE_BYTES_MAX = 256 << 20, HISTORY_MAX = 4096, ORIGINS = 5, CHOICE_ORIGINS = 3 };

struct call {
    struct series series;
    int64_t end_ms, step_ms; /* time of the last value */
    int h, count;
    double q[QUANTILES_MAX];
    struct model_score scores[MODEL_COUNT];
};

static enum err read_quantiles(const char *text, struct call *call, struct err_info *info)
{
    const char *at = text;
    while (*at != 0) {
        char *end;
        double v = strtod(at, &end);
        if (end == at || !(v > 0 && v < 1) || call->count == QUANTILES_MAX ||
            (call->count > 0 && !(v > call->q[call->count - 1]))) {
            return err_set(
                info, ERR_INVALID,
                "--quantiles %s: at column %d: up to %d ascending numbers between 0 and 1", text,
                (int)(at - text) + 1, QUANTILES_MAX);
        }
        call->q[call->count++] = v;
        at = *end == ',' ? end + 1 : end;
        if (*end != ',' && *end != 0) {
            return err_set(info, ERR_INVALID, "--quantiles %s: column %d is no comma", text,
                           (int)(end - text) + 1);
        }
    }
    return call->count > 0 ? ERR_OK : err_set(info, ERR_INVALID, "--quantiles is empty");
}

/* The season: given, or found among a day and a week (and, of daily data, a week and a year). */
static enum err set_season(const struct cli *cli, struct call *call, struct err_info *info)
{
    int64_t day = 86400000, step = call->step_ms;
    if (cli_given(cli, "season")) {
        int64_t season = cli_i64(cli, "season") / 1000000;
        if (season < 2 * step || season % step != 0 || season / step * 2 > call->series.n) {
            return err_set(
                info, ERR_INVALID,
                "--season: a whole number of steps of %lld ms, at least 2 and twice within the %d values",
                (long long)step, call->series.n);
        }
        call->series.season = (int)(season / step);
        return ERR_OK;
    }
    int candidates[2], count = 0;
    const int64_t lengths[2] = {day, 7 * day};
    for (int i = 0; i < 2; i++) {
        if (lengths[i] % step == 0 && lengths[i] / step >= 2 &&
            lengths[i] / step < call->series.n) {
            candidates[count++] = (int)(lengths[i] / step);
        }
    }
    call->series.season = model_season(call->series.y, call->series.n, candidates, count);
    if (call->series.season == 1 && count > 0 && 2 * candidates[0] <= call->series.n) {
        call->series.season = candidates[0]; /* too noisy to tell; load has a day */
    }
    return ERR_OK;
}

static enum err read_call(const struct cli *cli, struct arena *arena, struct call *call,
                          struct err_info *info)
{
    struct str text;
    struct trace trace;
    enum err err = read_file(arena, cli->args[0], FILE_BYTES_MAX, &text, info);
    if (err == ERR_OK) {
        err = trace_parse(arena, cli->args[0], text, &trace, info);
    }
    if (err == ERR_OK) {
        err = read_quantiles(cli_text(cli, "quantiles"), call, info);
    }
    if (err != ERR_OK) {
        return err;
    }
    int n = trace.count < HISTORY_MAX ? trace.count : HISTORY_MAX;
    call->step_ms = trace.step_ms;
    call->end_ms = trace.start_ms + (int64_t)(trace.count - 1) * trace.step_ms;
    call->series = (struct series){.y = trace.values + trace.count - n, .n = n, .season = 1};
    call->series.step_s = (double)trace.step_ms / 1000;
    call->series.start_s = (double)(call->end_ms - (n - 1) * trace.step_ms) / 1000;
    int64_t horizon = cli_i64(cli, "horizon") / 1000000;
    if (horizon < call->step_ms || horizon / call->step_ms > HORIZON_MAX) {
        return err_set(info, ERR_INVALID, "--horizon: 1 to %d steps of the series' %lld ms",
                       HORIZON_MAX, (long long)call->step_ms);
    }
    call->h = (int)(horizon / call->step_ms);
    return set_season(cli, call, info);
}

/* ISO 8601 of a time in ms since 1970, UTC (Hinnant's days-to-civil). */
static void print_time(FILE *to, int64_t ms)
{
    int64_t day = ms / 86400000 - (ms % 86400000 < 0), rest = ms - day * 86400000;
    int64_t z = day + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    int64_t month = mp < 10 ? mp + 3 : mp - 9;
    IGNORE_RESULT(fprintf(to, "%04d-%02d-%02dT%02d:%02d:%02dZ",
                          (int)(yoe + era * 400 + (month <= 2)), (int)month,
                          (int)(doy - (153 * mp + 2) / 5 + 1), (int)(rest / 3600000),
                          (int)(rest / 60000 % 60), (int)(rest / 1000 % 60)));
}

static void print_rows(const struct call *call, const double *out, enum model model,
                       const char *format)
{
    bool json = strcmp(format, "json") == 0, csv = strcmp(format, "csv") == 0;
    if (json) {
        printf("{\"model\":\"%s\",\"season_steps\":%d,\"items\":[", model_name(model),
               call->series.season);
    } else {
        printf(csv ? "%s" : "%-20s", "timestamp");
        for (int j = 0; csv && j < call->count; j++) {
            printf(",q%g", call->q[j]);
        }
        for (int j = 0; !csv && j < call->count; j++) {
            printf("  %14s%g", "q", call->q[j]);
        }
    }
    for (int i = 0; i < call->h; i++) {
        printf(json ? (i > 0 ? ",{\"timestamp\":\"" : "{\"timestamp\":\"") : "\n");
        print_time(stdout, call->end_ms + (i + 1) * call->step_ms);
        printf("%s", json ? "\"" : "");
        for (int j = 0; j < call->count; j++) {
            double v = out[(long)i * call->count + j];
            if (json) {
                printf(",\"q%g\":%.10g", call->q[j], v);
            } else {
                printf(csv ? ",%.10g" : "  %15.6g", v);
            }
        }
        printf("%s", json ? "}" : "");
    }
    printf("%s", json ? "]}\n" : "\n");
}

static void print_backtest(const struct call *call, enum model best, const char *format)
{
    bool json = strcmp(format, "json") == 0, csv = strcmp(format, "csv") == 0, first = true;
    printf("%s", json ? "{\"items\":["
                      : (csv ? "model,origins,pinball,error,chosen\n"
                             : "model           origins       pinball         error\n"));
    for (int m = 0; m < MODEL_COUNT; m++) {
        const struct model_score *s = &call->scores[m];
        const char *name = model_name((enum model)m);
        bool chosen = (enum model)m == best;
        if (json) {
            printf(
                "%s{\"model\":\"%s\",\"origins\":%d,\"pinball\":%.8g,\"error\":%.8g,\"chosen\":%s}",
                first ? "" : ",", name, s->origins, s->pinball, s->error,
                chosen ? "true" : "false");
        } else if (csv) {
            printf("%s,%d,%.8g,%.8g,%d\n", name, s->origins, s->pinball, s->error, chosen);
        } else {
            printf("%-14s  %7d  %12.6g  %12.6g%s\n", name, s->origins, s->pinball, s->error,
                   chosen ? "  chosen" : "");
        }
        first = false;
    }
    printf("%s", json ? "]}\n" : "");
}

static enum err run_call(const struct cli *cli, struct arena *arena, struct call *call,
                         struct err_info *info)
{
    enum err err = read_call(cli, arena, call, info);
    if (err != ERR_OK) {
        return err;
    }
    const char *wanted = cli_text(cli, "model"), *format = cli_text(cli, "output");
    enum model model = MODEL_COUNT;
    for (int m = 0; m < MODEL_COUNT; m++) {
        model = strcmp(wanted, model_name((enum model)m)) == 0 ? (enum model)m : model;
    }
    bool backtest = cli_flag(cli, "backtest");
    if (backtest || model == MODEL_COUNT) {
        enum model best = model_choose(&call->series, call->h, call->q, call->count,
                                       backtest ? ORIGINS : CHOICE_ORIGINS, arena, call->scores);
        model = model == MODEL_COUNT ? best : model;
        if (backtest) {
            print_backtest(call, best, format);
            return ERR_OK;
        }
        IGNORE_RESULT(fprintf(stderr, "shadowcast: model %s, season of %d steps\n",
                              model_name(model), call->series.season)); /* a note */
    }
    double *out = ARENA_NEW_ARRAY(arena, double, (long)call->h * call->count);
    err = model_forecast(model, &call->series, call->h, call->q, call->count, arena, out, info);
    if (err == ERR_OK && cli_given(cli, "plot")) {
        err = forecast_plot(cli_text(cli, "plot"), &call->series, call->h, call->q, call->count,
                            out, info);
    }
    if (err == ERR_OK) {
        print_rows(call, out, model, format);
    }
    return err;
}

int verb_forecast_file(const struct cli *cli)
{
    struct arena arena;
    struct err_info info;
    struct call call = {0};
    arena_init(&arena, (ptrdiff_t)1 << 30);
    enum err err = run_call(cli, &arena, &call, &info);
    arena_release(&arena);
    if (err != ERR_OK) {
        IGNORE_RESULT(fprintf(stderr, "shadowcast: %s\n", info.text)); /* nobody left to tell */
        return (int)exit_code_of(info.code);
    }
    return EXIT_CODE_OK;
}
