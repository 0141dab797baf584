// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

#include "base/attr.h"

/* Heap for start-up and slow paths. Exhaustion ends the process with a message: every size that an outsider controls
 * is checked against a named limit before it comes here. Sizes are signed; negative ones are bugs. Any thread; a thread
 * that uses a heap of its own (base/heap.h) takes from that, and any thread may free what another one took. */

/* Zeroed memory of `count` elements of `size_bytes`; the product is checked. Never NULL, also for 0. */
void *mem_new(ptrdiff_t count, ptrdiff_t size_bytes) ATTR_NODISCARD;

/* Resizes; new bytes are not zeroed. `ptr` may be NULL. */
void *mem_resize(void *ptr, ptrdiff_t count, ptrdiff_t size_bytes) ATTR_NODISCARD;

/* Zeroed, aligned to `align_bytes` (a power of two, >= 16). */
void *mem_new_aligned(ptrdiff_t size_bytes, ptrdiff_t align_bytes) ATTR_NODISCARD;

/* Copy of `len` bytes, with a 0 behind them. */
char *mem_dup(const void *bytes, ptrdiff_t len) ATTR_NODISCARD;

void mem_free(void *ptr);

/* Zeroed element or array of a type. */
#define MEM_NEW(type)              ((type *)mem_new(1, (ptrdiff_t)sizeof(type)))
#define MEM_NEW_ARRAY(type, count) ((type *)mem_new((count), (ptrdiff_t)sizeof(type)))

#endif
