// SPDX-License-Identifier: Apache-2.0
#include "base/real/temp_dir.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

static const char *top_of(const char *otherwise)
{
    const char *top = getenv("TMPDIR"); // NOLINT(concurrency-mt-unsafe): nothing sets variables
    return top == NULL || top[0] == 0 ? otherwise : top;
}

static enum err make_in(const char *top, const char *prefix, char *ret_path, struct err_info *info)
{
    char path[TEMP_DIR_MAX];
    int len = snprintf(path, sizeof path, "%s/%s-XXXXXX", top, prefix);
    if (len < 0 || len >= (int)sizeof path) {
        return err_set(info, ERR_LIMIT,
                       "the name of the folder for temporary files is too long: %s", top);
    }
    if (mkdtemp(path) == NULL) {
        return err_set_sys(info, errno == ENOSPC ? ERR_NO_SPACE : ERR_IO, errno,
                           "cannot make a temporary folder in %s", top);
    }
    for (int i = 0; i <= len; i++) {
        ret_path[i] = path[i];
    }
    return ERR_OK;
}

enum err temp_dir_make(const char *prefix, char *ret_path, struct err_info *info)
{
    return make_in(top_of("/tmp"), prefix, ret_path, info);
}

enum err temp_dir_make_in_memory(const char *prefix, char *ret_path, struct err_info *info)
{
    enum err err = make_in(top_of("/dev/shm"), prefix, ret_path, NULL);
    return err == ERR_OK ? err : temp_dir_make(prefix, ret_path, info);
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    IGNORE_RESULT(remove(path)); /* what stays, stays; its folder then does too */
    return 0;
}

void temp_dir_remove(const char *path)
{
    enum { OPEN_FOLDERS = 16 };
    // NOLINTNEXTLINE(concurrency-mt-unsafe): it is, without FTW_CHDIR
    IGNORE_RESULT(nftw(path, remove_entry, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS)); /* as above */
}
