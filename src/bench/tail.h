// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_TAIL_H
#define BENCH_TAIL_H

#include "base/mailbox.h"
#include "log/log.h"
#include "log/record_walk.h"

/* A consumer at the end of a shard of the embedded log, whose reads are at once. Owned by one loop, with `waker` as its own; the
 * log's thread only wakes it. All zeros: not open. */
struct tail {
    struct log *log; /* NULL: not open */
    struct log_reader *reader;
    struct shard_id shard;
    struct waker waker;
    struct mailbox done;
    struct log_op op;
    struct record_reader records;
    char *buf;
    int64_t offset;
};

/* From the shard's begin on; wakes `waker` whenever its end moves. LIMIT if too many watch it already: then it is not open. */
ATTR_NODISCARD enum err tail_open(struct tail *tail, struct log *log, struct shard_id shard,
                                  struct err_info *info);

/* What has come, at most LOG_BATCH_BYTES_MAX of it: its records, until the next call. False: nothing has. */
bool tail_read(struct tail *tail, struct record_walk *ret_walk);

/* When its loop has stopped and before the log is closed; also of one that is not open. */
void tail_close(struct tail *tail);

#endif
