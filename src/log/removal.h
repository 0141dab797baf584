// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_REMOVAL_H
#define LOG_REMOVAL_H

#include "base/fs.h"
#include "log/catalog.h"
#include "log/shard.h"

/* Removes files that nothing refers to any more, a piece at a time. File systems and disks free space in the foreground:
 * with online discard 64 MiB took 18 to 40 ms, in which no sync of the journal came back. So a large file loses its name
 * first, and that is made durable (recovery takes a missing segment for a trimmed one, but a short one for a damaged one);
 * then it is cut from its end, with a pause behind each piece that is the shorter the more others wait.
 *
 *   NONE --next--> [open, unlink] --small--> NONE
 *                        v
 *                       NAME --its folder is synced--> CUT <--> PAUSE
 *                                                       +--nothing left--> NONE
 *
 * What is not removed when the process ends is found by the next start. In the syncer's thread; one operation in flight. */

enum removal_state { REMOVAL_NONE, REMOVAL_NAME, REMOVAL_CUT, REMOVAL_PAUSE };

struct removal {
    const struct fs *fs;
    struct mailbox *io;
    enum removal_state state;
    struct fs_op op;
    struct fs_file file;
    int64_t piece_bytes;
    int64_t bytes;     /* of it, still there */
    int64_t resume_ns; /* PAUSE: when the next piece goes */
    char folder[SHARD_PATH_MAX];
    struct garbage *waiting; /* [first, count) */
    int32_t first, count, cap;
    int32_t journals; /* of those that wait */
};

/* `io`: where completions go; the owner hands them to removal_done(). `piece_bytes` > 0: files of more are cut. */
void removal_init(struct removal *removal, const struct fs *fs, struct mailbox *io,
                  int64_t piece_bytes);
void removal_release(struct removal *removal); /* nothing is in flight any more */

/* Journal segments that still have their names: none may lose it before them. */
bool removal_has_journal(const struct removal *removal);

/* In the order in which they are added: a folder behind its files, journal segments by number. */
void removal_add(struct removal *removal, struct garbage what);

/* Goes on as far as nothing is to be waited for. Returns when to be called again; CLOCK_NEVER: with a completion. */
int64_t removal_advance(struct removal *removal, int64_t now_ns);
void removal_done(struct removal *removal, int64_t now_ns);

/* Removes files at once; what is not there is fine. For recovery. */
void garbage_remove(const struct fs *fs, const struct garbage *files, int32_t count);

#endif
