// SPDX-License-Identifier: Apache-2.0
#include "sim/world.h"

#include "base/hash.h"
#include "base/mailbox.h"
#include "test.h"

enum { RUN_STEPS = 100000 };

struct ticker { /* steps every period_ns */
    struct waker waker;
    int64_t period_ns;
    int64_t next_ns;
    int64_t late_max_ns;
    int steps;
};

static int64_t ticker_step(void *ctx, int64_t now_ns)
{
    struct ticker *t = ctx;
    t->steps++;
    if (now_ns >= t->next_ns) {
        int64_t late_ns = now_ns - t->next_ns;
        t->late_max_ns = late_ns > t->late_max_ns ? late_ns : t->late_max_ns;
        t->next_ns = now_ns + t->period_ns;
    }
    return t->next_ns;
}

TEST(world_jumps_from_deadline_to_deadline)
{
    struct world *world = world_new(&(struct world_options){.seed = test_seed()});
    struct ticker hourly = {.period_ns = 3600000000000, .next_ns = 3600000000000};
    waker_init(&hourly.waker);
    world_add(world, "hourly", ticker_step, &hourly, &hourly.waker);
    EXPECT(world_run(world, NULL, NULL, 100 * hourly.period_ns, RUN_STEPS) == WORLD_TIME);
    EXPECT(hourly.steps >= 99 && hourly.steps <= 101);
    EXPECT_INT(world_now_ns(world), 100 * hourly.period_ns);
    EXPECT(hourly.late_max_ns <= 1000);
    const struct clock *clock = world_clock(world);
    EXPECT_INT(clock_wall_unix_ms(clock), 1735689600000 + 360000000);
    world_shift_wall(world, -1000);
    EXPECT_INT(clock_wall_unix_ms(clock), 1735689600000 + 360000000 - 1000);
    world_free(world);
}

struct player { /* sends a ball back, `left` times */
    struct waker waker;
    struct mailbox box;
    struct player *other;
    int left;
    int got;
};

static int64_t player_step(void *ctx, int64_t now_ns)
{
    struct player *p = ctx;
    (void)now_ns;
    struct msg *ball = mailbox_take_all(&p->box);
    if (ball != NULL) {
        p->got++;
        if (p->left-- > 0) {
            mailbox_push(&p->other->box, ball);
        }
    }
    return CLOCK_NEVER;
}

static bool never(void *ctx)
{
    (void)ctx;
    return false;
}

TEST(world_steps_what_was_woken_and_says_when_all_sleep)
{
    struct world *world = world_new(&(struct world_options){.seed = test_seed()});
    struct player a = {.left = 10}, b = {.left = 100};
    a.other = &b;
    b.other = &a;
    waker_init(&a.waker);
    waker_init(&b.waker);
    mailbox_init(&a.box, &a.waker);
    mailbox_init(&b.box, &b.waker);
    world_add(world, "a", player_step, &a, &a.waker);
    world_add(world, "b", player_step, &b, &b.waker);
    struct msg ball;
    mailbox_push(&a.box, &ball);
    EXPECT(world_run(world, never, NULL, CLOCK_NEVER, RUN_STEPS) == WORLD_QUIET);
    EXPECT(a.got == 11 && b.got == 10);
    world_free(world);
}

static int64_t restless_step(void *ctx, int64_t now_ns)
{
    (void)ctx;
    return now_ns;
}

TEST(world_ends_a_livelock)
{
    struct world *world = world_new(&(struct world_options){.seed = test_seed()});
    struct waker waker;
    waker_init(&waker);
    int thing = world_add(world, "restless", restless_step, NULL, &waker);
    EXPECT(world_run(world, NULL, NULL, CLOCK_NEVER, 1000) == WORLD_STEPS);
    EXPECT_STR(str_of(world_last(world)), STR("restless"));
    world_remove(world, thing);
    EXPECT(world_run(world, NULL, NULL, CLOCK_NEVER, 1000) == WORLD_QUIET);
    world_free(world);
}

struct recorder {
    struct waker wakers[4];
    uint64_t digest;
    struct world *world;
    int64_t cpu_ns;
};

struct recorded {
    struct recorder *recorder;
    int64_t index;
};

static int64_t recorded_step(void *ctx, int64_t now_ns)
{
    struct recorded *r = ctx;
    int64_t cpu_ns = clock_thread_cpu_ns(world_clock(r->recorder->world));
    int64_t seen[4] = {(int64_t)r->recorder->digest, r->index, now_ns, cpu_ns};
    r->recorder->digest = hash64(seen, sizeof(seen));
    r->recorder->cpu_ns += cpu_ns;
    if (r->index == 0) {
        world_charge(r->recorder->world, 1000000);
    }
    return now_ns + 10000;
}

static uint64_t digest_of(uint64_t seed)
{
    struct recorder recorder = {0};
    struct recorded things[4];
    recorder.world = world_new(&(struct world_options){.seed = seed, .stall_probability = 0.1});
    for (int i = 0; i < 4; i++) {
        waker_init(&recorder.wakers[i]);
        things[i] = (struct recorded){&recorder, i};
        world_add(recorder.world, "thing", recorded_step, &things[i], &recorder.wakers[i]);
    }
    CHECK(world_run(recorder.world, NULL, NULL, 10000000, RUN_STEPS) == WORLD_TIME);
    world_free(recorder.world);
    return recorder.digest;
}

TEST(world_repeats_from_its_seed)
{
    uint64_t seed = test_seed();
    EXPECT(digest_of(seed) == digest_of(seed));
    EXPECT(digest_of(seed) != digest_of(seed + 1));
}

struct busy {
    struct waker waker;
    struct world *world;
    int steps;
};

static int64_t busy_step(void *ctx, int64_t now_ns)
{
    struct busy *b = ctx;
    b->steps++;
    world_charge(b->world, 1000000);
    return now_ns;
}

TEST(world_keeps_a_thing_busy_for_what_it_was_charged_while_others_go_on)
{
    struct world *world = world_new(&(struct world_options){.seed = test_seed()});
    struct busy busy = {.world = world};
    struct ticker fine = {.period_ns = 100000};
    waker_init(&busy.waker);
    waker_init(&fine.waker);
    world_add(world, "busy", busy_step, &busy, &busy.waker);
    world_add(world, "fine", ticker_step, &fine, &fine.waker);
    EXPECT(world_run(world, NULL, NULL, 1000000000, RUN_STEPS) == WORLD_TIME);
    EXPECT(busy.steps > 950 && busy.steps <= 1000);
    EXPECT(fine.steps > 9000);
    world_free(world);
}
