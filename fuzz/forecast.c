// SPDX-License-Identifier: Apache-2.0
// build: src/forecast/*.c
#include <math.h>
#include <string.h>

#include "base/check.h"
#include "forecast/online.h"

/* A series out of any bytes, through every model and the online forecaster: what is forecast is finite and in order, what
 * cannot be is refused with a text. The first bytes choose season, horizon, scale and step; each byte after is a value, or a
 * gap, a huge or tiny one, a repetition, a step up. */

enum { VALUES_MAX = 160, H_MAX = 24 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int values_of(const uint8_t *data, size_t size, double scale, double *y)
{
    int n = 0;
    double level = 0;
    for (size_t i = 0; i < size && n < VALUES_MAX; i++) {
        uint8_t b = data[i];
        switch (b) {
        case 250:
            y[n++] = (double)NAN;
            break;
        case 251:
            y[n++] = 1e300 * (i % 2 == 0 ? 1 : -1);
            break;
        case 252:
            y[n++] = 1e-300;
            break;
        case 253:
            level += 1000;
            break;
        case 254: /* repeats the last as often as the next byte says */
            for (int k = i + 1 < size ? data[++i] : 0; k > 0 && n > 0 && n < VALUES_MAX; k--) {
                y[n] = y[n - 1];
                n++;
            }
            break;
        case 255:
            y[n++] = (double)INFINITY;
            break;
        default:
            y[n++] = (b + level - (data[0] & 1 ? 100 : 0)) * scale;
        }
    }
    return n;
}

static void check_rows(const double *out, int h, int count)
{
    for (int i = 0; i < h * count; i++) {
        CHECK(isfinite(out[i]));
        CHECK(i % count == 0 || out[i] >= out[i - 1]);
    }
}

static void run_online(const struct series *series, int h, struct arena *arena)
{
    struct online_spec spec = online_defaults(series->step_s, h);
    struct online_report report;
    struct online *online;
    double out[H_MAX * 4];
    spec.season = series->season;
    spec.history = VALUES_MAX;
    struct arena_mark mark = arena_mark(arena);
    CHECK(online_new(&spec, arena, &online, NULL) == ERR_OK);
    int half = series->n / 2;
    online_load(online, series->y, half, arena);
    for (int i = half; i < series->n; i++) {
        online_sample(online, series->y[i], arena);
        if (i % 16 == 0) {
            IGNORE_RESULT(online_refit(online, 3000, arena)); /* as far as it comes */
        }
    }
    online_forecast(online, h, out, &report, arena);
    if (report.point[0].basis != ONLINE_NOTHING) {
        check_rows(out, h, 4);
    }
    CHECK(report.samples == series->n && report.missing <= series->n);
    online_release(online);
    arena_rewind(arena, mark);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const double level[3] = {0.05, 0.5, 0.95};
    static const double scales[] = {1, 1e-6, 1e6, 1e100, 1e-200};
    double y[VALUES_MAX], out[H_MAX * 3];
    struct arena arena;
    if (size < 6) {
        return 0;
    }
    int n = values_of(data + 4, size - 4, scales[data[1] % COUNT_OF(scales)], y);
    int season = 1 + data[2] % 50, h = 1 + data[3] % H_MAX;
    struct series series = {y, n, 2 * season <= n ? season : 1, 0, 300, NULL};
    arena_init(&arena, (ptrdiff_t)1 << 30);
    for (int m = 0; m < MODEL_COUNT; m++) {
        struct err_info info = {0};
        enum err err = model_forecast((enum model)m, &series, h, level, 3, &arena, out, &info);
        if (err == ERR_OK) {
            check_rows(out, h, 3);
        } else {
            CHECK(info.text[0] != 0);
        }
        arena_reset(&arena);
    }
    run_online(&series, h, &arena);
    arena_release(&arena);
    return 0;
}
