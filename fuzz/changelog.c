// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "node/changelog.h"
#include "node/map.h"

/* What partitions are restored from, out of any bytes: the first byte chooses positions, marks, maps, shapes, or entries of
 * state. What decodes encodes to something that decodes to the same. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void position(struct str bytes)
{
    struct position position, again;
    struct err_info info = {0};
    if (position_decode(bytes, &position, &info) != ERR_OK) {
        CHECK(info.text[0] != 0);
        return;
    }
    ptrdiff_t len = position_bytes(&position);
    char *buf = mem_new(len, 1);
    position_encode(&position, buf);
    CHECK(position_decode((struct str){buf, len}, &again, NULL) == ERR_OK);
    CHECK(again.next_offset == position.next_offset && again.time.max_ms == position.time.max_ms &&
          again.time.watermark_ms == position.time.watermark_ms &&
          again.coverage.count == position.coverage.count);
    bool idle = false;
    IGNORE_RESULT(coverage_watermark(&position.coverage, 4, &idle)); /* must only come back */
    mem_free(buf);
    position_release(&position);
    position_release(&again);
}

static void marks(struct str bytes)
{
    struct mark mark;
    struct coverage coverage = {0};
    for (; bytes.len >= MARK_VALUE_BYTES;
         bytes.ptr += MARK_VALUE_BYTES, bytes.len -= MARK_VALUE_BYTES) {
        if (mark_decode((struct str){bytes.ptr, MARK_VALUE_BYTES}, &mark)) {
            CHECK(mark.group_lo < mark.group_hi && mark.group_hi <= KEY_GROUP_COUNT);
            coverage_mark(&coverage, &mark);
        }
    }
    for (int32_t i = 1; i < coverage.count; i++) {
        const struct coverage_piece *a = &coverage.pieces[i - 1];
        const struct coverage_piece *b = &coverage.pieces[i];
        CHECK(a->source_shard < b->source_shard ||
              (a->source_shard == b->source_shard && a->group_hi <= b->group_lo));
    }
    coverage_release(&coverage);
}

static void map(struct str bytes)
{
    struct arena arena;
    struct partition_map map, again;
    struct err_info info = {0};
    arena_init(&arena, 64 << 20);
    if (partition_map_decode(&arena, bytes, &map, &info) == ERR_OK) {
        ptrdiff_t len = partition_map_bytes(&map);
        char *buf = arena_new(&arena, len, 1);
        partition_map_encode(&map, buf);
        CHECK(partition_map_decode(&arena, (struct str){buf, len}, &again, NULL) == ERR_OK);
        CHECK(again.count == map.count && again.version == map.version);
        if (partition_map_check(&map, 4, &info) == ERR_OK) {
            CHECK(partition_map_find(&map, 3, KEY_GROUP_COUNT - 1) == map.count - 1);
        }
    } else {
        CHECK(info.text[0] != 0);
    }
    arena_release(&arena);
}

static void shape(struct str bytes)
{
    static struct stage_shape shape, again;
    struct err_info info = {0};
    if (stage_shape_decode(bytes, &shape, &info) != ERR_OK) {
        CHECK(info.text[0] != 0);
        return;
    }
    ptrdiff_t len = stage_shape_bytes(&shape);
    char *buf = mem_new(len, 1);
    stage_shape_encode(&shape, buf);
    CHECK(stage_shape_decode((struct str){buf, len}, &again, NULL) == ERR_OK);
    CHECK(again.space_count == shape.space_count && str_equal(again.text, shape.text));
    mem_free(buf);
}

/* Entries, each: u8 key length, u8 value length (255: a tombstone), key, value. */
static struct str take(struct str *bytes, ptrdiff_t len)
{
    len = len < bytes->len ? len : bytes->len;
    struct str taken = {bytes->ptr, len};
    *bytes = (struct str){bytes->ptr + len, bytes->len - len};
    return taken;
}

static void entries(struct str bytes)
{
    struct state *state = state_new(0, KEY_GROUP_COUNT);
    struct state_space *space = state_space_open(
        state, &(struct state_space_options){
                   .name = STR("w"), .schema = STR("w/1"), .payload_bytes = 16, .timed = true});
    while (bytes.len >= 2) {
        int key_len = (uint8_t)bytes.ptr[0], value_len = (uint8_t)bytes.ptr[1];
        IGNORE_RESULT(take(&bytes, 2));
        struct str key = take(&bytes, key_len);
        struct str value = value_len == 255 ? (struct str){NULL, 0} : take(&bytes, value_len);
        struct changelog_key parsed;
        uint32_t group = 0, id = 0;
        struct str record_key;
        IGNORE_RESULT(changelog_key_parse(key, &parsed)); /* must only come back */
        bool good = state_entry_key(key, &group, &id, &record_key);
        enum err err = state_apply(state, key, value);
        CHECK(err == ERR_OK || err == ERR_NOT_FOUND || err == ERR_CORRUPT);
        CHECK(err != ERR_OK || good);
    }
    uint64_t cursor = 0;
    int64_t count = 0;
    struct state_entry entry;
    while (state_next(space, &cursor, &entry)) {
        count++;
    }
    CHECK(count == state_entry_count(state));
    IGNORE_RESULT(state_digest(state)); /* must only come back */
    state_free(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const kinds[])(struct str) = {position, marks, map, shape, entries};
    if (size < 1) {
        return 0;
    }
    char *copy =
        mem_new((ptrdiff_t)size, 1); /* of exactly that size, so that a step outside is seen */
    memcpy(copy, data + 1, size - 1);
    kinds[data[0] % COUNT_OF(kinds)]((struct str){copy, (ptrdiff_t)size - 1});
    mem_free(copy);
    return 0;
}
