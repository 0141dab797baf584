// SPDX-License-Identifier: Apache-2.0
/* From one journal segment to the next. The next one is made while this one fills, so that a roll waits for the sync of
 * its snapshot alone:
 *
 *   pace   with each 320th of the segment that is written, the syncer is told to have another 256th of the next one zeroed:
 *          a little at a time, since each commit's sync waits behind what the disk was given before it
 *   ask    when little of the segment is left, the next one is asked for: named, its name durable, handed over
 *   roll   the group does not fit: the snapshot is written to the next segment and synced (in the unsynced mode only
 *          written), then the group
 *
 * A process that ends between asking and rolling leaves a segment of zeros behind, which recovery removes. */

#include "log/committer_priv.h"

enum { PACE_STEPS = 320, ASK_BYTES_MAX = 12 << 20, ASK_SHARE = 4, GROWTH = 8 };

/* The first segment of a run is small, so that starting is cheap; the next ones grow. */
static int64_t next_goal(const struct embedded *engine)
{
    int64_t most = engine->options.journal_segment_bytes;
    int64_t bytes = engine->committer.segment_bytes;
    return bytes < most / GROWTH ? journal_align(bytes * GROWTH) : most;
}

static void ask(struct embedded *engine, int64_t bytes_min)
{
    struct committer *c = &engine->committer;
    c->request.bytes_goal = next_goal(engine);
    c->request.bytes_min = bytes_min;
    c->request_out = true;
    syncer_send(engine->syncer, &c->request.msg);
}

static void tell_pace(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    int64_t steps = c->at * PACE_STEPS / c->segment_bytes;
    int32_t parts = steps < SPARE_PARTS ? (int32_t)steps : SPARE_PARTS;
    if (c->pace_out || parts <= c->pace_told || c->next.fd >= 0) {
        return;
    }
    c->pace.parts = c->pace_told = parts;
    c->pace.bytes_goal = next_goal(engine);
    c->pace_out = true;
    syncer_send(engine->syncer, &c->pace.msg);
}

void committer_look_ahead(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    tell_pace(engine);
    int64_t early = c->segment_bytes / ASK_SHARE;
    early = early < ASK_BYTES_MAX ? early : ASK_BYTES_MAX;
    if (c->segment_bytes - c->at <= early && c->next.fd < 0 && !c->request_out &&
        c->now_ns >= c->ask_ns) {
        ask(engine, 0);
    }
}

/* `left`: the number of the one before. */
static void begin_segment(struct embedded *engine, uint64_t left)
{
    struct committer *c = &engine->committer;
    if (unsynced_is(engine)) {
        unsynced_leave(c, left);
    } else {
        fs_close(engine->fs, c->journal);
    }
    c->journal = c->next;
    c->segment_bytes = c->next_bytes;
    c->next.fd = -1;
    c->pace_told = 0;
    c->state = COMMITTER_SNAPSHOT_WRITE;
    committer_submit_journal(engine, FS_WRITE, 0);
}

bool committer_roll(struct embedded *engine, int64_t need)
{
    struct committer *c = &engine->committer;
    if (!unsynced_may_leave(engine) ||
        c->segment - c->oldest_segment >= JOURNAL_SEGMENTS_WAITING_MAX) {
        return false; /* a sync's reply wakes us, or a round's */
    }
    if (c->no_space && c->now_ns < c->retry_ns) {
        struct err_info info;
        IGNORE_RESULT(err_set(&info, ERR_NO_SPACE,
                              "no space for the next journal segment; "
                              "writes go on when there is")); /* fills it */
        bool any = c->group_head != NULL;
        committer_refuse(engine, ERR_NO_SPACE, &info);
        return any;
    }
    const uint64_t segment = c->segment;
    c->segment = c->next.fd >= 0 ? c->next_segment : segment;
    const uint32_t flags = unsynced_is(engine) ? JOURNAL_FLAG_OPEN : 0U;
    /* Nothing changes until it is written. */
    committer_build_snapshot(engine, c->next_bytes, flags);
    if (c->next.fd >= 0 && c->next_bytes >= need + c->frame_len) {
        begin_segment(engine, segment);
        return true;
    }
    c->segment = segment;
    if (c->next.fd >=
        0) { /* too small for this group: it stays behind, empty, until the round that removes it */
        fs_close(engine->fs, c->next);
        c->next.fd = -1;
    }
    if (!c->request_out) {
        ask(engine, need + c->frame_len);
    }
    c->state = COMMITTER_SEGMENT;
    return true;
}

void committer_snapshot_written(struct committer *c)
{
    c->frame_number++;
    c->at = c->frame_len;
    c->entries.len = 0; /* C5: the snapshot has them */
    c->entry_count = 0;
    c->must_write = false;
    c->no_space = false;
    c->state = COMMITTER_IDLE;
}

/* The segment could not be made. Who waits for it is told; else it is asked for again a little later. */
static void segment_failed(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    if (c->state != COMMITTER_SEGMENT) {
        c->ask_ns = c->now_ns + SPACE_RETRY_NS;
        return;
    }
    c->state = COMMITTER_IDLE;
    if (c->request.err == ERR_NO_SPACE) {
        c->no_space = true;
        c->retry_ns = c->now_ns + SPACE_RETRY_NS;
        committer_refuse(engine, ERR_NO_SPACE, &c->request.info);
        return;
    }
    committer_fail(c, c->request.err, &c->request.info);
    committer_refuse(engine, c->failed, &c->failure);
}

void committer_on_segment(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    c->request_out = false;
    if (c->request.err != ERR_OK) {
        segment_failed(engine);
        return;
    }
    CRASHPOINT("log.roll.segment_held");
    c->next = c->request.file;
    c->next_segment = c->request.segment;
    c->next_bytes = c->request.bytes;
    if (c->state == COMMITTER_SEGMENT) {
        c->state = COMMITTER_IDLE; /* and from there to the roll again */
    }
}
