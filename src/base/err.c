/* err.c - what each kind answers with, and how an error is filled in. */
#include "base/err.h"
#include "base/banned.h"
#include <errno.h>
#include <stdarg.h>

// clang-format off
static const struct { const char *name; int status; } kinds[] = {
    [ERR_NONE]            = {"none",            200},
    [ERR_INPUT]           = {"invalid_request", 400},
    [ERR_UNSUPPORTED]     = {"unsupported",     400},
    [ERR_CONTEXT_LENGTH]  = {"context_length",  400},
    [ERR_UNAUTHENTICATED] = {"unauthenticated", 401},
    [ERR_NO_FUNDS]        = {"no_funds",        402},
    [ERR_FORBIDDEN]       = {"forbidden",       403},
    [ERR_NOT_FOUND]       = {"not_found",       404},
    [ERR_METHOD]          = {"method",          405},
    [ERR_CONFLICT]        = {"conflict",        409},
    [ERR_LENGTH_REQUIRED] = {"length_required", 411},
    [ERR_TOO_LARGE]       = {"too_large",       413},
    [ERR_MEDIA_TYPE]      = {"media_type",      415},
    [ERR_RATE_LIMITED]    = {"rate_limited",    429},
    [ERR_CANCELLED]       = {"cancelled",       499},
    [ERR_INTERNAL]        = {"internal",        500},
    [ERR_UNIMPLEMENTED]   = {"unimplemented",   501},
    [ERR_UPSTREAM]        = {"upstream",        502},
    [ERR_OVERLOADED]      = {"overloaded",      503},
    [ERR_TIMEOUT]         = {"timeout",         504},
};
// clang-format on

/* Copies what fits, never cutting a UTF-8 sequence in two. */
static void copy_text(char *to, size_t cap, const char *from)
{
    size_t n = from ? strlen(from) : 0;
    if (n >= cap) {
        n = cap - 1;
        while (n && ((unsigned char)from[n] & 0xc0) == 0x80)
            n--;
    }
    if (n)
        memcpy(to, from, n);
    to[n] = 0;
}

static void fill(struct err *e, enum err_kind kind, const char *code, const char *field,
                 const char *fmt, va_list args) __attribute__((format(printf, 5, 0)));

static void fill(struct err *e, enum err_kind kind, const char *code, const char *field,
                 const char *fmt, va_list args)
{
    char text[sizeof e->message + 8]; /* apart: the arguments may point into *e */
    if (vsnprintf(text, sizeof text, fmt, args) < 0)
        text[0] = 0;
    char kept_code[sizeof e->code], kept_field[sizeof e->field];
    copy_text(kept_code, sizeof kept_code, code);
    copy_text(kept_field, sizeof kept_field, field);
    *e = (struct err){.kind = kind, .retry_after_ms = -1};
    memcpy(e->code, kept_code, sizeof kept_code);
    memcpy(e->field, kept_field, sizeof kept_field);
    copy_text(e->message, sizeof e->message, text);
}

bool err_set(struct err *e, enum err_kind kind, const char *code, const char *fmt, ...)
{
    if (!e)
        return false;
    va_list args;
    va_start(args, fmt);
    fill(e, kind, code, NULL, fmt, args);
    va_end(args);
    return false;
}

bool err_field(struct err *e, const char *field, const char *fmt, ...)
{
    if (!e)
        return false;
    va_list args;
    va_start(args, fmt);
    fill(e, ERR_INPUT, "invalid_value", field, fmt, args);
    va_end(args);
    return false;
}

bool err_unsupported(struct err *e, const char *field, const char *fmt, ...)
{
    if (!e)
        return false;
    va_list args;
    va_start(args, fmt);
    fill(e, ERR_UNSUPPORTED, "unsupported_parameter", field, fmt, args);
    va_end(args);
    return false;
}

bool err_no_memory(struct err *e)
{
    err_set(e, ERR_OVERLOADED, "no_memory", "There is no memory for this at the moment: try again");
    if (e)
        e->retry_after_ms = 1000;
    return false;
}

bool err_errno(struct err *e, const char *doing, const char *what)
{
    char text[128];
    int code = errno;
    const char *why = strerror_r(code, text, sizeof text);
    return err_set(e, ERR_INTERNAL, "system_error", "%s '%s': %s", doing, what ? what : "", why);
}

void err_clear(struct err *e)
{
    if (e)
        *e = (struct err)ERR_INIT;
}

int err_status(const struct err *e)
{
    return e->status ? e->status : kinds[e->kind].status;
}

const char *err_kind_name(enum err_kind kind)
{
    return kinds[kind].name;
}
