/* cmd_admin.c - sluice admin …: operators, for whoever has the shell of this machine: a lost password, sessions, a claim link. */
#include "app/cli.h"
#include "app/operators.h"
#include "base/banned.h"
#include "base/clock.h"
#include "domain/audit.h"
#include "gate/peer.h"
#include <termios.h>
#include <unistd.h>

struct shell { /* what the commands work on */
    struct config_sources sources;
    struct snapshot *snap;
    struct db *db;
};

static bool open_shell(struct cli *c, struct shell *s, struct err *e)
{
    s->db = cli_store(c, &s->sources, e);
    return s->db && config_load(&s->sources, &s->snap, e);
}

static int close_shell(struct shell *s, bool ok, bool tells_server, const struct err *e)
{
    db_close(s->db);
    if (s->snap)
        snapshot_unref(s->snap);
    state_close(&s->sources);
    if (ok && tells_server)
        cli_tell_server(&s->sources);
    return ok ? 0 : cli_fail(e);
}

/* Who did it: the user of the system. Inside the caller's transaction. */
static bool note(struct shell *s, const char *kind, struct str object, struct err *e)
{
    struct audit_row row = audit_of_shell(s->snap->arena, clock_wall_ms(), kind, object);
    return audit_append(s->db, &row, e);
}

static bool commit(struct shell *s, bool ok, struct err *e)
{
    if (ok)
        return db_commit(s->db, e);
    db_rollback(s->db);
    return false;
}

/* ---- reset-password ---- */

static bool read_line(char *line, size_t size)
{
    struct termios was, silent;
    bool is_terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &was) == 0;
    if (is_terminal) {
        silent = was;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    }
    bool got = fgets(line, (int)size, stdin) != NULL;
    if (is_terminal) {
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
        (void)fputc('\n', stderr);
    }
    line[strcspn(line, "\r\n")] = '\0';
    return got;
}

/* Twice at a terminal, one line of standard input elsewhere; never from the command line, which everybody on the machine sees. */
static bool ask_password(struct cli *c, struct secret *out, struct err *e)
{
    char first[2048] = "", again[2048] = "";
    bool asks = isatty(STDIN_FILENO) != 0;
    if (asks)
        (void)fputs("New password: ", stderr);
    bool ok = read_line(first, sizeof first);
    if (ok && asks) {
        (void)fputs("The same again: ", stderr);
        ok = read_line(again, sizeof again);
    }
    if (!ok)
        err_set(e, ERR_INPUT, "no_password", "no password was given");
    else if (asks && strcmp(first, again) != 0)
        ok = err_set(e, ERR_INPUT, "passwords_differ", "the two passwords differ");
    *out = secret_of(str_dup(c->arena, str_of(first)));
    explicit_bzero(first, sizeof first);
    explicit_bzero(again, sizeof again);
    return ok;
}

static bool given_elsewhere(const struct shell *s, const struct operator_row *o, struct err *e)
{
    return o->origin == ORIGIN_ENV
               ? err_set(e, ERR_CONFLICT, "read_only",
                         "the password of '" STR_FMT "' is given by SLUICE_ADMIN_PASSWORD: change "
                         "it there",
                         STR_ARG(o->name))
               : err_set(e, ERR_CONFLICT, "read_only",
                         "the password of '" STR_FMT "' stands in %s: change it there",
                         STR_ARG(o->name),
                         s->sources.file ? s->sources.file : "the configuration file");
}

int cmd_admin_reset_password(struct cli *c)
{
    static struct shell s;
    struct err e = ERR_INIT;
    struct operator_row o;
    struct secret password;
    const char *name = c->n_args ? c->args[0] : OPERATOR_NAME;
    bool ok = open_shell(c, &s, &e) && operator_get(s.db, c->arena, str_of(name), &o, &e);
    /* what the running server holds may be older than the file */
    bool is_given = ok && secret_is_set(s.snap->admin_password) &&
                    str_eq_nocase(o.name, STR(OPERATOR_NAME));
    if (ok && is_given)
        o.origin = s.snap->admin_password_from;
    /* what a running server was given it puts back at once, though this shell knows nothing of it */
    is_given = is_given || (ok && o.origin == ORIGIN_ENV && pidfile_is_held(s.sources.data_dir));
    if (is_given)
        ok = given_elsewhere(&s, &o, &e);
    ok = ok && ask_password(c, &password, &e) &&
         identity_set_password(c->arena, &s.snap->settings, password, clock_wall_ms(), &o, &e) &&
         db_begin(s.db, &e) &&
         commit(&s,
                operator_put(s.db, &o, &e) && session_delete_all(s.db, o.id, STR_NONE, NULL, &e) &&
                    note(&s, "operator", o.name, &e),
                &e);
    if (ok)
        (void)fprintf(stderr, "The password of " STR_FMT " is set, their sessions are over.\n",
                      STR_ARG(o.name));
    return close_shell(&s, ok, true, &e);
}

/* ---- sessions ---- */

static struct str time_cell(struct arena *a, int64_t ms)
{
    struct buf b;
    buf_init_arena(&b, a, 64);
    clock_rfc3339(&b, ms);
    return str_first(buf_str(&b), 16);
}

static struct str operator_name(const struct operator_row *rows, struct str id)
{
    for (; rows; rows = rows->next)
        if (str_eq(rows->id, id))
            return rows->name;
    return STR("-");
}

/* What a client said of itself must not move the terminal's cursor. */
static struct str plain(struct arena *a, struct str s)
{
    struct buf b;
    buf_init_arena(&b, a, 4096);
    for (size_t i = 0; i < s.n; i++)
        buf_char(&b, (unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f ? '.' : s.p[i]);
    return s.n ? buf_str(&b) : STR("-");
}

static bool print_sessions(struct cli *c, struct shell *s, struct err *e)
{
    static const char *const head[] = {"ID",       "OPERATOR", "SIGNED IN",
                                       "LAST USE", "ADDRESS",  "PROGRAM"};
    struct session_row *rows;
    struct operator_row *operators;
    struct sheet t;
    if (!session_delete_over(s->db, clock_wall_ms(),
                             clock_wall_ms() - s->snap->settings.session_idle_ms, e) ||
        !session_list(s->db, c->arena, &rows, e) || !operator_list(s->db, c->arena, &operators, e))
        return false;
    sheet_init(&t, c->arena, ARRAY_LEN(head));
    for (size_t i = 0; i < ARRAY_LEN(head); i++)
        sheet_add(&t, str_of(head[i]));
    for (; rows; rows = rows->next) {
        sheet_add(&t, rows->id);
        sheet_add(&t, operator_name(operators, rows->operator_id));
        sheet_add(&t, time_cell(c->arena, rows->created_ms));
        sheet_add(&t, time_cell(c->arena, rows->seen_ms));
        sheet_add(&t, plain(c->arena, rows->address));
        sheet_add(&t, plain(c->arena, rows->agent));
    }
    sheet_print(&t);
    return true;
}

int cmd_admin_sessions(struct cli *c)
{
    static struct shell s;
    struct err e = ERR_INIT;
    int64_t n = 1;
    bool ok = open_shell(c, &s, &e);
    if (!c->revoke && !c->revoke_all) {
        ok = ok && print_sessions(c, &s, &e);
        return close_shell(&s, ok, false, &e);
    }
    struct str id = c->revoke_all ? STR("*") : str_of(c->revoke);
    ok = ok && db_begin(s.db, &e) &&
         commit(&s,
                (c->revoke_all ? session_delete_all(s.db, STR_NONE, STR_NONE, &n, &e)
                               : session_delete(s.db, id, &e)) &&
                    note(&s, c->revoke_all ? "sessions" : "session", id, &e),
                &e);
    if (ok)
        (void)fprintf(stderr, "%lld session%s ended.\n", (long long)n, n == 1 ? " is" : "s are");
    return close_shell(&s, ok, true, &e);
}

/* ---- claim, unlock ---- */

int cmd_admin_claim(struct cli *c)
{
    static struct shell s;
    struct err e = ERR_INIT;
    struct str token = STR_NONE;
    char base[300];
    bool ok = open_shell(c, &s, &e) && db_begin(s.db, &e) &&
              commit(&s,
                     identity_claim_new(s.db, c->arena, &s.snap->settings, clock_wall_ms(), &token,
                                        &e) &&
                         note(&s, "claim", STR("link"), &e),
                     &e);
    if (ok) {
        base_url(base, sizeof base, str_z(c->arena, s.snap->settings.host),
                 (unsigned)s.snap->settings.port);
        (void)fprintf(stderr,
                      "Who opens this link first becomes an owner; it works once, and for "
                      "%lld minutes. Put in\nthe address by which you reach this server:\n",
                      (long long)(s.snap->settings.claim_ttl_ms / 60000));
        (void)printf("%s/sluice/claim#" STR_FMT "\n", base, STR_ARG(token));
    }
    return close_shell(&s, ok, false, &e);
}

int cmd_admin_unlock(struct cli *c)
{
    static struct shell s;
    struct err e = ERR_INIT;
    struct arena *a = arena_new();
    struct str said = c->n_args ? str_of(c->args[0]) : STR_NONE, group = peer_group(a, said),
               address = group.n ? group : said; /* as they are counted: IPv6 by its /64 */
    bool ok = open_shell(c, &s, &e) && db_begin(s.db, &e);
    ok = ok && commit(&s,
                      lockout_delete(s.db, address, &e) &&
                          (!c->n_args || db_changes(s.db) > 0 ||
                           err_set(&e, ERR_NOT_FOUND, "not_found",
                                   "'" STR_FMT "' is not locked out: it has no failed sign-ins",
                                   STR_ARG(said))) &&
                          note(&s, "lockout", address.n ? address : STR("*"), &e),
                      &e);
    arena_free(a);
    return close_shell(&s, ok, true, &e);
}
