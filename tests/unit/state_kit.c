#include "state_kit.h"
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[PATH_SIZE];
static pid_t owner;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void remove_folder(void)
{
    if (getpid() == owner)
        (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *state_folder(void)
{
    if (folder[0]) /* a child uses its parent's */
        return folder;
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(folder, sizeof folder, "%s/sluice-test-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    owner = getpid();
    ck_assert_int_eq(atexit(remove_folder), 0);
    return folder;
}

void state_path(char out[PATH_SIZE], const char *name)
{
    ck_assert_int_lt(snprintf(out, PATH_SIZE, "%s/%s", state_folder(), name), PATH_SIZE);
}

void state_write(const char *name, const char *text)
{
    char path[PATH_SIZE];
    state_path(path, name);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    for (; *text; text++)
        (void)fputc(*text == '\'' ? '"' : *text, f);
    ck_assert_int_eq(fclose(f), 0);
}

struct db *state_db(void)
{
    char path[PATH_SIZE];
    struct err e = ERR_INIT;
    state_path(path, "test.db");
    struct db *db = db_open(path, DB_READ_WRITE, &e);
    ck_assert_msg(db && db_migrate(db, &e), "%s", e.message);
    return db;
}

static bool load(const char *text, struct snapshot **out, struct err *e)
{
    static char file[PATH_SIZE];
    struct config_sources s = {.is_without_store = true, .file = file};
    state_path(file, "sluice.jsonc");
    state_write("sluice.jsonc", text);
    return config_load(&s, out, e);
}

struct snapshot *state_load(const char *text)
{
    struct snapshot *snap = NULL;
    struct err e = ERR_INIT;
    ck_assert_msg(load(text, &snap, &e), "%s", e.message);
    return snap;
}

struct str state_refusal(struct arena *a, const char *text, char field[96])
{
    struct snapshot *snap = NULL;
    struct err e = ERR_INIT;
    ck_assert_msg(!load(text, &snap, &e), "it loads: %s", text);
    if (field)
        memcpy(field, e.field, sizeof e.field);
    return str_dup(a, str_of(e.message));
}
