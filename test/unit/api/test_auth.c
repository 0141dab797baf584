// SPDX-License-Identifier: Apache-2.0
#include "api/auth.h"

#include <stdio.h>

#include "test.h"

static struct auth auth;

static const struct auth_token *find(const char *scheme, const char *token)
{
    char header[256];
    IGNORE_RESULT(snprintf(header, sizeof(header), "%s%s", scheme, token));
    return auth_find(&auth, str_of(header));
}

TEST(only_the_very_token_is_found)
{
    char one[AUTH_TOKEN_HEX + 1];
    char two[AUTH_TOKEN_HEX + 1];
    auth_token_make(one);
    auth_token_make(two);
    auth = (struct auth){.count = 0};
    EXPECT_INT(auth_add(&auth, str_of(one), ROLE_ADMIN, STR("first"), NULL), ERR_OK);
    EXPECT(strcmp(one, two) != 0);
    EXPECT(find("Bearer ", one) == &auth.tokens[0]);
    EXPECT(find("bearer ", one) == &auth.tokens[0]);
    EXPECT(find("Bearer ", two) == NULL);
    EXPECT(find("Basic ", one) == NULL);
    EXPECT(find("", one) == NULL);
    EXPECT(find("Bearer ", "") == NULL);
    one[63] = one[63] == '0' ? '1' : '0';
    EXPECT(find("Bearer ", one) == NULL);
    EXPECT(auth_find(&auth, (struct str){NULL, 0}) == NULL);
}

TEST(tokens_are_kept_and_read_as_hashes)
{
    char token[AUTH_TOKEN_HEX + 1];
    char hex[AUTH_TOKEN_HEX + 1];
    char file[256];
    uint8_t hash[AUTH_HASH_BYTES];
    struct err_info info;
    auth_token_make(token);
    auth_hash(str_of(token), hash);
    auth_hex(hash, hex);
    IGNORE_RESULT(snprintf(file, sizeof(file), "# tokens\n\n%s viewer grafana\n", hex));
    auth = (struct auth){.count = 0};
    EXPECT_INT(auth_load(&auth, "tokens", str_of(file), &info), ERR_OK);
    EXPECT_INT(auth.count, 1);
    const struct auth_token *found = find("Bearer ", token);
    EXPECT(found != NULL && found->role == ROLE_VIEWER && strcmp(found->name, "grafana") == 0);
    EXPECT_INT(auth_load(&auth, "tokens", STR("# a\nabc viewer x"), &info), ERR_PARSE);
    EXPECT(strstr(info.text, "tokens:2:") != NULL);
    IGNORE_RESULT(snprintf(file, sizeof(file), "%s king x\n", hex));
    EXPECT_INT(auth_load(&auth, "tokens", str_of(file), &info), ERR_PARSE);
    IGNORE_RESULT(snprintf(file, sizeof(file), "%s admin \n", hex));
    EXPECT_INT(auth_load(&auth, "tokens", str_of(file), &info), ERR_INVALID);
}
