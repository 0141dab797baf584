// SPDX-License-Identifier: Apache-2.0
#include "log/memory.h"

#include <stdlib.h>

#include "conformance.h"

/* The engine in memory under the conformance suite, quick and as slow and moody as Kafka; then what is its own. */

static void memory_open(struct rig *rig)
{
    struct log_memory_options options = *(const struct log_memory_options *)rig->factory->options;
    options.clock = &rig->clock;
    options.seed = test_seed();
    rig->log = log_memory_new(&options);
}

static void memory_close(struct rig *rig)
{
    log_close(rig->log);
}

static void memory_crash(struct rig *rig)
{
    log_memory_drop_clients(rig->log);
}

static struct log_memory_options quick_options;
static struct log_memory_options moody_options = {
    .commit_delay_ns = 20000000, .again_probability = 0.3, .lost_reply_probability = 0.5};

static const struct conformance_factory quick = {
    .options = &quick_options, .open = memory_open, .crash = memory_crash, .close = memory_close};
static const struct conformance_factory moody = {
    .options = &moody_options, .open = memory_open, .crash = memory_crash, .close = memory_close};

#define X(name) \
    TEST(memory_quick_##name) \
    { \
        conformance_run(&quick, conform_##name); \
    } \
    TEST(memory_moody_##name) \
    { \
        conformance_run(&moody, conform_##name); \
    }
CONFORMANCE_LIST(X)
#undef X
