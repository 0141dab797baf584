// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_MEMORY_H
#define LOG_MEMORY_H

#include "log/log.h"

/* The small engine in memory that behaves as Kafka does: gaps between offsets (each commit takes a marker's offset),
 * commits that take a while, ERR_AGAIN now and then, fencing of owners only (claims are not looked at), a compacted
 * changelog (a restore reads the last entry of each key; checkpoints do nothing). For tests and the simulator. */
struct log_memory_options {
    const struct clock *clock;
    uint64_t seed;
    int64_t commit_delay_ns;       /* how long a commit or append takes; 20 ms is like Kafka */
    double again_probability;      /* 0..1 */
    double lost_reply_probability; /* of the AGAINs: the share that did take effect (L6) */
};

struct log *log_memory_new(const struct log_memory_options *options);

/* What a crash of the process that uses the log leaves: the log itself, with its ops in flight dropped (some took
 * effect). Afterwards no old op is touched any more; old readers and restores must have been freed. */
void log_memory_drop_clients(struct log *log);

#endif
