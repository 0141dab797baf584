// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "control/manager_priv.h"

void manager_shell_new(struct control *control)
{
    control->manager = MEM_NEW(struct manager_shell);
    feeds_init(control);
    manager_load_init(&control->manager->load, control->waker);
    rivals_init(&control->manager->rivals, control);
    tuner_init(&control->manager->tuner);
    leads_init(&control->manager->leads, control->config->pipeline_count);
}

void manager_shell_free(struct control *control)
{
    struct manager_shell *shell = control->manager;
    feeds_free(control);
    core_free(control);
    rivals_release(&shell->rivals);
    tuner_release(&shell->tuner);
    leads_release(&shell->leads);
    manager_load_release(&shell->load);
    mem_free(shell);
}

/* A node is reserved from its order until it is off; while shadows run, what they may use is, too. */
static void count_lanes(struct control *control)
{
    int32_t nodes = 0;
    for (int32_t n = 0; n < control->config->nodes.max; n++) {
        nodes += node_runtime_node_state(control->runtime, n) != NODE_OFF;
    }
    double lanes = (double)nodes * control->config->nodes.lanes;
    if (shadows_active(&control->shadows, NULL) > 0) {
        lanes += control->shadow_budget / control->config->nodes.capacity;
    }
    control->manager->lane_seconds += lanes * control->monitor->interval_s;
}

int64_t manager_run(struct control *control)
{
    struct manager_shell *shell = control->manager;
    bool taken = false;
    if (!control_serving(control) || node_runtime_state(control->runtime) != RUNTIME_RUNNING) {
        return CLOCK_NEVER;
    }
    core_start(control);
    enum past_state past = past_step(control);
    if (past != PAST_TOLD) {
        return past == PAST_MORE ? control->now_ns : CLOCK_NEVER;
    }
    int64_t next_ns = monitor_step(control, &taken);
    if (taken) {
        count_lanes(control);
        feed_samples(control);
        leads_sample(control, &shell->leads);
        if (shell->rivals.on) {
            rivals_samples(control, &shell->rivals);
        } else {
            core_samples(control);
        }
    }
    shadow_follow(control);
    tuner_step(control, &shell->tuner);
    core_step(control);
    return next_ns;
}
