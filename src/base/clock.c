/* clock.c - reading the clocks; civil dates by arithmetic, without time zones or locale. */
#include "base/clock.h"
#include "base/banned.h"

static struct timespec now(clockid_t clock)
{
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return t;
}

uint64_t clock_mono_ns(void)
{
    struct timespec t = now(CLOCK_MONOTONIC);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

uint64_t clock_mono_ms(void)
{
    return clock_mono_ns() / 1000000U;
}

int64_t clock_wall_ms(void)
{
    struct timespec t = now(CLOCK_REALTIME);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct civil {
    int64_t year;
    unsigned month, day, hour, minute, second,
        weekday; /* month and day from 1, weekday from Sunday */
};

/* Days since 1970-01-01 in the proleptic Gregorian calendar; years are counted from March, so that the leap day
 * is the last of its year. */
static int64_t days_of(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (int64_t)((month + 9) % 12) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static struct civil civil_of(int64_t seconds)
{
    int64_t days = seconds / 86400, rest = seconds % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, of_era = z - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    struct civil c = {
        .year = year + era * 400 + (month >= 10),
        .month = (unsigned)(month < 10 ? month + 3 : month - 9),
        .day = (unsigned)(of_year - (153 * month + 2) / 5 + 1),
        .hour = (unsigned)(rest / 3600),
        .minute = (unsigned)(rest / 60 % 60),
        .second = (unsigned)(rest % 60),
        .weekday = (unsigned)(((days + 4) % 7 + 7) % 7),
    };
    return c;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

void clock_rfc3339(struct buf *b, int64_t wall_ms)
{
    int64_t seconds = floor_div(wall_ms, 1000);
    struct civil c = civil_of(seconds);
    buf_fmt(b, "%04lld-%02u-%02uT%02u:%02u:%02u.%03uZ", (long long)c.year, c.month, c.day, c.hour,
            c.minute, c.second, (unsigned)(wall_ms - seconds * 1000));
}

void clock_rfc3339_ns(struct buf *b, int64_t wall_ns)
{
    int64_t seconds = floor_div(wall_ns, 1000000000);
    struct civil c = civil_of(seconds);
    buf_fmt(b, "%04lld-%02u-%02uT%02u:%02u:%02u.%09uZ", (long long)c.year, c.month, c.day, c.hour,
            c.minute, c.second, (unsigned)(wall_ns - seconds * 1000000000));
}

static const char weekdays[7][10] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                     "Thursday", "Friday", "Saturday"};
static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

void clock_http_date(struct buf *b, int64_t wall_ms)
{
    struct civil c = civil_of(floor_div(wall_ms, 1000));
    buf_fmt(b, "%.3s, %02u %s %04lld %02u:%02u:%02u GMT", weekdays[c.weekday], c.day,
            months[c.month - 1], (long long)c.year, c.hour, c.minute, c.second);
}

/* ---- reading ---- */

static bool take(struct str *s, struct str literal)
{
    if (!str_starts(*s, literal))
        return false;
    *s = str_skip(*s, literal.n);
    return true;
}

static bool digits(struct str *s, size_t n, unsigned *out)
{
    unsigned v = 0;
    if (s->n < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned d = (unsigned)(unsigned char)s->p[i] - '0';
        if (d > 9)
            return false;
        v = v * 10 + d;
    }
    *s = str_skip(*s, n);
    *out = v;
    return true;
}

static bool month_name(struct str *s, unsigned *out)
{
    for (unsigned i = 0; i < 12; i++) {
        if (take(s, str_n(months[i], 3))) {
            *out = i + 1;
            return true;
        }
    }
    return false;
}

static bool time_of_day(struct str *s, struct civil *c)
{
    return digits(s, 2, &c->hour) && take(s, STR(":")) && digits(s, 2, &c->minute) &&
           take(s, STR(":")) && digits(s, 2, &c->second);
}

static bool to_seconds(const struct civil *c, int64_t *out)
{
    static const unsigned char lengths[12] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = c->year % 4 == 0 && (c->year % 100 != 0 || c->year % 400 == 0);
    if (c->month < 1 || c->month > 12 || c->day < 1 || c->day > lengths[c->month - 1] ||
        (c->month == 2 && c->day == 29 && !is_leap))
        return false;
    if (c->hour > 23 || c->minute > 59 || c->second > 60) /* 60: a leap second */
        return false;
    *out = days_of(c->year, c->month, c->day) * 86400 + c->hour * 3600 + c->minute * 60 + c->second;
    return true;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
static bool imf_fixdate(struct str s, struct civil *c)
{
    unsigned year;
    s = str_skip(s, 3);
    if (!take(&s, STR(", ")) || !digits(&s, 2, &c->day) || !take(&s, STR(" ")) ||
        !month_name(&s, &c->month) || !take(&s, STR(" ")) || !digits(&s, 4, &year))
        return false;
    c->year = year;
    return take(&s, STR(" ")) && time_of_day(&s, c) && str_is(s, " GMT");
}

/* "Sunday, 06-Nov-94 08:49:37 GMT"; two digits more than 50 years ahead mean the past century */
static bool rfc850_date(struct str s, struct civil *c)
{
    unsigned year;
    struct str day_name;
    s = str_cut(s, ',', &day_name);
    if (!take(&s, STR(" ")) || !digits(&s, 2, &c->day) || !take(&s, STR("-")) ||
        !month_name(&s, &c->month) || !take(&s, STR("-")) || !digits(&s, 2, &year))
        return false;
    int64_t this_year = civil_of(now(CLOCK_REALTIME).tv_sec).year;
    c->year = this_year - this_year % 100 + year;
    if (c->year > this_year + 50)
        c->year -= 100;
    return take(&s, STR(" ")) && time_of_day(&s, c) && str_is(s, " GMT");
}

/* "Sun Nov  6 08:49:37 1994" */
static bool asctime_date(struct str s, struct civil *c)
{
    unsigned year;
    s = str_skip(s, 3);
    if (!take(&s, STR(" ")) || !month_name(&s, &c->month) || !take(&s, STR(" ")))
        return false;
    if (take(&s, STR(" ")) ? !digits(&s, 1, &c->day) : !digits(&s, 2, &c->day))
        return false;
    if (!take(&s, STR(" ")) || !time_of_day(&s, c) || !take(&s, STR(" ")) || !digits(&s, 4, &year))
        return false;
    c->year = year;
    return s.n == 0;
}

static bool starts_with_weekday(struct str s)
{
    for (size_t i = 0; i < 7; i++) {
        if (str_starts(s, str_n(weekdays[i], 3)))
            return true;
    }
    return false;
}

bool clock_parse_http_date(struct str s, int64_t *wall_ms)
{
    int64_t seconds;
    if (!starts_with_weekday(s))
        return false;
    struct civil c = {0};
    bool ok = imf_fixdate(s, &c);
    if (!ok) {
        c = (struct civil){0};
        ok = rfc850_date(s, &c);
    }
    if (!ok) {
        c = (struct civil){0};
        ok = asctime_date(s, &c);
    }
    if (!ok || !to_seconds(&c, &seconds))
        return false;
    *wall_ms = seconds * 1000;
    return true;
}

/* Behind the seconds: a fraction of any length; what is finer than a millisecond is dropped. */
static bool fraction(struct str *s, int64_t *ms)
{
    *ms = 0;
    if (!take(s, STR(".")))
        return true;
    size_t n = 0;
    for (int64_t unit = 100; n < s->n && s->p[n] >= '0' && s->p[n] <= '9'; n++, unit /= 10)
        *ms += unit * (s->p[n] - '0');
    *s = str_skip(*s, n);
    return n > 0;
}

static bool zone(struct str s, int64_t *minutes)
{
    unsigned hours, rest;
    *minutes = 0;
    if (str_is(s, "Z") || str_is(s, "z"))
        return true;
    bool is_west = str_starts(s, STR("-"));
    if (!is_west && !str_starts(s, STR("+")))
        return false;
    s = str_skip(s, 1);
    if (!digits(&s, 2, &hours) || !take(&s, STR(":")) || !digits(&s, 2, &rest) || s.n ||
        hours > 23 || rest > 59)
        return false;
    *minutes = (is_west ? -1 : 1) * (int64_t)(hours * 60 + rest);
    return true;
}

bool clock_parse_rfc3339(struct str s, int64_t *wall_ms)
{
    struct civil c = {0};
    unsigned year;
    int64_t seconds, ms, minutes;
    if (!digits(&s, 4, &year) || !take(&s, STR("-")) || !digits(&s, 2, &c.month) ||
        !take(&s, STR("-")) || !digits(&s, 2, &c.day))
        return false;
    if (!take(&s, STR("T")) && !take(&s, STR("t")) && !take(&s, STR(" ")))
        return false;
    c.year = year;
    if (!time_of_day(&s, &c) || !fraction(&s, &ms) || !zone(s, &minutes) ||
        !to_seconds(&c, &seconds))
        return false;
    *wall_ms = (seconds - minutes * 60) * 1000 + ms;
    return true;
}
