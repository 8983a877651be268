/* control.h - what a control-plane handler gets: a decoded call on a worker thread, where it may block. */
#ifndef API_CONTROL_H
#define API_CONTROL_H
#include "api/api.h"
#include "json/json.h"

struct control_call {
    struct arena *arena;
    const struct endpoint *row;
    struct route_params params;
    struct str path, query;
    struct str body;          /* JSON text; empty: none */
    yyjson_val *root;         /* parsed body, an object; NULL without one */
    struct control *control;
    struct snapshot *snap;    /* pinned */
    const struct key *key;
    int status;               /* to answer with; 200 until set */
    struct buf out;           /* the answer, JSON */
};

/* Built by app: the doors to configuration and store that the handlers use. All block. */
struct control {
    void *arg;
    /* Reads file, environment and store again and publishes. The old configuration stays when that fails. */
    bool (*reload)(void *arg, struct err *e);
    struct str data_dir, db_path, config_path;
    int64_t started_ms;       /* wall clock */
};
#endif
