#include "domain/written.h"
#include "base/clock.h"
#include "base/codec.h"
#include "domain/snapshot.h"

const struct word scope_words[] = {
    {"inference", SCOPE_INFERENCE}, {"models", SCOPE_MODELS}, {"admin", SCOPE_ADMIN}, {0}};

static void optional(struct jw *w, const char *name, struct str value)
{
    if (value.n)
        jw_kv_str(w, name, value);
}

bool provider_member_is_more(struct str name)
{
    static const char *const names[] = {"id", "pool", "label", "default_model", "extra", "quirks"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq(name, str_of(names[i])))
            return true;
    return false;
}

bool written_may_refer(const struct str *path, size_t n)
{
    static const char *const names[] = {"type",  "shim",    "base_url", "api_key",
                                        "proxy", "ca_file", "wire",     "api_version"};
    if (n < 2)
        return false;
    if (str_is(path[0], "server"))
        return true;
    if (str_is(path[0], "proxies"))
        return n == 3 && str_is(path[2], "url");
    if (!str_is(path[0], "providers") || n < 3)
        return false;
    for (size_t i = 0; n == 3 && i < ARRAY_LEN(names); i++)
        if (str_eq(path[2], str_of(names[i])))
            return true;
    return n == 4 && str_is(path[2], "headers");
}

/* The members of an object, without its braces: JSON that we wrote ourselves. */
static void members(struct jw *w, struct str object)
{
    if (object.n > 2)
        jw_text(w, object.p + 1, object.n - 2);
}

void provider_write(struct jw *w, const struct provider_row *p, struct str api_key)
{
    jw_object(w);
    optional(w, "type", p->kind);
    optional(w, "base_url", p->base_url);
    optional(w, "api_key", api_key);
    optional(w, "proxy", p->proxy);
    optional(w, "ca_file", p->ca_file);
    optional(w, "wire", p->wire);
    optional(w, "api_version", p->api_version);
    if (p->priority)
        jw_kv_int(w, "priority", p->priority);
    if (p->weight && p->weight != 1)
        jw_kv_int(w, "weight", p->weight);
    if (p->limits.n) {
        jw_key(w, "limits");
        jw_raw(w, p->limits);
    }
    if (!p->is_enabled)
        jw_kv_bool(w, "enabled", false);
    members(w, p->more);
    jw_object_end(w);
}

void model_write(struct jw *w, const struct model_row *m)
{
    jw_object(w);
    jw_key(w, "targets");
    jw_raw(w, m->targets);
    optional(w, "strategy", m->strategy);
    jw_key(w, "capabilities");
    jw_raw(w, m->capabilities);
    if (m->max_output_tokens >= 0)
        jw_kv_int(w, "max_output_tokens", m->max_output_tokens);
    if (m->context_tokens >= 0)
        jw_kv_int(w, "context_tokens", m->context_tokens);
    optional(w, "label", m->label);
    optional(w, "source", m->source);
    if (m->limits.n) {
        jw_key(w, "limits");
        jw_raw(w, m->limits);
    }
    if (m->show_alias)
        jw_kv_bool(w, "show_alias", true);
    if (!m->is_enabled)
        jw_kv_bool(w, "enabled", false);
    jw_object_end(w);
}

static void date(struct jw *w, struct arena *a, const char *name, int64_t ms)
{
    struct buf b;
    if (ms == 0)
        return;
    buf_init_arena(&b, a, 64);
    clock_rfc3339(&b, ms);
    jw_kv_str(w, name, buf_str(&b));
}

/* Its members beside the others. */
static void write_policy(struct jw *w, struct arena *a, struct str policy)
{
    size_t i, max;
    yyjson_val *all, *name, *v;
    if (!policy.n || !json_parse(a, policy, 0, &all, NULL))
        return;
    yyjson_obj_foreach (all, i, max, name, v) {
        jw_key_str(w, json_str(name));
        jw_val(w, v);
    }
}

void key_write(struct jw *w, struct arena *a, const struct key_row *k)
{
    char hex[2 * SHA256_SIZE];
    hex_encode(hex, k->hash, sizeof k->hash);
    jw_object(w);
    jw_kv_str(w, "id", k->id);
    jw_kv_str(w, "hash", str_fmt(a, "sha256:%.64s", hex));
    optional(w, "hint", k->hint);
    if (k->sealed.n)
        jw_kv_str(w, "sealed", base64_encode(a, k->sealed));
    optional(w, "label", k->label);
    date(w, a, "created", k->created_ms);
    date(w, a, "rotated", k->rotated_ms);
    date(w, a, "expires", k->expires_ms);
    jw_key(w, "scopes");
    jw_array(w);
    for (const struct word *s = scope_words; s->text; s++)
        if (k->scopes & s->value)
            jw_cstr(w, s->text);
    jw_array_end(w);
    if (k->allowed_models.n) {
        jw_key(w, "allowed_models");
        jw_raw(w, k->allowed_models);
    }
    write_policy(w, a, k->policy);
    if (!k->is_enabled)
        jw_kv_bool(w, "enabled", false);
    jw_object_end(w);
}

struct str key_written_id(struct arena *a, yyjson_val *element)
{
    struct str id = json_get_str(element, "id"), text = json_get_str(element, "key");
    uint8_t hash[SHA256_SIZE];
    if (id.n)
        return id;
    /* hashed once more with a word before it: what an id shows of a key says nothing about the hash that opens it */
    sha256(str_cat(a, STR("id:"), text.n ? text : json_get_str(element, "hash")), hash);
    char *hex = arena_alloc(a, 9);
    hex_encode(hex, hash, 4);
    return str_n(hex, 8);
}
