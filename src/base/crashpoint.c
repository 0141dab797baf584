// SPDX-License-Identifier: Apache-2.0
#include "base/crashpoint.h"

#include <stddef.h>

#include "base/check.h"

_Atomic bool crashpoint_armed;

static crashpoint_hook armed_hook;
static void *armed_ctx;

/* Set by the linker; weak, for programs without any. */
extern struct crashpoint crashpoints_begin[] __asm__("__start_crashpoints") ATTR_WEAK;
extern struct crashpoint crashpoints_end[] __asm__("__stop_crashpoints") ATTR_WEAK;

void crashpoint_arm(crashpoint_hook hook, void *ctx)
{
    atomic_store(&crashpoint_armed, false);
    armed_hook = hook;
    armed_ctx = ctx;
    atomic_store(&crashpoint_armed, hook != NULL);
}

int32_t crashpoint_count(void)
{
    return (int32_t)(((uintptr_t)crashpoints_end - (uintptr_t)crashpoints_begin) /
                     sizeof(struct crashpoint));
}

const struct crashpoint *crashpoint_at(int32_t index)
{
    CHECK(index >= 0 && index < crashpoint_count());
    return &crashpoints_begin[index];
}

void crashpoint_pass(struct crashpoint *point)
{
    atomic_fetch_add(&point->passed, 1);
    if (armed_hook != NULL) {
        armed_hook(armed_ctx, point->name);
    }
}
