// SPDX-License-Identifier: Apache-2.0
/* Verbs that work on a data folder itself: `log repair`, `token create`. */
#include <stdio.h>
#include <string.h>

#include "api/auth.h"
#include "app/process.h"
#include "app/read_file.h"
#include "app/verbs.h"
#include "base/mem.h"
#include "base/real/fs_real.h"
#include "log/embedded.h"

enum { REPAIR_TEXT_MAX = 1 << 20 };

static int fail(enum err err, const struct err_info *info)
{
    IGNORE_RESULT(fprintf(stderr, "shadowcast: %s\n", info->text)); /* nobody left to tell */
    return (int)exit_code_of(err);
}

int verb_log_repair(const struct cli *cli)
{
    struct fs fs = {NULL, NULL, NULL};
    struct err_info info;
    if (!cli_flag(cli, "show")) {
        IGNORE_RESULT(fputs("shadowcast: only --show is there: what a repair would cut is for "
                            "people to judge\n",
                            stderr)); /* nobody left to tell */
        return EXIT_CODE_USAGE;
    }
    enum err err = folder_check(cli->args[0], &info);
    err = err == ERR_OK ? fs_real_open(cli->args[0], &fs, &info) : err;
    if (err != ERR_OK) {
        return fail(err, &info);
    }
    char *text = mem_new(REPAIR_TEXT_MAX, 1);
    bool sound = false;
    err = log_embedded_repair_show(&fs, text, REPAIR_TEXT_MAX, &sound, &info);
    if (err == ERR_OK) {
        IGNORE_RESULT(fputs(text, stdout)); /* main() judges stdout */
    }
    mem_free(text);
    fs_real_close(&fs);
    if (err != ERR_OK) {
        return fail(err, &info);
    }
    return sound ? EXIT_CODE_OK : (int)exit_code_of(ERR_CORRUPT);
}

/* Whether a line "hash role name" of the file has that name. */
static bool has_name(struct str file, struct str name)
{
    while (file.ptr != NULL) {
        struct str line = str_cut(&file, '\n');
        IGNORE_RESULT(str_cut(&line, ' '));
        IGNORE_RESULT(str_cut(&line, ' '));
        if (line.ptr != NULL && str_equal(str_trim(line), name)) {
            return true;
        }
    }
    return false;
}

/* Whether a start takes the text: it has the token of the file 'token', too. */
static enum err check_tokens(struct auth *auth, const char *path, struct str text,
                             struct err_info *info)
{
    auth->count = 1;
    enum err err = auth_load(auth, path, text, info);
    if (err == ERR_LIMIT || (err == ERR_OK && text.len >= TOKENS_FILE_MAX)) {
        return err_set(info, ERR_LIMIT,
                       "one more would be over %d tokens or %d bytes, which no start takes: remove "
                       "lines from %s",
                       AUTH_TOKENS_MAX - 1, TOKENS_FILE_MAX - 1, path);
    }
    return err;
}

/* The file with one more line; EXISTS if it has one of that name, LIMIT if it is full. */
static enum err add_line(const struct fs *fs, const char *path, const char *line, struct str name,
                         struct auth *auth, struct err_info *info)
{
    struct arena arena;
    struct str old = {NULL, 0};
    arena_init(&arena, 4 * TOKENS_FILE_MAX);
    enum err err = read_file(&arena, path, TOKENS_FILE_MAX, &old, info);
    if (err == ERR_OK && has_name(old, name)) {
        err = err_set(
            info, ERR_EXISTS,
            "there is a token '%.*s' already; take another name, or remove its line from %s",
            STR_ARG(name), path);
    } else if (err == ERR_OK || err == ERR_NOT_FOUND) {
        bool open = old.len > 0 && !str_ends_with(old, STR("\n")); /* its last line: by hand */
        struct str all =
            str_of(arena_printf(&arena, "%.*s%s%s\n", STR_ARG(old), open ? "\n" : "", line));
        err = check_tokens(auth, path, all, info);
        err = err == ERR_OK ? process_write_file(fs, "tokens", all, info) : err;
    }
    arena_release(&arena);
    return err;
}

int verb_token_create(const struct cli *cli)
{
    struct fs fs = {NULL, NULL, NULL};
    struct err_info info;
    char token[AUTH_TOKEN_HEX + 1];
    char hex[AUTH_TOKEN_HEX + 1];
    char line[256];
    char path[4096];
    uint8_t hash[AUTH_HASH_BYTES];
    struct auth *auth = MEM_NEW(struct auth);
    const char *data = cli_text(cli, "data");
    auth_token_make(token);
    auth_hash(str_of(token), hash);
    auth_hex(hash, hex);
    int n = snprintf(line, sizeof(line), "%s %s %s", hex, cli_text(cli, "role"), cli->args[0]);
    enum err err = n < (int)sizeof(line) && strpbrk(cli->args[0], "\n\r") == NULL
                       ? auth_load(auth, "name", str_of(line), &info)
                       : err_set(&info, ERR_INVALID, "the name is too long or has two lines");
    err = err == ERR_OK ? folder_check(data, &info) : err;
    err = err == ERR_OK ? fs_real_open(data, &fs, &info) : err;
    if (err == ERR_OK) {
        IGNORE_RESULT(snprintf(path, sizeof(path), "%s/tokens", data)); /* cut: not found */
        err = add_line(&fs, path, line, str_of(cli->args[0]), auth, &info);
        fs_real_close(&fs);
    }
    if (err == ERR_OK) {
        IGNORE_RESULT(printf("%s\n", token)); /* main() judges stdout */
        IGNORE_RESULT(fputs("shadowcast: shown only once; valid from the next start\n", stderr));
    }
    explicit_bzero(token, sizeof(token));
    mem_free(auth);
    return err == ERR_OK ? EXIT_CODE_OK : fail(err, &info);
}
