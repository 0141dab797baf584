// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "sim/log_model_priv.h"

/* Judging restores. Of each key all writes are known in order. Those of acknowledged commits up to `at` are in, those
 * behind it and of refused ones are out, and of those whose fate or end is not known yet either may be true: the
 * restored entry must be the last one that is in, or one behind it that may be. */

enum inclusion { OUT, IN, EITHER };

bool model_find_entry(const struct log_model *model, const struct attempt *attempt, int shard,
                      uint32_t group, uint32_t user_key, int *ret_piece, int *ret_index)
{
    int index_of[MODEL_PIECES_MAX] = {0};
    (void)model;
    for (int i = 0; i < attempt->entry_count; i++) {
        const struct model_entry *e = &attempt->entries[i];
        if (attempt->pieces[e->piece].shard == shard && e->group == group &&
            e->user_key == user_key) {
            *ret_piece = e->piece;
            *ret_index = index_of[e->piece];
            return true;
        }
        index_of[e->piece]++;
    }
    return false;
}

static enum inclusion inclusion_of(const struct model_write *write, int64_t at, int64_t life)
{
    const struct attempt *attempt = write->attempt;
    int64_t end = attempt->pieces[write->piece].end;
    switch (attempt->state) {
    case ATTEMPT_VOID:
        return OUT;
    case ATTEMPT_ACKED:
    case ATTEMPT_THERE:
        if (end >= 0) {
            return end <= at ? IN : OUT;
        }
        return life > attempt->ended_life ? IN : EITHER;
    case ATTEMPT_FLYING:
    case ATTEMPT_MAYBE:
    default:
        return EITHER;
    }
}

/* Index of the last write that is in; -1: none. */
static int32_t floor_of(const struct model_key *key, int64_t at, int64_t life)
{
    int32_t i = key->count - 1;
    while (i >= 0 && inclusion_of(&key->writes[i], at, life) != IN) {
        i--;
    }
    return i;
}

/* Which write a restored entry shows, from `from` on; -1: none that fits. A tombstone names no attempt, so the last
 * that may be meant is taken. */
static int32_t shown(const struct model_key *key, const struct restored *r, int32_t from,
                     int64_t at, int64_t life)
{
    bool gone = !r->there || r->tombstone;
    for (int32_t i = key->count - 1; i >= from && i >= 0; i--) {
        const struct model_write *write = &key->writes[i];
        bool fits = gone ? write->tombstone : !write->tombstone && write->attempt->id == r->attempt;
        if (fits && inclusion_of(write, at, life) != OUT) {
            return i;
        }
    }
    return -1;
}

/* A commit of which one entry shows must show in all of its keys, or later ones of them (L2). */
static void check_whole(struct log_model *model, int shard, const struct model_write *write,
                        int64_t at, int64_t life, struct restored (*restored)[MODEL_USER_KEYS],
                        const uint32_t range[2])
{
    const struct attempt *attempt = write->attempt;
    for (int e = 0; e < attempt->entry_count; e++) {
        const struct model_entry *entry = &attempt->entries[e];
        if (entry->piece != write->piece || entry->group < range[0] || entry->group >= range[1]) {
            continue;
        }
        const struct model_key *key = model_key(model, shard, entry->group, entry->user_key);
        int32_t its = key->count - 1;
        while (its >= 0 && key->writes[its].attempt != attempt) {
            its--;
        }
        CHECK(its >= 0);
        if (shown(key, &restored[entry->group][entry->user_key], its, at, life) < 0) {
            log_model_fail(model, "L2: a restore of shard %u at %lld shows attempt %llu in part",
                           model->shards[shard].number, (long long)at,
                           (unsigned long long)attempt->id);
        }
    }
}

static void fail_key(struct log_model *model, int shard, uint32_t group, uint32_t user_key,
                     int64_t at, const struct model_write *floor, const struct restored *r)
{
    log_model_fail(model,
                   "restore of shard %u at %lld: key %u of group %u shows %s%llu, expected %s%llu "
                   "or later",
                   model->shards[shard].number, (long long)at, user_key, group,
                   !r->there      ? "nothing, "
                   : r->tombstone ? "a tombstone, "
                                  : "attempt ",
                   (unsigned long long)r->attempt,
                   floor == NULL      ? "nothing, "
                   : floor->tombstone ? "the tombstone of "
                                      : "attempt ",
                   (unsigned long long)(floor == NULL ? 0 : floor->attempt->id));
}

void log_model_check_restore(struct log_model *model, int shard, uint32_t group_lo,
                             uint32_t group_hi, int64_t at, int64_t life,
                             struct restored (*restored)[MODEL_USER_KEYS])
{
    uint32_t range[2] = {group_lo, group_hi};
    for (uint32_t group = group_lo; group < group_hi && group < MODEL_GROUPS; group++) {
        for (uint32_t user_key = 0; user_key < MODEL_USER_KEYS; user_key++) {
            struct model_key *key = model_key(model, shard, group, user_key);
            const struct restored *r = &restored[group][user_key];
            int32_t floor = floor_of(key, at, life);
            bool gone = !r->there || r->tombstone;
            int32_t index = shown(key, r, floor, at, life);
            if (index < 0 && !(gone && floor < 0)) {
                fail_key(model, shard, group, user_key, at, floor >= 0 ? &key->writes[floor] : NULL,
                         r);
                return;
            }
            if (index >= 0 && !gone) {
                struct model_write *write = &key->writes[index];
                write->attempt->seen = true;
                check_whole(model, shard, write, at, life, restored, range);
            }
        }
    }
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

/* One entry of a changelog or checkpoint. */
static void apply_record(struct log_model *model, int shard, const struct check_record *record,
                         struct restored (*restored)[MODEL_USER_KEYS])
{
    const uint8_t *key = (const uint8_t *)record->key.ptr;
    uint32_t group = record->key.len == MODEL_KEY_BYTES ? (uint32_t)key[0] << 8 | key[1] : 65535;
    uint32_t user_key = group < MODEL_GROUPS ? key[MODEL_KEY_BYTES - 1] : 0;
    if (group >= MODEL_GROUPS || user_key >= MODEL_USER_KEYS) {
        log_model_fail(model, "restore of shard %u: a key that nobody wrote",
                       model->shards[shard].number);
        return;
    }
    struct restored *r = &restored[group][user_key];
    if (record->value.ptr == NULL) {
        *r = (struct restored){.there = true, .tombstone = true};
        return;
    }
    uint8_t expected[MODEL_VALUE_MAX];
    uint64_t id = record->value.len >= 8 ? get_u64((const uint8_t *)record->value.ptr) : 0;
    const struct attempt *attempt = model_attempt(model, id);
    int piece = 0;
    int index = 0;
    bool good =
        attempt != NULL && model_find_entry(model, attempt, shard, group, user_key, &piece, &index);
    if (good) {
        ptrdiff_t len = model_value(id, piece, index, expected);
        good = str_equal(record->value, (struct str){(const char *)expected, len});
    }
    if (!good) {
        log_model_fail(model, "restore of shard %u: group %u: a value that nobody wrote (L7)",
                       model->shards[shard].number, group);
        return;
    }
    *r = (struct restored){.there = true, .attempt = id};
}

void log_model_apply(struct log_model *model, int shard, const uint8_t *bytes, ptrdiff_t len,
                     struct restored (*restored)[MODEL_USER_KEYS])
{
    struct check_batch *batch =
        mem_resize(NULL, 1, (ptrdiff_t)sizeof(*batch)); /* the decoder fills it */
    for (ptrdiff_t at = 0; at < len; at += batch->bytes) {
        const char *wrong = check_batch_decode(bytes + at, len - at, batch);
        if (wrong != NULL) {
            log_model_fail(model, "restore of shard %u: %s (L7)", model->shards[shard].number,
                           wrong);
            break;
        }
        for (int32_t i = 0; i < batch->count; i++) {
            apply_record(model, shard, &batch->records[i], restored);
        }
    }
    mem_free(batch);
}
