// SPDX-License-Identifier: Apache-2.0
#ifndef APP_CLIENT_H
#define APP_CLIENT_H

#include "app/cli.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/* What verbs that look at a running process ask it through: its HTTP API. The address is --url, or what the process left
 * in DATA/api; the token is what --token-file or DATA/token holds. Neither is ever printed. One thread. */

struct client;

enum { CLIENT_ANSWER_MAX = 64 << 20, CLIENT_HEADERS_MAX = 8 };

struct client_call {
    const char *method; /* "GET", "POST", "PATCH", "DELETE" */
    const char *path;   /* "/api/v1/streams", with its query; parts escaped by client_escape */
    const char *headers[CLIENT_HEADERS_MAX]; /* "Name: value"; ended by NULL */
    struct str body;                         /* ptr NULL: none */
    const char *body_type;                   /* with a body */
};

struct client_answer {
    int status;
    struct str body;     /* the arena's, 0 behind it */
    int64_t next_offset; /* of reads; -1: none given */
    int64_t end_offset;
    int64_t retry_after_s; /* 0: none given */
};

/* Reads address and token as the call's shared options say.
 * Errors: UNAVAILABLE (nothing in DATA tells of a running process), NOT_FOUND (no such token file), IO, INVALID. */
ATTR_NODISCARD enum err client_new(const struct cli *cli, struct client **ret_client,
                                   struct err_info *info);
void client_free(struct client *client);

/* Reads the address again: the process may have been restarted on another port. */
ATTR_NODISCARD enum err client_refresh(struct client *client, struct err_info *info);

/* One call. Any status but 2xx is an error whose text is the problem's detail.
 * Errors: UNAVAILABLE (cannot connect, or the connection broke), TIMEOUT, and what the status stands for. */
ATTR_NODISCARD enum err client_call(struct client *client, const struct client_call *call,
                                    struct arena *arena, struct client_answer *ret_answer,
                                    struct err_info *info);

/* `text` as part of a path or query, percent-encoded; the arena's. */
const char *client_escape(struct arena *arena, const char *text);

/* Prints "shadowcast: <text>" to stderr and gives the exit code. */
int client_fail(const struct err_info *info);

/* Says what is wrong with the call itself, as the parser does: the exit code for that. */
int client_wrong_call(const char *text);

#endif
