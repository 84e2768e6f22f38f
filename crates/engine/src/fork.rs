//! Forks: a session that begins as a copy of another one's transcript.

use std::collections::{HashMap, HashSet};

use sessiond_model::{
    Change, FileChange, ForkOrigin, Health, IdStamp, Message, MessageDoc, MessageId, MessageInfo,
    Part, PartBody, PartId, Session, SessionId, Status, Timestamp, Todo, Tokens, Turn, TurnId,
    rules,
};
use sessiond_store::{EntityKind, MessageQuery, SessionHead, SessionQuery, StoreError, TurnQuery};

use crate::engine::{Engine, Inner, Result};
use crate::visible::{Horizon, Sight};
use crate::{Created, EngineError, ForkOptions, Related, Relation, SessionTree};

/// Most sessions of one tree that are listed.
const MAX_TREE: usize = 1000;

/// What a fork copies, as it was read.
struct Source {
    session: Session,
    horizon: Option<Horizon>,
    docs: Vec<MessageDoc>,
    /// Turns that had ended before the messages were read.
    ended: HashMap<TurnId, Turn>,
    /// All turns, as they were after the messages were read, oldest first.
    turns: Vec<Turn>,
    files: HashMap<TurnId, Vec<FileChange>>,
    versions: Vec<(TurnId, Vec<Todo>)>,
    todos: Vec<Todo>,
}

/// The copy of a [`Source`].
struct Copied {
    changes: Vec<Change>,
    /// The first message that is not in it.
    left_out: Option<MessageId>,
    last_message_at: Timestamp,
}

impl Engine {
    /// Forks a session: a new one with copies of the messages before `before` (of all when it
    /// is absent) that can be seen and belong to no open turn, with the turns behind them and
    /// the todo list as it was there. Its agent remembers that and nothing after it.
    ///
    /// # Errors
    /// `NotFound` for the session or the message, `Conflict` for a key that was used for
    /// another request, `Invalid` for a title that is too long.
    pub async fn fork_session(&self, id: &SessionId, options: ForkOptions) -> Result<Created> {
        let inner = &self.0;
        crate::sessions::check_bounds(options.title.as_deref(), None, None)?;
        if let Some(replayed) = self.replayed(options.idempotency.as_ref()).await? {
            return Ok(replayed);
        }
        let source = inner.source(id).await?;
        let mut floor = IdStamp::default();
        let fork_id = SessionId::mint(&*inner.ids, &mut floor);
        let copied = inner.copy(&source, options.before.as_ref(), &fork_id, &mut floor)?;
        let family = source.session.fork.as_ref();
        let family = family.map_or(&source.session.id, ForkOrigin::family);
        // One fork at a time, so that no number is given twice.
        let _alone = inner.forks.lock().await;
        let number = inner.store.last_fork(family).await? + 1;
        let origin = ForkOrigin {
            session_id: source.session.id.clone(),
            root: (family != id).then(|| family.clone()),
            number,
            turn_id: match &copied.left_out {
                None => source.turns.last().map(|t| t.id.clone()),
                Some(_) => None,
            },
            message_id: copied.left_out,
        };
        let session = inner.forked(&source.session, fork_id.clone(), origin, options.title);
        let mut changes = vec![Change::CreateSession {
            session: Box::new(session),
            idempotency: options.idempotency.clone(),
        }];
        changes.extend(copied.changes);
        inner.captures.copy_pins(id, &fork_id).await;
        let hold = inner.hold_new(&fork_id);
        match inner.submit(&hold, Vec::new(), changes).await {
            Ok(committed) => {
                let session = committed
                    .session
                    .ok_or_else(|| EngineError::Internal("a fork without a session".into()))?;
                inner.live.insert(
                    &SessionHead {
                        session: Session::clone(&session),
                        last_seq: sessiond_model::SessionSeq(committed.events.len() as u64),
                        id_floor: floor,
                        last_message_at: copied.last_message_at,
                    },
                    hold,
                );
                Ok(Created {
                    session,
                    replayed: false,
                })
            }
            // Two requests with one key at the same time: the other one was first.
            Err(StoreError::Conflict {
                kind: EntityKind::IdempotencyKey,
                ..
            }) => {
                let replayed = self.replayed(options.idempotency.as_ref()).await?;
                replayed
                    .ok_or_else(|| EngineError::Internal("a key that is taken by nobody".into()))
            }
            Err(e) => {
                if let Err(error) = inner.captures.forget(&fork_id).await {
                    tracing::warn!(session = %fork_id, error, "captures of a fork that failed stay");
                }
                Err(e.into())
            }
        }
    }

    /// The tree that a session belongs to: from its topmost ancestor (parents and fork origins
    /// that are not in the trash) all sub-tasks and forks, each after what it came from.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn session_tree(&self, id: &SessionId) -> Result<SessionTree> {
        let mut root = self.session(id).await?;
        let mut seen = HashSet::from([root.id.clone()]);
        while seen.len() < MAX_TREE
            && let Some(above) = root
                .parent_id
                .as_ref()
                .or(root.fork.as_ref().map(|f| &f.session_id))
            && seen.insert(above.clone())
        {
            let Some(next) = self.0.store.session(above).await? else {
                break;
            };
            if next.deleted_at.is_some() {
                break;
            }
            root = next;
        }
        let mut tree = SessionTree {
            sessions: Vec::new(),
            truncated: false,
        };
        let mut next = vec![Related {
            depth: 0,
            relation: Relation::Root,
            session: root,
        }];
        let mut seen = HashSet::new();
        // Depth first: what came from a session follows it, the oldest first.
        while let Some(related) = next.pop() {
            if !seen.insert(related.session.id.clone()) {
                continue;
            }
            if tree.sessions.len() == MAX_TREE {
                tree.truncated = true;
                break;
            }
            next.extend(self.0.came_from(&related).await?);
            tree.sessions.push(related);
        }
        Ok(tree)
    }
}

impl Inner {
    /// Sub-tasks and forks of a session, the newest first.
    async fn came_from(&self, of: &Related) -> Result<Vec<Related>> {
        let id = Some(of.session.id.clone());
        let queries = [
            (
                Relation::Child,
                SessionQuery {
                    parent_id: id.clone(),
                    ..SessionQuery::default()
                },
            ),
            (
                Relation::Fork,
                SessionQuery {
                    fork_of: id,
                    ..SessionQuery::default()
                },
            ),
        ];
        let mut found = Vec::new();
        for (relation, query) in queries {
            let page = self.store.sessions(&query).await?;
            found.extend(page.sessions.into_iter().map(|session| Related {
                depth: of.depth + 1,
                relation,
                session,
            }));
        }
        found.sort_by(|a, b| {
            let key = |r: &Related| (r.session.created_at, r.session.id.clone());
            key(b).cmp(&key(a))
        });
        Ok(found)
    }

    async fn source(&self, id: &SessionId) -> Result<Source> {
        let store = &self.store;
        let missing = || EngineError::not_found(EntityKind::Session, id);
        let session = store.session(id).await?;
        let session = session
            .filter(|s| s.deleted_at.is_none())
            .ok_or_else(missing)?;
        let all = TurnQuery::default();
        // Read before and after the messages: a turn counts as ended only when all of its
        // messages were read after its end, and a message has no turn only when it got none.
        let ended = store.turns(id, &all).await?.into_iter();
        let ended = ended.filter(|t| t.state.is_terminal());
        let ended = ended.map(|t| (t.id.clone(), t)).collect();
        let docs = store.messages(id, &MessageQuery::default()).await?.messages;
        Ok(Source {
            horizon: self.horizon(&session).await?,
            docs,
            ended,
            turns: store.turns(id, &all).await?,
            files: store.session_changes(id).await?.into_iter().collect(),
            versions: store.todo_versions(id).await?,
            todos: store.todos(id).await?,
            session,
        })
    }

    /// Copies what a fork is to have; ids are minted in the order of the transcript.
    fn copy(
        &self,
        source: &Source,
        before: Option<&MessageId>,
        fork: &SessionId,
        floor: &mut IdStamp,
    ) -> Result<Copied> {
        if let Some(before) = before
            && !source.docs.iter().any(|doc| doc.id == *before)
        {
            return Err(EngineError::not_found(EntityKind::Message, before));
        }
        let open = source.of_open_turns();
        let mut ids: HashMap<MessageId, MessageId> = HashMap::with_capacity(source.docs.len());
        let mut cut = HashSet::new();
        let mut copied = Copied {
            changes: Vec::with_capacity(4 * source.docs.len()),
            left_out: None,
            last_message_at: Timestamp(0),
        };
        let mut ended = false;
        for doc in &source.docs {
            ended |= before == Some(&doc.id);
            let sight = source.sight(doc.position);
            let message = doc.message();
            let whole = !ended && sight == Sight::Whole && !open.contains(&doc.id);
            if !whole && copied.left_out.is_none() {
                copied.left_out = Some(doc.id.clone());
            }
            let (Some(message), false) = (message, ended || sight == Sight::Hidden) else {
                continue;
            };
            if open.contains(&doc.id) {
                continue;
            }
            if sight == Sight::Cut {
                cut.insert(doc.id.clone());
            }
            let id = MessageId::mint(&*self.ids, floor);
            ids.insert(doc.id.clone(), id.clone());
            copied.last_message_at = copied.last_message_at.max(message.info.created());
            copied
                .changes
                .push(Change::PutMessage(moved(message, fork, id.clone(), &ids)));
            for part in source.parts(doc) {
                copied.changes.push(Change::PutPart(Part {
                    id: PartId::mint(&*self.ids, floor),
                    session_id: fork.clone(),
                    message_id: id.clone(),
                    body: moved_body(part.body, &ids),
                }));
            }
        }
        self.copy_turns(source, fork, floor, &ids, &cut, &mut copied.changes);
        Ok(copied)
    }

    /// Copies the ended turns of copied messages, with their file changes and todo lists.
    fn copy_turns(
        &self,
        source: &Source,
        fork: &SessionId,
        floor: &mut IdStamp,
        ids: &HashMap<MessageId, MessageId>,
        cut: &HashSet<MessageId>,
        changes: &mut Vec<Change>,
    ) {
        let mut todos = Vec::new();
        for turn in &source.turns {
            let (Some(turn), Some(user)) =
                (source.ended.get(&turn.id), ids.get(&turn.user_message_id))
            else {
                continue;
            };
            let answer = turn.assistant_message_id.as_ref();
            let id = TurnId::mint(&*self.ids, floor);
            // What a turn of which only a part was taken did to files, is not known.
            let is_whole = answer.is_none_or(|a| ids.contains_key(a) && !cut.contains(a));
            changes.push(Change::PutTurn(Turn {
                id: id.clone(),
                session_id: fork.clone(),
                user_message_id: user.clone(),
                assistant_message_id: answer.and_then(|a| ids.get(a)).cloned(),
                worktree: turn.worktree.clone().filter(|_| is_whole),
                idempotency_key: None,
                idempotency_digest: None,
                ..turn.clone()
            }));
            if let Some(files) = source.files.get(&turn.id).filter(|_| is_whole) {
                changes.push(Change::SetFileChanges {
                    turn_id: id.clone(),
                    files: files.clone(),
                });
            }
            let version = source.versions.iter().find(|(of, _)| *of == turn.id);
            todos.extend(version.map(|(_, list)| Change::SetTodos {
                todos: list.clone(),
                turn_id: Some(id),
            }));
        }
        if source.versions.is_empty() && !source.todos.is_empty() {
            // A list from before versions were kept.
            todos.push(Change::SetTodos {
                todos: source.todos.clone(),
                turn_id: None,
            });
        }
        changes.extend(todos);
    }

    fn forked(
        &self,
        source: &Session,
        id: SessionId,
        origin: ForkOrigin,
        title: Option<String>,
    ) -> Session {
        let now = self.clock.now();
        let number = origin.number;
        Session {
            id,
            slug: crate::sessions::fresh_slug(self),
            parent_id: None,
            title: title.unwrap_or_else(|| rules::fork_title(&source.title, number)),
            version: self.config.version.clone(),
            revert: None,
            // All that was changed, when all was taken; else it is not known.
            summary: (source.summary.clone()).filter(|_| origin.message_id.is_none()),
            fork: Some(origin),
            share_url: None,
            created_at: now,
            updated_at: now,
            archived_at: None,
            deleted_at: None,
            status: Status::idle(now),
            cost: 0.0,
            tokens: Tokens::default(),
            health: Health::Ok,
            revision: 1,
            ..source.clone()
        }
    }
}

impl Source {
    fn sight(&self, position: u64) -> Sight {
        let horizon = self.horizon.as_ref();
        horizon.map_or(Sight::Whole, |h| h.sight(position))
    }

    /// The parts of a message that can be seen.
    fn parts(&self, doc: &MessageDoc) -> Vec<Part> {
        match &self.horizon {
            Some(horizon) if horizon.sight(doc.position) == Sight::Cut => {
                let mut doc = doc.clone();
                horizon.cut(&mut doc);
                doc.typed_parts()
            }
            _ => doc.typed_parts(),
        }
    }

    /// Messages of turns that had not ended.
    fn of_open_turns(&self) -> HashSet<&MessageId> {
        let open = self
            .turns
            .iter()
            .filter(|t| !self.ended.contains_key(&t.id));
        open.flat_map(|t| std::iter::once(&t.user_message_id).chain(&t.assistant_message_id))
            .collect()
    }
}

/// A message as it stands in the fork.
fn moved(
    mut message: Message,
    fork: &SessionId,
    id: MessageId,
    ids: &HashMap<MessageId, MessageId>,
) -> Message {
    if let MessageInfo::Assistant(info) = &mut message.info
        && let Some(parent) = ids.get(&info.parent_id)
    {
        info.parent_id = parent.clone();
    }
    Message {
        id,
        session_id: fork.clone(),
        info: message.info,
    }
}

fn moved_body(body: PartBody, ids: &HashMap<MessageId, MessageId>) -> PartBody {
    match body {
        PartBody::Compaction {
            auto,
            overflow,
            tail_start_id,
        } => PartBody::Compaction {
            auto,
            overflow,
            tail_start_id: tail_start_id.map(|id| ids.get(&id).cloned().unwrap_or(id)),
        },
        body => body,
    }
}
