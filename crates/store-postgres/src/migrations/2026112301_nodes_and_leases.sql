-- Where epochs come from, so that a later one is always higher.
CREATE SEQUENCE epoch;

-- Processes that registered; one that lost its lease registers anew, under another number.
-- `last_group` is the last group of commits that it made durable.
CREATE TABLE node (
    number {key},
    name TEXT NOT NULL,
    url TEXT,
    host TEXT NOT NULL,
    pid BIGINT NOT NULL,
    version TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    last_group BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT
) WITH (fillfactor = 50);
CREATE INDEX node_name ON node (name, number);
CREATE INDEX node_living ON node (number) WHERE ended_at IS NULL;

-- Who may write a session, and the epoch under which it got it.
CREATE TABLE lease (
    sid {number_key} REFERENCES session (sid) ON DELETE CASCADE,
    node BIGINT NOT NULL REFERENCES node (number),
    epoch BIGINT NOT NULL
);
CREATE INDEX lease_node ON lease (node);

-- Directories that the nodes of a name have.
CREATE TABLE place (
    name TEXT NOT NULL,
    directory TEXT NOT NULL,
    noted_at BIGINT NOT NULL,
    PRIMARY KEY (name, directory)
);
CREATE INDEX place_directory ON place (directory);

-- Rows that every commit moves: room on their pages for the next version.
ALTER TABLE clock SET (fillfactor = 10);
ALTER TABLE session SET (fillfactor = 70);
