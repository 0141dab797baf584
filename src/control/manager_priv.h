// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_MANAGER_PRIV_H
#define CONTROL_MANAGER_PRIV_H

#include "control/manager_shell.h"

/* Inside the manager's shell. */

/* manager_feed.c */
void feeds_init(struct control *control);
void feeds_free(struct manager_shell *shell);
void feed_samples(struct control *control);
bool past_step(struct control *control); /* true: all pasts are told */

/* manager_core.c: tells the core of a pipeline's past. */
void core_past(struct control *control, int32_t pipeline, const struct manager_past *past);

#endif
