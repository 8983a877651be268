/* usage_read.h - reading the request log: filters, pages by keyset, counts, one request. Looks at block summaries first, so that ten
 * million records take milliseconds. Any handle of any thread will do. */
#ifndef METER_USAGE_READ_H
#define METER_USAGE_READ_H
#include "base/arena.h"
#include "store/db.h"

struct usage_filter {           /* empty, 0: anything */
    int64_t from_ms, to_ms;     /* end of the request, wall clock, both inclusive */
    int status_min, status_max;
    const bool *is_stream;
    struct str model, upstream, any_model, op, client_format, upstream_format, error;
    const struct str *keys;     /* any of these key ids */
    size_t n_keys;
    bool has_keys;              /* n_keys 0: none fits */
    const struct str *upstreams; /* any of these */
    size_t n_upstreams;
    bool has_upstreams;
    const struct str *models;   /* any of these, as they were asked for */
    size_t n_models;
    bool has_models;
    /* any_model: as it was asked for, or as the upstream calls it */
    struct str text;            /* a part of a name: model, upstream and its model, key, error; case does not matter */
    const struct str *text_keys; /* ids of keys whose label holds the text: they fit as well */
    size_t n_text_keys;
    struct str request_id;
    bool oldest_first;          /* the order of usage_read_ids() */
};

struct usage_row {              /* texts in the arena; -1: unknown */
    int64_t seq;                /* unique, ascending: the end in microseconds, as far as the clock never jumped */
    int64_t end_ms;
    struct str request_id, key, model, upstream, upstream_model, op, client_format, upstream_format, error;
    int status;
    int64_t attempts;
    bool is_stream;
    int quality, stop;          /* enum usage_quality, enum ir_stop */
    int64_t input_total, cache_read, cache_write, output_total, reasoning, audio_in, audio_out, ttft_us, duration_us, bytes_in, bytes_out;
    int64_t cost_nanousd;       /* of its line in the ledger */
    struct str detail;          /* JSON; empty: nothing to say */
};

struct usage_seen {             /* what a query looked at, for tests */
    int64_t blocks, rows;
};

struct usage_reader;
/* Begins a consistent view of the store on db, which the reader uses until it is freed. NULL with e set. */
struct usage_reader *usage_reader_new(struct arena *a, struct db *db, const struct usage_filter *f, struct err *e) MUST_USE;
void usage_reader_free(struct usage_reader *r);               /* NULL is allowed */
/* Ids of what fits, in the filter's order, beyond the record `beyond` (0: from the beginning of that order), after leaving out `skip`. */
bool usage_read_ids(struct usage_reader *r, int64_t beyond, int64_t skip, int64_t *ids, size_t max, size_t *n, struct err *e) MUST_USE;
bool usage_read_count(struct usage_reader *r, int64_t *n, struct err *e) MUST_USE;
bool usage_read_row(struct usage_reader *r, int64_t id, struct usage_row *out, struct err *e) MUST_USE; /* ERR_NOT_FOUND: gone */
const struct usage_seen *usage_reader_seen(const struct usage_reader *r);

/* The newest record of that request id, or the one whose seq it is in digits. false: ERR_NOT_FOUND. */
bool usage_find(struct arena *a, struct db *db, struct str request_id, struct usage_row *out, struct err *e) MUST_USE;
/* Key ids that stand in the log. */
bool usage_read_keys(struct arena *a, struct db *db, struct str **keys, size_t *n, struct err *e) MUST_USE;
bool usage_read_models(struct arena *a, struct db *db, struct str **models, size_t *n, struct err *e) MUST_USE; /* as they were asked for */
#endif
