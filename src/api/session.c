/* session.c - signing in and out: /sluice/v1/session, /sluice/v1/sessions, /sluice/v1/claim, and llm-rosetta's and Routstr's login. */
#include "api/session.h"
#include "api/api.h"
#include "api/control.h"
#include "api/surface/surface.h"
#include "base/clock.h"
#include "base/log.h"
#include "gate/admit.h"

#define OMNI_COOKIE "auth_token"

struct operator_out {
    struct str id, name, role;
};
struct signed_in_out {
    struct str token, session, expires_at;
    int64_t expires_in;
    struct operator_out operator;
};
static const struct shape operator_shape = SHAPE(
    struct operator_out, FIELD(struct operator_out, id, 0, "Id of the operator or key"),
    FIELD(struct operator_out, name, 0, "Name of the operator, label of the key"),
    FIELD(struct operator_out, role, 0, "viewer, member, admin or owner"));
static const struct shape signed_in_shape = SHAPE(
    struct signed_in_out,
    FIELD(struct signed_in_out, token, 0,
          "Send it as Authorization: Bearer or X-Admin-Token; browsers have it as a cookie"),
    FIELD(struct signed_in_out, session, 0, "Id of the session"),
    FIELD(struct signed_in_out, expires_at, 0, "When it ends at the latest"),
    FIELD(struct signed_in_out, expires_in, 0, "The same in seconds from now"),
    FIELD_OBJECT(struct signed_in_out, operator, & operator_shape, 0, "Who has signed in"));

static struct str time_text(struct arena *a, int64_t ms)
{
    struct buf b;
    if (ms == 0)
        return STR("");
    buf_init_arena(&b, a, 64);
    clock_rfc3339(&b, ms);
    return buf_str(&b);
}

static const char *role_name(enum role r)
{
    return word_text(role_words, (int)r, "");
}

/* ---- what signing in leaves ---- */

/* seconds 0: it is over; < 0: it lasts as long as the browser runs. */
static void set_cookie(struct control_call *c, const char *name, struct str token, int64_t seconds)
{
    /* OmniRoute's pages come back to it from elsewhere */
    const char *site = strcmp(name, OMNI_COOKIE) == 0 ? "Lax" : "Strict";
    struct str age = seconds < 0 ? STR("")
                                 : str_fmt(c->arena, "; Max-Age=%lld", (long long)seconds);
    control_header(c, STR("set-cookie"),
                   str_fmt(c->arena, "%s=" STR_FMT "; Path=/; HttpOnly; SameSite=%s" STR_FMT "%s",
                           name, STR_ARG(token), site, STR_ARG(age),
                           c->is_https ? "; Secure" : ""));
}

/* The one that rows of this surface read. */
static void leave_cookie(struct control_call *c, const struct signed_in *in)
{
    const char *own = surface_of(c->row->surface)->cookie;
    bool is_omniroute = own && strcmp(own, OMNI_COOKIE) == 0; /* whose ends with the browser */
    set_cookie(c, own ? own : SESSION_COOKIE, in->token,
               is_omniroute ? -1 : (in->expires_ms - clock_wall_ms() + 500) / 1000);
}

static void end_cookies(struct control_call *c)
{
    const char *own = surface_of(c->row->surface)->cookie;
    if (own)
        set_cookie(c, own, STR(""), 0);
    set_cookie(c, SESSION_COOKIE, STR(""), 0);
}

static struct sign_in attempt_of(struct control_call *c, struct str name, struct str password)
{
    return (struct sign_in){.name = name,
                            .password = secret_of(password),
                            .address = c->address,
                            .agent = control_head(c, "user-agent")};
}

/* Of a failed attempt: nobody is known yet, so the record names who it was said to be, if there is one: people type passwords
 * into the wrong field. */
static void note_failure(struct control_call *c, const char *kind, struct str name,
                         const struct err *e)
{
    struct operator_row o;
    bool is_known = c->db && operator_get(c->db, c->arena, name, &o, NULL);
    c->failed_as = str_z(c->arena, str_of(e->code));
    if (e->kind == ERR_UNAUTHENTICATED)
        control_audit(c, kind, is_known ? o.name : STR("(unknown)"), STR_NONE, STR_NONE);
    if (e->kind == ERR_UNAUTHENTICATED || strcmp(e->code, "locked_out") == 0)
        log_warn(str_z(c->arena, c->request_id), "login.failed", "address=" STR_FMT " code=%s",
                 STR_ARG(c->address), e->code);
}

static void note_success(struct control_call *c, const char *kind, const struct signed_in *in)
{
    c->who = in->who;
    control_audit(c, kind, in->who.name, STR_NONE, STR_NONE);
    leave_cookie(c, in);
    log_info(str_z(c->arena, c->request_id), "login.ok", "operator=" STR_FMT " address=" STR_FMT,
             STR_ARG(in->who.name), STR_ARG(c->address));
}

/* A page elsewhere must not sign a browser in, or guess passwords through it. */
static bool is_welcome(const struct control_call *c, struct err *e)
{
    return !c->is_cross_origin ||
           err_set(e, ERR_FORBIDDEN, "csrf", "A page of another origin may not sign in here");
}

static bool sign_in(struct control_call *c, struct str name, struct str password,
                    struct signed_in *out, struct err *e)
{
    struct sign_in in = attempt_of(c, name, password);
    struct db *db = is_welcome(c, e) ? control_db(c, e) : NULL;
    if (db && identity_sign_in(c->control->identity, db, c->arena, &c->snap->settings, &in,
                               clock_wall_ms(), out, e)) {
        note_success(c, "sign_in", out);
        return true;
    }
    note_failure(c, "sign_in", name.n ? name : STR(OPERATOR_NAME), e);
    return false;
}

static bool reply_signed_in(struct control_call *c, int status, const struct signed_in *in)
{
    struct signed_in_out out = {
        .token = in->token,
        .session = in->session,
        .expires_at = time_text(c->arena, in->expires_ms),
        .expires_in = (in->expires_ms - clock_wall_ms() + 500) / 1000,
        .operator= {in->who.id, in->who.name, str_of(role_name(in->who.role))} };
    return control_reply(c, status, &signed_in_shape, &out);
}

/* ---- /sluice/v1/session ---- */

struct sign_in_in {
    struct str name, password;
};
static const struct shape sign_in_shape = SHAPE_STRICT(
    struct sign_in_in,
    FIELD(struct sign_in_in, name, 0, "Name of the operator; when absent admin, or the only owner"),
    FIELD(struct sign_in_in, password, REQUIRED, "The password"));

static bool create(struct control_call *c, struct err *e)
{
    const struct sign_in_in *in = c->in;
    struct signed_in out;
    return sign_in(c, in->name, in->password, &out, e) && reply_signed_in(c, 201, &out);
}

struct who_out {
    struct str kind, id, name, role, session, address;
};
static const struct shape who_shape = SHAPE(
    struct who_out,
    FIELD(struct who_out, kind, 0,
          "operator, admin_key, or anonymous where no sign-in is asked for"),
    FIELD(struct who_out, id, NULL_EMPTY, "Id of the operator or key"),
    FIELD(struct who_out, name, NULL_EMPTY, "Name of the operator, label of the key"),
    FIELD(struct who_out, role, 0, "viewer, member, admin or owner"),
    FIELD(struct who_out, session, NULL_EMPTY, "Id of the session"),
    FIELD(struct who_out, address, 0, "Where the call comes from, as far as proxies are trusted"));

static bool who_am_i(struct control_call *c, struct err *e)
{
    (void)e;
    struct who_out out = {.kind = str_of(principal_kind_name(c->who.kind)),
                          .id = c->who.id,
                          .name = c->who.name,
                          .role = str_of(role_name(c->who.role)),
                          .session = c->who.session,
                          .address = c->address};
    return control_reply(c, 200, &who_shape, &out);
}

/* In the store, then in memory. */
static bool ended(struct control_call *c, struct db *db, bool ok, struct err *e)
{
    return ok && identity_load(c->control->identity, db, e);
}

static bool end_session(struct control_call *c, struct str id, struct err *e)
{
    struct db *db = control_db(c, e);
    control_audit(c, "session", id, STR_NONE, STR_NONE);
    if (db && identity_forget_owed(c->control->identity, id))
        return ended(c, db, true, e);
    return db && ended(c, db, session_delete(db, id, e), e);
}

static bool sign_out(struct control_call *c, struct err *e)
{
    if (c->who.session.n == 0)
        return err_set(e, ERR_INPUT, "no_session", "There is no session to end: this is a key");
    end_cookies(c);
    c->status = 204;
    return end_session(c, c->who.session, e);
}

struct password_in {
    struct str current_password, password;
};
static const struct shape password_shape = SHAPE_STRICT(
    struct password_in,
    FIELD(struct password_in, current_password, REQUIRED, "The password so far"),
    FIELD(struct password_in, password, REQUIRED | NOT_EMPTY, "The new one"));

static bool may_set(struct control_call *c, const struct operator_row *o, struct err *e)
{
    return o->origin == ORIGIN_API ||
           control_may_change(c, (enum origin)o->origin, "password of", o->name, e);
}

bool session_change_password(struct control_call *c, struct str so_far, struct str password,
                             int status, struct err *e)
{
    struct identity *id = c->control->identity;
    const struct settings *set = &c->snap->settings;
    struct operator_row o;
    struct sign_in attempt = attempt_of(c, c->who.name, so_far);
    if (c->who.kind != PRINCIPAL_OPERATOR)
        return err_set(e, ERR_INPUT, "no_session", "Only an operator who signed in has a password");
    control_audit(c, "password", c->who.name, STR_NONE, STR_NONE);
    struct db *db = control_db(c, e);
    if (!db || !operator_get(db, c->arena, c->who.id, &o, e) || !may_set(c, &o, e))
        return false;
    if (!identity_check_password(id, db, c->arena, set, c->who.id, &attempt, clock_wall_ms(), e)) {
        if (e->kind == ERR_UNAUTHENTICATED) /* 401 would mean that the session is over */
            e->kind = ERR_FORBIDDEN;
        return false;
    }
    if (!identity_set_password(c->arena, set, secret_of(password), clock_wall_ms(), &o, e) ||
        !db_begin(db, e))
        return false;
    c->status = status;
    if (!operator_put(db, &o, e) || !session_delete_all(db, o.id, c->who.session, NULL, e) ||
        !control_audit_write(c, db, status, e)) {
        db_rollback(db);
        return false;
    }
    return ended(c, db, db_commit(db, e), e);
}

static bool change_password(struct control_call *c, struct err *e)
{
    const struct password_in *in = c->in;
    return session_change_password(c, in->current_password, in->password, 204, e);
}

/* ---- /sluice/v1/sessions: an owner sees all, everybody else their own ---- */

struct session_out {
    struct str id, operator_id, operator, created_at, expires_at, seen_at, address, user_agent;
    bool is_current;
};
static const struct shape session_shape = SHAPE(
    struct session_out, FIELD(struct session_out, id, 0, "Id of the session; opens nothing"),
    FIELD(struct session_out, operator_id, 0, "Whose it is"),
    FIELD(struct session_out, operator, 0, "Their name"),
    FIELD(struct session_out, created_at, 0, "When they signed in"),
    FIELD(struct session_out, expires_at, 0, "When it ends at the latest"),
    FIELD(struct session_out, seen_at, 0, "Last use, to within a minute"),
    FIELD(struct session_out, address, 0, "Where they signed in from"),
    FIELD(struct session_out, user_agent, 0, "With which program"),
    FIELD(struct session_out, is_current, 0, "Whether this call came by it"));

static bool sees_all(const struct control_call *c)
{
    return principal_may(&c->who, ACCESS_OWNER);
}

static struct str name_of(const struct operator_row *rows, struct str id)
{
    for (; rows; rows = rows->next)
        if (str_eq(rows->id, id))
            return rows->name;
    return STR("");
}

struct session_query {
    struct page_query page;
    struct str operator_id, operator, address;
    bool is_current;
};
static const struct shape session_query_shape = SHAPE_STRICT(
    struct session_query, PAGE_FIELDS(struct session_query),
    FIELD(struct session_query, operator_id, 0, "Only those of this operator"),
    FIELD(struct session_query, operator, 0, "Only those of this operator, by name"),
    FIELD(struct session_query, address, 0, "Only those that began from there"),
    FIELD(struct session_query, is_current, 0, "Only the one of this call, or all others"));

static bool list(struct control_call *c, struct err *e)
{
    struct session_row *rows;
    struct operator_row *operators;
    const struct settings *set = &c->snap->settings;
    int64_t now = clock_wall_ms();
    struct db *db = control_db(c, e);
    size_t n = 0;
    if (!db || !identity_sweep(c->control->identity, db, set, now, e) ||
        !session_list(db, c->arena, &rows, e) || !operator_list(db, c->arena, &operators, e))
        return false;
    for (struct session_row *r = rows; r; r = r->next)
        n++;
    struct session_out *v = ARENA_ARRAY(c->arena, struct session_out, n + 1);
    n = 0;
    for (struct session_row *r = rows; r; r = r->next)
        if (sees_all(c) || str_eq(r->operator_id, c->who.id))
            v[n++] = (struct session_out){.id = r->id,
                                          .operator_id = r->operator_id,
                                          .operator= name_of(operators, r->operator_id),
                                          .created_at = time_text(c->arena, r->created_ms),
                                          .expires_at = time_text(c->arena, r->expires_ms),
                                          .seen_at = time_text(c->arena, r->seen_ms),
                                          .address = r->address,
                                          .user_agent = r->agent,
                                          .is_current = str_eq(r->id, c->who.session)};
    return control_reply_sorted(c, &session_shape, v, n, "id", e);
}

static bool revoke_one(struct control_call *c, struct err *e)
{
    struct str id = route_param(&c->params, "id");
    struct session_row *rows;
    struct db *db = control_db(c, e);
    if (!db || !identity_settle(c->control->identity, db, e) ||
        !session_list(db, c->arena, &rows, e))
        return false;
    while (rows && !(str_eq(rows->id, id) && (sees_all(c) || str_eq(rows->operator_id, c->who.id))))
        rows = rows->next;
    if (!rows)
        return err_set(e, ERR_NOT_FOUND, "not_found", "No session '" STR_FMT "'",
                       STR_ARG(str_first(id, 100)));
    c->status = 204;
    return end_session(c, id, e);
}

struct revoke_query {
    bool keep_current;
    struct str operator;
};
static const struct shape revoke_query_shape = SHAPE_STRICT(
    struct revoke_query,
    FIELD(struct revoke_query, keep_current, 0, "All but the one of this call"),
    FIELD(struct revoke_query, operator, 0, "Only those of this operator, by id (owners)"));
struct revoked_out {
    int64_t revoked;
};
static const struct shape revoked_shape = SHAPE(
    struct revoked_out, FIELD(struct revoked_out, revoked, 0, "How many sessions were ended"));

static bool revoke_all(struct control_call *c, struct err *e)
{
    const struct revoke_query *q = c->asked;
    struct revoked_out out = {0};
    struct str whose = sees_all(c) ? q->operator: c->who.id;
    struct db *db = control_db(c, e);
    control_audit(c, "sessions", whose.n ? whose : STR("*"), STR_NONE, STR_NONE);
    if (!sees_all(c) && whose.n == 0)
        return err_set(e, ERR_INPUT, "no_session", "There are no sessions of a key");
    return db && identity_settle(c->control->identity, db, e) &&
           ended(c, db,
                 session_delete_all(db, whose, q->keep_current ? c->who.session : STR_NONE,
                                    &out.revoked, e),
                 e) &&
           control_reply(c, 200, &revoked_shape, &out);
}

/* ---- /sluice/v1/claim ---- */

struct claim_in {
    struct str token, name, password;
};
static const struct shape claim_shape = SHAPE_STRICT(
    struct claim_in,
    FIELD(struct claim_in, token, REQUIRED | NOT_EMPTY, "What stands behind # in the claim link"),
    FIELD(struct claim_in, name, 0, "Name of the operator to be; admin when absent"),
    FIELD(struct claim_in, password, REQUIRED | NOT_EMPTY, "The operator's password"));

static bool claim(struct control_call *c, struct err *e)
{
    const struct claim_in *in = c->in;
    struct signed_in out;
    struct sign_in attempt = attempt_of(c, in->name, in->password);
    struct db *db = is_welcome(c, e) ? control_db(c, e) : NULL;
    if (db && identity_claim(c->control->identity, db, c->arena, &c->snap->settings, in->token,
                             &attempt, clock_wall_ms(), &out, e)) {
        note_success(c, "claim", &out);
        return reply_signed_in(c, 201, &out);
    }
    note_failure(c, "claim", in->name.n ? in->name : STR(OPERATOR_NAME), e);
    return false;
}

/* ---- /admin/api: llm-rosetta's panel, and Routstr's, which share the path; failures carry the keys of both ---- */

static void auth_check(struct api_call *c)
{
    struct gate_door door = api_door(c);
    api_reply_json(c, 200,
                   gate_is_open(&door, c->r) ? STR("{\"requires_auth\":false}")
                                             : STR("{\"requires_auth\":true}"));
}

struct login_in {
    struct str password, username;
};
static const struct shape login_shape = SHAPE(
    struct login_in, FIELD(struct login_in, password, 0, "The password"),
    FIELD(struct login_in, username, 0,
          "Operator to sign in as; when absent admin, or the only owner"));
struct login_out {
    bool ok;
    struct str token;
    int64_t expires_in;
};
static const struct shape login_out_shape = SHAPE(
    struct login_out, FIELD(struct login_out, ok, 0, "true"),
    FIELD(struct login_out, token, 0, "Send it as X-Admin-Token or Authorization: Bearer"),
    FIELD(struct login_out, expires_in, 0, "Seconds until it ends at the latest"));

static bool refuse_login(struct control_call *c, const struct err *e)
{
    struct str text = strcmp(e->code, "invalid_password") == 0 && e->retry_after_ms < 0
                          ? STR("Invalid password")
                          : str_of(e->message);
    struct jw w = jw_on(&c->out);
    c->status = err_status(e);
    if (e->retry_after_ms >= 0)
        control_header(c, STR("retry-after"),
                       str_fmt(c->arena, "%lld", (long long)((e->retry_after_ms + 999) / 1000)));
    jw_object(&w);
    jw_kv_str(&w, "error", text);
    jw_kv_str(&w, "detail", text);
    jw_object_end(&w);
    return true;
}

/* The order of the contract: configured, not locked out, JSON, password. */
static bool may_log_in(struct control_call *c, struct login_in *in, struct err *e)
{
    struct identity *id = c->control->identity;
    if (!identity_is_configured(id))
        return err_set(e, ERR_INPUT, "not_configured", "Admin password not configured");
    int64_t left = identity_locked_ms(id, c->arena, c->address, clock_wall_ms());
    if (left > 0) {
        long long seconds = left / 1000 + 1;
        err_set(e, ERR_RATE_LIMITED, "locked_out", "Too many failed attempts. Try again in %llds.",
                seconds);
        e->retry_after_ms = seconds * 1000;
        return false;
    }
    if (!json_parse(c->arena, c->body, 64, &c->root, e) || !yyjson_is_obj(c->root))
        return err_set(e, ERR_INPUT, "invalid_json", "Invalid JSON body");
    in->password = json_get_str(c->root, "password"); /* none counts as an empty one */
    in->username = json_get_str(c->root, "username");
    return true;
}

static bool login(struct control_call *c, struct err *e)
{
    struct login_in in = {.password = STR_NONE};
    struct signed_in out;
    if (!may_log_in(c, &in, e) || !sign_in(c, in.username, in.password, &out, e))
        return refuse_login(c, e);
    struct login_out shown = {true, out.token, (out.expires_ms - clock_wall_ms() + 500) / 1000};
    return control_reply(c, 200, &login_out_shape, &shown);
}

struct ok_out {
    bool ok;
};
static const struct shape ok_shape = SHAPE(struct ok_out, FIELD(struct ok_out, ok, 0, "true"));

static bool logout(struct control_call *c, struct err *e)
{
    struct ok_out out = {true};
    end_cookies(c);
    return (c->who.session.n == 0 || end_session(c, c->who.session, e)) &&
           control_reply(c, 200, &ok_shape, &out);
}

struct auth_check_out {
    bool requires_auth;
};
static const struct shape auth_check_shape = SHAPE(
    struct auth_check_out,
    FIELD(struct auth_check_out, requires_auth, 0, "Whether administration asks for a sign-in"));

/* ---- /api/auth: OmniRoute's dashboard. Failures are texts, also the 401 that its other paths answer with a code ---- */

struct omni_login_in {
    struct str password;
};
static const struct shape omni_login_shape = SHAPE(
    struct omni_login_in,
    FIELD_TEXT(struct omni_login_in, password, 1, 200, REQUIRED, "The password"));
struct omni_login_out {
    bool success;
    struct str token;
};
static const struct shape omni_login_out_shape = SHAPE(
    struct omni_login_out, FIELD(struct omni_login_out, success, 0, "true"),
    FIELD(struct omni_login_out, token, 0, "The session's: what the cookie auth_token holds too"));

static bool refuse_omni(struct control_call *c, const struct err *e)
{
    bool needs_setup = strcmp(e->code, "not_configured") == 0;
    struct jw w = jw_on(&c->out);
    c->status = needs_setup ? 403 : err_status(e);
    c->failed_as = str_z(c->arena, str_of(e->code));
    if (e->retry_after_ms >= 0)
        control_header(c, STR("retry-after"),
                       str_fmt(c->arena, "%lld", (long long)((e->retry_after_ms + 999) / 1000)));
    jw_object(&w);
    jw_kv_cstr(&w, "error",
               strcmp(e->code, "invalid_password") == 0 && e->retry_after_ms < 0
                   ? "Invalid password"
                   : e->message);
    if (needs_setup)
        jw_kv_bool(&w, "needsSetup", true);
    jw_object_end(&w);
    return true;
}

static bool omni_login(struct control_call *c, struct err *e)
{
    const struct omni_login_in *in = c->in;
    struct signed_in out;
    if (!identity_is_configured(c->control->identity)) {
        err_set(e, ERR_INPUT, "not_configured",
                "No password is set: follow the claim link that sluice printed at its start");
        return refuse_omni(c, e);
    }
    if (!sign_in(c, STR_NONE, in->password, &out, e))
        return refuse_omni(c, e);
    struct omni_login_out shown = {true, out.token};
    return control_reply(c, 200, &omni_login_out_shape, &shown);
}

/* What the caller of an open row sent as its session. */
static struct str sent_session(const struct control_call *c)
{
    struct str bearer = control_head(c, "authorization"), rest = control_head(c, "cookie"), one,
               name;
    if (str_starts_nocase(bearer, STR("bearer ")))
        return str_trim(str_skip(bearer, 7));
    while (rest.n) {
        rest = str_cut(rest, ';', &one);
        one = str_cut(str_trim(one), '=', &name);
        if (str_is(name, OMNI_COOKIE) || str_is(name, SESSION_COOKIE))
            return one;
    }
    return STR_NONE;
}

struct success_out {
    bool success;
};
static const struct shape success_shape = SHAPE(struct success_out,
                                                FIELD(struct success_out, success, 0, "true"));

static bool omni_logout(struct control_call *c, struct err *e)
{
    struct success_out out = {true};
    struct principal who;
    end_cookies(c);
    if (!is_welcome(c, e))
        return false;
    if (identity_session(c->control->identity, c->arena, sent_session(c), &c->snap->settings,
                         clock_wall_ms(), &who)) {
        c->who = who;
        if (!end_session(c, who.session, e))
            return false;
    }
    return control_reply(c, 200, &success_shape, &out);
}

struct auth_status_out {
    bool authenticated;
};
static const struct shape auth_status_shape = SHAPE(
    struct auth_status_out,
    FIELD(struct auth_status_out, authenticated, 0, "Whether this caller may administer"));

static void auth_status(struct api_call *c)
{
    struct gate_door door = api_door(c);
    struct principal who;
    struct err e = ERR_INIT;
    door.access = ACCESS_VIEWER;
    api_reply_json(c, 200,
                   gate_admit(&door, c->r, &who, &e) ? STR("{\"authenticated\":true}")
                                                     : STR("{\"authenticated\":false}"));
}

static void init(struct api_call *c)
{
    api_reply(c, 200, "text/plain; charset=utf-8", STR("Initialized"));
}

#define NO_STORE "no-store"
/* clang-format off */
const struct endpoint session_endpoints[] = {
    { HTTP_POST,   "/sluice/v1/session",          SURFACE_SLUICE,  ACCESS_PUBLIC, "Sign in", .on_worker = create, .in = &sign_in_shape, .out = &signed_in_shape, .status = 201, .takes_password = true, .cache_control = NO_STORE },
    { HTTP_GET,    "/sluice/v1/session",          SURFACE_SLUICE,  ACCESS_VIEWER, "Say who is calling", .on_worker = who_am_i, .out = &who_shape, .cache_control = NO_STORE },
    { HTTP_DELETE, "/sluice/v1/session",          SURFACE_SLUICE,  ACCESS_VIEWER, "Sign out", .on_worker = sign_out, .status = 204 },
    { HTTP_POST,   "/sluice/v1/session/password", SURFACE_SLUICE,  ACCESS_VIEWER, "Change one's own password, ending one's other sessions", .on_worker = change_password, .in = &password_shape, .status = 204, .takes_password = true },
    { HTTP_POST,   "/sluice/v1/claim",            SURFACE_SLUICE,  ACCESS_PUBLIC, "Become the first owner by the claim link", .on_worker = claim, .in = &claim_shape, .out = &signed_in_shape, .status = 201, .takes_password = true, .cache_control = NO_STORE },
    { HTTP_GET,    "/sluice/v1/sessions",         SURFACE_SLUICE,  ACCESS_VIEWER, "List sessions: all for owners, one's own for others", .on_worker = list, .query = &session_query_shape, .out = &session_shape, .is_page = true },
    { HTTP_DELETE, "/sluice/v1/sessions",         SURFACE_SLUICE,  ACCESS_VIEWER, "End sessions: all for owners, one's own for others", .on_worker = revoke_all, .query = &revoke_query_shape, .out = &revoked_shape },
    { HTTP_DELETE, "/sluice/v1/sessions/{id}",    SURFACE_SLUICE,  ACCESS_VIEWER, "End a session", .on_worker = revoke_one, .status = 204 },
    { HTTP_GET,    "/admin/api/auth-check",       SURFACE_ROSETTA, ACCESS_PUBLIC, "Say whether administration asks for a sign-in", .on_loop = auth_check, .out = &auth_check_shape },
    { HTTP_POST,   "/admin/api/login",            SURFACE_ROSETTA, ACCESS_PUBLIC, "Sign in with the admin password", .on_worker = login, .in = &login_shape, .out = &login_out_shape, .reads_body = true, .takes_password = true },
    { HTTP_POST,   "/api/auth/login",             SURFACE_OMNIROUTE, ACCESS_PUBLIC, "Sign in with the admin password (OmniRoute)", .on_worker = omni_login, .in = &omni_login_shape, .out = &omni_login_out_shape, .takes_password = true, .cache_control = NO_STORE },
    { HTTP_POST,   "/api/auth/logout",            SURFACE_OMNIROUTE, ACCESS_PUBLIC, "End the caller's session, if there is one", .on_worker = omni_logout, .out = &success_shape, .cache_control = NO_STORE },
    { HTTP_GET,    "/api/auth/status",            SURFACE_OMNIROUTE, ACCESS_PUBLIC, "Say whether the caller is signed in", .on_loop = auth_status, .out = &auth_status_shape, .cache_control = NO_STORE },
    { HTTP_GET,    "/api/init",                   SURFACE_OMNIROUTE, ACCESS_PUBLIC, "Say that background work has begun: it begins with the process", .on_loop = init, .media = "text/plain" },
    { HTTP_POST,   "/admin/api/logout",           SURFACE_ROSETTA, ACCESS_VIEWER, "End the session of the token", .on_worker = logout, .out = &ok_shape },
    {0},
};
/* clang-format on */
