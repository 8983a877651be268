/* note.c - what the request log keeps beyond the figures: the attempts, what was lost on the way, the failure in words, the bodies.
 * Made only for requests of which there is something to say. */
#include "relay/request.h"
#include "base/clock.h"
#include "gate/auth.h"
#include "gate/peer.h"
#include "meter/body_store.h"
#include "meter/usage_detail.h"
#include <stdlib.h>

#define MAX_TRIES 32
#define MAX_ERROR_TEXT 4096
#define MAX_DROPPED 64
#define MAX_DETAIL (1u << 20)
#define MARGIN 512 /* more of a body than is kept: a secret at the cut is seen whole */

struct notes {
    struct usage_attempt tries[MAX_TRIES];
    size_t n;
    bool is_last_noted; /* the attempt that runs, or ran last, is the last of tries */
    struct str error;
};

static struct notes *notes_of(struct relay *rl)
{
    struct failures *f = relay_failures(rl);
    if (!f->notes)
        f->notes = ARENA_NEW(rl->r->arena, struct notes);
    return f->notes;
}

static int64_t after_start(const struct relay *rl, uint64_t ns)
{
    return ns > rl->r->start_ns ? (int64_t)((ns - rl->r->start_ns) / 1000) : 0;
}

static struct usage_attempt *add_try(struct relay *rl, struct notes *n, uint64_t now)
{
    if (n->n == MAX_TRIES || !rl->target)
        return NULL;
    struct usage_attempt *t = &n->tries[n->n++];
    int64_t at = after_start(rl, rl->sent_ns ? rl->sent_ns : now);
    *t = (struct usage_attempt){.upstream = rl->target->upstream->name,
                                .model = rl->target->model,
                                .reason = hedge_is_now(rl) ? STR("hedge") : STR_NONE,
                                .status = rl->up_status,
                                .at_us = at,
                                .duration_us = after_start(rl, now) - at};
    return t;
}

bool note_is_told(const struct relay *rl)
{
    return rl->failures && rl->failures->notes && rl->failures->notes->is_last_noted;
}

void note_open(struct relay *rl)
{
    if (rl->failures && rl->failures->notes)
        rl->failures->notes->is_last_noted = false;
}

void note_attempt(struct relay *rl)
{
    rl->sent_ns = 0;
    note_open(rl);
}

void note_failed(struct relay *rl, const struct err *e, const char *fault)
{
    struct arena *a = rl->r->arena;
    struct notes *n = notes_of(rl);
    struct usage_attempt *t = n->is_last_noted ? NULL : add_try(rl, n, clock_mono_ns());
    n->is_last_noted = true;
    if (!t)
        return;
    t->fault = str_of(fault);
    t->code = str_dup(a, str_of(e->code));
    t->message = str_dup(a, str_of(e->message));
}

void note_error(struct relay *rl, const struct err *e)
{
    notes_of(rl)->error = str_dup(rl->r->arena, str_of(e->message));
}

/* ---- the detail ---- */

static size_t count_secrets(const struct upstream *u)
{
    return u->n_keys + u->n_headers;
}

static size_t secrets_of(const struct upstream *u, struct str *known)
{
    size_t n = 0;
    for (size_t k = 0; k < u->n_keys; k++)
        known[n++] = secret_reveal(u->keys[k]);
    for (size_t k = 0; k < u->n_headers; k++)
        if (secret_may_be_header(u->headers[k].name, u->headers[k].value))
            known[n++] = u->headers[k].value;
    return n;
}

static struct str *secrets_given(struct relay *rl, size_t *n)
{
    const struct upstream *u = rl->target->upstream;
    struct str *known = ARENA_ARRAY(rl->r->arena, struct str, count_secrets(u) + 1);
    *n = secrets_of(u, known);
    return known;
}

struct str note_mask(struct relay *rl, struct str text)
{
    size_t n;
    struct str *known = secrets_given(rl, &n);
    return redact_known(rl->r->arena, text, known, n);
}

struct str note_mask_piece(struct relay *rl, struct str piece)
{
    struct arena *a = rl->r->arena;
    struct str *open = &relay_failures(rl)->mask_open;
    size_t n;
    struct str *known = secrets_given(rl, &n);
    struct str text = open->n ? str_cat(a, *open, piece) : piece;
    size_t waits = redact_open(text, known, n);
    *open = waits ? str_dup(a, str_skip(text, text.n - waits)) : STR_NONE;
    return redact_known(a, str_first(text, text.n - waits), known, n);
}

struct str note_mask_rest(struct relay *rl)
{
    struct str open = rl->failures ? rl->failures->mask_open : STR_NONE;
    if (open.n == 0)
        return STR_NONE;
    rl->failures->mask_open = STR_NONE;
    return note_mask(rl, open);
}

const struct err *note_mask_error(struct relay *rl, const struct err *e)
{
    if (!rl->target)
        return e;
    struct str code = note_mask(rl, str_of(e->code)), field = note_mask(rl, str_of(e->field)),
               message = note_mask(rl, str_of(e->message));
    if (code.p == e->code && field.p == e->field && message.p == e->message)
        return e;
    struct err *masked = ARENA_NEW(rl->r->arena, struct err);
    *masked = *e;
    relay_copy_text(masked->code, sizeof masked->code, code);
    relay_copy_text(masked->field, sizeof masked->field, field);
    relay_copy_text(masked->message, sizeof masked->message, message);
    return masked;
}

/* Those of all that may have been asked. */
static struct str *secrets_asked(struct relay *rl, size_t *n)
{
    size_t all = 0;
    *n = 0;
    for (size_t i = 0; i < rl->n_order; i++)
        all += count_secrets(rl->order[i]->upstream);
    struct str *known = ARENA_ARRAY(rl->r->arena, struct str, all + 1);
    for (size_t i = 0; i < rl->n_order; i++)
        *n += secrets_of(rl->order[i]->upstream, known + *n);
    return known;
}

/* The error without the credentials of those who were asked; other secrets are the writer's matter. */
static struct str without_keys(struct relay *rl, struct str text)
{
    struct buf b;
    size_t n;
    struct str *known = secrets_asked(rl, &n);
    buf_init_arena(&b, rl->r->arena, text.n * 4 + 64);
    redact(NULL, text, known, n, &b);
    return buf_str(&b);
}

static void list_dropped(struct relay *rl, struct strs *out)
{
    size_t n = 0;
    for (const struct wire_dropped *d = rl->ctx.dropped; d && n < MAX_DROPPED; d = d->next)
        n++;
    out->v = ARENA_ARRAY(rl->r->arena, struct str, n + 1);
    for (const struct wire_dropped *d = rl->ctx.dropped; d && out->n < n; d = d->next)
        out->v[out->n++] = d->what;
}

/* http://user:password@host:8080 -> http://host:8080 */
static struct str without_credentials(struct str url, struct arena *a)
{
    const char *at = memrchr(url.p, '@', url.n), *mark = memmem(url.p, url.n, "://", 3);
    if (!at)
        return url;
    struct str scheme = mark && mark < at ? str_n(url.p, (size_t)(mark - url.p) + 3) : STR_NONE;
    return str_cat(a, scheme, str_skip(url, (size_t)(at - url.p) + 1));
}

static struct usage_extra *make_extra(struct relay *rl, bool has_failed)
{
    struct notes *n = rl->failures ? rl->failures->notes : NULL;
    bool has_dropped = rl->is_ctx_ready && rl->ctx.dropped;
    struct str via = rl->target ? rl->target->upstream->origin.proxy : STR_NONE;
    if (!n && !has_dropped && !rl->set->log_clients && !rl->capture && !rl->trace &&
        !cache_how(rl) && !via.n && !rl->choice && !rl->policy)
        return NULL;
    struct usage_detail d = {.route = choice_text(rl), .hedge_nanousd = rl->lost_nanousd};
    struct buf b;
    if (n) {
        /* the one that answered, or broke off in the middle */
        if (!n->is_last_noted && rl->attempts > 0) {
            struct usage_attempt *t = add_try(rl, n, clock_mono_ns());
            n->is_last_noted = true;
            if (t && rl->error_code[0])
                t->code = str_of(rl->error_code);
        }
        for (size_t i = 0; i < n->n; i++)
            n->tries[i].message = without_keys(rl, n->tries[i].message);
        d.attempts = (struct shape_list){n->tries, n->n};
        if (has_failed)
            d.error = without_keys(
                rl, str_first(rl->last_body.n ? rl->last_body : n->error, MAX_ERROR_TEXT));
    }
    if (has_dropped)
        list_dropped(rl, &d.dropped);
    if (rl->set->log_clients) {
        d.client = peer_address(rl->r, rl->set->trusted_proxies);
        d.agent = str_first(http_req_header(rl->r, "user-agent"), 256);
    }
    if (via.n)
        d.via = str_cat(rl->r->arena,
                        rl->target->upstream->proxy_level == PROXY_GLOBAL ? STR("global ")
                                                                          : STR("provider "),
                        without_credentials(via, rl->r->arena));
    if (rl->policy) {
        d.policy = rl->policy->name;
        if (rl->policy->task != TASK_ANY)
            d.task = str_of(word_text(task_words, rl->policy->task, ""));
    }
    d.trace = str_of(trace_id(rl));
    d.cache = str_of(cache_how(rl));
    if (rl->capture)
        d.path = str_first(rl->r->path, 512);
    buf_init(&b, MAX_DETAIL);
    usage_detail_write(&d, &b);
    struct usage_extra *x = buf_failed(&b) ? NULL : malloc(sizeof *x + b.n);
    if (x) {
        *x = (struct usage_extra){.n = b.n};
        memcpy(x->text, b.p, b.n);
    }
    buf_done(&b);
    return x;
}

/* ---- bodies ---- */

static void keep(struct relay *rl, enum body_kind k, struct str bytes)
{
    struct body_set *b = rl->capture;
    size_t max = (size_t)rl->set->log_body_max_bytes + MARGIN, has = b->v[k].n;
    b->size[k] += bytes.n;
    if (has < max)
        buf_str_add(&b->v[k], str_first(bytes, max - has));
}

void capture_replied(struct relay *rl, struct str bytes)
{
    keep(rl, BODY_CLIENT_RESPONSE, bytes);
}

static void on_reply(void *arg, struct str bytes)
{
    capture_replied(arg, bytes);
}

static struct str which_bodies(const struct relay *rl)
{
    const struct key_policy *p = rl->key ? rl->key->policy : &key_policy_none;
    if (p->no_log)
        return STR("off");
    return p->log_bodies.n ? p->log_bodies : rl->set->log_bodies;
}

bool capture_is_wanted(const struct relay *rl)
{
    return !str_is(which_bodies(rl), "off");
}

void capture_begin(struct relay *rl)
{
    struct body_set *b = calloc(1, sizeof *b);
    if (!b)
        abort();
    for (size_t i = 0; i < BODY_N; i++)
        buf_init(&b->v[i], (size_t)rl->set->log_body_max_bytes + MARGIN);
    rl->capture = b;
    rl->r->tap = on_reply;
    rl->r->tap_arg = rl;
}

void capture_request(struct relay *rl, struct str body)
{
    keep(rl, BODY_CLIENT_REQUEST, body);
}

void capture_sent(struct relay *rl, struct str body)
{
    struct body_set *b = rl->capture;
    /* of the last attempt */
    for (size_t i = BODY_UPSTREAM_REQUEST; i <= BODY_UPSTREAM_RESPONSE; i++) {
        buf_clear(&b->v[i]);
        b->size[i] = 0;
    }
    keep(rl, BODY_UPSTREAM_REQUEST, body);
}

void capture_sending(struct relay *rl, struct str bytes)
{
    keep(rl, BODY_UPSTREAM_REQUEST, bytes);
}

void capture_received(struct relay *rl, struct str bytes)
{
    keep(rl, BODY_UPSTREAM_RESPONSE, bytes);
}

static void add_secret(struct body_set *b, struct str s)
{
    if (s.n == 0)
        return;
    char *p = malloc(s.n);
    b->secrets = realloc(b->secrets, (b->n_secrets + 1) * sizeof *b->secrets);
    if (!p || !b->secrets)
        abort();
    memcpy(p, s.p, s.n);
    b->secrets[b->n_secrets++] = str_n(p, s.n);
}

static void add_secrets(struct relay *rl, struct body_set *b)
{
    size_t n;
    struct str *known = secrets_asked(rl, &n);
    for (size_t i = 0; i < n; i++)
        add_secret(b, known[i]);
    add_secret(b, auth_presented(rl->r->arena, rl->r, rl->spec->native_auth));
}

/* What a policy's task took of tokens at the model that it was led to. */
static void count_led(struct relay *rl, const struct ir_usage *u)
{
    int64_t n = (u->input_total > 0 ? u->input_total : 0) +
                (u->output_total > 0 ? u->output_total : 0);
    atomic_fetch_add_explicit(&rl->env->shared->tasks_tokens[rl->policy->task], (uint64_t)n,
                              memory_order_relaxed);
}

void note_put(struct relay *rl, struct usage_record *u)
{
    struct body_set *b = rl->capture;
    bool has_failed = u->status >= 400 || u->error_code[0];
    bool is_kept = b && rl->env->bodies && (has_failed || str_is(which_bodies(rl), "all"));
    if (rl->policy && rl->policy->task != TASK_ANY)
        count_led(rl, &u->usage);
    u->extra = make_extra(rl, has_failed);
    rl->capture = NULL;
    rl->r->tap = NULL;
    if (is_kept) {
        add_secrets(rl, b);
        body_store_put(rl->env->bodies, rl->env->index, u, b);
        return;
    }
    body_set_free(b);
    usage_log_put(rl->env->usage, rl->env->index, u);
}
