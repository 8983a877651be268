/* edit.c - a body of the same format: the received bytes with a few spans replaced, everything else untouched. */
#include "relay/request.h"
#include <stdlib.h>

struct splice {
    size_t at, n;
    struct str with;
};

struct splices {
    struct arena *arena;
    struct splice *v; /* at first `few`: most bodies need no more */
    size_t n, cap;
    struct splice few[8];
};

static void add_splice(struct splices *s, size_t at, size_t n, struct str with)
{
    if (s->n == s->cap) {
        size_t cap = s->cap * 2;
        struct splice *v = ARENA_ARRAY(s->arena, struct splice, cap);
        memcpy(v, s->v, s->n * sizeof *v);
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n++] = (struct splice){at, n, with};
}

static int by_place(const void *a, const void *b)
{
    const struct splice *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

static bool apply(struct arena *a, struct str body, struct splices *s, struct str *out,
                  struct err *e)
{
    *out = body;
    if (s->n == 0)
        return true;
    if (s->n > 1)
        qsort(s->v, s->n, sizeof s->v[0], by_place);
    size_t total = body.n;
    for (size_t i = 0; i < s->n; i++)
        total = total - s->v[i].n + s->v[i].with.n;
    char *p = arena_try_realloc(a, NULL, 0, total + 1), *w = p;
    if (!p)
        return err_no_memory(e);
    size_t from = 0;
    for (size_t i = 0; i < s->n; i++) {
        memcpy(w, body.p + from, s->v[i].at - from);
        w += s->v[i].at - from;
        if (s->v[i].with.n)
            memcpy(w, s->v[i].with.p, s->v[i].with.n);
        w += s->v[i].with.n;
        from = s->v[i].at + s->v[i].n;
    }
    memcpy(w, body.p + from, body.n - from);
    *out = str_n(p, total);
    return true;
}

static struct str quoted(struct arena *a, struct str s)
{
    struct buf b;
    buf_init_arena(&b, a, s.n * 6 + 16);
    buf_char(&b, '"');
    json_escape(&b, s);
    buf_char(&b, '"');
    return buf_str(&b);
}

/* "role":"developer" cannot stand inside a JSON string unescaped, so the raw search is safe. */
static void developer_to_system(struct splices *s, struct str body, struct json_span messages)
{
    size_t at = messages.at, end = messages.at + messages.n;
    while (at < end) {
        at += find_bytes(str_n(body.p + at, end - at), STR("\"developer\""));
        if (at >= end)
            return;
        size_t back = at;
        while (back > messages.at && strchr(" \t\r\n:", body.p[back - 1]))
            back--;
        if (back >= messages.at + 6 && memcmp(body.p + back - 6, "\"role\"", 6) == 0)
            add_splice(s, at, 11, STR("\"system\""));
        at += 11;
    }
}

struct model_edit {
    struct splices *s;
    struct str with;
};

/* What is done to a body as it came. Of some the request is written anew, where it has what they are about: edit_rewrites(). */
#define EDITED_QUIRKS (QUIRK_MAX_TOKENS_OLD | QUIRK_MAX_TOKENS_NEW | QUIRK_REASONING_SPLIT)

enum {
    MODEL,
    OPTIONS,
    NEW_MAX,
    OLD_MAX,
    MESSAGES,
    THINKING,
    SPLIT,
    N_WANT
};

static void on_member(void *arg, size_t which, const struct json_span *span)
{
    struct model_edit *m = arg;
    if (which == MODEL)
        add_splice(m->s, span->at, span->n, m->with);
}

/* {"include_usage":false,…} with the other members kept. */
static struct str with_usage_asked(struct arena *a, struct str options)
{
    yyjson_val *v;
    struct buf b;
    buf_init_arena(&b, a, options.n + 64);
    struct jw w = jw_on(&b);
    jw_object(&w);
    if (json_parse(a, options, 0, &v, NULL) && yyjson_is_obj(v)) {
        size_t i, max;
        yyjson_val *k, *m;
        yyjson_obj_foreach (v, i, max, k, m) {
            if (str_is(json_str(k), "include_usage"))
                continue;
            jw_key_str(&w, json_str(k));
            jw_val(&w, m);
        }
    }
    jw_kv_bool(&w, "include_usage", true);
    jw_object_end(&w);
    return buf_str(&b);
}

/* ---- the maximum that a budget gives ---- */

struct maximum {
    struct splices *s;
    size_t offset;
    struct str with;
};

static void on_maximum(void *arg, size_t which, const struct json_span *span)
{
    struct maximum *m = arg;
    (void)which;
    add_splice(m->s, m->offset + span->at, span->n, m->with);
}

/* Sets a member of the object at `offset`, in the place of every member of these names (null, or what asks for no maximum), else of the
 * first name behind all others. */
static bool set_maximum(struct relay *rl, struct splices *s, struct str object, size_t offset,
                        const char *const *names, struct str value, struct err *e)
{
    struct json_want want[2] = {{.key = names[0]}, {.key = names[1] ? names[1] : names[0]}};
    struct maximum m = {s, offset, value};
    struct json_scan scan;
    if (!json_scan_members(object, want, names[1] ? 2 : 1, (unsigned)rl->set->max_json_depth,
                           on_maximum, &m, &scan, e))
        return false;
    if (want[0].count + want[1].count == 0)
        add_splice(s, offset + scan.close, 0,
                   str_fmt(rl->body_arena, "%s\"%s\":" STR_FMT, scan.is_empty ? "" : ",", names[0],
                           STR_ARG(value)));
    return true;
}

/* The same inside a member that is an object itself; what else it may be is replaced by one. */
static bool set_maximum_in(struct relay *rl, struct splices *s, const char *const *outer,
                           const char *const *names, struct str value, struct err *e)
{
    struct str body = rl->body;
    struct json_want want[2] = {{.key = outer[0]}, {.key = outer[1] ? outer[1] : outer[0]}};
    struct json_scan scan;
    if (!json_scan_object(body, want, outer[1] ? 2 : 1, (unsigned)rl->set->max_json_depth, &scan,
                          e))
        return false;
    const struct json_span *at = &want[want[0].count == 0 && want[1].count > 0].span;
    if (at->n > 0 && body.p[at->at] == '{')
        return set_maximum(rl, s, str_n(body.p + at->at, at->n), at->at, names, value, e);
    return set_maximum(rl, s, body, 0, outer,
                       str_fmt(rl->body_arena, "{\"%s\":" STR_FMT "}", names[0], STR_ARG(value)),
                       e);
}

static bool give_maximum(struct relay *rl, const struct upstream *u, struct splices *s,
                         struct err *e)
{
    static const char *const
        chat_old[] = {"max_tokens", "max_completion_tokens"},
        *const chat[] = {"max_completion_tokens", "max_tokens"},
        *const older[] = {"max_tokens", NULL}, *const responses[] = {"max_output_tokens", NULL},
        *const config[] = {"generationConfig", "generation_config"},
        *const google[] = {"maxOutputTokens", "max_output_tokens"},
        *const options[] = {"options", NULL}, *const ollama[] = {"num_predict", NULL};
    struct str value = str_fmt(rl->body_arena, "%lld", (long long)rl->given_output);
    switch (rl->up) {
    case WIRE_CHAT:
        return set_maximum(rl, s, rl->body, 0, u->quirks & QUIRK_MAX_TOKENS_OLD ? chat_old : chat,
                           value, e);
    case WIRE_COMPLETIONS:
    case WIRE_ANTHROPIC:
        return set_maximum(rl, s, rl->body, 0, older, value, e);
    case WIRE_RESPONSES:
        return set_maximum(rl, s, rl->body, 0, responses, value, e);
    case WIRE_GEMINI:
        return set_maximum_in(rl, s, config, google, value, e);
    case WIRE_OLLAMA:
    case WIRE_OLLAMA_GENERATE:
        return set_maximum_in(rl, s, options, ollama, value, e);
    case WIRE_NONE:
    case WIRE_N:
        break;
    }
    return true;
}

#define MAX_STRIP 32 /* fields of one kind's row */

struct strip {
    struct buf out;
    struct str body;
    size_t at; /* read so far */
};

static size_t skip_space(struct str s, size_t at)
{
    while (at < s.n && (s.p[at] == ' ' || s.p[at] == '\t' || s.p[at] == '\r' || s.p[at] == '\n'))
        at++;
    return at;
}

/* Leaves a member out with the comma that belongs to it, in one pass however often it stands there. */
static void on_stripped(void *arg, size_t which, const struct json_span *span)
{
    struct strip *s = arg;
    size_t from = span->key_at - 1, after = skip_space(s->body, span->at + span->n);
    (void)which;
    buf_add(&s->out, s->body.p + s->at, from - s->at);
    s->at = span->at + span->n;
    if (after < s->body.n && s->body.p[after] == ',') {
        s->at = after + 1;
        return;
    }
    /* the last member: the comma before it goes, if one was kept */
    size_t n = s->out.n;
    while (n > 0 && (s->out.p[n - 1] == ' ' || s->out.p[n - 1] == '\t' || s->out.p[n - 1] == '\r' ||
                     s->out.p[n - 1] == '\n'))
        n--;
    if (n > 0 && s->out.p[n - 1] == ',')
        s->out.n = n - 1;
}

static bool strip_fields(struct relay *rl, const char *const *strip, bool is_loss, struct str *body,
                         struct err *e)
{
    struct json_want want[MAX_STRIP];
    struct json_scan scan;
    size_t n = 0, found = 0;
    for (; strip && strip[n] && n < MAX_STRIP; n++)
        want[n] = (struct json_want){.key = strip[n]};
    if (n == 0)
        return true;
    if (!json_scan_object(*body, want, n, (unsigned)rl->set->max_json_depth, &scan, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        found += want[i].count;
        if (want[i].count && is_loss && strcmp(strip[i], "stream_options") != 0)
            relay_note_dropped(rl, "refused by the upstream", strip[i]);
        want[i] = (struct json_want){.key = strip[i]};
    }
    if (found == 0) /* most bodies */
        return true;
    struct strip s = {.body = *body};
    buf_init_arena(&s.out, rl->body_arena, body->n + 1);
    if (!buf_reserve(&s.out, body->n))
        return err_no_memory(e);
    if (!json_scan_members(*body, want, n, (unsigned)rl->set->max_json_depth, on_stripped, &s,
                           &scan, e))
        return false;
    buf_add(&s.out, body->p + s.at, body->n - s.at);
    *body = buf_str(&s.out);
    return true;
}

static size_t count_of(struct str text, struct str what)
{
    size_t n = 0;
    for (size_t at = 0; (at += find_bytes(str_skip(text, at), what)) < text.n; at += what.n)
        n++;
    return n;
}

/* Quoted words that a string cannot hold unescaped: what is not found is not there. What is found may be a value of something else;
 * then the request is written anew without need. */
bool edit_rewrites(const struct relay *rl, const struct target *t)
{
    static const struct {
        uint32_t quirk;
        struct str words[2];
    } rows[] = {
        {QUIRK_NO_SYSTEM_ROLE, {STR_INIT("\"system\""), STR_INIT("\"developer\"")}},
        {QUIRK_ID_9, {STR_INIT("\"tool_calls\""), STR_INIT("\"tool_call_id\"")}},
        {QUIRK_NO_REASONING_HISTORY,
         {STR_INIT("\"reasoning_content\""), STR_INIT("\"reasoning\"")}},
        {QUIRK_NO_FILES, {STR_INIT("\"file\""), STR_INIT("\"file\"")}},
        {QUIRK_SCHEMA_INLINE_REFS, {STR_INIT("\"$ref\""), STR_INIT("\"$defs\"")}},
    };
    uint32_t quirks = t->quirks;
    if (rl->up != WIRE_CHAT || rl->spec->op != OP_CHAT)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t k = 0; (quirks & rows[i].quirk) && k < ARRAY_LEN(rows[i].words); k++)
            if (find_bytes(rl->body, rows[i].words[k]) < rl->body.n)
                return true;
    return (quirks & QUIRK_REASONING_REPLAY) &&
           count_of(rl->body, STR("\"tool_calls\"")) >
               count_of(rl->body, STR("\"reasoning_content\""));
}

/* Fields that the upstream refuses, of its row and by its quirks. Those that were there are noted. */
static bool strip_refused(struct relay *rl, const struct target *t, uint32_t quirks,
                          struct str *body, struct err *e)
{
    static const struct {
        uint32_t quirk;
        const char *field;
    } rows[] = {{QUIRK_NO_STREAM_OPTIONS, "stream_options"},
                {QUIRK_NO_PARALLEL_FIELD, "parallel_tool_calls"},
                {QUIRK_NO_REASONING_EFFORT, "reasoning_effort"}};
    const char *fields[MAX_STRIP + 1];
    size_t n = 0;
    for (const char *const *s = t->upstream->strip; s && *s && n < MAX_STRIP; s++)
        fields[n++] = *s;
    bool is_chat = rl->up == WIRE_CHAT && rl->spec->op == OP_CHAT;
    for (size_t i = 0; is_chat && i < ARRAY_LEN(rows); i++) {
        size_t k = 0;
        while (k < n && strcmp(fields[k], rows[i].field) != 0)
            k++;
        if ((quirks & rows[i].quirk) && k == n && n < MAX_STRIP)
            fields[n++] = rows[i].field;
    }
    fields[n] = NULL;
    return strip_fields(rl, fields, true, body, e);
}

bool edit_body(struct relay *rl, const struct target *t, struct str *out, struct err *e)
{
    const struct upstream *u = t->upstream;
    struct arena *a = rl->body_arena;
    struct str body = rl->body;
    struct splices s = {.arena = a, .cap = ARRAY_LEN(s.few)};
    bool is_chat = rl->up == WIRE_CHAT;
    uint32_t quirks = is_chat ? t->quirks : u->quirks;
    bool is_path_model = rl->path_model.n > 0;
    bool changes_model = !is_path_model && (rl->is_extended || !str_eq(t->model, rl->model));
    bool has_quirks = is_chat && ((quirks & EDITED_QUIRKS) || !(quirks & QUIRK_DEVELOPER_ROLE));
    bool may_tell = (is_chat && rl->spec->op == OP_CHAT) || rl->up == WIRE_COMPLETIONS;
    bool adds_usage = may_tell && rl->is_stream && !(quirks & QUIRK_NO_STREAM_OPTIONS) &&
                      !rl->tells_usage;
    rl->strip_usage = adds_usage && !rl->asked_usage;
    s.v = s.few;

    if (!has_quirks && !adds_usage) {
        if (changes_model && rl->model_want.count == 1)
            add_splice(&s, rl->model_want.span.at, rl->model_want.span.n, quoted(a, t->model));
    } else {
        struct json_want want[N_WANT] = {
            {.key = "model"},          {.key = "stream_options"}, {.key = "max_completion_tokens"},
            {.key = "max_tokens"},     {.key = "messages"},       {.key = "thinking"},
            {.key = "reasoning_split"}};
        struct model_edit m = {&s, quoted(a, t->model)};
        struct json_scan scan;
        if (!json_scan_members(body, want, N_WANT, (unsigned)rl->set->max_json_depth,
                               changes_model ? on_member : NULL, &m, &scan, e))
            return false;
        if (has_quirks && (quirks & QUIRK_MAX_TOKENS_OLD) && want[NEW_MAX].count == 1 &&
            want[OLD_MAX].count == 0)
            add_splice(&s, want[NEW_MAX].span.key_at, want[NEW_MAX].span.key_n, STR("max_tokens"));
        if (has_quirks && (quirks & QUIRK_MAX_TOKENS_NEW) && want[OLD_MAX].count == 1 &&
            want[NEW_MAX].count == 0)
            add_splice(&s, want[OLD_MAX].span.key_at, want[OLD_MAX].span.key_n,
                       STR("max_completion_tokens"));
        if (has_quirks && (quirks & QUIRK_REASONING_SPLIT) && want[THINKING].count > 0 &&
            want[SPLIT].count == 0)
            add_splice(&s, want[THINKING].span.key_at - 1, 0, STR("\"reasoning_split\":true,"));
        if (has_quirks && !(quirks & QUIRK_DEVELOPER_ROLE) && want[MESSAGES].count == 1)
            developer_to_system(&s, body, want[MESSAGES].span);
        if (adds_usage && want[OPTIONS].count > 0)
            add_splice(
                &s, want[OPTIONS].span.at, want[OPTIONS].span.n,
                with_usage_asked(a, str_n(body.p + want[OPTIONS].span.at, want[OPTIONS].span.n)));
        else if (adds_usage)
            add_splice(&s, scan.close, 0,
                       scan.is_empty ? STR("\"stream_options\":{\"include_usage\":true}")
                                     : STR(",\"stream_options\":{\"include_usage\":true}"));
    }
    if (rl->given_output > 0 && rl->spec->shape == RELAY_TALK && !give_maximum(rl, u, &s, e))
        return false;
    static const char *const ours[] = {"previous_response_id", NULL};
    return apply(a, body, &s, out, e) && strip_refused(rl, t, quirks, out, e) &&
           (!responses_is_continuation(rl) ||
            (strip_fields(rl, ours, false, out, e) && responses_leave_out_thoughts(rl, t, out, e)));
}

/* Raw bytes: a quoted name with a colon behind it stands in no string. Replies that have the new name already keep both. */
void edit_reasoning(struct str bytes, void (*put)(void *arg, struct str bytes), void *arg)
{
    const struct str old = STR("\"reasoning\"");
    if (find_bytes(bytes, STR("\"reasoning_conte")) < bytes.n) {
        put(arg, bytes);
        return;
    }
    for (;;) {
        size_t at = find_bytes(bytes, old);
        if (at == bytes.n)
            break;
        size_t after = skip_space(bytes, at + old.n);
        bool is_name = after < bytes.n && bytes.p[after] == ':';
        put(arg, str_first(bytes, at));
        put(arg, is_name ? STR("\"reasoning_content\"") : old);
        bytes = str_skip(bytes, at + old.n);
    }
    put(arg, bytes);
}

/* Where a reply, or one event of a stream, tells the model: at its top, or in what an event says of the whole. */
static bool model_at(struct str json, unsigned max_depth, struct json_span *out)
{
    enum {
        AT_MODEL,
        AT_VERSION,
        IN_MESSAGE,
        IN_RESPONSE,
        PLACES
    };
    struct json_want want[PLACES] = {
        {.key = "model"}, {.key = "modelVersion"}, {.key = "message"}, {.key = "response"}};
    struct json_want inner = {.key = "model"};
    struct json_scan scan;
    if (!json_scan_object(json, want, PLACES, max_depth, &scan, NULL))
        return false;
    for (int i = AT_MODEL; i < PLACES; i++) {
        struct str value = str_n(json.p + want[i].span.at, want[i].span.n);
        if (i <= AT_VERSION && want[i].count && value.p[0] == '"') {
            *out = want[i].span;
            return true;
        }
        if (i > AT_VERSION && want[i].count && value.p[0] == '{' &&
            json_scan_object(value, &inner, 1, max_depth, &scan, NULL) && inner.count &&
            value.p[inner.span.at] == '"') {
            *out = inner.span;
            out->at += want[i].span.at;
            return true;
        }
    }
    return false;
}

struct str edit_model(struct relay *rl, struct str json)
{
    struct str shown = relay_model_shown(rl);
    struct arena *a = rl->r->arena;
    struct splices s = {.arena = a, .cap = ARRAY_LEN(s.few)};
    struct json_span span;
    struct str out;
    if (!shown.n || !model_at(json, (unsigned)rl->set->max_json_depth, &span))
        return json;
    s.v = s.few;
    add_splice(&s, span.at, span.n, quoted(a, shown));
    return apply(a, json, &s, &out, NULL) ? out : json;
}

void edit_model_frames(struct relay *rl, struct str frames,
                       void (*put)(void *arg, struct str bytes), void *arg)
{
    struct str left = frames, line;
    struct arena *a = arena_new();
    struct str shown = quoted(a, relay_model_shown(rl));
    size_t from = 0;
    while (left.n) {
        struct json_span span;
        left = str_cut(left, '\n', &line);
        struct str json = str_trim(str_skip(line, str_starts(line, STR("data:")) ? 5 : 0));
        if (!str_starts(json, STR("{")) || find_bytes(json, STR("\"model")) == json.n ||
            !model_at(json, (unsigned)rl->set->max_json_depth, &span))
            continue;
        size_t at = (size_t)(json.p - frames.p) + span.at;
        put(arg, str_n(frames.p + from, at - from));
        put(arg, shown);
        from = at + span.n;
    }
    put(arg, str_skip(frames, from));
    arena_free(a);
}
