// SPDX-License-Identifier: Apache-2.0
#include "bench/tail.h"

#include "base/check.h"
#include "base/mem.h"

enum err tail_open(struct tail *tail, struct log *log, struct shard_id shard, struct err_info *info)
{
    *tail = (struct tail){.shard = shard};
    waker_init(&tail->waker);
    if (log_watch(log, shard, &tail->waker) != ERR_OK) {
        return err_set(info, ERR_LIMIT, "the bench's sink cannot be watched");
    }
    mailbox_init(&tail->done, &tail->waker);
    record_reader_init(&tail->records);
    tail->log = log;
    tail->reader = log_reader_new(log);
    tail->buf = mem_new(LOG_BATCH_BYTES_MAX + RECORD_READ_PADDING, 1);
    return ERR_OK;
}

bool tail_read(struct tail *tail, struct record_walk *ret_walk)
{
    if (log_end_offset(tail->log, tail->shard) <= tail->offset) {
        return false;
    }
    struct log_read_op *read = &tail->op.u.read;
    tail->op = (struct log_op){.kind = LOG_OP_READ, .done = &tail->done};
    *read = (struct log_read_op){.reader = tail->reader,
                                 .shard = tail->shard,
                                 .offset = tail->offset,
                                 .buf = tail->buf,
                                 .cap = LOG_BATCH_BYTES_MAX};
    log_submit(tail->log, &tail->op);
    CHECK(mailbox_take_all(&tail->done) != NULL &&
          tail->op.err == ERR_OK); /* reads of this engine are at once */
    tail->offset = read->ret_next_offset;
    *ret_walk = record_walk_of(&tail->records, tail->buf, read->ret_bytes);
    return true;
}

void tail_close(struct tail *tail)
{
    if (tail->log == NULL) {
        return;
    }
    log_unwatch(tail->log, tail->shard, &tail->waker);
    log_reader_free(tail->log, tail->reader);
    record_reader_release(&tail->records);
    mem_free(tail->buf);
    *tail = (struct tail){.log = NULL};
}
