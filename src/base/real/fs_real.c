// SPDX-License-Identifier: Apache-2.0
#include "base/real/fs_real.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/str.h"

struct fs_real {
    int root_fd;
};

enum { FILE_MODE = 0600, FOLDER_MODE = 0700, WRITE_CHUNK_BYTES = 1 << 30 };

static enum err code_of(int sys_errno)
{
    switch (sys_errno) {
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case ENOENT:
        return ERR_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY:
        return ERR_EXISTS;
    default:
        return ERR_IO;
    }
}

static void fail_path(struct fs_op *op, const char *verb, const char *path)
{
    int sys_errno = errno;
    op->err = err_set_sys(&op->info, code_of(sys_errno), sys_errno, "%s %s", verb, path);
}

/* Ops on open files carry no path: the kernel still knows it. */
static void fail_file(struct fs_op *op, const char *verb)
{
    int sys_errno = errno;
    char link[32], path[128];
    IGNORE_RESULT(snprintf(link, sizeof(link), "/proc/self/fd/%d", op->file.fd)); /* fits */
    ssize_t len = readlink(link, path, sizeof(path) - 1);
    path[len > 0 ? len : 0] = 0;
    op->err = err_set_sys(&op->info, code_of(sys_errno), sys_errno, "%s %s", verb,
                          path[0] != 0 ? path : link);
}

static int retry_open(int dir_fd, const char *path, int flags)
{
    int fd = -1;
    do {
        fd = openat(dir_fd, path, flags | O_CLOEXEC, FILE_MODE);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static const char *root_or(const char *path)
{
    return path[0] == 0 ? "." : path;
}

static void do_open(struct fs_real *real, struct fs_op *op)
{
    int flags = O_NOFOLLOW;
    if ((op->flags & FS_O_WRITE) != 0) {
        flags |= (op->flags & FS_O_READ) != 0 ? O_RDWR : O_WRONLY;
    }
    flags |= (op->flags & FS_O_CREATE) != 0 ? O_CREAT : 0;
    flags |= (op->flags & FS_O_EXCL) != 0 ? O_EXCL : 0;
    int fd = retry_open(real->root_fd, op->path, flags);
    if (fd < 0) {
        fail_path(op, "open", op->path);
        return;
    }
    op->file.fd = fd;
}

static void do_read(struct fs_op *op)
{
    char *at = op->buf;
    while (op->done_bytes < op->len) {
        ssize_t got = pread(op->file.fd, at + op->done_bytes, (size_t)(op->len - op->done_bytes),
                            op->offset + op->done_bytes);
        if (got == 0) {
            return;
        }
        if (got > 0) {
            op->done_bytes += got;
        } else if (errno != EINTR) {
            fail_file(op, "read");
            return;
        }
    }
}

static void do_write(struct fs_op *op)
{
    const char *at = op->buf;
    while (op->done_bytes < op->len) {
        ptrdiff_t left = op->len - op->done_bytes;
        ssize_t put = pwrite(op->file.fd, at + op->done_bytes,
                             (size_t)(left < WRITE_CHUNK_BYTES ? left : WRITE_CHUNK_BYTES),
                             op->offset + op->done_bytes);
        if (put >= 0) {
            op->done_bytes += put;
        } else if (errno != EINTR) {
            fail_file(op, "write");
            return;
        }
    }
}

static void do_stat(struct fs_op *op)
{
    struct stat info;
    if (fstat(op->file.fd, &info) != 0) {
        fail_file(op, "stat");
        return;
    }
    op->size_bytes = info.st_size;
}

static void do_truncate(struct fs_op *op)
{
    int rc = 0;
    do {
        rc = ftruncate(op->file.fd, op->offset);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0) {
        fail_file(op, "truncate");
    }
}

static void do_sync_dir(struct fs_real *real, struct fs_op *op)
{
    int fd = retry_open(real->root_fd, root_or(op->path), O_DIRECTORY | O_NOFOLLOW);
    if (fd < 0 || fsync(fd) != 0) {
        fail_path(op, "sync folder", root_or(op->path));
    }
    if (fd >= 0) {
        IGNORE_RESULT(close(fd)); /* only read from */
    }
}

static void do_list(struct fs_real *real, struct fs_op *op)
{
    int fd = retry_open(real->root_fd, root_or(op->path), O_DIRECTORY | O_NOFOLLOW);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        fail_path(op, "list", root_or(op->path));
        if (fd >= 0) {
            IGNORE_RESULT(close(fd)); /* only read from */
        }
        return;
    }
    char *buf = op->buf;
    for (;;) {
        errno = 0;
        // NOLINTNEXTLINE(concurrency-mt-unsafe): this stream is this call's own
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            if (errno != 0) {
                fail_path(op, "list", root_or(op->path));
            }
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        ptrdiff_t bytes = (ptrdiff_t)strlen(entry->d_name) + 1;
        if (bytes > op->len - op->done_bytes) {
            op->err = err_set(&op->info, ERR_LIMIT, "list %s: names take more than %td bytes",
                              root_or(op->path), op->len);
            break;
        }
        memcpy(buf + op->done_bytes, entry->d_name, (size_t)bytes);
        op->done_bytes += bytes;
    }
    IGNORE_RESULT(closedir(dir)); /* only read from */
}

static void do_lock(struct fs_op *op)
{
    /* A lock of the open file description: the second opener is refused also inside this process, and a file that is
     * closed elsewhere in the process does not drop it. */
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(op->file.fd, F_OFD_SETLK, &lock) == 0) {
        return;
    }
    if (errno == EAGAIN || errno == EACCES) {
        op->err = err_set(&op->info, ERR_BUSY, "lock: another process holds it");
        return;
    }
    fail_file(op, "lock");
}

static void do_free_space(struct fs_real *real, struct fs_op *op)
{
    struct statvfs info;
    if (fstatvfs(real->root_fd, &info) != 0) {
        fail_path(op, "free space of", "the root");
        return;
    }
    __uint128_t bytes = (__uint128_t)info.f_bavail * info.f_frsize;
    op->size_bytes = bytes < INT64_MAX ? (int64_t)bytes : INT64_MAX;
}

static void do_named(struct fs_real *real, struct fs_op *op)
{
    switch (op->kind) {
    case FS_OPEN:
        do_open(real, op);
        break;
    case FS_RENAME:
        if (renameat(real->root_fd, op->path, real->root_fd, op->path_to) != 0) {
            fail_path(op, "rename", op->path);
        }
        break;
    case FS_UNLINK:
        if (unlinkat(real->root_fd, op->path, 0) != 0) {
            fail_path(op, "unlink", op->path);
        }
        break;
    case FS_MKDIR:
        if (mkdirat(real->root_fd, op->path, FOLDER_MODE) != 0 && errno != EEXIST) {
            fail_path(op, "make folder", op->path);
        }
        break;
    case FS_RMDIR:
        if (unlinkat(real->root_fd, op->path, AT_REMOVEDIR) != 0) {
            fail_path(op, "remove folder", op->path);
        }
        break;
    case FS_SYNC_DIR:
        do_sync_dir(real, op);
        break;
    case FS_LIST:
        do_list(real, op);
        break;
    case FS_CLOSE:
    case FS_READ:
    case FS_WRITE:
    case FS_SYNC:
    case FS_WRITE_OUT:
    case FS_TRUNCATE:
    case FS_STAT:
    case FS_LOCK:
    case FS_FREE_SPACE:
    default:
        CHECK_MSG(false, "no op of names: %d", op->kind);
    }
}

static void do_file(struct fs_real *real, struct fs_op *op)
{
    switch (op->kind) {
    case FS_CLOSE:
        if (close(op->file.fd) != 0 && errno != EINTR) {
            op->err = err_set_sys(&op->info, ERR_IO, errno, "close");
        }
        op->file.fd = -1;
        break;
    case FS_READ:
        do_read(op);
        break;
    case FS_WRITE:
        do_write(op);
        break;
    case FS_SYNC:
        if (fdatasync(op->file.fd) != 0) {
            fail_file(op, "sync");
        }
        break;
    case FS_WRITE_OUT:
        IGNORE_RESULT(sync_file_range(op->file.fd, 0, 0, SYNC_FILE_RANGE_WRITE)); /* a hint */
        break;
    case FS_TRUNCATE:
        do_truncate(op);
        break;
    case FS_STAT:
        do_stat(op);
        break;
    case FS_LOCK:
        do_lock(op);
        break;
    case FS_FREE_SPACE:
        do_free_space(real, op);
        break;
    case FS_OPEN:
    case FS_RENAME:
    case FS_UNLINK:
    case FS_MKDIR:
    case FS_RMDIR:
    case FS_SYNC_DIR:
    case FS_LIST:
    default:
        CHECK_MSG(false, "no op of files: %d", op->kind);
    }
}

static bool takes_path(enum fs_kind kind)
{
    return kind == FS_OPEN || kind == FS_RENAME || kind == FS_UNLINK || kind == FS_MKDIR ||
           kind == FS_RMDIR || kind == FS_SYNC_DIR || kind == FS_LIST;
}

static enum err real_run(void *ctx, struct fs_op *op)
{
    struct fs_real *real = ctx;
    op->err = ERR_OK;
    op->done_bytes = 0;
    if (!takes_path(op->kind)) {
        do_file(real, op);
    } else if (!fs_path_valid(op->path) || (op->kind == FS_RENAME && !fs_path_valid(op->path_to))) {
        op->err = err_set(&op->info, ERR_INVALID, "path \"%.100s\" leaves the root or is malformed",
                          op->path != NULL ? op->path : "");
    } else {
        do_named(real, op);
    }
    return op->err;
}

static void real_submit(void *ctx, struct fs_op *op)
{
    IGNORE_RESULT(real_run(ctx, op)); /* the completion carries it */
    mailbox_push(op->done, &op->msg);
}

/* Makes the last part of `root` and its name durable. */
static enum err make_root(const char *root, struct err_info *info)
{
    if (mkdir(root, FOLDER_MODE) != 0) {
        int sys_errno = errno;
        return sys_errno == EEXIST
                   ? ERR_OK
                   : err_set_sys(info, code_of(sys_errno), sys_errno, "make folder %s", root);
    }
    struct str above = str_of(root);
    while (above.len > 1 && above.ptr[above.len - 1] == '/') {
        above.len--;
    }
    while (above.len > 0 && above.ptr[above.len - 1] != '/') {
        above.len--;
    }
    char *copy = above.len > 0 ? mem_dup(above.ptr, above.len) : mem_dup(".", 1);
    int fd = retry_open(AT_FDCWD, copy, O_DIRECTORY);
    enum err err = ERR_OK;
    if (fd < 0 || fsync(fd) != 0) {
        err = err_set_sys(info, ERR_IO, errno, "sync the folder of %s", root);
    }
    if (fd >= 0) {
        IGNORE_RESULT(close(fd)); /* only read from */
    }
    mem_free(copy);
    return err;
}

enum err fs_real_open(const char *root, struct fs *ret_fs, struct err_info *info)
{
    enum err err = make_root(root, info);
    if (err != ERR_OK) {
        return err;
    }
    int fd = retry_open(AT_FDCWD, root, O_DIRECTORY);
    if (fd < 0) {
        return err_set_sys(info, code_of(errno), errno, "open folder %s", root);
    }
    struct fs_real *real = MEM_NEW(struct fs_real);
    real->root_fd = fd;
    *ret_fs = (struct fs){.ctx = real, .submit = real_submit, .run = real_run};
    return ERR_OK;
}

void fs_real_close(struct fs *fs)
{
    struct fs_real *real = fs->ctx;
    if (real != NULL) {
        IGNORE_RESULT(close(real->root_fd)); /* only read from */
        mem_free(real);
        *fs = (struct fs){0};
    }
}
