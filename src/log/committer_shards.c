// SPDX-License-Identifier: Apache-2.0
// The group's batches, once their frame is durable, into the shards' files; then they are published and the ops completed.

#include "base/check.h"
#include "base/mem.h"
#include "log/committer_priv.h"

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

/* The shard's folder is not there: makes it, then the file. */
static enum err open_in_new_folder(const struct embedded *engine, struct shard *shard,
                                   const char *path, struct err_info *info)
{
    char folder[SHARD_PATH_MAX];
    shard_folder_path(folder, shard->id);
    enum err err = fs_mkdir(engine->fs, folder, info);
    if (err != ERR_OK) {
        return err;
    }
    CRASHPOINT("log.segment.folder_made");
    return fs_open(engine->fs, path, FS_O_WRITE | FS_O_CREATE, &shard->file, info);
}

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
        err = open_in_new_folder(engine, shard, path, info);
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
void committer_issue_writes(struct embedded *engine)
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

void committer_write_shards(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    c->state = COMMITTER_SHARDS;
    c->write_err = ERR_OK;
    c->write_shard = c->touched;
    c->write_next = c->touched != NULL ? c->touched->group_head : NULL;
    committer_issue_writes(engine);
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
        shard_publish(&engine->log, shard);
        shard = next;
    }
    c->pending_count = 0;
    c->state = COMMITTER_IDLE;
    committer_complete(c, ERR_OK);
    CRASHPOINT("log.commit.completed");
    committer_send_garbage(engine);
}

/* Called when nothing is in flight: done, wait for space, or the end. */
void committer_writes_settled(struct embedded *engine)
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
        committer_complete(c, ERR_OK); /* durable in the journal: C2 */
        if (!c->reserve_gone && !c->reserve_out) {
            c->reserve.give_up = true;
            c->reserve_out = true;
            syncer_send(engine->syncer, &c->reserve.msg);
        }
        c->reserve_gone = true;
        return;
    }
    committer_fail(c, c->write_err, &c->write_info);
    c->state = COMMITTER_IDLE;
    c->touched = NULL;
    committer_complete(c,
                       ERR_OK); /* durable in the journal; the next start writes the shards again */
}
