// SPDX-License-Identifier: Apache-2.0
/* Verbs about the manager: what was measured, what is expected, what was decided. */
#include <jansson.h>
#include <stdlib.h>

#include "app/ask.h"
#include "app/rows.h"
#include "app/verbs.h"
#include "base/check.h"
#include "base/real/clock_real.h"

enum { PATH_ARENA_MAX = 1 << 20, ANSWER_ARENA_MAX = 256 << 20, WAIT_NS = 200000000 };

/* "path?a=b&subject=x" */
static int ask_about(const struct cli *cli, const char *path, const char *query,
                     const struct entity *entity)
{
    struct arena arena;
    arena_init(&arena, PATH_ARENA_MAX);
    if (cli->arg_count > 0) {
        query = arena_printf(&arena, "%s&subject=%s", query, client_escape(&arena, cli->args[0]));
    }
    struct client_call call = {.method = "GET",
                               .path =
                                   arena_printf(&arena, "%s%s%s", path, query[0] != 0 ? "?" : "",
                                                query[0] != 0 ? query + 1 : "")};
    int code = ask(cli, &call, entity);
    arena_release(&arena);
    return code;
}

int verb_forecast_show(const struct cli *cli)
{
    struct arena arena;
    arena_init(&arena, PATH_ARENA_MAX);
    const char *series = cli_text(cli, "series");
    const char *query = series != NULL ? arena_printf(&arena, "&series=%s", series) : "";
    int code = ask_about(cli, "/api/v1/forecasts", query, &forecast_entity);
    arena_release(&arena);
    return code;
}

int verb_sample_list(const struct cli *cli)
{
    struct arena arena;
    arena_init(&arena, PATH_ARENA_MAX);
    const char *kind = cli_text(cli, "kind");
    const char *query = arena_printf(&arena, "&limit=%lld%s", (long long)cli_i64(cli, "limit"),
                                     cli_flag(cli, "rolled") ? "&rolled=true" : "");
    if (kind != NULL) {
        query = arena_printf(&arena, "%s&kind=%s", query, kind);
    }
    if (cli_given(cli, "since")) {
        query = arena_printf(&arena, "%s&since=%lld", query,
                             (long long)(cli_i64(cli, "since") / 1000000000));
    }
    int code = ask_about(cli, "/api/v1/samples", query, &sample_entity);
    arena_release(&arena);
    return code;
}

int verb_correlation_list(const struct cli *cli)
{
    return ask(cli, &(struct client_call){.method = "GET", .path = "/api/v1/correlations"},
               &correlation_entity);
}

/* --- the manager --- */

int verb_manager_show(const struct cli *cli)
{
    return ask(cli, &(struct client_call){.method = "GET", .path = "/api/v1/manager"},
               &manager_entity);
}

int verb_manager_mode(const struct cli *cli)
{
    static const char *const modes[] = {"observe", "recommend", "act"};
    struct arena arena;
    const char *pipeline = cli_text(cli, "pipeline");
    bool known = false;
    for (ptrdiff_t i = 0; i < COUNT_OF(modes); i++) {
        known = known || strcmp(cli->args[0], modes[i]) == 0;
    }
    if (!known) {
        return client_wrong_call("manager mode: MODE is observe, recommend or act");
    }
    arena_init(&arena, PATH_ARENA_MAX);
    struct client_call call = {
        .method = "PATCH",
        .path = pipeline == NULL ? "/api/v1/manager"
                                 : arena_printf(&arena, "/api/v1/manager?pipeline=%s",
                                                client_escape(&arena, pipeline)),
        .body = str_of(arena_printf(&arena, "{\"mode\":\"%s\"}", cli->args[0])),
        .body_type = "application/json"};
    int code = ask(cli, &call, &manager_entity);
    arena_release(&arena);
    return code;
}

/* --- decisions and plans --- */

static int ask_list(const struct cli *cli, const char *path, const struct entity *entity)
{
    struct arena arena;
    arena_init(&arena, PATH_ARENA_MAX);
    struct client_call call = {
        .method = "GET",
        .path = arena_printf(&arena, "%slimit=%lld", path, (long long)cli_i64(cli, "limit"))};
    int code = ask(cli, &call, entity);
    arena_release(&arena);
    return code;
}

int verb_decision_list(const struct cli *cli)
{
    return ask_list(cli, "/api/v1/decisions?", &decision_entity);
}

int verb_plan_list(const struct cli *cli)
{
    return ask_list(cli, cli_flag(cli, "active") ? "/api/v1/plans?active=true&" : "/api/v1/plans?",
                    &plan_entity);
}

/* A member that is a list, as a table below the rest. */
static enum err print_list(const char *title, const struct entity *entity, json_t *list,
                           struct err_info *info)
{
    json_t *root = json_object();
    CHECK(json_object_set(root, "items", list) == 0);
    char *text = json_dumps(root, JSON_COMPACT);
    IGNORE_RESULT(printf("\n%s\n", title)); /* main() judges stdout */
    enum err err = rows_print_table(stdout, entity, str_of(text), info);
    json_decref(root);
    free(text);
    return err;
}

static enum err print_detail(const struct cli *cli, const struct entity *entity, struct str body,
                             struct err_info *info)
{
    if (strcmp(cli_text(cli, "output"), "table") != 0) {
        return rows_print(cli, entity, body, info);
    }
    json_t *root = json_loadb(body.ptr, (size_t)body.len, 0, NULL);
    const char *sentence = json_string_value(json_object_get(root, "sentence"));
    enum err err = ERR_OK;
    if (sentence != NULL) {
        IGNORE_RESULT(printf("%s\n", sentence)); /* main() judges stdout */
    } else {
        err = rows_print_table(stdout, entity, body, info);
    }
    if (err == ERR_OK) {
        err = print_list("options", &option_entity, json_object_get(root, "options"), info);
    }
    if (err == ERR_OK && json_array_size(json_object_get(root, "steps")) > 0) {
        err = print_list("steps", &step_entity, json_object_get(root, "steps"), info);
    }
    json_decref(root);
    return err;
}

static int show(const struct cli *cli, const char *path, const struct entity *entity)
{
    struct client *client = NULL;
    struct client_answer answer = {0};
    struct err_info info;
    struct arena arena;
    arena_init(&arena, ANSWER_ARENA_MAX);
    struct client_call call = {
        .method = "GET",
        .path = arena_printf(&arena, "%s/%s", path, client_escape(&arena, cli->args[0]))};
    enum err err = client_new(cli, &client, &info);
    err = err == ERR_OK ? client_call(client, &call, &arena, &answer, &info) : err;
    err = err == ERR_OK ? print_detail(cli, entity, answer.body, &info) : err;
    client_free(client);
    arena_release(&arena);
    return err == ERR_OK ? EXIT_CODE_OK : client_fail(&info);
}

int verb_decision_show(const struct cli *cli)
{
    return show(cli, "/api/v1/decisions", &decision_entity);
}

int verb_plan_show(const struct cli *cli)
{
    return show(cli, "/api/v1/plans", &plan_entity);
}

/* Whether the plan that was answered goes on by itself; `*ret_id` is its number. */
static bool goes_on(struct str body, long long *ret_id, bool *ret_failed)
{
    json_t *root = json_loadb(body.ptr, (size_t)body.len, 0, NULL);
    const char *state = json_string_value(json_object_get(root, "state"));
    *ret_id = (long long)json_integer_value(json_object_get(root, "id"));
    bool on = state != NULL && (strcmp(state, "approved") == 0 || strcmp(state, "applying") == 0);
    *ret_failed = state != NULL && strcmp(state, "failed") == 0;
    json_decref(root);
    return on;
}

/* An order that is answered with a plan, then waited for unless --no-wait. `then_apply`: the plan that was made is applied. */
static int order_plan_at(const struct cli *cli, const char *path, bool then_apply)
{
    struct client *client = NULL;
    struct client_answer answer = {0};
    struct err_info info;
    struct arena arena;
    long long id = 0;
    bool failed = false;
    arena_init(&arena, ANSWER_ARENA_MAX);
    struct client_call call = {
        .method = "POST", .path = path, .body = STR(""), .body_type = "application/json"};
    enum err err = client_new(cli, &client, &info);
    err = err == ERR_OK ? client_call(client, &call, &arena, &answer, &info) : err;
    if (err == ERR_OK && then_apply) {
        IGNORE_RESULT(goes_on(answer.body, &id, &failed)); /* its number is wanted */
        call.path = arena_printf(&arena, "/api/v1/plans/%lld/apply", id);
        err = client_call(client, &call, &arena, &answer, &info);
    }
    while (err == ERR_OK && goes_on(answer.body, &id, &failed) && !cli_flag(cli, "no-wait")) {
        clock_real_sleep(WAIT_NS);
        arena_reset(&arena);
        call = (struct client_call){.method = "GET",
                                    .path = arena_printf(&arena, "/api/v1/plans/%lld", id)};
        err = client_call(client, &call, &arena, &answer, &info);
    }
    err = err == ERR_OK ? rows_print(cli, &plan_entity, answer.body, &info) : err;
    client_free(client);
    arena_release(&arena);
    return err != ERR_OK ? client_fail(&info) : failed ? EXIT_CODE_FAILURE : EXIT_CODE_OK;
}

static int order_plan(const struct cli *cli, const char *verb)
{
    struct arena arena;
    arena_init(&arena, PATH_ARENA_MAX);
    int code = order_plan_at(
        cli, arena_printf(&arena, "/api/v1/plans/%s/%s", client_escape(&arena, cli->args[0]), verb),
        false);
    arena_release(&arena);
    return code;
}

int verb_candidate_promote(const struct cli *cli)
{
    struct arena arena;
    arena_init(&arena, PATH_ARENA_MAX);
    int code = order_plan_at(
        cli,
        arena_printf(&arena, "/api/v1/candidates/%s/promote", client_escape(&arena, cli->args[0])),
        cli_flag(cli, "apply"));
    arena_release(&arena);
    return code;
}

int verb_plan_apply(const struct cli *cli)
{
    return order_plan(cli, "apply");
}

int verb_plan_cancel(const struct cli *cli)
{
    return order_plan(cli, "cancel");
}

int verb_plan_undo(const struct cli *cli)
{
    return order_plan(cli, "undo");
}

int verb_plan_join(const struct cli *cli)
{
    struct arena arena;
    arena_init(&arena, PATH_ARENA_MAX);
    const char *path =
        arena_printf(&arena, "/api/v1/plans/%s/join?with=%s", client_escape(&arena, cli->args[0]),
                     client_escape(&arena, cli->args[1]));
    int code = order_plan_at(cli, path, cli_flag(cli, "apply"));
    arena_release(&arena);
    return code;
}
