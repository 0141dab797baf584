// SPDX-License-Identifier: Apache-2.0
#ifndef SHADOWSTORE_REGISTRY_H
#define SHADOWSTORE_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* What a store remembers of itself in the server, as one value under sc:<namespace>:<store>:registry: which shadows may have
 * pages there, and below which number. It is written before the pages it names, so whatever a process leaves behind is
 * found by the next one. Text, for people who look: a line "shadowcast 1", then a line a shadow. Pure.
 *
 *     <incarnation, 16 hex digits> <shadow> <pages> */

struct registry_entry {
    uint64_t incarnation;
    uint64_t shadow;
    int32_t pages; /* 1..SHADOWSTORE_PAGES_MAX: those that may be there have lower numbers */
};

enum { REGISTRY_LINE_MAX = 48 };

/* Appends an entry to `buf`, of which `*len` bytes are used (0: the first line is written too). False: no room. */
bool registry_add(char *buf, ptrdiff_t cap, ptrdiff_t *len, const struct registry_entry *entry);

/* Takes the next entry off `rest`. Begin with all of the value and `*first` true. False: the end, or what follows is not
 * ours; `rest` is then empty or not. */
bool registry_next(struct str *rest, bool *first, struct registry_entry *ret_entry);

#endif
