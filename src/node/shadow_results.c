// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "base/mem.h"
#include "node/shadow_priv.h"

/* What becomes of a shadow's results: each is brought into one canonical form and hashed; digest, size and, if asked for,
 * the bytes go to the store; with a partner, the digest is matched with its. The time this takes is no cost of the chain.
 *
 *   canonical   u8 output kind, key and value each as u8 present, u32 length, bytes; i64 event time; then headers, each as
 *               u32 length, name, u32 length, value, without reserved ones but the reason: those are framing */

static char *put_u32(char *at, uint32_t v)
{
    memcpy(at, &v, sizeof(v));
    return at + sizeof(v);
}

static char *put_text(char *at, struct str text)
{
    at = put_u32(at, (uint32_t)text.len);
    if (text.ptr != NULL && text.len > 0) {
        memcpy(at, text.ptr, (size_t)text.len);
    }
    return at + text.len;
}

struct str shadow_canonical(struct arena *arena, const struct shadow_result *result)
{
    enum { FIXED = 64, PER_HEADER = 8 };
    struct str rest = result->headers, header, value;
    int32_t count = 0;
    while (record_header_next(&rest, &header, &value)) {
        count++;
    }
    ptrdiff_t most = FIXED + result->key.len + result->value.len + result->headers.len +
                     (ptrdiff_t)PER_HEADER * count;
    char *bytes = arena_new_raw(arena, most, 1);
    char *at = bytes;
    *at++ = (char)result->kind;
    *at++ = (char)(result->key.ptr != NULL);
    at = put_text(at, result->key);
    *at++ = (char)(result->value.ptr != NULL);
    at = put_text(at, result->value);
    memcpy(at, &result->time_ms, sizeof(result->time_ms));
    at += sizeof(result->time_ms);
    rest = result->headers;
    while (record_header_next(&rest, &header, &value)) {
        if (!str_starts_with(header, STR(RESERVED_HEADER_TOP)) || str_is(header, REASON_HEADER)) {
            at = put_text(put_text(at, header), value);
        }
    }
    return (struct str){bytes, at - bytes};
}

uint64_t shadow_digest(struct arena *arena, const struct shadow_result *result)
{
    struct str bytes = shadow_canonical(arena, result);
    return hash64(bytes.ptr, bytes.len);
}

/* --- taking --- */

static void copy_beginning(char to[SHADOW_EXAMPLE_BYTES], struct str text)
{
    ptrdiff_t len = text.len < SHADOW_EXAMPLE_BYTES - 1 ? text.len : SHADOW_EXAMPLE_BYTES - 1;
    if (len > 0) {
        memcpy(to, text.ptr, (size_t)len);
    }
    to[len] = '\0';
}

static void compare_later(struct shadow *shadow, const struct partition *part,
                          const struct shadow_result *result, uint64_t digest)
{
    struct pair_result one = {.digest = digest, .kind = result->kind, .time_ms = result->time_ms};
    uint64_t parts[3] = {hash64(result->key.ptr, result->key.len), (uint64_t)result->time_ms,
                         (uint64_t)result->kind};
    one.identity = hash64(parts, sizeof(parts));
    for (int32_t i = 0; i < part->stage->plan->input_count; i++) {
        one.at[i] = part->views[i].position.next_offset;
    }
    copy_beginning(one.key, result->key);
    copy_beginning(one.value, result->value);
    shadow_pair_add(shadow->pair, shadow, &one);
}

static void note_reason(struct shadow_measures *m, struct str reason)
{
    for (int32_t i = 0; i < m->reason_count; i++) {
        if (str_equal(str_of(m->reasons[i].text), reason)) {
            m->reasons[i].count++;
            return;
        }
    }
    if (reason.ptr == NULL || m->reason_count == SHADOW_REASONS_MAX) {
        return; /* the sum is in dead_letters */
    }
    struct shadow_reason *fresh = &m->reasons[m->reason_count++];
    ptrdiff_t most = (ptrdiff_t)sizeof(fresh->text) - 1;
    ptrdiff_t len = reason.len < most ? reason.len : most;
    memcpy(fresh->text, reason.ptr, (size_t)len);
    fresh->text[len] = '\0';
    fresh->count = 1;
}

static struct str reason_of(struct str headers)
{
    struct str header, value;
    while (record_header_next(&headers, &header, &value)) {
        if (str_is(header, REASON_HEADER)) {
            return value;
        }
    }
    return (struct str){NULL, 0};
}

static void take_one(struct shadow *shadow, const struct partition *part,
                     const struct shadow_result *result)
{
    struct shadow_measures *m = &shadow->meter->m;
    struct str bytes = shadow_canonical(&shadow->scratch, result);
    uint64_t digest = hash64(bytes.ptr, bytes.len);
    m->digest += digest;
    m->digest_results++;
    if (shadow->state == SHADOW_MEASURING) {
        m->results += result->kind == OUTPUT_MAIN;
        m->late += result->kind == OUTPUT_LATE;
        m->dead_letters += result->kind == OUTPUT_DEAD_LETTER;
        m->result_bytes += result->key.len + result->value.len;
        if (result->kind == OUTPUT_DEAD_LETTER) {
            note_reason(m, reason_of(result->headers));
        }
    }
    shadow_sink_add(&shadow->sink, result->key, digest, bytes);
    if (shadow->pair != NULL) {
        compare_later(shadow, part, result, digest);
    }
    arena_reset(&shadow->scratch);
}

struct commit *shadow_commit(struct shadow *shadow)
{
    if (shadow->written.bytes >= SHADOW_COMMIT_BYTES) {
        commit_reset(&shadow->written);
    }
    return &shadow->written;
}

void shadow_take(struct shadow *shadow, const struct partition *part, const struct output *output)
{
    int64_t begun = clock_thread_cpu_ns(shadow->lane->clock);
    for (int32_t i = 0; i < output->count; i++) {
        struct shadow_result result = {.kind = output->kind,
                                       .key = output->key[i],
                                       .value = output->value[i],
                                       .time_ms = output->time_ms[i],
                                       .headers = output->headers != NULL ? output->headers[i]
                                                                          : (struct str){NULL, 0}};
        take_one(shadow, part, &result);
    }
    shadow->meter->result_ns += clock_thread_cpu_ns(shadow->lane->clock) - begun;
}

void shadow_reject(struct shadow *shadow, const struct partition *part, const struct rows *rows,
                   int32_t row, struct str reason)
{
    char headers[256];
    ptrdiff_t len = record_header_put(headers, sizeof(headers), STR(REASON_HEADER), reason);
    CHECK(len > 0); /* reasons are short texts of ours */
    struct shadow_result result = {.kind = OUTPUT_DEAD_LETTER,
                                   .key = rows->key[row],
                                   .value = rows->value[row],
                                   .headers = {headers, len}};
    take_one(shadow, part, &result);
}

/* --- to the store --- */

void shadow_sink_init(struct shadow_sink *sink, const struct shadow_spec *spec,
                      struct mailbox *done)
{
    *sink = (struct shadow_sink){
        .store = spec->store, .id = spec->id, .payloads = (spec->flags & SHADOW_PAYLOADS) != 0};
    if (sink->store == NULL) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        struct shadow_put *put = &sink->puts[i];
        put->sink = sink;
        put->entries = MEM_NEW_ARRAY(struct shadowstore_entry, SHADOWSTORE_PUT_MAX);
        put->op = (struct shadowstore_op){
            .kind = SHADOWSTORE_PUT, .done = done, .shadow = spec->id, .entries = put->entries};
        arena_init(&put->payloads, SHADOW_PUT_BYTES);
    }
    sink->door = MEM_NEW(struct shadow_door);
    *sink->door = (struct shadow_door){.op = {.kind = SHADOWSTORE_OPEN,
                                              .done = done,
                                              .shadow = spec->id,
                                              .flags = sink->payloads ? SHADOWSTORE_PAYLOADS : 0},
                                       .sink = sink,
                                       .in_flight = true};
    shadowstore_submit(sink->store, &sink->door->op);
}

void shadow_sink_release(struct shadow_sink *sink)
{
    for (int i = 0; i < 2; i++) {
        CHECK(!sink->puts[i].in_flight);
        mem_free(sink->puts[i].entries);
        arena_release(&sink->puts[i].payloads);
    }
    CHECK(sink->door == NULL || !sink->door->in_flight);
    mem_free(sink->door);
    *sink = (struct shadow_sink){.store = NULL};
}

static void flush(struct shadow_sink *sink)
{
    struct shadow_put *put = &sink->puts[sink->filling];
    if (put->count == 0 || put->in_flight) {
        return;
    }
    put->in_flight = true;
    put->op.count = put->count;
    sink->filling ^= 1;
    shadowstore_submit(sink->store, &put->op);
}

void shadow_sink_add(struct shadow_sink *sink, struct str key, uint64_t digest, struct str bytes)
{
    if (sink->store == NULL) {
        return;
    }
    ptrdiff_t payload = sink->payloads ? bytes.len + ARENA_ALIGN : 0;
    struct shadow_put *put = &sink->puts[sink->filling];
    if (!put->in_flight && (put->count == SHADOWSTORE_PUT_MAX ||
                            put->payloads.used_bytes + payload > put->payloads.limit_bytes)) {
        flush(sink);
        put = &sink->puts[sink->filling];
    }
    if (put->in_flight || payload > put->payloads.limit_bytes) {
        sink->dropped++;
        return;
    }
    put->entries[put->count++] = (struct shadowstore_entry){
        .key_hash = hash64(key.ptr, key.len),
        .seq = sink->seq++,
        .digest = digest,
        .size_bytes = (uint32_t)bytes.len,
        .payload = payload > 0
                       ? (struct str){arena_dup(&put->payloads, bytes.ptr, bytes.len), bytes.len}
                       : (struct str){NULL, 0},
    };
}

void shadow_sink_step(struct shadow_sink *sink)
{
    if (sink->store != NULL) {
        flush(sink);
    }
}

void shadow_put_done(struct shadow_put *put)
{
    put->in_flight = false;
    put->count = 0;
    arena_reset(&put->payloads);
}

bool shadow_sink_still(const struct shadow_sink *sink)
{
    return !sink->puts[0].in_flight && !sink->puts[1].in_flight &&
           (sink->door == NULL || !sink->door->in_flight);
}

struct shadow_door *shadow_sink_close(struct shadow_sink *sink)
{
    struct shadow_door *door = sink->door;
    if (door != NULL) {
        CHECK(shadow_sink_still(sink));
        sink->door = NULL;
        door->sink = NULL;
        door->op.kind = SHADOWSTORE_CLOSE;
        door->in_flight = true;
        shadowstore_submit(sink->store, &door->op);
    }
    return door;
}
