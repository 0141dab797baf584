// SPDX-License-Identifier: Apache-2.0
#include "prm/load.h"

#include <math.h>

#include "base/check.h"

static bool is_amount(double x)
{
    return isfinite(x) && x >= 0;
}

static bool is_ratio(double x)
{
    return x >= 0 && x <= 1;
}

double load_read_of(const struct load_input *input, const struct load_part *part)
{
    const struct load_shard *shard = &input->shards[part->shard];
    return shard->rate_per_s * shard->read_s;
}

double load_work_of(const struct load_input *input, const struct load_part *part)
{
    return input->shards[part->shard].rate_per_s * part->share * part->work_s;
}

double load_utilisation(const struct load *load, int32_t lane)
{
    double sum = 0;
    for (int32_t p = 0; p < load->pipeline_count; p++) {
        sum += load->read[lane * load->pipeline_count + p] +
               load->work[lane * load->pipeline_count + p];
    }
    return sum;
}

/* --- checks --- */

static enum err check_counts(const struct load_input *in, struct err_info *info)
{
    if (in->pipeline_count < 1 || in->pipeline_count > LOAD_PIPELINES_MAX || in->shard_count < 0 ||
        in->shard_count > LOAD_SHARDS_MAX || in->part_count < 0 ||
        in->part_count > LOAD_PARTS_MAX || in->lane_count < 1 || in->lane_count > LOAD_LANES_MAX) {
        return err_set(info, ERR_INVALID,
                       "%d pipelines, %d shards, %d partitions, %d lanes: one pipeline and lane at "
                       "least, %d, %d, %d, %d at most",
                       in->pipeline_count, in->shard_count, in->part_count, in->lane_count,
                       LOAD_PIPELINES_MAX, LOAD_SHARDS_MAX, LOAD_PARTS_MAX, LOAD_LANES_MAX);
    }
    return ERR_OK;
}

static enum err check_surroundings(const struct load_input *in, struct err_info *info)
{
    for (int32_t i = 0; i < in->pipeline_count; i++) {
        double objective_s = in->pipelines[i].objective_s;
        if (!(objective_s > 0) || !isfinite(objective_s)) {
            return err_set(info, ERR_INVALID, "pipeline %d has the objective %g s", i, objective_s);
        }
    }
    for (int32_t i = 0; i < in->lane_count; i++) {
        if (!(in->lanes[i].capacity > 0) || !isfinite(in->lanes[i].capacity) ||
            in->lanes[i].node < 0 || (i > 0 && in->lanes[i].node < in->lanes[i - 1].node)) {
            return err_set(info, ERR_INVALID,
                           "lane %d has the capacity %g and is of node %d: more than 0 is wanted, "
                           "and lanes of a node side by side",
                           i, in->lanes[i].capacity, in->lanes[i].node);
        }
    }
    for (int32_t i = 0; i < in->shard_count; i++) {
        const struct load_shard *shard = &in->shards[i];
        if (shard->pipeline < 0 || shard->pipeline >= in->pipeline_count ||
            !is_amount(shard->rate_per_s) || !is_amount(shard->read_s)) {
            return err_set(info, ERR_INVALID,
                           "shard %d of pipeline %d has the rate %g/s and the read cost %g s", i,
                           shard->pipeline, shard->rate_per_s, shard->read_s);
        }
    }
    return ERR_OK;
}

enum err load_check_part(const struct load_input *in, int32_t i, struct err_info *info)
{
    const struct load_part *part = &in->parts[i];
    bool placed = part->shard >= 0 && part->shard < in->shard_count && part->lane >= LOAD_NOWHERE &&
                  part->lane < in->lane_count && part->group_lo < part->group_hi &&
                  part->group_hi <= LOAD_GROUPS;
    if (!placed) {
        return err_set(info, ERR_INVALID, "partition %d: shard %d of %d, lane %d of %d, %u-%u", i,
                       part->shard, in->shard_count, part->lane, in->lane_count, part->group_lo,
                       part->group_hi);
    }
    bool measured = is_ratio(part->share) && is_amount(part->work_s) && is_amount(part->waiting) &&
                    is_amount(part->state_bytes) && is_ratio(part->top_share) &&
                    part->cut_count >= 0 && part->cut_count <= LOAD_CUTS_MAX;
    if (!measured) {
        return err_set(info, ERR_INVALID,
                       "partition %d: share %g, work %g s, waiting %g, state %g bytes, heaviest "
                       "key %g, %d cuts",
                       i, part->share, part->work_s, part->waiting, part->state_bytes,
                       part->top_share, part->cut_count);
    }
    return ERR_OK;
}

enum err load_check(const struct load_input *in, struct err_info *info)
{
    enum err err = check_counts(in, info);
    if (err == ERR_OK) {
        err = check_surroundings(in, info);
    }
    for (int32_t i = 0; err == ERR_OK && i < in->part_count; i++) {
        err = load_check_part(in, i, info);
    }
    return err;
}

/* --- weighing --- */

/* A set of (lane, shard) pairs, by open addressing. */
struct pairs {
    uint64_t *keys; /* 0: free */
    uint64_t mask;
};

static bool pairs_add(struct pairs *pairs, int32_t lane, int32_t shard)
{
    uint64_t key = ((uint64_t)(uint32_t)lane << 32 | (uint32_t)shard) + 1;
    uint64_t at = (key * UINT64_C(0x9E3779B97F4A7C15)) >> 20;
    while (pairs->keys[at & pairs->mask] != 0 && pairs->keys[at & pairs->mask] != key) {
        at++;
    }
    bool fresh = pairs->keys[at & pairs->mask] == 0;
    pairs->keys[at & pairs->mask] = key;
    return fresh;
}

enum err load_weigh(const struct load_input *in, struct arena *arena, struct load *ret_load,
                    struct err_info *info)
{
    enum err err = load_check(in, info);
    if (err != ERR_OK) {
        return err;
    }
    struct load load = {.pipeline_count = in->pipeline_count, .lane_count = in->lane_count};
    int32_t cells = in->lane_count * in->pipeline_count;
    load.read = ARENA_NEW_ARRAY(arena, double, cells);
    load.work = ARENA_NEW_ARRAY(arena, double, cells);
    load.waiting_s = ARENA_NEW_ARRAY(arena, double, in->lane_count);
    struct arena_mark mark = arena_mark(arena);
    uint64_t slots = 16;
    while (slots < 2 * (uint64_t)in->part_count) {
        slots *= 2;
    }
    struct pairs pairs = {ARENA_NEW_ARRAY(arena, uint64_t, (ptrdiff_t)slots), slots - 1};
    for (int32_t i = 0; i < in->part_count; i++) {
        const struct load_part *part = &in->parts[i];
        if (part->lane == LOAD_NOWHERE) {
            continue;
        }
        double capacity = in->lanes[part->lane].capacity;
        int32_t cell = part->lane * in->pipeline_count + in->shards[part->shard].pipeline;
        load.work[cell] += load_work_of(in, part) / capacity;
        load.waiting_s[part->lane] += part->waiting * part->work_s / capacity;
        if (pairs_add(&pairs, part->lane, part->shard)) {
            load.read[cell] += load_read_of(in, part) / capacity;
        }
    }
    arena_rewind(arena, mark);
    *ret_load = load;
    return ERR_OK;
}

/* --- cutting --- */

/* Share of the own load below `group`: straight between cuts. */
uint32_t load_border(const struct load_part *part, double below, double *ret_below)
{
    uint32_t span = part->group_hi - part->group_lo;
    if (span < 2 || part->held) {
        return 0;
    }
    uint32_t best = 0;
    double best_below = 0, nearest = 2;
    for (int32_t i = 0; i < part->cut_count; i++) {
        const struct load_cut *cut = &part->cuts[i];
        double off = fabs((double)cut->below - below);
        if (cut->group > part->group_lo && cut->group < part->group_hi && off < nearest) {
            nearest = off;
            best = cut->group;
            best_below = (double)cut->below;
        }
    }
    if (part->cut_count == 0) {
        uint32_t ahead = (uint32_t)lround(below * span);
        ahead = ahead < 1 ? 1 : (ahead > span - 1 ? span - 1 : ahead);
        best = part->group_lo + ahead;
        best_below = (double)ahead / span;
    }
    if (best != 0) {
        *ret_below = best_below;
    }
    return best;
}

enum load_limit load_limit_of(const struct load_input *input, const struct load_part *part,
                              double room)
{
    double read = load_read_of(input, part), work = load_work_of(input, part);
    if (read + work <= room) {
        return LOAD_LIMIT_NONE;
    }
    if (read >= room) {
        return LOAD_LIMIT_READING;
    }
    if (read + work * part->top_share > room) {
        return LOAD_LIMIT_KEY;
    }
    double below = 0;
    if (load_border(part, 0.5, &below) == 0 || !(below > 0 && below < 1)) {
        return LOAD_LIMIT_RANGE;
    }
    return LOAD_LIMIT_NONE;
}

const char *load_limit_text(const struct load_input *input, const struct load_part *part,
                            enum load_limit limit, struct arena *arena)
{
    double read = load_read_of(input, part), work = load_work_of(input, part);
    switch (limit) {
    case LOAD_LIMIT_READING:
        return arena_printf(
            arena,
            "a split cannot help %.*s: reading its shard takes %.2f cores of the %.2f that it "
            "uses, and a split does not divide reading; re-key into a stream with more shards",
            STR_ARG(part->name), read, read + work);
    case LOAD_LIMIT_KEY:
        return arena_printf(
            arena,
            "one key is the load of %.*s: it has %.0f %% of its records, which no split divides; "
            "combine equal keys before state is touched, or isolate the key on a lane of its own",
            STR_ARG(part->name), 100 * part->top_share);
    case LOAD_LIMIT_RANGE:
        return arena_printf(arena, "%.*s cannot be cut: %s", STR_ARG(part->name),
                            part->held ? "a change of it is under way"
                                       : "its load lies in one key group");
    case LOAD_LIMIT_NONE:
        break;
    }
    return "";
}
