/* rosetta.c - errors as llm-rosetta's panel and scripts read them: {"error":"text"}. */
#include "api/surface/surface.h"
#include "json/json.h"

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
