// SPDX-License-Identifier: Apache-2.0
#include "base/real/temp_dir.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

enum err temp_dir_make(const char *prefix, char *ret_path, struct err_info *info)
{
    const char *top = getenv("TMPDIR"); // NOLINT(concurrency-mt-unsafe): nothing sets variables
    char path[TEMP_DIR_MAX];
    if (top == NULL || top[0] == 0) {
        top = "/tmp";
    }
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
