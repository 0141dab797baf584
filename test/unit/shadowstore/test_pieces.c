// SPDX-License-Identifier: Apache-2.0
/* The pure pieces: pages, the registry's text, the breaker. */
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "conformance.h"
#include "shadowstore/breaker.h"
#include "shadowstore/page.h"
#include "shadowstore/registry.h"
#include "test.h"

/* --- pages --- */

static void fill(struct page_draft *draft, uint8_t *bytes, int count)
{
    page_begin(draft, bytes);
    for (int i = 0; i < count; i++) {
        struct shadowstore_entry entry = conformance_entry(7, i);
        CHECK(page_add(draft, &entry, false));
    }
    page_seal(draft, 7, 3);
}

TEST(page_with_any_bit_turned_is_refused)
{
    static uint8_t bytes[SHADOWSTORE_PAGE_BYTES];
    struct page_draft draft;
    struct err_info info;
    fill(&draft, bytes, 5);
    EXPECT_INT(page_check(bytes, draft.len, 7, 3, &info), ERR_OK);
    for (int bit = 0; bit < draft.len * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        EXPECT_MSG(page_check(bytes, draft.len, 7, 3, &info) == ERR_CORRUPT, "bit %d", bit);
        bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
}

TEST(page_cut_at_any_byte_is_refused)
{
    static uint8_t bytes[SHADOWSTORE_PAGE_BYTES];
    struct page_draft draft;
    fill(&draft, bytes, 5);
    for (int len = 0; len < draft.len; len++) {
        EXPECT_MSG(page_check(bytes, len, 7, 3, NULL) == ERR_CORRUPT, "cut at %d", len);
    }
}

TEST(page_of_another_shadow_or_number_is_refused)
{
    static uint8_t bytes[SHADOWSTORE_PAGE_BYTES];
    struct page_draft draft;
    fill(&draft, bytes, 5);
    EXPECT_INT(page_check(bytes, draft.len, 8, 3, NULL), ERR_CORRUPT);
    EXPECT_INT(page_check(bytes, draft.len, 7, 4, NULL), ERR_CORRUPT);
}

TEST(page_holds_what_fits_and_says_when_it_does_not)
{
    static uint8_t bytes[SHADOWSTORE_PAGE_BYTES];
    struct page_draft draft;
    struct shadowstore_entry entry = conformance_entry(7, 0);
    int n = 0;
    page_begin(&draft, bytes);
    while (page_add(&draft, &entry, false)) {
        n++;
    }
    EXPECT_INT(n, (SHADOWSTORE_PAGE_BYTES - PAGE_HEADER) / PAGE_RESULT);
    EXPECT_INT(draft.count, n);
    page_seal(&draft, 7, 0);
    EXPECT_INT(page_check(bytes, draft.len, 7, 0, NULL), ERR_OK);
}

/* --- registry --- */

TEST(registry_reads_what_it_wrote)
{
    static const struct registry_entry entries[] = {
        {1, 2, 3}, {UINT64_MAX, UINT64_MAX, SHADOWSTORE_PAGES_MAX}, {0, 0, 1}};
    char buf[4 * REGISTRY_LINE_MAX];
    ptrdiff_t len = 0;
    struct registry_entry entry;
    bool first = true;
    for (int i = 0; i < 3; i++) {
        EXPECT(registry_add(buf, sizeof(buf), &len, &entries[i]));
    }
    EXPECT(len < 3 * REGISTRY_LINE_MAX + REGISTRY_LINE_MAX);
    struct str rest = {buf, len};
    for (int i = 0; i < 3; i++) {
        EXPECT(registry_next(&rest, &first, &entry));
        EXPECT(entry.incarnation == entries[i].incarnation && entry.shadow == entries[i].shadow);
        EXPECT_INT(entry.pages, entries[i].pages);
    }
    EXPECT(!registry_next(&rest, &first, &entry) && rest.len == 0);
}

TEST(registry_says_when_there_is_no_room)
{
    char buf[REGISTRY_LINE_MAX + 20];
    ptrdiff_t len = 0;
    struct registry_entry entry = {1, 2, 3};
    while (registry_add(buf, sizeof(buf), &len, &entry)) {
    }
    EXPECT(len > 0 && len <= (ptrdiff_t)sizeof(buf));
}

TEST(registry_takes_nothing_that_is_not_its_own)
{
    static const char *const texts[] = {
        "",
        "x",
        "shadowcast 2\n0000000000000001 2 3\n",
        "shadowcast 1\n000000000000000g 2 3\n",
        "shadowcast 1\n0000000000000001 -2 3\n",
        "shadowcast 1\n0000000000000001 2 0\n",
        "shadowcast 1\n0000000000000001 2 99999999999999999999\n",
        "shadowcast 1\n0000000000000001 2 16385\n",
        "shadowcast 1\n0000000000000001 2\n",
        "shadowcast 1\n10000000000000000 2 3\n",
        "shadowcast 1\n0000000000000001 18446744073709551616 3\n",
        "shadowcast 1\n0000000000000001 2 3 4\n",
    };
    for (ptrdiff_t i = 0; i < COUNT_OF(texts); i++) {
        struct str rest = str_of(texts[i]);
        struct registry_entry entry;
        bool first = true;
        EXPECT_MSG(!registry_next(&rest, &first, &entry), "'%s'", texts[i]);
        EXPECT(rest.len == 0 || texts[i][0] != 0);
    }
}

TEST(registry_survives_any_bytes)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int round = 0; round < 20000; round++) {
        char buf[80];
        ptrdiff_t len = (ptrdiff_t)rng_below(&rng, sizeof(buf));
        int entries = 0;
        IGNORE_RESULT(snprintf(buf, sizeof(buf), "shadowcast 1\n%016x %d %d\n", round, round, 5));
        for (int k = 0; k < 3; k++) {
            buf[rng_below(&rng, sizeof(buf))] = (char)rng_below(&rng, 256);
        }
        struct str rest = {buf, len};
        struct registry_entry entry;
        bool first = true;
        while (registry_next(&rest, &first, &entry)) {
            EXPECT(entry.pages >= 1 && entry.pages <= SHADOWSTORE_PAGES_MAX);
            EXPECT(++entries < 10);
        }
    }
}

/* --- breaker --- */

TEST(breaker_starts_with_a_probe)
{
    struct breaker b;
    breaker_init(&b, 10, 80, 5);
    EXPECT(!breaker_allows(&b));
    EXPECT(!breaker_takes_probe(&b, 4));
    EXPECT(breaker_takes_probe(&b, 5));
    EXPECT(!breaker_takes_probe(&b, 1000)); /* one at a time */
    breaker_succeeded(&b, b.generation);
    EXPECT(breaker_allows(&b));
    EXPECT(b.deadline_ns == CLOCK_NEVER);
}

TEST(breaker_opens_after_one_failure_and_waits_longer_each_time)
{
    static const int64_t waits[] = {10, 10, 20, 40, 80, 80, 80};
    struct breaker b;
    int64_t now_ns = 0;
    breaker_init(&b, 10, 80, 0);
    EXPECT(breaker_takes_probe(&b, 0));
    breaker_succeeded(&b, b.generation);
    for (ptrdiff_t i = 0; i < COUNT_OF(waits); i++) {
        breaker_failed(&b, b.generation, now_ns);
        EXPECT(!breaker_allows(&b));
        EXPECT_INT(b.deadline_ns - now_ns, waits[i]);
        EXPECT(!breaker_takes_probe(&b, b.deadline_ns - 1));
        now_ns = b.deadline_ns;
        EXPECT(breaker_takes_probe(&b, now_ns));
    }
    breaker_succeeded(&b, b.generation);
    breaker_failed(&b, b.generation, now_ns);
    EXPECT_INT(b.deadline_ns - now_ns, 10); /* a success begins anew */
}

TEST(breaker_does_not_listen_to_what_is_late)
{
    struct breaker b;
    breaker_init(&b, 10, 80, 0);
    EXPECT(breaker_takes_probe(&b, 0));
    breaker_succeeded(&b, b.generation);
    uint32_t before = b.generation;
    breaker_failed(&b, before, 0);
    EXPECT(breaker_takes_probe(&b, 10));
    breaker_succeeded(&b, before); /* a call of before: says nothing of now */
    EXPECT(b.state == BREAKER_PROBING);
    breaker_failed(&b, before, 11);
    EXPECT(b.state == BREAKER_PROBING);
}
