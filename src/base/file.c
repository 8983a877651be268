#include "base/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_PAUSE_MS 5
#define DRAFT ".new-" /* and the number of the process */

bool file_read(struct arena *a, const char *path, size_t max, struct str *out, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return err_set(e, ERR_NOT_FOUND, "no_file", "cannot open '%s': there is no such file",
                       path);
    if (fd < 0)
        return err_errno(e, "cannot open", path);
    bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size <= max;
    if (!ok) {
        (void)close(fd);
        return err_set(e, ERR_INPUT, "invalid_file",
                       "'%s' is not a regular file of at most %zu bytes", path, max);
    }
    char *p = arena_alloc(a, (size_t)st.st_size + 1);
    size_t n = 0;
    while (n < (size_t)st.st_size) {
        ssize_t got = read(fd, p + n, (size_t)st.st_size - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            ok = err_errno(e, "cannot read", path);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    (void)close(fd);
    *out = str_n(p, n);
    return ok;
}

/* The file itself behind symbolic links; the path as it is when there is none yet. */
static bool resolve(char out[static 4096], const char *path, struct err *e)
{
    char real[PATH_MAX];
    const char *name = realpath(path, real) ? real : path;
    return snprintf(out, 4096, "%s", name) < 4096 ||
           err_set(e, ERR_INPUT, "path_too_long", "path too long: '%s'", path);
}

static void folder_of(char out[static 4096], const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    (void)snprintf(out, 4096, "%.*s", slash && n ? (int)n : 1, slash ? path : ".");
}

bool file_is_writable(const char *path)
{
    char real[4096], folder[4096];
    struct stat st;
    if (!resolve(real, path, NULL))
        return false;
    folder_of(folder, real);
    return stat(real, &st) == 0 && (st.st_mode & 0222) != 0 && access(real, W_OK) == 0 &&
           access(folder, W_OK) == 0;
}

static bool write_all(int fd, struct str data)
{
    while (data.n) {
        ssize_t n = write(fd, data.p, data.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        data = str_skip(data, (size_t)n);
    }
    return true;
}

/* As the file that it replaces; a new one is for its owner alone. Another owner is kept where we may give files away. */
static bool keep_mode(int fd, const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return errno == ENOENT && fchmod(fd, 0600) == 0;
    if (fchown(fd, st.st_uid, st.st_gid) != 0 && errno != EPERM)
        return false;
    return fchmod(fd, st.st_mode & 07777) == 0;
}

bool file_prepare(struct file_draft *d, const char *path, struct str data, struct err *e)
{
    d->tmp[0] = '\0';
    if (!resolve(d->path, path, e))
        return false;
    if (snprintf(d->tmp, sizeof d->tmp, "%.4080s" DRAFT "%ld", d->path, (long)getpid()) >=
        (int)sizeof d->tmp)
        return err_set(e, ERR_INPUT, "path_too_long", "path too long: '%s'", path);
    (void)unlink(d->tmp); /* of a process of this number that died here */
    int fd = open(d->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        err_errno(e, "cannot create", d->tmp);
        d->tmp[0] = '\0';
        return false;
    }
    bool ok = write_all(fd, data) && keep_mode(fd, d->path) && fsync(fd) == 0;
    if (!ok)
        err_errno(e, "cannot write", d->tmp);
    (void)close(fd);
    if (!ok)
        file_discard(d);
    return ok;
}

bool file_commit(struct file_draft *d, struct err *e)
{
    char folder[4096];
    if (rename(d->tmp, d->path) != 0) {
        err_errno(e, "cannot replace", d->path);
        file_discard(d);
        return false;
    }
    d->tmp[0] = '\0';
    folder_of(folder, d->path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* the name is only then on the disk; a file system that knows no such thing has done what it can */
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
    return true;
}

void file_discard(struct file_draft *d)
{
    if (d->tmp[0])
        (void)unlink(d->tmp);
    d->tmp[0] = '\0';
}

/* Drafts that a killed process left beside the file, with whole configurations in them. Whoever holds the lock is the only one
 * who has a draft, so every one that is there is such a one. */
static bool find_drafts(const char *real, bool removes)
{
    bool is_any = false;
    char folder[4096], one[4096 + 300];
    const char *slash = strrchr(real, '/'), *name = slash ? slash + 1 : real;
    size_t n = strlen(name);
    folder_of(folder, real);
    DIR *d = opendir(folder);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        struct str rest = str_of(entry->d_name);
        int64_t process;
        if (!str_starts(rest, str_n(name, n)) || !str_starts(str_skip(rest, n), STR(DRAFT)) ||
            !str_to_int(str_skip(rest, n + strlen(DRAFT)), &process))
            continue;
        is_any = true;
        (void)snprintf(one, sizeof one, "%s/%s", folder, entry->d_name);
        if (removes)
            (void)unlink(one);
    }
    if (d)
        (void)closedir(d);
    return is_any;
}

bool file_has_drafts(const char *path)
{
    char real[4096];
    struct err why = ERR_INIT;
    return resolve(real, path, &why) && find_drafts(real, false);
}

int file_lock(const char *path, int wait_ms, struct err *e)
{
    char real[4096], name[4096 + 8];
    if (!resolve(real, path, NULL))
        return -1;
    (void)snprintf(name, sizeof name, "%s.lock", real);
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -1;
    for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited += LOCK_PAUSE_MS) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            (void)close(fd);
            return -1; /* a file system without locks */
        }
        if (waited >= wait_ms) {
            (void)close(fd);
            err_set(e, ERR_OVERLOADED, "config_locked", "Another program holds '%s': try again",
                    name);
            return -2;
        }
        const struct timespec pause = {0, LOCK_PAUSE_MS * 1000000};
        (void)nanosleep(&pause, NULL);
    }
    (void)find_drafts(real, true);
    return fd;
}

void file_unlock(int fd)
{
    if (fd >= 0)
        (void)close(fd); /* the file stays: removing it would let two hold it */
}
