/* omniroute.c - errors as OmniRoute's dashboard and scripts read them (contract, 1.4): a text, or an object where it was the
 * schema (E2), the gate (E5) or the guard of the body (E8) that refused; with type and request for some paths (E6). */
#include "api/surface/surface.h"
#include "json/json.h"

/* A key that may not administer is nobody here, and what exists already is a wrong request. */
void omniroute_adapt(struct err *e)
{
    static const char *const unknown[] = {"insufficient_scope", "key_disabled", "key_expired"};
    static const char *const wrong[] = {"already_exists", "in_use"};
    for (size_t i = 0; e->kind == ERR_FORBIDDEN && i < ARRAY_LEN(unknown); i++)
        if (strcmp(e->code, unknown[i]) == 0)
            e->kind = ERR_UNAUTHENTICATED;
    for (size_t i = 0; e->kind == ERR_CONFLICT && i < ARRAY_LEN(wrong); i++)
        if (strcmp(e->code, wrong[i]) == 0)
            e->kind = ERR_INPUT;
}

static bool is_of_gate(const struct err *e)
{
    return e->kind == ERR_UNAUTHENTICATED || e->kind == ERR_OVERLOADED;
}

/* E5 */
static void write_gate(struct jw *w, const struct err *e, struct str request_id)
{
    jw_object(w);
    jw_kv_cstr(w, "code", e->kind == ERR_UNAUTHENTICATED ? "AUTH_001" : "SERVICE_UNAVAILABLE");
    jw_kv_cstr(w, "message", e->message);
    jw_kv_str(w, "correlation_id", request_id);
    jw_object_end(w);
}

static void write_details(struct jw *w, const struct err *e)
{
    jw_key(w, "details");
    jw_array(w);
    jw_object(w);
    jw_kv_cstr(w, "field", e->field[0] ? e->field : "body");
    jw_kv_cstr(w, "message", e->message);
    jw_object_end(w);
    jw_array_end(w);
}

/* Found by a shape or the JSON reader, not by a rule of a handler. */
static bool is_of_schema(const struct err *e)
{
    return (e->kind == ERR_INPUT || e->kind == ERR_UNSUPPORTED) &&
           (e->field[0] || strcmp(e->code, "invalid_json") == 0 ||
            strcmp(e->code, "invalid_value") == 0);
}

void omniroute_write_error(const struct err *e, struct str request_id, struct buf *out)
{
    struct jw w = jw_on(out);
    jw_object(&w);
    jw_key(&w, "error");
    if (is_of_gate(e)) {
        write_gate(&w, e, request_id);
    } else if (is_of_schema(e)) { /* E2 */
        jw_object(&w);
        jw_kv_cstr(&w, "message", "Invalid request");
        write_details(&w, e);
        jw_object_end(&w);
    } else if (e->kind == ERR_TOO_LARGE) { /* E8 */
        jw_object(&w);
        jw_kv_cstr(&w, "message", e->message);
        jw_kv_cstr(&w, "type", "payload_too_large");
        jw_kv_cstr(&w, "code", "PAYLOAD_TOO_LARGE");
        jw_object_end(&w);
    } else { /* E1 */
        jw_cstr(&w, e->message);
    }
    jw_object_end(&w);
}

static const char *type_of(const struct err *e)
{
    int status = err_status(e);
    return status == 404   ? "not_found"
           : status == 409 ? "conflict"
           : status >= 500 ? "server_error"
                           : "invalid_request";
}

/* E6 */
void omniroute_write_typed_error(const struct err *e, struct str request_id, struct buf *out)
{
    struct jw w = jw_on(out);
    if (is_of_gate(e) || e->kind == ERR_TOO_LARGE) {
        omniroute_write_error(e, request_id, out);
        return;
    }
    jw_object(&w);
    jw_key(&w, "error");
    jw_object(&w);
    jw_kv_cstr(&w, "message", is_of_schema(e) ? "Invalid request" : e->message);
    jw_kv_cstr(&w, "type", type_of(e));
    if (is_of_schema(e))
        write_details(&w, e);
    jw_object_end(&w);
    jw_kv_str(&w, "requestId", request_id);
    jw_object_end(&w);
}
