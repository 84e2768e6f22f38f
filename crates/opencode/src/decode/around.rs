//! Bodies of what is around sessions: projects and the log.

use std::collections::HashMap;

use serde_json::{Map, Value};
use sessiond_engine::ProjectUpdate;
use sessiond_model::{ProjectCommands, ProjectIcon, SessionId};

use super::{Decoded, Node};

/// The body of `PATCH /project/{id}`.
pub(crate) fn project_update(body: Option<Value>) -> Decoded<ProjectUpdate> {
    let mut f = Node::root(body).object()?;
    let icon = |n: Node| {
        let mut f = n.object()?;
        Ok(ProjectIcon {
            url: f.take("url").optional(Node::string)?,
            replacement: f.take("override").optional(Node::string)?,
            color: f.take("color").optional(Node::string)?,
        })
    };
    let commands = |n: Node| {
        let start = n.object()?.take("start").optional(Node::string)?;
        Ok(ProjectCommands { start })
    };
    Ok(ProjectUpdate {
        name: f.take("name").optional(Node::string)?,
        icon: f.take("icon").optional(icon)?,
        commands: f.take("commands").optional(commands)?,
    })
}

/// The body of `POST /vcs/apply`.
pub(crate) fn patch(body: Option<Value>) -> Decoded<String> {
    Node::root(body).object()?.take("patch").string()
}

/// How much a line of a client's log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// A line of a client's log.
#[derive(Debug, PartialEq)]
pub(crate) struct LogLine {
    pub(crate) service: String,
    pub(crate) level: Level,
    pub(crate) message: String,
    pub(crate) extra: Option<Map<String, Value>>,
}

/// The body of `POST /log`.
pub(crate) fn log_line(body: Option<Value>) -> Decoded<LogLine> {
    let mut f = Node::root(body).object()?;
    Ok(LogLine {
        service: f.take("service").string()?,
        level: f.take("level").word(
            "\"debug\" | \"info\" | \"error\" | \"warn\"",
            &[
                ("debug", Level::Debug),
                ("info", Level::Info),
                ("error", Level::Error),
                ("warn", Level::Warn),
            ],
        )?,
        message: f.take("message").string()?,
        extra: f.take("extra").optional(|n| n.map("object"))?,
    })
}

/// The body of `POST /sync/history`: the last number that is known, by session.
pub(crate) fn known_events(body: Option<Value>) -> Decoded<HashMap<String, u64>> {
    let entries = Node::root(body).object()?.entries();
    entries
        .map(|(session, node)| Ok((session, node.count()?)))
        .collect()
}

/// The body of `POST /sync/steal`.
pub(crate) fn steal(body: Option<Value>) -> Decoded<SessionId> {
    Node::root(body)
        .object()?
        .take("sessionID")
        .id(SessionId::parse)
}
