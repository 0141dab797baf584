// SPDX-License-Identifier: Apache-2.0
/* Configurations as data: testdata/config/good all load; each of testdata/config/bad gives the line that stands for it in
 * testdata/config/errors.txt ("<file>: <error>"). With WRITE_EXPECTED set the lines are printed instead. */
#include <dirent.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "pipeline/config.h"
#include "test.h"

enum { FILE_MAX = 1 << 16, NAMES_MAX = 512 };

static struct str read_all(struct arena *arena, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return (struct str){0};
    }
    char *text = ARENA_NEW_ARRAY(arena, char, FILE_MAX);
    size_t len = fread(text, 1, FILE_MAX - 1, file);
    IGNORE_RESULT(fclose(file)); /* only read */
    return (struct str){text, (ptrdiff_t)len};
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names of the .yaml files of a folder, sorted. */
static int list(struct arena *arena, const char *folder, const char *names[NAMES_MAX])
{
    DIR *dir = opendir(folder);
    int count = 0;
    if (dir == NULL) {
        return 0;
    }
    for (struct dirent *entry = readdir(dir);
         entry != NULL && count < NAMES_MAX; // NOLINT(concurrency-mt-unsafe)
         entry = readdir(dir)) {             // NOLINT(concurrency-mt-unsafe)
        if (str_ends_with(str_of(entry->d_name), STR(".yaml"))) {
            names[count++] = arena_dup(arena, entry->d_name, (ptrdiff_t)strlen(entry->d_name));
        }
    }
    IGNORE_RESULT(closedir(dir)); /* only read */
    qsort(names, (size_t)count, sizeof(names[0]), by_name);
    return count;
}

TEST(good_configurations_load)
{
    struct arena arena;
    const char *names[NAMES_MAX];
    arena_init(&arena, 1 << 28);
    const char *folder = arena_printf(&arena, "%s/config/good", test_data_dir());
    int count = list(&arena, folder, names);
    EXPECT(count >= 15);
    for (int i = 0; i < count; i++) {
        const struct config *config = NULL;
        struct err_info info = {0};
        struct str text = read_all(&arena, arena_printf(&arena, "%s/%s", folder, names[i]));
        EXPECT_MSG(config_load(&arena, names[i], text, &config, &info) == ERR_OK, "%s", info.text);
        EXPECT(config != NULL && config->nodes.count >= 1);
    }
    arena_release(&arena);
}

/* What two texts make is the same, chains and all. */
static void expect_same(const struct config *a, const struct config *b, const char *name)
{
    EXPECT_INT(a->stream_count, b->stream_count);
    EXPECT_INT(a->pipeline_count, b->pipeline_count);
    for (int32_t p = 0; p < a->pipeline_count && p < b->pipeline_count; p++) {
        const struct pipeline_plan *x = a->pipelines[p], *y = b->pipelines[p];
        EXPECT(str_equal(x->name, y->name));
        EXPECT_INT(x->stage_count, y->stage_count);
        for (int32_t s = 0; s < x->stage_count && s < y->stage_count; s++) {
            EXPECT_MSG(str_equal(x->stages[s]->text, y->stages[s]->text), "%s: %.*s", name,
                       STR_ARG(y->stages[s]->text));
        }
    }
}

/* It is kept, shown, hashed, and candidates are made of it: the file's text alone would lose the settings there. */
TEST(the_text_of_a_configuration_has_the_settings_in_it)
{
    struct arena arena;
    const char *names[NAMES_MAX];
    arena_init(&arena, 1 << 28);
    const char *folder = arena_printf(&arena, "%s/config/good", test_data_dir());
    int count = list(&arena, folder, names);
    EXPECT(count >= 15);
    for (int i = 0; i < count; i++) {
        const struct config *set = NULL, *again = NULL;
        struct err_info info = {0};
        struct str text = read_all(&arena, arena_printf(&arena, "%s/%s", folder, names[i]));
        struct str sets[] = {STR("data='./else where: \"here\"'"), STR("nodes.max=200")};
        EXPECT_MSG(config_load_set(&arena, names[i], text, sets, 2, &set, &info) == ERR_OK, "%s",
                   info.text);
        EXPECT_MSG(config_load(&arena, "text", set->text, &again, &info) == ERR_OK, "%s: %s",
                   names[i], info.text);
        EXPECT(str_is(again->data, "./else where: \"here\""));
        EXPECT_INT(again->nodes.max, 200);
        expect_same(set, again, names[i]);
    }
    arena_release(&arena);
}

TEST(a_text_written_anew_reads_back_as_it_was)
{
    static const char odd[] = "a: ~\nb: [~, '', \"\\x7f\\x85\\u2028\\\\\\\"\\n\", '7', -5, -]\n"
                              "'c: d': {'~': \"\xc3\xa4 \xe2\x80\xa6\"}\n";
    struct arena arena;
    arena_init(&arena, 1 << 20);
    const struct yaml_node *tree = NULL, *again = NULL;
    CHECK(yaml_parse(&arena, "odd", str_of(odd), &tree, NULL) == ERR_OK);
    struct str text = config_written_text(&arena, tree);
    CHECK(yaml_parse(&arena, "again", text, &again, NULL) == ERR_OK);
    const struct yaml_node *b = yaml_get(tree, "b"), *b2 = yaml_get(again, "b");
    EXPECT_INT(b2->count, b->count);
    for (int32_t i = 0; i < b->count; i++) {
        EXPECT_MSG(str_equal(b->items[i]->text, b2->items[i]->text), "item %d", i);
    }
    EXPECT(!b2->items[0]->quoted && b2->items[1]->quoted && b2->items[3]->quoted);
    EXPECT(!b2->items[4]->quoted && yaml_get(again, "a")->text.len == 0);
    const struct yaml_node *c = yaml_get(again, "c: d");
    EXPECT(c != NULL && str_is(yaml_get(c, "~")->text, "\xc3\xa4 \xe2\x80\xa6"));
    arena_release(&arena);
}

TEST(an_address_to_listen_on_is_one_that_a_start_binds_to)
{
    static const char *const good[][2] = {
        {"127.0.0.1:0", "127.0.0.1"}, {"'[::1]:0'", "::1"}, {"'::1:0'", "::1"},
        {"0.0.0.0:0", "0.0.0.0"},     {"'[::]:0'", "::"},
    };
    struct arena arena;
    arena_init(&arena, 1 << 24);
    for (int i = 0; i < (int)COUNT_OF(good); i++) {
        const struct config *config = NULL;
        struct err_info info = {0};
        struct str text = str_of(arena_printf(&arena, "version: 1\nlisten: %s\n", good[i][0]));
        EXPECT_MSG(config_load(&arena, "listen", text, &config, &info) == ERR_OK, "%s", info.text);
        EXPECT_STR(config->listen.address, str_of(good[i][1]));
        EXPECT_INT(config->listen.port, 0);
    }
    arena_release(&arena);
}

/* The store of the pipeline of that name. */
static const struct shadow_store_spec *store_of(const struct config *config, const char *pipeline)
{
    return config_shadow_store(config, config_pipeline(config, str_of(pipeline))->shadowing.store);
}

/* Names are made of addresses; that two look the same there makes them no one store. */
TEST(each_address_of_a_shadow_store_is_its_own_store)
{
    static const char text[] =
        "version: 1\n"
        "streams: {in: {}}\n"
        "shadow_stores: {redis-d-e-1: {type: redis, address: 'other:7'}}\n"
        "pipelines:\n"
        "  a: {shadowing: {store: 'redis://a.b:6379'}, stages: [{name: s, from: in}]}\n"
        "  b: {shadowing: {store: 'redis://a-b:6379'}, stages: [{name: s, from: in}]}\n"
        "  c: {shadowing: {store: 'redis://a.b'}, stages: [{name: s, from: in}]}\n"
        "  d: {shadowing: {store: 'redis://d.e:1'}, stages: [{name: s, from: in}]}\n"
        "  e: {shadowing: {store: 'redis://%s:6379'}, stages: [{name: s, from: in}]}\n"
        "  f: {shadowing: {store: 'redis://%s:6380'}, stages: [{name: s, from: in}]}\n";
    static const char long_host[] =
        "a-host-of-a-name-that-is-longer-than-names-of-stores-are.example";
    struct arena arena;
    const struct config *config = NULL;
    struct err_info info = {0};
    arena_init(&arena, 1 << 24);
    struct str yaml = str_of(arena_printf(&arena, text, long_host, long_host));
    CHECK_MSG(config_load(&arena, "stores", yaml, &config, &info) == ERR_OK, "%s", info.text);
    EXPECT(str_is(store_of(config, "a")->host, "a.b"));
    EXPECT(str_is(store_of(config, "a")->name, "redis-a-b-6379"));
    EXPECT(str_is(store_of(config, "b")->host, "a-b"));
    EXPECT(store_of(config, "c") == store_of(config, "a"));
    EXPECT(str_is(store_of(config, "d")->host, "d.e") && store_of(config, "d")->port == 1);
    EXPECT_INT(store_of(config, "e")->port, 6379);
    EXPECT_INT(store_of(config, "f")->port, 6380);
    EXPECT(store_of(config, "f")->name.len <= 64);
    EXPECT_INT(config->shadow_store_count, 7);
    arena_release(&arena);
}

TEST(bad_configurations_say_what_where_and_what_to_do)
{
    struct arena arena;
    const char *names[NAMES_MAX];
    arena_init(&arena, 1 << 28);
    const char *folder = arena_printf(&arena, "%s/config/bad", test_data_dir());
    int count = list(&arena, folder, names);
    struct str expected =
        read_all(&arena, arena_printf(&arena, "%s/config/errors.txt", test_data_dir()));
    bool write =
        getenv("WRITE_EXPECTED") != NULL; // NOLINT(concurrency-mt-unsafe): tests run on one thread
    EXPECT(count >= 60);
    for (int i = 0; i < count; i++) {
        const struct config *config = NULL;
        struct err_info info = {0};
        struct str text = read_all(&arena, arena_printf(&arena, "%s/%s", folder, names[i]));
        enum err err = config_load(&arena, names[i], text, &config, &info);
        EXPECT_MSG(err != ERR_OK && config == NULL, "%s loads", names[i]);
        if (write) {
            printf("%s\n", info.text);
            continue;
        }
        struct str line = str_cut(&expected, '\n');
        EXPECT_MSG(str_is(line, info.text), "%s\nexpected %.*s", info.text, STR_ARG(line));
    }
    EXPECT(write || expected.len == 0);
    arena_release(&arena);
}

/* Every cut and some flipped bytes of a good file: an error with a place, or a configuration; never a crash. */
TEST(cut_and_broken_files_give_errors)
{
    struct arena arena;
    arena_init(&arena, 1 << 28);
    struct str text =
        read_all(&arena, arena_printf(&arena, "%s/config/good/two_stages.yaml", test_data_dir()));
    EXPECT(text.len > 100);
    char *copy = MEM_NEW_ARRAY(char, text.len);
    for (ptrdiff_t n = 0; n < 3 * text.len; n++) {
        struct arena mine;
        arena_init(&mine, 1 << 24);
        const struct config *config = NULL;
        struct err_info info = {0};
        memcpy(copy, text.ptr, (size_t)text.len);
        ptrdiff_t len = n < text.len ? n : text.len;
        if (n >= text.len) {
            copy[n % text.len] = n < 2 * text.len ? '}' : '"';
        }
        enum err err = config_load(&mine, "f", (struct str){copy, len}, &config, &info);
        EXPECT_MSG(err == ERR_OK || strncmp(info.text, "f:", 2) == 0, "%td: %s", n, info.text);
        arena_release(&mine);
    }
    mem_free(copy);
    arena_release(&arena);
}

static const struct stage_plan *stage_of(struct arena *arena, const char *chain)
{
    const struct config *config = NULL;
    struct err_info info = {0};
    const char *text = arena_printf(
        arena,
        "version: 1\nstreams: {in: {}}\npipelines: {p: {stages: [{name: s, from: in, chain: %s}]}}\n",
        chain);
    enum err err = config_load(arena, "f", str_of(text), &config, &info);
    CHECK_MSG(err == ERR_OK, "%s", info.text);
    return config->pipelines[0]->stages[0];
}

TEST(normalised_text_is_the_same_for_the_same_meaning)
{
    struct arena arena;
    arena_init(&arena, 1 << 26);
    const struct stage_plan *a = stage_of(&arena, "[{filter: {name: f, where: \"key == 'x'\"}}]");
    const struct stage_plan *b =
        stage_of(&arena, "[ {\"filter\": { where: key == 'x',  name: 'f' } } ]");
    const struct stage_plan *c = stage_of(&arena, "[{filter: {name: f, where: \"key == 'y'\"}}]");
    EXPECT_STR(a->text, STR("[{\"filter\":{\"name\":\"f\",\"where\":\"key == 'x'\"}}]"));
    EXPECT_STR(b->text, a->text);
    EXPECT(a->text_hash == b->text_hash && a->text_hash != c->text_hash);
    EXPECT(a->text_hash == hash64(a->text.ptr, a->text.len));
    arena_release(&arena);
}

TEST(a_chain_says_after_how_much_event_time_it_is_as_one_that_has_run_for_long)
{
    struct arena arena;
    arena_init(&arena, 1 << 26);
    EXPECT_INT(stage_plan_span_ms(stage_of(&arena, "[{filter: {where: \"true\"}}]")), 0);
    EXPECT_INT(stage_plan_span_ms(stage_of(&arena, "[{dedupe: {}}]")), 0);
    EXPECT_INT(
        stage_plan_span_ms(stage_of(
            &arena, "[{dedupe: {within: 3s}}, {window: {hopping: {size: 10s, slide: 2s}, out: {n: "
                    "count}}}]")),
        13000);
    EXPECT_INT(
        stage_plan_span_ms(stage_of(&arena, "[{window: {session: {gap: 5s}, out: {n: count}}}]")),
        5000);
    arena_release(&arena);
}

TEST(a_chain_says_which_of_its_windows_close_together_most_seldom)
{
    struct arena arena;
    arena_init(&arena, 1 << 26);
    EXPECT(stage_plan_closing(stage_of(&arena, "[{filter: {where: \"true\"}}]")) == NULL);
    EXPECT(stage_plan_closing(
               stage_of(&arena, "[{window: {session: {gap: 5s}, out: {n: count}}}]")) == NULL);
    const struct operator_plan *op = stage_plan_closing(
        stage_of(&arena, "[{window: {name: a, tumbling: 1s, out: {n: count}}}, "
                         "{window: {name: b, hopping: {size: 10s, slide: 4s}, out: {m: count}}}]"));
    EXPECT(op != NULL && op->hop_ms == 4000 && op->hop_from_ms == 2000);
    arena_release(&arena);
}

TEST(the_second_day_keeps_state_of_the_same_name_and_schema)
{
    struct arena arena;
    arena_init(&arena, 1 << 26);
    struct stage_shape *old = MEM_NEW(struct stage_shape);
    char text[1024];
    stage_shape_of(stage_of(&arena, "[{window: {name: w, tumbling: 10s, out: {n: count}}}]"), old);
    EXPECT(old->space_count > 0);
    EXPECT_INT(
        stage_shape_compare(
            old,
            stage_of(
                &arena,
                "[{filter: {where: \"true\"}}, {window: {name: w, tumbling: 10s, out: {n: count}}}]"),
            text, sizeof(text)),
        0);
    EXPECT_INT(strlen(text), 0);
    EXPECT(stage_shape_compare(
               old, stage_of(&arena, "[{window: {name: v, tumbling: 10s, out: {n: count}}}]"), text,
               sizeof(text)) > 0);
    EXPECT_MSG(strstr(text, "p/s: state of 'w/") != NULL &&
                   strstr(text, "is not kept by the new chain") != NULL,
               "%s", text);
    EXPECT(stage_shape_compare(
               old, stage_of(&arena, "[{window: {name: w, tumbling: 20s, out: {n: count}}}]"), text,
               16) >= 0);
    EXPECT(strlen(text) < 16);
    EXPECT_INT(old->input_count, 1);
    old->inputs[0] = STR("before");
    EXPECT_INT(stage_shape_compare(
                   old, stage_of(&arena, "[{window: {name: w, tumbling: 10s, out: {n: count}}}]"),
                   text, sizeof(text)),
               1);
    EXPECT_MSG(strstr(text, "p/s: it read 'before' and reads 'in' now") != NULL, "%s", text);
    old->input_count = 0; /* an earlier version did not tell */
    EXPECT_INT(stage_shape_compare(
                   old, stage_of(&arena, "[{window: {name: w, tumbling: 10s, out: {n: count}}}]"),
                   text, sizeof(text)),
               0);
    mem_free(old);
    arena_release(&arena);
}
