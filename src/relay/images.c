/* images.c - remote images for formats that take bytes only: fetched on a worker, checked, put in place, then the attempt goes on.
 * No private address is reached, redirects are checked again, size and time are bounded. */
#include "relay/request.h"
#include "base/clock.h"
#include "base/codec.h"
#include "http/fetch.h"
#include "wire/common.h"
#include <stdlib.h>

#define MAX_IMAGES 32
#define MAX_REDIRECTS 3

struct image {
    struct ir_part *part; /* touched on the loop only */
    bool is_image;
    struct str url, type, base64;
};

struct image_job {
    struct relay *rl;     /* NULL: the request is gone */
    _Atomic bool is_gone; /* the same for the worker */
    struct arena *arena;
    struct image v[MAX_IMAGES];
    size_t n;
    size_t max_bytes;
    uint64_t timeout_ms;
    struct str proxy;
    struct err err;
};

static void run(void *arg)
{
    struct image_job *job = arg;
    uint64_t end = clock_mono_ms() + job->timeout_ms; /* of all together */
    for (size_t i = 0; i < job->n && !atomic_load(&job->is_gone); i++) {
        struct image *im = &job->v[i];
        uint64_t now = clock_mono_ms();
        struct fetch f = {.method = HTTP_GET,
                          .url = im->url,
                          .timeout_ms = now < end ? end - now : 1,
                          .max_bytes = job->max_bytes,
                          .max_redirects = MAX_REDIRECTS,
                          .proxy = job->proxy};
        struct fetched got = {0};
        struct err e = ERR_INIT;
        struct str shown = str_first(im->url, 200);
        if (!fetch_run(job->arena, &f, &got, &e)) {
            err_set(&job->err, ERR_INPUT, "image_fetch_failed", "Cannot fetch '" STR_FMT "': %s",
                    STR_ARG(shown), e.message);
        } else if (got.status != 200) {
            err_set(&job->err, ERR_INPUT, "image_fetch_failed",
                    "Cannot fetch '" STR_FMT "': HTTP %d", STR_ARG(shown), got.status);
        } else if (!str_starts_nocase(got.content_type, STR("image/")) && im->is_image) {
            err_set(&job->err, ERR_INPUT, "image_fetch_failed", "'" STR_FMT "' is not an image",
                    STR_ARG(shown));
        }
        if (job->err.kind != ERR_NONE)
            return;
        (void)str_cut(got.content_type, ';', &im->type);
        im->type = str_trim(im->type);
        im->base64 = base64_encode(job->arena, got.body);
    }
}

static void done(void *arg)
{
    struct image_job *job = arg;
    struct relay *rl = job->rl;
    if (rl) {
        rl->images = NULL;
        rl->is_fetching = false;
        if (job->err.kind != ERR_NONE) {
            relay_fail(rl, &job->err);
        } else {
            for (size_t i = 0; i < job->n; i++) {
                const struct image *im = &job->v[i];
                im->part->source = (struct ir_source){
                    .kind = IR_SOURCE_DATA,
                    .media_type = str_dup(rl->body_arena, im->type),
                    .base64 = str_dup(rl->body_arena, im->base64)};
            }
            rl->images_done = true;
            relay_attempt_next(rl);
        }
    }
    arena_free(job->arena);
    free(job);
}

bool images_fetch(struct relay *rl)
{
    if (rl->images_done || !rl->ir || !rl->target->upstream->fetch_images)
        return false;
    struct image_job *job = calloc(1, sizeof *job);
    if (!job)
        abort();
    job->arena = arena_new();
    job->err = (struct err)ERR_INIT;
    job->max_bytes = (size_t)rl->set->image_max_bytes;
    job->timeout_ms = (uint64_t)rl->set->image_timeout_ms;
    job->proxy = str_dup(job->arena, rl->set->proxy_url);
    for (struct ir_part *p = NULL;
         job->n < MAX_IMAGES && (p = ir_find_remote_media(rl->ir, p)) != NULL;)
        job->v[job->n++] = (struct image){
            .part = p, .is_image = p->kind == IR_IMAGE, .url = str_dup(job->arena, p->source.url)};
    job->rl = rl;
    if (job->n == 0 || !workers_run(rl->env->shared->fetchers, rl->env->loop, run, done, job)) {
        arena_free(job->arena);
        free(job);
        return false;
    }
    rl->images = job;
    rl->is_fetching = true;
    return true;
}

void images_forget(struct relay *rl)
{
    if (rl->images) {
        rl->images->rl = NULL;
        atomic_store(&rl->images->is_gone, true);
    }
    rl->images = NULL;
}
