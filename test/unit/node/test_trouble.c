// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "fake_chain.h"
#include "node/lane_priv.h"
#include "scene.h"
#include "test.h"

/* What goes wrong, and what comes of it. */

static struct rig_options two_stages(void)
{
    return (struct rig_options){.seed = test_seed(),
                                .source_shards = 2,
                                .internal_shards = 2,
                                .sink_shards = 1,
                                .partitions = 2,
                                .out_of_order_ms = 500};
}

TEST(dependency_that_is_down_stalls_and_doubles_nothing)
{
    static struct scene scene;
    struct rig rig;
    struct rig_options options = two_stages();
    options.read_text = "flaky";
    options.tuning.batch_rows = 40;
    options.tuning.retry_backoff_ns = 1000000;
    fake_again_count = 2;
    scene_init(&scene, test_seed(), 2, 800, 30, 500);
    rig_init(&rig, &options);
    scene_produce(&scene, &rig, 400);
    for (int i = 0; i < 12; i++) {
        rig_start(&rig);
        rig_run(&rig, 20000000 + 3000000 * i);
        rig_kill(&rig); /* with batches that wait */
    }
    scene_produce(&scene, &rig, 400);
    rig_end(&rig, "clicks");
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    EXPECT(rig_run_to_end(&rig));
    fake_again_count = 0;
    EXPECT(scene_holds(&scene, &rig));
    rig_release(&rig);
    scene_release(&scene);
}

TEST(other_partitions_of_the_lane_commit_while_one_waits_for_a_dependency)
{
    struct rig rig;
    struct rig_options options = two_stages();
    options.partitions = 1;
    options.read_text = "flaky";
    fake_again_count = 1 << 30;
    rig_init(&rig, &options);
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    /* The count stage reads what is put into the internal stream by hand; the read stage is stuck. */
    rig_produce(&rig, "clicks", 0, &(struct rig_record){"a", "user1", 1000}, 1);
    rig_produce(&rig, "sc.p.read", 0, &(struct rig_record){"user1", "user1", 1000}, 1);
    rig_run(&rig, 200000000);
    struct partition_report reports[8];
    struct lane_command command = {.kind = LANE_SNAPSHOT};
    command.u.snapshot.reports = reports;
    command.u.snapshot.cap = 8;
    rig_command(&rig, 0, &command);
    EXPECT_INT(command.u.snapshot.ret_count, 4);
    int stalled = 0;
    int64_t counted = 0;
    for (int i = 0; i < 4; i++) {
        stalled += reports[i].state == PARTITION_STALLED && reports[i].stall == STALL_RETRY;
        counted += reports[i].stage == 1 ? reports[i].committed[0] : 0;
    }
    EXPECT_INT(stalled, 1);
    EXPECT(counted > 0);
    fake_again_count = 0;
    rig_release(&rig);
}

TEST(at_the_memory_limit_partitions_stall_and_lose_nothing)
{
    static struct scene scene;
    struct rig rig;
    struct rig_options options = two_stages();
    options.memory_bytes = 2000;
    options.tuning.batch_rows = 10;
    scene_init(&scene, test_seed(), 2, 500, 60, 500);
    rig_init(&rig, &options);
    scene_produce(&scene, &rig, 500);
    rig_end(&rig, "clicks");
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    rig_run(&rig, 2000000000);
    EXPECT(!node_runtime_ended(rig.runtime));
    int32_t stalled = atomic_load(&lane_status(node_runtime_lane(rig.runtime, 0))->stalled);
    EXPECT(stalled > 0);
    rig_kill(&rig);
    rig.options.memory_bytes = 0;
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    EXPECT(rig_run_to_end(&rig));
    EXPECT(scene_holds(&scene, &rig));
    rig_release(&rig);
    scene_release(&scene);
}

TEST(bad_records_become_dead_letters_once)
{
    struct rig rig;
    struct rig_options options = two_stages();
    options.read_text = "reject";
    rig_init(&rig, &options);
    rig_produce(&rig, "clicks", 0, (struct rig_record[]){{"a", "good", 1000}, {"b", "bad 1", 1100}},
                2);
    rig_produce(&rig, "clicks", 1, (struct rig_record[]){{"c", "bad 2", 1000}, {"d", "good", 1100}},
                2);
    rig_end(&rig, "clicks");
    for (int i = 0; i < 5; i++) {
        rig_start(&rig);
        rig_run(&rig, 4000000 * i);
        rig_kill(&rig);
    }
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    EXPECT(rig_run_to_end(&rig));
    struct arena arena;
    arena_init(&arena, 16 << 20);
    struct rig_row *rows;
    EXPECT_INT(rig_read(&rig, "p.read.dead", &arena, &rows), 2);
    EXPECT_INT(rig_read(&rig, "counts", &arena, &rows), 2);
    arena_release(&arena);
    rig_release(&rig);
}

TEST(edited_pipeline_goes_on_or_is_refused_with_the_list)
{
    static struct scene scene;
    struct rig rig;
    struct rig_options options = two_stages();
    scene_init(&scene, test_seed(), 2, 600, 30, 500);
    rig_init(&rig, &options);
    scene_produce(&scene, &rig, 300);
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    EXPECT(rig_run_quiet(&rig));
    rig_stop(&rig);
    rig.options.count_text = "reject"; /* keeps no windows: those there are would be lost */
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    EXPECT(node_runtime_failed_partitions(rig.runtime) > 0);
    EXPECT(str_find(str_of(node_runtime_problem(rig.runtime)->text), STR("'w'")) >= 0);
    rig_stop(&rig);
    rig.options.count_text = "count again"; /* another text with the same state goes on */
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    EXPECT_INT(node_runtime_failed_partitions(rig.runtime), 0);
    scene_produce(&scene, &rig, 300);
    rig_end(&rig, "clicks");
    EXPECT(rig_run_to_end(&rig));
    EXPECT(scene_holds(&scene, &rig));
    rig_stop(&rig);
    rig.options.count_text = "reject";
    rig.options.flags = RUNTIME_DROP_STATE;
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    EXPECT_INT(node_runtime_failed_partitions(rig.runtime), 0);
    rig_release(&rig);
    scene_release(&scene);
}

TEST(fenced_owner_commits_nothing_more_and_says_so)
{
    struct rig rig;
    struct rig_options options = two_stages();
    rig_init(&rig, &options);
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    struct log_op fence = {.kind = LOG_OP_OWNER_FENCE, .u.owner.name = "0.0"};
    EXPECT_INT(rig_op(&rig, &fence), ERR_OK);
    rig_produce(&rig, "clicks", 0, &(struct rig_record){"a", "user1", 1000}, 1);
    rig_run(&rig, 200000000);
    EXPECT_INT(atomic_load(&lane_status(node_runtime_lane(rig.runtime, 0))->state), LANE_FENCED);
    EXPECT(node_runtime_problem(rig.runtime)->text[0] != '\0');
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct rig_row *rows;
    EXPECT_INT(rig_read(&rig, "sc.p.read", &arena, &rows), 0);
    arena_release(&arena);
    rig_release(&rig);
}

static bool is_restoring(void *ctx)
{
    const struct lane *lane = ctx;
    return lane->openings[0].state == OPENING_RESTORING && lane->openings[0].op.in_flight;
}

static void send_close(struct rig *rig, struct lane *lane, const struct partition *part,
                       struct lane_command *command)
{
    *command = (struct lane_command){.kind = LANE_CLOSE, .reply = &rig->done};
    command->u.open.stage = part->stage->index;
    command->u.open.place = part->place;
    lane_send(lane, command);
}

TEST(partition_is_kept_until_its_restore_is_back_when_its_lane_fails)
{
    struct rig rig;
    struct rig_options options = two_stages();
    options.tuning.opens = 1;
    rig_init(&rig, &options);
    rig_start(&rig);
    struct lane *lane = node_runtime_lane(rig.runtime, 0);
    EXPECT(rig_run_until(&rig, is_restoring, lane));
    struct partition *opening = lane->openings[0].part;
    struct partition *queued = lane->to_open.first;
    EXPECT(queued != NULL);
    struct lane_command close[2];
    send_close(&rig, lane, opening, &close[0]);
    send_close(&rig, lane, queued, &close[1]);
    IGNORE_RESULT(lane_step(lane, world_now_ns(rig.world))); /* it takes the commands */
    lane->commit_op.op.err = ERR_CORRUPT;
    lane_commit_done(lane);
    IGNORE_RESULT(lane_step(lane, world_now_ns(rig.world))); /* what may go goes */
    bool kept = false;
    for (const struct partition *part = lane->parts; part != NULL; part = part->next) {
        EXPECT(part != queued);
        kept = kept || part == opening;
    }
    EXPECT(kept);
    for (const struct partition *part = lane->to_open.first; part != NULL;
         part = part->ready_next) {
        EXPECT(part != queued);
    }
    rig_run(&rig, 100000000);
    EXPECT_INT(lane->openings[0].state, OPENING_FREE);
    for (const struct partition *part = lane->parts; part != NULL; part = part->next) {
        EXPECT(part != opening);
    }
    rig_kill(&rig);
    rig_release(&rig);
}

TEST(silent_shard_ticks_and_an_empty_one_holds_nobody_back)
{
    struct rig rig;
    struct rig_options options = two_stages();
    options.idle_after_ns = 100000000;
    rig_init(&rig, &options);
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    /* One shard never has a record; in the other, the watermark rises to the largest event time, which closes the first
     * window and not the second. */
    rig_produce(
        &rig, "clicks", 0,
        (struct rig_record[]){{"a", "user1", 1000}, {"a", "user1", 1500}, {"a", "user1", 2100}}, 3);
    rig_run(&rig, 50000000);
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct rig_row *rows;
    EXPECT_INT(rig_read(&rig, "counts", &arena, &rows), 0);
    rig_run(&rig, 400000000);
    EXPECT_INT(rig_read(&rig, "counts", &arena, &rows), 1);
    EXPECT_STR(rows[0].value, STR("2"));
    /* The tick was committed: another process goes on from it. */
    rig_kill(&rig);
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    rig_run(&rig, 400000000);
    EXPECT_INT(rig_read(&rig, "counts", &arena, &rows), 1);
    rig_end(&rig, "clicks");
    EXPECT(rig_run_to_end(&rig));
    EXPECT_INT(rig_read(&rig, "counts", &arena, &rows), 2);
    arena_release(&arena);
    rig_release(&rig);
}

TEST(run_until_end_ends_sources_that_have_not_ended_and_only_once)
{
    struct rig rig;
    struct rig_options options = two_stages();
    options.flags = RUNTIME_UNTIL_END;
    rig_init(&rig, &options);
    rig_produce(&rig, "clicks", 0, &(struct rig_record){"a", "user1", 1000}, 1);
    for (int i = 0; i < 3; i++) {
        rig_start(&rig);
        EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
        EXPECT(rig_run_to_end(&rig));
        rig_stop(&rig);
    }
    struct stream_info info = rig_stream(&rig, "clicks");
    struct log_op get = {.kind = LOG_OP_SHARD_GET, .u.shard.shard = {info.first_shard.v + 1}};
    EXPECT_INT(rig_op(&rig, &get), ERR_OK);
    EXPECT(get.u.shard.ret_info.end_offset <= 2); /* one marker, and perhaps the engine's gap */
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct rig_row *rows;
    EXPECT_INT(rig_read(&rig, "counts", &arena, &rows), 1);
    arena_release(&arena);
    rig_release(&rig);
}

/* What waits when a lane lags is there at once. A batch of it is to cost no more than a lane may run at a time. */
TEST(batches_have_few_rows_where_rows_are_dear)
{
    enum { ROWS = 4000 };
    int64_t batches[2] = {0};
    for (int dear = 0; dear < 2; dear++) {
        struct rig rig;
        struct rig_options options = two_stages();
        options.source_shards = options.partitions = 1;
        options.step_cost_ns = dear ? 4000000 : 2000;
        rig_init(&rig, &options);
        struct rig_record *records = MEM_NEW_ARRAY(struct rig_record, ROWS);
        for (int i = 0; i < ROWS; i++) {
            records[i] = (struct rig_record){"a", "user1", 1000};
        }
        rig_produce(&rig, "clicks", 0, records, ROWS);
        rig_end(&rig, "clicks");
        rig_start(&rig);
        EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
        EXPECT(rig_run_to_end(&rig));
        struct partition_report reports[4];
        struct lane_command command = {.kind = LANE_SNAPSHOT};
        command.u.snapshot = (struct lane_snapshot){.reports = reports, .cap = 4};
        rig_command(&rig, 0, &command);
        for (int32_t i = 0; i < command.u.snapshot.ret_count; i++) {
            bool reads = reports[i].stage == 0;
            EXPECT(!reads || reports[i].figures.records_in == ROWS);
            batches[dear] += reads ? reports[i].figures.batches : 0;
        }
        mem_free(records);
        rig_release(&rig);
    }
    EXPECT_MSG(batches[0] < 10 && batches[1] > 50, "%lld and %lld batches", (long long)batches[0],
               (long long)batches[1]);
}
