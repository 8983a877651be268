-- Money, appended line by line (meter/ledger.c). Nothing here is ever changed; retention of the request log does not reach it.

-- Whose a line is and what it was spent on: what repeats.
CREATE TABLE ledger_kind (
    id             INTEGER PRIMARY KEY,
    key            TEXT NOT NULL,         -- id; '': anonymous
    org            TEXT NOT NULL,         -- of the key at the time
    user           TEXT NOT NULL,
    tags           TEXT NOT NULL,         -- JSON array; '': none
    model          TEXT NOT NULL,
    upstream       TEXT NOT NULL,
    upstream_model TEXT NOT NULL,
    unit           TEXT NOT NULL DEFAULT 'nanousd',
    UNIQUE (key, org, user, tags, model, upstream, upstream_model, unit)
) STRICT;

CREATE TABLE ledger (
    id             INTEGER PRIMARY KEY,   -- microseconds << 9 | loop: when it was settled
    request_id     TEXT NOT NULL,
    entry          INTEGER NOT NULL,      -- enum ledger_kind: 1 settle, 2 adjust, 3 credit
    kind           INTEGER NOT NULL,      -- ledger_kind.id
    ended          INTEGER NOT NULL,      -- enum money_end
    quality        INTEGER NOT NULL,      -- enum usage_quality
    service        INTEGER NOT NULL,      -- enum price_service
    price          INTEGER NOT NULL,      -- price_version.id; 0: none
    state          INTEGER NOT NULL,      -- enum cost_state
    amount         INTEGER,               -- NULL: unknown
    stated         INTEGER,               -- what the upstream says that it cost; NULL: nothing
    input          INTEGER NOT NULL,      -- parts, which add up to what was reported
    cache_read     INTEGER NOT NULL,
    cache_write_5m INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    audio_in       INTEGER NOT NULL,
    output         INTEGER NOT NULL,
    reasoning      INTEGER NOT NULL,
    audio_out      INTEGER NOT NULL,
    image          INTEGER NOT NULL,
    search         INTEGER NOT NULL,
    request        INTEGER NOT NULL,
    corrects       INTEGER,               -- of an adjustment: the line; NULL: none
    note           TEXT
) STRICT;
CREATE INDEX ledger_correction ON ledger(corrects) WHERE corrects IS NOT NULL;

-- Sums by hour, kept with the lines: what budgets start from, and what charts read.
CREATE TABLE ledger_hour (
    hour       INTEGER NOT NULL,          -- counted since 1970-01-01, UTC
    kind       INTEGER NOT NULL,
    n          INTEGER NOT NULL,          -- settled requests
    unpriced   INTEGER NOT NULL,          -- of these
    amount     INTEGER NOT NULL,
    stated     INTEGER NOT NULL,
    stated_n   INTEGER NOT NULL,          -- of how many the upstream said it
    tokens_in  INTEGER NOT NULL,
    cached     INTEGER NOT NULL,          -- of these read from caches
    tokens_out INTEGER NOT NULL,
    PRIMARY KEY (hour, kind)
) STRICT, WITHOUT ROWID;

-- The line of a request; NULL: it has none.
ALTER TABLE usage_fact ADD COLUMN ledger INTEGER;
