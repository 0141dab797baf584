// SPDX-License-Identifier: Apache-2.0
#include "app/curl_lib.h"

#include <dlfcn.h>
#include <string.h>

#include "base/check.h"

#define SONAME "libcurl.so.4"

/* A function's address as dlsym gives it, into the table's member. */
static bool find(void *handle, const char *name, void *member)
{
    void *address = dlsym(handle, name);
    memcpy(member, (const void *)&address, sizeof(address));
    return address != NULL;
}

enum err curl_lib_load(const struct curl_lib **ret_lib, struct err_info *info)
{
    static struct curl_lib lib;
    if (lib.easy_init != NULL) {
        *ret_lib = &lib;
        return ERR_OK;
    }
    void *handle = dlopen(SONAME, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        // NOLINTNEXTLINE(concurrency-mt-unsafe): the command line has one thread
        return err_set(info, ERR_UNAVAILABLE, "cannot load the HTTP client: %s", dlerror());
    }
    struct curl_lib found;
    if (!find(handle, "curl_easy_init", &found.easy_init) ||
        !find(handle, "curl_easy_cleanup", &found.easy_cleanup) ||
        !find(handle, "curl_easy_reset", &found.easy_reset) ||
        !find(handle, "curl_easy_setopt", &found.easy_setopt) ||
        !find(handle, "curl_easy_perform", &found.easy_perform) ||
        !find(handle, "curl_easy_getinfo", &found.easy_getinfo) ||
        !find(handle, "curl_easy_strerror", &found.easy_strerror) ||
        !find(handle, "curl_slist_append", &found.slist_append) ||
        !find(handle, "curl_slist_free_all", &found.slist_free_all)) {
        return err_set(info, ERR_UNAVAILABLE, "the HTTP client " SONAME " lacks a function");
    }
    lib = found;
    *ret_lib = &lib;
    return ERR_OK;
}
