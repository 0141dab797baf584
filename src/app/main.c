// SPDX-License-Identifier: Apache-2.0
/* The program: finds the verb in the table and runs it. */
#include <errno.h>
#include <signal.h>

#include "app/cli.h"

/* Whether all that was printed arrived. A reader that went away (a closed pipe) has had enough: that is no failure. */
static int judge_stdout(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return code;
    }
    if (errno == EPIPE) {
        return code;
    }
    IGNORE_RESULT(fprintf(stderr, "shadowcast: cannot write to standard output\n")); /* last word */
    return code == EXIT_CODE_OK ? EXIT_CODE_FAILURE : code;
}

int main(int argc, char **argv)
{
    struct cli cli;
    struct err_info info;
    bool help = false;
    IGNORE_RESULT(signal(SIGPIPE, SIG_IGN)); /* writes say EPIPE instead; cannot fail */
    if (cli_parse(argc, argv, &cli, &help, &info) != ERR_OK) {
        IGNORE_RESULT(fprintf(stderr, "shadowcast: %s\n", info.text)); /* nobody left to tell */
        return EXIT_CODE_USAGE;
    }
    if (help) {
        cli_print_help(stdout, cli.verb);
        return judge_stdout(EXIT_CODE_OK);
    }
    return judge_stdout(cli.verb->run(&cli));
}
