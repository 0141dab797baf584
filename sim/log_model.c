// SPDX-License-Identifier: Apache-2.0
#include "sim/log_model.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "sim/log_model_priv.h"

struct log_model *log_model_new(bool dense)
{
    struct log_model *model = MEM_NEW(struct log_model);
    model->dense = dense;
    return model;
}

void log_model_free(struct log_model *model)
{
    if (model == NULL) {
        return;
    }
    for (int i = 0; i < model->shard_count; i++) {
        struct model_shard *shard = &model->shards[i];
        for (int k = 0; shard->keys != NULL && k < MODEL_GROUPS * MODEL_USER_KEYS; k++) {
            mem_free(shard->keys[k].writes);
        }
        mem_free(shard->keys);
        mem_free(shard->spans);
    }
    for (int64_t i = 0; i < model->attempt_count; i++) {
        mem_free(model->attempts[i]);
    }
    mem_free(model->attempts);
    mem_free(model);
}

const char *log_model_problem(const struct log_model *model)
{
    return model->problem[0] != 0 ? model->problem : NULL;
}

void log_model_fail(struct log_model *model, const char *fmt, ...)
{
    if (model->problem[0] != 0) {
        return; /* the first one is the cause */
    }
    va_list args;
    va_start(args, fmt);
    IGNORE_RESULT(vsnprintf(model->problem, sizeof(model->problem), fmt, args)); /* cut */
    va_end(args);
}

int log_model_add_shard(struct log_model *model, uint32_t shard, enum model_shard_kind kind)
{
    CHECK(model->shard_count < MODEL_SHARDS_MAX);
    struct model_shard *added = &model->shards[model->shard_count];
    *added = (struct model_shard){.number = shard, .kind = kind};
    if (kind == MODEL_CHANGELOG) {
        added->keys = MEM_NEW_ARRAY(struct model_key, (ptrdiff_t)MODEL_GROUPS * MODEL_USER_KEYS);
    }
    return model->shard_count++;
}

int64_t log_model_end(const struct log_model *model, int shard)
{
    return model->shards[shard].end;
}

int64_t log_model_life(const struct log_model *model)
{
    return model->life;
}

struct log_tally log_model_tally(const struct log_model *model)
{
    struct log_tally tally = {.attempts = model->attempt_count};
    for (int64_t i = 0; i < model->attempt_count; i++) {
        tally.acked += model->attempts[i]->state == ATTEMPT_ACKED;
        tally.there += model->attempts[i]->state == ATTEMPT_THERE;
        tally.voided += model->attempts[i]->state == ATTEMPT_VOID;
    }
    return tally;
}

/* ---- attempts and their bytes */

struct attempt *log_model_begin(struct log_model *model, int writer)
{
    CHECK(writer >= 0 && writer < MODEL_WRITERS_MAX);
    if (model->attempt_count == model->attempt_cap) {
        model->attempt_cap = model->attempt_cap > 0 ? 2 * model->attempt_cap : 256;
        model->attempts =
            mem_resize(model->attempts, model->attempt_cap, (ptrdiff_t)sizeof(struct attempt *));
    }
    struct attempt *attempt = MEM_NEW(struct attempt);
    model->attempts[model->attempt_count++] = attempt;
    attempt->id = (uint64_t)model->attempt_count; /* from 1 */
    attempt->writer = writer;
    return attempt;
}

struct attempt *model_attempt(const struct log_model *model, uint64_t id)
{
    return id >= 1 && id <= (uint64_t)model->attempt_count ? model->attempts[id - 1] : NULL;
}

int log_model_add_piece(struct attempt *attempt, int shard, int32_t count)
{
    CHECK(attempt->piece_count < MODEL_PIECES_MAX);
    attempt->pieces[attempt->piece_count] =
        (struct model_piece){.shard = shard, .count = count, .base = -1, .end = -1};
    return attempt->piece_count++;
}

struct model_key *model_key(struct log_model *model, int shard, uint32_t group, uint32_t user_key)
{
    CHECK(group < MODEL_GROUPS && user_key < MODEL_USER_KEYS &&
          model->shards[shard].kind == MODEL_CHANGELOG);
    return &model->shards[shard].keys[group * MODEL_USER_KEYS + user_key];
}

void log_model_add_entry(struct log_model *model, struct attempt *attempt, int piece,
                         uint16_t group, uint16_t user_key, bool tombstone)
{
    for (int i = 0; i < attempt->entry_count; i++) {
        const struct model_entry *e = &attempt->entries[i];
        if (e->piece == piece && e->group == group && e->user_key == user_key) {
            return;
        }
    }
    if (attempt->entry_count == MODEL_ENTRIES_MAX) {
        return;
    }
    attempt->entries[attempt->entry_count++] = (struct model_entry){
        .piece = piece, .group = group, .user_key = user_key, .tombstone = tombstone};
    attempt->pieces[piece].count++;
    struct model_key *key = model_key(model, attempt->pieces[piece].shard, group, user_key);
    if (key->count == key->cap) {
        key->cap = key->cap > 0 ? 2 * key->cap : 8;
        key->writes = mem_resize(key->writes, key->cap, (ptrdiff_t)sizeof(struct model_write));
    }
    key->writes[key->count++] =
        (struct model_write){.attempt = attempt, .piece = piece, .tombstone = tombstone};
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 31)) * 0x7fb5d329728ea185U;
    x = (x ^ (x >> 27)) * 0x81dadef4bc2dd44dU;
    return x ^ (x >> 33);
}

enum { IDENTITY_BYTES = 12 };

/* A record's value: u64 attempt, u16 piece, u16 index, all big endian, then bytes that follow from these. */
ptrdiff_t model_value(uint64_t attempt, int piece, int index, uint8_t *buf)
{
    uint64_t seed = mix(attempt * 1000003 + (uint64_t)piece * 1009 + (uint64_t)index);
    for (int i = 0; i < 8; i++) {
        buf[i] = (uint8_t)(attempt >> (56 - 8 * i));
    }
    buf[8] = (uint8_t)(piece >> 8);
    buf[9] = (uint8_t)piece;
    buf[10] = (uint8_t)(index >> 8);
    buf[11] = (uint8_t)index;
    ptrdiff_t len = IDENTITY_BYTES +
                    (ptrdiff_t)(seed % (seed % 16 == 0 ? MODEL_VALUE_MAX - IDENTITY_BYTES : 60));
    for (ptrdiff_t i = IDENTITY_BYTES; i < len; i++) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        buf[i] = (uint8_t)(seed >> 56);
    }
    return len;
}

/* A changelog's key as pipeline/state.h lays it out: u16 group, u32 space, i64 time, user key. */
static void entry_key(uint8_t key[MODEL_KEY_BYTES], uint32_t group, uint32_t user_key)
{
    memset(key, 0, MODEL_KEY_BYTES);
    key[0] = (uint8_t)(group >> 8);
    key[1] = (uint8_t)group;
    key[5] = 99; /* some space that is nobody's */
    key[MODEL_KEY_BYTES - 1] = (uint8_t)user_key;
}

/* The `index`th entry of a changelog's piece; NULL if the piece is none. */
static const struct model_entry *entry_of(const struct attempt *attempt, int piece, int index)
{
    for (int i = 0; i < attempt->entry_count; i++) {
        if (attempt->entries[i].piece == piece && index-- == 0) {
            return &attempt->entries[i];
        }
    }
    return NULL;
}

/* Buffers for the records of one batch. */
struct scratch {
    struct check_record records[CHECK_RECORDS_MAX];
    uint8_t keys[CHECK_RECORDS_MAX][MODEL_KEY_BYTES];
    uint8_t values[CHECK_RECORDS_MAX][MODEL_VALUE_MAX];
};

static void fill_record(struct scratch *scratch, int at, const struct attempt *attempt, int piece,
                        int index)
{
    struct check_record *record = &scratch->records[at];
    const struct model_entry *entry = entry_of(attempt, piece, index);
    ptrdiff_t len = model_value(attempt->id, piece, index, scratch->values[at]);
    *record = (struct check_record){.timestamp_ms = 1735689600000 + (int64_t)attempt->id};
    record->value = (struct str){(const char *)scratch->values[at], len};
    if (entry != NULL) {
        entry_key(scratch->keys[at], entry->group, entry->user_key);
        record->key = (struct str){(const char *)scratch->keys[at], MODEL_KEY_BYTES};
        if (entry->tombstone) {
            record->value = (struct str){NULL, 0};
        }
    } else if (attempt->writer % 3 != 0) { /* some write no keys */
        scratch->keys[at][0] = (uint8_t)('a' + attempt->writer % 26);
        record->key = (struct str){(const char *)scratch->keys[at], 1};
    }
}

ptrdiff_t log_model_encode(const struct attempt *attempt, int piece, struct check_producer producer,
                           uint8_t *buf, ptrdiff_t cap)
{
    struct scratch *scratch = MEM_NEW(struct scratch);
    int32_t count = attempt->pieces[piece].count;
    for (int i = 0; i < count; i++) {
        fill_record(scratch, i, attempt, piece, i);
    }
    ptrdiff_t len = check_batch_encode(buf, cap, scratch->records, count, producer);
    mem_free(scratch);
    return len;
}

/* ---- offsets */

/* Notes that [base, end) of a shard is a piece's. An offset that is another piece's was used twice (L3). */
static void note_span(struct log_model *model, int shard_index, struct model_span span)
{
    struct model_shard *shard = &model->shards[shard_index];
    int64_t at = shard->span_count;
    while (at > 0 && shard->spans[at - 1].base >= span.end) {
        at--;
    }
    if (at > 0 && shard->spans[at - 1].end > span.base) {
        const struct model_span *other = &shard->spans[at - 1];
        log_model_fail(model,
                       "L3: shard %u, offset %lld is used twice: attempt %llu at [%lld, %lld), "
                       "attempt %llu at [%lld, %lld)",
                       shard->number, (long long)span.base, (unsigned long long)other->attempt,
                       (long long)other->base, (long long)other->end,
                       (unsigned long long)span.attempt, (long long)span.base, (long long)span.end);
        return;
    }
    if (shard->span_count == shard->span_cap) {
        shard->span_cap = shard->span_cap > 0 ? 2 * shard->span_cap : 64;
        shard->spans =
            mem_resize(shard->spans, shard->span_cap, (ptrdiff_t)sizeof(struct model_span));
    }
    memmove(&shard->spans[at + 1], &shard->spans[at],
            (size_t)(shard->span_count - at) * sizeof(struct model_span));
    shard->spans[at] = span;
    shard->span_count++;
    shard->end = span.end > shard->end ? span.end : shard->end;
}

/* A piece stands at `base`, says the log or what was read. */
static void note_piece(struct log_model *model, struct attempt *attempt, int index, int64_t base)
{
    struct model_piece *piece = &attempt->pieces[index];
    if (piece->base >= 0) {
        if (piece->base != base) {
            log_model_fail(model, "attempt %llu is twice in shard %u: at offset %lld and at %lld",
                           (unsigned long long)attempt->id, model->shards[piece->shard].number,
                           (long long)piece->base, (long long)base);
        }
        return;
    }
    piece->base = base;
    note_span(
        model, piece->shard,
        (struct model_span){.base = base, .end = base + piece->count, .attempt = attempt->id});
}

/* ---- fates */

void log_model_acked(struct log_model *model, struct attempt *attempt, const int64_t *bases,
                     const int64_t *ends)
{
    if (attempt->must_fail && !attempt->retried) {
        log_model_fail(model, "L5: attempt %llu took effect though it was fenced before",
                       (unsigned long long)attempt->id);
    }
    for (int i = 0; i < attempt->piece_count; i++) {
        note_piece(model, attempt, i, bases[i]);
        if (ends != NULL) {
            attempt->pieces[i].end = ends[i];
            struct model_shard *shard = &model->shards[attempt->pieces[i].shard];
            shard->end = ends[i] > shard->end ? ends[i] : shard->end;
            if (ends[i] < bases[i] + attempt->pieces[i].count) {
                log_model_fail(model, "attempt %llu: end offset %lld does not hold its %d records",
                               (unsigned long long)attempt->id, (long long)ends[i],
                               attempt->pieces[i].count);
            }
        }
    }
    attempt->state = ATTEMPT_ACKED;
    attempt->ended_life = model->life;
}

void log_model_void(struct log_model *model, struct attempt *attempt)
{
    if (attempt->seen) {
        log_model_fail(model, "attempt %llu was refused though a reader saw it",
                       (unsigned long long)attempt->id);
    }
    attempt->state = ATTEMPT_VOID;
    attempt->ended_life = model->life;
}

void log_model_open(struct log_model *model, struct attempt *attempt)
{
    attempt->state = ATTEMPT_MAYBE;
    attempt->ended_life = model->life;
}

void log_model_retry(struct log_model *model, struct attempt *attempt)
{
    CHECK(attempt->state == ATTEMPT_THERE || attempt->state == ATTEMPT_VOID);
    CHECK(model->life > attempt->ended_life);
    attempt->retried = true;
    if (attempt->state == ATTEMPT_VOID) {
        attempt->state = ATTEMPT_FLYING;
    }
}

void log_model_crash(struct log_model *model)
{
    for (int64_t i = 0; i < model->attempt_count; i++) {
        struct attempt *attempt = model->attempts[i];
        if (attempt->state == ATTEMPT_FLYING) {
            attempt->state = ATTEMPT_MAYBE;
            attempt->ended_life = model->life;
        }
    }
    for (int i = 0; i < model->shard_count; i++) {
        model->shards[i].start = 0; /* a trim that was not acknowledged may be forgotten */
    }
    model->life++;
}

/* ---- reading */

/* Whether a batch is, to the byte, what its first record says it is. Finds attempt and piece. */
static bool identify(struct log_model *model, int shard, const struct check_batch *batch,
                     struct attempt **ret_attempt, int *ret_piece)
{
    const uint8_t *id_bytes = (const uint8_t *)batch->records[0].value.ptr;
    if (batch->records[0].value.len < IDENTITY_BYTES) {
        return false;
    }
    uint64_t id = 0;
    for (int i = 0; i < 8; i++) {
        id = id << 8 | id_bytes[i];
    }
    int index = id_bytes[8] << 8 | id_bytes[9];
    struct attempt *attempt = model_attempt(model, id);
    if (attempt == NULL || index >= attempt->piece_count || attempt->pieces[index].shard != shard ||
        attempt->pieces[index].count != batch->count) {
        return false;
    }
    struct scratch *scratch = MEM_NEW(struct scratch);
    bool same = batch->end_offset == batch->base_offset + batch->count;
    for (int i = 0; i < batch->count && same; i++) {
        fill_record(scratch, i, attempt, index, i);
        const struct check_record *is = &batch->records[i];
        const struct check_record *was = &scratch->records[i];
        same = str_equal(is->key, was->key) && str_equal(is->value, was->value) &&
               (is->key.ptr == NULL) == (was->key.ptr == NULL) &&
               is->timestamp_ms == was->timestamp_ms && is->offset == batch->base_offset + i;
    }
    mem_free(scratch);
    *ret_attempt = attempt;
    *ret_piece = index;
    return same;
}

static void saw_batch(struct log_model *model, int shard, const struct check_batch *batch)
{
    struct model_shard *s = &model->shards[shard];
    struct attempt *attempt = NULL;
    int piece = 0;
    if (!identify(model, shard, batch, &attempt, &piece)) {
        log_model_fail(model, "shard %u, offset %lld: nobody wrote this batch (L4, L7)", s->number,
                       (long long)batch->base_offset);
        return;
    }
    if (attempt->state == ATTEMPT_VOID) {
        log_model_fail(model, "shard %u, offset %lld: attempt %llu is here though it %s", s->number,
                       (long long)batch->base_offset, (unsigned long long)attempt->id,
                       attempt->must_fail ? "was fenced (L5)" : "did not take effect before");
        return;
    }
    attempt->seen = true;
    note_piece(model, attempt, piece, batch->base_offset);
    if (model->scanning) {
        uint64_t *last = &s->last_of_writer[attempt->writer];
        if (*last >= attempt->id) {
            log_model_fail(model, "shard %u: attempt %llu stands behind %llu of the same writer",
                           s->number, (unsigned long long)attempt->id, (unsigned long long)*last);
        }
        *last = attempt->id;
        attempt->pieces[piece].number = model->scan;
    }
}

void log_model_saw(struct log_model *model, int shard, const uint8_t *bytes, ptrdiff_t len,
                   int64_t *next)
{
    struct check_batch *batch =
        mem_resize(NULL, 1, (ptrdiff_t)sizeof(*batch)); /* the decoder fills it */
    bool first = true;
    for (ptrdiff_t at = 0; at < len && model->problem[0] == 0; at += batch->bytes) {
        const char *wrong = check_batch_decode(bytes + at, len - at, batch);
        if (wrong != NULL) {
            log_model_fail(model, "shard %u near offset %lld: %s (L7)", model->shards[shard].number,
                           (long long)*next, wrong);
            break;
        }
        bool follows = first          ? batch->end_offset > *next
                       : model->dense ? batch->base_offset == *next
                                      : batch->base_offset >= *next;
        if (!follows || (first && model->dense && batch->base_offset > *next)) {
            log_model_fail(model, "shard %u: [%lld, %lld) comes where %lld was wanted (L4)",
                           model->shards[shard].number, (long long)batch->base_offset,
                           (long long)batch->end_offset, (long long)*next);
            break;
        }
        saw_batch(model, shard, batch);
        *next = batch->end_offset;
        first = false;
    }
    mem_free(batch);
}

void log_model_scan_begin(struct log_model *model)
{
    model->scanning = true;
    model->scan++;
    for (int i = 0; i < model->shard_count; i++) {
        memset(model->shards[i].last_of_writer, 0, sizeof(model->shards[i].last_of_writer));
    }
}

static bool must_be_there(const struct attempt *attempt)
{
    return attempt->state == ATTEMPT_ACKED || attempt->state == ATTEMPT_THERE || attempt->seen;
}

void log_model_scan_shard(struct log_model *model, int shard, int64_t start_offset,
                          int64_t end_offset)
{
    if (end_offset < model->shards[shard].end) {
        log_model_fail(model, "shard %u ends at %lld though %lld was acknowledged or read (L1)",
                       model->shards[shard].number, (long long)end_offset,
                       (long long)model->shards[shard].end);
    }
    for (int64_t i = 0; i < model->attempt_count; i++) {
        const struct attempt *attempt = model->attempts[i];
        for (int p = 0; p < attempt->piece_count && must_be_there(attempt); p++) {
            const struct model_piece *piece = &attempt->pieces[p];
            if (piece->shard == shard && piece->number != model->scan &&
                piece->base >= start_offset) {
                log_model_fail(model, "L1: shard %u: attempt %llu is gone from offset %lld (%s)",
                               model->shards[shard].number, (unsigned long long)attempt->id,
                               (long long)piece->base,
                               attempt->state == ATTEMPT_ACKED ? "acknowledged" : "read before");
            }
        }
    }
}

/* How many of an attempt's pieces in shards of a kind there are, and how many the scan found. */
static int count_pieces(const struct log_model *model, const struct attempt *attempt,
                        enum model_shard_kind kind, int *ret_found)
{
    int count = 0;
    *ret_found = 0;
    for (int p = 0; p < attempt->piece_count; p++) {
        if (model->shards[attempt->pieces[p].shard].kind == kind) {
            count++;
            *ret_found += attempt->pieces[p].number == model->scan;
        }
    }
    return count;
}

/* Decides a MAYBE by what the scan found of it. What may have been trimmed says nothing where something else does. */
static void decide(struct log_model *model, struct attempt *attempt)
{
    int found = 0;
    int trimmed_found = 0;
    int wanted = count_pieces(model, attempt, MODEL_WHOLE, &found);
    int trimmed = count_pieces(model, attempt, MODEL_TRIMMED, &trimmed_found);
    if (wanted == 0) {
        wanted = trimmed;
        found = trimmed_found;
    }
    if ((found != 0 && found != wanted) || (found == 0 && trimmed_found != 0)) {
        log_model_fail(model, "L2: attempt %llu is torn: %d of its %d batches are there",
                       (unsigned long long)attempt->id, found + trimmed_found,
                       attempt->piece_count);
    } else if (found == 0 && attempt->seen) {
        log_model_fail(model, "L4: attempt %llu was read, then it was gone",
                       (unsigned long long)attempt->id);
    } else {
        attempt->state = found > 0 ? ATTEMPT_THERE : ATTEMPT_VOID;
    }
}

void log_model_scan_end(struct log_model *model)
{
    model->scanning = false;
    for (int64_t i = 0; i < model->attempt_count; i++) {
        if (model->attempts[i]->state == ATTEMPT_MAYBE) {
            decide(model, model->attempts[i]);
        }
    }
}

void log_model_allow_start(struct log_model *model, int shard, int64_t offset)
{
    struct model_shard *s = &model->shards[shard];
    s->start_max = offset > s->start_max ? offset : s->start_max;
}

int64_t log_model_start(const struct log_model *model, int shard)
{
    return model->shards[shard].start;
}

void log_model_check_start(struct log_model *model, int shard, int64_t least, int64_t start_offset)
{
    struct model_shard *s = &model->shards[shard];
    if (start_offset > s->start_max) {
        log_model_fail(model, "shard %u starts at %lld though nothing above %lld may be trimmed",
                       s->number, (long long)start_offset, (long long)s->start_max);
    }
    if (start_offset < least) {
        log_model_fail(model, "shard %u starts at %lld, after it had started at %lld", s->number,
                       (long long)start_offset, (long long)least);
    }
    s->start = start_offset > s->start ? start_offset : s->start;
}

/* ---- for checkpoints */

ptrdiff_t log_model_encode_state(struct log_model *model, int shard, uint32_t group_lo,
                                 uint32_t group_hi, struct restored (*restored)[MODEL_USER_KEYS],
                                 uint8_t *buf, ptrdiff_t cap)
{
    struct scratch *scratch = MEM_NEW(struct scratch);
    int32_t count = 0;
    for (uint32_t group = group_lo; group < group_hi; group++) {
        for (uint32_t user_key = 0; user_key < MODEL_USER_KEYS; user_key++) {
            const struct restored *r = &restored[group][user_key];
            const struct attempt *attempt = model_attempt(model, r->attempt);
            int piece = 0;
            int index = 0;
            if (!r->there || r->tombstone || attempt == NULL ||
                !model_find_entry(model, attempt, shard, group, user_key, &piece, &index)) {
                continue;
            }
            CHECK(count < CHECK_RECORDS_MAX);
            fill_record(scratch, count++, attempt, piece, index);
        }
    }
    ptrdiff_t len = count > 0 ? check_batch_encode(buf, cap, scratch->records, count,
                                                   (struct check_producer){
                                                       .id = -1, .epoch = -1, .base_sequence = -1})
                              : 0;
    mem_free(scratch);
    return len;
}
