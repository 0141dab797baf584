// SPDX-License-Identifier: Apache-2.0
#include "base/yaml.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "test.h"

static struct arena arena;
static struct err_info info;

/* The arena starts anew with each parse; a test holds one tree at a time. */
static enum err parse(struct str text, const struct yaml_node **ret_root)
{
    arena_release(&arena);
    arena_init(&arena, 512 << 20);
    info = (struct err_info){0};
    return yaml_parse(&arena, "f.yaml", text, ret_root, &info);
}

static bool refused(struct str text, enum err code, const char *message)
{
    const struct yaml_node *root = NULL;
    enum err err = parse(text, &root);
    if (err != code || info.code != code || strstr(info.text, message) == NULL || root != NULL) {
        printf("    %s \"%s\", expected \"%s\"\n", err_name(err), info.text, message);
        return false;
    }
    return true;
}

TEST(yaml_tree_has_kinds_texts_and_places)
{
    const struct yaml_node *root = NULL;
    EXPECT(parse(STR("a: 1\nb:\n  - x\n  - 'y z'\n  - {c: \"q\"}\nd:\ne: ~\nf: ''\n"), &root) ==
           ERR_OK);
    EXPECT(root->kind == YAML_MAP && root->count == 5);
    const struct yaml_node *b = yaml_get(root, "b");
    EXPECT(b->kind == YAML_LIST && b->count == 3 && b->line == 3 && b->column == 3);
    EXPECT_STR(b->items[0]->text, STR("x"));
    EXPECT(!b->items[0]->quoted && b->items[1]->quoted);
    EXPECT_STR(b->items[1]->text, STR("y z"));
    const struct yaml_node *c = yaml_get(b->items[2], "c");
    EXPECT(c->line == 5 && c->column == 9 && strcmp(c->file, "f.yaml") == 0);
    EXPECT(yaml_get(root, "d")->text.len == 0 && !yaml_get(root, "d")->quoted);
    EXPECT(yaml_get(root, "e")->text.len == 0 && !yaml_get(root, "e")->quoted);
    EXPECT(yaml_get(root, "f")->text.len == 0 && yaml_get(root, "f")->quoted);
    EXPECT(yaml_get(root, "g") == NULL && yaml_get(NULL, "g") == NULL && yaml_get(b, "g") == NULL);
    EXPECT(root->keys[1]->line == 2 && root->keys[1]->column == 1);
}

TEST(yaml_reads_json_and_empty_texts)
{
    const struct yaml_node *root = NULL;
    EXPECT(parse(STR("{\"a\": [1, 2, {\"b\": null}], \"c\": true}"), &root) == ERR_OK);
    EXPECT_INT(yaml_get(root, "a")->count, 3);
    static const char *const empties[] = {"", "\n\n", "# comment\n", "---\n", "--- ~\n"};
    for (int i = 0; i < COUNT_OF(empties); i++) {
        EXPECT(parse(str_of(empties[i]), &root) == ERR_OK);
        EXPECT(root->kind == YAML_MAP && root->count == 0 && root->line == 1);
    }
    EXPECT(parse((struct str){NULL, 0}, &root) == ERR_OK && root->count == 0);
}

TEST(yaml_takes_a_byte_order_mark_and_crlf)
{
    const struct yaml_node *root = NULL;
    EXPECT(parse(STR("\xef\xbb\xbf"
                     "a: 1\r\nb: two\r\n"),
                 &root) == ERR_OK);
    EXPECT_STR(yaml_get(root, "b")->text, STR("two"));
    EXPECT(root->keys[0]->column == 1 && root->keys[1]->line == 2);
}

TEST(yaml_refuses_what_its_header_lists)
{
    EXPECT(refused(STR("a: &x 1\n"), ERR_PARSE, "f.yaml:1:4: anchors"));
    EXPECT(refused(STR("a: &x {b: 1}\n"), ERR_PARSE, "f.yaml:1:4: anchors"));
    EXPECT(refused(STR("a: *x\n"), ERR_PARSE, "f.yaml:1:4: aliases"));
    EXPECT(refused(STR("a: !!int 1\n"), ERR_PARSE, "tags"));
    EXPECT(refused(STR("a: !x [1]\n"), ERR_PARSE, "tags"));
    EXPECT(refused(STR("a: ! b\n"), ERR_PARSE, "tags"));
    EXPECT(refused(STR("%TAG ! tag:x,2000:\n---\na: b\n"), ERR_PARSE, "tags"));
    EXPECT(refused(STR("a: 1\n---\nb: 2\n"), ERR_PARSE, "f.yaml:2:1: a second document"));
    EXPECT(refused(STR("a: 1\nb: 2\na: 3\n"), ERR_PARSE,
                   "f.yaml:3:1: the key \"a\" stands here a second time (first in line 1)"));
    EXPECT(refused(STR("x: {\"a\": 1, a: 2}\n"), ERR_PARSE, "f.yaml:1:13: the key \"a\""));
    EXPECT(refused(STR("[1, 2]: 3\n"), ERR_PARSE, "f.yaml:1:1: a key must be"));
    EXPECT(refused(STR("? {a: 1}\n: 2\n"), ERR_PARSE, "a key must be"));
}

TEST(yaml_syntax_errors_say_where)
{
    EXPECT(refused(STR("a: 1\nb: [1, 2\n"), ERR_PARSE, "f.yaml:3:1: "));
    EXPECT(refused(STR("a: 'x\n"), ERR_PARSE, "f.yaml:2:1: "));
    EXPECT(refused(STR("a:\n\tb: 1\n"), ERR_PARSE, "f.yaml:2:1: a tab in the indentation"));
    EXPECT(refused(STR("a: b: c\n"), ERR_PARSE, "f.yaml:1:5: "));
    EXPECT(refused(STR("a: \xff\n"), ERR_PARSE, "f.yaml:1:4: "));
    EXPECT(refused(STR("ok: 1\n\xc3\xa4\xc3\xb6: \xff\n"), ERR_PARSE, "f.yaml:2:5: "));
    EXPECT(refused(((struct str){"a: 1\nb: \0x\n", 11}), ERR_PARSE, "f.yaml:2:4: a byte NUL"));
    EXPECT(refused(STR("a: \"x\\0y\"\n"), ERR_PARSE, "f.yaml:1:4: a text may not hold"));
}

TEST(yaml_limits_hold)
{
    char deep[400];
    memset(deep, '[', 200);
    memset(deep + 200, ']', 200);
    EXPECT(refused((struct str){deep, 400}, ERR_LIMIT, "f.yaml:1:65: nested deeper"));
    const struct yaml_node *root = NULL;
    EXPECT(parse((struct str){deep + 200 - YAML_DEPTH_MAX, 2 * (ptrdiff_t)YAML_DEPTH_MAX}, &root) ==
           ERR_OK);
    char *big = mem_new(1, YAML_BYTES_MAX + 1);
    memset(big, '#', YAML_BYTES_MAX + 1);
    EXPECT(refused((struct str){big, YAML_BYTES_MAX + 1}, ERR_LIMIT, "f.yaml: 4194305 bytes"));
    EXPECT(parse((struct str){big, YAML_BYTES_MAX}, &root) == ERR_OK);
    /* "[,1,1,...": two bytes a value. */
    big[0] = '[';
    for (ptrdiff_t i = 1; i + 1 < YAML_BYTES_MAX; i += 2) {
        big[i] = '1';
        big[i + 1] = ',';
    }
    root = NULL;
    EXPECT(refused((struct str){big, YAML_BYTES_MAX}, ERR_LIMIT, "more than 1048576 values"));
    mem_free(big);
    struct arena small;
    arena_init(&small, 1000);
    EXPECT(yaml_parse(&small, "f.yaml", STR("[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"), &root, &info) ==
           ERR_LIMIT);
    EXPECT(strstr(info.text, "memory") != NULL);
    arena_release(&small);
}

static struct yaml_node scalar(const char *text, bool quoted)
{
    return (struct yaml_node){.kind = YAML_SCALAR,
                              .quoted = quoted,
                              .line = 2,
                              .column = 7,
                              .file = "f.yaml",
                              .text = str_of(text)};
}

TEST(yaml_whole_numbers)
{
    int64_t v = 0;
    struct yaml_node node = scalar("-9223372036854775808", false);
    EXPECT(yaml_i64(&node, INT64_MIN, INT64_MAX, &v, &info) == ERR_OK && v == INT64_MIN);
    node = scalar("9223372036854775807", false);
    EXPECT(yaml_i64(&node, INT64_MIN, INT64_MAX, &v, &info) == ERR_OK && v == INT64_MAX);
    static const char *const bad[] = {
        "9223372036854775808", "1.0", "", "-", "+", "1x", "0x10", " 1", "1_000"};
    for (int i = 0; i < COUNT_OF(bad); i++) {
        node = scalar(bad[i], false);
        EXPECT_MSG(yaml_i64(&node, INT64_MIN, INT64_MAX, &v, &info) == ERR_INVALID, "%s", bad[i]);
        EXPECT(strstr(info.text, "f.yaml:2:7: a whole number is wanted here, found ") == info.text);
    }
    node = scalar("5", true);
    EXPECT(yaml_i64(&node, 0, 10, &v, &info) == ERR_INVALID);
    node = scalar("11", false);
    EXPECT(yaml_i64(&node, 0, 10, &v, &info) == ERR_INVALID);
    EXPECT(strcmp(info.text, "f.yaml:2:7: 11 is out of range: 0 to 10") == 0);
}

TEST(yaml_durations)
{
    static const struct {
        const char *text;
        int64_t ns; /* -1: refused */
    } cases[] = {{"0s", 0},
                 {"1ns", 1},
                 {"3us", 3000},
                 {"250ms", 250000000},
                 {"2s", 2000000000},
                 {"1.5s", 1500000000},
                 {"1m", 60000000000},
                 {"1h", 3600000000000},
                 {"7d", 604800000000000},
                 {"0.5ns", -1},
                 {"5", -1},
                 {"s", -1},
                 {"-1s", -1},
                 {"1S", -1},
                 {"1 s", -1},
                 {"1.s", -1},
                 {".5s", -1},
                 {"1h30m", -1},
                 {"1.5.5s", -1},
                 {"200000d", -1},
                 {"99999999999999999999s", -1},
                 {"", -1}};
    for (int i = 0; i < COUNT_OF(cases); i++) {
        struct yaml_node node = scalar(cases[i].text, false);
        int64_t ns = -1;
        enum err err = yaml_duration_ns(&node, 0, INT64_MAX, &ns, &info);
        EXPECT_MSG(ns == cases[i].ns && (err == ERR_OK) == (ns >= 0), "%s gives %lld",
                   cases[i].text, (long long)ns);
    }
    struct yaml_node node = scalar("2s", false);
    int64_t ns = 0;
    EXPECT(yaml_duration_ns(&node, 0, 1000, &ns, &info) == ERR_INVALID &&
           strstr(info.text, "out of range") != NULL);
}

TEST(yaml_sizes_shares_numbers_bools_texts)
{
    static const struct {
        const char *text;
        int64_t bytes;
    } sizes[] = {{"0", 0},
                 {"17", 17},
                 {"5B", 5},
                 {"64KiB", 65536},
                 {"1.5MiB", 1572864},
                 {"10GiB", 10737418240},
                 {"2TiB", 2199023255552},
                 {"1KB", -1},
                 {"1kib", -1},
                 {"0.5B", -1},
                 {"9000000TiB", -1}};
    for (int i = 0; i < COUNT_OF(sizes); i++) {
        struct yaml_node node = scalar(sizes[i].text, false);
        int64_t bytes = -1;
        enum err err = yaml_size_bytes(&node, 0, INT64_MAX, &bytes, &info);
        EXPECT_MSG(bytes == sizes[i].bytes && (err == ERR_OK) == (bytes >= 0), "%s", sizes[i].text);
    }
    double v = 0;
    struct yaml_node node = scalar("12.5%", false);
    EXPECT(yaml_ratio(&node, 0, 1, &v, &info) == ERR_OK);
    EXPECT_NEAR(v, 0.125, 0);
    node = scalar("0.125", false);
    EXPECT(yaml_ratio(&node, 0, 1, &v, &info) == ERR_OK);
    EXPECT_NEAR(v, 0.125, 0);
    node = scalar("120%", false);
    EXPECT(yaml_ratio(&node, 0, 1, &v, &info) == ERR_INVALID &&
           strstr(info.text, "0% to 100%") != NULL);
    static const char *const bad[] = {"%", "nan", "inf", "0x1p3", "1e999", "1..2", "1%%"};
    for (int i = 0; i < COUNT_OF(bad); i++) {
        node = scalar(bad[i], false);
        EXPECT_MSG(yaml_ratio(&node, 0, 1e300, &v, &info) == ERR_INVALID, "%s", bad[i]);
        EXPECT_MSG(yaml_f64(&node, -1e300, 1e300, &v, &info) == ERR_INVALID, "%s", bad[i]);
    }
    node = scalar("-1.5e3", false);
    EXPECT(yaml_f64(&node, -1e4, 1e4, &v, &info) == ERR_OK);
    EXPECT_NEAR(v, -1500, 0);
    bool b = false;
    node = scalar("true", false);
    EXPECT(yaml_bool(&node, &b, &info) == ERR_OK && b);
    node = scalar("yes", false);
    EXPECT(yaml_bool(&node, &b, &info) == ERR_INVALID &&
           strstr(info.text, "true or false is wanted here, found \"yes\"") != NULL);
    struct str text = {0};
    node = scalar("", false);
    EXPECT(yaml_text(&node, &text, &info) == ERR_INVALID &&
           strstr(info.text, "found nothing") != NULL);
    node = scalar("", true);
    EXPECT(yaml_text(&node, &text, &info) == ERR_OK);
    node = (struct yaml_node){.kind = YAML_LIST, .file = "f.yaml", .line = 1, .column = 1};
    EXPECT(yaml_text(&node, &text, &info) == ERR_INVALID &&
           strstr(info.text, "found a list") != NULL);
    node = scalar("\x1b[31m\n", true);
    EXPECT(yaml_bool(&node, &b, &info) == ERR_INVALID && strchr(info.text, '\x1b') == NULL);
}

TEST(yaml_unknown_keys_get_a_hint)
{
    static const char *const known[] = {"shards", "retention", "time", "to", NULL};
    const struct yaml_node *root = NULL;
    EXPECT(parse(STR("shards: 1\nto: x\n"), &root) == ERR_OK &&
           yaml_only_keys(root, known, &info) == ERR_OK);
    EXPECT(parse(STR("shards: 1\nretnetion: 1\n"), &root) == ERR_OK);
    EXPECT(yaml_only_keys(root, known, &info) == ERR_INVALID);
    EXPECT(strcmp(info.text,
                  "f.yaml:2:1: unknown key \"retnetion\"; did you mean \"retention\"?") == 0);
    EXPECT(parse(STR("bananas: 1\n"), &root) == ERR_OK &&
           yaml_only_keys(root, known, &info) == ERR_INVALID);
    EXPECT(strcmp(info.text,
                  "f.yaml:1:1: unknown key \"bananas\"; known here: shards, retention, time, to") ==
           0);
    EXPECT(parse(STR("[a]"), &root) == ERR_OK && yaml_only_keys(root, known, &info) == ERR_INVALID);
}

/* Random bytes of YAML's own alphabet: no crash, no leak, and each failure says a place. */
TEST(yaml_noise_is_refused_with_a_place_or_read)
{
    static const char alphabet[] = "ab:-[]{},'\"\n\n  #&*!|>%~?1\t\\\xc3\xa4\r";
    struct rng rng;
    rng_init(&rng, test_seed());
    int good = 0, bad = 0;
    for (int round = 0; round < 20000; round++) {
        char text[48];
        ptrdiff_t len = rng_range(&rng, 0, (int64_t)sizeof(text));
        for (ptrdiff_t i = 0; i < len; i++) {
            text[i] = alphabet[rng_below(&rng, sizeof(alphabet) - 1)];
        }
        const struct yaml_node *root = NULL;
        enum err err = parse((struct str){text, len}, &root);
        EXPECT((err == ERR_OK) == (root != NULL));
        EXPECT(err == ERR_OK || strstr(info.text, "f.yaml:") == info.text);
        good += err == ERR_OK;
        bad += err != ERR_OK;
    }
    EXPECT(good > 100 && bad > 100);
    arena_release(&arena);
}
