// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_HISTORY_H
#define CONTROL_HISTORY_H

#include "base/clock.h"
#include "base/fs.h"
#include "control/request.h"

/* The local view: what control's own streams hold, in SQLite, so that it can be asked by name and time. A table for each
 * kept entity, its columns from the entity's field table. Never the only copy: every row came from a record of a stream.
 *
 * Invariants:
 *   V1  The rows of a stream's records below `next_offset` and that offset itself are written in one transaction: what is
 *       taken twice changes nothing, what was lost is taken again.
 *   V2  A file that is missing, damaged or of another version's tables is made anew; then OPEN says 0 and its streams come
 *       again from their beginning.
 *   V3  Bounded: each table keeps rows for a time and up to a number; samples are rolled up to five minutes before they go.
 *   V4  A sample stamped some minutes or more after the taker's now is not taken, and one that is there says nothing of which
 *       rows are old: a clock that was ahead once empties nothing.
 *
 * Thread: a loop of its own, as SQLite blocks. Others send ops to its mailbox. */

struct history;

enum {
    HISTORY_WHERE_MAX = 3,
    HISTORY_ROWS_MAX = CONTROL_SAMPLES_MAX,
    HISTORY_ROLLED_SECONDS = 300
};

enum history_kind {
    HISTORY_OPEN, /* stream -> next_offset */
    HISTORY_TAKE, /* stream, bytes, next_offset, made, now_ms */
    HISTORY_ASK   /* query -> ret_rows */
};

/* Rows of one entity whose text columns are as said, in order of time, the newest `limit` of them. */
struct history_query {
    const struct entity *entity;
    bool rolled; /* samples: the five-minute ones */
    struct {
        const char *column; /* NULL: no more */
        struct str value;
    } where[HISTORY_WHERE_MAX];
    int64_t since_ms; /* of the column `time`, since 1970 */
    int64_t limit;    /* 1..HISTORY_ROWS_MAX */
};

struct history_op {
    struct msg msg; /* first */
    enum history_kind kind;
    struct mailbox *done;
    enum err err; /* CORRUPT: V2 has happened, by this op or another's since OPEN: OPEN again */
    struct err_info info;
    const char *stream;
    int64_t made;        /* OPEN writes it, TAKE brings it back: the file that next_offset was of */
    int64_t next_offset; /* OPEN: where to go on; TAKE: behind what it brings */
    const void *bytes;   /* TAKE: whole record batches */
    ptrdiff_t len;
    int64_t from_offset; /* TAKE: records below it are not wanted */
    int64_t now_ms;      /* TAKE: since 1970, by the clock that stamps samples (V4) */
    struct history_query query;
    struct arena *arena; /* ASK: where the rows go */
    struct control_rows ret_rows;
};

struct history_options {
    const struct fs *fs; /* the folder, to remove a damaged file; NULL: in memory */
    const char *folder;  /* its path, for SQLite */
};

/* Errors: IO (no such file can be made). */
ATTR_NODISCARD enum err history_new(const struct history_options *options,
                                    struct history **ret_history, struct err_info *info);
void history_free(struct history *history); /* its loop has ended; NULL is fine */

int64_t history_step(void *ctx, int64_t now_ns); /* a loop_step */
struct waker *history_waker(struct history *history);
struct mailbox *history_mailbox(struct history *history); /* any thread pushes ops */

#endif
