// SPDX-License-Identifier: Apache-2.0
/* encode: writes fields at fixed offsets of a binary value, which the record has from then on: what parse reads with the
 * format raw, a field at a time. Between two stages it takes the place of JSON. */
#include <math.h>

#include "base/check.h"
#include "base/mem.h"
#include "pipeline/hint.h"
#include "pipeline/op_parse.h"
#include "pipeline/operators.h"

struct encode_plan {
    struct parse_plan *raw; /* places and types; also how the next stage reads the value */
    int32_t columns[BATCH_COLUMNS_MAX]; /* of its fields */
    int32_t bytes;                      /* of a value */
    const struct contest
        *contest; /* of the key_by behind it, or NULL; and of what that makes keys */
    int32_t key_column;
};

struct operator_instance {
    struct operator_env *env;
    const struct encode_plan *plan;
};

const struct parse_plan *encode_plan_of(const struct operator_plan *plan)
{
    return plan->type == &operator_encode ? ((const struct encode_plan *)plan->compiled)->raw
                                          : NULL;
}

static enum err check_format(struct compile_context *ctx)
{
    static const char *const known[] = {"name", "input", "format", "fields", NULL};
    enum err err = yaml_only_keys(ctx->node, known, ctx->info);
    const struct yaml_node *format = yaml_get(ctx->node, "format");
    if (err == ERR_OK && (format == NULL || !str_is(format->text, "raw"))) {
        return yaml_fail(ctx->info, format != NULL ? format : ctx->node,
                         "encode wants 'format: raw'; without an encode rows are written as JSON");
    }
    return err;
}

/* Finds the column of each field and sees that it has the field's type. */
static enum err match_columns(struct compile_context *ctx, const struct yaml_node *fields,
                              struct encode_plan *encode, uint64_t *ret_read)
{
    const struct schema *in = ctx->in[0];
    for (int32_t f = 0; f < encode->raw->field_count; f++) {
        struct parse_field *field = &encode->raw->fields[f];
        int32_t column = schema_find(in, field->name);
        if (column < 0) {
            struct hint hint;
            hint_of_names(&hint, field->name, in->names, in->count);
            return yaml_fail(ctx->info, fields->keys[f], "there is no field '%.*s' here%s",
                             STR_ARG(field->name), hint.text);
        }
        if (in->types[column] != field->type) {
            return yaml_fail(ctx->info, fields->items[f], "field '%.*s' is %s here",
                             STR_ARG(field->name), value_type_name(in->types[column]));
        }
        field->reason =
            arena_printf(ctx->arena, "encode: field '%.*s' is null or does not fit its place",
                         STR_ARG(field->name));
        encode->columns[f] = column;
        *ret_read |= UINT64_C(1) << column;
        int32_t end = field->raw_offset + field->raw_bytes;
        encode->bytes = end > encode->bytes ? end : encode->bytes;
    }
    return ERR_OK;
}

static enum err check_places(struct compile_context *ctx, const struct yaml_node *fields,
                             const struct parse_plan *raw)
{
    for (int32_t f = 0; f < raw->field_count; f++) {
        for (int32_t other = 0; other < f; other++) {
            const struct parse_field *a = &raw->fields[other];
            const struct parse_field *b = &raw->fields[f];
            if (a->raw_offset < b->raw_offset + b->raw_bytes &&
                b->raw_offset < a->raw_offset + a->raw_bytes) {
                return yaml_fail(ctx->info, fields->items[f],
                                 "the places of '%.*s' and '%.*s' overlap", STR_ARG(a->name),
                                 STR_ARG(b->name));
            }
        }
    }
    return ERR_OK;
}

static enum err encode_compile(struct compile_context *ctx, struct operator_plan *plan)
{
    struct encode_plan *encode = ARENA_NEW(ctx->arena, struct encode_plan);
    const struct yaml_node *fields = yaml_get(ctx->node, "fields");
    encode->raw = ARENA_NEW(ctx->arena, struct parse_plan);
    encode->raw->format = PARSE_RAW;
    encode->raw->trusted = true;
    uint64_t read = 0;
    enum err err = check_format(ctx);
    err = err == ERR_OK ? parse_read_fields(ctx, fields, encode->raw) : err;
    err = err == ERR_OK ? check_places(ctx, fields, encode->raw) : err;
    err = err == ERR_OK ? match_columns(ctx, fields, encode, &read) : err;
    if (err != ERR_OK) {
        return err;
    }
    plan->schema = *ctx->in[0];
    plan->value_intact = true; // what it wrote is the record's value now
    plan->columns_read = read;
    plan->column_from = operator_columns_kept(ctx->arena, ctx->in[0]);
    plan->compiled = encode;
    return ERR_OK;
}

static enum err encode_open(const struct operator_plan *plan, struct operator_env *env,
                            struct operator_instance **ret_op, struct err_info *info)
{
    IGNORE_RESULT(info); /* cannot fail */
    struct operator_instance *op = MEM_NEW(struct operator_instance);
    op->env = env;
    op->plan = plan->compiled;
    *ret_op = op;
    return ERR_OK;
}

static void encode_close(struct operator_instance *op)
{
    mem_free(op);
}

/* Where the values of a batch's selected rows are being written, one behind the other. */
struct raw_out {
    char *at;
    ptrdiff_t stride_bytes;
    const int32_t *rows;
    int32_t count;
    const char **reasons; /* by row */
    int32_t bad;
};

static void mark_bad(struct raw_out *out, int32_t row, const char *reason)
{
    out->bad += out->reasons[row] == NULL;
    out->reasons[row] = out->reasons[row] == NULL ? reason : out->reasons[row];
}

/* The range of a type of integers. */
static void range_of(enum raw_type type, int64_t *ret_least, int64_t *ret_most)
{
    static const struct {
        int64_t least, most;
    } ranges[RAW_TYPE_COUNT] = {
        [RAW_I8] = {INT8_MIN, INT8_MAX},    [RAW_U8] = {0, UINT8_MAX},
        [RAW_I16] = {INT16_MIN, INT16_MAX}, [RAW_U16] = {0, UINT16_MAX},
        [RAW_I32] = {INT32_MIN, INT32_MAX}, [RAW_U32] = {0, UINT32_MAX},
        [RAW_U64] = {0, INT64_MAX},
    };
    bool any = ranges[type].most == 0; // eight bytes, or the bits of a float
    *ret_least = any ? INT64_MIN : ranges[type].least;
    *ret_most = any ? INT64_MAX : ranges[type].most;
}

/* A loop for each width, so that the bytes are stored at once. Returns whether a number was out of range. */
static ATTR_ALWAYS_INLINE bool put_width(const struct parse_field *field, const int64_t *from,
                                         const struct raw_out *out, int bytes)
{
    int64_t least;
    int64_t most;
    range_of(field->raw_type, &least, &most);
    bool big_endian = field->raw_big_endian;
    char *at = out->at + field->raw_offset;
    bool odd = false;
    for (int32_t k = 0; k < out->count; k++, at += out->stride_bytes) {
        int64_t n = from[out->rows[k]];
        odd |= n < least || n > most;
        uint64_t word =
            big_endian ? __builtin_bswap64((uint64_t)n) >> (64 - 8 * bytes) : (uint64_t)n;
        memcpy(at, &word, (size_t)bytes);
    }
    return odd;
}

static void put_ints(const struct parse_field *field, const int64_t *from, struct raw_out *out)
{
    bool odd = field->raw_bytes == 1   ? put_width(field, from, out, 1)
               : field->raw_bytes == 2 ? put_width(field, from, out, 2)
               : field->raw_bytes == 4 ? put_width(field, from, out, 4)
                                       : put_width(field, from, out, 8);
    int64_t least;
    int64_t most;
    range_of(field->raw_type, &least, &most);
    for (int32_t k = 0; odd && k < out->count; k++) {
        int64_t n = from[out->rows[k]];
        if (n < least || n > most) {
            mark_bad(out, out->rows[k], field->reason);
        }
    }
}

static void put_bools(const struct parse_field *field, const struct column *column,
                      struct raw_out *out)
{
    char *at = out->at + field->raw_offset;
    for (int32_t k = 0; k < out->count; k++, at += out->stride_bytes) {
        *at = (char)COLUMN_BOOL(column)[out->rows[k]];
    }
}

/* A float as the bits of its narrower self, in the numbers' column. */
static void put_halves(const struct parse_field *field, const struct column *column,
                       struct raw_out *out, struct batch *batch)
{
    int64_t *bits = arena_new_raw(batch->arena, batch->count, (ptrdiff_t)sizeof *bits);
    for (int32_t k = 0; k < out->count; k++) {
        int32_t row = out->rows[k];
        float half = (float)COLUMN_F64(column)[row];
        uint32_t word;
        memcpy(&word, &half, sizeof word);
        bits[row] = (int64_t)word;
        if (!isfinite(half) && !column_is_null(column, row)) {
            mark_bad(out, row, field->reason);
        }
    }
    put_ints(field, bits, out);
}

static void put_texts(const struct parse_field *field, const struct column *column,
                      struct raw_out *out)
{
    char *at = out->at + field->raw_offset;
    for (int32_t k = 0; k < out->count; k++, at += out->stride_bytes) {
        int32_t row = out->rows[k];
        if (column_is_null(column, row)) {
            continue;
        }
        struct str text = COLUMN_STR(column)[row];
        // A byte that is 0 would end it for who reads it back.
        if (text.len > field->raw_bytes ||
            (text.len > 0 && memchr(text.ptr, 0, (size_t)text.len) != NULL)) {
            mark_bad(out, row, field->reason);
        } else if (text.len > 0) {
            memcpy(at, text.ptr, (size_t)text.len);
        }
    }
}

static void put_field(const struct parse_field *field, const struct column *column,
                      struct raw_out *out, struct batch *batch)
{
    for (int32_t k = 0; column->null != NULL && k < out->count; k++) {
        if (column->null[out->rows[k]] != 0) {
            mark_bad(out, out->rows[k], field->reason);
        }
    }
    if (field->raw_type == RAW_STR) {
        put_texts(field, column, out);
    } else if (field->raw_type == RAW_BOOL) {
        put_bools(field, column, out);
    } else if (field->raw_type == RAW_F32) {
        put_halves(field, column, out, batch);
    } else {
        put_ints(field, COLUMN_I64(column), out);
    }
}

/* --- rows that need not be made --- */

/* Whether all that its column can hold, but nulls, can be written. */
static bool takes_all(const struct parse_field *field)
{
    return field->raw_type == RAW_I64 || field->raw_type == RAW_F64 || field->raw_type == RAW_TIME;
}

void encode_set_contest(struct operator_plan *plan, const struct contest *contest,
                        int32_t key_column)
{
    if (plan->type != &operator_encode) {
        return;
    }
    struct encode_plan *encode = plan->compiled;
    bool all = true;
    for (int32_t f = 0; f < encode->raw->field_count; f++) {
        all = all && takes_all(&encode->raw->fields[f]);
    }
    if (all) {
        encode->contest = contest;
        encode->key_column = key_column;
        plan->columns_read |= UINT64_C(1) << contest->column | UINT64_C(1) << key_column;
    }
}

static bool any_null(const struct column *column, const struct batch *batch)
{
    uint8_t null = 0;
    for (int32_t k = 0; column->null != NULL && k < batch->sel_count; k++) {
        null |= column->null[batch->sel[k]];
    }
    return null != 0;
}

/* A row that would be rejected surpasses nobody: the contest is held here only if none is. */
static void decide(const struct encode_plan *plan, struct batch *batch)
{
    bool null = false;
    for (int32_t f = 0; f < plan->raw->field_count; f++) {
        null = null || any_null(&batch->columns[plan->columns[f]], batch);
    }
    if (!null) {
        contest_decide_one(plan->contest, &batch->columns[plan->key_column], batch);
    }
}

static enum err encode_process(struct operator_instance *op, int input, struct batch *batch,
                               struct batch_list *next, struct err_info *info)
{
    IGNORE_RESULT(input); /* all rows are alike */
    IGNORE_RESULT(info);  /* cannot fail: what does not fit is rejected */
    const struct encode_plan *plan = op->plan;
    if (plan->contest != NULL) {
        decide(plan, batch);
    }
    ptrdiff_t bytes = (ptrdiff_t)plan->bytes * batch->sel_count + JSON_PADDING;
    struct raw_out out = {
        .at = arena_new(batch->arena, bytes, 1), // zeros: what stands between fields
        .stride_bytes = plan->bytes,
        .rows = batch->sel,
        .count = batch->sel_count,
        .reasons = (const char **)arena_new(batch->arena, batch->count, sizeof(char *)),
    };
    for (int32_t f = 0; f < plan->raw->field_count; f++) {
        put_field(&plan->raw->fields[f], &batch->columns[plan->columns[f]], &out, batch);
    }
    struct str *value = arena_new_raw(batch->arena, batch->count, sizeof *value);
    for (int32_t k = 0; k < out.count; k++) {
        value[out.rows[k]] = (struct str){out.at + k * out.stride_bytes, out.stride_bytes};
    }
    if (out.bad > 0) {
        operator_reject_reasons(op->env, batch, out.reasons); // with the values that they came with
    }
    batch->value = value;
    if (batch->sel_count > 0) {
        batch_list_add(next, batch);
    }
    return ERR_OK;
}

const struct operator_type operator_encode = {
    .name = "encode",
    .compile = encode_compile,
    .open = encode_open,
    .close = encode_close,
    .process = encode_process,
};
