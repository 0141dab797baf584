// SPDX-License-Identifier: Apache-2.0
/* A candidate becomes the primary's settings: by a plan with one step, priced with what the candidate has measured, applied and
 * undone like any other. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "control/manager_priv.h"
#include "control/shadows_priv.h"

static const struct shadow_entry *named(struct job *job)
{
    int64_t id = job->request->args.operation;
    const struct shadow_entry *entry = shadows_find(&job->control->shadows, id);
    if (entry == NULL || !entry->order.candidate) {
        job_failf(job, ERR_NOT_FOUND,
                  entry == NULL ? "candidate %" PRId64 " is not known; candidate list has them"
                                : "%" PRId64 " is a shadow, not a candidate",
                  id);
        return NULL;
    }
    IGNORE_RESULT(snprintf(job->request->subject, sizeof(job->request->subject), "%s",
                           entry->partition)); /* fits */
    if (strchr(entry->order.settings, '=') == NULL) {
        job_failf(job, ERR_UNSUPPORTED,
                  "candidate %" PRId64
                  " runs a text of its own, not settings: candidate show %" PRId64
                  " --text has it, pipeline replace puts it in force",
                  id, id);
        return NULL;
    }
    if (!(entry->ratio.value > 0)) {
        job_failf(job, ERR_CONFLICT,
                  "candidate %" PRId64 " has not measured yet what it costs against its baseline",
                  id);
        return NULL;
    }
    return entry;
}

void candidate_promote_begin(struct job *job)
{
    struct control *control = job->control;
    struct arena *arena = job->request->arena;
    struct str pipeline, stage, back;
    uint32_t shard, lo, hi;
    struct err_info info;
    const char *refused = "";
    const struct shadow_entry *entry = named(job);
    if (entry == NULL) {
        return;
    }
    int32_t index = config_pipeline_index(control->config, str_of(entry->pipeline));
    if (index < 0 ||
        !partition_id_parse(str_of(entry->partition), &pipeline, &stage, &shard, &lo, &hi)) {
        job_failf(job, ERR_CONFLICT, "its pipeline '%.80s' is not there any more", entry->pipeline);
        return;
    }
    struct candidate_place of = {config_in_force(control, pipeline)->text, pipeline, stage};
    enum err err = candidate_settings_back(arena, &of, entry->order.settings, &back, &info);
    if (err != ERR_OK) {
        job_fail(job, err, &info);
        return;
    }
    const char *place = arena_printf(arena, "%.*s/%.*s: ", STR_ARG(pipeline), STR_ARG(stage));
    struct plan_tuning tuning = {
        .pipeline = index,
        .text = str_of(arena_printf(arena, "%s%s", place, entry->order.settings)),
        .back = str_of(arena_printf(arena, "%s%.*s", place, STR_ARG(back))),
        .work_ratio = fmin(1, entry->ratio.value)};
    tuning.signature = hash64(tuning.text.ptr, tuning.text.len);
    struct plan_step step = {
        .kind = PLAN_STEP_TUNE, .shard = -1, .from = -1, .to = -1, .node = 0, .part = -1};
    int64_t plan =
        manager_propose_plan(control, &step, 1, &tuning, job->request->who.name, &refused);
    if (plan == 0) {
        job_failf(job, ERR_CONFLICT, "candidate %" PRId64 " cannot be a plan: %.180s", entry->id,
                  refused);
        return;
    }
    plan_answer(job, plan, 200);
}
