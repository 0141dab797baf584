// SPDX-License-Identifier: Apache-2.0
#include "api/auth.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <strings.h>

#include "base/check.h"
#include "base/real/entropy.h"

static const char *const role_names[ROLE_COUNT] = {"none", "viewer", "operator", "admin"};

const char *role_name(enum role role)
{
    CHECK((unsigned)role < ROLE_COUNT);
    return role_names[role];
}

enum role role_of_name(struct str name)
{
    for (int i = ROLE_VIEWER; i < ROLE_COUNT; i++) {
        if (str_is(name, role_names[i])) {
            return (enum role)i;
        }
    }
    return ROLE_NONE;
}

void auth_hex(const uint8_t hash[AUTH_HASH_BYTES], char ret_text[AUTH_TOKEN_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < AUTH_HASH_BYTES; i++) {
        ret_text[2 * i] = digits[hash[i] >> 4];
        ret_text[2 * i + 1] = digits[hash[i] & 15];
    }
    ret_text[AUTH_TOKEN_HEX] = 0;
}

void auth_token_make(char ret_text[AUTH_TOKEN_HEX + 1])
{
    uint8_t bytes[AUTH_HASH_BYTES];
    entropy_fill(bytes, (ptrdiff_t)sizeof(bytes));
    auth_hex(bytes, ret_text);
    OPENSSL_cleanse(bytes, sizeof(bytes));
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool auth_token_valid(struct str text)
{
    for (ptrdiff_t i = 0; i < text.len; i++) {
        if (hex_value(text.ptr[i]) < 0) {
            return false;
        }
    }
    return text.len == AUTH_TOKEN_HEX;
}

void auth_hash(struct str token, uint8_t ret_hash[AUTH_HASH_BYTES])
{
    CHECK(SHA256((const unsigned char *)token.ptr, (size_t)token.len, ret_hash) != NULL);
}

static enum err add_hash(struct auth *auth, const uint8_t hash[AUTH_HASH_BYTES], enum role role,
                         struct str name, struct err_info *info)
{
    if (auth->count == AUTH_TOKENS_MAX) {
        return err_set(info, ERR_LIMIT, "more than %d tokens", AUTH_TOKENS_MAX);
    }
    if (name.len < 1 || name.len > AUTH_NAME_MAX || role == ROLE_NONE) {
        return err_set(info, ERR_INVALID, "token name '%.*s' is not 1 to %d bytes long",
                       STR_ARG(name), AUTH_NAME_MAX);
    }
    struct auth_token *token = &auth->tokens[auth->count++];
    *token = (struct auth_token){.role = role};
    memcpy(token->hash, hash, AUTH_HASH_BYTES);
    memcpy(token->name, name.ptr, (size_t)name.len);
    return ERR_OK;
}

enum err auth_add(struct auth *auth, struct str token, enum role role, struct str name,
                  struct err_info *info)
{
    uint8_t hash[AUTH_HASH_BYTES];
    if (!auth_token_valid(token)) {
        return err_set(info, ERR_INVALID, "a token is %d hex digits in lower case", AUTH_TOKEN_HEX);
    }
    auth_hash(token, hash);
    return add_hash(auth, hash, role, name, info);
}

static enum err load_line(struct auth *auth, struct str line, struct err_info *info)
{
    uint8_t hash[AUTH_HASH_BYTES];
    struct str hex = str_cut(&line, ' ');
    struct str role_text = str_cut(&line, ' ');
    enum role role = role_of_name(role_text);
    if (!auth_token_valid(hex)) {
        return err_set(info, ERR_PARSE, "no SHA-256 in hex at the begin of the line");
    }
    if (role == ROLE_NONE) {
        return err_set(info, ERR_PARSE, "role '%.*s' is none of viewer, operator, admin",
                       STR_ARG(role_text));
    }
    for (int i = 0; i < AUTH_HASH_BYTES; i++) {
        hash[i] = (uint8_t)(hex_value(hex.ptr[2 * i]) * 16 + hex_value(hex.ptr[2 * i + 1]));
    }
    return add_hash(auth, hash, role, str_trim(line), info);
}

enum err auth_load(struct auth *auth, const char *file, struct str text, struct err_info *info)
{
    for (int line_number = 1; text.ptr != NULL; line_number++) {
        struct err_info reason;
        struct str line = str_trim(str_cut(&text, '\n'));
        if (line.len == 0 || line.ptr[0] == '#') {
            continue;
        }
        enum err err = load_line(auth, line, &reason);
        if (err != ERR_OK) {
            return err_set(info, err, "%s:%d: %s", file, line_number, reason.text);
        }
    }
    return ERR_OK;
}

const struct auth_token *auth_find(const struct auth *auth, struct str authorization)
{
    static const char scheme[] = "Bearer ";
    uint8_t hash[AUTH_HASH_BYTES];
    const struct auth_token *found = NULL;
    if (authorization.len < (ptrdiff_t)sizeof(scheme) - 1 ||
        strncasecmp(authorization.ptr, scheme, sizeof(scheme) - 1) != 0) {
        return NULL;
    }
    struct str token = {authorization.ptr + sizeof(scheme) - 1,
                        authorization.len - (ptrdiff_t)sizeof(scheme) + 1};
    if (!auth_token_valid(token)) {
        return NULL;
    }
    auth_hash(token, hash);
    for (int i = 0; i < auth->count; i++) {
        if (CRYPTO_memcmp(hash, auth->tokens[i].hash, AUTH_HASH_BYTES) == 0) {
            found = &auth->tokens[i]; /* no early end: the time tells nothing */
        }
    }
    return found;
}
