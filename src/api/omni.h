/* omni.h - what the resources of OmniRoute's control plane share: connections and nodes by id, times, and names of fields. */
#ifndef API_OMNI_H
#define API_OMNI_H
#include "api/change.h"
#include "domain/custom_kind.h"

/* A connection is a provider's entry; its id stays when it is renamed. NULL: there is none of this id or name. */
const struct upstream *omni_connection(const struct snapshot *s, struct str id);
/* What it belongs to: a node's id, or a kind's name as its pool or type has it. */
struct str omni_provider_of(const struct upstream *u);
/* Whether provider, an id, alias or prefix, is u's. */
bool omni_is_of(const struct snapshot *s, const struct upstream *u, struct str provider);
/* The kind that a client means by an id, an alias or a node's prefix; custom: its node, or NULL. NULL: unknown. */
const struct provider_kind *omni_kind(const struct snapshot *s, struct str provider, const struct custom_kind **custom);
struct str omni_prefix_of(const struct snapshot *s, const struct upstream *u); /* of its models' names */
struct str omni_time(struct arena *a, int64_t ms);            /* ISO 8601 in UTC with milliseconds; empty of 0 */
/* e in the words of this surface: "base_url" becomes "baseUrl", in field and message. */
void omni_name_field(struct err *e);
struct str omni_text(struct arena *a, struct str s);          /* JSON of a string */
/* What this surface keeps for itself over restarts: JSON by name, no configuration. NULL: nothing. */
bool omni_kept(struct control_call *c, const char *name, yyjson_val **out, struct err *e) MUST_USE;
bool omni_keep(struct control_call *c, const char *name, struct str json, struct err *e) MUST_USE;
/* The limits of a connection (NULL: a new one) that is protected, or no longer: those of requests per minute and at once. */
struct limits omni_protected(const struct snapshot *s, const struct upstream *u, bool on);
/* {"alias":"what it means"}; source: only those that say it, NULL: all. */
bool omni_aliases(struct control_call *c, const char *source, yyjson_val **out, struct err *e) MUST_USE;
bool omni_not_found(const char *what, struct str id, struct err *e);
/* One test of an upstream: its list of models, else a request for one token. u need not be in a snapshot. */
struct omni_probe {
    bool valid;
    const char *method;       /* models_endpoint, chat_completions, inference_available; NULL: none got through */
    int status;               /* of the upstream; 0: no answer */
    struct str error, warning; /* empty: none */
    const char *type;         /* of the diagnosis: ok, upstream_auth_error, … */
    const char *source;       /* local, upstream */
    int64_t latency_ms;
};
void omni_probe(struct control_call *c, const struct upstream *u, struct str model, struct omni_probe *out);
#endif
