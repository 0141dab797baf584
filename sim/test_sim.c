// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "sim/crash.h"
#include "sim/part.h"

/* The simulator's small share of every test run: the same seeds each time, those that once failed (seeds.txt) among
 * them, and then SIM_SEEDS more of each part, fewer where one takes long. All of them together must pass every crash point
 * there is: one that is never reached is one at which no crash was ever tried. */

/* Lines "part engine seed"; '#' begins a comment. */
static int64_t run_old_failures(int64_t *ret_count)
{
    FILE *file = fopen(SIM_SEEDS_FILE, "re");
    CHECK(file != NULL);
    int64_t failed = 0;
    char line[200];
    while (fgets(line, sizeof(line), file) != NULL) {
        char part[32], engine[32];
        unsigned long long seed = 0;
        // NOLINTNEXTLINE(cert-err34-c): a file of our own, checked by the count
        if (line[0] == '#' || sscanf(line, "%31s %31s %llu", part, engine, &seed) != 3) {
            continue;
        }
        failed += sim_run_seeds(part, engine, seed, 1, false);
        (*ret_count)++;
    }
    CHECK(fclose(file) == 0);
    return failed;
}

int main(void)
{
    int64_t count = 0;
    int64_t failed = run_old_failures(&count);
    for (const struct sim_part *part = sim_parts; part->name != NULL; part++) {
        int64_t seeds = SIM_SEEDS / part->cost;
        failed += sim_run_seeds(part->name, NULL, 1, seeds, false);
        count += seeds;
    }
    int32_t missed = 0;
    count += sim_crash_tell(NULL, stdout, &missed);
    failed += missed;
    printf("%lld passed, %lld failed\n", (long long)(count - failed), (long long)failed);
    return failed > 0 ? 1 : 0;
}
