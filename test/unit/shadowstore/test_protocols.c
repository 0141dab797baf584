// SPDX-License-Identifier: Apache-2.0
/* Protocols without a connection: what they send, what they make of answers, whole, in pieces and spoilt. */
#include "base/mem.h"
#include "base/rng.h"
#include "shadowstore/protocol.h"
#include "test.h"

enum { BUF_BYTES = 256 };

struct talk {
    struct protocol *protocol;
    struct out out;
    struct remote_op *op;
    char buf[BUF_BYTES];
};

static struct shadowstore_options options(const char *user, const char *password, int32_t database)
{
    return (struct shadowstore_options){
        .username = str_of(user), .password = str_of(password), .database = database};
}

static void begin(struct talk *talk, struct protocol *protocol)
{
    *talk = (struct talk){.protocol = protocol};
    talk->out.bytes = mem_new(OUT_BYTES, 1);
    talk->op = MEM_NEW(struct remote_op);
    talk->op->key_count = 1;
    memcpy(talk->op->keys[0], "key", 4);
    talk->op->value = "value";
    talk->op->len = 5;
    talk->op->ttl_ms = 1500;
    talk->op->buf = talk->buf;
    talk->op->cap = BUF_BYTES;
    protocol->reset(protocol);
}

static void end(struct talk *talk)
{
    talk->protocol->free(talk->protocol);
    mem_free(talk->out.bytes);
    mem_free(talk->op);
}

static bool sends(struct talk *talk, enum remote_kind kind, const char *text)
{
    talk->out.len = 0;
    talk->op->kind = kind;
    return talk->protocol->encode(talk->protocol, talk->op, &talk->out) > 0 &&
           str_is((struct str){(const char *)talk->out.bytes, talk->out.len}, text);
}

/* Feeds `text` a byte at a time; only the last one may make it whole. */
static enum answer hears(struct talk *talk, enum remote_kind kind, struct str text,
                         enum err *ret_err)
{
    char words[SERVER_WORDS_MAX + 1];
    enum answer answer = ANSWER_MORE;
    talk->protocol->reset(talk->protocol);
    talk->op->kind = kind;
    talk->op->ret_len = 0;
    for (ptrdiff_t i = 0; i < text.len && answer == ANSWER_MORE; i++) {
        CHECK(talk->protocol->feed(talk->protocol, text.ptr + i, 1));
        answer = talk->protocol->next(talk->protocol, talk->op, ret_err, words);
        CHECK(answer != ANSWER_WHOLE || i == text.len - 1);
    }
    return answer;
}

static bool hears_err(struct talk *talk, enum remote_kind kind, const char *text, enum err expected)
{
    enum err err = ERR_COUNT;
    return hears(talk, kind, str_of(text), &err) == ANSWER_WHOLE && err == expected;
}

TEST(protocols_send_their_commands)
{
    struct talk redis, memcached;
    struct shadowstore_options o = options(NULL, NULL, 0);
    begin(&redis, protocol_redis(&o));
    begin(&memcached, protocol_memcached(&o));
    EXPECT(sends(&redis, REMOTE_SET,
                 "*5\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n$2\r\nPX\r\n$4\r\n1500\r\n"));
    EXPECT(sends(&redis, REMOTE_GET, "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"));
    EXPECT(sends(&memcached, REMOTE_SET, "set key 0 2 5\r\nvalue\r\n"));
    EXPECT(sends(&memcached, REMOTE_GET, "get key\r\n"));
    redis.op->key_count = memcached.op->key_count = 2;
    memcpy(redis.op->keys[1], "k2", 3);
    memcpy(memcached.op->keys[1], "k2", 3);
    EXPECT(sends(&redis, REMOTE_DELETE, "*3\r\n$6\r\nUNLINK\r\n$3\r\nkey\r\n$2\r\nk2\r\n"));
    EXPECT(sends(&memcached, REMOTE_DELETE, "delete key\r\ndelete k2\r\n"));
    end(&redis);
    end(&memcached);
}

TEST(protocols_send_all_of_a_command_or_nothing)
{
    struct shadowstore_options o = options(NULL, NULL, 0);
    struct talk talks[2];
    begin(&talks[0], protocol_redis(&o));
    begin(&talks[1], protocol_memcached(&o));
    for (int i = 0; i < 2; i++) {
        struct talk *t = &talks[i];
        t->op->kind = REMOTE_SET;
        for (ptrdiff_t room = 0; room < 80; room++) {
            t->out.len = OUT_BYTES - room;
            int replies = t->protocol->encode(t->protocol, t->op, &t->out);
            EXPECT_INT(t->out.len == OUT_BYTES - room, replies == 0);
        }
        end(t);
    }
}

TEST(protocols_greet_with_user_password_and_database)
{
    struct shadowstore_options o = options("user", "secret", 3);
    struct talk redis, memcached;
    begin(&redis, protocol_redis(&o));
    begin(&memcached, protocol_memcached(&o));
    EXPECT_INT(redis.protocol->greet(redis.protocol, &redis.out), 2);
    EXPECT_STR(((struct str){(char *)redis.out.bytes, redis.out.len}),
               STR("*3\r\n$4\r\nAUTH\r\n$4\r\nuser\r\n$6\r\nsecret\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3"
                   "\r\n"));
    EXPECT_INT(memcached.protocol->greet(memcached.protocol, &memcached.out), 1);
    EXPECT_STR(((struct str){(char *)memcached.out.bytes, memcached.out.len}),
               STR("set auth 0 0 11\r\nuser secret\r\n"));
    end(&redis);
    end(&memcached);
}

TEST(redis_answers_mean_what_they_say)
{
    struct shadowstore_options o = options(NULL, NULL, 0);
    struct talk t;
    enum err err;
    begin(&t, protocol_redis(&o));
    EXPECT(hears_err(&t, REMOTE_SET, "+OK\r\n", ERR_OK));
    EXPECT(hears_err(&t, REMOTE_DELETE, ":0\r\n", ERR_OK));
    EXPECT(hears_err(&t, REMOTE_GET, "$-1\r\n", ERR_NOT_FOUND));
    EXPECT(hears_err(&t, REMOTE_GET, "$5\r\na\r\nbc\r\n", ERR_OK));
    EXPECT(t.op->ret_len == 5 && memcmp(t.buf, "a\r\nbc", 5) == 0);
    EXPECT(hears_err(&t, REMOTE_SET, "-OOM command not allowed\r\n", ERR_NO_SPACE));
    EXPECT(hears_err(&t, REMOTE_SET, "-MOVED 1 h:1\r\n", ERR_UNSUPPORTED));
    EXPECT(hears_err(&t, REMOTE_SET, "-NOPERM no\r\n", ERR_DENIED));
    EXPECT(hears_err(&t, REMOTE_SET, "-LOADING\r\n", ERR_UNAVAILABLE));
    EXPECT_INT(hears(&t, REMOTE_SET, STR(":1\r\n"), &err), ANSWER_GARBAGE);
    EXPECT_INT(hears(&t, REMOTE_GET, STR("+OK\r\n"), &err), ANSWER_GARBAGE);
    EXPECT_INT(hears(&t, REMOTE_DELETE, STR("+OK\r\n"), &err), ANSWER_GARBAGE);
    EXPECT_INT(hears(&t, REMOTE_GET, STR("*1\r\n$1\r\na\r\n"), &err), ANSWER_GARBAGE);
    EXPECT_INT(hears(&t, REMOTE_GET, STR("HTTP/1.1\r\n"), &err), ANSWER_GARBAGE);
    EXPECT_INT(hears(&t, REMOTE_GET, STR("$2147483647\r\nx"), &err), ANSWER_MORE);
    end(&t);
}

TEST(memcached_answers_mean_what_they_say)
{
    struct shadowstore_options o = options(NULL, NULL, 0);
    struct talk t;
    enum err err;
    begin(&t, protocol_memcached(&o));
    EXPECT(hears_err(&t, REMOTE_SET, "STORED\r\n", ERR_OK));
    EXPECT(hears_err(&t, REMOTE_DELETE, "NOT_FOUND\r\n", ERR_OK));
    EXPECT(hears_err(&t, REMOTE_GET, "END\r\n", ERR_NOT_FOUND));
    EXPECT(hears_err(&t, REMOTE_GET, "VALUE key 0 5\r\na\r\nbc\r\nEND\r\n", ERR_OK));
    EXPECT(t.op->ret_len == 5 && memcmp(t.buf, "a\r\nbc", 5) == 0);
    EXPECT(
        hears_err(&t, REMOTE_SET, "SERVER_ERROR out of memory storing object\r\n", ERR_NO_SPACE));
    EXPECT(hears_err(&t, REMOTE_SET, "SERVER_ERROR object too large for cache\r\n", ERR_LIMIT));
    EXPECT(hears_err(&t, REMOTE_SET, "CLIENT_ERROR unauthenticated\r\n", ERR_DENIED));
    EXPECT(hears_err(&t, REMOTE_SET, "ERROR\r\n", ERR_UNAVAILABLE));
    EXPECT_INT(hears(&t, REMOTE_SET, STR("DELETED\r\n"), &err), ANSWER_GARBAGE);
    EXPECT_INT(hears(&t, REMOTE_GET, STR("VALUE other 0 1\r\na\r\nEND\r\n"), &err), ANSWER_GARBAGE);
    EXPECT_INT(hears(&t, REMOTE_GET, STR("VALUE key 0 -1\r\n"), &err), ANSWER_GARBAGE);
    EXPECT_INT(hears(&t, REMOTE_GET, STR("VALUE key 0 2147483647\r\n"), &err), ANSWER_GARBAGE);
    EXPECT_INT(hears(&t, REMOTE_GET, STR("VALUE key 0 1\r\nabc\r\nEND\r\n"), &err), ANSWER_GARBAGE);
    end(&t);
}

TEST(values_larger_than_a_page_are_not_taken)
{
    struct shadowstore_options o = options(NULL, NULL, 0);
    struct talk t;
    char text[2 * BUF_BYTES];
    begin(&t, protocol_memcached(&o));
    memset(text, 'x', sizeof(text));
    IGNORE_RESULT(snprintf(text, sizeof(text), "VALUE key 0 %d\r\n%0*d\r\nEND\r\n", BUF_BYTES + 1,
                           BUF_BYTES + 1, 0)); /* fits */
    EXPECT(hears_err(&t, REMOTE_GET, text, ERR_LIMIT));
    end(&t);
    begin(&t, protocol_redis(&o));
    IGNORE_RESULT(snprintf(text, sizeof(text), "$%d\r\n%0*d\r\n", BUF_BYTES + 1, BUF_BYTES + 1,
                           0)); /* fits */
    EXPECT(hears_err(&t, REMOTE_GET, text, ERR_LIMIT));
    end(&t);
}

static void hear_anything(struct talk *t, struct rng *rng, const char *const *texts, int count)
{
    char buf[4 * BUF_BYTES];
    char words[SERVER_WORDS_MAX + 1];
    ptrdiff_t len = 0;
    enum err err = ERR_OK;
    t->protocol->reset(t->protocol);
    for (int n = 0; n < 3; n++) {
        const char *text = texts[rng_below(rng, (uint64_t)count)];
        memcpy(buf + len, text, strlen(text));
        len += (ptrdiff_t)strlen(text);
    }
    for (uint64_t n = rng_below(rng, 4); n > 0; n--) {
        buf[rng_below(rng, (uint64_t)len)] = (char)rng_below(rng, 256);
    }
    len = rng_chance(rng, 0.3) ? (ptrdiff_t)rng_below(rng, (uint64_t)len + 1) : len;
    for (ptrdiff_t at = 0; at < len;) {
        ptrdiff_t n = 1 + (ptrdiff_t)rng_below(rng, (uint64_t)(len - at));
        enum answer answer = ANSWER_WHOLE;
        CHECK(t->protocol->feed(t->protocol, buf + at, n));
        at += n;
        while (answer == ANSWER_WHOLE && t->protocol->pending(t->protocol) > 0) {
            t->op->kind = (enum remote_kind)rng_below(rng, 3);
            t->op->ret_len = 0;
            answer =
                t->protocol->next(t->protocol, rng_chance(rng, 0.1) ? NULL : t->op, &err, words);
            CHECK(t->op->ret_len >= 0 && t->op->ret_len <= t->op->cap);
        }
        if (answer == ANSWER_GARBAGE) {
            return; /* as the connection does: nothing is read after it */
        }
    }
}

TEST(protocols_survive_any_answer)
{
    static const char *const redis[] = {"+OK\r\n",         "$5\r\nhello\r\n", "$-1\r\n",
                                        ":12\r\n",         "-ERR no\r\n",     "*2\r\n",
                                        "$2147483647\r\n", "$0\r\n\r\n"};
    static const char *const memcached[] = {"STORED\r\n",
                                            "VALUE key 0 5\r\nhello\r\nEND\r\n",
                                            "END\r\n",
                                            "DELETED\r\n",
                                            "NOT_FOUND\r\n",
                                            "SERVER_ERROR x\r\n",
                                            "VALUE key 0 99999999999\r\n",
                                            "VALUE  \r\n",
                                            "\r\n"};
    struct shadowstore_options o = options(NULL, NULL, 0);
    struct rng rng;
    struct talk t[2];
    rng_init(&rng, test_seed());
    begin(&t[0], protocol_redis(&o));
    begin(&t[1], protocol_memcached(&o));
    for (int round = 0; round < 100000; round++) {
        hear_anything(&t[0], &rng, redis, (int)COUNT_OF(redis));
        hear_anything(&t[1], &rng, memcached, (int)COUNT_OF(memcached));
    }
    end(&t[0]);
    end(&t[1]);
}
