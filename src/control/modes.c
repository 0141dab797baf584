// SPDX-License-Identifier: Apache-2.0
#include "control/modes.h"

#include <stdio.h>

#include "base/mem.h"
#include "control/ledger.h"
#include "control/manager_priv.h"
#include "control/own_stream.h"
#include "pipeline/time_text.h"

static bool mode_named(struct str name, enum config_mode *ret_mode)
{
    for (int i = 0; config_mode_names[i] != NULL; i++) {
        if (str_is(name, config_mode_names[i])) {
            *ret_mode = (enum config_mode)i;
            return true;
        }
    }
    return false;
}

/* Its place: over the one of its scope, else behind all. */
static struct kept_mode *slot(struct kept_modes *modes, const char *scope)
{
    if (strcmp(scope, "all") == 0) {
        modes->count = 0;
    }
    int32_t at = 0;
    while (at < modes->count && strcmp(modes->all[at].scope, scope) != 0) {
        at++;
    }
    if (at == modes->count) {
        modes->count += at < (int32_t)COUNT_OF(modes->all);
    }
    return at < modes->count ? &modes->all[at] : NULL;
}

void modes_take(struct kept_modes *modes, const struct mode_row *row)
{
    struct kept_mode kept = {.scope = ""};
    bool good = mode_named(row->mode, &kept.mode) && mode_named(row->file_mode, &kept.file_mode) &&
                row->scope.len > 0 && row->scope.len <= CONTROL_NAME_MAX;
    if (!good) {
        return;
    }
    IGNORE_RESULT(snprintf(kept.scope, sizeof(kept.scope), "%.*s", STR_ARG(row->scope))); /* fits */
    IGNORE_RESULT(snprintf(kept.time, sizeof(kept.time), "%.*s", STR_ARG(row->time)));    /* cut */
    IGNORE_RESULT(snprintf(kept.who, sizeof(kept.who), "%.*s", STR_ARG(row->who)));       /* cut */
    struct kept_mode *to = slot(modes, kept.scope);
    if (to != NULL) {
        *to = kept;
    }
}

static void write(struct control *control, const struct kept_mode *kept)
{
    struct text text;
    struct mode_row row = {.scope = str_of(kept->scope),
                           .mode = str_of(config_mode_names[kept->mode]),
                           .file_mode = str_of(config_mode_names[kept->file_mode]),
                           .time = str_of(kept->time),
                           .who = str_of(kept->who)};
    text_init(&text, &control->scratch);
    text_json_table(&text, &mode_entity, &row, 1);
    IGNORE_RESULT(own_stream_add(control->own[OWN_DECISIONS], text_str(&text))); /* counted */
    arena_reset(&control->scratch);
}

/* -1: all; -2: there is no such pipeline any more. */
static int32_t scope_index(const struct control *control, const char *scope)
{
    if (strcmp(scope, "all") == 0) {
        return -1;
    }
    for (int32_t p = 0; p < control->config->pipeline_count; p++) {
        if (str_is(control->config->pipelines[p]->name, scope)) {
            return p;
        }
    }
    return -2;
}

static enum config_mode file_mode(const struct control *control, int32_t index)
{
    return index < 0 ? control->config->manager.mode : control->config->pipelines[index]->mode;
}

void modes_recall(struct control *control)
{
    const struct kept_modes *modes = &control->ledger->modes;
    for (int32_t i = 0; i < modes->count; i++) {
        const struct kept_mode *kept = &modes->all[i];
        int32_t index = scope_index(control, kept->scope);
        if (index >= -1 && file_mode(control, index) == kept->file_mode) {
            core_mode(control, index, kept->mode);
            write(control, kept);
        }
    }
}

void modes_keep(struct control *control, int32_t pipeline, enum config_mode mode, const char *who)
{
    char time[TIME_TEXT_MAX];
    int32_t len = time_write_rfc3339(wall_ms(control), time);
    struct mode_row row = {.scope = pipeline < 0 ? STR("all")
                                                 : control->config->pipelines[pipeline]->name,
                           .mode = str_of(config_mode_names[mode]),
                           .file_mode = str_of(config_mode_names[file_mode(control, pipeline)]),
                           .time = {time, len},
                           .who = str_of(who)};
    struct kept_modes *modes = &control->ledger->modes;
    modes_take(modes, &row);
    for (int32_t i = 0; i < modes->count; i++) {
        if (str_is(row.scope, modes->all[i].scope)) {
            write(control, &modes->all[i]);
        }
    }
}
