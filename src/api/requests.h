/* requests.h - a logged request as the canonical API shows it: for lists, for one, and for the live tail. */
#ifndef API_REQUESTS_H
#define API_REQUESTS_H
#include "api/control.h"
#include "meter/usage_detail.h"
#include "meter/usage_read.h"

struct request_out {
    struct str id;
    int64_t seq;
    struct str ended, model, provider, provider_model, key, key_label, operation, client_format, upstream_format;
    bool stream;
    int32_t status;
    struct str error, error_message;
    int64_t attempts, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, audio_in_tokens,
        audio_out_tokens, cost_nanousd, hedge_cost_nanousd, ttft_us, duration_us, bytes_in, bytes_out;
    struct str usage_quality;
    /* of one request */
    struct shape_list tried;
    struct strs dropped;
    yyjson_val *route;
    struct str policy, task, trace_id, cache, client_address, user_agent;
    bool has_bodies;
};
extern const struct shape request_shape;

struct list_query {
    int64_t limit, before, after;
    struct str sort, from, to, model, provider, key, key_label, status, error, operation, format, upstream_format, id, q;
    bool stream, total;
};
extern const struct shape list_query_shape, tail_query_shape; /* the tail has the filters only */

/* The filter that a query asks for; present: which of its fields were there. key_label is left to the caller. */
bool request_filter(const struct list_query *q, uint64_t present, struct usage_filter *f, struct err *e) MUST_USE;
struct request_out request_show(struct arena *a, const struct snapshot *snap, const struct usage_row *r, struct usage_detail *d);
void request_keys_named(struct arena *a, const struct snapshot *s, struct usage_filter *f); /* those whose label holds f->text */
struct str request_key_label(const struct snapshot *s, struct str key_id); /* empty: none, or no such key any more */

bool request_keys_labelled(struct control_call *c, struct db *db, struct str label, struct usage_filter *f, struct err *e) MUST_USE; /* in the log */
bool request_log_clear(struct control_call *c, struct err *e) MUST_USE; /* for every reader at once; figures stay */

/* ---- tail.c: requests as they end, over SSE ---- */
struct tail;
struct tail_client;
struct tail *tail_new(struct usage_log *usage);
void tail_stop(struct tail *t);                               /* before the loops go: the writer posts nothing to them any more */
void tail_free(struct tail *t);                               /* after the usage log; NULL is allowed */
void tail_leave(struct tail_client *tc);                      /* its request goes away */
void tail_drain(struct tail_client *tc);                      /* it takes more */
#endif
