// SPDX-License-Identifier: Apache-2.0
#include "node/lane.h"

#include "base/check.h"
#include "base/mem.h"
#include "node/lane_priv.h"
#include "node/shadow_part.h"

/* A lane's turn: completions, commands, then the partitions that have something to do, each for a few batches, within the
 * capacity; then the commit, if one is due. */

enum { RUN_STEPS_MAX = 256, RUN_CPU_NS = 1000000, BENCH_BYTES_MAX = 512 << 20 };
enum {
    SHADOW_LOOK_NS = 10000000
}; /* a shadow lane watches nothing: it looks at its shards' ends so often */

/* --- small things the other files use --- */

void lane_submit(struct lane *lane, struct lane_op *op, enum log_op_kind kind)
{
    CHECK(!op->in_flight);
    op->in_flight = true;
    op->op.kind = kind;
    op->op.done = &lane->done;
    op->op.err = ERR_OK;
    log_submit(lane->options.log, &op->op);
}

bool err_may_retry(enum err err)
{
    return err != ERR_OK && err_class_of(err) == ERR_CLASS_RETRY;
}

void queue_push(struct part_queue *queue, struct partition *part)
{
    part->ready_next = NULL;
    if (queue->last != NULL) {
        queue->last->ready_next = part;
    } else {
        queue->first = part;
    }
    queue->last = part;
}

struct partition *queue_pop(struct part_queue *queue)
{
    struct partition *part = queue->first;
    if (part != NULL) {
        queue->first = part->ready_next;
        queue->last = queue->first == NULL ? NULL : queue->last;
        part->ready_next = NULL;
    }
    return part;
}

void queue_remove(struct part_queue *queue, struct partition *part)
{
    struct part_queue kept = {0};
    for (struct partition *at; (at = queue_pop(queue)) != NULL;) {
        if (at != part) {
            queue_push(&kept, at);
        }
    }
    *queue = kept;
}

void lane_ready(struct lane *lane, struct partition *part)
{
    if (!part->ready && !part->held &&
        (part->state == PARTITION_RUNNING || part->state == PARTITION_STALLED)) {
        part->ready = true;
        queue_push(&lane->ready, part);
    }
}

void lane_note_ended(struct lane *lane, struct partition *part)
{
    bool ended = part->shadow == NULL && part->state == PARTITION_RUNNING &&
                 partition_ended(part) && !part->dirty && !part->claimed && !part->in_flight;
    lane->ended += ended - part->counted_ended;
    part->counted_ended = ended;
}

void lane_dirty(struct lane *lane, struct partition *part)
{
    CHECK(part->shadow == NULL);
    if (!part->dirty) {
        part->dirty = true;
        part->dirty_next = lane->dirty;
        lane->dirty = part;
    }
    lane_note_ended(lane, part);
    const struct pipeline_plan *plan = part->stage->pipeline->plan;
    int64_t due = lane->now_ns + plan->commit_ns;
    lane->commit_due_ns = due < lane->commit_due_ns ? due : lane->commit_due_ns;
}

void lane_count(struct lane *lane, struct partition *part)
{
    lane->state_count[part->counted]--;
    lane->state_count[part->state]++;
    part->counted = part->state;
    lane_note_ended(lane, part);
}

void lane_set_state(struct lane *lane, struct partition *part, enum partition_state state)
{
    part->state = state;
    part->stall = STALL_NONE;
    lane_count(lane, part);
}

void lane_answer(struct lane *lane, struct lane_command *command, enum err err,
                 const struct err_info *info)
{
    (void)lane;
    command->err = err;
    if (info != NULL) {
        command->info = *info;
    }
    mailbox_push(command->reply, &command->msg);
}

static void note_failure(struct lane *lane, const struct partition *part)
{
    if (lane->first_failure.text[0] != '\0' || part->shadow != NULL) {
        return;
    }
    char id[PARTITION_ID_MAX];
    const struct stage_plan *plan = part->stage->plan;
    partition_id_text(id, plan->pipeline, plan->name, part->place.shard, part->place.group_lo,
                      part->place.group_hi);
    IGNORE_RESULT(err_set(&lane->first_failure, ERR_NEEDS_OPERATOR, "partition %s: %s", id,
                          part->problem)); /* kept */
}

void lane_fail_partition(struct lane *lane, struct partition *part, const struct err_info *info)
{
    bool opening = part->state == PARTITION_OPENING;
    partition_fail(part, info);
    lane_count(lane, part);
    note_failure(lane, part);
    if (opening) {
        lane_clear_partition(lane, part);
    }
    if (part->opening != NULL) {
        lane_answer(lane, part->opening, info->code, info);
        part->opening = NULL;
    }
}

static void bench_push(struct lane *lane, struct bench *bench)
{
    bench->next = lane->work.bench;
    lane->work.bench = bench;
}

void lane_count_delta(struct lane *lane, struct partition *part, int64_t bytes)
{
    lane->delta_bytes += bytes - part->delta_bytes;
    part->delta_bytes = bytes;
}

void lane_clear_partition(struct lane *lane, struct partition *part)
{
    lane_count_delta(lane, part, 0);
    struct bench *bench = partition_clear(part, &lane->cache);
    if (bench != NULL) {
        chain_out_reset(&bench->out);
        arena_reset(&bench->batch_arena);
        bench_push(lane, bench);
    }
}

static void need_bench(struct lane *lane)
{
    if (lane->work.bench == NULL) {
        struct bench *bench = MEM_NEW(struct bench);
        arena_init(&bench->batch_arena, BENCH_BYTES_MAX);
        arena_init(&bench->out_arena, BENCH_BYTES_MAX);
        chain_out_init(&bench->out, &bench->out_arena);
        bench_push(lane, bench);
    }
}

/* --- life --- */

static int64_t or_default(int64_t value, int64_t fallback)
{
    return value > 0 ? value : fallback;
}

static struct lane_tuning tuning_of(const struct lane_tuning *given)
{
    struct lane_tuning tuning = {
        .cache_bytes = or_default(given->cache_bytes, 32 << 20),
        .read_bytes = or_default(given->read_bytes, 256 << 10),
        .commit_bytes = or_default(given->commit_bytes, 2 << 20),
        .floor_interval_ns = or_default(given->floor_interval_ns, 1000000000),
        .checkpoint_bytes = or_default(given->checkpoint_bytes, 64 << 20),
        .checkpoint_ratio = (int32_t)or_default(given->checkpoint_ratio, 400),
        .again_backoff_ns = or_default(given->again_backoff_ns, 5000000),
        .retry_backoff_ns = or_default(given->retry_backoff_ns, 50000000),
        .slice_batches = (int32_t)or_default(given->slice_batches, 4),
        .batch_rows = (int32_t)or_default(given->batch_rows, BATCH_ROWS_MAX),
        .opens = (int32_t)or_default(given->opens, 512),
        .figures_off = given->figures_off,
    };
    tuning.batch_rows = tuning.batch_rows < BATCH_ROWS_MAX ? tuning.batch_rows : BATCH_ROWS_MAX;
    return tuning;
}

struct lane *lane_new(const struct lane_options *options)
{
    CHECK(options->capacity > 0 && options->capacity <= 1);
    struct lane *lane = MEM_NEW(struct lane);
    lane->options = *options;
    lane->tuning = tuning_of(&options->tuning);
    waker_init(&lane->waker);
    mailbox_init(&lane->done, &lane->waker);
    mailbox_init(&lane->commands, &lane->waker);
    decode_cache_init(&lane->cache, lane->tuning.cache_bytes);
    for (int i = 0; i < 2; i++) {
        commit_init(&lane->commits[i]);
    }
    lane->filling = &lane->commits[0];
    lane->commit_due_ns = lane->resend_ns = lane->tick_ns = lane->stall_ns = CLOCK_NEVER;
    lane->dump_claim = -1;
    record_builder_init(&lane->dump.builder, RECORD_CODEC_LZ4);
    lane->owner_op.role = LANE_OP_OWNER;
    lane->commit_op.role = LANE_OP_COMMIT;
    lane->checkpoint_op.role = LANE_OP_CHECKPOINT;
    lane->size_op.role = LANE_OP_SIZE;
    for (int i = 0; i < LANE_FLOOR_OPS; i++) {
        lane->floor_ops[i].role = LANE_OP_FLOOR;
    }
    lane->openings = MEM_NEW_ARRAY(struct opening, lane->tuning.opens);
    for (int32_t i = 0; i < lane->tuning.opens; i++) {
        lane->openings[i].op.role = LANE_OP_OPENING;
        lane->openings[i].op.of = &lane->openings[i];
        restore_init(&lane->openings[i].restore, options->log, &lane->openings[i].op.op);
    }
    lane->work = (struct work){.clock = options->clock,
                               .tuning = &lane->tuning,
                               .cache = &lane->cache,
                               .commit = lane->filling};
    lane->begun_ns = lane->rates_ns = clock_now_ns(options->clock);
    cpu_bucket_init(&lane->bucket, (int64_t)(options->capacity * CPU_BUCKET_WHOLE_PPM),
                    CPU_BUCKET_BURST_NS_MAX, lane->begun_ns);
    return lane;
}

void lane_free(struct lane *lane)
{
    if (lane == NULL) {
        return;
    }
    while (lane->parts != NULL) {
        struct partition *part = lane->parts;
        lane->parts = part->next;
        lane_clear_partition(lane, part);
        partition_free(part);
    }
    lane_shards_free(lane);
    lane_tables_free(lane);
    decode_cache_release(&lane->cache);
    for (int i = 0; i < 2; i++) {
        commit_release(&lane->commits[i]);
    }
    for (int32_t i = 0; i < lane->tuning.opens; i++) {
        restore_release(&lane->openings[i].restore);
    }
    while (lane->work.bench != NULL) {
        struct bench *bench = lane->work.bench;
        lane->work.bench = bench->next;
        arena_release(&bench->batch_arena);
        arena_release(&bench->out_arena);
        mem_free(bench);
    }
    record_builder_release(&lane->dump.builder);
    mem_free(lane->dump.bytes);
    mem_free(lane->openings);
    mem_free(lane);
}

struct waker *lane_waker(struct lane *lane)
{
    return &lane->waker;
}

const struct lane_status *lane_status(const struct lane *lane)
{
    return &lane->status;
}

const struct err_info *lane_problem(const struct lane *lane)
{
    int32_t state = atomic_load_explicit(&lane->status.state, memory_order_acquire);
    bool failed = atomic_load_explicit(&lane->status.failed, memory_order_acquire) > 0;
    bool first = state != LANE_FAILED && state != LANE_FENCED && failed;
    return first ? &lane->first_failure : &lane->problem;
}

void lane_send(struct lane *lane, struct lane_command *command)
{
    mailbox_push(&lane->commands, &command->msg);
}

void lane_set_capacity(struct lane *lane, double capacity)
{
    lane->options.capacity = capacity;
    cpu_bucket_set(&lane->bucket, (int64_t)(capacity * CPU_BUCKET_WHOLE_PPM), lane->now_ns);
    lane->may_run_ns = lane->now_ns;
}

static enum lane_state state_of(const struct lane *lane)
{
    return (enum lane_state)atomic_load_explicit(&lane->status.state, memory_order_relaxed);
}

/* --- messages --- */

static void completion(struct lane *lane, struct lane_op *op)
{
    op->in_flight = false;
    switch (op->role) {
    case LANE_OP_OWNER:
        lane_owner_done(lane);
        return;
    case LANE_OP_READ:
        lane_read_done(lane, op->of);
        return;
    case LANE_OP_OPENING:
        lane_opening_done(lane, op->of);
        return;
    case LANE_OP_COMMIT:
        lane_commit_done(lane);
        return;
    case LANE_OP_CHECKPOINT:
        lane_checkpoint_done(lane);
        return;
    case LANE_OP_SIZE:
        lane_size_done(lane);
        return;
    case LANE_OP_FLOOR:
        return; /* one that failed is made good by the next */
    }
}

static void begin_stop(struct lane *lane, struct lane_command *command)
{
    if (state_of(lane) == LANE_RUNNING) {
        atomic_store_explicit(&lane->status.state, LANE_STOPPING, memory_order_release);
    }
    lane->stopping = command;
    lane->commit_due_ns = lane->now_ns;
    lane_refuse_queued(lane);
}

static void take_command(struct lane *lane, struct lane_command *command)
{
    switch (command->kind) {
    case LANE_OPEN:
        lane_open_partition(lane, command);
        return;
    case LANE_CLOSE:
        lane_close_partition(lane, command);
        return;
    case LANE_SNAPSHOT:
        lane_snapshot_fill(lane, &command->u.snapshot);
        lane_answer(lane, command, ERR_OK, NULL);
        return;
    case LANE_MEASURE:
        lane_measure_one(lane, command);
        return;
    case LANE_TABLE:
        lane_take_table(lane, command);
        return;
    case LANE_STOP:
        begin_stop(lane, command);
        return;
    }
}

static void take_messages(struct lane *lane)
{
    for (struct msg *msg = mailbox_take_all(&lane->done), *next; msg != NULL; msg = next) {
        next = msg->next;
        completion(lane, (struct lane_op *)msg);
    }
    for (struct msg *msg = mailbox_take_all(&lane->commands), *next; msg != NULL; msg = next) {
        next = msg->next;
        take_command(lane, (struct lane_command *)msg);
    }
}

/* --- turns --- */

static void after_step(struct lane *lane, struct partition *part)
{
    int64_t delta = part->state_kept != NULL ? state_delta_bytes(part->state_kept) : 0;
    /* A partition that is cut after each step may have nothing new and be in the commit all the same: it must leave. */
    bool cut = part->claimed;
    bool cuttable = part->shadow == NULL && part->parked == NULL;
    lane_count_delta(lane, part, cuttable ? delta : 0);
    if (cuttable && (lane->work.wrote || delta > 0 || cut || partition_has_news(part))) {
        lane_dirty(lane, part);
    }
    lane->work.wrote = false;
    if (part->tick_ns < lane->tick_ns) {
        lane->tick_ns = part->tick_ns;
    }
}

/* What every step leaves to do. */
static void after_result(struct lane *lane, struct partition *part, enum step_result result)
{
    if (result == STEP_KEPT) {
        struct bench *kept = lane->work.bench;
        lane->work.bench = kept->next;
        kept->next = NULL;
    }
    lane_count(lane, part);
    if (part->state == PARTITION_FAILED) {
        note_failure(lane, part);
    }
    after_step(lane, part);
    if (result == STEP_STALLED || result == STEP_KEPT) {
        lane->stall_ns = part->retry_ns < lane->stall_ns ? part->retry_ns : lane->stall_ns;
    } else if (result == STEP_BROKEN && part->shadow != NULL) {
        lane_clear_partition(lane, part);
    } else if (result == STEP_BROKEN) {
        lane->reset_wanted = true;
    }
}

/* An eager pipeline's commit is due as soon as there is something in it; it leaves when none is in flight. */
static void eager_commit(struct lane *lane, const struct partition *part)
{
    if (part->stage->pipeline->plan->commit_eager && (part->dirty || part->claimed)) {
        lane->commit_due_ns = lane->now_ns;
    }
}

static enum step_result step_shadow(struct lane *lane, struct partition *part, int32_t *ret_input)
{
    struct shadow_step step;
    shadow_step_begin(part->shadow, part, &step);
    enum step_result result = partition_step(part, &lane->work, ret_input);
    shadow_step_end(part->shadow, part, lane->now_ns, &step);
    clock_lap_begin(lane->options.clock, &lane->work.lap); /* that was nobody's work */
    return result;
}

/* One step; false: it is not this partition's turn any more. */
static bool turn_step(struct lane *lane, struct partition *part)
{
    int32_t input = 0;
    need_bench(lane);
    enum step_result result = LIKELY(part->shadow == NULL)
                                  ? partition_step(part, &lane->work, &input)
                                  : step_shadow(lane, part, &input);
    after_result(lane, part, result);
    switch (result) {
    case STEP_WORKED:
        return true;
    case STEP_DRAINED:
        eager_commit(lane, part);
        return false;
    case STEP_READ:
        /* More is there to be read, but a commit need not wait for it: it flies meanwhile, and what comes by then is the
         * next one. Input that never ends would be drained never. */
        eager_commit(lane, part);
        lane_want(lane, part->shards[input], part->views[input].position.next_offset);
        return false;
    case STEP_STALLED:
    case STEP_KEPT:
    case STEP_FAILED:
    case STEP_BROKEN:
        return false;
    }
    return false;
}

static void turn(struct lane *lane, struct partition *part, int64_t cpu_end, int32_t *steps)
{
    part->ready = false;
    bool more =
        !part->held && (part->state == PARTITION_RUNNING || part->state == PARTITION_STALLED);
    for (int32_t i = 0;
         more && i < lane->tuning.slice_batches && (i == 0 || lane->work.lap.cpu_ns < cpu_end) &&
         !lane->reset_wanted && !lane_commit_full(lane);
         i++) {
        (*steps)++;
        more = turn_step(lane, part);
    }
    if (more) {
        lane_ready(lane, part);
    }
}

/* Runs what is ready. Sets why it stopped, if there was more to do. */
static void run(struct lane *lane)
{
    int64_t cpu_end = lane->work.lap.cpu_ns + RUN_CPU_NS;
    int32_t steps = 0;
    lane->work.commit = lane->filling;
    while (lane->ready.first != NULL && steps < RUN_STEPS_MAX && lane->work.lap.cpu_ns < cpu_end &&
           !lane->reset_wanted) {
        if (lane_commit_full(lane)) {
            lane->blocked = lane->flying != NULL;
            return;
        }
        turn(lane, queue_pop(&lane->ready), cpu_end, &steps);
    }
}

static void early_results(struct lane *lane)
{
    if (lane->tick_ns > lane->now_ns || lane->reset_wanted) {
        return;
    }
    if (lane_commit_full(lane)) {
        lane->blocked = lane->flying != NULL;
        return;
    }
    lane->tick_ns = CLOCK_NEVER;
    for (struct partition *part = lane->parts; part != NULL; part = part->next) {
        if (part->state != PARTITION_RUNNING || part->parked != NULL) {
            continue;
        }
        if (part->tick_ns <= lane->now_ns && !lane_commit_full(lane)) { /* else in the next one */
            need_bench(lane);
            lane->work.commit = lane->filling;
            after_result(lane, part, partition_tick(part, &lane->work));
            if (lane->reset_wanted) {
                return;
            }
        }
        lane->tick_ns = part->tick_ns < lane->tick_ns ? part->tick_ns : lane->tick_ns;
    }
}

static void retry_stalled(struct lane *lane)
{
    if (lane->stall_ns > lane->now_ns) {
        return;
    }
    lane->stall_ns = CLOCK_NEVER;
    for (struct partition *part = lane->parts; part != NULL; part = part->next) {
        if (part->state != PARTITION_STALLED) {
            continue;
        }
        if (part->retry_ns <= lane->now_ns) {
            lane_ready(lane, part);
        } else {
            lane->stall_ns = part->retry_ns < lane->stall_ns ? part->retry_ns : lane->stall_ns;
        }
    }
}

/* --- ending --- */

static bool ops_in_flight(const struct lane *lane)
{
    bool any = lane->owner_op.in_flight || lane->commit_op.in_flight ||
               lane->checkpoint_op.in_flight || lane->size_op.in_flight ||
               lane->reads_in_flight > 0;
    for (int i = 0; i < LANE_FLOOR_OPS; i++) {
        any |= lane->floor_ops[i].in_flight;
    }
    for (int32_t i = 0; i < lane->tuning.opens; i++) {
        any |= lane->openings[i].op.in_flight;
    }
    return any;
}

static void stop_if_done(struct lane *lane)
{
    if (lane->stopping == NULL || lane->flying != NULL || lane->reset_wanted ||
        lane->dirty != NULL || lane->filling->claim_count > 0 || ops_in_flight(lane)) {
        return;
    }
    if (state_of(lane) == LANE_STOPPING) {
        atomic_store_explicit(&lane->status.state, LANE_STOPPED, memory_order_release);
    }
    struct lane_command *command = lane->stopping;
    lane_refuse_closings(lane);
    lane->stopping = NULL;
    lane_answer(lane, command, ERR_OK, NULL);
}

static void publish(struct lane *lane)
{
    struct lane_status *status = &lane->status;
    const int32_t *count = lane->state_count;
    bool quiet = lane->ready.first == NULL && lane->to_open.first == NULL && lane->dirty == NULL &&
                 lane->filling->claim_count == 0 && lane->flying == NULL &&
                 lane->reads_in_flight == 0 && !lane_opening_busy(lane) &&
                 count[PARTITION_STALLED] == 0;
    atomic_store_explicit(&status->ended, lane->ended, memory_order_relaxed);
    atomic_store_explicit(&status->opening, count[PARTITION_OPENING], memory_order_relaxed);
    atomic_store_explicit(&status->running, count[PARTITION_RUNNING], memory_order_relaxed);
    atomic_store_explicit(&status->stalled, count[PARTITION_STALLED], memory_order_relaxed);
    atomic_store_explicit(&status->failed, count[PARTITION_FAILED], memory_order_release);
    atomic_store_explicit(&status->quiet, quiet, memory_order_release);
}

/* --- the step --- */

/* Where the time since the last step went, if there was work all along. */
static void account_wait(struct lane *lane)
{
    int64_t span = lane->now_ns - lane->waits_since_ns;
    if (lane->throttled) {
        lane->figures.throttled_ns += span;
    } else if (lane->blocked) {
        lane->figures.blocked_ns += span;
    }
    lane->throttled = lane->blocked = false;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool may_run(struct lane *lane)
{
    if (state_of(lane) != LANE_RUNNING || lane->reset_wanted) {
        return false;
    }
    lane->throttled = lane->ready.first != NULL && lane->now_ns < lane->may_run_ns;
    return !lane->throttled;
}

static int64_t deadline(const struct lane *lane, int64_t next)
{
    /* What is due but may not run yet is not waited for before it may: looking at it costs what it waits for. */
    int64_t tick_ns = lane->may_run_ns > lane->tick_ns ? lane->may_run_ns : lane->tick_ns;
    tick_ns = lane->blocked ? CLOCK_NEVER : tick_ns; /* the commit in flight wakes the lane */
    if (lane->throttled) {
        next = least(next, lane->may_run_ns);
    } else if (lane->ready.first != NULL && !lane->blocked && !lane->reset_wanted &&
               state_of(lane) == LANE_RUNNING) {
        return lane->now_ns;
    }
    if (lane->buffers_held) {
        next = least(next, lane->rates_ns + INT64_C(1000000000));
    }
    next = least(next, least(tick_ns, lane->stall_ns));
    if (lane->options.shadows && lane->parts != NULL) {
        next = least(next, lane->now_ns + SHADOW_LOOK_NS);
    }
    return least(next, lane_commit_deadline(lane));
}

int64_t lane_step(void *ctx, int64_t now_ns)
{
    struct lane *lane = ctx;
    lane->now_ns = now_ns;
    lane->work.now_ns = now_ns;
    clock_lap_begin(lane->options.clock, &lane->work.lap);
    int64_t cpu_begin = lane->work.lap.cpu_ns;
    account_wait(lane);
    take_messages(lane);
    lane_look_at_shards(lane);
    int64_t next = lane_advance_openings(lane);
    next = least(next, lane_idle_ticks(lane));
    next = least(next, lane_poll_sizes(lane));
    retry_stalled(lane);
    if (may_run(lane)) {
        early_results(lane);
        run(lane);
        lane_submit_reads(lane);
    }
    lane_seal_if_due(lane);
    lane_close_ready(lane);
    lane_drop_old_tables(lane);
    stop_if_done(lane);
    lane_rates(lane);
    publish(lane);
    int64_t cpu_ns = clock_thread_cpu_ns(lane->options.clock) - cpu_begin;
    lane->figures.cpu_ns += cpu_ns;
    if (lane->options.capacity < 1) {
        lane->may_run_ns = cpu_bucket_take(&lane->bucket, now_ns, cpu_ns);
        lane->throttled |= lane->ready.first != NULL && lane->may_run_ns > now_ns;
    }
    lane->waits_since_ns = now_ns;
    return deadline(lane, next);
}
