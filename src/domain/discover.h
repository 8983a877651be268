/* discover.h - asks an upstream for its list of models. Blocking: for workers and the command line. */
#ifndef DOMAIN_DISCOVER_H
#define DOMAIN_DISCOVER_H
#include "domain/snapshot.h"

struct discovered {
    struct str *models;         /* ids, sorted */
    size_t n;
    struct str url;             /* that was asked, without credentials */
    int status;                 /* of its answer; 0: none came */
    char fault[32];             /* code of why none came: "fetch_timeout", "fetch_unresolved", "fetch_refused", … */
};
/* ERR_UPSTREAM says what went wrong in words for the operator; ERR_UNSUPPORTED: its kind has no such list. */
bool upstream_models(struct arena *a, const struct upstream *u, uint64_t timeout_ms, struct discovered *out, struct err *e) MUST_USE;
/* The same, giving up when *is_cancelled becomes true. */
bool upstream_models_until(struct arena *a, const struct upstream *u, uint64_t timeout_ms, const _Atomic bool *is_cancelled,
                           struct discovered *out, struct err *e) MUST_USE;
/* Asks for as little of an answer as can be had: *status is the upstream's. false: none came, or its format cannot be asked so. */
bool upstream_ping(struct arena *a, const struct upstream *u, struct str model, uint64_t timeout_ms, const _Atomic bool *is_cancelled,
                   int *status, struct str *said, struct err *e) MUST_USE;
/* One that is in no configuration, to be asked before it is put there. base_url empty: the kind's own. */
bool upstream_of(struct arena *a, const struct provider_kind *kind, struct str base_url, struct secret key, struct str proxy,
                 struct upstream *out, struct err *e) MUST_USE;
struct str upstream_base_url(struct arena *a, const struct upstream *u); /* "https://host:port/v1"; empty: built in */
#endif
