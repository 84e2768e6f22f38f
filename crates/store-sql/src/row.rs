//! Rows to domain types and back.

use serde::Serialize;
use sessiond_model::{
    Health, IdStamp, MessageDoc, MessageId, MessageInfo, MessageModel, MessageTime, PartBody,
    PartDoc, PartId, ProjectId, Seq, Session, SessionId, SessionSeq, Status, StatusKind, Timestamp,
    UserInfo,
};
use sessiond_store::{SessionHead, StoreError, StoreResult};
use sha2::{Digest, Sha256};

use crate::Row;

/// What a writer keeps of a session beside its own columns.
#[derive(Debug)]
pub(crate) struct Head {
    /// The store's newest event.
    pub(crate) clock: u64,
    pub(crate) sid: i64,
    pub(crate) epoch: u64,
    pub(crate) last_seq: u64,
    pub(crate) last_position: i64,
    pub(crate) id_floor: IdStamp,
    pub(crate) last_message_at: Timestamp,
    pub(crate) row_seq: i64,
    pub(crate) status_seq: i64,
    pub(crate) session: Session,
    /// A column could not be read; it is left empty.
    pub(crate) damaged: bool,
}

impl Head {
    /// The head of a session that is not inserted yet.
    pub(crate) fn fresh(clock: u64, session: Session) -> Self {
        Self {
            clock,
            sid: 0,
            epoch: 0,
            last_seq: 0,
            last_position: 0,
            id_floor: IdStamp::default(),
            last_message_at: Timestamp(0),
            row_seq: 0,
            status_seq: 0,
            session,
            damaged: false,
        }
    }

    /// Reads a row of `SESSION_HEAD`.
    pub(crate) fn read(mut row: Row) -> Self {
        let mut head = Self {
            clock: row.unsigned(),
            sid: row.int(),
            epoch: row.unsigned(),
            last_seq: row.unsigned(),
            last_position: row.int(),
            id_floor: IdStamp::from_bits(row.unsigned()),
            last_message_at: Timestamp(row.int()),
            row_seq: row.int(),
            status_seq: row.int(),
            session: session(&mut row),
            damaged: false,
        };
        head.damaged = row.is_bad();
        head
    }
}

impl From<Head> for SessionHead {
    fn from(head: Head) -> Self {
        Self {
            last_seq: SessionSeq(head.last_seq),
            id_floor: head.id_floor,
            last_message_at: head.last_message_at,
            session: head.session,
        }
    }
}

/// Reads the session columns. What can't be read is left empty and the session is degraded.
pub(crate) fn session(row: &mut Row) -> Session {
    let mut session = Session {
        id: SessionId::trusted(&row.text()),
        slug: row.text(),
        project_id: ProjectId::new(&row.text()),
        directory: row.text(),
        path: row.opt_text(),
        parent_id: row.opt_text().map(|id| SessionId::trusted(&id)),
        fork: row.json(),
        title: row.text(),
        version: row.text(),
        agent: row.opt_text(),
        model: row.json(),
        metadata: row.json(),
        permission: row.json(),
        revert: row.json(),
        summary: row.json(),
        share_url: row.opt_text(),
        created_at: Timestamp(row.int()),
        updated_at: Timestamp(row.int()),
        archived_at: row.opt_int().map(Timestamp),
        deleted_at: row.opt_int().map(Timestamp),
        status: status(row),
        cost: row.real(),
        tokens: row.json().unwrap_or_default(),
        health: match row.text().as_str() {
            "ok" => Health::Ok,
            _ => Health::Degraded,
        },
        revision: row.unsigned(),
    };
    if row.is_bad() {
        session.health = Health::Degraded;
    }
    session
}

/// Reads the three status columns.
pub(crate) fn status(row: &mut Row) -> Status {
    Status {
        kind: StatusKind::from_name(&row.text()).unwrap_or(StatusKind::Idle),
        since: Timestamp(row.int()),
        message: row.opt_text(),
    }
}

/// A message row before its parts are known.
pub(crate) struct MessageRow {
    pub(crate) mid: i64,
    pub(crate) doc: MessageDoc,
    /// Its text was not what was written.
    pub(crate) damaged: bool,
}

impl MessageRow {
    /// Reads `mid, id, position, created_seq, seq, sum, info`.
    pub(crate) fn read(mut row: Row, session_id: &SessionId) -> Self {
        let mid = row.int();
        let id = MessageId::trusted(&row.text());
        let position = row.unsigned();
        let created = Seq(row.unsigned());
        let changed = Seq(row.unsigned());
        let sum = row.int();
        let (info, parts, damaged) = match checked::<MessageInfo>(row.text(), sum, row.is_bad()) {
            Text::Whole(info) => (info, Vec::new(), false),
            Text::Readable(info) => (info, Vec::new(), true),
            Text::Unreadable(raw) => {
                let part = PartDoc {
                    id: PartId::trusted(&format!("prt_damaged_{}", id.as_str())),
                    body: opaque(raw),
                };
                (unreadable_info(), vec![part], true)
            }
        };
        Self {
            mid,
            doc: MessageDoc {
                id,
                session_id: session_id.clone(),
                position,
                created,
                changed,
                info,
                parts,
            },
            damaged,
        }
    }
}

/// A part row.
pub(crate) struct PartRow {
    pub(crate) mid: i64,
    pub(crate) doc: PartDoc,
    /// Its text was not what was written.
    pub(crate) damaged: bool,
}

impl PartRow {
    /// Reads `mid, id, sum, body`.
    pub(crate) fn read(mut row: Row) -> Self {
        let mid = row.int();
        let id = PartId::trusted(&row.text());
        let sum = row.int();
        let (body, damaged) = match checked::<PartBody>(row.text(), sum, row.is_bad()) {
            Text::Whole(body) => (body, false),
            Text::Readable(body) => (body, true),
            Text::Unreadable(raw) => (opaque(raw), true),
        };
        Self {
            mid,
            doc: PartDoc { id, body },
            damaged,
        }
    }
}

/// A stored JSON text after its check.
enum Text {
    /// As it was written.
    Whole(String),
    /// Changed since, but still of its form.
    Readable(String),
    /// Not of its form any more.
    Unreadable(String),
}

/// Checks a stored text by its sum, which costs far less than to parse it.
fn checked<T: serde::de::DeserializeOwned>(text: String, sum: i64, bad: bool) -> Text {
    if !bad && checksum(&text) == sum {
        Text::Whole(text)
    } else if !bad && serde_json::from_str::<T>(&text).is_ok() {
        Text::Readable(text)
    } else {
        Text::Unreadable(text)
    }
}

fn opaque(raw: String) -> String {
    // An enum of strings has no way to fail.
    serde_json::to_string(&PartBody::Opaque { raw }).unwrap_or_default()
}

/// Stands for the info of a message that can't be read; the bytes are in a part.
fn unreadable_info() -> String {
    let info = MessageInfo::User(Box::new(UserInfo {
        time: MessageTime::default(),
        agent: String::new(),
        model: MessageModel {
            provider_id: String::new(),
            model_id: String::new(),
            variant: None,
        },
        summary: None,
        system: None,
        tools: None,
        format: None,
    }));
    serde_json::to_string(&info).unwrap_or_default()
}

/// CRC-32 of a stored text.
pub(crate) fn checksum(text: &str) -> i64 {
    i64::from(crc32fast::hash(text.as_bytes()))
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256_hex(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let empty = String::with_capacity(2 * bytes.len());
    bytes.iter().fold(empty, |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// A value as the JSON text of a column.
pub(crate) fn to_json<T: Serialize>(value: &T) -> StoreResult<String> {
    serde_json::to_string(value).map_err(|source| StoreError::Internal {
        operation: "write JSON",
        source: source.into(),
    })
}

/// An optional value as the JSON text of a column.
pub(crate) fn opt_json<T: Serialize>(value: Option<&T>) -> StoreResult<Option<String>> {
    value.map(to_json).transpose()
}
