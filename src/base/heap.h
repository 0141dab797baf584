// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A heap of its own for one loop, so that it shares no lock of the allocator with any other thread: a thread of the idle
 * scheduling class that is put off while it holds such a lock would hold up whoever wants it next. While a thread uses a
 * heap (heap_use), all that base/mem.h and arenas take comes from it; everybody else's memory comes from malloc as ever.
 *
 * Blocks are of size classes, four an octave, cut from a range of addresses reserved at the start; a free block waits in its
 * class's list, the pages of a large one are given back to the machine meanwhile. What another thread frees goes onto a
 * stack without a lock, which the owner empties.
 *
 *   offset  what is in front of each block
 *   -16     u32 size class
 *   -12     u32 bytes from the class's block to this one (alignment)
 *   -8      the heap
 *
 * Invariants:
 *   H1  bytes() is the sum of the class sizes of the blocks in use, those on the stack included.
 *   H2  A block's owner is told by its address and header alone, so any thread may free it.
 *
 * Where the addresses cannot be reserved, and under sanitizers (whose allocator must see each block), a heap passes all
 * to malloc and knows nothing of it: its bytes are 0. */

struct heap;

/* NULL never: without addresses it passes to malloc. */
struct heap *heap_new(void);

/* Nobody uses it, and none of its blocks is wanted any more. NULL is fine. */
void heap_free(struct heap *heap);

/* From now on the calling thread takes its memory from `heap` (NULL: malloc). Returns what it used before. */
struct heap *heap_use(struct heap *heap);

/* Bytes in use. Any thread. */
int64_t heap_bytes(const struct heap *heap);

/* --- for base/mem.c --- */

/* The heap that the calling thread uses, or NULL. */
struct heap *heap_current(void);

/* Whether `ptr` is a block of any heap. */
bool heap_owns(const void *ptr);

/* A block of at least `size` > 0 bytes, aligned to `align` (a power of two, >= 16). ret_zeroed: it is known to be all
 * zeros. NULL: the addresses are used up. The heap's thread. */
void *heap_take(struct heap *heap, size_t size, size_t align, bool *ret_zeroed);

/* Any thread; of a block for which heap_owns is true. */
void heap_give(void *ptr);

/* How many bytes a block of a heap may hold. */
size_t heap_block_bytes(const void *ptr);

#endif
