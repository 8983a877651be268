/* precondition.c - ETag, If-None-Match and If-Match (RFC 9110, 8.8 and 13) of objects of the control plane. */
#include "api/control.h"

/* Of the object in a snapshot; STR_NONE: it is not there. */
static struct str tag_in(struct control_call *c, const struct snapshot *s, struct str name)
{
    struct buf b;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    return c->represent(c, s, name, &b) ? seal_tag(c->control->seal, c->arena, buf_str(&b))
                                        : STR_NONE;
}

/* Whether the tag is one of a list such as "a", W/"b". Weak ones count for reading only. */
static bool is_listed(struct str list, struct str tag, bool weak_counts)
{
    while (list.n) {
        struct str one;
        list = str_cut(list, ',', &one);
        one = str_trim(one);
        if (str_is(one, "*"))
            return tag.n > 0;
        if (weak_counts && str_starts(one, STR("W/")))
            one = str_skip(one, 2);
        if (tag.n && str_eq(one, tag))
            return true;
    }
    return false;
}

bool control_has_tag(struct control_call *c, struct str tag)
{
    struct str none_match = control_head(c, "if-none-match");
    return c->row->method == HTTP_GET && !c->row->is_live && none_match.n &&
           is_listed(none_match, tag, true);
}

bool control_reply_tagged(struct control_call *c, int status, const struct shape *s,
                          const void *value, const struct snapshot *in, struct str name)
{
    struct str tag = tag_in(c, in, name);
    control_header(c, STR("etag"), tag);
    if (control_has_tag(c, tag)) {
        c->status = 304;
        return true;
    }
    return control_reply(c, status, s, value);
}

bool control_matches(struct control_call *c, const struct snapshot *now, struct err *e)
{
    struct str wanted = control_head(c, "if-match"), unwanted = control_head(c, "if-none-match");
    if ((!wanted.p && !unwanted.p) || !c->represent)
        return true;
    struct str tag = tag_in(c, now, c->represented);
    if (wanted.p && !is_listed(wanted, tag, false)) /* an empty one lists no tag: it fits nothing */
        err_set(e, ERR_CONFLICT, "precondition_failed",
                "'" STR_FMT "' is not what it was when it was read: read it again",
                STR_ARG(str_first(c->represented, 200)));
    else if (is_listed(unwanted, tag, true))
        err_set(e, ERR_CONFLICT, "precondition_failed", "'" STR_FMT "' is there already",
                STR_ARG(str_first(c->represented, 200)));
    else
        return true;
    e->status = 412;
    return false;
}
