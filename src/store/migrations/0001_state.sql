-- What the operator configured over the API or the command line. What stands in the file is not copied here.
CREATE TABLE provider (
    name       TEXT PRIMARY KEY,
    position   INTEGER NOT NULL,        -- order of listing
    kind       TEXT NOT NULL,
    base_url   TEXT NOT NULL DEFAULT '',
    proxy      TEXT NOT NULL DEFAULT '',
    ca_file    TEXT NOT NULL DEFAULT '',
    wire       TEXT NOT NULL DEFAULT '',
    api_version TEXT NOT NULL DEFAULT '',
    is_enabled INTEGER NOT NULL DEFAULT 1,
    sealed_key BLOB                     -- XChaCha20-Poly1305: nonce, then ciphertext; NULL: none
) STRICT;

CREATE TABLE model (
    name         TEXT PRIMARY KEY,
    targets      TEXT NOT NULL,         -- JSON: [{"provider":…,"upstream_model":…}, …]
    capabilities TEXT NOT NULL DEFAULT '["text"]',
    max_output_tokens INTEGER,
    context_tokens INTEGER,
    is_enabled   INTEGER NOT NULL DEFAULT 1,
    show_alias   INTEGER NOT NULL DEFAULT 0,
    created_ms   INTEGER NOT NULL
) STRICT;

CREATE TABLE key (
    id         TEXT PRIMARY KEY,
    hash       BLOB NOT NULL UNIQUE,    -- SHA-256 of the key; the key itself is nowhere
    label      TEXT NOT NULL DEFAULT '',
    scopes     INTEGER NOT NULL,
    allowed_models TEXT,                -- JSON array; NULL: all
    is_enabled INTEGER NOT NULL DEFAULT 1,
    expires_ms INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE setting (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- Responses kept for previous_response_id and retrieval.
CREATE TABLE response (
    id         TEXT PRIMARY KEY,
    key_id     TEXT NOT NULL DEFAULT '',
    upstream   TEXT NOT NULL,
    is_native  INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    input      TEXT,
    reply      TEXT
) STRICT;
CREATE INDEX response_expiry ON response(expires_ms);
