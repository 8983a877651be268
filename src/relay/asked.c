/* asked.c - how much a JSON request brings and lets come back: the latter read with its model, in the one look at its members that every
 * request gets. */
#include "relay/request.h"

enum {
    OLD,
    NEW,
    RESPONSES,
    GOOGLE,
    GOOGLE_SNAKE,
    OLLAMA,
    CHOICES,
    BEST_OF,
    PROMPT
};
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
                                                  [PROMPT] = "prompt"};
    for (size_t i = 0; i < ASKED_WANTS; i++)
        want[i] = (struct json_want){.key = keys[i]};
}

/* A member of a JSON object; -1: absent, no integer, no object. */
static int64_t int_in(struct str object, const char *name)
{
    struct json_scan scan;
    struct json_want want[] = {{.key = name}};
    int64_t v;
    if (!object.n || object.p[0] != '{' || !json_scan_object(object, want, 1, 0, &scan, NULL) ||
        !str_to_int(str_n(object.p + want[0].span.at, want[0].span.n), &v))
        return -1;
    return v;
}

/* Of Google's configuration, which may be written in either way. */
static int64_t config_int(struct str object, const char *camel, const char *snake)
{
    int64_t v = int_in(object, camel);
    return v >= 0 ? v : int_in(object, snake);
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

void asked_take(struct relay *rl, const struct json_want want[ASKED_WANTS])
{
    int64_t v[ASKED_WANTS], most = -1;
    struct str google = STR_NONE;
    for (size_t i = 0; i < ASKED_WANTS; i++) {
        struct str text = str_n(rl->body.p + want[i].span.at, want[i].span.n);
        if (i == GOOGLE || i == GOOGLE_SNAKE) {
            google = text.n ? text : google;
            v[i] = config_int(text, "maxOutputTokens", "max_output_tokens");
        } else if (i == OLLAMA)
            v[i] = int_in(text, "num_predict");
        else if (!text.n || !str_to_int(text, &v[i]))
            v[i] = -1;
        if (i < CHOICES && v[i] > most)
            most = v[i];
    }
    int64_t n = v[CHOICES], many = config_int(google, "candidateCount", "candidate_count");
    n = many > n ? many : n;
    n = v[BEST_OF] > n ? v[BEST_OF] : n; /* all of them are billed */
    if (rl->spec->client == WIRE_COMPLETIONS) {
        int64_t prompts = prompts_in(str_n(rl->body.p + want[PROMPT].span.at, want[PROMPT].span.n));
        n = (n < 1 ? 1 : n < MAX_CHOICES ? n : MAX_CHOICES) * prompts;
    }
    rl->asked_output = most < MAX_OUT_TOKENS ? most : MAX_OUT_TOKENS;
    rl->asked_choices = n < 1 ? 1 : n < MAX_CHOICES ? n : MAX_CHOICES;
}

/* What follows each place where a member of that name stands, added up; -1: it stands nowhere. */
static int64_t sum_of(struct str body, struct str quoted)
{
    int64_t total = -1, v;
    for (size_t at; (at = find_bytes(body, quoted)) < body.n;) {
        body = str_trim(str_skip(body, at + quoted.n));
        if (!str_starts(body, STR(":")))
            continue;
        struct str rest = str_trim(str_skip(body, 1));
        size_t n = 0;
        while (n < rest.n && n < 9 && rest.p[n] >= '0' && rest.p[n] <= '9')
            n++;
        if (str_to_int(str_first(rest, n), &v))
            total = (total > 0 ? total : 0) + v;
    }
    return total;
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

int64_t asked_searches(struct str body, int64_t otherwise)
{
    if (!may_search(body))
        return 0;
    int64_t uses = sum_of(body, STR("\"max_uses\"")),
            calls = sum_of(body, STR("\"max_tool_calls\""));
    return uses >= 0 ? uses : calls >= 0 ? calls : otherwise;
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
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        struct str rest = body;
        for (size_t at; (at = find_bytes(rest, words[i])) < rest.n; n++)
            rest = str_skip(rest, at + words[i].n);
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

int64_t asked_images(struct str body, int64_t otherwise)
{
    bool is_tool = find_bytes(body, STR("\"image_generation\"")) < body.n;
    int64_t calls = is_tool ? sum_of(body, STR("\"max_tool_calls\"")) : -1;
    return calls >= 0 ? calls : otherwise;
}
