-- What vendors say was used, by day and model, from their exports: beside our ledger, for comparison. NULL: the export does not tell.
CREATE TABLE vendor_usage (
    provider    TEXT NOT NULL,          -- of ours
    day         INTEGER NOT NULL,       -- days since 1970-01-01, UTC
    model       TEXT NOT NULL,
    requests    INTEGER,
    input       INTEGER,
    cached      INTEGER,
    cache_write INTEGER,
    output      INTEGER,
    amount      INTEGER,                -- nano-USD
    PRIMARY KEY (provider, day, model)
) STRICT, WITHOUT ROWID;
