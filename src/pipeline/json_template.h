// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_JSON_TEMPLATE_H
#define PIPELINE_JSON_TEMPLATE_H

#include "pipeline/json.h"

/* A learned template for regular records: flat objects that keep their keys, their order and their blanks. It is learned
 * from a record that the general parser took, and then read by walking from byte 0: *all* bytes between values are
 * compared with those of the learned record, and each value's end is found by scanning it. Nothing is jumped over, so
 * depth and "inside a string" are known by induction. Behind the last field that is used, only what the general parser asks
 * of the rest is asked (it does not look into it either). What it does not understand at once (an escape, a byte that is not
 * ASCII, another key, a number out of the plain) it leaves to the general parser, whose verdict is the same on every
 * record that the template takes.
 * Source of the idea: Li et al., "Mison", VLDB 2017; the walk is our own. */

#ifdef __cplusplus
extern "C" {
#endif

struct json_template; /* one reader's; one thread at a time */

struct json_template *json_template_new(void);
/* Makes it read as on a processor without AVX2: for tests. */
void json_template_narrow(struct json_template *tmpl);
void json_template_free(struct json_template *tmpl);

/* True: row `row` of the columns was filled, exactly as the general parser would have. False: nothing counts as filled
 * (null maps untouched); ask the general parser and tell json_template_learn what it said. */
bool json_template_read(struct json_template *tmpl, const struct json_shape *shape,
                        struct str record, struct column *columns, int32_t row);

/* A record that json_template_read did not take and the general parser did: becomes the template if there is none. */
void json_template_learn(struct json_template *tmpl, const struct json_shape *shape,
                         struct str record);

/* Records taken since the beginning. */
int64_t json_template_hits(const struct json_template *tmpl);

#ifdef __cplusplus
}
#endif

#endif
