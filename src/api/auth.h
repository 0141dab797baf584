// SPDX-License-Identifier: Apache-2.0
#ifndef API_AUTH_H
#define API_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* Bearer tokens: 256 random bits, written as 64 hex digits. Only their SHA-256 is kept, and compared in constant time
 * against all, so that neither the time taken nor a memory dump tells a token. */

enum role { ROLE_NONE, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMIN, ROLE_COUNT };

enum {
    AUTH_TOKEN_HEX = 64, /* length of a token as text */
    AUTH_HASH_BYTES = 32,
    AUTH_TOKENS_MAX = 256,
    AUTH_NAME_MAX = 32
};

struct auth_token {
    uint8_t hash[AUTH_HASH_BYTES];
    enum role role;
    char name[AUTH_NAME_MAX + 1];
};

struct auth {
    int count;
    struct auth_token tokens[AUTH_TOKENS_MAX];
};

const char *role_name(enum role role);
/* ROLE_NONE if there is no such role. */
enum role role_of_name(struct str name);

/* A new token, as text with a 0 behind it. */
void auth_token_make(char ret_text[AUTH_TOKEN_HEX + 1]);

/* Whether `text` has the form of a token. */
bool auth_token_valid(struct str text);

void auth_hash(struct str token, uint8_t ret_hash[AUTH_HASH_BYTES]);

/* Adds a token by its text. Errors: INVALID (no token, or a bad name), LIMIT. */
ATTR_NODISCARD enum err auth_add(struct auth *auth, struct str token, enum role role,
                                 struct str name, struct err_info *info);

/* Adds tokens from lines "HASH-IN-HEX ROLE NAME"; blank lines and those that begin with # are skipped.
 *   file   named in errors. Errors: PARSE, LIMIT. */
ATTR_NODISCARD enum err auth_load(struct auth *auth, const char *file, struct str text,
                                  struct err_info *info);

/* The token whose value stands in an Authorization header ("Bearer ..."); NULL if there is none. */
const struct auth_token *auth_find(const struct auth *auth, struct str authorization);

/* SHA-256 as 64 hex digits and a 0. */
void auth_hex(const uint8_t hash[AUTH_HASH_BYTES], char ret_text[AUTH_TOKEN_HEX + 1]);

#endif
