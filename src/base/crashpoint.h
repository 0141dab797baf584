// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_CRASHPOINT_H
#define BASE_CRASHPOINT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/attr.h"

/* Named places at which a test ends the process (or does something worse): CRASHPOINT("log.journal.after_write"). Costs
 * one relaxed load while nothing is armed. Names: area.step, in the order of the protocol they cut. */

typedef void (*crashpoint_hook)(void *ctx, const char *name);

/* `hook` is called at every crash point passed, in the thread that passes it; NULL disarms. Set before threads start. */
void crashpoint_arm(crashpoint_hook hook, void *ctx);

extern _Atomic bool crashpoint_armed;
void crashpoint_pass(const char *name);

#define CRASHPOINT(name) \
    do { \
        if (UNLIKELY(atomic_load_explicit(&crashpoint_armed, memory_order_relaxed))) { \
            crashpoint_pass(name); \
        } \
    } while (0)

#endif
