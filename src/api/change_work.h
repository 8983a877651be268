/* change_work.h - one change of the configuration under way, for change.c: what was found, the edits so far, and how it ends: checked,
 * saved in file and store, recorded as a version and in the audit log, and put in force; or nothing of it. */
#ifndef API_CHANGE_WORK_H
#define API_CHANGE_WORK_H
#include "api/change.h"
#include "api/config_state.h"
#include "domain/noun.h"

/* What errors "config_broken" and "config_unwritten" begin with; the reason is behind it. */
#define CONFIG_BROKEN    "The configuration file must be mended first: "
#define CONFIG_UNWRITTEN "The configuration file cannot be written: "

struct key_was {
    struct key_was *next;
    struct str id;
    bool was_there;
    struct key_row row;
};
struct work {
    struct control_call *c;
    struct arena *a;
    struct db *db;            /* in a transaction */
    struct snapshot *now;     /* what is in force, pinned */
    const char *path;         /* of the file; NULL: there is none */
    struct config_state found; /* where the file cannot be used, that which is in force stands here */
    struct str text;          /* of the file, with the edits */
    yyjson_val *file;         /* what it says with them; NULL: there is no file */
    struct str base;          /* what the file holds on the disk */
    struct err file_fault;    /* why the file cannot be used; ERR_NONE: it can */
    bool changes_file, changes_store;
    bool is_deferred;         /* work_defer() */
    struct arena *scratch[2]; /* of texts meanwhile: the one that stands and the one before */
    bool is_lenient;          /* what does not load is saved all the same (llm-rosetta) */
    struct config_change *extra; /* of client keys in the store, which config_state leaves out */
    struct config_change *renamings; /* told in the version, so that going back behind it renames the other way round */
    struct key_was *keys;     /* those as they were, the last one first */
    struct str what;          /* a sentence for the list of versions; empty: made of the differences */
    int lock;
};
/* Nobody else changes anything until work_end(), which is called exactly when this was true. */
bool work_begin(struct work *w, struct control_call *c, struct err *e) MUST_USE;
bool work_end(struct work *w, bool ok, struct err *e) MUST_USE; /* !ok: nothing is kept, e stays */

/* Edits of the file; a value that is there already leaves the text alone. What stands as ${VAR} is refused, naming the place. */
bool work_set(struct work *w, const struct str *path, size_t n, struct str json, struct err *e) MUST_USE;
bool work_remove(struct work *w, const struct str *path, size_t n, struct err *e) MUST_USE;
/* Of many edits: until work_settle() the text alone is changed, and work_value() says what was before. An element of an array must not
 * move under a later edit. */
void work_defer(struct work *w);
bool work_settle(struct work *w, struct err *e) MUST_USE;
/* The same of what may go though it is ${VAR}: nothing takes its place. */
bool work_drop(struct work *w, const struct str *path, size_t n, struct err *e) MUST_USE;
bool work_rename(struct work *w, const struct str *path, size_t n, struct str name, struct err *e) MUST_USE;
/* All of the text, also of a file that is at fault. */
bool work_replace(struct work *w, struct str text, struct err *e) MUST_USE;
/* change.c, for combos: keys that may use a model of the old name may use it under the new one. */
bool change_has_model(struct work *w, struct str name, bool *has, struct err *e) MUST_USE; /* in the file or the store */
bool change_rename_in_keys(struct work *w, struct str from, struct str to, struct err *e) MUST_USE;
yyjson_val *work_value(const struct work *w, const struct str *path, size_t n); /* NULL: not in the file */
/* Whether new objects go to the file. false with e set: they would, but it cannot be used as it is. */
bool work_prefers_file(struct work *w, bool *prefers, struct err *e) MUST_USE;
/* Members of an entry of the file become those of a JSON object; what it lacks goes. */
bool work_put_members(struct work *w, const struct str *entry, size_t n, struct str object, const char *const *names, size_t n_names,
                      struct err *e) MUST_USE;
bool work_put_key(struct work *w, const struct key_change *k, struct err *e) MUST_USE; /* change.c: one that is there, else nothing */
/* A client key of the store is about to change: as JSON, and the row as it was, for taking it back; NULL: it was not there. */
bool work_taken(const char *what, struct str name, struct err *e); /* change.c: false: the refusal of a new one whose name another has */
void work_note_key(struct work *w, struct str id, struct str before, struct str after, const struct key_row *was);

/* Finishes the change of the file that a killed process had begun. Before the configuration is loaded. */
bool change_recover(struct arena *a, const struct seal *seal, struct db *db, const char *path, struct err *e) MUST_USE;
/* The same before one that runs loads it again; nobody of this process changes it meanwhile. Writes only where there is something to finish. */
bool change_settle(const struct seal *seal, const char *db_path, const char *path, struct err *e) MUST_USE;
/* Records what others did to file or store since the last version, as actor; nothing when they did nothing. */
bool change_observe(struct arena *a, const struct control *control, struct db *db, struct str actor, struct err *e) MUST_USE;
#endif
