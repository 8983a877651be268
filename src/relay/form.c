/* form.c - multipart bodies: streamed to the upstream, with the value of the part `model` replaced on the way. What a budget must know of
 * them (how many pictures are asked for, how many files come, how large they are) is read while they pass.
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
#define PADDING_MAX 1024 /* spaces behind a boundary */
/* of a file, at most where it is small: a picture, or some minutes of sound */
#define FILE_TOKENS 4096
#define BYTES_A_TOKEN 60   /* of sound as tightly coded as it may be */
#define UNKNOWN_CHOICES 10 /* that it may ask for behind its files */

enum form_state {
    FORM_PREAMBLE,
    FORM_HEAD,
    FORM_VALUE,
    FORM_TEXT, /* the value of a part that is read */
    FORM_EPILOGUE
};

struct form {
    struct str delimiter; /* CRLF -- boundary */
    enum form_state state;
    struct buf window; /* bytes not yet consumed by the parser */
    uint64_t parsed;   /* offset of window's first byte in the body */
    bool has_model, has_choices;
    bool is_choices;            /* the part whose text is being read: n, not model */
    int64_t n_files;            /* whose heads passed */
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

/* ---- parameters of a header's value ---- */

/* A token or a quoted text from the front of s; the latter is put together in room. *has_escape: a backslash stood in it, and readers differ in what that means. */
static bool take_value(char *room, struct str *s, struct str *out, bool *has_escape)
{
    *has_escape = false;
    if (!str_starts(*s, STR("\""))) {
        size_t n = 0;
        while (n < s->n && s->p[n] != ';' && s->p[n] != '"')
            n++;
        *out = str_trim(str_first(*s, n));
        *s = str_skip(*s, n);
        return out->n > 0;
    }
    size_t n = 0;
    for (size_t i = 1; i < s->n; i++) {
        if (s->p[i] == '"') {
            *out = str_n(room, n);
            *s = str_skip(*s, i + 1);
            return true;
        }
        if (s->p[i] == '\\' && i + 1 < s->n) {
            *has_escape = true;
            i++;
        }
        room[n++] = s->p[i];
    }
    return false;
}

/* ill: said twice, or in words that readers understand differently */
enum found {
    FOUND_NOT,
    FOUND,
    FOUND_ILL
};

/* The parameter of that name behind the first word of a header's value; its text may stand in room. RFC 9110, 5.6.6; spaces around = are
 * tolerated, as many do. */
static enum found param_of(struct str value, struct str name, char room[PART_HEAD_MAX],
                           struct str *out)
{
    enum found found = FOUND_NOT;
    char other[PART_HEAD_MAX] = "";
    if (value.n > PART_HEAD_MAX)
        return FOUND_ILL;
    size_t at = str_index(value, ';');
    for (value = str_skip(value, at); value.n; value = str_trim(value)) {
        struct str one, said;
        bool has_escape;
        if (value.p[0] != ';')
            return FOUND_ILL;
        value = str_trim(str_skip(value, 1));
        if (value.n == 0)
            break;
        size_t n = 0;
        while (n < value.n && !strchr("=; \t\"", value.p[n]))
            n++;
        one = str_first(value, n);
        value = str_trim(str_skip(value, n));
        if (!str_starts(value, STR("="))) /* a word without a value */
            continue;
        value = str_trim(str_skip(value, 1));
        bool is_it = str_eq_nocase(one, name);
        if (!take_value(is_it ? room : other, &value, &said, &has_escape)) {
            if (value.n && value.p[0] == '"')
                return FOUND_ILL; /* no end */
            said = STR_NONE;
        }
        /* name*=, name*0=: RFC 7578 has no such */
        bool is_extended = one.n > name.n && one.p[name.n] == '*' &&
                           str_eq_nocase(str_first(one, name.n), name);
        bool is_read = str_is(said, "model") || str_is(said, "n");
        if (is_extended || (is_it && (found == FOUND || (has_escape && is_read))))
            return FOUND_ILL;
        if (!is_it)
            continue;
        found = FOUND;
        *out = said;
    }
    return found;
}

static struct str boundary_of(struct arena *a, struct str type)
{
    char room[PART_HEAD_MAX];
    struct str b;
    return param_of(type, STR("boundary"), room, &b) == FOUND ? str_dup(a, b) : STR_NONE;
}

static void fail_with(struct relay *rl, const struct err *e)
{
    if (rl->call) /* it got what went before */
        http_call_cancel(rl->call);
    rl->call = NULL;
    relay_fail(rl, e);
}

static void fail(struct relay *rl, enum err_kind kind, const char *code, const char *field,
                 const char *text)
{
    struct err e = ERR_INIT;
    err_set(&e, kind, code, "%s", text);
    (void)snprintf(e.field, sizeof e.field, "%s", field);
    fail_with(rl, &e);
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

/* What a part's head says of it. Who reads it behind us must find the same: what may be read in two ways is refused. */
enum part {
    PART_OTHER,
    PART_MODEL,
    PART_CHOICES,
    PART_ILL
};

static enum part part_of(struct str head, bool *is_file)
{
    char room[PART_HEAD_MAX];
    const struct str field = STR("content-disposition:");
    enum part part = PART_OTHER;
    bool is_said = false;
    *is_file = false;
    while (head.n) {
        size_t end = find_bytes(head, STR("\r\n"));
        struct str line = str_first(head, end), name = STR_NONE, file;
        head = str_skip(head, end < head.n ? end + 2 : end);
        for (size_t i = 0; i < line.n; i++)
            if (line.p[i] == '\r' || line.p[i] == '\n' || line.p[i] == 0)
                return PART_ILL;
        if (line.n && (line.p[0] == ' ' || line.p[0] == '\t'))
            return PART_ILL; /* goes on from the line before */
        size_t colon = str_index(line, ':');
        if (colon == line.n ||
            !str_eq_nocase(str_trim(str_first(line, colon)), str_first(field, field.n - 1)))
            continue;
        struct str value = str_skip(line, colon + 1);
        enum found found = param_of(value, STR("name"), room, &name);
        if (found == FOUND_ILL || is_said)
            return PART_ILL;
        is_said = true;
        bool is_model = found == FOUND && str_is(name, "model"),
             is_choices = found == FOUND && str_is(name, "n");
        *is_file = param_of(value, STR("filename"), room, &file) != FOUND_NOT;
        part = is_model ? PART_MODEL : is_choices ? PART_CHOICES : PART_OTHER;
    }
    return part;
}

static void consume(struct form *f, size_t n)
{
    buf_consume(&f->window, n);
    f->parsed += n;
}

enum mark {    /* what the delimiter that stands there is */
    MARK_OPEN, /* not known yet */
    MARK_NEXT,
    MARK_LAST,
    MARK_TEXT, /* a text that only begins like it */
};

static enum mark mark_at(const struct form *f, size_t at, size_t *pad)
{
    struct str after = str_skip(buf_str(&f->window), at + f->delimiter.n);
    size_t n = 0; /* RFC 2046, 5.1.1: transport padding */
    while (n < after.n && (after.p[n] == ' ' || after.p[n] == '\t'))
        n++;
    *pad = n;
    if (str_starts(after, STR("--")))
        return MARK_LAST;
    if (n > PADDING_MAX)
        return MARK_TEXT;
    if (after.n < n + 2)
        return MARK_OPEN;
    return str_starts(str_skip(after, n), STR("\r\n")) ? MARK_NEXT : MARK_TEXT;
}

/* What its head says; false: it is answered. */
static bool begin_part(struct relay *rl, struct str head)
{
    struct form *f = rl->form;
    bool is_file, is_image = rl->spec->op == OP_IMAGE_EDIT;
    enum part part = part_of(head, &is_file);
    if (part == PART_ILL) {
        fail(rl, ERR_INPUT, "invalid_multipart", "",
             "A part of the multipart body has headers that can be read in more than one way");
        return false;
    }
    f->n_files += is_file;
    if (part != PART_MODEL && !(part == PART_CHOICES && is_image)) {
        f->state = FORM_VALUE;
        return true;
    }
    f->state = FORM_TEXT;
    f->is_choices = part == PART_CHOICES;
    const char *name = f->is_choices ? "n" : "model";
    bool is_second = f->is_choices ? f->has_choices : f->has_model;
    if (!is_file && !is_second)
        return true;
    char text[80];
    (void)snprintf(text, sizeof text,
                   is_file ? "The part '%s' must be a text, not a file"
                           : "The part '%s' stands in the form more than once",
                   name);
    fail(rl, ERR_INPUT, "invalid_multipart", name, text);
    return false;
}

static bool take_text(struct relay *rl, struct str text)
{
    struct form *f = rl->form;
    struct err e = ERR_INIT;
    if (!f->is_choices) {
        rl->model = str_dup(rl->r->arena, str_trim(text));
        f->model_n = text.n;
        f->has_model = true;
        return true;
    }
    f->has_choices = true;
    if (asked_form_choices(rl, str_trim(text), &e))
        return true;
    fail_with(rl, &e);
    return false;
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
            size_t pad;
            enum mark mark = mark_at(f, at, &pad);
            if (mark == MARK_OPEN) {
                consume(f, at);
                return true;
            }
            if (mark == MARK_TEXT) {
                consume(f, at + 2);
                break;
            }
            f->state = mark == MARK_LAST ? FORM_EPILOGUE : FORM_HEAD;
            consume(f, at + f->delimiter.n + (f->state == FORM_HEAD ? pad : 0));
            break;
        }
        case FORM_HEAD: {
            size_t end = find_bytes(w, STR("\r\n\r\n"));
            if (end == w.n && w.n <= PART_HEAD_MAX)
                return true;
            if (end == w.n || end > PART_HEAD_MAX) {
                fail(rl, ERR_INPUT, "invalid_multipart", "",
                     "A part of the multipart body has no end of its headers");
                return false;
            }
            if (!begin_part(rl, str_skip(str_first(w, end), 2)))
                return false;
            /* an empty value's delimiter starts with the CRLF of the head's end */
            consume(f, end + (f->state == FORM_TEXT ? 4 : 2));
            if (f->state == FORM_TEXT && !f->is_choices)
                f->model_at = f->parsed;
            break;
        }
        case FORM_TEXT: {
            size_t at = find_bytes(w, f->delimiter);
            if (at == w.n && w.n <= MODEL_MAX + f->delimiter.n)
                return true;
            size_t pad;
            enum mark mark = at < w.n ? mark_at(f, at, &pad) : MARK_TEXT;
            if (mark == MARK_OPEN && at <= MODEL_MAX)
                return true;
            if (at == w.n || at > MODEL_MAX || mark == MARK_TEXT) {
                const char *name = f->is_choices ? "n" : "model";
                struct err e = ERR_INIT;
                (void)err_field(&e, name,
                                mark != MARK_TEXT || at == w.n ? "The part '%s' is too long"
                                : f->is_choices                ? "The part '%s' is no number"
                                                : "The part '%s' is no name of a model",
                                name);
                fail_with(rl, &e);
                return false;
            }
            if (!take_text(rl, str_first(w, at)))
                return false;
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
    if (rl->is_ended)
        return;
    /* to its end: no second model may follow the one that was asked about */
    buf_str_add(&f->window, chunk);
    if (buf_failed(&f->window)) {
        fail(rl, ERR_TOO_LARGE, "request_too_large", "",
             "A part of the multipart body is too large to look at");
        return;
    }
    if (!parse(rl))
        return;
    if (f->is_started) {
        struct err e = ERR_INIT;
        if (!money_upload(rl, &e)) {
            fail_with(rl, &e);
            return;
        }
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
    if (f->state != FORM_EPILOGUE && !rl->is_ended) {
        fail(rl, ERR_INPUT, "invalid_multipart", "",
             "The multipart body ends before its last boundary");
        return;
    }
    if (f->is_started && rl->echo)
        echo_form_complete(rl);
    else if (f->is_started)
        pump(rl);
    else
        start_when_ready(rl);
}

/* ---- what it may cost ---- */

/* As it was announced; of one that was not, what came so far. */
static int64_t size_of(const struct relay *rl)
{
    int64_t came = (int64_t)rl->form->total;
    return rl->r->content_length > came ? rl->r->content_length : came;
}

static int64_t of_files(const struct form *f)
{
    return FILE_TOKENS * (f->n_files > 0 ? f->n_files : 1);
}

int64_t form_tokens_most(const struct relay *rl)
{
    int64_t by_size = size_of(rl) / BYTES_A_TOKEN, by_files = of_files(rl->form);
    return by_size > by_files ? by_size : by_files;
}

int64_t form_tokens(const struct relay *rl, bool is_announced)
{
    if (rl->spec->op == OP_IMAGE_EDIT) /* how tightly a picture is coded says nothing */
        return of_files(rl->form);
    return (is_announced ? size_of(rl) : (int64_t)rl->form->total) / BYTES_A_TOKEN + 1;
}

int64_t form_choices(const struct relay *rl)
{
    const struct form *f = rl->form;
    return f->has_choices || f->is_complete ? rl->asked_choices : UNKNOWN_CHOICES;
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
