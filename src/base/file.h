/* file.h - reading a file whole, replacing it in one step, and locking it between programs. Blocking. */
#ifndef BASE_FILE_H
#define BASE_FILE_H
#include "base/arena.h"
#include "base/err.h"

/* A regular file of at most max bytes. ERR_NOT_FOUND "no_file" when there is none; ERR_INPUT "invalid_file" when it is something else. */
bool file_read(struct arena *a, const char *path, size_t max, struct str *out, struct err *e) MUST_USE;
/* Whether file_replace() can work: somebody may write the file, and we its folder. A file without any write permission is meant not to
 * be written, also when we are root. */
bool file_is_writable(const char *path) MUST_USE;

/* Readers of path see the old content or the new, never a part of it. A symbolic link stays: what it names is replaced, keeping its mode
 * and owner. In two steps, so that what can fail for want of room fails in the first. */
struct file_draft {
    char path[4096], tmp[4096]; /* the file itself, links followed, and what will become it */
};
bool file_prepare(struct file_draft *d, const char *path, struct str data, struct err *e) MUST_USE; /* written and on the disk */
bool file_commit(struct file_draft *d, struct err *e) MUST_USE;                                     /* in its place */
void file_discard(struct file_draft *d);                      /* after a prepare that is not wanted */

/* An advisory lock on "<path>.lock" beside the file itself, held by whoever changes the file; what killed processes left of
 * file_prepare() goes with it. The descriptor, closed by file_unlock(); -1: the folder is not writable, so nobody can change the file;
 * -2: another program held it for wait_ms, e is set. */
int file_lock(const char *path, int wait_ms, struct err *e);
bool file_has_drafts(const char *path);                       /* somebody's who writes it now, or left by one who was killed */
void file_unlock(int fd);                                     /* -1 is allowed */
#endif
