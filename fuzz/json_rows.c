// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/check.h"
#include "fuzz/rows.h"

/* Any lines as JSON records: the same comes out in batches of one row and of many, read strictly or not. What passes strictly
 * passes as well when only what is needed is checked, with the same values. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FIELDS \
    "fields: {a: int, b: {type: string, path: x.y}, f: float, p: bool, u: time, l: json}}}, " \
    "{flat_map: {name: m, array: l, into: {name: t, type: string}}}, " \
    "{map: {name: s, select: [a, b, f, p, u, t]}}]"

static bool main_empty(struct str text)
{
    return str_starts_with(text, STR("--\n"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena plans;
    static const struct stage_plan *lax, *strict;
    if (lax == NULL) {
        arena_init(&plans, 64 << 20);
        lax = rows_plan(&plans, "[{parse: {name: p, " FIELDS);
        strict = rows_plan(&plans, "[{parse: {name: p, strict: true, " FIELDS);
    }
    struct arena arena;
    struct str text = {(const char *)data, (ptrdiff_t)size};
    arena_init(&arena, 1 << 30);
    IGNORE_RESULT(rows_checked(&arena, lax, text));
    IGNORE_RESULT(rows_checked(&arena, strict, text));
    struct str line = str_cut(&text, '\n');
    struct str alone = rows_checked(&arena, strict, line);
    CHECK(main_empty(alone) || str_equal(alone, rows_checked(&arena, lax, line)));
    arena_release(&arena);
    return 0;
}
