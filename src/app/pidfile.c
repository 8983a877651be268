/* pidfile.c - the lock says whether a server lives, the number in the file whom to tell: a stale file fools nobody. */
#include "app/pidfile.h"
#include "base/banned.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

static int held = -1; /* one server a process */

static bool path_of(char out[PATH_MAX], const char *data_dir)
{
    return snprintf(out, PATH_MAX, "%s/sluice.pid", data_dir) < PATH_MAX;
}

bool pidfile_take(const char *data_dir, struct err *e)
{
    char path[PATH_MAX], text[32];
    if (!path_of(path, data_dir))
        return err_set(e, ERR_INPUT, "path_too_long", "path too long: '%s'", data_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, "cannot create", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        (void)close(fd);
        return err_set(e, ERR_CONFLICT, "already_running",
                       "another sluice already serves from '%s'", data_dir);
    }
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    bool ok = ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) == n;
    if (!ok) {
        err_errno(e, "cannot write", path);
        (void)close(fd);
        return false;
    }
    held = fd;
    return true;
}

void pidfile_drop(const char *data_dir)
{
    char path[PATH_MAX];
    if (held < 0)
        return;
    if (path_of(path, data_dir))
        (void)unlink(path);
    (void)close(held);
    held = -1;
}

/* The number of the process that holds it; 0: none does. */
static int64_t holder(const char *data_dir)
{
    char path[PATH_MAX], text[32] = {0};
    int64_t pid = 0;
    if (!path_of(path, data_dir))
        return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    bool is_held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    ssize_t n = is_held ? read(fd, text, sizeof text - 1) : 0;
    (void)close(fd);
    return n > 0 && str_to_int(str_trim(str_n(text, (size_t)n)), &pid) && pid > 1 ? pid : 0;
}

bool pidfile_is_held(const char *data_dir)
{
    return holder(data_dir) > 0;
}

bool pidfile_signal(const char *data_dir)
{
    int64_t pid = holder(data_dir);
    return pid > 0 && kill((pid_t)pid, SIGHUP) == 0;
}
