// SPDX-License-Identifier: Apache-2.0
/* From the typed tree to a register program: leaves become bindings, the others one instruction each. A part that can
 * reject and is only reached by some rows stands between a PUSH that narrows the selection and a POP. */
#include "base/check.h"
#include "pipeline/expr_priv.h"

enum { INSTRS_MAX = 4 * EXPR_NODES_MAX };

struct builder {
    struct arena *arena;
    struct expr *expr;
    struct expr_binding *bindings;
    struct expr_instr *instrs;
    const struct expr_node *
        *node_of_reg; /* which node a register holds: a node may hang in two places */
    int32_t open;
};

static int32_t reg_new(struct builder *b, const struct expr_node *node)
{
    CHECK(b->expr->register_count < EXPR_REGISTERS_MAX);
    int32_t reg = b->expr->register_count++;
    b->node_of_reg[reg] = node;
    b->bindings[reg] = (struct expr_binding){.column = -2, .type = node->type};
    if (node->op == EXPR_CONST) {
        b->bindings[reg] = (struct expr_binding){
            .column = -1, .type = node->type, .null = node->null, .value = node->value};
    } else if (node->op == EXPR_COLUMN) {
        b->bindings[reg] = (struct expr_binding){.column = node->column, .type = node->type};
        if (node->column < BATCH_COLUMNS_MAX) {
            b->expr->columns |= 1ULL << node->column;
        }
    }
    return reg;
}

static struct expr_instr *instr_new(struct builder *b, enum expr_op op)
{
    CHECK(b->expr->instr_count < INSTRS_MAX);
    struct expr_instr *instr = &b->instrs[b->expr->instr_count++];
    *instr = (struct expr_instr){.op = op, .dst = -1};
    return instr;
}

static int32_t emit(struct builder *b, const struct expr_node *node);

static void push(struct builder *b, enum expr_op op, int32_t reg)
{
    struct expr_instr *instr = instr_new(b, op);
    instr->args[0] = (int16_t)reg;
    instr->arg_count = 1;
    b->open++;
    if (b->open > b->expr->push_depth) {
        b->expr->push_depth = b->open;
    }
}

/* `node`, only for the rows that `op` of register `reg` leaves, if it makes a difference. */
static int32_t emit_under(struct builder *b, enum expr_op op, int32_t reg,
                          const struct expr_node *node)
{
    if (!node->can_reject) {
        return emit(b, node);
    }
    push(b, op, reg);
    int32_t result = emit(b, node);
    IGNORE_RESULT(instr_new(b, EXPR_POP)); /* has no operands */
    b->open--;
    return result;
}

static int32_t emit(struct builder *b, const struct expr_node *node)
{
    for (int32_t reg = 0; reg < b->expr->register_count; reg++) {
        if (b->node_of_reg[reg] == node) {
            return reg; /* its first use stood in a selection that holds this one */
        }
    }
    if (node->op == EXPR_CONST || node->op == EXPR_COLUMN) {
        return reg_new(b, node);
    }
    int32_t args[EXPR_ARGS_MAX];
    args[0] = emit(b, node->args[0]);
    for (int32_t i = 1; i < node->arg_count; i++) {
        enum expr_op under = node->op == EXPR_AND            ? EXPR_PUSH_NOT_FALSE
                             : node->op == EXPR_OR           ? EXPR_PUSH_NOT_TRUE
                             : node->op == EXPR_COALESCE     ? EXPR_PUSH_NULL
                             : node->op == EXPR_IF && i == 1 ? EXPR_PUSH_TRUE
                             : node->op == EXPR_IF           ? EXPR_PUSH_NOT_TRUE
                                                             : EXPR_CONST;
        args[i] = under == EXPR_CONST ? emit(b, node->args[i])
                                      : emit_under(b, under, args[0], node->args[i]);
    }
    int32_t reg = reg_new(b, node);
    struct expr_instr *instr = instr_new(b, node->op);
    instr->dst = (int16_t)reg;
    instr->arg_count = (int16_t)node->arg_count;
    for (int32_t i = 0; i < node->arg_count; i++) {
        instr->args[i] = (int16_t)args[i];
    }
    return reg;
}

enum err expr_compile(struct arena *arena, const struct yaml_node *place,
                      const struct schema *schema, const struct expr **ret_expr,
                      struct err_info *info)
{
    struct expr_node *root = NULL;
    enum err err = expr_parse(arena, place, schema, &root, info);
    if (err != ERR_OK) {
        return err;
    }
    struct expr *expr = ARENA_NEW(arena, struct expr);
    struct builder b = {
        .arena = arena,
        .expr = expr,
        .bindings = ARENA_NEW_ARRAY(arena, struct expr_binding, EXPR_REGISTERS_MAX),
        .instrs = ARENA_NEW_ARRAY(arena, struct expr_instr, INSTRS_MAX),
        .node_of_reg = ARENA_NEW_ARRAY(arena, const struct expr_node *, EXPR_REGISTERS_MAX),
    };
    expr->type = root->type;
    expr->can_reject = root->can_reject;
    expr->result = emit(&b, root);
    CHECK(b.open == 0);
    expr->bindings = b.bindings;
    expr->instrs = b.instrs;
    *ret_expr = expr;
    return ERR_OK;
}

enum value_type expr_type(const struct expr *expr)
{
    return expr->type;
}

int32_t expr_plain_column(const struct expr *expr)
{
    int32_t column = expr->bindings[expr->result].column;
    return expr->instr_count == 0 && column < BATCH_COLUMNS_MAX ? column : -1;
}

uint64_t expr_columns(const struct expr *expr)
{
    return expr->columns;
}

bool expr_can_reject(const struct expr *expr)
{
    return expr->can_reject;
}

const char *expr_reject_text(enum expr_reject reject)
{
    static const char *const texts[EXPR_REJECT_COUNT] = {
        [EXPR_REJECT_NONE] = "",
        [EXPR_REJECT_OVERFLOW] = "arithmetic overflow",
        [EXPR_REJECT_ZERO_DIVISION] = "division by zero",
        [EXPR_REJECT_CAST] = "a value cannot be cast",
        [EXPR_REJECT_TIME_TEXT] = "a text is no time of the expected format",
        [EXPR_REJECT_TIME_RANGE] = "a time or a width of time is out of range",
        [EXPR_REJECT_TOO_LONG] = "a text made by a function is too long",
    };
    CHECK((unsigned)reject < EXPR_REJECT_COUNT);
    return texts[reject];
}
