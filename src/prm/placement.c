// SPDX-License-Identifier: Apache-2.0
#include "prm/placement.h"

#include <math.h>
#include <stdlib.h>

#include "base/check.h"

/* A partition by its demand. */
struct weighed {
    double demand;
    int32_t part;
};

struct planner {
    const struct placement_input *in;
    struct arena *arena;
    struct placement *plan;
    double *load;  /* [lane_count] */
    double *units; /* [lane_count], 1 / capacity */
    int32_t *heap; /* open lanes, least utilised first */
    int32_t heap_count;
    double target; /* utilisation */
};

/* Partitions of one hot lane, ascending, those that have left skipped by links in both directions. */
struct shelf {
    struct weighed *all;
    int32_t *up,
        *down; /* [count + 2]: nearest place that is still taken, at or beyond; shifted by one */
    int32_t count;
};

static double utilisation(const struct planner *p, int32_t lane)
{
    return p->load[lane] * p->units[lane];
}

/* --- the heap of open lanes; only its root's load ever changes, and only upwards --- */

static bool before(const struct planner *p, int32_t a, int32_t b)
{
    double ua = utilisation(p, a), ub = utilisation(p, b);
    return ua < ub || (ua <= ub && a < b);
}

static void sift_down(struct planner *p, int32_t at)
{
    for (;;) {
        int32_t child = 2 * at + 1;
        if (child >= p->heap_count) {
            return;
        }
        if (child + 1 < p->heap_count && before(p, p->heap[child + 1], p->heap[child])) {
            child++;
        }
        if (before(p, p->heap[at], p->heap[child])) {
            return;
        }
        int32_t lane = p->heap[at];
        p->heap[at] = p->heap[child];
        p->heap[child] = lane;
        at = child;
    }
}

static void make_heap(struct planner *p)
{
    p->heap_count = 0;
    for (int32_t i = 0; i < p->in->lane_count; i++) {
        if (p->in->lanes[i].open) {
            p->heap[p->heap_count++] = i;
        }
    }
    for (int32_t i = p->heap_count / 2 - 1; i >= 0; i--) {
        sift_down(p, i);
    }
}

/* To the least utilised lane. */
static void move(struct planner *p, int32_t part)
{
    struct placement *plan = p->plan;
    int32_t to = p->heap[0];
    plan->moves[plan->move_count++] = (struct placement_move){part, plan->lane[part], to};
    plan->lane[part] = to;
    p->load[to] += p->in->demand[part];
    sift_down(p, 0);
}

static int compare_ascending(const void *a, const void *b)
{
    const struct weighed *x = a;
    const struct weighed *y = b;
    if (x->demand < y->demand || x->demand > y->demand) {
        return x->demand < y->demand ? -1 : 1;
    }
    return x->part < y->part ? 1
                             : -1; /* equal ones: the first of them is taken first, from behind */
}

/* --- input --- */

static enum err check_bands(const struct placement_bands *bands, struct err_info *info)
{
    bool good = bands->target_ratio >= 1 && bands->hot_ratio >= bands->target_ratio &&
                bands->hot_margin >= 0 && isfinite(bands->hot_ratio) && isfinite(bands->hot_margin);
    if (!good) {
        return err_set(info, ERR_INVALID,
                       "bands %g, %g, %g: 1 <= target <= hot, margin >= 0 are wanted",
                       bands->hot_ratio, bands->hot_margin, bands->target_ratio);
    }
    return ERR_OK;
}

static enum err check_input(const struct placement_input *in, struct err_info *info)
{
    bool open = false;
    enum err err = check_bands(&in->bands, info);
    if (err != ERR_OK) {
        return err;
    }
    if (in->count < 0 || in->count > PLACEMENT_COUNT_MAX || in->lane_count < 1 ||
        in->lane_count > PLACEMENT_COUNT_MAX) {
        return err_set(info, ERR_INVALID, "%d partitions on %d lanes; at most %d of each",
                       in->count, in->lane_count, PLACEMENT_COUNT_MAX);
    }
    for (int32_t i = 0; i < in->lane_count; i++) {
        open = open || in->lanes[i].open;
        if (!(in->lanes[i].capacity > 0) || !isfinite(in->lanes[i].capacity)) {
            return err_set(info, ERR_INVALID, "lane %d has the capacity %g; more than 0 is wanted",
                           i, in->lanes[i].capacity);
        }
    }
    if (!open) {
        return err_set(info, ERR_INVALID, "none of %d lanes may own partitions", in->lane_count);
    }
    for (int32_t i = 0; i < in->count; i++) {
        if (!(in->demand[i] >= 0) || !isfinite(in->demand[i])) {
            return err_set(info, ERR_INVALID, "partition %d has the demand %g; 0 or more is wanted",
                           i, in->demand[i]);
        }
        if (in->lane[i] < PLACEMENT_NOWHERE || in->lane[i] >= in->lane_count ||
            (in->lane[i] == PLACEMENT_NOWHERE && in->held != NULL && in->held[i])) {
            return err_set(info, ERR_INVALID, "partition %d is on lane %d of %d", i, in->lane[i],
                           in->lane_count);
        }
    }
    return ERR_OK;
}

static bool is_held(const struct placement_input *in, int32_t part)
{
    return in->held != NULL && in->held[part];
}

static double largest(const struct planner *p)
{
    double max = 0;
    for (int32_t i = 0; i < p->in->lane_count; i++) {
        if (p->in->lanes[i].open && utilisation(p, i) > max) {
            max = utilisation(p, i);
        }
    }
    return max;
}

/* --- first step --- */

static void must(struct planner *p)
{
    const struct placement_input *in = p->in;
    struct weighed *gone = ARENA_NEW_ARRAY(p->arena, struct weighed, in->count);
    int32_t count = 0;
    for (int32_t i = 0; i < in->count; i++) {
        int32_t lane = in->lane[i];
        bool stays = lane != PLACEMENT_NOWHERE && (in->lanes[lane].open || is_held(in, i));
        if (!stays) {
            gone[count++] = (struct weighed){in->demand[i], i};
        }
    }
    qsort(gone, (size_t)count, sizeof(*gone), compare_ascending);
    for (int32_t i = count - 1; i >= 0; i--) {
        move(p, gone[i].part);
    }
    p->plan->must_count = p->plan->move_count;
}

/* --- second step --- */

/* The place a link leads to, with the way shortened. */
static int32_t follow(int32_t *links, int32_t at)
{
    while (links[at] != at) {
        links[at] = links[links[at]];
        at = links[at];
    }
    return at;
}

/* First place whose demand is at least `demand`; count: none. */
static int32_t lower_bound(const struct shelf *shelf, double demand)
{
    int32_t lo = 0, hi = shelf->count;
    while (lo < hi) {
        int32_t mid = lo + (hi - lo) / 2;
        if (shelf->all[mid].demand < demand) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

/* Place of the partition that goes next: the smallest that is at least `excess`, if it fits into `room`; else the largest
 * that does and is above 0. Less than 0: none. */
static int32_t choose(struct shelf *shelf, double excess, double room)
{
    int32_t at = follow(shelf->up, lower_bound(shelf, excess) + 1) - 1;
    if (at < shelf->count && shelf->all[at].demand <= room) {
        return at;
    }
    int32_t end = lower_bound(shelf, nextafter(room, INFINITY)); /* all before it fit */
    at = follow(shelf->down, end) - 1;
    return at >= 0 && shelf->all[at].demand > 0 ? at : -1;
}

static void take(struct shelf *shelf, int32_t at)
{
    shelf->up[at + 1] = at + 2;
    shelf->down[at + 1] = at;
}

static void fill_shelf(struct shelf *shelf, struct arena *arena)
{
    shelf->up = ARENA_NEW_ARRAY(arena, int32_t, shelf->count + 2);
    shelf->down = ARENA_NEW_ARRAY(arena, int32_t, shelf->count + 2);
    for (int32_t i = 0; i < shelf->count + 2; i++) {
        shelf->up[i] = i;
        shelf->down[i] = i;
    }
    qsort(shelf->all, (size_t)shelf->count, sizeof(*shelf->all), compare_ascending);
}

static void relieve(struct planner *p, int32_t lane, struct weighed *parts, int32_t count)
{
    struct arena_mark mark = arena_mark(p->arena);
    struct shelf shelf = {.all = parts, .count = count};
    double limit = p->target * p->in->lanes[lane].capacity;
    fill_shelf(&shelf, p->arena);
    while (p->load[lane] > limit &&
           (p->in->moves_max < 0 || p->plan->move_count - p->plan->must_count < p->in->moves_max)) {
        int32_t cold = p->heap[0];
        double room = p->target * p->in->lanes[cold].capacity - p->load[cold];
        int32_t at = room > 0 ? choose(&shelf, p->load[lane] - limit, room) : -1;
        if (at < 0) {
            break;
        }
        take(&shelf, at);
        p->load[lane] -= parts[at].demand;
        move(p, parts[at].part);
    }
    p->plan->hot_left += p->load[lane] > limit;
    arena_rewind(p->arena, mark);
}

struct hot {
    double utilisation;
    int32_t lane, first, count; /* its partitions in `parts` */
};

static int compare_hot(const void *a, const void *b)
{
    const struct hot *x = a;
    const struct hot *y = b;
    if (x->utilisation < y->utilisation || x->utilisation > y->utilisation) {
        return x->utilisation > y->utilisation ? -1 : 1;
    }
    return x->lane < y->lane ? -1 : 1;
}

static int32_t find_hot(const struct planner *p, struct hot *hot, int32_t *index_of)
{
    const struct placement_bands *bands = &p->in->bands;
    double mean = p->plan->mean;
    int32_t count = 0;
    for (int32_t i = 0; i < p->in->lane_count; i++) {
        double u = utilisation(p, i);
        index_of[i] = -1;
        if (p->in->lanes[i].open && u > mean * bands->hot_ratio && u > mean + bands->hot_margin) {
            hot[count++] = (struct hot){.utilisation = u, .lane = i};
        }
    }
    qsort(hot, (size_t)count, sizeof(*hot), compare_hot);
    for (int32_t i = 0; i < count; i++) {
        index_of[hot[i].lane] = i;
    }
    return count;
}

static void may(struct planner *p)
{
    const struct placement_input *in = p->in;
    struct hot *hot = ARENA_NEW_ARRAY(p->arena, struct hot, in->lane_count);
    int32_t *index_of = ARENA_NEW_ARRAY(p->arena, int32_t, in->lane_count);
    int32_t count = find_hot(p, hot, index_of);
    int32_t total = 0;
    for (int32_t i = 0; i < in->count; i++) {
        int32_t at = index_of[p->plan->lane[i]];
        if (at >= 0 && p->plan->lane[i] == in->lane[i] && !is_held(in, i)) {
            hot[at].count++;
        }
    }
    for (int32_t i = 0; i < count; i++) {
        hot[i].first = total;
        total += hot[i].count;
        hot[i].count = 0;
    }
    struct weighed *parts = ARENA_NEW_ARRAY(p->arena, struct weighed, total);
    for (int32_t i = 0; i < in->count; i++) {
        int32_t at = index_of[p->plan->lane[i]];
        if (at >= 0 && p->plan->lane[i] == in->lane[i] && !is_held(in, i)) {
            parts[hot[at].first + hot[at].count++] = (struct weighed){in->demand[i], i};
        }
    }
    for (int32_t i = 0; i < count; i++) {
        relieve(p, hot[i].lane, parts + hot[i].first, hot[i].count);
    }
}

/* --- --- */

static void weigh(struct planner *p)
{
    const struct placement_input *in = p->in;
    double capacity = 0, demand = 0, pinned = 0;
    for (int32_t i = 0; i < in->lane_count; i++) {
        p->units[i] = 1 / in->lanes[i].capacity;
        capacity += in->lanes[i].open ? in->lanes[i].capacity : 0;
    }
    for (int32_t i = 0; i < in->count; i++) {
        p->plan->lane[i] = in->lane[i];
        demand += in->demand[i];
        if (in->lane[i] != PLACEMENT_NOWHERE) {
            p->load[in->lane[i]] += in->demand[i];
            pinned += !in->lanes[in->lane[i]].open && is_held(in, i) ? in->demand[i] : 0;
        }
    }
    p->plan->mean = (demand - pinned) / capacity;
    p->target = p->plan->mean * in->bands.target_ratio;
}

enum err placement_plan(const struct placement_input *input, struct arena *arena,
                        struct placement *ret_plan, struct err_info *info)
{
    struct placement plan = {.move_count = 0};
    struct planner p = {.in = input, .arena = arena, .plan = &plan};
    enum err err = check_input(input, info);
    if (err != ERR_OK) {
        return err;
    }
    plan.lane = ARENA_NEW_ARRAY(arena, int32_t, input->count);
    plan.moves = ARENA_NEW_ARRAY(arena, struct placement_move, input->count);
    p.load = ARENA_NEW_ARRAY(arena, double, input->lane_count);
    p.units = ARENA_NEW_ARRAY(arena, double, input->lane_count);
    p.heap = ARENA_NEW_ARRAY(arena, int32_t, input->lane_count);
    weigh(&p);
    plan.max_before = largest(&p);
    make_heap(&p);
    must(&p);
    may(&p);
    plan.max_after = largest(&p);
    CHECK(plan.move_count <= input->count);
    *ret_plan = plan;
    return ERR_OK;
}
