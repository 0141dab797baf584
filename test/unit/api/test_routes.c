// SPDX-License-Identifier: Apache-2.0
#include "api/routes.h"

#include <math.h>
#include <stdio.h>

#include "test.h"

static struct control_args args;
static struct err_info info;
static char pointer[BIND_POINTER_MAX];
static const char *header_name, *header_value;

static struct str header(void *ctx, const char *name)
{
    (void)ctx;
    return header_name != NULL && strcmp(name, header_name) == 0 ? str_of(header_value)
                                                                 : (struct str){NULL, 0};
}

/* Finds and binds "METHOD /path?query" with a body (NULL: none). */
static enum err call(const char *method, const char *uri, const char *body)
{
    const struct route *route = NULL;
    char allow[ROUTE_ALLOW_MAX];
    struct bind_input input = {.header = header, .query = str_of(uri)};
    input.path = str_cut(&input.query, '?');
    enum err err = route_find(str_of(method), input.path, &route, allow, &info);
    if (err == ERR_OK) {
        control_args_init(&args);
        err = route_bind_head(route, &input, &args, pointer, &info);
    }
    if (err == ERR_OK && body != NULL) {
        err = route_bind_body(route, str_of(body), &args, pointer, &info);
    }
    return err;
}

TEST(every_route_is_found_by_its_own_path_and_no_two_are_the_same)
{
    for (const struct route *route = routes; route->path != NULL; route++) {
        const struct route *found = NULL;
        char allow[ROUTE_ALLOW_MAX];
        EXPECT_INT(route_find(str_of(method_name(route->method)), str_of(route->path), &found,
                              allow, &info),
                   ERR_OK);
        EXPECT(found == route);
        EXPECT((route->answer == ANSWER_LIST || route->answer == ANSWER_ROW ||
                (route->answer == ANSWER_DETAIL && route->entity != NULL)) ==
               (route->entity != NULL && route->answer != ANSWER_CHECKS));
        /* Only health is open to everybody, and what changes something is an order or records. */
        EXPECT((route->role == ROLE_NONE) == (route->answer == ANSWER_CHECKS));
        EXPECT(route->method == METHOD_GET || route->role >= ROLE_OPERATOR);
        EXPECT(route->audit == (route->method != METHOD_GET && route->body != BODY_RECORDS));
        int params = 0;
        for (const struct param *p = route->params; p != NULL && p->name != NULL; p++) {
            EXPECT(p->source != PARAM_BODY || route->body == BODY_JSON);
            params++;
        }
        EXPECT(params <= 32);
    }
}

TEST(paths_and_methods_that_are_not_there_are_told_apart)
{
    const struct route *route = NULL;
    char allow[ROUTE_ALLOW_MAX];
    EXPECT_INT(call("GET", "/nope", NULL), ERR_NOT_FOUND);
    EXPECT_INT(call("GET", "/api/v1/streams/", NULL), ERR_NOT_FOUND);
    EXPECT_INT(call("GET", "/api/v1//streams", NULL), ERR_NOT_FOUND);
    EXPECT_INT(call("GET", "", NULL), ERR_NOT_FOUND);
    EXPECT_INT(call("HEAD", "/livez", NULL), ERR_OK);
    EXPECT_INT(route_find(STR("PUT"), STR("/api/v1/streams/x"), &route, allow, &info),
               ERR_UNSUPPORTED);
    EXPECT(strcmp(allow, "GET, PATCH, DELETE") == 0);
}

TEST(parameters_arrive_typed)
{
    EXPECT_INT(
        call("GET", "/api/v1/streams/a%2Db/records?shard=3&offset=-1&limit=7&format=raw", NULL),
        ERR_OK);
    EXPECT(strcmp(args.stream, "a-b") == 0);
    EXPECT_INT(args.shard, 3);
    EXPECT_INT(args.offset, -1);
    EXPECT_INT(args.limit, 7);
    EXPECT_INT(args.format, READ_RAW);
    EXPECT_INT(
        call("POST", "/api/v1/streams", "{\"name\":\"s\",\"shards\":4,\"retention_seconds\":1.5}"),
        ERR_OK);
    EXPECT_INT(args.shards, 4);
    EXPECT_NEAR(args.retention_seconds, 1.5, 0);
    EXPECT_INT(args.retention_bytes, FIELD_I64_UNKNOWN);
    header_name = "X-Record-Key";
    header_value = "";
    EXPECT_INT(call("POST", "/api/v1/streams/s/records?key_field=a+b", NULL), ERR_OK);
    EXPECT(args.has_record_key && args.record_key[0] == 0 && strcmp(args.key_field, "a b") == 0);
    header_name = NULL;
}

TEST(an_unknown_name_is_refused_with_those_that_are_known)
{
    EXPECT_INT(call("GET", "/api/v1/streams/s/records?nope=1", NULL), ERR_INVALID);
    EXPECT_MSG(strstr(info.text, "'nope' here; there are: ") != NULL &&
                   strstr(info.text, "offset") != NULL,
               "%s", info.text);
    EXPECT_INT(call("POST", "/api/v1/streams", "{\"nope\":1}"), ERR_INVALID);
    EXPECT_MSG(strstr(info.text, "shards") != NULL, "%s", info.text);
    EXPECT_INT(call("GET", "/api/v1/manager?nope=1", NULL), ERR_INVALID);
    EXPECT_MSG(strstr(info.text, "there is none") != NULL, "%s", info.text);
}

TEST(bad_parameters_are_refused_and_pointed_at)
{
    static const struct {
        const char *method, *uri, *body;
        enum err err;
        const char *pointer;
    } wrong[] = {
        {"GET", "/api/v1/streams/s/records?limit=0", NULL, ERR_INVALID, "/query/limit"},
        {"GET", "/api/v1/streams/s/records?limit=1e3", NULL, ERR_TYPE, "/query/limit"},
        {"GET", "/api/v1/streams/s/records?limit=", NULL, ERR_TYPE, "/query/limit"},
        {"GET", "/api/v1/streams/s/records?limit= 5", NULL, ERR_TYPE, "/query/limit"},
        {"GET", "/api/v1/streams/s/records?limit=5&limit=5", NULL, ERR_INVALID, "/query/limit"},
        {"GET", "/api/v1/streams/s/records?offset=99999999999999999999", NULL, ERR_TYPE,
         "/query/offset"},
        {"GET", "/api/v1/streams/s/records?nope=1", NULL, ERR_INVALID, "/query/nope"},
        {"GET", "/api/v1/streams/s/records?format=xml", NULL, ERR_INVALID, "/query/format"},
        {"GET", "/api/v1/streams?internal=1", NULL, ERR_TYPE, "/query/internal"},
        {"GET", "/api/v1/streams/%zz", NULL, ERR_INVALID, "/path/name"},
        {"GET", "/api/v1/streams/a%0", NULL, ERR_INVALID, "/path/name"},
        {"POST", "/api/v1/streams", "{\"name\":1}", ERR_TYPE, "/body/name"},
        {"POST", "/api/v1/streams", "{\"name\":\"s\",\"shards\":\"4\"}", ERR_TYPE, "/body/shards"},
        {"POST", "/api/v1/streams", "{\"name\":\"s\",\"shards\":4.5}", ERR_TYPE, "/body/shards"},
        {"POST", "/api/v1/streams", "{\"name\":\"s\",\"shards\":0}", ERR_INVALID, "/body/shards"},
        {"POST", "/api/v1/streams", "{\"shards\":1}", ERR_INVALID, "/body/name"},
        {"POST", "/api/v1/streams", "{\"name\":\"s\",\"x\":1}", ERR_INVALID, "/body/x"},
        {"POST", "/api/v1/streams", "{\"name\":\"s\",\"name\":\"t\"}", ERR_PARSE, "/body/"},
        {"POST", "/api/v1/streams", "{\"name\":\"s\",\"retention_seconds\":1e999}", ERR_PARSE,
         "/body/"},
        {"POST", "/api/v1/streams", "{\"name\":\"a\\u0000b\"}", ERR_PARSE, "/body/"},
        {"POST", "/api/v1/streams", "{\"name\":\"\xff\"}", ERR_PARSE, "/body/"},
        {"POST", "/api/v1/streams", "{\"name\":\"\\ud800\"}", ERR_PARSE, "/body/"},
        {"POST", "/api/v1/streams", "[]", ERR_TYPE, "/body/"},
        {"POST", "/api/v1/streams", "", ERR_PARSE, "/body/"},
    };
    for (int i = 0; i < (int)COUNT_OF(wrong); i++) {
        enum err err = call(wrong[i].method, wrong[i].uri, wrong[i].body);
        EXPECT_MSG(err == wrong[i].err, "%s %s: %s", wrong[i].uri,
                   wrong[i].body != NULL ? wrong[i].body : "", err_name(err));
        EXPECT_MSG(strcmp(pointer, wrong[i].pointer) == 0, "%s: points at %s", wrong[i].uri,
                   pointer);
    }
}

TEST(json_as_deep_as_it_likes_is_an_error_and_no_crash)
{
    static char deep[20001];
    memset(deep, '[', sizeof(deep) - 1);
    EXPECT_INT(call("POST", "/api/v1/streams", deep), ERR_PARSE);
}
