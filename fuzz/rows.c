// SPDX-License-Identifier: Apache-2.0
#include "fuzz/rows.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "pipeline/config.h"
#include "pipeline/json.h"

enum { ROWS_ARENA_MAX = 1 << 30 };

const struct stage_plan *rows_plan(struct arena *arena, const char *chain)
{
    const struct config *config = NULL;
    struct err_info info = {0};
    const char *yaml =
        arena_printf(arena,
                     "version: 1\nstreams: {in: {}, out: {}}\npipelines:\n  p:\n    stages:\n"
                     "      - {name: s, from: in, chain: %s, to: out}\n",
                     chain);
    CHECK_MSG(config_load(arena, "rows", str_of(yaml), &config, &info) == ERR_OK, "%s", info.text);
    return config->pipelines[0]->stages[0];
}

struct sink {
    struct arena *arena;
    char *bytes;
    ptrdiff_t len, cap;
};

static void put(struct sink *sink, struct str text)
{
    if (sink->len + text.len + 1 > sink->cap) {
        ptrdiff_t cap = 2 * (sink->len + text.len + 64);
        char *bytes = arena_new(sink->arena, cap, 1);
        if (sink->len > 0) {
            memcpy(bytes, sink->bytes, (size_t)sink->len);
        }
        sink->bytes = bytes;
        sink->cap = cap;
    }
    if (text.len > 0) {
        memcpy(sink->bytes + sink->len, text.ptr, (size_t)text.len);
    }
    sink->len += text.len;
    sink->bytes[sink->len++] = '\n';
}

/* Main rows and dead letters apart, as they are two streams. */
static void take(struct sink sinks[2], struct chain_out *out)
{
    for (int32_t i = 0; i < out->count; i++) {
        const struct output *output = &out->outputs[i];
        struct sink *sink = &sinks[output->kind == OUTPUT_MAIN ? 0 : 1];
        for (int32_t k = 0; k < output->count; k++) {
            put(sink, output->value[k]);
            if (output->headers != NULL) {
                put(sink, output->headers[k]);
            }
        }
    }
    chain_out_reset(out);
}

static int by_text(const void *a, const void *b)
{
    const struct str *x = a, *y = b;
    int order = memcmp(x->ptr, y->ptr, (size_t)(x->len < y->len ? x->len : y->len));
    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

/* Rejected rows in an order of their own: two operators' rejects are in the order of the operators within a batch. */
static void put_sorted(struct sink *sink, struct str text, struct arena *arena)
{
    struct str *rows = ARENA_NEW_ARRAY(arena, struct str, text.len + 1);
    size_t count = 0;
    while (text.ptr != NULL && text.len > 0) {
        rows[count++] = str_cut(&text, '\n');
    }
    qsort(rows, count, sizeof(rows[0]), by_text);
    for (size_t i = 0; i < count; i++) {
        put(sink, rows[i]);
    }
}

/* Copies `count` lines into a batch; each value is of its own, with nothing but its padding behind it. */
static struct batch *fill(struct arena *arena, const struct str *lines, int64_t first,
                          int32_t count)
{
    struct batch *batch = batch_new(arena, count);
    int64_t *offsets = ARENA_NEW_ARRAY(arena, int64_t, count);
    for (int32_t i = 0; i < count; i++) {
        char *value = arena_new(arena, lines[i].len + JSON_PADDING, 1);
        if (lines[i].len > 0) {
            memcpy(value, lines[i].ptr, (size_t)lines[i].len);
        }
        batch->value[i] = (struct str){value, lines[i].len};
        batch->key[i] = STR("k");
        batch->hash[i] = hash64("k", 1);
        batch->time_ms[i] = 1000;
        offsets[i] = first + i;
    }
    batch->offset = offsets;
    return batch;
}

struct str rows_through(struct arena *arena, const struct stage_plan *plan, struct str lines,
                        int32_t rows)
{
    static struct arena rows_arena,
        out_arena; /* kept: making them anew is most of what a short input costs */
    static struct chain_out *out;
    struct state *state = state_new(0, KEY_GROUP_COUNT);
    struct chain *chain = NULL;
    struct err_info info = {0};
    struct sink sinks[2] = {{.arena = arena}, {.arena = arena}};
    struct str *pending = ARENA_NEW_ARRAY(arena, struct str, rows);
    int64_t first = 0;
    if (out == NULL) {
        out = MEM_NEW(struct chain_out);
        arena_init(&rows_arena, ROWS_ARENA_MAX);
        arena_init(&out_arena, ROWS_ARENA_MAX);
        chain_out_init(out, &out_arena);
    }
    struct chain_options options = {.plan = plan, .state = state};
    CHECK(rows >= 1 && rows <= BATCH_ROWS_MAX && chain_new(&options, &chain, &info) == ERR_OK);
    while (lines.ptr != NULL && lines.len > 0) {
        int32_t count = 0;
        while (count < rows && lines.ptr != NULL && lines.len > 0) {
            pending[count++] = str_cut(&lines, '\n');
        }
        struct batch *batch = fill(&rows_arena, pending, first, count);
        CHECK_MSG(chain_process(chain, 0, batch, out, &info) == ERR_OK, "%s", info.text);
        take(sinks, out);
        arena_reset(&rows_arena);
        first += count;
    }
    put(&sinks[0], STR("--"));
    put_sorted(&sinks[0], (struct str){sinks[1].bytes, sinks[1].len}, arena);
    chain_free(chain);
    state_free(state);
    return (struct str){sinks[0].bytes, sinks[0].len};
}

struct str rows_checked(struct arena *arena, const struct stage_plan *plan, struct str lines)
{
    struct str one = rows_through(arena, plan, lines, 1);
    struct str many = rows_through(arena, plan, lines, 7);
    CHECK_MSG(str_equal(one, many), "row by row:\n%.*s\nseven at once:\n%.*s", STR_ARG(one),
              STR_ARG(many));
    return one;
}
