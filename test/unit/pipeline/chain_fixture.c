// SPDX-License-Identifier: Apache-2.0
#include "chain_fixture.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "pipeline/json.h"

enum { ARENA_MAX = 1 << 30 };

bool fixture_open(struct fixture *fixture, const char *yaml, int stage)
{
    *fixture = (struct fixture){0};
    arena_init(&fixture->arena, ARENA_MAX);
    arena_init(&fixture->rows, ARENA_MAX);
    arena_init(&fixture->out_arena, ARENA_MAX);
    fixture->out = MEM_NEW(struct chain_out);
    chain_out_init(fixture->out, &fixture->out_arena);
    fixture->state = state_new(0, KEY_GROUP_COUNT);
    if (config_load(&fixture->arena, "test.yaml", str_of(yaml), &fixture->config, &fixture->info) !=
        ERR_OK) {
        return false;
    }
    fixture->stage = fixture->config->pipelines[0]->stages[stage];
    struct chain_options options = {
        .plan = fixture->stage, .state = fixture->state, .lookup_tables = fixture->tables};
    return chain_new(&options, &fixture->chain, &fixture->info) == ERR_OK;
}

void fixture_close(struct fixture *fixture)
{
    chain_free(fixture->chain);
    mem_free(fixture->out);
    state_free(fixture->state);
    arena_release(&fixture->arena);
    arena_release(&fixture->rows);
    arena_release(&fixture->out_arena);
}

const char *fixture_yaml(struct arena *arena, const char *chain)
{
    return arena_printf(arena,
                        "version: 1\nstreams: {in: {shards: 4}, out: {}}\npipelines:\n  p:\n"
                        "    stages:\n      - {name: s, from: in, chain: %s, to: out}\n",
                        chain);
}

struct batch *fixture_batch(struct fixture *fixture, const struct str *values, int32_t count)
{
    struct batch *batch = batch_new(&fixture->rows, count);
    int64_t *offsets = ARENA_NEW_ARRAY(&fixture->rows, int64_t, count);
    for (int32_t i = 0; i < count; i++) {
        char *value = arena_new(&fixture->rows, values[i].len + JSON_PADDING, 1);
        if (values[i].len > 0) {
            memcpy(value, values[i].ptr, (size_t)values[i].len);
        }
        batch->value[i] = (struct str){values[i].ptr != NULL ? value : NULL, values[i].len};
        batch->key[i] = str_of(arena_printf(&fixture->rows, "k%d", i));
        batch->hash[i] = hash64(batch->key[i].ptr, batch->key[i].len);
        batch->time_ms[i] = 1000 + i;
        offsets[i] = 100 + i;
    }
    batch->offset = offsets;
    batch->shard = 3;
    return batch;
}

static const struct output *find(const struct fixture *fixture, enum output_kind kind, int32_t *n)
{
    for (int32_t i = 0; i < fixture->out->count; i++) {
        const struct output *output = &fixture->out->outputs[i];
        if (output->kind != kind) {
            continue;
        }
        if (*n < output->count) {
            return output;
        }
        *n -= output->count;
    }
    return NULL;
}

struct str fixture_value(const struct fixture *fixture, enum output_kind kind, int32_t n)
{
    const struct output *output = find(fixture, kind, &n);
    return output != NULL ? output->value[n] : (struct str){0};
}

struct str fixture_key(const struct fixture *fixture, enum output_kind kind, int32_t n)
{
    const struct output *output = find(fixture, kind, &n);
    return output != NULL ? output->key[n] : (struct str){0};
}

static int64_t take_length(struct str *rest)
{
    uint64_t value = 0;
    for (int shift = 0; rest->len > 0; shift += 7) {
        unsigned char c = (unsigned char)rest->ptr[0];
        *rest = (struct str){rest->ptr + 1, rest->len - 1};
        value |= (uint64_t)(c & 0x7F) << shift;
        if (c < 0x80) {
            break;
        }
    }
    return (int64_t)(value >> 1); /* lengths here are never negative */
}

static struct str take_bytes(struct str *rest)
{
    int64_t len = take_length(rest);
    CHECK(len <= rest->len);
    struct str bytes = {rest->ptr, len};
    *rest = (struct str){rest->ptr + len, rest->len - len};
    return bytes;
}

struct str fixture_header(const struct fixture *fixture, enum output_kind kind, int32_t n,
                          const char *name)
{
    const struct output *output = find(fixture, kind, &n);
    struct str rest =
        output != NULL && output->headers != NULL ? output->headers[n] : (struct str){0};
    while (rest.len > 0) {
        struct str key = take_bytes(&rest);
        struct str value = take_bytes(&rest);
        if (str_is(key, name)) {
            return value;
        }
    }
    return (struct str){0};
}

int32_t fixture_count(const struct fixture *fixture, enum output_kind kind)
{
    int32_t count = 0;
    for (int32_t i = 0; i < fixture->out->count; i++) {
        count += fixture->out->outputs[i].kind == kind ? fixture->out->outputs[i].count : 0;
    }
    return count;
}
