// SPDX-License-Identifier: Apache-2.0
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mailbox.h"

/* The simulator's disk: files in memory behind `struct fs`, as cruel as a disk may be and no crueller.
 *
 *   D1  A completed FS_SYNC makes durable what was written to the file, and its size, before the sync was submitted.
 *   D2  A power cut leaves of each 512-byte sector that was written since its last sync either what was durable or what
 *       was written, each sector by its own draw: writes are lost, torn and reordered. A size that was not synced ends
 *       as the old one, the new one or something between. Sectors written twice may be left as after the first time.
 *       The bytes behind a truncation that was not synced count as written with zeros.
 *   D3  Names (creation, rename, unlink, folders) are durable once FS_SYNC_DIR of their folder has completed. A power
 *       cut keeps some of the others, each one whole: a rename happened or it did not. What lies in a lost folder is
 *       lost.
 *   D4  A killed process leaves what it had written. Of a write in flight a part may have happened, up to a page's border.
 *   D5  After a failed sync, what it should have made durable may be lost for good though reads still show it; a later
 *       sync that succeeds promises nothing about it.
 *   D6  Nothing else ever changes what was durable, but disk_corrupt.
 *
 * Folders cannot be renamed. One thread. Everything follows from the seed. */

struct disk;

struct disk_options {
    const struct clock *clock; /* NULL: submitted ops complete at once */
    uint64_t seed;
    int64_t size_bytes; /* 0: 1 TiB */
    int64_t
        sync_delay_ns; /* mean time of a sync; 0: at once. Exponential, now and then twenty times that */
    int64_t other_delay_ns; /* of the other ops */
};

struct disk *disk_new(const struct disk_options *options);
void disk_free(struct disk *disk);

/* A new process' fs. A crash ends all processes there are: their files are closed, and what they call afterwards (to
 * free what they hold) has no effect. */
struct fs disk_fs(struct disk *disk);

/* For the world: completes what is due. `ctx` is the disk. */
int64_t disk_step(void *ctx, int64_t now_ns);
struct waker *disk_waker(struct disk *disk);

/* Ops submitted that have not completed. */
int disk_in_flight(const struct disk *disk);

/* Power is cut (D2, D3), or all processes are killed (D4): files are closed, locks dropped, ops in flight forgotten
 * without a completion (they must still be in memory now, not later). Faults that were set are taken away. */
void disk_power_cut(struct disk *disk);
void disk_process_kill(struct disk *disk);

/* The device's size; a write that passes it ends as NO_SPACE after a part. */
void disk_set_size(struct disk *disk, int64_t size_bytes);
int64_t disk_used_bytes(const struct disk *disk);

/* From now on ops take that long on average, as disk_options has it: a disk that has become slow. */
void disk_set_delays(struct disk *disk, int64_t sync_delay_ns, int64_t other_delay_ns);

/* The `nth` op of `kind` from now on (1: the next) fails with `err`. */
struct disk_fault {
    enum fs_kind kind;
    int64_t nth;
    enum err err;    /* IO, NO_SPACE */
    bool persistent; /* and all of that kind after it */
    bool partial;    /* writes: a part is written first */
};
void disk_set_fault(struct disk *disk, const struct disk_fault *fault);

/* How many faults have struck since disk_new. */
int64_t disk_faults_struck(const struct disk *disk);

/* The first `n` ops that change something (OPEN with CREATE, WRITE, SYNC, TRUNCATE, RENAME, UNLINK, MKDIR, RMDIR,
 * SYNC_DIR) still work, then all of them fail as IO without effect: a crash at a chosen point, for loops over n.
 * -1: no such end. Taken away by a crash. */
void disk_stop_after(struct disk *disk, int64_t n);

/* Ops that change something since disk_new. */
int64_t disk_changes(const struct disk *disk);

/* Flips a bit in each of `len` bytes of a file, in what is read and in what is durable: rot. NOT_FOUND. */
ATTR_NODISCARD enum err disk_corrupt(struct disk *disk, const char *path, int64_t offset,
                                     int64_t len);

#endif
