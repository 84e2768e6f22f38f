-- What the store says of itself: epoch, min_reader, min_writer, written_by.
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- The steps of the schema's history that were taken.
CREATE TABLE migration (
    version {number_key},
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at BIGINT NOT NULL
);

-- One row: the position of the newest event, and the number of sessions.
CREATE TABLE clock (
    id {number_key},
    seq BIGINT NOT NULL,
    sessions BIGINT NOT NULL
);
INSERT INTO clock (id, seq, sessions) VALUES (1, 0, 0);

-- Sessions; from `epoch` on what their writer needs. Columns ending in _seq point to the
-- event at which a replay shows the row.
CREATE TABLE session (
    sid {key},
    id TEXT NOT NULL UNIQUE,
    slug TEXT NOT NULL,
    project_id TEXT NOT NULL,
    directory TEXT NOT NULL,
    path TEXT,
    parent_id TEXT,
    fork TEXT,
    title TEXT NOT NULL,
    version TEXT NOT NULL,
    agent TEXT,
    model TEXT,
    metadata TEXT,
    permission TEXT,
    revert TEXT,
    summary TEXT,
    share_url TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    archived_at BIGINT,
    deleted_at BIGINT,
    status TEXT NOT NULL,
    status_since BIGINT NOT NULL,
    status_message TEXT,
    cost DOUBLE PRECISION NOT NULL,
    tokens TEXT NOT NULL,
    health TEXT NOT NULL,
    revision BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    last_position BIGINT NOT NULL,
    id_floor BIGINT NOT NULL,
    last_message_at BIGINT NOT NULL,
    row_seq BIGINT NOT NULL,
    status_seq BIGINT NOT NULL
);
CREATE INDEX session_updated ON session (updated_at DESC, id) WHERE deleted_at IS NULL;
CREATE INDEX session_project ON session (project_id, updated_at DESC, id) WHERE deleted_at IS NULL;
CREATE INDEX session_directory ON session (directory, updated_at DESC, id) WHERE deleted_at IS NULL;
CREATE INDEX session_parent ON session (parent_id, updated_at DESC, id)
    WHERE deleted_at IS NULL AND parent_id IS NOT NULL;
CREATE INDEX session_trash ON session (updated_at DESC, id) WHERE deleted_at IS NOT NULL;
CREATE INDEX session_busy ON session (sid) WHERE status = 'busy';

-- Keys that made the creation of a session idempotent.
CREATE TABLE idempotency (
    key TEXT NOT NULL PRIMARY KEY,
    sid BIGINT NOT NULL REFERENCES session (sid),
    digest TEXT NOT NULL
);

-- Messages: `info` is their JSON without ids, `sum` its CRC-32.
CREATE TABLE message (
    mid {key},
    sid BIGINT NOT NULL REFERENCES session (sid),
    position BIGINT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    created_seq BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    sum BIGINT NOT NULL,
    info TEXT NOT NULL
);
CREATE UNIQUE INDEX message_position ON message (sid, position);

-- Large content, once, with the number of parts that point to it.
CREATE TABLE blob (
    bid {key},
    hash TEXT NOT NULL UNIQUE,
    refs BIGINT NOT NULL,
    body TEXT NOT NULL
);

-- Parts: `body` is their JSON without ids, in `blob` when it is large; `sum` its CRC-32.
-- `seq` is 0 while a part has had no event.
CREATE TABLE part (
    pid {key},
    mid BIGINT NOT NULL REFERENCES message (mid),
    id TEXT NOT NULL UNIQUE,
    seq BIGINT NOT NULL,
    sum BIGINT NOT NULL,
    body TEXT,
    bid BIGINT REFERENCES blob (bid)
);
CREATE INDEX part_message ON part (mid);
CREATE INDEX part_blob ON part (bid) WHERE bid IS NOT NULL;

CREATE TABLE turn (
    tid {key},
    sid BIGINT NOT NULL REFERENCES session (sid),
    id TEXT NOT NULL UNIQUE,
    user_message_id TEXT NOT NULL,
    idempotency_key TEXT,
    open BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX turn_session ON turn (sid);
CREATE INDEX turn_message ON turn (sid, user_message_id);
CREATE INDEX turn_open ON turn (sid) WHERE open = 1;
CREATE UNIQUE INDEX turn_key ON turn (sid, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- Permission requests (kind 1) and questions (kind 2).
CREATE TABLE ask (
    aid {key},
    sid BIGINT NOT NULL REFERENCES session (sid),
    kind BIGINT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    pending BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX ask_session ON ask (sid);
CREATE INDEX ask_pending ON ask (sid) WHERE pending = 1;

CREATE TABLE todo (
    sid {number_key} REFERENCES session (sid),
    turn_id TEXT,
    seq BIGINT NOT NULL,
    doc TEXT NOT NULL
);

CREATE TABLE binding (
    sid {number_key} REFERENCES session (sid),
    live BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX binding_live ON binding (sid) WHERE live = 1;

CREATE TABLE profile (
    name TEXT NOT NULL PRIMARY KEY,
    doc TEXT NOT NULL
);

CREATE TABLE project (
    prid {key},
    id TEXT NOT NULL UNIQUE,
    seq BIGINT NOT NULL,
    doc TEXT NOT NULL
);

CREATE TABLE usage (
    uid {key},
    sid BIGINT NOT NULL REFERENCES session (sid),
    doc TEXT NOT NULL
);
CREATE INDEX usage_session ON usage (sid);

CREATE TABLE file_change (
    tid {number_key} REFERENCES turn (tid),
    doc TEXT NOT NULL
);

CREATE TABLE share (
    sid {number_key} REFERENCES session (sid),
    token_hash TEXT NOT NULL,
    doc TEXT NOT NULL
);

-- What happened, in order. `entity` is the key of the row it happened to, by kind; only facts
-- without a row have a payload. No foreign key: rows go, events stay.
CREATE TABLE event (
    seq {number_key},
    sid BIGINT NOT NULL,
    session_seq BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    entity BIGINT NOT NULL,
    at BIGINT NOT NULL,
    payload TEXT
);
CREATE INDEX event_session ON event (sid{and_seq});
