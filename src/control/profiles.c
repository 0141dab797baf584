// SPDX-License-Identifier: Apache-2.0
/* From measures to a profile, and the profile as JSON: what limits, by how much, what a split could do, how sure all of it is.
 * The page is a row of the shadow and lists: answers in words, operators, figures, heavy keys, steps, results that
 * differ. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "control/shadows_priv.h"
#include "pipeline/time_text.h"

enum { FIGURES_MAX = 40, ANSWERS_MAX = 8, KEYS_SHOWN = 10, ANSWER_TEXT_MAX = 320 };
#define NOT_KNOWN       ((double)NAN)
#define HEAVY_SHARE_MIN (1.0 / 512)
#define STARVED_TOLD    0.1 /* of its time without a processor: below, nobody needs to know */

static const struct estimate none = {.value = NOT_KNOWN, .low = NOT_KNOWN, .high = NOT_KNOWN};

/* --- measures to profile --- */

static struct profile_counters counters_of(const struct shadow_side *side,
                                           struct operator_counters *ops)
{
    const struct shadow_measures *m = side->measures;
    for (int32_t i = 0; i < m->operator_count; i++) {
        const struct probe *probe = &side->operators[i].probe;
        ops[i] = (struct operator_counters){.rows_in = probe->moments.rows_in,
                                            .rows_out = probe->moments.rows_out,
                                            .latency = &probe->batch_ns};
    }
    return (struct profile_counters){.rows_in = m->work.rows_in,
                                     .bytes_in = m->work.bytes_in,
                                     .rows_out = m->results,
                                     .bytes_out = m->result_bytes,
                                     .operator_count = m->operator_count,
                                     .operators = ops};
}

/* Whole groups of the present sample; the first and the last may be cut short. */
static void add_groups(struct shadow_run *run)
{
    const struct shadow_side *side = &run->sides[SHADOW_SUBJECT];
    const struct shadow_groups *groups = &side->measures->groups;
    double rows[PROFILE_OPERATORS_MAX], ns[PROFILE_OPERATORS_MAX];
    profile_begin_sample(&run->looks);
    for (int32_t g = 1; g + 1 < groups->count; g++) {
        const struct shadow_group *group = &groups->group[g];
        for (int32_t i = 0; i < side->measures->operator_count; i++) {
            rows[i] = (double)side->operators[i].groups[g].rows;
            ns[i] = (double)side->operators[i].groups[g].ns;
        }
        if (group->rows > 0) {
            profile_add_group(&run->looks,
                              &(struct profile_group){.rows = (double)group->rows,
                                                      .rows_out = (double)group->rows_out,
                                                      .work_ns = (double)group->work_ns,
                                                      .read_ns = (double)group->read_ns,
                                                      .operator_rows = rows,
                                                      .operator_ns = ns});
        }
    }
}

/* What came of offsets [at << shift, (at + 1) << shift), shift being the groups' own or larger; false: not all of it is
 * there. The first and the last group may be cut short. */
static bool stretch_of(const struct shadow_groups *groups, int64_t at, int32_t shift,
                       struct shadow_group *ret_sum)
{
    int64_t first = (at << (shift - groups->shift)) - groups->first;
    int64_t end = ((at + 1) << (shift - groups->shift)) - groups->first;
    if (first < 1 || end >= groups->count) {
        return false;
    }
    *ret_sum = (struct shadow_group){0};
    for (int64_t g = first; g < end; g++) {
        const struct shadow_group *group = &groups->group[g];
        ret_sum->rows += group->rows;
        ret_sum->work_ns += group->work_ns;
        ret_sum->close_ns += group->close_ns;
        ret_sum->closed_ms += group->closed_ms;
        ret_sum->time_ms += group->time_ms;
        ret_sum->heavy_rows += group->heavy_rows;
    }
    return true;
}

/* Without its heavy rows, if what one of them costs is known: `heavy_ns`, otherwise NULL. */
static struct twin_side side_of(const struct shadow_group *group, const double *heavy_ns)
{
    double heavy = heavy_ns != NULL ? (double)group->heavy_rows : 0;
    return (struct twin_side){.rows = (double)group->rows - heavy,
                              .cpu_ns = (double)group->work_ns -
                                        (heavy_ns != NULL ? heavy * *heavy_ns : 0),
                              .close_ns = (double)group->close_ns,
                              .closed_ms = (double)group->closed_ms,
                              .time_ms = (double)group->time_ms};
}

void shadow_pairs(const struct shadow_groups *own, const struct shadow_groups *baseline,
                  const double heavy_ns[2], struct twin_looks *twins)
{
    /* One that began earlier, or has joined its groups first, has larger ones. */
    int32_t shift = own->shift > baseline->shift ? own->shift : baseline->shift;
    int64_t end = (own->first + own->count) >> (shift - own->shift);
    struct shadow_group a, b;
    for (int64_t at = own->first >> (shift - own->shift); at < end; at++) {
        if (!stretch_of(own, at, shift, &a) || !stretch_of(baseline, at, shift, &b)) {
            continue;
        }
        struct twin_side subject = side_of(&a, heavy_ns);
        struct twin_side base = side_of(&b, heavy_ns != NULL ? &heavy_ns[1] : NULL);
        twin_add(twins, &subject, &base);
    }
}

/* What a record of a heavy key costs, of the subject [0] and the baseline [1]; false: not measured yet. */
static bool heavy_costs(const struct shadow_run *run, double ret_ns[2])
{
    const struct looks *looks = &run->burst.twins->looks;
    double sums[TWIN_COLUMNS];
    for (int32_t c = 0; c < TWIN_COLUMNS; c++) {
        sums[c] = looks_sum(looks, c);
    }
    ret_ns[0] = twin_cost_of(sums);
    ret_ns[1] = twin_cost_of(sums + TWIN_BASELINE);
    return isfinite(ret_ns[0]) && isfinite(ret_ns[1]);
}

/* Once heavy keys have been measured by themselves, the others' pairs are of the others alone. */
static void add_pairs(struct shadow_run *run)
{
    double heavy_ns[2];
    bool known = heavy_costs(run, heavy_ns);
    twin_begin(run->twins);
    shadow_pairs(&run->sides[SHADOW_SUBJECT].measures->groups,
                 &run->sides[SHADOW_BASELINE].measures->groups, known ? heavy_ns : NULL,
                 run->twins);
}

double profile_heavy_share(const struct shadow_run *run)
{
    const struct partition_detail *detail = &run->primary.detail;
    const struct shadow_sample *named = &run->burst.sample;
    double count = 0;
    for (int32_t i = 0; i < detail->heavy_count; i++) {
        for (int32_t k = 0; k < named->heavy_count; k++) {
            if (detail->heavy[i].hash == named->heavy[k]) {
                count += (double)detail->heavy[i].count - (double)detail->heavy[i].error / 2;
            }
        }
    }
    double share = detail->heavy_sampled > 0 ? count / (double)detail->heavy_sampled : 0;
    return share < 1 ? share : 1;
}

struct estimate profile_ratio(const struct shadow_run *run, double confidence)
{
    double heavy_ns[2];
    if (run->burst.count == 0 || !heavy_costs(run, heavy_ns)) {
        return twin_ratio(run->twins, confidence);
    }
    double heavy = profile_heavy_share(run);
    struct predict_stratum strata[] = {
        {.twins = run->twins, .share_now = 1 - heavy, .share_then = 1 - heavy},
        {.twins = run->burst.twins, .share_now = heavy, .share_then = heavy}};
    return predict_ratio(strata, COUNT_OF(strata), confidence);
}

/* What the sample has measured stays when another takes its place. */
void profile_keep_sample(struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    if (run->sides[SHADOW_SUBJECT].measures->measuring_ns != 0) {
        add_groups(run);
    }
    profile_keep(&run->looks);
    if (run->twins != NULL) { /* of the last look at both: they are told of at once only there */
        twin_keep(run->twins);
    }
}

static double capacity_of(const struct control *control)
{
    return control->config->nodes.capacity;
}

static void update_skew(struct shadow_run *run)
{
    const struct primary_detail *primary = &run->primary;
    struct skew_input input = {.groups = &primary->group_counts[run->place.group_lo],
                               .group_lo = run->place.group_lo,
                               .group_hi = run->place.group_hi,
                               .heavy = primary->detail.heavy,
                               .heavy_count = primary->detail.heavy_count,
                               .heavy_sampled = (double)primary->detail.heavy_sampled,
                               .read_share = run->profile->read_share.value};
    if (primary->known) {
        skew_of(&input, &run->skew);
    }
}

static void follow_entry(struct shadow_entry *entry)
{
    const struct shadow_run *run = entry->run;
    const struct shadow_measures *m = run->sides[SHADOW_SUBJECT].measures;
    const struct profile *profile = run->profile;
    entry->reached = m->reached;
    entry->completeness = m->completeness;
    entry->records = (int64_t)profile_rows(&run->looks);
    entry->dropped = m->records_dropped;
    entry->limits[0] = 0;
    entry->limits_share = none;
    if (profile->limits >= 0) {
        IGNORE_RESULT(snprintf(entry->limits, sizeof(entry->limits), "%.64s",
                               run->sides[SHADOW_SUBJECT].operators[profile->limits].name));
        entry->limits_share = profile->operators[profile->limits].share;
    }
    if (run->twins != NULL) {
        entry->ratio = profile_ratio(run, LOOKS_CONFIDENCE);
    }
}

void profile_begin(const struct control *control, struct shadow_run *run)
{
    struct operator_counters nothing[PROFILE_OPERATORS_MAX] = {{0}};
    struct profile_counters counters = {.operator_count = run->looks.operator_count,
                                        .operators = nothing};
    run->profile = MEM_NEW(struct profile);
    profile_of(&run->looks, &counters, capacity_of(control), run->profile);
    run->profile->operator_count = 0; /* their names come with the first look */
}

void profile_update(struct control *control, struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    const struct shadow_side *side = &run->sides[SHADOW_SUBJECT];
    const struct shadow_measures *m = side->measures;
    if (m == NULL || m->operator_count != run->looks.operator_count) {
        return;
    }
    struct operator_counters ops[PROFILE_OPERATORS_MAX];
    struct profile_counters counters = counters_of(side, ops);
    const struct partition_figures *f = &run->report.figures;
    if (run->reported) {
        profile_look_primary(&run->looks, &(struct profile_primary){.rows = f->records_in,
                                                                    .work_ns = f->work_cpu_ns,
                                                                    .read_ns = f->read_cpu_ns});
    }
    if (m->measuring_ns != 0) {
        add_groups(run);
    }
    if (run->twins != NULL && m->measuring_ns != 0) {
        add_pairs(run);
    }
    profile_of(&run->looks, &counters, capacity_of(control), run->profile);
    update_skew(run);
    follow_entry(entry);
}

/* --- rows --- */

struct page {
    struct arena *arena;
    const struct shadow_entry *entry;
    const struct shadow_run *run;
    struct figure_row figures[FIGURES_MAX];
    int32_t figure_count;
    struct answer_row answers[ANSWERS_MAX];
    int32_t answer_count;
};

static void add_figure(struct page *page, const char *name, const char *unit, struct estimate e)
{
    if (isnan(e.value) || page->figure_count == FIGURES_MAX) {
        return;
    }
    page->figures[page->figure_count++] = (struct figure_row){.shadow = page->entry->id,
                                                              .name = str_of(name),
                                                              .value = e.value,
                                                              .low = e.low,
                                                              .high = e.high,
                                                              .unit = str_of(unit),
                                                              .samples = e.n};
}

static struct estimate exactly(double value, double n)
{
    return (struct estimate){.value = value, .low = NOT_KNOWN, .high = NOT_KNOWN, .n = n};
}

static struct estimate scaled(struct estimate e, double by)
{
    return (struct estimate){e.value * by, e.low * by, e.high * by, e.n};
}

/* Heavy keys by themselves, the others by themselves, and both as the primary has them. */
static void add_strata(struct page *page)
{
    const struct shadow_run *run = page->run;
    const struct shadow_groups *groups = &run->sides[SHADOW_SUBJECT].measures->groups;
    double heavy_ns[2], rows = 0, cpu_ns = 0;
    if (!heavy_costs(run, heavy_ns)) {
        return;
    }
    for (int32_t g = 0; g < groups->count; g++) {
        const struct shadow_group *group = &groups->group[g];
        rows += (double)(group->rows - group->heavy_rows);
        cpu_ns += (double)group->work_ns - heavy_ns[0] * (double)group->heavy_rows;
    }
    struct estimate heavy = twin_cost(run->burst.twins, TWIN_ROWS, LOOKS_CONFIDENCE);
    double share = profile_heavy_share(run);
    add_figure(page, "heavy keys, of the primary's records", "%",
               exactly(100 * share, (double)run->primary.detail.heavy_sampled));
    add_figure(page, "work cost of heavy keys, in bursts", "us/record", scaled(heavy, 1e-3));
    if (rows > 0 && cpu_ns > 0) {
        add_figure(page, "work cost of the others", "us/record",
                   exactly(cpu_ns / rows / 1e3, rows));
        add_figure(
            page, "the two, weighted as the primary has them", "us/record",
            exactly((share * heavy.value + (1 - share) * cpu_ns / rows) / 1e3, rows + heavy.n));
    }
}

/* What the primary would do under a candidate's settings: its own cost now, times a ratio of twins. */
static void add_prediction(struct page *page)
{
    if (page->entry->order.candidate) {
        struct estimate work =
            predict_product(page->run->profile->primary_work_ns, page->entry->ratio,
                            PREDICT_SCATTER, LOOKS_CONFIDENCE);
        add_figure(page, "work cost of the primary, predicted", "us/record", scaled(work, 1e-3));
    }
}

/* What has come of the sample. Before it is open there is none, and no zeros are told of it. */
static void add_sample(struct page *page)
{
    const struct shadow_measures *m = page->run->sides[SHADOW_SUBJECT].measures;
    double rows = (double)(m->records_heavy + m->records_hashed), seen = (double)m->records_seen;
    if (page->entry->starved > STARVED_TOLD) {
        add_figure(page, "time without a processor", "%",
                   exactly(100 * page->entry->starved, rows));
    }
    if (m->opened_ns == 0) {
        return;
    }
    add_figure(page, "records wanted", "%", exactly(100 * m->requested, seen));
    if (seen > 0) {
        add_figure(page, "records reached", "%", exactly(100 * m->reached, seen));
    }
    if (rows > 0) {
        add_figure(page, "of them, of heavy keys", "%",
                   exactly(100 * (double)m->records_heavy / rows, rows));
    }
    add_figure(page, "completeness", "%", exactly(100 * m->completeness, rows));
    add_figure(page, "state in the sample", "bytes", exactly((double)m->state_bytes, rows));
}

static void add_figures(struct page *page)
{
    const struct shadow_run *run = page->run;
    const struct profile *p = run->profile;
    const struct shadow_measures *m = run->sides[SHADOW_SUBJECT].measures;
    double wait_n = (double)m->wait_ns.count;
    const struct partition_figures *f = &run->report.figures;
    bool idle = isnan(p->primary_work_ns.value) && f->records_in > 0;
    double in = (double)f->records_in;
    /* A primary that took nothing while it was watched is told by all it has done. */
    add_figure(page, "work cost of the primary", "us/record",
               idle ? exactly((double)f->work_cpu_ns / in / 1e3, in)
                    : scaled(p->primary_work_ns, 1e-3));
    add_figure(page, "read cost of the primary", "us/record",
               idle ? exactly((double)f->read_cpu_ns / in / 1e3, in)
                    : scaled(p->primary_read_ns, 1e-3));
    add_figure(page, "share of reading", "%", scaled(p->read_share, 100));
    add_figure(page, "maximum rate of the primary", "records/s",
               predict_scattered(p->rate_max, PREDICT_SCATTER, LOOKS_CONFIDENCE));
    add_figure(page, "work cost in the sample", "us/record", scaled(p->work_ns, 1e-3));
    add_strata(page);
    if (m->full_batches > 0) {
        add_figure(page, "rate from full batches", "records/s a core",
                   exactly(m->rate_max, (double)m->full_batches));
    }
    add_prediction(page);
    add_figure(page, "results", "a record", p->rows_out);
    add_figure(page, "bytes in", "bytes/record", p->bytes_in);
    add_figure(page, "bytes out", "bytes/record", p->bytes_out);
    if (wait_n > 0) {
        add_figure(page, "waiting of a record, median", "ms",
                   exactly((double)histogram_quantile(&m->wait_ns, 0.5) / 1e6, wait_n));
        add_figure(page, "waiting of a record, p99", "ms",
                   exactly((double)histogram_quantile(&m->wait_ns, 0.99) / 1e6, wait_n));
    }
    add_sample(page);
    if (page->entry->order.twin) {
        add_figure(page,
                   page->entry->order.candidate ? "cost against the baseline"
                   : page->entry->order.feed == SHADOW_BACKLOG
                       ? "cost from backlog, against as they come"
                       : "noise floor",
                   "ratio", page->entry->ratio);
    }
    if (run->primary.known && run->skew.records > 0) {
        const struct skew *s = &run->skew;
        add_figure(page, "share of the heaviest key", "%", scaled(s->top_share, 100));
        add_figure(page, "fullest key group / mean", "ratio", exactly(s->peak_ratio, s->records));
        add_figure(page, "heavier side of the best split", "%",
                   exactly(100 * s->heavier_share, s->records));
    }
}

static void add_answer(struct page *page, const char *question, const char *fmt, ...)
    ATTR_PRINTF(3, 4);

static void add_answer(struct page *page, const char *question, const char *fmt, ...)
{
    char text[ANSWER_TEXT_MAX];
    va_list args;
    CHECK(page->answer_count < ANSWERS_MAX);
    va_start(args, fmt);
    IGNORE_RESULT(vsnprintf(text, sizeof(text), fmt, args)); /* cut is fine */
    va_end(args);
    struct str said = str_of(text);
    page->answers[page->answer_count++] =
        (struct answer_row){.question = str_of(question),
                            .answer = {arena_dup(page->arena, said.ptr, said.len), said.len}};
}

static void answer_limit(struct page *page)
{
    const struct profile *p = page->run->profile;
    const struct shadow_side *side = &page->run->sides[SHADOW_SUBJECT];
    if (p->limits < 0) {
        add_answer(page, "what limits it", "not known yet: no records were measured");
        return;
    }
    const struct shadow_operator *op = &side->operators[p->limits];
    const struct estimate *share = &p->operators[p->limits].share;
    if (!isfinite(share->low)) {
        add_answer(page, "what limits it",
                   "%s (%s), so far %.0f %% of the chain's CPU; too few looks yet for an interval",
                   op->name, op->type, 100 * share->value);
        return;
    }
    add_answer(
        page, "what limits it",
        "%s (%s): %.0f %% of the chain's CPU (%.0f to %.0f), %.0f points more than the next%s; "
        "without it the partition could do %.2g times as much",
        op->name, op->type, 100 * share->value, 100 * share->low, 100 * share->high,
        100 * p->limits_by.value, p->limits_clear ? "" : ", which may be chance", p->without_ratio);
}

static void answer_split(struct page *page)
{
    const struct shadow_run *run = page->run;
    const struct skew *s = &run->skew;
    if (!run->primary.known) {
        return;
    }
    if (s->verdict == SPLIT_HELPS) {
        add_answer(
            page, "would a split help",
            "yes: at key group %u the heavier side keeps %.0f %% of the work, %.0f %% of the "
            "whole cost with reading",
            s->border, 100 * s->heavier_share, 100 * s->after_share);
        return;
    }
    if (s->verdict == SPLIT_ONE_KEY) {
        const struct heavy_entry *top = &run->primary.detail.heavy[s->top];
        int len = top->key_len < HEAVY_KEY_BYTES ? top->key_len : HEAVY_KEY_BYTES;
        add_answer(
            page, "would a split help",
            "no split helps: key '%.*s' alone has %.1f %% of the records (%.1f to %.1f), and a "
            "key is never divided; combine its records before the state, or give it a lane",
            len, top->key, 100 * s->top_share.value, 100 * s->top_share.low,
            100 * s->top_share.high);
        return;
    }
    add_answer(page, "would a split help", "%s", split_verdict_help(s->verdict));
}

static void answer_backlog(struct page *page)
{
    const struct shadow_entry *entry = page->entry;
    const char *what = "how fast could it be";
    if (entry->order.feed != SHADOW_BACKLOG || entry->order.candidate) {
        return;
    }
    if (!isfinite(entry->ratio.low)) {
        add_answer(page, what, "not known yet: too few looks");
        return;
    }
    add_answer(page, what,
               "fed from backlog a record costs the shadow %.3f of what it costs one that follows "
               "(%.3f to %.3f); the primary, on a lane of its own, gains less",
               entry->ratio.value, entry->ratio.low, entry->ratio.high);
}

static void answer_compare(struct page *page)
{
    const struct shadow_entry *entry = page->entry;
    const struct shadow_comparison *c = page->run->comparison;
    const char *what = entry->order.candidate ? "does it cost less" : "how large is the noise";
    if (c == NULL) {
        return;
    }
    if (!isfinite(entry->ratio.low)) {
        add_answer(page, what, "not known yet: too few looks");
    } else if (entry->order.candidate) {
        add_answer(page, what, "%s: a record costs %.3f of the baseline's (%.3f to %.3f)%s%s",
                   adaptive_verdict_help(entry->verdict), entry->ratio.value, entry->ratio.low,
                   entry->ratio.high, entry->life.partial ? "; it ended before it was sure" : "",
                   "");
    } else {
        add_answer(page, what, "two identical shadows differ by %.1f %% (interval %.3f to %.3f)",
                   100 * fabs(entry->ratio.value - 1), entry->ratio.low, entry->ratio.high);
    }
    bool same = c->differing + c->missing + c->extra == 0;
    add_answer(page, "are the results the same",
               "%s: %" PRId64 " equal, %" PRId64 " differing, %" PRId64 " missing, %" PRId64
               " extra; %" PRId64 " not compared",
               c->equal == 0 && same ? "nothing to compare yet"
               : same                ? "yes"
                                     : "no",
               c->equal, c->differing, c->missing, c->extra, c->pending + c->dropped);
}

static void answer_trust(struct page *page)
{
    const struct shadow_measures *m = page->run->sides[SHADOW_SUBJECT].measures;
    const struct shadow_entry *entry = page->entry;
    char starved[ANSWER_TEXT_MAX / 2] = "";
    if (entry->starved > STARVED_TOLD) {
        IGNORE_RESULT(snprintf(starved, sizeof(starved),
                               "; starved: for %.0f %% of its time the machine had no processor "
                               "for it, what it says is of the rest",
                               100 * entry->starved)); /* fits */
    }
    char counted[ANSWER_TEXT_MAX / 4] = "no record was measured";
    if (entry->records > 0) {
        IGNORE_RESULT(snprintf(counted, sizeof(counted),
                               "%" PRId64 " records, %.0f %% of those of the sample",
                               entry->records, 100 * entry->completeness)); /* fits */
    }
    add_answer(page, "how far to trust it", "%s%s%s; %s%s", counted,
               m->cold ? ", begun cold: without the state of its keys" : "", starved,
               entry->life.state != LIFE_ENDED ? "it still runs"
               : entry->life.partial           ? "it ended early: "
                                               : "it ended: ",
               entry->life.state == LIFE_ENDED ? life_outcome_help(entry->life.outcome) : "");
}

static void add_operators(struct text *text, const struct page *page)
{
    const struct shadow_run *run = page->run;
    const struct shadow_side *side = &run->sides[SHADOW_SUBJECT];
    for (int32_t i = 0; i < run->profile->operator_count && i < side->operator_cap; i++) {
        const struct shadow_operator *op = &side->operators[i];
        const struct operator_profile *p = &run->profile->operators[i];
        struct operator_row row = {
            .name = str_of(op->name),
            .type = str_of(op->type),
            .share_ratio = p->share.value,
            .share_low_ratio = p->share.low,
            .share_high_ratio = p->share.high,
            .cost_us = p->cost_ns.value / 1e3,
            .cost_low_us = p->cost_ns.low / 1e3,
            .cost_high_us = p->cost_ns.high / 1e3,
            .service_us = p->service_ns.value / 1e3,
            .service_low_us = p->service_ns.low / 1e3,
            .service_high_us = p->service_ns.high / 1e3,
            .selectivity = p->selectivity.value,
            .selectivity_low = p->selectivity.low,
            .selectivity_high = p->selectivity.high,
            .p50_us = p->latency_ns[0].value / 1e3,
            .p90_us = p->latency_ns[1].value / 1e3,
            .p99_us = p->latency_ns[2].value / 1e3,
            .p99_low_us = p->latency_ns[2].low / 1e3,
            .p99_high_us = p->latency_ns[2].high / 1e3,
            .p999_us = p->latency_ns[3].value / 1e3,
            .rows_in = op->probe.moments.rows_in,
            .rows_out = op->probe.moments.rows_out,
            .in_bytes = op->probe.moments.bytes_in,
            .out_bytes = op->probe.moments.bytes_out,
            .rejected = op->rejected,
            .late = op->late,
            .waits = op->probe.again,
            .state_bytes = op->state_bytes,
            .state_entries = op->state_entries,
        };
        text_add(text, i > 0 ? STR(",\n") : STR(""));
        text_json_row(text, &operator_entity, &row);
    }
}

static void add_keys(struct text *text, const struct page *page)
{
    const struct partition_detail *detail = &page->run->primary.detail;
    double all = detail->heavy_sampled > 0 ? (double)detail->heavy_sampled : 1;
    for (int32_t i = 0; i < detail->heavy_count && i < KEYS_SHOWN; i++) {
        const struct heavy_entry *entry = &detail->heavy[i];
        if ((double)(entry->count - entry->error) < HEAVY_SHARE_MIN * all) {
            break; /* it may as well be light: the sketch cannot tell */
        }
        ptrdiff_t len = entry->key_len < HEAVY_KEY_BYTES ? entry->key_len : HEAVY_KEY_BYTES;
        const char *hash = arena_printf(page->arena, "%016" PRIx64, entry->hash);
        struct heavy_key_row row = {.key = {entry->key, len},
                                    .hash = str_of(hash),
                                    .group = key_group_of(entry->hash),
                                    .share_ratio = (double)entry->count / all,
                                    .error_ratio = (double)entry->error / all};
        text_add(text, i > 0 ? STR(",\n") : STR(""));
        text_json_row(text, &heavy_key_entity, &row);
    }
}

static void add_steps(struct text *text, const struct page *page)
{
    const struct adaptive *a = &page->run->adaptive;
    int32_t first = a->step_count > ADAPTIVE_STEPS_MAX ? a->step_count - ADAPTIVE_STEPS_MAX : 0;
    for (int32_t i = first; i < a->step_count; i++) {
        const struct adaptive_step *step = &a->steps[i % ADAPTIVE_STEPS_MAX];
        struct percent_step_row row = {
            .after_seconds = (double)(step->at_ns - page->entry->life.opened_ns) / 1e9,
            .from_percent = step->from,
            .to_percent = step->to,
            .reason = str_of(adaptive_reason_help(step->reason)),
            .low = step->low,
            .high = step->high,
            .samples = step->n};
        text_add(text, i > first ? STR(",\n") : STR(""));
        text_json_row(text, &percent_step_entity, &row);
    }
}

static void add_examples(struct text *text, const struct page *page)
{
    static const char *const kinds[] = {"differing", "missing", "extra"};
    const struct shadow_comparison *c = page->run->comparison;
    for (int32_t i = 0; c != NULL && i < c->example_count; i++) {
        const struct shadow_example *example = &c->examples[i];
        struct example_row row = {.kind = str_of(kinds[example->kind]),
                                  .key = str_of(example->key),
                                  .time_ms = example->time_ms,
                                  .candidate = str_of(example->own),
                                  .baseline = str_of(example->partner)};
        text_add(text, i > 0 ? STR(",\n") : STR(""));
        text_json_row(text, &example_entity, &row);
    }
}

static void add_list(struct text *text, const char *name, const struct entity *entity,
                     const void *rows, int32_t count)
{
    text_printf(text, ",\n\"%s\":[", name);
    for (int32_t i = 0; i < count; i++) {
        text_add(text, i > 0 ? STR(",\n") : STR(""));
        text_json_row(text, entity, (const char *)rows + (size_t)i * entity->row_bytes);
    }
    text_add(text, STR("]"));
}

void profile_write_figures(const struct shadow_entry *entry, struct text *text)
{
    struct page *page = ARENA_NEW(text->arena, struct page);
    page->arena = text->arena;
    page->entry = entry;
    page->run = entry->run;
    if (entry->run->sides[SHADOW_SUBJECT].measures != NULL) {
        add_figures(page);
    }
    text_json_table(text, &figure_entity, page->figures, page->figure_count);
}

void profile_write(struct control *control, struct shadow_entry *entry, struct text *text)
{
    struct page *page = ARENA_NEW(text->arena, struct page);
    struct shadow_row row = shadow_row_of(entry, control->now_ns, text->arena);
    page->arena = text->arena;
    page->entry = entry;
    page->run = entry->run;
    text_add(text, STR("{\"shadow\":"));
    text_json_row(text, &shadow_entity, &row);
    if (entry->run->sides[SHADOW_SUBJECT].measures != NULL) {
        add_figures(page);
        answer_limit(page);
        answer_split(page);
        answer_backlog(page);
        answer_compare(page);
        answer_trust(page);
        add_list(text, "answers", &answer_entity, page->answers, page->answer_count);
        text_add(text, STR(",\n\"operators\":["));
        add_operators(text, page);
        text_add(text, STR("]"));
        add_list(text, "figures", &figure_entity, page->figures, page->figure_count);
        text_add(text, STR(",\n\"heavy_keys\":["));
        add_keys(text, page);
        text_add(text, STR("],\n\"percent_steps\":["));
        add_steps(text, page);
        text_add(text, STR("],\n\"examples\":["));
        add_examples(text, page);
        text_add(text, STR("]"));
    }
    text_add(text, STR("}"));
}
