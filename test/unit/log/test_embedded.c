// SPDX-License-Identifier: Apache-2.0
#include "log/embedded.h"

#include <stdlib.h>

#include "conformance.h"
#include "sim/disk.h"

/* The embedded engine under the conformance suite, on the simulator's disk: every crash is a power cut. */

struct bed {
    struct disk *disk;
    struct fs fs;
};

static void bed_open_log(struct rig *rig)
{
    struct bed *bed = rig->state;
    bed->fs = disk_fs(bed->disk);
    struct log_embedded_options options = {.fs = &bed->fs,
                                           .clock = &rig->clock,
                                           .journal_segment_bytes = 256 << 10,
                                           .shard_segment_bytes = 64 << 10,
                                           .group_bytes_max = 64 << 10};
    struct log_recovery_report report;
    struct err_info info = {0};
    enum err err = log_embedded_open(&options, &rig->log, &report, &info);
    CHECK_MSG(err == ERR_OK, "%s", info.text);
    CHECK_MSG(report.shards_refused == 0, "%s", report.text);
}

static void bed_open(struct rig *rig)
{
    struct bed *bed = malloc(sizeof(*bed));
    CHECK(bed != NULL);
    struct disk_options options = {.clock = &rig->clock,
                                   .seed = test_seed(),
                                   .sync_delay_ns = 300000,
                                   .other_delay_ns = 20000};
    bed->disk = disk_new(&options);
    rig->state = bed;
    bed_open_log(rig);
}

static void bed_crash(struct rig *rig)
{
    struct bed *bed = rig->state;
    if (rng_chance(&rig->rng, 0.7)) {
        disk_power_cut(bed->disk);
    } else {
        disk_process_kill(bed->disk);
    }
    log_close(rig->log);
    bed_open_log(rig);
}

static int64_t bed_step(struct rig *rig, int64_t now_ns)
{
    return disk_step(((struct bed *)rig->state)->disk, now_ns);
}

static void bed_close(struct rig *rig)
{
    struct bed *bed = rig->state;
    log_close(rig->log);
    disk_free(bed->disk);
    free(bed);
}

static const struct conformance_factory embedded = {.flags = CONFORM_DENSE | CONFORM_RANGE_EPOCHS,
                                                    .open = bed_open,
                                                    .crash = bed_crash,
                                                    .step = bed_step,
                                                    .close = bed_close};

#define X(name) \
    TEST(embedded_##name) \
    { \
        conformance_run(&embedded, conform_##name); \
    }
CONFORMANCE_LIST(X)
#undef X
