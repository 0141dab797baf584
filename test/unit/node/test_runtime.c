// SPDX-License-Identifier: Apache-2.0
#include "base/rng.h"
#include "fake_chain.h"
#include "scene.h"
#include "test.h"

static struct rig_options two_stages(uint64_t seed)
{
    return (struct rig_options){.seed = seed,
                                .source_shards = 3,
                                .internal_shards = 4,
                                .sink_shards = 2,
                                .partitions = 1,
                                .out_of_order_ms = 500};
}

/* Runs the scene from its beginning to its end in one process. */
static bool run_whole(struct rig *rig, struct scene *scene)
{
    scene_produce(scene, rig, INT32_MAX / 2);
    rig_end(rig, "clicks");
    rig_start(rig);
    if (rig_run_up(rig) != RUNTIME_RUNNING) {
        printf("  %s\n", node_runtime_problem(rig->runtime)->text);
        return false;
    }
    return rig_run_to_end(rig);
}

TEST(two_stages_with_a_rekey_count_as_an_independent_recount_does)
{
    struct rig rig;
    struct rig_options options = two_stages(test_seed());
    static struct scene scene;
    scene_init(&scene, test_seed(), 3, 2000, 20, 500);
    rig_init(&rig, &options);
    EXPECT(run_whole(&rig, &scene));
    EXPECT(scene.expected_late > 0);
    EXPECT(scene_holds(&scene, &rig));
    rig_stop(&rig);
    rig_release(&rig);
    scene_release(&scene);
}

TEST(output_is_the_same_for_every_number_of_partitions_and_nodes)
{
    static const int32_t partitions[] = {1, 2, 7, 64};
    static const int32_t nodes[] = {1, 2, 8};
    for (ptrdiff_t i = 0; i < COUNT_OF(partitions); i++) {
        for (ptrdiff_t k = 0; k < COUNT_OF(nodes); k++) {
            static struct scene scene;
            struct rig rig;
            struct rig_options options = two_stages(test_seed() + (uint64_t)(10 * i + k));
            options.partitions = partitions[i];
            options.nodes = nodes[k];
            scene_init(&scene, test_seed(), 3, 600, 20, 500);
            rig_init(&rig, &options);
            EXPECT_MSG(run_whole(&rig, &scene), "%d partitions, %d nodes", partitions[i], nodes[k]);
            EXPECT_MSG(scene_holds(&scene, &rig), "%d partitions, %d nodes", partitions[i],
                       nodes[k]);
            rig_release(&rig);
            scene_release(&scene);
        }
    }
}

TEST(reopened_in_another_layout_it_goes_on_from_the_last_commit)
{
    static const struct {
        int32_t partitions, nodes;
    } layouts[] = {{2, 1}, {7, 2}, {1, 1}, {64, 3}, {3, 8}, {1, 2}};
    static struct scene scene;
    struct rig rig;
    struct rig_options options = two_stages(test_seed());
    scene_init(&scene, test_seed(), 3, 1200, 20, 500);
    rig_init(&rig, &options);
    scene_produce(&scene, &rig, 200);
    for (ptrdiff_t i = 0; i < COUNT_OF(layouts); i++) {
        rig.options.partitions = layouts[i].partitions;
        rig.options.nodes = layouts[i].nodes;
        rig_start(&rig);
        EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
        scene_produce(&scene, &rig, 200);
        rig_run(&rig, 15000000); /* somewhere in between */
        if (i % 2 == 0) {
            rig_stop(&rig);
        } else {
            rig_kill(&rig);
        }
    }
    rig_end(&rig, "clicks");
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    EXPECT(rig_run_to_end(&rig));
    EXPECT(scene_holds(&scene, &rig));
    rig_release(&rig);
    scene_release(&scene);
}

static enum err floor_and_trim(struct rig *rig, uint32_t reader, int64_t *ret_start)
{
    struct log_op op = {.kind = LOG_OP_FLOOR};
    struct shard_id other = rig_stream(rig, "other").first_shard;
    if (*ret_start < 0) {
        op.u.floor = (struct log_floor_op){.shard = other, .reader = reader, .offset = 0};
        CHECK(rig_op(rig, &op) == ERR_OK);
    }
    op = (struct log_op){.kind = LOG_OP_TRIM};
    op.u.trim = (struct log_trim_op){.shard = other, .before_offset = INT64_MAX};
    CHECK(rig_op(rig, &op) == ERR_OK);
    op = (struct log_op){.kind = LOG_OP_SHARD_GET};
    op.u.shard.shard = other;
    enum err err = rig_op(rig, &op);
    *ret_start = op.u.shard.ret_info.start_offset;
    return err;
}

/* The stage read "other" before the file gave it another stream: here, that floor is set by hand. */
TEST(a_stage_that_reads_another_stream_lets_go_of_the_one_before)
{
    static struct scene scene;
    struct rig rig;
    struct rig_options options = two_stages(test_seed());
    options.source_shards = 1;
    options.tuning.floor_interval_ns = 1;
    scene_init(&scene, test_seed(), 1, 2000, 20, 500);
    rig_init(&rig, &options);
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    rig_stop(&rig);
    struct rig_record record = {.key = "k", .value = "v", .time_ms = 1};
    rig_produce(&rig, "other", 0, &record, 1);
    int64_t start = -1;
    uint32_t reader = rig_stream(&rig, "sc.p.read.log").first_shard.v;
    EXPECT_INT(floor_and_trim(&rig, reader, &start), ERR_OK);
    EXPECT_INT(start, 0);
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    EXPECT_INT(floor_and_trim(&rig, reader, &start), ERR_OK);
    EXPECT_INT(start, 0); /* it has committed nothing yet: the file may be wrong */
    scene_produce(&scene, &rig, 200);
    rig_run(&rig, 200000000);
    EXPECT_INT(floor_and_trim(&rig, reader, &start), ERR_OK);
    EXPECT(start > 0);
    rig_release(&rig);
    scene_release(&scene);
}

/* Of the log beneath, beside which checkpoints are counted. */
static struct log_vtable counting;
static void (*submit_beneath)(struct log *log, struct log_op *op);
static int checkpoints;

static void submit_counting(struct log *log, struct log_op *op)
{
    checkpoints += op->kind == LOG_OP_CHECKPOINT;
    submit_beneath(log, op);
}

static void count_checkpoints(struct log *log)
{
    counting = *log->vtable;
    submit_beneath = counting.submit;
    counting.submit = submit_counting;
    log->vtable = &counting;
    checkpoints = 0;
}

/* One process after the other, none of which writes enough for a checkpoint. */
TEST(what_many_short_lives_write_comes_to_a_checkpoint)
{
    static struct scene scene;
    struct rig rig;
    struct rig_options options = two_stages(test_seed());
    options.source_shards = options.internal_shards = 1;
    options.tuning.checkpoint_bytes = 4000;
    options.tuning.checkpoint_ratio = 1;
    scene_init(&scene, test_seed(), 1, 2000, 200, 500);
    rig_init(&rig, &options);
    count_checkpoints(rig.log);
    int in_first = 0;
    for (int life = 0; life < 20; life++) {
        rig_start(&rig);
        EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
        scene_produce(&scene, &rig, 100);
        rig_run(&rig, 100000000);
        rig_stop(&rig);
        in_first = life == 0 ? checkpoints : in_first;
    }
    EXPECT_INT(in_first, 0);
    EXPECT(checkpoints > 0);
    rig_release(&rig);
    scene_release(&scene);
}

/* A process with a drawn layout, killed at a drawn moment. */
static void live_and_die(struct rig *rig, struct scene *scene, bool *ret_more)
{
    struct rng *rng = world_rng(rig->world);
    rig->options.partitions = (int32_t)rng_range(rng, 1, 9);
    rig->options.nodes = (int32_t)rng_range(rng, 1, 3);
    rig->options.commit_ns = rng_range(rng, 1, 20) * 1000000;
    rig->options.tuning.batch_rows = (int32_t)rng_range(rng, 1, 50);
    rig->options.tuning.slice_batches = (int32_t)rng_range(rng, 1, 3);
    rig->options.tuning.read_bytes = rng_range(rng, 1, 20) * 1000;
    rig->options.tuning.commit_bytes = rng_range(rng, 1, 20) * 500;
    rig_start(rig);
    rig_run(rig, rng_range(rng, 1000, 40000000));
    *ret_more = scene_produce(scene, rig, (int32_t)rng_range(rng, 0, 200));
    rig_run(rig, rng_range(rng, 1000, 60000000));
    rig_kill(rig);
}

TEST(killed_at_random_with_lost_replies_nothing_is_lost_or_doubled)
{
    for (uint64_t seed = test_seed(); seed < test_seed() + 40; seed++) {
        static struct scene scene;
        struct rig rig;
        struct rig_options options = two_stages(seed);
        options.again_probability = 0.2;
        options.stall_probability = 0.05;
        options.tuning.floor_interval_ns = 1;
        scene_init(&scene, seed, 3, 1000, 20, 500);
        rig_init(&rig, &options);
        scene_produce(&scene, &rig, 100);
        for (bool more = true; more;) {
            live_and_die(&rig, &scene, &more);
        }
        rig_end(&rig, "clicks");
        for (int i = 0; i < 4; i++) {
            bool more;
            live_and_die(&rig, &scene, &more);
        }
        rig_start(&rig);
        EXPECT_MSG(rig_run_up(&rig) == RUNTIME_RUNNING, "seed %llu", (unsigned long long)seed);
        EXPECT_MSG(rig_run_to_end(&rig), "seed %llu", (unsigned long long)seed);
        EXPECT_MSG(scene_holds(&scene, &rig), "seed %llu", (unsigned long long)seed);
        rig_release(&rig);
        scene_release(&scene);
    }
}
