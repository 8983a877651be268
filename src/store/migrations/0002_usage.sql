-- One row a request, lean: names are interned, no index but the rowid, which follows the time.
CREATE TABLE name (
    id   INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE usage (
    id             INTEGER PRIMARY KEY, -- start in microseconds, made unique
    request_id     TEXT NOT NULL,
    key            INTEGER NOT NULL,
    model          INTEGER NOT NULL,
    upstream       INTEGER NOT NULL,
    upstream_model INTEGER NOT NULL,
    op             INTEGER NOT NULL,
    client_format  INTEGER NOT NULL,
    upstream_format INTEGER NOT NULL,
    error_code     INTEGER NOT NULL,
    status         INTEGER NOT NULL,
    attempts       INTEGER NOT NULL,
    is_stream      INTEGER NOT NULL,
    stop           INTEGER NOT NULL,
    quality        INTEGER NOT NULL,
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
