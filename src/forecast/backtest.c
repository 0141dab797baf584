// SPDX-License-Identifier: Apache-2.0
#include "forecast/backtest.h"

#include <math.h>
#include <string.h>

int backtest_origin(const struct backtest *spec, int n, int o)
{
    return spec->train + (int)floor((double)(n - spec->h - spec->train) * (o + 1) / spec->origins);
}

static double scale_of(const double *y, int n, int m)
{
    double sum = 0;
    int count = 0;
    for (int i = m; i < n; i++) {
        double d = fabs(y[i] - y[i - m]);
        sum += isfinite(d) ? d : 0;
        count += isfinite(d) != 0;
    }
    return count > 0 ? sum / count : 0;
}

static void score(const struct backtest *spec, const double *truth, const double *out,
                  struct backtest_row *row)
{
    int middle = model_middle(spec->level, spec->level_count), known = 0;
    int last = spec->level_count - 1;
    for (int i = 0; i < spec->h; i++) {
        known += isfinite(truth[i]) != 0;
    }
    for (int i = 0; i < spec->h && known > 0; i++) {
        const double *levels = out + (long)i * spec->level_count;
        double unit = row->scale * known;
        if (!isfinite(truth[i])) {
            continue;
        }
        row->mase += fabs(truth[i] - levels[middle]) / unit;
        row->excess += fmax(0, truth[i] - levels[last]) / unit;
        row->idle += fmax(0, levels[last] - truth[i]) / unit;
        for (int j = 0; j <= last; j++) {
            double u = truth[i] - levels[j], q = spec->level[j];
            row->loss[j] += fmax(q * u, (q - 1) * u) / unit;
            row->below[j] += (double)(u <= 0) / known;
        }
    }
    row->there = known > 0;
}

static enum err run_auto(const struct series *past, const struct backtest *spec,
                         struct arena *arena, double *out, struct err_info *info)
{
    struct online_spec o = online_defaults(past->step_s, spec->h);
    struct online *online;
    o.start_s = past->start_s;
    o.season = spec->auto_season;
    o.holidays = past->holidays;
    o.history = past->n;
    o.level_count = spec->level_count;
    for (int j = 0; j < spec->level_count; j++) {
        o.level[j] = spec->level[j];
    }
    enum err err = online_new(&o, arena, &online, info);
    if (err == ERR_OK) {
        online_load(online, past->y, past->n, arena);
        online_forecast(online, spec->h, out, NULL, arena);
        online_release(online);
    }
    return err;
}

// NOLINTNEXTLINE(readability-function-size): all seven are the call, none a pair
enum err backtest_at(const struct series *series, const struct backtest *spec, int origin, int only,
                     struct arena *arena, struct backtest_row *rows, struct err_info *info)
{
    if (spec->train < ONLINE_FEW || spec->h < 1 || spec->h > ONLINE_HORIZON_MAX ||
        origin < spec->train || origin + spec->h > series->n) {
        return err_set(
            info, ERR_LIMIT,
            "%d values cannot be tested with %d to train on and %d steps ahead (least %d "
            "to train on)",
            series->n, spec->train, spec->h, ONLINE_FEW);
    }
    struct arena_mark mark = arena_mark(arena);
    struct series past = *series;
    long first = origin - spec->train;
    past.y = series->y + first;
    past.n = spec->train;
    past.start_s = series->start_s + (double)first * series->step_s;
    int lag = past.season > 1 && past.season < past.n ? past.season : 1;
    double scale = scale_of(past.y, past.n, lag);
    scale = scale > 0 ? scale : scale_of(past.y, past.n, 1);
    scale = scale > 0 ? scale : 1;
    double *out = ARENA_NEW_ARRAY(arena, double, (long)spec->h * spec->level_count);
    for (int m = 0; m < BACKTEST_MODELS; m++) {
        rows[m] = (struct backtest_row){.origin = origin, .scale = scale};
        if (only != BACKTEST_MODELS && m != only) {
            continue;
        }
        enum err err = m == BACKTEST_AUTO
                           ? run_auto(&past, spec, arena, out, NULL)
                           : model_forecast((enum model)m, &past, spec->h, spec->level,
                                            spec->level_count, arena, out, NULL);
        if (err == ERR_OK) {
            score(spec, series->y + origin, out, &rows[m]);
            if (spec->kept != NULL && m == spec->keep) {
                memcpy(spec->kept, out,
                       sizeof(double) * (size_t)spec->h * (size_t)spec->level_count);
            }
        }
    }
    arena_rewind(arena, mark);
    return ERR_OK;
}
