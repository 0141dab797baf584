// SPDX-License-Identifier: Apache-2.0
#include "node/shadow.h"

/* What shadows may be: asked before anything is opened, by whoever wants to tell a person why not. */

static enum err check_effects(const struct stage_plan *plan, struct err_info *info)
{
    for (int32_t i = 0; i < plan->operator_count; i++) {
        const struct operator_plan *op = plan->operators[i];
        if (op->effects == EFFECTS_UNDECLARED) {
            return err_set(info, ERR_UNSUPPORTED,
                           "operator '%.*s' of stage '%.*s' has effects outside that it does not "
                           "declare: it does not run in a shadow",
                           STR_ARG(op->name), STR_ARG(plan->name));
        }
    }
    return ERR_OK;
}

static enum err check_sample(const struct stage_plan *plan, const struct shadow_sample *sample,
                             struct err_info *info)
{
    if (sample->below > SAMPLE_BUCKETS || sample->groups_below > KEY_GROUP_COUNT ||
        sample->heavy_count < 0 || sample->left_count < 0 ||
        sample->heavy_count > SHADOW_HEAVY_MAX || sample->left_count > SHADOW_HEAVY_MAX) {
        return err_set(info, ERR_INVALID, "a sample of %u of %d buckets and %d + %d named keys",
                       sample->below, SAMPLE_BUCKETS, sample->heavy_count, sample->left_count);
    }
    if (sample->below == 0 && sample->heavy_count == 0) {
        return err_set(info, ERR_INVALID, "the sample is empty");
    }
    for (int32_t i = 0; sample->by == SHADOW_BY_RECORD && i < plan->operator_count; i++) {
        const struct operator_plan *op = plan->operators[i];
        if (op->space_count > 0) {
            return err_set(info, ERR_UNSUPPORTED,
                           "operator '%.*s' keeps state of its keys: sample by key, by record is "
                           "for stages without state",
                           STR_ARG(op->name));
        }
    }
    return ERR_OK;
}

/* Where the tables of a stage's lookups come from. */
static bool same_lookups(const struct stage_plan *a, const struct stage_plan *b)
{
    if (a->lookup_count != b->lookup_count) {
        return false;
    }
    for (int32_t i = 0; i < a->lookup_count; i++) {
        const struct lookup_spec *x = &a->lookups[i], *y = &b->lookups[i];
        struct str sx = x->stream != NULL ? x->stream->name : (struct str){NULL, 0};
        struct str sy = y->stream != NULL ? y->stream->name : (struct str){NULL, 0};
        if (!str_equal(x->file, y->file) || !str_equal(sx, sy) ||
            !str_equal(x->format, y->format) || !str_equal(x->key_field, y->key_field)) {
            return false;
        }
    }
    return true;
}

static enum err check_same_reading(const struct stage_plan *primary,
                                   const struct stage_plan *candidate, struct err_info *info)
{
    bool same = primary->input_count == candidate->input_count;
    for (int32_t i = 0; same && i < primary->input_count; i++) {
        same = str_equal(primary->inputs[i].stream->name, candidate->inputs[i].stream->name) &&
               primary->inputs[i].kind == candidate->inputs[i].kind;
    }
    if (!same) {
        return err_set(info, ERR_UNSUPPORTED,
                       "the candidate of stage '%.*s' reads other streams than the primary",
                       STR_ARG(primary->name));
    }
    if (!same_lookups(primary, candidate)) {
        return err_set(info, ERR_UNSUPPORTED,
                       "the candidate of stage '%.*s' looks up other tables than the primary",
                       STR_ARG(primary->name));
    }
    return ERR_OK;
}

enum err shadow_check(const struct stage *stage, const struct shadow_spec *spec,
                      struct err_info *info)
{
    const struct stage_plan *plan = spec->candidate != NULL ? spec->candidate->plan : stage->plan;
    if (spec->id == 0) {
        return err_set(info, ERR_INVALID, "a shadow needs an id above 0");
    }
    if (spec->shard >= (uint32_t)stage->shard_count || spec->group_lo >= spec->group_hi ||
        spec->group_hi > KEY_GROUP_COUNT) {
        return err_set(info, ERR_INVALID,
                       "shard %u, key groups [%u, %u): the stage has shards 0..%d, groups 0..%d",
                       spec->shard, spec->group_lo, spec->group_hi, stage->shard_count - 1,
                       KEY_GROUP_COUNT);
    }
    if (spec->warm_batches < 0 || spec->records_max < 0 || spec->backlog_records < 0 ||
        spec->backlog_wait_ns < 0 || spec->lag_records_max < 0) {
        return err_set(info, ERR_INVALID, "a number below 0 in what a shadow is told");
    }
    if (spec->candidate != NULL) {
        enum err err = check_same_reading(stage->plan, plan, info);
        if (err != ERR_OK) {
            return err;
        }
    }
    enum err err = check_sample(plan, &spec->sample, info);
    return err == ERR_OK ? check_effects(plan, info) : err;
}

enum err shadow_candidate_stage(const struct stage *primary, const struct stage_plan *plan,
                                bool drop_state, struct stage *ret_stage, struct err_info *info)
{
    enum err err = check_same_reading(primary->plan, plan, info);
    if (err != ERR_OK) {
        return err;
    }
    *ret_stage = *primary;
    ret_stage->plan = plan;
    ret_stage->drop_state = drop_state;
    return ERR_OK;
}
