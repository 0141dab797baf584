// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "base/hash.h"
#include "base/mem.h"
#include "fake_chain.h"
#include "node/shadow.h"
#include "pipeline/chain.h"
#include "scene.h"
#include "shadowstore/shadowstore.h"
#include "test.h"

/* Shadows of running partitions: half the range, a tenth of the keys, compared with what the primaries gave. */

enum { SHARDS = 4, COUNT_STAGE = 1, HALF = 2048, MEMORY = 512 << 20, FIRST_PART = 3000 };

static struct shadow_measures measures;

struct stage_set {
    struct scene scene;
    struct rig rig;
    int64_t ends[2], late_end; /* of the sinks when the shadows were opened */
};

static int64_t end_of(struct rig *rig, const char *stream, int32_t shard)
{
    struct stream_info info = rig_stream(rig, stream);
    return log_end_offset(rig->log, (struct shard_id){info.first_shard.v + (uint32_t)shard});
}

static void set_up(struct stage_set *set, double budget)
{
    struct rig_options options = {.seed = test_seed(),
                                  .source_shards = 3,
                                  .internal_shards = SHARDS,
                                  .sink_shards = 2,
                                  .partitions = 2,
                                  .nodes = 2,
                                  .out_of_order_ms = 500,
                                  .shadow_memory_bytes = MEMORY,
                                  .shadow_budget = budget};
    scene_init(&set->scene, test_seed(), 3, 6000, 512, 500);
    rig_init(&set->rig, &options);
    rig_start(&set->rig);
    EXPECT_INT(rig_run_up(&set->rig), RUNTIME_RUNNING);
    scene_produce(&set->scene, &set->rig, FIRST_PART);
    EXPECT(rig_run_quiet(&set->rig));
    set->ends[0] = end_of(&set->rig, "counts", 0);
    set->ends[1] = end_of(&set->rig, "counts", 1);
    set->late_end = end_of(&set->rig, "p.count.late", 0);
}

static void produce_rest(struct stage_set *set)
{
    scene_produce(&set->scene, &set->rig, INT32_MAX / 2);
    rig_end(&set->rig, "clicks");
    EXPECT(rig_run_to_end(&set->rig));
}

static void tear_down(struct stage_set *set)
{
    EXPECT(scene_holds(&set->scene, &set->rig)); /* whatever the shadows did */
    rig_stop(&set->rig);
    rig_release(&set->rig);
    scene_release(&set->scene);
}

static struct shadow_spec spec_of(uint64_t id, uint32_t shard)
{
    return (struct shadow_spec){.id = id,
                                .stage = COUNT_STAGE,
                                .shard = shard,
                                .group_hi = HALF,
                                .sample = {.below = SAMPLE_BUCKETS / 10, .requested = 0.1},
                                .warm_until = {-1, -1},
                                .warm_batches = 1};
}

static enum err open_shadow(struct rig *rig, const struct shadow_spec *spec)
{
    struct shadow_command command = {.kind = SHADOW_OPEN, .u.open = *spec};
    rig_shadow(rig, &command);
    return command.err;
}

static enum err look(struct rig *rig, uint64_t id)
{
    struct shadow_command command = {.kind = SHADOW_MEASURE,
                                     .u.measure = {.id = id, .measures = &measures}};
    rig_shadow(rig, &command);
    return command.err;
}

static enum err tell(struct rig *rig, enum shadow_command_kind kind, uint64_t id)
{
    struct shadow_command command = {.kind = kind, .u.id = id};
    if (kind == SHADOW_CLOSE) {
        command.u.measure = (struct shadow_measure){.id = id, .measures = &measures};
    }
    rig_shadow(rig, &command);
    return command.err;
}

/* Runs until the shadow has read all there is. */
static void run_to_end(struct rig *rig, uint64_t id)
{
    for (int i = 0; i < 2000; i++) {
        EXPECT_INT(look(rig, id), ERR_OK);
        if (measures.state != SHADOW_OPENING && measures.lag_records == 0) {
            break;
        }
        rig_run(rig, 10000000);
    }
    EXPECT_INT(measures.lag_records, 0);
    rig_run(rig, 200000000); /* what the last marks close, and what lies in a queue */
    EXPECT_INT(look(rig, id), ERR_OK);
}

static bool sampled(struct str key)
{
    uint64_t hash = hash64(key.ptr, key.len);
    return key_group_of(hash) < HALF && sample_bucket_of(hash) < SAMPLE_BUCKETS / 10;
}

struct sums {
    uint64_t digest;
    int64_t count;
};

static void add_stream(struct stage_set *set, const char *stream, enum output_kind kind,
                       const int64_t *from, struct sums *sums)
{
    struct arena arena, scratch;
    arena_init(&arena, 256 << 20);
    arena_init(&scratch, 1 << 20);
    struct rig_row *rows;
    int32_t count = rig_read(&set->rig, stream, &arena, &rows);
    for (int32_t i = 0; i < count; i++) {
        if (rows[i].offset < from[rows[i].shard] || !sampled(rows[i].key)) {
            continue;
        }
        struct shadow_result result = {.kind = kind,
                                       .key = rows[i].key,
                                       .value = rows[i].value,
                                       .time_ms = rows[i].time_ms,
                                       .headers = rows[i].headers};
        sums->digest += shadow_digest(&scratch, &result);
        sums->count++;
        arena_reset(&scratch);
    }
    arena_release(&scratch);
    arena_release(&arena);
}

/* What the primaries gave for the sampled keys since the shadows were opened. */
static struct sums primaries(struct stage_set *set)
{
    struct sums sums = {0};
    add_stream(set, "counts", OUTPUT_MAIN, set->ends, &sums);
    add_stream(set, "p.count.late", OUTPUT_LATE, &set->late_end, &sums);
    return sums;
}

static void add_shadows(struct stage_set *set, enum shadow_transport transport, struct sums *sums)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        uint64_t id = 1 + 10 * transport + i;
        run_to_end(&set->rig, id);
        sums->digest += measures.digest;
        sums->count += measures.digest_results;
        EXPECT_INT(measures.state, SHADOW_MEASURING);
        EXPECT_INT(measures.generation, 1);
        EXPECT_INT(measures.cold, false);
        EXPECT(measures.restored_entries > 0);
        EXPECT_INT(measures.records_dropped, 0);
        EXPECT(measures.records_seen > measures.records_hashed && measures.records_hashed > 0);
        /* What lay in the queue when MEASURING began was counted as read before. */
        int64_t own = measures.records_heavy + measures.records_hashed;
        EXPECT(transport == SHADOW_QUEUE ? measures.work.rows_in >= own - 20
                                         : measures.work.rows_in == own);
        EXPECT_INT(tell(&set->rig, SHADOW_CLOSE, id), ERR_OK);
    }
}

TEST(shadow_gives_what_the_primary_gives_for_its_keys_by_view_and_by_queue)
{
    static struct stage_set set;
    set_up(&set, 0);
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shadow_spec spec = spec_of(1 + i, i);
        EXPECT_INT(open_shadow(&set.rig, &spec), ERR_OK);
        spec.id += 10;
        spec.transport = SHADOW_QUEUE;
        EXPECT_INT(open_shadow(&set.rig, &spec), ERR_OK);
    }
    produce_rest(&set);
    struct sums view = {0}, queue = {0};
    add_shadows(&set, SHADOW_VIEW, &view);
    add_shadows(&set, SHADOW_QUEUE, &queue);
    struct sums wanted = primaries(&set);
    EXPECT(wanted.count > 50);
    EXPECT_INT(view.count, wanted.count);
    EXPECT(view.digest == wanted.digest);
    EXPECT_INT(queue.count, wanted.count);
    EXPECT(queue.digest == wanted.digest);
    tear_down(&set);
}

TEST(shadow_of_the_first_stage_by_record_and_of_a_source_by_queue)
{
    static struct stage_set set;
    set_up(&set, 0);
    struct shadow_spec spec = spec_of(1, 0);
    spec.stage = 0;
    spec.group_hi = KEY_GROUP_COUNT;
    shadow_sample_records(30, &spec.sample);
    EXPECT_INT(open_shadow(&set.rig, &spec), ERR_OK);
    spec.id = 2;
    spec.transport = SHADOW_QUEUE;
    EXPECT_INT(open_shadow(&set.rig, &spec), ERR_OK);
    produce_rest(&set);
    run_to_end(&set.rig, 1);
    uint64_t digest = measures.digest;
    int64_t count = measures.digest_results, seen = measures.records_seen;
    EXPECT(measures.reached > 0.25 && measures.reached < 0.35);
    EXPECT(seen > 1000 && count > 300);
    run_to_end(&set.rig, 2);
    EXPECT_INT(measures.digest_results, count);
    EXPECT(measures.digest == digest);
    tear_down(&set);
}

TEST(shadow_paused_reads_nothing_and_catches_up_when_resumed)
{
    static struct stage_set set;
    set_up(&set, 0);
    struct shadow_spec spec = spec_of(1, 0);
    EXPECT_INT(open_shadow(&set.rig, &spec), ERR_OK);
    EXPECT_INT(tell(&set.rig, SHADOW_PAUSE, 1), ERR_OK);
    EXPECT_INT(look(&set.rig, 1), ERR_OK);
    int64_t stands = measures.next_offset[0];
    EXPECT_INT(measures.state, SHADOW_PAUSED);
    produce_rest(&set);
    EXPECT_INT(look(&set.rig, 1), ERR_OK);
    EXPECT_INT(measures.next_offset[0], stands);
    EXPECT(measures.lag_records > 0 && measures.paused_ns > 0);
    EXPECT_INT(tell(&set.rig, SHADOW_RESUME, 1), ERR_OK);
    run_to_end(&set.rig, 1);
    EXPECT_INT(measures.state, SHADOW_MEASURING);
    tear_down(&set);
}

TEST(shadow_resampled_opens_again_from_the_last_commit)
{
    static struct stage_set set;
    set_up(&set, 0);
    struct shadow_spec spec = spec_of(1, 1);
    EXPECT_INT(open_shadow(&set.rig, &spec), ERR_OK);
    scene_produce(&set.scene, &set.rig, 1000);
    rig_run(&set.rig, 50000000);
    struct shadow_command command = {.kind = SHADOW_RESAMPLE};
    command.u.resample.last = (struct shadow_measure){.id = 1, .measures = &measures};
    command.u.resample.sample = (struct shadow_sample){.below = SAMPLE_BUCKETS};
    rig_shadow(&set.rig, &command);
    EXPECT_INT(command.err, ERR_OK);
    EXPECT_INT(measures.generation, 1);
    int64_t first_commit = measures.commit_at;
    produce_rest(&set);
    run_to_end(&set.rig, 1);
    EXPECT_INT(measures.generation, 2);
    EXPECT(measures.commit_at > first_commit);
    EXPECT(measures.reached > 0.999);
    tear_down(&set);
}

TEST(shadow_far_behind_skips_and_counts_what_it_passed_over)
{
    static struct stage_set set;
    set_up(&set, 0);
    struct shadow_spec spec = spec_of(1, 2);
    spec.lag_records_max = 200;
    EXPECT_INT(open_shadow(&set.rig, &spec), ERR_OK);
    EXPECT_INT(tell(&set.rig, SHADOW_PAUSE, 1), ERR_OK);
    scene_produce(&set.scene, &set.rig, 2000);
    EXPECT(rig_run_quiet(&set.rig));
    EXPECT_INT(look(&set.rig, 1), ERR_OK);
    int64_t from = measures.next_offset[0];
    EXPECT(measures.lag_records > 200);
    EXPECT_INT(tell(&set.rig, SHADOW_RESUME, 1), ERR_OK);
    rig_run(&set.rig, 100000000);
    EXPECT_INT(look(&set.rig, 1), ERR_OK);
    EXPECT_INT(measures.generation, 2);
    EXPECT_MSG(measures.begin_offset[0] > from, "from %lld to %lld, end %lld", (long long)from,
               (long long)measures.begin_offset[0], (long long)measures.end_offset[0]);
    EXPECT_INT(measures.records_dropped, measures.begin_offset[0] - from);
    EXPECT(measures.completeness < 1);
    produce_rest(&set);
    tear_down(&set);
}

TEST(completeness_of_nothing_is_not_known)
{
    static struct stage_set set;
    set_up(&set, 0);
    struct shadow_spec spec = spec_of(1, 2);
    EXPECT_INT(open_shadow(&set.rig, &spec), ERR_OK);
    EXPECT_INT(tell(&set.rig, SHADOW_PAUSE, 1), ERR_OK);
    EXPECT_INT(look(&set.rig, 1), ERR_OK);
    EXPECT_INT(measures.work.rows_in + measures.warm_records, 0);
    EXPECT(isnan(measures.completeness));
    scene_produce(&set.scene, &set.rig, 1000); /* and these wait for it */
    EXPECT(rig_run_quiet(&set.rig));
    EXPECT_INT(look(&set.rig, 1), ERR_OK);
    EXPECT(measures.lag_records > 0);
    EXPECT_NEAR(measures.completeness, 0, 0);
    EXPECT_INT(tell(&set.rig, SHADOW_RESUME, 1), ERR_OK);
    produce_rest(&set);
    run_to_end(&set.rig, 1);
    EXPECT_NEAR(measures.completeness, 1, 0);
    tear_down(&set);
}

TEST(burst_ends_by_itself_and_keeps_its_measures)
{
    static struct stage_set set;
    set_up(&set, 0);
    struct shadow_spec spec = spec_of(1, 0);
    spec.group_hi = KEY_GROUP_COUNT;
    spec.sample = (struct shadow_sample){.below = SAMPLE_BUCKETS};
    spec.records_max = 100;
    EXPECT_INT(open_shadow(&set.rig, &spec), ERR_OK);
    produce_rest(&set);
    rig_run(&set.rig, 500000000);
    EXPECT_INT(look(&set.rig, 1), ERR_OK);
    EXPECT_INT(measures.state, SHADOW_ENDED);
    EXPECT_INT(measures.end, SHADOW_END_DONE);
    EXPECT(measures.work.rows_in >= 100 && measures.work.rows_in < 100 + BATCH_ROWS_MAX);
    int64_t groups = 0;
    for (int32_t i = 0; i < measures.groups.count; i++) {
        groups += measures.groups.group[i].rows;
    }
    EXPECT_INT(groups, measures.work.rows_in);
    EXPECT_INT(tell(&set.rig, SHADOW_CLOSE, 1), ERR_OK);
    EXPECT_INT(look(&set.rig, 1), ERR_NOT_FOUND);
    tear_down(&set);
}

TEST(partners_of_one_commit_have_equal_results)
{
    static struct stage_set set;
    static struct shadow_comparison comparison;
    set_up(&set, 0);
    struct shadow_spec spec = spec_of(1, 0);
    spec.flags = SHADOW_KEEP_RESULTS;
    EXPECT_INT(open_shadow(&set.rig, &spec), ERR_OK);
    scene_produce(&set.scene, &set.rig, 200); /* the primary commits on meanwhile */
    rig_run(&set.rig, 30000000);
    spec.id = 2;
    spec.partner = 1;
    EXPECT_INT(open_shadow(&set.rig, &spec), ERR_OK);
    produce_rest(&set);
    run_to_end(&set.rig, 1);
    int64_t results = measures.digest_results;
    run_to_end(&set.rig, 2);
    EXPECT_INT(measures.digest_results, results);
    struct shadow_command command = {.kind = SHADOW_COMPARE};
    command.u.compare.id = 2;
    command.u.compare.comparison = &comparison;
    rig_shadow(&set.rig, &command);
    EXPECT_INT(command.err, ERR_OK);
    EXPECT_INT(comparison.equal, results);
    EXPECT_INT(comparison.differing + comparison.missing + comparison.extra, 0);
    EXPECT_INT(comparison.pending + comparison.dropped, 0);
    /* One of other keys is no partner. */
    spec.id = 3;
    spec.sample.below++;
    EXPECT_INT(open_shadow(&set.rig, &spec), ERR_INVALID);
    tear_down(&set);
}

TEST(partners_take_another_sample_together_and_go_on_comparing)
{
    static struct stage_set set;
    static struct shadow_comparison before, after;
    set_up(&set, 0);
    struct shadow_spec spec = spec_of(1, 0);
    spec.flags = SHADOW_KEEP_RESULTS;
    EXPECT_INT(open_shadow(&set.rig, &spec), ERR_OK);
    spec.id = 2;
    spec.partner = 1;
    EXPECT_INT(open_shadow(&set.rig, &spec), ERR_OK);
    scene_produce(&set.scene, &set.rig, 1500);
    run_to_end(&set.rig, 2);
    struct shadow_command compare = {.kind = SHADOW_COMPARE};
    compare.u.compare.id = 2;
    compare.u.compare.comparison = &before;
    rig_shadow(&set.rig, &compare);
    EXPECT_INT(compare.err, ERR_OK);
    struct shadow_command command = {.kind = SHADOW_RESAMPLE};
    command.u.resample.last = (struct shadow_measure){.id = 2, .measures = &measures};
    command.u.resample.sample = (struct shadow_sample){.below = SAMPLE_BUCKETS / 2};
    rig_shadow(&set.rig, &command);
    EXPECT_INT(command.err, ERR_OK);
    produce_rest(&set);
    run_to_end(&set.rig, 1);
    EXPECT_INT(measures.generation, 2);
    EXPECT(measures.reached > 0.3);
    int64_t commit_at = measures.commit_at;
    run_to_end(&set.rig, 2);
    EXPECT_INT(measures.generation, 2);
    EXPECT_INT(measures.commit_at, commit_at);
    compare.u.compare.comparison = &after;
    rig_shadow(&set.rig, &compare);
    EXPECT_INT(compare.err, ERR_OK);
    EXPECT_INT(after.equal, before.equal + measures.digest_results);
    EXPECT_INT(after.differing + after.missing + after.extra, 0);
    tear_down(&set);
}

TEST(memory_bound_ends_the_largest_shadow)
{
    static struct stage_set set;
    set_up(&set, 0);
    for (uint32_t i = 0; i < 2; i++) {
        struct shadow_spec spec = spec_of(1 + i, 0);
        spec.group_hi = i == 0 ? KEY_GROUP_COUNT : 64;
        spec.sample = (struct shadow_sample){.below = SAMPLE_BUCKETS};
        EXPECT_INT(open_shadow(&set.rig, &spec), ERR_OK);
    }
    EXPECT_INT(look(&set.rig, 1), ERR_OK);
    struct shadow_lane *lane = node_runtime_shadow_lane(set.rig.runtime);
    int64_t used = atomic_load(&shadow_lane_status(lane)->memory_bytes);
    EXPECT(used > 0);
    struct shadow_command command = {.kind = SHADOW_LIMITS};
    command.u.limits.memory_bytes = used - measures.state_bytes / 2;
    rig_shadow(&set.rig, &command);
    EXPECT_INT(command.err, ERR_OK);
    rig_run(&set.rig, 100000000);
    EXPECT_INT(look(&set.rig, 1), ERR_OK);
    EXPECT_INT(measures.end, SHADOW_END_MEMORY);
    EXPECT(str_find(str_of(measures.problem), STR("more than")) >= 0);
    EXPECT_INT(look(&set.rig, 2), ERR_OK);
    EXPECT(measures.state != SHADOW_ENDED);
    EXPECT_INT(atomic_load(&shadow_lane_status(lane)->killed), 1);
    produce_rest(&set);
    tear_down(&set);
}

TEST(shadow_that_cannot_be_is_refused_with_the_reason)
{
    static struct stage_set set;
    set_up(&set, 0);
    struct shadow_spec spec = spec_of(1, 9);
    EXPECT_INT(open_shadow(&set.rig, &spec), ERR_INVALID);
    spec = spec_of(1, 0);
    spec.sample.below = 0;
    EXPECT_INT(open_shadow(&set.rig, &spec), ERR_INVALID);
    spec = spec_of(1, 0);
    EXPECT_INT(open_shadow(&set.rig, &spec), ERR_OK);
    EXPECT_INT(open_shadow(&set.rig, &spec), ERR_EXISTS);
    spec.id = 2;
    spec.partner = 7;
    EXPECT_INT(open_shadow(&set.rig, &spec), ERR_NOT_FOUND);
    produce_rest(&set);
    tear_down(&set);
}

TEST(slow_and_closed_shadows_leave_the_primary_alone)
{
    static struct stage_set set;
    set_up(&set, 0.01);
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shadow_spec spec = spec_of(1 + i, i);
        spec.group_hi = KEY_GROUP_COUNT;
        spec.sample = (struct shadow_sample){.below = SAMPLE_BUCKETS};
        spec.transport = i % 2 == 0 ? SHADOW_VIEW : SHADOW_QUEUE;
        EXPECT_INT(open_shadow(&set.rig, &spec), ERR_OK);
    }
    scene_produce(&set.scene, &set.rig, 1000);
    EXPECT_INT(tell(&set.rig, SHADOW_CLOSE, 1), ERR_OK);
    EXPECT_INT(tell(&set.rig, SHADOW_CLOSE, 2), ERR_OK);
    produce_rest(&set);
    tear_down(&set); /* the others are open when it stops */
}

static struct shadowstore_op ask_store(struct stage_set *set, struct shadowstore *store,
                                       enum shadowstore_op_kind kind)
{
    static struct mailbox box;
    struct shadowstore_op op = {.kind = kind, .done = &box, .shadow = 1};
    mailbox_init(&box, &set->rig.waker);
    shadowstore_submit(store, &op);
    for (int i = 0; i < 100 && mailbox_take_all(&box) == NULL; i++) {
        rig_run(&set->rig, 10000000);
    }
    return op;
}

TEST(results_go_to_the_store_and_leave_it_with_the_shadow)
{
    static struct stage_set set;
    struct shadowstore *store = NULL;
    struct err_info info = {0};
    struct shadowstore_loop loops[SHADOWSTORE_LOOPS_MAX];
    struct shadowstore_options options = {.kind = SHADOWSTORE_MEMORY,
                                          .name = STR("memory"),
                                          .name_space = STR("test"),
                                          .ttl_ns = INT64_C(600000000000),
                                          .size_bytes = 64 << 20};
    set_up(&set, 0);
    EXPECT_INT(shadowstore_new(&options, &store, &info), ERR_OK);
    int count = shadowstore_loops(store, loops);
    for (int i = 0; i < count; i++) {
        IGNORE_RESULT(world_add(set.rig.world, loops[i].name, loops[i].step, loops[i].ctx,
                                loops[i].waker)); /* to the end of the test */
    }
    struct shadow_spec spec = spec_of(1, 0);
    spec.group_hi = KEY_GROUP_COUNT;
    spec.sample.below = SAMPLE_BUCKETS;
    spec.flags = SHADOW_PAYLOADS;
    spec.store = store;
    EXPECT_INT(open_shadow(&set.rig, &spec), ERR_OK);
    produce_rest(&set);
    run_to_end(&set.rig, 1);
    EXPECT(measures.digest_results > 500);
    EXPECT_INT(measures.store_dropped, 0);
    struct shadowstore_op op = ask_store(&set, store, SHADOWSTORE_FLUSH);
    EXPECT_INT(op.err, ERR_OK);
    EXPECT_INT(op.ret_counts.taken, measures.digest_results);
    EXPECT_INT(op.ret_counts.stored, measures.digest_results);
    EXPECT_INT(tell(&set.rig, SHADOW_CLOSE, 1), ERR_OK);
    rig_run(&set.rig, 1000000000);
    op = ask_store(&set, store, SHADOWSTORE_STATUS);
    EXPECT_INT(op.ret_status.open_shadows, 0);
    EXPECT_INT(op.ret_status.memory_bytes, 0);
    EXPECT_INT(op.ret_status.cleanups_pending, 0);
    EXPECT(scene_holds(&set.scene, &set.rig));
    rig_stop(&set.rig);
    shadowstore_free(store);
    rig_release(&set.rig);
    scene_release(&set.scene);
}
