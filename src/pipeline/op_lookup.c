// SPDX-License-Identifier: Apache-2.0
/* lookup: adds fields of a table's row, found by the record key or by an expression. The table is a snapshot that the
 * node replaces between batches; rows are read as JSON, the fields that are asked for only, and held in a bounded cache.
 * What it does depends on the table alone, so it has no effects and keeps no state. */
#include "base/check.h"
#include "base/fs.h"
#include "base/mem.h"
#include "pipeline/config.h"
#include "pipeline/expr.h"
#include "pipeline/json.h"
#include "pipeline/lookup_cache.h"
#include "pipeline/lookup_table.h"
#include "pipeline/operators.h"

enum { CACHE_BYTES = 1 << 20, KNOB_CACHE = 0 };

enum lookup_missing { LOOKUP_NULL, LOOKUP_DROP, LOOKUP_REJECT };

struct lookup_plan {
    int32_t table;         /* index among the stage's */
    const struct expr *on; /* NULL: the record key */
    enum lookup_missing missing;
    bool text; /* csv: all fields are strings in the table */
    int32_t field_count;
    enum value_type types[BATCH_COLUMNS_MAX];
    struct json_shape shape;
};

struct operator_instance {
    const struct lookup_plan *plan;
    struct operator_env *env;
    struct json_reader *reader;
    struct lookup_cache *cache; /* NULL: none */
};

/* Files are opened below the configuration's folder, and nowhere else (base/fs.h). */
static enum err read_file_name(struct compile_context *ctx, const struct yaml_node *node,
                               struct str *ret_file)
{
    enum err err = yaml_text(node, ret_file, ctx->info);
    if (err == ERR_OK && !fs_path_valid(arena_dup(ctx->arena, ret_file->ptr, ret_file->len))) {
        return yaml_fail(ctx->info, node,
                         "'%.*s' is not below the configuration's folder: a table's file is named "
                         "from there, without '..', such as tables/ads.json",
                         STR_ARG(*ret_file));
    }
    return err;
}

static enum err read_table(struct compile_context *ctx, const struct yaml_node *table,
                           struct lookup_plan *lookup)
{
    static const char *const known[] = {"stream", "file", "format", "key", NULL};
    if (table == NULL) {
        return yaml_fail(
            ctx->info, ctx->node,
            "lookup has no 'table': {stream: name} or {file: path, format: csv, key: id}");
    }
    struct lookup_spec spec = {.name = ctx->name, .format = STR("json")};
    enum err err = yaml_only_keys(table, known, ctx->info);
    if (err != ERR_OK) {
        return err;
    }
    const struct yaml_node *stream = yaml_get(table, "stream");
    const struct yaml_node *file = yaml_get(table, "file");
    const struct yaml_node *key = yaml_get(table, "key");
    if ((stream == NULL) == (file == NULL) || (file != NULL) != (key != NULL)) {
        return yaml_fail(ctx->info, table,
                         "a table is {stream: name} or {file: path, format: csv, key: id}");
    }
    if (stream != NULL) {
        err = stage_resources_stream(ctx->resources, stream, &spec.stream, ctx->info);
    } else {
        err = read_file_name(ctx, file, &spec.file);
        err = err != ERR_OK ? err : yaml_text(key, &spec.key_field, ctx->info);
    }
    const struct yaml_node *format = yaml_get(table, "format");
    if (err == ERR_OK && format != NULL) {
        err = yaml_text(format, &spec.format, ctx->info);
    }
    lookup->text = str_is(spec.format, "csv");
    if (err == ERR_OK && !str_is(spec.format, "json") && (!lookup->text || stream != NULL)) {
        return yaml_fail(ctx->info, format, "the format is json%s",
                         stream != NULL ? "" : " or csv");
    }
    return err != ERR_OK ? err
                         : stage_resources_add_lookup(ctx->resources, table, &spec, &lookup->table,
                                                      ctx->info);
}

static enum err read_missing(struct compile_context *ctx, struct lookup_plan *lookup)
{
    const struct yaml_node *node = yaml_get(ctx->node, "missing");
    struct str text = STR("null");
    enum err err = node != NULL && node->text.len != 0 ? yaml_text(node, &text, ctx->info) : ERR_OK;
    if (err != ERR_OK) {
        return err;
    }
    if (!str_is(text, "null") && !str_is(text, "drop") && !str_is(text, "reject")) {
        return yaml_fail(ctx->info, node, "'missing' is null, drop or reject");
    }
    lookup->missing = str_is(text, "drop")     ? LOOKUP_DROP
                      : str_is(text, "reject") ? LOOKUP_REJECT
                                               : LOOKUP_NULL;
    return ERR_OK;
}

static enum err read_fields(struct compile_context *ctx, const struct yaml_node *fields,
                            struct lookup_plan *lookup, struct schema *schema)
{
    if (fields == NULL || fields->kind != YAML_MAP || fields->count == 0) {
        return yaml_fail(ctx->info, fields != NULL ? fields : ctx->node,
                         "lookup has no 'fields': {name: string, rate: float}");
    }
    lookup->shape.nodes[0] = (struct json_shape_node){.child_first = 1};
    for (int32_t i = 0; i < fields->count; i++) {
        enum value_type type = VALUE_BOOL;
        while (type < VALUE_TYPE_COUNT && !str_is(fields->items[i]->text, value_type_name(type))) {
            type++;
        }
        if (type == VALUE_TYPE_COUNT) {
            return yaml_fail(ctx->info, fields->items[i],
                             "a field's type is bool, int, float, string or time");
        }
        struct str name = fields->keys[i]->text;
        enum err err = operator_schema_add(schema, fields->keys[i], name, type, ctx->info);
        if (err != ERR_OK) {
            return err;
        }
        lookup->types[i] = type;
        lookup->shape.nodes[1 + i] = (struct json_shape_node){
            .key = name,
            .column = i,
            .type = lookup->text ? VALUE_STR : type,
            .wrong_type = arena_printf(ctx->arena, "lookup: field '%.*s' of the table is no %s",
                                       STR_ARG(name), value_type_name(type))};
        lookup->field_count++;
    }
    lookup->shape.nodes[0].child_count = lookup->field_count;
    lookup->shape.count = 1 + lookup->field_count;
    return ERR_OK;
}

static enum err read_cache(struct compile_context *ctx, struct operator_plan *plan)
{
    const struct yaml_node *node = yaml_get(ctx->node, "cache");
    int64_t bytes = CACHE_BYTES;
    enum err err =
        node != NULL ? yaml_size_bytes(node, 0, LOOKUP_CACHE_BYTES_MAX, &bytes, ctx->info) : ERR_OK;
    plan->knobs[KNOB_CACHE] = (struct knob){
        .name = STR("cache"), .max = LOOKUP_CACHE_BYTES_MAX, .value = bytes, .usual = CACHE_BYTES};
    plan->knob_count = 1;
    return err;
}

static enum err lookup_compile(struct compile_context *ctx, struct operator_plan *plan)
{
    static const char *const known[] = {"name",   "input",   "table", "on",
                                        "fields", "missing", "cache", NULL};
    struct lookup_plan *lookup = ARENA_NEW(ctx->arena, struct lookup_plan);
    enum err err = yaml_only_keys(ctx->node, known, ctx->info);
    if (err == ERR_OK) {
        err = read_table(ctx, yaml_get(ctx->node, "table"), lookup);
    }
    if (err == ERR_OK) {
        err = read_missing(ctx, lookup);
    }
    if (err == ERR_OK) {
        err = read_cache(ctx, plan);
    }
    const struct yaml_node *on = yaml_get(ctx->node, "on");
    plan->columns_read = 0;
    if (err == ERR_OK && on != NULL) {
        err = expr_compile(ctx->arena, on, ctx->in[0], &lookup->on, ctx->info);
        plan->columns_read = err == ERR_OK ? expr_columns(lookup->on) : 0;
    }
    if (err != ERR_OK) {
        return err;
    }
    if (lookup->on != NULL && expr_type(lookup->on) != VALUE_STR &&
        expr_type(lookup->on) != VALUE_I64) {
        return yaml_fail(ctx->info, on, "'on' is %s, a table's keys are strings or integers",
                         value_type_name(expr_type(lookup->on)));
    }
    plan->schema = *ctx->in[0];
    plan->column_from = operator_columns_kept(ctx->arena, ctx->in[0]);
    plan->compiled = lookup;
    return read_fields(ctx, yaml_get(ctx->node, "fields"), lookup, &plan->schema);
}

static enum err lookup_open(const struct operator_plan *plan, struct operator_env *env,
                            struct operator_instance **ret_op, struct err_info *info)
{
    IGNORE_RESULT(info); /* cannot fail */
    struct operator_instance *op = MEM_NEW(struct operator_instance);
    op->plan = plan->compiled;
    op->env = env;
    op->reader = json_reader_new();
    op->cache =
        lookup_cache_new(plan->knobs[KNOB_CACHE].value, op->plan->types, op->plan->field_count);
    *ret_op = op;
    return ERR_OK;
}

static void lookup_close(struct operator_instance *op)
{
    if (op != NULL) {
        json_reader_free(op->reader);
        lookup_cache_free(op->cache);
        mem_free(op);
    }
}

/* The table key of a row: ptr NULL if the expression is null. */
static struct str row_key(const struct operator_instance *op, const struct batch *batch,
                          const struct column *on, int32_t row)
{
    if (op->plan->on == NULL) {
        struct str key = batch->key[row];
        return key.ptr != NULL ? key : STR("");
    }
    if (column_is_null(on, row)) {
        return (struct str){0};
    }
    if (on->type == VALUE_STR) {
        struct str key = COLUMN_STR(on)[row];
        return key.ptr != NULL ? key : STR("");
    }
    return str_of(arena_printf(batch->arena, "%lld", (long long)COLUMN_I64(on)[row]));
}

/* Reads a text field as `type` into column `to`; false if it is none. An empty text is null. */
static bool convert(struct json_reader *reader, struct str text, struct column *to, int32_t row,
                    struct arena *arena)
{
    if (to->type == VALUE_STR) {
        COLUMN_STR(to)[row] = text;
        to->null[row] = 0;
        return true;
    }
    if (text.len == 0) {
        to->null[row] = 1;
        return true;
    }
    bool quote = to->type == VALUE_TIME &&
                 (text.ptr[text.len - 1] < '0' || text.len > 19 || str_find(text, STR(":")) >= 0);
    char *copy = arena_new(arena, text.len + 2 + JSON_PADDING, 1);
    copy[0] = '"';
    memcpy(copy + 1, text.ptr, (size_t)text.len);
    copy[1 + text.len] = '"';
    struct str json = quote ? (struct str){.ptr = copy, .len = text.len + 2}
                            : (struct str){.ptr = copy + 1, .len = text.len};
    copy[1 + text.len] = quote ? '"' : 0;
    return json_read_scalar(reader, json, to, row, arena) && to->null[row] == 0;
}

/* Columns of the table's rows in `value`, for the rows in `sel`; bad ones are rejected and left out of `sel`. */
static void read_rows(struct operator_instance *op, struct batch *batch, const struct str *value,
                      int32_t *sel, int32_t *count, struct column *to)
{
    const struct lookup_plan *plan = op->plan;
    const char **reasons = (const char **)arena_new(batch->arena, batch->count, sizeof(char *));
    struct column raw[BATCH_COLUMNS_MAX];
    for (int32_t c = 0; c < plan->field_count; c++) {
        raw[c] = to[c];
        if (plan->text && to[c].type != VALUE_STR) {
            raw[c].type = VALUE_STR;
            raw[c].data = arena_new(batch->arena, batch->count, sizeof(struct str));
            raw[c].null = arena_new_raw(batch->arena, batch->count, 1);
            memset(raw[c].null, 1, (size_t)batch->count);
        }
    }
    IGNORE_RESULT(json_read_rows(op->reader, &plan->shape, false, value, sel, *count, raw,
                                 batch->arena, reasons)); // told by the reasons
    int32_t kept = 0;
    for (int32_t i = 0; i < *count; i++) {
        int32_t row = sel[i];
        for (int32_t c = 0; plan->text && reasons[row] == NULL && c < plan->field_count; c++) {
            if (raw[c].null[row] != 0) {
                to[c].null[row] = 1;
            } else if (!convert(op->reader, COLUMN_STR(&raw[c])[row], &to[c], row, batch->arena)) {
                reasons[row] = plan->shape.nodes[1 + c].wrong_type;
            }
        }
        if (reasons[row] != NULL) {
            operator_reject(op->env, batch, row, reasons[row]);
            sel[i] = -1 - row;
        } else {
            lookup_cache_put(op->cache, value[row], to, row);
            kept++;
        }
    }
    *count = kept;
}

static enum err lookup_process(struct operator_instance *op, int input, struct batch *batch,
                               struct batch_list *next, struct err_info *info)
{
    IGNORE_RESULT(input); /* all rows are alike */
    const struct lookup_plan *plan = op->plan;
    struct lookup_table *table =
        op->env->lookup_tables != NULL ? op->env->lookup_tables[plan->table] : NULL;
    if (table == NULL) {
        return err_set(info, ERR_AGAIN, "the lookup table is not there yet");
    }
    lookup_cache_of(op->cache, table);
    struct column on = {0};
    if (plan->on != NULL) {
        uint8_t *rejects = arena_new(batch->arena, batch->count, 1);
        if (expr_eval(plan->on, batch, &on, rejects) > 0) {
            operator_reject_rows(op->env, batch, rejects);
        }
    }
    int32_t first = batch->column_count;
    for (int32_t c = 0; c < plan->field_count; c++) {
        int32_t index = batch_add_column(batch, plan->types[c], true);
        memset(batch->columns[index].null, 1, (size_t)batch->count); // until something is read
    }
    struct column *to = &batch->columns[first];
    struct str *value = arena_new(batch->arena, batch->count, sizeof *value);
    int32_t *hits = arena_new(batch->arena, batch->sel_count, sizeof *hits);
    uint8_t *drop = arena_new(batch->arena, batch->count, 1);
    int32_t hit_count = 0;
    for (int32_t k = 0; k < batch->sel_count; k++) {
        int32_t row = batch->sel[k];
        struct str key = row_key(op, batch, &on, row);
        uint64_t hash = plan->on == NULL ? batch->hash[row] : hash64(key.ptr, key.len);
        if (key.ptr != NULL) {
            value[row] = lookup_table_find(table, hash, key);
        }
        if (value[row].ptr != NULL) {
            if (!lookup_cache_get(op->cache, value[row], to, row, batch->arena)) {
                hits[hit_count++] = row;
            }
            continue;
        }
        drop[row] = plan->missing != LOOKUP_NULL;
        if (plan->missing == LOOKUP_REJECT) {
            operator_reject(op->env, batch, row, "lookup: no such key in the table");
        }
    }
    int32_t good = hit_count;
    read_rows(op, batch, value, hits, &good, to);
    for (int32_t i = 0; i < hit_count; i++) {
        if (hits[i] < 0) {
            drop[-1 - hits[i]] = 1;
        }
    }
    int32_t kept = 0;
    for (int32_t k = 0; k < batch->sel_count; k++) {
        batch->sel[kept] = batch->sel[k];
        kept += drop[batch->sel[k]] == 0;
    }
    batch->sel_count = kept;
    if (kept > 0) {
        batch_list_add(next, batch);
    }
    return ERR_OK;
}

const struct operator_type operator_lookup = {
    .name = "lookup",
    .reads_hash = true,
    .compile = lookup_compile,
    .open = lookup_open,
    .close = lookup_close,
    .process = lookup_process,
};
