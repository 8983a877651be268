#include "domain/budget.h"
#include "base/decimal.h"
#include "domain/snapshot.h"
#include <stdio.h>

#define DAY_S 86400
#define HOUR_S 3600
#define MAX_LIMIT 1000000000000000 /* a million USD */

const struct word budget_scope_words[] = {{"all", BUDGET_ALL},   {"org", BUDGET_ORG},
                                          {"user", BUDGET_USER}, {"key", BUDGET_KEY},
                                          {"tag", BUDGET_TAG},   {0}};
const struct word budget_period_words[] = {{"day", BUDGET_DAY},
                                           {"week", BUDGET_WEEK},
                                           {"month", BUDGET_MONTH},
                                           {"ever", BUDGET_EVER},
                                           {0}};

/* ---- periods ---- */

/* Days since 1970-01-01 of the first of a month counted from year 0, in the proleptic Gregorian calendar. */
static int64_t days_of_month(int64_t months)
{
    int64_t year = months / 12, month = months % 12 + 1;
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* Months since year 0 of a day since 1970-01-01. */
static int64_t month_of_day(int64_t day)
{
    day += 719468;
    int64_t era = (day >= 0 ? day : day - 146096) / 146097, of_era = day - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100), mp = (5 * of_year + 2) / 153;
    int64_t month = mp + (mp < 10 ? 3 : -9);
    return (y + era * 400 + (month <= 2)) * 12 + month - 1;
}

static int64_t offset_s(const struct zone *z, int64_t unix_s)
{
    return z ? zone_offset_s(z, unix_s) : 0;
}

/* The clocks of a place are changed between the two moments: when. */
static int64_t change_between(const struct zone *z, int64_t low, int64_t high)
{
    int64_t before = offset_s(z, low);
    while (high - low > 1) { /* it lies in (low, high] */
        int64_t at = low + (high - low) / 2;
        if (offset_s(z, at) == before)
            low = at;
        else
            high = at;
    }
    return high;
}

/* The moment at which the clocks of a place begin that day. Where they are put forward over midnight, the day begins behind the gap; where
 * they are put back over it, with the first midnight that stays one. */
static int64_t begin_of_day(const struct zone *z, int64_t day)
{
    int64_t local = day * DAY_S;
    /* no clock is changed twice within so short a time */
    int64_t before = offset_s(z, local - DAY_S), after = offset_s(z, local + DAY_S);
    int64_t old = local - before, new = local - after; /* midnight by the one, and by the other */
    if (offset_s(z, old) == before)
        return old;
    if (offset_s(z, new) == after)
        return new;
    return new < old ? change_between(z, new, old) : change_between(z, old, new);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

void period_bounds(const struct zone *z, enum budget_period p, int64_t now_ms, int64_t *begin_ms,
                   int64_t *end_ms)
{
    int64_t now = floor_div(now_ms, 1000), day = floor_div(now + offset_s(z, now), DAY_S), first,
            next;
    switch (p) {
    case BUDGET_WEEK:
        first = day - (day + 3 - 7 * floor_div(day + 3, 7)); /* 1970-01-01 was a Thursday */
        next = first + 7;
        break;
    case BUDGET_MONTH:
        first = days_of_month(month_of_day(day));
        next = days_of_month(month_of_day(day) + 1);
        break;
    case BUDGET_EVER:
        *begin_ms = 0;
        *end_ms = INT64_MAX;
        return;
    case BUDGET_DAY:
    default:
        first = day;
        next = day + 1;
        break;
    }
    *begin_ms = begin_of_day(z, first) * 1000;
    *end_ms = begin_of_day(z, next) * 1000;
}

void hour_bounds(const struct zone *z, int64_t now_ms, int64_t *begin_ms, int64_t *end_ms)
{
    int64_t now = floor_div(now_ms, 1000), offset = offset_s(z, now), local = now + offset;
    int64_t begin = floor_div(local, HOUR_S) * HOUR_S - offset, end = begin + HOUR_S;
    if (offset_s(z, begin) != offset)
        begin = change_between(z, begin, now);
    if (offset_s(z, end - 1) != offset)
        end = change_between(z, now, end - 1);
    *begin_ms = begin * 1000;
    *end_ms = end * 1000;
}

void budget_bounds(const struct budget *b, int64_t now_ms, int64_t *begin_ms, int64_t *end_ms)
{
    period_bounds(b->zone, b->period, now_ms, begin_ms, end_ms);
}

/* ---- entries ---- */

struct entry { /* as it is written */
    struct str scope, subject, period, time_zone, action;
    yyjson_val *limit_usd;
    int64_t warn_percent;
    bool cut_streams, enabled;
};
static const struct shape entry_shape = SHAPE_STRICT(
    struct entry, FIELD(struct entry, scope, 0, "all, org, user, key or tag"),
    FIELD(struct entry, subject, 0, "Id of the org, user or key, or the tag"),
    FIELD(struct entry, period, 0, "day, week, month or ever"),
    FIELD(struct entry, time_zone, 0, "IANA name; UTC when absent"),
    FIELD(struct entry, limit_usd, REQUIRED, "Most that may be spent in it"),
    FIELD_RANGE(struct entry, warn_percent, 0, 100, 0, "Share of it that warns"),
    FIELD(struct entry, action, 0, "stop or warn"),
    FIELD(struct entry, cut_streams, 0, "Whether streams are ended"),
    FIELD(struct entry, enabled, 0, "Whether it holds"));

static bool bad(struct err *e, const char *where, const char *member, const char *what)
{
    char name[128];
    (void)snprintf(name, sizeof name, "%s%s%s", where, where[0] ? "." : "", member);
    return err_field(e, name, "'%s' %s", name, what);
}

bool budget_read(struct arena *a, struct str name, yyjson_val *entry, const char *where,
                 struct budget *out, struct err *e)
{
    struct entry in = {.scope = STR("key"),
                       .period = STR("month"),
                       .action = STR("stop"),
                       .warn_percent = 80,
                       .enabled = true};
    struct err why = ERR_INIT;
    if (!shape_read(&entry_shape, a, entry, &in, NULL, &why)) {
        *e = why;
        (void)snprintf(e->field, sizeof e->field, "%.40s%s%.50s", where, where[0] ? "." : "",
                       why.field);
        return false;
    }
    int scope = word_value(budget_scope_words, in.scope, -1),
        period = word_value(budget_period_words, in.period, -1);
    struct str usd = yyjson_is_str(in.limit_usd)    ? json_str(in.limit_usd)
                     : json_is_number(in.limit_usd) ? json_lexeme(in.limit_usd)
                                                    : STR_NONE;
    *out = (struct budget){.name = str_dup(a, name), .subject = str_dup(a, in.subject)};
    if (scope < 0)
        return bad(e, where, "scope", "must be all, org, user, key or tag");
    if (period < 0)
        return bad(e, where, "period", "must be day, week, month or ever");
    if ((in.subject.n == 0) != (scope == BUDGET_ALL))
        return bad(e, where, "subject",
                   scope == BUDGET_ALL ? "must be empty where everybody is meant"
                                       : "must say which org, user, key or tag");
    if (!decimal_parse(usd, 9, &out->limit_nanousd) || out->limit_nanousd > MAX_LIMIT)
        return bad(e, where, "limit_usd",
                   "must be an amount of USD, a decimal that is not negative");
    if (!str_is(in.action, "stop") && !str_is(in.action, "warn"))
        return bad(e, where, "action", "must be stop or warn");
    out->zone = zone_load(a, in.time_zone, &why);
    if (!out->zone)
        return bad(e, where, "time_zone", "is no time zone known here, as Europe/Berlin is");
    out->scope = (enum budget_scope)scope;
    out->period = (enum budget_period)period;
    out->time_zone = str_dup(a, in.time_zone);
    out->warn_percent = in.warn_percent;
    out->stops = str_is(in.action, "stop");
    out->cuts = in.cut_streams;
    out->is_enabled = in.enabled;
    return true;
}

bool budget_has_subject(const struct snapshot *s, int scope, struct str subject)
{
    if (scope == BUDGET_KEY)
        return snapshot_key_by_id(s, subject) != NULL;
    if (scope == BUDGET_ORG || scope == BUDGET_USER)
        return snapshot_holder(s, scope == BUDGET_ORG ? HOLDER_ORG : HOLDER_USER, subject) != NULL;
    return true;
}

void budget_write(struct jw *w, const struct budget *b)
{
    char text[48];
    struct buf usd = {.p = text, .cap = sizeof text, .max = sizeof text};
    decimal_write_nano(&usd, b->limit_nanousd);
    jw_object(w);
    jw_kv_cstr(w, "scope", word_text(budget_scope_words, (int)b->scope, ""));
    if (b->subject.n)
        jw_kv_str(w, "subject", b->subject);
    jw_kv_cstr(w, "period", word_text(budget_period_words, (int)b->period, ""));
    if (b->time_zone.n)
        jw_kv_str(w, "time_zone", b->time_zone);
    jw_key(w, "limit_usd");
    jw_raw(w, buf_str(&usd));
    jw_kv_int(w, "warn_percent", b->warn_percent);
    if (!b->stops)
        jw_kv_cstr(w, "action", "warn");
    if (b->cuts)
        jw_kv_bool(w, "cut_streams", true);
    if (!b->is_enabled)
        jw_kv_bool(w, "enabled", false);
    jw_object_end(w);
}
