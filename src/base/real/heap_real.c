// SPDX-License-Identifier: Apache-2.0
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/check.h"
#include "base/heap.h"

enum {
    STEP_BITS = 4, /* the smallest class; classes up to 128 bytes are 16 apart */
    LINEAR_CLASSES = 8,
    CLASSES = LINEAR_CLASSES + 4 * 30,
    HEADER_BYTES = 16,
    LARGE_BYTES = 128 << 10, /* from here on a free block's pages are given back */
    PAGE_BYTES = 4096,
    HEAPS_MAX = 16
};

/* One stretch of addresses for all heaps, so that telling a heap's block from malloc's is one comparison. */
#define HEAP_SPAN ((uintptr_t)64 << 30)
#define ALL_SPAN  (HEAPS_MAX * HEAP_SPAN)
#define NO_ADDRESS \
    ((uintptr_t)1 << 63) /* so far from all addresses that no block seems to be a heap's */

/* Sanitizers must see each block as malloc's own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool PASS_TO_MALLOC = true;
#else
static const bool PASS_TO_MALLOC = false;
#endif

struct block {
    uint32_t class, shift;
    struct heap *heap;
};

struct free_block {
    struct free_block *next;
};

struct heap {
    char *at, *end; /* addresses not yet cut; NULL: passes to malloc */
    int slot;
    struct free_block *free[CLASSES];
    _Atomic(struct free_block *) given; /* by other threads */
    _Atomic int64_t bytes;
};

static _Atomic uintptr_t all_begin = NO_ADDRESS;
static _Atomic uint32_t slots_used;
static _Thread_local struct heap *used;

static size_t class_bytes(uint32_t class)
{
    if (class < LINEAR_CLASSES) {
        return (size_t)(class + 1) << STEP_BITS;
    }
    uint32_t octave = (class - LINEAR_CLASSES) / 4, quarter = (class - LINEAR_CLASSES) % 4;
    return ((size_t)(5 + quarter) << 5) << octave;
}

static uint32_t class_of(size_t bytes)
{
    if (bytes <= (size_t)LINEAR_CLASSES << STEP_BITS) {
        return (uint32_t)((bytes + 15) >> STEP_BITS) - 1;
    }
    uint32_t top = 63 - (uint32_t)__builtin_clzll(bytes - 1); /* >= 7 */
    uint32_t quarter = (uint32_t)((bytes - 1) >> (top - 2)) & 3;
    return LINEAR_CLASSES + 4 * (top - 7) + quarter;
}

/* The first heap reserves for all. */
static uintptr_t reserve_all(void)
{
    uintptr_t begin = atomic_load(&all_begin);
    if (begin != NO_ADDRESS) {
        return begin;
    }
    void *got = mmap(NULL, ALL_SPAN, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (got == MAP_FAILED) {
        return NO_ADDRESS;
    }
    IGNORE_RESULT(madvise(got, ALL_SPAN, MADV_DONTDUMP)); /* smaller core files, no more */
    if (!atomic_compare_exchange_strong(&all_begin, &begin, (uintptr_t)got)) {
        IGNORE_RESULT(
            munmap(got, ALL_SPAN)); /* another thread was first: addresses lost at worst */
        return begin;
    }
    return (uintptr_t)got;
}

static int slot_take(void)
{
    uint32_t before = atomic_load(&slots_used);
    while (before != (1u << HEAPS_MAX) - 1) {
        uint32_t bit = ~before & (before + 1);
        if (atomic_compare_exchange_weak(&slots_used, &before, before | bit)) {
            return __builtin_ctz(bit);
        }
    }
    return -1;
}

struct heap *heap_new(void)
{
    struct heap *heap = calloc(1, sizeof(*heap));
    CHECK(heap != NULL);
    heap->slot = -1;
    uintptr_t begin = PASS_TO_MALLOC ? NO_ADDRESS : reserve_all();
    if (begin != NO_ADDRESS && (heap->slot = slot_take()) >= 0) {
        heap->at = (char *)(begin + (uintptr_t)heap->slot * HEAP_SPAN); /* NOLINT: addresses */
        heap->end = heap->at + HEAP_SPAN;
    }
    return heap;
}

void heap_free(struct heap *heap)
{
    if (heap == NULL) {
        return;
    }
    CHECK(used != heap);
    if (heap->slot >= 0) {
        /* Fresh pages for the next one: all zeros again. */
        CHECK(mmap(heap->end - HEAP_SPAN, HEAP_SPAN, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED);
        IGNORE_RESULT(madvise(heap->end - HEAP_SPAN, HEAP_SPAN, MADV_DONTDUMP)); /* as above */
        atomic_fetch_and(&slots_used, ~(1u << heap->slot));
    }
    free(heap);
}

struct heap *heap_use(struct heap *heap)
{
    struct heap *before = used;
    used = heap;
    return before;
}

struct heap *heap_current(void)
{
    return used;
}

int64_t heap_bytes(const struct heap *heap)
{
    return atomic_load_explicit(&heap->bytes, memory_order_relaxed);
}

bool heap_owns(const void *ptr)
{
    return (uintptr_t)ptr - atomic_load_explicit(&all_begin, memory_order_relaxed) < ALL_SPAN;
}

static struct block *block_of(void *ptr)
{
    return (struct block *)ptr - 1;
}

static void count(struct heap *heap, int64_t bytes)
{
    atomic_fetch_add_explicit(&heap->bytes, bytes, memory_order_relaxed);
}

/* Back into its class's list. */
static void put_back(struct heap *heap, void *ptr)
{
    struct block *block = block_of(ptr);
    uint32_t class = block->class;
    char *begin = (char *)ptr - block->shift; /* of the class's block, behind its own header */
    size_t bytes = class_bytes(class);
    if (bytes >= LARGE_BYTES) {
        uintptr_t lo = ((uintptr_t)begin + sizeof(struct free_block) + PAGE_BYTES - 1) &
                       ~(uintptr_t)(PAGE_BYTES - 1);
        uintptr_t hi = ((uintptr_t)begin + bytes) & ~(uintptr_t)(PAGE_BYTES - 1);
        IGNORE_RESULT(
            madvise((void *)lo, hi - lo, MADV_DONTNEED)); /* NOLINT: addresses. Refused: kept */
    }
    struct free_block *free_block = (struct free_block *)begin;
    free_block->next = heap->free[class];
    heap->free[class] = free_block;
    count(heap, -(int64_t)bytes);
}

static void take_given(struct heap *heap)
{
    if (atomic_load_explicit(&heap->given, memory_order_relaxed) == NULL) {
        return;
    }
    struct free_block *block = atomic_exchange_explicit(&heap->given, NULL, memory_order_acquire);
    while (block != NULL) {
        struct free_block *next = block->next;
        put_back(heap, block);
        block = next;
    }
}

static void *pass(size_t size, size_t align)
{
    void *ptr = NULL;
    return posix_memalign(&ptr, align, size) == 0 ? ptr : NULL;
}

static char *cut(struct heap *heap, uint32_t class)
{
    size_t bytes = HEADER_BYTES + class_bytes(class);
    bytes = (bytes + HEADER_BYTES - 1) & ~(size_t)(HEADER_BYTES - 1);
    if ((size_t)(heap->end - heap->at) < bytes) {
        return NULL;
    }
    char *begin = heap->at + HEADER_BYTES;
    heap->at += bytes;
    return begin;
}

void *heap_take(struct heap *heap, size_t size, size_t align, bool *ret_zeroed)
{
    *ret_zeroed = false;
    if (heap->at == NULL) {
        return pass(size, align);
    }
    take_given(heap);
    size_t room = align > HEADER_BYTES ? size + align : size;
    uint32_t class = class_of(room);
    CHECK(class < CLASSES);
    char *begin = (char *)heap->free[class];
    if (begin != NULL) {
        heap->free[class] = heap->free[class]->next;
    } else {
        begin = cut(heap, class);
        *ret_zeroed = begin != NULL;
    }
    if (begin == NULL) {
        return NULL;
    }
    count(heap, (int64_t)class_bytes(class));
    uintptr_t at = ((uintptr_t)begin + align - 1) & ~(uintptr_t)(align - 1);
    char *ptr = begin + (at - (uintptr_t)begin);
    /* With a shift the header lies within the block: its bytes are in front of what the caller gets. */
    *block_of(ptr) = (struct block){.class = class, .shift = (uint32_t)(ptr - begin), .heap = heap};
    return ptr;
}

void heap_give(void *ptr)
{
    struct heap *heap = block_of(ptr)->heap;
    if (heap == used) {
        put_back(heap, ptr);
        return;
    }
    struct free_block *block = ptr;
    struct free_block *head = atomic_load_explicit(&heap->given, memory_order_relaxed);
    do {
        block->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&heap->given, &head, block,
                                                    memory_order_release, memory_order_relaxed));
}

size_t heap_block_bytes(const void *ptr)
{
    const struct block *block = (const struct block *)ptr - 1;
    return class_bytes(block->class) - block->shift;
}
