/* request.h - the state of one relayed request, for the files of this room only. */
#ifndef RELAY_REQUEST_H
#define RELAY_REQUEST_H
#include "relay/relay.h"
#include "relay/scan.h"
#include "domain/route_policy.h"
#include "route/live.h"
#include "wire/framing.h"
#include "wire/stop.h"
#include "wire/wire.h"

enum reply_mode {
    REPLY_NONE,
    REPLY_ERROR,     /* status >= 300: collected, then judged */
    REPLY_COLLECT,   /* whole, then passed or translated */
    REPLY_FOLD,      /* a stream that answers a request for a whole reply: collected through events */
    REPLY_PASS,      /* stream, bytes through, metered by the side */
    REPLY_TRANSLATE, /* stream through events */
    REPLY_PIPE,      /* bytes through (audio), of events only their usage looked at */
};

#define MAX_KEPT_HEADERS 24
#define DROPPED_HEADER "x-sluice-dropped"
struct out_headers { /* what of an upstream's headers the client gets */
    struct http_header *v;
    size_t n;
};

/* Made when something fails: most requests never need the room. */
struct failures {
    struct err read;   /* of reading the request into the IR */
    struct err last;   /* of the last attempt */
    struct err stream; /* an error event of the upstream */
    struct notes *notes; /* note.c */
    struct str mask_open; /* of note_mask_piece: what waits for the next one */
};

struct relay {
    struct relay_loop *env;
    struct relay *live_next, **live_prev; /* live.c */
    struct http_req *r;
    struct snapshot *snap;
    const struct settings *set;
    const struct key *key;
    const struct relay_spec *spec;
    struct str id;                   /* request id */
    struct str cors;                 /* Access-Control-Allow-Origin; empty: none */
    struct arena *body_arena;        /* bodies and trees: let go once no attempt can follow */

    /* the request */
    struct buf chunks;               /* a chunked body as it came */
    struct str body;                 /* decoded, expanded */
    size_t prompt_bytes;             /* of it, once it was let go */
    bool is_body_copied;             /* body_arena holds it */
    struct json_want model_want;
    struct json_want *responses_want; /* of a Responses request: RESPONSES_WANTS of them */
    struct json_scan scan;
    bool is_scanned;
    struct str model, path_model;
    struct str provider;       /* that the path names: the model is one of its own; empty: any */
    bool is_stream, is_path_stream, is_gemini_array;
    bool adds_stream;                /* its Accept asks for one, its body does not say */
    bool is_extended;                /* the model was asked for with its extended context */
    bool asked_usage;                /* chat: the client wants the usage chunk */
    bool tells_usage;                /* … and its request says so once, for whoever reads it */
    bool says_level, says_thinking;  /* there is a member thinkingLevel; thinking or reasoning_effort */
    yyjson_val *root;
    struct ir_request *ir;           /* parsed when first needed */
    bool is_ir_tried;
    struct wire_dropped *read_dropped, **read_dropped_tail; /* noted while reading the request: of every attempt */
    struct arena *sent_arena;        /* the translated request and what it was made of: let go with the first byte of the reply */
    size_t received_bytes;           /* of the body as it came, held by the server */
    size_t counted_bytes;            /* of the memory ceiling */

    /* where to */
    const struct route_policy *policy; /* that led it elsewhere; NULL: none */
    struct choice *choice;           /* choose.c; NULL: one target, nothing to choose */
    struct ticket ticket;            /* of the attempt: which credential of the target, and when */
    bool is_admitted;                /* its breaker waits for an outcome */
    bool has_fallen_back;            /* to global_fallback_model */
    const struct target *entered;    /* counted among what it serves at once */
    int last_failed_status;          /* of the attempt that failed; 0: none came */
    const struct target **order;
    struct target single;
    size_t n_order, next;
    unsigned attempts, failed_attempts;
    const struct target *target;
    struct failures *failures;       /* relay_failures() */
    int64_t reply_retry_ms;          /* what the headers of an error reply ask for; -1 nothing */
    struct str last_body, last_type; /* same format: passed on as it is */
    int last_status;
    enum fault last_fault;
    struct out_headers last_headers;

    /* the attempt */
    struct http_call *call;
    enum wire_id up;                 /* format spoken to the upstream; WIRE_NONE: an op of no wire */
    bool is_same;                    /* request passes without IR */
    bool is_misframed;               /* the reply calls itself a stream of another kind than its format has */
    bool strip_usage;                /* the usage chunk was asked for by us alone */
    bool is_fetching;                /* images are being fetched on a worker */
    struct str key_sent;
    enum reply_mode mode;
    int up_status;
    struct str up_type;
    struct out_headers out_headers;
    struct coding *coding;           /* of its reply; NULL: it comes as it is */
    struct buf reply;                /* collected reply body */
    struct arena *scratch;           /* while frames are read; NULL between reads */
    struct wire_ctx ctx;
    bool is_ctx_ready;
    void *dec, *enc;
    struct stop_cut *cut;            /* NULL: the upstream stops by itself */
    struct ir_collector *collector;
    struct framing_reader *framing;
    struct buf out;                  /* frames of one read, written once */
    struct stream_scan pass;
    bool renames_model;              /* in a passed stream: relay_model_shown() */
    struct buf last_frame;           /* of a passed Responses stream that is to be kept */
    bool is_head_sent, has_content, is_ended, is_done, is_closing;
    bool has_begun;                  /* the encoder has written the opening, in which a reply repeats its request */
    bool saw_error_event;
    struct timer keepalive, linger;
    uint64_t last_write_ms;

    struct money *money;             /* money.c; NULL: no budget holds */
    struct commit *commit;           /* commit.c; NULL: it is settled when it is over */
    enum price_service service;      /* asked for */
    bool is_service_open;            /* it may be priority as well: the upstream chooses */
    int64_t asked_output;            /* most tokens that one answer may have; -1: it does not say */
    int64_t asked_choices;           /* how many answers, at least 1 */
    bool has_far_context;            /* its upstream adds what it keeps to the prompt: a conversation, a stored prompt, a cache */
    bool is_background;              /* the upstream is to go on with it by itself */
    bool is_open;                    /* … and does: the reply says nothing yet */
    int64_t line_id;                 /* of its ledger line, known before that is made; 0: not */
    int64_t given_output;            /* what a budget lets one answer have, where the request does not say: the upstream is told; 0: nothing */
    int64_t lost_nanousd;            /* of the attempt that hedge_loss() tells of */
    int64_t thinking_tokens;         /* that the operator asks for, where the client's format has only words for it; 0: none */
    int64_t admitted_ms;             /* when it got its snapshot: its prices are of that moment, whatever begins to hold while it waits and runs */
    bool is_money_asked, is_cut;     /* whether a budget was asked; it ended the stream */

    /* the record */
    struct ir_usage usage;
    bool is_opening;                 /* usage that follows was told before anything of the reply */
    int64_t said;                    /* tokens behind what usage tells of the reply, by the text of events */
    int64_t n_images;                /* that the model made in a conversation */
    enum ir_stop stop;
    uint64_t sent_ns, first_ns;
    int status;
    char error_code[48];
    struct body_set *capture;        /* bodies for the request log; NULL: not wanted */
    struct trace *trace;             /* NULL: none */

    struct embed_request *asked;     /* embeddings that are translated */
    enum op embed_op;
    const char *embed_suffix;        /* Google: the verb */
    struct echo *echo;
    struct form *form;
    struct admission *admission;     /* admission.c; NULL: nothing of it is limited */
    struct kept *kept;               /* stored response state */
    struct hedge *hedge;             /* hedge.c; NULL: nothing is asked twice at once */
    struct cached *cached;           /* cache.c; NULL: not its business */
    struct meaning *meaning;         /* meaning.c; NULL: not known */
    struct meaning_job *meaning_job; /* NULL: none runs */
    bool meaning_tried;
    struct image_job *images;
    bool images_done;
};

/* Further members of a Responses request, read with model and stream. */
enum { WANT_STORE, WANT_PREVIOUS, WANT_INPUT, WANT_BACKGROUND, RESPONSES_WANTS };

struct relay_shared {
    struct limiter *limiter;
    struct live *live_state;
    _Atomic uint64_t chosen;         /* counts for route_seed */
    _Atomic uint64_t fallbacks;      /* to global_fallback_model */
    _Atomic uint64_t tasks_seen[TASKS], tasks_led[TASKS], tasks_tokens[TASKS]; /* struct task_count */
    _Atomic uint64_t hedges[HEDGE_OUTCOMES];
    struct workers *workers, *fetchers; /* for what takes a moment; for what waits for others */
    struct usage_log *usage;
    struct signatures *signatures;
    struct sessions *sessions;       /* relay/sessions.h */
    struct responses *responses;
    struct replies *replies;
    struct semantic *semantic;       /* NULL: no engine */
    struct relay_self self;
    struct str spool_dir;
    _Atomic uint64_t active;
    _Atomic int64_t held_bytes;      /* by requests (bodies, what was read from them, replies) and by output that waits for a socket; against settings.max_memory_bytes */
};

/* relay.c */
void relay_start(struct relay *rl);                           /* the request is read and resolved */
void relay_attempt_next(struct relay *rl);
struct str relay_dropped(struct relay *rl);                   /* what the target could not be told, for a header; empty: nothing */
struct failures *relay_failures(struct relay *rl);
/* For what nobody looks at once the reply has begun: a silent stream does not go on holding it. */
struct arena *relay_brief(const struct relay *rl);
void relay_fail(struct relay *rl, const struct err *e);       /* answers with e, or breaks a begun stream off in the caller's dialect */
void relay_attempt_failed(struct relay *rl, const struct err *e, enum fault f, int64_t retry_after_ms);
void relay_copy_text(char *out, size_t size, struct str s);   /* cut between characters */
void relay_drop_attempt(struct relay *rl);                    /* lets go of all that the attempt in rl holds, its call first */
enum hedge_outcome relay_attempt_beside(struct relay *rl) MUST_USE; /* asks the next target now, or says why not: nothing is left of it then */
extern const struct http_call_handler relay_call_handler;     /* of a call of rl's attempt; arg: rl */
bool relay_begin_stream(struct relay *rl);                    /* head of a streamed reply, once */
void relay_flush(struct relay *rl);                           /* rl->out to the client */
void relay_start_keepalive(struct relay *rl);
void relay_finish(struct relay *rl);                          /* the reply is complete */
void relay_reply_json(struct relay *rl, int status, struct str body);
void relay_fill_record(struct relay *rl, struct usage_record *u); /* what it is, and what it cost: settles */
void relay_put_line(struct relay *rl, struct usage_record *u); /* what it cost is kept: once */
/* relay/provider.c: the model's name in full where the path names its provider. ERR_INPUT: it is another's. */
bool relay_hold_to_provider(struct relay *rl, struct err *e) MUST_USE;
/* choose.c */
/* The model of the catalogue whose target this is, though it was asked for as provider/model: of several a limited one. NULL: none. */
const struct model *served_model(const struct snapshot *s, const struct target *t);
bool relay_resolve(struct relay *rl, struct err *e) MUST_USE; /* rl->model to the ordered candidates */
enum choice_step { CHOICE_GO, CHOICE_SKIP, CHOICE_WAIT };     /* ask rl->target; the next one; a timer goes on */
enum choice_step choice_admit(struct relay *rl) MUST_USE;
bool choice_admit_beside(struct relay *rl) MUST_USE;          /* rl->target stands well and has a place free: it is taken, nothing is waited for */
const struct candidate *choice_candidate(const struct relay *rl); /* rl->target among those to choose from; NULL: it is not */
uint64_t choice_conversation(struct relay *rl);               /* what it belongs to, by the client's word or by how it began; never 0 */
const struct combo *choice_named(const struct relay *rl);     /* the combo that the client asked for, by whatever name; NULL: a model */
void choice_outrun(struct relay *rl);                         /* another one answered before rl->target */
uint64_t choice_first_byte_timeout(const struct relay *rl, uint64_t usual);
void choice_head(struct relay *rl, int status, const struct http_header *h, size_t n); /* the upstream's head is there */
void choice_report(struct relay *rl, enum fault f, int64_t retry_after_ms); /* the attempt failed */
void choice_leave(struct relay *rl);                          /* the attempt is over */
bool choice_goes_on(struct relay *rl, enum fault f) MUST_USE; /* another attempt follows, now or later */
bool choice_waits(struct relay *rl, struct err *e) MUST_USE;  /* nobody could be asked: for the nearest recovery. false with e set: too far off */
/* When it may be tried again: the one that failed last, with f, asked for of_last_ms, and others may be ready before. < 0: not said. */
int64_t choice_retry_ms(struct relay *rl, enum fault f, int64_t of_last_ms);
int64_t choice_recovery_ms(struct relay *rl);                 /* until the first of those that cool can be asked, where that is waited for; -1: it is not */
void choice_waited(struct relay *rl, uint64_t ms);            /* for it */
bool choice_is_left_alone(const struct relay *rl) MUST_USE;   /* rl->target cools */
void choice_limited(struct relay *rl);                        /* rl->target has no room */
void choice_end(struct relay *rl);
struct str choice_text(struct relay *rl);                     /* for the request log; STR_NONE: there was no choice */
void relay_start_form(struct relay *rl, int64_t length, struct str content_type);
bool relay_load_ir(struct relay *rl, struct err *e) MUST_USE;
void relay_ready_ctx(struct relay *rl);
void relay_forget_request(struct relay *rl); /* lets go of what only another attempt, or the opening of a reply, would need */
void relay_ready_reply(struct relay *rl); /* the context that reading the reply needs */
/* What the upstream serves an operation at, without its query; NULL: it does not. */
const char *upstream_path(struct arena *a, const struct upstream *u, struct str model, enum op op, struct buf *b);
char upstream_query(const struct upstream *u, struct buf *b);  /* its own part of the query; gives what goes before more: '?' or '&' */
const char *relay_path(struct relay *rl, const struct target *t, enum op op, struct str *out);
void relay_on_ir_event(void *arg, const struct ir_event *ev);

/* hedge.c: a second attempt beside a silent one. Each of them may be the one in rl whenever something comes for it. */
struct http_call *hedge_call(struct relay *rl, const struct http_out *out); /* starts rl's attempt, watched where it may be asked twice */
bool hedge_goes_on(struct relay *rl) MUST_USE;                /* rl's attempt failed, and is dropped. true: the other one is rl's now */
void hedge_end(struct relay *rl);                             /* no other attempt goes on */
bool hedge_is_now(const struct relay *rl);                    /* rl's attempt was made beside another one */
unsigned hedge_sent(const struct relay *rl);                  /* attempts that were */
struct hedge_loss { /* an attempt that was cancelled without a reply */
    const struct target *target;
    enum money_end end;
};
const struct hedge_loss *hedge_loss(const struct relay *rl);  /* NULL: none was */

void relay_admitted(struct relay *rl);                        /* on from admission */

bool inject(struct relay *rl) MUST_USE;                       /* inject.c; true: rl->body is another now, and must be looked at again */
/* admission.c */
#define ADMISSION_HEADERS 7
bool admission_begin(struct relay *rl) MUST_USE;              /* false: it waits for its turn (then relay_admitted goes on), or was refused */
void admission_look(struct relay *rl);                        /* rl->order is looked through, from rl->next */
bool admission_has_turn(struct relay *rl) MUST_USE;           /* false: it waits, and rl->target is not to be asked yet */
bool admission_target(struct relay *rl) MUST_USE;             /* before an attempt at rl->target; false: its upstream has no room now */
bool admission_wait_target(struct relay *rl) MUST_USE;        /* no further target can be asked. true: some have no room, and it waits for them */
bool admission_refuses(struct relay *rl, struct err *e) MUST_USE; /* it can not wait: true: e says so, unless it tells of something nearer */
void admission_step_aside(struct relay *rl);                  /* what it waits for is not room: others go first */
int64_t admission_room_ms(const struct relay *rl, const struct target *t); /* until its limits have room, as far as one knows; 0: they have */
/* A second attempt, at rl->target, beside the one that is let in: in its upstream's limits, and once more at once in those of the caller. */
bool admission_beside(struct relay *rl) MUST_USE;
void admission_change_places(struct relay *rl);               /* which of the two is rl's */
void admission_other_over(struct relay *rl, bool was_asked);  /* of the other one; was_asked: its upstream may have worked for it */
void admission_end(struct relay *rl);
bool admission_tells(const struct relay *rl);                 /* there are headers of our own; the upstream's are left out then */
bool is_limit_header(struct str name);
/* The session of a conversation, and what admission_tells() of: at most ADMISSION_HEADERS, else one. */
size_t admission_headers(const struct relay *rl, struct http_header *h);

/* trace.c: all do nothing for a request without a trace */
void trace_begin(struct relay *rl);
const char *trace_id(const struct relay *rl);                  /* NULL: none */
void trace_attempt(struct relay *rl);
size_t trace_span(const struct relay *rl);                     /* the attempt that trace_attempt_end ends */
void trace_set_span(struct relay *rl, size_t span);
void trace_answered(struct relay *rl, struct str model);       /* what the attempt's answer calls its model */
void trace_answer(struct relay *rl, struct str json);          /* the same from its first bytes */
void trace_attempt_end(struct relay *rl, const char *fault);   /* a literal, or rl->error_code; "": it was taken */
size_t trace_headers(const struct relay *rl, struct http_header *h, size_t max);
void trace_end(struct relay *rl, const struct usage_record *u, uint64_t now_ns);
/* A log line of this request: fmt is a literal. */
#define RELAY_LOG(log, rl, event, fmt, ...) \
    do { \
        if ((rl)->trace) \
            log(str_z((rl)->r->arena, (rl)->id), event, fmt " trace_id=%s", __VA_ARGS__, trace_id(rl)); \
        else \
            log(str_z((rl)->r->arena, (rl)->id), event, fmt, __VA_ARGS__); \
    } while (0)
/* asked.c */
enum { ASKED_WANTS = 12 };
void asked_wants(struct json_want want[ASKED_WANTS]);
/* Fills rl->asked_*; the spans are of rl->body. false: something that decides stands there twice, or is no number. */
bool asked_take(struct relay *rl, const struct json_want want[ASKED_WANTS], struct err *e) MUST_USE;
bool asked_form_choices(struct relay *rl, struct str text, struct err *e) MUST_USE; /* the same of a form's part n: rl->asked_choices. false: it is no number */
/* Parsers differ in which of duplicates wins: what decides may stand there once. of: what goes before its name, "" or "options." */
bool asked_once(const struct json_want *want, const char *of, struct err *e) MUST_USE;
/* How often the web may be searched for it: as often as it says in its format's way, else `otherwise`; 0: nothing in it is of a search. */
int64_t asked_searches(struct str body, enum wire_id client, int64_t otherwise);
int64_t asked_images(struct str body, enum wire_id client, int64_t otherwise); /* pictures that a conversation may make */
/* Tokens that a prompt comes to at most, where a token has at least so many bytes of text. */
int64_t asked_input_most(struct str body, int64_t bytes_a_token);
int64_t asked_input(struct str body);                          /* tokens by its size: four bytes each; a run of base64 counts as one picture */
/* money.c */
bool money_admit(struct relay *rl, struct err *e) MUST_USE;    /* once, before the first attempt: takes the hold */
bool money_takes(const struct relay *rl, const struct target *t, struct err *e) MUST_USE; /* whether its price is known, where it must be */
bool money_follows(struct relay *rl) MUST_USE;                 /* rl->order is another one now: the hold is large enough for it, or grew; false: there is no room */
/* The upstream is told of a maximum that is larger than the one that was asked for: the hold grows to it. false: there is no room. */
bool money_covers(struct relay *rl, int64_t max_tokens, struct err *e) MUST_USE;
bool money_beside(struct relay *rl) MUST_USE;                  /* holds what a second attempt, at rl->target, may cost; false: there is no room, or its price is not known */
bool money_upload(struct relay *rl, struct err *e) MUST_USE;   /* more of a form came: the hold grows to it. false: there is no room */
struct str money_warning(const struct relay *rl);              /* the budgets that are nearly spent; empty: none */
bool money_cuts(const struct relay *rl) MUST_USE;              /* the stream may be ended: it goes through events */
void money_passed(struct relay *rl, int64_t tokens);           /* rl->money is there: so many came so far; the hold grows */
bool money_is_spent(struct relay *rl, const struct ir_event *ev) MUST_USE; /* the same of an event; true: end it here */
void money_cut(struct relay *rl, const struct ir_event *ev, wire_sink_fn *emit, void *arg);
int64_t money_line_id(struct relay *rl);                       /* what its line will be called */
void money_record(struct relay *rl, struct usage_record *u);   /* settles, and fills in what it cost */
bool money_binds(const struct relay *rl) MUST_USE;             /* it is under a budget that stops */
/* commit.c: under a budget that stops, the line of an answer is kept before its last bytes go out */
void commit_settle(struct relay *rl, size_t about_to_send);   /* the rest of the answer, so many bytes, is about to be sent: behind what is held */
size_t commit_unsent(const struct relay *rl);                 /* bytes of the answer that are known, and have not gone out */
bool commit_recall(const struct relay *rl, struct usage_record *u) MUST_USE; /* what was settled; false: nothing yet */
bool commit_keeps(struct relay *rl, struct str bytes) MUST_USE; /* of a stream's last read: true: they go out when it is over */
void commit_read_end(struct relay *rl);                       /* the read is over: what it brought goes out */
void commit_forget(struct relay *rl);                         /* the request goes away */
/* live.c */
int64_t live_tokens_out(const struct relay *rl);               /* of the reply so far: what was told, and for what came since its text */
void live_add(struct relay *rl);
void live_remove(struct relay *rl);
/* note.c: for the request log */
void note_attempt(struct relay *rl);                          /* one begins */
bool note_is_told(const struct relay *rl);                    /* the attempt in rl is among those told of */
void note_open(struct relay *rl);                             /* it is not yet */
void note_failed(struct relay *rl, const struct err *e, const char *fault); /* it failed */
void note_error(struct relay *rl, const struct err *e);       /* what the client is told */
struct str note_mask(struct relay *rl, struct str text);      /* without the credentials that the upstream got: some repeat them */
/* As note_mask, of what comes piece by piece: what may go out now. What may be the beginning of a credential waits for the next piece. */
struct str note_mask_piece(struct relay *rl, struct str piece);
struct str note_mask_rest(struct relay *rl);                  /* what still waits: nothing follows */
const struct err *note_mask_error(struct relay *rl, const struct err *e); /* as note_mask: e itself, or a copy */
void note_put(struct relay *rl, struct usage_record *u);      /* hands the record over, with what there is to say beside it */
bool capture_is_wanted(const struct relay *rl);               /* by its key's word, else by the setting */
void capture_begin(struct relay *rl);
void capture_request(struct relay *rl, struct str body);
void capture_sent(struct relay *rl, struct str body);         /* this and the next when rl->capture is there. Begins the attempt's two */
void capture_sending(struct relay *rl, struct str bytes);     /* more of a body that is sent piece by piece */
void capture_received(struct relay *rl, struct str bytes);
void capture_replied(struct relay *rl, struct str bytes);     /* for who takes the request's tap over */
/* cache.c: answers that need no upstream */
/* true: the request goes on to its upstreams. false: it is answered, or waits for the answer to an equal one; rl may be gone. */
bool cache_begin(struct relay *rl) MUST_USE;
void cache_drain(struct relay *rl);
void cache_end(struct relay *rl);                             /* the request goes away: what it has for others is theirs now */
void cache_forget(struct relay *rl);                          /* after that, and its record */
const char *cache_how(const struct relay *rl);                /* "hit", "joined", "semantic", "idempotent"; NULL: it was answered by an upstream */
const struct saved *cache_served(const struct relay *rl);      /* the kept answer that it got; NULL: none */
size_t cache_headers(struct relay *rl, struct http_header *h, size_t max);
/* edit.c: the only changes a body of the same format sees */
/* Reply bytes whose "reasoning" members become "reasoning_content", as put(arg, …) gets them piece by piece. */
void edit_reasoning(struct str bytes, void (*put)(void *arg, struct str bytes), void *arg);
bool relay_renames_reasoning(const struct relay *rl) MUST_USE;
struct str relay_model_shown(const struct relay *rl); /* what replies call the model (show_alias); empty: as the upstream does */
/* A whole reply, or the data of an event, that calls the model so; itself where there is nothing to change. */
struct str edit_model(struct relay *rl, struct str json);
/* The same for whole frames of a stream, piece by piece. What is no frame passes as it is. */
void edit_model_frames(struct relay *rl, struct str frames, void (*put)(void *arg, struct str bytes), void *arg);
bool relay_repairs(const struct relay *rl) MUST_USE; /* the reply is decoded and encoded although it has the caller's format */
/* Whether a Chat request must be written anew for a Chat upstream: its quirks reach deeper than edit_body does. */
bool edit_rewrites(const struct relay *rl, const struct target *t);
void relay_note_dropped(struct relay *rl, const char *why, const char *field); /* of a request that passes otherwise as it came */
bool edit_body(struct relay *rl, const struct target *t, struct str *out, struct err *e) MUST_USE;
/* headers.c */
bool header_is_forwarded(struct str name) MUST_USE;           /* of the caller: to upstreams of the same format */
void upstream_headers(struct relay *rl, const struct target *t, struct str content_type, struct http_out *out); /* its lines and headers */
void keep_reply_headers(struct arena *a, const struct http_header *h, size_t n, struct out_headers *out);
/* stream.c */
void stream_start(struct relay *rl);                          /* after the upstream's head: builds decoder, encoder, scanner */
void stream_bytes(struct relay *rl, struct str bytes);
void stream_read_end(struct relay *rl);
bool stream_finish(struct relay *rl, struct err *e) MUST_USE;  /* tells the decoder that no byte follows */
/* Events of other operations than conversations, for their usage: a transcript's, a picture's that comes in pieces. */
void stream_pipe_start(struct relay *rl);
void stream_pipe_bytes(struct relay *rl, struct str bytes);   /* to the client; where it was not started they are no events */
void stream_pipe_end(struct relay *rl);                       /* the rest of them; takes what they told */
void stream_meter_array(struct relay *rl);                    /* Google's list, of which nothing is metered while it passes */
void stream_end(struct relay *rl);                            /* the upstream's reply is whole */
void stream_break(struct relay *rl, const struct err *e);     /* it broke off after bytes went out */
void stream_replay(struct relay *rl, const struct ir_response *res);
void write_stream_error(enum wire_id client, const struct err *e, struct str request_id, struct buf *out);
/* whole.c */
void whole_refuse(struct relay *rl);                          /* its type is none that an answer to this may have: the attempt failed */
void whole_reply(struct relay *rl);                           /* REPLY_COLLECT and REPLY_FOLD at their end */
void loaded_reply(struct relay *rl);                          /* to a request that only asks for its model to be loaded */
/* embed.c, count in whole.c */
bool embed_body(struct relay *rl, const struct target *t, enum op *up_op, struct str *out, struct err *e) MUST_USE;
bool embed_echo(struct relay *rl, struct buf *out, struct err *e) MUST_USE;
bool embed_reply(struct relay *rl, struct buf *out, struct err *e) MUST_USE;
void count_locally(struct relay *rl);
/* decode.c */
bool decode_body(struct arena *a, struct str encoding, struct str body, size_t max, struct str *out, struct err *e) MUST_USE;
struct coding *coding_new(struct str name);                   /* of a reply, by its Content-Encoding; NULL: as it is */
void coding_free(struct coding *c);
bool coding_push(struct coding *c, struct str bytes, struct buf *out, struct err *e) MUST_USE; /* decoded as far as it goes */
bool coding_end(struct coding *c, struct err *e) MUST_USE;    /* false: something is missing. NULL is allowed */
/* echo.c: the built-in upstream */
void echo_start(struct relay *rl);
void echo_form_complete(struct relay *rl);                    /* the form that it waits for is whole */
void echo_cancel(struct relay *rl);
void echo_drain(struct relay *rl);
/* form.c: multipart */
void form_begin(struct relay *rl);
void form_body(struct relay *rl, struct str chunk);
void form_complete(struct relay *rl);
void form_writable(struct relay *rl);
void form_close(struct relay *rl);
bool form_is_complete(const struct relay *rl);                 /* received to its end */
bool form_can_retry(const struct relay *rl);
void form_attempt(struct relay *rl, const struct target *t);
int64_t form_tokens_most(const struct relay *rl);              /* that it may come to, as far as its size is known */
/* That it comes to, as far as anybody can say: of sound by its size, as announced or as it came, of pictures by their number. */
int64_t form_tokens(const struct relay *rl, bool is_announced);
int64_t form_choices(const struct relay *rl);                  /* answers that it asks for; as long as that is not known, as many as are usual at most */
int64_t form_length(const struct relay *rl);                   /* -1: unknown, sent chunked */
/* signatures.c */
struct signatures *signatures_new(void);
void signatures_free(struct signatures *s);
struct str signature_get(void *relay, struct str call_id);
void signature_put(void *relay, struct str call_id, struct str signature);
/* responses.c */
struct responses *responses_new(const char *db_path, struct relay_shared *s);
void responses_free(struct responses *s);
/* Reads store and previous_response_id of a Responses request. true: go on; false: waiting for the store, or already answered. */
bool responses_prepare(struct relay *rl);
void responses_forget(struct relay *rl);                      /* the request goes away */
bool responses_is_continuation(const struct relay *rl);        /* history was expanded here: previous_response_id is for us alone */
/* Tokens of what the upstream keeps and puts before the request; 0: nothing, or it stands in the body; -1: not known. */
int64_t responses_context(const struct relay *rl);
bool responses_runs_on(const struct relay *rl, struct str reply); /* the upstream goes on with it behind this reply */
void responses_plan(struct relay *rl, const struct target *t, bool is_same); /* who will keep the reply: its upstream or sluice */
void responses_keep_event(struct relay *rl, struct str data);  /* the same from a terminal event's data */
void responses_keep_frames(struct relay *rl, struct str frames); /* the same from SSE frames that hold response.completed */
/* The events of a stored response behind number `after` (-1: all of them), appended to out. */
bool stored_stream(struct arena *a, struct str response, int64_t after, struct buf *out, struct err *e) MUST_USE;
/* What ends the id of the reply where sluice keeps it, the same for each attempt: upstreams may give two answers one id. Empty: it is not kept here. */
struct str responses_mark(struct relay *rl);
bool responses_leave_out_thoughts(struct relay *rl, const struct target *t, struct str *body, struct err *e) MUST_USE; /* of a continuation */
void responses_keep(struct relay *rl, struct str response_json); /* the final response object, as sent to the client */
/* images.c */
void images_forget(struct relay *rl);                         /* the request goes away while a fetch runs */
bool images_fetch(struct relay *rl);                          /* true: a fetch was started; the attempt goes on when it is done */
#endif
