// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "node/change.h"
#include "pipeline/lookup_table.h"
#include "rig.h"
#include "sim/disk.h"
#include "test.h"

/* The runtime with real chains, from configurations as people write them. */

static void start(struct rig *rig, const char *yaml, const struct fs *fs)
{
    struct rig_options options = {.seed = test_seed(), .source_shards = 2, .yaml = yaml, .fs = fs};
    rig_init(rig, &options);
    rig->load = config_load;
    rig_start(rig);
    enum runtime_state state = rig_run_up(rig);
    CHECK_MSG(state == RUNTIME_RUNNING, "%s", node_runtime_problem(rig->runtime)->text);
}

static int32_t rows_of(struct rig *rig, struct arena *arena, const char *stream,
                       struct rig_row **ret_rows)
{
    arena_reset(arena);
    return rig_read(rig, stream, arena, ret_rows);
}

static const char LOOKUP_STREAM[] =
    "version: 1\n"
    "streams: {clicks: {shards: 2}, rates: {shards: 2}, out: {}}\n"
    "pipelines:\n  p:\n    commit: 5ms\n    stages:\n"
    "      - name: s\n        from: clicks\n        partitions: 3\n        to: out\n        chain:\n"
    "          - parse: {name: p, fields: {cur: string}}\n"
    "          - lookup: {name: l, table: {stream: rates}, on: cur, fields: {rate: int}}\n";

TEST(lookup_follows_its_table_stream)
{
    struct rig rig;
    struct arena arena;
    struct rig_row *rows;
    arena_init(&arena, 16 << 20);
    start(&rig, LOOKUP_STREAM, NULL);
    rig_produce(&rig, "rates", 0, &(struct rig_record){"usd", "{\"rate\":7}", 1}, 1);
    rig_run(&rig, 2500000000);
    rig_produce(&rig, "clicks", 0, &(struct rig_record){"a", "{\"cur\":\"usd\"}", 1}, 1);
    EXPECT(rig_run_quiet(&rig));
    EXPECT_INT(rows_of(&rig, &arena, "out", &rows), 1);
    EXPECT(str_find(rows[0].value, STR("\"rate\":7")) >= 0);
    /* A process that starts later has the table before its first record. */
    rig_kill(&rig);
    rig_produce(&rig, "rates", 0, &(struct rig_record){"usd", "{\"rate\":8}", 2}, 1);
    rig_produce(&rig, "clicks", 1, &(struct rig_record){"b", "{\"cur\":\"usd\"}", 2}, 1);
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    EXPECT(rig_run_quiet(&rig));
    EXPECT_INT(rows_of(&rig, &arena, "out", &rows), 2);
    EXPECT(str_find(rows[1].value, STR("\"rate\":8")) >= 0);
    rig_stop(&rig);
    rig_release(&rig);
    arena_release(&arena);
}

TEST(lookup_leaves_out_a_row_that_is_too_large)
{
    struct rig rig;
    struct arena arena;
    struct rig_row *rows;
    arena_init(&arena, 16 << 20);
    char *value = arena_new(&arena, LOOKUP_ROW_MAX + 2, 1);
    memset(value, ' ', LOOKUP_ROW_MAX + 1);
    start(&rig, LOOKUP_STREAM, NULL);
    rig_produce(
        &rig, "rates", 0,
        (struct rig_record[]){{"usd", "{\"rate\":7}", 1}, {"usd", value, 1}, {"usd", value, 1}}, 3);
    rig_produce(&rig, "rates", 0, &(struct rig_record){"eur", "{\"rate\":9}", 1}, 1);
    rig_run(&rig, 2500000000);
    EXPECT_INT(node_runtime_rows_left_out(rig.runtime), 2);
    EXPECT(str_find(str_of(node_runtime_left_out(rig.runtime)),
                    STR("table stream rates: 2 rows left out, the last is 0/2: ")) >= 0);
    EXPECT_STR(str_of(node_runtime_problem(rig.runtime)->text), STR(""));
    /* The next process starts all the same. */
    rig_stop(&rig);
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    rig_produce(&rig, "clicks", 0,
                (struct rig_record[]){{"a", "{\"cur\":\"usd\"}", 1}, {"a", "{\"cur\":\"eur\"}", 1}},
                2);
    EXPECT(rig_run_quiet(&rig));
    EXPECT_INT(rows_of(&rig, &arena, "out", &rows), 2);
    EXPECT(str_find(rows[0].value, STR("\"rate\":null")) >= 0);
    EXPECT(str_find(rows[1].value, STR("\"rate\":9")) >= 0);
    rig_stop(&rig);
    rig_release(&rig);
    arena_release(&arena);
}

static const char LOOKUP_FILE[] =
    "version: 1\n"
    "streams: {clicks: {shards: 2}, out: {}}\n"
    "pipelines:\n  p:\n    commit: eager\n    stages:\n"
    "      - name: s\n        from: clicks\n        to: out\n        chain:\n"
    "          - parse: {name: p, fields: {id: string}}\n"
    "          - lookup: {name: l, table: {file: users.csv, format: csv, key: id}, on: id, fields: {name: string}}\n";

static void write_file(const struct fs *fs, const char *path, struct str text)
{
    struct fs_file file;
    CHECK(fs_open(fs, path, FS_O_WRITE | FS_O_CREATE, &file, NULL) == ERR_OK);
    CHECK(fs_write(fs, file, text.ptr, text.len, 0, NULL) == ERR_OK);
    fs_close(fs, file);
}

TEST(lookup_reads_its_file_and_a_missing_one_is_named)
{
    struct disk *disk = disk_new(&(struct disk_options){.seed = 1});
    struct fs fs = disk_fs(disk);
    write_file(&fs, "users.csv", STR("id,name\n17,Ada\n18,Grace\n"));
    struct rig rig;
    struct arena arena;
    struct rig_row *rows;
    arena_init(&arena, 16 << 20);
    start(&rig, LOOKUP_FILE, &fs);
    rig_produce(&rig, "clicks", 0, &(struct rig_record){"a", "{\"id\":\"18\"}", 1}, 1);
    EXPECT(rig_run_quiet(&rig));
    EXPECT_INT(rows_of(&rig, &arena, "out", &rows), 1);
    EXPECT(str_find(rows[0].value, STR("Grace")) >= 0);
    rig_stop(&rig);
    CHECK(fs_unlink(&fs, "users.csv", NULL) == ERR_OK);
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_FAILED);
    EXPECT(str_find(str_of(node_runtime_problem(rig.runtime)->text), STR("users.csv")) >= 0);
    rig_release(&rig);
    disk_free(disk);
    arena_release(&arena);
}

static const char EVENT_TIME[] =
    "version: 1\n"
    "streams: {clicks: {shards: 2, time: {field: ts, out_of_order: 0s}}, out: {}}\n"
    "pipelines:\n  p:\n    commit: 5ms\n    stages:\n"
    "      - {name: w, from: clicks, to: out, partitions: 2, chain: [{window: {name: w, tumbling: 1s, out: {n: count}}}]}\n";

TEST(event_time_from_a_field_and_a_record_without_it_is_a_dead_letter)
{
    struct rig rig;
    struct arena arena;
    struct rig_row *rows;
    arena_init(&arena, 16 << 20);
    start(&rig, EVENT_TIME, NULL);
    rig_produce(
        &rig, "clicks", 0,
        (struct rig_record[]){{"a", "{\"ts\":1000}", 9}, {"a", "{\"ts\":1999}", 9}, {"a", "{}", 9}},
        3);
    rig_end(&rig, "clicks");
    EXPECT(rig_run_to_end(&rig));
    EXPECT_INT(rows_of(&rig, &arena, "out", &rows), 1);
    EXPECT_INT(rows[0].time_ms, 1999);
    EXPECT(str_find(rows[0].value, STR("\"n\":2")) >= 0);
    EXPECT_INT(rows_of(&rig, &arena, "p.w.dead", &rows), 1);
    EXPECT(str_find(rows[0].headers, STR("clicks/0/")) >= 0);
    rig_stop(&rig);
    rig_release(&rig);
    arena_release(&arena);
}

static const char EARLY[] =
    "version: 1\n"
    "streams: {clicks: {shards: 2, time: {out_of_order: 0s}}, out: {}}\n"
    "pipelines:\n  p:\n    commit: 5ms\n    stages:\n"
    "      - {name: w, from: clicks, to: out, chain: [{window: {name: w, tumbling: 1s, emit: 100ms, out: {n: count}}}]}\n";

TEST(early_results_of_an_open_window_are_committed_while_it_is_open)
{
    struct rig rig;
    struct arena arena;
    struct rig_row *rows;
    arena_init(&arena, 16 << 20);
    start(&rig, EARLY, NULL);
    rig_produce(&rig, "clicks", 0, (struct rig_record[]){{"a", "x", 1000}, {"a", "x", 1100}}, 2);
    rig_run(&rig, 350000000);
    int32_t early = rows_of(&rig, &arena, "out", &rows);
    EXPECT(early >= 1);
    EXPECT(str_find(rows[0].value, STR("\"n\":2")) >= 0);
    EXPECT(str_find(rows[0].value, STR("false")) >= 0);
    rig_kill(&rig);
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    rig_end(&rig, "clicks");
    EXPECT(rig_run_to_end(&rig));
    int32_t all = rows_of(&rig, &arena, "out", &rows);
    int32_t final = 0;
    for (int32_t i = 0; i < all; i++) {
        final += str_find(rows[i].value, STR("true")) >= 0;
    }
    EXPECT_INT(final, 1);
    rig_stop(&rig);
    rig_release(&rig);
    arena_release(&arena);
}

static int64_t commits_of(struct rig *rig)
{
    static struct partition_report reports[8];
    struct lane_command command = {.kind = LANE_SNAPSHOT};
    command.u.snapshot.reports = reports;
    command.u.snapshot.cap = COUNT_OF(reports);
    rig_command(rig, 0, &command);
    return command.u.snapshot.ret_lane.commits;
}

static const char SESSIONS_COUNTED[] =
    "version: 1\n"
    "streams: {clicks: {shards: 1, time: {out_of_order: 0s}}, out: {}}\n"
    "pipelines:\n  p:\n    commit: 5ms\n    stages:\n"
    "      - name: a\n        from: clicks\n        chain:\n"
    "          - window: {name: s, session: {gap: 10s}, out: {n: count}}\n"
    "          - key_by: {key: n, shards: 1}\n"
    "      - {name: b, from: a, to: out, chain: [{window: {name: w, tumbling: 5s, out: {sessions: count}}}]}\n";

TEST(results_of_sessions_are_in_time_for_the_stage_behind_them)
{
    struct rig rig;
    struct arena arena;
    struct rig_row *rows;
    arena_init(&arena, 16 << 20);
    start(&rig, SESSIONS_COUNTED, NULL);
    /* The session of k ends at 14 s and is known to have ended at 24 s. By then the stage behind has a result, that of y, and has
     * been told of 23 s. */
    static const char *const KEYS[] = {"y", "k", "z", "z", "z"};
    static const int64_t TIMES_MS[] = {0, 4000, 23000, 25000, 26000};
    for (int i = 0; i < COUNT_OF(TIMES_MS); i++) {
        rig_produce(&rig, "clicks", 0, &(struct rig_record){KEYS[i], "x", TIMES_MS[i]}, 1);
        EXPECT(rig_run_quiet(&rig));
    }
    EXPECT_INT(rows_of(&rig, &arena, "out", &rows), 2);
    EXPECT_INT(rows[1].time_ms, 14999);
    rig_end(&rig, "clicks");
    EXPECT(rig_run_to_end(&rig));
    EXPECT_INT(rows_of(&rig, &arena, "out", &rows), 3);
    rig_stop(&rig);
    rig_release(&rig);
    arena_release(&arena);
}

static const char EARLY_OF_FOUR[] =
    "version: 1\n"
    "streams: {clicks: {shards: 1, time: {out_of_order: 0s}}, out: {}}\n"
    "pipelines:\n  p:\n    commit: 5ms\n    stages:\n"
    "      - {name: w, from: clicks, to: out, partitions: 4, chain: [{window: {name: w, tumbling: 1s, emit: 1s, out: {n: count}}}]}\n";

TEST(early_results_wait_for_the_next_commit_when_one_is_full)
{
    enum { KEYS = 40 };
    struct rig rig;
    struct rig_options options = {.seed = test_seed(),
                                  .source_shards = 1,
                                  .yaml = EARLY_OF_FOUR,
                                  .tuning.commit_bytes = 100}; /* one result's or two */
    rig_init(&rig, &options);
    rig.load = config_load;
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    static struct rig_record records[KEYS];
    static char keys[KEYS][16];
    for (int i = 0; i < KEYS; i++) {
        IGNORE_RESULT(snprintf(keys[i], sizeof keys[i], "k%d", i)); /* fits */
        records[i] = (struct rig_record){keys[i], "x", 1000};
    }
    rig_produce(&rig, "clicks", 0, records, KEYS);
    rig_run(&rig, 500000000);
    int64_t before = commits_of(&rig);
    rig_run(&rig, 1000000000);
    EXPECT_INT(commits_of(&rig) - before, 4); /* one for each partition's */
    rig_stop(&rig);
    rig_release(&rig);
}

/* Each record is kept eight times. */
static const char LARGE_STATE[] =
    "version: 1\n"
    "streams: {clicks: {shards: 1, time: {out_of_order: 0s}}, out: {}}\n"
    "pipelines:\n  p:\n    commit: 1s\n    stages:\n"
    "      - name: w\n        from: clicks\n        to: out\n        chain:\n"
    "          - parse: {fields: {n: int, s: string}}\n"
    "          - map: {set: {a: s, b: s, c: s, d: s, e: s, f: s, g: s}}\n"
    "          - window: {name: w, tumbling: 1h, out: {best: {top: {of: n, n: 1, fields: [a, b, c, d, e, f, g, s]}}}}\n";

TEST(state_that_changes_by_more_than_a_commit_takes_leaves_in_several)
{
    enum {
        KEYS = 150,
        TEXT_BYTES = 70 << 10,
        BATCH = 50
    }; /* farther from its like than LZ4 looks */
    struct rig rig;
    struct arena arena;
    struct rng rng;
    rng_init(&rng, test_seed());
    arena_init(&arena, 64 << 20);
    start(&rig, LARGE_STATE, NULL);
    char *text = arena_new(&arena, TEXT_BYTES + 1, 1);
    for (int i = 0; i < TEXT_BYTES; i++) {
        text[i] = (char)('@' + rng_below(&rng, 28));
    }
    const char *value = arena_printf(&arena, "{\"n\":1,\"s\":\"%s\"}", text);
    struct rig_record records[BATCH];
    for (int i = 0; i < KEYS; i += BATCH) {
        for (int k = 0; k < BATCH; k++) {
            records[k] = (struct rig_record){arena_printf(&arena, "k%d", i + k), value, 1000};
        }
        rig_produce(&rig, "clicks", 0, records, BATCH);
    }
    EXPECT(rig_run_quiet(&rig));
    EXPECT_STR(str_of(node_runtime_problem(rig.runtime)->text), STR(""));
    const struct lane_status *status = lane_status(node_runtime_lane(rig.runtime, 0));
    EXPECT_INT(atomic_load(&status->state), LANE_RUNNING);
    rig_stop(&rig);
    rig_release(&rig);
    arena_release(&arena);
}

static const char FAN_OUT[] =
    "version: 1\n"
    "streams: {orders: {shards: 1}, payments: {shards: 1}, out: {codec: none}}\n"
    "pipelines:\n  p:\n    commit: 5ms\n    stages:\n"
    "      - name: j\n        from: [orders, payments]\n        to: out\n        chain:\n"
    "          - parse: {name: a, input: 1, fields: {text: string}}\n"
    "          - parse: {name: b, input: 2, fields: {text: string}}\n"
    "          - join: {name: j, unbounded: true, kind: left}\n";

TEST(join_of_more_pairs_than_a_commit_takes_rejects_the_row)
{
    enum { ORDERS = 450, TEXT_BYTES = 40000 };
    struct rig rig;
    struct arena arena;
    struct rig_row *rows;
    arena_init(&arena, 256 << 20);
    char *text = arena_new(&arena, TEXT_BYTES + 1, 1);
    memset(text, 'x', TEXT_BYTES);
    const char *value = arena_printf(&arena, "{\"text\":\"%s\"}", text);
    static struct rig_record records[ORDERS];
    for (int i = 0; i < ORDERS; i++) {
        records[i] = (struct rig_record){i < 10 ? "few" : "many", value, 1};
    }
    start(&rig, FAN_OUT, NULL);
    for (int i = 0; i < ORDERS; i += 150) {
        rig_produce(&rig, "orders", 0, records + i, 150);
    }
    EXPECT(rig_run_quiet(&rig));
    for (int i = 0; i < 4;
         i++) { /* with one text more each, the pairs of a row of `many` are over the limit */
        records[i] = (struct rig_record){i % 2 ? "few" : "many", "{\"text\":\"paid\"}", 1};
    }
    rig_produce(&rig, "payments", 0, records, 4);
    EXPECT(rig_run_quiet(&rig));
    EXPECT_STR(str_of(node_runtime_problem(rig.runtime)->text), STR(""));
    EXPECT_INT(rig_read(&rig, "out", &arena, &rows), ORDERS + 2 * 10);
    EXPECT_INT(rig_read(&rig, "p.j.dead", &arena, &rows), 2);
    EXPECT(str_find(rows[0].headers, STR("join: the results of a batch would be over 16 MiB")) >=
           0);
    rig_stop(&rig);
    rig_release(&rig);
    arena_release(&arena);
}

static const char JOIN[] =
    "version: 1\n"
    "streams: {orders: {shards: 2}, payments: {shards: 2}, out: {}}\n"
    "pipelines:\n  p:\n    commit: 5ms\n    stages:\n"
    "      - name: j\n        from: [orders, payments]\n        to: out\n        partitions: 3\n        chain:\n"
    "          - parse: {name: a, input: 1, fields: {amount: int}}\n"
    "          - parse: {name: b, input: 2, fields: {paid: int}}\n"
    "          - join: {name: j, within: 2s, kind: left}\n";

TEST(join_of_two_streams_pairs_them_and_both_positions_are_kept)
{
    struct rig rig;
    struct arena arena;
    struct rig_row *rows;
    arena_init(&arena, 16 << 20);
    start(&rig, JOIN, NULL);
    rig_produce(
        &rig, "orders", 0,
        (struct rig_record[]){{"k1", "{\"amount\":5}", 1000}, {"k2", "{\"amount\":6}", 1000}}, 2);
    EXPECT(rig_run_quiet(&rig));
    rig_kill(&rig);
    rig_produce(&rig, "payments", 0, &(struct rig_record){"k1", "{\"paid\":5}", 2000}, 1);
    for (int i = 0; i < 4; i++) {
        rig_start(&rig);
        rig_run(&rig, 6000000 * i);
        rig_kill(&rig);
    }
    rig_end(&rig, "orders");
    rig_end(&rig, "payments");
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    EXPECT(rig_run_to_end(&rig));
    EXPECT_INT(rows_of(&rig, &arena, "out", &rows), 2);
    int pairs = 0;
    for (int i = 0; i < 2; i++) {
        pairs += str_find(rows[i].value, STR("\"r.paid\":5")) >= 0 &&
                 str_find(rows[i].value, STR("\"l.amount\":5")) >= 0;
    }
    EXPECT_MSG(pairs == 1, "%.*s / %.*s", STR_ARG(rows[0].value), STR_ARG(rows[1].value));
    rig_stop(&rig);
    rig_release(&rig);
    arena_release(&arena);
}

/* --- another text while it runs --- */

#define EDITED(FILTER, WINDOW, COMMIT) \
    "version: 1\n" \
    "streams: {clicks: {shards: 2}, counts: {}, other: {shards: 2}, copies: {}}\n" \
    "pipelines:\n" \
    "  p:\n    commit: " COMMIT "\n    stages:\n" \
    "      - name: read\n        from: clicks\n        partitions: 2\n        chain:\n" \
    "          - parse: {name: p, fields: {user: string, n: int}}\n" FILTER \
    "          - key_by: {name: k, key: user, shards: 2}\n" \
    "      - name: count\n        partitions: 2\n        to: counts\n        chain:\n" \
    "          - window: " WINDOW "\n" \
    "  q:\n    commit: 5ms\n    stages:\n" \
    "      - {name: copy, from: other, to: copies, chain: [{parse: {name: p, fields: {n: int}}}]}\n"

#define SUMS(NAME, LENGTH) "{name: " NAME ", tumbling: " LENGTH ", out: {n: count}}"

static const char PLAIN[] = EDITED("", SUMS("w", "10s"), "5ms");
static const char FILTERED[] =
    EDITED("          - filter: {name: f, where: \"n > 5\"}\n", SUMS("w", "10s"), "5ms");
static const char LONGER[] = EDITED("", SUMS("w", "20s"), "5ms");
static const char RENAMED[] = EDITED("", SUMS("v", "10s"), "5ms");
static const char SLOWER[] = EDITED("", SUMS("w", "10s"), "20ms");

static bool is_final(void *ctx)
{
    return change_final(ctx);
}

/* Replaces pipeline `p`; the state it ended in, or why it was refused. */
static enum err replace(struct rig *rig, struct arena *arena, const char *yaml, uint32_t flags,
                        enum change_state *ret_state, struct err_info *info)
{
    const struct config *config;
    struct change *change = NULL;
    uint64_t conflict;
    CHECK(config_load(arena, "new.yaml", str_of(yaml), &config, info) == ERR_OK);
    struct change_spec spec = {.kind = CHANGE_PIPELINE, .flags = flags, .config = config};
    enum err err = change_start(rig->runtime, &spec, NULL, &change, &conflict, info);
    if (err == ERR_OK) {
        CHECK(rig_run_until(rig, is_final, change));
        *ret_state = change->state;
        change_release(change);
    }
    return err;
}

static void click(struct rig *rig, const char *key, int n, int64_t time_ms)
{
    char value[64];
    IGNORE_RESULT(snprintf(value, sizeof(value), "{\"user\":\"%s\",\"n\":%d}", key, n)); /* fits */
    rig_produce(rig, "clicks", n % 2, &(struct rig_record){key, value, time_ms}, 1);
}

/* What the windows of user `a` have counted so far. */
static int64_t sum_of(struct rig *rig, struct arena *arena)
{
    struct rig_row *rows;
    int32_t count = rows_of(rig, arena, "counts", &rows);
    int64_t sum = 0;
    for (int32_t i = 0; i < count; i++) {
        ptrdiff_t at = str_find(rows[i].value, STR("\"n\":"));
        CHECK(at >= 0);
        sum += strtol(rows[i].value.ptr + at + 4, NULL, 10);
    }
    return sum;
}

TEST(chain_of_a_running_pipeline_is_replaced_and_stays_so)
{
    struct rig rig;
    struct arena texts, arena;
    enum change_state state = CHANGE_UNDONE;
    struct err_info info = {0};
    arena_init(&texts, 64 << 20);
    arena_init(&arena, 16 << 20);
    start(&rig, PLAIN, NULL);
    for (int i = 0; i < 10; i++) {
        click(&rig, "a", i, 1000 + i);
    }
    EXPECT(rig_run_quiet(&rig));
    EXPECT(replace(&rig, &texts, FILTERED, 0, &state, &info) == ERR_OK);
    EXPECT_INT(state, CHANGE_DONE);
    for (int i = 0; i < 10; i++) {
        click(&rig, "a", i, 2000 + i); /* 6, 7, 8, 9 are counted into the window that was open */
    }
    EXPECT(rig_run_quiet(&rig));
    rig_kill(&rig); /* the file has the old text; the new one is what runs */
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    EXPECT(node_runtime_pipeline_config(rig.runtime, STR("p")) != rig.config);
    EXPECT(node_runtime_pipeline_config(rig.runtime, STR("q")) == rig.config);
    for (int i = 0; i < 10; i++) {
        click(&rig, "a", i, 3000 + i);
    }
    rig_end(&rig, "clicks");
    rig_end(&rig, "other");
    EXPECT(rig_run_to_end(&rig));
    EXPECT_INT(sum_of(&rig, &arena), 18);
    rig_stop(&rig);
    rig.options.yaml = SLOWER; /* an edited file wins */
    rig_start(&rig);
    EXPECT_INT(rig_run_up(&rig), RUNTIME_RUNNING);
    EXPECT(node_runtime_pipeline_config(rig.runtime, STR("p")) == rig.config);
    rig_release(&rig);
    arena_release(&texts);
    arena_release(&arena);
}

TEST(text_that_loses_state_is_refused_with_the_list_or_done_if_asked)
{
    struct rig rig;
    struct arena texts, arena;
    enum change_state state = CHANGE_UNDONE;
    struct err_info info = {0};
    arena_init(&texts, 64 << 20);
    arena_init(&arena, 16 << 20);
    start(&rig, PLAIN, NULL);
    for (int i = 0; i < 10; i++) {
        click(&rig, "a", i, 1000 + i);
    }
    EXPECT(rig_run_quiet(&rig));
    EXPECT_INT(replace(&rig, &texts, LONGER, 0, &state, &info), ERR_NEEDS_OPERATOR);
    EXPECT(str_find(str_of(info.text), STR("'w")) >= 0);
    EXPECT_INT(replace(&rig, &texts, RENAMED, 0, &state, &info), ERR_NEEDS_OPERATOR);
    EXPECT(str_find(str_of(info.text), STR("not kept")) >= 0);
    EXPECT_INT(node_runtime_changing(rig.runtime), 0);
    EXPECT(replace(&rig, &texts, RENAMED, CHANGE_DROP_STATE, &state, &info) == ERR_OK);
    EXPECT_INT(state, CHANGE_DONE);
    for (int i = 0; i < 4; i++) {
        click(&rig, "a", i, 2000 + i);
    }
    rig_end(&rig, "clicks");
    rig_end(&rig, "other");
    EXPECT(rig_run_to_end(&rig));
    EXPECT_INT(node_runtime_failed_partitions(rig.runtime), 0);
    EXPECT_INT(sum_of(&rig, &arena), 4); /* the ten of before went with the old window */
    rig_release(&rig);
    arena_release(&texts);
    arena_release(&arena);
}

TEST(settings_change_without_a_stop_and_more_than_chains_takes_a_restart)
{
    struct rig rig;
    struct arena texts;
    enum change_state state = CHANGE_UNDONE;
    struct err_info info = {0};
    arena_init(&texts, 64 << 20);
    start(&rig, PLAIN, NULL);
    EXPECT(replace(&rig, &texts, SLOWER, CHANGE_DRY_RUN, &state, &info) == ERR_OK);
    EXPECT_INT(state, CHANGE_CHECKED);
    EXPECT(replace(&rig, &texts, SLOWER, 0, &state, &info) == ERR_OK);
    EXPECT_INT(state, CHANGE_DONE);
    const struct pipeline_plan *plan = node_runtime_stage(rig.runtime, 0)->pipeline->plan;
    EXPECT_INT(plan->commit_ns, 20000000);
    EXPECT_INT(replace(&rig, &texts, LOOKUP_STREAM, 0, &state, &info), ERR_UNSUPPORTED);
    EXPECT(str_find(str_of(info.text), STR("stages")) >= 0);
    rig_release(&rig);
    arena_release(&texts);
}
