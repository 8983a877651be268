-- What the configuration was after each change of it.
CREATE TABLE config_version (
    id         INTEGER PRIMARY KEY,     -- counts up
    at_ms      INTEGER NOT NULL,
    actor      TEXT NOT NULL,           -- "key 0a1b2c3d", "operator NAME", "shell", "file", "start"
    what       TEXT NOT NULL,           -- a sentence
    changes    TEXT NOT NULL,           -- JSON: [{"kind","name","before","after"}], secrets masked
    file_hash  BLOB NOT NULL,           -- SHA-256 of the file's text; empty: no file
    base_hash  BLOB NOT NULL,           -- of the text that it replaced
    is_written INTEGER NOT NULL,        -- 0: the file is not known to be replaced yet
    state      BLOB NOT NULL            -- sealed: the file's text, providers, models and settings of the store
) STRICT;
CREATE INDEX config_version_pending ON config_version(id) WHERE is_written = 0;

-- Answers of calls with an Idempotency-Key, to be repeated.
CREATE TABLE idempotency (
    caller     TEXT NOT NULL,           -- who, and for which operation
    name       TEXT NOT NULL,           -- the key
    body_hash  BLOB NOT NULL,           -- SHA-256 of what was asked
    status     INTEGER NOT NULL,
    answer     BLOB NOT NULL,           -- sealed: new keys are shown in it
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (caller, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_expiry ON idempotency(expires_ms);
