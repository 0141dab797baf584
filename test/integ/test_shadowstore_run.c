// SPDX-License-Identifier: Apache-2.0
/* The real program with shadows whose stores' servers are killed, stopped, come back, refuse, lie: what the primary puts out
 * is the same as without any of it, the stores say what is wrong, and nothing is left in a server. */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/real/clock_real.h"
#include "base/str.h"
#include "program.h"
#include "raw_http.h"
#include "servers.h"
#include "test.h"

enum { ROUNDS = 4, ROWS = 20000, PATIENCE_MS = 60000, LOOK_MS = 100, FEED_EVERY_MS = 2000 };
#define MS_NS 1000000L

static struct result result;

/* `stores`: members of shadow_stores. */
static void write_stores(const char *name, const char *stores)
{
    char text[8192];
    int n = snprintf(
        text, sizeof(text),
        "version: 1\n"
        "streams:\n  clicks: {shards: 1}\n  counts: {shards: 1}\n"
        "shadow_stores:\n%s"
        "pipelines:\n  p:\n    shadowing: {automatic: false, budget_cores: 1}\n    stages:\n"
        "      - {name: s, from: clicks, chain: [{parse: {name: q, format: json, fields: "
        "{user: string, n: i64}}}, {filter: {name: f, where: \"n >= 0\"}}], to: counts}\n",
        stores);
    CHECK(n > 0 && n < (int)sizeof(text));
    program_write(name, text);
}

static void write_config(const char *name, const char *store)
{
    char text[512];
    IGNORE_RESULT(snprintf(text, sizeof(text), "  s: {%s}\n", store)); /* fits */
    write_stores(name, text);
}

static void sh(const char *line)
{
    program_run(line, NULL, &result);
    CHECK_MSG(result.code == 0, "%s: %d: %s", line, result.code, result.err);
}

/* The same rows whenever asked. */
static void produce(const char *data, int round)
{
    char line[512];
    int n = snprintf(line, sizeof(line),
                     "seq %d %d | awk '{printf \"{\\\"user\\\":\\\"u%%d\\\",\\\"n\\\":%%d}\\n\", "
                     "$1 %% 100, $1}' | \"$SC\" produce clicks --key-field user --data %s",
                     round * ROWS + 1, (round + 1) * ROWS, data);
    CHECK(n > 0 && n < (int)sizeof(line));
    sh(line);
}

/* Waits until all shadows are open: what was committed before is not theirs. */
static void shadows_open(const char *data)
{
    char line[256];
    IGNORE_RESULT(
        snprintf(line, sizeof(line), "\"$SC\" shadow list -o json --data %s", data)); /* fits */
    for (int ms = 0; ms < PATIENCE_MS; ms += LOOK_MS) {
        sh(line);
        if (strstr(result.out, "\"wanted\"") == NULL && strstr(result.out, "\"opening\"") == NULL) {
            return;
        }
        clock_real_sleep(LOOK_MS * MS_NS); /* between two looks */
    }
    CHECK_MSG(false, "shadows do not open: %s", result.out);
}

/* Count and hash of all that the pipeline has put out, once it is as much as was put in. */
static void outputs(const char *data, char *ret_text, size_t cap)
{
    char line[256];
    char wanted[32];
    IGNORE_RESULT(
        snprintf(line, sizeof(line), "\"$SC\" consume counts --result-hash --data %s", data));
    IGNORE_RESULT(snprintf(wanted, sizeof(wanted), "%d", ROUNDS * ROWS)); /* fits */
    for (int ms = 0; ms < PATIENCE_MS; ms += LOOK_MS) {
        sh(line);
        if (strstr(result.out, wanted) != NULL) {
            IGNORE_RESULT(snprintf(ret_text, cap, "%.200s", result.out)); /* one short line */
            return;
        }
        clock_real_sleep(LOOK_MS * MS_NS); /* between two looks */
    }
    CHECK_MSG(false, "not all records come out: %s", result.out);
}

/* What the store's server is made to do before each round. */
enum harm { HARM_NONE, HARM_KILL, HARM_STOP, HARM_ABSENT };

static void hurt(struct server *server, enum harm harm, int round)
{
    if (harm == HARM_KILL && round == 1) {
        server_kill(server);
    } else if ((harm == HARM_KILL || harm == HARM_ABSENT) && round == 3) {
        server_restart(server);
    } else if (harm == HARM_STOP && round == 1) {
        server_pause(server);
    } else if (harm == HARM_STOP && round == 3) {
        server_resume(server);
    }
}

static int keys_of(const struct server *server, bool redis)
{
    int keys = -1;
    if (redis) {
        // NOLINTNEXTLINE(cert-err34-c): a test's own look
        CHECK(sscanf(server_ask(server, "DBSIZE"), ":%d", &keys) == 1);
        return keys;
    }
    const char *number = strstr(server_ask(server, "stats"), "curr_items ");
    CHECK(number != NULL && sscanf(number, "curr_items %d", &keys) == 1); // NOLINT(cert-err34-c)
    return keys;
}

static bool becomes(const struct server *server, bool redis, bool empty)
{
    for (int ms = 0; ms < PATIENCE_MS; ms += LOOK_MS) {
        int keys = keys_of(server, redis);
        if (empty ? keys == 0 : keys >= 2) { /* a page, and the registry that names it */
            return true;
        }
        clock_real_sleep(LOOK_MS * MS_NS); /* between two looks */
    }
    return false;
}

/* Whether the program has found the server again: it looks now and then, less often the longer it was gone. */
static bool found_again(const char *name)
{
    char line[256];
    IGNORE_RESULT(snprintf(line, sizeof(line), "\"$SC\" shadow stores -o json --data %s", name));
    for (int ms = 0; ms < PATIENCE_MS; ms += LOOK_MS) {
        sh(line);
        const char *row = strstr(result.out, "\"name\":\"s\"");
        if (row != NULL && strstr(row, "\"state\":\"up\"") != NULL &&
            strstr(row, "\"state\":\"up\"") < strchr(row, '}')) {
            return true;
        }
        clock_real_sleep(LOOK_MS * MS_NS); /* between two looks */
    }
    return false;
}

static void run_once(const char *name, bool redis, enum harm harm, bool shadow, char *ret_text,
                     size_t cap)
{
    struct server server = {.pid = -1};
    struct running running;
    char store[128];
    char config[64];
    char line[256];
    if (redis) {
        redis_start(&server, "");
    } else {
        memcached_start(&server, "");
    }
    IGNORE_RESULT(snprintf(store, sizeof(store), "type: %s, address: \"127.0.0.1:%d\"",
                           redis ? "redis" : "memcached", server.port)); /* fits */
    IGNORE_RESULT(snprintf(config, sizeof(config), "%s.yaml", name));    /* fits */
    write_config(config, store);
    if (shadow && harm == HARM_ABSENT) {
        server_kill(&server); /* refused from the start, until the last round */
    }
    program_start(config, name, "", &running);
    if (shadow) {
        IGNORE_RESULT(
            snprintf(line, sizeof(line),
                     "\"$SC\" shadow start p/s/0/0-4096 --store s --percent 100 --sampling "
                     "record --data %s",
                     name)); /* fits */
        sh(line);
        shadows_open(name);
    }
    for (int round = 0; round < ROUNDS; round++) {
        if (round == 1 && shadow && harm != HARM_ABSENT) {
            CHECK_MSG(becomes(&server, redis, false), "nothing is in the store");
        }
        hurt(&server, shadow ? harm : HARM_NONE, round);
        produce(name, round);
    }
    outputs(name, ret_text, cap);
    CHECK_MSG(!shadow || harm == HARM_STOP || found_again(name), "the server is not found again");
    CHECK(program_stop(&running, SIGTERM) == 0);
    if (harm != HARM_STOP && keys_of(&server, redis) != 0) {
        /* The server did not answer in time while the program stopped: the next start cleans up. */
        program_start(config, name, "", &running);
        CHECK_MSG(becomes(&server, redis, true), "something is left");
        CHECK(program_stop(&running, SIGTERM) == 0);
    }
    server_kill(&server);
}

static bool same_with_and_without(bool redis, enum harm harm)
{
    char with[256];
    char without[256];
    char name[32];
    int n = snprintf(name, sizeof(name), "with%d%d", redis, (int)harm);
    CHECK(n > 0);
    run_once(name, redis, harm, true, with, sizeof(with));
    n = snprintf(name, sizeof(name), "without%d%d", redis, (int)harm);
    CHECK(n > 0);
    run_once(name, redis, harm, false, without, sizeof(without));
    if (strcmp(with, without) != 0) {
        printf("    with %s    without %s", with, without);
    }
    return strcmp(with, without) == 0;
}

TEST(output_is_the_same_with_a_shadow_whose_redis_is_killed_and_comes_back)
{
    EXPECT(same_with_and_without(true, HARM_KILL));
}

TEST(output_is_the_same_with_a_shadow_whose_redis_is_stopped_for_a_while)
{
    EXPECT(same_with_and_without(true, HARM_STOP));
}

TEST(output_is_the_same_with_a_shadow_whose_memcached_is_killed_and_comes_back)
{
    EXPECT(same_with_and_without(false, HARM_KILL));
}

TEST(output_is_the_same_with_a_shadow_whose_memcached_is_stopped_for_a_while)
{
    EXPECT(same_with_and_without(false, HARM_STOP));
}

TEST(output_is_the_same_with_a_shadow_whose_server_is_not_there)
{
    EXPECT(same_with_and_without(true, HARM_ABSENT));
    EXPECT(same_with_and_without(false, HARM_ABSENT));
}

static double number_in(const char *text, const char *name)
{
    char wanted[64];
    IGNORE_RESULT(snprintf(wanted, sizeof(wanted), "\"%s\":", name)); /* fits */
    const char *at = strstr(text, wanted);
    return at != NULL ? strtod(at + strlen(wanted), NULL) : -1;
}

/* Bytes that a result takes in the store in memory. */
static double bytes_a_result(const char *name, const char *settings)
{
    struct running running;
    char store[128];
    char line[256];
    double bytes = 0;
    IGNORE_RESULT(snprintf(store, sizeof(store), "type: memory%s", settings)); /* fits */
    write_config("payloads.yaml", store);
    program_start("payloads.yaml", name, "", &running);
    IGNORE_RESULT(snprintf(line, sizeof(line),
                           "\"$SC\" shadow start p/s/0/0-4096 --store s --percent 100 --sampling "
                           "record --data %s",
                           name)); /* fits */
    sh(line);
    shadows_open(name);
    IGNORE_RESULT(snprintf(line, sizeof(line), "\"$SC\" shadow stores -o json --data %s", name));
    for (int ms = 0; ms < PATIENCE_MS && !(bytes > 0); ms += LOOK_MS) {
        if (ms % FEED_EVERY_MS ==
            0) { /* more than once: what comes while it warms up is not kept */
            produce(name, ms / FEED_EVERY_MS);
        }
        sh(line);
        const char *row = strstr(result.out, "\"name\":\"s\"");
        CHECK_MSG(row != NULL, "%s", result.out);
        double stored = number_in(row, "results_stored");
        bytes = 2 * stored >= ROWS ? number_in(row, "kept_bytes") / stored
                                   : 0;    /* the last page may be open */
        clock_real_sleep(LOOK_MS * MS_NS); /* between two looks */
    }
    CHECK(program_stop(&running, SIGTERM) == 0);
    return bytes;
}

TEST(results_are_stored_whole_where_the_file_says_so)
{
    double digests = bytes_a_result("digests", ""),
           whole = bytes_a_result("whole", ", payloads: true");
    EXPECT_MSG(digests >= 32 && digests < 34, "%g bytes", digests);
    EXPECT_MSG(whole > digests + 15, "%g bytes", whole); /* {"user":"u1","n":1} at least */
}

TEST(next_start_removes_what_a_killed_program_left_in_its_store)
{
    struct server server;
    struct running running;
    char store[128];
    redis_start(&server, "");
    IGNORE_RESULT(snprintf(store, sizeof(store), "type: redis, address: \"127.0.0.1:%d\"",
                           server.port)); /* fits */
    write_config("killed.yaml", store);
    program_start("killed.yaml", "killed", "", &running);
    sh("\"$SC\" shadow start p/s/0/0-4096 --store s --percent 100 --sampling record --data killed");
    shadows_open("killed");
    produce("killed", 0);
    EXPECT(becomes(&server, true, false));
    EXPECT_INT(program_stop(&running, SIGKILL), 128 + SIGKILL);
    EXPECT(keys_of(&server, true) >= 2);
    program_start("killed.yaml", "killed", "", &running);
    EXPECT(becomes(&server, true, true));
    EXPECT_INT(program_stop(&running, SIGTERM), 0);
    server_kill(&server);
}

TEST(passwords_are_read_by_reference_and_told_when_they_cannot_be)
{
    static const char *const settings[] = {
        "password_file: nowhere", "password_env: NOT_SET_ANYWHERE", "password_file: empty"};
    program_write("empty", "\n");
    for (int i = 0; i < 3; i++) {
        char store[256];
        IGNORE_RESULT(snprintf(store, sizeof(store), "type: redis, address: \"127.0.0.1:1\", %s",
                               settings[i])); /* fits */
        write_config("secret.yaml", store);
        program_run("\"$SC\" run secret.yaml --data secret --listen 0", NULL, &result);
        EXPECT(result.code != 0);
        EXPECT_MSG(strstr(result.err, "shadow store 's'") != NULL, "%s", result.err);
    }
}

/* --- what a server can do besides being killed and coming back, each in a store of its own, all at once --- */

struct fault {
    const char *name; /* of the store */
    enum kind { REAL, PLAYED, NOBODY } kind;
    const char *how;  /* REAL: its arguments; PLAYED: what it says to everything, NULL: nothing */
    const char *harm; /* what a real one is told after the first round, or "stop"; NULL: nothing */
    const char *problem; /* said of it in the end; NULL: the store is up */
    struct server server;
    struct rude_server *rude;
    int port;
};

static struct fault redis_faults[] = {
    {.name = "refused", .kind = NOBODY, .problem = "refused"},
    {.name = "black_hole", .kind = PLAYED, .problem = "time"},
    {.name = "stopped", .how = "", .harm = "stop", .problem = "time"},
    {.name = "oom", .how = "", .harm = "CONFIG SET maxmemory 1", .problem = "OOM"},
    {.name = "loading",
     .kind = PLAYED,
     .how = "-LOADING dataset in memory\r\n",
     .problem = "LOADING"},
    {.name = "readonly", .how = "", .harm = "REPLICAOF 127.0.0.1 1", .problem = "READONLY"},
    {.name = "moved",
     .kind = PLAYED,
     .how = "-MOVED 3999 127.0.0.1:6381\r\n",
     .problem = "Cluster"},
    {.name = "no_password", .how = "--requirepass right", .problem = "NOAUTH"},
    {.name = "garbage", .kind = PLAYED, .how = "HTTP/1.1 400 Bad Request\r\n\r\n", .problem = ""},
    {.name = "huge", .kind = PLAYED, .how = "$2147483647\r\nxxxxxxxx", .problem = ""},
    {.name = "evicted", .how = "--maxmemory 2mb --maxmemory-policy allkeys-lru"},
    {.name = "flushed", .how = "", .harm = "FLUSHALL"},
};

static struct fault memcached_faults[] = {
    {.name = "refused", .kind = NOBODY, .problem = "refused"},
    {.name = "black_hole", .kind = PLAYED, .problem = ""},
    {.name = "stopped", .how = "", .harm = "stop", .problem = ""},
    {.name = "oom",
     .kind = PLAYED,
     .how = "SERVER_ERROR out of memory storing object\r\n",
     .problem = "memory"},
    {.name = "garbage", .kind = PLAYED, .how = "HTTP/1.1 400 Bad Request\r\n\r\n", .problem = ""},
    {.name = "huge", .kind = PLAYED, .how = "VALUE k 0 2147483647\r\nxxxxxxxx", .problem = ""},
    {.name = "evicted", .how = "-m 4"},
    {.name = "flushed", .how = "", .harm = "flush_all"},
};

static void begin_fault(struct fault *fault, bool redis)
{
    fault->server.pid = -1;
    if (fault->kind == REAL && redis) {
        redis_start(&fault->server, fault->how);
    } else if (fault->kind == REAL) {
        memcached_start(&fault->server, fault->how);
    }
    fault->port = fault->kind == REAL ? fault->server.port : free_port();
    if (fault->kind == PLAYED) {
        fault->rude =
            rude_start(fault->how != NULL ? MANNERS_SAYS : MANNERS_SILENT, fault->how, fault->port);
    }
}

static void do_harm(struct fault *fault)
{
    if (fault->harm == NULL) {
        return;
    }
    if (strcmp(fault->harm, "stop") == 0) {
        server_pause(&fault->server);
    } else {
        CHECK(strstr(server_ask(&fault->server, fault->harm), "OK") != NULL);
    }
}

static void end_fault(struct fault *fault)
{
    if (fault->kind == PLAYED) {
        rude_stop(fault->rude);
    }
    server_kill(&fault->server);
}

static json_t *store_row(json_t *page, const char *name)
{
    size_t index = 0;
    json_t *row = NULL;
    json_array_foreach(json_object_get(page, "items"), index, row)
    {
        const char *own = json_string_value(json_object_get(row, "name"));
        if (own != NULL && strcmp(own, name) == 0) {
            return row;
        }
    }
    CHECK_MSG(false, "store %s is not listed", name);
    return NULL;
}

static bool is_up(const json_t *row)
{
    const char *state = json_string_value(json_object_get(row, "state"));
    return state != NULL && strcmp(state, "up") == 0;
}

/* Before any harm: a server that is well has something, one that is not is known not to be. */
static bool has_begun(const struct fault *fault, const json_t *row)
{
    bool well = fault->kind == REAL && (fault->harm != NULL || fault->problem == NULL);
    return well ? json_integer_value(json_object_get(row, "results_stored")) > 0 : !is_up(row);
}

/* After it: down, told why, and results went to memory; or up again. None is lost but those a server forgot. */
static bool has_ended(const struct fault *fault, const json_t *row)
{
    if (fault->problem == NULL) {
        return is_up(row);
    }
    const char *problem = json_string_value(json_object_get(row, "problem"));
    return !is_up(row) && problem != NULL && strstr(problem, fault->problem) != NULL &&
           json_integer_value(json_object_get(row, "results_fallen_back")) > 0;
}

static bool all_become(struct fault *faults, int count, const char *data,
                       bool (*wanted)(const struct fault *, const json_t *))
{
    char line[256];
    IGNORE_RESULT(snprintf(line, sizeof(line), "\"$SC\" shadow stores -o json --data %s", data));
    for (int ms = 0; ms < PATIENCE_MS; ms += LOOK_MS) {
        bool all = true;
        sh(line);
        json_t *page = json_loads(result.out, 0, NULL);
        for (int i = 0; i < count; i++) {
            all = wanted(&faults[i], store_row(page, faults[i].name)) && all;
        }
        json_decref(page);
        if (all) {
            return true;
        }
        clock_real_sleep(LOOK_MS * MS_NS); /* between two looks */
    }
    printf("    %s", result.out);
    return false;
}

static void run_faults(struct fault *faults, int count, bool redis, char *ret_text, size_t cap)
{
    struct running running;
    char stores[4096] = "";
    char line[256];
    const char *name = redis ? "faults-redis" : "faults-memcached";
    for (int i = 0; i < count; i++) {
        begin_fault(&faults[i], redis);
        size_t used = strlen(stores);
        IGNORE_RESULT(snprintf(stores + used, sizeof(stores) - used,
                               "  %s: {type: %s, address: \"127.0.0.1:%d\"}\n", faults[i].name,
                               redis ? "redis" : "memcached", faults[i].port)); /* fits */
    }
    write_stores("faults.yaml", stores);
    program_start("faults.yaml", name, "", &running);
    for (int i = 0; i < count; i++) {
        IGNORE_RESULT(snprintf(line, sizeof(line),
                               "\"$SC\" shadow start p/s/0/0-4096 --store %s --percent 100 "
                               "--sampling record --data %s",
                               faults[i].name, name)); /* fits */
        sh(line);
    }
    shadows_open(name);
    produce(name, 0);
    EXPECT(all_become(faults, count, name, has_begun));
    for (int i = 0; i < count; i++) {
        do_harm(&faults[i]);
    }
    for (int round = 1; round < ROUNDS; round++) {
        produce(name, round);
    }
    outputs(name, ret_text, cap);
    EXPECT(all_become(faults, count, name, has_ended));
    EXPECT_INT(program_stop(&running, SIGTERM), 0);
    for (int i = 0; i < count; i++) {
        end_fault(&faults[i]);
    }
}

TEST(output_is_the_same_whatever_happens_to_the_servers_of_shadows)
{
    char without[256];
    char with[256];
    run_once("plain", true, HARM_NONE, false, without, sizeof(without));
    run_faults(redis_faults, COUNT_OF(redis_faults), true, with, sizeof(with));
    EXPECT_STR(str_of(with), str_of(without));
    run_faults(memcached_faults, COUNT_OF(memcached_faults), false, with, sizeof(with));
    EXPECT_STR(str_of(with), str_of(without));
}
