// SPDX-License-Identifier: Apache-2.0
/* Sketches of layouts: what leaves hot lanes, and what is cut.
 *
 * A lane is hot when its demand at the planning quantile is above the target; in a sketch that evens, above 1.10 of the mean. Of a hot lane, hottest first:
 *   1. the smallest piece that alone brings it under the target goes to the least utilised lane, if it fits there;
 *   2. else, if a cut is allowed and its heaviest piece can be cut so that this does, that is cut there and the upper part
 *      goes;
 *   3. else the largest piece that fits goes, and so on; a heavy piece that fits nowhere is so isolated: what is beside it
 *      leaves;
 *   4. else, if the lane is asked for more than it can do, the piece after which the busier of both is least busy.
 * Until the lane is under the target, or nothing fits. A piece brings the reading of its shard along if nobody reads that
 * shard on the lane it goes to, and leaves it behind if somebody else reads it where it was. */
#include <math.h>
#include <stdlib.h>

#include "base/check.h"
#include "prm/planner_priv.h"

/* An upper part of less than this share of its partition is not worth a cut. */
#define CUT_LEAST 0.05

enum {
    CUTS_MAX = 64, /* of one lane */
    SORT_FROM = 512,
};

static double capacity_of(const struct sketch *s, int32_t lane)
{
    return s->planner->in->lanes[lane].capacity;
}

static int32_t pipeline_of(const struct sketch *s, int32_t part)
{
    return (int32_t)s->planner->parts[part].pipe;
}

double sketch_piece(const struct sketch *s, int32_t part, double fraction)
{
    double whole = s->planner->parts[part].high;
    double own = s->input->growth[pipeline_of(s, part)].part_cores;
    own = own < whole ? own : whole;
    return own + (whole - own) * fraction;
}

/* Own work and reading of a piece at the planning quantile, cores. */
static double work_of(const struct sketch *s, int32_t part, double fraction)
{
    int32_t pipe = pipeline_of(s, part);
    return sketch_piece(s, part, fraction) * s->growth[pipe] * s->ratio[pipe];
}

static double read_of(const struct sketch *s, int32_t part)
{
    return planner_read(s->planner, s->planner->parts[part].shard) *
           s->growth[pipeline_of(s, part)];
}

/* --- the heap of usable lanes, least utilised first; only its root's load grows --- */

static bool before(const struct sketch *s, int32_t a, int32_t b)
{
    double ua = s->load[a] / capacity_of(s, a), ub = s->load[b] / capacity_of(s, b);
    return ua < ub || (ua <= ub && a < b);
}

static void sift_down(struct sketch *s, int32_t at)
{
    for (;;) {
        int32_t child = 2 * at + 1;
        if (child >= s->heap_count) {
            return;
        }
        if (child + 1 < s->heap_count && before(s, s->heap[child + 1], s->heap[child])) {
            child++;
        }
        if (before(s, s->heap[at], s->heap[child])) {
            return;
        }
        int32_t lane = s->heap[at];
        s->heap[at] = s->heap[child];
        s->heap[child] = lane;
        at = child;
    }
}

static void make_heap(struct sketch *s)
{
    s->heap_count = 0;
    for (int32_t l = 0; l < s->planner->in->lane_count; l++) {
        if (s->usable[l]) {
            s->heap[s->heap_count++] = l;
        }
    }
    for (int32_t i = s->heap_count / 2 - 1; i >= 0; i--) {
        sift_down(s, i);
    }
}

/* --- what is on a lane --- */

/* Whether somebody on the lane reads the shard, as sketched: those that were there and stay, and those that came. */
static bool reads(const struct sketch *s, int32_t lane, int32_t shard)
{
    const struct planner *p = s->planner;
    for (int32_t i = s->came[lane]; i >= 0 && (p->of_shard[shard] > 1 || s->splits > 0);
         i = s->pieces[i].next) {
        if ((int32_t)p->parts[s->pieces[i].part].shard == shard) {
            return true;
        }
    }
    /* Lanes that get something were never hot: nothing has left them. */
    for (int32_t i = p->first[lane]; i >= 0 && p->of_shard[shard] > 1; i = p->parts[i].next) {
        if ((int32_t)p->parts[i].shard == shard) {
            return true;
        }
    }
    return false;
}

/* A piece on the hot lane that is being relieved. */
struct item {
    double work, read; /* at the planning quantile; of reading, if it alone does */
    double fraction;
    int32_t part;
    uint32_t lo, hi;
    bool gone;
};

struct shelf {
    struct item *items; /* [count] */
    bool sorted;        /* ascending by work */
    int32_t count, max;
};

static int compare_items(const void *a, const void *b)
{
    const struct item *x = a;
    const struct item *y = b;
    if (x->work < y->work || x->work > y->work) {
        return x->work < y->work ? -1 : 1;
    }
    return x->part < y->part ? -1 : x->part > y->part;
}

/* Few are looked through faster than they are sorted. */
static void sort_shelf(struct shelf *shelf)
{
    shelf->sorted = shelf->count > SORT_FROM;
    if (shelf->sorted) {
        qsort(shelf->items, (size_t)shelf->count, sizeof *shelf->items, compare_items);
    }
}

static void fill_shelf(struct sketch *s, int32_t lane, int32_t cuts_max, struct shelf *shelf)
{
    struct planner *p = s->planner;
    int32_t count = 0;
    for (int32_t i = p->first[lane]; i >= 0; i = p->parts[i].next) {
        count++;
    }
    shelf->max = count + cuts_max;
    shelf->items = ARENA_NEW_ARRAY(s->arena, struct item, shelf->max);
    for (int32_t i = p->first[lane]; i >= 0; i = p->parts[i].next) {
        const struct weighed *w = &p->parts[i];
        p->count[w->shard]++;
        if (w->held == 0) {
            shelf->items[shelf->count++] = (struct item){.work = work_of(s, i, 1),
                                                         .read = read_of(s, i),
                                                         .fraction = 1,
                                                         .part = i,
                                                         .lo = w->lo,
                                                         .hi = w->hi};
        }
    }
    sort_shelf(shelf);
}

static void forget_shelf(struct sketch *s, int32_t lane)
{
    struct planner *p = s->planner;
    for (int32_t i = p->first[lane]; i >= 0; i = p->parts[i].next) {
        p->count[p->parts[i].shard] = 0;
    }
}

/* What the lane is relieved of when the item leaves, and what the other is burdened with. */
static double relief_of(const struct sketch *s, const struct item *item)
{
    bool sole = s->planner->count[s->planner->parts[item->part].shard] == 1;
    return item->work + (sole ? item->read : 0);
}

static double burden_of(const struct sketch *s, const struct item *item, int32_t lane)
{
    bool there = reads(s, lane, s->planner->parts[item->part].shard);
    return item->work + (there ? 0 : item->read);
}

/* --- steps --- */

static bool has_room(const struct sketch *s)
{
    return s->step_count < PLAN_STEPS_MAX && s->piece_count < s->piece_max &&
           s->moves < s->options->moves_max;
}

/* The item goes to the root of the heap. `border` != 0: it is the upper part of a cut there. */
static void put(struct sketch *s, const struct item *item, int32_t from, uint32_t cut_lo)
{
    struct planner *p = s->planner;
    const struct load_part *part = &p->in->parts[item->part];
    int32_t to = s->heap[0], at = s->piece_count++;
    double share = p->cell_work[from * p->in->pipeline_count + pipeline_of(s, item->part)];
    bool cut = cut_lo != item->lo;
    s->steps[s->step_count++] = (struct plan_step){
        .kind = cut ? PLAN_STEP_SPLIT : PLAN_STEP_MIGRATE,
        .shard = p->in->shards[part->shard].id,
        .group_lo = cut_lo,
        .group_hi = item->hi,
        .border = cut ? item->lo : 0,
        .from = from,
        .to = to,
        .node = -1,
        .part = item->part,
        .moved_bytes = part->state_bytes * item->fraction,
        .moved_share = share > 0 ? p->parts[item->part].work * item->fraction / share : 0};
    s->pieces[at] = (struct piece){.part = item->part,
                                   .lo = item->lo,
                                   .hi = item->hi,
                                   .fraction = item->fraction,
                                   .from = from,
                                   .to = to,
                                   .next = s->came[to]};
    s->load[to] += burden_of(s, item, to);
    s->came[to] = at;
    s->splits += cut;
    s->moves++;
    sift_down(s, 0);
}

static bool fits(const struct sketch *s, const struct item *item, double room)
{
    return !item->gone && item->work > 0 && item->work <= room &&
           (item->work + item->read <= room || burden_of(s, item, s->heap[0]) <= room);
}

/* The smallest item that alone relieves the lane of `excess` and fits. */
static struct item *choose_enough(struct sketch *s, struct shelf *shelf, double excess, double room)
{
    struct item *best = NULL;
    for (int32_t i = 0; i < shelf->count && !(shelf->sorted && best != NULL); i++) {
        struct item *item = &shelf->items[i];
        bool better = best == NULL || item->work < best->work;
        bool may = better && item->work + item->read >= excess;
        if (may && relief_of(s, item) >= excess && fits(s, item, room)) {
            best = item;
        }
    }
    return best;
}

/* The largest that fits. */
static struct item *choose_largest(struct sketch *s, struct shelf *shelf, double room)
{
    struct item *best = NULL;
    for (int32_t i = shelf->count - 1; i >= 0 && !(shelf->sorted && best != NULL); i--) {
        struct item *item = &shelf->items[i];
        bool better = best == NULL || item->work > best->work;
        if (better && fits(s, item, room)) {
            best = item;
        }
    }
    return best;
}

/* The one after whose move the busier of the two lanes is least busy: nothing fits, and lanes that are too full alike are late for
 * less long than one that is left with all that did not fit. NULL: none makes it better. */
static struct item *choose_level(struct sketch *s, struct shelf *shelf, int32_t lane)
{
    struct item *best = NULL;
    int32_t cold = s->heap[0];
    double here = capacity_of(s, lane), there = capacity_of(s, cold);
    double least = s->load[lane] / here * (1 - 1e-9);
    for (int32_t i = 0; i < shelf->count; i++) {
        struct item *item = &shelf->items[i];
        if (!item->gone && item->work > 0) {
            double busier = fmax((s->load[cold] + burden_of(s, item, cold)) / there,
                                 (s->load[lane] - relief_of(s, item)) / here);
            best = busier < least ? item : best;
            least = fmin(least, busier);
        }
    }
    return best;
}

static struct item *heaviest(struct shelf *shelf)
{
    struct item *heavy = NULL;
    for (int32_t i = 0; i < shelf->count; i++) {
        struct item *item = &shelf->items[i];
        if (!item->gone && (heavy == NULL || item->work > heavy->work)) {
            heavy = item;
        }
    }
    return heavy;
}

/* Where the item is to be cut so that `above` of it lies above: the border (0: nowhere), and the share that really does. */
static uint32_t border_of(const struct sketch *s, const struct item *item, double above,
                          double *ret_above)
{
    struct load_part range = s->planner->in->parts[item->part];
    double own = 1, below = 0;
    if (range.cut_count == 0) {
        range.group_lo = item->lo;
    } else if (item->lo != range.group_lo) {
        return 0; /* the upper part of an earlier cut: measured anew first */
    } else {
        own = item->fraction; /* cuts are told for the whole partition */
    }
    range.group_hi = item->hi;
    uint32_t border = load_border(&range, own * (1 - above), &below);
    *ret_above = (own - below) / own;
    return border;
}

/* Cuts the heaviest item so that the upper part (the half, if that fits) fits and is worth it; it stands behind all others
 * then. False: it cannot be. */
static bool cut(struct sketch *s, struct shelf *shelf, int32_t lane, double room)
{
    struct item *heavy = heaviest(shelf);
    double excess = s->load[lane] - s->target * capacity_of(s, lane);
    if (heavy == NULL || shelf->count == shelf->max || !(heavy->work > 0)) {
        return false;
    }
    double read = burden_of(s, heavy, s->heap[0]) - heavy->work, upper = 0;
    double alone = work_of(s, heavy->part, 0), before = heavy->work;
    double above = heavy->work > alone ? (room - read - alone) / (heavy->work - alone) : 0;
    above = above < 0.5 ? above : 0.5;
    /* What is no large part of the excess is not cut for it, unless no lane could carry the whole. */
    bool large = heavy->work + heavy->read > s->target * capacity_of(s, s->heap[0]);
    if (above < CUT_LEAST || (!large && heavy->work * above < 0.25 * excess)) {
        return false;
    }
    uint32_t border = border_of(s, heavy, above, &upper);
    if (border == 0 || !(upper >= CUT_LEAST) || !(upper <= 1 - 1e-9) ||
        heavy->work * upper + read > room) {
        return false;
    }
    double part_work = work_of(s, heavy->part, heavy->fraction * upper);
    if (part_work + read > room) {
        return false;
    }
    shelf->items[shelf->count++] = (struct item){.work = part_work,
                                                 .read = heavy->read,
                                                 .fraction = heavy->fraction * upper,
                                                 .part = heavy->part,
                                                 .lo = border,
                                                 .hi = heavy->hi};
    heavy->fraction -= heavy->fraction * upper;
    heavy->work = work_of(s, heavy->part, heavy->fraction);
    s->load[lane] += part_work + heavy->work - before; /* what each takes by itself */
    heavy->hi = border;
    s->planner->count[s->planner->parts[heavy->part].shard]++;
    return true;
}

/* The item leaves for the root of the heap. `cut_lo`: lower end of what is cut for it, its own if nothing is. */
static void leave(struct sketch *s, int32_t lane, struct item *item, uint32_t cut_lo)
{
    s->load[lane] -= relief_of(s, item);
    item->gone = true;
    s->planner->count[s->planner->parts[item->part].shard]--;
    put(s, item, lane, cut_lo);
}

/* One step of relief. False: nothing more can be done. */
static bool relieve_once(struct sketch *s, struct shelf *shelf, int32_t lane, int32_t splits_max)
{
    int32_t cold = s->heap[0];
    double excess = s->load[lane] - s->target * capacity_of(s, lane);
    double room = s->target * capacity_of(s, cold) - s->load[cold];
    bool over = s->load[lane] > s->options->full * capacity_of(s, lane);
    if (cold == lane || !(room > 0 || over)) {
        return false;
    }
    struct item *item = choose_enough(s, shelf, excess, room);
    if (item == NULL && s->splits < splits_max && room > 0) {
        struct item *heavy = heaviest(shelf);
        if (heavy != NULL && cut(s, shelf, lane, room)) {
            leave(s, lane, &shelf->items[shelf->count - 1], heavy->lo);
            sort_shelf(shelf);
            return true;
        }
    }
    item = item != NULL ? item : choose_largest(s, shelf, room);
    item = item == NULL && over ? choose_level(s, shelf, lane) : item;
    if (item == NULL) {
        return false;
    }
    leave(s, lane, item, item->lo);
    return true;
}

static void relieve_lane(struct sketch *s, int32_t lane, int32_t splits_max)
{
    struct arena_mark mark = arena_mark(s->arena);
    struct shelf shelf = {.count = 0};
    double limit = s->target * capacity_of(s, lane) * (1 + 1e-9);
    bool goes_on = true;
    fill_shelf(s, lane, splits_max > 0 ? CUTS_MAX : 0, &shelf);
    while (goes_on && s->load[lane] > limit && has_room(s)) {
        goes_on = relieve_once(s, &shelf, lane, splits_max);
    }
    s->hot_left += s->load[lane] > limit;
    forget_shelf(s, lane);
    arena_rewind(s->arena, mark);
}

struct hot {
    double utilisation;
    int32_t lane;
};

static int compare_hot(const void *a, const void *b)
{
    const struct hot *x = a;
    const struct hot *y = b;
    if (x->utilisation < y->utilisation || x->utilisation > y->utilisation) {
        return x->utilisation > y->utilisation ? -1 : 1;
    }
    return x->lane < y->lane ? -1 : x->lane > y->lane;
}

/* Steps that need new nodes stand last, so that all others are not held up by the start-up. Steps of one partition keep their
 * order. */
static void put_new_last(struct sketch *s)
{
    struct plan_step *waiting = ARENA_NEW_ARRAY(s->arena, struct plan_step, s->step_count);
    bool *waits = ARENA_NEW_ARRAY(s->arena, bool, s->planner->in->part_count);
    int32_t kept = 0, count = 0;
    for (int32_t i = 0; i < s->step_count; i++) {
        const struct plan_step *step = &s->steps[i];
        bool last = step->part >= 0 && (s->added[step->to] || waits[step->part]);
        if (last) {
            waits[step->part] = true;
            waiting[count++] = *step;
        } else {
            s->steps[kept++] = *step;
        }
    }
    for (int32_t i = 0; i < count; i++) {
        s->steps[kept++] = waiting[i];
    }
}

void sketch_relieve(struct sketch *s, int32_t splits_max)
{
    int32_t lanes = s->planner->in->lane_count, count = 0;
    struct hot *hot = ARENA_NEW_ARRAY(s->arena, struct hot, lanes);
    for (int32_t l = 0; l < lanes; l++) {
        double u = s->load[l] / capacity_of(s, l);
        if (s->usable[l] && u > s->target * (1 + 1e-9) && s->came[l] < 0) {
            hot[count++] = (struct hot){u, l};
        }
    }
    qsort(hot, (size_t)count, sizeof *hot, compare_hot);
    for (int32_t i = 0; i < count && s->heap_count > 0; i++) {
        relieve_lane(s, hot[i].lane, splits_max);
    }
    put_new_last(s);
}

/* --- nodes --- */

struct node_load {
    double load;
    int32_t node;
};

static int compare_nodes(const void *a, const void *b)
{
    const struct node_load *x = a;
    const struct node_load *y = b;
    if (x->load < y->load || x->load > y->load) {
        return x->load < y->load ? -1 : 1;
    }
    return x->node > y->node ? -1 : x->node < y->node; /* the last ones go first */
}

/* Nodes all of whose lanes are closed and may come, or are open, with their load. */
static int32_t list_nodes(const struct sketch *s, bool open, struct node_load *ret_nodes)
{
    const struct load_input *in = s->planner->in;
    int32_t count = 0;
    for (int32_t l = 0; l < in->lane_count;) {
        int32_t node = in->lanes[l].node;
        bool fits = true;
        double load = 0;
        for (; l < in->lane_count && in->lanes[l].node == node; l++) {
            fits = fits && in->lanes[l].open == open && !in->lanes[l].draining;
            load += s->load[l];
        }
        if (fits) {
            ret_nodes[count++] = (struct node_load){load, node};
        }
    }
    return count;
}

static void add_step(struct sketch *s, enum plan_step_kind kind, int32_t node)
{
    s->steps[s->step_count++] = (struct plan_step){
        .kind = kind, .shard = -1, .from = -1, .to = -1, .node = node, .part = -1};
}

static bool add_nodes(struct sketch *s, int32_t nodes)
{
    const struct load_input *in = s->planner->in;
    struct node_load *off = ARENA_NEW_ARRAY(s->arena, struct node_load, in->lane_count);
    int32_t count = list_nodes(s, false, off);
    for (int32_t i = 0; i < nodes && i < count; i++) {
        add_step(s, PLAN_STEP_NODE_ADD, off[i].node);
        for (int32_t l = 0; l < in->lane_count; l++) {
            if (in->lanes[l].node == off[i].node) {
                s->usable[l] = true;
                s->added[l] = true;
            }
        }
    }
    return nodes <= count;
}

static int compare_ranges(const void *a, const void *b)
{
    const struct load_part *x = *(const struct load_part *const *)a;
    const struct load_part *y = *(const struct load_part *const *)b;
    if (x->shard != y->shard) {
        return x->shard < y->shard ? -1 : 1;
    }
    return x->group_lo < y->group_lo ? -1 : x->group_lo > y->group_lo;
}

/* What is on drained lanes, and the partitions of the same shards by range, for finding neighbours. */
struct leaving {
    const struct load_part **by_range; /* [range_count] of the shards concerned */
    int32_t range_count;
    struct item *items; /* [count] ascending */
    int32_t count;
};

static struct leaving find_leaving(struct sketch *s, const bool *drained)
{
    struct planner *p = s->planner;
    const struct load_input *in = p->in;
    struct leaving leaving = {.count = 0};
    int32_t near = 0;
    for (int32_t i = 0; i < in->part_count; i++) {
        if (in->parts[i].lane != LOAD_NOWHERE && drained[in->parts[i].lane]) {
            p->count[p->parts[i].shard] = 1;
            leaving.count++;
        }
    }
    for (int32_t i = 0; i < in->part_count; i++) {
        near += p->count[p->parts[i].shard];
    }
    leaving.items = ARENA_NEW_ARRAY(s->arena, struct item, leaving.count);
    leaving.by_range = ARENA_NEW_ARRAY(s->arena, const struct load_part *, near);
    leaving.count = 0;
    for (int32_t i = 0; i < in->part_count; i++) {
        const struct load_part *part = &in->parts[i];
        if (p->count[p->parts[i].shard] > 0) {
            leaving.by_range[leaving.range_count++] = part;
        }
        if (part->lane != LOAD_NOWHERE && drained[part->lane]) {
            leaving.items[leaving.count++] = (struct item){.work = work_of(s, i, 1),
                                                           .read = read_of(s, i),
                                                           .fraction = 1,
                                                           .part = i,
                                                           .lo = part->group_lo,
                                                           .hi = part->group_hi,
                                                           .gone = part->held};
        }
    }
    for (int32_t i = 0; i < leaving.range_count; i++) {
        p->count[leaving.by_range[i]->shard] = 0;
    }
    qsort(leaving.by_range, (size_t)leaving.range_count, sizeof(const struct load_part *),
          compare_ranges); // NOLINT(bugprone-sizeof-expression): pointers are sorted
    qsort(leaving.items, (size_t)leaving.count, sizeof *leaving.items, compare_items);
    return leaving;
}

/* A neighbour of the part, on a usable lane with room, that has not changed itself; it takes the part in. */
static const struct load_part *fuses_with(const struct sketch *s, const struct leaving *leaving,
                                          const struct item *item, const bool *taken)
{
    const struct load_input *in = s->planner->in;
    const struct load_part *part = &in->parts[item->part];
    int32_t lo = 0, hi = leaving->range_count;
    while (lo < hi) {
        int32_t mid = lo + (hi - lo) / 2;
        if (compare_ranges(&leaving->by_range[mid], &part) < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    for (int32_t d = -1; d <= 1; d += 2) {
        int32_t at = lo + d;
        if (at < 0 || at >= leaving->range_count) {
            continue;
        }
        const struct load_part *other = leaving->by_range[at];
        int32_t index = (int32_t)(other - in->parts), lane = other->lane;
        bool beside = other->shard == part->shard &&
                      (other->group_hi == part->group_lo || other->group_lo == part->group_hi);
        if (!beside || other->held || lane < 0 || !s->usable[lane] || taken[index]) {
            continue;
        }
        double both = item->work + work_of(s, index, 1), room = s->target * capacity_of(s, lane);
        if (both <= 0.5 * room && s->load[lane] + item->work <= room) {
            return other;
        }
    }
    return NULL;
}

static void fuse(struct sketch *s, const struct item *item, const struct load_part *other)
{
    struct planner *p = s->planner;
    const struct load_part *part = &p->in->parts[item->part];
    int32_t index = (int32_t)(other - p->in->parts), at = s->piece_count++;
    bool above = other->group_lo == part->group_hi;
    double share = 0;
    for (int32_t l = 0; l < p->in->lane_count; l++) {
        share += p->cell_work[l * p->in->pipeline_count + pipeline_of(s, item->part)];
    }
    s->steps[s->step_count++] = (struct plan_step){
        .kind = PLAN_STEP_MERGE,
        .shard = p->in->shards[part->shard].id,
        .group_lo = above ? part->group_lo : other->group_lo,
        .group_hi = above ? other->group_hi : part->group_hi,
        .border = above ? part->group_hi : part->group_lo,
        .from = part->lane,
        .to = other->lane,
        .node = -1,
        .part = item->part,
        .lower = above,
        .moved_bytes = part->state_bytes,
        .moved_share = share > 0 ? (p->parts[item->part].work + p->parts[index].work) / share : 0};
    s->pieces[at] = (struct piece){.part = item->part,
                                   .lo = item->lo,
                                   .hi = item->hi,
                                   .fraction = 1,
                                   .from = part->lane,
                                   .to = other->lane,
                                   .next = s->came[other->lane]};
    s->load[other->lane] += item->work;
    s->came[other->lane] = at;
    s->merges++;
    s->moves++;
}

/* All partitions leave the drained lanes, heaviest first. False: one may not, or there are too many. */
static bool empty_lanes(struct sketch *s, const bool *drained)
{
    struct leaving leaving = find_leaving(s, drained);
    bool *taken = ARENA_NEW_ARRAY(s->arena, bool, s->planner->in->part_count);
    bool all = true;
    for (int32_t i = leaving.count - 1; i >= 0 && all; i--) {
        const struct item *item = &leaving.items[i];
        if (item->gone || !has_room(s) || s->heap_count == 0) {
            return false;
        }
        const struct load_part *other = fuses_with(s, &leaving, item, taken);
        if (other != NULL) {
            taken[other - s->planner->in->parts] = true;
            fuse(s, item, other);
            make_heap(s);
        } else {
            put(s, item, s->planner->in->parts[item->part].lane, item->lo);
        }
        taken[item->part] = true;
    }
    return all;
}

static void set_target(struct sketch *s)
{
    double capacity = 0, load = 0;
    for (int32_t l = 0; l < s->planner->in->lane_count; l++) {
        capacity += s->usable[l] ? capacity_of(s, l) : 0;
        load += s->load[l];
    }
    double mean = capacity > 0 ? load / capacity : 0;
    s->target = s->even ? 1.10 * mean : fmax(s->options->target, 1.10 * mean);
}

static bool drain_nodes(struct sketch *s, int32_t nodes)
{
    const struct load_input *in = s->planner->in;
    struct node_load *on = ARENA_NEW_ARRAY(s->arena, struct node_load, in->lane_count);
    bool *drained = ARENA_NEW_ARRAY(s->arena, bool, in->lane_count);
    int32_t count = list_nodes(s, true, on);
    if (count <= nodes) {
        return false;
    }
    qsort(on, (size_t)count, sizeof *on, compare_nodes);
    for (int32_t i = 0; i < nodes; i++) {
        for (int32_t l = 0; l < in->lane_count; l++) {
            if (in->lanes[l].node == on[i].node) {
                s->usable[l] = false;
                drained[l] = true;
            }
        }
    }
    set_target(s);
    make_heap(s);
    if (!empty_lanes(s, drained)) {
        return false;
    }
    for (int32_t i = 0; i < nodes && s->step_count < PLAN_STEPS_MAX; i++) {
        add_step(s, PLAN_STEP_NODE_DRAIN, on[i].node);
    }
    for (int32_t l = 0; l < in->lane_count; l++) {
        s->load[l] = drained[l] ? 0 : s->load[l];
    }
    return true;
}

/* --- --- */

static void weigh(struct sketch *s)
{
    const struct planner *p = s->planner;
    int32_t pipes = p->in->pipeline_count;
    for (int32_t l = 0; l < p->in->lane_count; l++) {
        s->usable[l] = p->in->lanes[l].open && !p->in->lanes[l].draining;
        s->came[l] = -1;
        for (int32_t c = 0; c < pipes; c++) {
            double work = p->cell_high[l * pipes + c] * s->ratio[c];
            s->load[l] += (work + p->cell_read[l * pipes + c]) * s->growth[c];
        }
    }
}

static void allot(struct sketch *s, int32_t nodes)
{
    int32_t lanes = s->planner->in->lane_count;
    int32_t steps = s->piece_max + abs(nodes) + 1;
    steps = steps < PLAN_STEPS_MAX ? steps : PLAN_STEPS_MAX;
    s->usable = ARENA_NEW_ARRAY(s->arena, bool, lanes);
    s->added = ARENA_NEW_ARRAY(s->arena, bool, lanes);
    s->load = ARENA_NEW_ARRAY(s->arena, double, lanes);
    s->came = ARENA_NEW_ARRAY(s->arena, int32_t, lanes);
    s->heap = ARENA_NEW_ARRAY(s->arena, int32_t, lanes);
    s->pieces = ARENA_NEW_ARRAY(s->arena, struct piece, s->piece_max);
    s->steps = ARENA_NEW_ARRAY(s->arena, struct plan_step, steps);
}

bool sketch_begin(struct sketch *s, int32_t nodes)
{
    int32_t pieces = s->planner->in->part_count + s->options->splits_max;
    s->piece_max = pieces < s->options->moves_max ? pieces : s->options->moves_max;
    allot(s, nodes);
    weigh(s);
    bool there = nodes <= 0 || add_nodes(s, nodes);
    set_target(s);
    there = there && (nodes >= 0 || drain_nodes(s, -nodes));
    make_heap(s);
    return there;
}
