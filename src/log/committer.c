// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "base/mem.h"
#include "base/planted.h"
#include "log/embedded_priv.h"

/* The committer: takes ops, makes one journal frame of a group of them, syncs it, writes the group's batches to the
 * shards' files, publishes the ends, completes the ops.
 *
 *   IDLE --ops--> [room?] --no--> SEGMENT --> SNAPSHOT_WRITE --> SNAPSHOT_SYNC --+
 *     ^             |yes <--------------------------------------------------------+
 *     |             v
 *     |           WRITE --> SYNC --> SHARDS --> (published, completed) --> IDLE
 *     |                               |  ^
 *     |                       no space v  | every 100 ms
 *     |                              STALLED
 *     +-- JOURNAL_SYNC: the unsynced mode's sync of every interval, and before it leaves a segment
 *
 * Invariants:
 *   C1  One group is in flight; frame n + 1 is written only when n is synced (unsynced mode: written).
 *   C2  No op of a group completes before its frame is synced; readers see its batches before it completes (so who was
 *       told reads his own writes), unless shards lack space: then the ops complete and readers see them later.
 *   C3  A write or sync that failed is final: `failed` is set, nothing is acknowledged any more, reads go on.
 *   C4  The catalog runs ahead of the disk by at most the group in flight. Ops that only look are completed with it, so
 *       they never tell what a crash could take back.
 *   C5  Deferred entries (floors) are in c->entries until a frame or a snapshot takes them. */

enum { ROUNDS_PER_STEP_MAX = 256, ROUND_FILE_BYTES = 1 << 20, ROUND_BYTES_MIN = 8 << 20 };

static void fail(struct committer *c, enum err err, const struct err_info *info)
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
    c->journal.fd = -1;
    c->request.kind = MSG_SEGMENT;
    c->round.kind = MSG_ROUND;
    c->reserve.kind = MSG_RESERVE;
    c->now_ns = now_ns;
    c->wall_base_ns = now_ns;
    c->wall_base_ms = clock_wall_unix_ms(engine->clock);
    c->time_ms = c->wall_base_ms;
    c->retention_ns = now_ns + RETENTION_EVERY_NS;
    c->journal_sync_ns = CLOCK_NEVER;
    c->retry_ns = now_ns;
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
    if (c->request.file.fd > 0 && c->request_out == false && c->state == COMMITTER_SEGMENT) {
        fs_close(engine->fs, c->request.file);
    }
    wire_release(&c->entries);
    mem_free(c->frame);
    mem_free(c->pending);
    mem_free(c->dirty);
    mem_free(c->round.files);
}

void committer_dirty_add(struct committer *c, struct shard *shard, int64_t base_offset, bool fresh)
{
    if (shard->dirty && shard->dirty_base == base_offset) {
        return;
    }
    if (c->dirty_count == c->dirty_cap) {
        c->dirty_cap = c->dirty_cap == 0 ? 64 : c->dirty_cap * 2;
        c->dirty = mem_resize(c->dirty, c->dirty_cap, (ptrdiff_t)sizeof(*c->dirty));
    }
    c->dirty[c->dirty_count++] =
        (struct dirty_file){.shard = shard->id, .base_offset = base_offset, .fresh = fresh};
    shard->dirty = true;
    shard->dirty_base = base_offset;
}

static void frame_reserve(struct committer *c, int64_t bytes)
{
    if (c->frame_cap < bytes) {
        mem_free(c->frame);
        c->frame_cap = bytes + bytes / 2;
        c->frame = mem_new_aligned((ptrdiff_t)c->frame_cap, 4096);
    }
}

static struct frame_header next_header(const struct embedded *engine, uint32_t kind)
{
    const struct committer *c = &engine->committer;
    return (struct frame_header){
        .store = c->store,
        .number = c->frame_number + 1,
        .segment = c->segment,
        .kind = kind,
        .flags = engine->options.sync == LOG_UNSYNCED ? JOURNAL_FLAG_UNSYNCED : 0U,
        .time_ms = c->time_ms};
}

/* Copies the entries and clears what follows up to the border; data go between. */
static uint8_t *frame_begin(struct committer *c, struct frame_header *header,
                            const struct wire_out *entries, int64_t data_bytes)
{
    header->entries_bytes = (uint32_t)entries->len;
    header->data_bytes = data_bytes;
    const int64_t used = JOURNAL_HEADER + entries->len + data_bytes, total = frame_total(header);
    frame_reserve(c, total);
    if (entries->len > 0) {
        memcpy(c->frame + JOURNAL_HEADER, entries->bytes, (size_t)entries->len);
    }
    memset(c->frame + used, 0, (size_t)(total - used));
    c->frame_len = total;
    return c->frame + JOURNAL_HEADER + entries->len;
}

/* What the catalog says covers deferred entries, so they are dropped (C5). */
void committer_build_snapshot(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    struct wire_out entries = {0};
    struct frame_header header = next_header(engine, JOURNAL_SNAPSHOT);
    header.entry_count = catalog_snapshot(&engine->catalog, &entries);
    frame_begin(c, &header, &entries, 0);
    frame_seal(c->frame, &header);
    wire_release(&entries);
}

enum err committer_first_snapshot(struct embedded *engine, struct err_info *info)
{
    struct committer *c = &engine->committer;
    committer_build_snapshot(engine);
    enum err err = fs_write(engine->fs, c->journal, c->frame, (ptrdiff_t)c->frame_len, 0, info);
    if (err == ERR_OK) {
        err = fs_sync(engine->fs, c->journal, info);
    }
    if (err == ERR_OK) {
        c->frame_number++;
        c->at = c->frame_len;
    }
    return err;
}

/* ---- Completing */

/* Ops that only look and would tell what a write of the same group did (C4: the catalog is ahead of the disk). */
static bool tells_what_is_ahead(const struct log_op *op)
{
    return op->kind == LOG_OP_CONTROL_GET || op->kind == LOG_OP_CONTROL_LIST;
}

static void complete_group(struct committer *c, enum err err)
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
static void refuse_group(struct embedded *engine, enum err err, const struct err_info *info)
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
        }
    }
    complete_group(c, ERR_OK);
}

/* Files that nothing refers to any more, once that is durable: a power cut must not take back the frame that let go of a
 * file that is gone (unsynced mode: so they wait for the journal's next sync). */
static void send_garbage(struct embedded *engine)
{
    struct catalog *catalog = &engine->catalog;
    if (catalog->garbage_count == 0 ||
        (engine->committer.journal_dirty && !PLANTED(FILES_GO_EARLY))) {
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

/* ---- Shards' files */

static void lru_remove(struct committer *c, struct shard *shard)
{
    *(shard->lru_newer != NULL ? &shard->lru_newer->lru_older : &c->lru_newest) = shard->lru_older;
    *(shard->lru_older != NULL ? &shard->lru_older->lru_newer : &c->lru_oldest) = shard->lru_newer;
    shard->lru_newer = shard->lru_older = NULL;
}

static void lru_add(struct committer *c, struct shard *shard)
{
    shard->lru_older = c->lru_newest;
    shard->lru_newer = NULL;
    *(c->lru_newest != NULL ? &c->lru_newest->lru_newer : &c->lru_oldest) = shard;
    c->lru_newest = shard;
}

static void shard_file_close(struct embedded *engine, struct shard *shard)
{
    CHECK(shard != NULL);
    fs_close(engine->fs, shard->file);
    shard->file.fd = -1;
    lru_remove(&engine->committer, shard);
    engine->committer.open_files--;
}

/* Opens the segment for writing, the folder made if need be. */
enum err committer_open_shard(struct embedded *engine, struct shard *shard, int64_t base,
                              struct err_info *info)
{
    struct committer *c = &engine->committer;
    if (shard->file.fd >= 0 && shard->file_base == base) {
        lru_remove(c, shard);
        lru_add(c, shard);
        return ERR_OK;
    }
    if (shard->file.fd >= 0) {
        shard_file_close(engine, shard);
    }
    while (c->open_files >= OPEN_SHARD_FILES_MAX) {
        shard_file_close(engine, c->lru_oldest);
    }
    char path[SHARD_PATH_MAX];
    segment_path(path, shard->id, base);
    enum err err = fs_open(engine->fs, path, FS_O_WRITE | FS_O_CREATE, &shard->file, info);
    if (err == ERR_NOT_FOUND) {
        char folder[SHARD_PATH_MAX];
        shard_folder_path(folder, shard->id);
        err = fs_mkdir(engine->fs, folder, info);
        if (err == ERR_OK) {
            CRASHPOINT("log.segment.folder_made");
            err = fs_open(engine->fs, path, FS_O_WRITE | FS_O_CREATE, &shard->file, info);
        }
    }
    if (err != ERR_OK) {
        shard->file.fd = -1;
        return err;
    }
    shard->file_base = base;
    lru_add(c, shard);
    c->open_files++;
    CRASHPOINT("log.segment.opened");
    return ERR_OK;
}

void committer_write_index(struct embedded *engine, const struct shard *shard,
                           const struct place *place, int64_t base_offset)
{
    char path[SHARD_PATH_MAX];
    segment_index_path(path, shard->id, place->segment_base);
    int64_t window = place->position / SEGMENT_INDEX_SPACING;
    struct fs_file file = {-1};
    if (window >= SEGMENT_INDEX_SLOTS_MAX ||
        fs_open(engine->fs, path, FS_O_WRITE | FS_O_CREATE, &file, NULL) != ERR_OK) {
        return; /* a hint only */
    }
    uint8_t slot[SEGMENT_INDEX_SLOT];
    segment_index_encode(slot, base_offset, place->position);
    IGNORE_RESULT(fs_write(engine->fs, file, slot, SEGMENT_INDEX_SLOT, window * SEGMENT_INDEX_SLOT,
                           NULL)); /* a hint only */
    fs_close(engine->fs, file);
}

/* Batches from `first` on that stand behind each other in the frame and in one segment. */
static ptrdiff_t run_of(const struct pending_batch *first, struct pending_batch **ret_next)
{
    ptrdiff_t bytes = (ptrdiff_t)first->entry.bytes;
    struct pending_batch *next = first->next;
    while (next != NULL && next->place.segment_base == first->place.segment_base) {
        bytes += (ptrdiff_t)next->entry.bytes;
        next = next->next;
    }
    *ret_next = next;
    return bytes;
}

static struct shard_write *free_write(struct committer *c)
{
    for (int i = 0; i < SHARD_WRITES_MAX; i++) {
        if (c->writes[i].first == NULL) {
            return &c->writes[i];
        }
    }
    return NULL;
}

/* Submits what is left to write, as far as there are places. */
static void issue_shard_writes(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    while (c->write_shard != NULL && c->writes_out < SHARD_WRITES_MAX && c->write_err == ERR_OK) {
        struct pending_batch *first = c->write_next;
        struct shard *shard = c->write_shard;
        const int64_t base = first->place.segment_base;
        if (c->writes_out > 0 && shard->file.fd >= 0 && shard->file_base != base) {
            return; /* its old file may still be in use */
        }
        c->write_err = committer_open_shard(engine, shard, base, &c->write_info);
        if (c->write_err != ERR_OK) {
            return;
        }
        struct shard_write *write = free_write(c);
        struct pending_batch *next = NULL;
        write->op = (struct fs_op){.kind = FS_WRITE,
                                   .file = shard->file,
                                   .buf = first->source,
                                   .len = run_of(first, &next),
                                   .offset = first->place.position,
                                   .done = &c->io};
        write->first = first;
        c->writes_out++;
        c->round_bytes += write->op.len;
        committer_dirty_add(c, shard, base, first->place.position == 0);
        c->write_next = next;
        if (next == NULL) {
            c->write_shard = shard->group_next;
            c->write_next = c->write_shard != NULL ? c->write_shard->group_head : NULL;
        }
        fs_submit(engine->fs, &write->op);
    }
}

static void begin_shard_writes(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    c->state = COMMITTER_SHARDS;
    c->write_err = ERR_OK;
    c->write_shard = c->touched;
    c->write_next = c->touched != NULL ? c->touched->group_head : NULL;
    issue_shard_writes(engine);
}

/* All of the group's batches are in the files. */
static void publish(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    struct shard *shard = c->touched;
    CRASHPOINT("log.commit.shards_written");
    c->touched = NULL;
    while (shard != NULL) {
        struct shard *next = shard->group_next;
        for (const struct pending_batch *p = shard->group_head; p != NULL; p = p->next) {
            if (p->place.index) {
                committer_write_index(engine, shard, &p->place, p->entry.base_offset);
            }
        }
        shard->group_head = shard->group_tail = NULL;
        shard->group_next = NULL;
        shard_publish(shard);
        shard = next;
    }
    c->pending_count = 0;
    c->state = COMMITTER_IDLE;
    complete_group(c, ERR_OK);
    CRASHPOINT("log.commit.completed");
    send_garbage(engine);
}

/* Called when nothing is in flight: done, wait for space, or the end. */
static void shard_writes_settled(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    if (c->write_err == ERR_OK) {
        publish(engine);
        return;
    }
    if (c->write_err == ERR_NO_SPACE) {
        CRASHPOINT("log.commit.no_space");
        c->state = COMMITTER_STALLED;
        c->retry_ns = c->now_ns + SHARD_RETRY_NS;
        complete_group(c, ERR_OK); /* durable in the journal: C2 */
        if (!c->reserve_gone && !c->reserve_out) {
            c->reserve.give_up = true;
            c->reserve_out = true;
            syncer_send(engine->syncer, &c->reserve.msg);
        }
        c->reserve_gone = true;
        return;
    }
    fail(c, c->write_err, &c->write_info);
    c->state = COMMITTER_IDLE;
    c->touched = NULL;
    complete_group(c, ERR_OK); /* durable in the journal; the next start writes the shards again */
}

/* ---- The frame */

static void submit_journal(struct embedded *engine, enum fs_kind kind, int64_t offset)
{
    struct committer *c = &engine->committer;
    c->journal_op = (struct fs_op){.kind = kind,
                                   .file = c->journal,
                                   .buf = kind == FS_WRITE ? c->frame : NULL,
                                   .len = kind == FS_WRITE ? (ptrdiff_t)c->frame_len : 0,
                                   .offset = offset,
                                   .done = &c->io};
    fs_submit(engine->fs, &c->journal_op);
}

/* Puts the group's batches behind the entries, shard by shard, so that a shard's are one write. */
static void assemble(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    int64_t data_bytes = 0, scratch_bytes = 0;
    for (struct shard *shard = c->touched; shard != NULL; shard = shard->group_next) {
        bool scratch = (shard->flags & STREAM_SCRATCH) != 0;
        for (struct pending_batch *p = shard->group_head; p != NULL; p = p->next) {
            *(scratch ? &scratch_bytes : &data_bytes) += (int64_t)p->entry.bytes;
            if (!scratch) {
                batch_entry_put(&c->entries, &p->entry);
                c->entry_count++;
            }
        }
    }
    struct frame_header header = next_header(engine, JOURNAL_GROUP);
    header.entry_count = c->entry_count;
    frame_reserve(c, journal_align(JOURNAL_HEADER + c->entries.len + data_bytes + JOURNAL_TRAILER) +
                         scratch_bytes);
    uint8_t *at = frame_begin(c, &header, &c->entries, data_bytes);
    uint8_t *scratch_at = c->frame + c->frame_len;
    for (struct shard *shard = c->touched; shard != NULL; shard = shard->group_next) {
        uint8_t **to = (shard->flags & STREAM_SCRATCH) != 0 ? &scratch_at : &at;
        for (struct pending_batch *p = shard->group_head; p != NULL; p = p->next) {
            memcpy(*to, p->source, p->entry.bytes);
            p->source = *to;
            *to += p->entry.bytes;
        }
    }
    if (c->must_write) {
        frame_seal(c->frame, &header);
    }
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
        complete_group(c, ERR_OK);
        send_garbage(engine);
        return;
    }
    assemble(engine);
    if (!c->must_write) {
        begin_shard_writes(engine); /* scratch only */
        return;
    }
    c->must_write = false;
    c->entries.len = 0;
    c->entry_count = 0;
    c->state = COMMITTER_WRITE;
    CRASHPOINT("log.commit.before_write");
    submit_journal(engine, FS_WRITE, c->at);
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

/* The group does not fit the segment. False: has to wait. */
static bool roll(struct embedded *engine, int64_t need)
{
    struct committer *c = &engine->committer;
    if (c->journal_dirty) {
        c->state = COMMITTER_JOURNAL_SYNC;
        submit_journal(engine, FS_SYNC, 0);
        return true;
    }
    if (c->segment - c->oldest_segment >= JOURNAL_SEGMENTS_WAITING_MAX || c->request_out) {
        return false; /* a round's or the request's reply wakes us */
    }
    if (c->no_space && c->now_ns < c->retry_ns) {
        struct err_info info;
        IGNORE_RESULT(err_set(&info, ERR_NO_SPACE,
                              "no space for the next journal segment; "
                              "writes go on when there is")); /* fills it */
        bool any = c->group_head != NULL;
        refuse_group(engine, ERR_NO_SPACE, &info);
        return any;
    }
    committer_build_snapshot(engine); /* nothing changes until it is written */
    c->request.bytes_min = need + c->frame_len;
    c->request_out = true;
    c->state = COMMITTER_SEGMENT;
    syncer_send(engine->syncer, &c->request.msg);
    return true;
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

/* Writes wait for the reserve to stand again. True: they were refused. */
static bool refuse_without_reserve(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    if (!c->reserve_gone) {
        return false;
    }
    struct err_info info;
    IGNORE_RESULT(
        err_set(&info, ERR_NO_SPACE,
                "no space left for the shards; writes go on when there is")); /* fills it */
    refuse_group(engine, ERR_NO_SPACE, &info);
    return true;
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
    if (c->failed == ERR_OK && c->journal_dirty && c->now_ns >= c->journal_sync_ns) {
        c->state = COMMITTER_JOURNAL_SYNC;
        submit_journal(engine, FS_SYNC, 0);
        return true;
    }
    want_reserve(engine);
    if (c->group_head == NULL) {
        gather(engine);
    }
    if (c->failed != ERR_OK) {
        bool any = c->group_head != NULL;
        refuse_group(engine, c->failed, &c->failure);
        return any;
    }
    if (c->group_head == NULL && !c->must_write && c->entries.len < (1 << 20)) {
        return false;
    }
    if (c->group_head != NULL && !group_writes(c)) {
        run_group(engine);
        return true;
    }
    if (refuse_without_reserve(engine)) {
        return c->queue_head != NULL;
    }
    int64_t need =
        journal_align(JOURNAL_HEADER + c->entries.len + c->group_bytes + JOURNAL_TRAILER);
    if (c->at + need > c->segment_bytes) {
        return roll(engine, need);
    }
    c->must_write = c->must_write || c->group_head == NULL;
    run_group(engine);
    return true;
}

/* ---- What arrives */

static void snapshot_synced(struct committer *c)
{
    c->frame_number++;
    c->at = c->frame_len;
    c->entries.len = 0; /* C5: the snapshot has them */
    c->entry_count = 0;
    c->must_write = false;
    c->round_wanted = true;
    c->no_space = false;
    c->state = COMMITTER_IDLE;
}

static void journal_synced(struct committer *c)
{
    c->journal_dirty = false;
    c->journal_sync_ns = CLOCK_NEVER;
}

static void on_journal(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    const struct fs_op *op = &c->journal_op;
    if (PLANTED(RETRY_FAILED_SYNC) && op->err != ERR_OK && c->state == COMMITTER_SYNC) {
        submit_journal(engine, FS_SYNC, 0);
        return;
    }
    if (op->err != ERR_OK) {
        fail(c, op->err, &op->info);
        c->state = COMMITTER_IDLE;
        c->touched = NULL;
        complete_group(c, c->failed);
        return;
    }
    switch (c->state) {
    case COMMITTER_SNAPSHOT_WRITE:
        CRASHPOINT("log.roll.snapshot_written");
        c->state = COMMITTER_SNAPSHOT_SYNC;
        submit_journal(engine, FS_SYNC, 0);
        break;
    case COMMITTER_SNAPSHOT_SYNC:
        CRASHPOINT("log.roll.snapshot_synced");
        snapshot_synced(c);
        break;
    case COMMITTER_WRITE:
        CRASHPOINT("log.commit.frame_written");
        c->frame_number++;
        c->at += c->frame_len;
        if (engine->options.sync == LOG_SYNC && !PLANTED(ACK_BEFORE_SYNC)) {
            c->state = COMMITTER_SYNC;
            submit_journal(engine, FS_SYNC, 0);
            break;
        }
        if (!c->journal_dirty) {
            c->journal_dirty = true;
            c->journal_sync_ns = c->now_ns + engine->options.unsynced_interval_ns;
        }
        begin_shard_writes(engine);
        break;
    case COMMITTER_SYNC:
        CRASHPOINT("log.commit.frame_synced");
        begin_shard_writes(engine);
        break;
    case COMMITTER_JOURNAL_SYNC:
        CRASHPOINT("log.commit.interval_synced");
        journal_synced(c);
        send_garbage(engine);
        c->state = COMMITTER_IDLE;
        break;
    case COMMITTER_IDLE:
    case COMMITTER_SEGMENT:
    case COMMITTER_SHARDS:
    case COMMITTER_STALLED:
        CHECK(false);
    }
}

static void on_segment(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    c->request_out = false;
    if (c->state != COMMITTER_SEGMENT) { /* failed meanwhile */
        if (c->request.err == ERR_OK) {
            fs_close(engine->fs, c->request.file);
        }
        return;
    }
    if (c->request.err == ERR_NO_SPACE) {
        c->no_space = true;
        c->retry_ns = c->now_ns + SPACE_RETRY_NS;
        c->state = COMMITTER_IDLE;
        refuse_group(engine, ERR_NO_SPACE, &c->request.info);
        return;
    }
    if (c->request.err != ERR_OK) {
        fail(c, c->request.err, &c->request.info);
        c->state = COMMITTER_IDLE;
        refuse_group(engine, c->failed, &c->failure);
        return;
    }
    fs_close(engine->fs, c->journal);
    c->journal = c->request.file;
    c->segment = c->request.segment;
    c->segment_bytes = c->request.bytes;
    committer_build_snapshot(engine); /* again: its segment is known now */
    c->state = COMMITTER_SNAPSHOT_WRITE;
    submit_journal(engine, FS_WRITE, 0);
}

static void on_reply(struct embedded *engine, struct msg *msg)
{
    struct committer *c = &engine->committer;
    if (msg == &c->request.msg) {
        on_segment(engine);
    } else if (msg == &c->round.msg) {
        c->round_out = false;
        c->round.count = 0;
        if (c->round.err != ERR_OK) {
            fail(c, c->round.err, &c->round.info);
        } else {
            c->oldest_segment = c->round.journal_below;
        }
    } else {
        CHECK(msg == &c->reserve.msg);
        c->reserve_out = false;
        c->reserve_gone = !c->reserve.there;
        c->retry_ns = c->reserve.give_up ? c->now_ns : c->now_ns + SPACE_RETRY_NS;
    }
}

/* Whether a round is due: at each new segment, and before that when so much was written that syncing it all at once would
 * hold up the commits behind it; but never for less than ROUND_FILE_BYTES a file. */
static bool round_due(const struct committer *c)
{
    int64_t bytes = ROUND_FILE_BYTES * c->dirty_count;
    return c->round_wanted || c->round_bytes >= (bytes > ROUND_BYTES_MIN ? bytes : ROUND_BYTES_MIN);
}

/* Hands the files written so far to the syncer, so that older journal segments can go. */
static void send_round(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    if (!round_due(c) || c->round_out || c->state != COMMITTER_IDLE || c->failed != ERR_OK) {
        return;
    }
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
    c->round.journal_below = c->segment;
    c->round_out = true;
    c->round_wanted = false;
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
        return start(engine);
    case COMMITTER_SHARDS:
        issue_shard_writes(engine);
        if (c->writes_out == 0) {
            shard_writes_settled(engine);
            return true;
        }
        return false;
    case COMMITTER_STALLED:
        if (c->now_ns >= c->retry_ns) {
            begin_shard_writes(engine);
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
    case COMMITTER_JOURNAL_SYNC:
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
    int64_t deadline = c->retention_ns;
    deadline = c->journal_sync_ns < deadline ? c->journal_sync_ns : deadline;
    if (c->state == COMMITTER_STALLED || c->no_space || c->reserve_gone) {
        deadline = c->retry_ns < deadline && c->retry_ns > now_ns ? c->retry_ns : deadline;
    }
    return c->state == COMMITTER_IDLE || c->state == COMMITTER_STALLED ? deadline : CLOCK_NEVER;
}
