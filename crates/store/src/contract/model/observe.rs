//! What every read says.

use std::fmt::Debug;

use sessiond_model::{ProjectId, Seq, StatusKind, Timestamp};

use super::script::Probe;
use super::{DIRECTORIES, NAMES, SESSIONS};
use crate::contract::fixtures as fx;
use crate::{
    AskQuery, EventQuery, MessageCursor, MessageQuery, Scope, SessionQuery, ShareQuery, Store,
    TurnQuery,
};

/// What every read says, as text.
pub(super) async fn observe(store: &dyn Store, probe: &Probe) -> Vec<String> {
    let mut seen = Vec::new();
    let mut note = |what: &str, answer: &dyn Debug| seen.push(format!("{what}: {answer:?}"));
    note("last", &store.last_seq().await);
    note("unfinished", &store.unfinished_sessions().await);
    note("live", &store.live_bindings().await);
    note("profiles", &store.profiles().await);
    note("projects", &store.projects().await);
    note("count", &store.health().await.unwrap().sessions);
    for query in session_queries(probe) {
        note("sessions", &(&query, store.sessions(&query).await));
    }
    for directory in [None, Some(DIRECTORIES[0].to_owned())] {
        for session_id in [None, Some(fx::sid("a"))] {
            let query = AskQuery {
                session_id,
                directory: directory.clone(),
            };
            note("permissions", &store.pending_permissions(&query).await);
            note("questions", &store.pending_questions(&query).await);
        }
    }
    for name in NAMES {
        note("turn", &store.turn(&fx::tid(name)).await);
        note("files", &store.file_changes(&fx::tid(name)).await);
        note("owner", &store.message_owner(&fx::mid(name)).await);
        note("key", &store.session_by_key(name).await);
        note("project", &store.project(&ProjectId::new(name)).await);
        let ask = fx::permission(&fx::sid("a"), name).id;
        note("permission", &store.permission(&ask).await);
        let ask = fx::question(&fx::sid("a"), name).id;
        note("question", &store.question(&ask).await);
    }
    for id in SESSIONS.map(fx::sid) {
        note("session", &store.session(&id).await);
        note("head", &store.session_head(&id).await);
        note("todos", &store.todos(&id).await);
        note("changes", &store.session_changes(&id).await);
        note("binding", &store.binding(&id).await);
        note("usage", &store.usage(&id).await);
        note("share", &store.share(&id).await);
        let after = Some(id.clone());
        let shares = ShareQuery { after, limit: None };
        note("shares", &store.shares(&shares).await);
        for open_only in [false, true] {
            for limit in [None, Some(probe.limit)] {
                let query = TurnQuery {
                    open_only,
                    before: limit.map(|_| fx::tid(NAMES[0])),
                    limit,
                };
                note("turns", &store.turns(&id, &query).await);
            }
        }
        let before = Some(MessageCursor(probe.before));
        for query in [
            MessageQuery::default(),
            MessageQuery {
                before,
                limit: Some(probe.limit),
            },
        ] {
            note("messages", &store.messages(&id, &query).await);
        }
        for name in NAMES {
            note("message", &store.message(&id, &fx::mid(name)).await);
            note("turn by key", &store.turn_by_key(&id, name).await);
            note(
                "turn of message",
                &store.turn_of_message(&id, &fx::mid(name)).await,
            );
        }
    }
    let scopes = [
        Scope::All,
        Scope::Session(fx::sid("b")),
        Scope::Directory(DIRECTORIES[1].to_owned()),
    ];
    for scope in scopes {
        let mut query = EventQuery {
            after: Seq(probe.after),
            until: None,
            scope,
            limit: probe.limit * 3,
        };
        // Pages may be cut differently; what they hold together may not.
        let mut events = Vec::new();
        loop {
            let page = store.events(&query).await.unwrap();
            events.extend(page.events);
            if !page.more {
                break;
            }
            query.after = page.next;
        }
        note("events", &events);
    }
    seen
}

fn session_queries(probe: &Probe) -> Vec<SessionQuery> {
    let q = SessionQuery::default;
    vec![
        q(),
        SessionQuery {
            limit: Some(probe.limit),
            ..q()
        },
        SessionQuery {
            trashed: true,
            ..q()
        },
        SessionQuery {
            project_id: Some(ProjectId::new("p")),
            limit: Some(1),
            ..q()
        },
        SessionQuery {
            directory: Some(DIRECTORIES[0].into()),
            ..q()
        },
        SessionQuery {
            parent_id: Some(fx::sid("a")),
            ..q()
        },
        SessionQuery {
            roots: true,
            archived: Some(false),
            ..q()
        },
        SessionQuery {
            archived: Some(true),
            ..q()
        },
        SessionQuery {
            search: Some("%_1".into()),
            ..q()
        },
        SessionQuery {
            path_prefix: Some("srv".into()),
            ..q()
        },
        SessionQuery {
            updated_since: Some(Timestamp(2)),
            ..q()
        },
        SessionQuery {
            status: Some(vec![StatusKind::Busy, StatusKind::Error]),
            ..q()
        },
    ]
}
