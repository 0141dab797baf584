// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sim/crash.h"
#include "sim/part.h"

/* sim [--seeds N] [--seed S] [--engine embedded|memory] [--part NAME] [--crash-points] [--verbose]
 * N seeds from S on (default 200 from 1; --seed alone: that one). Exit 0 only if all passed. */

struct arguments {
    int64_t seeds; /* -1: not given */
    uint64_t seed;
    const char *engine;
    const char *part;
    bool seed_given;
    bool verbose;
    bool crash_points; /* tell how often each was passed */
};

static int usage(const char *why)
{
    IGNORE_RESULT(fprintf(stderr,
                          "sim: %s\nusage: sim [--seeds N] [--seed S] [--engine embedded|memory] "
                          "[--part NAME] [--crash-points] [--verbose]\nparts:",
                          why)); /* nowhere to tell it */
    for (const struct sim_part *p = sim_parts; p->name != NULL; p++) {
        IGNORE_RESULT(fprintf(stderr, " %s", p->name));
    }
    IGNORE_RESULT(fprintf(stderr, "\n"));
    return 64;
}

static bool number(const char *text, uint64_t *ret_value)
{
    char *end = NULL;
    errno = 0;
    *ret_value = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == 0 && errno == 0;
}

static bool known_part(const char *name)
{
    for (const struct sim_part *p = sim_parts; p->name != NULL; p++) {
        if (strcmp(name, p->name) == 0) {
            return true;
        }
    }
    return false;
}

/* NULL, or what is wrong. */
static const char *parse(int argc, char **argv, struct arguments *args)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0) {
            args->verbose = true;
            continue;
        }
        if (strcmp(argv[i], "--crash-points") == 0) {
            args->crash_points = true;
            continue;
        }
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        uint64_t n = 0;
        if (strcmp(argv[i], "--seeds") == 0 && number(value, &n) && n >= 1 && n <= 1000000000) {
            args->seeds = (int64_t)n;
        } else if (strcmp(argv[i], "--seed") == 0 && number(value, &args->seed)) {
            args->seed_given = true;
        } else if (strcmp(argv[i], "--engine") == 0 &&
                   (strcmp(value, "embedded") == 0 || strcmp(value, "memory") == 0)) {
            args->engine = value;
        } else if (strcmp(argv[i], "--part") == 0 && known_part(value)) {
            args->part = value;
        } else {
            return argv[i];
        }
        i++;
    }
    return NULL;
}

static int64_t part_count(const char *part)
{
    int64_t n = 0;
    for (const struct sim_part *p = sim_parts; p->name != NULL; p++) {
        n += part == NULL || strcmp(part, p->name) == 0;
    }
    return n;
}

int main(int argc, char **argv)
{
    struct arguments args = {.seeds = -1, .seed = 1};
    const char *wrong = parse(argc, argv, &args);
    if (wrong != NULL) {
        return usage(wrong);
    }
    int64_t seeds = args.seeds > 0 ? args.seeds : args.seed_given ? 1 : 200;
    bool verbose = args.verbose || (args.seed_given && seeds == 1);
    int64_t failed = sim_run_seeds(args.part, args.engine, args.seed, seeds, verbose);
    int32_t missed = 0;
    if (args.crash_points) {
        IGNORE_RESULT(sim_crash_tell(stdout, NULL, &missed)); /* how many there are */
    }
    printf("%lld passed, %lld failed\n", (long long)(seeds * part_count(args.part) - failed),
           (long long)failed);
    return failed > 0 ? 1 : 0;
}
