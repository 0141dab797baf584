// SPDX-License-Identifier: Apache-2.0
// From one journal segment to the next.

#include "log/committer_priv.h"

/* The group does not fit the segment. False: has to wait. */
bool committer_roll(struct embedded *engine, int64_t need)
{
    struct committer *c = &engine->committer;
    if (c->journal_dirty) {
        c->state = COMMITTER_JOURNAL_SYNC;
        committer_submit_journal(engine, FS_SYNC, 0);
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
        committer_refuse(engine, ERR_NO_SPACE, &info);
        return any;
    }
    committer_build_snapshot(engine); /* nothing changes until it is written */
    c->request.bytes_min = need + c->frame_len;
    c->request_out = true;
    c->state = COMMITTER_SEGMENT;
    syncer_send(engine->syncer, &c->request.msg);
    return true;
}

void committer_snapshot_synced(struct committer *c)
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

void committer_on_segment(struct embedded *engine)
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
        committer_refuse(engine, ERR_NO_SPACE, &c->request.info);
        return;
    }
    if (c->request.err != ERR_OK) {
        committer_fail(c, c->request.err, &c->request.info);
        c->state = COMMITTER_IDLE;
        committer_refuse(engine, c->failed, &c->failure);
        return;
    }
    fs_close(engine->fs, c->journal);
    c->journal = c->request.file;
    c->segment = c->request.segment;
    c->segment_bytes = c->request.bytes;
    committer_build_snapshot(engine); /* again: its segment is known now */
    c->state = COMMITTER_SNAPSHOT_WRITE;
    committer_submit_journal(engine, FS_WRITE, 0);
}
