// SPDX-License-Identifier: Apache-2.0
#include "control/dedupe.h"

#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "test.h"

static struct str key_of(char *buf, int i)
{
    int n = snprintf(buf, 32, "p/%d/s", i);
    return (struct str){buf, n};
}

TEST(a_producer_may_repeat_what_is_stored_and_only_go_on_where_it_stands)
{
    struct dedupe_entry entry = {.epoch = 2, .next = 10};
    EXPECT_INT(dedupe_judge_producer(NULL, 0, 0, 5), DEDUPE_NEW);
    EXPECT_INT(dedupe_judge_producer(NULL, 0, 1, 5), DEDUPE_GAP);
    EXPECT_INT(dedupe_judge_producer(&entry, 2, 10, 5), DEDUPE_NEW);
    EXPECT_INT(dedupe_judge_producer(&entry, 2, 5, 5), DEDUPE_DONE);
    EXPECT_INT(dedupe_judge_producer(&entry, 2, 0, 1), DEDUPE_DONE);
    EXPECT_INT(dedupe_judge_producer(&entry, 2, 11, 1), DEDUPE_GAP);
    EXPECT_INT(dedupe_judge_producer(&entry, 2, 9, 2), DEDUPE_GAP);
    EXPECT_INT(dedupe_judge_producer(&entry, 1, 10, 1), DEDUPE_STALE);
    EXPECT_INT(dedupe_judge_producer(&entry, 3, 0, 1), DEDUPE_NEW);
    EXPECT_INT(dedupe_judge_producer(&entry, 3, 10, 1), DEDUPE_GAP);
    entry.pending = true;
    EXPECT_INT(dedupe_judge_producer(&entry, 2, 5, 5), DEDUPE_PENDING);
    EXPECT_INT(dedupe_judge_producer(&entry, 2, 10, 5), DEDUPE_NEW);
}

TEST(an_idempotency_key_holds_for_its_body_and_its_lifetime)
{
    struct dedupe_entry entry = {.body_hash = 7, .changed_ms = 1000};
    EXPECT_INT(dedupe_judge_key(NULL, 7, 0, 500), DEDUPE_NEW);
    EXPECT_INT(dedupe_judge_key(&entry, 7, 1500, 500), DEDUPE_DONE);
    EXPECT_INT(dedupe_judge_key(&entry, 8, 1500, 500), DEDUPE_OTHER_BODY);
    EXPECT_INT(dedupe_judge_key(&entry, 8, 1501, 500), DEDUPE_NEW);
    entry.pending = true;
    EXPECT_INT(dedupe_judge_key(&entry, 7, 9999, 500), DEDUPE_PENDING);
}

TEST(entries_survive_their_encoding)
{
    struct dedupe_entry back;
    char value[DEDUPE_VALUE_BYTES];
    struct dedupe_entry entry = {.epoch = -2,
                                 .next = INT64_MAX,
                                 .body_hash = 0xfedcba9876543210u,
                                 .changed_ms = -5,
                                 .records = 3,
                                 .rejected = 1,
                                 .shard = INT64_MIN,
                                 .offset = 99};
    dedupe_encode(&entry, value);
    EXPECT_INT(dedupe_decode((struct str){value, DEDUPE_VALUE_BYTES}, &back), ERR_OK);
    EXPECT(memcmp(&back, &entry, sizeof(entry)) == 0);
    EXPECT_INT(dedupe_decode((struct str){value, DEDUPE_VALUE_BYTES - 1}, &back), ERR_CORRUPT);
    value[0] = 9;
    EXPECT_INT(dedupe_decode((struct str){value, DEDUPE_VALUE_BYTES}, &back), ERR_CORRUPT);
}

/* Against a plain array that is searched from end to end. */
TEST(the_table_agrees_with_a_naive_one)
{
    enum { KEYS = 40, CAP = 16, STEPS = 20000 };
    struct dedupe *dedupe = dedupe_new(CAP);
    int64_t last[KEYS] = {0}; /* step of the last change, 0: absent */
    struct rng rng;
    char buf[32];
    int count = 0;
    rng_init(&rng, test_seed());
    for (int64_t step = 1; step <= STEPS; step++) {
        int i = (int)rng_below(&rng, KEYS);
        uint64_t what = rng_below(&rng, 20);
        if (what < 14) {
            if (last[i] == 0 && count == CAP) {
                int oldest = -1;
                for (int k = 0; k < KEYS; k++) {
                    if (last[k] != 0 && (oldest < 0 || last[k] < last[oldest])) {
                        oldest = k;
                    }
                }
                last[oldest] = 0;
                count--;
            }
            count += last[i] == 0;
            last[i] = step;
            dedupe_put(dedupe, key_of(buf, i),
                       &(struct dedupe_entry){.next = step, .changed_ms = step});
        } else if (what < 19) {
            count -= last[i] != 0;
            last[i] = 0;
            dedupe_remove(dedupe, key_of(buf, i));
        } else {
            dedupe_expire(dedupe, step - 100, INT32_MAX);
            for (int k = 0; k < KEYS; k++) {
                if (last[k] != 0 && last[k] < step - 100) {
                    last[k] = 0;
                    count--;
                }
            }
        }
        EXPECT_INT(dedupe_count(dedupe), count);
        const struct dedupe_entry *entry = dedupe_find(dedupe, key_of(buf, i));
        EXPECT((entry != NULL) == (last[i] != 0));
        EXPECT(entry == NULL || entry->next == last[i]);
    }
    struct dedupe_cursor cursor = {.begun = false};
    struct dedupe_entry entry;
    struct str key;
    int64_t before = 0;
    int walked = 0;
    while (dedupe_next(dedupe, &cursor, &key, &entry)) {
        EXPECT(entry.next > before);
        before = entry.next;
        walked++;
    }
    EXPECT_INT(walked, count);
    dedupe_free(dedupe);
}
