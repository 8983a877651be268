-- Entries of the sections "combos", "chains" and "aliases" that were made over the API; what stands in the file is not copied here.
CREATE TABLE section_entry (
    section    TEXT NOT NULL,
    name       TEXT NOT NULL,
    body       TEXT NOT NULL,           -- JSON, as the file would have it
    position   INTEGER NOT NULL,        -- order of listing
    PRIMARY KEY (section, name)
) STRICT, WITHOUT ROWID;

-- Which of several goes first: lower priorities, and shares by weight.
ALTER TABLE provider ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE provider ADD COLUMN weight INTEGER NOT NULL DEFAULT 1;
-- How the targets of a model are ordered; empty: as the setting target_strategy says.
ALTER TABLE model ADD COLUMN strategy TEXT NOT NULL DEFAULT '';
