/* embed.c - embeddings: passed where the upstream speaks the caller's format, else translated. */
#include "wire/embed.h"
#include "base/codec.h"
#include "relay/request.h"

static enum embed_format client_format(const struct relay *rl)
{
    switch (rl->spec->op) {
    case OP_EMBED_OLLAMA:
        return EMBED_OLLAMA;
    case OP_EMBED_GEMINI:
        return str_contains(rl->r->path, STR(":batchEmbedContents")) ? EMBED_GEMINI_BATCH
                                                                     : EMBED_GEMINI;
    /* not our enum's whole range: the table of endpoints has three such operations */
    default:
        return EMBED_OPENAI;
    }
}

static enum embed_format upstream_format(enum op op)
{
    return op == OP_EMBED_GEMINI   ? EMBED_GEMINI_BATCH
           : op == OP_EMBED_OLLAMA ? EMBED_OLLAMA
                                   : EMBED_OPENAI;
}

static bool read_asked(struct relay *rl, struct embed_request *asked, struct err *e)
{
    yyjson_val *root;
    return json_parse(rl->r->arena, rl->body, (unsigned)rl->set->max_json_depth, &root, e) &&
           embed_read_request(rl->r->arena, client_format(rl), root, asked, e);
}

bool embed_body(struct relay *rl, const struct target *t, enum op *up_op, struct str *out,
                struct err *e)
{
    static const char no_place[] = "the format has no place for it";
    static const enum op others[] = {OP_EMBED_OPENAI, OP_EMBED_GEMINI, OP_EMBED_OLLAMA};
    const struct provider_kind *kind = t->upstream->kind;
    struct buf b;
    rl->embed_suffix = client_format(rl) == EMBED_GEMINI_BATCH ? ":batchEmbedContents"
                                                               : ":embedContent";
    if (provider_kind_path(kind, rl->spec->op)) {
        *up_op = rl->spec->op;
        rl->is_same = true;
        rl->up = rl->spec->client;
        return edit_body(rl, t, out, e);
    }
    rl->is_same = false;
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (!provider_kind_path(kind, others[i]))
            continue;
        *up_op = others[i];
        rl->embed_suffix = ":batchEmbedContents";
        if (!rl->asked)
            rl->asked = ARENA_NEW(rl->r->arena, struct embed_request);
        buf_init_arena(&b, rl->body_arena, (size_t)rl->set->max_body_bytes * 2);
        if (!read_asked(rl, rl->asked, e) ||
            !embed_write_request(upstream_format(*up_op), rl->asked, t->model, &b, e))
            return false;
        rl->embed_op = *up_op;
        rl->is_ctx_ready = false;
        for (size_t k = 0; k < rl->asked->n_lost; k++)
            relay_note_dropped(rl, no_place, str_z(rl->r->arena, rl->asked->lost[k]));
        if (rl->asked->user.n && upstream_format(*up_op) != EMBED_OPENAI)
            relay_note_dropped(rl, no_place, "user");
        *out = buf_str(&b);
        return true;
    }
    return err_set(e, ERR_UNSUPPORTED, "unsupported_operation",
                   "The upstream '" STR_FMT "' does not serve embeddings",
                   STR_ARG(t->upstream->name));
}

bool embed_reply(struct relay *rl, struct buf *out, struct err *e)
{
    struct arena *a = rl->r->arena;
    struct embed_reply reply;
    yyjson_val *root;
    if (!json_parse(a, buf_str(&rl->reply), (unsigned)rl->set->max_json_depth, &root, e) ||
        !embed_read_reply(a, upstream_format(rl->embed_op), root, &reply, e))
        return false;
    if (reply.n != rl->asked->n)
        return err_set(e, ERR_UPSTREAM, "invalid_upstream_reply",
                       "The upstream embedded %zu of %zu inputs", reply.n, rl->asked->n);
    if (reply.tokens >= 0) {
        rl->usage.input_total = reply.tokens;
        rl->usage.total = reply.tokens;
    }
    embed_write_reply(a, client_format(rl), &reply, rl->asked, rl->target->model, out);
    return !buf_failed(out) || err_set(e, ERR_UPSTREAM, "reply_too_large",
                                       "The reply is larger than max_reply_bytes once translated");
}

/* The built-in upstream: numbers in -1 … 1 drawn from the text's hash, the same for the same text. */
bool embed_echo(struct relay *rl, struct buf *out, struct err *e)
{
    struct arena *a = rl->r->arena;
    struct embed_request asked;
    struct embed_reply reply = {.tokens = 0};
    if (!read_asked(rl, &asked, e))
        return false;
    int64_t n = asked.dimensions > 0 && asked.dimensions <= 4096 ? asked.dimensions : 8;
    struct buf b;
    buf_init_arena(&b, a, (size_t)rl->set->max_reply_bytes);
    struct jw w = jw_on(&b);
    jw_array(&w);
    for (size_t i = 0; i < asked.n && !buf_failed(&b); i++) {
        struct str text = asked.tokens ? str_fmt(a, "tokens %zu", i) : asked.texts[i];
        uint8_t hash[SHA256_SIZE];
        sha256(text, hash);
        reply.tokens += (int64_t)(text.n + 3) / 4;
        jw_array(&w);
        for (int64_t k = 0; k < n; k++) {
            if (k && k % (SHA256_SIZE / 2) == 0)
                sha256(str_n((const char *)hash, sizeof hash), hash);
            size_t at = (size_t)(k % (SHA256_SIZE / 2)) * 2;
            jw_double(&w, ((double)(hash[at] << 8 | hash[at + 1]) - 32768.0) / 32768.0);
        }
        jw_array_end(&w);
    }
    jw_array_end(&w);
    if (buf_failed(&b))
        return err_set(e, ERR_TOO_LARGE, "reply_too_large",
                       "The reply would be larger than max_reply_bytes");
    yyjson_val *root;
    if (!json_parse(a, buf_str(&b), 8, &root, e))
        return false;
    size_t i, max;
    yyjson_val *v;
    reply.vectors = ARENA_ARRAY(a, yyjson_val *, asked.n + 1);
    yyjson_arr_foreach (root, i, max, v)
        reply.vectors[reply.n++] = v;
    rl->usage.input_total = rl->usage.total = reply.tokens;
    embed_write_reply(a, client_format(rl), &reply, &asked, rl->target->model, out);
    return true;
}
