// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"
#include "base/mem.h"
#include "fake_chain.h"
#include "pipeline/chain.h"
#include "scene.h"
#include "test.h"

/* Read-only twins of running partitions: half the range, a tenth of the keys, results collected. */

enum { TWINS = 4, TWIN_STAGE = 1, TWIN_HI = 2048, TWIN_SAMPLE = SAMPLE_BUCKETS / 10 };

static bool in_twin(struct str key)
{
    uint64_t hash = hash64(key.ptr, key.len);
    return key_group_of(hash) < TWIN_HI && sample_bucket_of(hash) < TWIN_SAMPLE;
}

static void open_twins(struct rig *rig, struct collector *collectors, struct err_info *info)
{
    for (uint32_t i = 0; i < TWINS; i++) {
        collector_init(&collectors[i], 100000, 64 << 20);
        struct lane_command open = {.kind = LANE_TWIN_OPEN};
        open.u.twin = (struct lane_twin){.stage = TWIN_STAGE,
                                         .shard = i,
                                         .group_lo = 0,
                                         .group_hi = TWIN_HI,
                                         .sample_below = TWIN_SAMPLE,
                                         .collector = &collectors[i],
                                         .id = i};
        rig_command(rig, (int32_t)i % node_runtime_lane_count(rig->runtime), &open);
        info->code = info->code == ERR_OK ? open.err : info->code;
    }
}

/* Whether all twins have come to the end of their input. */
static bool twins_ended(struct rig *rig)
{
    int32_t ended = 0;
    for (int32_t lane = 0; lane < node_runtime_lane_count(rig->runtime); lane++) {
        static struct partition_report reports[64];
        struct lane_command command = {.kind = LANE_SNAPSHOT};
        command.u.snapshot.reports = reports;
        command.u.snapshot.cap = 64;
        rig_command(rig, lane, &command);
        for (int32_t i = 0; i < command.u.snapshot.ret_count; i++) {
            ended += reports[i].twin && reports[i].figures.watermark_ms == INT64_MAX;
        }
    }
    return ended == TWINS;
}

static void close_twins(struct rig *rig)
{
    for (uint32_t i = 0; i < TWINS; i++) {
        struct lane_command command = {.kind = LANE_TWIN_CLOSE, .u.twin.id = i};
        rig_command(rig, (int32_t)i % node_runtime_lane_count(rig->runtime), &command);
        CHECK(command.err == ERR_OK);
    }
}

static bool collected_has(const struct collector *collectors, const struct rig_row *row)
{
    int found = 0;
    for (int t = 0; t < TWINS; t++) {
        for (int32_t i = 0; i < collectors[t].count; i++) {
            const struct collected *item = &collectors[t].items[i];
            found += item->kind == OUTPUT_MAIN && str_equal(item->key, row->key) &&
                     item->time_ms == row->time_ms && str_equal(item->value, row->value);
        }
    }
    return found == 1;
}

static int64_t end_of(struct rig *rig, const char *stream, int32_t shard)
{
    struct stream_info info = rig_stream(rig, stream);
    return log_end_offset(rig->log, (struct shard_id){info.first_shard.v + (uint32_t)shard});
}

TEST(twin_of_a_running_partition_gives_what_the_primary_gives_for_its_keys)
{
    static struct scene scene;
    struct rig rig;
    struct rig_options options = {.seed = test_seed(),
                                  .source_shards = 3,
                                  .internal_shards = TWINS,
                                  .sink_shards = 2,
                                  .partitions = 2,
                                  .nodes = 2,
                                  .out_of_order_ms = 500};
    scene_init(&scene, test_seed(), 3, 6000, 512, 500);
    rig_init(&rig, &options);
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    scene_produce(&scene, &rig, 3000);
    EXPECT(rig_run_quiet(&rig));
    int64_t ends[2] = {end_of(&rig, "counts", 0), end_of(&rig, "counts", 1)};
    struct collector collectors[TWINS];
    struct err_info info = {0};
    open_twins(&rig, collectors, &info);
    EXPECT_INT(info.code, ERR_OK);
    scene_produce(&scene, &rig, INT32_MAX / 2);
    rig_end(&rig, "clicks");
    EXPECT(rig_run_to_end(&rig));
    for (int i = 0; i < 100 && !twins_ended(&rig); i++) {
        rig_run(&rig, 10000000);
    }
    EXPECT(twins_ended(&rig));
    close_twins(&rig);
    EXPECT(scene_holds(&scene, &rig)); /* the primaries' output is untouched */
    struct arena arena;
    arena_init(&arena, 256 << 20);
    struct rig_row *rows;
    int32_t count = rig_read(&rig, "counts", &arena, &rows);
    int32_t expected = 0, collected = 0;
    for (int32_t i = 0; i < count; i++) {
        if (rows[i].offset >= ends[rows[i].shard] && in_twin(rows[i].key)) {
            expected++;
            EXPECT_MSG(collected_has(collectors, &rows[i]), "%.*s at %lld", STR_ARG(rows[i].key),
                       (long long)rows[i].time_ms);
        }
    }
    for (int t = 0; t < TWINS; t++) {
        for (int32_t i = 0; i < collectors[t].count; i++) {
            collected += collectors[t].items[i].kind == OUTPUT_MAIN;
        }
        EXPECT_INT(collectors[t].dropped, 0);
        collector_release(&collectors[t]);
    }
    EXPECT(expected > 50);
    EXPECT_INT(collected, expected);
    arena_release(&arena);
    rig_release(&rig);
    scene_release(&scene);
}
