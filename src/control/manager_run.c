// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "control/manager_priv.h"
#include "control/monitor.h"

struct manager_shell *manager_shell_new(struct control *control)
{
    control->manager = MEM_NEW(struct manager_shell);
    feeds_init(control);
    return control->manager;
}

void manager_shell_free(struct manager_shell *shell)
{
    if (shell != NULL) {
        feeds_free(shell);
        mem_free(shell);
    }
}

void core_past(struct control *control, int32_t pipeline, const struct manager_past *past)
{
    (void)control;
    (void)pipeline;
    (void)past;
}

int64_t manager_run(struct control *control)
{
    bool taken = false;
    if (!control_serving(control) || !past_step(control)) {
        return CLOCK_NEVER;
    }
    int64_t next_ns = monitor_step(control, &taken);
    if (taken) {
        feed_samples(control);
    }
    return next_ns;
}
