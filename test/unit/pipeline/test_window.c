// SPDX-License-Identifier: Apache-2.0
// Windows against a slow recount from the definition, over random layouts, batch borders and restarts.

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "pipeline/exact_sum.h"
#include "pipeline/operators.h"
#include "test.h"
#include "window_rig.h"

__extension__ typedef __int128 wide;

enum { ROWS = 1200, LINE_MAX_BYTES = 1024 };

/* A window of one key, by definition: which rows it holds. */
struct oracle {
    const struct rig_input *input;
    int64_t size, slide; /* slide == size: tumbling; size 0: session */
    int64_t gap;
    char **lines;
    int32_t count;
    int64_t late;
    int32_t top_n;
    bool ties_all;
    enum { ALL_COLUMNS, FEW_COLUMNS, ONE_COLUMN } columns;
};

static const struct rig_row *row_of(const struct oracle *oracle, int32_t index)
{
    return &oracle->input->rows[index];
}

static void oracle_line(struct oracle *oracle, const char *text)
{
    oracle->lines = mem_resize(oracle->lines, oracle->count + 1, (ptrdiff_t)sizeof(char *));
    oracle->lines[oracle->count++] = mem_dup(text, (ptrdiff_t)strlen(text));
}

static int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static const char *key_text(const struct oracle *oracle, int32_t key)
{
    return key < 0 ? "" : oracle->input->key_texts[key];
}

static void format_f64(char *out, size_t cap, bool null, double value)
{
    if (null) {
        snprintf(out, cap, "-");
    } else {
        snprintf(out, cap, "%.17g", value);
    }
}

struct sums {
    int64_t na, nx, a, low_x, distinct, high_t;
    double x, min_x;
    double q;
};

static struct sums sum_rows(const struct oracle *oracle, const int32_t *rows, int32_t count)
{
    struct sums sums = {.min_x = INFINITY, .high_t = INT64_MIN};
    static int64_t values[ROWS];
    wide x = 0;
    uint32_t seen = 0;
    for (int32_t i = 0; i < count; i++) {
        const struct rig_row *row = row_of(oracle, rows[i]);
        if (!row->a_null) {
            values[sums.na++] = row->a;
            sums.a += row->a;
        }
        if (!row->x_null) {
            sums.nx++;
            x += (wide)(row->x * 1048576.0); // whole by construction
            sums.min_x = row->x < sums.min_x ? row->x : sums.min_x;
        }
        if (row->s >= 0) {
            seen |= 1u << row->s;
        }
        sums.high_t = row->t > sums.high_t ? row->t : sums.high_t;
    }
    sums.x = (double)x / 1048576.0;
    sums.distinct = __builtin_popcount(seen);
    if (sums.na > 0) {
        qsort(values, (size_t)sums.na, sizeof *values, compare_i64);
        sums.q = (double)values[(int64_t)ceil(0.9 * (double)sums.na) - 1];
    }
    return sums;
}

/* The columns of ALL below. */
static const char *format_all(const struct oracle *oracle, const int32_t *rows, int32_t count,
                              char *out)
{
    struct sums s = sum_rows(oracle, rows, count);
    char sx[40];
    char va[40];
    char vx[40];
    char lo[40];
    char q[40];
    char sa[40];
    format_f64(sx, sizeof sx, s.nx == 0, s.x);
    format_f64(va, sizeof va, s.na == 0, (double)s.a / (double)s.na);
    format_f64(vx, sizeof vx, s.nx == 0, s.x / (double)s.nx);
    format_f64(lo, sizeof lo, s.nx == 0, s.min_x);
    format_f64(q, sizeof q, s.na == 0, s.q);
    if (s.na == 0) {
        snprintf(sa, sizeof sa, "-");
    } else {
        snprintf(sa, sizeof sa, "%lld", (long long)s.a);
    }
    snprintf(out, LINE_MAX_BYTES, "%d %lld %s %s %s %s %s %lld %lld %s", count, (long long)s.na, sa,
             sx, va, vx, lo, (long long)s.high_t, (long long)s.distinct, q);
    return out;
}

/* The columns of FEW, and of ONE, below. */
static const char *format_few(const struct oracle *oracle, const int32_t *rows, int32_t count,
                              char *out)
{
    struct sums s = sum_rows(oracle, rows, count);
    if (oracle->columns == ONE_COLUMN) {
        snprintf(out, LINE_MAX_BYTES, "%d", count);
    } else {
        snprintf(out, LINE_MAX_BYTES, "%d %lld %lld", count, (long long)s.na, (long long)s.high_t);
    }
    return out;
}

static int compare_top(const void *a, const void *b)
{
    const struct rig_row *x = *(const struct rig_row *const *)a;
    const struct rig_row *y = *(const struct rig_row *const *)b;
    return x->a != y->a ? (x->a > y->a ? -1 : 1) : x->t < y->t ? -1 : x->t > y->t;
}

static void oracle_window(struct oracle *oracle, const int32_t *rows, int32_t count, int64_t start,
                          int64_t end)
{
    char columns[LINE_MAX_BYTES];
    char line[2 * LINE_MAX_BYTES];
    const char *key = key_text(oracle, row_of(oracle, rows[0])->key);
    if (oracle->top_n == 0) {
        snprintf(line, sizeof line, "%s @%lld %lld %lld %s", key, (long long)end - 1,
                 (long long)start, (long long)end,
                 oracle->columns == ALL_COLUMNS ? format_all(oracle, rows, count, columns)
                                                : format_few(oracle, rows, count, columns));
        oracle_line(oracle, line);
        return;
    }
    static const struct rig_row *sorted[ROWS];
    int32_t kept = 0;
    for (int32_t i = 0; i < count; i++) {
        if (!row_of(oracle, rows[i])->a_null) {
            sorted[kept++] = row_of(oracle, rows[i]);
        }
    }
    qsort(sorted, (size_t)kept, sizeof *sorted, compare_top);
    int32_t rank = 0;
    for (int32_t i = 0; i < kept; i++) {
        bool tie = i > 0 && sorted[i]->a == sorted[i - 1]->a;
        rank = tie && oracle->ties_all ? rank : i + 1;
        if (i >= oracle->top_n &&
            !(oracle->ties_all && sorted[i]->a == sorted[oracle->top_n - 1]->a)) {
            break;
        }
        snprintf(line, sizeof line, "%s @%lld %lld %lld %lld %d %lld", key, (long long)end - 1,
                 (long long)start, (long long)end, (long long)sorted[i]->a, rank,
                 (long long)sorted[i]->t);
        oracle_line(oracle, line);
    }
}

static int64_t floor_to(int64_t time, int64_t step)
{
    int64_t down = time / step * step;
    return down > time ? down - step : down;
}

static void oracle_steps(struct oracle *oracle, int32_t key)
{
    static int32_t rows[ROWS];
    int64_t lo = INT64_MAX;
    int64_t hi = INT64_MIN;
    for (int32_t i = 0; i < oracle->input->count; i++) {
        int64_t time = row_of(oracle, i)->time;
        lo = time < lo ? time : lo;
        hi = time > hi ? time : hi;
    }
    for (int64_t start = floor_to(lo - oracle->size, oracle->slide); start <= hi;
         start += oracle->slide) {
        int32_t count = 0;
        int64_t end = start + oracle->size;
        for (int32_t i = 0; i < oracle->input->count; i++) {
            const struct rig_row *row = row_of(oracle, i);
            bool late = row->stamp != STAMP_NONE && end <= row->stamp;
            if (row->key == key && row->time >= start && row->time < end && !late) {
                rows[count++] = i;
            }
        }
        if (count > 0) {
            oracle_window(oracle, rows, count, start, end);
        }
    }
}

static void oracle_sessions(struct oracle *oracle, int32_t key)
{
    static int32_t rows[ROWS];
    int32_t count = 0;
    for (int32_t i = 0; i < oracle->input->count; i++) {
        const struct rig_row *row = row_of(oracle, i);
        if (row->key == key &&
            !(row->stamp != STAMP_NONE && row->time + oracle->gap <= row->stamp)) {
            rows[count++] = i;
        }
    }
    for (int32_t i = 1; i < count; i++) { // by time
        for (int32_t k = i;
             k > 0 && row_of(oracle, rows[k])->time < row_of(oracle, rows[k - 1])->time; k--) {
            int32_t swap = rows[k];
            rows[k] = rows[k - 1];
            rows[k - 1] = swap;
        }
    }
    for (int32_t from = 0; from < count;) {
        int32_t to = from + 1;
        while (to < count &&
               row_of(oracle, rows[to])->time - row_of(oracle, rows[to - 1])->time < oracle->gap) {
            to++;
        }
        oracle_window(oracle, rows + from, to - from, row_of(oracle, rows[from])->time,
                      row_of(oracle, rows[to - 1])->time + oracle->gap);
        from = to;
    }
}

static void oracle_run(struct oracle *oracle)
{
    for (int32_t key = -1; key < RIG_KEYS_MAX; key++) {
        if (oracle->size != 0) {
            oracle_steps(oracle, key);
        } else {
            oracle_sessions(oracle, key);
        }
    }
    for (int32_t i = 0; i < oracle->input->count; i++) {
        const struct rig_row *row = row_of(oracle, i);
        int64_t end = oracle->size != 0 ? floor_to(row->time, oracle->slide) + oracle->size
                                        : row->time + oracle->gap;
        oracle->late += row->stamp != STAMP_NONE && end <= row->stamp;
    }
    rig_lines_sort(oracle->lines, oracle->count);
}

static void oracle_release(struct oracle *oracle)
{
    for (int32_t i = 0; i < oracle->count; i++) {
        mem_free(oracle->lines[i]);
    }
    mem_free(oracle->lines);
}

#define ALL \
    "out: {n: count, na: {count: a}, sa: {sum: a}, sx: {sum: x}, va: {avg: a}, vx: {avg: x}, " \
    "lo: {min: x}, hi: {max: t}, ds: {distinct: s}, q: {quantile: {of: a, q: 0.9}}}"

#define FEW "out: {n: count, na: {count: a}, hi: {max: t}}"
#define ONE "out: {n: count}"

/* Every layout gives what the oracle says. Returns NULL, or what differs. */
static const char *compare_layouts(const char *yaml, struct oracle oracle, uint64_t seed)
{
    static char difference[4096];
    static const int32_t PARTS[] = {1, 2, 7};
    struct arena arena;
    arena_init(&arena, 64 << 20);
    const struct operator_plan *plan = rig_compile(&arena, &operator_window, yaml, 1);
    struct rng rng;
    rng_init(&rng, seed);
    struct rig_input input;
    rig_draw(&arena, &rng, ROWS, 4000, rng_chance(&rng, 0.5) ? 40 : 400, &input);
    oracle.input = &input;
    oracle_run(&oracle);
    const char *found = NULL;
    for (int p = 0; p < 3 && found == NULL; p++) {
        struct rig_result result;
        rig_run(plan, &input, PARTS[p], p == 0 ? 0.0 : 0.3, &rng, &result);
        int32_t i = 0;
        while (i < result.count && i < oracle.count &&
               strcmp(result.lines[i], oracle.lines[i]) == 0) {
            i++;
        }
        if (i < result.count || i < oracle.count || result.late != oracle.late ||
            result.rejected != 0) {
            snprintf(difference, sizeof difference,
                     "seed %llu, %d ranges: %d results, expected %d; late %lld, expected %lld; "
                     "line %d:\n got      %.900s\n expected %.900s",
                     (unsigned long long)seed, PARTS[p], result.count, oracle.count,
                     (long long)result.late, (long long)oracle.late, i,
                     i < result.count ? result.lines[i] : "nothing",
                     i < oracle.count ? oracle.lines[i] : "nothing");
            found = difference;
        }
        rig_result_release(&result);
    }
    oracle_release(&oracle);
    arena_release(&arena);
    return found;
}

static const char *compare_seeds(const char *yaml, struct oracle oracle)
{
    for (uint64_t seed = 0; seed < 12; seed++) {
        const char *found = compare_layouts(yaml, oracle, test_seed() + seed);
        if (found != NULL) {
            return found;
        }
    }
    return NULL;
}

#define EXPECT_SAME(yaml, ...) \
    do { \
        const char *found_ = compare_seeds(yaml, (struct oracle){__VA_ARGS__}); \
        EXPECT_MSG(found_ == NULL, "%s", found_); \
    } while (0)

TEST(window_tumbling_gives_what_a_recount_gives_in_every_layout)
{
    EXPECT_SAME("{name: w, tumbling: 1s, " ALL "}", .size = 1000, .slide = 1000);
}

TEST(window_hopping_gives_what_a_recount_gives_in_every_layout)
{
    EXPECT_SAME("{name: w, hopping: {size: 5s, slide: 1s}, " ALL "}", .size = 5000, .slide = 1000);
    EXPECT_SAME("{name: w, hopping: {size: 1s, slide: 700ms}, " ALL "}", .size = 1000,
                .slide = 700);
}

TEST(window_hopping_by_blocks_gives_what_a_recount_gives_in_every_layout)
{
    EXPECT_SAME("{name: w, hopping: {size: 5s, slide: 1s}, " FEW "}", .size = 5000, .slide = 1000,
                .columns = FEW_COLUMNS);
    EXPECT_SAME("{name: w, hopping: {size: 1s, slide: 700ms}, " FEW "}", .size = 1000, .slide = 700,
                .columns = FEW_COLUMNS);
    EXPECT_SAME("{name: w, hopping: {size: 2s, slide: 2s}, " FEW "}", .size = 2000, .slide = 2000,
                .columns = FEW_COLUMNS);
    EXPECT_SAME("{name: w, hopping: {size: 6s, slide: 100ms}, " ONE "}", .size = 6000, .slide = 100,
                .columns = ONE_COLUMN);
}

TEST(window_session_gives_what_a_recount_gives_in_every_layout)
{
    EXPECT_SAME("{name: w, session: {gap: 500ms}, " ALL "}", .gap = 500);
    EXPECT_SAME("{name: w, session: {gap: 3s}, " ALL "}", .gap = 3000);
}

TEST(window_top_breaks_ties_by_fields_or_keeps_them_all)
{
    EXPECT_SAME("{name: w, tumbling: 2s, out: {best: {top: {of: a, n: 2, fields: [t]}}}}",
                .size = 2000, .slide = 2000, .top_n = 2);
    EXPECT_SAME(
        "{name: w, tumbling: 2s, out: {best: {top: {of: a, n: 3, ties: all, fields: [t]}}}}",
        .size = 2000, .slide = 2000, .top_n = 3, .ties_all = true);
    EXPECT_SAME("{name: w, hopping: {size: 4s, slide: 2s}, out: {best: {top: {of: a, ties: all, "
                "fields: [t]}}}}",
                .size = 4000, .slide = 2000, .top_n = 1, .ties_all = true);
}

/* Rows of one key for a hopping window, `per_second` in each second; a and t are left to the caller. */
static struct rig_input many_rows(struct arena *arena, int32_t seconds, int32_t per_second)
{
    struct rig_input input = {.count = seconds * per_second};
    input.rows = ARENA_NEW_ARRAY(arena, struct rig_row, input.count);
    input.watermark = ARENA_NEW_ARRAY(arena, int64_t, input.count);
    for (int32_t i = 0; i < input.count; i++) {
        input.rows[i] = (struct rig_row){.time = i / per_second * 1000, .stamp = STAMP_NONE};
    }
    for (int i = 0; i < RIG_KEYS_MAX; i++) {
        input.key_texts[i] = "k";
    }
    return input;
}

TEST(window_merges_a_large_quantile_in_a_little_memory)
{
    enum { SECONDS = 2, VALUES = 12000 }; // each in a bucket of its own
    struct arena arena;
    arena_init(&arena, 64 << 20);
    const struct operator_plan *plan =
        rig_compile(&arena, &operator_window,
                    "{name: w, hopping: {size: 2s, slide: 1s}, out: {n: count, q: {quantile: {of: "
                    "x, q: 0.5}}}}",
                    1);
    struct rig_input input = many_rows(&arena, SECONDS, VALUES);
    for (int32_t i = 0; i < input.count; i++) {
        input.rows[i].x = ldexp(1 + i % 64 / 64.0, i % VALUES / 64 - VALUES / 128);
    }
    struct rng rng;
    rng_init(&rng, 1);
    struct rig_result result;
    rig_run(plan, &input, 1, 0.0, &rng, &result);
    EXPECT_INT(result.count, 3);
    EXPECT_INT(result.rejected, 0);
    char line[LINE_MAX_BYTES];
    snprintf(line, sizeof line, "%.20s", result.lines[0]);
    EXPECT_STR(str_of(line), STR("k @1999 0 2000 24000"));
    rig_result_release(&result);
    arena_release(&arena);
}

TEST(window_of_more_values_than_fit_a_result_is_rejected)
{
    enum { SECONDS = 6, VALUES = 45000 };
    struct arena arena;
    arena_init(&arena, 512 << 20);
    const struct operator_plan *plan =
        rig_compile(&arena, &operator_window,
                    "{name: w, hopping: {size: 6s, slide: 5s}, out: {a: {distinct: a}, b: "
                    "{distinct: a}, c: {distinct: a}, d: {distinct: a}, e: {distinct: a}}}",
                    1);
    struct rig_input input = many_rows(&arena, SECONDS, VALUES);
    for (int32_t i = 0; i < input.count; i++) {
        input.rows[i].a = i;
    }
    struct rng rng;
    rng_init(&rng, 1);
    struct rig_result result;
    rig_run(plan, &input, 1, 0.0, &rng, &result);
    EXPECT_INT(result.rejected, 1);
    EXPECT_INT(result.count, 2); // each of one pane
    EXPECT_STR(str_of(result.lines[0]), STR("k @10999 5000 11000 45000 45000 45000 45000 45000"));
    EXPECT_STR(str_of(result.lines[1]), STR("k @999 -5000 1000 45000 45000 45000 45000 45000"));
    rig_result_release(&result);
    arena_release(&arena);
}

TEST(window_counts_alone_take_the_short_way)
{
    static char line[LINE_MAX_BYTES];
    struct arena arena;
    arena_init(&arena, 64 << 20);
    const struct operator_plan *plan = rig_compile(
        &arena, &operator_window, "{name: w, tumbling: 1s, out: {n: count, m: {max: a}}}", 1);
    struct rig_row rows[] = {
        {.key = 1, .time = 10, .stamp = STAMP_NONE, .a = 4},
        {.key = 1, .time = 999, .stamp = STAMP_NONE, .a = 3},
        {.key = 2, .time = -1, .stamp = STAMP_NONE, .a_null = true},
        {.key = 1, .time = 500, .stamp = 1000, .a = 9},
    };
    int64_t watermark[] = {0, 0, 0, 0};
    struct rig_input input = {.count = 4, .rows = rows, .watermark = watermark};
    for (int i = 0; i < RIG_KEYS_MAX; i++) {
        input.key_texts[i] = "k";
    }
    input.key_texts[2] = "j";
    struct rng rng;
    rng_init(&rng, 1);
    struct rig_result result;
    rig_run(plan, &input, 1, 0.0, &rng, &result);
    EXPECT_INT(result.count, 2);
    EXPECT_INT(result.late, 1);
    snprintf(line, sizeof line, "%s|%s", result.lines[0], result.lines[1]);
    EXPECT_STR(str_of(line), STR("j @-1 -1000 0 1 -|k @999 0 1000 2 4"));
    rig_result_release(&result);
    arena_release(&arena);
}

/* --- sums --- */

TEST(exact_sum_keeps_what_rounding_would_lose)
{
    double parts[EXACT_SUM_PARTS_MAX];
    int32_t count = 0;
    const double terms[] = {1e100, 1.0, -1e100, 1e-100, 1e50, -1.0, -1e50};
    for (ptrdiff_t i = 0; i < COUNT_OF(terms); i++) {
        EXPECT(exact_sum_add(parts, &count, terms[i]));
    }
    EXPECT_NEAR(exact_sum_round(parts, count), 1e-100, 0.0);
}

TEST(exact_sum_rounds_halves_by_what_is_below_them)
{
    double parts[EXACT_SUM_PARTS_MAX];
    int32_t count = 0;
    EXPECT(exact_sum_add(parts, &count, 9007199254740992.0)); // 2^53
    EXPECT(exact_sum_add(parts, &count, 1.0));
    EXPECT_NEAR(exact_sum_round(parts, count), 9007199254740992.0, 0.0);
    EXPECT(exact_sum_add(parts, &count, 0x1p-60));
    EXPECT_NEAR(exact_sum_round(parts, count), 9007199254740994.0, 0.0);
}

TEST(exact_sum_is_the_same_in_every_order_over_the_whole_range)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int round = 0; round < 200; round++) {
        enum { TERMS = 300 };
        double terms[TERMS];
        double forward[EXACT_SUM_PARTS_MAX];
        double backward[EXACT_SUM_PARTS_MAX];
        int32_t forward_count = 0;
        int32_t backward_count = 0;
        for (int i = 0; i < TERMS; i++) {
            terms[i] = ldexp(rng_unit(&rng) - 0.5, (int)rng_range(&rng, -1070, 1000));
        }
        for (int i = 0; i < TERMS; i++) {
            EXPECT(exact_sum_add(forward, &forward_count, terms[i]));
            EXPECT(exact_sum_add(backward, &backward_count, terms[TERMS - 1 - i]));
        }
        EXPECT_NEAR(exact_sum_round(forward, forward_count),
                    exact_sum_round(backward, backward_count), 0.0);
        for (int i = 0; i < TERMS; i++) {
            EXPECT(exact_sum_add(forward, &forward_count, -terms[i]));
        }
        EXPECT_NEAR(exact_sum_round(forward, forward_count), 0.0, 0.0);
    }
}

TEST(exact_sum_refuses_to_leave_the_range)
{
    double parts[EXACT_SUM_PARTS_MAX];
    int32_t count = 0;
    EXPECT(exact_sum_add(parts, &count, 1.7e308));
    EXPECT(!exact_sum_add(parts, &count, 1.7e308));
    EXPECT_NEAR(exact_sum_round(parts, count), 1.7e308, 0.0);
}
