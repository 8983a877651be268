#include "domain/proxy.h"
#include "base/codec.h"
#include "http/http.h"

bool proxy_is_name(struct str said)
{
    return said.n && !str_contains(said, STR("://"));
}

#define WHAT_IT_IS \
    "'proxy' must be an address (http://, socks5://), or the name of a proxy that there is"

bool proxy_unknown(struct str said, struct err *e)
{
    return str_contains(said, STR("@"))
               ? err_field(e, "proxy", WHAT_IT_IS) /* an address without its scheme: a secret */
               : err_field(e, "proxy", WHAT_IT_IS ", not '" STR_FMT "'",
                           STR_ARG(str_first(said, 100)));
}

static bool check_url(struct arena *a, const char *field, struct str url, struct err *e)
{
    static const char *const schemes[] = {"http", "https", "socks5", "socks5h"};
    struct err why = ERR_INIT;
    struct url parts;
    size_t at = 0;
    if (!url_parse(a, url, &parts, &why))
        return err_field(e, field, "'%s': %s", field, why.message);
    while (at < ARRAY_LEN(schemes) && !str_eq_nocase(parts.scheme, str_of(schemes[at])))
        at++;
    return at < ARRAY_LEN(schemes) ||
           err_field(e, field, "'%s' must begin with http://, https://, socks5:// or socks5h://",
                     field);
}

bool proxy_check_url(struct arena *a, struct str url, struct err *e)
{
    return check_url(a, "url", url, e);
}

bool proxy_check(struct arena *a, struct str said, struct err *e)
{
    if (!said.n || str_contains(said, STR("${")))
        return true;
    return proxy_is_name(said) ? !str_contains(said, STR("@")) || proxy_unknown(said, e)
                               : check_url(a, "proxy", said, e);
}

bool proxy_known(struct arena *a, const struct snapshot *s, struct str said, struct err *e)
{
    bool is_name = proxy_is_name(said) && !str_contains(said, STR("${"));
    return proxy_check(a, said, e) && (!is_name || proxy_find(s, said) || proxy_unknown(said, e));
}

static const struct shape proxy_shape = SHAPE(
    struct proxy, FIELD(struct proxy, id, 0, "Name for machines"),
    FIELD(struct proxy, url, REQUIRED | NOT_EMPTY, "Its address, with credentials if need be"),
    FIELD_TEXT(struct proxy, region, 0, 64, 0, "Where it stands, for people"),
    FIELD_TEXT(struct proxy, notes, 0, 1000, 0, "For people"),
    FIELD(struct proxy, kinds, 0, "Providers of these go through it unless they say otherwise"));

bool proxy_read(struct arena *a, struct str name, yyjson_val *v, struct proxy *out, struct err *e)
{
    *out = (struct proxy){.name = name};
    if (name.n == 0 || name.n > 200 || !proxy_is_name(name))
        return err_field(e, "name", "a proxy's name must have 1 to 200 characters and no '://'");
    if (!yyjson_is_obj(v))
        return err_field(e, "", "a proxy must be an object with 'url'");
    if (!shape_read(&proxy_shape, a, v, out, NULL, e) ||
        (!str_contains(out->url, STR("${")) && !proxy_check_url(a, out->url, e)))
        return false;
    if (!out->id.n) /* the same for the same name */
        out->id = uuid_of(a, str_cat(a, STR("proxy "), name));
    return true;
}

const struct proxy *proxy_find(const struct snapshot *s, struct str name)
{
    for (size_t i = 0; i < s->n_proxies; i++)
        if (str_eq(s->proxies[i]->name, name))
            return s->proxies[i];
    return NULL;
}

const struct proxy *proxy_of_kind(const struct snapshot *s, const struct upstream *u)
{
    for (size_t i = 0; i < s->n_proxies; i++)
        for (size_t k = 0; k < s->proxies[i]->kinds.n; k++) {
            struct str kind = s->proxies[i]->kinds.v[k];
            if (str_eq(kind, str_of(u->kind->id)) || (u->pool.n && str_eq(kind, u->pool)))
                return s->proxies[i];
        }
    return NULL;
}
