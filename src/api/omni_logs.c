/* omni_logs.c - single requests as OmniRoute's log pages show them: /api/usage/call-logs, the same as lines of text, the proxies they
 * took, and the files to take away. */
#include "api/omni_usage.h"
#include "api/change.h"
#include "api/combos.h"
#include "base/clock.h"
#include "base/log_recent.h"
#include "domain/proxy.h"
#include "json/shape_json.h"
#include "meter/body_store.h"

#define MOST_ROWS 1000
#define TEXT_LINES 200
#define EXPORT_ROWS 100000
#define LOOKED_THROUGH 5000 /* records of which proxy-logs looks at what they have to say */

/* ---- reading rows ---- */

/* Calls f for each record that fits, newest first, until it says stop. */
typedef bool row_seen_fn(void *arg, const struct usage_row *r,
                         struct err *e); /* false without e: enough */
static bool each_record(struct control_call *c, const struct usage_filter *filter, int64_t skip,
                        size_t most, row_seen_fn *f, void *arg, struct err *e)
{
    struct db *db = control_db(c, e);
    struct usage_reader *r = db ? usage_reader_new(c->arena, db, filter, e) : NULL;
    int64_t before = 0, ids[256];
    size_t n = 1;
    bool goes_on = r != NULL;
    for (size_t left = most; goes_on && n > 0 && left > 0; left -= n) {
        size_t max = left < ARRAY_LEN(ids) ? left : ARRAY_LEN(ids);
        goes_on = usage_read_ids(r, before, skip, ids, max, &n, e);
        skip = 0;
        for (size_t i = 0; goes_on && i < n; i++) {
            struct usage_row row;
            before = ids[i];
            goes_on = usage_read_row(r, ids[i], &row, e) && f(arg, &row, e);
        }
    }
    usage_reader_free(r);
    return e->kind == ERR_NONE;
}

static struct str path_of(const struct usage_row *r, const struct usage_detail *d)
{
    if (d->path.n)
        return d->path;
    const struct endpoint *row;
    for (size_t i = 0; (row = endpoint_at(i)) != NULL; i++)
        if (row->relay && str_eq(str_of(op_name(row->relay->op)), r->op))
            return str_of(row->path);
    return STR_NONE;
}

static struct str model_of(const struct usage_row *r)
{
    return r->upstream_model.n ? r->upstream_model : r->model;
}

/* ---- combos ---- */

/* The names of the log that lead to a combo now: those of combos, and aliases of whatever pattern. */
struct combo_names {
    struct str *names;
    const struct combo **combos;
    size_t n;
};

static const struct combo *combo_behind(struct control_call *c, struct str name)
{
    const struct combo *x = combo_called(c->snap, name);
    const struct model *m = x ? NULL : snapshot_resolve(c->snap, c->arena, name);
    if (x && str_eq(x->name, name))
        return x; /* also one that is switched off: it was on when it was asked */
    return m && m->face == MODEL_OF_COMBO && m->group && !m->group->of ? m->group : NULL;
}

static bool read_combos(struct control_call *c, struct combo_names *out, struct err *e)
{
    struct db *db = control_db(c, e);
    struct str *names;
    size_t n;
    *out = (struct combo_names){.n = 0};
    if (!db || !usage_read_models(c->arena, db, &names, &n, e))
        return false;
    out->names = ARENA_ARRAY(c->arena, struct str, n + 1);
    out->combos = ARENA_ARRAY(c->arena, const struct combo *, n + 1);
    for (size_t i = 0; i < n; i++) {
        out->combos[out->n] = combo_behind(c, names[i]);
        out->names[out->n] = names[i];
        out->n += out->combos[out->n] != NULL;
    }
    return true;
}

static const struct combo *combo_of(const struct combo_names *of, const struct usage_row *r)
{
    for (size_t i = 0; i < of->n; i++)
        if (str_eq(of->names[i], r->model))
            return of->combos[i];
    return NULL;
}

/* asked: a combo's name or id, or a word for any. What is called otherwise had no requests. */
static void filter_combo(struct control_call *c, const struct combo_names *of, struct str asked,
                         struct usage_filter *f)
{
    const struct combo *x = combo_called(c->snap, asked);
    bool is_any = str_is(asked, "1") || str_is(asked, "true") || str_is(asked, "all");
    struct str *names = ARENA_ARRAY(c->arena, struct str, of->n + 1);
    if (asked.n == 0)
        return;
    for (size_t i = 0; i < of->n; i++)
        if (x ? of->combos[i] == x : is_any)
            names[f->n_models++] = of->names[i];
    f->models = names;
    f->has_models = true;
}

/* ---- call logs ---- */

struct tokens_out {
    int64_t in, out;
};
struct call_out {
    struct str id, timestamp, method, path;
    int64_t status;
    struct str model, requestedModel, provider, account;
    int64_t duration;
    struct tokens_out tokens;
    struct str sourceFormat, targetFormat, error, comboName, apiKeyId, apiKeyName;
    bool hasRequestBody, hasResponseBody;
    /* of one */
    struct str connectionId, requestId;
    yyjson_val *requestBody, *responseBody, *pipelinePayloads;
};
/* clang-format off */
static const struct shape tokens_shape = SHAPE(struct tokens_out,
    FIELD(struct tokens_out, in, 0, "Input tokens, cached ones included"),
    FIELD(struct tokens_out, out, 0, "Output tokens, reasoning included"));
#define CALL_FIELDS \
    FIELD(struct call_out, id, 0, "Place in the log"), \
    FIELD(struct call_out, timestamp, 0, "When it ended"), \
    FIELD(struct call_out, method, 0, "POST"), \
    FIELD(struct call_out, path, 0, "What was called"), \
    FIELD(struct call_out, status, 0, "HTTP status; 499: the client left before the reply"), \
    FIELD(struct call_out, model, 0, "The model as its provider calls it"), \
    FIELD(struct call_out, requestedModel, NULL_EMPTY, "The model that was asked for"), \
    FIELD(struct call_out, provider, 0, "Provider that was tried last"), \
    FIELD(struct call_out, account, 0, "Its connection"), \
    FIELD(struct call_out, duration, 0, "Milliseconds in all"), \
    FIELD_OBJECT(struct call_out, tokens, &tokens_shape, 0, "Tokens"), \
    FIELD(struct call_out, sourceFormat, 0, "The client's format"), \
    FIELD(struct call_out, targetFormat, 0, "The format that the provider got"), \
    FIELD(struct call_out, error, NULL_EMPTY, "What went wrong"), \
    FIELD(struct call_out, comboName, NULL_EMPTY, "The combo that was asked for, or that the name leads to now"), \
    FIELD(struct call_out, apiKeyId, NULL_EMPTY, "Client key"), \
    FIELD(struct call_out, apiKeyName, NULL_EMPTY, "Its name"), \
    FIELD(struct call_out, hasRequestBody, 0, "Whether the request's body was kept"), \
    FIELD(struct call_out, hasResponseBody, 0, "Whether the answer's body was kept")
static const struct shape call_shape = SHAPE(struct call_out, CALL_FIELDS);
static const struct shape call_detail_shape = SHAPE(struct call_out, CALL_FIELDS,
    FIELD(struct call_out, requestId, 0, "The x-request-id that its client saw"),
    FIELD(struct call_out, connectionId, NULL_EMPTY, "Its connection"),
    FIELD(struct call_out, requestBody, 0, "JSON, or text; {_truncated,_originalSize,_preview} of what was too large to keep; null: not kept"),
    FIELD(struct call_out, responseBody, 0, "The answer in the same way"),
    FIELD_JSON(struct call_out, pipelinePayloads, 0, &json_of_object, OMIT_EMPTY | NULL_EMPTY, "The four bodies: clientRequest, providerRequest, providerResponse, clientResponse"));
struct calls_query {
    struct str status, model, provider, account, apiKey, search, combo;
    int64_t limit, offset;
};
static const struct shape calls_query_shape = SHAPE(struct calls_query,
    FIELD(struct calls_query, status, 0, "error: 400 and above, ok: 2xx, or a status"),
    FIELD(struct calls_query, model, 0, "Model, as it was asked for or as its provider calls it"),
    FIELD(struct calls_query, provider, 0, "Provider"),
    FIELD(struct calls_query, account, 0, "Connection"),
    FIELD(struct calls_query, apiKey, 0, "Id or name of the client key"),
    FIELD(struct calls_query, search, 0, "Part of a model's, connection's, key's or error's name"),
    FIELD(struct calls_query, combo, 0, "Only requests for a combo: of this name or id, or of any with 1"),
    FIELD_RANGE(struct calls_query, limit, 1, MOST_ROWS, 0, "Most requests in the answer; 200 when absent, 50 beside an offset"),
    FIELD(struct calls_query, offset, NOT_NEGATIVE, "How many to leave out"));
/* clang-format on */
enum {
    CALLS_OFFSET = 8
};

static struct call_out call_of(struct control_call *c, const struct combo_names *combos,
                               const struct usage_row *r, struct usage_detail *d)
{
    struct arena *a = c->arena;
    const struct combo *combo = combo_of(combos, r);
    usage_detail_read(a, r->detail, d);
    bool has_bodies = d->body.n > 0;
    return (struct call_out){
        .id = str_fmt(a, "%lld", (long long)r->seq),
        .timestamp = omni_iso(a, d->ended_ms ? d->ended_ms : r->end_ms),
        .method = STR("POST"),
        .path = path_of(r, d),
        .status = r->status,
        .model = model_of(r),
        .requestedModel = r->model,
        .provider = omni_provider(c->snap, r->upstream),
        .account = r->upstream,
        .duration = r->duration_us / 1000,
        .tokens = {r->input_total > 0 ? r->input_total : 0,
                   r->output_total > 0 ? r->output_total : 0},
        .sourceFormat = r->client_format,
        .targetFormat = r->upstream_format,
        .error = d->error.n ? d->error : r->error,
        .comboName = combo ? combo->name : STR_NONE,
        .apiKeyId = r->key,
        .apiKeyName = request_key_label(c->snap, r->key),
        .hasRequestBody = has_bodies,
        .hasResponseBody = has_bodies,
        .connectionId = omni_connection_id(c->snap, r->upstream),
        .requestId = r->request_id,
    };
}

static bool filter_key(struct control_call *c, struct str key, struct usage_filter *f,
                       struct err *e)
{
    struct db *db = control_db(c, e);
    if (!db)
        return false;
    if (key.n == 0)
        return true;
    struct str *id = ARENA_NEW(c->arena, struct str);
    *id = key;
    for (size_t i = 0; i < c->snap->n_keys; i++)
        if (str_eq(c->snap->keys[i]->label, key))
            return request_keys_labelled(c, db, key, f, e);
    f->keys = id;
    f->n_keys = 1;
    f->has_keys = true;
    return true;
}

static bool filter_status(struct str status, struct usage_filter *f, struct err *e)
{
    int64_t n;
    if (status.n == 0 || str_is(status, "all"))
        return true;
    if (str_is(status, "error")) {
        f->status_min = 400;
        f->status_max = 999;
    } else if (str_is(status, "ok") || str_is(status, "success")) {
        f->status_min = 200;
        f->status_max = 299;
    } else if (str_to_int(status, &n) && n >= 100 && n <= 999) {
        f->status_min = f->status_max = (int)n;
    } else {
        return err_field(e, "status", "'status' must be error, ok or a number");
    }
    return true;
}

struct calls {
    struct control_call *c;
    struct combo_names combos;
    struct call_out *v;
    size_t n;
};

static bool on_call(void *arg, const struct usage_row *r, struct err *e)
{
    struct calls *to = arg;
    struct usage_detail d;
    (void)e;
    to->v[to->n++] = call_of(to->c, &to->combos, r, &d);
    return true;
}

static bool call_logs(struct control_call *c, struct err *e)
{
    const struct calls_query *q = c->asked;
    size_t limit = q->limit ? (size_t)q->limit : c->asked_present >> CALLS_OFFSET & 1 ? 50 : 200;
    struct usage_filter f = {.any_model = q->model, .upstream = q->account, .text = q->search};
    struct calls out = {.c = c, .v = ARENA_ARRAY(c->arena, struct call_out, limit)};
    omni_filter_provider(c, q->provider, &f);
    if (!read_combos(c, &out.combos, e))
        return false;
    filter_combo(c, &out.combos, q->combo, &f);
    if (!filter_status(q->status, &f, e) || !filter_key(c, q->apiKey, &f, e) ||
        !each_record(c, &f, q->offset, limit, on_call, &out, e))
        return false;
    struct jw w = jw_on(&c->out);
    shape_write_list(&call_shape, out.v, out.n, &w);
    return true;
}

static yyjson_val *body_value(struct control_call *c, const struct body *b)
{
    struct buf text;
    yyjson_val *v = NULL;
    if (!b->is_cut && json_parse(c->arena, b->text, 128, &v, NULL))
        return v;
    buf_init_arena(&text, c->arena, 256u << 20);
    struct jw w = jw_on(&text);
    if (b->is_cut) {
        jw_object(&w);
        jw_kv_bool(&w, "_truncated", true);
        jw_kv_int(&w, "_originalSize", (int64_t)b->size);
        jw_kv_str(&w, "_preview", b->text);
        jw_object_end(&w);
    } else { /* a stream's events */
        jw_str(&w, b->text);
    }
    return json_parse(c->arena, buf_str(&text), 8, &v, NULL) ? v : NULL;
}

static bool add_bodies(struct control_call *c, const struct usage_row *r,
                       const struct usage_detail *d, struct call_out *out, struct err *e)
{
    static const char *const names[BODY_N] = {"clientRequest", "providerRequest",
                                              "providerResponse", "clientResponse"};
    struct body v[BODY_N];
    struct buf text;
    if (d->body.n == 0)
        return true;
    if (!body_read(c->arena, c->control->bodies_dir, d->body, r->request_id, v, e)) {
        bool is_gone = e->kind == ERR_NOT_FOUND; /* kept shorter than the record */
        if (is_gone)
            *e = (struct err)ERR_INIT;
        out->hasRequestBody = out->hasResponseBody = false;
        return is_gone;
    }
    out->requestBody = body_value(c, &v[BODY_CLIENT_REQUEST]);
    out->responseBody = body_value(c, &v[BODY_CLIENT_RESPONSE]);
    buf_init_arena(&text, c->arena, 512u << 20);
    struct jw w = jw_on(&text);
    jw_object(&w);
    for (int i = 0; i < BODY_N; i++)
        jw_kv_val(&w, names[i], body_value(c, &v[i]));
    jw_object_end(&w);
    return json_parse(c->arena, buf_str(&text), 0, &out->pipelinePayloads, e);
}

static bool call_log(struct control_call *c, struct err *e)
{
    struct db *db = control_db(c, e);
    struct usage_row row;
    struct usage_detail d;
    struct combo_names combos;
    if (!db || !usage_find(c->arena, db, route_param(&c->params, "id"), &row, e) ||
        !read_combos(c, &combos, e))
        return false;
    struct call_out out = call_of(c, &combos, &row, &d);
    return add_bodies(c, &row, &d, &out, e) && control_reply(c, 200, &call_detail_shape, &out);
}

/* ---- lines of text ---- */

static struct str day_and_time(struct arena *a, int64_t ms)
{
    struct str t = omni_iso(a, ms); /* 2026-01-31T12:00:00.000Z */
    return str_fmt(a, "%.2s-%.2s-%.4s %.8s", t.p + 8, t.p + 5, t.p, t.p + 11);
}

/* No line that a client or a provider wrote breaks the table. */
static struct str cell(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);
    for (size_t i = 0; i < s.n; i++)
        p[i] = s.p[i] == '|' || (unsigned char)s.p[i] < ' ' ? ' ' : s.p[i];
    return str_n(p, s.n);
}

static struct str upper(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);
    for (size_t i = 0; i < s.n; i++)
        p[i] = s.p[i] >= 'a' && s.p[i] <= 'z' ? (char)(s.p[i] - 32) : s.p[i];
    return str_n(p, s.n);
}

struct lines {
    struct control_call *c;
    struct jw *w;
};

static void write_line(struct lines *l, int64_t ms, struct str model, struct str upstream,
                       int64_t in, int64_t out, struct str status)
{
    struct arena *a = l->c->arena;
    jw_str(l->w,
           str_fmt(a, STR_FMT " | " STR_FMT " | " STR_FMT " | " STR_FMT " | %lld | %lld | " STR_FMT,
                   STR_ARG(day_and_time(a, ms)), STR_ARG(cell(a, model)),
                   STR_ARG(upper(a, omni_provider(l->c->snap, upstream))),
                   STR_ARG(cell(a, upstream)), (long long)(in > 0 ? in : 0),
                   (long long)(out > 0 ? out : 0), STR_ARG(status)));
}

static bool on_line(void *arg, const struct usage_row *r, struct err *e)
{
    struct lines *l = arg;
    struct arena *a = l->c->arena;
    (void)e;
    write_line(l, r->end_ms, model_of(r), r->upstream, r->input_total, r->output_total,
               r->status < 400 ? str_fmt(a, "%d OK", r->status)
                               : str_fmt(a, "FAILED %d", r->status));
    return true;
}

static bool text_logs(struct control_call *c, struct err *e)
{
    struct usage_filter all = {0};
    struct omni_live *live;
    size_t n;
    struct jw w = jw_on(&c->out);
    struct lines l = {c, &w};
    if (!omni_live_requests(c, &live, &n, e))
        return false;
    jw_array(&w);
    size_t left = TEXT_LINES;
    for (size_t i = 0; i < n; i++)
        for (int64_t k = 0; k < live[i].count && left > 0; k++, left--)
            write_line(&l, clock_wall_ms(), live[i].model, live[i].upstream, 0, 0, STR("PENDING"));
    bool ok = each_record(c, &all, 0, left, on_line, &l, e);
    jw_array_end(&w);
    return ok;
}

/* ---- which proxies they took ---- */

struct proxy_part {
    struct str type, host;
    int64_t port;
};
struct proxy_log_out {
    struct str id, timestamp, status;
    yyjson_val *proxy;
    struct str level, levelId, provider, targetUrl, publicIp;
    int64_t latencyMs;
    struct str error, connectionId, comboId, account;
    bool tlsFingerprint;
};
struct proxy_query {
    struct str status, type, provider, level, search;
    int64_t limit;
};
/* clang-format off */
static const struct shape proxy_log_shape = SHAPE(struct proxy_log_out,
    FIELD(struct proxy_log_out, id, 0, "Place in the log"),
    FIELD(struct proxy_log_out, timestamp, 0, "When the request ended"),
    FIELD(struct proxy_log_out, status, 0, "success, error or timeout"),
    FIELD_JSON(struct proxy_log_out, proxy, 0, &json_of_object, NULL_EMPTY, "{type,host,port}; null: none was used"),
    FIELD(struct proxy_log_out, level, 0, "Where the proxy stands: direct (none), provider or global"),
    FIELD(struct proxy_log_out, levelId, NULL_EMPTY, "The provider it belongs to"),
    FIELD(struct proxy_log_out, provider, 0, "Provider that was called"),
    FIELD(struct proxy_log_out, targetUrl, 0, "provider/model"),
    FIELD(struct proxy_log_out, publicIp, NULL_EMPTY, "Address we are seen under, where that is known"),
    FIELD(struct proxy_log_out, latencyMs, 0, "Milliseconds in all"),
    FIELD(struct proxy_log_out, error, NULL_EMPTY, "What went wrong"),
    FIELD(struct proxy_log_out, connectionId, NULL_EMPTY, "Connection"),
    FIELD(struct proxy_log_out, comboId, NULL_EMPTY, "Combo that was asked for"),
    FIELD(struct proxy_log_out, account, NULL_EMPTY, "Connection"),
    FIELD(struct proxy_log_out, tlsFingerprint, 0, "Whether another program's TLS was imitated: never"));
static const struct shape proxy_query_shape = SHAPE(struct proxy_query,
    FIELD(struct proxy_query, status, 0, "ok, success, error or timeout"),
    FIELD(struct proxy_query, type, 0, "http, https or socks5"),
    FIELD(struct proxy_query, provider, 0, "Provider"),
    FIELD(struct proxy_query, level, 0, "direct, provider or global"),
    FIELD(struct proxy_query, search, 0, "Part of a name"),
    FIELD_RANGE(struct proxy_query, limit, 1, MOST_ROWS, 0, "Most requests in the answer; 300 when absent"));
/* clang-format on */

struct proxy_logs {
    struct control_call *c;
    const struct proxy_query *q;
    struct combo_names combos;
    struct proxy_log_out *v;
    size_t n, max;
};

static bool is_timeout(const struct usage_row *r)
{
    return r->status == 504 || str_contains(r->error, STR("timeout"));
}

static struct str status_word(const struct usage_row *r)
{
    return r->status < 400 ? STR("success") : is_timeout(r) ? STR("timeout") : STR("error");
}

/* The member of a request's detail: "provider http://host:8080", as it was when the request was sent. */
static void split_via(struct str via, struct str *level, struct proxy_part *p)
{
    struct str url = str_cut(via, ' ', level), scheme;
    const char *mark = memmem(url.p ? url.p : "", url.n, "://", 3);
    *p = (struct proxy_part){.type = STR("http"), .host = url};
    if (mark) {
        scheme = str_n(url.p, (size_t)(mark - url.p));
        p->type = str_starts(scheme, STR("socks5")) ? STR("socks5") : scheme;
        p->host = str_skip(url, scheme.n + 3);
    }
    size_t end = p->host.n;
    while (end > 0 && p->host.p[end - 1] >= '0' && p->host.p[end - 1] <= '9')
        end--;
    if (end > 0 && p->host.p[end - 1] == ':' && str_to_int(str_skip(p->host, end), &p->port))
        p->host = str_first(p->host, end - 1);
}

static yyjson_val *proxy_value(struct control_call *c, const struct proxy_part *p)
{
    struct buf b;
    yyjson_val *v = NULL;
    buf_init_arena(&b, c->arena, 4096);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_kv_str(&w, "type", p->type);
    jw_kv_str(&w, "host", p->host);
    jw_kv_int(&w, "port", p->port);
    jw_object_end(&w);
    return json_parse(c->arena, buf_str(&b), 4, &v, NULL) ? v : NULL;
}

static bool on_proxied(void *arg, const struct usage_row *r, struct err *e)
{
    struct proxy_logs *to = arg;
    struct arena *a = to->c->arena;
    const struct proxy_query *q = to->q;
    struct usage_detail d;
    struct proxy_part p = {.port = 0};
    struct str level = STR("direct"), provider = omni_provider(to->c->snap, r->upstream);
    const struct combo *combo = combo_of(&to->combos, r);
    (void)e;
    if (r->upstream.n == 0) /* nobody was asked: an unknown model, an answer of the cache */
        return true;
    usage_detail_read(a, r->detail, &d);
    if (d.via.n)
        split_via(d.via, &level, &p);
    if ((q->level.n && !str_eq(q->level, level)) || (q->type.n && !str_eq(q->type, p.type)) ||
        (str_is(q->status, "timeout") && !is_timeout(r)) ||
        (str_is(q->status, "error") && is_timeout(r)))
        return true;
    to->v[to->n++] = (struct proxy_log_out){
        .id = str_fmt(a, "%lld", (long long)r->seq),
        .timestamp = omni_iso(a, d.ended_ms ? d.ended_ms : r->end_ms),
        .status = status_word(r),
        .proxy = d.via.n ? proxy_value(to->c, &p) : NULL,
        .level = level,
        .levelId = str_is(level, "provider") ? r->upstream : STR_NONE,
        .provider = provider,
        .targetUrl = str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(provider), STR_ARG(model_of(r))),
        .latencyMs = r->duration_us / 1000,
        .error = d.error.n ? d.error : r->error,
        .connectionId = omni_connection_id(to->c->snap, r->upstream),
        .comboId = combo ? combo->id : STR_NONE,
        .account = r->upstream,
    };
    return to->n < to->max;
}

static bool proxy_cleared(struct control_call *c, int64_t *seq, struct err *e)
{
    struct db *db = control_db(c, e);
    struct stmt *s = db ? db_prepare(db, "SELECT proxy_cleared FROM usage_state", e) : NULL;
    bool ok = s && stmt_step(s, e);
    *seq = ok ? stmt_int(s, 0) : 0;
    stmt_free(s);
    return ok;
}

static bool proxy_logs(struct control_call *c, struct err *e)
{
    const struct proxy_query *q = c->asked;
    size_t limit = q->limit ? (size_t)q->limit : 300;
    int64_t cleared;
    struct usage_filter f = {.text = q->search};
    struct proxy_logs out = {
        .c = c, .q = q, .v = ARENA_ARRAY(c->arena, struct proxy_log_out, limit), .max = limit};
    omni_filter_provider(c, q->provider, &f);
    if (str_is(q->status, "ok") || str_is(q->status, "success")) {
        f.status_max = 399;
    } else if (str_is(q->status, "error") || str_is(q->status, "timeout")) {
        f.status_min = 400;
        f.status_max = 999;
    } else if (q->status.n) {
        return err_field(e, "status", "'status' must be ok, error or timeout");
    }
    if (!proxy_cleared(c, &cleared, e) || !read_combos(c, &out.combos, e))
        return false;
    f.from_ms = cleared / 1000 + (cleared > 0);
    if (!each_record(c, &f, 0, LOOKED_THROUGH, on_proxied, &out, e))
        return false;
    struct jw w = jw_on(&c->out);
    shape_write_list(&proxy_log_shape, out.v, out.n, &w);
    return true;
}

/* ---- how the proxies of the list are, by what went through them ---- */

struct health {
    struct str proxy_id, name, type, host;
    int64_t port, total, ok, failed, timeouts;
    double rate;
    int64_t average_ms;
    struct str last;
    int64_t sum_us; /* in no answer */
};
struct health_query {
    int64_t hours;
};
struct health_out {
    struct shape_list items;
    int64_t total, hours;
};
/* clang-format off */
static const struct shape health_shape = SHAPE(struct health,
    FIELD_AS(struct health, proxy_id, "proxyId", NULL, 0, "Stable id"),
    FIELD(struct health, name, 0, "Its name"),
    FIELD(struct health, type, 0, "http, https or socks5"),
    FIELD(struct health, host, 0, "Its name or address in the network"),
    FIELD(struct health, port, 0, "Its port"),
    FIELD_AS(struct health, total, "totalRequests", NULL, 0, "Requests that went through this host and port"),
    FIELD_AS(struct health, ok, "successCount", NULL, 0, "Of these answered with a status below 400"),
    FIELD_AS(struct health, failed, "errorCount", NULL, 0, "Of these failed, but for time"),
    FIELD_AS(struct health, timeouts, "timeoutCount", NULL, 0, "Of these ran out of time"),
    FIELD_AS(struct health, rate, "successRate", NULL, 0, "Percent; 0 without requests"),
    FIELD_AS(struct health, average_ms, "avgLatencyMs", NULL, 0, "Milliseconds in all, on average"),
    FIELD_AS(struct health, last, "lastSeenAt", NULL, NULL_EMPTY, "When the newest of them ended; null: there was none"));
static const struct shape health_query_shape = SHAPE(struct health_query,
    FIELD_RANGE(struct health_query, hours, 1, 8760, 0, "How far back; 24 when absent"));
static const struct shape health_out_shape = SHAPE(struct health_out,
    FIELD_LIST(struct health_out, items, &health_shape, 0, "All proxies of the list"),
    FIELD(struct health_out, total, 0, "How many"),
    FIELD_AS(struct health_out, hours, "windowHours", NULL, 0, "How far back"));
/* clang-format on */
struct health_sum {
    struct arena *a;
    struct health *v;
    size_t n;
};

static bool on_used(void *arg, const struct usage_row *r, struct err *e)
{
    struct health_sum *to = arg;
    struct usage_detail d;
    struct proxy_part p;
    struct str level;
    (void)e;
    usage_detail_read(to->a, r->detail, &d);
    if (!d.via.n)
        return true;
    split_via(d.via, &level, &p);
    for (size_t i = 0; i < to->n; i++) {
        struct health *h = &to->v[i];
        if (!str_eq(h->host, p.host) || h->port != p.port || !str_eq(h->type, p.type))
            continue;
        h->total++;
        h->ok += r->status < 400;
        h->timeouts += r->status >= 400 && is_timeout(r);
        h->failed += r->status >= 400 && !is_timeout(r);
        h->sum_us += r->duration_us > 0 ? r->duration_us : 0;
        if (!h->last.n)
            h->last = omni_iso(to->a, d.ended_ms ? d.ended_ms : r->end_ms);
    }
    return true;
}

static bool proxies_health(struct control_call *c, struct err *e)
{
    const struct health_query *q = c->asked;
    const struct snapshot *s = c->snap;
    struct health_out out = {.total = (int64_t)s->n_proxies, .hours = q->hours ? q->hours : 24};
    struct health_sum sum = {c->arena, ARENA_ARRAY(c->arena, struct health, s->n_proxies + 1),
                             s->n_proxies};
    struct usage_filter f = {.from_ms = clock_wall_ms() - out.hours * 3600000};
    for (size_t i = 0; i < s->n_proxies; i++) {
        struct proxy_part p;
        struct str level;
        const char *at = memrchr(s->proxies[i]->url.p, '@', s->proxies[i]->url.n),
                   *mark = memmem(s->proxies[i]->url.p, s->proxies[i]->url.n, "://", 3);
        struct str url = s->proxies[i]->url;
        if (at && mark)
            url = str_cat(c->arena, str_n(url.p, (size_t)(mark - url.p) + 3),
                          str_skip(url, (size_t)(at - url.p) + 1));
        split_via(str_cat(c->arena, STR("list "), url), &level, &p);
        sum.v[i] = (struct health){.proxy_id = s->proxies[i]->id,
                                   .name = s->proxies[i]->name,
                                   .type = p.type,
                                   .host = p.host,
                                   .port = p.port};
    }
    if (s->n_proxies && !each_record(c, &f, 0, LOOKED_THROUGH, on_used, &sum, e))
        return false;
    for (size_t i = 0; i < sum.n; i++) {
        struct health *h = &sum.v[i];
        h->rate = h->total ? 100.0 * (double)h->ok / (double)h->total : 0;
        h->average_ms = h->total ? h->sum_us / 1000 / h->total : 0;
    }
    out.items = (struct shape_list){sum.v, sum.n};
    return control_reply(c, 200, &health_out_shape, &out);
}

struct cleared_out {
    bool cleared;
};
static const struct shape cleared_shape = SHAPE(struct cleared_out,
                                                FIELD(struct cleared_out, cleared, 0, "true"));

/* Only this view is emptied: the request log has a clearing of its own. */
static bool clear_proxy_logs(struct control_call *c, struct err *e)
{
    struct db *db = control_db(c, e);
    struct cleared_out out = {true};
    if (!db || !usage_log_sync(c->control->usage, 5000))
        return db && err_set(e, ERR_OVERLOADED, "store_busy",
                             "The store takes no writes at the moment: try again");
    return db_exec(db,
                   "UPDATE usage_state SET proxy_cleared = "
                   "(SELECT coalesce(max(id), 0) FROM usage_fact)",
                   e) &&
           control_reply(c, 200, &cleared_shape, &out);
}

/* ---- to take away ---- */

struct export_query {
    int64_t hours;
    struct str type;
};
struct export_out {
    struct str type, exportedAt;
    int64_t hours, count;
    bool truncated;
    yyjson_val *logs;
};
static const struct shape export_query_shape = SHAPE(
    struct export_query,
    FIELD_RANGE(struct export_query, hours, 1, 168, 0, "How far back; 24 when absent"),
    FIELD(struct export_query, type, 0,
          "call-logs (when absent), proxy-logs or request-logs (lines of text)"));
static const struct shape export_shape = SHAPE(
    struct export_out, FIELD(struct export_out, type, 0, "What it holds"),
    FIELD(struct export_out, exportedAt, 0, "When it was made"),
    FIELD(struct export_out, hours, 0, "How far back"),
    FIELD(struct export_out, count, 0, "How many requests"),
    FIELD(struct export_out, truncated, 0, "Whether older ones were left out: there were too many"),
    FIELD(struct export_out, logs, 0, "Newest first, as the view of that name shows them"));

struct exporting {
    struct control_call *c;
    struct lines l;
    struct proxy_logs proxies;
    int64_t n, seen;
    int type; /* of export_types */
};
static const char *const export_types[] = {"call-logs", "proxy-logs", "request-logs"};

static bool on_exported(void *arg, const struct usage_row *r, struct err *e)
{
    struct exporting *x = arg;
    struct usage_detail d;
    x->seen++;
    if (x->type == 1) {
        x->proxies.n = 0;
        (void)on_proxied(&x->proxies, r, e);
        x->n += (int64_t)x->proxies.n;
        if (x->proxies.n)
            shape_write(&proxy_log_shape, x->proxies.v, x->l.w);
        return true;
    }
    x->n++;
    if (x->type == 2)
        return on_line(&x->l, r, e);
    struct call_out out = call_of(x->c, &x->proxies.combos, r, &d);
    shape_write(&call_shape, &out, x->l.w);
    return true;
}

static bool export_logs(struct control_call *c, struct err *e)
{
    const struct export_query *q = c->asked;
    static const struct proxy_query any = {.limit = 0};
    int64_t hours = q->hours ? q->hours : 24, now = clock_wall_ms();
    struct usage_filter f = {.from_ms = now - hours * 3600000};
    struct jw w = jw_on(&c->out);
    struct exporting x = {
        .c = c,
        .l = {c, &w},
        .proxies = {.c = c, .q = &any, .v = ARENA_NEW(c->arena, struct proxy_log_out), .max = 1}};
    for (x.type = 2; x.type > 0; x.type--)
        if (str_eq(q->type, str_of(export_types[x.type])))
            break;
    if (q->type.n && !str_eq(q->type, str_of(export_types[x.type])))
        return err_field(e, "type", "'type' must be call-logs, proxy-logs or request-logs");
    if (!read_combos(c, &x.proxies.combos, e))
        return false;
    jw_object(&w);
    jw_kv_cstr(&w, "type", export_types[x.type]);
    jw_kv_str(&w, "exportedAt", omni_iso(c->arena, now));
    jw_kv_int(&w, "hours", hours);
    jw_key(&w, "logs");
    jw_array(&w);
    bool ok = each_record(c, &f, 0, EXPORT_ROWS, on_exported, &x, e);
    jw_array_end(&w);
    jw_kv_int(&w, "count", x.n);
    jw_kv_bool(&w, "truncated", x.seen == EXPORT_ROWS);
    jw_object_end(&w);
    control_header(c, STR("content-disposition"),
                   str_fmt(c->arena, "attachment; filename=\"%s-%lldh.json\"", export_types[x.type],
                           (long long)hours));
    return ok;
}

/* ---- requests with their four bodies ---- */

struct detail_query {
    int64_t limit, offset;
};
struct detail_list {
    bool enabled;
    struct shape_list logs;
    int64_t total;
};
struct detail_in {
    bool enabled;
};
struct detail_set {
    bool success, enabled;
};
static const struct shape detail_query_shape = SHAPE(
    struct detail_query,
    FIELD_RANGE(struct detail_query, limit, 1, 200, 0,
                "Most requests in the answer; 50 when absent"),
    FIELD(struct detail_query, offset, NOT_NEGATIVE, "How many to leave out"));
static const struct shape detail_list_shape = SHAPE(
    struct detail_list, FIELD(struct detail_list, enabled, 0, "Whether bodies are being kept"),
    FIELD_LIST(struct detail_list, logs, &call_detail_shape, 0, "Requests with their four bodies"),
    FIELD(struct detail_list, total, 0, "How many were found up to here"));
static const struct shape detail_in_shape = SHAPE_STRICT(
    struct detail_in, FIELD(struct detail_in, enabled, REQUIRED, "Whether to keep bodies"));
static const struct shape detail_set_shape = SHAPE(
    struct detail_set, FIELD(struct detail_set, success, 0, "true"),
    FIELD(struct detail_set, enabled, 0, "Whether bodies are being kept"));

struct details {
    struct control_call *c;
    struct combo_names combos;
    struct call_out *v;
    size_t n, max;
    int64_t skip;
};

static bool on_detail(void *arg, const struct usage_row *r, struct err *e)
{
    struct details *to = arg;
    struct usage_detail d;
    struct call_out out = call_of(to->c, &to->combos, r, &d);
    if (d.body.n == 0)
        return true;
    if (to->skip > 0) {
        to->skip--;
        return true;
    }
    if (!add_bodies(to->c, r, &d, &out, e))
        return false;
    if (out.pipelinePayloads)
        to->v[to->n++] = out;
    return to->n < to->max;
}

static bool detail_logs(struct control_call *c, struct err *e)
{
    const struct detail_query *q = c->asked;
    size_t limit = q->limit ? (size_t)q->limit : 50;
    struct usage_filter all = {0};
    struct details found = {.c = c,
                            .v = ARENA_ARRAY(c->arena, struct call_out, limit),
                            .max = limit,
                            .skip = q->offset};
    if (!read_combos(c, &found.combos, e) ||
        !each_record(c, &all, 0, LOOKED_THROUGH, on_detail, &found, e))
        return false;
    struct detail_list out = {.enabled = !str_is(c->snap->settings.log_bodies, "off"),
                              .logs = {found.v, found.n},
                              .total = (int64_t)found.n + q->offset - found.skip};
    return control_reply(c, 200, &detail_list_shape, &out);
}

static bool set_detail_logs(struct control_call *c, struct err *e)
{
    const struct detail_in *in = c->in;
    struct detail_set out = {true, in->enabled};
    return change_setting(c, setting_find(STR("log_bodies")), in->enabled ? STR("all") : STR("off"),
                          e) &&
           control_reply(c, 200, &detail_set_shape, &out);
}

/* ---- the process log ---- */

struct console_query {
    struct str level, search;
    int64_t limit;
};
struct console_out {
    struct str timestamp, level, message;
};
static const struct shape console_query_shape = SHAPE(
    struct console_query,
    FIELD(struct console_query, level, 0, "Of this level and above: debug, info, warn or error"),
    FIELD(struct console_query, search, 0, "Only those that hold this text, in any case"),
    FIELD_RANGE(struct console_query, limit, 1, 500, 0, "Most lines; 100 when absent"));
static const struct shape console_shape = SHAPE(
    struct console_out, FIELD(struct console_out, timestamp, 0, "When"),
    FIELD(struct console_out, level, 0, "debug, info, warn or error"),
    FIELD(struct console_out, message, 0, "The line as it was written: event and fields"));

static bool console(struct control_call *c, struct err *e)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    const struct console_query *q = c->asked;
    enum log_level least = LOG_DEBUG;
    struct log_recent *v;
    size_t most = q->limit ? (size_t)q->limit : 100, used = 0;
    struct str wanted = str_lower(c->arena, q->search);
    if (q->level.n && !log_level_parse(q->level, &least))
        return err_field(e, "level", "'level' must be debug, info, warn or error");
    size_t n = log_recent(c->arena, least, wanted.n ? 512 : most, &v);
    struct console_out *out = ARENA_ARRAY(c->arena, struct console_out, n + 1);
    for (size_t i = 0; i < n && used < most; i++)
        if (!wanted.n || str_contains(str_lower(c->arena, v[i].text), wanted))
            out[used++] = (struct console_out){omni_iso(c->arena, v[i].at_ms),
                                               str_of(names[v[i].level]), v[i].text};
    struct jw w = jw_on(&c->out);
    shape_write_list(&console_shape, out, used, &w);
    return true;
}

/* clang-format off */
const struct endpoint omni_log_endpoints[] = {
    { HTTP_GET,    "/api/usage/call-logs",      SURFACE_OMNIROUTE, ACCESS_VIEWER, "The request log, newest first", .on_worker = call_logs, .query = &calls_query_shape, .out = &call_shape, .is_array = true },
    { HTTP_GET,    "/api/usage/call-logs/{id}", SURFACE_OMNIROUTE, ACCESS_ADMIN, "One request, with its bodies where they were kept", .on_worker = call_log, .out = &call_detail_shape, .leaves_trail = true },
    { HTTP_GET,    "/api/usage/logs",           SURFACE_OMNIROUTE, ACCESS_VIEWER, "The newest requests as lines of text", .on_worker = text_logs, .is_array = true },
    { HTTP_GET,    "/api/usage/request-logs",   SURFACE_OMNIROUTE, ACCESS_VIEWER, "The same", .on_worker = text_logs, .is_array = true },
    { HTTP_GET,    "/api/usage/proxy-logs",     SURFACE_OMNIROUTE, ACCESS_VIEWER, "The newest requests and the proxies they took", .on_worker = proxy_logs, .query = &proxy_query_shape, .out = &proxy_log_shape, .is_array = true },
    { HTTP_GET,    "/api/settings/proxies/health", SURFACE_OMNIROUTE_TYPED, ACCESS_VIEWER, "How the proxies of the list are, by the newest requests that went through them", .on_worker = proxies_health, .query = &health_query_shape, .out = &health_out_shape },
    { HTTP_DELETE, "/api/usage/proxy-logs",     SURFACE_OMNIROUTE, ACCESS_ADMIN, "Empty that view; the request log stays", .on_worker = clear_proxy_logs, .out = &cleared_shape },
    { HTTP_GET,    "/api/logs/console",         SURFACE_OMNIROUTE, ACCESS_ADMIN, "The newest lines of the process log, newest first", .on_worker = console, .query = &console_query_shape, .out = &console_shape, .is_array = true },
    { HTTP_GET,    "/api/logs/export",          SURFACE_OMNIROUTE, ACCESS_VIEWER, "The requests of the last hours as a file", .on_worker = export_logs, .query = &export_query_shape, .out = &export_shape },
    { HTTP_GET,    "/api/logs/detail",          SURFACE_OMNIROUTE, ACCESS_ADMIN, "The newest requests with their four bodies", .on_worker = detail_logs, .query = &detail_query_shape, .out = &detail_list_shape, .leaves_trail = true },
    { HTTP_POST,   "/api/logs/detail",          SURFACE_OMNIROUTE, ACCESS_ADMIN, "Keep bodies, or none", .on_worker = set_detail_logs, .in = &detail_in_shape, .out = &detail_set_shape },
    {0},
};
/* clang-format on */
