// SPDX-License-Identifier: Apache-2.0
#include "base/arena.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

enum { ARENA_BLOCK_BYTES = 64 * 1024 };

/* Sanitizer builds give each piece a block of its own, of its exact size, so that the redzones of malloc guard it. */
#if defined(__SANITIZE_ADDRESS__)
static const bool ARENA_PIECE_PER_BLOCK = true;
#else
static const bool ARENA_PIECE_PER_BLOCK = false;
#endif

struct arena_block {
    struct arena_block *next;
    ptrdiff_t size_bytes; /* of data */
    ptrdiff_t used_bytes;
    ptrdiff_t pad;
    ATTR_ALIGNED(16) char data[];
};

static ptrdiff_t round_up(ptrdiff_t n)
{
    return (n + ARENA_ALIGN - 1) & ~(ptrdiff_t)(ARENA_ALIGN - 1);
}

void arena_init(struct arena *arena, ptrdiff_t limit_bytes)
{
    CHECK(limit_bytes > 0);
    *arena = (struct arena){.limit_bytes = limit_bytes, .block_bytes = ARENA_BLOCK_BYTES};
}

static void free_chain(struct arena_block *block)
{
    while (block != NULL) {
        struct arena_block *next = block->next;
        mem_free(block);
        block = next;
    }
}

void arena_release(struct arena *arena)
{
    free_chain(arena->first);
    *arena = (struct arena){0};
}

static struct arena_block *block_new(ptrdiff_t size_bytes)
{
    struct arena_block *block = mem_new(1, (ptrdiff_t)sizeof(*block) + size_bytes);
    block->size_bytes = size_bytes;
    return block;
}

/* Makes `arena->current` a block with room for `size_bytes`: the next kept one if it fits, else a new one there. */
static void next_block(struct arena *arena, ptrdiff_t size_bytes)
{
    struct arena_block **link = arena->current != NULL ? &arena->current->next : &arena->first;
    while (*link != NULL &&
           (*link)->size_bytes < size_bytes) { /* too small to be of use: give it back */
        struct arena_block *small = *link;
        *link = small->next;
        mem_free(small);
    }
    if (*link == NULL) {
        bool own = ARENA_PIECE_PER_BLOCK || size_bytes > arena->block_bytes;
        *link = block_new(own ? size_bytes : arena->block_bytes);
        if (!own && arena->block_bytes < ((ptrdiff_t)1 << 22)) {
            arena->block_bytes *= 2; /* few blocks for large arenas */
        }
    }
    arena->current = *link;
    arena->current->used_bytes = 0;
}

static void *take(struct arena *arena, ptrdiff_t count, ptrdiff_t size_bytes)
{
    ptrdiff_t wanted = 0;
    CHECK(count >= 0 && size_bytes >= 0);
    if (__builtin_mul_overflow(count, size_bytes, &wanted) ||
        wanted > arena->limit_bytes - arena->used_bytes) {
        return NULL;
    }
    ptrdiff_t rounded = ARENA_PIECE_PER_BLOCK ? wanted : round_up(wanted);
    struct arena_block *block = arena->current;
    if (block == NULL || ARENA_PIECE_PER_BLOCK || block->size_bytes - block->used_bytes < rounded) {
        next_block(arena, rounded);
        block = arena->current;
    }
    void *ptr = block->data + block->used_bytes;
    block->used_bytes += rounded;
    arena->used_bytes += wanted;
    return ptr;
}

void *arena_try_new(struct arena *arena, ptrdiff_t count, ptrdiff_t size_bytes)
{
    void *ptr = take(arena, count, size_bytes);
    if (ptr != NULL) {
        memset(ptr, 0, (size_t)(count * size_bytes));
    }
    return ptr;
}

void *arena_new_raw(struct arena *arena, ptrdiff_t count, ptrdiff_t size_bytes)
{
    void *ptr = take(arena, count, size_bytes);
    CHECK_MSG(ptr != NULL, "arena over its limit of %td bytes (%td used, %td x %td wanted)",
              arena->limit_bytes, arena->used_bytes, count, size_bytes);
    return ptr;
}

void *arena_new(struct arena *arena, ptrdiff_t count, ptrdiff_t size_bytes)
{
    void *ptr = arena_new_raw(arena, count, size_bytes);
    memset(ptr, 0, (size_t)(count * size_bytes));
    return ptr;
}

char *arena_dup(struct arena *arena, const void *bytes, ptrdiff_t len)
{
    char *copy = arena_new_raw(arena, 1, len + 1);
    if (len > 0) {
        memcpy(copy, bytes, (size_t)len);
    }
    copy[len] = 0;
    return copy;
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    CHECK(len >= 0);
    char *text = arena_new_raw(arena, 1, len + 1);
    IGNORE_RESULT(vsnprintf(text, (size_t)len + 1, fmt, again)); /* sized by the call before */
    va_end(again);
    return text;
}

void arena_reset(struct arena *arena)
{
    arena->current = NULL;
    arena->used_bytes = 0;
    if (ARENA_PIECE_PER_BLOCK) { /* so that use after reset is seen */
        free_chain(arena->first);
        arena->first = NULL;
    } else if (arena->first != NULL) {
        arena->current = arena->first;
        arena->current->used_bytes = 0;
    }
}

struct arena_mark arena_mark(const struct arena *arena)
{
    return (struct arena_mark){.block = arena->current,
                               .block_used_bytes =
                                   arena->current != NULL ? arena->current->used_bytes : 0,
                               .used_bytes = arena->used_bytes};
}

void arena_rewind(struct arena *arena, struct arena_mark mark)
{
    if (mark.block == NULL) {
        arena_reset(arena);
        return;
    }
    if (ARENA_PIECE_PER_BLOCK) {
        free_chain(mark.block->next);
        mark.block->next = NULL;
    }
    arena->current = mark.block;
    arena->current->used_bytes = mark.block_used_bytes;
    arena->used_bytes = mark.used_bytes;
}
