// SPDX-License-Identifier: Apache-2.0
#ifndef TEST_INTEG_PROGRAM_H
#define TEST_INTEG_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The real program, started and talked to. Its path is SHADOWCAST of the environment, or where the build leaves it. */

struct result {
    int code; /* exit code; 128 + signal if one ended it */
    char out[65536];
    char err[65536];
};

/* Runs a call written as one shell line, "$SC" being the program, with `input` as its standard input. All of it within a
 * minute, or it is killed and the code is 137. */
void program_run(const char *line, const char *input, struct result *ret_result);

/* Writes a file below test_dir(). */
void program_write(const char *name, const char *text);

/* A running `run`. */
struct running {
    pid_t pid;
    int port;
    char data[256];
    char token[65];
};

/* Starts `run FILE --data DATA --listen 0 ARGS` and waits until /readyz says 200, at most half a minute: CHECKed. FILE and
 * DATA are names below test_dir(). */
void program_start(const char *file, const char *data, const char *args,
                   struct running *ret_running);

/* Sends a signal and waits for the end; the exit code, or 128 + signal. */
int program_stop(struct running *running, int signal_number);

/* GET, POST ... with the admin token; `extra` header lines, each ended by CRLF; `body` may be NULL. Fills a reply. */
struct raw_reply;
void program_call(const struct running *running, const char *method, const char *path,
                  const char *extra, const char *body, struct raw_reply *ret_reply);

#endif
