-- The request log over usage_fact: what makes it searchable without an index that every insert would have to keep, and what some
-- requests have to say beyond their row.

-- One row for each 4096 records, fewer once old ones went: which kinds they are of, and where. The writer makes it along the way;
-- the newest records are not in one yet.
CREATE TABLE usage_block (
    last   INTEGER PRIMARY KEY,         -- usage_fact.id of its newest record
    first  INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    kinds  BLOB NOT NULL,               -- how often each kind, see meter/usage_block.c
    filter BLOB NOT NULL,               -- Bloom filter of the request ids
    ids    BLOB NOT NULL                -- where the rare kinds stand
) STRICT;

-- Attempts, what was dropped, how it failed: only for requests of which there is something to say.
CREATE TABLE usage_detail (
    id   INTEGER PRIMARY KEY,           -- usage_fact.id
    text TEXT NOT NULL                  -- JSON
) STRICT;

-- Sums of records that left the log before their time, because it was cleared or full: the figures outlive the log.
CREATE TABLE usage_past (
    day          INTEGER NOT NULL,      -- days since 1970-01-01, UTC
    kind         INTEGER NOT NULL,
    n            INTEGER NOT NULL,
    input_total  INTEGER NOT NULL,
    cache_read   INTEGER NOT NULL,
    cache_write  INTEGER NOT NULL,
    output_total INTEGER NOT NULL,
    reasoning    INTEGER NOT NULL,
    audio_in     INTEGER NOT NULL,
    audio_out    INTEGER NOT NULL,
    duration_us  INTEGER NOT NULL,
    bytes_in     INTEGER NOT NULL,
    bytes_out    INTEGER NOT NULL,
    PRIMARY KEY (day, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_state (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    cleared INTEGER NOT NULL            -- records up to this id are gone for every reader, and deleted in slices
) STRICT;
INSERT INTO usage_state VALUES (1, 0);
