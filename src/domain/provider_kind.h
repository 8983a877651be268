/* provider_kind.h - what is known of each vendor: a table, one row a kind. */
#ifndef DOMAIN_PROVIDER_KIND_H
#define DOMAIN_PROVIDER_KIND_H
#include "base/str.h"
#include "wire/wire.h"

enum auth_style {
    AUTH_BEARER,     /* Authorization: Bearer */
    AUTH_X_API_KEY,  /* x-api-key (Anthropic) */
    AUTH_X_GOOG,     /* x-goog-api-key */
    AUTH_API_KEY,    /* api-key (Azure) */
    AUTH_NONE,
};

enum op { /* what a request asks for; each has a path on an upstream */
    OP_CHAT,         /* POST chat/completions */
    OP_COMPLETIONS,
    OP_RESPONSES,
    OP_MESSAGES,
    OP_GEMINI,       /* models/{m}:generateContent | :streamGenerateContent */
    OP_OLLAMA_CHAT,
    OP_OLLAMA_GENERATE,
    OP_COUNT_ANTHROPIC, /* messages/count_tokens */
    OP_COUNT_GEMINI,
    OP_COUNT_RESPONSES, /* responses/input_tokens */
    OP_COMPACT,      /* responses/compact */
    OP_EMBED_OPENAI, /* embeddings */
    OP_EMBED_GEMINI, /* models/{m}:embedContent | :batchEmbedContents */
    OP_EMBED_OLLAMA, /* /api/embed */
    OP_IMAGE_GENERATE,
    OP_IMAGE_EDIT,
    OP_SPEECH,
    OP_TRANSCRIBE,
    OP_TRANSLATE,
    OP_MODERATE,
    OP_RERANK,
    OP_MODELS,       /* GET: list of the upstream's models */
    OP_N
};

struct op_path {
    enum op op;
    const char *path; /* behind the base URL; {model} is replaced by the upstream model id, percent-encoded */
};

struct quirk_edit { /* what an operator knows better than the table; enum wire_quirk */
    uint32_t with, without;
};

struct provider_kind {
    const char *id;            /* "openai" */
    const char *title;         /* "OpenAI" */
    enum wire_id wires[4];     /* spoken formats, best first; ends with WIRE_NONE */
    const char *base_url;      /* NULL: must be configured */
    const char *key_env;       /* OPENAI_API_KEY; NULL: none */
    enum auth_style auth;
    const struct op_path *paths; /* overrides and additions to the wire's usual ones; ends with path NULL; may be NULL */
    uint32_t ops;              /* bits 1u << enum op it serves besides its wires' own */
    uint32_t quirks;           /* enum wire_quirk */
    const char *const *strip;  /* top-level request fields it refuses; NULL-terminated or NULL */
    const char *const *headers; /* "name: value" sent always; NULL-terminated or NULL */
    const char *api_version_param; /* azure: "api-version" query parameter */
    const char *account_url[2]; /* before and behind the account's id: the base URL of who gives just that; NULL: none */
    bool is_keyless;           /* answers without a key as well */
    bool is_local;             /* private addresses are what it is for; no key needed */
    bool is_builtin;           /* echo: answered inside */
};
/* Other names of kinds: *alias is set; NULL past the end. */
const struct provider_kind *provider_alias_at(size_t i, const char **alias);
const struct provider_kind *provider_kind_find(struct str id); /* also the names that llm-rosetta and OmniRoute have for them; NULL unknown */
/* Of a type that is a format at a vendor's ("openai_chat"): the vendor's kind, whose base URL and key variable stand in
 * for missing ones. NULL: of other names. */
const struct provider_kind *provider_kind_home(struct str id);
/* The quirks of a kind for one of its models, where models of a vendor differ. */
uint32_t provider_model_quirks(const struct provider_kind *k, uint32_t quirks, struct str model);
/* {"no_files":true,"developer_role":false}: which to set and which to clear. NULL or null: none. ERR_INPUT: none of that name, or no truth value. */
bool provider_quirks_read(yyjson_val *v, struct quirk_edit *out, struct err *e) MUST_USE;
void provider_quirks_write(struct jw *w, struct quirk_edit q); /* the same object */
uint32_t provider_quirks_edited(uint32_t quirks, struct quirk_edit q);
/* Most tokens that a model thinks with, where its vendor says so; -1: not known. By its name there, or ours. */
int64_t provider_model_thinks_most(struct str model);
/* The kinds whose own a model of this bare name is ("gpt-4o": openai), of its families alone; count returned. */
#define PROVIDER_MAKERS 3
size_t provider_makers(struct str model, const char *out[PROVIDER_MAKERS]);
const struct provider_kind *provider_kind_at(size_t i);       /* NULL past the end */
const char *op_usual_path(enum op op);                        /* where most upstreams have it */
/* Path behind the base URL for op (from the origin when it starts with ^), NULL when the kind does not serve it. */
const char *provider_kind_path(const struct provider_kind *k, enum op op);
enum op wire_op(enum wire_id wire);                           /* OP_CHAT for WIRE_CHAT, … */
const char *op_name(enum op op);                              /* "chat", "embeddings", … in logs and records */
#endif
