// SPDX-License-Identifier: Apache-2.0
/* The store in memory, stepped by hand: its clock is a number. */
#include "conformance.h"
#include "test.h"

#define SECOND_NS 1000000000LL

struct memory_bench {
    struct subject subject;
    struct shadowstore_loop loop;
    int64_t now_ns;
    int64_t deadline_ns;
};

static void run(struct subject *subject, struct shadowstore_op *op)
{
    struct memory_bench *bench = subject->ctx;
    struct mailbox done;
    mailbox_init(&done, NULL);
    op->done = &done;
    shadowstore_submit(subject->store, op);
    bench->deadline_ns = bench->loop.step(bench->loop.ctx, bench->now_ns);
    CHECK(mailbox_take_all(&done) == &op->msg); /* nothing here takes time */
}

static struct shadowstore_options options(int64_t size_bytes)
{
    return (struct shadowstore_options){.kind = SHADOWSTORE_MEMORY,
                                        .name = STR("memory"),
                                        .name_space = STR("test"),
                                        .incarnation = 1,
                                        .ttl_ns = 60 * SECOND_NS,
                                        .size_bytes = size_bytes};
}

static void begin(struct memory_bench *bench, int64_t size_bytes)
{
    struct shadowstore_loop loops[SHADOWSTORE_LOOPS_MAX];
    struct shadowstore_options o = options(size_bytes);
    *bench = (struct memory_bench){.subject = {.ctx = bench, .run = run}};
    CHECK(shadowstore_new(&o, &bench->subject.store, NULL) == ERR_OK);
    CHECK(shadowstore_loops(bench->subject.store, loops) == 1);
    bench->loop = loops[0];
}

TEST(memory_store_conforms)
{
    struct memory_bench bench;
    begin(&bench, 64 << 20);
    EXPECT(conformance_all(&bench.subject));
    shadowstore_free(bench.subject.store);
}

TEST(memory_store_is_up_from_the_start)
{
    struct memory_bench bench;
    begin(&bench, 1 << 20);
    struct shadowstore_status status = subject_status(&bench.subject);
    EXPECT(status.state == SHADOWSTORE_UP && status.problem[0] == 0);
    shadowstore_free(bench.subject.store);
}

TEST(memory_store_drops_and_counts_what_is_over_its_size)
{
    struct memory_bench bench;
    struct shadowstore_counts counts;
    int32_t pages = 0, missing = 0;
    begin(&bench, 1 << 20);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
    int64_t taken = subject_put(&bench.subject, 1, 0, 100000);
    EXPECT(taken > 30000 && taken < 33000); /* 16 pages of 2047 */
    EXPECT_INT(subject_flush(&bench.subject, 1, &counts, &pages), ERR_OK);
    EXPECT_INT(counts.taken, taken);
    EXPECT_INT(counts.dropped_size, 100000 - taken);
    EXPECT_INT(subject_status(&bench.subject).memory_bytes, 1 << 20);
    EXPECT_INT(subject_read_all(&bench.subject, 1, pages, &missing), taken);
    EXPECT_INT(missing, 0);
    /* Another shadow finds no room until the first one is closed. */
    EXPECT_INT(subject_open(&bench.subject, 2, 0), ERR_OK);
    EXPECT_INT(subject_put(&bench.subject, 2, 0, 10), 0);
    EXPECT_INT(subject_close(&bench.subject, 1, NULL), ERR_OK);
    EXPECT_INT(subject_put(&bench.subject, 2, 0, 10), 10);
    shadowstore_free(bench.subject.store);
}

TEST(memory_store_lets_results_go_after_their_time_to_live)
{
    struct memory_bench bench;
    struct shadowstore_counts counts;
    int32_t pages = 0, missing = 0;
    begin(&bench, 1 << 20);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
    EXPECT_INT(subject_put(&bench.subject, 1, 0, 100), 100);
    EXPECT_INT(subject_flush(&bench.subject, 1, NULL, NULL), ERR_OK);
    EXPECT_INT(bench.deadline_ns, 60 * SECOND_NS); /* asks to be woken for it */
    bench.now_ns = 30 * SECOND_NS;
    EXPECT_INT(subject_put(&bench.subject, 1, 100, 50), 50);
    EXPECT_INT(subject_flush(&bench.subject, 1, NULL, &pages), ERR_OK);
    bench.now_ns = 60 * SECOND_NS;
    IGNORE_RESULT(bench.loop.step(bench.loop.ctx, bench.now_ns));
    EXPECT_INT(subject_read_all(&bench.subject, 1, pages, &missing), 50);
    EXPECT_INT(missing, 1);
    EXPECT_INT(subject_flush(&bench.subject, 1, &counts, NULL), ERR_OK);
    EXPECT_INT(counts.lost, 100);
    EXPECT_INT(counts.stored, 50);
    EXPECT_INT(counts.taken, 150);
    shadowstore_free(bench.subject.store);
}

TEST(memory_store_is_refused_what_cannot_be)
{
    struct err_info info;
    struct shadowstore *store = NULL;
    struct shadowstore_options o = options(1 << 20);
    o.size_bytes = 1000;
    EXPECT_INT(shadowstore_new(&o, &store, &info), ERR_LIMIT);
    o = options(1 << 20);
    o.ttl_ns = SECOND_NS;
    EXPECT_INT(shadowstore_new(&o, &store, &info), ERR_LIMIT);
    o = options(1 << 20);
    o.name = STR("a:b");
    EXPECT_INT(shadowstore_new(&o, &store, &info), ERR_INVALID);
    o = options(1 << 20);
    o.name_space = STR("");
    EXPECT_INT(shadowstore_new(&o, &store, &info), ERR_INVALID);
    o = options(1 << 20);
    o.kind = SHADOWSTORE_REDIS; /* without a host */
    EXPECT_INT(shadowstore_new(&o, &store, &info), ERR_INVALID);
    EXPECT(store == NULL);
}

TEST(memory_store_tells_what_is_in_flight_that_it_has_ended)
{
    struct memory_bench bench;
    struct mailbox done;
    struct shadowstore_op op = {.kind = SHADOWSTORE_OPEN, .shadow = 1, .done = &done};
    mailbox_init(&done, NULL);
    begin(&bench, 1 << 20);
    shadowstore_submit(bench.subject.store, &op);
    shadowstore_free(bench.subject.store);
    EXPECT(mailbox_take_all(&done) == &op.msg);
    EXPECT_INT(op.err, ERR_CANCELLED);
}
