// SPDX-License-Identifier: Apache-2.0
// What a shadow of a tenth of the records predicts, against the same measured on the primary after really doing it: the work
// cost of a record under another setting, in half of the range, and the rate when input never runs dry. The prediction is the
// primary's own cost times the ratio of twins on the same sample, stratum by stratum (prm/predict.h): of the keys by hash, and
// of the heavy keys, in a burst. Three workloads (the counting stage of Nexmark's q5, YSB's views, clicks), their key one of a
// million by Zipf 0.5, 1.0, 1.5.
//
// What was really done runs beside the pipeline as it is, each in an engine of its own, a slice of the same records in turn: a
// machine that is faster or slower from one moment to the next is no error of a prediction. The pipeline as it is runs twice:
// what those two differ by is what no prediction can know, and what its interval has to allow for (PREDICT_SCATTER).

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "bench/bench.h"
#include "bench/rows.h"
#include "bench/shadow_run.h"
#include "control/shadows.h"
#include "load/keys.h"
#include "load/ysb.h"
#include "prm/predict.h"

enum {
    FIDELITY_BATCH = 400,
    FIDELITY_A_MS = 5, // records a millisecond of event time
    FIDELITY_YAML_MAX = 1024,
    FIDELITY_PERCENT = 10,
    FIDELITY_SPAN_MAX_MS = 10000,
    FIDELITY_WORKLOADS = 3,
    FIDELITY_SKEWS = 3,
    FIDELITY_QUESTIONS = 3,
    FIDELITY_ROUNDS = 2,
    FIDELITY_SLICE = 10000, // records
    FIDELITY_RUNS_MAX = 90,
    // of all, by workload, by skew; of each question
    TALLIES = (1 + FIDELITY_WORKLOADS + FIDELITY_SKEWS) * FIDELITY_QUESTIONS,
    FIDELITY_WAIT_NS = 500000,
    FIDELITY_HOLD_NS = 100000,
    FIDELITY_GATHER_NS = 200000000
};

#define FIDELITY_BOUND_PERCENT 10.0
#define FIDELITY_HEAVY_MIN     (1.0 / 512) // of the records: as shadows name keys

enum question { QUESTION_SETTING, QUESTION_HALF, QUESTION_RATE };

static const char *const QUESTIONS[] = {"another setting", "half the range", "full rate"};
// Records: where shadows open; where measuring begins, when also windows of a candidate that began without state are full; up to
// where it is really done, which are whole windows; all. A shadow lives for minutes, and a tenth of two minutes says little
// else: of 35 s of event time its answers scattered by 10 to 25 %, what was really done by 3.
static const int64_t WARM[] = {60000, 60000, 60000};
static const int64_t MEASURE[] = {120000, 90000, 90000};
static const int64_t REALLY[] = {240000, 240000, 240000};
static const int64_t RECORDS[] = {720000, 720000, 720000};
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

// The shadows of a prediction: of keys by hash, then of the heavy keys. They are fed from backlog, so that each drains many
// batches one behind the other, as the primary does: what a batch costs a shadow that follows is mostly what the others on its
// core have put out of the caches since the one before. That is also why the full rate is told from the primary's own costs:
// a follower against one that drains was 17 % too much for what draining does to the primary.
enum {
    TWIN_BASE = 1,
    TWIN_OTHER,
    TWIN_HALF,
    TWIN_HEAVY,
    TWIN_HEAVY_OTHER,
    TWIN_HEAVY_HALF,
    TWIN_COUNT
};

// What is really done, each in an engine of its own.
enum side { SIDE_AS_IS, SIDE_AGAIN, SIDE_OTHER, SIDE_HALF, SIDE_FULL, SIDE_COUNT };

// What a primary has done over the measured stretch.
struct stretch {
    double work_ns, read_ns; // a record
};

struct fidelity {
    struct shadow_run run;
    struct shadow_run sides[SIDE_COUNT];
    struct arena arena; // of the candidate's configuration
    struct stage candidate;
    struct shadow_measures measures[TWIN_COUNT];
    struct partition_detail detail;
    uint32_t group_counts[KEY_GROUP_COUNT];
    struct shadow_sample by_hash, heavy;
    double heavy_share, heavy_share_of_half; // of the records
    struct twin_looks hashed, named;
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
    for (int64_t n = 0; n < RECORDS[f->workload]; n++) {
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

static enum err open_run(struct shadow_run *run, const char *chain, int partitions,
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
    return shadow_run_open(run, &options, yaml, info);
}

// A lane that is held steps nothing: what is appended meanwhile is a backlog, which it then drains with nobody beside it.
static atomic_bool held; // the lane of the side at its full rate

static int64_t step_unless_held(void *lane, int64_t now_ns)
{
    return atomic_load(&held) ? now_ns + FIDELITY_HOLD_NS : lane_step(lane, now_ns);
}

// Up to `end` records in all, a few at a time.
static enum err append_up_to(struct shadow_run *run, int64_t end, bool paced, struct err_info *info)
{
    enum err err = ERR_OK;
    while (run->appended < end && err == ERR_OK) {
        err = shadow_run_append(run, info);
        if (paced) {
            clock_real_sleep(FIDELITY_WAIT_NS);
        }
    }
    return err;
}

static struct stretch stretch_of(const struct shadow_run_figures *before,
                                 const struct shadow_run_figures *after)
{
    const struct partition_figures *a = &after->first, *b = &before->first;
    double records = (double)(a->records_in - b->records_in);
    return (struct stretch){.work_ns = (double)(a->work_cpu_ns - b->work_cpu_ns) / records,
                            .read_ns = (double)(a->read_cpu_ns - b->read_cpu_ns) / records};
}

static enum err open_side(struct fidelity *f, enum side side, struct err_info *info)
{
    struct shadow_run *run = &f->sides[side];
    const char *chain = side == SIDE_OTHER ? OTHERS[f->workload] : CHAINS[f->workload];
    shadow_run_init(run);
    run->feed = f->run.feed; // the same bytes; its place is its own
    run->step_lane = side == SIDE_FULL ? step_unless_held : NULL;
    enum err err = open_run(run, chain, side == SIDE_HALF ? 2 : 1, info);
    err = err == ERR_OK ? append_up_to(run, MEASURE[f->workload], true, info) : err;
    if (err == ERR_OK) {
        shadow_run_wait(run);
    }
    return err;
}

static enum err run_slice(struct fidelity *f, enum side side, int64_t end, struct err_info *info)
{
    struct shadow_run *run = &f->sides[side];
    atomic_store(&held, side == SIDE_FULL);
    enum err err = append_up_to(run, end, side != SIDE_FULL, info);
    atomic_store(&held, false);
    if (err == ERR_OK) {
        shadow_run_wait_taken(run);
    }
    return err;
}

// What a record costs the first partition of each side.
static enum err really(struct fidelity *f, struct stretch ret_stretches[SIDE_COUNT],
                       struct err_info *info)
{
    struct shadow_run_figures before[SIDE_COUNT], after;
    enum err err = ERR_OK;
    int opened = 0;
    for (; opened < SIDE_COUNT && err == ERR_OK; opened++) {
        err = open_side(f, (enum side)opened, info);
        if (err == ERR_OK) {
            shadow_run_look(&f->sides[opened], &before[opened]);
        }
    }
    int64_t slices = (REALLY[f->workload] - MEASURE[f->workload]) / FIDELITY_SLICE;
    for (int64_t k = 0; k < slices && err == ERR_OK; k++) {
        for (int i = 0; i < SIDE_COUNT && err == ERR_OK; i++) {
            enum side side = (enum side)((k + i) % SIDE_COUNT);
            err = run_slice(f, side, MEASURE[f->workload] + (k + 1) * FIDELITY_SLICE, info);
        }
    }
    for (int i = 0; i < SIDE_COUNT && err == ERR_OK; i++) {
        shadow_run_wait(&f->sides[i]);
        shadow_run_look(&f->sides[i], &after);
        ret_stretches[i] = stretch_of(&before[i], &after);
    }
    for (int i = 0; i < opened; i++) {
        shadow_run_close(&f->sides[i]);
    }
    return err;
}

// --- the sample ---

// Which keys are heavy, and what share of the records they are, in the whole range and in its lower half.
static void choose_sample(struct fidelity *f)
{
    f->detail.group_counts = f->group_counts;
    shadow_run_look_at_keys(&f->run, &f->detail);
    double all = 0, low = 0, heavy = 0, heavy_low = 0;
    for (uint32_t g = 0; g < KEY_GROUP_COUNT; g++) {
        all += f->group_counts[g];
        low += g < KEY_GROUP_COUNT / 2 ? f->group_counts[g] : 0;
    }
    f->heavy = f->by_hash = (struct shadow_sample){.by = SHADOW_BY_KEY};
    for (int32_t i = 0; i < f->detail.heavy_count && f->heavy.heavy_count < SHADOW_HEAVY_MAX; i++) {
        const struct heavy_entry *top = &f->detail.heavy[i];
        double sampled = (double)f->detail.heavy_sampled;
        if ((double)(top->count - top->error) < FIDELITY_HEAVY_MIN * sampled) {
            continue;
        }
        double share = ((double)top->count - (double)top->error / 2) / sampled;
        f->heavy.heavy[f->heavy.heavy_count++] = top->hash;
        f->by_hash.left[f->by_hash.left_count++] = top->hash;
        heavy += share;
        heavy_low += key_group_of(top->hash) < KEY_GROUP_COUNT / 2 ? share : 0;
    }
    f->heavy_share = heavy;
    f->heavy_share_of_half = heavy_low * all < low ? heavy_low * all / low : 1;
    // A tenth of the records, as a shadow is told: of those that are not of heavy keys so much a larger share.
    double share = FIDELITY_PERCENT / 100.0 / (heavy < 1 ? 1 - heavy : 1);
    f->by_hash.below = (uint32_t)(SAMPLE_BUCKETS * (share < 1 ? share : 1));
    f->by_hash.requested = FIDELITY_PERCENT / 100.0;
    shadow_sample_by_groups(0, KEY_GROUP_COUNT, &f->by_hash);
}

static enum err start_twins(struct fidelity *f, struct err_info *info)
{
    enum err err = ERR_OK;
    choose_sample(f);
    for (int id = TWIN_BASE; id < TWIN_COUNT && err == ERR_OK; id++) {
        bool heavy = id >= TWIN_HEAVY, half = id == TWIN_HALF || id == TWIN_HEAVY_HALF;
        struct shadow_spec spec = {
            .id = (uint64_t)id,
            .candidate = id == TWIN_OTHER || id == TWIN_HEAVY_OTHER ? &f->candidate : NULL,
            .group_hi = half ? KEY_GROUP_COUNT / 2 : KEY_GROUP_COUNT,
            .sample = heavy ? f->heavy : f->by_hash,
            .flags = SHADOW_NO_PROBES,
            .feed = SHADOW_BACKLOG,
            .batch_rows = half ? FIDELITY_BATCH / 2 : FIDELITY_BATCH,
            .backlog_wait_ns = FIDELITY_GATHER_NS,
            .warm_until = {0, 0},
            .warm_batches = 8,
            .warm_span_ms_max = FIDELITY_SPAN_MAX_MS,
        };
        if (!heavy || f->heavy.heavy_count > 0) {
            err = shadow_run_start_shadow(&f->run, &spec, info);
        }
    }
    return err;
}

static void end_twins(struct fidelity *f)
{
    for (int id = TWIN_BASE; id < TWIN_COUNT; id++) {
        struct shadow_measures *m = &f->measures[id];
        if (id >= TWIN_HEAVY && f->heavy.heavy_count == 0) {
            *m = (struct shadow_measures){.id = 0};
            continue;
        }
        do {
            clock_real_sleep(FIDELITY_WAIT_NS);
            shadow_run_measure(&f->run, (uint64_t)id, m);
        } while (m->lag_records > 0);
        shadow_run_end_shadow(&f->run, (uint64_t)id, m);
    }
}

// --- predictions ---

// A subject in both strata.
struct compared {
    int subject, heavy_subject;
    double heavy_then; // the share of heavy keys
};

// The primary's cost times what twins say of it.
static struct answer predicted(struct fidelity *f, double cost_ns, const struct compared *c)
{
    struct predict_stratum strata[] = {
        {.twins = &f->hashed, .share_now = 1 - f->heavy_share, .share_then = 1 - c->heavy_then},
        {.twins = &f->named, .share_now = f->heavy_share, .share_then = c->heavy_then}};
    const struct shadow_measures *m = f->measures;
    twin_init(&f->hashed);
    twin_init(&f->named);
    shadow_pairs(&m[c->subject].groups, &m[TWIN_BASE].groups, NULL, &f->hashed);
    shadow_pairs(&m[c->heavy_subject].groups, &m[TWIN_HEAVY].groups, NULL, &f->named);
    struct estimate ratio = predict_ratio(strata, 2, LOOKS_CONFIDENCE);
    struct estimate cost = {cost_ns, cost_ns, cost_ns, ratio.n}; // of the very same records
    struct estimate all = predict_product(cost, ratio, PREDICT_SCATTER, LOOKS_CONFIDENCE);
    return (struct answer){.predicted = all.value, .low = all.low, .high = all.high};
}

static void answer_all(struct fidelity *f, const struct stretch *now,
                       struct answer answers[FIDELITY_QUESTIONS])
{
    struct compared other = {TWIN_OTHER, TWIN_HEAVY_OTHER, f->heavy_share};
    struct compared half = {TWIN_HALF, TWIN_HEAVY_HALF, f->heavy_share_of_half};
    double cost_ns = now->read_ns + now->work_ns;
    struct estimate all = predict_scattered((struct estimate){cost_ns, cost_ns, cost_ns, 1},
                                            PREDICT_SCATTER, LOOKS_CONFIDENCE);
    answers[QUESTION_SETTING] = predicted(f, now->work_ns, &other);
    answers[QUESTION_HALF] = predicted(f, now->work_ns, &half);
    answers[QUESTION_RATE] =
        (struct answer){.predicted = 1e9 / all.value, .low = 1e9 / all.high, .high = 1e9 / all.low};
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
                        struct stretch *ret_now, struct err_info *info)
{
    struct shadow_run_figures before = {0}, after;
    enum err err = open_run(&f->run, CHAINS[f->workload], 1, info);
    err = err == ERR_OK ? make_candidate(f, info) : err;
    err = err == ERR_OK ? append_up_to(&f->run, WARM[f->workload], true, info) : err;
    if (err == ERR_OK) {
        shadow_run_wait(&f->run);
        err = start_twins(f, info);
    }
    err = err == ERR_OK ? append_up_to(&f->run, MEASURE[f->workload], true, info) : err;
    if (err == ERR_OK) {
        shadow_run_wait(&f->run);
        shadow_run_look(&f->run, &before);
    }
    err = err == ERR_OK ? append_up_to(&f->run, RECORDS[f->workload], true, info) : err;
    if (err == ERR_OK) {
        shadow_run_wait(&f->run);
        shadow_run_look(&f->run, &after);
        end_twins(f);
        *ret_now = stretch_of(&before, &after);
        answer_all(f, ret_now, answers);
    }
    shadow_run_close(&f->run);
    return err;
}

// The mean, over the rounds, of the logarithm of a side's cost against that of the pipeline as it is beside it.
static double log_cost(struct stretch rounds[FIDELITY_ROUNDS][SIDE_COUNT], enum side side)
{
    double sum = 0;
    for (int i = 0; i < FIDELITY_ROUNDS; i++) {
        double read = side == SIDE_FULL ? 1 : 0; // of a rate reading is a part
        const struct stretch *as_is = &rounds[i][SIDE_AS_IS], *other = &rounds[i][side];
        sum += log((other->work_ns + read * other->read_ns) /
                   (as_is->work_ns + read * as_is->read_ns));
    }
    return sum / FIDELITY_ROUNDS;
}

static enum err do_it(struct fidelity *f, const struct stretch *now,
                      struct answer answers[FIDELITY_QUESTIONS], double *ret_again,
                      struct err_info *info)
{
    struct stretch rounds[FIDELITY_ROUNDS][SIDE_COUNT];
    enum err err = ERR_OK;
    for (int i = 0; i < FIDELITY_ROUNDS && err == ERR_OK; i++) {
        err = really(f, rounds[i], info);
    }
    if (err == ERR_OK) {
        double full = exp(log_cost(rounds, SIDE_FULL));
        answers[QUESTION_SETTING].truth = now->work_ns * exp(log_cost(rounds, SIDE_OTHER));
        answers[QUESTION_HALF].truth = now->work_ns * exp(log_cost(rounds, SIDE_HALF));
        answers[QUESTION_RATE].truth = 1e9 / ((now->work_ns + now->read_ns) * full);
        *ret_again = log_cost(rounds, SIDE_AGAIN);
    }
    return err;
}

static enum err run_one(struct fidelity *f, uint64_t seed,
                        struct answer answers[FIDELITY_QUESTIONS], double *ret_again,
                        struct err_info *info)
{
    struct stretch now;
    make_feed(f, seed);
    enum err err = predict(f, answers, &now, info);
    err = err == ERR_OK ? do_it(f, &now, answers, ret_again, info) : err;
    shadow_run_release(&f->run);
    return err;
}

// --- telling ---

struct tally {
    double errors[FIDELITY_RUNS_MAX]; // percent
    double signed_sum;
    int32_t count, missed; // missed: by their intervals
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void count_answer(struct tally *tally, const struct answer *answer)
{
    double error = (answer->predicted / answer->truth - 1) * 100;
    tally->errors[tally->count++] = fabs(error);
    tally->signed_sum += error;
    tally->missed += !(answer->truth >= answer->low && answer->truth <= answer->high);
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

static void tell(struct bench_result *result, struct tally tallies[TALLIES], double squares)
{
    static const char *const of[] = {"all",      "q5",       "ysb",     "clicks",
                                     "Zipf 0.5", "Zipf 1.0", "Zipf 1.5"};
    for (int k = 0; k < TALLIES && tallies[k].count > 0; k++) {
        tell_error(result, QUESTIONS[k % FIDELITY_QUESTIONS], of[k / FIDELITY_QUESTIONS],
                   &tallies[k]);
    }
    for (int q = 0; q < FIDELITY_QUESTIONS; q++) {
        const struct tally *all = &tallies[q];
        bench_add_figure(result, named(QUESTIONS[q], "all", "mean error, with its sign"), "%",
                         all->signed_sum / all->count, NAN);
        bench_add_figure(result, named(QUESTIONS[q], "all", "95 % intervals that miss"), "%",
                         100.0 * all->missed / all->count, FIDELITY_BOUND_PERCENT);
    }
    bench_add_figure(result, "two runs of the same differ by, as a standard error", "%",
                     100 * sqrt(squares / tallies[0].count), NAN);
    bench_add_figure(result, "runs", "", tallies[0].count, NAN);
}

static enum err fidelity_measure(const struct bench_options *options, struct bench_result *result,
                                 struct err_info *info)
{
    struct fidelity *f = MEM_NEW(struct fidelity);
    struct tally *tallies = MEM_NEW_ARRAY(struct tally, TALLIES);
    double squares = 0;
    int32_t runs = options->pairs < FIDELITY_RUNS_MAX ? options->pairs : FIDELITY_RUNS_MAX;
    enum err err = ERR_OK;
    arena_init(&f->arena, 64 << 20);
    shadow_run_init(&f->run);
    for (int i = 0; i < runs && err == ERR_OK; i++) {
        struct answer answers[FIDELITY_QUESTIONS] = {{0}};
        double again = 0;
        f->workload = i % FIDELITY_WORKLOADS;
        f->skew = i / FIDELITY_WORKLOADS % FIDELITY_SKEWS;
        err = run_one(f, options->seed + (uint64_t)i, answers, &again, info);
        for (int q = 0; q < FIDELITY_QUESTIONS && err == ERR_OK; q++) {
            count_answer(&tallies[q], &answers[q]);
            count_answer(&tallies[(1 + f->workload) * FIDELITY_QUESTIONS + q], &answers[q]);
            count_answer(&tallies[(1 + FIDELITY_WORKLOADS + f->skew) * FIDELITY_QUESTIONS + q],
                         &answers[q]);
        }
        squares += again * again;
    }
    if (err == ERR_OK) {
        tell(result, tallies, squares);
    }
    arena_release(&f->arena);
    mem_free(tallies);
    mem_free(f);
    return err;
}

const struct bench_row bench_fidelity = {
    .name = "fidelity",
    .engine = "what a shadow of a tenth predicts, against the primary after really doing it",
    .only_named = true,
    .measure = fidelity_measure,
};
