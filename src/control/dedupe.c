// SPDX-License-Identifier: Apache-2.0
#include "control/dedupe.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

enum { NONE = -1, DEDUPE_FORMAT = 1 };

struct slot {
    char *key;
    ptrdiff_t key_len;
    uint64_t hash;
    int32_t chain;          /* next in the bucket, or next free */
    int32_t older, younger; /* by last change */
    struct dedupe_entry entry;
};

struct dedupe {
    int32_t entries_max;
    int32_t count;
    uint32_t bucket_mask;
    int32_t *buckets;
    struct slot *slots; /* grown on demand up to entries_max */
    int32_t slot_count, slot_cap;
    int32_t free_first;
    int32_t oldest, youngest;
};

struct dedupe *dedupe_new(int32_t entries_max)
{
    struct dedupe *dedupe = MEM_NEW(struct dedupe);
    uint32_t buckets = 16;
    CHECK(entries_max > 0 && entries_max <= DEDUPE_ENTRIES_MAX);
    while (buckets < (uint32_t)entries_max) {
        buckets *= 2;
    }
    *dedupe = (struct dedupe){.entries_max = entries_max,
                              .bucket_mask = buckets - 1,
                              .buckets = MEM_NEW_ARRAY(int32_t, buckets),
                              .free_first = NONE,
                              .oldest = NONE,
                              .youngest = NONE};
    memset(dedupe->buckets, 0xff, buckets * sizeof(int32_t));
    return dedupe;
}

void dedupe_free(struct dedupe *dedupe)
{
    if (dedupe == NULL) {
        return;
    }
    for (int32_t i = 0; i < dedupe->slot_count; i++) {
        mem_free(dedupe->slots[i].key);
    }
    mem_free(dedupe->slots);
    mem_free(dedupe->buckets);
    mem_free(dedupe);
}

static int32_t find(const struct dedupe *dedupe, struct str key, uint64_t hash)
{
    int32_t at = dedupe->buckets[hash & dedupe->bucket_mask];
    while (at != NONE) {
        const struct slot *slot = &dedupe->slots[at];
        if (slot->hash == hash && str_equal((struct str){slot->key, slot->key_len}, key)) {
            return at;
        }
        at = slot->chain;
    }
    return NONE;
}

struct dedupe_entry *dedupe_find(struct dedupe *dedupe, struct str key)
{
    int32_t at = find(dedupe, key, hash64(key.ptr, key.len));
    return at != NONE ? &dedupe->slots[at].entry : NULL;
}

static void unlink_age(struct dedupe *dedupe, int32_t at)
{
    const struct slot *slot = &dedupe->slots[at];
    if (slot->older != NONE) {
        dedupe->slots[slot->older].younger = slot->younger;
    } else {
        dedupe->oldest = slot->younger;
    }
    if (slot->younger != NONE) {
        dedupe->slots[slot->younger].older = slot->older;
    } else {
        dedupe->youngest = slot->older;
    }
}

static void link_youngest(struct dedupe *dedupe, int32_t at)
{
    dedupe->slots[at].older = dedupe->youngest;
    dedupe->slots[at].younger = NONE;
    if (dedupe->youngest != NONE) {
        dedupe->slots[dedupe->youngest].younger = at;
    } else {
        dedupe->oldest = at;
    }
    dedupe->youngest = at;
}

static void remove_at(struct dedupe *dedupe, int32_t at)
{
    struct slot *slot = &dedupe->slots[at];
    int32_t *link = &dedupe->buckets[slot->hash & dedupe->bucket_mask];
    while (*link != at) {
        link = &dedupe->slots[*link].chain;
    }
    *link = slot->chain;
    unlink_age(dedupe, at);
    mem_free(slot->key);
    *slot = (struct slot){.chain = dedupe->free_first};
    dedupe->free_first = at;
    dedupe->count--;
}

static int32_t take_slot(struct dedupe *dedupe)
{
    if (dedupe->count == dedupe->entries_max) {
        remove_at(dedupe, dedupe->oldest);
    }
    if (dedupe->free_first != NONE) {
        int32_t at = dedupe->free_first;
        dedupe->free_first = dedupe->slots[at].chain;
        return at;
    }
    if (dedupe->slot_count == dedupe->slot_cap) {
        int32_t cap = dedupe->slot_cap > 0 ? dedupe->slot_cap * 2 : 64;
        dedupe->slots = mem_resize(dedupe->slots, cap, (ptrdiff_t)sizeof(struct slot));
        dedupe->slot_cap = cap;
    }
    dedupe->slots[dedupe->slot_count] = (struct slot){.chain = NONE};
    return dedupe->slot_count++;
}

void dedupe_put(struct dedupe *dedupe, struct str key, const struct dedupe_entry *entry)
{
    uint64_t hash = hash64(key.ptr, key.len);
    int32_t at = find(dedupe, key, hash);
    CHECK(key.len > 0 && key.len <= DEDUPE_KEY_MAX);
    if (at == NONE) {
        at = take_slot(dedupe);
        int32_t *bucket = &dedupe->buckets[hash & dedupe->bucket_mask];
        dedupe->slots[at] = (struct slot){
            .key = mem_dup(key.ptr, key.len), .key_len = key.len, .hash = hash, .chain = *bucket};
        *bucket = at;
        dedupe->count++;
    } else {
        unlink_age(dedupe, at);
    }
    dedupe->slots[at].entry = *entry;
    link_youngest(dedupe, at);
}

void dedupe_remove(struct dedupe *dedupe, struct str key)
{
    int32_t at = find(dedupe, key, hash64(key.ptr, key.len));
    if (at != NONE) {
        remove_at(dedupe, at);
    }
}

void dedupe_expire(struct dedupe *dedupe, int64_t before_ms, int32_t max)
{
    while (max-- > 0 && dedupe->oldest != NONE) {
        const struct dedupe_entry *entry = &dedupe->slots[dedupe->oldest].entry;
        if (entry->changed_ms >= before_ms || entry->pending) {
            return;
        }
        remove_at(dedupe, dedupe->oldest);
    }
}

int32_t dedupe_count(const struct dedupe *dedupe)
{
    return dedupe->count;
}

bool dedupe_next(const struct dedupe *dedupe, struct dedupe_cursor *cursor, struct str *ret_key,
                 struct dedupe_entry *ret_entry)
{
    cursor->at = cursor->begun ? dedupe->slots[cursor->at].younger : dedupe->oldest;
    cursor->begun = true;
    if (cursor->at == NONE) {
        return false;
    }
    const struct slot *slot = &dedupe->slots[cursor->at];
    *ret_key = (struct str){slot->key, slot->key_len};
    *ret_entry = slot->entry;
    return true;
}

static void put_i64(char **at, int64_t value)
{
    for (int shift = 56; shift >= 0; shift -= 8) {
        *(*at)++ = (char)((uint64_t)value >> shift & 0xff);
    }
}

static int64_t get_i64(const char **at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value = value << 8 | (unsigned char)*(*at)++;
    }
    return (int64_t)value;
}

void dedupe_encode(const struct dedupe_entry *entry, char ret_value[DEDUPE_VALUE_BYTES])
{
    char *at = ret_value;
    *at++ = DEDUPE_FORMAT;
    *at++ = (char)((uint16_t)entry->epoch >> 8);
    *at++ = (char)((uint16_t)entry->epoch & 0xff);
    put_i64(&at, entry->next);
    put_i64(&at, (int64_t)entry->body_hash);
    put_i64(&at, entry->changed_ms);
    put_i64(&at, entry->records);
    put_i64(&at, entry->rejected);
    put_i64(&at, entry->shard);
    put_i64(&at, entry->offset);
    CHECK(at - ret_value == DEDUPE_VALUE_BYTES);
}

enum err dedupe_decode(struct str value, struct dedupe_entry *ret_entry)
{
    const char *at = value.ptr;
    if (value.len != DEDUPE_VALUE_BYTES || *at++ != DEDUPE_FORMAT) {
        return ERR_CORRUPT;
    }
    int high = (unsigned char)*at++;
    int low = (unsigned char)*at++;
    *ret_entry = (struct dedupe_entry){.epoch = (int16_t)(high << 8 | low)};
    ret_entry->next = get_i64(&at);
    ret_entry->body_hash = (uint64_t)get_i64(&at);
    ret_entry->changed_ms = get_i64(&at);
    ret_entry->records = get_i64(&at);
    ret_entry->rejected = get_i64(&at);
    ret_entry->shard = get_i64(&at);
    ret_entry->offset = get_i64(&at);
    return ERR_OK;
}

enum dedupe_verdict dedupe_judge_producer(const struct dedupe_entry *entry, int64_t epoch,
                                          int64_t sequence, int64_t count)
{
    if (entry == NULL || epoch > entry->epoch) {
        return sequence == 0 ? DEDUPE_NEW : DEDUPE_GAP;
    }
    if (epoch < entry->epoch) {
        return DEDUPE_STALE;
    }
    if (sequence == entry->next) {
        return DEDUPE_NEW;
    }
    if (sequence > entry->next || sequence + count > entry->next) {
        return DEDUPE_GAP;
    }
    return entry->pending ? DEDUPE_PENDING : DEDUPE_DONE;
}

enum dedupe_verdict dedupe_judge_key(const struct dedupe_entry *entry, uint64_t body_hash,
                                     int64_t now_ms, int64_t lifetime_ms)
{
    if (entry == NULL || (!entry->pending && now_ms - entry->changed_ms > lifetime_ms)) {
        return DEDUPE_NEW;
    }
    if (entry->body_hash != body_hash) {
        return DEDUPE_OTHER_BODY;
    }
    return entry->pending ? DEDUPE_PENDING : DEDUPE_DONE;
}
