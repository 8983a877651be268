/* cmd_audit.c - sluice audit …: checks the chain of the audit log, and shows its end. */
#include "app/cli.h"
#include "base/banned.h"
#include "base/clock.h"
#include "domain/audit.h"

#define USUAL_LINES 20
#define MAX_LINES 100000

int cmd_audit_verify(struct cli *c)
{
    static struct config_sources s;
    struct err e = ERR_INIT;
    struct audit_finding f;
    struct db *db = cli_kept_store(c, &s, &e);
    bool ok = db && audit_verify(db, &f, &e);
    db_close(db);
    state_close(&s);
    if (!ok)
        return cli_fail(&e);
    if (f.broken_id) {
        (void)fprintf(stderr, "sluice: the audit log is broken at row %lld: %s\n",
                      (long long)f.broken_id, f.why);
        return 1;
    }
    (void)printf("The audit log is whole: %lld rows, %lld to %lld.\n", (long long)f.rows,
                 (long long)f.first_id, (long long)f.last_id);
    return 0;
}

/* Names come from clients: what could move a terminal's cursor is shown as a dot. */
static void add_plain(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        buf_char(b, (unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f ? '.' : s.p[i]);
}

static void write_line(const struct audit_row *r, struct buf *b)
{
    buf_fmt(b, "%6lld  ", (long long)r->id);
    clock_rfc3339(b, r->at_ms);
    buf_lit(b, "  ");
    add_plain(b, r->actor.n ? r->actor : STR("-"));
    buf_fmt(b, " (" STR_FMT ")  ", STR_ARG(r->actor_kind));
    if (r->method.n)
        buf_fmt(b, STR_FMT " " STR_FMT "  ", STR_ARG(r->method), STR_ARG(r->path));
    add_plain(b, r->kind);
    buf_char(b, ' ');
    add_plain(b, r->object);
    buf_lit(b, "  ");
    add_plain(b, r->outcome);
    if (r->address.n) {
        buf_lit(b, "  from ");
        add_plain(b, r->address);
    }
}

static void write_json(const struct audit_row *r, struct buf *b)
{
    struct buf at;
    struct jw w = jw_on(b);
    const struct {
        const char *name;
        struct str value;
    } texts[] = {{"actor_kind", r->actor_kind},
                 {"actor_id", r->actor_id},
                 {"actor", r->actor},
                 {"address", r->address},
                 {"request_id", r->request_id},
                 {"method", r->method},
                 {"path", r->path},
                 {"kind", r->kind},
                 {"object", r->object},
                 {"outcome", r->outcome}};
    buf_init(&at, 64);
    clock_rfc3339(&at, r->at_ms);
    jw_object(&w);
    jw_kv_int(&w, "id", r->id);
    jw_kv_str(&w, "at", buf_str(&at));
    buf_done(&at);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        jw_kv_str(&w, texts[i].name, texts[i].value);
    jw_kv_int(&w, "status", r->status);
    jw_key(&w, "before");
    r->before.n ? jw_raw(&w, r->before) : jw_null(&w);
    jw_key(&w, "after");
    r->after.n ? jw_raw(&w, r->after) : jw_null(&w);
    jw_object_end(&w);
}

int cmd_audit_list(struct cli *c)
{
    static struct config_sources s;
    struct err e = ERR_INIT;
    struct audit_row *rows;
    size_t n = 0;
    struct audit_filter f = {.limit = c->lines >= 0 ? c->lines : USUAL_LINES};
    if (f.limit > MAX_LINES)
        f.limit = MAX_LINES;
    struct db *db = cli_kept_store(c, &s, &e);
    bool ok = db && audit_list(db, c->arena, &f, &rows, &n, &e);
    db_close(db);
    state_close(&s);
    for (size_t i = n; ok && i > 0; i--) { /* newest last, as in a log */
        struct buf b;
        buf_init(&b, 1u << 20);
        c->json ? write_json(&rows[i - 1], &b) : write_line(&rows[i - 1], &b);
        (void)printf(STR_FMT "\n", STR_ARG(buf_str(&b)));
        buf_done(&b);
    }
    return ok ? 0 : cli_fail(&e);
}
