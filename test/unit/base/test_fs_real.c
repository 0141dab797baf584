// SPDX-License-Identifier: Apache-2.0
#include "base/real/fs_real.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/real/entropy.h"
#include "test.h"

static struct fs open_root(const char *name)
{
    char path[200];
    struct fs fs;
    IGNORE_RESULT(snprintf(path, sizeof(path), "%s/%s", test_dir(), name)); /* fits */
    CHECK(fs_real_open(path, &fs, NULL) == ERR_OK);
    return fs;
}

TEST(fs_real_writes_reads_truncates_and_tells_the_size)
{
    struct fs fs = open_root("files");
    struct fs_file file = {-1};
    EXPECT(fs_mkdir(&fs, "a", NULL) == ERR_OK);
    EXPECT(fs_mkdir(&fs, "a", NULL) == ERR_OK);
    EXPECT(fs_open(&fs, "a/f", FS_O_READ | FS_O_WRITE | FS_O_CREATE, &file, NULL) == ERR_OK);
    EXPECT(fs_write(&fs, file, "hello", 5, 3, NULL) == ERR_OK);
    EXPECT(fs_sync(&fs, file, NULL) == ERR_OK);
    char buf[16];
    ptrdiff_t got = 0;
    int64_t size = 0;
    EXPECT(fs_read(&fs, file, buf, 16, 0, &got, NULL) == ERR_OK);
    EXPECT_INT(got, 8);
    EXPECT(memcmp(buf, "\0\0\0hello", 8) == 0);
    EXPECT(fs_read(&fs, file, buf, 16, 100, &got, NULL) == ERR_OK);
    EXPECT_INT(got, 0);
    EXPECT(fs_truncate(&fs, file, 4, NULL) == ERR_OK);
    EXPECT(fs_size(&fs, file, &size, NULL) == ERR_OK);
    EXPECT_INT(size, 4);
    fs_close(&fs, file);
    struct fs_op space = {.kind = FS_FREE_SPACE};
    EXPECT(fs_run(&fs, &space) == ERR_OK && space.size_bytes > 0);
    fs_real_close(&fs);
}

TEST(fs_real_names_rename_list_unlink)
{
    struct fs fs = open_root("names");
    struct fs_file file = {-1};
    for (int i = 0; i < 3; i++) {
        char name[16];
        IGNORE_RESULT(snprintf(name, sizeof(name), "f%d", i)); /* fits */
        EXPECT(fs_open(&fs, name, FS_O_WRITE | FS_O_CREATE | FS_O_EXCL, &file, NULL) == ERR_OK);
        fs_close(&fs, file);
    }
    EXPECT(fs_rename(&fs, "f0", "f1", NULL) == ERR_OK);
    EXPECT(fs_sync_dir(&fs, "", NULL) == ERR_OK);
    char names[64];
    ptrdiff_t bytes = 0;
    EXPECT(fs_list(&fs, ".", names, sizeof(names), &bytes, NULL) == ERR_OK);
    EXPECT_INT(bytes, 6);
    EXPECT(memcmp(names, "f1\0f2\0", 6) == 0 || memcmp(names, "f2\0f1\0", 6) == 0);
    EXPECT(fs_list(&fs, ".", names, 5, &bytes, NULL) == ERR_LIMIT);
    EXPECT(fs_unlink(&fs, "f1", NULL) == ERR_OK);
    EXPECT(fs_unlink(&fs, "f1", NULL) == ERR_NOT_FOUND);
    EXPECT(fs_mkdir(&fs, "d", NULL) == ERR_OK);
    struct fs_op rmdir_op = {.kind = FS_RMDIR, .path = "d"};
    EXPECT(fs_run(&fs, &rmdir_op) == ERR_OK);
    fs_real_close(&fs);
}

TEST(fs_real_errors_have_codes_and_say_what_failed_where)
{
    struct fs fs = open_root("errors");
    struct fs_file file = {-1};
    struct err_info info = {0};
    EXPECT(fs_open(&fs, "absent", FS_O_READ, &file, &info) == ERR_NOT_FOUND);
    EXPECT(info.sys_errno == ENOENT && strstr(info.text, "open absent: ") == info.text);
    EXPECT(fs_open(&fs, "there", FS_O_WRITE | FS_O_CREATE, &file, NULL) == ERR_OK);
    char byte = 0;
    ptrdiff_t got = 0;
    EXPECT(fs_read(&fs, file, &byte, 1, 0, &got, &info) == ERR_IO); /* opened for writing only */
    EXPECT(info.sys_errno == EBADF && strstr(info.text, "errors/there") != NULL);
    fs_close(&fs, file);
    EXPECT(fs_open(&fs, "there", FS_O_WRITE | FS_O_CREATE | FS_O_EXCL, &file, NULL) == ERR_EXISTS);
    struct fs none = {0};
    EXPECT(fs_real_open("/nonexistent/a/b", &none, &info) == ERR_NOT_FOUND);
    fs_real_close(&none);
    fs_real_close(&fs);
}

TEST(fs_real_a_full_device_is_no_space)
{
    struct fs fs;
    struct fs_file file = {-1};
    struct err_info info;
    EXPECT(fs_real_open("/dev", &fs, NULL) == ERR_OK);
    EXPECT(fs_open(&fs, "full", FS_O_WRITE, &file, NULL) == ERR_OK); /* Linux: always full */
    EXPECT(fs_write(&fs, file, "x", 1, 0, &info) == ERR_NO_SPACE);
    EXPECT(info.sys_errno == ENOSPC && strstr(info.text, "write /dev/full: No space") == info.text);
    fs_close(&fs, file);
    fs_real_close(&fs);
}

TEST(fs_real_refuses_paths_that_leave_the_root)
{
    struct fs fs = open_root("paths");
    struct fs_file file = {-1};
    static const char *const bad[] = {"/etc/passwd", "..",  "../x", "a/../../x",
                                      "a//b",        "./a", "a/.",  "a/"};
    for (int i = 0; i < COUNT_OF(bad); i++) {
        EXPECT_MSG(!fs_path_valid(bad[i]), "%s is taken for valid", bad[i]);
        EXPECT(fs_open(&fs, bad[i], FS_O_READ, &file, NULL) == ERR_INVALID);
        EXPECT(fs_rename(&fs, "a", bad[i], NULL) == ERR_INVALID);
        EXPECT(fs_unlink(&fs, bad[i], NULL) == ERR_INVALID);
    }
    char longest[FS_PATH_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    longest[FS_PATH_MAX + 1] = 0;
    EXPECT(!fs_path_valid(longest) && !fs_path_valid(NULL));
    longest[FS_PATH_MAX] = 0;
    EXPECT(fs_path_valid(longest) && fs_path_valid("a/b.c/..d") && fs_path_valid(""));
    char target[200], link[200];
    IGNORE_RESULT(snprintf(target, sizeof(target), "%s/outside", test_dir())); /* fits */
    IGNORE_RESULT(snprintf(link, sizeof(link), "%s/paths/link", test_dir()));  /* fits */
    EXPECT(symlink(target, link) == 0);
    EXPECT(fs_open(&fs, "link", FS_O_WRITE | FS_O_CREATE, &file, NULL) == ERR_IO);
    EXPECT(access(target, F_OK) != 0);
    fs_real_close(&fs);
}

TEST(fs_real_files_are_private)
{
    struct fs fs = open_root("private");
    struct fs_file file = {-1};
    EXPECT(fs_open(&fs, "token", FS_O_WRITE | FS_O_CREATE, &file, NULL) == ERR_OK);
    struct stat info;
    EXPECT(fstat(file.fd, &info) == 0);
    EXPECT_INT(info.st_mode & 0177, 0);
    fs_close(&fs, file);
    fs_real_close(&fs);
}

static enum err lock(const struct fs *fs, struct fs_file file)
{
    struct fs_op op = {.kind = FS_LOCK, .file = file};
    return fs_run(fs, &op);
}

static enum err lock_in_child(const struct fs *fs)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct fs_file file = {-1};
        enum err err = fs_open(fs, "lock", FS_O_WRITE | FS_O_CREATE, &file, NULL);
        _exit(err == ERR_OK ? (int)lock(fs, file) : 99);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return (enum err)WEXITSTATUS(status);
}

TEST(fs_real_lock_excludes_other_processes_until_closed)
{
    struct fs fs = open_root("locks");
    struct fs_file file = {-1}, second = {-1};
    EXPECT(fs_open(&fs, "lock", FS_O_WRITE | FS_O_CREATE, &file, NULL) == ERR_OK);
    EXPECT(lock(&fs, file) == ERR_OK);
    EXPECT(lock_in_child(&fs) == ERR_BUSY);
    EXPECT(fs_open(&fs, "lock", FS_O_WRITE | FS_O_CREATE, &second, NULL) == ERR_OK);
    EXPECT(lock(&fs, second) == ERR_BUSY);
    fs_close(&fs, second); /* drops nothing of the first */
    EXPECT(lock_in_child(&fs) == ERR_BUSY);
    fs_close(&fs, file);
    EXPECT(lock_in_child(&fs) == ERR_OK);
    fs_real_close(&fs);
}

TEST(fs_real_submit_completes_into_the_mailbox)
{
    struct fs fs = open_root("submit");
    struct mailbox done;
    mailbox_init(&done, NULL);
    struct fs_op op = {
        .kind = FS_OPEN, .path = "x", .flags = FS_O_WRITE | FS_O_CREATE, .done = &done};
    fs_submit(&fs, &op);
    EXPECT(mailbox_take_all(&done) == &op.msg && op.err == ERR_OK && op.file.fd >= 0);
    fs_close(&fs, op.file);
    fs_real_close(&fs);
}

TEST(entropy_differs_each_time)
{
    unsigned char a[300] = {0}, b[300] = {0};
    entropy_fill(a, sizeof(a));
    entropy_fill(b, sizeof(b));
    EXPECT(memcmp(a, b, sizeof(a)) != 0);
    int zeros = 0;
    for (int i = 0; i < COUNT_OF(a); i++) {
        zeros += a[i] == 0;
    }
    EXPECT(zeros < 20);
}
