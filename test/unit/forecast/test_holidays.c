// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "forecast/holidays.h"
#include "forecast/models.h"
#include "forecast/num.h"
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
