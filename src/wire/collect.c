/* collect.c - a stream of events gathered into a whole reply, and a whole reply played as a stream. */
#include "base/codec.h"
#include "wire/common.h"
#include "wire/framing.h"
#include "base/banned.h"

#define REPLY_MAX (256u << 20) /* bytes of one text */

struct gathered { /* one choice */
    struct ir_choice *choice;
    struct ir_part *part; /* the open block */
    struct buf text;      /* its text or arguments */
    struct buf logprobs;  /* the entries of all its tokens */
    struct buf sound;     /* of a block of audio: its pieces as bytes */
};
struct ir_collector {
    struct wire_ctx *c;
    struct ir_response res;
    struct gathered *v[FLOW_CHOICES]; /* NULL: nothing of it yet */
    struct err error;
    bool has_failed, is_ended, is_too_large;
};

struct ir_collector *ir_collector_new(struct wire_ctx *c)
{
    struct ir_collector *k = ARENA_NEW(c->arena, struct ir_collector);
    k->c = c;
    k->res.usage = IR_USAGE_NONE;
    k->res.origin = c->upstream;
    k->error = (struct err)ERR_INIT;
    return k;
}

static struct str keep(struct ir_collector *k, struct str s)
{
    return s.n > 0 ? str_dup(k->c->arena, s) : STR_NONE;
}

static yyjson_val *keep_val(struct ir_collector *k,
                            yyjson_val *v) /* values of events die with the event */
{
    yyjson_val *copy = NULL;
    struct err e = ERR_INIT;
    return v && json_parse(k->c->arena, json_text(k->c->arena, v), 0, &copy, &e) ? copy : NULL;
}

static struct gathered *choice_of(struct ir_collector *k, unsigned index)
{
    if (index >= FLOW_CHOICES)
        return NULL;
    struct gathered *g = k->v[index];
    if (g)
        return g;
    g = k->v[index] = ARENA_NEW(k->c->arena, struct gathered);
    g->choice = ARENA_NEW(k->c->arena, struct ir_choice);
    g->choice->index = index;
    g->choice->message.role = IR_ASSISTANT;
    buf_init_arena(&g->logprobs, k->c->arena, REPLY_MAX);
    struct ir_choice **tail = &k->res.choices; /* in order of their indices */
    while (*tail && (*tail)->index < (int64_t)index)
        tail = &(*tail)->next;
    g->choice->next = *tail;
    *tail = g->choice;
    return g;
}

static void end_block(struct ir_collector *k, struct gathered *g)
{
    if (!g->part)
        return;
    struct str text = buf_str(&g->text);
    k->is_too_large = k->is_too_large || buf_failed(&g->text) ||
                      (g->part->kind == IR_AUDIO && buf_failed(&g->sound));
    if (g->part->kind == IR_AUDIO && g->sound.n > 0)
        g->part->source.base64 = base64_encode(k->c->arena, buf_str(&g->sound));
    if (g->part->kind == IR_TOOL_CALL)
        g->part->args_raw = text;
    else
        g->part->text = text;
    g->part = NULL;
}

static void begin_block(struct ir_collector *k, struct gathered *g, const struct ir_event *ev)
{
    end_block(k, g);
    struct ir_part *p = ir_part_add(k->c->arena, &g->choice->message.parts, ev->part_kind);
    p->origin = k->c->upstream;
    p->call_kind = ev->call_kind;
    p->call_id = keep(k, ev->call_id);
    p->name = keep(k, ev->name);
    p->item_id = keep(k, ev->item_id);
    p->signature = keep(k, ev->signature);
    p->redacted = keep(k, ev->redacted);
    p->encrypted = keep(k, ev->encrypted);
    p->thought_signature = keep(k, ev->thought_signature);
    p->is_summary = ev->is_summary;
    p->raw = keep_val(k, ev->raw);
    g->part = p;
    buf_init_arena(&g->text, k->c->arena, REPLY_MAX);
    if (p->kind == IR_AUDIO)
        buf_init_arena(&g->sound, k->c->arena, REPLY_MAX);
}

static void add_reasoning(struct ir_collector *k, struct ir_part *p, const struct ir_event *ev)
{
    if (ev->signature.n > 0)
        p->signature = keep(k, ev->signature);
    if (ev->encrypted.n > 0)
        p->encrypted = keep(k, ev->encrypted);
    if (ev->thought_signature.n > 0)
        p->thought_signature = keep(k, ev->thought_signature);
}

static void add_citation(struct ir_collector *k, struct gathered *g, const struct ir_event *ev)
{
    const struct ir_citation *cite = ev->citation;
    struct ir_part *p = g->part;
    if (ev->is_late) { /* the blocks are the parts, in order */
        p = g->choice->message.parts.first;
        for (unsigned i = 0; p && i < ev->block; i++)
            p = p->next;
    }
    if (!p)
        return;
    struct ir_citation *copy = ARENA_NEW(k->c->arena, struct ir_citation), **tail = &p->citations;
    *copy = *cite;
    copy->next = NULL;
    copy->url = keep(k, cite->url);
    copy->title = keep(k, cite->title);
    copy->cited_text = keep(k, cite->cited_text);
    copy->raw = keep_val(k, cite->raw);
    while (*tail)
        tail = &(*tail)->next;
    *tail = copy;
}

static void add_logprobs(struct gathered *g, yyjson_val *list)
{
    yyjson_val *v;
    size_t i, n;
    yyjson_arr_foreach (list, i, n, v) {
        struct jw w = jw_on(&g->logprobs);
        if (g->logprobs.n > 0)
            buf_char(&g->logprobs, ',');
        jw_val(&w, v);
    }
}

static void add_media(struct ir_collector *k, struct gathered *g, const struct ir_event *ev)
{
    const struct ir_source *s = &ev->source;
    struct ir_part *p = g->part;
    struct str bytes;
    buf_str_add(&g->text, ev->text);
    if (s->kind == IR_SOURCE_NONE)
        return;
    if (p->kind == IR_AUDIO && s->kind == IR_SOURCE_DATA &&
        base64_decode(k->c->scratch, s->base64, &bytes)) {
        buf_str_add(&g->sound, bytes);
        p->source.kind = s->kind;
        if (p->source.media_type.n == 0)
            p->source.media_type = keep(k, s->media_type);
        return;
    }
    p->source = (struct ir_source){.kind = s->kind,
                                   .media_type = keep(k, s->media_type),
                                   .url = keep(k, s->url),
                                   .base64 = keep(k, s->base64),
                                   .text = keep(k, s->text),
                                   .ref = keep(k, s->ref)};
}

static void gather(struct ir_collector *k, const struct ir_event *ev)
{
    struct gathered *g = choice_of(k, ev->choice);
    if (!g)
        return;
    if (ev->kind == IR_EV_BLOCK_START) {
        begin_block(k, g, ev);
        return;
    }
    if (ev->kind == IR_EV_FINISH) {
        end_block(k, g);
        g->choice->stop = ev->stop;
        g->choice->stop_sequence = keep(k, ev->stop_sequence);
        return;
    }
    if (ev->kind == IR_EV_CITATION)
        add_citation(k, g, ev);
    if (ev->kind == IR_EV_LOGPROBS) /* of the choice */
        add_logprobs(g, ev->raw);
    if (!g->part)
        return;
    if (ev->thought_signature.n > 0)
        g->part->thought_signature = keep(k, ev->thought_signature);
    switch (ev->kind) {
    case IR_EV_TEXT:
    case IR_EV_TOOL_ARGS:
        buf_str_add(&g->text, ev->text);
        break;
    case IR_EV_REASONING:
        buf_str_add(&g->text, ev->text);
        add_reasoning(k, g->part, ev);
        break;
    case IR_EV_MEDIA:
        add_media(k, g, ev);
        break;
    case IR_EV_BLOCK_END:
        end_block(k, g);
        break;
    case IR_EV_START:
    case IR_EV_BLOCK_START:
    case IR_EV_CITATION:
    case IR_EV_LOGPROBS:
    case IR_EV_USAGE:
    case IR_EV_FINISH:
    case IR_EV_ERROR:
    case IR_EV_END:
    case IR_EV_PING:
        break;
    }
}

void ir_collect(void *collector, const struct ir_event *ev)
{
    struct ir_collector *k = collector;
    switch (ev->kind) {
    case IR_EV_START:
        k->res.id = keep(k, ev->id);
        k->res.model = keep(k, ev->model);
        k->res.created = ev->created;
        k->res.service_tier = keep(k, ev->service_tier);
        k->res.system_fingerprint = keep(k, ev->system_fingerprint);
        break;
    case IR_EV_USAGE:
        k->res.usage = ir_usage_merge(k->res.usage, ev->usage);
        break;
    case IR_EV_ERROR:
        k->has_failed = true;
        k->error = *ev->error;
        break;
    case IR_EV_END:
        k->is_ended = true;
        break;
    case IR_EV_PING:
        break;
    case IR_EV_BLOCK_START:
    case IR_EV_TEXT:
    case IR_EV_REASONING:
    case IR_EV_TOOL_ARGS:
    case IR_EV_CITATION:
    case IR_EV_LOGPROBS:
    case IR_EV_MEDIA:
    case IR_EV_BLOCK_END:
    case IR_EV_FINISH:
        gather(k, ev);
        break;
    }
}

static yyjson_val *chat_logprobs(struct ir_collector *k, const struct buf *entries)
{
    yyjson_val *root = NULL;
    struct err e = ERR_INIT;
    struct buf b;
    if (entries->n == 0)
        return NULL;
    buf_init_arena(&b, k->c->arena, REPLY_MAX);
    buf_lit(&b, "{\"content\":[");
    buf_str_add(&b, buf_str(entries));
    buf_lit(&b, "],\"refusal\":null}");
    return json_parse(k->c->arena, buf_str(&b), 0, &root, &e) ? root : NULL;
}

bool ir_collected(struct ir_collector *k, struct ir_response *out, struct err *e)
{
    if (k->has_failed) {
        if (e)
            *e = k->error;
        return false;
    }
    if (!k->is_ended)
        return err_set(e, ERR_UPSTREAM, "bad_gateway", "upstream stream ended prematurely");
    if (k->is_too_large)
        return err_set(e, ERR_UPSTREAM, "bad_upstream_response",
                       "the upstream's answer is too large");
    (void)choice_of(k, 0);
    for (unsigned i = 0; i < FLOW_CHOICES; i++) {
        struct gathered *g = k->v[i];
        if (!g)
            continue;
        end_block(k, g);
        g->choice->logprobs = chat_logprobs(k, &g->logprobs);
    }
    *out = k->res;
    return true;
}

/* ---- a stream that lies there ---- */

struct gathering {
    const struct wire *wire;
    struct wire_ctx ctx;
    struct ir_collector *collector;
    void *decoder;
};

static bool gather_frame(void *arg, struct str event, struct str data, struct err *e)
{
    struct gathering *g = arg;
    bool ok = g->wire->decoder_push(g->decoder, event, data, ir_collect, g->collector, e);
    arena_reset(g->ctx.scratch);
    return ok;
}

bool wire_gather(struct arena *a, const struct wire *w, struct str stream, struct buf *out,
                 struct err *e)
{
    struct gathering g = {.wire = w};
    struct ir_response res;
    struct str start = str_trim(stream);
    enum framing framing = start.n && start.p[0] == '[' ? FRAMING_JSON_ARRAY : w->framing;
    wire_ctx_init(&g.ctx, a);
    g.ctx.client = g.ctx.upstream = w->id;
    g.ctx.scratch = arena_new();
    g.collector = ir_collector_new(&g.ctx);
    g.decoder = w->decoder_new(&g.ctx);
    struct framing_reader *r = framing_reader_new(framing, REPLY_MAX, gather_frame, &g);
    bool ok = framing_push(r, stream, e) && framing_finish(r, e);
    framing_reader_done(r);
    if (ok)
        w->decoder_end(g.decoder, ir_collect, g.collector);
    ok = ok && ir_collected(g.collector, &res, e);
    if (ok)
        w->write_response(&g.ctx, &res, out);
    arena_free(g.ctx.scratch);
    return ok &&
           (!buf_failed(out) || err_set(e, ERR_INPUT, "too_large", "The answer is too large"));
}

/* ---- the other way ---- */
struct player {
    struct wire_ctx *c;
    wire_sink_fn *emit;
    void *arg;
    unsigned choice, block;
};

static void play(struct player *p, struct ir_event ev)
{
    ev.choice = p->choice;
    ev.block = p->block;
    p->emit(p->arg, &ev);
}

static void play_content(struct player *p, const struct ir_part *part, yyjson_val *logprobs)
{
    enum ir_part_kind kind = part->kind;
    switch (kind) {
    case IR_TEXT:
    case IR_REFUSAL:
        if (part->text.n > 0)
            play(p, (struct ir_event){.kind = IR_EV_TEXT, .part_kind = kind, .text = part->text});
        for (const struct ir_citation *cite = part->citations; cite; cite = cite->next)
            play(p, (struct ir_event){.kind = IR_EV_CITATION, .part_kind = kind, .citation = cite});
        if (yyjson_arr_size(logprobs) > 0)
            play(p, (struct ir_event){.kind = IR_EV_LOGPROBS, .part_kind = kind, .raw = logprobs});
        break;
    case IR_REASONING:
        if (part->text.n > 0 || part->signature.n > 0 || part->encrypted.n > 0)
            play(p, (struct ir_event){.kind = IR_EV_REASONING,
                                      .part_kind = kind,
                                      .text = part->text,
                                      .is_summary = part->is_summary,
                                      .signature = part->signature,
                                      .encrypted = part->encrypted,
                                      .thought_signature = part->thought_signature});
        break;
    case IR_TOOL_CALL:
        if (part->args_raw.n > 0)
            play(p, (struct ir_event){
                        .kind = IR_EV_TOOL_ARGS, .part_kind = kind, .text = part->args_raw});
        break;
    case IR_IMAGE:
    case IR_FILE:
    case IR_AUDIO:
    case IR_VIDEO:
        play(p, (struct ir_event){.kind = IR_EV_MEDIA,
                                  .part_kind = kind,
                                  .source = part->source,
                                  .text = kind == IR_AUDIO ? part->text : STR_NONE});
        break;
    case IR_TOOL_RESULT:
    case IR_OPAQUE:
        break;
    }
}

static void play_part(struct player *p, const struct ir_part *part, yyjson_val *logprobs)
{
    struct ir_event start = {
        .kind = IR_EV_BLOCK_START,
        .part_kind = part->kind,
        .call_kind = part->call_kind,
        .name = part->name,
        .item_id = part->item_id,
        .redacted = part->redacted,
        .thought_signature = part->thought_signature,
        .is_summary = part->is_summary,
        .raw = part->kind == IR_OPAQUE ? part->raw : NULL,
    };
    if (part->kind == IR_TOOL_CALL)
        start.call_id = wire_client_call_id(p->c, part->call_id);
    play(p, start);
    play_content(p, part, logprobs);
    play(p, (struct ir_event){.kind = IR_EV_BLOCK_END, .part_kind = part->kind});
    p->block++;
}

void ir_replay(struct wire_ctx *c, const struct ir_response *res, wire_sink_fn *emit, void *arg)
{
    struct player p = {.c = c, .emit = emit, .arg = arg};
    play(&p, (struct ir_event){.kind = IR_EV_START,
                               .id = res->id,
                               .model = res->model,
                               .created = res->created,
                               .service_tier = res->service_tier,
                               .system_fingerprint = res->system_fingerprint});
    for (const struct ir_choice *choice = res->choices; choice; choice = choice->next) {
        yyjson_val *logprobs = json_get(choice->logprobs, "content");
        p.choice = (unsigned)choice->index;
        p.block = 0;
        for (const struct ir_part *part = choice->message.parts.first; part; part = part->next) {
            play_part(&p, part, part->kind == IR_TEXT ? logprobs : NULL);
            if (part->kind == IR_TEXT)
                logprobs = NULL;
        }
    }
    p.choice = p.block = 0;
    if (ir_usage_known(&res->usage))
        play(&p, (struct ir_event){.kind = IR_EV_USAGE, .usage = res->usage});
    for (const struct ir_choice *choice = res->choices; choice; choice = choice->next) {
        p.choice = (unsigned)choice->index;
        play(&p, (struct ir_event){.kind = IR_EV_FINISH,
                                   .stop = choice->stop,
                                   .stop_sequence = choice->stop_sequence});
    }
    p.choice = 0;
    play(&p, (struct ir_event){.kind = IR_EV_END});
}
