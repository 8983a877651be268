/* cli.c - parsing of the command line, help, and what the commands share. */
#include "app/cli.h"
#include "app/pidfile.h"
#include "base/banned.h"
#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#define TEXT(name_, member_, value_, sentence_)                                       \
    {                                                                                 \
        name_, 0, OPTION_TEXT, value_, offsetof(struct cli, member_), 0, 0, sentence_ \
    }
#define FLAG(name_, letter_, member_, sentence_)                                          \
    {                                                                                     \
        name_, letter_, OPTION_FLAG, NULL, offsetof(struct cli, member_), 0, 0, sentence_ \
    }
#define NUMBER(name_, letter_, member_, value_, min_, max_, sentence_)                    \
    {                                                                                     \
        name_, letter_, OPTION_NUMBER, value_, offsetof(struct cli, member_), min_, max_, \
            sentence_                                                                     \
    }

/* clang-format off */
const struct option_def option_defs[] = {
    TEXT("config", config, "FILE", "Configuration file (else SLUICE_CONFIG, else sluice.jsonc in the data folder)"),
    TEXT("data", data, "DIR", "Folder of store and master key (else SLUICE_DATA, else ~/.local/share/sluice)"),
    TEXT("host", host, "ADDRESS", "Address to listen on"),
    NUMBER("port", 0, port, "PORT", 0, 65535, "Port to listen on; 0 picks a free one"),
    NUMBER("threads", 0, threads, "N", 0, 256, "Event loops; 0: one a core"),
    TEXT("port-file", port_file, "FILE", "Gets the port once requests are taken"),
    FLAG("no-detect", 0, no_detect, "Do not look for API keys in the environment and model servers beside us"),
    FLAG("quiet", 'q', quiet, "No greeting"),
    FLAG("json", 0, json, "Answer as JSON"),
    FLAG("follow", 'f', follow, "Go on with what comes"),
    NUMBER("lines", 'n', lines, "N", 0, 1000000, "How many of the last requests (20)"),
    TEXT("url", url, "URL", "The running server (else SLUICE_URL, else where the configuration says that it listens)"),
    FLAG("once", 0, once, "Once, as plain text"),
    NUMBER("interval", 0, interval, "MS", 100, 3600000, "Milliseconds between two readings (1000)"),
    FLAG("secrets", 0, secrets, "Write API keys and passwords too, instead of placeholders"),
    FLAG("all", 0, all, "Those that are switched off too"),
    TEXT("type", type, "KIND", "Kind of provider: see `sluice provider kinds`"),
    TEXT("base-url", base_url, "URL", "Where it is; the kind's own address when left out"),
    TEXT("api-key", api_key, "KEY", "Its key: the text, file:PATH, or - to read it from standard input"),
    TEXT("proxy", proxy, "URL", "http:// or socks5:// proxy to reach it through"),
    TEXT("ca-file", ca_file, "FILE", "PEM certificates to trust instead of the system's"),
    TEXT("wire", wire, "FORMAT", "Format to speak, when not the kind's own: openai_chat, openai_responses, anthropic, google or ollama"),
    TEXT("api-version", api_version, "VERSION", "API version (Azure)"),
    TEXT("quirks", quirks, "NAMES", "What is otherwise than its kind says: NAME or NAME=false, separated by commas"),
    TEXT("id", id, "ID", "Id of the key; made up when left out"),
    TEXT("label", label, "TEXT", "What the key is for"),
    TEXT("scopes", scopes, "LIST", "Comma list of inference, models, admin (inference,models)"),
    TEXT("models", models, "LIST", "Comma list of models it may use, * stands for anything; all when left out"),
    TEXT("expires", expires, "WHEN", "Days from now (30d), hours (12h) or a time (2026-12-31T00:00:00Z)"),
    TEXT("upstream-model", upstream_model, "ID", "What the provider calls it, when that is another name"),
    TEXT("capabilities", capabilities, "LIST", "Comma list of text, vision, tools, embedding, reasoning, audio, image, rerank, moderation"),
    NUMBER("max-output-tokens", 0, max_output_tokens, "N", 1, INT64_MAX, "Most tokens that the model writes"),
    NUMBER("context-tokens", 0, context_tokens, "N", 1, INT64_MAX, "Tokens that fit into its context"),
    TEXT("revoke", revoke, "ID", "End this session"),
    FLAG("revoke-all", 0, revoke_all, "End all sessions"),
    FLAG("cascade", 0, cascade, "Remove what cannot be without it, too"),
    FLAG("help", 'h', help, "This text"),
    {0},
};
/* clang-format on */

bool option_is_of(const struct option_def *o, const struct command *c)
{
    struct str rest = str_of(c->options), one;
    if (strcmp(o->name, "help") == 0)
        return true;
    while (rest.n) {
        rest = str_cut(rest, ' ', &one);
        if (str_eq(one, str_of(o->name)))
            return true;
    }
    return false;
}

/* ---- messages ---- */

int cli_fail(const struct err *e)
{
    (void)fprintf(stderr, "sluice: %s\n", e->message);
    return 1;
}

static const char *full_name(const struct command *c)
{
    static char text[64];
    (void)snprintf(text, sizeof text, "%s%s%s", c->name, c->verb ? " " : "",
                   c->verb ? c->verb : "");
    return text;
}

int cli_usage(const struct cli *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)fputs("sluice: ", stderr);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fprintf(stderr, "\nTry: sluice %s%s--help\n", c->command ? full_name(c->command) : "",
                  c->command ? " " : "");
    return 2;
}

const char *cli_near(struct str word, const char *(*nth)(size_t i))
{
    const char *best = NULL, *name;
    size_t least = SIZE_MAX;
    for (size_t i = 0; (name = nth(i)) != NULL; i++) {
        size_t d = str_edit_distance(word, str_of(name));
        size_t longest = word.n > strlen(name) ? word.n : strlen(name);
        bool is_start = word.n >= 3 && str_starts(str_of(name), word);
        if (is_start)
            d = 0;
        if (d < least && d * 2 <= longest) {
            least = d;
            best = name;
        }
    }
    return best;
}

/* ---- help ---- */

static void print_options(const struct command *c)
{
    for (const struct option_def *o = option_defs; o->name; o++) {
        char left[64];
        if (!option_is_of(o, c))
            continue;
        (void)snprintf(left, sizeof left, "%s%c%s--%s%s%s", o->letter ? "-" : " ",
                       o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name,
                       o->value ? " " : "", o->value ? o->value : "");
        (void)printf("  %-28s %s\n", left, o->sentence);
    }
}

static int help_of(const struct command *c)
{
    (void)printf("usage: sluice %s%s%s [options]\n\n%s.\n\n", full_name(c), c->args ? " " : "",
                 c->args ? c->args : "", c->sentence);
    print_options(c);
    if (c->more)
        (void)printf("\n%s", c->more);
    return 0;
}

/* The commands, or those of one noun. */
static int help(const char *noun)
{
    if (!noun)
        (void)fputs("sluice: one gateway between your clients and your language models\n\n"
                    "usage: sluice COMMAND [options]\n\n",
                    stdout);
    else
        (void)printf("usage: sluice %s VERB [options]\n\n", noun);
    for (const struct command *c = commands; c->name; c++) {
        char left[64];
        if (noun && strcmp(c->name, noun) != 0)
            continue;
        (void)snprintf(left, sizeof left, "%s%s%s", full_name(c), c->args ? " " : "",
                       c->args ? c->args : "");
        (void)printf("  %-33s %s\n", left, c->sentence);
    }
    if (!noun)
        (void)fputs(
            "\nFirst steps:\n"
            "  sluice serve                              start; the first start prints a client "
            "key and commands to copy\n"
            "  sluice provider add cloud --type openai --api-key -\n"
            "  sluice model add gpt cloud/gpt-5.1\n"
            "  sluice key create --label laptop\n"
            "  sluice log -f                             watch requests\n\n"
            "A model of a provider needs no entry of its own: clients may ask for PROVIDER/MODEL.\n"
            "`sluice COMMAND --help` says more about each.\n",
            stdout);
    return 0;
}

/* ---- parsing ---- */

static const char *nth_command(size_t i)
{
    return commands[i].name;
}

static const char *verbs_of; /* for nth_verb: the noun */
static const char *nth_verb(size_t i)
{
    for (const struct command *c = commands; c->name; c++)
        if (c->verb && strcmp(c->name, verbs_of) == 0 && i-- == 0)
            return c->verb;
    return NULL;
}

static const struct command *options_of;
static const char *nth_option(size_t i)
{
    for (const struct option_def *o = option_defs; o->name; o++)
        if (option_is_of(o, options_of) && i-- == 0)
            return o->name;
    return NULL;
}

static const struct option_def *find_option(const struct command *c, struct str name, char letter)
{
    for (const struct option_def *o = option_defs; o->name; o++)
        if (option_is_of(o, c) && (letter ? o->letter == letter : str_eq(str_of(o->name), name)))
            return o;
    return NULL;
}

static int set_option(struct cli *c, const struct option_def *o, const char *value)
{
    void *at = (char *)c + o->offset;
    int64_t n;
    switch (o->kind) {
    case OPTION_FLAG:
        *(bool *)at = true;
        break;
    case OPTION_TEXT:
        *(const char **)at = value;
        break;
    case OPTION_NUMBER:
        if (!str_to_int(str_of(value), &n) || n < o->min || n > o->max)
            return cli_usage(c, "--%s must be a whole number from %lld to %lld, not '%s'", o->name,
                             (long long)o->min, (long long)o->max, value);
        *(int64_t *)at = n;
        break;
    }
    return 0;
}

static int unknown_option(struct cli *c, struct str name)
{
    options_of = c->command;
    const char *near = cli_near(name, nth_option);
    return near ? cli_usage(c, "unknown option --" STR_FMT "; did you mean --%s?", STR_ARG(name),
                            near)
                : cli_usage(c, "unknown option --" STR_FMT, STR_ARG(name));
}

/* Takes argv[*i], and its value behind it when it has one. */
static int take_option(struct cli *c, int argc, char **argv, int *i)
{
    struct str name = STR_NONE, value = STR_NONE;
    const char *text = argv[*i];
    bool is_long = text[1] == '-';
    if (is_long)
        value = str_cut(str_of(text + 2), '=', &name);
    else if (text[2] != '\0')
        value = str_of(text + 2);
    const struct option_def *o = find_option(c->command, name, is_long ? 0 : text[1]);
    if (!o && is_long)
        return unknown_option(c, name);
    if (!o)
        return cli_usage(c, "unknown option -%c", text[1]);
    if (o->kind == OPTION_FLAG)
        return value.p && (value.n || is_long) && text[2 + (is_long ? name.n : 0)] != '\0'
                   ? cli_usage(c, "--%s takes no value", o->name)
                   : set_option(c, o, NULL);
    if (value.n || (is_long && text[2 + name.n] == '='))
        return set_option(c, o, value.p);
    if (*i + 1 >= argc)
        return cli_usage(c, "--%s needs a value: %s", o->name, o->value);
    return set_option(c, o, argv[++*i]);
}

static const struct command *find_command(const char *name, const char *verb, bool *has_verbs)
{
    const struct command *found = NULL;
    *has_verbs = false;
    for (const struct command *c = commands; c->name; c++) {
        if (strcmp(c->name, name) != 0)
            continue;
        *has_verbs |= c->verb != NULL;
        if (!c->verb || (verb && strcmp(c->verb, verb) == 0))
            found = c;
    }
    return found;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

static int unknown_command(struct cli *c, const char *name, const char *verb, bool has_verbs)
{
    if (!has_verbs) {
        const char *near = cli_near(str_of(name), nth_command);
        return near ? cli_usage(c, "unknown command '%s'; did you mean '%s'?", name, near)
                    : cli_usage(c, "unknown command '%s'", name);
    }
    verbs_of = name;
    if (!verb || is_help(verb))
        return help(name);
    const char *near = cli_near(str_of(verb), nth_verb);
    return near ? cli_usage(c, "unknown command '%s %s'; did you mean '%s %s'?", name, verb, name,
                            near)
                : cli_usage(c, "unknown command '%s %s'", name, verb);
}

static int parse(struct cli *c, int argc, char **argv, int at)
{
    bool is_rest = false;
    for (int i = at; i < argc; i++) {
        if (!is_rest && strcmp(argv[i], "--") == 0) {
            is_rest = true;
        } else if (!is_rest && argv[i][0] == '-' && argv[i][1] != '\0') {
            int rc = take_option(c, argc, argv, &i);
            if (rc)
                return rc;
        } else if (c->n_args == c->command->max_args || c->n_args == CLI_MAX_ARGS) {
            return cli_usage(c, "unexpected argument '%s'", argv[i]);
        } else {
            c->args[c->n_args++] = argv[i];
        }
    }
    if (!c->help && c->n_args < c->command->min_args)
        return cli_usage(c, "missing argument: sluice %s %s", full_name(c->command),
                         c->command->args);
    return 0;
}

int cli_main(int argc, char **argv)
{
    struct cli c = {
        .port = -1, .threads = -1, .lines = -1, .max_output_tokens = -1, .context_tokens = -1};
    bool has_verbs;
    if (argc < 2 || (is_help(argv[1]) && argc == 2)) {
        int rc = help(NULL);
        return argc < 2 ? 2 : rc;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
        return cmd_version(&c);
    bool asks = is_help(argv[1]);
    const char *name = argv[asks ? 2 : 1],
               *verb = argc > (asks ? 3 : 2) ? argv[asks ? 3 : 2] : NULL;
    const struct command *command = find_command(name, verb, &has_verbs);
    if (!command)
        return unknown_command(&c, name, verb, has_verbs);
    if (asks)
        return help_of(command);
    c.command = command;
    int rc = parse(&c, argc, argv, command->verb ? 3 : 2);
    if (rc)
        return rc;
    if (c.help)
        return help_of(command);
    c.arena = arena_new();
    rc = command->run(&c);
    if (fflush(stdout) != 0 && rc == 0)
        rc = 1;
    arena_free(c.arena);
    arena_thread_done();
    return rc;
}

/* ---- where things are ---- */

static const char *set_env(const char *name)
{
    const char *v = getenv(name);
    return v && v[0] ? v : NULL;
}

static const char *usual_data_dir(struct arena *a)
{
    const char *xdg = set_env("XDG_DATA_HOME"), *home = set_env("HOME");
    if (xdg)
        return str_fmt(a, "%s/sluice", xdg).p;
    return home ? str_fmt(a, "%s/.local/share/sluice", home).p : "/var/lib/sluice";
}

void cli_sources(const struct cli *c, struct config_sources *out)
{
    out->data_dir = c->data ? c->data : set_env("SLUICE_DATA");
    if (!out->data_dir)
        out->data_dir = usual_data_dir(c->arena);
    out->file = c->config ? c->config : set_env("SLUICE_CONFIG");
    if (!out->file) {
        const char *usual = str_fmt(c->arena, "%s/sluice.jsonc", out->data_dir).p;
        out->file = access(usual, F_OK) == 0 ? usual : NULL;
    }
}

struct db *cli_store(const struct cli *c, struct config_sources *s, struct err *e)
{
    cli_sources(c, s);
    return state_open(s, e) ? db_open(s->db_path, DB_READ_WRITE, e) : NULL;
}

/* A look makes none: a folder that was mistyped would be filled, and the first start would be none. */
static bool has_store(const struct cli *c, struct config_sources *s, struct err *e)
{
    cli_sources(c, s);
    return access(str_z(c->arena, str_fmt(c->arena, "%s/sluice.db", s->data_dir)), F_OK) == 0 ||
           err_set(e, ERR_INPUT, "no_store",
                   "there is no store in '%s' (--data, SLUICE_DATA): sluice has not run there yet",
                   s->data_dir);
}

struct db *cli_kept_store(const struct cli *c, struct config_sources *s, struct err *e)
{
    return has_store(c, s, e) ? cli_store(c, s, e) : NULL;
}

bool cli_snapshot(const struct cli *c, struct config_sources *s, struct snapshot **out,
                  struct err *e)
{
    if (!has_store(c, s, e) && !s->file)
        return false;
    err_clear(e); /* the file says something by itself */
    return state_open(s, e) && config_load(s, out, e);
}

void cli_tell_server(const struct config_sources *s)
{
    if (pidfile_signal(s->data_dir))
        (void)fputs("The running server takes it over now.\n", stderr);
}

bool cli_secret(const struct cli *c, const char *given, struct secret *out, struct err *e)
{
    struct str text = str_of(given);
    FILE *f = NULL;
    if (str_is(text, "-"))
        f = stdin;
    else if (str_starts(text, STR("file:")) && !(f = fopen(given + 5, "re")))
        return err_errno(e, "cannot read", given + 5);
    if (f) {
        char line[8192];
        if (f == stdin && isatty(STDIN_FILENO))
            (void)fputs("API key: ", stderr);
        bool got = fgets(line, sizeof line, f) != NULL;
        if (f != stdin)
            (void)fclose(f);
        text = got ? str_trim(str_of(line)) : STR_NONE;
        text = str_dup(c->arena, text);
        explicit_bzero(line, sizeof line);
    }
    *out = secret_of(text);
    return text.n > 0 || err_set(e, ERR_INPUT, "no_key", "the API key is empty");
}

/* ---- tables ---- */

void sheet_init(struct sheet *s, struct arena *a, size_t columns)
{
    *s = (struct sheet){.arena = a, .columns = columns};
}

void sheet_add(struct sheet *s, struct str cell)
{
    if (s->rows == s->cap) { /* rows counts cells while the table is filled */
        size_t cap = s->cap ? s->cap * 2 : 64;
        s->cells = arena_realloc(s->arena, s->cells, s->cap * sizeof *s->cells,
                                 cap * sizeof *s->cells);
        s->cap = cap;
    }
    s->cells[s->rows++] = str_dup(s->arena, cell);
}

static size_t width_of(struct str s) /* characters; every one taken as one column wide */
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

void sheet_print(const struct sheet *s)
{
    size_t widest[16] = {0};
    for (size_t i = 0; i < s->rows; i++)
        if (width_of(s->cells[i]) > widest[i % s->columns])
            widest[i % s->columns] = width_of(s->cells[i]);
    for (size_t i = 0; i < s->rows; i++) {
        bool is_last = i % s->columns == s->columns - 1;
        int pad = (int)(widest[i % s->columns] - width_of(s->cells[i]));
        (void)printf(STR_FMT "%*s%s", STR_ARG(s->cells[i]), is_last ? 0 : pad, "",
                     is_last ? "\n" : "  ");
    }
}
