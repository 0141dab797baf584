// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "base/mem.h"
#include "base/planted.h"
#include "log/committer_priv.h"

/* The committer: takes ops, makes one journal frame of a group of them, syncs it, writes the group's batches to the
 * shards' files, publishes the ends, completes the ops.
 *
 *   IDLE --ops--> [room?] --no--> [next there?] --> SNAPSHOT_WRITE --> SNAPSHOT_SYNC --+
 *     ^             |yes            no v   ^                                          |
 *     |             |               SEGMENT                                           |
 *     |             | <---------------------------------------------------------------+
 *     |             v
 *     +---------- WRITE --> SYNC --> SHARDS --> (published, completed) --> IDLE
 *                                     |  ^
 *                             no space v  | every 100 ms
 *                                    STALLED
 *
 * In the unsynced mode there are no SNAPSHOT_SYNC and no SYNC: the syncer syncs the journal meanwhile (committer_unsynced.c).
 *
 * Invariants:
 *   C1  One group is in flight; frame n + 1 is written only when n is synced (unsynced mode: written).
 *   C2  No op of a group completes before its frame is synced; readers see its batches before it completes (so who was
 *       told reads his own writes), unless shards lack space: then the ops complete and readers see them later.
 *   C3  A write or sync that failed is final: `failed` is set, nothing is acknowledged any more, reads go on.
 *   C4  The catalog runs ahead of the disk by at most the group in flight. Ops that only look are completed with it, so
 *       they never tell what a crash could take back.
 *   C5  Deferred entries (floors) are in c->entries until a frame or a snapshot takes them. */

enum { ROUNDS_PER_STEP_MAX = 256, OUT_FILE_BYTES = 1 << 20, OUT_BYTES_MIN = 1 << 20 };

void committer_fail(struct committer *c, enum err err, const struct err_info *info)
{
    if (c->failed == ERR_OK) {
        struct embedded *engine = CONTAINER_OF(c, struct embedded, committer);
        c->failed = err == ERR_NO_SPACE ? ERR_IO : err;
        c->failure = *info;
        c->failure.code = c->failed;
        atomic_store(&engine->log.failure, &c->failure);
    }
}

void committer_init(struct embedded *engine, int64_t now_ns)
{
    struct committer *c = &engine->committer;
    waker_init(&c->waker);
    mailbox_init(&c->ops, &c->waker);
    mailbox_init(&c->io, &c->waker);
    mailbox_init(&c->replies, &c->waker);
    c->journal.fd = c->next.fd = -1;
    c->request.kind = MSG_SEGMENT;
    c->pace.kind = MSG_PACE;
    c->round.kind = MSG_ROUND;
    c->reserve.kind = MSG_RESERVE;
    c->now_ns = now_ns;
    c->wall_base_ns = now_ns;
    c->wall_base_ms = clock_wall_unix_ms(engine->clock);
    c->time_ms = c->wall_base_ms;
    c->retention_ns = now_ns + RETENTION_EVERY_NS;
    c->retry_ns = now_ns;
    unsynced_init(c);
}

void committer_release(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    for (struct shard *shard = c->lru_newest; shard != NULL; shard = shard->lru_older) {
        fs_close(engine->fs, shard->file);
    }
    if (c->journal.fd >= 0) {
        fs_close(engine->fs, c->journal);
    }
    if (c->next.fd >= 0) {
        fs_close(engine->fs, c->next);
    }
    for (struct msg *msg = mailbox_take_all(&c->replies); msg != NULL; msg = msg->next) {
        if (msg == &c->request.msg && c->request.err == ERR_OK) {
            fs_close(engine->fs, c->request.file);
        }
    }
    unsynced_release(engine);
    wire_release(&c->entries);
    mem_free(c->frame);
    mem_free(c->pending);
    mem_free(c->dirty);
    mem_free(c->round.files);
}

/* Ops that only look and would tell what a write of the same group did (C4: the catalog is ahead of the disk). */
static bool tells_what_is_ahead(const struct log_op *op)
{
    return op->kind == LOG_OP_CONTROL_GET || op->kind == LOG_OP_CONTROL_LIST;
}

void committer_complete(struct committer *c, enum err err)
{
    struct log_op *op = c->group_head;
    c->group_head = c->group_tail = NULL;
    c->group_bytes = 0;
    while (op != NULL) {
        struct log_op *next = op->engine_next;
        if (err != ERR_OK && op->err == ERR_OK && (group_is_write(op) || tells_what_is_ahead(op))) {
            op->err = err;
            op->info = c->failure;
        }
        op_complete(op);
        op = next;
    }
}

/* The group is not begun: writes are told `err`, the others look. */
void committer_refuse(struct embedded *engine, enum err err, const struct err_info *info)
{
    struct committer *c = &engine->committer;
    for (struct log_op *op = c->group_head; op != NULL; op = op->engine_next) {
        bool looks =
            !group_is_write(op) &&
            !(c->failed != ERR_OK && (tells_what_is_ahead(op) || op->kind == LOG_OP_RESTORE_OPEN));
        if (looks) {
            group_prepare(engine, op);
        } else {
            op->err = err;
            op->info = *info;
            op->info.code = err;
            if (op->kind == LOG_OP_CHECKPOINT) { /* its file, which no frame will name */
                catalog_add_garbage(&engine->catalog, GARBAGE_CHECKPOINT, 0, op->engine_word);
            }
        }
    }
    committer_complete(c, ERR_OK);
}

/* Files that nothing refers to any more, once that is durable: a power cut must not take back the frame that let go of a
 * file that is gone (unsynced mode: so they wait for the journal's next sync). Called when no entry waits for a frame. */
void committer_send_garbage(struct embedded *engine)
{
    struct catalog *catalog = &engine->catalog;
    if (catalog->garbage_count == 0 || unsynced_hold_garbage(engine)) {
        return;
    }
    struct garbage_job *job = MEM_NEW(struct garbage_job);
    job->kind = MSG_GARBAGE;
    job->files = catalog->garbage;
    job->count = catalog->garbage_count;
    catalog->garbage = NULL;
    catalog->garbage_count = catalog->garbage_cap = 0;
    syncer_send(engine->syncer, &job->msg);
}

static void reserve_pending(struct committer *c)
{
    int64_t count = 0;
    for (const struct log_op *op = c->group_head; op != NULL; op = op->engine_next) {
        count += op->kind == LOG_OP_APPEND || op->kind == LOG_OP_COMMIT ? op->engine_word : 0;
    }
    if (count > c->pending_cap) {
        mem_free(c->pending);
        c->pending_cap = (int32_t)(count + count / 2);
        c->pending = MEM_NEW_ARRAY(struct pending_batch, c->pending_cap);
    }
    c->pending_count = 0;
}

static void run_group(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    reserve_pending(c);
    for (struct log_op *op = c->group_head; op != NULL; op = op->engine_next) {
        group_prepare(engine, op);
    }
    if (!c->must_write && c->touched == NULL) {
        c->state = COMMITTER_IDLE;
        committer_complete(c, ERR_OK);
        committer_send_garbage(engine);
        return;
    }
    committer_assemble(engine);
    if (!c->must_write) {
        committer_write_shards(engine); /* scratch only */
        return;
    }
    c->must_write = false;
    c->entries.len = 0;
    c->entry_count = 0;
    c->state = COMMITTER_WRITE;
    CRASHPOINT("log.commit.before_write");
    committer_submit_journal(engine, FS_WRITE, c->at);
}

/* Makes a group of the ops that wait. */
static void gather(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    int32_t count = 0;
    while (c->queue_head != NULL && count < OPS_PER_GROUP_MAX) {
        struct log_op *op = c->queue_head;
        int64_t bound = group_bound(op);
        if (count > 0 && c->group_bytes + bound > engine->options.group_bytes_max) {
            break;
        }
        c->queue_head = op->engine_next;
        c->queue_tail = c->queue_head == NULL ? NULL : c->queue_tail;
        op->engine_next = NULL;
        *(c->group_tail != NULL ? &c->group_tail->engine_next : &c->group_head) = op;
        c->group_tail = op;
        c->group_bytes += bound;
        count++;
    }
}

static bool group_writes(const struct committer *c)
{
    for (const struct log_op *op = c->group_head; op != NULL; op = op->engine_next) {
        if (group_is_write(op)) {
            return true;
        }
    }
    return c->must_write;
}

static void want_reserve(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    if (c->reserve_gone && !c->reserve_out && c->now_ns >= c->retry_ns) {
        c->reserve.give_up = false;
        c->reserve_out = true;
        syncer_send(engine->syncer, &c->reserve.msg);
    }
}

/* Bound of the frame that is due. */
static int64_t frame_need(const struct committer *c)
{
    return journal_align(JOURNAL_HEADER + c->entries.len + c->group_bytes + JOURNAL_TRAILER);
}

/* Writes wait for the reserve to stand again. */
static void refuse_without_reserve(struct embedded *engine)
{
    struct err_info info;
    IGNORE_RESULT(
        err_set(&info, ERR_NO_SPACE,
                "no space left for the shards; writes go on when there is")); /* fills it */
    committer_refuse(engine, ERR_NO_SPACE, &info);
}

static bool is_of_use_without_space(const struct log_op *op)
{
    return !group_is_write(op) || op->kind == LOG_OP_STREAM_DELETE ||
           op->kind == LOG_OP_STREAM_ALTER || op->kind == LOG_OP_TRIM;
}

/* What may free space must not wait for it: deletions, trims and retention's entries, which need no more than the journal
 * segments that there are. All other writes are refused. True: a frame may be due. */
static bool keep_what_frees(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    struct log_op *kept = NULL, *kept_tail = NULL, *rest = NULL, *rest_tail = NULL;
    int64_t kept_bytes = 0;
    for (struct log_op *op = c->group_head, *next; op != NULL; op = next) {
        next = op->engine_next;
        op->engine_next = NULL;
        bool keep = is_of_use_without_space(op);
        struct log_op **head = keep ? &kept : &rest, **tail = keep ? &kept_tail : &rest_tail;
        *(*tail != NULL ? &(*tail)->engine_next : head) = op;
        *tail = op;
        kept_bytes += keep ? group_bound(op) : 0;
    }
    c->group_head = rest;
    c->group_tail = rest_tail;
    refuse_without_reserve(engine);
    c->group_head = kept;
    c->group_tail = kept_tail;
    c->group_bytes = kept_bytes;
    bool room = c->at + frame_need(c) <= c->segment_bytes || c->next.fd >= 0;
    if (!room) {
        refuse_without_reserve(engine);
    }
    return room && (kept != NULL || c->must_write);
}

/* Begins what is due. False: nothing to do now. */
static bool start(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    if (c->failed == ERR_OK && c->now_ns >= c->retention_ns) {
        c->retention_ns = c->now_ns + RETENTION_EVERY_NS;
        c->must_write = retention_run(engine) || c->must_write;
        CRASHPOINT("log.retention.looked");
    }
    want_reserve(engine);
    if (c->failed == ERR_OK) {
        committer_look_ahead(engine);
    }
    if (c->group_head == NULL) {
        gather(engine);
    }
    if (c->failed != ERR_OK) {
        bool any = c->group_head != NULL;
        committer_refuse(engine, c->failed, &c->failure);
        return any;
    }
    if (c->group_head == NULL && !c->must_write && c->entries.len < (1 << 20)) {
        return false;
    }
    if (c->group_head != NULL && !group_writes(c)) {
        run_group(engine);
        return true;
    }
    if (c->reserve_gone && !keep_what_frees(engine)) {
        return c->queue_head != NULL;
    }
    int64_t need = frame_need(c);
    if (c->at + need > c->segment_bytes) {
        return committer_roll(engine, need);
    }
    c->must_write = c->must_write || c->group_head == NULL;
    run_group(engine);
    return true;
}

/* ---- What arrives */

static void on_journal(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    const struct fs_op *op = &c->journal_op;
    if (PLANTED(RETRY_FAILED_SYNC) && op->err != ERR_OK && c->state == COMMITTER_SYNC) {
        committer_submit_journal(engine, FS_SYNC, 0);
        return;
    }
    if (op->err != ERR_OK) {
        committer_fail(c, op->err, &op->info);
        c->state = COMMITTER_IDLE;
        c->touched = NULL;
        committer_complete(c, c->failed);
        return;
    }
    switch (c->state) {
    case COMMITTER_SNAPSHOT_WRITE:
        CRASHPOINT("log.roll.snapshot_written");
        if (unsynced_is(engine)) {
            committer_snapshot_written(c);
            unsynced_frame_written(engine);
            break;
        }
        c->state = COMMITTER_SNAPSHOT_SYNC;
        committer_submit_journal(engine, FS_SYNC, 0);
        break;
    case COMMITTER_SNAPSHOT_SYNC:
        CRASHPOINT("log.roll.snapshot_synced");
        committer_snapshot_written(c);
        c->round_wanted = true;
        c->round_below = c->segment;
        break;
    case COMMITTER_WRITE:
        CRASHPOINT("log.commit.frame_written");
        c->frame_number++;
        c->at += c->frame_len;
        if (!unsynced_is(engine)) {
            c->state = COMMITTER_SYNC;
            committer_submit_journal(engine, FS_SYNC, 0);
            break;
        }
        unsynced_frame_written(engine);
        committer_write_shards(engine);
        break;
    case COMMITTER_SYNC:
        CRASHPOINT("log.commit.frame_synced");
        committer_write_shards(engine);
        break;
    case COMMITTER_IDLE:
    case COMMITTER_SEGMENT:
    case COMMITTER_SHARDS:
    case COMMITTER_STALLED:
        CHECK(false);
    }
}

static void on_reply(struct embedded *engine, struct msg *msg)
{
    struct committer *c = &engine->committer;
    if (msg == &c->request.msg) {
        committer_on_segment(engine);
    } else if (msg == &c->round.msg) {
        c->round_out = false;
        c->round.count = 0;
        if (c->round.err != ERR_OK) {
            committer_fail(c, c->round.err, &c->round.info);
        } else if (c->round.sync) {
            c->oldest_segment = c->round.journal_below;
        }
    } else if (msg == &c->unsynced.job.msg) {
        unsynced_on_sync(engine);
    } else if (msg == &c->pace.msg) {
        c->pace_out = false;
    } else {
        CHECK(msg == &c->reserve.msg);
        c->reserve_out = false;
        c->reserve_gone = !c->reserve.there;
        c->retry_ns = c->reserve.give_up ? c->now_ns : c->now_ns + SPACE_RETRY_NS;
    }
}

/* Whether so much was written since the last round that it should be on its way to the disk: what is left for a sync to
 * write would hold up the commits behind it. Not for less than OUT_FILE_BYTES a file. */
static bool out_due(const struct committer *c)
{
    int64_t bytes = (int64_t)OUT_FILE_BYTES * c->dirty_count;
    return c->round_bytes >= (bytes > OUT_BYTES_MIN ? bytes : OUT_BYTES_MIN);
}

/* The files written to since the last sync are the round's now. */
static void round_takes(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    struct dirty_file *files = c->round.files;
    int32_t cap = c->round.cap;
    c->round.files = c->dirty;
    c->round.count = c->dirty_count;
    c->round.cap = c->dirty_cap;
    c->dirty = files;
    c->dirty_count = 0;
    c->dirty_cap = cap;
    for (int32_t i = 0; i < c->round.count; i++) {
        shard_get(&engine->shards, c->round.files[i].shard)->dirty = false;
    }
    c->round.journal_first = c->oldest_segment;
    c->round.journal_below = c->round_below;
    c->round_wanted = false;
}

/* The round has them, too; they stay to be synced. */
static void round_copies(struct committer *c)
{
    if (c->round.cap < c->dirty_count) {
        c->round.cap = c->dirty_cap;
        c->round.files =
            mem_resize(c->round.files, c->round.cap, (ptrdiff_t)sizeof(*c->round.files));
    }
    memcpy(c->round.files, c->dirty, (size_t)c->dirty_count * sizeof(*c->dirty));
    c->round.count = c->dirty_count;
}

/* Hands the files written so far to the syncer: at each new journal segment to be synced, so that older ones can go. */
static void send_round(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    if ((!c->round_wanted && !out_due(c)) || c->round_out || c->state != COMMITTER_IDLE ||
        c->failed != ERR_OK) {
        return;
    }
    c->round.sync = c->round_wanted;
    if (c->round.sync) {
        round_takes(engine);
    } else {
        round_copies(c);
    }
    c->round_out = true;
    c->round_bytes = 0;
    syncer_send(engine->syncer, &c->round.msg);
}

/* Takes everything that has arrived; true if there was anything. */
static bool take(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    struct msg *ops = mailbox_take_all(&c->ops), *io = mailbox_take_all(&c->io);
    struct msg *replies = mailbox_take_all(&c->replies);
    bool any = ops != NULL || io != NULL || replies != NULL;
    while (ops != NULL) {
        struct log_op *op = CONTAINER_OF(ops, struct log_op, msg);
        ops = ops->next;
        op->engine_next = NULL;
        *(c->queue_tail != NULL ? &c->queue_tail->engine_next : &c->queue_head) = op;
        c->queue_tail = op;
    }
    while (io != NULL) {
        struct msg *next = io->next;
        struct fs_op *op = CONTAINER_OF(io, struct fs_op, msg);
        if (op == &c->journal_op) {
            on_journal(engine);
        } else {
            struct shard_write *write = CONTAINER_OF(op, struct shard_write, op);
            write->first = NULL;
            c->writes_out--;
            if (op->err != ERR_OK && c->write_err == ERR_OK) {
                c->write_err = op->err;
                c->write_info = op->info;
            }
        }
        io = next;
    }
    while (replies != NULL) {
        struct msg *next = replies->next;
        on_reply(engine, replies);
        replies = next;
    }
    return any;
}

static bool advance(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    switch (c->state) {
    case COMMITTER_IDLE:
        send_round(engine);
        unsynced_send(engine);
        return start(engine);
    case COMMITTER_SHARDS:
        committer_issue_writes(engine);
        if (c->writes_out == 0) {
            committer_writes_settled(engine);
            return true;
        }
        return false;
    case COMMITTER_STALLED:
        if (c->now_ns >= c->retry_ns) {
            committer_write_shards(engine);
            return true;
        }
        gather(engine);
        if (c->group_head != NULL) {
            refuse_without_reserve(engine);
            return true;
        }
        return false;
    case COMMITTER_SEGMENT:
    case COMMITTER_SNAPSHOT_WRITE:
    case COMMITTER_SNAPSHOT_SYNC:
    case COMMITTER_WRITE:
    case COMMITTER_SYNC:
        break;
    }
    return false;
}

/* Wall time as retention believes it: what the wall said at the start, moved on by the monotonic clock, never later
 * than the wall says now, and never back. */
static void tell_time(struct embedded *engine, int64_t now_ns)
{
    struct committer *c = &engine->committer;
    c->now_ns = now_ns;
    engine->catalog.now_ns = now_ns;
    int64_t steady_ms = c->wall_base_ms + (now_ns - c->wall_base_ns) / 1000000;
    int64_t wall_ms = clock_wall_unix_ms(engine->clock);
    int64_t time_ms = steady_ms < wall_ms ? steady_ms : wall_ms;
    c->time_ms = time_ms > c->time_ms ? time_ms : c->time_ms;
}

int64_t committer_step(void *ctx, int64_t now_ns)
{
    struct embedded *engine = ctx;
    struct committer *c = &engine->committer;
    tell_time(engine, now_ns);
    bool busy = true;
    for (int i = 0; busy && i < ROUNDS_PER_STEP_MAX; i++) {
        bool arrived = take(engine);
        busy = advance(engine) || arrived;
    }
    if (busy) {
        return now_ns;
    }
    if (c->failed != ERR_OK) {
        return CLOCK_NEVER;
    }
    if (c->state == COMMITTER_STALLED) {
        return c->retry_ns; /* what else is due waits with the group, and may be long past */
    }
    int64_t deadline = c->retention_ns;
    if (!c->unsynced.job_out && c->unsynced.due_ns < deadline) {
        deadline = c->unsynced.due_ns;
    }
    if (c->no_space || c->reserve_gone) {
        deadline = c->retry_ns < deadline && c->retry_ns > now_ns ? c->retry_ns : deadline;
    }
    return c->state == COMMITTER_IDLE ? deadline : CLOCK_NEVER;
}
