// SPDX-License-Identifier: Apache-2.0
// What a shadow of a tenth of the records predicts, against the same measured on the primary after really doing it: the work
// cost of a record under another setting, in half of the range, and the rate when input never runs dry. The prediction is
// the primary's own cost times the ratio of two twins on the same sample. Three workloads (the counting stage of Nexmark's
// q5, YSB's views, clicks), their key one of a million by Zipf 0.5, 1.0, 1.5. Its 95 % interval is a jackknife over the
// twins' paired groups.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "bench/bench.h"
#include "bench/rows.h"
#include "bench/shadow_run.h"
#include "load/keys.h"
#include "load/ysb.h"

enum {
    FIDELITY_RECORDS = 160000,
    FIDELITY_BATCH = 400,
    FIDELITY_WARM = 60000, // records before anything is measured
    FIDELITY_A_MS = 5,     // records a millisecond of event time
    FIDELITY_YAML_MAX = 1024,
    FIDELITY_PERCENT = 10,
    FIDELITY_WORKLOADS = 3,
    FIDELITY_SKEWS = 3,
    FIDELITY_QUESTIONS = 3,
    FIDELITY_RUNS_MAX = FIDELITY_WORKLOADS * FIDELITY_SKEWS * 8,
    FIDELITY_WAIT_NS = 300000
};

#define FIDELITY_BOUND_PERCENT 10.0

enum question { QUESTION_SETTING, QUESTION_HALF, QUESTION_RATE };

static const char *const QUESTIONS[] = {"another setting", "half the range", "full rate"};
static const char *const WORKLOADS[] = {"q5", "ysb", "clicks"};
static const double SKEWS[] = {0.5, 1.0, 1.5};

static const char *const CHAINS[] = {
    "[{window: {name: w, hopping: {size: 10s, slide: 2s}, out: {n: count}}}]",
    "[{parse: {name: p, format: json, fields: {ad_id: string, event_type: string}}}, "
    "{filter: {name: f, where: \"event_type == 'view'\"}}, "
    "{window: {name: w, tumbling: 10s, out: {n: count}}}]",
    "[{parse: {name: p, format: json, fields: {kind: string, n: int}}}, "
    "{filter: {name: f, where: \"kind == 'view'\"}}, "
    "{window: {name: w, tumbling: 5s, out: {n: count, s: {sum: n}}}}]",
};

// The other setting of each.
static const char *const OTHERS[] = {
    "[{window: {name: w, hopping: {size: 10s, slide: 1s}, out: {n: count}}}]",
    "[{parse: {name: p, format: json, fields: {ad_id: string, event_type: string, ip_address: string, "
    "page_id: string, user_id: string}}}, {filter: {name: f, where: \"event_type == 'view' and "
    "ip_address != 'none' and page_id != user_id\"}}, {window: {name: w, tumbling: 10s, out: {n: count}}}]",
    "[{parse: {name: p, format: json, fields: {kind: string, n: int}}}, "
    "{filter: {name: f, where: \"kind != 'none'\"}}, "
    "{window: {name: w, tumbling: 5s, out: {n: count, s: {sum: n}}}}]",
};

struct answer {
    double predicted, low, high, truth;
};

struct fidelity {
    struct shadow_run run;
    struct arena arena; // of the candidate's configuration
    struct stage candidate;
    struct shadow_measures base, other, half, full;
    int workload, skew;
};

// --- input ---

static void add_record(struct feed *feed, int workload, int64_t key, int64_t n)
{
    char text[YSB_JSON_BYTES_MAX + 64];
    char name[32];
    int64_t time_ms = 1000000 + n / FIDELITY_A_MS;
    int key_len = snprintf(name, sizeof name, "k%07lld", (long long)key);
    int len = 2;
    text[0] = '{';
    text[1] = '}';
    if (workload == 1) {
        struct ysb_options options = {
            .seed = 1, .rate = FIDELITY_A_MS * 1000, .campaigns = 100, .ads_per_campaign = 10};
        struct ysb_event event;
        ysb_event(&options, n, &event);
        len = ysb_json(&options, &event, text);
    } else if (workload == 2) {
        len = snprintf(text, sizeof text, "{\"kind\":\"%s\",\"n\":%lld,\"agent\":\"Mozilla/5.0\"}",
                       n % 3 == 0 ? "view" : "buy", (long long)(n % 1000));
    }
    feed_add(feed, (struct str){.ptr = name, .len = key_len}, (struct str){.ptr = text, .len = len},
             time_ms);
}

static void make_feed(struct fidelity *f, uint64_t seed)
{
    char text[64];
    struct key_chooser chooser;
    struct rng rng;
    rng_init(&rng, seed);
    IGNORE_RESULT(snprintf(text, sizeof text, "zipf:%.1f:1000000", SKEWS[f->skew])); // fits
    CHECK(key_chooser_parse(str_of(text), &chooser, NULL) == ERR_OK);
    feed_init(&f->run.feed, 0);
    for (int64_t n = 0; n < FIDELITY_RECORDS; n++) {
        add_record(&f->run.feed, f->workload, key_chooser_draw(&chooser, &rng, 0), n);
        if ((n + 1) % FIDELITY_BATCH == 0) {
            feed_flush(&f->run.feed);
        }
    }
    feed_flush(&f->run.feed);
}

// --- runs of the engine ---

static void write_yaml(char yaml[FIDELITY_YAML_MAX], const char *chain, int partitions)
{
    int len = snprintf(
        yaml, FIDELITY_YAML_MAX,
        "version: 1\nstreams: {in: {shards: 1, time: {out_of_order: 0s}}, out: {shards: 1}}\n"
        "pipelines:\n  p:\n    commit: 50ms\n    memory: 4GiB\n    stages:\n"
        "      - {name: s, from: in, partitions: %d, chain: %s, to: out}\n",
        partitions, chain);
    CHECK(len < FIDELITY_YAML_MAX);
}

static enum err open_run(struct fidelity *f, const char *chain, int partitions,
                         struct err_info *info)
{
    char yaml[FIDELITY_YAML_MAX];
    struct engine_options options = {.sync = LOG_UNSYNCED,
                                     .threads = true,
                                     .shadows = true,
                                     .shadows_normal = true,
                                     .lane_core = 1,
                                     .shadow_core = 2,
                                     .other_core = 2};
    write_yaml(yaml, chain, partitions);
    return shadow_run_open(&f->run, &options, yaml, info);
}

// Up to `end` records in all, a few at a time.
static enum err append_up_to(struct fidelity *f, int64_t end, bool paced, struct err_info *info)
{
    enum err err = ERR_OK;
    while (f->run.appended < end && err == ERR_OK) {
        err = shadow_run_append(&f->run, info);
        if (paced) {
            clock_real_sleep(FIDELITY_WAIT_NS);
        }
    }
    return err;
}

// Work cost of the first partition over the measured stretch; with `ret_rate`, of reading and work at full speed.
static enum err really(struct fidelity *f, const char *chain, int partitions, bool paced,
                       double *ret_work_ns, double *ret_rate, struct err_info *info)
{
    struct shadow_run_figures before, after;
    enum err err = open_run(f, chain, partitions, info);
    err = err == ERR_OK ? append_up_to(f, FIDELITY_WARM, paced, info) : err;
    if (err == ERR_OK) {
        shadow_run_wait(&f->run);
        shadow_run_look(&f->run, &before);
        err = append_up_to(f, FIDELITY_RECORDS, paced, info);
    }
    if (err == ERR_OK) {
        shadow_run_wait(&f->run);
        shadow_run_look(&f->run, &after);
        double records = (double)(after.first.records_in - before.first.records_in);
        double work = (double)(after.first.work_cpu_ns - before.first.work_cpu_ns);
        double read = (double)(after.first.read_cpu_ns - before.first.read_cpu_ns);
        *ret_work_ns = work / records;
        *ret_rate = records * 1e9 / (work + read);
    }
    shadow_run_close(&f->run);
    return err;
}

// --- predictions ---

static double cost_of(const struct shadow_measures *m, int64_t skipped)
{
    double ns = 0, rows = 0;
    for (int32_t k = 0; k < m->groups.count; k++) {
        if (m->groups.first + k != skipped) {
            ns += (double)m->groups.group[k].work_ns;
            rows += (double)m->groups.group[k].rows;
        }
    }
    return rows > 0 ? ns / rows : 0;
}

// For a row looked at.
static double cost_of_reading(const struct shadow_measures *m)
{
    return (double)m->read.cpu_ns / (double)m->read.rows_in;
}

// Ratio of two twins' costs and its interval: jackknife over the groups that both have.
static void ratio_of(const struct shadow_measures *a, const struct shadow_measures *b, double scale,
                     struct answer *answer)
{
    double whole = cost_of(a, -1) / cost_of(b, -1);
    double sum = 0, squares = 0;
    int32_t count = 0;
    for (int64_t k = a->groups.first; k < a->groups.first + a->groups.count; k++) {
        double without = cost_of(a, k) / cost_of(b, k);
        if (a->groups.shift == b->groups.shift && isfinite(without)) {
            sum += without;
            squares += without * without;
            count++;
        }
    }
    double spread = 0;
    if (count > 1) {
        double variance = squares / count - (sum / count) * (sum / count);
        spread = 1.96 * sqrt(variance > 0 ? variance * (count - 1) : 0);
    }
    answer->predicted = scale * whole;
    answer->low = scale * (whole - spread);
    answer->high = scale * (whole + spread);
}

static enum err start_twins(struct fidelity *f, struct err_info *info)
{
    struct shadow_spec spec = {
        .id = 1,
        .group_hi = KEY_GROUP_COUNT,
        .flags = SHADOW_NO_PROBES,
        .sample = {.below = SAMPLE_BUCKETS * FIDELITY_PERCENT / 100, .requested = 0.1},
        .warm_until = {0, 0},
        .warm_batches = 8,
    };
    enum err err = shadow_run_start_shadow(&f->run, &spec, info);
    spec.id = 2;
    spec.candidate = &f->candidate;
    err = err == ERR_OK ? shadow_run_start_shadow(&f->run, &spec, info) : err;
    spec.id = 3;
    spec.candidate = NULL;
    spec.group_hi = KEY_GROUP_COUNT / 2;
    err = err == ERR_OK ? shadow_run_start_shadow(&f->run, &spec, info) : err;
    spec.id = 4;
    spec.group_hi = KEY_GROUP_COUNT;
    spec.feed = SHADOW_BACKLOG;
    return err == ERR_OK ? shadow_run_start_shadow(&f->run, &spec, info) : err;
}

static void end_twins(struct fidelity *f)
{
    do {
        clock_real_sleep(FIDELITY_WAIT_NS);
        shadow_run_measure(&f->run, 4, &f->full); // the last to have drained
    } while (f->full.lag_records > 0);
    shadow_run_end_shadow(&f->run, 1, &f->base);
    shadow_run_end_shadow(&f->run, 2, &f->other);
    shadow_run_end_shadow(&f->run, 3, &f->half);
    shadow_run_end_shadow(&f->run, 4, &f->full);
}

static enum err make_candidate(struct fidelity *f, struct err_info *info)
{
    char yaml[FIDELITY_YAML_MAX];
    const struct config *config = NULL;
    write_yaml(yaml, OTHERS[f->workload], 1);
    arena_reset(&f->arena);
    enum err err = config_load(&f->arena, "other.yaml", str_of(yaml), &config, info);
    if (err != ERR_OK) {
        return err;
    }
    return shadow_candidate_stage(node_runtime_stage(f->run.engine.runtime, 0),
                                  config->pipelines[0]->stages[0], true, &f->candidate, info);
}

static enum err predict(struct fidelity *f, struct answer answers[FIDELITY_QUESTIONS],
                        struct err_info *info)
{
    struct shadow_run_figures before = {0}, after;
    enum err err = open_run(f, CHAINS[f->workload], 1, info);
    err = err == ERR_OK ? make_candidate(f, info) : err;
    err = err == ERR_OK ? append_up_to(f, FIDELITY_WARM, true, info) : err;
    if (err == ERR_OK) {
        shadow_run_wait(&f->run);
        shadow_run_look(&f->run, &before);
        err = start_twins(f, info);
    }
    err = err == ERR_OK ? append_up_to(f, FIDELITY_RECORDS, true, info) : err;
    if (err == ERR_OK) {
        shadow_run_wait(&f->run);
        shadow_run_look(&f->run, &after);
        end_twins(f);
        double records = (double)(after.first.records_in - before.first.records_in);
        double work = (double)(after.first.work_cpu_ns - before.first.work_cpu_ns) / records;
        double read = (double)(after.first.read_cpu_ns - before.first.read_cpu_ns) / records;
        ratio_of(&f->other, &f->base, work, &answers[QUESTION_SETTING]);
        ratio_of(&f->half, &f->base, work, &answers[QUESTION_HALF]);
        struct answer cost;
        ratio_of(&f->full, &f->base, work, &cost);
        double full_read = read * cost_of_reading(&f->full) / cost_of_reading(&f->base);
        answers[QUESTION_RATE] = (struct answer){.predicted = 1e9 / (full_read + cost.predicted),
                                                 .low = 1e9 / (full_read + cost.high),
                                                 .high = 1e9 / (full_read + cost.low)};
    }
    shadow_run_close(&f->run);
    return err;
}

static enum err run_one(struct fidelity *f, uint64_t seed,
                        struct answer answers[FIDELITY_QUESTIONS], struct err_info *info)
{
    double work_ns = 0, rate = 0;
    make_feed(f, seed);
    enum err err = predict(f, answers, info);
    err = err == ERR_OK ? really(f, OTHERS[f->workload], 1, true, &answers[QUESTION_SETTING].truth,
                                 &rate, info)
                        : err;
    err = err == ERR_OK
              ? really(f, CHAINS[f->workload], 2, true, &answers[QUESTION_HALF].truth, &rate, info)
              : err;
    err = err == ERR_OK ? really(f, CHAINS[f->workload], 1, false, &work_ns,
                                 &answers[QUESTION_RATE].truth, info)
                        : err;
    shadow_run_release(&f->run);
    return err;
}

// --- telling ---

struct tally {
    double errors[FIDELITY_RUNS_MAX];
    int32_t count;
};

static void count_answer(struct tally *tally, const struct answer *answer)
{
    tally->errors[tally->count++] = fabs(answer->predicted / answer->truth - 1) * 100;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static const char *named(const char *a, const char *b, const char *c)
{
    static char names[BENCH_FIGURES_MAX][96];
    static int used;
    char *name = names[used++ % BENCH_FIGURES_MAX];
    IGNORE_RESULT(snprintf(name, sizeof names[0], "%s, %s: %s", a, b, c)); // may be cut
    return name;
}

static void tell_error(struct bench_result *result, const char *a, const char *b,
                       struct tally *tally)
{
    qsort(tally->errors, (size_t)tally->count, sizeof tally->errors[0], by_value);
    bench_add_figure(result, named(a, b, "median error"), "%", tally->errors[tally->count / 2],
                     FIDELITY_BOUND_PERCENT);
}

static enum err fidelity_measure(const struct bench_options *options, struct bench_result *result,
                                 struct err_info *info)
{
    struct fidelity *f = MEM_NEW(struct fidelity);
    struct tally *by_workload =
        MEM_NEW_ARRAY(struct tally, FIDELITY_WORKLOADS * FIDELITY_QUESTIONS);
    struct tally *by_skew = MEM_NEW_ARRAY(struct tally, FIDELITY_SKEWS * FIDELITY_QUESTIONS);
    int32_t runs = 0, covered[FIDELITY_QUESTIONS] = {0};
    int32_t seeds = options->pairs < 8 ? options->pairs : 8;
    enum err err = ERR_OK;
    arena_init(&f->arena, 64 << 20);
    shadow_run_init(&f->run);
    for (int i = 0; i < seeds * FIDELITY_WORKLOADS * FIDELITY_SKEWS && err == ERR_OK; i++) {
        struct answer answers[FIDELITY_QUESTIONS] = {{0}};
        f->workload = i % FIDELITY_WORKLOADS;
        f->skew = i / FIDELITY_WORKLOADS % FIDELITY_SKEWS;
        err = run_one(f, options->seed + (uint64_t)i, answers, info);
        for (int q = 0; q < FIDELITY_QUESTIONS && err == ERR_OK; q++) {
            count_answer(&by_workload[f->workload * FIDELITY_QUESTIONS + q], &answers[q]);
            count_answer(&by_skew[f->skew * FIDELITY_QUESTIONS + q], &answers[q]);
            covered[q] += answers[q].truth >= answers[q].low && answers[q].truth <= answers[q].high;
        }
        runs++;
    }
    for (int k = 0; k < FIDELITY_WORKLOADS * FIDELITY_QUESTIONS && err == ERR_OK; k++) {
        tell_error(result, QUESTIONS[k % FIDELITY_QUESTIONS], WORKLOADS[k / FIDELITY_QUESTIONS],
                   &by_workload[k]);
    }
    static const char *const zipf[] = {"Zipf 0.5", "Zipf 1.0", "Zipf 1.5"};
    for (int k = 0; k < FIDELITY_SKEWS * FIDELITY_QUESTIONS && err == ERR_OK; k++) {
        tell_error(result, QUESTIONS[k % FIDELITY_QUESTIONS], zipf[k / FIDELITY_QUESTIONS],
                   &by_skew[k]);
    }
    for (int q = 0; q < FIDELITY_QUESTIONS && err == ERR_OK; q++) {
        bench_add_figure(result, named(QUESTIONS[q], "all", "intervals that miss"), "%",
                         100.0 * (runs - covered[q]) / runs, FIDELITY_BOUND_PERCENT);
    }
    arena_release(&f->arena);
    mem_free(by_workload);
    mem_free(by_skew);
    mem_free(f);
    return err;
}

const struct bench_row bench_fidelity = {
    .name = "fidelity",
    .engine = "what a shadow of a tenth predicts, against the primary after really doing it",
    .only_named = true,
    .measure = fidelity_measure,
};
