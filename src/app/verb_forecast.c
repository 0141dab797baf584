// SPDX-License-Identifier: Apache-2.0
/* `shadowcast forecast file`: a series in, its forecast with quantiles out. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "app/exit_code.h"
#include "app/forecast_backtest.h"
#include "app/forecast_plot.h"
#include "app/read_file.h"
#include "app/verbs.h"
#include "forecast/online.h"
#include "forecast/season.h"
#include "load/trace.h"

enum { FILE_BYTES_MAX = 256 << 20, HISTORY_MAX = 4096 };

struct call {
    struct series series;
    int64_t end_ms, step_ms; /* time of the last value */
    int h, count;
    double q[QUANTILES_MAX];
    bool usage; /* what is wrong is in the call, not in the file */
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

/* The season: given, or a day or a week if the series has one, or any other that it shows. */
static enum err set_season(const struct cli *cli, struct arena *arena, struct call *call,
                           struct err_info *info)
{
    int64_t day = 86400000, step = call->step_ms;
    const char *given = cli_text(cli, "season");
    if (given != NULL && strcmp(given, "none") == 0) {
        return ERR_OK;
    }
    if (given != NULL) {
        static const struct cli_option duration = {.name = "season", .kind = CLI_DURATION};
        int64_t season = 0;
        double unused;
        enum err err = cli_read_value(&duration, given, &season, &unused, info);
        if (err != ERR_OK) {
            return err;
        }
        season /= 1000000;
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
    struct season_found found;
    if (call->series.season == 1 &&
        season_find(call->series.y, call->series.n, 1, arena, &found) == 1) {
        call->series.season = found.steps;
    }
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
    enum err err = read_quantiles(cli_text(cli, "quantiles"), call, info);
    if (err != ERR_OK) {
        call->usage = true;
        return err;
    }
    err = read_file(arena, cli->args[0], FILE_BYTES_MAX, &text, info);
    if (err == ERR_OK) {
        err = trace_parse(arena, cli->args[0], text, &trace, info);
    }
    if (err != ERR_OK) {
        return err;
    }
    call->usage = true;
    int most = cli_flag(cli, "backtest") || cli_flag(cli, "online") ? SERIES_MAX : HISTORY_MAX;
    int n = trace.count < most ? trace.count : most;
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
    return set_season(cli, arena, call, info);
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

static void print_rows(const struct call *call, const double *out, const char *model,
                       const char *format)
{
    bool json = strcmp(format, "json") == 0, csv = strcmp(format, "csv") == 0;
    if (json) {
        printf("{\"model\":\"%s\",\"season_steps\":%d,\"items\":[", model, call->series.season);
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

/* What the choice rests on, to stderr: which models, and how far off they were. */
static void tell(const struct call *call, const struct online_report *report)
{
    const struct online_point *last = &report->point[report->point_count - 1];
    if (last->basis == ONLINE_FEW_SAMPLES || last->basis == ONLINE_NOTHING) {
        IGNORE_RESULT(fprintf(stderr,
                              "shadowcast: %d values are too few for a model (%d are the least): "
                              "the last value, with the errors that repeating it had\n",
                              call->series.n, ONLINE_FEW)); /* a note */
        return;
    }
    IGNORE_RESULT(fprintf(stderr, "shadowcast: season of %d steps%s\n", report->season,
                          report->beats_naive ? "" : "; no model beats the naive one"));
    for (int p = 0; p < report->point_count; p++) {
        const struct online_point *point = &report->point[p];
        if (point->basis == ONLINE_MEDIAN) {
            IGNORE_RESULT(
                fprintf(stderr, "  %4d ahead: median of %d models", point->steps, point->members));
        } else {
            IGNORE_RESULT(
                fprintf(stderr, "  %4d ahead: %s", point->steps, model_name(point->model)));
        }
        if (point->matured > 0) {
            IGNORE_RESULT(fprintf(stderr, ", error %.4g over the last %d forecasts, naive %.4g",
                                  point->error, point->matured, point->error_naive));
        }
        IGNORE_RESULT(fprintf(stderr, "\n"));
    }
}

static enum err run_auto(struct call *call, struct arena *arena, double *out, struct err_info *info)
{
    struct online_spec spec = online_defaults(call->series.step_s, call->h);
    struct online_report report;
    struct online *online;
    if (call->count > ONLINE_LEVELS_MAX || call->h > ONLINE_HORIZON_MAX) {
        return err_set(info, ERR_LIMIT,
                       "--model auto forecasts %d levels and %d steps at most; name a model for "
                       "more",
                       ONLINE_LEVELS_MAX, ONLINE_HORIZON_MAX);
    }
    spec.start_s = call->series.start_s;
    spec.season = call->series.season;
    spec.history = call->series.n > ONLINE_FEW ? call->series.n : ONLINE_FEW;
    spec.level_count = call->count;
    memcpy(spec.level, call->q, sizeof(double) * (size_t)call->count);
    enum err err = online_new(&spec, arena, &online, info);
    if (err != ERR_OK) {
        return err;
    }
    online_load(online, call->series.y, call->series.n, arena);
    online_forecast(online, call->h, out, &report, arena);
    online_release(online);
    tell(call, &report);
    return isfinite(out[0]) ? ERR_OK
                            : err_set(info, ERR_INVALID, "the series has no two values known");
}

static enum err run_call(const struct cli *cli, struct arena *arena, struct call *call,
                         struct err_info *info)
{
    enum err err = read_call(cli, arena, call, info);
    if (err != ERR_OK) {
        return err;
    }
    if (cli_flag(cli, "backtest")) {
        return forecast_backtest(cli, &call->series, call->h, call->q, call->count, arena, info);
    }
    if (cli_flag(cli, "online")) {
        return forecast_online(cli, &call->series, call->h, call->q, call->count, arena, info);
    }
    const char *wanted = cli_text(cli, "model");
    enum model model = MODEL_COUNT;
    for (int m = 0; m < MODEL_COUNT; m++) {
        model = strcmp(wanted, model_name((enum model)m)) == 0 ? (enum model)m : model;
    }
    double *out = ARENA_NEW_ARRAY(arena, double, (long)call->h * call->count);
    err = model == MODEL_COUNT ? run_auto(call, arena, out, info)
                               : model_forecast(model, &call->series, call->h, call->q, call->count,
                                                arena, out, info);
    call->usage = false;
    if (err == ERR_OK && cli_given(cli, "plot")) {
        err = forecast_plot(cli_text(cli, "plot"), &call->series, call->h, call->q, call->count,
                            out, info);
    }
    if (err == ERR_OK) {
        print_rows(call, out, model == MODEL_COUNT ? "auto" : model_name(model),
                   cli_text(cli, "output"));
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
        return call.usage && info.code != ERR_NOT_FOUND ? EXIT_CODE_USAGE : (int)exit_code_of(err);
    }
    return EXIT_CODE_OK;
}
