#include "gate/principal.h"

const struct word role_words[] = {{"viewer", ROLE_VIEWER},
                                  {"member", ROLE_MEMBER},
                                  {"admin", ROLE_ADMIN},
                                  {"owner", ROLE_OWNER},
                                  {0}};

const char *access_name(enum access a)
{
    static const struct word words[] = {{"public", ACCESS_PUBLIC}, {"inference", ACCESS_INFERENCE},
                                        {"models", ACCESS_MODELS}, {"viewer", ACCESS_VIEWER},
                                        {"member", ACCESS_MEMBER}, {"admin", ACCESS_ADMIN},
                                        {"owner", ACCESS_OWNER},   {0}};
    return word_text(words, (int)a, "");
}

const char *principal_kind_name(enum principal_kind k)
{
    static const struct word words[] = {
        {"anonymous", PRINCIPAL_ANONYMOUS}, {"client_key", PRINCIPAL_CLIENT_KEY},
        {"admin_key", PRINCIPAL_ADMIN_KEY}, {"operator", PRINCIPAL_OPERATOR},
        {"internal", PRINCIPAL_INTERNAL},   {0}};
    return word_text(words, (int)k, "");
}

struct principal principal_of_key(const struct key *k)
{
    if (!k)
        return (struct principal){.kind = PRINCIPAL_ANONYMOUS};
    bool is_admin = (k->scopes & SCOPE_ADMIN) != 0;
    return (struct principal){.kind = k->is_internal ? PRINCIPAL_INTERNAL
                                      : is_admin     ? PRINCIPAL_ADMIN_KEY
                                                     : PRINCIPAL_CLIENT_KEY,
                              .role = is_admin ? ROLE_ADMIN : ROLE_NONE,
                              .key = k,
                              .id = k->id,
                              .name = k->label};
}

bool principal_may(const struct principal *p, enum access a)
{
    uint32_t scopes = p->key ? p->key->scopes : 0;
    switch (a) {
    case ACCESS_PUBLIC:
        return true;
    case ACCESS_INFERENCE:
        return (scopes & SCOPE_INFERENCE) != 0;
    case ACCESS_MODELS:
        return (scopes & (SCOPE_INFERENCE | SCOPE_MODELS)) != 0;
    case ACCESS_VIEWER:
        return p->role >= ROLE_VIEWER;
    case ACCESS_MEMBER:
        return p->role >= ROLE_MEMBER;
    case ACCESS_ADMIN:
        return p->role >= ROLE_ADMIN;
    case ACCESS_OWNER:
        return p->role >= ROLE_OWNER;
    }
    return false;
}
