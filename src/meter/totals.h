/* totals.h - counters of all times: what the store holds of earlier runs, and what this one counted since. Of requests whose model
 * was found; a failure is a status of 400 or more. */
#ifndef METER_TOTALS_H
#define METER_TOTALS_H
#include "json/json.h"
#include "meter/metrics.h"
#include "meter/usage_log.h"

struct tally {
    struct str name;
    uint64_t n;
};
struct tallies {                    /* sorted by name */
    struct tally *v;
    size_t n;
};
struct totals {
    uint64_t requests, errors, streams;
    struct tallies models, formats, upstreams, statuses; /* formats: the clients' */
};

struct totals_base;                 /* what earlier runs counted; shared by all threads, never changed */
struct db;
struct totals_base *totals_load(struct db *db); /* never NULL: a store that cannot be read begins at nothing, which is logged */
void totals_free(struct totals_base *b);
/* In the arena; texts may be those of the metrics. base NULL: of this run alone. */
struct totals totals_read(const struct totals_base *base, const struct metrics *m, struct arena *a);
void totals_save(const struct totals_base *base, const struct metrics *m, struct usage_log *log); /* by the log's writer, soon */
void tallies_write(const struct tallies *t, struct jw *w); /* {"name": n, …} */
#endif
