// SPDX-License-Identifier: Apache-2.0
/* A plug-in built against an interface that this program does not have (test_plugin.c). What it would do is never asked:
 * all but the first two fields may mean something else there. */
#include "pipeline/plugin.h"

static const struct shadowcast_plugin description = {
    .abi = SHADOWCAST_PLUGIN_ABI + 1,
    .size = sizeof(description),
};

SHADOWCAST_PLUGIN_EXPORT const struct shadowcast_plugin *shadowcast_plugin(void)
{
    return &description;
}
