// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"

#include <errno.h>
#include <string.h>

#include "test.h"

TEST(err_set_keeps_code_and_text_and_takes_no_info)
{
    struct err_info info = {0};
    EXPECT(err_set(&info, ERR_LIMIT, "%d of %d", 5, 4) == ERR_LIMIT);
    EXPECT(info.code == ERR_LIMIT && strcmp(info.text, "5 of 4") == 0 && info.sys_errno == 0);
    EXPECT(err_set(NULL, ERR_IO, "x") == ERR_IO);
}

TEST(err_set_cuts_long_text)
{
    struct err_info info;
    char text[400];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    EXPECT(err_set_sys(&info, ERR_IO, ENOSPC, "%s", text) == ERR_IO);
    EXPECT_INT(strlen(info.text), ERR_TEXT_MAX - 1);
}

TEST(err_set_sys_appends_the_reason)
{
    struct err_info info;
    EXPECT(err_set_sys(&info, ERR_NO_SPACE, ENOSPC, "write journal") == ERR_NO_SPACE);
    EXPECT(strstr(info.text, "write journal: No space left") == info.text);
    EXPECT_INT(info.sys_errno, ENOSPC);
}

TEST(every_error_has_a_name_a_text_and_a_status)
{
    for (int i = 0; i < ERR_COUNT; i++) {
        EXPECT(err_name((enum err)i)[0] != 0 && err_text((enum err)i)[0] != 0);
        EXPECT(err_http_status((enum err)i) >= 200 && err_http_status((enum err)i) < 600);
    }
}
