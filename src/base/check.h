// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include "base/attr.h"

/* CHECK is always on: it states what only a bug of ours can break. Input, peers, disks and people get errors. */
#define CHECK(c) (LIKELY(c) ? (void)0 : check_failed(__FILE__, __LINE__, #c))

/* The same with the values that matter, printf style. */
#define CHECK_MSG(c, ...) \
    (LIKELY(c) ? (void)0 : check_failed_msg(__FILE__, __LINE__, #c, __VA_ARGS__))

/* DCHECK is for costly restatements: debug and sanitizer builds only. */
#ifdef SHADOWCAST_DEBUG
#    define DCHECK(c) CHECK(c)
#else
#    define DCHECK(c) ((void)sizeof((c) ? 1 : 0))
#endif

/* Prints expression and place, dumps the trace ring if there is one, aborts. */
ATTR_NORETURN ATTR_COLD void check_failed(const char *file, int line, const char *expr);
ATTR_NORETURN ATTR_COLD void check_failed_msg(const char *file, int line, const char *expr,
                                              const char *fmt, ...) ATTR_PRINTF(4, 5);

/* Called once before abort, to dump what helps. `hook` must not allocate or fail. Set at start, by one thread. */
void check_set_hook(void (*hook)(void));

#endif
