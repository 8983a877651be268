/* cmd_log.c - sluice log: the usage records of the store, newest last, and those that come. */
#include "app/cli.h"
#include "base/banned.h"
#include "base/clock.h"
#include "base/log.h"
#include "wire/ir.h"
#include <errno.h>
#include <unistd.h>

#define USUAL_LINES 20
#define POLL_MS 200
#define COLUMNS                                                                               \
    "u.id, u.request_id, k.text, m.text, p.text, pm.text, o.text, cf.text, uf.text, ec.text," \
    " u.status, u.attempts, u.is_stream, u.input_total, u.cache_read, u.cache_write,"         \
    " u.output_total, u.reasoning, u.ttft_us, u.duration_us, u.bytes_in, u.bytes_out, u.quality"
#define TABLES                                                                         \
    " FROM usage u LEFT JOIN name k ON k.id=u.key LEFT JOIN name m ON m.id=u.model"    \
    " LEFT JOIN name p ON p.id=u.upstream LEFT JOIN name pm ON pm.id=u.upstream_model" \
    " LEFT JOIN name o ON o.id=u.op LEFT JOIN name cf ON cf.id=u.client_format"        \
    " LEFT JOIN name uf ON uf.id=u.upstream_format LEFT JOIN name ec ON ec.id=u.error_code"

enum column {
    ID,
    REQUEST,
    KEY,
    MODEL,
    PROVIDER,
    PROVIDER_MODEL,
    OP,
    CLIENT_FORMAT,
    UPSTREAM_FORMAT,
    ERROR_CODE,
    STATUS,
    ATTEMPTS,
    IS_STREAM,
    INPUT,
    CACHE_READ,
    CACHE_WRITE,
    OUTPUT,
    REASONING,
    TTFT,
    DURATION,
    BYTES_IN,
    BYTES_OUT,
    QUALITY
};

static const char *const qualities[] = {"none", "estimated", "derived", "reported"};

static void write_json(struct stmt *s, struct jw *w, struct arena *a)
{
    static const struct {
        enum column at;
        const char *name;
    } texts[] = {
        {REQUEST, "request_id"},
        {KEY, "key"},
        {MODEL, "model"},
        {PROVIDER, "provider"},
        {PROVIDER_MODEL, "provider_model"},
        {OP, "operation"},
        {CLIENT_FORMAT, "client_format"},
        {UPSTREAM_FORMAT, "upstream_format"},
        {ERROR_CODE, "error"},
    };
    static const struct {
        enum column at;
        const char *name;
    } numbers[] = {
        {STATUS, "status"},
        {ATTEMPTS, "attempts"},
        {INPUT, "input_tokens"},
        {CACHE_READ, "cache_read_tokens"},
        {CACHE_WRITE, "cache_write_tokens"},
        {OUTPUT, "output_tokens"},
        {REASONING, "reasoning_tokens"},
        {TTFT, "ttft_us"},
        {DURATION, "duration_us"},
        {BYTES_IN, "bytes_in"},
        {BYTES_OUT, "bytes_out"},
    };
    struct buf when;
    buf_init_arena(&when, a, 64);
    clock_rfc3339(&when, stmt_int(s, ID) / 1000);
    jw_object(w);
    jw_kv_str(w, "ended", buf_str(&when));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        stmt_is_null(s, texts[i].at) ? jw_kv_null(w, texts[i].name)
                                     : jw_kv_str(w, texts[i].name, stmt_str(s, texts[i].at));
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        stmt_is_null(s, numbers[i].at) ? jw_kv_null(w, numbers[i].name)
                                       : jw_kv_int(w, numbers[i].name, stmt_int(s, numbers[i].at));
    jw_kv_bool(w, "stream", stmt_int(s, IS_STREAM) != 0);
    int64_t quality = stmt_int(s, QUALITY);
    jw_kv_cstr(w, "usage_quality",
               quality >= 0 && quality < (int64_t)ARRAY_LEN(qualities) ? qualities[quality] : NULL);
    jw_object_end(w);
}

static void add_duration(struct buf *b, int64_t us)
{
    if (us < 1000)
        buf_fmt(b, "%lldus", (long long)us);
    else if (us < 1000000)
        buf_fmt(b, "%.1fms", (double)us / 1e3);
    else
        buf_fmt(b, "%.2fs", (double)us / 1e6);
}

/* Names come from clients and upstreams: what could move a terminal's cursor is shown as a dot. */
static void add_plain(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        buf_char(b, (unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f ? '.' : s.p[i]);
}

static void write_line(struct stmt *s, struct buf *b)
{
    int64_t status = stmt_int(s, STATUS);
    struct buf when;
    buf_init(&when, 64);
    clock_rfc3339(&when, stmt_int(s, ID) / 1000);
    buf_str_add(b, str_first(str_skip(buf_str(&when), 11), 12));
    buf_done(&when);
    buf_fmt(b, "Z  %3lld  ", (long long)status);
    add_plain(b, stmt_str(s, MODEL));
    if (!stmt_is_null(s, PROVIDER)) {
        buf_lit(b, " -> ");
        add_plain(b, stmt_str(s, PROVIDER));
        if (!stmt_is_null(s, PROVIDER_MODEL) &&
            !str_eq(stmt_str(s, MODEL), stmt_str(s, PROVIDER_MODEL))) {
            buf_char(b, '/');
            add_plain(b, stmt_str(s, PROVIDER_MODEL));
        }
    }
    buf_lit(b, "  ");
    buf_str_add(b, stmt_str(s, OP));
    if (!stmt_is_null(s, UPSTREAM_FORMAT) &&
        !str_eq(stmt_str(s, CLIENT_FORMAT), stmt_str(s, UPSTREAM_FORMAT)))
        buf_fmt(b, " (" STR_FMT " to " STR_FMT ")", STR_ARG(stmt_str(s, CLIENT_FORMAT)),
                STR_ARG(stmt_str(s, UPSTREAM_FORMAT)));
    if (stmt_int(s, IS_STREAM))
        buf_lit(b, " stream");
    if (!stmt_is_null(s, INPUT))
        buf_fmt(b, "  in %lld", (long long)stmt_int(s, INPUT));
    if (stmt_int(s, CACHE_READ) > 0)
        buf_fmt(b, " (%lld cached)", (long long)stmt_int(s, CACHE_READ));
    if (!stmt_is_null(s, OUTPUT))
        buf_fmt(b, "  out %lld", (long long)stmt_int(s, OUTPUT));
    if (!stmt_is_null(s, TTFT)) {
        buf_lit(b, "  first ");
        add_duration(b, stmt_int(s, TTFT));
    }
    buf_lit(b, "  ");
    add_duration(b, stmt_int(s, DURATION));
    if (stmt_int(s, ATTEMPTS) > 1)
        buf_fmt(b, "  %lld attempts", (long long)stmt_int(s, ATTEMPTS));
    if (!stmt_is_null(s, ERROR_CODE)) {
        buf_lit(b, "  ");
        add_plain(b, stmt_str(s, ERROR_CODE));
    }
    buf_lit(b, "  ");
    add_plain(b, stmt_is_null(s, KEY) ? STR("anonymous") : stmt_str(s, KEY));
}

/* Prints what the statement finds; the highest id seen goes to *last. */
static bool print_rows(struct cli *c, struct stmt *s, int64_t *last, struct err *e)
{
    while (stmt_step(s, e)) {
        struct buf b;
        buf_init(&b, 1u << 20);
        struct jw w = jw_on(&b);
        *last = stmt_int(s, ID);
        if (c->json)
            write_json(s, &w, c->arena);
        else
            write_line(s, &b);
        (void)printf(STR_FMT "\n", STR_ARG(buf_str(&b)));
        buf_done(&b);
    }
    stmt_reset(s);
    return e->kind == ERR_NONE;
}

static bool follow(struct cli *c, struct db *db, int64_t last, struct err *e)
{
    struct stmt *s = db_prepare(db, "SELECT " COLUMNS TABLES " WHERE u.id > ?1 ORDER BY u.id", e);
    bool ok = s != NULL;
    /* until interrupted, or nobody reads any more */
    while (ok && fflush(stdout) == 0 && !ferror(stdout)) {
        stmt_bind_int(s, 1, last);
        ok = print_rows(c, s, &last, e);
        if (!ok && e->kind == ERR_OVERLOADED) {
            err_clear(e);
            ok = true;
        }
        (void)usleep(POLL_MS * 1000);
    }
    stmt_free(s);
    return ok;
}

int cmd_log(struct cli *c)
{
    static struct config_sources s;
    struct err e = ERR_INIT;
    int64_t last = 0;
    struct db *db = cli_kept_store(c, &s, &e);
    struct stmt *tail = db ? db_prepare(db,
                                        "SELECT * FROM (SELECT " COLUMNS TABLES
                                        " ORDER BY u.id DESC LIMIT ?1) ORDER BY 1",
                                        &e)
                           : NULL;
    bool ok = tail != NULL;
    if (ok) {
        stmt_bind_int(tail, 1, c->lines >= 0 ? c->lines : USUAL_LINES);
        ok = print_rows(c, tail, &last, &e);
    }
    stmt_free(tail);
    if (ok && c->follow && last == 0) { /* nothing shown: begin behind what is there */
        struct stmt *newest = db_prepare(db, "SELECT coalesce(max(id), 0) FROM usage_fact", &e);
        if (newest && stmt_step(newest, &e))
            last = stmt_int(newest, 0);
        stmt_free(newest);
    }
    if (ok && c->follow)
        ok = follow(c, db, last, &e);
    db_close(db);
    state_close(&s);
    return ok ? 0 : cli_fail(&e);
}
