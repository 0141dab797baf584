// SPDX-License-Identifier: Apache-2.0
/* Verbs about the manager: what was measured, what is expected. */
#include "app/ask.h"
#include "app/verbs.h"
#include "base/check.h"

enum { PATH_ARENA_MAX = 1 << 20 };

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
