// SPDX-License-Identifier: Apache-2.0
/* What is remembered of shadows; pure. */
#include "control/shadows.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "pipeline/time_text.h"

void shadows_init(struct shadows *shadows)
{
    *shadows = (struct shadows){.count = 0};
}

static void free_entry(struct shadow_entry *entry)
{
    CHECK(entry->run == NULL);
    mem_free(entry->profile);
    mem_free(entry);
}

void shadows_release(struct shadows *shadows)
{
    for (int32_t i = 0; i < shadows->count; i++) {
        free_entry(shadows->all[i]);
    }
    shadows->count = 0;
}

static void forget_oldest(struct shadows *shadows)
{
    int32_t at = 0;
    while (at < shadows->count && shadows->all[at]->run != NULL) {
        at++;
    }
    CHECK(at < shadows->count); /* C5 */
    free_entry(shadows->all[at]);
    memmove(&shadows->all[at], &shadows->all[at + 1],
            sizeof(struct shadow_entry *) * (size_t)(shadows->count - at - 1));
    shadows->count--;
}

void shadows_add(struct shadows *shadows, struct shadow_entry *entry)
{
    if (entry->id == 0) {
        entry->id = shadows->last_id + 1;
    }
    CHECK(entry->id > shadows->last_id); /* C4 */
    shadows->last_id = entry->id;
    while (shadows->count >= SHADOWS_KEPT_MAX) {
        forget_oldest(shadows);
    }
    shadows->all[shadows->count++] = entry;
}

struct shadow_entry *shadows_find(const struct shadows *shadows, int64_t id)
{
    for (int32_t i = 0; i < shadows->count; i++) {
        if (shadows->all[i]->id == id) {
            return shadows->all[i];
        }
    }
    return NULL;
}

struct shadow_entry *shadows_find_key(const struct shadows *shadows, const char *key)
{
    for (int32_t i = shadows->count - 1; i >= 0 && key[0] != 0; i--) {
        if (strcmp(shadows->all[i]->key, key) == 0) {
            return shadows->all[i];
        }
    }
    return NULL;
}

struct shadow_entry *shadows_find_cast(const struct shadows *shadows, const char *partition)
{
    for (int32_t i = 0; i < shadows->count; i++) {
        struct shadow_entry *entry = shadows->all[i];
        if (entry->run != NULL && entry->order.cause != LIFE_CAUSE_PERSON &&
            strcmp(entry->partition, partition) == 0) {
            return entry;
        }
    }
    return NULL;
}

struct shadow_entry *shadows_find_ending(const struct shadows *shadows, const char *partition,
                                         int64_t until_ns)
{
    for (int32_t i = 0; i < shadows->count; i++) {
        struct shadow_entry *entry = shadows->all[i];
        if (entry->run != NULL && !entry->order.candidate &&
            life_due_ns(&entry->life) <= until_ns && strcmp(entry->partition, partition) == 0) {
            return entry;
        }
    }
    return NULL;
}

int32_t shadows_active(const struct shadows *shadows, const char *pipeline)
{
    int32_t count = 0;
    for (int32_t i = 0; i < shadows->count; i++) {
        count += shadows->all[i]->run != NULL &&
                 (pipeline == NULL || strcmp(shadows->all[i]->pipeline, pipeline) == 0);
    }
    return count;
}

/* --- rows --- */

static struct str time_of(int64_t ms, struct arena *arena)
{
    char text[TIME_TEXT_MAX];
    if (ms == 0) {
        return STR("");
    }
    int32_t len = time_write_rfc3339(ms, text);
    return (struct str){arena_dup(arena, text, len), len};
}

static double age_of(const struct shadow_entry *entry, int64_t now_ns)
{
    if (entry->life.state == LIFE_ENDED) {
        return entry->age_s;
    }
    return entry->life.opened_ns != 0 ? (double)(now_ns - entry->life.opened_ns) / 1e9 : 0;
}

struct shadow_row shadow_row_of(const struct shadow_entry *entry, int64_t now_ns,
                                struct arena *arena)
{
    const struct shadow_order *order = &entry->order;
    return (struct shadow_row){
        .id = entry->id,
        .kind = order->candidate ? STR("candidate") : STR("shadow"),
        .partition = str_of(entry->partition),
        .pipeline = str_of(entry->pipeline),
        .state = str_of(life_state_name(entry->life.state)),
        .outcome = str_of(life_outcome_name(entry->life.outcome)),
        .partial = entry->life.partial,
        .cause = str_of(life_cause_name(order->cause)),
        .percent = entry->percent,
        .reached_ratio = entry->reached,
        .completeness_ratio = entry->completeness,
        .starved_ratio = entry->starved,
        .records = entry->records,
        .dropped = entry->dropped,
        .limits = str_of(entry->limits),
        .limits_share_ratio = entry->limits_share.value,
        .limits_share_low_ratio = entry->limits_share.low,
        .limits_share_high_ratio = entry->limits_share.high,
        .cost_ratio = entry->ratio.value,
        .cost_low_ratio = entry->ratio.low,
        .cost_high_ratio = entry->ratio.high,
        .verdict = order->candidate || order->adaptive
                       ? str_of(adaptive_verdict_name(entry->verdict))
                       : STR(""),
        .age_seconds = age_of(entry, now_ns),
        .duration_seconds = (double)entry->life.duration_ns / 1e9,
        .sampling = order->by == SHADOW_BY_KEY ? STR("key") : STR("record"),
        .transport = order->transport == SHADOW_VIEW ? STR("view") : STR("queue"),
        .feed = order->feed == SHADOW_FOLLOW ? STR("follow") : STR("backlog"),
        .twin = order->twin,
        .adaptive = order->adaptive,
        .store = str_of(order->store),
        .settings = str_of(order->settings),
        .began = time_of(entry->began_ms, arena),
        .ended = time_of(entry->ended_ms, arena),
        .who = str_of(entry->who),
        .idempotency_key = str_of(entry->key),
        .reason = str_of(entry->reason),
    };
}

/* --- records --- */

struct str shadow_write(const struct shadow_entry *entry, int64_t now_ns, struct arena *arena)
{
    struct text text;
    struct shadow_row row = shadow_row_of(entry, now_ns, arena);
    text_init(&text, arena);
    /* As a table for the local view, as an object for the next start. */
    text_json_table(&text, &shadow_entity, &row, 1);
    CHECK(text.cut || (text.len > 0 && text.ptr[text.len - 1] == '}'));
    text.len -= !text.cut;
    text_add(&text, STR(",\n\"shadow\":"));
    text_json_row(&text, &shadow_entity, &row);
    text_printf(&text,
                ",\"began_ms\":%" PRId64 ",\"ended_ms\":%" PRId64 ",\"profile\":", entry->began_ms,
                entry->ended_ms);
    text_add(&text, entry->profile != NULL ? str_of(entry->profile) : STR("null"));
    text_add(&text, STR("}"));
    return text_str(&text);
}

/* What a reader has met: the first thing that is not as it must be. */
struct reading {
    const json_t *root, *row;
    const char *wrong;
};

static void wrong(struct reading *r, const char *name)
{
    r->wrong = r->wrong == NULL ? name : r->wrong;
}

static int64_t take_i64(struct reading *r, const json_t *from, const char *name)
{
    const json_t *value = json_object_get(from, name);
    int64_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 0) {
        wrong(r, name);
        return 0;
    }
    return number;
}

static double take_f64(const struct reading *r, const char *name)
{
    const json_t *value = json_object_get(r->row, name);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static void take_text(struct reading *r, const char *name, char *buf, size_t cap)
{
    const json_t *value = json_object_get(r->row, name);
    if (!json_is_string(value) || json_string_length(value) >= cap) {
        wrong(r, name);
        return;
    }
    memcpy(buf, json_string_value(value), json_string_length(value) + 1);
}

static bool is_word(const struct reading *r, const char *name, const char *word)
{
    const char *text = json_string_value(json_object_get(r->row, name));
    return text != NULL && strcmp(text, word) == 0;
}

static struct estimate take_estimate(const struct reading *r, const char *value, const char *low,
                                     const char *high)
{
    return (struct estimate){
        .value = take_f64(r, value), .low = take_f64(r, low), .high = take_f64(r, high)};
}

static void take_order(struct reading *r, struct shadow_order *order)
{
    const char *cause = json_string_value(json_object_get(r->row, "cause"));
    double seconds = take_f64(r, "duration_seconds");
    if (cause == NULL || !life_cause_named(cause, &order->cause)) {
        wrong(r, "cause");
    }
    if (!(seconds > 0 && seconds <= 86400)) {
        wrong(r, "duration_seconds");
        seconds = 1;
    }
    order->duration_ns = (int64_t)(seconds * 1e9);
    order->candidate = is_word(r, "kind", "candidate");
    order->by = is_word(r, "sampling", "record") ? SHADOW_BY_RECORD : SHADOW_BY_KEY;
    order->transport = is_word(r, "transport", "queue") ? SHADOW_QUEUE : SHADOW_VIEW;
    order->feed = is_word(r, "feed", "backlog") ? SHADOW_BACKLOG : SHADOW_FOLLOW;
    order->twin = json_is_true(json_object_get(r->row, "twin"));
    order->adaptive = json_is_true(json_object_get(r->row, "adaptive"));
    take_text(r, "store", order->store, sizeof(order->store));
    take_text(r, "settings", order->settings, sizeof(order->settings));
}

static void take_life(struct reading *r, struct shadow_entry *entry)
{
    const char *state = json_string_value(json_object_get(r->row, "state"));
    const char *outcome = json_string_value(json_object_get(r->row, "outcome"));
    life_init(&entry->life, entry->order.duration_ns);
    if (state == NULL || !life_state_named(state, &entry->life.state)) {
        wrong(r, "state");
    }
    if (outcome == NULL || !life_outcome_named(outcome, &entry->life.outcome)) {
        wrong(r, "outcome");
    }
    bool ended = entry->life.state == LIFE_ENDED;
    bool ending = ended || entry->life.state == LIFE_ENDING;
    if (ending && entry->life.outcome == LIFE_END_NONE) {
        wrong(r, "outcome");
    }
    if (!ending && entry->life.state != LIFE_OPENING) {
        entry->life.outcome = LIFE_END_NONE;
    }
    /* Times of another process: only that they are set is of use. */
    entry->life.partial = ended && json_is_true(json_object_get(r->row, "partial"));
    entry->life.ended_ns = ended;
    entry->life.opened_ns = entry->life.state >= LIFE_WARMING;
    entry->life.paused_ns = entry->life.state == LIFE_PAUSED;
}

static void take_figures(struct reading *r, struct shadow_entry *entry)
{
    double age = take_f64(r, "age_seconds");
    entry->age_s = age >= 0 ? age : 0;
    entry->percent = take_f64(r, "percent");
    entry->reached = take_f64(r, "reached_ratio");
    entry->completeness = take_f64(r, "completeness_ratio");
    entry->starved = take_f64(r, "starved_ratio");
    entry->records = take_i64(r, r->row, "records");
    entry->dropped = take_i64(r, r->row, "dropped");
    entry->limits_share =
        take_estimate(r, "limits_share_ratio", "limits_share_low_ratio", "limits_share_high_ratio");
    entry->ratio = take_estimate(r, "cost_ratio", "cost_low_ratio", "cost_high_ratio");
    for (int i = 0; i < ADAPTIVE_VERDICT_COUNT; i++) {
        if (is_word(r, "verdict", adaptive_verdict_name((enum adaptive_verdict)i))) {
            entry->verdict = (enum adaptive_verdict)i;
        }
    }
}

enum err shadow_read(struct str record, struct shadow_entry *ret_entry, struct err_info *info)
{
    struct shadow_entry entry = {.id = 0};
    json_t *root = json_loadb(record.ptr, (size_t)record.len, JSON_REJECT_DUPLICATES, NULL);
    struct reading r = {.root = root, .row = json_object_get(root, "shadow")};
    const json_t *profile = json_object_get(root, "profile");
    entry.id = take_i64(&r, r.row, "id");
    if (entry.id == 0) {
        wrong(&r, "id");
    }
    take_text(&r, "partition", entry.partition, sizeof(entry.partition));
    take_text(&r, "pipeline", entry.pipeline, sizeof(entry.pipeline));
    take_text(&r, "who", entry.who, sizeof(entry.who));
    take_text(&r, "idempotency_key", entry.key, sizeof(entry.key));
    take_text(&r, "reason", entry.reason, sizeof(entry.reason));
    take_text(&r, "limits", entry.limits, sizeof(entry.limits));
    take_order(&r, &entry.order);
    take_life(&r, &entry);
    take_figures(&r, &entry);
    entry.began_ms = take_i64(&r, root, "began_ms");
    entry.ended_ms = take_i64(&r, root, "ended_ms");
    if (r.wrong == NULL && json_is_object(profile)) {
        char *text = json_dumps(profile, JSON_COMPACT | JSON_PRESERVE_ORDER);
        ptrdiff_t len = text != NULL ? (ptrdiff_t)strlen(text) : 0;
        entry.profile = mem_new(len + 1, 1);
        memcpy(entry.profile, text != NULL ? text : "", (size_t)len + 1);
        free(text);
    }
    json_decref(root);
    if (r.wrong != NULL) {
        return err_set(info, ERR_CORRUPT,
                       SHADOWS_STREAM ": a record of %td bytes is no shadow: its %s", record.len,
                       r.wrong);
    }
    *ret_entry = entry;
    return ERR_OK;
}
