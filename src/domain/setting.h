/* setting.h - the table of settings: name, default, bounds, what it means. Each value has one origin. */
#ifndef DOMAIN_SETTING_H
#define DOMAIN_SETTING_H
#include "domain/snapshot.h"

enum { REDACT_FIELDS = 64 };   /* names that log_redact_fields may hold */
enum setting_kind { SETTING_INT, SETTING_BOOL, SETTING_TEXT };
struct setting {
    const char *name;          /* in the file under "server", over the API; SLUICE_<NAME> in the environment */
    enum setting_kind kind;
    size_t offset;             /* in struct settings */
    int64_t otherwise, min, max; /* SETTING_INT, SETTING_BOOL */
    const char *text;          /* default of SETTING_TEXT */
    const char *sentence;
    const char *words;         /* SETTING_TEXT that is one of "a|b|c"; NULL: any */
    bool is_pattern;           /* SETTING_TEXT that is a POSIX extended regular expression, or empty */
    bool is_deployed;          /* said by file or environment only: no API changes it */
    bool (*check)(struct str value, struct err *e); /* SETTING_TEXT: what it must look like; NULL: anything */
};
const struct setting *setting_at(size_t i);                   /* NULL past the end */
size_t setting_count(void);
size_t setting_index(const struct setting *row);              /* its place: setting_at(setting_index(row)) == row */
const struct setting *setting_find(struct str name);
void setting_variable(const char *name, char out[64]);        /* of the environment: SLUICE_<NAME>; longer names are cut */
void settings_default(struct settings *s);
/* From text (environment, store): ERR_INPUT naming the setting. Texts are kept as given: they must live as long as s. */
bool setting_set(struct settings *s, const struct setting *row, struct str value, struct err *e) MUST_USE;
void setting_write(const struct settings *s, const struct setting *row, struct jw *w);
#endif
