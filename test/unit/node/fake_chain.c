// SPDX-License-Identifier: Apache-2.0
#include "fake_chain.h"

#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "pipeline/chain.h"

int fake_again_count;

enum fake_kind { FAKE_REKEY, FAKE_FLAKY, FAKE_COUNT, FAKE_REJECT };

struct chain {
    enum fake_kind kind;
    struct state *state;
    struct state_space *space;
    struct batch *waiting;
    int asked;
};

static const struct state_space_options WINDOW_SPACE = {
    .name = {"w/windows", 9}, .schema = {"count v1", 8}, .payload_bytes = 8, .timed = true};

void chain_out_init(struct chain_out *out, struct arena *arena)
{
    out->arena = arena;
    out->count = 0;
}

void chain_out_reset(struct chain_out *out)
{
    out->count = 0;
    arena_reset(out->arena);
}

enum err chain_new(const struct chain_options *options, struct chain **ret_chain,
                   struct err_info *info)
{
    struct chain *chain = MEM_NEW(struct chain);
    struct str text = options->plan->text;
    chain->state = options->state;
    if (str_is(text, "count") || str_is(text, "count again")) {
        chain->kind = FAKE_COUNT;
        chain->space = state_space_open(options->state, &WINDOW_SPACE);
    } else if (str_is(text, "rekey")) {
        chain->kind = FAKE_REKEY;
    } else if (str_is(text, "flaky")) {
        chain->kind = FAKE_FLAKY;
    } else if (str_is(text, "reject")) {
        chain->kind = FAKE_REJECT;
    } else {
        mem_free(chain);
        return err_set(info, ERR_NOT_FOUND, "no such chain");
    }
    *ret_chain = chain;
    return ERR_OK;
}

void chain_free(struct chain *chain)
{
    mem_free(chain);
}

struct rows_out {
    struct output *o;
    struct str *key, *value;
    int64_t *time_ms, *stamp_ms;
};

static struct rows_out add_output(struct chain_out *out, enum output_kind kind, int32_t cap)
{
    CHECK(out->count < CHAIN_OUTPUTS_MAX);
    struct rows_out rows = {
        .o = &out->outputs[out->count++],
        .key = ARENA_NEW_ARRAY(out->arena, struct str, cap),
        .value = ARENA_NEW_ARRAY(out->arena, struct str, cap),
        .time_ms = ARENA_NEW_ARRAY(out->arena, int64_t, cap),
        .stamp_ms = ARENA_NEW_ARRAY(out->arena, int64_t, cap),
    };
    *rows.o = (struct output){.kind = kind,
                              .key = rows.key,
                              .value = rows.value,
                              .time_ms = rows.time_ms,
                              .stamp_ms = rows.stamp_ms};
    return rows;
}

static void put(struct rows_out *rows, struct str key, struct str value, int64_t time_ms,
                int64_t stamp_ms)
{
    int32_t i = rows->o->count++;
    rows->key[i] = key;
    rows->value[i] = value;
    rows->time_ms[i] = time_ms;
    rows->stamp_ms[i] = stamp_ms;
}

static int64_t stamp_of(const struct batch *batch, int32_t row)
{
    return batch->stamp_ms != NULL ? batch->stamp_ms[row] : STAMP_NONE;
}

static int64_t window_start(int64_t time_ms)
{
    int64_t rest = time_ms % FAKE_WINDOW_MS;
    return time_ms - (rest < 0 ? rest + FAKE_WINDOW_MS : rest);
}

static void count_batch(struct chain *chain, const struct batch *batch, struct chain_out *out)
{
    struct rows_out late = add_output(out, OUTPUT_LATE, batch->sel_count);
    for (int32_t i = 0; i < batch->sel_count; i++) {
        int32_t row = batch->sel[i];
        int64_t start = window_start(batch->time_ms[row]);
        int64_t stamp = stamp_of(batch, row);
        if (stamp != STAMP_NONE && start + FAKE_WINDOW_MS <= stamp) {
            put(&late, batch->key[row], batch->value[row], batch->time_ms[row], stamp);
            continue;
        }
        int64_t *count = state_upsert(chain->space, batch->hash[row], batch->key[row], start, NULL);
        (*count)++;
    }
}

static void pass_batch(const struct chain *chain, const struct batch *batch, struct chain_out *out)
{
    struct rows_out rows = add_output(out, OUTPUT_MAIN, batch->sel_count);
    struct rows_out dead = add_output(out, OUTPUT_DEAD_LETTER, batch->sel_count);
    for (int32_t i = 0; i < batch->sel_count; i++) {
        int32_t row = batch->sel[i];
        struct str value = batch->value[row];
        bool bad = chain->kind == FAKE_REJECT && str_starts_with(value, STR("bad"));
        struct str key = chain->kind == FAKE_REJECT ? batch->key[row] : value;
        put(bad ? &dead : &rows, key, value, batch->time_ms[row], stamp_of(batch, row));
    }
}

static enum err run_batch(struct chain *chain, struct batch *batch, struct chain_out *out)
{
    if (chain->kind == FAKE_FLAKY && chain->asked++ < fake_again_count) {
        chain->waiting = batch;
        return ERR_AGAIN;
    }
    chain->asked = 0;
    chain->waiting = NULL;
    if (chain->kind == FAKE_COUNT) {
        count_batch(chain, batch, out);
    } else {
        pass_batch(chain, batch, out);
    }
    return ERR_OK;
}

enum err chain_process(struct chain *chain, int input, struct batch *batch, struct chain_out *out,
                       struct err_info *info)
{
    (void)input;
    (void)info;
    CHECK(chain->waiting == NULL);
    return run_batch(chain, batch, out);
}

enum err chain_resume(struct chain *chain, struct chain_out *out, struct err_info *info)
{
    (void)info;
    CHECK(chain->waiting != NULL);
    return run_batch(chain, chain->waiting, out);
}

bool chain_advance(struct chain *chain, int64_t watermark_ms, struct chain_out *out)
{
    if (chain->space == NULL || watermark_ms < INT64_MIN + FAKE_WINDOW_MS) {
        return false;
    }
    struct state_entry entries[FAKE_ADVANCE_ROWS];
    int32_t count =
        state_take_due(chain->space, watermark_ms - FAKE_WINDOW_MS, entries, FAKE_ADVANCE_ROWS);
    struct rows_out rows = add_output(out, OUTPUT_MAIN, count > 0 ? count : 1);
    for (int32_t i = 0; i < count; i++) {
        int64_t n;
        memcpy(&n, entries[i].payload, 8);
        char *text = arena_printf(out->arena, "%lld", (long long)n);
        char *key = arena_dup(out->arena, entries[i].key.ptr, entries[i].key.len);
        put(&rows, (struct str){key, entries[i].key.len}, str_of(text),
            entries[i].time + FAKE_WINDOW_MS - 1, STAMP_NONE);
    }
    return count == FAKE_ADVANCE_ROWS;
}

bool chain_stalled(const struct chain *chain)
{
    (void)chain;
    return false;
}

int64_t chain_tick(struct chain *chain, int64_t now_ns, struct chain_out *out)
{
    (void)chain;
    (void)now_ns;
    (void)out;
    return CLOCK_NEVER;
}

struct operator_stats chain_operator_stats(const struct chain *chain, int index)
{
    (void)chain;
    (void)index;
    return (struct operator_stats){.type = "fake"};
}

/* "count" and "count again" have the same state; "rekey" over either's would lose it. */
void stage_shape_of(const struct stage_plan *plan, struct stage_shape *ret_shape)
{
    *ret_shape = (struct stage_shape){.text = plan->text};
    if (str_starts_with(plan->text, STR("count"))) {
        ret_shape->space_count = 1;
        ret_shape->spaces[0].name = WINDOW_SPACE.name;
        ret_shape->spaces[0].schema = WINDOW_SPACE.schema;
    }
}

const struct operator_plan *stage_plan_closing(const struct stage_plan *plan)
{
    (void)plan;
    return NULL;
}

int64_t stage_plan_hold_ms(const struct stage_plan *plan)
{
    (void)plan;
    return 0;
}

int64_t watermark_held(int64_t watermark_ms, int64_t hold_ms)
{
    return watermark_ms - hold_ms; /* 0 */
}

int64_t stage_plan_span_ms(const struct stage_plan *plan)
{
    (void)plan;
    return 0;
}

bool stage_shape_input_moved(const struct stage_shape *old, const struct stage_plan *plan,
                             int32_t i)
{
    (void)old;
    (void)plan;
    (void)i;
    return false;
}

int32_t stage_shape_compare(const struct stage_shape *old, const struct stage_plan *plan,
                            char *text, ptrdiff_t cap)
{
    struct stage_shape *own = MEM_NEW(struct stage_shape);
    stage_shape_of(plan, own);
    int32_t lost = old->space_count > own->space_count;
    mem_free(own);
    IGNORE_RESULT(snprintf(text, (size_t)cap, "%s",
                           lost > 0 ? "state of 'w' is not kept any more" : "")); /* fits */
    return lost;
}
