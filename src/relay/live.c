/* live.c - the requests that a loop is serving: seen and ended from outside, by messages to their loop. */
#include "relay/request.h"
#include "base/clock.h"
#include "base/log.h"
#include "gate/peer.h"

/* of Google's list for one token, about: what the envelope of a chunk takes */
#define ARRAY_BYTES 260

const struct word relay_state_words[] = {
    {"reading", RELAY_READING}, {"waiting", RELAY_WAITING}, {"answering", RELAY_ANSWERING}, {0}};

void live_add(struct relay *rl)
{
    struct relay *first = rl->env->live;
    rl->live_next = first;
    rl->live_prev = &rl->env->live;
    if (first)
        first->live_prev = &rl->live_next;
    rl->env->live = rl;
}

void live_remove(struct relay *rl)
{
    *rl->live_prev = rl->live_next;
    if (rl->live_next)
        rl->live_next->live_prev = rl->live_prev;
}

static enum relay_state state_of(const struct relay *rl)
{
    if (rl->is_head_sent)
        return RELAY_ANSWERING;
    return rl->attempts > 0 || rl->is_fetching ? RELAY_WAITING : RELAY_READING;
}

static int64_t told_tokens(const struct relay *rl)
{
    return rl->mode == REPLY_PASS ? rl->pass.usage.output_total : rl->usage.output_total;
}

int64_t live_tokens_out(const struct relay *rl)
{
    bool is_array = rl->mode == REPLY_PASS && rl->is_gemini_array;
    int64_t told = told_tokens(rl);
    if (rl->is_stream && rl->mode != REPLY_PIPE && !is_array)
        return (told > 0 ? told : 0) + (rl->mode == REPLY_PASS ? rl->pass.said : rl->said);
    int64_t bytes = (int64_t)(rl->r->bytes_out + commit_unsent(rl));
    int64_t guess = bytes / (is_array ? ARRAY_BYTES : 4);
    return told > guess ? told : guess;
}

/* Streams tell their usage at the end. */
static int64_t tokens_so_far(const struct relay *rl, bool *is_estimate)
{
    bool is_open = rl->is_stream && rl->is_head_sent && !rl->is_done;
    int64_t told = told_tokens(rl), n = is_open ? live_tokens_out(rl) : told;
    *is_estimate = told < 0 || n > told;
    return n > 0 ? n : 0;
}

static struct relay_info info_of(const struct relay *rl, struct arena *a, uint64_t now_ns)
{
    const struct target *t = rl->target;
    struct relay_info i = {
        .id = str_dup(a, rl->id),
        .model = str_dup(a, rl->model),
        .peer = str_dup(a, peer_address(rl->r, rl->set->trusted_proxies)),
        .op = rl->spec->op,
        .client = rl->spec->client,
        .state = state_of(rl),
        .is_stream = rl->is_stream,
        .attempts = rl->attempts,
        .elapsed_ms = (now_ns - rl->r->start_ns) / 1000000,
        .ttft_ms = rl->first_ns ? (rl->first_ns - rl->r->start_ns) / 1000000 + 1 : 0,
        .bytes_in = rl->r->bytes_in,
        .bytes_out = rl->r->bytes_out,
    };
    if (rl->key) {
        i.key_id = str_dup(a, rl->key->id);
        i.key_label = str_dup(a, rl->key->label);
    }
    if (t) {
        i.upstream = str_dup(a, t->upstream->name);
        i.upstream_model = str_dup(a, t->model);
    }
    i.tokens_out = tokens_so_far(rl, &i.is_estimate);
    return i;
}

size_t relay_list(const struct relay_loop *l, struct arena *a, struct relay_info **out)
{
    uint64_t now = clock_mono_ns();
    size_t n = 0, at = 0;
    for (const struct relay *rl = l->live; rl; rl = rl->live_next)
        n++;
    *out = ARENA_ARRAY(a, struct relay_info, n + 1);
    for (const struct relay *rl = l->live; rl; rl = rl->live_next)
        (*out)[at++] = info_of(rl, a, now);
    return n;
}

uint64_t relay_streams(const struct relay_loop *l)
{
    uint64_t n = 0;
    for (const struct relay *rl = l->live; rl; rl = rl->live_next)
        n += rl->is_stream && rl->is_head_sent;
    return n;
}

/* May free rl: the last that happens here. */
static void cancel(struct relay *rl)
{
    struct err e = ERR_INIT;
    err_set(&e, ERR_CANCELLED, "cancelled", "The operator cancelled this request");
    RELAY_LOG(log_info, rl, "relay.cancelled", "model=" STR_FMT " attempts=%u", STR_ARG(rl->model),
              rl->attempts);
    /* nothing that is under way for it may go on with it */
    images_forget(rl);
    responses_forget(rl);
    if (rl->echo)
        echo_cancel(rl);
    if (rl->is_head_sent && rl->mode == REPLY_PIPE) {
        (void)snprintf(rl->error_code, sizeof rl->error_code, "%s", e.code);
        rl->is_ended = true;
        http_reply_cut(rl->r); /* bytes of audio have no error event */
        return;
    }
    if (rl->call) { /* at once: the reply may take its time to reach a slow client */
        http_call_cancel(rl->call);
        rl->call = NULL;
    }
    relay_fail(rl, &e);
}

bool relay_cancel(struct relay_loop *l, struct str id)
{
    for (struct relay *rl = l->live; rl; rl = rl->live_next)
        if (str_eq(rl->id, id) && !rl->is_ended) {
            cancel(rl);
            return true;
        }
    return false;
}
