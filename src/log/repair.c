// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "log/embedded.h"
#include "log/scan.h"
#include "log/segment.h"

/* Text that is cut where the buffer ends. */
struct text_out {
    char *buf;
    ptrdiff_t cap, len;
};

static void put(struct text_out *out, const char *fmt, ...) ATTR_PRINTF(2, 3);
static void put(struct text_out *out, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(out->buf + out->len, (size_t)(out->cap - out->len), fmt, args);
    va_end(args);
    out->len += len < out->cap - out->len ? len : out->cap - out->len - 1;
}

static void show_journal(struct text_out *out, const struct journal_scan *scan)
{
    put(out, "journal: %d segments\n", scan->count);
    for (int32_t i = 0; i < scan->count; i++) {
        const struct scanned_segment *segment = &scan->segments[i];
        if (segment->good) {
            put(out, "  %016llx: frames %llu..%llu, good up to byte %lld of %lld%s\n",
                (unsigned long long)segment->number, (unsigned long long)segment->first_frame,
                (unsigned long long)segment->last_frame, (long long)segment->end,
                (long long)segment->bytes, segment->damaged ? ", then damage" : "");
        } else {
            put(out, "  %016llx: no readable snapshot%s\n", (unsigned long long)segment->number,
                segment->damaged ? "" : " (never used)");
        }
    }
    char text[512];
    journal_scan_tell(scan, text, sizeof(text));
    switch (scan->tail) {
    case TAIL_CLEAN:
        break;
    case TAIL_TORN:
    case TAIL_LOST:
        put(out, "%s\nthe next start cuts %lld bytes there\n", text, (long long)scan->tail_bytes);
        break;
    case TAIL_CORRUPT:
        put(out,
            "%s\na repair would cut %lld bytes from there on: every append and commit in them would "
            "be lost, and everything behind them\n",
            text, (long long)scan->tail_bytes);
        break;
    }
}

/* --- shards --- */

static int by_number(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The numbers that files of a folder have for names, sorted; the caller frees. */
static enum err list_numbers(const struct fs *fs, const char *path, int base, const char *suffix,
                             uint64_t **ret_numbers, int32_t *ret_count, struct err_info *info)
{
    char *names;
    ptrdiff_t bytes;
    enum err err = list_folder(fs, path, &names, &bytes, info);
    if (err != ERR_OK) {
        return err;
    }
    uint64_t *numbers = MEM_NEW_ARRAY(uint64_t, bytes / 2 + 1);
    int32_t count = 0;
    for (ptrdiff_t at = 0; at < bytes; at += (ptrdiff_t)strlen(names + at) + 1) {
        count += parse_name(names + at, base, suffix, &numbers[count]);
    }
    mem_free(names);
    qsort(numbers, (size_t)count, sizeof *numbers, by_number);
    *ret_numbers = numbers;
    *ret_count = count;
    return ERR_OK;
}

struct shard_sum {
    int32_t shards, segments, damaged;
    int64_t bytes;
};

/* Checks every batch of one segment; `next_base` is where the next one begins, -1: this is the shard's newest. */
static enum err show_segment(const struct fs *fs, struct text_out *out, uint32_t shard,
                             int64_t base, int64_t next_base, struct shard_sum *sum,
                             struct err_info *info)
{
    char path[SHARD_PATH_MAX];
    segment_path(path, shard, base);
    struct segment_walk walk = {.fs = fs,
                                .path = path,
                                .expected = base,
                                .end_offset = next_base < 0 ? INT64_MAX : next_base,
                                .bytes_max = INT64_MAX};
    int64_t position = 0;
    int64_t offset = base;
    bool whole = false;
    enum err err = segment_walk(&walk, &position, &offset, &whole, info);
    if (err == ERR_NOT_FOUND) {
        return ERR_OK;
    }
    if (err != ERR_OK) {
        return err;
    }
    sum->segments++;
    sum->bytes += position;
    if (next_base < 0 && !whole) {
        put(out,
            "  %s: good up to byte %lld (offset %lld); what follows is written again from the "
            "journal at the next start, or refused\n",
            path, (long long)position, (long long)offset);
    } else if (next_base >= 0 && offset != next_base) {
        sum->damaged++;
        put(out,
            "  %s: corrupt at byte %lld (offset %lld); its shard is refused once that is read. "
            "Bring the file back from a copy: a repair would lose offsets %lld to %lld\n",
            path, (long long)position, (long long)offset, (long long)offset,
            (long long)next_base - 1);
    }
    return ERR_OK;
}

static enum err show_shard(const struct fs *fs, struct text_out *out, uint32_t shard,
                           struct shard_sum *sum, struct err_info *info)
{
    char path[SHARD_PATH_MAX];
    shard_folder_path(path, shard);
    uint64_t *bases;
    int32_t count;
    enum err err = list_numbers(fs, path, 10, ".seg", &bases, &count, info);
    if (err != ERR_OK) {
        return err;
    }
    for (int32_t i = 0; err == ERR_OK && i < count; i++) {
        int64_t next = i + 1 < count ? (int64_t)bases[i + 1] : -1;
        err = show_segment(fs, out, shard, (int64_t)bases[i], next, sum, info);
    }
    mem_free(bases);
    sum->shards++;
    return err;
}

static enum err show_shards(const struct fs *fs, struct text_out *out, struct shard_sum *sum,
                            struct err_info *info)
{
    uint64_t *shards;
    int32_t count;
    enum err err = list_numbers(fs, "log/shards", 16, "", &shards, &count, info);
    if (err != ERR_OK) {
        return err;
    }
    put(out, "shards: %d\n", count);
    for (int32_t i = 0; err == ERR_OK && i < count; i++) {
        err = show_shard(fs, out, (uint32_t)shards[i], sum, info);
    }
    mem_free(shards);
    put(out, "  %d segments, %lld bytes checked, %d corrupt\n", sum->segments,
        (long long)sum->bytes, sum->damaged);
    return err;
}

enum err log_embedded_repair_show(const struct fs *fs, char *buf, ptrdiff_t cap, bool *ret_sound,
                                  struct err_info *info)
{
    if (cap < 1) {
        return err_set(info, ERR_INVALID, "no room for text");
    }
    struct journal_scan scan;
    enum err err = journal_scan(fs, false, &scan, info);
    if (err != ERR_OK) {
        return err;
    }
    struct text_out out = {.buf = buf, .cap = cap};
    buf[0] = 0;
    show_journal(&out, &scan);
    bool sound = scan.tail != TAIL_CORRUPT;
    journal_scan_release(&scan);
    struct shard_sum sum = {0};
    err = show_shards(fs, &out, &sum, info);
    if (err == ERR_OK) {
        *ret_sound = sound && sum.damaged == 0;
        put(&out, "%s\n", *ret_sound ? "nothing to repair" : "damaged: see above");
    }
    return err;
}
