// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "base/mem.h"
#include "base/rng.h"
#include "node/shadow.h"
#include "rig.h"
#include "test.h"

/* Shadows of real chains: operators measured, other settings compared, both transports alike where it is not easy: times that
 * cannot be read, records that are none, late ones, joins, tables. */

enum { KEYS = 200, BATCH = 40, EVERYTHING = SAMPLE_BUCKETS };

static struct shadow_measures measures;
static struct shadow_operator operators[8];

struct real {
    struct rig rig;
    struct arena arena; /* of texts */
    struct rng rng;
    int64_t time_ms;
};

static void real_start(struct real *real, const char *yaml)
{
    struct rig_options options = {
        .seed = test_seed(), .yaml = yaml, .shadow_memory_bytes = 512 << 20};
    rng_init(&real->rng, test_seed());
    real->time_ms = 1000;
    arena_init(&real->arena, 64 << 20);
    rig_init(&real->rig, &options);
    real->rig.load = config_load;
    rig_start(&real->rig);
    enum runtime_state state = rig_run_up(&real->rig);
    CHECK_MSG(state == RUNTIME_RUNNING, "%s", node_runtime_problem(real->rig.runtime)->text);
}

static void real_end(struct real *real)
{
    rig_stop(&real->rig);
    rig_release(&real->rig);
    arena_release(&real->arena);
}

/* `batches` batches of clicks; some late, some no JSON, some without a time. */
static void produce(struct real *real, const char *stream, int32_t shards, int batches)
{
    struct rig_record records[BATCH];
    for (int b = 0; b < batches; b++) {
        for (int i = 0; i < BATCH; i++) {
            uint64_t key = rng_below(&real->rng, KEYS);
            real->time_ms += 7;
            int64_t time_ms = real->time_ms - (rng_below(&real->rng, 10) == 0 ? 4000 : 0);
            const char *value =
                rng_below(&real->rng, 20) == 0 ? "{\"kind\": \"view\", \"ts\": "
                : rng_below(&real->rng, 20) == 0
                    ? "{\"kind\": \"view\"}"
                    : arena_printf(&real->arena, "{\"kind\":\"%s\",\"ts\":%lld,\"n\":%d}",
                                   key % 3 == 0 ? "view" : "buy", (long long)time_ms, i);
            records[i] = (struct rig_record){
                .key = arena_printf(&real->arena, "k%llu", (unsigned long long)key),
                .value = value,
                .time_ms = time_ms};
        }
        rig_produce(&real->rig, stream, (int32_t)rng_below(&real->rng, (uint64_t)shards), records,
                    BATCH);
    }
}

static struct shadow_spec spec_of(uint64_t id, int32_t stage)
{
    return (struct shadow_spec){.id = id,
                                .stage = stage,
                                .group_hi = KEY_GROUP_COUNT,
                                .sample = {.below = EVERYTHING, .requested = 1},
                                .warm_until = {0, 0},
                                .warm_batches = 1};
}

static void open_shadow(struct real *real, const struct shadow_spec *spec)
{
    struct shadow_command command = {.kind = SHADOW_OPEN, .u.open = *spec};
    rig_shadow(&real->rig, &command);
    CHECK_MSG(command.err == ERR_OK, "%s", command.info.text);
}

static void look(struct real *real, uint64_t id)
{
    struct shadow_command command = {.kind = SHADOW_MEASURE,
                                     .u.measure = {.id = id,
                                                   .measures = &measures,
                                                   .operators = operators,
                                                   .operator_cap = COUNT_OF(operators)}};
    rig_run(&real->rig, 500000000);
    rig_shadow(&real->rig, &command);
    CHECK(command.err == ERR_OK);
}

/* A shadow by view and one by queue give the same. */
static void expect_alike(struct real *real, uint64_t view, uint64_t queue)
{
    look(real, view);
    int64_t count = measures.digest_results;
    uint64_t digest = measures.digest;
    EXPECT(count > 10);
    look(real, queue);
    EXPECT_INT(measures.digest_results, count);
    EXPECT(measures.digest == digest);
    EXPECT_INT(measures.end, SHADOW_END_NONE);
}

static const char CLICKS[] =
    "version: 1\n"
    "streams: {clicks: {shards: 2, time: {field: ts, out_of_order: 500ms}}, out: {}}\n"
    "pipelines:\n  p:\n    commit: 5ms\n    stages:\n"
    "      - name: s\n        from: clicks\n        partitions: 1\n        to: out\n        chain:\n"
    "          - parse: {name: p, format: json, fields: {kind: string, n: int}}\n"
    "          - filter: {name: f, where: \"kind == 'view'\"}\n"
    "          - window: {name: w, tumbling: 1s, out: {c: count, s: {sum: n}}}\n";

TEST(shadow_by_queue_is_like_one_by_view_with_bad_times_and_late_records)
{
    static struct real real;
    real_start(&real, CLICKS);
    produce(&real, "clicks", 2, 20);
    EXPECT(rig_run_quiet(&real.rig));
    struct shadow_spec spec = spec_of(1, 0);
    open_shadow(&real, &spec);
    spec.id = 2;
    spec.transport = SHADOW_QUEUE;
    open_shadow(&real, &spec);
    produce(&real, "clicks", 2, 60);
    EXPECT(rig_run_quiet(&real.rig));
    expect_alike(&real, 1, 2);
    EXPECT(measures.dead_letters > 0 && measures.late > 0 && measures.reason_count >= 2);
    real_end(&real);
}

TEST(operators_of_a_shadow_are_measured_each)
{
    static struct real real;
    real_start(&real, CLICKS);
    produce(&real, "clicks", 2, 10);
    EXPECT(rig_run_quiet(&real.rig));
    struct shadow_spec spec = spec_of(1, 0);
    open_shadow(&real, &spec);
    produce(&real, "clicks", 2, 60);
    EXPECT(rig_run_quiet(&real.rig));
    look(&real, 1);
    EXPECT_INT(measures.operator_count, 3);
    const struct probe_moments *parse = &operators[0].probe.moments;
    const struct probe_moments *filter = &operators[1].probe.moments;
    const struct probe_moments *window = &operators[2].probe.moments;
    EXPECT(str_equal(str_of(operators[0].name), STR("p")));
    EXPECT(parse->rows_in > 100 && parse->rows_in <= measures.work.rows_in);
    EXPECT_INT(parse->rows_out + operators[0].rejected, parse->rows_in);
    EXPECT_INT(filter->rows_in, parse->rows_out);
    EXPECT_INT(window->rows_in, filter->rows_out);
    EXPECT(filter->rows_out < filter->rows_in / 2 && filter->rows_out > filter->rows_in / 5);
    EXPECT(window->rows_out > 0 && operators[2].late > 0);
    EXPECT(operators[2].state_entries > 0 && operators[2].state_bytes > 0);
    EXPECT_INT(operators[0].state_entries, 0);
    EXPECT(parse->bytes_in > parse->rows_in * 20);
    EXPECT(operators[0].probe.row_ps.count == (uint64_t)parse->rows_in);
    int64_t rows = 0;
    for (int32_t i = 0; i < measures.groups.count; i++) {
        rows += operators[0].groups[i].rows;
    }
    EXPECT_INT(rows, parse->rows_in);
    real_end(&real);
}

/* The same pipeline with another condition in its filter. */
static const struct stage_plan *plan_of(struct arena *arena, const char *yaml)
{
    const struct config *config = NULL;
    struct err_info info = {0};
    CHECK_MSG(config_load(arena, "candidate.yaml", str_of(yaml), &config, &info) == ERR_OK, "%s",
              info.text);
    return config->pipelines[0]->stages[0];
}

static const char OTHER[] =
    "version: 1\n"
    "streams: {clicks: {shards: 2, time: {field: ts, out_of_order: 500ms}}, out: {}}\n"
    "pipelines:\n  p:\n    commit: 5ms\n    stages:\n"
    "      - name: s\n        from: clicks\n        partitions: 1\n        to: out\n        chain:\n"
    "          - parse: {name: p, format: json, fields: {kind: string, n: int}}\n"
    "          - filter: {name: f, where: \"kind == 'view' and n != 3\"}\n"
    "          - window: {name: w, tumbling: 1s, out: {c: count, s: {sum: n}}}\n";

static const char OTHER_STATE[] =
    "version: 1\n"
    "streams: {clicks: {shards: 2, time: {field: ts, out_of_order: 500ms}}, out: {}}\n"
    "pipelines:\n  p:\n    commit: 5ms\n    stages:\n"
    "      - name: s\n        from: clicks\n        partitions: 1\n        to: out\n        chain:\n"
    "          - parse: {name: p, format: json, fields: {kind: string, n: int}}\n"
    "          - window: {name: w, tumbling: 1s, out: {c: count, most: {max: n}}}\n";

TEST(candidate_is_compared_with_a_baseline_result_by_result)
{
    static struct real real;
    static struct stage candidate;
    static struct shadow_comparison comparison;
    struct err_info info = {0};
    real_start(&real, CLICKS);
    produce(&real, "clicks", 2, 10);
    EXPECT(rig_run_quiet(&real.rig));
    const struct stage *stage = node_runtime_stage(real.rig.runtime, 0);
    EXPECT_INT(shadow_candidate_stage(stage, plan_of(&real.arena, OTHER), false, &candidate, &info),
               ERR_OK);
    struct shadow_spec spec = spec_of(1, 0);
    spec.flags = SHADOW_KEEP_RESULTS;
    open_shadow(&real, &spec);
    spec.id = 2;
    spec.partner = 1;
    spec.candidate = &candidate;
    open_shadow(&real, &spec);
    produce(&real, "clicks", 2, 60);
    EXPECT(rig_run_quiet(&real.rig));
    look(&real, 2);
    struct shadow_command command = {.kind = SHADOW_COMPARE};
    command.u.compare.id = 2;
    command.u.compare.comparison = &comparison;
    rig_shadow(&real.rig, &command);
    EXPECT_INT(command.err, ERR_OK);
    EXPECT(comparison.equal > comparison.differing && comparison.differing > 0);
    EXPECT(comparison.example_count > 0 && comparison.dropped == 0);
    EXPECT(comparison.missing > 0); /* windows of which nothing was left */
    const struct shadow_example *example = &comparison.examples[0];
    EXPECT_INT(example->kind, SHADOW_DIFFERING);
    EXPECT(strcmp(example->own, example->partner) != 0 && example->key[0] == 'k');
    real_end(&real);
}

TEST(candidate_that_cannot_continue_the_state_says_so_or_starts_cold)
{
    static struct real real;
    static struct stage candidate;
    struct err_info info = {0};
    real_start(&real, CLICKS);
    produce(&real, "clicks", 2, 10);
    EXPECT(rig_run_quiet(&real.rig));
    const struct stage *stage = node_runtime_stage(real.rig.runtime, 0);
    const struct stage_plan *plan = plan_of(&real.arena, OTHER_STATE);
    EXPECT_INT(shadow_candidate_stage(stage, plan, false, &candidate, &info), ERR_OK);
    struct shadow_command command = {.kind = SHADOW_OPEN, .u.open = spec_of(1, 0)};
    command.u.open.candidate = &candidate;
    rig_shadow(&real.rig, &command);
    EXPECT_INT(command.err, ERR_NEEDS_OPERATOR);
    EXPECT(str_find(str_of(command.info.text), STR("schema")) >= 0);
    look(&real, 1);
    EXPECT_INT(measures.end, SHADOW_END_FAILED);
    EXPECT_INT(shadow_candidate_stage(stage, plan, true, &candidate, &info), ERR_OK);
    struct shadow_spec spec = spec_of(2, 0);
    spec.candidate = &candidate;
    open_shadow(&real, &spec);
    produce(&real, "clicks", 2, 10);
    look(&real, 2);
    EXPECT(measures.cold);
    real_end(&real);
}

TEST(candidate_without_state_is_measured_when_its_windows_are_full_and_its_baseline_with_it)
{
    static struct real real;
    static struct stage candidate;
    struct err_info info = {0};
    real_start(&real, CLICKS);
    produce(&real, "clicks", 2, 10);
    EXPECT(rig_run_quiet(&real.rig));
    const struct stage *stage = node_runtime_stage(real.rig.runtime, 0);
    EXPECT_INT(
        shadow_candidate_stage(stage, plan_of(&real.arena, OTHER_STATE), true, &candidate, &info),
        ERR_OK);
    struct shadow_spec spec = spec_of(1, 0);
    spec.warm_span_ms_max = 1000; /* as long as the window */
    open_shadow(&real, &spec);
    spec.id = 2;
    spec.partner = 1;
    spec.candidate = &candidate;
    open_shadow(&real, &spec);
    spec.id = 3;
    spec.partner = 0;
    spec.warm_span_ms_max = 999; /* too long for it */
    open_shadow(&real, &spec);
    produce(&real, "clicks", 2, 2); /* 560 ms */
    EXPECT(rig_run_quiet(&real.rig));
    look(&real, 1);
    EXPECT_INT(measures.state, SHADOW_WARMING);
    look(&real, 2);
    EXPECT_INT(measures.state, SHADOW_WARMING);
    EXPECT(measures.cold);
    look(&real, 3);
    EXPECT_INT(measures.state, SHADOW_MEASURING);
    produce(&real, "clicks", 2, 30);
    EXPECT(rig_run_quiet(&real.rig));
    look(&real, 2);
    EXPECT_INT(measures.state, SHADOW_MEASURING);
    EXPECT(!measures.cold && measures.warm_records > 1000 / 7 && measures.work.rows_in > 0);
    int64_t warm = measures.warm_records;
    look(&real, 1);
    EXPECT_INT(measures.state, SHADOW_MEASURING);
    EXPECT(measures.warm_records > warm / 2);
    look(&real, 3);
    EXPECT(measures.cold);
    real_end(&real);
}

TEST(batches_have_no_more_rows_than_it_was_told)
{
    static struct real real;
    real_start(&real, CLICKS);
    struct shadow_spec spec = spec_of(1, 0);
    spec.batch_rows = 3;
    open_shadow(&real, &spec);
    spec.id = 2;
    spec.batch_rows = 0;
    open_shadow(&real, &spec);
    produce(&real, "clicks", 2, 30);
    EXPECT(rig_run_quiet(&real.rig));
    bool more = false;
    for (uint64_t id = 1; id <= 2; id++) {
        look(&real, id);
        EXPECT(measures.work.rows_in > 0);
        for (int32_t g = 0; g < measures.groups.count; g++) {
            const struct shadow_group *group = &measures.groups.group[g];
            EXPECT(id == 2 || group->rows <= 3 * group->batches);
            more = more || group->rows > 3 * group->batches;
        }
    }
    EXPECT(more);
    real_end(&real);
}

/* The input's event time and what closed of it, as the first and the last group say. */
TEST(closings_are_measured_apart_with_the_event_time_that_they_stand_for)
{
    static struct real real;
    real_start(&real, CLICKS);
    struct shadow_spec spec = spec_of(1, 0);
    open_shadow(&real, &spec);
    produce(&real, "clicks", 2, 5);
    EXPECT(rig_run_quiet(&real.rig));
    look(&real, 1);
    EXPECT_INT(measures.state, SHADOW_MEASURING);
    int64_t from_ms = real.time_ms;
    produce(&real, "clicks", 2, 200);
    EXPECT(rig_run_quiet(&real.rig));
    look(&real, 1);
    int64_t close_ns = 0, closed_ms = 0, time_ms = 0, work_ns = 0;
    for (int32_t g = 0; g < measures.groups.count; g++) {
        const struct shadow_group *group = &measures.groups.group[g];
        EXPECT(group->close_ns <= group->work_ns);
        close_ns += group->close_ns;
        closed_ms += group->closed_ms;
        time_ms += group->time_ms;
        work_ns += group->work_ns;
    }
    int64_t span_ms = real.time_ms - from_ms;
    EXPECT(close_ns > 0 && close_ns < work_ns);
    EXPECT_MSG(time_ms > span_ms * 8 / 10 && time_ms < span_ms * 12 / 10, "%lld of %lld",
               (long long)time_ms, (long long)span_ms);
    EXPECT_INT(closed_ms % 1000, 0);
    EXPECT_MSG(closed_ms > time_ms - 1000 && closed_ms < time_ms + 1000, "%lld of %lld",
               (long long)closed_ms, (long long)time_ms);
    real_end(&real);
}

static const char JOIN[] =
    "version: 1\n"
    "streams: {a: {shards: 1, time: {out_of_order: 0s}}, b: {shards: 1, time: {out_of_order: 0s}}, "
    "rates: {shards: 1}, out: {}}\n"
    "pipelines:\n  p:\n    commit: 5ms\n    stages:\n"
    "      - name: j\n        from: [a, b]\n        to: out\n        chain:\n"
    "          - parse: {name: pa, input: 1, format: json, fields: {n: int}}\n"
    "          - parse: {name: pb, input: 2, format: json, fields: {m: int}}\n"
    "          - join: {name: j, within: 2s, kind: left}\n"
    "          - lookup: {name: l, table: {stream: rates}, on: l.n, fields: {rate: int}}\n";

static void produce_pairs(struct real *real, int batches)
{
    for (int b = 0; b < batches; b++) {
        struct rig_record records[BATCH];
        for (int i = 0; i < BATCH; i++) {
            real->time_ms += 5;
            records[i] = (struct rig_record){
                .key = arena_printf(&real->arena, "k%d", (int)rng_below(&real->rng, KEYS)),
                .value = arena_printf(&real->arena, "{\"%s\":%d}", b % 2 == 0 ? "n" : "m", i % 5),
                .time_ms = real->time_ms};
        }
        rig_produce(&real->rig, b % 2 == 0 ? "a" : "b", 0, records, BATCH);
    }
}

TEST(shadow_of_a_join_with_a_table_by_view_and_by_queue)
{
    static struct real real;
    real_start(&real, JOIN);
    rig_produce(&real.rig, "rates", 0, &(struct rig_record){"1", "{\"rate\":7}", 1}, 1);
    rig_run(&real.rig, 2500000000); /* the table is everywhere */
    produce_pairs(&real, 10);
    EXPECT(rig_run_quiet(&real.rig));
    struct shadow_spec spec = spec_of(1, 0);
    spec.sample.below = EVERYTHING / 2;
    open_shadow(&real, &spec);
    spec.id = 2;
    spec.transport = SHADOW_QUEUE;
    open_shadow(&real, &spec);
    produce_pairs(&real, 40);
    EXPECT(rig_run_quiet(&real.rig));
    look(&real, 1);
    int64_t count = measures.digest_results;
    EXPECT(count > 100 && measures.dead_letters == 0);
    look(&real, 2);
    EXPECT_INT(measures.digest_results, count);
    /* A key's rows come out in the order its two inputs were taken, which nothing fixes: sums are not compared. */
    real_end(&real);
}

TEST(operator_with_undeclared_effects_is_refused_by_name)
{
    static struct stage stage;
    static struct stage_plan plan;
    struct operator_plan op = {.name = STR("mailer"), .effects = EFFECTS_UNDECLARED};
    struct err_info info = {0};
    plan = (struct stage_plan){.name = STR("s"), .operator_count = 1, .operators = {&op}};
    stage = (struct stage){.plan = &plan, .shard_count = 1};
    struct shadow_spec spec = spec_of(1, 0);
    EXPECT_INT(shadow_check(&stage, &spec, &info), ERR_UNSUPPORTED);
    EXPECT(str_find(str_of(info.text), STR("'mailer'")) >= 0);
    op.effects = EFFECTS_DECLARED;
    EXPECT_INT(shadow_check(&stage, &spec, &info), ERR_OK);
    op.space_count = 1;
    shadow_sample_records(10, &spec.sample);
    EXPECT_INT(shadow_check(&stage, &spec, &info), ERR_UNSUPPORTED);
    EXPECT(str_find(str_of(info.text), STR("by key")) >= 0);
}
