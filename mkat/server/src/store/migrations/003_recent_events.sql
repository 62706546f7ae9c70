-- The newest events of a type, over all services (rows of an index are in the order of their row numbers).
CREATE INDEX events_type ON events (event_type);
