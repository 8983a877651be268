-- Counters that outlive the process: one JSON object under the key 'counters' (meter/totals.c).
CREATE TABLE metrics (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
