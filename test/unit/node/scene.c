// SPDX-License-Identifier: Apache-2.0
#include "scene.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "fake_chain.h"

/* The recount: per shard, the largest time so far less out_of_order; a record whose window ended by then is late. */
static void expect(struct scene *scene, int64_t *largest, int32_t user, int64_t time_ms)
{
    int64_t watermark = *largest == INT64_MIN ? INT64_MIN : *largest - scene->out_of_order_ms;
    int64_t window = time_ms / FAKE_WINDOW_MS;
    CHECK(window >= 0 && window < SCENE_WINDOWS_MAX);
    if (time_ms < watermark && (window + 1) * FAKE_WINDOW_MS <= watermark) {
        scene->expected_late++;
    } else {
        scene->expected[user][window]++;
    }
    *largest = time_ms > *largest ? time_ms : *largest;
}

void scene_init(struct scene *scene, uint64_t seed, int32_t shards, int32_t per_shard,
                int32_t users, int64_t out_of_order_ms)
{
    CHECK(shards <= SCENE_SHARDS_MAX && users <= SCENE_USERS_MAX);
    *scene = (struct scene){.shards = shards, .users = users, .out_of_order_ms = out_of_order_ms};
    struct rng rng;
    rng_init(&rng, seed);
    scene->texts = mem_new((ptrdiff_t)2 * SCENE_USERS_MAX, 24);
    for (int32_t i = 0; i < SCENE_USERS_MAX; i++) {
        IGNORE_RESULT(snprintf(scene->texts[i], 24, "user%d", i));                      /* fits */
        IGNORE_RESULT(snprintf(scene->texts[SCENE_USERS_MAX + i], 24, "session%d", i)); /* fits */
    }
    for (int32_t shard = 0; shard < shards; shard++) {
        scene->count[shard] = per_shard;
        scene->records[shard] = MEM_NEW_ARRAY(struct rig_record, per_shard);
        int64_t largest = INT64_MIN;
        int64_t time_ms = 5000;
        for (int32_t i = 0; i < per_shard; i++) {
            time_ms += rng_range(&rng, 0, 2 * 100000 / per_shard);
            int64_t back =
                rng_chance(&rng, 0.05) ? rng_range(&rng, 0, 4500) : rng_range(&rng, 0, 300);
            int32_t user = (int32_t)rng_below(&rng, (uint64_t)users);
            scene->records[shard][i] = (struct rig_record){
                .key = scene->texts[SCENE_USERS_MAX + (int32_t)rng_below(&rng, SCENE_USERS_MAX)],
                .value = scene->texts[user],
                .time_ms = time_ms - back,
            };
            expect(scene, &largest, user, time_ms - back);
        }
    }
}

void scene_release(struct scene *scene)
{
    for (int32_t i = 0; i < scene->shards; i++) {
        mem_free(scene->records[i]);
    }
    mem_free(scene->texts);
}

bool scene_produce(struct scene *scene, struct rig *rig, int32_t count)
{
    bool left = false;
    for (int32_t shard = 0; shard < scene->shards; shard++) {
        int32_t end = scene->produced[shard] + count;
        end = end < scene->count[shard] ? end : scene->count[shard];
        while (scene->produced[shard] < end) {
            int32_t at = scene->produced[shard];
            int32_t some = 1 + (int32_t)rng_below(world_rng(rig->world), 97);
            some = some < end - at ? some : end - at;
            rig_produce(rig, "clicks", shard, scene->records[shard] + at, some);
            scene->produced[shard] = at + some;
        }
        left |= end < scene->count[shard];
    }
    return left;
}

static bool differs(const char *what, struct str key, int64_t window, int64_t have, int64_t want)
{
    printf("  %s of %.*s in window %lld: %lld, expected %lld\n", what, STR_ARG(key),
           (long long)window, (long long)have, (long long)want);
    return false;
}

static bool sink_holds(const struct scene *scene, const struct rig_row *rows, int32_t count)
{
    int64_t(*have)[SCENE_WINDOWS_MAX] = mem_new(SCENE_USERS_MAX, (ptrdiff_t)sizeof(*have));
    bool ok = true;
    for (int32_t i = 0; i < count && ok; i++) {
        int32_t user = rows[i].key.len > 4 ? (int32_t)strtol(rows[i].key.ptr + 4, NULL, 10) : -1;
        int64_t window = rows[i].time_ms / FAKE_WINDOW_MS;
        CHECK(user >= 0 && user < SCENE_USERS_MAX && window >= 0 && window < SCENE_WINDOWS_MAX);
        int64_t n = strtol(rows[i].value.ptr, NULL, 10);
        if (have[user][window] != 0) {
            ok = differs("second result", rows[i].key, window, n, have[user][window]);
        }
        have[user][window] = n;
        if (ok && n != scene->expected[user][window]) {
            ok = differs("count", rows[i].key, window, n, scene->expected[user][window]);
        }
    }
    for (int32_t user = 0; user < SCENE_USERS_MAX && ok; user++) {
        for (int64_t window = 0; window < SCENE_WINDOWS_MAX && ok; window++) {
            if (have[user][window] != scene->expected[user][window]) {
                ok = differs("missing count", str_of(scene->texts[user]), window,
                             have[user][window], scene->expected[user][window]);
            }
        }
    }
    mem_free(have);
    return ok;
}

bool scene_holds(const struct scene *scene, struct rig *rig)
{
    struct arena arena;
    arena_init(&arena, 256 << 20);
    struct rig_row *rows;
    int32_t count = rig_read(rig, "counts", &arena, &rows);
    bool ok = sink_holds(scene, rows, count);
    int32_t late = rig_read(rig, "p.count.late", &arena, &rows);
    if (ok && late != scene->expected_late) {
        ok = differs("late records", STR("all"), 0, late, scene->expected_late);
    }
    arena_release(&arena);
    return ok;
}
