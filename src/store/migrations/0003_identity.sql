-- Who administers. Passwords are Argon2id, tokens SHA-256: neither can be read back.
CREATE TABLE operator (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE COLLATE NOCASE,
    role        INTEGER NOT NULL,        -- enum role
    password    TEXT NOT NULL DEFAULT '', -- as libsodium writes it, with its parameters; empty: nobody signs in as this one
    fingerprint BLOB,                    -- of a password given by file or environment, keyed; NULL: it was set otherwise
    origin      INTEGER NOT NULL,        -- enum origin: where the password stands
    is_enabled  INTEGER NOT NULL DEFAULT 1,
    created_ms  INTEGER NOT NULL,
    changed_ms  INTEGER NOT NULL         -- of the password
) STRICT;

CREATE TABLE session (
    hash       BLOB PRIMARY KEY,         -- SHA-256 of the token
    id         TEXT NOT NULL UNIQUE,
    operator   TEXT NOT NULL REFERENCES operator(id) ON DELETE CASCADE,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    seen_ms    INTEGER NOT NULL,         -- last use, written now and then
    address    TEXT NOT NULL DEFAULT '',
    agent      TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

CREATE TABLE lockout (
    address   TEXT PRIMARY KEY,          -- of a client, an IPv6 one by its /64
    failures  INTEGER NOT NULL,
    last_ms   INTEGER NOT NULL,
    until_ms  INTEGER NOT NULL,          -- 0: not locked
    times     INTEGER NOT NULL           -- how often it was locked: each time longer
) STRICT, WITHOUT ROWID;

-- The link by which the first operator is made.
CREATE TABLE claim (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    hash       BLOB NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT;

-- What was changed, by whom: each row's hash covers the row before, so that none can be altered or taken out unseen.
CREATE TABLE audit (
    id         INTEGER PRIMARY KEY,      -- without gaps
    at_ms      INTEGER NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id   TEXT NOT NULL,
    actor      TEXT NOT NULL,
    address    TEXT NOT NULL,
    request_id TEXT NOT NULL,
    method     TEXT NOT NULL,
    path       TEXT NOT NULL,            -- of the endpoint's row
    kind       TEXT NOT NULL,
    object     TEXT NOT NULL,
    status     INTEGER NOT NULL,
    outcome    TEXT NOT NULL,            -- ok, or the code of the error
    before     TEXT,                     -- JSON, secrets masked
    after      TEXT,
    hash       BLOB NOT NULL
) STRICT;

-- Where the chain begins (rows before it were retired) and ends.
CREATE TABLE audit_chain (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    first_id   INTEGER NOT NULL,
    first_prev BLOB NOT NULL,
    last_id    INTEGER NOT NULL,
    last_hash  BLOB NOT NULL
) STRICT;
INSERT INTO audit_chain VALUES (1, 1, zeroblob(32), 0, zeroblob(32));
