/* A configuration file of any content: it loads to something that can be used, or is refused with a message. */
#include "api/change_work.h"
#include "app/config.h"
#include "json/jsonc_place.h"
#include "base/log.h"
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define REQUIRE(cond) \
    do {              \
        if (!(cond))  \
            abort();  \
    } while (0)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int fd = -1;
static char path[64];

/* There is no store here, so nothing of it to finish: the control plane, which knows how, is not built in. */
bool change_recover(struct arena *a, const struct seal *seal, struct db *db, const char *file,
                    struct err *e)
{
    (void)a, (void)seal, (void)db, (void)file, (void)e;
    abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    log_setup(LOG_ERROR, false);
    (void)setenv("SET", "7", 1);
    fd = memfd_create("config", MFD_CLOEXEC); /* a file without a folder */
    REQUIRE(fd >= 0);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct config_sources s = {.file = path, .is_without_store = true};
    struct snapshot *snap = NULL;
    struct err e = ERR_INIT;
    struct arena *a = arena_new();
    REQUIRE(ftruncate(fd, 0) == 0 && pwrite(fd, data, n, 0) == (ssize_t)n);
    if (config_load(&s, &snap, &e)) {
        REQUIRE(snapshot_upstream(snap, STR("echo")) != NULL);
        for (size_t i = 0; i < snap->n_models; i++)
            for (size_t t = 0; t < snap->models[i]->n_targets; t++)
                REQUIRE(snap->models[i]->targets[t].upstream &&
                        snap->models[i]->targets[t].model.n > 0);
        for (size_t i = 0; i < snap->n_upstreams; i++) {
            const struct upstream *u = snap->upstreams[i];
            REQUIRE(u->kind &&
                    (u->kind->is_builtin ||
                     (u->wires[0] != WIRE_NONE && u->origin.host.n > 0 && u->origin.port > 0)));
        }
        (void)snapshot_resolve(snap, a, str_n((const char *)data, n));
        snapshot_unref(snap);
    } else {
        REQUIRE(e.kind != ERR_NONE && e.message[0]);
    }
    size_t half = n / 2; /* any text, any path */
    (void)jsonc_where(a, "f", str_n((const char *)data, half),
                      str_n((const char *)data + half, n - half));
    arena_free(a);
    return 0;
}
