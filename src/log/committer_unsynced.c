// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/planted.h"
#include "log/committer_priv.h"

/* The unsynced mode: a group is acknowledged when its frame is written. What syncs the journal behind it is the syncer, so
 * that nobody waits:
 *
 *   interval   a sync of the segment in use, `unsynced_interval_ns` behind the first frame that no sync covers
 *   left       a roll does not wait for the segment that it leaves. Those that were left are synced one after the other; until
 *              the one before it is, a segment's snapshot is OPEN (journal.h), so that recovery does not take it for more than
 *              the frames before it bear out. Then its first sector is written again, as one that can stand for itself; once
 *              it is synced with that, shards are synced so that the segments before it can go
 *   out        frames are given to the disk as they are written: less is left to wait for, and rolls are far apart
 *
 * Invariants:
 *   U1  One job is out, of one file. Segments that were left come first, the oldest first.
 *   U2  `dirty` unless a sync that was sent behind the last frame has come back.
 *   U3  Files that a frame let go are removed when a sync that was sent behind that frame has come back.
 *   U4  What is not durable is no older than the interval and what the disk takes for a segment: else rolls wait. */

enum { OUT_BYTES = 2 << 20 };

void unsynced_init(struct committer *c)
{
    c->unsynced = (struct committer_unsynced){.job = {.kind = MSG_JOURNAL}, .due_ns = CLOCK_NEVER};
}

static void free_garbage(struct garbage_job *job)
{
    if (job != NULL) {
        mem_free(job->files);
        mem_free(job);
    }
}

void unsynced_release(struct embedded *engine)
{
    struct committer_unsynced *u = &engine->committer.unsynced;
    for (int32_t i = 0; i < u->left_count; i++) {
        fs_close(engine->fs, u->left[i].file);
        free_garbage(u->left[i].garbage);
    }
    free_garbage(u->held);
    free_garbage(u->going);
}

bool unsynced_is(const struct embedded *engine)
{
    return engine->options.sync == LOG_UNSYNCED || PLANTED(ACK_BEFORE_SYNC);
}

void unsynced_frame_written(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    struct committer_unsynced *u = &c->unsynced;
    u->written_bytes += c->frame_len;
    if (!u->dirty) {
        u->dirty = true;
        u->due_ns = c->now_ns + engine->options.unsynced_interval_ns;
    }
}

bool unsynced_may_leave(const struct embedded *engine)
{
    const struct committer *c = &engine->committer;
    const struct committer_unsynced *u = &c->unsynced;
    return u->left_count == 0 ||
           (u->left_count < JOURNAL_LEFT_MAX &&
            c->now_ns - u->left[0].left_ns < engine->options.unsynced_interval_ns);
}

void unsynced_leave(struct committer *c, uint64_t number)
{
    struct committer_unsynced *u = &c->unsynced;
    struct open_segment *left = &u->left[u->left_count++];
    left->file = c->journal;
    left->number = number;
    left->left_ns = c->now_ns;
    left->garbage = u->held;
    u->held = NULL;
    u->written_bytes = 0;
    struct open_segment *next = &u->left[u->left_count];
    memcpy(next->head, c->frame, JOURNAL_SECTOR);
    frame_close(next->head);
}

/* The oldest segment that was left, then what tells of it in the one behind. */
static void choose_left(struct committer *c)
{
    struct committer_unsynced *u = &c->unsynced;
    u->job_left = true;
    u->job.file = u->left[0].file;
    u->job.next = u->left_count > 1 ? u->left[1].file : c->journal;
    u->job.head = u->left[1].head;
}

static void choose_interval(struct committer *c)
{
    struct committer_unsynced *u = &c->unsynced;
    u->job_frame = c->frame_number;
    u->job_ns = c->now_ns;
    u->due_ns = CLOCK_NEVER;
    u->written_bytes = 0;
    u->going = u->held;
    u->held = NULL;
}

void unsynced_send(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    struct committer_unsynced *u = &c->unsynced;
    const bool due = u->dirty && c->now_ns >= u->due_ns;
    const bool out = u->written_bytes >= OUT_BYTES;
    if (u->job_out || c->failed != ERR_OK || !(u->left_count > 0 || due || out)) {
        return;
    }
    u->job_left = u->job.out = false;
    u->job.file = c->journal;
    u->job.next.fd = -1;
    if (u->left_count > 0) {
        choose_left(c);
    } else if (due) {
        choose_interval(c);
    } else {
        u->job.out = true;
        u->written_bytes = 0;
    }
    u->job_out = true;
    syncer_send(engine->syncer, &u->job.msg);
}

static void remove_garbage(struct embedded *engine, struct garbage_job **job)
{
    if (*job != NULL) {
        syncer_send(engine->syncer, &(*job)->msg);
        *job = NULL;
    }
}

/* The oldest segment that was left is durable, and the one behind it says so. */
static void left_synced(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    struct committer_unsynced *u = &c->unsynced;
    CRASHPOINT("log.roll.left_told");
    c->round_wanted = true;
    c->round_below = u->left[0].number;
    fs_close(engine->fs, u->left[0].file);
    remove_garbage(engine, &u->left[0].garbage);
    memmove(&u->left[0], &u->left[1], (size_t)u->left_count * sizeof(u->left[0]));
    u->left_count--;
}

void unsynced_on_sync(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    struct committer_unsynced *u = &c->unsynced;
    u->job_out = false;
    if (u->job.err != ERR_OK) {
        committer_fail(c, u->job.err, &u->job.info);
    } else if (u->job_left) {
        left_synced(engine);
    } else if (!u->job.out) {
        CRASHPOINT("log.commit.interval_synced");
        u->dirty = c->frame_number > u->job_frame;
        u->due_ns = u->dirty ? u->job_ns + engine->options.unsynced_interval_ns : CLOCK_NEVER;
        remove_garbage(engine, &u->going);
    }
}

bool unsynced_hold_garbage(struct embedded *engine)
{
    struct catalog *catalog = &engine->catalog;
    struct committer_unsynced *u = &engine->committer.unsynced;
    if (!u->dirty || PLANTED(FILES_GO_EARLY)) {
        return false;
    }
    if (u->held == NULL) {
        u->held = MEM_NEW(struct garbage_job);
        u->held->kind = MSG_GARBAGE;
    }
    struct garbage_job *held = u->held;
    held->files = mem_resize(held->files, (ptrdiff_t)held->count + catalog->garbage_count,
                             (ptrdiff_t)sizeof(*held->files));
    memcpy(held->files + held->count, catalog->garbage,
           (size_t)catalog->garbage_count * sizeof(*held->files));
    held->count += catalog->garbage_count;
    catalog->garbage_count = 0;
    return true;
}
