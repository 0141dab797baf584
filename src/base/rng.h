// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

/* Seeded generator, passed in wherever chance is wanted: xoshiro256** (Blackman, Vigna 2018), seeded by splitmix64.
 * Not for secrets. One thread at a time. */
struct rng {
    uint64_t s[4];
};

void rng_init(struct rng *rng, uint64_t seed);

/* A generator that shares no sequence with `rng`: for a part that must not shift the others' draws. */
struct rng rng_fork(struct rng *rng);

uint64_t rng_u64(struct rng *rng);

/* Uniform in [0, n), n > 0, without bias. */
uint64_t rng_below(struct rng *rng, uint64_t n);

/* Uniform in [lo, hi], lo <= hi. */
int64_t rng_range(struct rng *rng, int64_t lo, int64_t hi);

/* Uniform in [0, 1), 53 bits. */
double rng_unit(struct rng *rng);

/* True with probability `p`, 0..1. */
int rng_chance(struct rng *rng, double p);

/* Standard normal (polar method) and exponential with mean 1. */
double rng_normal(struct rng *rng);
double rng_exponential(struct rng *rng);

#endif
