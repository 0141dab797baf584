// SPDX-License-Identifier: Apache-2.0
#include "api/guard.h"

#include <strings.h>

#include "base/check.h"

static const struct {
    int status;
    const char *text;
} verdicts[GUARD_COUNT] = {
#define X(name, status_, text_) [GUARD_##name] = {.status = (status_), .text = (text_)},
    GUARD_LIST(X)
#undef X
};

int guard_status(enum guard_verdict verdict)
{
    CHECK((unsigned)verdict < GUARD_COUNT);
    return verdicts[verdict].status;
}

const char *guard_text(enum guard_verdict verdict)
{
    CHECK((unsigned)verdict < GUARD_COUNT);
    return verdicts[verdict].text;
}

enum guard_verdict guard_uri(struct str uri)
{
    if (uri.len > GUARD_URI_MAX) {
        return GUARD_URI_LONG;
    }
    for (ptrdiff_t i = 0; i < uri.len; i++) {
        unsigned char c = (unsigned char)uri.ptr[i];
        if (c <= 0x20 || c >= 0x7f) {
            return GUARD_URI_BYTES;
        }
        if (c == '%' && i + 2 < uri.len && uri.ptr[i + 1] == '0' && uri.ptr[i + 2] == '0') {
            return GUARD_URI_NUL;
        }
    }
    return uri.len > 0 ? GUARD_OK : GUARD_URI_BYTES;
}

bool guard_is_token(struct str text)
{
    for (ptrdiff_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!word && (c == 0 || strchr("!#$%&'*+-.^_`|~", c) == NULL)) {
            return false;
        }
    }
    return text.len > 0;
}

bool guard_name_is(struct str name, const char *wanted)
{
    return name.len == (ptrdiff_t)strlen(wanted) &&
           strncasecmp(name.ptr, wanted, (size_t)name.len) == 0;
}

void guard_headers_init(struct guard_headers *headers)
{
    *headers = (struct guard_headers){.content_length = -1, .verdict = GUARD_OK};
}

static void fail(struct guard_headers *headers, enum guard_verdict verdict)
{
    if (headers->verdict == GUARD_OK) {
        headers->verdict = verdict;
    }
}

static void add_length(struct guard_headers *headers, struct str value)
{
    int64_t length = 0;
    headers->lengths++;
    bool bad = value.len < 1 || value.len > GUARD_LENGTH_DIGITS_MAX;
    for (ptrdiff_t i = 0; i < value.len && !bad; i++) {
        bad = value.ptr[i] < '0' || value.ptr[i] > '9';
        length = length * 10 + (value.ptr[i] - '0');
    }
    if (bad) {
        fail(headers, GUARD_LENGTH_BAD);
    } else if (headers->lengths > 1) {
        fail(headers, GUARD_LENGTH_TWICE);
    } else {
        headers->content_length = length;
    }
}

void guard_headers_add(struct guard_headers *headers, struct str name, struct str value)
{
    headers->count++;
    headers->bytes += name.len + value.len;
    if (headers->count > GUARD_HEADERS_MAX) {
        fail(headers, GUARD_HEADER_COUNT);
    } else if (headers->bytes > GUARD_HEADER_BYTES_MAX) {
        fail(headers, GUARD_HEADER_BYTES);
    } else if (!guard_is_token(name)) {
        fail(headers, GUARD_HEADER_NAME);
    } else if (guard_name_is(name, "transfer-encoding")) {
        fail(headers, GUARD_TRANSFER_ENCODING);
    } else if (guard_name_is(name, "content-length")) {
        add_length(headers, value);
    } else if (guard_name_is(name, "host")) {
        headers->hosts++;
        if (headers->hosts > 1) {
            fail(headers, GUARD_HOST_TWICE);
        }
    }
}

enum guard_verdict guard_headers_end(const struct guard_headers *headers)
{
    if (headers->verdict != GUARD_OK) {
        return headers->verdict;
    }
    return headers->hosts == 1 ? GUARD_OK : GUARD_HOST_MISSING;
}
