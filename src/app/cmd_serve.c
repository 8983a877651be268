/* cmd_serve.c - sluice serve: from options to the server. */
#include "app/cli.h"
#include "app/cmd.h"
#include "app/first_start.h"
#include "base/banned.h"

int cmd_serve(struct cli *c)
{
    static struct config_sources s;
    const struct serve_options o = {
        .host = c->host,
        .port_file = c->port_file,
        .port = (uint16_t)(c->port >= 0 ? c->port : 0),
        .has_port = c->port >= 0,
        .threads = (unsigned)(c->threads >= 0 ? c->threads : 0),
        .is_quiet = c->quiet,
    };
    cli_sources(c, &s);
    s.detects = !s.file && !c->no_detect;
    if (s.detects)
        detect_local(&s);
    return serve_run(&o, &s);
}
