// SPDX-License-Identifier: Apache-2.0
// What the online forecaster keeps of what it knew when the series is no longer what it was.
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "forecast/num.h"
#include "forecast/online_priv.h"
#include "test.h"

enum { H = 12, LEVELS = 4, TRIALS = 4 };

struct rig {
    struct rng rng;
    struct arena home, scratch;
    struct online *online;
};

static void rig_open(struct rig *rig, int season, uint64_t trial)
{
    struct online_spec spec = online_defaults(1800, H);
    spec.season = season;
    rng_init(&rig->rng, test_seed() + trial);
    arena_init(&rig->home, 1 << 26);
    arena_init(&rig->scratch, 1 << 28);
    EXPECT_INT(online_new(&spec, &rig->home, &rig->online, NULL), ERR_OK);
}

static void rig_close(struct rig *rig)
{
    online_release(rig->online);
    arena_release(&rig->home);
    arena_release(&rig->scratch);
}

/* Scores `count` truths N(0, noise) of forecasts that say N(0, width), one step ahead; the share below each level. */
static void score_noise(struct rig *rig, double width, double noise, int count, double *ret_below)
{
    struct online *online = rig->online;
    struct point *point = &online->point[0];
    double before[LEVELS];
    memcpy(before, point->live_below, sizeof before);
    for (int i = 0; i < count; i++) {
        struct issue *issue = &point->slot[online->seen % point->slot_count];
        issue->target = online->seen;
        for (int j = 0; j < LEVELS; j++) {
            issue->base[j] = (float)(width * num_normal_quantile(online->spec.level[j]));
            issue->median[j] = issue->base[j];
        }
        online_hand_out(online, point);
        online->seen++;
        online_score(online, noise * rng_normal(&rig->rng));
    }
    for (int j = 0; j < LEVELS; j++) {
        ret_below[j] = (point->live_below[j] - before[j]) / count;
    }
}

TEST(levels_come_in_from_far_when_errors_become_small)
{
    for (uint64_t trial = 0; trial < TRIALS; trial++) {
        struct rig rig;
        double below[LEVELS];
        rig_open(&rig, 1, trial);
        score_noise(&rig, 100, 100, 400, below);
        EXPECT_NEAR(below[2], 0.9, 0.05);
        score_noise(&rig, 100, 2, 2000, below); /* the models go on as they were */
        score_noise(&rig, 100, 2, 2000, below);
        EXPECT_NEAR(below[0], 0.1, 0.02);
        EXPECT_NEAR(below[1], 0.5, 0.03);
        EXPECT_NEAR(below[2], 0.9, 0.02);
        EXPECT_NEAR(below[3], 0.95, 0.02);
        rig_close(&rig);
    }
}

TEST(levels_come_in_from_far_beyond_the_usual_errors)
{
    for (uint64_t trial = 0; trial < TRIALS; trial++) {
        struct rig rig;
        double below[LEVELS];
        rig_open(&rig, 1, trial);
        score_noise(&rig, 1000, 2, 7000, below); /* models that a spike has made wide */
        score_noise(&rig, 1000, 2, 2000, below);
        EXPECT_NEAR(below[0], 0.1, 0.02);
        EXPECT_NEAR(below[2], 0.9, 0.02);
        EXPECT_NEAR(below[3], 0.95, 0.02);
        rig_close(&rig);
    }
}

static const struct member *member_of(const struct rig *rig, enum model model)
{
    for (int m = 0; m < rig->online->member_count; m++) {
        if (rig->online->member[m].fit.model == model) {
            return &rig->online->member[m];
        }
    }
    return NULL;
}

TEST(levels_are_of_the_same_scale_when_the_season_comes)
{
    enum { SEASON = 96, HISTORY = 180 };
    int logarithms = 0;
    for (uint64_t trial = 0; trial < TRIALS; trial++) {
        struct rig rig;
        double y[HISTORY];
        rig_open(&rig, SEASON, trial);
        for (int t = 0; t < HISTORY; t++) {
            y[t] = 1e4 * exp(2 * rng_normal(&rig.rng));
        }
        online_load(rig.online, y, HISTORY, &rig.scratch); /* too short for the season */
        EXPECT(member_of(&rig, MODEL_STL) == NULL);
        bool log1p = member_of(&rig, MODEL_ETS)->fit.log1p;
        logarithms += log1p;
        for (int t = 0; t < SEASON; t++) {
            online_sample(rig.online, 1e4 * exp(2 * rng_normal(&rig.rng)), &rig.scratch);
            while (online_refit(rig.online, 1e6, &rig.scratch) == ONLINE_REFIT_MORE) {
            }
        }
        EXPECT(member_of(&rig, MODEL_STL) != NULL);
        EXPECT_INT(member_of(&rig, MODEL_ETS)->fit.log1p, log1p);
        EXPECT(member_of(&rig, MODEL_ETS)->there);
        EXPECT(!member_of(&rig, MODEL_NAIVE)->fit.log1p);
        rig_close(&rig);
    }
    EXPECT(logarithms > 0);
}
