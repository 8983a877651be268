-- What a provider says of itself beyond what its requests need: a stable id, the pool it belongs to, its place there, names for people.
ALTER TABLE provider ADD COLUMN more TEXT NOT NULL DEFAULT '';      -- JSON object of members of its entry; '': none
-- Kinds of providers that operators made.
CREATE TABLE kind (
    id       TEXT PRIMARY KEY,
    position INTEGER NOT NULL,          -- order of listing
    value    TEXT NOT NULL              -- JSON, as its entry in the file
) STRICT;
-- How a connection's last test went. No configuration: neither versioned nor exported.
CREATE TABLE connection_state (
    id    TEXT PRIMARY KEY,             -- upstream.uid
    value TEXT NOT NULL                 -- JSON object
) STRICT;
-- What a model is called by people, and where it comes from: '' (configured), 'manual', 'imported' or 'auto-sync' (added for a connection).
ALTER TABLE model ADD COLUMN label TEXT NOT NULL DEFAULT '';
ALTER TABLE model ADD COLUMN source TEXT NOT NULL DEFAULT '';
