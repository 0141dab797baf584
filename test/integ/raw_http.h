// SPDX-License-Identifier: Apache-2.0
#ifndef TEST_INTEG_RAW_HTTP_H
#define TEST_INTEG_RAW_HTTP_H

#include <stdbool.h>
#include <stddef.h>

/* A client that sends whatever bytes it is told, for tests of what a server does with them. */

struct raw_reply {
    int status;        /* of the first response; 0: none came */
    int responses;     /* responses in all that came ("HTTP/1.1 " at the begin of a status line) */
    bool closed;       /* the server closed the connection before the deadline */
    ptrdiff_t len;     /* of text */
    char text[262144]; /* all that came, 0 behind it */
};

/* Connects to 127.0.0.1; never fails (CHECK). */
int raw_connect(int port);

/* Sends all; false if the other side had closed. */
bool raw_send(int fd, const void *bytes, size_t len);

/* Reads until the server closes or `timeout_ms` has passed without a byte; fills `ret_reply`. With `one`: only until a
 * whole response with Content-Length is there. */
void raw_read(int fd, int timeout_ms, bool one, struct raw_reply *ret_reply);

/* One request on a connection of its own: connect, send, read, close. */
void raw_call(int port, const char *request, struct raw_reply *ret_reply);

/* The body of the first response. */
const char *raw_body(const struct raw_reply *reply);

/* Value of a header of the first response into `buf`; false if absent. */
bool raw_header(const struct raw_reply *reply, const char *name, char *buf, size_t cap);

#endif
