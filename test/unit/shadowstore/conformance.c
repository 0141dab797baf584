// SPDX-License-Identifier: Apache-2.0
#include "conformance.h"

#include "base/hash.h"
#include "base/mem.h"
#include "test.h"

enum { CHUNK = 1000 };

#define HOLDS(c) \
    do { \
        if (!(c)) { \
            test_fail(__FILE__, __LINE__, "%s", #c); \
            return false; \
        } \
    } while (0)

struct shadowstore_entry conformance_entry(uint64_t shadow, int64_t i)
{
    uint64_t what[2] = {shadow, (uint64_t)i};
    uint64_t hash = hash64(what, (ptrdiff_t)sizeof(what));
    return (struct shadowstore_entry){.key_hash = hash,
                                      .seq = (uint64_t)i,
                                      .digest = hash64(&hash, (ptrdiff_t)sizeof(hash)),
                                      .size_bytes = (uint32_t)(hash % 1000)};
}

static bool same(const struct shadowstore_entry *a, const struct shadowstore_entry *b)
{
    return a->key_hash == b->key_hash && a->seq == b->seq && a->digest == b->digest &&
           a->size_bytes == b->size_bytes && str_equal(a->payload, b->payload);
}

enum err subject_open(struct subject *subject, uint64_t shadow, uint32_t flags)
{
    struct shadowstore_op op = {.kind = SHADOWSTORE_OPEN, .shadow = shadow, .flags = flags};
    subject->run(subject, &op);
    return op.err;
}

int64_t subject_put(struct subject *subject, uint64_t shadow, int64_t first, int64_t count)
{
    static struct shadowstore_entry entries[CHUNK];
    int64_t taken = 0;
    for (int64_t done = 0; done < count;) {
        int64_t left = count - done;
        int32_t n = left < CHUNK ? (int32_t)left : CHUNK;
        for (int32_t i = 0; i < n; i++) {
            entries[i] = conformance_entry(shadow, first + done + i);
        }
        struct shadowstore_op op = {
            .kind = SHADOWSTORE_PUT, .shadow = shadow, .entries = entries, .count = n};
        subject->run(subject, &op);
        taken += op.err == ERR_OK ? op.ret_taken : 0;
        done += n;
    }
    return taken;
}

enum err subject_flush(struct subject *subject, uint64_t shadow,
                       struct shadowstore_counts *ret_counts, int32_t *ret_pages)
{
    struct shadowstore_op op = {.kind = SHADOWSTORE_FLUSH, .shadow = shadow};
    subject->run(subject, &op);
    if (ret_counts != NULL) {
        *ret_counts = op.ret_counts;
    }
    if (ret_pages != NULL) {
        *ret_pages = op.ret_pages;
    }
    return op.err;
}

enum err subject_close(struct subject *subject, uint64_t shadow,
                       struct shadowstore_counts *ret_counts)
{
    struct shadowstore_op op = {.kind = SHADOWSTORE_CLOSE, .shadow = shadow};
    subject->run(subject, &op);
    if (ret_counts != NULL) {
        *ret_counts = op.ret_counts;
    }
    return op.err;
}

struct shadowstore_status subject_status(struct subject *subject)
{
    struct shadowstore_op op = {.kind = SHADOWSTORE_STATUS};
    subject->run(subject, &op);
    return op.ret_status;
}

int64_t subject_read_all(struct subject *subject, uint64_t shadow, int32_t pages,
                         int32_t *ret_missing)
{
    uint8_t *buf = mem_new(SHADOWSTORE_PAGE_BYTES, 1);
    int64_t found = 0;
    int32_t missing = 0;
    for (int32_t page = 0; page < pages && found >= 0; page++) {
        struct shadowstore_page_reader reader;
        struct shadowstore_entry entry;
        struct shadowstore_op op = {
            .kind = SHADOWSTORE_READ, .shadow = shadow, .page = page, .buf = buf};
        subject->run(subject, &op);
        missing += op.err != ERR_OK;
        shadowstore_page_open(&reader, buf, op.err == ERR_OK ? op.ret_bytes : 0);
        while (found >= 0 && shadowstore_page_next(&reader, &entry)) {
            struct shadowstore_entry expected = conformance_entry(shadow, (int64_t)entry.seq);
            found = same(&entry, &expected) ? found + 1 : -1;
        }
    }
    mem_free(buf);
    if (ret_missing != NULL) {
        *ret_missing = missing;
    }
    return found;
}

/* --- the tests --- */

static bool round_trip(struct subject *subject)
{
    struct shadowstore_counts counts;
    int32_t pages = 0, missing = 0;
    HOLDS(subject_open(subject, 1, 0) == ERR_OK);
    HOLDS(subject_put(subject, 1, 0, 7000) == 7000);
    HOLDS(subject_flush(subject, 1, &counts, &pages) == ERR_OK);
    HOLDS(pages >= 4 && counts.pages == pages && counts.taken == 7000);
    HOLDS(subject_read_all(subject, 1, pages, &missing) == 7000 && missing == 0);
    HOLDS(subject_close(subject, 1, NULL) == ERR_OK);
    return true;
}

static bool counted(struct subject *subject)
{
    struct shadowstore_counts counts, closed;
    HOLDS(subject_open(subject, 2, 0) == ERR_OK);
    HOLDS(subject_put(subject, 2, 0, 10) == 10);
    HOLDS(subject_flush(subject, 2, &counts, NULL) == ERR_OK);
    HOLDS(counts.taken == 10 && counts.stored == 10 && counts.fallen_back == 0);
    HOLDS(counts.lost == 0 && counts.dropped_queue == 0 && counts.dropped_size == 0);
    HOLDS(counts.pages == 1 && counts.bytes >= 10 * 32 && counts.bytes < 10 * 32 + 100);
    HOLDS(subject_flush(subject, 2, &counts, NULL) == ERR_OK && counts.pages == 1);
    HOLDS(subject_close(subject, 2, &closed) == ERR_OK);
    HOLDS(closed.taken == 10 && closed.stored == 10);
    HOLDS(subject_status(subject).counts.taken >= 10); /* closed ones stay in the store's */
    return true;
}

static bool read_payloads(struct subject *subject, const struct shadowstore_entry *entries,
                          uint8_t *buf, int32_t pages, bool kept, int32_t *ret_seen)
{
    for (int32_t page = 0; page < pages; page++) {
        struct shadowstore_page_reader reader;
        struct shadowstore_entry entry;
        struct shadowstore_op op = {
            .kind = SHADOWSTORE_READ, .shadow = 3, .page = page, .buf = buf};
        subject->run(subject, &op);
        HOLDS(op.err == ERR_OK);
        shadowstore_page_open(&reader, buf, op.ret_bytes);
        while (shadowstore_page_next(&reader, &entry)) {
            const struct shadowstore_entry *put = &entries[entry.seq];
            bool whole = kept && put->payload.len <= SHADOWSTORE_PAYLOAD_MAX;
            HOLDS(entry.digest == put->digest && entry.size_bytes == put->size_bytes);
            HOLDS(str_equal(entry.payload, whole ? put->payload : (struct str){NULL, 0}));
            *ret_seen += 1;
        }
    }
    return true;
}

static bool payloads_of(struct subject *subject, uint32_t flags, const char *bytes, uint8_t *buf)
{
    static const int32_t lens[4] = {0, 5, SHADOWSTORE_PAYLOAD_MAX, SHADOWSTORE_PAYLOAD_MAX + 1};
    struct shadowstore_entry entries[4];
    struct shadowstore_counts counts;
    int32_t pages = 0, seen = 0;
    bool kept = flags != 0;
    for (int i = 0; i < 4; i++) {
        entries[i] = conformance_entry(3, i);
        entries[i].payload = (struct str){bytes, lens[i]};
    }
    struct shadowstore_op put = {
        .kind = SHADOWSTORE_PUT, .shadow = 3, .entries = entries, .count = 4};
    HOLDS(subject_open(subject, 3, flags) == ERR_OK);
    subject->run(subject, &put);
    HOLDS(put.err == ERR_OK && put.ret_taken == 4);
    HOLDS(subject_flush(subject, 3, &counts, &pages) == ERR_OK);
    HOLDS(counts.payloads_cut == (kept ? 1 : 0));
    HOLDS(read_payloads(subject, entries, buf, pages, kept, &seen) && seen == 4);
    HOLDS(subject_close(subject, 3, NULL) == ERR_OK);
    return true;
}

static bool payloads(struct subject *subject)
{
    char *bytes = mem_new(SHADOWSTORE_PAYLOAD_MAX + 1, 1);
    uint8_t *buf = mem_new(SHADOWSTORE_PAGE_BYTES, 1);
    for (int32_t i = 0; i <= SHADOWSTORE_PAYLOAD_MAX; i++) {
        bytes[i] = (char)(i * 7 + i / 256); /* any bytes: 0, line ends, high ones */
    }
    bool held = payloads_of(subject, SHADOWSTORE_PAYLOADS, bytes, buf) &&
                payloads_of(subject, 0, bytes, buf);
    mem_free(bytes);
    mem_free(buf);
    return held;
}

static bool many_shadows(struct subject *subject)
{
    struct shadowstore_counts counts;
    int32_t pages = 0;
    for (uint64_t id = 100; id < 100 + SHADOWSTORE_SHADOWS_MAX; id++) {
        HOLDS(subject_open(subject, id, 0) == ERR_OK);
        HOLDS(subject_put(subject, id, 0, (int64_t)id) == (int64_t)id);
    }
    HOLDS(subject_open(subject, 200, 0) == ERR_LIMIT);
    HOLDS(subject_status(subject).open_shadows == SHADOWSTORE_SHADOWS_MAX);
    for (uint64_t id = 100; id < 100 + SHADOWSTORE_SHADOWS_MAX; id++) {
        HOLDS(subject_flush(subject, id, &counts, &pages) == ERR_OK);
        HOLDS(counts.taken == (int64_t)id);
        HOLDS(subject_read_all(subject, id, pages, NULL) == (int64_t)id);
        HOLDS(subject_close(subject, id, NULL) == ERR_OK);
    }
    HOLDS(subject_open(subject, 200, 0) == ERR_OK); /* there is room again */
    HOLDS(subject_close(subject, 200, NULL) == ERR_OK);
    return true;
}

static bool refusals(struct subject *subject)
{
    uint8_t *buf = mem_new(SHADOWSTORE_PAGE_BYTES, 1);
    struct shadowstore_op read = {.kind = SHADOWSTORE_READ, .shadow = 4, .page = 0, .buf = buf};
    struct shadowstore_op put = {
        .kind = SHADOWSTORE_PUT, .shadow = 4, .count = SHADOWSTORE_PUT_MAX + 1};
    struct shadowstore_op empty = {.kind = SHADOWSTORE_PUT, .shadow = 4, .count = 0};
    bool held = subject_flush(subject, 4, NULL, NULL) == ERR_NOT_FOUND &&
                subject_close(subject, 4, NULL) == ERR_NOT_FOUND &&
                subject_put(subject, 4, 0, 1) == 0 && subject_open(subject, 4, 0) == ERR_OK &&
                subject_open(subject, 4, 0) == ERR_EXISTS;
    subject->run(subject, &read);
    held = held && read.err == ERR_INVALID && read.info.text[0] != 0;
    subject->run(subject, &put);
    held = held && put.err == ERR_INVALID;
    subject->run(subject, &empty);
    held = held && empty.err == ERR_OK && empty.ret_taken == 0;
    held = held && subject_flush(subject, 4, NULL, NULL) == ERR_OK; /* of nothing */
    held = held && subject_close(subject, 4, NULL) == ERR_OK;
    mem_free(buf);
    HOLDS(held);
    return true;
}

static bool closing(struct subject *subject)
{
    struct shadowstore_status before = subject_status(subject);
    HOLDS(subject_open(subject, 5, 0) == ERR_OK);
    HOLDS(subject_put(subject, 5, 0, 50000) > 0);
    HOLDS(subject_flush(subject, 5, NULL, NULL) == ERR_OK);
    HOLDS(subject_put(subject, 5, 50000, 10) == 10); /* in a page that is being filled */
    HOLDS(subject_close(subject, 5, NULL) == ERR_OK);
    HOLDS(subject_put(subject, 5, 0, 1) == 0); /* too late: not kept */
    HOLDS(subject_flush(subject, 5, NULL, NULL) == ERR_NOT_FOUND);
    struct shadowstore_status after = subject_status(subject);
    HOLDS(after.cleaned == before.cleaned + 1 && after.cleanups_pending == 0);
    HOLDS(after.memory_bytes == before.memory_bytes && after.open_shadows == before.open_shadows);
    return true;
}

bool conformance_all(struct subject *subject)
{
    return round_trip(subject) && counted(subject) && payloads(subject) && many_shadows(subject) &&
           refusals(subject) && closing(subject);
}
