-- Dates are microseconds since 1970 in UTC, durations microseconds, an endpoint_id the 16 bytes of
-- an endpoint's id. No key, prompt or answer has a place here.

-- "qcc\1": whose file this is.
PRAGMA application_id = 1902338817;

CREATE TABLE endpoint_state (
    cluster         TEXT    NOT NULL,
    endpoint_id     BLOB    NOT NULL,
    wanted          INTEGER NOT NULL,
    configured      INTEGER NOT NULL,
    refused_at      INTEGER,
    refused_status  INTEGER,
    refused_request TEXT,
    saved_at        INTEGER NOT NULL,
    PRIMARY KEY (cluster, endpoint_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE request_logs (
    id            INTEGER PRIMARY KEY,
    request_id    TEXT    NOT NULL,
    timestamp     INTEGER NOT NULL, -- when the request ended
    started_at    INTEGER NOT NULL,
    duration      INTEGER NOT NULL,
    cluster       TEXT,
    endpoint_id   BLOB,
    endpoint      TEXT,
    dialect       TEXT,
    model         TEXT,
    stream        INTEGER NOT NULL,
    outcome       TEXT    NOT NULL,
    status        INTEGER,
    attempts      INTEGER NOT NULL,
    input_tokens  INTEGER,
    output_tokens INTEGER,
    record        TEXT    NOT NULL
) STRICT;

CREATE INDEX request_logs_by_time ON request_logs (timestamp DESC);
CREATE INDEX request_logs_by_endpoint ON request_logs (endpoint_id, timestamp DESC);
CREATE INDEX request_logs_by_request ON request_logs (request_id);

CREATE TABLE endpoint_metrics (
    cluster       TEXT    NOT NULL,
    endpoint_id   BLOB    NOT NULL,
    minute        INTEGER NOT NULL, -- when it begins
    endpoint      TEXT    NOT NULL,
    requests      INTEGER NOT NULL,
    failed        INTEGER NOT NULL,
    timed         INTEGER NOT NULL,
    latency_sum   INTEGER NOT NULL,
    latency_min   INTEGER,
    latency_max   INTEGER,
    input_tokens  INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    PRIMARY KEY (cluster, endpoint_id, minute)
) STRICT, WITHOUT ROWID;

CREATE INDEX endpoint_metrics_by_minute ON endpoint_metrics (minute);
