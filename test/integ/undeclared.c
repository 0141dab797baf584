// SPDX-License-Identifier: Apache-2.0
/* A plug-in that does not say what it does outside (test_plugin.c): it runs, but not in a shadow. */
#include <stdio.h>

#include "pipeline/plugin.h"

static int instance;

static void *undeclared_open(const struct shadowcast_setting *settings, int32_t setting_count,
                             char *reason, size_t cap)
{
    if (setting_count > 0) {
        snprintf(reason, cap, "'%s': there are no settings", settings[0].name);
        return NULL;
    }
    return &instance;
}

static void undeclared_close(void *opened)
{
    (void)opened;
}

static int32_t undeclared_process(void *opened, const struct shadowcast_host *host,
                                  struct shadowcast_batch *batch)
{
    (void)opened;
    (void)host;
    (void)batch;
    return SHADOWCAST_OK;
}

static const int32_t in_types[] = {SHADOWCAST_STRING};

static const struct shadowcast_plugin description = {
    .abi = SHADOWCAST_PLUGIN_ABI,
    .size = sizeof(description),
    .name = "undeclared",
    .version = "1",
    .effects = SHADOWCAST_EFFECTS_UNDECLARED,
    .in_count = 1,
    .in_types = in_types,
    .open = undeclared_open,
    .close = undeclared_close,
    .process = undeclared_process,
};

SHADOWCAST_PLUGIN_EXPORT const struct shadowcast_plugin *shadowcast_plugin(void)
{
    return &description;
}
