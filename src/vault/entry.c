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
    return json_text_with(a, object, str_of(member), str_cat(a, STR(MARK), base64_encode(a, blob)));
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
    *out = json_text_with(a, object, str_of(member), secret_reveal(opened));
    return true;
}
