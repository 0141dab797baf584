// SPDX-License-Identifier: Apache-2.0
/* Which options there are, and the choice. */
#include <math.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/names.h"
#include "prm/planner_priv.h"

enum {
    NODE_COUNTS = 4,
    ALL_PARTS_MAX = 8192, /* up to here all options are told, also those that cannot win */
};

/* What moves and splits must take off the busiest lane to be worth the change: of its load; of what its load may be off by
 * chance. The busiest of many looks busier than it is, and the next one will. */
#define RELIEF_LEAST 0.05
#define RELIEF_NOISE 2.0

const char *plan_step_name(enum plan_step_kind kind)
{
    static const char *const names[] = {PLAN_STEP_KINDS(NAMES_TEXT)};
    return NAMES_AT(names, kind);
}

const char *plan_option_name(enum plan_option_kind kind)
{
    static const char *const names[] = {PLAN_OPTION_KINDS(NAMES_TEXT)};
    return NAMES_AT(names, kind);
}

const char *plan_verdict_text(enum plan_verdict verdict)
{
    static const char *const texts[] = {PLAN_VERDICTS(NAMES_TEXT)};
    return NAMES_AT(texts, verdict);
}

struct deciding {
    struct planner *planner;
    const struct plan_input *input;
    const struct plan_options *options;
    struct arena *arena;
    struct plan *plan;
    double growth
        [LOAD_PIPELINES_MAX]; /* at the planning quantile, never below 1: what is measured is needed */
    double ratio[LOAD_PIPELINES_MAX];
    double
        hottest; /* utilisation of the busiest lane if nothing is done, at the planning quantile */
    int32_t hottest_lane;
    double noise;      /* of the busiest lane's utilisation, a standard deviation */
    bool turns;        /* pipelines grow apart: another lane will be the busiest than is now */
    double need, open; /* cores at the planning quantile; capacity of open lanes */
};

/* --- growth --- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double growth_at(struct deciding *d, const struct plan_growth *growth, double quantile)
{
    const struct outlook_view *view = growth->view;
    if (view == NULL || view->path_count == 0) {
        return 1;
    }
    struct arena_mark mark = arena_mark(d->arena);
    double *peaks = ARENA_NEW_ARRAY(d->arena, double, view->path_count);
    for (int32_t k = 0; k < view->path_count; k++) {
        peaks[k] = view->peak[k];
    }
    qsort(peaks, (size_t)view->path_count, sizeof *peaks, compare_doubles);
    int32_t at = (int32_t)(quantile * view->path_count);
    double high = peaks[at < view->path_count ? at : view->path_count - 1] / growth->now;
    high = growth->fixed + (1 - growth->fixed) * high;
    arena_rewind(d->arena, mark);
    return high > 1 ? high : 1;
}

/* --- words --- */

static struct str lane_name(const struct deciding *d, int32_t lane)
{
    return d->planner->in->lanes[lane].name;
}

static const char *step_text(const struct deciding *d, const struct plan_step *step)
{
    const struct load_part *part =
        step->part >= 0 ? &d->planner->in->parts[step->part] : &d->planner->in->parts[0];
    switch (step->kind) {
    case PLAN_STEP_SPLIT:
        return arena_printf(d->arena, "split %.*s at key group %u, the upper part to %.*s",
                            STR_ARG(part->name), step->border, STR_ARG(lane_name(d, step->to)));
    case PLAN_STEP_MERGE:
        return arena_printf(d->arena, "merge %.*s with its neighbour on %.*s", STR_ARG(part->name),
                            STR_ARG(lane_name(d, step->to)));
    case PLAN_STEP_MIGRATE:
        return arena_printf(d->arena, "move %.*s from %.*s to %.*s", STR_ARG(part->name),
                            STR_ARG(lane_name(d, step->from)), STR_ARG(lane_name(d, step->to)));
    case PLAN_STEP_NODE_ADD:
    case PLAN_STEP_NODE_DRAIN:
    case PLAN_STEP_TUNE:
    case PLAN_STEP_KIND_COUNT:
        break;
    }
    return "";
}

/* "add 2 nodes, move 5 partitions, 2 of them new by a split"; the step itself if it is one. */
static void write_text(const struct deciding *d, struct plan_option *option)
{
    const char *begin = "", *what = "";
    if (option->tuning >= 0) {
        begin = arena_printf(d->arena, "set %.*s (frees %.2f lanes); ",
                             STR_ARG(d->input->tunings[option->tuning].text), option->freed_lanes);
    }
    if (option->nodes != 0) {
        int32_t n = abs(option->nodes);
        begin = arena_printf(d->arena, "%s%s %d %s; ", begin, option->nodes > 0 ? "add" : "drain",
                             n, n == 1 ? "node" : "nodes");
    }
    if (option->moves == 1) {
        for (int32_t i = 0; i < option->step_count; i++) {
            const char *text = step_text(d, &option->steps[i]);
            what = *text != 0 ? text : what;
        }
    } else if (option->moves > 1) {
        what = arena_printf(d->arena, "%d partitions change lanes (%d splits, %d merges)",
                            option->moves, option->splits, option->merges);
    } else if (option->merges > 0) {
        what = arena_printf(d->arena, "fuse neighbours %d times where they are (frees %.2f lanes)",
                            option->merges, option->freed_lanes);
    }
    const char *text = arena_printf(d->arena, "%s%s", begin, what);
    struct str whole = str_of(*text != 0 ? text : "nothing");
    whole.len = whole.len < PLAN_TEXT_MAX - 1 ? whole.len : PLAN_TEXT_MAX - 1;
    whole.len -= whole.len > 2 && whole.ptr[whole.len - 2] == ';' ? 2 : 0;
    memcpy(option->text, whole.ptr, (size_t)whole.len);
    option->text[whole.len] = 0;
}

/* One step is told as it is, several are summed up. */
static void write_given(const struct deciding *d, struct plan_option *option)
{
    const char *text = option->step_count == 1 ? step_text(d, &option->steps[0]) : "";
    if (*text == 0) {
        write_text(d, option);
        return;
    }
    ptrdiff_t len = (ptrdiff_t)strlen(text);
    len = len < PLAN_TEXT_MAX - 1 ? len : PLAN_TEXT_MAX - 1;
    memcpy(option->text, text, (size_t)len);
    option->text[len] = 0;
}

/* By what is done to partitions: the same moves with another node more are the same try. */
static uint64_t signature_of(const struct deciding *d, const struct plan_option *option)
{
    uint64_t sum =
        option->moves > 0 ? 1 : (uint64_t)option->kind * 31 + (uint64_t)(option->nodes + 1024);
    for (int32_t i = 0; i < option->step_count; i++) {
        const struct plan_step *step = &option->steps[i];
        bool of_node = step->kind == PLAN_STEP_NODE_ADD || step->kind == PLAN_STEP_NODE_DRAIN;
        bool tunes = step->kind == PLAN_STEP_TUNE && step->node >= 0;
        uint64_t what = tunes ? d->input->tunings[step->node].signature : (uint64_t)step->shard;
        uint64_t words[4] = {(uint64_t)step->kind << 32 | step->border, what,
                             (uint64_t)step->group_lo << 32 | step->group_hi, sum};
        sum = of_node ? sum : hash64(words, (ptrdiff_t)sizeof words);
    }
    return sum;
}

/* --- settings --- */

/* A setting changes the work of its stage ("pipeline/stage: ..."); of its pipeline's work that is a share. */
static double pipeline_ratio(const struct deciding *d, const struct plan_tuning *tuning)
{
    const struct planner *p = d->planner;
    struct str rest = tuning->text, stage = str_cut(&rest, ':');
    double all = 0, own = 0;
    for (int32_t i = 0; i < p->in->part_count; i++) {
        const struct load_part *part = &p->in->parts[i];
        if (p->in->shards[part->shard].pipeline != tuning->pipeline) {
            continue;
        }
        bool of_stage = part->name.len > stage.len && part->name.ptr[stage.len] == '/' &&
                        str_starts_with(part->name, stage);
        all += p->parts[i].work;
        own += of_stage ? p->parts[i].work : 0;
    }
    return all > 0 ? 1 - own / all * (1 - tuning->work_ratio) : 1;
}

/* --- options --- */

/* What an option is made of. */
struct wish {
    enum plan_option_kind kind;
    int32_t nodes;
    int32_t tuning;     /* -1: none */
    int32_t splits_max; /* < 0: a setting alone */
    bool even;
};

static struct plan_option *add_option(struct deciding *d, const struct wish *wish)
{
    enum plan_option_kind kind = wish->kind;
    int32_t nodes = wish->nodes, tuning = wish->tuning, splits_max = wish->splits_max;
    struct plan *plan = d->plan;
    struct sketch sketch = {.planner = d->planner,
                            .arena = d->arena,
                            .input = d->input,
                            .options = d->options,
                            .growth = d->growth,
                            .ratio = d->ratio,
                            .even = wish->even};
    if (plan->option_count == PLAN_OPTIONS_MAX) {
        return NULL;
    }
    if (tuning >= 0) {
        const struct plan_tuning *set = &d->input->tunings[tuning];
        d->ratio[set->pipeline] = pipeline_ratio(d, set);
    }
    bool there = sketch_begin(&sketch, nodes);
    if (there && kind == PLAN_MERGE) {
        int32_t most = d->options->splits_max;
        sketch_fuse(&sketch, most < sketch.piece_max ? most : sketch.piece_max);
    } else if (there && kind != PLAN_NOTHING && !(kind == PLAN_TUNE && splits_max < 0)) {
        sketch_relieve(&sketch, splits_max > 0 ? splits_max : 0);
    }
    if (there && tuning >= 0) {
        sketch.steps[sketch.step_count++] = (struct plan_step){
            .kind = PLAN_STEP_TUNE, .shard = -1, .from = -1, .to = -1, .node = tuning, .part = -1};
    }
    struct plan_option *option = &plan->options[plan->option_count];
    bool same = kind == PLAN_SPLIT && sketch.splits == 0; /* as the moves alone */
    if (there && !same && (sketch.step_count > 0 || kind == PLAN_NOTHING)) {
        *option = (struct plan_option){.kind = kind,
                                       .steps = sketch.steps,
                                       .step_count = sketch.step_count,
                                       .moves = sketch.moves,
                                       .splits = sketch.splits,
                                       .merges = sketch.merges,
                                       .nodes = nodes,
                                       .tuning = tuning,
                                       .pause_s = d->options->pause_s};
        price_sketch(&sketch, option);
        plan->option_count++;
    } else {
        option = NULL;
    }
    if (tuning >= 0) {
        d->ratio[d->input->tunings[tuning].pipeline] = 1;
    }
    return option;
}

static void add_growing(struct deciding *d)
{
    const struct plan_options *o = d->options;
    double per_node = 0;
    int32_t nodes = 0, free_nodes = 0;
    for (int32_t l = 0; l < d->planner->in->lane_count;) {
        const struct load_lane *first = &d->planner->in->lanes[l];
        double capacity = 0;
        for (; l < d->planner->in->lane_count && d->planner->in->lanes[l].node == first->node;
             l++) {
            capacity += d->planner->in->lanes[l].capacity;
        }
        nodes += first->open;
        free_nodes += !first->open && !first->draining;
        per_node = !first->open && per_node <= 0 ? capacity : per_node;
    }
    int32_t most = o->nodes_max - nodes;
    most = most < free_nodes ? most : free_nodes;
    most = most < o->nodes_step ? most : o->nodes_step;
    if (most < 1 || !(per_node > 0)) {
        return;
    }
    double missing = ceil((d->need / o->target - d->open) / per_node - 1e-9);
    int32_t need = missing < 1 ? 1 : (missing > most ? most : (int32_t)missing);
    int32_t counts[NODE_COUNTS] = {1, need, need + 1, 2 * need};
    for (int32_t i = 0; i < NODE_COUNTS; i++) {
        bool again = false;
        for (int32_t k = 0; k < i; k++) {
            again = again || counts[k] == counts[i];
        }
        if (!again && counts[i] <= most) {
            add_option(d, &(struct wish){.kind = PLAN_NODES_ADD,
                                         .nodes = counts[i],
                                         .tuning = -1,
                                         .splits_max = o->may_split ? o->splits_max : 0,
                                         .even = true});
        }
    }
}

static void add_shrinking(struct deciding *d)
{
    const struct plan_options *o = d->options;
    int32_t nodes = 0;
    double capacity = 0;
    for (int32_t l = 0; l < d->planner->in->lane_count; l++) {
        const struct load_lane *lane = &d->planner->in->lanes[l];
        bool first = l == 0 || d->planner->in->lanes[l - 1].node != lane->node;
        nodes += lane->open && first;
        capacity += lane->open ? lane->capacity : 0;
    }
    int32_t most = nodes - (o->nodes_min > 1 ? o->nodes_min : 1);
    most = most < o->nodes_step ? most : o->nodes_step;
    double spare = nodes > 0 ? (capacity - d->need / o->target) / (capacity / nodes) : 0;
    int32_t fits = spare < 1 ? 0 : (spare > most ? most : (int32_t)spare);
    if (fits >= 1) {
        add_option(d, &(struct wish){.kind = PLAN_NODES_DRAIN, .nodes = -1, .tuning = -1});
    }
    if (fits > 1) {
        add_option(d, &(struct wish){.kind = PLAN_NODES_DRAIN, .nodes = -fits, .tuning = -1});
    }
}

/* Options that take nothing away, while something is late. With many partitions only until one leaves nothing late: what
 * needs more changes or more lanes to do as much is dearer for sure. */
static void add_relieving(struct deciding *d)
{
    const struct plan_options *o = d->options;
    bool all = d->planner->in->part_count <= ALL_PARTS_MAX;
    const struct plan_option *best =
        add_option(d, &(struct wish){.kind = PLAN_MIGRATE, .tuning = -1});
    bool late = best == NULL || best->usage.late_seconds > 0;
    if ((all || late) && o->may_split && o->splits_max > 0) {
        best = add_option(
            d, &(struct wish){.kind = PLAN_SPLIT, .tuning = -1, .splits_max = o->splits_max});
        late = late && (best == NULL || best->usage.late_seconds > 0);
    }
    if (all && 1.10 * d->need < o->target * d->open) { /* else they are the same */
        add_option(d, &(struct wish){.kind = PLAN_MIGRATE, .tuning = -1, .even = true});
        if (o->may_split && o->splits_max > 0) {
            add_option(d, &(struct wish){.kind = PLAN_SPLIT,
                                         .tuning = -1,
                                         .splits_max = o->splits_max,
                                         .even = true});
        }
    }
    if ((all || late) && o->may_grow) {
        add_growing(d);
    }
}

static void add_all(struct deciding *d)
{
    const struct plan_options *o = d->options;
    const struct plan_option *nothing =
        add_option(d, &(struct wish){.kind = PLAN_NOTHING, .tuning = -1});
    CHECK(nothing != NULL);
    bool late = nothing->usage.late_seconds > 0, hot = d->hottest > o->target;
    if (late) { /* else nothing that is added can be worth its price */
        add_relieving(d);
    }
    if (!hot && !late && o->may_shrink) {
        add_shrinking(d);
        add_option(d, &(struct wish){.kind = PLAN_MERGE, .tuning = -1});
    }
    for (int32_t t = 0; t < d->input->tuning_count; t++) {
        add_option(d, &(struct wish){.kind = PLAN_TUNE, .tuning = t, .splits_max = -1});
        if (late && o->may_split) {
            add_option(d,
                       &(struct wish){.kind = PLAN_TUNE, .tuning = t, .splits_max = o->splits_max});
        }
    }
}

/* --- the choice --- */

static bool has_failed(const struct plan_input *input, uint64_t signature)
{
    for (int32_t i = 0; i < input->failed_count; i++) {
        if (input->failed[i] == signature) {
            return true;
        }
    }
    return false;
}

/* Moves alone that leave the busiest lane about as busy as it is: what is measured moves by more than that. */
static bool is_idle(const struct deciding *d, const struct plan_option *option)
{
    bool moves = option->kind == PLAN_MIGRATE || option->kind == PLAN_SPLIT;
    double least = fmax(RELIEF_LEAST * option->max_before, RELIEF_NOISE * d->noise);
    return moves && !d->turns && option->max_after > option->max_before - least;
}

/* Lanes that a pipeline takes, as measured. */
static double lanes_of(const struct planner *p, int32_t pipeline)
{
    double lanes = 0;
    for (int32_t l = 0; l < p->in->lane_count; l++) {
        int32_t cell = l * p->in->pipeline_count + pipeline;
        lanes += (p->cell_work[cell] + p->cell_read[cell]) / p->in->lanes[l].capacity;
    }
    return lanes;
}

/* Whether an option saves enough of the cost of doing nothing. A setting alone was compared with its pipeline as it is, beside a twin:
 * of what that pipeline takes it must free the margin, however many lanes there are for others. */
static bool beats_margin(const struct deciding *d, const struct plan_option *option)
{
    double margin = d->options->margin;
    if (option->cost < d->plan->options[0].cost * (1 - margin)) {
        return true;
    }
    bool setting = option->tuning >= 0 && option->step_count == 1;
    return setting && option->freed_lanes >
                          margin * lanes_of(d->planner, d->input->tunings[option->tuning].pipeline);
}

static void choose(struct deciding *d)
{
    struct plan *plan = d->plan;
    const struct plan_option *nothing = &plan->options[0];
    int32_t best = 0;
    for (int32_t i = 0; i < plan->option_count; i++) {
        struct plan_option *option = &plan->options[i];
        option->signature = signature_of(d, option);
        write_text(d, option);
        option->verdict = PLAN_VERDICT_DEARER;
        if (i > 0 && has_failed(d->input, option->signature)) {
            option->verdict = PLAN_VERDICT_FAILED_BEFORE;
        } else if (i > 0 && is_idle(d, option)) {
            option->verdict = PLAN_VERDICT_NO_HELP;
        } else if (i > 0 && !(option->cost < nothing->cost)) {
            bool helps = option->usage.late_seconds < nothing->usage.late_seconds ||
                         option->usage.lane_seconds < nothing->usage.lane_seconds;
            option->verdict = helps ? PLAN_VERDICT_DEARER : PLAN_VERDICT_NO_HELP;
        } else if (i > 0 && !beats_margin(d, option)) {
            option->verdict = PLAN_VERDICT_MARGIN;
        } else if (option->cost < plan->options[best].cost) {
            best = i;
        }
    }
    plan->chosen = best;
    plan->options[best].verdict = PLAN_VERDICT_CHOSEN;
}

/* --- what somebody asks for --- */

static int32_t nodes_of(const struct plan_given *given)
{
    int32_t nodes = 0;
    for (int32_t i = 0; i < given->step_count; i++) {
        nodes += given->steps[i].kind == PLAN_STEP_NODE_ADD;
        nodes -= given->steps[i].kind == PLAN_STEP_NODE_DRAIN;
    }
    return nodes;
}

/* The setting among the steps, whose ratio holds from now on; -1: none. */
static int32_t tuning_of(struct deciding *d, const struct plan_given *given)
{
    int32_t tuning = -1;
    for (int32_t i = 0; i < given->step_count; i++) {
        int32_t at = given->steps[i].node;
        if (given->steps[i].kind == PLAN_STEP_TUNE && at >= 0 && at < d->input->tuning_count) {
            tuning = at;
            const struct plan_tuning *set = &d->input->tunings[at];
            d->ratio[set->pipeline] = pipeline_ratio(d, set);
        }
    }
    return tuning;
}

static enum err add_given(struct deciding *d, const struct plan_given *given, struct err_info *info)
{
    struct plan *plan = d->plan;
    struct plan_option *option = &plan->options[plan->option_count];
    struct sketch sketch = {.planner = d->planner,
                            .arena = d->arena,
                            .input = d->input,
                            .options = d->options,
                            .growth = d->growth,
                            .ratio = d->ratio};
    int32_t tuning = tuning_of(d, given);
    CHECK(sketch_begin(&sketch, 0)); /* no node is asked of it */
    enum err err = sketch_take(&sketch, given->steps, given->step_count, info);
    if (err != ERR_OK) {
        return err;
    }
    *option = (struct plan_option){.kind = PLAN_GIVEN,
                                   .verdict = PLAN_VERDICT_CHOSEN,
                                   .steps = given->steps,
                                   .step_count = given->step_count,
                                   .moves = sketch.moves,
                                   .splits = sketch.splits,
                                   .merges = sketch.merges,
                                   .nodes = nodes_of(given),
                                   .tuning = tuning,
                                   .pause_s = d->options->pause_s};
    price_sketch(&sketch, option);
    option->signature = signature_of(d, option);
    write_given(d, option);
    plan->chosen = plan->option_count++;
    return ERR_OK;
}

/* What keeps the busiest lane busy whatever is done. */
static void find_limit(struct deciding *d)
{
    const struct planner *p = d->planner;
    struct plan *plan = d->plan;
    plan->limit_part = -1;
    plan->limit_text = "";
    if (d->hottest_lane < 0 || !(d->hottest > d->options->target)) {
        return;
    }
    for (int32_t i = p->first[d->hottest_lane]; i >= 0; i = p->parts[i].next) {
        if (plan->limit_part < 0 || p->parts[i].work > p->parts[plan->limit_part].work) {
            plan->limit_part = i;
        }
    }
    if (plan->limit_part < 0) {
        return;
    }
    const struct load_part *part = &p->in->parts[plan->limit_part];
    double room = d->options->target * p->in->lanes[d->hottest_lane].capacity /
                  d->growth[p->in->shards[part->shard].pipeline];
    plan->limit = load_limit_of(p->in, part, room);
    plan->limit_text = load_limit_text(p->in, part, plan->limit, d->arena);
    plan->limit_part = plan->limit == LOAD_LIMIT_NONE ? -1 : plan->limit_part;
}

static enum err check(const struct planner *p, const struct plan_input *input,
                      const struct plan_options *o, struct err_info *info)
{
    if (p->in == NULL || input->tuning_count < 0 || input->tuning_count > PLAN_TUNINGS_MAX) {
        return err_set(info, ERR_INVALID, "nothing to plan on, or more than %d tunings",
                       PLAN_TUNINGS_MAX);
    }
    for (int32_t c = 0; c < p->in->pipeline_count; c++) {
        const struct plan_growth *g = &input->growth[c];
        if (!(g->fixed >= 0 && g->fixed <= 1 && g->part_cores >= 0 && isfinite(g->part_cores))) {
            return err_set(info, ERR_INVALID,
                           "pipeline %d: %g of its demand fixed, %g cores a partition", c, g->fixed,
                           g->part_cores);
        }
        if (g->view != NULL && g->view->path_count > 0 && (!(g->now > 0) || !isfinite(g->now))) {
            return err_set(info, ERR_INVALID, "pipeline %d has a forecast from a rate of %g", c,
                           g->now);
        }
    }
    for (int32_t t = 0; t < input->tuning_count; t++) {
        const struct plan_tuning *tuning = &input->tunings[t];
        if (tuning->pipeline < 0 || tuning->pipeline >= p->in->pipeline_count ||
            !(tuning->work_ratio > 0 && tuning->work_ratio <= 1)) {
            return err_set(info, ERR_INVALID, "tuning %d: pipeline %d, work ratio %g", t,
                           tuning->pipeline, tuning->work_ratio);
        }
    }
    bool good = o->risk > 0 && o->margin >= 0 && o->margin < 1 && o->startup_s >= 0 &&
                o->pause_s >= 0 && o->full > 0 && o->full <= 1 && o->target > 0 &&
                o->target <= o->full && o->horizon_s > 0 && o->nodes_step >= 1 &&
                o->moves_max >= 0 && o->splits_max >= 0 && o->moves_max <= PLAN_STEPS_MAX / 2 &&
                o->splits_max <= PLAN_STEPS_MAX / 2;
    if (!good) {
        return err_set(
            info, ERR_INVALID,
            "risk %g, margin %g, start-up %g s, pause %g s, full %g, target %g, horizon %g s, "
            "node step %d, at most %d moves and %d splits",
            o->risk, o->margin, o->startup_s, o->pause_s, o->full, o->target, o->horizon_s,
            o->nodes_step, o->moves_max, o->splits_max);
    }
    return ERR_OK;
}

/* The busiest lane, as measured, when each pipeline has grown by its factor (NULL: now); -1: none. */
static int32_t busiest_lane(const struct planner *p, const double *growth)
{
    int32_t busiest = -1;
    double most = -1;
    for (int32_t l = 0; l < p->in->lane_count; l++) {
        double load = 0;
        for (int32_t c = 0; c < p->in->pipeline_count; c++) {
            int32_t cell = l * p->in->pipeline_count + c;
            load += (p->cell_work[cell] + p->cell_read[cell]) * (growth != NULL ? growth[c] : 1);
        }
        load /= p->in->lanes[l].capacity;
        busiest = p->in->lanes[l].open && load > most ? l : busiest;
        most = busiest == l ? load : most;
    }
    return busiest;
}

static void weigh(struct deciding *d)
{
    const struct planner *p = d->planner;
    double busiest = -1;
    double quantile = cost_quantile(&d->options->prices);
    d->hottest_lane = -1;
    for (int32_t c = 0; c < p->in->pipeline_count; c++) {
        d->growth[c] = growth_at(d, &d->input->growth[c], quantile);
        d->ratio[c] = 1;
    }
    d->turns = p->in->pipeline_count > 1 && busiest_lane(p, NULL) != busiest_lane(p, d->growth);
    for (int32_t l = 0; l < p->in->lane_count; l++) {
        double load = 0;
        for (int32_t c = 0; c < p->in->pipeline_count; c++) {
            int32_t cell = l * p->in->pipeline_count + c;
            load += (p->cell_high[cell] + p->cell_read[cell]) * d->growth[c];
        }
        if (p->in->lanes[l].open && load / p->in->lanes[l].capacity > busiest) {
            busiest = load / p->in->lanes[l].capacity;
            d->noise = planner_noise(p, l) / p->in->lanes[l].capacity;
        }
        d->need += load;
        d->open += p->in->lanes[l].open ? p->in->lanes[l].capacity : 0;
        if (load / p->in->lanes[l].capacity > d->hottest) {
            d->hottest = load / p->in->lanes[l].capacity;
            d->hottest_lane = l;
        }
    }
}

enum err planner_decide(struct planner *planner, const struct plan_input *input,
                        const struct plan_options *options, struct arena *arena,
                        struct plan *ret_plan, struct err_info *info)
{
    enum err err = check(planner, input, options, info);
    if (err == ERR_OK) {
        err = planner_settle(planner, info);
    }
    if (err != ERR_OK) {
        return err;
    }
    struct plan plan = {.options = ARENA_NEW_ARRAY(arena, struct plan_option, PLAN_OPTIONS_MAX)};
    struct deciding d = {
        .planner = planner, .input = input, .options = options, .arena = arena, .plan = &plan};
    weigh(&d);
    add_all(&d);
    choose(&d);
    find_limit(&d);
    *ret_plan = plan;
    return ERR_OK;
}

enum err planner_price(struct planner *planner, const struct plan_input *input,
                       const struct plan_options *options, const struct plan_given *given,
                       struct arena *arena, struct plan *ret_plan, struct err_info *info)
{
    enum err err = check(planner, input, options, info);
    if (err == ERR_OK && (given->step_count < 1 || given->step_count > PLAN_STEPS_MAX)) {
        err = err_set(info, ERR_INVALID, "a plan of %d steps; 1 to %d are possible",
                      given->step_count, PLAN_STEPS_MAX);
    }
    if (err == ERR_OK) {
        err = planner_settle(planner, info);
    }
    if (err != ERR_OK) {
        return err;
    }
    struct plan plan = {.options = ARENA_NEW_ARRAY(arena, struct plan_option, 2)};
    struct deciding d = {
        .planner = planner, .input = input, .options = options, .arena = arena, .plan = &plan};
    weigh(&d);
    struct plan_option *nothing =
        add_option(&d, &(struct wish){.kind = PLAN_NOTHING, .tuning = -1});
    CHECK(nothing != NULL);
    nothing->verdict = PLAN_VERDICT_ASKED;
    write_text(&d, nothing);
    err = add_given(&d, given, info);
    if (err == ERR_OK) {
        find_limit(&d);
        *ret_plan = plan;
    }
    return err;
}
