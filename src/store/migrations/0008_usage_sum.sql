-- Figures of the request log by minute, hour and day for each kind of request: charts read these, and they outlive the records.
CREATE TABLE usage_sum (
    span         INTEGER NOT NULL,      -- enum usage_span: 0 minutes, 1 hours, 2 days
    at           INTEGER NOT NULL,      -- counted in spans since 1970-01-01, UTC
    kind         INTEGER NOT NULL,      -- usage_kind.id
    n            INTEGER NOT NULL,
    last         INTEGER NOT NULL,      -- usage_fact.id of the newest
    input_total  INTEGER NOT NULL,
    cache_read   INTEGER NOT NULL,
    cache_write  INTEGER NOT NULL,
    output_total INTEGER NOT NULL,
    reasoning    INTEGER NOT NULL,
    audio_in     INTEGER NOT NULL,
    audio_out    INTEGER NOT NULL,
    ttft_n       INTEGER NOT NULL,      -- requests whose time to the first token is known
    ttft_us      INTEGER NOT NULL,
    duration_us  INTEGER NOT NULL,
    retried      INTEGER NOT NULL,      -- requests of more than one attempt
    bytes_in     INTEGER NOT NULL,
    bytes_out    INTEGER NOT NULL,
    PRIMARY KEY (span, at, kind)
) STRICT, WITHOUT ROWID;

INSERT INTO usage_sum SELECT 2, day, kind, n, day * 86400000000, input_total, cache_read, cache_write, output_total, reasoning,
    audio_in, audio_out, 0, 0, duration_us, 0, bytes_in, bytes_out FROM usage_past;
DROP TABLE usage_past;

CREATE TABLE usage_sum_state (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    up_to INTEGER NOT NULL              -- records up to this id are in the sums; the writer adds the others
) STRICT;
INSERT INTO usage_sum_state VALUES (1, 0);
