/* budget.h - what is spent and held of each budget, and whether a request may still spend. Shared by all loops without a lock: a hold is
 * taken on every budget that a request falls under before anything is sent, grows while the reply comes, and is settled with what it cost.
 * At every moment: spent + held <= limit, for budgets that stop, as long as no cost passes its hold. Holds live in memory only, so none
 * outlives the process. What was spent is read from the ledger whenever a budget comes into being: at a start, added, or added again. One
 * that is not enabled goes on counting and refuses nothing, so that it is right when it is enabled. */
#ifndef GATE_BUDGET_H
#define GATE_BUDGET_H
#include "domain/budget.h"
#include "store/db.h"
#include <stdatomic.h>

struct budget_state {
    _Atomic int64_t begins_ms, ends_ms; /* of the period that the sums are of */
    _Atomic int64_t spent;      /* settled in it */
    _Atomic int64_t committed;  /* spent, and held by requests that run */
    _Atomic int64_t before_ends_ms, before; /* the period before: its end, and what was spent in it. For a clock that is set back */
    _Atomic uint64_t refused, cut, warned, overrun_nanousd; /* since the process began */
    _Atomic int64_t refused_ms; /* when one was refused last; 0: never */
    _Atomic int64_t loaded;     /* of what is spent: what the ledger said when it was read */
    _Atomic uint64_t turn;      /* of the configuration that it was last in: budgets_turn() */
};
/* One registry for a process. */
struct budgets;
struct budgets *budgets_new(void);
void budgets_free(struct budgets *r);                         /* NULL is allowed */
/* The state of a budget, made when it is new; of the same scope, subject, period and zone it stays the same, whatever its limit. */
struct budget_state *budgets_state(struct budgets *r, const struct budget *b);
/* Whether the configuration in force has it: then it knows what was spent, and the ledger must not be added to it. */
bool budget_is_counting(const struct budgets *r, const struct budget *b) MUST_USE;
/* What was spent in the period up to now, from the ledger; in place of what stood there. */
bool budget_load(const struct budget *b, struct db *db, int64_t now_ms, struct err *e) MUST_USE;
/* These come into force, and no others. */
void budgets_turn(struct budgets *r, struct budget *const *all, size_t n);
/* Adds what the ledger got until then, since it was loaded: lines that were on their way when a budget came into force. */
bool budget_catch_up(const struct budget *b, struct db *db, int64_t until_ms, struct err *e) MUST_USE;

/* ---- holds: of one request, on its loop ---- */
struct hold {
    const struct budget *const *budgets; /* NULL-terminated; NULL: none */
    int64_t amount;             /* on each of them */
    bool is_taken;
};
/* All or nothing. false: *by is the budget that has no room; nothing is held. */
bool hold_take(struct hold *h, const struct budget *const *budgets, int64_t amount, int64_t now_ms, const struct budget **by) MUST_USE;
/* The same, and a refusal is not counted: less may fit. */
bool hold_try(struct hold *h, const struct budget *const *budgets, int64_t amount, int64_t now_ms) MUST_USE;
bool hold_grow(struct hold *h, int64_t more, int64_t now_ms, const struct budget **by) MUST_USE; /* the same; what is held stays */
void hold_settle(struct hold *h, int64_t cost, int64_t now_ms); /* >= 0: spent, and nothing is held any more */

/* A correction or credit of that moment; may be below 0. */
void budget_adjust(const struct budget *b, int64_t nanousd, int64_t now_ms);

/* What the one that stops first has left, neither spent nor held; INT64_MAX: none of them stops. */
int64_t budget_room(const struct budget *const *budgets, int64_t now_ms);

struct budget_view {
    int64_t begins_ms, ends_ms, spent, held;
    int64_t refused_ms;         /* 0: never */
    uint64_t refused, cut, warned;
};
struct budget_view budget_look(const struct budget *b, int64_t now_ms);
/* The names of all whose warning level is reached, by what is spent and held, with a comma between them; those that refuse first. Each is
 * counted as warned. Empty: none. */
struct str budget_warnings(struct arena *a, const struct budget *const *budgets, int64_t now_ms);
/* ERR_RATE_LIMITED "budget_exceeded" with the time until the period ends; ERR_NO_FUNDS of a budget that never begins anew. */
bool budget_refusal(const struct budget *b, int64_t now_ms, struct err *e);
#endif
