// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_ATTR_H
#define BASE_ATTR_H

/* The only place that spells compiler attributes. */

#define ATTR_NODISCARD                    __attribute__((warn_unused_result))
#define ATTR_PRINTF(fmt_index, first_arg) __attribute__((format(printf, fmt_index, first_arg)))
#define ATTR_NORETURN                     __attribute__((noreturn))
#define ATTR_VECTOR(bytes)                __attribute__((vector_size(bytes)))
#define ATTR_CONSTRUCTOR                  __attribute__((constructor))
#define ATTR_UNUSED                       __attribute__((unused))
#define ATTR_ALIGNED(n)                   __attribute__((aligned(n)))
#define ATTR_PACKED                       __attribute__((packed))
#define ATTR_COLD                         __attribute__((cold, noinline))
#define ATTR_NOINLINE                     __attribute__((noinline))
#define ATTR_HOT                          __attribute__((hot))
#define ATTR_ALWAYS_INLINE                inline __attribute__((always_inline))
#define ATTR_CLEANUP(fn)                  __attribute__((cleanup(fn)))
/* The linker gathers what has the same section; its two ends are WEAK where a program may have none. */
#define ATTR_SECTION(name) __attribute__((section(name), used))
#define ATTR_WEAK          __attribute__((weak))
#define ATTR_EXPORT        __attribute__((visibility("default")))
/* Code for a processor that has more: whoever calls it has asked whether it has. */
#define ATTR_TARGET(isa) __attribute__((target(isa)))
/* A local that is written before it is read, too large to be zeroed on a hot path (-ftrivial-auto-var-init). */
#define ATTR_UNINITIALIZED       __attribute__((uninitialized))
#define ATTR_NO_SANITIZE_INTEGER __attribute__((no_sanitize("unsigned-integer-overflow")))

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PREFETCH(p) __builtin_prefetch(p)

/* Number of elements of an array (not of a pointer). */
#define COUNT_OF(a) ((ptrdiff_t)(sizeof(a) / sizeof((a)[0])))

/* The struct of type `type` whose member `member` is at `ptr`. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* States that a result is dropped on purpose; the reason stands beside it (a cast to void does not silence gcc). */
#define IGNORE_RESULT(expr) \
    do { \
        __typeof__(expr) ignored_ ATTR_UNUSED = (expr); \
    } while (0)

#endif
