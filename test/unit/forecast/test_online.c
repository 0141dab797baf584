// SPDX-License-Identifier: Apache-2.0
#include "forecast/online.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "test.h"

enum { SEASON = 96, H = 12, LEVELS = 4 };

struct rig {
    struct rng rng;
    struct arena home, scratch;
    struct online *online;
    double out[H * LEVELS];
};

static struct online_spec spec_of(int season)
{
    struct online_spec spec = online_defaults(900, H);
    spec.season = season;
    spec.history = 10 * SEASON;
    return spec;
}

static void rig_open(struct rig *rig, const struct online_spec *spec)
{
    rng_init(&rig->rng, test_seed());
    arena_init(&rig->home, 1 << 26);
    arena_init(&rig->scratch, 1 << 28);
    EXPECT_INT(online_new(spec, &rig->home, &rig->online, NULL), ERR_OK);
}

static void rig_close(struct rig *rig)
{
    online_release(rig->online);
    arena_release(&rig->home);
    arena_release(&rig->scratch);
}

static double load_at(struct rig *rig, int t)
{
    double shape = 100 + 40 * sin(6.283185307179586 * t / SEASON) + (t % SEASON == 30 ? 25 : 0);
    return shape + 3 * rng_normal(&rig->rng);
}

static struct online_report look(const struct rig *rig)
{
    struct online_report report;
    online_look(rig->online, &report);
    return report;
}

TEST(online_levels_hold_and_beat_the_naive_model_on_a_season)
{
    static double y[8 * SEASON];
    struct rig rig;
    struct online_spec spec = spec_of(SEASON);
    rig_open(&rig, &spec);
    for (int t = 0; t < 8 * SEASON; t++) {
        y[t] = load_at(&rig, t);
    }
    online_load(rig.online, y, 8 * SEASON, &rig.scratch);
    int below[LEVELS] = {0}, count = 0;
    for (int t = 8 * SEASON; t < 16 * SEASON; t++) {
        online_forecast(rig.online, H, rig.out, NULL, &rig.scratch);
        double now = load_at(&rig, t);
        for (int j = 0; j < LEVELS; j++) {
            below[j] += now <= rig.out[j];
        }
        count++;
        online_sample(rig.online, now, &rig.scratch);
        IGNORE_RESULT(
            online_refit(rig.online, 1e9, &rig.scratch)); /* its state is looked at below */
    }
    EXPECT_NEAR(below[0] / (double)count, 0.1, 0.03);
    EXPECT_NEAR(below[1] / (double)count, 0.5, 0.06);
    EXPECT_NEAR(below[2] / (double)count, 0.9, 0.03);
    EXPECT_NEAR(below[3] / (double)count, 0.95, 0.02);
    struct online_report report = look(&rig);
    EXPECT(report.beats_naive && report.point_count >= 4);
    const struct online_point *last = &report.point[report.point_count - 1];
    EXPECT_INT(last->steps, H);
    EXPECT_MSG(last->error < 4, "%g", last->error); /* the noise alone has 2.4 */
    EXPECT(last->error < 0.4 * last->error_naive);
    EXPECT_INT(report.shifts, 0);
    EXPECT(report.fits > 0 && report.fit_age <= spec.refit_every);
    rig_close(&rig);
}

TEST(online_does_not_believe_in_beating_the_naive_model_on_walks)
{
    static double y[500];
    double sum = 0;
    int count = 0, beaten = 0;
    struct rig rig;
    for (int round = 0; round < 8; round++) {
        struct online_spec spec = spec_of(1);
        rig_open(&rig, &spec);
        rng_init(&rig.rng, test_seed() + (uint64_t)round);
        double at = 1000;
        for (int t = 0; t < 500; t++) {
            y[t] = at += rng_normal(&rig.rng);
        }
        online_load(rig.online, y, 500, &rig.scratch);
        online_forecast(rig.online, H, rig.out, NULL, &rig.scratch);
        EXPECT_NEAR(rig.out[1], y[499], 3);
        struct online_report report = look(&rig);
        for (int p = 0; p < report.point_count; p++) {
            sum += report.point[p].loss / report.point[p].loss_naive;
            beaten += report.point[p].basis == ONLINE_ONE;
            count++;
        }
        rig_close(&rig);
    }
    /* the best there is of a walk is its last value: what looks better on one is chance */
    EXPECT_MSG(sum / count > 0.93, "%g", sum / count);
    EXPECT_MSG(beaten <= count / 8, "%d of %d", beaten, count);
}

TEST(online_moves_to_a_new_level_and_keeps_the_shape)
{
    static double y[6 * SEASON];
    struct rig rig;
    struct online_spec spec = spec_of(SEASON);
    rig_open(&rig, &spec);
    for (int t = 0; t < 6 * SEASON; t++) {
        y[t] = load_at(&rig, t);
    }
    online_load(rig.online, y, 6 * SEASON, &rig.scratch);
    EXPECT_INT(look(&rig).shifts, 0);
    double error = 0;
    int found = -1, count = 0;
    for (int t = 6 * SEASON; t < 8 * SEASON; t++) {
        if (found >= 0 && t < 6 * SEASON + 60) {
            online_forecast(rig.online, H, rig.out, NULL, &rig.scratch);
            struct rig quiet = rig; /* the truth H steps on, without noise */
            double truth = 2 * (load_at(&quiet, t + H - 1));
            error += fabs(truth - rig.out[(H - 1) * LEVELS + 1]);
            count++;
        }
        online_sample(rig.online, 2 * load_at(&rig, t), &rig.scratch);
        IGNORE_RESULT(online_refit(rig.online, 1e9, &rig.scratch));
        found = found < 0 && look(&rig).shifts > 0 ? t - 6 * SEASON : found;
    }
    EXPECT_MSG(found >= 0 && found < 24, "found after %d samples", found);
    EXPECT_INT(look(&rig).shifts, 1);
    EXPECT(count > 20);
    EXPECT_MSG(error / count < 25, "%g",
               error / count); /* the shift was 60 to 140, the season swings by 160 */
    rig_close(&rig);
}

/* An outage of 30 samples; a season later the samples are as usual and the outage is what they are held against. */
TEST(online_does_not_take_the_echo_of_an_outage_for_a_shift)
{
    enum { START = 3 * SEASON + 20, LENGTH = 30, END = START + 3 * SEASON };
    struct rig rig;
    struct online_spec spec = spec_of(SEASON);
    double y[END], error = 0;
    int counted = 0;
    spec.history =
        2 * SEASON + SEASON / 2; /* one season before is all that is in sight of most samples */
    rig_open(&rig, &spec);
    for (int t = 0; t < END; t++) {
        y[t] = load_at(&rig, t) * (t >= START && t < START + LENGTH ? 0.01 : 1);
    }
    online_load(rig.online, y, START, &rig.scratch);
    int shifts = 0;
    for (int t = START; t < END; t++) {
        if (t >= START + SEASON) {
            online_forecast(rig.online, 1, rig.out, NULL, &rig.scratch);
            error += fabs(y[t] - rig.out[1]);
            counted++;
        }
        online_sample(rig.online, y[t], &rig.scratch);
        IGNORE_RESULT(online_refit(rig.online, 1e9, &rig.scratch));
        shifts = t == START + SEASON / 2 ? look(&rig).shifts : shifts;
    }
    EXPECT_INT(look(&rig).shifts, shifts); /* down and up again may count, its echo may not */
    EXPECT_MSG(error / counted < 6, "mean error %g, noise 3", error / counted);
    rig_close(&rig);
}

TEST(online_forgives_outliers_gaps_and_rubbish)
{
    static const double rubbish[] = {(double)NAN, (double)INFINITY, -(double)INFINITY,
                                     1e300,       -1e300,           1e12};
    struct rig rig;
    struct online_spec spec = spec_of(SEASON);
    rig_open(&rig, &spec);
    int bad = 0;
    for (int t = 0; t < 8 * SEASON; t++) {
        double y = load_at(&rig, t);
        if (t % 61 == 7) {
            y = rubbish[bad++ % COUNT_OF(rubbish)];
        }
        online_sample(rig.online, y, &rig.scratch);
        IGNORE_RESULT(online_refit(rig.online, 1e9, &rig.scratch));
        if (t > 40) {
            online_forecast(rig.online, H, rig.out, NULL, &rig.scratch);
            for (int i = 0; i < H * LEVELS; i++) {
                EXPECT(isfinite(rig.out[i]));
                EXPECT(i % LEVELS == 0 || rig.out[i] >= rig.out[i - 1]);
            }
        }
    }
    struct online_report report = look(&rig);
    EXPECT(report.missing > 0 && report.outliers > 0);
    EXPECT_INT(report.shifts, 0);
    EXPECT_MSG(fabs(rig.out[(H - 1) * LEVELS + 1] - 100) < 80, "%g", rig.out[(H - 1) * LEVELS + 1]);
    rig_close(&rig);
}

TEST(online_with_few_samples_repeats_the_last_with_its_errors)
{
    struct rig rig;
    struct online_spec spec = spec_of(0);
    rig_open(&rig, &spec);
    online_forecast(rig.online, 1, rig.out, NULL, &rig.scratch);
    EXPECT(isnan(rig.out[0]));
    EXPECT_INT(look(&rig).point[0].basis, ONLINE_NOTHING);
    for (int t = 0; t < 20; t++) {
        online_sample(rig.online, t % 2 == 0 ? 10 : 14, &rig.scratch);
    }
    online_forecast(rig.online, H, rig.out, NULL, &rig.scratch);
    EXPECT_INT(look(&rig).point[0].basis, ONLINE_FEW_SAMPLES);
    EXPECT_NEAR(rig.out[0], 10, 1e-9);      /* 14 less the 4 that it falls half of the time */
    EXPECT_NEAR(rig.out[3], 18, 1e-9);      /* ... or rises */
    EXPECT_NEAR(rig.out[LEVELS], 14, 1e-9); /* two steps on it has always come back */
    rig_close(&rig);
}

TEST(online_refits_within_its_work_and_keeps_the_last_good_model)
{
    struct rig rig;
    struct online_spec spec = spec_of(SEASON);
    spec.fit_work_max = 3000; /* no search for orders fits into this over 960 samples */
    rig_open(&rig, &spec);
    double most = 0, before = 0;
    int more = 0;
    for (int t = 0; t < 10 * SEASON; t++) {
        online_sample(rig.online, load_at(&rig, t), &rig.scratch);
        enum online_refit_state state = online_refit(rig.online, 2000, &rig.scratch);
        more += state == ONLINE_REFIT_MORE;
        double work = look(&rig).work;
        most = fmax(most, work - before);
        before = work;
    }
    struct online_report report = look(&rig);
    EXPECT_MSG(most <= spec.fit_work_max + 2000, "%g", most);
    EXPECT(more > 0 && report.fits_shortened > 0 && report.fits > 20);
    EXPECT(report.beats_naive);
    rig_close(&rig);
}

TEST(online_gives_the_same_for_the_same)
{
    double first[H * LEVELS];
    for (int round = 0; round < 2; round++) {
        struct rig rig;
        struct online_spec spec = spec_of(0);
        rig_open(&rig, &spec);
        for (int t = 0; t < 400; t++) {
            online_sample(rig.online, load_at(&rig, t), &rig.scratch);
            IGNORE_RESULT(online_refit(rig.online, 500, &rig.scratch));
        }
        online_forecast(rig.online, H, rig.out, NULL, &rig.scratch);
        if (round == 1) {
            EXPECT_INT(memcmp(first, rig.out, sizeof first), 0);
        }
        memcpy(first, rig.out, sizeof first);
        rig_close(&rig);
    }
}

TEST(online_refuses_a_spec_that_does_not_hold_together)
{
    struct arena arena;
    struct online *online;
    struct err_info info;
    arena_init(&arena, 1 << 20);
    struct online_spec spec = spec_of(0);
    spec.horizon = 0;
    EXPECT_INT(online_new(&spec, &arena, &online, &info), ERR_LIMIT);
    spec = spec_of(0);
    spec.level[1] = 0.05;
    EXPECT_INT(online_new(&spec, &arena, &online, &info), ERR_INVALID);
    EXPECT(strstr(info.text, "level 1") != NULL);
    spec = spec_of(0);
    spec.step_s = (double)NAN;
    EXPECT_INT(online_new(&spec, &arena, &online, &info), ERR_INVALID);
    arena_release(&arena);
}
