/* journal.h - the ledger's journal: a file beside the database, mapped into memory, that holds each settled line from the moment on in which
 * its request is settled until the transaction with it is committed. What was stored into it outlives the process, however that ends; at the
 * next start, before anything is served, lines that the ledger lacks are added to it. It is no stronger than the page cache: against a loss of
 * power it promises nothing, and neither does a commit here (WAL, synchronous=NORMAL).
 *
 * One ring of slots a loop, with that loop as its one producer and the writer thread as its one consumer: storing a line costs a copy. What
 * lines name by an id (prices, accounts) is written behind the slots, once. One file a process; two that serve from the same store have two. */
#ifndef METER_JOURNAL_H
#define METER_JOURNAL_H
#include "meter/ledger.h"
#include "store/db.h"

struct journal;
/* Beside the database at db_path. Where no file can be made (no room, a file system without shared mappings) the rings are in memory alone:
 * logged, and journal_is_kept() is false. */
struct journal *journal_new(const char *db_path, unsigned rings);
/* are_written: all that was put is committed, so the file goes; else it stays for the next start. NULL is allowed. */
void journal_free(struct journal *j, bool are_written);
bool journal_is_kept(const struct journal *j);

/* ---- producers: one a ring ---- */
struct settled *journal_begin(struct journal *j, unsigned ring) MUST_USE; /* to be filled in; NULL: the ring is full */
void journal_end(struct journal *j, unsigned ring);           /* it is filled in: from now on it outlives the process */
void journal_learn(struct journal *j, int64_t id, struct str text); /* before the first line that names it; one caller at a time */

/* ---- the consumer ---- */
/* Positions count for ever: what was put lies in [tail, head). */
uint32_t journal_head(const struct journal *j, unsigned ring);
uint32_t journal_tail(const struct journal *j, unsigned ring);
const struct settled *journal_at(const struct journal *j, unsigned ring, uint32_t position);
void journal_let_go(struct journal *j, unsigned ring, uint32_t head); /* those before are committed */

/* ---- at a start ---- */
struct journal_found {
    unsigned files, lines, added, torn; /* lines: whole ones; added: of these, what the ledger lacked; torn: half written, or damaged */
};
/* Adds to the ledger what processes that are gone left in theirs, and removes their files. Files of those that live, or of another version,
 * are left alone. false: the store refused; the files stay. */
bool journal_recover(const char *db_path, struct journal_found *out, struct err *e) MUST_USE;
#endif
