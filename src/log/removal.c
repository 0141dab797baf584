// SPDX-License-Identifier: Apache-2.0
#include "log/removal.h"

#include <assert.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/crashpoint.h"
#include "base/mem.h"
#include "log/journal.h"

#define PAUSE_NS INT64_C(4000000) /* behind a piece, while no other file waits */

/* The file that the garbage is; of a segment, not its index. */
static void path_of(const struct garbage *what, char path[SHARD_PATH_MAX])
{
    static_assert((int)SHARD_PATH_MAX >= (int)JOURNAL_PATH_MAX, "either fits");
    switch (what->kind) {
    case GARBAGE_SEGMENT:
        segment_path(path, what->shard, what->number);
        break;
    case GARBAGE_FOLDER:
        shard_folder_path(path, what->shard);
        break;
    case GARBAGE_CHECKPOINT:
        checkpoint_path(path, what->number);
        break;
    case GARBAGE_JOURNAL:
        journal_path(path, (uint64_t)what->number);
        break;
    }
}

static void remove_index(const struct fs *fs, const struct garbage *what)
{
    char path[SHARD_PATH_MAX];
    if (what->kind == GARBAGE_SEGMENT) {
        segment_index_path(path, what->shard, what->number);
        IGNORE_RESULT(fs_unlink(fs, path, NULL)); /* there may be none */
    }
}

static void remove_folder(const struct fs *fs, const char *path)
{
    struct fs_op op = {.kind = FS_RMDIR, .path = path};
    IGNORE_RESULT(fs_run(fs, &op)); /* what stays is swept at the next start */
}

void garbage_remove(const struct fs *fs, const struct garbage *files, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        char path[SHARD_PATH_MAX];
        path_of(&files[i], path);
        remove_index(fs, &files[i]);
        if (files[i].kind == GARBAGE_FOLDER) {
            remove_folder(fs, path);
        } else {
            IGNORE_RESULT(fs_unlink(fs, path, NULL)); /* as above */
        }
    }
}

void removal_init(struct removal *removal, const struct fs *fs, struct mailbox *io,
                  int64_t piece_bytes)
{
    CHECK(piece_bytes > 0);
    *removal = (struct removal){.fs = fs, .io = io, .file = {-1}, .piece_bytes = piece_bytes};
}

void removal_release(struct removal *removal)
{
    if (removal->file.fd >= 0) {
        fs_close(removal->fs, removal->file);
    }
    mem_free(removal->waiting);
}

bool removal_has_journal(const struct removal *removal)
{
    return removal->journals > 0;
}

void removal_add(struct removal *removal, struct garbage what)
{
    if (removal->first == removal->count) {
        removal->first = removal->count = 0;
    }
    if (removal->count == removal->cap) {
        removal->cap = removal->cap == 0 ? 16 : removal->cap * 2;
        removal->waiting =
            mem_resize(removal->waiting, removal->cap, (ptrdiff_t)sizeof(*removal->waiting));
    }
    removal->waiting[removal->count++] = what;
    removal->journals += what.kind == GARBAGE_JOURNAL;
}

static void submit(struct removal *removal, struct fs_op op)
{
    removal->op = op;
    removal->op.done = removal->io;
    fs_submit(removal->fs, &removal->op);
}

/* Takes the next one's name away; a large file is then cut. What fails is left to the next start. */
static void begin_next(struct removal *removal)
{
    const struct garbage what = removal->waiting[removal->first++];
    removal->journals -= what.kind == GARBAGE_JOURNAL;
    char path[SHARD_PATH_MAX];
    path_of(&what, path);
    if (what.kind == GARBAGE_FOLDER) {
        remove_folder(removal->fs, path);
        return;
    }
    remove_index(removal->fs, &what);
    if (fs_open(removal->fs, path, FS_O_WRITE, &removal->file, NULL) != ERR_OK) {
        removal->file.fd = -1; /* it may be gone */
        return;
    }
    enum err err = fs_size(removal->fs, removal->file, &removal->bytes, NULL);
    IGNORE_RESULT(fs_unlink(removal->fs, path, NULL)); /* as above */
    CRASHPOINT("log.retention.unlinked");
    if (err != ERR_OK || removal->bytes <= removal->piece_bytes) {
        fs_close(removal->fs, removal->file);
        removal->file.fd = -1;
        return;
    }
    char *slash = strrchr(path, '/');
    CHECK(slash != NULL);
    *slash = '\0';
    memcpy(removal->folder, path, sizeof path);
    removal->state = REMOVAL_NAME;
    submit(removal, (struct fs_op){.kind = FS_SYNC_DIR, .path = removal->folder});
}

static void cut(struct removal *removal)
{
    removal->bytes -= removal->piece_bytes;
    removal->state = REMOVAL_CUT;
    submit(removal, (struct fs_op){.kind = FS_TRUNCATE,
                                   .file = removal->file,
                                   .offset = removal->bytes > 0 ? removal->bytes : 0});
}

int64_t removal_advance(struct removal *removal, int64_t now_ns)
{
    if (removal->state == REMOVAL_PAUSE && now_ns >= removal->resume_ns) {
        cut(removal);
    }
    while (removal->state == REMOVAL_NONE && removal->first < removal->count) {
        begin_next(removal);
    }
    return removal->state == REMOVAL_PAUSE ? removal->resume_ns : CLOCK_NEVER;
}

void removal_done(struct removal *removal, int64_t now_ns)
{
    const bool named = removal->state == REMOVAL_NAME;
    CHECK(named || removal->state == REMOVAL_CUT);
    if (removal->op.err != ERR_OK || removal->bytes <= 0) { /* or: all at once, at the end */
        fs_close(removal->fs, removal->file);
        removal->file.fd = -1;
        removal->state = REMOVAL_NONE;
        return;
    }
    if (named) {
        CRASHPOINT("log.removal.name_gone");
    } else {
        CRASHPOINT("log.removal.cut");
    }
    removal->state = REMOVAL_PAUSE;
    removal->resume_ns = now_ns + PAUSE_NS / (1 + removal->count - removal->first);
}
