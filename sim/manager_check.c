// SPDX-License-Identifier: Apache-2.0
#include "sim/manager_check.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "node/change.h"

enum { IDS_MAX = 4096, KEY_MAX = 64, STEPS_MAX = 64 };

/* What the records say of one decision. */
struct seen_decision {
    bool there;
    json_t *row, *fields, *steps, *step_fields; /* of its last records; steps NULL: none came yet */
    const char *state, *cause;
    int64_t made_ms, applied_ms; /* applied_ms < 0: never */
    bool manager;                /* it was its own doing */
};

struct seen_operation {
    bool there, final, done;
    const char *kind, *subject, *key, *who;
    int64_t began_ms, ended_ms;
};

struct evidence {
    const struct manager_facts *facts;
    json_t *roots;                     /* keeps all that is pointed to */
    struct seen_decision *decisions;   /* [IDS_MAX] by number */
    struct seen_operation *operations; /* [IDS_MAX] by number */
    int32_t *audits;                   /* [asked_count] records of each order */
    bool *audited_operation;           /* [IDS_MAX] an audit record names it */
    char *text;
    bool wrong;
};

static void tell(struct evidence *e, const char *fmt, ...) ATTR_PRINTF(2, 3);
static void tell(struct evidence *e, const char *fmt, ...)
{
    va_list args;
    if (e->wrong) {
        return;
    }
    e->wrong = true;
    va_start(args, fmt);
    IGNORE_RESULT(vsnprintf(e->text, 300, fmt, args)); /* may be cut */
    va_end(args);
}

/* --- reading --- */

static json_t *parse(struct evidence *e, const struct pipe_row *row)
{
    json_t *root = json_loadb(row->value.ptr, (size_t)row->value.len, 0, NULL);
    if (root == NULL) {
        tell(e, "a record at offset %lld is no JSON", (long long)row->offset);
        return NULL;
    }
    CHECK(json_array_append_new(e->roots, root) == 0);
    return root;
}

static json_t *cell(json_t *fields, json_t *row, const char *name)
{
    for (size_t i = 0; i < json_array_size(fields); i++) {
        if (strcmp(json_string_value(json_array_get(fields, i)), name) == 0) {
            return json_array_get(row, i);
        }
    }
    CHECK_MSG(false, "there is no column %s", name);
    return NULL;
}

static const char *word(json_t *fields, json_t *row, const char *name)
{
    const char *text = json_string_value(cell(fields, row, name));
    return text != NULL ? text : "";
}

static double number(json_t *fields, json_t *row, const char *name)
{
    const json_t *value = cell(fields, row, name);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* "2025-01-01T00:00:01.500Z": milliseconds of that month. */
static int64_t time_of_text(const char *text)
{
    static const int places[] = {8, 11, 14, 17};
    static const int64_t units[] = {86400000, 3600000, 60000, 1000};
    int64_t ms = 0;
    CHECK(strlen(text) >= 19);
    for (int i = 0; i < COUNT_OF(places); i++) {
        ms += units[i] * (10 * (text[places[i]] - '0') + text[places[i] + 1] - '0');
    }
    int64_t part = text[19] == '.' ? strtoll(text + 20, NULL, 10) : 0;
    return ms + part;
}

static bool is_one_of(const char *text, const char *const *words)
{
    while (*words != NULL && strcmp(*words, text) != 0) {
        words++;
    }
    return *words != NULL;
}

/* --- audit (I12) --- */

static void take_audit(struct evidence *e, json_t *root)
{
    const char *id = json_string_value(json_object_get(root, "request_id"));
    const char *result = json_string_value(json_object_get(root, "result"));
    int64_t operation = json_integer_value(json_object_get(root, "operation"));
    if (operation > 0 && operation < IDS_MAX) {
        e->audited_operation[operation] = true;
    }
    if (id == NULL || id[0] != 'r') {
        return; /* the manager's own */
    }
    int64_t n = strtoll(id + 1, NULL, 10);
    if (n >= e->facts->asked_count) {
        tell(e, "I12: an audit record names order %s, which nobody gave", id);
        return;
    }
    const struct manager_asked *asked = &e->facts->asked[n];
    e->audits[n]++;
    if (asked->answered && strcmp(asked->result, result) != 0) {
        tell(e, "I12: order %s was answered %s, its audit record says %s", id, asked->result,
             result);
    }
}

static void check_audit(struct evidence *e, const struct pipe_rows *rows)
{
    uint32_t chain = 0;
    for (int32_t i = 0; i < rows->count && !e->wrong; i++) {
        char before[16];
        json_t *root = parse(e, &rows->rows[i]);
        IGNORE_RESULT(snprintf(before, sizeof(before), "%08x", chain)); /* fits */
        if (root != NULL &&
            strcmp(json_string_value(json_object_get(root, "before")), before) != 0) {
            tell(e, "I12: the audit chain is broken at record %d", i);
        }
        chain = crc32c(0, rows->rows[i].value.ptr, rows->rows[i].value.len);
        if (root != NULL) {
            take_audit(e, root);
        }
    }
    for (int32_t n = 0; n < e->facts->asked_count && !e->wrong; n++) {
        bool missing = e->facts->asked[n].answered && e->audits[n] == 0 && !e->facts->lossy;
        if (missing || e->audits[n] > 1) {
            tell(e, "I12: order r%d (%s) has %d audit records", n,
                 e->facts->asked[n].answered ? e->facts->asked[n].result : "not answered",
                 e->audits[n]);
        }
    }
}

/* --- operations (I11) --- */

static void take_operation(struct evidence *e, json_t *root)
{
    static const char *const finals[] = {"done", "undone", "needs_operator", NULL};
    json_t *row = json_object_get(root, "operation");
    int64_t id = json_integer_value(json_object_get(row, "id"));
    CHECK(id > 0 && id < IDS_MAX);
    struct seen_operation *op = &e->operations[id];
    const char *state = json_string_value(json_object_get(row, "state"));
    if (op->final && strcmp(state, op->done ? "done" : state) != 0) {
        tell(e, "I11: operation %lld was final, then %s", (long long)id, state);
    }
    *op =
        (struct seen_operation){.there = true,
                                .final = is_one_of(state, finals),
                                .done = strcmp(state, "done") == 0,
                                .kind = json_string_value(json_object_get(row, "kind")),
                                .subject = json_string_value(json_object_get(row, "subject")),
                                .key = json_string_value(json_object_get(row, "idempotency_key")),
                                .who = json_string_value(json_object_get(row, "who")),
                                .began_ms = json_integer_value(json_object_get(root, "began_ms")),
                                .ended_ms = json_integer_value(json_object_get(root, "ended_ms"))};
}

static void take_operations(struct evidence *e, const struct pipe_rows *rows)
{
    for (int32_t i = 0; i < rows->count && !e->wrong; i++) {
        json_t *root = parse(e, &rows->rows[i]);
        if (root != NULL) {
            take_operation(e, root);
        }
    }
}

/* --- decisions --- */

static bool may_follow(const char *from, const char *to)
{
    static const char *const table[][6] = {
        {"recommended", "approved", "applying", "expired", NULL},
        {"approved", "applying", "failed", "done", NULL},
        {"applying", "done", "failed", NULL},
        {"done", "measured", "expired", "rolled_back", NULL},
        {"measured", "rolled_back", NULL},
    };
    for (int i = 0; i < COUNT_OF(table); i++) {
        if (strcmp(table[i][0], from) == 0) {
            return is_one_of(to, &table[i][1]);
        }
    }
    return false;
}

static void take_decision(struct evidence *e, json_t *fields, json_t *row, json_t *steps,
                          json_t *step_fields)
{
    static const char *const applied[] = {"approved", "applying", "done", NULL};
    int64_t id = json_integer_value(cell(fields, row, "id"));
    CHECK(id > 0 && id < IDS_MAX);
    struct seen_decision *d = &e->decisions[id];
    const char *state = word(fields, row, "state");
    if (d->there && strcmp(d->state, state) != 0 && !may_follow(d->state, state)) {
        tell(e, "I11: decision %lld was %s, then %s", (long long)id, d->state, state);
    }
    if (!d->there) {
        d->made_ms = time_of_text(word(fields, row, "time"));
        d->applied_ms = -1;
    }
    if (d->applied_ms < 0 && is_one_of(state, applied)) {
        d->applied_ms = time_of_text(word(fields, row, "changed"));
    }
    d->there = true;
    d->row = row;
    d->fields = fields;
    d->state = state;
    d->cause = word(fields, row, "cause");
    d->manager = strcmp(word(fields, row, "who"), "manager") == 0;
    if (steps != NULL) {
        d->steps = steps;
        d->step_fields = step_fields;
    }
}

static void take_decisions(struct evidence *e, const struct pipe_rows *rows)
{
    json_t *steps = NULL, *step_fields = NULL;
    for (int32_t i = 0; i < rows->count && !e->wrong; i++) {
        json_t *root = parse(e, &rows->rows[i]);
        const char *entity = json_string_value(json_object_get(root, "entity"));
        json_t *fields = json_object_get(root, "fields"), *list = json_object_get(root, "rows");
        if (entity != NULL && strcmp(entity, "step") == 0) {
            steps = list;
            step_fields = fields;
        } else if (entity != NULL && strcmp(entity, "decision") == 0) {
            for (size_t k = 0; k < json_array_size(list); k++) {
                take_decision(e, fields, json_array_get(list, k), steps, step_fields);
            }
            steps = step_fields = NULL;
        }
    }
}

/* --- I15: each change is a step of a decision --- */

/* "plan-7-2", "plan-7-2-undo" or, where undoing takes two, "plan-7-2-undo-2". */
static bool parse_key(const char *key, int64_t *ret_plan, int64_t *ret_step, bool *ret_undo)
{
    char *end = NULL;
    if (key == NULL || strncmp(key, "plan-", 5) != 0) {
        return false;
    }
    *ret_plan = strtoll(key + 5, &end, 10);
    *ret_step = strtoll(end + 1, &end, 10);
    *ret_undo = strncmp(end, "-undo", 5) == 0;
    return true;
}

static struct seen_operation *find_key(struct evidence *e, int64_t plan, int64_t step, bool undo)
{
    char key[KEY_MAX];
    IGNORE_RESULT(snprintf(key, sizeof(key), "plan-%lld-%lld%s", (long long)plan, (long long)step,
                           undo ? "-undo" : "")); /* fits */
    for (int i = 1; i < IDS_MAX; i++) {
        if (e->operations[i].there && strcmp(e->operations[i].key, key) == 0) {
            return &e->operations[i];
        }
    }
    return NULL;
}

static void check_change(struct evidence *e, int64_t id)
{
    const struct seen_operation *op = &e->operations[id];
    int64_t plan = 0, step = 0;
    bool undo = false;
    if (!parse_key(op->key, &plan, &step, &undo)) {
        if (strcmp(op->who, "manager") == 0 && !e->facts->rivals) {
            tell(e, "I15: operation %lld is the manager's, and of no plan", (long long)id);
        }
        return;
    }
    const struct seen_decision *d = plan < IDS_MAX ? &e->decisions[plan] : NULL;
    if (d == NULL || !d->there || d->applied_ms < 0) {
        tell(e, "I15: operation %lld is of plan %lld, which was never kept as applied",
             (long long)id, (long long)plan);
        return;
    }
    json_t *row = json_array_get(d->steps, (size_t)step);
    if (row == NULL) {
        tell(e, "I15: plan %lld has no step %lld", (long long)plan, (long long)step);
        return;
    }
    const char *kind = word(d->step_fields, row, "kind");
    const char *subject = word(d->step_fields, row, "subject");
    if (!undo && (strcmp(kind, op->kind) != 0 || strcmp(subject, op->subject) != 0)) {
        tell(e, "I15: step %lld of plan %lld is '%s %s', operation %lld '%s %s'", (long long)step,
             (long long)plan, kind, subject, (long long)id, op->kind, op->subject);
    }
    const struct seen_operation *before =
        step > 0 && !undo ? find_key(e, plan, step - 1, false) : NULL;
    if (step > 0 && !undo && (before == NULL || !before->done)) {
        tell(e, "I15: step %lld of plan %lld began, the one before it is not done", (long long)step,
             (long long)plan);
    }
    if (before != NULL && !e->facts->lossy && !e->audited_operation[before - e->operations]) {
        tell(e, "I12: step %lld of plan %lld was answered and has no audit record",
             (long long)step - 1, (long long)plan);
    }
}

/* --- I14, I15, M3, M4, M6: when and for what the manager acts --- */

static bool is_urgent(const struct seen_decision *d)
{
    return strcmp(d->cause, "urgent") == 0;
}

static bool is_back(const struct seen_decision *d)
{
    return json_integer_value(cell(d->fields, d->row, "parent")) != 0;
}

static void check_figures(struct evidence *e, int64_t id, const struct seen_decision *d)
{
    static const char *const sure[] = {"drop", "profile", "verdict", NULL};
    double use = number(d->fields, d->row, "utilisation_ratio");
    double lag = number(d->fields, d->row, "lag_seconds");
    double rate = number(d->fields, d->row, "rate_per_second");
    bool forecast = json_is_true(cell(d->fields, d->row, "forecast"));
    bool measured = use >= e->facts->threshold || (is_urgent(d) && lag > 0);
    if (!isfinite(use) || !isfinite(rate) || rate < 0 || use < 0) {
        tell(e, "I14: decision %lld acts on figures that are none", (long long)id);
    } else if (!forecast && !measured && !is_one_of(d->cause, sure)) {
        tell(e, "I14: decision %lld (%s) acts at %.3f of a lane, lag %.3f s, without a forecast",
             (long long)id, d->cause, use, lag);
    }
    int32_t nodes = 0;
    for (size_t s = 0; s < json_array_size(d->steps); s++) {
        const char *kind = word(d->step_fields, json_array_get(d->steps, s), "kind");
        nodes += (strcmp(kind, "node_add") == 0) - (strcmp(kind, "node_drain") == 0);
    }
    if (nodes < 0 && strcmp(d->cause, "drop") != 0 && !is_back(d)) {
        tell(e, "M6: decision %lld (%s) takes %d nodes away", (long long)id, d->cause, -nodes);
    }
}

static void check_mode(struct evidence *e, int64_t id, const struct seen_decision *d)
{
    const struct manager_facts *facts = e->facts;
    for (int32_t i = 0; i < facts->mode_count; i++) {
        const struct manager_mode_time *mode = &facts->modes[i];
        if (!mode->acts && d->applied_ms > mode->from_ms && d->applied_ms < mode->to_ms) {
            tell(e, "M4: decision %lld was applied by the manager while it was not to act",
                 (long long)id);
        }
    }
    for (int32_t n = 0; n < facts->asked_count; n++) {
        const struct manager_asked *asked = &facts->asked[n];
        const struct seen_operation *op =
            asked->answered && asked->operation > 0 ? &e->operations[asked->operation] : NULL;
        if (op != NULL && op->final && asked->answered_ms < d->made_ms &&
            d->made_ms < op->ended_ms) {
            tell(e, "M4: decision %lld was applied while operation %lld of a person was under way",
                 (long long)id, (long long)asked->operation);
        }
    }
}

/* Of each two changes, in the load's seconds; a millisecond of the wall is how exactly times are kept. */
static void check_pace(struct evidence *e, int64_t id, const struct seen_decision *d)
{
    const struct manager_facts *facts = e->facts;
    for (int64_t k = 1; k < id; k++) {
        const struct seen_decision *b = &e->decisions[k];
        if (!b->there || b->applied_ms < 0) {
            continue;
        }
        double between_s = (double)(d->applied_ms - b->applied_ms + 2) * 1e-3 * facts->time_scale;
        bool calm = !is_urgent(d) && !is_urgent(b) && !is_back(d) && b->manager;
        double least_s = calm ? facts->cooldown_s : facts->interval_s;
        if (between_s < least_s) {
            tell(e, "I15: decision %lld (%s) comes %.2f s behind %lld (%s), %.2f s are the least",
                 (long long)id, d->cause, between_s, (long long)k, b->cause, least_s);
        }
    }
}

static void check_manager(struct evidence *e, struct manager_tally *tally)
{
    int32_t calm = 0;
    for (int64_t id = 1; id < IDS_MAX && !e->wrong; id++) {
        const struct seen_decision *d = &e->decisions[id];
        tally->decisions += d->there;
        if (!d->there || d->applied_ms < 0) {
            continue;
        }
        tally->applied++;
        tally->done += strcmp(d->state, "done") == 0 || strcmp(d->state, "measured") == 0;
        tally->failed += strcmp(d->state, "failed") == 0;
        tally->rolled_back += strcmp(d->state, "rolled_back") == 0;
        tally->by_people += !d->manager;
        if (!d->manager) {
            continue;
        }
        check_figures(e, id, d);
        if (e->facts->clock_jumps) {
            continue;
        }
        calm += !is_urgent(d) && !is_back(d);
        check_mode(e, id, d);
        check_pace(e, id, d);
    }
    if (e->facts->budget > 0 && calm > e->facts->budget && !e->wrong) {
        tell(e, "I15: %d changes in a day, %d are allowed", calm, e->facts->budget);
    }
}

/* --- I11 at the end --- */

static void check_plan_ended(struct evidence *e, int64_t id, const struct seen_decision *d)
{
    static const char *const open[] = {"approved", "applying", NULL};
    if (is_one_of(d->state, open)) {
        tell(e, "I11: decision %lld is still %s", (long long)id, d->state);
    }
    bool told = strstr(word(d->fields, d->row, "reason"), "be undone") != NULL;
    for (int64_t s = 0; strcmp(d->state, "failed") == 0 && !told && s < STEPS_MAX; s++) {
        const struct seen_operation *op = find_key(e, id, s, false);
        const struct seen_operation *undo = find_key(e, id, s, true);
        if (op != NULL && op->done && (undo == NULL || !undo->done)) {
            tell(e, "I11: plan %lld has failed, its step %lld is done and was not undone (%s)",
                 (long long)id, (long long)s, word(d->fields, d->row, "reason"));
        }
    }
}

static void check_layout(struct evidence *e, const struct node_runtime *rt)
{
    for (int32_t stage = 0; stage < node_runtime_stage_count(rt); stage++) {
        const struct partition_map *map = node_runtime_map(rt, stage);
        uint32_t at = KEY_GROUP_COUNT;
        for (int32_t i = 0; i < map->count; i++) {
            const struct partition_place *p = &map->places[i];
            bool first = i == 0 || map->places[i - 1].shard != p->shard;
            if (first ? at != KEY_GROUP_COUNT || p->group_lo != 0 : p->group_lo != at) {
                tell(e, "I11: the ranges of stage %d, shard %u are not whole at %u", stage,
                     p->shard, p->group_lo);
            }
            at = p->group_hi;
            if (node_runtime_node_state(rt, p->node) == NODE_OFF) {
                tell(e, "I11: stage %d, shard %u, %u-%u is on n%u, which is off", stage, p->shard,
                     p->group_lo, p->group_hi, p->node);
            }
        }
    }
}

static void check_end(struct evidence *e, const struct node_runtime *rt)
{
    for (int64_t id = 1; id < IDS_MAX && !e->wrong; id++) {
        if (e->operations[id].there && !e->operations[id].final) {
            tell(e, "I11: operation %lld (%s %s) has no end", (long long)id, e->operations[id].kind,
                 e->operations[id].subject);
        }
        if (e->decisions[id].there) {
            check_plan_ended(e, id, &e->decisions[id]);
        }
    }
    check_layout(e, rt);
}

bool manager_check(const struct manager_facts *facts, const struct manager_streams *streams,
                   const struct node_runtime *rt, struct manager_tally *ret_tally, char text[300])
{
    struct evidence e = {.facts = facts, .roots = json_array()};
    e.text = text;
    e.decisions = MEM_NEW_ARRAY(struct seen_decision, IDS_MAX);
    e.operations = MEM_NEW_ARRAY(struct seen_operation, IDS_MAX);
    e.audits = MEM_NEW_ARRAY(int32_t, facts->asked_count + 1);
    e.audited_operation = MEM_NEW_ARRAY(bool, IDS_MAX);
    *ret_tally = (struct manager_tally){0};
    check_audit(&e, &streams->audit);
    take_operations(&e, &streams->operations);
    take_decisions(&e, &streams->decisions);
    for (int64_t id = 1; id < IDS_MAX && !e.wrong; id++) {
        if (e.operations[id].there) {
            ret_tally->operations++;
            check_change(&e, id);
        }
    }
    if (!e.wrong) {
        check_manager(&e, ret_tally);
    }
    if (!e.wrong && rt != NULL) {
        check_end(&e, rt);
    }
    json_decref(e.roots);
    mem_free(e.decisions);
    mem_free(e.operations);
    mem_free(e.audits);
    mem_free(e.audited_operation);
    return !e.wrong;
}
