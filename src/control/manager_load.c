// SPDX-License-Identifier: Apache-2.0
#include "control/manager_load.h"

#include <math.h>

#include "base/check.h"
#include "base/mem.h"
#include "control/ledger.h"

enum { LOAD_ARENA_MAX = 512 << 20 };

/* Above these something else than the load is the cause. */
static const double errors_ratio = 0.05, blocked_ratio = 0.5, memory_ratio = 0.95;

void manager_load_init(struct manager_load *load, struct waker *waker)
{
    mailbox_init(&load->replies, waker);
    arena_init(&load->arenas[0], LOAD_ARENA_MAX);
    arena_init(&load->arenas[1], LOAD_ARENA_MAX);
    for (int i = 0; i < DETAILS_MAX; i++) {
        load->details[i].stage = -1;
    }
}

void manager_load_release(struct manager_load *load)
{
    arena_release(&load->arenas[0]);
    arena_release(&load->arenas[1]);
}

/* --- details --- */

int32_t cuts_of(const uint32_t counts[KEY_GROUP_COUNT], uint32_t lo, uint32_t hi,
                struct load_cut ret_cuts[LOAD_CUTS_MAX])
{
    double all = 0, below = 0;
    int32_t count = 0;
    uint32_t border = lo;
    for (uint32_t g = lo; g < hi; g++) {
        all += counts[g];
    }
    for (int k = 1; k <= LOAD_CUTS_MAX && all > 0; k++) {
        double wanted = all * k / (LOAD_CUTS_MAX + 1);
        while (border + 1 < hi) { /* to the border that is nearest to it */
            double next = below + counts[border];
            if (next > wanted && next - wanted >= wanted - below) {
                break;
            }
            below = next;
            border++;
        }
        if (border > lo && (count == 0 || border > ret_cuts[count - 1].group)) {
            ret_cuts[count++] =
                (struct load_cut){.group = (uint16_t)border, .below = (float)(below / all)};
        }
    }
    return count;
}

static struct part_detail *detail_of(struct manager_load *load, const struct monitored *part)
{
    for (int i = 0; i < DETAILS_MAX; i++) {
        struct part_detail *d = &load->details[i];
        if (d->stage == part->stage && d->shard == part->shard && d->group_lo == part->group_lo &&
            d->group_hi == part->group_hi) {
            return d;
        }
    }
    return NULL;
}

/* The one that is known longest, or none at all. */
static struct part_detail *detail_slot(struct manager_load *load)
{
    struct part_detail *oldest = &load->details[0];
    for (int i = 0; i < DETAILS_MAX; i++) {
        if (load->details[i].stage < 0) {
            return &load->details[i];
        }
        oldest = load->details[i].taken < oldest->taken ? &load->details[i] : oldest;
    }
    return oldest;
}

void manager_load_take(struct manager_load *load, int64_t sample)
{
    struct msg *next = NULL;
    for (struct msg *msg = mailbox_take_all(&load->replies); msg != NULL; msg = next) {
        struct detail_command *command = CONTAINER_OF(msg, struct detail_command, command.msg);
        const struct lane_snapshot *snapshot = &command->command.u.snapshot;
        const struct partition_detail *found = &command->detail;
        next = msg->next;
        command->out = false;
        if (command->command.err != ERR_OK) {
            continue;
        }
        struct monitored wanted = {.stage = snapshot->detail_stage,
                                   .shard = snapshot->detail_shard,
                                   .group_lo = snapshot->detail_group_lo,
                                   .group_hi = command->group_hi};
        struct part_detail *d = detail_of(load, &wanted);
        d = d != NULL ? d : detail_slot(load);
        *d = (struct part_detail){.stage = wanted.stage,
                                  .shard = wanted.shard,
                                  .group_lo = wanted.group_lo,
                                  .group_hi = wanted.group_hi,
                                  .taken = sample};
        d->cut_count = cuts_of(command->counts, d->group_lo, d->group_hi, d->cuts);
        if (found->heavy_count > 0 && found->heavy_sampled > 0) {
            const struct heavy_entry *heaviest = &found->heavy[0];
            uint64_t sure =
                heaviest->count > heaviest->error ? heaviest->count - heaviest->error : 0;
            d->top_share = (double)sure / (double)found->heavy_sampled;
        }
    }
}

static void ask_detail(struct control *control, struct manager_load *load,
                       struct detail_command *command, const struct monitored *part)
{
    command->out = true;
    command->group_hi = part->group_hi;
    command->detail = (struct partition_detail){.group_counts = command->counts};
    command->command = (struct lane_command){.kind = LANE_SNAPSHOT, .reply = &load->replies};
    command->command.u.snapshot = (struct lane_snapshot){.detail = &command->detail,
                                                         .detail_stage = part->stage,
                                                         .detail_shard = part->shard,
                                                         .detail_group_lo = part->group_lo};
    lane_send(node_runtime_lane(control->runtime, part->lane), &command->command);
}

/* Those with most demand whose detail is not known or older than a dozen samples. */
static void ask_details(struct control *control, struct manager_load *load)
{
    const struct monitor *monitor = control->monitor;
    for (int c = 0; c < DETAILS_OUT; c++) {
        const struct monitored *best = NULL;
        for (int32_t i = 0; i < monitor->part_count && !load->commands[c].out; i++) {
            const struct monitored *part = &monitor->parts[i];
            const struct part_detail *d = detail_of(load, part);
            bool wanted = part->running && (d == NULL || monitor->taken_count - d->taken > 12);
            for (int o = 0; o < DETAILS_OUT; o++) {
                const struct lane_snapshot *s = &load->commands[o].command.u.snapshot;
                wanted = wanted &&
                         !(load->commands[o].out && s->detail_stage == part->stage &&
                           s->detail_shard == part->shard && s->detail_group_lo == part->group_lo);
            }
            if (wanted && (best == NULL || part->m.demand > best->m.demand)) {
                best = part;
            }
        }
        if (best != NULL) {
            ask_detail(control, load, &load->commands[c], best);
        }
    }
}

/* --- the input --- */

static uint32_t symptoms_of(const struct control *control, int32_t pipeline)
{
    const struct monitor *monitor = control->monitor;
    const struct measured *m = &monitor->pipelines[pipeline];
    bool stalled_sink = false, stalled_memory = m->memory > memory_ratio;
    for (int32_t i = 0; i < monitor->part_count; i++) {
        const struct monitored *part = &monitor->parts[i];
        if (monitor_pipeline_of(monitor, part) == pipeline) {
            stalled_sink = stalled_sink || part->stalled_sink;
            stalled_memory = stalled_memory || part->stalled_memory;
        }
    }
    bool blocked = m->blocked > blocked_ratio && m->utilisation < blocked_ratio;
    bool errors = m->errors > 1 && m->errors > errors_ratio * m->service;
    return (errors ? LOAD_SYMPTOM_ERRORS : 0u) |
           (stalled_sink || blocked ? LOAD_SYMPTOM_SINK : 0u) |
           (stalled_memory ? LOAD_SYMPTOM_MEMORY : 0u);
}

static void add_pipelines(struct control *control, struct manager_load *load, struct arena *arena)
{
    const struct config *config = control->config;
    double scale = config->manager.time_scale;
    struct load_pipeline *all =
        ARENA_NEW_ARRAY(arena, struct load_pipeline, config->pipeline_count);
    for (int32_t p = 0; p < config->pipeline_count; p++) {
        struct str name = config->pipelines[p]->name;
        const struct pipeline_plan *plan = config_pipeline(config_in_force(control, name), name);
        all[p] = (struct load_pipeline){.name = name,
                                        .objective_s = (double)plan->objective_ns * 1e-9 * scale,
                                        .symptoms = symptoms_of(control, p)};
        load->lag_s[p] = control->monitor->pipelines[p].lag_s * scale;
    }
    load->input.pipelines = all;
    load->input.pipeline_count = config->pipeline_count;
}

static void add_lanes(struct control *control, struct manager_load *load, struct arena *arena)
{
    int32_t per_node = control->config->nodes.lanes;
    struct load_lane *all = ARENA_NEW_ARRAY(arena, struct load_lane, control->lane_count);
    for (int32_t l = 0; l < control->lane_count; l++) {
        enum node_state state = node_runtime_node_state(control->runtime, l / per_node);
        all[l] = (struct load_lane){
            .name = str_of(arena_printf(arena, "n%d/%d", l / per_node, l % per_node)),
            .node = l / per_node,
            .capacity = control->monitor->lanes[l].capacity,
            .open = state == NODE_ACTIVE,
            .draining = state == NODE_DRAINING};
    }
    load->input.lanes = all;
    load->input.lane_count = control->lane_count;
}

/* One shard and its partitions, parts[from..until). */
struct shard_group {
    int32_t from, until;
};

/* Reading is paid once a lane: what its partitions there pay together, of the lane that pays most. */
static void fill_shard(const struct control *control, struct load_shard *shard,
                       const struct shard_group *group)
{
    const struct monitor *monitor = control->monitor;
    double scale = control->config->manager.time_scale;
    double rate = 0, read_s = 0;
    for (int32_t i = group->from; i < group->until; i++) {
        const struct monitored *part = &monitor->parts[i];
        double together = 0;
        for (int32_t o = group->from; o < group->until; o++) {
            together += monitor->parts[o].lane == part->lane ? monitor->parts[o].m.read_cost_s : 0;
        }
        rate = part->m.read > rate ? part->m.read : rate;
        read_s = together > read_s ? together : read_s;
    }
    const struct monitored *first = &monitor->parts[group->from];
    *shard = (struct load_shard){.id = SHARD_NUMBER(first->stage, first->shard),
                                 .pipeline = monitor_pipeline_of(monitor, first),
                                 .rate_per_s = rate / scale,
                                 .read_s = read_s * scale};
}

static void fill_part(struct control *control, struct manager_load *load, struct load_part *to,
                      const struct monitored *part)
{
    const struct stage_plan *plan = node_runtime_stage(control->runtime, part->stage)->plan;
    const struct part_detail *detail = detail_of(load, part);
    double scale = control->config->manager.time_scale;
    char id[PARTITION_ID_MAX];
    partition_id_text(id, plan->pipeline, plan->name, part->shard, part->group_lo, part->group_hi);
    ptrdiff_t len = (ptrdiff_t)strlen(id);
    double share = fmin(1, fmax(0, part->own_share));
    *to = (struct load_part){.name = {arena_dup(&load->arenas[load->turn], id, len), len},
                             .lane = part->lane,
                             .group_lo = part->group_lo,
                             .group_hi = part->group_hi,
                             .share = share,
                             .work_s = part->m.work_cost_s * scale,
                             .waiting = (double)part->m.lag_records * share,
                             .state_bytes = (double)part->m.state_bytes,
                             .held = !part->running};
    if (detail != NULL) {
        to->top_share = fmin(1, detail->top_share);
        to->cuts = detail->cuts;
        to->cut_count = detail->cut_count;
    }
}

void manager_load_build(struct control *control, struct manager_load *load)
{
    const struct monitor *monitor = control->monitor;
    load->turn = 1 - load->turn;
    struct arena *arena = &load->arenas[load->turn];
    arena_reset(arena);
    load->input = (struct load_input){.part_count = monitor->part_count};
    struct load_part *parts = ARENA_NEW_ARRAY(arena, struct load_part, monitor->part_count);
    struct load_shard *shards = ARENA_NEW_ARRAY(arena, struct load_shard, monitor->part_count);
    int32_t shard_count = 0;
    struct shard_group group = {0, 0};
    for (; group.from < monitor->part_count; group.from = group.until) {
        const struct monitored *first = &monitor->parts[group.from];
        group.until = group.from;
        while (group.until < monitor->part_count &&
               monitor->parts[group.until].stage == first->stage &&
               monitor->parts[group.until].shard == first->shard) {
            fill_part(control, load, &parts[group.until], &monitor->parts[group.until]);
            parts[group.until].shard = shard_count;
            group.until++;
        }
        fill_shard(control, &shards[shard_count++], &group);
    }
    load->input.parts = parts;
    load->input.shards = shards;
    load->input.shard_count = shard_count;
    add_pipelines(control, load, arena);
    add_lanes(control, load, arena);
    ask_details(control, load);
}
