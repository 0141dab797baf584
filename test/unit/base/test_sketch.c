// SPDX-License-Identifier: Apache-2.0
#include "base/sketch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "test.h"

enum { KEYS = 2000 };

struct heavy_model {
    uint64_t weight[KEYS];
    uint64_t total;
};

static uint64_t key_hash(uint32_t key)
{
    return hash64(&key, sizeof(key));
}

/* Keys by 1/rank: some are heavy, most are not. */
static uint32_t draw_key(struct rng *rng)
{
    return (uint32_t)(exp(rng_unit(rng) * log(KEYS)) - 1);
}

static void feed(struct heavy *heavy, struct heavy_model *model, struct rng *rng, int n)
{
    for (int i = 0; i < n; i++) {
        uint32_t key = draw_key(rng);
        uint64_t weight = rng_below(rng, 4) == 0 ? rng_below(rng, 20) : 1;
        heavy_add(heavy, key_hash(key), (struct str){(const char *)&key, sizeof(key)}, weight);
        model->weight[key] += weight;
        model->total += weight;
    }
}

/* S1 and S2 against the exact counts. */
static const char *heavy_wrong(const struct heavy *heavy, const struct heavy_model *model,
                               int32_t k)
{
    static struct heavy_entry entries[HEAVY_CAPACITY_MAX];
    int32_t n = heavy_top(heavy, entries, k);
    bool found[KEYS] = {false};
    for (int32_t i = 0; i < n; i++) {
        uint32_t key = 0;
        memcpy(&key, entries[i].key, sizeof(key));
        if (entries[i].hash != key_hash(key) || entries[i].key_len != sizeof(key) || found[key]) {
            return "an entry is not its key's, or twice";
        }
        if (i > 0 && entries[i - 1].count < entries[i].count) {
            return "not heaviest first";
        }
        found[key] = true;
        if (model->weight[key] > entries[i].count ||
            entries[i].count - entries[i].error > model->weight[key]) {
            return "S1: the true weight is outside [count - error, count]";
        }
    }
    for (uint32_t key = 0; key < KEYS; key++) {
        if (!found[key] && model->weight[key] > model->total / (uint64_t)k) {
            return "S2: a heavy key is no entry";
        }
    }
    return NULL;
}

TEST(heavy_keeps_its_promises_against_exact_counts)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int32_t k = 1; k <= 300; k = k * 2 + 1) {
        struct heavy *heavy = heavy_new(k);
        struct heavy_model model = {0};
        for (int round = 0; round < 10; round++) {
            feed(heavy, &model, &rng, 2000);
            const char *wrong = heavy_wrong(heavy, &model, k);
            EXPECT_MSG(wrong == NULL, "k %d: %s", k, wrong);
        }
        EXPECT(heavy_total(heavy) == model.total);
        heavy_free(heavy);
    }
    heavy_free(NULL);
}

TEST(heavy_merge_keeps_them_too)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int32_t k = 4; k <= 256; k *= 4) {
        struct heavy *a = heavy_new(k), *b = heavy_new(k);
        struct heavy_model model = {0};
        feed(a, &model, &rng, 5000);
        feed(b, &model, &rng, 3000);
        heavy_merge(a, b);
        const char *wrong = heavy_wrong(a, &model, k);
        EXPECT_MSG(wrong == NULL, "k %d: %s", k, wrong);
        feed(a, &model, &rng, 3000);
        EXPECT(heavy_wrong(a, &model, k) == NULL && heavy_total(a) == model.total);
        heavy_free(a);
        heavy_free(b);
    }
}

TEST(heavy_halving_forgets_old_weight)
{
    struct heavy *heavy = heavy_new(8);
    for (uint64_t i = 0; i < 4; i++) {
        heavy_add(heavy, i, STR("key"), 1 << i);
    }
    heavy_halve(heavy);
    struct heavy_entry top[8];
    EXPECT_INT(heavy_top(heavy, top, 8), 3);
    EXPECT(top[0].hash == 3 && top[0].count == 4 && top[2].hash == 1 && top[2].count == 1);
    EXPECT_INT(heavy_total(heavy), 7);
    EXPECT_INT(heavy_top(heavy, top, 1), 1);
    heavy_clear(heavy);
    EXPECT_INT(heavy_top(heavy, top, 8), 0);
    heavy_free(heavy);
}

TEST(heavy_keeps_the_beginning_of_long_keys)
{
    char key[100];
    memset(key, 'k', sizeof(key));
    struct heavy *heavy = heavy_new(2);
    struct heavy_entry top;
    heavy_add(heavy, 1, (struct str){key, sizeof(key)}, 1);
    heavy_add(heavy, 1, STR(""), 1);
    EXPECT_INT(heavy_top(heavy, &top, 1), 1);
    EXPECT(top.key_len == 100 && top.count == 2 && top.key[HEAVY_KEY_BYTES - 1] == 'k');
    heavy_free(heavy);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

TEST(histogram_quantiles_are_within_a_bucket_of_the_exact_ones)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    static struct histogram h;
    static int64_t values[20000];
    h = (struct histogram){0};
    for (int i = 0; i < COUNT_OF(values); i++) {
        values[i] = (int64_t)exp(rng_unit(&rng) * 30);
        histogram_add(&h, values[i], 1);
    }
    qsort(values, COUNT_OF(values), sizeof(values[0]), by_value);
    for (int i = 0; i <= 1000; i++) {
        double q = i / 1000.0;
        ptrdiff_t rank = (ptrdiff_t)ceil(q * (double)COUNT_OF(values));
        int64_t exact = values[rank > 0 ? rank - 1 : 0];
        int64_t got = histogram_quantile(&h, q);
        EXPECT_MSG(fabs((double)(got - exact)) <= 1 + (double)exact / 32, "q %g: %lld, exact %lld",
                   q, (long long)got, (long long)exact);
    }
    EXPECT(h.min == values[0] && h.max == values[COUNT_OF(values) - 1]);
}

TEST(histogram_takes_all_values_and_merges_and_diffs)
{
    static struct histogram a, b, diff;
    a = b = (struct histogram){0};
    EXPECT_INT(histogram_quantile(&a, 0.5), 0);
    EXPECT_NEAR(histogram_mean(&a), 0, 0);
    int64_t ends[] = {-5, 0, 1, 31, 32, 33, 63, 64, INT64_MAX / 2, INT64_MAX};
    for (int i = 0; i < COUNT_OF(ends); i++) {
        histogram_add(&a, ends[i], 1);
    }
    EXPECT(a.min == 0 && a.max == INT64_MAX && a.count == 10);
    EXPECT(histogram_quantile(&a, 1) == INT64_MAX && histogram_quantile(&a, 0) == 0);
    b = a;
    histogram_add(&b, 7, 5);
    histogram_add(&b, 20, 3);
    histogram_add(&b, 20, 0);
    histogram_diff(&b, &a, &diff);
    EXPECT(diff.count == 8 && diff.sum == 95 && diff.min == 7 && diff.max == 20);
    EXPECT_INT(histogram_quantile(&diff, 0.5), 7);
    EXPECT_INT(histogram_quantile(&diff, 0.9), 20);
    EXPECT_NEAR(histogram_mean(&diff), 95.0 / 8, 1e-12);
    histogram_merge(&a, &diff);
    EXPECT(a.count == b.count && memcmp(a.buckets, b.buckets, sizeof(a.buckets)) == 0);
    static struct histogram empty;
    histogram_merge(&a, &empty);
    EXPECT(a.min == 0 && a.count == b.count);
}

TEST(ewma_is_right_from_the_start_and_follows_a_change)
{
    struct ewma e;
    int64_t ms = 1000000;
    ewma_init(&e, 1000 * ms, 0);
    EXPECT_NEAR(ewma_per_s(&e, 0), 0, 0);
    int64_t now = 0;
    for (int i = 0; i < 100; i++) {
        now += ms;
        ewma_add(&e, 5, now);
    }
    EXPECT_NEAR(ewma_per_s(&e, now), 5000, 50); /* a tenth of a half-life has passed */
    for (int i = 0; i < 10000; i++) {
        now += ms;
        ewma_add(&e, 5, now);
    }
    EXPECT_NEAR(ewma_per_s(&e, now), 5000, 10);
    EXPECT_NEAR(ewma_per_s(&e, now + 1000 * ms), 2500, 10);
    for (int i = 0; i < 1000; i++) {
        now += ms;
        ewma_add(&e, 15, now);
    }
    EXPECT_NEAR(ewma_per_s(&e, now), 10000, 50);
}

/* T1 and T2: a lane that runs whenever it may, pieces of random length, against the promise over the whole run. */
TEST(cpu_bucket_holds_a_greedy_lane_to_its_capacity)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int64_t ppm = 10000; ppm < CPU_BUCKET_WHOLE_PPM; ppm *= 3) {
        struct cpu_bucket bucket;
        cpu_bucket_init(&bucket, ppm, 2000000, 0);
        int64_t now = 0, used = 0, last = 0;
        while (now < 10000000000) {
            last = rng_range(&rng, 0, 500000);
            now += last;
            used += last;
            int64_t next = cpu_bucket_take(&bucket, now, last);
            EXPECT(next >= now);
            now = next + (rng_below(&rng, 50) == 0 ? rng_range(&rng, 0, 5000000) : 0);
        }
        double allowed = (double)ppm * 1e-6 * (double)now;
        EXPECT_MSG((double)used <= allowed + 2000000 + (double)last + 1, "ppm %lld: used %lld",
                   (long long)ppm, (long long)used);
        EXPECT_MSG((double)used >= 0.9 * allowed * (ppm < 300000 ? 1 : 0.9),
                   "ppm %lld: used %lld of %g", (long long)ppm, (long long)used, allowed);
    }
}

TEST(cpu_bucket_edges)
{
    struct cpu_bucket bucket;
    cpu_bucket_init(&bucket, 250000, 2000000, 1000);
    EXPECT_INT(cpu_bucket_take(&bucket, 1000, 2000000), 1000); /* the burst */
    EXPECT_INT(cpu_bucket_take(&bucket, 1000, 1), 1004);       /* a quarter of a core: 4 ns each */
    EXPECT_INT(cpu_bucket_take(&bucket, 900, 0), 904); /* time that steps back gives nothing */
    EXPECT_INT(cpu_bucket_take(&bucket, INT64_MAX / 2, 0), INT64_MAX / 2);
    EXPECT_INT(bucket.tokens, bucket.burst);
    EXPECT(cpu_bucket_take(&bucket, INT64_MAX / 2, INT64_MAX) <= INT64_MAX / 2 + 4000000000);
    cpu_bucket_set(&bucket, CPU_BUCKET_WHOLE_PPM, INT64_MAX / 2);
    EXPECT_INT(cpu_bucket_take(&bucket, INT64_MAX / 2, 5),
               INT64_MAX / 2); /* a whole core waits for nobody */
}
