// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>

#include "base/heap.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "test.h"

/* A heap of one thread: what is taken is whole and apart, what is given back is used again, whoever gives it. */

enum { BLOCKS = 400, STEPS = 20000 };

struct held {
    uint8_t *bytes;
    ptrdiff_t len;
    uint8_t fill;
};

static bool whole(const struct held *held)
{
    for (ptrdiff_t i = 0; i < held->len; i++) {
        if (held->bytes[i] != held->fill) {
            return false;
        }
    }
    return true;
}

TEST(blocks_of_a_heap_never_share_a_byte)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    static struct held held[BLOCKS];
    memset(held, 0, sizeof(held));
    struct heap *heap = heap_new();
    EXPECT(heap_use(heap) == NULL);
    for (int step = 0; step < STEPS; step++) {
        struct held *one = &held[rng_below(&rng, BLOCKS)];
        EXPECT(whole(one));
        ptrdiff_t len = (ptrdiff_t)rng_range(&rng, 1, rng_below(&rng, 50) == 0 ? 300000 : 600);
        switch (rng_below(&rng, 4)) {
        case 0:
            mem_free(one->bytes);
            *one = (struct held){.len = 0};
            continue;
        case 1:
            one->bytes = mem_resize(one->bytes, len, 1);
            one->len = len < one->len ? len : one->len;
            EXPECT(whole(one));
            break;
        case 2:
            mem_free(one->bytes);
            one->bytes = mem_new_aligned(len, 64);
            EXPECT((uintptr_t)one->bytes % 64 == 0 && one->bytes[0] == 0 &&
                   one->bytes[len - 1] == 0);
            break;
        default:
            mem_free(one->bytes);
            one->bytes = mem_new(len, 1);
            EXPECT(one->bytes[0] == 0 && one->bytes[len / 2] == 0 && one->bytes[len - 1] == 0);
        }
        one->len = len;
        one->fill = (uint8_t)rng_below(&rng, 256);
        memset(one->bytes, one->fill, (size_t)len);
    }
    for (int i = 0; i < BLOCKS; i++) {
        EXPECT(whole(&held[i]));
        mem_free(held[i].bytes);
    }
    EXPECT_INT(heap_bytes(heap), 0);
    EXPECT(heap_use(NULL) == heap);
    heap_free(heap);
}

static void *free_it(void *ptr)
{
    mem_free(ptr);
    return NULL;
}

TEST(another_thread_may_free_and_the_owner_takes_it_again)
{
    struct heap *heap = heap_new();
    IGNORE_RESULT(heap_use(heap)); /* none before */
    void *first = mem_new(1000, 1);
    int64_t one = heap_bytes(heap);
    pthread_t thread;
    EXPECT_INT(pthread_create(&thread, NULL, free_it, first), 0);
    EXPECT_INT(pthread_join(thread, NULL), 0);
    void *second = mem_new(1000, 1); /* empties the stack first */
    EXPECT_INT(heap_bytes(heap), one);
    /* Memory of malloc's is freed as such while the heap is in use, and the other way round. */
    IGNORE_RESULT(heap_use(NULL)); /* the heap */
    char *other = mem_dup("malloc", 6);
    EXPECT(!heap_owns(other));
    IGNORE_RESULT(heap_use(heap)); /* none */
    other = mem_resize(other, 100, 1);
    EXPECT(str_equal(str_of(other), STR("malloc")));
    mem_free(other);
    IGNORE_RESULT(heap_use(NULL)); /* the heap */
    mem_free(second);
    heap_free(heap);
}
