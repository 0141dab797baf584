// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/mem.h"
#include "conformance.h"

/* Owners, commits, fences, epochs, control records. */

void conform_commit_reaches_all_its_shards(struct rig *rig)
{
    struct stream_info a = rig_stream(rig, "a", 0, 2), b = rig_stream(rig, "b", STREAM_INTERNAL, 1);
    struct shard_id shards[3] = {rig_shard(a, 0), rig_shard(a, 1), rig_shard(b, 0)};
    struct rig_owner owner = rig_owner(rig, "n1.0");
    int64_t ends[3] = {0};
    for (int i = 0; i < 5; i++) {
        struct log_batch batches[3];
        for (int s = 0; s < 3; s++) {
            batches[s] = (struct log_batch){.shard = shards[s]};
            batches[s].bytes = rig_batch(rig, "x", 1 + s, RECORD_PRODUCER_NONE, &batches[s].len);
        }
        struct log_op op = {.u.commit = {.owner = owner.id,
                                         .incarnation = owner.incarnation,
                                         .sequence = i + 1,
                                         .batches = batches,
                                         .batch_count = 3}};
        EXPECT_INT(rig_do(rig, &op, LOG_OP_COMMIT), ERR_OK);
        for (int s = 0; s < 3; s++) {
            EXPECT(batches[s].ret_base_offset >= ends[s]);
            EXPECT(batches[s].ret_end_offset > batches[s].ret_base_offset + s);
            ends[s] = batches[s].ret_end_offset;
            EXPECT(log_end_offset(rig->log, shards[s]) >= ends[s]);
            struct record_batch_header header;
            ptrdiff_t total;
            EXPECT_INT(record_batch_parse(batches[s].bytes, batches[s].len, &header, &total, NULL),
                       ERR_OK);
            EXPECT_INT(header.base_offset, batches[s].ret_base_offset); /* set in place */
            free(batches[s].bytes);
            if ((rig->factory->flags & CONFORM_DENSE) != 0) {
                EXPECT_INT(ends[s], (i + 1) * (s + 1));
            }
        }
    }
    EXPECT_STR(str_of(rig_contents(rig, shards[0])), STR("x/0 x/0 x/0 x/0 x/0 "));
    IGNORE_RESULT(rig_contents(rig, shards[2]));
    EXPECT_INT(rig_offset_count, 15);
}

void conform_commit_of_several_batches_behind_each_other(struct rig *rig)
{
    struct shard_id shard = rig_shard(rig_stream(rig, "a", 0, 1), 0);
    struct rig_owner owner = rig_owner(rig, "n1.0");
    uint8_t *bytes = malloc(4096);
    ptrdiff_t used = 0;
    CHECK(bytes != NULL);
    for (int i = 0; i < 4; i++) {
        ptrdiff_t len;
        char text[32];
        snprintf(text, sizeof text, "%d", i);
        void *batch = rig_batch(rig, text, 2, RECORD_PRODUCER_NONE, &len);
        CHECK(used + len <= 4096);
        memcpy(bytes + used, batch, (size_t)len);
        used += len;
        free(batch);
    }
    struct log_batch batch = {.shard = shard, .bytes = bytes, .len = used};
    struct log_op op = {.u.commit = {.owner = owner.id,
                                     .incarnation = owner.incarnation,
                                     .sequence = 1,
                                     .batches = &batch,
                                     .batch_count = 1}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_COMMIT), ERR_OK);
    EXPECT_STR(str_of(rig_contents(rig, shard)), STR("0/0 0/1 1/0 1/1 2/0 2/1 3/0 3/1 "));
    EXPECT_INT(rig_offsets[0], batch.ret_base_offset);
    EXPECT(batch.ret_end_offset > rig_offsets[7]);
    rig_crash(rig);
    EXPECT_STR(str_of(rig_contents(rig, shard)), STR("0/0 0/1 1/0 1/1 2/0 2/1 3/0 3/1 "));
    free(bytes);
}

void conform_commits_survive_a_crash(struct rig *rig)
{
    struct stream_info info = rig_stream(rig, "a", 0, 2);
    struct shard_id shards[2] = {rig_shard(info, 0), rig_shard(info, 1)};
    char expected[4096] = {0};
    for (int round = 0; round < 5; round++) {
        struct rig_owner owner = rig_owner(rig, "n1.0");
        for (int i = 0; i < 5; i++) {
            char text[32];
            snprintf(text, sizeof text, "%d.%d", round, i);
            EXPECT_INT(rig_commit(rig, &owner, shards, 2, text, 1, NULL), ERR_OK);
            size_t used = strlen(expected);
            snprintf(expected + used, sizeof expected - used, "%s/0 ", text);
        }
        rig_crash(rig);
        EXPECT_STR(str_of(rig_contents(rig, shards[0])), str_of(expected));
        EXPECT_STR(str_of(rig_contents(rig, shards[1])), str_of(expected));
    }
}

/* A commit is cut off by a crash at a random moment, many times over: afterwards its batches are on all shards or on
 * none, and all that was told OK is there. */
void conform_commit_is_whole_or_absent_after_a_crash(struct rig *rig)
{
    enum { SHARDS = 5, ROUNDS = 60 };
    struct stream_info info = rig_stream(rig, "a", 0, SHARDS);
    int whole = 0, absent = 0;
    int32_t count = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct rig_owner owner = rig_owner(rig, "n1.0");
        struct log_batch batches[SHARDS];
        for (int32_t s = 0; s < SHARDS; s++) {
            batches[s] = (struct log_batch){.shard = rig_shard(info, s)};
            batches[s].bytes = rig_batch(rig, "x", 1, RECORD_PRODUCER_NONE, &batches[s].len);
        }
        struct log_op op = {.u.commit = {.owner = owner.id,
                                         .incarnation = owner.incarnation,
                                         .sequence = 1,
                                         .batches = batches,
                                         .batch_count = SHARDS}};
        rig_submit(rig, &op, LOG_OP_COMMIT);
        for (int64_t steps = rng_range(&rig->rng, 0, 8); steps > 0; steps--) {
            rig_step(rig);
        }
        bool told = rig_poll(rig) != NULL && op.err == ERR_OK;
        rig_crash(rig);
        IGNORE_RESULT(rig_contents(rig, rig_shard(info, 0)));
        int32_t now = rig_offset_count;
        EXPECT(now == count || now == count + 1);
        EXPECT(!told || now == count + 1);
        for (int32_t s = 0; s < SHARDS; s++) {
            IGNORE_RESULT(rig_contents(rig, rig_shard(info, s)));
            EXPECT_MSG(rig_offset_count == now, "round %d: shard 0 has %d, shard %d %d", round, now,
                       s, rig_offset_count);
            free(batches[s].bytes);
        }
        *(now > count ? &whole : &absent) += 1;
        count = now;
    }
    EXPECT_MSG(whole > 0, "%d whole, %d absent", whole, absent);
}

void conform_repeated_commit_completes_with_its_first_offsets(struct rig *rig)
{
    struct shard_id shard = rig_shard(rig_stream(rig, "a", 0, 1), 0);
    struct rig_owner owner = rig_owner(rig, "n1.0");
    struct log_batch batch = {.shard = shard};
    batch.bytes = rig_batch(rig, "x", 2, RECORD_PRODUCER_NONE, &batch.len);
    struct log_op op = {.u.commit = {.owner = owner.id,
                                     .incarnation = owner.incarnation,
                                     .sequence = 1,
                                     .batches = &batch,
                                     .batch_count = 1}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_COMMIT), ERR_OK);
    int64_t base = batch.ret_base_offset, end = batch.ret_end_offset;
    for (int i = 0; i < 3; i++) {
        batch.ret_base_offset = batch.ret_end_offset = -1;
        EXPECT_INT(rig_do(rig, &op, LOG_OP_COMMIT), ERR_OK);
        EXPECT_INT(batch.ret_base_offset, base);
        EXPECT_INT(batch.ret_end_offset, end);
    }
    free(batch.bytes);
    EXPECT_STR(str_of(rig_contents(rig, shard)), STR("x/0 x/1 "));
}

void conform_commit_out_of_sequence_is_refused(struct rig *rig)
{
    struct shard_id shard = rig_shard(rig_stream(rig, "a", 0, 1), 0);
    struct rig_owner owner = rig_owner(rig, "n1.0");
    EXPECT_INT(rig_commit(rig, &owner, &shard, 1, "a", 1, NULL), ERR_OK);
    EXPECT_INT(rig_commit(rig, &owner, &shard, 1, "b", 1, NULL), ERR_OK);
    struct rig_owner wrong = owner;
    wrong.sequence = owner.sequence + 1;
    EXPECT_INT(rig_commit(rig, &wrong, &shard, 1, "c", 1, NULL), ERR_SEQUENCE);
    wrong.sequence = owner.sequence - 2;
    EXPECT_INT(rig_commit(rig, &wrong, &shard, 1, "d", 1, NULL), ERR_SEQUENCE);
    EXPECT_INT(rig_commit(rig, &owner, &shard, 1, "e", 1, NULL), ERR_OK);
    EXPECT_STR(str_of(rig_contents(rig, shard)), STR("a/0 b/0 e/0 "));
}

void conform_commit_that_is_not_sound_changes_nothing(struct rig *rig)
{
    struct stream_info info = rig_stream(rig, "a", 0, 2);
    struct rig_owner owner = rig_owner(rig, "n1.0");
    struct shard_id good = rig_shard(info, 0), both[2] = {good, {77777}};
    EXPECT_INT(rig_commit(rig, &owner, both, 2, "x", 1, NULL), ERR_NOT_FOUND);
    struct log_batch batches[2] = {{.shard = good}, {.shard = rig_shard(info, 1)}};
    for (int i = 0; i < 2; i++) {
        batches[i].bytes = rig_batch(rig, "x", 1, RECORD_PRODUCER_NONE, &batches[i].len);
    }
    ((uint8_t *)batches[1].bytes)[batches[1].len - 1] ^= 1;
    struct log_op op = {.u.commit = {.owner = owner.id,
                                     .incarnation = owner.incarnation,
                                     .sequence = 1,
                                     .batches = batches,
                                     .batch_count = 2}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_COMMIT), ERR_CORRUPT);
    EXPECT(op.info.text[0] != 0);
    EXPECT_INT(rig_shard_info(rig, good).end_offset, 0);
    ((uint8_t *)batches[1].bytes)[batches[1].len - 1] ^= 1;
    EXPECT_INT(rig_do(rig, &op, LOG_OP_COMMIT), ERR_OK); /* the sequence was not used up */
    for (int i = 0; i < 2; i++) {
        EXPECT_STR(str_of(rig_contents(rig, batches[i].shard)), STR("x/0 "));
        free(batches[i].bytes);
    }
}

void conform_commit_over_the_limit_is_refused(struct rig *rig)
{
    enum { BATCHES = LOG_COMMIT_BYTES_MAX / LOG_BATCH_BYTES_MAX + 1 };
    struct shard_id shard = rig_shard(rig_stream(rig, "a", 0, 1), 0);
    struct rig_owner owner = rig_owner(rig, "n1.0");
    char *large = mem_new(LOG_BATCH_BYTES_MAX, 1);
    record_builder_reset(&rig->builder);
    struct record record = {.value = {.ptr = large, .len = LOG_BATCH_BYTES_MAX - 100}};
    CHECK(record_builder_add(&rig->builder, &record) == ERR_OK);
    void *bytes;
    ptrdiff_t len;
    CHECK(record_builder_finish(&rig->builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) == ERR_OK);
    uint8_t *all = mem_new(BATCHES * len, 1);
    for (int i = 0; i < BATCHES; i++) {
        memcpy(all + i * len, bytes, (size_t)len);
    }
    struct log_batch batch = {.shard = shard, .bytes = all, .len = BATCHES * len};
    struct log_op op = {.u.commit = {.owner = owner.id,
                                     .incarnation = owner.incarnation,
                                     .sequence = 1,
                                     .batches = &batch,
                                     .batch_count = 1}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_COMMIT), ERR_LIMIT);
    EXPECT_INT(rig_shard_info(rig, shard).end_offset, 0);
    mem_free(all);
    mem_free(large);
}

void conform_older_incarnation_is_fenced(struct rig *rig)
{
    struct shard_id shard = rig_shard(rig_stream(rig, "a", 0, 1), 0);
    struct rig_owner old = rig_owner(rig, "n1.0"), other = rig_owner(rig, "n2.0");
    EXPECT(old.id.v != other.id.v);
    EXPECT_INT(rig_commit(rig, &old, &shard, 1, "old", 1, NULL), ERR_OK);
    struct rig_owner young = rig_owner(rig, "n1.0");
    EXPECT_INT(young.id.v, old.id.v);
    EXPECT(young.incarnation > old.incarnation);
    struct log_commit_op commit;
    EXPECT_INT(rig_commit(rig, &old, &shard, 1, "zombie", 1, &commit), ERR_FENCED);
    EXPECT_INT(commit.ret_fenced_claim, -1);
    EXPECT_INT(rig_commit(rig, &young, &shard, 1, "young", 1, NULL),
               ERR_OK); /* begins at 1 again */
    EXPECT_INT(rig_commit(rig, &other, &shard, 1, "other", 1, NULL), ERR_OK);
    old.sequence = 0; /* not even its first commit, which did take effect once */
    EXPECT_INT(rig_commit(rig, &old, &shard, 1, "old", 1, NULL), ERR_FENCED);
    EXPECT_STR(str_of(rig_contents(rig, shard)), STR("old/0 young/0 other/0 "));
}

static enum err fence_owner(struct rig *rig, const char *name)
{
    struct log_op op = {.kind = LOG_OP_OWNER_FENCE};
    snprintf(op.u.owner.name, sizeof op.u.owner.name, "%s", name);
    return rig_do(rig, &op, LOG_OP_OWNER_FENCE);
}

void conform_fenced_owner_commits_nothing_more(struct rig *rig)
{
    struct shard_id shard = rig_shard(rig_stream(rig, "a", 0, 1), 0);
    EXPECT_INT(fence_owner(rig, "nobody"), ERR_NOT_FOUND);
    struct rig_owner a = rig_owner(rig, "a"), b = rig_owner(rig, "b");
    EXPECT_INT(rig_commit(rig, &a, &shard, 1, "a", 1, NULL), ERR_OK);
    EXPECT_INT(fence_owner(rig, "a"), ERR_OK);
    EXPECT_INT(fence_owner(rig, "a"), ERR_OK);
    EXPECT_INT(rig_commit(rig, &a, &shard, 1, "zombie", 1, NULL), ERR_FENCED);
    EXPECT_INT(rig_commit(rig, &b, &shard, 1, "b", 1, NULL), ERR_OK);
    a = rig_owner(rig, "a");
    EXPECT_INT(rig_commit(rig, &a, &shard, 1, "again", 1, NULL), ERR_OK);
    EXPECT_STR(str_of(rig_contents(rig, shard)), STR("a/0 b/0 again/0 "));
}

void conform_fences_and_incarnations_survive_a_crash(struct rig *rig)
{
    struct shard_id shard = rig_shard(rig_stream(rig, "a", 0, 1), 0);
    struct rig_owner a = rig_owner(rig, "a"), b = rig_owner(rig, "b");
    EXPECT_INT(rig_commit(rig, &b, &shard, 1, "b", 1, NULL), ERR_OK);
    EXPECT_INT(fence_owner(rig, "a"), ERR_OK);
    rig_crash(rig);
    EXPECT_INT(rig_commit(rig, &a, &shard, 1, "zombie", 1, NULL), ERR_FENCED);
    for (int i = 0; i < 3; i++) {
        struct rig_owner next = rig_owner(rig, "b");
        EXPECT_INT(next.id.v, b.id.v);
        EXPECT(next.incarnation > b.incarnation);
        EXPECT_INT(rig_commit(rig, &b, &shard, 1, "zombie", 1, NULL), ERR_FENCED);
        b = next;
        rig_crash(rig);
    }
    EXPECT_STR(str_of(rig_contents(rig, shard)), STR("b/0 "));
}

/* L5 with the commit already on its way: it took effect before the fence, and was told so, or never does. */
void conform_fence_against_a_commit_in_flight_is_one_or_the_other(struct rig *rig)
{
    struct shard_id shard = rig_shard(rig_stream(rig, "a", 0, 1), 0);
    int32_t count = 0;
    for (int round = 0; round < 30; round++) {
        struct rig_owner owner = rig_owner(rig, "a");
        struct log_batch batch = {.shard = shard};
        batch.bytes = rig_batch(rig, "x", 1, RECORD_PRODUCER_NONE, &batch.len);
        struct log_op commit = {.u.commit = {.owner = owner.id,
                                             .incarnation = owner.incarnation,
                                             .sequence = 1,
                                             .batches = &batch,
                                             .batch_count = 1}};
        struct log_op fence = {.u.owner.name = "a"};
        rig_submit(rig, &commit, LOG_OP_COMMIT);
        for (int64_t steps = rng_range(&rig->rng, 0, 3); steps > 0; steps--) {
            rig_step(rig);
        }
        rig_submit(rig, &fence, LOG_OP_OWNER_FENCE);
        for (int back = 0; back < 2; rig_step(rig)) {
            while (rig_poll(rig) != NULL) {
                back++;
            }
        }
        EXPECT_INT(fence.err, ERR_OK);
        EXPECT(commit.err == ERR_OK || commit.err == ERR_FENCED || commit.err == ERR_AGAIN);
        enum err first = commit.err;
        int32_t before = count;
        IGNORE_RESULT(rig_contents(rig, shard));
        count = rig_offset_count;
        EXPECT(count <= before + 1);
        EXPECT(first != ERR_OK || count == before + 1);
        EXPECT(first != ERR_FENCED || count == before);
        EXPECT_INT(rig_do(rig, &commit, LOG_OP_COMMIT), ERR_FENCED); /* from now on, always */
        rig_pass(rig, 1000000000);
        IGNORE_RESULT(rig_contents(rig, shard));
        EXPECT_INT(rig_offset_count, count);
        free(batch.bytes);
    }
}

void conform_owner_names_are_checked(struct rig *rig)
{
    static const char *const bad[] = {"", "A", "a b", "a/b", "a_b"};
    for (ptrdiff_t i = 0; i < COUNT_OF(bad); i++) {
        struct log_op op = {.kind = LOG_OP_OWNER_INIT};
        snprintf(op.u.owner.name, sizeof op.u.owner.name, "%s", bad[i]);
        EXPECT_INT(rig_do(rig, &op, LOG_OP_OWNER_INIT), ERR_INVALID);
    }
    struct log_op op = {.kind = LOG_OP_OWNER_INIT};
    memset(op.u.owner.name, 'a', sizeof op.u.owner.name); /* no 0 at its end */
    EXPECT_INT(rig_do(rig, &op, LOG_OP_OWNER_INIT), ERR_INVALID);
    struct shard_id shard = rig_shard(rig_stream(rig, "a", 0, 1), 0);
    struct rig_owner nobody = {.id = {4711}, .incarnation = 1};
    EXPECT_INT(rig_commit(rig, &nobody, &shard, 1, "x", 1, NULL), ERR_NOT_FOUND);
}

/* A commit of one record that claims [lo, hi) of `changelog` under `epoch`. */
static enum err claim_commit(struct rig *rig, struct rig_owner *owner, struct shard_id out,
                             struct log_claim claim, int32_t *ret_fenced_claim)
{
    struct log_batch batch = {.shard = out};
    batch.bytes = rig_batch(rig, "x", 1, RECORD_PRODUCER_NONE, &batch.len);
    struct log_claim claims[2] = {
        {.changelog = claim.changelog, .group_lo = 4000, .group_hi = 4096, .epoch = 1000000},
        claim};
    struct log_op op = {.u.commit = {.owner = owner->id,
                                     .incarnation = owner->incarnation,
                                     .sequence = owner->sequence + 1,
                                     .batches = &batch,
                                     .batch_count = 1,
                                     .claims = claims,
                                     .claim_count = 2}};
    enum err err = rig_do(rig, &op, LOG_OP_COMMIT);
    owner->sequence += err == ERR_OK;
    *ret_fenced_claim = err == ERR_FENCED ? op.u.commit.ret_fenced_claim : -2;
    free(batch.bytes);
    return err;
}

static enum err raise_epoch(struct rig *rig, struct shard_id changelog, uint32_t lo, uint32_t hi,
                            uint64_t epoch)
{
    struct log_op op = {
        .u.fence = {.changelog = changelog, .group_lo = lo, .group_hi = hi, .epoch = epoch}};
    return rig_do(rig, &op, LOG_OP_RANGE_FENCE);
}

void conform_range_epoch_refuses_older_claims(struct rig *rig)
{
    struct shard_id out = rig_shard(rig_stream(rig, "out", 0, 1), 0);
    struct stream_info log = rig_stream(rig, "sc.p.s.log", STREAM_INTERNAL | STREAM_CHANGELOG, 2);
    struct shard_id a = rig_shard(log, 0), b = rig_shard(log, 1);
    struct rig_owner owner = rig_owner(rig, "n1.0");
    EXPECT_INT(raise_epoch(rig, a, 0, 2048, 5), ERR_OK);
    EXPECT_INT(raise_epoch(rig, a, 0, 2048, 3), ERR_OK); /* lower: ignored */
    EXPECT_INT(raise_epoch(rig, a, 100, 100, 9), ERR_INVALID);
    EXPECT_INT(raise_epoch(rig, a, 0, 4097, 9), ERR_INVALID);
    static const struct {
        uint32_t lo, hi;
        uint64_t epoch;
        int shard;
        bool fenced;
    } cases[] = {
        {0, 2048, 5, 0, false},   {0, 2048, 6, 0, false},    {0, 2048, 4, 0, true},
        {2047, 2049, 4, 0, true}, {2048, 4000, 1, 0, false}, {10, 11, 4, 0, true},
        {0, 2048, 1, 1, false},   {0, 4096, 4, 0, true},     {0, 4096, 5, 0, false},
    };
    int32_t taken = 0;
    for (ptrdiff_t i = 0; i < COUNT_OF(cases); i++) {
        struct log_claim claim = {.changelog = cases[i].shard == 0 ? a : b,
                                  .group_lo = cases[i].lo,
                                  .group_hi = cases[i].hi,
                                  .epoch = cases[i].epoch};
        int32_t fenced_claim;
        enum err err = claim_commit(rig, &owner, out, claim, &fenced_claim);
        if ((rig->factory->flags & CONFORM_RANGE_EPOCHS) != 0) {
            EXPECT_MSG(err == (cases[i].fenced ? ERR_FENCED : ERR_OK), "case %td: %s", i,
                       err_name(err));
            EXPECT(err == ERR_OK || fenced_claim == 1);
        } else {
            EXPECT_INT(err, ERR_OK);
        }
        taken += err == ERR_OK;
    }
    IGNORE_RESULT(rig_contents(rig, out));
    EXPECT_INT(rig_offset_count, taken);
}

void conform_range_epochs_survive_a_crash(struct rig *rig)
{
    struct shard_id out = rig_shard(rig_stream(rig, "out", 0, 1), 0);
    struct stream_info log = rig_stream(rig, "sc.p.s.log", STREAM_INTERNAL | STREAM_CHANGELOG, 1);
    struct shard_id changelog = rig_shard(log, 0);
    for (uint32_t i = 0; i < 16; i++) { /* a layout of 16 ranges, then one of 7 over it */
        EXPECT_INT(raise_epoch(rig, changelog, i * 256, (i + 1) * 256, 10 + i), ERR_OK);
    }
    EXPECT_INT(raise_epoch(rig, changelog, 300, 1000, 12),
               ERR_OK); /* only raises where it is higher */
    rig_crash(rig);
    struct rig_owner owner = rig_owner(rig, "n1.0");
    for (uint32_t group = 0; group < 4000; group += 50) {
        uint64_t epoch = 10 + group / 256;
        epoch = group >= 300 && group < 1000 && epoch < 12 ? 12 : epoch;
        for (uint64_t try = epoch - 1; try <= epoch; try++) {
            struct log_claim claim = {
                .changelog = changelog, .group_lo = group, .group_hi = group + 1, .epoch = try};
            int32_t fenced_claim;
            enum err err = claim_commit(rig, &owner, out, claim, &fenced_claim);
            bool fenced = try < epoch && (rig->factory->flags & CONFORM_RANGE_EPOCHS) != 0;
            EXPECT_MSG(err == (fenced ? ERR_FENCED : ERR_OK), "group %u epoch %d: %s", group,
                       (int)try, err_name(err));
        }
    }
}

/* What a lane does: one commit at a time, the same one again while told AGAIN; after a crash a new incarnation reads how
 * far the old one came and goes on from there. */
void conform_retried_commits_lose_and_double_nothing(struct rig *rig)
{
    enum { COMMITS = 120 };
    struct stream_info info = rig_stream(rig, "a", 0, 2);
    struct shard_id shards[2] = {rig_shard(info, 0), rig_shard(info, 1)};
    struct rig_owner owner = rig_owner(rig, "n1.0");
    char expected[8192] = {0};
    for (int32_t done = 0; done < COMMITS;) {
        char text[32];
        snprintf(text, sizeof text, "%d", done);
        if (rng_chance(&rig->rng, 0.1)) {
            struct log_batch batches[2] = {{.shard = shards[0]}, {.shard = shards[1]}};
            for (int i = 0; i < 2; i++) {
                batches[i].bytes = rig_batch(rig, text, 1, RECORD_PRODUCER_NONE, &batches[i].len);
            }
            struct log_op op = {.u.commit = {.owner = owner.id,
                                             .incarnation = owner.incarnation,
                                             .sequence = owner.sequence + 1,
                                             .batches = batches,
                                             .batch_count = 2}};
            rig_submit(rig, &op, LOG_OP_COMMIT);
            for (int64_t steps = rng_range(&rig->rng, 0, 6); steps > 0; steps--) {
                rig_step(rig);
            }
            rig_crash(rig);
            owner = rig_owner(rig, "n1.0");
            free(batches[0].bytes);
            free(batches[1].bytes);
        } else {
            EXPECT_INT(rig_commit(rig, &owner, shards, 2, text, 1, NULL), ERR_OK);
        }
        IGNORE_RESULT(rig_contents(rig, shards[1]));
        EXPECT(rig_offset_count == done || rig_offset_count == done + 1);
        if (rig_offset_count == done + 1) {
            size_t used = strlen(expected);
            snprintf(expected + used, sizeof expected - used, "%s/0 ", text);
            done++;
        }
    }
    EXPECT_STR(str_of(rig_contents(rig, shards[0])), str_of(expected));
    EXPECT_STR(str_of(rig_contents(rig, shards[1])), str_of(expected));
}

/* Control records. */

static enum err control_set(struct rig *rig, const char *key, const char *value, int64_t expected,
                            int64_t *ret_version)
{
    char copy[256];
    struct log_op op = {.u.control = {.expected_version = expected, .value = copy}};
    snprintf(op.u.control.key, sizeof op.u.control.key, "%s", key);
    op.u.control.len = -1;
    if (value != NULL) {
        snprintf(copy, sizeof copy, "%s", value);
        op.u.control.len = (ptrdiff_t)strlen(value);
    }
    enum err err = rig_do(rig, &op, LOG_OP_CONTROL_SET);
    *ret_version = op.u.control.ret_version;
    return err;
}

/* The value, or "-" if there is none. */
static const char *control_get(struct rig *rig, const char *key, int64_t *ret_version)
{
    static char value[256];
    struct log_op op = {.u.control = {.value = value, .len = sizeof value - 1}};
    snprintf(op.u.control.key, sizeof op.u.control.key, "%s", key);
    CHECK(rig_do(rig, &op, LOG_OP_CONTROL_GET) == ERR_OK);
    *ret_version = op.u.control.ret_version;
    value[op.u.control.ret_len] = 0;
    CHECK(*ret_version != 0 || op.u.control.ret_len == 0);
    return *ret_version == 0 ? "-" : value;
}

void conform_control_set_compares_versions(struct rig *rig)
{
    int64_t v1, v2, v;
    EXPECT_STR(str_of(control_get(rig, "map/p/s", &v)), STR("-"));
    EXPECT_INT(control_set(rig, "map/p/s", "x", 1, &v), ERR_PRECONDITION);
    EXPECT_INT(v, 0);
    EXPECT_INT(control_set(rig, "map/p/s", "one", 0, &v1), ERR_OK);
    EXPECT(v1 > 0);
    EXPECT_INT(control_set(rig, "map/p/s", "two", 0, &v), ERR_PRECONDITION);
    EXPECT_INT(v, v1);
    EXPECT_STR(str_of(control_get(rig, "map/p/s", &v)), STR("one"));
    EXPECT_INT(v, v1);
    EXPECT_INT(control_set(rig, "map/p/s", "two", v1, &v2), ERR_OK);
    EXPECT(v2 > v1);
    EXPECT_INT(control_set(rig, "map/p/s", "three", v1, &v), ERR_PRECONDITION);
    EXPECT_INT(v, v2);
    EXPECT_INT(control_set(rig, "map/p/s", NULL, v1, &v), ERR_PRECONDITION);
    EXPECT_STR(str_of(control_get(rig, "map/p/s", &v)), STR("two"));
    EXPECT_INT(control_set(rig, "map/p/s", "", v2, &v1), ERR_OK); /* empty is not absent */
    EXPECT_STR(str_of(control_get(rig, "map/p/s", &v)), STR(""));
    EXPECT_INT(v, v1);
}

void conform_control_versions_are_not_given_twice(struct rig *rig)
{
    int64_t highest = 0, version = 0, v;
    for (int i = 0; i < 10; i++) {
        EXPECT_INT(control_set(rig, "k", "value", version, &v), ERR_OK);
        EXPECT(v > highest);
        highest = version = v;
        if (i % 3 == 0) {
            EXPECT_INT(control_set(rig, "k", NULL, version, &v), ERR_OK);
            EXPECT_STR(str_of(control_get(rig, "k", &version)), STR("-"));
        }
        if (i % 4 == 0) {
            rig_crash(rig);
        }
    }
}

void conform_control_keys_are_listed_in_order(struct rig *rig)
{
    static const char *const keys[] = {"map/b", "map/a", "layout", "map/c/d", "mapped", "z"};
    int64_t v;
    for (ptrdiff_t i = 0; i < COUNT_OF(keys); i++) {
        EXPECT_INT(control_set(rig, keys[i], "x", 0, &v), ERR_OK);
    }
    char buf[256];
    struct log_op op = {.u.control = {.key = "map/", .value = buf, .len = sizeof buf}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_CONTROL_LIST), ERR_OK);
    EXPECT_STR(((struct str){buf, op.u.control.ret_len}), STR("map/a\0map/b\0map/c/d\0"));
    op.u.control.key[0] = 0;
    EXPECT_INT(rig_do(rig, &op, LOG_OP_CONTROL_LIST), ERR_OK);
    EXPECT_STR(((struct str){buf, op.u.control.ret_len}),
               STR("layout\0map/a\0map/b\0map/c/d\0mapped\0z\0"));
    ptrdiff_t need = op.u.control.ret_len;
    op.u.control.len = need - 1;
    EXPECT_INT(rig_do(rig, &op, LOG_OP_CONTROL_LIST), ERR_LIMIT);
    EXPECT_INT(op.u.control.ret_len, need);
    op.u.control.len = need;
    EXPECT_INT(rig_do(rig, &op, LOG_OP_CONTROL_LIST), ERR_OK);
    memcpy(op.u.control.key, "nothing", 8);
    EXPECT_INT(rig_do(rig, &op, LOG_OP_CONTROL_LIST), ERR_OK);
    EXPECT_INT(op.u.control.ret_len, 0);
}

void conform_control_records_survive_a_crash(struct rig *rig)
{
    int64_t a, b, v;
    EXPECT_INT(control_set(rig, "a", "1", 0, &a), ERR_OK);
    EXPECT_INT(control_set(rig, "b", "2", 0, &b), ERR_OK);
    rig_crash(rig);
    EXPECT_INT(control_set(rig, "a", "3", a, &a), ERR_OK);
    EXPECT_INT(control_set(rig, "b", NULL, b, &v), ERR_OK);
    rig_crash(rig);
    EXPECT_STR(str_of(control_get(rig, "a", &v)), STR("3"));
    EXPECT_INT(v, a);
    EXPECT_STR(str_of(control_get(rig, "b", &v)), STR("-"));
}

void conform_control_limits(struct rig *rig)
{
    int64_t v;
    EXPECT_INT(control_set(rig, "", "x", 0, &v), ERR_INVALID);
    struct log_op op = {.kind = LOG_OP_CONTROL_SET};
    memset(op.u.control.key, 'k', sizeof op.u.control.key); /* no 0 at its end */
    EXPECT_INT(rig_do(rig, &op, LOG_OP_CONTROL_SET), ERR_INVALID);
    char *large = mem_new(LOG_CONTROL_VALUE_MAX + 1, 1);
    op = (struct log_op){
        .u.control = {.key = "large", .value = large, .len = LOG_CONTROL_VALUE_MAX + 1}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_CONTROL_SET), ERR_LIMIT);
    memset(large, 'v', LOG_CONTROL_VALUE_MAX);
    op.u.control.len = LOG_CONTROL_VALUE_MAX;
    EXPECT_INT(rig_do(rig, &op, LOG_OP_CONTROL_SET), ERR_OK);
    op.u.control.len = 100;
    EXPECT_INT(rig_do(rig, &op, LOG_OP_CONTROL_GET), ERR_LIMIT);
    EXPECT_INT(op.u.control.ret_len, LOG_CONTROL_VALUE_MAX);
    memset(large, 0, LOG_CONTROL_VALUE_MAX);
    op.u.control.len = LOG_CONTROL_VALUE_MAX;
    EXPECT_INT(rig_do(rig, &op, LOG_OP_CONTROL_GET), ERR_OK);
    EXPECT(large[0] == 'v' && large[LOG_CONTROL_VALUE_MAX - 1] == 'v');
    mem_free(large);
}
