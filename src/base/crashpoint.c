// SPDX-License-Identifier: Apache-2.0
#include "base/crashpoint.h"

#include <stddef.h>

_Atomic bool crashpoint_armed;

static crashpoint_hook armed_hook;
static void *armed_ctx;

void crashpoint_arm(crashpoint_hook hook, void *ctx)
{
    atomic_store(&crashpoint_armed, false);
    armed_hook = hook;
    armed_ctx = ctx;
    atomic_store(&crashpoint_armed, hook != NULL);
}

void crashpoint_pass(const char *name)
{
    if (armed_hook != NULL) {
        armed_hook(armed_ctx, name);
    }
}
