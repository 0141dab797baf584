// SPDX-License-Identifier: Apache-2.0
// Rows put together by key and time, against a search from end to end.

#include "pipeline/row_groups.h"

#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "test.h"

struct rig {
    char text[BATCH_ROWS_MAX][16];
    struct str key[BATCH_ROWS_MAX];
    uint64_t hash[BATCH_ROWS_MAX];
    int64_t time[BATCH_ROWS_MAX];
    int32_t sel[BATCH_ROWS_MAX];
    int32_t first[BATCH_ROWS_MAX];
    struct row_groups groups;
};

/* `count` rows, every other one selected, with keys out of `keys`. A part of the hash says nothing: groups are told by keys. */
static struct state_rows fill(struct rig *rig, uint64_t seed, int32_t count, uint64_t keys)
{
    struct rng rng;
    rng_init(&rng, seed);
    for (int32_t row = 0; row < count; row++) {
        int len = snprintf(rig->text[row], sizeof rig->text[row], "%llu",
                           (unsigned long long)rng_below(&rng, keys));
        rig->key[row] = (struct str){.ptr = rig->text[row], .len = len};
        rig->hash[row] = hash64(rig->text[row], len) & UINT64_C(0xff000000000000ff);
        rig->time[row] = (int64_t)rng_below(&rng, 3);
        rig->sel[row / 2] = row;
    }
    return (struct state_rows){
        .sel = rig->sel, .count = count / 2, .hash = rig->hash, .key = rig->key, .time = rig->time};
}

static bool is_of(const struct rig *rig, const struct state_rows *rows, int32_t a, int32_t b)
{
    return str_equal(rig->key[a], rig->key[b]) &&
           (rows->time == NULL || rig->time[a] == rig->time[b]);
}

static void expect_groups(const struct rig *rig, const struct state_rows *rows, int32_t count)
{
    int32_t seen = 0;
    for (int32_t i = 0; i < rows->count; i++) {
        int32_t row = rows->sel[i];
        int32_t group = 0;
        while (group < seen && !is_of(rig, rows, rig->first[group], row)) {
            group++;
        }
        EXPECT_INT(rig->groups.of[i], group);
        if (group == seen) {
            EXPECT_INT(rig->first[seen++], row);
        }
    }
    EXPECT_INT(seen, count);
}

TEST(rows_are_grouped_by_key_and_time)
{
    static struct rig rig;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct state_rows rows = fill(&rig, seed, BATCH_ROWS_MAX - (int32_t)seed, 1 + seed / 3);
        rows.time = seed % 2 == 0 ? NULL : rig.time;
        int32_t count = row_groups_find(&rig.groups, &rows, rig.first);
        EXPECT(count > 0);
        expect_groups(&rig, &rows, count);
    }
}

/* Keys of one length from 4 to 8 are told apart by their hashes alone. */
TEST(rows_of_one_time_with_short_keys_of_one_length_are_grouped_by_hash)
{
    static struct rig rig;
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int32_t len = 3; len <= 9; len++) {
        struct state_rows rows = fill(&rig, 1, BATCH_ROWS_MAX, 1);
        rows.time = NULL;
        rows.key_bytes = len;
        for (int32_t row = 0; row < BATCH_ROWS_MAX; row++) {
            memset(rig.text[row], '0', (size_t)len);
            rig.text[row][rng_below(&rng, (uint64_t)len)] ^= (char)rng_below(&rng, 8);
            rig.key[row] = (struct str){.ptr = rig.text[row], .len = len};
            rig.hash[row] = hash64(rig.text[row], len);
        }
        int32_t count = row_groups_find(&rig.groups, &rows, rig.first);
        EXPECT(count > 0);
        expect_groups(&rig, &rows, count);
    }
}

TEST(rows_that_have_nothing_in_common_are_looked_at_seldom)
{
    static struct rig rig;
    struct state_rows apart = fill(&rig, 1, BATCH_ROWS_MAX, 1 << 30);
    EXPECT_INT(row_groups_find(&rig.groups, &apart, rig.first), -1);
    struct state_rows rows = fill(&rig, 1, BATCH_ROWS_MAX, 4);
    int32_t passed_over = 0;
    while (row_groups_find(&rig.groups, &rows, rig.first) < 0) {
        passed_over++;
        EXPECT(passed_over < 100);
    }
    EXPECT(passed_over > 0);
    EXPECT(row_groups_find(&rig.groups, &rows, rig.first) > 0); // as long as it pays: each time
}
