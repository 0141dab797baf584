// SPDX-License-Identifier: Apache-2.0
#include "log/embedded.h"
#include "sim/log_sim.h"

enum err sim_open_embedded(struct sim *sim, struct err_info *info)
{
    sim->fs = disk_fs(sim->disk);
    struct rng *rng = &sim->rng;
    struct log_embedded_options options = {
        .fs = &sim->fs,
        .clock = world_clock(sim->world),
        .sync = LOG_SYNC,
        .journal_segment_bytes = rng_range(rng, 64 << 10, 1 << 20),
        .shard_segment_bytes = rng_range(rng, 16 << 10, 256 << 10),
        .group_bytes_max = rng_range(rng, 16 << 10, 1 << 20),
    };
    struct log_recovery_report report;
    return log_embedded_open(&options, &sim->log, &report, info);
}
