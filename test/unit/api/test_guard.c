// SPDX-License-Identifier: Apache-2.0
#include "api/guard.h"

#include <stdio.h>

#include "test.h"

/* Judges header lines "Name: value" (a name ends at its last blank or colon). */
static enum guard_verdict judge(const char *lines)
{
    struct guard_headers headers;
    struct str rest = str_of(lines);
    guard_headers_init(&headers);
    while (rest.ptr != NULL && rest.len > 0) {
        struct str value = str_cut(&rest, '\n');
        struct str name = str_cut(&value, ':');
        guard_headers_add(&headers, name, str_trim(value));
    }
    return guard_headers_end(&headers);
}

TEST(ordinary_requests_pass_the_guard)
{
    EXPECT_INT(judge("Host: a\nContent-Length: 5\nAccept: */*"), GUARD_OK);
    EXPECT_INT(judge("host: a"), GUARD_OK);
    EXPECT_INT(guard_uri(STR("/api/v1/streams?limit=5&x=%41")), GUARD_OK);
}

TEST(what_smuggles_is_refused)
{
    EXPECT_INT(judge("Host: a\nContent-Length: 5\nContent-Length: 6"), GUARD_LENGTH_TWICE);
    EXPECT_INT(judge("Host: a\nContent-Length: 5\ncontent-length: 5"), GUARD_LENGTH_TWICE);
    EXPECT_INT(judge("Host: a\nTransfer-Encoding: chunked"), GUARD_TRANSFER_ENCODING);
    EXPECT_INT(judge("Host: a\nContent-Length: 5\nTransfer-Encoding: x"), GUARD_TRANSFER_ENCODING);
    EXPECT_INT(judge("Host: a\nContent-Length : 5"), GUARD_HEADER_NAME);
    EXPECT_INT(judge("Host: a\n: 5"), GUARD_HEADER_NAME);
    EXPECT_INT(judge("Host: a\nHost: b"), GUARD_HOST_TWICE);
    EXPECT_INT(judge("Accept: a"), GUARD_HOST_MISSING);
}

TEST(a_length_is_one_to_ten_digits)
{
    static const char *const wrong[] = {
        "+5", "-5", "0x5", "5,5", "5 5", "", "12345678901", "99999999999999999999", "5a"};
    for (int i = 0; i < (int)COUNT_OF(wrong); i++) {
        char lines[128];
        IGNORE_RESULT(snprintf(lines, sizeof(lines), "Host: a\nContent-Length: %s", wrong[i]));
        EXPECT_MSG(judge(lines) == GUARD_LENGTH_BAD, "'%s' was taken", wrong[i]);
    }
    EXPECT_INT(judge("Host: a\nContent-Length: 1234567890"), GUARD_OK);
}

TEST(too_many_or_too_long_headers_are_refused_at_the_bound)
{
    struct guard_headers headers;
    static char big[GUARD_HEADER_BYTES_MAX];
    guard_headers_init(&headers);
    guard_headers_add(&headers, STR("Host"), STR("a"));
    for (int i = 1; i < GUARD_HEADERS_MAX; i++) {
        guard_headers_add(&headers, STR("X"), STR("y"));
    }
    EXPECT_INT(guard_headers_end(&headers), GUARD_OK);
    guard_headers_add(&headers, STR("X"), STR("y"));
    EXPECT_INT(guard_headers_end(&headers), GUARD_HEADER_COUNT);
    memset(big, 'a', sizeof(big));
    guard_headers_init(&headers);
    guard_headers_add(&headers, STR("Host"), (struct str){big, GUARD_HEADER_BYTES_MAX - 4});
    EXPECT_INT(guard_headers_end(&headers), GUARD_OK);
    guard_headers_add(&headers, STR("X"), STR(""));
    EXPECT_INT(guard_headers_end(&headers), GUARD_HEADER_BYTES);
}

TEST(targets_with_a_hidden_nul_odd_bytes_or_too_long_are_refused)
{
    static char big[GUARD_URI_MAX + 1];
    memset(big, 'a', sizeof(big));
    EXPECT_INT(guard_uri(STR("/a%00b")), GUARD_URI_NUL);
    EXPECT_INT(guard_uri(STR("/a?b=%00")), GUARD_URI_NUL);
    EXPECT_INT(guard_uri(STR("/a\tb")), GUARD_URI_BYTES);
    EXPECT_INT(guard_uri(STR("/a\xff")), GUARD_URI_BYTES);
    EXPECT_INT(guard_uri((struct str){big, GUARD_URI_MAX}), GUARD_OK);
    EXPECT_INT(guard_uri((struct str){big, GUARD_URI_MAX + 1}), GUARD_URI_LONG);
}
