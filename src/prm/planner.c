// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <string.h>

#include "base/check.h"
#include "prm/planner_priv.h"

/* How much of a measured cost is believed at once; all of one that is so far off for the second time in a row: one may be a
 * slip. */
#define COST_ALPHA 0.25
#define COST_FAR   0.3

/* Smoothing of level and trend, damping of the trend a step, memory of the errors; steps that the drift looks ahead. */
#define DRIFT_ALPHA  0.3F
#define DRIFT_BETA   0.1F
#define DRIFT_DAMP   0.9F
#define DRIFT_FORGET 0.97F
#define DRIFT_AHEAD  5.7F /* sum of DRIFT_DAMP^1..8 */

enum err planner_new(struct arena *arena, int32_t parts_max, int32_t shards_max, int32_t lanes_max,
                     int32_t pipelines_max, struct planner **ret_planner, struct err_info *info)
{
    if (parts_max < 1 || parts_max > LOAD_PARTS_MAX || shards_max < 1 ||
        shards_max > LOAD_SHARDS_MAX || lanes_max < 1 || lanes_max > LOAD_LANES_MAX ||
        pipelines_max < 1 || pipelines_max > LOAD_PIPELINES_MAX) {
        return err_set(info, ERR_LIMIT,
                       "room for %d partitions, %d shards, %d lanes, %d pipelines; at most %d, %d, "
                       "%d, %d",
                       parts_max, shards_max, lanes_max, pipelines_max, LOAD_PARTS_MAX,
                       LOAD_SHARDS_MAX, LOAD_LANES_MAX, LOAD_PIPELINES_MAX);
    }
    struct planner *p = ARENA_NEW(arena, struct planner);
    p->parts_max = parts_max;
    p->shards_max = shards_max;
    p->lanes_max = lanes_max;
    p->pipelines_max = pipelines_max;
    p->parts = ARENA_NEW_ARRAY(arena, struct weighed, parts_max);
    p->drift = ARENA_NEW_ARRAY(arena, struct drift, parts_max);
    p->who = ARENA_NEW_ARRAY(arena, uint64_t, parts_max);
    p->old_drift = ARENA_NEW_ARRAY(arena, struct drift, parts_max);
    p->old_who = ARENA_NEW_ARRAY(arena, uint64_t, parts_max);
    p->touched = ARENA_NEW_ARRAY(arena, int32_t, parts_max);
    p->marked = ARENA_NEW_ARRAY(arena, bool, parts_max);
    p->first = ARENA_NEW_ARRAY(arena, int32_t, lanes_max);
    p->lane_waiting = ARENA_NEW_ARRAY(arena, double, lanes_max);
    p->dirty = ARENA_NEW_ARRAY(arena, bool, lanes_max);
    ptrdiff_t cells = (ptrdiff_t)lanes_max * pipelines_max;
    p->cell_read = ARENA_NEW_ARRAY(arena, double, cells);
    p->cell_work = ARENA_NEW_ARRAY(arena, double, cells);
    p->cell_high = ARENA_NEW_ARRAY(arena, double, cells);
    p->shard_read = ARENA_NEW_ARRAY(arena, double, shards_max);
    p->of_shard = ARENA_NEW_ARRAY(arena, int32_t, shards_max);
    p->count = ARENA_NEW_ARRAY(arena, int32_t, shards_max);
    p->left_once = ARENA_NEW_ARRAY(arena, double, parts_max);
    p->left_after = ARENA_NEW_ARRAY(arena, double, parts_max);
    for (int32_t i = 0; i < parts_max; i++) {
        p->left_once[i] = p->left_after[i] = 1;
    }
    *ret_planner = p;
    return ERR_OK;
}

/* Of a value smoothed by COST_ALPHA, whose steps are of this mean size: its deviation is larger by sqrt(2 / COST_ALPHA) / 2, a
 * mean of sizes smaller than a deviation by sqrt(2 / pi). */
#define NOISE_OF_STEPS 1.77

double planner_noise(const struct planner *p, int32_t lane)
{
    double squares = 0;
    for (int32_t i = p->first[lane]; i >= 0; i = p->parts[i].next) {
        double step = (double)p->drift[i].error_naive;
        squares += step * step;
    }
    return NOISE_OF_STEPS * sqrt(squares);
}

void planner_forget(struct planner *p)
{
    memset(p->who, 0, (size_t)p->drift_count * sizeof *p->who);
}

double planner_read(const struct planner *p, int32_t shard)
{
    return p->shard_read[shard];
}

/* CPU seconds in the partition of a record of its shard. */
static double step_cost(struct drift *d, bool known, double cost)
{
    double off = cost - d->cost;
    bool far = fabs(off) > COST_FAR * d->cost;
    d->cost += (!known || (far && d->far) ? 1 : COST_ALPHA) * off;
    d->far = known && far && !d->far;
    return d->cost;
}

/* One step of a partition's drift; returns the demand to plan with: never below what is measured. */
static double step_drift(struct drift *d, bool known, double demand)
{
    float y = (float)demand;
    if (!known) {
        *d = (struct drift){.cost = d->cost, .level = y, .before = y};
        return demand;
    }
    float expected = d->level + DRIFT_DAMP * d->trend;
    d->error = DRIFT_FORGET * d->error + (1 - DRIFT_FORGET) * fabsf(y - expected);
    d->error_naive = DRIFT_FORGET * d->error_naive + (1 - DRIFT_FORGET) * fabsf(y - d->before);
    float level = expected + DRIFT_ALPHA * (y - expected);
    d->trend = DRIFT_DAMP * d->trend + DRIFT_ALPHA * DRIFT_BETA * (y - expected);
    d->level = level;
    d->before = y;
    double ahead = (double)(level + DRIFT_AHEAD * d->trend);
    return d->error < d->error_naive && ahead > demand ? fmin(ahead, 2 * demand) : demand;
}

static uint64_t identity(const struct load_input *in, const struct load_part *part)
{
    uint64_t id = (uint64_t)in->shards[part->shard].id + 1;
    return (id << 26) ^ ((uint64_t)part->group_lo << 13) ^ part->group_hi;
}

/* Partitions that have another place in the list than before (one before them was split or fused) take what is known of them
 * along. Lists that are not in order of shard and range are matched as far as they are. */
static void follow_parts(struct planner *p, const struct load_input *in)
{
    bool same = in->part_count == p->drift_count;
    for (int32_t i = 0; same && i < in->part_count; i++) {
        same = p->who[i] == identity(in, &in->parts[i]);
    }
    int32_t before = p->drift_count, at = 0;
    p->drift_count = in->part_count;
    if (same || before == 0) {
        return;
    }
    memcpy(p->old_who, p->who, (size_t)before * sizeof *p->who);
    memcpy(p->old_drift, p->drift, (size_t)before * sizeof *p->drift);
    for (int32_t i = 0; i < in->part_count; i++) {
        uint64_t who = identity(in, &in->parts[i]);
        if (i < before && p->old_who[i] == who) {
            continue; /* where it was */
        }
        while (at < before && p->old_who[at] < who) {
            at++;
        }
        p->who[i] = 0;
        if (at < before && p->old_who[at] == who) {
            p->who[i] = who;
            p->drift[i] = p->old_drift[at];
        }
    }
}

/* What one partition asks for, and the step of its drift. Its link stays. */
static void take_part(struct planner *p, int32_t i)
{
    const struct load_part *part = &p->in->parts[i];
    struct weighed *w = &p->parts[i];
    uint64_t who = identity(p->in, part);
    w->shard = (uint32_t)part->shard & (LOAD_SHARDS_MAX - 1);
    w->pipe = (uint32_t)p->in->shards[part->shard].pipeline & (LOAD_PIPELINES_MAX - 1);
    bool known = p->who[i] == who;
    w->work = p->in->shards[part->shard].rate_per_s *
              step_cost(&p->drift[i], known, part->share * part->work_s);
    w->waiting = (float)(part->waiting * part->work_s);
    w->high = step_drift(&p->drift[i], known, w->work);
    w->lo = part->group_lo & 0x1FFF;
    w->hi = part->group_hi & 0x1FFF;
    w->held = part->held;
    p->who[i] = who;
}

static void add_work(struct planner *p, const struct weighed *w, int32_t lane, double sign)
{
    int32_t cell = lane * p->in->pipeline_count + (int32_t)w->pipe;
    p->cell_work[cell] += sign * w->work;
    p->cell_high[cell] += sign * w->high;
    p->lane_waiting[lane] += sign * (double)w->waiting;
}

static void weigh_lane(struct planner *p, int32_t lane)
{
    int32_t pipes = p->in->pipeline_count, base = lane * pipes;
    for (int32_t c = base; c < base + pipes; c++) {
        p->cell_read[c] = p->cell_work[c] = p->cell_high[c] = 0;
    }
    p->lane_waiting[lane] = 0;
    for (int32_t i = p->first[lane]; i >= 0; i = p->parts[i].next) {
        const struct weighed *w = &p->parts[i];
        add_work(p, w, lane, 1);
        if (p->count[w->shard]++ == 0) {
            p->cell_read[base + (int32_t)w->pipe] += p->shard_read[w->shard];
        }
    }
    for (int32_t i = p->first[lane]; i >= 0; i = p->parts[i].next) {
        p->count[p->parts[i].shard] = 0;
    }
    p->dirty[lane] = false;
}

enum err planner_load(struct planner *p, const struct load_input *input, struct err_info *info)
{
    if (input->part_count > p->parts_max || input->shard_count > p->shards_max ||
        input->lane_count > p->lanes_max || input->pipeline_count > p->pipelines_max) {
        return err_set(
            info, ERR_LIMIT,
            "%d partitions, %d shards, %d lanes, %d pipelines; room is for %d, %d, %d, %d",
            input->part_count, input->shard_count, input->lane_count, input->pipeline_count,
            p->parts_max, p->shards_max, p->lanes_max, p->pipelines_max);
    }
    enum err err = load_check(input, info);
    if (err != ERR_OK) {
        return err;
    }
    for (int32_t t = 0; t < p->touched_count; t++) {
        p->marked[p->touched[t]] = false;
    }
    p->touched_count = 0;
    p->input = *input;
    p->in = &p->input;
    for (int32_t l = 0; l < input->lane_count; l++) {
        p->first[l] = -1;
    }
    for (int32_t i = 0; i < input->shard_count; i++) {
        p->shard_read[i] = input->shards[i].rate_per_s * input->shards[i].read_s;
        p->of_shard[i] = 0;
    }
    follow_parts(p, input);
    for (int32_t i = input->part_count - 1; i >= 0; i--) {
        int32_t lane = input->parts[i].lane;
        take_part(p, i);
        p->of_shard[p->parts[i].shard]++;
        if (lane != LOAD_NOWHERE) {
            p->parts[i].next = p->first[lane];
            p->first[lane] = i;
        }
    }
    for (int32_t l = 0; l < input->lane_count; l++) {
        weigh_lane(p, l);
    }
    return ERR_OK;
}

void planner_touch(struct planner *p, int32_t part)
{
    CHECK(p->in != NULL && part >= 0 && part < p->in->part_count);
    if (!p->marked[part]) {
        p->marked[part] = true;
        p->touched[p->touched_count++] = part;
    }
}

static double read_now(const struct planner *p, int32_t part)
{
    const struct load_shard *shard = &p->in->shards[p->in->parts[part].shard];
    return shard->rate_per_s * shard->read_s;
}

/* Touched partitions: their work by difference (the sums are made anew with each planner_load); where the reading of a shard
 * has changed, the lane is weighed anew. */
static void settle_parts(struct planner *p)
{
    for (int32_t t = 0; t < p->touched_count; t++) {
        const struct load_part *part = &p->in->parts[p->touched[t]];
        bool same = fabs(read_now(p, p->touched[t]) - p->shard_read[part->shard]) <= 0;
        if (part->lane != LOAD_NOWHERE && !same) {
            p->dirty[part->lane] = true;
        }
    }
    for (int32_t t = 0; t < p->touched_count; t++) {
        int32_t i = p->touched[t], lane = p->in->parts[i].lane;
        p->shard_read[p->in->parts[i].shard] = read_now(p, i);
        p->marked[i] = false;
        if (lane != LOAD_NOWHERE) {
            add_work(p, &p->parts[i], lane, -1);
        }
        take_part(p, i);
        if (lane != LOAD_NOWHERE) {
            add_work(p, &p->parts[i], lane, 1);
        }
    }
    p->touched_count = 0;
}

enum err planner_settle(struct planner *p, struct err_info *info)
{
    enum err err = ERR_OK;
    for (int32_t t = 0; t < p->touched_count && err == ERR_OK; t++) {
        err = load_check_part(p->in, p->touched[t], info);
    }
    if (err != ERR_OK) {
        return err;
    }
    settle_parts(p);
    for (int32_t l = 0; l < p->in->lane_count; l++) {
        if (p->dirty[l]) {
            weigh_lane(p, l);
        }
    }
    return ERR_OK;
}
