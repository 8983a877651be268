-- Up to where the view of proxies was emptied: the request log itself stays.
ALTER TABLE usage_state ADD COLUMN proxy_cleared INTEGER NOT NULL DEFAULT 0;
