// SPDX-License-Identifier: Apache-2.0
#include "sim/layout_actor.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/crashpoint.h"
#include "base/mem.h"

enum {
    MS = 1000000,
    ACTIVE_MAX = 6,
    STAGES_KNOWN_MAX = 4,
    PLACES_MAX = 2048,
    FLYING_MAX = 16,
    TEXTS_MAX = 2
};

/* Ranges with owners that a map may hold after a crash beside the ones it had. */
struct known_layout {
    struct partition_place places[PLACES_MAX];
    int32_t count;
    struct partition_place flying[FLYING_MAX]; /* of changes whose write was in flight */
    int32_t flying_count;
};

struct layout_actor {
    struct rng rng;
    struct waker waker;
    struct node_runtime *rt;
    const struct config *texts[TEXTS_MAX];
    int text_count;
    struct rng text_rng; /* of what came later, so that old seeds keep their changes */
    struct change *active[ACTIVE_MAX];
    bool paused, checked, same_numbers;
    int64_t pace_ns;
    struct known_layout known[STAGES_KNOWN_MAX];
    int32_t known_stages; /* 0: nothing known */
    int64_t passes_left;  /* crash points until the crash; < 0: none is drawn */
    bool crash;
    struct layout_tally tally;
    char problem[300];
};

static void note_pass(void *ctx, const char *name)
{
    struct layout_actor *actor = ctx;
    if (strncmp(name, "change.", 7) == 0 || strncmp(name, "lane.", 5) == 0) {
        actor->tally.crash_points++;
        actor->crash |= actor->passes_left-- == 0;
    }
}

struct layout_actor *layout_actor_new(uint64_t seed)
{
    struct layout_actor *actor = MEM_NEW(struct layout_actor);
    rng_init(&actor->rng, seed * 31 + 7);
    rng_init(&actor->text_rng, seed * 37 + 5);
    waker_init(&actor->waker);
    actor->passes_left = -1;
    crashpoint_arm(note_pass, actor);
    return actor;
}

void layout_actor_free(struct layout_actor *actor)
{
    if (actor != NULL) {
        crashpoint_arm(NULL, NULL);
        mem_free(actor);
    }
}

void layout_actor_begin(struct layout_actor *actor, struct node_runtime *rt, bool same_numbers,
                        const struct config *const *texts, int text_count)
{
    actor->rt = rt;
    CHECK(text_count <= TEXTS_MAX);
    actor->text_count = text_count;
    for (int i = 0; i < text_count; i++) {
        actor->texts[i] = texts[i];
    }
    actor->checked = false;
    actor->same_numbers = same_numbers;
    actor->crash = false;
    actor->pace_ns = rng_range(&actor->rng, 1, 40) * MS / 4;
    actor->passes_left = rng_chance(&actor->rng, 0.6) ? rng_range(&actor->rng, 0, 60) : -1;
}

/* --- what may be found --- */

static bool same_place(const struct partition_place *a, const struct partition_place *b)
{
    return a->shard == b->shard && a->group_lo == b->group_lo && a->group_hi == b->group_hi &&
           a->node == b->node && a->lane == b->lane;
}

static bool may_be(const struct known_layout *known, const struct partition_place *place)
{
    for (int32_t i = 0; i < known->count; i++) {
        if (same_place(&known->places[i], place)) {
            return true;
        }
    }
    for (int32_t i = 0; i < known->flying_count; i++) {
        if (same_place(&known->flying[i], place)) {
            return true;
        }
    }
    return false;
}

static void check_stage(struct layout_actor *actor, int32_t stage)
{
    const struct partition_map *map = node_runtime_map(actor->rt, stage);
    for (int32_t k = 0; k < map->count; k++) {
        const struct partition_place *p = &map->places[k];
        if (may_be(&actor->known[stage], p)) {
            continue;
        }
        IGNORE_RESULT(snprintf(actor->problem, sizeof(actor->problem),
                               "after the crash stage %d has %u/%u-%u on %u.%u, which no change "
                               "made",
                               stage, p->shard, p->group_lo, p->group_hi, p->node,
                               p->lane)); /* fits */
    }
}

static void check_layout(struct layout_actor *actor)
{
    actor->checked = true;
    int32_t stages = actor->same_numbers ? actor->known_stages : 0;
    for (int32_t i = 0; i < stages; i++) {
        check_stage(actor, i);
    }
}

static void note_flying(struct known_layout *known, const struct change *change)
{
    struct partition_place place = {.shard = change->spec.shard,
                                    .group_lo = change->spec.group_lo,
                                    .group_hi = change->spec.group_hi};
    for (int32_t i = 0; i < known->count; i++) { /* the owner, unless another was given */
        const struct partition_place *was = &known->places[i];
        if (was->shard == place.shard && was->group_lo == place.group_lo) {
            place.node = was->node;
            place.lane = was->lane;
        }
        if (change->spec.kind == CHANGE_MERGE && was->shard == place.shard &&
            was->group_lo == change->spec.group_hi) {
            place.group_hi = was->group_hi;
        }
    }
    struct partition_place upper = place;
    bool placed = change->spec.kind == CHANGE_MIGRATE || (change->spec.flags & CHANGE_PLACED) != 0;
    struct partition_place *moved = change->spec.kind == CHANGE_SPLIT ? &upper : &place;
    if (placed) {
        moved->node = change->spec.node;
        moved->lane = change->spec.lane;
    }
    if (change->spec.kind == CHANGE_SPLIT) {
        place.group_hi = upper.group_lo = change->border;
        known->flying[known->flying_count++] = upper;
    }
    known->flying[known->flying_count++] = place;
}

void layout_actor_end(struct layout_actor *actor)
{
    bool known = actor->checked; /* it was up, and its maps are those that were written */
    int32_t stages = known ? node_runtime_stage_count(actor->rt) : 0;
    if (known) {
        actor->known_stages = stages < STAGES_KNOWN_MAX ? stages : STAGES_KNOWN_MAX;
    } else if (!actor->same_numbers) {
        actor->known_stages = 0; /* it may have written others, or not */
    }
    for (int32_t i = 0; known && i < actor->known_stages; i++) {
        const struct partition_map *map = node_runtime_map(actor->rt, i);
        CHECK(map->count <= PLACES_MAX);
        actor->known[i].count = map->count;
        actor->known[i].flying_count = 0;
        memcpy(actor->known[i].places, map->places, (size_t)map->count * sizeof(map->places[0]));
    }
    for (int i = 0; i < ACTIVE_MAX; i++) {
        struct change *change = actor->active[i];
        if (change == NULL) {
            continue;
        }
        actor->tally.open_at_crash += !change_final(change);
        if (!change_final(change) && change->map_submitted && change->state == CHANGE_MAPPING &&
            change->spec.kind != CHANGE_NODE && change->spec.kind != CHANGE_PIPELINE &&
            change->spec.stage < actor->known_stages) {
            note_flying(&actor->known[change->spec.stage], change);
        }
        change_release(change);
        actor->active[i] = NULL;
    }
    actor->rt = NULL;
}

/* --- changes --- */

static void draw(struct layout_actor *actor, struct change_spec *spec)
{
    struct rng *rng = &actor->rng;
    int32_t stage = (int32_t)rng_below(rng, (uint64_t)node_runtime_stage_count(actor->rt));
    const struct partition_map *map = node_runtime_map(actor->rt, stage);
    const struct partition_place *place = &map->places[rng_below(rng, (uint64_t)map->count)];
    int32_t node_max = node_runtime_node_max(actor->rt);
    int32_t lanes = node_runtime_lane_count(actor->rt) / node_max;
    *spec = (struct change_spec){
        .kind = rng_chance(rng, 0.1) ? CHANGE_NODE : (enum change_kind)rng_below(rng, 3),
        .flags = (rng_chance(rng, 0.5) ? (uint32_t)CHANGE_PLACED : 0) |
                 (rng_chance(rng, 0.05) ? (uint32_t)CHANGE_DRY_RUN : 0),
        .stage = stage,
        .shard = place->shard,
        .group_lo = place->group_lo,
        .group_hi = place->group_hi,
        .node = (uint16_t)rng_below(rng, (uint64_t)node_max),
        .lane = (uint16_t)rng_below(rng, (uint64_t)lanes),
        .node_state = (enum node_state)rng_below(rng, 3),
    };
    if (spec->kind == CHANGE_SPLIT && map->count >= 200) {
        spec->kind = CHANGE_MERGE;
    }
    if (rng_chance(rng, 0.5) && place->group_hi - place->group_lo > 1) {
        spec->border = (uint32_t)rng_range(rng, place->group_lo + 1, place->group_hi - 1);
    }
}

static void finished(struct layout_actor *actor, struct change *change)
{
    actor->tally.done += change->state == CHANGE_DONE;
    actor->tally.undone += change->state == CHANGE_UNDONE;
    if (change->state == CHANGE_NEEDS_OPERATOR) {
        IGNORE_RESULT(snprintf(actor->problem, sizeof(actor->problem), "a %s needs an operator: %s",
                               change_kind_name(change->spec.kind), change->info.text)); /* cut */
    }
    change_release(change);
}

static void try_one(struct layout_actor *actor, struct change **slot)
{
    struct change_spec spec;
    uint64_t conflict = 0;
    draw(actor, &spec);
    if (rng_chance(&actor->text_rng, 0.08)) {
        spec = (struct change_spec){
            .kind = CHANGE_PIPELINE,
            .config = actor->texts[rng_below(&actor->text_rng, (uint64_t)actor->text_count)]};
    }
    if (change_start(actor->rt, &spec, NULL, slot, &conflict, NULL) == ERR_OK) {
        actor->tally.started[spec.kind]++;
    } else {
        *slot = NULL;
        actor->tally.refused++;
    }
}

int64_t layout_actor_step(void *ctx, int64_t now_ns)
{
    struct layout_actor *actor = ctx;
    enum runtime_state state = node_runtime_state(actor->rt);
    if (state < RUNTIME_RUNNING) {
        return now_ns + MS;
    }
    if (!actor->checked && state == RUNTIME_RUNNING) {
        check_layout(actor);
    }
    for (int i = 0; i < ACTIVE_MAX; i++) {
        struct change **slot = &actor->active[i];
        if (*slot != NULL && change_final(*slot)) {
            finished(actor, *slot);
            *slot = NULL;
        }
        if (*slot == NULL && !actor->paused && state == RUNTIME_RUNNING) {
            try_one(actor, slot);
        } else if (*slot != NULL && rng_chance(&actor->rng, 0.02)) {
            IGNORE_RESULT(change_cancel(*slot, NULL)); /* may be too late */
        }
    }
    return now_ns + rng_range(&actor->rng, 1, 2 * actor->pace_ns);
}

struct waker *layout_actor_waker(struct layout_actor *actor)
{
    return &actor->waker;
}

void layout_actor_pause(struct layout_actor *actor)
{
    actor->paused = true;
}

bool layout_actor_crash(const struct layout_actor *actor)
{
    return actor->crash;
}

const char *layout_actor_problem(const struct layout_actor *actor)
{
    return actor->problem[0] != '\0' ? actor->problem : NULL;
}

struct layout_tally layout_actor_tally(const struct layout_actor *actor)
{
    return actor->tally;
}
