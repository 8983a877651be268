/* commit.c - under a budget that stops, what was answered is spent, whatever ends the process: a request is settled, and its line stored in
 * the ledger's journal, before the last bytes of its answer go out. Of a stream these are known when they are read: what one read brought is
 * held until it is over. Nothing waits for the store. Other requests are settled when they are over. */
#include "relay/request.h"

struct commit {
    struct buf held;      /* what the present read brought */
    size_t about_to_send; /* behind it, while it is settled */
    bool is_settled;
    struct ir_usage usage;
    enum usage_quality quality;
    struct usage_money money;
};

static struct commit *commit_of(struct relay *rl)
{
    if (rl->commit || !rl->money || !money_binds(rl))
        return rl->commit;
    struct commit *c = rl->commit = ARENA_NEW(rl->r->arena, struct commit);
    buf_init(&c->held, SIZE_MAX / 4);
    return c;
}

static void send_held(struct relay *rl, struct commit *c)
{
    if (!c->held.n)
        return;
    http_reply_body(rl->r, buf_str(&c->held));
    buf_done(&c->held);
    buf_init(&c->held, SIZE_MAX / 4);
}

void commit_settle(struct relay *rl, size_t about_to_send)
{
    struct commit *c = commit_of(rl);
    if (!c || c->is_settled)
        return;
    struct usage_record u = {0};
    c->about_to_send = about_to_send;
    relay_fill_record(rl, &u);
    relay_put_line(rl, &u);
    c->is_settled = true;
    c->usage = u.usage;
    c->quality = u.quality;
    c->money = u.money;
    c->about_to_send = 0;
    send_held(rl, c);
}

size_t commit_unsent(const struct relay *rl)
{
    return rl->commit ? rl->commit->held.n + rl->commit->about_to_send : 0;
}

bool commit_recall(const struct relay *rl, struct usage_record *u)
{
    const struct commit *c = rl->commit;
    if (!c || !c->is_settled)
        return false;
    u->usage = c->usage;
    u->quality = c->quality;
    u->money = c->money;
    return true;
}

bool commit_keeps(struct relay *rl, struct str bytes)
{
    struct commit *c = commit_of(rl);
    /* bytes that are passed on may be the last: that is known when they are read. An array is metered only when it is whole */
    bool may_be_last = rl->mode == REPLY_PASS ? !rl->is_gemini_array : rl->is_done;
    if (!c || c->is_settled || !may_be_last)
        return false;
    buf_str_add(&c->held, bytes);
    return true;
}

void commit_read_end(struct relay *rl)
{
    struct commit *c = rl->commit;
    if (!c || !c->held.n)
        return;
    if (rl->is_done)
        commit_settle(rl, 0);
    else
        send_held(rl, c);
}

void commit_forget(struct relay *rl)
{
    if (!rl->commit)
        return;
    buf_done(&rl->commit->held);
    rl->commit = NULL;
}
