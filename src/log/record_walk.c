// SPDX-License-Identifier: Apache-2.0
/* Walks the records of several batches. */
#include "log/record_walk.h"

static enum err begin_batch(struct record_walk *walk, struct err_info *info)
{
    struct record_batch_header header;
    const char *batch = walk->at;
    ptrdiff_t total = 0;
    enum err err = record_batch_parse(batch, walk->end - batch, &header, &total, info);
    if (err != ERR_OK) {
        walk->at = walk->end;
        return err;
    }
    walk->at = batch + total;
    err = record_batch_verify(batch, total, info);
    err = err == ERR_OK ? record_reader_begin(walk->reader, batch, total, info) : err;
    walk->inside = err == ERR_OK;
    return err;
}

enum err record_walk_next(struct record_walk *walk, struct record *ret_record,
                          struct err_info *info)
{
    for (;;) {
        if (walk->inside) {
            enum err err = record_reader_next(walk->reader, ret_record, info);
            walk->inside = err == ERR_OK;
            if (err != ERR_NOT_FOUND) {
                return err;
            }
        }
        if (walk->at == walk->end) {
            return ERR_NOT_FOUND;
        }
        enum err err = begin_batch(walk, info);
        if (err != ERR_OK) {
            return err;
        }
    }
}
