// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "load/keys.h"
#include "test.h"

enum { DRAWS = 400000, KEYS = 50 };

static struct key_chooser chooser_of(const char *text)
{
    struct key_chooser c;
    struct err_info info = {0};
    CHECK_MSG(key_chooser_parse(str_of(text), &c, &info) == ERR_OK, "%s", info.text);
    return c;
}

/* Largest distance between drawn and exact probabilities, in standard deviations of a draw's count. */
static double worst_deviation(const struct key_chooser *c, double exponent)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    double weight[KEYS];
    double total = 0.0;
    int64_t counts[KEYS] = {0};
    for (int i = 0; i < KEYS; i++) {
        weight[i] = pow(i + 1, -exponent);
        total += weight[i];
    }
    for (int i = 0; i < DRAWS; i++) {
        counts[key_chooser_draw(c, &rng, 0)]++;
    }
    double worst = 0.0;
    for (int i = 0; i < KEYS; i++) {
        double p = weight[i] / total;
        double z = fabs((double)counts[i] - DRAWS * p) / sqrt(DRAWS * p * (1.0 - p));
        worst = z > worst ? z : worst;
    }
    return worst;
}

TEST(zipf_draws_follow_the_power_law)
{
    static const char *const texts[] = {"zipf:0.5:50", "zipf:0.99:50", "zipf:1:50", "zipf:1.5:50",
                                        "zipf:3:50"};
    static const double exponents[] = {0.5, 0.99, 1.0, 1.5, 3.0};
    for (int i = 0; i < 5; i++) {
        struct key_chooser c = chooser_of(texts[i]);
        double z = worst_deviation(&c, exponents[i]);
        EXPECT_MSG(z < 4.5, "%s is %g standard deviations off", texts[i], z);
    }
}

TEST(uniform_draws_are_uniform)
{
    struct key_chooser c = chooser_of("uniform:50");
    EXPECT(worst_deviation(&c, 0.0) < 4.5);
}

TEST(drift_moves_the_hottest_key_with_time)
{
    struct key_chooser c = chooser_of("drift:2:50:10");
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int64_t step = 0; step < 60; step++) {
        int counts[KEYS] = {0};
        for (int i = 0; i < 400; i++) {
            counts[key_chooser_draw(&c, &rng, step * 10000)]++;
        }
        EXPECT_MSG(counts[step % KEYS] > 150, "step %lld", (long long)step);
    }
}

TEST(key_choice_that_makes_no_sense_is_refused)
{
    static const char *const bad[] = {"",
                                      "zipf",
                                      "zipf:1",
                                      "zipf:0:10",
                                      "zipf:1:0",
                                      "zipf:1:10:3",
                                      "uniform:0",
                                      "uniform:x",
                                      "drift:1:5",
                                      "drift:1:5:0",
                                      "zipf:nan:10",
                                      "pareto:1:2",
                                      "uniform:1e12"};
    for (ptrdiff_t i = 0; i < COUNT_OF(bad); i++) {
        struct key_chooser c;
        struct err_info info;
        EXPECT_MSG(key_chooser_parse(str_of(bad[i]), &c, &info) == ERR_PARSE, "'%s'", bad[i]);
    }
}
