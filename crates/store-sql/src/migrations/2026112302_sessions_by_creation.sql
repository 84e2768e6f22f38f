-- Lists of sessions by their creation, from either end.
CREATE INDEX session_created ON session (created_at DESC, id) WHERE deleted_at IS NULL;
