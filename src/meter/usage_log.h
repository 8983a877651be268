/* usage_log.h - every request leaves one record: handed by the loops to one writer thread through bounded rings,
 * committed in groups. A full ring sheds records and counts them; nothing on a loop ever waits. */
#ifndef METER_USAGE_LOG_H
#define METER_USAGE_LOG_H
#include "base/err.h"
#include "base/str.h"
#include "meter/ledger.h"
#include "wire/ir.h"

enum usage_quality { USAGE_NONE, USAGE_ESTIMATED, USAGE_DERIVED, USAGE_REPORTED };
struct usage_extra {            /* what only some requests have to say: one heap block, freed by the log */
    size_t n;
    bool is_redacted;           /* by the writer */
    char text[];                /* JSON: attempts, what was dropped, the error. See docs/request-log.md */
};

struct usage_record {           /* fixed size: texts are cut */
    char request_id[40];
    int64_t start_ms;           /* wall clock */
    char key_id[24];            /* empty: anonymous */
    char model[96];             /* as the client called it */
    char upstream[48];          /* the last one tried; empty: none */
    char upstream_model[96];
    char op[20];                /* op_name() */
    char client_format[20], upstream_format[20];
    int32_t status;             /* sent to the client; 499 gone before a reply */
    int32_t attempts;
    bool is_stream;
    char error_code[48];        /* empty: none */
    struct ir_usage usage;
    enum usage_quality quality;
    struct usage_money money;
    enum ir_stop stop;
    int64_t ttft_us, duration_us; /* -1 unknown */
    int64_t bytes_in, bytes_out;
    struct usage_extra *extra;  /* NULL: nothing; the log takes it over */
    int64_t seq;                /* given by the writer: unique and ascending */
};

struct usage_limits {           /* how much of the log is kept; 0: without limit */
    int64_t days;
    int64_t success_max, error_max; /* records of a status below 400, and others */
    int64_t figures_days;           /* of their sums by day: meter/usage_sum.h */
};

struct usage_log;
struct db_conf;
/* path: the SQLite file; loops: number of producers. Starts the writer thread. */
struct usage_log *usage_log_new(const char *path, unsigned loops, const struct usage_limits *limits, struct err *e);
void usage_log_free(struct usage_log *u);                     /* writes what is queued, ends the thread */
/* From loop `loop` only. The record to fill in where it will stay until it is written: every member but seq. NULL: the ring is
 * full, this request's record is shed and counted. */
struct usage_record *usage_log_begin(struct usage_log *u, unsigned loop) MUST_USE;
void usage_log_end(struct usage_log *u, unsigned loop);       /* it is filled in */
void usage_log_put(struct usage_log *u, unsigned loop, const struct usage_record *r); /* both at once: copies */
/* The line of r in the ledger alone (r->money.id != 0), before the record itself is put. From loop `loop` only. From now on no kill of the
 * process loses it: it is in the journal (meter/journal.h), unless that is full. */
void usage_log_put_line(struct usage_log *u, unsigned loop, const struct usage_record *r);
void usage_log_set_limits(struct usage_log *u, const struct usage_limits *limits); /* from any thread; looked at at once */
void usage_log_tidy(struct usage_log *u);                     /* what may go is looked for now, not within the minute */
/* Blocks until all that was put before is in the store, or for that long: not for loops. false: not in time. */
bool usage_log_sync(struct usage_log *u, unsigned timeout_ms) MUST_USE;
/* on_record is called on the writer thread for each record once it is in the store, while is_watched. Set it before the first put. */
void usage_log_on_record(struct usage_log *u, void (*on_record)(void *arg, const struct usage_record *r),
                         void (*on_group)(void *arg), void *arg);
void usage_log_watch(struct usage_log *u, bool is_watched);
/* Successes or errors that ended before this are no longer in the log. */
int64_t usage_log_floor_ms(const struct usage_log *u, bool is_error);
struct redactor;
void usage_log_set_redactor(struct usage_log *u, struct redactor *r); /* of what the details say; refs it; from any thread */
uint64_t usage_log_shed(const struct usage_log *u);           /* records lost to full rings */
struct usage_log_stats {
    uint64_t queued, written, failures; /* records waiting and committed; groups that the store refused */
};
struct usage_log_stats usage_log_stats(const struct usage_log *u);
/* What an id of a price or an account stands for, before the first record with it. From any thread. */
void usage_log_learn(struct usage_log *u, int64_t id, struct str text);
/* Ledger lines are never shed: those that found the journal full wait aside, and count against the memory ceiling. */
int64_t usage_log_waiting_bytes(const struct usage_log *u);
uint64_t usage_log_unkept(const struct usage_log *u);         /* lines that a kill would have lost until they were in the store */
/* The store refuses writes at the moment, or has not been done with one for seconds. now_ms: clock_mono_ms(), or a loop's. */
bool usage_log_is_degraded(const struct usage_log *u, uint64_t now_ms);
/* Work of other rooms on the same writer thread and connection (stored responses), in the order of posting. It waits in
 * memory until the store took it: what a full disk refuses is run again, and the log is degraded meanwhile. */
struct db;
struct usage_work {
    bool (*run)(void *arg, struct db *db, struct err *e); /* inside a transaction; once more whenever that failed */
    void (*done)(void *arg); /* lets arg go: it is committed, breaks a rule of the store, or the program ends */
};
/* bytes: what arg holds meanwhile. false: too much waits already. */
bool usage_log_post(struct usage_log *u, const struct usage_work *work, void *arg, size_t bytes) MUST_USE;
#endif
