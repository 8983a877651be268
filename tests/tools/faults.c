/* faults.c - a preloaded library that lets system calls of the program under test fail.
 *
 * SLUICE_FAULT names what fails: "<call>:<first>:<every>:<errno>", as in "connect:3:5:111" - the third call and each
 * fifth after it end in errno 111. Calls are counted only while the first byte of the file SLUICE_FAULT_GATE is not 0,
 * so that a test starts the program in peace; the second byte is set once anything has failed.
 * Several calls may be named, with commas between. An errno below 0 is no failure but so many milliseconds of waiting.
 * Only sockets are touched by the socket calls, only regular files by the file calls: never each other's. "file_write" is write()
 * on a regular file (not standard output), "open" one that may write.
 *
 * SLUICE_CLOCK names a file that holds a number of seconds (64 bits): the wall clock is that much off, from one moment to the next.
 *
 * "*:1:1:0" leaves the choice to the file: the third byte says whether all calls from the first on fail or that one only; from byte 4
 * on stand <first> (32 bits), the calls counted so far, the errno, and the names, so that one process is tried with every call in turn. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct choice {
    unsigned char is_open, has_failed, goes_on, unused;
    unsigned first;
    atomic_uint count;
    int error_number;
    char call[112];
};
static volatile unsigned char *gate;
static struct choice *choice; /* NULL: the environment has chosen */
static char wanted[128];
static long first = 1, every = 1;
static int error_number = EIO;
static atomic_long count;
static volatile int64_t *clock_offset_s;

__attribute__((constructor)) static void begin_clock(void)
{
    const char *path = getenv("SLUICE_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd == -1)
        return;
    void *p = mmap(NULL, sizeof *clock_offset_s, PROT_READ, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (p != MAP_FAILED)
        clock_offset_s = p;
}

__attribute__((constructor)) static void begin(void)
{
    const char *what = getenv("SLUICE_FAULT"), *path = getenv("SLUICE_FAULT_GATE");
    if (!what || !path ||
        sscanf(what, "%127[^:]:%ld:%ld:%d", wanted, &first, &every, &error_number) != 4)
        return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd == -1)
        return;
    void *p = mmap(NULL, sizeof *choice, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (p == MAP_FAILED)
        return;
    gate = p;
    if (strcmp(wanted, "*") == 0)
        choice = p;
}

static int is_kind(int fd, mode_t kind)
{
    struct stat st;
    int saved = errno, yes = fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == kind;
    errno = saved;
    return yes;
}

static int is_named(const char *call)
{
    const char *names = choice ? choice->call : wanted;
    size_t n = strlen(call);
    for (const char *at = names; (at = strstr(at, call)) != NULL; at += n)
        if ((at == names || at[-1] == ',') && (at[n] == '\0' || at[n] == ','))
            return 1;
    return 0;
}

/* True when this call, of those that are counted, has to fail; errno is set then. */
static int is_its_turn(void)
{
    if (choice) {
        unsigned n = atomic_fetch_add(&choice->count, 1) + 1;
        if (n < choice->first || (n > choice->first && !choice->goes_on))
            return 0;
        error_number = choice->error_number;
    } else {
        long n = atomic_fetch_add(&count, 1) + 1;
        if (n < first || (n - first) % every != 0)
            return 0;
    }
    gate[1] = 1;
    if (error_number < 0) {
        (void)usleep((useconds_t)-error_number * 1000);
        return 0;
    }
    errno = error_number;
    return 1;
}

static int fails(const char *call, int fd, mode_t kind)
{
    if (!gate || !gate[0] || !is_named(call) || !is_kind(fd, kind) || !is_its_turn())
        return 0;
    if (kind == S_IFSOCK && (error_number == EPIPE || error_number == ECONNRESET)) {
        (void)shutdown(fd, SHUT_RDWR); /* these two never come from a connection that goes on */
        errno = error_number;
    }
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define STAND_IN(type, name, parameters, arguments, fd, kind)      \
    type name parameters                                           \
    {                                                              \
        static __typeof__(&name) real;                             \
        if (!real)                                                 \
            real = REAL(name);                                     \
        return fails(#name, fd, kind) ? (type)-1 : real arguments; \
    }

STAND_IN(int, connect, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n), fd, S_IFSOCK)
STAND_IN(int, accept4, (int fd, struct sockaddr *a, socklen_t *n, int f), (fd, a, n, f), fd,
         S_IFSOCK)
STAND_IN(ssize_t, read, (int fd, void *p, size_t n), (fd, p, n), fd, S_IFSOCK)
STAND_IN(ssize_t, recv, (int fd, void *p, size_t n, int f), (fd, p, n, f), fd, S_IFSOCK)
STAND_IN(ssize_t, recvmsg, (int fd, struct msghdr *m, int f), (fd, m, f), fd, S_IFSOCK)
STAND_IN(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), fd, S_IFSOCK)
STAND_IN(ssize_t, send, (int fd, const void *p, size_t n, int f), (fd, p, n, f), fd, S_IFSOCK)
STAND_IN(ssize_t, sendmsg, (int fd, const struct msghdr *m, int f), (fd, m, f), fd, S_IFSOCK)

/* What asks the kernel directly: sending and receiving do. */
long syscall(long number, ...)
{
    static long (*real)(long, ...);
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (!real)
        real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    if ((number == SYS_sendto || number == SYS_sendmsg) && fails("send", (int)a[0], S_IFSOCK))
        return -1;
    if (number == SYS_recvfrom && fails("recv", (int)a[0], S_IFSOCK))
        return -1;
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

STAND_IN(ssize_t, pwrite64, (int fd, const void *p, size_t n, off64_t o), (fd, p, n, o), fd,
         S_IFREG)
STAND_IN(ssize_t, pread64, (int fd, void *p, size_t n, off64_t o), (fd, p, n, o), fd, S_IFREG)
STAND_IN(int, fsync, (int fd), (fd), fd, S_IFREG)
STAND_IN(int, fdatasync, (int fd), (fd), fd, S_IFREG)
STAND_IN(int, ftruncate64, (int fd, off64_t n), (fd, n), fd, S_IFREG)

/* What is no call on a descriptor, or on one of either kind. */
ssize_t write(int fd, const void *p, size_t n)
{
    static __typeof__(&write) real;
    if (!real)
        real = REAL(write);
    return fails("write", fd, S_IFSOCK) || (fd > 2 && fails("file_write", fd, S_IFREG))
               ? -1
               : real(fd, p, n);
}

static int path_fails(const char *call, const char *path)
{
    struct stat st;
    int saved = errno, is_special = stat(path, &st) == 0 && !S_ISREG(st.st_mode);
    errno = saved;
    return gate && gate[0] && !is_special && is_named(call) && is_its_turn();
}

#define OPEN(name)                                                                     \
    int name(const char *path, int flags, ...)                                         \
    {                                                                                  \
        static int (*real)(const char *, int, ...);                                    \
        va_list list;                                                                  \
        va_start(list, flags);                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;        \
        va_end(list);                                                                  \
        if (!real)                                                                     \
            real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name);           \
        return (flags & (O_WRONLY | O_RDWR)) && path_fails("open", path) ? -1          \
                                                                         : real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

int rename(const char *from, const char *to)
{
    static __typeof__(&rename) real;
    if (!real)
        real = REAL(rename);
    return path_fails("rename", from) ? -1 : real(from, to);
}

/* SLUICE_NAMES "name=address,address" stands before every other source of addresses, in this order. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    static __typeof__(&getaddrinfo) real;
    const char *names = getenv("SLUICE_NAMES");
    size_t n = node ? strlen(node) : 0;
    if (!real)
        real = REAL(getaddrinfo);
    if (!names || !n || strncmp(names, node, n) != 0 || names[n] != '=')
        return real(node, service, hints, out);
    char list[256], *save, *at;
    (void)snprintf(list, sizeof list, "%s", names + n + 1);
    for (at = strtok_r(list, ",", &save); at; at = strtok_r(NULL, ",", &save)) {
        int rc = real(at, service, hints, out);
        if (rc != 0)
            return rc;
        while (*out)
            out = &(*out)->ai_next;
    }
    return 0;
}

int socket(int domain, int type, int protocol)
{
    static __typeof__(&socket) real;
    if (!real)
        real = REAL(socket);
    int fd = real(domain, type, protocol);
    if (fd != -1 && fails("socket", fd, S_IFSOCK)) {
        int saved = errno;
        (void)close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    static __typeof__(&clock_gettime) real;
    if (!real)
        real = REAL(clock_gettime);
    int rc = real(id, t);
    if (rc == 0 && id == CLOCK_REALTIME && clock_offset_s)
        t->tv_sec += *clock_offset_s;
    return rc;
}
