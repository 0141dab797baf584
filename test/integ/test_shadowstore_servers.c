// SPDX-License-Identifier: Apache-2.0
/* Shadow stores with real servers, real sockets, real threads: the conformance suite, and the faults of a server, each on
 * every store that can show it. What a played Redis can show better is in test/unit/shadowstore. */
#include <stdio.h>
#include <string.h>

#include "../unit/shadowstore/conformance.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "base/real/net_real.h"
#include "servers.h"
#include "test.h"

#define MS_NS     1000000LL
#define SECOND_NS 1000000000LL

enum { PATIENCE_S = 60 };

struct bench {
    struct subject subject;
    struct clock clock;
    struct net_real *net;
    struct waker waker;
    struct mailbox done;
    struct loop *loops[SHADOWSTORE_LOOPS_MAX];
    struct shadowstore_options options;
};

/* --- scene --- */

/* Waits for the op, at most a minute. */
static void await(struct bench *bench, const struct shadowstore_op *op)
{
    int64_t end_ns = clock_now_ns(&bench->clock) + PATIENCE_S * SECOND_NS;
    struct msg *msg = NULL;
    while ((msg = mailbox_take_all(&bench->done)) == NULL) {
        CHECK_MSG(clock_now_ns(&bench->clock) < end_ns, "op %d does not complete", (int)op->kind);
        waker_sleep(&bench->waker, SECOND_NS);
    }
    CHECK(msg == &op->msg && msg->next == NULL);
}

static void run(struct subject *subject, struct shadowstore_op *op)
{
    struct bench *bench = subject->ctx;
    op->done = &bench->done;
    shadowstore_submit(subject->store, op);
    await(bench, op);
}

static void start_store(struct bench *bench)
{
    struct shadowstore_loop loops[SHADOWSTORE_LOOPS_MAX];
    struct err_info info;
    CHECK(net_real_start(&(struct net_real_options){.name = "net"}, &bench->net, &info) == ERR_OK);
    bench->options.net = net_real_net(bench->net);
    enum err err = shadowstore_new(&bench->options, &bench->subject.store, &info);
    CHECK_MSG(err == ERR_OK, "%s", info.text);
    int count = shadowstore_loops(bench->subject.store, loops);
    for (int i = 0; i < SHADOWSTORE_LOOPS_MAX; i++) {
        bench->loops[i] = i >= count ? NULL
                                     : loop_start(&(struct loop_options){.name = loops[i].name,
                                                                         .clock = &bench->clock,
                                                                         .waker = loops[i].waker,
                                                                         .step = loops[i].step,
                                                                         .ctx = loops[i].ctx,
                                                                         .cpu = -1});
    }
}

static void stop_store(struct bench *bench)
{
    for (int i = 0; i < SHADOWSTORE_LOOPS_MAX; i++) {
        loop_stop(bench->loops[i]);
    }
    net_real_stop(bench->net);
    shadowstore_free(bench->subject.store);
}

static void prepare(struct bench *bench, enum shadowstore_kind kind, int port)
{
    *bench = (struct bench){.subject = {.ctx = bench, .run = run}, .clock = clock_real()};
    waker_init(&bench->waker);
    mailbox_init(&bench->done, &bench->waker);
    bench->options = (struct shadowstore_options){.kind = kind,
                                                  .name = STR("s"),
                                                  .name_space = STR("test"),
                                                  .incarnation = 1,
                                                  .ttl_ns = 600 * SECOND_NS,
                                                  .size_bytes = 256 << 20,
                                                  .memory_bytes = 16 << 20,
                                                  .host = STR("127.0.0.1"),
                                                  .port = port,
                                                  .connect_timeout_ns = 300 * MS_NS,
                                                  .timeout_ns = 300 * MS_NS};
}

/* Waits until the store is as wanted; false after a minute. */
static bool becomes(struct bench *bench, enum shadowstore_state state)
{
    int64_t end_ns = clock_now_ns(&bench->clock) + PATIENCE_S * SECOND_NS;
    while (subject_status(&bench->subject).state != state) {
        if (clock_now_ns(&bench->clock) >= end_ns) {
            return false;
        }
        clock_real_sleep(10 * MS_NS); /* between two looks, bounded by the deadline */
    }
    return true;
}

static void begin(struct bench *bench, enum shadowstore_kind kind, const struct server *server)
{
    prepare(bench, kind, server->port);
    start_store(bench);
    CHECK(becomes(bench, SHADOWSTORE_UP));
}

static bool sums_up(const struct shadowstore_counts *counts)
{
    return counts->taken == counts->stored + counts->fallen_back + counts->lost;
}

/* Opens shadow 1 and stores something while the server is well. */
static bool first_results(struct bench *bench)
{
    struct shadowstore_counts counts;
    return subject_open(&bench->subject, 1, 0) == ERR_OK &&
           subject_put(&bench->subject, 1, 0, 5000) == 5000 &&
           subject_flush(&bench->subject, 1, &counts, NULL) == ERR_OK && counts.stored == 5000;
}

/* The server has been made to fail: what is put now goes to memory, soon, and status says why. */
static bool falls_back(struct bench *bench, const char *word)
{
    struct shadowstore_counts counts;
    int64_t began_ns = clock_now_ns(&bench->clock);
    bool held = subject_put(&bench->subject, 1, 5000, 10000) == 10000 &&
                subject_flush(&bench->subject, 1, &counts, NULL) == ERR_OK;
    int64_t took_ns = clock_now_ns(&bench->clock) - began_ns;
    struct shadowstore_status status = subject_status(&bench->subject);
    if (!held || counts.lost != 0 || counts.fallen_back == 0 || !sums_up(&counts) ||
        status.state != SHADOWSTORE_DOWN || strstr(status.problem, word) == NULL ||
        status.memory_bytes > bench->options.memory_bytes) {
        printf("    back %lld lost %lld state %s '%s' in %lld ms\n", (long long)counts.fallen_back,
               (long long)counts.lost, shadowstore_state_text(status.state), status.problem,
               (long long)(took_ns / MS_NS));
        return false;
    }
    return true;
}

/* The server is well again: so is the store, and everything is there. */
static bool comes_back(struct bench *bench, bool server_kept)
{
    struct shadowstore_counts counts;
    int32_t pages = 0, missing = 0;
    if (!becomes(bench, SHADOWSTORE_UP)) {
        return false;
    }
    bool held = subject_put(&bench->subject, 1, 15000, 5000) == 5000 &&
                subject_flush(&bench->subject, 1, &counts, &pages) == ERR_OK && sums_up(&counts) &&
                counts.stored >= 5000;
    int64_t found = subject_read_all(&bench->subject, 1, pages, &missing);
    held = held && (server_kept ? found == 20000 && missing == 0 : found >= 5000 && missing > 0);
    return held && subject_close(&bench->subject, 1, NULL) == ERR_OK;
}

/* Keys of ours that a server still holds; the probe's value lives a second. Memcached counts what has expired until its crawler
 * comes by, which may take it a minute. */
static long keys_left(const struct server *server, enum shadowstore_kind kind)
{
    long left = 0;
    for (int i = 0; i < 1000; i++) {
        if (kind == SHADOWSTORE_REDIS) {
            CHECK(sscanf(server_ask(server, "DBSIZE"), ":%ld", &left) == 1); // NOLINT(cert-err34-c)
        } else {
            IGNORE_RESULT(server_ask(server, "lru_crawler crawl all"));
            const char *number = strstr(server_ask(server, "stats"), "curr_items ");
            CHECK(number != NULL && sscanf(number + 11, "%ld", &left) == 1); // NOLINT(cert-err34-c)
        }
        if (left == 0) {
            break;
        }
        clock_real_sleep(10 * MS_NS); /* between two looks */
    }
    if (left > 0) {
        printf(
            "    left: %s\n",
            server_ask(server, kind == SHADOWSTORE_REDIS ? "KEYS *" : "lru_crawler metadump all"));
    }
    return left;
}

static void start_server(enum shadowstore_kind kind, struct server *server, const char *more)
{
    if (kind == SHADOWSTORE_REDIS) {
        redis_start(server, more);
    } else {
        memcached_start(server, more);
    }
}

static const enum shadowstore_kind kinds[] = {SHADOWSTORE_REDIS, SHADOWSTORE_MEMCACHED};

/* --- well --- */

TEST(real_stores_conform)
{
    for (int i = 0; i < 2; i++) {
        struct server server;
        struct bench bench;
        start_server(kinds[i], &server, "");
        begin(&bench, kinds[i], &server);
        EXPECT_MSG(conformance_all(&bench.subject), "%s", shadowstore_kind_text(kinds[i]));
        EXPECT_INT(keys_left(&server, kinds[i]), 0);
        stop_store(&bench);
        server_kill(&server);
    }
}

/* --- 1 refused, 13 restarted empty --- */

TEST(real_stores_bear_a_server_that_is_killed_and_comes_back_empty)
{
    for (int i = 0; i < 2; i++) {
        struct server server;
        struct bench bench;
        start_server(kinds[i], &server, "");
        begin(&bench, kinds[i], &server);
        EXPECT(first_results(&bench));
        server_kill(&server);
        EXPECT(falls_back(&bench, "127.0.0.1"));
        server_restart(&server);
        EXPECT(comes_back(&bench, false));
        stop_store(&bench);
        server_kill(&server);
    }
}

TEST(real_stores_start_without_their_server)
{
    for (int i = 0; i < 2; i++) {
        struct server server;
        struct bench bench;
        start_server(kinds[i], &server, "");
        server_kill(&server);
        prepare(&bench, kinds[i], server.port);
        start_store(&bench);
        EXPECT(becomes(&bench, SHADOWSTORE_DOWN));
        EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
        EXPECT(falls_back(&bench, "127.0.0.1"));
        server_restart(&server);
        EXPECT(becomes(&bench, SHADOWSTORE_UP));
        stop_store(&bench);
        server_kill(&server);
    }
}

/* --- 2 black hole --- */

TEST(real_stores_bear_a_server_that_never_answers)
{
    for (int i = 0; i < 2; i++) {
        struct bench bench;
        int port = free_port();
        struct rude_server *server = rude_start(MANNERS_SILENT, NULL, port);
        prepare(&bench, kinds[i], port);
        start_store(&bench);
        EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
        EXPECT(falls_back(&bench, "in time"));
        stop_store(&bench);
        rude_stop(server);
    }
}

/* --- 3 SIGSTOP --- */

TEST(real_stores_bear_a_server_that_is_stopped_for_a_while)
{
    for (int i = 0; i < 2; i++) {
        struct server server;
        struct bench bench;
        start_server(kinds[i], &server, "");
        begin(&bench, kinds[i], &server);
        EXPECT(first_results(&bench));
        server_pause(&server);
        EXPECT(falls_back(&bench, "in time"));
        server_resume(&server);
        EXPECT(comes_back(&bench, true));
        EXPECT_INT(keys_left(&server, kinds[i]), 0); /* the registry goes a moment after the last */
        stop_store(&bench);
        server_kill(&server);
    }
}

/* --- 4 out of memory --- */

TEST(real_redis_out_of_memory)
{
    struct server server;
    struct bench bench;
    redis_start(&server, "");
    begin(&bench, SHADOWSTORE_REDIS, &server);
    EXPECT(first_results(&bench));
    EXPECT(strstr(server_ask(&server, "CONFIG SET maxmemory 1"), "OK") != NULL);
    EXPECT(falls_back(&bench, "OOM"));
    EXPECT(strstr(server_ask(&server, "CONFIG SET maxmemory 0"), "OK") != NULL);
    EXPECT(comes_back(&bench, true));
    EXPECT_INT(keys_left(&server, SHADOWSTORE_REDIS), 0);
    stop_store(&bench);
    server_kill(&server);
}

TEST(real_memcached_out_of_memory)
{
    struct server server;
    struct bench bench;
    struct shadowstore_counts counts = {.taken = 0};
    memcached_start(&server, "-M -m 4"); /* refuses instead of evicting */
    begin(&bench, SHADOWSTORE_MEMCACHED, &server);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
    for (int i = 0; i < 50 && counts.fallen_back == 0; i++) {
        EXPECT_INT(subject_put(&bench.subject, 1, i * 10000, 10000), 10000);
        EXPECT_INT(subject_flush(&bench.subject, 1, &counts, NULL), ERR_OK);
        EXPECT(sums_up(&counts) && counts.lost == 0);
    }
    EXPECT(counts.fallen_back > 0);
    struct shadowstore_status status = subject_status(&bench.subject);
    EXPECT_MSG(strstr(status.problem, "memory") != NULL, "'%s'", status.problem);
    EXPECT_INT(subject_close(&bench.subject, 1, NULL), ERR_OK);
    EXPECT_INT(keys_left(&server, SHADOWSTORE_MEMCACHED), 0);
    stop_store(&bench);
    server_kill(&server);
}

/* --- 5 LOADING, 7 MOVED: as a server that is no Redis of its own says it; 6 READONLY, a cluster: real ones --- */

TEST(real_redis_is_loading_or_moved)
{
    static const struct {
        const char *text, *word;
    } cases[] = {{"-LOADING Redis is loading the dataset in memory\r\n", "LOADING"},
                 {"-MOVED 3999 127.0.0.1:6381\r\n", "Cluster"},
                 {"-MASTERDOWN Link with MASTER is down\r\n", "MASTERDOWN"}};
    for (ptrdiff_t i = 0; i < COUNT_OF(cases); i++) {
        struct bench bench;
        int port = free_port();
        struct rude_server *server = rude_start(MANNERS_SAYS, cases[i].text, port);
        prepare(&bench, SHADOWSTORE_REDIS, port);
        start_store(&bench);
        EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
        EXPECT(falls_back(&bench, cases[i].word));
        stop_store(&bench);
        rude_stop(server);
    }
}

TEST(real_redis_becomes_a_replica)
{
    struct server server;
    struct bench bench;
    redis_start(&server, "");
    begin(&bench, SHADOWSTORE_REDIS, &server);
    EXPECT(first_results(&bench));
    EXPECT(strstr(server_ask(&server, "REPLICAOF 127.0.0.1 1"), "OK") != NULL);
    EXPECT(falls_back(&bench, "READONLY"));
    EXPECT(strstr(server_ask(&server, "REPLICAOF NO ONE"), "OK") != NULL);
    EXPECT(comes_back(&bench, true));
    stop_store(&bench);
    server_kill(&server);
}

TEST(real_redis_is_a_cluster)
{
    struct server server;
    struct bench bench;
    redis_start(&server, "--cluster-enabled yes --cluster-config-file cluster.conf");
    prepare(&bench, SHADOWSTORE_REDIS, server.port);
    start_store(&bench);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
    EXPECT(falls_back(&bench, "Cluster"));
    stop_store(&bench);
    server_kill(&server);
}

/* --- 8 bad auth --- */

TEST(real_redis_wants_a_password)
{
    static const char *const given[] = {"right", "wrong", ""};
    static const char *const words[] = {"", "WRONGPASS", "NOAUTH"};
    struct server server;
    redis_start(&server, "--requirepass right");
    for (int i = 0; i < 3; i++) {
        struct bench bench;
        prepare(&bench, SHADOWSTORE_REDIS, server.port);
        bench.options.password = str_of(given[i]);
        start_store(&bench);
        EXPECT(becomes(&bench, i == 0 ? SHADOWSTORE_UP : SHADOWSTORE_DOWN));
        struct shadowstore_status status = subject_status(&bench.subject);
        EXPECT_MSG(strstr(status.problem, words[i]) != NULL, "'%s'", status.problem);
        EXPECT(strstr(status.problem, "wrong") == NULL);
        stop_store(&bench);
    }
    server_kill(&server);
}

TEST(real_memcached_wants_a_password)
{
    static const char *const given[] = {"right", "wrong", ""};
    static const char *const words[] = {"", "password", "authentic"};
    struct server server;
    char more[600];
    char path[512];
    IGNORE_RESULT(snprintf(path, sizeof(path), "%s/auth", test_dir())); /* fits */
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fputs("shadow:right\n", file) >= 0 && fclose(file) == 0);
    IGNORE_RESULT(snprintf(more, sizeof(more), "-Y %s -u root", path)); /* fits */
    memcached_start(&server, more);
    for (int i = 0; i < 3; i++) {
        struct bench bench;
        prepare(&bench, SHADOWSTORE_MEMCACHED, server.port);
        bench.options.username = str_of(given[i][0] != 0 ? "shadow" : "");
        bench.options.password = str_of(given[i]);
        start_store(&bench);
        EXPECT(becomes(&bench, i == 0 ? SHADOWSTORE_UP : SHADOWSTORE_DOWN));
        struct shadowstore_status status = subject_status(&bench.subject);
        EXPECT_MSG(strstr(status.problem, words[i]) != NULL, "'%s'", status.problem);
        EXPECT(strstr(status.problem, "wrong") == NULL);
        EXPECT(i > 0 || conformance_all(&bench.subject));
        stop_store(&bench);
    }
    server_kill(&server);
}

TEST(real_redis_knows_users_and_databases)
{
    struct server server;
    struct bench bench;
    redis_start(&server, "");
    /* What docs/shadowstores.md says is enough. */
    EXPECT(strstr(server_ask(&server,
                             "ACL SETUSER shadow on >secret ~sc:* +auth +select +set +get +unlink"),
                  "OK") != NULL);
    prepare(&bench, SHADOWSTORE_REDIS, server.port);
    bench.options.username = STR("shadow");
    bench.options.password = STR("secret");
    bench.options.database = 5;
    start_store(&bench);
    EXPECT(becomes(&bench, SHADOWSTORE_UP));
    EXPECT(conformance_all(&bench.subject));
    EXPECT(first_results(&bench));
    EXPECT(strstr(server_ask(&server, "INFO keyspace"), "db5:keys=") != NULL);
    EXPECT(strstr(server_ask(&server, "INFO keyspace"), "db0:") == NULL);
    stop_store(&bench);
    server_kill(&server);
}

/* --- 9 garbage, 10 sizes that cannot be, breaks in the middle, drips --- */

TEST(real_stores_bear_servers_of_bad_manners)
{
    static const struct {
        enum manners manners;
        const char *text;
    } cases[] = {{MANNERS_SAYS, "HTTP/1.1 400 Bad Request\r\n\r\n"},
                 {MANNERS_SAYS, "$2147483647\r\nxxxxxxxx"},
                 {MANNERS_SAYS, "*2147483647\r\n"},
                 {MANNERS_SAYS, "VALUE k 0 2147483647\r\nxxxxxxxx"},
                 {MANNERS_SAYS, "VALUE k 0 -1\r\n\r\nEND\r\n"},
                 {MANNERS_SAYS, "STO"},
                 {MANNERS_SAYS, "+O"},
                 {MANNERS_SAYS, "\r\n\r\n\r\n"},
                 {MANNERS_SAYS, "SERVER_ERROR \x01\x02\x7f\r\n"},
                 {MANNERS_RESETS, NULL},
                 {MANNERS_DRIPS, NULL}};
    for (int i = 0; i < 2; i++) {
        for (ptrdiff_t k = 0; k < COUNT_OF(cases); k++) {
            struct bench bench;
            int port = free_port();
            struct rude_server *server = rude_start(cases[k].manners, cases[k].text, port);
            prepare(&bench, kinds[i], port);
            bench.options.timeout_ns = 100 * MS_NS;
            start_store(&bench);
            EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
            EXPECT_MSG(falls_back(&bench, ""), "%s, case %td", shadowstore_kind_text(kinds[i]), k);
            struct shadowstore_status status = subject_status(&bench.subject);
            for (const char *c = status.problem; *c != 0; c++) {
                EXPECT_MSG(*c >= ' ' && *c <= '~', "'%s'", status.problem);
            }
            stop_store(&bench);
            rude_stop(server);
        }
    }
}

/* --- 11 evicted, 12 flushed, values too large --- */

TEST(real_stores_evict)
{
    static const char *const more[] = {"--maxmemory 3mb --maxmemory-policy allkeys-lru", "-m 4"};
    for (int i = 0; i < 2; i++) {
        struct server server;
        struct bench bench;
        struct shadowstore_counts counts;
        int32_t pages = 0, missing = 0;
        start_server(kinds[i], &server, more[i]);
        begin(&bench, kinds[i], &server);
        EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
        for (int k = 0; k < 40; k++) {
            EXPECT_INT(subject_put(&bench.subject, 1, k * 10000, 10000), 10000);
            EXPECT_INT(subject_flush(&bench.subject, 1, &counts, &pages), ERR_OK);
        }
        EXPECT_INT(counts.stored, 400000); /* the server took all */
        int64_t found = subject_read_all(&bench.subject, 1, pages, &missing);
        EXPECT_MSG(found > 0 && missing > 0, "%s: %lld found, %d missing",
                   shadowstore_kind_text(kinds[i]), (long long)found, missing);
        EXPECT_INT(subject_flush(&bench.subject, 1, &counts, NULL), ERR_OK);
        EXPECT_INT(counts.stored, found);
        EXPECT_INT(counts.lost, 400000 - found);
        EXPECT_INT(subject_close(&bench.subject, 1, NULL), ERR_OK);
        EXPECT_INT(keys_left(&server, kinds[i]), 0); /* the registry goes a moment after the last */
        stop_store(&bench);
        server_kill(&server);
    }
}

TEST(real_stores_are_flushed)
{
    for (int i = 0; i < 2; i++) {
        struct server server;
        struct bench bench;
        int32_t pages = 0, missing = 0;
        start_server(kinds[i], &server, "");
        begin(&bench, kinds[i], &server);
        EXPECT(first_results(&bench));
        EXPECT(strstr(server_ask(&server, i == 0 ? "FLUSHALL" : "flush_all"), "OK") != NULL);
        EXPECT_INT(subject_flush(&bench.subject, 1, NULL, &pages), ERR_OK);
        EXPECT_INT(subject_read_all(&bench.subject, 1, pages, &missing), 0);
        EXPECT_INT(missing, pages);
        EXPECT_INT(subject_close(&bench.subject, 1, NULL), ERR_OK);
        stop_store(&bench);
        server_kill(&server);
    }
}

TEST(real_memcached_takes_small_values_only)
{
    struct server server;
    struct bench bench;
    struct shadowstore_counts counts;
    memcached_start(&server, "-I 16k -o slab_chunk_max=16384");
    begin(&bench, SHADOWSTORE_MEMCACHED, &server);
    EXPECT_INT(subject_open(&bench.subject, 1, 0), ERR_OK);
    EXPECT_INT(subject_put(&bench.subject, 1, 0, 100), 100);
    EXPECT_INT(subject_flush(&bench.subject, 1, &counts, NULL), ERR_OK);
    EXPECT_INT(counts.stored, 100);
    EXPECT_INT(subject_put(&bench.subject, 1, 100, 2000), 2000);
    EXPECT_INT(subject_flush(&bench.subject, 1, &counts, NULL), ERR_OK);
    EXPECT_INT(counts.fallen_back, 2000); /* this page; the server is well */
    EXPECT(subject_status(&bench.subject).state == SHADOWSTORE_UP);
    EXPECT_INT(subject_close(&bench.subject, 1, NULL), ERR_OK);
    stop_store(&bench);
    server_kill(&server);
}

/* --- clean-up --- */

TEST(real_stores_remove_what_a_killed_process_left)
{
    for (int i = 0; i < 2; i++) {
        struct server server;
        struct bench bench;
        start_server(kinds[i], &server, "");
        begin(&bench, kinds[i], &server);
        EXPECT(first_results(&bench));
        stop_store(&bench); /* without a close: as after a kill */
        bench.options.incarnation = 2;
        start_store(&bench);
        int64_t end_ns = clock_now_ns(&bench.clock) + PATIENCE_S * SECOND_NS;
        while (subject_status(&bench.subject).cleaned == 0 && clock_now_ns(&bench.clock) < end_ns) {
            clock_real_sleep(10 * MS_NS); /* between two looks */
        }
        struct shadowstore_status status = subject_status(&bench.subject);
        EXPECT(status.leftovers == 1 && status.cleaned == 1);
        EXPECT_INT(keys_left(&server, kinds[i]), 0);
        stop_store(&bench);
        server_kill(&server);
    }
}

TEST(real_stores_remove_a_shadow_closed_while_the_server_was_stopped)
{
    for (int i = 0; i < 2; i++) {
        struct server server;
        struct bench bench;
        struct shadowstore_op op = {.kind = SHADOWSTORE_CLOSE, .shadow = 1};
        start_server(kinds[i], &server, "");
        begin(&bench, kinds[i], &server);
        EXPECT(first_results(&bench));
        server_pause(&server);
        op.done = &bench.done;
        shadowstore_submit(bench.subject.store, &op);
        clock_real_sleep(SECOND_NS); /* the fault: longer than the time-outs */
        EXPECT(mailbox_take_all(&bench.done) == NULL);
        server_resume(&server);
        await(&bench, &op);
        EXPECT_INT(op.err, ERR_OK);
        EXPECT_INT(keys_left(&server, kinds[i]), 0);
        stop_store(&bench);
        server_kill(&server);
    }
}

/* --- TLS --- */

static bool tls_becomes_of(enum shadowstore_kind kind, const struct server *server,
                           const struct net_tls *tls, enum shadowstore_state state,
                           const char *word)
{
    struct bench bench;
    prepare(&bench, kind, server->port);
    bench.options.connect_timeout_ns = 2 * SECOND_NS; /* a handshake on a busy machine */
    bench.options.tls = tls != NULL;
    if (tls != NULL) {
        bench.options.tls_options = *tls;
    }
    start_store(&bench);
    bool held = becomes(&bench, state);
    struct shadowstore_status status = subject_status(&bench.subject);
    held = held && strstr(status.problem, word) != NULL;
    if (!held) {
        printf("    %s: '%s'\n", shadowstore_state_text(status.state), status.problem);
    }
    held = held && (state == SHADOWSTORE_DOWN || conformance_all(&bench.subject));
    stop_store(&bench);
    return held;
}

static bool tls_becomes(const struct server *server, const struct net_tls *tls,
                        enum shadowstore_state state, const char *word)
{
    return tls_becomes_of(SHADOWSTORE_REDIS, server, tls, state, word);
}

TEST(real_memcached_over_tls)
{
    struct server server;
    char folder[512];
    char ca[600];
    char more[1200];
    tls_files(folder);
    IGNORE_RESULT(snprintf(ca, sizeof(ca), "%s/ca.pem", folder)); /* fits */
    IGNORE_RESULT(snprintf(more, sizeof(more),
                           "-Z -o ssl_chain_cert=%s/server.pem,ssl_key=%s/server.key -u root",
                           folder, folder)); /* fits */
    memcached_start(&server, more);
    struct net_tls good = {.ca_file = ca};
    struct net_tls other = {.ca_file = ca, .server_name = "other.test"};
    EXPECT(tls_becomes_of(SHADOWSTORE_MEMCACHED, &server, &good, SHADOWSTORE_UP, ""));
    EXPECT(tls_becomes_of(SHADOWSTORE_MEMCACHED, &server, &other, SHADOWSTORE_DOWN, "certificate"));
    server_kill(&server);
}

TEST(real_redis_over_tls)
{
    struct server server, plain;
    char folder[512];
    char ca[600];
    tls_files(folder);
    redis_start_tls(&server, folder);
    redis_start(&plain, "");
    IGNORE_RESULT(snprintf(ca, sizeof(ca), "%s/ca.pem", folder)); /* fits */
    struct net_tls good = {.ca_file = ca};
    struct net_tls named = {.ca_file = ca, .server_name = "cache.test"};
    struct net_tls other = {.ca_file = ca, .server_name = "other.test"};
    struct net_tls unknown = {.ca_file = NULL};
    struct net_tls blind = {.no_verify = true};
    struct net_tls nothing = {.ca_file = "/nowhere/ca.pem"};
    EXPECT(tls_becomes(&server, &good, SHADOWSTORE_UP, ""));
    EXPECT(tls_becomes(&server, &named, SHADOWSTORE_UP, ""));
    EXPECT(tls_becomes(&server, &other, SHADOWSTORE_DOWN, "certificate"));
    EXPECT(tls_becomes(&server, &unknown, SHADOWSTORE_DOWN, "certificate"));
    EXPECT(tls_becomes(&server, &blind, SHADOWSTORE_UP, ""));
    EXPECT(tls_becomes(&server, &nothing, SHADOWSTORE_DOWN, "/nowhere/ca.pem"));
    EXPECT(tls_becomes(&server, NULL, SHADOWSTORE_DOWN, "127.0.0.1")); /* plain text to TLS */
    EXPECT(tls_becomes(&plain, &good, SHADOWSTORE_DOWN, "127.0.0.1")); /* and the reverse */
    server_kill(&server);
    server_kill(&plain);
}

TEST(real_store_with_a_name_that_does_not_exist_is_down)
{
    for (int i = 0; i < 2; i++) {
        struct bench bench;
        prepare(&bench, kinds[i], 6379);
        bench.options.host = STR("does-not-exist.invalid");
        start_store(&bench);
        EXPECT(becomes(&bench, SHADOWSTORE_DOWN));
        stop_store(&bench);
    }
}
