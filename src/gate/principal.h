/* principal.h - who calls, and what a level of access asks of them. The one place where "may they" is answered. */
#ifndef GATE_PRINCIPAL_H
#define GATE_PRINCIPAL_H
#include "domain/snapshot.h"

enum access {         /* what a row of the endpoint table asks for */
    ACCESS_PUBLIC,    /* nobody is asked */
    ACCESS_INFERENCE, /* a client key with the scope inference */
    ACCESS_MODELS,    /* … models or inference */
    ACCESS_VIEWER,    /* reads the control plane: an operator of any role, an admin key */
    ACCESS_MEMBER,    /* … and does what costs tokens but changes nothing: tests */
    ACCESS_ADMIN,     /* … and changes what is configured */
    ACCESS_OWNER,     /* … and who the operators are; an operator with the role owner, no key */
};
const char *access_name(enum access a);       /* "public", "inference", … */
static inline bool access_is_control(enum access a) { return a >= ACCESS_VIEWER; }

enum role { ROLE_NONE, ROLE_VIEWER, ROLE_MEMBER, ROLE_ADMIN, ROLE_OWNER }; /* each may what those before it may */
extern const struct word role_words[];        /* "viewer", … */

enum principal_kind {
    PRINCIPAL_ANONYMOUS,  /* nobody known: public rows, the data plane where it is open, everything where no login is required */
    PRINCIPAL_CLIENT_KEY,
    PRINCIPAL_ADMIN_KEY,  /* a key with the scope admin: role admin */
    PRINCIPAL_OPERATOR,   /* a session */
    PRINCIPAL_INTERNAL,   /* this process' own token: data plane only */
};
const char *principal_kind_name(enum principal_kind k); /* "anonymous", "client_key", … */

struct principal {        /* texts live as long as the call, or the snapshot it pins */
    enum principal_kind kind;
    enum role role;
    const struct key *key;    /* of client, admin and internal ones; else NULL */
    struct str id, name;      /* of the key (its label) or the operator; empty: anonymous */
    struct str session;       /* id of the session, never its token */
    bool by_cookie;           /* the browser sent it by itself */
};

struct principal principal_of_key(const struct key *k); /* NULL: anonymous */
/* By role alone for the control plane, by scope for the data plane; anonymous callers of the data plane are auth_admit()'s matter. */
bool principal_may(const struct principal *p, enum access a) MUST_USE;
#endif
