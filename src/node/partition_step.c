// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "node/partition_priv.h"
#include "node/shadow_part.h"

/* What a partition does when it is its turn: one batch from an input through the chain into the sink, or one piece of
 * what a risen watermark closes. */

enum { BATCH_BYTES_MAX = 1 << 20 };

/* A batch is to cost so much CPU and make so many bytes in its arena at most, and to begin with has so many rows. What waits is
 * there at once, so a lane that lags would take the most rows there may be: where each is dear (a flat_map makes a hundred of it)
 * that is ten times what a lane of a few percent of a core may run at a time, and more than the caches hold, so that each costs
 * half as much again, and the lane goes on lagging. */
enum {
    BATCH_CPU_NS = 500000,
    BATCH_ARENA_BYTES = 512 << 10,
    BATCH_ROWS_LEAST = 16,
    BATCH_ROWS_FIRST = 128,
    SPREAD_ROWS_FIRST = 16, /* where one row may become many, and then down to a single one */
    SPREAD_ROWS_SHADOW = 256
};

/* How much of a measured cost of a row is believed at once. */
#define ROW_COST_ALPHA 0.25

/* --- outputs --- */

static struct stage_stream *stream_of(const struct partition *part, enum output_kind kind)
{
    switch (kind) {
    case OUTPUT_MAIN:
        return part->stage->output;
    case OUTPUT_DEAD_LETTER:
        return part->stage->dead_letter;
    case OUTPUT_LATE:
        return part->stage->late;
    }
    return NULL;
}

static enum err write_record(struct partition *part, struct work *work, struct stage_stream *stream,
                             const struct record *record)
{
    int32_t shards = stream->info.config.shard_count;
    uint32_t index = shards == 1 ? 0 : (uint32_t)log_shard_of_key(record->key, shards);
    enum err err =
        commit_add(work->commit, stage_shard(stream, index), stage_codec(stream), record);
    part->figures.bytes_out += record->key.len + record->value.len;
    work->wrote = true;
    return err;
}

/* A result that is larger than any record may be: its key goes to the dead letters. */
static enum err write_too_large(struct partition *part, struct work *work, struct record record)
{
    part->figures.dead_letters++;
    if (part->stage->dead_letter == NULL) {
        return ERR_OK;
    }
    char buf[128];
    ptrdiff_t len = record_header_put(buf, sizeof(buf), STR(REASON_HEADER),
                                      STR("the result is larger than a record may be"));
    CHECK(len > 0);
    record.key = record.key.len > (64 << 10) ? (struct str){NULL, 0} : record.key;
    record.value = (struct str){NULL, 0};
    record.headers = (struct str){buf, len};
    record.header_count = 1;
    return write_record(part, work, part->stage->dead_letter, &record);
}

/* Headers with the late stamp in front, for an internal stream. */
static void add_stamp(struct arena *arena, int64_t stamp_ms, struct record *record)
{
    char *block = arena_new_raw(arena, STAMP_HEADERS_MAX + record->headers.len, 1);
    ptrdiff_t len = stamp_encode(stamp_ms, block);
    if (record->headers.len > 0) {
        memcpy(block + len, record->headers.ptr, (size_t)record->headers.len);
    }
    record->headers = (struct str){block, len + record->headers.len};
    record->header_count++;
}

static enum err write_output(struct partition *part, struct work *work, struct arena *arena,
                             const struct output *o)
{
    struct stage_stream *stream = stream_of(part, o->kind);
    if (stream == NULL) {
        return ERR_OK;
    }
    bool stamps = stream->spec->internal && o->stamp_ms != NULL;
    for (int32_t i = 0; i < o->count; i++) {
        struct record record = {
            .timestamp_ms = o->time_ms[i], .key = o->key[i], .value = o->value[i]};
        if (o->headers != NULL && o->header_count[i] > 0) {
            record.headers = o->headers[i];
            record.header_count = o->header_count[i];
        }
        if (stamps && o->stamp_ms[i] != STAMP_NONE) {
            add_stamp(arena, o->stamp_ms[i], &record);
        }
        enum err err = write_record(part, work, stream, &record);
        if (err == ERR_LIMIT) {
            err = write_too_large(part, work, record);
        }
        if (err != ERR_OK) {
            return err_set(&work->info, err, "an output does not fit a commit");
        }
    }
    return ERR_OK;
}

/* A shadow's results are written as its primary's are, into a commit that is never sealed: writing them is a part of the
 * work. What becomes of them besides is not. */
static enum err shadow_output(struct partition *part, struct work *work, const struct output *o)
{
    struct commit *commit = work->commit;
    bool wrote = work->wrote;
    work->commit = shadow_commit(part->shadow);
    enum err err = write_output(part, work, &work->bench->batch_arena, o);
    work->commit = commit;
    work->wrote = wrote;
    shadow_take(part->shadow, part, o);
    return err;
}

/* Takes what the chain left in the bench into the sink. */
static enum err take_outputs(struct partition *part, struct work *work)
{
    struct chain_out *out = &work->bench->out;
    enum err err = ERR_OK;
    for (int32_t k = 0; k < out->count && err == ERR_OK; k++) {
        const struct output *o = &out->outputs[k];
        part->figures.records_out += o->kind == OUTPUT_MAIN ? o->count : 0;
        part->figures.dead_letters += o->kind == OUTPUT_DEAD_LETTER ? o->count : 0;
        part->figures.late += o->kind == OUTPUT_LATE ? o->count : 0;
        if (LIKELY(part->shadow == NULL)) {
            err = write_output(part, work, &work->bench->batch_arena, o);
        } else {
            err = shadow_output(part, work, o);
        }
    }
    work->out_bytes = out->arena->used_bytes;
    chain_out_reset(out);
    return err;
}

/* Own rows whose time cannot be read. */
static enum err reject_rows(struct partition *part, struct work *work, int32_t input,
                            const struct rows *rows, const struct view_slice *slice)
{
    for (int32_t i = 0; i < slice->reject_count; i++) {
        int32_t row = slice->rejects[i];
        part->figures.dead_letters++;
        struct str reason = str_of(rows->bad_text[row]);
        if (part->shadow != NULL) {
            shadow_reject(part->shadow, part, rows, row, reason);
            continue;
        }
        if (part->stage->dead_letter == NULL) {
            continue;
        }
        struct str headers = rows->headers[row];
        struct str source = str_of(arena_printf(&work->bench->batch_arena, "%s/%u/%lld",
                                                part->stage->inputs[input]->info.config.name,
                                                part->place.shard, (long long)rows->offset[row]));
        ptrdiff_t cap = headers.len + reason.len + source.len + 64;
        char *block = arena_new(&work->bench->batch_arena, cap, 1);
        ptrdiff_t len = record_header_put(block, cap, STR(REASON_HEADER), reason);
        CHECK(len > 0);
        ptrdiff_t more = record_header_put(block + len, cap - len, STR(SOURCE_HEADER), source);
        CHECK(more > 0);
        len += more;
        bool room = rows->header_count[row] + 2 <= RECORD_HEADERS_MAX;
        if (headers.len > 0 && room) {
            memcpy(block + len, headers.ptr, (size_t)headers.len);
            len += headers.len;
        }
        int64_t time_ms = rows->time_ms[row];
        struct record record = {
            .timestamp_ms =
                time_ms > -EVENT_TIME_LIMIT_MS && time_ms < EVENT_TIME_LIMIT_MS ? time_ms : 0,
            .key = rows->key[row],
            .value = rows->value[row],
            .headers = {block, len},
            .header_count = 2 + (room ? rows->header_count[row] : 0),
        };
        enum err err = write_record(part, work, part->stage->dead_letter, &record);
        if (err == ERR_LIMIT) {
            err = write_too_large(part, work, record);
        }
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

/* --- figures --- */

/* Whether one row may become many. */
static bool spreads(const struct partition *part)
{
    const struct stage_plan *plan = part->stage->plan;
    for (int32_t i = 0; i < plan->operator_count; i++) {
        if (plan->operators[i]->expands || plan->operators[i]->joins) {
            return true;
        }
    }
    return false;
}

/* Rows that the next batch may have. A shadow's are what it was told, alike for twins; those of a lane that has never
 * measured what a row costs are as many as there may be. */
static int32_t rows_of_batch(const struct partition *part, const struct lane_tuning *tuning)
{
    bool many = spreads(part);
    double rows = many ? SPREAD_ROWS_FIRST : BATCH_ROWS_FIRST;
    bool unknown = tuning->figures_off && part->row_cost_ns <= 0;
    if (part->shadow != NULL) {
        int32_t most = shadow_batch_rows(part->shadow);
        most = many && (most == 0 || most > SPREAD_ROWS_SHADOW) ? SPREAD_ROWS_SHADOW : most;
        return most > 0 && most < tuning->batch_rows ? most : tuning->batch_rows;
    }
    if (unknown) {
        return tuning->batch_rows;
    }
    if (part->row_cost_ns > 0) {
        rows = fmin(BATCH_CPU_NS / part->row_cost_ns, BATCH_ARENA_BYTES / part->row_bytes);
        rows = fmax(rows, many ? 1 : BATCH_ROWS_LEAST);
    }
    return rows < tuning->batch_rows ? (int32_t)rows : tuning->batch_rows;
}

static void learn_row(struct partition *part, const struct work *work, int64_t cpu_ns, int32_t rows)
{
    double cost_ns = (double)(cpu_ns + 1) / rows;
    ptrdiff_t used = work->bench->batch_arena.used_bytes + (spreads(part) ? work->out_bytes : 0);
    double bytes = (double)(used + 1) / rows;
    double believed = part->row_cost_ns > 0 ? ROW_COST_ALPHA : 1;
    part->row_cost_ns += believed * (cost_ns - part->row_cost_ns);
    part->row_bytes += believed * (bytes - part->row_bytes);
}

static int64_t lap(struct work *work)
{
    return work->tuning->figures_off ? 0 : clock_lap_ns(work->clock, &work->lap);
}

/* --- steps --- */

/* What happens after chain_process and chain_resume alike. `rows` and `slice`: of the batch; NULL: there was none. */
static enum step_result after_chain(struct partition *part, struct work *work, enum err err,
                                    const struct rows *rows, const struct view_slice *slice)
{
    err = err == ERR_OK ? take_outputs(part, work) : err;
    if (err == ERR_OK && slice != NULL && slice->reject_count > 0) {
        err = reject_rows(part, work, slice->input, rows, slice);
    }
    if (err == ERR_OK && part->cut_each && part->shadow == NULL) {
        err = partition_cut(part, work->commit, &work->info);
    }
    partition_account(part);
    int64_t cpu_ns = lap(work);
    part->figures.work_cpu_ns += cpu_ns;
    if (slice != NULL && slice->taken > 0 && !work->tuning->figures_off) {
        learn_row(part, work, cpu_ns, slice->taken);
    } else if (slice != NULL &&
               work->tuning->figures_off) { /* a turn ends by what its rows used to cost */
        work->lap.cpu_ns += (int64_t)(part->row_cost_ns * slice->taken);
    }
    if (err != ERR_OK) {
        work->info.code = err;
        partition_fail(part, &work->info);
        return STEP_BROKEN; /* operators may have changed state, outputs may be half written */
    }
    return STEP_WORKED;
}

static void park_wait(struct partition *part, struct work *work)
{
    struct parked *parked = part->parked;
    int64_t most = INT64_C(5000000000);
    parked->backoff_ns =
        parked->backoff_ns == 0 ? work->tuning->retry_backoff_ns : 2 * parked->backoff_ns;
    parked->backoff_ns = parked->backoff_ns < most ? parked->backoff_ns : most;
    part->retry_ns = work->now_ns + parked->backoff_ns;
    part->state = PARTITION_STALLED;
    part->stall = STALL_RETRY;
    part->figures.retries++;
    IGNORE_RESULT(snprintf(part->problem, sizeof(part->problem), "waits for a dependency: %.200s",
                           work->info.text)); /* may be cut */
}

/* The bench, with what the chain has put out so far, is kept until the dependency is there again. */
static void park(struct partition *part, struct work *work)
{
    part->parked = MEM_NEW(struct parked);
    part->parked->bench = work->bench;
    park_wait(part, work);
}

static void unstall(struct partition *part)
{
    part->state = PARTITION_RUNNING;
    part->stall = STALL_NONE;
    part->problem[0] = '\0';
}

/* Tries the batch that waits again, on the bench it was begun on. */
static enum step_result step_parked(struct partition *part, struct work *work)
{
    struct parked *parked = part->parked;
    if (work->now_ns < part->retry_ns) {
        return STEP_STALLED;
    }
    work->info = (struct err_info){0};
    enum err err = chain_resume(part->chain, &parked->bench->out, &work->info);
    if (err == ERR_AGAIN) {
        park_wait(part, work);
        return STEP_STALLED;
    }
    unstall(part);
    struct bench *own = work->bench;
    work->bench = parked->bench;
    part->parked = NULL;
    enum step_result result = after_chain(part, work, err, parked->rows, &parked->slice);
    if (parked->kept != NULL) {
        decode_drop(work->cache, parked->kept);
    }
    arena_reset(&work->bench->batch_arena);
    work->bench->next = own; /* the lane's stack of benches is one higher now */
    mem_free(parked);
    return result;
}

/* Emits what the present watermark closes. */
static enum step_result step_advance(struct partition *part, struct work *work)
{
    bool idle;
    int64_t watermark_ms = partition_watermark(part, &idle);
    bool more = false;
    if (part->chain != NULL) {
        more = chain_advance(part->chain, watermark_ms, &work->bench->out);
        if (chain_stalled(part->chain)) {
            park(part, work); /* `advancing` stays: the rest follows */
            return STEP_KEPT;
        }
    }
    enum step_result result = after_chain(part, work, ERR_OK, NULL, NULL);
    arena_reset(&work->bench->batch_arena);
    part->advancing = more;
    if (!more && watermark_ms > part->advanced_ms) {
        part->advanced_ms = watermark_ms;
        part->figures.watermark_ms = watermark_ms;
    }
    return result;
}

/* Whether it may take more in; otherwise it is stalled. */
static bool may_read(struct partition *part, struct work *work)
{
    const struct stage *stage = part->stage;
    const struct pipeline_plan *pipeline = stage->pipeline->plan;
    enum stall_reason reason = STALL_NONE;
    if (part->shadow == NULL &&
        atomic_load_explicit(&stage->pipeline->state_bytes, memory_order_relaxed) >=
            pipeline->memory_bytes) {
        reason = STALL_MEMORY;
    } else if (part->shadow == NULL && stage->plan->key_by && stage->output != NULL &&
               stage->plan->internal_bytes_max > 0 &&
               atomic_load_explicit(&stage->output->largest_shard_bytes, memory_order_relaxed) >=
                   stage->plan->internal_bytes_max) {
        reason = STALL_INTERNAL;
    }
    if (reason == STALL_NONE) {
        if (part->state == PARTITION_STALLED) {
            unstall(part);
        }
        return true;
    }
    part->state = PARTITION_STALLED;
    part->stall = reason;
    part->retry_ns = work->now_ns + work->tuning->retry_backoff_ns;
    IGNORE_RESULT(snprintf(part->problem, sizeof(part->problem), "%s",
                           reason == STALL_MEMORY
                               ? "the pipeline's state is at its memory limit: raise `memory`"
                               : "the internal stream it writes is at its bound")); /* may be cut */
    return false;
}

/* The input to read: of those that have something, the one whose watermark is behind. -1: none. */
static int32_t choose_input(struct partition *part)
{
    int32_t best = -1;
    int64_t best_ms = 0;
    for (int32_t i = 0; i < part->stage->plan->input_count; i++) {
        bool idle;
        int64_t low = view_watermark(&part->views[i], &idle);
        if (part->views[i].position.next_offset < lane_shard_end(part->shards[i]) &&
            (best < 0 || low < best_ms)) {
            best = i;
            best_ms = low;
        }
    }
    return best;
}

/* Runs a batch of own rows through the chain. */
static enum step_result step_batch(struct partition *part, struct work *work, int32_t input,
                                   const struct rows *rows, const struct view_slice *slice)
{
    enum err err = partition_make_chain(part, &work->info);
    if (err != ERR_OK) {
        work->info.code = err;
        partition_fail(part, &work->info);
        return STEP_BROKEN;
    }
    work->info = (struct err_info){0};
    if (slice->batch != NULL) {
        slice->batch->shard = (int32_t)part->place.shard;
        err = chain_process(part->chain, input, slice->batch, &work->bench->out, &work->info);
    }
    if (err != ERR_AGAIN) {
        return after_chain(part, work, err, rows, slice);
    }
    park(part, work);
    part->parked->rows = rows;
    part->parked->slice = *slice;
    part->parked->kept = decode_keep(work->cache, lane_shard_entries(part->shards[input]), rows);
    return STEP_KEPT;
}

static enum step_result step_read(struct partition *part, struct work *work, int32_t input)
{
    struct view *view = &part->views[input];
    const struct rows *rows;
    enum err err = decode_rows(work->cache, lane_shard_entries(part->shards[input]),
                               lane_shard_rules(part->shards[input]), view->position.next_offset,
                               &rows, &work->info);
    if (err != ERR_OK) {
        partition_fail(part, &work->info);
        return STEP_FAILED;
    }
    if (rows == NULL) {
        return STEP_READ;
    }
    struct view_slice slice;
    int64_t first_offset = view->position.next_offset;
    view_take(view, rows, rows_of_batch(part, work->tuning), BATCH_BYTES_MAX,
              &work->bench->batch_arena, &slice);
    slice.input = input;
    part->moved[input] = true;
    part->figures.records_read += slice.scanned;
    part->figures.records_in += slice.batch != NULL ? slice.batch->sel_count : 0;
    part->figures.batches += slice.batch != NULL;
    part->figures.bytes_in += slice.bytes;
    part->figures.stamped += slice.stamped;
    if (slice.batch != NULL && input == 0 && !work->tuning->figures_off) {
        partition_count_rows(part, slice.batch, rows, first_offset);
    }
    part->figures.read_cpu_ns += lap(work);
    enum step_result result = STEP_WORKED;
    if (part->feed != NULL) {
        shadow_feed_take(part->feed, rows, &slice);
        part->figures.read_cpu_ns += lap(work);
    } else if (slice.batch != NULL || slice.reject_count > 0) {
        result = step_batch(part, work, input, rows, &slice);
    }
    bool idle;
    int64_t watermark_ms = partition_watermark(part, &idle);
    part->idle = idle;
    part->advancing |= watermark_ms > part->advanced_ms;
    if (result != STEP_KEPT) {
        arena_reset(&work->bench->batch_arena);
    }
    return result;
}

enum step_result partition_step(struct partition *part, struct work *work, int32_t *ret_input)
{
    CHECK(part->state == PARTITION_RUNNING || part->state == PARTITION_STALLED);
    if (part->parked != NULL) {
        return step_parked(part, work);
    }
    if (part->feed != NULL && !shadow_feed_room(part->feed)) {
        part->held = true; /* until its queue has room again */
        return STEP_DRAINED;
    }
    if (part->advancing) {
        return step_advance(part, work);
    }
    *ret_input = choose_input(part);
    if (*ret_input < 0) {
        return STEP_DRAINED;
    }
    if (!may_read(part, work)) {
        return STEP_STALLED;
    }
    return step_read(part, work, *ret_input);
}

enum step_result partition_tick(struct partition *part, struct work *work)
{
    CHECK(part->parked == NULL);
    if (part->chain == NULL) {
        part->tick_ns = CLOCK_NEVER;
        return STEP_DRAINED;
    }
    part->tick_ns = chain_tick(part->chain, work->now_ns, &work->bench->out);
    if (chain_stalled(part->chain)) {
        park(part, work);
        return STEP_KEPT;
    }
    bool any = work->bench->out.count > 0;
    enum step_result result = after_chain(part, work, ERR_OK, NULL, NULL);
    arena_reset(&work->bench->batch_arena);
    return result == STEP_WORKED && !any ? STEP_DRAINED : result;
}

bool partition_idle(struct partition *part, int32_t input)
{
    if (!view_tick(&part->views[input])) {
        return false;
    }
    bool idle;
    part->moved[input] = true;
    part->advancing |= partition_watermark(part, &idle) > part->advanced_ms;
    part->idle = idle;
    return true;
}
