// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "node/lane_priv.h"

/* What a lane tells about itself. Rates are looked at once a second, never in the path of a batch. */

enum { RATES_NS = 1000000000 };

/* Moving average that takes the first value whole. */
static double smooth(double old, double fresh, bool first)
{
    return first ? fresh : old + 0.3 * (fresh - old);
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static void partition_rates(struct lane *lane, struct partition *part, double seconds)
{
    struct partition_figures *f = &part->figures;
    bool first = part->sampled_end[0] < 0;
    double own = ratio((double)(f->records_in - part->sampled_own), seconds);
    f->own_rate = smooth(f->own_rate, own, first);
    f->read_cost_ns = ratio((double)f->read_cpu_ns, (double)f->records_read);
    f->work_cost_ns = ratio((double)f->work_cpu_ns, (double)f->records_in);
    double arrivals = 0;
    for (int32_t i = 0; i < part->stage->plan->input_count && part->shards[i] != NULL; i++) {
        arrivals += part->shards[i]->arrival_rate;
        part->sampled_end[i] = part->shards[i]->end_offset;
    }
    f->arrival_rate = arrivals;
    double share = ratio((double)f->records_in, (double)f->records_read);
    f->demand = (arrivals * f->read_cost_ns + arrivals * share * f->work_cost_ns) * 1e-9 /
                lane->options.capacity;
    part->sampled_own = f->records_in;
    part->sampled_read = f->records_read;
    part->sampled_ns = lane->now_ns;
}

void lane_rates(struct lane *lane)
{
    int64_t span = lane->now_ns - lane->rates_ns;
    if (span < RATES_NS) {
        return;
    }
    lane_release_openings(lane);
    double seconds = (double)span * 1e-9;
    struct lane_figures *f = &lane->figures;
    bool first = lane->rates_ns == lane->begun_ns;
    double used =
        ratio((double)(f->cpu_ns - lane->rates_cpu_ns), lane->options.capacity * (double)span);
    f->utilisation = smooth(f->utilisation, used, first);
    lane->rates_ns = lane->now_ns;
    lane->rates_cpu_ns = f->cpu_ns;
    for (struct lane_shard *shard = lane->shards; shard != NULL; shard = shard->next) {
        double rate = (double)(shard->end_offset - shard->rate_end) / seconds;
        shard->arrival_rate = smooth(shard->arrival_rate, rate, first);
        shard->rate_end = shard->end_offset;
    }
    for (struct partition *part = lane->parts; part != NULL; part = part->next) {
        if (part->state == PARTITION_RUNNING || part->state == PARTITION_STALLED) {
            partition_rates(lane, part, seconds);
        }
    }
}

static void report_partition(struct lane *lane, struct partition *part,
                             struct partition_report *report)
{
    *report = (struct partition_report){
        .stage = part->stage->index,
        .shard = part->place.shard,
        .group_lo = part->place.group_lo,
        .group_hi = part->place.group_hi,
        .epoch = part->place.epoch,
        .state = part->state,
        .stall = part->stall,
        .figures = part->figures,
    };
    memcpy(report->problem, part->problem, sizeof(report->problem));
    report->figures.watermark_ms = part->advanced_ms;
    for (int32_t i = 0; i < part->stage->plan->input_count; i++) {
        report->next_offset[i] = part->views[i].position.next_offset;
        report->committed[i] = part->committed[i];
        if (part->shards[i] == NULL || part->committed[i] < 0) {
            continue;
        }
        int64_t behind = part->shards[i]->end_offset - part->committed[i];
        report->figures.lag_records += behind > 0 ? behind : 0;
        int64_t age = lane_shard_lag_ns(part->shards[i], part->committed[i], lane->now_ns);
        report->figures.lag_ns = age > report->figures.lag_ns ? age : report->figures.lag_ns;
    }
}

static void report_detail(const struct partition *part, struct partition_detail *detail)
{
    detail->heavy_count = 0;
    detail->heavy_sampled = 0;
    memset(detail->group_counts, 0, KEY_GROUP_COUNT * sizeof(detail->group_counts[0]));
    partition_put_group_counts(part, detail->group_counts);
    if (part->heavy != NULL) {
        detail->heavy_count = heavy_top(part->heavy, detail->heavy, HEAVY_TOP);
        detail->heavy_sampled = heavy_total(part->heavy);
    }
}

void lane_figures_off(struct lane *lane)
{
    lane->tuning.figures_off = true;
}

void lane_figures_on(struct lane *lane)
{
    lane->tuning.figures_off = false;
}

int64_t lane_records_read(const struct lane *lane)
{
    int64_t records = 0;
    for (const struct partition *part = lane->parts; part != NULL; part = part->next) {
        records += part->figures.records_read;
    }
    return records;
}

void lane_snapshot_fill(struct lane *lane, struct lane_snapshot *snapshot)
{
    snapshot->ret_count = 0;
    for (struct partition *part = lane->parts; part != NULL; part = part->next) {
        if (snapshot->ret_count < snapshot->cap) {
            report_partition(lane, part, &snapshot->reports[snapshot->ret_count]);
        }
        snapshot->ret_count++;
        if (snapshot->detail != NULL && part->stage->index == snapshot->detail_stage &&
            part->place.shard == snapshot->detail_shard &&
            part->place.group_lo == snapshot->detail_group_lo) {
            report_detail(part, snapshot->detail);
        }
    }
    struct lane_figures *f = &lane->figures;
    f->wall_ns = lane->now_ns - lane->begun_ns;
    f->capacity = lane->options.capacity;
    f->partitions = snapshot->ret_count;
    f->stalled = lane->state_count[PARTITION_STALLED];
    f->failed = lane->state_count[PARTITION_FAILED];
    f->cache_bytes = lane->cache.used_bytes;
    f->cache_hits = lane->cache.hits;
    f->cache_misses = lane->cache.misses;
    snapshot->ret_lane = *f;
}

void lane_measure_one(struct lane *lane, struct lane_command *command)
{
    struct lane_measure *measure = &command->u.measure;
    struct err_info info = {0};
    struct partition *part = lane_find(lane, measure->stage, measure->shard, measure->group_lo);
    measure->ret_commit_ns = lane->figures.commit_ns;
    if (part == NULL) {
        lane_answer(lane, command, err_set(&info, ERR_NOT_FOUND, "it is not open on this lane"),
                    &info);
        return;
    }
    report_partition(lane, part, measure->report);
    if (measure->group_counts != NULL) {
        partition_put_group_counts(part, measure->group_counts);
    }
    lane_answer(lane, command, ERR_OK, NULL);
}
