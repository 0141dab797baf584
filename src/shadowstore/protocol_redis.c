// SPDX-License-Identifier: Apache-2.0
/* Redis: hiredis formats commands and reads replies. Commands used, for an access list: AUTH SELECT SET GET UNLINK.
 *
 *   R1  No array is read, whatever size it announces: nothing here asks for one.
 *   R2  What the server says to a password is told by its first word alone: it may repeat the password. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "shadowstore/protocol.h"

enum { ARGUMENTS_MAX = REMOTE_KEYS_MAX + 4 };

struct redis {
    struct protocol protocol; /* first */
    redisReader *reader;
    redisReplyObjectFunctions functions;
    int32_t database;
    bool auth_asked; /* AUTH is the first reply */
    char username[SHADOWSTORE_SECRET_MAX + 1];
    char password[SHADOWSTORE_SECRET_MAX + 1];
    ptrdiff_t password_len;
};

/* R1. hiredis has its own functions for objects; only the one for arrays is not wanted. */
static void *refuse_array(const redisReadTask *task, int elements)
{
    (void)task;
    (void)elements;
    return NULL;
}

static void reset(struct protocol *protocol)
{
    struct redis *redis = (struct redis *)protocol;
    if (redis->reader != NULL) {
        redisReaderFree(redis->reader);
    }
    redis->reader = redisReaderCreate();
    CHECK_MSG(redis->reader != NULL, "out of memory for a reader of replies");
    redis->functions = *redis->reader->fn;
    redis->functions.createArray = refuse_array;
    redis->reader->fn = &redis->functions;
    redis->auth_asked = false;
}

/* --- commands --- */

static bool append(struct out *out, int argc, const char **argv, const size_t *lens)
{
    char *command = NULL;
    int len = redisFormatCommandArgv(&command, argc, argv, lens);
    CHECK_MSG(len > 0, "out of memory for a command to Redis");
    bool fits = out_add(out, command, len);
    explicit_bzero(command, (size_t)len); /* it may hold a password */
    redisFreeCommand(command);
    return fits;
}

static int encode(struct protocol *protocol, const struct remote_op *op, struct out *out)
{
    const char *argv[ARGUMENTS_MAX];
    size_t lens[ARGUMENTS_MAX];
    char ttl[24];
    int argc = 0;
    (void)protocol;
    argv[argc++] = op->kind == REMOTE_SET ? "SET" : op->kind == REMOTE_GET ? "GET" : "UNLINK";
    for (int32_t i = 0; i < op->key_count; i++) {
        argv[argc++] = op->keys[i];
    }
    for (int i = 0; i < argc; i++) {
        lens[i] = strlen(argv[i]);
    }
    if (op->kind == REMOTE_SET) {
        argv[argc] = op->value;
        lens[argc++] = (size_t)op->len;
        argv[argc] = "PX";
        lens[argc++] = 2;
        argv[argc] = ttl;
        lens[argc++] = (size_t)snprintf(ttl, sizeof(ttl), "%lld", (long long)op->ttl_ms); /* fits */
    }
    return append(out, argc, argv, lens) ? 1 : 0;
}

static int greet(struct protocol *protocol, struct out *out)
{
    struct redis *redis = (struct redis *)protocol;
    int replies = 0;
    if (redis->password_len > 0) {
        bool named = redis->username[0] != 0;
        const char *argv[3] = {"AUTH", named ? redis->username : redis->password, redis->password};
        size_t password = (size_t)redis->password_len;
        size_t lens[3] = {4, named ? strlen(redis->username) : password, password};
        CHECK(append(out, named ? 3 : 2, argv, lens)); /* nothing is in it yet */
        redis->auth_asked = true;
        replies++;
    }
    if (redis->database != 0) {
        char number[16];
        const char *argv[2] = {"SELECT", number};
        size_t lens[2] = {6, (size_t)snprintf(number, sizeof(number), "%d", redis->database)};
        CHECK(append(out, 2, argv, lens));
        replies++;
    }
    return replies;
}

/* --- replies --- */

static bool feed(struct protocol *protocol, const void *bytes, ptrdiff_t len)
{
    struct redis *redis = (struct redis *)protocol;
    return redisReaderFeed(redis->reader, bytes, (size_t)len) == REDIS_OK;
}

static ptrdiff_t pending(const struct protocol *protocol)
{
    const struct redis *redis = (const struct redis *)protocol;
    return (ptrdiff_t)(redis->reader->len - redis->reader->pos);
}

static enum err error_of(const char *text)
{
    static const struct {
        const char *word;
        enum err err;
    } words[] = {{"OOM ", ERR_NO_SPACE},           {"NOAUTH ", ERR_DENIED},
                 {"WRONGPASS ", ERR_DENIED},       {"NOPERM ", ERR_DENIED},
                 {"MOVED ", ERR_UNSUPPORTED},      {"ASK ", ERR_UNSUPPORTED},
                 {"CLUSTERDOWN ", ERR_UNSUPPORTED}};
    for (ptrdiff_t i = 0; i < COUNT_OF(words); i++) {
        if (strncmp(text, words[i].word, strlen(words[i].word)) == 0) {
            return words[i].err;
        }
    }
    return ERR_UNAVAILABLE;
}

static enum answer take_value(struct remote_op *op, const redisReply *reply, enum err *ret_err)
{
    if (reply->type == REDIS_REPLY_NIL) {
        *ret_err = ERR_NOT_FOUND;
        return ANSWER_WHOLE;
    }
    if (reply->type != REDIS_REPLY_STRING) {
        return ANSWER_GARBAGE;
    }
    bool fits = (ptrdiff_t)reply->len <= op->cap;
    *ret_err = fits ? ERR_OK : ERR_LIMIT;
    if (fits) {
        memcpy(op->buf, reply->str, reply->len);
        op->ret_len = (ptrdiff_t)reply->len;
    }
    return ANSWER_WHOLE;
}

static bool is_ok(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STATUS && reply->len == 2 && memcmp(reply->str, "OK", 2) == 0;
}

static enum answer judge(struct remote_op *op, bool auth, const redisReply *reply,
                         enum err *ret_err, char *words)
{
    *ret_err = ERR_OK;
    if (reply->type == REDIS_REPLY_ERROR) {
        server_words(reply->str, (ptrdiff_t)reply->len, auth, words); /* R2 */
        *ret_err = auth ? ERR_DENIED : error_of(reply->str);
        return ANSWER_WHOLE;
    }
    if (op != NULL && op->kind == REMOTE_GET) {
        return take_value(op, reply, ret_err);
    }
    bool right =
        op != NULL && op->kind == REMOTE_DELETE ? reply->type == REDIS_REPLY_INTEGER : is_ok(reply);
    return right ? ANSWER_WHOLE : ANSWER_GARBAGE;
}

static enum answer next(struct protocol *protocol, struct remote_op *op, enum err *ret_err,
                        char words[SERVER_WORDS_MAX + 1])
{
    struct redis *redis = (struct redis *)protocol;
    void *reply = NULL;
    if (redisReaderGetReply(redis->reader, &reply) != REDIS_OK) {
        return ANSWER_GARBAGE;
    }
    if (reply == NULL) {
        return pending(protocol) > REPLY_BYTES_MAX ? ANSWER_GARBAGE : ANSWER_MORE;
    }
    bool auth = op == NULL && redis->auth_asked;
    redis->auth_asked = redis->auth_asked && op != NULL;
    enum answer answer = judge(op, auth, reply, ret_err, words);
    freeReplyObject(reply);
    return answer;
}

static void free_redis(struct protocol *protocol)
{
    struct redis *redis = (struct redis *)protocol;
    if (redis->reader != NULL) {
        redisReaderFree(redis->reader);
    }
    explicit_bzero(redis->password, sizeof(redis->password));
    mem_free(redis);
}

struct protocol *protocol_redis(const struct shadowstore_options *options)
{
    struct redis *redis = MEM_NEW(struct redis);
    redis->protocol = (struct protocol){.name = "redis",
                                        .reset = reset,
                                        .greet = greet,
                                        .encode = encode,
                                        .feed = feed,
                                        .next = next,
                                        .pending = pending,
                                        .free = free_redis};
    redis->database = options->database;
    redis->password_len = options->password.len;
    if (options->username.len > 0) { /* lengths are checked with the options */
        memcpy(redis->username, options->username.ptr, (size_t)options->username.len);
    }
    if (options->password.len > 0) {
        memcpy(redis->password, options->password.ptr, (size_t)options->password.len);
    }
    return &redis->protocol;
}
