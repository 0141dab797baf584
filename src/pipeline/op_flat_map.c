// SPDX-License-Identifier: Apache-2.0
/* flat_map: one row becomes one for each element of a JSON array, or for each part of a text. The new rows have the row's
 * columns and those of the element; key, event time and headers stay. */
#include "base/check.h"
#include "base/mem.h"
#include "pipeline/expr.h"
#include "pipeline/op_parse.h"

enum { FLAT_MAP_ROWS_MAX = 1024 /* of one row; more reject it */ };

enum flat_map_kind { FLAT_MAP_SPLIT, FLAT_MAP_SCALARS, FLAT_MAP_OBJECTS };

struct flat_map_plan {
    enum flat_map_kind kind;
    const struct expr *text; /* the array, or the text to split */
    struct str separator;
    struct parse_plan *element; /* its fields; one for scalars and parts */
    int32_t kept_count;         /* columns of the input */
};

struct operator_instance {
    struct operator_env *env;

    const struct flat_map_plan *plan;
    uint64_t columns_used;
    struct json_reader *reader;
    struct arena arena; /* of the shape */
    struct json_shape *shape;
    struct str *elements; /* [FLAT_MAP_ROWS_MAX] of the row at hand */
};

/* --- settings --- */

static enum err compile_split(struct compile_context *ctx, struct flat_map_plan *plan)
{
    const struct yaml_node *by = yaml_get(ctx->node, "by");
    plan->kind = FLAT_MAP_SPLIT;
    if (by == NULL) {
        return yaml_fail(ctx->info, ctx->node,
                         "'split' wants 'by', the text that stands between parts");
    }
    enum err err = yaml_text(by, &plan->separator, ctx->info);
    if (err == ERR_OK && (plan->separator.len == 0 || plan->separator.len > JSON_PADDING)) {
        return yaml_fail(ctx->info, by, "'by' has 1 to %d bytes", JSON_PADDING);
    }
    return err;
}

/* `into: word`, or `into: {name: word, type: int}`: the one column of scalars and parts. */
static enum err compile_into(struct compile_context *ctx, struct flat_map_plan *plan,
                             const struct yaml_node *into)
{
    static const char *const known[] = {"name", "type", NULL};
    struct str name;
    enum value_type type = VALUE_STR;
    bool map = into->kind == YAML_MAP;
    enum err err = map ? yaml_only_keys(into, known, ctx->info) : ERR_OK;
    const struct yaml_node *name_node = map ? yaml_get(into, "name") : into;
    const struct yaml_node *type_node = map ? yaml_get(into, "type") : NULL;
    if (err == ERR_OK && name_node == NULL) {
        return yaml_fail(ctx->info, into, "'into' names the new field: {name: word, type: string}");
    }
    if (err == ERR_OK) {
        err = yaml_text(name_node, &name, ctx->info);
    }
    if (err == ERR_OK && type_node != NULL) {
        err = parse_read_type(ctx, type_node, &type);
    }
    if (err == ERR_OK && plan->kind == FLAT_MAP_SPLIT && type != VALUE_STR) {
        return yaml_fail(ctx->info, type_node, "parts of a text are strings: cast them in a map");
    }
    if (err != ERR_OK) {
        return err;
    }
    struct schema one = {.count = 1, .names = {name}, .types = {type}};
    plan->element = parse_plan_of_schema(ctx->arena, &one);
    return ERR_OK;
}

static enum err compile_element(struct compile_context *ctx, struct flat_map_plan *plan,
                                const struct yaml_node **ret_place)
{
    const struct yaml_node *into = yaml_get(ctx->node, "into");
    const struct yaml_node *fields = yaml_get(ctx->node, "fields");
    bool objects = fields != NULL && plan->kind != FLAT_MAP_SPLIT;
    if ((into == NULL) == !objects) {
        return yaml_fail(
            ctx->info, ctx->node,
            "flat_map wants 'into' for parts and scalars, or 'fields' for an array of objects");
    }
    *ret_place = objects ? fields : into;
    if (!objects) {
        return compile_into(ctx, plan, into);
    }
    plan->kind = FLAT_MAP_OBJECTS;
    plan->element = ARENA_NEW(ctx->arena, struct parse_plan);
    return parse_read_fields(ctx, fields, plan->element);
}

static enum err flat_map_compile(struct compile_context *ctx, struct operator_plan *plan)
{
    static const char *const known[] = {"name", "array", "split", "by", "into", "fields", NULL};
    enum err err = yaml_only_keys(ctx->node, known, ctx->info);
    if (err != ERR_OK) {
        return err;
    }
    struct flat_map_plan *flat = ARENA_NEW(ctx->arena, struct flat_map_plan);
    const struct yaml_node *array = yaml_get(ctx->node, "array");
    const struct yaml_node *split = yaml_get(ctx->node, "split");
    if ((array == NULL) == (split == NULL)) {
        return yaml_fail(ctx->info, ctx->node,
                         "flat_map wants 'array' or 'split': what makes the rows?");
    }
    flat->kind = FLAT_MAP_SCALARS;
    if (split != NULL) {
        err = compile_split(ctx, flat);
    }
    const struct yaml_node *source = split != NULL ? split : array;
    if (err == ERR_OK) {
        err = expr_compile(ctx->arena, source, ctx->in[0], &flat->text, ctx->info);
    }
    if (err == ERR_OK && expr_type(flat->text) != VALUE_STR) {
        return yaml_fail(ctx->info, source, "this is %s, flat_map wants a string",
                         value_type_name(expr_type(flat->text)));
    }
    const struct yaml_node *place = ctx->node;
    if (err == ERR_OK) {
        err = compile_element(ctx, flat, &place);
    }
    if (err != ERR_OK) {
        return err;
    }
    plan->schema = *ctx->in[0];
    flat->kept_count = ctx->in[0]->count;
    for (int32_t f = 0; f < flat->element->field_count; f++) {
        err = operator_schema_add(&plan->schema, place, flat->element->fields[f].name,
                                  flat->element->fields[f].type, ctx->info);
        if (err != ERR_OK) {
            return err;
        }
    }
    plan->expands = true;
    plan->columns_read = expr_columns(flat->text);
    plan->column_from = operator_columns_kept(ctx->arena, ctx->in[0]);
    plan->compiled = flat;
    return ERR_OK;
}

/* --- running --- */

static enum err flat_map_open(const struct operator_plan *plan, struct operator_env *env,
                              struct operator_instance **ret_op, struct err_info *info)
{
    IGNORE_RESULT(info); /* cannot fail */
    struct operator_instance *op = MEM_NEW(struct operator_instance);
    op->env = env;
    op->plan = plan->compiled;
    op->columns_used = plan->columns_used;
    op->elements = MEM_NEW_ARRAY(struct str, FLAT_MAP_ROWS_MAX);
    op->reader = op->plan->kind != FLAT_MAP_SPLIT ? json_reader_new() : NULL;
    arena_init(&op->arena, 1 << 20);
    if (op->plan->kind == FLAT_MAP_OBJECTS) {
        op->shape = ARENA_NEW(&op->arena, struct json_shape);
        int32_t bad = 0;
        enum err err = parse_json_shape(op->plan->element, UINT64_MAX, &op->arena, op->shape, &bad);
        CHECK(err == ERR_OK); /* compile() built it before */
    }
    *ret_op = op;
    return ERR_OK;
}

static void flat_map_close(struct operator_instance *op)
{
    json_reader_free(op->reader);
    arena_release(&op->arena);
    mem_free(op->elements);
    mem_free(op);
}

/* The rows that are being made: which row each comes from, and its element. */
struct made {
    int32_t count;
    int32_t from[BATCH_ROWS_MAX];
    struct str element[BATCH_ROWS_MAX];
};

#define GATHER(T, to, source) \
    do { \
        T *to_ = (to); \
        const T *source_ = (source); \
        for (int32_t i = 0; i < made->count; i++) { \
            to_[i] = source_[made->from[i]]; \
        } \
    } while (0)

static void gather_column(struct batch *to, const struct column *source, const struct made *made)
{
    int32_t c = batch_add_column(to, source->type, source->null != NULL);
    struct column *column = &to->columns[c];
    if (source->type == VALUE_BOOL) {
        GATHER(uint8_t, column->data, source->data);
    } else if (source->type == VALUE_STR) {
        GATHER(struct str, column->data, source->data);
    } else {
        GATHER(int64_t, column->data, source->data);
    }
    if (source->null != NULL) {
        GATHER(uint8_t, column->null, source->null);
    }
}

static struct batch *gather(const struct operator_instance *op, const struct batch *source,
                            const struct made *made)
{
    struct batch *to = batch_new(source->arena, made->count);
    GATHER(int64_t, to->time_ms, source->time_ms);
    GATHER(uint64_t, to->hash, source->hash);
    GATHER(struct str, to->key, source->key);
    GATHER(struct str, to->value, source->value);
    if (source->stamp_ms != NULL) {
        to->stamp_ms = arena_new_raw(source->arena, made->count, sizeof(int64_t));
        GATHER(int64_t, to->stamp_ms, source->stamp_ms);
    }
    if (source->headers != NULL) {
        to->headers = arena_new_raw(source->arena, made->count, sizeof(struct str));
        to->header_count = arena_new_raw(source->arena, made->count, sizeof(int32_t));
        GATHER(struct str, to->headers, source->headers);
        GATHER(int32_t, to->header_count, source->header_count);
    }
    if (source->offset != NULL) {
        int64_t *offset = arena_new_raw(source->arena, made->count, sizeof(int64_t));
        GATHER(int64_t, offset, source->offset);
        to->offset = offset;
        to->shard = source->shard;
    }
    for (int32_t c = 0; c < op->plan->kept_count; c++) {
        gather_column(to, &source->columns[c], made);
    }
    return to;
}

static void flush(struct operator_instance *op, const struct batch *source, struct made *made,
                  struct batch_list *next)
{
    if (made->count == 0) {
        return;
    }
    struct batch *to = gather(op, source, made);
    const struct flat_map_plan *plan = op->plan;
    struct arena *arena = source->arena;
    const char **reasons = arena_new(arena, made->count, sizeof(char *));
    int32_t first = to->column_count;
    for (int32_t f = 0; f < plan->element->field_count; f++) {
        int32_t c = batch_add_column(to, plan->element->fields[f].type, true);
        memset(to->columns[c].null, 1, (size_t)made->count);
    }
    struct column *columns = &to->columns[first];
    if (plan->kind == FLAT_MAP_OBJECTS) {
        IGNORE_RESULT(json_read_rows(op->reader, op->shape, false, made->element, to->sel,
                                     to->sel_count, columns, arena,
                                     reasons)); /* the reasons say it all */
    }
    for (int32_t i = 0; i < made->count && plan->kind != FLAT_MAP_OBJECTS; i++) {
        if (plan->kind == FLAT_MAP_SPLIT) {
            COLUMN_STR(columns)[i] = made->element[i];
            columns->null[i] = 0;
        } else if (!json_read_scalar(op->reader, made->element[i], columns, i, arena)) {
            reasons[i] = plan->element->fields[0].reason;
        }
    }
    operator_reject_reasons(op->env, to, reasons);
    if (to->sel_count > 0) {
        batch_list_add(next, to);
    }
    made->count = 0;
}

static int32_t split_text(struct operator_instance *op, struct str text)
{
    struct str separator = op->plan->separator;
    int32_t count = 0;
    while (text.ptr != NULL && text.len > 0) {
        ptrdiff_t at = str_find(text, separator);
        struct str part = {text.ptr, at >= 0 ? at : text.len};
        if (count < FLAT_MAP_ROWS_MAX) {
            op->elements[count] = part;
        }
        count++;
        if (at >= 0 && at + separator.len == text.len) { /* an empty part at the end */
            if (count < FLAT_MAP_ROWS_MAX) {
                op->elements[count] = (struct str){text.ptr + text.len, 0};
            }
            count++;
        }
        text = at >= 0 ? (struct str){text.ptr + at + separator.len, text.len - at - separator.len}
                       : (struct str){0};
    }
    return count;
}

/* The elements of one row into op->elements; -1: `ret_reason`. */
static int32_t elements_of(struct operator_instance *op, struct str text, struct arena *arena,
                           const char **ret_reason)
{
    int32_t count;
    if (op->plan->kind == FLAT_MAP_SPLIT) {
        count = split_text(op, text);
    } else {
        /* A text of any origin, so its padding is not there yet. */
        char *padded = arena_new_raw(arena, text.len + JSON_PADDING, 1);
        if (text.len > 0) {
            memcpy(padded, text.ptr, (size_t)text.len);
        }
        memset(padded + text.len, 0, JSON_PADDING);
        count = json_array_split(op->reader, (struct str){padded, text.len}, op->elements,
                                 FLAT_MAP_ROWS_MAX, ret_reason);
    }
    if (count > FLAT_MAP_ROWS_MAX) {
        *ret_reason = "flat_map: more than 1024 elements";
        return -1;
    }
    return count;
}

/* What `count` rows of one will take: the fields it has already, each time, and a part of `text`. */
static int64_t expanded_bytes(const struct operator_instance *op, const struct batch *batch,
                              int32_t row, int32_t count, struct str text)
{
    int64_t each =
        batch->key[row].len +
        EXPANDED_COLUMN_BYTES * (int64_t)(batch->column_count + op->plan->element->field_count + 1);
    for (int32_t c = 0; c < op->plan->kept_count; c++) {
        const struct column *column = &batch->columns[c];
        bool used = (op->columns_used >> c & 1) != 0; // else nobody has filled it
        if (used && column->type == VALUE_STR && !column_is_null(column, row)) {
            each += COLUMN_STR(column)[row].len;
        }
    }
    return count * each + text.len;
}

static enum err flat_map_process(struct operator_instance *op, int input, struct batch *batch,
                                 struct batch_list *next, struct err_info *info)
{
    IGNORE_RESULT(input); /* all rows are alike */
    IGNORE_RESULT(info);  /* cannot fail */
    uint8_t *rejects = arena_new(batch->arena, batch->count, 1);
    struct column text;
    if (expr_eval(op->plan->text, batch, &text, rejects) > 0) {
        operator_reject_rows(op->env, batch, rejects);
    }
    struct made *made = arena_new_raw(batch->arena, 1, sizeof(struct made));
    made->count = 0;
    int64_t bytes = 0;
    for (int32_t k = 0; k < batch->sel_count; k++) {
        int32_t row = batch->sel[k];
        if (column_is_null(&text, row)) {
            continue; /* no array, no rows */
        }
        const char *reason = NULL;
        int32_t count = elements_of(op, COLUMN_STR(&text)[row], batch->arena, &reason);
        int64_t more =
            count < 0 ? 0 : expanded_bytes(op, batch, row, count, COLUMN_STR(&text)[row]);
        if (bytes + more > EXPANDED_BYTES_MAX) {
            reason = "flat_map: the rows made of a batch would be over 16 MiB";
        }
        if (reason != NULL) {
            operator_reject(op->env, batch, row, reason);
            continue;
        }
        bytes += more;
        for (int32_t e = 0; e < count; e++) {
            if (made->count == BATCH_ROWS_MAX) {
                flush(op, batch, made, next);
            }
            made->from[made->count] = row;
            made->element[made->count++] = op->elements[e];
        }
    }
    flush(op, batch, made, next);
    return ERR_OK;
}

const struct operator_type operator_flat_map = {
    .name = "flat_map",
    .reads_hash = true,
    .compile = flat_map_compile,
    .open = flat_map_open,
    .close = flat_map_close,
    .process = flat_map_process,
};
