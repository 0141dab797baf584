// SPDX-License-Identifier: Apache-2.0
/* Verbs about the layout: partitions, nodes, pipelines, and the operations that change them. */
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/ask.h"
#include "app/read_file.h"
#include "app/rows.h"
#include "app/verbs.h"
#include "base/check.h"
#include "base/yaml.h"

enum { ANSWER_ARENA_MAX = 256 << 20, PATH_ARENA_MAX = 1 << 20, ROWS_SHOWN = 16 };

/* --- lists --- */

int verb_partition_list(const struct cli *cli)
{
    return ask(cli, &(struct client_call){.method = "GET", .path = "/api/v1/partitions"},
               &partition_entity);
}

int verb_node_list(const struct cli *cli)
{
    if (cli_flag(cli, "lanes")) {
        return ask(cli, &(struct client_call){.method = "GET", .path = "/api/v1/lanes"},
                   &lane_entity);
    }
    return ask(cli, &(struct client_call){.method = "GET", .path = "/api/v1/nodes"}, &node_entity);
}

int verb_operation_list(const struct cli *cli)
{
    return ask(cli,
               &(struct client_call){.method = "GET",
                                     .path = cli_flag(cli, "active")
                                                 ? "/api/v1/operations?active=true"
                                                 : "/api/v1/operations"},
               &operation_entity);
}

int verb_pipeline_list(const struct cli *cli)
{
    return ask(cli, &(struct client_call){.method = "GET", .path = "/api/v1/pipelines"},
               &pipeline_entity);
}

/* --- one partition --- */

/* The path of a partition: its id's parts, each escaped. NULL: it is no id, which was told. */
static const char *partition_path(struct arena *arena, const char *id, const char *rest)
{
    struct str left = str_of(id);
    const char *path = "/api/v1/partitions";
    int parts = 0;
    while (left.ptr != NULL) {
        struct str part = str_cut(&left, '/');
        parts += part.len > 0 ? 1 : 100;
        path = arena_printf(arena, "%s/%s", path,
                            client_escape(arena, arena_dup(arena, part.ptr, part.len)));
    }
    if (parts != 4) {
        IGNORE_RESULT(fprintf(stderr,
                              "shadowcast: '%s' is no partition's id: it is like "
                              "pipeline/stage/0/0-4096; partition list has them\n",
                              id)); /* nobody left to tell */
        return NULL;
    }
    return arena_printf(arena, "%s%s", path, rest);
}

/* The row that has most by `order` of those that were not shown yet; marked as shown. */
static json_t *take_most(json_t *list, const char *order)
{
    json_t *best = NULL;
    size_t index = 0;
    json_t *row = NULL;
    json_array_foreach(list, index, row)
    {
        bool more = best == NULL || json_number_value(json_object_get(row, order)) >
                                        json_number_value(json_object_get(best, order));
        if (json_object_get(row, "shown") == NULL && more) {
            best = row;
        }
    }
    CHECK(best != NULL && json_object_set_new(best, "shown", json_true()) == 0);
    return best;
}

/* A member that is a list, as a table: its first rows by `order`, descending. */
static enum err print_member(const char *title, const struct entity *entity, json_t *list,
                             const char *order, struct err_info *info)
{
    json_t *root = json_object();
    json_t *items = json_array();
    CHECK(json_object_set_new(root, "items", items) == 0);
    while (json_array_size(items) < ROWS_SHOWN && json_array_size(items) < json_array_size(list)) {
        CHECK(json_array_append(items, take_most(list, order)) == 0);
    }
    char *text = json_dumps(root, JSON_COMPACT);
    IGNORE_RESULT(printf("\n%s (%zu of %zu)\n", title, json_array_size(items),
                         json_array_size(list))); /* main() judges stdout */
    enum err err = rows_print_table(stdout, entity, str_of(text), info);
    json_decref(root);
    free(text);
    return err;
}

static enum err print_partition(const struct cli *cli, struct str body, struct err_info *info)
{
    if (strcmp(cli_text(cli, "output"), "table") != 0) {
        return rows_print(cli, &partition_entity, body, info);
    }
    json_t *root = json_loadb(body.ptr, (size_t)body.len, 0, NULL);
    enum err err = rows_print_table(stdout, &partition_entity, body, info);
    if (err == ERR_OK) {
        err = print_member("heavy keys", &heavy_key_entity, json_object_get(root, "heavy_keys"),
                           "share_ratio", info);
    }
    if (err == ERR_OK) {
        err = print_member("key groups with most records", &key_group_entity,
                           json_object_get(root, "key_groups"), "records", info);
    }
    json_decref(root);
    return err;
}

int verb_partition_show(const struct cli *cli)
{
    struct client *client = NULL;
    struct client_answer answer = {0};
    struct err_info info;
    struct arena arena;
    arena_init(&arena, ANSWER_ARENA_MAX);
    const char *path = partition_path(&arena, cli->args[0], "");
    if (path == NULL) {
        arena_release(&arena);
        return EXIT_CODE_USAGE;
    }
    enum err err = client_new(cli, &client, &info);
    if (err == ERR_OK) {
        err = client_call(client, &(struct client_call){.method = "GET", .path = path}, &arena,
                          &answer, &info);
    }
    if (err == ERR_OK) {
        err = print_partition(cli, answer.body, &info);
    }
    client_free(client);
    arena_release(&arena);
    return err == ERR_OK ? EXIT_CODE_OK : client_fail(&info);
}

/* --- orders --- */

/* What is said of an operation's row. */
struct operation_said {
    long long id, plan; /* plan: of a dry run, that does it; 0: none */
    bool final, dry_run;
    double progress, cost, cost_nothing;
    char state[32];
    char result[32];
    char reason[256];
};

static void read_operation(struct str body, struct operation_said *ret)
{
    json_t *root = json_loadb(body.ptr, (size_t)body.len, 0, NULL);
    const char *state = json_string_value(json_object_get(root, "state"));
    const char *result = json_string_value(json_object_get(root, "result"));
    const char *reason = json_string_value(json_object_get(root, "reason"));
    *ret = (struct operation_said){
        .id = (long long)json_integer_value(json_object_get(root, "id")),
        .final = json_is_true(json_object_get(root, "final")),
        .dry_run = json_is_true(json_object_get(root, "dry_run")),
        .plan = (long long)json_integer_value(json_object_get(root, "plan")),
        .cost = json_number_value(json_object_get(root, "cost")),
        .cost_nothing = json_number_value(json_object_get(root, "cost_nothing")),
        .progress = json_number_value(json_object_get(root, "progress_ratio"))};
    IGNORE_RESULT(
        snprintf(ret->state, sizeof(ret->state), "%s", state != NULL ? state : "")); /* cut */
    IGNORE_RESULT(snprintf(ret->result, sizeof(ret->result), "%s", result != NULL ? result : ""));
    IGNORE_RESULT(snprintf(ret->reason, sizeof(ret->reason), "%s", reason != NULL ? reason : ""));
    json_decref(root);
}

/* Asks again and again until it is final; says how far it is, on a terminal. */
static enum err wait_for(struct client *client, struct arena *arena, struct operation_said *said,
                         struct str *body, struct err_info *info)
{
    bool tell = isatty(STDERR_FILENO) == 1;
    enum err err = ERR_OK;
    while (err == ERR_OK && !said->final) {
        struct client_answer answer = {0};
        if (tell) {
            IGNORE_RESULT(fprintf(stderr, "\roperation %lld: %s, %.0f %%   ", said->id, said->state,
                                  100 * said->progress)); /* nobody left to tell */
        }
        arena_reset(arena);
        struct client_call call = {
            .method = "GET",
            .path = arena_printf(arena, "/api/v1/operations/%lld?wait=1", said->id)};
        err = client_call(client, &call, arena, &answer, info);
        if (err == ERR_OK) {
            *body = answer.body;
            read_operation(*body, said);
        }
    }
    if (tell) {
        IGNORE_RESULT(fputs("\r\x1b[K", stderr));
    }
    return err;
}

static void tell_dry_run(const struct operation_said *said)
{
    if (said->plan == 0) {
        IGNORE_RESULT(fprintf(
            stderr, "shadowcast: a dry run: nothing has changed; say --apply to do it%s%s\n",
            said->reason[0] != 0 ? "; " : "", said->reason)); /* nobody left to tell */
        return;
    }
    IGNORE_RESULT(
        fprintf(stderr,
                "shadowcast: a dry run: nothing has changed; it is plan %lld, at a price of %.4g "
                "lane-seconds (doing nothing: %.4g): plan show %lld, plan apply %lld\n",
                said->plan, said->cost, said->cost_nothing, said->plan, said->plan));
}

/* The exit code by what became of it. */
static int outcome(const struct operation_said *said)
{
    if (said->dry_run) {
        tell_dry_run(said);
        return EXIT_CODE_OK;
    }
    if (!said->final || strcmp(said->state, "done") == 0) {
        return EXIT_CODE_OK;
    }
    IGNORE_RESULT(fprintf(stderr, "shadowcast: operation %lld ended as %s: %s\n", said->id,
                          said->state, said->reason));
    for (int err = 1; err < ERR_COUNT; err++) {
        if (strcmp(err_name((enum err)err), said->result) == 0) {
            return (int)exit_code_of((enum err)err);
        }
    }
    return EXIT_CODE_FAILURE;
}

/* An order: a dry run unless --apply; then waited for unless --no-wait. */
static int give_order(const struct cli *cli, struct client_call *call)
{
    struct client *client = NULL;
    struct client_answer answer = {0};
    struct operation_said said = {0};
    struct err_info info;
    struct arena arena;
    arena_init(&arena, ANSWER_ARENA_MAX);
    int code = EXIT_CODE_OK;
    const char *key = cli_text(cli, "idempotency-key");
    call->headers[0] = key != NULL ? arena_printf(&arena, "Idempotency-Key: %s", key) : NULL;
    enum err err = client_new(cli, &client, &info);
    if (err == ERR_OK) {
        err = client_call(client, call, &arena, &answer, &info);
    }
    if (err == ERR_OK) {
        read_operation(answer.body, &said);
        if (!said.dry_run && !cli_flag(cli, "no-wait")) {
            err = wait_for(client, &arena, &said, &answer.body, &info);
        }
    }
    if (err == ERR_OK) {
        err = rows_print(cli, &operation_entity, answer.body, &info);
        code = outcome(&said);
    }
    client_free(client);
    arena_release(&arena);
    return err == ERR_OK ? code : client_fail(&info);
}

static int order(const struct cli *cli, const char *path, const char *query)
{
    struct arena arena;
    arena_init(&arena, PATH_ARENA_MAX);
    struct client_call call = {.method = "POST",
                               .path =
                                   arena_printf(&arena, "%s?apply=%s%s", path,
                                                cli_flag(cli, "apply") ? "true" : "false", query),
                               .body = STR(""),
                               .body_type = "application/json"};
    int code = give_order(cli, &call);
    arena_release(&arena);
    return code;
}

static int order_partition(const struct cli *cli, const char *verb, struct arena *arena,
                           const char *query)
{
    const char *path = partition_path(arena, cli->args[0], verb);
    return path != NULL ? order(cli, path, query) : EXIT_CODE_USAGE;
}

int verb_partition_split(const struct cli *cli)
{
    struct arena arena;
    arena_init(&arena, PATH_ARENA_MAX);
    const char *to = cli_text(cli, "to");
    const char *query = "";
    if (cli_given(cli, "border")) {
        query = arena_printf(&arena, "&border=%lld", (long long)cli_i64(cli, "border"));
    }
    if (to != NULL) {
        query = arena_printf(&arena, "%s&to=%s", query, client_escape(&arena, to));
    }
    int code = order_partition(cli, "/split", &arena, query);
    arena_release(&arena);
    return code;
}

int verb_partition_merge(const struct cli *cli)
{
    struct arena arena;
    arena_init(&arena, PATH_ARENA_MAX);
    const char *query = arena_printf(&arena, "&with=%s", client_escape(&arena, cli->args[1]));
    int code = order_partition(cli, "/merge", &arena, query);
    arena_release(&arena);
    return code;
}

int verb_partition_migrate(const struct cli *cli)
{
    struct arena arena;
    arena_init(&arena, PATH_ARENA_MAX);
    const char *query = arena_printf(&arena, "&to=%s", client_escape(&arena, cli->args[1]));
    int code = order_partition(cli, "/migrate", &arena, query);
    arena_release(&arena);
    return code;
}

static int order_node(const struct cli *cli, const char *verb)
{
    struct arena arena;
    arena_init(&arena, PATH_ARENA_MAX);
    int code = order(
        cli, arena_printf(&arena, "/api/v1/nodes/%s/%s", client_escape(&arena, cli->args[0]), verb),
        "");
    arena_release(&arena);
    return code;
}

int verb_node_add(const struct cli *cli)
{
    return order_node(cli, "add");
}

int verb_node_drain(const struct cli *cli)
{
    return order_node(cli, "drain");
}

/* --- pipelines --- */

int verb_pipeline_show(const struct cli *cli)
{
    struct arena arena;
    struct client *client = NULL;
    struct client_answer answer = {0};
    struct err_info info;
    arena_init(&arena, ANSWER_ARENA_MAX);
    const char *name = client_escape(&arena, cli->args[0]);
    if (!cli_flag(cli, "text")) {
        int code =
            ask(cli,
                &(struct client_call){.method = "GET",
                                      .path = arena_printf(&arena, "/api/v1/pipelines/%s", name)},
                &pipeline_entity);
        arena_release(&arena);
        return code;
    }
    enum err err = client_new(cli, &client, &info);
    if (err == ERR_OK) {
        struct client_call call = {.method = "GET",
                                   .path = arena_printf(&arena, "/api/v1/pipelines/%s/text", name)};
        err = client_call(client, &call, &arena, &answer, &info);
    }
    if (err == ERR_OK) {
        IGNORE_RESULT(
            fwrite(answer.body.ptr, 1, (size_t)answer.body.len, stdout)); /* main() judges stdout */
    }
    client_free(client);
    arena_release(&arena);
    return err == ERR_OK ? EXIT_CODE_OK : client_fail(&info);
}

int verb_pipeline_replace(const struct cli *cli)
{
    struct arena arena;
    struct err_info info;
    struct str text = {0};
    arena_init(&arena, ANSWER_ARENA_MAX);
    enum err err = read_file(&arena, cli->args[1], YAML_BYTES_MAX, &text, &info);
    if (err != ERR_OK) {
        arena_release(&arena);
        return client_fail(&info);
    }
    struct client_call call = {
        .method = "PUT",
        .path = arena_printf(&arena, "/api/v1/pipelines/%s/text?apply=%s%s",
                             client_escape(&arena, cli->args[0]),
                             cli_flag(cli, "apply") ? "true" : "false",
                             cli_flag(cli, "drop-state") ? "&drop_state=true" : ""),
        .body = text,
        .body_type = "application/yaml"};
    int code = give_order(cli, &call);
    arena_release(&arena);
    return code;
}

/* --- operations --- */

static int ask_operation(const struct cli *cli, const char *method, const char *rest)
{
    struct arena arena;
    arena_init(&arena, PATH_ARENA_MAX);
    struct client_call call = {.method = method,
                               .path = arena_printf(&arena, "/api/v1/operations/%s%s",
                                                    client_escape(&arena, cli->args[0]), rest)};
    if (strcmp(method, "POST") == 0) {
        call.body = STR("");
        call.body_type = "application/json";
    }
    int code = ask(cli, &call, &operation_entity);
    arena_release(&arena);
    return code;
}

int verb_operation_show(const struct cli *cli)
{
    return ask_operation(cli, "GET", "");
}

int verb_operation_cancel(const struct cli *cli)
{
    return ask_operation(cli, "POST", "/cancel");
}
