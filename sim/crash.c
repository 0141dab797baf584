// SPDX-License-Identifier: Apache-2.0
#include "sim/crash.h"

#include <stdlib.h>
#include <string.h>

#include "base/crashpoint.h"
#include "base/mem.h"

static void pass(void *ctx, const char *name)
{
    struct sim_crash *crash = ctx;
    if (crash->name == NULL || strcmp(crash->name, name) != 0 || --crash->passes_left > 0) {
        return;
    }
    crash->name = NULL;
    crash->struck = true;
    if (crash->power) {
        disk_power_cut(crash->disk);
    } else {
        disk_process_kill(crash->disk);
    }
}

void sim_crash_init(struct sim_crash *crash, struct disk *disk, uint64_t seed)
{
    *crash = (struct sim_crash){.disk = disk};
    rng_init(&crash->rng, seed * 13 + 5);
    crashpoint_arm(pass, crash);
}

void sim_crash_release(struct sim_crash *crash)
{
    crashpoint_arm(NULL, NULL);
    crash->name = NULL;
}

void sim_crash_draw(struct sim_crash *crash)
{
    crash->struck = false;
    crash->name = NULL;
    if (crashpoint_count() == 0 || rng_chance(&crash->rng, 0.4)) {
        return;
    }
    int32_t index = (int32_t)rng_below(&crash->rng, (uint64_t)crashpoint_count());
    crash->name = crashpoint_at(index)->name;
    crash->passes_left = 1 + (int64_t)(6 * rng_exponential(&crash->rng));
    crash->power = rng_chance(&crash->rng, 0.7);
}

bool sim_crash_hold(struct sim_crash *crash)
{
    bool struck = crash->struck;
    crash->name = NULL;
    crash->struck = false;
    return struck;
}

static int by_name(const void *x, const void *y)
{
    const struct crashpoint *const *a = x, *const *b = y;
    return strcmp((*a)->name, (*b)->name);
}

int32_t sim_crash_tell(FILE *all, FILE *missed, int32_t *ret_missed)
{
    int32_t count = crashpoint_count(), names = 0;
    *ret_missed = 0;
    const struct crashpoint **points =
        MEM_NEW_ARRAY(const struct crashpoint *, count > 0 ? count : 1);
    for (int32_t i = 0; i < count; i++) {
        points[i] = crashpoint_at(i);
    }
    qsort(points, (size_t)count, sizeof(char *), by_name);
    for (int32_t i = 0; i < count;) {
        const char *name = points[i]->name;
        int64_t passed = 0;
        for (; i < count && strcmp(points[i]->name, name) == 0; i++) {
            passed += atomic_load(&points[i]->passed);
        }
        names++;
        *ret_missed += passed == 0;
        if (all != NULL) {
            IGNORE_RESULT(fprintf(all, "%-36s %lld\n", name, (long long)passed)); /* a report */
        }
        if (missed != NULL && passed == 0) {
            IGNORE_RESULT(fprintf(missed, "never reached: crash point %s\n", name)); /* the same */
        }
    }
    mem_free(points);
    return names;
}
