/* log_recent.h - the newest lines of the process log, kept in memory for whoever operates it. Safe from every thread. */
#ifndef BASE_LOG_RECENT_H
#define BASE_LOG_RECENT_H
#include "base/arena.h"
#include "base/log.h"

struct log_recent {
    enum log_level level;
    int64_t at_ms;            /* wall clock */
    struct str text;          /* the line, in the form that is written */
};
/* At most max of those of that level and above, the newest first; in the arena. */
size_t log_recent(struct arena *a, enum log_level least, size_t max, struct log_recent **out);
#endif
