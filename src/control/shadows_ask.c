// SPDX-License-Identifier: Apache-2.0
/* Orders and questions about shadows, answered. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "control/shadows_priv.h"

enum { DIFFERENCES_MAX = 64, PAGE_ARENA_MAX = 8 << 20 };

static bool of_candidates(const struct control_request *request)
{
    return request->kind >= CONTROL_CANDIDATE_LIST && request->kind <= CONTROL_CANDIDATE_TEXT;
}

static const char *word_of(const struct control_request *request)
{
    return of_candidates(request) ? "candidate" : "shadow";
}

static void answer_row(struct job *job, const struct shadow_entry *entry, int status)
{
    struct control_request *request = job->request;
    struct shadow_row *row = ARENA_NEW(request->arena, struct shadow_row);
    struct shadow_entry *copy = ARENA_NEW(request->arena, struct shadow_entry);
    *copy = *entry; /* texts outlive the entry */
    *row = shadow_row_of(copy, job->control->now_ns, request->arena);
    request->rows = (struct control_rows){.entity = &shadow_entity, .rows = row, .count = 1};
    request->status = status;
    job_answer(job);
}

/* --- lists and one --- */

void shadow_list_begin(struct job *job)
{
    struct control_request *request = job->request;
    const struct shadows *shadows = &job->control->shadows;
    bool candidates = of_candidates(request);
    struct shadow_row *rows =
        ARENA_NEW_ARRAY(request->arena, struct shadow_row, request->args.limit);
    int32_t count = 0;
    for (int32_t i = shadows->count - 1; i >= 0 && count < request->args.limit; i--) {
        const struct shadow_entry *entry = shadows->all[i];
        if (entry->order.candidate == candidates && (!request->args.active || entry->run != NULL)) {
            struct shadow_entry *copy = ARENA_NEW(request->arena, struct shadow_entry);
            *copy = *entry;
            rows[count++] = shadow_row_of(copy, job->control->now_ns, request->arena);
        }
    }
    request->rows = (struct control_rows){.entity = &shadow_entity, .rows = rows, .count = count};
    job_answer(job);
}

/* The one with that number, or the job is failed. */
static struct shadow_entry *named(struct job *job, int64_t id)
{
    const struct control_request *request = job->request;
    const struct shadows *shadows = &job->control->shadows;
    struct shadow_entry *entry = shadows_find(shadows, id);
    if (entry != NULL && entry->order.candidate == of_candidates(request)) {
        return entry;
    }
    if (entry != NULL) {
        job_failf(job, ERR_NOT_FOUND, "%" PRId64 " is a %s, not a %s", id,
                  entry->order.candidate ? "candidate" : "shadow", word_of(request));
    } else if (shadows->count == 0) {
        job_failf(job, ERR_NOT_FOUND, "%s %" PRId64 " is not known; there are none yet",
                  word_of(request), id);
    } else {
        job_failf(job, ERR_NOT_FOUND,
                  "%s %" PRId64 " is not known; the numbers %" PRId64 " to %" PRId64 " are",
                  word_of(request), id, shadows->all[0]->id, shadows->last_id);
    }
    return NULL;
}

void shadow_get_begin(struct job *job)
{
    struct control *control = job->control;
    struct control_request *request = job->request;
    const struct shadow_entry *entry = named(job, request->args.operation);
    if (entry == NULL) {
        return;
    }
    if (entry->life.state == LIFE_ENDED || request->args.wait_seconds == 0) {
        answer_row(job, entry, 0);
        return;
    }
    request->deadline_ns = control->now_ns + request->args.wait_seconds * 1000000000LL;
    job_list_push(&control->shadow_waiters, job);
}

/* Those that wait for an end, or for the time to be over. */
int64_t shadows_answer(struct control *control)
{
    int64_t next_ns = CLOCK_NEVER;
    struct job_list waiting = control->shadow_waiters;
    struct job *job = NULL;
    control->shadow_waiters = (struct job_list){NULL, NULL};
    while ((job = job_list_pop(&waiting)) != NULL) {
        const struct control_request *request = job->request;
        const struct shadow_entry *entry = shadows_find(&control->shadows, request->args.operation);
        bool over = control->draining || control->now_ns >= request->deadline_ns;
        if (entry == NULL) {
            job_failf(job, ERR_NOT_FOUND, "it was forgotten meanwhile");
        } else if (over || entry->run == NULL) {
            answer_row(job, entry, 0);
        } else {
            next_ns = request->deadline_ns < next_ns ? request->deadline_ns : next_ns;
            job_list_push(&control->shadow_waiters, job);
        }
    }
    return next_ns;
}

/* --- orders --- */

void shadow_start_begin(struct job *job)
{
    struct control *control = job->control;
    struct control_request *request = job->request;
    struct err_info info;
    struct shadow_entry *known = shadows_find_key(&control->shadows, request->args.idempotency_key);
    memcpy(request->subject, request->args.subject, sizeof(request->subject));
    if (known != NULL) {
        answer_row(job, known, 200); /* the same call again begins nothing */
        return;
    }
    struct shadow_entry *entry = shadow_entry_new(control, job);
    enum err err = shadow_order_read(control, request, of_candidates(request), entry, &info);
    if (err != ERR_OK) {
        shadow_run_free(entry);
        mem_free(entry);
        job_fail(job, err, &info);
        return;
    }
    shadow_begin(control, entry);
}

void shadow_stop_begin(struct job *job)
{
    struct control *control = job->control;
    struct shadow_entry *entry = named(job, job->request->args.operation);
    if (entry == NULL) {
        return;
    }
    memcpy(job->request->subject, entry->partition, sizeof(job->request->subject));
    if (entry->life.state == LIFE_ENDED) {
        job_failf(job, ERR_CONFLICT, "%s %" PRId64 " has ended (%s): nothing to stop",
                  word_of(job->request), entry->id, life_outcome_name(entry->life.outcome));
        return;
    }
    shadow_tell(control, entry, LIFE_EVENT_STOP);
    answer_row(job, entry, 202);
}

/* --- profiles --- */

/* As JSON: of one that runs as of its last look. */
static struct str profile_of_entry(struct control *control, struct shadow_entry *entry,
                                   struct arena *arena)
{
    struct text text;
    if (entry->run == NULL) {
        return str_of(entry->profile);
    }
    text_init(&text, arena);
    profile_write(control, entry, &text);
    return text_str(&text);
}

void shadow_profile_begin(struct job *job)
{
    struct control_request *request = job->request;
    struct shadow_entry *entry = named(job, request->args.operation);
    if (entry == NULL) {
        return;
    }
    struct str json = profile_of_entry(job->control, entry, request->arena);
    if (json.len == 0) {
        job_failf(job, ERR_NOT_FOUND,
                  "%s %" PRId64 " has no profile: it ended as %s before it measured",
                  word_of(request), entry->id, life_outcome_name(entry->life.outcome));
        return;
    }
    text_add(&request->text, json);
    text_add(&request->text, STR("\n"));
    job_answer(job);
}

void candidate_text_begin(struct job *job)
{
    struct shadow_entry *entry = named(job, job->request->args.operation);
    if (entry == NULL) {
        return;
    }
    if (entry->run == NULL || entry->run->config == NULL) {
        job_failf(job, ERR_CONFLICT, "candidate %" PRId64 " has ended; its settings were: %.180s",
                  entry->id, entry->order.settings);
        return;
    }
    text_add(&job->request->text, entry->run->config->text);
    job_answer(job);
}

/* --- two profiles, figure by figure --- */

static double member(const json_t *row, const char *name)
{
    const json_t *value = json_object_get(row, name);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static const json_t *figure_named(const json_t *figures, const char *name)
{
    size_t index = 0;
    json_t *row = NULL;
    json_array_foreach(figures, index, row)
    {
        const char *own = json_string_value(json_object_get(row, "name"));
        if (own != NULL && strcmp(own, name) == 0) {
            return row;
        }
    }
    return NULL;
}

static struct str copied(struct arena *arena, const json_t *text)
{
    const char *value = json_string_value(text);
    struct str str = str_of(value != NULL ? value : "");
    return (struct str){arena_dup(arena, str.ptr, str.len), str.len};
}

static int32_t compare_figures(const json_t *first, const json_t *second, struct arena *arena,
                               struct difference_row *rows)
{
    const json_t *figures = json_object_get(first, "figures");
    int32_t count = 0;
    size_t index = 0;
    json_t *a = NULL;
    json_array_foreach(figures, index, a)
    {
        const char *name = json_string_value(json_object_get(a, "name"));
        const json_t *b =
            name != NULL ? figure_named(json_object_get(second, "figures"), name) : NULL;
        if (b == NULL || count == DIFFERENCES_MAX) {
            continue;
        }
        double one = member(a, "value"), two = member(b, "value");
        rows[count++] = (struct difference_row){
            .name = copied(arena, json_object_get(a, "name")),
            .first = one,
            .second = two,
            .change_ratio = one > 0 || one < 0 ? two / one - 1 : (double)NAN,
            .apart = member(a, "high") < member(b, "low") || member(b, "high") < member(a, "low"),
            .unit = copied(arena, json_object_get(a, "unit"))};
    }
    return count;
}

void shadow_compare_begin(struct job *job)
{
    struct control_request *request = job->request;
    struct arena *arena = request->arena;
    int64_t ids[2] = {request->args.operation, request->args.other};
    json_t *pages[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        struct shadow_entry *entry = named(job, ids[i]);
        struct str json =
            entry != NULL ? profile_of_entry(job->control, entry, arena) : (struct str){NULL, 0};
        if (entry != NULL && json.len == 0) {
            job_failf(job, ERR_NOT_FOUND, "shadow %" PRId64 " has no profile to compare", ids[i]);
        }
        if (json.len == 0) {
            json_decref(pages[0]);
            return;
        }
        pages[i] = json_loadb(json.ptr, (size_t)json.len, 0, NULL);
    }
    struct difference_row *rows = ARENA_NEW_ARRAY(arena, struct difference_row, DIFFERENCES_MAX);
    int32_t count = compare_figures(pages[0], pages[1], arena, rows);
    json_decref(pages[0]);
    json_decref(pages[1]);
    request->rows =
        (struct control_rows){.entity = &difference_entity, .rows = rows, .count = count};
    job_answer(job);
}

/* --- settings of a pipeline --- */

static struct shadowing_row shadowing_row_of(struct control *control,
                                             const struct shadowing *shadowing, struct arena *arena)
{
    const struct shadow_settings *s = &shadowing->settings;
    const int64_t *ended = shadowing->ended;
    const char *name = arena_dup(arena, shadowing->pipeline.ptr, shadowing->pipeline.len);
    struct str store = str_of(shadowing->store);
    return (struct shadowing_row){.name = shadowing->pipeline,
                                  .automatic = s->automatic,
                                  .percent = s->percent,
                                  .threshold_ratio = s->threshold,
                                  .sustain_seconds = (double)s->sustain_ns / 1e9,
                                  .duration_seconds = (double)s->duration_ns / 1e9,
                                  .store = {arena_dup(arena, store.ptr, store.len), store.len},
                                  .budget_ratio = s->budget_share,
                                  .budget_cores = s->budget_cores,
                                  .allowed_cores = shadow_budget_cores(s, shadowing->cores),
                                  .running = shadows_active(&control->shadows, name),
                                  .begun = shadowing->begun,
                                  .answered = ended[LIFE_END_ANSWERED],
                                  .yielded = ended[LIFE_END_RESOURCES],
                                  .failed = ended[LIFE_END_FAILED] + ended[LIFE_END_REFUSED],
                                  .pressed = shadow_guard_pressed(&shadowing->guard)};
}

struct control_rows shadowing_rows(struct control *control, struct control_request *request)
{
    int32_t count = control->watch.count;
    struct shadowing_row *rows = ARENA_NEW_ARRAY(request->arena, struct shadowing_row, count);
    for (int32_t i = 0; i < count; i++) {
        rows[i] = shadowing_row_of(control, &control->watch.all[i], request->arena);
    }
    return (struct control_rows){.entity = &shadowing_entity, .rows = rows, .count = count};
}

static uint64_t etag_of(const struct shadowing *shadowing)
{
    char text[256];
    const struct shadow_settings *s = &shadowing->settings;
    int n = snprintf(text, sizeof(text), "%d %.17g %.17g %" PRId64 " %" PRId64 " %s %.17g %.17g",
                     s->automatic, s->percent, s->threshold, s->sustain_ns, s->duration_ns,
                     shadowing->store, s->budget_share, s->budget_cores);
    return text_etag_of((struct str){text, n});
}

static void answer_shadowing(struct job *job, const struct shadowing *shadowing)
{
    struct control_request *request = job->request;
    struct shadowing_row *row = ARENA_NEW(request->arena, struct shadowing_row);
    *row = shadowing_row_of(job->control, shadowing, request->arena);
    request->rows = (struct control_rows){.entity = &shadowing_entity, .rows = row, .count = 1};
    request->etag = etag_of(shadowing);
    job_answer(job);
}

static struct shadowing *shadowing_named(struct job *job)
{
    struct err_info info;
    const char *name = job->request->args.pipeline;
    struct shadowing *shadowing = shadowing_of(job->control, str_of(name));
    if (shadowing == NULL) {
        IGNORE_RESULT(err_set(&info, ERR_NOT_FOUND,
                              "there is no pipeline '%.80s'; GET /api/v1/pipelines lists them",
                              name)); /* told below */
        job_fail(job, ERR_NOT_FOUND, &info);
    }
    return shadowing;
}

void shadowing_get_begin(struct job *job)
{
    const struct shadowing *shadowing = shadowing_named(job);
    if (shadowing != NULL) {
        answer_shadowing(job, shadowing);
    }
}

static void take(double given, double *value)
{
    *value = isnan(given) ? *value : given;
}

void shadowing_set_begin(struct job *job)
{
    struct control *control = job->control;
    const struct control_args *args = &job->request->args;
    struct shadowing *shadowing = shadowing_named(job);
    struct err_info info;
    if (shadowing == NULL) {
        return;
    }
    IGNORE_RESULT(snprintf(job->request->subject, sizeof(job->request->subject), "%s",
                           args->pipeline)); /* fits */
    if (args->if_match[0] != 0 && !etag_matches(args->if_match, etag_of(shadowing))) {
        job_failf(job, ERR_PRECONDITION, "the settings have changed since; GET them again");
        return;
    }
    struct shadow_settings settings = shadowing->settings;
    double sustain = (double)settings.sustain_ns / 1e9;
    double duration = (double)settings.duration_ns / 1e9;
    take(args->percent, &settings.percent);
    take(args->threshold, &settings.threshold);
    take(args->sustain_seconds, &sustain);
    take(args->duration_seconds, &duration);
    take(args->budget_ratio, &settings.budget_share);
    take(args->budget_cores, &settings.budget_cores);
    settings.sustain_ns = (int64_t)(sustain * 1e9);
    settings.duration_ns = (int64_t)(duration * 1e9);
    settings.automatic = args->automatic >= 0 ? args->automatic == 1 : settings.automatic;
    const char *store = args->store[0] != 0 ? args->store : shadowing->store;
    enum err err = shadow_settings_check(&settings, &info);
    err = err == ERR_OK ? shadow_store_check(control, store, &info) : err;
    if (err != ERR_OK) {
        job_fail(job, err, &info);
        return;
    }
    shadowing->settings = settings;
    memmove(shadowing->store, store, strlen(store) + 1);
    event_add(control, "shadowing", args->pipeline, "changed", 0, "its settings were changed");
    answer_shadowing(job, shadowing);
}
