// SPDX-License-Identifier: Apache-2.0
#include "raw_http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"

enum { CALL_TIMEOUT_MS = 20000 };

int raw_connect(int port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0);
    return fd;
}

bool raw_send(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static bool is_whole(const struct raw_reply *reply)
{
    const char *end = strstr(reply->text, "\r\n\r\n");
    char length[24];
    if (end == NULL) {
        return false;
    }
    if (!raw_header(reply, "Content-Length", length, sizeof(length))) {
        return strstr(reply->text, " 204 ") != NULL;
    }
    return reply->len >= (end + 4 - reply->text) + strtol(length, NULL, 10);
}

void raw_read(int fd, int timeout_ms, bool one, struct raw_reply *ret_reply)
{
    *ret_reply = (struct raw_reply){.status = 0};
    while (!(one && is_whole(ret_reply)) &&
           ret_reply->len < (ptrdiff_t)sizeof(ret_reply->text) - 1) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, timeout_ms) <= 0) {
            break;
        }
        ssize_t n = recv(fd, ret_reply->text + ret_reply->len,
                         sizeof(ret_reply->text) - 1 - (size_t)ret_reply->len, 0);
        if (n <= 0) {
            ret_reply->closed = true;
            break;
        }
        ret_reply->len += n;
    }
    ret_reply->text[ret_reply->len] = 0;
    for (const char *at = ret_reply->text; (at = strstr(at, "HTTP/1.1 ")) != NULL; at += 9) {
        ret_reply->responses++;
    }
    if (strncmp(ret_reply->text, "HTTP/1.1 ", 9) == 0) {
        ret_reply->status = (int)strtol(ret_reply->text + 9, NULL, 10);
    }
}

void raw_call(int port, const char *request, struct raw_reply *ret_reply)
{
    int fd = raw_connect(port);
    IGNORE_RESULT(raw_send(fd, request, strlen(request))); /* a server may refuse half way */
    raw_read(fd, CALL_TIMEOUT_MS, true, ret_reply);
    CHECK(close(fd) == 0);
}

const char *raw_body(const struct raw_reply *reply)
{
    const char *end = strstr(reply->text, "\r\n\r\n");
    return end != NULL ? end + 4 : "";
}

bool raw_header(const struct raw_reply *reply, const char *name, char *buf, size_t cap)
{
    size_t name_len = strlen(name);
    const char *end = strstr(reply->text, "\r\n\r\n");
    for (const char *line = strstr(reply->text, "\r\n"); line != NULL && line < end;
         line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, name_len) == 0 && line[2 + name_len] == ':') {
            const char *value = line + 2 + name_len + 1;
            value += strspn(value, " ");
            size_t len = strcspn(value, "\r\n");
            len = len < cap - 1 ? len : cap - 1;
            memcpy(buf, value, len);
            buf[len] = 0;
            return true;
        }
    }
    return false;
}
