// SPDX-License-Identifier: Apache-2.0
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/check.h"

/* A shared object for LD_PRELOAD: the n-th system call of a class fails. The program under test is the real one. The
 * environment says:
 *
 *   FAIL_CALL="sync:5:EIO:1"  class, which call of it (from 1 on), the error (or SHORT: half of it is done), how many fail from
 *                             there on (0: all)
 *   FAIL_UNDER=/folder        only calls on files below it count (socket, bind, listen, accept, mmap, random: all do)
 *   FAIL_TOLD=/file           gets a line when the first one fails
 *
 * Classes: open read write sync rename unlink mkdir truncate fallocate stat close mmap socket bind listen accept random. */

enum { PATH_BYTES = 4096 };

static const struct {
    const char *name;
    int number;
} errors[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EACCES", EACCES}, {"EMFILE", EMFILE},
              {"EINTR", EINTR},   {"EDQUOT", EDQUOT}, {"ENOMEM", ENOMEM}, {"EROFS", EROFS},
              {"EAGAIN", EAGAIN}, {"EPERM", EPERM},   {"SHORT", 0}};

static char wanted[16];
static char under[PATH_BYTES];
static char told[PATH_BYTES];
static int error_number;
static long first, last; /* calls that fail, counted from 1 */
static _Atomic long calls;

/* Before main; whatever it does not understand fails the test that set it, by never firing. */
__attribute__((constructor)) static void arm(void)
{
    char error[16] = "";
    long count = 1;
    // NOLINTBEGIN(concurrency-mt-unsafe): before main
    const char *call = getenv("FAIL_CALL");
    const char *folder = getenv("FAIL_UNDER");
    const char *file = getenv("FAIL_TOLD");
    // NOLINTEND(concurrency-mt-unsafe)
    // NOLINTNEXTLINE(cert-err34-c): a string of our own, checked by the count
    if (call == NULL ||
        sscanf(call, "%15[a-z]:%ld:%15[A-Z]:%ld", wanted, &first, error, &count) < 3) {
        wanted[0] = 0;
        return;
    }
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        error_number = strcmp(error, errors[i].name) == 0 ? errors[i].number : error_number;
    }
    last = count == 0 ? -1 : first + count - 1;
    IGNORE_RESULT(snprintf(under, sizeof(under), "%s", folder != NULL ? folder : "/"));
    IGNORE_RESULT(snprintf(told, sizeof(told), "%s", file != NULL ? file : "/dev/null"));
}

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

/* A line for the test, by the calls themselves: they are not ours to count. */
static void tell(const char *path)
{
    static int (*real_open)(const char *, int, ...);
    static ssize_t (*real_write)(int, const void *, size_t);
    *(void **)&real_open = next("open");
    *(void **)&real_write = next("write");
    int fd = real_open(told, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    char line[PATH_BYTES + 32];
    int len = snprintf(line, sizeof(line), "%s %s\n", wanted, path);
    if (fd >= 0 && len > 0) {
        IGNORE_RESULT(real_write(fd, line, (size_t)len));
        IGNORE_RESULT(close(fd));
    }
}

/* Whether this call is to fail. `path` NULL: a class without one. */
static bool fails(const char *class, const char *path)
{
    if (strcmp(class, wanted) != 0 || (path != NULL && strncmp(path, under, strlen(under)) != 0)) {
        return false;
    }
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (number < first || (last > 0 && number > last)) {
        return false;
    }
    if (number == first) {
        tell(path != NULL ? path : "-");
    }
    errno = error_number;
    return true;
}

static const char *path_of(int fd, char buf[PATH_BYTES])
{
    char link[32];
    IGNORE_RESULT(snprintf(link, sizeof(link), "/proc/self/fd/%d", fd));
    ssize_t len = readlink(link, buf, PATH_BYTES - 1);
    buf[len > 0 ? len : 0] = 0;
    return buf;
}

static bool fails_fd(const char *class, int fd)
{
    char buf[PATH_BYTES];
    int before = errno;
    if (strcmp(class, wanted) != 0) {
        return false;
    }
    const char *path = path_of(fd, buf);
    errno = before;
    return fails(class, path);
}

static bool fails_at(const char *class, int dir_fd, const char *path)
{
    char buf[PATH_BYTES];
    char whole[2 * PATH_BYTES];
    if (strcmp(class, wanted) != 0) {
        return false;
    }
    bool absolute = path[0] == '/' || dir_fd == AT_FDCWD;
    IGNORE_RESULT(snprintf(whole, sizeof(whole), "%s%s%s", absolute ? "" : path_of(dir_fd, buf),
                           absolute ? "" : "/", path));
    return fails(class, whole);
}

/* One function of the C library, by its name: what is before `call` may fail. */
#define EXPORT __attribute__((visibility("default")))
#define PASS(type_, name_, call_) \
    static type_; \
    if (real == NULL) { \
        *(void **)&real = next(name_); \
    } \
    return real call_

EXPORT int openat(int dir_fd, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (fails_at("open", dir_fd, path)) {
        return -1;
    }
    PASS(int (*real)(int, const char *, int, ...), "openat", (dir_fd, path, flags, mode));
}

EXPORT ssize_t pread(int fd, void *buf, size_t len, off_t offset)
{
    if (fails_fd("read", fd)) {
        if (error_number != 0) {
            return -1;
        }
        len = len / 2 + 1;
    }
    PASS(ssize_t(*real)(int, void *, size_t, off_t), "pread", (fd, buf, len, offset));
}

EXPORT ssize_t pwrite(int fd, const void *buf, size_t len, off_t offset)
{
    if (fails_fd("write", fd)) {
        if (error_number != 0) {
            return -1;
        }
        len = len / 2 + 1;
    }
    PASS(ssize_t(*real)(int, const void *, size_t, off_t), "pwrite", (fd, buf, len, offset));
}

EXPORT int fdatasync(int fd)
{
    if (fails_fd("sync", fd)) {
        return -1;
    }
    PASS(int (*real)(int), "fdatasync", (fd));
}

EXPORT int fsync(int fd)
{
    if (fails_fd("sync", fd)) {
        return -1;
    }
    PASS(int (*real)(int), "fsync", (fd));
}

EXPORT int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    if (fails_at("rename", from_fd, from)) {
        return -1;
    }
    PASS(int (*real)(int, const char *, int, const char *), "renameat", (from_fd, from, to_fd, to));
}

EXPORT int unlinkat(int dir_fd, const char *path, int flags)
{
    if (fails_at("unlink", dir_fd, path)) {
        return -1;
    }
    PASS(int (*real)(int, const char *, int), "unlinkat", (dir_fd, path, flags));
}

EXPORT int mkdirat(int dir_fd, const char *path, mode_t mode)
{
    if (fails_at("mkdir", dir_fd, path)) {
        return -1;
    }
    PASS(int (*real)(int, const char *, mode_t), "mkdirat", (dir_fd, path, mode));
}

EXPORT int ftruncate(int fd, off_t size)
{
    if (fails_fd("truncate", fd)) {
        return -1;
    }
    PASS(int (*real)(int, off_t), "ftruncate", (fd, size));
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t len)
{
    if (fails_fd("fallocate", fd)) {
        return -1;
    }
    PASS(int (*real)(int, int, off_t, off_t), "fallocate", (fd, mode, offset, len));
}

EXPORT int fstat(int fd, struct stat *info)
{
    if (fails_fd("stat", fd)) {
        return -1;
    }
    PASS(int (*real)(int, struct stat *), "fstat", (fd, info));
}

/* As Linux does it: the number is free again whatever is said. */
EXPORT int close(int fd)
{
    static int (*real)(int);
    if (real == NULL) {
        *(void **)&real = next("close");
    }
    bool failed = fails_fd("close", fd);
    int rc = real(fd);
    if (failed) {
        errno = error_number;
    }
    return failed ? -1 : rc;
}

EXPORT void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    if (fails("mmap", NULL)) {
        return MAP_FAILED;
    }
    PASS(void *(*real)(void *, size_t, int, int, int, off_t), "mmap",
         (at, len, protection, flags, fd, offset));
}

EXPORT int socket(int domain, int type, int protocol)
{
    if (fails("socket", NULL)) {
        return -1;
    }
    PASS(int (*real)(int, int, int), "socket", (domain, type, protocol));
}

EXPORT int bind(int fd, const struct sockaddr *address, socklen_t len)
{
    if (fails("bind", NULL)) {
        return -1;
    }
    PASS(int (*real)(int, const struct sockaddr *, socklen_t), "bind", (fd, address, len));
}

EXPORT int listen(int fd, int backlog)
{
    if (fails("listen", NULL)) {
        return -1;
    }
    PASS(int (*real)(int, int), "listen", (fd, backlog));
}

EXPORT int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    if (fails("accept", NULL)) {
        return -1;
    }
    PASS(int (*real)(int, struct sockaddr *, socklen_t *, int), "accept4",
         (fd, address, len, flags));
}

EXPORT ssize_t getrandom(void *buf, size_t len, unsigned flags)
{
    if (fails("random", NULL)) {
        return -1;
    }
    PASS(ssize_t(*real)(void *, size_t, unsigned), "getrandom", (buf, len, flags));
}
