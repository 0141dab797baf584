// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* One benchmark: data, an engine side and a limit side. A step does some thousand records and returns how many. */
struct bench_row {
    const char *name;
    const char *engine, *limit;
    int32_t floor_percent;
    enum err (*open)(uint64_t seed, void **ret_self, struct err_info *info);
    void (*close)(void *self);
    int64_t (*engine_step)(void *self);
    int64_t (*limit_step)(void *self);
};

extern const struct bench_row bench_passthrough;
extern const struct bench_row bench_json;
extern const struct bench_row bench_count_1k, bench_count_100k, bench_count_10m;

/* The bare JSON loop: simdjson on demand, one record at a time, the three fields that the row uses; returns a sum that
 * depends on all that was read. */
#ifdef __cplusplus
extern "C" {
#endif
struct bare_json;
struct bare_json *bare_json_new(void);
void bare_json_free(struct bare_json *bare);
uint64_t bare_json_step(struct bare_json *bare, const struct str *values, int32_t count);
#ifdef __cplusplus
}
#endif

#endif
