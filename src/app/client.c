// SPDX-License-Identifier: Apache-2.0
#include "app/client.h"

#include <jansson.h>
#include <stdlib.h>
#include <strings.h>

#include "api/answer.h"
#include "app/curl_lib.h"
#include "app/read_file.h"
#include "base/check.h"
#include "base/mem.h"

enum { ADDRESS_MAX = 256, TOKEN_MAX = 256, PATH_BYTES_MAX = 4096 };

struct client {
    const struct curl_lib *lib;
    CURL *curl;
    const struct cli *cli;
    char address[ADDRESS_MAX];
    char authorization[TOKEN_MAX + 32];
};

/* What curl's callbacks fill while a call runs. */
struct incoming {
    char *bytes;
    ptrdiff_t len, cap;
    struct client_answer *answer;
    bool over; /* larger than CLIENT_ANSWER_MAX */
};

/* First line of a small file, without blanks round it, 0-terminated into `buf`. */
static enum err read_line(const char *path, char *buf, ptrdiff_t cap, struct err_info *info)
{
    struct arena arena;
    struct str text = {0};
    arena_init(&arena, 1 << 16);
    enum err err = read_file(&arena, path, cap - 1, &text, info);
    if (err == ERR_OK) {
        struct str line = str_trim(str_cut(&text, '\n'));
        memcpy(buf, line.ptr, (size_t)line.len);
        buf[line.len] = 0;
    }
    arena_release(&arena);
    return err;
}

enum err client_refresh(struct client *client, struct err_info *info)
{
    const char *url = cli_text(client->cli, "url");
    if (url != NULL) {
        if (strlen(url) >= ADDRESS_MAX || strncmp(url, "http", 4) != 0) {
            return err_set(info, ERR_INVALID, "--url is like http://127.0.0.1:8080");
        }
        memcpy(client->address, url, strlen(url) + 1);
        return ERR_OK;
    }
    char path[PATH_BYTES_MAX];
    struct err_info why;
    IGNORE_RESULT(
        snprintf(path, sizeof(path), "%s/api", cli_text(client->cli, "data"))); /* cut: not found */
    enum err err = read_line(path, client->address, ADDRESS_MAX, &why);
    if (err == ERR_NOT_FOUND) {
        return err_set(info, ERR_UNAVAILABLE,
                       "no running process: '%s' is not there; start one with 'shadowcast run', or "
                       "name its data folder with --data",
                       path);
    }
    if (err != ERR_OK && info != NULL) {
        *info = why;
    }
    return err;
}

static enum err read_token(struct client *client, struct err_info *info)
{
    char path[PATH_BYTES_MAX];
    char token[TOKEN_MAX];
    const char *file = cli_text(client->cli, "token-file");
    if (file != NULL) {
        IGNORE_RESULT(snprintf(path, sizeof(path), "%s", file)); /* cut: not found */
    } else {
        IGNORE_RESULT(snprintf(path, sizeof(path), "%s/token", cli_text(client->cli, "data")));
    }
    enum err err = read_line(path, token, TOKEN_MAX, info);
    if (err == ERR_OK) {
        IGNORE_RESULT(snprintf(client->authorization, sizeof(client->authorization),
                               "Authorization: Bearer %s", token)); /* fits */
    }
    explicit_bzero(token, sizeof(token));
    return err;
}

enum err client_new(const struct cli *cli, struct client **ret_client, struct err_info *info)
{
    struct client *client = MEM_NEW(struct client);
    client->cli = cli;
    enum err err = client_refresh(client, info);
    if (err == ERR_OK) {
        err = read_token(client, info);
    }
    if (err == ERR_OK) {
        err = curl_lib_load(&client->lib, info);
    }
    if (err == ERR_OK) {
        client->curl = client->lib->easy_init();
        CHECK(client->curl != NULL);
        *ret_client = client;
        return ERR_OK;
    }
    client_free(client);
    return err;
}

void client_free(struct client *client)
{
    if (client == NULL) {
        return;
    }
    if (client->curl != NULL) {
        client->lib->easy_cleanup(client->curl);
    }
    explicit_bzero(client->authorization, sizeof(client->authorization));
    mem_free(client);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): curl's type */
static size_t take_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct incoming *in = ctx;
    ptrdiff_t more = (ptrdiff_t)(size * count);
    if (more > CLIENT_ANSWER_MAX - in->len) {
        in->over = true;
        return 0; /* ends the transfer */
    }
    if (in->len + more > in->cap) {
        in->cap = (in->len + more) * 2;
        in->bytes = mem_resize(in->bytes, in->cap, 1);
    }
    if (more > 0) {
        memcpy(in->bytes + in->len, bytes, (size_t)more);
    }
    in->len += more;
    return size * count;
}

/* The value of header `name` in a header line that is not 0-terminated, or false. */
static bool header_i64(struct str line, const char *name, int64_t *ret_value)
{
    char buf[24];
    ptrdiff_t name_len = (ptrdiff_t)strlen(name);
    if (line.len <= name_len || line.ptr[name_len] != ':' ||
        strncasecmp(line.ptr, name, (size_t)name_len) != 0) {
        return false;
    }
    struct str value = str_trim((struct str){line.ptr + name_len + 1, line.len - name_len - 1});
    if (value.len == 0 || value.len >= (ptrdiff_t)sizeof(buf)) {
        return false;
    }
    memcpy(buf, value.ptr, (size_t)value.len);
    buf[value.len] = 0;
    char *end = NULL;
    *ret_value = strtoll(buf, &end, 10);
    return *end == 0;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): curl's type */
static size_t take_header(char *bytes, size_t size, size_t count, void *ctx)
{
    struct incoming *in = ctx;
    struct str line = {bytes, (ptrdiff_t)(size * count)};
    int64_t value = 0;
    if (header_i64(line, "X-Next-Offset", &value)) {
        in->answer->next_offset = value;
    } else if (header_i64(line, "X-End-Offset", &value)) {
        in->answer->end_offset = value;
    } else if (header_i64(line, "Retry-After", &value)) {
        in->answer->retry_after_s = value;
    }
    return size * count;
}

static void set_options(struct client *client, const struct client_call *call, const char *url,
                        struct curl_slist *headers, struct incoming *in)
{
    CURL *curl = client->curl;
    const struct curl_lib *lib = client->lib;
    lib->easy_reset(curl); /* keeps the connection */
    bool good = lib->easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
                lib->easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method) == CURLE_OK &&
                lib->easy_setopt(curl, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
                lib->easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
                lib->easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
                lib->easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
                lib->easy_setopt(curl, CURLOPT_TIMEOUT_MS,
                                 (long)(cli_i64(client->cli, "timeout") / 1000000)) == CURLE_OK &&
                lib->easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
                lib->easy_setopt(curl, CURLOPT_WRITEDATA, in) == CURLE_OK &&
                lib->easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header) == CURLE_OK &&
                lib->easy_setopt(curl, CURLOPT_HEADERDATA, in) == CURLE_OK;
    CHECK(good);
    if (call->body.ptr != NULL) {
        CHECK(lib->easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len) ==
                  CURLE_OK &&
              lib->easy_setopt(curl, CURLOPT_POSTFIELDS, call->body.ptr) == CURLE_OK);
    }
}

/* The error that an answer's problem document tells of, by its stable code; by its status if there is none. */
static enum err problem_err(const struct client_answer *answer, const char *url,
                            struct err_info *info)
{
    enum err err = ERR_INTERNAL;
    json_t *problem = json_loadb(answer->body.ptr, (size_t)answer->body.len, 0, NULL);
    const char *code = json_string_value(json_object_get(problem, "code"));
    const char *detail = json_string_value(json_object_get(problem, "detail"));
    const char *title = json_string_value(json_object_get(problem, "title"));
    long number = code != NULL && strncmp(code, "SC", 2) == 0 ? strtol(code + 2, NULL, 10) : 0;
    for (int i = 1; i < ERR_COUNT; i++) {
        struct problem known = problem_of((enum err)i);
        if (number > 0 ? known.code == number : known.status == answer->status) {
            err = (enum err)i;
            break;
        }
    }
    const char *text = detail != NULL ? detail : title != NULL ? title : "no reason given";
    IGNORE_RESULT(err_set(info, err, "%s (%s, HTTP %d from %s)", text,
                          code != NULL ? code : "no code", answer->status,
                          url)); /* `err` is what is returned */
    size_t index = 0;
    const json_t *line = NULL;
    json_array_foreach(json_object_get(problem, "differences"), index, line)
    {
        IGNORE_RESULT(fprintf(stderr, "  %s\n", json_string_value(line))); /* nobody left to tell */
    }
    json_decref(problem);
    return err;
}

static enum err curl_err(const struct client *client, CURLcode code, const struct incoming *in,
                         struct err_info *info)
{
    if (in->over) {
        return err_set(info, ERR_LIMIT, "the answer is larger than %d bytes", CLIENT_ANSWER_MAX);
    }
    if (code == CURLE_OPERATION_TIMEDOUT) {
        return err_set(info, ERR_TIMEOUT, "no answer from %s in time (--timeout)", client->address);
    }
    return err_set(info, ERR_UNAVAILABLE, "cannot reach %s: %s", client->address,
                   client->lib->easy_strerror(code));
}

static struct curl_slist *header_list(const struct client *client, const struct client_call *call)
{
    char type[128];
    const struct curl_lib *lib = client->lib;
    struct curl_slist *list = lib->slist_append(NULL, client->authorization);
    list = lib->slist_append(list, "Expect:"); /* no round trip before a body */
    for (int i = 0; i < CLIENT_HEADERS_MAX && call->headers[i] != NULL; i++) {
        list = lib->slist_append(list, call->headers[i]);
    }
    if (call->body.ptr != NULL) {
        IGNORE_RESULT(snprintf(type, sizeof(type), "Content-Type: %s", call->body_type)); /* fits */
        list = lib->slist_append(list, type);
    }
    CHECK(list != NULL);
    return list;
}

enum err client_call(struct client *client, const struct client_call *call, struct arena *arena,
                     struct client_answer *ret_answer, struct err_info *info)
{
    struct client_answer answer = {.next_offset = -1, .end_offset = -1};
    struct incoming in = {.answer = &answer};
    struct curl_slist *headers = header_list(client, call);
    const char *url = arena_printf(arena, "%s%s", client->address, call->path);
    set_options(client, call, url, headers, &in);
    CURLcode code = client->lib->easy_perform(client->curl);
    long status = 0;
    CHECK(client->lib->easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK);
    answer.status = (int)status;
    answer.body = (struct str){arena_dup(arena, in.bytes, in.len), in.len};
    mem_free(in.bytes);
    client->lib->slist_free_all(headers);
    if (code != CURLE_OK) {
        return curl_err(client, code, &in, info);
    }
    if (status < 200 || status > 299) {
        ret_answer->retry_after_s = answer.retry_after_s;
        return problem_err(&answer, client->address, info);
    }
    *ret_answer = answer;
    return ERR_OK;
}

const char *client_escape(struct arena *arena, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    char *escaped = arena_new(arena, (ptrdiff_t)strlen(text) * 3 + 1, 1), *out = escaped;
    for (; *text != 0; text++) {
        unsigned char byte = (unsigned char)*text;
        bool unreserved = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                          (byte >= '0' && byte <= '9') || strchr("-._~", byte) != NULL;
        if (unreserved) {
            *out++ = (char)byte;
        } else {
            *out++ = '%';
            *out++ = hex[byte >> 4];
            *out++ = hex[byte & 15];
        }
    }
    return escaped;
}

int client_fail(const struct err_info *info)
{
    IGNORE_RESULT(fprintf(stderr, "shadowcast: %s\n", info->text)); /* nobody left to tell */
    return (int)exit_code_of(info->code);
}

int client_wrong_call(const char *text)
{
    IGNORE_RESULT(fprintf(stderr, "shadowcast: %s\n", text)); /* nobody left to tell */
    return EXIT_CODE_USAGE;
}
