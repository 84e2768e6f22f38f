//! How a turn is closed, whoever closes it: its own end, an abort, or the recovery after a
//! crash. One rule, so that a transcript never keeps an open part.

use serde_json::{Map, Value};

use crate::{
    Change, Message, MessageError, MessageInfo, Part, PartBody, Permission, PermissionOutcome,
    Question, QuestionOutcome, Timestamp, ToolState, ToolTime, Turn, TurnEnd,
};

/// Closes an open part; `None` when it is closed already. Text keeps what it has; a tool
/// that never reported its end becomes an error with `why`.
#[must_use]
pub fn close_part(part: &Part, why: &str, now: Timestamp) -> Option<Part> {
    if !part.body.is_open() {
        return None;
    }
    let mut closed = part.clone();
    match &mut closed.body {
        PartBody::Text {
            time: Some(time), ..
        }
        | PartBody::Reasoning { time, .. } => {
            time.end = Some(now.max(time.start));
        }
        PartBody::Tool(tool) => {
            let (input, metadata, start) = match &tool.state {
                ToolState::Running {
                    input,
                    metadata,
                    time,
                    ..
                } => (
                    input.clone(),
                    metadata.clone().unwrap_or_default(),
                    time.start,
                ),
                ToolState::Pending { input, .. } => (input.clone(), Map::new(), now),
                ToolState::Completed { .. } | ToolState::Error { .. } => return None,
            };
            let mut metadata = metadata;
            metadata.insert("interrupted".into(), Value::Bool(true));
            tool.state = ToolState::Error {
                input,
                error: why.to_owned(),
                metadata: Some(metadata),
                time: ToolTime {
                    start,
                    end: Some(now.max(start)),
                    compacted: None,
                },
            };
        }
        _ => return None,
    }
    Some(closed)
}

/// The assistant message of a turn that ended without being completed by its agent.
#[must_use]
pub fn ended_message(message: &Message, end: &TurnEnd, now: Timestamp) -> Message {
    let mut message = message.clone();
    if let MessageInfo::Assistant(info) = &mut message.info {
        info.time
            .completed
            .get_or_insert(now.max(info.time.created));
        match end {
            TurnEnd::Completed { finish } => info.finish = Some(finish.clone()),
            TurnEnd::Aborted => {
                info.error.get_or_insert(MessageError::Aborted {
                    message: "Aborted".into(),
                });
            }
            TurnEnd::Interrupted(f) => {
                info.error.get_or_insert(MessageError::Aborted {
                    message: f.message.clone(),
                });
            }
            TurnEnd::Failed(f) => {
                info.error.get_or_insert(MessageError::Unknown {
                    message: f.message.clone(),
                    reference: None,
                });
            }
        }
    }
    message
}

/// Everything that must be written when a turn is cut off from outside (abort, shutdown,
/// crash): open parts closed, the assistant message ended, its requests expired, the turn
/// put into its last state. Status is the caller's, because other turns may wait.
#[must_use]
pub fn close_turn(
    turn: &Turn,
    assistant: Option<&Message>,
    parts: &[Part],
    permissions: &[Permission],
    questions: &[Question],
    end: &TurnEnd,
    now: Timestamp,
) -> Vec<Change> {
    let why = match end {
        TurnEnd::Aborted => "Tool execution aborted".to_owned(),
        TurnEnd::Completed { .. } => {
            "The agent ended its turn without a result for this call".to_owned()
        }
        TurnEnd::Failed(f) | TurnEnd::Interrupted(f) => {
            format!("Tool execution aborted: {}", f.message)
        }
    };
    let mut changes = Vec::new();
    for p in permissions.iter().filter(|p| p.outcome.is_none()) {
        changes.push(Change::ResolvePermission {
            id: p.id.clone(),
            outcome: PermissionOutcome::Expired {
                reason: end.state().as_str().into(),
                at: now,
            },
        });
    }
    for q in questions.iter().filter(|q| q.outcome.is_none()) {
        changes.push(Change::ResolveQuestion {
            id: q.id.clone(),
            outcome: QuestionOutcome::Expired {
                reason: end.state().as_str().into(),
                at: now,
            },
        });
    }
    changes.extend(
        parts
            .iter()
            .filter_map(|p| close_part(p, &why, now))
            .map(Change::PutPart),
    );
    if let Some(message) = assistant {
        let ended = ended_message(message, end, now);
        if ended != *message {
            changes.push(Change::PutMessage(ended));
        }
    }
    let mut turn = turn.clone();
    turn.state = end.state();
    turn.ended_at = Some(now.max(turn.queued_at));
    turn.failure = match end {
        TurnEnd::Failed(f) | TurnEnd::Interrupted(f) => Some(f.clone()),
        TurnEnd::Completed { .. } | TurnEnd::Aborted => None,
    };
    changes.push(Change::PutTurn(turn));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MessageId, PartId, PartTime, SessionId, ToolPart};

    fn part(body: PartBody) -> Part {
        Part {
            id: PartId::trusted("prt_1"),
            session_id: SessionId::trusted("ses_1"),
            message_id: MessageId::trusted("msg_1"),
            body,
        }
    }

    #[test]
    fn text_keeps_what_it_has() {
        let open = part(PartBody::Text {
            text: "half a sent".into(),
            synthetic: None,
            ignored: None,
            time: Some(PartTime {
                start: Timestamp(5),
                end: None,
            }),
            metadata: None,
        });
        let closed = close_part(&open, "x", Timestamp(3)).unwrap();
        let PartBody::Text {
            text,
            time: Some(time),
            ..
        } = &closed.body
        else {
            panic!("{closed:?}")
        };
        assert_eq!(text, "half a sent");
        assert_eq!(time.end, Some(Timestamp(5)), "never before its start");
        assert_eq!(close_part(&closed, "x", Timestamp(9)), None);
    }

    #[test]
    fn a_running_tool_becomes_an_error_and_keeps_its_output() {
        let mut metadata = Map::new();
        metadata.insert("output".into(), "tick-1\n".into());
        let open = part(PartBody::Tool(Box::new(ToolPart {
            call_id: "c".into(),
            tool: "bash".into(),
            state: ToolState::Running {
                input: Map::new(),
                title: None,
                metadata: Some(metadata),
                time: ToolTime {
                    start: Timestamp(1),
                    end: None,
                    compacted: None,
                },
            },
            metadata: None,
        })));
        let closed = close_part(&open, "cut", Timestamp(2)).unwrap();
        let PartBody::Tool(tool) = &closed.body else {
            panic!()
        };
        let ToolState::Error {
            error,
            metadata: Some(m),
            ..
        } = &tool.state
        else {
            panic!("{tool:?}")
        };
        assert_eq!(error, "cut");
        assert_eq!(m["output"], "tick-1\n");
        assert_eq!(m["interrupted"], true);
        assert!(!closed.body.is_open());
    }
}
