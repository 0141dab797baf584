// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_FIGURES_H
#define NODE_FIGURES_H

#include <stdint.h>

#include "base/str.h"

/* The always-on figures. One list a kind of thing: struct members, JSON names and units come from it. Timed per batch,
 * never per record. All counters run since the partition was opened.
 * Columns: C type, name (also in JSON), unit, what it is. */

#define PARTITION_FIGURES(X) \
    X(int64_t, records_read, "records", "rows of its input that it looked at") \
    X(int64_t, records_in, "records", "rows that were its own") \
    X(int64_t, batches, "batches", "in which its own rows came") \
    X(int64_t, bytes_in, "bytes", "keys and values of its own rows") \
    X(int64_t, records_out, "records", "rows written to its output") \
    X(int64_t, bytes_out, "bytes", "keys and values written to its output") \
    X(int64_t, dead_letters, "records", "rejected") \
    X(int64_t, late, "records", "behind the watermark for all their windows") \
    X(int64_t, stamped, "records", "behind their source shard's watermark") \
    X(int64_t, retries, "calls", "times a dependency was down") \
    X(int64_t, read_cpu_ns, "ns", "read cost: fetch, check, inflate, decode, choose") \
    X(int64_t, work_cpu_ns, "ns", "work cost: its chain and its outputs") \
    X(int64_t, state_bytes, "bytes", "keyed state") \
    X(int64_t, state_entries, "entries", "keyed state") \
    X(int64_t, changelog_bytes, "bytes", "deltas and positions written") \
    X(int64_t, commits, "commits", "that it was part of") \
    X(int64_t, committed, "records", "of its shards, that its commits have passed") \
    X(int64_t, committed_late, "records", \
      "of those, in commits whose oldest record was older than the objective") \
    X(int64_t, lag_records, "records", "not yet committed") \
    X(int64_t, lag_ns, "ns", "age of the oldest record not yet committed") \
    X(int64_t, watermark_ms, "ms", \
      "event time up to which it is complete; least 64-bit number: none yet") \
    X(double, arrival_rate, "records/s", "into its input shards") \
    X(double, own_rate, "records/s", "own rows processed") \
    X(double, read_cost_ns, "ns/record", "read cost of a row looked at") \
    X(double, work_cost_ns, "ns/record", "work cost of an own row") \
    X(double, demand, "ratio", "arrival rate x cost / capacity of its lane; may exceed 1")

#define LANE_FIGURES(X) \
    X(int64_t, wall_ns, "ns", "since the lane began") \
    X(int64_t, cpu_ns, "ns", "CPU time of its steps") \
    X(int64_t, throttled_ns, "ns", "had work, but not the capacity") \
    X(int64_t, blocked_ns, "ns", "had work, but waited for a commit") \
    X(double, capacity, "cores", "of a core; 1: no limit") \
    X(double, utilisation, "ratio", "CPU time / (capacity x wall), of the last seconds") \
    X(int64_t, partitions, "partitions", "open") \
    X(int64_t, stalled, "partitions", "stalled") \
    X(int64_t, failed, "partitions", "need an operator") \
    X(int64_t, commits, "commits", "acknowledged") \
    X(int64_t, commit_bytes, "bytes", "in them") \
    X(int64_t, commit_again, "commits", "sent again") \
    X(int64_t, commit_ns, "ns", "from submission to acknowledgement, moving average") \
    X(int64_t, cache_bytes, "bytes", "decoded batches held") \
    X(int64_t, cache_hits, "batches", "found decoded") \
    X(int64_t, cache_misses, "batches", "read and decoded")

struct partition_figures {
#define X(type, name, unit, help) type name;
    PARTITION_FIGURES(X)
#undef X
};

struct lane_figures {
#define X(type, name, unit, help) type name;
    LANE_FIGURES(X)
#undef X
};

enum figure_type { FIGURE_I64, FIGURE_F64 };

struct figure_field {
    const char *name, *unit, *help;
    enum figure_type type;
    int32_t offset; /* in the struct */
};

/* The lists as tables, for whoever prints them; ended by a NULL name. */
extern const struct figure_field PARTITION_FIELDS[];
extern const struct figure_field LANE_FIELDS[];

/* Heavy keys are counted over one record of each span of 32 offsets; once the counts have come to HEAVY_LOOKS, which tells the share
 * of a key of one percent to a sixth of it, over one of each span of 256, and what was counted before is worth an eighth. Each time
 * they come to that again they are halved: they tell of the last million records, so that a key which becomes hot is seen. No record
 * weighs more than one, so a share is at least as sure as one of so many looks. */
enum { HEAVY_OFTEN_SHIFT = 5, HEAVY_SELDOM_SHIFT = 8, HEAVY_LOOKS = 4096, HEAVY_TOP = 32 };

#endif
