// SPDX-License-Identifier: Apache-2.0
#include "sim/pipeline_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/check.h"
#include "pipeline/operator.h"

/* --- drawing --- */

void pipe_plan_draw(struct pipe_plan *plan, struct rng *rng)
{
    static const char *const codecs[] = {"none", "lz4", "zstd"};
    uint64_t kinds = operator_type_find(STR("dedupe")) != NULL ? PIPE_KIND_COUNT : PIPE_DEDUPE;
    *plan = (struct pipe_plan){
        .kind = (enum pipe_kind)rng_below(rng, kinds),
        .source_shards = (int32_t)rng_range(rng, 1, 4),
        .internal_shards = (int32_t)rng_range(rng, 1, 4),
        .sink_shards = (int32_t)rng_range(rng, 1, 3),
        .users = (int32_t)rng_range(rng, 1, 60),
        .size_ms = 1000 * rng_range(rng, 1, 5),
        .gap_ms = rng_range(rng, 50, 900),
        .out_of_order_ms = rng_range(rng, 0, 1500),
        .below = rng_range(rng, 50, 101),
        .time_field = rng_chance(rng, 0.4),
        .bad = rng_chance(rng, 0.5) ? 0.02 : 0,
        .codec = codecs[rng_below(rng, 3)],
    };
    plan->slide_ms = plan->size_ms / rng_range(rng, 1, 5);
    if (plan->kind == PIPE_SESSION) {
        plan->out_of_order_ms =
            10000; /* no record is late: what a late one does to sessions is tested elsewhere */
    }
}

static const char *second_chain(struct arena *arena, const struct pipe_plan *plan)
{
    long long size = (long long)plan->size_ms, slide = (long long)plan->slide_ms;
    long long gap = (long long)plan->gap_ms;
    switch (plan->kind) {
    case PIPE_TUMBLING:
        return arena_printf(
            arena, "{window: {name: w, tumbling: %lldms, out: {c: count, s: {sum: n}}}}", size);
    case PIPE_HOPPING:
        return arena_printf(
            arena,
            "{window: {name: w, hopping: {size: %lldms, slide: %lldms}, out: {c: count, s: {sum: n}}}}",
            size, slide);
    case PIPE_SESSION:
        return arena_printf(
            arena, "{window: {name: w, session: {gap: %lldms}, out: {c: count, s: {sum: n}}}}",
            gap);
    case PIPE_DEDUPE:
        return "{dedupe: {name: d, within: 100000s}}";
    case PIPE_STATELESS:
    case PIPE_KIND_COUNT:
        break;
    }
    return "";
}

const char *pipe_yaml(struct arena *arena, const struct pipe_plan *plan,
                      const struct pipe_layout *layout)
{
    const char *head = arena_printf(
        arena,
        "version: 1\nnodes: {count: %d, max: %d, lanes: %d, capacity: %d%%}\nstreams:\n"
        "  src: {shards: %d, codec: %s, time: {out_of_order: %lldms%s}}\n  out: {shards: %d}\n"
        "pipelines:\n  p:\n    memory: 1GiB\n    commit: %s\n    stages:\n"
        "      - {name: read, from: src, partitions: %d, chain: [{parse: {name: p, fields: {i: int, u: "
        "string, \"n\": int}}}, {filter: {name: f, where: \"n < %lld\"}}",
        layout->nodes, layout->nodes + layout->more_nodes, layout->lanes, layout->capacity_percent,
        plan->source_shards, plan->codec, (long long)plan->out_of_order_ms,
        plan->time_field ? ", field: t" : "", plan->sink_shards, layout->commit,
        layout->partitions[0], (long long)plan->below);
    if (plan->kind == PIPE_STATELESS) {
        return arena_printf(arena, "%s, {map: {name: m, set: {m: \"n * 2\"}}}], to: out}\n", head);
    }
    return arena_printf(arena,
                        "%s, {key_by: {name: k, key: u, shards: %d}}]}\n"
                        "      - {name: win, partitions: %d, chain: [%s], to: out}\n",
                        head, plan->internal_shards, layout->partitions[1],
                        second_chain(arena, plan));
}

struct pipe_record pipe_record_draw(const struct pipe_plan *plan, struct rng *rng,
                                    struct arena *arena, int64_t id, int64_t *now_ms)
{
    *now_ms += rng_range(rng, 0, 60);
    int64_t back = rng_chance(rng, 0.05) ? rng_range(rng, 0, 8000) : rng_range(rng, 0, 200);
    int64_t time_ms = *now_ms > back ? *now_ms - back : 0;
    int64_t user = (int64_t)rng_below(rng, (uint64_t)plan->users);
    int64_t n = rng_range(rng, 0, 100);
    struct pipe_record record = {
        .key = str_of(arena_printf(arena, "k%lld", (long long)rng_below(rng, 40))),
        .time_ms = plan->time_field ? 1 + id : time_ms,
    };
    if (rng_chance(rng, plan->bad)) {
        record.value = rng_chance(rng, 0.5) ? STR("{\"i\":1,\"u\":") : STR("no json at all");
        return record;
    }
    record.value =
        str_of(plan->time_field
                   ? arena_printf(arena, "{\"i\":%lld,\"u\":\"u%lld\",\"n\":%lld,\"t\":%lld}",
                                  (long long)id, (long long)user, (long long)n, (long long)time_ms)
                   : arena_printf(arena, "{\"i\":%lld,\"u\":\"u%lld\",\"n\":%lld}", (long long)id,
                                  (long long)user, (long long)n));
    return record;
}

/* --- reading what we wrote, and what came out --- */

/* The number behind `"name":`; -1: there is none. */
static int64_t number_of(struct str value, const char *name)
{
    char pattern[24];
    IGNORE_RESULT(snprintf(pattern, sizeof(pattern), "\"%s\":", name)); /* fits */
    ptrdiff_t at = str_find(value, str_of(pattern));
    if (at < 0) {
        return -1;
    }
    char digits[24] = {0};
    const char *from = value.ptr + at + strlen(pattern);
    ptrdiff_t left = value.ptr + value.len - from;
    memcpy(digits, from, (size_t)(left < 23 ? left : 23));
    return strtoll(digits, NULL, 10);
}

static int64_t user_of(struct str value)
{
    ptrdiff_t at = str_find(value, STR("\"u\":\"u"));
    return at < 0 ? -1 : strtoll(value.ptr + at + 6, NULL, 10);
}

/* One line of what is expected or was found; compared as sorted lists. */
struct line {
    int64_t user, time_ms, a, b;
};

static int line_order(const void *x, const void *y)
{
    const struct line *a = x, *b = y;
    int64_t d[] = {a->user - b->user, a->time_ms - b->time_ms, a->a - b->a, a->b - b->b};
    for (int i = 0; i < 4; i++) {
        if (d[i] != 0) {
            return d[i] < 0 ? -1 : 1;
        }
    }
    return 0;
}

struct lines {
    struct line *items;
    int32_t count, cap;
};

static struct lines lines_new(struct arena *arena, int32_t cap)
{
    return (struct lines){.items = ARENA_NEW_ARRAY(arena, struct line, cap > 0 ? cap : 1),
                          .cap = cap};
}

static void line_add(struct lines *lines, struct line line)
{
    CHECK(lines->count < lines->cap);
    lines->items[lines->count++] = line;
}

static bool lines_equal(struct lines *have, struct lines *want, char text[300])
{
    qsort(have->items, (size_t)have->count, sizeof(struct line), line_order);
    qsort(want->items, (size_t)want->count, sizeof(struct line), line_order);
    int32_t i = 0;
    while (i < have->count && i < want->count &&
           line_order(&have->items[i], &want->items[i]) == 0) {
        i++;
    }
    if (i == have->count && i == want->count) {
        return true;
    }
    struct line none = {-1, -1, -1, -1};
    struct line h = i < have->count ? have->items[i] : none,
                w = i < want->count ? want->items[i] : none;
    IGNORE_RESULT(snprintf(
        text, 300,
        "%d results, expected %d; the first that differs: u%lld at %lld: %lld, %lld; expected "
        "u%lld at %lld: %lld, %lld",
        have->count, want->count, (long long)h.user, (long long)h.time_ms, (long long)h.a,
        (long long)h.b, (long long)w.user, (long long)w.time_ms, (long long)w.a,
        (long long)w.b)); /* fits */
    return false;
}

/* --- the recount --- */

/* A source row that reached the second stage (or, stateless, the sink). */
struct fact {
    int64_t id, user, n, time_ms;
    int64_t stamp_ms; /* INT64_MIN: not behind the watermark */
    int32_t row;      /* in the source's list */
};

struct facts {
    struct fact *items;
    int32_t count, bad;
};

static struct facts read_facts(const struct pipe_plan *plan, struct arena *arena,
                               struct pipe_rows source)
{
    struct facts facts = {.items = ARENA_NEW_ARRAY(arena, struct fact, source.count + 1)};
    int64_t largest = INT64_MIN;
    for (int32_t i = 0; i < source.count; i++) {
        const struct pipe_row *row = &source.rows[i];
        largest = i == 0 || row->shard != source.rows[i - 1].shard ? INT64_MIN : largest;
        bool whole = row->value.len > 0 && row->value.ptr[row->value.len - 1] == '}';
        facts.bad += !whole;
        if (!whole && plan->time_field) {
            continue; /* no time, so it does not count for the watermark either */
        }
        int64_t time_ms = plan->time_field ? number_of(row->value, "t") : row->time_ms;
        int64_t low = largest == INT64_MIN ? INT64_MIN : largest - plan->out_of_order_ms;
        largest = time_ms > largest ? time_ms : largest;
        int64_t n = number_of(row->value, "n");
        if (whole && n < plan->below) {
            facts.items[facts.count++] = (struct fact){.id = number_of(row->value, "i"),
                                                       .user = user_of(row->value),
                                                       .n = n,
                                                       .time_ms = time_ms,
                                                       .stamp_ms = time_ms < low ? low : INT64_MIN,
                                                       .row = i};
        }
    }
    return facts;
}

static int64_t floor_to(int64_t value, int64_t step)
{
    int64_t rest = value % step;
    return value - (rest < 0 ? rest + step : rest);
}

/* Sums equal (user, time) lines into one. */
static void lines_fold(struct lines *lines)
{
    qsort(lines->items, (size_t)lines->count, sizeof(struct line), line_order);
    int32_t out = 0;
    for (int32_t i = 0; i < lines->count; i++) {
        struct line *last = out > 0 ? &lines->items[out - 1] : NULL;
        if (last != NULL && last->user == lines->items[i].user &&
            last->time_ms == lines->items[i].time_ms) {
            last->a += lines->items[i].a;
            last->b += lines->items[i].b;
        } else {
            lines->items[out++] = lines->items[i];
        }
    }
    lines->count = out;
}

static struct lines expect_windows(const struct pipe_plan *plan, struct arena *arena,
                                   const struct facts *facts, int32_t *ret_late)
{
    int64_t slide = plan->kind == PIPE_TUMBLING ? plan->size_ms : plan->slide_ms;
    int32_t per_row = (int32_t)(plan->size_ms / slide) + 2;
    struct lines lines = lines_new(arena, facts->count * per_row);
    *ret_late = 0;
    for (int32_t i = 0; i < facts->count; i++) {
        const struct fact *fact = &facts->items[i];
        for (int64_t start = floor_to(fact->time_ms, slide); start > fact->time_ms - plan->size_ms;
             start -= slide) {
            int64_t end = start + plan->size_ms;
            if (end <= fact->stamp_ms) {
                *ret_late += plan->kind == PIPE_TUMBLING;
                continue;
            }
            line_add(&lines, (struct line){fact->user, end - 1, 1, fact->n});
        }
    }
    lines_fold(&lines);
    return lines;
}

static int fact_order(const void *x, const void *y)
{
    const struct fact *a = x, *b = y;
    if (a->user != b->user) {
        return a->user < b->user ? -1 : 1;
    }
    return a->time_ms < b->time_ms ? -1 : a->time_ms > b->time_ms;
}

static struct lines expect_sessions(const struct pipe_plan *plan, struct arena *arena,
                                    const struct facts *facts)
{
    qsort(facts->items, (size_t)facts->count, sizeof(struct fact), fact_order);
    struct lines lines = lines_new(arena, facts->count);
    for (int32_t i = 0; i < facts->count;) {
        struct line line = {.user = facts->items[i].user};
        int64_t last = facts->items[i].time_ms;
        for (; i < facts->count && facts->items[i].user == line.user &&
               facts->items[i].time_ms - last < plan->gap_ms;
             i++) {
            last = facts->items[i].time_ms;
            line.a++;
            line.b += facts->items[i].n;
        }
        line.time_ms = last + plan->gap_ms - 1;
        line_add(&lines, line);
    }
    return lines;
}

/* --- verdicts --- */

static bool check_windows(const struct pipe_plan *plan, struct arena *arena,
                          const struct facts *facts, struct pipe_rows sink, struct pipe_rows late,
                          char text[300])
{
    struct lines have = lines_new(arena, sink.count);
    for (int32_t i = 0; i < sink.count; i++) {
        const struct pipe_row *row = &sink.rows[i];
        line_add(&have, (struct line){row->key.len > 1 ? strtoll(row->key.ptr + 1, NULL, 10) : -1,
                                      row->time_ms, number_of(row->value, "c"),
                                      number_of(row->value, "s")});
    }
    int32_t expected_late = 0;
    struct lines want = plan->kind == PIPE_SESSION
                            ? expect_sessions(plan, arena, facts)
                            : expect_windows(plan, arena, facts, &expected_late);
    if (!lines_equal(&have, &want, text)) {
        return false;
    }
    if (plan->kind == PIPE_TUMBLING && late.count != expected_late) {
        IGNORE_RESULT(snprintf(text, 300, "%d late records, expected %d", late.count,
                               expected_late)); /* fits */
        return false;
    }
    return true;
}

/* Each fact once, with its map; and of one source shard and key, in their order. */
static bool check_stateless(struct arena *arena, const struct facts *facts, struct pipe_rows sink,
                            char text[300])
{
    struct lines have = lines_new(arena, sink.count), want = lines_new(arena, facts->count);
    for (int32_t i = 0; i < facts->count; i++) {
        const struct fact *fact = &facts->items[i];
        line_add(&want, (struct line){fact->user, fact->time_ms, fact->id, 2 * fact->n});
    }
    for (int32_t i = 0; i < sink.count; i++) {
        const struct pipe_row *row = &sink.rows[i];
        line_add(&have, (struct line){user_of(row->value), row->time_ms, number_of(row->value, "i"),
                                      number_of(row->value, "m")});
    }
    int64_t last_row[8][64];
    memset(last_row, -1, sizeof(last_row));
    for (int32_t i = 0; i < sink.count; i++) {
        int64_t id = number_of(sink.rows[i].value, "i");
        int64_t shard = id & 7;
        int64_t key = strtoll(sink.rows[i].key.ptr + 1, NULL, 10);
        CHECK(key >= 0 && key < 64);
        if (id <= last_row[shard][key]) {
            IGNORE_RESULT(snprintf(text, 300, "record %lld of key k%lld comes behind %lld",
                                   (long long)id, (long long)key,
                                   (long long)last_row[shard][key])); /* fits */
            return false;
        }
        last_row[shard][key] = id;
    }
    return lines_equal(&have, &want, text);
}

/* For each user that any fact has, exactly one of its facts. */
static bool check_dedupe(const struct facts *facts, struct pipe_rows sink, char text[300])
{
    int32_t seen[64] = {0};
    for (int32_t i = 0; i < sink.count; i++) {
        int64_t user = user_of(sink.rows[i].value);
        CHECK(user >= 0 && user < 64);
        seen[user]++;
        bool real = false;
        for (int32_t k = 0; k < facts->count && !real; k++) {
            real = facts->items[k].id == number_of(sink.rows[i].value, "i");
        }
        if (!real || seen[user] > 1) {
            IGNORE_RESULT(snprintf(text, 300, "u%lld comes %d times, or is no record",
                                   (long long)user, seen[user])); /* fits */
            return false;
        }
    }
    for (int32_t k = 0; k < facts->count; k++) {
        if (seen[facts->items[k].user] == 0) {
            IGNORE_RESULT(snprintf(text, 300, "u%lld is missing",
                                   (long long)facts->items[k].user)); /* fits */
            return false;
        }
    }
    return true;
}

bool pipe_check(const struct pipe_plan *plan, struct arena *arena, struct pipe_rows source,
                struct pipe_rows sink, struct pipe_rows dead, struct pipe_rows late, char text[300])
{
    struct facts facts = read_facts(plan, arena, source);
    if (dead.count != facts.bad) {
        IGNORE_RESULT(
            snprintf(text, 300, "%d dead letters, expected %d", dead.count, facts.bad)); /* fits */
        return false;
    }
    if (plan->kind == PIPE_STATELESS) {
        return check_stateless(arena, &facts, sink, text);
    }
    if (plan->kind == PIPE_DEDUPE) {
        return check_dedupe(&facts, sink, text);
    }
    return check_windows(plan, arena, &facts, sink, late, text);
}
