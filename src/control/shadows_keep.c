// SPDX-License-Identifier: Apache-2.0
/* What stays of shadows: records, profiles and figures in the stream, events; and what the next start makes of them. */
#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "control/own_stream.h"
#include "control/shadows_priv.h"

enum { PROFILE_ARENA_MAX = 8 << 20, RECORD_ARENA_MAX = 2 << 20 };

void shadow_record(struct control *control, struct shadow_entry *entry)
{
    struct arena arena;
    arena_init(&arena, RECORD_ARENA_MAX);
    int64_t number =
        own_stream_add(control->own[OWN_SHADOWS], shadow_write(entry, control->now_ns, &arena));
    if (entry->run != NULL) {
        entry->run->recorded_ns = control->now_ns;
        entry->run->record = number; /* 0: lost; the stream counts it */
    }
    arena_release(&arena);
}

void shadow_tell_event(struct control *control, const struct shadow_entry *entry)
{
    char detail[ERR_TEXT_MAX];
    const char *outcome = life_outcome_name(entry->life.outcome);
    IGNORE_RESULT(snprintf(detail, sizeof(detail), "%s %" PRId64 "%s%s%s%.150s",
                           entry->order.candidate ? "candidate" : "shadow", entry->id,
                           outcome[0] != 0 ? ", " : "", outcome, entry->reason[0] != 0 ? ": " : "",
                           entry->reason)); /* cut is fine */
    event_add(control, entry->order.candidate ? "candidate" : "shadow", entry->partition,
              life_state_name(entry->life.state), 0, detail);
}

void shadow_note(struct shadow_entry *entry, const char *reason)
{
    if (entry->reason[0] == 0) {
        IGNORE_RESULT(snprintf(entry->reason, sizeof(entry->reason), "%s", reason)); /* cut */
    }
}

static void keep_comparison(struct shadow_entry *entry)
{
    const struct shadow_comparison *c = entry->run->comparison;
    int64_t different = c != NULL ? c->differing + c->missing + c->extra : 0;
    entry->compared = c != NULL && c->equal + different > 0;
    entry->same = entry->compared && different == 0;
}

/* The profile so far becomes the entry's. */
void shadow_keep_profile(struct control *control, struct shadow_entry *entry)
{
    struct arena arena;
    struct text text;
    if (entry->run->profile == NULL) {
        return;
    }
    arena_init(&arena, PROFILE_ARENA_MAX);
    text_init(&text, &arena);
    profile_write(control, entry, &text);
    keep_comparison(entry);
    struct str json = text_str(&text);
    if (!text.cut && json.len <= SHADOW_PROFILE_MAX) {
        mem_free(entry->profile);
        entry->profile = mem_new(json.len + 1, 1);
        memcpy(entry->profile, json.ptr, (size_t)json.len);
        entry->profile[json.len] = 0;
    }
    arena_release(&arena);
}

/* Its figures go into the stream as rows of their own, so that the local view can be asked for them over time. */
void shadow_keep_figures(struct control *control, const struct shadow_entry *entry)
{
    struct arena arena;
    struct text text;
    arena_init(&arena, PROFILE_ARENA_MAX);
    text_init(&text, &arena);
    profile_write_figures(entry, &text);
    if (!text.cut && entry->records > 0) {
        IGNORE_RESULT(own_stream_add(control->own[OWN_SHADOWS], text_str(&text))); /* counted */
    }
    arena_release(&arena);
}

/* --- start and end --- */

/* A record of `sc.shadows`; a later one of the same takes its place. */
void shadows_take_record(struct control *control, struct str value)
{
    struct shadow_entry *entry = MEM_NEW(struct shadow_entry);
    if (str_starts_with(value, STR("{\"entity\":\"figure\""))) { /* the local view's */
        mem_free(entry);
        return;
    }
    if (shadow_read(value, entry, NULL) != ERR_OK) {
        control->shadows_unreadable++; /* told by an event: history is not worth a refused start */
        mem_free(entry);
        return;
    }
    struct shadow_entry *known = shadows_find(&control->shadows, entry->id);
    if (known != NULL) {
        mem_free(known->profile);
        *known = *entry;
        mem_free(entry);
    } else if (entry->id > control->shadows.last_id) {
        shadows_add(&control->shadows, entry);
    } else {
        mem_free(entry->profile); /* its first record was trimmed, or it was forgotten */
        mem_free(entry);
    }
}

/* Once: what ran when the last process ended has ended with it. */
void shadows_resolve(struct control *control)
{
    if (control->shadows_resolved) {
        return;
    }
    control->shadows_resolved = true;
    for (int32_t i = 0; i < control->shadows.count; i++) {
        struct shadow_entry *entry = control->shadows.all[i];
        if (entry->life.state == LIFE_ENDED) {
            continue;
        }
        IGNORE_RESULT(life_take(&entry->life, LIFE_EVENT_RESTART, control->now_ns)); /* ends it */
        entry->ended_ms = wall_ms(control);
        shadow_note(entry, life_outcome_help(LIFE_END_RESTART));
        shadow_record(control, entry);
        shadow_tell_event(control, entry);
    }
    if (control->shadows_unreadable > 0) {
        event_add(control, "shadow", "", "unreadable", 0,
                  "records of " SHADOWS_STREAM " that are no shadows were passed over");
    }
}

void shadows_free(struct control *control)
{
    for (int32_t i = 0; i < control->shadows.count; i++) {
        if (control->shadows.all[i]->run != NULL) {
            shadow_run_free(control->shadows.all[i]);
        }
    }
    shadows_release(&control->shadows);
    shadows_watch_free(control);
}
