/* curl_lib.c - libcurl, opened when it is first needed: it and the two dozen libraries that it brings along take three
 * megabytes, and most installations never call out through it. Its functions are defined here by their own names and
 * pass on, so that their users are written, and checked by libcurl's header, as ever. */
#include "http/curl.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>

#include "base/banned.h"
#include "base/log.h"

#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

static struct { /* NULL: not there */
    CURLcode (*global_init)(long flags);
    CURL *(*easy_init)(void);
    void (*easy_cleanup)(CURL *easy);
    CURLcode (*easy_setopt)(CURL *easy, CURLoption option, ...);
    CURLcode (*easy_getinfo)(CURL *easy, CURLINFO info, ...);
    CURLcode (*easy_perform)(CURL *easy);
    CURLcode (*easy_pause)(CURL *easy, int what);
    const char *(*easy_strerror)(CURLcode code);
    CURLM *(*multi_init)(void);
    CURLMcode (*multi_cleanup)(CURLM *multi);
    CURLMcode (*multi_setopt)(CURLM *multi, CURLMoption option, ...);
    CURLMcode (*multi_add_handle)(CURLM *multi, CURL *easy);
    CURLMcode (*multi_remove_handle)(CURLM *multi, CURL *easy);
    CURLMcode (*multi_assign)(CURLM *multi, curl_socket_t fd, void *data);
    CURLMsg *(*multi_info_read)(CURLM *multi, int *left);
    CURLMcode (*multi_perform)(CURLM *multi, int *running);
    CURLMcode (*multi_poll)(CURLM *multi, struct curl_waitfd *more, unsigned n_more, int ms,
                            int *n);
    CURLMcode (*multi_socket_action)(CURLM *multi, curl_socket_t fd, int events, int *running);
    struct curl_slist *(*slist_append)(struct curl_slist *list, const char *text);
    void (*slist_free_all)(struct curl_slist *list);
} lib;
static bool is_loaded;

static void load(void)
{
    const struct {
        const char *name;
        void *to;
    } functions[] = {
        {"curl_global_init", &lib.global_init},
        {"curl_easy_init", &lib.easy_init},
        {"curl_easy_cleanup", &lib.easy_cleanup},
        {"curl_easy_setopt", &lib.easy_setopt},
        {"curl_easy_getinfo", &lib.easy_getinfo},
        {"curl_easy_perform", &lib.easy_perform},
        {"curl_easy_pause", &lib.easy_pause},
        {"curl_easy_strerror", &lib.easy_strerror},
        {"curl_multi_init", &lib.multi_init},
        {"curl_multi_cleanup", &lib.multi_cleanup},
        {"curl_multi_setopt", &lib.multi_setopt},
        {"curl_multi_add_handle", &lib.multi_add_handle},
        {"curl_multi_remove_handle", &lib.multi_remove_handle},
        {"curl_multi_assign", &lib.multi_assign},
        {"curl_multi_info_read", &lib.multi_info_read},
        {"curl_multi_perform", &lib.multi_perform},
        {"curl_multi_poll", &lib.multi_poll},
        {"curl_multi_socket_action", &lib.multi_socket_action},
        {"curl_slist_append", &lib.slist_append},
        {"curl_slist_free_all", &lib.slist_free_all},
    };
    void *opened = dlopen(CURL_SONAME, RTLD_NOW | RTLD_LOCAL); /* stays open */
    for (size_t i = 0; opened && i < ARRAY_LEN(functions); i++) {
        void *found = dlsym(opened, functions[i].name);
        if (!found)
            opened = NULL;
        /* ISO C knows no other way from data to code */
        memcpy(functions[i].to, &found, sizeof found);
    }
    is_loaded = opened && lib.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    if (!is_loaded) {
        const char *why = dlerror();
        log_error(NULL, "libcurl.missing", "library=%s error=%s", CURL_SONAME,
                  why ? why : "it does not start");
    }
}

bool curl_start_once(struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, load);
    return is_loaded || err_set(e, ERR_INTERNAL, "libcurl_missing",
                                "The library %s, which this needs, cannot be loaded", CURL_SONAME);
}

/* The three that take anything: a pointer, a long or a curl_off_t, which all travel as one machine word. */
_Static_assert(sizeof(long) == sizeof(void *) && sizeof(curl_off_t) == sizeof(void *),
               "a 64-bit system");

static void *word(va_list args)
{
    return va_arg(args, void *);
}

CURLcode curl_easy_setopt(CURL *easy, CURLoption option, ...)
{
    va_list args;
    va_start(args, option);
    CURLcode rc = lib.easy_setopt(easy, option, word(args));
    va_end(args);
    return rc;
}

CURLcode curl_easy_getinfo(CURL *easy, CURLINFO info, ...)
{
    va_list args;
    va_start(args, info);
    CURLcode rc = lib.easy_getinfo(easy, info, word(args));
    va_end(args);
    return rc;
}

CURLMcode curl_multi_setopt(CURLM *multi, CURLMoption option, ...)
{
    va_list args;
    va_start(args, option);
    CURLMcode rc = lib.multi_setopt(multi, option, word(args));
    va_end(args);
    return rc;
}

CURL *curl_easy_init(void)
{
    return lib.easy_init();
}

void curl_easy_cleanup(CURL *easy)
{
    lib.easy_cleanup(easy);
}

CURLcode curl_easy_perform(CURL *easy)
{
    return lib.easy_perform(easy);
}

CURLcode curl_easy_pause(CURL *easy, int what)
{
    return lib.easy_pause(easy, what);
}

const char *curl_easy_strerror(CURLcode code)
{
    return lib.easy_strerror(code);
}

CURLM *curl_multi_init(void)
{
    return lib.multi_init();
}

CURLMcode curl_multi_cleanup(CURLM *multi)
{
    return lib.multi_cleanup(multi);
}

CURLMcode curl_multi_add_handle(CURLM *multi, CURL *easy)
{
    return lib.multi_add_handle(multi, easy);
}

CURLMcode curl_multi_remove_handle(CURLM *multi, CURL *easy)
{
    return lib.multi_remove_handle(multi, easy);
}

CURLMcode curl_multi_assign(CURLM *multi, curl_socket_t fd, void *data)
{
    return lib.multi_assign(multi, fd, data);
}

CURLMsg *curl_multi_info_read(CURLM *multi, int *left)
{
    return lib.multi_info_read(multi, left);
}

CURLMcode curl_multi_perform(CURLM *multi, int *running)
{
    return lib.multi_perform(multi, running);
}

CURLMcode curl_multi_poll(CURLM *multi, struct curl_waitfd *more, unsigned n_more, int ms, int *n)
{
    return lib.multi_poll(multi, more, n_more, ms, n);
}

CURLMcode curl_multi_socket_action(CURLM *multi, curl_socket_t fd, int events, int *running)
{
    return lib.multi_socket_action(multi, fd, events, running);
}

struct curl_slist *curl_slist_append(struct curl_slist *list, const char *text)
{
    return lib.slist_append(list, text);
}

void curl_slist_free_all(struct curl_slist *list)
{
    lib.slist_free_all(list);
}
