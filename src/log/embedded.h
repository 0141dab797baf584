// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_EMBEDDED_H
#define LOG_EMBEDDED_H

#include "base/fs.h"
#include "log/log.h"

/* The embedded engine: one process, files below one folder, one journal in front of all shards. */

enum log_sync_mode {
    LOG_SYNC, /* acknowledge after the group's sync (default) */
    LOG_UNSYNCED /* acknowledge after the write; a sync every `unsynced_interval_ns`: that is the loss window */
};

struct log_embedded_options {
    const struct fs *fs;       /* rooted at the data folder; outlives the log */
    const struct clock *clock; /* wall time for retention and producer expiry only */
    enum log_sync_mode sync;
    int64_t unsynced_interval_ns;
    int64_t journal_segment_bytes; /* 0: default 64 MiB */
    int64_t shard_segment_bytes;   /* 0: default 64 MiB */
    int64_t producer_expiry_ms;    /* 0: default 7 days */
    int64_t group_bytes_max;       /* of one journal frame; 0: default 4 MiB */
};

/* What recovery found, to be told at start. */
struct log_recovery_report {
    int64_t frames_replayed;
    int64_t torn_bytes_cut;   /* of the journal's tail */
    int64_t torn_at_sequence; /* frame number that was cut; -1: none */
    int32_t shards_refused;   /* corrupt: see shard_info.problem */
    char text[512];           /* for people; empty if the shut-down was clean */
};

/* Locks the folder, recovers, opens. Errors: BUSY (another process has the folder: says so), CORRUPT (a bad frame in the
 * middle of the journal: nothing is changed; `log repair --show` tells what would be lost), IO, NO_SPACE. */
ATTR_NODISCARD enum err log_embedded_open(const struct log_embedded_options *options,
                                          struct log **ret_log,
                                          struct log_recovery_report *ret_report,
                                          struct err_info *info);

/* Reads the whole folder (journal, every batch of every segment) without changing it, and writes what is damaged and what a
 * repair would cut, as text for people, into `buf`.
 *   ret_sound  nothing is damaged but, at most, a tail that was never acknowledged */
ATTR_NODISCARD enum err log_embedded_repair_show(const struct fs *fs, char *buf, ptrdiff_t cap,
                                                 bool *ret_sound, struct err_info *info);

#endif
