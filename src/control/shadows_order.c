// SPDX-License-Identifier: Apache-2.0
/* From an order to a shadow: what is meant, whether it may be, what runs instead of the primary's settings. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "control/shadows_priv.h"

enum { TEXT_ARENA_MAX = 256 << 20 };

struct shadowstore *shadow_store_of(const struct control *control, const char *name)
{
    for (int32_t i = 0; i < control->store_count; i++) {
        if (str_is(control->stores[i].name, name)) {
            return control->stores[i].store;
        }
    }
    return NULL;
}

enum err shadow_store_check(const struct control *control, const char *name, struct err_info *info)
{
    char names[ERR_TEXT_MAX] = "memory";
    size_t used = strlen(names);
    if (strcmp(name, "memory") == 0 || shadow_store_of(control, name) != NULL) {
        return ERR_OK;
    }
    for (int32_t i = 0; i < control->store_count && used < sizeof(names); i++) {
        struct str own = control->stores[i].name;
        if (!str_is(own, "memory")) {
            int n = snprintf(names + used, sizeof(names) - used, ", %.*s", STR_ARG(own));
            used += n > 0 ? (size_t)n : 0;
        }
    }
    return err_set(info, ERR_NOT_FOUND, "there is no shadow store '%.60s'; there are: %.150s", name,
                   names);
}

/* What every shadow needs, whoever wants it: entry and run know the partition, the node agrees, the budget has room. */
static enum err check(struct control *control, struct shadow_entry *entry, struct err_info *info)
{
    struct shadow_run *run = entry->run;
    const struct stage *stage = node_runtime_stage(control->runtime, run->stage);
    struct shadowing *shadowing = shadowing_of(control, str_of(entry->pipeline));
    double share = 0;
    /* The lane is asked with the same words later; here only whether such a shadow can be at all. */
    struct shadow_spec spec = {.id = 1,
                               .stage = run->stage,
                               .candidate = run->candidate,
                               .shard = run->place.shard,
                               .group_lo = run->place.group_lo,
                               .group_hi = run->place.group_hi,
                               .transport = entry->order.transport,
                               .feed = entry->order.feed};
    if (entry->order.by == SHADOW_BY_RECORD) {
        shadow_sample_records(entry->order.percent, &spec.sample);
    } else {
        struct shadow_strata strata;
        shadow_sample_choose(NULL, 0, 0, entry->order.percent, &spec.sample, &strata);
    }
    if (node_runtime_shadow_lane(control->runtime) == NULL) {
        return err_set(info, ERR_UNSUPPORTED, "this process has no lane for shadows");
    }
    enum err err = shadow_check(stage, &spec, info);
    if (err == ERR_OK && shadows_active(&control->shadows, NULL) >= SHADOWS_ACTIVE_MAX) {
        err = err_set(info, ERR_LIMIT, "%d shadows run, more than that do not; stop one first",
                      SHADOWS_ACTIVE_MAX);
    }
    if (err == ERR_OK) {
        err = shadow_budget_admit(&shadowing->settings, shadowing->cores,
                                  shadows_active(&control->shadows, entry->pipeline), &share, info);
    }
    return err;
}

static void fill(struct control *control, int32_t stage_index, const struct partition_place *place,
                 const struct shadow_order *order, struct shadow_entry *entry)
{
    const struct stage *stage = node_runtime_stage(control->runtime, stage_index);
    struct shadow_run *run = entry->run;
    char id[PARTITION_ID_MAX];
    partition_id_text(id, stage->plan->pipeline, stage->plan->name, place->shard, place->group_lo,
                      place->group_hi);
    IGNORE_RESULT(snprintf(entry->partition, sizeof(entry->partition), "%s", id)); /* fits */
    IGNORE_RESULT(snprintf(entry->pipeline, sizeof(entry->pipeline), "%.*s",
                           STR_ARG(stage->plan->pipeline))); /* fits */
    entry->order = *order;
    entry->percent = order->percent;
    life_init(&entry->life, order->duration_ns);
    run->stage = stage_index;
    run->plan = stage->plan;
    run->place = *place;
    run->report = (struct partition_report){.stage = -1};
    const struct partition_report *report = shadow_primary_report(control, run);
    if (report != NULL) {
        run->report = *report;
        run->reported = true;
    }
}

/* --- candidates --- */

/* The stage of the same name in another text. */
static const struct stage_plan *stage_in(const struct config *config, const struct stage_plan *of)
{
    const struct pipeline_plan *pipeline = config_pipeline(config, of->pipeline);
    for (int32_t i = 0; pipeline != NULL && i < pipeline->stage_count; i++) {
        if (str_equal(pipeline->stages[i]->name, of->name)) {
            return pipeline->stages[i];
        }
    }
    return NULL;
}

/* What is to run instead: settings, or a whole configuration. */
struct candidate_words {
    const char *settings; /* "": none */
    struct str body;
    bool drop_state;
};

/* Compiles what the candidate runs: settings put into the text in force, or a text of its own. */
static enum err make_candidate(struct control *control, const struct candidate_words *words,
                               struct shadow_entry *entry, struct err_info *info)
{
    struct shadow_run *run = entry->run;
    const struct stage *stage = node_runtime_stage(control->runtime, run->stage);
    const char *settings = words->settings;
    struct str text = words->body;
    arena_init(&run->arena, TEXT_ARENA_MAX);
    run->has_arena = true;
    if ((settings[0] != 0) == (words->body.len > 0)) {
        return err_set(info, ERR_INVALID,
                       "a candidate wants either 'set', operator.key=value, or another "
                       "configuration as the body");
    }
    if (settings[0] != 0) {
        struct candidate_place of = {config_in_force(control, run->plan->pipeline)->text,
                                     run->plan->pipeline, run->plan->name};
        enum err err = candidate_text(&run->arena, &of, settings, &text, info);
        if (err != ERR_OK) {
            return err;
        }
    }
    enum err err = config_load(&run->arena, "candidate", text, &run->config, info);
    if (err != ERR_OK) {
        return err;
    }
    const struct stage_plan *plan = stage_in(run->config, run->plan);
    if (plan == NULL) {
        return err_set(info, ERR_NOT_FOUND,
                       "the candidate's text has no stage '%.*s' in a pipeline '%.*s'",
                       STR_ARG(run->plan->name), STR_ARG(run->plan->pipeline));
    }
    run->candidate = MEM_NEW(struct stage);
    return shadow_candidate_stage(stage, plan, words->drop_state, run->candidate, info);
}

enum err shadow_order_cast(struct control *control, int32_t stage,
                           const struct partition_place *place, const struct shadow_order *order,
                           struct shadow_entry *entry, struct err_info *info)
{
    fill(control, stage, place, order, entry);
    struct shadow_entry *other = shadows_find_cast(&control->shadows, entry->partition);
    if (other != NULL) {
        return err_set(info, ERR_CONFLICT, "shadow %" PRId64 " of it runs already", other->id);
    }
    struct candidate_words words = {.settings = order->settings, .body = STR("")};
    enum err err = order->candidate ? make_candidate(control, &words, entry, info) : ERR_OK;
    return err == ERR_OK ? check(control, entry, info) : err;
}

/* --- orders by a person --- */

static enum err read_order(struct control *control, const struct control_args *args, bool candidate,
                           const struct shadowing *shadowing, struct shadow_order *order,
                           struct err_info *info)
{
    bool has_percent = !isnan(args->percent), has_duration = !isnan(args->duration_seconds);
    *order = (struct shadow_order){
        .candidate = candidate,
        .cause = LIFE_CAUSE_PERSON,
        .percent = has_percent ? args->percent : shadowing->settings.percent,
        .duration_ns = has_duration ? (int64_t)(args->duration_seconds * 1e9)
                                    : shadowing->settings.duration_ns,
        .by = args->sampling == 1 ? SHADOW_BY_RECORD : SHADOW_BY_KEY,
        .transport = args->transport == 1 ? SHADOW_QUEUE : SHADOW_VIEW,
        .feed = args->feed == 1 ? SHADOW_BACKLOG : SHADOW_FOLLOW,
        /* What a backlog costs is told against what records cost as they come. */
        .twin = candidate || args->twin || args->feed == 1,
        .adaptive = args->adaptive};
    IGNORE_RESULT(snprintf(order->store, sizeof(order->store), "%s",
                           args->store[0] != 0 ? args->store : shadowing->store)); /* fits */
    IGNORE_RESULT(snprintf(order->settings, sizeof(order->settings), "%s",
                           !candidate               ? ""
                           : args->settings[0] != 0 ? args->settings
                                                    : "another text")); /* bound by the route */
    enum err err = shadow_percent_check(order->percent, info);
    if (err == ERR_OK) {
        err = shadow_duration_check(order->duration_ns, info);
    }
    return err == ERR_OK ? shadow_store_check(control, order->store, info) : err;
}

/* "p/s/0/0-4096" into the arguments that partition_named() reads. */
static enum err split_id(const struct control *control, struct control_args *args,
                         struct err_info *info)
{
    struct str pipeline, stage;
    uint32_t shard, lo, hi;
    char *end = NULL;
    int64_t number = strtoll(args->subject, &end, 10);
    if (args->subject[0] != 0 && *end == 0) {
        return err_set(info, ERR_INVALID,
                       shadows_find(&control->shadows, number) != NULL
                           ? "%s is a shadow: a shadow has none of its own; name its partition, "
                             "pipeline/stage/shard/lo-hi"
                           : "'%s' is no partition: its id is pipeline/stage/shard/lo-hi; GET "
                             "/api/v1/partitions lists them",
                       args->subject);
    }
    if (!partition_id_parse(str_of(args->subject), &pipeline, &stage, &shard, &lo, &hi) ||
        pipeline.len > CONTROL_NAME_MAX || stage.len > CONTROL_NAME_MAX) {
        return err_set(info, ERR_INVALID,
                       "'%.120s' is no partition: its id is pipeline/stage/shard/lo-hi; GET "
                       "/api/v1/partitions lists them",
                       args->subject);
    }
    IGNORE_RESULT(snprintf(args->pipeline, sizeof(args->pipeline), "%.*s", STR_ARG(pipeline)));
    IGNORE_RESULT(snprintf(args->stage, sizeof(args->stage), "%.*s", STR_ARG(stage)));
    IGNORE_RESULT(snprintf(args->range, sizeof(args->range), "%u-%u", lo, hi)); /* all fit */
    args->shard = shard;
    return ERR_OK;
}

enum err shadow_order_read(struct control *control, struct control_request *request, bool candidate,
                           struct shadow_entry *entry, struct err_info *info)
{
    struct shadow_order order;
    struct partition_place place;
    int32_t stage = 0;
    struct control_args *args = &request->args;
    enum err err = split_id(control, args, info);
    if (err == ERR_OK) {
        err = partition_named(control, args, &stage, &place, info);
    }
    if (err != ERR_OK) {
        return err;
    }
    const struct shadowing *shadowing = shadowing_of(control, str_of(args->pipeline));
    err = read_order(control, args, candidate, shadowing, &order, info);
    if (err != ERR_OK) {
        return err;
    }
    fill(control, stage, &place, &order, entry);
    memcpy(entry->who, request->who.name, sizeof(entry->who));
    memcpy(entry->key, args->idempotency_key, sizeof(entry->key));
    if (candidate) {
        struct candidate_words words = {args->settings, request->body, args->drop_state};
        err = make_candidate(control, &words, entry, info);
    }
    return err == ERR_OK ? check(control, entry, info) : err;
}
