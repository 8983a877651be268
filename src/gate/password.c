#include "gate/password.h"
#include "base/banned.h"
#include <sodium/crypto_pwhash_argon2id.h>

static bool hash_to(char out[crypto_pwhash_argon2id_STRBYTES], struct str plain,
                    struct password_cost cost)
{
    return crypto_pwhash_argon2id_str(out, plain.p ? plain.p : "", plain.n,
                                      (unsigned long long)cost.passes,
                                      (size_t)cost.memory_bytes) == 0;
}

bool password_hash(struct arena *a, struct secret plain, struct password_cost cost, struct str *out,
                   struct err *e)
{
    char text[crypto_pwhash_argon2id_STRBYTES];
    struct str p = secret_reveal(plain);
    if (p.n > PASSWORD_MAX)
        return err_field(e, "password", "'password' has more than %d bytes", PASSWORD_MAX);
    if (!hash_to(text, p, cost))
        return err_set(e, ERR_OVERLOADED, "no_memory", "No memory to hash a password: try again");
    *out = str_dup(a, str_of(text));
    return true;
}

bool password_is_right(struct str hash, struct secret plain, struct password_cost cost)
{
    char text[crypto_pwhash_argon2id_STRBYTES] = {0};
    struct str p = secret_reveal(plain);
    if (p.n > PASSWORD_MAX)
        return false;
    if (hash.n == 0 || hash.n >= sizeof text) {
        (void)hash_to(text, p, cost);
        return false;
    }
    memcpy(text, hash.p, hash.n);
    return crypto_pwhash_argon2id_str_verify(text, p.p ? p.p : "", p.n) == 0;
}

bool password_is_stale(struct arena *a, struct str hash, struct password_cost cost)
{
    return crypto_pwhash_argon2id_str_needs_rehash(str_z(a, hash), (unsigned long long)cost.passes,
                                                   (size_t)cost.memory_bytes) != 0;
}
