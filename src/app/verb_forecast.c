// SPDX-License-Identifier: Apache-2.0
/* `shadowcast forecast file`: a series in, its forecast with quantiles out. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/exit_code.h"
#include "app/forecast_backtest.h"
#include "app/forecast_plot.h"
#include "app/forecast_print.h"
#include "app/holidays_file.h"
#include "app/read_file.h"
#include "app/verbs.h"
#include "forecast/online.h"
#include "forecast/season.h"
#include "load/trace.h"

enum { FILE_BYTES_MAX = 256 << 20, HISTORY_MAX = 4096, TITLE_MAX = 256 };

struct call {
    struct series series;
    int64_t end_ms, step_ms; /* time of the last value */
    int h, count;
    double q[QUANTILES_MAX];
    struct holidays holidays;
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

static enum err read_holidays(const struct cli *cli, struct arena *arena, struct call *call,
                              struct err_info *info)
{
    const char *file = cli_text(cli, "holidays");
    struct str text;
    if (file == NULL) {
        return ERR_OK;
    }
    enum err err = read_file(arena, file, FILE_BYTES_MAX, &text, info);
    if (err == ERR_OK) {
        err = holidays_parse(arena, file, text, &call->holidays, info);
    }
    call->series.holidays = &call->holidays;
    return err;
}

/* How many of `count` values are looked at: all for a test of the past, else what --train says. */
static enum err read_length(const struct cli *cli, int count, struct call *call,
                            struct err_info *info)
{
    bool past = cli_flag(cli, "backtest") || cli_flag(cli, "online");
    int64_t most = past ? SERIES_MAX : HISTORY_MAX;
    if (!past && cli_given(cli, "train")) {
        most = cli_i64(cli, "train") / 1000000 / call->step_ms;
        if (most < 2 || most > SERIES_MAX) {
            return err_set(info, ERR_INVALID, "--train: 2 to %d steps of the series' %lld ms",
                           SERIES_MAX, (long long)call->step_ms);
        }
    } else if (!past && count > most) {
        IGNORE_RESULT(fprintf(stderr,
                              "shadowcast: the last %d of %d values are looked at; --train TIME "
                              "takes more\n",
                              HISTORY_MAX, count)); /* a note */
    }
    call->series.n = count < most ? count : (int)most;
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
        err = trace_parse_series(arena, cli->args[0], text, &trace, info);
    }
    if (err != ERR_OK) {
        return err;
    }
    call->usage = true;
    call->step_ms = trace.step_ms;
    call->end_ms = trace.start_ms + (int64_t)(trace.count - 1) * trace.step_ms;
    err = read_length(cli, trace.count, call, info);
    if (err == ERR_OK) {
        err = read_holidays(cli, arena, call, info);
    }
    if (err != ERR_OK) {
        return err;
    }
    call->series.y = trace.values + trace.count - call->series.n;
    call->series.season = 1;
    call->series.step_s = (double)trace.step_ms / 1000;
    call->series.start_s = (double)(call->end_ms - (call->series.n - 1) * trace.step_ms) / 1000;
    int64_t horizon = cli_i64(cli, "horizon") / 1000000;
    bool whole = horizon % call->step_ms == 0 || !cli_given(cli, "horizon");
    if (horizon < call->step_ms || horizon / call->step_ms > HORIZON_MAX || !whole) {
        return err_set(info, ERR_INVALID, "--horizon: 1 to %d whole steps of the series' %lld ms",
                       HORIZON_MAX, (long long)call->step_ms);
    }
    call->h = (int)(horizon / call->step_ms);
    return set_season(cli, arena, call, info);
}

static enum err run_auto(const struct cli *cli, struct call *call, struct arena *arena, double *out,
                         struct online_report *ret_report, struct err_info *info)
{
    struct online_spec spec = online_defaults(call->series.step_s, call->h);
    struct online *online;
    if (call->count > ONLINE_LEVELS_MAX || call->h > ONLINE_HORIZON_MAX) {
        return err_set(info, ERR_LIMIT,
                       "--model auto forecasts %d levels and %d steps at most; name a model for "
                       "more",
                       ONLINE_LEVELS_MAX, ONLINE_HORIZON_MAX);
    }
    spec.start_s = call->series.start_s;
    spec.season = cli_given(cli, "season") ? call->series.season : 0;
    spec.holidays = call->series.holidays;
    spec.history = call->series.n > ONLINE_FEW ? call->series.n : ONLINE_FEW;
    spec.level_count = call->count;
    memcpy(spec.level, call->q, sizeof(double) * (size_t)call->count);
    enum err err = online_new(&spec, arena, &online, info);
    if (err != ERR_OK) {
        return err;
    }
    online_load(online, call->series.y, call->series.n, arena);
    online_forecast(online, call->h, out, ret_report, arena);
    online_release(online);
    return isfinite(out[0])
               ? ERR_OK
               : err_set(info, ERR_INVALID,
                         "the series has no two values that count; missing ones do not, nor those "
                         "beyond %g",
                         ONLINE_VALUE_MAX);
}

/* Draws the forecast under a title that says what it is of. */
static enum err plot(const struct cli *cli, const struct forecast_result *result,
                     struct err_info *info)
{
    char title[TITLE_MAX];
    struct fan fan = {.series = result->series,
                      .h = result->h,
                      .count = result->count,
                      .q = result->q,
                      .out = result->out,
                      .known = result->series->n,
                      .caption = ""};
    IGNORE_RESULT(snprintf(title, sizeof title, "%s: forecast of %d steps, model %s",
                           strcmp(cli->args[0], "-") == 0 ? "standard input" : cli->args[0],
                           result->h, result->model)); /* cut at worst */
    return forecast_plot(cli_text(cli, "plot"), title, &fan, info);
}

static enum err run_model(const struct cli *cli, struct arena *arena, struct call *call,
                          struct err_info *info)
{
    struct online_report report;
    const char *wanted = cli_text(cli, "model");
    enum model model = MODEL_COUNT;
    for (int m = 0; m < MODEL_COUNT; m++) {
        model = strcmp(wanted, model_name((enum model)m)) == 0 ? (enum model)m : model;
    }
    double *out = ARENA_NEW_ARRAY(arena, double, (long)call->h * call->count);
    enum err err = model == MODEL_COUNT ? run_auto(cli, call, arena, out, &report, info)
                                        : model_forecast(model, &call->series, call->h, call->q,
                                                         call->count, arena, out, info);
    call->usage = false;
    if (err != ERR_OK) {
        return err;
    }
    struct forecast_result result = {.series = &call->series,
                                     .end_ms = call->end_ms,
                                     .step_ms = call->step_ms,
                                     .model = wanted,
                                     .h = call->h,
                                     .count = call->count,
                                     .q = call->q,
                                     .out = out,
                                     .report = model == MODEL_COUNT ? &report : NULL};
    if (result.report != NULL) {
        forecast_tell(&result);
    }
    if (cli_given(cli, "plot")) {
        err = plot(cli, &result, info);
    }
    if (err == ERR_OK) {
        forecast_print(&result, cli_text(cli, "output"));
    }
    return err;
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
    return run_model(cli, arena, call, info);
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
