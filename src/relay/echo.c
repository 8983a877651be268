/* echo.c - the built-in upstream: deterministic answers, so that an installation can be tried and tested with no account anywhere.
 * It says the last user text back. Directives in that text change the answer:
 *   [[reasoning TEXT]] [[tool NAME {json}]] [[refuse TEXT]] [[length]] [[chunks N]] [[delay MS]] [[pace MS]] [[error STATUS TEXT]] [[break]] */
#include "relay/request.h"
#include "base/clock.h"
#include "base/codec.h"
#include "wire/common.h"
#include "wire/embed.h"
#include <stdlib.h>

#define MAX_DELAY_MS 600000
#define MAX_PIECES 10000 /* of one text: a piece costs far more than the bytes that ask for it */
#define MAX_CALLS 128
#define MAX_QUERY 4096

struct echo {
    struct timer timer;
    struct relay *rl;
    struct str text, reasoning, refusal;
    struct ir_parts calls;
    int64_t delay_ms, pace_ms, chunks;
    int error_status;
    struct str error_text;
    bool is_cut, breaks;
    /* streaming: where it stands */
    struct ir_event *events;
    size_t n_events, at;
    size_t break_at;
    struct ir_usage usage;
};

/* ---- directives ---- */

static int64_t number(struct str s, int64_t max)
{
    int64_t v;
    struct str head;
    (void)str_cut(str_trim(s), ' ', &head);
    return str_to_int(head, &v) && v >= 0 ? (v < max ? v : max) : 0;
}

static void directive(struct echo *ec, struct arena *a, struct str d)
{
    struct str name, rest = str_trim(str_cut(d, ' ', &name));
    if (str_is(name, "reasoning")) {
        ec->reasoning = rest;
    } else if (str_is(name, "refuse")) {
        ec->refusal = rest.n ? rest : STR("I cannot help with that.");
    } else if (str_is(name, "length")) {
        ec->is_cut = true;
    } else if (str_is(name, "break")) {
        ec->breaks = true;
    } else if (str_is(name, "chunks")) {
        ec->chunks = number(rest, MAX_PIECES);
    } else if (str_is(name, "delay")) {
        ec->delay_ms = number(rest, MAX_DELAY_MS);
    } else if (str_is(name, "pace")) {
        ec->pace_ms = number(rest, MAX_DELAY_MS);
    } else if (str_is(name, "error")) {
        struct str status;
        ec->error_text = str_trim(str_cut(rest, ' ', &status));
        ec->error_status = (int)number(status, 599);
        if (ec->error_status < 400)
            ec->error_status = 500;
    } else if (str_is(name, "tool") && ec->calls.n < MAX_CALLS) {
        struct str tool, args = str_trim(str_cut(rest, ' ', &tool));
        struct ir_part *p = ir_part_add(a, &ec->calls, IR_TOOL_CALL);
        p->name = tool;
        p->args_raw = args.n ? args : STR("{}");
        p->call_id = str_fmt(a, "call_echo%u", ec->calls.n);
    }
}

/* Where the directive at the start of text ends: at the first ]] that is not part of its JSON argument. Few are tried, since each
 * reads the argument again. */
static size_t directive_end(struct arena *a, struct str text)
{
    size_t first = find_bytes(text, STR("]]")), open;
    if (!str_starts(text, STR("tool ")) || (open = str_index(str_first(text, first), '{')) == first)
        return first; /* never looked for beyond: there may be very many */
    size_t at = first;
    for (int tries = 0; at < text.n && tries < 8; tries++) {
        yyjson_val *v;
        if (json_parse(a, str_n(text.p + open, at - open), 0, &v, NULL))
            return at;
        at += 1 + find_bytes(str_skip(text, at + 1), STR("]]"));
    }
    return first;
}

/* The text without its directives. */
static struct str read_directives(struct echo *ec, struct arena *a, struct str text)
{
    struct buf b;
    buf_init_arena(&b, a, text.n + 16);
    while (text.n) {
        size_t open = find_bytes(text, STR("[["));
        buf_str_add(&b, str_first(text, open));
        if (open == text.n)
            break;
        struct str rest = str_skip(text, open + 2);
        size_t close = directive_end(a, rest);
        if (close == rest.n) {
            buf_str_add(&b, str_skip(text, open));
            break;
        }
        directive(ec, a, str_first(rest, close));
        text = str_skip(rest, close + 2);
    }
    return str_trim(buf_str(&b));
}

static void read_conversation(struct echo *ec, struct relay *rl)
{
    struct arena *a = rl->r->arena;
    const struct ir_message *last = NULL;
    for (const struct ir_message *m = rl->ir->messages.first; m; m = m->next)
        if (m->role == IR_USER || m->role == IR_TOOL)
            last = m;
    struct str text = STR_NONE;
    if (last && last->role == IR_TOOL) {
        for (const struct ir_part *p = last->parts.first; p; p = p->next)
            if (p->kind == IR_TOOL_RESULT)
                text = wire_result_text(a, p);
        ec->text = str_dup(a, text); /* results are not obeyed */
    } else if (last) {
        text = str_dup(a, ir_parts_text(a, &last->parts));
        ec->text = read_directives(ec, a, text);
        bool is_forced = rl->ir->choice == IR_CHOICE_ANY || rl->ir->choice == IR_CHOICE_TOOL;
        if (is_forced && ec->calls.n == 0 && rl->ir->tools) {
            struct ir_part *p = ir_part_add(a, &ec->calls, IR_TOOL_CALL);
            p->name = rl->ir->choice == IR_CHOICE_TOOL ? rl->ir->choice_tool : rl->ir->tools->name;
            p->args_raw = STR("{}");
            p->call_id = STR("call_echo1");
        }
    }
    if (ec->text.n == 0 && ec->calls.n == 0 && ec->refusal.n == 0)
        ec->text = STR("Hello from sluice.");
    size_t out = ec->text.n + ec->reasoning.n + ec->refusal.n;
    for (const struct ir_part *p = ec->calls.first; p; p = p->next)
        out += p->name.n + p->args_raw.n;
    ec->usage = IR_USAGE_NONE;
    ec->usage.input_total = ir_estimate_tokens(rl->ir);
    ec->usage.reasoning = ec->reasoning.n ? (int64_t)(ec->reasoning.n + 3) / 4 : -1;
    ec->usage.output_total = (int64_t)(out + 3) / 4;
    ec->usage.total = ec->usage.input_total + ec->usage.output_total;
}

static enum ir_stop stop_of(const struct echo *ec)
{
    return ec->is_cut      ? IR_STOP_LENGTH
           : ec->calls.n   ? IR_STOP_TOOL
           : ec->refusal.n ? IR_STOP_REFUSAL
                           : IR_STOP_END;
}

/* ---- whole ---- */

static void add_text(struct arena *a, struct ir_parts *parts, enum ir_part_kind kind,
                     struct str text)
{
    if (text.n)
        ir_part_add(a, parts, kind)->text = text;
}

static void reply_whole(struct echo *ec)
{
    struct relay *rl = ec->rl;
    struct arena *a = rl->r->arena;
    struct ir_choice choice = {.stop = stop_of(ec), .message = {.role = IR_ASSISTANT}};
    struct ir_response res = {.id = str_fmt(a, "echo-" STR_FMT, STR_ARG(rl->id)),
                              .model = rl->target->model,
                              .usage = ec->usage,
                              .created = clock_wall_ms() / 1000,
                              .choices = &choice};
    struct buf b;
    add_text(a, &choice.message.parts, IR_REASONING, ec->reasoning);
    add_text(a, &choice.message.parts, IR_TEXT, ec->text);
    add_text(a, &choice.message.parts, IR_REFUSAL, ec->refusal);
    for (const struct ir_part *p = ec->calls.first; p; p = p->next) {
        struct ir_part *copy = ir_part_add(a, &choice.message.parts, IR_TOOL_CALL);
        struct ir_part *next = copy->next;
        *copy = *p;
        copy->next = next;
    }
    rl->usage = ec->usage;
    rl->stop = choice.stop;
    buf_init_arena(&b, a, (size_t)rl->set->max_reply_bytes);
    wire_of(rl->spec->client)->write_response(&rl->ctx, &res, &b);
    rl->is_done = rl->is_ended = true;
    if (rl->kept)
        responses_keep(rl, buf_str(&b));
    relay_reply_json(rl, 200, buf_str(&b));
}

/* ---- stream ---- */

static struct ir_event *next_event(struct echo *ec, enum ir_event_kind kind, unsigned block)
{
    struct ir_event *ev = &ec->events[ec->n_events++];
    ev->kind = kind;
    ev->block = block;
    ev->usage = IR_USAGE_NONE;
    return ev;
}

/* text cut into n pieces between characters */
static void pieces(struct echo *ec, struct str text, int64_t n, enum ir_part_kind kind,
                   enum ir_event_kind each, unsigned block)
{
    next_event(ec, IR_EV_BLOCK_START, block)->part_kind = kind;
    size_t from = 0;
    for (int64_t i = 1; i <= n && from < text.n; i++) {
        size_t to = i == n ? text.n : (size_t)((double)text.n * (double)i / (double)n);
        while (to < text.n && ((unsigned char)text.p[to] & 0xc0) == 0x80)
            to++;
        if (to > from) {
            struct ir_event *ev = next_event(ec, each, block);
            ev->text = str_n(text.p + from, to - from);
            ev->part_kind = kind;
        }
        from = to;
    }
    next_event(ec, IR_EV_BLOCK_END, block)->part_kind = kind;
}

static int64_t words_of(struct str text)
{
    int64_t n = 1;
    for (size_t i = 0; i < text.n && n < MAX_PIECES; i++)
        n += text.p[i] == ' ';
    return n;
}

static void script_stream(struct echo *ec)
{
    struct relay *rl = ec->rl;
    struct arena *a = rl->r->arena;
    int64_t n = ec->chunks > 0 ? ec->chunks : words_of(ec->text);
    size_t max = 16 + (size_t)n + (size_t)words_of(ec->reasoning) + 8 * ((size_t)ec->calls.n + 2);
    unsigned block = 0;
    ec->events = ARENA_ARRAY(a, struct ir_event, max);
    struct ir_event *start = next_event(ec, IR_EV_START, 0);
    start->id = str_fmt(a, "echo-" STR_FMT, STR_ARG(rl->id));
    start->model = rl->target->model;
    start->created = clock_wall_ms() / 1000;
    if (ec->reasoning.n)
        pieces(ec, ec->reasoning, words_of(ec->reasoning), IR_REASONING, IR_EV_REASONING, block++);
    if (ec->text.n)
        pieces(ec, ec->text, n, IR_TEXT, IR_EV_TEXT, block++);
    ec->break_at = ec->breaks ? ec->n_events / 2 + 1 : 0;
    if (ec->refusal.n)
        pieces(ec, ec->refusal, 1, IR_REFUSAL, IR_EV_TEXT, block++);
    for (const struct ir_part *p = ec->calls.first; p; p = p->next, block++) {
        struct ir_event *ev = next_event(ec, IR_EV_BLOCK_START, block);
        ev->part_kind = IR_TOOL_CALL;
        ev->call_id = p->call_id;
        ev->name = p->name;
        ev = next_event(ec, IR_EV_TOOL_ARGS, block);
        ev->part_kind = IR_TOOL_CALL;
        ev->text = p->args_raw;
        next_event(ec, IR_EV_BLOCK_END, block)->part_kind = IR_TOOL_CALL;
    }
    next_event(ec, IR_EV_FINISH, 0)->stop = stop_of(ec);
    next_event(ec, IR_EV_USAGE, 0)->usage = ec->usage;
    next_event(ec, IR_EV_END, 0);
}

static void on_timer(struct timer *t);

static void stream_some(struct echo *ec)
{
    struct relay *rl = ec->rl;
    while (ec->at < ec->n_events && !http_reply_is_full(rl->r)) {
        const struct ir_event *ev = &ec->events[ec->at++];
        if (ec->break_at && ec->at > ec->break_at) {
            struct err e = ERR_INIT;
            err_set(&e, ERR_UPSTREAM, "stream_cut", "upstream stream ended prematurely");
            stream_read_end(rl);
            relay_fail(rl, &e);
            return;
        }
        relay_on_ir_event(rl, ev);
        bool is_piece = ev->kind == IR_EV_TEXT || ev->kind == IR_EV_REASONING;
        if (is_piece && ec->pace_ms > 0) {
            stream_read_end(rl);
            timer_start(rl->env->loop, &ec->timer, (uint64_t)ec->pace_ms, on_timer);
            return;
        }
        if (rl->out.n > 65536)
            stream_read_end(rl);
    }
    stream_read_end(rl);
    if (ec->at == ec->n_events)
        relay_finish(rl);
}

static void answer_talk(struct echo *ec)
{
    struct relay *rl = ec->rl;
    if (!rl->is_stream) {
        reply_whole(ec);
        return;
    }
    rl->mode = REPLY_TRANSLATE;
    buf_init(&rl->out, 64u << 20);
    rl->enc = wire_of(rl->spec->client)->encoder_new(&rl->ctx);
    script_stream(ec);
    stream_some(ec);
}

/* ---- the other operations ---- */

static void reply_json(struct relay *rl, struct buf *b)
{
    if (buf_failed(b)) {
        struct err e = ERR_INIT;
        err_set(&e, ERR_TOO_LARGE, "reply_too_large",
                "The reply would be larger than max_reply_bytes");
        relay_fail(rl, &e);
        return;
    }
    rl->is_done = rl->is_ended = true;
    relay_reply_json(rl, 200, buf_str(b));
}

static void answer_media(struct relay *rl, struct jw *w)
{
    /* a PNG of one white pixel */
    static const char pixel[] = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mP8/"
                                "x8AAwMCAO+ip1sAAAAASUVORK5CYII=";
    jw_object(w);
    jw_kv_int(w, "created", clock_wall_ms() / 1000);
    jw_key(w, "data");
    jw_array(w);
    jw_object(w);
    jw_kv_cstr(w, "b64_json", pixel);
    jw_object_end(w);
    jw_array_end(w);
    jw_object_end(w);
    (void)rl;
}

/* A tenth of a second of silence: RIFF, PCM, mono, 8 kHz, 16 bit. */
static void answer_speech(struct relay *rl)
{
    enum {
        N = 1600
    };
    char *wav = arena_zalloc(rl->r->arena, 44 + N);
    static const unsigned char head[44] = {'R',
                                           'I',
                                           'F',
                                           'F',
                                           (36 + N) & 255,
                                           (36 + N) >> 8,
                                           0,
                                           0,
                                           'W',
                                           'A',
                                           'V',
                                           'E',
                                           'f',
                                           'm',
                                           't',
                                           ' ',
                                           16,
                                           0,
                                           0,
                                           0,
                                           1,
                                           0,
                                           1,
                                           0,
                                           0x40,
                                           0x1f,
                                           0,
                                           0,
                                           0x80,
                                           0x3e,
                                           0,
                                           0,
                                           2,
                                           0,
                                           16,
                                           0,
                                           'd',
                                           'a',
                                           't',
                                           'a',
                                           N & 255,
                                           N >> 8,
                                           0,
                                           0};
    memcpy(wav, head, sizeof head);
    struct http_header h[] = {{STR("content-type"), STR("audio/wav")},
                              {STR("x-request-id"), rl->id}};
    rl->is_done = rl->is_ended = rl->is_head_sent = true;
    rl->status = 200;
    http_reply(rl->r, 200, h, ARRAY_LEN(h), str_n(wav, 44 + N));
}

static void answer_moderation(struct relay *rl, yyjson_val *root, struct jw *w)
{
    yyjson_val *input = json_get(root, "input");
    size_t n = yyjson_is_arr(input) ? yyjson_arr_size(input) : 1;
    jw_object(w);
    jw_kv_str(w, "id", str_fmt(rl->r->arena, "modr-" STR_FMT, STR_ARG(rl->id)));
    jw_kv_str(w, "model", rl->target->model);
    jw_key(w, "results");
    jw_array(w);
    for (size_t i = 0; i < n; i++) {
        jw_object(w);
        jw_kv_bool(w, "flagged", false);
        jw_key(w, "categories");
        jw_object(w);
        jw_object_end(w);
        jw_key(w, "category_scores");
        jw_object(w);
        jw_object_end(w);
        jw_object_end(w);
    }
    jw_array_end(w);
    jw_object_end(w);
}

/* Score: the share of the query's byte pairs that the document holds, in one pass over each document.
 * Deterministic, and sane enough to try an integration. */
struct ranked {
    size_t index;
    double score;
};

struct pairs {
    uint16_t wanted[65536]; /* how often the query has this pair */
    uint32_t seen[65536];   /* the last document that had it, from 1 */
    size_t n;
};

static unsigned pair_at(struct str s, size_t i)
{
    return (unsigned)(unsigned char)s.p[i] << 8 | (unsigned char)s.p[i + 1];
}

static double overlap(struct pairs *p, uint32_t number, struct str doc)
{
    size_t hits = 0;
    for (size_t i = 0; i + 2 <= doc.n; i++) {
        unsigned at = pair_at(doc, i);
        if (p->wanted[at] && p->seen[at] != number)
            hits += p->wanted[at];
        p->seen[at] = number;
    }
    return p->n ? (double)hits / (double)p->n : 0;
}

static int by_score(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static bool answer_rerank(struct relay *rl, yyjson_val *root, struct jw *w, struct err *e)
{
    yyjson_val *docs = json_get(root, "documents"), *doc;
    struct str query = json_get_str(root, "query");
    size_t n = yyjson_arr_size(docs), i, max;
    if (query.n == 0)
        return err_field(e, "query", "'query' must be a non-empty string");
    if (!yyjson_is_arr(docs) || n == 0)
        return err_field(e, "documents", "'documents' must be a non-empty array");
    struct ranked *v = ARENA_ARRAY(rl->r->arena, struct ranked, n);
    struct pairs *p = ARENA_NEW(rl->r->arena, struct pairs);
    query = str_first(query, MAX_QUERY);
    for (i = 0; i + 2 <= query.n; i++, p->n++)
        p->wanted[pair_at(query, i)]++;
    yyjson_arr_foreach (docs, i, max, doc)
        v[i] = (struct ranked){
            i, overlap(p, (uint32_t)i + 1,
                       yyjson_is_obj(doc) ? json_get_str(doc, "text") : json_str(doc))};
    qsort(v, n, sizeof v[0], by_score);
    int64_t top = json_get_int(root, "top_n", (int64_t)n);
    jw_object(w);
    jw_kv_str(w, "model", rl->target->model);
    jw_key(w, "results");
    jw_array(w);
    for (int64_t k = 0; k < top && k < (int64_t)n; k++) {
        jw_object(w);
        jw_kv_int(w, "index", (int64_t)v[k].index);
        jw_key(w, "relevance_score");
        jw_double(w, v[k].score);
        jw_object_end(w);
    }
    jw_array_end(w);
    jw_object_end(w);
    return true;
}

static void answer_other(struct echo *ec)
{
    struct relay *rl = ec->rl;
    struct arena *a = rl->r->arena;
    struct err e = ERR_INIT;
    struct buf b;
    struct jw w;
    bool ok = true;
    buf_init_arena(&b, a, (size_t)rl->set->max_reply_bytes);
    w = jw_on(&b);
    if (rl->spec->shape == RELAY_COUNT) {
        count_locally(rl);
        return;
    }
    if (rl->spec->shape == RELAY_FORM) {
        if (rl->spec->op == OP_IMAGE_EDIT) {
            answer_media(rl, &w);
        } else {
            jw_object(&w);
            jw_kv_str(&w, "text",
                      str_fmt(a, "echo of %llu bytes", (unsigned long long)rl->r->bytes_in));
            jw_object_end(&w);
        }
        reply_json(rl, &b);
        return;
    }
    if (rl->spec->shape == RELAY_EMBED) {
        ok = embed_echo(rl, &b, &e);
    } else {
        yyjson_val *root = NULL;
        ok = json_parse(a, rl->body, (unsigned)rl->set->max_json_depth, &root, &e);
        if (ok && rl->spec->op == OP_SPEECH) {
            answer_speech(rl);
            return;
        }
        if (ok && rl->spec->op == OP_RERANK)
            ok = answer_rerank(rl, root, &w, &e);
        else if (ok && rl->spec->op == OP_MODERATE)
            answer_moderation(rl, root, &w);
        else if (ok && rl->spec->op == OP_IMAGE_GENERATE)
            answer_media(rl, &w);
        else if (ok)
            ok = err_set(&e, ERR_UNSUPPORTED, "unsupported_operation",
                         "The built-in 'echo' does not serve %s", op_name(rl->spec->op));
    }
    if (ok)
        reply_json(rl, &b);
    else
        relay_fail(rl, &e);
}

static void answer(struct echo *ec)
{
    struct relay *rl = ec->rl;
    if (ec->error_status) {
        struct err e = ERR_INIT;
        rl->up_status = ec->error_status;
        rl->last_status = ec->error_status;
        rl->last_body = STR_NONE;
        wire_read_error(rl->r->arena, ec->error_status, ec->error_text, &e);
        if (ec->error_text.n == 0)
            (void)snprintf(e.message, sizeof e.message, "echo was asked for HTTP %d",
                           ec->error_status);
        if (ec->error_status == 429)
            e.retry_after_ms = 1000;
        /* its errors are wishes of one request: the next one is served again */
        relay_attempt_failed(rl, &e, FAULT_CLIENT, -1);
        return;
    }
    if (rl->spec->shape == RELAY_TALK)
        answer_talk(ec);
    else
        answer_other(ec);
}

static void on_timer(struct timer *t)
{
    struct echo *ec = (struct echo *)(void *)((char *)t - offsetof(struct echo, timer));
    if (ec->rl->is_ended)
        return;
    if (ec->events)
        stream_some(ec);
    else
        answer(ec);
}

void echo_start(struct relay *rl)
{
    struct err e = ERR_INIT;
    struct echo *ec = ARENA_NEW(rl->r->arena, struct echo);
    ec->rl = rl;
    rl->echo = ec;
    rl->up = WIRE_NONE;
    rl->is_same = false;
    if (rl->spec->shape == RELAY_TALK) {
        if (!relay_load_ir(rl, &e)) {
            relay_fail(rl, &e);
            return;
        }
        rl->up = rl->spec->client;
        relay_ready_ctx(rl);
        read_conversation(ec, rl);
    }
    if (rl->form && !form_is_complete(rl))
        return; /* echo_form_complete goes on */
    if (ec->delay_ms > 0)
        timer_start(rl->env->loop, &ec->timer, (uint64_t)ec->delay_ms, on_timer);
    else
        answer(ec);
}

void echo_form_complete(struct relay *rl)
{
    if (!rl->is_ended)
        answer(rl->echo);
}

void echo_cancel(struct relay *rl)
{
    timer_stop(&rl->echo->timer);
}

void echo_drain(struct relay *rl)
{
    struct echo *ec = rl->echo;
    if (!rl->is_ended && ec->events && ec->at < ec->n_events && !timer_is_running(&ec->timer))
        stream_some(ec);
}
