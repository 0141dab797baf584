// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_OWN_STREAM_H
#define CONTROL_OWN_STREAM_H

#include "control/control_priv.h"
#include "control/history.h"

/* A stream of control's own whose records are rows (text_json_table): samples, decisions. What is added is appended in
 * order, one batch in flight; the local view follows the stream through the log, so that what it shows is what is kept.
 *
 *   the view:  CLOSED --> OPENING --> IDLE --> READING --> TAKING --> IDLE         (OFF: there is none)
 *                 ^          |         ^          |           |
 *                 +----------+---------+----------+-----------+   it was damaged, or is too slow: again from what it has
 *
 * Invariants:
 *   W1  What was added is appended once, in the order it was added, or was told as lost.
 *   W2  At most one append and one read are in flight; what waits is bounded. */

enum { OWN_WAITING_MAX = 4 << 20 /* bytes */ };

enum own_view_state {
    OWN_VIEW_OFF,
    OWN_VIEW_CLOSED,
    OWN_VIEW_OPENING,
    OWN_VIEW_IDLE,
    OWN_VIEW_READING,
    OWN_VIEW_TAKING
};

struct own_stream {
    struct control *control;
    const char *name;
    int64_t kept_ms, kept_bytes;
    struct shard_id shard;
    bool ready;
    /* appending */
    struct record_builder builders[2]; /* one fills, one is in flight */
    int filling;
    bool append_out, append_waits; /* waits: it failed and is tried again */
    int64_t append_due_ns;
    void *batch;
    ptrdiff_t batch_len;
    int64_t added, sent, durable, lost;
    struct job append_job;
    /* the view */
    enum own_view_state view;
    int64_t view_due_ns;
    struct job read_job;
    struct log_reader *reader;
    void *buf;
    int64_t next_offset;
    struct history_op op;
    /* at start: read from the beginning */
    void (*take)(struct control *control, struct str value);
    job_fn then;
};

/* Prepares all of control's; release: nothing of them is in flight, or the log dropped it. */
void own_streams_init(struct control *control);
void own_streams_release(struct control *control);

/* At start: creates them all, one after the other, on `job`, then goes on in `then`. A failure fails control. */
void own_streams_create(struct job *job, job_fn then);

/* At start: hands all its records to `take`, oldest first, then goes on in `then`. */
void own_stream_replay(struct own_stream *stream, struct job *job,
                       void (*take)(struct control *control, struct str value), job_fn then);

/* Adds a record. Returns its number, of which own_stream_is_durable() tells; 0: it was lost, as too much waits. */
int64_t own_stream_add(struct own_stream *stream, struct str value);
bool own_stream_is_durable(const struct own_stream *stream, int64_t number);

int64_t own_streams_step(struct control *control); /* next deadline */

/* An op of a stream's is back from the view. */
void own_stream_viewed(struct own_stream *stream);

#endif
