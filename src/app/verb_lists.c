// SPDX-License-Identifier: Apache-2.0
/* Verbs that are one call and one table: streams. */
#include "app/ask.h"
#include "app/verbs.h"

/* A call on the stream that the first argument names. */
static int ask_stream(const struct cli *cli, const char *method, const char *rest, struct str body,
                      const struct entity *entity)
{
    struct arena arena;
    arena_init(&arena, 1 << 16);
    struct client_call call = {.method = method,
                               .path = arena_printf(&arena, "/api/v1/streams/%s%s",
                                                    client_escape(&arena, cli->args[0]), rest),
                               .body = body,
                               .body_type = "application/json"};
    int code = ask(cli, &call, entity);
    arena_release(&arena);
    return code;
}

int verb_stream_list(const struct cli *cli)
{
    struct client_call call = {.method = "GET",
                               .path = cli_flag(cli, "internal") ? "/api/v1/streams?internal=true"
                                                                 : "/api/v1/streams"};
    return ask(cli, &call, &stream_entity);
}

int verb_stream_show(const struct cli *cli)
{
    return ask_stream(cli, "GET", "/shards", (struct str){0}, &shard_entity);
}

/* The retention options as members of a JSON object, each with a comma before it. */
static const char *retention_json(const struct cli *cli, struct arena *arena)
{
    const char *age = "";
    const char *size = "";
    if (cli_given(cli, "keep")) {
        age = arena_printf(arena, ",\"retention_seconds\":%lld",
                           (long long)(cli_i64(cli, "keep") / 1000000000));
    } else if (cli_flag(cli, "keep-forever")) {
        age = ",\"retention_seconds\":-1";
    }
    if (cli_given(cli, "keep-bytes")) {
        size =
            arena_printf(arena, ",\"retention_bytes\":%lld", (long long)cli_i64(cli, "keep-bytes"));
    }
    return arena_printf(arena, "%s%s", age, size);
}

/* What is wrong with the retention options together; NULL: nothing. */
static const char *retention_problem(const struct cli *cli)
{
    if (cli_given(cli, "keep") && cli_flag(cli, "keep-forever")) {
        return "--keep and --keep-forever say different things; give one of them";
    }
    if (cli_given(cli, "keep") && cli_i64(cli, "keep") % 1000000000 != 0) {
        return "--keep is in whole seconds";
    }
    return NULL;
}

int verb_stream_create(const struct cli *cli)
{
    const char *problem = retention_problem(cli);
    if (problem != NULL) {
        return client_wrong_call(problem);
    }
    struct arena arena;
    arena_init(&arena, 1 << 16);
    /* The name travels as JSON text; what no name may hold is refused here, so that nothing needs escaping. */
    if (strpbrk(cli->args[0], "\"\\") != NULL) {
        arena_release(&arena);
        return client_wrong_call("a stream's name has letters, digits, '.', '_' and '-'");
    }
    struct client_call call = {.method = "POST",
                               .path = "/api/v1/streams",
                               .body = str_of(arena_printf(
                                   &arena, "{\"name\":\"%s\",\"shards\":%lld%s}", cli->args[0],
                                   (long long)cli_i64(cli, "shards"), retention_json(cli, &arena))),
                               .body_type = "application/json"};
    int code = ask(cli, &call, &stream_entity);
    arena_release(&arena);
    return code;
}

int verb_stream_alter(const struct cli *cli)
{
    const char *problem = retention_problem(cli);
    if (problem != NULL) {
        return client_wrong_call(problem);
    }
    struct arena arena;
    arena_init(&arena, 1 << 16);
    const char *members = retention_json(cli, &arena);
    if (members[0] == 0) {
        arena_release(&arena);
        return client_wrong_call("stream alter: nothing to change; give --keep, --keep-forever or "
                                 "--keep-bytes");
    }
    const char *body = arena_printf(&arena, "{%s}", members[0] == ',' ? members + 1 : members);
    int code = ask_stream(cli, "PATCH", "", str_of(body), &stream_entity);
    arena_release(&arena);
    return code;
}

int verb_stream_delete(const struct cli *cli)
{
    if (!cli_flag(cli, "yes")) {
        return client_wrong_call(
            "this deletes the stream and its records for ever; say --yes to do it");
    }
    return ask_stream(cli, "DELETE", "", (struct str){0}, NULL);
}
