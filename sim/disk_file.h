// SPDX-License-Identifier: Apache-2.0
#ifndef SIM_DISK_FILE_H
#define SIM_DISK_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"

/* One file's contents: what is read (live) and what would be left of it (durable), by sectors. Zeros cost nothing: a
 * chunk exists once something else was written to it. disk.h D1, D2, D5 are kept here. */

enum { DISK_SECTOR = 512, DISK_CHUNK = 4096, DISK_CHUNK_SECTORS = DISK_CHUNK / DISK_SECTOR };

struct disk_chunk; /* NULL: live and durable zeros */

struct disk_file {
    struct disk_chunk **chunks; /* [chunk_count] */
    int64_t chunk_count;
    int64_t size_bytes;         /* live */
    int64_t durable_size_bytes; /* after a power cut, if nothing else was kept */
    uint64_t writes;            /* counts changes: names states for syncs */
    uint64_t sync_mark;         /* newest state that a sync in flight is to make durable */
    uint64_t durable_mark;      /* newest state made durable: syncs may complete out of order */
    int syncs_in_flight;
};

void disk_file_release(struct disk_file *file);

/* Returns bytes read, short only at the end. */
ptrdiff_t disk_file_read(const struct disk_file *file, void *buf, ptrdiff_t len, int64_t offset);

/* `rng` decides whether sectors written a second time had reached the disk before. */
void disk_file_write(struct disk_file *file, const void *buf, ptrdiff_t len, int64_t offset,
                     struct rng *rng);
void disk_file_truncate(struct disk_file *file, int64_t size_bytes, struct rng *rng);

/* A sync is submitted: returns the state it names. Then it completes or fails. */
uint64_t disk_file_sync_begin(struct disk_file *file);
void disk_file_sync_end(struct disk_file *file, uint64_t mark, int64_t size_bytes);
void disk_file_sync_fail(struct disk_file *file, uint64_t mark, struct rng *rng);

void disk_file_power_cut(struct disk_file *file, struct rng *rng);
void disk_file_corrupt(struct disk_file *file, int64_t offset, int64_t len);

#endif
