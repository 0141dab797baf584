// SPDX-License-Identifier: Apache-2.0
/* The price of a sketch: every lane that may be late is a fluid queue under each path of the forecast.
 *
 * Three layouts follow one another: what is there; at once, the moves between lanes that are there; after the start-up, those
 * to new nodes. What waits goes with what is moved. A moved partition stands still for the pause: what it gets meanwhile
 * waits where it comes. Of the lanes of a pipeline the latest counts: the load of all goes up and down together, so their
 * late times lie within each other. What still waits at the window's end is priced by the time it takes to drain,
 * with no bound that many layouts would reach alike.
 *
 * A lane is full at two levels, each for half of the price: at what changes are to come before, and half-way from there to the
 * whole. With the first alone all layouts are equally late once no node is left to add, and none is worth a move. */
#include <math.h>
#include <string.h>

#include "base/check.h"
#include "prm/planner_priv.h"

/* Steps of lane queues that one price may take: with many lanes, fewer paths. */
enum { PIECES_MAX = 200000, PATHS_LEAST = 16 };

/* What waits at the window's end drains at this share of the lane's capacity at least, however much is coming then: a layout under
 * which more waits is always the dearer one, also where none can keep up. */
#define DRAIN_LEAST  0.25
#define DRAIN_MOST_S 86400.0

enum phase { BEFORE, AT_ONCE, AFTER, PHASES };
enum { LEVELS = 2 };

/* A lane that may be late. */
struct queued {
    int32_t lane;
    double capacity, objective_s;
    double waiting,
        waiting_after; /* CPU seconds: now, with what comes at once; what new nodes get by their pause */
    double *cells[PHASES];     /* [pipelines] cores */
    double work, rate, handed; /* in the path under way; work when new nodes come */
};

/* What waits on `from` goes to `to` in this share when new nodes are there. */
struct transfer {
    int32_t from, to; /* index of queued */
    double share;
};

struct pricing {
    const struct sketch *s;
    struct arena *arena;
    int32_t pipes, lanes;
    double *left_once, *left_after;     /* the planner's */
    double *after;                      /* [lanes] cores at the end */
    bool *walked;                       /* [lanes] to be summed anew */
    double *change_once, *change_after; /* [lanes * pipelines] cores, of the others */
    double *gains;  /* [lanes] CPU seconds that wait, by moves at once; negative: they leave */
    double *pauses; /* [lanes] CPU seconds that the pause of later moves adds */
    double peak[LOAD_PIPELINES_MAX]; /* highest growth of any path */
    struct queued *queued;
    int32_t queued_count;
    int32_t *index_of; /* [lanes] in queued; -1: cannot be late */
    struct transfer *transfers;
    int32_t transfer_count;
};

static const struct load_input *input_of(const struct pricing *p)
{
    return p->s->planner->in;
}

/* --- lanes as sketched --- */

static void add_part(struct pricing *p, double *cells, int32_t part, double fraction)
{
    struct planner *planner = p->s->planner;
    int32_t shard = (int32_t)planner->parts[part].shard, pipe = (int32_t)planner->parts[part].pipe;
    cells[pipe] += sketch_piece(p->s, part, fraction) * p->s->ratio[pipe];
    cells[pipe] += planner->count[shard]++ == 0 ? planner_read(planner, shard) : 0;
}

/* Cells of a touched lane: what stays, and what has come. */
static void sum_lane(struct pricing *p, int32_t lane, const double *left, bool come, double *cells)
{
    struct planner *planner = p->s->planner;
    for (int32_t c = 0; c < p->pipes; c++) {
        cells[c] = 0;
    }
    for (int32_t i = planner->first[lane]; i >= 0; i = planner->parts[i].next) {
        if (left[i] > 1e-9) {
            add_part(p, cells, i, left[i]);
        }
    }
    for (int32_t i = come ? p->s->came[lane] : -1; i >= 0; i = p->s->pieces[i].next) {
        add_part(p, cells, p->s->pieces[i].part, p->s->pieces[i].fraction);
    }
    for (int32_t i = planner->first[lane]; i >= 0; i = planner->parts[i].next) {
        planner->count[planner->parts[i].shard] = 0;
    }
    for (int32_t i = p->s->came[lane]; i >= 0; i = p->s->pieces[i].next) {
        planner->count[planner->parts[p->s->pieces[i].part].shard] = 0;
    }
}

static double sum(const double *cells, int32_t count)
{
    double all = 0;
    for (int32_t c = 0; c < count; c++) {
        all += cells[c];
    }
    return all;
}

/* Cells of a lane in the three phases; the memory is the arena's. */
static void fill_cells(struct pricing *p, int32_t lane, double **cells)
{
    const struct planner *planner = p->s->planner;
    cells[BEFORE] = ARENA_NEW_ARRAY(p->arena, double, (ptrdiff_t)PHASES * p->pipes);
    cells[AT_ONCE] = cells[BEFORE] + p->pipes;
    cells[AFTER] = cells[AT_ONCE] + p->pipes;
    for (int32_t c = 0; c < p->pipes; c++) {
        double work = planner->cell_high[lane * p->pipes + c];
        double read = planner->cell_read[lane * p->pipes + c];
        cells[BEFORE][c] = work + read;
        cells[AT_ONCE][c] = cells[AFTER][c] = work * p->s->ratio[c] + read;
    }
    if (p->walked[lane]) {
        sum_lane(p, lane, p->left_after, true, cells[AFTER]);
        sum_lane(p, lane, p->left_once, !p->s->added[lane], cells[AT_ONCE]);
    } else {
        for (int32_t c = 0; c < p->pipes; c++) {
            cells[AFTER][c] = fmax(0, cells[AFTER][c] + p->change_after[lane * p->pipes + c]);
            cells[AT_ONCE][c] = fmax(0, cells[AT_ONCE][c] + p->change_once[lane * p->pipes + c]);
        }
    }
    p->after[lane] = sum(cells[AFTER], p->pipes);
}

/* A whole partition that shares its shard with nobody takes all of its load along; others are summed anew, since what they
 * read may stay, or be there already. */
static void apply_piece(struct pricing *p, const struct piece *piece)
{
    const struct sketch *s = p->s;
    const struct weighed *w = &s->planner->parts[piece->part];
    if (s->planner->of_shard[w->shard] > 1 || piece->fraction < 1) {
        p->walked[piece->from] = p->walked[piece->to] = true;
        return;
    }
    double load = w->high * s->ratio[w->pipe] + planner_read(s->planner, (int32_t)w->shard);
    int32_t from = piece->from * p->pipes + (int32_t)w->pipe;
    int32_t to = piece->to * p->pipes + (int32_t)w->pipe;
    p->change_after[from] -= load;
    p->change_after[to] += load;
    if (!s->added[piece->to]) {
        p->change_once[from] -= load;
        p->change_once[to] += load;
    }
}

/* Pieces: what leaves and comes, and what waits with it. */
static void apply_pieces(struct pricing *p)
{
    const struct sketch *s = p->s;
    const struct planner *planner = s->planner;
    for (int32_t i = 0; i < s->piece_count; i++) {
        const struct piece *piece = &s->pieces[i];
        double paused = planner->parts[piece->part].high * piece->fraction * s->options->pause_s;
        apply_piece(p, piece);
        p->left_after[piece->part] -= piece->fraction;
        if (s->added[piece->to]) {
            p->pauses[piece->to] += paused;
            continue;
        }
        double waits = (double)planner->parts[piece->part].waiting * piece->fraction;
        p->left_once[piece->part] -= piece->fraction;
        p->gains[piece->from] -= waits;
        p->gains[piece->to] += waits + paused;
    }
}

/* --- which lanes may be late --- */

static double objective_of(const struct pricing *p, double *const *cells)
{
    double least = INFINITY;
    for (int32_t c = 0; c < p->pipes; c++) {
        bool there = cells[BEFORE][c] > 0 || cells[AT_ONCE][c] > 0 || cells[AFTER][c] > 0;
        double objective_s = input_of(p)->pipelines[c].objective_s;
        least = there && objective_s < least ? objective_s : least;
    }
    return least;
}

static void add_queued(struct pricing *p, int32_t lane)
{
    struct queued *q = &p->queued[p->queued_count];
    struct arena_mark mark = arena_mark(p->arena);
    double highest = 0, waiting = p->s->planner->lane_waiting[lane] + p->gains[lane];
    *q = (struct queued){.lane = lane,
                         .capacity = input_of(p)->lanes[lane].capacity * p->s->options->full};
    fill_cells(p, lane, q->cells);
    for (int phase = AT_ONCE; phase < PHASES; phase++) {
        double all = 0;
        for (int32_t c = 0; c < p->pipes; c++) {
            all += q->cells[phase][c] * p->peak[c];
        }
        highest = all > highest ? all : highest;
    }
    q->objective_s = objective_of(p, q->cells);
    q->waiting = waiting > 0 ? waiting : 0;
    q->waiting_after = p->pauses[lane];
    bool may = (highest > q->capacity || q->waiting > 1e-9) && isfinite(q->objective_s);
    if (!may) {
        arena_rewind(p->arena, mark);
        return;
    }
    p->index_of[lane] = p->queued_count++;
}

/* New lanes must be looked at too when what they get may wait. */
static void find_queued(struct pricing *p)
{
    for (int32_t l = 0; l < p->lanes; l++) {
        p->index_of[l] = -1;
    }
    for (int32_t l = 0; l < p->lanes; l++) {
        add_queued(p, l);
    }
}

static void find_transfers(struct pricing *p)
{
    const struct sketch *s = p->s;
    for (int32_t i = 0; i < s->piece_count; i++) {
        const struct piece *piece = &s->pieces[i];
        int32_t from = p->index_of[piece->from];
        if (!s->added[piece->to] || from < 0) {
            continue;
        }
        if (p->index_of[piece->to] < 0) {
            struct queued *q = &p->queued[p->queued_count];
            *q = (struct queued){.lane = piece->to,
                                 .capacity =
                                     input_of(p)->lanes[piece->to].capacity * s->options->full,
                                 .waiting_after = p->pauses[piece->to]};
            fill_cells(p, piece->to, q->cells);
            q->objective_s = objective_of(p, q->cells);
            p->index_of[piece->to] = p->queued_count++;
        }
        double there = sum(p->queued[from].cells[AT_ONCE], p->pipes);
        double work = s->planner->parts[piece->part].high * piece->fraction;
        p->transfers[p->transfer_count++] = (struct transfer){
            .from = from, .to = p->index_of[piece->to], .share = there > 0 ? work / there : 0};
    }
}

/* --- paths --- */

/* Leads and paths of all pipelines: the first forecast that is there tells them, the others have the same; none: one path
 * that stays as it is. */
struct paths {
    const struct outlook_view *view; /* NULL: none */
    int32_t leads, count, stride;
    double window_s;
};

static struct paths find_paths(const struct sketch *s)
{
    struct paths paths = {.leads = 1, .count = 1, .stride = 1, .window_s = s->options->horizon_s};
    for (int32_t c = 0; c < s->planner->in->pipeline_count; c++) {
        const struct outlook_view *view = s->input->growth[c].view;
        if (view != NULL && view->path_count > 0) {
            paths.view = view;
            paths.leads = view->lead_count;
            paths.count = view->path_count;
            paths.window_s = view->lead_s[view->lead_count - 1];
            break;
        }
    }
    return paths;
}

static double growth_of(const struct pricing *p, int32_t pipe, int32_t lead, int32_t path)
{
    const struct plan_growth *growth = &p->s->input->growth[pipe];
    const struct outlook_view *view = growth->view;
    if (view == NULL || lead >= view->lead_count || path >= view->path_count) {
        return 1;
    }
    double ratio = view->load[(ptrdiff_t)lead * view->stride + path] / growth->now;
    return growth->fixed + (1 - growth->fixed) * ratio;
}

static void hand_over(struct pricing *p)
{
    for (int32_t i = 0; i < p->queued_count; i++) {
        p->queued[i].handed = p->queued[i].work;
        p->queued[i].work += p->queued[i].waiting_after;
    }
    for (int32_t i = 0; i < p->transfer_count; i++) {
        const struct transfer *t = &p->transfers[i];
        double goes = p->queued[t->from].handed * t->share;
        p->queued[t->to].work += goes;
        p->queued[t->from].work -= goes;
    }
}

static void count_late(const struct queued *q, double late, int32_t pipes, double *latest)
{
    for (int32_t c = 0; late > 0 && c < pipes; c++) {
        if (q->cells[AFTER][c] > 0 || q->cells[AT_ONCE][c] > 0) {
            latest[c] = late > latest[c] ? late : latest[c];
        }
    }
}

static double rate_of(const struct pricing *p, const struct queued *q, enum phase phase,
                      const double *growth)
{
    double rate = 0;
    for (int32_t c = 0; c < p->pipes; c++) {
        rate += q->cells[phase][c] * growth[c];
    }
    return rate;
}

/* All lanes over one lead, from the growth before to the growth then; late[]: of each pipeline. */
static void run_lead(struct pricing *p, enum phase phase, double seconds, const double *before,
                     const double *growth, double *late)
{
    double latest[LOAD_PIPELINES_MAX] = {0};
    for (int32_t i = 0; i < p->queued_count; i++) {
        struct queued *q = &p->queued[i];
        q->rate = rate_of(p, q, phase, growth);
        struct queue_step step = {.rate_begin = rate_of(p, q, phase, before),
                                  .rate_end = q->rate,
                                  .capacity = q->capacity,
                                  .seconds = seconds,
                                  .objective_s = q->objective_s};
        count_late(q, queue_ramp(&q->work, &step), p->pipes, latest);
    }
    for (int32_t c = 0; c < p->pipes; c++) {
        late[c] += latest[c];
    }
}

/* Late seconds of each pipeline on one path, added to late[]. */
static void run_path(struct pricing *p, const struct paths *paths, int32_t path, double *late)
{
    double before[LOAD_PIPELINES_MAX] = {0}, growth[LOAD_PIPELINES_MAX] = {0};
    double latest[LOAD_PIPELINES_MAX] = {0};
    double at = 0;
    enum phase phase = AT_ONCE;
    for (int32_t c = 0; c < p->pipes; c++) {
        before[c] = 1;
    }
    for (int32_t i = 0; i < p->queued_count; i++) {
        p->queued[i].work = p->queued[i].waiting;
    }
    for (int32_t j = 0; j < paths->leads; j++) {
        double end = paths->view != NULL ? paths->view->lead_s[j] : paths->window_s;
        for (int32_t c = 0; c < p->pipes; c++) {
            growth[c] = growth_of(p, c, j, path);
        }
        if (phase == AT_ONCE && end > p->s->options->startup_s) {
            phase = AFTER;
            hand_over(p);
        }
        run_lead(p, phase, end - at, before, growth, late);
        memcpy(before, growth, sizeof before);
        at = end;
    }
    for (int32_t i = 0; i < p->queued_count; i++) {
        const struct queued *q = &p->queued[i];
        double drains = fmax(q->capacity, q->rate + DRAIN_LEAST * q->capacity);
        count_late(q, queue_drain(q->work, q->rate, drains, q->objective_s, DRAIN_MOST_S), p->pipes,
                   latest);
    }
    for (int32_t c = 0; c < p->pipes; c++) {
        late[c] += latest[c];
    }
}

static void find_peaks(struct pricing *p)
{
    for (int32_t c = 0; c < p->pipes; c++) {
        const struct plan_growth *growth = &p->s->input->growth[c];
        bool there = growth->view != NULL && growth->view->path_count > 0;
        p->peak[c] = there ? fmax(1, growth->view->peak_max / growth->now) : 1;
    }
}

/* --- --- */

static void set_level(struct pricing *p, int level)
{
    double full = p->s->options->full + (1 - p->s->options->full) * level / LEVELS;
    for (int32_t i = 0; i < p->queued_count; i++) {
        struct queued *q = &p->queued[i];
        q->capacity = input_of(p)->lanes[q->lane].capacity * full;
    }
}

static double late_of(struct pricing *p, const struct paths *paths, double *late)
{
    double weighted = 0, lanes = 0;
    int32_t runs = 0;
    int64_t each = (int64_t)LEVELS * p->queued_count * paths->leads;
    int64_t most = each > 0 ? PIECES_MAX / each : paths->count;
    most = most < PATHS_LEAST ? PATHS_LEAST : most;
    int32_t stride = (int32_t)((paths->count + most - 1) / most);
    for (int level = 0; p->queued_count > 0 && level < LEVELS; level++) {
        set_level(p, level);
        for (int32_t k = 0; k < paths->count; k += stride) {
            run_path(p, paths, k, late);
            runs++;
        }
    }
    const struct planner *planner = p->s->planner;
    for (int32_t c = 0; c < p->pipes; c++) {
        double holds = 0;
        for (int32_t l = 0; l < p->lanes; l++) {
            holds +=
                planner->cell_work[l * p->pipes + c] + planner->cell_read[l * p->pipes + c] > 0;
        }
        weighted += runs > 0 ? late[c] / runs * holds : 0;
    }
    for (int32_t l = 0; l < p->lanes; l++) {
        lanes += input_of(p)->lanes[l].open;
    }
    return lanes > 0 ? weighted / lanes : 0;
}

/* Busiest lane before and after, at the load planned with. */
static void tell_utilisation(const struct pricing *p, struct plan_option *option)
{
    const struct load_input *in = input_of(p);
    const struct planner *planner = p->s->planner;
    double all = 0, capacity = 0;
    for (int32_t l = 0; l < p->lanes; l++) {
        double now = sum(planner->cell_high + (ptrdiff_t)l * p->pipes, p->pipes) +
                     sum(planner->cell_read + (ptrdiff_t)l * p->pipes, p->pipes);
        bool open = in->lanes[l].open;
        option->max_before =
            open ? fmax(option->max_before, now / in->lanes[l].capacity) : option->max_before;
        option->max_after = fmax(option->max_after, p->after[l] / in->lanes[l].capacity);
        all += p->after[l];
        capacity += p->s->usable[l] ? in->lanes[l].capacity : 0;
    }
    option->mean_after = capacity > 0 ? all / capacity : 0;
}

/* What a setting, or fusing, saves of what is measured now, in lanes. */
static double freed_lanes(const struct pricing *p)
{
    const struct planner *planner = p->s->planner;
    double freed = p->s->freed_lanes;
    for (int32_t i = 0; i < p->lanes * p->pipes; i++) {
        double saved = planner->cell_work[i] * (1 - p->s->ratio[i % p->pipes]);
        freed += saved / input_of(p)->lanes[i / p->pipes].capacity;
    }
    return freed;
}

static struct usage use_of(struct pricing *p, const struct paths *paths)
{
    const struct sketch *s = p->s;
    double late[LOAD_PIPELINES_MAX] = {0};
    struct usage usage = {.late_seconds = late_of(p, paths, late)};
    for (int32_t l = 0; l < p->lanes; l++) {
        usage.lane_seconds += s->usable[l] || input_of(p)->lanes[l].draining ? paths->window_s : 0;
    }
    for (int32_t i = 0; i < s->step_count; i++) {
        usage.moved_bytes += s->steps[i].moved_bytes;
    }
    usage.changes = s->step_count;
    return usage;
}

void price_sketch(const struct sketch *s, struct plan_option *option)
{
    struct arena_mark mark = arena_mark(s->arena);
    const struct load_input *in = s->planner->in;
    struct pricing p = {
        .s = s, .arena = s->arena, .pipes = in->pipeline_count, .lanes = in->lane_count};
    struct paths paths = find_paths(s);
    double open = 0;
    p.left_once = s->planner->left_once;
    p.left_after = s->planner->left_after;
    p.walked = ARENA_NEW_ARRAY(s->arena, bool, p.lanes);
    p.change_once = ARENA_NEW_ARRAY(s->arena, double, (ptrdiff_t)p.lanes *p.pipes);
    p.change_after = ARENA_NEW_ARRAY(s->arena, double, (ptrdiff_t)p.lanes *p.pipes);
    p.gains = ARENA_NEW_ARRAY(s->arena, double, p.lanes);
    p.pauses = ARENA_NEW_ARRAY(s->arena, double, p.lanes);
    p.queued = ARENA_NEW_ARRAY(s->arena, struct queued, p.lanes);
    p.after = ARENA_NEW_ARRAY(s->arena, double, p.lanes);
    p.index_of = ARENA_NEW_ARRAY(s->arena, int32_t, p.lanes);
    p.transfers = ARENA_NEW_ARRAY(s->arena, struct transfer, s->piece_count);
    find_peaks(&p);
    apply_pieces(&p);
    find_queued(&p);
    find_transfers(&p);
    option->usage = use_of(&p, &paths);
    option->freed_lanes = freed_lanes(&p);
    option->usage.lane_seconds -= option->freed_lanes * paths.window_s;
    for (int32_t l = 0; l < p.lanes; l++) {
        open += in->lanes[l].open;
    }
    struct usage weighed = option->usage;
    weighed.late_seconds *= s->options->risk;
    option->cost = cost_of(&s->options->prices, &weighed, open);
    tell_utilisation(&p, option);
    for (int32_t i = 0; i < s->piece_count; i++) {
        p.left_once[s->pieces[i].part] = p.left_after[s->pieces[i].part] = 1;
    }
    arena_rewind(s->arena, mark);
}
