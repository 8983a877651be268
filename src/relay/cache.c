/* cache.c - answers that need no upstream: to a request that was answered before (response cache), to one that is being answered
 * (coalescing), to one that its client sends again (Idempotency-Key). What a client gets is what the first one got, byte for byte.
 *
 * An answer belongs to a tenant: the caller's key, or its user or organisation where response_cache_scope says so. Nobody else's request
 * finds it. The key of the response cache is all of the request in canonical form, the format, what the upstreams are told besides, and
 * the upstreams that may be asked: a change of any of them is another request. Only whole, good answers are kept. */
#include "relay/cache.h"
#include "base/clock.h"
#include "gate/peer.h"
#include "json/json.h"
#include <stdlib.h>

#define MAX_IDEMPOTENCY_KEY 255
#define MAX_VAIN 2 /* answers of others that are waited for and do not come */

/* Outlives the request where the message of its leader is under way: then rl is NULL. */
struct wait {
    struct replies_waiter w;
    struct relay *rl;
    struct timer timer;
};

struct cached {
    struct replies_key keys[REPLIES_LAYERS];
    bool has_key[REPLIES_LAYERS];
    bool is_leader[REPLIES_LAYERS]; /* others may wait for this one: told in cache_end */
    bool is_passed[REPLIES_LAYERS]; /* waited for long enough: goes on without it */
    unsigned n_vain;                /* waited for in vain: its leader failed or left */
    bool is_bypassed;               /* the caller wants a fresh answer */
    enum replies_layer waits_in;
    struct wait *wait;
    struct buf reply;     /* as it goes out, for the table; cap 0: not wanted */
    struct saved *served; /* the answer that was given */
    /* "hit", "joined", "semantic", "idempotent"; NULL: answered by an upstream */
    const char *how;
    size_t at; /* of a stream that is given again: bytes that went out */
};

/* ---- who asks for what ---- */

static void add_text(struct buf *b, struct str s)
{
    uint64_t n = s.n;
    buf_add(b, &n, sizeof n); /* so that no two lists of texts are alike */
    buf_str_add(b, s);
}

static void add_tenant(struct relay *rl, struct buf *b)
{
    /* callers without a key are nobody's tenants: by their address, not a proxy's */
    if (!rl->key) {
        add_text(b, STR("address"));
        add_text(b, peer_address(rl->r, rl->set->trusted_proxies));
        return;
    }
    const struct holder *of = NULL;
    if (str_is(rl->set->response_cache_scope, "user"))
        of = rl->key->user;
    else if (str_is(rl->set->response_cache_scope, "org"))
        of = rl->key->org;
    add_text(b, of ? rl->set->response_cache_scope : STR("key"));
    add_text(b, of ? of->id : rl->key->id);
}

/* Members by name, so that their order makes no difference. */
static int by_name(const void *a, const void *b)
{
    yyjson_val *x = *(yyjson_val *const *)a, *y = *(yyjson_val *const *)b;
    struct str s = json_str(x), t = json_str(y);
    int order = memcmp(s.p, t.p, s.n < t.n ? s.n : t.n);
    if (order == 0 && s.n != t.n)
        order = s.n < t.n ? -1 : 1;
    if (order == 0 && x != y) /* one name twice: as they stand */
        order = x < y ? -1 : 1;
    return order;
}

struct canonical {
    struct arena *arena;
    struct jw w;
    const char *left_out; /* a text of the tree that is not written; NULL: none */
    bool was_left_out;
};

static bool is_digit(char ch)
{
    return ch >= '0' && ch <= '9';
}

/* 0.50, 5e-1 and 0.5 are one number: its digits without zeros at either end, and where the point stands. No floating point, in which
 * large integers that differ are equal. What nobody writes stays as it is. */
static void write_number(struct jw *w, struct str text)
{
    char digits[40], out[80];
    size_t n = 0, i = text.n && text.p[0] == '-';
    int64_t exponent = 0, behind_point = 0;
    bool is_behind = false;
    if (text.n > sizeof digits) {
        jw_raw(w, text);
        return;
    }
    for (; i < text.n && (is_digit(text.p[i]) || text.p[i] == '.'); i++) {
        bool is_point = text.p[i] == '.';
        is_behind |= is_point;
        behind_point += is_behind && !is_point;
        if (!is_point && (n || text.p[i] != '0'))
            digits[n++] = text.p[i];
    }
    struct str power = str_skip(text, i + (i < text.n)); /* behind e */
    if (power.n && power.p[0] == '+')
        power = str_skip(power, 1);
    if (power.n && (power.n > 9 || !str_to_int(power, &exponent))) {
        jw_raw(w, text);
        return;
    }
    exponent -= behind_point;
    for (; n && digits[n - 1] == '0'; n--)
        exponent++;
    int length = snprintf(out, sizeof out, "%s%.*se%lld", text.p[0] == '-' ? "-" : "", (int)n,
                          digits, (long long)exponent);
    jw_raw(w, n ? str_n(out, (size_t)length) : STR("0"));
}

static void write_canonical(struct canonical *c, yyjson_val *v)
{
    struct arena *a = c->arena;
    struct jw *w = &c->w;
    size_t i, max;
    yyjson_val *name, *value;
    if (yyjson_is_arr(v)) {
        jw_array(w);
        yyjson_arr_foreach (v, i, max, value)
            write_canonical(c, value);
        jw_array_end(w);
    } else if (yyjson_is_obj(v)) {
        size_t n = yyjson_obj_size(v), at = 0;
        yyjson_val **names = ARENA_ARRAY(a, yyjson_val *, n + 1);
        yyjson_obj_foreach (v, i, max, name, value)
            names[at++] = name;
        qsort(names, n, sizeof names[0], by_name);
        jw_object(w);
        for (i = 0; i < n; i++) {
            jw_key_str(w, json_str(names[i]));
            write_canonical(c, names[i] + 1);
        }
        jw_object_end(w);
    } else if (c->left_out && yyjson_is_str(v) && yyjson_get_str(v) == c->left_out) {
        c->was_left_out = true;
        jw_str(w, STR_NONE);
    } else if (json_is_number(v)) {
        write_number(w, json_lexeme(v));
    } else {
        jw_val(w, v);
    }
}

static bool is_eligible(const struct relay *rl)
{
    const struct relay_spec *s = rl->spec;
    /* a stored response is an object of its own, which a second answer must not share */
    if (s->shape == RELAY_TALK)
        return !rl->kept;
    return s->shape == RELAY_EMBED ||
           (s->shape == RELAY_JSON && (s->op == OP_MODERATE || s->op == OP_RERANK));
}

/* A model that draws lots is asked each time, unless the operator says otherwise. */
static bool is_repeatable(const struct relay *rl, yyjson_val *root)
{
    double temperature;
    yyjson_val *v = json_get(root, "temperature");
    if (rl->spec->shape != RELAY_TALK || rl->set->response_cache_any_temperature)
        return true;
    if (rl->spec->client == WIRE_GEMINI)
        v = json_get(json_get(root, "generationConfig"), "temperature");
    else if (rl->spec->client == WIRE_OLLAMA || rl->spec->client == WIRE_OLLAMA_GENERATE)
        v = json_get(json_get(root, "options"), "temperature");
    return json_double(v, &temperature) && temperature <= 0.0;
}

static int by_text(const void *a, const void *b)
{
    const struct str *x = a, *y = b;
    int order = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

/* Who may be asked, in no order: that changes with every request. */
static void add_targets(struct relay *rl, struct arena *a, struct buf *b)
{
    struct str *v = ARENA_ARRAY(a, struct str, rl->n_order + 1);
    for (size_t i = 0; i < rl->n_order; i++) {
        const struct upstream *u = rl->order[i]->upstream;
        v[i] = str_fmt(a, STR_FMT "\n" STR_FMT "\n" STR_FMT "\n" STR_FMT, STR_ARG(u->name),
                       STR_ARG(u->origin.key), STR_ARG(u->base_path), STR_ARG(rl->order[i]->model));
    }
    qsort(v, rl->n_order, sizeof v[0], by_text);
    for (size_t i = 0; i < rl->n_order; i++)
        add_text(b, v[i]);
}

/* Headers that reach upstreams, which may answer by them. */
static void add_told_headers(struct relay *rl, struct buf *b)
{
    for (size_t i = 0; i < rl->r->n_headers; i++) {
        struct http_header h = rl->r->headers[i];
        bool counts = header_is_forwarded(h.name) || str_is(h.name, "anthropic-version");
        if (counts && !str_is(h.name, "idempotency-key")) {
            add_text(b, h.name);
            add_text(b, h.value);
        }
    }
}

/* left_out: as of struct canonical. */
static bool key_of(struct relay *rl, struct arena *a, yyjson_val *root, const char *left_out,
                   uint8_t out[SHA256_SIZE])
{
    struct buf b;
    buf_init_arena(&b, a, 4 * rl->body.n + 65536);
    add_tenant(rl, &b);
    add_text(&b, str_of(op_name(rl->spec->op)));
    uint8_t mode[] = {(uint8_t)rl->spec->client, rl->is_stream, rl->is_gemini_array};
    buf_add(&b, mode, sizeof mode);
    buf_add(&b, &rl->thinking_tokens, sizeof rl->thinking_tokens); /* it stands beside the body */
    add_text(&b, rl->model);
    add_targets(rl, a, &b);
    add_told_headers(rl, &b);
    struct canonical c = {.arena = a, .w = jw_on(&b), .left_out = left_out};
    write_canonical(&c, root);
    if (buf_failed(&b) || (left_out && !c.was_left_out))
        return false;
    sha256(buf_str(&b), out);
    return true;
}

static bool exact_key(struct relay *rl, struct replies_key *k)
{
    struct arena *a = arena_new();
    yyjson_val *root;
    bool ok = json_parse(a, rl->body, (unsigned)rl->set->max_json_depth, &root, NULL) &&
              yyjson_is_obj(root) && is_repeatable(rl, root) && key_of(rl, a, root, NULL, k->id);
    k->layer = REPLIES_EXACT;
    memset(k->check, 0, sizeof k->check);
    arena_free(a);
    return ok;
}

bool cache_key_without(struct relay *rl, yyjson_val *root, struct str text,
                       uint8_t out[SHA256_SIZE])
{
    struct arena *a = arena_new();
    bool ok = key_of(rl, a, root, text.p, out);
    arena_free(a);
    return ok;
}

static void idempotent_key(struct relay *rl, struct str name, struct replies_key *k)
{
    struct buf b;
    buf_init_arena(&b, rl->r->arena, 65536);
    add_tenant(rl, &b);
    add_text(&b, rl->r->path);
    /* alt=sse makes another answer of it; a key is its tenant's matter, and may be a new one */
    add_text(&b, query_without(rl->r->arena, rl->r->query, "key"));
    add_text(&b, name);
    k->layer = REPLIES_IDEMPOTENT;
    sha256(buf_str(&b), k->id);
    sha256(rl->body, k->check);
}

static bool says(struct relay *rl, const char *header, const char *word)
{
    struct str v = http_req_header(rl->r, header), one;
    while (v.n) {
        v = str_cut(v, ',', &one);
        if (str_eq_nocase(str_trim(one), str_of(word)))
            return true;
    }
    return false;
}

/* What of the table concerns this request; false: answered with an error. rl->cached stays NULL where nothing does. */
static bool look(struct relay *rl)
{
    struct str name = STR_NONE;
    bool is_cached = (rl->set->response_cache || rl->set->coalesce) && is_eligible(rl);
    if (rl->set->idempotency_window_ms > 0)
        name = str_trim(http_req_header(rl->r, "idempotency-key"));
    /* what is piped through may be of any size and type */
    if ((!is_cached && name.n == 0) || rl->spec->shape == RELAY_COUNT || rl->spec->op == OP_SPEECH)
        return true;
    if (name.n > MAX_IDEMPOTENCY_KEY) {
        struct err e = ERR_INIT;
        (void)err_field(&e, "idempotency-key", "'idempotency-key' has more than %d characters",
                        MAX_IDEMPOTENCY_KEY);
        relay_fail(rl, &e);
        return false;
    }
    struct cached *c = ARENA_NEW(rl->r->arena, struct cached);
    if (name.n) {
        idempotent_key(rl, name, &c->keys[REPLIES_IDEMPOTENT]);
        c->has_key[REPLIES_IDEMPOTENT] = true;
    }
    if (is_cached) {
        c->is_bypassed = says(rl, "x-sluice-no-cache", "true") ||
                         says(rl, "x-omniroute-no-cache", "true") ||
                         says(rl, "cache-control", "no-cache") ||
                         says(rl, "cache-control", "no-store");
        c->has_key[REPLIES_EXACT] = !c->is_bypassed && exact_key(rl, &c->keys[REPLIES_EXACT]);
    }
    rl->cached = c;
    return true;
}

/* ---- giving an answer again ---- */

static void give_more(struct relay *rl)
{
    struct cached *c = rl->cached;
    while (c->at < c->served->body.n) {
        if (http_reply_is_full(rl->r))
            return; /* cache_drain goes on */
        struct str piece = str_first(str_skip(c->served->body, c->at), 65536);
        c->at += piece.n;
        http_reply_body(rl->r, piece);
    }
    rl->is_done = true;
    relay_finish(rl);
}

static bool is_repeated(const struct cached *c)
{
    return c->how && strcmp(c->how, "idempotent") == 0;
}

bool cache_costs(const struct relay *rl)
{
    /* one that is sent again, as its client does not know what became of it, was paid for */
    return str_is(rl->set->response_cache_cost, "full") && !is_repeated(rl->cached);
}

/* Takes the reference. */
static void give(struct relay *rl, struct saved *s, const char *how)
{
    struct cached *c = rl->cached;
    struct err e = ERR_INIT;
    c->served = s;
    c->how = how;
    /* one that is paid for like a fresh one needs the money for it */
    if (cache_costs(rl) && !rl->is_money_asked && !money_admit(rl, &e)) {
        c->how = NULL;
        relay_fail(rl, &e);
        return;
    }
    rl->stop = s->stop;
    if (!s->is_stream) {
        rl->is_done = rl->is_ended = true;
        relay_reply_json(rl, s->status, s->body);
        return;
    }
    if (relay_begin_stream(rl))
        give_more(rl);
}

void cache_drain(struct relay *rl)
{
    if (rl->cached && rl->cached->served && rl->cached->served->is_stream && !rl->is_ended)
        give_more(rl);
}

/* ---- waiting for the answer to an equal request ---- */

static void go_on(struct relay *rl)
{
    if (cache_begin(rl))
        relay_attempt_next(rl);
}

static const char *joined_how(const struct cached *c)
{
    return c->waits_in == REPLIES_IDEMPOTENT ? "idempotent" : "joined";
}

static void on_answer(void *arg)
{
    struct wait *w = arg;
    struct relay *rl = w->rl;
    struct saved *got = w->w.got;
    if (!rl || rl->is_ended) {
        saved_unref(got);
        free(w);
        return;
    }
    struct cached *c = rl->cached;
    timer_stop(&w->timer);
    c->wait = NULL;
    free(w);
    if (got) {
        give(rl, got, joined_how(c));
        return;
    }
    /* One more tries for all; where that is in vain, too, each for itself, and not one behind the other. What has an Idempotency-Key is never
     * asked twice at once. */
    if (c->waits_in == REPLIES_EXACT && ++c->n_vain >= MAX_VAIN)
        c->is_passed[REPLIES_EXACT] = true;
    go_on(rl); /* perhaps as the one that answers */
}

static void on_wait_over(struct timer *t)
{
    struct wait *w = (struct wait *)(void *)((char *)t - offsetof(struct wait, timer));
    struct relay *rl = w->rl;
    if (!replies_leave(rl->env->shared->replies, &w->w))
        return; /* the answer is on its way */
    rl->cached->wait = NULL;
    rl->cached->is_passed[rl->cached->waits_in] = true;
    free(w);
    go_on(rl);
}

static struct wait *wait_new(struct relay *rl)
{
    struct wait *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    w->rl = rl;
    w->w = (struct replies_waiter){.loop = rl->env->loop, .fn = on_answer, .arg = w};
    return w;
}

static void forget_wait(struct relay *rl)
{
    struct wait *w = rl->cached->wait;
    if (!w)
        return;
    timer_stop(&w->timer);
    w->rl = NULL;
    rl->cached->wait = NULL;
    if (replies_leave(rl->env->shared->replies, &w->w))
        free(w);
}

/* ---- the table ---- */

static bool may_wait(const struct relay *rl, enum replies_layer layer)
{
    /* a stream that waited for all of another one would begin too late */
    return layer == REPLIES_IDEMPOTENT || (rl->set->coalesce && !rl->is_stream);
}

static void on_reply(void *arg, struct str bytes)
{
    struct relay *rl = arg;
    buf_str_add(&rl->cached->reply, bytes);
    if (rl->capture)
        capture_replied(rl, bytes);
}

void cache_found(struct relay *rl, struct saved *answer)
{
    if (answer)
        give(rl, answer, "semantic");
    else
        go_on(rl);
}

static bool enter(struct relay *rl, enum replies_layer layer, bool *is_served)
{
    struct cached *c = rl->cached;
    struct saved *hit = NULL;
    struct wait *w = may_wait(rl, layer) ? wait_new(rl) : NULL;
    enum replies_found found = replies_enter(rl->env->shared->replies, &c->keys[layer],
                                             loop_now_ms(rl->env->loop), w ? &w->w : NULL, &hit);
    *is_served = true;
    if (found == REPLIES_JOINED) {
        c->wait = w;
        c->waits_in = layer;
        timer_start(rl->env->loop, &w->timer, (uint64_t)rl->set->coalesce_wait_ms, on_wait_over);
        return true;
    }
    free(w);
    switch (found) {
    case REPLIES_HIT:
        give(rl, hit, layer == REPLIES_IDEMPOTENT ? "idempotent" : "hit");
        return true;
    case REPLIES_OTHER: {
        struct err e = ERR_INIT;
        (void)err_set(&e, ERR_CONFLICT, "idempotency_conflict",
                      "This Idempotency-Key was used for another request");
        (void)snprintf(e.field, sizeof e.field, "idempotency-key");
        relay_fail(rl, &e);
        return true;
    }
    case REPLIES_LEAD:
        c->is_leader[layer] = true;
        break;
    case REPLIES_BUSY:
        c->is_passed[layer] = true;
        break;
    case REPLIES_JOINED:
        break;
    }
    *is_served = false;
    return true;
}

bool cache_begin(struct relay *rl)
{
    static const enum replies_layer order[] = {REPLIES_IDEMPOTENT, REPLIES_EXACT};
    if (!rl->cached && !look(rl))
        return false;
    struct cached *c = rl->cached;
    if (!c)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        enum replies_layer layer = order[i];
        bool is_served;
        if (!c->has_key[layer] || c->is_leader[layer] || c->is_passed[layer])
            continue;
        if (enter(rl, layer, &is_served) && is_served)
            return false; /* rl may be gone */
    }
    if (c->has_key[REPLIES_EXACT] && rl->set->response_cache && meaning_look(rl))
        return false; /* cache_found goes on */
    if (c->is_leader[REPLIES_IDEMPOTENT] || c->is_leader[REPLIES_EXACT]) {
        buf_init(&c->reply, (size_t)rl->set->response_cache_max_reply_bytes);
        rl->r->tap = on_reply;
        rl->r->tap_arg = rl;
    }
    return true;
}

/* Bytes of the caller's own format pass unread: what is no JSON is its client's to find out, but once only. */
static bool is_json(const struct relay *rl, struct str body)
{
    struct json_scan scan;
    return json_scan_object(body, NULL, 0, (unsigned)rl->set->max_json_depth, &scan, NULL);
}

static struct saved *answer_of(struct relay *rl)
{
    struct cached *c = rl->cached;
    bool is_good = rl->status == 200 && rl->is_done && rl->mode != REPLY_PIPE &&
                   !rl->saw_error_event && !rl->error_code[0] && !rl->r->is_aborted &&
                   !buf_failed(&c->reply);
    if (c->served)
        return rl->error_code[0] ? NULL : saved_ref(c->served);
    if (!is_good || (!rl->is_stream && !is_json(rl, buf_str(&c->reply))))
        return NULL;
    struct saved s = {.status = rl->status,
                      .is_stream = rl->is_stream,
                      .body = buf_str(&c->reply),
                      .dropped = relay_dropped(rl),
                      .model = rl->model,
                      .usage = rl->usage,
                      .stop = rl->stop,
                      .created_ms = clock_wall_ms()};
    if (rl->target) {
        s.upstream = rl->target->upstream->name;
        s.upstream_model = rl->target->model;
    }
    return saved_new(&s);
}

/* An answer that was given again is kept for this request too, but as old as it is. */
static uint64_t left_ms(const struct relay *rl, uint64_t ttl_ms)
{
    const struct saved *s = rl->cached->served;
    int64_t age = s ? clock_wall_ms() - s->created_ms : 0;
    return age <= 0 ? ttl_ms : (uint64_t)age < ttl_ms ? ttl_ms - (uint64_t)age : 0;
}

void cache_end(struct relay *rl)
{
    struct cached *c = rl->cached;
    if (!c)
        return;
    forget_wait(rl);
    meaning_forget(rl);
    bool leads = c->is_leader[REPLIES_IDEMPOTENT] || c->is_leader[REPLIES_EXACT];
    struct saved *answer = leads ? answer_of(rl) : NULL;
    struct replies_limits limits = {.max_bytes = (uint64_t)rl->set->response_cache_max_bytes,
                                    .max_entries = (uint64_t)rl->set->response_cache_max_entries};
    const uint64_t ttl_ms[REPLIES_LAYERS] = {
        [REPLIES_EXACT] = rl->set->response_cache
                              ? left_ms(rl, (uint64_t)rl->set->response_cache_ttl_ms)
                              : 0,
        [REPLIES_IDEMPOTENT] = (uint64_t)rl->set->idempotency_window_ms};
    /* What a budget cut short is no answer for tomorrow; a request sent again still gets what it paid for. */
    bool is_short = rl->is_cut || (rl->given_output > 0 && rl->stop == IR_STOP_LENGTH);
    for (size_t i = 0; i < REPLIES_LAYERS; i++)
        if (c->is_leader[i])
            replies_settle(rl->env->shared->replies, &c->keys[i], answer,
                           i == REPLIES_EXACT && is_short ? 0 : ttl_ms[i],
                           loop_now_ms(rl->env->loop), &limits);
    meaning_keep(rl, c->served || is_short ? NULL : answer, &limits);
    saved_unref(answer);
    buf_done(&c->reply);
}

void cache_forget(struct relay *rl)
{
    if (rl->cached)
        saved_unref(rl->cached->served);
    rl->cached = NULL;
}

const char *cache_how(const struct relay *rl)
{
    return rl->cached ? rl->cached->how : NULL;
}

const struct saved *cache_served(const struct relay *rl)
{
    return rl->cached ? rl->cached->served : NULL;
}

size_t cache_headers(struct relay *rl, struct http_header *h, size_t max)
{
    const struct cached *c = rl->cached;
    size_t n = 0;
    if (!c || max < 5)
        return 0;
    bool is_again = is_repeated(c);
    /* what is known by its Idempotency-Key passes no cache, and nobody is asked */
    if (!is_again && (c->is_bypassed || c->has_key[REPLIES_EXACT])) {
        struct str word = c->is_bypassed ? STR("BYPASS") : c->how ? STR("HIT") : STR("MISS");
        h[n++] = (struct http_header){STR("x-sluice-cache"), word};
        h[n++] = (struct http_header){STR("x-omniroute-cache"), word};
    }
    if (is_again) {
        h[n++] = (struct http_header){STR("x-sluice-idempotent"), STR("true")};
        h[n++] = (struct http_header){STR("x-omniroute-idempotent"), STR("true")};
    }
    if (c->served && c->served->dropped.n)
        h[n++] = (struct http_header){STR(DROPPED_HEADER), c->served->dropped};
    return n;
}
