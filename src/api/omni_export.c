/* omni_export.c - /api/db-backups/exportAll: a copy of the store with readable copies of what is configured, as .tar.gz. The readable copies
 * hold no secrets; the copy of the store holds what it holds, as /api/db-backups/export. */
#include "api/change.h"
#include "api/omni_usage.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/file.h"
#include "domain/audit.h"
#include <sys/stat.h>
#include <unistd.h>
#define ZLIB_CONST
#include <zlib.h>

#define MOST (60u << 20) /* bytes of the store */
#define BLOCK 512

/* ---- tar: POSIX.1-1988, "ustar" ---- */

static void octal(char *to, size_t size, uint64_t v)
{
    (void)snprintf(to, size, "%0*llo", (int)size - 1, (unsigned long long)v);
}

static void add_file(struct buf *tar, const char *name, struct str content, int64_t now_ms)
{
    struct {
        char name[100], mode[8], uid[8], gid[8], size[12], time[12], sum[8], type, link[100];
        char magic[6], version[2], owner[32], group[32], major[8], minor[8], prefix[155], rest[12];
    } head = {.type = '0', .magic = "ustar"};
    static const char zeros[BLOCK];
    unsigned sum = 0;
    _Static_assert(sizeof head == BLOCK, "a header is one block");
    (void)snprintf(head.name, sizeof head.name, "%s", name);
    octal(head.mode, sizeof head.mode, 0600);
    octal(head.uid, sizeof head.uid, 0);
    octal(head.gid, sizeof head.gid, 0);
    octal(head.size, sizeof head.size, content.n);
    octal(head.time, sizeof head.time, (uint64_t)now_ms / 1000);
    memcpy(head.version, "00", 2);
    memset(head.sum, ' ', sizeof head.sum); /* as it counts in the sum itself */
    for (size_t i = 0; i < sizeof head; i++)
        sum += ((const unsigned char *)&head)[i];
    octal(head.sum, 7, sum);
    buf_add(tar, &head, sizeof head);
    buf_str_add(tar, content);
    buf_add(tar, zeros, (BLOCK - content.n % BLOCK) % BLOCK);
}

static bool gzip(struct arena *a, struct str plain, struct buf *out, struct err *e)
{
    z_stream z = {.next_in = (const Bytef *)plain.p, .avail_in = (uInt)plain.n};
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort(); /* no memory */
    size_t most = deflateBound(&z, (uLong)plain.n);
    char *to = arena_alloc(a, most);
    z.next_out = (Bytef *)to;
    z.avail_out = (uInt)most;
    int end = deflate(&z, Z_FINISH);
    size_t n = most - z.avail_out;
    (void)deflateEnd(&z);
    if (end != Z_STREAM_END)
        return err_set(e, ERR_INTERNAL, "compression_failed", "The archive cannot be compressed");
    buf_add(out, to, n);
    return true;
}

/* ---- what is in it ---- */

static bool copy_store(struct control_call *c, struct str *out, struct err *e)
{
    struct db *db = control_db(c, e);
    struct stat st;
    if (!db)
        return false;
    if (stat(str_z(c->arena, c->control->db_path), &st) == 0 && st.st_size > MOST)
        return err_set(e, ERR_TOO_LARGE, "too_large_to_send",
                       "The store is larger than 60 MB: PUT /api/db-backups makes a copy in the "
                       "data folder");
    const char *path = str_z(c->arena,
                             str_fmt(c->arena, STR_FMT "/" STR_FMT, STR_ARG(c->control->data_dir),
                                     STR_ARG(random_id(c->arena, "export_", 16))));
    bool ok = db_copy(db, path, e) && file_read(c->arena, path, MOST, out, e);
    (void)unlink(path);
    return ok;
}

static const struct {
    const char *file, *members[6];
} views[] = {
    {"settings.json", {"server"}},
    {"providers.json", {"providers", "kinds", "proxies"}},
    {"models.json", {"models", "prices"}},
    {"combos.json", {"combos", "chains", "aliases", "policies"}},
    {"tenants.json", {"orgs", "users", "budgets"}},
};

/* Some members of the configuration without their secrets; settings without the keys, which stand apart. */
static struct str view_of(struct arena *a, yyjson_val *root, const char *const *members)
{
    struct buf b;
    size_t i, max;
    yyjson_val *k, *v;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    for (; *members; members++) {
        yyjson_val *all = json_find(root, *members, strlen(*members));
        jw_key_str(&w, str_of(*members));
        jw_object(&w);
        yyjson_obj_foreach (all, i, max, k, v) {
            if (str_is(json_str(k), "api_keys"))
                continue;
            jw_key_str(&w, json_str(k));
            jw_val(&w, v);
        }
        jw_object_end(&w);
    }
    jw_object_end(&w);
    return audit_masked(a, buf_str(&b));
}

/* Client keys without what could open anything, or be compared with what does. */
static struct str keys_view(struct arena *a, yyjson_val *root)
{
    struct buf b;
    size_t i, max, j, n;
    yyjson_val *one, *k, *v;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_array(&w);
    yyjson_arr_foreach (json_get(json_get(root, "server"), "api_keys"), i, max, one) {
        jw_object(&w);
        yyjson_obj_foreach (one, j, n, k, v) {
            struct str name = json_str(k);
            if (str_is(name, "key") || str_is(name, "hash") || str_is(name, "sealed"))
                continue;
            jw_key_str(&w, name);
            jw_val(&w, v);
        }
        jw_object_end(&w);
    }
    jw_array_end(&w);
    return audit_masked(a, buf_str(&b));
}

static bool export_all(struct control_call *c, struct err *e)
{
    int64_t now = clock_wall_ms();
    struct str at = omni_iso(c->arena, now), store;
    struct buf tar;
    yyjson_val *root;
    static const char end[2 * BLOCK];
    if (!change_view(c, &root, e) || !copy_store(c, &store, e))
        return false;
    buf_init_arena(&tar, c->arena, SIZE_MAX / 4);
    add_file(&tar, "storage.sqlite", store, now);
    for (size_t i = 0; i < ARRAY_LEN(views); i++)
        add_file(&tar, views[i].file, view_of(c->arena, root, views[i].members), now);
    add_file(&tar, "api-keys.json", keys_view(c->arena, root), now);
    add_file(&tar, "metadata.json",
             str_fmt(c->arena, "{\"exportedAt\":\"" STR_FMT "\",\"application\":\"sluice\"}",
                     STR_ARG(at)),
             now);
    buf_add(&tar, end, sizeof end);
    if (!gzip(c->arena, buf_str(&tar), &c->out, e))
        return false;
    control_audit(c, "backup", STR("export"), STR_NONE, STR_NONE);
    c->content_type = "application/gzip";
    control_header(c, STR("content-disposition"),
                   str_fmt(c->arena, "attachment; filename=\"sluice_%.10s.tar.gz\"", at.p));
    return true;
}

/* clang-format off */
const struct endpoint omni_export_endpoints[] = {
    { HTTP_GET, "/api/db-backups/exportAll", SURFACE_OMNIROUTE, ACCESS_OWNER, "Download a copy of the store with readable copies of the configuration", .on_worker = export_all, .leaves_trail = true, .media = "application/gzip" },
    {0},
};
/* clang-format on */
