// SPDX-License-Identifier: Apache-2.0
// build: src/load/trace.c
#include <math.h>
#include <string.h>

#include "base/check.h"
#include "load/trace.h"

/* Any text as a series: a grid of finite values and gaps, or an error with file, row and column. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct err_info info = {0};
    struct trace trace = {0};
    int64_t ms = 0;
    struct str text = {(const char *)data, (ptrdiff_t)size};
    arena_init(&arena, 64 << 20);
    enum err err = trace_parse(&arena, "f", text, &trace, &info);
    if (err == ERR_OK) {
        CHECK(trace.count >= 2 && trace.step_ms > 0);
        for (int32_t i = 0; i < trace.count; i++) {
            CHECK(isnan(trace.values[i]) || (isfinite(trace.values[i]) && trace.values[i] >= 0));
        }
    } else {
        CHECK(err == ERR_PARSE || err == ERR_LIMIT);
        CHECK(strncmp(info.text, "f:", 2) == 0);
    }
    IGNORE_RESULT(trace_time_parse(text, &ms)); /* must only come back */
    arena_release(&arena);
    return 0;
}
