// SPDX-License-Identifier: Apache-2.0
#include "base/fs.h"

#include <stddef.h>
#include <string.h>

#include "base/str.h"

static enum err run(const struct fs *fs, struct fs_op *op, struct err_info *info)
{
    enum err err = fs_run(fs, op);
    if (err != ERR_OK && info != NULL) {
        *info = op->info;
    }
    return err;
}

enum err fs_open(const struct fs *fs, const char *path, uint32_t flags, struct fs_file *ret_file,
                 struct err_info *info)
{
    struct fs_op op = {.kind = FS_OPEN, .path = path, .flags = flags};
    enum err err = run(fs, &op, info);
    if (err == ERR_OK) {
        *ret_file = op.file;
    }
    return err;
}

void fs_close(const struct fs *fs, struct fs_file file)
{
    if (file.fd >= 0) {
        struct fs_op op = {.kind = FS_CLOSE, .file = file};
        IGNORE_RESULT(fs_run(fs, &op)); /* what must be durable was synced */
    }
}

enum err fs_read(const struct fs *fs, struct fs_file file, void *buf, ptrdiff_t len, int64_t offset,
                 ptrdiff_t *ret_bytes, struct err_info *info)
{
    struct fs_op op = {.kind = FS_READ, .file = file, .buf = buf, .len = len, .offset = offset};
    enum err err = run(fs, &op, info);
    if (err == ERR_OK) {
        *ret_bytes = op.done_bytes;
    }
    return err;
}

enum err fs_write(const struct fs *fs, struct fs_file file, const void *buf, ptrdiff_t len,
                  int64_t offset, struct err_info *info)
{
    struct fs_op op = {.kind = FS_WRITE,
                       .file = file,
                       .buf = (void *)(uintptr_t)buf, /* FS_WRITE does not change it */
                       .len = len,
                       .offset = offset};
    return run(fs, &op, info);
}

enum err fs_sync(const struct fs *fs, struct fs_file file, struct err_info *info)
{
    struct fs_op op = {.kind = FS_SYNC, .file = file};
    return run(fs, &op, info);
}

enum err fs_size(const struct fs *fs, struct fs_file file, int64_t *ret_size_bytes,
                 struct err_info *info)
{
    struct fs_op op = {.kind = FS_STAT, .file = file};
    enum err err = run(fs, &op, info);
    if (err == ERR_OK) {
        *ret_size_bytes = op.size_bytes;
    }
    return err;
}

enum err fs_truncate(const struct fs *fs, struct fs_file file, int64_t size_bytes,
                     struct err_info *info)
{
    struct fs_op op = {.kind = FS_TRUNCATE, .file = file, .offset = size_bytes};
    return run(fs, &op, info);
}

enum err fs_rename(const struct fs *fs, const char *from, const char *to, struct err_info *info)
{
    struct fs_op op = {.kind = FS_RENAME, .path = from, .path_to = to};
    return run(fs, &op, info);
}

enum err fs_unlink(const struct fs *fs, const char *path, struct err_info *info)
{
    struct fs_op op = {.kind = FS_UNLINK, .path = path};
    return run(fs, &op, info);
}

enum err fs_mkdir(const struct fs *fs, const char *path, struct err_info *info)
{
    struct fs_op op = {.kind = FS_MKDIR, .path = path};
    return run(fs, &op, info);
}

enum err fs_sync_dir(const struct fs *fs, const char *path, struct err_info *info)
{
    struct fs_op op = {.kind = FS_SYNC_DIR, .path = path};
    return run(fs, &op, info);
}

// NOLINTNEXTLINE(readability-non-const-parameter): the implementation writes into `buf`
enum err fs_list(const struct fs *fs, const char *path, char *buf, ptrdiff_t len,
                 ptrdiff_t *ret_bytes, struct err_info *info)
{
    struct fs_op op = {.kind = FS_LIST, .path = path, .buf = buf, .len = len};
    enum err err = run(fs, &op, info);
    if (err == ERR_OK) {
        *ret_bytes = op.done_bytes;
    }
    return err;
}

bool fs_path_valid(const char *path)
{
    if (path == NULL || path[0] == '/' || strlen(path) > FS_PATH_MAX) {
        return false;
    }
    if (path[0] == 0 || strcmp(path, ".") == 0) {
        return true;
    }
    struct str rest = str_of(path);
    while (rest.ptr != NULL) {
        struct str part = str_cut(&rest, '/');
        if (part.len == 0 || str_is(part, ".") || str_is(part, "..")) {
            return false;
        }
    }
    return true;
}
