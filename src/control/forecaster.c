// SPDX-License-Identifier: Apache-2.0
#include "control/forecaster.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/names.h"
#include "forecast/online.h"
#include "pipeline/time_text.h"
#include "prm/correlate.h"

enum {
    FINE_STEPS = 180,
    FINE_HISTORY = 1440,
    COARSE_STEPS = 288,
    SERIES_ARENA_MAX = 16 << 20,
    SCRATCH_MAX = 256 << 20,
    SLICE_WORK = 2000,    /* of a refit, between two messages; about microseconds */
    FIT_WORK_MAX = 50000, /* of one fit */
    UNSEEN_MAX = 360,     /* intervals after which a partition's series is forgotten */
    LEADS = 8
};

static const double leads_s[LEADS] = {60, 300, 600, 1800, 3600, 10800, 21600, 86400};

struct tracked {
    char subject[CONTROL_PARTITION_MAX + 1];
    bool pipeline;
    enum forecast_series what;
    struct arena arena;
    struct online *fine, *coarse;
    double last;
    int unseen;
    double *recent; /* [FORECASTER_RECENT], a ring; pipelines */
    double *lags;   /* ... of the oldest records not yet committed, beside the arrivals */
    int64_t recent_count;
    /* the five minutes under way */
    double sum;
    int count;
};

struct forecaster {
    struct forecaster_options options;
    struct waker waker;
    struct mailbox inbox;
    struct tracked *series[FORECASTER_SERIES_MAX];
    int series_count;
    int cursor; /* whose refit is next */
    bool refits_due;
    int64_t bin; /* number of the five minutes under way; -1: none yet */
    int64_t time_ms;
    double level[ONLINE_LEVELS_MAX];
    int level_count;
    int low, median, high, planning;    /* indices of levels */
    double pair[2 * FORECASTER_RECENT]; /* two series that are compared */
    struct arena scratch;
};

static const char *const series_names[] = {FORECAST_SERIES(NAMES_TEXT)};

/* --- levels --- */

static int put_level(struct forecaster *f, double level)
{
    int at = 0;
    while (at < f->level_count && f->level[at] < level - 1e-9) {
        at++;
    }
    if (at < f->level_count && f->level[at] < level + 1e-9) {
        return at;
    }
    memmove(&f->level[at + 1], &f->level[at], (size_t)(f->level_count - at) * sizeof(double));
    f->level[at] = level;
    f->level_count++;
    return at;
}

static int level_index(const struct forecaster *f, double level)
{
    int at = 0;
    while (f->level[at] < level - 1e-9) {
        at++;
    }
    return at;
}

static void choose_levels(struct forecaster *f)
{
    double planning = fmin(0.999, fmax(0.5, f->options.quantile));
    IGNORE_RESULT(put_level(f, 0.1)); /* looked up once all are there */
    IGNORE_RESULT(put_level(f, 0.5));
    IGNORE_RESULT(put_level(f, 0.9));
    IGNORE_RESULT(put_level(f, planning));
    f->low = level_index(f, 0.1);
    f->median = level_index(f, 0.5);
    f->high = level_index(f, 0.9);
    f->planning = level_index(f, planning);
}

/* --- series --- */

static struct online *online_made(const struct forecaster *f, struct tracked *s, double step_s,
                                  int horizon, int history)
{
    struct online *online = NULL;
    struct online_spec spec = online_defaults(step_s, horizon);
    spec.start_s = (double)f->time_ms / 1e3;
    spec.history = history;
    spec.season = horizon == FINE_STEPS ? 1 : 0;
    spec.level_count = f->level_count;
    memcpy(spec.level, f->level, sizeof(spec.level));
    spec.stagger = f->series_count * 7 % spec.refit_every;
    spec.fit_work_max = FIT_WORK_MAX;
    CHECK(online_new(&spec, &s->arena, &online, NULL) == ERR_OK); /* all of it is ours */
    return online;
}

static void series_free(struct tracked *s)
{
    online_release(s->fine);
    online_release(s->coarse);
    mem_free(s->recent);
    mem_free(s->lags);
    arena_release(&s->arena);
    mem_free(s);
}

static struct tracked *find(const struct forecaster *f, const char *subject, bool pipeline,
                            enum forecast_series what)
{
    for (int i = 0; i < f->series_count; i++) {
        struct tracked *s = f->series[i];
        if (s->what == what && s->pipeline == pipeline && strcmp(s->subject, subject) == 0) {
            return s;
        }
    }
    return NULL;
}

/* NULL: there are too many. */
static struct tracked *find_or_make(struct forecaster *f, const struct forecaster_item *item,
                                    enum forecast_series what)
{
    struct tracked *s = find(f, item->subject, item->pipeline, what);
    if (s != NULL || f->series_count == FORECASTER_SERIES_MAX) {
        return s;
    }
    s = MEM_NEW(struct tracked);
    memcpy(s->subject, item->subject, sizeof(s->subject));
    s->pipeline = item->pipeline;
    s->what = what;
    s->last = (double)NAN;
    if (item->pipeline) {
        s->recent = MEM_NEW_ARRAY(double, FORECASTER_RECENT);
        s->lags = what == FORECAST_ARRIVAL ? MEM_NEW_ARRAY(double, FORECASTER_RECENT) : NULL;
    }
    arena_init(&s->arena, SERIES_ARENA_MAX);
    s->fine = online_made(f, s, f->options.step_s, FINE_STEPS, FINE_HISTORY);
    s->coarse = online_made(f, s, FORECASTER_COARSE_S, COARSE_STEPS, FORECASTER_HISTORY_MAX);
    f->series[f->series_count++] = s;
    return s;
}

static void forget_unseen(struct forecaster *f)
{
    int kept = 0;
    for (int i = 0; i < f->series_count; i++) {
        struct tracked *s = f->series[i];
        if (!s->pipeline && s->unseen > UNSEEN_MAX) {
            series_free(s);
        } else {
            f->series[kept++] = s;
        }
    }
    f->series_count = kept;
}

/* --- samples --- */

/* Missing fives are NaN, up to a day of them: a longer gap says no more. */
static void end_bin(struct forecaster *f, int64_t bin)
{
    int64_t missed = f->bin >= 0 ? bin - f->bin - 1 : 0;
    for (int i = 0; i < f->series_count && f->bin >= 0; i++) {
        struct tracked *s = f->series[i];
        double mean = s->count > 0 ? s->sum / s->count : (double)NAN;
        online_sample(s->coarse, mean, &f->scratch);
        for (int64_t m = 0; m < missed && m < COARSE_STEPS; m++) {
            online_sample(s->coarse, (double)NAN, &f->scratch);
        }
        s->sum = 0;
        s->count = 0;
        arena_reset(&f->scratch);
    }
    f->bin = bin;
}

static void take_samples(struct forecaster *f, const struct forecaster_msg *msg)
{
    int64_t bin = (int64_t)((double)msg->time_ms / 1e3 / FORECASTER_COARSE_S);
    f->time_ms = msg->time_ms;
    if (bin != f->bin) {
        end_bin(f, bin);
    }
    for (int i = 0; i < f->series_count; i++) {
        f->series[i]->unseen++;
    }
    for (int32_t i = 0; i < msg->item_count; i++) {
        const struct forecaster_item *item = &msg->items[i];
        int whats = item->pipeline ? FORECAST_SERIES_COUNT : 1;
        for (int what = 0; what < whats; what++) {
            struct tracked *s = find_or_make(f, item, (enum forecast_series)what);
            if (s == NULL) {
                continue;
            }
            double value = item->value[what];
            online_sample(s->fine, value, &f->scratch);
            arena_reset(&f->scratch);
            s->last = value;
            s->unseen = 0;
            if (s->lags != NULL) {
                s->lags[s->recent_count % FORECASTER_RECENT] = item->lag_s;
            }
            if (s->recent != NULL) {
                s->recent[s->recent_count++ % FORECASTER_RECENT] = value;
            }
            if (isfinite(value)) {
                s->sum += value;
                s->count++;
            }
        }
    }
    forget_unseen(f);
    f->refits_due = true;
    f->cursor = 0;
}

static void take_history(struct forecaster *f, const struct forecaster_msg *msg)
{
    for (int what = 0; what < FORECAST_SERIES_COUNT; what++) {
        if (msg->history[what] == NULL || msg->history_count == 0) {
            continue;
        }
        if (find(f, msg->items[0].subject, true, (enum forecast_series)what) != NULL) {
            continue; /* too late: it has samples */
        }
        struct tracked *s = find_or_make(f, &msg->items[0], (enum forecast_series)what);
        if (s != NULL) {
            online_load(s->coarse, msg->history[what], msg->history_count, &f->scratch);
            arena_reset(&f->scratch);
        }
    }
}

/* One slice; false: nothing is due any more. */
static bool refit_slice(struct forecaster *f)
{
    while (f->cursor < f->series_count) {
        struct tracked *s = f->series[f->cursor];
        enum online_refit_state state = online_refit(s->fine, SLICE_WORK, &f->scratch);
        if (state != ONLINE_REFIT_MORE) {
            enum online_refit_state coarse = online_refit(s->coarse, SLICE_WORK, &f->scratch);
            f->cursor += coarse != ONLINE_REFIT_MORE;
            state = state == ONLINE_REFIT_NONE ? coarse : state;
        }
        arena_reset(&f->scratch);
        if (state != ONLINE_REFIT_NONE) {
            return true;
        }
    }
    return false;
}

/* --- answers --- */

static struct str copy(struct control_request *request, const char *text, ptrdiff_t len)
{
    return (struct str){arena_dup(request->arena, text, len), len};
}

static const struct online_point *point_of(const struct online_report *report, int steps)
{
    const struct online_point *best = &report->point[0];
    for (int i = 1; i < report->point_count; i++) {
        if (report->point[i].steps <= steps) {
            best = &report->point[i];
        }
    }
    return best;
}

struct asked {
    struct control_request *request;
    struct forecast_row *rows;
    int32_t count;
};

static void add_row(const struct forecaster *f, const struct tracked *s, double lead_s,
                    struct asked *asked)
{
    bool fine = lead_s <= f->options.step_s * FINE_STEPS + 1e-9;
    const struct online *online = fine ? s->fine : s->coarse;
    double step_s = fine ? f->options.step_s : FORECASTER_COARSE_S;
    int steps = (int)ceil(lead_s / step_s - 1e-9);
    struct arena *arena = asked->request->arena;
    struct online_report report;
    char time[TIME_TEXT_MAX];
    double *out = ARENA_NEW_ARRAY(arena, double, (ptrdiff_t)steps * f->level_count);
    online_forecast(online, steps, out, &report, arena);
    const double *level = out + (ptrdiff_t)(steps - 1) * f->level_count;
    const struct online_point *point = point_of(&report, steps);
    if (report.point_count == 0 || point->basis == ONLINE_NOTHING || !isfinite(level[0])) {
        return;
    }
    int32_t len = time_write_rfc3339((f->time_ms + (int64_t)(lead_s * 1e3)) / 1000 * 1000, time);
    asked->rows[asked->count++] = (struct forecast_row){
        .kind = s->pipeline ? STR("pipeline") : STR("partition"),
        .subject = copy(asked->request, s->subject, (ptrdiff_t)strlen(s->subject)),
        .series = str_of(series_names[s->what]),
        .ahead_seconds = lead_s,
        .time = copy(asked->request, time, len),
        .now = s->last,
        .low = level[f->low],
        .median = level[f->median],
        .high = level[f->high],
        .planning = level[f->planning],
        .model = str_of(point->basis == ONLINE_ONE ? model_name(point->model)
                                                   : online_basis_name(point->basis)),
        .error = point->matured > 0 ? point->error : (double)NAN,
        .naive_error = point->matured > 0 ? point->error_naive : (double)NAN,
        .reactive = point->basis == ONLINE_NAIVE || point->basis == ONLINE_FEW_SAMPLES,
        .samples = report.samples,
        .step_seconds = step_s,
    };
}

/* Without a subject: each pipeline's demand, at all leads; with one: all of its series. */
static void answer(struct forecaster *f, struct control_request *request)
{
    const struct control_args *args = &request->args;
    bool named = args->subject[0] != 0;
    struct asked asked = {
        .request = request,
        .rows = ARENA_NEW_ARRAY(request->arena, struct forecast_row, f->series_count * LEADS)};
    for (int i = 0; i < f->series_count; i++) {
        const struct tracked *s = f->series[i];
        bool wanted = named ? strcmp(s->subject, args->subject) == 0 : s->pipeline;
        bool of_series = args->series >= 0 ? (int64_t)s->what == args->series
                                           : named || s->what == FORECAST_DEMAND;
        for (int l = 0; l < LEADS && wanted && of_series; l++) {
            add_row(f, s, leads_s[l], &asked);
        }
    }
    request->rows =
        (struct control_rows){.entity = &forecast_entity, .rows = asked.rows, .count = asked.count};
}

/* --- who leads whom: arrivals, costs and lags of the pipelines, each pair --- */

/* A series that is compared. */
struct compared {
    const struct tracked *of;
    const double *ring; /* the last values, at most FORECASTER_RECENT */
    const char *what;
};

/* Those of a series that is tracked: its own values, and beside arrivals the lags. */
static int compared_of(const struct tracked *s, struct compared ret[2])
{
    if (!s->pipeline || s->what == FORECAST_DEMAND) {
        return 0; /* demand is arrivals times cost */
    }
    ret[0] = (struct compared){s, s->recent, series_names[s->what]};
    ret[1] = (struct compared){s, s->lags, "lag"};
    return s->lags != NULL ? 2 : 1;
}

static void unroll(const struct compared *c, int n, double *to)
{
    for (int i = 0; i < n; i++) {
        to[i] = c->ring[(c->of->recent_count - n + i) % FORECASTER_RECENT];
    }
}

static const char *series_text(const struct compared *c, struct arena *arena)
{
    return arena_printf(arena, "%s %s", c->of->subject, c->what);
}

/* True: written. */
static bool correlate_pair(struct forecaster *f, const struct compared *a, const struct compared *b,
                           struct correlation_row *ret_row, struct arena *arena)
{
    double *x = f->pair, *y = f->pair + FORECASTER_RECENT;
    struct correlation found;
    int64_t left = a->of->recent_count, right = b->of->recent_count;
    int64_t count = left < right ? left : right;
    int n = (int)(count < FORECASTER_RECENT ? count : FORECASTER_RECENT);
    if (n < CORRELATE_MIN) {
        return false;
    }
    unroll(a, n, x);
    unroll(b, n, y);
    int lag_max = n / 4 < FORECASTER_LAG_MAX ? n / 4 : FORECASTER_LAG_MAX;
    enum err err = correlate(x, y, n, lag_max, 0.02, &f->scratch, &found, NULL);
    arena_reset(&f->scratch);
    if (err != ERR_OK || !found.significant) {
        return false;
    }
    const struct compared *leader = found.lag >= 0 ? a : b, *follower = found.lag >= 0 ? b : a;
    *ret_row = (struct correlation_row){
        .leader = str_of(series_text(leader, arena)),
        .follower = str_of(series_text(follower, arena)),
        .lag_seconds = f->options.step_s * abs(found.lag),
        .correlation_ratio = found.r,
        .threshold_ratio = found.threshold,
        .samples = n,
    };
    return true;
}

static void answer_correlations(struct forecaster *f, struct control_request *request)
{
    struct arena *arena = request->arena;
    struct compared *all = ARENA_NEW_ARRAY(arena, struct compared, 2 * (ptrdiff_t)f->series_count);
    int n = 0;
    for (int i = 0; i < f->series_count; i++) {
        struct compared of[2];
        int own = compared_of(f->series[i], of);
        for (int k = 0; k < own; k++) {
            all[n++] = of[k];
        }
    }
    struct correlation_row *rows =
        ARENA_NEW_ARRAY(arena, struct correlation_row, (ptrdiff_t)n * n / 2 + 1);
    int32_t count = 0;
    for (int i = 0; i < n; i++) {
        for (int j = i + 1; j < n; j++) {
            bool others = strcmp(all[i].of->subject, all[j].of->subject) != 0;
            count += others && correlate_pair(f, &all[i], &all[j], &rows[count], arena);
        }
    }
    request->rows =
        (struct control_rows){.entity = &correlation_entity, .rows = rows, .count = count};
}

/* --- the loop --- */

int64_t forecaster_step(void *ctx, int64_t now_ns)
{
    struct forecaster *f = ctx;
    struct msg *next = NULL;
    for (struct msg *at = mailbox_take_all(&f->inbox); at != NULL; at = next) {
        struct forecaster_msg *msg = CONTAINER_OF(at, struct forecaster_msg, msg);
        next = at->next;
        switch (msg->kind) {
        case FORECASTER_SAMPLES:
            take_samples(f, msg);
            break;
        case FORECASTER_HISTORY:
            take_history(f, msg);
            break;
        case FORECASTER_ASK:
            answer(f, msg->request);
            break;
        case FORECASTER_CORRELATE:
            answer_correlations(f, msg->request);
            break;
        }
        mailbox_push(msg->done, &msg->msg);
    }
    f->refits_due = f->refits_due && refit_slice(f);
    return f->refits_due ? now_ns : CLOCK_NEVER;
}

struct forecaster *forecaster_new(const struct forecaster_options *options)
{
    struct forecaster *f = MEM_NEW(struct forecaster);
    f->options = *options;
    f->bin = -1;
    waker_init(&f->waker);
    mailbox_init(&f->inbox, &f->waker);
    arena_init(&f->scratch, SCRATCH_MAX);
    choose_levels(f);
    return f;
}

void forecaster_free(struct forecaster *f)
{
    if (f != NULL) {
        for (int i = 0; i < f->series_count; i++) {
            series_free(f->series[i]);
        }
        arena_release(&f->scratch);
        mem_free(f);
    }
}

struct waker *forecaster_waker(struct forecaster *f)
{
    return &f->waker;
}

struct mailbox *forecaster_mailbox(struct forecaster *f)
{
    return &f->inbox;
}
