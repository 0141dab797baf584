// SPDX-License-Identifier: Apache-2.0
#ifndef API_GUARD_H
#define API_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* The guard in front of the HTTP library: what a request line and headers must look like before anything else looks at
 * them. The library alone lets two lengths, a length beside chunks and much else through, which is how requests are
 * smuggled. Pure: the server hands in what it was given. All that is refused here closes the connection. */

enum {
    GUARD_URI_MAX = 4096,
    GUARD_HEADERS_MAX = 64,
    GUARD_HEADER_BYTES_MAX = 16 << 10, /* names and values together */
    GUARD_LENGTH_DIGITS_MAX = 10
};

/* X(name, HTTP status, text); GUARD_OK is first. */
#define GUARD_LIST(X) \
    X(OK, 200, "fine") \
    X(URI_LONG, 400, "the request target is longer than 4096 bytes") \
    X(URI_NUL, 400, "the request target holds an encoded NUL") \
    X(URI_BYTES, 400, "the request target holds bytes that do not belong there") \
    X(HEADER_COUNT, 400, "more than 64 header fields") \
    X(HEADER_BYTES, 400, "more than 16384 bytes of header fields") \
    X(HEADER_NAME, 400, "a header name is not a token (a blank before the colon?)") \
    X(HOST_MISSING, 400, "no Host header") \
    X(HOST_TWICE, 400, "more than one Host header") \
    X(LENGTH_TWICE, 400, "more than one Content-Length") \
    X(LENGTH_BAD, 400, "Content-Length is not 1 to 10 digits") \
    X(TRANSFER_ENCODING, 411, "Transfer-Encoding is not taken: send a Content-Length")

enum guard_verdict {
#define X(name, status, text) GUARD_##name,
    GUARD_LIST(X)
#undef X
        GUARD_COUNT
};

int guard_status(enum guard_verdict verdict);
const char *guard_text(enum guard_verdict verdict);

/* Judges the request target as it came, query included. */
enum guard_verdict guard_uri(struct str uri);

/* Collects header fields one by one, in any order. */
struct guard_headers {
    int count;
    int64_t bytes;
    int hosts, lengths;
    int64_t content_length;     /* -1: none */
    enum guard_verdict verdict; /* the first thing wrong */
};

void guard_headers_init(struct guard_headers *headers);
void guard_headers_add(struct guard_headers *headers, struct str name, struct str value);

/* After the last one. */
enum guard_verdict guard_headers_end(const struct guard_headers *headers);

/* Whether all bytes may stand in a header name (RFC 9110, token), and there is at least one. */
bool guard_is_token(struct str text);

/* Case-insensitive, ASCII. */
bool guard_name_is(struct str name, const char *wanted);

#endif
