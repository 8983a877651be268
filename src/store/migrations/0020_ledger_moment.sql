-- From a request's admission, of which moment its prices are, to when it was settled. NULL: those of when it was settled, or none.
ALTER TABLE ledger ADD COLUMN lasted_ms INTEGER;
