// SPDX-License-Identifier: Apache-2.0
#include "base/str.h"

int str_compare(struct str a, struct str b)
{
    ptrdiff_t shared = a.len < b.len ? a.len : b.len;
    int order = shared > 0 ? memcmp(a.ptr, b.ptr, (size_t)shared) : 0;
    if (order != 0) {
        return order;
    }
    return (a.len > b.len) - (a.len < b.len);
}

bool str_starts_with(struct str a, struct str prefix)
{
    return a.len >= prefix.len && str_equal((struct str){a.ptr, prefix.len}, prefix);
}

bool str_ends_with(struct str a, struct str suffix)
{
    return a.len >= suffix.len &&
           str_equal((struct str){a.ptr + (a.len - suffix.len), suffix.len}, suffix);
}

ptrdiff_t str_find(struct str hay, struct str needle)
{
    if (needle.len == 0) {
        return 0;
    }
    if (hay.len < needle.len) {
        return -1;
    }
    const char *at = memmem(hay.ptr, (size_t)hay.len, needle.ptr, (size_t)needle.len);
    return at != NULL ? at - hay.ptr : -1;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim(struct str a)
{
    while (a.len > 0 && blank(a.ptr[0])) {
        a.ptr++;
        a.len--;
    }
    while (a.len > 0 && blank(a.ptr[a.len - 1])) {
        a.len--;
    }
    return a;
}

struct str str_cut(struct str *rest, char separator)
{
    struct str whole = *rest;
    const char *at = whole.len > 0 ? memchr(whole.ptr, separator, (size_t)whole.len) : NULL;
    if (at == NULL) {
        *rest = (struct str){NULL, 0};
        return whole;
    }
    *rest = (struct str){at + 1, whole.len - (at - whole.ptr) - 1};
    return (struct str){whole.ptr, at - whole.ptr};
}
