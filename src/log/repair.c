// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "log/catalog.h"
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

/* What the journal says of the shards: as of its first snapshot, or after all its frames. */
struct known {
    struct shard_table shards;
    struct catalog catalog;
};

static struct known *known_new(void)
{
    struct known *known = MEM_NEW(struct known);
    catalog_init(&known->catalog, &known->shards);
    return known;
}

static void known_free(struct known *known)
{
    catalog_release(&known->catalog);
    shard_table_release(&known->shards);
    mem_free(known);
}

/* As recovery does it, without a write. False: it does not fit what came before. */
static bool know_frame(struct known *known, const struct frame_header *header, const uint8_t *bytes)
{
    const uint8_t *entries = bytes + JOURNAL_HEADER;
    const uint8_t *data = entries + header->entries_bytes;
    struct wire_in in = {.at = entries, .end = data};
    struct wire_in body;
    uint32_t kind = 0;
    bool fits = true;
    while (fits && entry_next(&in, &kind, &body)) {
        if (kind != ENTRY_BATCH) {
            fits = catalog_apply(&known->catalog, kind, body) == ERR_OK;
            continue;
        }
        struct batch_entry entry = {0};
        struct shard *shard = NULL;
        struct place place = {0};
        fits = batch_entry_get(body, &entry) == ERR_OK &&
               catalog_apply_batch(&known->catalog, &entry, data, header->time_ms, &shard,
                                   &place) == ERR_OK;
        data += entry.bytes;
    }
    return fits;
}

/* The frames of one segment; of its snapshot only if it is the `first`. */
static enum err know_segment(struct frame_reader *reader, const struct scanned_segment *segment,
                             bool first, struct known *known, bool *ret_fits, struct err_info *info)
{
    enum err err = ERR_OK;
    for (int64_t at = 0; err == ERR_OK && *ret_fits && at < segment->end;) {
        struct frame_header header = {0};
        enum frame_verdict verdict = FRAME_BAD;
        err = frame_read(reader, at, &verdict, &header, info);
        *ret_fits = err == ERR_OK && verdict == FRAME_GOOD;
        if (*ret_fits && (header.kind == JOURNAL_GROUP || first)) {
            *ret_fits = know_frame(known, &header, reader->buf);
        }
        first = false;
        at += frame_total(&header);
    }
    return err;
}

/* `all`: all frames, else the first snapshot alone, below whose ends all bytes of shards were synced. */
static enum err know(const struct fs *fs, const struct journal_scan *scan, bool all,
                     struct known *known, bool *ret_fits, struct err_info *info)
{
    struct frame_reader reader = {.file = {-1}};
    enum err err = ERR_OK;
    *ret_fits = true;
    for (int32_t i = scan->first_good; err == ERR_OK && i <= scan->last_good; i++) {
        struct scanned_segment segment = scan->segments[i];
        if (!segment.good || (!all && i > scan->first_good)) {
            continue;
        }
        segment.end = all ? segment.end : 1;
        err = frame_reader_open(&reader, fs, segment.number, info);
        if (err == ERR_OK) {
            err = know_segment(&reader, &segment, i == scan->first_good, known, ret_fits, info);
            frame_reader_close(&reader);
        }
    }
    frame_reader_release(&reader);
    return err;
}

/* A segment, and what should be in it. */
struct wanted {
    uint32_t shard;
    int64_t base;
    int64_t end;    /* where the next one begins; the newest: where the shard ends, -1: not known */
    int64_t synced; /* so many bytes at least, unless it is whole: the journal does not have them */
    int64_t most;   /* and not more than that */
    bool newest;
};

static enum err size_of(const struct fs *fs, const char *path, int64_t *ret_size,
                        struct err_info *info)
{
    struct fs_file file = {-1};
    enum err err = fs_open(fs, path, FS_O_READ, &file, info);
    if (err == ERR_OK) {
        err = fs_size(fs, file, ret_size, info);
        fs_close(fs, file);
    }
    return err;
}

/* Checks every batch of one segment. */
static enum err show_segment(const struct fs *fs, struct text_out *out, const struct wanted *wanted,
                             struct shard_sum *sum, struct err_info *info)
{
    char path[SHARD_PATH_MAX];
    segment_path(path, wanted->shard, wanted->base);
    struct segment_walk walk = {.fs = fs,
                                .path = path,
                                .expected = wanted->base,
                                .end_offset = wanted->end < 0 ? INT64_MAX : wanted->end,
                                .bytes_max = INT64_MAX};
    int64_t position = 0;
    int64_t offset = wanted->base;
    int64_t size = 0;
    bool whole = false;
    enum err err = segment_walk(&walk, &position, &offset, &whole, info);
    err = err == ERR_OK ? size_of(fs, path, &size, info) : err;
    bool missing = err == ERR_NOT_FOUND;
    if (err != ERR_OK && !missing) {
        return err;
    }
    sum->segments += !missing;
    sum->bytes += position;
    if (position < wanted->synced && offset != wanted->end) {
        sum->damaged++;
        put(out,
            "  %s: %s at byte %lld (offset %lld); its shard is refused once that is read. "
            "Bring the file back from a copy: a repair would lose offsets %lld to %lld\n",
            path, missing ? "missing" : "corrupt", (long long)position, (long long)offset,
            (long long)offset, (long long)wanted->end - 1);
    } else if (size > wanted->most) {
        sum->damaged++;
        put(out,
            "  %s: has %lld bytes, the journal knows of %lld: frames that were acknowledged are "
            "missing from log/journal, and a start is refused. Bring that back from a copy\n",
            path, (long long)size, (long long)wanted->most);
    } else if (wanted->newest && !missing && !whole) {
        put(out,
            "  %s: good up to byte %lld (offset %lld); what follows is written again from the "
            "journal at the next start, or refused\n",
            path, (long long)position, (long long)offset);
    }
    return ERR_OK;
}

/* Bytes of a segment that were synced when the journal's first snapshot was taken. */
static int64_t synced_bytes(const struct known *first, uint32_t id, int64_t base)
{
    const struct shard *shard = shard_get(&first->shards, id);
    int32_t index = shard != NULL ? segment_find(&shard->segments, base) : -1;
    const struct segment *segment = index >= 0 ? segment_at(&shard->segments, index) : NULL;
    return segment != NULL && segment->base_offset == base ? segment->bytes : 0;
}

/* `exact`: a shard's file has no byte that the journal does not know of. */
static enum err show_known_shard(const struct fs *fs, struct text_out *out,
                                 const struct known *first, const struct shard *shard, bool exact,
                                 struct shard_sum *sum, struct err_info *info)
{
    int32_t count = atomic_load(&shard->segments.count);
    enum err err = ERR_OK;
    for (int32_t i = atomic_load(&shard->segments.first); err == ERR_OK && i < count; i++) {
        const struct segment *segment = segment_at(&shard->segments, i);
        bool newest = i + 1 == count;
        struct wanted wanted = {.shard = shard->id,
                                .base = segment->base_offset,
                                .end = newest ? shard->next_offset
                                              : segment_at(&shard->segments, i + 1)->base_offset,
                                .synced = synced_bytes(first, shard->id, segment->base_offset),
                                .most = newest && exact ? segment->bytes : INT64_MAX,
                                .newest = newest};
        err = show_segment(fs, out, &wanted, sum, info);
    }
    sum->shards++;
    return err;
}

/* The shards as the journal tells them. */
static enum err show_known(const struct fs *fs, struct text_out *out,
                           const struct journal_scan *scan, struct shard_sum *sum,
                           struct err_info *info)
{
    struct known *first = known_new();
    struct known *last = known_new();
    bool fits = true;
    bool exact = !scan->unsynced && scan->tail != TAIL_LOST;
    enum err err = know(fs, scan, false, first, &fits, info);
    err = err == ERR_OK && fits ? know(fs, scan, true, last, &fits, info) : err;
    if (err == ERR_OK && !fits) {
        sum->damaged++;
        put(out, "journal: corrupt, a frame does not fit what came before; a start is refused\n");
    }
    for (int32_t i = 0; err == ERR_OK && fits && i < last->catalog.stream_count; i++) {
        const struct stream_info *stream = last->catalog.streams[i];
        bool scratch = (stream->config.flags & STREAM_SCRATCH) != 0; /* gone at the next start */
        uint32_t shards = scratch ? 0 : (uint32_t)stream->config.shard_count;
        for (uint32_t k = 0; err == ERR_OK && k < shards; k++) {
            const struct shard *shard = shard_get(&last->shards, stream->first_shard.v + k);
            err = show_known_shard(fs, out, first, shard, exact, sum, info);
        }
    }
    known_free(first);
    known_free(last);
    return err;
}

/* A shard of which nothing but its folder is known. */
static enum err show_folder(const struct fs *fs, struct text_out *out, uint32_t shard,
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
        bool newest = i + 1 == count;
        struct wanted wanted = {.shard = shard,
                                .base = (int64_t)bases[i],
                                .end = newest ? -1 : (int64_t)bases[i + 1],
                                .synced = newest ? 0 : INT64_MAX,
                                .most = INT64_MAX,
                                .newest = newest};
        err = show_segment(fs, out, &wanted, sum, info);
    }
    mem_free(bases);
    sum->shards++;
    return err;
}

/* No journal tells of the shards: what is in them is shown, and if there are any a start is refused. */
static enum err show_folders(const struct fs *fs, struct text_out *out,
                             const struct journal_scan *scan, struct shard_sum *sum,
                             struct err_info *info)
{
    uint64_t *shards;
    int32_t count;
    enum err err = list_numbers(fs, "log/shards", 16, "", &shards, &count, info);
    if (err != ERR_OK) {
        return err;
    }
    for (int32_t i = 0; err == ERR_OK && i < count; i++) {
        err = show_folder(fs, out, (uint32_t)shards[i], sum, info);
    }
    mem_free(shards);
    if (count > 0 || scan->count > 1) {
        sum->damaged++;
        put(out, "journal: corrupt, no segment begins with a readable snapshot, but there was a "
                 "log; a start is refused. Bring log/journal back from a copy\n");
    }
    return err;
}

static enum err show_shards(const struct fs *fs, struct text_out *out,
                            const struct journal_scan *scan, struct shard_sum *sum,
                            struct err_info *info)
{
    enum err err = scan->last_good >= 0 ? show_known(fs, out, scan, sum, info)
                                        : show_folders(fs, out, scan, sum, info);
    if (err == ERR_OK) {
        put(out, "shards: %d\n  %d segments, %lld bytes checked, %d corrupt\n", sum->shards,
            sum->segments, (long long)sum->bytes, sum->damaged);
    }
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
    struct shard_sum sum = {0};
    err = show_shards(fs, &out, &scan, &sum, info);
    journal_scan_release(&scan);
    if (err == ERR_OK) {
        *ret_sound = sound && sum.damaged == 0;
        put(&out, "%s\n", *ret_sound ? "nothing to repair" : "damaged: see above");
    }
    return err;
}
