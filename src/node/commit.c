// SPDX-License-Identifier: Apache-2.0
#include "node/commit.h"

#include "base/check.h"
#include "base/mem.h"

struct commit_shard {
    struct shard_id shard;
    struct record_builder builder;
    bool in_use;    /* has something in this commit */
    int32_t batch;  /* index in batches once sealed */
    uint8_t *spill; /* finished batches, when one was not enough */
    ptrdiff_t spill_len, spill_cap;
};

void commit_init(struct commit *commit)
{
    *commit = (struct commit){0};
}

void commit_release(struct commit *commit)
{
    for (int32_t i = 0; i < commit->slot_count; i++) {
        record_builder_release(&commit->slots[i].builder);
        mem_free(commit->slots[i].spill);
    }
    mem_free(commit->slots);
    mem_free(commit->table);
    mem_free(commit->used);
    mem_free(commit->claims);
    mem_free(commit->parts);
    mem_free(commit->batches);
    *commit = (struct commit){0};
}

void commit_reset(struct commit *commit)
{
    for (int32_t i = 0; i < commit->used_count; i++) {
        struct commit_shard *slot = &commit->slots[commit->used[i]];
        record_builder_reset(&slot->builder);
        slot->spill_len = 0;
        slot->in_use = false;
    }
    commit->used_count = 0;
    commit->claim_count = 0;
    commit->bytes = 0;
    commit->records = 0;
    commit->sealed = false;
}

/* Place of a shard in the table: where it is, or the free one where it belongs. */
static int32_t table_place(const struct commit *commit, struct shard_id shard)
{
    uint32_t mask = (uint32_t)commit->table_cap - 1;
    uint32_t at = (shard.v * UINT32_C(2654435769)) & mask;
    while (commit->table[at] != 0 && commit->slots[commit->table[at] - 1].shard.v != shard.v) {
        at = (at + 1) & mask;
    }
    return (int32_t)at;
}

static void table_grow(struct commit *commit)
{
    mem_free(commit->table);
    commit->table_cap = commit->table_cap == 0 ? 32 : 2 * commit->table_cap;
    commit->table = MEM_NEW_ARRAY(int32_t, commit->table_cap);
    for (int32_t i = 0; i < commit->slot_count; i++) {
        commit->table[table_place(commit, commit->slots[i].shard)] = i + 1;
    }
}

static struct commit_shard *slot_of(struct commit *commit, struct shard_id shard,
                                    enum record_codec codec)
{
    if (2 * (commit->slot_count + 1) > commit->table_cap) {
        table_grow(commit);
    }
    int32_t place = table_place(commit, shard);
    if (commit->table[place] == 0) {
        if (commit->slot_count == commit->slot_cap) {
            int32_t cap = commit->slot_cap == 0 ? 16 : 2 * commit->slot_cap;
            commit->slots = mem_resize(commit->slots, cap, (ptrdiff_t)sizeof(struct commit_shard));
            commit->used = mem_resize(commit->used, cap, (ptrdiff_t)sizeof(int32_t));
            commit->batches = mem_resize(commit->batches, cap, (ptrdiff_t)sizeof(struct log_batch));
            commit->slot_cap = cap;
        }
        struct commit_shard *fresh = &commit->slots[commit->slot_count++];
        *fresh = (struct commit_shard){.shard = shard};
        record_builder_init(&fresh->builder, codec);
        commit->table[place] = commit->slot_count;
    }
    struct commit_shard *slot = &commit->slots[commit->table[place] - 1];
    if (!slot->in_use) {
        slot->in_use = true;
        slot->builder.codec = codec;
        commit->used[commit->used_count++] = commit->table[place] - 1;
    }
    return slot;
}

/* Finishes the batch being built and puts it behind those finished before. */
static enum err spill(struct commit_shard *slot, struct err_info *info)
{
    void *bytes;
    ptrdiff_t len;
    enum err err = record_builder_finish(&slot->builder, RECORD_PRODUCER_NONE, &bytes, &len, info);
    if (err != ERR_OK) {
        return err;
    }
    if (slot->spill_len + len > slot->spill_cap) {
        slot->spill_cap = 2 * (slot->spill_len + len);
        slot->spill = mem_resize(slot->spill, slot->spill_cap, 1);
    }
    memcpy(slot->spill + slot->spill_len, bytes, (size_t)len);
    slot->spill_len += len;
    record_builder_reset(&slot->builder);
    return ERR_OK;
}

enum err commit_add(struct commit *commit, struct shard_id shard, enum record_codec codec,
                    const struct record *record)
{
    CHECK(!commit->sealed);
    struct commit_shard *slot = slot_of(commit, shard, codec);
    enum err err = record_builder_add(&slot->builder, record);
    if (err == ERR_LIMIT && slot->builder.count > 0) {
        err = spill(slot, NULL);
        err = err == ERR_OK ? record_builder_add(&slot->builder, record) : err;
    }
    if (err == ERR_OK) {
        commit->bytes += record->key.len + record->value.len + record->headers.len + 8;
        commit->records++;
    }
    return err;
}

int32_t commit_claim(struct commit *commit, struct partition *part, const struct log_claim *claim)
{
    CHECK(!commit->sealed);
    if (commit->claim_count == commit->claim_cap) {
        commit->claim_cap = commit->claim_cap == 0 ? 16 : 2 * commit->claim_cap;
        commit->claims =
            mem_resize(commit->claims, commit->claim_cap, (ptrdiff_t)sizeof(struct log_claim));
        commit->parts =
            mem_resize(commit->parts, commit->claim_cap, (ptrdiff_t)sizeof(struct commit_claim));
    }
    commit->claims[commit->claim_count] = *claim;
    int32_t slot = commit->table[table_place(commit, claim->changelog)] - 1;
    CHECK(slot >= 0 && commit->slots[slot].in_use); /* a claim comes with a position at least */
    commit->parts[commit->claim_count] =
        (struct commit_claim){.part = part, .changelog_slot = slot};
    return commit->claim_count++;
}

enum err commit_seal(struct commit *commit, struct log_commit_op *op, struct err_info *info)
{
    CHECK(!commit->sealed && commit->claim_count > 0);
    int64_t total = 0;
    int32_t count = 0;
    for (int32_t i = 0; i < commit->used_count; i++) {
        struct commit_shard *slot = &commit->slots[commit->used[i]];
        void *bytes = slot->spill;
        ptrdiff_t len = slot->spill_len;
        enum err err = ERR_OK;
        if (slot->builder.count > 0 && len > 0) {
            err = spill(slot, info);
            bytes = slot->spill;
            len = slot->spill_len;
        } else if (slot->builder.count > 0) {
            err = record_builder_finish(&slot->builder, RECORD_PRODUCER_NONE, &bytes, &len, info);
        }
        if (err != ERR_OK) {
            return err;
        }
        slot->batch = -1;
        if (len > 0) {
            slot->batch = count;
            commit->batches[count++] =
                (struct log_batch){.shard = slot->shard, .bytes = bytes, .len = len};
            total += len;
        }
    }
    if (total > LOG_COMMIT_BYTES_MAX) {
        return err_set(info, ERR_LIMIT, "a commit of %lld bytes is over %d", (long long)total,
                       LOG_COMMIT_BYTES_MAX);
    }
    commit->sealed = true;
    op->batches = commit->batches;
    op->batch_count = count;
    op->claims = commit->claims;
    op->claim_count = commit->claim_count;
    return ERR_OK;
}

int64_t commit_end_of(const struct commit *commit, int32_t index)
{
    CHECK(commit->sealed && index >= 0 && index < commit->claim_count);
    const struct commit_shard *slot = &commit->slots[commit->parts[index].changelog_slot];
    CHECK(slot->batch >= 0);
    return commit->batches[slot->batch].ret_end_offset;
}
