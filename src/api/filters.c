/* filters.c - /sluice/v1/ip-filter, /sluice/v1/system-prompt, /sluice/v1/thinking-budget: settings that belong together, each group read and
 * changed as one; and the bans of addresses. */
#include "api/change.h"
#include "base/clock.h"
#include "domain/ipban.h"
#include "gate/ipfilter.h"
#include "http/cidr.h"

#define MAX_BAN_MS (3650ll * 86400000)

/* ---- groups of settings ---- */

static struct str joined(struct arena *a, const struct strs *list)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    for (size_t i = 0; i < list->n; i++)
        buf_fmt(&b, "%s" STR_FMT, i ? "," : "", STR_ARG(list->v[i]));
    return b.n ? buf_str(&b) : STR("");
}

static struct strs parted(struct arena *a, struct str list)
{
    size_t max = 1;
    for (size_t i = 0; i < list.n; i++)
        max += list.p[i] == ',';
    struct strs out = {ARENA_ARRAY(a, struct str, max), 0};
    while (list.n) {
        struct str one;
        list = str_cut(list, ',', &one);
        one = str_trim(one);
        if (one.n)
            out.v[out.n++] = one;
    }
    return out;
}

static const struct setting *row_of(const char *name)
{
    return setting_find(str_of(name));
}

/* ---- the address filter ---- */

struct filter_io {
    struct str mode;
    struct strs allow, deny;
};
/* clang-format off */
static const struct shape filter_shape = SHAPE_STRICT(struct filter_io,
    FIELD(struct filter_io, mode,  0, "off; deny: those of `deny` are turned away; allow: all but those of `allow` are; both: those of `deny` are, unless `allow` has them"),
    FIELD(struct filter_io, allow, 0, "Addresses and ranges, IPv4 and IPv6: 10.0.0.0/8, 2001:db8::/32"),
    FIELD(struct filter_io, deny,  0, "Addresses and ranges"));
struct force_query { bool force; };
static const struct shape force_query_shape = SHAPE(struct force_query,
    FIELD(struct force_query, force, 0, "Also where it would turn the caller away"));
/* clang-format on */

/* Objects that are made of settings; for their ETags. */
static const struct parts {
    const char *object, *settings[3];
} parts[] = {
    {"ip-filter", {"ip_filter", "ip_allow", "ip_deny"}},
    {"system-prompt", {"inject_system_prompt", "system_prompt", "system_prompt_except"}},
    {"thinking-budget", {"thinking_mode", "thinking_effort", "thinking_budget"}},
};

static bool represent(struct control_call *c, const struct snapshot *s, struct str name,
                      struct buf *out)
{
    struct jw w = jw_on(out);
    (void)c;
    jw_array(&w);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        for (size_t j = 0;
             str_eq(name, str_of(parts[i].object)) && j < ARRAY_LEN(parts[i].settings); j++)
            setting_write(&s->settings, row_of(parts[i].settings[j]), &w);
    jw_array_end(&w);
    return true;
}

static void represents(struct control_call *c, const char *object)
{
    c->represent = represent;
    c->represented = str_of(object);
}

static bool reply_filter(struct control_call *c, const struct snapshot *in)
{
    const struct settings *set = &in->settings;
    struct filter_io out = {.mode = set->ip_filter,
                            .allow = parted(c->arena, set->ip_allow),
                            .deny = parted(c->arena, set->ip_deny)};
    return control_reply_tagged(c, 200, &filter_shape, &out, in, c->represented);
}

static bool get_filter(struct control_call *c, struct err *e)
{
    (void)e;
    represents(c, "ip-filter");
    return reply_filter(c, c->snap);
}

/* Whether the filter would turn away who asks for it. */
static bool locks_out(struct control_call *c, const struct settings *set)
{
    struct snapshot probe = {.arena = c->arena, .settings = *set};
    uint8_t address[CIDR_BYTES];
    int64_t until;
    if (address_parse(c->address, address) && address_is_loopback(address))
        return false;
    ip_filter_build(&probe);
    return probe.ip_filter &&
           ip_filter_ask(probe.ip_filter, c->address, clock_wall_ms(), &until) != IP_PASSES;
}

static bool put_filter(struct control_call *c, struct err *e)
{
    const struct filter_io *in = c->in;
    const struct force_query *q = c->asked;
    struct settings probe = c->snap->settings;
    struct setting_value v[3];
    size_t n = 0;
    if (c->present & 1)
        v[n++] = (struct setting_value){row_of("ip_filter"), in->mode};
    if (c->present & 2)
        v[n++] = (struct setting_value){row_of("ip_allow"), joined(c->arena, &in->allow)};
    if (c->present & 4)
        v[n++] = (struct setting_value){row_of("ip_deny"), joined(c->arena, &in->deny)};
    for (size_t i = 0; i < n; i++)
        if (!setting_set(&probe, v[i].row, v[i].value, e))
            return false;
    if (!q->force && locks_out(c, &probe))
        return err_set(e, ERR_CONFLICT, "locks_you_out",
                       "This would turn away your own address, " STR_FMT
                       ": ?force=true if you mean it",
                       STR_ARG(c->address));
    represents(c, "ip-filter");
    if (!change_settings(c, v, n, e))
        return false;
    struct snapshot *now = snapshot_current();
    bool ok = reply_filter(c, now);
    snapshot_unref(now);
    return ok;
}

/* ---- bans ---- */

struct ban_in {
    struct str address, reason;
    int64_t duration_ms;
};
struct ban_out {
    struct str address, reason, until, created_at;
    int64_t remaining_ms;
};
/* clang-format off */
static const struct shape ban_in_shape = SHAPE_STRICT(struct ban_in,
    FIELD(struct ban_in, address, REQUIRED | NOT_EMPTY, "Address or range"),
    FIELD(struct ban_in, reason, 0, "Why, for people"),
    FIELD_RANGE(struct ban_in, duration_ms, 1, MAX_BAN_MS, 0, "How long; an hour when absent"));
static const struct shape ban_shape = SHAPE(struct ban_out,
    FIELD(struct ban_out, address, 0, "Address or range"),
    FIELD(struct ban_out, reason, 0, "Why"),
    FIELD(struct ban_out, until, 0, "When it ends"),
    FIELD(struct ban_out, remaining_ms, 0, "Until then"),
    FIELD(struct ban_out, created_at, 0, "When it began"));
/* clang-format on */

static struct str time_text(struct arena *a, int64_t ms)
{
    struct buf b;
    buf_init_arena(&b, a, 64);
    clock_rfc3339(&b, ms);
    return buf_str(&b);
}

static struct ban_out show(struct arena *a, const struct ip_ban *b, int64_t now_ms)
{
    return (struct ban_out){.address = b->address,
                            .reason = b->reason,
                            .until = time_text(a, b->until_ms),
                            .remaining_ms = b->until_ms > now_ms ? b->until_ms - now_ms : 0,
                            .created_at = time_text(a, b->created_ms)};
}

static bool list_bans(struct control_call *c, struct err *e)
{
    struct db *db = control_db(c, e);
    struct ip_ban *bans;
    size_t n;
    int64_t now = clock_wall_ms();
    if (!db || !ip_ban_list(db, c->arena, now, &bans, &n, e))
        return false;
    struct ban_out *out = ARENA_ARRAY(c->arena, struct ban_out, n + 1);
    for (size_t i = 0; i < n; i++)
        out[i] = show(c->arena, &bans[i], now);
    return control_reply_sorted(c, &ban_shape, out, n, "address", e);
}

static bool add_ban(struct control_call *c, struct err *e)
{
    const struct ban_in *in = c->in;
    uint8_t base[CIDR_BYTES];
    unsigned bits;
    int64_t now = clock_wall_ms(), until;
    struct ip_ban b = {.address = in->address,
                       .reason = str_first(in->reason, 200),
                       .until_ms = now + (in->duration_ms ? in->duration_ms : 3600000),
                       .created_ms = now};
    if (!cidr_parse(in->address, base, &bits))
        return err_field(e, "address", "'address' must be an address or a range: 10.0.0.0/8");
    struct snapshot probe = {.arena = c->arena, .ip_bans = &b, .n_ip_bans = 1};
    probe.settings.ip_filter = STR("off");
    ip_filter_build(&probe);
    if (!address_parse(c->address, base) || !address_is_loopback(base))
        if (ip_filter_ask(probe.ip_filter, c->address, now, &until) != IP_PASSES)
            return err_set(e, ERR_CONFLICT, "locks_you_out", "This is your own address");
    struct db *db = control_db(c, e);
    struct str before, after;
    if (!db || !ip_ban_json(db, c->arena, b.address, now, &before, e) ||
        !ip_ban_put(db, &b, now, e) || !ip_ban_json(db, c->arena, b.address, now, &after, e))
        return false;
    control_audit(c, "ip_ban", b.address, before, after);
    if (!control_changed(c, e))
        return false;
    struct ban_out out = show(c->arena, &b, now);
    return control_reply(c, 201, &ban_shape, &out);
}

static bool remove_ban(struct control_call *c, struct err *e)
{
    struct db *db = control_db(c, e);
    struct str address = route_param(&c->params, "address");
    struct str before;
    c->status = 204;
    if (!db || !ip_ban_json(db, c->arena, address, clock_wall_ms(), &before, e))
        return false;
    control_audit(c, "ip_ban", address, before, STR_NONE);
    return ip_ban_delete(db, address, e) && control_changed(c, e);
}

/* ---- the system prompt ---- */

struct prompt_io {
    bool enabled;
    struct str prompt;
    struct strs except_models;
};
/* clang-format off */
static const struct shape prompt_shape = SHAPE_STRICT(struct prompt_io,
    FIELD(struct prompt_io, enabled, 0, "Whether it is added"),
    FIELD(struct prompt_io, prompt,  0, "Text that goes before the system prompt of every conversation"),
    FIELD(struct prompt_io, except_models, 0, "Models whose conversations do not get it; * stands for any run of characters"));
/* clang-format on */

static bool reply_prompt(struct control_call *c, const struct snapshot *in)
{
    const struct settings *set = &in->settings;
    struct prompt_io out = {.enabled = set->inject_system_prompt,
                            .prompt = set->system_prompt,
                            .except_models = parted(c->arena, set->system_prompt_except)};
    return control_reply_tagged(c, 200, &prompt_shape, &out, in, c->represented);
}

static bool get_prompt(struct control_call *c, struct err *e)
{
    (void)e;
    represents(c, "system-prompt");
    return reply_prompt(c, c->snap);
}

static bool put_prompt(struct control_call *c, struct err *e)
{
    const struct prompt_io *in = c->in;
    struct setting_value v[3];
    size_t n = 0;
    if (c->present & 1)
        v[n++] = (struct setting_value){row_of("inject_system_prompt"),
                                        in->enabled ? STR("true") : STR("false")};
    if (c->present & 2)
        v[n++] = (struct setting_value){row_of("system_prompt"),
                                        in->prompt.p ? in->prompt : STR("")};
    for (size_t i = 0; i < in->except_models.n; i++) /* kept as one text: a comma would part it */
        if (str_index(in->except_models.v[i], ',') < in->except_models.v[i].n)
            return err_field(e, "except_models", "a name in 'except_models' holds a comma");
    if (c->present & 4)
        v[n++] = (struct setting_value){row_of("system_prompt_except"),
                                        joined(c->arena, &in->except_models)};
    represents(c, "system-prompt");
    if (!change_settings(c, v, n, e))
        return false;
    struct snapshot *now = snapshot_current();
    bool ok = reply_prompt(c, now);
    snapshot_unref(now);
    return ok;
}

/* ---- how much thinking ---- */

struct thinking_io {
    struct str mode, effort;
    int64_t budget;
};
/* clang-format off */
static const struct shape thinking_shape = SHAPE_STRICT(struct thinking_io,
    FIELD(struct thinking_io, mode,   0, "passthrough: as clients ask; auto: what they ask is taken out, the model decides; custom: `budget` instead; adaptive: by effort and size of the conversation"),
    FIELD(struct thinking_io, effort, 0, "none, low, medium or high: where adaptive begins"),
    FIELD_RANGE(struct thinking_io, budget, 0, 131072, 0, "Tokens under custom; 0: none"));
/* clang-format on */

static bool reply_thinking(struct control_call *c, const struct snapshot *in)
{
    const struct settings *set = &in->settings;
    struct thinking_io out = {
        .mode = set->thinking_mode, .effort = set->thinking_effort, .budget = set->thinking_budget};
    return control_reply_tagged(c, 200, &thinking_shape, &out, in, c->represented);
}

static bool get_thinking(struct control_call *c, struct err *e)
{
    (void)e;
    represents(c, "thinking-budget");
    return reply_thinking(c, c->snap);
}

static bool put_thinking(struct control_call *c, struct err *e)
{
    const struct thinking_io *in = c->in;
    struct setting_value v[3];
    size_t n = 0;
    if (c->present & 1)
        v[n++] = (struct setting_value){row_of("thinking_mode"), in->mode};
    if (c->present & 2)
        v[n++] = (struct setting_value){row_of("thinking_effort"), in->effort};
    if (c->present & 4)
        v[n++] = (struct setting_value){row_of("thinking_budget"),
                                        str_fmt(c->arena, "%lld", (long long)in->budget)};
    represents(c, "thinking-budget");
    if (!change_settings(c, v, n, e))
        return false;
    struct snapshot *now = snapshot_current();
    bool ok = reply_thinking(c, now);
    snapshot_unref(now);
    return ok;
}

/* clang-format off */
const struct endpoint filter_endpoints[] = {
    { HTTP_GET,    "/sluice/v1/ip-filter", SURFACE_SLUICE, ACCESS_VIEWER, "Show which addresses may come in", .has_tag = true, .on_worker = get_filter, .out = &filter_shape },
    { HTTP_PUT,    "/sluice/v1/ip-filter", SURFACE_SLUICE, ACCESS_ADMIN, "Say which addresses may come in", .has_tag = true, .on_worker = put_filter, .in = &filter_shape, .query = &force_query_shape, .out = &filter_shape },
    { HTTP_GET,    "/sluice/v1/ip-filter/bans", SURFACE_SLUICE, ACCESS_VIEWER, "List the addresses that are banned", .on_worker = list_bans, .query = &page_query_shape, .out = &ban_shape, .is_page = true },
    { HTTP_POST,   "/sluice/v1/ip-filter/bans", SURFACE_SLUICE, ACCESS_ADMIN, "Ban an address for a time", .on_worker = add_ban, .in = &ban_in_shape, .out = &ban_shape, .status = 201 },
    { HTTP_DELETE, "/sluice/v1/ip-filter/bans/{address*}", SURFACE_SLUICE, ACCESS_ADMIN, "Lift a ban", .on_worker = remove_ban, .status = 204 },
    { HTTP_GET,    "/sluice/v1/system-prompt", SURFACE_SLUICE, ACCESS_VIEWER, "Show the system prompt that is added to conversations", .has_tag = true, .on_worker = get_prompt, .out = &prompt_shape },
    { HTTP_PUT,    "/sluice/v1/system-prompt", SURFACE_SLUICE, ACCESS_ADMIN, "Set the system prompt that is added to conversations", .has_tag = true, .on_worker = put_prompt, .in = &prompt_shape, .out = &prompt_shape },
    { HTTP_GET,    "/sluice/v1/thinking-budget", SURFACE_SLUICE, ACCESS_VIEWER, "Show how much thinking is asked for", .has_tag = true, .on_worker = get_thinking, .out = &thinking_shape },
    { HTTP_PUT,    "/sluice/v1/thinking-budget", SURFACE_SLUICE, ACCESS_ADMIN, "Say how much thinking is asked for", .has_tag = true, .on_worker = put_thinking, .in = &thinking_shape, .out = &thinking_shape },
    {0},
};
/* clang-format on */
