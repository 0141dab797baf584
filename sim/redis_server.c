// SPDX-License-Identifier: Apache-2.0
#include "sim/redis_server.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

enum { KEYS_MAX = 65536, ARGUMENTS_MAX = 64 };

struct value {
    char *key; /* NULL: none here */
    char *bytes;
    ptrdiff_t len;
    int64_t expires_ns;
};

struct session { /* of one connection */
    char *in;
    ptrdiff_t len;
    bool trusted;
};

struct sim_redis {
    struct sim_net *net;
    struct rng rng;
    const char *password;
    enum sim_redis_mood mood;
    const struct clock *clock;
    int32_t count, immortal;
    int64_t sets;
    struct value values[KEYS_MAX];
};

static void drop_value(struct sim_redis *redis, int32_t i)
{
    mem_free(redis->values[i].key);
    mem_free(redis->values[i].bytes);
    redis->values[i] = redis->values[--redis->count];
}

static void expire(struct sim_redis *redis)
{
    int64_t now_ns = clock_now_ns(redis->clock);
    for (int32_t i = redis->count - 1; i >= 0; i--) {
        if (redis->values[i].expires_ns <= now_ns) {
            drop_value(redis, i);
        }
    }
}

static int32_t find(const struct sim_redis *redis, struct str key)
{
    for (int32_t i = 0; i < redis->count; i++) {
        if (str_equal(str_of(redis->values[i].key), key)) {
            return i;
        }
    }
    return -1;
}

/* --- commands --- */

static void say(struct sim_peer *peer, const char *text)
{
    sim_peer_send(peer, text, (ptrdiff_t)strlen(text));
}

static int64_t read_ms(struct str text)
{
    int64_t number = 0;
    for (ptrdiff_t i = 0; i < text.len; i++) {
        number = number * 10 + (text.ptr[i] - '0');
    }
    return number;
}

static void set(struct sim_redis *redis, struct sim_peer *peer, int argc, const struct str *argv)
{
    int32_t i = find(redis, argv[1]);
    bool mortal = argc == 5 && str_is(argv[3], "PX");
    CHECK(i >= 0 || redis->count < KEYS_MAX);
    if (i >= 0) {
        drop_value(redis, i);
    }
    redis->immortal += !mortal;
    redis->sets++;
    redis->values[redis->count++] = (struct value){
        .key = mem_dup(argv[1].ptr, argv[1].len),
        .bytes = mem_dup(argv[2].ptr, argv[2].len),
        .len = argv[2].len,
        .expires_ns =
            mortal ? clock_now_ns(redis->clock) + read_ms(argv[4]) * 1000000 : CLOCK_NEVER};
    say(peer, "+OK\r\n");
}

static void get(const struct sim_redis *redis, struct sim_peer *peer, struct str key)
{
    int32_t i = find(redis, key);
    char head[32];
    if (i < 0) {
        say(peer, "$-1\r\n");
        return;
    }
    IGNORE_RESULT(snprintf(head, sizeof(head), "$%td\r\n", redis->values[i].len)); /* fits */
    say(peer, head);
    sim_peer_send(peer, redis->values[i].bytes, redis->values[i].len);
    say(peer, "\r\n");
}

static void unlink_keys(struct sim_redis *redis, struct sim_peer *peer, int argc,
                        const struct str *argv)
{
    char answer[32];
    int gone = 0;
    for (int k = 1; k < argc; k++) {
        int32_t i = find(redis, argv[k]);
        if (i >= 0) {
            drop_value(redis, i);
            gone++;
        }
    }
    IGNORE_RESULT(snprintf(answer, sizeof(answer), ":%d\r\n", gone)); /* fits */
    say(peer, answer);
}

static void authenticate(const struct sim_redis *redis, struct sim_peer *peer,
                         struct session *session, struct str password)
{
    session->trusted = redis->password != NULL && str_is(password, redis->password);
    if (session->trusted) {
        say(peer, "+OK\r\n");
    } else if (redis->password != NULL) {
        say(peer, "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    } else { /* as an old one would: it repeats what it was told */
        char answer[256];
        IGNORE_RESULT(snprintf(answer, sizeof(answer),
                               "-ERR unknown command, with args: '%.*s'\r\n",
                               STR_ARG(password))); /* cut: it is only words */
        say(peer, answer);
    }
}

static void answer_well(struct sim_redis *redis, struct sim_peer *peer, struct session *session,
                        int argc, const struct str *argv)
{
    if (str_is(argv[0], "AUTH") && argc >= 2) {
        authenticate(redis, peer, session, argv[argc - 1]);
    } else if (!session->trusted) {
        say(peer, "-NOAUTH Authentication required.\r\n");
    } else if (str_is(argv[0], "SELECT")) {
        say(peer, "+OK\r\n");
    } else if (str_is(argv[0], "SET") && argc >= 3) {
        set(redis, peer, argc, argv);
    } else if (str_is(argv[0], "GET") && argc == 2) {
        get(redis, peer, argv[1]);
    } else if (str_is(argv[0], "UNLINK")) {
        unlink_keys(redis, peer, argc, argv);
    } else {
        say(peer, "-ERR unknown command\r\n");
    }
}

static void answer(struct sim_redis *redis, struct sim_peer *peer, struct session *session,
                   int argc, const struct str *argv)
{
    static const char *const texts[SIM_REDIS_MOODS] = {
        [SIM_REDIS_LOADING] = "-LOADING Redis is loading the dataset in memory\r\n",
        [SIM_REDIS_MOVED] = "-MOVED 3999 127.0.0.1:6381\r\n",
        [SIM_REDIS_GARBAGE] = "HTTP/1.1 400 Bad Request\r\n\r\n",
        [SIM_REDIS_HUGE] = "$2147483647\r\nxxxxxxxxxxxxxxxx",
        [SIM_REDIS_MANY] = "*2147483647\r\n",
        [SIM_REDIS_HALF] = "+O",
        [SIM_REDIS_WRONG] = ":4711\r\n",
    };
    bool write = str_is(argv[0], "SET");
    if (texts[redis->mood] != NULL) {
        say(peer, texts[redis->mood]);
    } else if (redis->mood == SIM_REDIS_OOM && write) {
        say(peer, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    } else if (redis->mood == SIM_REDIS_READONLY && write) {
        say(peer, "-READONLY You can't write against a read only replica.\r\n");
    } else if (redis->mood == SIM_REDIS_HANGS_UP) {
        sim_peer_close(peer);
    } else {
        answer_well(redis, peer, session, argc, argv);
        if (redis->mood == SIM_REDIS_CHATTY) {
            say(peer, "+OK\r\n");
        }
    }
}

/* --- the protocol --- */

/* The number behind `mark` at `*at`, up to the end of the line; -1: not all there. */
static int64_t take_number(const struct session *session, ptrdiff_t *at, char mark)
{
    const char *line = session->in + *at;
    ptrdiff_t left = session->len - *at;
    const char *end = left > 0 ? memchr(line, '\n', (size_t)left) : NULL;
    if (end == NULL) {
        return -1;
    }
    CHECK(line[0] == mark); /* the client speaks properly */
    *at += end + 1 - line;
    return read_ms((struct str){line + 1, end - 1 - (line + 1)});
}

/* Takes one whole command off the input; false: more must come. */
static bool take_command(struct sim_redis *redis, struct sim_peer *peer, struct session *session)
{
    struct str argv[ARGUMENTS_MAX];
    ptrdiff_t at = 0;
    int64_t argc = take_number(session, &at, '*');
    CHECK(argc <= ARGUMENTS_MAX);
    for (int64_t i = 0; i < argc; i++) {
        int64_t len = take_number(session, &at, '$');
        if (len < 0 || session->len - at < len + 2) {
            return false;
        }
        argv[i] = (struct str){session->in + at, len};
        at += len + 2;
    }
    if (argc <= 0) {
        return false;
    }
    answer(redis, peer, session, (int)argc, argv);
    session->len -= at;
    memmove(session->in, session->in + at, (size_t)session->len);
    return true;
}

static void opened(void *ctx, struct sim_peer *peer)
{
    const struct sim_redis *redis = ctx;
    struct session *session = MEM_NEW(struct session);
    session->trusted = redis->password == NULL;
    *sim_peer_memory(peer) = session;
}

static void received(void *ctx, struct sim_peer *peer, const void *bytes, ptrdiff_t len)
{
    struct sim_redis *redis = ctx;
    struct session *session = *sim_peer_memory(peer);
    session->in = mem_resize(session->in, session->len + len, 1);
    memcpy(session->in + session->len, bytes, (size_t)len);
    session->len += len;
    expire(redis);
    while (take_command(redis, peer, session)) {
    }
}

static void closed(void *ctx, struct sim_peer *peer)
{
    struct session *session = *sim_peer_memory(peer);
    (void)ctx;
    mem_free(session->in);
    mem_free(session);
}

struct sim_redis *sim_redis_new(struct sim_net **ret_net, const struct sim_net_options *options,
                                const struct clock *clock, const char *password)
{
    struct sim_redis *redis = MEM_NEW(struct sim_redis);
    struct sim_server server = {
        .ctx = redis, .opened = opened, .received = received, .closed = closed};
    redis->password = password;
    redis->clock = clock;
    redis->rng = options->rng;
    redis->net = sim_net_new(options, &server);
    *ret_net = redis->net;
    return redis;
}

void sim_redis_free(struct sim_redis *redis)
{
    if (redis == NULL) {
        return;
    }
    sim_net_free(redis->net);
    while (redis->count > 0) {
        drop_value(redis, redis->count - 1);
    }
    mem_free(redis);
}

void sim_redis_mood(struct sim_redis *redis, enum sim_redis_mood mood)
{
    redis->mood = mood;
}

int32_t sim_redis_count(struct sim_redis *redis, struct str prefix)
{
    int32_t n = 0;
    expire(redis);
    for (int32_t i = 0; i < redis->count; i++) {
        n += str_starts_with(str_of(redis->values[i].key), prefix);
    }
    return n;
}

void sim_redis_evict(struct sim_redis *redis, double probability)
{
    for (int32_t i = redis->count - 1; i >= 0; i--) {
        if (rng_chance(&redis->rng, probability)) {
            drop_value(redis, i);
        }
    }
}

void sim_redis_spoil(struct sim_redis *redis, struct str prefix, struct str value)
{
    for (int32_t i = 0; i < redis->count; i++) {
        struct value *v = &redis->values[i];
        if (str_starts_with(str_of(v->key), prefix)) {
            mem_free(v->bytes);
            v->bytes = mem_dup(value.ptr, value.len);
            v->len = value.len;
        }
    }
}

int32_t sim_redis_immortal(const struct sim_redis *redis)
{
    return redis->immortal;
}

int64_t sim_redis_sets(const struct sim_redis *redis)
{
    return redis->sets;
}
