// SPDX-License-Identifier: Apache-2.0
#include "sim/manager_actor.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "node/change.h"
#include "node/shadow.h"

enum {
    MS = 1000000,
    SLOTS = 4,
    ASKED_MAX = 4096,
    MODES_MAX = 1024,
    TEXT_MAX = 400,
    LOOK_EVERY_MS = 150 /* nine are longer than the second until a failed record is tried again */
};

static const char LANE[] = "lane";

/* An order or a question that is out, or the place for one. */
struct slot {
    struct control_request request; /* first */
    struct arena arena;
    bool out;
    int32_t number; /* of the order; -1: a question */
};

struct manager_actor {
    struct rng rng, load_rng;
    struct world *world;
    struct clock clock;
    struct waker waker;
    struct mailbox done;
    struct control *control;
    struct slot slots[SLOTS];
    double level_ns; /* mean CPU time that a look of a lane at its clock costs */
    int64_t level_until_ns, next_ns;
    int64_t pace_ns;
    int64_t plan_known; /* highest number seen */
    bool paused, quiet, observed;
    int32_t quiet_looks;
    struct manager_facts facts;
    struct manager_asked *asked;     /* [ASKED_MAX] */
    struct manager_mode_time *modes; /* [MODES_MAX] */
    bool mode_open;                  /* the last of them still holds */
    struct manager_actor_tally tally;
    char section[TEXT_MAX], pipeline[TEXT_MAX];
};

/* --- settings --- */

static int64_t lane_cpu(void *ctx)
{
    struct manager_actor *actor = ctx;
    const struct clock *clock = world_clock(actor->world);
    if (strcmp(world_last(actor->world), LANE) == 0 && actor->level_ns > 0) {
        world_charge(actor->world, (int64_t)(actor->level_ns * rng_exponential(&actor->load_rng)));
    }
    return clock->thread_cpu_ns(clock->ctx);
}

static int64_t now_of(void *ctx)
{
    return world_now_ns(((struct manager_actor *)ctx)->world);
}

static int64_t wall_of(void *ctx)
{
    const struct clock *clock = world_clock(((struct manager_actor *)ctx)->world);
    return clock->wall_unix_ms(clock->ctx);
}

static void draw_settings(struct manager_actor *actor)
{
    static const char *const policies[] = {"shadowcast", "shadowcast", "shadowcast", "predictive",
                                           "reactive",   "trend",      "ds2"};
    static const char *const modes[] = {"act", "act", "act", "recommend", "observe"};
    struct rng *rng = &actor->rng;
    struct manager_facts *facts = &actor->facts;
    int32_t policy = (int32_t)rng_below(rng, COUNT_OF(policies));
    int64_t threshold = rng_range(rng, 20, 70), cooldown = rng_range(rng, 2, 30);
    *facts =
        (struct manager_facts){.time_scale = (double)(40 << rng_below(rng, 4)),
                               .cooldown_s = (double)cooldown,
                               .interval_s = 1,
                               .threshold = (double)threshold / 100,
                               .budget = rng_chance(rng, 0.3) ? (int32_t)rng_range(rng, 1, 6) : 0,
                               .rivals = policy > 3,
                               .clock_jumps = rng_chance(rng, 0.15),
                               .asked = actor->asked,
                               .modes = actor->modes};
    IGNORE_RESULT(snprintf(
        actor->section, sizeof(actor->section),
        "manager: {mode: %s, policy: %s, interval: 1s, time_scale: %.0f, sustain: %llds, "
        "cooldown: %llds, budget: %d, urgent: %lld%%, target: %lld%%, margin: 1%%, step: %lld}\n",
        modes[rng_below(rng, COUNT_OF(modes))], policies[policy], facts->time_scale,
        (long long)rng_range(rng, 2, 20), (long long)cooldown, facts->budget,
        (long long)rng_range(rng, threshold + 10, 95), (long long)rng_range(rng, 20, threshold),
        (long long)rng_range(rng, 1, 3))); /* fits */
    IGNORE_RESULT(snprintf(
        actor->pipeline, sizeof(actor->pipeline),
        "    objective: %lldms\n    shadowing: {automatic: %s, percent: %lld, threshold: %lld%%, "
        "sustain: %llds, duration: %llds}\n",
        (long long)rng_range(rng, 20, 2000), rng_chance(rng, 0.8) ? "true" : "false",
        (long long)rng_range(rng, 5, 100), (long long)threshold, (long long)rng_range(rng, 1, 10),
        (long long)rng_range(rng, 10, 30))); /* fits */
}

struct manager_actor *manager_actor_new(uint64_t seed, struct world *world)
{
    struct manager_actor *actor = MEM_NEW(struct manager_actor);
    rng_init(&actor->rng, seed * 41 + 13);
    rng_init(&actor->load_rng, seed * 43 + 17);
    actor->world = world;
    actor->clock = (struct clock){
        .ctx = actor, .now_ns = now_of, .wall_unix_ms = wall_of, .thread_cpu_ns = lane_cpu};
    waker_init(&actor->waker);
    mailbox_init(&actor->done, &actor->waker);
    actor->asked = MEM_NEW_ARRAY(struct manager_asked, ASKED_MAX);
    actor->modes = MEM_NEW_ARRAY(struct manager_mode_time, MODES_MAX);
    for (int i = 0; i < SLOTS; i++) {
        arena_init(&actor->slots[i].arena, CONTROL_ARENA_MAX);
    }
    draw_settings(actor);
    return actor;
}

void manager_actor_free(struct manager_actor *actor)
{
    if (actor == NULL) {
        return;
    }
    for (int i = 0; i < SLOTS; i++) {
        arena_release(&actor->slots[i].arena);
    }
    mem_free(actor->asked);
    mem_free(actor->modes);
    mem_free(actor);
}

const char *manager_actor_section(const struct manager_actor *actor)
{
    return actor->section;
}

const char *manager_actor_pipeline(const struct manager_actor *actor)
{
    return actor->pipeline;
}

const struct clock *manager_actor_clock(const struct manager_actor *actor)
{
    return &actor->clock;
}

void manager_actor_begin(struct manager_actor *actor, struct control *control)
{
    actor->control = control;
    actor->pace_ns = rng_range(&actor->rng, 4, 200) * MS;
    actor->next_ns = actor->level_until_ns = 0;
    actor->quiet = actor->observed = false;
    actor->quiet_looks = 0;
    mailbox_init(&actor->done, &actor->waker);
}

static void end_mode(struct manager_actor *actor)
{
    if (actor->mode_open) {
        actor->modes[actor->facts.mode_count - 1].to_ms = wall_of(actor);
        actor->mode_open = false;
    }
}

void manager_actor_end(struct manager_actor *actor)
{
    end_mode(actor);
    for (int i = 0; i < SLOTS; i++) {
        actor->slots[i].out = false; /* nobody answers any more */
    }
    actor->control = NULL;
}

/* --- orders --- */

static void submit(struct manager_actor *actor, struct slot *slot)
{
    struct control_request *request = &slot->request;
    slot->number = -1;
    if (request->who.audit) {
        slot->number = actor->facts.asked_count++;
        actor->asked[slot->number] = (struct manager_asked){.audited = true};
        IGNORE_RESULT(snprintf(request->who.request_id, sizeof(request->who.request_id), "r%d",
                               slot->number)); /* fits */
        actor->tally.orders++;
    }
    slot->out = true;
    mailbox_push(control_mailbox(actor->control), &request->msg);
}

static struct control_args *prepare(struct manager_actor *actor, struct slot *slot,
                                    enum control_kind kind, bool order)
{
    arena_reset(&slot->arena);
    slot->request = (struct control_request){
        .kind = kind,
        .done = &actor->done,
        .arena = &slot->arena,
        .who = {.name = "ann", .role = "operator", .audit = order, .action = "order"}};
    control_args_init(&slot->request.args);
    text_init(&slot->request.text, &slot->arena);
    return &slot->request.args;
}

static void name_partition(struct manager_actor *actor, struct control_args *args)
{
    struct rng *rng = &actor->rng;
    struct node_runtime *rt = control_runtime(actor->control);
    int32_t stage = (int32_t)rng_below(rng, (uint64_t)node_runtime_stage_count(rt));
    const struct partition_map *map = node_runtime_map(rt, stage);
    int32_t at = (int32_t)rng_below(rng, (uint64_t)map->count);
    const struct partition_place *place = &map->places[at];
    const struct stage_plan *plan = node_runtime_stage(rt, stage)->plan;
    args->shard = place->shard;
    IGNORE_RESULT(snprintf(args->pipeline, sizeof(args->pipeline), "%.*s",
                           STR_ARG(plan->pipeline))); /* these fit */
    IGNORE_RESULT(snprintf(args->stage, sizeof(args->stage), "%.*s", STR_ARG(plan->name)));
    IGNORE_RESULT(
        snprintf(args->range, sizeof(args->range), "%u-%u", place->group_lo, place->group_hi));
    IGNORE_RESULT(snprintf(args->subject, sizeof(args->subject), "%.*s/%.*s/%u/%u-%u",
                           STR_ARG(plan->pipeline), STR_ARG(plan->name), place->shard,
                           place->group_lo, place->group_hi));
    if (at + 1 < map->count && map->places[at + 1].shard == place->shard) {
        IGNORE_RESULT(snprintf(args->with, sizeof(args->with), "%.*s/%.*s/%u/%u-%u",
                               STR_ARG(plan->pipeline), STR_ARG(plan->name), place->shard,
                               map->places[at + 1].group_lo, map->places[at + 1].group_hi));
    }
    int32_t nodes = node_runtime_node_max(rt), lanes = node_runtime_lane_count(rt) / nodes;
    IGNORE_RESULT(snprintf(args->to, sizeof(args->to), "n%d/%d",
                           (int)rng_below(rng, (uint64_t)nodes),
                           (int)rng_below(rng, (uint64_t)lanes)));
}

static void order_layout(struct manager_actor *actor, struct slot *slot)
{
    static const enum control_kind kinds[] = {CONTROL_PARTITION_SPLIT, CONTROL_PARTITION_MERGE,
                                              CONTROL_PARTITION_MIGRATE, CONTROL_NODE_ADD,
                                              CONTROL_NODE_DRAIN};
    struct rng *rng = &actor->rng;
    enum control_kind kind = kinds[rng_below(rng, COUNT_OF(kinds))];
    struct control_args *args = prepare(actor, slot, kind, true);
    args->apply = rng_chance(rng, 0.9);
    if (kind == CONTROL_NODE_ADD || kind == CONTROL_NODE_DRAIN) {
        int32_t nodes = node_runtime_node_max(control_runtime(actor->control));
        IGNORE_RESULT(snprintf(args->node, sizeof(args->node), "n%d",
                               (int)rng_below(rng, (uint64_t)nodes))); /* fits */
    } else {
        name_partition(actor, args);
    }
    submit(actor, slot);
}

static void order_mode(struct manager_actor *actor, struct slot *slot, enum config_mode mode)
{
    struct control_args *args = prepare(actor, slot, CONTROL_MANAGER_MODE, true);
    args->mode = (int64_t)mode;
    end_mode(actor); /* from now on it may be another */
    submit(actor, slot);
}

static void order_plan(struct manager_actor *actor, struct slot *slot)
{
    static const enum control_kind kinds[] = {CONTROL_PLAN_APPLY, CONTROL_PLAN_APPLY,
                                              CONTROL_PLAN_CANCEL, CONTROL_PLAN_UNDO};
    struct rng *rng = &actor->rng;
    struct control_args *args = prepare(actor, slot, kinds[rng_below(rng, COUNT_OF(kinds))], true);
    int64_t back = rng_range(rng, 0, 4);
    args->decision = actor->plan_known > back ? actor->plan_known - back : 1;
    submit(actor, slot);
}

static void order_shadow(struct manager_actor *actor, struct slot *slot)
{
    struct control_args *args = prepare(actor, slot, CONTROL_SHADOW_START, true);
    name_partition(actor, args);
    args->duration_seconds = 1;
    submit(actor, slot);
}

static void order_one(struct manager_actor *actor, struct slot *slot)
{
    struct rng *rng = &actor->rng;
    uint64_t what = rng_below(rng, 12);
    if (actor->facts.asked_count == ASKED_MAX || actor->facts.mode_count == MODES_MAX - 1) {
        return;
    }
    if (what < 3) {
        order_layout(actor, slot);
    } else if (what < 5) {
        order_mode(actor, slot,
                   rng_chance(rng, 0.6) ? CONFIG_ACT : (enum config_mode)rng_below(rng, 2));
    } else if (what < 8) {
        order_plan(actor, slot);
    } else if (what < 9) {
        order_shadow(actor, slot);
    } else {
        struct control_args *args = prepare(actor, slot, CONTROL_PLAN_LIST, false);
        args->limit = 10;
        submit(actor, slot);
    }
}

/* --- answers --- */

static void take_mode(struct manager_actor *actor, const struct slot *slot)
{
    for (int i = 0; i < SLOTS; i++) {
        const struct slot *other = &actor->slots[i];
        if (other->out && other->request.kind == CONTROL_MANAGER_MODE) {
            return; /* which of them comes last is not known */
        }
    }
    if (slot->request.err == ERR_OK) {
        end_mode(actor);
        actor->modes[actor->facts.mode_count++] =
            (struct manager_mode_time){.from_ms = wall_of(actor),
                                       .to_ms = INT64_MAX,
                                       .acts = slot->request.args.mode == CONFIG_ACT};
        actor->mode_open = true;
    }
}

static bool is_under_way(struct str state)
{
    return str_is(state, "approved") || str_is(state, "applying");
}

static void take_plans(struct manager_actor *actor, const struct control_rows *rows)
{
    const struct plan_row *plans = rows->rows;
    for (int32_t i = 0; i < rows->count; i++) {
        actor->plan_known = plans[i].id > actor->plan_known ? plans[i].id : actor->plan_known;
        if (is_under_way(plans[i].state)) {
            actor->quiet_looks = 0;
        }
    }
}

static void take_answer(struct manager_actor *actor, struct slot *slot)
{
    const struct control_request *request = &slot->request;
    slot->out = false;
    if (slot->number >= 0) {
        struct manager_asked *asked = &actor->asked[slot->number];
        asked->answered = true;
        asked->result = err_name(request->err);
        asked->answered_ms = wall_of(actor);
        asked->operation = request->err == ERR_OK ? request->operation : 0;
        actor->tally.answered++;
        actor->tally.refused += request->err != ERR_OK;
    }
    if (request->kind == CONTROL_MANAGER_MODE) {
        take_mode(actor, slot);
        /* An order of before the pause may be answered behind it, and be another. */
        actor->observed =
            actor->paused && request->err == ERR_OK && request->args.mode == CONFIG_OBSERVE;
    } else if (request->kind == CONTROL_PLAN_LIST && request->err == ERR_OK) {
        take_plans(actor, &request->rows);
    } else if (request->err == ERR_OK && request->rows.count > 0 &&
               (request->kind == CONTROL_OPERATION_LIST || request->kind == CONTROL_SHADOW_LIST)) {
        actor->quiet_looks = 0;
    }
}

/* --- the end: is anything still under way? --- */

static void look_for_quiet(struct manager_actor *actor, struct slot *slot)
{
    static const enum control_kind kinds[] = {CONTROL_PLAN_LIST, CONTROL_OPERATION_LIST,
                                              CONTROL_SHADOW_LIST};
    if (!actor->observed) {
        order_mode(actor, slot, CONFIG_OBSERVE);
        return;
    }
    if (actor->quiet_looks >= 3 * COUNT_OF(kinds)) {
        actor->quiet = true;
        return;
    }
    struct control_args *args =
        prepare(actor, slot, kinds[actor->quiet_looks % COUNT_OF(kinds)], false);
    args->active = true;
    actor->quiet_looks++;
    submit(actor, slot);
}

static bool any_out(const struct manager_actor *actor)
{
    bool out = false;
    for (int i = 0; i < SLOTS; i++) {
        out = out || actor->slots[i].out;
    }
    return out;
}

/* --- its loop --- */

static void draw_level(struct manager_actor *actor, int64_t now_ns)
{
    static const double levels[] = {0, 0, 10e3, 30e3, 100e3, 250e3};
    struct rng *rng = &actor->load_rng;
    double interval_ns = actor->facts.interval_s * 1e9 / actor->facts.time_scale;
    actor->level_ns = actor->paused ? 0 : levels[rng_below(rng, COUNT_OF(levels))];
    actor->level_until_ns = now_ns + (int64_t)(interval_ns * (2 + 40 * rng_unit(rng)));
    if (actor->facts.clock_jumps && rng_chance(rng, 0.3)) {
        world_shift_wall(actor->world, rng_range(rng, -3600000, 3600000));
    }
}

int64_t manager_actor_step(void *ctx, int64_t now_ns)
{
    struct manager_actor *actor = ctx;
    struct msg *next = NULL;
    for (struct msg *msg = mailbox_take_all(&actor->done); msg != NULL; msg = next) {
        next = msg->next;
        take_answer(actor, CONTAINER_OF(msg, struct slot, request.msg));
    }
    if (now_ns >= actor->level_until_ns) {
        draw_level(actor, now_ns);
    }
    if (now_ns < actor->next_ns || !control_serving(actor->control) ||
        node_runtime_state(control_runtime(actor->control)) != RUNTIME_RUNNING) {
        return now_ns + MS;
    }
    actor->next_ns = now_ns + (actor->paused ? LOOK_EVERY_MS * MS
                                             : rng_range(&actor->rng, 1, 2 * actor->pace_ns));
    struct slot *slot = &actor->slots[rng_below(&actor->rng, SLOTS)];
    if (actor->paused && !any_out(actor) && !actor->quiet) {
        look_for_quiet(actor, slot);
    } else if (!actor->paused && !slot->out) {
        order_one(actor, slot);
    }
    return now_ns + MS;
}

struct waker *manager_actor_waker(struct manager_actor *actor)
{
    return &actor->waker;
}

void manager_actor_pause(struct manager_actor *actor)
{
    actor->paused = true;
}

bool manager_actor_quiet(const struct manager_actor *actor)
{
    return actor->quiet;
}

const struct manager_facts *manager_actor_facts(const struct manager_actor *actor)
{
    return &actor->facts;
}

struct manager_actor_tally manager_actor_tally(const struct manager_actor *actor)
{
    return actor->tally;
}
