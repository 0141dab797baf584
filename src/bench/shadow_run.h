// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_SHADOW_RUN_H
#define BENCH_SHADOW_RUN_H

#include "bench/engine.h"
#include "bench/feed.h"
#include "node/shadow.h"

/* The whole engine with threads, one stage on one lane, and shadows of it: what the rows about shadows share. The caller's
 * thread only. */

struct shadow_run {
    struct engine engine;
    struct feed feed;
    struct shard_id in, out;
    int64_t appended; /* records, since it was opened */
    struct waker waker;
    struct mailbox box;
    loop_step step_lane; /* instead of lane_step, which it calls: to watch it; NULL: none */
};

/* What the live lane has done so far: its own CPU time, and the figures of the partitions whose range begins at 0. */
struct shadow_run_figures {
    int64_t lane_cpu_ns;
    int64_t records_in; /* of all partitions */
    struct partition_figures first;
};

void shadow_run_init(struct shadow_run *run);
void shadow_run_release(struct shadow_run *run);

/* Errors: the engine's. `yaml` has the streams "in" and "out" of one shard. */
ATTR_NODISCARD enum err shadow_run_open(struct shadow_run *run,
                                        const struct engine_options *options, const char *yaml,
                                        struct err_info *info);
void shadow_run_close(struct shadow_run *run);

void shadow_run_look(struct shadow_run *run, struct shadow_run_figures *ret_figures);

/* The heavy keys and the load by key group of its one partition; `detail` has its group_counts. */
void shadow_run_look_at_keys(struct shadow_run *run, struct partition_detail *detail);

/* The feed's next record batch, over and over; and how many records that has. */
ATTR_NODISCARD enum err shadow_run_append(struct shadow_run *run, struct err_info *info);
int32_t shadow_run_next_records(struct shadow_run *run);

/* Until the primaries have taken all that was appended; and until they have committed it, too. */
void shadow_run_wait_taken(struct shadow_run *run);
void shadow_run_wait(struct shadow_run *run);

ATTR_NODISCARD enum err shadow_run_start_shadow(struct shadow_run *run,
                                                const struct shadow_spec *spec,
                                                struct err_info *info);
/* Ends it; its last measures. */
void shadow_run_end_shadow(struct shadow_run *run, uint64_t id, struct shadow_measures *measures);
void shadow_run_measure(struct shadow_run *run, uint64_t id, struct shadow_measures *measures);

/* It reads nothing until it goes on, which is when it has caught up again. */
void shadow_run_pause(struct shadow_run *run, uint64_t id);
void shadow_run_go_on(struct shadow_run *run, uint64_t id, struct shadow_measures *measures);

#endif
