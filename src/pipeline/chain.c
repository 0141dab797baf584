// SPDX-License-Identifier: Apache-2.0
/* Runs the operators of one stage over batches, level by level: all batches leave an operator before the next one sees
 * any, so that an operator that cannot go on (AGAIN) leaves nothing half done behind it.
 *
 * A run: batches of `cur` from `item` on are still to go through the operator at `level`; what it made is in `next`.
 *
 *   IDLE --begin--> RUNNING --all levels done: emit--> IDLE
 *                     |  ^
 *               AGAIN |  | resume
 *                     v  |
 *                   STALLED
 *
 * Invariants: C1 the run is empty in IDLE. C2 in STALLED nothing but resume (or chain_advance, for a run that it began)
 * is called. C3 `order` is a permutation that keeps every operator in its group of commuting neighbours. */
#include "pipeline/chain.h"

#include "base/check.h"
#include "base/mem.h"
#include "pipeline/config.h"
#include "pipeline/encode_json.h"
#include "pipeline/operator.h"
#include "pipeline/probe.h"

enum {
    REORDER_EVERY = 64, /* batches between two looks at the order of filters */
    RUN_ARENA_MAX_SHIFT = 32
};

enum run_state { RUN_IDLE, RUN_RUNNING, RUN_STALLED };

struct link {
    const struct operator_plan *plan;
    struct operator_instance *instance;
    struct operator_env env;
    struct operator_stats stats;
    int32_t group; /* first position of its group of commuting neighbours */
    /* lately, halved at each look: for the order of filters */
    double recent_ns, recent_in, recent_out;
};

struct run {
    enum run_state state;
    int32_t level, item;
    int32_t input;
    bool own_memory; /* began in chain_advance or chain_tick: lists live in run_arena */
    struct batch_list cur, next;
};

struct chain {
    uint32_t magic;
    const struct stage_plan *plan;
    const struct clock *probe_clock;
    struct probes *probes;
    int32_t link_count;
    struct link *links;
    int32_t *order; /* position -> link */
    int32_t batches;
    bool reorders;
    struct run run;
    struct arena run_arena;
};

enum { CHAIN_MAGIC = 0x43484e31 };

void chain_out_init(struct chain_out *out, struct arena *arena)
{
    out->arena = arena;
    out->count = 0;
    out->dead = out->late = (struct output_rows){0};
}

void chain_out_reset(struct chain_out *out)
{
    arena_reset(out->arena);
    chain_out_init(out, out->arena);
}

void batch_list_add(struct batch_list *list, struct batch *batch)
{
    if (list->count == list->cap) {
        int32_t cap = list->cap == 0 ? 4 : 2 * list->cap;
        struct batch **items = ARENA_NEW_ARRAY(list->arena, struct batch *, cap);
        if (list->count > 0) {
            memcpy(items, list->items, (size_t)list->count * sizeof(struct batch *));
        }
        list->items = items;
        list->cap = cap;
    }
    list->items[list->count++] = batch;
}

/* --- side outputs --- */

static struct output *output_new(struct chain_out *out, enum output_kind kind)
{
    CHECK(out->count < CHAIN_OUTPUTS_MAX);
    struct output *output = &out->outputs[out->count++];
    *output = (struct output){.kind = kind};
    return output;
}

/* An output with room for one more row: the growing one of its kind, or a new one of twice its size. */
static struct output *side_output(struct chain_out *out, struct output_rows *rows,
                                  enum output_kind kind)
{
    enum { FIRST_ROWS = 16, MOST_ROWS = 4096 };
    if (rows->cap > 0 && out->outputs[rows->index].count < rows->cap) {
        return &out->outputs[rows->index];
    }
    int32_t cap = rows->cap == 0 ? FIRST_ROWS : rows->cap < MOST_ROWS ? 2 * rows->cap : MOST_ROWS;
    *rows = (struct output_rows){
        .index = out->count,
        .cap = cap,
        .key = ARENA_NEW_ARRAY(out->arena, struct str, cap),
        .value = ARENA_NEW_ARRAY(out->arena, struct str, cap),
        .headers = ARENA_NEW_ARRAY(out->arena, struct str, cap),
        .time_ms = ARENA_NEW_ARRAY(out->arena, int64_t, cap),
        .header_count = ARENA_NEW_ARRAY(out->arena, int32_t, cap),
    };
    struct output *output = output_new(out, kind);
    output->key = rows->key;
    output->value = rows->value;
    output->headers = rows->headers;
    output->time_ms = rows->time_ms;
    output->header_count = rows->header_count;
    return output;
}

/* A length as record headers write it: zigzag, seven bits a byte, lowest first (Kafka record format v2). */
static char *put_length(char *out, ptrdiff_t len)
{
    uint64_t zigzag = (uint64_t)len << 1;
    while (zigzag >= 0x80) {
        *out++ = (char)(zigzag | 0x80);
        zigzag >>= 7;
    }
    *out++ = (char)zigzag;
    return out;
}

static char *put_header(char *out, struct str name, struct str value)
{
    out = put_length(out, name.len);
    memcpy(out, name.ptr, (size_t)name.len);
    out = put_length(out + name.len, value.len);
    if (value.len > 0) {
        memcpy(out, value.ptr, (size_t)value.len);
    }
    return out + value.len;
}

/* Where the row came from, "<stream>/<shard>/<offset>"; empty if an operator made it. */
static struct str source_of(struct operator_env *env, const struct batch *batch, int32_t row)
{
    if (batch->offset == NULL || env->stage == NULL) {
        return (struct str){0};
    }
    const struct stream_spec *stream = env->stage->inputs[env->input].stream;
    return str_of(arena_printf(env->out->arena, "%.*s/%d/%lld", STR_ARG(stream->name), batch->shard,
                               (long long)batch->offset[row]));
}

static void side_row(struct operator_env *env, struct output_rows *rows, enum output_kind kind,
                     const struct batch *batch, int32_t row, struct str reason)
{
    enum { HEADER_OVERHEAD = 64 };
    struct chain_out *out = env->out;
    struct output *output = side_output(out, rows, kind);
    struct str source = source_of(env, batch, row);
    struct str old = batch->headers != NULL ? batch->headers[row] : (struct str){0};
    char *block = arena_new_raw(out->arena, old.len + reason.len + source.len + HEADER_OVERHEAD, 1);
    char *end = block;
    int32_t count = batch->headers != NULL ? batch->header_count[row] : 0;
    if (reason.len > 0) {
        end = put_header(end, STR("sc.reason"), reason);
        count++;
    }
    if (source.len > 0) {
        end = put_header(end, STR("sc.source"), source);
        count++;
    }
    if (old.len > 0) {
        memcpy(end, old.ptr, (size_t)old.len);
        end += old.len;
    }
    int32_t at = output->count++;
    rows->key[at] = batch->key[row];
    rows->value[at] = batch->value[row];
    rows->time_ms[at] = batch->time_ms[row];
    rows->headers[at] = (struct str){block, end - block};
    rows->header_count[at] = count;
}

void operator_reject(struct operator_env *env, const struct batch *batch, int32_t row,
                     const char *reason)
{
    side_row(env, &env->out->dead, OUTPUT_DEAD_LETTER, batch, row, str_of(reason));
    env->stats->rejected++;
}

void operator_late(struct operator_env *env, const struct batch *batch, int32_t row)
{
    side_row(env, &env->out->late, OUTPUT_LATE, batch, row, (struct str){0});
    env->stats->late++;
}

/* --- the main output --- */

static const struct operator_plan *last_plan(const struct chain *chain)
{
    return chain->link_count > 0 ? chain->links[chain->link_count - 1].plan : NULL;
}

struct main_rows {
    struct str *key, *value, *headers;
    int64_t *time_ms, *stamp_ms;
    int32_t *header_count;
};

static void copy_parts(const struct batch *batch, const struct main_rows *to, int32_t at)
{
    for (int32_t k = 0; k < batch->sel_count; k++) {
        int32_t row = batch->sel[k];
        to->key[at + k] = batch->key[row];
        to->time_ms[at + k] = batch->time_ms[row];
        if (to->stamp_ms != NULL) {
            to->stamp_ms[at + k] = batch->stamp_ms != NULL ? batch->stamp_ms[row] : STAMP_NONE;
        }
        if (to->headers != NULL) {
            to->headers[at + k] = batch->headers != NULL ? batch->headers[row] : (struct str){0};
            to->header_count[at + k] = batch->headers != NULL ? batch->header_count[row] : 0;
        }
    }
}

static void emit(struct chain *chain, const struct batch_list *list, struct chain_out *out)
{
    int32_t total = 0;
    bool stamped = false;
    bool headed = false;
    for (int32_t b = 0; b < list->count; b++) {
        total += list->items[b]->sel_count;
        stamped = stamped || list->items[b]->stamp_ms != NULL;
        headed = headed || list->items[b]->headers != NULL;
    }
    if (total == 0) {
        return;
    }
    struct arena *arena = out->arena;
    struct main_rows to = {
        .key = arena_new_raw(arena, total, sizeof(struct str)),
        .value = arena_new_raw(arena, total, sizeof(struct str)),
        .time_ms = arena_new_raw(arena, total, sizeof(int64_t)),
        .stamp_ms = stamped ? arena_new_raw(arena, total, sizeof(int64_t)) : NULL,
        .headers = headed ? arena_new_raw(arena, total, sizeof(struct str)) : NULL,
        .header_count = headed ? arena_new_raw(arena, total, sizeof(int32_t)) : NULL,
    };
    const struct operator_plan *last = last_plan(chain);
    int32_t at = 0;
    for (int32_t b = 0; b < list->count; b++) {
        const struct batch *batch = list->items[b];
        copy_parts(batch, &to, at);
        if (last == NULL || last->value_intact) {
            for (int32_t k = 0; k < batch->sel_count; k++) {
                to.value[at + k] = batch->value[batch->sel[k]];
            }
        } else {
            encode_json_rows(batch, &last->schema, arena, to.value + at);
        }
        at += batch->sel_count;
    }
    struct output *output = output_new(out, OUTPUT_MAIN);
    output->count = total;
    output->key = to.key;
    output->value = to.value;
    output->time_ms = to.time_ms;
    output->stamp_ms = to.stamp_ms;
    output->headers = to.headers;
    output->header_count = to.header_count;
}

/* --- the order of filters --- */

/* Cost per record it saves: with costs c and shares s that pass, the order that is cheapest in expectation is by
 * c / (1 - s), rising (Hellerstein and Stonebraker 1993, "predicate migration"). */
static double rank(const struct link *link)
{
    double pass = link->recent_in > 0 ? link->recent_out / link->recent_in : 1;
    double cost = link->recent_in > 0 ? link->recent_ns / link->recent_in : 0;
    double saved = 1 - pass;
    return cost / (saved > 1e-6 ? saved : 1e-6);
}

static void reorder(struct chain *chain)
{
    for (int32_t i = 1; i < chain->link_count; i++) {
        int32_t moving = chain->order[i];
        int32_t group = chain->links[moving].group;
        int32_t j = i;
        while (j > group && chain->links[chain->order[j - 1]].group == group &&
               rank(&chain->links[chain->order[j - 1]]) > rank(&chain->links[moving])) {
            chain->order[j] = chain->order[j - 1];
            j--;
        }
        chain->order[j] = moving;
    }
    for (int32_t i = 0; i < chain->link_count; i++) {
        struct link *link = &chain->links[i];
        link->recent_ns /= 2;
        link->recent_in /= 2;
        link->recent_out /= 2;
    }
}

/* --- running --- */

static int64_t probe(const struct chain *chain)
{
    return chain->probe_clock != NULL ? clock_now_ns(chain->probe_clock) : 0;
}

static int64_t rows_of(const struct batch_list *list, int32_t from)
{
    int64_t rows = 0;
    for (int32_t i = from; i < list->count; i++) {
        rows += list->items[i]->sel_count;
    }
    return rows;
}

static int64_t bytes_of(const struct batch_list *list, int32_t from, bool value_intact)
{
    int64_t bytes = 0;
    for (int32_t i = from; i < list->count; i++) {
        bytes += probe_batch_bytes(list->items[i], value_intact);
    }
    return bytes;
}

/* Whether what the operator is handed still are records. */
static bool takes_records(const struct chain *chain, const struct link *link)
{
    int64_t index = link - chain->links;
    return index == 0 || chain->links[index - 1].plan->value_intact;
}

/* A shadow's: the same, measured. */
static enum err run_probed(struct chain *chain, struct link *link, struct batch *batch,
                           struct err_info *info)
{
    struct run *run = &chain->run;
    struct probe *probe = &chain->probes->probes[link - chain->links];
    int64_t in = batch->sel_count;
    probes_enter(chain->probes);
    int64_t bytes = probe_batch_bytes(batch, takes_records(chain, link));
    int32_t before = run->next.count;
    link->env.input = run->input;
    probes_spend(chain->probes); /* on counting bytes */
    enum err err = link->plan->type->process(link->instance, run->input, batch, &run->next, info);
    int64_t ns = probes_lap(chain->probes);
    if (err != ERR_OK) {
        probe->again += err == ERR_AGAIN;
        return err;
    }
    int64_t out = rows_of(&run->next, before);
    link->stats.rows_in += in;
    link->stats.rows_out += out;
    probe_add(probe, in, ns);
    probe->moments.rows_out += out;
    probe->moments.bytes_in += bytes;
    probe->moments.bytes_out += bytes_of(&run->next, before, link->plan->value_intact);
    probes_spend(chain->probes);
    return ERR_OK;
}

static enum err run_batch(struct chain *chain, struct link *link, struct batch *batch,
                          struct err_info *info)
{
    if (UNLIKELY(chain->probes != NULL)) {
        return run_probed(chain, link, batch, info);
    }
    struct run *run = &chain->run;
    int64_t in = batch->sel_count;
    int32_t before = run->next.count;
    int64_t started = probe(chain);
    link->env.input = run->input;
    enum err err = link->plan->type->process(link->instance, run->input, batch, &run->next, info);
    int64_t ns = probe(chain) - started;
    link->stats.cpu_ns += ns;
    if (err != ERR_OK) {
        return err;
    }
    int64_t out = rows_of(&run->next, before);
    link->stats.rows_in += in;
    link->stats.rows_out += out;
    link->recent_ns += (double)ns;
    link->recent_in += (double)in;
    link->recent_out += (double)out;
    return ERR_OK;
}

/* Operators before a join see only the rows of their own input. */
static bool concerns(const struct link *link, int32_t input)
{
    return link->plan->joins || link->plan->input == input;
}

static enum err run_on(struct chain *chain, struct chain_out *out, struct err_info *info)
{
    struct run *run = &chain->run;
    for (int32_t i = 0; i < chain->link_count; i++) {
        chain->links[i].env.out = out;
    }
    run->state = RUN_RUNNING;
    for (; run->level < chain->link_count; run->level++) {
        struct link *link = &chain->links[chain->order[run->level]];
        if (!concerns(link, run->input)) {
            continue;
        }
        for (; run->item < run->cur.count; run->item++) {
            struct batch *batch = run->cur.items[run->item];
            if (batch->sel_count == 0) {
                continue;
            }
            enum err err = run_batch(chain, link, batch, info);
            if (err == ERR_AGAIN) {
                run->state = RUN_STALLED;
            }
            if (err != ERR_OK) {
                return err;
            }
        }
        struct batch_list spare = run->cur;
        run->cur = run->next;
        spare.count = 0;
        run->next = spare;
        run->item = 0;
        if (link->plan->joins) {
            run->input = 0;
        }
    }
    emit(chain, &run->cur, out);
    *run = (struct run){0};
    return ERR_OK;
}

static void begin(struct chain *chain, int32_t level, int32_t input, struct arena *arena)
{
    CHECK(chain->run.state == RUN_IDLE);
    chain->run = (struct run){
        .level = level, .input = input, .cur = {.arena = arena}, .next = {.arena = arena}};
}

enum err chain_process(struct chain *chain, int input, struct batch *batch, struct chain_out *out,
                       struct err_info *info)
{
    CHECK(chain->magic == CHAIN_MAGIC);
    CHECK(input >= 0 && input < chain->plan->input_count);
    if (chain->reorders && ++chain->batches % REORDER_EVERY == 0) {
        reorder(chain);
    }
    begin(chain, 0, input, batch->arena);
    batch_list_add(&chain->run.cur, batch);
    return run_on(chain, out, info);
}

enum err chain_resume(struct chain *chain, struct chain_out *out, struct err_info *info)
{
    CHECK(chain->run.state == RUN_STALLED);
    return run_on(chain, out, info);
}

bool chain_stalled(const struct chain *chain)
{
    return chain->run.state == RUN_STALLED;
}

/* Runs what an operator's timer made, from the operator behind it. False: it stalled. Errors of operators behind a
 * window are AGAIN or bugs: their inputs are rows that were made here. */
static bool run_timed(struct chain *chain, struct chain_out *out)
{
    struct err_info info = {0};
    chain->run.own_memory = true;
    enum err err = run_on(chain, out, &info);
    CHECK_MSG(err == ERR_OK || err == ERR_AGAIN, "operator behind a window: %s", info.text);
    return err == ERR_OK;
}

/* Behind which position the timers of the operator at `level` go on; before a join they belong to its input. */
static void begin_timed(struct chain *chain, int32_t level)
{
    arena_reset(&chain->run_arena);
    begin(chain, level + 1, chain->links[chain->order[level]].plan->input, &chain->run_arena);
    for (int32_t i = 0; i < chain->link_count; i++) {
        chain->links[i].env.input = 0;
    }
}

/* What an operator's timer took and made, in a shadow. */
static void probe_timed(struct chain *chain, const struct link *link)
{
    if (LIKELY(chain->probes == NULL)) {
        return;
    }
    struct probe *probe = &chain->probes->probes[link - chain->links];
    probe_add(probe, 0, probes_lap(chain->probes));
    probe->moments.rows_out += rows_of(&chain->run.cur, 0);
    probe->moments.bytes_out += bytes_of(&chain->run.cur, 0, link->plan->value_intact);
    probes_spend(chain->probes);
}

bool chain_advance(struct chain *chain, int64_t watermark_ms, struct chain_out *out)
{
    CHECK(chain->magic == CHAIN_MAGIC);
    if (chain->run.state == RUN_STALLED) {
        CHECK(chain->run.own_memory);
        IGNORE_RESULT(run_timed(chain, out)); /* true either way: this watermark is not done */
        return true;
    }
    struct stage_holds holds = {{0}};
    for (int32_t level = 0; level < chain->link_count; level++) {
        struct link *link = &chain->links[chain->order[level]];
        int64_t hold_ms = stage_holds_pass(&holds, link->plan);
        if (link->plan->type->advance == NULL) {
            continue;
        }
        begin_timed(chain, level);
        link->env.out = out;
        int64_t started = probe(chain);
        if (UNLIKELY(chain->probes != NULL)) {
            probes_enter(chain->probes);
        }
        bool more = link->plan->type->advance(link->instance, watermark_held(watermark_ms, hold_ms),
                                              &chain->run.cur);
        link->stats.cpu_ns += probe(chain) - started;
        link->stats.rows_out += rows_of(&chain->run.cur, 0);
        probe_timed(chain, link);
        if (!run_timed(chain, out) || more) {
            return true;
        }
        if (out->count > 0) {
            return true; /* the caller takes these before the next operator's rows take their memory */
        }
    }
    return false;
}

int64_t chain_tick(struct chain *chain, int64_t now_ns, struct chain_out *out)
{
    CHECK(chain->magic == CHAIN_MAGIC);
    int64_t next = CLOCK_NEVER;
    for (int32_t level = 0; level < chain->link_count; level++) {
        struct link *link = &chain->links[chain->order[level]];
        if (link->plan->type->tick == NULL || chain->run.state == RUN_STALLED) {
            continue;
        }
        if (out->count > 0) {
            return now_ns; /* the next operator after the caller has taken these */
        }
        begin_timed(chain, level);
        link->env.out = out;
        if (UNLIKELY(chain->probes != NULL)) {
            probes_enter(chain->probes);
        }
        int64_t wanted = link->plan->type->tick(link->instance, now_ns, &chain->run.cur);
        link->stats.rows_out += rows_of(&chain->run.cur, 0);
        probe_timed(chain, link);
        next = wanted < next ? wanted : next;
        if (!run_timed(chain, out)) {
            return now_ns;
        }
    }
    return next;
}

/* --- making --- */

static enum err open_link(struct chain *chain, const struct chain_options *options, int32_t index,
                          struct err_info *info)
{
    const struct operator_plan *plan = options->plan->operators[index];
    struct link *link = &chain->links[index];
    bool joined = plan->commutes && index > 0 && chain->links[index - 1].plan->commutes &&
                  chain->links[index - 1].plan->input == plan->input;
    *link = (struct link){
        .plan = plan,
        .group = joined ? chain->links[index - 1].group : index,
        .stats = {.name = plan->name, .type = plan->type->name},
        .env = {.state = options->state,
                .lookup_tables = options->lookup_tables,
                .stage = options->plan,
                .stats = &link->stats},
    };
    chain->order[index] = index;
    chain->reorders = chain->reorders || joined;
    if (options->shadow && plan->effects == EFFECTS_UNDECLARED) {
        return err_set(
            info, ERR_UNSUPPORTED,
            "operator '%.*s' has effects that it does not declare: it does not run in a shadow",
            STR_ARG(plan->name));
    }
    return plan->type->open(plan, &link->env, &link->instance, info);
}

enum err chain_new(const struct chain_options *options, struct chain **ret_chain,
                   struct err_info *info)
{
    struct chain *chain = MEM_NEW(struct chain);
    chain->magic = CHAIN_MAGIC;
    chain->plan = options->plan;
    chain->probe_clock = options->probe_clock;
    chain->probes = options->probes;
    CHECK(chain->probes == NULL || chain->probes->count >= options->plan->operator_count);
    chain->links = MEM_NEW_ARRAY(struct link, options->plan->operator_count);
    chain->order = MEM_NEW_ARRAY(int32_t, options->plan->operator_count);
    arena_init(&chain->run_arena, (ptrdiff_t)1 << RUN_ARENA_MAX_SHIFT);
    for (int32_t i = 0; i < options->plan->operator_count; i++) {
        enum err err = open_link(chain, options, i, info);
        if (err != ERR_OK) {
            chain_free(chain);
            return err;
        }
        chain->link_count++;
    }
    chain->reorders = chain->reorders && chain->probe_clock != NULL;
    *ret_chain = chain;
    return ERR_OK;
}

void chain_free(struct chain *chain)
{
    if (chain == NULL) {
        return;
    }
    CHECK(chain->magic == CHAIN_MAGIC);
    for (int32_t i = 0; i < chain->link_count; i++) {
        chain->links[i].plan->type->close(chain->links[i].instance);
    }
    arena_release(&chain->run_arena);
    mem_free(chain->links);
    mem_free(chain->order);
    chain->magic = 0;
    mem_free(chain);
}

struct operator_stats chain_operator_stats(const struct chain *chain, int index)
{
    CHECK(index >= 0 && index < chain->link_count);
    return chain->links[index].stats;
}
