// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "node/bytes.h"
#include "node/change_priv.h"

/* Another text of a pipeline that runs: what may differ, what it touches, and the record that keeps it over restarts. */

enum { TEXT_FORMAT = 1, TEXT_HEAD_BYTES = 9 };

bool runtime_text_key(struct str pipeline, char key[128])
{
    int len = snprintf(key, 128, "text/%.*s", STR_ARG(pipeline));
    return len > 0 && len < 128;
}

/* --- comparing --- */

static struct str name_of(const struct stream_spec *spec)
{
    return spec != NULL ? spec->name : STR("");
}

static bool same_stream(const struct stream_spec *a, const struct stream_spec *b)
{
    return str_equal(name_of(a), name_of(b)) &&
           (a == NULL ||
            (a->shard_count == b->shard_count && a->codec == b->codec &&
             a->out_of_order_ms == b->out_of_order_ms && a->idle_after_ns == b->idle_after_ns &&
             str_equal(a->time_field, b->time_field)));
}

static bool same_inputs(const struct stage_plan *a, const struct stage_plan *b)
{
    bool same = a->input_count == b->input_count;
    for (int32_t i = 0; same && i < a->input_count; i++) {
        const struct stage_input *x = &a->inputs[i], *y = &b->inputs[i];
        same = x->kind == y->kind && same_stream(x->stream, y->stream) &&
               (x->kind == STAGE_SOURCE_STREAM || x->stage == y->stage);
    }
    return same;
}

static bool same_lookups(const struct stage_plan *a, const struct stage_plan *b)
{
    bool same = a->lookup_count == b->lookup_count;
    for (int32_t i = 0; same && i < a->lookup_count; i++) {
        const struct lookup_spec *x = &a->lookups[i], *y = &b->lookups[i];
        same = str_equal(x->name, y->name) && str_equal(x->file, y->file) &&
               str_equal(x->format, y->format) && str_equal(x->key_field, y->key_field) &&
               str_equal(name_of(x->stream), name_of(y->stream));
    }
    return same;
}

/* What of a stage differs that only a restart can change; NULL: nothing. */
static const char *restart_needed(const struct stage_plan *a, const struct stage_plan *b)
{
    if (!str_equal(a->name, b->name)) {
        return "its name";
    }
    if (!same_inputs(a, b)) {
        return "what it reads";
    }
    if (a->key_by != b->key_by || !same_stream(a->output, b->output) ||
        !same_stream(a->dead_letter, b->dead_letter) || !same_stream(a->late, b->late) ||
        a->internal_bytes_max != b->internal_bytes_max) {
        return "what it writes";
    }
    if (a->partitions_per_shard != b->partitions_per_shard) {
        return "its partitions (split or merge them instead)";
    }
    return same_lookups(a, b) ? NULL : "its lookup tables";
}

static int32_t first_stage_of(const struct node_runtime *rt, struct str pipeline)
{
    for (int32_t i = 0; i < rt->stage_count; i++) {
        const struct stage *stage = rt->stages[i];
        if (str_equal(stage->plan->pipeline, pipeline)) {
            return i;
        }
    }
    return -1;
}

static int32_t stages_of(const struct node_runtime *rt, int32_t first)
{
    const struct stage *stage = rt->stages[first];
    const struct pipeline_plan *plan = stage->pipeline->plan;
    return plan->stage_count;
}

enum err text_compare(struct node_runtime *rt, const struct pipeline_plan *next,
                      bool affected[STAGES_MAX], int32_t *ret_first, struct err_info *info)
{
    int32_t first = first_stage_of(rt, next->name);
    if (first < 0) {
        return err_set(info, ERR_UNSUPPORTED,
                       "pipeline %.*s does not run; put it into the file and start again",
                       STR_ARG(next->name));
    }
    if (next->stage_count != stages_of(rt, first)) {
        return err_set(info, ERR_UNSUPPORTED,
                       "pipeline %.*s has %d stages, the new text %d; put it into the file and "
                       "start again",
                       STR_ARG(next->name), stages_of(rt, first), next->stage_count);
    }
    for (int32_t i = 0; i < next->stage_count; i++) {
        const struct stage *stage = rt->stages[first + i];
        const struct stage_plan *plan = next->stages[i];
        const char *what = restart_needed(stage->plan, plan);
        if (what != NULL) {
            return err_set(info, ERR_UNSUPPORTED,
                           "the new text changes %s of stage %.*s; put it into the file and start "
                           "again",
                           what, STR_ARG(stage->plan->name));
        }
        affected[i] = !str_equal(stage->plan->text, plan->text);
        for (int32_t k = 0; k < plan->input_count; k++) { /* its rows have the columns of that */
            affected[i] |=
                plan->inputs[k].kind == STAGE_SOURCE_STAGE && affected[plan->inputs[k].stage];
        }
    }
    *ret_first = first;
    return ERR_OK;
}

static bool has_space(const struct stage_plan *plan, const struct state_space_options *space)
{
    for (int32_t i = 0; i < plan->operator_count; i++) {
        for (int32_t k = 0; k < plan->operators[i]->space_count; k++) {
            const struct state_space_options *own = &plan->operators[i]->spaces[k];
            if (str_equal(own->name, space->name)) {
                return str_equal(own->schema, space->schema) &&
                       own->payload_bytes == space->payload_bytes && own->timed == space->timed &&
                       own->tails == space->tails && own->composite == space->composite;
            }
        }
    }
    return false;
}

static bool has_spaces_of(const struct stage_plan *plan, const struct stage_plan *other)
{
    for (int32_t i = 0; i < other->operator_count; i++) {
        for (int32_t k = 0; k < other->operators[i]->space_count; k++) {
            if (!has_space(plan, &other->operators[i]->spaces[k])) {
                return false;
            }
        }
    }
    return true;
}

bool text_keeps_state(const struct change *change, int32_t stage)
{
    return change->same_spaces[stage - change->first_stage];
}

/* --- in force --- */

void text_put_in_force(struct node_runtime *rt, const struct config *config,
                       const struct pipeline_plan *next, const bool affected[STAGES_MAX],
                       int32_t first, bool drop_state)
{
    const struct stage *any = rt->stages[first];
    any->pipeline->plan = next;
    for (int32_t i = 0; i < next->stage_count; i++) {
        if (!affected[i]) {
            continue;
        }
        const struct stage *old = rt->stages[first + i];
        struct stage *stage = ARENA_NEW(&rt->arena, struct stage);
        *stage = *old;
        stage->plan = next->stages[i];
        stage->drop_state = old->drop_state || drop_state;
        rt->stages[first + i] = stage;
    }
    for (int32_t p = 0; p < rt->options.config->pipeline_count; p++) {
        if (str_equal(rt->texts[p].pipeline, next->name)) {
            rt->texts[p].config = config;
        }
    }
}

const struct config *node_runtime_pipeline_config(const struct node_runtime *rt,
                                                  struct str pipeline)
{
    for (int32_t p = 0; p < rt->options.config->pipeline_count; p++) {
        if (str_equal(rt->texts[p].pipeline, pipeline)) {
            return rt->texts[p].config;
        }
    }
    return NULL;
}

/* --- the record --- */

static uint64_t file_hash(const struct node_runtime *rt)
{
    struct str text = rt->options.config->text;
    return hash64(text.ptr, text.len);
}

ptrdiff_t text_bytes(const struct change *change)
{
    return TEXT_HEAD_BYTES + change->spec.config->text.len;
}

void text_encode(const struct change *change, uint8_t *buf)
{
    struct str text = change->spec.config->text;
    uint8_t *at = put_u8(buf, TEXT_FORMAT);
    at = put_u64(at, file_hash(change->rt));
    memcpy(at, text.ptr, (size_t)text.len);
}

static struct runtime_text *text_of(const struct change *change)
{
    struct node_runtime *rt = change->rt;
    struct str name = change->spec.config->pipelines[change->spec.pipeline]->name;
    for (int32_t p = 0; p < rt->options.config->pipeline_count; p++) {
        if (str_equal(rt->texts[p].pipeline, name)) {
            return &rt->texts[p];
        }
    }
    CHECK_MSG(false, "pipeline %.*s runs: that was checked", STR_ARG(name));
    return NULL;
}

int64_t text_version(const struct change *change)
{
    return text_of(change)->version;
}

void text_written(struct change *change, int64_t version)
{
    text_of(change)->version = version;
    change_close_all(change);
}

void text_take_force(struct change *change)
{
    const struct pipeline_plan *next = change->spec.config->pipelines[change->spec.pipeline];
    for (int32_t i = 0; i < next->stage_count; i++) {
        const struct stage *stage = change->rt->stages[change->first_stage + i];
        change->same_spaces[i] = has_spaces_of(stage->plan, next->stages[i]) &&
                                 has_spaces_of(next->stages[i], stage->plan);
    }
    text_put_in_force(change->rt, change->spec.config, next, change->affected, change->first_stage,
                      (change->spec.flags & CHANGE_DROP_STATE) != 0);
}

enum err text_take_record(struct node_runtime *rt, struct runtime_text *text, struct str bytes,
                          bool *ret_void, struct err_info *info)
{
    uint8_t format;
    uint64_t base;
    *ret_void = !take_u8(&bytes, &format) || format != TEXT_FORMAT || !take_u64(&bytes, &base) ||
                base != file_hash(rt);
    if (*ret_void) {
        return ERR_OK;
    }
    const struct config *config = NULL;
    struct str copy = {arena_dup(&rt->arena, bytes.ptr, bytes.len), bytes.len};
    struct err_info why = {0};
    enum err err = rt->options.load(&rt->arena, "replaced-text", copy, &config, &why);
    const struct pipeline_plan *next = NULL;
    for (int32_t p = 0; err == ERR_OK && p < config->pipeline_count; p++) {
        next = str_equal(config->pipelines[p]->name, text->pipeline) ? config->pipelines[p] : next;
    }
    bool affected[STAGES_MAX] = {0};
    int32_t first = 0;
    if (err == ERR_OK && next != NULL) {
        err = text_compare(rt, next, affected, &first, &why);
    }
    if (err != ERR_OK || next == NULL) {
        return err_set(info, err != ERR_OK ? err : ERR_CORRUPT,
                       "the text that replaced pipeline %.*s while it ran cannot be used: %.150s; "
                       "edit the file, which makes it void",
                       STR_ARG(text->pipeline), why.text);
    }
    text->version = rt->op.u.control.ret_version;
    /* What the chains of then lost was asked to be dropped; what other text wrote since is compared as at any start. */
    text_put_in_force(rt, config, next, affected, first, true);
    return ERR_OK;
}
