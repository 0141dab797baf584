// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_ENGINE_H
#define BENCH_ENGINE_H

#include "base/real/temp_dir.h"
#include "log/embedded.h"
#include "node/runtime.h"

/* The whole engine in this process: the embedded log in a folder of its own (removed at the end), the runtime and its
 * lanes. Either every loop is stepped in turn by the caller's thread, whose CPU time then is the engine's, or each has a
 * thread, as in the real program. The caller's thread only, threads apart. */

enum { ENGINE_THINGS_MAX = 24, ENGINE_CALL_PAUSE_NS = 20000 };

struct engine_options {
    enum log_sync_mode sync;
    bool threads;
    bool simulated;         /* a clock that jumps to the next deadline: the same steps each time */
    bool memory_log;        /* the small engine, no files */
    bool on_disk;           /* its folder; else in memory where that can be had */
    const struct fs *files; /* of lookup tables; NULL: there are none */
    loop_step control;      /* NULL, or stepped behind the runtime on its thread */
    void *control_ctx;
    struct lane_tuning tuning;
    /* With a shadow lane: a whole core, memory enough. Its thread is of the idle class, or, where what shadows measure counts
     * and not what they cost, of the normal one. */
    bool shadows, shadows_normal;
    /* Threads: cores to run on, counted from 1; 0: any. */
    int lane_core, shadow_core, other_core;
};

/* A loop of the engine. */
struct engine_thing {
    const char *name;
    loop_step step;
    void *ctx;
    struct waker *waker;
    int64_t deadline_ns;
    int core; /* counted from 1; 0: any */
    enum loop_class class;
    struct loop *loop; /* threads */
};

struct engine {
    struct engine_options options;
    struct clock clock;
    int64_t simulated_ns;
    struct fs fs;
    char path[TEMP_DIR_MAX];
    struct log *log;
    struct arena arena; /* of the present configuration */
    struct node_runtime *runtime;
    struct engine_thing things[ENGINE_THINGS_MAX];
    int32_t thing_count, log_thing_count;
    loop_step step_lane; /* instead of lane_step, which it calls; NULL: none */
    struct mailbox done;
    struct waker waker;
};

/* An empty folder and a log on it. Errors: those of the folder and of the log. */
ATTR_NODISCARD enum err engine_open(const struct engine_options *options, struct engine *engine,
                                    struct err_info *info);

/* Ends what runs, without last commits, closes, removes the folder. A struct of zeros is fine. */
void engine_close(struct engine *engine);

/* What a kill -9 does: everything stops where it is, what was written to files is there. */
void engine_kill(struct engine *engine);

/* The log again, after engine_kill(): recovers. Errors: of the log. */
ATTR_NODISCARD enum err engine_reopen(struct engine *engine, struct err_info *info);

/* Starts the pipelines of a configuration and waits until all partitions run. Errors: of the configuration; FAILED ones
 * with their reason. */
ATTR_NODISCARD enum err engine_start(struct engine *engine, const char *yaml,
                                     struct err_info *info);

/* Last commits, then the runtime is gone; the log stays. */
void engine_stop(struct engine *engine);

/* Waits until all input is processed and committed, up to its end markers; a partition that failed is an error. */
ATTR_NODISCARD enum err engine_run_to_end(struct engine *engine, struct err_info *info);

/* Lets time pass while the caller waits for an answer: a short sleep with threads, a turn of every loop without. */
void engine_pass(struct engine *engine);

/* A simulated clock moves on to `now_ns`, and no further until nothing is due any more. */
void engine_settle(struct engine *engine, int64_t now_ns);

/* One op of the log, waited for; sent again while it says so. */
ATTR_NODISCARD enum err engine_call(struct engine *engine, struct log_op *op);

/* A stream of one shard with that name. */
ATTR_NODISCARD enum err engine_stream(struct engine *engine, const char *name,
                                      struct shard_id *ret_shard, struct err_info *info);

/* Appends one record batch, whose base offset is set in place. */
ATTR_NODISCARD enum err engine_append(struct engine *engine, struct shard_id shard, void *batch,
                                      ptrdiff_t bytes, struct err_info *info);

/* Appends the end marker: engine_run_to_end() then comes to an end. */
ATTR_NODISCARD enum err engine_append_end(struct engine *engine, struct shard_id shard,
                                          struct err_info *info);

/* Removes all streams but the one named `keep`. Nothing runs. */
ATTR_NODISCARD enum err engine_drop_streams(struct engine *engine, const char *keep,
                                            struct err_info *info);

#endif
