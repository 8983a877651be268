/* meaning.c - the semantic cache of a request: its last question is embedded by a configured model, through our own door, and the answer
 * to a question that means the same is given. All else of the request must be equal, to the letter. A failure here is never the
 * request's: it is then asked upstream. */
#include "relay/request.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/fetch.h"
#include "relay/cache.h"
#include <stdlib.h>

struct meaning {
    uint8_t part[SHA256_SIZE];
    struct str model; /* that embeds */
    float *vector;    /* NULL: not known */
    size_t n;
};

/* Outlives the request, then rl is NULL. */
struct meaning_job {
    struct relay *rl;
    struct relay_shared *shared;
    _Atomic bool is_gone;
    struct arena *arena;
    struct str question;
    struct meaning m;
    struct err err;
    uint64_t timeout_ms;
    int64_t min_similarity_ppm;
    struct saved *answer; /* found; or to be kept */
    uint64_t until_ms;
    struct replies_limits limits;
};

static void job_free(struct meaning_job *job)
{
    saved_unref(job->answer);
    free(job->m.vector);
    arena_free(job->arena);
    free(job);
}

static struct semantic_query query_of(const struct meaning_job *job)
{
    return (struct semantic_query){.model = job->m.model,
                                   .part = job->m.part,
                                   .vector = job->m.vector,
                                   .n = job->m.n,
                                   .min_similarity_ppm = job->min_similarity_ppm};
}

static bool read_vector(struct meaning_job *job, struct str body)
{
    yyjson_val *root, *v;
    size_t i, max;
    double x;
    if (!json_parse(job->arena, body, 16, &root, &job->err))
        return false;
    yyjson_val *list = json_get(yyjson_arr_get_first(json_get(root, "data")), "embedding");
    size_t n = yyjson_arr_size(list);
    if (n == 0 || n > SEMANTIC_MAX_DIMENSIONS)
        return err_set(&job->err, ERR_UPSTREAM, "embedding_unusable",
                       "The embedding has %zu numbers", n);
    job->m.vector = malloc(n * sizeof job->m.vector[0]);
    if (!job->m.vector)
        abort();
    yyjson_arr_foreach (list, i, max, v) {
        if (!json_double(v, &x))
            return err_set(&job->err, ERR_UPSTREAM, "embedding_unusable",
                           "The embedding has something that is no number");
        job->m.vector[i] = (float)x;
    }
    job->m.n = n;
    return true;
}

static bool embed(struct meaning_job *job)
{
    struct buf b;
    struct fetched got = {0};
    const struct relay_self *self = &job->shared->self;
    buf_init_arena(&b, job->arena, job->question.n * 6 + 1024);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_kv_str(&w, "model", job->m.model);
    jw_kv_str(&w, "input", job->question);
    jw_kv_cstr(&w, "encoding_format", "float");
    jw_object_end(&w);
    struct http_header h[] = {{STR("content-type"), STR("application/json")},
                              {STR("authorization"), str_fmt(job->arena, "Bearer " STR_FMT,
                                                             STR_ARG(secret_reveal(self->key)))}};
    struct fetch f = {.method = HTTP_POST,
                      .url = str_fmt(job->arena, "%s/v1/embeddings", self->origin),
                      .headers = h,
                      .n_headers = ARRAY_LEN(h),
                      .body = buf_str(&b),
                      .timeout_ms = job->timeout_ms,
                      .max_bytes = 16u << 20,
                      .allow_private = true,
                      .is_cancelled = &job->is_gone};
    if (!fetch_run(job->arena, &f, &got, &job->err))
        return false;
    if (got.status != 200)
        return err_set(&job->err, ERR_UPSTREAM, "embedding_failed", "HTTP %d: " STR_FMT, got.status,
                       STR_ARG(str_first(got.body, 200)));
    return read_vector(job, got.body);
}

static void run_find(void *arg)
{
    struct meaning_job *job = arg;
    int64_t similarity;
    if (atomic_load(&job->is_gone) || !embed(job))
        return;
    struct semantic_query q = query_of(job);
    if (!semantic_find(job->shared->semantic, &q, clock_mono_ms(), &job->answer, &similarity,
                       &job->err))
        return;
}

static void on_found(void *arg)
{
    struct meaning_job *job = arg;
    struct relay *rl = job->rl;
    if (!rl || rl->is_ended) {
        if (rl)
            rl->meaning_job = NULL;
        job_free(job);
        return;
    }
    rl->meaning_job = NULL;
    if (job->err.kind != ERR_NONE)
        RELAY_LOG(log_warn, rl, "cache.not_compared", "code=%s message=%s", job->err.code,
                  job->err.message);
    struct saved *answer = job->answer;
    job->answer = NULL;
    if (job->m.vector && !answer) { /* for the answer that is to come */
        rl->meaning = ARENA_NEW(rl->r->arena, struct meaning);
        *rl->meaning = job->m;
        rl->meaning->model = str_dup(rl->r->arena, job->m.model);
        job->m.vector = NULL;
    }
    job_free(job);
    cache_found(rl, answer);
}

/* The text of the last turn when that is all it has, and the user's; NULL: there is no such. */
static struct str question_of(struct relay *rl)
{
    struct err ignored = ERR_INIT; /* told by the attempt */
    if (!relay_load_ir(rl, &ignored))
        return STR_NONE;
    const struct ir_message *m = rl->ir->messages.last;
    if (!m || m->role != IR_USER || !m->parts.first || m->parts.first->next ||
        m->parts.first->kind != IR_TEXT)
        return STR_NONE;
    return m->parts.first->text;
}

bool meaning_look(struct relay *rl)
{
    struct relay_shared *s = rl->env->shared;
    struct meaning m = {.vector = NULL};
    if (!s->semantic || rl->set->semantic_cache_model.n == 0 || rl->meaning_tried ||
        rl->spec->shape != RELAY_TALK || !s->self.origin[0])
        return false;
    rl->meaning_tried = true;
    struct str question = question_of(rl);
    if (question.n == 0 || !cache_key_without(rl, rl->root, question, m.part))
        return false;
    struct meaning_job *job = calloc(1, sizeof *job);
    if (!job)
        abort();
    job->rl = rl;
    job->shared = s;
    job->arena = arena_new();
    job->err = (struct err)ERR_INIT;
    job->m = m;
    job->m.model = str_dup(job->arena, rl->set->semantic_cache_model);
    job->question = str_dup(job->arena, question);
    job->timeout_ms = (uint64_t)rl->set->semantic_cache_timeout_ms;
    job->min_similarity_ppm = rl->set->semantic_cache_similarity_ppm;
    if (!workers_run(s->fetchers, rl->env->loop, run_find, on_found, job)) {
        job_free(job); /* too many wait: ask upstream */
        return false;
    }
    rl->meaning_job = job;
    return true;
}

static void run_put(void *arg)
{
    struct meaning_job *job = arg;
    struct err e = ERR_INIT;
    struct semantic_query q = query_of(job);
    if (!semantic_put(job->shared->semantic, &q, job->answer, job->until_ms, &job->limits, &e))
        log_warn(NULL, "cache.not_kept", "code=%s message=%s", e.code, e.message);
    job_free(job);
}

void meaning_keep(struct relay *rl, struct saved *answer, const struct replies_limits *limits)
{
    struct relay_shared *s = rl->env->shared;
    struct meaning *m = rl->meaning;
    struct meaning_job *job = answer && m ? calloc(1, sizeof *job) : NULL;
    if (job) {
        job->shared = s;
        job->arena = arena_new();
        job->m = *m;
        job->m.model = str_dup(job->arena, m->model);
        m->vector = NULL;
        job->answer = saved_ref(answer);
        job->until_ms = clock_mono_ms() + (uint64_t)rl->set->response_cache_ttl_ms;
        job->limits = *limits;
        if (!workers_run(s->fetchers, rl->env->loop, run_put, NULL, job))
            job_free(job); /* too much waits already: this one is not kept */
    }
    if (m)
        free(m->vector);
    rl->meaning = NULL;
}

void meaning_forget(struct relay *rl)
{
    if (rl->meaning_job) {
        rl->meaning_job->rl = NULL;
        atomic_store(&rl->meaning_job->is_gone, true);
    }
    rl->meaning_job = NULL;
}
