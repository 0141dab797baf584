// SPDX-License-Identifier: Apache-2.0
/* Memcached's text protocol, as much of it as is used: set, get, delete, and the set that carries user and password to a
 * server started with -Y. (docs/decisions.md says why not libmemcached.)
 *
 *   M1  A reply's first line is at most LINE_MAX bytes, a value at most REPLY_BYTES_MAX; its key must be the one asked for. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "shadowstore/protocol.h"

enum { LINE_MAX_BYTES = 512, KEPT_MAX = REPLY_BYTES_MAX + 2 * LINE_MAX_BYTES };

struct memcached {
    struct protocol protocol; /* first */
    uint8_t *kept;            /* [KEPT_MAX] */
    ptrdiff_t begin, end;     /* of what is kept and not taken */
    char username[SHADOWSTORE_SECRET_MAX + 1];
    char password[SHADOWSTORE_SECRET_MAX + 1];
    ptrdiff_t password_len;
};

static void reset(struct protocol *protocol)
{
    struct memcached *m = (struct memcached *)protocol;
    m->begin = 0;
    m->end = 0;
}

/* --- commands --- */

static bool add_text(struct out *out, const char *text)
{
    return out_add(out, text, (ptrdiff_t)strlen(text));
}

static bool add_set(struct out *out, const char *key, int64_t ttl_s, const void *value,
                    ptrdiff_t len)
{
    char head[REMOTE_KEY_MAX + 64];
    int n = snprintf(head, sizeof(head), "set %s 0 %lld %td\r\n", key, (long long)ttl_s, len);
    CHECK(n > 0 && n < (int)sizeof(head));
    return out_add(out, head, n) && out_add(out, value, len) && add_text(out, "\r\n");
}

/* One command for each key. */
static bool add_keys(struct out *out, const char *verb, const struct remote_op *op)
{
    for (int32_t i = 0; i < op->key_count; i++) {
        if (!add_text(out, verb) || !add_text(out, op->keys[i]) || !add_text(out, "\r\n")) {
            return false;
        }
    }
    return true;
}

static int encode(struct protocol *protocol, const struct remote_op *op, struct out *out)
{
    ptrdiff_t before = out->len;
    bool fits = false;
    (void)protocol;
    switch (op->kind) {
    case REMOTE_SET:
        fits = add_set(out, op->keys[0], (op->ttl_ms + 999) / 1000, op->value, op->len);
        break;
    case REMOTE_GET:
        fits = add_keys(out, "get ", op);
        break;
    case REMOTE_DELETE:
        fits = add_keys(out, "delete ", op);
        break;
    }
    out->len = fits ? out->len : before;
    return fits ? op->key_count : 0;
}

static int greet(struct protocol *protocol, struct out *out)
{
    const struct memcached *m = (const struct memcached *)protocol;
    char secret[2 * SHADOWSTORE_SECRET_MAX + 2];
    if (m->password_len == 0) {
        return 0;
    }
    int n = snprintf(secret, sizeof(secret), "%s %s", m->username, m->password);
    CHECK(n > 0 && n < (int)sizeof(secret) && add_set(out, "auth", 0, secret, n));
    explicit_bzero(secret, sizeof(secret));
    return 1;
}

/* --- replies --- */

static bool feed(struct protocol *protocol, const void *bytes, ptrdiff_t len)
{
    struct memcached *m = (struct memcached *)protocol;
    if (m->begin > 0) {
        m->end -= m->begin;
        memmove(m->kept, m->kept + m->begin, (size_t)m->end);
        m->begin = 0;
    }
    if (len > KEPT_MAX - m->end) {
        return false;
    }
    memcpy(m->kept + m->end, bytes, (size_t)len);
    m->end += len;
    return true;
}

static ptrdiff_t pending(const struct protocol *protocol)
{
    const struct memcached *m = (const struct memcached *)protocol;
    return m->end - m->begin;
}

static struct str kept(const struct memcached *m)
{
    return (struct str){(const char *)m->kept + m->begin, m->end - m->begin};
}

/* A number that is all of `text`; -1 if it is none, or large. */
static ptrdiff_t read_len(struct str text)
{
    ptrdiff_t len = 0;
    for (ptrdiff_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || len > REPLY_BYTES_MAX) {
            return -1;
        }
        len = len * 10 + (text.ptr[i] - '0');
    }
    return text.len > 0 && len <= REPLY_BYTES_MAX ? len : -1;
}

/* "VALUE <key> <flags> <bytes>", the bytes, "END". */
static enum answer take_value(struct memcached *m, struct remote_op *op, struct str line,
                              enum err *ret_err)
{
    static const char end[] = "\r\nEND\r\n";
    struct str rest = line;
    IGNORE_RESULT(str_cut(&rest, ' ')); /* VALUE */
    struct str key = str_cut(&rest, ' ');
    IGNORE_RESULT(str_cut(&rest, ' ')); /* flags: ours are 0 and mean nothing */
    ptrdiff_t len = read_len(rest);
    if (!str_is(key, op->keys[0]) || len < 0) {
        return ANSWER_GARBAGE; /* M1 */
    }
    struct str all = kept(m);
    ptrdiff_t from = line.len + 2, tail = (ptrdiff_t)sizeof(end) - 1;
    if (all.len < from + len + tail) {
        return ANSWER_MORE;
    }
    if (memcmp(all.ptr + from + len, end, (size_t)tail) != 0) {
        return ANSWER_GARBAGE;
    }
    *ret_err = len <= op->cap ? ERR_OK : ERR_LIMIT;
    if (*ret_err == ERR_OK) {
        memcpy(op->buf, all.ptr + from, (size_t)len);
        op->ret_len = len;
    }
    m->begin += from + len + tail;
    return ANSWER_WHOLE;
}

/* What an error means; OK: it is none. */
static enum err error_of(struct str line, bool auth)
{
    if (str_starts_with(line, STR("SERVER_ERROR object too large")) ||
        str_starts_with(line, STR("SERVER_ERROR too large"))) {
        return ERR_LIMIT;
    }
    if (str_starts_with(line, STR("SERVER_ERROR out of memory"))) {
        return ERR_NO_SPACE;
    }
    if (str_starts_with(line, STR("CLIENT_ERROR unauthenticated")) ||
        (auth && str_starts_with(line, STR("CLIENT_ERROR")))) {
        return ERR_DENIED;
    }
    bool error = str_starts_with(line, STR("SERVER_ERROR")) ||
                 str_starts_with(line, STR("CLIENT_ERROR")) || str_is(line, "ERROR");
    return error ? ERR_UNAVAILABLE : ERR_OK;
}

/* The verdict of a line that is all of a reply. */
static bool is_right(const struct remote_op *op, struct str line, enum err *ret_err)
{
    *ret_err = ERR_OK;
    if (op == NULL || op->kind == REMOTE_SET) {
        return str_is(line, "STORED");
    }
    if (op->kind == REMOTE_DELETE) {
        return str_is(line, "DELETED") || str_is(line, "NOT_FOUND");
    }
    *ret_err = ERR_NOT_FOUND;
    return str_is(line, "END");
}

static enum answer next(struct protocol *protocol, struct remote_op *op, enum err *ret_err,
                        char words[SERVER_WORDS_MAX + 1])
{
    struct memcached *m = (struct memcached *)protocol;
    struct str all = kept(m);
    ptrdiff_t end = str_find(
        (struct str){all.ptr, all.len < LINE_MAX_BYTES ? all.len : LINE_MAX_BYTES}, STR("\r\n"));
    if (end < 0) {
        return all.len < LINE_MAX_BYTES ? ANSWER_MORE : ANSWER_GARBAGE; /* M1 */
    }
    struct str line = {all.ptr, end};
    if (op != NULL && op->kind == REMOTE_GET && str_starts_with(line, STR("VALUE "))) {
        return take_value(m, op, line, ret_err);
    }
    enum err err = error_of(line, op == NULL);
    if (err != ERR_OK) {
        *ret_err = err;
        server_words(line.ptr, line.len, op == NULL, words);
    } else if (!is_right(op, line, ret_err)) {
        return ANSWER_GARBAGE;
    }
    m->begin += end + 2;
    return ANSWER_WHOLE;
}

static void free_memcached(struct protocol *protocol)
{
    struct memcached *m = (struct memcached *)protocol;
    explicit_bzero(m->password, sizeof(m->password));
    mem_free(m->kept);
    mem_free(m);
}

struct protocol *protocol_memcached(const struct shadowstore_options *options)
{
    struct memcached *m = MEM_NEW(struct memcached);
    m->protocol = (struct protocol){.name = "memcached",
                                    .reset = reset,
                                    .greet = greet,
                                    .encode = encode,
                                    .feed = feed,
                                    .next = next,
                                    .pending = pending,
                                    .free = free_memcached};
    m->kept = mem_new(KEPT_MAX, 1);
    m->password_len = options->password.len;
    if (options->username.len > 0) { /* lengths are checked with the options */
        memcpy(m->username, options->username.ptr, (size_t)options->username.len);
    }
    if (options->password.len > 0) {
        memcpy(m->password, options->password.ptr, (size_t)options->password.len);
    }
    return &m->protocol;
}
