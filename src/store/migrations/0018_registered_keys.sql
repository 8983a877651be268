-- Client keys that were issued over OmniRoute's surface: for whom and when. A key that was deleted stays here, for it was issued.
CREATE TABLE registered_key (
    id          TEXT PRIMARY KEY,          -- of the client key
    prefix      TEXT NOT NULL,             -- of its text
    name        TEXT NOT NULL,
    provider    TEXT NOT NULL,             -- '': any
    account     TEXT NOT NULL,             -- id of a connection; '': any
    idempotency TEXT UNIQUE,
    issued_ms   INTEGER NOT NULL,
    revoked_ms  INTEGER NOT NULL,          -- 0: not yet
    is_deleted  INTEGER NOT NULL
) STRICT;
CREATE INDEX registered_key_provider ON registered_key(provider, issued_ms);
CREATE INDEX registered_key_account ON registered_key(account, issued_ms);

-- How many may be issued; NULL: as many as are asked for.
CREATE TABLE key_issue_limit (
    scope      TEXT NOT NULL,              -- provider, account
    subject    TEXT NOT NULL,
    max_active INTEGER,
    per_day    INTEGER,
    per_hour   INTEGER,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (scope, subject)
) STRICT, WITHOUT ROWID;
