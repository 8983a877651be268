#include "vault/seal.h"
#include "base/codec.h"
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG crypto_aead_xchacha20poly1305_ietf_ABYTES

static bool read_key(struct seal *s, const char *path, struct err *e)
{
    struct stat st;
    char text[2 * SEAL_KEY_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "cannot open", path);
    ssize_t n = read(fd, text, sizeof text);
    bool is_private = fstat(fd, &st) == 0 && (st.st_mode & 077) == 0;
    (void)close(fd);
    bool ok = n == (ssize_t)sizeof text && hex_decode(s->key, str_n(text, sizeof text));
    sodium_memzero(text, sizeof text);
    if (!ok)
        return err_set(e, ERR_INPUT, "invalid_master_key",
                       "'%s' does not hold a master key (64 hex digits)", path);
    return is_private || err_set(e, ERR_INPUT, "master_key_exposed",
                                 "'%s' is readable by others: chmod 600 it", path);
}

static bool make_key(const char *path, struct err *e)
{
    uint8_t key[SEAL_KEY_BYTES];
    char text[2 * SEAL_KEY_BYTES + 1];
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        /* another process was first */
        return errno == EEXIST || err_errno(e, "cannot create", path);
    random_bytes(key, sizeof key);
    hex_encode(text, key, sizeof key);
    text[sizeof text - 1] = '\n';
    bool ok = write(fd, text, sizeof text) == (ssize_t)sizeof text && fsync(fd) == 0;
    if (!ok) {
        err_errno(e, "cannot write", path);
        (void)unlink(path);
    }
    (void)close(fd);
    sodium_memzero(key, sizeof key);
    sodium_memzero(text, sizeof text);
    return ok;
}

bool seal_is_given(const char *data_dir)
{
    char path[4096];
    const char *given = getenv("SLUICE_MASTER_KEY");
    return (given && given[0]) ||
           (snprintf(path, sizeof path, "%s/master.key", data_dir) < (int)sizeof path &&
            access(path, F_OK) == 0);
}

bool seal_open(struct seal *s, const char *data_dir, struct err *e)
{
    char path[4096];
    const char *given = getenv("SLUICE_MASTER_KEY");
    if (given && given[0])
        return (strlen(given) == 2 * SEAL_KEY_BYTES && hex_decode(s->key, str_of(given))) ||
               err_set(e, ERR_INPUT, "invalid_master_key",
                       "SLUICE_MASTER_KEY must be 64 hex digits");
    if (snprintf(path, sizeof path, "%s/master.key", data_dir) >= (int)sizeof path)
        return err_set(e, ERR_INPUT, "path_too_long", "path too long: '%s'", data_dir);
    return (access(path, F_OK) == 0 || make_key(path, e)) && read_key(s, path, e);
}

void seal_close(struct seal *s)
{
    sodium_memzero(s->key, sizeof s->key);
}

struct str seal_wrap(const struct seal *s, struct arena *a, struct secret plain,
                     struct str bound_to)
{
    struct str text = secret_reveal(plain);
    unsigned char *blob = arena_alloc(a, NONCE + text.n + TAG);
    unsigned long long n;
    random_bytes(blob, NONCE);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(
        blob + NONCE, &n, (const unsigned char *)text.p, text.n, (const unsigned char *)bound_to.p,
        bound_to.n, NULL, blob, s->key);
    return str_n((const char *)blob, NONCE + (size_t)n);
}

bool seal_unwrap(const struct seal *s, struct arena *a, struct str blob, struct str bound_to,
                 struct secret *out, struct err *e)
{
    const unsigned char *b = (const unsigned char *)blob.p;
    unsigned long long n;
    if (blob.n < NONCE + TAG)
        return err_set(e, ERR_INTERNAL, "seal_broken", "A stored secret is damaged");
    unsigned char *text = arena_alloc(a, blob.n);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(text, &n, NULL, b + NONCE, blob.n - NONCE,
                                                   (const unsigned char *)bound_to.p, bound_to.n, b,
                                                   s->key) != 0)
        return err_set(e, ERR_INTERNAL, "seal_broken",
                       "The stored secret of '" STR_FMT
                       "' does not open: wrong master key, or damaged",
                       STR_ARG(bound_to));
    *out = secret_of(str_n((const char *)text, (size_t)n));
    return true;
}

struct str seal_tag(const struct seal *s, struct arena *a, struct str content)
{
    unsigned char hash[crypto_generichash_BYTES_MIN];
    char hex[16];
    (void)crypto_generichash(hash, sizeof hash, (const unsigned char *)content.p, content.n, s->key,
                             sizeof s->key);
    hex_encode(hex, hash, sizeof hex / 2);
    return str_fmt(a, "\"%.16s\"", hex);
}

uint64_t seal_mark(const struct seal *s, const struct str *parts, size_t n)
{
    crypto_generichash_state state;
    unsigned char hash[crypto_generichash_BYTES_MIN];
    uint64_t mark;
    (void)crypto_generichash_init(&state, s->key, sizeof s->key, sizeof hash);
    for (size_t i = 0; i < n; i++) { /* the length first: "ab", "c" is not "a", "bc" */
        const uint64_t size = parts[i].n;
        (void)crypto_generichash_update(&state, (const unsigned char *)&size, sizeof size);
        if (size)
            (void)crypto_generichash_update(&state, (const unsigned char *)parts[i].p, size);
    }
    (void)crypto_generichash_final(&state, hash, sizeof hash);
    memcpy(&mark, hash, sizeof mark);
    return mark ? mark : 1;
}
