// SPDX-License-Identifier: Apache-2.0
#include "app/read_file.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#include "base/mem.h"

enum { CHUNK_BYTES = 64 << 10 };

/* Into a growing heap buffer: the size of a pipe is not known before its end. */
static enum err read_all(FILE *from, const char *path, ptrdiff_t bytes_max, char **ret_bytes,
                         ptrdiff_t *ret_len, struct err_info *info)
{
    char *bytes = NULL;
    ptrdiff_t len = 0;
    ptrdiff_t cap = 0;
    while (!feof(from)) {
        if (cap - len < CHUNK_BYTES) {
            cap = cap * 2 + CHUNK_BYTES;
            bytes = mem_resize(bytes, cap, 1);
        }
        len += (ptrdiff_t)fread(bytes + len, 1, CHUNK_BYTES, from);
        if (ferror(from) || len > bytes_max) {
            bool failed = ferror(from) != 0;
            mem_free(bytes);
            return failed
                       ? err_set_sys(info, ERR_IO, errno, "cannot read '%s'", path)
                       : err_set(info, ERR_LIMIT, "'%s' is larger than %td bytes", path, bytes_max);
        }
    }
    *ret_bytes = bytes;
    *ret_len = len;
    return ERR_OK;
}

enum err read_file(struct arena *arena, const char *path, ptrdiff_t bytes_max, struct str *ret_text,
                   struct err_info *info)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *from = standard ? stdin : fopen(path, "rbe");
    if (from == NULL) {
        return err_set_sys(info, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno,
                           "cannot open '%s'", path);
    }
    char *bytes = NULL;
    ptrdiff_t len = 0;
    enum err err = read_all(from, path, bytes_max, &bytes, &len, info);
    if (!standard) {
        IGNORE_RESULT(fclose(from)); /* only read from */
    }
    if (err == ERR_OK) {
        *ret_text = (struct str){arena_dup(arena, bytes, len), len};
        mem_free(bytes);
    }
    return err;
}

enum err folder_check(const char *path, struct err_info *info)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return err_set_sys(info, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno,
                           "cannot open the data folder '%s'", path);
    }
    IGNORE_RESULT(closedir(folder)); /* was only looked at */
    return ERR_OK;
}

enum err read_config(struct arena *arena, const struct cli *cli, const char *path,
                     const struct config **ret_config, struct err_info *info)
{
    struct str text = {NULL, 0};
    struct str sets[CLI_TEXTS_MAX];
    enum err err = read_file(arena, path, YAML_BYTES_MAX, &text, info);
    for (int i = 0; i < cli->text_count; i++) {
        sets[i] = str_of(cli->texts[i]);
    }
    return err == ERR_OK
               ? config_load_set(arena, path, text, sets, cli->text_count, ret_config, info)
               : err;
}
