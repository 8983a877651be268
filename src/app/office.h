/* office.h - what api/change.h needs, in a process that serves nothing: the shell changes the configuration by the same rules, versions
 * and audit log as every surface. */
#ifndef APP_OFFICE_H
#define APP_OFFICE_H
#include "api/change.h"
#include "app/cli.h"

struct office {
    struct config_sources sources;
    struct control control;
    struct control_call call; /* for change_…(): whoever has the shell is an owner */
    pthread_mutex_t lock;
};
/* Also when it fails: office_close(). */
bool office_open(struct cli *c, struct office *o, struct err *e) MUST_USE;
void office_close(struct office *o);
/* The end of a command that changed something: closes, says e or tells a running server; the exit status. */
int office_done(struct office *o, bool ok, const struct err *e);
#endif
