/* cmd_endpoints.c - sluice endpoints and sluice openapi: what is served, from the tables of endpoints and aliases. */
#include "api/api.h"
#include "api/surface/surface.h"
#include "app/cli.h"
#include "base/banned.h"

int cmd_endpoints(struct cli *c)
{
    const struct endpoint *row;
    (void)c;
    for (size_t i = 0; (row = endpoint_at(i)) != NULL; i++)
        (void)printf("%s\t%s\t%s\t%s\t%s\n", http_method_name(row->method), row->path,
                     surface_of(row->surface)->name, access_name(row->access), row->sentence);
    for (const struct path_alias *a = path_aliases; a->prefix; a++)
        (void)printf("ALIAS\t%s\t%s\t%s\n", a->prefix, a->to,
                     a->drops_rest ? "whole"
                     : a->is_exact ? "exact"
                                   : "prefix");
    return 0;
}

int cmd_openapi(struct cli *c)
{
    struct str text = openapi_document(c->arena);
    return fwrite(text.p, 1, text.n, stdout) == text.n && putchar('\n') != EOF &&
                   fflush(stdout) == 0
               ? 0
               : 1;
}
