/* Walks tests/golden (see its README): requests, replies, streams and errors of every format into every other.
 * Besides the expected texts each stream must keep its meaning on a way there and back. */
#include "unit.h"
#include "base/codec.h"
#include "wire/common.h"
#include "wire/framing.h"
#include "wire/wires.h"
#include <dirent.h>
#include <stdio.h>

#define NOW_MS 1700000000000
#define ROOT "tests/golden"
#define MAX_OUT (64u << 20)

struct golden {
    struct arena *a, *scratch;
    const struct wire *from;
    const char *dir;  /* of the case */
    yyjson_val *conf; /* ctx.json */
    unsigned checked, failed;
};

/* ---- files ---- */
static bool read_file(struct arena *a, const char *path, struct str *out)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    struct buf b;
    char chunk[65536];
    size_t n;
    buf_init_arena(&b, a, MAX_OUT);
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
        buf_add(&b, chunk, n);
    (void)fclose(f);
    *out = buf_str(&b);
    return true;
}

static const char *path_of(struct golden *g, const char *name)
{
    return str_z(g->a, str_fmt(g->a, "%s/%s", g->dir, name));
}

static bool case_file(struct golden *g, const char *name, struct str *out)
{
    return read_file(g->a, path_of(g, name), out);
}

static void differ(struct golden *g, const char *name, struct str expected, struct str actual)
{
    g->failed++;
    fprintf(stderr, "%s/%s\n  expected: " STR_FMT "\n  got:      " STR_FMT "\n", g->dir, name,
            STR_ARG(expected), STR_ARG(actual));
}

/* An expected file that is empty is filled in when GOLDEN_WRITE is set; it then waits to be read by a person. */
static bool fill_in(struct golden *g, const char *name, struct str expected, struct str actual)
{
    if (expected.n > 0 || !getenv("GOLDEN_WRITE"))
        return false;
    FILE *f = fopen(path_of(g, name), "wb");
    if (f) {
        (void)fwrite(actual.p, 1, actual.n, f);
        (void)fclose(f);
    }
    return true;
}

static yyjson_val *parse(struct golden *g, const char *name, struct str text)
{
    struct err e = ERR_INIT;
    yyjson_val *root = NULL;
    if (!json_parse(g->a, text, 0, &root, &e))
        differ(g, name, STR("JSON"), str_fmt(g->a, "%s: " STR_FMT, e.message, STR_ARG(text)));
    return root;
}

static void compare_json(struct golden *g, const char *name, struct str actual)
{
    struct str expected;
    if (!case_file(g, name, &expected))
        return;
    g->checked++;
    if (fill_in(g, name, expected, actual))
        return;
    yyjson_val *want = parse(g, name, expected), *got = parse(g, name, actual);
    if (want && got && !json_equal(want, got))
        differ(g, name, json_text(g->a, want), json_text(g->a, got));
}

/* ---- contexts ---- */
static struct wire_ctx make_ctx(struct golden *g, enum wire_id client, enum wire_id upstream)
{
    struct wire_ctx c;
    yyjson_val *v;
    size_t i, n;
    wire_ctx_init(&c, g->a);
    c.dropped_tail = NULL; /* the struct moves */
    c.scratch = g->scratch;
    c.client = client;
    c.upstream = upstream;
    c.now_ms = NOW_MS;
    c.seed = 1;
    c.upstream_model = json_get_str(g->conf, "upstream_model");
    c.shown_model = json_get_str(g->conf, "shown_model");
    c.max_output_tokens = json_get_int(g->conf, "max_output_tokens", -1);
    c.allow_hosted_tools = json_get_bool(g->conf, "allow_hosted_tools", false);
    c.is_continuation = json_get_bool(g->conf, "is_continuation", false);
    yyjson_arr_foreach (json_get(g->conf, "quirks"), i, n, v) {
        uint32_t bit = (uint32_t)word_value(wire_quirk_words, json_str(v), 0);
        ck_assert_msg(bit, "%s: no quirk " STR_FMT, g->dir, STR_ARG(json_str(v)));
        c.quirks |= bit;
    }
    return c;
}

/* The request a reply belongs to, where the case gives one; client_names are sent through the target's preparation. */
static void attach_request(struct golden *g, struct wire_ctx *c, const struct wire *client)
{
    yyjson_val *raw = json_get(json_get(g->conf, "client_request"), client->name);
    struct ir_request *req = ARENA_NEW(g->a, struct ir_request);
    struct err e = ERR_INIT;
    struct buf ignored;
    if (!raw || !client->read_request)
        return;
    ck_assert_msg(client->read_request(c, raw, req, &e), "%s: client_request: %s", g->dir,
                  e.message);
    c->req = req;
    buf_init_arena(&ignored, g->a, MAX_OUT);
    if (g->from->write_request)
        ck_assert_msg(g->from->write_request(c, req, &ignored, &e), "%s: client_request: %s",
                      g->dir, e.message);
}

/* ---- requests ---- */
static struct str dropped_text(struct golden *g, const struct wire_ctx *c)
{
    struct buf b;
    buf_init_arena(&b, g->a, MAX_OUT);
    for (const struct wire_dropped *d = c->dropped; d; d = d->next) {
        buf_str_add(&b, d->what);
        buf_char(&b, '\n');
    }
    return buf_str(&b);
}

static void compare_text(struct golden *g, const char *name, struct str actual)
{
    struct str expected;
    if (!case_file(g, name, &expected))
        return;
    g->checked++;
    if (!fill_in(g, name, expected, actual) && !str_eq(str_trim(expected), str_trim(actual)))
        differ(g, name, expected, actual);
}

static void check_request(struct golden *g, yyjson_val *root, const struct wire *to)
{
    struct wire_ctx c = make_ctx(g, g->from->id, to->id);
    struct ir_request req;
    struct err e = ERR_INIT;
    struct buf out;
    const char *json = str_z(g->a, str_fmt(g->a, "to-%s.json", to->name));
    const char *error = str_z(g->a, str_fmt(g->a, "to-%s.error", to->name));
    const char *dropped = str_z(g->a, str_fmt(g->a, "dropped-%s.txt", to->name));
    buf_init_arena(&out, g->a, MAX_OUT);
    c.req = &req;
    bool ok = g->from->read_request(&c, root, &req, &e);
    c.is_stream = req.is_stream;
    ok = ok && to->write_request(&c, &req, &out, &e);
    struct str ignored;
    if (ok) {
        (void)parse(g, json, buf_str(&out)); /* always JSON, expected or not */
        compare_json(g, json, buf_str(&out));
        compare_text(g, dropped, dropped_text(g, &c));
        if (case_file(g, error, &ignored))
            differ(g, error, ignored, STR("it was accepted"));
        return;
    }
    compare_text(g, error, str_fmt(g->a, "%s %s", err_kind_name(e.kind), e.field));
    if (case_file(g, json, &ignored))
        differ(g, json, STR("no error"), str_of(e.message));
}

/* ---- replies ---- */
static void check_reply(struct golden *g, yyjson_val *root, const struct wire *to)
{
    struct wire_ctx c = make_ctx(g, to->id, g->from->id);
    struct ir_response res;
    struct err e = ERR_INIT;
    struct buf out;
    const char *json = str_z(g->a, str_fmt(g->a, "reply-%s.json", to->name));
    struct str ignored;
    attach_request(g, &c, to);
    buf_init_arena(&out, g->a, MAX_OUT);
    if (!g->from->read_response(&c, root, &res, &e)) {
        compare_text(g, str_z(g->a, str_fmt(g->a, "reply-%s.error", to->name)),
                     str_fmt(g->a, "%s %s", err_kind_name(e.kind), e.message));
        if (case_file(g, json, &ignored))
            differ(g, json, STR("no error"), str_of(e.message));
        return;
    }
    to->write_response(&c, &res, &out);
    (void)parse(g, json, buf_str(&out));
    compare_json(g, json, buf_str(&out));
}

/* ---- streams ---- */
struct pump {
    struct golden *g;
    const struct wire *from, *to; /* to NULL: events only go to the collector */
    struct wire_ctx *c;
    void *dec, *enc;
    struct buf out;
    struct ir_collector *collector;
    unsigned ends, open[FLOW_CHOICES], next[FLOW_CHOICES];
    bool is_open[FLOW_CHOICES];
};

/* The grammar of events: blocks sequential and dense, END once and last. */
static void on_event(void *arg, const struct ir_event *ev)
{
    struct pump *p = arg;
    ck_assert_msg(p->ends == 0, "%s: an event behind END", p->g->dir);
    if (ev->kind == IR_EV_BLOCK_START) {
        ck_assert_msg(!p->is_open[ev->choice], "%s: a block inside a block", p->g->dir);
        ck_assert_uint_eq(ev->block, p->next[ev->choice]++);
        p->is_open[ev->choice] = true;
        p->open[ev->choice] = ev->block;
    } else if (ev->kind == IR_EV_BLOCK_END) {
        ck_assert_msg(p->is_open[ev->choice] && p->open[ev->choice] == ev->block,
                      "%s: an end without a start", p->g->dir);
        p->is_open[ev->choice] = false;
    } else if (ev->kind == IR_EV_TEXT || ev->kind == IR_EV_REASONING ||
               ev->kind == IR_EV_TOOL_ARGS) {
        ck_assert_msg(p->is_open[ev->choice] && p->open[ev->choice] == ev->block,
                      "%s: content outside its block", p->g->dir);
    }
    p->ends += ev->kind == IR_EV_END;
    if (p->collector)
        ir_collect(p->collector, ev);
    if (p->to)
        p->to->encoder_push(p->enc, ev, &p->out);
}

static bool on_frame(void *arg, struct str event, struct str data, struct err *e)
{
    struct pump *p = arg;
    bool ok = p->from->decoder_push(p->dec, event, data, on_event, p, e);
    arena_reset(p->g->scratch);
    return ok;
}

static struct pump *pump_new(struct golden *g, struct wire_ctx *c, const struct wire *from,
                             const struct wire *to)
{
    struct pump *p = ARENA_NEW(g->a, struct pump);
    p->g = g;
    p->from = from;
    p->to = to;
    p->c = c;
    p->dec = from->decoder_new(c);
    p->enc = to ? to->encoder_new(c) : NULL;
    p->collector = ir_collector_new(c);
    buf_init_arena(&p->out, g->a, MAX_OUT);
    return p;
}

static void pump_run(struct pump *p, enum framing framing, struct str bytes, size_t piece)
{
    struct err e = ERR_INIT;
    struct framing_reader *r = framing_reader_new(framing, 16u << 20, on_frame, p);
    bool ok = true;
    for (struct str rest = bytes; ok && rest.n > 0; rest = str_skip(rest, piece))
        ok = framing_push(r, str_first(rest, piece), &e);
    ok = ok && framing_finish(r, &e);
    framing_reader_done(r);
    if (!ok && p->ends == 0) { /* as the relay does: the client is told */
        on_event(p, &(struct ir_event){.kind = IR_EV_ERROR, .error = &e});
        on_event(p, &(struct ir_event){.kind = IR_EV_END});
        return;
    }
    p->from->decoder_end(p->dec, on_event, p);
    ck_assert_msg(p->ends == 1, "%s: %u ENDs", p->g->dir, p->ends);
}

struct frame {
    struct frame *next;
    struct str event, data;
};
struct frames {
    struct arena *a;
    struct frame *first, *last;
};

static bool note_frame(void *arg, struct str event, struct str data, struct err *e)
{
    struct frames *list = arg;
    struct frame *f = ARENA_NEW(list->a, struct frame);
    (void)e;
    f->event = str_dup(list->a, event);
    f->data = str_dup(list->a, data);
    if (list->last)
        list->last->next = f;
    else
        list->first = f;
    list->last = f;
    return true;
}

static struct frame *frames_of(struct golden *g, enum framing framing, struct str bytes)
{
    struct frames list = {.a = g->a};
    struct err e = ERR_INIT;
    struct framing_reader *r = framing_reader_new(framing, 16u << 20, note_frame, &list);
    bool ok = framing_push(r, bytes, &e) && framing_finish(r, &e);
    framing_reader_done(r);
    ck_assert_msg(ok, "%s: %s", g->dir, e.message);
    return list.first;
}

static bool is_same_data(struct golden *g, struct str a, struct str b)
{
    yyjson_val *x, *y;
    if (str_eq(a, b))
        return true;
    return json_parse(g->a, a, 0, &x, NULL) && json_parse(g->a, b, 0, &y, NULL) && json_equal(x, y);
}

static void compare_stream(struct golden *g, const char *name, enum framing framing,
                           struct str actual)
{
    struct str expected;
    if (!case_file(g, name, &expected))
        return;
    g->checked++;
    if (fill_in(g, name, expected, actual))
        return;
    struct frame *want = frames_of(g, framing, expected), *got = frames_of(g, framing, actual);
    for (; want && got; want = want->next, got = got->next)
        if (!str_eq(want->event, got->event) || !is_same_data(g, want->data, got->data)) {
            differ(g, name, want->data, got->data);
            return;
        }
    if (want || got)
        differ(g, name, want ? want->data : STR("(end)"), got ? got->data : STR("(end)"));
}

/* ---- meaning: what must survive any way through the formats ---- */
static struct str texts_of(struct arena *a, const struct ir_message *m, enum ir_part_kind kind)
{
    struct buf b;
    buf_init_arena(&b, a, MAX_OUT);
    for (const struct ir_part *p = m->parts.first; p; p = p->next)
        if (p->kind == kind || (kind == IR_TEXT && p->kind == IR_REFUSAL))
            buf_str_add(&b, p->text);
    return buf_str(&b);
}

static struct str calls_of(struct arena *a, const struct ir_message *m)
{
    struct buf b;
    buf_init_arena(&b, a, MAX_OUT);
    for (const struct ir_part *p = m->parts.first; p; p = p->next) {
        yyjson_val *args;
        if (p->kind != IR_TOOL_CALL || p->call_kind != IR_CALL_FUNCTION)
            continue;
        struct str text = wire_args_object(a, p->args_raw, IR_CALL_FUNCTION);
        ck_assert(json_parse(a, text, 0, &args, NULL));
        buf_fmt(&b, STR_FMT "(" STR_FMT ")\n", STR_ARG(p->name), STR_ARG(json_text(a, args)));
    }
    return buf_str(&b);
}

static const char *stop_class(enum ir_stop stop)
{
    return stop == IR_STOP_LENGTH ? "length" : stop == IR_STOP_TOOL ? "tool" : "stop";
}

static void same_meaning(struct golden *g, const char *how, const struct wire *via,
                         const struct ir_response *a, const struct ir_response *b)
{
    static const struct ir_choice none;
    const struct ir_choice *x = a->choices ? a->choices : &none,
                           *y = b->choices ? b->choices : &none;
    const char *name = str_z(g->a, str_fmt(g->a, "(%s via %s)", how, via->name));
    const struct {
        struct str before, after;
    } pairs[] = {
        {texts_of(g->a, &x->message, IR_TEXT), texts_of(g->a, &y->message, IR_TEXT)},
        {calls_of(g->a, &x->message), calls_of(g->a, &y->message)},
        {str_of(stop_class(x->stop)), str_of(stop_class(y->stop))},
    };
    g->checked++;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        if (!str_eq(pairs[i].before, pairs[i].after))
            differ(g, name, pairs[i].before, pairs[i].after);
    if (a->usage.input_total >= 0 && (a->usage.input_total != b->usage.input_total ||
                                      a->usage.output_total != b->usage.output_total))
        differ(g, name,
               str_fmt(g->a, "usage %lld/%lld", (long long)a->usage.input_total,
                       (long long)a->usage.output_total),
               str_fmt(g->a, "usage %lld/%lld", (long long)b->usage.input_total,
                       (long long)b->usage.output_total));
}

static void check_meaning(struct golden *g, struct pump *p, const struct wire *to)
{
    struct wire_ctx there = make_ctx(g, to->id, g->from->id), back = make_ctx(g, to->id, to->id);
    struct ir_response direct, again;
    struct err e = ERR_INIT;
    struct buf body;
    yyjson_val *root;
    there.quirks = back.quirks = 0;
    if (!ir_collected(p->collector, &direct, &e) || to->id >= WIRE_COMPLETIONS)
        return;
    struct pump *q = pump_new(g, &back, to, NULL);
    pump_run(q, to->framing, buf_str(&p->out), SIZE_MAX);
    if (!ir_collected(q->collector, &again, &e)) {
        differ(g, "(stream there and back)", str_of(to->name), str_of(e.message));
        return;
    }
    same_meaning(g, "stream", to, &direct, &again);
    buf_init_arena(&body, g->a, MAX_OUT);
    to->write_response(&there, &direct, &body);
    root = parse(g, "(reply there and back)", buf_str(&body));
    if (!root || !to->read_response(&back, root, &again, &e)) {
        differ(g, "(reply there and back)", str_of(to->name), str_of(e.message));
        return;
    }
    same_meaning(g, "reply", to, &direct, &again);
}

static void check_stream(struct golden *g, enum framing framing, struct str bytes,
                         const struct wire *to)
{
    static const size_t pieces[] = {SIZE_MAX, 1, 7};
    struct str whole = STR_NONE;
    const char *end = to->framing == FRAMING_NDJSON ? "ndjson" : "sse";
    const char *name = str_z(g->a, str_fmt(g->a, "client-%s.%s", to->name, end));
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct wire_ctx *c = ARENA_NEW(g->a, struct wire_ctx);
        *c = make_ctx(g, to->id, g->from->id);
        c->is_stream = true;
        attach_request(g, c, to);
        struct pump *p = pump_new(g, c, g->from, to);
        pump_run(p, framing, bytes, pieces[i]);
        if (i == 0) {
            whole = buf_str(&p->out);
            compare_stream(g, name, to->framing, whole);
            if (!c->req) /* renames and custom tools are the request's */
                check_meaning(g, p, to);
        } else if (!str_eq(whole, buf_str(&p->out))) {
            differ(g, name, whole, buf_str(&p->out));
        }
    }
}

/* ---- errors ---- */
static void check_error(struct golden *g, struct str body, const struct wire *to)
{
    struct err e = ERR_INIT;
    struct buf out;
    buf_init_arena(&out, g->a, MAX_OUT);
    wire_read_error(g->a, (int)json_get_int(g->conf, "status", 500), body, &e);
    to->write_error(&e, STR("req_1"), &out);
    compare_json(g, str_z(g->a, str_fmt(g->a, "error-%s.json", to->name)), buf_str(&out));
}

/* ---- the walk ---- */
enum what {
    REQUESTS,
    REPLIES,
    STREAMS,
    ERRORS
};

static void check_case_for(struct golden *g, enum what what, const struct wire *to)
{
    struct str text;
    switch (what) {
    case REQUESTS:
        if (to->write_request && case_file(g, "request.json", &text)) {
            yyjson_val *root = parse(g, "request.json", text);
            if (root)
                check_request(g, root, to);
        }
        break;
    case REPLIES:
        if (case_file(g, "response.json", &text)) {
            yyjson_val *root = parse(g, "response.json", text);
            if (root)
                check_reply(g, root, to);
        }
        break;
    case STREAMS:
        if (case_file(g, "upstream.sse", &text))
            check_stream(g, FRAMING_SSE, text, to);
        else if (case_file(g, "upstream.ndjson", &text))
            check_stream(g, FRAMING_NDJSON, text, to);
        else if (case_file(g, "upstream.json", &text))
            check_stream(g, FRAMING_JSON_ARRAY, text, to);
        break;
    case ERRORS:
        if (case_file(g, "error.json", &text))
            check_error(g, text, to);
        break;
    }
}

static void check_case(struct golden *g, enum what what)
{
    struct str conf;
    g->conf = case_file(g, "ctx.json", &conf) ? parse(g, "ctx.json", conf) : NULL;
    for (int id = WIRE_NONE + 1; id < WIRE_N; id++)
        if (wire_of((enum wire_id)id))
            check_case_for(g, what, wire_of((enum wire_id)id));
}

static int is_shown(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static size_t list_dir(struct arena *a, const char *path, struct str *names, size_t max)
{
    struct dirent **found = NULL;
    int n = scandir(path, &found, is_shown, alphasort);
    size_t taken = 0;
    for (int i = 0; i < n; i++) {
        if (taken < max)
            names[taken++] = str_dup(a, str_of(found[i]->d_name));
        free(found[i]);
    }
    free(found);
    return taken;
}

static void walk(enum what what)
{
    struct arena *names_arena = arena_new();
    struct str formats[16], cases[512];
    unsigned checked = 0, failed = 0;
    size_t n_formats = list_dir(names_arena, ROOT, formats, ARRAY_LEN(formats));
    for (size_t i = 0; i < n_formats; i++) {
        const struct wire *from = wire_by_name(formats[i]);
        if (!from)
            continue;
        size_t n = list_dir(
            names_arena,
            str_z(names_arena, str_fmt(names_arena, ROOT "/" STR_FMT, STR_ARG(formats[i]))), cases,
            ARRAY_LEN(cases));
        for (size_t k = 0; k < n; k++) {
            struct golden g = {.a = arena_new(), .scratch = arena_new(), .from = from};
            g.dir = str_z(g.a, str_fmt(g.a, ROOT "/" STR_FMT "/" STR_FMT, STR_ARG(formats[i]),
                                       STR_ARG(cases[k])));
            check_case(&g, what);
            checked += g.checked;
            failed += g.failed;
            arena_free(g.scratch);
            arena_free(g.a);
        }
    }
    arena_free(names_arena);
    ck_assert_msg(checked > 0, "no case was found: run from the top of the checkout");
    ck_assert_msg(failed == 0, "%u of %u expectations are not met", failed, checked);
}

START_TEST(requests_become_what_each_upstream_expects)
{
    walk(REQUESTS);
}
END_TEST

START_TEST(replies_become_what_each_client_expects)
{
    walk(REPLIES);
}
END_TEST

START_TEST(streams_become_what_each_client_expects)
{
    walk(STREAMS);
}
END_TEST

START_TEST(errors_become_what_each_client_expects)
{
    walk(ERRORS);
}
END_TEST

UNIT_MAIN("golden", requests_become_what_each_upstream_expects,
          replies_become_what_each_client_expects, streams_become_what_each_client_expects,
          errors_become_what_each_client_expects)
