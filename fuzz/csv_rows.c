// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/check.h"
#include "fuzz/rows.h"

/* Any lines as CSV records, and as raw ones: the same comes out in batches of one row and of many. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena plans;
    static const struct stage_plan *plan[3];
    if (plan[0] == NULL) {
        arena_init(&plans, 64 << 20);
        plan[0] = rows_plan(&plans,
                            "[{parse: {name: p, format: csv, fields: {a: int, b: string, f: float, "
                            "p: bool, u: {type: time, column: 6}}}}, "
                            "{map: {name: s, select: [a, b, f, p, u]}}]");
        plan[1] =
            rows_plan(&plans, "[{parse: {name: p, format: csv, strict: true, delimiter: \";\", "
                              "fields: {a: int, b: string}}}, {map: {name: s, select: [a, b]}}]");
        plan[2] = rows_plan(&plans,
                            "[{parse: {name: p, format: raw, fields: {a: {type: i32, offset: 0}, "
                            "f: {type: f64, offset: 2, endian: big}, s: {type: string, offset: 4, "
                            "length: 6}, u: {type: time, offset: 1}}}}, "
                            "{map: {name: s, select: [a, f, s, u]}}]");
    }
    struct arena arena;
    struct str text = {(const char *)data, (ptrdiff_t)size};
    arena_init(&arena, 1 << 30);
    for (int i = 0; i < COUNT_OF(plan); i++) {
        IGNORE_RESULT(rows_checked(&arena, plan[i], text));
    }
    arena_release(&arena);
    return 0;
}
