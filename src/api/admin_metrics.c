/* admin_metrics.c - /admin/api/metrics: counters of all times and the last seconds, as llm-rosetta's panel shows them. */
#include "api/metrics.h"
#include "base/clock.h"
#include "json/shape_json.h"
#include "meter/totals.h"
#include "meter/usage_read.h"
#include <math.h>
#include <sys/stat.h>

struct query {
    int64_t seconds;
};
struct point {
    int64_t t, count;
    double avg_ms;
    int64_t errors;
};
struct persistence {
    int64_t db_bytes, wal_bytes, shm_bytes, log_entries, log_success_entries, log_error_entries,
        log_max_success, log_max_error;
};
struct answer {
    double uptime_seconds;
    int64_t total_requests, total_errors, total_streams;
    double error_rate;
    int64_t active_streams;
    yyjson_val *by_model, *by_source_provider, *by_target_provider, *by_status_code;
    struct shape_list series;
    struct persistence persistence;
};

/* clang-format off */
static const struct shape query_shape = SHAPE(struct query,
    FIELD(struct query, seconds, 0, "Length of the series, from 1 to 300 (others count as the nearest of these); 60 when it is not given"));
static const struct shape point_shape = SHAPE(struct point,
    FIELD(struct point, t, 0, "Second, counted from the running one: 0, -1, …"),
    FIELD(struct point, count, 0, "Requests that ended in it"),
    FIELD(struct point, avg_ms, 0, "Their mean time; 0 without any"),
    FIELD(struct point, errors, 0, "Those with a status of 400 or more"));
static const struct shape persistence_shape = SHAPE(struct persistence,
    FIELD(struct persistence, db_bytes, 0, "Size of the store's file"),
    FIELD(struct persistence, wal_bytes, 0, "… of its write-ahead log"),
    FIELD(struct persistence, shm_bytes, 0, "… of that log's index"),
    FIELD(struct persistence, log_entries, 0, "Requests in the log"),
    FIELD(struct persistence, log_success_entries, 0, "Of these with a status below 400"),
    FIELD(struct persistence, log_error_entries, 0, "Of these the others"),
    FIELD(struct persistence, log_max_success, 0, "How many good ones are kept; 0: no limit"),
    FIELD(struct persistence, log_max_error, 0, "How many failed ones are kept; 0: no limit"));
static const struct shape answer_shape = SHAPE(struct answer,
    FIELD(struct answer, uptime_seconds, 0, "Since the process started"),
    FIELD(struct answer, total_requests, 0, "Requests whose model was found, of all times"),
    FIELD(struct answer, total_errors, 0, "Those with a status of 400 or more"),
    FIELD(struct answer, total_streams, 0, "Those that asked for a stream"),
    FIELD(struct answer, error_rate, 0, "Errors for each request"),
    FIELD(struct answer, active_streams, 0, "Streams that are open"),
    FIELD_JSON(struct answer, by_model, JSON_MAP, &json_of_integer, 0, "Requests by model"),
    FIELD_JSON(struct answer, by_source_provider, JSON_MAP, &json_of_integer, 0, "Requests by the client's format"),
    FIELD_JSON(struct answer, by_target_provider, JSON_MAP, &json_of_integer, 0, "Requests by the provider that was tried last"),
    FIELD_JSON(struct answer, by_status_code, JSON_MAP, &json_of_integer, 0, "Requests by HTTP status"),
    FIELD_LIST(struct answer, series, &point_shape, 0, "The last seconds, oldest first"),
    FIELD_OBJECT(struct answer, persistence, &persistence_shape, 0, "The store behind it"));
/* clang-format on */

static double rounded(double v, double places)
{
    return round(v * places) / places;
}

static yyjson_val *as_json(struct arena *a, const struct tallies *t)
{
    struct buf b;
    yyjson_val *root = NULL;
    buf_init_arena(&b, a, 16u << 20);
    struct jw w = jw_on(&b);
    tallies_write(t, &w);
    return json_parse(a, buf_str(&b), 4, &root, NULL) ? root : NULL;
}

static struct shape_list seconds_of(struct control_call *c, unsigned n)
{
    struct metrics_point *p = ARENA_ARRAY(c->arena, struct metrics_point, n);
    struct point *out = ARENA_ARRAY(c->arena, struct point, n);
    metrics_series(c->control->metrics, clock_mono_ns(), n, p);
    for (unsigned i = 0; i < n; i++)
        out[i] = (struct point){
            .t = (int64_t)i - (int64_t)n + 1,
            .count = (int64_t)p[i].requests,
            .avg_ms = p[i].requests
                          ? rounded((double)p[i].duration_us / 1000 / (double)p[i].requests, 100)
                          : 0,
            .errors = (int64_t)p[i].failures};
    return (struct shape_list){out, n};
}

static int64_t size_of(struct arena *a, struct str path, const char *suffix)
{
    struct stat st;
    const char *name = str_z(a, str_fmt(a, STR_FMT "%s", STR_ARG(path), suffix));
    return stat(name, &st) == 0 ? st.st_size : 0;
}

static bool count_log(struct control_call *c, int min, int max, int64_t *n, struct err *e)
{
    struct usage_filter f = {.status_min = min, .status_max = max};
    struct db *db = control_db(c, e);
    struct usage_reader *r = db ? usage_reader_new(c->arena, db, &f, e) : NULL;
    bool ok = r && usage_read_count(r, n, e);
    usage_reader_free(r);
    return ok;
}

static bool persistence(struct control_call *c, struct persistence *p, struct err *e)
{
    const struct settings *set = &c->snap->settings;
    *p = (struct persistence){.db_bytes = size_of(c->arena, c->control->db_path, ""),
                              .wal_bytes = size_of(c->arena, c->control->db_path, "-wal"),
                              .shm_bytes = size_of(c->arena, c->control->db_path, "-shm"),
                              .log_max_success = set->request_log_success_max,
                              .log_max_error = set->request_log_error_max};
    if (!count_log(c, 0, 0, &p->log_entries, e) ||
        !count_log(c, 400, 999, &p->log_error_entries, e))
        return false;
    p->log_success_entries = p->log_entries - p->log_error_entries;
    return true;
}

static bool metrics(struct control_call *c, struct err *e)
{
    const struct query *asked = c->asked;
    unsigned seconds = c->asked_present & 1 ? metrics_seconds(asked->seconds) : 60;
    struct metrics_gauges now;
    struct answer out = {0};
    if (!metrics_gather(c, &now, e) || !persistence(c, &out.persistence, e))
        return false;
    struct totals t = totals_read(c->control->totals, c->control->metrics, c->arena);
    out.uptime_seconds = rounded((double)control_uptime_ms(c->control) / 1000, 10);
    out.total_requests = (int64_t)t.requests;
    out.total_errors = (int64_t)t.errors;
    out.total_streams = (int64_t)t.streams;
    out.error_rate = t.requests ? rounded((double)t.errors / (double)t.requests, 10000) : 0;
    out.active_streams = (int64_t)now.streams_active;
    out.by_model = as_json(c->arena, &t.models);
    out.by_source_provider = as_json(c->arena, &t.formats);
    out.by_target_provider = as_json(c->arena, &t.upstreams);
    out.by_status_code = as_json(c->arena, &t.statuses);
    out.series = seconds_of(c, seconds);
    return control_reply(c, 200, &answer_shape, &out);
}

/* clang-format off */
const struct endpoint admin_metric_endpoints[] = {
    { HTTP_GET, "/admin/api/metrics", SURFACE_ROSETTA, ACCESS_VIEWER, "Counters and the last seconds", .on_worker = metrics, .query = &query_shape, .out = &answer_shape },
    {0},
};
/* clang-format on */
