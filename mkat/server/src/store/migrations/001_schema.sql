-- The whole store. Conventions: instants are INTEGER microseconds since 1970 UTC (columns named *_at), ids are
-- lower-case hyphenated UUID text, enums are the numbers of the wire, booleans are 0 or 1.

CREATE TABLE settings (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Browser sessions. Only the SHA-256 of the cookie's value is kept.
CREATE TABLE sessions (
    id_hash    BLOB PRIMARY KEY,
    username   TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE services (
    id                 TEXT PRIMARY KEY,
    name               TEXT NOT NULL UNIQUE,
    description        TEXT,
    state              INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 3),
    previous_state     INTEGER,
    severity           INTEGER NOT NULL DEFAULT 1 CHECK (severity BETWEEN 0 AND 3),
    paused_until_at    INTEGER,
    auto_resume        INTEGER NOT NULL DEFAULT 0,
    is_suppressed      INTEGER NOT NULL DEFAULT 0,
    suppression_reason TEXT,
    -- What people were last told: 1 after an announced failure, 0 after its announced recovery.
    told_down          INTEGER NOT NULL DEFAULT 0,
    -- Who owns the service when it is not the operator: 'peer', 'alertmanager', 'watchdog'. NULL: made by hand.
    managed_by         TEXT,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL
);
CREATE INDEX services_auto_resume ON services (paused_until_at) WHERE state = 3 AND auto_resume = 1;

CREATE TABLE monitors (
    id                    TEXT PRIMARY KEY,
    service_id            TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    type                  INTEGER NOT NULL,
    token                 TEXT NOT NULL UNIQUE,
    -- Look-ups go by the hash, so their duration says nothing about the token.
    token_hash            BLOB NOT NULL UNIQUE,
    state                 INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 2),
    interval_seconds      INTEGER NOT NULL,
    grace_period_seconds  INTEGER NOT NULL,
    config_json           TEXT,
    last_check_in_at      INTEGER,
    -- The instant after which a heartbeat counts as missed. NULL: nothing to wait for (paused, down, other types).
    deadline_at           INTEGER,
    min_value             REAL,
    max_value             REAL,
    threshold_strategy    INTEGER NOT NULL DEFAULT 0,
    threshold_count       INTEGER,
    window_seconds        INTEGER,
    window_sample_count   INTEGER,
    retention_days        INTEGER NOT NULL DEFAULT 7,
    last_metric_value     REAL,
    last_metric_at        INTEGER,
    last_out_of_range     INTEGER,
    health_check_url      TEXT,
    http_method           TEXT,
    expected_status_codes TEXT,
    timeout_seconds       INTEGER,
    body_match_regex      TEXT,
    created_at            INTEGER NOT NULL,
    updated_at            INTEGER NOT NULL
);
CREATE INDEX monitors_service ON monitors (service_id);
CREATE INDEX monitors_type ON monitors (type);
CREATE INDEX monitors_deadline ON monitors (deadline_at) WHERE deadline_at IS NOT NULL;

-- History: one row whenever the state of a service or of one of its monitors changed.
CREATE TABLE transitions (
    id           INTEGER PRIMARY KEY,
    service_id   TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    -- The monitor whose signal caused it; NULL for pause, resume and other actions on the service.
    monitor_id   TEXT REFERENCES monitors (id) ON DELETE SET NULL,
    from_state   INTEGER NOT NULL,
    to_state     INTEGER NOT NULL,
    monitor_from INTEGER,
    monitor_to   INTEGER,
    -- webhook, heartbeat, missed_heartbeat, metric, health_check, pause, resume, auto_resume, ...
    trigger_name TEXT NOT NULL,
    reason       TEXT,
    created_at   INTEGER NOT NULL
);
CREATE INDEX transitions_service ON transitions (service_id, created_at);

CREATE TABLE alerts (
    -- Insertion order, the tie-breaker of created_at.
    seq             INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    service_id      TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    type            INTEGER NOT NULL,
    severity        INTEGER NOT NULL,
    message         TEXT NOT NULL,
    metadata        TEXT,
    -- 1: not announced (mute window, or the recovery of a failure that nobody was told about). Released at mute end.
    muted           INTEGER NOT NULL DEFAULT 0,
    -- When the alert was handed to the outbox; NULL while muted.
    announced_at    INTEGER,
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    dispatched_at   INTEGER,
    created_at      INTEGER NOT NULL
);
CREATE INDEX alerts_created ON alerts (created_at, seq);
CREATE INDEX alerts_dispatched ON alerts (dispatched_at);
CREATE INDEX alerts_service ON alerts (service_id, created_at, seq);

CREATE TABLE mute_windows (
    id         TEXT PRIMARY KEY,
    service_id TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    starts_at  INTEGER NOT NULL,
    ends_at    INTEGER NOT NULL,
    reason     TEXT,
    -- 1 once the end of the window was looked at (see workers::mutes).
    settled    INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
);
CREATE INDEX mute_windows_service ON mute_windows (service_id, ends_at);
CREATE INDEX mute_windows_open ON mute_windows (ends_at) WHERE settled = 0;

CREATE TABLE contacts (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    is_default INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX contacts_one_default ON contacts (is_default) WHERE is_default = 1;

CREATE TABLE contact_channels (
    id              TEXT PRIMARY KEY,
    contact_id      TEXT NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    type            INTEGER NOT NULL,
    configuration   TEXT NOT NULL DEFAULT '{}',
    is_enabled      INTEGER NOT NULL DEFAULT 1,
    -- 1: kept in step with the environment, not editable.
    managed         INTEGER NOT NULL DEFAULT 0,
    -- What tells two channels to the same place apart (type plus chat, address or URL); used to send once.
    target_key      TEXT,
    -- Set with is_enabled = 0 when the far side refused for good.
    disabled_reason TEXT,
    -- Delivery health, for the page and for the report to peers.
    failing_since_at INTEGER,
    failure_count   INTEGER NOT NULL DEFAULT 0,
    last_success_at INTEGER,
    last_error      TEXT,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
);
CREATE INDEX contact_channels_contact ON contact_channels (contact_id);

CREATE TABLE service_contacts (
    service_id TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    contact_id TEXT NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    PRIMARY KEY (service_id, contact_id)
) WITHOUT ROWID;
CREATE INDEX service_contacts_contact ON service_contacts (contact_id);

-- One row per (alert, channel): what is to be sent, and what became of it.
CREATE TABLE outbox (
    id                INTEGER PRIMARY KEY,
    alert_id          TEXT NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    -- No foreign key: the ledger outlives the channel.
    channel_id        TEXT NOT NULL,
    service_id        TEXT NOT NULL,
    -- 0 pending, 1 sending, 2 sent, 3 dead (gave up or refused for good), 4 cancelled
    status            INTEGER NOT NULL DEFAULT 0,
    attempts          INTEGER NOT NULL DEFAULT 0,
    next_attempt_at   INTEGER NOT NULL,
    lease_until_at    INTEGER,
    possibly_repeated INTEGER NOT NULL DEFAULT 0,
    last_error        TEXT,
    -- The far side's id of the message (Telegram message id), for later edits.
    remote_id         TEXT,
    created_at        INTEGER NOT NULL,
    sent_at           INTEGER,
    UNIQUE (alert_id, channel_id)
);
CREATE INDEX outbox_due ON outbox (next_attempt_at) WHERE status IN (0, 1);
CREATE INDEX outbox_channel ON outbox (channel_id, status, next_attempt_at);
-- What came earlier about a service is sent earlier.
CREATE INDEX outbox_order ON outbox (channel_id, service_id, id) WHERE status IN (0, 1);
CREATE INDEX outbox_message ON outbox (channel_id, remote_id) WHERE remote_id IS NOT NULL;

CREATE TABLE peers (
    id                         TEXT PRIMARY KEY,
    name                       TEXT NOT NULL,
    url                        TEXT NOT NULL,
    -- Tokens of the peer that we use; '' when the pairing is one-way.
    heartbeat_token            TEXT NOT NULL DEFAULT '',
    webhook_token              TEXT NOT NULL DEFAULT '',
    service_id                 TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    two_way                    INTEGER NOT NULL DEFAULT 0,
    heartbeat_interval_seconds INTEGER NOT NULL DEFAULT 30,
    last_sent_at               INTEGER,
    last_success_at            INTEGER,
    last_error                 TEXT,
    -- 1: the peer does not know our token any more.
    forgotten                  INTEGER NOT NULL DEFAULT 0,
    -- What we last told the peer about our notifications: 1 broken.
    reported_broken            INTEGER NOT NULL DEFAULT 0,
    paired_at                  INTEGER NOT NULL
);
CREATE INDEX peers_service ON peers (service_id);

-- What monitors received. Metric readings are the rows of type 3 (value, is_out_of_range).
CREATE TABLE events (
    id              INTEGER PRIMARY KEY,
    monitor_id      TEXT NOT NULL REFERENCES monitors (id) ON DELETE CASCADE,
    service_id      TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    event_type      INTEGER NOT NULL,
    success         INTEGER NOT NULL,
    value           REAL,
    is_out_of_range INTEGER NOT NULL DEFAULT 0,
    message         TEXT,
    created_at      INTEGER NOT NULL
);
CREATE INDEX events_monitor ON events (monitor_id, created_at);

CREATE TABLE rollups (
    id             INTEGER PRIMARY KEY,
    monitor_id     TEXT NOT NULL REFERENCES monitors (id) ON DELETE CASCADE,
    service_id     TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    granularity    INTEGER NOT NULL,
    period_start_at INTEGER NOT NULL,
    count          INTEGER NOT NULL,
    success_count  INTEGER NOT NULL,
    failure_count  INTEGER NOT NULL,
    min            REAL,
    max            REAL,
    mean           REAL,
    median         REAL,
    p80            REAL,
    p90            REAL,
    p95            REAL,
    std_dev        REAL,
    uptime_percent REAL,
    UNIQUE (monitor_id, granularity, period_start_at)
);

CREATE TABLE service_dependencies (
    id                    TEXT PRIMARY KEY,
    dependent_service_id  TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    dependency_service_id TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    created_at            INTEGER NOT NULL,
    UNIQUE (dependent_service_id, dependency_service_id)
);

CREATE TABLE push_subscriptions (
    id         TEXT PRIMARY KEY,
    endpoint   TEXT NOT NULL UNIQUE,
    p256dh_key TEXT NOT NULL,
    auth_key   TEXT NOT NULL,
    created_at INTEGER NOT NULL
);

-- Alertmanager receivers and the alerts that fire in them.
CREATE TABLE alertmanager_receivers (
    id               TEXT PRIMARY KEY,
    name             TEXT NOT NULL,
    token            TEXT NOT NULL UNIQUE,
    token_hash       BLOB NOT NULL UNIQUE,
    bearer_hash      BLOB,
    service_template TEXT NOT NULL,
    max_services     INTEGER NOT NULL DEFAULT 100,
    expire_seconds   INTEGER NOT NULL DEFAULT 28800,
    config_json      TEXT NOT NULL DEFAULT '{}',
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL
);

CREATE TABLE alertmanager_alerts (
    receiver_id TEXT NOT NULL REFERENCES alertmanager_receivers (id) ON DELETE CASCADE,
    fingerprint TEXT NOT NULL,
    starts_at   INTEGER NOT NULL,
    service_id  TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    monitor_id  TEXT NOT NULL REFERENCES monitors (id) ON DELETE CASCADE,
    firing      INTEGER NOT NULL,
    summary     TEXT,
    labels_json TEXT NOT NULL DEFAULT '{}',
    last_seen_at INTEGER NOT NULL,
    ends_at     INTEGER,
    PRIMARY KEY (receiver_id, fingerprint, starts_at)
) WITHOUT ROWID;
CREATE INDEX alertmanager_alerts_service ON alertmanager_alerts (service_id, firing);
