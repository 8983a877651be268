/* endpoint.h - the table of what sluice serves: one row an operation, with its access policy. From it come the router, the access
 * check, 405 and OPTIONS, /openapi.json and docs/status.md. */
#ifndef API_ENDPOINT_H
#define API_ENDPOINT_H
#include "gate/principal.h" /* enum access */
#include "relay/relay.h"

enum surface { SURFACE_OPENAI, SURFACE_ANTHROPIC, SURFACE_GOOGLE, SURFACE_OLLAMA, SURFACE_SLUICE,
               SURFACE_ROSETTA, SURFACE_OMNIROUTE, SURFACE_OMNIROUTE_TYPED }; /* decides envelopes and habits: api/surface/surface.h */

struct api_call;
struct control_call;
struct shape;
typedef void loop_handler_fn(struct api_call *c);                       /* on the loop: never blocks */
typedef bool control_handler_fn(struct control_call *c, struct err *e); /* on a worker: plain and blocking */

struct endpoint {
    enum http_method method;
    const char *path;         /* literal segments, {name} for one segment, {name*} for the rest; text may follow a parameter */
    enum surface surface;
    enum access access;
    const char *sentence;
    const struct relay_spec *relay; /* exactly one of relay, on_loop, on_worker */
    loop_handler_fn *on_loop;
    control_handler_fn *on_worker;
    const struct shape *query;      /* of the query string, of on_worker rows; NULL: the handler reads none */
    const struct shape *in, *out;
    bool is_list;             /* the answer is {"data":[out, …]} */
    bool is_array;            /* … [out, …]; without out: texts */
    bool knows_caller;        /* public, but a credential that is sent is looked at: control_call.who */
    bool has_tag;             /* an object with an ETag: reading minds If-None-Match, changing If-Match */
    bool is_live;             /* figures stand beside what the ETag is of: never "not modified" */
    bool is_page;             /* … {"data":[out, …],"has_more":…,"next":…} */
    const char *media;        /* of an answer that is no JSON, for the document; NULL: by its path, or JSON */
    int status;               /* of success; 0: 200 */
    bool has_csv;             /* also as text/csv, where the query asks for it */
    bool takes_form;          /* multipart/form-data instead of JSON */
    bool reads_body;          /* the handler parses control_call.body itself; `in` only describes it: its order of checks is a contract's */
    bool waits;               /* for somebody else's server: runs where it holds up no other call */
    bool takes_password;      /* hashes one: runs on the few workers that may */
    bool leaves_trail;        /* a GET that stands in the audit log: it hands out what opens something, or what people said */
    bool is_create;           /* a POST that answers 200 and makes something, or costs: minds Idempotency-Key, as those with 201 do */
    bool changes_nothing;     /* a POST that does not stand there: it only asks */
    bool body_is_optional;    /* one that is absent counts as {}; llm-rosetta: one that is no object, too */
    const char *capability;   /* dangerous: 403 naming it unless setting capabilities has it and the peer is this machine; NULL: none */
    size_t max_body_bytes;    /* where it is not its surface's */
    const char *bad_json;     /* what it says of a body that is no JSON, and its Cache-Control, where they are not its surface's */
    const char *cache_control;
    bool (*is_open)(const struct settings *s, const struct http_req *r); /* a setting says that this caller is not asked who they are */
};

/* The tables, one a file of resources; ends with path NULL. */
extern const struct endpoint inference_endpoints[], model_endpoints[], system_endpoints[], control_endpoints[];
extern const struct endpoint provider_endpoints[], served_model_endpoints[], key_endpoints[], org_endpoints[], limit_endpoints[], filter_endpoints[], setting_endpoints[];
extern const struct endpoint combo_endpoints[], route_endpoints[], problem_endpoints[];
extern const struct endpoint price_endpoints[], budget_endpoints[], ledger_endpoints[], reconcile_endpoints[];
extern const struct endpoint audit_endpoints[], config_version_endpoints[];
extern const struct endpoint session_endpoints[], operator_endpoints[];
extern const struct endpoint request_endpoints[], tail_endpoints[], cache_endpoints[];
extern const struct endpoint metric_endpoints[], admin_metric_endpoints[];
extern const struct endpoint dashboard_endpoints[];
extern const struct endpoint admin_config_endpoints[], admin_key_endpoints[], admin_network_endpoints[], admin_test_endpoints[];
extern const struct endpoint omni_usage_endpoints[], omni_log_endpoints[], omni_system_endpoints[], omni_backup_endpoints[];
extern const struct endpoint omni_connection_endpoints[], omni_node_endpoints[], omni_key_endpoints[], omni_model_endpoints[], omni_availability_endpoints[];

const struct endpoint *endpoint_at(size_t i); /* all tables in order; NULL past the end */
size_t endpoint_index(const struct endpoint *e);
bool endpoint_is_repeatable(const struct endpoint *e); /* sent again with the same Idempotency-Key it answers as before */
bool endpoint_is_audited(const struct endpoint *e); /* its calls stand in the audit log, also those that are refused */

/* Paths other gateways serve the same operations under, rewritten before routing. */
struct path_alias {
    const char *prefix;       /* "/api/v1/": a whole path when is_exact */
    const char *to;
    bool is_exact;
    bool drops_rest;          /* what follows the prefix goes: /codex/anything */
};
extern const struct path_alias path_aliases[];
struct str path_canonical(struct arena *a, struct str path); /* itself when no alias fits */

struct route_params {
    struct { struct str name, value; } v[4]; /* decoded */
    size_t n;
};
struct router;
struct router *router_new(void);
void router_free(struct router *r);
/* path: canonical. NULL: none; *allowed gets the methods of rows whose path fits (bits 1u << enum http_method). */
const struct endpoint *router_find(const struct router *r, struct arena *a, enum http_method m, struct str path,
                                   struct route_params *params, uint32_t *allowed);
struct str route_param(const struct route_params *p, const char *name);
#endif
