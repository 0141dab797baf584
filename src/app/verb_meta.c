// SPDX-License-Identifier: Apache-2.0
/* Verbs that tell about the program itself. */
#include "app/verbs.h"

#include "app/version.h"

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
    (void)cli;
    cli_print_manual(stdout);
    return EXIT_CODE_OK;
}

int verb_version(const struct cli *cli)
{
    (void)cli;
    IGNORE_RESULT(printf("shadowcast %s\n", SHADOWCAST_VERSION)); /* main() judges stdout */
    return EXIT_CODE_OK;
}
