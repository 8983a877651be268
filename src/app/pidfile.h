/* pidfile.h - how the command line finds the server that runs on a data folder. */
#ifndef APP_PIDFILE_H
#define APP_PIDFILE_H
#include "base/err.h"

/* Writes DIR/sluice.pid and locks it for as long as the process lives. false: cannot be written, or another server has
 * it (ERR_CONFLICT). */
bool pidfile_take(const char *data_dir, struct err *e) MUST_USE;
void pidfile_drop(const char *data_dir);
bool pidfile_is_held(const char *data_dir);                   /* whether one runs */
bool pidfile_signal(const char *data_dir);                    /* SIGHUP to the server that holds it; false: none runs */
#endif
