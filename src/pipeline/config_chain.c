// SPDX-License-Identifier: Apache-2.0
/* Chains: each operator compiles against the schema that the one before it leaves; afterwards the use of columns is
 * followed backwards, so that parse reads only what somebody needs. */
#include "base/check.h"
#include "base/hash.h"
#include "pipeline/config_priv.h"
#include "pipeline/hint.h"
#include "pipeline/op_parse.h"
#include "pipeline/operators.h"

struct chain_builder {
    struct loader *loader;
    const struct pipeline_plan *pipeline;
    struct stage_plan *stage;
    struct stage_resources resources;
    /* where each input stands; behind a join only [0] counts */
    struct schema schemas[2];
    bool intact[2];
    bool started[2]; /* an operator has worked on it */
    bool joined, expanded, ended;
};

static enum err chain_fail(const struct chain_builder *b, const struct yaml_node *node,
                           const char *text)
{
    return yaml_fail(b->loader->info, node, "%s", text);
}

static struct operator_plan *plan_new(struct chain_builder *b, const struct operator_type *type,
                                      struct str name, int32_t input)
{
    struct operator_plan *plan = ARENA_NEW(b->loader->arena, struct operator_plan);
    plan->type = type;
    plan->name = name;
    plan->input = input;
    plan->columns_read = UINT64_MAX;
    plan->columns_used = UINT64_MAX;
    return plan;
}

static enum err add_plan(struct chain_builder *b, const struct yaml_node *node,
                         struct operator_plan *plan)
{
    struct stage_plan *stage = b->stage;
    if (stage->operator_count == CHAIN_OPERATORS_MAX) {
        return yaml_fail(b->loader->info, node, "a chain has at most %d operators",
                         CHAIN_OPERATORS_MAX);
    }
    stage->operators[stage->operator_count++] = plan;
    int32_t input = plan->input;
    b->schemas[input] = plan->schema;
    b->intact[input] = plan->value_intact;
    b->started[input] = true;
    return ERR_OK;
}

/* The last encode of the stage before: what it wrote is in the records. NULL: there is none, or rows were made behind it. */
static const struct parse_plan *encoded_by(const struct stage_plan *before)
{
    const struct parse_plan *found = NULL;
    for (int32_t i = 0; i < before->operator_count; i++) {
        const struct parse_plan *encode = encode_plan_of(before->operators[i]);
        found = encode != NULL ? encode : before->operators[i]->value_intact ? found : NULL;
    }
    return found;
}

/* Reads columns back that `parse` tells where to find, the first ones of the chain. */
static enum err read_back_by(struct chain_builder *b, const struct yaml_node *node, int32_t input,
                             struct str name, const struct parse_plan *parse)
{
    struct operator_plan *plan = plan_new(b, &operator_parse, name, input);
    plan->schema.count = parse->field_count;
    for (int32_t f = 0; f < parse->field_count; f++) {
        plan->schema.names[f] = parse->fields[f].name;
        plan->schema.types[f] = parse->fields[f].type;
    }
    plan->value_intact = true;
    plan->columns_read = 0;
    plan->column_from = operator_columns_kept(b->loader->arena, &b->schemas[input]);
    plan->compiled = (void *)(uintptr_t)parse; /* read only */
    return add_plan(b, node, plan);
}

/* The columns of the stage before are read back from its records: by its own parse where it passed them on as they came,
 * else from the objects, or at the places, that it wrote. A chain that begins with a parse of its own takes over. */
static enum err add_read_back(struct chain_builder *b, const struct yaml_node *node, int32_t input)
{
    const struct stage_input *from = &b->stage->inputs[input];
    if (from->kind != STAGE_SOURCE_STAGE) {
        return ERR_OK;
    }
    const struct stage_plan *before = b->pipeline->stages[from->stage];
    const struct operator_plan *last = before->operators[before->operator_count - 1];
    struct arena *arena = b->loader->arena;
    struct str name = input == 0 ? STR("sc.input") : STR("sc.input2");
    if (!last->value_intact) {
        return last->schema.count == 0
                   ? ERR_OK
                   : read_back_by(b, node, input, name, parse_plan_of_schema(arena, &last->schema));
    }
    const struct parse_plan *encoded = encoded_by(before);
    if (encoded != NULL) {
        return read_back_by(b, node, input, name, encoded);
    }
    for (int32_t i = 0; i < before->operator_count; i++) {
        const struct operator_plan *parse = before->operators[i];
        if (parse->type != &operator_parse) {
            continue;
        }
        struct operator_plan *plan = plan_new(b, &operator_parse, name, input);
        plan->schema = parse->schema;
        plan->value_intact = true;
        plan->columns_read = 0;
        plan->column_from = parse->column_from;
        struct parse_plan *again = ARENA_NEW(arena, struct parse_plan);
        *again = *(const struct parse_plan *)parse->compiled;
        again->trusted = true;
        again->strict = false;
        plan->compiled = again;
        enum err err = add_plan(b, node, plan);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

static enum err read_operator_name(struct chain_builder *b, const struct yaml_node *settings,
                                   const struct operator_type *type, struct str *ret_name)
{
    const struct yaml_node *node = yaml_get(settings, "name");
    struct err_info *info = b->loader->info;
    *ret_name = str_of(type->name);
    enum err err = node != NULL ? yaml_text(node, ret_name, info) : ERR_OK;
    if (err == ERR_OK) {
        err = config_part_name(node != NULL ? node : settings, *ret_name, "an operator", info);
    }
    for (int32_t i = 0; err == ERR_OK && i < b->stage->operator_count; i++) {
        if (str_equal(b->stage->operators[i]->name, *ret_name)) {
            return yaml_fail(info, node != NULL ? node : settings,
                             "there is an operator '%.*s' already: give each a 'name' of its own",
                             STR_ARG(*ret_name));
        }
    }
    return err;
}

/* `input: 2` puts an operator before the join on the second input. */
static enum err read_operator_input(struct chain_builder *b, const struct yaml_node *settings,
                                    int32_t *ret_input)
{
    const struct yaml_node *node = yaml_get(settings, "input");
    *ret_input = 0;
    if (node == NULL) {
        return ERR_OK;
    }
    if (b->stage->input_count == 1 || b->joined) {
        return chain_fail(b, node,
                          "'input' chooses an input before a join, there is nothing to choose");
    }
    int64_t input;
    enum err err = yaml_i64(node, 1, 2, &input, b->loader->info);
    *ret_input = err == ERR_OK ? (int32_t)input - 1 : 0;
    return err;
}

static enum err find_type(struct chain_builder *b, const struct yaml_node *item,
                          const struct operator_type **ret_type)
{
    if (item->kind != YAML_MAP || item->count != 1) {
        return chain_fail(b, item,
                          "an operator is a map with one key, its type: {filter: {where: ...}}");
    }
    struct str word = item->keys[0]->text;
    *ret_type = operator_type_find(word);
    if (*ret_type == NULL) {
        struct str names[32];
        struct hint hint;
        hint_of_names(&hint, word, names, operator_type_names(names, 32));
        return yaml_fail(b->loader->info, item->keys[0], "there is no operator '%.*s'%s",
                         STR_ARG(word), hint.text);
    }
    if (item->items[0]->kind != YAML_MAP) {
        return yaml_fail(b->loader->info, item->items[0], "the settings of %s are a map",
                         (*ret_type)->name);
    }
    return ERR_OK;
}

static enum err check_plan(struct chain_builder *b, const struct yaml_node *node,
                           const struct operator_plan *plan)
{
    if (plan->joins && b->joined) {
        return chain_fail(b, node, "a chain joins its inputs once");
    }
    if (plan->expands && b->expanded) {
        return chain_fail(
            b, node,
            "a second operator that makes many rows of one: put it into a stage of its own");
    }
    if (plan->key_changed && b->stage->input_count == 2 && !b->joined) {
        return chain_fail(b, node, "key_by stands before the join of the stage's two inputs");
    }
    return ERR_OK;
}

static enum err read_operator(struct chain_builder *b, const struct yaml_node *item)
{
    const struct operator_type *type = NULL;
    enum err err = find_type(b, item, &type);
    if (err != ERR_OK) {
        return err;
    }
    CHECK(type != NULL);
    const struct yaml_node *settings = item->items[0];
    struct str name = {0};
    int32_t input = 0;
    if (b->ended) {
        return chain_fail(b, item, "key_by ends a stage: put what follows it into the next one");
    }
    err = read_operator_name(b, settings, type, &name);
    if (err == ERR_OK) {
        err = read_operator_input(b, settings, &input);
    }
    bool joins = type->joins && b->stage->input_count == 2;
    for (int32_t i = 0; i < b->stage->input_count && err == ERR_OK && !b->joined; i++) {
        bool concerned = joins || (i == input && type != &operator_parse);
        err = concerned && !b->started[i] ? add_read_back(b, settings, i) : ERR_OK;
    }
    if (err != ERR_OK) {
        return err;
    }
    struct operator_plan *plan = plan_new(b, type, name, input);
    struct compile_context ctx = {
        .arena = b->loader->arena,
        .node = settings,
        .name = name,
        .in = {&b->schemas[input], joins ? &b->schemas[1] : NULL},
        .first = !b->started[input],
        .value_intact = b->intact[input],
        .input_count = b->stage->input_count,
        .resources = &b->resources,
        .info = b->loader->info,
    };
    plan->joins = joins;
    err = type->compile(&ctx, plan);
    if (err == ERR_OK) {
        err = check_plan(b, settings, plan);
    }
    if (err != ERR_OK) {
        return err;
    }
    b->joined = b->joined || plan->joins;
    b->expanded = b->expanded || plan->expands;
    b->ended = plan->key_changed;
    return add_plan(b, settings, plan);
}

/* The columns of an operator's input that are needed when those in `used` of its output are. */
static uint64_t needed_before(const struct operator_plan *plan, uint64_t used)
{
    uint64_t needed = plan->columns_read;
    for (int32_t c = 0; plan->column_from != NULL && c < plan->schema.count; c++) {
        if ((used >> c & 1) != 0 && plan->column_from[c] >= 0) {
            needed |= 1ULL << plan->column_from[c];
        }
    }
    return needed;
}

void config_follow_use(struct stage_plan *stage)
{
    if (stage->operator_count == 0) {
        return;
    }
    const struct operator_plan *last = stage->operators[stage->operator_count - 1];
    uint64_t used[2] = {last->value_intact ? 0 : UINT64_MAX, 0};
    bool hash_used = false; // outputs go without
    for (int32_t i = stage->operator_count - 1; i >= 0; i--) {
        /* Built here a moment ago; const only for those who come later. */
        struct operator_plan *plan = (struct operator_plan *)(uintptr_t)stage->operators[i];
        plan->columns_used = used[plan->input];
        plan->hash_used = hash_used;
        hash_used = plan->type->reads_hash || (hash_used && !plan->key_changed);
        used[plan->input] = needed_before(plan, used[plan->input]);
        if (plan->joins) {
            used[0] = used[1] = UINT64_MAX;
        }
    }
}

const struct yaml_node *config_key_by_of(const struct yaml_node *chain)
{
    if (chain == NULL || chain->kind != YAML_LIST || chain->count == 0) {
        return NULL;
    }
    const struct yaml_node *last = chain->items[chain->count - 1];
    return yaml_get(last->kind == YAML_MAP ? last : NULL, operator_key_by.name);
}

enum err config_read_chain(struct loader *loader, const struct pipeline_plan *pipeline,
                           struct stage_plan *stage, const struct yaml_node *place)
{
    const struct yaml_node *chain = yaml_get(place, "chain");
    struct chain_builder *b = ARENA_NEW(loader->arena, struct chain_builder);
    b->loader = loader;
    b->pipeline = pipeline;
    b->stage = stage;
    b->resources = (struct stage_resources){.config = loader->config, .stage = stage};
    b->intact[0] = b->intact[1] = true;
    if (chain != NULL && chain->kind != YAML_LIST) {
        return chain_fail(b, chain, "'chain' is a list of operators");
    }
    for (int32_t i = 0; chain != NULL && i < chain->count; i++) {
        enum err err = read_operator(b, chain->items[i]);
        if (err != ERR_OK) {
            return err;
        }
    }
    if (stage->input_count == 2 && !b->joined) {
        return yaml_fail(loader->info, chain != NULL ? chain : place,
                         "a stage with two inputs has to join them: put a join into its chain");
    }
    config_follow_use(stage);
    stage->text = chain != NULL ? config_normal_text(loader->arena, chain) : STR("[]");
    stage->text_hash = hash64(stage->text.ptr, stage->text.len);
    return ERR_OK;
}
