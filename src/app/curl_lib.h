// SPDX-License-Identifier: Apache-2.0
#ifndef APP_CURL_LIB_H
#define APP_CURL_LIB_H

#include <curl/curl.h>

#include "base/err.h"

/* libcurl, loaded when the first call to another process is made: it and the fifteen libraries that come with it cost 4 ms of
 * CPU time, a third of what loading the program takes, and `run` makes no such call. */
struct curl_lib {
    CURL *(*easy_init)(void);
    void (*easy_cleanup)(CURL *curl);
    void (*easy_reset)(CURL *curl);
    CURLcode (*easy_setopt)(CURL *curl, CURLoption option, ...);
    CURLcode (*easy_perform)(CURL *curl);
    CURLcode (*easy_getinfo)(CURL *curl, CURLINFO info, ...);
    const char *(*easy_strerror)(CURLcode code);
    struct curl_slist *(*slist_append)(struct curl_slist *list, const char *text);
    void (*slist_free_all)(struct curl_slist *list);
};

/* Errors: UNAVAILABLE (it is not installed, or is not what we were built with). The process' own; stays loaded.
 * Thread: main. */
ATTR_NODISCARD enum err curl_lib_load(const struct curl_lib **ret_lib, struct err_info *info);

#endif
