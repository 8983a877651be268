#include "vault/entry.h"
#include "base/codec.h"
#include "json/json.h"

#define MARK "sealed:"    /* before the blob, in base64 */
#define ADDRESS "address" /* what one by itself is bound to */

static const struct {
    const char *section, *member;
} sealed_members[] = {{"proxies", "url"}};

static const char *member_of(const char *section)
{
    for (size_t i = 0; i < ARRAY_LEN(sealed_members); i++)
        if (strcmp(sealed_members[i].section, section) == 0)
            return sealed_members[i].member;
    return NULL;
}

static struct str wrapped(const struct seal *s, struct arena *a, struct str text,
                          struct str bound_to)
{
    return str_cat(a, STR(MARK), base64_encode(a, seal_wrap(s, a, secret_of(text), bound_to)));
}

/* kept begins with the mark. */
static bool unwrapped(const struct seal *s, struct arena *a, struct str kept, struct str bound_to,
                      struct str *out, struct err *e)
{
    struct str blob;
    struct secret opened;
    if (!base64_decode(a, str_skip(kept, sizeof MARK - 1), &blob))
        return err_set(e, ERR_INTERNAL, "unseal_failed",
                       "A sealed text of '" STR_FMT "' is damaged", STR_ARG(bound_to));
    if (!seal_unwrap(s, a, blob, bound_to, &opened, e))
        return false;
    *out = secret_reveal(opened);
    return true;
}

static bool find(struct arena *a, const char *section, struct str body, yyjson_val **object,
                 struct str *text, const char **member)
{
    *member = member_of(section);
    if (!*member || !json_parse(a, body, 16, object, NULL))
        return false;
    *text = json_str(json_find(*object, *member, strlen(*member)));
    return text->n > 0;
}

struct str entry_sealed(const struct seal *s, struct arena *a, const char *section, struct str body)
{
    yyjson_val *object;
    struct str text;
    const char *member;
    if (!find(a, section, body, &object, &text, &member))
        return body;
    return json_text_with(a, object, str_of(member), wrapped(s, a, text, str_of(section)));
}

bool entry_opened(const struct seal *s, struct arena *a, const char *section, struct str body,
                  struct str *out, struct err *e)
{
    yyjson_val *object;
    struct str text;
    const char *member;
    *out = body;
    if (!find(a, section, body, &object, &text, &member) || !str_starts(text, STR(MARK)))
        return true;
    if (!unwrapped(s, a, text, str_of(section), &text, e))
        return false;
    *out = json_text_with(a, object, str_of(member), text);
    return true;
}

struct str address_sealed(const struct seal *s, struct arena *a, struct str address)
{
    return str_contains(address, STR("@")) ? wrapped(s, a, address, STR(ADDRESS)) : address;
}

bool address_opened(const struct seal *s, struct arena *a, struct str kept, struct str *out,
                    struct err *e)
{
    *out = kept;
    return !str_starts(kept, STR(MARK)) || unwrapped(s, a, kept, STR(ADDRESS), out, e);
}
