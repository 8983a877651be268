-- What is kept of a key's text besides its hash.
ALTER TABLE key ADD COLUMN hint TEXT NOT NULL DEFAULT '';            -- masked, "rsk-***90ab"; '': made before there was one
ALTER TABLE key ADD COLUMN sealed BLOB;                              -- only of keys made while credential_visible was on
ALTER TABLE key ADD COLUMN rotated_ms INTEGER NOT NULL DEFAULT 0;    -- when it last got a new text
