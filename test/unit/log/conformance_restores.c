// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/mem.h"
#include "conformance.h"

/* Changelogs, checkpoints, restores, held against a model: an array of what each key should have. */

enum { GROUPS = 4096, KEYS_PER_GROUP = 2, GROUP_STEP = 37 };
enum { KEYS = (GROUPS / GROUP_STEP + 1) * KEYS_PER_GROUP };

struct model {
    int32_t value[KEYS]; /* 0: absent */
};

/* Key `index` as changelogs have them: u16 BE group, u32 BE space, i64 time, user key. */
static struct str model_key(int32_t index, char buf[24])
{
    uint32_t group = (uint32_t)(index / KEYS_PER_GROUP * GROUP_STEP);
    memset(buf, 0, 24);
    buf[0] = (char)(group >> 8);
    buf[1] = (char)group;
    buf[5] = 16;
    int len = snprintf(buf + 14, 10, "k%d", index % KEYS_PER_GROUP);
    return (struct str){.ptr = buf, .len = 14 + len};
}

static int32_t model_index(struct str key)
{
    if (key.len != 16) {
        return -1;
    }
    uint32_t group = (uint32_t)(uint8_t)key.ptr[0] << 8 | (uint8_t)key.ptr[1];
    return group % GROUP_STEP != 0
               ? -1
               : (int32_t)(group / GROUP_STEP) * KEYS_PER_GROUP + (key.ptr[15] - '0');
}

static uint32_t key_group(int32_t index)
{
    return (uint32_t)(index / KEYS_PER_GROUP * GROUP_STEP);
}

static struct shard_id changelog_new(struct rig *rig)
{
    return rig_shard(rig_stream(rig, "sc.p.s.log", STREAM_INTERNAL | STREAM_CHANGELOG, 1), 0);
}

/* A commit of some random changes within [lo, hi), which `model` takes too. Not submitted: the op and its batch. */
struct change {
    struct log_op op;
    struct log_batch batch;
    struct model after;
};

static void change_make(struct rig *rig, struct change *change, const struct model *before,
                        const struct rig_owner *owner, struct shard_id changelog)
{
    static int32_t counter;
    change->after = *before;
    record_builder_reset(&rig->builder);
    for (int64_t n = rng_range(&rig->rng, 1, 30); n > 0; n--) {
        char key_buf[24], value_buf[16];
        int32_t index = (int32_t)rng_below(&rig->rng, KEYS);
        struct record record = {.key = model_key(index, key_buf)};
        change->after.value[index] = 0;
        if (!rng_chance(&rig->rng, 0.2)) {
            change->after.value[index] = ++counter;
            int len = snprintf(value_buf, sizeof value_buf, "%d", counter);
            record.value = (struct str){.ptr = value_buf, .len = len};
        }
        CHECK(record_builder_add(&rig->builder, &record) == ERR_OK);
    }
    void *bytes;
    ptrdiff_t len;
    CHECK(record_builder_finish(&rig->builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) == ERR_OK);
    change->batch =
        (struct log_batch){.shard = changelog, .bytes = malloc((size_t)len), .len = len};
    CHECK(change->batch.bytes != NULL);
    memcpy(change->batch.bytes, bytes, (size_t)len);
    change->op = (struct log_op){.u.commit = {.owner = owner->id,
                                              .incarnation = owner->incarnation,
                                              .sequence = owner->sequence + 1,
                                              .batches = &change->batch,
                                              .batch_count = 1}};
}

/* Commits random changes; returns the commit's name (its end offset). */
static int64_t change_commit(struct rig *rig, struct model *model, struct rig_owner *owner,
                             struct shard_id changelog)
{
    static struct change change;
    change_make(rig, &change, model, owner, changelog);
    enum err err = rig_do(rig, &change.op, LOG_OP_COMMIT);
    CHECK_MSG(err == ERR_OK, "%s", change.op.info.text);
    free(change.batch.bytes);
    owner->sequence++;
    *model = change.after;
    return change.batch.ret_end_offset;
}

static enum err restore_open(struct rig *rig, struct shard_id changelog, uint32_t lo, uint32_t hi,
                             int64_t at, struct log_op *op)
{
    *op = (struct log_op){.u.restore = {.changelog = changelog,
                                        .group_lo = lo,
                                        .group_hi = hi,
                                        .at = at,
                                        .buf = rig->buf,
                                        .cap = RIG_BUF_BYTES}};
    return rig_do(rig, op, LOG_OP_RESTORE_OPEN);
}

/* Applies everything that an open restore gives, in order, filtered by its range; closes it. */
static void restore_read(struct rig *rig, struct log_op *op, struct model *ret_model)
{
    uint32_t lo = op->u.restore.group_lo, hi = op->u.restore.group_hi;
    *ret_model = (struct model){0};
    do {
        CHECK(rig_do(rig, op, LOG_OP_RESTORE_NEXT) == ERR_OK);
        CHECK(op->u.restore.ret_bytes <= op->u.restore.cap);
        CHECK(op->u.restore.ret_bytes > 0 || !op->u.restore.ret_more);
        for (ptrdiff_t at = 0, total = 0; at < op->u.restore.ret_bytes; at += total) {
            struct record_batch_header header;
            CHECK(record_batch_parse(rig->buf + at, op->u.restore.ret_bytes - at, &header, &total,
                                     NULL) == ERR_OK);
            CHECK(record_batch_verify(rig->buf + at, total, NULL) == ERR_OK);
            CHECK(record_reader_begin(&rig->records, rig->buf + at, total, NULL) == ERR_OK);
            struct record record;
            while (record_reader_next(&rig->records, &record, NULL) == ERR_OK) {
                int32_t index = model_index(record.key);
                CHECK(index >= 0 && index < KEYS);
                if (key_group(index) >= lo && key_group(index) < hi) {
                    char text[16] = {0};
                    memcpy(text, record.value.ptr != NULL ? record.value.ptr : "0",
                           (size_t)(record.value.ptr != NULL ? record.value.len : 1));
                    ret_model->value[index] = (int32_t)strtol(text, NULL, 10);
                }
            }
        }
    } while (op->u.restore.ret_more);
    CHECK(rig_do(rig, op, LOG_OP_RESTORE_CLOSE) == ERR_OK);
}

/* Index of the first key in [lo, hi) about which they differ, or -1. */
static int32_t model_differs(const struct model *a, const struct model *b, uint32_t lo, uint32_t hi)
{
    for (int32_t i = 0; i < KEYS; i++) {
        if (key_group(i) >= lo && key_group(i) < hi && a->value[i] != b->value[i]) {
            return i;
        }
    }
    return -1;
}

/* Whether a restore at `at` equals `model` in a few ranges; with `*ret_passed` when checkpoints have passed `at`. */
static bool restores_equal(struct rig *rig, struct shard_id changelog, int64_t at,
                           const struct model *model, bool *ret_passed)
{
    static const uint32_t ranges[][2] = {{0, 4096},    {0, 1},       {0, 2048},
                                         {2048, 4096}, {1000, 1100}, {4095, 4096}};
    *ret_passed = false;
    for (ptrdiff_t i = 0; i < COUNT_OF(ranges); i++) {
        uint32_t lo = ranges[i][0], hi = ranges[i][1];
        struct log_op op;
        enum err err = restore_open(rig, changelog, lo, hi, at, &op);
        if (err == ERR_OFFSET_RANGE && at != LOG_AT_LAST) {
            *ret_passed = true;
            continue;
        }
        CHECK_MSG(err == ERR_OK, "%s", op.info.text);
        CHECK(op.u.restore.ret_at <= log_end_offset(rig->log, changelog));
        struct model got;
        restore_read(rig, &op, &got);
        int32_t differs = model_differs(model, &got, lo, hi);
        if (differs >= 0) {
            printf("    restore of [%u, %u) at %lld: key %d is %d, expected %d\n", lo, hi,
                   (long long)at, differs, got.value[differs], model->value[differs]);
            return false;
        }
    }
    return true;
}

void conform_restore_of_an_empty_changelog_is_empty(struct rig *rig)
{
    struct shard_id changelog = changelog_new(rig);
    struct model model = {0};
    bool passed;
    EXPECT(restores_equal(rig, changelog, LOG_AT_LAST, &model, &passed));
    EXPECT(restores_equal(rig, changelog, 0, &model, &passed));
    EXPECT(!passed);
}

void conform_restore_gives_the_last_entry_of_each_key(struct rig *rig)
{
    struct shard_id changelog = changelog_new(rig);
    struct rig_owner owner = rig_owner(rig, "n1.0"), other = rig_owner(rig, "n1.1");
    static struct model model;
    model = (struct model){0};
    bool passed;
    for (int i = 0; i < 40; i++) {
        change_commit(rig, &model, i % 3 == 0 ? &other : &owner, changelog);
        if (i % 10 == 9) {
            EXPECT(restores_equal(rig, changelog, LOG_AT_LAST, &model, &passed));
        }
    }
    rig_crash(rig);
    EXPECT(restores_equal(rig, changelog, LOG_AT_LAST, &model, &passed));
}

void conform_restore_at_a_named_commit_gives_the_state_of_then(struct rig *rig)
{
    enum { COMMITS = 20 };
    struct shard_id changelog = changelog_new(rig);
    struct rig_owner owner = rig_owner(rig, "n1.0");
    static struct model models[COMMITS + 1];
    int64_t names[COMMITS + 1] = {0};
    models[0] = (struct model){0};
    for (int i = 1; i <= COMMITS; i++) {
        models[i] = models[i - 1];
        names[i] = change_commit(rig, &models[i], &owner, changelog);
        EXPECT(names[i] > names[i - 1]);
    }
    for (int i = 0; i <= COMMITS; i++) {
        bool passed;
        EXPECT(restores_equal(rig, changelog, names[i], &models[i], &passed));
        EXPECT(!passed); /* there was no checkpoint */
    }
}

void conform_open_restore_is_pinned_while_the_owner_commits_on(struct rig *rig)
{
    struct shard_id changelog = changelog_new(rig);
    struct rig_owner owner = rig_owner(rig, "n1.0");
    static struct model model, then, got;
    model = (struct model){0};
    for (int i = 0; i < 10; i++) {
        change_commit(rig, &model, &owner, changelog);
    }
    then = model;
    struct log_op op;
    EXPECT_INT(restore_open(rig, changelog, 0, GROUPS, LOG_AT_LAST, &op), ERR_OK);
    for (int i = 0; i < 10; i++) {
        change_commit(rig, &model, &owner, changelog);
    }
    for (uint32_t block = 0; block < LOG_BLOCKS; block++) { /* nor do checkpoints take it away */
        ptrdiff_t len;
        record_builder_reset(&rig->builder);
        for (int32_t i = 0; i < KEYS; i++) {
            char key[24], value[16];
            if (key_group(i) / LOG_BLOCK_GROUPS == block && model.value[i] != 0) {
                int value_len = snprintf(value, sizeof value, "%d", model.value[i]);
                struct record record = {.key = model_key(i, key), .value = {value, value_len}};
                CHECK(record_builder_add(&rig->builder, &record) == ERR_OK);
            }
        }
        void *bytes = NULL;
        if (rig->builder.count == 0) {
            len = 0;
        } else {
            CHECK(record_builder_finish(&rig->builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) ==
                  ERR_OK);
        }
        struct log_op checkpoint = {.u.checkpoint = {.changelog = changelog,
                                                     .group_lo = block * LOG_BLOCK_GROUPS,
                                                     .group_hi = (block + 1) * LOG_BLOCK_GROUPS,
                                                     .at = log_end_offset(rig->log, changelog),
                                                     .bytes = bytes,
                                                     .len = len}};
        EXPECT_INT(rig_do(rig, &checkpoint, LOG_OP_CHECKPOINT), ERR_OK);
    }
    rig_pass(rig, 10000000000);
    restore_read(rig, &op, &got);
    EXPECT_INT(model_differs(&then, &got, 0, GROUPS), -1);
    bool passed;
    EXPECT(restores_equal(rig, changelog, LOG_AT_LAST, &model, &passed));
}

/* Writes a checkpoint of [lo, hi) within a block, as of `at`, whose state is `model`. */
static void checkpoint_write(struct rig *rig, struct shard_id changelog, uint32_t lo, uint32_t hi,
                             int64_t at, const struct model *model)
{
    static uint8_t bytes[1 << 16];
    ptrdiff_t used = 0;
    record_builder_reset(&rig->builder);
    for (int32_t i = 0; i <= KEYS; i++) {
        bool inside = i < KEYS && key_group(i) >= lo && key_group(i) < hi && model->value[i] != 0;
        if (inside) {
            char key[24], value[16];
            int len = snprintf(value, sizeof value, "%d", model->value[i]);
            struct record record = {.key = model_key(i, key), .value = {value, len}};
            CHECK(record_builder_add(&rig->builder, &record) == ERR_OK);
        }
        if (rig->builder.count == 2 ||
            (i == KEYS && rig->builder.count > 0)) { /* several batches */
            void *batch;
            ptrdiff_t len;
            CHECK(record_builder_finish(&rig->builder, RECORD_PRODUCER_NONE, &batch, &len, NULL) ==
                  ERR_OK);
            CHECK(used + len <= (ptrdiff_t)sizeof bytes);
            memcpy(bytes + used, batch, (size_t)len);
            used += len;
            record_builder_reset(&rig->builder);
        }
    }
    struct log_op op = {.u.checkpoint = {.changelog = changelog,
                                         .group_lo = lo,
                                         .group_hi = hi,
                                         .at = at,
                                         .bytes = bytes,
                                         .len = used}};
    enum err err = rig_do(rig, &op, LOG_OP_CHECKPOINT);
    CHECK_MSG(err == ERR_OK, "%s", op.info.text);
}

/* Rounds of commits and checkpoints of random blocks, some of a part of a block only, some as of an older commit. */
static void checkpoint_rounds(struct rig *rig, bool with_crashes)
{
    enum { ROUNDS = 30 };
    struct shard_id changelog = changelog_new(rig);
    struct rig_owner owner = rig_owner(rig, "n1.0");
    static struct model model, older;
    model = (struct model){0};
    bool passed;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t at = 0;
        for (int64_t n = rng_range(&rig->rng, 1, 4); n > 0; n--) {
            at = change_commit(rig, &model, &owner, changelog);
        }
        older = model;
        int64_t last = at;
        if (rng_chance(&rig->rng, 0.5)) {
            last =
                change_commit(rig, &model, &owner, changelog); /* the checkpoint is of before it */
        }
        uint32_t first = (uint32_t)rng_below(&rig->rng, LOG_BLOCKS);
        uint32_t count =
            rng_chance(&rig->rng, 0.2) ? LOG_BLOCKS : (uint32_t)rng_below(&rig->rng, 8);
        for (uint32_t b = 0; b < count; b++) {
            uint32_t lo = (first + b) % LOG_BLOCKS * LOG_BLOCK_GROUPS, hi = lo + LOG_BLOCK_GROUPS;
            if (rng_chance(&rig->rng, 0.2)) { /* two partitions share the block */
                uint32_t mid = lo + 20;
                checkpoint_write(rig, changelog, lo, mid, at, &older);
                lo = mid;
            }
            checkpoint_write(rig, changelog, lo, hi, at, &older);
        }
        rig_pass(rig, 2000000000);
        if (with_crashes && rng_chance(&rig->rng, 0.4)) {
            rig_crash(rig);
            owner = rig_owner(rig, "n1.0");
        }
        EXPECT(restores_equal(rig, changelog, LOG_AT_LAST, &model, &passed));
        EXPECT(restores_equal(rig, changelog, last, &model, &passed));
        EXPECT(!passed); /* the last commit can always be named */
        EXPECT(restores_equal(rig, changelog, at, &older, &passed)); /* or may have been passed */
    }
}

void conform_restore_after_checkpoints_gives_the_same(struct rig *rig)
{
    checkpoint_rounds(rig, false);
}

void conform_restore_after_checkpoints_and_a_crash_gives_the_same(struct rig *rig)
{
    checkpoint_rounds(rig, true);
}

void conform_restore_of_what_cannot_be_is_refused(struct rig *rig)
{
    struct shard_id changelog = changelog_new(rig);
    struct shard_id plain = rig_shard(rig_stream(rig, "clicks", 0, 1), 0);
    struct rig_owner owner = rig_owner(rig, "n1.0");
    static struct model model;
    model = (struct model){0};
    int64_t end = change_commit(rig, &model, &owner, changelog);
    struct log_op op;
    EXPECT_INT(restore_open(rig, changelog, 0, GROUPS, end + 1, &op), ERR_OFFSET_RANGE);
    EXPECT_INT(restore_open(rig, changelog, 5, 5, LOG_AT_LAST, &op), ERR_INVALID);
    EXPECT_INT(restore_open(rig, changelog, 0, GROUPS + 1, LOG_AT_LAST, &op), ERR_INVALID);
    EXPECT_INT(restore_open(rig, plain, 0, GROUPS, LOG_AT_LAST, &op), ERR_INVALID);
}

void conform_checkpoint_of_more_than_a_block_is_refused(struct rig *rig)
{
    struct shard_id changelog = changelog_new(rig);
    struct log_op op = {.u.checkpoint = {.changelog = changelog, .group_lo = 0, .group_hi = 65}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_CHECKPOINT), ERR_INVALID);
    op.u.checkpoint.group_lo = 63;
    EXPECT_INT(rig_do(rig, &op, LOG_OP_CHECKPOINT), ERR_INVALID);
    op.u.checkpoint.group_lo = op.u.checkpoint.group_hi = 64;
    EXPECT_INT(rig_do(rig, &op, LOG_OP_CHECKPOINT), ERR_INVALID);
    op.u.checkpoint = (struct log_checkpoint_op){.changelog = changelog, .group_hi = 64, .at = 1};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_CHECKPOINT), ERR_OFFSET_RANGE); /* beyond the end */
}

/* Who uses a few groups only need not make sixty-four checkpoints for the others, which have no entry. */
void conform_checkpoint_of_all_groups_lets_the_changelog_go(struct rig *rig)
{
    struct shard_id changelog = changelog_new(rig);
    struct rig_owner owner = rig_owner(rig, "control");
    static struct model model;
    model = (struct model){0};
    bool passed;
    int64_t at = 0;
    for (int32_t life = 0; life < 2; life++) {
        for (int i = 0; i < 400; i++) { /* three segments, where there are any */
            at = change_commit(rig, &model, &owner, changelog);
        }
        checkpoint_write(rig, changelog, 0, GROUPS, at, &model);
        rig_pass(rig, 10000000000);
        struct shard_info info = rig_shard_info(rig, changelog);
        EXPECT_MSG(info.start_offset > at / 2 || (rig->factory->flags & CONFORM_DENSE) == 0,
                   "begins at %lld of %lld", (long long)info.start_offset, (long long)at);
        EXPECT(restores_equal(rig, changelog, LOG_AT_LAST, &model, &passed));
        change_commit(rig, &model, &owner, changelog);
        rig_crash(rig);
        EXPECT(restores_equal(rig, changelog, LOG_AT_LAST, &model, &passed));
    }
}

void conform_closed_restore_is_gone(struct rig *rig)
{
    struct shard_id changelog = changelog_new(rig);
    struct log_op op;
    EXPECT_INT(restore_open(rig, changelog, 0, GROUPS, LOG_AT_LAST, &op), ERR_OK);
    struct log_op other;
    EXPECT_INT(restore_open(rig, changelog, 0, GROUPS, LOG_AT_LAST, &other), ERR_OK);
    EXPECT_INT(rig_do(rig, &op, LOG_OP_RESTORE_CLOSE), ERR_OK);
    EXPECT_INT(rig_do(rig, &op, LOG_OP_RESTORE_CLOSE), ERR_NOT_FOUND);
    EXPECT_INT(rig_do(rig, &op, LOG_OP_RESTORE_NEXT), ERR_NOT_FOUND);
    EXPECT_INT(rig_do(rig, &other, LOG_OP_RESTORE_NEXT),
               ERR_OK); /* the other one is not disturbed */
    EXPECT_INT(rig_do(rig, &other, LOG_OP_RESTORE_CLOSE), ERR_OK);
}

/* One owner's life: commits, crashes with a commit in flight, checkpoints, restores; what the log gives back is always
 * the model, or, after a crash, the model with the one commit that was in flight. */
void conform_random_life_with_crashes_matches_a_model(struct rig *rig)
{
    enum { EVENTS = 150 };
    struct shard_id changelog = changelog_new(rig);
    struct rig_owner owner = rig_owner(rig, "n1.0");
    static struct model model, got;
    static struct change change;
    model = (struct model){0};
    int64_t at = 0;
    bool passed;
    for (int event = 0; event < EVENTS; event++) {
        uint64_t what = rng_below(&rig->rng, 10);
        if (what < 6) {
            at = change_commit(rig, &model, &owner, changelog);
        } else if (what < 8) {
            uint32_t block = (uint32_t)rng_below(&rig->rng, LOG_BLOCKS) * LOG_BLOCK_GROUPS;
            checkpoint_write(rig, changelog, block, block + LOG_BLOCK_GROUPS, at, &model);
        } else if (what < 9) {
            change_make(rig, &change, &model, &owner, changelog);
            rig_submit(rig, &change.op, LOG_OP_COMMIT);
            for (int64_t steps = rng_range(&rig->rng, 0, 5); steps > 0; steps--) {
                rig_step(rig);
            }
            bool told = rig_poll(rig) != NULL && change.op.err == ERR_OK;
            rig_crash(rig);
            free(change.batch.bytes);
            owner = rig_owner(rig, "n1.0");
            struct log_op op;
            EXPECT_INT(restore_open(rig, changelog, 0, GROUPS, LOG_AT_LAST, &op), ERR_OK);
            at = op.u.restore.ret_at;
            restore_read(rig, &op, &got);
            bool with = model_differs(&change.after, &got, 0, GROUPS) < 0;
            EXPECT(with || (!told && model_differs(&model, &got, 0, GROUPS) < 0));
            model = got;
        } else {
            EXPECT(restores_equal(rig, changelog, LOG_AT_LAST, &model, &passed));
        }
    }
}
