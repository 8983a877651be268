/* The table of provider kinds says nothing that contradicts itself, and knows what it has to. */
#include "unit.h"
#include "domain/provider_kind.h"
#include "http/http.h"

START_TEST(every_row_is_sound)
{
    const struct provider_kind *k;
    struct arena *a = arena_new();
    for (size_t i = 0; (k = provider_kind_at(i)) != NULL; i++) {
        struct url url;
        struct err e = ERR_INIT;
        ck_assert_msg(provider_kind_find(str_of(k->id)) == k, "%s is not found, or twice there",
                      k->id);
        ck_assert(k->title && k->title[0]);
        for (const char *p = k->id; *p; p++)
            ck_assert((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '-');
        if (k->is_builtin)
            continue;
        ck_assert_msg(k->wires[0] != WIRE_NONE, "%s speaks nothing", k->id);
        if (k->base_url) {
            ck_assert_msg(url_parse(a, str_of(k->base_url), &url, &e), "%s: %s", k->id, e.message);
            ck_assert_msg(k->is_local || str_is(url.scheme, "https"),
                          "%s: a vendor's address without TLS", k->id);
            ck_assert_msg(k->base_url[strlen(k->base_url) - 1] != '/', "%s", k->id);
        }
        for (size_t w = 0; w < ARRAY_LEN(k->wires) && k->wires[w] != WIRE_NONE; w++)
            ck_assert_msg(provider_kind_path(k, wire_op(k->wires[w])) != NULL,
                          "%s has no path for a format of its own", k->id);
        ck_assert_msg(k->wires[ARRAY_LEN(k->wires) - 1] == WIRE_NONE,
                      "%s: the list of formats has no end", k->id);
        ck_assert_msg(k->is_local || !k->base_url || k->key_env,
                      "%s: where does its key come from?", k->id);
        if (k->api_version_param)
            ck_assert(k->auth == AUTH_API_KEY);
        for (const struct op_path *p = k->paths; p && p->path; p++) {
            /* a list of paths may be shared by kinds that serve less */
            const char *path = provider_kind_path(k, p->op);
            ck_assert_msg(!path || path == p->path, "%s: %s", k->id, p->path);
        }
    }
    arena_free(a);
}
END_TEST

START_TEST(knows_every_vendor_and_every_spelling)
{
    static const char *const ids[] = {
        "openai",
        "anthropic",
        "google",
        "ollama",
        "azure",
        "openrouter",
        "groq",
        "mistral",
        "deepseek",
        "xai",
        "together",
        "fireworks",
        "perplexity",
        "cohere",
        "nvidia",
        "cerebras",
        "sambanova",
        "moonshot",
        "qwen",
        "zhipu",
        "minimax",
        "siliconflow",
        "huggingface",
        "github",
        "vllm",
        "llamacpp",
        "lmstudio",
        "openai-compatible",
        "openai-responses",
        "anthropic-compatible",
        "google-compatible",
        "volcengine",
        "argo",
        "echo",
    };
    static const char *const aliases[] = {
        "openai_chat",
        "openai_responses",
        "open_responses",
        "volcengine--openai_chat",
        "volcengine--openai_responses",
        "minimax--openai_chat",
        "minimax--anthropic",
        "openrouter--openai_chat",
        "argo--openai_chat",
        "argo--anthropic",
        "gemini",
    };
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        const struct provider_kind *k = provider_kind_find(str_of(ids[i]));
        ck_assert_msg(k && strcmp(k->id, ids[i]) == 0, "%s", ids[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
        ck_assert_msg(provider_kind_find(str_of(aliases[i])) != NULL, "%s", aliases[i]);
    ck_assert_ptr_null(provider_kind_find(STR("nobody")));
    ck_assert_ptr_null(provider_kind_find(STR("")));
}
END_TEST

/* OmniRoute's registry, which has whole addresses of conversations. */
START_TEST(leads_where_omniroutes_registry_leads)
{
    static const struct {
        const char *name, *alias, *address;
        enum wire_id wire;
        enum auth_style auth;
    } rows[] = {
        /* clang-format off */
        { "openai", NULL, "https://api.openai.com/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "anthropic", NULL, "https://api.anthropic.com/v1/messages", WIRE_ANTHROPIC, AUTH_X_API_KEY },
        { "gemini", "google", "https://generativelanguage.googleapis.com/v1beta/models/{model}", WIRE_GEMINI, AUTH_X_GOOG },
        { "openrouter", NULL, "https://openrouter.ai/api/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "groq", NULL, "https://api.groq.com/openai/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "xai", NULL, "https://api.x.ai/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "mistral", NULL, "https://api.mistral.ai/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "perplexity", "pplx", "https://api.perplexity.ai/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "together", NULL, "https://api.together.xyz/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "fireworks", NULL, "https://api.fireworks.ai/inference/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "cerebras", NULL, "https://api.cerebras.ai/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "nvidia", NULL, "https://integrate.api.nvidia.com/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "nebius", NULL, "https://api.tokenfactory.nebius.com/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "hyperbolic", "hyp", "https://api.hyperbolic.xyz/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "huggingface", "hf", "https://router.huggingface.co/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "kimi", NULL, "https://api.moonshot.ai/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "zai", NULL, "https://api.z.ai/api/anthropic/v1/messages", WIRE_ANTHROPIC, AUTH_X_API_KEY },
        { "minimax-intl", NULL, "https://api.minimax.io/anthropic/v1/messages", WIRE_ANTHROPIC, AUTH_X_API_KEY },
        { "minimax-cn", NULL, "https://api.minimaxi.com/anthropic/v1/messages", WIRE_ANTHROPIC, AUTH_X_API_KEY },
        { "alicode", NULL, "https://coding.dashscope.aliyuncs.com/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "alicode-intl", NULL, "https://coding-intl.dashscope.aliyuncs.com/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "bailian-coding-plan", "bcp", "https://coding-intl.dashscope.aliyuncs.com/apps/anthropic/v1/messages", WIRE_ANTHROPIC, AUTH_X_API_KEY },
        { "alibaba", "ali", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "blackbox", "bb", "https://api.blackbox.ai/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "ollama-cloud", "ollamacloud", "https://ollama.com/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "synthetic", NULL, "https://api.synthetic.new/openai/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "kilo-gateway", "kg", "https://api.kilo.ai/api/gateway/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "opencode-zen", NULL, "https://opencode.ai/zen/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "opencode-go", NULL, "https://opencode.ai/zen/go/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "longcat", "lc", "https://api.longcat.chat/openai/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "pollinations", "pol", "https://text.pollinations.ai/openai/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "puter", "pu", "https://api.puter.com/puterai/openai/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "scaleway", "scw", "https://api.scaleway.ai/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "aimlapi", "aiml", "https://api.aimlapi.com/v1/chat/completions", WIRE_CHAT, AUTH_BEARER },
        { "vertex", NULL, "https://aiplatform.googleapis.com/v1/publishers/google/models/{model}", WIRE_GEMINI, AUTH_X_GOOG },
        /* clang-format on */
    };
    struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct provider_kind *k = provider_kind_find(str_of(rows[i].name));
        ck_assert_msg(k != NULL, "%s", rows[i].name);
        ck_assert_msg(!rows[i].alias || provider_kind_find(str_of(rows[i].alias)) == k, "%s",
                      rows[i].alias);
        const char *path = provider_kind_path(k, wire_op(rows[i].wire));
        ck_assert_msg(path && k->wires[0] == rows[i].wire && k->auth == rows[i].auth, "%s", k->id);
        struct str address = str_fmt(a, "%s%s%s", k->base_url, path[0] == '/' ? "" : "/", path);
        ck_assert_msg(str_eq(address, str_of(rows[i].address)), "%s: " STR_FMT, k->id,
                      STR_ARG(address));
    }
    arena_free(a);
}
END_TEST

START_TEST(a_familys_name_says_whose_it_is)
{
    static const struct {
        const char *model, *kind;
        size_t n;
    } rows[] = {{"gpt-4o", "openai", 1},
                {"o1", "openai", 1},
                {"o1x", NULL, 0},
                {"text-embedding-3-small", "openai", 1},
                {"claude-sonnet-4-5", "anthropic", 1},
                {"gemini-2.5-pro", "google", 1},
                {"gemma-3-27b-it", "google", 1},
                {"deepseek-chat", "deepseek", 1},
                {"open-mixtral-8x22b", "mistral", 1},
                {"glm-4.6", "zai", 2},
                {"MiniMax-M2", "minimax-intl", 3},
                {"gpt-oss-120b", NULL, 0},
                {"llama-3.3-70b-versatile", NULL, 0},
                {"", NULL, 0}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *kinds[PROVIDER_MAKERS];
        size_t n = provider_makers(str_of(rows[i].model), kinds);
        ck_assert_msg(n == rows[i].n, "%s: %zu", rows[i].model, n);
        for (size_t k = 0; k < n; k++)
            ck_assert_ptr_nonnull(provider_kind_find(str_of(kinds[k])));
        ck_assert(n == 0 || strcmp(kinds[0], rows[i].kind) == 0);
    }
}
END_TEST

START_TEST(names_every_operation)
{
    for (int op = 0; op < OP_N; op++)
        ck_assert_str_ne(op_name((enum op)op), "unknown");
    ck_assert_str_eq(op_name(OP_N), "unknown");
}
END_TEST

START_TEST(serves_only_what_is_there)
{
    const struct provider_kind *anthropic = provider_kind_find(STR("anthropic"));
    ck_assert_str_eq(provider_kind_path(anthropic, OP_MESSAGES), "/v1/messages");
    ck_assert_ptr_null(provider_kind_path(anthropic, OP_EMBED_OPENAI));
    ck_assert_ptr_null(provider_kind_path(anthropic, OP_CHAT));
    const struct provider_kind *azure = provider_kind_find(STR("azure"));
    ck_assert_ptr_nonnull(strstr(provider_kind_path(azure, OP_CHAT), "/deployments/{model}/"));
}
END_TEST

START_TEST(models_of_a_vendor_differ)
{
    static const struct {
        const char *kind, *model;
        uint32_t quirk;
        bool has;
    } cases[] = {
        {"anthropic", "claude-sonnet-4-5", QUIRK_ADAPTIVE_THINKING, false},
        {"anthropic", "claude-sonnet-4-5", QUIRK_STRUCTURED_OUTPUT, true},
        {"anthropic", "claude-3-5-haiku-latest", QUIRK_STRUCTURED_OUTPUT, false},
        {"anthropic", "claude-opus-4-6", QUIRK_ADAPTIVE_THINKING, true},
        {"google", "gemini-3-pro-preview", QUIRK_THINKING_LEVEL, true},
        {"google", "gemini-2.5-flash", QUIRK_THINKING_LEVEL, false},
        {"openai", "gpt-4o", QUIRK_NO_REASONING_EFFORT, true},
        {"openai", "gpt-5.2", QUIRK_NO_REASONING_EFFORT, false},
        {"openai", "gpt-5-mini", QUIRK_EFFORT_XHIGH, false},
        {"openai-compatible", "gpt-4o", QUIRK_NO_REASONING_EFFORT, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct provider_kind *k = provider_kind_find(str_of(cases[i].kind));
        bool has = (provider_model_quirks(k, k->quirks, str_of(cases[i].model)) & cases[i].quirk) !=
                   0;
        ck_assert_msg(has == cases[i].has, "%s %s", cases[i].kind, cases[i].model);
    }
}
END_TEST

UNIT_MAIN("provider_kind", models_of_a_vendor_differ, every_row_is_sound,
          knows_every_vendor_and_every_spelling, leads_where_omniroutes_registry_leads,
          a_familys_name_says_whose_it_is, names_every_operation, serves_only_what_is_there)
