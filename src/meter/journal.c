#include "meter/journal.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0x4c52474445435553u
#define VERSION 2u
#define HEAD_BYTES 4096u
#define MARK_BYTES 64u /* a ring's place of `tail`: a cache line of its own */
#define MAX_RINGS 4096u
/* So many lines of a loop may wait: more than it settles while a group is committed. */
#define MAX_SLOTS 4096u
#define MIN_SLOTS 1024u
#define ALL_SLOTS 65536u /* of all loops together, where they are many */
#define MAX_FILES 16u    /* processes that serve from one store, and files of other versions */
#define MAX_TEXT (1u << 20)

struct file_head {
    uint64_t magic;
    uint32_t version, slot_bytes, rings, slots;
};

struct slot {
    _Atomic uint64_t seq; /* its position and 1, stored last */
    uint64_t sum;
    struct settled s;
    char rest[512 - 16 - sizeof(struct settled)];
};
_Static_assert(sizeof(struct slot) == 512, "whole cache lines");

struct mark {
    _Atomic uint64_t tail; /* what lies before it is committed */
    char rest[MARK_BYTES - 8];
};

struct text_head {
    int64_t id;
    uint32_t n, sum;
};

struct ring {
    _Alignas(64) _Atomic uint32_t head; /* written by the loop */
    uint64_t seq;                       /* the loop's: head, without end */
    _Alignas(64) _Atomic uint32_t tail; /* written by the writer */
    uint64_t done;                      /* the writer's: tail, without end */
};

struct journal {
    struct ring *rings;
    struct mark *marks;
    struct slot *slots;
    unsigned n_rings;
    uint32_t n_slots; /* of a ring: a power of two */
    char *map;
    size_t map_bytes;
    int fd; /* -1: in memory alone */
    off_t texts_end;
    bool has_said_full;
    char path[PATH_MAX];
};

/* ---- the file ---- */

static size_t marks_at(void)
{
    return HEAD_BYTES;
}

static size_t slots_at(unsigned rings)
{
    return (marks_at() + rings * sizeof(struct mark) + 4095) / 4096 * 4096;
}

static size_t texts_at(unsigned rings, uint32_t slots)
{
    return slots_at(rings) + (size_t)rings * slots * sizeof(struct slot);
}

static bool path_of(char out[PATH_MAX], const char *db_path, unsigned i)
{
    int n = i ? snprintf(out, PATH_MAX, "%s-ledger%u", db_path, i)
              : snprintf(out, PATH_MAX, "%s-ledger", db_path);
    return n < PATH_MAX;
}

/* The file, if nobody else has it and it still has its name. -1: errno says why; EWOULDBLOCK: somebody has it. */
static int open_locked(const char *path, int flags)
{
    for (;;) {
        struct stat held, named;
        int fd = open(path, flags | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0)
            return -1;
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            (void)close(fd);
            errno = EWOULDBLOCK;
            return -1;
        }
        if (fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_ino == named.st_ino &&
            held.st_dev == named.st_dev)
            return fd;
        (void)close(fd); /* removed by whoever had it */
    }
}

static bool is_empty(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_size == 0;
}

static int create(char path[PATH_MAX], const char *db_path, size_t bytes)
{
    for (unsigned i = 0; i < MAX_FILES; i++) {
        if (!path_of(path, db_path, i)) {
            errno = ENAMETOOLONG;
            return -1;
        }
        int fd = open_locked(path, O_CREAT);
        if (fd < 0 && errno != EWOULDBLOCK)
            return -1;
        if (fd >= 0 && is_empty(fd)) {
            /* all its room now: a mapping without it would end the process later */
            int rc = posix_fallocate(fd, 0, (off_t)bytes);
            if (rc == 0)
                return fd;
            (void)unlink(path);
            (void)close(fd);
            errno = rc;
            return -1;
        }
        if (fd >= 0) /* of another version, or what could not be recovered */
            (void)close(fd);
    }
    errno = EEXIST;
    return -1;
}

static bool map_file(struct journal *j)
{
    void *p = mmap(NULL, j->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, j->fd, 0);
    if (p == MAP_FAILED)
        return false;
    j->map = p;
    return true;
}

struct journal *journal_new(const char *db_path, unsigned rings)
{
    struct journal *j = calloc(1, sizeof *j);
    if (!j || rings == 0 || rings > MAX_RINGS ||
        !(j->rings = aligned_alloc(64, sizeof *j->rings * rings)))
        abort();
    memset(j->rings, 0, sizeof *j->rings * rings);
    j->n_rings = rings;
    j->n_slots = MAX_SLOTS;
    while (j->n_slots > MIN_SLOTS && j->n_slots * rings > ALL_SLOTS)
        j->n_slots /= 2;
    j->map_bytes = texts_at(rings, j->n_slots);
    j->texts_end = (off_t)j->map_bytes;
    j->fd = create(j->path, db_path, j->map_bytes);
    if (j->fd >= 0 && !map_file(j)) {
        int why = errno;
        (void)unlink(j->path);
        (void)close(j->fd);
        j->fd = -1;
        errno = why;
    }
    if (j->fd < 0) {
        char why[128];
        log_error(NULL, "ledger.no_journal", "file=%s error=%s", j->path,
                  strerror_r(errno, why, sizeof why));
        j->map = calloc(1, j->map_bytes);
        if (!j->map)
            abort();
    }
    j->marks = (struct mark *)(void *)(j->map + marks_at());
    j->slots = (struct slot *)(void *)(j->map + slots_at(rings));
    *(struct file_head *)(void *)j->map = (struct file_head){.magic = MAGIC,
                                                             .version = VERSION,
                                                             .slot_bytes = sizeof(struct slot),
                                                             .rings = rings,
                                                             .slots = j->n_slots};
    return j;
}

void journal_free(struct journal *j, bool are_written)
{
    if (!j)
        return;
    if (j->fd < 0)
        free(j->map);
    else
        (void)munmap(j->map, j->map_bytes);
    if (j->fd >= 0 && are_written)
        (void)unlink(j->path);
    if (j->fd >= 0)
        (void)close(j->fd);
    free(j->rings);
    free(j);
}

bool journal_is_kept(const struct journal *j)
{
    return j->fd >= 0;
}

/* ---- sums ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 32;
}

/* Of whole words. Against halves of a line and a damaged disk, not against anybody's will. */
static uint64_t sum_of(uint64_t seed, const void *p, size_t n)
{
    uint64_t h = mix(0x6c6564676572u, seed);
    for (size_t i = 0; i < n; i += 8) {
        uint64_t v;
        memcpy(&v, (const char *)p + i, sizeof v);
        h = mix(h, v);
    }
    return h;
}

static uint32_t text_sum(int64_t id, struct str text)
{
    char last[8] = {0};
    size_t whole = text.n / 8 * 8;
    uint64_t h = sum_of((uint64_t)id + text.n, text.p, whole);
    memcpy(last, text.p + whole, text.n - whole);
    return (uint32_t)sum_of(h, last, sizeof last);
}

/* ---- producers ---- */

static struct slot *slot_at(const struct journal *j, unsigned ring, uint32_t position)
{
    return &j->slots[(size_t)ring * j->n_slots + (position & (j->n_slots - 1))];
}

struct settled *journal_begin(struct journal *j, unsigned ring)
{
    struct ring *r = &j->rings[ring];
    uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    if (head - atomic_load_explicit(&r->tail, memory_order_acquire) >= j->n_slots)
        return NULL;
    return &slot_at(j, ring, head)->s;
}

void journal_end(struct journal *j, unsigned ring)
{
    struct ring *r = &j->rings[ring];
    uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    struct slot *slot = slot_at(j, ring, head);
    uint64_t seq = ++r->seq;
    slot->sum = sum_of(seq, &slot->s, settled_size(&slot->s));
    atomic_store_explicit(&slot->seq, seq, memory_order_release);
    atomic_store_explicit(&r->head, head + 1, memory_order_seq_cst);
}

void journal_learn(struct journal *j, int64_t id, struct str text)
{
    if (j->fd < 0 || text.n == 0 || text.n > MAX_TEXT)
        return;
    size_t n = sizeof(struct text_head) + text.n, all = (n + 7) / 8 * 8;
    char *p = calloc(1, all);
    if (!p)
        abort();
    memcpy(p, &(struct text_head){id, (uint32_t)text.n, text_sum(id, text)},
           sizeof(struct text_head));
    memcpy(p + sizeof(struct text_head), text.p, text.n);
    ssize_t done = pwrite(j->fd, p, all, j->texts_end);
    free(p);
    if (done == (ssize_t)all) {
        j->texts_end += done;
        j->has_said_full = false;
    } else if (!j->has_said_full) { /* lines that name it are kept, without it */
        j->has_said_full = true;
        log_warn(NULL, "ledger.journal_full", "file=%s", j->path);
    }
}

/* ---- the consumer ---- */

uint32_t journal_head(const struct journal *j, unsigned ring)
{
    return atomic_load_explicit(&j->rings[ring].head, memory_order_seq_cst);
}

uint32_t journal_tail(const struct journal *j, unsigned ring)
{
    return atomic_load_explicit(&j->rings[ring].tail, memory_order_relaxed);
}

const struct settled *journal_at(const struct journal *j, unsigned ring, uint32_t position)
{
    return &slot_at(j, ring, position)->s;
}

void journal_let_go(struct journal *j, unsigned ring, uint32_t head)
{
    struct ring *r = &j->rings[ring];
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    if (head == tail)
        return;
    r->done += (uint32_t)(head - tail);
    atomic_store_explicit(&j->marks[ring].tail, r->done, memory_order_release);
    atomic_store_explicit(&r->tail, head, memory_order_release);
}

/* ---- at a start ---- */

struct left { /* a file that somebody left */
    const char *map;
    const struct file_head *head;
    size_t n;
};

static void learn_texts(struct ledger_writer *w, const struct left *of)
{
    size_t at = texts_at(of->head->rings, of->head->slots);
    while (of->n - at >= sizeof(struct text_head)) {
        struct text_head h;
        memcpy(&h, of->map + at, sizeof h);
        at += sizeof h;
        struct str text = str_n(of->map + at, h.n);
        if (h.n == 0 || h.n > MAX_TEXT || h.n > of->n - at || h.sum != text_sum(h.id, text))
            return; /* the last one, half written */
        (void)ledger_writer_learn(w, h.id, text);
        size_t room = ((size_t)h.n + 7) / 8 * 8;
        at += room < of->n - at ? room : of->n - at;
    }
}

/* What an empty file, one that was never begun, and one of another version have in common: nothing of it is for us. */
static bool is_ours(const struct left *of)
{
    const struct file_head *h = of->head;
    return of->n >= HEAD_BYTES && h->magic == MAGIC && h->version == VERSION &&
           h->slot_bytes == sizeof(struct slot) && h->rings > 0 && h->rings <= MAX_RINGS &&
           h->slots > 0 && h->slots <= MAX_SLOTS && (h->slots & (h->slots - 1)) == 0 &&
           of->n >= texts_at(h->rings, h->slots);
}

static bool is_whole(const struct slot *slot, uint64_t seq)
{
    const struct settled *s = &slot->s;
    return (size_t)s->n_of + s->n_request <= SETTLED_TEXT && s->n_of >= 8 && s->id > 0 &&
           slot->sum == sum_of(seq, s, settled_size(s));
}

static bool add_lines(struct ledger_writer *w, struct stmt *has, const struct left *of,
                      struct journal_found *out, struct err *e)
{
    const struct file_head *h = of->head;
    const struct mark *marks = (const struct mark *)(const void *)(of->map + marks_at());
    const struct slot *slots = (const struct slot *)(const void *)(of->map + slots_at(h->rings));
    for (uint32_t ring = 0; ring < h->rings; ring++) {
        uint64_t tail = atomic_load_explicit(&marks[ring].tail, memory_order_relaxed);
        for (uint32_t i = 0; i < h->slots; i++) {
            const struct slot *slot = &slots[(size_t)ring * h->slots + i];
            uint64_t seq = atomic_load_explicit(&slot->seq, memory_order_relaxed);
            if (seq <= tail)
                continue; /* committed, or never used */
            if (seq > tail + h->slots || ((seq - 1) & (h->slots - 1)) != i ||
                !is_whole(slot, seq)) {
                out->torn++;
                continue;
            }
            out->lines++;
            stmt_bind_int(has, 1, slot->s.id);
            bool is_there = stmt_step(has, e);
            stmt_reset(has);
            if (e->kind != ERR_NONE || (!is_there && !ledger_writer_add(w, &slot->s, e)))
                return false;
            out->added += !is_there;
        }
    }
    return true;
}

static bool recover_into(struct db *db, const struct left *of, struct journal_found *out,
                         struct err *e)
{
    struct ledger_writer *w = ledger_writer_new();
    struct stmt *has = db_prepare(db, "SELECT 1 FROM ledger WHERE id = ?1", e);
    bool ok = has && db_begin(db, e);
    if (ok) {
        learn_texts(w, of);
        ok = ledger_writer_open(w, db, e) && add_lines(w, has, of, out, e) &&
             ledger_writer_flush(w, e);
        ledger_writer_close(w);
        if (ok)
            ok = db_commit(db, e);
        else
            db_rollback(db);
    }
    stmt_free(has);
    ledger_writer_free(w);
    return ok;
}

static bool recover_file(int fd, const char *path, const char *db_path, struct journal_found *out,
                         struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_errno(e, "cannot read", path);
    struct left of = {.n = (size_t)st.st_size};
    void *map = of.n ? mmap(NULL, of.n, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    if (map == MAP_FAILED)
        return err_errno(e, "cannot read", path);
    of.map = map;
    of.head = map;
    bool is_new = of.n < HEAD_BYTES || of.head->magic == 0, ok = true; /* never begun */
    if (!is_new && !is_ours(&of)) {
        log_warn(NULL, "ledger.journal_foreign", "file=%s", path);
    } else {
        struct db *db = is_new ? NULL : db_open(db_path, DB_READ_WRITE, e);
        ok = is_new || (db && recover_into(db, &of, out, e));
        db_close(db);
        out->files += ok && !is_new;
        if (ok && unlink(path) != 0)
            ok = err_errno(e, "cannot remove", path);
    }
    if (map)
        (void)munmap(map, of.n);
    return ok;
}

bool journal_recover(const char *db_path, struct journal_found *out, struct err *e)
{
    char path[PATH_MAX];
    bool ok = true;
    *out = (struct journal_found){0};
    for (unsigned i = 0; i < MAX_FILES && ok && path_of(path, db_path, i); i++) {
        int fd = open_locked(path, 0);
        if (fd < 0)
            continue; /* there is none, or it is in use */
        ok = recover_file(fd, path, db_path, out, e);
        (void)close(fd);
    }
    return ok;
}
