// SPDX-License-Identifier: Apache-2.0
/* What is remembered of operations. */
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "control/operations.h"
#include "test.h"

static struct operations ops;
static struct arena arena;

static void begin(void)
{
    operations_init(&ops);
    arena_release(&arena);
    arena_init(&arena, 16 << 20);
}

static struct operation *made(enum operation_kind kind, enum operation_state state)
{
    struct operation *op = MEM_NEW(struct operation);
    op->kind = kind;
    op->state = state;
    op->outcome = state;
    op->stage = op->node = op->lane = -1;
    op->began_ms = 1767225600000;
    return op;
}

static struct operation *partition(int32_t stage, uint32_t shard, uint32_t lo, uint32_t hi)
{
    struct operation *op = made(OPERATION_SPLIT, OPERATION_CHANGING);
    op->stage = stage;
    op->shard = shard;
    op->group_lo = lo;
    op->group_hi = hi;
    op->pipeline = STR("p");
    return op;
}

TEST(states_follow_the_table_and_end)
{
    EXPECT(operation_follows(OPERATION_MEASURING, OPERATION_RECORDING));
    EXPECT(!operation_follows(OPERATION_MEASURING, OPERATION_CHANGING)); /* O1 */
    EXPECT(!operation_follows(OPERATION_CHANGING, OPERATION_DONE));
    for (int from = OPERATION_CHECKED; from < OPERATION_STATE_COUNT; from++) {
        for (int to = 0; to < OPERATION_STATE_COUNT; to++) {
            EXPECT(!operation_follows((enum operation_state)from, (enum operation_state)to));
        }
    }
}

TEST(numbers_grow_and_the_oldest_final_ones_are_forgotten)
{
    begin();
    operations_add(&ops, made(OPERATION_SPLIT, OPERATION_CHANGING)); /* 1: never final */
    for (int i = 0; i < OPERATIONS_KEPT_MAX + 50; i++) {
        operations_add(&ops, made(OPERATION_MERGE, OPERATION_DONE));
    }
    EXPECT_INT(ops.count, OPERATIONS_KEPT_MAX);
    EXPECT_INT(ops.last_id, OPERATIONS_KEPT_MAX + 51);
    EXPECT(operations_find(&ops, 1) != NULL);
    EXPECT(operations_find(&ops, 2) == NULL);
    EXPECT(operations_find(&ops, 53) != NULL && operations_find(&ops, 53)->id == 53);
    EXPECT(operations_find(&ops, OPERATIONS_KEPT_MAX + 52) == NULL);
    EXPECT_INT(operations_active(&ops), 1);
    operations_release(&ops);
}

/* O2, against the sentence itself, on random pairs. */
TEST(operations_that_concern_the_same_are_in_each_others_way)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int round = 0; round < 2000; round++) {
        begin();
        struct operation *a = partition((int32_t)rng_below(&rng, 2), (uint32_t)rng_below(&rng, 2),
                                        (uint32_t)rng_below(&rng, 8), 8);
        struct operation *b = partition((int32_t)rng_below(&rng, 2), (uint32_t)rng_below(&rng, 2),
                                        (uint32_t)rng_below(&rng, 8), 0);
        b->group_hi = b->group_lo + 1 + (uint32_t)rng_below(&rng, 4);
        bool shared = false;
        for (uint32_t g = 0; g < 16; g++) {
            shared = shared || (a->stage == b->stage && a->shard == b->shard && g >= a->group_lo &&
                                g < a->group_hi && g >= b->group_lo && g < b->group_hi);
        }
        operations_add(&ops, a);
        EXPECT((operations_conflict(&ops, b) != NULL) == shared);
        a->state = OPERATION_UNDONE;
        EXPECT(operations_conflict(&ops, b) == NULL);
        mem_free(b);
        operations_release(&ops);
    }
}

TEST(nodes_and_pipelines_have_their_own_conflicts)
{
    begin();
    struct operation *drain = made(OPERATION_NODE_DRAIN, OPERATION_CHANGING);
    drain->node = 1;
    operations_add(&ops, drain);
    struct operation *other = made(OPERATION_NODE_ADD, OPERATION_MEASURING);
    other->node = 2;
    EXPECT(operations_conflict(&ops, other) == NULL);
    other->node = 1;
    EXPECT(operations_conflict(&ops, other) == drain);
    struct operation *part = partition(0, 0, 0, 4096);
    EXPECT(operations_conflict(&ops, part) == NULL);
    struct operation *text = made(OPERATION_PIPELINE, OPERATION_CHANGING);
    text->pipeline = STR("p");
    operations_add(&ops, text);
    EXPECT(operations_conflict(&ops, part) == text);
    part->pipeline = STR("q");
    EXPECT(operations_conflict(&ops, part) == NULL);
    mem_free(part);
    mem_free(other);
    operations_release(&ops);
}

TEST(a_key_finds_its_operation)
{
    begin();
    struct operation *op = made(OPERATION_SPLIT, OPERATION_DONE);
    memcpy(op->key, "k1", 3);
    operations_add(&ops, op);
    operations_add(&ops, made(OPERATION_SPLIT, OPERATION_DONE));
    EXPECT(operations_find_key(&ops, STR("k1")) == op);
    EXPECT(operations_find_key(&ops, STR("k")) == NULL);
    EXPECT(operations_find_key(&ops, STR("")) == NULL);
    operations_release(&ops);
}

static struct operation rich(void)
{
    struct operation op = {.id = 77,
                           .kind = OPERATION_SPLIT,
                           .state = OPERATION_ENDING,
                           .outcome = OPERATION_UNDONE,
                           .subject = "p/s/1/0-4096",
                           .target = "at 7, \"quoted\"\n",
                           .who = "root",
                           .key = "k\xc3\xa4y",
                           .request_hash = 0xfedcba9876543210,
                           .began_ms = 1767225600123,
                           .ended_ms = 1767225601000,
                           .stage = 3,
                           .shard = 1,
                           .group_hi = 4096,
                           .border = 7,
                           .node = -1,
                           .lane = -1,
                           .partitions = 1,
                           .partitions_done = 1,
                           .upper_share = 0.25,
                           .state_bytes = 1 << 20,
                           .moved_bytes = 17,
                           .pause_ns = 12345678,
                           .expected_pause_ns = 5,
                           .restored = 1,
                           .map_version = 9,
                           .err = ERR_CANCELLED,
                           .reason = "because"};
    return op;
}

TEST(a_record_reads_back_as_what_was_written)
{
    begin();
    struct operation op = rich(), back;
    struct err_info info = {.text = ""};
    EXPECT_MSG(operation_read(operation_write(&op, &arena), &back, &info) == ERR_OK, "%s",
               info.text);
    EXPECT_INT(back.id, 77);
    EXPECT_INT(back.state, OPERATION_UNDONE);
    EXPECT(!back.unfinished && operation_final(&back));
    EXPECT_STR(str_of(back.subject), str_of(op.subject));
    EXPECT_STR(str_of(back.target), str_of(op.target));
    EXPECT_STR(str_of(back.key), str_of(op.key));
    EXPECT_STR(str_of(back.reason), str_of(op.reason));
    EXPECT(back.request_hash == op.request_hash);
    EXPECT(back.began_ms == op.began_ms && back.ended_ms == op.ended_ms);
    EXPECT(back.pause_ns == op.pause_ns && back.moved_bytes == op.moved_bytes);
    EXPECT(back.border == 7 && back.node == -1 && back.group_hi == 4096);
    EXPECT(back.err == ERR_CANCELLED);
    op.state = OPERATION_RECORDING;
    op.ended_ms = 0;
    EXPECT(operation_read(operation_write(&op, &arena), &back, &info) == ERR_OK);
    EXPECT(back.unfinished && !operation_final(&back));
}

/* Bytes changed, cut, or something else altogether: an operation or CORRUPT, never more. */
TEST(records_that_are_none_are_refused)
{
    begin();
    struct operation op = rich(), back;
    struct err_info info;
    struct rng rng;
    struct str whole = operation_write(&op, &arena);
    char *copy = arena_dup(&arena, whole.ptr, whole.len);
    int refused = 0;
    rng_init(&rng, test_seed());
    EXPECT(operation_read(STR(""), &back, &info) == ERR_CORRUPT);
    EXPECT(operation_read(STR("{}"), &back, &info) == ERR_CORRUPT);
    EXPECT(operation_read(STR("[1]"), &back, &info) == ERR_CORRUPT);
    for (ptrdiff_t len = 0; len < whole.len; len++) {
        EXPECT(operation_read((struct str){whole.ptr, len}, &back, &info) == ERR_CORRUPT);
    }
    for (int round = 0; round < 20000; round++) {
        ptrdiff_t at = (ptrdiff_t)rng_below(&rng, (uint64_t)whole.len);
        char was = copy[at];
        copy[at] = (char)rng_u64(&rng);
        enum err err = operation_read((struct str){copy, whole.len}, &back, &info);
        EXPECT(err == ERR_OK || err == ERR_CORRUPT);
        if (err == ERR_OK) {
            EXPECT(back.id > 0 && (unsigned)back.kind < OPERATION_KIND_COUNT &&
                   (unsigned)back.state < OPERATION_STATE_COUNT && back.group_hi <= 4096 &&
                   back.border <= 4096);
        }
        refused += err != ERR_OK;
        copy[at] = was;
    }
    EXPECT(refused > 1000);
}

TEST(places_and_ranges_are_read_strictly)
{
    int32_t node = 0, lane = 0;
    uint32_t lo = 0, hi = 0;
    EXPECT(place_parse(STR("n12"), &node, &lane) && node == 12 && lane == -1);
    EXPECT(place_parse(STR("n1/3"), &node, &lane) && node == 1 && lane == 3);
    static const char *const no_places[] = {"",    "n",     "1",      "n1/",     "n/1", "n-1",
                                            "n1x", "n1/2x", "n99999", "n1/9999", "N1",  "n1 /0"};
    for (size_t i = 0; i < COUNT_OF(no_places); i++) {
        EXPECT_MSG(!place_parse(str_of(no_places[i]), &node, &lane), "%s", no_places[i]);
    }
    EXPECT(range_parse(STR("0-4096"), &lo, &hi) && lo == 0 && hi == 4096);
    EXPECT(range_parse(STR("7-8"), &lo, &hi) && lo == 7 && hi == 8);
    static const char *const no_ranges[] = {"",       "0",   "0-",   "-1",   "4-4",   "5-4",
                                            "0-4097", "a-b", "0-1x", "0--1", "0 - 1", "0-99999999"};
    for (size_t i = 0; i < COUNT_OF(no_ranges); i++) {
        EXPECT_MSG(!range_parse(str_of(no_ranges[i]), &lo, &hi), "%s", no_ranges[i]);
    }
}
