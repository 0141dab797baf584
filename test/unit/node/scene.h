// SPDX-License-Identifier: Apache-2.0
#ifndef TEST_SCENE_H
#define TEST_SCENE_H

#include "rig.h"

/* Input for the rig's two stages and, recounted by other means than the product's, what must come out. */

enum { SCENE_SHARDS_MAX = 8, SCENE_USERS_MAX = 512, SCENE_WINDOWS_MAX = 256 };

struct scene {
    int32_t shards, users;
    int64_t out_of_order_ms;
    struct rig_record *records[SCENE_SHARDS_MAX];
    int32_t count[SCENE_SHARDS_MAX];
    int32_t produced[SCENE_SHARDS_MAX];
    char (*texts)[24];
    int64_t expected[SCENE_USERS_MAX][SCENE_WINDOWS_MAX]; /* records in time */
    int64_t expected_late;
};

/* `per_shard` records for each of `shards` shards: users spread as they come, times rising with some behind. */
void scene_init(struct scene *scene, uint64_t seed, int32_t shards, int32_t per_shard,
                int32_t users, int64_t out_of_order_ms);
void scene_release(struct scene *scene);

/* Produces up to `count` more records of each shard in small batches; true if some are left. */
bool scene_produce(struct scene *scene, struct rig *rig, int32_t count);

/* Whether the sink and the late stream hold exactly what they should; prints the first difference. */
bool scene_holds(const struct scene *scene, struct rig *rig);

#endif
