/* first_start.c - detection of what is there, the first client key, and commands to copy. */
#include "app/first_start.h"
#include "app/operators.h"
#include "base/banned.h"
#include "domain/discover.h"
#include "domain/noun.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROBE_MS 2000 /* somebody listens: a busy machine needs a while to answer */

/* Where they listen is theirs to say, in the variables that they read themselves. */
static const struct {
    const char *kind, *path;
    const char *host, *port; /* variables; host may hold a port too */
    uint16_t usual;
} local_kinds[] = {{"ollama", "", "OLLAMA_HOST", NULL, 11434},
                   {"llamacpp", "/v1", "LLAMA_ARG_HOST", "LLAMA_ARG_PORT", 8080}};

static bool take_port(struct str text, uint16_t *port)
{
    int64_t n;
    if (!str_to_int(text, &n) || n < 1 || n > 65535)
        return false;
    *port = (uint16_t)n;
    return true;
}

/* The port on this machine; false: it is said to be elsewhere. "", "host", "host:port", ":port", "http://host:port/": what serves all
 * addresses is here as well. */
static bool local_port(size_t i, uint16_t *port)
{
    struct str said = str_trim(str_of(getenv(local_kinds[i].host))), host, rest;
    *port = local_kinds[i].usual;
    if (local_kinds[i].port && getenv(local_kinds[i].port) &&
        !take_port(str_trim(str_of(getenv(local_kinds[i].port))), port))
        return false;
    if (str_starts_nocase(said, STR("http://")))
        said = str_skip(said, 7);
    (void)str_cut(said, '/', &said);
    if (said.n && said.p[0] == '[') { /* [::1]:11434 */
        rest = str_cut(str_skip(said, 1), ']', &host);
        rest = str_skip(rest, rest.n && rest.p[0] == ':');
    } else {
        rest = str_cut(said, ':', &host);
    }
    if (rest.n && !take_port(rest, port))
        return false;
    return host.n == 0 || str_is(host, "0.0.0.0") || str_is(host, "::") ||
           str_eq_nocase(host, STR("localhost")) || str_starts(host, STR("127."));
}

/* Loopback answers at once, with a connection or a refusal. */
static bool is_listening(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && connect(fd, (const struct sockaddr *)(const void *)&at, sizeof at) == 0;
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

/* Anything may listen there: only a server that lists models the way its kind does is taken for one. */
static void look_at(struct config_sources *s, size_t i, uint16_t port)
{
    struct local_server *out = &s->local[i];
    struct arena *a = arena_new();
    struct err e = ERR_INIT;
    struct discovered d;
    const struct provider_kind *kind = provider_kind_find(str_of(local_kinds[i].kind));
    struct upstream u = {
        .name = str_of(kind->id),
        .kind = kind,
        .origin = {.host = STR("127.0.0.1"), .port = port, .allow_private = true},
        .base_path = str_of(local_kinds[i].path),
    };
    u.origin.host_header = str_fmt(a, "127.0.0.1:%u", port);
    if (upstream_models(a, &u, PROBE_MS, &d, &e) && d.n > 0) {
        out->kind = kind->id;
        (void)snprintf(out->base_url, sizeof out->base_url, "http://127.0.0.1:%u%s", port,
                       local_kinds[i].path);
        for (size_t j = 0; j < d.n && out->n_models < MAX_LOCAL_MODELS; j++) {
            char *name = strndup(d.models[j].p, d.models[j].n); /* kept as long as the process */
            if (name)
                out->models[out->n_models++] = name;
        }
    }
    arena_free(a);
}

void detect_local(struct config_sources *s)
{
    for (size_t i = 0; i < ARRAY_LEN(local_kinds); i++) {
        uint16_t port;
        if (local_port(i, &port) && is_listening(port))
            look_at(s, i, port);
    }
}

bool first_key(struct config_sources *s, struct snapshot **snap, struct err *e)
{
    struct key_row k = {
        .label = STR("first start"), .scopes = SCOPE_INFERENCE | SCOPE_MODELS, .is_enabled = true};
    if (!s->is_first_start || (*snap)->n_keys > 0 || (*snap)->settings.allow_anonymous)
        return true;
    struct arena *a = arena_new();
    struct str text = key_make(a, &k);
    struct db *db = db_open(s->db_path, DB_READ_WRITE, e);
    bool ok = db && key_insert(db, &k, e);
    db_close(db);
    if (ok)
        (void)snprintf(s->first_key, sizeof s->first_key, STR_FMT, STR_ARG(text));
    arena_free(a);
    struct snapshot *old = *snap;
    if (ok && (ok = config_load(s, snap, e)))
        snapshot_unref(old);
    return ok;
}

static void offers(const struct snapshot *snap)
{
    bool is_any = false;
    for (size_t i = 0; i < snap->n_upstreams; i++) {
        const struct upstream *u = snap->upstreams[i];
        if (u->from != ORIGIN_ENV)
            continue;
        (void)printf("%s  %s (%s): models are named " STR_FMT "/MODEL\n", is_any ? "" : "Found:\n",
                     u->kind->title, u->kind->is_local ? "running here" : u->kind->key_env,
                     STR_ARG(u->name));
        is_any = true;
    }
    if (is_any)
        (void)printf("\n");
}

static void commands_to_copy(const char *key, const char *host, unsigned port)
{
    char base[300];
    base_url(base, sizeof base, host, port);
    (void)printf(
        "The model 'echo' is always there. Try it:\n\n"
        "  curl %s/v1/chat/completions -H 'Authorization: Bearer %s' -H 'Content-Type: "
        "application/json' "
        "-d '{\"model\":\"echo\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'\n\n",
        base, key);
    (void)printf("Python:\n"
                 "  from openai import OpenAI\n"
                 "  client = OpenAI(base_url=\"%s/v1\", api_key=\"%s\")\n"
                 "  print(client.chat.completions.create(model=\"echo\", messages=[{\"role\": "
                 "\"user\", \"content\": "
                 "\"Hello\"}]).choices[0].message.content)\n\n",
                 base, key);
    (void)printf("Node:\n"
                 "  import OpenAI from \"openai\";\n"
                 "  const client = new OpenAI({ baseURL: \"%s/v1\", apiKey: \"%s\" });\n"
                 "  const answer = await client.chat.completions.create({ model: \"echo\", "
                 "messages: [{ role: \"user\", content: "
                 "\"Hello\" }] });\n"
                 "  console.log(answer.choices[0].message.content);\n\n",
                 base, key);
    (void)printf("Claude Code:  ANTHROPIC_BASE_URL=%s ANTHROPIC_AUTH_TOKEN=%s claude --model "
                 "PROVIDER/MODEL\n\n",
                 base, key);
}

static void offer_claim(const struct config_sources *s, const char *host, unsigned port)
{
    char base[300];
    base_url(base, sizeof base, host, port);
    (void)printf("Nobody can sign in yet. Who opens this link first becomes the owner; it works "
                 "once:\n\n  %s/sluice/claim#%s\n\n",
                 base, s->claim_token);
}

void first_greeting(const struct config_sources *s, const struct snapshot *snap, const char *host,
                    unsigned port)
{
    if (!s->file)
        offers(snap);
    if (s->first_key[0]) {
        (void)printf("This is the first start. Your client key, shown this once:\n\n  %s\n\n",
                     s->first_key);
        commands_to_copy(s->first_key, host, port);
        (void)printf("Another key: sluice key create --data %s      A provider: sluice provider "
                     "add --help\n",
                     s->data_dir);
    }
    if (s->claim_token[0])
        offer_claim(s, host, port);
    (void)fflush(stdout);
}
