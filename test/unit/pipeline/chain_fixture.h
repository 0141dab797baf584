// SPDX-License-Identifier: Apache-2.0
#ifndef TEST_UNIT_PIPELINE_CHAIN_FIXTURE_H
#define TEST_UNIT_PIPELINE_CHAIN_FIXTURE_H

#include "pipeline/chain.h"
#include "pipeline/config.h"

/* A configuration as text, the chain of one of its stages, and rows for it: what tests of operators share. */
struct fixture {
    struct arena arena; /* of the configuration */
    struct arena rows;  /* of batches */
    struct arena out_arena;
    struct chain_out *out;
    struct err_info info;
    const struct config *config;
    const struct stage_plan *stage;
    struct state *state;
    struct lookup_table *tables[4]; /* the test's; by index among the stage's */
    struct chain *chain;
};

/* Loads `yaml` and opens stage `stage` of its first pipeline, for all key groups. False: `info` says why. */
bool fixture_open(struct fixture *fixture, const char *yaml, int stage);
void fixture_close(struct fixture *fixture);

/* A stage "s" that reads stream "in" and writes "out" with the given chain (a flow list), in a whole configuration. */
const char *fixture_yaml(struct arena *arena, const char *chain);

/* A batch of these values; keys "k0", "k1" ..., event times 1000, 1001 ... Values get their 64 bytes of padding. */
struct batch *fixture_batch(struct fixture *fixture, const struct str *values, int32_t count);

/* The n-th row of outputs of one kind over all outputs, as "value"; empty if there is none. Header `name` of it. */
struct str fixture_value(const struct fixture *fixture, enum output_kind kind, int32_t n);
struct str fixture_key(const struct fixture *fixture, enum output_kind kind, int32_t n);
struct str fixture_header(const struct fixture *fixture, enum output_kind kind, int32_t n,
                          const char *name);
int32_t fixture_count(const struct fixture *fixture, enum output_kind kind);

#endif
