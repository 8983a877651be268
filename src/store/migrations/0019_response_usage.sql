-- What is known of a response's usage: its tokens bound those of a request that goes on from it where its upstream keeps the conversation.
ALTER TABLE response ADD COLUMN tokens INTEGER;    -- of its prompt and its output; NULL: not known
-- Of one that runs on in the background: the line of the ledger that is to be corrected when its end is heard of; NULL: none.
ALTER TABLE response ADD COLUMN line INTEGER;
