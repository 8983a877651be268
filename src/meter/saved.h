/* saved.h - texts that outlive the process, each under a name of its own: counters of all times, what is known of upstreams, what a day's
 * limits hold. Written by the log's writer, in its own time. */
#ifndef METER_SAVED_H
#define METER_SAVED_H
#include "json/json.h"
#include "meter/usage_log.h"
#include "store/db.h"

/* Takes the text, a heap buf, whatever comes of it. name: a literal. false: it did not fit, or too much waits: the next one will do. */
bool saved_put(struct usage_log *log, const char *name, struct buf *text) MUST_USE;
/* The JSON of that name, in the arena; NULL: there is none. db NULL: as if. What cannot be read is logged, and is not there. */
yyjson_val *saved_get(struct db *db, struct arena *a, const char *name);
#endif
