/* commands.c - the commands: help, parsing and shell completion are made from this table. */
#include "app/cli.h"
#include "base/banned.h"

#define STORE "config data"

/* clang-format off */
const struct command commands[] = {
    { "serve", NULL, NULL, 0, 0, "Start the gateway", STORE " host port threads port-file no-detect quiet",
      "Without a configuration file it looks for API keys in the environment (OPENAI_API_KEY,\n"
      "ANTHROPIC_API_KEY, GEMINI_API_KEY, …) and for Ollama and llama-server on this machine, and offers\n"
      "what it finds. The first start makes a client key and shows it once. SIGHUP reads the\n"
      "configuration again, SIGTERM ends after the running requests.\n\n"
      "  sluice serve\n"
      "  sluice serve --config sluice.jsonc --host 0.0.0.0 --port 8080\n", cmd_serve },
    { "check", NULL, "[FILE]", 0, 1, "Say what is wrong with a configuration file", STORE,
      "Ends with 0 when it is fine, with 1 and the place of the fault when it is not.\n\n"
      "  sluice check sluice.jsonc\n", cmd_check },
    { "export", NULL, NULL, 0, 0, "Write a configuration file that reproduces what is configured", STORE " secrets",
      "Providers, models, settings and client keys of file and store. Client keys are written as hashes:\n"
      "they go on working, and cannot be read. Other secrets become ${VARIABLES} unless --secrets is given.\n\n"
      "  sluice export > sluice.jsonc\n", cmd_export },
    { "provider", "list", NULL, 0, 0, "List the providers", STORE " json", NULL, cmd_provider_list },
    { "provider", "kinds", NULL, 0, 0, "List the kinds of providers there are", "", NULL, cmd_provider_kinds },
    { "provider", "add", "NAME", 1, 1, "Add a provider, or change one", STORE " type base-url api-key proxy ca-file wire api-version quirks",
      "NAME may be a kind itself; then --type is not needed. It is written into the configuration file where\n"
      "there is one that can be written, else into the store, where keys are sealed. More than one key,\n"
      "separated by commas, are used in turn. Of a provider that is there, what is not said stays.\n\n"
      "  sluice provider add openai --api-key -\n"
      "  sluice provider add desk --type llamacpp --base-url http://127.0.0.1:8080/v1\n"
      "  sluice provider add work --type openai-compatible --base-url https://llm.example/v1 --api-key file:key.txt\n", cmd_provider_add },
    { "provider", "remove", "NAME", 1, 1, "Remove a provider", STORE " cascade",
      "One that models lead to is refused, unless --cascade takes them with it.\n", cmd_provider_remove },
    { "provider", "enable", "NAME", 1, 1, "Switch a provider on", STORE, NULL, cmd_provider_enable },
    { "provider", "disable", "NAME", 1, 1, "Switch a provider off: its models are hidden", STORE, NULL, cmd_provider_disable },
    { "provider", "test", "NAME", 1, 1, "Ask a provider for its models", STORE, NULL, cmd_provider_test },
    { "model", "list", NULL, 0, 0, "List the models", STORE " json", NULL, cmd_model_list },
    { "model", "add", "NAME PROVIDER[/MODEL]…", 2, 16, "Add a name for models of providers, or change one",
      STORE " upstream-model capabilities max-output-tokens context-tokens",
      "Providers are tried in order, until one answers.\n\n"
      "  sluice model add gpt openai/gpt-5.1\n"
      "  sluice model add coder desk/qwen cloud/claude-sonnet-4-5\n", cmd_model_add },
    { "model", "remove", "NAME", 1, 1, "Remove a model's name", STORE, NULL, cmd_model_remove },
    { "key", "create", NULL, 0, 0, "Make a client key and show it, this once", STORE " id label scopes models expires",
      "Only the key goes to standard output.\n\n"
      "  sluice key create --label laptop\n"
      "  sluice key create --label guest --models 'gpt*,echo' --expires 7d\n"
      "  sluice key create --label operator --scopes inference,models,admin\n", cmd_key_create },
    { "key", "list", NULL, 0, 0, "List the client keys", STORE " json", NULL, cmd_key_list },
    { "key", "enable", "ID", 1, 1, "Switch a key on", STORE, NULL, cmd_key_enable },
    { "key", "disable", "ID", 1, 1, "Switch a key off", STORE, NULL, cmd_key_disable },
    { "key", "remove", "ID", 1, 1, "Remove a key", STORE, NULL, cmd_key_remove },
    { "setting", "list", NULL, 0, 0, "List the settings with their values", STORE, NULL, cmd_setting_list },
    { "setting", "set", "NAME [VALUE]", 1, 2, "Change a setting; without a value it goes back to its default", STORE,
      "  sluice setting set max_attempts 2\n", cmd_setting_set },
    { "config", "history", NULL, 0, 0, "List the versions of the configuration, newest first", STORE " lines json",
      "  sluice config history -n 5\n", cmd_config_history },
    { "config", "diff", "VERSION [VERSION]", 1, 2, "Show what a version changed, or how two differ", STORE " json",
      "Secrets are masked. With one number it is compared with the version before.\n\n"
      "  sluice config diff 12\n"
      "  sluice config diff 7 12\n", cmd_config_diff },
    { "config", "rollback", "VERSION", 1, 1, "Go back to a version of the configuration", STORE,
      "File, providers, models and settings become what they were, as a new version; also when the file\n"
      "cannot be read any more. Client keys stay as they are now: what was revoked does not come back.\n\n"
      "  sluice config rollback 11\n", cmd_config_rollback },
    { "admin", "reset-password", "[NAME]", 0, 1, "Set the password of an operator, ending their sessions", STORE,
      "Without NAME: admin. The password is asked for, or read from standard input; it is never an argument,\n"
      "which everybody on the machine could see.\n\n"
      "  sluice admin reset-password\n"
      "  sluice admin reset-password ada < file\n", cmd_admin_reset_password },
    { "admin", "sessions", NULL, 0, 0, "List who has signed in, or end sessions", STORE " revoke revoke-all",
      "  sluice admin sessions --revoke ses_0123456789abcdef\n", cmd_admin_sessions },
    { "admin", "claim", NULL, 0, 0, "Make a link by which one person becomes an owner", STORE,
      "The link works once; an older one becomes void.\n", cmd_admin_claim },
    { "admin", "unlock", "[ADDRESS]", 0, 1, "Let addresses sign in again that failed too often", STORE, NULL, cmd_admin_unlock },
    { "price", "list", "[PART]", 0, 1, "List prices in USD for a million tokens, of every source", STORE,
      "  sluice price list gpt-5\n", cmd_price_list },
    { "price", "import", "FILE [PROVIDER]", 1, 2, "Read a price list in: the public one, OpenRouter's models, or ours", STORE,
      "With the name of a provider of ours the list is that provider's, and counts before general ones.\n\n"
      "  sluice price import model_prices_and_context_window.json\n", cmd_price_import },
    { "price", "set", "PROVIDER/MODEL JSON", 2, 2, "Set the price of a model, whatever lists say", STORE,
      "USD for a million tokens, or for each image, search and request.\n\n"
      "  sluice price set openai/gpt-5 '{\"input\":1.25,\"cache_read\":0.125,\"output\":10}'\n"
      "  sluice price set 'desk/*' '{\"input\":0,\"output\":0}'\n", cmd_price_set },
    { "price", "remove", "PROVIDER/MODEL", 1, 1, "Go back to what lists say of a model", STORE, NULL, cmd_price_remove },
    { "ledger", "verify", NULL, 0, 0, "Compute every line of the ledger again and compare", STORE,
      "Ends with 0 when everything comes out as it stands, with 1 and what does not.\n", cmd_ledger_verify },
    { "audit", "verify", NULL, 0, 0, "Check that nothing was altered in the audit log", STORE,
      "Ends with 0 when every row fits the one before, with 1 and the first row that does not.\n", cmd_audit_verify },
    { "audit", "list", NULL, 0, 0, "Show the last changes", STORE " lines json",
      "  sluice audit list -n 1000 --json | jq 'select(.kind == \"key\")'\n", cmd_audit_list },
    { "log", NULL, NULL, 0, 0, "Show the last requests", STORE " follow lines json",
      "  sluice log -f\n"
      "  sluice log -n 1000 --json | jq 'select(.status >= 500)'\n", cmd_log },
    { "top", NULL, NULL, 0, 0, "Show what a running server is doing", STORE " url api-key port once json interval",
      "Rates are means of the last minute. A key that may read the control plane is taken from --api-key or\n"
      "SLUICE_ADMIN_KEY. q ends it.\n"
      "  sluice top --once --json | jq '.series.models'\n", cmd_top },
    { "endpoints", NULL, NULL, 0, 0, "List what is served", "",
      "Tab-separated: method, path, surface, access, sentence; then the aliases of paths.\n", cmd_endpoints },
    { "openapi", NULL, NULL, 0, 0, "Write the OpenAPI document of what is served", "",
      "The same that a running server answers at /openapi.json.\n\n"
      "  sluice openapi > openapi.json\n", cmd_openapi },
    { "version", NULL, NULL, 0, 0, "Say which sluice this is", "", NULL, cmd_version },
    { "completion", NULL, "SHELL", 1, 1, "Write completions for bash, zsh or fish", "",
      "  sluice completion bash > ~/.local/share/bash-completion/completions/sluice\n", cmd_completion },
    {0},
};
/* clang-format on */
