// SPDX-License-Identifier: Apache-2.0
// Frames as the committer makes them: of a group's ops, or a snapshot of the catalog; and the journal's ops.

#include "base/mem.h"
#include "log/committer_priv.h"

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
void committer_build_snapshot(struct embedded *engine, int64_t segment_bytes, uint32_t flags)
{
    struct committer *c = &engine->committer;
    struct wire_out entries = {0};
    struct frame_header header = next_header(engine, JOURNAL_SNAPSHOT);
    header.segment_bytes = segment_bytes;
    header.flags |= flags;
    header.entry_count = catalog_snapshot(&engine->catalog, &entries);
    frame_begin(c, &header, &entries, 0);
    frame_seal(c->frame, &header);
    wire_release(&entries);
}

enum err committer_first_snapshot(struct embedded *engine, struct err_info *info)
{
    struct committer *c = &engine->committer;
    committer_build_snapshot(engine, c->segment_bytes, 0);
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

void committer_submit_journal(struct embedded *engine, enum fs_kind kind, int64_t offset)
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
void committer_assemble(struct embedded *engine)
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
