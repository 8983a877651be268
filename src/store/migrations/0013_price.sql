-- Price lists that were read in. What the operator sets by hand is configuration, what the program brings
-- along is not here.
CREATE TABLE price (
    id            INTEGER PRIMARY KEY,
    version       INTEGER NOT NULL UNIQUE, -- of text, for ever
    source        INTEGER NOT NULL,        -- enum price_source
    provider      TEXT NOT NULL,
    model         TEXT NOT NULL,
    valid_from_ms INTEGER NOT NULL,
    added_ms      INTEGER NOT NULL,
    text          TEXT NOT NULL            -- JSON, domain/price.c
) STRICT;
CREATE INDEX price_model ON price(source, provider, model, valid_from_ms);

-- Every price that a request was ever priced with: what is needed to compute its cost again, whatever became of the list.
CREATE TABLE price_version (
    id      INTEGER PRIMARY KEY,           -- short, for the rows that refer to it
    version INTEGER NOT NULL UNIQUE,
    text    TEXT NOT NULL
) STRICT;
