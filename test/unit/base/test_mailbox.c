// SPDX-License-Identifier: Apache-2.0
#include "base/mailbox.h"

#include <pthread.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "test.h"

struct note {
    struct msg msg;
    int producer;
    int number;
};

TEST(mailbox_gives_messages_in_the_order_pushed)
{
    struct mailbox box;
    mailbox_init(&box, NULL);
    struct note notes[5];
    EXPECT(mailbox_take_all(&box) == NULL);
    for (int i = 0; i < 5; i++) {
        notes[i].number = i;
        mailbox_push(&box, &notes[i].msg);
    }
    int expected = 0;
    for (struct msg *m = mailbox_take_all(&box); m != NULL; m = m->next) {
        EXPECT_INT(CONTAINER_OF(m, struct note, msg)->number, expected++);
    }
    EXPECT_INT(expected, 5);
    EXPECT(mailbox_take_all(&box) == NULL);
}

TEST(waker_mark_is_taken_once)
{
    struct waker waker;
    waker_init(&waker);
    EXPECT(!waker_take(&waker));
    waker_wake(&waker);
    waker_wake(&waker);
    EXPECT(waker_take(&waker));
    EXPECT(!waker_take(&waker));
}

TEST(waker_sleep_returns_at_once_when_woken_before_and_takes_the_mark)
{
    struct waker waker;
    waker_init(&waker);
    waker_wake(&waker);
    waker_sleep(&waker, CLOCK_NEVER);
    EXPECT(!waker_take(&waker));
    waker_sleep(&waker, 1); /* nobody wakes: the time-out ends it */
    waker_sleep(&waker, 0);
    EXPECT(!waker_take(&waker));
}

enum { PRODUCERS = 4, NOTES = 5000, TOTAL = PRODUCERS * NOTES };

struct consumer { /* of the loop's thread until it was stopped */
    struct mailbox box;
    struct waker waker;
    int next[PRODUCERS];
    int got;
    int out_of_order;
    _Atomic int done;
    struct waker finished; /* the test's thread sleeps on it */
};

static int64_t consumer_step(void *ctx, int64_t now_ns)
{
    struct consumer *c = ctx;
    (void)now_ns;
    struct msg *m = mailbox_take_all(&c->box);
    while (m != NULL) {
        struct note *note = CONTAINER_OF(m, struct note, msg);
        m = m->next;
        c->out_of_order += note->number != c->next[note->producer];
        c->next[note->producer] = note->number + 1;
        c->got++;
    }
    if (c->got == TOTAL) {
        waker_wake(&c->finished);
    }
    return CLOCK_NEVER; /* a lost wake-up would hang the test */
}

struct producer {
    struct consumer *consumer;
    struct note *notes;
    int index;
};

static void *produce(void *arg)
{
    struct producer *p = arg;
    for (int i = 0; i < NOTES; i++) {
        p->notes[i] = (struct note){.producer = p->index, .number = i};
        mailbox_push(&p->consumer->box, &p->notes[i].msg);
    }
    return NULL;
}

static void run_producers(int64_t spin_ns)
{
    struct consumer *c = MEM_NEW(struct consumer);
    waker_init(&c->waker);
    waker_init(&c->finished);
    mailbox_init(&c->box, &c->waker);
    struct clock clock = clock_real();
    struct loop *loop = loop_start(&(struct loop_options){.name = "consumer",
                                                          .clock = &clock,
                                                          .waker = &c->waker,
                                                          .step = consumer_step,
                                                          .ctx = c,
                                                          .class = LOOP_NORMAL,
                                                          .cpu = -1,
                                                          .spin_ns = spin_ns});
    struct producer producers[PRODUCERS];
    pthread_t threads[PRODUCERS];
    for (int i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){c, MEM_NEW_ARRAY(struct note, NOTES), i};
        CHECK(pthread_create(&threads[i], NULL, produce, &producers[i]) == 0);
    }
    for (int i = 0; i < PRODUCERS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    waker_sleep(&c->finished, CLOCK_NEVER);
    loop_stop(loop);
    int got = c->got;
    int out_of_order = c->out_of_order;
    for (int i = 0; i < PRODUCERS; i++) {
        mem_free(producers[i].notes);
    }
    mem_free(c);
    EXPECT_INT(got, TOTAL);
    EXPECT_INT(out_of_order, 0);
}

TEST(mailbox_between_threads_loses_nothing_and_keeps_each_producers_order)
{
    run_producers(0);
    run_producers(50000);
}

struct counter {
    struct waker waker;
    struct waker finished;
    int steps;
};

static int64_t counter_step(void *ctx, int64_t now_ns)
{
    struct counter *c = ctx;
    if (++c->steps >= 20) {
        waker_wake(&c->finished);
        return CLOCK_NEVER;
    }
    return c->steps % 2 == 0 ? now_ns : now_ns + 1000;
}

TEST(loop_steps_again_at_once_or_at_its_deadline_and_idle_class_runs)
{
    struct counter c = {0};
    waker_init(&c.waker);
    waker_init(&c.finished);
    struct clock clock = clock_real();
    struct loop *loop = loop_start(&(struct loop_options){.name = "counter",
                                                          .clock = &clock,
                                                          .waker = &c.waker,
                                                          .step = counter_step,
                                                          .ctx = &c,
                                                          .class = LOOP_IDLE,
                                                          .cpu = 0});
    waker_sleep(&c.finished, CLOCK_NEVER);
    loop_stop(loop);
    EXPECT(c.steps >= 20);
    loop_stop(NULL);
}
