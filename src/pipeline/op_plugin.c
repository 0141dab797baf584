// SPDX-License-Identifier: Apache-2.0
/* plugin: an operator from a shared object (plugin.h). It is loaded when the configuration is, and stays loaded: a chain
 * that runs never depends on the file again. */
#include <assert.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "pipeline/config.h"
#include "pipeline/hint.h"
#include "pipeline/operators.h"
#include "pipeline/plugin.h"

enum { PLUGIN_PATH_MAX = 4096, PLUGIN_SETTINGS_MAX = 64, PLUGIN_REASON_MAX = 120 };

struct plugin_plan {
    const struct shadowcast_plugin *plugin;
    int32_t setting_count;
    struct shadowcast_setting settings[PLUGIN_SETTINGS_MAX];
    int32_t in[BATCH_COLUMNS_MAX]; /* columns it reads */
};

struct operator_instance {
    struct operator_env *env;
    const struct plugin_plan *plan;
    void *instance;
    struct batch *batch;  /* of the call at hand */
    const char **reasons; /* of the call at hand; [count] */
    uint8_t *verdict;
};

static_assert(sizeof(struct shadowcast_str) == sizeof(struct str), "one layout");
static_assert(offsetof(struct shadowcast_str, len) == offsetof(struct str, len), "one layout");
static_assert((int)SHADOWCAST_BOOL == (int)VALUE_BOOL && (int)SHADOWCAST_INT == (int)VALUE_I64 &&
                  (int)SHADOWCAST_FLOAT == (int)VALUE_F64 &&
                  (int)SHADOWCAST_STRING == (int)VALUE_STR &&
                  (int)SHADOWCAST_TIME == (int)VALUE_TIME,
              "one numbering");

/* --- loading --- */

/* An absolute path as it stands, a plain name as <plugins>/<name>.so. */
static enum err plugin_path(struct compile_context *ctx, const struct yaml_node *node, char *path)
{
    struct str file;
    enum err err = yaml_text(node, &file, ctx->info);
    if (err != ERR_OK) {
        return err;
    }
    bool absolute = file.len > 0 && file.ptr[0] == '/';
    struct str folder = ctx->resources->config->plugins;
    if (!absolute && (file.len == 0 || str_find(file, STR("/")) >= 0)) {
        return yaml_fail(ctx->info, node,
                         "'%.*s' is neither an absolute path nor the name of a plug-in",
                         STR_ARG(file));
    }
    if (!absolute && folder.len == 0) {
        return yaml_fail(ctx->info, node,
                         "'%.*s' is a name, and no folder is configured: set 'plugins'",
                         STR_ARG(file));
    }
    int n = absolute
                ? snprintf(path, PLUGIN_PATH_MAX, "%.*s", STR_ARG(file))
                : snprintf(path, PLUGIN_PATH_MAX, "%.*s/%.*s.so", STR_ARG(folder), STR_ARG(file));
    if (n < 0 || n >= PLUGIN_PATH_MAX) {
        return yaml_fail(ctx->info, node, "the path of the plug-in is too long");
    }
    return ERR_OK;
}

static enum err load(struct compile_context *ctx, const struct yaml_node *node,
                     const struct shadowcast_plugin **ret_plugin)
{
    char path[PLUGIN_PATH_MAX];
    enum err err = plugin_path(ctx, node, path);
    if (err != ERR_OK) {
        return err;
    }
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        return yaml_fail(
            ctx->info, node, "the plug-in cannot be loaded: %s",
            dlerror()); // NOLINT(concurrency-mt-unsafe): of the calling thread in glibc
    }
    typedef const struct shadowcast_plugin *(*entry_fn)(void);
    void *symbol = dlsym(handle, "shadowcast_plugin");
    entry_fn entry;
    static_assert(sizeof(entry) == sizeof(symbol), "POSIX: functions fit an object pointer");
    memcpy(&entry, &symbol, sizeof(entry));
    const struct shadowcast_plugin *plugin = entry != NULL ? entry() : NULL;
    if (plugin == NULL) {
        IGNORE_RESULT(dlclose(handle)); /* it is of no use */
        return yaml_fail(ctx->info, node, "%s exports no shadowcast_plugin()", path);
    }
    if (plugin->abi != SHADOWCAST_PLUGIN_ABI || plugin->size < sizeof(struct shadowcast_plugin)) {
        uint32_t abi = plugin->abi;
        uint32_t size = plugin->size;
        IGNORE_RESULT(dlclose(handle)); /* it is of no use */
        return yaml_fail(
            ctx->info, node,
            "the plug-in has ABI %u and %u bytes, this program wants %u and %zu: rebuild it", abi,
            size, SHADOWCAST_PLUGIN_ABI, sizeof(struct shadowcast_plugin));
    }
    *ret_plugin = plugin; /* the handle is kept for good */
    return ERR_OK;
}

static bool counts_are_sane(const struct shadowcast_plugin *p)
{
    return p->in_count >= 0 && p->in_count <= BATCH_COLUMNS_MAX && p->out_count >= 0 &&
           p->out_count <= BATCH_COLUMNS_MAX && p->knob_count >= 0 && p->knob_count <= KNOBS_MAX &&
           p->effects >= 0 && p->effects <= SHADOWCAST_EFFECTS_UNDECLARED && p->open != NULL &&
           p->close != NULL && p->process != NULL;
}

/* --- settings --- */

static enum err read_columns(struct compile_context *ctx, struct plugin_plan *plan,
                             uint64_t *ret_read)
{
    const struct yaml_node *list = yaml_get(ctx->node, "columns");
    int32_t count = list != NULL && list->kind == YAML_LIST ? list->count : 0;
    if (count != plan->plugin->in_count || (list != NULL && list->kind != YAML_LIST)) {
        return yaml_fail(ctx->info, list != NULL ? list : ctx->node,
                         "'columns' lists the %d fields that the plug-in reads, this has %d",
                         plan->plugin->in_count, count);
    }
    for (int32_t i = 0; i < count; i++) {
        struct str name;
        enum err err = yaml_text(list->items[i], &name, ctx->info);
        if (err != ERR_OK) {
            return err;
        }
        int32_t column = schema_find(ctx->in[0], name);
        if (column < 0) {
            struct hint hint;
            hint_of_names(&hint, name, ctx->in[0]->names, ctx->in[0]->count);
            return yaml_fail(ctx->info, list->items[i], "there is no field '%.*s' here%s",
                             STR_ARG(name), hint.text);
        }
        enum value_type want = (enum value_type)plan->plugin->in_types[i];
        if ((unsigned)want >= VALUE_TYPE_COUNT || ctx->in[0]->types[column] != want) {
            return yaml_fail(ctx->info, list->items[i], "'%.*s' is %s, the plug-in wants %s",
                             STR_ARG(name), value_type_name(ctx->in[0]->types[column]),
                             (unsigned)want < VALUE_TYPE_COUNT ? value_type_name(want)
                                                               : "an unknown type");
        }
        plan->in[i] = column;
        *ret_read |= 1ULL << column;
    }
    return ERR_OK;
}

static enum err read_settings(struct compile_context *ctx, struct plugin_plan *plan)
{
    const struct yaml_node *settings = yaml_get(ctx->node, "settings");
    if (settings == NULL) {
        return ERR_OK;
    }
    if (settings->kind != YAML_MAP || settings->count > PLUGIN_SETTINGS_MAX) {
        return yaml_fail(ctx->info, settings, "'settings' is a map of at most %d texts",
                         PLUGIN_SETTINGS_MAX);
    }
    for (int32_t i = 0; i < settings->count; i++) {
        struct str value;
        enum err err = yaml_text(settings->items[i], &value, ctx->info);
        if (err != ERR_OK) {
            return err;
        }
        struct str name = settings->keys[i]->text;
        plan->settings[plan->setting_count++] = (struct shadowcast_setting){
            arena_dup(ctx->arena, name.ptr, name.len), arena_dup(ctx->arena, value.ptr, value.len)};
    }
    return ERR_OK;
}

/* What the file sets it to; what is no number there is the plug-in's own to understand. */
static int64_t configured(const struct plugin_plan *from, const struct shadowcast_knob *knob)
{
    for (int32_t i = 0; i < from->setting_count; i++) {
        char *end = NULL;
        const char *text = from->settings[i].value;
        if (strcmp(from->settings[i].name, knob->name) == 0) {
            long long value = strtoll(text, &end, 10);
            return end != text && *end == 0 ? value : knob->value;
        }
    }
    return knob->value;
}

static void take_knobs(struct compile_context *ctx, const struct plugin_plan *from,
                       struct operator_plan *plan)
{
    for (int32_t i = 0; i < from->plugin->knob_count; i++) {
        const struct shadowcast_knob *knob = &from->plugin->knobs[i];
        struct str name = str_of(knob->name);
        plan->knobs[plan->knob_count++] =
            (struct knob){{arena_dup(ctx->arena, name.ptr, name.len), name.len},
                          knob->min,
                          knob->max,
                          configured(from, knob),
                          knob->value};
    }
}

/* Asks the plug-in whether it likes its settings. */
static enum err try_open(struct compile_context *ctx, const struct plugin_plan *plan)
{
    char reason[PLUGIN_REASON_MAX] = "no reason given";
    void *instance =
        plan->plugin->open(plan->settings, plan->setting_count, reason, sizeof(reason));
    if (instance == NULL) {
        reason[sizeof(reason) - 1] = 0;
        return yaml_fail(ctx->info, ctx->node, "plug-in '%s' refuses its settings: %s",
                         plan->plugin->name, reason);
    }
    plan->plugin->close(instance);
    return ERR_OK;
}

static enum err plugin_compile(struct compile_context *ctx, struct operator_plan *plan)
{
    static const char *const known[] = {"name", "file", "columns", "settings", NULL};
    enum err err = yaml_only_keys(ctx->node, known, ctx->info);
    const struct yaml_node *file = yaml_get(ctx->node, "file");
    if (err == ERR_OK && file == NULL) {
        return yaml_fail(ctx->info, ctx->node,
                         "plugin has no 'file': the path or name of the plug-in");
    }
    struct plugin_plan *own = ARENA_NEW(ctx->arena, struct plugin_plan);
    if (err == ERR_OK) {
        err = load(ctx, file, &own->plugin);
    }
    if (err == ERR_OK && !counts_are_sane(own->plugin)) {
        return yaml_fail(ctx->info, file, "the plug-in describes itself with numbers out of range");
    }
    plan->columns_read = 0;
    if (err == ERR_OK) {
        err = read_columns(ctx, own, &plan->columns_read);
    }
    if (err == ERR_OK) {
        err = read_settings(ctx, own);
    }
    if (err == ERR_OK) {
        err = try_open(ctx, own);
    }
    plan->schema = *ctx->in[0];
    for (int32_t i = 0; err == ERR_OK && i < own->plugin->out_count; i++) {
        struct str name = str_of(own->plugin->out[i].name);
        int32_t type = own->plugin->out[i].type;
        if (type < 0 || type >= VALUE_TYPE_COUNT) {
            return yaml_fail(ctx->info, file, "the plug-in adds a field of an unknown type");
        }
        name.ptr = arena_dup(ctx->arena, name.ptr, name.len);
        err = operator_schema_add(&plan->schema, file, name, (enum value_type)type, ctx->info);
    }
    if (err != ERR_OK) {
        return err;
    }
    take_knobs(ctx, own, plan);
    plan->effects = (enum operator_effects)own->plugin->effects;
    plan->value_intact = ctx->value_intact && own->plugin->out_count == 0;
    plan->column_from = operator_columns_kept(ctx->arena, ctx->in[0]);
    plan->compiled = own;
    return ERR_OK;
}

/* --- running --- */

static enum err plugin_open(const struct operator_plan *plan, struct operator_env *env,
                            struct operator_instance **ret_op, struct err_info *info)
{
    struct plugin_plan *own = plan->compiled;
    char reason[PLUGIN_REASON_MAX] = "no reason given";
    void *instance = own->plugin->open(own->settings, own->setting_count, reason, sizeof(reason));
    if (instance == NULL) {
        reason[sizeof(reason) - 1] = 0;
        return err_set(info, ERR_NOT_FOUND, "plug-in '%s' does not open: %s", own->plugin->name,
                       reason);
    }
    struct operator_instance *op = MEM_NEW(struct operator_instance);
    op->env = env;
    op->plan = own;
    op->instance = instance;
    *ret_op = op;
    return ERR_OK;
}

static void plugin_close(struct operator_instance *op)
{
    op->plan->plugin->close(op->instance);
    mem_free(op);
}

enum { PLUGIN_ALLOC_MAX = 16 << 20 };

static void *host_alloc(void *ctx, ptrdiff_t bytes)
{
    struct operator_instance *op = ctx;
    return bytes > 0 && bytes <= PLUGIN_ALLOC_MAX ? arena_try_new(op->batch->arena, bytes, 1)
                                                  : NULL;
}

static void host_reject(void *ctx, int32_t row, const char *reason)
{
    struct operator_instance *op = ctx;
    if (row < 0 || row >= op->batch->count) {
        return; /* a mistake of the plug-in's that hurts nobody */
    }
    struct str text = str_of(reason);
    ptrdiff_t len = text.len < PLUGIN_REASON_MAX ? text.len : PLUGIN_REASON_MAX;
    op->reasons[row] = arena_dup(op->batch->arena, text.ptr, len);
    op->verdict[row] = SHADOWCAST_REJECT;
}

static int32_t call(struct operator_instance *op, struct batch *batch,
                    const struct shadowcast_column *in, struct shadowcast_column *out)
{
    struct shadowcast_host host = {
        .size = sizeof(host), .ctx = op, .alloc = host_alloc, .reject = host_reject};
    struct shadowcast_batch view = {
        .size = sizeof(view),
        .row_count = batch->count,
        .sel_count = batch->sel_count,
        .sel = batch->sel,
        .time_ms = batch->time_ms,
        .key = (const struct shadowcast_str *)(const void *)batch->key,
        .value = (const struct shadowcast_str *)(const void *)batch->value,
        .in_count = op->plan->plugin->in_count,
        .in = in,
        .out_count = op->plan->plugin->out_count,
        .out = out,
        .verdict = op->verdict,
    };
    return op->plan->plugin->process(op->instance, &host, &view);
}

/* Every float of a batch is finite; expressions rely on it. */
static void check_floats(struct operator_instance *op, const struct batch *batch, int32_t first)
{
    for (int32_t c = first; c < batch->column_count; c++) {
        const struct column *column = &batch->columns[c];
        for (int32_t k = 0; column->type == VALUE_F64 && k < batch->sel_count; k++) {
            int32_t row = batch->sel[k];
            if (op->verdict[row] == SHADOWCAST_KEEP && !column_is_null(column, row) &&
                !isfinite(COLUMN_F64(column)[row])) {
                op->verdict[row] = SHADOWCAST_REJECT;
                op->reasons[row] = "a plug-in made a number that is not finite";
            }
        }
    }
}

static void apply_verdicts(struct operator_instance *op, struct batch *batch)
{
    int32_t kept = 0;
    for (int32_t k = 0; k < batch->sel_count; k++) {
        int32_t row = batch->sel[k];
        if (op->verdict[row] == SHADOWCAST_REJECT) {
            const char *reason = op->reasons[row];
            operator_reject(op->env, batch, row, reason != NULL ? reason : "rejected by a plug-in");
        } else if (op->verdict[row] == SHADOWCAST_KEEP) {
            batch->sel[kept++] = row;
        }
    }
    batch->sel_count = kept;
}

static enum err plugin_process(struct operator_instance *op, int input, struct batch *batch,
                               struct batch_list *next, struct err_info *info)
{
    IGNORE_RESULT(input); /* all rows are alike */
    const struct shadowcast_plugin *plugin = op->plan->plugin;
    struct shadowcast_column in[BATCH_COLUMNS_MAX];
    struct shadowcast_column out[BATCH_COLUMNS_MAX];
    op->batch = batch;
    op->reasons = arena_new(batch->arena, batch->count, sizeof(char *));
    op->verdict = arena_new(batch->arena, batch->count, 1);
    int32_t first = batch->column_count;
    for (int32_t i = 0; i < plugin->in_count; i++) {
        const struct column *column = &batch->columns[op->plan->in[i]];
        in[i] = (struct shadowcast_column){
            .type = (int32_t)column->type, .data = column->data, .null = column->null};
    }
    for (int32_t i = 0; i < plugin->out_count; i++) {
        int32_t c = batch_add_column(batch, (enum value_type)plugin->out[i].type, true);
        struct column *column = &batch->columns[c];
        memset(column->null, 1, (size_t)batch->count);
        out[i] = (struct shadowcast_column){
            .type = (int32_t)column->type, .data = column->data, .null = column->null};
    }
    int32_t result = call(op, batch, in, out);
    op->batch = NULL;
    if (result == SHADOWCAST_RETRY) {
        batch->column_count = first;
        return err_set(info, ERR_AGAIN, "plug-in '%s' waits for something", plugin->name);
    }
    if (result != SHADOWCAST_OK) {
        return err_set(info, ERR_INTERNAL, "plug-in '%s' failed with %d", plugin->name, result);
    }
    check_floats(op, batch, first);
    apply_verdicts(op, batch);
    if (batch->sel_count > 0) {
        batch_list_add(next, batch);
    }
    return ERR_OK;
}

const struct operator_type operator_plugin = {
    .name = "plugin",
    .compile = plugin_compile,
    .open = plugin_open,
    .close = plugin_close,
    .process = plugin_process,
};
