/* config.h - from file, environment and store to a snapshot. Blocking: for workers and start-up. */
#ifndef APP_CONFIG_H
#define APP_CONFIG_H
#include "api/control.h"
#include "domain/setting.h"
#include "domain/snapshot.h"
#include "store/db.h"
#include "vault/seal.h"

#define MAX_LOCAL_MODELS 64

struct local_server {         /* a model server found beside us */
    const char *kind;         /* "ollama"; NULL: none */
    char base_url[48];
    const char *models[MAX_LOCAL_MODELS];
    size_t n_models;
};
struct config_sources {
    const char *file;         /* sluice.jsonc; NULL: none */
    const char *data_dir;
    char db_path[4096];
    struct seal seal;
    bool is_first_start;      /* the store was made by state_open */
    bool is_elsewhere;        /* not in the server's environment: a variable that is not set here may be there */
    bool is_without_store;    /* file and environment only: no state_open is needed */
    bool detects;             /* without a file: offer upstreams whose key stands in the environment, and local ones */
    struct local_server local[2]; /* by detect_local() */
    char claim_token[72];     /* of the claim link made at the first start, to be shown once; empty: none */
    char internal_key[64];    /* of this process, for test requests; empty: none */
    char first_key[96];       /* the client key made at the first start, to be shown once; empty: none */
};

/* Makes the data directory (0700), brings the store to the newest schema, opens the master key. */
bool state_check(const char *path, struct err *e) MUST_USE; /* whether a store can be started with; one that is not there can. Changes nothing */
bool state_open(struct config_sources *s, struct err *e) MUST_USE;
struct db *state_open_held(struct config_sources *s, struct err *e) MUST_USE; /* the handle that did it stays open: the caller's */
void state_close(struct config_sources *s);
/* Reads everything, checks it whole, builds a snapshot (one reference, the caller's). Nothing is changed on failure:
 * e names the place (line and column for the file's syntax, the member for its content). */
bool config_load(const struct config_sources *s, struct snapshot **out, struct err *e) MUST_USE;
/* The same of a file or store that is being changed; d may be NULL. */
bool config_build(const struct config_sources *s, const struct config_draft *d, struct snapshot **out, struct err *e) MUST_USE;
bool is_detected_env(const struct provider_kind *k) MUST_USE; /* its key stands in the environment, and it may be offered */
/* Where the settings' values come from just now, in the order of setting_at(): reads file and store once for all of them.
 * from has room for setting_count(). */
void setting_origins(const struct config_sources *s, enum origin *from);
enum origin setting_origin(const struct config_sources *s, const struct setting *row); /* of one */
#endif
