// SPDX-License-Identifier: Apache-2.0
// Joins against all pairs, dedupe against a list of what was seen.

#include "base/mem.h"
#include "pipeline/operators.h"
#include "test.h"
#include "window_rig.h"

enum { ROWS = 600, LINE_BYTES = 1024 };

struct lines {
    char **lines;
    int32_t count;
};

static void lines_add(struct lines *lines, const char *text)
{
    lines->lines = mem_resize(lines->lines, lines->count + 1, (ptrdiff_t)sizeof(char *));
    lines->lines[lines->count++] = mem_dup(text, (ptrdiff_t)strlen(text));
}

static void lines_release(struct lines *lines)
{
    for (int32_t i = 0; i < lines->count; i++) {
        mem_free(lines->lines[i]);
    }
    mem_free(lines->lines);
}

static void format_columns(const struct rig_row *row, char *out, size_t cap)
{
    if (row == NULL) {
        snprintf(out, cap, "- - - -");
        return;
    }
    char a[32] = "-";
    char x[40] = "-";
    char s[40] = "-";
    if (!row->a_null) {
        snprintf(a, sizeof a, "%lld", (long long)row->a);
    }
    if (!row->x_null) {
        snprintf(x, sizeof x, "%.17g", row->x);
    }
    if (row->s >= 0) {
        snprintf(s, sizeof s, "'%s'", RIG_TEXTS[row->s]);
    }
    snprintf(out, cap, "%s %s %s %lld", a, x, s, (long long)row->t);
}

static void pair_line(struct lines *lines, const struct rig_input *input,
                      const struct rig_row *left, const struct rig_row *right, bool two)
{
    char l[200];
    char r[200];
    char line[LINE_BYTES];
    format_columns(left, l, sizeof l);
    format_columns(right, r, sizeof r);
    int64_t time = right != NULL && right->time > left->time ? right->time : left->time;
    snprintf(line, sizeof line, "%s @%lld %s%s%s", left->key < 0 ? "" : input->key_texts[left->key],
             (long long)time, l, two ? " " : "", two ? r : "");
    lines_add(lines, line);
}

static void all_pairs(struct lines *lines, const struct rig_input *input, int64_t within,
                      bool left_too)
{
    for (int32_t i = 0; i < input->count; i++) {
        const struct rig_row *left = &input->rows[i];
        bool met = false;
        for (int32_t k = 0; left->input == 0 && k < input->count; k++) {
            const struct rig_row *right = &input->rows[k];
            int64_t apart = left->time - right->time;
            apart = apart < 0 ? -apart : apart;
            if (right->input == 1 && right->key == left->key && apart <= within) {
                pair_line(lines, input, left, right, true);
                met = true;
            }
        }
        if (left->input == 0 && !met && left_too) {
            pair_line(lines, input, left, NULL, true);
        }
    }
}

static void last_of_table(struct lines *lines, const struct rig_input *input, bool left_too)
{
    for (int32_t i = 0; i < input->count; i++) {
        const struct rig_row *left = &input->rows[i];
        const struct rig_row *right = NULL;
        for (int32_t k = 0; left->input == 0 && k < i; k++) {
            const struct rig_row *row = &input->rows[k];
            right = row->input == 1 && row->key == left->key ? row : right;
        }
        if (left->input == 0 && (right != NULL || left_too)) {
            char l[200];
            char r[200];
            char line[LINE_BYTES];
            format_columns(left, l, sizeof l);
            format_columns(right, r, sizeof r);
            snprintf(line, sizeof line, "%s @%lld %s %s",
                     left->key < 0 ? "" : input->key_texts[left->key], (long long)left->time, l, r);
            lines_add(lines, line);
        }
    }
}

enum { PAIRS, TABLE, FIRSTS, FIRSTS_BY_S };

struct expectation {
    int what;
    int64_t within;
    bool left;
};

static int64_t floor_to(int64_t time, int64_t step)
{
    int64_t rest = time % step;
    return time - (rest < 0 ? rest + step : rest);
}

/* Those that are near no record which passed and is known still: for the source's watermark to the end of the next step. */
static void firsts(struct lines *lines, const struct rig_input *input, int64_t within, bool by_s)
{
    int32_t count = 0;
    static int32_t passed[ROWS];
    for (int32_t i = 0; i < input->count; i++) {
        const struct rig_row *row = &input->rows[i];
        int64_t own = within == INT64_MAX ? 0 : floor_to(row->time, within);
        bool first = true;
        for (int32_t k = 0; k < count && first; k++) {
            const struct rig_row *old = &input->rows[passed[k]];
            if (old->key != row->key || (by_s && old->s != row->s)) {
                continue;
            }
            int64_t apart = row->time > old->time ? row->time - old->time : old->time - row->time;
            bool known = within == INT64_MAX || row->stamp == STAMP_NONE ||
                         floor_to(old->time, within) + 2 * within > row->stamp;
            first = !known || apart >= within;
        }
        if (!first) {
            continue;
        }
        pair_line(lines, input, row, NULL, false);
        if (within == INT64_MAX || row->stamp == STAMP_NONE || own + 2 * within > row->stamp) {
            passed[count++] = i;
        }
    }
}

static const char *compare(const struct operator_type *type, const char *yaml, int32_t inputs,
                           struct expectation expect, uint64_t seed, int64_t disorder)
{
    static char difference[3 * LINE_BYTES];
    static const int32_t PARTS[] = {1, 2, 7};
    struct arena arena;
    arena_init(&arena, 64 << 20);
    const struct operator_plan *plan = rig_compile(&arena, type, yaml, inputs);
    struct rng rng;
    rng_init(&rng, seed);
    struct rig_input input;
    rig_draw(&arena, &rng, ROWS, disorder, 60, &input);
    struct lines want = {0};
    if (expect.what == PAIRS) {
        all_pairs(&want, &input, expect.within, expect.left);
    } else if (expect.what == TABLE) {
        last_of_table(&want, &input, expect.left);
    } else {
        firsts(&want, &input, expect.within, expect.what == FIRSTS_BY_S);
    }
    rig_lines_sort(want.lines, want.count);
    const char *found = NULL;
    for (int p = 0; p < 3 && found == NULL; p++) {
        struct rig_result result;
        rig_run(plan, &input, PARTS[p], p == 0 ? 0.0 : 0.3, &rng, &result);
        int32_t i = 0;
        while (i < result.count && i < want.count && strcmp(result.lines[i], want.lines[i]) == 0) {
            i++;
        }
        if (i < result.count || i < want.count || result.rejected != 0) {
            snprintf(difference, sizeof difference,
                     "seed %llu, %d ranges: %d results, expected %d; line %d:\n got      %.900s\n "
                     "expected %.900s",
                     (unsigned long long)seed, PARTS[p], result.count, want.count, i,
                     i < result.count ? result.lines[i] : "nothing",
                     i < want.count ? want.lines[i] : "nothing");
            found = difference;
        }
        rig_result_release(&result);
    }
    lines_release(&want);
    arena_release(&arena);
    return found;
}

static const char *compare_seeds(const struct operator_type *type, const char *yaml, int32_t inputs,
                                 struct expectation expect, int64_t disorder)
{
    const char *found = NULL;
    for (uint64_t seed = 0; seed < 10 && found == NULL; seed++) {
        found = compare(type, yaml, inputs, expect, test_seed() + seed, disorder);
    }
    return found;
}

#define EXPECT_SAME(type, yaml, inputs, disorder, ...) \
    do { \
        const char *found_ = \
            compare_seeds(type, yaml, inputs, (struct expectation){__VA_ARGS__}, disorder); \
        EXPECT_MSG(found_ == NULL, "%s", found_); \
    } while (0)

TEST(join_within_gives_each_pair_that_is_near_enough)
{
    EXPECT_SAME(&operator_join, "{name: w, within: 2s, as: [o, p]}", 2, 0, PAIRS, 2000, false);
    EXPECT_SAME(&operator_join, "{name: w, within: 0s}", 2, 0, PAIRS, 0, false);
}

TEST(join_within_left_gives_lonely_rows_once_nobody_can_come)
{
    EXPECT_SAME(&operator_join, "{name: w, within: 700ms, kind: left}", 2, 0, PAIRS, 700, true);
}

TEST(join_unbounded_gives_all_pairs)
{
    EXPECT_SAME(&operator_join, "{name: w, unbounded: true}", 2, 3000, PAIRS, INT64_MAX, false);
}

TEST(join_with_a_table_gives_its_last_row)
{
    EXPECT_SAME(&operator_join, "{name: w, table: 2, kind: left}", 2, 0, TABLE, 0, true);
    EXPECT_SAME(&operator_join, "{name: w, table: 2}", 2, 0, TABLE, 0, false);
}

TEST(dedupe_lets_the_first_of_a_key_pass)
{
    EXPECT_SAME(&operator_dedupe, "{name: w}", 1, 3000, FIRSTS, INT64_MAX, false);
    EXPECT_SAME(&operator_dedupe, "{name: w, within: 1s}", 1, 0, FIRSTS, 1000, false);
    EXPECT_SAME(&operator_dedupe, "{name: w, within: 1s}", 1, 3000, FIRSTS, 1000, false);
    EXPECT_SAME(&operator_dedupe, "{name: w, within: 90ms}", 1, 3000, FIRSTS, 90, false);
}

TEST(dedupe_remembers_a_late_one_that_passed_and_forgets_in_the_end)
{
    struct arena arena;
    arena_init(&arena, 64 << 20);
    const struct operator_plan *plan =
        rig_compile(&arena, &operator_dedupe, "{name: w, within: 10s}", 1);
    struct rig_row rows[] = {
        {.time = 100000, .stamp = STAMP_NONE}, {.time = 50000, .stamp = STAMP_NONE},
        {.time = 50000, .stamp = STAMP_NONE},  {.time = 59999, .stamp = STAMP_NONE},
        {.time = 100001, .stamp = STAMP_NONE}, {.time = 50000, .stamp = 70000},
    };
    enum { COUNT = COUNT_OF(rows) };
    int64_t watermark[COUNT] = {0};
    struct rig_input input = {.count = COUNT, .rows = rows, .watermark = watermark};
    for (int i = 0; i < RIG_KEYS_MAX; i++) {
        input.key_texts[i] = "k";
    }
    struct rng rng;
    rng_init(&rng, 1);
    struct rig_result result;
    rig_run(plan, &input, 1, 0.0, &rng, &result);
    EXPECT_INT(result.count, 3); // the last one is too late to be known
    rig_result_release(&result);
    arena_release(&arena);
}

TEST(dedupe_state_of_one_form_is_not_taken_for_the_other)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    const struct operator_plan *ever = rig_compile(&arena, &operator_dedupe, "{name: w}", 1);
    const struct operator_plan *within =
        rig_compile(&arena, &operator_dedupe, "{name: w, within: 10s}", 1);
    EXPECT_STR(ever->spaces[0].name, within->spaces[0].name);
    EXPECT(!str_equal(ever->spaces[0].schema, within->spaces[0].schema));
    arena_release(&arena);
}

TEST(dedupe_by_columns_stays_within_the_record_key)
{
    EXPECT_SAME(&operator_dedupe, "{name: w, by: s}", 1, 3000, FIRSTS_BY_S, INT64_MAX, false);
    EXPECT_SAME(&operator_dedupe, "{name: w, by: [s], within: 1500ms}", 1, 0, FIRSTS_BY_S, 1500,
                false);
}
