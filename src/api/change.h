/* change.h - every change of the configuration, whichever surface asks for it. An object is changed where it stands: in the file, with
 * its comments and order kept, or in the store; new ones go to the file when there is one, else to the store. What the environment
 * gives is refused (ERR_CONFLICT "read_only", naming the place). References stay whole. One change is one transaction or one
 * replacement of the file; then the configuration is loaded.
 *
 * Codes of refusals besides those of single fields (ERR_INPUT, e->field set): "not_found", "original_not_found" (of rename_from),
 * "already_exists", "in_use", "read_only", "precondition_failed" (412, If-Match). ERR_INTERNAL "saved_not_loaded": it is saved, but the
 * configuration does not load, e->message is the loader's; the old one goes on serving. */
#ifndef API_CHANGE_H
#define API_CHANGE_H
#include "api/control.h"
#include "domain/setting.h"

enum change_mode { CHANGE_CREATE, CHANGE_UPDATE, CHANGE_PUT }; /* must be new; must be there; either */

enum provider_field { PROVIDER_KIND = 1, PROVIDER_BASE_URL = 2, PROVIDER_API_KEY = 4, PROVIDER_PROXY = 8, PROVIDER_CA_FILE = 16,
                      PROVIDER_WIRE = 32, PROVIDER_API_VERSION = 64, PROVIDER_ENABLED = 128, PROVIDER_PRIORITY = 256, PROVIDER_WEIGHT = 512,
                      PROVIDER_LIMITS = 1024 };
struct provider_member {      /* one of those of provider_member_is_more() */
    const char *name;
    struct str json;          /* p == NULL: it goes */
};
struct provider_change {
    struct str name;          /* that it has, or gets */
    struct str rename_from;   /* the entry of this name is meant, and every model's target follows; empty, or equal to name: no rename */
    uint32_t given;           /* enum provider_field: the others stay as they are */
    struct str kind, base_url, proxy, ca_file, wire, api_version; /* empty: back to the default */
    struct limits limits;     /* all 0: none */
    struct secret api_key;    /* in the clear, or ${VAR} or file:PATH; unset: none any more */
    bool is_enabled;
    int64_t priority, weight;
    const struct provider_member *more; /* the others stay as they are */
    size_t n_more;
};
bool change_provider(struct control_call *c, enum change_mode mode, const struct provider_change *p, struct err *e) MUST_USE;
/* cascade: models without another provider go, the others lose this target, combos and chains and aliases too. models: the names of those that have it as a target (when
 * cascading: those that went), also beside ERR_CONFLICT "in_use". */
bool change_provider_delete(struct control_call *c, struct str name, bool cascade, struct strs *models, struct err *e) MUST_USE;
/* Gives the providers of these names the priorities 1 to n. */
bool change_provider_order(struct control_call *c, const struct str *names, size_t n, struct err *e) MUST_USE;
/* A kind of the operator's (domain/custom_kind.h). Deleting one takes its providers with it, and what had only them as targets. */
struct custom_kind;
bool change_kind(struct control_call *c, enum change_mode mode, const struct custom_kind *k, struct err *e) MUST_USE;
bool change_kind_delete(struct control_call *c, struct str id, struct err *e) MUST_USE;
bool change_provider_toggle(struct control_call *c, struct str name, bool *is_enabled, struct err *e) MUST_USE;

enum model_field { MODEL_TARGETS = 1, MODEL_CAPABILITIES = 2, MODEL_MAX_OUTPUT = 4, MODEL_CONTEXT = 8, MODEL_ENABLED = 16, MODEL_ALIAS = 32,
                   MODEL_STRATEGY = 64, MODEL_LIMITS = 128, MODEL_LABEL = 256, MODEL_SOURCE = 512 };
struct model_target {
    struct str provider, upstream_model; /* upstream_model empty: the served name */
    int64_t weight, priority, price_nanousd; /* 0: as usual */
};
struct model_change {
    struct str name, rename_from; /* as of providers */
    uint32_t given;           /* enum model_field */
    const struct model_target *targets; /* providers that are not there: ERR_INPUT "unknown_provider" */
    size_t n_targets;
    struct strs capabilities; /* any words */
    int64_t max_output_tokens, context_tokens; /* <= 0: unknown */
    struct limits limits;
    bool is_enabled, show_alias;
    struct str strategy;      /* a word of strategy_words; empty: none of its own */
    struct str label, source;
    bool takes_pools;         /* a target's provider may be a pool's name, or a kind of which there is no provider yet */
};
bool change_model(struct control_call *c, enum change_mode mode, const struct model_change *m, struct err *e) MUST_USE;
/* cascade: combos, chains and aliases lose it; else ERR_CONFLICT "in_use" where one has it. */
bool change_model_delete(struct control_call *c, struct str name, bool cascade, struct err *e) MUST_USE;
/* Many at once, each named prefix + id. Names that are taken, also by an earlier one of these, are skipped. */
struct models_add {
    struct str provider, prefix;
    struct strs ids, capabilities;
    struct str source;        /* not empty: provider may be a pool or a kind, and capabilities are left out */
    struct strs gone;         /* models that go in the same change; of those that are there */
};
bool change_models_add(struct control_call *c, const struct models_add *in, struct strs *added, struct strs *skipped,
                       struct err *e) MUST_USE;

enum key_field { KEY_LABEL = 1, KEY_SCOPES = 2, KEY_ALLOWED = 4, KEY_ENABLED = 8, KEY_EXPIRES = 16,
                 KEY_POLICY = 32 }; /* the first member of the policy; the others follow in the order of its shape */
struct key_change {
    struct str id;            /* creating: empty makes one up */
    uint64_t given;           /* enum key_field; creating without KEY_SCOPES: inference and models */
    struct str label;
    uint32_t scopes;
    struct strs allowed_models;
    bool is_enabled;
    int64_t expires_ms;
    struct key_policy policy; /* its org and user must be there: ERR_INPUT of the field */
    struct secret text;       /* creating: the key, at least 8 characters; unset makes one up */
};
struct key_made {
    struct str id, text;      /* the only time that the text is seen, unless credential_visible is on */
    int64_t created_ms;
};
bool change_key_create(struct control_call *c, const struct key_change *k, struct key_made *out, struct err *e) MUST_USE;
bool change_key(struct control_call *c, const struct key_change *k, struct err *e) MUST_USE;
/* A new text for it, all else stays: text unset makes one up. The old one opens nothing any more. */
bool change_key_rotate(struct control_call *c, struct str id, struct secret text, struct key_made *out, struct err *e) MUST_USE;
bool change_key_delete(struct control_call *c, struct str id, struct err *e) MUST_USE;

/* Organisations and users, which keys belong to. An id stays for ever. */
enum holder_field { HOLDER_NAME = 1, HOLDER_ENABLED = 2, HOLDER_LIMITS = 4, HOLDER_OF = 8 };
struct holder_change {
    enum holder_kind kind;
    struct str id;            /* creating: empty makes one up, which is put here */
    uint32_t given;           /* enum holder_field */
    struct str name, org;     /* org: of a user; empty: none */
    struct limits limits;
    bool is_enabled;
};
bool change_holder(struct control_call *c, enum change_mode mode, struct holder_change *h, struct err *e) MUST_USE;
/* detach: its keys (and an organisation's users) stay without it; else they are in the way, ERR_CONFLICT "in_use". */
bool change_holder_delete(struct control_call *c, enum holder_kind kind, struct str id, bool detach, struct err *e) MUST_USE;

/* value: as the file would have it, in text; p == NULL: back to the default. */
struct setting_value { const struct setting *row; struct str value; };
bool change_settings(struct control_call *c, const struct setting_value *v, size_t n, struct err *e) MUST_USE; /* several, or none */
bool change_setting(struct control_call *c, const struct setting *row, struct str value, struct err *e) MUST_USE;

/* Makes file, providers, models and settings those of a version; as a new version. Client keys and server.admin_password stay as they are
 * now: what was revoked or replaced must not come back. Works while the file is broken. */
bool change_rollback(struct control_call *c, int64_t id, struct err *e) MUST_USE;

/* [{"kind","name","before","after"}] between two versions, secrets masked. */
bool config_version_diff(struct arena *a, const struct seal *seal, struct db *db, int64_t from, int64_t to, struct jw *out,
                         struct err *e) MUST_USE;

/* The configuration as it is written, file and store in one: {"providers":{…},"models":{…},"server":{…,"api_keys":[…]}}, that of the
 * file first and in its order, unknown members and ${VAR} as they stand. Provider keys are in the clear: mask what is shown. */
bool change_view(struct control_call *c, yyjson_val **root, struct err *e) MUST_USE;
/* … and what of it the file says; NULL: no file. */
bool change_view_both(struct control_call *c, yyjson_val **root, yyjson_val **file, struct err *e) MUST_USE;
#endif
