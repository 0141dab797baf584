// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/planted.h"
#include "log/embedded_priv.h"
#include "log/removal.h"
#include "log/scan.h"

/* Recovery: scan the journal and judge its tail (scan.c), load the oldest snapshot, apply all frames, writing the shards'
 * tails again from them, cut the torn tail, sweep files that nothing refers to, look at the shards, begin a new journal
 * segment with a snapshot. A crash anywhere in here leaves what the next recovery can do again.
 *
 *   R1  Nothing is changed before the verdict on the tail; CORRUPT changes nothing at all.
 *   R2  A shard's bytes above the oldest snapshot's end are all in the journal, so they are written anew, whatever the
 *       file holds; bytes below it were synced before.
 *   R3  Where a frame before the last good snapshot is bad, the snapshot takes over; the shards are then checked. */

enum { VERIFY_BYTES = 16 << 20, FIRST_SEGMENT_BYTES = 1 << 20, SAVE_BYTES = 1 << 20 };

struct recovery {
    struct embedded *engine;
    struct journal_scan scan;
    struct log_recovery_report *report;
    bool gap; /* R3 */
    uint64_t last_frame;
    char first_problem[160]; /* of a shard */
};

/* All frames were synced before their batches went to the shards. */
static bool is_synced(const struct recovery *r)
{
    return !r->scan.unsynced && r->scan.tail != TAIL_LOST;
}

static void give_up_reserve(struct embedded *engine)
{
    IGNORE_RESULT(fs_unlink(engine->fs, RESERVE_PATH, NULL)); /* it may be gone already */
}

/* Whether the journal goes on in the middle of a segment that has no file. Retention or a deletion took it, and the frame
 * that says so comes later (if none does, check_shards finds it missing): it is not made again. */
static enum err look_for_tail(struct embedded *engine, struct shard *shard,
                              const struct place *place, bool *ret_absent, struct err_info *info)
{
    bool first = !shard->dirty || shard->dirty_base != place->segment_base;
    *ret_absent = shard->absent && shard->absent_base == place->segment_base;
    if (*ret_absent || !first || place->position == 0) {
        return ERR_OK;
    }
    char path[SHARD_PATH_MAX];
    struct fs_file file = {-1};
    segment_path(path, shard->id, place->segment_base);
    enum err err = fs_open(engine->fs, path, FS_O_READ, &file, info);
    if (err == ERR_NOT_FOUND) {
        shard->absent = true;
        shard->absent_base = place->segment_base;
        *ret_absent = true;
        return ERR_OK;
    }
    fs_close(engine->fs, file);
    return err;
}

/* Opens the segment. In the unsynced mode, brings it at its first touch to the length the journal goes on from; in the other
 * it holds nothing that the journal does not (check_beyond). */
static enum err open_tail(struct recovery *r, struct shard *shard, const struct place *place,
                          struct err_info *info)
{
    struct embedded *engine = r->engine;
    bool first = !shard->dirty || shard->dirty_base != place->segment_base;
    enum err err = committer_open_shard(engine, shard, place->segment_base, info);
    if (err != ERR_OK || !first) {
        return err;
    }
    int64_t size = 0;
    err = fs_size(engine->fs, shard->file, &size, info);
    if (err != ERR_OK) {
        return err;
    }
    if (size < place->position) {
        char path[SHARD_PATH_MAX];
        segment_path(path, shard->id, place->segment_base);
        /* Whichever segment it is, what comes behind is not written either. */
        shard_set_problem(shard, INT64_MAX, ERR_CORRUPT,
                          "segment %s has %lld bytes, %lld were synced", path, (long long)size,
                          (long long)place->position);
        return ERR_OK;
    }
    committer_dirty_add(&engine->committer, shard, place->segment_base, true);
    return size > place->position && !is_synced(r)
               ? fs_truncate(engine->fs, shard->file, place->position, info)
               : ERR_OK;
}

static enum err write_batch(struct recovery *r, struct shard *shard, const struct place *place,
                            const struct batch_entry *entry, const uint8_t *bytes,
                            struct err_info *info)
{
    struct embedded *engine = r->engine;
    if (shard_health(shard) != ERR_OK) {
        return ERR_OK;
    }
    bool absent = false;
    enum err err = look_for_tail(engine, shard, place, &absent, info);
    if (err != ERR_OK || absent) {
        return err;
    }
    err = open_tail(r, shard, place, info);
    if (err == ERR_OK && shard_health(shard) == ERR_OK) {
        err = fs_write(engine->fs, shard->file, bytes, (ptrdiff_t)entry->bytes, place->position,
                       info);
        if (err == ERR_NO_SPACE) {
            give_up_reserve(engine);
            err = fs_write(engine->fs, shard->file, bytes, (ptrdiff_t)entry->bytes, place->position,
                           info);
        }
        if (err == ERR_OK && place->index) {
            committer_write_index(engine, shard, place, entry->base_offset);
        }
    }
    return err;
}

/* A batch into the catalog and its shard's file. `*ret_fits` false: it does not fit what came before. */
static enum err apply_batch(struct recovery *r, const struct frame_header *header,
                            struct wire_in body, const uint8_t **data, bool *ret_fits,
                            struct err_info *info)
{
    struct batch_entry entry;
    struct shard *shard = NULL;
    struct place place = {0};
    *ret_fits = batch_entry_get(body, &entry) == ERR_OK &&
                catalog_apply_batch(&r->engine->catalog, &entry, *data, header->time_ms, &shard,
                                    &place) == ERR_OK;
    if (!*ret_fits) {
        return ERR_OK;
    }
    const uint8_t *bytes = *data;
    *data += entry.bytes;
    return shard != NULL ? write_batch(r, shard, &place, &entry, bytes, info) : ERR_OK;
}

static enum err apply_frame(struct recovery *r, const struct frame_header *header,
                            const uint8_t *bytes, struct err_info *info)
{
    struct embedded *engine = r->engine;
    const uint8_t *entries = bytes + JOURNAL_HEADER, *data = entries + header->entries_bytes;
    struct wire_in in = {.at = entries, .end = data}, body;
    uint32_t kind = 0;
    engine->committer.time_ms =
        header->time_ms > engine->committer.time_ms ? header->time_ms : engine->committer.time_ms;
    while (entry_next(&in, &kind, &body)) {
        enum err err = ERR_OK;
        bool fits = true;
        if (kind == ENTRY_BATCH) {
            err = apply_batch(r, header, body, &data, &fits, info);
        } else {
            fits = catalog_apply(&engine->catalog, kind, body) == ERR_OK;
        }
        if (err != ERR_OK) {
            return err;
        }
        if (!fits) {
            return err_set(info, ERR_CORRUPT,
                           "frame %llu of journal segment %016llx has an entry of kind %u that "
                           "does not fit what came before",
                           (unsigned long long)header->number, (unsigned long long)header->segment,
                           kind);
        }
    }
    return ERR_OK;
}

static void forget_everything(struct embedded *engine)
{
    struct committer *c = &engine->committer;
    while (c->lru_newest != NULL) {
        struct shard *shard = c->lru_newest;
        c->lru_newest = shard->lru_older;
        fs_close(engine->fs, shard->file);
    }
    c->lru_oldest = NULL;
    c->open_files = 0;
    catalog_release(&engine->catalog);
    shard_table_release(&engine->shards);
    catalog_init(&engine->catalog, &engine->shards);
    engine->catalog.now_ns = c->now_ns;
}

static enum err apply_segment(struct recovery *r, const struct scanned_segment *segment,
                              struct frame_reader *reader, struct err_info *info)
{
    enum err err = frame_reader_open(reader, r->engine->fs, segment->number, info);
    if (err != ERR_OK) {
        return err;
    }
    const bool last = PLANTED(CUT_AT_WRONG_END) && r->scan.segments + r->scan.last_good == segment;
    const int64_t end = last && segment->last_at > 0 ? segment->last_at : segment->end;
    for (int64_t at = 0; err == ERR_OK && at < end;) {
        struct frame_header header = {0};
        enum frame_verdict verdict = FRAME_BAD;
        err = frame_read(reader, at, &verdict, &header, info);
        if (err == ERR_OK && verdict != FRAME_GOOD) {
            err = err_set(info, ERR_CORRUPT, "journal segment %016llx changed while it was read",
                          (unsigned long long)segment->number);
        }
        if (err != ERR_OK) {
            break;
        }
        bool follows = r->last_frame != 0 && header.number == r->last_frame + 1;
        if (header.kind == JOURNAL_SNAPSHOT && !follows) {
            r->gap = r->gap || r->last_frame != 0;
            forget_everything(r->engine);
            err = apply_frame(r, &header, reader->buf, info);
        } else if (header.kind == JOURNAL_GROUP) {
            err = apply_frame(r, &header, reader->buf, info);
            r->report->frames_replayed++;
        } /* a snapshot that follows says what is known already */
        r->last_frame = header.number;
        at += frame_total(&header);
        CRASHPOINT("log.recovery.frame");
    }
    frame_reader_close(reader);
    return err;
}

/* The tail is zeroed, segments behind the last good one go: they hold nothing that was acknowledged. */
static enum err cut_tail(struct recovery *r, struct err_info *info)
{
    const struct fs *fs = r->engine->fs;
    for (int32_t i = r->scan.count - 1; i > r->scan.last_good; i--) {
        char path[JOURNAL_PATH_MAX];
        journal_path(path, r->scan.segments[i].number);
        enum err err = fs_unlink(fs, path, info);
        if (err != ERR_OK) {
            return err;
        }
    }
    const struct scanned_segment *last = &r->scan.segments[r->scan.last_good];
    if (!last->damaged) {
        return ERR_OK;
    }
    char path[JOURNAL_PATH_MAX];
    struct fs_file file = {-1};
    journal_path(path, last->number);
    enum err err = fs_open(fs, path, FS_O_WRITE, &file, info);
    if (err != ERR_OK) {
        return err;
    }
    const ptrdiff_t piece = 1 << 20;
    uint8_t *zeros = mem_new(piece, 1);
    for (int64_t at = last->end; err == ERR_OK && at < last->bytes; at += piece) {
        ptrdiff_t len = last->bytes - at < piece ? (ptrdiff_t)(last->bytes - at) : piece;
        err = fs_write(fs, file, zeros, len, at, info);
    }
    mem_free(zeros);
    CRASHPOINT("log.recovery.tail_zeroed");
    if (err == ERR_OK) {
        err = fs_sync(fs, file, info);
    }
    fs_close(fs, file);
    return err;
}

/* Removes what is in a shard's folder beyond `keep_base` (and beyond its bytes); < 0: everything and the folder. */
static enum err sweep_folder(struct embedded *engine, uint32_t id, int64_t keep_base,
                             struct err_info *info)
{
    char folder[SHARD_PATH_MAX], *names = NULL;
    ptrdiff_t bytes = 0;
    shard_folder_path(folder, id);
    enum err err = list_folder(engine->fs, folder, &names, &bytes, info);
    if (err != ERR_OK) {
        return err;
    }
    for (const char *name = names; name < names + bytes; name += strlen(name) + 1) {
        uint64_t base = 0;
        if ((parse_name(name, 10, ".seg", &base) || parse_name(name, 10, ".idx", &base)) &&
            (keep_base < 0 || base > (uint64_t)keep_base)) {
            struct garbage one = {.kind = GARBAGE_SEGMENT, .shard = id, .number = (int64_t)base};
            garbage_remove(engine->fs, &one, 1);
        }
    }
    mem_free(names);
    if (keep_base < 0) {
        struct garbage one = {.kind = GARBAGE_FOLDER, .shard = id};
        garbage_remove(engine->fs, &one, 1);
    }
    return ERR_OK;
}

/* Scratch streams are gone at restart; folders of shards that are not there, too. */
static enum err sweep_shards(struct recovery *r, struct err_info *info)
{
    struct embedded *engine = r->engine;
    struct catalog *catalog = &engine->catalog;
    for (int32_t i = catalog->stream_count - 1; i >= 0; i--) {
        if ((catalog->streams[i]->config.flags & STREAM_SCRATCH) != 0) {
            uint8_t id[4];
            wire_store_u32(id, catalog->streams[i]->id.v);
            enum err applied = catalog_apply(catalog, ENTRY_STREAM_DELETE,
                                             (struct wire_in){.at = id, .end = id + 4});
            CHECK(applied == ERR_OK);
        }
    }
    garbage_remove(engine->fs, catalog->garbage, catalog->garbage_count);
    catalog->garbage_count = 0;
    char *names = NULL;
    ptrdiff_t bytes = 0;
    enum err err = list_folder(engine->fs, "log/shards", &names, &bytes, info);
    if (err != ERR_OK) {
        return err;
    }
    for (const char *name = names; err == ERR_OK && name < names + bytes;
         name += strlen(name) + 1) {
        uint64_t id = 0;
        if (parse_name(name, 16, "", &id) && id <= UINT32_MAX &&
            catalog_shard(catalog, (uint32_t)id) == NULL) {
            err = sweep_folder(engine, (uint32_t)id, -1, info);
        }
    }
    mem_free(names);
    return err;
}

static bool shard_has_checkpoint(const struct shard *shard, int64_t number)
{
    for (int32_t c = 0; c < shard->cover_count; c++) {
        if (shard->covers[c].checkpoint->number == number) {
            return true;
        }
    }
    return false;
}

static bool checkpoint_known(const struct catalog *catalog, int64_t number)
{
    for (int32_t i = 0; i < catalog->stream_count; i++) {
        const struct stream_info *stream = catalog->streams[i];
        for (uint32_t s = 0; s < (uint32_t)stream->config.shard_count; s++) {
            if (shard_has_checkpoint(shard_get(catalog->shards, stream->first_shard.v + s),
                                     number)) {
                return true;
            }
        }
    }
    return false;
}

static enum err sweep_checkpoints(struct recovery *r, struct err_info *info)
{
    struct embedded *engine = r->engine;
    char *names = NULL;
    ptrdiff_t bytes = 0;
    enum err err = list_folder(engine->fs, "log/checkpoints", &names, &bytes, info);
    if (err != ERR_OK) {
        return err;
    }
    for (const char *name = names; name < names + bytes; name += strlen(name) + 1) {
        uint64_t number = 0;
        if (!parse_name(name, 16, "", &number)) {
            continue;
        }
        if ((int64_t)number >= engine->catalog.next_checkpoint) {
            engine->catalog.next_checkpoint = (int64_t)number + 1; /* its name is not used again */
        }
        if (!checkpoint_known(&engine->catalog, (int64_t)number)) {
            struct garbage one = {.kind = GARBAGE_CHECKPOINT, .number = (int64_t)number};
            garbage_remove(engine->fs, &one, 1);
        }
    }
    mem_free(names);
    return ERR_OK;
}

/* Length of the last segment against the catalog; cuts what is too much (the unsynced mode may leave it). */
static enum err check_length(struct embedded *engine, struct shard *shard, bool cut,
                             const struct segment *segment, struct err_info *info)
{
    char path[SHARD_PATH_MAX];
    struct fs_file file = {-1};
    int64_t size = 0;
    segment_path(path, shard->id, segment->base_offset);
    enum err err = fs_open(engine->fs, path, cut ? FS_O_READ | FS_O_WRITE : FS_O_READ, &file, info);
    if (err == ERR_OK) {
        err = fs_size(engine->fs, file, &size, info);
        if (err == ERR_OK && cut && size > segment->bytes) {
            err = fs_truncate(engine->fs, file, segment->bytes, info);
        }
        if (err == ERR_OK && cut && size > segment->bytes) {
            err = fs_sync(engine->fs, file, info); /* or a later start would find it longer again */
        }
        fs_close(engine->fs, file);
    }
    if ((err == ERR_NOT_FOUND && segment->bytes > 0) || (err == ERR_OK && size < segment->bytes)) {
        shard_set_problem(shard, segment->base_offset, ERR_CORRUPT,
                          "segment %s has %lld bytes instead of %lld", path, (long long)size,
                          (long long)segment->bytes);
        return ERR_OK;
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* Checks every batch of a segment. */
static enum err check_batches(struct embedded *engine, struct shard *shard, int32_t index,
                              int64_t end_offset, struct err_info *info)
{
    const struct segment *segment = segment_at(&shard->segments, index);
    char path[SHARD_PATH_MAX];
    segment_path(path, shard->id, segment->base_offset);
    struct segment_walk walk = {.fs = engine->fs,
                                .path = path,
                                .expected = segment->base_offset,
                                .end_offset = end_offset,
                                .bytes_max = segment->bytes};
    int64_t position = 0, offset = 0;
    bool whole = false;
    enum err err =
        segment->bytes > 0 ? segment_walk(&walk, &position, &offset, &whole, info) : ERR_NOT_FOUND;
    if (err == ERR_OK && offset != end_offset) {
        shard_set_problem(shard, segment->base_offset, ERR_CORRUPT,
                          "segment %s is corrupt at byte %lld (offset %lld)", path,
                          (long long)position, (long long)offset);
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err check_shard(struct recovery *r, struct shard *shard, int64_t *budget,
                            struct err_info *info)
{
    struct embedded *engine = r->engine;
    int32_t first = atomic_load(&shard->segments.first),
            count = atomic_load(&shard->segments.count);
    const bool lost = !is_synced(r);
    enum err err = ERR_OK;
    if (lost) {
        int64_t keep = count > first ? segment_at(&shard->segments, count - 1)->base_offset : -1;
        err = sweep_folder(engine, shard->id, keep, info);
    }
    for (int32_t i = count - 1; err == ERR_OK && i >= first; i--) {
        const struct segment *segment = segment_at(&shard->segments, i);
        if (shard_health(shard) == ERR_OK) {
            err = check_length(engine, shard, lost && i == count - 1, segment, info);
        }
        bool affordable = *budget >= segment->bytes || r->gap;
        if (err == ERR_OK && affordable && shard_health(shard) == ERR_OK) {
            *budget -= segment->bytes;
            err = check_batches(engine, shard, i,
                                i + 1 < count ? segment_at(&shard->segments, i + 1)->base_offset
                                              : shard->next_offset,
                                info);
        }
    }
    return err;
}

/* Ends are published; lengths are checked, and batches as far as the budget goes (reading checks all). */
static enum err check_shards(struct recovery *r, struct err_info *info)
{
    struct catalog *catalog = &r->engine->catalog;
    int64_t budget = VERIFY_BYTES;
    for (int32_t i = 0; i < catalog->stream_count; i++) {
        const struct stream_info *stream = catalog->streams[i];
        for (uint32_t s = 0; s < (uint32_t)stream->config.shard_count; s++) {
            struct shard *shard = shard_get(catalog->shards, stream->first_shard.v + s);
            atomic_store(&shard->end_offset, shard->next_offset);
            enum err err = check_shard(r, shard, &budget, info);
            if (err != ERR_OK) {
                return err;
            }
            if (shard_health(shard) != ERR_OK && r->report->shards_refused++ == 0) {
                memcpy(r->first_problem, shard->problem, sizeof(r->first_problem));
            }
        }
    }
    return ERR_OK;
}

/* The spare of the run before, or a new small one. */
static enum err begin_segment(struct recovery *r, uint64_t number, struct err_info *info)
{
    struct embedded *engine = r->engine;
    struct committer *c = &engine->committer;
    char path[JOURNAL_PATH_MAX];
    journal_path(path, number);
    c->segment = number;
    committer_build_snapshot(engine, 0, 0); /* for its length */
    int64_t bytes = 0;
    enum err err = fs_open(engine->fs, JOURNAL_SPARE, FS_O_READ | FS_O_WRITE, &c->journal, NULL);
    if (err == ERR_OK) {
        err = fs_size(engine->fs, c->journal, &bytes, info);
    }
    if (err == ERR_OK && bytes > c->frame_len) {
        err = fs_rename(engine->fs, JOURNAL_SPARE, path, info);
        if (err == ERR_OK) {
            err = fs_sync_dir(engine->fs, "log/journal", info);
        }
    } else {
        if (c->journal.fd >= 0) {
            fs_close(engine->fs, c->journal);
            c->journal.fd = -1;
        }
        bytes = journal_align(c->frame_len) + FIRST_SEGMENT_BYTES;
        err = syncer_make_segment(engine->fs, number, bytes, &c->journal, info);
        if (err == ERR_NO_SPACE) {
            give_up_reserve(engine);
            err = syncer_make_segment(engine->fs, number, bytes, &c->journal, info);
        }
    }
    CRASHPOINT("log.recovery.segment");
    c->segment_bytes = bytes;
    return err == ERR_OK ? committer_first_snapshot(engine, info) : err;
}

/* A synced journal knows all that its shards' files hold: a batch goes there when its frame is synced. A file that holds more
 * says that frames which were acknowledged are gone (a journal file that somebody took away, or zeroed). */
static enum err check_beyond(const struct recovery *r, struct shard *shard, struct err_info *info)
{
    int32_t count = atomic_load(&shard->segments.count);
    if (atomic_load(&shard->segments.first) == count) {
        return ERR_OK;
    }
    const struct segment *segment = segment_at(&shard->segments, count - 1);
    char path[SHARD_PATH_MAX];
    struct fs_file file = {-1};
    int64_t size = 0;
    segment_path(path, shard->id, segment->base_offset);
    enum err err = fs_open(r->engine->fs, path, FS_O_READ, &file, info);
    if (err == ERR_OK) {
        err = fs_size(r->engine->fs, file, &size, info);
        fs_close(r->engine->fs, file);
    }
    if (err == ERR_OK && size > segment->bytes) {
        return err_set(info, ERR_CORRUPT,
                       "segment %s has %lld bytes, the journal knows of %lld: frames that were "
                       "acknowledged are missing from log/journal behind frame %llu; nothing is "
                       "cut; `log repair --show` tells more",
                       path, (long long)size, (long long)segment->bytes,
                       (unsigned long long)r->last_frame);
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err check_all_beyond(const struct recovery *r, struct err_info *info)
{
    const struct catalog *catalog = &r->engine->catalog;
    enum err err = ERR_OK;
    for (int32_t i = 0; is_synced(r) && i < catalog->stream_count; i++) {
        const struct stream_info *stream = catalog->streams[i];
        bool scratch = (stream->config.flags & STREAM_SCRATCH) != 0;
        uint32_t shards = scratch ? 0 : (uint32_t)stream->config.shard_count;
        for (uint32_t s = 0; err == ERR_OK && s < shards; s++) {
            err = check_beyond(r, shard_get(&r->engine->shards, stream->first_shard.v + s), info);
        }
    }
    return err;
}

/* No journal that says anything: a new folder, or one whose first start was cut short. */
static enum err start_fresh(struct recovery *r, struct err_info *info)
{
    struct embedded *engine = r->engine;
    char *names = NULL;
    ptrdiff_t bytes = 0;
    enum err err = list_folder(engine->fs, "log/shards", &names, &bytes, info);
    if (err != ERR_OK) {
        return err;
    }
    mem_free(names);
    if (bytes > 0 || r->scan.count > 1 || r->scan.tail == TAIL_CORRUPT) {
        return err_set(info, ERR_CORRUPT,
                       "log/journal: none of its %d segments begins with a readable snapshot, but "
                       "there are shards; nothing is changed; 'log repair --show' tells more",
                       r->scan.count);
    }
    if (r->scan.count == 1) {
        char path[JOURNAL_PATH_MAX];
        journal_path(path, r->scan.segments[0].number);
        err = fs_unlink(engine->fs, path, info);
    }
    int64_t seed[2] = {engine->committer.wall_base_ms, engine->committer.wall_base_ns};
    engine->committer.store = hash64(seed, sizeof(seed)) | 1;
    return err;
}

/* Writes bytes [from, to) of a journal segment again, as they are read, and syncs it. */
static enum err save_again(const struct fs *fs, const struct scanned_segment *segment, int64_t from,
                           int64_t to, struct err_info *info)
{
    char path[JOURNAL_PATH_MAX];
    struct fs_file file = {-1};
    journal_path(path, segment->number);
    enum err err = fs_open(fs, path, FS_O_READ | FS_O_WRITE, &file, info);
    if (err != ERR_OK) {
        return err;
    }
    void *bytes = mem_new(SAVE_BYTES, 1);
    ptrdiff_t got = 1;
    while (err == ERR_OK && from < to && got > 0) {
        ptrdiff_t wanted = (ptrdiff_t)(to - from < SAVE_BYTES ? to - from : SAVE_BYTES);
        err = fs_read(fs, file, bytes, wanted, from, &got, info);
        err = err == ERR_OK ? fs_write(fs, file, bytes, got, from, info) : err;
        from += got;
    }
    err = err == ERR_OK ? fs_sync(fs, file, info) : err;
    mem_free(bytes);
    fs_close(fs, file);
    return err;
}

/* What is taken for good must stay good, or a power cut would leave a hole before the snapshot that comes next. The last frame
 * may never have been synced (the process was killed before), or its sync failed: then the page cache shows bytes that the
 * disk does not have, and another sync would not bring them there. So it is written again; in the unsynced mode, where that
 * may be so of all frames of several segments, all of them. */
static enum err save_frames(const struct recovery *r, struct err_info *info)
{
    enum err err = ERR_OK;
    int32_t first = r->scan.unsynced ? r->scan.first_good : r->scan.last_good;
    for (int32_t i = first; err == ERR_OK && i <= r->scan.last_good; i++) {
        const struct scanned_segment *segment = &r->scan.segments[i];
        int64_t from = r->scan.unsynced ? 0 : segment->last_at;
        err = save_again(r->engine->fs, segment, from, segment->end, info);
    }
    return err;
}

static enum err replay(struct recovery *r, struct err_info *info)
{
    struct frame_reader reader = {.file = {-1}};
    enum err err = save_frames(r, info);
    CRASHPOINT("log.recovery.last_frame_saved");
    r->gap = r->scan.gap;
    for (int32_t i = r->scan.first_good; err == ERR_OK && i <= r->scan.last_good; i++) {
        if (r->scan.segments[i].good) {
            err = apply_segment(r, &r->scan.segments[i], &reader, info);
        }
    }
    frame_reader_release(&reader);
    CRASHPOINT("log.recovery.replayed");
    if (err == ERR_OK) {
        err = check_all_beyond(r, info);
    }
    if (err == ERR_OK) {
        err = cut_tail(r, info);
    }
    if (err == ERR_OK) {
        err = sweep_shards(r, info);
        CRASHPOINT("log.recovery.shards_swept");
    }
    if (err == ERR_OK) {
        err = sweep_checkpoints(r, info);
        CRASHPOINT("log.recovery.checkpoints_swept");
    }
    return err == ERR_OK ? check_shards(r, info) : err;
}

static void tell(struct recovery *r)
{
    struct log_recovery_report *report = r->report;
    journal_scan_tell(&r->scan, report->text, sizeof(report->text));
    if (r->scan.tail != TAIL_CLEAN) {
        report->torn_bytes_cut = r->scan.tail_bytes;
        report->torn_at_sequence = (int64_t)r->last_frame + 1;
    }
    if (report->shards_refused > 0) {
        size_t used = strlen(report->text);
        IGNORE_RESULT(snprintf(report->text + used, sizeof(report->text) - used,
                               "%s%d shards refuse to be read or written, the first because %s",
                               used > 0 ? "; " : "", report->shards_refused,
                               r->first_problem)); /* may be cut */
    }
}

enum err recovery_run(struct embedded *engine, struct log_recovery_report *ret_report,
                      uint64_t *ret_next_segment, struct err_info *info)
{
    struct recovery r = {.engine = engine, .report = ret_report};
    struct committer *c = &engine->committer;
    enum err err = journal_scan(engine->fs, engine->options.sync == LOG_UNSYNCED, &r.scan, info);
    if (err != ERR_OK) {
        return err;
    }
    uint64_t next = r.scan.count > 0 ? r.scan.segments[r.scan.count - 1].number + 1 : 1;
    c->oldest_segment = r.scan.count > 0 ? r.scan.segments[0].number : next;
    if (r.scan.last_good < 0) {
        err = start_fresh(&r, info);
    } else if (r.scan.tail == TAIL_CORRUPT) {
        char text[ERR_TEXT_MAX];
        journal_scan_tell(&r.scan, text, sizeof(text));
        err = err_set(info, ERR_CORRUPT, "%s; `log repair --show` tells what would be lost", text);
    } else {
        c->store = r.scan.store;
        err = replay(&r, info);
    }
    if (err == ERR_OK) {
        c->frame_number = r.last_frame;
        err = begin_segment(&r, next, info);
    }
    CRASHPOINT("log.recovery.snapshot_synced");
    if (err == ERR_OK) {
        c->round_wanted = true;
        c->round_below = c->segment;
        *ret_next_segment = next + 1;
        tell(&r);
    }
    journal_scan_release(&r.scan);
    return err;
}
