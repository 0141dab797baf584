// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_EXPR_PRIV_H
#define PIPELINE_EXPR_PRIV_H

#include "pipeline/expr.h"

/* Text -> typed tree (expr_parse.c) -> register program (expr_compile.c) -> columns (expr_eval.c, expr_text.c). */

enum { EXPR_ARGS_MAX = 16 };

/* Every operation, with the types of its operands in its name where it has several. Operands are made to fit by the
 * parser (EXPR_CAST_* between them), so that an operation sees only the types it is for. */
enum expr_op {
    EXPR_CONST,  /* leaf */
    EXPR_COLUMN, /* leaf: a column of the schema, or one of the EXPR_RECORD_* below */
    EXPR_ADD_I64,
    EXPR_SUB_I64,
    EXPR_MUL_I64,
    EXPR_DIV_I64,
    EXPR_MOD_I64,
    EXPR_NEG_I64,
    EXPR_ABS_I64,
    EXPR_ADD_F64,
    EXPR_SUB_F64,
    EXPR_MUL_F64,
    EXPR_DIV_F64,
    EXPR_MOD_F64,
    EXPR_NEG_F64,
    EXPR_ABS_F64,
    EXPR_FLOOR,
    EXPR_CEIL,
    EXPR_ROUND,
    EXPR_EQ_I64, /* also times; the six in this order for each type */
    EXPR_NE_I64,
    EXPR_LT_I64,
    EXPR_LE_I64,
    EXPR_GT_I64,
    EXPR_GE_I64,
    EXPR_EQ_F64,
    EXPR_NE_F64,
    EXPR_LT_F64,
    EXPR_LE_F64,
    EXPR_GT_F64,
    EXPR_GE_F64,
    EXPR_EQ_STR,
    EXPR_NE_STR,
    EXPR_LT_STR,
    EXPR_LE_STR,
    EXPR_GT_STR,
    EXPR_GE_STR,
    EXPR_EQ_BOOL,
    EXPR_NE_BOOL,
    EXPR_NOT,
    EXPR_AND, /* right operand only where the left is not false */
    EXPR_OR,  /* right operand only where the left is not true */
    EXPR_IS_NULL,
    EXPR_IF,       /* (condition, then, else): a null condition takes the else */
    EXPR_COALESCE, /* (a, b): b only where a is null */
    EXPR_CAST_I64_F64,
    EXPR_CAST_F64_I64,
    EXPR_CAST_BOOL_I64,
    EXPR_CAST_I64_TIME, /* same bits; a type of its own only in the tree */
    EXPR_CAST_STR_I64,
    EXPR_CAST_STR_F64,
    EXPR_CAST_STR_BOOL,
    EXPR_CAST_I64_STR,
    EXPR_CAST_F64_STR,
    EXPR_CAST_BOOL_STR,
    EXPR_LENGTH,
    EXPR_LOWER,
    EXPR_UPPER,
    EXPR_CONTAINS,
    EXPR_STARTS_WITH,
    EXPR_ENDS_WITH,
    EXPR_SUBSTR,
    EXPR_CONCAT,
    EXPR_BUCKET,
    EXPR_PARSE_TIME,  /* (text[, constant format]) */
    EXPR_FORMAT_TIME, /* (time[, constant format]) */
    /* only in programs: narrow the selection until the next EXPR_POP */
    EXPR_PUSH_NOT_FALSE,
    EXPR_PUSH_NOT_TRUE,
    EXPR_PUSH_TRUE,
    EXPR_PUSH_NULL,
    EXPR_POP,
    EXPR_OP_COUNT
};

/* Columns that every record has, behind those of the schema. */
enum { EXPR_RECORD_KEY = BATCH_COLUMNS_MAX, EXPR_RECORD_VALUE, EXPR_RECORD_TIME, EXPR_SOURCES_MAX };

union expr_value {
    bool flag;
    int64_t integer;
    double real;
    struct str text;
};

/* The type of a bare `null` until its neighbours decide. */
#define EXPR_TYPE_NULL VALUE_TYPE_COUNT

struct expr_node {
    enum expr_op op;
    enum value_type type;
    bool can_reject; /* it or something below it */
    bool null;       /* constant null */
    int32_t depth;
    int32_t at;     /* byte offset in the text, for errors */
    int32_t column; /* EXPR_COLUMN */
    union expr_value value;
    int32_t arg_count;
    struct expr_node *args[EXPR_ARGS_MAX];
};

struct expr_instr {
    enum expr_op op;
    int16_t dst;
    int16_t arg_count;
    int16_t args[EXPR_ARGS_MAX];
};

/* What a register is bound to before the program runs. */
struct expr_binding {
    int32_t column; /* EXPR_COLUMN source, or -1: a constant, or -2: made by an instruction */
    enum value_type type;
    bool null;
    union expr_value value;
};

struct expr {
    enum value_type type;
    bool can_reject;
    uint64_t columns;
    int32_t register_count;
    int32_t result;
    int32_t instr_count;
    int32_t push_depth;                  /* most PUSHes open at once */
    const struct expr_binding *bindings; /* [register_count] */
    const struct expr_instr *instrs;     /* [instr_count] */
};

/* Parses and types the text. The tree lives in `arena`. */
ATTR_NODISCARD enum err expr_parse(struct arena *arena, const struct yaml_node *place,
                                   const struct schema *schema, struct expr_node **ret_root,
                                   struct err_info *info);

/* --- running --- */

struct expr_reg {
    void *data;
    uint8_t *null; /* NULL: none */
    bool constant; /* one element stands for all rows */
};

struct expr_frame {
    struct arena *arena;
    int32_t row_count; /* of the batch: registers have room for so many */
    const int32_t *rows;
    int32_t n;
    bool dense; /* rows are 0..n-1 */
    const int32_t
        *all_rows; /* the selection before it was narrowed: constants are needed for all of it */
    int32_t all_n;
    bool all_dense;
    struct expr_reg *regs;
    const struct expr *expr;
    uint8_t *rejects;
    int32_t rejected;
};

/* Runs the statements for each selected row `i`; without the indirection where all are. */
#define EXPR_EACH(f, ...) \
    do { \
        if ((f)->dense) { \
            for (int32_t i = 0; i < (f)->n; i++) { \
                __VA_ARGS__ \
            } \
        } else { \
            for (int32_t k_ = 0; k_ < (f)->n; k_++) { \
                int32_t i = (f)->rows[k_]; \
                __VA_ARGS__ \
            } \
        } \
    } while (0)

static inline bool expr_reg_is_null(const struct expr_reg *reg, int32_t i)
{
    return reg->null != NULL && reg->null[i] != 0;
}

static inline void expr_reject(struct expr_frame *f, int32_t i, enum expr_reject why)
{
    if (f->rejects[i] == EXPR_REJECT_NONE) {
        f->rejects[i] = (uint8_t)why;
        f->rejected++;
    }
}

/* Turns a constant register into a column for all rows that were selected, so that a loop need not know. */
void expr_reg_fill(struct expr_frame *f, int32_t reg);

/* Data of the result register of `instr`, and its null map: present if an argument has one. */
void *expr_result(struct expr_frame *f, const struct expr_instr *instr);

/* Strings, casts from and to them, times (expr_text.c). */
void expr_run_text(struct expr_frame *f, const struct expr_instr *instr);

#endif
