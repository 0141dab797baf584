// SPDX-License-Identifier: Apache-2.0
#include "sim/disk.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "sim/world.h"
#include "test.h"

enum { RW = FS_O_READ | FS_O_WRITE | FS_O_CREATE, SEEDS = 1000 };

static struct disk *new_disk(uint64_t seed)
{
    return disk_new(&(struct disk_options){.seed = seed});
}

static struct fs_file open_file(const struct fs *fs, const char *path)
{
    struct fs_file file = {-1};
    CHECK(fs_open(fs, path, RW, &file, NULL) == ERR_OK);
    return file;
}

/* Opens, writes, closes; `sync` says what is made durable: 's' the file, 'd' its name, "sd" both. */
static void put(const struct fs *fs, const char *path, const char *text, const char *sync)
{
    struct fs_file file = open_file(fs, path);
    CHECK(fs_truncate(fs, file, 0, NULL) == ERR_OK);
    CHECK(fs_write(fs, file, text, (ptrdiff_t)strlen(text), 0, NULL) == ERR_OK);
    CHECK(strchr(sync, 's') == NULL || fs_sync(fs, file, NULL) == ERR_OK);
    fs_close(fs, file);
    CHECK(strchr(sync, 'd') == NULL || fs_sync_dir(fs, "", NULL) == ERR_OK);
}

/* Contents of a file, "" if it is empty, NULL if absent; in a static buffer. */
static const char *get(const struct fs *fs, const char *path)
{
    static char text[4096];
    struct fs_file file = {-1};
    enum err err = fs_open(fs, path, FS_O_READ, &file, NULL);
    if (err == ERR_NOT_FOUND) {
        return NULL;
    }
    ptrdiff_t got = 0;
    CHECK(err == ERR_OK && fs_read(fs, file, text, sizeof(text) - 1, 0, &got, NULL) == ERR_OK);
    text[got] = 0;
    fs_close(fs, file);
    return text;
}

static bool holds(const struct fs *fs, const char *path, const char *text)
{
    const char *there = get(fs, path);
    return text == NULL ? there == NULL : there != NULL && strcmp(there, text) == 0;
}

TEST(disk_synced_files_survive_every_power_cut)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk *disk = new_disk(seed);
        struct fs fs = disk_fs(disk);
        put(&fs, "a", "first", "sd");
        put(&fs, "b", "other", "sd");
        put(&fs, "a", "longer than before", "s");
        disk_power_cut(disk);
        struct fs after = disk_fs(disk);
        EXPECT_MSG(holds(&after, "a", "longer than before") && holds(&after, "b", "other"),
                   "disk seed %llu", (unsigned long long)seed);
        disk_free(disk);
    }
}

TEST(disk_unsynced_writes_are_lost_kept_and_torn_by_sectors)
{
    enum { SECTORS = 20, BYTES = SECTORS * 512 };
    int all = 0, none = 0, torn = 0, cut_short = 0;
    static char old[BYTES], fresh[BYTES], read[BYTES];
    memset(old, 'o', BYTES);
    memset(fresh, 'f', BYTES);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk *disk = new_disk(seed);
        struct fs fs = disk_fs(disk);
        struct fs_file file = open_file(&fs, "f");
        EXPECT(fs_write(&fs, file, old, BYTES / 2, 0, NULL) == ERR_OK);
        EXPECT(fs_sync(&fs, file, NULL) == ERR_OK && fs_sync_dir(&fs, "", NULL) == ERR_OK);
        EXPECT(fs_write(&fs, file, fresh, BYTES, 0, NULL) == ERR_OK);
        disk_power_cut(disk);
        fs = disk_fs(disk);
        file = open_file(&fs, "f");
        ptrdiff_t got = 0;
        EXPECT(fs_read(&fs, file, read, BYTES, 0, &got, NULL) == ERR_OK);
        EXPECT(got >= BYTES / 2 && got <= BYTES);
        int new_sectors = 0, old_sectors = 0;
        for (int s = 0; s < SECTORS / 2; s++) {
            bool is_new = memcmp(read + s * 512, fresh, 512) == 0;
            bool is_old = memcmp(read + s * 512, old, 512) == 0;
            EXPECT(is_new || is_old); /* a sector is never mixed */
            new_sectors += is_new;
            old_sectors += is_old;
        }
        for (ptrdiff_t i = BYTES / 2; i < got; i++) {
            EXPECT(read[i] == 'f' || read[i] == 0);
        }
        all += old_sectors == 0 && got == BYTES;
        none += new_sectors == 0 && got == BYTES / 2;
        torn += new_sectors > 0 && old_sectors > 0;
        cut_short += got > BYTES / 2 && got < BYTES;
        disk_free(disk);
    }
    EXPECT(all > 20 && none > 20 && torn > 200 && cut_short > 100);
}

TEST(disk_unsynced_names_are_old_or_new_and_a_rename_is_whole)
{
    int created = 0, renamed = 0, unlinked = 0, gone_before_renamed = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk *disk = new_disk(seed);
        struct fs fs = disk_fs(disk);
        put(&fs, "current", "old", "sd");
        put(&fs, "junk", "junk", "sd");
        put(&fs, "tmp", "new", "s");
        EXPECT(fs_rename(&fs, "tmp", "current", NULL) == ERR_OK);
        EXPECT(fs_unlink(&fs, "junk", NULL) == ERR_OK);
        disk_power_cut(disk);
        fs = disk_fs(disk);
        bool is_new = holds(&fs, "current", "new");
        EXPECT(is_new || holds(&fs, "current", "old"));
        EXPECT(!is_new || holds(&fs, "tmp", NULL)); /* not both names */
        EXPECT(holds(&fs, "tmp", NULL) || holds(&fs, "tmp", "new"));
        bool junk_gone = holds(&fs, "junk", NULL);
        renamed += is_new;
        created += !is_new && holds(&fs, "tmp", "new");
        unlinked += junk_gone;
        gone_before_renamed += junk_gone && !is_new;
        disk_free(disk);
    }
    EXPECT(renamed > 100 && renamed < 900 && unlinked > 100 && unlinked < 900);
    EXPECT(created > 50 && gone_before_renamed > 50);
}

TEST(disk_synced_names_survive_and_stay_gone)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk *disk = new_disk(seed);
        struct fs fs = disk_fs(disk);
        EXPECT(fs_mkdir(&fs, "d", NULL) == ERR_OK && fs_sync_dir(&fs, "", NULL) == ERR_OK);
        put(&fs, "d/x", "x", "s");
        put(&fs, "d/y", "y", "s");
        EXPECT(fs_rename(&fs, "d/x", "d/z", NULL) == ERR_OK);
        EXPECT(fs_unlink(&fs, "d/y", NULL) == ERR_OK);
        EXPECT(fs_sync_dir(&fs, "d", NULL) == ERR_OK);
        put(&fs, "d/later", "l", "s");
        disk_power_cut(disk);
        fs = disk_fs(disk);
        EXPECT(holds(&fs, "d/z", "x") && holds(&fs, "d/x", NULL) && holds(&fs, "d/y", NULL));
        disk_free(disk);
    }
}

TEST(disk_a_lost_folder_takes_its_files_along)
{
    int lost = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct disk *disk = new_disk(seed);
        struct fs fs = disk_fs(disk);
        EXPECT(fs_mkdir(&fs, "d", NULL) == ERR_OK);
        put(&fs, "d/x", "x", "s");
        EXPECT(fs_sync_dir(&fs, "d", NULL) == ERR_OK); /* but not its parent */
        disk_power_cut(disk);
        fs = disk_fs(disk);
        lost += holds(&fs, "d/x", NULL);
        EXPECT(holds(&fs, "d/x", NULL) || holds(&fs, "d/x", "x"));
        char names[64];
        ptrdiff_t bytes = 0;
        EXPECT(fs_list(&fs, "", names, sizeof(names), &bytes, NULL) == ERR_OK);
        EXPECT_INT(bytes, holds(&fs, "d/x", NULL) ? 0 : 2);
        disk_free(disk);
    }
    EXPECT(lost > 20 && lost < 80);
}

TEST(disk_a_killed_process_leaves_all_it_wrote)
{
    struct disk *disk = new_disk(test_seed());
    struct fs fs = disk_fs(disk);
    put(&fs, "a", "not synced", "");
    struct fs_file file = open_file(&fs, "lock");
    struct fs_op lock_op = {.kind = FS_LOCK, .file = file};
    EXPECT(fs_run(&fs, &lock_op) == ERR_OK);
    struct fs other = disk_fs(disk);
    lock_op.file = open_file(&other, "lock");
    EXPECT(fs_run(&other, &lock_op) == ERR_BUSY);
    disk_process_kill(disk);
    EXPECT(fs_write(&fs, file, "x", 1, 0, NULL) == ERR_IO); /* the dead change nothing */
    EXPECT(fs_unlink(&fs, "a", NULL) == ERR_IO);
    fs_close(&fs, file);
    struct fs after = disk_fs(disk);
    EXPECT(holds(&after, "a", "not synced") && holds(&after, "lock", ""));
    lock_op.file = open_file(&after, "lock");
    EXPECT(fs_run(&after, &lock_op) == ERR_OK);
    disk_free(disk);
}

TEST(disk_open_files_outlive_their_names_and_space_comes_back)
{
    struct disk *disk = new_disk(1);
    struct fs fs = disk_fs(disk);
    struct fs_file file = open_file(&fs, "a");
    EXPECT(fs_write(&fs, file, "abc", 3, 0, NULL) == ERR_OK);
    EXPECT(fs_unlink(&fs, "a", NULL) == ERR_OK);
    char c = 0;
    ptrdiff_t got = 0;
    EXPECT(fs_read(&fs, file, &c, 1, 1, &got, NULL) == ERR_OK && got == 1 && c == 'b');
    EXPECT_INT(disk_used_bytes(disk), 3);
    fs_close(&fs, file);
    EXPECT_INT(disk_used_bytes(disk), 0);
    disk_free(disk);
}

TEST(disk_zeroed_files_of_many_megabytes_cost_next_to_nothing_and_hold_data)
{
    struct disk *disk = new_disk(3);
    struct fs fs = disk_fs(disk);
    struct fs_file file = open_file(&fs, "journal");
    char *zeros = mem_new(1, 1 << 20);
    for (int i = 0; i < 64; i++) {
        EXPECT(fs_write(&fs, file, zeros, 1 << 20, (int64_t)i << 20, NULL) == ERR_OK);
    }
    EXPECT(fs_write(&fs, file, "x", 1, 40 << 20, NULL) == ERR_OK);
    EXPECT(fs_sync(&fs, file, NULL) == ERR_OK && fs_sync_dir(&fs, "", NULL) == ERR_OK);
    disk_power_cut(disk);
    fs = disk_fs(disk);
    file = open_file(&fs, "journal");
    int64_t size = 0;
    ptrdiff_t got = 0;
    EXPECT(fs_size(&fs, file, &size, NULL) == ERR_OK && size == 64 << 20);
    EXPECT(fs_read(&fs, file, zeros, 1 << 20, 40 << 20, &got, NULL) == ERR_OK && got == 1 << 20);
    EXPECT(zeros[0] == 'x' && zeros[1] == 0);
    mem_free(zeros);
    disk_free(disk);
}

TEST(disk_faults_strike_the_nth_op_of_their_kind)
{
    struct disk *disk = new_disk(4);
    struct fs fs = disk_fs(disk);
    struct fs_file file = open_file(&fs, "f");
    disk_set_fault(
        disk, &(struct disk_fault){.kind = FS_WRITE, .nth = 2, .err = ERR_IO, .partial = true});
    EXPECT(fs_write(&fs, file, "a", 1, 0, NULL) == ERR_OK);
    EXPECT(fs_write(&fs, file, "bcdefgh", 7, 0, NULL) == ERR_IO);
    EXPECT(fs_write(&fs, file, "c", 1, 0, NULL) == ERR_OK);
    EXPECT_INT(disk_faults_struck(disk), 1);
    disk_set_fault(
        disk, &(struct disk_fault){.kind = FS_SYNC, .nth = 1, .err = ERR_IO, .persistent = true});
    EXPECT(fs_sync(&fs, file, NULL) == ERR_IO && fs_sync(&fs, file, NULL) == ERR_IO);
    EXPECT(fs_sync_dir(&fs, "", NULL) == ERR_OK);
    disk_stop_after(disk, 1);
    EXPECT(fs_write(&fs, file, "d", 1, 0, NULL) == ERR_OK);
    EXPECT(fs_write(&fs, file, "e", 1, 0, NULL) == ERR_IO);
    EXPECT(holds(&fs, "f", NULL) == false); /* reading goes on */
    disk_process_kill(disk);
    fs = disk_fs(disk);
    put(&fs, "f", "again", "sd");
    EXPECT(holds(&fs, "f", "again"));
    disk_free(disk);
}

TEST(disk_after_a_failed_sync_a_good_one_saves_nothing_that_was_lost)
{
    int lost = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct disk *disk = new_disk(seed);
        struct fs fs = disk_fs(disk);
        put(&fs, "f", "old", "sd");
        struct fs_file file = open_file(&fs, "f");
        EXPECT(fs_write(&fs, file, "new", 3, 0, NULL) == ERR_OK);
        disk_set_fault(disk, &(struct disk_fault){.kind = FS_SYNC, .nth = 1, .err = ERR_IO});
        EXPECT(fs_sync(&fs, file, NULL) == ERR_IO && fs_sync(&fs, file, NULL) == ERR_OK);
        EXPECT(holds(&fs, "f", "new"));
        disk_power_cut(disk);
        fs = disk_fs(disk);
        lost += holds(&fs, "f", "old");
        EXPECT(holds(&fs, "f", "old") || holds(&fs, "f", "new"));
        disk_free(disk);
    }
    EXPECT(lost > 50 && lost < 150);
}

TEST(disk_full_writes_a_part_and_says_so_until_there_is_room)
{
    struct disk *disk = new_disk(5);
    struct fs fs = disk_fs(disk);
    struct fs_file file = open_file(&fs, "f");
    disk_set_size(disk, 4);
    struct err_info info;
    EXPECT(fs_write(&fs, file, "abcdef", 6, 0, &info) == ERR_NO_SPACE);
    EXPECT(holds(&fs, "f", "abcd"));
    EXPECT(fs_write(&fs, file, "xy", 2, 0, NULL) == ERR_OK); /* overwriting takes none */
    struct fs_op space = {.kind = FS_FREE_SPACE};
    EXPECT(fs_run(&fs, &space) == ERR_OK && space.size_bytes == 0);
    disk_set_size(disk, 100);
    EXPECT(fs_write(&fs, file, "abcdef", 6, 0, NULL) == ERR_OK);
    EXPECT(fs_run(&fs, &space) == ERR_OK && space.size_bytes == 94);
    disk_free(disk);
}

TEST(disk_rot_shows_in_what_is_read)
{
    struct disk *disk = new_disk(6);
    struct fs fs = disk_fs(disk);
    put(&fs, "f", "abc", "sd");
    EXPECT(disk_corrupt(disk, "f", 1, 1) == ERR_OK &&
           disk_corrupt(disk, "g", 0, 1) == ERR_NOT_FOUND);
    EXPECT(holds(&fs, "f", "arc"));
    disk_free(disk);
}

/* ---- submitted ops */

struct writer { /* writes and syncs in turn through submit, notes what was acknowledged */
    struct waker waker;
    struct mailbox done;
    struct fs fs;
    struct fs_op op;
    char bytes[700];
    int written;
    int acknowledged;
};

static int64_t writer_step(void *ctx, int64_t now_ns)
{
    struct writer *w = ctx;
    (void)now_ns;
    if (mailbox_take_all(&w->done) == NULL) {
        return CLOCK_NEVER;
    }
    CHECK(w->op.err == ERR_OK);
    if (w->op.kind == FS_WRITE) {
        w->op.kind = FS_SYNC;
    } else {
        w->acknowledged = w->written;
        memset(w->bytes, ++w->written, sizeof(w->bytes));
        w->op.kind = FS_WRITE;
        w->op.offset = (int64_t)(w->written - 1) * (int64_t)sizeof(w->bytes);
    }
    fs_submit(&w->fs, &w->op);
    return CLOCK_NEVER;
}

static bool wrote_enough(void *ctx)
{
    return ((const struct writer *)ctx)->acknowledged >= 20;
}

/* Runs a writer for a seeded while, crashes, and looks for what had been acknowledged. */
static bool acknowledged_is_there(uint64_t seed, bool power, int *ret_acknowledged)
{
    struct world *world = world_new(&(struct world_options){.seed = seed});
    struct disk *disk = disk_new(&(struct disk_options){.clock = world_clock(world),
                                                        .seed = seed,
                                                        .sync_delay_ns = 1000000,
                                                        .other_delay_ns = 100000});
    struct writer w = {.fs = disk_fs(disk)};
    waker_init(&w.waker);
    mailbox_init(&w.done, &w.waker);
    w.op = (struct fs_op){.kind = FS_SYNC,
                          .file = open_file(&w.fs, "f"),
                          .buf = w.bytes,
                          .len = sizeof(w.bytes),
                          .done = &w.done};
    CHECK(fs_sync_dir(&w.fs, "", NULL) == ERR_OK);
    world_add(world, "disk", disk_step, disk, disk_waker(disk));
    world_add(world, "writer", writer_step, &w, &w.waker);
    fs_submit(&w.fs, &w.op);
    int64_t until_ns = rng_range(world_rng(world), 1, 40000000);
    enum world_end end = world_run(world, wrote_enough, &w, until_ns, 100000);
    CHECK(end == WORLD_TIME || end == WORLD_DONE);
    if (power) {
        disk_power_cut(disk);
    } else {
        disk_process_kill(disk);
    }
    struct fs fs = disk_fs(disk);
    struct fs_file file = open_file(&fs, "f");
    bool good = true;
    for (int i = 0; i < w.acknowledged; i++) {
        char read[sizeof(w.bytes)], expected[sizeof(w.bytes)];
        ptrdiff_t got = 0;
        memset(expected, i + 1, sizeof(expected));
        CHECK(fs_read(&fs, file, read, sizeof(read), (int64_t)i * (int64_t)sizeof(read), &got,
                      NULL) == ERR_OK);
        good = good && got == (ptrdiff_t)sizeof(read) && memcmp(read, expected, sizeof(read)) == 0;
    }
    *ret_acknowledged += w.acknowledged;
    disk_free(disk);
    world_free(world);
    return good;
}

TEST(disk_what_a_completed_sync_covered_survives_any_crash_at_any_time)
{
    int acknowledged = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        EXPECT_MSG(acknowledged_is_there(seed, seed % 4 != 0, &acknowledged), "disk seed %llu",
                   (unsigned long long)seed);
    }
    EXPECT(acknowledged > 5 * SEEDS);
}

/* D1: a sector is overwritten while a sync that covers its earlier bytes is in flight. */
TEST(disk_a_sync_keeps_its_promise_though_the_bytes_change_under_it)
{
    int second = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct world *world = world_new(&(struct world_options){.seed = seed});
        struct disk *disk = disk_new(&(struct disk_options){
            .clock = world_clock(world), .seed = seed, .sync_delay_ns = 1000000});
        struct fs fs = disk_fs(disk);
        struct mailbox done;
        mailbox_init(&done, NULL);
        put(&fs, "f", "zero", "sd");
        struct fs_file file = open_file(&fs, "f");
        EXPECT(fs_write(&fs, file, "one!", 4, 0, NULL) == ERR_OK);
        struct fs_op sync_op = {.kind = FS_SYNC, .file = file, .done = &done};
        fs_submit(&fs, &sync_op);
        EXPECT(mailbox_take_all(&done) == NULL);
        EXPECT(fs_write(&fs, file, "two!", 4, 0, NULL) == ERR_OK);
        world_add(world, "disk", disk_step, disk, disk_waker(disk));
        EXPECT(world_run(world, NULL, NULL, CLOCK_NEVER, 1000) == WORLD_QUIET);
        EXPECT(mailbox_take_all(&done) == &sync_op.msg && sync_op.err == ERR_OK);
        disk_power_cut(disk);
        fs = disk_fs(disk);
        bool two = holds(&fs, "f", "two!");
        EXPECT(two || holds(&fs, "f", "one!"));
        second += two;
        disk_free(disk);
        world_free(world);
    }
    EXPECT(second > 100 && second < 900);
}

/* Random ops against plain arrays: what a living process reads is what it wrote. */
TEST(disk_reads_what_was_written_against_a_plain_model)
{
    enum { SIZE_MAX_BYTES = 20000 };
    static char model[SIZE_MAX_BYTES * 2], read[SIZE_MAX_BYTES * 2], piece[SIZE_MAX_BYTES];
    struct rng rng;
    rng_init(&rng, test_seed());
    struct disk *disk = new_disk(rng_u64(&rng));
    struct fs fs = disk_fs(disk);
    struct fs_file file = open_file(&fs, "f");
    int64_t size = 0;
    for (int round = 0; round < 3000; round++) {
        int64_t offset = rng_range(&rng, 0, SIZE_MAX_BYTES);
        ptrdiff_t len = rng_range(&rng, 0, rng_chance(&rng, 0.5) ? 600 : SIZE_MAX_BYTES);
        switch (rng_below(&rng, 6)) {
        case 0:
            EXPECT(fs_truncate(&fs, file, offset, NULL) == ERR_OK);
            memset(model + offset, 0, sizeof(model) - (size_t)offset);
            size = offset;
            break;
        case 1:
            EXPECT(fs_sync(&fs, file, NULL) == ERR_OK);
            break;
        default:
            memset(piece, (int)rng_below(&rng, 3), (size_t)len);
            EXPECT(fs_write(&fs, file, piece, len, offset, NULL) == ERR_OK);
            memcpy(model + offset, piece, (size_t)len);
            size = len > 0 && offset + len > size ? offset + len : size;
            break;
        }
        ptrdiff_t got = 0;
        EXPECT(fs_read(&fs, file, read, sizeof(read), 0, &got, NULL) == ERR_OK);
        EXPECT_INT(got, size);
        EXPECT(memcmp(read, model, (size_t)size) == 0);
    }
    disk_free(disk);
}
