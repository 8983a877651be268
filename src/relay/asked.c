/* asked.c - how much a JSON request brings and lets come back: the latter read with its model, in the one look at its members that every
 * request gets. */
#include "relay/request.h"
#include "base/decimal.h"

enum {
    OLD,
    NEW,
    RESPONSES,
    GOOGLE,
    GOOGLE_SNAKE,
    OLLAMA,
    CHOICES,
    BEST_OF,
    PROMPT,
    CONVERSATION,
    CACHED,
    CACHED_SNAKE
};
#define ABSENT (-1)
#define UNREADABLE (-2)
#define LARGE 1000000000000 /* of what is larger than any count: more than every cap below */
#define ANY_DEPTH 1024      /* what lies in a body was scanned with it */
#define MAX_OUT_TOKENS 1000000
#define MAX_CHOICES 10000
#define BLOB_MIN 512         /* a run of so many base64 characters is an image, a file, audio */
#define BLOB_TOKENS 1000     /* about what one costs */
#define BLOB_BYTES_A_TOKEN 3 /* and at most, of a document that is text inside */
/* of a picture, however small it is packed, or known by its address alone */
#define MEDIA_TOKENS 4096
#define FRAME_TOKENS 16 /* that a vendor puts around it all */

void asked_wants(struct json_want want[ASKED_WANTS])
{
    static const char *const keys[ASKED_WANTS] = {[OLD] = "max_tokens",
                                                  [NEW] = "max_completion_tokens",
                                                  [RESPONSES] = "max_output_tokens",
                                                  [GOOGLE] = "generationConfig",
                                                  [GOOGLE_SNAKE] = "generation_config",
                                                  [OLLAMA] = "options",
                                                  [CHOICES] = "n",
                                                  [BEST_OF] = "best_of",
                                                  [PROMPT] = "prompt",
                                                  [CONVERSATION] = "conversation",
                                                  [CACHED] = "cachedContent",
                                                  [CACHED_SNAKE] = "cached_content"};
    for (size_t i = 0; i < ASKED_WANTS; i++)
        want[i] = (struct json_want){.key = keys[i]};
}

/* As upstreams read a count: any JSON number, or one in quotes, as lenient ones take it. */
static int64_t count_in(struct str text)
{
    int64_t v;
    if (text.n == 0 || str_is(text, "null"))
        return ABSENT;
    if (text.n >= 2 && text.p[0] == '"')
        text = str_trim(str_n(text.p + 1, text.n - 2));
    if (text.n > 1 && text.p[0] == '-' && text.p[1] >= '0' && text.p[1] <= '9')
        return ABSENT; /* "no maximum", or none at all */
    if (decimal_parse(text, 0, &v))
        return v < LARGE ? v : LARGE;
    return text.n && text.p[0] >= '0' && text.p[0] <= '9' ? LARGE : UNREADABLE;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

bool asked_once(const struct json_want *want, const char *of, struct err *e)
{
    if (want->alike) /* servers in Go would take it for the same */
        return err_field(e, want->key, "'%s%s' stands in the request with letters of another case",
                         of, want->key);
    return want->count <= 1 ||
           err_field(e, want->key, "'%s%s' stands in the request more than once", of, want->key);
}

static bool choices_in(struct str text, const char *name, int64_t *n, struct err *e)
{
    int64_t v = count_in(text);
    if (v == UNREADABLE)
        return err_field(e, name, "'%s' must be a number", name);
    *n = larger(*n, v);
    return true;
}

bool asked_form_choices(struct relay *rl, struct str text, struct err *e)
{
    int64_t n = ABSENT;
    if (!choices_in(text, "n", &n, e))
        return false;
    rl->asked_choices = n < 1 ? 1 : n < MAX_CHOICES ? n : MAX_CHOICES;
    return true;
}

/* Google's configuration, each member of which may be written in either way; Ollama's options. */
static bool config_in(struct str object, const char *of, int64_t *most, int64_t *choices,
                      struct err *e)
{
    bool is_ollama = str_is(str_of(of), "options.");
    struct json_scan scan;
    struct json_want want[] = {{.key = "maxOutputTokens"},
                               {.key = "max_output_tokens"},
                               {.key = "num_predict"},
                               {.key = "candidateCount"},
                               {.key = "candidate_count"}};
    if (!object.n || object.p[0] != '{' ||
        !json_scan_object(object, want, ARRAY_LEN(want), ANY_DEPTH, &scan, NULL))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        struct str text = str_n(object.p + want[i].span.at, want[i].span.n);
        if (!asked_once(&want[i], of, e))
            return false;
        if (i < 3 && (i == 2) == is_ollama)
            *most = larger(*most, count_in(text));
        if (i >= 3 && !choices_in(text, want[i].key, choices, e))
            return false;
    }
    return true;
}

/* Older completions take several prompts at once, each with answers of its own. One of token ids is a single one. */
static int64_t prompts_in(struct str prompt)
{
    int64_t n = 1;
    size_t depth = 0;
    if (!prompt.n || prompt.p[0] != '[')
        return 1;
    prompt = str_trim(str_skip(prompt, 1));
    if (!prompt.n || (prompt.p[0] != '"' && prompt.p[0] != '['))
        return 1;
    for (size_t i = 0; i < prompt.n; i++) {
        char c = prompt.p[i];
        if (c == '"') {
            for (i++; i < prompt.n && prompt.p[i] != '"'; i++)
                i += prompt.p[i] == '\\';
        } else if (c == '[') {
            depth++;
        } else if (c == ']') {
            depth -= depth > 0;
        } else {
            n += c == ',' && depth == 0;
        }
    }
    return n;
}

static bool is_said(struct str text)
{
    return text.n > 0 && !str_is(text, "null");
}

bool asked_take(struct relay *rl, const struct json_want want[ASKED_WANTS], struct err *e)
{
    int64_t most = ABSENT, n = ABSENT;
    struct str text[ASKED_WANTS];
    for (size_t i = 0; i < ASKED_WANTS; i++) {
        if (!asked_once(&want[i], "", e))
            return false;
        text[i] = str_n(rl->body.p + want[i].span.at, want[i].span.n);
    }
    int64_t google = ABSENT, ollama = ABSENT;
    if (!config_in(text[GOOGLE], "generationConfig.", &google, &n, e) ||
        !config_in(text[GOOGLE_SNAKE], "generation_config.", &google, &n, e) ||
        !config_in(text[OLLAMA], "options.", &ollama, &n, e) ||
        !choices_in(text[CHOICES], "n", &n, e) || !choices_in(text[BEST_OF], "best_of", &n, e))
        return false; /* of best_of all are billed */

    /* what another format calls it, nobody heeds */
    switch (rl->spec->client) {
    case WIRE_RESPONSES:
        most = count_in(text[RESPONSES]);
        break;
    case WIRE_GEMINI:
        most = google;
        break;
    case WIRE_OLLAMA:
    case WIRE_OLLAMA_GENERATE:
        most = ollama;
        break;
    case WIRE_ANTHROPIC:
    case WIRE_COMPLETIONS:
        most = count_in(text[OLD]);
        break;
    case WIRE_CHAT:
    case WIRE_NONE:
    case WIRE_N:
        most = larger(count_in(text[OLD]), count_in(text[NEW]));
        break;
    }
    n = n < 1 ? 1 : n < MAX_CHOICES ? n : MAX_CHOICES;
    if (rl->spec->client == WIRE_COMPLETIONS)
        n *= prompts_in(text[PROMPT]);
    else if (most == 0) /* servers that take it for "not said" answer at length */
        most = ABSENT;
    rl->asked_output = most < 0 ? -1 : most < MAX_OUT_TOKENS ? most : MAX_OUT_TOKENS;
    rl->asked_choices = n < MAX_CHOICES ? n : MAX_CHOICES;
    rl->has_far_context = rl->spec->client == WIRE_GEMINI
                              ? is_said(text[CACHED]) || is_said(text[CACHED_SNAKE])
                              : rl->spec->client == WIRE_RESPONSES &&
                                    (is_said(text[CONVERSATION]) ||
                                     (text[PROMPT].n && text[PROMPT].p[0] == '{'));
    return true;
}

/* As the formats call it, in a tool, a member or a model's name. A name may be written with escapes where nothing asks for one. */
static bool may_search(struct str body)
{
    static const struct str words[] = {STR_INIT("web_search"),     STR_INIT("googleSearch"),
                                       STR_INIT("google_search"),  STR_INIT("search_parameters"),
                                       STR_INIT("search-preview"), STR_INIT("search-api")};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (find_bytes(body, words[i]) < body.n)
            return true;
    for (size_t at; (at = find_bytes(body, STR("\\u00"))) < body.n;) {
        body = str_skip(body, at + 4);
        if (body.n && body.p[0] >= '2' && body.p[0] <= '7')
            return true;
    }
    return false;
}

/* The text of a member that stands there once; else STR_NONE. */
static struct str only_member(struct str body, const char *key)
{
    struct json_want want = {.key = key};
    struct json_scan scan;
    bool is_there = json_scan_object(body, &want, 1, ANY_DEPTH, &scan, NULL) && want.count == 1;
    return is_there ? str_n(body.p + want.span.at, want.span.n) : STR_NONE;
}

/* Of all tools of a Responses request together; below 0: it does not say. */
static int64_t calls_of(struct str body)
{
    return count_in(only_member(body, "max_tool_calls"));
}

/* How often a tool of the vendor's may be used: the largest, where it says so twice. -1: it does not say. */
static int64_t uses_of(yyjson_val *tool)
{
    int64_t most = -1, v;
    size_t i, max;
    yyjson_val *key, *value;
    yyjson_obj_foreach (tool, i, max, key, value)
        if (str_is(json_str(key), "max_uses"))
            most = json_int(value, &v) && v >= 0 ? larger(most, v) : INT64_MAX;
    return most == INT64_MAX ? -1 : most;
}

/* Of all tools of an Anthropic request that search; -1: there is none, or one that does not say. */
static int64_t uses_of_all(struct str body)
{
    struct arena *a = arena_new();
    struct str text = only_member(body, "tools");
    yyjson_val *list = NULL, *tool;
    int64_t uses = 0;
    size_t i, max, n = 0;
    if (text.n && !json_parse(a, text, ANY_DEPTH, &list, NULL))
        list = NULL;
    yyjson_arr_foreach (list, i, max, tool) {
        struct str type = json_get_str(tool, "type");
        if (find_bytes(type, STR("web_search")) == type.n)
            continue;
        int64_t one = uses_of(tool);
        n++;
        uses = one < 0 || uses < 0 ? -1 : uses + one;
    }
    arena_free(a);
    return n ? uses : -1;
}

int64_t asked_searches(struct str body, enum wire_id client, int64_t otherwise)
{
    if (!may_search(body))
        return 0;
    int64_t n = client == WIRE_ANTHROPIC   ? uses_of_all(body)
                : client == WIRE_RESPONSES ? calls_of(body)
                                           : -1; /* in other formats nobody heeds it */
    return n >= 0 ? n : otherwise;
}

static bool is_base64(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/' || c == '=' || c == '-' || c == '_';
}

/* Whether what follows is sent as a picture, sound or document: a text may be as long a word as one. */
static bool is_media(struct str before)
{
    static const struct str ends[] = {STR_INIT(";base64,"), STR_INIT("\"data\":\""),
                                      STR_INIT("\"data\": \""), STR_INIT("\"images\":[\""),
                                      STR_INIT("\"images\": [\"")};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (before.n >= ends[i].n &&
            memcmp(before.p + before.n - ends[i].n, ends[i].p, ends[i].n) == 0)
            return true;
    return false;
}

/* Bytes of a body that are text, and in how many long runs of base64 the others are: such a run covers every BLOB_MIN-th byte, and only
 * from those it is looked for. */
static size_t text_bytes(struct str body, bool must_be_media, int64_t *runs)
{
    size_t text = body.n;
    int64_t blobs = 0;
    for (size_t i = BLOB_MIN - 1; i < body.n; i += BLOB_MIN) {
        if (!is_base64((unsigned char)body.p[i]))
            continue;
        size_t from = i, to = i + 1;
        while (from > 0 && is_base64((unsigned char)body.p[from - 1]))
            from--;
        while (to < body.n && is_base64((unsigned char)body.p[to]))
            to++;
        if (to - from >= BLOB_MIN && (!must_be_media || is_media(str_first(body, from)))) {
            blobs++;
            text -= to - from;
        }
        i = to - to % BLOB_MIN - 1; /* the next look is behind this run */
    }
    *runs = blobs;
    return text;
}

/* Four bytes a token, but for what is no text. */
int64_t asked_input(struct str body)
{
    int64_t blobs;
    size_t text = text_bytes(body, false, &blobs);
    return (int64_t)((text + 1) / 4) + blobs * BLOB_TOKENS;
}

/* Parts that name a picture or a document, sent along or given by its address or id, as the formats call them. */
static int64_t media_parts(struct str body)
{
    static const struct str words[] = {
        STR_INIT("\"image_url\""), STR_INIT("\"input_image\""), STR_INIT("\"input_file\""),
        STR_INIT("\"file\""),      STR_INIT("\"image\""),       STR_INIT("\"document\""),
        STR_INIT("\"fileData\""),  STR_INIT("\"file_data\""),   STR_INIT("\"inlineData\""),
        STR_INIT("\"images\""),    STR_INIT("\"inline_data\"")};
    int64_t n = 0;
    for (size_t at; (at = find_quoted(body, "fid")) < body.n;) {
        body = str_skip(body, at);
        for (size_t i = 0; i < ARRAY_LEN(words); i++)
            n += body.n > 2 && body.p[2] == words[i].p[2] && str_starts(body, words[i]);
        body = str_skip(body, 2);
    }
    return n;
}

int64_t asked_input_most(struct str body, int64_t bytes_a_token)
{
    int64_t blobs;
    int64_t text = (int64_t)text_bytes(body, true, &blobs), rest = (int64_t)body.n - text;
    return (text + bytes_a_token - 1) / bytes_a_token + rest / BLOB_BYTES_A_TOKEN +
           media_parts(body) * MEDIA_TOKENS + FRAME_TOKENS;
}

int64_t asked_images(struct str body, enum wire_id client, int64_t otherwise)
{
    if (client != WIRE_RESPONSES || find_bytes(body, STR("\"image_generation\"")) == body.n)
        return otherwise;
    int64_t calls = calls_of(body);
    return calls >= 0 ? calls : otherwise;
}
