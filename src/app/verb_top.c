// SPDX-License-Identifier: Apache-2.0
/* `shadowcast top`: pipelines, nodes, lanes, partitions with their owners, changes, what is expected and what the
 * manager does on one page, again and again on a terminal. */
#include <unistd.h>

#include "app/client.h"
#include "app/rows.h"
#include "app/verbs.h"
#include "base/real/clock_real.h"

enum { ANSWER_ARENA_MAX = 256 << 20 };

struct panel {
    const char *title;
    const char *path;
    const struct entity *entity;
    bool optional; /* not there right after a start */
};

static enum err print_page(struct client *client, struct arena *arena, struct err_info *info)
{
    const struct panel panels[] = {
        {"pipelines", "/api/v1/pipelines", &pipeline_entity, false},
        {"nodes", "/api/v1/nodes", &node_entity, false},
        {"lanes", "/api/v1/lanes", &lane_entity, false},
        {"partitions", "/api/v1/partitions", &partition_entity, false},
        {"changes under way", "/api/v1/operations?active=true", &operation_entity, false},
        {"expected demand of the pipelines", "/api/v1/forecasts", &forecast_entity, true},
        {"manager", "/api/v1/manager", &manager_entity, true},
        {"plans", "/api/v1/plans?active=true", &plan_entity, true},
    };
    enum { PANELS = COUNT_OF(panels) };
    struct client_answer answers[PANELS];
    for (int i = 0; i < PANELS;
         i++) { /* all of them first: a page is printed whole or not at all */
        struct client_call call = {.method = "GET", .path = panels[i].path};
        enum err err = client_call(client, &call, arena, &answers[i], info);
        if (err == ERR_UNAVAILABLE && panels[i].optional) {
            answers[i] = (struct client_answer){.body = STR("{\"items\":[]}")};
            err = ERR_OK;
        }
        if (err != ERR_OK) {
            return err;
        }
    }
    if (isatty(STDOUT_FILENO) == 1) {
        IGNORE_RESULT(fputs("\x1b[H\x1b[2J", stdout)); /* home, clear; main() judges stdout */
    }
    for (int i = 0; i < PANELS; i++) {
        IGNORE_RESULT(printf("%s%s\n", i > 0 ? "\n" : "", panels[i].title));
        enum err err = rows_print_table(stdout, panels[i].entity, answers[i].body, info);
        if (err != ERR_OK) {
            return err;
        }
    }
    IGNORE_RESULT(fflush(stdout));
    return ERR_OK;
}

int verb_top(const struct cli *cli)
{
    struct client *client = NULL;
    struct err_info info;
    struct arena arena;
    arena_init(&arena, ANSWER_ARENA_MAX);
    bool again = isatty(STDOUT_FILENO) == 1 && !cli_flag(cli, "once");
    enum err err = client_new(cli, &client, &info);
    if (err == ERR_OK) {
        err = print_page(client, &arena, &info);
    }
    while (err == ERR_OK && again && !ferror(stdout)) {
        clock_real_sleep(cli_i64(cli, "every"));
        arena_reset(&arena);
        err = print_page(client, &arena, &info);
    }
    client_free(client);
    arena_release(&arena);
    return err == ERR_OK ? EXIT_CODE_OK : client_fail(&info);
}
