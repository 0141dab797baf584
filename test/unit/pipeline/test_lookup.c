// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"
#include "base/rng.h"
#include "pipeline/lookup_table.h"
#include "test.h"

static struct str find(const struct lookup_table *table, const char *key)
{
    struct str text = str_of(key);
    return lookup_table_find(table, hash64(text.ptr, text.len), text);
}

TEST(lookup_table_reads_json_lines_by_string_or_integer_key)
{
    struct lookup_builder *builder = lookup_builder_new();
    struct err_info info;
    EXPECT_INT(lookup_builder_add_text(builder, STR("f"), STR("json"), STR("id"),
                                       STR("{\"id\":\"a\",\"v\":1}\n\n {\"v\":2,\"id\":7}\r\n"),
                                       &info),
               ERR_OK);
    struct lookup_table *table = lookup_table_new(builder);
    EXPECT_INT(lookup_table_count(table), 2);
    EXPECT_STR(find(table, "a"), STR("{\"id\":\"a\",\"v\":1}"));
    EXPECT_STR(find(table, "7"), STR("{\"v\":2,\"id\":7}"));
    EXPECT(find(table, "b").ptr == NULL);
    EXPECT_INT(lookup_builder_add_text(builder, STR("f"), STR("json"), STR("id"),
                                       STR("{\"id\":\"c\"}\n{\"id\":true}"), &info),
               ERR_PARSE);
    EXPECT(str_starts_with(str_of(info.text), STR("f:2: ")));
    lookup_table_unref(table);
    lookup_builder_free(builder);
}

TEST(lookup_table_reads_csv_with_quotes)
{
    struct lookup_builder *builder = lookup_builder_new();
    struct err_info info;
    struct str text = STR("id,name,rate\n1,\"a \"\"b\"\", c\",2.5\n2,,\n");
    EXPECT_INT(lookup_builder_add_text(builder, STR("f"), STR("csv"), STR("id"), text, &info),
               ERR_OK);
    struct lookup_table *table = lookup_table_new(builder);
    EXPECT_STR(find(table, "1"),
               STR("{\"id\":\"1\",\"name\":\"a \\\"b\\\", c\",\"rate\":\"2.5\"}"));
    EXPECT_STR(find(table, "2"), STR("{\"id\":\"2\",\"name\":\"\",\"rate\":\"\"}"));
    lookup_table_unref(table);
    EXPECT_INT(
        lookup_builder_add_text(builder, STR("f"), STR("csv"), STR("id"), STR("id,a\n1\n"), &info),
        ERR_PARSE);
    EXPECT_INT(
        lookup_builder_add_text(builder, STR("f"), STR("csv"), STR("key"), STR("id,a\n"), &info),
        ERR_PARSE);
    lookup_builder_free(builder);
}

TEST(lookup_table_snapshots_hold_what_was_put_last)
{
    enum { KEYS = 300 };
    struct rng rng;
    rng_init(&rng, test_seed());
    struct lookup_builder *builder = lookup_builder_new();
    int want[KEYS] = {0}; // 0: absent
    for (int step = 1; step < 20000; step++) {
        int which = (int)rng_below(&rng, KEYS);
        char key[16];
        char value[16];
        snprintf(key, sizeof key, "k%d", which);
        snprintf(value, sizeof value, "%d", step);
        bool remove = rng_chance(&rng, 0.3);
        want[which] = remove ? 0 : step;
        EXPECT_INT(lookup_builder_put(builder, str_of(key),
                                      remove ? (struct str){0} : str_of(value), NULL),
                   ERR_OK);
        if (step % 1000 != 0) {
            continue;
        }
        struct lookup_table *table = lookup_table_new(builder);
        EXPECT_INT(lookup_table_count(table), lookup_builder_count(builder));
        for (int i = 0; i < KEYS; i++) {
            snprintf(key, sizeof key, "k%d", i);
            snprintf(value, sizeof value, "%d", want[i]);
            EXPECT_STR(find(table, key), want[i] == 0 ? (struct str){0} : str_of(value));
        }
        lookup_table_unref(table);
    }
    lookup_builder_free(builder);
}
