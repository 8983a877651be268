/* inject.c - what the operator adds to conversations: a system prompt, and how much thinking is asked for. Written into the request's body as
 * its client sent it, a few spans of it, before anything else reads it: so it holds for every format, whether the body passes as it is
 * or is translated. */
#include "relay/request.h"
#include "wire/common.h"

#define MAX_EDITS 8
#define NO_BUDGET INT64_MIN
#define MAX_BUDGET 131072
#define LEAST_BUDGET 1024    /* what Anthropic takes */
#define THINKING_MODEL 10240 /* of a model whose name asks for it */

struct edit {
    size_t at, n; /* n bytes at `at` become `with`; in ascending order, none touching another */
    struct str with;
};
struct edits {
    struct relay *rl;
    struct arena *a;
    struct str body;
    struct json_scan scan; /* of the body */
    struct edit v[MAX_EDITS];
    size_t n;
};

static void put(struct edits *s, size_t at, size_t n, struct str with)
{
    size_t i = s->n;
    if (s->n == MAX_EDITS)
        return;
    for (; i > 0 && s->v[i - 1].at > at; i--)
        s->v[i] = s->v[i - 1];
    s->v[i] = (struct edit){at, n, with};
    s->n++;
}

static void apply(struct edits *s)
{
    size_t total = s->body.n, from = 0;
    for (size_t i = 0; i < s->n; i++)
        total += s->v[i].with.n;
    char *p = arena_alloc(s->a, total + 1), *w = p;
    for (size_t i = 0; i < s->n; i++) {
        const struct edit *d = &s->v[i];
        memcpy(w, s->body.p + from, d->at - from);
        w += d->at - from;
        if (d->with.n)
            memcpy(w, d->with.p, d->with.n);
        w += d->with.n;
        from = d->at + d->n;
    }
    memcpy(w, s->body.p + from, s->body.n - from);
    w += s->body.n - from;
    s->body = str_n(p, (size_t)(w - p));
    s->n = 0;
}

/* ---- finding one's way in JSON that is known to be well-formed ---- */

static size_t skip_space(struct str s, size_t at)
{
    while (at < s.n && (s.p[at] == ' ' || s.p[at] == '\t' || s.p[at] == '\r' || s.p[at] == '\n'))
        at++;
    return at;
}

static size_t value_end(struct str s, size_t at)
{
    size_t depth = 0;
    while (at < s.n) {
        char c = s.p[at];
        if (c == '"') {
            for (at++; at < s.n && s.p[at] != '"'; at++)
                at += s.p[at] == '\\';
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return at;
            depth--;
        } else if (c == ',' && depth == 0) {
            return at;
        }
        at++;
        if (depth == 0 && (c == '"' || c == '}' || c == ']'))
            return at;
    }
    return at;
}

/* The next element of an array whose '[' stands at `open`; *at is 0 before the first. false: none follows. */
static bool next_element(struct str s, size_t open, size_t *at, struct str *out)
{
    size_t from = *at ? skip_space(s, *at) : open + 1;
    if (*at && from < s.n && s.p[from] == ',')
        from++;
    from = skip_space(s, from);
    if (from >= s.n || s.p[from] == ']')
        return false;
    *at = value_end(s, from);
    *out = str_n(s.p + from, *at - from);
    return out->n > 0;
}

static struct str span_text(struct str body, const struct json_want *w)
{
    return w->count ? str_n(body.p + w->span.at, w->span.n) : STR_NONE;
}

static bool find(struct edits *s, struct json_want *want, size_t n)
{
    return json_scan_object(s->body, want, n, (unsigned)s->rl->set->max_json_depth, &s->scan, NULL);
}

/* ---- the system prompt ---- */

static struct str quoted(struct arena *a, struct str text, const char *end)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    buf_char(&b, '"');
    json_escape(&b, text);
    buf_fmt(&b, "%s\"", end);
    return buf_str(&b);
}

static struct str inside_quotes(struct arena *a, struct str text)
{
    struct str q = quoted(a, text, "\\n\\n");
    return str_n(q.p + 1, q.n - 2);
}

static struct str braced(struct arena *a, const char *head, struct str text, const char *tail,
                         const char *end)
{
    struct str q = quoted(a, text, end);
    return str_fmt(a, "%s" STR_FMT "%s", head, STR_ARG(q), tail);
}

/* A list gets one more in front. */
static void put_first(struct edits *s, size_t open, struct str element)
{
    size_t next = skip_space(s->body, open + 1);
    bool is_empty = next < s->body.n && s->body.p[next] == ']';
    put(s, open + 1, 0, is_empty ? element : str_cat(s->a, element, STR(",")));
}

/* A text, or a list of parts, of which `part` would be one. false: it is neither. */
static bool put_before(struct edits *s, size_t at, struct str prompt, struct str part)
{
    char c = at < s->body.n ? s->body.p[at] : 0;
    if (c == '"')
        put(s, at + 1, 0, inside_quotes(s->a, prompt));
    else if (c == '[')
        put_first(s, at, part);
    return c == '"' || c == '[';
}

static void put_member(struct edits *s, const char *name, struct str value)
{
    put(s, s->scan.open + 1, 0,
        str_fmt(s->a, "\"%s\":" STR_FMT "%s", name, STR_ARG(value), s->scan.is_empty ? "" : ","));
}

/* Replaces what is null, or adds the member. */
static void put_value(struct edits *s, const char *name, const struct json_want *w,
                      struct str value)
{
    if (w->count)
        put(s, w->span.at, w->span.n, value);
    else
        put_member(s, name, value);
}

static void prompt_into_messages(struct edits *s, const struct json_want *messages,
                                 struct str prompt, const char *part_head)
{
    struct str one;
    size_t open = messages->span.at, at = 0;
    if (messages->count == 0 || s->body.p[open] != '[')
        return;
    while (next_element(s->body, open, &at, &one)) {
        struct json_want want[2] = {{.key = "role"}, {.key = "content"}};
        struct json_scan scan;
        if (one.p[0] != '{' || !json_scan_object(one, want, 2, 0, &scan, NULL))
            continue;
        struct str role = span_text(one, &want[0]);
        if (!str_is(role, "\"system\"") && !str_is(role, "\"developer\""))
            continue;
        size_t content = (size_t)(one.p - s->body.p) + want[1].span.at;
        if (want[1].count &&
            put_before(s, content, prompt, braced(s->a, part_head, prompt, "}", "\\n\\n")))
            return;
        break;
    }
    put_first(s, open, braced(s->a, "{\"role\":\"system\",\"content\":", prompt, "}", ""));
}

static void prompt_into_gemini(struct edits *s, const struct json_want *system, const char *name,
                               struct str prompt)
{
    struct str text = span_text(s->body, system);
    struct json_want parts = {.key = "parts"};
    struct json_scan scan;
    if (text.n && text.p[0] == '{' && json_scan_object(text, &parts, 1, 0, &scan, NULL) &&
        parts.count && text.p[parts.span.at] == '[') {
        put_first(s, system->span.at + parts.span.at,
                  braced(s->a, "{\"text\":", prompt, "}", "\\n\\n"));
        return;
    }
    if (text.n && text.p[0] == '"') { /* some write it so */
        put(s, system->span.at + 1, 0, inside_quotes(s->a, prompt));
        return;
    }
    put_value(s, name, system, braced(s->a, "{\"parts\":[{\"text\":", prompt, "}]}", ""));
}

static void add_prompt(struct edits *s, struct str prompt)
{
    enum {
        MESSAGES,
        SYSTEM,
        INSTRUCTIONS,
        SYSTEM_INSTRUCTION,
        SYSTEM_INSTRUCTION_SNAKE,
        PROMPT,
        N
    };
    struct json_want w[N] = {{.key = "messages"},           {.key = "system"},
                             {.key = "instructions"},       {.key = "systemInstruction"},
                             {.key = "system_instruction"}, {.key = "prompt"}};
    static const char text_part[] = "{\"type\":\"text\",\"text\":";
    if (!find(s, w, N))
        return;
    struct str plain = quoted(s->a, prompt, "");
    switch (s->rl->spec->client) {
    case WIRE_CHAT:
    case WIRE_OLLAMA:
        prompt_into_messages(s, &w[MESSAGES], prompt, text_part);
        break;
    case WIRE_ANTHROPIC:
        if (!w[SYSTEM].count || !put_before(s, w[SYSTEM].span.at, prompt,
                                            braced(s->a, text_part, prompt, "}", "\\n\\n")))
            put_value(s, "system", &w[SYSTEM], plain);
        break;
    case WIRE_RESPONSES:
        if (!w[INSTRUCTIONS].count || !put_before(s, w[INSTRUCTIONS].span.at, prompt, STR("")))
            put_value(s, "instructions", &w[INSTRUCTIONS], plain);
        break;
    case WIRE_GEMINI:
        if (w[SYSTEM_INSTRUCTION_SNAKE].count)
            prompt_into_gemini(s, &w[SYSTEM_INSTRUCTION_SNAKE], "system_instruction", prompt);
        else
            prompt_into_gemini(s, &w[SYSTEM_INSTRUCTION], "systemInstruction", prompt);
        break;
    case WIRE_OLLAMA_GENERATE:
        if (w[PROMPT].count == 0) /* asks for the model to be loaded */
            break;
        if (!w[SYSTEM].count || !put_before(s, w[SYSTEM].span.at, prompt, STR("")))
            put_value(s, "system", &w[SYSTEM], plain);
        break;
    case WIRE_COMPLETIONS: /* has no place for one */
    case WIRE_NONE:
    case WIRE_N:
        break;
    }
}

/* ---- the combo's own ---- */

static void drop_all(struct edits *s, const char *name);

/* The elements of a list that are not the system's. */
static void drop_system(struct edits *s, const char *name)
{
    struct json_want w = {.key = name};
    struct str one;
    struct buf b;
    size_t at = 0;
    bool is_any = false;
    if (!find(s, &w, 1) || !w.count || s->body.p[w.span.at] != '[')
        return;
    buf_init_arena(&b, s->a, SIZE_MAX / 4);
    while (next_element(s->body, w.span.at, &at, &one)) {
        struct json_want want = {.key = "role"};
        struct json_scan scan;
        bool has_role = one.p[0] == '{' && json_scan_object(one, &want, 1, 0, &scan, NULL);
        struct str role = has_role ? span_text(one, &want) : STR_NONE;
        if (str_is(role, "\"system\"") || str_is(role, "\"developer\"")) {
            is_any = true;
            continue;
        }
        buf_char(&b, b.n ? ',' : '[');
        buf_str_add(&b, one);
    }
    if (!is_any)
        return;
    if (b.n == 0)
        buf_char(&b, '[');
    buf_char(&b, ']');
    put(s, w.span.at, w.span.n, buf_str(&b));
    apply(s);
}

static void replace_system(struct edits *s, struct str message)
{
    static const char *const members[] = {"system", "instructions", "systemInstruction",
                                          "system_instruction"};
    drop_system(s, "messages");
    if (s->rl->spec->client == WIRE_RESPONSES)
        drop_system(s, "input");
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        drop_all(s, members[i]);
    add_prompt(s, message);
    if (s->n)
        apply(s);
}

/* ---- its tools ---- */

/* Of any of the formats: {"function":{"name":…}}, {"name":…}, {"type":"web_search"}. */
static struct str tool_name(struct edits *s, struct str one)
{
    struct json_want w[] = {
        {.key = "function"}, {.key = "custom"}, {.key = "name"}, {.key = "type"}};
    struct json_scan scan;
    struct str name;
    if (one.p[0] != '{' || !json_scan_object(one, w, ARRAY_LEN(w), 0, &scan, NULL))
        return STR_NONE;
    for (size_t i = 0; i < 2; i++) {
        struct str inner = span_text(one, &w[i]);
        struct json_want of = {.key = "name"};
        if (inner.n && inner.p[0] == '{' && json_scan_object(inner, &of, 1, 0, &scan, NULL) &&
            of.count && json_unquote(s->a, span_text(inner, &of), &name))
            return name;
    }
    for (size_t i = 2; i < ARRAY_LEN(w); i++)
        if (w[i].count && json_unquote(s->a, span_text(one, &w[i]), &name))
            return name;
    return STR_NONE;
}

struct kept_tools {
    struct buf list; /* what is left of it: [a,b */
    size_t n_left_out;
    struct str chosen; /* what the client wants called: tool_choice or its like */
    bool is_choice_gone;
};

static void filter_list(struct edits *s, const struct regex *wanted, size_t open,
                        struct kept_tools *k)
{
    struct str one;
    size_t at = 0;
    buf_init_arena(&k->list, s->a, SIZE_MAX / 4);
    while (next_element(s->body, open, &at, &one)) {
        struct json_want inner[] = {{.key = "functionDeclarations"},
                                    {.key = "function_declarations"}};
        struct json_scan scan;
        struct str name = tool_name(s, one);
        bool is_gemini = one.p[0] == '{' && json_scan_object(one, inner, 2, 0, &scan, NULL);
        const struct json_want *list = inner[0].count ? &inner[0] : &inner[1];
        if (is_gemini && list->count && one.p[list->span.at] == '[') {
            struct kept_tools in = {.chosen = k->chosen};
            size_t from = (size_t)(one.p - s->body.p) + list->span.at;
            filter_list(s, wanted, from, &in);
            k->n_left_out += in.n_left_out;
            k->is_choice_gone |= in.is_choice_gone;
            if (in.list.n == 0)
                continue;
            buf_char(&k->list, k->list.n ? ',' : '[');
            buf_str_add(&k->list, str_first(one, list->span.at));
            buf_str_add(&k->list, buf_str(&in.list));
            buf_char(&k->list, ']');
            buf_str_add(&k->list, str_skip(one, list->span.at + list->span.n));
            continue;
        }
        if (name.n && !regex_finds(wanted, name)) {
            struct str quoted_name = quoted(s->a, name, "");
            k->n_left_out++;
            k->is_choice_gone |= str_contains(k->chosen, quoted_name);
            continue;
        }
        buf_char(&k->list, k->list.n ? ',' : '[');
        buf_str_add(&k->list, one);
    }
}

static void filter_tools(struct edits *s, const struct regex *wanted)
{
    static const char *const choices[] = {"tool_choice", "toolConfig", "tool_config",
                                          "function_call"};
    static const char *const lists[] = {"tools", "functions"};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        struct json_want w[1 + ARRAY_LEN(choices)] = {{.key = lists[i]}};
        struct kept_tools k = {.n_left_out = 0};
        for (size_t c = 0; c < ARRAY_LEN(choices); c++)
            w[1 + c].key = choices[c];
        if (!find(s, w, ARRAY_LEN(w)) || !w[0].count || s->body.p[w[0].span.at] != '[')
            continue;
        for (size_t c = 1; c < ARRAY_LEN(w) && !k.chosen.n; c++)
            k.chosen = span_text(s->body, &w[c]);
        filter_list(s, wanted, w[0].span.at, &k);
        if (k.n_left_out == 0)
            continue;
        if (k.list.n) {
            buf_char(&k.list, ']');
            put(s, w[0].span.at, w[0].span.n, buf_str(&k.list));
            apply(s);
        } else {
            drop_all(s, lists[i]);
        }
        for (size_t c = 0; c < ARRAY_LEN(choices) && (k.list.n == 0 || k.is_choice_gone); c++)
            drop_all(s, choices[c]); /* nobody refuses what chooses among nothing else */
    }
}

/* ---- thinking ---- */

static const char *effort_of(int64_t budget)
{
    return budget <= 1024        ? "low"
           : budget <= 10240     ? "medium"
           : budget < MAX_BUDGET ? "high"
                                 : "xhigh";
}

/* Length of an array, and of the last user's text. */
static void measure(struct edits *s, int64_t *messages, int64_t *tools, size_t *text)
{
    struct json_want w[4] = {
        {.key = "messages"}, {.key = "contents"}, {.key = "input"}, {.key = "tools"}};
    struct str one, last = STR_NONE;
    *messages = *tools = 0;
    *text = 0;
    if (!find(s, w, 4))
        return;
    for (size_t i = 0; i < 4; i++) {
        size_t at = 0;
        if (w[i].count == 0)
            continue;
        if (s->body.p[w[i].span.at] == '"' && i == 2) {
            *messages = 1;
            *text = w[i].span.n - 2;
            continue;
        }
        if (s->body.p[w[i].span.at] != '[')
            continue;
        while (next_element(s->body, w[i].span.at, &at, &one)) {
            ++*(i == 3 ? tools : messages);
            if (i < 3 && str_contains(one, STR("\"user\"")))
                last = one;
        }
    }
    /* its texts, without what frames them */
    for (size_t at = 0; at < last.n; at++)
        if (last.p[at] == '"') {
            size_t end = value_end(last, at);
            if (end - at > 2 + 16)
                *text += end - at - 2;
            at = end - 1;
        }
}

/* The most that its model thinks with; where there is a choice, that of the first in order. */
static int64_t most_of(const struct relay *rl)
{
    int64_t most = provider_model_thinks_most(rl->model);
    if (most < 0 && rl->n_order)
        most = provider_model_thinks_most(rl->order[0]->model);
    return most < 0 || most > MAX_BUDGET ? MAX_BUDGET : most;
}

static int64_t capped(const struct edits *s, int64_t budget)
{
    int64_t most = most_of(s->rl);
    return budget < most ? budget : most;
}

static int64_t budget_of(struct edits *s)
{
    static const struct word efforts[] = {
        {"none", 0}, {"low", 1024}, {"medium", 10240}, {"high", MAX_BUDGET}, {0}};
    const struct settings *set = s->rl->set;
    if (str_is(set->thinking_mode, "custom"))
        return capped(s, set->thinking_budget);
    int64_t base = word_value(efforts, set->thinking_effort, (int)set->thinking_budget), messages,
            tools;
    size_t text;
    measure(s, &messages, &tools, &text);
    int64_t tenths = 10 + (messages > 10 ? 5 : 0) + (tools > 3 ? 5 : 0) + (text > 2000 ? 3 : 0);
    return capped(s, (base * tenths + 9) / 10);
}

/* A member goes, with the comma that belongs to it. */
static void drop(struct edits *s, const struct json_want *w)
{
    struct str b = s->body;
    if (w->count == 0)
        return;
    size_t from = w->span.key_at - 1, to = w->span.at + w->span.n, next = skip_space(b, to);
    if (next < b.n && b.p[next] == ',') {
        put(s, from, next + 1 - from, STR(""));
        return;
    }
    while (from > 0 && strchr(" \t\r\n", b.p[from - 1]))
        from--;
    if (from > 0 && b.p[from - 1] == ',')
        from--;
    put(s, from, to - from, STR(""));
}

/* However often it stands there; one by one, since neighbours share a comma. */
static void drop_all(struct edits *s, const char *name)
{
    struct json_want w = {.key = name};
    while (find(s, &w, 1) && w.count > 0) {
        drop(s, &w);
        apply(s);
        w = (struct json_want){.key = name};
    }
}

/* An object with some members set anew, others left out; value p NULL: left out. */
static struct str rebuilt(struct edits *s, struct str object, const char *const *names,
                          const struct str *values, size_t n)
{
    yyjson_val *v, *k, *m;
    struct buf b;
    size_t i, max;
    buf_init_arena(&b, s->a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    if (json_parse(s->a, object, 0, &v, NULL) && yyjson_is_obj(v))
        yyjson_obj_foreach (v, i, max, k, m) {
            bool is_ours = false;
            for (size_t x = 0; x < n; x++)
                is_ours |= str_eq(json_str(k), str_of(names[x]));
            if (is_ours)
                continue;
            jw_key_str(&w, json_str(k));
            jw_val(&w, m);
        }
    for (size_t x = 0; x < n; x++)
        if (values[x].p) {
            jw_key(&w, names[x]);
            jw_raw(&w, values[x]);
        }
    jw_object_end(&w);
    return buf_str(&b);
}

static void think_gemini(struct edits *s, const struct json_want *config, int64_t budget)
{
    struct str text = span_text(s->body, config);
    static const char *const names[] = {"thinkingConfig", "thinking_config"};
    struct json_want w[2] = {{.key = names[0]}, {.key = names[1]}};
    struct json_scan scan;
    if (!text.n || text.p[0] != '{' || !json_scan_object(text, w, 2, 0, &scan, NULL))
        return;
    for (size_t i = 0; i < 2; i++) {
        static const char *const camel[] = {"thinkingBudget", "thinkingLevel"},
                                 *const snake[] = {"thinking_budget", "thinking_level"};
        struct str values[2] = {str_fmt(s->a, "%lld", (long long)budget), STR_NONE},
                   none = STR_NONE;
        if (w[i].count == 0)
            continue;
        struct str one = budget == NO_BUDGET
                             ? none
                             : rebuilt(s, span_text(text, &w[i]), i ? snake : camel, values, 2);
        put(s, config->span.at, config->span.n, rebuilt(s, text, &names[i], &one, 1));
        return;
    }
}

/* For translators into formats that have numbers: those of these clients have words only. */
static void keep_number(struct edits *s, int64_t budget)
{
    enum wire_id client = s->rl->spec->client;
    bool has_words = client == WIRE_CHAT || client == WIRE_RESPONSES || client == WIRE_OLLAMA ||
                     client == WIRE_OLLAMA_GENERATE;
    s->rl->thinking_tokens = has_words && budget > 0 ? budget : 0;
}

/* budget NO_BUDGET: whatever the client says of it goes. */
static void set_thinking(struct edits *s, int64_t budget, bool can_reason)
{
    enum {
        THINKING,
        EFFORT,
        REASONING,
        CONFIG,
        CONFIG_SNAKE,
        THINK,
        MAX_TOKENS,
        N
    };
    struct json_want w[N] = {{.key = "thinking"},          {.key = "reasoning_effort"},
                             {.key = "reasoning"},         {.key = "generationConfig"},
                             {.key = "generation_config"}, {.key = "think"},
                             {.key = "max_tokens"}};
    if (!find(s, w, N))
        return;
    think_gemini(s, w[CONFIG].count ? &w[CONFIG] : &w[CONFIG_SNAKE], budget);
    if (budget == NO_BUDGET) {
        keep_number(s, 0);
        apply(s);
        for (size_t i = 0; i < CONFIG; i++)
            drop_all(s, w[i].key);
        drop_all(s, w[THINK].key);
        return;
    }
    int64_t most;
    bool is_anthropic = s->rl->spec->client == WIRE_ANTHROPIC;
    /* there the answer has to fit beside it */
    if (is_anthropic && str_to_int(span_text(s->body, &w[MAX_TOKENS]), &most) && budget >= most)
        budget = most - 1;
    if (is_anthropic && budget > 0 && budget < LEAST_BUDGET)
        budget = 0;
    if (w[THINKING].count || (is_anthropic && can_reason && budget > 0))
        put_value(s, "thinking", &w[THINKING],
                  budget > 0 ? str_fmt(s->a, "{\"type\":\"enabled\",\"budget_tokens\":%lld}",
                                       (long long)budget)
                             : STR("{\"type\":\"disabled\"}"));
    struct str effort = str_fmt(s->a, "\"%s\"", effort_of(budget));
    if (w[EFFORT].count || w[REASONING].count || w[THINK].count)
        keep_number(s, budget);
    if (w[EFFORT].count && budget <= 0)
        drop(s, &w[EFFORT]);
    else if (w[EFFORT].count)
        put(s, w[EFFORT].span.at, w[EFFORT].span.n, effort);
    if (w[REASONING].count && s->body.p[w[REASONING].span.at] == '{') {
        static const char *const names[] = {"effort", "max_tokens"};
        const struct str values[] = {budget > 0 ? effort : STR_NONE, STR_NONE};
        put(s, w[REASONING].span.at, w[REASONING].span.n,
            rebuilt(s, span_text(s->body, &w[REASONING]), names, values, 2));
    }
    if (w[THINK].count) {
        bool is_level = s->body.p[w[THINK].span.at] == '"';
        put(s, w[THINK].span.at, w[THINK].span.n,
            budget <= 0 ? STR("false")
            : is_level  ? effort
                        : STR("true"));
    }
}

/* What the client's format has for so much thinking, where it says nothing of it yet. 0: none at all. */
static void say_thinking(struct edits *s, int64_t budget)
{
    enum {
        THINKING,
        EFFORT,
        REASONING,
        THINK,
        CONFIG,
        CONFIG_SNAKE,
        MAX_TOKENS,
        N
    };
    struct json_want w[N] = {{.key = "thinking"},         {.key = "reasoning_effort"},
                             {.key = "reasoning"},        {.key = "think"},
                             {.key = "generationConfig"}, {.key = "generation_config"},
                             {.key = "max_tokens"}};
    int64_t most;
    if (!find(s, w, N) || w[THINKING].count || w[EFFORT].count || w[REASONING].count ||
        w[THINK].count)
        return;
    struct str effort = str_fmt(s->a, "\"%s\"", budget ? effort_of(budget) : "none");
    keep_number(s, budget);
    switch (s->rl->spec->client) {
    case WIRE_ANTHROPIC:
        /* there the answer has to fit beside it */
        if (budget == 0)
            put_member(s, "thinking", STR("{\"type\":\"disabled\"}"));
        if (str_to_int(span_text(s->body, &w[MAX_TOKENS]), &most) && budget >= most)
            budget = most - 1;
        if (budget >= LEAST_BUDGET)
            put_member(
                s, "thinking",
                str_fmt(s->a, "{\"type\":\"enabled\",\"budget_tokens\":%lld}", (long long)budget));
        break;
    case WIRE_CHAT:
        put_member(s, "reasoning_effort", effort);
        break;
    case WIRE_RESPONSES:
        put_member(s, "reasoning", str_fmt(s->a, "{\"effort\":" STR_FMT "}", STR_ARG(effort)));
        break;
    case WIRE_OLLAMA:
    case WIRE_OLLAMA_GENERATE:
        put_member(s, "think", budget ? STR("true") : STR("false"));
        break;
    case WIRE_GEMINI: {
        const struct json_want *config = w[CONFIG].count ? &w[CONFIG] : &w[CONFIG_SNAKE];
        struct str was = config->count ? span_text(s->body, config) : STR("{}");
        static const char *const name = "thinkingConfig";
        struct str value = str_fmt(s->a, "{\"thinkingBudget\":%lld}", (long long)budget);
        if (!str_contains(was, STR("\"thinkingConfig\"")) &&
            !str_contains(was, STR("\"thinking_config\"")))
            put_value(s, "generationConfig", config, rebuilt(s, was, &name, &value, 1));
        break;
    }
    case WIRE_COMPLETIONS:
    case WIRE_NONE:
    case WIRE_N:
        break;
    }
    if (s->n)
        apply(s);
}

/* A level in words, wherever it came from, becomes what the client's format has for it; what that says already counts. */
static void put_level(struct edits *s)
{
    static const struct word levels[] = {{"none", 0},
                                         {"low", 4096},
                                         {"medium", 8192},
                                         {"high", 24576},
                                         {"max", MAX_BUDGET},
                                         {"xhigh", MAX_BUDGET},
                                         {0}};
    struct json_want w[] = {{.key = "thinkingLevel"}, {.key = "thinking_level"}};
    struct str level = STR_NONE;
    if (!find(s, w, ARRAY_LEN(w)) ||
        !json_unquote(s->a, span_text(s->body, &w[w[0].count ? 0 : 1]), &level))
        return;
    int64_t budget = word_value(levels, level, -1);
    drop_all(s, "thinkingLevel");
    drop_all(s, "thinking_level");
    if (budget >= 0)
        say_thinking(s, capped(s, budget));
}

/* A guess that costs little, for nearly none is: the last word of its speaker stands in the last element of some list. */
static bool may_be_begun(struct str body, struct str speaker)
{
    for (size_t end = body.n; end >= speaker.n; end--) {
        const char *quote = memrchr(body.p, '"', end);
        if (!quote)
            return false;
        end = (size_t)(quote - body.p) + 1;
        if (end < speaker.n || memcmp(body.p + end - speaker.n, speaker.p, speaker.n) != 0)
            continue;
        size_t at = end;
        while (at < body.n && body.p[at] != '}' && body.p[at] != ']') /* what else is in it */
            at = body.p[at] == ',' ? at + 1 : value_end(body, at);
        at = skip_space(body, at + 1);
        return at < body.n && body.p[at] == ']';
    }
    return false;
}

/* Whether the answer was begun already, by words that are put into the model's mouth: there is nothing to think about any more, and vendors
 * refuse it. A tool's answer is none of these. */
static bool is_begun(struct edits *s)
{
    struct json_want w[] = {{.key = "messages"}, {.key = "contents"}, {.key = "input"}};
    struct json_want role = {.key = "role"};
    struct json_scan scan;
    if ((!may_be_begun(s->body, STR("\"assistant\"")) &&
         !may_be_begun(s->body, STR("\"model\""))) ||
        !find(s, w, ARRAY_LEN(w)))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        struct str one, last = STR_NONE;
        size_t at = 0;
        if (!w[i].count || s->body.p[w[i].span.at] != '[')
            continue;
        while (next_element(s->body, w[i].span.at, &at, &one))
            last = one;
        role = (struct json_want){.key = "role"};
        if (!last.n || last.p[0] != '{' || !json_scan_object(last, &role, 1, 0, &scan, NULL))
            return false;
        struct str is = span_text(last, &role);
        return str_is(is, "\"assistant\"") || str_is(is, "\"model\"");
    }
    return false;
}

/* ---- streams ---- */

/* What the client said in a header only, for those that look at bodies only. */
static void ask_for_stream(struct edits *s)
{
    struct json_want w = {.key = "stream"};
    if (!find(s, &w, 1))
        return;
    put_value(s, "stream", &w, STR("true"));
    apply(s);
}

/* ---- whether ---- */

static bool takes_prompt(const struct relay *rl)
{
    struct str list = rl->set->system_prompt_except, one;
    if (!rl->set->inject_system_prompt || rl->set->system_prompt.n == 0 ||
        (rl->key && rl->key->policy->no_system_prompt))
        return false;
    while (list.n) {
        list = str_cut(list, ',', &one);
        if (name_fits(str_trim(one), rl->model))
            return false;
    }
    return true;
}

bool inject(struct relay *rl)
{
    bool has_mode = !str_is(rl->set->thinking_mode, "passthrough");
    struct edits s = {.rl = rl, .a = rl->body_arena, .body = rl->body};
    const struct combo *combo = choice_named(rl);
    bool has_message = combo && combo->system_message.n;
    bool is_thinker = str_ends(rl->model, STR("-thinking"));
    bool thinks = has_mode || rl->says_level || rl->says_thinking || is_thinker;
    if (rl->spec->shape != RELAY_TALK || !(thinks || rl->set->inject_system_prompt || has_message ||
                                           rl->adds_stream || (combo && combo->tools)))
        return false;
    if (rl->adds_stream)
        ask_for_stream(&s);
    if (rl->says_level)
        put_level(&s);
    if (is_thinker)
        say_thinking(&s, capped(&s, THINKING_MODEL));
    if (has_mode) {
        const struct model *m = snapshot_model(rl->snap, rl->model);
        bool is_auto = str_is(rl->set->thinking_mode, "auto");
        set_thinking(&s, is_auto ? NO_BUDGET : budget_of(&s), m && m->capabilities & CAP_REASONING);
        if (s.n)
            apply(&s);
    }
    if (thinks && is_begun(&s)) {
        set_thinking(&s, NO_BUDGET, false);
        if (s.n)
            apply(&s);
    }
    if (takes_prompt(rl)) {
        add_prompt(&s, rl->set->system_prompt);
        if (s.n)
            apply(&s);
    }
    if (combo && combo->tools)
        filter_tools(&s, combo->tools);
    if (has_message)
        replace_system(&s, combo->system_message);
    if (s.body.p == rl->body.p)
        return false;
    rl->body = s.body;
    return true;
}
