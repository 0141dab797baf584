// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/real/fs_real.h"
#include "base/rng.h"
#include "sim/disk.h"
#include "test.h"

/* The simulator's disk against the machine's: the same random ops must give the same answers on both. */

enum { OPEN_MAX = 6, IO_MAX = 6000, NAMES_MAX = 4096 };

struct twin {
    struct fs fs[2];
    struct fs_file open[OPEN_MAX][2];
    uint32_t flags[OPEN_MAX]; /* 0: not open */
    struct rng rng;
    char data[IO_MAX], read[2][IO_MAX], names[2][NAMES_MAX];
};

static const char *const paths[] = {"a", "b", "d/a", "d/b", "d", "absent/x"};

static const char *draw_path(struct twin *t)
{
    return paths[rng_below(&t->rng, COUNT_OF(paths))];
}

/* Runs an op on both; true if they agree on code and results. */
static bool agree(struct twin *t, struct fs_op op, struct fs_file files[2], struct fs_op ret_ops[2])
{
    for (int i = 0; i < 2; i++) {
        ret_ops[i] = op;
        if (files != NULL) {
            ret_ops[i].file = files[i];
        }
        if (op.kind == FS_READ) {
            ret_ops[i].buf = t->read[i];
        } else if (op.kind == FS_LIST) {
            ret_ops[i].buf = t->names[i];
        }
        IGNORE_RESULT(fs_run(&t->fs[i], &ret_ops[i])); /* compared below */
    }
    bool same = ret_ops[0].err == ret_ops[1].err;
    if (same && ret_ops[0].err == ERR_OK) {
        same = ret_ops[0].size_bytes == ret_ops[1].size_bytes &&
               (op.kind == FS_WRITE || ret_ops[0].done_bytes == ret_ops[1].done_bytes);
    }
    if (!same) {
        printf("    op %d %s: machine %s, disk %s\n", op.kind, op.path != NULL ? op.path : "",
               err_name(ret_ops[0].err), err_name(ret_ops[1].err));
    }
    return same;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts a list of names in place into a comparable text. */
static void sort_names(char *names, ptrdiff_t bytes)
{
    const char *sorted[64];
    char copy[NAMES_MAX];
    size_t n = 0;
    memcpy(copy, names, (size_t)bytes);
    for (ptrdiff_t at = 0; at < bytes; at += (ptrdiff_t)strlen(copy + at) + 1) {
        sorted[n++] = copy + at;
    }
    qsort(sorted, n, sizeof(sorted[0]), by_text);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(sorted[i]) + 1;
        memcpy(names, sorted[i], len);
        names += len;
    }
}

static bool open_step(struct twin *t, int slot)
{
    static const uint32_t choices[] = {FS_O_READ, FS_O_WRITE | FS_O_CREATE,
                                       FS_O_READ | FS_O_WRITE | FS_O_CREATE, FS_O_READ | FS_O_WRITE,
                                       FS_O_READ | FS_O_WRITE | FS_O_CREATE | FS_O_EXCL};
    struct fs_op ops[2];
    uint32_t flags = choices[rng_below(&t->rng, COUNT_OF(choices))];
    if (t->flags[slot] != 0) {
        t->flags[slot] = 0;
        return agree(t, (struct fs_op){.kind = FS_CLOSE}, t->open[slot], ops);
    }
    const char *path = draw_path(t);
    if (strcmp(path, "d") == 0) {
        return true; /* opening folders is nobody's business */
    }
    if (!agree(t, (struct fs_op){.kind = FS_OPEN, .path = path, .flags = flags}, NULL, ops)) {
        return false;
    }
    if (ops[0].err == ERR_OK) {
        t->flags[slot] = flags;
        t->open[slot][0] = ops[0].file;
        t->open[slot][1] = ops[1].file;
    }
    return true;
}

static bool file_step(struct twin *t, int slot)
{
    struct fs_op ops[2];
    int64_t offset = rng_range(&t->rng, 0, 3 * IO_MAX);
    ptrdiff_t len = rng_range(&t->rng, 0, IO_MAX);
    if (t->flags[slot] == 0) {
        return true;
    }
    bool reads = (t->flags[slot] & FS_O_READ) != 0;
    bool writes = (t->flags[slot] & FS_O_WRITE) != 0;
    switch (rng_below(&t->rng, 5)) {
    case 0:
        memset(t->data, (int)rng_below(&t->rng, 200), (size_t)len);
        return !writes ||
               agree(t,
                     (struct fs_op){.kind = FS_WRITE, .buf = t->data, .len = len, .offset = offset},
                     t->open[slot], ops);
    case 1:
        return !writes ||
               agree(t, (struct fs_op){.kind = FS_TRUNCATE, .offset = offset}, t->open[slot], ops);
    case 2:
        return agree(t, (struct fs_op){.kind = FS_STAT}, t->open[slot], ops);
    case 3:
        return agree(t, (struct fs_op){.kind = FS_SYNC}, t->open[slot], ops);
    default:
        return !reads || (agree(t, (struct fs_op){.kind = FS_READ, .len = len, .offset = offset},
                                t->open[slot], ops) &&
                          memcmp(t->read[0], t->read[1], (size_t)ops[0].done_bytes) == 0);
    }
}

static bool name_step(struct twin *t)
{
    struct fs_op ops[2];
    const char *path = draw_path(t), *to = draw_path(t);
    bool folders = strcmp(path, "d") == 0 || strcmp(to, "d") == 0;
    switch (rng_below(&t->rng, 6)) {
    case 0:
        return folders ||
               agree(t, (struct fs_op){.kind = FS_RENAME, .path = path, .path_to = to}, NULL, ops);
    case 1:
        return strcmp(path, "d") == 0 ||
               agree(t, (struct fs_op){.kind = FS_UNLINK, .path = path}, NULL, ops);
    case 2:
        return agree(t, (struct fs_op){.kind = FS_MKDIR, .path = "d"}, NULL, ops);
    case 3:
        return rng_below(&t->rng, 4) != 0 ||
               agree(t, (struct fs_op){.kind = FS_RMDIR, .path = "d"}, NULL, ops);
    case 4:
        return agree(
            t, (struct fs_op){.kind = FS_SYNC_DIR, .path = rng_below(&t->rng, 2) == 0 ? "d" : ""},
            NULL, ops);
    default:
        if (!agree(t,
                   (struct fs_op){.kind = FS_LIST,
                                  .path = rng_below(&t->rng, 2) == 0 ? "d" : "",
                                  .len = NAMES_MAX},
                   NULL, ops)) {
            return false;
        }
        for (int i = 0; i < 2; i++) {
            sort_names(t->names[i], ops[i].done_bytes);
        }
        return memcmp(t->names[0], t->names[1], (size_t)ops[0].done_bytes) == 0;
    }
}

TEST(disk_answers_as_the_machine_does)
{
    struct twin *t = MEM_NEW(struct twin);
    char root[200];
    IGNORE_RESULT(snprintf(root, sizeof(root), "%s/twin", test_dir())); /* fits */
    rng_init(&t->rng, test_seed());
    struct disk *disk = disk_new(&(struct disk_options){.seed = test_seed()});
    CHECK(fs_real_open(root, &t->fs[0], NULL) == ERR_OK);
    t->fs[1] = disk_fs(disk);
    bool good = true;
    for (int i = 0; i < 5000 && good; i++) {
        int slot = (int)rng_below(&t->rng, OPEN_MAX);
        uint64_t what = rng_below(&t->rng, 10);
        good = what < 2 ? open_step(t, slot) : what < 8 ? file_step(t, slot) : name_step(t);
    }
    for (int i = 0; i < OPEN_MAX; i++) {
        if (t->flags[i] != 0) {
            fs_close(&t->fs[0], t->open[i][0]);
        }
    }
    fs_real_close(&t->fs[0]);
    disk_free(disk);
    mem_free(t);
    EXPECT(good);
}
