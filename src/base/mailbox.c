// SPDX-License-Identifier: Apache-2.0
#include "base/mailbox.h"

#include <stddef.h>

void mailbox_init(struct mailbox *mailbox, struct waker *waker)
{
    atomic_init(&mailbox->head, NULL);
    mailbox->waker = waker;
}

void mailbox_push(struct mailbox *mailbox, struct msg *msg)
{
    /* Read first: from the moment the message is in, its receiver may free what the mailbox lies in. */
    struct waker *waker = mailbox->waker;
    struct msg *head = atomic_load_explicit(&mailbox->head, memory_order_relaxed);
    do {
        msg->next = head;
    } while (!atomic_compare_exchange_weak(&mailbox->head, &head, msg));
    if (waker != NULL) {
        waker_wake(waker);
    }
}

struct msg *mailbox_take_all(struct mailbox *mailbox)
{
    if (atomic_load(&mailbox->head) == NULL) {
        return NULL; /* the usual case costs no locked instruction */
    }
    struct msg *newest_first = atomic_exchange(&mailbox->head, NULL);
    struct msg *oldest_first = NULL;
    while (newest_first != NULL) {
        struct msg *next = newest_first->next;
        newest_first->next = oldest_first;
        oldest_first = newest_first;
        newest_first = next;
    }
    return oldest_first;
}
