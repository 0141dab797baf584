// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

/* Arena: memory given back all at once. Grows by blocks up to a limit; a reset keeps the blocks, so a loop that uses
 * one per tick stops allocating after its first rounds. One thread at a time. Exhaustion of the limit is a bug unless
 * the caller asks with arena_try_new. Under AddressSanitizer each piece is its own heap block, so overruns are seen. */

struct arena_block;

struct arena {
    struct arena_block *first;   /* kept over resets */
    struct arena_block *current; /* the one being filled */
    ptrdiff_t used_bytes;        /* handed out since the last reset */
    ptrdiff_t limit_bytes;       /* most that may be handed out */
    ptrdiff_t block_bytes;       /* size of a usual block */
};

/* A place to come back to. */
struct arena_mark {
    struct arena_block *block;
    ptrdiff_t block_used_bytes;
    ptrdiff_t used_bytes;
};

enum { ARENA_ALIGN = 16 };

/* Prepares `arena` (caller's memory). limit_bytes > 0; no block is taken before the first use. */
void arena_init(struct arena *arena, ptrdiff_t limit_bytes);
void arena_release(struct arena *arena);

/* Zeroed memory, ARENA_ALIGN aligned, until the arena is reset, rewound past it or released. Never NULL: going over
 * the limit is a failed CHECK. `count` x `size_bytes` is checked for overflow. */
void *arena_new(struct arena *arena, ptrdiff_t count, ptrdiff_t size_bytes) ATTR_NODISCARD;

/* The same, without the zeroing. */
void *arena_new_raw(struct arena *arena, ptrdiff_t count, ptrdiff_t size_bytes) ATTR_NODISCARD;

/* The same, but NULL over the limit. For sizes that follow input. */
void *arena_try_new(struct arena *arena, ptrdiff_t count, ptrdiff_t size_bytes) ATTR_NODISCARD;

/* Copy of `len` bytes with a 0 behind them. */
char *arena_dup(struct arena *arena, const void *bytes, ptrdiff_t len) ATTR_NODISCARD;

/* printf into the arena. */
char *arena_printf(struct arena *arena, const char *fmt, ...) ATTR_PRINTF(2, 3) ATTR_NODISCARD;

void arena_reset(struct arena *arena);
struct arena_mark arena_mark(const struct arena *arena);
void arena_rewind(struct arena *arena, struct arena_mark mark);

#define ARENA_NEW(arena, type) ((type *)arena_new((arena), 1, (ptrdiff_t)sizeof(type)))
#define ARENA_NEW_ARRAY(arena, type, count) \
    ((type *)arena_new((arena), (count), (ptrdiff_t)sizeof(type)))

#endif
