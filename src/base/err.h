/* err.h - one error: its kind, a stable code, a message for the caller, where it is. */
#ifndef BASE_ERR_H
#define BASE_ERR_H
#include "base/str.h"

enum err_kind { /* each has one HTTP status: err_status() */
    ERR_NONE,
    ERR_INPUT,           /* 400 */
    ERR_UNSUPPORTED,     /* 400, a parameter or feature the target cannot carry */
    ERR_CONTEXT_LENGTH,  /* 400 */
    ERR_UNAUTHENTICATED, /* 401 */
    ERR_NO_FUNDS,        /* 402 */
    ERR_FORBIDDEN,       /* 403 */
    ERR_NOT_FOUND,       /* 404 */
    ERR_METHOD,          /* 405 */
    ERR_CONFLICT,        /* 409 */
    ERR_LENGTH_REQUIRED, /* 411 */
    ERR_TOO_LARGE,       /* 413 */
    ERR_MEDIA_TYPE,      /* 415 */
    ERR_RATE_LIMITED,    /* 429 */
    ERR_CANCELLED,       /* 499 */
    ERR_INTERNAL,        /* 500 */
    ERR_UNIMPLEMENTED,   /* 501 */
    ERR_UPSTREAM,        /* 502 */
    ERR_OVERLOADED,      /* 503 */
    ERR_TIMEOUT,         /* 504 */
};

struct err {
    enum err_kind kind;
    int status;              /* HTTP status when it differs from the kind's own (529, an upstream's), else 0 */
    char code[48];           /* stable, "model_not_found"; may be empty */
    char field[96];          /* the request field at fault; may be empty */
    char message[512];
    int64_t retry_after_ms;  /* < 0: unknown */
};

#define ERR_INIT {.retry_after_ms = -1}

/* All return false, so that `return err_set(e, …)` reads well. e may be NULL. */
bool err_set(struct err *e, enum err_kind kind, const char *code, const char *fmt, ...) PRINTF_LIKE(4, 5);
bool err_field(struct err *e, const char *field, const char *fmt, ...) PRINTF_LIKE(3, 4); /* ERR_INPUT "invalid_value" */
bool err_unsupported(struct err *e, const char *field, const char *fmt, ...) PRINTF_LIKE(3, 4); /* ERR_UNSUPPORTED "unsupported_parameter" */
bool err_no_memory(struct err *e);                                                       /* ERR_OVERLOADED, for a size that a peer chose */
bool err_errno(struct err *e, const char *doing, const char *what);                      /* ERR_INTERNAL with strerror */
void err_clear(struct err *e);
int err_status(const struct err *e);                          /* the HTTP status to answer with */
const char *err_kind_name(enum err_kind kind);                /* "rate_limited" */
#endif
