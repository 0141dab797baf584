// SPDX-License-Identifier: Apache-2.0
#include "control/rivals.h"

#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "control/manager_priv.h"
#include "control/operations_priv.h"

enum { ORDER_ARENA_MAX = 4 << 20 };

/* Settings of a rival where nobody has chosen others: the middle of its grid. */
static struct policy_params usual(enum policy_kind kind)
{
    struct policy_params p = {
        .target = 0.8, .slope_s = 180, .up_s = 10, .down_s = 300, .cooldown_s = 60, .risk = 1};
    p.target = kind == POLICY_TREND ? 0.9 : p.target;
    return p;
}

void rivals_init(struct rivals *rivals, const struct control *control)
{
    struct str name = control->config->manager.policy;
    mailbox_init(&rivals->done, control->waker);
    for (int kind = 0; kind < POLICY_COUNT; kind++) {
        bool rival = kind == POLICY_TREND || kind == POLICY_REACTIVE || kind == POLICY_DS2 ||
                     kind == POLICY_STATIC_PEAK;
        if (rival && str_is(name, policy_name((enum policy_kind)kind))) {
            struct policy_params params = control->rival_params != NULL
                                              ? *control->rival_params
                                              : usual((enum policy_kind)kind);
            policy_init(&rivals->policy, (enum policy_kind)kind, &params);
            rivals->on = true;
        }
    }
    for (int i = 0; i < RIVAL_ORDERS; i++) {
        arena_init(&rivals->orders[i].arena, ORDER_ARENA_MAX);
    }
}

void rivals_release(struct rivals *rivals)
{
    for (int i = 0; i < RIVAL_ORDERS; i++) {
        arena_release(&rivals->orders[i].arena);
    }
}

static void order_node(struct control *control, struct rivals *rivals, int32_t node,
                       enum control_kind kind)
{
    for (int i = 0; i < RIVAL_ORDERS; i++) {
        struct rival_order *order = &rivals->orders[i];
        if (order->out) {
            continue;
        }
        arena_reset(&order->arena);
        order->request =
            (struct control_request){.kind = kind, .done = &rivals->done, .arena = &order->arena};
        control_args_init(&order->request.args);
        text_init(&order->request.text, &order->arena);
        order->request.args.apply = true;
        order->request.who = (struct control_who){.audit = true, .action = "manager plan"};
        IGNORE_RESULT(snprintf(order->request.who.name, sizeof(order->request.who.name),
                               "manager")); /* fits */
        IGNORE_RESULT(snprintf(order->request.args.node, sizeof(order->request.args.node), "n%d",
                               node)); /* fits */
        order->out = true;
        mailbox_push(control_mailbox(control), &order->request.msg);
        return;
    }
}

static bool under_way(const struct control *control, int32_t node, enum operation_kind kind)
{
    for (const struct operation *op = control->running; op != NULL; op = op->run->next) {
        if (op->kind == kind && op->node == node && !op->dry_run) {
            return true;
        }
    }
    return false;
}

struct node_counts {
    int32_t serving, starting;
};

static struct node_counts count_nodes(const struct control *control)
{
    struct node_counts c = {0, 0};
    for (int32_t n = 0; n < control->config->nodes.max; n++) {
        enum node_state state = node_runtime_node_state(control->runtime, n);
        bool starts = under_way(control, n, OPERATION_NODE_ADD);
        c.starting += starts;
        c.serving += state == NODE_ACTIVE && !starts;
    }
    return c;
}

/* Orders `count` nodes more (or, if negative, fewer). */
static void order_nodes(struct control *control, struct rivals *rivals, int32_t count)
{
    int32_t max = control->config->nodes.max;
    for (int32_t n = 0; n < max && count > 0; n++) {
        bool starts = under_way(control, n, OPERATION_NODE_ADD);
        if (node_runtime_node_state(control->runtime, n) == NODE_OFF && !starts) {
            order_node(control, rivals, n, CONTROL_NODE_ADD);
            count--;
        }
    }
    for (int32_t n = max - 1; n > 0 && count < 0; n--) {
        bool busy = under_way(control, n, OPERATION_NODE_ADD) ||
                    under_way(control, n, OPERATION_NODE_DRAIN);
        if (node_runtime_node_state(control->runtime, n) == NODE_ACTIVE && !busy) {
            order_node(control, rivals, n, CONTROL_NODE_DRAIN);
            count++;
        }
    }
}

static void take_answers(struct rivals *rivals)
{
    struct msg *next = NULL;
    for (struct msg *msg = mailbox_take_all(&rivals->done); msg != NULL; msg = next) {
        next = msg->next;
        CONTAINER_OF(msg, struct rival_order, request.msg)->out = false;
    }
}

static void keep_demand(struct rivals *rivals, double demand)
{
    if (rivals->history_count == RIVAL_HISTORY) {
        memmove(&rivals->history[0], &rivals->history[1], (RIVAL_HISTORY - 1) * sizeof(double));
        rivals->history_count--;
    }
    rivals->history[rivals->history_count++] = demand;
}

void rivals_samples(struct control *control, struct rivals *rivals)
{
    const struct monitor *monitor = control->monitor;
    const struct config *config = control->config;
    double scale = config->manager.time_scale, demand = 0, lag_s = 0, work = 0;
    struct node_counts nodes = count_nodes(control);
    int32_t lanes = config->nodes.lanes;
    take_answers(rivals);
    for (int32_t i = 0; i < monitor->part_count; i++) {
        const struct measured *m = &monitor->parts[i].m;
        demand += m->demand;
        lag_s = m->lag_s > lag_s ? m->lag_s : lag_s;
        work += (double)m->lag_records * monitor->parts[i].own_share * m->work_cost_s /
                monitor->lanes[monitor->parts[i].lane].capacity;
    }
    keep_demand(rivals, demand);
    struct policy_input input = {.now_s = (double)core_now_ns(control) * 1e-9,
                                 .demand = demand,
                                 .work = work * scale,
                                 .lag_s = lag_s * scale,
                                 .objective_s =
                                     config->pipeline_count > 0
                                         ? (double)config->pipelines[0]->objective_ns * 1e-9 * scale
                                         : 1,
                                 .interval_s = (double)config->manager.interval_ns * 1e-9,
                                 .startup_s = (double)config->nodes.startup_ns * 1e-9,
                                 .serving = nodes.serving * lanes,
                                 .starting = nodes.starting * lanes,
                                 .lanes_max = config->nodes.max * lanes,
                                 .prices = &control->manager->options.prices,
                                 .history = rivals->history,
                                 .history_count = rivals->history_count};
    int wanted = policy_step(&rivals->policy, &input);
    int32_t nodes_wanted = (wanted + lanes - 1) / lanes, have = nodes.serving + nodes.starting;
    if (control->manager->mode == CONFIG_ACT) {
        order_nodes(control, rivals, nodes_wanted - have);
    }
}
