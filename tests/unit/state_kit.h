/* state_kit.h - a folder for a test, and an installation in it. */
#ifndef TESTS_UNIT_STATE_KIT_H
#define TESTS_UNIT_STATE_KIT_H
#include "app/config.h"
#include "base/arena.h"
#include "store/db.h"
#include "unit.h"

#define PATH_SIZE 256
/* A fresh folder below TMPDIR, removed with what is in it when the process ends. */
const char *state_folder(void);
void state_path(char out[PATH_SIZE], const char *name);       /* of a file in it */
void state_write(const char *name, const char *text);         /* ' becomes " */
struct db *state_db(void);                                    /* "test.db" in it, newest schema */
/* Loads that file's text (' for ") with an empty store; fails the test when it does not load. */
struct snapshot *state_load(const char *text);
/* Loads it and gives the message of the refusal, in the arena; fails the test when it loads. */
struct str state_refusal(struct arena *a, const char *text, char field[96]);
#endif
