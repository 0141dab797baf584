// SPDX-License-Identifier: Apache-2.0
#include "bench/forecast.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "forecast/fitted.h"
#include "forecast/num.h"
#include "forecast/online.h"

enum { DAY = 288, HORIZON = 36, ROUNDS = 2000 };

struct job {
    const double *logs, *raw;
    int n;
    double start_s, step_s;
    struct arena arena;
    const struct clock *clock;
};

/* A task does its work once; returns the CPU time of one unit in seconds, negative where it cannot be done. */
typedef double (*task_fn)(struct job *job);

static double since(const struct job *job, int64_t start_ns)
{
    return (double)(clock_thread_cpu_ns(job->clock) - start_ns) * 1e-9;
}

static double time_arima(struct job *job, struct arima_order order)
{
    struct arima model;
    struct arima_data data = {.y = job->logs, .n = job->n};
    int64_t start = clock_thread_cpu_ns(job->clock);
    enum err err = arima_fit(&data, &order, NULL, &job->arena, &model, NULL);
    return err == ERR_OK ? since(job, start) : -1;
}

static double arima111(struct job *job)
{
    return time_arima(job, (struct arima_order){.p = 1, .d = 1, .q = 1, .m = 1});
}

static double arima212(struct job *job)
{
    return time_arima(job, (struct arima_order){.p = 2, .d = 1, .q = 2, .m = 1});
}

static double sarima24(struct job *job)
{
    return time_arima(
        job, (struct arima_order){.p = 1, .d = 1, .q = 1, .P = 0, .D = 1, .Q = 1, .m = 24});
}

static double time_ets(struct job *job, int m, const struct ets_form *form)
{
    struct ets model;
    int64_t start = clock_thread_cpu_ns(job->clock);
    struct ets_data data = {.y = job->logs, .n = job->n, .m = m};
    enum err err = form != NULL ? ets_fit(&data, form, &job->arena, &model, NULL)
                                : ets_auto(&data, &job->arena, &model, NULL);
    return err == ERR_OK ? since(job, start) : -1;
}

static double ets1(struct job *job)
{
    return time_ets(job, 1, NULL);
}

static double ets24(struct job *job)
{
    return time_ets(job, 24, NULL);
}

static double ets_ann(struct job *job)
{
    return time_ets(job, 1, &(struct ets_form){'A', 'N', 'N', 0});
}

static double ets_aaa24(struct job *job)
{
    return time_ets(job, 24, &(struct ets_form){'A', 'A', 'A', 0});
}

static double time_model(struct job *job, enum model model, int season)
{
    static const struct fit_how how = {0};
    struct series series = {job->logs, job->n, season, job->start_s, job->step_s, NULL};
    struct fitted *fit = ARENA_NEW(&job->arena, struct fitted);
    int64_t start = clock_thread_cpu_ns(job->clock);
    enum err err = fitted_fit(model, &series, &how, &job->arena, fit, NULL);
    return err == ERR_OK ? since(job, start) : -1;
}

static double auto1(struct job *job)
{
    return time_model(job, MODEL_ARIMA, 1);
}

static double auto_fourier(struct job *job)
{
    return time_model(job, MODEL_FOURIER, DAY);
}

static double theta(struct job *job)
{
    return time_model(job, MODEL_THETA, DAY);
}

static double stl_ets(struct job *job)
{
    return time_model(job, MODEL_STL, DAY);
}

static double time_prophet(struct job *job, int multiplicative)
{
    double *time_s = ARENA_NEW_ARRAY(&job->arena, double, job->n);
    for (int i = 0; i < job->n; i++) {
        time_s[i] = job->start_s + i * job->step_s;
    }
    struct prophet_spec spec = prophet_defaults((job->n - 1) * job->step_s, job->step_s);
    for (int i = 0; i < spec.season_count; i++) {
        spec.season[i].multiplicative = multiplicative;
    }
    struct prophet model;
    int64_t start = clock_thread_cpu_ns(job->clock);
    enum err err = prophet_fit(time_s, multiplicative ? job->raw : job->logs, job->n, NULL, &spec,
                               &job->arena, &model, NULL);
    return err == ERR_OK ? since(job, start) : -1;
}

static double prophet(struct job *job)
{
    return time_prophet(job, 0);
}

static double prophet_mult(struct job *job)
{
    return time_prophet(job, 1);
}

/* The members of the median with a season, for the tasks below. */
static const enum model members[] = {MODEL_SEASONAL,   MODEL_STL, MODEL_FOURIER,
                                     MODEL_PROPHET_AR, MODEL_ETS, MODEL_THETA};

static bool fit_members(struct job *job, struct fitted *fits, const struct fitted *like)
{
    bool all = true;
    for (int i = 0; i < COUNT_OF(members); i++) {
        struct fit_how how = {.like = like != NULL ? &like[i] : NULL, .models_max = 4};
        bool level = members[i] == MODEL_ETS || members[i] == MODEL_THETA;
        struct series series = {job->logs,    job->n,      level ? 1 : DAY,
                                job->start_s, job->step_s, NULL};
        all = fitted_fit(members[i], &series, &how, &job->arena, &fits[i], NULL) == ERR_OK && all;
    }
    return all;
}

/* A refit of the ensemble with orders, forms and pairs known. */
static double ensemble_refit(struct job *job)
{
    struct fitted *fits = ARENA_NEW_ARRAY(&job->arena, struct fitted, 2 * COUNT_OF(members));
    if (!fit_members(job, fits, NULL)) {
        return -1;
    }
    int64_t start = clock_thread_cpu_ns(job->clock);
    return fit_members(job, fits + COUNT_OF(members), fits) ? since(job, start) : -1;
}

/* One update of one model, the mean over all members. */
static double update(struct job *job)
{
    struct fitted *fits = ARENA_NEW_ARRAY(&job->arena, struct fitted, COUNT_OF(members));
    if (!fit_members(job, fits, NULL)) {
        return -1;
    }
    int64_t start = clock_thread_cpu_ns(job->clock);
    for (int t = 0; t < ROUNDS; t++) {
        for (int i = 0; i < COUNT_OF(members); i++) {
            fitted_update(&fits[i], job->logs[t % job->n]);
        }
    }
    return since(job, start) / (double)(ROUNDS * COUNT_OF(members));
}

/* 36 steps of the slowest member, with four quantiles of each. */
static double forecast36(struct job *job)
{
    static const double level[4] = {0.1, 0.5, 0.9, 0.95};
    struct fitted *fits = ARENA_NEW_ARRAY(&job->arena, struct fitted, COUNT_OF(members));
    if (!fit_members(job, fits, NULL)) {
        return -1;
    }
    double worst = 0, sum = 0;
    for (int i = 0; i < COUNT_OF(members); i++) {
        struct forecast f;
        int64_t start = clock_thread_cpu_ns(job->clock);
        enum err err = fitted_forecast(&fits[i], HORIZON, &job->arena, &f, NULL);
        for (int k = 0; err == ERR_OK && k < HORIZON * 4; k++) {
            sum += fitted_quantile(&fits[i], &f, k / 4, level[k % 4]);
        }
        worst = err == ERR_OK ? fmax(worst, since(job, start)) : NUM_INFINITY;
    }
    return isfinite(sum) ? worst : -1;
}

static struct online *open_online(struct job *job)
{
    struct online_spec spec = online_defaults(job->step_s, HORIZON);
    struct online *online;
    spec.season = DAY;
    spec.start_s = job->start_s;
    if (online_new(&spec, &job->arena, &online, NULL) != ERR_OK) {
        return NULL;
    }
    online_load(online, job->raw, job->n, &job->arena);
    return online;
}

/* A sample with all that follows from it: updates, scores, remembered forecasts of all members. */
static double online_step(struct job *job)
{
    struct online *online = open_online(job);
    if (online == NULL) {
        return -1;
    }
    int64_t start = clock_thread_cpu_ns(job->clock);
    for (int t = 0; t < DAY; t++) {
        online_sample(online, job->raw[(job->n + t - 7 * DAY) % job->n], &job->arena);
    }
    double used = since(job, start) / DAY;
    online_release(online);
    return used;
}

/* A forecast of 36 steps with quantiles, all members and the choice. */
static double online_ahead(struct job *job)
{
    double out[HORIZON * 4];
    struct online *online = open_online(job);
    if (online == NULL) {
        return -1;
    }
    int64_t start = clock_thread_cpu_ns(job->clock);
    for (int t = 0; t < 10; t++) {
        online_forecast(online, HORIZON, out, NULL, &job->arena);
    }
    double used = since(job, start) / 10;
    online_release(online);
    return used;
}

/* Holt-Winters, season 24, one step. */
static double holt_winters_step(struct job *job)
{
    struct ets model;
    struct ets_form form = {'A', 'A', 'A', 0};
    struct ets_data data = {.y = job->logs, .n = job->n, .m = 24};
    if (ets_fit(&data, &form, &job->arena, &model, NULL) != ERR_OK) {
        return -1;
    }
    double sum = 0;
    int64_t start = clock_thread_cpu_ns(job->clock);
    for (int k = 0; k < 50; k++) {
        for (int t = 0; t < job->n; t++) {
            sum += ets_update(&model, job->logs[t]);
        }
    }
    double used = since(job, start) / (50.0 * job->n);
    return isfinite(sum) ? used : -1;
}

static const struct {
    const char *name;
    task_fn run;
    double bound_s;
    int least; /* values */
} tasks[] = {
    {"arima111", arima111, 0, 30},
    {"arima212", arima212, 0, 30},
    {"sarima24", sarima24, 0, 100},
    {"auto1", auto1, 0, 30},
    {"autofourier", auto_fourier, 0, 2 * DAY},
    {"ets1", ets1, 0, 30},
    {"ets24", ets24, 0, 100},
    {"etsANN", ets_ann, 0, 30},
    {"etsAAA24", ets_aaa24, 0, 100},
    {"theta", theta, 0, 30},
    {"stlm", stl_ets, 0, 2 * DAY},
    {"prophet", prophet, 0, 30},
    {"prophetmult", prophet_mult, 0, 30},
    {"ensemble-refit", ensemble_refit, 50e-3, 2 * DAY + 1},
    {"update", update, 5e-6, 2 * DAY + 1},
    {"forecast36", forecast36, 1e-3, 2 * DAY + 1},
    {"online-sample", online_step, 0, 3 * DAY},
    {"online-forecast36", online_ahead, 1e-3, 3 * DAY},
    {"holt-winters-step", holt_winters_step, 20e-9, 100},
};

int forecast_task_count(void)
{
    return COUNT_OF(tasks);
}

const char *forecast_task_name(int task)
{
    CHECK(task >= 0 && task < COUNT_OF(tasks));
    return tasks[task].name;
}

// NOLINTNEXTLINE(readability-function-size): all are the call, none a pair
enum err forecast_time(int task, const double *y, int count, int n, double start_s, double step_s,
                       int repeats, const struct clock *clock, struct forecast_timing *ret_timing,
                       struct err_info *info)
{
    CHECK(task >= 0 && task < COUNT_OF(tasks) && repeats >= 1 && repeats <= FORECAST_REPEATS_MAX);
    if (n > count || n < tasks[task].least) {
        return err_set(info, ERR_INVALID, "%s with %d values: %d are the least, %d are there",
                       tasks[task].name, n, tasks[task].least, count);
    }
    struct job job = {.raw = y + count - n, .n = n, .step_s = step_s, .clock = clock};
    job.start_s = start_s + (count - n) * step_s;
    arena_init(&job.arena, (ptrdiff_t)1 << 30);
    double *logs = ARENA_NEW_ARRAY(&job.arena, double, n), times[FORECAST_REPEATS_MAX];
    for (int i = 0; i < n; i++) {
        logs[i] = log1p(job.raw[i]);
    }
    job.logs = logs;
    bool done = true;
    for (int r = 0; r < repeats && done; r++) {
        struct arena_mark mark = arena_mark(&job.arena);
        times[r] = tasks[task].run(&job);
        done = times[r] >= 0;
        arena_rewind(&job.arena, mark);
    }
    arena_release(&job.arena);
    if (!done) {
        return err_set(info, ERR_INVALID, "%s cannot be fitted to these %d values",
                       tasks[task].name, n);
    }
    num_sort(times, repeats);
    *ret_timing = (struct forecast_timing){
        tasks[task].name, n, times[0], times[repeats / 2], times[repeats - 1], tasks[task].bound_s};
    return ERR_OK;
}
