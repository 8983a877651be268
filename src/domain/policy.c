#include "domain/policy.h"
#include "base/banned.h"
#include "http/cidr.h"

#define MAX_TAGS 64
#define MAX_TAG 100
#define MAX_LIMIT 1000000000000
#define MAX_SESSIONS 10000

/* clang-format off */
const struct shape limits_shape = SHAPE_STRICT(struct limits,
    FIELD_RANGE(struct limits, requests_per_minute, 0, MAX_LIMIT, OMIT_EMPTY, "Requests in any 60 seconds; 0: no limit"),
    FIELD_RANGE(struct limits, requests_per_hour,   0, MAX_LIMIT, OMIT_EMPTY, "Requests in any 60 minutes; 0: no limit"),
    FIELD_RANGE(struct limits, requests_per_day,    0, MAX_LIMIT, OMIT_EMPTY, "Requests in any 24 hours; 0: no limit"),
    FIELD_RANGE(struct limits, tokens_per_minute,   0, MAX_LIMIT, OMIT_EMPTY, "Tokens, in and out, in any 60 seconds; 0: no limit"),
    FIELD_RANGE(struct limits, tokens_per_day,      0, MAX_LIMIT, OMIT_EMPTY, "Tokens, in and out, in any 24 hours; 0: no limit"),
    FIELD_RANGE(struct limits, concurrency,         0, MAX_LIMIT, OMIT_EMPTY, "Requests at once; 0: no limit"),
    FIELD_RANGE(struct limits, sessions,            0, MAX_SESSIONS, OMIT_EMPTY, "Conversations that were heard of in the last half hour; 0: no limit"));
const struct shape schedule_shape = SHAPE_STRICT(struct schedule,
    FIELD(struct schedule, days,      OMIT_EMPTY, "mon, tue, wed, thu, fri, sat, sun; empty: every day"),
    FIELD(struct schedule, from,      OMIT_EMPTY, "Time of the day at which it begins, HH:MM"),
    FIELD(struct schedule, until,     OMIT_EMPTY, "… and ends; not after `from`: on the next day"),
    FIELD(struct schedule, time_zone, OMIT_EMPTY, "IANA name of the time zone; empty: UTC"),
    FIELD(struct schedule, paused,    OMIT_EMPTY, "Kept, but not in force"));
const struct shape key_policy_shape = SHAPE(struct key_policy, KEY_POLICY_FIELDS(struct key_policy, , OMIT_EMPTY));
/* clang-format on */
const struct key_policy key_policy_none;

/* ---- schedules ---- */

static const struct word day_words[] = {{"sun", 0}, {"mon", 1}, {"tue", 2}, {"wed", 3},
                                        {"thu", 4}, {"fri", 5}, {"sat", 6}, {0}};

static bool read_time(struct str s, int *out)
{
    int64_t hour, minute;
    if (s.n != 5 || s.p[2] != ':' || !str_to_int(str_first(s, 2), &hour) ||
        !str_to_int(str_skip(s, 3), &minute) || hour < 0 || hour > 24 || minute < 0 ||
        minute > 59 || hour * 60 + minute > 1440)
        return false;
    *out = (int)(hour * 60 + minute);
    return true;
}

bool schedule_read(struct arena *a, const struct schedule *s, struct opening *out, struct err *e)
{
    struct err why = ERR_INIT;
    *out = (struct opening){.until_min = 1440};
    for (size_t i = 0; i < s->days.n; i++) {
        int day = word_value(day_words, s->days.v[i], -1);
        if (day < 0)
            return err_field(e, "schedule.days",
                             "'schedule.days' holds mon, tue, wed, thu, fri, sat, sun");
        out->days |= 1u << day;
    }
    if (s->days.n == 0)
        out->days = 0x7f;
    if (s->from.n && !read_time(s->from, &out->from_min))
        return err_field(e, "schedule.from", "'schedule.from' must be a time such as 08:30");
    if (s->until.n && !read_time(s->until, &out->until_min))
        return err_field(e, "schedule.until", "'schedule.until' must be a time such as 17:00");
    out->zone = zone_load(a, s->time_zone, &why);
    return out->zone || err_field(e, "schedule.time_zone", "%s", why.message);
}

bool opening_is_open(const struct opening *o, int64_t now_ms)
{
    int64_t now_s = now_ms / 1000, local = now_s + zone_offset_s(o->zone, now_s);
    int64_t day = local / 86400 - (local % 86400 < 0);
    int minute = (int)((local - day * 86400) / 60), today = (int)(((day + 4) % 7 + 7) % 7);
    bool begins_today = o->days >> today & 1, began_yesterday = o->days >> (today + 6) % 7 & 1;
    if (o->from_min < o->until_min)
        return begins_today && minute >= o->from_min && minute < o->until_min;
    return (begins_today && minute >= o->from_min) || (began_yesterday && minute < o->until_min);
}

/* ---- all of it ---- */

static bool check_tags(const struct strs *tags, struct err *e)
{
    if (tags->n > MAX_TAGS)
        return err_field(e, "tags", "'tags' may hold %d words", MAX_TAGS);
    for (size_t i = 0; i < tags->n; i++) {
        struct str t = tags->v[i];
        bool ok = t.n > 0 && t.n <= MAX_TAG && str_valid_utf8(t);
        for (size_t k = 0; ok && k < t.n; k++)
            ok = (unsigned char)t.p[k] >= ' ' && t.p[k] != ',' && t.p[k] != 127;
        if (!ok)
            return err_field(e, "tags", "'tags' are words of 1 to %d characters, without commas",
                             MAX_TAG);
        for (size_t k = 0; k < i; k++)
            if (str_eq(tags->v[k], t))
                return err_field(e, "tags", "'tags' names '" STR_FMT "' twice", STR_ARG(t));
    }
    return true;
}

static bool check_log_bodies(struct str s, struct err *e)
{
    return !s.n || str_is(s, "off") || str_is(s, "errors") || str_is(s, "all") ||
           err_field(e, "log_bodies", "'log_bodies' must be off, errors or all, or empty");
}

bool key_policy_check(struct arena *a, const struct key_policy *p, struct err *e)
{
    struct opening ignored;
    for (size_t i = 0; i < p->allowed_ips.n; i++) {
        uint8_t base[CIDR_BYTES];
        unsigned bits;
        if (!cidr_parse(p->allowed_ips.v[i], base, &bits))
            return err_field(e, "allowed_ips",
                             "'allowed_ips' are addresses and ranges: 10.0.0.0/8, 2001:db8::/32");
    }
    return check_tags(&p->tags, e) && check_log_bodies(p->log_bodies, e) &&
           schedule_read(a, &p->schedule, &ignored, e);
}

bool key_policy_read(struct arena *a, yyjson_val *object, struct key_policy *out, struct err *e)
{
    *out = key_policy_none;
    return json_absent(object) ||
           (shape_read(&key_policy_shape, a, object, out, NULL, e) && key_policy_check(a, out, e));
}

static struct str json_of(struct arena *a, const struct shape *s, const void *value)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    shape_write(s, value, &w);
    return str_is(buf_str(&b), "{}") ? STR_NONE : buf_str(&b);
}

struct str key_policy_json(struct arena *a, const struct key_policy *p)
{
    return json_of(a, &key_policy_shape, p);
}

void key_policy_merge(struct key_policy *into, const struct key_policy *from, uint64_t given)
{
    for (size_t i = 0; i < key_policy_shape.n_fields; i++) {
        const struct field *f = &key_policy_shape.fields[i];
        if (given >> i & 1)
            memcpy((char *)into + f->offset, (const char *)from + f->offset, f->size);
    }
}

struct str limits_json(struct arena *a, const struct limits *l)
{
    return json_of(a, &limits_shape, l);
}

bool limits_parse(struct arena *a, struct str json, struct limits *out)
{
    yyjson_val *v;
    *out = (struct limits){0};
    return json.n == 0 ||
           (json_parse(a, json, 4, &v, NULL) && shape_read(&limits_shape, a, v, out, NULL, NULL));
}
