/* Urls and queries: what is taken apart keeps its promises. */
#include "http/http.h"
#include <stdint.h>
#include <stdlib.h>

#define REQUIRE(cond) \
    do {              \
        if (!(cond))  \
            abort();  \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena *a = arena_new();
    struct str text = str_n((const char *)data, n);
    struct url u;
    struct err e = ERR_INIT;
    if (url_parse(a, text, &u, &e)) {
        REQUIRE(u.scheme.n > 0 && u.host.n > 0 && u.port > 0 && u.path.n > 0 && u.path.p[0] == '/');
        REQUIRE(str_index(u.host, '/') == u.host.n && str_index(u.host, '@') == u.host.n);
        for (size_t i = 0; i < u.path.n; i++)
            REQUIRE((unsigned char)u.path.p[i] > ' ');
    } else {
        REQUIRE(e.kind == ERR_INPUT && e.message[0]);
    }
    REQUIRE(str_eq(url_decode(a, url_encode(a, text)), text));
    (void)query_get(a, text, "key");
    struct str rest = query_without(a, text, "key");
    REQUIRE(rest.n <= text.n && query_get(a, rest, "key").p == NULL);
    arena_free(a);
    return 0;
}
