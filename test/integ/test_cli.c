// SPDX-License-Identifier: Apache-2.0
/* The command line of the real program: exit codes, messages, and a pipeline from its first record to its last result. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"
#include "raw_http.h"
#include "test.h"

static struct result result;

static const char pipeline[] =
    "version: 1\n"
    "data: ./cli-data\n"
    "nodes: {count: 2, lanes: 1}\n"
    "streams:\n"
    "  clicks: {shards: 4, time: {ingest_field: ts, out_of_order: 2s}}\n"
    "  counts: {shards: 2}\n"
    "pipelines:\n"
    "  per_user:\n"
    "    commit: 10ms\n"
    "    stages:\n"
    "      - {name: read, from: clicks, partitions: 2, chain: [{parse: {name: p, format: json, "
    "fields: {kind: string, user: string}}}, {filter: {name: f, where: \"kind == 'view'\"}}, "
    "{key_by: {name: k, key: user, shards: 4}}]}\n"
    "      - {name: count, partitions: 2, chain: [{window: {name: w, tumbling: 10s, out: {n: "
    "count}}}], to: counts}\n";

static void sh(const char *line)
{
    program_run(line, NULL, &result);
}

TEST(wrong_calls_end_with_2_and_say_what_is_wrong)
{
    static const char *const calls[][2] = {
        {"$SC", "which verb"},
        {"$SC fly", "no verb 'fly'"},
        {"$SC run", "missing arguments"},
        {"$SC run a b", "too many arguments"},
        {"$SC run a --nope", "no option '--nope'"},
        {"$SC stream", "stream list"},
        {"$SC consume s --limit many", "whole number"},
        {"$SC partition list -o xml", "none of table|json|csv"},
        {"$SC log repair x", "--show"},
        {"$SC consume s --from yesterday", "--from"},
        {"$SC stream delete s", "--yes"},
        {"$SC stream alter s", "nothing to change"},
        {"$SC stream alter s --keep 1h --keep-forever", "give one of them"},
        {"$SC stream create s --keep 500ms", "whole seconds"},
        {"$SC produce s --format lines --key-field k", "--key-field"},
        {"$SC generate", "--trace"},
        {"$SC demo --nodes 0", "--nodes"},
        {"$SC demo --speed 1", "--speed"},
        {"$SC run pipe.yaml --listen nowhere", "--listen"},
        {"$SC backtest", "--trace FILE"},
        {"$SC backtest --trace a.csv --policy perfect,psychic", "reactive, ds2, static-peak"},
        {"echo junk >junk.db; $SC backtest --history junk.db",
         "wants the history.db of a data folder"},
        {"printf 'timestamp,value\n2024-01-01T00:00:00Z,1\n2024-01-01T00:05:00Z,2\n' >load.csv; "
         "$SC bench loop --trace load.csv --chain foo",
         "--chain is work or read"},
        {"$SC run pipe.yaml --set", "needs a value"},
    };
    program_write("pipe.yaml", pipeline);
    for (int i = 0; i < (int)COUNT_OF(calls); i++) {
        sh(calls[i][0]);
        EXPECT_MSG(result.code == 2, "%s: exit %d: %s", calls[i][0], result.code, result.err);
        EXPECT_MSG(strstr(result.err, calls[i][1]) != NULL, "%s: %s", calls[i][0], result.err);
        EXPECT_MSG(result.out[0] == 0, "%s wrote to stdout", calls[i][0]);
    }
}

TEST(a_bad_configuration_ends_with_78_and_one_line_that_names_the_place)
{
    static const char *const bad[][2] = {
        {"version: 1\nstreams:\n  a: {shards: none}\n", "bad.yaml:3:"},
        {"version: 1\nstreems: {}\n", "bad.yaml:2:1"},
        {"version: 9\n", "bad.yaml:1:"},
        {"version: 1\nstreams: {a: {}}\npipelines: {p: {stages: [{name: s, from: b, chain: []}]}}\n",
         "bad.yaml:3:"},
        {"a: [\n", "bad.yaml:"},
        {"version: 1\nmanager: {interval: 90s}\n",
         "bad.yaml:2:21: \"90s\" is out of range: 1s to 1m"},
        {"version: 1\nstreams: {a: {}}\npipelines: {p: {stages: [{name: s, from: a, chain: [{lookup: "
         "{name: l, table: {file: /etc/ads.json, key: id}, fields: {n: int}}}]}]}}\n",
         "bad.yaml:3:"},
    };
    for (int i = 0; i < (int)COUNT_OF(bad); i++) {
        program_write("bad.yaml", bad[i][0]);
        sh("$SC validate bad.yaml");
        EXPECT_MSG(result.code == 78, "%d: exit %d: %s", i, result.code, result.err);
        EXPECT_MSG(strncmp(result.err, bad[i][1], strlen(bad[i][1])) == 0, "%d: %s", i, result.err);
        EXPECT_MSG(strchr(result.err, '\n') == result.err + strlen(result.err) - 1, "%d: %s", i,
                   result.err);
        sh("$SC run bad.yaml --data bad-data");
        EXPECT_MSG(result.code == 78, "%d: run: exit %d: %s", i, result.code, result.err);
        sh("test ! -e bad-data");
        EXPECT_MSG(result.code == 0, "%d: something was started", i);
    }
    sh("$SC validate no-such.yaml");
    EXPECT_INT(result.code, 78);
}

TEST(without_a_process_clients_end_with_69)
{
    sh("$SC stream list --data nowhere");
    EXPECT_MSG(result.code == 69, "exit %d: %s", result.code, result.err);
    EXPECT(strstr(result.err, "shadowcast run") != NULL);
}

TEST(help_and_manual_go_to_stdout_and_a_closed_pipe_is_no_failure)
{
    sh("$SC help");
    EXPECT(result.code == 0 && strstr(result.out, "  69  ") != NULL && result.err[0] == 0);
    sh("$SC run --help");
    EXPECT(result.code == 0 && strstr(result.out, "--until-end") != NULL);
    sh("set -o pipefail; $SC manual | head -n 1");
    EXPECT_MSG(result.code == 0, "exit %d: %s", result.code, result.err);
    sh("$SC help >/dev/full");
    EXPECT_INT(result.code, 1);
    sh("$SC completion bash | bash -n");
    EXPECT_MSG(result.code == 0, "%s", result.err);
}

/* A day of hourly values that repeats, eight times. */
TEST(forecast_file_repeats_a_season_and_names_bad_rows)
{
    char text[192 * 32] = "timestamp,value\n";
    size_t used = strlen(text);
    for (int i = 0; i < 192; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "2024-03-%02dT%02d:00:00Z,%d\n",
                                 1 + i / 24, i % 24, 10 + i % 24 % 7 * (i % 24));
    }
    program_write("load.csv", text);
    sh("$SC forecast file load.csv --horizon 2h --model snaive -q 0.5,0.9 -o csv --plot fan.svg");
    EXPECT_MSG(strcmp(result.out, "timestamp,q0.5,q0.9\n2024-03-09T00:00:00Z,10,10\n"
                                  "2024-03-09T01:00:00Z,11,11\n") == 0,
               "%s%s", result.out, result.err);
    sh("grep -c 'time, UTC.*\\|>value<\\|>2024-03-0.<\\|>seen<\\|>forecast, q0.5<' fan.svg");
    EXPECT_MSG(atoi(result.out) >= 5, "%s", result.out);
    sh("$SC forecast file load.csv --horizon 4h --backtest --origins 4 -m ets --plot 'b&b.svg'");
    EXPECT_MSG(result.code == 0, "%s", result.err);
    sh("grep -c '>origin .: error' 'b&b.svg'");
    EXPECT_INT(atoi(result.out), 4);
    program_write("feast.csv", "ds,holiday,lower_window,upper_window\n2024-03-02,x,0,1\n");
    sh("$SC forecast file load.csv --horizon 1h -m prophet --holidays feast.csv -o json");
    EXPECT_MSG(result.code == 0 && strstr(result.out, "\"values\":192") != NULL, "%s%s", result.out,
               result.err);
    program_write("feast.csv", "ds,holiday,lower_window,upper_window\n2024-02-30,x,0,1\n");
    sh("$SC forecast file load.csv --holidays feast.csv");
    EXPECT_MSG(result.code != 0 && strstr(result.err, "feast.csv:2:1:") != NULL, "%s", result.err);
    program_write("feast.csv", "ds,holiday,lower_window,upper_window\n2024-03-02,x,1,0\n");
    sh("$SC forecast file load.csv --holidays feast.csv");
    EXPECT_MSG(result.code != 0 && strstr(result.err, "feast.csv:2:14:") != NULL, "%s", result.err);
    sh("$SC forecast file load.csv --horizon 90m");
    EXPECT_MSG(result.code == 2 && strstr(result.err, "whole steps") != NULL, "%s", result.err);
    sh("$SC forecast file load.csv --horizon 4h --backtest -o csv < /dev/null");
    EXPECT_MSG(result.code == 0 && strstr(result.out, "\nsnaive,") != NULL &&
                   strstr(result.out, ",0,0,0,") != NULL,
               "%s%s", result.out, result.err);
    sh("$SC forecast file load.csv --horizon 4h --online -q 0.5 -o csv");
    EXPECT_MSG(result.code == 0 && strstr(result.out, "steps,matured,basis,error,") == result.out &&
                   strstr(result.out, "\n4,") != NULL,
               "%s%s", result.out, result.err);
    program_write("few.csv", "timestamp,value\n2024-03-01T00:00:00Z,1\n2024-03-01T01:00:00Z,3\n");
    sh("$SC forecast file few.csv --horizon 1h -q 0.5 -o csv");
    EXPECT(result.code == 0 && strstr(result.err, "too few for a model") != NULL);
    program_write("bad.csv", "timestamp,value\n2024-03-01T00:00:00Z,1\n2024-03-01T01:00:00Z,x\n");
    sh("$SC forecast file bad.csv");
    EXPECT_MSG(result.code != 0 && strstr(result.err, "bad.csv:3:22") != NULL, "%s", result.err);
    sh("$SC forecast file load.csv -q 0.9,0.5");
    EXPECT(result.code == 2);
    EXPECT_MSG(strstr(result.err, "column 5") != NULL, "%s", result.err);
}

/* 300 clicks over 100 s by 7 users, one in three no view, one line broken. */
static void clicks(char *buf, size_t cap)
{
    size_t used = 0;
    for (int i = 0; i < 300; i++) {
        used += (size_t)snprintf(buf + used, cap - used,
                                 "{\"ts\":%d,\"kind\":\"%s\",\"user\":\"u%d\"}\n", i * 333,
                                 i % 3 == 0 ? "buy" : "view", i % 7);
    }
    CHECK(used < cap);
}

/* The count that the pipeline must give for each (window, user), as sorted lines. */
static void expected(char *buf, size_t cap)
{
    int counts[10][7] = {{0}};
    size_t used = 0;
    for (int i = 0; i < 300; i++) {
        counts[i * 333 / 10000][i % 7] += i % 3 != 0;
    }
    for (int w = 0; w < 10; w++) {
        for (int u = 0; u < 7; u++) {
            if (counts[w][u] > 0) {
                used += (size_t)snprintf(buf + used, cap - used, "%d u%d %d\n", w * 10000, u,
                                         counts[w][u]);
            }
        }
    }
    CHECK(used < cap);
}

static const char read_results[] =
    "$SC consume counts --data cli-data | sed -E 's/.*\"key\":\"(u[0-9])\".*\"window_start\":([0-9]+)"
    ".*\"n\":([0-9]+).*/\\2 \\1 \\3/' | LC_ALL=C sort -n -k1,1 -k2,2";

TEST(a_pipeline_runs_from_first_record_to_last_result_also_over_kill_9)
{
    static char input[65536];
    static char wanted[8192];
    struct running run;
    clicks(input, sizeof(input));
    expected(wanted, sizeof(wanted));
    program_write("pipe.yaml", pipeline);
    program_start("pipe.yaml", "cli-data", "", &run);

    program_run("head -n 200 | $SC produce clicks --key-field user --data cli-data", input,
                &result);
    EXPECT_MSG(result.code == 0, "produce: exit %d: %s", result.code, result.err);

    sh("$SC run pipe.yaml --data cli-data --listen 0");
    EXPECT_MSG(result.code == 4, "second process: exit %d: %s", result.code, result.err);
    EXPECT_MSG(strstr(result.err, "another process") != NULL, "%s", result.err);

    EXPECT_INT(program_stop(&run, SIGKILL), 128 + SIGKILL);
    program_start("pipe.yaml", "cli-data", "", &run);
    program_run("tail -n 100 | $SC produce clicks --key-field user --data cli-data", input,
                &result);
    EXPECT_MSG(result.code == 0, "produce: exit %d: %s", result.code, result.err);
    program_run("$SC produce clicks --key-field user --data cli-data", "not json\n", &result);
    EXPECT_MSG(result.code == 1, "bad line: exit %d: %s", result.code, result.err);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);

    sh("$SC run pipe.yaml --until-end --listen 0");
    EXPECT_MSG(result.code == 0, "until the end: exit %d: %s", result.code, result.err);

    sh("$SC validate pipe.yaml --against cli-data");
    EXPECT_MSG(result.code == 0 && strstr(result.out, "per_user/count: goes on") != NULL,
               "exit %d: %s%s", result.code, result.out, result.err);

    program_start("pipe.yaml", "cli-data", "", &run);
    sh(read_results);
    EXPECT_MSG(strcmp(result.out, wanted) == 0, "got\n%s\nwanted\n%s", result.out, wanted);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
}

TEST(a_changed_chain_goes_on_only_where_its_state_means_the_same)
{
    static char changed[sizeof(pipeline)];
    memcpy(changed, pipeline, sizeof(pipeline));
    char *size = strstr(changed, "tumbling: 10s");
    CHECK(size != NULL);
    program_write("day1.yaml", pipeline);
    memcpy(size, "tumbling: 20s", 13);
    program_write("day2.yaml", changed);
    struct running run;
    program_start("day1.yaml", "days", "", &run);
    program_run("$SC produce clicks --key-field user --data days",
                "{\"ts\":1000,\"kind\":\"view\",\"user\":\"a\"}\n"
                "{\"ts\":9000,\"kind\":\"view\",\"user\":\"a\"}\n",
                &result);
    EXPECT_MSG(result.code == 0, "%s", result.err);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
    sh("$SC run day1.yaml --data days --until-end --listen 0");
    EXPECT_MSG(result.code == 0, "%s", result.err);

    sh("$SC validate day2.yaml --against days");
    EXPECT_MSG(result.code == 7 && strstr(result.out, "per_user/read: goes on") != NULL &&
                   strstr(result.out, "'w/") != NULL,
               "exit %d: %s%s", result.code, result.out, result.err);
    sh("$SC run day2.yaml --data days --until-end --listen 0");
    EXPECT_MSG(result.code == 7 && strstr(result.err, "'w/") != NULL, "exit %d: %s", result.code,
               result.err);
    sh("$SC run day2.yaml --data days --until-end --listen 0 --drop-state");
    EXPECT_MSG(result.code == 0, "exit %d: %s", result.code, result.err);
    sh("$SC validate day2.yaml --against days && $SC log repair --show days");
    EXPECT_MSG(result.code == 0, "exit %d: %s%s", result.code, result.out, result.err);
}

/* Where it stood in the one stream, five records on, is no place in the other. */
TEST(a_stage_that_is_given_another_stream_skips_nothing_of_it)
{
    static const char form[] =
        "version: 1\nstreams: {one: {shards: 1}, other: {shards: 1}, out: {shards: 1}}\npipelines:\n"
        "  p: {stages: [{name: s, from: %s, to: out, chain: [{parse: {format: json, fields: {n: int}}}, "
        "{map: {set: {m: n}, select: [m]}}]}]}\n";
    char text[sizeof(form) + 16];
    struct running run;
    CHECK(snprintf(text, sizeof(text), form, "one") > 0);
    program_write("one.yaml", text);
    CHECK(snprintf(text, sizeof(text), form, "other") > 0);
    program_write("other.yaml", text);
    program_start("one.yaml", "moved", "", &run);
    program_run("$SC produce one --data moved", "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", &result);
    program_run("$SC produce other --data moved", "{\"n\":4}\n{\"n\":5}\n{\"n\":6}\n{\"n\":7}\n",
                &result);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
    sh("$SC run one.yaml --data moved --until-end --listen 0");
    EXPECT_MSG(result.code == 0, "%s", result.err);

    sh("$SC validate other.yaml --against moved");
    EXPECT_MSG(result.code == 7 &&
                   strstr(result.out, "it read 'one' and reads 'other' now") != NULL,
               "exit %d: %s%s", result.code, result.out, result.err);
    sh("$SC run other.yaml --data moved --until-end --listen 0");
    EXPECT_MSG(result.code == 7, "exit %d: %s", result.code, result.err);
    sh("$SC run other.yaml --data moved --until-end --listen 0 --drop-state");
    EXPECT_MSG(result.code == 0, "exit %d: %s", result.code, result.err);
    program_start("other.yaml", "moved", "", &run);
    sh("$SC consume out --format raw --data moved");
    EXPECT_MSG(strcmp(result.out,
                      "{\"m\":1}\n{\"m\":2}\n{\"m\":3}\n{\"m\":4}\n{\"m\":5}\n{\"m\":6}\n"
                      "{\"m\":7}\n") == 0,
               "%s%s", result.out, result.err);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
}

TEST(clients_print_tables_json_and_csv_and_tell_errors_apart)
{
    struct running run;
    program_write("pipe.yaml", pipeline);
    program_start("pipe.yaml", "tables", "", &run);
    sh("$SC stream create extra --shards 2 --data tables && $SC stream list --data tables -o csv");
    EXPECT_MSG(result.code == 0, "%s", result.err);
    EXPECT(strstr(result.out, "extra,data,2,") != NULL);
    sh("$SC stream show nope --data tables");
    EXPECT_MSG(result.code == 3, "exit %d: %s", result.code, result.err);
    sh("$SC stream create extra --shards 3 --data tables");
    EXPECT_MSG(result.code == 4, "exit %d: %s", result.code, result.err);
    sh("$SC stream delete extra --yes --data tables && $SC stream list --data tables -o json");
    EXPECT(result.code == 0 && strstr(result.out, "extra") == NULL);
    sh("printf %064d 0 >wrong; $SC stream list --data tables --token-file wrong");
    EXPECT_MSG(result.code == 5, "exit %d: %s", result.code, result.err);
    sh("$SC partition list --data tables -o csv | head -n 1");
    EXPECT(strncmp(result.out, "id,pipeline,", 12) == 0);
    sh("$SC node list --data tables && $SC top --once --data tables");
    EXPECT_MSG(result.code == 0, "%s", result.err);
    EXPECT(strchr(result.out, '\033') == NULL);
    sh("seq 1 100000 | $SC produce clicks --format lines --data tables; "
       "set -o pipefail; $SC consume clicks --data tables | head -n 1");
    EXPECT_MSG(result.code == 0, "closed pipe: exit %d: %s", result.code, result.err);
    EXPECT_INT(program_stop(&run, SIGINT), 0);
}

/* What is named and is not there, or cannot be: which code, and what to do instead. */
TEST(orders_that_cannot_be_say_what_can)
{
    static const struct {
        const char *call;
        int code;
        const char *remedy;
    } calls[] = {
        {"candidate promote 7", 3, "candidate list has them"},
        {"plan apply 99", 3, "there are none yet"},
        {"plan cancel 99", 3, "there are none yet"},
        {"plan undo 99", 3, "there are none yet"},
        {"partition split per_user/count/0/0-2048 --border 5000", 2, "1 to 4095"},
        {"partition split nonsense", 2, "partition list has them"},
        {"partition split per_user/count/0/0-1", 3, "partition"},
        {"partition migrate per_user/count/0/0-2048 n9", 2, "n9"},
        {"node drain n9", 3, "n9"},
        {"operation cancel 5", 3, "there are none yet"},
        {"manager mode dance", 2, "observe"},
        {"decision show 4", 3, "there are none yet"},
        {"forecast show nobody", 3, "nobody"},
    };
    struct running run;
    program_write("pipe.yaml", pipeline);
    program_start("pipe.yaml", "cannot", "", &run);
    for (int i = 0; i < (int)COUNT_OF(calls); i++) {
        char line[200];
        CHECK(snprintf(line, sizeof(line), "$SC %s --data cannot", calls[i].call) <
              (int)sizeof(line));
        sh(line);
        EXPECT_MSG(result.code == calls[i].code, "%s: exit %d: %s", line, result.code, result.err);
        EXPECT_MSG(strstr(result.err, calls[i].remedy) != NULL, "%s: %s", line, result.err);
    }
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
}

TEST(refused_lines_stop_no_input_and_are_counted_in_it)
{
    struct running run;
    program_write("pipe.yaml", pipeline);
    program_start("pipe.yaml", "left-out", "", &run);
    /* The long line makes the first call end before it: the bad one is the second call's first and only line. */
    sh("{ head -c 1048500 /dev/zero | tr '\\0' ' '; echo; "
       "head -c 1000 /dev/zero | tr '\\0' x; echo; head -c 1048500 /dev/zero | tr '\\0' ' '; echo; "
       "echo '{\"ts\":1000,\"user\":\"a\"}'; } | $SC produce clicks --data left-out");
    EXPECT_MSG(result.code == 1, "exit %d: %s", result.code, result.err);
    EXPECT_MSG(strstr(result.err, "produced 1 records") != NULL, "%s", result.err);
    EXPECT_MSG(strstr(result.err, "1 records were refused; the first: line 2: ") != NULL, "%s",
               result.err);
    sh("$SC consume clicks --shard 1 --from 999 --data left-out");
    EXPECT_MSG(strstr(result.err, "of shard 1 ") != NULL, "%s", result.err);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);

    sh("$SC validate pipe.yaml --against mistyped; code=$?; ls mistyped; exit $code");
    EXPECT_MSG(result.code == 3, "exit %d: %s", result.code, result.err);
    EXPECT_MSG(strstr(result.out, "mistyped") == NULL, "made a folder: %s", result.out);
    sh("sed 's/clicks: *{/clicks: {shards: 7, /; s/shards: 7, shards: [0-9]*/shards: 7/' pipe.yaml "
       ">wider.yaml; $SC validate wider.yaml --against left-out");
    EXPECT_MSG(result.code == 4 && strstr(result.out, "stream clicks: has ") != NULL,
               "exit %d: %s%s", result.code, result.out, result.err);
    EXPECT_MSG(strstr(result.out, "a start would refuse") != NULL, "%s", result.out);
}

/* A piece of input of the usual size may have more lines than a call. */
TEST(short_lines_are_sent_in_more_calls)
{
    struct running run;
    program_write("pipe.yaml", pipeline);
    program_start("pipe.yaml", "short", "", &run);
    sh("yes | head -n 450000 >short.txt; $SC produce counts --format lines --data short <short.txt");
    EXPECT_MSG(result.code == 0, "exit %d: %s", result.code, result.err);
    EXPECT_MSG(strstr(result.err, "produced 450000 records") != NULL, "%s", result.err);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
}

/* Four times over, an answer of a size that memory for one call holds but twice. */
TEST(a_call_that_is_tried_often_takes_no_more_memory)
{
    program_write("busy.py",
                  "import http.server, os\n"
                  "left = 4\n"
                  "class Busy(http.server.BaseHTTPRequestHandler):\n"
                  "    def do_POST(self):\n"
                  "        global left\n"
                  "        self.rfile.read(int(self.headers.get('Content-Length', 0)))\n"
                  "        busy = self.path.endswith('lines') and left > 0\n"
                  "        left -= busy\n"
                  "        body = b' ' * (3 << 20) if busy else b'{\"id\": 1, \"epoch\": 0}'\n"
                  "        self.send_response(503 if busy else 200)\n"
                  "        self.send_header('Content-Length', str(len(body)))\n"
                  "        self.end_headers()\n"
                  "        self.wfile.write(body)\n"
                  "    def log_message(self, *args):\n"
                  "        pass\n"
                  "server = http.server.HTTPServer(('127.0.0.1', 0), Busy)\n"
                  "os.makedirs('busy', exist_ok=True)\n"
                  "open('busy/token', 'w').write('0' * 64 + '\\n')\n"
                  "open('busy/api', 'w').write('http://127.0.0.1:%d\\n' % server.server_port)\n"
                  "print('listens', flush=True)\n"
                  "server.serve_forever()\n");
    sh("mkfifo busy.fifo; python3 busy.py >busy.fifo & read -r line <busy.fifo; echo a | $SC produce "
       "s --format lines --data busy; code=$?; kill $!; exit $code");
    EXPECT_MSG(result.code == 0 && strstr(result.err, "produced 1 records") != NULL, "exit %d: %s",
               result.code, result.err);
}

TEST(tokens_of_lesser_roles_may_less)
{
    struct running run;
    program_write("pipe.yaml", pipeline);
    sh("mkdir -p roles && $SC token create watcher --role viewer --data roles >roles.token");
    EXPECT_MSG(result.code == 0, "%s", result.err);
    sh("$SC token create watcher --role admin --data roles");
    EXPECT_MSG(result.code == 4 && strstr(result.err, "already") != NULL, "exit %d: %s",
               result.code, result.err);
    sh("$SC token create watcher --role viewer --data rolls");
    EXPECT_MSG(result.code == 3 && strstr(result.err, "rolls") != NULL, "exit %d: %s", result.code,
               result.err);
    program_start("pipe.yaml", "roles", "", &run);
    sh("$SC stream list --data roles --token-file roles.token");
    EXPECT_MSG(result.code == 0, "%s", result.err);
    sh("$SC stream create x --data roles --token-file roles.token");
    EXPECT_MSG(result.code == 5, "exit %d: %s", result.code, result.err);
    sh("stat -c %a roles/token roles/tokens");
    EXPECT(strcmp(result.out, "600\n600\n") == 0);
    sh("! grep -q \"$(cat roles.token)\" roles/tokens");
    EXPECT_INT(result.code, 0);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
}

/* A token that is made is one that the next start takes. */
TEST(tokens_are_made_only_as_many_as_a_start_takes)
{
    struct running run;
    program_write("pipe.yaml", pipeline);
    /* By hand, the last line without its end. */
    sh("mkdir -p full && h=$(printf %064d 0) && for i in $(seq 253); do echo $h viewer hand$i; done "
       ">full/tokens && printf '%s viewer hand254' $h >>full/tokens");
    sh("$SC token create last --role viewer --data full >last.token; code=$?; tail -n 2 full/tokens "
       "| cut -d' ' -f3; exit $code");
    EXPECT_MSG(result.code == 0 && strcmp(result.out, "hand254\nlast\n") == 0, "exit %d: %s%s",
               result.code, result.out, result.err);
    sh("$SC token create over --role viewer --data full; code=$?; grep -c over full/tokens; exit $code");
    EXPECT_MSG(result.code != 0 && strstr(result.err, "255 tokens") != NULL &&
                   strcmp(result.out, "0\n") == 0,
               "exit %d: %s%s", result.code, result.out, result.err);
    program_start("pipe.yaml", "full", "", &run);
    sh("$SC stream list --data full --token-file last.token");
    EXPECT_MSG(result.code == 0, "%s", result.err);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
    /* As much text as a file may have. */
    sh("mkdir -p long && head -c 65500 /dev/zero | tr '\\0' '#' >long/tokens; "
       "$SC token create x --role viewer --data long");
    EXPECT_MSG(result.code != 0 && strstr(result.err, "65535 bytes") != NULL, "exit %d: %s",
               result.code, result.err);
}

TEST(a_full_disk_is_told_and_reads_go_on)
{
    sh("unshare -rm true");
    bool may_mount = result.code == 0;
    if (!may_mount) {
        printf("    (no right to mount a small file system here: nothing shown)\n");
        return;
    }
    program_write("full.yaml", "version: 1\nstreams: {a: {shards: 1}}\n");
    program_write(
        "full.sh",
        "mkdir -p small && mount -t tmpfs -o size=300m none small || exit 90\n"
        "$SC run full.yaml --data small/data --listen 0 2>full.log & pid=$!\n"
        "for i in $(seq 1000); do $SC stream list --data small/data >/dev/null 2>&1 && break; read -t "
        "0.02 <> <(:); done\n"
        "echo '{}' | $SC produce a --data small/data || exit 91\n"
        "head -c 400M /dev/zero >small/filler 2>/dev/null\n"
        "head -c 200M /dev/zero | tr '\\0' 'x' | fold -w 1000 | $SC produce a --format lines --retry-for "
        "0s --data small/data 2>refused; code=$?\n"
        "[ $code -ne 0 ] || exit 92\n"
        "grep -q SC1305 refused || { cat refused; exit 93; }\n"
        "$SC consume a --limit 1 --data small/data | grep -q value || exit 94\n"
        "rm small/filler\n"
        "echo '{}' | $SC produce a --data small/data || exit 95\n"
        "kill -TERM $pid; wait $pid\n");
    sh("unshare -rm bash full.sh");
    EXPECT_MSG(result.code == 0, "exit %d: %s%s", result.code, result.out, result.err);
}

TEST(settings_of_the_call_take_the_place_of_the_files_and_are_checked_as_they_are)
{
    static const char *const bad[][2] = {
        {"nodes.count=0", "--set nodes.count:1:"},
        {"nodes.cuont=2", "cuont"},
        {"nodes", "NAME=VALUE"},
        {"pipelines.per_user.stages.9.partitions=2", "'9'"},
        {"pipelines.per_user.commit=soon", "commit"},
        {"streams.clicks.shards.x=1", "'x'"},
    };
    program_write("pipe.yaml", pipeline);
    for (int i = 0; i < (int)COUNT_OF(bad); i++) {
        char line[200];
        IGNORE_RESULT(snprintf(line, sizeof(line), "$SC validate pipe.yaml --set %s", bad[i][0]));
        sh(line);
        EXPECT_MSG(result.code == 78 && strstr(result.err, bad[i][1]) != NULL, "%s: exit %d: %s",
                   bad[i][0], result.code, result.err);
    }
    sh("$SC validate pipe.yaml --set nodes.count=3 --set nodes.lanes=2 --set "
       "pipelines.per_user.stages.1.partitions=5");
    EXPECT_MSG(result.code == 0 && strstr(result.out, "on 6 lanes") != NULL, "exit %d: %s%s",
               result.code, result.out, result.err);
}

TEST(a_start_that_refuses_its_settings_ends_as_validate_does)
{
    program_write("pipe.yaml", pipeline);
    sh("$SC run pipe.yaml --data exits --listen 0.0.0.0:0");
    EXPECT_MSG(result.code == 78 && strstr(result.err, "--insecure-listen") != NULL, "exit %d: %s",
               result.code, result.err);
}

TEST(a_damaged_log_is_told_by_validate_against)
{
    program_write("pipe.yaml", pipeline);
    sh("$SC run pipe.yaml --data damaged --until-end --listen 0");
    EXPECT_INT(result.code, 0);
    sh("$SC validate pipe.yaml --against damaged");
    EXPECT_MSG(result.code == 0, "exit %d: %s%s", result.code, result.out, result.err);
    sh("f=$(ls damaged/log/journal/*.j | tail -1); printf X | dd of=$f bs=1 seek=100 conv=notrunc "
       "status=none");
    EXPECT_INT(result.code, 0);
    sh("$SC validate pipe.yaml --against damaged");
    EXPECT_MSG(result.code == 7 && strstr(result.out, "damaged: see above") != NULL,
               "exit %d: %s%s", result.code, result.out, result.err);
}
