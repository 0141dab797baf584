// SPDX-License-Identifier: Apache-2.0
#include "log/removal.h"

#include "base/clock.h"
#include "sim/disk.h"
#include "test.h"

enum { PIECE = 4096, PIECES = 5 };

/* Files on the simulator's disk and their removal, stepped by hand on a clock of its own. */
struct bed {
    struct disk *disk;
    struct fs fs;
    struct waker waker;
    struct mailbox io;
    struct removal removal;
    struct clock clock;
    int64_t now_ns;
};

static int64_t now_of(void *ctx)
{
    return ((struct bed *)ctx)->now_ns;
}

static void bed_open(struct bed *bed)
{
    *bed = (struct bed){.clock = {.ctx = bed, .now_ns = now_of}};
    bed->disk = disk_new(&(struct disk_options){.seed = test_seed(), .clock = &bed->clock});
    bed->fs = disk_fs(bed->disk);
    waker_init(&bed->waker);
    mailbox_init(&bed->io, &bed->waker);
    removal_init(&bed->removal, &bed->fs, &bed->io, PIECE);
    static const char *const folders[] = {"log", "log/journal", "log/checkpoints", "log/shards",
                                          "log/shards/00000001"};
    for (int i = 0; i < COUNT_OF(folders); i++) {
        EXPECT(fs_mkdir(&bed->fs, folders[i], NULL) == ERR_OK);
    }
}

static void bed_close(struct bed *bed)
{
    removal_release(&bed->removal);
    disk_free(bed->disk);
}

static void make(struct bed *bed, const char *path, int64_t bytes)
{
    struct fs_file file;
    char page[PIECE] = {1};
    EXPECT(fs_open(&bed->fs, path, FS_O_WRITE | FS_O_CREATE, &file, NULL) == ERR_OK);
    for (int64_t at = 0; at < bytes; at += PIECE) {
        EXPECT(fs_write(&bed->fs, file, page, PIECE, at, NULL) == ERR_OK);
    }
    EXPECT(fs_sync(&bed->fs, file, NULL) == ERR_OK);
    fs_close(&bed->fs, file);
}

static bool is_there(const struct bed *bed, const char *path)
{
    struct fs_file file;
    bool there = fs_open(&bed->fs, path, FS_O_READ, &file, NULL) == ERR_OK;
    if (there) {
        fs_close(&bed->fs, file);
    }
    return there;
}

/* One completion, or time up to when the next piece goes. False: nothing is left to do. */
static bool step(struct bed *bed)
{
    int64_t next_ns = removal_advance(&bed->removal, bed->now_ns);
    if (mailbox_take_all(&bed->io) != NULL) {
        removal_done(&bed->removal, bed->now_ns);
        return true;
    }
    bed->now_ns = next_ns != CLOCK_NEVER ? next_ns : bed->now_ns;
    return next_ns != CLOCK_NEVER;
}

TEST(removal_cuts_a_large_file_piece_by_piece_after_its_name_is_gone_for_good)
{
    struct bed bed;
    bed_open(&bed);
    make(&bed, "log/journal/0000000000000007.j", PIECES * PIECE);
    removal_add(&bed.removal, (struct garbage){.kind = GARBAGE_JOURNAL, .number = 7});
    EXPECT(removal_has_journal(&bed.removal));
    int64_t before = disk_used_bytes(bed.disk);
    EXPECT_INT(before, PIECES * PIECE);
    int cuts = 0;
    while (step(&bed)) {
        EXPECT(!is_there(&bed, "log/journal/0000000000000007.j"));
        EXPECT(!removal_has_journal(&bed.removal));
        int64_t used = disk_used_bytes(bed.disk);
        EXPECT(before - used <= PIECE);
        cuts += used < before;
        before = used;
    }
    EXPECT_INT(cuts, PIECES);
    EXPECT_INT(before, 0);
    EXPECT(bed.now_ns > 0); /* there were pauses */
    bed_close(&bed);
}

TEST(removal_of_a_file_that_a_power_cut_gives_its_name_back_leaves_it_whole)
{
    struct bed bed;
    bed_open(&bed);
    make(&bed, "log/journal/0000000000000007.j", PIECES * PIECE);
    EXPECT(fs_sync_dir(&bed.fs, "", NULL) == ERR_OK && fs_sync_dir(&bed.fs, "log", NULL) == ERR_OK);
    EXPECT(fs_sync_dir(&bed.fs, "log/journal", NULL) == ERR_OK);
    disk_set_delays(bed.disk, 1000000, 0);
    removal_add(&bed.removal, (struct garbage){.kind = GARBAGE_JOURNAL, .number = 7});
    EXPECT(removal_advance(&bed.removal, bed.now_ns) == CLOCK_NEVER);
    EXPECT(!is_there(&bed, "log/journal/0000000000000007.j"));
    EXPECT_INT(disk_in_flight(bed.disk),
               1); /* the sync of its folder, which the power cut forgets */
    EXPECT_INT(disk_used_bytes(bed.disk), PIECES * PIECE);
    disk_power_cut(bed.disk);
    bed.removal.file.fd = -1; /* of a process that is dead */
    bed.fs = disk_fs(bed.disk);
    struct fs_file file;
    int64_t size = PIECES * PIECE;
    if (fs_open(&bed.fs, "log/journal/0000000000000007.j", FS_O_READ, &file, NULL) == ERR_OK) {
        EXPECT(fs_size(&bed.fs, file, &size, NULL) == ERR_OK);
        fs_close(&bed.fs, file);
    }
    EXPECT_INT(size, PIECES * PIECE);
    bed_close(&bed);
}

TEST(removal_goes_by_order_and_what_is_not_there_is_fine)
{
    struct bed bed;
    bed_open(&bed);
    make(&bed, "log/shards/00000001/00000000000000000010.seg", PIECES * PIECE);
    make(&bed, "log/shards/00000001/00000000000000000010.idx", PIECE);
    make(&bed, "log/checkpoints/0000000000000003", PIECE);
    removal_add(&bed.removal, (struct garbage){.kind = GARBAGE_JOURNAL, .number = 1});
    removal_add(&bed.removal, (struct garbage){.kind = GARBAGE_SEGMENT, .shard = 1, .number = 10});
    removal_add(&bed.removal, (struct garbage){.kind = GARBAGE_CHECKPOINT, .number = 3});
    removal_add(&bed.removal, (struct garbage){.kind = GARBAGE_FOLDER, .shard = 1});
    while (step(&bed)) {
    }
    EXPECT_INT(disk_used_bytes(bed.disk), 0);
    EXPECT(fs_sync_dir(&bed.fs, "log/shards/00000001", NULL) == ERR_NOT_FOUND);
    bed_close(&bed);
}
