// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/heap.h"

enum { MEM_ALIGN = 16 };

static size_t product(ptrdiff_t count, ptrdiff_t size_bytes)
{
    ptrdiff_t total = 0;
    CHECK(count >= 0 && size_bytes >= 0);
    CHECK(!__builtin_mul_overflow(count, size_bytes, &total));
    return total > 0 ? (size_t)total : 1;
}

/* From the heap that this thread uses. */
static void *heap_new_block(struct heap *heap, size_t size, size_t align, bool zeroed)
{
    bool is_zero = false;
    void *ptr = heap_take(heap, size, align, &is_zero);
    CHECK_MSG(ptr != NULL, "out of addresses: %zu bytes", size);
    if (zeroed && !is_zero) {
        memset(ptr, 0, size);
    }
    return ptr;
}

void *mem_new(ptrdiff_t count, ptrdiff_t size_bytes)
{
    struct heap *heap = heap_current();
    if (UNLIKELY(heap != NULL)) {
        return heap_new_block(heap, product(count, size_bytes), MEM_ALIGN, true);
    }
    void *ptr = calloc(1, product(count, size_bytes));
    CHECK_MSG(ptr != NULL, "out of memory: %td x %td bytes", count, size_bytes);
    return ptr;
}

/* Of a block of a heap, or a new one in a heap. */
static void *heap_resize(void *ptr, size_t size)
{
    struct heap *heap = heap_current();
    size_t old = ptr != NULL ? heap_block_bytes(ptr) : 0;
    if (ptr != NULL && size <= old && size >= old / 2) {
        return ptr;
    }
    void *moved = heap != NULL ? heap_new_block(heap, size, MEM_ALIGN, false) : malloc(size);
    CHECK_MSG(moved != NULL, "out of memory: %zu bytes", size);
    if (ptr != NULL) {
        memcpy(moved, ptr, old < size ? old : size);
        heap_give(ptr);
    }
    return moved;
}

void *mem_resize(void *ptr, ptrdiff_t count, ptrdiff_t size_bytes)
{
    if (ptr != NULL ? UNLIKELY(heap_owns(ptr)) : UNLIKELY(heap_current() != NULL)) {
        return heap_resize(ptr, product(count, size_bytes));
    }
    void *grown = realloc(ptr, product(count, size_bytes));
    CHECK_MSG(grown != NULL, "out of memory: %td x %td bytes", count, size_bytes);
    return grown;
}

void *mem_new_aligned(ptrdiff_t size_bytes, ptrdiff_t align_bytes)
{
    struct heap *heap = heap_current();
    size_t size = product(1, size_bytes);
    if (UNLIKELY(heap != NULL)) {
        return heap_new_block(heap, size, (size_t)align_bytes, true);
    }
    void *ptr = NULL;
    CHECK(posix_memalign(&ptr, (size_t)align_bytes, size) == 0);
    memset(ptr, 0, size);
    return ptr;
}

char *mem_dup(const void *bytes, ptrdiff_t len)
{
    char *copy = mem_new(1, len + 1);
    if (len > 0) {
        memcpy(copy, bytes, (size_t)len);
    }
    return copy;
}

void mem_free(void *ptr)
{
    if (UNLIKELY(heap_owns(ptr))) {
        heap_give(ptr);
        return;
    }
    free(ptr);
}
