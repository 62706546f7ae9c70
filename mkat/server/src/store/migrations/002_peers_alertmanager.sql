-- One-time secrets of pairing tokens that were handed out.
CREATE TABLE pairing_secrets (
    hash       BLOB PRIMARY KEY,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;

-- How many of a period's events carried a value. Nothing was rolled up before this step.
ALTER TABLE rollups ADD COLUMN value_count INTEGER NOT NULL DEFAULT 0;

-- The first form of these tables was never filled.
DROP TABLE alertmanager_alerts;
DROP TABLE alertmanager_receivers;

-- Alertmanager receivers, the services they stand for and the alerts that fire in them.
CREATE TABLE alertmanager_receivers (
    id               TEXT PRIMARY KEY,
    name             TEXT NOT NULL UNIQUE,
    token            TEXT NOT NULL UNIQUE,
    token_hash       BLOB NOT NULL UNIQUE,
    -- SHA-256 of the bearer secret that senders must show; NULL: none.
    bearer_hash      BLOB,
    service_template TEXT NOT NULL,
    max_services     INTEGER NOT NULL,
    expire_seconds   INTEGER NOT NULL,
    -- Name of the alert that always fires; '' when there is none.
    watchdog_alert   TEXT NOT NULL,
    watchdog_seconds INTEGER NOT NULL,
    created_at       INTEGER NOT NULL
);

-- Which service and monitor the alerts of one key go to: 'service:<rendered template>', 'overflow' or 'watchdog'.
CREATE TABLE alertmanager_services (
    receiver_id TEXT NOT NULL REFERENCES alertmanager_receivers (id) ON DELETE CASCADE,
    key         TEXT NOT NULL,
    service_id  TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    monitor_id  TEXT NOT NULL REFERENCES monitors (id) ON DELETE CASCADE,
    PRIMARY KEY (receiver_id, key)
) WITHOUT ROWID;
CREATE INDEX alertmanager_services_service ON alertmanager_services (service_id);
CREATE INDEX alertmanager_services_monitor ON alertmanager_services (monitor_id);

CREATE TABLE alertmanager_alerts (
    receiver_id  TEXT NOT NULL REFERENCES alertmanager_receivers (id) ON DELETE CASCADE,
    fingerprint  TEXT NOT NULL,
    starts_at    INTEGER NOT NULL,
    monitor_id   TEXT NOT NULL REFERENCES monitors (id) ON DELETE CASCADE,
    firing       INTEGER NOT NULL,
    severity     INTEGER NOT NULL,
    summary      TEXT NOT NULL,
    labels_json  TEXT NOT NULL,
    last_seen_at INTEGER NOT NULL,
    ends_at      INTEGER,
    PRIMARY KEY (receiver_id, fingerprint, starts_at)
) WITHOUT ROWID;
CREATE INDEX alertmanager_alerts_monitor ON alertmanager_alerts (monitor_id, firing);
