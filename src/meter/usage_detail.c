#include "meter/usage_detail.h"

const struct shape usage_attempt_shape = SHAPE(
    struct usage_attempt,
    FIELD_AS(struct usage_attempt, upstream, "provider", NULL, 0, "Provider that was asked"),
    FIELD_AS(struct usage_attempt, model, "provider_model", NULL, 0,
             "What the model is called there"),
    FIELD(struct usage_attempt, reason, OMIT_EMPTY,
          "hedge: it was asked beside the one before, which was silent; absent: in its turn"),
    FIELD(struct usage_attempt, status, OMIT_EMPTY, "HTTP status of its answer; absent: none came"),
    FIELD(struct usage_attempt, fault, OMIT_EMPTY,
          "Kind of failure; hedge: another one answered first; absent: it answered"),
    FIELD(struct usage_attempt, code, OMIT_EMPTY, "Stable code of the failure"),
    FIELD(struct usage_attempt, message, OMIT_EMPTY, "The failure in words"),
    FIELD(struct usage_attempt, at_us, 0, "Begin, in microseconds after the request's"),
    FIELD(struct usage_attempt, duration_us, 0, "Time it took"));

/* Short names: there may be millions of them. */
static const struct shape stored = SHAPE(
    struct usage_detail,
    {FIELD_BASE(struct usage_detail, attempts, "a", SHAPE_LIST, OMIT_EMPTY, "attempts"),
     .shape = &usage_attempt_shape},
    FIELD_AS(struct usage_detail, dropped, "d", NULL, OMIT_EMPTY, "dropped"),
    FIELD_AS(struct usage_detail, error, "e", NULL, OMIT_EMPTY, "error"),
    FIELD_AS(struct usage_detail, trace, "t", NULL, OMIT_EMPTY, "trace"),
    FIELD_AS(struct usage_detail, client, "c", NULL, OMIT_EMPTY, "client"),
    FIELD_AS(struct usage_detail, agent, "u", NULL, OMIT_EMPTY, "agent"),
    FIELD_AS(struct usage_detail, path, "p", NULL, OMIT_EMPTY, "path"),
    FIELD_AS(struct usage_detail, hedge_nanousd, "h", NULL, OMIT_EMPTY, "hedge"),
    FIELD_AS(struct usage_detail, cache, "x", NULL, OMIT_EMPTY, "cache"),
    FIELD_AS(struct usage_detail, via, "v", NULL, OMIT_EMPTY, "via"),
    FIELD_AS(struct usage_detail, policy, "y", NULL, OMIT_EMPTY, "policy"),
    FIELD_AS(struct usage_detail, task, "k", NULL, OMIT_EMPTY, "task"),
    FIELD_AS(struct usage_detail, route, "r", NULL, OMIT_EMPTY, "route"),
    FIELD_AS(struct usage_detail, body, "b", NULL, OMIT_EMPTY, "body"),
    FIELD_AS(struct usage_detail, ended_ms, "at", NULL, OMIT_EMPTY, "ended_ms"));

void usage_detail_write(const struct usage_detail *d, struct buf *b)
{
    struct jw w = jw_on(b);
    shape_write(&stored, d, &w);
}

void usage_detail_read(struct arena *a, struct str text, struct usage_detail *out)
{
    yyjson_val *root;
    *out = (struct usage_detail){.ended_ms = 0};
    if (text.n && json_parse(a, text, 8, &root, NULL) && yyjson_is_obj(root) &&
        !shape_read(&stored, a, root, out, NULL, NULL))
        *out = (struct usage_detail){.ended_ms = 0};
}
