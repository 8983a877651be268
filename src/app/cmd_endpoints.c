/* cmd_endpoints.c - sluice endpoints: what is served, from the tables of endpoints and aliases, one tab-separated line each. */
#include "api/endpoint.h"
#include "app/cli.h"
#include "base/banned.h"

static const char *surface_name(enum surface s)
{
    switch (s) {
    case SURFACE_OPENAI:
        return "openai";
    case SURFACE_ANTHROPIC:
        return "anthropic";
    case SURFACE_GOOGLE:
        return "google";
    case SURFACE_OLLAMA:
        return "ollama";
    case SURFACE_SLUICE:
        return "sluice";
    }
    return "";
}

int cmd_endpoints(struct cli *c)
{
    const struct endpoint *row;
    (void)c;
    for (size_t i = 0; (row = endpoint_at(i)) != NULL; i++)
        (void)printf("%s\t%s\t%s\t%s\t%s\n", http_method_name(row->method), row->path,
                     surface_name(row->surface), access_name(row->access), row->sentence);
    for (const struct path_alias *a = path_aliases; a->prefix; a++)
        (void)printf("ALIAS\t%s\t%s\t%s\n", a->prefix, a->to,
                     a->drops_rest ? "whole"
                     : a->is_exact ? "exact"
                                   : "prefix");
    return 0;
}
