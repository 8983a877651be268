/* commit.c - under a budget that stops, what was answered is in the ledger: the end of an answer (of a short one: all of it) waits until its
 * line is. The writer commits at once then, with all that wait for it by that time. Nothing on the loop blocks: the rest goes out when word
 * comes back, or when it did not come for budget_commit_ms. */
#include "relay/request.h"
#include "base/log.h"
#include <stdlib.h>

enum {
    JOB_RUNS,
    JOB_WRITTEN, /* its word is on its way to the loop */
    JOB_GONE     /* nobody waits any more */
};
struct job { /* the loop's and the writer's: who comes last frees it */
    _Atomic int state;
    struct loop *loop;
    struct relay *rl; /* the loop's; NULL: gone */
};

struct commit {
    struct relay *rl;
    struct job *job;
    struct timer timer;
    struct buf held; /* of a stream, what goes out then */
    void (*then)(struct relay *rl);
    struct usage_record *record; /* NULL: not settled yet */
    bool is_over;
    int status;
    struct str body;
};

static struct commit *commit_of(struct relay *rl)
{
    if (rl->commit || !rl->money || rl->set->budget_commit_ms <= 0 || !money_binds(rl))
        return rl->commit;
    struct commit *c = rl->commit = ARENA_NEW(rl->r->arena, struct commit);
    c->rl = rl;
    buf_init(&c->held, SIZE_MAX / 4);
    return c;
}

const struct usage_record *commit_record(const struct relay *rl)
{
    return rl->commit ? rl->commit->record : NULL;
}

static void let_go(struct commit *c)
{
    struct job *j = c->job;
    c->job = NULL;
    timer_stop(&c->timer);
    if (j && atomic_exchange(&j->state, JOB_GONE) == JOB_WRITTEN)
        j->rl = NULL;
}

static void send_held(struct commit *c)
{
    if (c->held.n)
        http_reply_body(c->rl->r, buf_str(&c->held));
    buf_done(&c->held);
    buf_init(&c->held, SIZE_MAX / 4);
}

/* c's request may be gone after this. */
static void over(struct commit *c)
{
    let_go(c);
    c->is_over = true;
    send_held(c);
    if (c->then)
        c->then(c->rl);
}

static void on_word(void *arg)
{
    struct job *j = arg;
    struct commit *c = j->rl ? j->rl->commit : NULL;
    free(j);
    if (!c)
        return;
    c->job = NULL;
    over(c);
}

/* On the writer thread. */
static void on_written(void *arg)
{
    struct job *j = arg;
    struct loop *loop = j->loop;
    if (atomic_exchange(&j->state, JOB_WRITTEN) == JOB_GONE)
        free(j);
    else
        loop_post(loop, on_word, j);
}

static void on_late(struct timer *t)
{
    struct commit *c = (struct commit *)(void *)((char *)t - offsetof(struct commit, timer));
    RELAY_LOG(log_warn, c->rl, "budget.not_committed", "ms=%lld",
              (long long)c->rl->set->budget_commit_ms);
    over(c);
}

bool commit_waits(struct relay *rl, void (*then)(struct relay *rl))
{
    struct commit *c = commit_of(rl);
    if (!c || c->is_over)
        return false;
    c->then = then;
    if (c->record) /* it is on its way */
        return true;
    struct usage_record *u = ARENA_NEW(rl->r->arena, struct usage_record);
    relay_fill_record(rl, u);
    c->record = u;
    c->is_over = !u->money.id || u->money.cost_nanousd <= 0 ||
                 usage_log_is_degraded(rl->env->usage, loop_now_ms(rl->env->loop));
    if (c->is_over) {
        send_held(c);
        return false;
    }
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        abort();
    *j = (struct job){JOB_RUNS, rl->env->loop, rl};
    c->job = j;
    timer_start(rl->env->loop, &c->timer, (uint64_t)rl->set->budget_commit_ms, on_late);
    usage_log_put_line(rl->env->usage, u, on_written, j);
    u->money.is_handed = true;
    return true;
}

static void reply(struct relay *rl)
{
    relay_reply_json(rl, rl->commit->status, rl->commit->body);
}

bool commit_reply(struct relay *rl, int status, struct str body)
{
    if (!commit_waits(rl, reply))
        return false;
    rl->commit->status = status;
    rl->commit->body = body;
    return true;
}

bool commit_keeps(struct relay *rl, struct str bytes)
{
    struct commit *c = commit_of(rl);
    /* bytes that are passed on may be the last: that is known when they are read. An array is metered only when it is whole */
    bool may_be_last = rl->mode == REPLY_PASS ? !rl->is_gemini_array : rl->is_done;
    if (!c || c->is_over || !may_be_last)
        return false;
    buf_str_add(&c->held, bytes);
    return true;
}

void commit_read_end(struct relay *rl)
{
    struct commit *c = rl->commit;
    if (c && !c->record && !(rl->is_done && c->held.n && commit_waits(rl, NULL)))
        send_held(c);
}

void commit_forget(struct relay *rl)
{
    if (!rl->commit)
        return;
    let_go(rl->commit);
    buf_done(&rl->commit->held);
    rl->commit = NULL;
}
