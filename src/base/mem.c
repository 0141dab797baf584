// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static size_t product(ptrdiff_t count, ptrdiff_t size_bytes)
{
    ptrdiff_t total = 0;
    CHECK(count >= 0 && size_bytes >= 0);
    CHECK(!__builtin_mul_overflow(count, size_bytes, &total));
    return total > 0 ? (size_t)total : 1;
}

void *mem_new(ptrdiff_t count, ptrdiff_t size_bytes)
{
    void *ptr = calloc(1, product(count, size_bytes));
    CHECK_MSG(ptr != NULL, "out of memory: %td x %td bytes", count, size_bytes);
    return ptr;
}

void *mem_resize(void *ptr, ptrdiff_t count, ptrdiff_t size_bytes)
{
    void *grown = realloc(ptr, product(count, size_bytes));
    CHECK_MSG(grown != NULL, "out of memory: %td x %td bytes", count, size_bytes);
    return grown;
}

void *mem_new_aligned(ptrdiff_t size_bytes, ptrdiff_t align_bytes)
{
    void *ptr = NULL;
    size_t size = product(1, size_bytes);
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
    free(ptr);
}
