// SPDX-License-Identifier: Apache-2.0
#include "pipeline/hint.h"

#include <stdio.h>

#include "base/attr.h"

enum { HINT_NAME_MAX = 64 };

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* Edits (insert, delete, replace) between two names; long ones count as far apart. */
static int32_t distance(struct str a, struct str b)
{
    if (a.len > HINT_NAME_MAX || b.len > HINT_NAME_MAX) {
        return HINT_NAME_MAX;
    }
    int32_t row[HINT_NAME_MAX + 1] = {0};
    for (int32_t j = 0; j <= b.len; j++) {
        row[j] = j;
    }
    for (int32_t i = 1; i <= a.len; i++) {
        int32_t corner = row[0];
        row[0] = i;
        for (int32_t j = 1; j <= b.len; j++) {
            int32_t replaced = corner + (a.ptr[i - 1] == b.ptr[j - 1] ? 0 : 1);
            corner = row[j];
            row[j] = least(replaced, least(row[j], row[j - 1]) + 1);
        }
    }
    return row[b.len];
}

void hint_of_names(struct hint *hint, struct str wrong, const struct str *names, int32_t count)
{
    int32_t best = -1;
    int32_t best_distance = wrong.len <= 2 ? 1 : wrong.len <= 4 ? 2 : 3; /* nearer than this */
    for (int32_t i = 0; i < count; i++) {
        int32_t d = distance(wrong, names[i]);
        if (d < best_distance) {
            best = i;
            best_distance = d;
        }
    }
    size_t cap = sizeof(hint->text);
    hint->text[0] = 0;
    if (best >= 0) {
        IGNORE_RESULT(snprintf(hint->text, cap, ": did you mean '%.*s'?",
                               STR_ARG(names[best]))); /* cut at the size of a hint */
        return;
    }
    int32_t used = 0;
    for (int32_t i = 0; i < count && used >= 0 && used < (int32_t)cap; i++) {
        used += snprintf(hint->text + used, cap - (size_t)used, "%s%.*s",
                         i == 0 ? ": there are " : ", ", STR_ARG(names[i]));
    }
}
