// SPDX-License-Identifier: Apache-2.0
#include "node/position.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "node/changelog.h"
#include "test.h"

/* Coverage and position maps against twins that keep one number for each key group. */

enum { SOURCES = 3 };

struct naive {
    int64_t watermark_ms[SOURCES][KEY_GROUP_COUNT];
    bool covered[SOURCES][KEY_GROUP_COUNT];
    bool idle[SOURCES][KEY_GROUP_COUNT];
};

static void naive_mark(struct naive *naive, const struct mark *mark)
{
    for (uint32_t g = mark->group_lo; g < mark->group_hi; g++) {
        uint32_t s = mark->source_shard;
        if (!naive->covered[s][g]) {
            naive->watermark_ms[s][g] = INT64_MIN;
            naive->covered[s][g] = true;
        }
        int64_t *at = &naive->watermark_ms[s][g];
        if (mark->kind == MARK_IDLE) {
            naive->idle[s][g] = *at != INT64_MAX;
            continue;
        }
        int64_t to = mark->kind == MARK_END ? INT64_MAX : mark->watermark_ms;
        *at = to > *at ? to : *at;
        naive->idle[s][g] = false;
    }
}

static int64_t naive_watermark(const struct naive *naive, bool *ret_idle)
{
    int64_t lowest = INT64_MAX;
    bool idle = true;
    for (int s = 0; s < SOURCES; s++) {
        for (int g = 0; g < KEY_GROUP_COUNT; g++) {
            if (!naive->covered[s][g]) {
                *ret_idle = false;
                return INT64_MIN;
            }
            if (!naive->idle[s][g]) {
                idle = false;
                lowest = naive->watermark_ms[s][g] < lowest ? naive->watermark_ms[s][g] : lowest;
            }
        }
    }
    *ret_idle = idle;
    return idle ? INT64_MIN : lowest;
}

/* Ranges that often meet at the same borders, as layouts do. */
static void draw_range(struct rng *rng, uint32_t *lo, uint32_t *hi)
{
    uint32_t parts = 1U << rng_range(rng, 0, 4);
    uint32_t k = (uint32_t)rng_below(rng, parts);
    *lo = k * (KEY_GROUP_COUNT / parts);
    *hi = (k + 1) * (KEY_GROUP_COUNT / parts);
    if (rng_chance(rng, 0.1)) {
        *lo = (uint32_t)rng_below(rng, KEY_GROUP_COUNT);
        *hi = (uint32_t)rng_range(rng, *lo + 1, KEY_GROUP_COUNT);
    }
}

static struct mark draw_mark(struct rng *rng, int64_t now_ms)
{
    struct mark mark = {.kind = rng_chance(rng, 0.1) ? MARK_IDLE : MARK_WATERMARK,
                        .source_shard = (uint32_t)rng_below(rng, SOURCES),
                        .watermark_ms = now_ms + rng_range(rng, -50, 50)};
    mark.kind = rng_chance(rng, 0.02) ? MARK_END : mark.kind;
    draw_range(rng, &mark.group_lo, &mark.group_hi);
    return mark;
}

TEST(coverage_is_what_a_twin_with_a_number_for_each_key_group_says)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int round = 0; round < 20; round++) {
        struct naive *naive = MEM_NEW(struct naive);
        struct coverage coverage = {0};
        for (int i = 0; i < 150; i++) {
            struct mark mark = draw_mark(&rng, i);
            char buf[MARK_HEADERS_MAX];
            struct record record = mark_record(&mark, buf);
            struct str rest = record.headers, name, value;
            EXPECT(record_header_next(&rest, &name, &value) && mark_decode(value, &mark));
            naive_mark(naive, &mark);
            coverage_mark(&coverage, &mark);
            bool idle, naive_idle;
            int64_t have = coverage_watermark(&coverage, SOURCES, &idle);
            EXPECT_INT(have, naive_watermark(naive, &naive_idle));
            EXPECT_INT(idle, naive_idle);
        }
        struct position position = POSITION_START;
        position.next_offset = 77;
        position.coverage = coverage;
        ptrdiff_t len = position_bytes(&position);
        char *bytes = mem_new(len, 1);
        position_encode(&position, bytes);
        struct position back;
        EXPECT(position_decode((struct str){bytes, len}, &back, NULL) == ERR_OK);
        EXPECT_INT(back.next_offset, 77);
        EXPECT_INT(back.coverage.count, coverage.count);
        EXPECT(position_decode((struct str){bytes, len - 1}, &back, NULL) == ERR_CORRUPT);
        struct coverage joined = {0};
        coverage_join(&joined, &back.coverage);
        bool idle, idle2;
        EXPECT_INT(coverage_watermark(&joined, SOURCES, &idle),
                   coverage_watermark(&coverage, SOURCES, &idle2));
        EXPECT_INT(idle, idle2);
        mem_free(bytes);
        coverage_release(&joined);
        position_release(&back);
        coverage_release(&coverage);
        mem_free(naive);
    }
}

TEST(later_positions_replace_earlier_ones_for_the_groups_they_name)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int round = 0; round < 50; round++) {
        static int64_t naive[KEY_GROUP_COUNT];
        memset(naive, 0, sizeof(naive));
        struct position_map map = {0};
        for (int i = 1; i <= 30; i++) {
            uint32_t lo, hi;
            draw_range(&rng, &lo, &hi);
            struct position position = POSITION_START;
            position.next_offset = i;
            coverage_mark(&position.coverage,
                          &(struct mark){.kind = MARK_WATERMARK, .group_hi = KEY_GROUP_COUNT});
            position_map_put(&map, lo, hi, position);
            for (uint32_t g = lo; g < hi; g++) {
                naive[g] = i;
            }
        }
        uint32_t lo, hi;
        draw_range(&rng, &lo, &hi);
        position_map_clip(&map, lo, hi);
        uint32_t at = lo;
        for (int32_t i = 0; i < map.count; i++) {
            EXPECT_INT(map.segments[i].group_lo, at);
            for (; at < map.segments[i].group_hi; at++) {
                EXPECT_INT(map.segments[i].position.next_offset, naive[at]);
            }
        }
        EXPECT_INT(at, hi);
        position_map_release(&map);
    }
}

TEST(keys_of_a_changelog_read_back)
{
    char buf[CHANGELOG_KEY_BYTES];
    struct str key = changelog_own_key(buf, CHANGELOG_SPACE_POSITION, 1, 64, KEY_GROUP_COUNT);
    struct changelog_key parsed;
    EXPECT(changelog_key_parse(key, &parsed));
    EXPECT(parsed.space == CHANGELOG_SPACE_POSITION && parsed.input == 1 && parsed.group == 64);
    EXPECT(parsed.group_lo == 64 && parsed.group_hi == KEY_GROUP_COUNT);
    for (ptrdiff_t len = 0; len < key.len; len++) {
        EXPECT(!changelog_key_parse((struct str){key.ptr, len}, &parsed));
    }
    struct stage_shape *shape = MEM_NEW(struct stage_shape);
    struct stage_shape *back = MEM_NEW(struct stage_shape);
    shape->text = STR("- window: {name: w}");
    shape->space_count = 2;
    shape->spaces[0].name = STR("w/windows");
    shape->spaces[0].schema = STR("count");
    shape->spaces[1].name = STR("d/seen");
    ptrdiff_t len = stage_shape_bytes(shape);
    char *bytes = mem_new(len, 1);
    stage_shape_encode(shape, bytes);
    EXPECT(stage_shape_decode((struct str){bytes, len}, back, NULL) == ERR_OK);
    EXPECT_STR(back->text, shape->text);
    EXPECT_INT(back->space_count, 2);
    EXPECT_STR(back->spaces[0].schema, STR("count"));
    EXPECT_STR(back->spaces[1].name, STR("d/seen"));
    EXPECT_INT(back->input_count, 0); /* as earlier versions wrote it */
    for (ptrdiff_t cut = 0; cut < len; cut++) {
        EXPECT(stage_shape_decode((struct str){bytes, cut}, back, NULL) == ERR_CORRUPT);
    }
    mem_free(bytes);
    shape->input_count = 2;
    shape->inputs[0] = STR("clicks");
    shape->inputs[1] = STR("views");
    ptrdiff_t with_inputs = stage_shape_bytes(shape);
    bytes = mem_new(with_inputs, 1);
    stage_shape_encode(shape, bytes);
    EXPECT(stage_shape_decode((struct str){bytes, with_inputs}, back, NULL) == ERR_OK);
    EXPECT_INT(back->input_count, 2);
    EXPECT_STR(back->inputs[0], STR("clicks"));
    EXPECT_STR(back->inputs[1], STR("views"));
    ptrdiff_t first = len + 2 + STR("clicks").len;
    for (ptrdiff_t cut = len + 1; cut < with_inputs; cut++) {
        enum err wanted = cut == first ? ERR_OK : ERR_CORRUPT;
        EXPECT(stage_shape_decode((struct str){bytes, cut}, back, NULL) == wanted);
    }
    mem_free(bytes);
    mem_free(shape);
    mem_free(back);
}
