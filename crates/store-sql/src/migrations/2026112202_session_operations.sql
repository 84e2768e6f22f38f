-- Todo lists as each turn left them, so that a revert or a fork shows the right one.
CREATE TABLE todo_version (
    tid {number_key} REFERENCES turn (tid),
    sid BIGINT NOT NULL REFERENCES session (sid),
    doc TEXT NOT NULL
);
CREATE INDEX todo_version_session ON todo_version (sid);

-- What a revert did, or is about to do, to the worktree; `pending` while it is at work.
CREATE TABLE restore (
    sid {number_key} REFERENCES session (sid),
    pending BIGINT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX restore_pending ON restore (sid) WHERE pending = 1;

-- The session that a family of forks comes from, to number them.
ALTER TABLE session ADD COLUMN fork_root TEXT;
CREATE INDEX session_fork ON session (fork_root) WHERE fork_root IS NOT NULL;

-- When the trash may be emptied of a session.
CREATE INDEX session_deleted ON session (deleted_at) WHERE deleted_at IS NOT NULL;

-- Shares are found by the hash of their token. `accessed_at`: the last access, milliseconds.
ALTER TABLE share ADD COLUMN accessed_at BIGINT;
CREATE INDEX share_token ON share (token_hash);
