// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_MANAGER_PRIV_H
#define CONTROL_MANAGER_PRIV_H

#include "control/manager_shell.h"

/* Inside the manager's shell. */

/* manager_feed.c */
void feeds_init(struct control *control);
void feeds_free(struct control *control);
void feed_samples(struct control *control);
enum past_state { PAST_ASKED, PAST_MORE, PAST_TOLD };
enum past_state past_step(struct control *control);

/* manager_core.c */
void core_start(struct control *control); /* once the ledger is read back and what runs is known */
void core_free(struct control *control);
void core_past(struct control *control, int32_t pipeline, const double *rates, int64_t count);
void core_samples(struct control *control);
void core_step(struct control *control); /* the plan under way */
void core_event(struct control *control, const struct manager_event *event);
void pend_event(struct manager_shell *shell, const struct manager_event *event);
void core_mode(struct control *control, int32_t pipeline, enum config_mode mode); /* -1: all */
int64_t core_now_ns(const struct control *control); /* the load's clock */

/* manager_ask.c */
void plan_answer(struct job *job, int64_t id, int status);

/* manager_shadows.c */
/* A duration on the load's clock as a shadow's on the wall, within what a shadow may last. */
int64_t shadow_duration_wall_ns(const struct control *control, double seconds);
bool shadows_can_be_cast(const struct control *control);
bool shadow_cast(struct control *control, const struct manager_action *action); /* false: refused */
void shadow_end(struct control *control, const struct manager_action *action);
void shadow_follow(struct control *control); /* tells the core when the one under way has ended */

#endif
