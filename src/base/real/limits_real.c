// SPDX-License-Identifier: Apache-2.0
#include "base/real/limits_real.h"

#include <sys/resource.h>

#include "base/check.h"

int64_t limits_raise_open_files(void)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) {
        return (int64_t)raised.rlim_cur;
    }
    return (int64_t)limit.rlim_cur; /* refused: go on with what there is */
}
