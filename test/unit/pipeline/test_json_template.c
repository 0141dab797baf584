// SPDX-License-Identifier: Apache-2.0
/* The learned template against the general parser: what it takes, the other takes too, with the same values. */
#include "base/mem.h"
#include "base/rng.h"
#include "pipeline/json.h"
#include "pipeline/json_template.h"
#include "test.h"

enum { FIELDS = 6, RECORD_MAX = 256, MUTANTS = 30000 };

static const struct {
    const char *key;
    enum value_type type;
} fields[FIELDS] = {{"user", VALUE_STR}, {"n", VALUE_I64},  {"f", VALUE_F64},
                    {"ok", VALUE_BOOL},  {"t", VALUE_TIME}, {"kind", VALUE_STR}};

static const char *const seeds[] = {
    "{\"user\": \"u1\", \"page\": \"/a/b?c=d\", \"kind\": \"view\", \"n\": 17, \"f\": -1.5e3, \"ok\": true, \"t\": 1700000000000, \"x\": null}",
    "{\"t\":\"2024-01-02T03:04:05Z\",\"n\":0,\"n\":5,\"f\":2,\"ok\":null,\"kind\":\"\",\"user\":\"a much longer name of some user\"}\n",
    " {\"ok\":false,\"extra\":12.25,\"user\":\"x\",\"kind\":\"k\",\"t\":-5,\"f\":0.0,\"n\":999999999999999 } ",
    "{\"f\":0.5,\"n\":1,\"ok\":true,\"t\":7,\"kind\":\"k\",\"user\":\"u\",\"agent\":\"Mozilla/5.0 (X11; x86_64) Firefox\",\"d\":3,\"s\":\"9f\"}",
    "{\"kind\":\"k\",\"user\":\"u\",\"f\":0.5,\"ok\":true,\"t\":7,\"n\":17 ,\"agent\":\"Mozilla/5.0 (X11; x86_64)\",\"d\":3,\"s\":\"9f\"}"};

static void make_shape(struct json_shape *shape)
{
    *shape = (struct json_shape){.count = 1 + FIELDS};
    shape->nodes[0] =
        (struct json_shape_node){.child_first = 1, .child_count = FIELDS, .column = -1};
    for (int32_t i = 0; i < FIELDS; i++) {
        shape->nodes[1 + i] = (struct json_shape_node){.key = str_of(fields[i].key),
                                                       .column = i,
                                                       .type = fields[i].type,
                                                       .wrong_type = "wrong"};
    }
}

static struct batch *one_row(struct arena *arena, struct str record)
{
    struct batch *batch = batch_new(arena, 1);
    char *value = ARENA_NEW_ARRAY(arena, char, record.len + JSON_PADDING);
    memcpy(value, record.ptr, (size_t)record.len);
    batch->value[0] = (struct str){value, record.len};
    for (int32_t i = 0; i < FIELDS; i++) {
        batch->columns[batch_add_column(batch, fields[i].type, true)].null[0] = 1;
    }
    return batch;
}

static bool same_column(const struct column *a, const struct column *b)
{
    if (a->null[0] != 0 || b->null[0] != 0) {
        return a->null[0] == b->null[0];
    }
    if (a->type == VALUE_STR) {
        return str_equal(COLUMN_STR(a)[0], COLUMN_STR(b)[0]);
    }
    return memcmp(a->data, b->data, a->type == VALUE_BOOL ? 1 : 8) == 0;
}

static ptrdiff_t mutate(struct rng *rng, char *text, ptrdiff_t len)
{
    static const char junk[] = "{}[]\",:\\ 0-1e.tnul+\x01\xC3\x80";
    for (uint64_t n = 1 + rng_below(rng, 3); n > 0 && len > 2; n--) {
        ptrdiff_t at = (ptrdiff_t)rng_below(rng, (uint64_t)len);
        uint64_t what = rng_below(rng, 4);
        if (what == 0) {
            text[at] = junk[rng_below(rng, sizeof(junk) - 1)];
        } else if (what == 1) {
            memmove(text + at, text + at + 1, (size_t)(len - at - 1));
            len--;
        } else if (what == 2 && len < RECORD_MAX) {
            memmove(text + at + 1, text + at, (size_t)(len - at));
            text[at] = junk[rng_below(rng, sizeof(junk) - 1)];
            len++;
        } else if (text[at] >= '0' && text[at] <= 'z' && text[at] != '\\') {
            text[at] =
                (char)(text[at] <= '9' ? '0' + rng_below(rng, 10) : 'a' + rng_below(rng, 26));
        }
    }
    return len;
}

TEST(what_the_template_takes_the_general_parser_takes_with_the_same_values)
{
    struct arena arena;
    struct rng rng;
    struct json_shape *shape = MEM_NEW(struct json_shape);
    arena_init(&arena, 1 << 26);
    rng_init(&rng, test_seed());
    make_shape(shape);
    int32_t taken = 0;
    int32_t left = 0;
    for (int round = 0; round < MUTANTS; round++) {
        arena_reset(&arena);
        struct str seed = str_of(seeds[rng_below(&rng, COUNT_OF(seeds))]);
        struct json_template *tmpl = json_template_new();
        struct batch *first = one_row(&arena, seed);
        if (round % 2 == 0) {
            json_template_narrow(tmpl);
        }
        json_template_learn(tmpl, shape, first->value[0]);
        EXPECT(json_template_read(tmpl, shape, first->value[0], first->columns, 0));
        char text[RECORD_MAX];
        memcpy(text, seed.ptr, (size_t)seed.len);
        ptrdiff_t len = mutate(&rng, text, seed.len);
        struct batch *a = one_row(&arena, (struct str){text, len});
        struct batch *b = one_row(&arena, (struct str){text, len});
        memset((char *)(uintptr_t)a->value[0].ptr + len, "}\"0, "[rng_below(&rng, 5)],
               JSON_PADDING);
        if (json_template_read(tmpl, shape, a->value[0], a->columns, 0)) {
            const char *reason = NULL;
            struct json_reader *general = json_reader_new(); /* its first record: no template yet */
            EXPECT_MSG(json_read_rows(general, shape, false, b->value, b->sel, 1, b->columns,
                                      &arena, &reason) == 0,
                       "%.*s: %s", (int)len, text, reason);
            for (int32_t i = 0; i < FIELDS; i++) {
                EXPECT_MSG(same_column(&a->columns[i], &b->columns[i]), "%.*s: %s differs",
                           (int)len, text, fields[i].key);
            }
            json_reader_free(general);
            taken++;
        } else {
            left++;
            for (int32_t i = 0; i < FIELDS; i++) {
                EXPECT(a->columns[i].null[0] == 1);
            }
        }
        json_template_free(tmpl);
    }
    EXPECT_MSG(taken > MUTANTS / 50 && left > MUTANTS / 10, "%d taken, %d left", taken, left);
    arena_release(&arena);
    mem_free(shape);
}

TEST(an_irregular_stream_switches_the_template_off)
{
    struct arena arena;
    struct json_shape *shape = MEM_NEW(struct json_shape);
    struct json_template *tmpl = json_template_new();
    arena_init(&arena, 1 << 26);
    make_shape(shape);
    struct batch *regular = one_row(&arena, str_of(seeds[0]));
    struct batch *other = one_row(&arena, str_of(seeds[1]));
    json_template_learn(tmpl, shape, regular->value[0]);
    int32_t tries = 0;
    while (json_template_read(tmpl, shape, regular->value[0], regular->columns, 0) && tries < 100) {
        for (int32_t i = 0; i < 3; i++) {
            EXPECT(!json_template_read(tmpl, shape, other->value[0], other->columns, 0));
        }
        tries++;
    }
    EXPECT(tries < 100);
    /* It rests before it learns again, and longer each time. */
    int32_t rest = 0;
    while (!json_template_read(tmpl, shape, regular->value[0], regular->columns, 0)) {
        json_template_learn(tmpl, shape, regular->value[0]);
        rest++;
    }
    EXPECT(rest >= 64 && rest < 200);
    EXPECT_INT(json_template_hits(tmpl), tries + 1);
    json_template_free(tmpl);
    mem_free(shape);
    arena_release(&arena);
}
