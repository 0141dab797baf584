// SPDX-License-Identifier: Apache-2.0
/* The Redis store against a played server on a played network: every answer, silence and break, on a clock that jumps. */
#include <stdio.h>

#include "base/mem.h"
#include "conformance.h"
#include "sim/redis_server.h"
#include "sim/world.h"
#include "test.h"

#define MS_NS     1000000LL
#define SECOND_NS 1000000000LL
#define TTL_NS    (600 * SECOND_NS)
#define PAGES \
    STR("sc:test:r:00000000000000") /* what pages' keys begin with, whatever the incarnation */
#define ALL STR("sc:test:r:")

enum { STEPS_MAX = 2000000 };

struct sim_bench {
    struct subject subject;
    struct world *world;
    struct sim_redis *redis;
    struct sim_net *net;
    struct waker ticks;
    struct mailbox done;
    int thing; /* the store, in the world */
    struct msg *arrived;
    struct shadowstore_options options;
};

/* --- scene --- */

static bool has_arrived(void *ctx)
{
    struct sim_bench *bench = ctx;
    if (bench->arrived == NULL) {
        bench->arrived = mailbox_take_all(&bench->done);
    }
    return bench->arrived != NULL;
}

static void run(struct subject *subject, struct shadowstore_op *op)
{
    struct sim_bench *bench = subject->ctx;
    op->done = &bench->done;
    bench->arrived = NULL;
    shadowstore_submit(subject->store, op);
    enum world_end end = world_run(bench->world, has_arrived, bench, CLOCK_NEVER, STEPS_MAX);
    CHECK_MSG(end == WORLD_DONE && bench->arrived == &op->msg, "op %d: world ended %d",
              (int)op->kind, (int)end);
}

/* Lets time pass when nothing else happens. */
static int64_t tick(void *ctx, int64_t now_ns)
{
    (void)ctx;
    return now_ns + 100 * MS_NS;
}

static void wait_ns(struct sim_bench *bench, int64_t ns)
{
    enum world_end end =
        world_run(bench->world, NULL, NULL, world_now_ns(bench->world) + ns, STEPS_MAX);
    CHECK(end == WORLD_TIME);
}

static void start_store(struct sim_bench *bench)
{
    struct shadowstore_loop loops[SHADOWSTORE_LOOPS_MAX];
    struct err_info info;
    enum err err = shadowstore_new(&bench->options, &bench->subject.store, &info);
    CHECK_MSG(err == ERR_OK, "%s", info.text);
    CHECK(shadowstore_loops(bench->subject.store, loops) == 1);
    bench->thing =
        world_add(bench->world, loops[0].name, loops[0].step, loops[0].ctx, loops[0].waker);
}

static void begin(struct sim_bench *bench, uint64_t seed, const char *server_password,
                  struct str password)
{
    struct sim_net_options net = {.delay_max_ns = MS_NS, .piece_bytes = 0};
    *bench = (struct sim_bench){.subject = {.ctx = bench, .run = run}};
    bench->world = world_new(&(struct world_options){.seed = seed});
    net.rng = rng_fork(world_rng(bench->world));
    bench->redis = sim_redis_new(&bench->net, &net, world_clock(bench->world), server_password);
    world_add(bench->world, "net", sim_net_step, bench->net, sim_net_waker(bench->net));
    waker_init(&bench->ticks);
    world_add(bench->world, "time", tick, NULL, &bench->ticks);
    mailbox_init(&bench->done, NULL);
    bench->options = (struct shadowstore_options){.kind = SHADOWSTORE_REDIS,
                                                  .name = STR("r"),
                                                  .name_space = STR("test"),
                                                  .incarnation = 1,
                                                  .ttl_ns = TTL_NS,
                                                  .size_bytes = 64 << 20,
                                                  .memory_bytes = 4 << 20,
                                                  .host = STR("played"),
                                                  .port = 6379,
                                                  .connect_timeout_ns = 200 * MS_NS,
                                                  .timeout_ns = 200 * MS_NS,
                                                  .net = sim_net_net(bench->net),
                                                  .password = password};
    start_store(bench);
}

static void begin_well(struct sim_bench *bench)
{
    begin(bench, 1, NULL, (struct str){NULL, 0});
}

/* The process ends, by kill or in good order, and another one starts; the network of the first is gone with it. */
static void restart(struct sim_bench *bench)
{
    world_remove(bench->world, bench->thing);
    sim_net_weather(bench->net, SIM_NET_REFUSED); /* its connections end */
    wait_ns(bench, SECOND_NS);
    shadowstore_free(bench->subject.store);
    sim_net_weather(bench->net, SIM_NET_FAIR);
    bench->options.incarnation++;
    start_store(bench);
}

static void end(struct sim_bench *bench)
{
    shadowstore_free(bench->subject.store);
    sim_redis_free(bench->redis);
    world_free(bench->world);
}

static bool sums_up(const struct shadowstore_counts *counts)
{
    return counts->taken == counts->stored + counts->fallen_back + counts->lost;
}

/* --- well --- */

TEST(redis_store_conforms_on_any_network)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct sim_bench bench;
        begin(&bench, seed, NULL, (struct str){NULL, 0});
        wait_ns(&bench, SECOND_NS);
        EXPECT_MSG(conformance_all(&bench.subject), "seed %llu", (unsigned long long)seed);
        EXPECT_INT(sim_redis_count(bench.redis, PAGES), 0);
        EXPECT_INT(sim_redis_immortal(bench.redis), 0);
        end(&bench);
    }
}

TEST(redis_store_is_starting_then_up_and_keeps_what_comes_before)
{
    struct sim_bench bench;
    struct shadowstore_counts counts;
    begin_well(&bench);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
    EXPECT_INT(subject_put(&bench.subject, 1, 0, 3000), 3000);
    EXPECT_INT(subject_flush(&bench.subject, 1, &counts, NULL), ERR_OK);
    EXPECT_INT(counts.stored, 3000); /* waited for the first probe */
    EXPECT(subject_status(&bench.subject).state == SHADOWSTORE_UP);
    end(&bench);
}

TEST(redis_store_sends_a_page_that_is_old_though_not_full)
{
    struct sim_bench bench;
    begin_well(&bench);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
    EXPECT_INT(subject_put(&bench.subject, 1, 0, 3), 3);
    wait_ns(&bench, 9 * SECOND_NS);
    EXPECT_INT(sim_redis_count(bench.redis, PAGES), 0);
    wait_ns(&bench, 2 * SECOND_NS);
    EXPECT_INT(sim_redis_count(bench.redis, PAGES), 1);
    end(&bench);
}

TEST(redis_store_leaves_nothing_but_what_is_dying_anyway)
{
    struct sim_bench bench;
    begin_well(&bench);
    EXPECT(conformance_all(&bench.subject));
    wait_ns(&bench, 5 * SECOND_NS);
    EXPECT_INT(sim_redis_count(bench.redis, ALL), 0); /* the registry too: it was empty */
    end(&bench);
}

/* --- servers that answer otherwise --- */

static const char *const mood_words[SIM_REDIS_MOODS] = {
    [SIM_REDIS_OOM] = "OOM",           [SIM_REDIS_LOADING] = "LOADING",
    [SIM_REDIS_READONLY] = "READONLY", [SIM_REDIS_MOVED] = "Cluster",
    [SIM_REDIS_GARBAGE] = "protocol",  [SIM_REDIS_HUGE] = "in time",
    [SIM_REDIS_MANY] = "protocol",     [SIM_REDIS_HALF] = "in time",
    [SIM_REDIS_WRONG] = "asked",       [SIM_REDIS_HANGS_UP] = "ended"};

static bool falls_back_and_comes_back(struct sim_bench *bench)
{
    struct shadowstore_counts counts;
    struct subject *s = &bench->subject;
    int32_t pages = 0, missing = 0;
    int64_t began_ns = world_now_ns(bench->world);
    bool held = subject_put(s, 1, 3000, 10000) == 10000 &&
                subject_flush(s, 1, &counts, NULL) == ERR_OK && sums_up(&counts) &&
                counts.lost == 0 && counts.fallen_back > 0;
    struct shadowstore_status status = subject_status(s);
    held = held && status.state == SHADOWSTORE_DOWN && status.problem[0] != 0 &&
           status.problem_ns - began_ns <= SECOND_NS;
    sim_redis_mood(bench->redis, SIM_REDIS_WELL);
    sim_net_weather(bench->net, SIM_NET_FAIR);
    wait_ns(bench, 10 * SECOND_NS);
    held = held && subject_status(s).state == SHADOWSTORE_UP;
    held = held && subject_put(s, 1, 13000, 3000) == 3000 &&
           subject_flush(s, 1, &counts, &pages) == ERR_OK && sums_up(&counts) &&
           counts.stored >= 6000 && subject_read_all(s, 1, pages, &missing) == 16000 &&
           missing == 0;
    return held && subject_close(s, 1, NULL) == ERR_OK &&
           sim_redis_count(bench->redis, PAGES) == 0 && sim_redis_immortal(bench->redis) == 0;
}

TEST(redis_store_falls_back_to_memory_whatever_the_server_answers)
{
    for (int mood = 1; mood < SIM_REDIS_MOODS; mood++) {
        struct sim_bench bench;
        if (mood_words[mood] == NULL) {
            continue;
        }
        begin_well(&bench);
        EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
        EXPECT_INT(subject_put(&bench.subject, 1, 0, 3000), 3000);
        EXPECT_INT(subject_flush(&bench.subject, 1, NULL, NULL), ERR_OK);
        sim_redis_mood(bench.redis, (enum sim_redis_mood)mood);
        EXPECT_INT(subject_put(&bench.subject, 1, 20000, 1), 1);
        EXPECT_INT(subject_flush(&bench.subject, 1, NULL, NULL), ERR_OK);
        struct shadowstore_status status = subject_status(&bench.subject);
        EXPECT_MSG(strstr(status.problem, mood_words[mood]) != NULL, "mood %d: '%s'", mood,
                   status.problem);
        EXPECT_INT(status.failures, 1); /* one is enough */
        end(&bench);
    }
}

TEST(redis_store_loses_nothing_to_a_server_that_answers_otherwise_for_a_while)
{
    for (int mood = 1; mood < SIM_REDIS_MOODS; mood++) {
        struct sim_bench bench;
        if (mood_words[mood] == NULL) {
            continue;
        }
        begin_well(&bench);
        EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
        EXPECT_INT(subject_put(&bench.subject, 1, 0, 3000), 3000);
        EXPECT_INT(subject_flush(&bench.subject, 1, NULL, NULL), ERR_OK);
        sim_redis_mood(bench.redis, (enum sim_redis_mood)mood);
        EXPECT_MSG(falls_back_and_comes_back(&bench), "mood %d", mood);
        end(&bench);
    }
}

TEST(redis_store_loses_nothing_to_a_network_that_is_away_for_a_while)
{
    for (int weather = SIM_NET_REFUSED; weather <= SIM_NET_SILENT; weather++) {
        struct sim_bench bench;
        begin_well(&bench);
        EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
        EXPECT_INT(subject_put(&bench.subject, 1, 0, 3000), 3000);
        EXPECT_INT(subject_flush(&bench.subject, 1, NULL, NULL), ERR_OK);
        sim_net_weather(bench.net, (enum sim_net_weather)weather);
        EXPECT_MSG(falls_back_and_comes_back(&bench), "weather %d", weather);
        end(&bench);
    }
}

/* An answer too many is no failure of anything asked for; the connection is not used again, so none is taken for the
 * answer to what comes next but one that is there already. */
TEST(redis_store_reads_nothing_wrong_from_a_server_that_answers_twice)
{
    struct sim_bench bench;
    struct shadowstore_counts counts;
    int32_t pages = 0;
    begin_well(&bench);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
    sim_redis_mood(bench.redis, SIM_REDIS_CHATTY);
    for (int i = 0; i < 10; i++) {
        EXPECT_INT(subject_put(&bench.subject, 1, i * 3000, 3000), 3000);
        EXPECT_INT(subject_flush(&bench.subject, 1, &counts, &pages), ERR_OK);
        EXPECT(sums_up(&counts));
    }
    EXPECT(subject_read_all(&bench.subject, 1, pages, NULL) >= 0);
    sim_redis_mood(bench.redis, SIM_REDIS_WELL);
    wait_ns(&bench, 20 * SECOND_NS);
    EXPECT(subject_read_all(&bench.subject, 1, pages, NULL) >= 0);
    EXPECT_INT(subject_close(&bench.subject, 1, NULL), ERR_OK);
    EXPECT_INT(sim_redis_count(bench.redis, PAGES), 0);
    end(&bench);
}

TEST(redis_store_reads_are_told_that_the_server_is_down)
{
    struct sim_bench bench;
    int32_t pages = 0, missing = 0;
    begin_well(&bench);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
    EXPECT_INT(subject_put(&bench.subject, 1, 0, 3000), 3000);
    EXPECT_INT(subject_flush(&bench.subject, 1, NULL, &pages), ERR_OK);
    sim_net_weather(bench.net, SIM_NET_REFUSED);
    EXPECT_INT(subject_read_all(&bench.subject, 1, pages, &missing), 0);
    EXPECT_INT(missing, pages);
    sim_net_weather(bench.net, SIM_NET_FAIR);
    wait_ns(&bench, 10 * SECOND_NS);
    EXPECT_INT(subject_read_all(&bench.subject, 1, pages, &missing), 3000); /* not lost */
    end(&bench);
}

static int64_t hand_ns(void *ctx)
{
    return *(const int64_t *)ctx;
}

/* A store and its net that are stepped by hand. */
struct by_hand {
    struct shadowstore *store;
    struct shadowstore_loop loops[SHADOWSTORE_LOOPS_MAX];
    struct sim_net *net;
    struct sim_redis *redis;
    int64_t now_ns;
    struct clock clock;
    int late; /* commands that run_late() was late for */
};

static void by_hand_begin(struct by_hand *hand)
{
    struct sim_bench bench;
    struct sim_net_options options = {.delay_max_ns = 0};
    *hand = (struct by_hand){.now_ns = SECOND_NS};
    hand->clock = (struct clock){.ctx = &hand->now_ns, .now_ns = hand_ns};
    rng_init(&options.rng, 1);
    begin_well(&bench); /* for its options */
    hand->redis = sim_redis_new(&hand->net, &options, &hand->clock, NULL);
    struct shadowstore_options o = bench.options;
    o.net = sim_net_net(hand->net);
    end(&bench);
    CHECK(shadowstore_new(&o, &hand->store, NULL) == ERR_OK);
    CHECK(shadowstore_loops(hand->store, hand->loops) == 1);
}

static int64_t by_hand_step(struct by_hand *hand)
{
    return hand->loops[0].step(hand->loops[0].ctx, hand->now_ns);
}

/* The last status. */
static struct shadowstore_status by_hand_end(struct by_hand *hand)
{
    struct mailbox done;
    mailbox_init(&done, NULL);
    struct shadowstore_op op = {.kind = SHADOWSTORE_STATUS, .done = &done};
    shadowstore_submit(hand->store, &op);
    IGNORE_RESULT(by_hand_step(hand)); /* it answers at once */
    CHECK(mailbox_take_all(&done) == &op.msg);
    sim_redis_free(hand->redis);
    shadowstore_free(hand->store);
    return op.ret_status;
}

/* The store and its net do not run for five seconds while an answer is due. */
TEST(redis_store_does_not_blame_the_server_for_a_processor_that_it_did_not_get)
{
    struct by_hand hand;
    by_hand_begin(&hand);
    for (int turn = 0; turn < 40; turn++) {
        hand.now_ns += turn == 2 || turn == 3 ? 5 * SECOND_NS : MS_NS; /* a command is on its way */
        IGNORE_RESULT(by_hand_step(&hand));                            /* stepped again anyway */
        if (turn != 2) {
            IGNORE_RESULT(sim_net_step(hand.net, hand.now_ns));
        }
    }
    struct shadowstore_status status = by_hand_end(&hand);
    EXPECT_MSG(status.state == SHADOWSTORE_UP && status.failures == 0, "'%s'", status.problem);
}

/* Steps on, five seconds late for each command as soon as it was sent; then it is answered. Until `op` is done. */
static void run_late(struct subject *subject, struct shadowstore_op *op)
{
    struct by_hand *hand = subject->ctx;
    struct mailbox done;
    mailbox_init(&done, NULL);
    op->done = &done;
    shadowstore_submit(hand->store, op);
    struct msg *back = NULL;
    for (int turn = 0; turn < 10000 && back == NULL; turn++) {
        hand->now_ns += MS_NS;
        if (by_hand_step(hand) == hand->now_ns + 200 * MS_NS) { /* one was sent: its time-out */
            hand->now_ns += 5 * SECOND_NS;
            IGNORE_RESULT(by_hand_step(hand)); /* stepped again anyway */
            hand->late++;
        }
        IGNORE_RESULT(sim_net_step(hand->net, hand->now_ns));
        back = mailbox_take_all(&done);
    }
    CHECK(back == &op->msg);
}

/* What was late before an answer came counts no more: it may be so for each command. */
TEST(redis_store_forgets_how_late_it_was_when_an_answer_comes)
{
    struct by_hand hand;
    struct shadowstore_counts counts;
    by_hand_begin(&hand);
    struct subject subject = {.store = hand.store, .ctx = &hand, .run = run_late};
    EXPECT_INT(subject_open(&subject, 1, 0), ERR_OK);
    for (int i = 0; i < 4; i++) {
        EXPECT_INT(subject_put(&subject, 1, i * 100, 100), 100);
        EXPECT_INT(subject_flush(&subject, 1, &counts, NULL), ERR_OK);
    }
    struct shadowstore_status status = by_hand_end(&hand);
    EXPECT_MSG(status.state == SHADOWSTORE_UP && status.failures == 0, "'%s'", status.problem);
    EXPECT_MSG(hand.late > 4, "%d", hand.late);
    EXPECT_INT(counts.stored, 400);
}

/* --- bounds --- */

TEST(redis_store_drops_and_counts_what_a_slow_server_does_not_take)
{
    struct sim_bench bench;
    struct shadowstore_counts counts;
    begin_well(&bench);
    wait_ns(&bench, SECOND_NS);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
    sim_net_weather(bench.net, SIM_NET_SILENT);
    int64_t taken = subject_put(&bench.subject, 1, 0, 100000);
    struct shadowstore_status status = subject_status(&bench.subject);
    EXPECT(taken < 50000);
    EXPECT(status.queue_bytes <= 21 * SHADOWSTORE_PAGE_BYTES); /* S2 */
    EXPECT_INT(status.counts.dropped_queue, 100000 - taken);
    EXPECT_INT(subject_flush(&bench.subject, 1, &counts, NULL), ERR_OK);
    EXPECT(sums_up(&counts));
    end(&bench);
}

TEST(redis_store_counts_as_lost_what_memory_has_no_room_for)
{
    struct sim_bench bench;
    struct shadowstore_counts counts;
    int32_t pages = 0;
    begin_well(&bench);
    wait_ns(&bench, SECOND_NS);
    sim_redis_mood(bench.redis, SIM_REDIS_OOM);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
    for (int i = 0; i < 20; i++) {
        IGNORE_RESULT(subject_put(&bench.subject, 1, i * 10000, 10000)); /* all or not: counted */
        EXPECT_INT(subject_flush(&bench.subject, 1, &counts, &pages), ERR_OK);
        EXPECT(sums_up(&counts));
        EXPECT(subject_status(&bench.subject).memory_bytes <= bench.options.memory_bytes);
    }
    EXPECT(counts.lost > 0 && counts.stored == 0);
    EXPECT_INT(subject_read_all(&bench.subject, 1, pages, NULL), counts.fallen_back);
    end(&bench);
}

/* --- values that go or change --- */

TEST(redis_store_counts_evicted_pages_as_lost_when_it_looks)
{
    struct sim_bench bench;
    struct shadowstore_counts counts;
    int32_t pages = 0, missing = 0;
    begin_well(&bench);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
    for (int i = 0; i < 4; i++) {
        EXPECT_INT(subject_put(&bench.subject, 1, i * 10000, 10000), 10000);
        EXPECT_INT(subject_flush(&bench.subject, 1, NULL, &pages), ERR_OK);
    }
    sim_redis_evict(bench.redis, 0.5);
    int64_t found = subject_read_all(&bench.subject, 1, pages, &missing);
    EXPECT(missing > 0 && missing < pages && found > 0);
    EXPECT_INT(subject_flush(&bench.subject, 1, &counts, NULL), ERR_OK);
    EXPECT_INT(counts.stored, found);
    EXPECT_INT(counts.lost, 40000 - found);
    sim_redis_evict(bench.redis, 1); /* flushed, or restarted empty */
    EXPECT_INT(subject_read_all(&bench.subject, 1, pages, &missing), 0);
    EXPECT_INT(missing, pages);
    EXPECT_INT(subject_close(&bench.subject, 1, NULL), ERR_OK);
    end(&bench);
}

TEST(redis_store_does_not_believe_a_page_that_was_changed)
{
    struct sim_bench bench;
    static char large[SHADOWSTORE_PAGE_BYTES + 1];
    int32_t pages = 0, missing = 0;
    const struct str values[] = {STR(""), STR("what is this"), {large, sizeof(large)}};
    begin_well(&bench);
    for (uint64_t i = 0; i < 3; i++) {
        EXPECT_INT(subject_open(&bench.subject, i, 0), ERR_OK);
        EXPECT_INT(subject_put(&bench.subject, i, 0, 5000), 5000);
        EXPECT_INT(subject_flush(&bench.subject, i, NULL, &pages), ERR_OK);
        sim_redis_spoil(bench.redis, PAGES, values[i]);
        EXPECT_INT(subject_read_all(&bench.subject, i, pages, &missing), 0);
        EXPECT_INT(missing, pages);
        EXPECT(subject_status(&bench.subject).state == SHADOWSTORE_UP);
        EXPECT_INT(subject_close(&bench.subject, i, NULL), ERR_OK);
    }
    end(&bench);
}

/* --- clean-up --- */

TEST(redis_store_removes_a_shadow_that_was_closed_while_it_was_down)
{
    struct sim_bench bench;
    struct shadowstore_op op = {.kind = SHADOWSTORE_CLOSE, .shadow = 1};
    begin_well(&bench);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
    EXPECT_INT(subject_put(&bench.subject, 1, 0, 100000) > 0, 1);
    EXPECT_INT(subject_flush(&bench.subject, 1, NULL, NULL), ERR_OK);
    sim_net_weather(bench.net, SIM_NET_SILENT);
    op.done = &bench.done;
    shadowstore_submit(bench.subject.store, &op);
    wait_ns(&bench, 60 * SECOND_NS);
    EXPECT(mailbox_take_all(&bench.done) == NULL);
    sim_net_weather(bench.net, SIM_NET_FAIR);
    wait_ns(&bench, 10 * SECOND_NS);
    EXPECT(mailbox_take_all(&bench.done) == &op.msg);
    EXPECT_INT(op.err, ERR_OK);
    wait_ns(&bench, 2 * SECOND_NS);
    EXPECT_INT(sim_redis_count(bench.redis, ALL), 0); /* the probe's value has died too */
    end(&bench);
}

TEST(redis_store_removes_nothing_before_a_server_has_settled_that_was_away)
{
    struct sim_bench bench;
    struct shadowstore_op op = {.kind = SHADOWSTORE_CLOSE, .shadow = 1};
    begin_well(&bench);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
    EXPECT_INT(subject_put(&bench.subject, 1, 0, 100000) > 0, 1);
    EXPECT_INT(subject_flush(&bench.subject, 1, NULL, NULL), ERR_OK);
    int pages = (int)sim_redis_count(bench.redis, PAGES);
    EXPECT(pages > 0);
    sim_net_weather(bench.net, SIM_NET_SILENT);
    op.done = &bench.done;
    shadowstore_submit(bench.subject.store, &op);
    wait_ns(&bench, 2 * SECOND_NS);
    sim_net_weather(bench.net, SIM_NET_FAIR);
    for (int i = 0; i < 10000 && subject_status(&bench.subject).state != SHADOWSTORE_UP; i++) {
        wait_ns(&bench, 10 * MS_NS);
    }
    wait_ns(&bench, 900 * MS_NS);
    EXPECT(mailbox_take_all(&bench.done) == NULL);
    EXPECT_INT(sim_redis_count(bench.redis, PAGES), pages);
    wait_ns(&bench, SECOND_NS);
    EXPECT(mailbox_take_all(&bench.done) == &op.msg);
    EXPECT_INT(op.err, ERR_OK);
    EXPECT_INT(sim_redis_count(bench.redis, PAGES), 0);
    end(&bench);
}

TEST(redis_store_removes_all_shadows_when_told_that_the_process_ends)
{
    struct sim_bench bench;
    struct shadowstore_op op = {.kind = SHADOWSTORE_CLOSE_ALL};
    begin_well(&bench);
    for (uint64_t id = 1; id <= 3; id++) {
        EXPECT_INT(subject_open(&bench.subject, id, 0), ERR_OK);
        EXPECT_INT(subject_put(&bench.subject, id, 0, 20000), 20000);
        EXPECT_INT(subject_flush(&bench.subject, id, NULL, NULL), ERR_OK);
    }
    EXPECT_INT(subject_open(&bench.subject, 4, 0), ERR_OK); /* of which the server knows nothing */
    run(&bench.subject, &op);
    EXPECT_INT(op.err, ERR_OK);
    EXPECT_INT(subject_status(&bench.subject).open_shadows, 0);
    wait_ns(&bench, SECOND_NS);
    EXPECT_INT(subject_status(&bench.subject).cleaned, 4);
    EXPECT_INT(sim_redis_count(bench.redis, PAGES), 0);
    end(&bench);
}

TEST(redis_store_leaves_a_shadow_to_its_time_to_live_when_the_server_stays_away)
{
    struct sim_bench bench;
    begin_well(&bench);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
    EXPECT_INT(subject_put(&bench.subject, 1, 0, 5000), 5000);
    EXPECT_INT(subject_flush(&bench.subject, 1, NULL, NULL), ERR_OK);
    sim_net_weather(bench.net, SIM_NET_REFUSED);
    EXPECT_INT(subject_close(&bench.subject, 1, NULL), ERR_UNAVAILABLE);
    EXPECT_INT(subject_status(&bench.subject).left_to_ttl, 1);
    EXPECT_INT(sim_redis_count(bench.redis, PAGES), 0); /* it has */
    end(&bench);
}

TEST(redis_store_removes_what_an_earlier_process_left)
{
    struct sim_bench bench;
    begin_well(&bench);
    for (uint64_t id = 1; id <= 3; id++) {
        EXPECT_INT(subject_open(&bench.subject, id, 0), ERR_OK);
        EXPECT_INT(subject_put(&bench.subject, id, 0, 20000), 20000);
        EXPECT_INT(subject_flush(&bench.subject, id, NULL, NULL), ERR_OK);
    }
    EXPECT(sim_redis_count(bench.redis, PAGES) >= 30);
    restart(&bench);
    wait_ns(&bench, 5 * SECOND_NS);
    struct shadowstore_status status = subject_status(&bench.subject);
    EXPECT_INT(status.leftovers, 3);
    EXPECT_INT(status.cleaned, 3);
    EXPECT_INT(sim_redis_count(bench.redis, ALL), 0);
    end(&bench);
}

TEST(redis_store_finds_leftovers_though_shadows_began_before_it_could_look)
{
    struct sim_bench bench;
    begin_well(&bench);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
    EXPECT_INT(subject_put(&bench.subject, 1, 0, 20000), 20000);
    EXPECT_INT(subject_flush(&bench.subject, 1, NULL, NULL), ERR_OK);
    restart(&bench);
    sim_net_weather(bench.net, SIM_NET_SILENT);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK); /* the same number, another life */
    EXPECT_INT(subject_put(&bench.subject, 1, 0, 5000), 5000);
    EXPECT_INT(subject_flush(&bench.subject, 1, NULL, NULL), ERR_OK);
    sim_net_weather(bench.net, SIM_NET_FAIR);
    wait_ns(&bench, 20 * SECOND_NS);
    EXPECT_INT(sim_redis_count(bench.redis, PAGES), 0); /* the new one's are in memory */
    EXPECT_INT(subject_put(&bench.subject, 1, 5000, 5000), 5000);
    EXPECT_INT(subject_flush(&bench.subject, 1, NULL, NULL), ERR_OK);
    EXPECT(sim_redis_count(bench.redis, STR("sc:test:r:0000000000000002:1:")) > 0);
    restart(&bench);
    wait_ns(&bench, 5 * SECOND_NS);
    EXPECT_INT(sim_redis_count(bench.redis, ALL), 0);
    end(&bench);
}

TEST(redis_store_goes_on_when_its_registry_was_overwritten)
{
    struct sim_bench bench;
    begin_well(&bench);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
    EXPECT_INT(subject_put(&bench.subject, 1, 0, 5000), 5000);
    EXPECT_INT(subject_flush(&bench.subject, 1, NULL, NULL), ERR_OK);
    sim_redis_spoil(bench.redis, STR("sc:test:r:registry"), STR("not ours\n"));
    restart(&bench);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
    EXPECT_INT(subject_put(&bench.subject, 1, 0, 5000), 5000);
    EXPECT_INT(subject_flush(&bench.subject, 1, NULL, NULL), ERR_OK);
    struct shadowstore_status status = subject_status(&bench.subject);
    EXPECT(status.state == SHADOWSTORE_UP && strstr(status.problem, "registry") != NULL);
    EXPECT_INT(subject_close(&bench.subject, 1, NULL), ERR_OK);
    end(&bench);
}

TEST(redis_store_keeps_its_registry_as_long_as_a_shadow_lives)
{
    struct sim_bench bench;
    begin_well(&bench);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
    for (int i = 0; i < 10; i++) { /* 10 times as long as its pages live */
        EXPECT_INT(subject_put(&bench.subject, 1, i * 10, 10), 10);
        wait_ns(&bench, TTL_NS);
        EXPECT_INT(sim_redis_count(bench.redis, STR("sc:test:r:registry")), 1);
        EXPECT(sim_redis_count(bench.redis, PAGES) <= 1);
    }
    restart(&bench);
    wait_ns(&bench, 5 * SECOND_NS);
    EXPECT_INT(subject_status(&bench.subject).leftovers, 1);
    end(&bench);
}

/* --- passwords --- */

TEST(redis_store_gives_its_password)
{
    struct sim_bench bench;
    begin(&bench, 1, "right", STR("right"));
    wait_ns(&bench, SECOND_NS);
    EXPECT(subject_status(&bench.subject).state == SHADOWSTORE_UP);
    EXPECT(conformance_all(&bench.subject));
    end(&bench);
}

TEST(redis_store_with_a_wrong_password_is_down_and_does_not_tell_it)
{
    static const char *const servers[] = {"right", NULL}; /* NULL: repeats what it was told */
    for (int i = 0; i < 2; i++) {
        struct sim_bench bench;
        struct shadowstore_counts counts;
        begin(&bench, 1, servers[i], STR("s3cr3t"));
        EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
        EXPECT_INT(subject_put(&bench.subject, 1, 0, 100), 100);
        EXPECT_INT(subject_flush(&bench.subject, 1, &counts, NULL), ERR_OK);
        EXPECT_INT(counts.fallen_back, 100);
        struct shadowstore_status status = subject_status(&bench.subject);
        EXPECT(status.state == SHADOWSTORE_DOWN);
        EXPECT(strstr(status.problem, i == 0 ? "WRONGPASS" : "ERR") != NULL);
        EXPECT(strstr(status.problem, "s3cr3t") == NULL);
        end(&bench);
    }
}

TEST(redis_store_without_a_password_where_one_is_wanted_is_down)
{
    struct sim_bench bench;
    begin(&bench, 1, "right", (struct str){NULL, 0});
    wait_ns(&bench, SECOND_NS);
    struct shadowstore_status status = subject_status(&bench.subject);
    EXPECT(status.state == SHADOWSTORE_DOWN && strstr(status.problem, "NOAUTH") != NULL);
    end(&bench);
}

/* --- anything in any order --- */

static void act(struct sim_bench *bench, struct rng *rng, uint64_t *last_id, bool open[4])
{
    struct subject *s = &bench->subject;
    int slot = (int)rng_below(rng, 4);
    uint64_t id = last_id[slot];
    switch (rng_below(rng, 8)) {
    case 0:
        sim_redis_mood(bench->redis, rng_chance(rng, 0.6)
                                         ? SIM_REDIS_WELL
                                         : (enum sim_redis_mood)rng_below(rng, SIM_REDIS_MOODS));
        break;
    case 1:
        sim_net_weather(bench->net, rng_chance(rng, 0.6) ? SIM_NET_FAIR
                                                         : (enum sim_net_weather)rng_below(rng, 3));
        break;
    case 2:
        sim_redis_evict(bench->redis, rng_chance(rng, 0.2) ? 1 : 0.1);
        break;
    case 3:
        wait_ns(bench, rng_range(rng, 1, 20 * SECOND_NS));
        break;
    case 4:
        if (open[slot]) {
            IGNORE_RESULT(subject_close(s, id, NULL)); /* gone, or left to its time to live */
            open[slot] = false;
        }
        break;
    default:
        if (!open[slot]) {
            last_id[slot] = 1000 + 4 * (last_id[slot] / 4 - 249) + (uint64_t)slot;
            CHECK(subject_open(s, last_id[slot], 0) == ERR_OK);
            open[slot] = true;
        }
        IGNORE_RESULT(subject_put(s, last_id[slot], 0, rng_range(rng, 1, 6000))); /* counted */
    }
}

static bool hold_after(struct sim_bench *bench, const uint64_t *ids, bool *open)
{
    struct shadowstore_status status = subject_status(&bench->subject);
    bool held = status.memory_bytes <= bench->options.memory_bytes;
    for (int slot = 0; slot < 4; slot++) {
        struct shadowstore_counts counts;
        int32_t pages = 0;
        if (open[slot] && subject_flush(&bench->subject, ids[slot], &counts, &pages) == ERR_OK) {
            held = held && sums_up(&counts);
            held = held && subject_read_all(&bench->subject, ids[slot], pages, NULL) >= 0; /* S5 */
        }
    }
    return held && sim_redis_immortal(bench->redis) == 0;
}

TEST(redis_store_keeps_its_promises_in_any_order_of_events)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct sim_bench bench;
        struct rng rng;
        uint64_t ids[4] = {1000, 1001, 1002, 1003};
        bool open[4] = {false};
        rng_init(&rng, seed + test_seed());
        begin(&bench, seed, NULL, (struct str){NULL, 0});
        for (int i = 0; i < 40; i++) {
            act(&bench, &rng, ids, open);
            EXPECT_MSG(hold_after(&bench, ids, open), "seed %llu, act %d", (unsigned long long)seed,
                       i);
        }
        sim_redis_mood(bench.redis, SIM_REDIS_WELL);
        sim_net_weather(bench.net, SIM_NET_FAIR);
        wait_ns(&bench,
                20 * SECOND_NS); /* the registry is there again, should it have been evicted */
        restart(&bench);         /* whatever was open is left behind */
        wait_ns(&bench, 30 * SECOND_NS);
        EXPECT_MSG(sim_redis_count(bench.redis, PAGES) == 0, "seed %llu: %d left",
                   (unsigned long long)seed, sim_redis_count(bench.redis, PAGES));
        end(&bench);
    }
}
