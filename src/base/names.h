// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_NAMES_H
#define BASE_NAMES_H

#include <stddef.h>
#include <string.h>

#include "base/check.h"

/* Words of an X-list, whose rows are X(NAME, "text") or X(NAME, "text", "help"):
 *
 *     static const char *const state_names[] = {LIFE_STATES(NAMES_TEXT)};
 *     static const char *const cause_helps[] = {LIFE_CAUSES(NAMES_HELP)};
 *     return NAMES_AT(state_names, state);
 *
 * Any thread. */

#define NAMES_TEXT(name, ...)        NAMES_FIRST_OF(__VA_ARGS__, )
#define NAMES_FIRST_OF(text, ...)    text,
#define NAMES_HELP(name, text, help) help,
#define NAMES_AT(names, index)       names_at(names, COUNT_OF(names), (ptrdiff_t)(index))
#define NAMES_FIND(names, name)      names_find(names, COUNT_OF(names), name)

/* names[index]; index in 0..count-1, or it is our bug. */
static inline const char *names_at(const char *const *names, ptrdiff_t count, ptrdiff_t index)
{
    CHECK(index >= 0 && index < count);
    return names[index];
}

/* Where `name` stands in names[count]; -1: nowhere. */
static inline ptrdiff_t names_find(const char *const *names, ptrdiff_t count, const char *name)
{
    ptrdiff_t at = 0;
    while (at < count && strcmp(names[at], name) != 0) {
        at++;
    }
    return at < count ? at : -1;
}

#endif
