/* rosetta.c - errors as llm-rosetta's panel and scripts read them: {"error":"text"}. */
#include "api/surface/surface.h"
#include "api/change_work.h"
#include "json/json.h"

/* A key that may not administer is nobody here, and a file at fault is the server's (contract, 1 and 2.1). */
void rosetta_adapt(struct err *e)
{
    static const struct {
        const char *code, *begins, *here;
    } faults[] = {{"config_broken", CONFIG_BROKEN, "Failed to read config: "},
                  {"config_unwritten", CONFIG_UNWRITTEN, "Failed to write config: "}};
    static const char *const nobody[] = {"insufficient_scope", "key_disabled", "key_expired"};
    static const char *const store[] = {"store_failed", "store_busy", "store_corrupt"};
    struct err was = *e;
    for (size_t i = 0; i < ARRAY_LEN(store); i++)
        if (strcmp(e->code, store[i]) == 0)
            err_set(e, was.kind, was.code, "Failed to write config: %s", was.message);
    for (size_t i = 0; i < ARRAY_LEN(faults); i++)
        if (strcmp(e->code, faults[i].code) == 0)
            err_set(e, ERR_INTERNAL, was.code, "%s%s", faults[i].here,
                    was.message + strlen(faults[i].begins));
    for (size_t i = 0; e->kind == ERR_FORBIDDEN && i < ARRAY_LEN(nobody); i++)
        if (strcmp(e->code, nobody[i]) == 0)
            err_set(e, ERR_UNAUTHENTICATED, was.code, "Admin authentication required");
}

void rosetta_write_error(const struct err *e, struct str request_id, struct buf *out)
{
    struct jw w = jw_on(out);
    (void)request_id; /* in a header */
    jw_object(&w);
    jw_kv_cstr(&w, "error", e->message);
    if (strcmp(e->code, "saved_not_loaded") == 0) {
        jw_kv_bool(&w, "saved", true);
        jw_kv_bool(&w, "reloaded", false);
    }
    jw_object_end(&w);
}
