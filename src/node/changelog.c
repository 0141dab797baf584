// SPDX-License-Identifier: Apache-2.0
#include "node/changelog.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "node/bytes.h"

enum { SHAPE_FORMAT = 1, RESTORE_BUF_BYTES = LOG_BATCH_BYTES_MAX + 64 };

#define SIGN_BIT (UINT64_C(1) << 63)

struct str changelog_own_key(char buf[CHANGELOG_KEY_BYTES], uint32_t space, int64_t input,
                             uint32_t group_lo, uint32_t group_hi)
{
    CHECK(space < CHANGELOG_SPACES_RESERVED && group_lo < group_hi && group_hi <= KEY_GROUP_COUNT);
    uint8_t *at = put_u16((uint8_t *)buf, (uint16_t)group_lo);
    at = put_u32(at, space);
    at = put_u64(at, (uint64_t)input ^ SIGN_BIT);
    at = put_u16(at, (uint16_t)group_lo);
    put_u16(at, group_end_encode(group_hi));
    return (struct str){buf, CHANGELOG_KEY_BYTES};
}

bool changelog_key_parse(struct str key, struct changelog_key *ret_key)
{
    struct changelog_key parsed = {0};
    uint16_t group, lo, hi;
    uint64_t time;
    if (!take_u16(&key, &group) || !take_u32(&key, &parsed.space) || !take_u64(&key, &time) ||
        group >= KEY_GROUP_COUNT) {
        return false;
    }
    parsed.group = group;
    if (parsed.space < CHANGELOG_SPACES_RESERVED) {
        if (!take_u16(&key, &lo) || !take_u16(&key, &hi) || key.len != 0) {
            return false;
        }
        parsed.input = (int64_t)(time ^ SIGN_BIT);
        parsed.group_lo = lo;
        parsed.group_hi = group_end_decode(hi);
        if (parsed.group_lo >= parsed.group_hi || parsed.group_hi > KEY_GROUP_COUNT) {
            return false;
        }
    }
    *ret_key = parsed;
    return true;
}

ptrdiff_t stage_shape_bytes(const struct stage_shape *shape)
{
    ptrdiff_t bytes = 1 + 4 + shape->text.len + 2;
    for (int32_t i = 0; i < shape->space_count; i++) {
        bytes += 2 + shape->spaces[i].name.len + 4 + shape->spaces[i].schema.len;
    }
    for (int32_t i = 0; i < shape->input_count; i++) {
        bytes += 2 + shape->inputs[i].len;
    }
    return bytes;
}

static uint8_t *put_str(uint8_t *at, struct str text)
{
    if (text.len > 0) {
        memcpy(at, text.ptr, (size_t)text.len);
    }
    return at + text.len;
}

void stage_shape_encode(const struct stage_shape *shape, void *buf)
{
    uint8_t *at = put_u8(buf, SHAPE_FORMAT);
    at = put_u32(at, (uint32_t)shape->text.len);
    at = put_str(at, shape->text);
    at = put_u16(at, (uint16_t)shape->space_count);
    for (int32_t i = 0; i < shape->space_count; i++) {
        at = put_u16(at, (uint16_t)shape->spaces[i].name.len);
        at = put_str(at, shape->spaces[i].name);
        at = put_u32(at, (uint32_t)shape->spaces[i].schema.len);
        at = put_str(at, shape->spaces[i].schema);
    }
    for (int32_t i = 0; i < shape->input_count; i++) {
        at = put_u16(at, (uint16_t)shape->inputs[i].len);
        at = put_str(at, shape->inputs[i]);
    }
}

enum err stage_shape_decode(struct str bytes, struct stage_shape *ret_shape, struct err_info *info)
{
    uint8_t format;
    uint32_t len;
    uint16_t count = 0;
    bool ok = take_u8(&bytes, &format) && format == SHAPE_FORMAT && take_u32(&bytes, &len) &&
              take_bytes(&bytes, (ptrdiff_t)len, &ret_shape->text) && take_u16(&bytes, &count) &&
              count <= COUNT_OF(ret_shape->spaces);
    ret_shape->space_count = ok ? count : 0;
    for (int32_t i = 0; i < ret_shape->space_count && ok; i++) {
        uint16_t name_len;
        ok = take_u16(&bytes, &name_len) &&
             take_bytes(&bytes, name_len, &ret_shape->spaces[i].name) && take_u32(&bytes, &len) &&
             take_bytes(&bytes, (ptrdiff_t)len, &ret_shape->spaces[i].schema);
    }
    ret_shape->input_count = 0; /* what an earlier version wrote ends here */
    while (ok && bytes.len > 0) {
        uint16_t name_len;
        int32_t i = ret_shape->input_count++;
        ok = i < COUNT_OF(ret_shape->inputs) && take_u16(&bytes, &name_len) &&
             take_bytes(&bytes, name_len, &ret_shape->inputs[i]);
    }
    ret_shape->input_count = ok ? ret_shape->input_count : 0;
    if (!ok || bytes.len != 0) {
        return err_set(info, ERR_CORRUPT, "a changelog's meta entry is not in format %d",
                       SHAPE_FORMAT);
    }
    return ERR_OK;
}

/* --- reading back --- */

void restore_init(struct restore *restore, struct log *log, struct log_op *op)
{
    *restore = (struct restore){.log = log, .op = op};
    record_reader_init(&restore->reader);
}

void restore_release(struct restore *restore)
{
    record_reader_release(&restore->reader);
    mem_free(restore->buf);
    *restore = (struct restore){0};
}

static void restore_submit(struct restore *restore, enum log_op_kind kind, enum restore_state state)
{
    struct log_op *op = restore->op;
    restore->state = state;
    op->kind = kind;
    op->err = ERR_OK;
    op->u.restore.handle = restore->handle;
    op->u.restore.buf = restore->buf;
    op->u.restore.cap = RESTORE_BUF_BYTES - 64;
    log_submit(restore->log, op);
}

void restore_start(struct restore *restore, struct shard_id changelog, uint32_t group_lo,
                   uint32_t group_hi, int64_t at)
{
    CHECK(restore->state == RESTORE_IDLE || restore->state == RESTORE_DONE);
    if (restore->buf == NULL) {
        restore->buf =
            mem_resize(NULL, RESTORE_BUF_BYTES, 1); /* not zeroed: most restores are short */
    }
    restore->group_lo = group_lo;
    restore->group_hi = group_hi;
    restore->err = ERR_OK;
    restore->handle = NULL;
    restore->in_batch = false;
    restore->op->u.restore = (struct log_restore_op){
        .changelog = changelog, .group_lo = group_lo, .group_hi = group_hi, .at = at};
    restore_submit(restore, LOG_OP_RESTORE_OPEN, RESTORE_OPENING);
}

void restore_fail(struct restore *restore, const struct err_info *info)
{
    CHECK(restore->state == RESTORE_ENTRIES || restore->state == RESTORE_READING);
    restore->err = info->code;
    restore->info = *info;
    restore_submit(restore, LOG_OP_RESTORE_CLOSE, RESTORE_CLOSING);
}

void restore_completed(struct restore *restore)
{
    struct log_op *op = restore->op;
    switch (restore->state) {
    case RESTORE_OPENING:
        if (op->err != ERR_OK) {
            restore->err = op->err;
            restore->info = op->info;
            restore->state = RESTORE_DONE;
            return;
        }
        restore->handle = op->u.restore.handle;
        restore->at = op->u.restore.ret_at;
        restore_submit(restore, LOG_OP_RESTORE_NEXT, RESTORE_READING);
        return;
    case RESTORE_READING:
        if (op->err != ERR_OK) {
            struct err_info info = op->info;
            info.code = op->err;
            restore_fail(restore, &info);
            return;
        }
        restore->len = op->u.restore.ret_bytes;
        restore->pos = 0;
        restore->more = op->u.restore.ret_more;
        restore->in_batch = false;
        restore->state = RESTORE_ENTRIES;
        return;
    case RESTORE_CLOSING:
        restore->handle = NULL;
        restore->state = RESTORE_DONE;
        return;
    case RESTORE_IDLE:
    case RESTORE_ENTRIES:
    case RESTORE_DONE:
        break;
    }
    CHECK_MSG(false, "a restore in state %d has nothing in flight", (int)restore->state);
}

void restore_more(struct restore *restore)
{
    CHECK(restore->state == RESTORE_ENTRIES);
    if (restore->more) {
        restore_submit(restore, LOG_OP_RESTORE_NEXT, RESTORE_READING);
    } else {
        restore_submit(restore, LOG_OP_RESTORE_CLOSE, RESTORE_CLOSING);
    }
}

/* Begins the next batch of the buffer. NOT_FOUND at its end. */
static enum err restore_batch(struct restore *restore, struct err_info *info)
{
    if (restore->pos >= restore->len) {
        return ERR_NOT_FOUND;
    }
    const char *at = (const char *)restore->buf + restore->pos;
    struct record_batch_header header;
    ptrdiff_t total;
    enum err err = record_batch_parse(at, restore->len - restore->pos, &header, &total, info);
    if (err != ERR_OK) {
        return err_set(info, ERR_CORRUPT, "a changelog batch of a restore is malformed");
    }
    err = record_reader_begin(&restore->reader, at, total, info);
    restore->pos += total;
    restore->in_batch = err == ERR_OK;
    return err;
}

/* Next entry of the batch that is begun whose key group is in the range. NOT_FOUND at the batch's end. */
static enum err batch_entry(struct restore *restore, struct restore_entry *ret_entry,
                            struct err_info *info)
{
    struct record record;
    for (;;) {
        enum err err = record_reader_next(&restore->reader, &record, info);
        if (err != ERR_OK) {
            return err;
        }
        struct changelog_key *key = &ret_entry->key;
        if (!changelog_key_parse(record.key, key)) {
            return err_set(info, ERR_CORRUPT,
                           "the changelog entry at offset %lld has a malformed key",
                           (long long)record.offset);
        }
        bool own = key->space < CHANGELOG_SPACES_RESERVED;
        uint32_t lo = own ? key->group_lo : key->group;
        uint32_t hi = own ? key->group_hi : key->group + 1;
        if (lo < restore->group_hi && hi > restore->group_lo) {
            ret_entry->raw_key = record.key;
            ret_entry->value = record.value;
            return ERR_OK;
        }
    }
}

enum err restore_entries(struct restore *restore, struct restore_entry *entries, int32_t cap,
                         int32_t *ret_count, struct err_info *info)
{
    CHECK(restore->state == RESTORE_ENTRIES && cap > 0);
    int32_t count = 0;
    while (count == 0) {
        enum err err = restore->in_batch ? ERR_OK : restore_batch(restore, info);
        while (err == ERR_OK && count < cap) {
            err = batch_entry(restore, &entries[count], info);
            count += err == ERR_OK;
        }
        if (err == ERR_NOT_FOUND && restore->in_batch) {
            restore->in_batch =
                false; /* entries of two batches are not handed out together: the views */
        } else if (err != ERR_OK) {
            return err;
        }
    }
    *ret_count = count;
    return ERR_OK;
}
