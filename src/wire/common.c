#include "wire/common.h"
#include "base/codec.h"
#include "base/map.h"
#include <stdio.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* ---- names and ids of a reply ---- */
struct str wire_model_shown(const struct wire_ctx *c, struct str upstream)
{
    if (c->shown_model.n > 0)
        return c->shown_model;
    if (upstream.n > 0)
        return upstream;
    return c->req && c->req->model.n > 0 ? c->req->model : c->upstream_model;
}

struct str wire_prefixed_id(struct wire_ctx *c, struct str id, const char *prefix)
{
    if (id.n == 0)
        return wire_make_id(c, prefix, 24);
    if (str_starts(id, str_of(prefix)))
        return str_dup(c->arena, id);
    return str_cat(c->arena, str_of(prefix), id);
}

int64_t wire_created(const struct wire_ctx *c, int64_t created)
{
    return created > 0 ? created : c->now_ms / 1000;
}

bool wire_strips(const struct wire_ctx *c, const char *field)
{
    static const struct {
        const char *field, *needs;
    } dependents[] = {
        {"top_logprobs", "logprobs"},
        {"tool_choice", "tools"},
        {"parallel_tool_calls", "tools"},
        {"stream_options", "stream"},
    };
    if (!c->strip)
        return false;
    for (const char *const *s = c->strip; *s; s++) {
        if (strcmp(*s, field) == 0)
            return true;
        for (size_t i = 0; i < ARRAY_LEN(dependents); i++)
            if (strcmp(dependents[i].field, field) == 0 && strcmp(dependents[i].needs, *s) == 0)
                return true;
    }
    return false;
}

bool wire_takes(struct wire_ctx *c, const char *field)
{
    if (!wire_strips(c, field))
        return true;
    wire_drop(c, "refused by the upstream", "%s", field);
    return false;
}

/* ---- tools ---- */
struct str wire_tool_name(struct wire_ctx *c, struct str client_name)
{
    for (const struct wire_rename *r = c->renames; r; r = r->next)
        if (str_eq(r->from, client_name))
            return r->to;
    return client_name;
}

const struct wire_rename *wire_rename_back(const struct wire_ctx *c, struct str upstream_name)
{
    for (const struct wire_rename *r = c->renames; r; r = r->next)
        if (str_eq(r->to, upstream_name))
            return r;
    return NULL;
}

struct str wire_tool_name_back(const struct wire_ctx *c, struct str upstream_name)
{
    const struct wire_rename *r = wire_rename_back(c, upstream_name);
    return r && r->space.n == 0 ? r->from
                                : upstream_name; /* a namespace is the Responses writer's to undo */
}

static bool id_fits(struct str id, enum wire_id_rule rule)
{
    if (rule == WIRE_IDS_ANY)
        return true;
    if (id.n == 0 || (rule == WIRE_IDS_OPENAI && id.n > 40) ||
        (rule == WIRE_IDS_ANTHROPIC && id.n > 128) || (rule == WIRE_IDS_9 && id.n != 9))
        return false;
    for (size_t i = 0; i < id.n; i++) {
        char ch = id.p[i];
        bool is_alnum = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                        (ch >= '0' && ch <= '9');
        if (rule == WIRE_IDS_9 && !is_alnum)
            return false;
        if (rule == WIRE_IDS_ANTHROPIC && !is_alnum && ch != '_' && ch != '-')
            return false;
        if ((unsigned char)ch < 0x20)
            return false;
    }
    return true;
}

struct str wire_call_id(struct wire_ctx *c, struct str id, enum wire_id_rule rule)
{
    uint8_t sum[SHA256_SIZE];
    char hex[24];
    if (id_fits(id, rule))
        return id;
    sha256(id, sum);
    hex_encode(hex, sum, sizeof hex / 2);
    switch (rule) {
    case WIRE_IDS_9:
        return str_dup(c->arena, str_n(hex, 9));
    case WIRE_IDS_ANTHROPIC:
        return str_fmt(c->arena, "toolu_%.24s", hex);
    case WIRE_IDS_ANY:
    case WIRE_IDS_OPENAI:
        break;
    }
    return str_fmt(c->arena, "call_%.24s", hex);
}

struct str wire_client_call_id(struct wire_ctx *c, struct str id)
{
    bool is_anthropic = c->client == WIRE_ANTHROPIC;
    bool is_openai = c->client == WIRE_CHAT || c->client == WIRE_RESPONSES;
    if (id.n == 0)
        return wire_make_id(c, is_anthropic ? "toolu_" : "call_", 24);
    return wire_call_id(c, id,
                        is_anthropic ? WIRE_IDS_ANTHROPIC
                        : is_openai  ? WIRE_IDS_OPENAI
                                     : WIRE_IDS_ANY);
}

const struct ir_tool *ir_tool_find(const struct ir_request *req, struct str name)
{
    for (const struct ir_tool *t = req->tools; t; t = t->next)
        if (str_eq(t->name, name))
            return t;
    return NULL;
}

bool wire_is_custom_tool(const struct wire_ctx *c, struct str client_name)
{
    const struct ir_tool *t = c->req ? ir_tool_find(c->req, client_name) : NULL;
    return t && t->kind == IR_TOOL_CUSTOM;
}

static struct str wrapped(struct arena *a, const char *key, struct str text, bool is_json)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 2);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_key(&w, key);
    if (is_json)
        jw_raw(&w, text);
    else
        jw_str(&w, text);
    jw_object_end(&w);
    return buf_str(&b);
}

struct str wire_args_object(struct arena *a, struct str raw, enum ir_call_kind kind)
{
    yyjson_val *root = NULL;
    struct err e = ERR_INIT;
    if (kind == IR_CALL_CUSTOM)
        return wrapped(a, "input", raw, false);
    raw = str_trim(raw);
    if (str_starts(raw, STR("\xef\xbb\xbf"))) /* read over, but none may stand inside of JSON */
        raw = str_trim(str_skip(raw, 3));
    if (raw.n == 0)
        return STR("{}");
    if (!json_parse(a, raw, 0, &root, &e))
        return wrapped(a, "raw_arguments", raw, false);
    if (yyjson_is_null(root))
        return STR("{}");
    return yyjson_is_obj(root) ? raw : wrapped(a, "input", raw, true);
}

struct str wire_args_string(struct arena *a, struct str raw, enum ir_call_kind kind)
{
    if (kind == IR_CALL_CUSTOM)
        return wrapped(a, "input", raw, false);
    return raw.n > 0 ? raw : STR("{}");
}

struct str wire_args_custom(struct arena *a, struct str json)
{
    yyjson_val *root = NULL;
    struct err e = ERR_INIT;
    if (!json_parse(a, json, 0, &root, &e))
        return json;
    yyjson_val *input = json_get(root, "input");
    return yyjson_is_str(input) && yyjson_obj_size(root) == 1 ? json_str(input) : json;
}

struct str ir_parts_text(struct arena *a, const struct ir_parts *p)
{
    const struct ir_part *only = NULL;
    size_t n = 0;
    for (const struct ir_part *part = p->first; part; part = part->next)
        if (part->kind == IR_TEXT || part->kind == IR_REFUSAL) {
            only = n == 0 ? part : NULL;
            n += part->text.n;
        }
    if (n == 0)
        return STR_NONE;
    if (only && only->text.n == n)
        return only->text;
    char *text = arena_alloc(a, n), *at = text;
    for (const struct ir_part *part = p->first; part; part = part->next)
        if ((part->kind == IR_TEXT || part->kind == IR_REFUSAL) && part->text.n > 0) {
            memcpy(at, part->text.p, part->text.n);
            at += part->text.n;
        }
    return str_n(text, n);
}

struct str wire_result_text(struct arena *a, const struct ir_part *result)
{
    if (!result->result_json)
        return ir_parts_text(a, &result->content);
    if (yyjson_is_str(result->result_json))
        return json_str(result->result_json);
    return json_text(a, result->result_json);
}

bool ir_parts_have_media(const struct ir_parts *p)
{
    for (const struct ir_part *part = p->first; part; part = part->next)
        if (part->kind == IR_IMAGE || part->kind == IR_FILE || part->kind == IR_AUDIO ||
            part->kind == IR_VIDEO)
            return true;
    return false;
}

struct str ir_system_text(struct arena *a, const struct ir_system *s)
{
    if (!s || !s->next)
        return s ? s->text : STR_NONE;
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 2);
    for (; s; s = s->next) {
        if (b.n > 0)
            buf_lit(&b, "\n\n");
        buf_str_add(&b, s->text);
    }
    return buf_str(&b);
}

struct str wire_schema_instruction(struct arena *a, const struct ir_request *r)
{
    if (r->format == IR_FORMAT_JSON_SCHEMA && r->format_schema)
        return str_fmt(a, "Answer with JSON matching this schema, and nothing else: " STR_FMT,
                       STR_ARG(json_text(a, r->format_schema)));
    return STR("Answer with a JSON object, and nothing else.");
}

/* ---- remote media ---- */
const char *wire_media_word(enum ir_part_kind kind)
{
    switch (kind) {
    case IR_IMAGE:
        return "image";
    case IR_AUDIO:
        return "audio";
    case IR_VIDEO:
        return "video";
    case IR_FILE:
    case IR_TEXT:
    case IR_REASONING:
    case IR_TOOL_CALL:
    case IR_TOOL_RESULT:
    case IR_REFUSAL:
    case IR_OPAQUE:
        break;
    }
    return "file";
}

bool wire_is_google_uri(struct str uri)
{
    return str_starts(uri, STR("gs://")) ||
           str_starts(uri, STR("https://generativelanguage.googleapis.com/"));
}

static bool is_remote(const struct ir_part *p)
{
    return (p->kind == IR_IMAGE || p->kind == IR_FILE || p->kind == IR_AUDIO ||
            p->kind == IR_VIDEO) &&
           p->source.kind == IR_SOURCE_URL &&
           (str_starts_nocase(p->source.url, STR("http://")) ||
            str_starts_nocase(p->source.url, STR("https://")));
}

static struct ir_part *find_in(struct ir_parts *parts, const struct ir_part *after, bool *is_past)
{
    for (struct ir_part *p = parts->first; p; p = p->next) {
        if (*is_past && is_remote(p))
            return p;
        if (p == after)
            *is_past = true;
        if (p->kind == IR_TOOL_RESULT) {
            struct ir_part *found = find_in(&p->content, after, is_past);
            if (found)
                return found;
        }
    }
    return NULL;
}

struct ir_part *ir_find_remote_media(const struct ir_request *req, struct ir_part *after)
{
    bool is_past = after == NULL;
    for (struct ir_message *m = req->messages.first; m; m = m->next) {
        struct ir_part *found = find_in(&m->parts, after, &is_past);
        if (found)
            return found;
    }
    return NULL;
}

bool wire_refuse_remote(const struct ir_source *s, struct err *e)
{
    return err_set(e, ERR_UNSUPPORTED, "unsupported_image_url",
                   "this upstream needs the image itself, and it could not be fetched: " STR_FMT,
                   STR_ARG(str_first(s->url, 300)));
}

/* ---- media ---- */
static int hex_digit(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    ch = (char)(ch | 32);
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

static struct str percent_decode(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        int hi = s.p[i] == '%' && i + 2 < s.n + 0 ? hex_digit(s.p[i + 1]) : -1;
        int lo = hi >= 0 ? hex_digit(s.p[i + 2]) : -1;
        if (lo >= 0)
            i += 2;
        p[n++] = lo >= 0 ? (char)(hi * 16 + lo) : s.p[i];
    }
    return str_n(p, n);
}

struct ir_source ir_source_of_url(struct arena *a, struct str url)
{
    struct str trimmed = str_trim(url);
    if (!str_starts_nocase(trimmed, STR("data:")))
        return (struct ir_source){.kind = IR_SOURCE_URL, .url = url};
    struct str head, payload = str_cut(str_skip(trimmed, 5), ',', &head);
    struct str media, params = str_cut(head, ';', &media);
    bool is_base64 = false;
    while (params.n > 0) {
        struct str one;
        params = str_cut(params, ';', &one);
        is_base64 = is_base64 || str_eq_nocase(str_trim(one), STR("base64"));
    }
    if (!is_base64)
        payload = base64_encode(a, percent_decode(a, payload));
    return (struct ir_source){.kind = IR_SOURCE_DATA,
                              .media_type = str_lower(a, str_trim(media)),
                              .base64 = str_trim(payload)};
}

struct str ir_source_url(struct arena *a, const struct ir_source *s)
{
    switch (s->kind) {
    case IR_SOURCE_URL:
        return s->url;
    case IR_SOURCE_DATA: {
        struct buf b;
        buf_init_arena(&b, a, SIZE_MAX / 2);
        buf_reserve(&b, s->media_type.n + s->base64.n + 16);
        buf_lit(&b, "data:");
        buf_str_add(&b, s->media_type);
        buf_lit(&b, ";base64,");
        buf_str_add(&b, s->base64);
        return buf_str(&b);
    }
    case IR_SOURCE_TEXT: {
        struct ir_source data = {.kind = IR_SOURCE_DATA,
                                 .media_type = s->media_type.n > 0 ? s->media_type
                                                                   : STR("text/plain"),
                                 .base64 = base64_encode(a, s->text)};
        return ir_source_url(a, &data);
    }
    case IR_SOURCE_NONE:
    case IR_SOURCE_REF:
        break;
    }
    return STR_NONE;
}

struct str wire_media_of_name(struct str file_name)
{
    static const struct {
        const char *end, *media;
    } rows[] = {
        /* clang-format off */
        {".pdf",  "application/pdf"},  {".txt", "text/plain"},  {".md",   "text/markdown"},
        {".csv",  "text/csv"},         {".html", "text/html"},  {".json", "application/json"},
        {".xml",  "application/xml"},  {".png", "image/png"},   {".jpg",  "image/jpeg"},
        {".jpeg", "image/jpeg"},       {".gif", "image/gif"},   {".webp", "image/webp"},
        {".mp3",  "audio/mpeg"},       {".wav", "audio/wav"},   {".mp4",  "video/mp4"},
        {".docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
        {".xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
        /* clang-format on */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str end = str_of(rows[i].end);
        if (file_name.n >= end.n && str_eq_nocase(str_skip(file_name, file_name.n - end.n), end))
            return str_of(rows[i].media);
    }
    return STR_NONE;
}

static const struct {
    const char *format, *media;
} audio_formats[] = {
    {"wav", "audio/wav"},   {"mp3", "audio/mpeg"},  {"flac", "audio/flac"}, {"ogg", "audio/ogg"},
    {"opus", "audio/opus"}, {"aac", "audio/aac"},   {"m4a", "audio/mp4"},   {"pcm16", "audio/pcm"},
    {"webm", "audio/webm"}, {"aiff", "audio/aiff"}, {"wav", "audio/x-wav"}, {"mp3", "audio/mp3"},
    {"pcm16", "audio/l16"},
};

struct str wire_media_of_audio(struct str format)
{
    for (size_t i = 0; i < ARRAY_LEN(audio_formats); i++)
        if (str_eq_nocase(format, str_of(audio_formats[i].format)))
            return str_of(audio_formats[i].media);
    return STR("application/octet-stream");
}

struct str wire_audio_of_media(struct str media_type)
{
    struct str bare;
    (void)str_cut(media_type, ';', &bare);
    for (size_t i = 0; i < ARRAY_LEN(audio_formats); i++)
        if (str_eq_nocase(str_trim(bare), str_of(audio_formats[i].media)))
            return str_of(audio_formats[i].format);
    return STR("wav");
}

int64_t wire_chars(struct str s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

/* Offset of the character with that number; s.n when there is none. */
static size_t char_at(struct str s, int64_t number)
{
    size_t i = 0;
    for (; i < s.n; i++)
        if (((unsigned char)s.p[i] & 0xc0) != 0x80 && number-- == 0)
            break;
    return i;
}

struct str wire_chars_between(struct str s, int64_t from, int64_t to)
{
    if (from < 0 || to <= from)
        return STR_NONE;
    size_t begin = char_at(s, from);
    return str_n(s.p + begin, char_at(s, to) - begin);
}

static bool carries(enum wire_id client, const struct ir_citation *cite)
{
    bool is_own = cite->origin == client && cite->raw;
    switch (client) {
    case WIRE_CHAT:
        return cite->kind == IR_CITE_URL && cite->url.n > 0;
    case WIRE_RESPONSES:
    case WIRE_ANTHROPIC: /* its others are of documents that the request must have had */
        return is_own || (cite->kind == IR_CITE_URL && cite->url.n > 0);
    case WIRE_GEMINI:
        return cite->url.n > 0 || cite->title.n > 0;
    case WIRE_OLLAMA:
    case WIRE_OLLAMA_GENERATE:
    case WIRE_COMPLETIONS:
    case WIRE_NONE:
    case WIRE_N:
        break;
    }
    return false;
}

bool wire_answers_with_citation(struct wire_ctx *c, const struct ir_citation *cite)
{
    if (carries(c->client, cite))
        return true;
    wire_drop(c, "the format has no place for it in an answer", "citations");
    return false;
}

bool wire_check_members(yyjson_val *root, const struct wire_member *list, struct err *e)
{
    for (; list->name; list++) {
        yyjson_val *v = json_find(root, list->name, strlen(list->name));
        if (!json_absent(v) && !(list->is_array ? yyjson_is_arr(v) : yyjson_is_obj(v)))
            return err_field(e, list->name, "%s: must be %s", list->name,
                             list->is_array ? "an array" : "an object");
    }
    return true;
}

static void parts_push(struct ir_parts *to, struct ir_part *p)
{
    if (to->last)
        to->last->next = p;
    else
        to->first = p;
    to->last = p;
    to->n++;
}

void wire_add_user(struct wire_ctx *c, struct ir_part *first, struct ir_messages *out)
{
    struct ir_parts results = {0}, rest = {0};
    for (struct ir_part *p = first, *next; p; p = next) {
        next = p->next;
        p->next = NULL;
        parts_push(p->kind == IR_TOOL_RESULT ? &results : &rest, p);
    }
    if (results.n)
        ir_message_add(c->arena, out, IR_TOOL)->parts = results;
    if (rest.n || !results.n)
        ir_message_add(c->arena, out, IR_USER)->parts = rest;
}

/* "web_search_call", "server_tool_use", "executableCode" */
static struct str name_of_raw(yyjson_val *raw)
{
    struct str type = json_get_str(raw, "type");
    yyjson_val *key, *value;
    size_t i, n;
    if (type.n > 0 || !yyjson_is_obj(raw))
        return type.n > 0 ? type : STR("content part");
    yyjson_obj_foreach (raw, i, n, key, value)
        if (yyjson_is_obj(value))
            return json_str(key);
    return STR("content part");
}

static void drop_foreign_part(struct wire_ctx *c, const struct ir_part *p)
{
    bool is_home = p->origin == c->client;
    if (p->kind == IR_OPAQUE && !is_home)
        wire_drop(c, "only its own format can carry it", STR_FMT,
                  STR_ARG(str_first(name_of_raw(p->raw), 64)));
    if (p->kind == IR_REASONING && !is_home && p->redacted.n > 0)
        wire_drop(c, "only its own format can carry it", "redacted_thinking");
    for (const struct ir_citation *cite = p->citations; cite; cite = cite->next)
        (void)wire_answers_with_citation(c, cite);
}

void wire_drop_foreign(struct wire_ctx *c, const struct ir_response *res)
{
    for (const struct ir_choice *choice = res->choices; choice; choice = choice->next)
        for (const struct ir_part *p = choice->message.parts.first; p; p = p->next)
            drop_foreign_part(c, p);
}

void wire_drop_late(struct wire_ctx *c, const struct ir_event *ev)
{
    wire_drop(c, "its text had ended before", "%s",
              ev->kind == IR_EV_CITATION ? "citation" : "logprobs");
}

void wire_drop_foreign_event(struct wire_ctx *c, const struct ir_event *ev)
{
    if (ev->kind == IR_EV_CITATION)
        (void)wire_answers_with_citation(c, ev->citation);
    else if (ev->kind == IR_EV_BLOCK_START)
        drop_foreign_part(c, &(struct ir_part){.kind = ev->part_kind,
                                               .origin = c->upstream,
                                               .redacted = ev->redacted,
                                               .raw = ev->raw});
}

void wire_drop_media(struct wire_ctx *c, enum ir_part_kind kind)
{
    wire_drop(c, "the format has no place for it in an answer", "%s", wire_media_word(kind));
}

bool wire_answers_with_sound(struct wire_ctx *c)
{
    if (c->client == WIRE_NONE || wire_of(c->client)->answers_with_sound)
        return true;
    wire_drop_media(c, IR_AUDIO);
    return false;
}

/* ---- reasoning ---- */
static const struct word efforts[] = {
    /* clang-format off */
    {"none",   IR_EFFORT_NONE},   {"minimal", IR_EFFORT_MINIMAL}, {"low",   IR_EFFORT_LOW},
    {"medium", IR_EFFORT_MEDIUM}, {"high",    IR_EFFORT_HIGH},    {"xhigh", IR_EFFORT_XHIGH},
    {"max",    IR_EFFORT_MAX},    {0},
    /* clang-format on */
};

enum ir_effort wire_effort_parse(struct str s)
{
    return (enum ir_effort)word_value(efforts, s, IR_EFFORT_UNSET);
}

const char *wire_effort_text(enum ir_effort effort)
{
    return word_text(efforts, effort, NULL);
}

int64_t wire_effort_budget(enum ir_effort effort, int64_t cap)
{
    int64_t budget = 10240;
    switch (effort) {
    case IR_EFFORT_NONE:
        return 0;
    case IR_EFFORT_MINIMAL:
    case IR_EFFORT_LOW:
        budget = 1024;
        break;
    case IR_EFFORT_UNSET:
    case IR_EFFORT_MEDIUM:
        break;
    case IR_EFFORT_HIGH:
    case IR_EFFORT_XHIGH:
        budget = 32768;
        break;
    case IR_EFFORT_MAX:
        budget = cap > 0 ? cap : 32768;
        break;
    }
    return cap > 0 && budget > cap ? cap : budget;
}

enum ir_effort wire_budget_effort(int64_t budget)
{
    if (budget == 0)
        return IR_EFFORT_NONE;
    if (budget < 0)
        return IR_EFFORT_MEDIUM;
    return budget <= 1024 ? IR_EFFORT_LOW : budget <= 10240 ? IR_EFFORT_MEDIUM : IR_EFFORT_HIGH;
}

enum ir_effort wire_effort_of(const struct ir_request *r)
{
    if (r->reasoning == IR_REASONING_DISABLED)
        return IR_EFFORT_NONE;
    if (r->effort != IR_EFFORT_UNSET)
        return r->effort;
    if (r->budget_tokens >= 0)
        return wire_budget_effort(r->budget_tokens);
    return r->reasoning == IR_REASONING_ENABLED ? IR_EFFORT_MEDIUM : IR_EFFORT_UNSET;
}

/* ---- <think> ---- */
static const struct str think_open = STR_INIT("<think>"), think_close = STR_INIT("</think>");

static void think_piece(struct think_split *t, struct str s, think_fn *out, void *arg)
{
    while (t->is_trimming && s.n > 0 && (s.p[0] == '\n' || s.p[0] == '\r'))
        s = str_skip(s, 1); /* line ends behind a tag belong to it */
    if (s.n == 0)
        return;
    t->is_trimming = false;
    out(arg, t->is_inside, s);
}

static void think_give_back(struct think_split *t, think_fn *out, void *arg)
{
    size_t n = t->n_held;
    t->n_held = t->n_tag = 0;
    think_piece(t, str_n(t->held, n), out, arg);
}

/* One byte of what may be a tag. false: it is not; what was held is given back and the byte remains. */
static bool think_match(struct think_split *t, struct str tag, char ch, think_fn *out, void *arg)
{
    if (ch == tag.p[t->n_tag]) {
        t->held[t->n_held++] = ch;
        if (++t->n_tag == tag.n) {
            t->is_done = t->is_inside;
            t->is_inside = !t->is_inside;
            t->is_trimming = true;
            t->n_held = t->n_tag = 0;
        }
        return true;
    }
    think_give_back(t, out, arg);
    return false;
}

/* Before the opening tag only white space may stand: a later one may be what the text is about. */
static bool think_begin(struct think_split *t, char ch, think_fn *out, void *arg)
{
    bool is_space = ch == '\n' || ch == '\r' || ch == ' ' || ch == '\t';
    if (t->n_tag == 0 && is_space && t->n_held < 8) {
        t->held[t->n_held++] = ch;
        return true;
    }
    if (think_match(t, think_open, ch, out, arg))
        return true;
    t->is_done = true;
    return false;
}

void think_push(struct think_split *t, struct str text, think_fn *out, void *arg)
{
    while (text.n > 0 && !t->is_done) {
        if (!t->is_inside) {
            if (think_begin(t, text.p[0], out, arg))
                text = str_skip(text, 1);
            continue;
        }
        if (t->n_tag == 0) {
            size_t at = str_index(text, '<');
            think_piece(t, str_first(text, at), out, arg);
            text = str_skip(text, at);
        }
        if (text.n > 0 && think_match(t, think_close, text.p[0], out, arg))
            text = str_skip(text, 1);
    }
    think_piece(t, text, out, arg);
}

void think_end(struct think_split *t, think_fn *out, void *arg)
{
    think_give_back(t, out, arg);
}

struct think_parts_to {
    struct arena *a;
    struct ir_parts *to;
};

static void on_think_part(void *arg, bool is_reasoning, struct str text)
{
    struct think_parts_to *k = arg;
    enum ir_part_kind kind = is_reasoning ? IR_REASONING : IR_TEXT;
    struct ir_part *last = k->to->last;
    if (!last || last->kind != kind) {
        last = ir_part_add(k->a, k->to, kind);
        last->origin = WIRE_CHAT;
    }
    last->text = last->text.n == 0
                     ? str_dup(k->a, text)
                     : str_fmt(k->a, STR_FMT STR_FMT, STR_ARG(last->text), STR_ARG(text));
}

void think_parts(struct wire_ctx *c, struct ir_parts *parts)
{
    struct ir_part *first = parts->first;
    while (first && first->kind == IR_REASONING)
        first = first->next;
    if (!first || first->kind != IR_TEXT)
        return;
    struct ir_parts out = {0};
    struct think_split t = {0};
    struct think_parts_to to = {c->arena, &out};
    think_push(&t, first->text, on_think_part, &to);
    think_end(&t, on_think_part, &to);
    struct ir_part *head = parts->first, *tail = first->next;
    if (!out.first || out.first->kind != IR_REASONING)
        return;
    out.last->next = tail;
    for (struct ir_part **at = &head;; at = &(*at)->next)
        if (*at == first) {
            *at = out.first;
            break;
        }
    parts->first = head;
    parts->n += out.n - 1;
    if (!tail)
        parts->last = out.last;
}

/* ---- reply ---- */
enum ir_stop ir_stop_overlay(enum ir_stop stop, const struct ir_message *m)
{
    bool has_refusal = false;
    if (stop != IR_STOP_END && stop != IR_STOP_NONE)
        return stop;
    for (const struct ir_part *p = m->parts.first; p; p = p->next) {
        if (p->kind == IR_TOOL_CALL && p->call_kind != IR_CALL_HOSTED)
            return IR_STOP_TOOL;
        has_refusal = has_refusal || p->kind == IR_REFUSAL;
    }
    return has_refusal ? IR_STOP_REFUSAL : IR_STOP_END;
}

int64_t ir_usage_in(const struct ir_usage *u)
{
    return u->input_total > 0 ? u->input_total : 0;
}

int64_t ir_usage_out(const struct ir_usage *u)
{
    return u->output_total > 0 ? u->output_total : 0;
}

int64_t ir_usage_total(const struct ir_usage *u)
{
    int64_t sum = ir_usage_in(u) + ir_usage_out(u);
    return u->total > sum ? u->total : sum;
}

/* Sums of several never overflow. */
#define MOST_COUNTED 1000000000000

static int64_t counted(bool is_int, int64_t n)
{
    return is_int && n >= 0 && n <= MOST_COUNTED ? n : -1;
}

int64_t wire_count(yyjson_val *v)
{
    int64_t n = 0;
    bool is_int = json_int(v, &n);
    return counted(is_int, n);
}

int64_t wire_count_text(struct str value)
{
    int64_t n = 0;
    bool is_int = json_int_text(value, &n);
    return counted(is_int, n);
}

int64_t wire_count_in(struct str text, const struct json_want *want)
{
    return want->span.n ? wire_count_text(str_n(text.p + want->span.at, want->span.n)) : -1;
}

/* ---- finding things in text ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Offset of the last quote before `end` that stands behind c; 0: none. */
static size_t last_quote_behind(struct str data, size_t end, char c)
{
#ifdef __SSE2__
    const __m128i quotes = _mm_set1_epi8('"'), before = _mm_set1_epi8(c);
    while (end > 16) {
        const char *p = data.p + end - 16;
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)p),
                b = _mm_loadu_si128((const __m128i *)(const void *)(p - 1));
        unsigned hits = (unsigned)_mm_movemask_epi8(
            _mm_and_si128(_mm_cmpeq_epi8(a, quotes), _mm_cmpeq_epi8(b, before)));
        if (hits)
            return end - 16 + 31 - (size_t)__builtin_clz(hits);
        end -= 16;
    }
#endif
    while (end-- > 1)
        if (data.p[end] == '"' && data.p[end - 1] == c)
            return end;
    return 0;
}

/* From the end, where usage and reasons stand. */
size_t wire_last_value(struct str data, struct str key)
{
    for (size_t end = data.n; (end = last_quote_behind(data, end, key.p[key.n - 1])) > key.n;) {
        const char *quote = data.p + end;
        if (quote[-1 - (ptrdiff_t)key.n] != '"' || memcmp(quote - key.n, key.p, key.n) != 0)
            continue;
        size_t at = end + 1;
        while (at < data.n && is_space(data.p[at]))
            at++;
        if (at == data.n || data.p[at] != ':')
            continue;
        for (at++; at < data.n && is_space(data.p[at]);)
            at++;
        return at;
    }
    return data.n;
}

/* Offset of the quote that ends the string whose inside starts at i, or u.n. */
size_t wire_string_end(struct str u, size_t i)
{
    for (size_t from = i; i < u.n; i++) {
        i += str_index(str_skip(u, i), '"');
        size_t back = i;
        while (back > from && u.p[back - 1] == '\\')
            back--;
        if ((i - back) % 2 == 0 || i == u.n)
            return i;
    }
    return u.n;
}

/* Behind the value that begins at `at`; data.n where it does not end. */
static size_t value_end(struct str data, size_t at)
{
    unsigned depth = 0;
    for (size_t i = at; i < data.n; i++) {
        char c = data.p[i];
        bool is_end = false;
        if (c == '"') {
            i = wire_string_end(data, i + 1);
            is_end = depth == 0;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return i;
            is_end = --depth == 0;
        } else if (c == ',' && depth == 0) {
            return i;
        }
        if (is_end)
            return i < data.n ? i + 1 : data.n;
    }
    return data.n;
}

/* How many more objects and lists a text closes than it opens; it begins and ends outside of strings. */
static int closes(struct str text)
{
    int n = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '"')
            i = wire_string_end(text, i + 1);
        else if (c == '}' || c == ']')
            n++;
        else if (c == '{' || c == '[')
            n--;
    }
    return n;
}

struct str wire_last_member(struct str data, struct str key, int *depth)
{
    size_t at = wire_last_value(data, key), end = value_end(data, at);
    *depth = at < data.n ? -1 : 0;
    if (end >= data.n)
        return STR_NONE;
    /* what it stands in is open at either side of it: as a rule the end is near */
    struct str before = str_first(data, at), behind = str_skip(data, end);
    *depth = before.n < behind.n ? -closes(before) : closes(behind);
    return str_n(data.p + at, end - at);
}

struct str wire_member(struct str object, const char *key)
{
    struct json_want want = {.key = key};
    struct json_scan scan;
    if (!object.n || !json_scan_object(object, &want, 1, 0, &scan, NULL) || !want.count)
        return STR_NONE;
    return str_n(object.p + want.span.at, want.span.n);
}
