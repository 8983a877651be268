/* URLs and queries: what was encoded decodes, what was taken out is gone. */
#include "fuzz/fuzz.h"
#include "http/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    struct str text = exact_copy(a, str_n((const char *)data, size));
    struct err e = ERR_INIT;
    struct url u = {0};
    if (url_parse(a, text, &u, &e)) {
        REQUIRE(u.host.n > 0 && u.port > 0, "half a url");
        REQUIRE(u.path.n > 0 && u.path.p[0] == '/', "path without a slash");
    } else {
        REQUIRE(e.kind == ERR_INPUT && e.message[0], "refused without a reason");
    }
    REQUIRE(str_eq(url_decode(a, url_encode(a, text)), text), "encoding loses something");
    (void)url_decode(a, text);
    (void)query_get(a, text, "key");
    struct str rest = query_without(a, text, "key");
    REQUIRE(query_get(a, rest, "key").p == NULL, "the parameter is still there");
    REQUIRE(rest.n <= text.n, "the query grew");
    arena_free(a);
    return 0;
}
