// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "sim/part.h"

const struct sim_part sim_parts[] = {
    {"log", sim_log_run, 1},       {"pipeline", sim_pipeline_run, 1}, {"layout", sim_layout_run, 1},
    {"shadow", sim_shadow_run, 1}, {"manager", sim_manager_run, 4},   {NULL, NULL, 1},
};

/* What runs now, for a CHECK that ends the process in the middle of a seed. */
static const char *running_part;
static struct sim_options running;

static void print_command(FILE *to, const char *part, const struct sim_options *options)
{
    IGNORE_RESULT(fprintf(to, "build/release/sim/sim --part %s --seed %llu%s%s\n", part,
                          (unsigned long long)options->seed,
                          options->engine != NULL ? " --engine " : "",
                          options->engine != NULL ? options->engine : "")); /* progress only */
}

static void print_running(void)
{
    if (running_part != NULL) {
        print_command(stderr, running_part, &running);
    }
}

static bool run_one(const struct sim_part *part, const struct sim_options *options, bool verbose)
{
    struct sim_result result = {0};
    running_part = part->name;
    running = *options;
    check_set_hook(print_running);
    part->run(options, &result);
    running_part = NULL;
    if (!result.passed) {
        printf("FAIL %s seed %llu: %s\n     ", part->name, (unsigned long long)options->seed,
               result.text);
        print_command(stdout, part->name, options);
    } else if (verbose) {
        printf("ok   %s seed %llu: %s\n", part->name, (unsigned long long)options->seed,
               result.text);
    }
    IGNORE_RESULT(fflush(stdout)); /* progress only */
    return result.passed;
}

int64_t sim_run_seeds(const char *part, const char *engine, uint64_t first, int64_t count,
                      bool verbose)
{
    int64_t failed = 0;
    for (const struct sim_part *p = sim_parts; p->name != NULL; p++) {
        if (part != NULL && strcmp(part, p->name) != 0) {
            continue;
        }
        for (int64_t i = 0; i < count; i++) {
            struct sim_options options = {.seed = first + (uint64_t)i, .engine = engine};
            failed += !run_one(p, &options, verbose);
        }
    }
    return failed;
}
