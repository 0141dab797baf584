// SPDX-License-Identifier: Apache-2.0
#include <jansson.h>
#include <math.h>

#include "load/generator.h"
#include "test.h"

static double values[] = {10.0, 0.0, NAN, 2.5, 2.5, 100.0};
static const struct trace trace = {
    .count = 6, .start_ms = 1000000, .step_ms = 60000, .values = values};

static struct generator_options options_of(enum record_shape shape)
{
    struct generator_options options = {.trace = &trace,
                                        .shape = shape,
                                        .rate_scale = 3.0,
                                        .speed = 60.0,
                                        .until_ms = INT64_MAX,
                                        .seed = test_seed()};
    CHECK(key_chooser_parse(STR("zipf:1.1:1000"), &options.keys, NULL) == ERR_OK);
    return options;
}

TEST(as_many_records_as_the_trace_says_in_each_step)
{
    struct generator_options options = options_of(SHAPE_CLICK);
    struct generator g;
    struct generated r;
    generator_init(&g, &options);
    int64_t counts[6] = {0};
    int64_t last_ns = -1;
    while (generator_next(&g, &r)) {
        int64_t step = (r.time_ms - trace.start_ms) / trace.step_ms;
        EXPECT(step >= 0 && step < 6);
        EXPECT(r.due_ns >= last_ns);
        EXPECT(llabs(r.due_ns - (r.time_ms - trace.start_ms) * 1000000 / 60) <= 1000000);
        last_ns = r.due_ns;
        counts[step]++;
    }
    EXPECT_INT(counts[0], 30);
    EXPECT_INT(counts[1] + counts[2], 0);
    EXPECT_INT(counts[3] + counts[4], 15); /* 7.5 each: the half is carried over */
    EXPECT_INT(counts[5], 300);
}

TEST(same_seed_same_bytes_other_seed_other_bytes)
{
    struct generator_options options = options_of(SHAPE_ORDER);
    struct generator a;
    struct generator b;
    struct generator c;
    generator_init(&a, &options);
    generator_init(&b, &options);
    options.seed++;
    generator_init(&c, &options);
    struct generated x;
    struct generated y;
    struct generated z;
    bool differs = false;
    while (generator_next(&a, &x)) {
        EXPECT(generator_next(&b, &y) && generator_next(&c, &z));
        EXPECT_INT(x.value_len, y.value_len);
        EXPECT(memcmp(x.value, y.value, (size_t)x.value_len) == 0);
        differs = differs || x.value_len != z.value_len ||
                  memcmp(x.value, z.value, (size_t)x.value_len) != 0;
    }
    EXPECT(differs);
}

TEST(values_are_json_that_agrees_with_key_and_time)
{
    static const char *const key_fields[] = {"user", "customer"};
    for (int shape = 0; shape < 2; shape++) {
        struct generator_options options = options_of((enum record_shape)shape);
        options.jitter_ms = 5000;
        struct generator g;
        struct generated r;
        generator_init(&g, &options);
        while (generator_next(&g, &r)) {
            json_t *value = json_loadb(r.value, (size_t)r.value_len, 0, NULL);
            EXPECT(value != NULL);
            EXPECT_INT(json_integer_value(json_object_get(value, "ts")), r.time_ms);
            EXPECT_STR(str_of(json_string_value(json_object_get(value, key_fields[shape]))),
                       ((struct str){r.key, r.key_len}));
            json_decref(value);
        }
    }
}

TEST(until_ends_the_play_early)
{
    struct generator_options options = options_of(SHAPE_CLICK);
    options.until_ms = 60000;
    struct generator g;
    struct generated r;
    generator_init(&g, &options);
    int64_t count = 0;
    while (generator_next(&g, &r)) {
        count++;
    }
    EXPECT_INT(count, 30);
    EXPECT_INT(g.made, 30);
}
