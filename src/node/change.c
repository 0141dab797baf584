// SPDX-License-Identifier: Apache-2.0
#include "node/change.h"

#include <assert.h>

#include "base/check.h"

/* Names, and which state may follow which: the table of change.h as code. */

const char *change_kind_name(enum change_kind kind)
{
    static const char *const names[] = {"split", "merge", "migrate", "node", "pipeline"};
    static_assert(COUNT_OF(names) == CHANGE_KIND_COUNT, "a name for each kind");
    return names[kind];
}

const char *change_state_name(enum change_state state)
{
    static const char *const names[] = {"measuring", "mapping", "closing", "opening",
                                        "checked",   "done",    "undone",  "needs-operator"};
    static_assert(COUNT_OF(names) == CHANGE_STATE_COUNT, "a name for each state");
    return names[state];
}

#define TO(state) (1u << CHANGE_##state)

bool change_follows(enum change_state from, enum change_state to)
{
    static const uint32_t next[] = {
        [CHANGE_MEASURING] = TO(CHECKED) | TO(MAPPING) | TO(UNDONE),
        [CHANGE_MAPPING] = TO(CLOSING) | TO(DONE) | TO(UNDONE),
        [CHANGE_CLOSING] = TO(OPENING) | TO(DONE),
        [CHANGE_OPENING] = TO(DONE) | TO(NEEDS_OPERATOR),
        [CHANGE_CHECKED] = 0,
        [CHANGE_DONE] = 0,
        [CHANGE_UNDONE] = 0,
        [CHANGE_NEEDS_OPERATOR] = 0,
    };
    static_assert(COUNT_OF(next) == CHANGE_STATE_COUNT, "a row for each state");
    return (next[from] & (1u << to)) != 0;
}
