// SPDX-License-Identifier: Apache-2.0
#include "base/real/entropy.h"

#include <errno.h>
#include <sys/random.h>

#include "base/check.h"

void entropy_fill(void *buf, ptrdiff_t len)
{
    char *at = buf;
    while (len > 0) {
        ssize_t got = getrandom(at, (size_t)len, 0);
        CHECK(got > 0 || errno == EINTR);
        if (got > 0) {
            at += got;
            len -= got;
        }
    }
}
