// SPDX-License-Identifier: Apache-2.0
#include "app/ask.h"

#include "app/rows.h"

enum { ANSWER_ARENA_MAX = 256 << 20 };

int ask(const struct cli *cli, const struct client_call *call, const struct entity *entity)
{
    struct client *client = NULL;
    struct client_answer answer = {0};
    struct err_info info;
    struct arena arena;
    arena_init(&arena, ANSWER_ARENA_MAX);
    enum err err = client_new(cli, &client, &info);
    if (err == ERR_OK) {
        err = client_call(client, call, &arena, &answer, &info);
    }
    if (err == ERR_OK && entity != NULL) {
        err = rows_print(cli, entity, answer.body, &info);
    }
    client_free(client);
    arena_release(&arena);
    return err == ERR_OK ? EXIT_CODE_OK : client_fail(&info);
}
