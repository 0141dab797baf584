// SPDX-License-Identifier: Apache-2.0
#include "sim/disk_file.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

enum sector_state {
    SECTOR_CLEAN, /* durable = live */
    SECTOR_DIRTY, /* durable is older; a power cut draws */
    SECTOR_LOST   /* a failed sync dropped it: durable is older and stays so */
};

struct disk_chunk {
    uint8_t live[DISK_CHUNK];
    uint8_t *durable; /* [DISK_CHUNK], NULL while all sectors are clean */
    uint64_t written
        [DISK_CHUNK_SECTORS]; /* state of the file at which a dirty sector was last written */
    uint8_t state[DISK_CHUNK_SECTORS]; /* enum sector_state */
};

static const uint8_t zeros[DISK_CHUNK];

void disk_file_release(struct disk_file *file)
{
    for (int64_t i = 0; i < file->chunk_count; i++) {
        if (file->chunks[i] != NULL) {
            mem_free(file->chunks[i]->durable);
            mem_free(file->chunks[i]);
        }
    }
    mem_free(file->chunks);
    *file = (struct disk_file){0};
}

ptrdiff_t disk_file_read(const struct disk_file *file, void *buf, ptrdiff_t len, int64_t offset)
{
    if (offset >= file->size_bytes) {
        return 0;
    }
    ptrdiff_t total = file->size_bytes - offset < len ? file->size_bytes - offset : len;
    uint8_t *out = buf;
    for (ptrdiff_t done = 0; done < total;) {
        int64_t at = offset + done;
        ptrdiff_t in_chunk = at % DISK_CHUNK;
        ptrdiff_t n = DISK_CHUNK - in_chunk < total - done ? DISK_CHUNK - in_chunk : total - done;
        int64_t index = at / DISK_CHUNK;
        const struct disk_chunk *chunk = index < file->chunk_count ? file->chunks[index] : NULL;
        memcpy(out + done, chunk != NULL ? chunk->live + in_chunk : zeros, (size_t)n);
        done += n;
    }
    return total;
}

static struct disk_chunk *chunk_at(struct disk_file *file, int64_t index)
{
    if (index >= file->chunk_count) {
        int64_t count = file->chunk_count > 0 ? file->chunk_count : 4;
        while (count <= index) {
            count *= 2;
        }
        file->chunks = mem_resize(file->chunks, count, (ptrdiff_t)sizeof(struct disk_chunk *));
        memset(file->chunks + file->chunk_count, 0,
               (size_t)(count - file->chunk_count) * sizeof(struct disk_chunk *));
        file->chunk_count = count;
    }
    if (file->chunks[index] == NULL) {
        file->chunks[index] = MEM_NEW(struct disk_chunk);
    }
    return file->chunks[index];
}

/* What a sector holds now reaches the disk. */
static void flush_sector(struct disk_chunk *chunk, int sector)
{
    ptrdiff_t at = (ptrdiff_t)sector * DISK_SECTOR;
    memcpy(chunk->durable + at, chunk->live + at, DISK_SECTOR);
}

/* Before a sector is changed: keeps what is durable apart, and decides whether the change before this one reached the
 * disk. It must have if a sync in flight was submitted after it (D1): the sync will find only the newer bytes. */
static void dirty_sector(struct disk_file *file, struct disk_chunk *chunk, int sector,
                         struct rng *rng)
{
    if (chunk->durable == NULL) {
        chunk->durable = mem_new(1, DISK_CHUNK);
        memcpy(chunk->durable, chunk->live, DISK_CHUNK);
    }
    bool promised = file->syncs_in_flight > 0 && chunk->written[sector] <= file->sync_mark;
    bool dirty = chunk->state[sector] == SECTOR_DIRTY;
    if (chunk->state[sector] == SECTOR_CLEAN || (dirty && (promised || rng_chance(rng, 0.25)))) {
        flush_sector(chunk, sector);
    }
    chunk->state[sector] = SECTOR_DIRTY;
    chunk->written[sector] = file->writes;
}

static bool all_zero(const uint8_t *bytes, ptrdiff_t len)
{
    return len == 0 || memcmp(bytes, zeros, (size_t)len) == 0;
}

/* Writes within one chunk. */
static void write_chunk(struct disk_file *file, int64_t index, ptrdiff_t in_chunk, ptrdiff_t n,
                        const uint8_t *bytes, struct rng *rng)
{
    bool absent = index >= file->chunk_count || file->chunks[index] == NULL;
    if (absent && all_zero(bytes, n)) {
        return; /* zeros over zeros: whatever is kept is the same */
    }
    struct disk_chunk *chunk = chunk_at(file, index);
    for (int s = (int)(in_chunk / DISK_SECTOR); s <= (int)((in_chunk + n - 1) / DISK_SECTOR); s++) {
        dirty_sector(file, chunk, s, rng);
    }
    memcpy(chunk->live + in_chunk, bytes, (size_t)n);
}

void disk_file_write(struct disk_file *file, const void *buf, ptrdiff_t len, int64_t offset,
                     struct rng *rng)
{
    CHECK(len >= 0 && offset >= 0);
    const uint8_t *bytes = buf;
    file->writes++;
    for (ptrdiff_t done = 0; done < len;) {
        int64_t at = offset + done;
        ptrdiff_t in_chunk = at % DISK_CHUNK;
        ptrdiff_t n = DISK_CHUNK - in_chunk < len - done ? DISK_CHUNK - in_chunk : len - done;
        write_chunk(file, at / DISK_CHUNK, in_chunk, n, bytes + done, rng);
        done += n;
    }
    if (len > 0 && offset + len > file->size_bytes) {
        file->size_bytes = offset + len;
    }
}

void disk_file_truncate(struct disk_file *file, int64_t size_bytes, struct rng *rng)
{
    CHECK(size_bytes >= 0);
    file->writes++;
    /* What lay behind the new end reads as zeros if the file grows again. */
    for (int64_t at = size_bytes; at < file->size_bytes;) {
        int64_t index = at / DISK_CHUNK;
        ptrdiff_t in_chunk = at % DISK_CHUNK;
        if (index >= file->chunk_count) {
            break;
        }
        if (file->chunks[index] != NULL) {
            write_chunk(file, index, in_chunk, DISK_CHUNK - in_chunk, zeros, rng);
        }
        at += DISK_CHUNK - in_chunk;
    }
    file->size_bytes = size_bytes;
}

uint64_t disk_file_sync_begin(struct disk_file *file)
{
    file->syncs_in_flight++;
    file->sync_mark = file->writes;
    return file->writes;
}

/* Gives the copy of the durable back when nothing differs from it. */
static void tidy_chunk(struct disk_chunk *chunk)
{
    for (int s = 0; s < DISK_CHUNK_SECTORS; s++) {
        if (chunk->state[s] != SECTOR_CLEAN) {
            return;
        }
    }
    mem_free(chunk->durable);
    chunk->durable = NULL;
}

void disk_file_sync_end(struct disk_file *file, uint64_t mark, int64_t size_bytes)
{
    file->syncs_in_flight--;
    if (mark >= file->durable_mark) {
        file->durable_mark = mark;
        file->durable_size_bytes = size_bytes;
    }
    for (int64_t i = 0; i < file->chunk_count; i++) {
        struct disk_chunk *chunk = file->chunks[i];
        if (chunk == NULL || chunk->durable == NULL) {
            continue;
        }
        for (int s = 0; s < DISK_CHUNK_SECTORS; s++) {
            if (chunk->state[s] == SECTOR_DIRTY && chunk->written[s] <= mark) {
                flush_sector(chunk, s);
                chunk->state[s] = SECTOR_CLEAN;
            }
        }
        tidy_chunk(chunk);
    }
}

/* Half of what the sync should have saved is saved, the rest is dropped. */
static void fail_chunk(struct disk_chunk *chunk, uint64_t mark, struct rng *rng)
{
    for (int s = 0; s < DISK_CHUNK_SECTORS; s++) {
        if (chunk->state[s] == SECTOR_DIRTY && chunk->written[s] <= mark) {
            bool saved = rng_chance(rng, 0.5);
            chunk->state[s] = saved ? SECTOR_CLEAN : SECTOR_LOST;
            if (saved) {
                flush_sector(chunk, s);
            }
        }
    }
    tidy_chunk(chunk);
}

void disk_file_sync_fail(struct disk_file *file, uint64_t mark, struct rng *rng)
{
    file->syncs_in_flight--;
    for (int64_t i = 0; i < file->chunk_count; i++) {
        if (file->chunks[i] != NULL && file->chunks[i]->durable != NULL) {
            fail_chunk(file->chunks[i], mark, rng);
        }
    }
}

/* Sizes go as sectors do: the old one, the new one, or one between. */
static int64_t draw_size(const struct disk_file *file, struct rng *rng)
{
    int64_t low = file->size_bytes;
    int64_t high = file->durable_size_bytes;
    switch (rng_below(rng, 3)) {
    case 0:
        return low;
    case 1:
        return high;
    default:
        return low < high ? rng_range(rng, low, high) : rng_range(rng, high, low);
    }
}

void disk_file_power_cut(struct disk_file *file, struct rng *rng)
{
    int64_t size_bytes = draw_size(file, rng);
    /* All kept, none kept, or a mixture: the extremes would be rare if every sector were tossed alike. */
    double keep = rng_chance(rng, 0.2) ? 1.0 : rng_chance(rng, 0.25) ? 0.0 : rng_unit(rng);
    for (int64_t i = 0; i < file->chunk_count; i++) {
        struct disk_chunk *chunk = file->chunks[i];
        for (int s = 0; chunk != NULL && s < DISK_CHUNK_SECTORS; s++) {
            ptrdiff_t at = (ptrdiff_t)s * DISK_SECTOR;
            bool kept = chunk->state[s] == SECTOR_DIRTY && rng_chance(rng, keep);
            if (chunk->state[s] != SECTOR_CLEAN && !kept) {
                memcpy(chunk->live + at, chunk->durable + at, DISK_SECTOR);
            }
            chunk->state[s] = SECTOR_CLEAN;
        }
        if (chunk != NULL) {
            tidy_chunk(chunk);
        }
    }
    /* The rest of the device behind the end is nobody's: it reads as zeros if the file grows. */
    int64_t live_bytes = file->chunk_count * DISK_CHUNK;
    for (int64_t at = size_bytes; at < live_bytes; at += DISK_CHUNK - at % DISK_CHUNK) {
        struct disk_chunk *chunk = file->chunks[at / DISK_CHUNK];
        if (chunk != NULL) {
            memset(chunk->live + at % DISK_CHUNK, 0, (size_t)(DISK_CHUNK - at % DISK_CHUNK));
        }
    }
    file->size_bytes = size_bytes;
    file->durable_size_bytes = size_bytes;
    file->syncs_in_flight = 0;
}

void disk_file_corrupt(struct disk_file *file, int64_t offset, int64_t len)
{
    for (int64_t at = offset; at < offset + len && at < file->size_bytes; at++) {
        struct disk_chunk *chunk = chunk_at(file, at / DISK_CHUNK);
        chunk->live[at % DISK_CHUNK] ^= 0x10;
        if (chunk->durable != NULL) {
            chunk->durable[at % DISK_CHUNK] ^= 0x10;
        }
    }
}
