// SPDX-License-Identifier: Apache-2.0
#include "sim/shadow_actor.h"

#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"

enum { MS = 1000000, SLOTS = 6, OPERATORS = 16 };

/* One shadow, or the place for one. At most one command of it is with the lane. */
struct slot {
    struct shadow_command command; /* first */
    struct shadow_actor *actor;
    bool out, open, paused, kept, has_twin; /* kept: its results, for a twin */
    uint64_t id, partner;
    int32_t stage;
    struct partition_place place;
    struct shadow_sample sample;
    struct shadow_measures measures;
    struct shadow_operator operators[OPERATORS];
    struct shadow_comparison comparison;
};

struct shadow_actor {
    struct rng rng;
    struct waker waker;
    struct mailbox replies;
    struct node_runtime *rt;
    struct slot *slots; /* [SLOTS] */
    uint64_t last_id;
    int64_t slow_until_ns, slow_next_ns;
    bool slow;
    struct shadow_tally tally;
    char problem[300];
};

struct shadow_actor *shadow_actor_new(uint64_t seed)
{
    struct shadow_actor *actor = MEM_NEW(struct shadow_actor);
    rng_init(&actor->rng, seed * 37 + 11);
    waker_init(&actor->waker);
    mailbox_init(&actor->replies, &actor->waker);
    actor->slots = MEM_NEW_ARRAY(struct slot, SLOTS);
    return actor;
}

void shadow_actor_free(struct shadow_actor *actor)
{
    if (actor != NULL) {
        mem_free(actor->slots);
        mem_free(actor);
    }
}

double shadow_actor_budget(struct shadow_actor *actor)
{
    return rng_chance(&actor->rng, 0.5) ? 1 : 0.01 + 0.2 * rng_unit(&actor->rng);
}

int64_t shadow_actor_memory_bytes(struct shadow_actor *actor)
{
    bool scarce = rng_chance(&actor->rng, 0.3);
    return scarce ? rng_range(&actor->rng, 2 << 20, 16 << 20) : 256 << 20;
}

void shadow_actor_begin(struct shadow_actor *actor, struct node_runtime *rt)
{
    actor->rt = rt;
    actor->slow = rng_chance(&actor->rng, 0.4);
    actor->slow_until_ns = actor->slow_next_ns = 0;
    mailbox_init(&actor->replies, &actor->waker);
    for (int i = 0; i < SLOTS; i++) {
        actor->slots[i] = (struct slot){.actor = actor};
    }
}

void shadow_actor_end(struct shadow_actor *actor)
{
    actor->rt = NULL; /* what was with the lane is gone with it */
}

/* --- commands --- */

static void submit(struct slot *slot, enum shadow_command_kind kind)
{
    slot->command.kind = kind;
    slot->command.reply = &slot->actor->replies;
    slot->command.err = ERR_OK;
    slot->out = true;
    shadow_lane_send(node_runtime_shadow_lane(slot->actor->rt), &slot->command);
}

static void draw_sample(struct shadow_actor *actor, struct shadow_sample *sample)
{
    struct shadow_strata strata;
    double percent = rng_chance(&actor->rng, 0.3) ? 100 : 1 + 99 * rng_unit(&actor->rng);
    shadow_sample_choose(NULL, 0, 0, percent, sample, &strata);
}

/* A shadow of a drawn partition, or a twin of one that keeps its results. */
static void open_one(struct shadow_actor *actor, struct slot *slot)
{
    struct rng *rng = &actor->rng;
    struct slot *base = &actor->slots[rng_below(rng, SLOTS)];
    bool twin = base != slot && base->open && base->kept && !base->out && base->partner == 0 &&
                !base->has_twin && rng_chance(rng, 0.7);
    slot->stage = (int32_t)rng_below(rng, (uint64_t)node_runtime_stage_count(actor->rt));
    const struct partition_map *map = node_runtime_map(actor->rt, slot->stage);
    slot->place = map->places[rng_below(rng, (uint64_t)map->count)];
    draw_sample(actor, &slot->sample);
    slot->has_twin = false;
    if (twin) {
        base->has_twin = true;
        slot->stage = base->stage;
        slot->place = base->place;
        slot->sample = base->sample;
    }
    slot->id = ++actor->last_id;
    slot->kept = twin || rng_chance(rng, 0.4);
    slot->partner = twin ? base->id : 0;
    slot->paused = false;
    slot->command = (struct shadow_command){.kind = SHADOW_OPEN};
    slot->command.u.open = (struct shadow_spec){
        .id = slot->id,
        .stage = slot->stage,
        .shard = slot->place.shard,
        .group_lo = slot->place.group_lo,
        .group_hi = slot->place.group_hi,
        .sample = slot->sample,
        .transport = !twin && rng_chance(rng, 0.3) ? SHADOW_QUEUE : SHADOW_VIEW,
        .feed = rng_chance(rng, 0.2) ? SHADOW_BACKLOG : SHADOW_FOLLOW,
        .flags = slot->kept ? SHADOW_KEEP_RESULTS : 0,
        .partner = slot->partner,
        .warm_until = {-1, -1},
        .warm_batches = (int32_t)rng_range(rng, 1, 4),
        .records_max = rng_chance(rng, 0.2) ? rng_range(rng, 1, 200) : 0,
        .backlog_records = rng_range(rng, 1, 200),
        .backlog_wait_ns = rng_range(rng, 1, 50) * MS,
        .lag_records_max = rng_chance(rng, 0.2) ? rng_range(rng, 50, 500) : 0,
    };
    submit(slot, SHADOW_OPEN);
}

static struct shadow_measure measure_of(struct slot *slot)
{
    return (struct shadow_measure){.id = slot->id,
                                   .measures = &slot->measures,
                                   .operators = slot->operators,
                                   .operator_cap = OPERATORS};
}

static void go_on(struct shadow_actor *actor, struct slot *slot)
{
    struct rng *rng = &actor->rng;
    uint64_t what = rng_below(rng, 10);
    slot->command = (struct shadow_command){.kind = SHADOW_MEASURE};
    if (what < 4) {
        slot->command.u.measure = measure_of(slot);
        submit(slot, SHADOW_MEASURE);
    } else if (what < 6) {
        slot->command.u.id = slot->id;
        slot->paused = !slot->paused;
        submit(slot, slot->paused ? SHADOW_PAUSE : SHADOW_RESUME);
    } else if (what < 7 && slot->partner == 0 && !slot->kept) {
        draw_sample(actor, &slot->sample);
        slot->command.u.resample.last = measure_of(slot);
        slot->command.u.resample.sample = slot->sample;
        submit(slot, SHADOW_RESAMPLE);
    } else if (what < 9 && slot->partner != 0) {
        slot->command.u.compare.id = slot->id;
        slot->command.u.compare.comparison = &slot->comparison;
        submit(slot, SHADOW_COMPARE);
    } else if (what == 9) {
        slot->command.u.measure = measure_of(slot);
        submit(slot, SHADOW_CLOSE);
    }
}

/* --- answers --- */

static void tell(struct shadow_actor *actor, const struct slot *slot, const char *what)
{
    IGNORE_RESULT(snprintf(actor->problem, sizeof(actor->problem), "shadow %llu of %d: %s: %.180s",
                           (unsigned long long)slot->id, slot->stage, what,
                           slot->command.info.text)); /* may be cut */
}

static void take_measures(struct shadow_actor *actor, const struct slot *slot)
{
    const struct shadow_measures *m = &slot->measures;
    actor->tally.measured++;
    actor->tally.records += m->work.rows_in;
    actor->tally.results += m->results;
    actor->tally.ended += m->state == SHADOW_ENDED;
    if (m->completeness < 0 || m->completeness > 1 || m->records_dropped < 0) {
        tell(actor, slot, "its completeness is no share");
    }
}

/* Twins of one chain on one sample have the same results. */
static void take_comparison(struct shadow_actor *actor, const struct slot *slot)
{
    const struct shadow_comparison *c = &slot->comparison;
    actor->tally.compared++;
    if (c->differing > 0) {
        tell(actor, slot, "it differs from its twin");
    }
}

static void take_reply(struct shadow_actor *actor, struct slot *slot)
{
    enum err err = slot->command.err;
    slot->out = false;
    switch (slot->command.kind) {
    case SHADOW_OPEN:
        slot->open = err == ERR_OK;
        actor->tally.opened += err == ERR_OK;
        actor->tally.refused += err != ERR_OK;
        break;
    case SHADOW_CLOSE:
        actor->tally.closed++;
        slot->open = false;
        if (err != ERR_OK) {
            tell(actor, slot, "it cannot be closed");
        }
        break;
    case SHADOW_MEASURE:
        if (err != ERR_OK) {
            tell(actor, slot, "it is not there any more, and nobody closed it");
        } else {
            take_measures(actor, slot);
        }
        break;
    case SHADOW_COMPARE:
        if (err == ERR_OK) {
            take_comparison(actor, slot);
        }
        break;
    case SHADOW_RESAMPLE:
        actor->tally.resampled += err == ERR_OK;
        break;
    case SHADOW_PAUSE:
        actor->tally.paused += err == ERR_OK;
        break;
    case SHADOW_RESUME:
    case SHADOW_LIST:
    case SHADOW_LIMITS:
    case SHADOW_STOP:
        break;
    }
}

/* I8: when nothing is open here and nothing is with the lane, it holds nothing. */
static void check_gone(struct shadow_actor *actor)
{
    for (int i = 0; i < SLOTS; i++) {
        if (actor->slots[i].open || actor->slots[i].out) {
            return;
        }
    }
    const struct shadow_lane_status *status =
        shadow_lane_status(node_runtime_shadow_lane(actor->rt));
    int32_t left = atomic_load(&status->open) + atomic_load(&status->ended);
    if (left != 0 && actor->problem[0] == 0) {
        IGNORE_RESULT(snprintf(actor->problem, sizeof(actor->problem),
                               "all shadows are closed, yet their lane holds %d", left)); /* fits */
    }
}

int64_t shadow_actor_step(void *ctx, int64_t now_ns)
{
    struct shadow_actor *actor = ctx;
    struct msg *next = NULL;
    bool any = false;
    for (struct msg *msg = mailbox_take_all(&actor->replies); msg != NULL; msg = next) {
        next = msg->next;
        any = true;
        take_reply(actor, CONTAINER_OF(msg, struct slot, command.msg));
    }
    if (node_runtime_state(actor->rt) != RUNTIME_RUNNING) {
        return now_ns + MS;
    }
    if (!any) { /* the lane has published what it answered */
        check_gone(actor);
    }
    struct slot *slot = &actor->slots[rng_below(&actor->rng, SLOTS)];
    if (!slot->out && slot->open) {
        go_on(actor, slot);
    } else if (!slot->out) {
        open_one(actor, slot);
    }
    return now_ns + rng_range(&actor->rng, 1, 12 * MS);
}

struct waker *shadow_actor_waker(struct shadow_actor *actor)
{
    return &actor->waker;
}

int64_t shadow_actor_lane_step(void *ctx, int64_t now_ns)
{
    struct shadow_actor *actor = ctx;
    if (actor->slow && now_ns >= actor->slow_next_ns) {
        actor->slow_until_ns = now_ns + rng_range(&actor->rng, 0, 300) * MS;
        actor->slow_next_ns = actor->slow_until_ns + rng_range(&actor->rng, 1, 100) * MS;
    }
    if (now_ns < actor->slow_until_ns) {
        return actor->slow_until_ns; /* an idle thread on a full machine */
    }
    return shadow_lane_step(node_runtime_shadow_lane(actor->rt), now_ns);
}

struct waker *shadow_actor_lane_waker(struct shadow_actor *actor)
{
    return shadow_lane_waker(node_runtime_shadow_lane(actor->rt));
}

const char *shadow_actor_problem(const struct shadow_actor *actor)
{
    return actor->problem[0] != 0 ? actor->problem : NULL;
}

struct shadow_tally shadow_actor_tally(const struct shadow_actor *actor)
{
    return actor->tally;
}
