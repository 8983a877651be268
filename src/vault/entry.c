#include "vault/entry.h"
#include "base/codec.h"
#include "json/json.h"

#define MARK "sealed:" /* before the blob, in base64 */

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

/* The object with one string in another's place. */
static struct str with_member(struct arena *a, yyjson_val *object, const char *member,
                              struct str text)
{
    struct buf b;
    size_t i, max;
    yyjson_val *k, *v;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    yyjson_obj_foreach (object, i, max, k, v) {
        jw_key_str(&w, json_str(k));
        if (str_eq(json_str(k), str_of(member)))
            jw_str(&w, text);
        else
            jw_val(&w, v);
    }
    jw_object_end(&w);
    return buf_str(&b);
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
    struct str blob = seal_wrap(s, a, secret_of(text), str_of(section));
    return with_member(a, object, member, str_cat(a, STR(MARK), base64_encode(a, blob)));
}

bool entry_opened(const struct seal *s, struct arena *a, const char *section, struct str body,
                  struct str *out, struct err *e)
{
    yyjson_val *object;
    struct str text, blob;
    struct secret opened;
    const char *member;
    *out = body;
    if (!find(a, section, body, &object, &text, &member) || !str_starts(text, STR(MARK)))
        return true;
    if (!base64_decode(a, str_skip(text, sizeof MARK - 1), &blob))
        return err_set(e, ERR_INTERNAL, "unseal_failed", "A sealed member of '%s' is damaged",
                       section);
    if (!seal_unwrap(s, a, blob, str_of(section), &opened, e))
        return false;
    *out = with_member(a, object, member, secret_reveal(opened));
    return true;
}
