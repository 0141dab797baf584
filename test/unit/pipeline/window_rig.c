// SPDX-License-Identifier: Apache-2.0
#include "window_rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

const char *const RIG_TEXTS[8] = {"", "a", "b", "ab", "longer text", "c", "d", "e"};

static const struct schema SCHEMA = {
    .count = 4,
    .names = {{"a", 1}, {"x", 1}, {"s", 1}, {"t", 1}},
    .types = {VALUE_I64, VALUE_F64, VALUE_STR, VALUE_TIME},
};

const struct operator_plan *rig_compile(struct arena *arena, const struct operator_type *type,
                                        const char *yaml, int32_t input_count)
{
    struct err_info info = {0};
    struct operator_plan *plan = ARENA_NEW(arena, struct operator_plan);
    struct compile_context ctx = {.arena = arena,
                                  .name = STR("w"),
                                  .in = {&SCHEMA, input_count == 2 ? &SCHEMA : NULL},
                                  .input_count = input_count,
                                  .info = &info};
    plan->type = type;
    plan->name = ctx.name;
    plan->columns_read = UINT64_MAX;
    plan->columns_used = UINT64_MAX;
    plan->joins = type->joins && input_count == 2;
    enum err err = yaml_parse(arena, "t.yaml", str_of(yaml), &ctx.node, &info);
    if (err == ERR_OK) {
        err = type->compile(&ctx, plan);
    }
    CHECK_MSG(err == ERR_OK, "%s", info.text);
    return plan;
}

void rig_draw(struct arena *arena, struct rng *rng, int32_t count, int64_t disorder_ms,
              int64_t step_ms, struct rig_input *ret_input)
{
    ret_input->count = count;
    ret_input->rows = ARENA_NEW_ARRAY(arena, struct rig_row, count);
    ret_input->watermark = ARENA_NEW_ARRAY(arena, int64_t, count);
    int32_t key_count = (int32_t)rng_range(rng, 1, RIG_KEYS_MAX);
    for (int32_t k = 0; k < RIG_KEYS_MAX; k++) {
        ret_input->key_texts[k] =
            arena_printf(arena, k % 5 == 0 ? "the key with the long name %d" : "k%d", k);
    }
    int64_t shard_max[RIG_SHARDS_MAX];
    int64_t shard_now[RIG_SHARDS_MAX];
    int32_t shards = (int32_t)rng_range(rng, 1, RIG_SHARDS_MAX);
    for (int32_t s = 0; s < shards; s++) {
        shard_max[s] = INT64_MIN;
        shard_now[s] = rng_range(rng, -2000, 2000);
    }
    int64_t out_of_order = rng_range(rng, 0, disorder_ms);
    for (int32_t i = 0; i < count; i++) {
        struct rig_row *row = &ret_input->rows[i];
        int32_t shard = (int32_t)rng_below(rng, (uint64_t)shards);
        shard_now[shard] += rng_range(rng, 0, step_ms);
        row->key = rng_chance(rng, 0.02) ? -1 : (int32_t)rng_below(rng, (uint64_t)key_count);
        row->input = rng_chance(rng, 0.5);
        row->time = shard_now[shard] - (rng_chance(rng, 0.5) ? rng_range(rng, 0, disorder_ms) : 0);
        int64_t watermark =
            shard_max[shard] == INT64_MIN ? INT64_MIN : shard_max[shard] - out_of_order;
        row->stamp = row->time < watermark ? watermark : STAMP_NONE;
        shard_max[shard] = row->time > shard_max[shard] ? row->time : shard_max[shard];
        int64_t chain = INT64_MAX;
        for (int32_t s = 0; s < shards; s++) {
            int64_t its = shard_max[s] == INT64_MIN ? INT64_MIN : shard_max[s] - out_of_order;
            chain = its < chain ? its : chain;
        }
        ret_input->watermark[i] = chain;
        row->a = rng_range(rng, -50, 50);
        row->a_null = rng_chance(rng, 0.1);
        row->x = (double)rng_range(rng, -1000000, 1000000) *
                 (double)(INT64_C(1) << rng_below(rng, 40)) / (double)(1 << rng_below(rng, 20));
        row->x_null = rng_chance(rng, 0.1);
        row->s = rng_chance(rng, 0.1) ? -1 : (int32_t)rng_below(rng, 8);
        row->t = rng_range(rng, 0, 100000);
    }
}

/* One key-group range at work. */
struct part {
    const struct operator_plan *plan;
    uint32_t lo, hi;
    struct state *state;
    struct state *twin; /* built by the deltas alone */
    struct operator_env env;
    struct operator_stats stats;
    struct operator_instance *op;
    int64_t rejected, late; /* of instances before this one */
};

static struct state *part_state(const struct part *part)
{
    return state_new(part->lo, part->hi);
}

static void part_open(struct part *part, struct chain_out *out)
{
    part->stats = (struct operator_stats){0};
    part->env = (struct operator_env){.state = part->state, .out = out, .stats = &part->stats};
    CHECK(part->plan->type->open(part->plan, &part->env, &part->op, NULL) == ERR_OK);
}

static void part_open_twin(struct part *part)
{
    part->twin = part_state(part);
    for (int i = 0; i < part->plan->space_count; i++) {
        state_space_open(part->twin, &part->plan->spaces[i]);
    }
}

static void part_commit(struct part *part)
{
    struct str key;
    struct str value;
    while (state_delta_next(part->state, &key, &value)) {
        CHECK(state_apply(part->twin, key, value) == ERR_OK);
    }
    state_delta_end(part->state);
}

static void part_close(struct part *part)
{
    part->plan->type->close(part->op);
    part->rejected += part->stats.rejected;
    part->late += part->stats.late;
}

/* Goes on from what the commits left. */
static void part_restart(struct part *part, struct chain_out *out)
{
    part_commit(part);
    CHECK(state_digest(part->state) == state_digest(part->twin));
    part_close(part);
    state_free(part->state);
    // The new instance opens its spaces first, then gets the entries, as a view does.
    struct state *old = part->twin;
    part->state = part_state(part);
    part_open(part, out);
    part_open_twin(part);
    for (uint32_t group = part->lo; group < part->hi; group++) {
        uint64_t cursor = 0;
        struct str key;
        struct str value;
        while (state_dump_next(old, group, &cursor, &key, &value)) {
            CHECK(state_apply(part->state, key, value) == ERR_OK);
            CHECK(state_apply(part->twin, key, value) == ERR_OK);
        }
    }
    CHECK(state_digest(part->state) == state_digest(old));
    state_free(old);
}

void rig_format(const struct operator_plan *plan, const struct batch *batch, int32_t row, char *out,
                ptrdiff_t cap)
{
    ptrdiff_t len = snprintf(out, (size_t)cap, "%.*s @%lld", STR_ARG(batch->key[row]),
                             (long long)batch->time_ms[row]);
    for (int32_t c = 0; c < plan->schema.count; c++) {
        const struct column *column = &batch->columns[c];
        char *to = out + len;
        size_t left = (size_t)(cap - len);
        if (column_is_null(column, row)) {
            len += snprintf(to, left, " -");
        } else if (column->type == VALUE_F64) {
            len += snprintf(to, left, " %.17g", COLUMN_F64(column)[row]);
        } else if (column->type == VALUE_STR) {
            len += snprintf(to, left, " '%.*s'", STR_ARG(COLUMN_STR(column)[row]));
        } else if (column->type == VALUE_BOOL) {
            len += snprintf(to, left, " %s", COLUMN_BOOL(column)[row] != 0 ? "true" : "false");
        } else {
            len += snprintf(to, left, " %lld", (long long)COLUMN_I64(column)[row]);
        }
        CHECK(len < cap);
    }
}

static void result_add(struct rig_result *result, const struct operator_plan *plan,
                       const struct batch_list *next)
{
    for (int32_t b = 0; b < next->count; b++) {
        const struct batch *batch = next->items[b];
        for (int32_t i = 0; i < batch->sel_count; i++) {
            if (result->count == result->cap) {
                result->cap = result->cap == 0 ? 64 : result->cap * 2;
                result->lines =
                    mem_resize(result->lines, result->cap, (ptrdiff_t)sizeof *result->lines);
            }
            char line[1024];
            rig_format(plan, batch, batch->sel[i], line, (ptrdiff_t)sizeof line);
            result->lines[result->count++] = mem_dup(line, (ptrdiff_t)strlen(line));
        }
    }
}

/* Fills a batch with those of rows from..to that are in the part's range and of `input`. */
static struct batch *part_batch(const struct part *part, const struct rig_input *input,
                                struct arena *arena, int32_t from, int32_t to, int32_t which)
{
    struct batch *batch = batch_new(arena, to - from);
    batch->stamp_ms = ARENA_NEW_ARRAY(arena, int64_t, to - from);
    batch_add_column(batch, VALUE_I64, true);
    batch_add_column(batch, VALUE_F64, true);
    batch_add_column(batch, VALUE_STR, true);
    batch_add_column(batch, VALUE_TIME, false);
    batch->sel_count = 0;
    bool stamped = false;
    for (int32_t i = from; i < to; i++) {
        const struct rig_row *row = &input->rows[i];
        int32_t at = i - from;
        stamped = stamped || row->stamp != STAMP_NONE;
        struct str key = row->key < 0 ? (struct str){0} : str_of(input->key_texts[row->key]);
        batch->key[at] = key;
        batch->hash[at] = hash64(key.ptr, key.len);
        batch->time_ms[at] = row->time;
        batch->stamp_ms[at] = row->stamp;
        batch->value[at] = STR("{}"); // a record with a value
        COLUMN_I64(&batch->columns[0])[at] = row->a;
        batch->columns[0].null[at] = row->a_null;
        COLUMN_F64(&batch->columns[1])[at] = row->x;
        batch->columns[1].null[at] = row->x_null;
        batch->columns[2].null[at] = row->s < 0;
        COLUMN_STR(&batch->columns[2])[at] = row->s < 0 ? STR("") : str_of(RIG_TEXTS[row->s]);
        COLUMN_I64(&batch->columns[3])[at] = row->t;
        uint32_t group = key_group_of(batch->hash[at]);
        if (group >= part->lo && group < part->hi && (which < 0 || row->input == which)) {
            batch->sel[batch->sel_count++] = at;
        }
    }
    if (!stamped) { // as batches come: there is a shorter way for such
        batch->stamp_ms = NULL;
    }
    return batch;
}

static void part_advance(struct part *part, int64_t watermark, struct arena *arena,
                         struct rig_result *result)
{
    bool more = part->plan->type->advance != NULL;
    while (more) {
        struct batch_list next = {.arena = arena};
        more = part->plan->type->advance(part->op, watermark, &next);
        result_add(result, part->plan, &next);
    }
}

static void part_process(struct part *part, const struct rig_input *input, struct arena *arena,
                         int32_t from, int32_t to, struct rig_result *result)
{
    bool joins = part->plan->joins;
    for (int32_t i = from; i < to;) {
        // Of a join, runs of rows of one input, in order.
        int32_t end = to;
        int32_t which = joins ? input->rows[i].input : -1;
        for (int32_t k = i; joins && k < to; k++) {
            if (input->rows[k].input != which) {
                end = k;
                break;
            }
        }
        struct batch *batch = part_batch(part, input, arena, i, end, which);
        struct batch_list next = {.arena = arena};
        // A chain does not hand on a batch without rows.
        CHECK(batch->sel_count == 0 || part->plan->type->process(part->op, which < 0 ? 0 : which,
                                                                 batch, &next, NULL) == ERR_OK);
        result_add(result, part->plan, &next);
        i = end;
    }
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void rig_lines_sort(char **lines, int32_t count)
{
    if (count > 0) {
        qsort(lines, (size_t)count, sizeof *lines, compare_lines);
    }
}

void rig_run(const struct operator_plan *plan, const struct rig_input *input, int32_t parts,
             double restarts, struct rng *rng, struct rig_result *ret_result)
{
    struct part list[RIG_PARTS_MAX] = {{0}};
    static struct chain_out out;
    struct arena out_arena;
    arena_init(&out_arena, 256 << 20);
    chain_out_init(&out, &out_arena);
    *ret_result = (struct rig_result){0};
    for (int32_t p = 0; p < parts; p++) {
        struct part *part = &list[p];
        part->plan = plan;
        part->lo = (uint32_t)(p * KEY_GROUP_COUNT / parts);
        part->hi = (uint32_t)((p + 1) * KEY_GROUP_COUNT / parts);
        part->state = part_state(part);
        part_open_twin(part);
        part_open(part, &out);
    }
    struct arena arena;
    arena_init(&arena, 256 << 20);
    for (int32_t p = 0; p < parts; p++) {
        struct part *part = &list[p];
        for (int32_t from = 0; from < input->count;) {
            int32_t most = input->count - from < 300 ? input->count - from : 300;
            int32_t to = from + (int32_t)rng_range(rng, 1, most);
            part_process(part, input, &arena, from, to, ret_result);
            if (rng_chance(rng, 0.7)) {
                part_advance(part, input->watermark[to - 1], &arena, ret_result);
            }
            if (rng_chance(rng, 0.3)) {
                part_commit(part);
            }
            if (rng_chance(rng, restarts)) {
                part_restart(part, &out);
            }
            chain_out_reset(&out);
            arena_reset(&arena);
            from = to;
        }
        part_advance(part, INT64_MAX, &arena, ret_result);
        chain_out_reset(&out);
        part_close(part);
        ret_result->rejected += part->rejected;
        ret_result->late += part->late;
        state_free(part->state);
        state_free(part->twin);
    }
    arena_release(&arena);
    arena_release(&out_arena);
    rig_lines_sort(ret_result->lines, ret_result->count);
}

void rig_result_release(struct rig_result *result)
{
    for (int32_t i = 0; i < result->count; i++) {
        mem_free(result->lines[i]);
    }
    mem_free(result->lines);
    *result = (struct rig_result){0};
}
