// SPDX-License-Identifier: Apache-2.0
#include "base/sketch.h"

#include <math.h>

#include "base/check.h"

/* ---- histogram
 * Values below 2^SUB_BITS have a bucket each; above, the top SUB_BITS + 1 bits of a value choose it. */

static int32_t bucket_of(uint64_t value)
{
    if (value < 1U << HISTOGRAM_SUB_BITS) {
        return (int32_t)value;
    }
    int top = 63 - __builtin_clzll(value);
    int shift = top - HISTOGRAM_SUB_BITS;
    uint64_t sub = (value >> shift) - (1U << HISTOGRAM_SUB_BITS);
    return ((shift + 1) << HISTOGRAM_SUB_BITS) + (int32_t)sub;
}

/* Smallest value of a bucket; one past the last bucket: 2^63. */
static uint64_t bucket_low(int32_t bucket)
{
    int32_t shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    uint64_t sub = (uint64_t)bucket & ((1U << HISTOGRAM_SUB_BITS) - 1);
    return shift < 0 ? sub : (sub + (1U << HISTOGRAM_SUB_BITS)) << shift;
}

void histogram_add(struct histogram *histogram, int64_t value, uint64_t times)
{
    if (times == 0) {
        return;
    }
    value = value < 0 ? 0 : value;
    bool first = histogram->count == 0;
    histogram->min = first || value < histogram->min ? value : histogram->min;
    histogram->max = first || value > histogram->max ? value : histogram->max;
    histogram->count += times;
    histogram->sum += (uint64_t)value * times;
    histogram->buckets[bucket_of((uint64_t)value)] += times;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    if (from->count == 0) {
        return;
    }
    bool first = into->count == 0;
    into->min = first || from->min < into->min ? from->min : into->min;
    into->max = first || from->max > into->max ? from->max : into->max;
    into->count += from->count;
    into->sum += from->sum;
    for (int32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        into->buckets[i] += from->buckets[i];
    }
}

void histogram_diff(const struct histogram *later, const struct histogram *earlier,
                    struct histogram *ret_diff)
{
    CHECK(later->count >= earlier->count);
    *ret_diff = (struct histogram){.count = later->count - earlier->count,
                                   .sum = later->sum - earlier->sum};
    bool first = true;
    for (int32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t n = later->buckets[i] - earlier->buckets[i];
        ret_diff->buckets[i] = n;
        if (n > 0) {
            int64_t low = (int64_t)bucket_low(i);
            int64_t high = (int64_t)(bucket_low(i + 1) - 1);
            ret_diff->min = first ? (low > later->min ? low : later->min) : ret_diff->min;
            ret_diff->max = high < later->max ? high : later->max;
            first = false;
        }
    }
}

int64_t histogram_quantile(const struct histogram *histogram, double q)
{
    CHECK(q >= 0 && q <= 1);
    if (histogram->count == 0) {
        return 0;
    }
    double rank = q * (double)histogram->count;
    double before = 0;
    for (int32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        double n = (double)histogram->buckets[i];
        if (n > 0 && before + n >= rank) {
            double low = (double)bucket_low(i);
            double width = (double)(bucket_low(i + 1) - bucket_low(i));
            /* A bucket of one value is that value; in others the values are taken as spread evenly. */
            double at = width > 1 ? low + width * ((rank - before) / n) : low;
            double least = (double)histogram->min;
            double most = (double)histogram->max;
            at = at < least ? least : at;
            return at >= most ? histogram->max : (int64_t)at;
        }
        before += n;
    }
    return histogram->max;
}

double histogram_mean(const struct histogram *histogram)
{
    return histogram->count > 0 ? (double)histogram->sum / (double)histogram->count : 0;
}

/* ---- rate */

static double seconds(int64_t ns)
{
    return (double)ns * 1e-9;
}

void ewma_init(struct ewma *ewma, int64_t half_life_ns, int64_t now_ns)
{
    CHECK(half_life_ns > 0);
    *ewma = (struct ewma){
        .tau_s = seconds(half_life_ns) / log(2.0), .start_ns = now_ns, .last_ns = now_ns};
}

void ewma_add(struct ewma *ewma, double amount, int64_t now_ns)
{
    CHECK(now_ns >= ewma->last_ns);
    ewma->weighted *= exp(-seconds(now_ns - ewma->last_ns) / ewma->tau_s);
    ewma->weighted += amount;
    ewma->last_ns = now_ns;
}

double ewma_per_s(const struct ewma *ewma, int64_t now_ns)
{
    CHECK(now_ns >= ewma->last_ns);
    double weighted = ewma->weighted * exp(-seconds(now_ns - ewma->last_ns) / ewma->tau_s);
    /* The integral of the weights over the time there was: tau once that is long. */
    double span_s = -ewma->tau_s * expm1(-seconds(now_ns - ewma->start_ns) / ewma->tau_s);
    return span_s > 0 ? weighted / span_s : 0;
}

/* ---- CPU bucket */

void cpu_bucket_init(struct cpu_bucket *bucket, int64_t capacity_ppm, int64_t burst_ns,
                     int64_t now_ns)
{
    CHECK(capacity_ppm >= 1 && capacity_ppm <= CPU_BUCKET_WHOLE_PPM);
    CHECK(burst_ns >= 1 && burst_ns <= CPU_BUCKET_BURST_NS_MAX);
    int64_t burst = burst_ns * CPU_BUCKET_WHOLE_PPM;
    *bucket = (struct cpu_bucket){
        .tokens = burst, .burst = burst, .capacity_ppm = capacity_ppm, .last_ns = now_ns};
}

static void refill(struct cpu_bucket *bucket, int64_t now_ns)
{
    int64_t passed_ns = now_ns - bucket->last_ns;
    if (passed_ns <= 0) {
        return; /* a clock that stands or is read out of order gives nothing */
    }
    bucket->last_ns = now_ns;
    int64_t missing = bucket->burst - bucket->tokens;
    bool full = passed_ns >= missing / bucket->capacity_ppm + 1; /* also: no overflow below */
    bucket->tokens = full ? bucket->burst : bucket->tokens + passed_ns * bucket->capacity_ppm;
}

void cpu_bucket_set(struct cpu_bucket *bucket, int64_t capacity_ppm, int64_t now_ns)
{
    CHECK(capacity_ppm >= 1 && capacity_ppm <= CPU_BUCKET_WHOLE_PPM);
    refill(bucket, now_ns);
    bucket->capacity_ppm = capacity_ppm;
}

int64_t cpu_bucket_take(struct cpu_bucket *bucket, int64_t now_ns, int64_t cpu_ns)
{
    CHECK(cpu_ns >= 0);
    enum { CPU_NS_MAX = 1000000000 }; /* a longer piece counts as a second: no debt without end */
    refill(bucket, now_ns);
    int64_t paid_ns = cpu_ns < CPU_NS_MAX ? cpu_ns : CPU_NS_MAX;
    int64_t owed_max = (int64_t)CPU_NS_MAX * CPU_BUCKET_WHOLE_PPM;
    bucket->tokens -= paid_ns * CPU_BUCKET_WHOLE_PPM;
    bucket->tokens = bucket->tokens > -owed_max ? bucket->tokens : -owed_max;
    if (bucket->tokens >= 0 || bucket->capacity_ppm == CPU_BUCKET_WHOLE_PPM) {
        return now_ns;
    }
    int64_t wait_ns = (-bucket->tokens + bucket->capacity_ppm - 1) / bucket->capacity_ppm;
    return now_ns + wait_ns;
}
