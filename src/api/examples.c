#include "api/examples.h"
#include "json/shape_json.h"
#include "base/banned.h"

#define DEEPEST 8

/* clang-format off */

/* Requests as somebody would send them. A row that does not stand here shows its required fields, or the usual ones of them all. */
static const struct {
    enum http_method method;
    const char *path, *json;
} requests[] = {
    {HTTP_POST,  "/sluice/v1/providers", "{\"name\":\"openai\",\"type\":\"openai\",\"api_key\":\"${OPENAI_API_KEY}\",\"priority\":0,\"limits\":{\"requests_per_minute\":500,\"concurrency\":50}}"},
    {HTTP_PATCH, "/sluice/v1/providers/{name}", "{\"enabled\":true,\"weight\":2,\"limits\":{\"requests_per_minute\":500}}"},
    {HTTP_POST,  "/sluice/v1/models", "{\"name\":\"gpt-4o\",\"targets\":[{\"provider\":\"openai\",\"upstream_model\":\"gpt-4o-2024-11-20\"}],\"capabilities\":[\"text\",\"vision\",\"tools\"],\"context_tokens\":128000,\"max_output_tokens\":16384}"},
    {HTTP_PATCH, "/sluice/v1/models/{name*}", "{\"enabled\":true,\"context_tokens\":128000}"},
    {HTTP_POST,  "/sluice/v1/combos", "{\"name\":\"smart\",\"strategy\":\"priority\",\"members\":[{\"model\":\"gpt-4o\"},{\"model\":\"echo\",\"priority\":1}],\"max_retries\":1,\"timeout_ms\":60000}"},
    {HTTP_PATCH, "/sluice/v1/combos/{name*}", "{\"strategy\":\"priority\",\"max_retries\":2}"},
    {HTTP_PUT,   "/sluice/v1/chains/{model*}", "{\"chain\":[{\"provider\":\"openai\"},{\"provider\":\"echo\",\"priority\":1}]}"},
    {HTTP_POST,  "/sluice/v1/aliases", "{\"alias\":\"gpt-latest\",\"to\":\"gpt-4o\"}"},
    {HTTP_PATCH, "/sluice/v1/aliases/{alias*}", "{\"to\":\"gpt-4o\",\"enabled\":true}"},
    {HTTP_POST,  "/sluice/v1/route/explain", "{\"model\":\"gpt-4o\",\"down\":[\"openai\"]}"},
    {HTTP_POST,  "/sluice/v1/breakers/reset", "{\"provider\":\"openai\"}"},
    {HTTP_POST,  "/sluice/v1/keys", "{\"label\":\"web shop\",\"scopes\":[\"inference\"],\"allowed_models\":[\"gpt-*\"],\"expires_at\":\"2031-01-01T00:00:00Z\",\"tags\":[\"shop\"],\"limits\":{\"requests_per_minute\":60,\"tokens_per_day\":1000000}}"},
    {HTTP_PATCH, "/sluice/v1/keys/{id}", "{\"label\":\"web shop, old\",\"enabled\":false}"},
    {HTTP_POST,  "/sluice/v1/orgs", "{\"id\":\"acme\",\"name\":\"Acme\",\"limits\":{\"tokens_per_day\":5000000}}"},
    {HTTP_PATCH, "/sluice/v1/orgs/{id}", "{\"name\":\"Acme Ltd\",\"enabled\":true}"},
    {HTTP_POST,  "/sluice/v1/users", "{\"id\":\"ada\",\"name\":\"Ada\",\"org\":\"acme\"}"},
    {HTTP_PATCH, "/sluice/v1/users/{id}", "{\"name\":\"Ada L.\",\"enabled\":true}"},
    {HTTP_PUT,   "/sluice/v1/ip-filter", "{\"mode\":\"deny\",\"allow\":[],\"deny\":[\"203.0.113.0/24\"]}"},
    {HTTP_POST,  "/sluice/v1/ip-filter/bans", "{\"address\":\"203.0.113.9\",\"reason\":\"scans\",\"duration_ms\":3600000}"},
    {HTTP_PUT,   "/sluice/v1/system-prompt", "{\"enabled\":true,\"prompt\":\"Answer in British English.\",\"except_models\":[\"echo\"]}"},
    {HTTP_PUT,   "/sluice/v1/thinking-budget", "{\"budget\":8192}"},
    {HTTP_PATCH, "/sluice/v1/settings/{name}", "{\"value\":2}"},
    {HTTP_POST,  "/sluice/v1/settings/{name}/check", "{\"value\":2}"},
    {HTTP_POST,  "/sluice/v1/session", "{\"name\":\"admin\",\"password\":\"correct horse battery\"}"},
    {HTTP_POST,  "/sluice/v1/session/password", "{\"current_password\":\"correct horse battery\",\"password\":\"staple them together\"}"},
    {HTTP_POST,  "/sluice/v1/claim", "{\"token\":\"1f0c8a52d7b94e63\",\"name\":\"admin\",\"password\":\"correct horse battery\"}"},
    {HTTP_POST,  "/sluice/v1/operators", "{\"name\":\"ada\",\"password\":\"correct horse battery\",\"role\":\"viewer\"}"},
    {HTTP_PATCH, "/sluice/v1/operators/{id}", "{\"role\":\"admin\"}"},
    {HTTP_POST,  "/sluice/v1/prices", "{\"provider\":\"openai\",\"model\":\"gpt-4o\",\"price\":{\"input\":2.5,\"output\":10,\"cache_read\":1.25}}"},
    {HTTP_POST,  "/sluice/v1/prices/import", "{\"prices\":{\"openai/gpt-4o\":{\"input\":2.5,\"output\":10}}}"},
    {HTTP_POST,  "/sluice/v1/budgets", "{\"name\":\"all-monthly\",\"scope\":\"all\",\"period\":\"month\",\"time_zone\":\"Europe/Berlin\",\"limit_usd\":\"250.00\",\"warn_percent\":80}"},
    {HTTP_PATCH, "/sluice/v1/budgets/{name}", "{\"limit_usd\":\"300.00\"}"},
    {HTTP_POST,  "/sluice/v1/ledger", "{\"entry\":\"credit\",\"amount_nanousd\":1000000000,\"note\":\"For the outage of 3 May\"}"},
    {HTTP_POST,  "/sluice/v1/ledger/reprice", "{\"from\":\"2026-01-01T00:00:00Z\",\"to\":\"2026-02-01T00:00:00Z\",\"dry_run\":true}"},
    {HTTP_POST,  "/sluice/v1/reconciliation/import", "{\"data\":[{\"date\":\"2026-01-15\",\"model\":\"gpt-4o\",\"usage\":0.04,\"requests\":4,\"prompt_tokens\":4000,\"completion_tokens\":2000}]}"},
    {HTTP_POST,  "/sluice/v1/requests/{id}/replay", "{\"target\":\"openai/gpt-4o\",\"stream\":false}"},
    {HTTP_PUT,   "/sluice/v1/policies/{name}", "{\"model\":\"gpt-4*\",\"action\":\"deny\",\"priority\":10}"},

    {HTTP_POST,  "/admin/api/login", "{\"password\":\"correct horse battery\"}"},
    {HTTP_PUT,   "/admin/api/config/providers/{name}", "{\"api_key\":\"${OPENAI_API_KEY}\",\"base_url\":\"https://api.openai.com/v1\",\"type\":\"openai\"}"},
    {HTTP_PUT,   "/admin/api/config/models/{name*}", "{\"provider\":\"openai\",\"capabilities\":[\"text\",\"vision\",\"tools\"],\"upstream_model\":\"gpt-4o-2024-11-20\"}"},
    {HTTP_POST,  "/admin/api/config/models", "{\"provider\":\"openai\",\"models\":[\"gpt-4o\",\"gpt-4o-mini\"],\"prefix\":\"openai/\",\"capabilities\":[\"text\",\"tools\"]}"},
    {HTTP_PUT,   "/admin/api/config/server", "{\"proxy\":\"socks5://127.0.0.1:1080\"}"},
    {HTTP_POST,  "/admin/api/keys", "{\"label\":\"web shop\"}"},
    {HTTP_PUT,   "/admin/api/keys/{id}", "{\"label\":\"web shop, old\"}"},
    {HTTP_POST,  "/admin/api/test", "{\"endpoint\":\"/v1/chat/completions\",\"payload\":{\"model\":\"echo\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}}"},

    {HTTP_POST,  "/api/auth/login", "{\"password\":\"correct horse battery\"}"},
    {HTTP_POST,  "/api/providers", "{\"provider\":\"openai\",\"name\":\"work\",\"apiKey\":\"sk-proj-0123456789\",\"priority\":1}"},
    {HTTP_PATCH, "/api/providers/{id}", "{\"name\":\"work\",\"priority\":2}"},
    {HTTP_PUT,   "/api/providers/{id}", "{\"name\":\"work\",\"priority\":2}"},
    {HTTP_POST,  "/api/providers/{id}/test", "{\"validationModelId\":\"gpt-4o-mini\"}"},
    {HTTP_POST,  "/api/providers/test-batch", "{\"mode\":\"provider\",\"providerId\":\"openai\"}"},
    {HTTP_POST,  "/api/providers/validate", "{\"provider\":\"openai\",\"apiKey\":\"sk-proj-0123456789\"}"},
    {HTTP_POST,  "/api/provider-nodes", "{\"name\":\"Our vLLM\",\"prefix\":\"vllm\",\"type\":\"openai-compatible\",\"apiType\":\"chat\",\"baseUrl\":\"http://127.0.0.1:8000/v1\"}"},
    {HTTP_PATCH, "/api/provider-nodes/{id}", "{\"name\":\"Our vLLM, new\"}"},
    {HTTP_PUT,   "/api/provider-nodes/{id}", "{\"name\":\"Our vLLM\",\"prefix\":\"vllm\",\"apiType\":\"chat\",\"baseUrl\":\"http://127.0.0.1:8000/v1\"}"},
    {HTTP_POST,  "/api/provider-nodes/validate", "{\"baseUrl\":\"http://127.0.0.1:8000/v1\",\"apiKey\":\"sk-0123456789\"}"},
    {HTTP_POST,  "/api/keys", "{\"name\":\"web shop\",\"allowedModels\":[\"gpt-4o\"],\"maxRequestsPerMinute\":60}"},
    {HTTP_PATCH, "/api/keys/{id}", "{\"isActive\":false}"},
    {HTTP_PUT,   "/api/models", "{\"model\":\"gpt-4o\",\"alias\":\"fast\"}"},
    {HTTP_POST,  "/api/models/alias", "{\"model\":\"gpt-4o\",\"alias\":\"fast\"}"},
    {HTTP_PUT,   "/api/models/alias", "{\"model\":\"gpt-4o\",\"alias\":\"fast\"}"},
    {HTTP_POST,  "/api/provider-models", "{\"provider\":\"openai\",\"modelId\":\"gpt-4o-mini\",\"modelName\":\"GPT-4o mini\"}"},
    {HTTP_PUT,   "/api/provider-models", "{\"provider\":\"openai\",\"modelId\":\"gpt-4o-mini\",\"isHidden\":true}"},
    {HTTP_POST,  "/api/models/availability", "{\"provider\":\"openai\",\"model\":\"gpt-4o\"}"},
    {HTTP_POST,  "/api/combos", "{\"name\":\"smart-2\",\"strategy\":\"priority\",\"models\":[\"openai/gpt-4o\",\"echo/echo\"]}"},
    {HTTP_POST,  "/api/combos/auto", "{\"name\":\"tuned\",\"candidatePool\":[\"openai/gpt-4o\",\"echo/echo\"],\"modePack\":\"cost-saver\"}"},
    {HTTP_POST,  "/api/combos/test", "{\"comboName\":\"smart\"}"},
    {HTTP_PATCH, "/api/combos/{id}", "{\"strategy\":\"round-robin\"}"},
    {HTTP_PUT,   "/api/combos/{id}", "{\"strategy\":\"round-robin\"}"},
    {HTTP_POST,  "/api/fallback/chains", "{\"model\":\"gpt-4o\",\"chain\":[{\"provider\":\"openai\",\"priority\":1},{\"provider\":\"echo\",\"priority\":2}]}"},
    {HTTP_DELETE, "/api/fallback/chains", "{\"model\":\"gpt-4o\"}"},
    {HTTP_POST,  "/api/model-combo-mappings", "{\"pattern\":\"gpt-3*\",\"comboId\":\"smart\",\"priority\":10}"},
    {HTTP_PUT,   "/api/model-combo-mappings/{id}", "{\"priority\":20,\"enabled\":true}"},
    {HTTP_POST,  "/api/settings/model-aliases", "{\"from\":\"gpt-old\",\"to\":\"gpt-4o\"}"},
    {HTTP_PUT,   "/api/settings/model-aliases", "{\"aliases\":{\"gpt-old\":\"gpt-4o\"}}"},
    {HTTP_DELETE, "/api/settings/model-aliases", "{\"from\":\"gpt-old\"}"},
    {HTTP_POST,  "/api/pricing", "{\"openai\":{\"gpt-4o\":{\"input\":2.5,\"output\":10}}}"},
    {HTTP_PATCH, "/api/pricing", "{\"openai\":{\"gpt-4o\":{\"input\":2.5,\"output\":10}}}"},
    {HTTP_POST,  "/api/pricing/sync", "{\"dryRun\":true}"},
    {HTTP_PUT,   "/api/resilience", "{\"defaults\":{\"requestsPerMinute\":60}}"},
    {HTTP_PATCH, "/api/resilience", "{\"defaults\":{\"requestsPerMinute\":60}}"},
    {HTTP_POST,  "/api/policies", "{\"name\":\"no previews\",\"match\":{\"model\":\"*-preview\"},\"action\":{\"type\":\"deny\"}}"},
    {HTTP_DELETE, "/api/policies", "{\"id\":\"no previews\"}"},
    {HTTP_PATCH, "/api/settings/proxy", "{\"level\":\"global\",\"proxy\":{\"type\":\"socks5\",\"host\":\"127.0.0.1\",\"port\":1080}}"},
    {HTTP_PUT,   "/api/settings/proxy", "{\"level\":\"global\",\"proxy\":{\"type\":\"socks5\",\"host\":\"127.0.0.1\",\"port\":1080}}"},
    {HTTP_PUT,   "/api/settings/proxies/assignments", "{\"scope\":\"global\",\"proxyId\":null}"},
    {HTTP_PUT,   "/api/settings/proxies/bulk-assign", "{\"scope\":\"global\",\"proxyId\":null}"},
    {HTTP_POST,  "/api/settings/background-degradation", "{\"action\":\"reset-stats\"}"},
    {HTTP_POST,  "/api/settings/task-routing", "{\"action\":\"detect\",\"body\":{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"Write a haiku.\"}]}}"},
    {HTTP_POST,  "/api/settings/proxy/test", "{\"proxy\":{\"type\":\"http\",\"host\":\"127.0.0.1\",\"port\":9}}"},
    {HTTP_POST,  "/api/db-backups", "{\"backupId\":\"db_2026-01-15T10-30-00-000Z_manual.sqlite\"}"},
    {HTTP_PATCH, "/api/settings", "{\"enableRequestLogs\":true,\"logRetentionDays\":30}"},
    {HTTP_POST,  "/api/settings/require-login", "{\"requireLogin\":true}"},
    {HTTP_PATCH, "/api/settings/combo-defaults", "{\"comboDefaults\":{\"maxRetries\":2}}"},
    {HTTP_PUT,   "/api/settings/combo-defaults", "{\"comboDefaults\":{\"maxRetries\":2}}"},
    {HTTP_PUT,   "/api/settings/system-prompt", "{\"prompt\":\"Answer in British English.\",\"enabled\":true}"},
    {HTTP_PUT,   "/api/settings/thinking-budget", "{\"mode\":\"auto\"}"},
    {HTTP_PUT,   "/api/settings/ip-filter", "{\"addBlacklist\":\"203.0.113.0/24\"}"},
    {HTTP_POST,  "/api/usage/budget", "{\"apiKeyId\":\"0a1b2c3d\",\"dailyLimitUsd\":5}"},
};

/* What a field holds, by its name: the first that fits its kind and bounds. shape: only in that one; NULL: anywhere. */
static const struct {
    const char *shape, *field, *json;
} values[] = {
    {"struct found_out", "models", "[\"gpt-4o\",\"gpt-4o-mini\"]"},
    {"struct host_out", "addresses", "[\"192.0.2.10\"]"},
    {"struct version_out", "version", "\"0.1.0\""},
    {NULL, "id", "\"0a1b2c3d\""}, {NULL, "name", "\"openai\""}, {NULL, "provider", "\"openai\""}, {NULL, "providers", "[\"openai\",\"anthropic\"]"},
    {NULL, "model", "\"gpt-4o\""}, {NULL, "models", "{\"gpt-4o\":\"openai\"}"}, {NULL, "upstream_model", "\"gpt-4o-2024-11-20\""},
    {NULL, "provider_model", "\"gpt-4o-2024-11-20\""}, {NULL, "requestedModel", "\"gpt-4o\""}, {NULL, "fullModel", "\"openai/gpt-4o\""},
    {NULL, "defaultModel", "\"gpt-4o\""}, {NULL, "combo", "\"smart\""}, {NULL, "comboName", "\"smart\""}, {NULL, "comboId", "\"smart\""},
    {NULL, "alias", "\"gpt-latest\""}, {NULL, "to", "\"gpt-4o\""}, {NULL, "from", "\"gpt-latest\""}, {NULL, "target", "\"openai/gpt-4o\""},
    {NULL, "type", "\"openai\""}, {NULL, "kind", "\"openai\""}, {NULL, "apiType", "\"chat\""}, {NULL, "authType", "\"apikey\""},
    {NULL, "base_url", "\"https://api.openai.com/v1\""}, {NULL, "baseUrl", "\"https://api.openai.com/v1\""}, {NULL, "url", "\"https://api.openai.com/v1\""},
    {NULL, "targetUrl", "\"https://api.openai.com/v1/chat/completions\""}, {NULL, "default_base_url", "\"https://api.deepseek.com\""},
    {NULL, "default_api_key_env", "\"DEEPSEEK_API_KEY\""}, {NULL, "key_env", "\"OPENAI_API_KEY\""}, {NULL, "variable", "\"SLUICE_MAX_ATTEMPTS\""},
    {NULL, "api_key", "\"sk-p***6789\""}, {NULL, "key", "\"sk-s***cdef\""}, {NULL, "keyPreview", "\"sk-s***cdef\""}, {NULL, "proxy", "\"socks5://127.0.0.1:1080\""},
    {NULL, "wires", "[\"openai_chat\",\"openai_responses\"]"}, {NULL, "wire", "\"openai_chat\""}, {NULL, "format", "\"openai_chat\""},
    {NULL, "client_format", "\"openai_chat\""}, {NULL, "upstream_format", "\"anthropic\""}, {NULL, "sourceFormat", "\"openai_chat\""},
    {NULL, "targetFormat", "\"anthropic\""}, {NULL, "source_provider", "\"openai_chat\""}, {NULL, "target_provider", "\"openai\""},
    {NULL, "api_standard", "\"openai_chat\""}, {NULL, "base", "\"openai_chat\""}, {NULL, "capabilities", "[\"text\",\"vision\",\"tools\"]"},
    {NULL, "known_provider_types", "[\"anthropic\",\"google\",\"openai\"]"}, {NULL, "supportedEndpoints", "[\"chat\"]"},
    {NULL, "context_tokens", "128000"}, {NULL, "max_output_tokens", "16384"}, {NULL, "strategy", "\"priority\""}, {NULL, "origin", "\"api\""},
    {NULL, "label", "\"web shop\""}, {NULL, "api_key_label", "\"web shop\""}, {NULL, "key_label", "\"web shop\""}, {NULL, "apiKeyName", "\"web shop\""},
    {NULL, "apiKeyId", "\"0a1b2c3d\""}, {NULL, "key_id", "\"0a1b2c3d\""}, {NULL, "connectionId", "\"5e0b3c1a-7f24-8d11-9c2e-1b7a90f4d6e2\""},
    {NULL, "account", "\"work\""}, {NULL, "connectionName", "\"work\""}, {NULL, "providerId", "\"openai\""}, {NULL, "group", "\"default\""},
    {NULL, "quirks", "{\"developer_role\":true}"}, {NULL, "scopes", "[\"inference\"]"}, {NULL, "allowed_models", "[\"gpt-*\"]"}, {NULL, "allowedModels", "[\"gpt-4o\"]"}, {NULL, "tags", "[\"shop\"]"},
    {NULL, "allowed_ips", "[\"203.0.113.0/24\"]"}, {"access_schedule", "days", "[1,2,3,4,5]"}, {NULL, "days", "[\"mon\",\"tue\",\"wed\",\"thu\",\"fri\"]"}, {NULL, "time_zone", "\"Europe/Berlin\""},
    {NULL, "org", "\"acme\""}, {NULL, "user", "\"ada\""}, {NULL, "operator", "\"ada\""}, {NULL, "actor", "\"ada\""}, {NULL, "actor_kind", "\"operator\""}, {NULL, "role", "\"admin\""},
    {NULL, "address", "\"203.0.113.9\""}, {NULL, "ip", "\"203.0.113.9\""}, {NULL, "ip_address", "\"203.0.113.9\""}, {NULL, "client_address", "\"203.0.113.9\""},
    {NULL, "publicIp", "\"203.0.113.9\""}, {NULL, "user_agent", "\"curl/8.5.0\""}, {NULL, "token", "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\""},
    {NULL, "session", "\"5c2e9a10\""}, {NULL, "request_id", "\"req_4f1d2a9b8c7e6f5a4b3c2d1e\""}, {NULL, "requestId", "\"5e0b3c1a-7f24-4d11-9c2e-1b7a90f4d6e2\""},
    {NULL, "task_id", "\"7d3f9a1c52e84b06\""}, {NULL, "trace_id", "\"4bf92f3577b34da6a3ce929d0e0e4736\""}, {NULL, "method", "\"POST\""}, {NULL, "path", "\"/v1/chat/completions\""},
    {NULL, "status", "200"}, {NULL, "status", "\"ok\""}, {NULL, "status_code", "200"}, {NULL, "statusCode", "200"}, {NULL, "outcome", "\"ok\""}, {NULL, "ended", "\"stop\""},
    {NULL, "usage_quality", "\"reported\""}, {NULL, "cost_state", "\"priced\""}, {NULL, "operation", "\"chat\""}, {NULL, "at", "\"2026-01-15T10:30:00.000Z\""},
    {NULL, "since", "\"2026-01-15T10:30:00.000Z\""}, {NULL, "until", "\"18:00\""}, {NULL, "timestamp", "\"2026-01-15T10:30:00.000Z\""}, {NULL, "created", "\"2026-01-15T10:30:00.000000+00:00\""},
    {NULL, "valid_from", "\"2026-01-01T00:00:00.000Z\""}, {NULL, "begins", "\"2026-01-01T00:00:00.000Z\""}, {NULL, "ends", "\"2026-02-01T00:00:00.000Z\""}, {NULL, "day", "\"2026-01-15\""},
    {NULL, "input_tokens", "1200"}, {NULL, "output_tokens", "340"}, {NULL, "cost_nanousd", "6400000"}, {NULL, "total_nanousd", "6400000"}, {NULL, "limit_nanousd", "250000000000"},
    {NULL, "spent_nanousd", "6400000"}, {NULL, "left_nanousd", "249993600000"}, {NULL, "input_nanousd", "2500"}, {NULL, "output_nanousd", "10000"}, {NULL, "price_nanousd", "2500"},
    {NULL, "price", "{\"input\":2.5,\"output\":10}"}, {NULL, "scope", "\"all\""}, {NULL, "period", "\"month\""}, {NULL, "warn_percent", "80"}, {NULL, "action", "\"refuse\""},
    {NULL, "entry", "\"usage\""}, {NULL, "note", "\"For the outage of 3 May\""}, {NULL, "reason", "\"scans\""}, {NULL, "message", "\"Done\""}, {NULL, "duration_us", "840000"}, {NULL, "duration_ms", "840.2"},
    {NULL, "ttft_us", "310000"}, {NULL, "elapsed_ms", "1250"}, {NULL, "latencyMs", "210"}, {NULL, "uptime_seconds", "86400"}, {NULL, "config_path", "\"/etc/sluice/sluice.jsonc\""},
    {NULL, "config_file", "\"/etc/sluice/sluice.jsonc\""}, {NULL, "data_dir", "\"/var/lib/sluice\""}, {NULL, "by_model", "{\"gpt-4o\":118}"}, {NULL, "by_source_provider", "{\"openai_chat\":118}"},
    {NULL, "by_target_provider", "{\"openai\":118}"}, {NULL, "by_status_code", "{\"200\":116,\"429\":2}"}, {NULL, "google", "{\"ok\":true,\"status\":204}"},
    {NULL, "ip", "{\"ok\":true,\"ip\":\"203.0.113.9\",\"country\":\"Germany\",\"city\":\"Berlin\",\"isp\":\"Example Net\"}"},
    {NULL, "server", "{\"port\":8765,\"proxy\":\"socks5://127.0.0.1:1080\"}"}, {NULL, "value", "2"}, {NULL, "default", "3"}, {NULL, "sentence", "\"How often a request is tried\""},
    {NULL, "added", "[\"openai/gpt-4o\"]"}, {NULL, "skipped", "[\"openai/gpt-4o-mini\"]"}, {NULL, "error_rate", "0.0169"}, {NULL, "priority", "1"}, {NULL, "weight", "1"},
    {NULL, "next", "null"}, {NULL, "version", "\"0.1.0\""}, {NULL, "mode", "\"off\""}, {NULL, "testStatus", "\"active\""}, {NULL, "service", "\"openai\""},
};

/* Fields that a request without required ones usually sets. */
static const char *const usual[] = {"name", "label", "enabled", "isActive", "priority"};
/* clang-format on */

static bool is_number(const char *json)
{
    return (json[0] >= '0' && json[0] <= '9') || json[0] == '-';
}

static bool is_word(const struct word *words, const char *json)
{
    size_t n = strlen(json) - 2;
    for (; words->text; words++)
        if (strlen(words->text) == n && memcmp(words->text, json + 1, n) == 0)
            return true;
    return false;
}

static bool fits(const struct field *f, const char *json)
{
    bool is_bound = f->min != f->max;
    int64_t n;
    switch (f->kind) {
    case SHAPE_BOOL:
        return json[0] == 't' || json[0] == 'f';
    case SHAPE_INT32:
    case SHAPE_UINT32:
    case SHAPE_INT64:
        return str_to_int(str_of(json), &n) && (!is_bound || (n >= f->min && n <= f->max));
    case SHAPE_DOUBLE:
        return is_number(json) && !is_bound;
    case SHAPE_STR:
        n = (int64_t)strlen(json) - 2;
        return json[0] == '"' && (!is_bound || (n >= f->min && n <= f->max));
    case SHAPE_ENUM:
        return json[0] == '"' && is_word(f->words, json);
    case SHAPE_STRS:
        return json[0] == '[' && json[1] == '"';
    case SHAPE_JSON: /* of a list or a map */
        return !f->shape ||
               (f->flags & JSON_LIST        ? json[0] == '['
                : json_shape_type(f->shape) ? json[0] == '{' && f->flags & JSON_MAP
                                            : json[0] == '{' && !(f->flags & JSON_MAP));
    case SHAPE_OBJECT:
    case SHAPE_LIST:
        return false; /* theirs are made */
    }
    return false;
}

static const char *value_of(const struct shape *s, const struct field *f)
{
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        if (strcmp(values[i].field, f->name) == 0 && fits(f, values[i].json) &&
            (!values[i].shape || strcmp(values[i].shape, s->name) == 0))
            return values[i].json;
    return NULL;
}

static bool ends(const char *name, const char *with)
{
    return str_ends(str_of(name), str_of(with));
}

static int64_t number_for(const struct field *f)
{
    bool is_moment = ends(f->name, "_at_ms") || ends(f->name, "edAt");
    int64_t n = is_moment ? 1768473000000 : ends(f->name, "okens") ? 120 : 1;
    if (f->min != f->max && (n < f->min || n > f->max))
        n = f->min > 0 ? f->min : f->max < 0 ? f->max : 0;
    return n;
}

/* A moment where the name says that, else the name itself: a word of the right length that says what stands there. */
static void write_text(const struct field *f, struct jw *w)
{
    static const char filler[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    bool is_moment = ends(f->name, "_at") || ends(f->name, "At") || ends(f->name, "Until");
    struct str text = is_moment ? STR("2026-01-15T10:30:00.000Z") : str_of(f->name);
    if (f->min != f->max && (int64_t)text.n < f->min)
        text = str_n(filler,
                     (size_t)f->min < sizeof filler - 1 ? (size_t)f->min : sizeof filler - 1);
    if (f->min != f->max && (int64_t)text.n > f->max)
        text.n = (size_t)f->max;
    jw_str(w, text);
}

static void write_shape(const struct shape *s, unsigned depth, bool is_out, struct jw *w);

/* Of values that are no objects of ours: see json/shape_json.h. */
static void write_like(const struct shape *s, unsigned depth, bool is_out, struct jw *w)
{
    if (s == &json_of_text)
        jw_cstr(w, "gpt-4o");
    else if (s == &json_of_integer || s == &json_of_number)
        jw_int(w, 1);
    else if (s == &json_of_truth)
        jw_bool(w, true);
    else
        write_shape(s, depth + 1, is_out, w);
}

static void write_made(const struct field *f, unsigned depth, bool is_out, struct jw *w)
{
    switch (f->kind) {
    case SHAPE_BOOL:
        jw_bool(w, true);
        break;
    case SHAPE_INT32:
    case SHAPE_UINT32:
    case SHAPE_INT64:
        jw_int(w, number_for(f));
        break;
    case SHAPE_DOUBLE:
        jw_double(w, f->min != f->max ? (double)number_for(f) : 0.5);
        break;
    case SHAPE_STR:
        write_text(f, w);
        break;
    case SHAPE_ENUM:
        jw_cstr(w, f->words[0].text);
        break;
    case SHAPE_STRS:
        jw_array(w);
        jw_cstr(w, f->name);
        jw_array_end(w);
        break;
    case SHAPE_OBJECT:
        write_shape(f->shape, depth + 1, is_out, w);
        break;
    case SHAPE_LIST:
        jw_array(w);
        if (depth < DEEPEST)
            write_shape(f->shape, depth + 1, is_out, w);
        jw_array_end(w);
        break;
    case SHAPE_JSON:
        if (f->flags & JSON_LIST)
            jw_array(w);
        else if (f->flags & JSON_MAP) {
            jw_object(w);
            jw_key(w, "openai");
        }
        if (f->shape)
            write_like(f->shape, depth, is_out, w);
        else
            jw_raw(w, STR("{}"));
        if (f->flags & JSON_LIST)
            jw_array_end(w);
        else if (f->flags & JSON_MAP)
            jw_object_end(w);
        break;
    }
}

static void write_field(const struct shape *s, const struct field *f, unsigned depth, bool is_out,
                        struct jw *w)
{
    const char *known = value_of(s, f);
    jw_key(w, f->name);
    if (known)
        jw_raw(w, str_of(known));
    else
        write_made(f, depth, is_out, w);
}

/* Answers leave out what they may, unless it is known what would stand there. */
static bool is_shown(const struct shape *s, const struct field *f, bool is_out)
{
    if (is_out)
        return !(f->flags & WRITE_ONLY) && (!(f->flags & OMIT_EMPTY) || value_of(s, f));
    return (f->flags & REQUIRED) && !(f->flags & READ_ONLY);
}

static void write_shape(const struct shape *s, unsigned depth, bool is_out, struct jw *w)
{
    jw_object(w);
    for (size_t i = 0; depth <= DEEPEST && i < s->n_fields; i++)
        if (is_shown(s, &s->fields[i], is_out))
            write_field(s, &s->fields[i], depth, is_out, w);
    jw_object_end(w);
}

static bool has_required(const struct shape *s)
{
    for (size_t i = 0; i < s->n_fields; i++)
        if (s->fields[i].flags & REQUIRED)
            return true;
    return false;
}

static bool is_usual(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(usual); i++)
        if (strcmp(usual[i], name) == 0)
            return true;
    return false;
}

void example_value(const struct shape *s, struct jw *w)
{
    write_shape(s, 0, true, w);
}

void example_request(const struct endpoint *e, struct jw *w)
{
    bool has_any = false;
    for (size_t i = 0; i < ARRAY_LEN(requests); i++)
        if (requests[i].method == e->method && strcmp(requests[i].path, e->path) == 0) {
            jw_raw(w, str_of(requests[i].json));
            return;
        }
    if (has_required(e->in)) {
        write_shape(e->in, 0, false, w);
        return;
    }
    jw_object(w);
    for (size_t i = 0; i < e->in->n_fields; i++)
        if (is_usual(e->in->fields[i].name)) {
            write_field(e->in, &e->in->fields[i], 0, false, w);
            has_any = true;
        }
    if (!has_any && e->in->n_fields)
        write_field(e->in, &e->in->fields[0], 0, false, w);
    jw_object_end(w);
}
