// SPDX-License-Identifier: Apache-2.0
/* Verbs about shadows and candidates. A profile is printed as somebody on call reads it: answers first, then operators, then
 * figures, then what is behind them. */
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/ask.h"
#include "app/read_file.h"
#include "app/rows.h"
#include "app/verbs.h"
#include "base/check.h"
#include "base/yaml.h"

enum { ANSWER_ARENA_MAX = 256 << 20, PATH_ARENA_MAX = 1 << 20 };

static bool is_candidate(const struct cli *cli)
{
    return str_starts_with(str_of(cli->verb->name), STR("candidate"));
}

static const char *path_of(const struct cli *cli, struct arena *arena, const char *rest)
{
    const char *base = is_candidate(cli) ? "/api/v1/candidates" : "/api/v1/shadows";
    if (cli->arg_count == 0) {
        return arena_printf(arena, "%s%s", base, rest);
    }
    return arena_printf(arena, "%s/%s%s", base, client_escape(arena, cli->args[0]), rest);
}

/* One call without a body, one table. */
static int ask_one(const struct cli *cli, const char *method, const char *rest,
                   const struct entity *entity)
{
    struct arena arena;
    arena_init(&arena, PATH_ARENA_MAX);
    struct client_call call = {.method = method, .path = path_of(cli, &arena, rest)};
    int code = ask(cli, &call, entity);
    arena_release(&arena);
    return code;
}

int verb_shadow_list(const struct cli *cli)
{
    return ask_one(cli, "GET", cli_flag(cli, "active") ? "?active=true" : "", &shadow_entity);
}

int verb_shadow_stores(const struct cli *cli)
{
    return ask(cli, &(struct client_call){.method = "GET", .path = "/api/v1/stores"},
               &store_entity);
}

int verb_shadow_show(const struct cli *cli)
{
    return ask_one(cli, "GET", "", &shadow_entity);
}

int verb_shadow_stop(const struct cli *cli)
{
    return ask_one(cli, "DELETE", "", &shadow_entity);
}

int verb_shadow_compare(const struct cli *cli)
{
    struct arena arena;
    arena_init(&arena, PATH_ARENA_MAX);
    struct client_call call = {.method = "GET",
                               .path = arena_printf(&arena, "/api/v1/shadows/%s/compare?with=%s",
                                                    client_escape(&arena, cli->args[0]),
                                                    client_escape(&arena, cli->args[1]))};
    int code = ask(cli, &call, &difference_entity);
    arena_release(&arena);
    return code;
}

/* --- start --- */

/* Options of an order as name and JSON or query value. */
static const char *const order_words[] = {"store", "sampling", "transport", "feed"};

/* An option as a member, if it is given; a duration in seconds. */
static void add_option(const struct cli *cli, json_t *body, const char *option, const char *name,
                       bool duration)
{
    if (cli_given(cli, option)) {
        double value = duration ? (double)cli_i64(cli, option) / 1e9 : cli_f64(cli, option);
        CHECK(json_object_set_new(body, name, json_real(value)) == 0);
    }
}

static json_t *shadow_body(const struct cli *cli)
{
    json_t *body = json_object();
    CHECK(json_object_set_new(body, "partition", json_string(cli->args[0])) == 0);
    add_option(cli, body, "percent", "percent", false);
    add_option(cli, body, "duration", "duration_seconds", true);
    for (ptrdiff_t i = 0; i < COUNT_OF(order_words); i++) {
        if (cli_given(cli, order_words[i])) {
            CHECK(json_object_set_new(body, order_words[i],
                                      json_string(cli_text(cli, order_words[i]))) == 0);
        }
    }
    CHECK(json_object_set_new(body, "twin", json_boolean(cli_flag(cli, "twin"))) == 0);
    CHECK(json_object_set_new(body, "adaptive", json_boolean(cli_flag(cli, "adaptive"))) == 0);
    return body;
}

static void add_key(const struct cli *cli, struct client_call *call, struct arena *arena)
{
    const char *key = cli_text(cli, "idempotency-key");
    call->headers[0] = key != NULL ? arena_printf(arena, "Idempotency-Key: %s", key) : NULL;
}

int verb_shadow_start(const struct cli *cli)
{
    struct arena arena;
    arena_init(&arena, PATH_ARENA_MAX);
    json_t *body = shadow_body(cli);
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    if (text == NULL) { /* an argument that is no UTF-8 */
        arena_release(&arena);
        return client_wrong_call("shadow start: the partition's id is no text");
    }
    struct client_call call = {.method = "POST",
                               .path = "/api/v1/shadows",
                               .body = str_of(text),
                               .body_type = "application/json"};
    add_key(cli, &call, &arena);
    int code = ask(cli, &call, &shadow_entity);
    free(text);
    arena_release(&arena);
    return code;
}

static const char *candidate_path(const struct cli *cli, struct arena *arena)
{
    const char *path =
        arena_printf(arena, "/api/v1/candidates?partition=%s", client_escape(arena, cli->args[0]));
    if (cli_given(cli, "percent")) {
        path = arena_printf(arena, "%s&percent=%.17g", path, cli_f64(cli, "percent"));
    }
    if (cli_given(cli, "duration")) {
        path = arena_printf(arena, "%s&duration_seconds=%.17g", path,
                            (double)cli_i64(cli, "duration") / 1e9);
    }
    for (ptrdiff_t i = 0; i < COUNT_OF(order_words); i++) {
        if (cli_given(cli, order_words[i])) {
            path = arena_printf(arena, "%s&%s=%s", path, order_words[i],
                                client_escape(arena, cli_text(cli, order_words[i])));
        }
    }
    if (cli_given(cli, "set")) {
        path = arena_printf(arena, "%s&set=%s", path, client_escape(arena, cli_text(cli, "set")));
    }
    return arena_printf(arena, "%s%s&adaptive=%s", path,
                        cli_flag(cli, "drop-state") ? "&drop_state=true" : "",
                        cli_flag(cli, "adaptive") ? "true" : "false");
}

int verb_candidate_start(const struct cli *cli)
{
    struct arena arena;
    struct err_info info;
    struct str text = STR("");
    const char *file = cli_text(cli, "file");
    if ((file != NULL) == cli_given(cli, "set")) {
        return client_wrong_call("candidate start: give either --set operator.key=value or --file, "
                                 "another configuration");
    }
    arena_init(&arena, ANSWER_ARENA_MAX);
    enum err err = file != NULL ? read_file(&arena, file, YAML_BYTES_MAX, &text, &info) : ERR_OK;
    if (err != ERR_OK) {
        arena_release(&arena);
        return client_fail(&info);
    }
    struct client_call call = {.method = "POST",
                               .path = candidate_path(cli, &arena),
                               .body = text,
                               .body_type = "application/yaml"};
    add_key(cli, &call, &arena);
    int code = ask(cli, &call, &shadow_entity);
    arena_release(&arena);
    return code;
}

/* --- profile --- */

static void print_answers(const json_t *answers)
{
    size_t index = 0;
    json_t *row = NULL;
    json_array_foreach(answers, index, row)
    {
        const char *question = json_string_value(json_object_get(row, "question"));
        const char *answer = json_string_value(json_object_get(row, "answer"));
        IGNORE_RESULT(printf("  %s?\n      %s\n", question != NULL ? question : "",
                             answer != NULL ? answer : "")); /* main() judges stdout */
    }
}

static enum err print_list(const char *title, const struct entity *entity, json_t *list,
                           struct err_info *info)
{
    if (json_array_size(list) == 0) {
        return ERR_OK;
    }
    json_t *root = json_object();
    CHECK(json_object_set(root, "items", list) == 0);
    char *text = json_dumps(root, JSON_COMPACT);
    IGNORE_RESULT(printf("\n%s\n", title)); /* main() judges stdout */
    enum err err = rows_print_table(stdout, entity, str_of(text), info);
    json_decref(root);
    free(text);
    return err;
}

static enum err print_profile(const struct cli *cli, struct str body, struct err_info *info)
{
    if (strcmp(cli_text(cli, "output"), "json") == 0) {
        IGNORE_RESULT(fwrite(body.ptr, 1, (size_t)body.len, stdout)); /* main() judges stdout */
        return ERR_OK;
    }
    json_t *root = json_loadb(body.ptr, (size_t)body.len, 0, NULL);
    if (!json_is_object(root)) {
        json_decref(root);
        return err_set(info, ERR_PARSE, "the answer is no profile");
    }
    const json_t *shadow = json_object_get(root, "shadow");
    const char *words[3] = {"kind", "partition", "state"};
    for (int i = 0; i < 3; i++) {
        const char *word = json_string_value(json_object_get(shadow, words[i]));
        words[i] = word != NULL ? word : "";
    }
    IGNORE_RESULT(printf("%s %lld of %s, %s, %.3g %% of the records\n\n", words[0],
                         (long long)json_integer_value(json_object_get(shadow, "id")), words[1],
                         words[2], json_number_value(json_object_get(shadow, "percent"))));
    print_answers(json_object_get(root, "answers"));
    enum err err =
        print_list("operators", &operator_entity, json_object_get(root, "operators"), info);
    err = err == ERR_OK ? print_list("figures, with 95 % intervals", &figure_entity,
                                     json_object_get(root, "figures"), info)
                        : err;
    err = err == ERR_OK ? print_list("heaviest keys of the partition", &heavy_key_entity,
                                     json_object_get(root, "heavy_keys"), info)
                        : err;
    err = err == ERR_OK ? print_list("judgements", &percent_step_entity,
                                     json_object_get(root, "percent_steps"), info)
                        : err;
    err = err == ERR_OK ? print_list("results that differ, the first ones", &example_entity,
                                     json_object_get(root, "examples"), info)
                        : err;
    json_decref(root);
    return err;
}

static int ask_text(const struct cli *cli, const char *rest, bool profile)
{
    struct client *client = NULL;
    struct client_answer answer = {0};
    struct err_info info;
    struct arena arena;
    arena_init(&arena, ANSWER_ARENA_MAX);
    struct client_call call = {.method = "GET", .path = path_of(cli, &arena, rest)};
    enum err err = client_new(cli, &client, &info);
    if (err == ERR_OK) {
        err = client_call(client, &call, &arena, &answer, &info);
    }
    if (err == ERR_OK && profile) {
        err = print_profile(cli, answer.body, &info);
    } else if (err == ERR_OK) {
        IGNORE_RESULT(fwrite(answer.body.ptr, 1, (size_t)answer.body.len, stdout));
    }
    client_free(client);
    arena_release(&arena);
    return err == ERR_OK ? EXIT_CODE_OK : client_fail(&info);
}

int verb_shadow_profile(const struct cli *cli)
{
    return ask_text(cli, "/profile", true);
}

int verb_candidate_show(const struct cli *cli)
{
    return cli_flag(cli, "text") ? ask_text(cli, "/text", false) : ask_text(cli, "/profile", true);
}

/* --- settings of a pipeline --- */

int verb_shadow_settings(const struct cli *cli)
{
    struct arena arena;
    arena_init(&arena, PATH_ARENA_MAX);
    json_t *body = json_object();
    add_option(cli, body, "percent", "percent", false);
    add_option(cli, body, "threshold", "threshold_ratio", false);
    add_option(cli, body, "sustain", "sustain_seconds", true);
    add_option(cli, body, "duration", "duration_seconds", true);
    add_option(cli, body, "budget", "budget_ratio", false);
    add_option(cli, body, "budget-cores", "budget_cores", false);
    if (cli_given(cli, "store")) {
        CHECK(json_object_set_new(body, "store", json_string(cli_text(cli, "store"))) == 0);
    }
    if (cli_given(cli, "automatic")) {
        CHECK(json_object_set_new(body, "automatic", json_string(cli_text(cli, "automatic"))) == 0);
    }
    bool set = json_object_size(body) > 0;
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    struct client_call call = {.method = set ? "PUT" : "GET",
                               .path = arena_printf(&arena, "/api/v1/pipelines/%s/shadowing",
                                                    client_escape(&arena, cli->args[0])),
                               .body = set ? str_of(text) : (struct str){NULL, 0},
                               .body_type = "application/json"};
    int code = ask(cli, &call, &shadowing_entity);
    free(text);
    arena_release(&arena);
    return code;
}
