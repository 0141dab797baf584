// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "base/mem.h"
#include "node/shadow_priv.h"

/* The shadow lane: a lane without primaries, its shadows, the memory that all of it is bounded by, and its door, which is
 * messages. Within a step all memory is of the lane's own heap. */

enum { CACHE_SHARE = 4, CACHE_BYTES_MIN = 1 << 20, STARVED_NS = 2000000 };

/* A shadow of a tenth that reads as much at once as a primary does has batches of a tenth of the primary's, and with each
 * of them brings its code and state into the caches again, which others have used meanwhile: costs of a batch told as costs
 * of records. Read so much at once, its batches are about as large as the primary's. */
#define SHADOW_READ_BYTES (INT64_C(2) << 20)

/* --- small things --- */

void shadow_lane_changed(struct shadow_lane *lane)
{
    atomic_fetch_add_explicit(&lane->status.changes, 1, memory_order_release);
}

struct shadow *shadow_find(struct shadow_lane *lane, uint64_t id)
{
    for (struct shadow *shadow = lane->shadows; shadow != NULL; shadow = shadow->next) {
        if (shadow->spec.id == id && !shadow->closing) {
            return shadow;
        }
    }
    return NULL;
}

struct shadow_budget *shadow_budget_of(struct shadow_lane *lane,
                                       const struct pipeline_env *pipeline)
{
    struct shadow_budget *budget = lane->budgets;
    while (budget != NULL && budget->pipeline != pipeline) {
        budget = budget->next;
    }
    if (budget == NULL) {
        budget = MEM_NEW(struct shadow_budget);
        budget->pipeline = pipeline;
        budget->next = lane->budgets;
        lane->budgets = budget;
        cpu_bucket_init(&budget->bucket, (int64_t)(lane->budget * CPU_BUCKET_WHOLE_PPM),
                        CPU_BUCKET_BURST_NS_MAX, lane->now_ns);
    }
    return budget;
}

static void answer_code(struct shadow_command *command, enum err err, const char *text)
{
    struct err_info info = {0};
    IGNORE_RESULT(err_set(&info, err, "%s", text)); /* told */
    shadow_answer(command, err, &info);
}

/* --- life --- */

static int64_t cache_bytes(int64_t memory_bytes)
{
    int64_t bytes = memory_bytes / CACHE_SHARE;
    return bytes > CACHE_BYTES_MIN ? bytes : CACHE_BYTES_MIN;
}

struct shadow_lane *shadow_lane_new(const struct shadow_lane_options *options)
{
    struct shadow_lane *lane = MEM_NEW(struct shadow_lane);
    lane->heap = heap_new();
    lane->log = options->log;
    lane->clock = options->clock;
    lane->number = options->number;
    lane->memory_bytes = options->memory_bytes;
    lane->budget = options->budget;
    lane->due_ns = CLOCK_NEVER;
    struct lane_options inner = {.log = options->log,
                                 .clock = options->clock,
                                 .node = UINT16_MAX, /* no node's: it owns nothing */
                                 .lane = options->number,
                                 .capacity = options->budget,
                                 .tuning = options->tuning,
                                 .stages = options->stages,
                                 .stage_count = options->stage_count,
                                 .shadows = true};
    if (inner.tuning.read_bytes <= 0) {
        inner.tuning.read_bytes = SHADOW_READ_BYTES;
    }
    int64_t cache = cache_bytes(options->memory_bytes);
    if (inner.tuning.cache_bytes <= 0 || inner.tuning.cache_bytes > cache) {
        inner.tuning.cache_bytes = cache;
    }
    struct heap *before = heap_use(lane->heap);
    lane->lane = lane_new(&inner);
    IGNORE_RESULT(heap_use(before)); /* the lane's */
    struct waker *waker = lane_waker(lane->lane);
    mailbox_init(&lane->commands, waker);
    mailbox_init(&lane->log_done, waker);
    mailbox_init(&lane->store_done, waker);
    mailbox_init(&lane->stopped, waker);
    atomic_store(&lane->status.memory_max, options->memory_bytes);
    return lane;
}

/* Whatever it was doing: the log drops its ops, the stores are gone. */
static void abandon(struct shadow *shadow)
{
    shadow->part = shadow->filler = NULL; /* the lane freed them */
    shadow->sink.puts[0].in_flight = shadow->sink.puts[1].in_flight = false;
    if (shadow->sink.door != NULL) {
        shadow->sink.door->in_flight = false;
    }
    for (int32_t i = 0; shadow->feed != NULL && i < shadow->feed->count; i++) {
        shadow->feed->queues[i].in_flight = false;
    }
    if (shadow->pair != NULL) {
        shadow_pair_leave(shadow->pair, shadow);
        shadow->pair = NULL;
    }
    shadow_free(shadow);
}

void shadow_lane_free(struct shadow_lane *lane)
{
    if (lane == NULL) {
        return;
    }
    struct heap *before = heap_use(lane->heap);
    lane_free(lane->lane);
    for (struct shadow *shadow = lane->shadows, *next; shadow != NULL; shadow = next) {
        next = shadow->next;
        abandon(shadow);
    }
    for (struct shadow_door *door = lane->doors, *next; door != NULL; door = next) {
        next = door->next;
        mem_free(door);
    }
    for (struct shadow_budget *budget = lane->budgets, *next; budget != NULL; budget = next) {
        next = budget->next;
        mem_free(budget);
    }
    IGNORE_RESULT(heap_use(before)); /* the lane's */
    heap_free(lane->heap);
    mem_free(lane);
}

struct waker *shadow_lane_waker(struct shadow_lane *lane)
{
    return lane_waker(lane->lane);
}

void shadow_lane_send(struct shadow_lane *lane, struct shadow_command *command)
{
    mailbox_push(&lane->commands, &command->msg);
}

void shadow_lane_send_table(struct shadow_lane *lane, struct lane_command *command)
{
    CHECK(command->kind == LANE_TABLE);
    lane_send(lane->lane, command);
}

const struct shadow_lane_status *shadow_lane_status(const struct shadow_lane *lane)
{
    return &lane->status;
}

/* --- commands --- */

static int32_t slot_take(struct shadow_lane *lane)
{
    for (int32_t i = 0; i < SHADOWS_MAX; i++) {
        if ((lane->slots >> i & 1) == 0) {
            lane->slots |= UINT32_C(1) << i;
            return i;
        }
    }
    return -1;
}

/* A comparison has two sides that see the same from the same commit on. */
static enum err check_partner(struct shadow_lane *lane, const struct shadow_spec *spec,
                              struct err_info *info)
{
    const struct shadow *partner = shadow_find(lane, spec->partner);
    if (partner == NULL || partner->state == SHADOW_ENDED) {
        return err_set(info, ERR_NOT_FOUND, "no shadow %llu runs that could be its partner",
                       (unsigned long long)spec->partner);
    }
    const struct shadow_spec *other = &partner->spec;
    if (other->stage != spec->stage || other->shard != spec->shard ||
        other->group_lo != spec->group_lo || other->group_hi != spec->group_hi ||
        !shadow_sample_equal(&other->sample, &spec->sample)) {
        return err_set(info, ERR_INVALID,
                       "partners see the same: shadow %llu has another range or sample",
                       (unsigned long long)spec->partner);
    }
    if ((spec->flags & SHADOW_KEEP_RESULTS) != 0 &&
        (partner->pair == NULL || partner->pair->users != 1)) {
        return err_set(info, ERR_INVALID, "shadow %llu keeps no results, or is compared already",
                       (unsigned long long)spec->partner);
    }
    return ERR_OK;
}

static enum err check_open(struct shadow_lane *lane, const struct shadow_spec *spec,
                           struct err_info *info)
{
    if (spec->stage < 0 || spec->stage >= lane->lane->options.stage_count) {
        return err_set(info, ERR_INVALID, "there is no stage %d", spec->stage);
    }
    if (shadow_find(lane, spec->id) != NULL) {
        return err_set(info, ERR_EXISTS, "shadow %llu is there", (unsigned long long)spec->id);
    }
    enum err err = shadow_check(lane->lane->options.stages[spec->stage], spec, info);
    return err == ERR_OK && spec->partner != 0 ? check_partner(lane, spec, info) : err;
}

static void take_open(struct shadow_lane *lane, struct shadow_command *command)
{
    const struct shadow_spec *spec = &command->u.open;
    struct err_info info = {0};
    enum err err = check_open(lane, spec, &info);
    if (err != ERR_OK) {
        shadow_answer(command, err, &info);
        return;
    }
    int32_t slot = slot_take(lane);
    if (slot < 0) {
        answer_code(command, ERR_LIMIT, "as many shadows as a lane may have are open");
        return;
    }
    /* Stages are read-only from their making on; a candidate's is the caller's and stays. */
    struct stage *stage = spec->candidate != NULL ? (struct stage *)(uintptr_t)spec->candidate
                                                  : lane->lane->options.stages[spec->stage];
    struct shadow *shadow = shadow_new(lane, spec, stage, slot);
    shadow->meter->begun_ns = lane->now_ns;
    shadow->opening = command;
    shadow->next = lane->shadows;
    lane->shadows = shadow;
    if ((spec->flags & SHADOW_KEEP_RESULTS) != 0) {
        struct shadow *partner = shadow_find(lane, spec->partner);
        shadow->pair = partner != NULL ? partner->pair : shadow_pair_new(shadow);
        if (partner != NULL) {
            shadow_pair_join(shadow->pair, shadow);
        }
    }
    shadow_lane_changed(lane);
}

static void cancel_opening(struct shadow *shadow)
{
    if (shadow->opening != NULL) {
        answer_code(shadow->opening, ERR_CANCELLED, "the shadow was closed");
        shadow->opening = NULL;
    }
}

static void close_shadow(struct shadow *shadow)
{
    cancel_opening(shadow);
    shadow_finish(shadow, SHADOW_END_NONE, "");
    shadow->closing = true;
}

static void take_close(struct shadow *shadow, struct shadow_command *command)
{
    if (shadow->closed != NULL) {
        answer_code(command, ERR_BUSY, "the shadow is being closed already");
        return;
    }
    shadow_meter_fill(shadow, &command->u.measure, shadow->lane->now_ns);
    close_shadow(shadow);
    shadow->closed = command;
}

static void take_resample(struct shadow *shadow, struct shadow_command *command)
{
    struct shadow_spec spec = shadow->spec;
    struct err_info info = {0};
    spec.sample = command->u.resample.sample;
    enum err err = shadow_check(shadow->stage, &spec, &info);
    const struct shadow *partner = shadow_partner(shadow);
    bool busy = shadow->opening != NULL || (partner != NULL && partner->opening != NULL);
    if (err == ERR_OK && (shadow->state == SHADOW_ENDED || busy)) {
        err = err_set(&info, ERR_BUSY, "the shadow has ended or is being opened");
    }
    if (err != ERR_OK) {
        shadow_answer(command, err, &info);
        return;
    }
    shadow_meter_fill(shadow, &command->u.resample.last, shadow->lane->now_ns);
    shadow->spec.sample = spec.sample;
    shadow->opening = command;
    shadow_reopen(shadow);
}

static void take_compare(struct shadow *shadow, struct shadow_command *command)
{
    if (shadow->pair == NULL || shadow->pair->users != 2) {
        answer_code(command, ERR_INVALID,
                    "the shadow has no partner any more whose results were kept");
        return;
    }
    shadow_pair_compare(shadow->pair, shadow, command->u.compare.comparison);
    shadow_answer(command, ERR_OK, NULL);
}

static int64_t state_of(const struct shadow *shadow)
{
    return shadow->part != NULL ? shadow->part->figures.state_bytes : 0;
}

static void take_list(struct shadow_lane *lane, struct shadow_command *command)
{
    int32_t count = 0;
    for (struct shadow *shadow = lane->shadows; shadow != NULL; shadow = shadow->next) {
        if (shadow->closing) {
            continue;
        }
        if (count < command->u.list.cap) {
            command->u.list.briefs[count] =
                (struct shadow_brief){.id = shadow->spec.id,
                                      .state = shadow->state,
                                      .end = shadow->end,
                                      .generation = shadow->meter->m.generation,
                                      .memory_bytes = state_of(shadow)};
        }
        count++;
    }
    command->u.list.ret_count = count;
    shadow_answer(command, ERR_OK, NULL);
}

static void take_limits(struct shadow_lane *lane, struct shadow_command *command)
{
    double budget = command->u.limits.budget;
    int64_t bytes = command->u.limits.memory_bytes;
    int32_t stage = command->u.limits.stage;
    if (stage >= lane->lane->options.stage_count) {
        answer_code(command, ERR_INVALID, "there is no such stage");
        return;
    }
    if (budget < 0 || budget > 1 || (budget > 0 && budget < 0.001) || bytes < 0) {
        answer_code(command, ERR_INVALID,
                    "a budget is 0.001..1 of a core, memory is 1 byte or more");
        return;
    }
    if (budget > 0 && stage < 0) {
        lane->budget = budget;
        lane_set_capacity(lane->lane, budget);
    } else if (budget > 0) {
        struct stage *of = lane->lane->options.stages[stage];
        cpu_bucket_set(&shadow_budget_of(lane, of->pipeline)->bucket,
                       (int64_t)(budget * CPU_BUCKET_WHOLE_PPM), lane->now_ns);
    }
    if (bytes > 0) {
        lane->memory_bytes = bytes;
        lane->lane->cache.limit_bytes = cache_bytes(bytes);
        atomic_store_explicit(&lane->status.memory_max, bytes, memory_order_relaxed);
    }
    shadow_answer(command, ERR_OK, NULL);
}

/* Commands to one shadow. */
static void take_for(struct shadow *shadow, struct shadow_command *command)
{
    switch (command->kind) {
    case SHADOW_CLOSE:
        take_close(shadow, command);
        return;
    case SHADOW_PAUSE:
    case SHADOW_RESUME:
        shadow_pause(shadow, command->kind == SHADOW_PAUSE, shadow->lane->now_ns);
        shadow_answer(command, ERR_OK, NULL);
        return;
    case SHADOW_RESAMPLE:
        take_resample(shadow, command);
        return;
    case SHADOW_MEASURE:
        shadow_meter_fill(shadow, &command->u.measure, shadow->lane->now_ns);
        shadow_answer(command, ERR_OK, NULL);
        return;
    case SHADOW_COMPARE:
        take_compare(shadow, command);
        return;
    case SHADOW_OPEN:
    case SHADOW_LIST:
    case SHADOW_LIMITS:
    case SHADOW_STOP:
        break;
    }
    CHECK_MSG(false, "command %d is not one shadow's", (int)command->kind);
}

static uint64_t id_in(const struct shadow_command *command)
{
    switch (command->kind) {
    case SHADOW_CLOSE:
    case SHADOW_MEASURE:
        return command->u.measure.id;
    case SHADOW_RESAMPLE:
        return command->u.resample.last.id;
    case SHADOW_COMPARE:
        return command->u.compare.id;
    case SHADOW_PAUSE:
    case SHADOW_RESUME:
        return command->u.id;
    case SHADOW_OPEN:
    case SHADOW_LIST:
    case SHADOW_LIMITS:
    case SHADOW_STOP:
        break;
    }
    return 0;
}

static void take_command(struct shadow_lane *lane, struct shadow_command *command)
{
    if (lane->stopping != NULL ||
        atomic_load_explicit(&lane->status.stopped, memory_order_relaxed)) {
        answer_code(command, ERR_CLOSED, "the shadow lane is stopping");
        return;
    }
    if (command->kind == SHADOW_OPEN) {
        take_open(lane, command);
    } else if (command->kind == SHADOW_LIST) {
        take_list(lane, command);
    } else if (command->kind == SHADOW_LIMITS) {
        take_limits(lane, command);
    } else if (command->kind == SHADOW_STOP) {
        lane->stopping = command;
        for (struct shadow *shadow = lane->shadows; shadow != NULL; shadow = shadow->next) {
            close_shadow(shadow);
        }
    } else {
        struct shadow *shadow = shadow_find(lane, id_in(command));
        if (shadow == NULL) {
            answer_code(command, ERR_NOT_FOUND, "no such shadow is open");
            return;
        }
        take_for(shadow, command);
    }
}

/* --- messages --- */

static void door_remove(struct shadow_lane *lane, struct shadow_door *door)
{
    struct shadow_door **at = &lane->doors;
    while (*at != door) {
        at = &(*at)->next;
    }
    *at = door->next;
    mem_free(door);
}

static void store_completion(struct shadow_lane *lane, struct shadowstore_op *op)
{
    if (op->kind == SHADOWSTORE_PUT) {
        shadow_put_done((struct shadow_put *)op);
        return;
    }
    struct shadow_door *door = (struct shadow_door *)op;
    door->in_flight = false;
    if (door->sink == NULL) {
        door_remove(lane, door);
    }
}

static void take_messages(struct shadow_lane *lane)
{
    for (struct msg *msg = mailbox_take_all(&lane->log_done), *next; msg != NULL; msg = next) {
        next = msg->next;
        shadow_feed_done((struct feed_queue *)msg);
    }
    for (struct msg *msg = mailbox_take_all(&lane->store_done), *next; msg != NULL; msg = next) {
        next = msg->next;
        store_completion(lane, (struct shadowstore_op *)msg);
    }
    for (struct msg *msg = mailbox_take_all(&lane->commands), *next; msg != NULL; msg = next) {
        next = msg->next;
        take_command(lane, (struct shadow_command *)msg);
    }
}

/* --- memory --- */

/* The heap's word where it has one; else what is known to be large. */
static int64_t memory_in_use(const struct shadow_lane *lane)
{
    int64_t bytes = lane->lane->cache.used_bytes;
    for (const struct shadow *shadow = lane->shadows; shadow != NULL; shadow = shadow->next) {
        bytes += state_of(shadow);
    }
    int64_t heap = heap_bytes(lane->heap);
    return heap > bytes ? heap : bytes;
}

/* The one whose end gives most back. */
static struct shadow *largest(struct shadow_lane *lane)
{
    struct shadow *most = NULL;
    for (struct shadow *shadow = lane->shadows; shadow != NULL; shadow = shadow->next) {
        if (shadow->state != SHADOW_ENDED && (most == NULL || state_of(shadow) > state_of(most))) {
            most = shadow;
        }
    }
    return most;
}

static void guard_memory(struct shadow_lane *lane)
{
    int64_t bytes = memory_in_use(lane);
    atomic_store_explicit(&lane->status.memory_bytes, bytes, memory_order_relaxed);
    if (bytes <= lane->memory_bytes) {
        lane->killing = false;
        return;
    }
    bool going = false; /* one that ended has not given its memory back yet */
    for (struct shadow *shadow = lane->shadows; shadow != NULL; shadow = shadow->next) {
        going = going || (shadow->state == SHADOW_ENDED && shadow->part != NULL);
    }
    struct shadow *shadow = going ? NULL : largest(lane);
    if (shadow == NULL) {
        return;
    }
    struct err_info info = {0};
    IGNORE_RESULT(err_set(&info, ERR_LIMIT,
                          "shadows use %lld bytes, more than the %lld they may; this was the "
                          "largest",
                          (long long)bytes, (long long)lane->memory_bytes)); /* told */
    struct shadow_command *opening = shadow->opening;
    shadow->opening = NULL;
    shadow_finish(shadow, SHADOW_END_MEMORY, info.text);
    if (opening != NULL) {
        shadow_answer(opening, ERR_LIMIT, &info);
    }
    atomic_fetch_add_explicit(&lane->status.killed, 1, memory_order_relaxed);
}

/* --- the step --- */

/* Those that were closed and are still. */
static void remove_closed(struct shadow_lane *lane)
{
    for (struct shadow **at = &lane->shadows; *at != NULL;) {
        struct shadow *shadow = *at;
        if (!shadow->closing || !shadow_still(shadow)) {
            at = &shadow->next;
            continue;
        }
        *at = shadow->next;
        struct shadow_door *door = shadow_sink_close(&shadow->sink);
        if (door != NULL) {
            door->next = lane->doors;
            lane->doors = door;
        }
        lane->slots &= ~(UINT32_C(1) << shadow->slot);
        struct shadow_command *closed = shadow->closed;
        shadow_free(shadow);
        if (closed != NULL) {
            shadow_answer(closed, ERR_OK, NULL);
        }
        shadow_lane_changed(lane);
    }
}

static void stop_if_done(struct shadow_lane *lane)
{
    if (lane->stopping == NULL || lane->shadows != NULL) {
        return;
    }
    if (!lane->stop_sent) {
        lane->stop_sent = true;
        lane->stop = (struct lane_command){.kind = LANE_STOP, .reply = &lane->stopped};
        lane_send(lane->lane, &lane->stop);
        return;
    }
    if (mailbox_take_all(&lane->stopped) == NULL) {
        return;
    }
    atomic_store_explicit(&lane->status.stopped, true, memory_order_release);
    struct shadow_command *command = lane->stopping;
    lane->stopping = NULL;
    shadow_answer(command, ERR_OK, NULL);
}

static void publish(struct shadow_lane *lane)
{
    int32_t open = 0, ended = 0;
    for (const struct shadow *shadow = lane->shadows; shadow != NULL; shadow = shadow->next) {
        open += shadow->state != SHADOW_ENDED;
        ended += shadow->state == SHADOW_ENDED && !shadow->closing;
    }
    struct shadow_lane_status *status = &lane->status;
    const struct lane_figures *figures = &lane->lane->figures;
    atomic_store_explicit(&status->open, open, memory_order_relaxed);
    atomic_store_explicit(&status->ended, ended, memory_order_relaxed);
    atomic_store_explicit(&status->cpu_ns, figures->cpu_ns, memory_order_relaxed);
    atomic_store_explicit(&status->throttled_ns, figures->throttled_ns, memory_order_relaxed);
    atomic_store_explicit(&status->starved_ns, lane->starved_ns, memory_order_relaxed);
}

/* It wanted to be called earlier, by more than a wake-up takes: others had the processors. */
static void note_starving(struct shadow_lane *lane, int64_t now_ns)
{
    if (lane->due_ns != CLOCK_NEVER && now_ns - lane->due_ns > STARVED_NS) {
        lane->starved_ns += now_ns - lane->due_ns;
    }
}

int64_t shadow_lane_step(void *ctx, int64_t now_ns)
{
    struct shadow_lane *lane = ctx;
    struct heap *before = heap_use(lane->heap);
    note_starving(lane, now_ns);
    lane->now_ns = now_ns;
    int64_t used_ns = lane->lane->figures.cpu_ns;
    take_messages(lane);
    int64_t next_ns = CLOCK_NEVER;
    for (struct shadow *shadow = lane->shadows; shadow != NULL; shadow = shadow->next) {
        int64_t wanted = shadow_advance(shadow, now_ns);
        next_ns = wanted < next_ns ? wanted : next_ns;
    }
    int64_t lane_next = lane_step(lane->lane, now_ns);
    next_ns = lane_next < next_ns ? lane_next : next_ns;
    for (struct shadow *shadow = lane->shadows; shadow != NULL; shadow = shadow->next) {
        if (shadow->feed != NULL) {
            shadow_feed_step(shadow->feed);
        }
        shadow_sink_step(&shadow->sink);
    }
    guard_memory(lane);
    remove_closed(lane);
    stop_if_done(lane);
    publish(lane);
    IGNORE_RESULT(heap_use(before)); /* the lane's */
    used_ns =
        now_ns + lane->lane->figures.cpu_ns - used_ns; /* when it is done, if it was left alone */
    lane->due_ns = next_ns > used_ns ? next_ns : used_ns;
    return next_ns;
}
