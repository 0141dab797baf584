// SPDX-License-Identifier: Apache-2.0
/* parse in all formats, flat_map and plug-ins, through whole chains. */
#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "chain_fixture.h"
#include "pipeline/json.h"
#include "pipeline/number.h"
#include "test.h"

static bool open_chain(struct fixture *f, const char *chain)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    bool good = fixture_open(f, fixture_yaml(&arena, chain), 0);
    arena_release(&arena);
    if (!good) {
        printf("%s\n", f->info.text);
    }
    return good;
}

static enum err run(struct fixture *f, const struct str *values, int32_t count)
{
    return chain_process(f->chain, 0, fixture_batch(f, values, count), f->out, &f->info);
}

/* A chain, one record, and the first output, or "!reason" if the record is rejected. */
static const char *outcome(struct fixture *f, struct str value, struct arena *arena)
{
    chain_out_reset(f->out);
    if (run(f, &value, 1) != ERR_OK) {
        return f->info.text;
    }
    bool dead = fixture_count(f, OUTPUT_DEAD_LETTER) > 0;
    struct str text = dead ? fixture_header(f, OUTPUT_DEAD_LETTER, 0, "sc.reason")
                           : fixture_value(f, OUTPUT_MAIN, 0);
    return arena_printf(arena, "%s%.*s", dead ? "!" : "", STR_ARG(text));
}

/* A text whose length is that of the literal: it may hold NUL bytes. For static tables. */
#define TEXT(literal) \
    { \
        (literal), (ptrdiff_t)sizeof(literal) - 1 \
    }

struct record_case {
    struct str value;
    const char *outcome;
};

static void check_cases(const char *chain, const struct record_case *cases, ptrdiff_t count)
{
    struct fixture f;
    struct arena arena;
    arena_init(&arena, 1 << 20);
    EXPECT(open_chain(&f, chain));
    for (ptrdiff_t i = 0; i < count; i++) {
        const char *got = outcome(&f, cases[i].value, &arena);
        EXPECT_MSG(strcmp(got, cases[i].outcome) == 0, "%.*s gives %s, expected %s",
                   STR_ARG(cases[i].value), got, cases[i].outcome);
    }
    fixture_close(&f);
    arena_release(&arena);
}

TEST(json_fields_have_their_types_and_the_rest_is_not_checked)
{
    static const struct record_case cases[] = {
        {TEXT("{\"a\":1,\"x\":{\"y\":\"deep\"}}"), "{\"a\":1,\"y\":\"deep\",\"f\":null}"},
        {TEXT("{}"), "{\"a\":null,\"y\":null,\"f\":null}"},
        {TEXT(" { \"f\" : 2 , \"a\" : null } "), "{\"a\":null,\"y\":null,\"f\":2}"},
        {TEXT("{\"a\":1,\"a\":2}"), "{\"a\":1,\"y\":null,\"f\":null}"},
        {TEXT("{\"\\u0061\":7}"), "{\"a\":7,\"y\":null,\"f\":null}"},
        {TEXT("{\"x\":{\"y\":\"\\u00e9\\n\\ud83d\\ude00\"}}"),
         "{\"a\":null,\"y\":\"\xC3\xA9\\n\xF0\x9F\x98\x80\",\"f\":null}"},
        {TEXT("{\"a\":1,\"z\":nonsense}"), "{\"a\":1,\"y\":null,\"f\":null}"},
        {TEXT("{\"x\":null}"), "{\"a\":null,\"y\":null,\"f\":null}"},
        {TEXT("{\"x\":5}"), "!field 'x' is no object"},
        {TEXT("{\"a\":1.5}"), "!field 'a' is no int"},
        {TEXT("{\"a\":\"1\"}"), "!field 'a' is no int"},
        {TEXT("{\"a\":9223372036854775808}"), "!field 'a' is no int"},
        {TEXT("{\"a\":nul}"), "!field 'a' is no int"},
        {TEXT("{\"f\":1e999}"), "!field 'f' is no float"},
        {TEXT("{\"f\":\"\"}"), "!field 'f' is no float"},
        {TEXT("{\"x\":{\"y\":1}}"), "!field 'y' is no string"},
        {TEXT("{\"x\":{\"y\":\"\\q\"}}"), "!field 'y' is no string"},
        {TEXT("[1]"), "!not a JSON object"},
        {TEXT(""), "!invalid JSON: empty"},
        {TEXT("  "), "!invalid JSON: empty"},
        {TEXT("{\"a\":1}}"), "!invalid JSON: something stands behind the object"},
        {TEXT("{\"a\":1} 5 }"), "!invalid JSON: something stands behind the object"},
        {TEXT("{\"a\":1,\"x\":{\"y\":\"k\"}"), "!invalid JSON: bad structure"},
        {TEXT("{\"a\":1"), "!invalid JSON: an object or array is not closed"},
        {TEXT("{\"a\" 1}"), "!invalid JSON: bad structure"},
        {TEXT("{\"a\":1,}"), "!invalid JSON: bad structure"},
        {TEXT("{\"a\":\"x}"), "!invalid JSON: a string is not closed"},
        {TEXT("{\"b\":\"\xFF\"}"), "!invalid JSON: not UTF-8"},
        {TEXT("{\"b\":\"\x01\"}"), "!invalid JSON: a control character in a string"},
        {{NULL, 0}, "!no value"},
    };
    check_cases("[{parse: {fields: {a: int, y: {type: string, path: x.y}, f: float}}}, {map: {}}]",
                cases, COUNT_OF(cases));
}

TEST(json_times_are_numbers_or_texts_of_both_kinds)
{
    static const struct record_case cases[] = {
        {TEXT("{\"t\":1436918400000}"), "{\"t\":1436918400000}"},
        {TEXT("{\"t\":\"1436918400000\"}"), "{\"t\":1436918400000}"},
        {TEXT("{\"t\":\"-5\"}"), "{\"t\":-5}"},
        {TEXT("{\"t\":\"0\"}"), "{\"t\":0}"},
        {TEXT("{\"t\":\"2015-07-15T00:00:00Z\"}"), "{\"t\":1436918400000}"},
        {TEXT("{\"t\":\"\"}"), "!field 't' is no time"},
        {TEXT("{\"t\":\"-\"}"), "!field 't' is no time"},
        {TEXT("{\"t\":\"01\"}"), "!field 't' is no time"},
        {TEXT("{\"t\":\"12x\"}"), "!field 't' is no time"},
        {TEXT("{\"t\":\"1234567890123456\"}"), "!field 't' is no time"},
    };
    check_cases("[{parse: {fields: {t: time}}}, {map: {}}]", cases, COUNT_OF(cases));
}

TEST(strict_json_is_checked_to_the_last_value)
{
    static const struct record_case cases[] = {
        {TEXT("{\"a\":1,\"z\":[1,{\"k\":null}]}"), "{\"a\":1,\"z\":[1,{\"k\":null}]}"},
        {TEXT("{\"a\":1,\"z\":nonsense}"), "!invalid JSON: bad structure"},
        {TEXT("{\"a\":\"x\"}"), "!field 'a' is no int"}, /* though nobody needs it */
    };
    check_cases("[{parse: {strict: true, fields: {a: int}}}]", cases, COUNT_OF(cases));
}

TEST(csv_has_quotes_columns_and_types)
{
    static const struct record_case cases[] = {
        {TEXT("7,\"a \"\"b\"\", c\",x,2.5"), "{\"n\":7,\"s\":\"a \\\"b\\\", c\",\"f\":2.5}"},
        {TEXT("7,,x,\r\n"), "{\"n\":7,\"s\":null,\"f\":null}"},
        {TEXT("7,\"\""), "{\"n\":7,\"s\":\"\",\"f\":null}"},
        {TEXT(""), "{\"n\":null,\"s\":null,\"f\":null}"},
        {TEXT("1,b,c,1e3,more"), "{\"n\":1,\"s\":\"b\",\"f\":1000}"},
        {TEXT("x,b"), "!field 'n' is no int"},
        {TEXT("1,\"b"), "!csv: a quote is not closed"},
        {TEXT("1,\"b\"c"), "!csv: something stands behind a closing quote"},
        {TEXT("1,b,c,inf"), "!field 'f' is no float"},
        {TEXT("1,\xFF"), "!csv: not UTF-8"},
        {{NULL, 0}, "!no value"},
    };
    check_cases(
        "[{parse: {format: csv, fields: {n: int, s: string, f: {type: float, column: 4}}}}, {map: {}}]",
        cases, COUNT_OF(cases));
    static const struct record_case strict[] = {
        {TEXT("1;2"), "{\"a\":1,\"b\":2}"},
        {TEXT("1"), "!csv: too few columns"},
        {TEXT("1;2;3"), "!csv: too many columns"},
    };
    check_cases(
        "[{parse: {format: csv, strict: true, delimiter: ';', fields: {a: int, b: int}}}, {map: {}}]",
        strict, COUNT_OF(strict));
}

TEST(raw_fields_stand_at_their_offsets)
{
    static const struct record_case cases[] = {
        {TEXT("\xFE\xFF\x01\x02\x00\x00\x80\x3F"
              "ab\0\0\x01"),
         "{\"i\":-2,\"u\":258,\"f\":1,\"s\":\"ab\",\"b\":true}"},
        {TEXT("\x01\x00\xFF\xFF\x00\x00\x80\x3F"
              "abcd\x02"),
         "!field 'b' is no bool"},
        {TEXT("\x01\x00\xFF\xFF\x00\x00\x80\x7F"
              "abcd\x01"),
         "!field 'f' is no float"},
        {TEXT("\x01\x00"), "!raw: the value is too short"},
        {TEXT("\x01\x00\xFF\xFF\x00\x00\x80\x3F\xFF"
              "bcd\x00"),
         "!field 's' is no string"},
    };
    check_cases(
        "[{parse: {format: raw, fields: {i: {type: i16, offset: 0}, u: {type: u16, offset: 2, endian: big}, "
        "f: {type: f32, offset: 4}, s: {type: string, offset: 8, length: 4}, b: {type: bool, offset: 12}}}}, {map: {}}]",
        cases, COUNT_OF(cases));
}

TEST(raw_numbers_of_every_width_and_order)
{
    static const struct record_case cases[] = {
        {TEXT("\x80\x80\xFE\xFF\xFF\xFE\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFE"
              "\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFE"
              "\x3F\xF8\0\0\0\0\0\0\x05\0\0\0\0\0\0\0"),
         "{\"a\":-128,\"b\":128,\"c\":-2,\"d\":65534,\"e\":-2,\"f\":4294967294,\"g\":-2,\"h\":-2,"
         "\"i\":1.5,\"j\":5}"},
    };
    check_cases(
        "[{parse: {format: raw, fields: {a: {type: i8, offset: 0}, b: {type: u8, offset: 1}, "
        "c: {type: i16, offset: 2}, d: {type: u16, offset: 4, endian: big}, e: {type: i32, offset: 6}, "
        "f: {type: u32, offset: 10, endian: big}, g: {type: i64, offset: 14}, "
        "h: {type: i64, offset: 22, endian: big}, i: {type: f64, offset: 30, endian: big}, "
        "j: {type: u64, offset: 38}}}}, {map: {}}]",
        cases, COUNT_OF(cases));
    static const struct record_case bad[] = {
        {TEXT("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0\0\0\0\0\xF0\x3F"), "!field 'u' is no int"},
        {TEXT("\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\xF0\x7F"), "!field 'f' is no float"},
        {TEXT("\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\xF8\xFF"), "!field 'f' is no float"},
        {TEXT("\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\xF0\xBF"), "{\"u\":1,\"f\":-1}"},
    };
    check_cases(
        "[{parse: {format: raw, fields: {u: {type: u64, offset: 0}, f: {type: f64, offset: 8}}}}, "
        "{map: {}}]",
        bad, COUNT_OF(bad));
}

TEST(raw_texts_end_at_their_first_zero_or_their_place)
{
    static const struct record_case cases[] = {
        {TEXT("abcdefghijk"), "{\"s\":\"abcdefghijk\"}"},
        {TEXT("abcdefghij\0"), "{\"s\":\"abcdefghij\"}"},
        {TEXT("a\0cdefghijk"), "{\"s\":\"a\"}"},
        {TEXT("\0\0\0\0\0\0\0\0\0\0\0"), "{\"s\":\"\"}"},
        {TEXT("abcdefgh\xC3\xA9k"), "{\"s\":\"abcdefgh\xC3\xA9k\"}"},
        {TEXT("abcdefghij\xC3"), "!field 's' is no string"},
        {TEXT("\xC3\0cdefghijk"), "!field 's' is no string"},
        {TEXT("abcdefghij"), "!raw: the value is too short"},
    };
    check_cases(
        "[{parse: {format: raw, fields: {s: {type: string, offset: 0, length: 11}}}}, {map: {}}]",
        cases, COUNT_OF(cases));
}

#define ENCODE \
    "[{parse: {fields: {b: bool, i: int, u: int, f: float, s: string}}}, " \
    "{encode: {format: raw, fields: {b: {type: bool, offset: 0}, u: {type: u16, offset: 2, endian: big}, " \
    "f: {type: f32, offset: 4}, i: {type: i16, offset: 8}, s: {type: string, offset: 10, length: 3}}}}"

TEST(encode_puts_fields_at_their_offsets_with_zeros_between)
{
    struct fixture f;
    EXPECT(open_chain(&f, ENCODE "]"));
    struct str value = STR("{\"b\":true,\"i\":-2,\"u\":65534,\"f\":0.5,\"s\":\"ab\"}");
    EXPECT(run(&f, &value, 1) == ERR_OK);
    static const char wanted[] = "\x01\0\xFF\xFE\0\0\0\x3F\xFE\xFF"
                                 "ab";
    struct str got = fixture_value(&f, OUTPUT_MAIN, 0);
    EXPECT_INT(got.len, (ptrdiff_t)sizeof wanted);
    EXPECT(memcmp(got.ptr, wanted, sizeof wanted) == 0);
    fixture_close(&f);
}

TEST(encode_rejects_what_has_no_place)
{
    static const struct record_case cases[] = {
        {TEXT("{\"b\":false,\"i\":-32769,\"u\":0,\"f\":0,\"s\":\"\"}"),
         "!encode: field 'i' is null or does not fit its place"},
        {TEXT("{\"b\":false,\"i\":0,\"u\":65536,\"f\":0,\"s\":\"\"}"),
         "!encode: field 'u' is null or does not fit its place"},
        {TEXT("{\"b\":false,\"i\":0,\"u\":-1,\"f\":0,\"s\":\"\"}"),
         "!encode: field 'u' is null or does not fit its place"},
        {TEXT("{\"b\":false,\"i\":0,\"u\":0,\"f\":1e39,\"s\":\"\"}"),
         "!encode: field 'f' is null or does not fit its place"},
        {TEXT("{\"b\":false,\"i\":0,\"u\":0,\"f\":0,\"s\":\"abcd\"}"),
         "!encode: field 's' is null or does not fit its place"},
        {TEXT("{\"b\":false,\"i\":0,\"u\":0,\"f\":0,\"s\":\"a\\u0000\"}"),
         "!encode: field 's' is null or does not fit its place"},
        {TEXT("{\"i\":0,\"u\":0,\"f\":0,\"s\":\"\"}"),
         "!encode: field 'b' is null or does not fit its place"},
    };
    check_cases(ENCODE "]", cases, COUNT_OF(cases));
}

TEST(encode_is_read_back_by_the_next_stage)
{
    static const char *const yaml =
        "version: 1\nstreams: {in: {shards: 1}, out: {}}\npipelines:\n  p:\n    stages:\n"
        "      - {name: a, from: in, chain: " ENCODE ", {key_by: {key: s}}]}\n"
        "      - {name: b, chain: [{map: {select: [s, u, i, f, b]}}], to: out}\n";
    struct fixture f;
    EXPECT_MSG(fixture_open(&f, yaml, 0), "%s", f.info.text);
    struct str values[] = {STR("{\"b\":true,\"i\":-2,\"u\":65534,\"f\":0.5,\"s\":\"ab\"}"),
                           STR("{\"b\":false,\"i\":5,\"u\":7,\"f\":-1,\"s\":\"abc\"}")};
    EXPECT(run(&f, values, 2) == ERR_OK);
    struct str written[2] = {fixture_value(&f, OUTPUT_MAIN, 0), fixture_value(&f, OUTPUT_MAIN, 1)};
    struct fixture g;
    EXPECT_MSG(fixture_open(&g, yaml, 1), "%s", g.info.text);
    EXPECT(run(&g, written, 2) == ERR_OK);
    EXPECT_STR(fixture_value(&g, OUTPUT_MAIN, 0),
               STR("{\"s\":\"ab\",\"u\":65534,\"i\":-2,\"f\":0.5,\"b\":true}"));
    EXPECT_STR(fixture_value(&g, OUTPUT_MAIN, 1),
               STR("{\"s\":\"abc\",\"u\":7,\"i\":5,\"f\":-1,\"b\":false}"));
    fixture_close(&g);
    fixture_close(&f);
}

TEST(encode_says_what_is_wrong_with_its_fields)
{
    static const struct {
        const char *encode, *wrong;
    } cases[] = {
        {"{fields: {n: {type: i64, offset: 0}}}", "encode wants 'format: raw'"},
        {"{format: raw, fields: {m: {type: i64, offset: 0}}}", "there is no field 'm' here"},
        {"{format: raw, fields: {n: {type: f64, offset: 0}}}", "field 'n' is int here"},
        {"{format: raw, fields: {n: {type: i64, offset: 0}, s: {type: string, offset: 7, length: 4}}}",
         "the places of 'n' and 's' overlap"},
    };
    for (ptrdiff_t i = 0; i < COUNT_OF(cases); i++) {
        struct fixture f;
        struct arena arena;
        arena_init(&arena, 1 << 20);
        const char *chain = arena_printf(
            &arena, "[{parse: {fields: {n: int, s: string}}}, {encode: %s}]", cases[i].encode);
        EXPECT(!fixture_open(&f, fixture_yaml(&arena, chain), 0));
        EXPECT_MSG(strstr(f.info.text, cases[i].wrong) != NULL, "%s", f.info.text);
        fixture_close(&f);
        arena_release(&arena);
    }
}

TEST(flat_map_makes_rows_of_arrays_and_parts)
{
    struct fixture f;
    EXPECT(open_chain(
        &f,
        "[{parse: {fields: {id: int, lines: json}}}, {flat_map: {array: lines, fields: {sku: string, n: int}}}, {map: {drop: [lines]}}]"));
    struct str orders[] = {STR("{\"id\":1,\"lines\":[{\"sku\":\"a\",\"n\":2},{\"n\":3}]}"),
                           STR("{\"id\":2,\"lines\":[]}"), STR("{\"id\":3}"),
                           STR("{\"id\":4,\"lines\":[{\"sku\":5}]}"),
                           STR("{\"id\":5,\"lines\":7}")};
    EXPECT(run(&f, orders, 5) == ERR_OK);
    EXPECT_INT(fixture_count(&f, OUTPUT_MAIN), 2);
    EXPECT_STR(fixture_value(&f, OUTPUT_MAIN, 0), STR("{\"id\":1,\"sku\":\"a\",\"n\":2}"));
    EXPECT_STR(fixture_value(&f, OUTPUT_MAIN, 1), STR("{\"id\":1,\"sku\":null,\"n\":3}"));
    EXPECT_INT(fixture_count(&f, OUTPUT_DEAD_LETTER), 2);
    fixture_close(&f);

    EXPECT(open_chain(
        &f,
        "[{parse: {fields: {t: string}}}, {flat_map: {split: t, by: ', ', into: w}}, {map: {select: [w]}}]"));
    struct str texts[] = {STR("{\"t\":\"a, b, \"}"), STR("{\"t\":\"\"}"), STR("{}")};
    EXPECT(run(&f, texts, 3) == ERR_OK);
    EXPECT_INT(fixture_count(&f, OUTPUT_MAIN), 3);
    EXPECT_STR(fixture_value(&f, OUTPUT_MAIN, 1), STR("{\"w\":\"b\"}"));
    EXPECT_STR(fixture_value(&f, OUTPUT_MAIN, 2), STR("{\"w\":\"\"}"));
    fixture_close(&f);

    EXPECT(open_chain(
        &f,
        "[{parse: {fields: {t: json}}}, {flat_map: {array: t, into: {name: n, type: int}}}, {map: {select: [n]}}]"));
    struct str numbers[] = {STR("{\"t\":[1, null, \"x\", 4]}")};
    EXPECT(run(&f, numbers, 1) == ERR_OK);
    EXPECT_INT(fixture_count(&f, OUTPUT_MAIN), 3);
    EXPECT_STR(fixture_value(&f, OUTPUT_MAIN, 1), STR("{\"n\":null}"));
    EXPECT_STR(fixture_header(&f, OUTPUT_DEAD_LETTER, 0, "sc.reason"), STR("field 'n' is no int"));
    fixture_close(&f);
}

TEST(flat_map_that_makes_too_much_of_a_batch_rejects_the_row)
{
    enum { BIG_BYTES = 100000 };
    struct fixture f;
    struct arena arena;
    arena_init(&arena, 1 << 20);
    EXPECT(open_chain(&f,
                      "[{parse: {fields: {big: string, unused: string, t: string}}}, {flat_map: "
                      "{split: t, by: ' ', into: w}}, {map: {select: [big, w]}}]"));
    char *big = arena_new(&arena, BIG_BYTES + 1, 1);
    memset(big, 'b', BIG_BYTES);
    char words[201];
    memset(words, 0, sizeof words);
    memset(words, ' ', 199); /* 200 empty parts */
    const char *all = arena_printf(&arena, "{\"big\":\"%s\",\"t\":\"%s\"}", big, words);
    const char *half = arena_printf(&arena, "{\"big\":\"%s\",\"t\":\"%s\"}", big, words + 100);
    struct str values[] = {str_of(all), str_of(half), str_of(half), STR("{\"t\":\"x y\"}")};
    EXPECT(run(&f, values, 4) == ERR_OK);
    EXPECT_INT(fixture_count(&f, OUTPUT_MAIN), 100 + 2);
    EXPECT_INT(fixture_count(&f, OUTPUT_DEAD_LETTER), 2);
    EXPECT_STR(fixture_header(&f, OUTPUT_DEAD_LETTER, 1, "sc.reason"),
               STR("flat_map: the rows made of a batch would be over 16 MiB"));
    fixture_close(&f);
    arena_release(&arena);
}

TEST(many_rows_of_flat_map_keep_their_order_over_batches)
{
    struct fixture f;
    EXPECT(open_chain(
        &f,
        "[{parse: {fields: {t: string}}}, {flat_map: {split: t, by: x, into: w}}, {map: {select: [w]}}]"));
    struct str values[8];
    struct arena arena;
    arena_init(&arena, 1 << 20);
    for (int32_t i = 0; i < 8; i++) {
        char *text = ARENA_NEW_ARRAY(&arena, char, 8192);
        int len = snprintf(text, 8192, "{\"t\":\"");
        for (int32_t k = 0; k < 500; k++) {
            len += snprintf(text + len, 8192 - (size_t)len, "%s%d", k > 0 ? "x" : "", i * 500 + k);
        }
        len += snprintf(text + len, 8192 - (size_t)len, "\"}");
        values[i] = (struct str){text, len};
    }
    EXPECT(run(&f, values, 8) == ERR_OK);
    EXPECT_INT(fixture_count(&f, OUTPUT_MAIN), 4000);
    for (int32_t i = 0; i < 4000; i += 7) {
        EXPECT_STR(fixture_value(&f, OUTPUT_MAIN, i),
                   str_of(arena_printf(&arena, "{\"w\":\"%d\"}", i)));
    }
    fixture_close(&f);
    arena_release(&arena);
}

/* Mutated records: the verdict and the fields of a record do not depend on what was read before it (the order of keys is
 * learned), nor on the bytes that stand behind it. */
TEST(mutated_json_gets_one_verdict_whatever_was_read_before_and_stands_behind)
{
    static const char *const seeds[] = {
        "{\"user\": \"u1\", \"kind\": \"view\", \"n\": 17, \"deep\": {\"a\": [1, {\"b\": 2}], \"c\": \"x\"}, \"ok\": true}",
        "{\"kind\":\"cl\\\"ick\",\"n\":-3,\"user\":\"\xC3\xA9\",\"x\":1.5e3,\"deep\":null}",
        "{\"n\":0}"};
    static const char junk[] = "{}[]\",:\\ 0-e.tnu\x01\xFF";
    struct fixture warm;
    struct fixture cold;
    const char *chain =
        "[{parse: {fields: {user: string, kind: string, n: int, c: {type: string, path: deep.c}}}}, {map: {}}]";
    EXPECT(open_chain(&warm, chain));
    struct rng rng;
    rng_init(&rng, test_seed());
    struct arena arena;
    arena_init(&arena, 1 << 28);
    int32_t good = 0;
    for (int round = 0; round < 4000; round++) {
        arena_reset(&arena);
        arena_reset(&warm.rows);
        const char *seed = seeds[rng_below(&rng, COUNT_OF(seeds))];
        char text[256];
        ptrdiff_t len = (ptrdiff_t)strlen(seed);
        memcpy(text, seed, (size_t)len);
        for (uint64_t n = rng_below(&rng, 4); n > 0 && len > 2; n--) {
            ptrdiff_t at = (ptrdiff_t)rng_below(&rng, (uint64_t)len);
            if (rng_below(&rng, 2) == 0) {
                text[at] = junk[rng_below(&rng, sizeof(junk) - 1)];
            } else {
                memmove(text + at, text + at + 1, (size_t)(len - at - 1));
                len--;
            }
        }
        const char *got = outcome(&warm, (struct str){text, len}, &arena);
        good += got[0] != '!';
        /* A fresh reader, and braces behind the record instead of zeros. */
        EXPECT(round % 16 != 0 || open_chain(&cold, chain));
        if (round % 16 == 0) {
            struct str value = {text, len};
            struct batch *batch = fixture_batch(&cold, &value, 1);
            memset((char *)(uintptr_t)batch->value[0].ptr + len,
                   rng_below(&rng, 2) == 0 ? '}' : '"', JSON_PADDING);
            EXPECT(chain_process(cold.chain, 0, batch, cold.out, &cold.info) == ERR_OK);
            bool dead = fixture_count(&cold, OUTPUT_DEAD_LETTER) > 0;
            EXPECT_MSG(dead == (got[0] == '!'), "%.*s: %s", (int)len, text, got);
            EXPECT(dead || str_is(fixture_value(&cold, OUTPUT_MAIN, 0), got));
            fixture_close(&cold);
        }
    }
    EXPECT(good > 500 && good < 3900);
    fixture_close(&warm);
    arena_release(&arena);
}

TEST(integers_are_read_up_to_their_limits)
{
    static const struct {
        const char *text;
        bool good;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"1042", true, 1042},
        {"-7", true, -7},
        {"999999999999999999", true, 999999999999999999},
        {"-999999999999999999", true, -999999999999999999},
        {"1000000000000000000", true, 1000000000000000000},
        {"00000000000000000000000012", true, 12},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+1", false, 0},
        {"1 ", false, 0},
        {"12x", false, 0},
        {"1/2", false, 0},
        {"1:2", false, 0},
        {"\xB1", false, 0},
        {"1-2", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t value = 0;
        bool good = i64_read(str_of(cases[i].text), &value);
        EXPECT_MSG(good == cases[i].good && value == cases[i].value, "'%s' is %lld", cases[i].text,
                   (long long)value);
    }
}

/* As read digit by digit. */
static bool is_number(const char *text, int len, int64_t *ret_value)
{
    int at = text[0] == '-';
    int64_t value = 0;
    bool good = at < len;
    for (; at < len; at++) {
        good = good && text[at] >= '0' && text[at] <= '9';
        value = value * 10 + (text[at] - '0');
    }
    *ret_value = text[0] == '-' ? -value : value;
    return good;
}

TEST(short_numbers_are_read_as_digit_by_digit)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int round = 0; round < 100000; round++) {
        char text[12] = "-";
        int len = 1 + (int)rng_below(&rng, 9);
        for (int i = (int)rng_below(&rng, 2); i < len; i++) {
            text[i] = (char)('0' + rng_below(&rng, 10));
        }
        if (rng_below(&rng, 2) == 0) {
            text[rng_below(&rng, (uint64_t)len)] = (char)rng_u64(&rng);
        }
        int64_t value = 0;
        int64_t wanted;
        bool good = i64_read((struct str){text, len}, &value);
        bool wanted_good = is_number(text, len, &wanted);
        EXPECT(good == wanted_good && (!good || value == wanted));
    }
}

TEST(random_rows_survive_encoding_and_reading_back)
{
    struct fixture f;
    struct arena arena;
    arena_init(&arena, 1 << 26);
    EXPECT(open_chain(&f, "[{parse: {fields: {n: int, f: float, s: string}}}, {map: {}}]"));
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int round = 0; round < 2000; round++) {
        arena_reset(&arena);
        arena_reset(&f.rows);
        char number[24];
        char real[32];
        uint64_t bits = rng_u64(&rng);
        double value;
        memcpy(&value, &bits, sizeof(value));
        value = isfinite(value) ? value : 0.5;
        int32_t number_len = i64_write((int64_t)rng_u64(&rng), number);
        int32_t real_len = f64_write(value, real);
        double back;
        EXPECT(f64_read((struct str){real, real_len}, &back) &&
               memcmp(&back, &value, sizeof(back)) == 0);
        char text[16];
        int32_t text_len = (int32_t)rng_below(&rng, 16);
        for (int32_t i = 0; i < text_len; i++) {
            text[i] = (char)('a' + rng_below(&rng, 26));
        }
        char *record = arena_printf(&arena, "{\"n\":%.*s,\"f\":%.*s,\"s\":\"%.*s\"}", number_len,
                                    number, real_len, real, text_len, text);
        const char *got = outcome(&f, str_of(record), &arena);
        EXPECT_MSG(strcmp(got, record) == 0, "%s became %s", record, got);
    }
    fixture_close(&f);
    arena_release(&arena);
}

/* The example that `make` builds; where the build folder is says BUILD_DIR. */
static const char *mask_chain(struct arena *arena, const char *settings)
{
    const char *build =
        getenv("BUILD_DIR"); // NOLINT(concurrency-mt-unsafe): tests run on one thread
    char *path = realpath(
        arena_printf(arena, "%s/examples/plugin/mask.so", build != NULL ? build : "build/release"),
        NULL);
    const char *chain = arena_printf(
        arena,
        "[{parse: {fields: {mail: string}}}, {plugin: {file: %s, columns: [mail], settings: %s}}, {map: {select: [masked]}}]",
        path != NULL ? path : "none", settings);
    free(path);
    return chain;
}

TEST(a_plugin_adds_fields_and_rejects)
{
    struct fixture f;
    struct arena arena;
    arena_init(&arena, 1 << 20);
    EXPECT(open_chain(&f, mask_chain(&arena, "{keep: 2}")));
    struct str values[] = {STR("{\"mail\":\"alice@example.org\"}"), STR("{}"),
                           STR("{\"mail\":\"bob\"}")};
    EXPECT(run(&f, values, 3) == ERR_OK);
    EXPECT_INT(fixture_count(&f, OUTPUT_MAIN), 2);
    EXPECT_STR(fixture_value(&f, OUTPUT_MAIN, 0), STR("{\"masked\":\"al***@example.org\"}"));
    EXPECT_STR(fixture_value(&f, OUTPUT_MAIN, 1), STR("{\"masked\":null}"));
    EXPECT_STR(fixture_header(&f, OUTPUT_DEAD_LETTER, 0, "sc.reason"),
               STR("mask: no mail address"));
    fixture_close(&f);
    EXPECT(!open_chain(&f, mask_chain(&arena, "{keep: many}")));
    EXPECT_MSG(strstr(f.info.text, "plug-in 'mask' refuses its settings: 'keep: many'") != NULL,
               "%s", f.info.text);
    fixture_close(&f);
    arena_release(&arena);
}
