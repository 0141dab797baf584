// SPDX-License-Identifier: Apache-2.0
/* join: rows of the stage's two inputs with the same record key, side by side.
 *
 * {join: {name: j, table: 2, kind: left}}   stream-table: input 2 is a table, of which each key's last row counts; a
 *     record without a value removes it. A row of input 1 meets the row that is there when it comes.
 * {join: {name: j, within: 10s}}            stream-stream: each pair whose event times are at most that far apart, whichever
 *     comes first. Rows wait until the watermark shows that no partner can come; with kind: left, a row of input 1 that
 *     found none then comes out alone.
 * {join: {name: j, unbounded: true}}        stream-stream: each pair; rows wait for ever. With kind: left, a row of input 1
 *     that finds no partner when it comes comes out alone at once, and again with each partner that comes later.
 *
 * A result's event time is the later of the pair's; it carries a late stamp if it is behind one of theirs.
 *
 * State: heads (key) -> the range of indexes in use and the time of the key's timer; rows (key, 2 * index + side), the row
 * in the tail; timers (key, due). J1 rows of a key lie in [low, high) of their side. J2 with `within`, a key with rows
 * has a timer at head.armed, at or before the first of them expires; timers at other times are stale. */
#include "base/check.h"
#include "base/mem.h"
#include "pipeline/operators.h"
#include "pipeline/row_codec.h"

enum join_kind { JOIN_TABLE, JOIN_WITHIN, JOIN_UNBOUNDED };
enum { JOIN_HEADS, JOIN_ROWS, JOIN_TIMERS, JOIN_SPACES };
enum { JOIN_PIECE = 256, JOIN_ROWS_PER_ADVANCE = 8192, JOIN_ROW_MAX = 1 << 20 };

static const int64_t JOIN_WITHIN_MAX_NS = INT64_C(3660) * 24 * 3600 * 1000000000;
static const int64_t JOIN_TIME_MAX_MS = INT64_C(1) << 60;

static const int64_t ARMED_BASE_MS = INT64_C(1) << 62;

struct join_plan {
    enum join_kind kind;
    bool left; /* rows of input 0 without a partner come out, too */
    int64_t within_ms;
    int32_t column_count[2];
};

struct join_head {
    int64_t low[2], high[2];
    int64_t armed; /* time of the timer that counts, plus ARMED_BASE_MS; 0: none */
};

struct join_row {
    int64_t time;
    int64_t stamp;
    int64_t matched;
};

struct operator_instance {
    const struct operator_plan *plan;
    const struct join_plan *join;
    struct operator_env *env;
    struct state_space *spaces[JOIN_SPACES];
    struct state_entry due[JOIN_PIECE];
};

/* --- configuration --- */

static enum err read_names(struct compile_context *ctx, struct str names[2])
{
    const struct yaml_node *as = yaml_get(ctx->node, "as");
    names[0] = STR("l");
    names[1] = STR("r");
    if (as == NULL) {
        return ERR_OK;
    }
    if (as->kind != YAML_LIST || as->count != 2) {
        return yaml_fail(ctx->info, as, "'as' names the two inputs: [orders, payments]");
    }
    enum err err = yaml_text(as->items[0], &names[0], ctx->info);
    return err != ERR_OK ? err : yaml_text(as->items[1], &names[1], ctx->info);
}

static enum err read_kind(struct compile_context *ctx, struct join_plan *join)
{
    const struct yaml_node *table = yaml_get(ctx->node, "table");
    const struct yaml_node *within = yaml_get(ctx->node, "within");
    const struct yaml_node *unbounded = yaml_get(ctx->node, "unbounded");
    if ((table != NULL) + (within != NULL) + (unbounded != NULL) != 1) {
        return yaml_fail(ctx->info, ctx->node,
                         "a join is one of table: 2, within: 10s, unbounded: true");
    }
    int64_t number = 0;
    bool yes = false;
    enum err err = ERR_OK;
    if (table != NULL) {
        join->kind = JOIN_TABLE;
        err = yaml_i64(table, 2, 2, &number, ctx->info);
    } else if (within != NULL) {
        join->kind = JOIN_WITHIN;
        err = yaml_duration_ns(within, 0, JOIN_WITHIN_MAX_NS, &number, ctx->info);
        join->within_ms = number / 1000000;
    } else {
        join->kind = JOIN_UNBOUNDED;
        err = yaml_bool(unbounded, &yes, ctx->info);
        if (err == ERR_OK && !yes) {
            return yaml_fail(ctx->info, unbounded, "leave 'unbounded' out and write within: 10s");
        }
    }
    const struct yaml_node *kind = yaml_get(ctx->node, "kind");
    struct str text = STR("inner");
    if (err == ERR_OK && kind != NULL) {
        err = yaml_text(kind, &text, ctx->info);
    }
    if (err == ERR_OK && !str_is(text, "inner") && !str_is(text, "left")) {
        return yaml_fail(ctx->info, kind, "'kind' is inner or left");
    }
    join->left = str_is(text, "left");
    return err;
}

static const char *schema_text(struct arena *arena, const struct schema *schema)
{
    const char *text = "";
    for (int32_t i = 0; i < schema->count; i++) {
        text = arena_printf(arena, "%s %.*s:%s", text, STR_ARG(schema->names[i]),
                            value_type_name(schema->types[i]));
    }
    return text;
}

static void declare_spaces(struct compile_context *ctx, struct operator_plan *plan,
                           const struct join_plan *join)
{
    static const char *const NAMES[] = {"heads", "rows", "timers"};
    const char *left = join->kind == JOIN_TABLE ? "" : schema_text(ctx->arena, ctx->in[0]);
    const char *text = arena_printf(ctx->arena, "join %d,%s;%s", (int)join->kind, left,
                                    schema_text(ctx->arena, ctx->in[1]));
    const struct state_space_options options[] = {
        {.payload_bytes = (int32_t)sizeof(struct join_head)},
        {.payload_bytes = (int32_t)sizeof(struct join_row), .tails = true},
        {.timed = true},
    };
    for (int i = 0; i < JOIN_SPACES; i++) {
        plan->spaces[i] = options[i];
        plan->spaces[i].name =
            str_of(arena_printf(ctx->arena, "%.*s/%s", STR_ARG(ctx->name), NAMES[i]));
        plan->spaces[i].schema = str_of(text);
    }
    plan->space_count = JOIN_SPACES;
}

static enum err join_compile(struct compile_context *ctx, struct operator_plan *plan)
{
    static const char *const known[] = {"name", "table", "within", "unbounded", "kind", "as", NULL};
    struct join_plan *join = ARENA_NEW(ctx->arena, struct join_plan);
    struct str names[2];
    enum err err = yaml_only_keys(ctx->node, known, ctx->info);
    if (err == ERR_OK && ctx->in[1] == NULL) {
        return yaml_fail(ctx->info, ctx->node,
                         "a join wants a stage with two inputs: from: [one, other]");
    }
    if (err == ERR_OK) {
        err = read_kind(ctx, join);
    }
    if (err == ERR_OK) {
        err = read_names(ctx, names);
    }
    for (int32_t side = 0; side < 2 && err == ERR_OK; side++) {
        const struct schema *in = ctx->in[side];
        join->column_count[side] = in->count;
        if (in->count == 0) {
            return yaml_fail(ctx->info, ctx->node,
                             "input %d of the join has no fields: put {parse: {input: %d, ...}} "
                             "before it",
                             side + 1, side + 1);
        }
        for (int32_t c = 0; c < in->count && err == ERR_OK; c++) {
            const char *name =
                arena_printf(ctx->arena, "%.*s.%.*s", STR_ARG(names[side]), STR_ARG(in->names[c]));
            err = operator_schema_add(&plan->schema, ctx->node, str_of(name), in->types[c],
                                      ctx->info);
        }
    }
    if (err != ERR_OK) {
        return err;
    }
    declare_spaces(ctx, plan, join);
    plan->span_ms = join->kind == JOIN_WITHIN ? join->within_ms : 0;
    // A row comes out alone when no partner can come.
    plan->hold_ms = join->left ? plan->span_ms : 0;
    plan->compiled = join;
    return ERR_OK;
}

static enum err join_open(const struct operator_plan *plan, struct operator_env *env,
                          struct operator_instance **ret_op, struct err_info *info)
{
    IGNORE_RESULT(info); /* cannot fail */
    struct operator_instance *op = MEM_NEW(struct operator_instance);
    op->plan = plan;
    op->join = plan->compiled;
    op->env = env;
    for (int i = 0; i < JOIN_SPACES; i++) {
        op->spaces[i] = state_space_open(env->state, &plan->spaces[i]);
    }
    *ret_op = op;
    return ERR_OK;
}

static void join_close(struct operator_instance *op)
{
    mem_free(op);
}

/* --- results --- */

/* One side of a result: a row of a batch, or one that was kept. Neither: all null. */
struct join_side {
    const struct batch *batch;
    int32_t row;
    struct str kept;
    int64_t time;
    int64_t stamp;
};

struct join_out {
    struct operator_instance *op;
    struct batch_list *next;
    struct batch *batch;
    int32_t expected;
    int64_t rows;
    int64_t bytes;     /* of all results, at a guess */
    int64_t own_bytes; /* of each result of the row at hand, but for the kept one that it meets */
};

static const char TOO_MUCH[] = "join: the results of a batch would be over 16 MiB";

/* How things stood before a row's results. */
struct join_mark {
    struct arena_mark arena;
    struct batch_list next;
    struct batch *batch;
    int32_t batch_rows;
    int64_t rows, bytes;
};

static struct join_mark out_mark(const struct join_out *out)
{
    return (struct join_mark){.arena = arena_mark(out->next->arena),
                              .next = *out->next,
                              .batch = out->batch,
                              .batch_rows = out->batch != NULL ? out->batch->sel_count : 0,
                              .rows = out->rows,
                              .bytes = out->bytes};
}

static void out_rewind(struct join_out *out, const struct join_mark *mark)
{
    struct arena *arena = out->next->arena;
    *out->next = mark->next;
    out->batch = mark->batch;
    if (out->batch != NULL) {
        out->batch->sel_count = mark->batch_rows;
    }
    out->rows = mark->rows;
    out->bytes = mark->bytes;
    arena_rewind(arena, mark->arena);
}

static void out_finish(struct join_out *out)
{
    if (out->batch != NULL && out->batch->sel_count > 0) {
        out->batch->count = out->batch->sel_count;
        batch_list_add(out->next, out->batch);
    }
    out->batch = NULL;
}

static void out_begin(struct join_out *out)
{
    int32_t rows = out->expected < 16 ? 16 : out->expected;
    rows = rows > BATCH_ROWS_MAX ? BATCH_ROWS_MAX : rows;
    out->batch = batch_new(out->next->arena, rows);
    out->batch->stamp_ms = arena_new(out->next->arena, rows, sizeof(int64_t));
    const struct schema *schema = &out->op->plan->schema;
    for (int32_t c = 0; c < schema->count; c++) {
        batch_add_column(out->batch, schema->types[c], true);
    }
    out->batch->sel_count = 0;
}

static void put_side(struct batch *batch, int32_t at, int32_t first, int32_t count,
                     const struct join_side *side)
{
    struct column *to = &batch->columns[first];
    if (side->batch == NULL && side->kept.ptr != NULL) {
        CHECK(row_decode(side->kept, to, count, at, batch->arena));
        return;
    }
    for (int32_t c = 0; c < count; c++) {
        const struct column *from = side->batch != NULL ? &side->batch->columns[c] : NULL;
        if (from == NULL || column_is_null(from, side->row)) {
            to[c].null[at] = 1;
            continue;
        }
        to[c].null[at] = 0;
        ptrdiff_t bytes = to[c].type == VALUE_STR    ? (ptrdiff_t)sizeof(struct str)
                          : to[c].type == VALUE_BOOL ? 1
                                                     : 8;
        memcpy((char *)to[c].data + at * bytes, (const char *)from->data + side->row * bytes,
               (size_t)bytes);
    }
}

static void join_emit(struct join_out *out, struct str key, uint64_t hash,
                      const struct join_side *left, const struct join_side *right)
{
    if (out->batch == NULL) {
        out_begin(out);
    }
    const struct join_plan *join = out->op->join;
    struct batch *batch = out->batch;
    int32_t at = batch->sel_count++;
    batch->key[at] = key;
    batch->hash[at] = hash;
    batch->value[at] = (struct str){0};
    batch->time_ms[at] = left->time > right->time ? left->time : right->time;
    int64_t stamp = left->stamp > right->stamp ? left->stamp : right->stamp;
    batch->stamp_ms[at] = batch->time_ms[at] < stamp ? stamp : STAMP_NONE;
    put_side(batch, at, 0, join->column_count[0], left);
    put_side(batch, at, join->column_count[0], join->column_count[1], right);
    out->rows++;
    out->bytes += out->own_bytes + left->kept.len + right->kept.len;
    if (batch->sel_count == batch->count) {
        out_finish(out);
    }
}

static const struct join_side NOBODY = {.time = INT64_MIN, .stamp = STAMP_NONE};

static struct join_side side_of_row(const struct batch *batch, int32_t row)
{
    return (struct join_side){.batch = batch,
                              .row = row,
                              .time = batch->time_ms[row],
                              .stamp = batch->stamp_ms != NULL ? batch->stamp_ms[row] : STAMP_NONE};
}

static struct join_side side_of_kept(const struct operator_instance *op, const void *payload)
{
    const struct join_row *row = payload;
    return (struct join_side){.kept = state_tail_at(op->spaces[JOIN_ROWS], payload),
                              .time = row->time,
                              .stamp = row->stamp};
}

/* --- keeping rows --- */

static int64_t row_time(int64_t index, int side)
{
    return 2 * index + side;
}

static void keep_row(struct operator_instance *op, const struct batch *batch, int32_t row, int side,
                     int64_t index, bool matched)
{
    struct state_space *rows = op->spaces[JOIN_ROWS];
    int32_t columns = op->join->column_count[side];
    uint64_t hash = batch->hash[row];
    struct join_row *kept = state_upsert(rows, hash, batch->key[row], row_time(index, side), NULL);
    struct join_side of = side_of_row(batch, row);
    *kept = (struct join_row){.time = of.time, .stamp = of.stamp, .matched = matched};
    char *tail = state_tail_resize(rows, hash, kept, row_bytes(batch->columns, columns, row));
    CHECK(tail != NULL); // JOIN_ROW_MAX
    row_encode(tail, batch->columns, columns, row);
}

/* --- stream-table --- */

static void table_row(struct operator_instance *op, const struct batch *batch, int32_t row)
{
    if (batch->value[row].ptr == NULL) {
        state_delete(op->spaces[JOIN_ROWS], batch->hash[row], batch->key[row], row_time(0, 1));
    } else {
        keep_row(op, batch, row, 1, 0, false);
    }
}

static const char *stream_row(struct operator_instance *op, const struct batch *batch, int32_t row,
                              struct join_out *out)
{
    const void *found =
        state_find(op->spaces[JOIN_ROWS], batch->hash[row], batch->key[row], row_time(0, 1));
    if (found == NULL && !op->join->left) {
        return NULL;
    }
    struct join_side left = side_of_row(batch, row);
    struct join_side right = found != NULL ? side_of_kept(op, found) : NOBODY;
    right.time = INT64_MIN; // a table has no say in the time
    right.stamp = STAMP_NONE;
    if (out->bytes + out->own_bytes + right.kept.len > EXPANDED_BYTES_MAX) {
        return TOO_MUCH;
    }
    join_emit(out, batch->key[row], batch->hash[row], &left, &right);
    return NULL;
}

/* --- stream-stream --- */

static bool in_reach(const struct operator_instance *op, int64_t a, int64_t b)
{
    return op->join->kind == JOIN_UNBOUNDED ||
           (a - b <= op->join->within_ms && b - a <= op->join->within_ms);
}

/* Pairs the row with those that wait on the other side. Returns how many there were; -1: too many, and it made none. */
static int64_t meet(struct operator_instance *op, const struct batch *batch, int32_t row, int side,
                    const struct join_head *head, struct join_out *out)
{
    struct state_space *rows = op->spaces[JOIN_ROWS];
    struct str key = batch->key[row];
    uint64_t hash = batch->hash[row];
    struct join_side mine = side_of_row(batch, row);
    struct join_mark mark;
    int64_t met = 0;
    for (int64_t i = head->low[1 - side]; i < head->high[1 - side]; i++) {
        const struct join_row *other = state_find(rows, hash, key, row_time(i, 1 - side));
        if (other == NULL || !in_reach(op, mine.time, other->time)) {
            continue;
        }
        if (met++ == 0) {
            mark = out_mark(out);
        }
        struct join_side theirs = side_of_kept(op, other);
        join_emit(out, key, hash, side == 0 ? &mine : &theirs, side == 0 ? &theirs : &mine);
        if (out->bytes > EXPANDED_BYTES_MAX) {
            out_rewind(out, &mark);
            return -1;
        }
    }
    return met;
}

/* Marks the rows of input 0 that a row of input 1 met: they do not come out alone. */
static void mark_matched(struct operator_instance *op, const struct batch *batch, int32_t row,
                         const struct join_head *head)
{
    struct state_space *rows = op->spaces[JOIN_ROWS];
    struct str key = batch->key[row];
    uint64_t hash = batch->hash[row];
    for (int64_t i = head->low[0]; i < head->high[0]; i++) {
        const struct join_row *other = state_find(rows, hash, key, row_time(i, 0));
        if (other != NULL && other->matched == 0 &&
            in_reach(op, batch->time_ms[row], other->time)) {
            struct join_row *marked = state_upsert(rows, hash, key, row_time(i, 0), NULL);
            marked->matched = 1;
        }
    }
}

static void arm(struct operator_instance *op, uint64_t hash, struct str key, struct join_head *head,
                int64_t due)
{
    if (head->armed == 0 || due < head->armed - ARMED_BASE_MS) {
        head->armed = due + ARMED_BASE_MS; // never 0
        state_upsert(op->spaces[JOIN_TIMERS], hash, key, due, NULL);
    }
}

static const char *both_row(struct operator_instance *op, const struct batch *batch, int32_t row,
                            int side, struct join_out *out)
{
    uint64_t hash = batch->hash[row];
    struct str key = batch->key[row];
    struct join_head *head = state_upsert(op->spaces[JOIN_HEADS], hash, key, 0, NULL);
    int64_t met = meet(op, batch, row, side, head, out);
    if (met < 0) {
        return TOO_MUCH;
    }
    if (met > 0 && side == 1 && op->join->left) {
        mark_matched(op, batch, row, head);
    }
    if (met == 0 && side == 0 && op->join->left && op->join->kind == JOIN_UNBOUNDED) {
        struct join_side mine = side_of_row(batch, row);
        join_emit(out, key, hash, &mine, &NOBODY);
    }
    keep_row(op, batch, row, side, head->high[side]++, met > 0);
    if (op->join->kind == JOIN_WITHIN) {
        arm(op, hash, key, head, batch->time_ms[row] + op->join->within_ms + 1);
    }
    return NULL;
}

/*   ret_bytes   of the row, where it has any */
static const char *join_refusal(const struct operator_instance *op, const struct batch *batch,
                                int32_t row, int side, int64_t *ret_bytes)
{
    int64_t time = batch->time_ms[row];
    if (batch->key[row].len > STATE_KEY_MAX) {
        return "key is too long to keep state for";
    }
    if (time > JOIN_TIME_MAX_MS || time < -JOIN_TIME_MAX_MS) {
        return "event time is out of range";
    }
    bool gone = op->join->kind == JOIN_TABLE && side == 1 && batch->value[row].ptr == NULL;
    if (gone) {
        return NULL;
    }
    *ret_bytes = row_bytes(batch->columns, op->join->column_count[side], row);
    return *ret_bytes > JOIN_ROW_MAX ? "join: the row is too large to be kept" : NULL;
}

static enum err join_process(struct operator_instance *op, int input, struct batch *batch,
                             struct batch_list *next, struct err_info *info)
{
    IGNORE_RESULT(info); /* cannot fail */
    struct join_out out = {.op = op, .next = next, .expected = batch->sel_count};
    int64_t fixed = (int64_t)(op->plan->schema.count + 1) * EXPANDED_COLUMN_BYTES;
    for (int32_t k = 0; k < batch->sel_count; k++) {
        int32_t row = batch->sel[k];
        int64_t bytes = 0;
        const char *reason = join_refusal(op, batch, row, input, &bytes);
        out.own_bytes = bytes + batch->key[row].len + fixed;
        if (reason == NULL && op->join->kind != JOIN_TABLE) {
            reason = both_row(op, batch, row, input, &out);
        } else if (reason == NULL && input == 1) {
            table_row(op, batch, row);
        } else if (reason == NULL) {
            reason = stream_row(op, batch, row, &out);
        }
        if (reason != NULL) {
            operator_reject(op->env, batch, row, reason);
        }
    }
    out_finish(&out);
    return ERR_OK;
}

/* --- expiry --- */

static void emit_alone(const struct operator_instance *op, const struct state_entry *timer,
                       const struct join_row *row, struct join_out *out)
{
    struct join_side alone = side_of_kept(op, row);
    struct str key = {0};
    if (timer->key.len != 0) {
        key = (struct str){.ptr = arena_dup(out->next->arena, timer->key.ptr, timer->key.len),
                           .len = timer->key.len};
    }
    join_emit(out, key, timer->hash, &alone, &NOBODY);
}

/* Drops the key's rows that no partner can reach any more; returns when the next one expires (INT64_MAX: none is left). */
static int64_t expire_side(struct operator_instance *op, const struct state_entry *timer,
                           struct join_head *head, int side, int64_t watermark_ms,
                           struct join_out *out)
{
    struct state_space *rows = op->spaces[JOIN_ROWS];
    int64_t next = INT64_MAX;
    bool front = true;
    for (int64_t i = head->low[side]; i < head->high[side]; i++) {
        const struct join_row *row = state_find(rows, timer->hash, timer->key, row_time(i, side));
        int64_t due = row != NULL ? row->time + op->join->within_ms + 1 : INT64_MIN;
        if (row != NULL && due <= watermark_ms) {
            if (side == 0 && op->join->left && row->matched == 0) {
                emit_alone(op, timer, row, out);
            }
            state_delete(rows, timer->hash, timer->key, row_time(i, side));
        } else if (row != NULL) {
            next = due < next ? due : next;
            front = false;
        }
        head->low[side] += front;
    }
    return next;
}

static void expire(struct operator_instance *op, const struct state_entry *timer,
                   int64_t watermark_ms, struct join_out *out)
{
    struct state_space *heads = op->spaces[JOIN_HEADS];
    const struct join_head *found = state_find(heads, timer->hash, timer->key, 0);
    if (found == NULL || found->armed - ARMED_BASE_MS != timer->time) {
        return; // stale
    }
    struct join_head *head = state_upsert(heads, timer->hash, timer->key, 0, NULL);
    head->armed = 0;
    int64_t left = expire_side(op, timer, head, 0, watermark_ms, out);
    int64_t right = expire_side(op, timer, head, 1, watermark_ms, out);
    int64_t next = left < right ? left : right;
    if (next == INT64_MAX) {
        state_delete(heads, timer->hash, timer->key, 0);
    } else {
        arm(op, timer->hash, timer->key, head, next);
    }
}

static bool join_advance(struct operator_instance *op, int64_t watermark_ms,
                         struct batch_list *next)
{
    struct join_out out = {.op = op, .next = next};
    bool more = false;
    while (op->join->kind == JOIN_WITHIN && !more) {
        int32_t count = state_take_due(op->spaces[JOIN_TIMERS], watermark_ms, op->due, JOIN_PIECE);
        if (count == 0) {
            break;
        }
        for (int32_t i = 0; i < count; i++) {
            expire(op, &op->due[i], watermark_ms, &out);
        }
        more = out.rows >= JOIN_ROWS_PER_ADVANCE;
    }
    out_finish(&out);
    return more;
}

const struct operator_type operator_join = {
    .name = "join",
    .reads_hash = true,
    .joins = true,
    .compile = join_compile,
    .open = join_open,
    .close = join_close,
    .process = join_process,
    .advance = join_advance,
};
