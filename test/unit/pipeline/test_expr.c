// SPDX-License-Identifier: Apache-2.0
/* Expressions against a naive twin: random trees are printed as text for the compiler and walked row by row here. */
#include <math.h>

#include "base/rng.h"
#include "pipeline/expr.h"
#include "pipeline/json.h"
#include "pipeline/number.h"
#include "test.h"

__extension__ typedef __int128 wide_int; /* wide enough for any result of two ints */

enum { ROWS = 40, DEPTH_MAX = 5 };

/* --- values, as one row sees them --- */

struct value {
    enum value_type type;
    bool null;
    enum expr_reject reject;
    int64_t i; /* also bool and time */
    double f;
    struct str s;
};

/* Columns of the test: a b (int), x y (float), s t (string), p q (bool), u (time). */
static const struct {
    const char *name;
    enum value_type type;
} columns[] = {{"a", VALUE_I64},  {"b", VALUE_I64},  {"x", VALUE_F64},
               {"y", VALUE_F64},  {"s", VALUE_STR},  {"t", VALUE_STR},
               {"p", VALUE_BOOL}, {"q", VALUE_BOOL}, {"u", VALUE_TIME}};

enum kind {
    K_COLUMN,
    K_CONST,
    K_BINARY, /* text stands between */
    K_NOT,
    K_NEG,
    K_AND,
    K_OR,
    K_IS_NULL,
    K_IF,
    K_COALESCE,
    K_CAST,
    K_CALL
};

struct tree {
    enum kind kind;
    enum value_type type;
    const char *word; /* sign or function */
    int column;
    struct value value;
    int arg_count;
    struct tree *args[3];
};

struct maker {
    struct arena *arena;
    struct rng rng;
};

static struct tree *make(struct maker *m, enum value_type type, int depth);

static struct tree *tree_new(struct maker *m, enum kind kind, enum value_type type,
                             const char *word)
{
    struct tree *tree = ARENA_NEW(m->arena, struct tree);
    tree->kind = kind;
    tree->type = type;
    tree->word = word;
    return tree;
}

static struct tree *with(struct tree *tree, struct tree *arg)
{
    tree->args[tree->arg_count++] = arg;
    return tree;
}

static int64_t edge_integer(struct rng *rng)
{
    static const int64_t edges[] = {
        0, 1, -1, 2, 7, 10, -10, 1000, INT64_MAX, INT64_MIN, INT64_MAX / 2, 3037000500LL};
    return edges[rng_below(rng, COUNT_OF(edges))];
}

static double edge_float(struct rng *rng)
{
    static const double edges[] = {0, 1, -1, 0.5, -2.25, 1e308, -1e308, 1e-300, 9.3e18, 3.999};
    return edges[rng_below(rng, COUNT_OF(edges))];
}

static struct str edge_text(struct rng *rng)
{
    static const char *const edges[] = {
        "", "a", "ab", "ABC", "12", "-7", "9223372036854775808", "\xC3\xA9t\xC3\xA9", "x'y", "1.5"};
    return str_of(edges[rng_below(rng, COUNT_OF(edges))]);
}

static struct value random_value(struct rng *rng, enum value_type type)
{
    struct value v = {.type = type};
    v.i = type == VALUE_BOOL   ? (int64_t)rng_below(rng, 2)
          : type == VALUE_TIME ? rng_range(rng, -100000, 100000)
                               : edge_integer(rng);
    v.f = edge_float(rng);
    v.s = edge_text(rng);
    return v;
}

static struct tree *make_leaf(struct maker *m, enum value_type type)
{
    if (type != VALUE_TIME && rng_below(&m->rng, 3) == 0) {
        struct tree *tree = tree_new(m, K_CONST, type, NULL);
        tree->value = random_value(&m->rng, type);
        return tree;
    }
    struct tree *tree = tree_new(m, K_COLUMN, type, NULL);
    do {
        tree->column = (int)rng_below(&m->rng, COUNT_OF(columns));
    } while (columns[tree->column].type != type);
    return tree;
}

static struct tree *make_binary(struct maker *m, enum value_type type, enum value_type of,
                                const char *sign, int depth)
{
    return with(with(tree_new(m, K_BINARY, type, sign), make(m, of, depth)), make(m, of, depth));
}

static struct tree *make_bool(struct maker *m, int depth)
{
    static const char *const signs[] = {"==", "!=", "<", "<=", ">", ">="};
    static const enum value_type kinds[] = {VALUE_I64, VALUE_F64, VALUE_STR, VALUE_TIME,
                                            VALUE_BOOL};
    switch (rng_below(&m->rng, 8)) {
    case 0:
        return with(tree_new(m, K_NOT, VALUE_BOOL, NULL), make(m, VALUE_BOOL, depth));
    case 1:
        return with(with(tree_new(m, K_AND, VALUE_BOOL, NULL), make(m, VALUE_BOOL, depth)),
                    make(m, VALUE_BOOL, depth));
    case 2:
        return with(with(tree_new(m, K_OR, VALUE_BOOL, NULL), make(m, VALUE_BOOL, depth)),
                    make(m, VALUE_BOOL, depth));
    case 3:
        return with(tree_new(m, K_IS_NULL, VALUE_BOOL, NULL),
                    make(m, kinds[rng_below(&m->rng, 5)], depth));
    case 4:
        return with(with(tree_new(m, K_CALL, VALUE_BOOL, "contains"), make(m, VALUE_STR, depth)),
                    make(m, VALUE_STR, depth));
    default: {
        enum value_type of = kinds[rng_below(&m->rng, 5)];
        return make_binary(m, VALUE_BOOL, of, signs[rng_below(&m->rng, of == VALUE_BOOL ? 2 : 6)],
                           depth);
    }
    }
}

static struct tree *make_number(struct maker *m, enum value_type type, int depth)
{
    static const char *const signs[] = {"+", "-", "*", "/", "%"};
    switch (rng_below(&m->rng, 6)) {
    case 0:
        return with(tree_new(m, K_NEG, type, NULL), make(m, type, depth));
    case 1:
        return with(tree_new(m, K_CALL, type, "abs"), make(m, type, depth));
    case 2:
        if (type == VALUE_F64) {
            return with(tree_new(m, K_CAST, type, NULL), make(m, VALUE_I64, depth));
        }
        return rng_below(&m->rng, 2) == 0
                   ? with(tree_new(m, K_CAST, type, NULL), make(m, VALUE_F64, depth))
                   : with(tree_new(m, K_CALL, type, "length"), make(m, VALUE_STR, depth));
    case 3:
        if (type == VALUE_I64) {
            return with(tree_new(m, K_CAST, type, NULL), make(m, VALUE_STR, depth));
        }
        return with(tree_new(m, K_CALL, type, "floor"), make(m, type, depth));
    default:
        return make_binary(m, type, type, signs[rng_below(&m->rng, 5)], depth);
    }
}

static struct tree *make_text(struct maker *m, int depth)
{
    switch (rng_below(&m->rng, 4)) {
    case 0:
        return with(with(tree_new(m, K_CALL, VALUE_STR, "concat"), make(m, VALUE_STR, depth)),
                    make(m, VALUE_STR, depth));
    case 1:
        return with(tree_new(m, K_CALL, VALUE_STR, "lower"), make(m, VALUE_STR, depth));
    case 2:
        return with(with(with(tree_new(m, K_CALL, VALUE_STR, "substr"), make(m, VALUE_STR, depth)),
                         make(m, VALUE_I64, depth)),
                    make(m, VALUE_I64, depth));
    default:
        return with(tree_new(m, K_CAST, VALUE_STR, NULL), make(m, VALUE_I64, depth));
    }
}

static struct tree *make(struct maker *m, enum value_type type, int depth)
{
    if (depth <= 0 || rng_below(&m->rng, 5) == 0) {
        return make_leaf(m, type);
    }
    depth--;
    switch (rng_below(&m->rng, 6)) {
    case 0:
        return with(with(with(tree_new(m, K_IF, type, NULL), make(m, VALUE_BOOL, depth)),
                         make(m, type, depth)),
                    make(m, type, depth));
    case 1:
        return with(with(tree_new(m, K_COALESCE, type, NULL), make(m, type, depth)),
                    make(m, type, depth));
    default:
        break;
    }
    switch (type) {
    case VALUE_BOOL:
        return make_bool(m, depth);
    case VALUE_I64:
    case VALUE_F64:
        return make_number(m, type, depth);
    case VALUE_STR:
        return make_text(m, depth);
    case VALUE_TIME:
    case VALUE_TYPE_COUNT:
        break;
    }
    if (rng_below(&m->rng, 2) == 0) {
        return with(with(tree_new(m, K_BINARY, VALUE_TIME, "+"), make(m, VALUE_TIME, depth)),
                    make(m, VALUE_I64, depth));
    }
    return with(with(tree_new(m, K_CALL, VALUE_TIME, "bucket"), make(m, VALUE_TIME, depth)),
                make(m, VALUE_I64, depth));
}

/* --- as text --- */

struct text {
    char bytes[EXPR_TEXT_MAX + 1];
    int32_t len;
    bool over;
};

static void put(struct text *out, const char *bytes, ptrdiff_t len)
{
    if (out->len + len > EXPR_TEXT_MAX) {
        out->over = true;
        return;
    }
    memcpy(out->bytes + out->len, bytes, (size_t)len);
    out->len += (int32_t)len;
}

static void put_word(struct text *out, const char *word)
{
    put(out, word, (ptrdiff_t)strlen(word));
}

static void print_const(struct text *out, const struct value *v)
{
    char number[40];
    switch (v->type) {
    case VALUE_BOOL:
        put_word(out, v->i != 0 ? "true" : "false");
        return;
    case VALUE_I64:
        put(out, number, i64_write(v->i, number));
        return;
    case VALUE_F64:
        IGNORE_RESULT(snprintf(number, sizeof(number), "%.17e", v->f));
        put_word(out, number);
        return;
    case VALUE_STR:
    case VALUE_TIME:
    case VALUE_TYPE_COUNT:
        break;
    }
    put_word(out, "'");
    for (ptrdiff_t i = 0; i < v->s.len; i++) {
        put(out, v->s.ptr + i, 1);
        if (v->s.ptr[i] == '\'') {
            put_word(out, "'");
        }
    }
    put_word(out, "'");
}

static void print(struct text *out, const struct tree *tree)
{
    static const char *const words[] = {
        [K_NOT] = "not ",          [K_NEG] = "- ",    [K_IF] = "if",
        [K_COALESCE] = "coalesce", [K_CAST] = "cast", [K_CALL] = ""};
    const char *between = tree->kind == K_AND      ? " and "
                          : tree->kind == K_OR     ? " or "
                          : tree->kind == K_BINARY ? tree->word
                                                   : ", ";
    if (tree->kind == K_COLUMN) {
        put_word(out, columns[tree->column].name);
        return;
    }
    if (tree->kind == K_CONST) {
        print_const(out, &tree->value);
        return;
    }
    bool prefix = tree->kind == K_NOT || tree->kind == K_NEG;
    put_word(out, prefix ? "(" : "");
    put_word(out, tree->kind == K_CALL        ? tree->word
                  : words[tree->kind] != NULL ? words[tree->kind]
                                              : "");
    put_word(out, "(");
    for (int i = 0; i < tree->arg_count; i++) {
        put_word(out, i > 0 ? between : "");
        print(out, tree->args[i]);
    }
    if (tree->kind == K_CAST) {
        put_word(out, " as ");
        put_word(out, value_type_name(tree->type));
    }
    put_word(out, tree->kind == K_IS_NULL ? " is null)" : ")");
    put_word(out, prefix ? ")" : "");
}

/* --- the twin: one row at a time --- */

struct twin {
    const struct batch *batch;
    struct arena *arena;
    int32_t row;
};

static struct value rejected(enum value_type type, enum expr_reject reject)
{
    return (struct value){.type = type, .reject = reject};
}

static struct value column_value(const struct twin *twin, int column)
{
    const struct column *c = &twin->batch->columns[column];
    struct value v = {.type = c->type, .null = column_is_null(c, twin->row)};
    if (v.null) {
        return v;
    }
    if (c->type == VALUE_F64) {
        v.f = COLUMN_F64(c)[twin->row];
    } else if (c->type == VALUE_STR) {
        v.s = COLUMN_STR(c)[twin->row];
    } else {
        v.i = c->type == VALUE_BOOL ? COLUMN_BOOL(c)[twin->row] : COLUMN_I64(c)[twin->row];
    }
    return v;
}

static int order(const struct value *a, const struct value *b)
{
    if (a->type == VALUE_F64) {
        return a->f < b->f ? -1 : a->f > b->f ? 1 : 0;
    }
    if (a->type == VALUE_STR) {
        return str_compare(a->s, b->s);
    }
    return a->i < b->i ? -1 : a->i > b->i ? 1 : 0;
}

static struct value compare(const char *sign, const struct value *a, const struct value *b)
{
    int o = order(a, b);
    struct value v = {.type = VALUE_BOOL};
    bool equal = strcmp(sign, "==") == 0;
    bool differ = strcmp(sign, "!=") == 0;
    v.i = equal            ? o == 0
          : differ         ? o != 0
          : sign[0] == '<' ? (sign[1] == '=' ? o <= 0 : o < 0)
                           : (sign[1] == '=' ? o >= 0 : o > 0);
    return v;
}

static struct value arithmetic_i64(char sign, enum value_type type, int64_t a, int64_t b)
{
    if ((sign == '/' || sign == '%') && b == 0) {
        return rejected(type, EXPR_REJECT_ZERO_DIVISION);
    }
    wide_int wide = sign == '+'   ? (wide_int)a + b
                    : sign == '-' ? (wide_int)a - b
                    : sign == '*' ? (wide_int)a * b
                    : sign == '/' ? (wide_int)a / b
                                  : (wide_int)a % b;
    if (wide > INT64_MAX || wide < INT64_MIN) {
        return rejected(type, EXPR_REJECT_OVERFLOW);
    }
    return (struct value){.type = type, .i = (int64_t)wide};
}

static struct value arithmetic_f64(char sign, double a, double b)
{
    bool zero = !(b < 0) && !(b > 0);
    if ((sign == '/' || sign == '%') && zero) {
        return rejected(VALUE_F64, EXPR_REJECT_ZERO_DIVISION);
    }
    double r = sign == '+'   ? a + b
               : sign == '-' ? a - b
               : sign == '*' ? a * b
               : sign == '/' ? a / b
                             : fmod(a, b);
    return isfinite(r) ? (struct value){.type = VALUE_F64, .f = r}
                       : rejected(VALUE_F64, EXPR_REJECT_OVERFLOW);
}

static struct value cast(struct twin *twin, enum value_type to, const struct value *a)
{
    struct value v = {.type = to};
    if (to == VALUE_F64) {
        v.f = (double)a->i;
    } else if (to == VALUE_STR) {
        char text[24];
        int32_t len = i64_write(a->i, text);
        v.s = (struct str){arena_dup(twin->arena, text, len), len};
    } else if (a->type == VALUE_F64) {
        if (!(a->f >= -9223372036854775808.0 && a->f < 9223372036854775808.0)) {
            return rejected(to, EXPR_REJECT_CAST);
        }
        v.i = (int64_t)a->f;
    } else if (!i64_read(a->s, &v.i)) {
        return rejected(to, EXPR_REJECT_CAST);
    }
    return v;
}

/* Code points of the texts here: ASCII and two-byte letters. */
static struct value substr(const struct value *text, int64_t from, int64_t count)
{
    ptrdiff_t begin = 0;
    while (from > 0 && begin < text->s.len) {
        begin += (unsigned char)text->s.ptr[begin] >= 0xC0 ? 2 : 1;
        from--;
    }
    ptrdiff_t end = begin;
    while (count > 0 && end < text->s.len) {
        end += (unsigned char)text->s.ptr[end] >= 0xC0 ? 2 : 1;
        count--;
    }
    return (struct value){.type = VALUE_STR, .s = {text->s.ptr + begin, end - begin}};
}

static struct value bucket(int64_t time, int64_t width)
{
    if (width <= 0) {
        return rejected(VALUE_TIME, EXPR_REJECT_TIME_RANGE);
    }
    wide_int rest = ((wide_int)time % width + width) % width;
    wide_int start = time - rest;
    return start < INT64_MIN ? rejected(VALUE_TIME, EXPR_REJECT_TIME_RANGE)
                             : (struct value){.type = VALUE_TIME, .i = (int64_t)start};
}

static struct value call(struct twin *twin, const struct tree *tree, const struct value *a)
{
    struct value v = {.type = tree->type};
    if (strcmp(tree->word, "abs") == 0 && tree->type == VALUE_I64) {
        return a[0].i == INT64_MIN
                   ? rejected(VALUE_I64, EXPR_REJECT_OVERFLOW)
                   : (struct value){.type = VALUE_I64, .i = a[0].i < 0 ? -a[0].i : a[0].i};
    }
    if (strcmp(tree->word, "abs") == 0) {
        v.f = fabs(a[0].f);
    } else if (strcmp(tree->word, "floor") == 0) {
        v.f = floor(a[0].f);
    } else if (strcmp(tree->word, "length") == 0) {
        for (ptrdiff_t i = 0; i < a[0].s.len; i++) {
            v.i += ((unsigned char)a[0].s.ptr[i] & 0xC0) != 0x80;
        }
    } else if (strcmp(tree->word, "contains") == 0) {
        v.i = a[1].s.len == 0 ||
              memmem(a[0].s.ptr, (size_t)a[0].s.len, a[1].s.ptr, (size_t)a[1].s.len) != NULL;
    } else if (strcmp(tree->word, "substr") == 0) {
        return substr(&a[0], a[1].i, a[2].i);
    } else if (strcmp(tree->word, "bucket") == 0) {
        return bucket(a[0].i, a[1].i);
    } else {
        bool two = tree->arg_count == 2;
        ptrdiff_t len = a[0].s.len + (two ? a[1].s.len : 0);
        char *bytes = ARENA_NEW_ARRAY(twin->arena, char, len + 1);
        memcpy(bytes, a[0].s.ptr, (size_t)a[0].s.len);
        if (two) {
            memcpy(bytes + a[0].s.len, a[1].s.ptr, (size_t)a[1].s.len);
        }
        for (ptrdiff_t i = 0; i < len && !two; i++) {
            bytes[i] = bytes[i] >= 'A' && bytes[i] <= 'Z' ? (char)(bytes[i] + 32) : bytes[i];
        }
        v.s = (struct str){bytes, len};
    }
    return v;
}

static struct value eval(struct twin *twin, const struct tree *tree);

static struct value eval_lazy(struct twin *twin, const struct tree *tree, struct value first)
{
    if (tree->kind == K_IF) {
        return eval(twin, tree->args[!first.null && first.i != 0 ? 1 : 2]);
    }
    if (tree->kind == K_COALESCE) {
        return first.null ? eval(twin, tree->args[1]) : first;
    }
    int64_t decides = tree->kind == K_OR;
    if (!first.null && first.i == decides) {
        return first;
    }
    struct value second = eval(twin, tree->args[1]);
    if (second.reject != EXPR_REJECT_NONE || (!second.null && second.i == decides)) {
        return second;
    }
    return first.null ? first : second;
}

static struct value eval(struct twin *twin, const struct tree *tree)
{
    if (tree->kind == K_COLUMN) {
        return column_value(twin, tree->column);
    }
    if (tree->kind == K_CONST) {
        return tree->value;
    }
    bool lazy =
        tree->kind == K_IF || tree->kind == K_COALESCE || tree->kind == K_AND || tree->kind == K_OR;
    struct value a[3] = {0};
    bool null = false;
    for (int i = 0; i < (lazy ? 1 : tree->arg_count); i++) {
        a[i] = eval(twin, tree->args[i]);
        if (a[i].reject != EXPR_REJECT_NONE) {
            return a[i];
        }
        null = null || a[i].null;
    }
    if (lazy) {
        return eval_lazy(twin, tree, a[0]);
    }
    if (tree->kind == K_IS_NULL) {
        return (struct value){.type = VALUE_BOOL, .i = a[0].null};
    }
    if (null) {
        return (struct value){.type = tree->type, .null = true};
    }
    if (tree->kind == K_NOT) {
        return (struct value){.type = VALUE_BOOL, .i = a[0].i == 0};
    }
    if (tree->kind == K_NEG) {
        return tree->type == VALUE_F64 ? (struct value){.type = VALUE_F64, .f = -a[0].f}
                                       : arithmetic_i64('-', VALUE_I64, 0, a[0].i);
    }
    if (tree->kind == K_CAST) {
        return cast(twin, tree->type, &a[0]);
    }
    if (tree->kind == K_CALL) {
        return call(twin, tree, a);
    }
    if (tree->type == VALUE_BOOL) {
        return compare(tree->word, &a[0], &a[1]);
    }
    return tree->type == VALUE_F64 ? arithmetic_f64(tree->word[0], a[0].f, a[1].f)
                                   : arithmetic_i64(tree->word[0], tree->type, a[0].i, a[1].i);
}

/* --- both --- */

static struct batch *random_batch(struct arena *arena, struct rng *rng)
{
    struct batch *batch = batch_new(arena, ROWS);
    memset(batch->key, 0, ROWS * sizeof(struct str));
    memset(batch->value, 0, ROWS * sizeof(struct str));
    memset(batch->time_ms, 0, ROWS * sizeof(int64_t));
    for (ptrdiff_t c = 0; c < COUNT_OF(columns); c++) {
        bool nulls = rng_below(rng, 2) == 0;
        struct column *column = &batch->columns[batch_add_column(batch, columns[c].type, nulls)];
        for (int32_t row = 0; row < ROWS; row++) {
            struct value v = random_value(rng, columns[c].type);
            if (nulls && rng_below(rng, 4) == 0) {
                column->null[row] = 1;
            } else if (v.type == VALUE_F64) {
                COLUMN_F64(column)[row] = v.f;
            } else if (v.type == VALUE_STR) {
                COLUMN_STR(column)[row] = v.s;
            } else if (v.type == VALUE_BOOL) {
                COLUMN_BOOL(column)[row] = (uint8_t)v.i;
            } else {
                COLUMN_I64(column)[row] = v.i;
            }
        }
    }
    int32_t kept = 0;
    bool all = rng_below(rng, 3) == 0;
    for (int32_t row = 0; row < ROWS; row++) {
        batch->sel[kept] = row;
        kept += all || rng_below(rng, 2) == 0;
    }
    batch->sel_count = kept;
    return batch;
}

static void test_schema(struct schema *schema)
{
    *schema = (struct schema){0};
    for (ptrdiff_t c = 0; c < COUNT_OF(columns); c++) {
        schema->names[c] = str_of(columns[c].name);
        schema->types[c] = columns[c].type;
        schema->count++;
    }
}

static bool same(const struct value *want, const struct column *got, int32_t row)
{
    if (want->null || column_is_null(got, row)) {
        return want->null && column_is_null(got, row);
    }
    switch (want->type) {
    case VALUE_BOOL:
        return want->i == COLUMN_BOOL(got)[row];
    case VALUE_F64:
        return want->f >= COLUMN_F64(got)[row] && want->f <= COLUMN_F64(got)[row];
    case VALUE_STR:
        return str_equal(want->s, COLUMN_STR(got)[row]);
    case VALUE_I64:
    case VALUE_TIME:
    case VALUE_TYPE_COUNT:
        break;
    }
    return want->i == COLUMN_I64(got)[row];
}

static struct yaml_node place_of(const char *text)
{
    return (struct yaml_node){
        .kind = YAML_SCALAR, .line = 3, .column = 10, .file = "f", .text = str_of(text)};
}

TEST(random_expressions_equal_a_naive_evaluator)
{
    struct arena arena;
    struct text *text = NULL;
    arena_init(&arena, 1 << 28);
    struct maker m = {.arena = &arena};
    rng_init(&m.rng, test_seed());
    struct schema schema;
    test_schema(&schema);
    int32_t rows = 0;
    int32_t rejects_seen = 0;
    for (int round = 0; round < 6000; round++) {
        arena_reset(&arena);
        enum value_type type = (enum value_type)rng_below(&m.rng, VALUE_TYPE_COUNT);
        struct tree *tree = make(&m, type, 1 + (int)rng_below(&m.rng, DEPTH_MAX));
        text = ARENA_NEW(&arena, struct text);
        print(text, tree);
        struct yaml_node place = place_of(text->bytes);
        const struct expr *expr = NULL;
        struct err_info info = {0};
        enum err err = expr_compile(&arena, &place, &schema, &expr, &info);
        if (text->over || (err != ERR_OK && strstr(info.text, "parts") != NULL)) {
            continue; /* over a limit, and said so */
        }
        EXPECT_MSG(err == ERR_OK, "%s: %s", text->bytes, info.text);
        struct batch *batch = random_batch(&arena, &m.rng);
        uint8_t rejects[ROWS] = {0};
        struct column result;
        int32_t count = expr_eval(expr, batch, &result, rejects);
        for (int32_t k = 0; k < batch->sel_count; k++) {
            struct twin twin = {batch, &arena, batch->sel[k]};
            struct value want = eval(&twin, tree);
            EXPECT_MSG(want.reject == (enum expr_reject)rejects[twin.row],
                       "%s: row %d rejected with %d, expected %d", text->bytes, twin.row,
                       rejects[twin.row], (int)want.reject);
            EXPECT_MSG(want.reject != EXPR_REJECT_NONE || same(&want, &result, twin.row),
                       "%s: row %d differs", text->bytes, twin.row);
            EXPECT(want.reject == EXPR_REJECT_NONE || expr_can_reject(expr));
            count -= want.reject != EXPR_REJECT_NONE;
            rejects_seen += want.reject != EXPR_REJECT_NONE;
            rows++;
        }
        EXPECT_INT(count, 0);
    }
    EXPECT(rows > 50000 && rejects_seen > 1000);
    arena_release(&arena);
}

static const char *error_of(struct arena *arena, const char *text, struct err_info *info)
{
    struct schema schema;
    test_schema(&schema);
    struct yaml_node place = place_of(text);
    const struct expr *expr = NULL;
    return expr_compile(arena, &place, &schema, &expr, info) == ERR_OK ? "" : info->text;
}

TEST(errors_point_into_the_expression)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"a +", "f:3:13: the expression ends where a value belongs"},
        {"a + amont",
         "f:3:14: there is no field 'amont' here: there are a, b, x, y, s, t, p, q, u"},
        {"a + s", "f:3:12: int + string: arithmetic wants numbers"},
        {"s + s", "f:3:12: string + string: arithmetic wants numbers: join texts with concat()"},
        {"a == null",
         "f:3:12: a comparison with null is always null: write 'is null' or 'is not null'"},
        {"a == s", "f:3:12: int and string cannot be compared: cast one of them"},
        {"p < q", "f:3:12: bools have no order: compare them with == or !="},
        {"lenght(s)", "f:3:10: there is no function 'lenght': did you mean 'length'?"},
        {"length(a)", "f:3:17: argument 1 of length is int, it wants string"},
        {"length()", "f:3:10: length takes at least 1 arguments"},
        {"length(s, s)", "f:3:20: length takes 1 arguments at most"},
        {"'abc", "f:3:10: a text begins here and is not closed: add a '"},
        {"(a", "f:3:12: the expression ends here, a ')' is missing"},
        {"a b", "f:3:12: 'b' stands behind the end of the expression"},
        {"cast(a as integer)", "f:3:20: 'integer' is no type: bool, int, float, string or time"},
        {"cast(p as time)", "f:3:10: bool cannot be cast to time"},
        {"if(a, 1, 2)", "f:3:13: the condition of if wants a bool, this is int"},
        {"if(p, 1, 'x')",
         "f:3:10: the branches of if have two types, int and string: cast one of them"},
        {"null", "f:3:10: a bare null has no type: cast it, as in cast(null as int)"},
        {"99999999999999999999",
         "f:3:10: the number is too large for int: write it with a point to make it a float"},
        {"10q", "f:3:10: '10q' is no number: units are ms, s, m, h, d"},
        {"u * 2", "f:3:12: time * int: arithmetic wants numbers"},
        {"u + u",
         "f:3:12: time + time makes no sense: a time takes milliseconds, as in event_time + 10s"},
        {"format_time(u, s)",
         "f:3:25: a time format is a constant text of %Y %m %d %H %M %S %L %j %s %z %% and plain characters"},
        {"a in ()", "f:3:12: the list of 'in' is empty"},
        {"a and p", "f:3:10: and wants a bool, this is int"},
        {"a $ b", "f:3:12: '$' stands behind the end of the expression"},
    };
    struct arena arena;
    arena_init(&arena, 1 << 24);
    for (ptrdiff_t i = 0; i < COUNT_OF(cases); i++) {
        struct err_info info = {0};
        const char *error = error_of(&arena, cases[i].text, &info);
        EXPECT_MSG(strcmp(error, cases[i].error) == 0, "%s: \"%s\", expected \"%s\"", cases[i].text,
                   error, cases[i].error);
    }
    arena_release(&arena);
}

TEST(deep_and_large_expressions_are_refused_not_run_out_of_stack)
{
    static const char *const parts[] = {"(", "not ", "- ", "if(p, a, ", "a + (", "coalesce(a, "};
    struct arena arena;
    arena_init(&arena, 1 << 24);
    for (ptrdiff_t i = 0; i < COUNT_OF(parts); i++) {
        char text[EXPR_TEXT_MAX + 1];
        size_t len = 0;
        while (len + strlen(parts[i]) < EXPR_TEXT_MAX) {
            memcpy(text + len, parts[i], strlen(parts[i]) + 1);
            len += strlen(parts[i]);
        }
        struct err_info info = {0};
        EXPECT_MSG(strstr(error_of(&arena, text, &info), "nested more than 64 deep") != NULL, "%s",
                   info.text);
    }
    char *wide = ARENA_NEW_ARRAY(&arena, char, EXPR_TEXT_MAX + 1);
    for (int i = 0; i + 2 < EXPR_TEXT_MAX; i += 2) {
        memcpy(wide + i, "1+", 2);
    }
    struct err_info info = {0};
    EXPECT(strstr(error_of(&arena, wide, &info), "512 parts") != NULL ||
           strstr(info.text, "nested more") != NULL);
    arena_release(&arena);
}

/* Bytes of every kind: an error or a program, never a crash. */
TEST(random_texts_never_break_the_parser)
{
    static const char *const pieces[] = {
        "a",   "s",     "(",       ")",     ",",       "'",       "\"",    "1",       "2.5",
        "10s", " and ", " or ",    "not ",  "==",      "<",       "+",     "-",       "*",
        "/",   "%",     "if(",     "cast(", " as int", "is null", " in (", "concat(", "\xC3\xA9",
        "\n",  "null",  "bucket(", "u",     "'%Y'",    "."};
    struct arena arena;
    arena_init(&arena, 1 << 26);
    struct rng rng;
    rng_init(&rng, test_seed());
    struct schema schema;
    test_schema(&schema);
    int good = 0;
    for (int round = 0; round < 20000; round++) {
        arena_reset(&arena);
        char text[256] = {0};
        size_t len = 0;
        for (uint64_t n = 1 + rng_below(&rng, 12); n > 0; n--) {
            const char *piece = pieces[rng_below(&rng, COUNT_OF(pieces))];
            memcpy(text + len, piece, strlen(piece));
            len += strlen(piece);
        }
        struct yaml_node place = place_of(text);
        const struct expr *expr = NULL;
        struct err_info info = {0};
        enum err err = expr_compile(&arena, &place, &schema, &expr, &info);
        EXPECT(err == ERR_OK || info.text[0] != 0);
        if (err == ERR_OK) {
            struct batch *batch = random_batch(&arena, &rng);
            uint8_t rejects[ROWS] = {0};
            struct column result;
            IGNORE_RESULT(expr_eval(expr, batch, &result, rejects)); /* only that it ends */
            good++;
        }
    }
    EXPECT(good > 100);
    arena_release(&arena);
}

TEST(named_results)
{
    static const struct {
        const char *text, *result;
    } cases[] = {
        {"format_time(parse_time('2024-02-29T12:34:56.789+01:00'))", "2024-02-29T11:34:56.789Z"},
        {"format_time(parse_time('1969-12-31T23:59:59Z'), '%d.%m.%Y %H:%M:%S %j %s')",
         "31.12.1969 23:59:59 365 -1"},
        {"format_time(parse_time('05/03/2021 7', '%d/%m/%Y 7'))", "2021-03-05T00:00:00Z"},
        {"format_time(bucket(parse_time('1969-12-31T23:59:59Z'), 1m))", "1969-12-31T23:59:00Z"},
        {"cast(parse_time('1970-01-01T00:00:10Z') - parse_time('1970-01-01T00:00:00Z') as string)",
         "10000"},
        {"if(3 in (1, 2, 3) and 4 not in (1, 2), 'yes', 'no')", "yes"},
        {"cast(0.1 + 0.2 as string)", "0.30000000000000004"},
        {"cast(cast('1e3' as float) as string)", "1000"},
        {"substr('\xC3\xA9t\xC3\xA9s', 1, 2)", "t\xC3\xA9"},
        {"substr('abc', 1)", "bc"},
        {"upper(lower('AbC\xC3\x89'))", "ABC\xC3\x89"},
        {"if(null, 'a', 'b')", "b"},
        {"coalesce(null, cast(null as string), 'z')", "z"},
        {"concat('a', 'b', 'c', '''')", "abc'"},
        {"cast(round(2.5) as string)", "3"},
        {"cast(-7 / 2 as string)", "-3"},
        {"cast(-7 % 2 as string)", "-1"},
        {"cast(-9223372036854775808 as string)", "-9223372036854775808"},
    };
    struct arena arena;
    arena_init(&arena, 1 << 24);
    struct schema schema;
    test_schema(&schema);
    struct rng rng;
    rng_init(&rng, 1);
    struct batch *batch = random_batch(&arena, &rng);
    for (ptrdiff_t i = 0; i < COUNT_OF(cases); i++) {
        struct yaml_node place = place_of(cases[i].text);
        const struct expr *expr = NULL;
        struct err_info info = {0};
        EXPECT_MSG(expr_compile(&arena, &place, &schema, &expr, &info) == ERR_OK, "%s: %s",
                   cases[i].text, info.text);
        uint8_t rejects[ROWS] = {0};
        struct column result;
        EXPECT_INT(expr_eval(expr, batch, &result, rejects), 0);
        EXPECT_STR(COLUMN_STR(&result)[batch->sel[0]], str_of(cases[i].result));
    }
    arena_release(&arena);
}
