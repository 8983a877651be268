-- How much an upstream, or a model, may be used: JSON, see domain/policy.h; '': no limit.
ALTER TABLE provider ADD COLUMN limits TEXT NOT NULL DEFAULT '';
ALTER TABLE model ADD COLUMN limits TEXT NOT NULL DEFAULT '';

-- Addresses that are turned away until a time.
CREATE TABLE ip_ban (
    address    TEXT PRIMARY KEY,          -- or a range
    until_ms   INTEGER NOT NULL,
    reason     TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;
