// SPDX-License-Identifier: Apache-2.0
#include "sim/pipeline_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/check.h"

/* --- drawing --- */

const char *pipe_kind_name(enum pipe_kind kind)
{
    static const char *const names[PIPE_KIND_COUNT] = {
        "stateless", "tumbling", "hopping", "session", "dedupe", "join", "lookup", "plug-in"};
    return names[kind];
}

static void draw_more(struct pipe_plan *plan, struct rng *rng)
{
    plan->within_ms = plan->idle_ms = -1;
    if (rng_chance(rng, 0.35)) {
        plan->kind = (enum pipe_kind)rng_range(rng, PIPE_KEYED_COUNT, (int64_t)PIPE_KIND_COUNT - 1);
        plan->within_ms = rng_chance(rng, 0.7) ? rng_range(rng, 0, 400) : -1;
        plan->left = plan->within_ms >= 0 && rng_chance(rng, 0.5);
    } else if (rng_chance(rng, 0.3)) {
        plan->idle_ms = rng_range(rng, 20, 500);
        plan->silent_shards = (int32_t)rng_range(rng, 0, plan->source_shards - 1);
    }
    if (plan->kind == PIPE_SESSION || plan->kind == PIPE_JOIN) {
        plan->out_of_order_ms =
            10000; /* no record is late: what a late one does to them is tested elsewhere */
    }
}

void pipe_plan_draw(struct pipe_plan *plan, struct rng *rng, struct rng *more)
{
    static const char *const codecs[] = {"none", "lz4", "zstd"};
    *plan = (struct pipe_plan){
        .kind = (enum pipe_kind)rng_below(rng, PIPE_KEYED_COUNT),
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
    draw_more(plan, more);
}

/* What stands behind the filter; `again`: in the other words. */
static const char *last_chain(struct arena *arena, const struct pipe_plan *plan, bool again)
{
    long long size = (long long)plan->size_ms, slide = (long long)plan->slide_ms;
    const char *all = again ? "{filter: {name: g, where: \"true\"}}, " : "";
    switch (plan->kind) {
    case PIPE_STATELESS:
        return again ? "{map: {name: m, set: {m: \"n + n\"}}}"
                     : "{map: {name: m, set: {m: \"n * 2\"}}}";
    case PIPE_TUMBLING:
        return arena_printf(arena,
                            "%s{window: {name: w, tumbling: %lldms, out: {c: count, s: {sum: n}}}}",
                            all, size);
    case PIPE_HOPPING:
        return arena_printf(arena,
                            "%s{window: {name: w, hopping: {size: %lldms, slide: %lldms}, out: {c: "
                            "count, s: {sum: n}}}}",
                            all, size, slide);
    case PIPE_SESSION:
        return arena_printf(
            arena, "%s{window: {name: w, session: {gap: %lldms}, out: {c: count, s: {sum: n}}}}",
            all, (long long)plan->gap_ms);
    case PIPE_DEDUPE:
        return arena_printf(arena, "%s{dedupe: {name: d, within: 100000s}}", all);
    case PIPE_JOIN:
        return plan->within_ms >= 0
                   ? arena_printf(arena, "{join: {name: j, within: %lldms, kind: %s}}",
                                  (long long)plan->within_ms, plan->left ? "left" : "inner")
                   : "{join: {name: j, unbounded: true}}";
    case PIPE_LOOKUP:
        return arena_printf(
            arena, "%s{lookup: {name: t, table: {stream: tab}, on: u, fields: {m: int}}}", all);
    case PIPE_PLUGIN:
        return arena_printf(arena,
                            "{map: {name: e, set: {m: \"n * 2\", mail: \"concat(u, '@x')\"}}}, "
                            "%s{plugin: {name: h, file: %s, columns: [mail], settings: {keep: 1}}}",
                            all, SIM_PLUGIN_FILE);
    case PIPE_KIND_COUNT:
        break;
    }
    CHECK(false);
    return NULL;
}

static bool pipe_keyed(const struct pipe_plan *plan)
{
    return plan->kind > PIPE_STATELESS && plan->kind < PIPE_KEYED_COUNT;
}

const char *pipe_yaml(struct arena *arena, const struct pipe_plan *plan,
                      const struct pipe_layout *layout, int text)
{
    bool join = plan->kind == PIPE_JOIN;
    const char *idle = plan->idle_ms >= 0
                           ? arena_printf(arena, ", idle_after: %lldms", (long long)plan->idle_ms)
                           : "";
    const char *time = arena_printf(
        arena, "{shards: %d, codec: %s, time: {out_of_order: %lldms%s%s}}", plan->source_shards,
        plan->codec, (long long)plan->out_of_order_ms, plan->time_field ? ", field: t" : "", idle);
    const char *where =
        arena_printf(arena, text == 0 ? "n < %lld" : "not (n >= %lld)", (long long)plan->below);
    const char *fields = "fields: {i: int, u: string, \"n\": int}";
    const char *head = arena_printf(
        arena,
        "version: 1\nnodes: {count: %d, max: %d, lanes: %d, capacity: %d%%}\n%sstreams:\n"
        "  src: %s\n%s%s%s  out: {shards: %d}\n"
        "pipelines:\n  p:\n    memory: 1GiB\n    commit: %s\n%s    stages:\n"
        "      - {name: read, from: %s, partitions: %d, chain: [{parse: {name: p, %s}}, "
        "{filter: {name: f, where: \"%s\"}}",
        layout->nodes, layout->nodes + layout->more_nodes, layout->lanes, layout->capacity_percent,
        layout->section, time, join ? "  src2: " : "", join ? time : "",
        join                        ? "\n"
        : plan->kind == PIPE_LOOKUP ? "  tab: {shards: 1}\n"
                                    : "",
        plan->sink_shards, layout->commit, layout->settings, join ? "[src, src2]" : "src",
        layout->partitions[0], fields, where);
    const char *last = last_chain(arena, plan, text != 0);
    if (join) {
        head = arena_printf(arena,
                            "%s, {parse: {name: q, input: 2, %s}}, {filter: {name: r, input: 2, "
                            "where: \"%s\"}}",
                            head, fields, where);
    }
    if (!pipe_keyed(plan)) {
        return arena_printf(arena, "%s, %s], to: out}\n", head, last);
    }
    return arena_printf(arena,
                        "%s, {key_by: {name: k, key: u, shards: %d}}]}\n"
                        "      - {name: win, partitions: %d, chain: [%s], to: out}\n",
                        head, plan->internal_shards, layout->partitions[1], last);
}

/* Odd users have no row; what the others have follows from their number. */
static int64_t table_value(int64_t user)
{
    return user % 2 == 0 ? 7 * user + 3 : -1;
}

bool pipe_table_row(struct arena *arena, int32_t user, struct str *ret_key, struct str *ret_value)
{
    *ret_key = str_of(arena_printf(arena, "u%d", user));
    *ret_value = str_of(arena_printf(arena, "{\"m\":%lld}", (long long)table_value(user)));
    return table_value(user) >= 0;
}

struct pipe_record pipe_record_draw(const struct pipe_plan *plan, struct rng *rng,
                                    struct arena *arena, int64_t id, int64_t *now_ms)
{
    *now_ms += rng_range(rng, 0, 60);
    int64_t back = rng_chance(rng, 0.05) ? rng_range(rng, 0, 8000) : rng_range(rng, 0, 200);
    back = plan->idle_ms >= 0 ? 0 : back;
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

/* "u12@x" masked but for its first letter. */
static bool masked_right(struct str value)
{
    char mask[24] = "\"masked\":\"u";
    int64_t user = user_of(value);
    size_t at = strlen(mask);
    for (int64_t rest = user; rest >= 10; rest /= 10) {
        mask[at++] = '*';
    }
    memcpy(mask + at, "*@x\"", 5);
    return str_find(value, str_of(mask)) >= 0;
}

/* What the last operator makes of a fact, in field m. */
static int64_t made_of(const struct pipe_plan *plan, const struct fact *fact)
{
    return plan->kind == PIPE_LOOKUP ? table_value(fact->user) : 2 * fact->n;
}

/* Each fact once, with its field; and of one source shard and key, in their order. */
static bool check_stateless(const struct pipe_plan *plan, struct arena *arena,
                            const struct facts *facts, struct pipe_rows sink, char text[300])
{
    struct lines have = lines_new(arena, sink.count), want = lines_new(arena, facts->count);
    for (int32_t i = 0; i < facts->count; i++) {
        const struct fact *fact = &facts->items[i];
        line_add(&want, (struct line){fact->user, fact->time_ms, fact->id, made_of(plan, fact)});
    }
    for (int32_t i = 0; i < sink.count; i++) {
        const struct pipe_row *row = &sink.rows[i];
        int64_t m = str_find(row->value, STR("\"m\":null")) >= 0 ? -1 : number_of(row->value, "m");
        line_add(&have,
                 (struct line){user_of(row->value), row->time_ms, number_of(row->value, "i"), m});
        if (plan->kind == PIPE_PLUGIN && !masked_right(row->value)) {
            IGNORE_RESULT(
                snprintf(text, 300, "the plug-in made %.*s", STR_ARG(row->value))); /* cut */
            return false;
        }
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

/* Pairs of one source shard and record key, whose times are near enough; each once. */
static bool check_join(const struct pipe_plan *plan, struct arena *arena, const struct facts *left,
                       const struct pipe_streams *streams, char text[300])
{
    struct facts right = read_facts(plan, arena, streams->second);
    struct pipe_rows sink = streams->sink;
    struct lines have = lines_new(arena, sink.count);
    struct lines want = lines_new(arena, left->count * (right.count + 1));
    for (int32_t i = 0; i < left->count; i++) {
        const struct fact *l = &left->items[i];
        const struct pipe_row *row = &streams->source.rows[l->row];
        bool met = false;
        for (int32_t k = 0; k < right.count; k++) {
            const struct fact *r = &right.items[k];
            const struct pipe_row *other = &streams->second.rows[r->row];
            int64_t apart =
                l->time_ms > r->time_ms ? l->time_ms - r->time_ms : r->time_ms - l->time_ms;
            if (row->shard == other->shard && str_equal(row->key, other->key) &&
                (plan->within_ms < 0 || apart <= plan->within_ms)) {
                met = true;
                line_add(&want,
                         (struct line){l->id, l->time_ms > r->time_ms ? l->time_ms : r->time_ms,
                                       r->id, l->n + r->n});
            }
        }
        if (!met && plan->left) {
            line_add(&want, (struct line){l->id, l->time_ms, -1, l->n});
        }
    }
    for (int32_t i = 0; i < sink.count; i++) {
        const struct pipe_row *row = &sink.rows[i];
        bool alone = str_find(row->value, STR("\"r.i\":null")) >= 0;
        line_add(&have, (struct line){number_of(row->value, "l.i"), row->time_ms,
                                      alone ? -1 : number_of(row->value, "r.i"),
                                      number_of(row->value, "l.n") +
                                          (alone ? 0 : number_of(row->value, "r.n"))});
    }
    return lines_equal(&have, &want, text);
}

static int32_t count_bad(struct pipe_rows rows)
{
    int32_t bad = 0;
    for (int32_t i = 0; i < rows.count; i++) {
        bad += rows.rows[i].value.len == 0 ||
               rows.rows[i].value.ptr[rows.rows[i].value.len - 1] != '}';
    }
    return bad;
}

bool pipe_check(const struct pipe_plan *plan, struct arena *arena,
                const struct pipe_streams *streams, char text[300])
{
    struct facts facts = read_facts(plan, arena, streams->source);
    int32_t bad = facts.bad + count_bad(streams->second);
    if (streams->dead.count != bad) {
        IGNORE_RESULT(snprintf(text, 300, "%d dead letters, expected %d", streams->dead.count,
                               bad)); /* fits */
        return false;
    }
    switch (plan->kind) {
    case PIPE_STATELESS:
    case PIPE_LOOKUP:
    case PIPE_PLUGIN:
        return check_stateless(plan, arena, &facts, streams->sink, text);
    case PIPE_DEDUPE:
        return check_dedupe(&facts, streams->sink, text);
    case PIPE_JOIN:
        return check_join(plan, arena, &facts, streams, text);
    case PIPE_TUMBLING:
    case PIPE_HOPPING:
    case PIPE_SESSION:
        return check_windows(plan, arena, &facts, streams->sink, streams->late, text);
    case PIPE_KIND_COUNT:
        break;
    }
    CHECK(false);
    return false;
}
