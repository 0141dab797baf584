// SPDX-License-Identifier: Apache-2.0
#include "bench/node_run.h"

#include <stdio.h>

#include "base/check.h"
#include "base/real/clock_real.h"

enum { NODE_RUN_YAML_MAX = 4096 };

enum err node_run_open(struct node_run *run, const struct engine_options *options,
                       struct feed *feed, struct err_info *info)
{
    enum err err = engine_open(options, &run->engine, info);
    if (err != ERR_OK) {
        return err;
    }
    struct shard_id in;
    err = engine_stream(&run->engine, "in", &in, info);
    run->records = 0;
    for (int64_t at = 0; at < feed->len && err == ERR_OK;) {
        struct record_batch_header header;
        ptrdiff_t total;
        CHECK(record_batch_parse(feed->bytes + at, feed->len - at, &header, &total, NULL) ==
              ERR_OK);
        err = engine_append(&run->engine, in, feed->bytes + at, total, info);
        run->records += header.record_count;
        at += total;
    }
    err = err == ERR_OK ? engine_append_end(&run->engine, in, info) : err;
    if (err != ERR_OK) {
        node_run_close(run);
    }
    return err;
}

void node_run_close(struct node_run *run)
{
    engine_close(&run->engine);
}

static int64_t used_ns(const struct node_run *run)
{
    const struct clock *clock = &run->engine.clock;
    return run->engine.options.threads ? clock_now_ns(clock) : clock_thread_cpu_ns(clock);
}

enum err node_run_slice(struct node_run *run, double *ret_per_s, struct err_info *info)
{
    char yaml[NODE_RUN_YAML_MAX];
    char chain[NODE_RUN_YAML_MAX] = "";
    if (run->stages == NULL) {
        CHECK(snprintf(chain, sizeof chain, "      - {name: s, from: in, chain: %s, to: out}\n",
                       run->chain) < NODE_RUN_YAML_MAX);
    }
    int len = snprintf(yaml, sizeof yaml,
                       "version: 1\nstreams: {in: {shards: 1}, out: {shards: 1, codec: none}}\n"
                       "pipelines:\n  p%d:\n    commit: %s\n    memory: 16GiB\n    stages:\n%s",
                       run->runs++, run->commit, run->stages != NULL ? run->stages : chain);
    CHECK(len < NODE_RUN_YAML_MAX);
    run->engine.step_lane = run->step_lane;
    int64_t begun_ns = used_ns(run);
    run->cpu_ns = clock_real_process_cpu_ns();
    enum err err = engine_start(&run->engine, yaml, info);
    if (err != ERR_OK) {
        return err;
    }
    err = engine_run_to_end(&run->engine, info);
    int64_t ns = used_ns(run) - begun_ns;
    engine_stop(&run->engine);
    run->cpu_ns = clock_real_process_cpu_ns() - run->cpu_ns;
    if (err == ERR_OK && run->after != NULL) {
        err = run->after(run, "out", run->after_ctx, info);
    }
    err = err == ERR_OK ? engine_drop_streams(&run->engine, "in", info) : err;
    if (err == ERR_OK) {
        *ret_per_s = (double)run->records * 1e9 / (double)ns;
    }
    return err;
}
