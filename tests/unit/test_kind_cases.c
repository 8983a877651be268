/* Each kind of providers has a case, tests/golden/kinds/KIND.json: where it serves what, and what some requests become on their way to it.
 * A row without one fails, and so does a quirk that changes nothing in its kind's case: then nobody would notice if it were lost. */
#include "unit.h"
#include "domain/provider_kind.h"
#include "wire/wires.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define ROOT "tests/golden/kinds/"
#define MAX_TEXT (8u << 20)
/* These are the relay's business: black-box tests hold them. */
#define NOT_OF_WIRES \
    (QUIRK_REPAIR_STREAM | QUIRK_STATEFUL_RESPONSES | QUIRK_REASONING_NAME | QUIRK_MAX_TOKENS_NEW)

static struct str read_file(struct arena *a, const char *path)
{
    struct buf b;
    char piece[65536];
    FILE *f = fopen(path, "rb");
    buf_init_arena(&b, a, MAX_TEXT);
    if (!f)
        return STR_NONE;
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
        buf_add(&b, piece, n);
    (void)fclose(f);
    return buf_str(&b);
}

static yyjson_val *read_json(struct arena *a, const char *path)
{
    struct err e = ERR_INIT;
    yyjson_val *v = NULL;
    struct str text = read_file(a, path);
    ck_assert_msg(text.n > 0,
                  "%s is missing or empty: tests/golden/README.md says what belongs there", path);
    ck_assert_msg(json_parse(a, text, 0, &v, &e), "%s: %s", path, e.message);
    return v;
}

static struct wire_ctx context(struct arena *a, const struct provider_kind *k, uint32_t quirks,
                               struct str model)
{
    struct wire_ctx c;
    wire_ctx_init(&c, a);
    c.dropped_tail = NULL; /* the struct moves */
    c.quirks = quirks;
    c.strip = k->strip;
    c.upstream_model = model;
    c.is_stream = true;
    c.now_ms = 1700000000000;
    c.seed = 1;
    return c;
}

static void write_request(struct arena *a, struct wire_ctx c, enum wire_id from, enum wire_id to,
                          struct jw *w)
{
    struct ir_request req;
    struct err e = ERR_INIT;
    struct buf body;
    c.client = from;
    c.upstream = to;
    c.req = &req;
    yyjson_val *source = read_json(a,
                                   str_z(a, str_fmt(a, ROOT "from-%s.json", wire_of(from)->name)));
    buf_init_arena(&body, a, MAX_TEXT);
    ir_request_init(&req);
    ck_assert_msg(wire_of(from)->read_request(&c, source, &req, &e), "%s", e.message);
    req.is_stream = true;
    jw_object(w);
    if (wire_of(to)->write_request(&c, &req, &body, &e)) {
        jw_key(w, "body");
        jw_raw(w, buf_str(&body));
    } else {
        jw_kv_cstr(w, "refused", e.message);
    }
    jw_key(w, "dropped");
    jw_array(w);
    for (const struct wire_dropped *d = c.dropped; d; d = d->next)
        jw_str(w, d->what);
    jw_array_end(w);
    jw_object_end(w);
}

static void write_paths(const struct provider_kind *k, struct jw *w)
{
    jw_key(w, "paths");
    jw_object(w);
    for (int op = 0; op < OP_N; op++) {
        const char *path = provider_kind_path(k, (enum op)op);
        if (path) /* several have one name, by whose format they are */
            jw_key(w, op_usual_path((enum op)op)), jw_cstr(w, path);
    }
    jw_object_end(w);
}

/* All that the kind makes of what the cases have in common. */
static struct str render(struct arena *a, const struct provider_kind *k, uint32_t quirks,
                         struct str model)
{
    static const enum wire_id sources[] = {WIRE_RESPONSES, WIRE_GEMINI, WIRE_CHAT};
    struct buf b;
    buf_init_arena(&b, a, MAX_TEXT);
    struct jw w = jw_on(&b);
    bool is_chat = false;
    jw_object(&w);
    jw_kv_str(&w, "model", model);
    write_paths(k, &w);
    jw_key(&w, "requests");
    jw_object(&w);
    for (size_t i = 0; i < ARRAY_LEN(k->wires) && k->wires[i] != WIRE_NONE; i++) {
        is_chat |= k->wires[i] == WIRE_CHAT;
        jw_key(&w, wire_of(k->wires[i])->name);
        jw_object(&w);
        for (size_t s = 0; s < ARRAY_LEN(sources); s++)
            if (sources[s] != k->wires[i]) {
                jw_key(&w, wire_of(sources[s])->name);
                write_request(a, context(a, k, quirks, model), sources[s], k->wires[i], &w);
            }
        jw_object_end(&w);
    }
    jw_object_end(&w);
    if (is_chat) {
        struct wire_ctx c = context(a, k, quirks, model);
        struct ir_response res;
        struct err e = ERR_INIT;
        c.client = WIRE_ANTHROPIC;
        c.upstream = WIRE_CHAT;
        ck_assert(
            wire_chat.read_response(&c, read_json(a, ROOT "reply-openai_chat.json"), &res, &e));
        jw_key(&w, "reply");
        wire_anthropic.write_response(&c, &res, &b);
        w.needs_comma = true;
    }
    jw_object_end(&w);
    return buf_str(&b);
}

static void write_case(struct arena *a, const char *path, struct str text)
{
    struct err e = ERR_INIT;
    yyjson_val *v = NULL;
    size_t n;
    ck_assert(json_parse(a, text, 0, &v, &e));
    char *pretty = yyjson_val_write(v, YYJSON_WRITE_PRETTY_TWO_SPACES, &n);
    FILE *f = fopen(path, "wb");
    ck_assert(pretty && f);
    (void)fprintf(f, "%s\n", pretty);
    (void)fclose(f);
    free(pretty);
}

static void check_kind(struct arena *a, const struct provider_kind *k)
{
    const char *path = str_z(a, str_fmt(a, ROOT "%s.json", k->id));
    yyjson_val *want = read_json(a, path), *got = NULL;
    struct str model = json_get_str(want, "model");
    struct err e = ERR_INIT;
    ck_assert_msg(model.n > 0, "%s: which model?", path);
    uint32_t quirks = provider_model_quirks(k, k->quirks, model);
    struct str text = render(a, k, quirks, model);
    ck_assert_msg(json_parse(a, text, 0, &got, &e), "%s: %s", path, e.message);
    if (!json_get(want, "requests") && getenv("GOLDEN_WRITE"))
        write_case(a, path, text); /* it then waits to be read by a person */
    else
        ck_assert_msg(json_equal(want, got), "%s says something else than:\n" STR_FMT, path,
                      STR_ARG(text));
    struct provider_kind bare = *k; /* some strip as well what a quirk leaves out */
    bare.strip = NULL;
    text = render(a, &bare, quirks, model);
    for (const struct word *q = wire_quirk_words; q->text; q++) {
        uint32_t bit = (uint32_t)q->value;
        if (quirks & bit & ~NOT_OF_WIRES)
            ck_assert_msg(!str_eq(text, render(a, &bare, quirks & ~bit, model)),
                          "%s: %s changes nothing there", path, q->text);
    }
}

START_TEST(every_kind_has_its_case)
{
    const struct provider_kind *k;
    for (size_t i = 0; (k = provider_kind_at(i)) != NULL; i++) {
        struct arena *a = arena_new();
        if (!k->is_builtin)
            check_kind(a, k);
        arena_free(a);
    }
}
END_TEST

START_TEST(every_case_is_of_a_kind)
{
    DIR *dir = opendir(ROOT);
    struct dirent *d;
    ck_assert_ptr_nonnull(dir);
    while ((d = readdir(dir)) != NULL) {
        struct str name = str_of(d->d_name);
        if (name.p[0] == '.' || str_starts(name, STR("from-")) || str_starts(name, STR("reply-")))
            continue;
        ck_assert_msg(str_ends(name, STR(".json")) &&
                          provider_kind_find(str_first(name, name.n - 5)) != NULL,
                      "%s is of no kind", d->d_name);
    }
    (void)closedir(dir);
}
END_TEST

/* Every flag that there is has a kind or a model that needs it, or is for operators to set: then these stand here, with a case of their own
 * among the formats'. */
START_TEST(every_quirk_can_be_had)
{
    const uint32_t for_operators = QUIRK_SCHEMA_INLINE_REFS | QUIRK_TEXT_AFTER_TOOL |
                                   QUIRK_ALTERNATION_FILLER;
    static const struct {
        const char *kind, *model;
    } models[] = {{"google", "gemini-1.5-pro"},      {"google", "gemini-3-pro"},
                  {"anthropic", "claude-opus-4-8"},  {"openai", "gpt-4o"},
                  {"deepseek", "deepseek-reasoner"}, {"zhipu", "glm-4.6"}};
    uint32_t had = for_operators;
    const struct provider_kind *k;
    for (size_t i = 0; (k = provider_kind_at(i)) != NULL; i++)
        had |= k->quirks;
    for (size_t i = 0; i < ARRAY_LEN(models); i++) {
        k = provider_kind_find(str_of(models[i].kind));
        had |= provider_model_quirks(k, k->quirks, str_of(models[i].model));
    }
    for (const struct word *q = wire_quirk_words; q->text; q++)
        ck_assert_msg(had & (uint32_t)q->value, "nobody has %s", q->text);
}
END_TEST

START_TEST(operators_know_better)
{
    struct arena *a = arena_new();
    struct err e = ERR_INIT;
    struct quirk_edit q;
    struct buf b;
    yyjson_val *v;
    ck_assert(json_parse(a, STR("{\"no_files\":true,\"developer_role\":false}"), 0, &v, &e));
    ck_assert(provider_quirks_read(v, &q, &e));
    ck_assert_uint_eq(provider_quirks_edited(QUIRK_DEVELOPER_ROLE | QUIRK_TOP_K, q),
                      QUIRK_NO_FILES | QUIRK_TOP_K);
    buf_init_arena(&b, a, 1000);
    struct jw w = jw_on(&b);
    provider_quirks_write(&w, q);
    ck_assert(str_is(buf_str(&b), "{\"developer_role\":false,\"no_files\":true}"));
    ck_assert(provider_quirks_read(NULL, &q, &e) && !q.with && !q.without);
    static const struct {
        struct str text;
        const char *says;
    } bad[] = {{STR_INIT("[]"), "object"},
               {STR_INIT("{\"no_fils\":true}"), "'no_fils'"},
               {STR_INIT("{\"no_files\":1}"), "no_files"}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        e = (struct err)ERR_INIT;
        ck_assert(json_parse(a, bad[i].text, 0, &v, &e) && !provider_quirks_read(v, &q, &e));
        ck_assert(str_contains(str_of(e.message), str_of(bad[i].says)));
        ck_assert_str_eq(e.field, "quirks");
    }
    arena_free(a);
}
END_TEST

/* What a kind refuses, as each format asks for it. NULL: it has no such wish, or the loss is none: of Responses' `store` sluice
 * keeps the answer itself. Names are those of the field; what goes with another may be named by that. */
/* clang-format off */
static const struct { const char *field, *other, *asks[WIRE_N]; } wishes[] = {
    { "n", NULL, { [WIRE_CHAT] = "\"n\":2", [WIRE_GEMINI] = "\"generationConfig\":{\"candidateCount\":2}" } },
    { "stop", NULL, { [WIRE_CHAT] = "\"stop\":[\"a\"]", [WIRE_ANTHROPIC] = "\"stop_sequences\":[\"a\"]",
        [WIRE_GEMINI] = "\"generationConfig\":{\"stopSequences\":[\"a\"]}", [WIRE_OLLAMA] = "\"options\":{\"stop\":[\"a\"]}" } },
    { "seed", NULL, { [WIRE_CHAT] = "\"seed\":1", [WIRE_GEMINI] = "\"generationConfig\":{\"seed\":1}", [WIRE_OLLAMA] = "\"options\":{\"seed\":1}" } },
    { "frequency_penalty", NULL, { [WIRE_CHAT] = "\"frequency_penalty\":1", [WIRE_GEMINI] = "\"generationConfig\":{\"frequencyPenalty\":1}",
        [WIRE_OLLAMA] = "\"options\":{\"frequency_penalty\":1}" } },
    { "presence_penalty", NULL, { [WIRE_CHAT] = "\"presence_penalty\":1", [WIRE_GEMINI] = "\"generationConfig\":{\"presencePenalty\":1}",
        [WIRE_OLLAMA] = "\"options\":{\"presence_penalty\":1}" } },
    { "logit_bias", NULL, { [WIRE_CHAT] = "\"logit_bias\":{\"1\":1}" } },
    { "logprobs", "top_logprobs", { [WIRE_CHAT] = "\"logprobs\":true", [WIRE_RESPONSES] = "\"top_logprobs\":2",
        [WIRE_GEMINI] = "\"generationConfig\":{\"responseLogprobs\":true}", [WIRE_OLLAMA] = "\"logprobs\":true" } },
    { "top_logprobs", NULL, { [WIRE_CHAT] = "\"logprobs\":true,\"top_logprobs\":2", [WIRE_RESPONSES] = "\"top_logprobs\":2",
        [WIRE_GEMINI] = "\"generationConfig\":{\"responseLogprobs\":true,\"logprobs\":2}", [WIRE_OLLAMA] = "\"logprobs\":true,\"top_logprobs\":2" } },
    { "user", NULL, { [WIRE_CHAT] = "\"user\":\"u\"", [WIRE_RESPONSES] = "\"user\":\"u\"", [WIRE_ANTHROPIC] = "\"metadata\":{\"user_id\":\"u\"}" } },
    { "metadata", NULL, { [WIRE_CHAT] = "\"metadata\":{\"a\":\"b\"}", [WIRE_RESPONSES] = "\"metadata\":{\"a\":\"b\"}" } },
    { "store", NULL, { [WIRE_CHAT] = "\"store\":true" } },
    { "stream_options", NULL, { NULL } }, /* sluice's own wish */
};
static const char *const talks[WIRE_N] = {
    [WIRE_CHAT] = "\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]", [WIRE_RESPONSES] = "\"model\":\"m\",\"input\":\"q\"",
    [WIRE_ANTHROPIC] = "\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]",
    [WIRE_GEMINI] = "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]}]",
    [WIRE_OLLAMA] = "\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]",
};
/* clang-format on */

static bool is_named(const struct wire_ctx *c, const char *name)
{
    for (const struct wire_dropped *d = c->dropped; name && d; d = d->next)
        if (str_eq(d->what, str_of(name)))
            return true;
    return false;
}

static void check_wish(const struct provider_kind *k, enum wire_id from, enum wire_id to, size_t at)
{
    struct arena *a = arena_new();
    struct wire_ctx c = context(a, k, k->quirks, STR("m"));
    struct ir_request req;
    struct err e = ERR_INIT;
    struct buf body;
    yyjson_val *v = NULL;
    const char *field = wishes[at].field;
    struct str text = str_fmt(a, "{%s,%s}", talks[from], wishes[at].asks[from]);
    c.client = from;
    c.upstream = to;
    c.req = &req;
    c.is_stream = false;
    buf_init_arena(&body, a, MAX_TEXT);
    ir_request_init(&req);
    ck_assert_msg(json_parse(a, text, 0, &v, &e) && wire_of(from)->read_request(&c, v, &req, &e),
                  STR_FMT ": %s", STR_ARG(text), e.message);
    if (!wire_of(to)->write_request(&c, &req, &body, &e)) {
        ck_assert_msg(e.kind == ERR_UNSUPPORTED && strcmp(e.field, field) == 0,
                      "%s: " STR_FMT ": %s", k->id, STR_ARG(text), e.message);
    } else {
        ck_assert(json_parse(a, buf_str(&body), 0, &v, &e));
        ck_assert_msg(!json_get(v, field), "%s is sent %s", k->id, field);
        ck_assert_msg(is_named(&c, field) || is_named(&c, wishes[at].other),
                      "%s loses %s from %s for %s", k->id, field, wire_of(from)->name,
                      wire_of(to)->name);
    }
    arena_free(a);
}

static size_t wish_of(const char *field)
{
    size_t at = 0;
    while (at < ARRAY_LEN(wishes) && strcmp(wishes[at].field, field) != 0)
        at++;
    ck_assert_msg(at < ARRAY_LEN(wishes), "how do the formats ask for %s?", field);
    return at;
}

/* Also of the same format: a Chat request is written anew where a quirk asks for it. */
START_TEST(what_a_kind_refuses_is_named)
{
    const struct provider_kind *k;
    for (size_t i = 0; (k = provider_kind_at(i)) != NULL; i++)
        for (const char *const *field = k->strip; field && *field; field++) {
            size_t at = wish_of(*field);
            for (size_t w = 0; w < ARRAY_LEN(k->wires) && k->wires[w] != WIRE_NONE; w++)
                for (int from = 0; from < WIRE_N; from++)
                    if (wishes[at].asks[from])
                        check_wish(k, (enum wire_id)from, k->wires[w], at);
        }
}
END_TEST

UNIT_MAIN("kind_cases", every_kind_has_its_case, every_case_is_of_a_kind, every_quirk_can_be_had,
          operators_know_better, what_a_kind_refuses_is_named)
