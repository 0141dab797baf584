// SPDX-License-Identifier: Apache-2.0
#include "app/forecast_backtest.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/forecast_plot.h"
#include "app/forecast_print.h"
#include "forecast/backtest.h"

enum { TRAIN_MAX = 4096, CAPTION_MAX = 64, TITLE_MAX = 256 };

struct total {
    int origins;
    double mase, loss, excess, idle;
    double below[ONLINE_LEVELS_MAX];
};

static const char *name_of(int m)
{
    return m == BACKTEST_AUTO ? "auto" : model_name((enum model)m);
}

static double mean_loss(const struct backtest *spec, const struct backtest_row *row)
{
    double sum = 0;
    for (int j = 0; j < spec->level_count; j++) {
        sum += row->loss[j] / spec->level_count;
    }
    return sum;
}

static void add(const struct backtest *spec, const struct backtest_row *row, struct total *total)
{
    if (!row->there) {
        return;
    }
    total->origins++;
    total->mase += row->mase;
    total->loss += mean_loss(spec, row);
    total->excess += row->excess;
    total->idle += row->idle;
    for (int j = 0; j < spec->level_count; j++) {
        total->below[j] += row->below[j];
    }
}

static void print_csv_head(const struct backtest *spec)
{
    printf("model,origin,scale,mase,pinball");
    for (int j = 0; j < spec->level_count; j++) {
        printf(",pinball%g,below%g", spec->level[j], spec->level[j]);
    }
    printf(",excess,idle\n");
}

static void print_csv_row(const struct backtest *spec, int m, const struct backtest_row *row)
{
    printf("%s,%d,%.8g,%.8g,%.8g", name_of(m), row->origin, row->scale, row->mase,
           mean_loss(spec, row));
    for (int j = 0; j < spec->level_count; j++) {
        printf(",%.8g,%.6g", row->loss[j], row->below[j]);
    }
    printf(",%.8g,%.8g\n", row->excess, row->idle);
}

static void print_json(const struct backtest *spec, const struct total *totals)
{
    printf("{\"items\":[");
    for (int m = 0; m < BACKTEST_MODELS; m++) {
        const struct total *t = &totals[m];
        int n = t->origins > 0 ? t->origins : 1;
        printf("%s{\"model\":\"%s\",\"origins\":%d", m > 0 ? "," : "", name_of(m), t->origins);
        if (t->origins > 0) {
            printf(",\"mase\":%.8g,\"pinball\":%.8g,\"excess\":%.8g,\"idle\":%.8g", t->mase / n,
                   t->loss / n, t->excess / n, t->idle / n);
            for (int j = 0; j < spec->level_count; j++) {
                printf(",\"below%g\":%.6g", spec->level[j], t->below[j] / n);
            }
        }
        printf("}");
    }
    printf("]}\n");
}

static void print_table(const struct backtest *spec, const struct total *totals)
{
    printf("%-17s %7s %10s %10s", "model", "origins", "MASE", "pinball");
    for (int j = 0; j < spec->level_count; j++) {
        printf("   <=q%-6g", spec->level[j]);
    }
    printf("\n");
    for (int m = 0; m < BACKTEST_MODELS; m++) {
        const struct total *t = &totals[m];
        if (t->origins == 0) {
            continue;
        }
        printf("%-17s %7d %10.4g %10.4g", name_of(m), t->origins, t->mase / t->origins,
               t->loss / t->origins);
        for (int j = 0; j < spec->level_count; j++) {
            printf(" %8.1f %%", 100 * t->below[j] / t->origins);
        }
        printf("\n");
    }
    printf(
        "MASE and pinball loss are in units of the mean difference to a season before (without a "
        "season: to the value before);\n<=q: share of the truth at or below that level\n");
}

static enum err read_spec(const struct cli *cli, const struct series *series, struct backtest *spec,
                          struct err_info *info)
{
    int64_t origins = cli_i64(cli, "origins");
    int64_t step_ms = (int64_t)(series->step_s * 1000);
    if (origins < 1 || origins > BACKTEST_ORIGINS_MAX) {
        return err_set(info, ERR_INVALID, "--origins: 1 to %d", BACKTEST_ORIGINS_MAX);
    }
    spec->origins = (int)origins;
    int most = (series->n - spec->h) * 7 / 10;
    spec->train = most < TRAIN_MAX ? most : TRAIN_MAX;
    if (cli_given(cli, "train")) {
        int64_t train = cli_i64(cli, "train") / 1000000 / step_ms;
        if (train < ONLINE_FEW || train > series->n - spec->h) {
            return err_set(info, ERR_INVALID,
                           "--train: %d to %d steps of the series, which leaves the horizon",
                           ONLINE_FEW, series->n - spec->h);
        }
        spec->train = (int)train;
    }
    return ERR_OK;
}

/* What the origins gave; forecasts kept for the plot are those of the last origins, of the one model that is looked at or of
 * the automatic choice. */
struct tested {
    struct total totals[BACKTEST_MODELS];
    struct series past[FORECAST_PANELS_MAX];
    struct fan fan[FORECAST_PANELS_MAX];
    char caption[FORECAST_PANELS_MAX][CAPTION_MAX];
    int count, skip; /* origins before the first panel */
};

static void keep(struct tested *tested, const struct series *series, const struct backtest *spec,
                 int o, const struct backtest_row *row)
{
    if (spec->kept == NULL || o < tested->skip || !row->there) {
        return;
    }
    int at = tested->count++;
    tested->past[at] = *series;
    tested->past[at].n = row->origin;
    IGNORE_RESULT(snprintf(tested->caption[at], CAPTION_MAX, "origin %d: error %.3g x scale", o + 1,
                           row->mase)); /* fits */
    tested->fan[at] = (struct fan){.series = &tested->past[at],
                                   .h = spec->h,
                                   .count = spec->level_count,
                                   .q = spec->level,
                                   .out = spec->kept,
                                   .known = row->origin + spec->h,
                                   .caption = tested->caption[at]};
}

static enum err plot_kept(const struct cli *cli, const struct tested *tested, int model,
                          struct err_info *info)
{
    char title[TITLE_MAX];
    if (tested->count == 0) {
        return err_set(info, ERR_INVALID, "%s could not be fitted at any origin: nothing to plot",
                       name_of(model));
    }
    IGNORE_RESULT(snprintf(title, sizeof title, "%s: what %s would have forecast", cli->args[0],
                           name_of(model))); /* cut at worst */
    return forecast_plot_panels(cli_text(cli, "plot"), title, tested->fan, tested->count, info);
}

/* Tests all origins, printing CSV as they come. */
static enum err test_origins(const struct cli *cli, const struct series *series,
                             struct backtest *spec, int only, struct arena *arena,
                             struct tested *tested, struct err_info *info)
{
    struct backtest_row rows[BACKTEST_MODELS];
    bool csv = strcmp(cli_text(cli, "output"), "csv") == 0, progress = isatty(STDERR_FILENO) == 1;
    enum err err = ERR_OK;
    for (int o = 0; err == ERR_OK && o < spec->origins; o++) {
        if (progress) {
            IGNORE_RESULT(fprintf(stderr, "\rshadowcast: origin %d of %d", o + 1, spec->origins));
        }
        if (cli_given(cli, "plot")) {
            spec->kept = ARENA_NEW_ARRAY(arena, double, (long)spec->h * spec->level_count);
        }
        err =
            backtest_at(series, spec, backtest_origin(spec, series->n, o), only, arena, rows, info);
        if (err == ERR_OK && csv && o == 0) {
            print_csv_head(spec);
        }
        for (int m = 0; err == ERR_OK && m < BACKTEST_MODELS; m++) {
            add(spec, &rows[m], &tested->totals[m]);
            if (csv && rows[m].there) {
                print_csv_row(spec, m, &rows[m]);
            }
        }
        if (err == ERR_OK) {
            keep(tested, series, spec, o, &rows[spec->keep]);
        }
    }
    if (progress) {
        IGNORE_RESULT(fprintf(stderr, "\r%40s\r", "")); /* the line of progress goes */
    }
    return err;
}

enum err forecast_backtest(const struct cli *cli, const struct series *series, int h,
                           const double *level, int level_count, struct arena *arena,
                           struct err_info *info)
{
    struct backtest spec = {.h = h,
                            .level_count = level_count,
                            .keep = BACKTEST_AUTO,
                            .auto_season = cli_given(cli, "season") ? series->season : 0};
    const char *format = cli_text(cli, "output"), *wanted = cli_text(cli, "model");
    int only = BACKTEST_MODELS;
    for (int m = 0; m < BACKTEST_MODELS && cli_given(cli, "model"); m++) {
        only = strcmp(name_of(m), wanted) == 0 ? m : only;
    }
    if (level_count > ONLINE_LEVELS_MAX) {
        return err_set(info, ERR_LIMIT, "--backtest compares %d levels at most", ONLINE_LEVELS_MAX);
    }
    spec.keep = only != BACKTEST_MODELS ? only : spec.keep;
    memcpy(spec.level, level, sizeof(double) * (size_t)level_count);
    enum err err = read_spec(cli, series, &spec, info);
    struct tested *tested = ARENA_NEW(arena, struct tested);
    tested->skip = spec.origins > FORECAST_PANELS_MAX ? spec.origins - FORECAST_PANELS_MAX : 0;
    if (err == ERR_OK) {
        err = test_origins(cli, series, &spec, only, arena, tested, info);
    }
    if (err == ERR_OK && strcmp(format, "json") == 0) {
        print_json(&spec, tested->totals);
    } else if (err == ERR_OK && strcmp(format, "csv") != 0) {
        print_table(&spec, tested->totals);
    }
    if (err == ERR_OK && cli_given(cli, "plot")) {
        err = plot_kept(cli, tested, spec.keep, info);
    }
    return err;
}

static void print_point(const struct online_point *point, const struct online_spec *spec,
                        const char *format, bool first)
{
    bool json = strcmp(format, "json") == 0, csv = strcmp(format, "csv") == 0;
    const char *how =
        point->basis == ONLINE_ONE ? model_name(point->model) : online_basis_name(point->basis);
    if (json) {
        printf(first ? "{" : ",{");
        forecast_print_point(point);
    } else {
        printf(csv ? "%d,%d,%s,%.6g,%.6g,%.6g,%.6g" : "%6d %8d  %-14s %10.4g %10.4g %10.4g %10.4g",
               point->steps, point->matured, how, point->error, point->error_naive, point->loss,
               point->loss_naive);
    }
    for (int j = 0; j < spec->level_count; j++) {
        if (json) {
            printf(",\"below%g\":%.4f", spec->level[j], point->whole[j]);
        } else {
            printf(csv ? ",%.4f" : " %8.3f", point->whole[j]);
        }
    }
    printf("%s", json ? "}" : "\n");
}

static void print_online(const struct online_report *report, const struct online_spec *spec,
                         const char *format)
{
    bool json = strcmp(format, "json") == 0, csv = strcmp(format, "csv") == 0;
    if (json) {
        printf("{\"samples\":%d,\"shifts\":%d,\"fits\":%d,\"fits_failed\":%d,\"items\":[",
               report->samples, report->shifts, report->fits, report->fits_failed);
    } else {
        printf("%s",
               csv ? "steps,matured,basis,error,error_naive,loss,loss_naive"
                   : " steps  matured  basis               error      naive       loss      naive");
        for (int j = 0; j < spec->level_count; j++) {
            printf(csv ? ",below%g" : "   <=%-4g", spec->level[j]);
        }
        printf("\n");
    }
    for (int p = 0; p < report->point_count; p++) {
        print_point(&report->point[p], spec, format, p == 0);
    }
    printf("%s", json ? "]}\n" : "");
}

enum err forecast_online(const struct cli *cli, const struct series *series, int h,
                         const double *level, int level_count, struct arena *arena,
                         struct err_info *info)
{
    if (level_count > ONLINE_LEVELS_MAX || h > ONLINE_HORIZON_MAX) {
        return err_set(info, ERR_LIMIT, "--online: %d levels and %d steps at most",
                       ONLINE_LEVELS_MAX, ONLINE_HORIZON_MAX);
    }
    struct online_spec spec = online_defaults(series->step_s, h);
    struct online_report report;
    struct online *online;
    spec.start_s = series->start_s;
    spec.holidays = series->holidays;
    spec.season =
        cli_given(cli, "season") && series->season <= spec.history / 2 ? series->season : 0;
    spec.level_count = level_count;
    memcpy(spec.level, level, sizeof(double) * (size_t)level_count);
    enum err err = online_new(&spec, arena, &online, info);
    if (err != ERR_OK) {
        return err;
    }
    int history = series->n / 5 < 2016 ? series->n / 5 : 2016;
    bool progress = isatty(STDERR_FILENO) == 1;
    online_load(online, series->y, history, arena);
    for (int i = history; i < series->n; i++) {
        online_sample(online, series->y[i], arena);
        IGNORE_RESULT(online_refit(online, spec.fit_work_max, arena)); /* goes on with the next */
        if (progress && i % 500 == 0) {
            IGNORE_RESULT(fprintf(stderr, "\rshadowcast: %d of %d", i, series->n));
        }
    }
    if (progress) {
        IGNORE_RESULT(fprintf(stderr, "\r%40s\r", "")); /* the line of progress goes */
    }
    online_look(online, &report);
    online_release(online);
    print_online(&report, &spec, cli_text(cli, "output"));
    return ERR_OK;
}
