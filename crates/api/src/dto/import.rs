use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sessiond_engine as engine;
use sessiond_model::{MessageId, Project, ProjectId, SessionId, Timestamp, Todo};
use sessiond_port as port;
use utoipa::ToSchema;

use crate::problem::Problem;

/// Which messages a session has where it comes from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"session_id": "ses_0123456789abExampleSession",
    "messages": [{"id": "msg_0123456789abExampleMessag", "created_at": 1_763_829_600_000_i64}]}))]
pub(crate) struct ImportOutline {
    /// The session.
    #[schema(value_type = String, pattern = "^ses[A-Za-z0-9_.:-]*$", max_length = 128)]
    session_id: SessionId,
    /// Its messages, the oldest first.
    messages: Vec<OutlinedMessage>,
}

/// A message of an outline.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutlinedMessage {
    /// Its id; one that can't be an id is never here.
    id: String,
    /// When it was created. Integer milliseconds since the Unix epoch, UTC.
    created_at: i64,
}

impl ImportOutline {
    /// The session and its messages.
    pub(crate) fn checked(self) -> (SessionId, Vec<(MessageId, Timestamp)>) {
        let messages = self.messages.into_iter();
        let messages = messages.map(|m| (MessageId::trusted(&m.id), Timestamp(m.created_at)));
        (self.session_id, messages.collect())
    }
}

/// What importing a session would do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"action": "append", "first": 12, "new": 4, "reason": null}))]
pub(crate) struct ImportPlan {
    /// What to do.
    action: ImportAction,
    /// Index of the first message to send, in the outline.
    first: usize,
    /// How many of the messages are not here.
    new: usize,
    /// Why it is refused, in a clause.
    reason: Option<String>,
}

/// What to do about a session.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ImportAction {
    /// It is not here: send all of it.
    Create,
    /// An import of it was cut off: send the rest.
    Resume,
    /// It has grown: send what is new.
    Append,
    /// It is here: nothing.
    Present,
    /// It can't be imported: nothing.
    Refuse,
}

impl ImportPlan {
    /// The plan for an outline of that many messages.
    pub(crate) fn of(plan: engine::ImportPlan, messages: usize) -> Self {
        use engine::ImportPlan as Plan;
        let (action, first, new, reason) = match plan {
            Plan::Create => (ImportAction::Create, 0, messages, None),
            Plan::Resume { first } => (ImportAction::Resume, first, messages - first, None),
            Plan::Append { first, new } => (ImportAction::Append, first, new, None),
            Plan::Present => (ImportAction::Present, messages, 0, None),
            Plan::Refused { reason } => (ImportAction::Refuse, messages, 0, Some(reason)),
        };
        Self {
            action,
            first,
            new,
            reason,
        }
    }
}

/// A form in which sessions come and go.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PortFormat {
    /// That of `opencode export`.
    #[default]
    Opencode,
}

/// Some of a session that comes from elsewhere.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"info": {"id": "ses_0123456789abExampleSession", "directory": "/home/me/project",
    "title": "A session", "time": {"created": 1_763_829_600_000_i64, "updated": 1_763_829_660_000_i64}},
    "messages": []}))]
pub(crate) struct ImportBody {
    /// Its form.
    #[serde(default)]
    #[schema(default = "opencode")]
    format: PortFormat,
    /// The session: `info` of an export.
    info: Map<String, Value>,
    /// Its messages: `messages` of an export, or some of them in their order.
    messages: Vec<Map<String, Value>>,
    /// Its todo list: `todos` of an export. Taken with the last batch.
    #[serde(default)]
    todos: Vec<Map<String, Value>>,
    /// Its project where it comes from: `id`, `worktree`, `vcs` and `name`. Taken when its
    /// directory is not here.
    #[serde(default)]
    project: Option<Map<String, Value>>,
    /// Whether more batches of it follow. Until the last one is there, it is in the trash.
    #[serde(default)]
    more: bool,
}

/// What could not be taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SkippedItem {
    /// What: `message`, `part` and its id.
    what: String,
    /// Why, in a clause.
    reason: String,
}

impl From<port::Unreadable> for SkippedItem {
    fn from(e: port::Unreadable) -> Self {
        Self {
            what: e.what,
            reason: e.reason,
        }
    }
}

/// What a batch did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImportReply {
    /// The session.
    session_id: String,
    /// Whether it is new here.
    created: bool,
    /// Messages added.
    added: usize,
    /// Messages that an earlier import found unfinished and that have their end now.
    finished: usize,
    /// What could not be taken.
    skipped: Vec<SkippedItem>,
    /// Kinds of fields that were left out, as `text.extra`.
    lost: Vec<String>,
    /// What is not as it was, in sentences.
    notes: Vec<String>,
}

/// A batch as it was read, and what is to be told of it.
pub(crate) struct ReadBatch {
    pub(crate) batch: engine::ImportBatch,
    reply: ImportReply,
}

impl ImportBody {
    /// Reads the batch.
    pub(crate) fn read(self) -> Result<ReadBatch, Problem> {
        let PortFormat::Opencode = self.format;
        let read = port::session(&Value::Object(self.info))
            .map_err(|e| Problem::invalid("info", e.reason))?;
        let session = read.session;
        let mut reply = ImportReply {
            session_id: session.id.to_string(),
            created: false,
            added: 0,
            finished: 0,
            skipped: Vec::new(),
            lost: Vec::new(),
            notes: read.notes,
        };
        let mut messages = Vec::with_capacity(self.messages.len());
        for given in self.messages {
            match port::message(&session, &Value::Object(given)) {
                Ok(read) => {
                    reply
                        .skipped
                        .extend(read.skipped.into_iter().map(Into::into));
                    reply.lost.extend(read.lost);
                    messages.push(engine::ImportedMessage {
                        message: read.message,
                        parts: read.parts,
                    });
                }
                Err(e) => reply.skipped.push(e.into()),
            }
        }
        reply.lost.sort();
        reply.lost.dedup();
        let todos = self.todos.into_iter().filter_map(todo).collect();
        let batch = engine::ImportBatch {
            project: self.project.and_then(|p| project(&p, session.created_at)),
            session,
            messages,
            todos: Some(todos),
            more: self.more,
        };
        Ok(ReadBatch { batch, reply })
    }
}

impl ImportReply {
    /// The answer, once the batch was taken.
    pub(crate) fn of(read: Self, done: engine::Imported) -> Self {
        let mut notes = done.notes;
        // What was left out of the session is told once, when it is new.
        if done.created {
            notes.splice(0..0, read.notes);
        }
        Self {
            created: done.created,
            added: done.added,
            finished: done.finished,
            notes,
            ..read
        }
    }
}

impl ReadBatch {
    /// The batch, and the answer to be.
    pub(crate) fn split(self) -> (engine::ImportBatch, ImportReply) {
        (self.batch, self.reply)
    }
}

fn todo(given: Map<String, Value>) -> Option<Todo> {
    serde_json::from_value(Value::Object(given)).ok()
}

fn project(given: &Map<String, Value>, at: Timestamp) -> Option<Project> {
    let text = |key: &str| given.get(key).and_then(Value::as_str);
    Some(Project {
        id: ProjectId::new(text("id")?),
        worktree: text("worktree").filter(|w| w.starts_with('/'))?.to_owned(),
        vcs: text("vcs").map(str::to_owned),
        name: text("name").map(str::to_owned),
        icon: None,
        commands: None,
        sandboxes: Vec::new(),
        created_at: at,
        updated_at: at,
    })
}
