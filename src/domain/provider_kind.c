#include "domain/provider_kind.h"

#define BIT(op) (1u << (op))
#define OPENAI_OPS                                                                              \
    (BIT(OP_COMPLETIONS) | BIT(OP_EMBED_OPENAI) | BIT(OP_IMAGE_GENERATE) | BIT(OP_IMAGE_EDIT) | \
     BIT(OP_SPEECH) | BIT(OP_TRANSCRIBE) | BIT(OP_TRANSLATE) | BIT(OP_MODERATE) | BIT(OP_MODELS))
/* of servers we know nothing of: what they lack, they say */
#define COMPATIBLE_OPS (OPENAI_OPS | BIT(OP_RERANK))
#define STRIP(...)        \
    (const char *const[]) \
    {                     \
        __VA_ARGS__, NULL \
    }
#define WIRES(...)  \
    {               \
        __VA_ARGS__ \
    }
#define MANY QUIRK_MAX_TOKENS_OLD /* most compatibles know only the old spelling */
#define TEXT_ONLY \
    (MANY | QUIRK_NO_FILES) /* and refuse part types that are not text, image or audio */

/* Where an operation stands behind the base URL, or from its origin where the path starts with ^. OpenAI-like bases end in /v1; the others are the origin. */
static const struct op_path usual_paths[] = {
    {OP_CHAT, "chat/completions"},
    {OP_COMPLETIONS, "completions"},
    {OP_RESPONSES, "responses"},
    {OP_COUNT_RESPONSES, "responses/input_tokens"},
    {OP_COMPACT, "responses/compact"},
    {OP_MESSAGES, "/v1/messages"},
    {OP_COUNT_ANTHROPIC, "/v1/messages/count_tokens"},
    {OP_GEMINI, "/v1beta/models/{model}"},
    {OP_COUNT_GEMINI, "/v1beta/models/{model}"},
    {OP_EMBED_GEMINI, "/v1beta/models/{model}"},
    {OP_OLLAMA_CHAT, "/api/chat"},
    {OP_OLLAMA_GENERATE, "/api/generate"},
    {OP_EMBED_OLLAMA, "/api/embed"},
    {OP_EMBED_OPENAI, "embeddings"},
    {OP_IMAGE_GENERATE, "images/generations"},
    {OP_IMAGE_EDIT, "images/edits"},
    {OP_SPEECH, "audio/speech"},
    {OP_TRANSCRIBE, "audio/transcriptions"},
    {OP_TRANSLATE, "audio/translations"},
    {OP_MODERATE, "moderations"},
    {OP_RERANK, "rerank"},
    {OP_MODELS, "models"},
};

static const struct op_path anthropic_paths[] = {{OP_MODELS, "/v1/models"}, {OP_N, NULL}};
static const struct op_path google_paths[] = {{OP_MODELS, "/v1beta/models"}, {OP_N, NULL}};
/* API keys of the express mode need no project; other bases end in /v1/projects/PROJECT/locations/PLACE */
static const struct op_path vertex_paths[] = {
    {OP_GEMINI, "publishers/google/models/{model}"},
    {OP_COUNT_GEMINI, "publishers/google/models/{model}"},
    {OP_N, NULL},
};
/* api-version goes into the query; the deployment is the model id */
static const struct op_path azure_paths[] = {
    {OP_CHAT, "/openai/deployments/{model}/chat/completions"},
    {OP_COMPLETIONS, "/openai/deployments/{model}/completions"},
    {OP_EMBED_OPENAI, "/openai/deployments/{model}/embeddings"},
    {OP_IMAGE_GENERATE, "/openai/deployments/{model}/images/generations"},
    {OP_IMAGE_EDIT, "/openai/deployments/{model}/images/edits"},
    {OP_SPEECH, "/openai/deployments/{model}/audio/speech"},
    {OP_TRANSCRIBE, "/openai/deployments/{model}/audio/transcriptions"},
    {OP_TRANSLATE, "/openai/deployments/{model}/audio/translations"},
    {OP_RESPONSES, "/openai/responses"},
    {OP_MODELS, "/openai/models"},
    {OP_N, NULL},
};
/* a base that ends in /v1 serves Messages beside the OpenAI paths */
static const struct op_path messages_behind_v1[] = {
    {OP_MESSAGES, "messages"}, {OP_COUNT_ANTHROPIC, "messages/count_tokens"}, {OP_N, NULL}};
static const struct op_path cohere_paths[] = {{OP_RERANK, "^/v2/rerank"}, {OP_N, NULL}};
static const struct op_path github_paths[] = {{OP_MODELS, "^/catalog/models"}, {OP_N, NULL}};
static const struct op_path perplexity_paths[] = {{OP_CHAT, "/chat/completions"}, {OP_N, NULL}};

/* clang-format off */
static const struct provider_kind kinds[] = {
    { "openai", "OpenAI", WIRES(WIRE_CHAT, WIRE_RESPONSES), "https://api.openai.com/v1", "OPENAI_API_KEY", AUTH_BEARER, NULL,
      OPENAI_OPS | BIT(OP_COUNT_RESPONSES) | BIT(OP_COMPACT), QUIRK_DEVELOPER_ROLE | QUIRK_EFFORT_XHIGH | QUIRK_STATEFUL_RESPONSES },
    { "anthropic", "Anthropic", WIRES(WIRE_ANTHROPIC), "https://api.anthropic.com", "ANTHROPIC_API_KEY", AUTH_X_API_KEY, anthropic_paths,
      BIT(OP_COUNT_ANTHROPIC) | BIT(OP_MODELS), QUIRK_STRUCTURED_OUTPUT | QUIRK_ADAPTIVE_THINKING },
    { "google", "Google Gemini", WIRES(WIRE_GEMINI), "https://generativelanguage.googleapis.com", "GEMINI_API_KEY", AUTH_X_GOOG, google_paths,
      BIT(OP_COUNT_GEMINI) | BIT(OP_EMBED_GEMINI) | BIT(OP_MODELS), QUIRK_DUMMY_SIGNATURE },
    { "ollama", "Ollama", WIRES(WIRE_OLLAMA, WIRE_CHAT), "http://127.0.0.1:11434", NULL, AUTH_BEARER,
      (const struct op_path[]){ {OP_MODELS, "/api/tags"}, {OP_CHAT, "/v1/chat/completions"}, {OP_COMPLETIONS, "/v1/completions"}, {OP_EMBED_OPENAI, "/v1/embeddings"}, {OP_N, NULL} },
      BIT(OP_OLLAMA_GENERATE) | BIT(OP_EMBED_OLLAMA) | BIT(OP_EMBED_OPENAI) | BIT(OP_COMPLETIONS) | BIT(OP_MODELS), TEXT_ONLY, .is_local = true },
    { "azure", "Azure OpenAI", WIRES(WIRE_CHAT, WIRE_RESPONSES), NULL, "AZURE_OPENAI_API_KEY", AUTH_API_KEY, azure_paths,
      OPENAI_OPS & ~BIT(OP_MODERATE), QUIRK_DEVELOPER_ROLE | QUIRK_STATEFUL_RESPONSES, .api_version_param = "api-version" },
    { "openrouter", "OpenRouter", WIRES(WIRE_CHAT, WIRE_RESPONSES, WIRE_ANTHROPIC), "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", AUTH_BEARER, messages_behind_v1,
      BIT(OP_COMPLETIONS) | BIT(OP_EMBED_OPENAI) | BIT(OP_MODELS), QUIRK_MAX_TOKENS_OLD | QUIRK_DEVELOPER_ROLE | QUIRK_TOP_K | QUIRK_EFFORT_XHIGH | QUIRK_REASONING_NAME },
    { "groq", "Groq", WIRES(WIRE_CHAT, WIRE_RESPONSES), "https://api.groq.com/openai/v1", "GROQ_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_SPEECH) | BIT(OP_TRANSCRIBE) | BIT(OP_TRANSLATE) | BIT(OP_MODELS), QUIRK_NO_FILES, STRIP("logprobs", "top_logprobs", "logit_bias") },
    { "mistral", "Mistral", WIRES(WIRE_CHAT), "https://api.mistral.ai/v1", "MISTRAL_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_EMBED_OPENAI) | BIT(OP_MODERATE) | BIT(OP_TRANSCRIBE) | BIT(OP_MODELS), TEXT_ONLY | QUIRK_ID_9 | QUIRK_NO_STREAM_OPTIONS | QUIRK_NO_REASONING_EFFORT,
      STRIP("logit_bias", "logprobs", "top_logprobs", "user", "store", "metadata") },
    { "deepseek", "DeepSeek", WIRES(WIRE_CHAT), "https://api.deepseek.com", "DEEPSEEK_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_MODELS), TEXT_ONLY | QUIRK_REASONING_REPLAY | QUIRK_THINKING_FIELD, STRIP("n", "logit_bias", "seed") },
    { "xai", "xAI", WIRES(WIRE_CHAT, WIRE_RESPONSES), "https://api.x.ai/v1", "XAI_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_IMAGE_GENERATE) | BIT(OP_MODELS), 0, STRIP("logit_bias") },
    { "together", "Together", WIRES(WIRE_CHAT), "https://api.together.xyz/v1", "TOGETHER_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_COMPLETIONS) | BIT(OP_EMBED_OPENAI) | BIT(OP_IMAGE_GENERATE) | BIT(OP_RERANK) | BIT(OP_SPEECH) | BIT(OP_TRANSCRIBE) | BIT(OP_MODELS), TEXT_ONLY | QUIRK_TOP_K },
    { "fireworks", "Fireworks", WIRES(WIRE_CHAT), "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_COMPLETIONS) | BIT(OP_EMBED_OPENAI) | BIT(OP_RERANK) | BIT(OP_MODELS), TEXT_ONLY | QUIRK_TOP_K },
    { "perplexity", "Perplexity", WIRES(WIRE_CHAT), "https://api.perplexity.ai", "PERPLEXITY_API_KEY", AUTH_BEARER, perplexity_paths,
      0, MANY | QUIRK_NO_STREAM_OPTIONS | QUIRK_NO_PARALLEL_FIELD | QUIRK_TOP_K, STRIP("n", "logit_bias", "seed", "logprobs", "top_logprobs") },
    { "cohere", "Cohere", WIRES(WIRE_CHAT), "https://api.cohere.ai/compatibility/v1", "COHERE_API_KEY", AUTH_BEARER, cohere_paths,
      BIT(OP_EMBED_OPENAI) | BIT(OP_RERANK), TEXT_ONLY | QUIRK_DEVELOPER_ROLE, STRIP("n", "logit_bias", "store", "metadata") },
    { "nvidia", "NVIDIA", WIRES(WIRE_CHAT), "https://integrate.api.nvidia.com/v1", "NVIDIA_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_COMPLETIONS) | BIT(OP_EMBED_OPENAI) | BIT(OP_MODELS), TEXT_ONLY },
    { "cerebras", "Cerebras", WIRES(WIRE_CHAT), "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_COMPLETIONS) | BIT(OP_MODELS), QUIRK_NO_FILES, STRIP("frequency_penalty", "presence_penalty", "logit_bias") },
    { "sambanova", "SambaNova", WIRES(WIRE_CHAT), "https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_EMBED_OPENAI) | BIT(OP_TRANSCRIBE) | BIT(OP_MODELS), TEXT_ONLY | QUIRK_TOP_K, STRIP("n", "logit_bias", "logprobs", "top_logprobs", "seed", "frequency_penalty", "presence_penalty") },
    { "kimi", "Kimi (Moonshot outside China)", WIRES(WIRE_CHAT), "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_MODELS), TEXT_ONLY | QUIRK_REASONING_REPLAY, STRIP("logprobs", "top_logprobs", "logit_bias", "seed") },
    { "moonshot", "Moonshot", WIRES(WIRE_CHAT), "https://api.moonshot.cn/v1", "MOONSHOT_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_MODELS), TEXT_ONLY | QUIRK_REASONING_REPLAY, STRIP("logprobs", "top_logprobs", "logit_bias", "seed") },
    { "alibaba", "Qwen (DashScope outside China)", WIRES(WIRE_CHAT), "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_EMBED_OPENAI) | BIT(OP_MODELS), TEXT_ONLY | QUIRK_TOP_K, STRIP("frequency_penalty", "logit_bias") },
    { "qwen", "Qwen (DashScope)", WIRES(WIRE_CHAT), "https://dashscope.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_EMBED_OPENAI) | BIT(OP_MODELS), TEXT_ONLY | QUIRK_TOP_K, STRIP("frequency_penalty", "logit_bias") },
    { "zhipu", "Zhipu", WIRES(WIRE_CHAT), "https://open.bigmodel.cn/api/paas/v4", "ZHIPU_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_EMBED_OPENAI) | BIT(OP_IMAGE_GENERATE) | BIT(OP_RERANK) | BIT(OP_MODELS), TEXT_ONLY | QUIRK_THINKING_FIELD | QUIRK_NO_STREAM_OPTIONS,
      STRIP("n", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias", "seed", "stream_options") },
    { "qianfan", "Baidu Qianfan", WIRES(WIRE_CHAT), "https://qianfan.baidubce.com/v2", "QIANFAN_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_EMBED_OPENAI) | BIT(OP_RERANK) | BIT(OP_MODELS), TEXT_ONLY, STRIP("logit_bias") },
    { "minimax", "MiniMax", WIRES(WIRE_CHAT), "https://api.minimaxi.com/v1", "MINIMAX_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_MODELS), TEXT_ONLY | QUIRK_THINK_TAGS | QUIRK_REASONING_SPLIT, STRIP("logprobs", "top_logprobs", "seed", "stop") },
    { "siliconflow", "SiliconFlow", WIRES(WIRE_CHAT), "https://api.siliconflow.cn/v1", "SILICONFLOW_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_EMBED_OPENAI) | BIT(OP_RERANK) | BIT(OP_IMAGE_GENERATE) | BIT(OP_SPEECH) | BIT(OP_TRANSCRIBE) | BIT(OP_MODELS), TEXT_ONLY | QUIRK_TOP_K },
    { "huggingface", "Hugging Face router", WIRES(WIRE_CHAT, WIRE_RESPONSES), "https://router.huggingface.co/v1", "HF_TOKEN", AUTH_BEARER, NULL,
      BIT(OP_MODELS), TEXT_ONLY },
    { "github", "GitHub Models", WIRES(WIRE_CHAT), "https://models.github.ai/inference", "GITHUB_TOKEN", AUTH_BEARER, github_paths,
      BIT(OP_EMBED_OPENAI), QUIRK_DEVELOPER_ROLE | QUIRK_NO_FILES },
    { "volcengine", "Volcengine Ark", WIRES(WIRE_CHAT, WIRE_RESPONSES), "https://ark.cn-beijing.volces.com/api/v3", "VOLCENGINE_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_EMBED_OPENAI) | BIT(OP_IMAGE_GENERATE) | BIT(OP_MODELS), TEXT_ONLY | QUIRK_THINKING_FIELD, STRIP("logprobs", "top_logprobs") },
    { "nebius", "Nebius Token Factory", WIRES(WIRE_CHAT), "https://api.tokenfactory.nebius.com/v1", "NEBIUS_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_COMPLETIONS) | BIT(OP_EMBED_OPENAI) | BIT(OP_IMAGE_GENERATE) | BIT(OP_MODELS), TEXT_ONLY | QUIRK_TOP_K },
    { "hyperbolic", "Hyperbolic", WIRES(WIRE_CHAT), "https://api.hyperbolic.xyz/v1", "HYPERBOLIC_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_COMPLETIONS) | BIT(OP_MODELS), TEXT_ONLY | QUIRK_TOP_K },
    { "alicode", "Alibaba Coding Plan", WIRES(WIRE_CHAT), "https://coding.dashscope.aliyuncs.com/v1", "BAILIAN_CODING_PLAN_API_KEY", AUTH_BEARER, NULL,
      0, TEXT_ONLY | QUIRK_TOP_K, STRIP("frequency_penalty", "logit_bias") },
    { "alicode-intl", "Alibaba Coding Plan outside China", WIRES(WIRE_CHAT), "https://coding-intl.dashscope.aliyuncs.com/v1", "BAILIAN_CODING_PLAN_API_KEY", AUTH_BEARER, NULL,
      0, TEXT_ONLY | QUIRK_TOP_K, STRIP("frequency_penalty", "logit_bias") },
    { "blackbox", "Blackbox", WIRES(WIRE_CHAT), "https://api.blackbox.ai/v1", "BLACKBOX_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_MODELS), TEXT_ONLY },
    { "ollama-cloud", "Ollama's cloud", WIRES(WIRE_CHAT), "https://ollama.com/v1", "OLLAMA_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_MODELS), TEXT_ONLY },
    { "synthetic", "Synthetic", WIRES(WIRE_CHAT), "https://api.synthetic.new/openai/v1", "SYNTHETIC_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_COMPLETIONS) | BIT(OP_EMBED_OPENAI) | BIT(OP_MODELS), TEXT_ONLY | QUIRK_TOP_K },
    { "kilo-gateway", "Kilo gateway", WIRES(WIRE_CHAT), "https://api.kilo.ai/api/gateway", "KILO_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_MODELS), MANY },
    { "opencode-zen", "OpenCode Zen", WIRES(WIRE_CHAT), "https://opencode.ai/zen/v1", "OPENCODE_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_MODELS), TEXT_ONLY },
    { "opencode-go", "OpenCode Go", WIRES(WIRE_CHAT), "https://opencode.ai/zen/go/v1", "OPENCODE_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_MODELS), TEXT_ONLY },
    { "longcat", "LongCat", WIRES(WIRE_CHAT), "https://api.longcat.chat/openai/v1", "LONGCAT_API_KEY", AUTH_BEARER, NULL,
      0, TEXT_ONLY },
    { "pollinations", "Pollinations", WIRES(WIRE_CHAT), "https://text.pollinations.ai/openai", "POLLINATIONS_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_MODELS), TEXT_ONLY, .is_keyless = true },
    { "puter", "Puter", WIRES(WIRE_CHAT), "https://api.puter.com/puterai/openai/v1", "PUTER_API_KEY", AUTH_BEARER, NULL,
      0, TEXT_ONLY },
    { "cloudflare-ai", "Cloudflare Workers AI", WIRES(WIRE_CHAT), NULL, "CLOUDFLARE_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_EMBED_OPENAI), TEXT_ONLY | QUIRK_TOP_K, .account_url = { "https://api.cloudflare.com/client/v4/accounts/", "/ai/v1" } },
    { "scaleway", "Scaleway", WIRES(WIRE_CHAT), "https://api.scaleway.ai/v1", "SCALEWAY_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_EMBED_OPENAI) | BIT(OP_MODELS), TEXT_ONLY },
    { "aimlapi", "AI/ML API", WIRES(WIRE_CHAT), "https://api.aimlapi.com/v1", "AIMLAPI_API_KEY", AUTH_BEARER, NULL,
      BIT(OP_COMPLETIONS) | BIT(OP_EMBED_OPENAI) | BIT(OP_MODELS), MANY | QUIRK_TOP_K },
    { "vertex", "Google Vertex AI (express mode)", WIRES(WIRE_GEMINI), "https://aiplatform.googleapis.com/v1", "VERTEX_API_KEY", AUTH_X_GOOG, vertex_paths,
      BIT(OP_COUNT_GEMINI), QUIRK_DUMMY_SIGNATURE },
    { "zai", "Z.AI", WIRES(WIRE_ANTHROPIC), "https://api.z.ai/api/anthropic", "ZAI_API_KEY", AUTH_X_API_KEY, NULL, 0, 0 },
    { "bailian-coding-plan", "Alibaba Coding Plan (Anthropic)", WIRES(WIRE_ANTHROPIC), "https://coding-intl.dashscope.aliyuncs.com/apps/anthropic", "BAILIAN_CODING_PLAN_API_KEY",
      AUTH_X_API_KEY, NULL, 0, 0 },
    { "argo", "Argo", WIRES(WIRE_CHAT), NULL, "ARGO_API_KEY", AUTH_BEARER, NULL, BIT(OP_EMBED_OPENAI) | BIT(OP_MODELS), QUIRK_MAX_TOKENS_NEW },
    { "vllm", "vLLM", WIRES(WIRE_CHAT, WIRE_RESPONSES, WIRE_ANTHROPIC), NULL, NULL, AUTH_BEARER, messages_behind_v1,
      BIT(OP_COMPLETIONS) | BIT(OP_EMBED_OPENAI) | BIT(OP_RERANK) | BIT(OP_TRANSCRIBE) | BIT(OP_TRANSLATE) | BIT(OP_MODELS), TEXT_ONLY | QUIRK_TOP_K, .is_local = true },
    { "llamacpp", "llama.cpp", WIRES(WIRE_CHAT, WIRE_RESPONSES, WIRE_ANTHROPIC), "http://127.0.0.1:8080/v1", NULL, AUTH_BEARER, messages_behind_v1,
      BIT(OP_COMPLETIONS) | BIT(OP_EMBED_OPENAI) | BIT(OP_RERANK) | BIT(OP_COUNT_ANTHROPIC) | BIT(OP_MODELS), TEXT_ONLY | QUIRK_TOP_K | QUIRK_REPAIR_STREAM, .is_local = true },
    { "lmstudio", "LM Studio", WIRES(WIRE_CHAT, WIRE_RESPONSES), "http://127.0.0.1:1234/v1", NULL, AUTH_BEARER, NULL,
      BIT(OP_COMPLETIONS) | BIT(OP_EMBED_OPENAI) | BIT(OP_MODELS), TEXT_ONLY | QUIRK_TOP_K, .is_local = true },
    { "openai-compatible", "OpenAI-compatible", WIRES(WIRE_CHAT), NULL, NULL, AUTH_BEARER, NULL, COMPATIBLE_OPS, MANY },
    { "openai-responses", "OpenAI Responses-compatible", WIRES(WIRE_RESPONSES), NULL, NULL, AUTH_BEARER, NULL, COMPATIBLE_OPS, 0 },
    { "anthropic-compatible", "Anthropic-compatible", WIRES(WIRE_ANTHROPIC), NULL, NULL, AUTH_X_API_KEY, anthropic_paths,
      BIT(OP_COUNT_ANTHROPIC) | BIT(OP_MODELS), 0 },
    { "google-compatible", "Google GenAI-compatible", WIRES(WIRE_GEMINI), NULL, NULL, AUTH_X_GOOG, google_paths,
      BIT(OP_COUNT_GEMINI) | BIT(OP_EMBED_GEMINI) | BIT(OP_MODELS), 0 },
    { "minimax-anthropic", "MiniMax (Anthropic)", WIRES(WIRE_ANTHROPIC), "https://api.minimaxi.com/anthropic", "MINIMAX_API_KEY", AUTH_X_API_KEY, anthropic_paths, BIT(OP_MODELS), QUIRK_HOIST_SYSTEM },
    { "minimax-intl", "MiniMax outside China (Anthropic)", WIRES(WIRE_ANTHROPIC), "https://api.minimax.io/anthropic", "MINIMAX_INTL_API_KEY", AUTH_X_API_KEY, anthropic_paths, BIT(OP_MODELS), QUIRK_HOIST_SYSTEM },
    { "argo-anthropic", "Argo (Anthropic)", WIRES(WIRE_ANTHROPIC), NULL, "ARGO_API_KEY", AUTH_X_API_KEY, anthropic_paths, BIT(OP_MODELS), 0 },
    { "echo", "Echo (built in)", WIRES(WIRE_NONE), "", NULL, AUTH_NONE, NULL, 0, 0, .is_builtin = true },
};

/* llm-rosetta's types and shims, OmniRoute's short names, and names that people type */
static const struct { const char *alias, *id, *home; } aliases[] = {
    { "openai_chat", "openai-compatible", "openai" }, { "openai_responses", "openai-responses", "openai" },
    { "open_responses", "openai-responses", "openai" },
    { "gemini", "google" }, { "google_genai", "google" }, { "claude", "anthropic" }, { "llama.cpp", "llamacpp" }, { "llama-server", "llamacpp" },
    { "azure-openai", "azure" }, { "azure_openai", "azure" }, { "dashscope", "qwen" }, { "glm", "zhipu" }, { "hf", "huggingface" },
    { "lm-studio", "lmstudio" }, { "grok", "xai" }, { "openai_compatible", "openai-compatible" },
    { "anthropic_compatible", "anthropic-compatible" }, { "volcengine--openai_chat", "volcengine" },
    { "volcengine--openai_responses", "openai-responses", "volcengine" }, { "minimax--openai_chat", "minimax" }, { "minimax--anthropic", "minimax-anthropic" },
    { "openrouter--openai_chat", "openrouter" }, { "argo--openai_chat", "argo" }, { "argo--anthropic", "argo-anthropic" },
    { "ds", "deepseek" }, { "pplx", "perplexity" }, { "bb", "blackbox" }, { "hyp", "hyperbolic" }, { "cf", "cloudflare-ai" }, { "ali", "alibaba" },
    { "kg", "kilo-gateway" }, { "lc", "longcat" }, { "pol", "pollinations" }, { "pu", "puter" }, { "scw", "scaleway" }, { "aiml", "aimlapi" },
    { "bcp", "bailian-coding-plan" }, { "ollamacloud", "ollama-cloud" }, { "minimax-cn", "minimax-anthropic" },
};

static const char *const op_names[OP_N] = {
    [OP_CHAT] = "chat", [OP_COMPLETIONS] = "completions", [OP_RESPONSES] = "responses", [OP_MESSAGES] = "messages",
    [OP_GEMINI] = "generate_content", [OP_OLLAMA_CHAT] = "ollama_chat", [OP_OLLAMA_GENERATE] = "ollama_generate",
    [OP_COUNT_ANTHROPIC] = "count_tokens", [OP_COUNT_GEMINI] = "count_tokens", [OP_COUNT_RESPONSES] = "count_tokens",
    [OP_COMPACT] = "compact", [OP_EMBED_OPENAI] = "embeddings", [OP_EMBED_GEMINI] = "embeddings", [OP_EMBED_OLLAMA] = "embeddings",
    [OP_IMAGE_GENERATE] = "image_generate", [OP_IMAGE_EDIT] = "image_edit", [OP_SPEECH] = "speech", [OP_TRANSCRIBE] = "transcribe",
    [OP_TRANSLATE] = "translate", [OP_MODERATE] = "moderate", [OP_RERANK] = "rerank", [OP_MODELS] = "models",
};
/* clang-format on */

const struct provider_kind *provider_kind_at(size_t i)
{
    return i < ARRAY_LEN(kinds) ? &kinds[i] : NULL;
}

const struct provider_kind *provider_alias_at(size_t i, const char **alias)
{
    if (i >= ARRAY_LEN(aliases))
        return NULL;
    *alias = aliases[i].alias;
    return provider_kind_find(str_of(aliases[i].id));
}

const struct provider_kind *provider_kind_find(struct str id)
{
    for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
        if (str_eq(id, str_of(aliases[i].alias)))
            id = str_of(aliases[i].id);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (str_eq(id, str_of(kinds[i].id)))
            return &kinds[i];
    return NULL;
}

const struct provider_kind *provider_kind_home(struct str id)
{
    for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
        if (aliases[i].home && str_eq(id, str_of(aliases[i].alias)))
            return provider_kind_find(str_of(aliases[i].home));
    return NULL;
}

/* Models of one vendor that take other parameters than its newest ones. "*" at the end: any rest; inside: a name part. */
/* clang-format off */
static const struct { const char *kind, *model; uint32_t without, with; } model_quirks[] = {
    { "anthropic", "claude-3*",        QUIRK_ADAPTIVE_THINKING | QUIRK_STRUCTURED_OUTPUT, 0 },
    { "anthropic", "claude-*-4-2025*", QUIRK_ADAPTIVE_THINKING | QUIRK_STRUCTURED_OUTPUT, 0 },
    { "anthropic", "claude-*-4-0*",    QUIRK_ADAPTIVE_THINKING | QUIRK_STRUCTURED_OUTPUT, 0 },
    { "anthropic", "claude-*-4-1*",    QUIRK_ADAPTIVE_THINKING, 0 },
    { "anthropic", "claude-*-4-5*",    QUIRK_ADAPTIVE_THINKING, 0 },
    { "anthropic", "claude-opus-4-8*", 0, QUIRK_MID_SYSTEM },
    { "anthropic", "claude-opus-5*",   0, QUIRK_MID_SYSTEM },
    { "google",    "gemini-3*",        0, QUIRK_THINKING_LEVEL | QUIRK_HTTPS_FILE_URI },
    { "google",    "gemini-2*",        QUIRK_DUMMY_SIGNATURE, 0 },
    { "vertex",    "gemini-3*",        0, QUIRK_THINKING_LEVEL | QUIRK_HTTPS_FILE_URI },
    { "vertex",    "gemini-2*",        QUIRK_DUMMY_SIGNATURE, 0 },
    { "google",    "gemini-1*",        QUIRK_DUMMY_SIGNATURE, QUIRK_SCHEMA_GEMINI },
    { "openai",    "o1*",              QUIRK_EFFORT_XHIGH, 0 },
    { "openai",    "o3*",              QUIRK_EFFORT_XHIGH, 0 },
    { "openai",    "o4*",              QUIRK_EFFORT_XHIGH, 0 },
    { "openai",    "gpt-5",            QUIRK_EFFORT_XHIGH, 0 },
    { "openai",    "gpt-5-*",          QUIRK_EFFORT_XHIGH, 0 },
    { "openai",    "gpt-4*",           QUIRK_EFFORT_XHIGH, QUIRK_NO_REASONING_EFFORT },
    { "openai",    "gpt-3.5*",         QUIRK_EFFORT_XHIGH, QUIRK_NO_REASONING_EFFORT },
    { "azure",     "gpt-4*",           0, QUIRK_NO_REASONING_EFFORT },
    { "zhipu",     "glm-*",            0, QUIRK_NO_SYSTEM_ROLE },
    { "qianfan",   "ernie-*",          0, QUIRK_NO_SYSTEM_ROLE },
    { "deepseek",  "deepseek-reasoner", QUIRK_REASONING_REPLAY, QUIRK_NO_REASONING_HISTORY },
};
/* clang-format on */

static bool model_fits(struct str pattern, struct str model)
{
    size_t star = str_index(pattern, '*');
    if (star == pattern.n)
        return str_eq(pattern, model);
    if (!str_starts(model, str_first(pattern, star)))
        return false;
    pattern = str_skip(pattern, star + 1);
    for (model = str_skip(model, star);; model = str_skip(model, 1)) {
        if (pattern.n == 0 || model_fits(pattern, model))
            return true;
        if (model.n == 0)
            return false;
    }
}

uint32_t provider_model_quirks(const struct provider_kind *k, uint32_t quirks, struct str model)
{
    for (size_t i = 0; i < ARRAY_LEN(model_quirks); i++)
        if (k->id[0] == model_quirks[i].kind[0] && strcmp(k->id, model_quirks[i].kind) == 0 &&
            model_fits(str_of(model_quirks[i].model), model))
            quirks = (quirks & ~model_quirks[i].without) | model_quirks[i].with;
    return quirks;
}

/* Whose a bare name is; the first row that fits says it. What anybody may serve (open weights) is nobody's. */
/* clang-format off */
static const struct { const char *model, *kinds[PROVIDER_MAKERS]; } makers[] = {
    { "gpt-oss*",             { NULL } },
    { "gpt-*",                { "openai" } }, { "chatgpt-*",      { "openai" } }, { "codex-*",           { "openai" } }, { "computer-use-*",  { "openai" } },
    { "o1",                   { "openai" } }, { "o1-*",           { "openai" } }, { "o3",                { "openai" } }, { "o3-*",            { "openai" } },
    { "o4-*",                 { "openai" } }, { "dall-e-*",       { "openai" } }, { "whisper-1",         { "openai" } }, { "tts-1*",          { "openai" } },
    { "text-embedding-3-*",   { "openai" } }, { "text-embedding-ada-*", { "openai" } }, { "*-moderation-*", { "openai" } }, { "sora-*",       { "openai" } },
    { "claude-*",             { "anthropic" } },
    { "gemini-*",             { "google" } }, { "gemma-*",        { "google" } },
    { "deepseek-*",           { "deepseek" } },
    { "grok-*",               { "xai" } },
    { "mistral-*",            { "mistral" } }, { "codestral*",    { "mistral" } }, { "ministral-*",      { "mistral" } }, { "magistral-*",    { "mistral" } },
    { "devstral-*",           { "mistral" } }, { "pixtral-*",     { "mistral" } }, { "open-mi*tral-*",   { "mistral" } },
    { "command-*",            { "cohere" } },
    { "sonar",                { "perplexity" } }, { "sonar-*",    { "perplexity" } },
    { "kimi-*",               { "kimi", "moonshot" } }, { "moonshot-*", { "kimi", "moonshot" } },
    { "glm-*",                { "zai", "zhipu" } },
    { "MiniMax-*",            { "minimax-intl", "minimax", "minimax-anthropic" } },
    { "qwen-*",               { "alibaba", "qwen" } }, { "qwen3-*", { "alibaba", "qwen" } }, { "qwq-*",  { "alibaba", "qwen" } },
    { "ernie-*",              { "qianfan" } }, { "doubao-*",      { "volcengine" } }, { "LongCat-*",     { "longcat" } },
};
/* clang-format on */

size_t provider_makers(struct str model, const char *out[PROVIDER_MAKERS])
{
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(makers); i++) {
        if (!model_fits(str_of(makers[i].model), model))
            continue;
        for (; n < PROVIDER_MAKERS && makers[i].kinds[n]; n++)
            out[n] = makers[i].kinds[n];
        break;
    }
    return n;
}

bool provider_quirks_read(yyjson_val *v, struct quirk_edit *out, struct err *e)
{
    yyjson_val *k, *is;
    size_t i, n;
    *out = (struct quirk_edit){0};
    if (json_absent(v))
        return true;
    if (!yyjson_is_obj(v))
        return err_field(e, "quirks", "'quirks' must be an object of names and truth values");
    yyjson_obj_foreach (v, i, n, k, is) {
        struct str name = str_first(json_str(k), 64);
        uint32_t bit = (uint32_t)word_value(wire_quirk_words, json_str(k), 0);
        if (!bit)
            return err_field(e, "quirks", "'quirks': there is none called '" STR_FMT "'",
                             STR_ARG(name));
        if (!yyjson_is_bool(is))
            return err_field(e, "quirks", "'quirks." STR_FMT "' must be true or false",
                             STR_ARG(name));
        out->with = yyjson_get_bool(is) ? out->with | bit : out->with & ~bit;
        out->without = yyjson_get_bool(is) ? out->without & ~bit : out->without | bit;
    }
    return true;
}

void provider_quirks_write(struct jw *w, struct quirk_edit q)
{
    jw_object(w);
    for (const struct word *row = wire_quirk_words; row->text; row++)
        if ((q.with | q.without) & (uint32_t)row->value)
            jw_kv_bool(w, row->text, (q.with & (uint32_t)row->value) != 0);
    jw_object_end(w);
}

uint32_t provider_quirks_edited(uint32_t quirks, struct quirk_edit q)
{
    return (quirks & ~q.without) | q.with;
}

int64_t provider_model_thinks_most(struct str model)
{
    static const struct {
        const char *model;
        int64_t most;
    } rows[] = {{"claude-opus-4-5*", 32000},
                {"gemini-3.1-pro*low", 16000},
                {"gemini-3.1-pro*", 32768},
                {"gemini-2.5-pro*", 32768},
                {"gemini-2.5-flash*", 24576}};
    size_t slash = model.n;
    while (slash > 0 && model.p[slash - 1] != '/') /* behind whose it is */
        slash--;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (model_fits(str_of(rows[i].model), str_skip(model, slash)))
            return rows[i].most;
    return -1;
}

enum op wire_op(enum wire_id wire)
{
    static const enum op ops[WIRE_N] = {
        [WIRE_NONE] = OP_N,
        [WIRE_CHAT] = OP_CHAT,
        [WIRE_RESPONSES] = OP_RESPONSES,
        [WIRE_ANTHROPIC] = OP_MESSAGES,
        [WIRE_GEMINI] = OP_GEMINI,
        [WIRE_OLLAMA] = OP_OLLAMA_CHAT,
        [WIRE_COMPLETIONS] = OP_COMPLETIONS,
        [WIRE_OLLAMA_GENERATE] = OP_OLLAMA_GENERATE,
    };
    return ops[wire];
}

const char *op_name(enum op op)
{
    return (unsigned)op < OP_N && op_names[op] ? op_names[op] : "unknown";
}

static bool serves(const struct provider_kind *k, enum op op)
{
    if (k->ops & BIT(op))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(k->wires) && k->wires[i] != WIRE_NONE; i++)
        if (wire_op(k->wires[i]) == op)
            return true;
    return false;
}

const char *provider_kind_path(const struct provider_kind *k, enum op op)
{
    if (!serves(k, op))
        return NULL;
    for (const struct op_path *p = k->paths; p && p->path; p++)
        if (p->op == op)
            return p->path;
    return op_usual_path(op);
}

const char *op_usual_path(enum op op)
{
    for (size_t i = 0; i < ARRAY_LEN(usual_paths); i++)
        if (usual_paths[i].op == op)
            return usual_paths[i].path;
    return NULL;
}
