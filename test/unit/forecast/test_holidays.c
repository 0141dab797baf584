// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "base/rng.h"
#include "forecast/holidays.h"
#include "forecast/models.h"
#include "forecast/num.h"
#include "forecast/online.h"
#include "test.h"

enum { DAYS = 120, H = 10 };

static const double DAY_S = 86400;

TEST(holidays_are_columns_by_name_and_day_of_their_window)
{
    static const struct holiday items[] = {{"b", 10, -1, 1, 10},
                                           {"a", 20, 0, 0, 5},
                                           {"b", 40, -1, 1, 10},
                                           {"a", 41, 0, 0, 5}}; /* on the same day as b's last */
    struct arena arena;
    struct holidays h;
    double row[HOLIDAY_COLUMNS_MAX];
    arena_init(&arena, 1 << 20);
    EXPECT_INT(holidays_prepare(items, 4, &arena, &h, NULL), ERR_OK);
    EXPECT_INT(h.column_count, 4); /* b before, on, after; a */
    static const struct {
        double day;
        int sum, first;
    } cases[] = {{8.99, 0, -1}, {9, 1, 0},    {10.5, 1, 1}, {11.99, 1, 2},
                 {12, 0, -1},   {20.2, 1, 3}, {41, 2, 2},   {-5, 0, -1}};
    for (int i = 0; i < (int)COUNT_OF(cases); i++) {
        int sum = 0, first = -1;
        holidays_row(&h, cases[i].day * DAY_S, row);
        for (int j = 0; j < 4; j++) {
            first = row[j] > 0 && first < 0 ? j : first;
            sum += (int)row[j];
        }
        EXPECT_MSG(sum == cases[i].sum && first == cases[i].first, "day %g: %d, %d", cases[i].day,
                   sum, first);
    }
    EXPECT_NEAR(h.prior[3], 5, 0);
    arena_release(&arena);
}

TEST(holidays_out_of_range_are_refused)
{
    static const struct holiday items[][2] = {{{"x", 0, 1, 0, 10}, {"y", 0, 0, 0, 10}},
                                              {{"x", 0, 0, 31, 10}, {"y", 0, 0, 0, 10}},
                                              {{"x", 0, 0, 0, 0}, {"y", 0, 0, 0, 10}},
                                              {{"x", 0, 0, 0, 10}, {"x", 9, 0, 0, 9}},
                                              {{"x", 0, -20, 0, 10}, {"y", 9, 0, 20, 10}}};
    for (int i = 0; i < (int)COUNT_OF(items); i++) {
        struct arena arena;
        struct holidays h;
        struct err_info info = {0};
        arena_init(&arena, 1 << 20);
        enum err err = holidays_prepare(items[i], 2, &arena, &h, &info);
        EXPECT_MSG(err == (i == 4 ? ERR_LIMIT : ERR_INVALID) && info.text[0] != 0, "case %d: %s", i,
                   info.text);
        arena_release(&arena);
    }
}

/* Weeks of 100, but 30 on each feast; the next feast lies in the horizon. */
TEST(holiday_to_come_is_forecast_by_the_models_that_know_it)
{
    static const enum model models[] = {MODEL_PROPHET, MODEL_PROPHET_AR};
    static const struct holiday items[] = {{"feast", 30, 0, 0, 10},
                                           {"feast", 60, 0, 0, 10},
                                           {"feast", 90, 0, 0, 10},
                                           {"feast", DAYS + 4, 0, 0, 10}};
    double y[DAYS], out[H], q = 0.5;
    struct arena arena;
    struct holidays h;
    arena_init(&arena, (ptrdiff_t)64 << 20);
    for (int i = 0; i < DAYS; i++) {
        y[i] = i > 0 && i % 30 == 0 ? 30 : 100 + sin(i * 12.9898);
    }
    EXPECT_INT(holidays_prepare(items, 4, &arena, &h, NULL), ERR_OK);
    struct series series = {y, DAYS, 1, 0, DAY_S, &h};
    for (int m = 0; m < (int)COUNT_OF(models); m++) {
        EXPECT_INT(model_forecast(models[m], &series, H, &q, 1, &arena, out, NULL), ERR_OK);
        for (int i = 0; i < H; i++) {
            double truth = i == 4 ? 30 : 100;
            EXPECT_MSG(fabs(out[i] - truth) < 6, "%s, day %d: %g", model_name(models[m]), i,
                       out[i]);
        }
    }
    arena_release(&arena);
}

enum { HOURS = 24, LOADED = 70 * HOURS, AHEAD = 3 * HOURS };

/* Days of 24 hours, at weekends 0.7 of others. `level` is added to a series whose feasts are 35 lower; 0: feasts are 0.4 of it. */
static double hour_of(struct rng *rng, int t, const bool *feast, double level)
{
    int day = t / HOURS;
    double y = (100 + 40 * sin(6.283185307179586 * t / HOURS)) * (day % 7 >= 5 ? 0.7 : 1);
    y += 2 * rng_normal(rng) + level;
    return !feast[day] ? y : (level < 0 ? y - 35 : 0.4 * y);
}

/* A feast to come is in the automatic choice, whichever members it is made of; the days around are as ever. */
static void check_feast_to_come(double level, const int *feasts, int count)
{
    static double y[LOADED + AHEAD], out[AHEAD * 4];
    bool feast[80] = {false};
    struct holiday items[8];
    struct holidays h;
    struct rng rng;
    struct arena home, scratch;
    struct online *online;
    rng_init(&rng, test_seed());
    arena_init(&home, 1 << 26);
    arena_init(&scratch, 1 << 28);
    for (int i = 0; i < count; i++) {
        feast[feasts[i]] = true;
        items[i] = (struct holiday){"feast", feasts[i], 0, 0, 10};
    }
    for (int t = 0; t < LOADED + AHEAD; t++) {
        y[t] = hour_of(&rng, t, feast, level);
    }
    EXPECT_INT(holidays_prepare(items, count, &home, &h, NULL), ERR_OK);
    struct online_spec spec = online_defaults(3600, AHEAD);
    spec.history = LOADED;
    spec.holidays = &h;
    EXPECT_INT(online_new(&spec, &home, &online, NULL), ERR_OK);
    online_load(online, y, LOADED, &scratch);
    online_forecast(online, AHEAD, out, NULL, &scratch);
    double miss[4] = {0};
    for (int t = 0; t < AHEAD; t++) {
        miss[t / HOURS] += fabs(out[t * 4 + 1] - y[LOADED + t]) / HOURS;
        EXPECT(out[t * 4] <= out[t * 4 + 1] && out[t * 4 + 1] <= out[t * 4 + 3]);
    }
    for (int day = 0; day < AHEAD / HOURS; day++) {
        EXPECT_MSG(miss[day] < 9, "level %g, day %d: off by %g", level, day, miss[day]);
    }
    online_release(online);
    arena_release(&home);
    arena_release(&scratch);
}

TEST(holiday_to_come_is_in_the_automatic_choice)
{
    /* day 71 is the second of the horizon */
    check_feast_to_come(0, (const int[]){22, 43, 71}, 3);
    check_feast_to_come(-90, (const int[]){22, 43, 71}, 3);
    check_feast_to_come(0, (const int[]){50, 71}, 2);
}

TEST(holiday_that_was_never_seen_changes_nothing)
{
    static double y[LOADED], out[2][AHEAD * 4];
    const bool none[80] = {false};
    static const struct holiday item = {"feast", 71, 0, 0, 10};
    struct holidays h;
    struct arena home, scratch;
    arena_init(&home, 1 << 26);
    arena_init(&scratch, 1 << 28);
    EXPECT_INT(holidays_prepare(&item, 1, &home, &h, NULL), ERR_OK);
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int t = 0; t < LOADED; t++) {
        y[t] = hour_of(&rng, t, none, 0);
    }
    for (int known = 0; known < 2; known++) {
        struct online *online;
        struct online_spec spec = online_defaults(3600, AHEAD);
        spec.history = LOADED;
        spec.holidays = known ? &h : NULL;
        EXPECT_INT(online_new(&spec, &home, &online, NULL), ERR_OK);
        online_load(online, y, LOADED, &scratch);
        online_forecast(online, AHEAD, out[known], NULL, &scratch);
        online_release(online);
    }
    for (int i = 0; i < AHEAD * 4; i++) {
        EXPECT_NEAR(out[0][i], out[1][i], 0);
    }
    arena_release(&home);
    arena_release(&scratch);
}
