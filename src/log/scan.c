// SPDX-License-Identifier: Apache-2.0
#include "log/scan.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

enum { LIST_BYTES_MIN = 16 << 10, LIST_BYTES_MAX = 256 << 20 };

enum err list_folder(const struct fs *fs, const char *path, char **ret_names, ptrdiff_t *ret_bytes,
                     struct err_info *info)
{
    for (ptrdiff_t cap = LIST_BYTES_MIN; cap <= LIST_BYTES_MAX; cap *= 4) {
        char *names = mem_new(cap + 1, 1);
        struct err_info why = {0};
        ptrdiff_t bytes = 0;
        enum err err = fs_list(fs, path, names, cap, &bytes, &why);
        if (err == ERR_OK || err == ERR_NOT_FOUND) {
            *ret_names = names;
            *ret_bytes = err == ERR_OK ? bytes : 0;
            return ERR_OK;
        }
        mem_free(names);
        if (err != ERR_LIMIT) {
            if (info != NULL) {
                *info = why;
            }
            return err;
        }
    }
    return err_set(info, ERR_LIMIT, "the folder %s has too many names", path);
}

bool parse_name(const char *text, int base, const char *suffix, uint64_t *ret_number)
{
    char *end = NULL;
    if (text[0] < '0' || (text[0] > '9' && (text[0] < 'a' || text[0] > 'f'))) {
        return false;
    }
    unsigned long long number = strtoull(text, &end, base);
    if (end == text || strcmp(end, suffix) != 0) {
        return false;
    }
    *ret_number = number;
    return true;
}

static int by_number(const void *a, const void *b)
{
    const struct scanned_segment *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

static enum err list_segments(const struct fs *fs, struct journal_scan *scan, struct err_info *info)
{
    char *names = NULL;
    ptrdiff_t bytes = 0;
    enum err err = list_folder(fs, "log/journal", &names, &bytes, info);
    if (err != ERR_OK) {
        return err;
    }
    scan->segments = MEM_NEW_ARRAY(struct scanned_segment, bytes / 4 + 1);
    for (const char *name = names; name < names + bytes; name += strlen(name) + 1) {
        uint64_t number = 0;
        if (parse_name(name, 16, ".j", &number)) {
            scan->segments[scan->count++].number = number;
        }
    }
    mem_free(names);
    qsort(scan->segments, (size_t)scan->count, sizeof(*scan->segments), by_number);
    return ERR_OK;
}

/* What the first thing that is no good frame of the last good segment, or of one behind it, amounts to. */
struct tail_finding {
    int damaged;  /* places with something that is not zero and no good frame */
    bool torn;    /* the one place looks torn */
    bool follows; /* a valid frame stands behind a bad one */
};

static void note_damage(struct journal_scan *scan, struct tail_finding *tail, uint64_t segment,
                        int64_t offset, int64_t bytes)
{
    if (tail->damaged == 0) {
        scan->bad_segment = segment;
        scan->bad_offset = offset;
        scan->tail_bytes = bytes;
    }
    tail->damaged++;
}

/* Reads the frames of one segment. `*verdict` is what ended them. */
static enum err scan_frames(struct journal_scan *scan, struct scanned_segment *segment,
                            struct frame_reader *reader, enum frame_verdict *verdict,
                            struct err_info *info)
{
    enum err err = ERR_OK;
    for (;;) {
        struct frame_header header = {0};
        err = frame_read(reader, segment->end, verdict, &header, info);
        if (err != ERR_OK || *verdict != FRAME_GOOD) {
            return err;
        }
        bool first = segment->end == 0;
        bool fits =
            header.segment == segment->number &&
            (first ? header.kind == JOURNAL_SNAPSHOT
                   : header.kind == JOURNAL_GROUP && header.number == segment->last_frame + 1);
        if (!fits) {
            *verdict = FRAME_BAD;
            return ERR_OK;
        }
        if (first) {
            segment->good = true;
            segment->first_frame = header.number;
            segment->made_bytes = header.segment_bytes;
            segment->open = (header.flags & JOURNAL_FLAG_OPEN) != 0;
        }
        reader->store = header.store;
        scan->store = header.store;
        scan->flags = header.flags;
        scan->unsynced = scan->unsynced || (header.flags & JOURNAL_FLAG_UNSYNCED) != 0;
        segment->last_frame = header.number;
        segment->last_at = segment->end;
        segment->end += frame_total(&header);
    }
}

/* A file that no crash leaves: segments are made whole, and synced, before they get their names. */
static bool is_shorter(const struct scanned_segment *segment)
{
    return segment->bytes < (segment->good ? segment->made_bytes : JOURNAL_SECTOR);
}

static bool follows_last_good(const struct journal_scan *scan,
                              const struct scanned_segment *segment)
{
    return scan->last_good >= 0 &&
           scan->segments[scan->last_good].last_frame + 1 == segment->first_frame;
}

/* A segment that was begun before the one before it was durable, and does not follow on what there is of that one, is in the
 * loss window with all its frames: its snapshot tells of shards' bytes that no frame and no sync has put there. */
static enum err scan_segment(const struct fs *fs, struct journal_scan *scan, int32_t index,
                             struct frame_reader *reader, struct tail_finding *tail,
                             struct err_info *info)
{
    struct scanned_segment *segment = &scan->segments[index];
    enum err err = frame_reader_open(reader, fs, segment->number, info);
    if (err != ERR_OK) {
        return err;
    }
    segment->bytes = reader->size;
    enum frame_verdict verdict = FRAME_END;
    bool zero = true;
    uint64_t higher = 0;
    err = scan_frames(scan, segment, reader, &verdict, info);
    bool last = index == scan->count - 1;
    if (err == ERR_OK && (last || verdict != FRAME_END || !segment->good)) {
        err = frame_search(reader, segment->end, &zero, &higher, info);
    }
    if (err == ERR_OK && verdict == FRAME_HEADLESS) { /* a killed process' beginning of a frame? */
        bool alone = false;
        uint64_t number = 0;
        err = frame_search(reader, segment->end + JOURNAL_SECTOR, &alone, &number, info);
        verdict = alone ? FRAME_SHORT : FRAME_BAD;
    }
    frame_reader_close(reader);
    if (err != ERR_OK) {
        return err;
    }
    bool follows = follows_last_good(scan, segment);
    if (segment->good && !follows && segment->open && scan->last_good >= 0) {
        segment->good = zero = false;
        higher = segment->last_frame;
        segment->end = 0;
    }
    if (segment->good) { /* what was wrong before a good snapshot is past */
        *tail = (struct tail_finding){0};
        if (!follows) { /* its snapshot takes over, and nothing before it is touched */
            scan->gap = scan->first_good >= 0;
            scan->first_good = index;
        }
        scan->last_good = index;
    }
    segment->damaged = !zero;
    bool shorter = is_shorter(segment);
    if (!zero || shorter) {
        int64_t bytes = segment->made_bytes > segment->bytes ? segment->made_bytes : segment->bytes;
        note_damage(scan, tail, segment->number, segment->end, bytes - segment->end);
        tail->torn = !shorter && (verdict == FRAME_SHORT || verdict == FRAME_END);
        tail->follows = tail->follows || higher > 0;
    }
    return ERR_OK;
}

/* Segments of zeros behind the last good one were made ready and not used yet: so that one's end is the journal's, and what
 * stands behind it is looked for as in a last segment. */
static enum err scan_last_good(const struct fs *fs, struct journal_scan *scan,
                               struct frame_reader *reader, struct tail_finding *tail,
                               struct err_info *info)
{
    struct scanned_segment *segment =
        scan->last_good >= 0 ? &scan->segments[scan->last_good] : NULL;
    if (segment == NULL || scan->last_good == scan->count - 1 || segment->damaged) {
        return ERR_OK;
    }
    bool zero = true;
    uint64_t higher = 0;
    enum err err = frame_reader_open(reader, fs, segment->number, info);
    if (err != ERR_OK) {
        return err;
    }
    err = frame_search(reader, segment->end, &zero, &higher, info);
    frame_reader_close(reader);
    segment->damaged = !zero;
    if (err == ERR_OK && !zero) {
        note_damage(scan, tail, segment->number, segment->end, segment->bytes - segment->end);
        tail->torn = tail->damaged == 1;
        tail->follows = tail->follows || higher > 0;
    }
    return err;
}

enum err journal_scan(const struct fs *fs, bool unsynced, struct journal_scan *ret_scan,
                      struct err_info *info)
{
    struct journal_scan scan = {.first_good = -1, .last_good = -1};
    struct frame_reader reader = {.file = {-1}};
    struct tail_finding tail = {0};
    enum err err = list_segments(fs, &scan, info);
    for (int32_t i = 0; err == ERR_OK && i < scan.count; i++) {
        err = scan_segment(fs, &scan, i, &reader, &tail, info);
    }
    if (err == ERR_OK) {
        err = scan_last_good(fs, &scan, &reader, &tail, info);
    }
    frame_reader_release(&reader);
    if (err != ERR_OK) {
        journal_scan_release(&scan);
        return err;
    }
    if (tail.damaged > 0) {
        bool lossy = unsynced || (scan.flags & JOURNAL_FLAG_UNSYNCED) != 0;
        scan.tail = tail.damaged == 1 && tail.torn && !tail.follows ? TAIL_TORN : TAIL_CORRUPT;
        scan.tail = lossy ? TAIL_LOST : scan.tail;
    }
    *ret_scan = scan;
    return ERR_OK;
}

void journal_scan_release(struct journal_scan *scan)
{
    mem_free(scan->segments);
    *scan = (struct journal_scan){.first_good = -1, .last_good = -1};
}

void journal_scan_tell(const struct journal_scan *scan, char *text, ptrdiff_t cap)
{
    static const char *const what[] = {
        [TAIL_CLEAN] = "",
        [TAIL_TORN] = "its last frame was not written whole (it was never acknowledged) and is cut",
        [TAIL_LOST] = "what follows was in the loss window of the unsynced mode and is cut",
        [TAIL_CORRUPT] =
            "what follows is corrupt and may have been acknowledged; nothing is changed",
    };
    uint64_t last = scan->last_good >= 0 ? scan->segments[scan->last_good].last_frame : 0;
    text[0] = 0;
    if (scan->tail != TAIL_CLEAN) {
        IGNORE_RESULT(snprintf(text, (size_t)cap,
                               "journal segment %016llx, byte %lld, after frame %llu: %s",
                               (unsigned long long)scan->bad_segment, (long long)scan->bad_offset,
                               (unsigned long long)last, what[scan->tail])); /* may be cut */
    }
}
