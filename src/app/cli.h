/* cli.h - the command line: one table of options, one of commands; parsing, help and completion walk them. */
#ifndef APP_CLI_H
#define APP_CLI_H
#include "app/config.h"
#include "app/pidfile.h"
#include "domain/noun.h"
#include "json/json.h"
#include <stdio.h>
#include <stdlib.h>

#define CLI_MAX_ARGS 64

struct cli {                    /* one parsed command line */
    struct arena *arena;
    const struct command *command;
    const char *args[CLI_MAX_ARGS]; /* what is no option, in order */
    size_t n_args;
    /* options; NULL, -1 or false when not given */
    const char *config, *data, *host, *port_file;
    int64_t port, threads, lines;
    const char *url;
    int64_t interval;
    bool once;
    bool no_detect, quiet, json, follow, secrets, all, help;
    const char *type, *base_url, *api_key, *proxy, *ca_file, *wire, *api_version, *quirks;
    const char *id, *label, *scopes, *models, *expires, *upstream_model, *capabilities;
    int64_t max_output_tokens, context_tokens;
    const char *revoke;
    bool revoke_all, cascade;
};

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_NUMBER };
struct option_def {
    const char *name;           /* without its dashes */
    char letter;                /* 0: none */
    enum option_kind kind;
    const char *value;          /* what its value is called in help; NULL for flags */
    size_t offset;              /* in struct cli */
    int64_t min, max;
    const char *sentence;
};
extern const struct option_def option_defs[]; /* ends with name NULL */

struct command {
    const char *name, *verb;    /* "provider" "add"; verb NULL: none */
    const char *args;           /* "NAME" */
    size_t min_args, max_args;
    const char *sentence;
    const char *options;        /* names of option_defs, separated by spaces */
    const char *more;           /* examples and what else is worth knowing; may be NULL */
    int (*run)(struct cli *c);  /* the exit status */
};
extern const struct command commands[]; /* commands.c; ends with name NULL */

int cli_main(int argc, char **argv);
bool option_is_of(const struct option_def *o, const struct command *c);

/* ---- what commands share ---- */
int cli_fail(const struct err *e);                            /* "sluice: …" to standard error; 1 */
int cli_usage(const struct cli *c, const char *fmt, ...) PRINTF_LIKE(2, 3); /* the same with a pointer to --help; 2 */
/* Where configuration stands: options, then SLUICE_CONFIG and SLUICE_DATA, then the usual places. */
void cli_sources(const struct cli *c, struct config_sources *out);
/* The store of the installation, opened for writing and brought to the newest schema. NULL with e set. */
struct db *cli_store(const struct cli *c, struct config_sources *s, struct err *e);
/* The same where there is one: with what only looks, a mistyped folder is an error and stays as it is. */
struct db *cli_kept_store(const struct cli *c, struct config_sources *s, struct err *e);
/* What is in force there, for lists. */
bool cli_snapshot(const struct cli *c, struct config_sources *s, struct snapshot **out, struct err *e) MUST_USE;
/* Tells a server running on this data folder to read its configuration again, and says what happened. */
void cli_tell_server(const struct config_sources *s);
/* The word of a list that is nearest to an unknown one, NULL when none is near. */
const char *cli_near(struct str word, const char *(*nth)(size_t i));
/* A value given as text, as $NAME, as file:PATH, or "-" for the first line of standard input. */
bool cli_secret(const struct cli *c, const char *given, struct secret *out, struct err *e) MUST_USE;

/* A table of text, columns padded to their widest cell. */
struct sheet {
    struct arena *arena;
    size_t columns, rows, cap;
    struct str *cells;
};
void sheet_init(struct sheet *s, struct arena *a, size_t columns);
void sheet_add(struct sheet *s, struct str cell);             /* row by row */
void sheet_print(const struct sheet *s);

/* The commands, one file a noun. */
int cmd_serve(struct cli *c);
int cmd_check(struct cli *c);
int cmd_export(struct cli *c);
int cmd_provider_list(struct cli *c);
int cmd_provider_kinds(struct cli *c);
int cmd_provider_add(struct cli *c);
int cmd_provider_remove(struct cli *c);
int cmd_provider_enable(struct cli *c);
int cmd_provider_disable(struct cli *c);
int cmd_provider_test(struct cli *c);
int cmd_model_list(struct cli *c);
int cmd_model_add(struct cli *c);
int cmd_model_remove(struct cli *c);
int cmd_key_create(struct cli *c);
int cmd_key_list(struct cli *c);
int cmd_key_enable(struct cli *c);
int cmd_key_disable(struct cli *c);
int cmd_key_remove(struct cli *c);
int cmd_setting_list(struct cli *c);
int cmd_setting_set(struct cli *c);
int cmd_config_history(struct cli *c);
int cmd_config_diff(struct cli *c);
int cmd_config_rollback(struct cli *c);
int cmd_admin_reset_password(struct cli *c);
int cmd_admin_sessions(struct cli *c);
int cmd_admin_claim(struct cli *c);
int cmd_admin_unlock(struct cli *c);
int cmd_price_list(struct cli *c);
int cmd_price_import(struct cli *c);
int cmd_price_set(struct cli *c);
int cmd_price_remove(struct cli *c);
int cmd_ledger_verify(struct cli *c);
int cmd_audit_verify(struct cli *c);
int cmd_audit_list(struct cli *c);
int cmd_endpoints(struct cli *c);
int cmd_openapi(struct cli *c);
int cmd_log(struct cli *c);
int cmd_top(struct cli *c);
int cmd_version(struct cli *c);
int cmd_completion(struct cli *c);
#endif
