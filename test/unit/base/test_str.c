// SPDX-License-Identifier: Apache-2.0
#include "base/str.h"

#include "test.h"

TEST(str_compare_orders_by_bytes_then_length)
{
    EXPECT(str_compare(STR("a"), STR("b")) < 0);
    EXPECT(str_compare(STR("ab"), STR("a")) > 0);
    EXPECT(str_compare(STR(""), (struct str){NULL, 0}) == 0);
    EXPECT(str_compare(STR("\xff"), STR("a")) > 0);
}

TEST(str_cut_walks_the_parts)
{
    struct str rest = STR("a,,b");
    EXPECT_STR(str_cut(&rest, ','), STR("a"));
    EXPECT_STR(str_cut(&rest, ','), STR(""));
    EXPECT_STR(str_cut(&rest, ','), STR("b"));
    EXPECT(rest.ptr == NULL && rest.len == 0);
}

TEST(str_trim_find_and_ends)
{
    EXPECT_STR(str_trim(STR(" \t x y\r\n")), STR("x y"));
    EXPECT_INT(str_find(STR("hello"), STR("l")), 2);
    EXPECT_INT(str_find(STR("he"), STR("hello")), -1);
    EXPECT(str_starts_with(STR("hello"), STR("he")) && str_ends_with(STR("hello"), STR("lo")));
    EXPECT(!str_ends_with(STR("lo"), STR("hello")));
}
