// SPDX-License-Identifier: Apache-2.0
#include "shadowstore/registry.h"

#include <stdio.h>

#include "base/check.h"
#include "shadowstore/shadowstore.h"

#define FIRST_LINE "shadowcast 1"

bool registry_add(char *buf, ptrdiff_t cap, ptrdiff_t *len, const struct registry_entry *entry)
{
    char line[2 * REGISTRY_LINE_MAX];
    int n = snprintf(line, sizeof(line), "%s%016llx %llu %d\n", *len == 0 ? FIRST_LINE "\n" : "",
                     (unsigned long long)entry->incarnation, (unsigned long long)entry->shadow,
                     entry->pages);
    CHECK(n > 0 && n < (int)sizeof(line));
    if (n > cap - *len) {
        return false;
    }
    memcpy(buf + *len, line, (size_t)n);
    *len += n;
    return true;
}

/* A number in `base` that is all of `text`, at most `max`. */
static bool read_number(struct str text, unsigned base, uint64_t max, uint64_t *ret_number)
{
    uint64_t number = 0;
    for (ptrdiff_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10U
                                                : base;
        if (digit >= base || number > (max - digit) / base) {
            return false;
        }
        number = number * base + digit;
    }
    *ret_number = number;
    return text.len > 0;
}

bool registry_next(struct str *rest, bool *first, struct registry_entry *ret_entry)
{
    struct str left = *rest;
    if (*first) {
        if (!str_is(str_cut(&left, '\n'), FIRST_LINE)) {
            return false;
        }
        *first = false;
        *rest = left;
    }
    struct str line = str_cut(&left, '\n');
    struct str incarnation = str_cut(&line, ' ');
    struct str shadow = str_cut(&line, ' ');
    uint64_t pages = 0;
    struct registry_entry entry = {.pages = 0};
    if (!read_number(incarnation, 16, UINT64_MAX, &entry.incarnation) ||
        !read_number(shadow, 10, UINT64_MAX, &entry.shadow) ||
        !read_number(line, 10, SHADOWSTORE_PAGES_MAX, &pages) || pages == 0) {
        return false;
    }
    entry.pages = (int32_t)pages;
    *ret_entry = entry;
    *rest = left;
    return true;
}
