/* control.h - what a control-plane handler gets: a decoded call on a worker thread, where it may block. */
#ifndef API_CONTROL_H
#define API_CONTROL_H
#include "api/api.h"
#include "gate/identity.h"
#include "json/json.h"
#include "json/shape.h"
#include "store/db.h"
#include "vault/seal.h"
#include <pthread.h>

struct config_draft {         /* what is not saved yet */
    struct str text;          /* of the file; p NULL: as it stands there */
    struct db *db;            /* the store inside a transaction; NULL: as it stands */
};
struct config_fault {         /* what is wrong with the configuration file, while an older one serves */
    pthread_mutex_t lock;     /* of message and since_ms */
    char message[512];
    int64_t since_ms;
    _Atomic bool is_set;
};

/* Built by app: the doors to configuration and store that the handlers use. All block. */
struct control {
    void *arg;
    /* Reads file, environment and store again and publishes. The old configuration stays when that fails. Takes change_lock. */
    bool (*reload)(void *arg, struct err *e);
    /* For api/change.h, which holds change_lock: checks a configuration that is not saved yet, puts it in force, or says that what was
     * saved does not load. */
    bool (*build)(void *arg, const struct config_draft *d, struct snapshot **out, struct err *e);
    void (*publish)(void *arg, struct snapshot *s, bool is_of_file); /* takes s; is_of_file: the file is no longer at fault */
    void (*refused)(void *arg, const struct err *e);
    struct config_fault *fault;
    void (*setting_origins)(void *arg, enum origin *from); /* of all, in the order of setting_at() */
    pthread_mutex_t *change_lock; /* held while the configuration is changed: api/change.h */
    const struct seal *seal;
    struct refusals *refusals;    /* api/refusals.h; NULL: nobody is refused here */
    struct usage_log *usage;
    struct body_store *bodies;
    struct tail *tail;
    struct str bodies_dir;
    struct str data_dir, db_path, config_path; /* config_path empty: no file */
    struct test_tasks *tests; /* api/test_tasks.h; NULL: none */
    struct document *document; /* api/document.h */
    const _Atomic bool *is_stopping; /* what waits for others gives up */
    struct secret internal_key; /* opens the data plane for test requests */
    struct identity *identity;
    int64_t started_ms;       /* wall clock */
    uint64_t started_mono_ms; /* of the clock that nobody sets: how long it runs */
    /* for api/metrics.c */
    struct metrics *metrics;
    const struct totals_base *totals;
    struct otlp *otlp;
    struct loop **loops;      /* all of them, and what relays on each */
    struct relay_loop **relays;
    unsigned n_loops;
    const struct relay_shared *shared;
    struct limiter *limiter;
    const struct reload_counts *reloads;
    _Atomic bool *is_draining;
};
struct reload_counts {        /* of the configuration */
    _Atomic uint64_t ok, failed;
    _Atomic bool is_last_ok;
    _Atomic int64_t last_ms;  /* wall clock: when the one in force was taken up */
};

/* What a call with an Idempotency-Key made, from when that is committed on. */
struct call_made {
    struct strs objects;      /* ids or names; the first is the one that was asked for */
    struct str text;          /* a new key, which nothing else remembers */
    int64_t at_ms;
};

struct control_call {
    struct arena *arena;
    const struct endpoint *row;
    struct route_params params;
    struct str query;         /* as it came */
    void *asked;              /* the query decoded by the row's query-shape, zeroed where nothing was said; NULL without one */
    uint64_t asked_present;   /* which of its fields were there */
    void *in;                 /* decoded by the row's in-shape; NULL without one */
    uint64_t present;         /* which of its fields were there */
    yyjson_val *root;         /* the parsed body */
    struct control *control;
    struct snapshot *snap;    /* pinned */
    struct principal who;     /* who calls */
    struct str address;       /* of the client: behind trusted proxies theirs says which */
    bool is_https, is_cross_origin; /* what it came by; whether a browser says that another origin's page sent it */
    bool is_open;             /* administration needs no sign-in from here */
    struct str request_id;
    const struct http_header *head; /* the request's headers: control_head */
    size_t n_head;
    struct str body;          /* as it came */
    struct db *db;            /* of this call: control_db */
    int status;               /* to answer with; 200 until set */
    /* What there is of an object for its ETag; set by handlers of objects that have one, with the name of the one that is meant, before they
     * call api/change.h, which then minds If-Match. false: it is not there. */
    bool (*represent)(struct control_call *c, const struct snapshot *s, struct str name, struct buf *out);
    struct str represented;
    bool is_repeatable;       /* came with an Idempotency-Key: the answer is kept */
    bool is_resumed;          /* the process that ran it before died between its change and its answer: control_was_made() */
    struct call_made made;
    struct buf out;           /* the answer, JSON */
    const char *failed_as;    /* the code of an error that the handler answers itself, for the audit log; NULL: none */
    struct control_note *notes; /* control_audit */
    const char *content_type; /* of another answer */
    struct http_header headers[4]; /* of the answer, besides the usual ones: control_header */
    size_t n_headers;
};

int64_t control_uptime_ms(const struct control *k);
/* What is wrong with the configuration file while an older one serves, in the call's arena; false: nothing is. */
bool control_config_fault(struct control_call *c, struct str *message, int64_t *since_ms) MUST_USE;
struct db *control_db(struct control_call *c, struct err *e) MUST_USE;  /* read-write, closed after the call; NULL with e set */
struct str control_head(const struct control_call *c, const char *lower_name); /* a header of the request; STR_NONE */
void control_header(struct control_call *c, struct str name, struct str value); /* one more of the answer; texts live as long as the call */
/* Notes what this call changed, for the audit log: kind is "provider", …; before and after are JSON, secrets in it are masked here;
 * empty: nothing. Written with the call's outcome once the handler is done, also when it failed. A changing call that notes nothing
 * is recorded by its row. */
void control_audit(struct control_call *c, const char *kind, struct str name, struct str before, struct str after);
struct strs control_noted(struct control_call *c); /* the names of what was noted so far, newest first */
/* Writes what was noted so far inside the caller's transaction, as done with status: then change and record are one. */
bool control_audit_write(struct control_call *c, struct db *db, int status, struct err *e) MUST_USE;
bool control_changed(struct control_call *c, struct err *e) MUST_USE;   /* after a write: publish it. A failure says that it is saved */
/* What stands in the file or the environment cannot be changed here: 409 that says where it stands. */
bool control_may_change(struct control_call *c, enum origin from, const char *what, struct str name, struct err *e) MUST_USE;
bool control_reply(struct control_call *c, int status, const struct shape *s, const void *value); /* true */
/* The same with the object's ETag as it is in a snapshot; 304 to whoever has it already. represent is set. */
bool control_reply_tagged(struct control_call *c, int status, const struct shape *s, const void *value, const struct snapshot *in,
                          struct str name);
bool control_has_tag(struct control_call *c, struct str tag); /* a GET's If-None-Match: the caller has what this tag is of */
bool control_matches(struct control_call *c, const struct snapshot *now, struct err *e) MUST_USE; /* If-Match and If-None-Match; else status 412 */
/* Whether a call that was killed made this already: then it is answered, not made again. Empty: whatever it made. Says so once. */
bool control_was_made(struct control_call *c, struct str object) MUST_USE;
/* In the transaction of a change: that it was made, for the same call when it comes again. Refuses a second change of a resumed call. */
bool idempotency_made(struct control_call *c, struct db *db, int status, struct err *e) MUST_USE;
/* For control.c: *is_done: this call was made before, and is answered. */
bool idempotency_begin(struct control_call *c, bool *is_done, struct err *e) MUST_USE;
bool idempotency_end(struct control_call *c, bool ok, struct err *e) MUST_USE; /* ok, or what is to be said instead */
bool control_reply_list(struct control_call *c, const struct shape *s, const void *first, size_t n); /* {"data":[…]}; true */
/* {"data":[…],"has_more":…,"next":…}, of a row with is_page; true. next: what `after` continues from; p == NULL: nothing follows. */
bool control_reply_page(struct control_call *c, const struct shape *s, const void *first, size_t n, struct str next);
/* What a row asks of a query, into out, which is of its query shape. ERR_INPUT names the parameter: on sluice's own surface also one that the
 * row does not know. For rows that run on the loop; of others it is in `asked`. */
bool control_read_query(struct arena *a, const struct endpoint *row, struct str query, void *out, uint64_t *present, struct err *e) MUST_USE;
/* The same of a list that lies in memory, in any order. The row's query-shape has PAGE_FIELDS, and may have fields of the same name as s
 * has: those are filters (of a list of strings: one that is in it). key: the field that tells items apart, a string; sorted by it unless
 * the query says otherwise. */
bool control_reply_sorted(struct control_call *c, const struct shape *s, const void *first, size_t n, const char *key,
                          struct err *e) MUST_USE;
/* The same of a list that may be very long: each item is made when it is looked at, and only those of the page stay. */
typedef void page_make_fn(void *arg, struct arena *a, size_t i, void *out); /* out is zeroed */
bool control_reply_made(struct control_call *c, const struct shape *s, size_t n, page_make_fn *make, void *arg, const char *key,
                        struct err *e) MUST_USE;
/* Of journals, which stand in the store in the order of time: a time as text (RFC 3339 or milliseconds since 1970; empty: 0), and from which end
 * they are read (-at, as when absent, or at). ERR_INPUT names the parameter. */
bool journal_time(struct str text, const char *name, int64_t *ms, struct err *e) MUST_USE;
bool journal_order(struct str sort, bool *oldest_first, struct err *e) MUST_USE;
#define JOURNAL_SORT_DOC "-at: the newest first, as when absent; at: the oldest first"
struct page_query {           /* first in the query's struct */
    int64_t limit;
    struct str after, sort, q;
};
// clang-format off
#define PAGE_FIELDS(type) \
    FIELD_AS_RANGE(type, page.limit, "limit", 1, 10000, 0, "Page size; 1000 when absent"), \
    FIELD_AS(type, page.after, "after", NULL, 0, "Begin behind this one: the page before's next"), \
    FIELD_AS(type, page.sort, "sort", NULL, 0, "Field to sort by, with - before it from the other end; absent: by what names each"), \
    FIELD_AS(type, page.q, "q", NULL, 0, "Only those that hold this text somewhere, in any case")
// clang-format on
extern const struct shape page_query_shape; /* of a list without filters: struct page_query */
/* audit.c, for control.c: what is still to be recorded when the handler is done. e: its error, when it failed. */
void control_audit_finish(struct control_call *c, bool ok, const struct err *e);
/* For api.c and control.c: a call that reached no handler. On the loop. */
void control_audit_refused(struct api_call *c, const struct err *e);
#endif
