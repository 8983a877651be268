#include "base/zone.h"
#include "base/banned.h"
#include "base/file.h"

#define FOLDER "/usr/share/zoneinfo/"
#define MAX_FILE (1u << 20)
#define DAY_S 86400

/* Mm.w.d; Jn: 1 to 365, never a leap day; n: 0 to 365 */
enum rule_kind {
    RULE_MONTH,
    RULE_JULIAN,
    RULE_DAY
};
struct rule {
    enum rule_kind kind;
    int month, week, day;
    int32_t at_s; /* local, of the clock that goes before it */
};
struct zone {
    const int64_t *at;       /* moments at which the offset changes, ascending */
    const int32_t *offset_s; /* from then on */
    size_t n;
    int32_t first_s; /* before all of them */
    bool has_rules;  /* what comes after the last: two offsets in turn, or one */
    bool has_summer;
    int32_t standard_s, summer_s;
    struct rule begins, ends; /* of summer time */
};

/* ---- days and years ---- */

/* Days from 1970-01-01 to the first of a month. Howard Hinnant, "chrono-compatible low-level date algorithms". */
static int64_t days_to(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int64_t year_of(int64_t unix_s)
{
    int64_t days = unix_s / DAY_S - (unix_s % DAY_S < 0), year = 1970 + days / 366;
    while (days_to(year + 1, 1, 1) <= days)
        year++;
    while (days_to(year, 1, 1) > days)
        year--;
    return year;
}

/* The moment at which a rule holds in a year, where clocks go by offset_s before it. */
static int64_t rule_at(const struct rule *r, int64_t year, int32_t offset_s)
{
    int64_t day = days_to(year, 1, 1);
    switch (r->kind) {
    case RULE_JULIAN:
        day += r->day - 1 + (is_leap(year) && r->day >= 60);
        break;
    case RULE_DAY:
        day += r->day;
        break;
    case RULE_MONTH: {
        int64_t first = days_to(year, r->month, 1),
                next = r->month == 12 ? days_to(year + 1, 1, 1) : days_to(year, r->month + 1, 1);
        int weekday = (int)(((first % 7) + 7 + 4) % 7); /* 1970-01-01 was a Thursday */
        day = first + (r->day - weekday + 7) % 7 + (int64_t)(r->week - 1) * 7;
        while (day >= next) /* the fifth is the last */
            day -= 7;
        break;
    }
    }
    return day * DAY_S + r->at_s - offset_s;
}

int32_t zone_offset_s(const struct zone *z, int64_t unix_s)
{
    size_t from = 0, to = z->n;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (z->at[middle] <= unix_s)
            from = middle + 1;
        else
            to = middle;
    }
    if (from < z->n || !z->has_rules)
        return from == 0 ? z->first_s : z->offset_s[from - 1];
    if (!z->has_summer)
        return z->standard_s;
    int64_t year = year_of(unix_s + z->standard_s);
    int64_t begins = rule_at(&z->begins, year, z->standard_s),
            ends = rule_at(&z->ends, year, z->summer_s);
    bool is_summer = begins < ends ? unix_s >= begins && unix_s < ends
                                   : unix_s >= begins || unix_s < ends; /* south */
    return is_summer ? z->summer_s : z->standard_s;
}

/* ---- the rules behind the table: POSIX TZ, "CET-1CEST,M3.5.0,M10.5.0/3" ---- */

static bool take(struct str *s, char c)
{
    if (s->n == 0 || s->p[0] != c)
        return false;
    *s = str_skip(*s, 1);
    return true;
}

static bool take_number(struct str *s, int *out)
{
    size_t n = 0;
    *out = 0;
    for (; n < s->n && n < 4 && s->p[n] >= '0' && s->p[n] <= '9'; n++)
        *out = *out * 10 + (s->p[n] - '0');
    *s = str_skip(*s, n);
    return n > 0;
}

static bool take_name(struct str *s)
{
    size_t n = 0;
    if (take(s, '<')) {
        n = str_index(*s, '>');
        bool ok = n < s->n;
        *s = str_skip(*s, n + 1);
        return ok;
    }
    while (n < s->n && ((s->p[n] >= 'A' && s->p[n] <= 'Z') || (s->p[n] >= 'a' && s->p[n] <= 'z')))
        n++;
    *s = str_skip(*s, n);
    return n >= 3;
}

static bool take_time(struct str *s, int32_t *out) /* [+-]h[:m[:s]] */
{
    bool is_negative = take(s, '-');
    int part[3] = {0, 0, 0};
    if (!is_negative)
        (void)take(s, '+');
    if (!take_number(s, &part[0]))
        return false;
    for (int i = 1; i < 3 && take(s, ':'); i++)
        if (!take_number(s, &part[i]))
            return false;
    if (part[0] > 167 || part[1] > 59 || part[2] > 59)
        return false;
    *out = (part[0] * 3600 + part[1] * 60 + part[2]) * (is_negative ? -1 : 1);
    return true;
}

static bool take_rule(struct str *s, struct rule *r)
{
    r->at_s = 7200;
    if (!take(s, ','))
        return false;
    if (take(s, 'M')) {
        r->kind = RULE_MONTH;
        if (!take_number(s, &r->month) || !take(s, '.') || !take_number(s, &r->week) ||
            !take(s, '.') || !take_number(s, &r->day))
            return false;
        if (r->month < 1 || r->month > 12 || r->week < 1 || r->week > 5 || r->day > 6)
            return false;
    } else {
        r->kind = take(s, 'J') ? RULE_JULIAN : RULE_DAY;
        if (!take_number(s, &r->day) || r->day > 365 || (r->kind == RULE_JULIAN && r->day < 1))
            return false;
    }
    return !take(s, '/') || take_time(s, &r->at_s);
}

static bool read_rules(struct str s, struct zone *z)
{
    if (!take_name(&s) || !take_time(&s, &z->standard_s))
        return false;
    z->standard_s = -z->standard_s; /* POSIX counts westwards */
    if (s.n == 0)
        return true;
    if (!take_name(&s))
        return false;
    z->summer_s = z->standard_s + 3600;
    if (s.n && s.p[0] != ',') {
        if (!take_time(&s, &z->summer_s))
            return false;
        z->summer_s = -z->summer_s;
    }
    z->has_summer = true;
    return take_rule(&s, &z->begins) && take_rule(&s, &z->ends) && s.n == 0;
}

/* ---- TZif, RFC 8536 ---- */

static uint32_t be32(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static int64_t be64(const char *p)
{
    return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

struct head {
    uint32_t n_utc, n_std, n_leap, n_time, n_type, n_char;
    size_t size; /* of what follows, times of `width` bytes */
};

static bool read_head(struct str s, size_t width, struct head *h)
{
    if (s.n < 44 || memcmp(s.p, "TZif", 4) != 0)
        return false;
    *h = (struct head){be32(s.p + 20),
                       be32(s.p + 24),
                       be32(s.p + 28),
                       be32(s.p + 32),
                       be32(s.p + 36),
                       be32(s.p + 40),
                       0};
    if (h->n_time > 100000 || h->n_type == 0 || h->n_type > 256 || h->n_char > 10000 ||
        h->n_leap > 10000 || h->n_std > 256 || h->n_utc > 256)
        return false;
    h->size = h->n_time * (width + 1) + h->n_type * 6u + h->n_char + h->n_leap * (width + 4) +
              h->n_std + h->n_utc;
    return s.n - 44 >= h->size;
}

const struct zone *zone_parse(struct arena *a, struct str bytes)
{
    struct head h;
    size_t width = 4;
    if (!read_head(bytes, 4, &h))
        return NULL;
    if (bytes.p[4] >= '2') { /* the same again, with times of 64 bits */
        bytes = str_skip(bytes, 44 + h.size);
        width = 8;
        if (!read_head(bytes, 8, &h))
            return NULL;
    }
    const char *times = bytes.p + 44, *index = times + h.n_time * width, *types = index + h.n_time;
    struct zone *z = ARENA_NEW(a, struct zone);
    int64_t *at = ARENA_ARRAY(a, int64_t, h.n_time + 1);
    int32_t *offset_s = ARENA_ARRAY(a, int32_t, h.n_time + 1);
    for (size_t i = 0; i < h.n_time; i++) {
        uint8_t type = (uint8_t)index[i];
        if (type >= h.n_type)
            return NULL;
        at[i] = width == 8 ? be64(times + i * 8) : (int32_t)be32(times + i * 4);
        offset_s[i] = (int32_t)be32(types + type * 6u);
    }
    *z = (struct zone){at, offset_s, h.n_time, .first_s = (int32_t)be32(types)};
    struct str rest = str_skip(bytes, 44 + h.size), rules;
    if (width == 8 && take(&rest, '\n')) {
        (void)str_cut(rest, '\n', &rules);
        z->has_rules = rules.n && read_rules(rules, z);
    }
    return z;
}

static const struct zone *fixed(struct arena *a, int32_t offset_s)
{
    struct zone *z = ARENA_NEW(a, struct zone);
    z->first_s = offset_s;
    return z;
}

static bool is_zone_name(struct str s)
{
    if (s.n == 0 || s.n > 64 || s.p[0] == '/' || str_contains(s, STR("..")))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '+' || c == '-' || c == '/'))
            return false;
    }
    return true;
}

const struct zone *zone_load(struct arena *a, struct str name, struct err *e)
{
    struct str rest = name, bytes;
    struct err why = ERR_INIT;
    int32_t offset_s;
    if (name.n == 0 || str_is(name, "UTC") || str_is(name, "Z"))
        return fixed(a, 0);
    if ((name.p[0] == '+' || name.p[0] == '-') && take_time(&rest, &offset_s) && rest.n == 0 &&
        offset_s <= DAY_S && offset_s >= -DAY_S)
        return fixed(a, offset_s);
    const struct zone *z = NULL;
    if (is_zone_name(name) &&
        file_read(a, str_fmt(a, FOLDER STR_FMT, STR_ARG(name)).p, MAX_FILE, &bytes, &why))
        z = zone_parse(a, bytes);
    if (!z)
        err_set(e, ERR_INPUT, "unknown_time_zone",
                "Unknown time zone '" STR_FMT "': an IANA name such as Europe/Berlin, or UTC",
                STR_ARG(str_first(name, 64)));
    return z;
}
