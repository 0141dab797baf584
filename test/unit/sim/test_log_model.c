// SPDX-License-Identifier: Apache-2.0
#include "sim/log_model.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "test.h"

/* The judge is judged: each promise is broken once, and it must say so; nothing broken, and it must not. */

enum { CAP = 64 << 10 };

struct scene {
    struct log_model *model;
    int in, out; /* shards */
    int log;     /* a changelog */
    uint8_t buf[CAP];
};

static struct scene scene;

static void begin(bool dense)
{
    log_model_free(scene.model);
    scene.model = log_model_new(dense);
    scene.in = log_model_add_shard(scene.model, 10, MODEL_WHOLE);
    scene.out = log_model_add_shard(scene.model, 11, MODEL_WHOLE);
    scene.log = log_model_add_shard(scene.model, 12, MODEL_CHANGELOG);
}

static struct attempt *append(int writer, int32_t count)
{
    struct attempt *attempt = log_model_begin(scene.model, writer);
    log_model_add_piece(attempt, scene.in, count);
    return attempt;
}

static void acked_at(struct attempt *attempt, int64_t base)
{
    log_model_acked(scene.model, attempt, &base, NULL);
}

/* Bytes of a piece as a log would store them at `base`, behind `at`. Returns where they end. */
static ptrdiff_t stored(const struct attempt *attempt, int piece, int64_t base, ptrdiff_t at)
{
    struct check_producer nobody = {.id = -1, .epoch = -1, .base_sequence = -1};
    ptrdiff_t len = log_model_encode(attempt, piece, nobody, scene.buf + at, CAP - at);
    for (int i = 0; i < 8; i++) {
        scene.buf[at + i] = (uint8_t)((uint64_t)base >> (56 - 8 * i));
    }
    return at + len;
}

/* A full scan in which `in` holds the first `len` bytes and `out` nothing. */
static void scan(ptrdiff_t len)
{
    int64_t next = 0;
    log_model_scan_begin(scene.model);
    log_model_saw(scene.model, scene.in, scene.buf, len, &next);
    log_model_scan_shard(scene.model, scene.in, 0, next);
    log_model_scan_shard(scene.model, scene.out, 0, 0);
    log_model_scan_end(scene.model);
}

static bool problem_has(const char *word)
{
    const char *problem = log_model_problem(scene.model);
    return problem != NULL && strstr(problem, word) != NULL;
}

TEST(log_model_accepts_what_keeps_the_promises)
{
    begin(true);
    struct attempt *a = append(1, 3), *b = append(2, 2), *maybe = append(3, 1),
                   *lost = append(4, 1);
    acked_at(a, 0);
    acked_at(b, 3);
    log_model_crash(scene.model);
    scan(stored(maybe, 0, 5, stored(b, 0, 3, stored(a, 0, 0, 0))));
    EXPECT_MSG(log_model_problem(scene.model) == NULL, "%s", log_model_problem(scene.model));
    EXPECT(maybe->state == ATTEMPT_THERE && lost->state == ATTEMPT_VOID);
    EXPECT_INT(log_model_end(scene.model, scene.in), 6);
}

TEST(log_model_finds_lost_acknowledged_writes)
{
    begin(true);
    struct attempt *a = append(1, 3), *b = append(1, 2);
    acked_at(a, 0);
    acked_at(b, 3);
    scan(stored(a, 0, 0, 0));
    EXPECT(problem_has("L1"));
}

TEST(log_model_finds_reads_that_vanish)
{
    begin(true);
    struct attempt *a = append(1, 3);
    int64_t next = 0;
    log_model_saw(scene.model, scene.in, scene.buf, stored(a, 0, 0, 0), &next);
    EXPECT(log_model_problem(scene.model) == NULL && next == 3);
    log_model_crash(scene.model);
    scan(0);
    EXPECT(problem_has("L1") || problem_has("L4"));
}

TEST(log_model_finds_doubles_and_reused_offsets)
{
    begin(true);
    struct attempt *a = append(1, 2);
    scan(stored(a, 0, 2, stored(a, 0, 0, 0)));
    EXPECT(problem_has("twice"));
    begin(true);
    struct attempt *b = append(1, 2), *c = append(2, 2);
    acked_at(b, 0);
    acked_at(c, 1);
    EXPECT(problem_has("L3"));
}

TEST(log_model_finds_gaps_only_where_offsets_are_dense)
{
    begin(true);
    struct attempt *a = append(1, 1), *b = append(2, 1);
    scan(stored(b, 0, 2, stored(a, 0, 0, 0)));
    EXPECT(problem_has("L4"));
    begin(false);
    a = append(1, 1);
    b = append(2, 1);
    scan(stored(b, 0, 2, stored(a, 0, 0, 0)));
    EXPECT(log_model_problem(scene.model) == NULL);
}

TEST(log_model_finds_disorder_of_one_writer)
{
    begin(true);
    struct attempt *a = append(1, 1), *b = append(1, 1);
    scan(stored(a, 0, 1, stored(b, 0, 0, 0)));
    EXPECT(problem_has("stands behind"));
}

TEST(log_model_finds_torn_commits)
{
    begin(true);
    struct attempt *a = log_model_begin(scene.model, 1);
    log_model_add_piece(a, scene.in, 2);
    log_model_add_piece(a, scene.out, 1);
    log_model_crash(scene.model);
    scan(stored(a, 0, 0, 0));
    EXPECT(problem_has("L2"));
}

TEST(log_model_finds_what_was_fenced_or_refused)
{
    begin(true);
    struct attempt *a = append(1, 1);
    a->must_fail = true;
    acked_at(a, 0);
    EXPECT(problem_has("L5"));
    begin(true);
    a = append(1, 1);
    log_model_void(scene.model, a);
    scan(stored(a, 0, 0, 0));
    EXPECT(problem_has("did not take effect"));
}

TEST(log_model_finds_changed_bytes_even_under_a_right_crc)
{
    begin(true);
    struct attempt *a = append(1, 1);
    ptrdiff_t len = stored(a, 0, 0, 0);
    scene.buf[len - 3] ^= 1;
    scan(len);
    EXPECT(problem_has("CRC"));
    begin(true);
    a = append(1, 1);
    len = stored(a, 0, 0, 0);
    scene.buf[len - 2] ^= 1; /* the value's last byte */
    uint32_t crc = crc32c(0, scene.buf + 21, len - 21);
    for (int i = 0; i < 4; i++) {
        scene.buf[17 + i] = (uint8_t)(crc >> (24 - 8 * i));
    }
    scan(len);
    EXPECT(problem_has("nobody wrote"));
}

TEST(log_model_finds_trims_beyond_what_is_allowed)
{
    begin(true);
    log_model_allow_start(scene.model, scene.in, 5);
    log_model_check_start(scene.model, scene.in, 0, 5);
    EXPECT(log_model_problem(scene.model) == NULL);
    log_model_check_start(scene.model, scene.in, 5, 4);
    EXPECT(problem_has("after it had started"));
    begin(true);
    log_model_check_start(scene.model, scene.in, 0, 1);
    EXPECT(problem_has("may be trimmed"));
}

/* ---- restores */

static struct restored (*state)[MODEL_USER_KEYS];

static struct attempt *commit(uint16_t group, uint16_t key, bool tombstone)
{
    struct attempt *a = log_model_begin(scene.model, 1);
    int piece = log_model_add_piece(a, scene.log, 0);
    log_model_add_entry(scene.model, a, piece, group, key, tombstone);
    return a;
}

static void committed(struct attempt *a, int64_t base)
{
    int64_t end = base + a->pieces[0].count;
    log_model_acked(scene.model, a, &base, &end);
}

static const char *judge(int64_t at)
{
    log_model_check_restore(scene.model, scene.log, 0, MODEL_GROUPS, at,
                            log_model_life(scene.model), state);
    return log_model_problem(scene.model);
}

static void begin_state(void)
{
    begin(true);
    mem_free(state);
    state = mem_new(MODEL_GROUPS, (ptrdiff_t)sizeof(*state));
}

TEST(log_model_takes_the_right_restore_and_no_other)
{
    begin_state();
    struct attempt *a = commit(3, 1, false), *b = commit(3, 1, false), *c = commit(3, 1, true);
    committed(a, 0);
    committed(b, 1);
    committed(c, 2);
    ptrdiff_t len = stored(a, 0, 0, 0);
    log_model_apply(scene.model, scene.log, scene.buf, len, state);
    EXPECT(state[3][1].there && state[3][1].attempt == a->id);
    EXPECT_MSG(judge(1) == NULL, "%s", log_model_problem(scene.model));
    EXPECT(judge(2) != NULL); /* b is missing */
    begin_state();
    a = commit(3, 1, false);
    committed(a, 0);
    EXPECT(judge(1) != NULL); /* nothing came */
    begin_state();
    a = commit(3, 1, true);
    committed(a, 0);
    EXPECT(judge(1) == NULL); /* a tombstone or nothing: the same */
    log_model_apply(scene.model, scene.log, scene.buf, stored(a, 0, 0, 0), state);
    EXPECT(judge(1) == NULL);
}

TEST(log_model_refuses_state_from_the_future_and_from_refused_commits)
{
    begin_state();
    struct attempt *a = commit(3, 1, false), *b = commit(3, 1, false);
    committed(a, 0);
    committed(b, 1);
    log_model_apply(scene.model, scene.log, scene.buf, stored(b, 0, 0, 0), state);
    EXPECT(judge(1) != NULL);
    begin_state();
    a = commit(3, 1, false);
    log_model_void(scene.model, a);
    log_model_apply(scene.model, scene.log, scene.buf, stored(a, 0, 0, 0), state);
    EXPECT(judge(1) != NULL);
}

TEST(log_model_lets_a_commit_under_way_be_there_or_not_but_whole)
{
    begin_state();
    struct attempt *a = commit(3, 1, false);
    EXPECT(judge(5) == NULL);
    log_model_add_entry(scene.model, a, 0, 4, 2, false);
    log_model_apply(scene.model, scene.log, scene.buf, stored(a, 0, 0, 0), state);
    EXPECT(judge(5) == NULL && a->seen);
    state[4][2].there = false;
    EXPECT(judge(5) != NULL && strstr(judge(5), "L2") != NULL);
    log_model_free(scene.model);
    scene.model = NULL;
    mem_free(state);
    state = NULL;
}

TEST(check_batch_decode_refuses_what_is_cut_or_changed)
{
    begin(true);
    struct attempt *a = append(1, 4);
    ptrdiff_t len = stored(a, 0, 77, 0);
    static struct check_batch batch;
    EXPECT(check_batch_decode(scene.buf, len, &batch) == NULL);
    EXPECT(batch.base_offset == 77 && batch.end_offset == 81 && batch.count == 4 &&
           batch.bytes == len);
    for (ptrdiff_t cut = 0; cut < len; cut++) {
        EXPECT(check_batch_decode(scene.buf, cut, &batch) != NULL);
    }
    for (ptrdiff_t i = 8; i < len; i++) {
        scene.buf[i] ^= 0x40;
        EXPECT_MSG(check_batch_decode(scene.buf, len, &batch) != NULL, "byte %td", i);
        scene.buf[i] ^= 0x40;
    }
    log_model_free(scene.model);
    scene.model = NULL;
}
