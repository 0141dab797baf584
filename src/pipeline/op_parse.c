// SPDX-License-Identifier: Apache-2.0
/* parse: reads the record's value into typed columns. Only fields that somebody behind needs are read and checked; with
 * `strict` the whole record is. */
#include "pipeline/op_parse.h"

#include "base/check.h"
#include "base/mem.h"
#include "pipeline/hint.h"

struct operator_instance {
    struct operator_env *env;
    const struct parse_plan *plan;
    uint64_t used; /* bit i: field i */
    bool reads;    /* false: nothing is needed and nobody doubts the records */
    struct json_reader *reader;
    struct arena arena; /* of the shape */
    struct json_shape *shape;
};

/* --- settings --- */

struct type_word {
    const char *word;
    enum value_type type;
    bool raw_json;
};

/* The first word of each type is its name, as value_type_name gives it. */
static const struct type_word type_words[] = {
    {"bool", VALUE_BOOL, false}, {"int", VALUE_I64, false},   {"i64", VALUE_I64, false},
    {"float", VALUE_F64, false}, {"f64", VALUE_F64, false},   {"string", VALUE_STR, false},
    {"str", VALUE_STR, false},   {"time", VALUE_TIME, false}, {"json", VALUE_STR, true},
};

struct raw_word {
    const char *word;
    enum raw_type raw;
    enum value_type type;
    int32_t bytes; /* 0: `length` says */
};

static const struct raw_word raw_words[] = {
    {"i8", RAW_I8, VALUE_I64, 1},      {"i16", RAW_I16, VALUE_I64, 2},
    {"i32", RAW_I32, VALUE_I64, 4},    {"i64", RAW_I64, VALUE_I64, 8},
    {"u8", RAW_U8, VALUE_I64, 1},      {"u16", RAW_U16, VALUE_I64, 2},
    {"u32", RAW_U32, VALUE_I64, 4},    {"u64", RAW_U64, VALUE_I64, 8},
    {"f32", RAW_F32, VALUE_F64, 4},    {"f64", RAW_F64, VALUE_F64, 8},
    {"bool", RAW_BOOL, VALUE_BOOL, 1}, {"str", RAW_STR, VALUE_STR, 0},
    {"string", RAW_STR, VALUE_STR, 0}, {"time", RAW_TIME, VALUE_TIME, 8},
};

static enum err read_word_type(struct compile_context *ctx, const struct yaml_node *node,
                               enum parse_format format, struct parse_field *field)
{
    struct str word;
    enum err err = yaml_text(node, &word, ctx->info);
    if (err != ERR_OK) {
        return err;
    }
    if (format == PARSE_RAW) {
        for (ptrdiff_t i = 0; i < COUNT_OF(raw_words); i++) {
            if (str_is(word, raw_words[i].word)) {
                field->raw_type = raw_words[i].raw;
                field->type = raw_words[i].type;
                field->raw_bytes = raw_words[i].bytes;
                return ERR_OK;
            }
        }
        return yaml_fail(
            ctx->info, node,
            "'%.*s' is no type of raw data: i8..i64, u8..u64, f32, f64, bool, string, time",
            STR_ARG(word));
    }
    for (ptrdiff_t i = 0; i < COUNT_OF(type_words); i++) {
        bool json_only = type_words[i].raw_json && format != PARSE_JSON;
        if (str_is(word, type_words[i].word) && !json_only) {
            field->type = type_words[i].type;
            field->raw_json = type_words[i].raw_json;
            return ERR_OK;
        }
    }
    return yaml_fail(ctx->info, node, "'%.*s' is no type: bool, int, float, string, time%s",
                     STR_ARG(word), format == PARSE_JSON ? " or json" : "");
}

/* "a.b.c", or a list of keys where one has a point in it. */
static enum err read_path(struct compile_context *ctx, const struct yaml_node *node,
                          struct str dotted, struct parse_field *field)
{
    bool list = node->kind == YAML_LIST;
    struct str rest = dotted;
    int32_t index = 0;
    while (list ? index < node->count : rest.ptr != NULL) {
        struct str key = list ? node->items[index]->text : str_cut(&rest, '.');
        index++;
        if ((list && node->items[index - 1]->kind != YAML_SCALAR) || key.len == 0 ||
            key.len > JSON_PADDING) {
            return yaml_fail(ctx->info, node, "a path is keys of 1 to %d bytes with points between",
                             JSON_PADDING);
        }
        if (field->path_count == JSON_PATH_MAX) {
            return yaml_fail(ctx->info, node, "a path has at most %d keys", JSON_PATH_MAX);
        }
        field->path[field->path_count++] = key;
    }
    if (field->path_count == 0) {
        return yaml_fail(ctx->info, node, "the path is empty");
    }
    return ERR_OK;
}

static enum err read_endian(struct compile_context *ctx, const struct yaml_node *node,
                            bool *ret_big)
{
    struct str word;
    enum err err = yaml_text(node, &word, ctx->info);
    if (err == ERR_OK && !str_is(word, "big") && !str_is(word, "little")) {
        return yaml_fail(ctx->info, node, "'endian' is little or big");
    }
    *ret_big = err == ERR_OK && str_is(word, "big");
    return err;
}

static enum err read_raw_place(struct compile_context *ctx, const struct yaml_node *node,
                               struct parse_field *field)
{
    const struct yaml_node *offset = yaml_get(node, "offset");
    const struct yaml_node *length = yaml_get(node, "length");
    const struct yaml_node *endian = yaml_get(node, "endian");
    int64_t value;
    if (offset == NULL) {
        return yaml_fail(ctx->info, node, "a raw field wants an 'offset': {type: i32, offset: 4}");
    }
    enum err err = yaml_i64(offset, 0, RAW_OFFSET_MAX, &value, ctx->info);
    if (err != ERR_OK) {
        return err;
    }
    field->raw_offset = (int32_t)value;
    if ((length != NULL) != (field->raw_bytes == 0)) {
        return yaml_fail(
            ctx->info, length != NULL ? length : node,
            "'length' belongs to string, and string wants it: {type: string, offset: 0, length: 8}");
    }
    if (length != NULL) {
        err = yaml_i64(length, 1, RAW_OFFSET_MAX, &value, ctx->info);
        field->raw_bytes = err == ERR_OK ? (int32_t)value : 1;
    }
    if (err == ERR_OK && endian != NULL) {
        err = read_endian(ctx, endian, &field->raw_big_endian);
    }
    return err;
}

static enum err read_csv_place(struct compile_context *ctx, const struct yaml_node *node,
                               const struct parse_plan *plan, struct parse_field *field)
{
    int32_t next = plan->field_count > 0 ? plan->fields[plan->field_count - 1].csv_column + 1 : 0;
    const struct yaml_node *column = node->kind == YAML_MAP ? yaml_get(node, "column") : NULL;
    field->csv_column = next;
    if (column == NULL) {
        return ERR_OK;
    }
    int64_t value;
    enum err err = yaml_i64(column, 1, CSV_COLUMNS_MAX, &value, ctx->info);
    if (err == ERR_OK && value <= next) {
        return yaml_fail(ctx->info, column,
                         "column %lld stands before that of the field above: list fields in order",
                         (long long)value);
    }
    field->csv_column = err == ERR_OK ? (int32_t)value - 1 : next;
    return err;
}

static enum err read_field(struct compile_context *ctx, const struct yaml_node *key,
                           const struct yaml_node *node, struct parse_plan *plan)
{
    static const char *const json_keys[] = {"type", "path", NULL};
    static const char *const csv_keys[] = {"type", "column", NULL};
    static const char *const raw_keys[] = {"type", "offset", "length", "endian", NULL};
    const char *const *keys = plan->format == PARSE_JSON  ? json_keys
                              : plan->format == PARSE_CSV ? csv_keys
                                                          : raw_keys;
    struct parse_field *field = &plan->fields[plan->field_count];
    *field = (struct parse_field){.name = key->text};
    bool map = node->kind == YAML_MAP;
    enum err err = map ? yaml_only_keys(node, keys, ctx->info) : ERR_OK;
    const struct yaml_node *type = map ? yaml_get(node, "type") : node;
    if (err == ERR_OK && type == NULL) {
        return yaml_fail(ctx->info, node, "field '%.*s' has no type", STR_ARG(key->text));
    }
    if (err == ERR_OK) {
        err = read_word_type(ctx, type, plan->format, field);
    }
    if (err == ERR_OK && plan->format == PARSE_RAW) {
        err = map ? read_raw_place(ctx, node, field)
                  : yaml_fail(ctx->info, node,
                              "a raw field wants an 'offset': {type: i32, offset: 4}");
    } else if (err == ERR_OK && plan->format == PARSE_CSV) {
        err = read_csv_place(ctx, node, plan, field);
    } else if (err == ERR_OK) {
        const struct yaml_node *path = map ? yaml_get(node, "path") : NULL;
        err =
            read_path(ctx, path != NULL ? path : key, path != NULL ? path->text : key->text, field);
    }
    if (err != ERR_OK) {
        return err;
    }
    field->reason = arena_printf(ctx->arena, "field '%.*s' is no %s", STR_ARG(field->name),
                                 value_type_name(field->type));
    plan->field_count++;
    return ERR_OK;
}

static enum err read_format(struct compile_context *ctx, struct parse_plan *plan)
{
    static const char *const known[] = {"name",   "input",     "format", "fields",
                                        "strict", "delimiter", NULL};
    enum err err = yaml_only_keys(ctx->node, known, ctx->info);
    struct str format = STR("json");
    const struct yaml_node *node = yaml_get(ctx->node, "format");
    if (err == ERR_OK && node != NULL) {
        err = yaml_text(node, &format, ctx->info);
    }
    if (err != ERR_OK) {
        return err;
    }
    static const char *const words[] = {"json", "csv", "raw"};
    int32_t found = -1;
    for (int32_t i = 0; i < 3; i++) {
        found = str_is(format, words[i]) ? i : found;
    }
    if (found < 0) {
        return yaml_fail(ctx->info, node, "'%.*s' is no format: json, csv or raw", STR_ARG(format));
    }
    plan->format = (enum parse_format)found;
    plan->delimiter = ',';
    const struct yaml_node *delimiter = yaml_get(ctx->node, "delimiter");
    if (delimiter != NULL) {
        char c =
            delimiter->kind == YAML_SCALAR && delimiter->text.len == 1 ? delimiter->text.ptr[0] : 0;
        if (plan->format != PARSE_CSV || c <= 0 || c == '"' || c == '\n' || c == '\r') {
            return yaml_fail(ctx->info, delimiter,
                             "'delimiter' is one ASCII character and belongs to csv");
        }
        plan->delimiter = c;
    }
    const struct yaml_node *strict = yaml_get(ctx->node, "strict");
    return strict != NULL ? yaml_bool(strict, &plan->strict, ctx->info) : ERR_OK;
}

enum err parse_read_fields(struct compile_context *ctx, const struct yaml_node *fields,
                           struct parse_plan *plan)
{
    if (fields == NULL || fields->kind != YAML_MAP || fields->count == 0 ||
        fields->count > BATCH_COLUMNS_MAX) {
        return yaml_fail(ctx->info, fields != NULL ? fields : ctx->node,
                         "'fields' is a map of 1 to %d: {name: type}", BATCH_COLUMNS_MAX);
    }
    for (int32_t i = 0; i < fields->count; i++) {
        enum err err = read_field(ctx, fields->keys[i], fields->items[i], plan);
        if (err != ERR_OK) {
            return err;
        }
    }
    struct json_shape *shape = ARENA_NEW(ctx->arena, struct json_shape);
    int32_t bad = 0;
    if (plan->format == PARSE_JSON &&
        parse_json_shape(plan, UINT64_MAX, ctx->arena, shape, &bad) != ERR_OK) {
        return yaml_fail(ctx->info, fields->keys[bad],
                         "the path of '%.*s' leads through another field, or there are too many",
                         STR_ARG(plan->fields[bad].name));
    }
    return ERR_OK;
}

enum err parse_read_type(struct compile_context *ctx, const struct yaml_node *node,
                         enum value_type *ret_type)
{
    struct parse_field field = {0};
    enum err err = read_word_type(ctx, node, PARSE_CSV, &field); /* csv: without the word `json` */
    *ret_type = err == ERR_OK ? field.type : *ret_type;
    return err;
}

static enum err parse_compile(struct compile_context *ctx, struct operator_plan *plan)
{
    struct parse_plan *parse = ARENA_NEW(ctx->arena, struct parse_plan);
    enum err err = read_format(ctx, parse);
    if (err == ERR_OK && !ctx->value_intact) {
        return yaml_fail(ctx->info, ctx->node,
                         "parse stands behind an operator that made new rows: move it before that");
    }
    const struct yaml_node *fields = yaml_get(ctx->node, "fields");
    if (err == ERR_OK) {
        err = parse_read_fields(ctx, fields, parse);
    }
    plan->schema = *ctx->in[0];
    parse->column_first = ctx->in[0]->count;
    for (int32_t i = 0; err == ERR_OK && i < parse->field_count; i++) {
        err = operator_schema_add(&plan->schema, fields->keys[i], parse->fields[i].name,
                                  parse->fields[i].type, ctx->info);
    }
    if (err != ERR_OK) {
        return err;
    }
    plan->value_intact = true;
    plan->columns_read = 0;
    plan->column_from = operator_columns_kept(ctx->arena, ctx->in[0]);
    plan->compiled = parse;
    return ERR_OK;
}

struct parse_plan *parse_plan_of_schema(struct arena *arena, const struct schema *schema)
{
    struct parse_plan *plan = ARENA_NEW(arena, struct parse_plan);
    plan->format = PARSE_JSON;
    plan->trusted = true;
    plan->field_count = schema->count;
    for (int32_t i = 0; i < schema->count; i++) {
        plan->fields[i] = (struct parse_field){
            .name = schema->names[i],
            .type = schema->types[i],
            .reason = arena_printf(arena, "field '%.*s' is no %s", STR_ARG(schema->names[i]),
                                   value_type_name(schema->types[i])),
            .path_count = 1,
            .path = {schema->names[i]},
        };
    }
    return plan;
}

/* --- the tree of paths --- */

/* A tree while it is made: children as linked lists; the shape wants them side by side. */
struct path_node {
    struct str key;
    int32_t child, sibling; /* 0: none (0 is the root) */
    int32_t field;          /* -1: an object on the way */
};

static enum err add_path(struct path_node *nodes, int32_t *count, const struct parse_field *field,
                         int32_t index)
{
    int32_t at = 0;
    for (int32_t k = 0; k < field->path_count; k++) {
        int32_t child = nodes[at].child;
        while (child != 0 && !str_equal(nodes[child].key, field->path[k])) {
            child = nodes[child].sibling;
        }
        bool leaf = k + 1 == field->path_count;
        if (child != 0 && (leaf || nodes[child].field >= 0)) {
            return ERR_INVALID; /* a field and an object, or a field twice */
        }
        if (child == 0) {
            if (*count == JSON_SHAPE_NODES_MAX) {
                return ERR_INVALID;
            }
            child = (*count)++;
            nodes[child] = (struct path_node){
                .key = field->path[k], .sibling = nodes[at].child, .field = leaf ? index : -1};
            nodes[at].child = child;
        }
        at = child;
    }
    return ERR_OK;
}

enum err parse_json_shape(const struct parse_plan *plan, uint64_t used, struct arena *arena,
                          struct json_shape *ret_shape, int32_t *ret_bad_field)
{
    struct path_node *nodes =
        arena_new_raw(arena, JSON_SHAPE_NODES_MAX, (ptrdiff_t)sizeof(struct path_node));
    int32_t count = 1;
    nodes[0] = (struct path_node){.field = -1};
    for (int32_t f = 0; f < plan->field_count; f++) {
        if ((used >> f & 1) != 0 && add_path(nodes, &count, &plan->fields[f], f) != ERR_OK) {
            *ret_bad_field = f;
            return ERR_INVALID;
        }
    }
    /* Breadth first, so that children come to stand together; `from` maps shape nodes to tree nodes. */
    int32_t from[JSON_SHAPE_NODES_MAX] ATTR_UNINITIALIZED;
    from[0] = 0;
    ret_shape->count = 1;
    for (int32_t i = 0; i < ret_shape->count; i++) {
        const struct path_node *node = &nodes[from[i]];
        const struct parse_field *field = node->field >= 0 ? &plan->fields[node->field] : NULL;
        ret_shape->nodes[i] = (struct json_shape_node){
            .key = node->key,
            .child_first = ret_shape->count,
            .column = node->field,
            .type = field != NULL ? field->type : VALUE_STR,
            .raw_json = field != NULL && field->raw_json,
            .wrong_type = field != NULL ? field->reason
                                        : arena_printf(arena, "field '%.*s' is no object",
                                                       STR_ARG(node->key)),
        };
        for (int32_t child = node->child; child != 0; child = nodes[child].sibling) {
            from[ret_shape->count++] = child;
            ret_shape->nodes[i].child_count++;
        }
    }
    return ERR_OK;
}

/* --- running --- */

static enum err parse_open(const struct operator_plan *plan, struct operator_env *env,
                           struct operator_instance **ret_op, struct err_info *info)
{
    IGNORE_RESULT(info); /* cannot fail */
    struct operator_instance *op = MEM_NEW(struct operator_instance);
    op->env = env;
    op->plan = plan->compiled;
    op->used = plan->columns_used >> op->plan->column_first;
    if (op->plan->strict) {
        op->used = UINT64_MAX;
    }
    if (op->plan->field_count < 64) {
        op->used &= (1ULL << op->plan->field_count) - 1;
    }
    op->reads = op->used != 0 || !op->plan->trusted;
    if (op->plan->format == PARSE_JSON && op->reads) {
        arena_init(&op->arena, 1 << 20);
        /* Most of its nodes are not used: clearing them was a third of an opening partition's time. */
        op->shape = arena_new_raw(&op->arena, 1, (ptrdiff_t)sizeof(struct json_shape));
        int32_t bad = 0;
        enum err err = parse_json_shape(op->plan, op->used, &op->arena, op->shape, &bad);
        CHECK(err == ERR_OK); /* compile() built a larger one */
        op->reader = json_reader_new();
    }
    *ret_op = op;
    return ERR_OK;
}

static void parse_close(struct operator_instance *op)
{
    json_reader_free(op->reader);
    if (op->shape != NULL) {
        arena_release(&op->arena);
    }
    mem_free(op);
}

/* Columns for all fields; those that nobody needs share one piece of memory and are null. */
static struct column *add_columns(const struct operator_instance *op, struct batch *batch)
{
    int32_t first = batch->column_count;
    CHECK(first == op->plan->column_first);
    void *unused_data = NULL;
    uint8_t *unused_null = NULL;
    for (int32_t f = 0; f < op->plan->field_count; f++) {
        if ((op->used >> f & 1) != 0) {
            bool nulls = op->plan->format != PARSE_RAW; // a raw record holds every field
            int32_t c = batch_add_column(batch, op->plan->fields[f].type, nulls);
            if (nulls) {
                memset(batch->columns[c].null, 1, (size_t)batch->count);
            }
            continue;
        }
        if (unused_null == NULL) {
            unused_null = arena_new_raw(batch->arena, batch->count, 1);
            memset(unused_null, 1, (size_t)batch->count);
            unused_data = arena_new_raw(batch->arena, batch->count, sizeof(struct str));
        }
        batch->columns[batch->column_count++] = (struct column){
            .type = op->plan->fields[f].type, .data = unused_data, .null = unused_null};
    }
    return &batch->columns[first];
}

static int32_t read_rows(const struct operator_instance *op, const struct batch *batch,
                         struct column *columns, const char **reasons)
{
    const struct parse_plan *plan = op->plan;
    if (plan->format == PARSE_JSON) {
        return json_read_rows(op->reader, op->shape, plan->strict, batch->value, batch->sel,
                              batch->sel_count, columns, batch->arena, reasons);
    }
    if (plan->format == PARSE_RAW) {
        return parse_raw_rows(plan, op->used, batch, columns, reasons);
    }
    int32_t bad = 0;
    for (int32_t k = 0; k < batch->sel_count; k++) {
        int32_t row = batch->sel[k];
        reasons[row] = parse_csv_row(plan, op->used, batch->value[row], columns, row, batch->arena);
        bad += reasons[row] != NULL ? 1 : 0;
    }
    return bad;
}

static enum err parse_process(struct operator_instance *op, int input, struct batch *batch,
                              struct batch_list *next, struct err_info *info)
{
    IGNORE_RESULT(input); /* all rows are alike */
    IGNORE_RESULT(info);  /* cannot fail: bad records are rejected */
    struct column *columns = add_columns(op, batch);
    if (op->reads) {
        const char **reasons = arena_new_raw(batch->arena, batch->count, sizeof(char *));
        if (read_rows(op, batch, columns, reasons) > 0) {
            operator_reject_reasons(op->env, batch, reasons);
        }
    }
    if (batch->sel_count > 0) {
        batch_list_add(next, batch);
    }
    return ERR_OK;
}

const struct operator_type operator_parse = {
    .name = "parse",
    .compile = parse_compile,
    .open = parse_open,
    .close = parse_close,
    .process = parse_process,
};
