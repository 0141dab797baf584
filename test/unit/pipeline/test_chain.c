// SPDX-License-Identifier: Apache-2.0
#include "chain_fixture.h"
#include "test.h"

static enum err run(struct fixture *f, const char *const *texts, int32_t count)
{
    struct str values[64];
    for (int32_t i = 0; i < count; i++) {
        values[i] = str_of(texts[i]);
    }
    return chain_process(f->chain, 0, fixture_batch(f, values, count), f->out, &f->info);
}

static bool open_chain(struct fixture *f, const char *chain)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    bool good = fixture_open(f, fixture_yaml(&arena, chain), 0);
    arena_release(&arena);
    if (!good) {
        printf("%s\n", f->info.text);
    }
    return good;
}

TEST(parse_and_filter_pass_records_on_as_they_came)
{
    struct fixture f;
    EXPECT(open_chain(
        &f,
        "[{parse: {fields: {kind: string, n: i64}}}, {filter: {where: \"kind == 'view' and n > 1\"}}]"));
    const char *values[] = {"{\"kind\": \"view\", \"n\": 2}", "{\"kind\": \"click\", \"n\": 3}",
                            "{\"kind\":\"view\",\"n\":1}", "{\"n\":9,\"kind\":\"vi\\u0065w\"}"};
    EXPECT(run(&f, values, 4) == ERR_OK);
    EXPECT_INT(fixture_count(&f, OUTPUT_MAIN), 2);
    EXPECT_STR(fixture_value(&f, OUTPUT_MAIN, 0), str_of(values[0]));
    EXPECT_STR(fixture_value(&f, OUTPUT_MAIN, 1), str_of(values[3]));
    EXPECT_STR(fixture_key(&f, OUTPUT_MAIN, 1), STR("k3"));
    fixture_close(&f);
}

TEST(bad_records_go_to_the_dead_letters_with_reason_and_source)
{
    struct fixture f;
    EXPECT(open_chain(&f, "[{parse: {fields: {n: i64}}}, {filter: {where: n > 1}}]"));
    const char *values[] = {"{\"n\": \"x\"}", "{\"n\": 2}", "nonsense", "{\"n\":2"};
    EXPECT(run(&f, values, 4) == ERR_OK);
    EXPECT_INT(fixture_count(&f, OUTPUT_MAIN), 1);
    EXPECT_INT(fixture_count(&f, OUTPUT_DEAD_LETTER), 3);
    EXPECT_STR(fixture_header(&f, OUTPUT_DEAD_LETTER, 0, "sc.reason"), STR("field 'n' is no int"));
    EXPECT_STR(fixture_header(&f, OUTPUT_DEAD_LETTER, 0, "sc.source"), STR("in/3/100"));
    EXPECT_STR(fixture_header(&f, OUTPUT_DEAD_LETTER, 1, "sc.reason"), STR("not a JSON object"));
    EXPECT_STR(fixture_header(&f, OUTPUT_DEAD_LETTER, 2, "sc.reason"),
               STR("invalid JSON: an object or array is not closed"));
    struct operator_stats stats = chain_operator_stats(f.chain, 0);
    EXPECT_INT(stats.rejected, 3);
    EXPECT_INT(stats.rows_in, 4);
    EXPECT_INT(stats.rows_out, 1);
    fixture_close(&f);
}

TEST(map_writes_objects_in_the_order_of_its_fields)
{
    struct fixture f;
    EXPECT(open_chain(
        &f,
        "[{parse: {fields: {a: i64, b: f64, c: string, d: bool, t: time}}}, {map: {set: {sum: a + b, a: null + a, who: \"concat(c, '!')\"}, drop: [b]}}]"));
    const char *values[] = {
        "{\"a\":1,\"b\":0.5,\"c\":\"x\\\"y\",\"d\":true,\"t\":\"1970-01-01T00:00:01.5Z\"}",
        "{\"b\":1e300}"};
    EXPECT(run(&f, values, 2) == ERR_OK);
    EXPECT_STR(
        fixture_value(&f, OUTPUT_MAIN, 0),
        STR("{\"a\":null,\"c\":\"x\\\"y\",\"d\":true,\"t\":1500,\"sum\":1.5,\"who\":\"x\\\"y!\"}"));
    EXPECT_STR(fixture_value(&f, OUTPUT_MAIN, 1),
               STR("{\"a\":null,\"c\":null,\"d\":null,\"t\":null,\"sum\":null,\"who\":null}"));
    fixture_close(&f);
}

TEST(what_an_expression_cannot_compute_is_rejected)
{
    struct fixture f;
    EXPECT(open_chain(
        &f,
        "[{parse: {fields: {a: i64}}}, {map: {set: {b: 10 / a, c: a * 4611686018427387904}}}]"));
    const char *values[] = {"{\"a\":0}", "{\"a\":1}", "{\"a\":2}", "{}"};
    EXPECT(run(&f, values, 4) == ERR_OK);
    EXPECT_INT(fixture_count(&f, OUTPUT_MAIN), 2);
    EXPECT_STR(fixture_header(&f, OUTPUT_DEAD_LETTER, 0, "sc.reason"), STR("division by zero"));
    EXPECT_STR(fixture_header(&f, OUTPUT_DEAD_LETTER, 1, "sc.reason"), STR("arithmetic overflow"));
    EXPECT_STR(fixture_value(&f, OUTPUT_MAIN, 1), STR("{\"a\":null,\"b\":null,\"c\":null}"));
    fixture_close(&f);
}

TEST(key_by_gives_keys_and_the_next_stage_reads_its_columns_back)
{
    static const char *const yaml =
        "version: 1\nstreams: {in: {shards: 4}, out: {}}\npipelines:\n  p:\n    stages:\n"
        "      - {name: a, from: in, chain: [{parse: {fields: {user: string, 'n': i64}}}, {map: {set: {m: n * 2}}}, {key_by: {key: user, shards: 8}}]}\n"
        "      - {name: b, chain: [{filter: {where: m > 2}}], to: out}\n";
    struct fixture f;
    EXPECT_MSG(fixture_open(&f, yaml, 0), "%s", f.info.text);
    EXPECT_STR(f.stage->output->name, STR("sc.p.a"));
    EXPECT_INT(f.stage->output->shard_count, 8);
    const char *values[] = {"{\"user\":\"u1\",\"n\":1}", "{\"user\":\"u2\",\"n\":5}", "{\"n\":7}"};
    EXPECT(run(&f, values, 3) == ERR_OK);
    EXPECT_STR(fixture_key(&f, OUTPUT_MAIN, 1), STR("u2"));
    EXPECT(fixture_key(&f, OUTPUT_MAIN, 2).ptr == NULL);
    struct str written[3];
    for (int32_t i = 0; i < 3; i++) {
        written[i] = fixture_value(&f, OUTPUT_MAIN, i);
    }
    struct fixture g;
    EXPECT_MSG(fixture_open(&g, yaml, 1), "%s", g.info.text);
    EXPECT(chain_process(g.chain, 0, fixture_batch(&g, written, 3), g.out, &g.info) == ERR_OK);
    EXPECT_INT(fixture_count(&g, OUTPUT_MAIN), 2);
    EXPECT_STR(fixture_value(&g, OUTPUT_MAIN, 1), STR("{\"user\":null,\"n\":7,\"m\":14}"));
    fixture_close(&g);
    fixture_close(&f);
}

static void add_at(struct fixture *f, const char *text, int64_t time_ms)
{
    struct str value = str_of(text);
    struct batch *batch = fixture_batch(f, &value, 1);
    batch->time_ms[0] = time_ms;
    CHECK(chain_process(f->chain, 0, batch, f->out, &f->info) == ERR_OK);
}

/* Rows of the main output, the last of them into `ret_last`, and how many were late. */
static int32_t advance_to(struct fixture *f, int64_t watermark_ms, char ret_last[200],
                          int32_t *ret_late)
{
    int32_t rows = 0;
    bool more = true;
    *ret_late = fixture_count(f, OUTPUT_LATE); /* of what was added */
    chain_out_reset(f->out);
    while (more) {
        more = chain_advance(f->chain, watermark_ms, f->out);
        int32_t count = fixture_count(f, OUTPUT_MAIN);
        if (count > 0) {
            struct str last = fixture_value(f, OUTPUT_MAIN, count - 1);
            snprintf(ret_last, 200, "%.*s", STR_ARG(last));
        }
        rows += count;
        *ret_late += fixture_count(f, OUTPUT_LATE);
        chain_out_reset(f->out);
    }
    return rows;
}

TEST(results_of_sessions_are_in_time_for_the_window_behind_them)
{
    struct fixture f;
    char last[200] = "";
    int32_t late;
    EXPECT(open_chain(&f, "[{window: {name: a, session: {gap: 10s}, out: {n: count}}}, {window: "
                          "{name: b, tumbling: 5s, out: {sessions: count, n: {sum: n}}}}]"));
    add_at(&f, "{}", 1000);
    add_at(&f, "{}", 4000); /* the session ends at 14 s, and is known to have ended at 24 s */
    EXPECT_INT(advance_to(&f, 24000, last, &late), 0); /* the window up to 15 s may get others */
    EXPECT_INT(late, 0);
    EXPECT_INT(advance_to(&f, 24999, last, &late), 0);
    EXPECT_INT(advance_to(&f, 25000, last, &late), 1);
    EXPECT_INT(late, 0);
    EXPECT(str_find(str_of(last), STR("\"sessions\":1,\"n\":2")) >= 0);
    add_at(&f, "{}", 30000);
    EXPECT_INT(advance_to(&f, INT64_MAX, last, &late), 1); /* the end: nothing is held back */
    EXPECT_INT(late, 0);
    fixture_close(&f);
}

TEST(rows_that_a_join_gives_alone_are_in_time_for_the_window_behind_it)
{
    struct fixture f;
    struct arena arena;
    char last[200] = "";
    int32_t late;
    arena_init(&arena, 1 << 20);
    EXPECT(fixture_open(
        &f,
        "version: 1\nstreams: {l: {shards: 1}, r: {shards: 1}, out: {}}\npipelines:\n  p:\n    "
        "stages:\n      - name: s\n        from: [l, r]\n        to: out\n        chain:\n"
        "          - parse: {name: a, input: 1, fields: {n: int}}\n"
        "          - parse: {name: b, input: 2, fields: {m: int}}\n"
        "          - join: {name: j, within: 10s, kind: left}\n"
        "          - window: {name: w, tumbling: 5s, out: {n: count}}\n",
        0));
    EXPECT_INT(stage_plan_hold_ms(f.stage), 10000);
    add_at(&f, "{\"n\":1}", 1000); /* alone at 11 s and 1 ms */
    EXPECT_INT(advance_to(&f, 14999, last, &late), 0);
    EXPECT_INT(late, 0);
    EXPECT_INT(advance_to(&f, 15000, last, &late), 1);
    EXPECT_INT(late, 0);
    fixture_close(&f);
    arena_release(&arena);
}
