// SPDX-License-Identifier: Apache-2.0
#include "sim/world.h"

#include "base/check.h"
#include "base/mem.h"

enum { THINGS_MAX = 4096, STEP_COST_NS = 5000, STALL_MAX_NS = 20000000, TICK_NS = 200 };
static const int64_t WALL_START_MS = 1735689600000; /* 2025-01-01T00:00:00Z */

struct thing {
    const char *name; /* NULL: removed */
    loop_step step;
    void *ctx;
    struct waker *waker;
    int64_t deadline_ns;
    int64_t busy_until_ns;
    int64_t cpu_ns;
};

struct world {
    struct world_options options;
    struct rng scene; /* for the caller */
    struct rng order; /* who comes next */
    struct rng costs;
    int64_t now_ns;
    int64_t wall_shift_ms;
    int current; /* thing being stepped, -1: none */
    int last;
    int count;
    struct thing things[THINGS_MAX];
    int runnable[THINGS_MAX]; /* scratch of one pick */
    struct clock clock;
};

static int64_t draw_cost(struct world *world)
{
    return (int64_t)((double)world->options.step_cost_ns * rng_exponential(&world->costs));
}

static int64_t clock_now(void *ctx)
{
    const struct world *world = ctx;
    return world->now_ns;
}

static int64_t clock_wall(void *ctx)
{
    const struct world *world = ctx;
    return WALL_START_MS + world->now_ns / 1000000 + world->wall_shift_ms;
}

static int64_t clock_cpu(void *ctx)
{
    struct world *world = ctx;
    if (world->current < 0) {
        return 0;
    }
    struct thing *thing = &world->things[world->current];
    thing->cpu_ns += draw_cost(world);
    return thing->cpu_ns;
}

struct world *world_new(const struct world_options *options)
{
    struct world *world = MEM_NEW(struct world);
    world->options = *options;
    if (world->options.step_cost_ns <= 0) {
        world->options.step_cost_ns = STEP_COST_NS;
    }
    if (world->options.stall_max_ns <= 0) {
        world->options.stall_max_ns = STALL_MAX_NS;
    }
    rng_init(&world->scene, options->seed);
    world->order = rng_fork(&world->scene);
    world->costs = rng_fork(&world->scene);
    world->current = -1;
    world->last = -1;
    world->clock = (struct clock){
        .ctx = world, .now_ns = clock_now, .wall_unix_ms = clock_wall, .thread_cpu_ns = clock_cpu};
    return world;
}

void world_free(struct world *world)
{
    mem_free(world);
}

int world_add(struct world *world, const char *name, loop_step step, void *ctx, struct waker *waker)
{
    CHECK(world->count < THINGS_MAX && name != NULL);
    world->things[world->count] = (struct thing){
        .name = name, .step = step, .ctx = ctx, .waker = waker, .deadline_ns = world->now_ns};
    return world->count++;
}

void world_remove(struct world *world, int thing)
{
    CHECK(thing >= 0 && thing < world->count);
    world->things[thing].name = NULL;
}

/* When a thing can be stepped; CLOCK_NEVER if only a wake-up can tell. */
static int64_t ready_at(const struct thing *thing)
{
    if (thing->name == NULL) {
        return CLOCK_NEVER;
    }
    bool woken = atomic_load(&thing->waker->state) != 0;
    int64_t at_ns = woken ? 0 : thing->deadline_ns;
    return at_ns == CLOCK_NEVER || at_ns > thing->busy_until_ns ? at_ns : thing->busy_until_ns;
}

/* One of those that can be stepped now, at random; if none can, the time at which one will. */
static int pick(struct world *world, int64_t *ret_next_ns)
{
    int n = 0;
    int64_t next_ns = CLOCK_NEVER;
    for (int i = 0; i < world->count; i++) {
        int64_t at_ns = ready_at(&world->things[i]);
        next_ns = at_ns < next_ns ? at_ns : next_ns;
        if (at_ns <= world->now_ns) {
            world->runnable[n++] = i;
        }
    }
    *ret_next_ns = next_ns;
    return n > 0 ? world->runnable[rng_below(&world->order, (uint64_t)n)] : -1;
}

static void step(struct world *world, int index)
{
    struct thing *thing = &world->things[index];
    IGNORE_RESULT(waker_take(thing->waker)); /* before the step looks, as in the thread shell */
    world->current = index;
    world->last = index;
    int64_t cpu_before_ns = thing->cpu_ns;
    thing->cpu_ns += draw_cost(world);
    thing->deadline_ns = thing->step(thing->ctx, world->now_ns);
    thing->busy_until_ns = world->now_ns + (thing->cpu_ns - cpu_before_ns);
    if (rng_chance(&world->costs, world->options.stall_probability)) {
        thing->busy_until_ns += rng_range(&world->costs, 0, world->options.stall_max_ns);
    }
    world->current = -1;
    world->now_ns += 1 + (int64_t)rng_below(&world->costs, TICK_NS);
}

enum world_end world_run(struct world *world, bool (*done)(void *ctx), void *ctx, int64_t until_ns,
                         int64_t steps_max)
{
    for (int64_t steps = 0; steps < steps_max;) {
        if (done != NULL && done(ctx)) {
            return WORLD_DONE;
        }
        if (world->now_ns >= until_ns) {
            return WORLD_TIME;
        }
        int64_t next_ns = CLOCK_NEVER;
        int index = pick(world, &next_ns);
        if (index >= 0) {
            step(world, index);
            steps++;
        } else if (next_ns == CLOCK_NEVER) {
            return WORLD_QUIET;
        } else {
            world->now_ns = next_ns < until_ns ? next_ns : until_ns; /* W2 */
        }
    }
    return WORLD_STEPS;
}

const struct clock *world_clock(struct world *world)
{
    return &world->clock;
}

int64_t world_now_ns(const struct world *world)
{
    return world->now_ns;
}

void world_shift_wall(struct world *world, int64_t ms)
{
    world->wall_shift_ms += ms;
}

void world_charge(struct world *world, int64_t cpu_ns)
{
    CHECK(world->current >= 0 && cpu_ns >= 0);
    world->things[world->current].cpu_ns += cpu_ns;
}

struct rng *world_rng(struct world *world)
{
    return &world->scene;
}

const char *world_last(const struct world *world)
{
    const char *name = world->last >= 0 ? world->things[world->last].name : NULL;
    return name != NULL ? name : "nothing";
}
