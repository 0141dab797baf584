// SPDX-License-Identifier: Apache-2.0
#include "log/log.h"

#include "test.h"

TEST(stream_names_are_kafkas)
{
    static const char *const good[] = {"a",  "clicks", "sc.per_user.count.log", "A-Z_0.9", "...",
                                       ".a", "-"};
    static const char *const bad[] = {"",     ".",           "..",  "a b", "a/b",
                                      "../x", "caf\xc3\xa9", "a\n", "a:b", "*"};
    for (ptrdiff_t i = 0; i < COUNT_OF(good); i++) {
        EXPECT_MSG(log_name_valid(str_of(good[i])), "%s", good[i]);
    }
    for (ptrdiff_t i = 0; i < COUNT_OF(bad); i++) {
        EXPECT_MSG(!log_name_valid(str_of(bad[i])), "%s", bad[i]);
    }
    char text[LOG_NAME_MAX + 2];
    memset(text, 'x', sizeof text);
    EXPECT(log_name_valid((struct str){.ptr = text, .len = LOG_NAME_MAX}));
    EXPECT(!log_name_valid((struct str){.ptr = text, .len = LOG_NAME_MAX + 1}));
    EXPECT(!log_name_valid((struct str){.ptr = "a\0b", .len = 3}));
}

TEST(shard_of_a_key_is_what_java_producers_choose)
{
    /* murmur2 values of these keys as Kafka's clients give them, modulo 6. */
    EXPECT_INT(log_shard_of_key(STR("k"), 6), 2);
    EXPECT_INT(log_shard_of_key(STR("user-1"), 6), 2);
    EXPECT_INT(log_shard_of_key(STR("user-2"), 6), 2);
    EXPECT_INT(log_shard_of_key(STR("customer:42"), 6), 5);
    EXPECT_INT(log_shard_of_key(STR("kafka"), 6), 4);
    EXPECT_INT(log_shard_of_key(STR(""), 6), 3);
    EXPECT_INT(log_shard_of_key((struct str){0}, 6), 3);
    EXPECT_INT(log_shard_of_key(STR("anything"), 1), 0);
}
