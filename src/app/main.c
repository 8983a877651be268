/* main.c - `sluice serve` until the other commands stand beside it. */
#include "app/cmd.h"
#include "app/config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct serve_options o = {.is_quiet = true};
    static struct config_sources s;
    s.data_dir = "data";
    if (argc < 2 || strcmp(argv[1], "serve") != 0) {
        (void)fprintf(stderr, "usage: sluice serve [--config FILE] [--data DIR] [--host H] [--port P] [--threads N] [--port-file PATH]\n");
        return 2;
    }
    for (int i = 2; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--config"))
            s.file = argv[i + 1];
        else if (!strcmp(argv[i], "--data"))
            s.data_dir = argv[i + 1];
        else if (!strcmp(argv[i], "--host"))
            o.host = argv[i + 1];
        else if (!strcmp(argv[i], "--port"))
            o.has_port = true, o.port = (uint16_t)strtol(argv[i + 1], NULL, 10);
        else if (!strcmp(argv[i], "--threads"))
            o.threads = (unsigned)strtol(argv[i + 1], NULL, 10);
        else if (!strcmp(argv[i], "--port-file"))
            o.port_file = argv[i + 1];
    }
    return serve_run(&o, &s);
}
