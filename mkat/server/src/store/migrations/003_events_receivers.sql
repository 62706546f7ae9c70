-- The newest events of a type, over all services (rows of an index are in the order of their row numbers).
CREATE INDEX events_type ON events (event_type);

-- How many alerts the sender left out of its last message of a group (SHA-256 of the group's key); 0: none are missing.
ALTER TABLE alertmanager_receivers ADD COLUMN truncated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE alertmanager_receivers ADD COLUMN truncated_group BLOB;
