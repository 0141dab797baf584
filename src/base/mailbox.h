// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Messages between loops. A message is a struct of the sender's with a `struct msg` inside; pushing it hands it over,
 * the receiver hands it back (often by pushing it to the sender's own mailbox: a completion). Nothing is copied and
 * nothing is allocated, so a mailbox is bounded by the messages that exist: each sender owns a fixed number.
 * Many producers, one consumer, no lock. Order: as pushed, per producer. */

struct msg {
    struct msg *next;
};

/* What a sleeping loop waits on. The loop's shell (base/loop.h) owns the sleeping; anybody may wake. */
struct waker {
    _Atomic uint32_t state; /* 0 idle, 1 woken, 2 asleep: futex word */
};

void waker_init(struct waker *waker);

/* Any thread. Costs a system call only if the loop sleeps. */
void waker_wake(struct waker *waker);

/* Loop's own thread: takes the wake-up mark away; true if there was one. */
bool waker_take(struct waker *waker);

/* Loop's own thread: sleeps until woken or `timeout_ns` has passed (CLOCK_NEVER: no limit); takes the mark away.
 * Only base/loop.c calls it. */
void waker_sleep(struct waker *waker, int64_t timeout_ns);

struct mailbox {
    _Atomic(struct msg *) head; /* newest first */
    struct waker *waker;        /* woken at each push; may be NULL */
};

void mailbox_init(struct mailbox *mailbox, struct waker *waker);

/* Hands `msg` over. Any thread. It wakes behind the push, so the receiver may have the message while the sender still
 * touches `mailbox->waker`: free a waker only when those who push have ended, or have since answered another mailbox. */
void mailbox_push(struct mailbox *mailbox, struct msg *msg);

/* All messages, oldest first, linked by `next`; NULL if none. The consumer only. */
struct msg *mailbox_take_all(struct mailbox *mailbox);

#endif
