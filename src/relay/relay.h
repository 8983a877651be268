/* relay.h - one inference request, first to last byte: parse -> resolve -> attempt (encode, send, decode) -> settle -> record.
 * The only room that joins route, wire, meter and http. A request lives and dies on one loop. */
#ifndef RELAY_RELAY_H
#define RELAY_RELAY_H
#include "domain/snapshot.h"
#include "gate/limit.h"
#include "http/client.h"
#include "http/server.h"
#include "meter/metrics.h"
#include "meter/otlp.h"
#include "meter/usage_log.h"
#include "net/worker.h"

enum relay_shape {
    RELAY_TALK,  /* a conversation in one of the wire formats */
    RELAY_JSON,  /* a JSON body with a model, relayed as it is */
    RELAY_FORM,  /* multipart with a model part, streamed */
    RELAY_EMBED, /* embeddings, translated where needed */
    RELAY_COUNT, /* tokens of a request: asked upstream, else estimated */
};

struct relay_spec {
    enum relay_shape shape;
    enum op op;
    enum wire_id client;      /* the caller's format: body, stream and error envelope */
    const char *native_auth;  /* header in which this format's clients send their key */
    const char *usual_model;  /* of requests that name none, where it is served; NULL: none */
};

struct relay_self {           /* our own door, for what is asked of our own models */
    char origin[300];         /* http://HOST:PORT */
    struct secret key;
};
struct semantic;
struct relay_shared;          /* what all loops share: the state of upstreams, thought signatures, stored responses, counters */
/* workers: for the store; fetchers: for what waits for other people's servers, so that these wait for nobody else */
struct relay_shared *relay_shared_new(const char *db_path, struct usage_log *usage, struct workers *workers, struct workers *fetchers,
                                      const char *spool_dir, struct limiter *limiter);
void relay_shared_free(struct relay_shared *s);
uint64_t relay_active(const struct relay_shared *s);         /* requests in flight */
_Atomic int64_t *relay_held_bytes(struct relay_shared *s);   /* the same, for others to add to */
int64_t relay_body_bytes(const struct relay_shared *s);      /* held in memory, against settings.max_memory_bytes */
void relay_set_self(struct relay_shared *s, struct str origin, struct secret key); /* before the first request */
/* The engine of the semantic cache; takes it. NULL: none. */
void relay_set_semantic(struct relay_shared *s, struct semantic *engine);
struct semantic *relay_semantic(const struct relay_shared *s);
struct cache_layer;
void relay_cache_layers(const struct relay_shared *s, struct cache_layer *out); /* CACHE_LAYERS of relay/replies.h */
struct live *relay_live_state(const struct relay_shared *s); /* breakers, loads, quota windows: route/live.h */
enum hedge_outcome { /* of asking a second target beside a silent one: who answered, and why it was not asked */
    HEDGE_WON, HEDGE_LOST, HEDGE_FAILED, HEDGE_LEFT,
    HEDGE_NO_BUDGET, HEDGE_NO_ROOM, HEDGE_NO_MONEY, HEDGE_NO_TARGET, HEDGE_OUTCOMES,
    HEDGE_SENT = HEDGE_OUTCOMES
};
#define HEDGE_ENDS HEDGE_NO_BUDGET                           /* those before it were sent */
extern const char *const hedge_outcome_names[HEDGE_OUTCOMES];
uint64_t relay_hedges(const struct relay_shared *s, enum hedge_outcome o);
struct task_count {
    uint64_t seen, led, tokens; /* requests for it; those that a policy led elsewhere, and what these took of tokens */
};
struct task_count relay_tasks(const struct relay_shared *s, unsigned task); /* enum task, since the start: where policies ask for tasks */
uint64_t relay_fallbacks(const struct relay_shared *s);      /* requests that global_fallback_model took over */
struct replies *relay_replies(const struct relay_shared *s);   /* answers that are kept: relay/replies.h */

struct relay_loop {           /* of one loop; open, filled in by app */
    struct loop *loop;
    struct http_client *client;
    struct usage_log *usage;
    struct body_store *bodies;
    struct relay_shared *shared;
    unsigned index;
    struct metrics_shard *metrics;
    struct otlp *otlp;        /* NULL: nothing is exported */
    struct http_server *server;
    struct limit_bell bell;   /* of requests that waited for their turn: relay_loop_init() */
    struct relay *live;       /* the requests being served: relay/live.c */
    int64_t last_line_us;     /* of the ledger: ids ascend, also beyond those of before the start */
    int64_t learned[64];      /* prices and accounts that the log knows from here: money.c */
    struct buf spare;         /* what one stream's read was written into, for the next one's: relay_loop_done() frees it */
};

void relay_loop_init(struct relay_loop *l); /* once it is filled in */
void relay_loop_done(struct relay_loop *l);

struct relay;
/* From on_head, after admission. Pins snap with a reference of its own. model and is_stream: from the path (Google), else empty.
 * The request id must outlive the request (its arena). cors_origin: the value
 * for Access-Control-Allow-Origin, empty for none. */
struct relay *relay_begin(struct relay_loop *l, struct http_req *r, const struct relay_spec *spec, struct snapshot *snap,
                          const struct key *key, struct str request_id, struct str cors_origin, struct str path_model, bool is_path_stream);
/* Right after relay_begin: the path names the provider whose model it is to be. */
void relay_name_provider(struct relay *rl, struct str provider);
/* The server's callbacks, handed on. After relay_close the relay is gone. */
void relay_body(struct relay *rl, struct str chunk);
void relay_complete(struct relay *rl);
void relay_bad(struct relay *rl, const struct err *e);
void relay_drain(struct relay *rl);
void relay_close(struct relay *rl);

/* Renders an error in the caller's format; also for refusals before a relay exists. */
void relay_reply_error(struct http_req *r, enum wire_id client, const struct err *e, struct str request_id, const struct http_header *extra,
                       size_t n_extra);

/* ---- stored responses (store: true) ---- */
enum stored_view { STORED_RESPONSE, STORED_INPUT_ITEMS, STORED_DELETE };
struct stored_call;
/* Answers GET /v1/responses/{id}, …/input_items and DELETE: what sluice keeps, or asks the upstream that issued the id. *call is set
 * before anything is answered and lives as long as r. */
void relay_stored(struct relay_loop *l, struct http_req *r, struct snapshot *snap, const struct key *key, struct str request_id,
                  struct str id, enum stored_view view, struct stored_call **call);
void relay_stored_drain(struct stored_call *c);

/* ---- requests being served: on their own loop only ---- */
enum relay_state { RELAY_READING, RELAY_WAITING, RELAY_ANSWERING }; /* its body; for an upstream; bytes go out */
extern const struct word relay_state_words[];                /* "reading", … */
struct relay_info {
    struct str id, key_id, key_label, model, upstream, upstream_model, peer;
    enum op op;
    enum wire_id client;
    enum relay_state state;
    bool is_stream;
    unsigned attempts;
    uint64_t elapsed_ms, ttft_ms, bytes_in, bytes_out; /* ttft 0: no byte yet */
    int64_t tokens_out;       /* so far */
    bool is_estimate;         /* the upstream has not said how many */
};
size_t relay_list(const struct relay_loop *l, struct arena *a, struct relay_info **out); /* copied: newest first */
uint64_t relay_streams(const struct relay_loop *l);          /* streams open to clients */
/* Ends a request as its client would see an error of ours: a well-formed one in its own format. false: no such request here. */
bool relay_cancel(struct relay_loop *l, struct str id);
#endif
