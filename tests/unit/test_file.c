#include "base/file.h"
#include "unit/state_kit.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct str content(struct arena *a, const char *path)
{
    struct str s;
    struct err e = ERR_INIT;
    ck_assert_msg(file_read(a, path, 1 << 20, &s, &e), "%s", e.message);
    return s;
}

START_TEST(a_file_is_replaced_through_its_link_with_its_mode)
{
    char file[PATH_SIZE], link[PATH_SIZE];
    struct file_draft d;
    struct stat st;
    struct err e = ERR_INIT;
    struct arena *a = arena_new();
    state_write("real", "old");
    state_path(file, "real");
    state_path(link, "link");
    ck_assert_int_eq(chmod(file, 0640), 0);
    ck_assert_int_eq(symlink("real", link), 0);
    ck_assert(file_prepare(&d, link, STR("new"), &e));
    check_text(content(a, link), "old"); /* not before the second step */
    ck_assert(file_commit(&d, &e));
    check_text(content(a, file), "new");
    ck_assert(lstat(link, &st) == 0 && S_ISLNK(st.st_mode));
    ck_assert(stat(file, &st) == 0 && (st.st_mode & 07777) == 0640);
    ck_assert(file_prepare(&d, link, STR("unwanted"), &e));
    char tmp[sizeof d.tmp];
    (void)snprintf(tmp, sizeof tmp, "%s", d.tmp);
    file_discard(&d);
    check_text(content(a, file), "new");
    ck_assert(access(tmp, F_OK) != 0);
    arena_free(a);
}
END_TEST

START_TEST(what_is_no_file_is_refused)
{
    char path[PATH_SIZE];
    struct str s;
    struct file_draft d;
    struct arena *a = arena_new();
    struct err e = ERR_INIT;
    state_path(path, "missing");
    ck_assert(!file_read(a, path, 100, &s, &e));
    ck_assert_int_eq(e.kind, ERR_NOT_FOUND);
    err_clear(&e);
    ck_assert(!file_read(a, state_folder(), 100, &s, &e));
    ck_assert_str_eq(e.code, "invalid_file");
    state_write("large", "0123456789");
    state_path(path, "large");
    err_clear(&e);
    ck_assert(!file_read(a, path, 9, &s, &e));
    ck_assert(file_read(a, path, 10, &s, &e));
    state_path(path, "no/such/folder");
    ck_assert(!file_prepare(&d, path, STR("x"), &e));
    arena_free(a);
}
END_TEST

START_TEST(a_file_without_write_permission_is_left_alone)
{
    char path[PATH_SIZE];
    state_write("fixed", "x");
    state_path(path, "fixed");
    ck_assert(file_is_writable(path));
    ck_assert_int_eq(chmod(path, 0444), 0);
    ck_assert(!file_is_writable(path)); /* for root too */
    state_path(path, "missing");
    ck_assert(!file_is_writable(path));
}
END_TEST

START_TEST(one_holds_the_lock_at_a_time)
{
    char path[PATH_SIZE];
    struct err e = ERR_INIT;
    state_write("shared", "x");
    state_path(path, "shared");
    int first = file_lock(path, 1000, &e);
    ck_assert_int_ge(first, 0);
    ck_assert_int_eq(file_lock(path, 10, &e), -2);
    ck_assert_str_eq(e.code, "config_locked");
    file_unlock(first);
    first = file_lock(path, 1000, &e);
    ck_assert_int_ge(first, 0);
    file_unlock(first);
    ck_assert_int_eq(file_lock("/proc/self/none", 10, &e), -1);
    file_unlock(-1);
}
END_TEST

UNIT_MAIN("file", a_file_is_replaced_through_its_link_with_its_mode, what_is_no_file_is_refused,
          a_file_without_write_permission_is_left_alone, one_holds_the_lock_at_a_time)
