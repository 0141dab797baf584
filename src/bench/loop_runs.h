// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_LOOP_RUNS_H
#define BENCH_LOOP_RUNS_H

#include "base/err.h"
#include "base/str.h"
#include "bench/row_loop.h"

/* Runs of a closed loop, several of each policy, as rows of figures: what is compared are medians and ranges of those that
 * were not dropped. Rows can be kept as CSV and read again, so that a comparison may be made in several sittings. */

/* name, in the row; text, in CSV and JSON */
#define LOOP_FIGURES(X) \
    X(late_s, "late_seconds") \
    X(p50_ms, "p50_ms") \
    X(p99_ms, "p99_ms") \
    X(max_ms, "max_ms") \
    X(lane_hours, "lane_hours") \
    X(cost, "cost") \
    X(changes, "changes") \
    X(splits, "splits") \
    X(migrations, "migrations") \
    X(nodes_added, "nodes_added") \
    X(nodes_drained, "nodes_drained") \
    X(decisions, "decisions") \
    X(plans, "plans_measured") \
    X(came_true, "came_true") \
    X(shadows, "shadows") \
    X(shadows_answered, "shadows_answered") \
    X(records, "records") \
    X(missing, "missing") \
    X(read_ratio, "read_ratio") \
    X(demand_at_change, "demand_at_first_change") \
    X(hiccup_ms, "hiccup_p99_ms") \
    X(longest_ms, "hiccup_longest_ms") \
    X(yardstick_us, "yardstick_us") \
    X(others_cores, "others_cores")

enum { LOOP_POLICY_MAX = 15, LOOP_SPOILT_MAX = 47, LOOP_RUNS_MAX = 512, LOOP_ROW_MAX = 1024 };

struct loop_run {
    char policy[LOOP_POLICY_MAX + 1];
    int32_t repeat;                   /* 0.. */
    char spoilt[LOOP_SPOILT_MAX + 1]; /* why it is dropped; "": it counts */
#define X(name, text) double name;
    LOOP_FIGURES(X)
#undef X
};

struct loop_runs {
    struct loop_run all[LOOP_RUNS_MAX];
    int32_t count;
};

/* Of kept runs of a policy. */
struct loop_summary {
    int32_t kept, dropped;
    struct loop_run median, least, most; /* figure by figure; NaN: there is none */
};

/* The run as a row; dropped by machine_spoilt() against the calibration's yardstick (0: not known).
 *   lanes  of the pipeline at its peak: what a late second is multiplied by in the cost */
struct loop_run loop_run_of(const struct replay_options *options, int32_t repeat,
                            const struct replay_result *result, double yardstick_us);

struct loop_summary loop_summary_of(const struct loop_runs *runs, const char *policy);

/* Whether a run of the policy and repeat counts, or has been dropped `tries` times. */
bool loop_runs_has(const struct loop_runs *runs, const char *policy, int32_t repeat, int32_t tries);

/* The columns' names, without a line's end. */
void loop_run_header(char ret_text[LOOP_ROW_MAX]);

/* One row, without a line's end. */
void loop_run_write(const struct loop_run *run, char ret_text[LOOP_ROW_MAX]);

/* Errors: PARSE. */
ATTR_NODISCARD enum err loop_run_read(struct str line, struct loop_run *ret_run,
                                      struct err_info *info);

#endif
