// SPDX-License-Identifier: Apache-2.0
// What a history teaches the online forecaster before the first live sample.
#include "forecast/online.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "test.h"

enum { H = 24, HISTORY_MAX = 1400 };

struct rig {
    struct rng rng;
    struct arena home, scratch;
    struct online *online;
    double y[HISTORY_MAX], out[H * 4];
    struct online_report report;
};

static void rig_open(struct rig *rig)
{
    memset(rig, 0, sizeof *rig);
    rng_init(&rig->rng, test_seed());
    arena_init(&rig->home, 1 << 26);
    arena_init(&rig->scratch, 1 << 28);
}

/* Loads y[n] at steps of half an hour, no season given, and forecasts. */
static void rig_load(struct rig *rig, const double *y, int n)
{
    struct online_spec spec = online_defaults(1800, H);
    spec.history = HISTORY_MAX;
    EXPECT_INT(online_new(&spec, &rig->home, &rig->online, NULL), ERR_OK);
    online_load(rig->online, y, n, &rig->scratch);
    online_forecast(rig->online, H, rig->out, &rig->report, &rig->scratch);
}

static void rig_close(struct rig *rig)
{
    online_release(rig->online);
    arena_release(&rig->home);
    arena_release(&rig->scratch);
}

/* A day of 48 half-hours; at weekends a third of it. */
static double week_at(struct rig *rig, int t)
{
    bool weekend = t / 48 % 7 >= 5;
    double day = 100 + 60 * sin(6.283185307179586 * t / 48);
    return (weekend ? day / 3 : day) + 2 * rng_normal(&rig->rng);
}

TEST(history_takes_a_days_cycle_in_a_history_for_no_shift)
{
    static struct rig rig;
    rig_open(&rig);
    for (int t = 0; t < 480; t++) {
        rig.y[t] = 100 + 90 * sin(6.283185307179586 * t / 48) + 2 * rng_normal(&rig.rng);
    }
    rig_load(&rig, rig.y, 480);
    EXPECT_INT(rig.report.shifts, 0);
    EXPECT_INT(rig.report.season, 48);
    rig_close(&rig);
}

TEST(history_knows_the_weekend_where_the_week_leads)
{
    static struct rig rig;
    rig_open(&rig);
    enum { N = 48 * 26 }; /* ends with a Friday */
    for (int t = 0; t < N; t++) {
        rig.y[t] = week_at(&rig, t);
    }
    rig_load(&rig, rig.y, N);
    double off = 0;
    for (int i = 0; i < H; i++) {
        off += fabs(rig.out[i * 4 + 1] - week_at(&rig, N + i)) / H;
    }
    EXPECT(off < 20); /* a Friday's values would be off by 67 on average */
    EXPECT_INT(rig.report.shifts, 0);
    rig_close(&rig);
}

TEST(history_has_weekends_that_are_no_shifts)
{
    static struct rig rig;
    for (int days = 9; days < 17; days++) {
        rig_open(&rig);
        for (int t = 0; t < 48 * days; t++) {
            rig.y[t] = week_at(&rig, t);
        }
        rig_load(&rig, rig.y, 48 * days);
        EXPECT_INT(rig.report.shifts, 0);
        rig_close(&rig);
    }
}

TEST(history_has_a_shift_that_stays)
{
    static struct rig rig;
    rig_open(&rig);
    for (int t = 0; t < 48 * 12; t++) {
        double day = 100 + 60 * sin(6.283185307179586 * t / 48) + 2 * rng_normal(&rig.rng);
        rig.y[t] = t < 48 * 10 + 7 ? day : 3 * day;
    }
    rig_load(&rig, rig.y, 48 * 12);
    EXPECT_INT(rig.report.shifts, 1);
    for (int i = 0; i < H; i++) {
        EXPECT_NEAR(rig.out[i * 4 + 1], 300 + 180 * sin(6.283185307179586 * i / 48), 25);
    }
    rig_close(&rig);
}

/* The shift is suspected in the history and confirmed by live samples: what the rehearsal taught is still known then. */
TEST(history_ends_within_a_shift_and_the_rehearsal_counts)
{
    static struct rig rig;
    rig_open(&rig);
    for (int t = 0; t < 48 * 12 + 24; t++) {
        double day = 100 + 60 * sin(6.283185307179586 * t / 48) + 2 * rng_normal(&rig.rng);
        rig.y[t] = t < 48 * 12 - 5 ? day : 3 * day;
    }
    rig_load(&rig, rig.y, 48 * 12);
    int rehearsed = rig.report.point[0].matured;
    EXPECT(rehearsed > 100);
    EXPECT_INT(rig.report.shifts, 0);
    for (int t = 48 * 12; t < 48 * 12 + 24; t++) {
        online_sample(rig.online, rig.y[t], &rig.scratch);
    }
    online_look(rig.online, &rig.report);
    EXPECT_INT(rig.report.shifts, 1);
    for (int p = 0; p < rig.report.point_count; p++) {
        EXPECT(rig.report.point[p].matured >= rehearsed / 2);
        EXPECT(rig.report.point[p].basis != ONLINE_NAIVE);
    }
    rig_close(&rig);
}

TEST(history_leaves_out_what_was_before_a_series_began)
{
    static struct rig rig, bare;
    rig_open(&rig);
    rig_open(&bare);
    for (int t = 0; t < 1300; t++) {
        rig.y[t] = t < 900 ? 0 : 500 + 8 * rng_normal(&rig.rng);
    }
    rig_load(&rig, rig.y, 1300);
    rig_load(&bare, rig.y + 899, 401);
    for (int i = 0; i < H; i++) {
        EXPECT_NEAR(rig.out[i * 4 + 1], 500, 8);
        EXPECT(rig.out[i * 4] > 440 && rig.out[i * 4 + 3] < 560);
        EXPECT_NEAR(rig.out[i * 4 + 1], bare.out[i * 4 + 1], 4);
    }
    EXPECT_INT(rig.report.shifts, 0);
    rig_close(&rig);
    rig_close(&bare);
}

TEST(history_counts_from_the_beginning_when_it_comes_live)
{
    static struct rig rig;
    rig_open(&rig);
    memset(rig.y, 0, sizeof rig.y);
    rig_load(&rig, rig.y, 300);
    for (int t = 0; t < 300; t++) {
        online_sample(rig.online, 500 + 8 * rng_normal(&rig.rng), &rig.scratch);
        while (online_refit(rig.online, 1e9, &rig.scratch) == ONLINE_REFIT_MORE) {
        }
    }
    online_forecast(rig.online, H, rig.out, &rig.report, &rig.scratch);
    for (int i = 0; i < H; i++) {
        EXPECT_NEAR(rig.out[i * 4 + 1], 500, 12);
        EXPECT(rig.out[i * 4] > 400 && rig.out[i * 4 + 3] < 600);
    }
    rig_close(&rig);
}

/* A level that wanders with a memory of thirty steps: the errors of the rehearsal are worth three or four independent ones at the
 * horizon. The truth exceeds the upper level seldom from the first forecast on. */
TEST(history_of_few_errors_leaves_room_above)
{
    enum { SERIES = 16, N = 360 };
    double over = 0;
    for (int s = 0; s < SERIES; s++) {
        static struct rig rig;
        rig_open(&rig);
        rng_init(&rig.rng, (uint64_t)s + 1);
        double wander = 0;
        for (int t = 0; t < N + H; t++) {
            wander = 0.967 * wander + rng_normal(&rig.rng);
            rig.y[t] = 100 + 2 * wander + rng_normal(&rig.rng);
        }
        rig_load(&rig, rig.y, N);
        for (int i = 0; i < H; i++) {
            over += (double)(rig.y[N + i] > rig.out[i * 4 + 3]) / (SERIES * H);
        }
        rig_close(&rig);
    }
    EXPECT_MSG(over < 0.04, "%g of the truth is above the 0.95 level", over);
}

TEST(history_fits_without_a_spike_that_is_over)
{
    static struct rig rig;
    rig_open(&rig);
    for (int t = 0; t < 400; t++) {
        rig.y[t] = 500 + 8 * rng_normal(&rig.rng);
    }
    rig.y[396] = 9000;
    rig.y[397] = 15000;
    rig_load(&rig, rig.y, 400);
    for (int i = 0; i < H; i++) {
        EXPECT_NEAR(rig.out[i * 4 + 1], 500, 25);
        EXPECT(rig.out[i * 4 + 3] < 700);
    }
    rig_close(&rig);
}

TEST(history_keeps_the_last_of_a_history_too_long)
{
    static struct rig rig, short_rig;
    static double y[2 * HISTORY_MAX];
    rig_open(&rig);
    rig_open(&short_rig);
    for (int t = 0; t < 2 * HISTORY_MAX; t++) {
        y[t] = t < HISTORY_MAX ? 1e6 : week_at(&rig, t);
    }
    rig_load(&rig, y, 2 * HISTORY_MAX);
    rig_load(&short_rig, y + HISTORY_MAX, HISTORY_MAX);
    EXPECT_INT(rig.report.samples, 2 * HISTORY_MAX);
    for (int i = 0; i < H; i++) {
        EXPECT_NEAR(rig.out[i * 4 + 1], short_rig.out[i * 4 + 1], 6);
    }
    rig_close(&rig);
    rig_close(&short_rig);
}
