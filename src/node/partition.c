// SPDX-License-Identifier: Apache-2.0
#include "node/partition.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/planted.h"
#include "node/partition_priv.h"
#include "node/shadow_part.h"

/* --- names --- */

const char *partition_state_name(enum partition_state state)
{
    static const char *const names[] = {"opening", "running", "stalled",
                                        "closing", "closed",  "failed"};
    static_assert(COUNT_OF(names) == PARTITION_STATE_COUNT, "a name for each state");
    return names[state];
}

const char *stall_reason_name(enum stall_reason reason)
{
    static const char *const names[] = {"none", "memory", "retry", "internal"};
    static_assert(COUNT_OF(names) == STALL_REASON_COUNT, "a name for each reason");
    return names[reason];
}

/* --- the second day --- */

/* State of an earlier chain that cannot go on: spaces of another schema, and what they held, to be removed for good. */
struct second_day {
    struct arena arena;
    uint32_t dropped[COUNT_OF(
        ((struct stage_shape *)0)->spaces)]; /* ids of spaces with another schema */
    int32_t dropped_count;
    bool moved[2];    /* inputs that were of another stream: their positions are not this one's */
    int32_t lost;     /* differences that the last meta entry shows */
    char text[200];   /* the first of them */
    struct str *keys; /* entries of dropped and unknown spaces */
    int32_t key_count, key_cap;
};

static struct second_day *second_day_of(struct partition *part)
{
    if (part->second_day == NULL) {
        part->second_day = MEM_NEW(struct second_day);
        arena_init(&part->second_day->arena, INT64_C(1) << 40);
    }
    return part->second_day;
}

static void second_day_free(struct partition *part)
{
    if (part->second_day != NULL) {
        arena_release(&part->second_day->arena);
        mem_free(part->second_day->keys);
        mem_free(part->second_day);
        part->second_day = NULL;
    }
}

/* A space's id is hash64 of its name in these bits; the other tells composite ones (pipeline/state.h). */
#define SPACE_NAME_BITS UINT32_C(0x7fffffff)

static uint32_t space_id(struct str name)
{
    return (uint32_t)hash64(name.ptr, name.len);
}

/* Spaces of `old` that have another schema in this chain. */
static void note_dropped(struct second_day *day, const struct stage_shape *old,
                         const struct stage_shape *own)
{
    day->dropped_count = 0;
    for (int32_t i = 0; i < old->space_count; i++) {
        for (int32_t k = 0; k < own->space_count; k++) {
            if (str_equal(old->spaces[i].name, own->spaces[k].name) &&
                !str_equal(old->spaces[i].schema, own->spaces[k].schema)) {
                day->dropped[day->dropped_count++] = space_id(old->spaces[i].name);
            }
        }
    }
}

/* A meta entry: from here on, entries are those of the chain it tells of. */
static enum err restore_meta(struct partition *part, struct str value, struct err_info *info)
{
    if (value.ptr == NULL) {
        return ERR_OK;
    }
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct stage_shape *old = ARENA_NEW(&arena, struct stage_shape);
    enum err err = stage_shape_decode(value, old, info);
    if (err == ERR_OK) {
        char text[200];
        int32_t lost = stage_shape_compare(old, part->stage->plan, text, sizeof(text));
        if (lost > 0 || part->second_day != NULL) {
            struct second_day *day = second_day_of(part);
            struct stage_shape *own = ARENA_NEW(&arena, struct stage_shape);
            stage_shape_of(part->stage->plan, own);
            note_dropped(day, old, own);
            for (int32_t i = 0; i < COUNT_OF(day->moved); i++) {
                day->moved[i] = stage_shape_input_moved(old, part->stage->plan, i);
            }
            day->lost = lost;
            memcpy(day->text, text, sizeof(text));
        }
    }
    arena_release(&arena);
    return err;
}

static bool space_dropped(const struct partition *part, uint32_t space)
{
    const struct second_day *day = part->second_day;
    for (int32_t i = 0; day != NULL && i < day->dropped_count; i++) {
        if (((day->dropped[i] ^ space) & SPACE_NAME_BITS) == 0) {
            return true;
        }
    }
    return false;
}

static void remember_dropped(struct partition *part, struct str raw_key, struct str value)
{
    if (value.ptr == NULL || !part->stage->drop_state) {
        return;
    }
    struct second_day *day = second_day_of(part);
    if (day->key_count == day->key_cap) {
        day->key_cap = day->key_cap == 0 ? 64 : 2 * day->key_cap;
        day->keys = mem_resize(day->keys, day->key_cap, (ptrdiff_t)sizeof(struct str));
    }
    day->keys[day->key_count++] =
        (struct str){arena_dup(&day->arena, raw_key.ptr, raw_key.len), raw_key.len};
}

bool partition_dropped_state(const struct partition *part)
{
    return part->second_day != NULL && part->second_day->key_count > 0;
}

/* --- life --- */

struct partition *partition_new(struct stage *stage, const struct partition_place *place)
{
    struct partition *part = MEM_NEW(struct partition);
    part->stage = stage;
    part->place = *place;
    part->state = PARTITION_OPENING;
    part->restore_at = LOG_AT_LAST;
    part->checkpoint_block = -1;
    part->committed[0] = part->committed[1] = -1;
    for (int32_t i = 0; i < stage->plan->operator_count; i++) {
        const struct operator_plan *op = stage->plan->operators[i];
        part->cut_each |= op->effects != EFFECTS_NONE ||
                          (op->type != NULL && strcmp(op->type->name, "plugin") == 0);
    }
    return part;
}

static void account_state(struct partition *part, int64_t bytes)
{
    if (part->shadow == NULL) {
        atomic_fetch_add_explicit(&part->stage->pipeline->state_bytes,
                                  bytes - part->figures.state_bytes, memory_order_relaxed);
    }
    part->figures.state_bytes = bytes;
}

void partition_account(struct partition *part)
{
    if (part->state_kept != NULL) {
        account_state(part, state_bytes_used(part->state_kept));
        part->figures.state_entries = state_entry_count(part->state_kept);
    }
}

struct bench *partition_clear(struct partition *part, struct decode_cache *cache)
{
    struct bench *bench = NULL;
    if (part->parked != NULL) {
        bench = part->parked->bench;
        if (part->parked->kept != NULL) {
            decode_drop(cache, part->parked->kept);
        }
        mem_free(part->parked);
        part->parked = NULL;
    }
    chain_free(part->chain);
    state_free(part->state_kept);
    part->chain = NULL;
    part->state_kept = NULL;
    account_state(part, 0);
    for (int i = 0; i < 2; i++) {
        view_release(&part->views[i]);
        position_map_release(&part->restored[i]);
        part->views[i] = (struct view){0};
        part->moved[i] = false;
    }
    second_day_free(part);
    part->claimed = false;
    part->movable = false;
    part->advancing = false;
    part->meta_written = false;
    part->checkpoint_block = -1;
    part->changelog_since = 0;
    return bench;
}

void partition_free(struct partition *part)
{
    CHECK(part->parked == NULL && part->chain == NULL); /* partition_clear came before */
    mem_free(part->group_counts);
    mem_free(part->group_rest);
    heavy_free(part->heavy);
    mem_free(part);
}

enum err partition_make_chain(struct partition *part, struct err_info *info)
{
    if (part->chain != NULL) {
        return ERR_OK;
    }
    if (part->state_kept == NULL) {
        part->state_kept = state_new(part->place.group_lo, part->place.group_hi);
        state_set_tracking(part->state_kept, part->shadow == NULL);
    }
    struct chain_options options = {.plan = part->stage->plan,
                                    .state = part->state_kept,
                                    .lookup_tables = part->lookup_tables,
                                    .probes =
                                        part->shadow != NULL ? shadow_probes(part->shadow) : NULL,
                                    .shadow = part->shadow != NULL};
    part->tick_ns = 0; /* early results, if it has any, are asked for */
    return chain_new(&options, &part->chain, info);
}

/* The node's own entries: positions, and what the chain was. */
static enum err restore_own(struct partition *part, const struct restore_entry *entry,
                            struct err_info *info)
{
    const struct changelog_key *key = &entry->key;
    if (key->space == CHANGELOG_SPACE_META && part->feed == NULL) { /* a feed has no chain */
        return restore_meta(part, entry->value, info);
    }
    if (key->space != CHANGELOG_SPACE_POSITION || key->input < 0 ||
        key->input >= part->stage->plan->input_count || entry->value.ptr == NULL ||
        (part->second_day != NULL && part->second_day->moved[key->input])) {
        return ERR_OK; /* of an input that the stage does not have any more */
    }
    struct position position;
    enum err err = position_decode(entry->value, &position, info);
    if (err == ERR_OK) {
        position_map_put(&part->restored[key->input], key->group_lo, key->group_hi, position);
    }
    return err;
}

/* Entries of operators' state that stand behind each other. */
struct restore_run {
    struct str key[STATE_APPLY_MAX], value[STATE_APPLY_MAX];
    int32_t count;
};

static enum err apply_run(struct partition *part, struct restore_run *run, struct err_info *info)
{
    int32_t count = run->count;
    run->count = 0;
    if (count == 0) {
        return ERR_OK;
    }
    enum err err = partition_make_chain(part, info);
    if (err != ERR_OK) {
        return err;
    }
    enum err results[STATE_APPLY_MAX];
    state_apply_many(part->state_kept, run->key, run->value, count, results);
    for (int32_t i = 0; i < count; i++) {
        if (results[i] == ERR_NOT_FOUND) {
            remember_dropped(part, run->key[i], run->value[i]);
        } else if (results[i] != ERR_OK) {
            struct changelog_key key = {0};
            IGNORE_RESULT(changelog_key_parse(run->key[i], &key)); /* it was read before */
            return err_set(info, results[i],
                           "a state entry of group %u, space %u cannot be applied", key.group,
                           key.space);
        }
    }
    return ERR_OK;
}

enum err partition_restore(struct partition *part, const struct restore_entry *entries,
                           int32_t count, struct err_info *info)
{
    CHECK(count <= STATE_APPLY_MAX);
    ATTR_UNINITIALIZED struct restore_run run;
    run.count = 0;
    for (int32_t i = 0; i < count; i++) {
        const struct restore_entry *entry = &entries[i];
        part->changelog_since += entry->raw_key.len + entry->value.len;
        if (entry->key.space < CHANGELOG_SPACES_RESERVED) {
            enum err err = apply_run(part, &run, info);
            err = err == ERR_OK ? restore_own(part, entry, info) : err;
            if (err != ERR_OK) {
                return err;
            }
        } else if (part->feed != NULL) {
            continue; /* it has no chain */
        } else if (space_dropped(part, entry->key.space)) {
            remember_dropped(part, entry->raw_key, entry->value);
        } else if (part->shadow == NULL ||
                   shadow_restores(part->shadow, entry->raw_key, entry->value)) {
            run.key[run.count] = entry->raw_key;
            run.value[run.count++] = entry->value;
        }
    }
    return apply_run(part, &run, info);
}

enum err partition_begin(struct partition *part, int64_t now_ns, struct err_info *info)
{
    CHECK(part->state == PARTITION_OPENING);
    if (part->second_day != NULL && part->second_day->lost > 0 && !part->stage->drop_state) {
        return err_set(
            info, ERR_NEEDS_OPERATOR,
            "state of the earlier chain cannot go on; ask for it to be dropped (drop_state), or give "
            "the stage another name; %d differences: %.*s",
            part->second_day->lost, (int)strcspn(part->second_day->text, "\n"),
            part->second_day->text);
    }
    const struct stage_plan *plan = part->stage->plan;
    for (int32_t i = 0; i < plan->input_count; i++) {
        const struct stage_input *input = &plan->inputs[i];
        struct view_options options = {
            .group_lo = part->place.group_lo,
            .group_hi = part->place.group_hi,
            .internal = input->kind == STAGE_SOURCE_STAGE || part->queued,
            .out_of_order_ms = input->stream->out_of_order_ms,
            .source_shards = part->queued ? 1 : part->stage->source_shards[i],
        };
        if (part->shadow != NULL && !part->queued) {
            options.sampler = shadow_sampler(part->shadow);
        }
        view_init(&part->views[i], &options, part->restored[i]);
        if (part->queued) {
            view_from_queue(&part->views[i], shadow_queue_begin(part->shadow, i));
        }
        part->restored[i] = (struct position_map){0};
        part->committed[i] = part->views[i].position.next_offset;
        if (part->floors != NULL) {
            floor_set_report(part->floors, part->floor_slot, i, part->committed[i]);
        }
    }
    if (part->second_day != NULL && part->second_day->key_count == 0) {
        second_day_free(part);
    }
    bool idle;
    part->advanced_ms = TIME_NONE;
    part->marked_ms = TIME_NONE;
    part->marked_idle = false;
    part->advancing = partition_watermark(part, &idle) != TIME_NONE;
    part->idle = idle;
    part->tick_ns = part->chain != NULL ? now_ns : CLOCK_NEVER;
    part->sampled_ns = now_ns;
    part->sampled_end[0] = part->sampled_end[1] = -1;
    part->state = PARTITION_RUNNING;
    part->stall = STALL_NONE;
    partition_account(part);
    return ERR_OK;
}

int64_t partition_watermark(struct partition *part, bool *ret_idle)
{
    int64_t lowest = TIME_END;
    *ret_idle = true;
    bool known = false;
    for (int32_t i = 0; i < part->stage->plan->input_count; i++) {
        bool idle;
        int64_t low = view_watermark(&part->views[i], &idle);
        if (idle && low == TIME_NONE) {
            continue;
        }
        *ret_idle = false;
        known = true;
        lowest = low < lowest ? low : lowest;
    }
    return known ? lowest : TIME_NONE;
}

bool partition_ended(const struct partition *part)
{
    return part->advanced_ms == TIME_END && !part->advancing;
}

void partition_fail(struct partition *part, const struct err_info *info)
{
    part->state = PARTITION_FAILED;
    part->failed_with = info->code;
    part->stall = STALL_NONE;
    IGNORE_RESULT(
        snprintf(part->problem, sizeof(part->problem), "%s", info->text)); /* may be cut */
}

/* --- cuts --- */

static bool marker_due(const struct partition *part)
{
    if (!part->stage->plan->key_by || part->stage->output == NULL) {
        return false;
    }
    return part->advanced_ms > part->marked_ms ||
           (part->idle && !part->marked_idle && part->advanced_ms == TIME_NONE);
}

bool partition_has_news(const struct partition *part)
{
    return part->moved[0] || part->moved[1] || marker_due(part) ||
           (part->second_day != NULL && part->second_day->key_count > 0);
}

static enum err put_entry(struct partition *part, struct commit *commit, struct str key,
                          struct str value)
{
    const struct stage_stream *changelog = part->stage->changelog;
    struct record record = {.key = key, .value = value};
    part->figures.changelog_bytes += key.len + value.len;
    part->changelog_since += key.len + value.len;
    return commit_add(commit, stage_shard(changelog, part->place.shard), stage_codec(changelog),
                      &record);
}

static enum err put_meta(struct partition *part, struct commit *commit)
{
    struct arena arena;
    arena_init(&arena, 1 << 22);
    struct stage_shape *shape = ARENA_NEW(&arena, struct stage_shape);
    stage_shape_of(part->stage->plan, shape);
    ptrdiff_t len = stage_shape_bytes(shape);
    void *value = arena_new(&arena, len, 1);
    stage_shape_encode(shape, value);
    char buf[CHANGELOG_KEY_BYTES];
    struct str key =
        changelog_own_key(buf, CHANGELOG_SPACE_META, 0, part->place.group_lo, part->place.group_hi);
    enum err err = put_entry(part, commit, key, (struct str){value, len});
    arena_release(&arena);
    part->meta_written = err == ERR_OK;
    return err;
}

static enum err put_dropped(struct partition *part, struct commit *commit)
{
    enum err err = ERR_OK;
    for (int32_t i = 0; i < part->second_day->key_count && err == ERR_OK; i++) {
        err = put_entry(part, commit, part->second_day->keys[i], (struct str){NULL, 0});
    }
    second_day_free(part);
    return err;
}

static enum err put_position(struct partition *part, struct commit *commit, int32_t input)
{
    struct view *view = &part->views[input];
    char buf[CHANGELOG_KEY_BYTES];
    struct str key = changelog_own_key(buf, CHANGELOG_SPACE_POSITION, input, part->place.group_lo,
                                       part->place.group_hi);
    ptrdiff_t len = position_bytes(&view->position);
    char small[512];
    char *value = len <= (ptrdiff_t)sizeof(small) ? small : mem_new(len, 1);
    position_encode(&view->position, value);
    enum err err = put_entry(part, commit, key, (struct str){value, len});
    if (value != small) {
        mem_free(value);
    }
    return err;
}

/* Key groups that stand ahead of the cursor keep their positions: theirs come behind the range's own. */
static enum err put_ahead(struct partition *part, struct commit *commit, int32_t input)
{
    const struct position_map *ahead = &part->views[input].ahead;
    enum err err = ERR_OK;
    for (int32_t i = 0; i < ahead->count && err == ERR_OK; i++) {
        const struct position_segment *segment = &ahead->segments[i];
        if (segment->position.next_offset <= part->views[input].position.next_offset) {
            continue;
        }
        char buf[CHANGELOG_KEY_BYTES];
        struct str key = changelog_own_key(buf, CHANGELOG_SPACE_POSITION, input, segment->group_lo,
                                           segment->group_hi);
        ptrdiff_t len = position_bytes(&segment->position);
        char *value = mem_new(len, 1);
        position_encode(&segment->position, value);
        err = put_entry(part, commit, key, (struct str){value, len});
        mem_free(value);
    }
    return err;
}

static enum err put_markers(struct partition *part, struct commit *commit)
{
    struct stage_stream *out = part->stage->output;
    struct mark mark = {
        .kind = part->advanced_ms == TIME_END    ? MARK_END
                : part->advanced_ms == TIME_NONE ? MARK_IDLE
                                                 : MARK_WATERMARK,
        .source_shard = part->place.shard,
        .group_lo = part->place.group_lo,
        .group_hi = part->place.group_hi,
        .watermark_ms = watermark_held(part->advanced_ms, stage_plan_hold_ms(part->stage->plan))};
    char buf[MARK_HEADERS_MAX];
    struct record record = mark_record(&mark, buf);
    for (int32_t i = 0; i < out->info.config.shard_count; i++) {
        enum err err = commit_add(commit, stage_shard(out, (uint32_t)i), stage_codec(out), &record);
        if (err != ERR_OK) {
            return err;
        }
    }
    part->marked_ms = part->advanced_ms;
    part->marked_idle = mark.kind == MARK_IDLE;
    return ERR_OK;
}

static enum err put_delta(struct partition *part, struct commit *commit)
{
    struct str key, value;
    if (part->state_kept == NULL) {
        return ERR_OK;
    }
    while (state_delta_next(part->state_kept, &key, &value)) {
        enum err err = PLANTED(LOST_DELTA) && part->figures.commits % 8 == 7
                           ? ERR_OK
                           : put_entry(part, commit, key, value);
        if (err != ERR_OK) {
            return err;
        }
    }
    state_delta_end(part->state_kept);
    return ERR_OK;
}

enum err partition_cut(struct partition *part, struct commit *commit, struct err_info *info)
{
    CHECK(part->shadow == NULL && part->parked == NULL); /* P4, P1 */
    int64_t before = part->changelog_since;
    enum err err = part->meta_written ? ERR_OK : put_meta(part, commit);
    if (err == ERR_OK && part->second_day != NULL) {
        err = put_dropped(part, commit);
    }
    if (err == ERR_OK) {
        err = put_delta(part, commit);
    }
    for (int32_t i = 0; i < part->stage->plan->input_count && err == ERR_OK; i++) {
        if (part->moved[i] &&
            !(PLANTED(POSITION_NOT_IN_COMMIT) && part->figures.commits % 8 == 7)) {
            err = put_position(part, commit, i);
            err = err == ERR_OK ? put_ahead(part, commit, i) : err;
        }
        part->moved[i] = false;
    }
    if (err == ERR_OK && marker_due(part)) {
        err = put_markers(part, commit);
    }
    if (err == ERR_OK && part->changelog_since == before && !part->claimed) {
        err = put_position(part, commit, 0); /* outputs alone, of early results */
        err = err == ERR_OK ? put_ahead(part, commit, 0) : err;
    }
    if (err != ERR_OK) {
        return err_set(info, err, "a cut of shard %u, groups %u-%u does not fit a commit",
                       part->place.shard, part->place.group_lo, part->place.group_hi);
    }
    if (!part->claimed) {
        part->claimed = true;
        struct log_claim claim = {.changelog =
                                      stage_shard(part->stage->changelog, part->place.shard),
                                  .group_lo = part->place.group_lo,
                                  .group_hi = part->place.group_hi,
                                  .epoch = part->place.epoch};
        part->claim_index = commit_claim(commit, part, &claim);
    }
    for (int32_t i = 0; i < part->stage->plan->input_count; i++) {
        commit->parts[part->claim_index].offset[i] = part->views[i].position.next_offset;
    }
    return ERR_OK;
}

/* --- checkpoints --- */

static enum err dump_finish(struct dump *dump, struct err_info *info)
{
    void *bytes;
    ptrdiff_t len;
    if (dump->builder.count == 0) {
        return ERR_OK;
    }
    enum err err = record_builder_finish(&dump->builder, RECORD_PRODUCER_NONE, &bytes, &len, info);
    if (err != ERR_OK) {
        return err;
    }
    if (dump->len + len > dump->cap) {
        dump->cap = 2 * (dump->len + len);
        dump->bytes = mem_resize(dump->bytes, dump->cap, 1);
    }
    memcpy(dump->bytes + dump->len, bytes, (size_t)len);
    dump->len += len;
    record_builder_reset(&dump->builder);
    return ERR_OK;
}

static enum err dump_add(struct dump *dump, struct str key, struct str value, struct err_info *info)
{
    struct record record = {.key = key, .value = value};
    enum err err = record_builder_add(&dump->builder, &record);
    if (err == ERR_LIMIT && dump->builder.count > 0) {
        err = dump_finish(dump, info);
        err = err == ERR_OK ? record_builder_add(&dump->builder, &record) : err;
    }
    return err;
}

/* Meta and positions of the groups, as the partition's own entries would say it. */
static enum err dump_own(struct partition *part, uint32_t lo, uint32_t hi, struct dump *dump,
                         struct err_info *info)
{
    struct arena arena;
    arena_init(&arena, 1 << 22);
    struct stage_shape *shape = ARENA_NEW(&arena, struct stage_shape);
    stage_shape_of(part->stage->plan, shape);
    ptrdiff_t len = stage_shape_bytes(shape);
    void *meta = arena_new(&arena, len, 1);
    stage_shape_encode(shape, meta);
    char buf[CHANGELOG_KEY_BYTES];
    enum err err = dump_add(dump, changelog_own_key(buf, CHANGELOG_SPACE_META, 0, lo, hi),
                            (struct str){meta, len}, info);
    for (int32_t i = 0; i < part->stage->plan->input_count && err == ERR_OK; i++) {
        CHECK(part->views[i].ahead.count == 0); /* the lane waits for that */
        len = position_bytes(&part->views[i].position);
        void *value = arena_new(&arena, len, 1);
        position_encode(&part->views[i].position, value);
        err = dump_add(dump, changelog_own_key(buf, CHANGELOG_SPACE_POSITION, i, lo, hi),
                       (struct str){value, len}, info);
    }
    arena_release(&arena);
    return err;
}

enum err partition_dump(struct partition *part, uint32_t group_lo, uint32_t group_hi,
                        struct dump *dump, struct err_info *info)
{
    dump->len = 0;
    record_builder_reset(&dump->builder);
    enum err err = dump_own(part, group_lo, group_hi, dump, info);
    for (uint32_t group = group_lo; group < group_hi && part->state_kept != NULL; group++) {
        uint64_t cursor = 0;
        struct str key, value;
        while (err == ERR_OK && state_dump_next(part->state_kept, group, &cursor, &key, &value)) {
            err = dump_add(dump, key, value, info);
        }
    }
    return err == ERR_OK ? dump_finish(dump, info) : err;
}
