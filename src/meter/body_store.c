/* body_store.c - bodies/DAY/CLASS-TIME-N: records one after the other, each a head and one deflate stream of the four bodies, which
 * have much in common. Only ever appended to, deleted as a whole. */
#include "meter/body_store.h"
#include "base/clock.h"
#include "base/log.h"
#include "meter/age.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define MAX_QUEUED (64ll << 20)
#define MAX_FILE (64ll << 20)
#define TIDY_MS 60000
#define MARGIN 512 /* bytes of a body that are looked at but not kept */
#define MAX_TOTAL (1u << 30)

const char *const body_names[BODY_N] = {"client-request", "upstream-request", "upstream-response",
                                        "client-response"};

struct head { /* little-endian on disk as in memory: the program runs on no other machines */
    char magic[4];
    uint32_t packed; /* bytes that follow */
    uint32_t crc;    /* of these */
    uint32_t kept[BODY_N];
    uint64_t size[BODY_N];
    char request_id[40];
};
_Static_assert(sizeof(struct head) == 104, "the file format");

struct job {
    struct job *next;
    struct usage_record record;
    struct body_set *bodies; /* NULL: delete everything */
    int64_t bytes;
};

struct file {
    int fd; /* -1: none */
    int64_t at;
    char name[64]; /* below dir */
};

struct body_store {
    char *dir;
    struct usage_log *usage;
    unsigned ring;
    pthread_t thread;
    sem_t wake;
    _Atomic(struct job *) newest; /* pushed by loops, taken as a whole */
    _Atomic int64_t queued;
    _Atomic uint64_t shed;
    atomic_bool is_stopping, is_refused;
    struct age_clock clock; /* the thread's */
    pthread_mutex_t lock;
    struct body_limits limits; /* under lock */
    struct redactor *redactor;
    /* the thread's */
    struct file files[2]; /* of successes, of errors */
    unsigned next_file;
    uint64_t next_tidy_ms;
    int64_t total; /* of all files, when they were looked at last, and written since */
};

void body_set_free(struct body_set *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < BODY_N; i++)
        buf_done(&b->v[i]);
    for (size_t i = 0; i < b->n_secrets; i++) {
        void *p;
        memcpy(&p, &b->secrets[i].p, sizeof p);
        explicit_bzero(p, b->secrets[i].n);
        free(p);
    }
    free(b->secrets);
    free(b);
}

/* ---- the loops' side ---- */

static void push(struct body_store *s, struct job *j)
{
    struct job *was = atomic_load_explicit(&s->newest, memory_order_relaxed);
    do {
        j->next = was;
    } while (!atomic_compare_exchange_weak_explicit(&s->newest, &was, j, memory_order_release,
                                                    memory_order_relaxed));
    (void)sem_post(&s->wake);
}

static struct job *new_job(void)
{
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        abort();
    return j;
}

void body_store_put(struct body_store *s, unsigned loop, const struct usage_record *r,
                    struct body_set *b)
{
    int64_t bytes = (int64_t)sizeof(struct job);
    for (size_t i = 0; i < BODY_N; i++)
        bytes += (int64_t)b->v[i].n;
    if (atomic_load_explicit(&s->queued, memory_order_relaxed) + bytes > MAX_QUEUED ||
        atomic_load_explicit(&s->is_refused, memory_order_relaxed)) {
        atomic_fetch_add_explicit(&s->shed, 1, memory_order_relaxed);
        body_set_free(b);
        usage_log_put(s->usage, loop, r);
        return;
    }
    struct job *j = new_job();
    j->record = *r;
    j->bodies = b;
    j->bytes = bytes;
    atomic_fetch_add_explicit(&s->queued, bytes, memory_order_relaxed);
    push(s, j);
}

void body_store_clear(struct body_store *s)
{
    push(s, new_job());
}

uint64_t body_store_shed(const struct body_store *s)
{
    return atomic_load_explicit(&s->shed, memory_order_relaxed);
}

void body_store_configure(struct body_store *s, const struct body_limits *limits,
                          struct redactor *r)
{
    pthread_mutex_lock(&s->lock);
    struct redactor *was = s->redactor;
    s->limits = *limits;
    s->redactor = redactor_ref(r);
    pthread_mutex_unlock(&s->lock);
    redactor_unref(was);
    (void)sem_post(&s->wake);
}

/* ---- files ---- */

static void close_file(struct file *f)
{
    if (f->fd >= 0)
        (void)close(f->fd);
    f->fd = -1;
}

static bool make_dir(const char *path)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

/* Files go as a whole: the less one holds, the more of the rest may stay. */
static int64_t most_of_file(const struct body_limits *limits)
{
    int64_t part = limits->max_bytes / 8;
    return limits->max_bytes > 0 && part < MAX_FILE ? part : MAX_FILE;
}

/* The file that takes a record of this class, a new one when the day or the old one is full. */
static bool ready_file(struct body_store *s, struct file *f, bool is_error, int64_t most,
                       int64_t now_ms)
{
    struct buf when;
    char day[16], path[4096];
    buf_init(&when, 64);
    clock_rfc3339(&when, now_ms);
    (void)snprintf(day, sizeof day, "%.10s", when.p);
    if (f->fd >= 0 && f->at < most && strncmp(f->name, day, 10) == 0) {
        buf_done(&when);
        return true;
    }
    close_file(f);
    bool ok = make_dir(s->dir) && snprintf(path, sizeof path, "%s/%s", s->dir, day) > 0 &&
              make_dir(path);
    for (int tries = 0; ok && f->fd < 0 && tries < 1000; tries++) {
        (void)snprintf(f->name, sizeof f->name, "%s/%s-%.2s%.2s%.2s-%u", day,
                       is_error ? "error" : "ok", when.p + 11, when.p + 14, when.p + 17,
                       s->next_file++);
        (void)snprintf(path, sizeof path, "%s/%s", s->dir, f->name);
        f->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
        ok = f->fd >= 0 || errno == EEXIST;
    }
    f->at = 0;
    buf_done(&when);
    return f->fd >= 0;
}

static bool write_whole(int fd, const void *p, size_t n)
{
    for (const char *at = p; n > 0;) {
        ssize_t done = write(fd, at, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        at += done;
        n -= (size_t)done;
    }
    return true;
}

/* The same extra with one more member. */
static struct usage_extra *extra_with(struct usage_extra *x, const char *where)
{
    size_t n = (x ? x->n : 2) + strlen(where) + 8;
    struct usage_extra *y = malloc(sizeof *y + n + 1);
    if (!y)
        abort();
    int len = x && x->n > 2
                  ? snprintf(y->text, n + 1, "%.*s,\"b\":\"%s\"}", (int)x->n - 1, x->text, where)
                  : snprintf(y->text, n + 1, "{\"b\":\"%s\"}", where);
    y->n = (size_t)len; /* each apart: text begins inside what would be padding */
    y->is_redacted = false;
    free(x);
    return y;
}

/* ---- what is kept ---- */

struct found {
    char name[64];
    int64_t size, end_ms; /* last written */
};

static int by_age(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    return x->end_ms < y->end_ms ? -1 : x->end_ms > y->end_ms;
}

static struct found *list_files(const char *dir, size_t *n)
{
    struct found *v = NULL;
    size_t cap = 0;
    DIR *days = opendir(dir);
    *n = 0;
    for (struct dirent *day; days && (day = readdir(days));) {
        char path[4096];
        if (day->d_name[0] == '.' || snprintf(path, sizeof path, "%s/%s", dir, day->d_name) < 0)
            continue;
        DIR *in = opendir(path);
        for (struct dirent *one; in && (one = readdir(in));) {
            struct found f;
            struct stat st;
            if (one->d_name[0] == '.' || fstatat(dirfd(in), one->d_name, &st, 0) != 0 ||
                snprintf(f.name, sizeof f.name, "%s/%s", day->d_name, one->d_name) >=
                    (int)sizeof f.name)
                continue;
            f.size = st.st_size;
            f.end_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
            if (*n == cap) {
                cap = cap * 2 + 64;
                struct found *more = realloc(v, cap * sizeof *v);
                if (!more)
                    abort();
                v = more;
            }
            v[(*n)++] = f;
        }
        if (in)
            (void)closedir(in);
    }
    if (days)
        (void)closedir(days);
    if (*n)
        qsort(v, *n, sizeof *v, by_age);
    return v;
}

static void drop_file(struct body_store *s, const char *name)
{
    char path[4096];
    for (size_t i = 0; i < ARRAY_LEN(s->files); i++)
        if (s->files[i].fd >= 0 && strcmp(s->files[i].name, name) == 0)
            close_file(&s->files[i]);
    (void)snprintf(path, sizeof path, "%s/%s", s->dir, name);
    (void)unlink(path);
    *strrchr(path, '/') = 0;
    (void)rmdir(path); /* when it was the day's last */
}

/* most: bytes that all may take, where they are limited. */
static void tidy(struct body_store *s, const struct body_limits *limits, int64_t most,
                 bool drops_all)
{
    size_t n;
    struct found *v = list_files(s->dir, &n);
    int64_t total = 0, now = age_clock_ms(&s->clock, clock_wall_ms(), clock_mono_ms());
    for (size_t i = 0; i < n; i++)
        total += v[i].size;
    for (size_t i = 0; i < n; i++) {
        bool is_error = strstr(v[i].name, "/error-") != NULL;
        bool is_old = limits->days > 0 && v[i].end_ms < now - limits->days * 86400000;
        bool is_gone = v[i].end_ms < usage_log_floor_ms(s->usage, is_error);
        bool is_much = limits->max_bytes > 0 && total > most;
        if (!drops_all && !is_old && !is_gone && !is_much)
            continue;
        drop_file(s, v[i].name);
        total -= v[i].size;
    }
    s->total = total;
    free(v);
}

static void make_room(struct body_store *s, const struct body_limits *limits, int64_t bytes)
{
    if (limits->max_bytes > 0 && s->total + bytes > limits->max_bytes)
        tidy(s, limits, limits->max_bytes - bytes, false);
}

enum written {
    WRITTEN,
    WRITE_FAILED,
    TOO_LARGE /* alone more than all may take */
};

/* Appends the record; where says how to find it. */
static enum written write_bodies(struct body_store *s, const struct job *j, struct redactor *r,
                                 const struct body_limits *limits, char where[96])
{
    struct head h = {.magic = "SLB1"};
    struct buf all;
    buf_init(&all, MAX_TOTAL);
    for (size_t i = 0; i < BODY_N; i++) {
        size_t from = all.n;
        redact(r, buf_str(&j->bodies->v[i]), j->bodies->secrets, j->bodies->n_secrets, &all);
        bool is_whole = j->bodies->size[i] <= j->bodies->v[i].n &&
                        all.n - from <= (size_t)limits->each_bytes;
        if (all.n - from > (size_t)limits->each_bytes)
            all.n = from + (size_t)limits->each_bytes;
        h.kept[i] = (uint32_t)(all.n - from);
        /* what lost its secrets has another length: whole is what says so */
        bool says_cut = j->bodies->size[i] > h.kept[i];
        h.size[i] = is_whole ? h.kept[i] : says_cut ? j->bodies->size[i] : h.kept[i] + 1u;
    }
    memcpy(h.request_id, j->record.request_id, sizeof h.request_id);
    uLongf packed = compressBound(all.n);
    unsigned char *out = malloc(packed + sizeof h);
    if (!out)
        abort();
    static const char nothing[1];
    const void *text = all.p ? all.p : nothing;
    bool ok = !buf_failed(&all) &&
              compress2(out + sizeof h, &packed, text, all.n, Z_BEST_SPEED) == Z_OK;
    buf_done(&all);
    h.packed = (uint32_t)packed;
    h.crc = (uint32_t)crc32(0, out + sizeof h, (uInt)packed);
    memcpy(out, &h, sizeof h);
    bool is_error = j->record.status >= 400;
    struct file *f = &s->files[is_error];
    const int64_t size = (int64_t)(packed + sizeof h);
    if (limits->max_bytes > 0 && size > limits->max_bytes) {
        free(out);
        return TOO_LARGE;
    }
    make_room(s, limits, size);
    ok = ok && ready_file(s, f, is_error, most_of_file(limits) - size + 1, clock_wall_ms());
    if (ok) {
        (void)snprintf(where, 96, "%s:%lld", f->name, (long long)f->at);
        ok = write_whole(f->fd, out, packed + sizeof h);
        f->at += size;
        s->total += size;
        if (!ok) /* half a record at the end: nothing is written behind it */
            close_file(f);
    }
    free(out);
    return ok ? WRITTEN : WRITE_FAILED;
}

/* ---- the thread ---- */

static void set_refused(struct body_store *s, bool is_refused)
{
    if (atomic_exchange(&s->is_refused, is_refused) == is_refused)
        return;
    if (is_refused)
        log_error(NULL, "bodies.refused", "dir=%s error=%s", s->dir, strerror(errno));
    else
        log_info(NULL, "bodies.recovered", "shed=%llu", (unsigned long long)body_store_shed(s));
}

static void run_job(struct body_store *s, struct job *j)
{
    struct body_limits limits;
    char where[96];
    pthread_mutex_lock(&s->lock);
    limits = s->limits;
    struct redactor *r = redactor_ref(s->redactor);
    pthread_mutex_unlock(&s->lock);
    if (!j->bodies) {
        tidy(s, &limits, 0, true);
    } else {
        enum written done = write_bodies(s, j, r, &limits, where);
        if (done == WRITTEN)
            j->record.extra = extra_with(j->record.extra, where);
        else
            atomic_fetch_add_explicit(&s->shed, 1, memory_order_relaxed);
        if (done != TOO_LARGE)
            set_refused(s, done != WRITTEN); /* then loops send nothing, until the next look */
        usage_log_put(s->usage, s->ring, &j->record);
    }
    redactor_unref(r);
}

static void look_after(struct body_store *s)
{
    struct body_limits limits;
    uint64_t now = clock_mono_ms();
    pthread_mutex_lock(&s->lock);
    limits = s->limits;
    pthread_mutex_unlock(&s->lock);
    if (now < s->next_tidy_ms) {
        make_room(s, &limits, 0); /* the limit may be another one now */
        return;
    }
    s->next_tidy_ms = now + TIDY_MS;
    tidy(s, &limits, limits.max_bytes, false);
    atomic_store(&s->is_refused, false);
}

static void *body_thread(void *arg)
{
    struct body_store *s = arg;
    for (bool is_last = false; !is_last;) {
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += TIDY_MS / 1000;
        while (sem_clockwait(&s->wake, CLOCK_MONOTONIC, &until) != 0 && errno == EINTR)
            ;
        /* before the queue: what was put until then is in it */
        is_last = atomic_load(&s->is_stopping);
        struct job *v = atomic_exchange_explicit(&s->newest, NULL, memory_order_acquire);
        struct job *first = NULL;
        for (struct job *next; v; v = next) { /* oldest first */
            next = v->next;
            v->next = first;
            first = v;
        }
        for (struct job *next; first; first = next) {
            next = first->next;
            run_job(s, first);
            atomic_fetch_sub_explicit(&s->queued, first->bytes, memory_order_relaxed);
            body_set_free(first->bodies);
            free(first);
        }
        if (!is_last)
            look_after(s);
    }
    return NULL;
}

struct body_store *body_store_new(const char *dir, struct usage_log *usage, unsigned ring)
{
    struct body_store *s = calloc(1, sizeof *s);
    if (!s || !(s->dir = strdup(dir)))
        abort();
    s->usage = usage;
    s->ring = ring;
    s->files[0].fd = s->files[1].fd = -1;
    s->limits.each_bytes = 65536;
    (void)sem_init(&s->wake, 0, 0);
    pthread_mutex_init(&s->lock, NULL);
    if (pthread_create(&s->thread, NULL, body_thread, s) != 0)
        abort();
    return s;
}

void body_store_free(struct body_store *s)
{
    if (!s)
        return;
    atomic_store(&s->is_stopping, true);
    (void)sem_post(&s->wake);
    (void)pthread_join(s->thread, NULL);
    for (size_t i = 0; i < ARRAY_LEN(s->files); i++)
        close_file(&s->files[i]);
    redactor_unref(s->redactor);
    pthread_mutex_destroy(&s->lock);
    (void)sem_destroy(&s->wake);
    free(s->dir);
    free(s);
}

/* ---- reading ---- */

static bool read_at(int fd, void *p, size_t n, int64_t at)
{
    for (char *to = p; n > 0;) {
        ssize_t got = pread(fd, to, n, at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        to += got;
        at += got;
        n -= (size_t)got;
    }
    return true;
}

static bool unpack(struct arena *a, int fd, int64_t at, struct str request_id, struct body *out)
{
    struct head h;
    uint64_t total = 0;
    if (!read_at(fd, &h, sizeof h, at) || memcmp(h.magic, "SLB1", 4) != 0 || h.packed > MAX_TOTAL ||
        !memchr(h.request_id, 0, sizeof h.request_id) ||
        !str_eq(str_of(h.request_id), str_first(request_id, sizeof h.request_id - 1)))
        return false;
    for (size_t i = 0; i < BODY_N; i++)
        total += h.kept[i];
    if (total > MAX_TOTAL)
        return false;
    unsigned char *packed = arena_alloc(a, h.packed + 1), *text = arena_alloc(a, total + 1);
    uLongf n = total + 1;
    if (!read_at(fd, packed, h.packed, at + (int64_t)sizeof h) ||
        (uint32_t)crc32(0, packed, h.packed) != h.crc ||
        uncompress(text, &n, packed, h.packed) != Z_OK || n != total)
        return false;
    for (size_t i = 0; i < BODY_N; i++) {
        out[i] = (struct body){h.size[i], str_n((const char *)text, h.kept[i]),
                               h.kept[i] < h.size[i]};
        text += h.kept[i];
    }
    return true;
}

bool body_read(struct arena *a, struct str dir, struct str where, struct str request_id,
               struct body out[BODY_N], struct err *e)
{
    struct str name, offset = str_cut(where, ':', &name);
    int64_t at;
    bool ok = false;
    bool is_plain = name.n > 0 && name.n < 64 && !str_contains(name, STR("..")) &&
                    str_to_int(offset, &at) && at >= 0;
    struct str path = str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(dir), STR_ARG(name));
    int fd = is_plain ? open(str_z(a, path), O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        ok = unpack(a, fd, at, request_id, out);
        (void)close(fd);
    }
    return ok || err_set(e, ERR_NOT_FOUND, "bodies_gone",
                         "The bodies of this request are not kept any more");
}
