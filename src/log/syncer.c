// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "base/mem.h"
#include "base/planted.h"
#include "log/embedded_priv.h"
#include "log/removal.h"

/* The syncer: slow file work that nobody waits for on the path of a commit. Five acts, each with a state, go
 * on beside each other; each has one file operation in flight.
 *
 *   spare       NONE -> [NAME] -> [ZERO -> OUT -> PAUSE]... -> ZERO -> SYNC -> [rename] -> DIR -> READY
 *               -> [rename] -> HANDOVER -> NONE
 *               the next journal segment is zeroed as the one in use fills (committer_roll.c) and synced when it is whole; a
 *               request renames it to its number. Where there is an old segment it is made of that one (NAME: that its name
 *               is gone is durable first): to write over a file costs a third of writing a new one, and nothing has
 *               to be freed. It is as good as new: all zeros, and they are synced, before it has a name that counts
 *   round       files one by one: OUT alone; or SYNC, folder's SYNC_DIR if its name is new; then `shards`; then old journal
 *               segments go
 *   journal     unsynced mode: OUT; or SYNC of a journal segment that the committer writes to, or of one that it has left,
 *               then HEAD, which tells of that in the segment behind it
 *   checkpoint  HEADER -> DATA -> SYNC -> [rename] -> DIR -> the op goes to the committer, which journals it
 *   removal     of files that nothing refers to (removal.h)
 *
 * A commit's sync waits behind what the disk was given before it, so everything else is given to the disk as it is written,
 * a little at a time, and synced seldom: each sync of a file that has grown is also a commit of the file system's own
 * journal, which all writers wait for.
 *
 * Names change by fs_run (they wait for no disk); what must be durable is synced by submit. */

enum { ZERO_BYTES = 1 << 20, PIECE_BYTES_MIN = 4096, SYNCER_ROUNDS_MAX = 64 };

enum spare_state {
    SPARE_NONE,
    SPARE_NAME,
    SPARE_ZERO,
    SPARE_OUT,
    SPARE_SYNC,
    SPARE_PAUSE,
    SPARE_DIR,
    SPARE_READY,
    SPARE_HANDOVER
};

enum round_state { ROUND_NONE, ROUND_FILE, ROUND_FOLDER, ROUND_SHARDS };

enum checkpoint_state {
    CHECKPOINT_NONE,
    CHECKPOINT_HEAD,
    CHECKPOINT_DATA,
    CHECKPOINT_SYNC,
    CHECKPOINT_DIR
};

struct syncer {
    struct embedded *engine;
    struct waker waker;
    struct mailbox in, ops, io;
    uint8_t *zeros;

    enum spare_state spare;
    struct fs_op spare_op;
    struct fs_file spare_file;
    int64_t spare_bytes, spare_target;
    int64_t spare_piece_bytes; /* zeroed at once, at most ZERO_BYTES */
    int64_t spare_goal;        /* what the next spare's target will be */
    int32_t spare_parts;       /* of the target that should be there by now */
    bool old_there;            /* a segment that is done with, to make the next spare of */
    bool spare_named;          /* it is called `spare` already (being made larger) */
    int64_t retry_ns;          /* after a lack of space */
    uint64_t next_segment;
    struct segment_request *request;

    enum round_state round;
    struct fs_op round_op;
    struct fs_file round_file;
    struct sync_round *job;
    int32_t job_index;
    char folder[SHARD_PATH_MAX];

    struct fs_op journal_op;
    struct journal_sync *journal; /* NULL: none */

    enum checkpoint_state checkpoint;
    struct fs_op checkpoint_op;
    struct fs_file checkpoint_file;
    struct log_op *checkpoint_head, *checkpoint_tail; /* the first is being written */
    uint8_t header[CHECKPOINT_HEADER];

    struct removal removal;
    int64_t now_ns;
    bool reserve_looked_at;
};

static bool is_there(const struct fs *fs, const char *path)
{
    struct fs_file file = {-1};
    enum err err = fs_open(fs, path, FS_O_READ, &file, NULL);
    if (err == ERR_OK) {
        fs_close(fs, file);
    }
    return err == ERR_OK;
}

static int64_t piece_of(int64_t bytes)
{
    int64_t whole = bytes / PIECE_BYTES_MIN * PIECE_BYTES_MIN;
    whole = whole < PIECE_BYTES_MIN ? PIECE_BYTES_MIN : whole;
    return whole < ZERO_BYTES ? whole : ZERO_BYTES;
}

struct syncer *syncer_new(struct embedded *engine, uint64_t next_segment)
{
    struct syncer *s = MEM_NEW(struct syncer);
    s->engine = engine;
    waker_init(&s->waker);
    mailbox_init(&s->in, &s->waker);
    mailbox_init(&s->ops, &s->waker);
    mailbox_init(&s->io, &s->waker);
    s->zeros = mem_new_aligned(ZERO_BYTES, 4096);
    s->next_segment = next_segment;
    s->spare_file.fd = s->round_file.fd = s->checkpoint_file.fd = -1;
    const struct log_embedded_options *options = &engine->options;
    removal_init(&s->removal, engine->fs, &s->io, piece_of(options->shard_segment_bytes / 128));
    s->spare_piece_bytes = piece_of(options->journal_segment_bytes / SPARE_PARTS);
    /* Names that a power cut may have left on a segment that has its own one, too: nothing is made of them. */
    IGNORE_RESULT(fs_unlink(engine->fs, JOURNAL_NEXT, NULL)); /* there may be none */
    IGNORE_RESULT(fs_unlink(engine->fs, JOURNAL_OLD, NULL));
    /* A spare that a run before left was synced before it got its name. */
    if (fs_open(engine->fs, JOURNAL_SPARE, FS_O_READ | FS_O_WRITE, &s->spare_file, NULL) ==
        ERR_OK) {
        if (fs_size(engine->fs, s->spare_file, &s->spare_bytes, NULL) == ERR_OK) {
            s->spare = SPARE_READY;
        } else {
            fs_close(engine->fs, s->spare_file);
            s->spare_file.fd = -1;
        }
    }
    return s;
}

static void close_file(struct syncer *s, struct fs_file *file)
{
    if (file->fd >= 0) {
        fs_close(s->engine->fs, *file);
        file->fd = -1;
    }
}

void syncer_free(struct syncer *s)
{
    if (s == NULL) {
        return;
    }
    struct msg *msg = mailbox_take_all(&s->in);
    while (msg != NULL) {
        struct msg *next = msg->next;
        struct garbage_job *job = CONTAINER_OF(msg, struct garbage_job, msg);
        if (job->kind == MSG_GARBAGE) {
            mem_free(job->files);
            mem_free(job);
        }
        msg = next;
    }
    close_file(s, &s->spare_file);
    close_file(s, &s->round_file);
    close_file(s, &s->checkpoint_file);
    removal_release(&s->removal);
    mem_free(s->zeros);
    mem_free(s);
}

struct waker *syncer_waker(struct syncer *s)
{
    return &s->waker;
}

void syncer_send(struct syncer *s, struct msg *msg)
{
    mailbox_push(&s->in, msg);
}

void syncer_send_checkpoint(struct syncer *s, struct log_op *op)
{
    mailbox_push(&s->ops, &op->msg);
}

static void reply(struct syncer *s, struct msg *msg)
{
    mailbox_push(&s->engine->committer.replies, msg);
}

static void submit(struct syncer *s, struct fs_op *op, struct fs_op what)
{
    *op = what;
    op->done = &s->io;
    fs_submit(s->engine->fs, op);
}

/* ---- The spare segment */

static void spare_zero(struct syncer *s)
{
    int64_t left = s->spare_target - s->spare_bytes;
    s->spare = SPARE_ZERO;
    submit(s, &s->spare_op,
           (struct fs_op){
               .kind = FS_WRITE,
               .file = s->spare_file,
               .buf = s->zeros,
               .len = (ptrdiff_t)(left < s->spare_piece_bytes ? left : s->spare_piece_bytes),
               .offset = s->spare_bytes});
}

static void spare_failed(struct syncer *s, enum err err, const struct err_info *info)
{
    close_file(s, &s->spare_file);
    IGNORE_RESULT(fs_unlink(s->engine->fs, JOURNAL_NEXT, NULL)); /* made anew in any case */
    if (s->spare_named) {
        IGNORE_RESULT(fs_unlink(s->engine->fs, JOURNAL_SPARE, NULL));
    }
    s->spare = SPARE_NONE;
    s->spare_bytes = 0;
    s->spare_named = false;
    s->retry_ns = s->now_ns + SPACE_RETRY_NS;
    if (s->request != NULL) {
        struct segment_request *request = s->request;
        s->request = NULL;
        request->err = err;
        request->info = *info;
        reply(s, &request->msg);
    }
}

/* Whether there should be more of the spare than there is. */
static bool spare_wanted(const struct syncer *s)
{
    return s->request != NULL || s->spare_bytes * SPARE_PARTS < s->spare_target * s->spare_parts;
}

/* Opens what the spare is made of, no longer than it will be, and begins to zero it. */
static void spare_open(struct syncer *s)
{
    const struct fs *fs = s->engine->fs;
    struct err_info info = {0};
    int64_t size = 0;
    if (s->old_there) {
        s->old_there = false;
        IGNORE_RESULT(fs_rename(fs, JOURNAL_OLD, JOURNAL_NEXT, NULL)); /* else of a new file */
    }
    enum err err =
        fs_open(fs, JOURNAL_NEXT, FS_O_READ | FS_O_WRITE | FS_O_CREATE, &s->spare_file, &info);
    if (err == ERR_OK) {
        err = fs_size(fs, s->spare_file, &size, &info);
    }
    if (err == ERR_OK && size > s->spare_target) {
        err = fs_truncate(fs, s->spare_file, s->spare_target, &info);
    }
    if (err != ERR_OK) {
        spare_failed(s, err, &info);
        return;
    }
    spare_zero(s);
}

static void spare_begin(struct syncer *s)
{
    s->spare_bytes = 0;
    s->spare_named = false;
    s->spare_target = s->spare_goal;
    if (s->request != NULL && s->request->bytes_min > s->spare_target) {
        s->spare_target = journal_align(s->request->bytes_min);
    }
    if (!s->old_there) {
        spare_open(s);
        return;
    }
    s->spare = SPARE_NAME;
    submit(s, &s->spare_op, (struct fs_op){.kind = FS_SYNC_DIR, .path = "log/journal"});
}

/* Renames the spare to the number of the next segment. */
static void spare_hand_over(struct syncer *s)
{
    char path[JOURNAL_PATH_MAX];
    journal_path(path, s->next_segment);
    struct err_info info = {0};
    enum err err = fs_rename(s->engine->fs, JOURNAL_SPARE, path, &info);
    if (err != ERR_OK) {
        s->spare_named = true;
        spare_failed(s, err, &info);
        return;
    }
    s->spare = SPARE_HANDOVER;
    CRASHPOINT("log.roll.segment_renamed");
    submit(s, &s->spare_op, (struct fs_op){.kind = FS_SYNC_DIR, .path = "log/journal"});
}

/* What to do next while nothing is in flight. */
static void spare_advance(struct syncer *s)
{
    if (s->spare == SPARE_READY && s->request != NULL) {
        if (s->spare_bytes >= s->request->bytes_min) {
            spare_hand_over(s);
            return;
        }
        s->spare_named = true;
        s->spare_target = journal_align(s->request->bytes_min);
        spare_zero(s);
    } else if (s->spare == SPARE_PAUSE && spare_wanted(s)) {
        spare_zero(s);
    } else if (s->spare == SPARE_NONE && s->now_ns >= s->retry_ns &&
               (s->request != NULL || s->spare_parts > 0)) {
        spare_begin(s);
    } else if (s->spare == SPARE_NONE && s->request != NULL) {
        struct err_info info;
        IGNORE_RESULT(err_set(&info, ERR_NO_SPACE,
                              "no space for the next journal segment; writes "
                              "go on when there is")); /* fills it */
        struct segment_request *request = s->request;
        s->request = NULL;
        request->err = ERR_NO_SPACE;
        request->info = info;
        reply(s, &request->msg);
    }
}

/* The request has its segment; another spare is due. */
static void spare_handed_over(struct syncer *s)
{
    CRASHPOINT("log.roll.segment_named");
    struct segment_request *request = s->request;
    s->request = NULL;
    request->err = ERR_OK;
    request->segment = s->next_segment++;
    request->file = s->spare_file;
    request->bytes = s->spare_bytes;
    s->spare_file.fd = -1;
    s->spare = SPARE_NONE;
    s->spare_parts = 0;
    reply(s, &request->msg);
}

/* Another piece is written: on to the disk with it, or all of it made durable. */
static void spare_zeroed(struct syncer *s)
{
    s->spare_bytes += s->spare_op.len;
    bool whole = s->spare_bytes >= s->spare_target;
    s->spare = whole ? SPARE_SYNC : SPARE_OUT;
    submit(s, &s->spare_op,
           (struct fs_op){.kind = whole ? FS_SYNC : FS_WRITE_OUT, .file = s->spare_file});
}

static void spare_done(struct syncer *s)
{
    const struct fs *fs = s->engine->fs;
    struct err_info info = s->spare_op.info;
    enum err err = s->spare_op.err;
    if (err == ERR_OK && s->spare == SPARE_SYNC && !s->spare_named) {
        CRASHPOINT("log.roll.spare_synced");
        err = fs_rename(fs, JOURNAL_NEXT, JOURNAL_SPARE, &info);
    }
    if (err != ERR_OK) {
        spare_failed(s, err, &info);
        return;
    }
    switch (s->spare) {
    case SPARE_NAME:
        CRASHPOINT("log.roll.old_taken");
        spare_open(s);
        break;
    case SPARE_ZERO:
        spare_zeroed(s);
        break;
    case SPARE_OUT:
        s->spare = SPARE_PAUSE;
        break;
    case SPARE_SYNC:
        s->spare = SPARE_DIR;
        CRASHPOINT("log.roll.spare_named");
        submit(s, &s->spare_op, (struct fs_op){.kind = FS_SYNC_DIR, .path = "log/journal"});
        break;
    case SPARE_DIR:
        CRASHPOINT("log.roll.spare_ready");
        s->spare = SPARE_READY;
        break;
    case SPARE_HANDOVER:
        spare_handed_over(s);
        break;
    case SPARE_NONE:
    case SPARE_PAUSE:
    case SPARE_READY:
        CHECK(false);
    }
}

enum err syncer_make_segment(const struct fs *fs, uint64_t segment, int64_t bytes,
                             struct fs_file *ret_file, struct err_info *info)
{
    char path[JOURNAL_PATH_MAX];
    journal_path(path, segment);
    struct fs_file file = {-1};
    /* A power cut may have left these names on a segment that has its own name, too: nothing is made of them. */
    IGNORE_RESULT(fs_unlink(fs, JOURNAL_NEXT, NULL)); /* there may be none */
    enum err err = fs_open(fs, JOURNAL_NEXT, FS_O_READ | FS_O_WRITE | FS_O_CREATE, &file, info);
    if (err != ERR_OK) {
        return err;
    }
    uint8_t *zeros = mem_new(ZERO_BYTES, 1);
    err = fs_truncate(fs, file, 0, info);
    for (int64_t at = 0; err == ERR_OK && at < bytes; at += ZERO_BYTES) {
        ptrdiff_t len = bytes - at < ZERO_BYTES ? (ptrdiff_t)(bytes - at) : ZERO_BYTES;
        err = fs_write(fs, file, zeros, len, at, info);
    }
    mem_free(zeros);
    if (err == ERR_OK) {
        err = fs_sync(fs, file, info);
    }
    if (err == ERR_OK) {
        err = fs_rename(fs, JOURNAL_NEXT, path, info);
    }
    if (err == ERR_OK) {
        err = fs_sync_dir(fs, "log/journal", info);
    }
    if (err != ERR_OK) {
        fs_close(fs, file);
        return err;
    }
    *ret_file = file;
    return ERR_OK;
}

/* ---- Syncing shards */

/* Keeps a journal segment that nobody needs, to make the next spare of; false: there is one, or it cannot be. */
static bool keep_old(struct syncer *s, const char *path)
{
    if (s->old_there || removal_has_journal(&s->removal) ||
        fs_rename(s->engine->fs, path, JOURNAL_OLD, NULL) != ERR_OK) {
        return false;
    }
    s->old_there = true;
    CRASHPOINT("log.round.journal_unlinked");
    return true;
}

/* Journal segments that the shards are synced past go, the oldest first. */
static void remove_journal(struct syncer *s, const struct sync_round *job)
{
    CRASHPOINT("log.round.shards_synced");
    for (uint64_t n = job->journal_first; n < job->journal_below; n++) {
        char path[JOURNAL_PATH_MAX];
        journal_path(path, n);
        if (!keep_old(s, path)) {
            removal_add(&s->removal,
                        (struct garbage){.kind = GARBAGE_JOURNAL, .number = (int64_t)n});
        }
    }
}

static void round_end(struct syncer *s, enum err err, const struct err_info *info)
{
    struct sync_round *job = s->job;
    CHECK(job != NULL);
    if (err == ERR_OK && job->sync) {
        remove_journal(s, job);
    } else if (err != ERR_OK) {
        job->info = *info;
    }
    job->err = err;
    s->job = NULL;
    s->round = ROUND_NONE;
    reply(s, &job->msg);
}

/* Begins with the next file that is still there, or ends with the folder of all. */
static void round_next(struct syncer *s)
{
    struct err_info info = {0};
    while (s->job_index < s->job->count) {
        const struct dirty_file *file = &s->job->files[s->job_index];
        char path[SHARD_PATH_MAX];
        segment_path(path, file->shard, file->base_offset);
        enum err err = fs_open(s->engine->fs, path, FS_O_READ | FS_O_WRITE, &s->round_file, &info);
        if (err == ERR_OK) {
            s->round = ROUND_FILE;
            submit(s, &s->round_op,
                   (struct fs_op){.kind = s->job->sync ? FS_SYNC : FS_WRITE_OUT,
                                  .file = s->round_file});
            return;
        }
        if (err != ERR_NOT_FOUND) { /* trimmed or deleted meanwhile: nothing to keep */
            s->round_file.fd = -1;
            round_end(s, err, &info);
            return;
        }
        s->job_index++;
    }
    if (!s->job->sync) {
        round_end(s, ERR_OK, NULL);
        return;
    }
    s->round = ROUND_SHARDS;
    submit(s, &s->round_op, (struct fs_op){.kind = FS_SYNC_DIR, .path = "log/shards"});
}

static void round_done(struct syncer *s)
{
    const bool gone = s->round == ROUND_FOLDER && s->round_op.err == ERR_NOT_FOUND;
    if (s->round == ROUND_FILE) {
        close_file(s, &s->round_file);
    }
    if (s->round_op.err != ERR_OK && !gone) {
        round_end(s, s->round_op.err, &s->round_op.info);
        return;
    }
    if (s->round == ROUND_FILE && s->job->sync) {
        CRASHPOINT("log.round.file_synced");
    }
    if (s->round == ROUND_FILE && s->job->sync && s->job->files[s->job_index].fresh &&
        !PLANTED(SKIP_DIRECTORY_SYNC)) {
        s->round = ROUND_FOLDER;
        shard_folder_path(s->folder, s->job->files[s->job_index].shard);
        submit(s, &s->round_op, (struct fs_op){.kind = FS_SYNC_DIR, .path = s->folder});
        return;
    }
    if (s->round == ROUND_SHARDS) {
        CRASHPOINT("log.round.names_synced");
        round_end(s, ERR_OK, NULL);
        return;
    }
    s->job_index++;
    round_next(s);
}

/* ---- Checkpoints */

static void checkpoint_end(struct syncer *s, enum err err, const struct err_info *info)
{
    struct log_op *op = s->checkpoint_head;
    s->checkpoint_head = op->engine_next;
    s->checkpoint_tail = s->checkpoint_head == NULL ? NULL : s->checkpoint_tail;
    op->engine_next = NULL;
    s->checkpoint = CHECKPOINT_NONE;
    close_file(s, &s->checkpoint_file);
    if (err == ERR_OK) {
        CRASHPOINT("log.checkpoint.durable");
        mailbox_push(&s->engine->committer.ops, &op->msg);
        return;
    }
    IGNORE_RESULT(fs_unlink(s->engine->fs, CHECKPOINT_TEMP, NULL)); /* or overwritten by the next */
    op->err = err;
    op->info = *info;
    op_complete(op);
}

static void checkpoint_begin(struct syncer *s)
{
    struct log_op *op = s->checkpoint_head;
    struct err_info info = {0};
    op->engine_word = atomic_fetch_add(&s->engine->next_checkpoint, 1);
    checkpoint_header_put(s->header, op->u.checkpoint.changelog.v, &op->u.checkpoint);
    enum err err = fs_open(s->engine->fs, CHECKPOINT_TEMP, FS_O_WRITE | FS_O_CREATE,
                           &s->checkpoint_file, &info);
    if (err == ERR_OK) {
        err = fs_truncate(s->engine->fs, s->checkpoint_file, 0, &info);
    }
    if (err != ERR_OK) {
        checkpoint_end(s, err, &info);
        return;
    }
    s->checkpoint = CHECKPOINT_HEAD;
    CRASHPOINT("log.checkpoint.begun");
    submit(s, &s->checkpoint_op,
           (struct fs_op){.kind = FS_WRITE,
                          .file = s->checkpoint_file,
                          .buf = s->header,
                          .len = CHECKPOINT_HEADER});
}

static void checkpoint_done(struct syncer *s)
{
    struct log_op *op = s->checkpoint_head;
    struct log_checkpoint_op *what = &op->u.checkpoint;
    struct err_info info = s->checkpoint_op.info;
    enum err err = s->checkpoint_op.err;
    if (err == ERR_OK && s->checkpoint == CHECKPOINT_SYNC) {
        CRASHPOINT("log.checkpoint.synced");
        char path[SHARD_PATH_MAX];
        checkpoint_path(path, op->engine_word);
        err = fs_rename(s->engine->fs, CHECKPOINT_TEMP, path, &info);
    }
    if (err != ERR_OK || s->checkpoint == CHECKPOINT_DIR) {
        checkpoint_end(s, err, &info);
        return;
    }
    if (s->checkpoint == CHECKPOINT_HEAD && what->len > 0) {
        s->checkpoint = CHECKPOINT_DATA;
        /* FS_WRITE does not change what it writes. */
        union {
            const void *in;
            void *out;
        } bytes = {.in = what->bytes};
        submit(s, &s->checkpoint_op,
               (struct fs_op){.kind = FS_WRITE,
                              .file = s->checkpoint_file,
                              .buf = bytes.out,
                              .len = what->len,
                              .offset = CHECKPOINT_HEADER});
    } else if (s->checkpoint == CHECKPOINT_SYNC) {
        s->checkpoint = CHECKPOINT_DIR;
        CRASHPOINT("log.checkpoint.renamed");
        submit(s, &s->checkpoint_op,
               (struct fs_op){.kind = FS_SYNC_DIR, .path = "log/checkpoints"});
    } else {
        s->checkpoint = CHECKPOINT_SYNC;
        CRASHPOINT("log.checkpoint.written");
        submit(s, &s->checkpoint_op,
               PLANTED(CHECKPOINT_NOT_SYNCED)
                   ? (struct fs_op){.kind = FS_SYNC_DIR, .path = "log"}
                   : (struct fs_op){.kind = FS_SYNC, .file = s->checkpoint_file});
    }
}

/* ---- The reserve */

/* Bytes of space kept for the shards' tails when everything else is full. */
static enum err reserve_make(struct syncer *s)
{
    const struct fs *fs = s->engine->fs;
    int64_t bytes = s->engine->options.journal_segment_bytes / 8;
    bytes = bytes < RESERVE_BYTES_MAX ? bytes : RESERVE_BYTES_MAX;
    struct fs_file file = {-1};
    enum err err = fs_open(fs, RESERVE_PATH, FS_O_WRITE | FS_O_CREATE, &file, NULL);
    for (int64_t at = 0; err == ERR_OK && at < bytes; at += ZERO_BYTES) {
        ptrdiff_t len = bytes - at < ZERO_BYTES ? (ptrdiff_t)(bytes - at) : ZERO_BYTES;
        err = fs_write(fs, file, s->zeros, len, at, NULL);
    }
    if (file.fd >= 0) {
        fs_close(fs, file);
    }
    if (err != ERR_OK) {
        IGNORE_RESULT(fs_unlink(fs, RESERVE_PATH, NULL)); /* half of it helps nobody */
    }
    return err;
}

static void on_reserve(struct syncer *s, struct reserve_request *request)
{
    if (request->give_up) {
        IGNORE_RESULT(fs_unlink(s->engine->fs, RESERVE_PATH, NULL)); /* it may be gone */
    }
    request->there = !request->give_up && reserve_make(s) == ERR_OK;
    reply(s, &request->msg);
}

static void on_pace(struct syncer *s, struct pace *pace)
{
    s->spare_parts = pace->parts;
    s->spare_goal = pace->bytes_goal;
    reply(s, &pace->msg);
}

static void journal_begin(struct syncer *s, struct journal_sync *job)
{
    CHECK(s->journal == NULL);
    s->journal = job;
    submit(s, &s->journal_op,
           (struct fs_op){.kind = job->out ? FS_WRITE_OUT : FS_SYNC, .file = job->file});
}

static void journal_done(struct syncer *s)
{
    struct journal_sync *job = s->journal;
    CHECK(job != NULL);
    if (s->journal_op.err == ERR_OK && s->journal_op.kind == FS_SYNC && job->next.fd >= 0) {
        CRASHPOINT("log.roll.left_synced");
        submit(s, &s->journal_op,
               (struct fs_op){
                   .kind = FS_WRITE, .file = job->next, .buf = job->head, .len = JOURNAL_SECTOR});
        return;
    }
    s->journal = NULL;
    job->err = s->journal_op.err;
    job->info = s->journal_op.info;
    reply(s, &job->msg);
}

static void on_message(struct syncer *s, struct msg *msg)
{
    struct garbage_job *any = CONTAINER_OF(msg, struct garbage_job, msg); /* all begin alike */
    switch (any->kind) {
    case MSG_SEGMENT:
        s->request = CONTAINER_OF(msg, struct segment_request, msg);
        s->spare_goal = s->request->bytes_goal;
        break;
    case MSG_PACE:
        on_pace(s, CONTAINER_OF(msg, struct pace, msg));
        break;
    case MSG_ROUND:
        CHECK(s->job == NULL);
        s->job = CONTAINER_OF(msg, struct sync_round, msg);
        s->job_index = PLANTED(JOURNAL_REMOVED_EARLY) ? s->job->count : 0;
        round_next(s);
        break;
    case MSG_JOURNAL:
        journal_begin(s, CONTAINER_OF(msg, struct journal_sync, msg));
        break;
    case MSG_GARBAGE:
        CRASHPOINT("log.retention.before_unlink");
        for (int32_t i = 0; i < any->count; i++) {
            removal_add(&s->removal, any->files[i]);
        }
        mem_free(any->files);
        mem_free(any);
        break;
    case MSG_RESERVE:
        on_reserve(s, CONTAINER_OF(msg, struct reserve_request, msg));
        break;
    }
}

static void on_io(struct syncer *s, struct fs_op *op)
{
    if (op == &s->spare_op) {
        spare_done(s);
    } else if (op == &s->round_op) {
        round_done(s);
    } else if (op == &s->journal_op) {
        journal_done(s);
    } else if (op == &s->removal.op) {
        removal_done(&s->removal, s->now_ns);
    } else {
        CHECK(op == &s->checkpoint_op);
        checkpoint_done(s);
    }
}

static bool take(struct syncer *s)
{
    struct msg *in = mailbox_take_all(&s->in), *ops = mailbox_take_all(&s->ops);
    struct msg *io = mailbox_take_all(&s->io);
    const bool any = in != NULL || ops != NULL || io != NULL;
    while (io != NULL) {
        struct msg *next = io->next;
        on_io(s, CONTAINER_OF(io, struct fs_op, msg));
        io = next;
    }
    while (in != NULL) {
        struct msg *next = in->next;
        on_message(s, in);
        in = next;
    }
    while (ops != NULL) {
        struct log_op *op = CONTAINER_OF(ops, struct log_op, msg);
        ops = ops->next;
        op->engine_next = NULL;
        *(s->checkpoint_tail != NULL ? &s->checkpoint_tail->engine_next : &s->checkpoint_head) = op;
        s->checkpoint_tail = op;
    }
    return any;
}

int64_t syncer_step(void *ctx, int64_t now_ns)
{
    struct syncer *s = ctx;
    s->now_ns = now_ns;
    if (!s->reserve_looked_at) {
        s->reserve_looked_at = true;
        if (!is_there(s->engine->fs, RESERVE_PATH)) {
            IGNORE_RESULT(
                reserve_make(s)); /* without it a full disk stops writes a little earlier */
        }
    }
    for (int i = 0; i < SYNCER_ROUNDS_MAX; i++) {
        bool any = take(s);
        if (s->spare == SPARE_NONE || s->spare == SPARE_PAUSE || s->spare == SPARE_READY) {
            spare_advance(s);
        }
        if (s->checkpoint == CHECKPOINT_NONE && s->checkpoint_head != NULL) {
            checkpoint_begin(s);
            any = true;
        }
        int64_t next_ns = removal_advance(&s->removal, now_ns);
        if (!any) {
            bool again = s->spare == SPARE_NONE && s->spare_parts > 0 && s->retry_ns < next_ns;
            return again ? s->retry_ns : next_ns;
        }
    }
    return now_ns;
}
