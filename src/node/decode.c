// SPDX-License-Identifier: Apache-2.0
#include "node/decode.h"

#include <math.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "log/log.h"

/* One record batch in an entry's bytes. */
struct span {
    ptrdiff_t at, len;
    int64_t first_offset, next_offset;
    int32_t record_count;
    bool control; /* transaction markers: no records of ours */
    bool compressed;
};

struct inflated {
    void *bytes;
    ptrdiff_t cap;
};

struct decoded {
    struct decoded *newer, *older; /* the cache's, by last use */
    struct decoded *next, *prev;   /* of its shard, or the spare list */
    struct decode_shard *shard;    /* NULL: in nobody's list */
    uint8_t *raw;
    ptrdiff_t raw_cap;
    int64_t first_offset, next_offset;
    struct span *spans;
    int32_t span_count, span_cap;
    double fill; /* of what a window takes, how much its batches are; at most 1, or one batch */
    /* the window of rows that is decoded; rows.first_offset == rows.next_offset: none */
    struct rows rows;
    int32_t row_cap;
    int32_t mark_cap;
    struct inflated inflated[DECODE_INFLATED_MAX];
    struct arena arena; /* headers that had to be copied */
    int64_t charged_bytes;
};

void decode_cache_init(struct decode_cache *cache, int64_t limit_bytes)
{
    *cache = (struct decode_cache){.limit_bytes = limit_bytes};
    record_reader_init(&cache->reader);
}

static void entry_free(struct decoded *entry)
{
    struct rows *rows = &entry->rows;
    mem_free(entry->raw);
    mem_free(entry->spans);
    mem_free(rows->offset);
    mem_free(rows->time_ms);
    mem_free(rows->stamp_ms);
    mem_free(rows->hash);
    mem_free(rows->key);
    mem_free(rows->value);
    mem_free(rows->headers);
    mem_free(rows->header_count);
    mem_free(rows->kind);
    mem_free(rows->bad_text);
    mem_free(rows->marks);
    for (int i = 0; i < DECODE_INFLATED_MAX; i++) {
        mem_free(entry->inflated[i].bytes);
    }
    arena_release(&entry->arena);
    mem_free(entry);
}

/* --- lists --- */

static void lru_remove(struct decode_cache *cache, struct decoded *entry)
{
    if (entry->newer != NULL) {
        entry->newer->older = entry->older;
    } else {
        cache->newest = entry->older;
    }
    if (entry->older != NULL) {
        entry->older->newer = entry->newer;
    } else {
        cache->oldest = entry->newer;
    }
    entry->newer = entry->older = NULL;
}

static void lru_push(struct decode_cache *cache, struct decoded *entry)
{
    entry->older = cache->newest;
    entry->newer = NULL;
    if (cache->newest != NULL) {
        cache->newest->newer = entry;
    } else {
        cache->oldest = entry;
    }
    cache->newest = entry;
}

static void shard_remove(struct decoded *entry)
{
    CHECK(entry->shard != NULL);
    if (entry->prev != NULL) {
        entry->prev->next = entry->next;
    } else {
        entry->shard->first = entry->next;
    }
    if (entry->next != NULL) {
        entry->next->prev = entry->prev;
    }
    entry->next = entry->prev = NULL;
    entry->shard = NULL;
}

static void charge(struct decode_cache *cache, struct decoded *entry)
{
    int64_t bytes = (int64_t)sizeof(*entry) + entry->raw_cap;
    bytes += (int64_t)entry->row_cap * 88 + entry->arena.used_bytes;
    bytes += entry->span_cap * (int64_t)sizeof(struct span);
    for (int i = 0; i < DECODE_INFLATED_MAX; i++) {
        bytes += entry->inflated[i].cap;
    }
    cache->used_bytes += bytes - entry->charged_bytes;
    entry->charged_bytes = bytes;
}

void decode_drop(struct decode_cache *cache, struct decoded *entry)
{
    CHECK(entry->shard == NULL);
    entry->rows.first_offset = entry->rows.next_offset = 0;
    if (cache->used_bytes > cache->limit_bytes && cache->spare != NULL) {
        cache->used_bytes -= entry->charged_bytes;
        entry_free(entry);
        return;
    }
    entry->next = cache->spare;
    cache->spare = entry;
}

static void evict(struct decode_cache *cache, struct decoded *entry)
{
    lru_remove(cache, entry);
    shard_remove(entry);
    decode_drop(cache, entry);
}

void decode_passed(struct decode_cache *cache, struct decode_shard *shard, int64_t offset)
{
    struct decoded *entry = shard->first;
    while (entry != NULL) {
        struct decoded *next = entry->next;
        if (entry->next_offset <= offset) {
            evict(cache, entry);
        }
        entry = next;
    }
}

void decode_forget(struct decode_cache *cache, struct decode_shard *shard)
{
    while (shard->first != NULL) {
        evict(cache, shard->first);
    }
}

void decode_cache_release(struct decode_cache *cache)
{
    for (struct decoded *entry = cache->newest; entry != NULL;) {
        struct decoded *older = entry->older;
        entry_free(entry);
        entry = older;
    }
    for (struct decoded *entry = cache->spare; entry != NULL;) {
        struct decoded *next = entry->next;
        entry_free(entry);
        entry = next;
    }
    record_reader_release(&cache->reader);
    if (cache->json != NULL) {
        json_reader_free(cache->json);
    }
    *cache = (struct decode_cache){0};
}

/* --- filling --- */

/* What a read of `read_bytes` will take beyond what is held: a spare entry is taken as it is, a new one comes to what the
 * newest came to when its rows were decoded. So a full cache goes on with the entries it has, without the heap. */
static int64_t missing_bytes(const struct decode_cache *cache, int64_t read_bytes)
{
    int64_t wanted = read_bytes + DECODE_PADDING;
    if (cache->spare != NULL) {
        return wanted > cache->spare->raw_cap ? wanted - cache->spare->raw_cap : 0;
    }
    int64_t last = cache->newest != NULL ? cache->newest->charged_bytes : 0;
    return wanted > last ? wanted : last;
}

struct decoded *decode_begin(struct decode_cache *cache, int64_t read_bytes, void **ret_buf)
{
    while (cache->oldest != NULL &&
           cache->used_bytes + missing_bytes(cache, read_bytes) > cache->limit_bytes) {
        evict(cache, cache->oldest);
    }
    struct decoded *entry = cache->spare;
    if (entry != NULL) {
        cache->spare = entry->next;
        entry->next = NULL;
    } else {
        entry = MEM_NEW(struct decoded);
        arena_init(&entry->arena, 64 << 20);
    }
    if (entry->raw_cap < read_bytes + DECODE_PADDING) {
        mem_free(entry->raw);
        entry->raw_cap = read_bytes + DECODE_PADDING;
        entry->raw = mem_resize(NULL, entry->raw_cap, 1);
    }
    charge(cache, entry);
    *ret_buf = entry->raw;
    return entry;
}

static enum err find_spans(struct decoded *entry, ptrdiff_t bytes, struct err_info *info)
{
    entry->span_count = 0;
    for (ptrdiff_t at = 0; at < bytes;) {
        struct record_batch_header header;
        ptrdiff_t total;
        enum err err = record_batch_parse(entry->raw + at, bytes - at, &header, &total, info);
        if (err != ERR_OK) {
            return err_set(info, ERR_CORRUPT, "a record batch at byte %td of a read is malformed",
                           at);
        }
        if (entry->span_count == entry->span_cap) {
            entry->span_cap = entry->span_cap == 0 ? 16 : 2 * entry->span_cap;
            entry->spans =
                mem_resize(entry->spans, entry->span_cap, (ptrdiff_t)sizeof(struct span));
        }
        entry->spans[entry->span_count++] = (struct span){
            .at = at,
            .len = total,
            .first_offset = header.base_offset,
            .next_offset = header.base_offset + header.last_offset_delta + 1,
            .record_count = header.record_count,
            .control = (header.attributes & 0x20) != 0,
            .compressed = (header.attributes & 7) != 0,
        };
        at += total;
    }
    return ERR_OK;
}

/* An entry is one window, so that views which take turns at it find its rows decoded, however far each has come: what it was
 * read of beyond that is read again. (With several windows in it each view would decode all of them for itself.) Only a batch
 * that is larger than a window has several. */
static void cut_to_window(struct decoded *entry)
{
    int32_t kept = 0, inflated = 0;
    int64_t rows = 0;
    for (; kept < entry->span_count; kept++) {
        const struct span *span = &entry->spans[kept];
        rows += span->control ? 0 : span->record_count;
        inflated += !span->control && span->compressed;
        if (kept > 0 && (rows > DECODE_ROWS_MAX || inflated > DECODE_INFLATED_MAX)) {
            break;
        }
        entry->fill = fmax((double)rows / DECODE_ROWS_MAX, (double)inflated / DECODE_INFLATED_MAX);
    }
    if (kept < entry->span_count) {
        entry->next_offset = entry->spans[kept].first_offset;
        entry->span_count = kept;
    }
}

enum err decode_put(struct decode_cache *cache, struct decode_shard *shard, struct decoded *entry,
                    ptrdiff_t bytes, int64_t first_offset, int64_t next_offset,
                    struct err_info *info)
{
    CHECK(bytes + DECODE_PADDING <= entry->raw_cap && first_offset < next_offset);
    enum err err = find_spans(entry, bytes, info);
    if (err != ERR_OK) {
        decode_drop(cache, entry);
        return err;
    }
    entry->first_offset = first_offset;
    entry->next_offset = next_offset;
    cut_to_window(entry);
    entry->rows.first_offset = entry->rows.next_offset = 0;
    entry->shard = shard;
    entry->next = shard->first;
    entry->prev = NULL;
    if (shard->first != NULL) {
        shard->first->prev = entry;
    }
    shard->first = entry;
    lru_push(cache, entry);
    charge(cache, entry);
    cache->misses++;
    return ERR_OK;
}

int64_t decode_next_read_bytes(const struct decoded *entry, int64_t usual)
{
    int64_t largest = 1, all = 0;
    for (int32_t i = 0; i < entry->span_count; i++) {
        largest = entry->spans[i].len > largest ? entry->spans[i].len : largest;
        all += entry->spans[i].len;
    }
    double window = entry->fill > 0 ? (double)all / entry->fill : (double)usual;
    usual = window < (double)usual ? (int64_t)window : usual;
    int64_t batches = usual / largest > 2 ? usual / largest : 2;
    int64_t bytes = batches * largest;
    return bytes < LOG_BATCH_BYTES_MAX ? bytes : LOG_BATCH_BYTES_MAX;
}

/* --- decoding a window --- */

static void rows_reserve(struct decoded *entry, int32_t count)
{
    if (count <= entry->row_cap) {
        return;
    }
    struct rows *rows = &entry->rows;
    int32_t cap = count < 256 ? 256 : count;
    rows->offset = mem_resize(rows->offset, cap, sizeof(int64_t));
    rows->time_ms = mem_resize(rows->time_ms, cap, sizeof(int64_t));
    rows->stamp_ms = mem_resize(rows->stamp_ms, cap, sizeof(int64_t));
    rows->hash = mem_resize(rows->hash, cap, sizeof(uint64_t));
    rows->key = mem_resize(rows->key, cap, sizeof(struct str));
    rows->value = mem_resize(rows->value, cap, sizeof(struct str));
    rows->headers = mem_resize(rows->headers, cap, sizeof(struct str));
    rows->header_count = mem_resize(rows->header_count, cap, sizeof(int32_t));
    entry->row_cap = cap;
    /* These two exist only where something is out of the ordinary. */
    mem_free(rows->kind);
    mem_free(rows->bad_text);
    rows->kind = NULL;
    rows->bad_text = NULL;
}

/* Marks a row as something else than data; makes the map when the first such row appears. */
static void row_is(struct decoded *entry, int32_t row, enum row_kind kind)
{
    struct rows *rows = &entry->rows;
    if (rows->kind == NULL) {
        rows->kind = mem_new(entry->row_cap, 1);
    }
    rows->kind[row] = (uint8_t)kind;
}

static void row_is_bad(struct decoded *entry, int32_t row, const char *text)
{
    struct rows *rows = &entry->rows;
    if (rows->bad_text == NULL) {
        rows->bad_text = mem_new(entry->row_cap, sizeof(const char *));
    }
    rows->bad_text[row] = text;
    row_is(entry, row, ROW_BAD_TIME);
}

static void row_is_mark(struct decoded *entry, int32_t row, const struct mark *mark)
{
    struct rows *rows = &entry->rows;
    if (rows->mark_count == entry->mark_cap) {
        entry->mark_cap = entry->mark_cap == 0 ? 16 : 2 * entry->mark_cap;
        rows->marks = mem_resize(rows->marks, entry->mark_cap, (ptrdiff_t)sizeof(struct mark));
    }
    rows->time_ms[row] = rows->mark_count;
    rows->marks[rows->mark_count++] = *mark;
    row_is(entry, row, ROW_MARK);
}

/* Headers without those of ours; what ours said goes to its place. */
static void row_headers(struct decoded *entry, int32_t row)
{
    struct rows *rows = &entry->rows;
    struct str rest = rows->headers[row], name, value;
    struct str plain = rest;
    int32_t plain_count = rows->header_count[row];
    bool reserved_behind_plain = false;
    int32_t seen = 0;
    while (record_header_next(&rest, &name, &value)) {
        if (!str_starts_with(name, STR(RESERVED_HEADER_TOP))) {
            seen++;
            continue;
        }
        struct mark mark;
        int64_t stamp;
        if (str_is(name, MARK_HEADER) && mark_decode(value, &mark)) {
            row_is_mark(entry, row, &mark);
        } else if (str_is(name, STAMP_HEADER) && stamp_decode(value, &stamp)) {
            rows->stamp_ms[row] = stamp;
        } else if (str_is(name, BAD_TIME_HEADER)) {
            row_is_bad(entry, row, arena_dup(&entry->arena, value.ptr, value.len));
        }
        plain_count--;
        reserved_behind_plain |= seen > 0;
        plain = seen == 0 ? rest : plain;
    }
    if (reserved_behind_plain) {
        char *copy = arena_new(&entry->arena, plain.len, 1);
        ptrdiff_t len = 0;
        for (rest = plain; record_header_next(&rest, &name, &value);) {
            if (!str_starts_with(name, STR(RESERVED_HEADER_TOP))) {
                ptrdiff_t put = record_header_put(copy + len, plain.len - len, name, value);
                CHECK(put > 0);
                len += put;
            }
        }
        plain = (struct str){copy, len};
    }
    rows->headers[row] = plain;
    rows->header_count[row] = plain_count;
    rows->any_headers |= plain_count > 0;
}

/* The event times of rows [from, count) where a payload field has them. */
static void rows_field_times(struct decode_cache *cache, struct decoded *entry,
                             const struct decode_rules *rules, int32_t from)
{
    struct rows *rows = &entry->rows;
    if (cache->json == NULL) {
        cache->json = json_reader_new();
    }
    for (int32_t row = from; row < rows->count; row++) {
        if (rows->kind != NULL && rows->kind[row] != ROW_DATA) {
            continue;
        }
        const char *why =
            json_read_time(cache->json, rows->value[row], rules->time_field, &rows->time_ms[row]);
        if (why != NULL) {
            row_is_bad(entry, row, why);
        }
    }
}

/* Event times that cannot be. A row that is no data has something else there. */
static void rows_check_times(struct decoded *entry, int32_t from)
{
    struct rows *rows = &entry->rows;
    uint64_t bits = 0; /* no time is above these taken together; a negative one sets the highest */
    for (int32_t row = from; row < rows->count; row++) {
        bits |= (uint64_t)rows->time_ms[row];
    }
    if (LIKELY(bits <= (uint64_t)EVENT_TIME_LIMIT_MS)) {
        return;
    }
    for (int32_t row = from; row < rows->count; row++) {
        bool data = rows->kind == NULL || rows->kind[row] == ROW_DATA;
        if (data && (rows->time_ms[row] > EVENT_TIME_LIMIT_MS ||
                     rows->time_ms[row] < -EVENT_TIME_LIMIT_MS)) {
            row_is_bad(entry, row, "the event time is out of range");
        }
    }
}

/* What decoding alone does not say of rows [from, count). */
static void rows_finish(struct decode_cache *cache, struct decoded *entry,
                        const struct decode_rules *rules, int32_t from)
{
    struct rows *rows = &entry->rows;
    hash64_many(rows->key + from, rows->count - from, rows->hash + from);
    int32_t headers = 0; /* 0: no row has any */
    for (int32_t row = from; row < rows->count; row++) {
        rows->stamp_ms[row] = STAMP_NONE;
        headers |= rows->header_count[row];
    }
    for (int32_t row = from; UNLIKELY(headers != 0) && row < rows->count; row++) {
        if (rows->header_count[row] > 0) {
            row_headers(entry, row);
        }
    }
    if (rules->time_field.len > 0 && !rules->internal) {
        rows_field_times(cache, entry, rules, from);
    }
    rows_check_times(entry, from);
}

/* Appends up to `room` records of a batch, from its record number `skip` on; returns how many, or -1: corrupt. */
static int32_t span_decode(struct decode_cache *cache, struct decoded *entry,
                           const struct span *span, int32_t skip, int32_t room,
                           struct inflated *into)
{
    struct record_reader *reader = &cache->reader;
    reader->inflated = into->bytes;
    reader->inflated_cap = into->cap;
    enum err err = record_reader_begin(reader, entry->raw + span->at, span->len, NULL);
    into->bytes = reader->inflated;
    into->cap = reader->inflated_cap;
    reader->inflated = NULL;
    reader->inflated_cap = 0;
    if (err != ERR_OK) {
        return -1;
    }
    struct rows *rows = &entry->rows;
    int32_t end = rows->count + room;
    rows_reserve(entry, end < DECODE_ROWS_MAX ? end : DECODE_ROWS_MAX);
    struct record_arrays arrays = {
        .offset = rows->offset + rows->count,
        .timestamp_ms = rows->time_ms + rows->count,
        .key = rows->key + rows->count,
        .value = rows->value + rows->count,
        .headers = rows->headers + rows->count,
        .header_count = rows->header_count + rows->count,
    };
    while (skip > 0) { /* only batches of very many records */
        int32_t part = skip < room ? skip : room;
        if (record_reader_next_many(reader, &arrays, part) != part) {
            return -1;
        }
        skip -= part;
    }
    return record_reader_next_many(reader, &arrays, room);
}

static void window_clear(struct decoded *entry)
{
    struct rows *rows = &entry->rows;
    rows->count = 0;
    rows->mark_count = 0;
    rows->any_headers = false;
    arena_reset(&entry->arena);
    if (rows->kind != NULL) {
        memset(rows->kind, ROW_DATA, (size_t)entry->row_cap);
    }
    mem_free(rows->bad_text);
    rows->bad_text = NULL;
}

/* A batch with more records than a window takes: the part of it that holds `offset`. */
static enum err window_inside(struct decode_cache *cache, struct decoded *entry,
                              const struct decode_rules *rules, const struct span *span,
                              int64_t offset)
{
    struct rows *rows = &entry->rows;
    for (int32_t skip = 0; skip < span->record_count; skip += DECODE_ROWS_MAX) {
        int32_t left = span->record_count - skip;
        int32_t room = left < DECODE_ROWS_MAX ? left : DECODE_ROWS_MAX;
        rows->count = 0;
        int32_t got = span_decode(cache, entry, span, skip, room, &entry->inflated[0]);
        if (got != room) {
            return ERR_CORRUPT;
        }
        int64_t last = rows->offset[got - 1];
        if (last < offset && got < left) {
            continue;
        }
        rows->count = got;
        rows->first_offset = skip == 0 ? span->first_offset : rows->offset[0];
        rows->first_offset = offset < rows->first_offset ? offset : rows->first_offset;
        rows->next_offset = got < left ? last + 1 : span->next_offset;
        rows_finish(cache, entry, rules, 0);
        return ERR_OK;
    }
    return ERR_CORRUPT; /* a batch of no records is decoded elsewhere */
}

/* Decodes from the batch that holds `offset` on, as much as a window takes. */
static enum err window_decode(struct decode_cache *cache, struct decoded *entry,
                              const struct decode_rules *rules, int64_t offset)
{
    struct rows *rows = &entry->rows;
    window_clear(entry);
    int32_t i = 0;
    while (i < entry->span_count && entry->spans[i].next_offset <= offset) {
        i++;
    }
    rows->first_offset = i == 0 ? entry->first_offset : entry->spans[i - 1].next_offset;
    rows->next_offset = entry->next_offset;
    if (i < entry->span_count && entry->spans[i].record_count > DECODE_ROWS_MAX) {
        return window_inside(cache, entry, rules, &entry->spans[i], offset);
    }
    int32_t total = 0;
    for (int32_t k = i; k < entry->span_count; k++) {
        total += entry->spans[k].control ? 0 : entry->spans[k].record_count;
    }
    rows_reserve(entry, total < DECODE_ROWS_MAX ? total : DECODE_ROWS_MAX);
    for (int32_t used = 0; i < entry->span_count; i++) {
        const struct span *span = &entry->spans[i];
        if (span->control) {
            continue;
        }
        if (rows->count + span->record_count > DECODE_ROWS_MAX || used == DECODE_INFLATED_MAX) {
            rows->next_offset = span->first_offset;
            break;
        }
        int32_t from = rows->count;
        if (span_decode(cache, entry, span, 0, span->record_count, &entry->inflated[used]) !=
            span->record_count) {
            return ERR_CORRUPT;
        }
        rows->count += span->record_count;
        used += cache->reader.header.attributes & 7 ? 1 : 0;
        rows_finish(cache, entry, rules, from);
    }
    return ERR_OK;
}

enum err decode_rows(struct decode_cache *cache, struct decode_shard *shard,
                     const struct decode_rules *rules, int64_t offset, const struct rows **ret_rows,
                     struct err_info *info)
{
    struct decoded *entry = shard->first;
    while (entry != NULL && (offset < entry->first_offset || offset >= entry->next_offset)) {
        entry = entry->next;
    }
    *ret_rows = NULL;
    if (entry == NULL) {
        return ERR_OK;
    }
    if (entry != cache->newest) {
        lru_remove(cache, entry);
        lru_push(cache, entry);
    }
    struct rows *rows = &entry->rows;
    if (offset >= rows->first_offset && offset < rows->next_offset) {
        cache->hits++;
        *ret_rows = rows;
        return ERR_OK;
    }
    enum err err = window_decode(cache, entry, rules, offset);
    charge(cache, entry);
    if (err != ERR_OK) {
        rows->first_offset = rows->next_offset = 0;
        return err_set(info, err, "records at offset %lld cannot be decoded", (long long)offset);
    }
    *ret_rows = rows;
    return ERR_OK;
}

struct decoded *decode_keep(struct decode_cache *cache, struct decode_shard *shard,
                            const struct rows *rows)
{
    struct decoded *entry = shard->first;
    while (entry != NULL && &entry->rows != rows) {
        entry = entry->next;
    }
    CHECK(entry != NULL);
    lru_remove(cache, entry);
    shard_remove(entry);
    return entry;
}
