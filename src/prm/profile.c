// SPDX-License-Identifier: Apache-2.0
#include "prm/profile.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/check.h"
#include "forecast/num.h"

const double profile_quantiles[PROFILE_QUANTILES] = {0.5, 0.9, 0.99, 0.999};

/* Columns of the looks: those of the whole, then those of each operator. */
enum column {
    COLUMN_ROWS,
    COLUMN_BYTES_IN,
    COLUMN_ROWS_OUT,
    COLUMN_BYTES_OUT,
    COLUMN_WORK,
    COLUMN_READ,
    COLUMN_CHAIN, /* CPU of all operators */
    COLUMN_PRIMARY_ROWS,
    COLUMN_PRIMARY_WORK,
    COLUMN_PRIMARY_READ,
    COLUMN_PRIMARY_ALL, /* work and reading */
    COLUMNS_OF_WHOLE
};
enum operator_column { OPERATOR_IN, OPERATOR_OUT, OPERATOR_CPU, COLUMNS_OF_OPERATOR };
static_assert(COLUMNS_OF_WHOLE + COLUMNS_OF_OPERATOR * PROFILE_OPERATORS_MAX <= LOOKS_COLUMNS_MAX,
              "they fit");

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
    int32_t columns = columns_of(operator_count);
    return looks_numbers(columns) + columns;
}

void profile_looks_init(struct profile_looks *looks, double *memory, int32_t operator_count)
{
    CHECK(operator_count >= 0 && operator_count <= PROFILE_OPERATORS_MAX);
    int32_t columns = columns_of(operator_count);
    *looks = (struct profile_looks){.operator_count = operator_count,
                                    .memory = memory,
                                    .last = memory + looks_numbers(columns)};
    looks_init(&looks->looks, memory, columns);
}

static void as_row(const struct profile_counters *c, double *row)
{
    row[COLUMN_ROWS] = (double)c->rows_in;
    row[COLUMN_BYTES_IN] = (double)c->bytes_in;
    row[COLUMN_ROWS_OUT] = (double)c->rows_out;
    row[COLUMN_BYTES_OUT] = (double)c->bytes_out;
    row[COLUMN_WORK] = (double)c->work_cpu_ns;
    row[COLUMN_READ] = (double)c->read_cpu_ns;
    row[COLUMN_CHAIN] = 0;
    row[COLUMN_PRIMARY_ROWS] = (double)c->primary_rows;
    row[COLUMN_PRIMARY_WORK] = (double)c->primary_work_cpu_ns;
    row[COLUMN_PRIMARY_READ] = (double)c->primary_read_cpu_ns;
    row[COLUMN_PRIMARY_ALL] = row[COLUMN_PRIMARY_WORK] + row[COLUMN_PRIMARY_READ];
    for (int32_t i = 0; i < c->operator_count; i++) {
        const struct operator_counters *op = &c->operators[i];
        row[column_of(i, OPERATOR_IN)] = (double)op->rows_in;
        row[column_of(i, OPERATOR_OUT)] = (double)op->rows_out;
        row[column_of(i, OPERATOR_CPU)] = (double)op->cpu_ns;
        row[COLUMN_CHAIN] += (double)op->cpu_ns;
    }
}

void profile_look(struct profile_looks *looks, const struct profile_counters *counters)
{
    double now[LOOKS_COLUMNS_MAX], gained[LOOKS_COLUMNS_MAX];
    bool fallen = false;
    CHECK(counters->operator_count == looks->operator_count);
    as_row(counters, now);
    for (int32_t c = 0; c < looks->looks.columns; c++) {
        gained[c] = now[c] - looks->last[c];
        fallen = fallen || gained[c] < 0;
        looks->last[c] = now[c];
    }
    if (looks->begun && !fallen) {
        looks_add(&looks->looks, gained);
    }
    looks->begun = true;
}

void profile_skip(struct profile_looks *looks)
{
    looks->begun = false;
}

/* --- figures --- */

static void latency_of(const struct histogram *latency, struct estimate *quantiles)
{
    for (int q = 0; q < PROFILE_QUANTILES; q++) {
        double low = 0, high = 1;
        if (latency == NULL || latency->count == 0) {
            quantiles[q] = (struct estimate){NUM_NAN, NUM_NAN, NUM_NAN, 0};
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

static void operator_of(const struct looks *looks, int32_t i, const struct operator_counters *c,
                        struct operator_profile *ret)
{
    int32_t in = column_of(i, OPERATOR_IN), cpu = column_of(i, OPERATOR_CPU);
    ret->cost_ns = looks_ratio(looks, cpu, COLUMN_ROWS, LOOKS_CONFIDENCE);
    ret->service_ns = looks_ratio(looks, cpu, in, LOOKS_CONFIDENCE);
    ret->share = looks_ratio(looks, cpu, COLUMN_CHAIN, LOOKS_CONFIDENCE);
    ret->share.n = looks_sum(looks, COLUMN_ROWS);
    ret->selectivity = looks_ratio(looks, column_of(i, OPERATOR_OUT), in, LOOKS_CONFIDENCE);
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

static void find_limit(const struct looks *looks, struct profile *profile)
{
    int32_t second = -1;
    find_costly(looks, profile->operator_count, &profile->limits, &second);
    profile->limits_by = (struct estimate){NUM_NAN, NUM_NAN, NUM_NAN, 0};
    profile->without_ratio = NUM_NAN;
    if (profile->limits < 0) {
        return;
    }
    struct difference_columns of = {
        column_of(profile->limits, OPERATOR_CPU),
        second >= 0 ? column_of(second, OPERATOR_CPU) : -1,
    };
    profile->limits_by = looks_estimate(looks, share_difference, &of, false, LOOKS_CONFIDENCE);
    profile->limits_by.n = looks_sum(looks, COLUMN_ROWS);
    profile->limits_clear = profile->limits_by.low > 0;
    /* Of the primary's cost, the operator's share of the chain's part goes away; reading and outputs stay. */
    double chain = looks_sum(looks, COLUMN_CHAIN) / looks_sum(looks, COLUMN_WORK);
    double share = profile->operators[profile->limits].share.value * (chain < 1 ? chain : 1) *
                   (1 - profile->read_share.value);
    profile->without_ratio = share < 1 ? 1 / (1 - share) : NUM_NAN;
}

static struct estimate rate_of(struct estimate cost_ns, double capacity)
{
    return (struct estimate){.value = capacity * 1e9 / cost_ns.value,
                             .low = capacity * 1e9 / cost_ns.high,
                             .high = capacity * 1e9 / cost_ns.low,
                             .n = cost_ns.n};
}

void profile_of(const struct profile_looks *looks, const struct profile_counters *counters,
                double capacity, struct profile *ret_profile)
{
    const struct looks *l = &looks->looks;
    CHECK(capacity > 0 && counters->operator_count == looks->operator_count);
    *ret_profile = (struct profile){.operator_count = looks->operator_count};
    for (int32_t i = 0; i < looks->operator_count; i++) {
        operator_of(l, i, &counters->operators[i], &ret_profile->operators[i]);
    }
    ret_profile->work_ns = looks_ratio(l, COLUMN_WORK, COLUMN_ROWS, LOOKS_CONFIDENCE);
    ret_profile->bytes_in = looks_ratio(l, COLUMN_BYTES_IN, COLUMN_ROWS, LOOKS_CONFIDENCE);
    ret_profile->bytes_out = looks_ratio(l, COLUMN_BYTES_OUT, COLUMN_ROWS, LOOKS_CONFIDENCE);
    ret_profile->rows_out = looks_ratio(l, COLUMN_ROWS_OUT, COLUMN_ROWS, LOOKS_CONFIDENCE);
    ret_profile->primary_work_ns =
        looks_ratio(l, COLUMN_PRIMARY_WORK, COLUMN_PRIMARY_ROWS, LOOKS_CONFIDENCE);
    ret_profile->primary_read_ns =
        looks_ratio(l, COLUMN_PRIMARY_READ, COLUMN_PRIMARY_ROWS, LOOKS_CONFIDENCE);
    ret_profile->read_share =
        looks_ratio(l, COLUMN_PRIMARY_READ, COLUMN_PRIMARY_ALL, LOOKS_CONFIDENCE);
    ret_profile->read_share.n = looks_sum(l, COLUMN_PRIMARY_ROWS);
    ret_profile->rate_max = rate_of(
        looks_ratio(l, COLUMN_PRIMARY_ALL, COLUMN_PRIMARY_ROWS, LOOKS_CONFIDENCE), capacity);
    find_limit(l, ret_profile);
}

/* --- twins --- */

enum { TWIN_ROWS, TWIN_CPU, TWIN_BASE_ROWS, TWIN_BASE_CPU, TWIN_COLUMNS };

void twin_looks_init(struct twin_looks *looks)
{
    *looks = (struct twin_looks){.begun = false};
    looks_init(&looks->looks, looks->memory, TWIN_COLUMNS);
}

void twin_look(struct twin_looks *looks, int64_t rows, int64_t cpu_ns, int64_t baseline_rows,
               int64_t baseline_cpu_ns)
{
    double now[TWIN_COLUMNS] = {(double)rows, (double)cpu_ns, (double)baseline_rows,
                                (double)baseline_cpu_ns};
    double gained[TWIN_COLUMNS];
    bool fallen = false;
    for (int c = 0; c < TWIN_COLUMNS; c++) {
        gained[c] = now[c] - looks->last[c];
        fallen = fallen || gained[c] < 0;
        looks->last[c] = now[c];
    }
    if (looks->begun && !fallen) {
        looks_add(&looks->looks, gained);
    }
    looks->begun = true;
}

void twin_skip(struct twin_looks *looks)
{
    looks->begun = false;
}

struct estimate twin_ratio(const struct twin_looks *looks, double confidence)
{
    static const int32_t top[2] = {TWIN_CPU, TWIN_ROWS};
    static const int32_t bottom[2] = {TWIN_BASE_CPU, TWIN_BASE_ROWS};
    return looks_ratio_of_ratios(&looks->looks, top, bottom, confidence);
}
