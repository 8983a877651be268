/* cmd.h - the commands of the program; each is a file of its own. */
#ifndef APP_CMD_H
#define APP_CMD_H
#include <stdbool.h>
#include <stdint.h>

struct config_sources;
struct serve_options {
    const char *host;         /* NULL: the setting */
    const char *port_file;    /* gets the port once requests are taken; NULL: none */
    uint16_t port;
    bool has_port;
    unsigned threads;         /* 0: the setting */
    bool is_quiet;            /* no greeting */
};
/* Runs until SIGTERM or SIGINT; the exit status. */
int serve_run(const struct serve_options *options, const struct config_sources *sources);
#endif
