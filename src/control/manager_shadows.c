// SPDX-License-Identifier: Apache-2.0
/* Shadows that the core asks for. Until shadows can be cast here it is told so, and decides without (policy `predictive`). */
#include "control/manager_priv.h"

bool shadows_can_be_cast(const struct control *control)
{
    (void)control;
    return false;
}

bool shadow_cast(struct control *control, const struct manager_action *action)
{
    (void)control;
    (void)action;
    return false;
}

void shadow_end(struct control *control, const struct manager_action *action)
{
    (void)control;
    (void)action;
}
