#include "route/task.h"
#include <strings.h>

#define LOOKED_AT 8192 /* bytes of a text: what it is about stands at its beginning */
#define MOST_TURNS 3   /* of a user, in a background task */

/* Of the system prompt and of what the user says last. */
static const struct {
    enum task task;
    const char *phrase;
} phrases[] = {
    {TASK_CODING, "```"},
    {TASK_CODING, "write code"},
    {TASK_CODING, "source code"},
    {TASK_CODING, "write a function"},
    {TASK_CODING, "implement"},
    {TASK_CODING, "debug"},
    {TASK_CODING, "refactor"},
    {TASK_CODING, "unit test"},
    {TASK_CODING, "stack trace"},
    {TASK_CODING, "compile"},
    {TASK_CODING, "code review"},
    {TASK_CODING, "pull request"},
    {TASK_CODING, "programming"},
    {TASK_CODING, "javascript"},
    {TASK_CODING, "typescript"},
    {TASK_CODING, "python"},
    {TASK_CODING, "sql query"},
    {TASK_CODING, "regular expression"},
    {TASK_CODING, "shell script"},
    {TASK_SUMMARIZATION, "summarize"},
    {TASK_SUMMARIZATION, "summarise"},
    {TASK_SUMMARIZATION, "summary of"},
    {TASK_SUMMARIZATION, "tl;dr"},
    {TASK_SUMMARIZATION, "key points"},
    {TASK_SUMMARIZATION, "main points"},
    {TASK_SUMMARIZATION, "in a few sentences"},
    {TASK_ANALYSIS, "analyze"},
    {TASK_ANALYSIS, "analyse"},
    {TASK_ANALYSIS, "analysis"},
    {TASK_ANALYSIS, "compare"},
    {TASK_ANALYSIS, "evaluate"},
    {TASK_ANALYSIS, "assess"},
    {TASK_ANALYSIS, "pros and cons"},
    {TASK_ANALYSIS, "implications"},
    {TASK_ANALYSIS, "step by step"},
    {TASK_CREATIVE, "write a story"},
    {TASK_CREATIVE, "write a poem"},
    {TASK_CREATIVE, "write a song"},
    {TASK_CREATIVE, "short story"},
    {TASK_CREATIVE, "blog post"},
    {TASK_CREATIVE, "screenplay"},
    {TASK_CREATIVE, "brainstorm"},
    {TASK_CREATIVE, "roleplay"},
    {TASK_CREATIVE, "imagine"},
    {TASK_CREATIVE, "creative"},
};

struct seen {
    const struct task_ask *ask;
    uint32_t words;      /* tasks whose phrases were there */
    bool has_background; /* a phrase of the system prompt says so */
    bool has_image;
    unsigned turns;   /* of the user */
    yyjson_val *last; /* what the user said last */
};

static bool holds(struct str text, struct str phrase)
{
    if (phrase.n == 0 || text.n < phrase.n)
        return false;
    for (size_t i = 0; i + phrase.n <= text.n; i++)
        if (strncasecmp(text.p + i, phrase.p, phrase.n) == 0)
            return true;
    return false;
}

static void look_at(struct seen *s, struct str text, bool is_system)
{
    text = str_first(text, LOOKED_AT);
    for (size_t i = 0; i < ARRAY_LEN(phrases); i++)
        if (!(s->words >> phrases[i].task & 1) && holds(text, str_of(phrases[i].phrase)))
            s->words |= 1u << phrases[i].task;
    struct str rest = is_system ? s->ask->phrases : STR_NONE, one;
    while (rest.n && !s->has_background) {
        rest = str_cut(rest, '|', &one);
        s->has_background = holds(text, str_trim(one));
    }
}

static bool is_image(yyjson_val *part)
{
    static const char *const types[] = {"image", "image_url", "input_image"};
    struct str type = json_get_str(part, "type");
    yyjson_val *data = json_get(part, "inlineData");
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_eq(type, str_of(types[i])))
            return true;
    data = data ? data : json_get(part, "inline_data");
    data = data ? data : json_get(part, "fileData");
    struct str mime = json_get_str(data, "mimeType");
    mime = mime.n ? mime : json_get_str(data, "mime_type");
    return str_starts(mime, STR("image/"));
}

/* A text, or an array of texts and parts, or {"parts":[…]}. */
static void look_in(struct seen *s, yyjson_val *content, bool is_system)
{
    size_t i, max;
    yyjson_val *part;
    if (yyjson_is_str(content))
        look_at(s, json_str(content), is_system);
    if (yyjson_is_obj(content))
        content = json_get(content, "parts");
    yyjson_arr_foreach (content, i, max, part) {
        struct str text = yyjson_is_str(part) ? json_str(part) : json_get_str(part, "text");
        if (text.n)
            look_at(s, text, is_system);
    }
}

static void find_images(struct seen *s, yyjson_val *content)
{
    size_t i, max;
    yyjson_val *part;
    yyjson_arr_foreach (content, i, max, part)
        s->has_image |= is_image(part);
}

/* One message of any format. */
static void look_over(struct seen *s, yyjson_val *message)
{
    struct str role = json_get_str(message, "role");
    yyjson_val *content = json_get(message, "content");
    if (!content)
        content = json_get(message, "parts");
    find_images(s, content);
    s->has_image |= yyjson_arr_size(json_get(message, "images")) > 0; /* Ollama's */
    if (str_is(role, "system") || str_is(role, "developer")) {
        look_in(s, content, true);
    } else if (content && (str_is(role, "user") || role.n == 0)) {
        s->turns++;
        s->last = content;
    }
}

static void look_through(struct seen *s, yyjson_val *body)
{
    static const char *const heads[] = {"system", "instructions", "systemInstruction",
                                        "system_instruction"};
    static const char *const lists[] = {"messages", "input", "contents"};
    size_t i, max;
    yyjson_val *one;
    for (size_t k = 0; k < ARRAY_LEN(heads); k++)
        look_in(s, json_find(body, heads[k], strlen(heads[k])), true);
    for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
        yyjson_val *list = json_find(body, lists[k], strlen(lists[k]));
        yyjson_arr_foreach (list, i, max, one)
            look_over(s, one);
        if (yyjson_is_str(list)) {
            s->turns++;
            s->last = list;
        }
    }
    if (!s->last && (s->last = json_get(body, "prompt")) != NULL)
        s->turns++;
    look_in(s, s->last, false);
}

uint32_t tasks_of(const struct task_ask *ask)
{
    static const enum task order[] = {TASK_CODING, TASK_SUMMARIZATION, TASK_ANALYSIS,
                                      TASK_CREATIVE};
    struct seen s = {.ask = ask};
    enum task kind = TASK_CHAT;
    look_through(&s, ask->body);
    bool is_background = ask->is_marked || (ask->max_output > 0 && ask->max_output < 50) ||
                         (s.has_background && s.turns <= MOST_TURNS);
    for (size_t i = ARRAY_LEN(order); i-- > 0;)
        if (s.words >> order[i] & 1)
            kind = order[i];
    if (s.has_image)
        kind = TASK_VISION;
    return 1u << kind | (is_background ? 1u << TASK_BACKGROUND : 0);
}

int64_t task_max_output(yyjson_val *body)
{
    static const char *const names[] = {"max_tokens", "max_completion_tokens", "max_output_tokens"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        int64_t n = json_int_or(json_find(body, names[i], strlen(names[i])), -1);
        if (n >= 0)
            return n;
    }
    return json_get_int(json_get(body, "generationConfig"), "maxOutputTokens",
                        json_get_int(json_get(body, "options"), "num_predict", -1));
}

enum task task_foremost(uint32_t tasks)
{
    for (int t = TASK_BACKGROUND; t < TASKS; t++)
        if (tasks >> t & 1)
            return (enum task)t;
    return TASK_ANY;
}
