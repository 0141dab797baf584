// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* A view of bytes that somebody else owns. No 0 behind them is promised. `ptr` may be NULL only if len is 0. */
struct str {
    const char *ptr;
    ptrdiff_t len;
};

/* View of a literal. */
#define STR(literal) ((struct str){.ptr = (literal), .len = (ptrdiff_t)sizeof(literal) - 1})

/* View of a 0-terminated string (NULL: empty). */
static inline struct str str_of(const char *text)
{
    return (struct str){.ptr = text, .len = text != NULL ? (ptrdiff_t)strlen(text) : 0};
}

static inline bool str_equal(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, (size_t)a.len) == 0);
}

static inline bool str_is(struct str a, const char *text)
{
    return str_equal(a, str_of(text));
}

/* Order of bytes, shorter first where one begins the other: < 0, 0, > 0. */
int str_compare(struct str a, struct str b);

bool str_starts_with(struct str a, struct str prefix);
bool str_ends_with(struct str a, struct str suffix);

/* Index of the first `needle`, or -1. */
ptrdiff_t str_find(struct str hay, struct str needle);

/* Without blanks (space, tab, CR, LF) at both ends. */
struct str str_trim(struct str a);

/* Cuts `rest` at the first `separator`: returns what stood before it, leaves what stands behind it; without a separator
 * returns all and leaves {NULL, 0}. */
struct str str_cut(struct str *rest, char separator);

/* For "%.*s": STR_ARG(s) gives the two arguments. */
#define STR_ARG(s) (int)(s).len, (s).ptr

#endif
