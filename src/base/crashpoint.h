// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_CRASHPOINT_H
#define BASE_CRASHPOINT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

/* Named places at which a test ends the process (or does something worse): CRASHPOINT("log.journal.after_write"). Costs
 * one relaxed load while nothing is armed. Names: area.step, in the order of the protocol they cut. Nothing in the program
 * itself arms them. */

struct crashpoint {
    const char *name;
    _Atomic int64_t passed; /* while armed, since the process began */
};

typedef void (*crashpoint_hook)(void *ctx, const char *name);

/* `hook` is called at every crash point passed, in the thread that passes it; NULL disarms. Set before threads start. */
void crashpoint_arm(crashpoint_hook hook, void *ctx);

/* All that are linked in, whether reached or not, in no order; a name stands once for each place that has it.
 *   index  in 0..crashpoint_count() - 1 */
int32_t crashpoint_count(void);
const struct crashpoint *crashpoint_at(int32_t index);

extern _Atomic bool crashpoint_armed;
void crashpoint_pass(struct crashpoint *point);

/* The linker gathers them: a section whose name is an identifier has a symbol at either end. */
#define CRASHPOINT(name_) \
    do { \
        static struct crashpoint crashpoint_here ATTR_SECTION("crashpoints") = {.name = (name_)}; \
        if (UNLIKELY(atomic_load_explicit(&crashpoint_armed, memory_order_relaxed))) { \
            crashpoint_pass(&crashpoint_here); \
        } \
    } while (0)

#endif
