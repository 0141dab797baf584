// SPDX-License-Identifier: Apache-2.0
#include "log/log.h"

#include "base/check.h"
#include "base/hash.h"

void log_submit(struct log *log, struct log_op *op)
{
    CHECK(op->kind < LOG_OP_KIND_COUNT && op->done != NULL);
    log->vtable->submit(log, op);
}

int64_t log_end_offset(struct log *log, struct shard_id shard)
{
    return log->vtable->end_offset(log, shard);
}

enum err log_watch(struct log *log, struct shard_id shard, struct waker *waker)
{
    return log->vtable->watch(log, shard, waker);
}

void log_unwatch(struct log *log, struct shard_id shard, struct waker *waker)
{
    log->vtable->unwatch(log, shard, waker);
}

struct log_reader *log_reader_new(struct log *log)
{
    return log->vtable->reader_new(log);
}

void log_reader_free(struct log *log, struct log_reader *reader)
{
    if (reader != NULL) {
        log->vtable->reader_free(reader);
    }
}

int log_loops(struct log *log, struct log_loop ret_loops[LOG_LOOPS_MAX])
{
    return log->vtable->loops(log, ret_loops);
}

void log_close(struct log *log)
{
    if (log != NULL) {
        log->vtable->close(log);
    }
}

static bool name_char_valid(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

bool log_name_valid(struct str name)
{
    if (name.len < 1 || name.len > LOG_NAME_MAX || str_is(name, ".") || str_is(name, "..")) {
        return false;
    }
    for (ptrdiff_t i = 0; i < name.len; i++) {
        if (!name_char_valid(name.ptr[i])) {
            return false;
        }
    }
    return true;
}

int32_t log_shard_of_key(struct str key, int32_t shard_count)
{
    CHECK(shard_count > 0);
    return (int32_t)(murmur2_java(key.ptr, key.len) % (uint32_t)shard_count);
}

bool log_checkpoint_range_valid(const struct log_checkpoint_op *op)
{
    return op->group_lo / LOG_BLOCK_GROUPS == (op->group_hi - 1) / LOG_BLOCK_GROUPS ||
           (op->group_lo == 0 && op->group_hi == KEY_GROUP_COUNT);
}
