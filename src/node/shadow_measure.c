// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "base/check.h"
#include "base/mem.h"
#include "node/shadow_priv.h"

/* A shadow's figures. What a step did is the difference that it made to the partition's own counters; what measuring and
 * results took is taken off. Operators are measured by the chain's probes, whose gains go to the same groups. */

enum { FIRST_SHIFT = 10, PS_PER_NS = 1000 };

void shadow_meter_init(struct shadow *shadow)
{
    struct shadow_meter *meter = MEM_NEW(struct shadow_meter);
    int32_t count = shadow->stage->plan->operator_count;
    probes_init(&meter->probes, shadow->lane->clock, count);
    meter->operators = MEM_NEW_ARRAY(struct meter_operator, count);
    meter->starved_ns = shadow->lane->starved_ns;
    meter->asked_ns = shadow->lane->now_ns;
    shadow->meter = meter;
}

void shadow_meter_release(struct shadow *shadow)
{
    probes_release(&shadow->meter->probes);
    mem_free(shadow->meter->operators);
    mem_free(shadow->meter);
    shadow->meter = NULL;
}

struct probes *shadow_probes(struct shadow *shadow)
{
    return (shadow->spec.flags & SHADOW_NO_PROBES) != 0 ? NULL : &shadow->meter->probes;
}

/* What the whole shadow has used is kept over generations. */
void shadow_meter_begin(struct shadow *shadow)
{
    struct shadow_meter *meter = shadow->meter;
    struct shadow_measures *m = &meter->m;
    meter->own_before += m->warm_records + m->work.rows_in;
    uint32_t generation = m->generation + 1;
    int64_t dropped = m->records_dropped, paused_ns = m->paused_ns;
    memset(m, 0, sizeof(*m));
    m->id = shadow->spec.id;
    m->generation = generation;
    m->records_dropped = dropped;
    m->paused_ns = paused_ns;
    m->operator_count = shadow->stage->plan->operator_count;
    probes_clear(&meter->probes);
    memset(meter->operators, 0, (size_t)meter->probes.count * sizeof(struct meter_operator));
    meter->full = (struct meter_full){0};
}

/* Operators' counters as they are now. */
static void take_operators(struct shadow *shadow)
{
    struct shadow_meter *meter = shadow->meter;
    const struct chain *chain = shadow->part->chain;
    for (int32_t i = 0; i < meter->probes.count; i++) {
        const struct probe_moments *moments = &meter->probes.probes[i].moments;
        struct meter_operator *own = &meter->operators[i];
        own->rows = moments->rows_in;
        own->ns = moments->cpu_ns;
        if (chain != NULL) {
            struct operator_stats stats = chain_operator_stats(chain, i);
            own->rejected = stats.rejected;
            own->late = stats.late;
        }
    }
}

static const struct partition *source_half(const struct shadow *shadow)
{
    return shadow->filler != NULL ? shadow->filler : shadow->part;
}

static int64_t throttled_ns(const struct shadow *shadow)
{
    return shadow->lane->lane->figures.throttled_ns + shadow->budget->throttled_ns;
}

void shadow_meter_start(struct shadow *shadow, int64_t now_ns)
{
    struct shadow_meter *meter = shadow->meter;
    meter->m.measuring_ns = now_ns;
    meter->counts = source_half(shadow)->views[0].counts;
    meter->retries = shadow->part->figures.retries;
    meter->throttled_ns = throttled_ns(shadow);
    meter->low_ms = TIME_NONE;
    meter->batch_offset = -1;
    probes_clear(&meter->probes);
    take_operators(shadow);
}

/* --- batch means --- */

/* Joins neighbours until group `offset >> shift` has a place. */
static void make_room(struct shadow_groups *groups, struct meter_operator *operators,
                      int32_t operator_count, int64_t offset)
{
    while ((offset >> groups->shift) - groups->first >= SHADOW_GROUPS) {
        int64_t first = groups->first >> 1;
        struct shadow_groups joined = {.shift = groups->shift + 1, .first = first};
        struct shadow_group_ns sums[SHADOW_GROUPS];
        for (int32_t k = 0; k < groups->count; k++) {
            struct shadow_group *to = &joined.group[((groups->first + k) >> 1) - first];
            const struct shadow_group *from = &groups->group[k];
            to->rows += from->rows;
            to->batches += from->batches;
            to->read_ns += from->read_ns;
            to->work_ns += from->work_ns;
            to->close_ns += from->close_ns;
            to->closed_ms += from->closed_ms;
            to->time_ms += from->time_ms;
            to->rows_out += from->rows_out;
            to->heavy_rows += from->heavy_rows;
        }
        for (int32_t i = 0; i < operator_count; i++) {
            memset(sums, 0, sizeof(sums));
            for (int32_t k = 0; k < groups->count; k++) {
                int64_t to = ((groups->first + k) >> 1) - first;
                sums[to].rows += operators[i].groups[k].rows;
                sums[to].ns += operators[i].groups[k].ns;
            }
            memcpy(operators[i].groups, sums, sizeof(sums));
        }
        joined.count = groups->count > 0
                           ? (int32_t)(((groups->first + groups->count - 1) >> 1) - first) + 1
                           : 0;
        *groups = joined;
    }
}

/* The group of an offset of the input; offsets never fall. */
static int32_t group_of(struct shadow *shadow, int64_t offset)
{
    struct shadow_meter *meter = shadow->meter;
    struct shadow_groups *groups = &meter->m.groups;
    if (groups->count == 0) {
        groups->shift = FIRST_SHIFT;
        groups->first = offset >> FIRST_SHIFT;
    }
    make_room(groups, meter->operators, meter->probes.count, offset);
    int32_t at = (int32_t)((offset >> groups->shift) - groups->first);
    groups->count = at >= groups->count ? at + 1 : groups->count;
    return at;
}

static void add_operators(struct shadow *shadow, int32_t group)
{
    struct shadow_meter *meter = shadow->meter;
    for (int32_t i = 0; i < meter->probes.count; i++) {
        struct meter_operator *own = &meter->operators[i];
        const struct probe_moments *moments = &meter->probes.probes[i].moments;
        own->groups[group].rows += moments->rows_in - own->rows;
        own->groups[group].ns += moments->cpu_ns - own->ns;
        own->rows = moments->rows_in;
        own->ns = moments->cpu_ns;
    }
}

/* --- steps --- */

void shadow_step_begin(struct shadow *shadow, const struct partition *part,
                       struct shadow_step *ret_step)
{
    *ret_step = (struct shadow_step){
        .before = part->figures,
        .counts = part->views[0].counts,
        .offset = {part->views[0].position.next_offset, part->views[1].position.next_offset},
        .spent_ns = shadow->meter->result_ns + shadow->meter->probes.spent_ns,
        .advanced_ms = part->advanced_ms,
        .advancing = part->advancing};
}

/* What the step took and made. */
struct gain {
    int64_t looked, rows, rows_out, heavy, bytes_in, bytes_out;
    int64_t read_ns, work_ns;
};

static int64_t at_least_0(int64_t n)
{
    return n > 0 ? n : 0;
}

static struct gain gain_of(const struct shadow *shadow, const struct partition *part,
                           const struct shadow_step *step)
{
    const struct partition_figures *now = &part->figures, *before = &step->before;
    const struct shadow_meter *meter = shadow->meter;
    int64_t spent = meter->result_ns + meter->probes.spent_ns - step->spent_ns;
    int64_t read = now->read_cpu_ns - before->read_cpu_ns;
    int64_t work = now->work_cpu_ns - before->work_cpu_ns;
    return (struct gain){
        .looked = now->records_read - before->records_read,
        .rows = now->records_in - before->records_in,
        .rows_out = now->records_out - before->records_out,
        .heavy = part->views[0].counts.heavy - step->counts.heavy,
        .bytes_in = now->bytes_in - before->bytes_in,
        .read_ns = read,
        .work_ns = at_least_0(work - spent),
    };
}

/* Of a queue's filling half: all it does is reading. */
static void measure_filling(struct shadow *shadow, const struct gain *gain)
{
    struct shadow_measures *m = &shadow->meter->m;
    if (shadow->state == SHADOW_MEASURING) {
        probe_moments_add(&m->read, gain->looked, gain->read_ns);
        m->read.rows_out += gain->rows;
        shadow->meter->full.looked += gain->looked;
        shadow->meter->full.read_ns += gain->read_ns;
    }
}

/* Batches after which more was waiting: what the rate would be if it never ran dry. */
static void measure_full(struct shadow *shadow, const struct partition *part,
                         const struct gain *gain)
{
    struct meter_full *full = &shadow->meter->full;
    if (part->shards[0] == NULL ||
        part->views[0].position.next_offset >= lane_shard_end(part->shards[0])) {
        return;
    }
    full->batches++;
    full->rows += gain->rows;
    full->work_ns += gain->work_ns;
    if (!part->queued) {
        full->looked += gain->looked;
        full->read_ns += gain->read_ns;
    }
}

/* Event time of the closings that a watermark brings that goes from `before_ms` to `after_ms`. */
static int64_t closed_ms(const struct operator_plan *closing, int64_t before_ms, int64_t after_ms)
{
    int64_t hop_ms = closing->hop_ms;
    if (before_ms == TIME_NONE || after_ms == TIME_END || after_ms <= before_ms) {
        return 0;
    }
    int64_t before = before_ms - closing->hop_from_ms, after = after_ms - closing->hop_from_ms;
    int64_t hops = after / hop_ms - (after % hop_ms < 0);
    return (hops - (before / hop_ms - (before % hop_ms < 0))) * hop_ms;
}

/* What closes windows, and what event time passes, apart from records. */
static void measure_closing(struct shadow *shadow, struct partition *part,
                            const struct shadow_step *step, const struct gain *gain,
                            struct shadow_group *group)
{
    struct shadow_meter *meter = shadow->meter;
    const struct operator_plan *closing = stage_plan_closing(shadow->stage->plan);
    if (closing == NULL) {
        return;
    }
    if (step->advancing) {
        group->close_ns += gain->work_ns;
        group->closed_ms += closed_ms(closing, step->advanced_ms, part->advanced_ms);
        return;
    }
    bool idle;
    int64_t low_ms = partition_watermark(part, &idle);
    if (low_ms != TIME_NONE && low_ms != TIME_END) {
        int64_t from_ms = meter->low_ms == TIME_NONE ? part->advanced_ms : meter->low_ms;
        group->time_ms += from_ms != TIME_NONE && low_ms > from_ms ? low_ms - from_ms : 0;
        meter->low_ms = low_ms;
    }
}

/* A batch's own place is where it began; what it closes comes after it, and belongs to it. */
static int64_t place_of(struct shadow_meter *meter, const struct shadow_step *step)
{
    if (!step->advancing) {
        meter->batch_offset = step->offset[0];
    }
    return meter->batch_offset >= 0 ? meter->batch_offset : step->offset[0];
}

static void measure_step(struct shadow *shadow, struct partition *part, int64_t now_ns,
                         const struct shadow_step *step, const struct gain *gain)
{
    struct shadow_meter *meter = shadow->meter;
    struct shadow_measures *m = &meter->m;
    probe_moments_add(&m->read, part->queued ? 0 : gain->looked, gain->read_ns);
    m->read.rows_out += part->queued ? 0 : gain->rows;
    probe_moments_add(&m->work, gain->rows, gain->work_ns);
    m->work.rows_out += gain->rows_out;
    m->work.bytes_in += gain->bytes_in;
    m->overhead_ns += meter->result_ns + meter->probes.spent_ns - step->spent_ns;
    struct shadow_group *group = &m->groups.group[group_of(shadow, place_of(meter, step))];
    group->rows += gain->rows;
    group->batches += gain->rows > 0;
    group->read_ns += gain->read_ns;
    group->work_ns += gain->work_ns;
    group->rows_out += gain->rows_out;
    group->heavy_rows += gain->heavy;
    measure_closing(shadow, part, step, gain, group);
    add_operators(shadow, (int32_t)(group - m->groups.group));
    measure_full(shadow, part, gain);
    if (gain->rows > 0) {
        uint64_t weight = (uint64_t)gain->rows;
        histogram_add(&m->batch_ns, gain->work_ns, weight);
        histogram_add(&m->row_ps, gain->work_ns * PS_PER_NS / gain->rows, weight);
        int64_t wait = part->shards[0] != NULL
                           ? lane_shard_lag_ns(part->shards[0], step->offset[0], now_ns)
                           : 0;
        histogram_add(&m->wait_ns, wait, weight);
    }
    if (shadow->spec.records_max > 0 && m->work.rows_in >= shadow->spec.records_max) {
        shadow->burst_done = true;
    }
}

/* Where the primary was has been reached. */
static bool caught_up(const struct shadow *shadow)
{
    const struct partition *source = source_half(shadow);
    for (int32_t i = 0; i < shadow->stage->plan->input_count; i++) {
        if (source->views[i].position.next_offset < shadow->warm_until[i]) {
            return false;
        }
        if (shadow->feed != NULL &&
            shadow->part->views[i].position.next_offset < shadow->feed->queues[i].appended) {
            return false;
        }
    }
    return true;
}

/* What its windows hold is what they would if it had run for long. */
static bool windows_full(struct shadow *shadow)
{
    bool idle;
    if (shadow->warm_span_ms == 0) {
        return true;
    }
    int64_t low = partition_watermark(shadow->part, &idle);
    if (shadow->warm_from_ms == TIME_NONE) {
        shadow->warm_from_ms = low;
    }
    if (low == TIME_NONE || low - shadow->warm_from_ms < shadow->warm_span_ms) {
        return false;
    }
    shadow->warm_span_ms = 0;
    shadow->meter->m.cold = false;
    return true;
}

/* What is compared begins to be measured together. */
static bool partner_full(const struct shadow *shadow)
{
    const struct shadow *partner = shadow_partner(shadow);
    return partner == NULL || (partner->state != SHADOW_OPENING && partner->warm_span_ms == 0);
}

static void warm_step(struct shadow *shadow, const struct gain *gain)
{
    shadow->meter->m.warm_records += gain->rows;
    if (gain->rows > 0 && !shadow->warm) {
        shadow->caught_up = shadow->caught_up || caught_up(shadow);
        bool full = windows_full(shadow) && partner_full(shadow);
        shadow->warm_left -= shadow->caught_up && full;
        shadow->warm = shadow->warm_left <= 0;
    }
}

/* Reading and work, what measuring took included, are paid by the pipeline's budget. */
static void pay(struct shadow *shadow, struct partition *part, const struct shadow_step *step,
                int64_t now_ns)
{
    struct shadow_budget *budget = shadow->budget;
    int64_t cpu_ns = part->figures.read_cpu_ns - step->before.read_cpu_ns +
                     part->figures.work_cpu_ns - step->before.work_cpu_ns;
    int64_t before_ns = budget->may_run_ns > now_ns ? budget->may_run_ns : now_ns;
    budget->may_run_ns = cpu_bucket_take(&budget->bucket, now_ns, at_least_0(cpu_ns));
    budget->throttled_ns += at_least_0(budget->may_run_ns - before_ns);
    part->held = part->held || budget->may_run_ns > now_ns; /* shadow_advance lets it go */
}

void shadow_step_end(struct shadow *shadow, struct partition *part, int64_t now_ns,
                     const struct shadow_step *step)
{
    if (shadow->dropping) {
        return;
    }
    struct gain gain = gain_of(shadow, part, step);
    pay(shadow, part, step, now_ns);
    if (part == shadow->filler) {
        measure_filling(shadow, &gain);
    } else if (shadow->state == SHADOW_MEASURING && !shadow->burst_done) {
        measure_step(shadow, part, now_ns, step, &gain);
    } else if (shadow->state == SHADOW_WARMING) {
        warm_step(shadow, &gain);
    }
    /* The next batch is the first to be measured, or would be one too many. */
    bool edge = (shadow->state == SHADOW_WARMING && shadow->warm) || shadow->burst_done;
    part->held = part->held || (edge && part != shadow->filler);
}

/* --- telling --- */

static void fill_places(const struct shadow *shadow, struct shadow_measures *m)
{
    const struct partition *source = source_half(shadow);
    for (int32_t i = 0; source != NULL && i < source->stage->plan->input_count; i++) {
        if (source->shards[i] == NULL || source->state == PARTITION_OPENING) {
            continue;
        }
        m->next_offset[i] = source->views[i].position.next_offset;
        m->end_offset[i] = lane_shard_end(source->shards[i]);
        m->lag_records += at_least_0(m->end_offset[i] - m->next_offset[i]);
    }
}

static void fill_sample(const struct shadow *shadow, struct shadow_measures *m)
{
    const struct shadow_meter *meter = shadow->meter;
    const struct partition *source = source_half(shadow);
    m->requested = shadow->spec.sample.requested;
    if (source != NULL && m->measuring_ns > 0) {
        const struct view_counts *now = &source->views[0].counts, *base = &meter->counts;
        m->records_seen = now->seen - base->seen;
        m->records_heavy = now->heavy - base->heavy;
        m->records_hashed = now->hashed - base->hashed;
        m->records_left = now->left - base->left;
    }
    double own = (double)(m->records_heavy + m->records_hashed);
    m->reached = m->records_seen > 0 ? own / (double)m->records_seen : 0;
    double share = m->records_seen > 0 ? m->reached : m->requested;
    double done = (double)(meter->own_before + m->warm_records + m->work.rows_in);
    int64_t waits = shadow->spec.feed == SHADOW_FOLLOW ? m->lag_records : 0;
    double missing = share * (double)(m->records_dropped + waits);
    m->completeness = done + missing > 0 ? done / (done + missing) : (double)NAN;
}

static void fill_rate(const struct shadow *shadow, struct shadow_measures *m)
{
    const struct meter_full *full = &shadow->meter->full;
    m->full_batches = full->batches;
    if (full->rows == 0 || full->looked == 0 || m->records_seen == 0) {
        return;
    }
    /* The primary reads, for each record of its range, as many rows as the shadow looked at for one that it saw there. */
    double looked_per_seen = (double)m->read.rows_in / (double)m->records_seen;
    double read_ns = (double)full->read_ns / (double)full->looked * looked_per_seen;
    double work_ns = (double)full->work_ns / (double)full->rows;
    m->rate_max = read_ns + work_ns > 0 ? 1e9 / (read_ns + work_ns) : 0;
}

/* What only its chain and state know, as long as they are there. */
static void look_at_operator(const struct shadow *shadow, int32_t index, struct meter_last *last)
{
    const struct partition *part = shadow->part;
    const struct operator_plan *op = shadow->stage->plan->operators[index];
    if (part == NULL || part->chain == NULL) {
        return;
    }
    struct operator_stats stats = chain_operator_stats(part->chain, index);
    last->rejected = stats.rejected - shadow->meter->operators[index].rejected;
    last->late = stats.late - shadow->meter->operators[index].late;
    last->state_bytes = last->state_entries = 0;
    for (int32_t k = 0; k < op->space_count; k++) {
        int64_t bytes = 0, entries = 0;
        state_space_usage(part->state_kept, op->spaces[k].name, &bytes, &entries);
        last->state_bytes += bytes;
        last->state_entries += entries;
    }
}

static void fill_operators(const struct shadow *shadow, const struct shadow_measure *measure)
{
    const struct shadow_meter *meter = shadow->meter;
    const struct stage_plan *plan = shadow->stage->plan;
    for (int32_t i = 0; i < plan->operator_count && i < measure->operator_cap; i++) {
        const struct operator_plan *op = plan->operators[i];
        struct shadow_operator *to = &measure->operators[i];
        memset(to, 0, sizeof(*to));
        to->type = op->type->name;
        to->probe = meter->probes.probes[i];
        ptrdiff_t most = (ptrdiff_t)sizeof(to->name) - 1;
        memcpy(to->name, op->name.ptr, (size_t)(op->name.len < most ? op->name.len : most));
        memcpy(to->groups, meter->operators[i].groups, sizeof(to->groups));
        look_at_operator(shadow, i, &meter->operators[i].last);
        to->rejected = meter->operators[i].last.rejected;
        to->late = meter->operators[i].last.late;
        to->state_bytes = meter->operators[i].last.state_bytes;
        to->state_entries = meter->operators[i].last.state_entries;
    }
}

void shadow_meter_fill(struct shadow *shadow, const struct shadow_measure *measure, int64_t now_ns)
{
    const struct partition *part = shadow->part;
    const struct shadow_meter *meter = shadow->meter;
    if (measure->operators != NULL) {
        fill_operators(shadow, measure);
    }
    if (measure->group_counts != NULL) {
        memset(measure->group_counts, 0, KEY_GROUP_COUNT * sizeof(uint32_t));
        if (part != NULL) {
            partition_put_group_counts(part, measure->group_counts);
        }
    }
    if (measure->measures == NULL) {
        return;
    }
    struct shadow_measures *m = measure->measures;
    *m = meter->m;
    m->state = shadow->state;
    m->end = shadow->end;
    m->now_ns = now_ns;
    m->asked_ns = meter->asked_ns;
    memcpy(m->problem, shadow->problem, sizeof(m->problem));
    m->store_dropped = shadow->sink.dropped;
    if (shadow->paused && meter->paused_since_ns > 0) {
        m->paused_ns += now_ns - meter->paused_since_ns;
    }
    if (m->measuring_ns > 0 && shadow->state != SHADOW_ENDED) {
        m->throttled_ns = throttled_ns(shadow) - meter->throttled_ns;
    }
    if (shadow->state != SHADOW_ENDED) {
        m->starved_ns = shadow->lane->starved_ns - meter->starved_ns;
    }
    if (part != NULL) {
        m->retries = part->figures.retries - meter->retries;
        m->state_bytes = part->figures.state_bytes;
        m->state_entries = part->figures.state_entries;
        if (part->state == PARTITION_STALLED) {
            memcpy(m->problem, part->problem, sizeof(m->problem));
        }
    }
    fill_places(shadow, m);
    m->catching_up = shadow->state == SHADOW_WARMING && !shadow->caught_up;
    fill_sample(shadow, m);
    fill_rate(shadow, m);
}

/* Before its partitions go: what they alone know. */
void shadow_meter_keep(struct shadow *shadow, int64_t now_ns)
{
    struct shadow_meter *meter = shadow->meter;
    struct shadow_measure all = {.measures = &meter->m};
    struct shadow_measures *copy = MEM_NEW(struct shadow_measures);
    all.measures = copy;
    shadow_meter_fill(shadow, &all, now_ns);
    meter->m = *copy;
    mem_free(copy);
    for (int32_t i = 0; i < meter->probes.count; i++) {
        look_at_operator(shadow, i, &meter->operators[i].last);
    }
}
