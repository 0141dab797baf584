// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct bench_options;
struct bench_result;

/* One benchmark, of one of two kinds. A ratio: data, an engine side and a limit side; a step does some thousand records and
 * returns how many, or else a whole slice is told by its speed. Figures: what `measure` finds. */
struct bench_row {
    const char *name;
    const char *goal;           /* "G1a": of the goals that it measures; NULL: none */
    const char *engine, *limit; /* what each side does; `limit` NULL: figures */
    int32_t floor_percent;
    bool only_named; /* takes minutes: left out where all are asked for */
    bool on_disk;    /* the kernel's threads write for both sides: they are not foreign */
    bool wall;       /* records per second, not per CPU second */
    enum err (*open)(uint64_t seed, void **ret_self, struct err_info *info);
    void (*close)(void *self);
    int64_t (*engine_step)(void *self);
    int64_t (*limit_step)(void *self);
    enum err (*engine_slice)(void *self, double *ret_per_s, struct err_info *info);
    enum err (*limit_slice)(void *self, double *ret_per_s, struct err_info *info);
    enum err (*measure)(const struct bench_options *options, struct bench_result *result,
                        struct err_info *info);
};

extern const struct bench_row bench_passthrough;
extern const struct bench_row bench_json;
extern const struct bench_row bench_count_1k, bench_count_100k, bench_count_10m;
extern const struct bench_row bench_count_1k_node, bench_count_100k_node, bench_count_10m_node;
extern const struct bench_row bench_ysb_a, bench_ysb_b, bench_ysb_b_values, bench_ysb_c,
    bench_ysb_c_node, bench_ysb_k;
extern const struct bench_row bench_nexmark_q0, bench_nexmark_q0_array, bench_nexmark_q0_node;
extern const struct bench_row bench_nexmark_q1, bench_nexmark_q1_array, bench_nexmark_q1_node;
extern const struct bench_row bench_nexmark_q2, bench_nexmark_q2_array, bench_nexmark_q2_node;
extern const struct bench_row bench_nexmark_q3, bench_nexmark_q3_array, bench_nexmark_q3_node;
extern const struct bench_row bench_nexmark_q5, bench_nexmark_q5_array, bench_nexmark_q5_node;
extern const struct bench_row bench_nexmark_q7, bench_nexmark_q7_array, bench_nexmark_q7_node;
extern const struct bench_row bench_nexmark_q8, bench_nexmark_q8_array, bench_nexmark_q8_node;
extern const struct bench_row bench_grow;
extern const struct bench_row bench_recovery;
extern const struct bench_row bench_log_to_log, bench_log_durable;
extern const struct bench_row bench_figures_json, bench_figures_count;
extern const struct bench_row bench_latency_unsynced, bench_latency_synced;
extern const struct bench_row bench_decision;
extern const struct bench_row bench_mirror_view, bench_mirror_queue, bench_fidelity;
extern const struct bench_row bench_migrate_1m, bench_migrate_10m, bench_migrate_empty;

/* The bare JSON loop: simdjson on demand, one record at a time, the three fields that the row uses; returns a sum that
 * depends on all that was read. */
#ifdef __cplusplus
extern "C" {
#endif
struct bare_json;
struct bare_json *bare_json_new(void);
void bare_json_free(struct bare_json *bare);
uint64_t bare_json_step(struct bare_json *bare, const struct str *values, int32_t count);

/* The views among events of Yahoo's benchmark: the three fields that the query uses, in their order, the time only of views.
 * Returns how many there are. */
struct bare_view {
    char ad_id[36];
    int64_t time_ms;
};
int32_t bare_json_views(struct bare_json *bare, const struct str *values, int32_t count,
                        struct bare_view *ret_views);
#ifdef __cplusplus
}
#endif

#endif
