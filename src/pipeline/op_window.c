// SPDX-License-Identifier: Apache-2.0
// The window operator: its configuration, and the parts that all kinds share.

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "pipeline/operators.h"
#include "pipeline/window.h"
#include "pipeline/window_run.h"

enum { SCRATCH_BYTES_MAX = 1 << 30, SPACE_TEXT_MAX = 8192 };

static const int64_t MS = 1000000;
static const int64_t WINDOW_NS_MAX = INT64_C(3660) * 24 * 3600 * 1000000000;

/* --- configuration --- */

static enum err read_ms(struct compile_context *ctx, const struct yaml_node *node, int64_t *ret_ms)
{
    int64_t ns;
    enum err err = yaml_duration_ns(node, MS, WINDOW_NS_MAX, &ns, ctx->info);
    if (err != ERR_OK) {
        return err;
    }
    if (ns % MS != 0) {
        return yaml_fail(ctx->info, node, "event time is in whole milliseconds, '%.*s' is not",
                         STR_ARG(node->text));
    }
    *ret_ms = ns / MS;
    return ERR_OK;
}

static enum err read_member_ms(struct compile_context *ctx, const struct yaml_node *map,
                               const char *key, int64_t *ret_ms)
{
    const struct yaml_node *node = yaml_get(map, key);
    if (node == NULL) {
        return yaml_fail(ctx->info, map, "'%s' is missing, add it as %s: 10s", key, key);
    }
    return read_ms(ctx, node, ret_ms);
}

static int64_t gcd(int64_t a, int64_t b)
{
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static enum err read_hopping(struct compile_context *ctx, const struct yaml_node *node,
                             struct window_plan *window)
{
    static const char *const KEYS[] = {"size", "slide", NULL};
    enum err err = yaml_only_keys(node, KEYS, ctx->info);
    if (err == ERR_OK) {
        err = read_member_ms(ctx, node, "size", &window->size_ms);
    }
    if (err == ERR_OK) {
        err = read_member_ms(ctx, node, "slide", &window->slide_ms);
    }
    if (err != ERR_OK) {
        return err;
    }
    window->kind = WINDOW_HOPPING;
    window->pane_ms = gcd(window->size_ms, window->slide_ms);
    if (window->slide_ms > window->size_ms) {
        return yaml_fail(ctx->info, node,
                         "slide is longer than size, records between windows would be lost");
    }
    if (window->size_ms / window->pane_ms > 10000) {
        return yaml_fail(ctx->info, node,
                         "a window would be made of %lld panes, choose size and slide with a "
                         "greater common divisor",
                         (long long)(window->size_ms / window->pane_ms));
    }
    return ERR_OK;
}

static enum err read_kind(struct compile_context *ctx, struct window_plan *window)
{
    const struct yaml_node *tumbling = yaml_get(ctx->node, "tumbling");
    const struct yaml_node *hopping = yaml_get(ctx->node, "hopping");
    const struct yaml_node *session = yaml_get(ctx->node, "session");
    if ((tumbling != NULL) + (hopping != NULL) + (session != NULL) != 1) {
        return yaml_fail(ctx->info, ctx->node,
                         "a window is one of tumbling: 10s, hopping: {size: 10s, slide: 2s}, "
                         "session: {gap: 30s}");
    }
    if (tumbling != NULL) {
        window->kind = WINDOW_TUMBLING;
        return read_ms(ctx, tumbling, &window->size_ms);
    }
    if (hopping != NULL) {
        return read_hopping(ctx, hopping, window);
    }
    static const char *const KEYS[] = {"gap", NULL};
    window->kind = WINDOW_SESSION;
    enum err err = yaml_only_keys(session, KEYS, ctx->info);
    return err != ERR_OK ? err : read_member_ms(ctx, session, "gap", &window->gap_ms);
}

/* `emit: every 5s`, or `emit: 5s`. */
static enum err read_emit(struct compile_context *ctx, struct window_plan *window)
{
    const struct yaml_node *node = yaml_get(ctx->node, "emit");
    if (node == NULL) {
        return ERR_OK;
    }
    struct yaml_node period = *node;
    if (node->kind == YAML_SCALAR && str_starts_with(node->text, STR("every "))) {
        period.text = str_trim((struct str){.ptr = node->text.ptr + 6, .len = node->text.len - 6});
        period.text.ptr = arena_dup(ctx->arena, period.text.ptr, period.text.len);
    }
    return yaml_duration_ns(&period, 10 * MS, WINDOW_NS_MAX, &window->emit_ns, ctx->info);
}

static void add_time_columns(struct schema *schema, struct window_plan *window)
{
    schema->count = 0;
    schema->names[schema->count] = STR("window_start");
    schema->types[schema->count++] = VALUE_TIME;
    schema->names[schema->count] = STR("window_end");
    schema->types[schema->count++] = VALUE_TIME;
    window->final_column = -1;
    if (window->emit_ns != 0) {
        window->final_column = schema->count;
        schema->names[schema->count] = STR("final");
        schema->types[schema->count++] = VALUE_BOOL;
    }
}

static void add_space(struct compile_context *ctx, struct operator_plan *plan, const char *what,
                      const char *schema, struct state_space_options options)
{
    options.name = str_of(arena_printf(ctx->arena, "%.*s/%s", STR_ARG(ctx->name), what));
    options.schema = str_of(schema);
    plan->spaces[plan->space_count++] = options;
}

static void declare_spaces(struct compile_context *ctx, struct operator_plan *plan,
                           const struct window_plan *window)
{
    char cells[SPACE_TEXT_MAX] = "";
    aggregate_list_describe(&window->aggregates, cells, (ptrdiff_t)sizeof cells);
    const char *shape = window->kind == WINDOW_TUMBLING
                            ? arena_printf(ctx->arena, "tumbling %lld", (long long)window->size_ms)
                        : window->kind == WINDOW_HOPPING
                            ? arena_printf(ctx->arena, "hopping %lld %lld",
                                           (long long)window->size_ms, (long long)window->slide_ms)
                            : arena_printf(ctx->arena, "session %lld", (long long)window->gap_ms);
    const char *text = arena_printf(ctx->arena, "window %s%s%s", shape,
                                    window->block_panes != 0 ? " by blocks" : "", cells);
    struct state_space_options cell_space = {.payload_bytes = window->aggregates.payload_bytes,
                                             .tails = window->aggregates.section_count != 0,
                                             .timed = window->kind == WINDOW_TUMBLING};
    if (window->block_panes != 0) {
        struct state_space_options block_space = cell_space;
        block_space.payload_bytes = window_block_bytes(window);
        block_space.listed = cell_space.timed = true;
        add_space(ctx, plan, "cells", text, block_space);
        add_space(ctx, plan, "late", text, cell_space);
        return;
    }
    add_space(ctx, plan, "cells", text, cell_space);
    if (window->kind == WINDOW_TUMBLING) {
        return;
    }
    add_space(ctx, plan, "timers", text, (struct state_space_options){.timed = true});
    if (window->kind == WINDOW_HOPPING) {
        add_space(ctx, plan, "late", text, cell_space);
    } else {
        add_space(ctx, plan, "sessions", text, (struct state_space_options){.tails = true});
    }
}

static enum err window_compile(struct compile_context *ctx, struct operator_plan *plan)
{
    static const char *const KEYS[] = {"name",    "input", "tumbling", "hopping",
                                       "session", "emit",  "out",      NULL};
    struct window_plan *window = ARENA_NEW(ctx->arena, struct window_plan);
    enum err err = yaml_only_keys(ctx->node, KEYS, ctx->info);
    if (err == ERR_OK) {
        err = read_kind(ctx, window);
    }
    if (err == ERR_OK) {
        err = read_emit(ctx, window);
    }
    if (err != ERR_OK) {
        return err;
    }
    add_time_columns(&plan->schema, window);
    err = aggregate_list_compile(ctx, yaml_get(ctx->node, "out"), &window->aggregates,
                                 &plan->schema, &plan->columns_read);
    if (err != ERR_OK) {
        return err;
    }
    if (window->aggregates.payload_bytes > STATE_PAYLOAD_MAX) {
        return yaml_fail(ctx->info, ctx->node, "too many aggregates for one window");
    }
    window->block_panes = window->kind == WINDOW_HOPPING ? window_block_panes(window) : 0;
    declare_spaces(ctx, plan, window);
    plan->span_ms = window->kind == WINDOW_SESSION ? window->gap_ms : window->size_ms;
    // A session is due a gap after its end.
    plan->hold_ms = window->kind == WINDOW_SESSION ? window->gap_ms : 0;
    if (window->kind != WINDOW_SESSION) {
        plan->hop_ms = window->kind == WINDOW_HOPPING ? window->slide_ms : window->size_ms;
        plan->hop_from_ms = window->size_ms % plan->hop_ms;
    }
    plan->compiled = window;
    return ERR_OK;
}

bool window_contest_of(const struct operator_plan *plan, struct contest *ret_contest)
{
    if (plan->type != &operator_window) {
        return false;
    }
    const struct window_plan *window = plan->compiled;
    const struct aggregate *only = &window->aggregates.items[0];
    bool best = only->kind == AGGREGATE_TOP && only->n == 1;
    if (window->kind == WINDOW_SESSION || window->aggregates.count != 1 ||
        !(best || only->kind == AGGREGATE_MAX || only->kind == AGGREGATE_MIN) ||
        (only->of_type != VALUE_I64 && only->of_type != VALUE_TIME)) {
        return false;
    }
    *ret_contest = (struct contest){.grain_ms = window->kind == WINDOW_HOPPING ? window->pane_ms
                                                                               : window->size_ms,
                                    .column = expr_plain_column(only->of),
                                    .least = only->kind == AGGREGATE_MIN};
    return ret_contest->column >= 0;
}

/* --- instances --- */

static enum err window_open(const struct operator_plan *plan, struct operator_env *env,
                            struct operator_instance **ret_op, struct err_info *info ATTR_UNUSED)
{
    struct operator_instance *op = MEM_NEW(struct operator_instance);
    op->plan = plan;
    op->window = plan->compiled;
    op->env = env;
    op->watermark_ms = INT64_MIN;
    op->payload_bytes = op->window->aggregates.payload_bytes;
    op->firing.fired_last = INT64_MIN;
    for (int i = 0; i < plan->space_count; i++) {
        op->spaces[i] = state_space_open(env->state, &plan->spaces[i]);
    }
    if (op->window->block_panes != 0) {
        op->spaces[WINDOW_EXTRA] = op->spaces[1];
        op->spaces[1] = NULL; // has no timers
    }
    arena_init(&op->scratch, SCRATCH_BYTES_MAX);
    *ret_op = op;
    return ERR_OK;
}

static void window_close(struct operator_instance *op)
{
    if (op != NULL) {
        arena_release(&op->scratch);
        mem_free(op->piece);
        mem_free(op);
    }
}

void window_wake(struct operator_instance *op)
{
    if (op->piece == NULL) {
        op->piece = MEM_NEW(struct window_piece);
    }
}

int64_t window_floor(int64_t time, int64_t step)
{
    int64_t rest = time % step;
    return time - (rest < 0 ? rest + step : rest);
}

struct cell window_cell(const struct operator_instance *op, struct state_space *space,
                        uint64_t hash, void *payload, struct arena *arena)
{
    struct cell cell = {.payload = payload, .space = space, .hash = hash, .arena = arena};
    if (op->window->aggregates.section_count != 0) {
        struct str tail = state_tail_at(space, payload);
        cell.tail = (char *)(uintptr_t)tail.ptr;
        cell.tail_len = tail.len;
    }
    return cell;
}

struct cell window_taken_cell(const struct state_entry *entry)
{
    return (struct cell){.payload = entry->payload,
                         .tail = (char *)(uintptr_t)entry->tail.ptr,
                         .tail_len = entry->tail.len,
                         .hash = entry->hash};
}

struct cell window_scratch_cell(struct operator_instance *op)
{
    return (struct cell){.payload = arena_new(&op->scratch, op->payload_bytes, 1),
                         .arena = &op->scratch};
}

/* --- results --- */

uint64_t window_key_hash(const struct operator_instance *op, struct str key)
{
    bool used =
        op->plan->hash_used || op->window->aggregates.section_count != 0; // tails are found by it
    return used ? hash64(key.ptr, key.len) : 0;
}

static void out_begin(struct window_out *out)
{
    const struct schema *schema = &out->op->plan->schema;
    int32_t rows = out->expected < 1 ? 1 : out->expected;
    rows = rows > BATCH_ROWS_MAX ? BATCH_ROWS_MAX : rows;
    out->batch = batch_new(out->next->arena, rows);
    for (int32_t i = 0; i < schema->count; i++) {
        batch_add_column(out->batch, schema->types[i], i > 1 && i != out->op->window->final_column);
    }
    out->batch->sel_count = 0; // rows written
}

void window_out_finish(struct window_out *out)
{
    if (out->batch != NULL && out->batch->sel_count > 0) {
        out->batch->count = out->batch->sel_count;
        batch_list_add(out->next, out->batch);
    }
    out->batch = NULL;
}

/* A copy of a key for rows that outlive its entry. Short ones, which are most, are cut from one piece of memory for many. */
static ATTR_ALWAYS_INLINE struct str keep_key(struct window_out *out, struct str key)
{
    enum { SHORT_BYTES = 16, SHORT_KEYS = 256 };
    if (key.len < 4 || key.len > SHORT_BYTES) {
        return key.len == 0 ? (struct str){0}
                            : (struct str){arena_dup(out->next->arena, key.ptr, key.len), key.len};
    }
    if (out->key_room_bytes < SHORT_BYTES) {
        out->key_room_bytes = SHORT_BYTES * SHORT_KEYS;
        out->key_at = arena_new_raw(out->next->arena, out->key_room_bytes, 1);
    }
    char *copy = out->key_at;
    out->key_at += key.len;
    out->key_room_bytes -= key.len;
    if (key.len < 8) { // its two halves, which overlap
        memcpy(copy, key.ptr, 4);
        memcpy(copy + key.len - 4, key.ptr + key.len - 4, 4);
    } else {
        memcpy(copy, key.ptr, 8);
        memcpy(copy + key.len - 8, key.ptr + key.len - 8, 8);
    }
    return (struct str){copy, key.len};
}

/* The times of the next `count` rows of the batch. */
static ATTR_ALWAYS_INLINE void begin_times(struct window_out *out, int32_t count, int64_t start,
                                           int64_t end)
{
    const struct batch *batch = out->batch;
    int32_t at = batch->sel_count;
    int32_t final_column = out->op->window->final_column;
    struct str *values = batch->value + at;
    int64_t *times = batch->time_ms + at;
    int64_t *starts = COLUMN_I64(&batch->columns[0]) + at;
    int64_t *ends = COLUMN_I64(&batch->columns[1]) + at;
    for (int32_t i = 0; i < count; i++) {
        values[i] = (struct str){0};
        times[i] = end - 1;
        starts[i] = start;
        ends[i] = end;
    }
    for (int32_t i = 0; final_column >= 0 && i < count; i++) {
        COLUMN_BOOL(&batch->columns[final_column])[at + i] = out->final;
    }
}

/* A batch with room, if there is none yet, for the first of `count` rows to come. Returns for how many of them. */
static ATTR_ALWAYS_INLINE int32_t out_room(struct window_out *out, int32_t count)
{
    if (out->batch == NULL) {
        out->expected = out->expected > count ? out->expected : count;
        out_begin(out);
    }
    int32_t room = out->batch->count - out->batch->sel_count;
    return count < room ? count : room;
}

static ATTR_ALWAYS_INLINE void out_written(struct window_out *out, int32_t rows)
{
    out->batch->sel_count += rows;
    out->expected -= rows;
    out->rows += rows;
    if (out->batch->sel_count == out->batch->count) {
        window_out_finish(out);
    }
}

void window_emit(struct window_out *out, struct str key, uint64_t hash, int64_t start, int64_t end,
                 const struct cell *cell)
{
    const struct window_plan *window = out->op->window;
    int32_t count = aggregate_list_row_count(&window->aggregates, cell);
    struct str copy = keep_key(out, key);
    for (int32_t first = 0; first < count;) {
        int32_t rows = out_room(out, count - first);
        struct batch *batch = out->batch;
        int32_t at = batch->sel_count;
        begin_times(out, rows, start, end);
        for (int32_t i = 0; i < rows; i++) {
            batch->key[at + i] = copy;
            batch->hash[at + i] = hash;
        }
        const char *reason =
            cell->tail_len > CELL_MERGED_BYTES_MAX
                ? "the window holds too many values of one key"
                : aggregate_list_emit(&window->aggregates, cell, first, rows, batch, at);
        if (reason != NULL) {
            operator_reject(out->op->env, batch, at, reason);
            return; // the result cannot be represented: none of its rows
        }
        out_written(out, rows);
        first += rows;
    }
}

/* Of results that make one row each. */
static void emit_certain(struct window_out *out, const struct window_results *results,
                         int64_t start, int64_t end)
{
    const struct aggregate_list *aggregates = &out->op->window->aggregates;
    for (int32_t first = 0; first < results->count;) {
        int32_t rows = out_room(out, results->count - first);
        struct batch *batch = out->batch;
        int32_t at = batch->sel_count;
        begin_times(out, rows, start, end);
        for (int32_t i = 0; i < rows; i++) {
            struct str key = keep_key(out, results->key[first + i]);
            batch->key[at + i] = key;
            batch->hash[at + i] = window_key_hash(out->op, key);
        }
        aggregate_list_emit_certain(aggregates, results->payload + first, rows, batch, at);
        out_written(out, rows);
        first += rows;
    }
}

void window_emit_many(struct window_out *out, const struct window_results *results, int64_t start,
                      int64_t end)
{
    if (out->op->window->aggregates.certain) {
        emit_certain(out, results, start, end);
        return;
    }
    for (int32_t i = 0; i < results->count; i++) {
        struct cell cell = {.payload = results->payload[i], .arena = &out->op->scratch};
        window_emit(out, results->key[i], window_key_hash(out->op, results->key[i]), start, end,
                    &cell);
    }
}

const struct operator_type operator_window = {
    .name = "window",
    .reads_hash = true,
    .compile = window_compile,
    .open = window_open,
    .close = window_close,
    .process = window_process,
    .advance = window_advance,
    .tick = window_tick,
};
