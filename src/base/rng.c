// SPDX-License-Identifier: Apache-2.0
#include "base/rng.h"

#include <math.h>

#include "base/check.h"

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

void rng_init(struct rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        rng->s[i] = splitmix(&seed);
    }
}

struct rng rng_fork(struct rng *rng)
{
    struct rng child;
    rng_init(&child, rng_u64(rng));
    return child;
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t rng_u64(struct rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *rng, uint64_t n)
{
    CHECK(n > 0);
    /* Lemire 2019: multiply and reject the short lane. */
    uint64_t threshold = (0 - n) % n;
    for (;;) {
        __uint128_t m = (__uint128_t)rng_u64(rng) * n;
        if ((uint64_t)m >= threshold) {
            return (uint64_t)(m >> 64);
        }
    }
}

int64_t rng_range(struct rng *rng, int64_t lo, int64_t hi)
{
    CHECK(lo <= hi);
    uint64_t span = (uint64_t)hi - (uint64_t)lo;
    uint64_t draw = span == UINT64_MAX ? rng_u64(rng) : rng_below(rng, span + 1);
    return (int64_t)((uint64_t)lo + draw);
}

double rng_unit(struct rng *rng)
{
    return (double)(rng_u64(rng) >> 11) * 0x1.0p-53;
}

int rng_chance(struct rng *rng, double p)
{
    return rng_unit(rng) < p;
}

double rng_normal(struct rng *rng)
{
    for (;;) {
        double u = 2.0 * rng_unit(rng) - 1.0;
        double v = 2.0 * rng_unit(rng) - 1.0;
        double q = u * u + v * v;
        if (q > 0.0 && q < 1.0) {
            return u * sqrt(-2.0 * log(q) / q);
        }
    }
}

double rng_exponential(struct rng *rng)
{
    return -log1p(-rng_unit(rng));
}
