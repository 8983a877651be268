/* requests.c - the request log, read: lists with filters, one request, and the views of it that other surfaces have. */
#include "api/requests.h"
#include "api/test_tasks.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/map.h"
#include "http/fetch.h"
#include "meter/body_store.h"
#include "meter/usage_log.h"
#include "wire/places.h"

#define MAX_PAGE 1000
#define SYNC_MS 5000
#define REPLAY_MS 120000
#define MAX_REPLAYS 2

/* ---- /sluice/v1/requests ---- */

#define TOKENS(member, doc) FIELD(struct request_out, member, NULL_NEGATIVE, doc)
#define REQUEST_FIELDS                                                                             \
    FIELD(struct request_out, id, 0, "Request id, as in x-request-id"),                            \
        FIELD(struct request_out, seq, 0, "Place in the log: unique and ascending"),               \
        FIELD(struct request_out, ended, 0, "When it ended (RFC 3339)"),                           \
        FIELD(struct request_out, model, NULL_EMPTY, "Model that was asked for"),                  \
        FIELD(struct request_out, provider, NULL_EMPTY, "Provider that was tried last"),           \
        FIELD(struct request_out, provider_model, NULL_EMPTY, "What the model is called there"),   \
        FIELD(struct request_out, key, NULL_EMPTY, "Id of the client key; null: none"),            \
        FIELD(struct request_out, key_label, NULL_EMPTY,                                           \
              "Its label, as long as there is the key"),                                           \
        FIELD(struct request_out, operation, 0, "What was asked for"),                             \
        FIELD(struct request_out, client_format, NULL_EMPTY, "Format of the client"),              \
        FIELD(struct request_out, upstream_format, NULL_EMPTY, "Format that the provider got"),    \
        FIELD(struct request_out, stream, 0, "Whether a stream was asked for"),                    \
        FIELD(struct request_out, status, 0,                                                       \
              "HTTP status; 499: the client left before the reply"),                               \
        FIELD(struct request_out, error, NULL_EMPTY, "Code of the failure"),                       \
        FIELD(struct request_out, cache, NULL_EMPTY,                                               \
              "How it was answered without an upstream: hit, joined, semantic, idempotent"),       \
        FIELD(struct request_out, error_message, NULL_EMPTY, "The provider's words, or sluice's"), \
        FIELD(struct request_out, attempts, 0, "How many providers were asked"),                   \
        TOKENS(input_tokens, "Input tokens, cached ones included"),                                \
        TOKENS(cache_read_tokens, "Of these read from a cache"),                                   \
        TOKENS(cache_write_tokens, "Of these written to a cache"),                                 \
        TOKENS(output_tokens, "Output tokens, reasoning included"),                                \
        TOKENS(reasoning_tokens, "Of these spent on reasoning"),                                   \
        TOKENS(audio_in_tokens, "Audio tokens in"), TOKENS(audio_out_tokens, "Audio tokens out"),  \
        TOKENS(cost_nanousd, "What it cost, in nano-USD; null: nothing, or its price is unknown"), \
        FIELD(struct request_out, hedge_cost_nanousd, OMIT_EMPTY,                                  \
              "Of these for the provider that was asked beside the one that answered"),            \
        TOKENS(ttft_us, "Time to the first token, in microseconds"),                               \
        FIELD(struct request_out, duration_us, 0, "Time in all"),                                  \
        FIELD(struct request_out, bytes_in, 0, "Size of the request body"),                        \
        FIELD(struct request_out, bytes_out, 0, "Size of the reply body"),                         \
        FIELD(struct request_out, usage_quality, 0,                                                \
              "Where the token figures come from: none, estimated, derived, reported")

const struct shape request_shape = SHAPE(struct request_out, REQUEST_FIELDS);
static const struct shape request_detail_shape = SHAPE(
    struct request_out, REQUEST_FIELDS,
    {FIELD_BASE(struct request_out, tried, "tried", SHAPE_LIST, 0,
                "The attempts in order, of requests with more than one or a failed one"),
     .shape = &usage_attempt_shape},
    FIELD(struct request_out, dropped, 0, "What the provider's format could not be told"),
    FIELD(struct request_out, route, 0,
          "What there was to choose from and why, as /sluice/v1/route/explain says it; null: one "
          "target"),
    FIELD(struct request_out, policy, NULL_EMPTY,
          "The policy that led it to another model than was asked for"),
    FIELD(struct request_out, task, NULL_EMPTY, "What that policy took it to be for"),
    FIELD(struct request_out, trace_id, NULL_EMPTY, "W3C trace id"),
    FIELD(struct request_out, client_address, NULL_EMPTY, "Where it came from, if that is logged"),
    FIELD(struct request_out, user_agent, NULL_EMPTY,
          "What the client calls itself, if that is logged"),
    FIELD(struct request_out, has_bodies, 0, "Whether its bodies were kept"));

struct page_out {
    struct shape_list data;
    bool has_more;
    int64_t next;
    int64_t total;
};
static const struct shape page_shape = SHAPE(
    struct page_out, FIELD_LIST(struct page_out, data, &request_shape, 0, "Requests, in order"),
    FIELD(struct page_out, has_more, 0, "Whether more follow"),
    FIELD(struct page_out, next, NULL_EMPTY,
          "The next page's before, or its after where sort=at; null: this is the last"),
    FIELD(struct page_out, total, NULL_NEGATIVE, "How many fit, where total=true asked for it"));

/* clang-format off */
#define FILTERS \
    FIELD(struct list_query, from, 0, "Ended not before (RFC 3339, or milliseconds since 1970)"), \
    FIELD(struct list_query, to, 0, "Ended not after"), \
    FIELD(struct list_query, model, 0, "Model, as it was asked for"), \
    FIELD(struct list_query, provider, 0, "Provider"), \
    FIELD(struct list_query, key, 0, "Id of the client key; none: those without a key"), \
    FIELD(struct list_query, key_label, 0, "Label of the client key"), \
    FIELD(struct list_query, status, 0, "ok (below 400), error, a class such as 4xx, or a status"), \
    FIELD(struct list_query, error, 0, "Code of the failure"), \
    FIELD(struct list_query, operation, 0, "What was asked for"), \
    FIELD(struct list_query, format, 0, "Format of the client"), \
    FIELD(struct list_query, upstream_format, 0, "Format of the provider"), \
    FIELD(struct list_query, id, 0, "Request id"), \
    FIELD(struct list_query, q, 0, "Part of a model's, provider's, key's or error's name; case does not matter"), \
    FIELD(struct list_query, stream, 0, "Streams only, or none")
const struct shape tail_query_shape = SHAPE(struct list_query, FILTERS);
const struct shape list_query_shape = SHAPE(struct list_query, FILTERS, /* at the same places */
    FIELD_RANGE(struct list_query, limit, 1, MAX_PAGE, 0, "Most requests in one answer; 50 when absent"),
    FIELD(struct list_query, before, NOT_NEGATIVE, "Only those with a lower seq: the page before's next"),
    FIELD(struct list_query, after, NOT_NEGATIVE, "Only those with a higher seq: the page before's next, where sort=at"),
    FIELD(struct list_query, sort, 0, JOURNAL_SORT_DOC),
    FIELD(struct list_query, total, 0, "Count all that fit, too"));
/* clang-format on */

static bool read_status(struct str text, struct usage_filter *f, struct err *e)
{
    int64_t n;
    if (text.n == 0) {
        return true;
    } else if (str_is(text, "ok")) {
        f->status_max = 399;
    } else if (str_is(text, "error")) {
        f->status_min = 400;
    } else if (text.n == 3 && text.p[0] >= '1' && text.p[0] <= '5' && str_ends(text, STR("xx"))) {
        f->status_min = (text.p[0] - '0') * 100;
        f->status_max = f->status_min + 99;
    } else if (str_to_int(text, &n) && n >= 100 && n <= 999) {
        f->status_min = f->status_max = (int)n;
    } else {
        return err_field(e, "status",
                         "'status' must be ok, error, a class such as 4xx, or a number");
    }
    return true;
}

struct str request_key_label(const struct snapshot *s, struct str id)
{
    const struct key *k = snapshot_key_by_id(s, id);
    if (k)
        return k->label;
    return s->internal && str_eq(s->internal->id, id) ? s->internal->label : STR_NONE;
}

void request_keys_named(struct arena *a, const struct snapshot *s, struct usage_filter *f)
{
    struct str *keys = f->text.n ? ARENA_ARRAY(a, struct str, s->n_keys + 1) : NULL;
    f->text_keys = keys;
    for (size_t i = 0; keys && i < s->n_keys; i++)
        if (str_holds_nocase(s->keys[i]->label, f->text))
            keys[f->n_text_keys++] = s->keys[i]->id;
}

/* The keys of that label that are in the log. */
bool request_keys_labelled(struct control_call *c, struct db *db, struct str label,
                           struct usage_filter *f, struct err *e)
{
    struct str *keys;
    size_t n, kept = 0;
    if (!usage_read_keys(c->arena, db, &keys, &n, e))
        return false;
    for (size_t i = 0; i < n; i++)
        if (keys[i].n && str_eq(request_key_label(c->snap, keys[i]), label))
            keys[kept++] = keys[i];
    f->keys = keys;
    f->n_keys = kept;
    f->has_keys = true;
    return true;
}

bool request_filter(const struct list_query *q, uint64_t present, struct usage_filter *f,
                    struct err *e)
{
    static const struct str nobody = {"", 0};
    *f = (struct usage_filter){.model = q->model,
                               .upstream = q->provider,
                               .op = q->operation,
                               .client_format = q->format,
                               .upstream_format = q->upstream_format,
                               .error = q->error,
                               .text = q->q,
                               .request_id = q->id};
    for (size_t i = 0; i < tail_query_shape.n_fields; i++)
        if (present >> i & 1 && strcmp(tail_query_shape.fields[i].name, "stream") == 0)
            f->is_stream = &q->stream;
    if (q->key.n) {
        f->keys = str_is(q->key, "none") ? &nobody : &q->key;
        f->n_keys = 1;
        f->has_keys = true;
    }
    return journal_time(q->from, "from", &f->from_ms, e) &&
           journal_time(q->to, "to", &f->to_ms, e) && read_status(q->status, f, e) &&
           journal_order(q->sort, &f->oldest_first, e);
}

static const char *const qualities[] = {"none", "estimated", "derived", "reported"};

/* All that was paid for it: beside its own line that of an attempt which was cancelled. */
static int64_t cost_of(const struct usage_row *r, const struct usage_detail *d)
{
    if (d->hedge_nanousd <= 0)
        return r->cost_nanousd;
    return d->hedge_nanousd + (r->cost_nanousd > 0 ? r->cost_nanousd : 0);
}

struct request_out request_show(struct arena *a, const struct snapshot *snap,
                                const struct usage_row *r, struct usage_detail *d)
{
    struct buf when;
    usage_detail_read(a, r->detail, d);
    buf_init_arena(&when, a, 64);
    clock_rfc3339(&when, d->ended_ms ? d->ended_ms : r->end_ms);
    bool is_known = r->quality >= 0 && r->quality < (int)ARRAY_LEN(qualities);
    return (struct request_out){.id = r->request_id,
                                .seq = r->seq,
                                .ended = buf_str(&when),
                                .model = r->model,
                                .provider = r->upstream,
                                .provider_model = r->upstream_model,
                                .key = r->key,
                                .key_label = request_key_label(snap, r->key),
                                .operation = r->op,
                                .client_format = r->client_format,
                                .upstream_format = r->upstream_format,
                                .stream = r->is_stream,
                                .status = r->status,
                                .error = r->error,
                                .error_message = d->error,
                                .attempts = r->attempts,
                                .input_tokens = r->input_total,
                                .cache_read_tokens = r->cache_read,
                                .cache_write_tokens = r->cache_write,
                                .output_tokens = r->output_total,
                                .reasoning_tokens = r->reasoning,
                                .audio_in_tokens = r->audio_in,
                                .audio_out_tokens = r->audio_out,
                                .cost_nanousd = cost_of(r, d),
                                .hedge_cost_nanousd = d->hedge_nanousd,
                                .ttft_us = r->ttft_us,
                                .duration_us = r->duration_us,
                                .bytes_in = r->bytes_in,
                                .bytes_out = r->bytes_out,
                                .usage_quality = str_of(is_known ? qualities[r->quality] : "none"),
                                .tried = d->attempts,
                                .dropped = d->dropped,
                                .policy = d->policy,
                                .task = d->task,
                                .trace_id = d->trace,
                                .cache = d->cache,
                                .client_address = d->client,
                                .user_agent = d->agent,
                                .has_bodies = d->body.n > 0};
}

static bool list(struct control_call *c, struct err *e)
{
    const struct list_query *q = c->asked;
    struct db *db = control_db(c, e);
    struct usage_filter f;
    size_t limit = q->limit ? (size_t)q->limit : 50, n;
    struct page_out out = {.total = -1};
    if (!db || !request_filter(q, c->asked_present, &f, e) ||
        (q->key_label.n && !request_keys_labelled(c, db, q->key_label, &f, e)))
        return false;
    if (f.oldest_first ? q->before : q->after)
        return err_field(
            e, f.oldest_first ? "before" : "after",
            "The next page of sort=at begins 'after' a seq, that of sort=-at 'before' one");
    request_keys_named(c->arena, c->snap, &f);
    struct usage_reader *r = usage_reader_new(c->arena, db, &f, e);
    /* one more says whether there are more */
    int64_t *ids = ARENA_ARRAY(c->arena, int64_t, limit + 1);
    struct request_out *v = ARENA_ARRAY(c->arena, struct request_out, limit);
    bool ok = r &&
              usage_read_ids(r, f.oldest_first ? q->after : q->before, 0, ids, limit + 1, &n, e) &&
              (!q->total || usage_read_count(r, &out.total, e));
    for (size_t i = 0; ok && i < n && i < limit; i++) {
        struct usage_row row;
        struct usage_detail d;
        ok = usage_read_row(r, ids[i], &row, e);
        if (ok)
            v[i] = request_show(c->arena, c->snap, &row, &d);
    }
    usage_reader_free(r);
    if (!ok)
        return false;
    out.data = (struct shape_list){v, n < limit ? n : limit};
    out.has_more = n > limit;
    out.next = out.has_more ? ids[limit - 1] : 0;
    return control_reply(c, 200, &page_shape, &out);
}

static bool get(struct control_call *c, struct err *e)
{
    struct db *db = control_db(c, e);
    struct usage_row row;
    struct usage_detail d;
    if (!db || !usage_find(c->arena, db, route_param(&c->params, "id"), &row, e))
        return false;
    struct request_out out = request_show(c->arena, c->snap, &row, &d);
    if (d.route.n && !json_parse(c->arena, d.route, 16, &out.route, NULL))
        out.route = NULL;
    return control_reply(c, 200, &request_detail_shape, &out);
}

/* ---- bodies ---- */

struct body_out {
    struct str which;
    int64_t size, kept;
    bool truncated;
    struct str text;
};
static const struct shape body_shape = SHAPE(
    struct body_out,
    FIELD(struct body_out, which, 0,
          "client-request, upstream-request, upstream-response or client-response"),
    FIELD(struct body_out, size, 0, "Bytes of the whole body"),
    FIELD(struct body_out, kept, 0, "Bytes that are kept"),
    FIELD(struct body_out, truncated, 0, "Whether the end is missing"),
    FIELD(struct body_out, text, 0,
          "What is kept, without what looked like a secret; bytes that are no UTF-8 are replaced"));

static bool read_bodies(struct control_call *c, struct usage_row *row, struct usage_detail *d,
                        struct body out[BODY_N], struct err *e)
{
    struct db *db = control_db(c, e);
    if (!db || !usage_find(c->arena, db, route_param(&c->params, "id"), row, e))
        return false;
    usage_detail_read(c->arena, row->detail, d);
    if (d->body.n == 0)
        return err_set(e, ERR_NOT_FOUND, "bodies_not_kept",
                       "The bodies of this request were not kept: see the setting log_bodies");
    return body_read(c->arena, c->control->bodies_dir, d->body, row->request_id, out, e);
}

static bool get_body(struct control_call *c, struct err *e)
{
    struct str which = route_param(&c->params, "which");
    struct usage_row row;
    struct usage_detail d;
    struct body v[BODY_N];
    size_t k = 0;
    while (k < BODY_N && !str_eq(which, str_of(body_names[k])))
        k++;
    if (k == BODY_N)
        return err_set(e, ERR_NOT_FOUND, "not_found",
                       "There are client-request, upstream-request, upstream-response and "
                       "client-response");
    if (!read_bodies(c, &row, &d, v, e))
        return false;
    struct body_out out = {.which = str_of(body_names[k]),
                           .size = (int64_t)v[k].size,
                           .kept = (int64_t)v[k].text.n,
                           .truncated = v[k].is_cut,
                           .text = v[k].text};
    return control_reply(c, 200, &body_shape, &out);
}

/* ---- what became of a body on its way ---- */

#define MAX_LEAVES 50000 /* of one body */

struct way_query {
    int of;
};
enum {
    WAY_REQUEST,
    WAY_RESPONSE
};
static const struct word way_words[] = {{"request", WAY_REQUEST}, {"response", WAY_RESPONSE}, {0}};
static const struct shape way_query_shape = SHAPE(
    struct way_query, FIELD_ENUM(struct way_query, of, way_words, 0,
                                 "request (when absent): from the client's to the upstream's; "
                                 "response: from the upstream's to the client's"));
static const struct shape leaf_shape = SHAPE(
    struct json_leaf,
    FIELD_ENUM(
        struct json_leaf, fate, json_fate_words, 0,
        "kept: the same value at the same place; mapped: at another place or within a text, or "
        "said with another value; dropped: left out by the translation; added: of the second "
        "only; uncompared: nobody knows what became of it"),
    FIELD(struct json_leaf, from, NULL_EMPTY, "Where it stood: messages[0].content"),
    FIELD(struct json_leaf, to, NULL_EMPTY, "Where it stands now"));
struct way_out {
    struct strs dropped;
    struct shape_list values;
    yyjson_val *from_gathered, *to_gathered;
};
static const struct shape way_shape = SHAPE(
    struct way_out, FIELD(struct way_out, dropped, 0, "What the translation says that it left out"),
    FIELD_LIST(struct way_out, values, &leaf_shape, 0,
               "Each value, in the order of the body that came"),
    FIELD(struct way_out, from_gathered, 0,
          "The answer that the events of the body that came come to; null: it is no stream"),
    FIELD(struct way_out, to_gathered, 0, "The same of the body that went out"));

/* A body as JSON; of a stream, the answer that its events come to. */
static bool whole_of(struct control_call *c, const struct body *b, struct str format,
                     yyjson_val **root, yyjson_val **gathered)
{
    const struct wire *w = wire_by_name(format);
    struct buf whole;
    struct err why = ERR_INIT;
    if (b->is_cut)
        return false;
    bool is_json = json_parse(c->arena, b->text, 0, root, NULL);
    if (is_json && !yyjson_is_arr(*root))
        return true;
    buf_init_arena(&whole, c->arena, SIZE_MAX / 4);
    if (!w || !wire_gather(c->arena, w, b->text, &whole, &why))
        return is_json;
    if (!json_parse(c->arena, buf_str(&whole), 0, root, NULL))
        return false;
    *gathered = *root;
    return true;
}

static bool get_way(struct control_call *c, struct err *e)
{
    const struct way_query *q = c->asked;
    struct usage_row row;
    struct usage_detail d;
    struct body v[BODY_N];
    struct json_leaf *leaves;
    yyjson_val *from, *to;
    if (!read_bodies(c, &row, &d, v, e))
        return false;
    bool is_up = q->of == WAY_REQUEST;
    size_t first = is_up ? BODY_CLIENT_REQUEST : BODY_UPSTREAM_RESPONSE;
    struct way_out out = {.dropped = d.dropped};
    if (!whole_of(c, &v[first], is_up ? row.client_format : row.upstream_format, &from,
                  &out.from_gathered) ||
        !whole_of(c, &v[first + 1], is_up ? row.upstream_format : row.client_format, &to,
                  &out.to_gathered))
        return err_set(e, ERR_NOT_FOUND, "not_comparable",
                       "Only whole bodies can be compared: one of these was cut, is a stream that "
                       "did not end well, or is no JSON");
    struct json_compare how = {
        .kin = wire_places, .dropped = d.dropped.v, .n_dropped = d.dropped.n, .max = MAX_LEAVES};
    if (!json_compare(c->arena, from, to, &how, &leaves, &out.values.n))
        return err_set(e, ERR_NOT_FOUND, "not_comparable", "The bodies have more than %d values",
                       MAX_LEAVES);
    out.values.v = leaves;
    return control_reply(c, 200, &way_shape, &out);
}

/* ---- replay ---- */

struct replay_in {
    struct str target;
    bool stream;
};
static const struct shape replay_in_shape = SHAPE_STRICT(
    struct replay_in,
    FIELD(struct replay_in, target, 0,
          "Model, or provider/model, to ask instead of the one that was asked"),
    FIELD(struct replay_in, stream, 0, "Ask for a stream, or for none; as before when absent"));
struct replay_out {
    struct str request_id;
    int64_t status;
    struct str content_type;
    yyjson_val *body;
};
static const struct shape replay_out_shape = SHAPE(
    struct replay_out,
    FIELD(struct replay_out, request_id, 0, "Id of the new request, in the log like any other"),
    FIELD(struct replay_out, status, 0, "HTTP status of its answer"),
    FIELD(struct replay_out, content_type, 0, "Content-Type of its answer"),
    FIELD(struct replay_out, body, 0, "The answer: JSON, or its text"));

/* The body as it was, but for model and stream where others are wanted. */
static struct str replay_body(struct control_call *c, yyjson_val *root, const struct replay_in *in,
                              bool is_model_in_path)
{
    bool has_stream = c->present & 2, sets_model = in->target.n && !is_model_in_path;
    bool sets_stream = has_stream && !is_model_in_path;
    struct buf b;
    size_t i, max;
    yyjson_val *k, *v;
    buf_init_arena(&b, c->arena, 256u << 20);
    struct jw w = jw_on(&b);
    jw_object(&w);
    yyjson_obj_foreach (root, i, max, k, v) {
        bool is_ours = (sets_model && str_is(json_str(k), "model")) ||
                       (sets_stream && str_is(json_str(k), "stream"));
        if (is_ours)
            continue;
        jw_key_str(&w, json_str(k));
        jw_val(&w, v);
    }
    if (sets_model)
        jw_kv_str(&w, "model", in->target);
    if (sets_stream)
        jw_kv_bool(&w, "stream", in->stream);
    jw_object_end(&w);
    return buf_str(&b);
}

/* Google's paths hold the model, and whether it is a stream. */
static struct str replay_path(struct control_call *c, struct str path, const struct replay_in *in,
                              bool *is_model_in_path)
{
    const char *verb = memrchr(path.p, ':', path.n);
    const char *models = memmem(path.p, path.n, "/models/", 8);
    *is_model_in_path = verb && models && verb > models;
    if (!*is_model_in_path)
        return path;
    struct str before = str_n(path.p, (size_t)(models - path.p) + 8),
               model = str_n(before.p + before.n, (size_t)(verb - before.p) - before.n),
               op = str_skip(path, (size_t)(verb - path.p));
    if (c->present & 2 && (str_is(op, ":generateContent") || str_is(op, ":streamGenerateContent")))
        op = in->stream ? STR(":streamGenerateContent") : STR(":generateContent");
    return str_fmt(c->arena, STR_FMT STR_FMT STR_FMT "%s", STR_ARG(before),
                   STR_ARG(in->target.n ? url_encode(c->arena, in->target) : model), STR_ARG(op),
                   str_is(op, ":streamGenerateContent") ? "?alt=sse" : "");
}

static bool send_replay(struct control_call *c, struct str path, struct str body,
                        struct replay_out *out, struct err *e)
{
    struct arena *a = c->arena;
    struct str token = secret_reveal(c->control->internal_key);
    struct fetched reply;
    out->request_id = random_id(a, "req_", 24);
    struct http_header h[] = {
        {STR("content-type"), STR("application/json")},
        {STR("authorization"), str_fmt(a, "Bearer " STR_FMT, STR_ARG(token))},
        {STR("x-api-key"), token},
        {STR("x-goog-api-key"), token},
        {STR("x-request-id"), out->request_id},
    };
    struct str origin = test_tasks_origin(c->control->tests);
    struct fetch f = {.method = HTTP_POST,
                      .url = str_fmt(a, STR_FMT STR_FMT, STR_ARG(origin), STR_ARG(path)),
                      .headers = h,
                      .n_headers = ARRAY_LEN(h),
                      .body = body,
                      .timeout_ms = REPLAY_MS,
                      .max_bytes = 32u << 20,
                      .allow_private = true}; /* it is ourselves */
    if (!fetch_run(a, &f, &reply, e))
        return false;
    out->status = reply.status;
    out->content_type = reply.content_type;
    if (json_parse(a, reply.body, 128, &out->body, NULL))
        return true;
    struct buf text;
    buf_init_arena(&text, a, 256u << 20);
    struct jw w = jw_on(&text);
    jw_str(&w, reply.body);
    return json_parse(a, buf_str(&text), 4, &out->body, e);
}

static bool replay(struct control_call *c, struct err *e)
{
    static _Atomic int running;
    const struct replay_in *in = c->in;
    struct usage_row row;
    struct usage_detail d;
    struct body v[BODY_N];
    struct replay_out out = {.status = 0};
    bool is_model_in_path;
    yyjson_val *root;
    if (!read_bodies(c, &row, &d, v, e)) {
        bool is_kept = strncmp(e->code, "bodies_", 7) != 0;
        return is_kept ? false
                       : err_set(e, ERR_CONFLICT, "bodies_not_kept",
                                 "This request cannot be sent again: its body was not kept. See "
                                 "the setting log_bodies");
    }
    const struct body *b = &v[BODY_CLIENT_REQUEST];
    if (b->is_cut || d.path.n == 0 || !json_parse(c->arena, b->text, 0, &root, NULL) ||
        !yyjson_is_obj(root))
        return err_set(e, ERR_CONFLICT, "body_not_whole",
                       "This request cannot be sent again: its body was not kept whole");
    struct str path = replay_path(c, d.path, in, &is_model_in_path);
    struct str body = replay_body(c, root, in, is_model_in_path);
    if (atomic_fetch_add(&running, 1) >= MAX_REPLAYS) { /* each holds a worker */
        atomic_fetch_sub(&running, 1);
        return err_set(e, ERR_OVERLOADED, "busy",
                       "Too many requests are being sent again: try later");
    }
    bool ok = send_replay(c, path, body, &out, e);
    atomic_fetch_sub(&running, 1);
    return ok && control_reply(c, 200, &replay_out_shape, &out);
}

/* What is in the log at this moment is gone for every reader; the writer deletes it in slices. */
bool request_log_clear(struct control_call *c, struct err *e)
{
    struct db *db = control_db(c, e);
    if (!db)
        return false;
    if (!usage_log_sync(c->control->usage, SYNC_MS))
        return err_set(e, ERR_OVERLOADED, "store_busy",
                       "The store takes no writes at the moment: try again");
    if (!db_exec(db,
                 "UPDATE usage_state SET cleared = "
                 "max(cleared, (SELECT coalesce(max(id), 0) FROM usage_fact))",
                 e))
        return false;
    usage_log_tidy(c->control->usage);
    body_store_clear(c->control->bodies);
    control_audit(c, "request_log", STR("cleared"), STR_NONE, STR_NONE);
    c->status = 204;
    return true;
}

/* ---- /admin/api/requests, llm-rosetta's ---- */

struct rosetta_entry {
    struct str id, timestamp, model, source_provider, target_provider;
    bool is_stream;
    int32_t status_code;
    double duration_ms;
    struct str error_detail, api_key_label;
};
static const struct shape rosetta_entry_shape = SHAPE(
    struct rosetta_entry, FIELD(struct rosetta_entry, id, 0, "Request id"),
    FIELD(struct rosetta_entry, timestamp, 0, "When it ended, ISO 8601"),
    FIELD(struct rosetta_entry, model, 0, "Model that was asked for"),
    FIELD(struct rosetta_entry, source_provider, 0, "Format of the client"),
    FIELD(struct rosetta_entry, target_provider, 0, "Provider that answered"),
    FIELD(struct rosetta_entry, is_stream, 0, "Whether a stream was asked for"),
    FIELD(struct rosetta_entry, status_code, 0, "HTTP status"),
    FIELD(struct rosetta_entry, duration_ms, 0, "Time in all"),
    FIELD(struct rosetta_entry, error_detail, OMIT_EMPTY, "What went wrong; only of errors"),
    FIELD(struct rosetta_entry, api_key_label, OMIT_EMPTY,
          "Label of the client key; absent without a key"));

struct rosetta_list {
    struct shape_list entries;
    int64_t total;
};
static const struct shape rosetta_list_shape = SHAPE(
    struct rosetta_list,
    FIELD_LIST(struct rosetta_list, entries, &rosetta_entry_shape, 0, "Requests, newest first"),
    FIELD(struct rosetta_list, total, 0, "How many fit the filters"));

struct rosetta_query {
    int64_t limit, offset;
    struct str model, provider, status, api_key_label;
};
static const struct shape rosetta_query_shape = SHAPE(
    struct rosetta_query,
    FIELD(struct rosetta_query, limit, 0, "Page size, 1 to 1000; 50 when absent"),
    FIELD(struct rosetta_query, offset, 0, "How many to leave out"),
    FIELD(struct rosetta_query, model, 0, "Model, as it was asked for"),
    FIELD(struct rosetta_query, provider, 0, "Provider"),
    FIELD(struct rosetta_query, status, 0, "ok: below 400, error: the others"),
    FIELD(struct rosetta_query, api_key_label, 0, "Label of the client key"));

static void write_entry(struct control_call *c, const struct usage_row *r, struct jw *w)
{
    struct usage_detail d;
    struct buf when;
    usage_detail_read(c->arena, r->detail, &d);
    buf_init_arena(&when, c->arena, 64);
    clock_rfc3339_ns(&when, d.ended_ms ? d.ended_ms * 1000000 : r->seq * 1000);
    jw_object(w);
    jw_kv_str(w, "id", r->request_id);
    /* as Python writes it: microseconds, and an offset instead of Z */
    jw_kv_str(w, "timestamp",
              str_fmt(c->arena, STR_FMT "+00:00", STR_ARG(str_first(buf_str(&when), 26))));
    jw_kv_str(w, "model", r->model);
    jw_kv_str(w, "source_provider", r->client_format);
    jw_kv_str(w, "target_provider", r->upstream);
    jw_kv_bool(w, "is_stream", r->is_stream);
    jw_kv_int(w, "status_code", r->status);
    int64_t hundredths = (r->duration_us + 5) / 10;
    jw_key(w, "duration_ms");
    jw_double(w, (double)hundredths / 100);
    struct str error = d.error.n ? d.error : r->error;
    if (r->status >= 400 && error.n) /* none of a client that left */
        jw_kv_str(w, "error_detail", error);
    if (r->key.n)
        jw_kv_str(w, "api_key_label", request_key_label(c->snap, r->key));
    jw_object_end(w);
}

static bool rosetta_requests(struct control_call *c, struct err *e)
{
    const struct rosetta_query *q = c->asked;
    bool has_limit = c->asked_present & 1;
    size_t limit = !has_limit            ? 50
                   : q->limit < 1        ? 1
                   : q->limit > MAX_PAGE ? MAX_PAGE
                                         : (size_t)q->limit;
    struct usage_filter f = {.model = q->model, .upstream = q->provider};
    struct db *db = control_db(c, e);
    int64_t *ids = ARENA_ARRAY(c->arena, int64_t, limit), total;
    size_t n;
    if (str_is(q->status, "ok") || str_is(q->status, "error")) /* anything else is no filter */
        (void)read_status(q->status, &f, e);
    if (!db || (q->api_key_label.n && !request_keys_labelled(c, db, q->api_key_label, &f, e)))
        return false;
    struct usage_reader *r = usage_reader_new(c->arena, db, &f, e);
    bool ok = r && usage_read_ids(r, 0, q->offset > 0 ? q->offset : 0, ids, limit, &n, e) &&
              usage_read_count(r, &total, e);
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    jw_key(&w, "entries");
    jw_array(&w);
    for (size_t i = 0; ok && i < n; i++) {
        struct usage_row row;
        ok = usage_read_row(r, ids[i], &row, e);
        if (ok)
            write_entry(c, &row, &w);
    }
    usage_reader_free(r);
    jw_array_end(&w);
    if (ok)
        jw_kv_int(&w, "total", total);
    jw_object_end(&w);
    return ok;
}

struct ok_out {
    bool ok;
};
static const struct shape ok_shape = SHAPE(struct ok_out, FIELD(struct ok_out, ok, 0, "true"));

static bool rosetta_clear(struct control_call *c, struct err *e)
{
    struct ok_out out = {true};
    return request_log_clear(c, e) && control_reply(c, 200, &ok_shape, &out);
}

struct labels_out {
    struct strs labels;
};
static const struct shape labels_shape = SHAPE(
    struct labels_out,
    FIELD(struct labels_out, labels, 0, "Labels of the keys that stand in the log"));

static bool rosetta_labels(struct control_call *c, struct err *e)
{
    struct db *db = control_db(c, e);
    struct str *keys;
    struct labels_out out = {{NULL, 0}};
    size_t n;
    if (!db || !usage_read_keys(c->arena, db, &keys, &n, e))
        return false;
    out.labels.v = ARENA_ARRAY(c->arena, struct str, n + 1);
    struct map seen;
    map_init(&seen);
    for (size_t i = 0; i < n; i++) {
        struct str label = request_key_label(c->snap, keys[i]);
        if (label.n == 0 || map_get(&seen, label))
            continue;
        map_set(&seen, label, &seen);
        out.labels.v[out.labels.n++] = label;
    }
    map_done(&seen);
    return control_reply(c, 200, &labels_shape, &out);
}

/* clang-format off */
const struct endpoint request_endpoints[] = {
    { HTTP_GET,    "/sluice/v1/requests",            SURFACE_SLUICE,  ACCESS_VIEWER, "The request log, newest first unless sort says otherwise", .on_worker = list, .query = &list_query_shape, .out = &page_shape },
    { HTTP_DELETE, "/sluice/v1/requests",            SURFACE_SLUICE,  ACCESS_ADMIN,  "Empty the request log; figures stay", .on_worker = request_log_clear, .status = 204 },
    { HTTP_GET,    "/sluice/v1/requests/{id}",       SURFACE_SLUICE,  ACCESS_VIEWER, "One request with its attempts and what was dropped", .on_worker = get, .out = &request_detail_shape },
    { HTTP_GET,    "/sluice/v1/requests/{id}/bodies/{which}", SURFACE_SLUICE, ACCESS_ADMIN, "One of the four bodies of a request, where they are kept", .on_worker = get_body, .out = &body_shape, .leaves_trail = true },
    { HTTP_GET,    "/sluice/v1/requests/{id}/translation", SURFACE_SLUICE, ACCESS_ADMIN, "What became of each value of a body on its way: kept, mapped, dropped or added", .on_worker = get_way, .query = &way_query_shape, .out = &way_shape, .leaves_trail = true },
    { HTTP_POST,   "/sluice/v1/requests/{id}/replay", SURFACE_SLUICE, ACCESS_ADMIN, "Send a kept request again, to the same model or another", .on_worker = replay, .in = &replay_in_shape, .out = &replay_out_shape, .body_is_optional = true, .is_create = true },
    { HTTP_GET,    "/admin/api/requests",            SURFACE_ROSETTA, ACCESS_VIEWER, "The request log in pages", .on_worker = rosetta_requests, .query = &rosetta_query_shape, .out = &rosetta_list_shape },
    { HTTP_DELETE, "/admin/api/requests",            SURFACE_ROSETTA, ACCESS_ADMIN,  "Empty the request log", .on_worker = rosetta_clear, .out = &ok_shape },
    { HTTP_GET,    "/admin/api/requests/key-labels", SURFACE_ROSETTA, ACCESS_VIEWER, "Labels of the keys in the request log", .on_worker = rosetta_labels, .out = &labels_shape },
    {0},
};
/* clang-format on */
