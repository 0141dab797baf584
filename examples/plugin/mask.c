// SPDX-License-Identifier: Apache-2.0
/* An example plug-in: hides the local part of mail addresses but for its first letters.
 *
 *   plugin: {name: hide, file: /path/to/mask.so, columns: [mail], settings: {keep: 2}}
 *
 * reads one string field and adds `masked`; a text without an @ is rejected, a null one stays null. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/plugin.h"

struct mask {
    ptrdiff_t keep;
};

static void *mask_open(const struct shadowcast_setting *settings, int32_t setting_count,
                       char *reason, size_t cap)
{
    long keep = 1;
    for (int32_t i = 0; i < setting_count; i++) {
        char *end = NULL;
        if (strcmp(settings[i].name, "keep") == 0) {
            keep = strtol(settings[i].value, &end, 10);
        }
        if (end == NULL || *end != 0 || keep < 0 || keep > 64) {
            snprintf(reason, cap, "'%s: %s': the only setting is 'keep', 0 to 64", settings[i].name,
                     settings[i].value);
            return NULL;
        }
    }
    struct mask *mask = malloc(sizeof(*mask));
    if (mask == NULL) {
        snprintf(reason, cap, "no memory");
        return NULL;
    }
    mask->keep = keep;
    return mask;
}

static void mask_close(void *instance)
{
    free(instance);
}

static int32_t mask_process(void *instance, const struct shadowcast_host *host,
                            struct shadowcast_batch *batch)
{
    const struct mask *mask = instance;
    const struct shadowcast_column *mail = &batch->in[0];
    struct shadowcast_column *masked = &batch->out[0];
    const struct shadowcast_str *in = mail->data;
    struct shadowcast_str *out = masked->data;
    for (int32_t k = 0; k < batch->sel_count; k++) {
        int32_t row = batch->sel[k];
        if (mail->null != NULL && mail->null[row] != 0) {
            continue;
        }
        struct shadowcast_str text = in[row];
        const char *at = text.len > 0 ? memchr(text.ptr, '@', (size_t)text.len) : NULL;
        char *copy = at != NULL ? host->alloc(host->ctx, text.len) : NULL;
        if (copy == NULL) {
            host->reject(host->ctx, row, at == NULL ? "mask: no mail address" : "mask: too long");
            continue;
        }
        memcpy(copy, text.ptr, (size_t)text.len);
        for (ptrdiff_t i = mask->keep; i < at - text.ptr; i++) {
            copy[i] = '*';
        }
        out[row] = (struct shadowcast_str){copy, text.len};
        masked->null[row] = 0;
    }
    return SHADOWCAST_OK;
}

static const int32_t in_types[] = {SHADOWCAST_STRING};
static const struct shadowcast_out_column out_columns[] = {{"masked", SHADOWCAST_STRING}};

static const struct shadowcast_plugin description = {
    .abi = SHADOWCAST_PLUGIN_ABI,
    .size = sizeof(description),
    .name = "mask",
    .version = "1",
    .effects = SHADOWCAST_EFFECTS_NONE,
    .in_count = 1,
    .in_types = in_types,
    .out_count = 1,
    .out = out_columns,
    .open = mask_open,
    .close = mask_close,
    .process = mask_process,
};

SHADOWCAST_PLUGIN_EXPORT const struct shadowcast_plugin *shadowcast_plugin(void)
{
    return &description;
}
