// SPDX-License-Identifier: Apache-2.0
/* Verbs that tell about the program itself. */
#include "app/verbs.h"

#include <string.h>

#include "api/answer.h"
#include "app/version.h"

enum { MANUAL_MAX = 1 << 20 };

int verb_completion(const struct cli *cli)
{
    struct err_info info;
    enum err err = cli_print_completion(stdout, cli->arg_count > 0 ? cli->args[0] : "bash", &info);
    if (err != ERR_OK) {
        IGNORE_RESULT(fprintf(stderr, "shadowcast: %s\n", info.text)); /* nobody left to tell */
        return EXIT_CODE_USAGE;
    }
    return EXIT_CODE_OK;
}

int verb_manual(const struct cli *cli)
{
    const char *topic = cli->arg_count > 0 ? cli->args[0] : "cli";
    struct arena arena;
    struct text text;
    int code = EXIT_CODE_OK;
    arena_init(&arena, MANUAL_MAX);
    text_init(&text, &arena);
    if (strcmp(topic, "cli") == 0) {
        cli_print_manual(stdout);
    } else if (strcmp(topic, "routes") == 0) {
        answer_route_table(&text);
    } else if (strcmp(topic, "problems") == 0) {
        answer_problem_table(&text);
    } else if (strcmp(topic, "openapi") == 0) {
        answer_openapi(&text, SHADOWCAST_VERSION);
    } else {
        IGNORE_RESULT(fprintf(stderr, "shadowcast: no topic '%s': cli, routes, problems, openapi\n",
                              topic)); /* nobody left to tell */
        code = EXIT_CODE_USAGE;
    }
    if (text.len > 0) {
        IGNORE_RESULT(fwrite(text.ptr, 1, (size_t)text.len, stdout)); /* main() judges stdout */
    }
    arena_release(&arena);
    return code;
}

int verb_version(const struct cli *cli)
{
    (void)cli;
    IGNORE_RESULT(printf("shadowcast %s\n", SHADOWCAST_VERSION)); /* main() judges stdout */
    return EXIT_CODE_OK;
}
