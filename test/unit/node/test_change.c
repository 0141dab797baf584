// SPDX-License-Identifier: Apache-2.0
#include "base/rng.h"
#include "fake_chain.h"
#include "node/change.h"
#include "scene.h"
#include "test.h"

/* Layout changes while records flow. */

static struct rig_options two_stages(uint64_t seed)
{
    return (struct rig_options){.seed = seed,
                                .source_shards = 2,
                                .internal_shards = 3,
                                .sink_shards = 2,
                                .partitions = 2,
                                .nodes = 2,
                                .nodes_max = 4,
                                .out_of_order_ms = 500};
}

static bool is_final(void *ctx)
{
    return change_final(ctx);
}

/* Starts it and runs the world until it is final; the caller releases it. */
static struct change *run_change(struct rig *rig, const struct change_spec *spec)
{
    struct change *change = NULL;
    uint64_t conflict = 0;
    struct err_info info = {0};
    enum err err = change_start(rig->runtime, spec, NULL, &change, &conflict, &info);
    CHECK_MSG(err == ERR_OK, "%s", info.text);
    CHECK(rig_run_until(rig, is_final, change));
    return change;
}

/* Why it is refused; ERR_OK: it was not. */
static enum err refused(struct rig *rig, const struct change_spec *spec, struct err_info *info)
{
    struct change *change = NULL;
    uint64_t conflict = 0;
    enum err err = change_start(rig->runtime, spec, NULL, &change, &conflict, info);
    if (err == ERR_OK) {
        change_release(change);
    }
    return err;
}

static const struct partition_place *place_of(struct rig *rig, int32_t stage, uint32_t shard,
                                              uint32_t group)
{
    const struct partition_map *map = node_runtime_map(rig->runtime, stage);
    return &map->places[partition_map_find(map, shard, group)];
}

static struct change_spec spec_of(enum change_kind kind, int32_t stage,
                                  const struct partition_place *place)
{
    return (struct change_spec){.kind = kind,
                                .stage = stage,
                                .shard = place->shard,
                                .group_lo = place->group_lo,
                                .group_hi = place->group_hi};
}

static struct change_spec migrate_of(int32_t stage, const struct partition_place *place)
{
    struct change_spec spec = spec_of(CHANGE_MIGRATE, stage, place);
    spec.node = place->node == 0 ? 1 : 0;
    return spec;
}

static void start(struct rig *rig, struct scene *scene, const struct rig_options *options,
                  int32_t records)
{
    scene_init(scene, options->seed, options->source_shards, records, 40, 500);
    rig_init(rig, options);
    rig_start(rig);
    CHECK(rig_run_up(rig) == RUNTIME_RUNNING);
}

static void finish(struct rig *rig, struct scene *scene)
{
    scene_produce(scene, rig, INT32_MAX / 2);
    rig_end(rig, "clicks");
    EXPECT(rig_run_to_end(rig));
    EXPECT(scene_holds(scene, rig));
}

static void release(struct rig *rig, struct scene *scene)
{
    rig_release(rig);
    scene_release(scene);
}

TEST(migrated_partition_goes_on_from_its_tables)
{
    static struct scene scene;
    struct rig rig;
    struct rig_options options = two_stages(test_seed());
    start(&rig, &scene, &options, 1000);
    scene_produce(&scene, &rig, 400);
    EXPECT(rig_run_quiet(&rig));
    struct change_spec spec = migrate_of(1, place_of(&rig, 1, 0, 0));
    struct change *change = run_change(&rig, &spec);
    EXPECT_INT(change->state, CHANGE_DONE);
    EXPECT_INT(change->restored, 0);
    EXPECT(change->moved_bytes > 0);
    EXPECT(change->pause_ns > 0 && change->pause_ns < 100000000);
    EXPECT_INT(place_of(&rig, 1, 0, 0)->node, spec.node);
    EXPECT_INT(place_of(&rig, 1, 0, 0)->epoch, change->map_version);
    EXPECT_INT(node_runtime_map(rig.runtime, 1)->version, change->map_version);
    change_release(change);
    finish(&rig, &scene);
    release(&rig, &scene);
}

TEST(split_where_the_load_halves_and_merged_again)
{
    static struct scene scene;
    struct rig rig;
    struct rig_options options = two_stages(test_seed());
    options.partitions = 1;
    start(&rig, &scene, &options, 1000);
    scene_produce(&scene, &rig, 400);
    EXPECT(rig_run_quiet(&rig));
    struct change_spec spec = spec_of(CHANGE_SPLIT, 1, place_of(&rig, 1, 1, 0));
    struct change *change = run_change(&rig, &spec);
    EXPECT_INT(change->state, CHANGE_DONE);
    EXPECT(change->border > 0 && change->border < 4096);
    EXPECT(change->upper_share > 0.2 && change->upper_share < 0.8);
    EXPECT_INT(node_runtime_map(rig.runtime, 1)->count, 4);
    EXPECT_INT(place_of(&rig, 1, 1, 0)->group_hi, change->border);
    change_release(change);
    scene_produce(&scene, &rig, 300);
    EXPECT(rig_run_quiet(&rig));
    spec = spec_of(CHANGE_MERGE, 1, place_of(&rig, 1, 1, 0));
    spec.flags = CHANGE_PLACED;
    spec.node = 1;
    change = run_change(&rig, &spec);
    EXPECT_INT(change->state, CHANGE_DONE);
    EXPECT_INT(change->restored, 0);
    EXPECT_INT(node_runtime_map(rig.runtime, 1)->count, 3);
    EXPECT_INT(place_of(&rig, 1, 1, 0)->group_hi, 4096);
    EXPECT_INT(place_of(&rig, 1, 1, 0)->node, 1);
    change_release(change);
    finish(&rig, &scene);
    release(&rig, &scene);
}

TEST(changed_layout_is_there_after_a_restart)
{
    static struct scene scene;
    struct rig rig;
    struct rig_options options = two_stages(test_seed());
    start(&rig, &scene, &options, 1000);
    scene_produce(&scene, &rig, 300);
    struct change_spec spec = spec_of(CHANGE_SPLIT, 0, place_of(&rig, 0, 0, 0));
    spec.border = 77;
    spec.flags = CHANGE_PLACED;
    spec.node = 1;
    change_release(run_change(&rig, &spec));
    for (int i = 0; i < 2; i++) {
        if (i == 0) {
            rig_kill(&rig);
        } else {
            rig_stop(&rig);
        }
        rig_start(&rig);
        EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
        EXPECT_INT(place_of(&rig, 0, 0, 0)->group_hi, 77);
        EXPECT_INT(place_of(&rig, 0, 0, 77)->group_lo, 77);
        EXPECT_INT(place_of(&rig, 0, 0, 77)->node, 1);
        EXPECT_INT(node_runtime_map(rig.runtime, 0)->count, 5);
    }
    finish(&rig, &scene);
    release(&rig, &scene);
}

TEST(file_with_other_numbers_makes_the_layout_anew)
{
    static struct scene scene;
    struct rig rig;
    struct rig_options options = two_stages(test_seed());
    start(&rig, &scene, &options, 600);
    scene_produce(&scene, &rig, 300);
    struct change_spec spec = spec_of(CHANGE_SPLIT, 0, place_of(&rig, 0, 0, 0));
    change_release(run_change(&rig, &spec));
    rig_stop(&rig);
    rig.options.partitions = 3;
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    EXPECT_INT(node_runtime_map(rig.runtime, 0)->count, 6);
    finish(&rig, &scene);
    release(&rig, &scene);
}

TEST(dry_run_says_what_would_move_and_stops_nothing)
{
    static struct scene scene;
    struct rig rig;
    struct rig_options options = two_stages(test_seed());
    start(&rig, &scene, &options, 600);
    scene_produce(&scene, &rig, 300);
    EXPECT(rig_run_quiet(&rig));
    struct change_spec spec = migrate_of(1, place_of(&rig, 1, 0, 0));
    spec.flags = CHANGE_DRY_RUN;
    uint64_t version = node_runtime_map(rig.runtime, 1)->version;
    struct change *change = run_change(&rig, &spec);
    EXPECT_INT(change->state, CHANGE_CHECKED);
    EXPECT(change->state_bytes > 0);
    EXPECT(change->expected_pause_ns > 0);
    EXPECT_INT(change->partitions, 1);
    EXPECT_INT(node_runtime_map(rig.runtime, 1)->version, version);
    change_release(change);
    finish(&rig, &scene);
    release(&rig, &scene);
}

TEST(what_cannot_be_is_refused_with_what_is_allowed)
{
    static struct scene scene;
    struct rig rig;
    struct rig_options options = two_stages(test_seed());
    start(&rig, &scene, &options, 100);
    const struct partition_place first = *place_of(&rig, 0, 0, 0);
    const struct partition_place last = *place_of(&rig, 0, 1, 4095);
    struct err_info info = {0};
    struct change_spec spec = spec_of(CHANGE_SPLIT, 0, &first);
    spec.border = first.group_hi;
    EXPECT_INT(refused(&rig, &spec, &info), ERR_INVALID);
    EXPECT(str_find(str_of(info.text), STR("1-2047")) >= 0);
    spec = spec_of(CHANGE_SPLIT, 7, &first);
    EXPECT_INT(refused(&rig, &spec, &info), ERR_INVALID);
    spec = spec_of(CHANGE_SPLIT, 0, &first);
    spec.shard = 9;
    EXPECT_INT(refused(&rig, &spec, &info), ERR_INVALID);
    spec = spec_of(CHANGE_SPLIT, 0, &first);
    spec.group_hi = 55;
    EXPECT_INT(refused(&rig, &spec, &info), ERR_INVALID);
    EXPECT(str_find(str_of(info.text), STR("0-2048")) >= 0);
    spec = spec_of(CHANGE_MERGE, 0, &last);
    EXPECT_INT(refused(&rig, &spec, &info), ERR_INVALID);
    spec = spec_of(CHANGE_MIGRATE, 0, &first);
    spec.node = first.node;
    EXPECT_INT(refused(&rig, &spec, &info), ERR_INVALID);
    spec.node = 4;
    EXPECT_INT(refused(&rig, &spec, &info), ERR_INVALID);
    spec.node = 3; /* within nodes.max, but off */
    EXPECT_INT(refused(&rig, &spec, &info), ERR_UNAVAILABLE);
    EXPECT_INT(node_runtime_changing(rig.runtime), 0);
    finish(&rig, &scene);
    release(&rig, &scene);
}

TEST(one_change_at_a_time_on_a_partition_many_on_others)
{
    static struct scene scene;
    struct rig rig;
    struct rig_options options = two_stages(test_seed());
    start(&rig, &scene, &options, 600);
    scene_produce(&scene, &rig, 300);
    const struct partition_map *map = node_runtime_map(rig.runtime, 1);
    struct change *changes[6];
    uint64_t conflict = 0;
    struct err_info info = {0};
    EXPECT_INT(map->count, 6);
    for (int i = 0; i < 6; i++) {
        struct change_spec spec = migrate_of(1, &map->places[i]);
        EXPECT(change_start(rig.runtime, &spec, NULL, &changes[i], &conflict, &info) == ERR_OK);
    }
    struct change_spec spec = spec_of(CHANGE_SPLIT, 1, &map->places[2]);
    EXPECT_INT(refused(&rig, &spec, &info), ERR_CONFLICT);
    struct change *none = NULL;
    EXPECT(change_start(rig.runtime, &spec, NULL, &none, &conflict, &info) == ERR_CONFLICT);
    EXPECT_INT(conflict, changes[2]->id);
    for (int i = 0; i < 6; i++) {
        EXPECT(rig_run_until(&rig, is_final, changes[i]));
        EXPECT_INT(changes[i]->state, CHANGE_DONE);
        change_release(changes[i]);
    }
    finish(&rig, &scene);
    release(&rig, &scene);
}

TEST(cancelled_at_any_moment_it_is_done_or_undone)
{
    int undone = 0, done = 0;
    for (int64_t after_us = 0; after_us < 30000; after_us += 1500) {
        static struct scene scene;
        struct rig rig;
        struct rig_options options = two_stages(test_seed() + (uint64_t)after_us);
        start(&rig, &scene, &options, 400);
        scene_produce(&scene, &rig, 200);
        struct change *change = NULL;
        uint64_t conflict = 0;
        struct err_info info = {0};
        struct change_spec spec = migrate_of(1, place_of(&rig, 1, 0, 0));
        EXPECT(change_start(rig.runtime, &spec, NULL, &change, &conflict, &info) == ERR_OK);
        rig_run(&rig, after_us * 1000);
        bool early = change_cancel(change, &info) == ERR_OK;
        EXPECT(rig_run_until(&rig, is_final, change));
        undone += change->state == CHANGE_UNDONE;
        done += change->state == CHANGE_DONE;
        EXPECT(early ? change->state == CHANGE_UNDONE : change->state == CHANGE_DONE);
        EXPECT_INT(place_of(&rig, 1, 0, 0)->node == spec.node, change->state == CHANGE_DONE);
        change_release(change);
        finish(&rig, &scene);
        release(&rig, &scene);
    }
    EXPECT(undone > 0 && done > 0);
}

TEST(stopped_in_the_middle_of_a_change_all_is_committed)
{
    for (int64_t after_us = 0; after_us < 30000; after_us += 1500) {
        static struct scene scene;
        struct rig rig;
        struct rig_options options = two_stages(test_seed() + (uint64_t)after_us);
        start(&rig, &scene, &options, 400);
        scene_produce(&scene, &rig, 200);
        struct change *change = NULL;
        uint64_t conflict = 0;
        struct err_info info = {0};
        struct change_spec spec = spec_of(CHANGE_SPLIT, 1, place_of(&rig, 1, 0, 0));
        EXPECT(change_start(rig.runtime, &spec, NULL, &change, &conflict, &info) == ERR_OK);
        change_release(change);
        rig_run(&rig, after_us * 1000);
        rig_stop(&rig);
        rig_start(&rig);
        EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
        finish(&rig, &scene);
        release(&rig, &scene);
    }
}

TEST(node_is_added_filled_drained_and_off_again)
{
    static struct scene scene;
    struct rig rig;
    struct rig_options options = two_stages(test_seed());
    start(&rig, &scene, &options, 600);
    scene_produce(&scene, &rig, 300);
    struct change_spec node = {.kind = CHANGE_NODE, .node = 3, .node_state = NODE_ACTIVE};
    change_release(run_change(&rig, &node));
    EXPECT_INT(node_runtime_node_state(rig.runtime, 3), NODE_ACTIVE);
    struct change_spec spec = migrate_of(1, place_of(&rig, 1, 0, 0));
    spec.node = 3;
    change_release(run_change(&rig, &spec));
    rig_stop(&rig);
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    EXPECT_INT(node_runtime_node_state(rig.runtime, 3), NODE_ACTIVE);
    EXPECT_INT(place_of(&rig, 1, 0, 0)->node, 3);
    struct err_info info = {0};
    node.node_state = NODE_OFF;
    EXPECT_INT(refused(&rig, &node, &info), ERR_CONFLICT);
    node.node_state = NODE_DRAINING;
    change_release(run_change(&rig, &node));
    EXPECT_INT(refused(&rig, &spec, &info), ERR_UNAVAILABLE); /* nothing may come */
    node.node_state = NODE_OFF;
    EXPECT_INT(refused(&rig, &node, &info), ERR_CONFLICT);
    struct change_spec away = migrate_of(1, place_of(&rig, 1, 0, 0));
    change_release(run_change(&rig, &away));
    change_release(run_change(&rig, &node));
    EXPECT_INT(node_runtime_node_state(rig.runtime, 3), NODE_OFF);
    finish(&rig, &scene);
    release(&rig, &scene);
}

TEST(last_active_node_stays_also_when_two_are_drained_at_once)
{
    struct rig rig;
    struct rig_options options = two_stages(test_seed());
    rig_init(&rig, &options);
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    struct change_spec spec = {.kind = CHANGE_NODE, .node = 0, .node_state = NODE_DRAINING};
    struct change *first = NULL;
    uint64_t conflict = 0;
    struct err_info info = {0};
    EXPECT(change_start(rig.runtime, &spec, NULL, &first, &conflict, &info) == ERR_OK);
    spec.node = 1;
    EXPECT_INT(refused(&rig, &spec, &info), ERR_CONFLICT);
    EXPECT(rig_run_until(&rig, is_final, first));
    change_release(first);
    rig_release(&rig);
}

/* --- random changes --- */

enum { STORM_MAX = 8 };

struct storm {
    struct change *changes[STORM_MAX];
    int32_t kinds[CHANGE_KIND_COUNT];
    int32_t done, undone;
};

static void draw_spec(struct rig *rig, struct change_spec *spec)
{
    struct rng *rng = world_rng(rig->world);
    int32_t stage = (int32_t)rng_below(rng, 2);
    const struct partition_map *map = node_runtime_map(rig->runtime, stage);
    const struct partition_place *place = &map->places[rng_below(rng, (uint64_t)map->count)];
    enum change_kind kind = (enum change_kind)rng_below(rng, 3);
    *spec = spec_of(kind, stage, place);
    spec->node = (uint16_t)rng_below(rng, 2);
    if (rng_chance(rng, 0.5)) {
        spec->flags |= CHANGE_PLACED;
    }
    if (rng_chance(rng, 0.5) && place->group_hi - place->group_lo > 1) {
        spec->border = (uint32_t)rng_range(rng, place->group_lo + 1, place->group_hi - 1);
    }
}

static void storm_step(struct rig *rig, struct storm *storm)
{
    for (int i = 0; i < STORM_MAX; i++) {
        struct change *change = storm->changes[i];
        if (change != NULL && change_final(change)) {
            CHECK_MSG(change->state != CHANGE_NEEDS_OPERATOR, "%s", change->info.text);
            storm->done += change->state == CHANGE_DONE;
            storm->undone += change->state == CHANGE_UNDONE;
            change_release(change);
            storm->changes[i] = NULL;
        }
        struct change_spec spec;
        uint64_t conflict = 0;
        if (storm->changes[i] == NULL && node_runtime_state(rig->runtime) == RUNTIME_RUNNING) {
            draw_spec(rig, &spec);
            if (change_start(rig->runtime, &spec, NULL, &storm->changes[i], &conflict, NULL) ==
                ERR_OK) {
                storm->kinds[spec.kind]++;
            }
        } else if (storm->changes[i] != NULL && rng_chance(world_rng(rig->world), 0.02)) {
            IGNORE_RESULT(change_cancel(storm->changes[i], NULL)); /* may be too late */
        }
    }
}

static bool storm_over(void *ctx)
{
    return node_runtime_changing(ctx) == 0;
}

static void storm_end(struct rig *rig, struct storm *storm)
{
    CHECK(rig_run_until(rig, storm_over, rig->runtime));
    for (int i = 0; i < STORM_MAX; i++) {
        if (storm->changes[i] != NULL) {
            CHECK(storm->changes[i]->state != CHANGE_NEEDS_OPERATOR);
            change_release(storm->changes[i]);
            storm->changes[i] = NULL;
        }
    }
}

static void storm_life(struct rig *rig, struct scene *scene, struct storm *storm, bool *ret_more)
{
    struct rng *rng = world_rng(rig->world);
    rig->options.commit_ns = rng_range(rng, 1, 20) * 1000000;
    rig->options.eager = rng_chance(rng, 0.3);
    rig->options.tuning.batch_rows = (int32_t)rng_range(rng, 1, 50);
    rig->options.tuning.commit_bytes = rng_range(rng, 1, 20) * 500;
    rig->options.tuning.checkpoint_bytes = rng_range(rng, 1, 20) * 500;
    rig->options.tuning.checkpoint_ratio = 1;
    rig_start(rig);
    CHECK(rig_run_up(rig) == RUNTIME_RUNNING);
    int64_t steps = rng_range(rng, 1, 60);
    for (int64_t i = 0; i < steps; i++) {
        storm_step(rig, storm);
        *ret_more = scene_produce(scene, rig, (int32_t)rng_range(rng, 0, 20));
        rig_run(rig, rng_range(rng, 1000, 4000000));
    }
    if (rng_chance(rng, 0.3)) {
        storm_end(rig, storm);
        rig_stop(rig);
    } else {
        for (int i = 0; i < STORM_MAX; i++) {
            if (storm->changes[i] != NULL) {
                change_release(storm->changes[i]);
                storm->changes[i] = NULL;
            }
        }
        rig_kill(rig);
    }
}

TEST(random_changes_with_kills_and_lost_replies_change_no_output)
{
    struct storm total = {0};
    for (uint64_t seed = test_seed(); seed < test_seed() + 25; seed++) {
        static struct scene scene;
        struct rig rig;
        struct rig_options options = two_stages(seed);
        struct storm storm = {0};
        options.again_probability = 0.1;
        options.stall_probability = 0.02;
        options.tuning.floor_interval_ns = 1;
        scene_init(&scene, seed, 2, 1500, 40, 500);
        rig_init(&rig, &options);
        for (bool more = true; more;) {
            storm_life(&rig, &scene, &storm, &more);
        }
        rig_end(&rig, "clicks");
        rig_start(&rig);
        EXPECT_MSG(rig_run_up(&rig) == RUNTIME_RUNNING, "seed %llu", (unsigned long long)seed);
        EXPECT_MSG(rig_run_to_end(&rig), "seed %llu", (unsigned long long)seed);
        EXPECT_MSG(scene_holds(&scene, &rig), "seed %llu", (unsigned long long)seed);
        release(&rig, &scene);
        total.done += storm.done;
        total.undone += storm.undone;
        for (int k = 0; k < CHANGE_KIND_COUNT; k++) {
            total.kinds[k] += storm.kinds[k];
        }
    }
    EXPECT(total.kinds[CHANGE_SPLIT] > 100 && total.kinds[CHANGE_MERGE] > 100 &&
           total.kinds[CHANGE_MIGRATE] > 100);
    EXPECT(total.done > 200 && total.undone > 10);
}
