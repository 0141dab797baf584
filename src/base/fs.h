// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_FS_H
#define BASE_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mailbox.h"

/* Files as an interface: the real one makes system calls (base/real/fs_real.h), the simulator's (sim/disk.h) forgets,
 * tears, reorders, fails, fills up and delays. Submit, then completion; the submitter owns the op until it is back.
 *
 * `submit` may complete at once (the real one does: it runs on a thread that has nothing else to do) or later; the
 * completion is a push of `op->msg` to `op->done`. `run` completes before it returns and touches no mailbox: for
 * start-up, recovery, and reads that the page cache answers. A failed sync is final: the caller stops using the file.
 *
 * Paths are relative to the root the fs was opened on, '/'-separated, made by us from numbers and fixed names (never
 * from what users name things). What a crash may do: contents not synced may be lost, torn by 512-byte sectors or kept
 * in any order; names not synced (FS_SYNC_DIR on the folder) may be old or new. */

enum fs_kind {
    FS_OPEN,      /* path, flags -> file */
    FS_CLOSE,     /* file */
    FS_READ,      /* file, buf, len, offset -> done_bytes (short only at the end of the file) */
    FS_WRITE,     /* file, buf, len, offset; all or an error */
    FS_SYNC,      /* file: contents and size durable (fdatasync) */
    FS_WRITE_OUT, /* file: what was written to it starts on its way to the disk. Promises nothing and tells no fault of the
                     disk: a later FS_SYNC does, and has less to wait for */
    FS_TRUNCATE,  /* file, offset = new size */
    FS_STAT,      /* file -> size_bytes */
    FS_RENAME,    /* path -> path_to, replaces */
    FS_UNLINK,    /* path */
    FS_MKDIR,     /* path; fine if it is there */
    FS_RMDIR,     /* path, empty */
    FS_SYNC_DIR,  /* path: names in it durable */
    FS_LIST, /* path -> names in `buf`, each ended by 0, unordered; done_bytes; LIMIT if buf is too small */
    FS_LOCK,      /* file: exclusive among processes, held until closed; BUSY if taken */
    FS_FREE_SPACE /* -> size_bytes free on the device */
};

enum fs_open_flags {
    FS_O_READ = 1,
    FS_O_WRITE = 2,
    FS_O_CREATE = 4, /* made if absent */
    FS_O_EXCL = 8    /* with CREATE: EXISTS if present */
};

struct fs_file {
    int32_t fd; /* < 0: none */
};

struct fs_op {
    struct msg msg; /* first: completions come back as this */
    enum fs_kind kind;
    uint32_t flags;
    struct fs_file file; /* in; out of FS_OPEN */
    const char *path;    /* valid until completion */
    const char *path_to;
    void *buf; /* FS_WRITE does not change it */
    ptrdiff_t len;
    int64_t offset;
    struct mailbox *done; /* where the completion goes; unused by run */
    /* results */
    enum err err;
    struct err_info info;
    ptrdiff_t done_bytes;
    int64_t size_bytes;
    void *fs_private; /* the implementation's while in flight */
};

struct fs {
    void *ctx;
    void (*submit)(void *ctx, struct fs_op *op);
    enum err (*run)(void *ctx, struct fs_op *op); /* returns op->err */
};

static inline void fs_submit(const struct fs *fs, struct fs_op *op)
{
    fs->submit(fs->ctx, op);
}

ATTR_NODISCARD static inline enum err fs_run(const struct fs *fs, struct fs_op *op)
{
    return fs->run(fs->ctx, op);
}

enum { FS_PATH_MAX = 1024 };

/* Whether `path` may be given to an fs: relative, no empty part, no "." or "..", at most FS_PATH_MAX bytes. "" and "."
 * alone name the root. Implementations refuse others as INVALID. */
bool fs_path_valid(const char *path);

/* Conveniences over run(), for start-up and recovery. `info` may be NULL. */
ATTR_NODISCARD enum err fs_open(const struct fs *fs, const char *path, uint32_t flags,
                                struct fs_file *ret_file, struct err_info *info);
void fs_close(const struct fs *fs, struct fs_file file);
ATTR_NODISCARD enum err fs_read(const struct fs *fs, struct fs_file file, void *buf, ptrdiff_t len,
                                int64_t offset, ptrdiff_t *ret_bytes, struct err_info *info);
ATTR_NODISCARD enum err fs_write(const struct fs *fs, struct fs_file file, const void *buf,
                                 ptrdiff_t len, int64_t offset, struct err_info *info);
ATTR_NODISCARD enum err fs_sync(const struct fs *fs, struct fs_file file, struct err_info *info);
ATTR_NODISCARD enum err fs_size(const struct fs *fs, struct fs_file file, int64_t *ret_size_bytes,
                                struct err_info *info);
ATTR_NODISCARD enum err fs_truncate(const struct fs *fs, struct fs_file file, int64_t size_bytes,
                                    struct err_info *info);
ATTR_NODISCARD enum err fs_rename(const struct fs *fs, const char *from, const char *to,
                                  struct err_info *info);
ATTR_NODISCARD enum err fs_unlink(const struct fs *fs, const char *path, struct err_info *info);
ATTR_NODISCARD enum err fs_mkdir(const struct fs *fs, const char *path, struct err_info *info);
ATTR_NODISCARD enum err fs_sync_dir(const struct fs *fs, const char *path, struct err_info *info);
/* Names in `path` into `buf`; ret_bytes used. */
ATTR_NODISCARD enum err fs_list(const struct fs *fs, const char *path, char *buf, ptrdiff_t len,
                                ptrdiff_t *ret_bytes, struct err_info *info);

#endif
