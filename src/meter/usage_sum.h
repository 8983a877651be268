/* usage_sum.h - figures of the request log by minute, hour and day, so that charts over ten million requests read a few thousand rows.
 * The writer gathers them in memory and writes them once a second; readers add the records that are not in them yet. They stay when
 * records leave the log before their time. */
#ifndef METER_USAGE_SUM_H
#define METER_USAGE_SUM_H
#include "base/arena.h"
#include "store/db.h"

enum usage_span { SPAN_MINUTE, SPAN_HOUR, SPAN_DAY, SPAN_N };
extern const int64_t usage_span_us[SPAN_N];
extern const int64_t usage_span_kept[SPAN_N]; /* how many spans back; 0: usage_figures_days says */

struct usage_figures {
    int64_t n, last;            /* last: seq of the newest */
    int64_t input_total, cache_read, cache_write, output_total, reasoning, audio_in, audio_out;
    int64_t ttft_n, ttft_us, duration_us, retried, bytes_in, bytes_out;
};
void usage_figures_add(struct usage_figures *to, const struct usage_figures *f);

/* ---- writing: on the writer thread, with its handle and inside its transactions ---- */
struct sum_writer;
struct sum_writer *sum_writer_new(void);
void sum_writer_free(struct sum_writer *w);                   /* NULL is allowed */
bool sum_writer_open(struct sum_writer *w, struct db *db, struct err *e) MUST_USE; /* with a fresh handle: forgets what it held */
void sum_writer_close(struct sum_writer *w);                  /* before the handle closes */
/* A record was inserted, f->n == 1, f->last its seq, -1 what is unknown. Writes what was gathered before when a minute is over. */
bool sum_writer_add(struct sum_writer *w, int64_t kind, const struct usage_figures *f, struct err *e) MUST_USE;
bool sum_writer_is_pending(const struct sum_writer *w);
bool sum_writer_flush(struct sum_writer *w, struct err *e) MUST_USE; /* what was gathered, and lets old minutes and hours go */
/* Records that were there before it: a slice of them, in a transaction of its own. True while more remain. */
bool sum_writer_is_behind(const struct sum_writer *w);
bool sum_writer_catch_up(struct sum_writer *w, struct err *e) MUST_USE;

/* ---- reading: any handle of any thread ---- */
struct usage_kind {             /* what repeats of requests; texts in the arena */
    struct str key, model, upstream, upstream_model, op, client_format, error;
    int status;
    bool is_stream;
    void *tag;                  /* the reader's own: NULL at first */
};
/* at: the span, counted since 1970. */
typedef void usage_sum_fn(void *arg, int64_t at, struct usage_kind *kind, const struct usage_figures *f);
/* All spans from `from` on, in no order; several calls may come for one span and kind. */
bool usage_sum_read(struct arena *a, struct db *db, enum usage_span span, int64_t from, usage_sum_fn *f, void *arg, struct err *e) MUST_USE;
#endif
