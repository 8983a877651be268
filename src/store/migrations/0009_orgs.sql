-- Whom client keys belong to, and what holds for a key beyond its scopes.
CREATE TABLE org (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL DEFAULT '',
    org        TEXT NOT NULL DEFAULT '',  -- of users only
    limits     TEXT NOT NULL DEFAULT '',  -- JSON, see domain/policy.h; '': none
    is_enabled INTEGER NOT NULL DEFAULT 1,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE user (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL DEFAULT '',
    org        TEXT NOT NULL DEFAULT '',  -- org.id, which may stand in the file; '': none
    limits     TEXT NOT NULL DEFAULT '',
    is_enabled INTEGER NOT NULL DEFAULT 1,
    created_ms INTEGER NOT NULL
) STRICT;

ALTER TABLE key ADD COLUMN policy TEXT NOT NULL DEFAULT '';  -- JSON, see domain/policy.h: owner, tags, limits, schedule; '': nothing
