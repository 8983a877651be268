/* log.h - the process log: one event a line, key=value or JSON, to standard error.
 * Fields never hold secrets or prompts. Safe from every thread. */
#ifndef BASE_LOG_H
#define BASE_LOG_H
#include "base/str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
void log_setup(enum log_level level, bool is_json);           /* writes what was held, as this says */
/* Until log_setup(): lines are kept, not written. For the moments in which nobody knows yet how they are wanted; of one thread. */
void log_hold(void);
bool log_enabled(enum log_level level);
bool log_level_parse(struct str name, enum log_level *out) MUST_USE;
/* id: the request id or NULL; fmt: "provider=%s attempt=%u" */
void log_event(enum log_level level, const char *id, const char *event, const char *fmt, ...) PRINTF_LIKE(4, 5);
#define log_debug(id, event, ...) \
    do { \
        if (log_enabled(LOG_DEBUG)) \
            log_event(LOG_DEBUG, (id), (event), __VA_ARGS__); \
    } while (0)
#define log_info(id, event, ...) log_event(LOG_INFO, (id), (event), __VA_ARGS__)
#define log_warn(id, event, ...) log_event(LOG_WARN, (id), (event), __VA_ARGS__)
#define log_error(id, event, ...) log_event(LOG_ERROR, (id), (event), __VA_ARGS__)
#endif
