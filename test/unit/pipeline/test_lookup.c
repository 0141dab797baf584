// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "base/hash.h"
#include "base/rng.h"
#include "chain_fixture.h"
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

enum { JOINED_ROWS = 60, JOINED_ROUNDS = 40 };

/* A table with rows k0 .. k59: {"name":"<prefix>-A-<i>","n":<i>}; every seventh has no name, every eleventh a bad n. */
static struct lookup_table *table_of(struct arena *arena, const char *prefix)
{
    struct lookup_builder *builder = lookup_builder_new();
    for (int i = 0; i < JOINED_ROWS; i++) {
        const char *key = arena_printf(arena, "k%d", i);
        const char *n = i % 11 == 10 ? "\"bad\"" : arena_printf(arena, "%d", i);
        const char *name =
            i % 7 == 6 ? "" : arena_printf(arena, "\"name\":\"%s-\\u0041-%d\",", prefix, i);
        const char *value = arena_printf(arena, "{%s\"n\":%s}", name, n);
        CHECK(lookup_builder_put(builder, str_of(key), str_of(value), NULL) == ERR_OK);
    }
    struct lookup_table *table = lookup_table_new(builder);
    lookup_builder_free(builder);
    return table;
}

/* What a record {"user":"k<i>"} becomes: empty if it is dropped or refused. */
static const char *joined_text(struct arena *arena, const char *prefix, int64_t i)
{
    if (i >= JOINED_ROWS || i % 11 == 10) {
        return "";
    }
    const char *name =
        i % 7 == 6 ? "null" : arena_printf(arena, "\"%s-A-%lld\"", prefix, (long long)i);
    return arena_printf(arena, "{\"user\":\"k%lld\",\"name\":%s,\"n\":%lld}", (long long)i, name,
                        (long long)i);
}

static void check_joined(struct fixture *f, struct rng *rng, const char *prefix)
{
    enum { BATCH = 50 };
    struct str values[BATCH];
    const char *expected[BATCH];
    int32_t count = 0;
    for (int32_t i = 0; i < BATCH; i++) {
        int64_t user = (int64_t)rng_below(rng, JOINED_ROWS + 5);
        values[i] = str_of(arena_printf(&f->rows, "{\"user\": \"k%lld\"}", (long long)user));
        const char *text = joined_text(&f->rows, prefix, user);
        expected[count] = text;
        count += text[0] != 0;
    }
    EXPECT_INT(chain_process(f->chain, 0, fixture_batch(f, values, BATCH), f->out, &f->info),
               ERR_OK);
    EXPECT_INT(fixture_count(f, OUTPUT_MAIN), count);
    for (int32_t i = 0; i < count; i++) {
        EXPECT_STR(fixture_value(f, OUTPUT_MAIN, i), str_of(expected[i]));
    }
    chain_out_reset(f->out);
    arena_reset(&f->rows);
}

/* Runs batches with two snapshots of the table, one after the other, through a cache of this size. */
static void check_cache(const char *size)
{
    struct arena arena;
    arena_init(&arena, 8 << 20);
    struct lookup_table *tables[] = {table_of(&arena, "old"), table_of(&arena, "new")};
    const char *chain = arena_printf(
        &arena,
        "[{parse: {fields: {user: string}}}, {lookup: {table: {file: t.json, key: id}, on: user, "
        "fields: {name: string, n: int}, missing: drop, cache: %s}}]",
        size);
    struct fixture f;
    EXPECT_MSG(fixture_open(&f, fixture_yaml(&arena, chain), 0), "%s", f.info.text);
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int round = 0; round < JOINED_ROUNDS; round++) {
        int which = round < JOINED_ROUNDS / 2 ? 0 : 1;
        f.tables[0] = tables[which];
        check_joined(&f, &rng, which == 0 ? "old" : "new");
    }
    fixture_close(&f);
    lookup_table_unref(tables[0]);
    lookup_table_unref(tables[1]);
    arena_release(&arena);
}

TEST(lookup_adds_the_fields_of_the_present_table_whatever_its_cache_holds)
{
    check_cache("0");
    check_cache("2KiB"); // fewer places than rows, texts that fill up
    check_cache("1MiB");
}

TEST(lookup_without_its_table_waits)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct fixture f;
    EXPECT(fixture_open(
        &f, fixture_yaml(&arena, "[{lookup: {table: {file: t.json, key: id}, fields: {n: int}}}]"),
        0));
    struct str value = STR("{}");
    EXPECT_INT(chain_process(f.chain, 0, fixture_batch(&f, &value, 1), f.out, &f.info), ERR_AGAIN);
    fixture_close(&f);
    arena_release(&arena);
}

TEST(lookup_of_a_missing_key_is_null_or_rejected_as_asked)
{
    static const char *const missing[] = {"null", "reject"};
    for (int i = 0; i < 2; i++) {
        struct arena arena;
        arena_init(&arena, 1 << 20);
        struct lookup_table *table = table_of(&arena, "t");
        const char *chain = arena_printf(&arena,
                                         "[{lookup: {table: {file: t.json, key: id}, fields: {n: "
                                         "int}, missing: %s}}]",
                                         missing[i]);
        struct fixture f;
        EXPECT(fixture_open(&f, fixture_yaml(&arena, chain), 0));
        f.tables[0] = table;
        struct str values[2] = {STR("{}"), STR("{}")}; // their keys are k0 and k1
        struct batch *batch = fixture_batch(&f, values, 2);
        batch->key[1] = STR("nobody");
        batch->hash[1] = hash64("nobody", 6);
        EXPECT_INT(chain_process(f.chain, 0, batch, f.out, &f.info), ERR_OK);
        EXPECT_STR(fixture_value(&f, OUTPUT_MAIN, 0), STR("{\"n\":0}"));
        EXPECT_INT(fixture_count(&f, OUTPUT_MAIN), i == 0 ? 2 : 1);
        EXPECT_INT(fixture_count(&f, OUTPUT_DEAD_LETTER), i == 0 ? 0 : 1);
        if (i == 0) {
            EXPECT_STR(fixture_value(&f, OUTPUT_MAIN, 1), STR("{\"n\":null}"));
        }
        fixture_close(&f);
        lookup_table_unref(table);
        arena_release(&arena);
    }
}

TEST(lookup_reads_texts_of_a_csv_table_as_its_fields_want)
{
    struct lookup_builder *builder = lookup_builder_new();
    struct str text = STR("id,name,rate\nk0,a,2.5\nk1,,\nk2,b,x\n");
    CHECK(lookup_builder_add_text(builder, STR("f"), STR("csv"), STR("id"), text, NULL) == ERR_OK);
    struct lookup_table *table = lookup_table_new(builder);
    lookup_builder_free(builder);
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct fixture f;
    EXPECT(fixture_open(&f,
                        fixture_yaml(&arena, "[{lookup: {table: {file: t.csv, format: csv, key: "
                                             "id}, fields: {name: string, rate: float}}}]"),
                        0));
    f.tables[0] = table;
    struct str values[3] = {STR("{}"), STR("{}"), STR("{}")};
    for (int round = 0; round < 2; round++) { // read, then from the cache
        EXPECT_INT(chain_process(f.chain, 0, fixture_batch(&f, values, 3), f.out, &f.info), ERR_OK);
        EXPECT_INT(fixture_count(&f, OUTPUT_MAIN), 2);
        EXPECT_STR(fixture_value(&f, OUTPUT_MAIN, 0), STR("{\"name\":\"a\",\"rate\":2.5}"));
        EXPECT_STR(fixture_value(&f, OUTPUT_MAIN, 1), STR("{\"name\":\"\",\"rate\":null}"));
        EXPECT_STR(fixture_header(&f, OUTPUT_DEAD_LETTER, 0, "sc.reason"),
                   STR("lookup: field 'rate' of the table is no float"));
        chain_out_reset(f.out);
    }
    fixture_close(&f);
    lookup_table_unref(table);
    arena_release(&arena);
}
