-- A request is one row and one entry of one index. Both grow at their ends, so that a batch of
-- requests changes the few pages that it fills, however large the database is. An index by
-- request_id would take a page of its own for nearly every request. An id is looked for in the
-- index by time, from its newest entry on: a long one is read through in less than a second.
CREATE TABLE requests (
    id         INTEGER PRIMARY KEY,
    timestamp  INTEGER NOT NULL, -- when the request ended
    request_id TEXT    NOT NULL,
    record     TEXT    NOT NULL
) STRICT;

INSERT INTO requests SELECT id, timestamp, request_id, record FROM request_logs ORDER BY id;

DROP TABLE request_logs;
ALTER TABLE requests RENAME TO request_logs;

CREATE INDEX request_logs_by_time ON request_logs (timestamp, request_id);
