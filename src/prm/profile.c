// SPDX-License-Identifier: Apache-2.0
#include "prm/profile.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/check.h"
#include "forecast/num.h"

const double profile_quantiles[PROFILE_QUANTILES] = {0.5, 0.9, 0.99, 0.999};

/* Columns of the sample's batches: those of the whole, then those of each operator. */
enum column {
    COLUMN_ROWS,
    COLUMN_ROWS_OUT,
    COLUMN_WORK,
    COLUMN_READ,
    COLUMN_CHAIN, /* CPU of all operators */
    COLUMNS_OF_WHOLE
};
enum operator_column { OPERATOR_ROWS, OPERATOR_CPU, COLUMNS_OF_OPERATOR };
static_assert(COLUMNS_OF_WHOLE + COLUMNS_OF_OPERATOR * PROFILE_OPERATORS_MAX <= LOOKS_COLUMNS_MAX,
              "they fit");

/* Of the looks at the primary. */
enum primary_column { PRIMARY_ROWS, PRIMARY_WORK, PRIMARY_READ, PRIMARY_ALL, PRIMARY_COLUMNS };

static int32_t columns_of(int32_t operator_count)
{
    return COLUMNS_OF_WHOLE + COLUMNS_OF_OPERATOR * operator_count;
}

static int32_t column_of(int32_t op, enum operator_column column)
{
    return COLUMNS_OF_WHOLE + COLUMNS_OF_OPERATOR * op + (int32_t)column;
}

int32_t profile_numbers(int32_t operator_count)
{
    return 2 * looks_numbers(columns_of(operator_count)) + looks_numbers(PRIMARY_COLUMNS);
}

void profile_looks_init(struct profile_looks *looks, double *memory, int32_t operator_count)
{
    CHECK(operator_count >= 0 && operator_count <= PROFILE_OPERATORS_MAX);
    int32_t columns = columns_of(operator_count);
    *looks = (struct profile_looks){.operator_count = operator_count};
    looks_init(&looks->sample, memory, columns);
    looks_init(&looks->kept, memory + looks_numbers(columns), columns);
    looks_init(&looks->primary, memory + (ptrdiff_t)2 * looks_numbers(columns), PRIMARY_COLUMNS);
}

/* --- what comes in --- */

void profile_begin_sample(struct profile_looks *looks)
{
    looks_copy(&looks->sample, &looks->kept);
}

void profile_keep(struct profile_looks *looks)
{
    looks_copy(&looks->kept, &looks->sample);
}

void profile_add_group(struct profile_looks *looks, const struct profile_group *group)
{
    double row[LOOKS_COLUMNS_MAX];
    row[COLUMN_ROWS] = group->rows;
    row[COLUMN_ROWS_OUT] = group->rows_out;
    row[COLUMN_WORK] = group->work_ns;
    row[COLUMN_READ] = group->read_ns;
    row[COLUMN_CHAIN] = 0;
    for (int32_t i = 0; i < looks->operator_count; i++) {
        row[column_of(i, OPERATOR_ROWS)] = group->operator_rows[i];
        row[column_of(i, OPERATOR_CPU)] = group->operator_ns[i];
        row[COLUMN_CHAIN] += group->operator_ns[i];
    }
    looks_add(&looks->sample, row);
}

double profile_rows(const struct profile_looks *looks)
{
    return looks_sum(&looks->sample, COLUMN_ROWS);
}

void profile_look_primary(struct profile_looks *looks, const struct profile_primary *now)
{
    int64_t rows = now->rows - looks->last.rows;
    int64_t work_ns = now->work_ns - looks->last.work_ns;
    int64_t read_ns = now->read_ns - looks->last.read_ns;
    bool fallen = rows < 0 || work_ns < 0 || read_ns < 0;
    if (looks->begun && rows == 0 && !fallen) {
        return; /* what it spent meanwhile belongs to the records to come */
    }
    if (looks->begun && !fallen) {
        looks_add(&looks->primary, (double[]){(double)rows, (double)work_ns, (double)read_ns,
                                              (double)work_ns + (double)read_ns});
    }
    looks->last = *now;
    looks->begun = true;
}

/* --- figures --- */

static const struct estimate unknown = {.value = NUM_NAN, .low = NUM_NAN, .high = NUM_NAN, .n = 0};

static void latency_of(const struct histogram *latency, struct estimate *quantiles)
{
    for (int q = 0; q < PROFILE_QUANTILES; q++) {
        double low = 0, high = 1;
        if (latency == NULL || latency->count == 0) {
            quantiles[q] = unknown;
            continue;
        }
        double n = (double)latency->count;
        quantile_bounds(profile_quantiles[q], n, LOOKS_CONFIDENCE, &low, &high);
        quantiles[q] =
            (struct estimate){.value = (double)histogram_quantile(latency, profile_quantiles[q]),
                              .low = (double)histogram_quantile(latency, low),
                              .high = (double)histogram_quantile(latency, high),
                              .n = n};
    }
}

/* Rows out of rows in: a share has an interval, more than one row of a row has none. */
static struct estimate selectivity_of(const struct operator_counters *c)
{
    double in = (double)c->rows_in, out = (double)c->rows_out;
    if (!(in > 0)) {
        return unknown;
    }
    return out <= in ? share_estimate(out, 0, in, LOOKS_CONFIDENCE)
                     : (struct estimate){out / in, NUM_NAN, NUM_NAN, in};
}

static void operator_of(const struct looks *looks, int32_t i, const struct operator_counters *c,
                        struct operator_profile *ret)
{
    int32_t cpu = column_of(i, OPERATOR_CPU);
    ret->cost_ns = looks_ratio(looks, cpu, COLUMN_ROWS, LOOKS_CONFIDENCE);
    ret->service_ns = looks_ratio(looks, cpu, column_of(i, OPERATOR_ROWS), LOOKS_CONFIDENCE);
    ret->share = looks_ratio(looks, cpu, COLUMN_CHAIN, LOOKS_CONFIDENCE);
    ret->share.n = looks_sum(looks, COLUMN_ROWS);
    ret->selectivity = selectivity_of(c);
    latency_of(c->latency, ret->latency_ns);
}

struct difference_columns {
    int32_t first, second; /* second -1: there is none */
};

static double share_difference(const void *ctx, const double *sums)
{
    const struct difference_columns *of = ctx;
    double second = of->second >= 0 ? sums[of->second] : 0;
    return sums[COLUMN_CHAIN] > 0 ? (sums[of->first] - second) / sums[COLUMN_CHAIN] : NUM_NAN;
}

/* The first two by CPU; -1: there is none. */
static void find_costly(const struct looks *looks, int32_t count, int32_t *ret_first,
                        int32_t *ret_second)
{
    int32_t first = -1, second = -1;
    double most = 0, next = 0;
    for (int32_t i = 0; i < count; i++) {
        double cpu = looks_sum(looks, column_of(i, OPERATOR_CPU));
        if (cpu > most) {
            second = first;
            next = most;
            first = i;
            most = cpu;
        } else if (cpu > next) {
            second = i;
            next = cpu;
        }
    }
    *ret_first = first;
    *ret_second = second;
}

/* The share of the costliest operator less that of the next. */
static struct estimate lead_of(const struct looks *looks, int32_t count, double confidence,
                               int32_t *ret_first)
{
    int32_t second = -1;
    find_costly(looks, count, ret_first, &second);
    if (*ret_first < 0) {
        return unknown;
    }
    struct difference_columns of = {
        column_of(*ret_first, OPERATOR_CPU),
        second >= 0 ? column_of(second, OPERATOR_CPU) : -1,
    };
    struct estimate lead = looks_estimate(looks, share_difference, &of, false, confidence);
    lead.n = looks_sum(looks, COLUMN_ROWS);
    return lead;
}

void profile_question(const struct profile_looks *looks, double confidence,
                      struct estimate *ret_cost, bool *ret_clear)
{
    int32_t first = -1;
    *ret_cost = looks_ratio(&looks->sample, COLUMN_WORK, COLUMN_ROWS, confidence);
    *ret_clear = lead_of(&looks->sample, looks->operator_count, confidence, &first).low > 0;
}

static void find_limit(const struct looks *looks, struct profile *profile)
{
    profile->limits_by =
        lead_of(looks, profile->operator_count, LOOKS_CONFIDENCE, &profile->limits);
    profile->without_ratio = NUM_NAN;
    if (profile->limits < 0) {
        return;
    }
    profile->limits_clear = profile->limits_by.low > 0;
    /* Of the primary's cost, the operator's share of the chain's part goes away; reading and outputs stay. */
    double chain = looks_sum(looks, COLUMN_CHAIN) / looks_sum(looks, COLUMN_WORK);
    double read = profile->read_share.value >= 0 ? profile->read_share.value : 0;
    double share = profile->operators[profile->limits].share.value * (chain < 1 ? chain : 1);
    share *= 1 - read;
    profile->without_ratio = share < 1 ? 1 / (1 - share) : NUM_NAN;
}

static struct estimate rate_of(struct estimate cost_ns, double capacity)
{
    return (struct estimate){.value = capacity * 1e9 / cost_ns.value,
                             .low = capacity * 1e9 / cost_ns.high,
                             .high = capacity * 1e9 / cost_ns.low,
                             .n = cost_ns.n};
}

static struct estimate per_record(int64_t sum, int64_t rows)
{
    return (struct estimate){rows > 0 ? (double)sum / (double)rows : NUM_NAN, NUM_NAN, NUM_NAN,
                             (double)rows};
}

void profile_of(const struct profile_looks *looks, const struct profile_counters *counters,
                double capacity, struct profile *ret_profile)
{
    const struct looks *sample = &looks->sample, *primary = &looks->primary;
    CHECK(capacity > 0 && counters->operator_count == looks->operator_count);
    *ret_profile = (struct profile){.operator_count = looks->operator_count};
    for (int32_t i = 0; i < looks->operator_count; i++) {
        operator_of(sample, i, &counters->operators[i], &ret_profile->operators[i]);
    }
    ret_profile->work_ns = looks_ratio(sample, COLUMN_WORK, COLUMN_ROWS, LOOKS_CONFIDENCE);
    ret_profile->rows_out = looks_ratio(sample, COLUMN_ROWS_OUT, COLUMN_ROWS, LOOKS_CONFIDENCE);
    ret_profile->bytes_in = per_record(counters->bytes_in, counters->rows_in);
    ret_profile->bytes_out = per_record(counters->bytes_out, counters->rows_in);
    ret_profile->primary_work_ns =
        looks_ratio(primary, PRIMARY_WORK, PRIMARY_ROWS, LOOKS_CONFIDENCE);
    ret_profile->primary_read_ns =
        looks_ratio(primary, PRIMARY_READ, PRIMARY_ROWS, LOOKS_CONFIDENCE);
    ret_profile->read_share = looks_ratio(primary, PRIMARY_READ, PRIMARY_ALL, LOOKS_CONFIDENCE);
    ret_profile->read_share.n = looks_sum(primary, PRIMARY_ROWS);
    ret_profile->rate_max =
        rate_of(looks_ratio(primary, PRIMARY_ALL, PRIMARY_ROWS, LOOKS_CONFIDENCE), capacity);
    find_limit(sample, ret_profile);
}

/* --- twins --- */

void twin_init(struct twin_looks *looks)
{
    looks_init(&looks->looks, looks->memory[0], TWIN_COLUMNS);
    looks_init(&looks->kept, looks->memory[1], TWIN_COLUMNS);
}

void twin_begin(struct twin_looks *looks)
{
    looks_copy(&looks->looks, &looks->kept);
}

void twin_keep(struct twin_looks *looks)
{
    looks_copy(&looks->kept, &looks->looks);
}

static void put_side(const struct twin_side *side, double *columns)
{
    columns[TWIN_ROWS] = side->rows;
    columns[TWIN_CPU] = side->cpu_ns;
    columns[TWIN_CLOSE] = side->close_ns;
    columns[TWIN_CLOSED] = side->closed_ms;
    columns[TWIN_TIME] = side->time_ms;
}

void twin_add(struct twin_looks *looks, const struct twin_side *subject,
              const struct twin_side *baseline)
{
    double columns[TWIN_COLUMNS];
    put_side(subject, columns);
    put_side(baseline, columns + TWIN_BASELINE);
    looks_add(&looks->looks, columns);
}

double twin_cost_of(const double *sums)
{
    double cpu_ns = sums[TWIN_CPU];
    if (sums[TWIN_CLOSED] > 0 && sums[TWIN_TIME] > 0) {
        cpu_ns += sums[TWIN_CLOSE] * (sums[TWIN_TIME] / sums[TWIN_CLOSED] - 1);
    }
    return sums[TWIN_ROWS] > 0 ? cpu_ns / sums[TWIN_ROWS] : NUM_NAN;
}

static double cost_of_side(const void *ctx, const double *sums)
{
    return twin_cost_of(sums + *(const enum twin_column *)ctx);
}

struct estimate twin_cost(const struct twin_looks *looks, enum twin_column side, double confidence)
{
    struct estimate cost = looks_estimate(&looks->looks, cost_of_side, &side, true, confidence);
    cost.n = looks_sum(&looks->looks, (int32_t)side + TWIN_ROWS);
    return cost;
}

static double ratio_of_costs(const void *ctx, const double *sums)
{
    (void)ctx;
    double baseline = twin_cost_of(sums + TWIN_BASELINE);
    return baseline > 0 ? twin_cost_of(sums) / baseline : NUM_NAN;
}

struct estimate twin_ratio(const struct twin_looks *looks, double confidence)
{
    struct estimate ratio = looks_estimate(&looks->looks, ratio_of_costs, NULL, true, confidence);
    double own = looks_sum(&looks->looks, TWIN_ROWS);
    double base = looks_sum(&looks->looks, TWIN_BASELINE + TWIN_ROWS);
    ratio.n = own < base ? own : base;
    return ratio;
}
