#include "app/operators.h"
#include "base/banned.h"
#include "base/clock.h"
#include "base/log.h"
#include "domain/audit.h"
#include "http/cidr.h"
#include <stdio.h>

#define DAY_MS 86400000

/* The text stands in the snapshot's memory, which lives on. */
static void wipe(struct snapshot *snap)
{
    struct str text = secret_reveal(snap->admin_password);
    if (text.n)
        explicit_bzero((char *)(uintptr_t)text.p, text.n);
    snap->admin_password = secret_of(STR_NONE);
}

static bool note_change(struct db *db, bool is_set, enum origin from, struct err *e)
{
    struct audit_row row = {.at_ms = clock_wall_ms(),
                            .actor_kind = STR("configuration"),
                            .actor = str_of(origin_name(from)),
                            .kind = STR("operator"),
                            .object = STR(OPERATOR_NAME),
                            .outcome = STR("ok"),
                            .after = is_set ? STR("{\"password\":\"***\",\"role\":\"owner\"}")
                                            : STR("{\"password\":null}")};
    log_info(NULL, "operator.password_changed", "operator=%s origin=%s", OPERATOR_NAME,
             origin_name(from));
    return audit_append_alone(db, &row, e);
}

bool operators_refresh_from(struct identity *id, struct db *db, const struct config_sources *s,
                            struct snapshot *snap, struct err *e)
{
    bool changed = false, is_set = secret_is_set(snap->admin_password);
    enum origin from = is_set ? snap->admin_password_from : s->file ? ORIGIN_FILE : ORIGIN_ENV;
    bool ok = db && identity_adopt(id, db, &snap->settings, snap->admin_password, from,
                                   clock_wall_ms(), &changed, e);
    wipe(snap);
    return ok && identity_load(id, db, e) && (!changed || note_change(db, is_set, from, e));
}

bool operators_refresh(struct identity *id, const struct config_sources *s, struct snapshot *snap,
                       struct err *e)
{
    struct db *db = db_open(s->db_path, DB_READ_WRITE, e);
    bool ok = operators_refresh_from(id, db, s, snap, e);
    db_close(db);
    return ok;
}

bool operators_first_claim(struct identity *id, struct config_sources *s,
                           const struct snapshot *snap, struct err *e)
{
    struct str token;
    if (!s->is_first_start && !identity_is_configured(id) && snap->settings.require_login)
        log_info(NULL, "operators.none", "hint=%s",
                 "nobody can sign in; `sluice admin claim` prints a link for the first operator");
    if (!s->is_first_start || identity_is_configured(id) || !snap->settings.require_login)
        return true;
    struct arena *a = arena_new();
    struct db *db = db_open(s->db_path, DB_READ_WRITE, e);
    bool ok = db && identity_claim_new(db, a, &snap->settings, clock_wall_ms(), &token, e);
    if (ok)
        (void)snprintf(s->claim_token, sizeof s->claim_token, STR_FMT, STR_ARG(token));
    db_close(db);
    arena_free(a);
    return ok;
}

void operators_sweep(struct identity *id, const struct config_sources *s)
{
    struct err e = ERR_INIT;
    struct snapshot *snap = snapshot_current();
    const struct settings *set = &snap->settings;
    int64_t now = clock_wall_ms(), retired = 0;
    struct db *db = db_open(s->db_path, DB_READ_WRITE, &e);
    bool ok = db && identity_sweep(id, db, set, now, &e);
    if (ok && set->audit_retention_days > 0)
        ok = audit_retire(db, now - set->audit_retention_days * DAY_MS, &retired, &e);
    db_close(db);
    if (retired > 0)
        log_info(NULL, "audit.retired", "rows=%lld", (long long)retired);
    if (!ok)
        log_warn(NULL, "operators.not_swept", "error=%s", e.message);
    snapshot_unref(snap);
}

bool host_is_loopback(const char *host)
{
    uint8_t bytes[CIDR_BYTES];
    return strcmp(host, "localhost") == 0 ||
           (address_parse(str_of(host), bytes) && address_is_loopback(bytes));
}

void base_url(char *out, size_t size, const char *host, unsigned port)
{
    bool is_any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    bool is_v6 = !is_any && strchr(host, ':') != NULL;
    (void)snprintf(out, size, "http://%s%s%s:%u", is_v6 ? "[" : "", is_any ? "127.0.0.1" : host,
                   is_v6 ? "]" : "", port);
}
