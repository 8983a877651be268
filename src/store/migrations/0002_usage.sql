-- One row a request, lean: what repeats (who, which model, by which way, how it ended) stands once in usage_kind, names once
-- in name. No index but the rowid, which follows the time. Readers take the view usage.
CREATE TABLE name (
    id   INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE usage_kind (
    id             INTEGER PRIMARY KEY,
    key            INTEGER NOT NULL,    -- name.id; 0: none
    model          INTEGER NOT NULL,
    upstream       INTEGER NOT NULL,
    upstream_model INTEGER NOT NULL,
    op             INTEGER NOT NULL,
    client_format  INTEGER NOT NULL,
    upstream_format INTEGER NOT NULL,
    error_code     INTEGER NOT NULL,
    status         INTEGER NOT NULL,
    is_stream      INTEGER NOT NULL,
    stop           INTEGER NOT NULL,
    quality        INTEGER NOT NULL,
    UNIQUE (key, model, upstream, upstream_model, op, client_format, upstream_format, error_code, status, is_stream, stop, quality)
) STRICT;

CREATE TABLE usage_fact (
    id             INTEGER PRIMARY KEY, -- end of the request in microseconds, made unique
    request_id     TEXT NOT NULL,
    kind           INTEGER NOT NULL,
    attempts       INTEGER NOT NULL,
    input_total    INTEGER,             -- NULL: unknown
    cache_read     INTEGER,
    cache_write    INTEGER,
    output_total   INTEGER,
    reasoning      INTEGER,
    audio_in       INTEGER,
    audio_out      INTEGER,
    ttft_us        INTEGER,
    duration_us    INTEGER NOT NULL,
    bytes_in       INTEGER NOT NULL,
    bytes_out      INTEGER NOT NULL
) STRICT;

CREATE VIEW usage AS
SELECT f.id, f.request_id, k.key, k.model, k.upstream, k.upstream_model, k.op, k.client_format, k.upstream_format, k.error_code,
       k.status, f.attempts, k.is_stream, k.stop, k.quality, f.input_total, f.cache_read, f.cache_write, f.output_total, f.reasoning,
       f.audio_in, f.audio_out, f.ttft_us, f.duration_us, f.bytes_in, f.bytes_out
FROM usage_fact f CROSS JOIN usage_kind k ON k.id = f.kind;
