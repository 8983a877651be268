/* form.c - multipart bodies: streamed to the upstream, with the value of the part `model` replaced on the way.
 * Bytes are held until the model is known: in memory up to HELD_MAX, beyond it in an unlinked file, since many clients send the
 * file first. A form that is held whole can be tried again elsewhere. RFC 7578, RFC 2046. */
#include "relay/request.h"
#include "wire/common.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define HELD_MAX (256u << 10)
#define PART_HEAD_MAX 8192
#define MODEL_MAX 256
#define PIECE 65536

enum form_state {
    FORM_PREAMBLE,
    FORM_HEAD,
    FORM_VALUE,
    FORM_MODEL,
    FORM_EPILOGUE
};

struct form {
    struct str delimiter; /* CRLF -- boundary */
    enum form_state state;
    struct buf window; /* bytes not yet consumed by the parser */
    uint64_t parsed;   /* offset of window's first byte in the body */
    bool has_model;
    uint64_t model_at, model_n; /* of its value */
    /* held bytes: all from the start of the body */
    struct buf held;
    int spool; /* -1: none; holds [0, spooled), held the rest */
    uint64_t spooled, total;
    bool is_complete, is_live; /* is_live: bytes went to the upstream that are not held */
    /* sending */
    uint64_t sent;    /* offset reached in the received body */
    struct str model; /* the upstream's id of it */
    bool is_started, is_sent, is_paused;
};

static struct str boundary_of(struct arena *a, struct str type)
{
    size_t at = 0;
    struct str lower = str_lower(a, type);
    at = find_bytes(lower, STR("boundary="));
    if (at == lower.n)
        return STR_NONE;
    struct str b = str_skip(type, at + 9), head;
    if (b.n && b.p[0] == '"') {
        (void)str_cut(str_skip(b, 1), '"', &head);
        return head;
    }
    (void)str_cut(b, ';', &head);
    return str_trim(head);
}

static void fail(struct relay *rl, enum err_kind kind, const char *code, const char *field,
                 const char *text)
{
    struct err e = ERR_INIT;
    err_set(&e, kind, code, "%s", text);
    (void)snprintf(e.field, sizeof e.field, "%s", field);
    relay_fail(rl, &e);
}

void form_begin(struct relay *rl)
{
    struct form *f = ARENA_NEW(rl->r->arena, struct form);
    struct str boundary = boundary_of(rl->r->arena, http_req_header(rl->r, "content-type"));
    rl->form = f;
    f->spool = -1;
    if (capture_is_wanted(rl))
        capture_begin(rl);
    buf_init(&f->window, 1u << 20);
    buf_init(&f->held, HELD_MAX + (1u << 20));
    struct str encoding = str_trim(http_req_header(rl->r, "content-encoding"));
    if (encoding.n && !str_eq_nocase(encoding, STR("identity"))) {
        fail(rl, ERR_MEDIA_TYPE, "unsupported_content_encoding", "",
             "Multipart bodies are taken without a Content-Encoding");
        return;
    }
    if (boundary.n == 0 || boundary.n > 70) { /* RFC 2046, 5.1.1 */
        fail(rl, ERR_INPUT, "invalid_multipart", "",
             "The multipart Content-Type names no valid boundary");
        return;
    }
    f->delimiter = str_fmt(rl->r->arena, "\r\n--" STR_FMT, STR_ARG(boundary));
    buf_lit(&f->window, "\r\n"); /* the first boundary has no line before it */
    f->parsed = (uint64_t)-2;
}

void form_close(struct relay *rl)
{
    struct form *f = rl->form;
    buf_done(&f->window);
    buf_done(&f->held);
    if (f->spool >= 0)
        (void)close(f->spool);
    f->spool = -1;
}

static bool is_model_part(struct arena *a, struct str head)
{
    struct str lower = str_lower(a, head);
    size_t at = find_bytes(lower, STR("content-disposition"));
    if (at == lower.n || find_bytes(lower, STR("filename")) < lower.n)
        return false;
    struct str rest = str_skip(lower, at);
    return find_bytes(rest, STR("name=\"model\"")) < rest.n ||
           find_bytes(rest, STR("name=model")) < rest.n;
}

static void consume(struct form *f, size_t n)
{
    buf_consume(&f->window, n);
    f->parsed += n;
}

/* Reads on in the window; false: the form is malformed (already answered). */
static bool parse(struct relay *rl)
{
    struct form *f = rl->form;
    for (;;) {
        struct str w = buf_str(&f->window);
        switch (f->state) {
        case FORM_PREAMBLE:
        case FORM_VALUE: {
            size_t at = find_bytes(w, f->delimiter);
            if (at == w.n) {
                if (w.n > f->delimiter.n)
                    consume(f, w.n - f->delimiter.n);
                return true;
            }
            if (w.n < at + f->delimiter.n + 2)
                return true;
            struct str after = str_skip(w, at + f->delimiter.n);
            f->state = str_starts(after, STR("--")) ? FORM_EPILOGUE : FORM_HEAD;
            consume(f, at + f->delimiter.n);
            break;
        }
        case FORM_HEAD: {
            size_t end = find_bytes(w, STR("\r\n\r\n"));
            if (end == w.n) {
                if (w.n <= PART_HEAD_MAX)
                    return true;
                fail(rl, ERR_INPUT, "invalid_multipart", "",
                     "A part of the multipart body has no end of its headers");
                return false;
            }
            f->state = !f->has_model && is_model_part(rl->r->arena, str_first(w, end)) ? FORM_MODEL
                                                                                       : FORM_VALUE;
            if (f->state == FORM_MODEL) {
                consume(f, end + 4);
                f->model_at = f->parsed;
            } else {
                /* an empty value's delimiter starts with the CRLF of the head's end */
                consume(f, end + 2);
            }
            break;
        }
        case FORM_MODEL: {
            size_t at = find_bytes(w, f->delimiter);
            if (at == w.n && w.n <= MODEL_MAX + f->delimiter.n)
                return true;
            if (at == w.n || at > MODEL_MAX) {
                fail(rl, ERR_INPUT, "invalid_value", "model", "The part 'model' is too long");
                return false;
            }
            rl->model = str_dup(rl->r->arena, str_trim(str_first(w, at)));
            f->model_n = at;
            f->has_model = true;
            consume(f, at);
            f->state = FORM_VALUE;
            break;
        }
        case FORM_EPILOGUE:
            consume(f, w.n);
            return true;
        }
    }
}

static bool write_spool(struct relay *rl, struct str bytes)
{
    struct form *f = rl->form;
    if (f->spool < 0) {
        const char *dir = rl->env->shared->spool_dir.n ? rl->env->shared->spool_dir.p : "/tmp";
        f->spool = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (f->spool < 0) {
            char path[4096];
            if (snprintf(path, sizeof path, "%s/spool-XXXXXX", dir) < (int)sizeof path &&
                (f->spool = mkostemp(path, O_CLOEXEC)) >= 0)
                (void)unlink(path);
        }
        if (f->spool < 0)
            return false;
    }
    while (bytes.n) {
        ssize_t n = pwrite(f->spool, bytes.p, bytes.n, (off_t)f->spooled);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        f->spooled += (uint64_t)n;
        bytes = str_skip(bytes, (size_t)n);
    }
    return true;
}

static bool send_piece(struct relay *rl, struct str bytes)
{
    if (rl->capture)
        capture_sending(rl, bytes);
    return http_call_send(rl->call, bytes);
}

/* Sends what is held from `sent` on; false: the queue is full, on_writable goes on. */
static bool send_held(struct relay *rl)
{
    struct form *f = rl->form;
    char piece[PIECE];
    while (f->sent < f->spooled + f->held.n) {
        struct str part;
        uint64_t stop = f->spooled + f->held.n;
        if (f->sent < f->model_at)
            stop = stop < f->model_at ? stop : f->model_at;
        else if (f->sent == f->model_at) {
            f->sent += f->model_n;
            if (!send_piece(rl, f->model))
                return false;
            continue;
        }
        if (f->sent < f->spooled) {
            uint64_t n = (stop < f->spooled ? stop : f->spooled) - f->sent;
            ssize_t got = pread(f->spool, piece, n < PIECE ? (size_t)n : PIECE, (off_t)f->sent);
            if (got <= 0) {
                fail(rl, ERR_INTERNAL, "spool_failed", "", "The upload could not be read back");
                return false;
            }
            part = str_n(piece, (size_t)got);
        } else {
            size_t at = (size_t)(f->sent - f->spooled), n = (size_t)(stop - f->sent);
            part = str_n(f->held.p + at, n < PIECE ? n : PIECE);
        }
        f->sent += part.n;
        if (!send_piece(rl, part))
            return false;
    }
    return true;
}

static void pump(struct relay *rl)
{
    struct form *f = rl->form;
    if (!rl->call || f->is_sent || !send_held(rl))
        return;
    if (f->is_complete) {
        f->is_sent = true;
        http_call_send_end(rl->call);
        return;
    }
    if (f->is_paused) {
        f->is_paused = false;
        http_req_resume(rl->r);
    }
}

void form_writable(struct relay *rl)
{
    pump(rl);
}

bool form_is_complete(const struct relay *rl)
{
    return rl->form->is_complete;
}

bool form_can_retry(const struct relay *rl)
{
    return rl->form->is_complete && !rl->form->is_live;
}

static void start_when_ready(struct relay *rl)
{
    struct form *f = rl->form;
    struct err e = ERR_INIT;
    if (f->is_started || !f->has_model || !(f->is_complete || f->spooled + f->held.n >= HELD_MAX))
        return;
    f->is_started = true;
    if (rl->model.n == 0) {
        fail(rl, ERR_INPUT, "invalid_value", "model", "'model' must be a non-empty string");
        return;
    }
    if (!relay_resolve(rl, &e)) {
        relay_fail(rl, &e);
        return;
    }
    if (admission_begin(rl))
        relay_attempt_next(rl);
}

void form_body(struct relay *rl, struct str chunk)
{
    struct form *f = rl->form;
    f->total += chunk.n;
    if (rl->capture)
        capture_request(rl, chunk);
    if (f->is_started) {
        if (!rl->call)
            return; /* answered early, or between attempts: the rest is not wanted */
        /* caught up: nothing is held any more */
        if (f->sent == f->spooled + f->held.n && !f->is_paused) {
            f->is_live = true;
            f->sent += chunk.n;
            f->spooled = f->sent;
            buf_clear(&f->held);
            if (!send_piece(rl, chunk)) {
                f->is_paused = true;
                http_req_pause(rl->r);
            }
            return;
        }
        f->is_paused = true;
        http_req_pause(rl->r);
    } else {
        buf_str_add(&f->window, chunk);
        if (buf_failed(&f->window)) {
            fail(rl, ERR_TOO_LARGE, "request_too_large", "",
                 "A part of the multipart body is too large to look at");
            return;
        }
        if (!parse(rl))
            return;
    }
    if (f->held.n + chunk.n > HELD_MAX) {
        if (!write_spool(rl, buf_str(&f->held)) || !write_spool(rl, chunk)) {
            fail(rl, ERR_INTERNAL, "spool_failed", "", "The upload could not be kept");
            return;
        }
        buf_clear(&f->held);
    } else {
        buf_str_add(&f->held, chunk);
    }
    start_when_ready(rl);
}

void form_complete(struct relay *rl)
{
    struct form *f = rl->form;
    f->is_complete = true;
    if (!f->has_model) {
        fail(rl, ERR_INPUT, "missing_required_parameter", "model",
             "Missing 'model' in the multipart form");
        return;
    }
    if (f->is_started && rl->echo)
        echo_form_complete(rl);
    else if (f->is_started)
        pump(rl);
    else
        start_when_ready(rl);
}

int64_t form_length(const struct relay *rl)
{
    const struct form *f = rl->form;
    if (f->is_complete)
        return (int64_t)(f->total - f->model_n + f->model.n);
    return rl->r->content_length >= 0
               ? rl->r->content_length - (int64_t)f->model_n + (int64_t)f->model.n
               : -1;
}

void form_attempt(struct relay *rl, const struct target *t)
{
    struct form *f = rl->form;
    f->model = t->model;
    f->sent = 0;
    f->is_sent = false;
    if (rl->capture)
        capture_sent(rl, STR_NONE);
    relay_start_form(rl, form_length(rl), http_req_header(rl->r, "content-type"));
    pump(rl);
}
