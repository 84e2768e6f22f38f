//! The text of every statement.

use std::sync::LazyLock;

macro_rules! session_columns {
    () => {
        "s.id, s.slug, s.project_id, s.directory, s.path, s.parent_id, s.fork, s.title, s.version, \
         s.agent, s.model, s.metadata, s.permission, s.revert, s.summary, s.share_url, \
         s.created_at, s.updated_at, s.archived_at, s.deleted_at, s.status, s.status_since, \
         s.status_message, s.cost, s.tokens, s.health, s.revision"
    };
}

// ---- sessions ----

pub(crate) const SESSION_BY_ID: &str = concat!(
    "SELECT ",
    session_columns!(),
    " FROM session s WHERE s.id = $1"
);
pub(crate) const SESSION_BY_SID: &str = concat!(
    "SELECT ",
    session_columns!(),
    " FROM session s WHERE s.sid = $1"
);
/// The first column is the store's newest event.
pub(crate) const SESSION_HEAD: &str = concat!(
    "SELECT (SELECT seq FROM clock WHERE id = 1), s.sid, s.epoch, s.last_seq, s.last_position, s.id_floor, s.last_message_at, \
     s.row_seq, s.status_seq, ",
    session_columns!(),
    " FROM session s WHERE s.id = $1"
);
pub(crate) const SESSION_SID: &str = "SELECT sid FROM session WHERE id = $1";
pub(crate) const SESSION_ID: &str = "SELECT id FROM session WHERE sid = $1";
pub(crate) const SESSION_INSERT: &str = "INSERT INTO session (id, slug, project_id, directory, path, \
     parent_id, fork, title, version, agent, model, metadata, permission, revert, summary, \
     share_url, created_at, updated_at, archived_at, deleted_at, status, status_since, \
     status_message, cost, tokens, health, revision, fork_root, epoch, last_seq, last_position, \
     id_floor, last_message_at, row_seq, status_seq) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, \
     $20, $21, $22, $23, $24, $25, $26, $27, $28, 0, 0, 0, 0, 0, 0, 0)";
/// What every commit moves; no column of an index.
pub(crate) const SESSION_UPDATE_HEAD: &str = "UPDATE session SET epoch = $2, last_seq = $3, \
     last_position = $4, id_floor = $5, last_message_at = $6, row_seq = $7, status_seq = $8, \
     cost = $9, tokens = $10, revision = $11 WHERE sid = $1";
/// The same with the time of the last change.
pub(crate) const SESSION_UPDATE_TOUCH: &str = "UPDATE session SET epoch = $2, last_seq = $3, \
     last_position = $4, id_floor = $5, last_message_at = $6, row_seq = $7, status_seq = $8, \
     cost = $9, tokens = $10, revision = $11, updated_at = $12 WHERE sid = $1";
/// The same with all that a patch, a status or the trash may change.
pub(crate) const SESSION_UPDATE: &str = "UPDATE session SET epoch = $2, last_seq = $3, \
     last_position = $4, id_floor = $5, last_message_at = $6, row_seq = $7, status_seq = $8, \
     cost = $9, tokens = $10, revision = $11, updated_at = $12, title = $13, agent = $14, \
     model = $15, metadata = $16, permission = $17, revert = $18, summary = $19, share_url = $20, \
     archived_at = $21, deleted_at = $22, status = $23, status_since = $24, status_message = $25 \
     WHERE sid = $1";
pub(crate) const SESSION_DEGRADE: &str =
    "UPDATE session SET health = 'degraded' WHERE id = $1 AND health = 'ok'";
pub(crate) const SESSION_BY_KEY: &str = "SELECT s.id, k.digest FROM idempotency k \
     JOIN session s ON s.sid = k.sid WHERE k.key = $1";
pub(crate) const KEY_INSERT: &str =
    "INSERT INTO idempotency (key, sid, digest) VALUES ($1, $2, $3)";
pub(crate) const UNFINISHED: &str = "SELECT id FROM session WHERE deleted_at IS NULL AND sid IN (\
     SELECT sid FROM session WHERE status = 'busy' \
     UNION SELECT sid FROM turn WHERE open = 1 \
     UNION SELECT sid FROM ask WHERE pending = 1) ORDER BY id";

/// A list of sessions in each of its orders.
#[derive(Debug)]
pub(crate) struct SessionLists {
    pub(crate) changed: &'static str,
    pub(crate) newest: &'static str,
    pub(crate) oldest: &'static str,
}

/// Filters of a list that no index serves: `$1` cursor time, `$2` cursor id, `$3` oldest change,
/// `$4` project, `$5` directory, `$6` parent, `$7` path, `$8` roots only, `$9` search text in
/// lower case, `$10` archived (-1 any), `$11`-`$13` states, `$14` limit, `$15` origin of forks.
/// `replace` finds a text without wildcards in every database; `fork` begins with the origin.
macro_rules! session_list {
    ($base:literal, $after:literal, $order:literal) => {
        concat!(
            "SELECT ",
            session_columns!(),
            " FROM session s WHERE ",
            $base,
            $after,
            " AND s.updated_at >= $3 \
             AND (CAST($4 AS TEXT) IS NULL OR s.project_id = $4) \
             AND (CAST($5 AS TEXT) IS NULL OR s.directory = $5) \
             AND (CAST($6 AS TEXT) IS NULL OR s.parent_id = $6) \
             AND (CAST($7 AS TEXT) IS NULL OR s.path = $7 \
                  OR substr(s.path, 1, length($7) + 1) = $7 || '/') \
             AND ($8 = 0 OR s.parent_id IS NULL) \
             AND (CAST($9 AS TEXT) IS NULL OR replace(lower(s.title), $9, '') <> lower(s.title)) \
             AND ($10 < 0 OR ($10 = 1) = (s.archived_at IS NOT NULL)) \
             AND (CAST($11 AS TEXT) IS NULL OR s.status IN ($11, $12, $13)) \
             AND (CAST($15 AS TEXT) IS NULL \
                  OR substr(s.fork, 1, length($15) + 16) = '{\"session_id\":\"' || $15 || '\"') \
             ORDER BY ",
            $order,
            " LIMIT $14"
        )
    };
}
macro_rules! session_lists {
    ($base:literal) => {
        SessionLists {
            changed: session_list!(
                $base,
                " AND s.updated_at <= $1 AND (s.updated_at < $1 OR s.id > $2)",
                "s.updated_at DESC, s.id"
            ),
            newest: session_list!(
                $base,
                " AND s.created_at <= $1 AND (s.created_at < $1 OR s.id > $2)",
                "s.created_at DESC, s.id"
            ),
            oldest: session_list!(
                $base,
                " AND s.created_at >= $1 AND (s.created_at > $1 OR s.id < $2)",
                "s.created_at, s.id DESC"
            ),
        }
    };
}
pub(crate) const SESSIONS_ALL: SessionLists = session_lists!("s.deleted_at IS NULL");
/// There are few at any time, and an index of them; asked for by themselves, or the order of the
/// list would have all others walked.
pub(crate) const SESSIONS_BUSY: SessionLists = session_lists!(
    "s.deleted_at IS NULL AND s.sid IN (SELECT b.sid FROM session b WHERE b.status = 'busy')"
);
pub(crate) const SESSIONS_OF_PROJECT: SessionLists =
    session_lists!("s.deleted_at IS NULL AND s.project_id = $4");
pub(crate) const SESSIONS_OF_DIRECTORY: SessionLists =
    session_lists!("s.deleted_at IS NULL AND s.directory = $5");
pub(crate) const SESSIONS_OF_PARENT: SessionLists =
    session_lists!("s.deleted_at IS NULL AND s.parent_id = $6");
/// A fork's `fork_root` is its origin's, or its origin when that is no fork.
pub(crate) const SESSIONS_OF_ORIGIN: SessionLists = session_lists!(
    "s.deleted_at IS NULL AND s.fork_root = \
     COALESCE((SELECT o.fork_root FROM session o WHERE o.id = $15), $15)"
);
pub(crate) const SESSIONS_TRASHED: SessionLists = session_lists!("s.deleted_at IS NOT NULL");

/// The forks of a family.
pub(crate) const FORKS_OF: &str = "SELECT fork FROM session WHERE fork_root = $1";
pub(crate) const TRASHED_UNTIL: &str = "SELECT id FROM session \
     WHERE deleted_at IS NOT NULL AND deleted_at <= $1 ORDER BY deleted_at LIMIT $2";

/// Everything of the session `$1`, what points to others before them; the session comes last.
pub(crate) const PURGE: [&str; 15] = [
    "DELETE FROM todo_version WHERE sid = $1",
    "DELETE FROM file_change WHERE tid IN (SELECT tid FROM turn WHERE sid = $1)",
    "DELETE FROM turn WHERE sid = $1",
    "DELETE FROM part WHERE mid IN (SELECT mid FROM message WHERE sid = $1)",
    "DELETE FROM message WHERE sid = $1",
    "DELETE FROM ask WHERE sid = $1",
    "DELETE FROM todo WHERE sid = $1",
    "DELETE FROM binding WHERE sid = $1",
    "DELETE FROM usage WHERE sid = $1",
    "DELETE FROM restore WHERE sid = $1",
    "DELETE FROM share WHERE sid = $1",
    "DELETE FROM idempotency WHERE sid = $1",
    "DELETE FROM event WHERE sid = $1",
    "DELETE FROM session WHERE sid = $1",
    "UPDATE clock SET sessions = sessions - 1 WHERE id = 1 AND $1 > 0",
];
pub(crate) const BLOBS_OF: &str = "SELECT p.bid FROM message m JOIN part p ON p.mid = m.mid \
     WHERE m.sid = $1 AND p.bid IS NOT NULL";

// ---- messages and parts ----

pub(crate) const MESSAGE_KEY: &str = "SELECT mid, sid FROM message WHERE id = $1";
pub(crate) const MESSAGE_OWNER: &str =
    "SELECT s.id FROM message m JOIN session s ON s.sid = m.sid WHERE m.id = $1";
pub(crate) const MESSAGE_INSERT: &str = "INSERT INTO message (sid, position, id, created_seq, seq, \
     sum, info) VALUES ($1, $2, $3, $4, $4, $5, $6)";
pub(crate) const MESSAGE_UPDATE: &str =
    "UPDATE message SET seq = $2, sum = $3, info = $4 WHERE mid = $1";
pub(crate) const MESSAGE_DELETE: &str = "DELETE FROM message WHERE mid = $1";
pub(crate) const MESSAGE_BY_ID: &str = "SELECT m.mid, m.id, m.position, m.created_seq, m.seq, m.sum, m.info \
     FROM message m JOIN session s ON s.sid = m.sid WHERE m.id = $2 AND s.id = $1";
pub(crate) const MESSAGES_BEFORE: &str = "SELECT m.mid, m.id, m.position, m.created_seq, m.seq, m.sum, m.info \
     FROM message m WHERE m.sid = $1 AND m.position < $2 ORDER BY m.position DESC LIMIT $3";
/// Unordered: bodies are large, and sorting them is cheaper where only the ids move.
pub(crate) const PARTS_BETWEEN: &str = "SELECT p.mid, p.id, p.sum, COALESCE(p.body, b.body) \
     FROM message m JOIN part p ON p.mid = m.mid LEFT JOIN blob b ON b.bid = p.bid \
     WHERE m.sid = $1 AND m.position >= $2 AND m.position <= $3";
pub(crate) const PARTS_OF: &str = "SELECT p.mid, p.id, p.sum, COALESCE(p.body, b.body) \
     FROM part p LEFT JOIN blob b ON b.bid = p.bid WHERE p.mid = $1";
/// The last column is the body when it counts in the session's totals.
pub(crate) const PART_KEY: &str = "SELECT p.pid, p.mid, m.sid, p.seq, p.bid, \
     CASE WHEN substr(p.body, 1, 21) = '{\"type\":\"step-finish\"' THEN p.body END \
     FROM part p JOIN message m ON m.mid = p.mid WHERE p.id = $1";
pub(crate) const PART_KEYS_OF: &str = "SELECT bid, \
     CASE WHEN substr(body, 1, 21) = '{\"type\":\"step-finish\"' THEN body END \
     FROM part WHERE mid = $1 ORDER BY id";
pub(crate) const PART_INSERT: &str = "INSERT INTO part (mid, id, seq, sum, body, bid) \
     VALUES ($1, $2, $3, $4, $5, $6)";
pub(crate) const PART_UPDATE: &str =
    "UPDATE part SET seq = $2, sum = $3, body = $4, bid = $5 WHERE pid = $1";
pub(crate) const PART_DELETE: &str = "DELETE FROM part WHERE pid = $1";
pub(crate) const PARTS_DELETE: &str = "DELETE FROM part WHERE mid = $1";
pub(crate) const BLOB_PUT: &str = "INSERT INTO blob (hash, refs, body) VALUES ($1, 1, $2) \
     ON CONFLICT (hash) DO UPDATE SET refs = blob.refs + 1 RETURNING bid";
pub(crate) const BLOB_RELEASE: &str = "UPDATE blob SET refs = refs - 1 WHERE bid = $1";
pub(crate) const BLOB_SWEEP: &str = "DELETE FROM blob WHERE bid = $1 AND refs <= 0";

// ---- turns ----

pub(crate) const TURN_KEY: &str = "SELECT t.tid, t.sid, t.doc FROM turn t WHERE t.id = $1";
pub(crate) const TURN_INSERT: &str = "INSERT INTO turn (sid, id, user_message_id, \
     idempotency_key, open, seq, doc) VALUES ($1, $2, $3, $4, $5, $6, $7)";
pub(crate) const TURN_UPDATE: &str = "UPDATE turn SET user_message_id = $2, idempotency_key = $3, \
     open = $4, seq = $5, doc = $6 WHERE tid = $1";
pub(crate) const TURN_DELETE: [&str; 3] = [
    "DELETE FROM file_change WHERE tid = $1",
    "DELETE FROM todo_version WHERE tid = $1",
    "DELETE FROM turn WHERE tid = $1",
];
pub(crate) const TURN_KEY_HOLDER: &str =
    "SELECT id FROM turn WHERE sid = $1 AND idempotency_key = $2";
pub(crate) const TURN_BY_ID: &str = "SELECT doc FROM turn WHERE id = $1";
macro_rules! turn_list {
    ($base:literal) => {
        concat!(
            "SELECT t.doc FROM turn t JOIN session s ON s.sid = t.sid \
             WHERE s.id = $1 AND t.tid < CASE WHEN CAST($3 AS TEXT) IS NULL \
                 THEN 9223372036854775807 ELSE (SELECT b.tid FROM turn b WHERE b.id = $3 \
                     AND b.sid = (SELECT o.sid FROM session o WHERE o.id = $1)) END",
            $base,
            " ORDER BY t.tid DESC LIMIT $2"
        )
    };
}
pub(crate) const TURNS_OF: &str = turn_list!("");
pub(crate) const TURNS_OPEN: &str = turn_list!(" AND t.open = 1");
pub(crate) const TURN_BY_KEY: &str = "SELECT t.doc FROM turn t JOIN session s ON s.sid = t.sid \
     WHERE s.id = $1 AND t.idempotency_key = $2";
pub(crate) const TURN_OF_MESSAGE: &str = "SELECT t.doc FROM turn t JOIN session s ON s.sid = t.sid \
     WHERE s.id = $1 AND t.user_message_id = $2 ORDER BY t.tid DESC LIMIT 1";
pub(crate) const FILES_PUT: &str = "INSERT INTO file_change (tid, doc) VALUES ($1, $2) \
     ON CONFLICT (tid) DO UPDATE SET doc = excluded.doc";
pub(crate) const FILES_OF: &str =
    "SELECT f.doc FROM file_change f JOIN turn t ON t.tid = f.tid WHERE t.id = $1";
pub(crate) const FILES_OF_SESSION: &str = "SELECT t.id, f.doc FROM session s \
     JOIN turn t ON t.sid = s.sid JOIN file_change f ON f.tid = t.tid \
     WHERE s.id = $1 ORDER BY t.sid, t.tid";

// ---- permission requests and questions ----

pub(crate) const ASK_KEY: &str = "SELECT aid, sid, doc FROM ask WHERE id = $1";
pub(crate) const ASK_INSERT: &str = "INSERT INTO ask (sid, kind, id, pending, seq, doc) \
     VALUES ($1, $2, $3, $4, $5, $6)";
pub(crate) const ASK_UPDATE: &str = "UPDATE ask SET pending = 0, seq = $2, doc = $3 WHERE aid = $1";
pub(crate) const ASK_BY_ID: &str = "SELECT doc FROM ask WHERE id = $1 AND kind = $2";
pub(crate) const ASKS_PENDING: &str = "SELECT a.doc FROM ask a JOIN session s ON s.sid = a.sid \
     WHERE a.pending = 1 AND a.kind = $1 AND s.deleted_at IS NULL \
     AND (CAST($2 AS TEXT) IS NULL OR s.directory = $2) ORDER BY a.aid";
pub(crate) const ASKS_PENDING_OF: &str = "SELECT a.doc FROM session s JOIN ask a ON a.sid = s.sid \
     WHERE a.pending = 1 AND a.kind = $1 AND s.deleted_at IS NULL AND s.id = $3 \
     AND (CAST($2 AS TEXT) IS NULL OR s.directory = $2) ORDER BY a.aid";
pub(crate) const ASKS_ENDED_OF: &str = "SELECT a.doc FROM session s JOIN ask a ON a.sid = s.sid \
     WHERE a.pending = 0 AND a.kind = $1 AND s.deleted_at IS NULL AND s.id = $2 \
     ORDER BY a.aid DESC LIMIT $3";

// ---- what a session has one of ----

pub(crate) const TODO_PUT: &str = "INSERT INTO todo (sid, turn_id, seq, doc) \
     VALUES ($1, $2, $3, $4) ON CONFLICT (sid) \
     DO UPDATE SET turn_id = excluded.turn_id, seq = excluded.seq, doc = excluded.doc";
pub(crate) const TODO_OF: &str =
    "SELECT t.doc FROM todo t JOIN session s ON s.sid = t.sid WHERE s.id = $1";
pub(crate) const TODO_VERSION_PUT: &str = "INSERT INTO todo_version (tid, sid, doc) \
     VALUES ($1, $2, $3) ON CONFLICT (tid) DO UPDATE SET doc = excluded.doc";
pub(crate) const TODO_VERSIONS_OF: &str = "SELECT t.id, v.doc FROM session s \
     JOIN todo_version v ON v.sid = s.sid JOIN turn t ON t.tid = v.tid \
     WHERE s.id = $1 ORDER BY v.sid, v.tid";
pub(crate) const BINDING_PUT: &str = "INSERT INTO binding (sid, live, seq, doc) \
     VALUES ($1, $2, $3, $4) ON CONFLICT (sid) \
     DO UPDATE SET live = excluded.live, seq = excluded.seq, doc = excluded.doc";
pub(crate) const BINDING_OF: &str =
    "SELECT b.doc FROM binding b JOIN session s ON s.sid = b.sid WHERE s.id = $1";
pub(crate) const BINDINGS_LIVE: &str = "SELECT b.doc FROM binding b \
     JOIN session s ON s.sid = b.sid WHERE b.live = 1 ORDER BY s.id";
pub(crate) const RESTORE_PUT: &str = "INSERT INTO restore (sid, pending, doc) VALUES ($1, $2, $3) \
     ON CONFLICT (sid) DO UPDATE SET pending = excluded.pending, doc = excluded.doc";
pub(crate) const RESTORE_DELETE: &str = "DELETE FROM restore WHERE sid = $1";
pub(crate) const RESTORE_OF: &str =
    "SELECT r.doc FROM restore r JOIN session s ON s.sid = r.sid WHERE s.id = $1";
pub(crate) const RESTORES_PENDING: &str = "SELECT s.id FROM restore r \
     JOIN session s ON s.sid = r.sid WHERE r.pending = 1 ORDER BY s.id";
pub(crate) const SHARE_PUT: &str = "INSERT INTO share (sid, token_hash, accessed_at, doc) \
     VALUES ($1, $2, $3, $4) ON CONFLICT (sid) DO UPDATE SET token_hash = excluded.token_hash, \
     accessed_at = excluded.accessed_at, doc = excluded.doc";
pub(crate) const SHARE_DELETE: &str = "DELETE FROM share WHERE sid = $1";
pub(crate) const SHARE_NOTE: &str = "UPDATE share SET accessed_at = $2 \
     WHERE sid = $1 AND (accessed_at IS NULL OR accessed_at < $2)";
pub(crate) const SHARE_OF: &str = "SELECT s.id, h.accessed_at, h.doc FROM share h \
     JOIN session s ON s.sid = h.sid WHERE s.id = $1";
pub(crate) const SHARE_BY_TOKEN: &str = "SELECT s.id, h.accessed_at, h.doc FROM share h \
     JOIN session s ON s.sid = h.sid WHERE h.token_hash = $1 LIMIT 1";
pub(crate) const SHARES: &str = concat!(
    "SELECT h.accessed_at, h.doc, ",
    session_columns!(),
    " FROM share h JOIN session s ON s.sid = h.sid WHERE s.deleted_at IS NULL \
     AND h.sid < COALESCE((SELECT sid FROM session WHERE id = $1), \
         CASE WHEN CAST($1 AS TEXT) IS NULL THEN 9223372036854775807 ELSE 0 END) \
     ORDER BY h.sid DESC LIMIT $2"
);
pub(crate) const USAGE_INSERT: &str = "INSERT INTO usage (sid, doc) VALUES ($1, $2)";
pub(crate) const USAGE_OF: &str =
    "SELECT u.doc FROM usage u JOIN session s ON s.sid = u.sid WHERE s.id = $1 ORDER BY u.uid";

// ---- agents and projects ----

pub(crate) const PROFILE_PUT: &str = "INSERT INTO profile (name, doc) VALUES ($1, $2) \
     ON CONFLICT (name) DO UPDATE SET doc = excluded.doc";
pub(crate) const PROFILES: &str = "SELECT doc FROM profile ORDER BY name";
pub(crate) const PROJECT_KEY: &str = "SELECT prid, doc FROM project WHERE id = $1";
pub(crate) const PROJECT_PUT: &str = "INSERT INTO project (id, seq, doc) VALUES ($1, $2, $3) \
     ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, doc = excluded.doc RETURNING prid";
pub(crate) const PROJECT_BY_ID: &str = "SELECT doc FROM project WHERE id = $1";
pub(crate) const PROJECTS: &str = "SELECT doc FROM project ORDER BY id";

// ---- events ----

pub(crate) const CLOCK: &str = "SELECT seq, sessions FROM clock WHERE id = 1";
pub(crate) const CLOCK_SET: &str =
    "UPDATE clock SET seq = $1, sessions = sessions + $2 WHERE id = 1";
macro_rules! event_insert {
    ($($row:literal),+) => {
        concat!(
            "INSERT INTO event (seq, sid, session_seq, kind, entity, at, payload) VALUES ",
            $($row),+
        )
    };
}
/// Inserts one event, two, three, four: most commits have no more.
pub(crate) const EVENT_INSERT: [&str; 4] = [
    event_insert!("($1, $2, $3, $4, $5, $6, $7)"),
    event_insert!(
        "($1, $2, $3, $4, $5, $6, $7), ",
        "($8, $9, $10, $11, $12, $13, $14)"
    ),
    event_insert!(
        "($1, $2, $3, $4, $5, $6, $7), ",
        "($8, $9, $10, $11, $12, $13, $14), ",
        "($15, $16, $17, $18, $19, $20, $21)"
    ),
    event_insert!(
        "($1, $2, $3, $4, $5, $6, $7), ",
        "($8, $9, $10, $11, $12, $13, $14), ",
        "($15, $16, $17, $18, $19, $20, $21), ",
        "($22, $23, $24, $25, $26, $27, $28)"
    ),
];

/// Rows that one statement of a large commit takes.
pub(crate) const MANY: usize = 32;

/// `($1, $2, …)` with `columns` placeholders in each of `rows` groups.
fn groups(rows: usize, columns: usize) -> String {
    let group = |row: usize| {
        let marks: Vec<_> = (1..=columns)
            .map(|column| format!("${}", row * columns + column))
            .collect();
        format!("({})", marks.join(", "))
    };
    (0..rows).map(group).collect::<Vec<_>>().join(", ")
}

/// The keys of so many messages.
pub(crate) static MESSAGE_KEYS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT id, mid, sid FROM message WHERE id IN {}",
        groups(1, MANY)
    )
});
/// The ids of those of so many parts that are stored.
pub(crate) static PART_IDS: LazyLock<String> =
    LazyLock::new(|| format!("SELECT id FROM part WHERE id IN {}", groups(1, MANY)));
/// Inserts so many events.
pub(crate) static EVENTS_INSERT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO event (seq, sid, session_seq, kind, entity, at, payload) VALUES {}",
        groups(MANY, 7)
    )
});

/// Events with the row each one shows: the joins find a row only at the event that carries
/// its content (`rules::carries_content`). The kinds are those of `EventKind::code`.
macro_rules! event_list {
    ($base:literal) => {
        concat!(
            "SELECT e.seq, e.session_seq, e.at, e.kind, e.payload, s.sid, s.id, s.project_id, \
             s.directory, s.row_seq, s.status_seq, s.status, s.status_since, s.status_message, \
             COALESCE(m.id, pm.id), p.id, COALESCE(m.sum, p.sum), \
             COALESCE(m.info, p.body, pb.body, t.doc, a.doc, d.doc, b.doc, j.doc) \
             FROM event e JOIN session s ON s.sid = e.sid \
             LEFT JOIN message m ON m.mid = CASE WHEN e.kind = 5 THEN e.entity END \
                 AND (m.seq = e.seq OR m.created_seq = e.seq) \
             LEFT JOIN part p ON p.pid = CASE WHEN e.kind = 7 THEN e.entity END AND p.seq = e.seq \
             LEFT JOIN message pm ON pm.mid = p.mid \
             LEFT JOIN blob pb ON pb.bid = p.bid \
             LEFT JOIN todo d ON d.sid = CASE WHEN e.kind = 9 THEN e.sid END AND d.seq = e.seq \
             LEFT JOIN ask a ON a.aid = CASE WHEN e.kind IN (10, 11, 12, 13) THEN e.entity END \
                 AND a.seq = e.seq \
             LEFT JOIN turn t ON t.tid = CASE WHEN e.kind = 14 THEN e.entity END \
                 AND t.seq = e.seq \
             LEFT JOIN binding b ON b.sid = CASE WHEN e.kind = 15 THEN e.sid END \
                 AND b.seq = e.seq \
             LEFT JOIN project j ON j.prid = CASE WHEN e.kind = 17 THEN e.entity END \
                 AND j.seq = e.seq \
             WHERE e.seq > $1 AND e.seq <= $2",
            $base,
            " ORDER BY e.seq LIMIT $3"
        )
    };
}
pub(crate) const EVENTS_ALL: &str = event_list!("");
pub(crate) const EVENTS_OF_DIRECTORY: &str = event_list!(" AND s.directory = $4");
pub(crate) const EVENTS_OF_SESSION: &str =
    event_list!(" AND e.sid = (SELECT sid FROM session WHERE id = $4)");

/// Statements whose cost must not grow with the store.
pub(crate) const INDEXED: &[&str] = &[
    SESSION_BY_ID,
    SESSION_HEAD,
    SESSION_BY_KEY,
    SESSIONS_ALL.changed,
    SESSIONS_ALL.newest,
    SESSIONS_ALL.oldest,
    SESSIONS_OF_PROJECT.changed,
    SESSIONS_OF_DIRECTORY.changed,
    SESSIONS_OF_PARENT.changed,
    SESSIONS_TRASHED.changed,
    FORKS_OF,
    TRASHED_UNTIL,
    BLOBS_OF,
    MESSAGE_KEY,
    MESSAGE_OWNER,
    MESSAGE_BY_ID,
    MESSAGES_BEFORE,
    PARTS_BETWEEN,
    PARTS_OF,
    PART_KEY,
    TURN_BY_ID,
    TURN_KEY_HOLDER,
    TURNS_OF,
    TURNS_OPEN,
    TURN_BY_KEY,
    TURN_OF_MESSAGE,
    FILES_OF,
    FILES_OF_SESSION,
    ASK_BY_ID,
    ASKS_PENDING_OF,
    ASKS_ENDED_OF,
    TODO_OF,
    TODO_VERSIONS_OF,
    BINDING_OF,
    RESTORE_OF,
    SHARE_OF,
    SHARE_BY_TOKEN,
    SHARES,
    SHARE_NOTE,
    USAGE_OF,
    PROJECT_BY_ID,
    EVENTS_ALL,
    EVENTS_OF_SESSION,
    SESSION_UPDATE_HEAD,
    BLOB_SWEEP,
    MESSAGE_DELETE,
    PART_DELETE,
];
